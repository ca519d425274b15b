#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/iommu.sh [SECONDS]
#
# Stock guests with an IOMMU. The card on /dev/vhost-netlite goes through it: QEMU is asked for each translation. So does the
# disk on /dev/vdpa-blklite: QEMU tells all that the guest maps and unmaps. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/iommu.sh
# With SECONDS it is the disk alone, verified I/O for so long (tools/vm/run wants --timeout then).
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"

SECONDS_OF_IO=${1-}
[[ -z $SECONDS_OF_IO || $SECONDS_OF_IO =~ ^[1-9][0-9]*$ ]] || bail "'$1' is no number of seconds"
modules_load vhost-netlite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing || bail "the test host lacks tracefs"
MISSES=/sys/kernel/tracing/events/vhost_lite/vhl_miss
[[ -d $MISSES ]] || bail "there is no tracepoint vhl_miss"
tap 0

# of the device that QEMU has open, perhaps twice: VIRTIO_F_ACCESS_PLATFORM is bit 33
has_bit_33() {
	local features

	features=$(awk '/^vhl-features:/ { print $2 }' /proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null | sort -u)
	((features >> 33 & 1)) || { echo "features $features" && return 1; }
}
ping_works() {
	ping -q -c 20 -i 0.05 -W 20 10.77.0.2 | tee /dev/stderr | grep -q ' 0% packet loss'
}
iperf() {
	local before

	before=$(reqs 0 1)
	guest a 20 "pidof iperf3 >/dev/null || iperf3 -s -D --logfile /tmp/iperf.log" || return
	wait_for 20 guest a 10 "netstat -ltn | grep -q :5201" || return
	timeout 120 iperf3 -c 10.77.0.2 "$@" && moved a "${DEV[0]}" 1 reqs "$before" 10
}
# it was asked for translations, and for as many as are told
asks() {
	local misses

	misses=$(grep -c vhl_miss: /sys/kernel/tracing/trace)
	((misses > 5)) || { echo "$misses misses" && return 1; }
	(($(regions a "${DEV[0]}") > 0)) || { echo "$(regions a "${DEV[0]}") regions" && return 1; }
}
quits() { ! alive a; }
no_failed_lookups() {
	! grep -i -E 'iotlb|translat|vhost' "$WORK/a/qemu.log"
}

iommu_card 0 vhost=on,vhostfd=20
[[ -z $SECONDS_OF_IO ]] && modes=(strict pt) || modes=()
for mode in "${modes[@]}"; do
	echo >/sys/kernel/tracing/trace
	echo 1 >$MISSES/enable
	GUEST_APPEND=${IOMMU_APPEND[$mode]} MACHINE=$IOMMU_MACHINE guest_start a --open 20=/dev/vhost-netlite \
		"${IOMMU_DEVICE[@]}" "${CARD_BEHIND[@]}"
	say "a guest with an IOMMU boots: ${IOMMU_APPEND[$mode]}"
	check "$mode: a guest boots" guest_ready a
	check "$mode: its card comes up" guest a 60 "$GUEST_NET"
	DEV[0]=$(device a $NODE 0)
	[[ -n ${DEV[0]} ]] || bail "the guest is not on vhost-lite at all"
	check "$mode: VIRTIO_F_ACCESS_PLATFORM" has_bit_33 a
	check "$mode: ping without loss" ping_works
	check "$mode: translations are asked for" asks
	check "$mode: tcp and udp, 1 byte to 64 KiB" echoes 0 4000000
	check "$mode: iperf3: tcp to the guest" iperf -n 5M
	check "$mode: iperf3: tcp from the guest" iperf -n 5M -R
	traffic 0
	check "$mode: stop under traffic" qmp a stop
	check "$mode: cont" qmp a cont
	check "$mode: the traffic survives" traffic_ok 0
	check "$mode: no queue broke" same breaks 0 "$(counter a "${DEV[0]}" '*' breaks)"
	check "$mode: QEMU failed at no translation" no_failed_lookups
	# its rings come to the same addresses, and are other pages; nobody has told of what was unmapped meanwhile
	check "$mode: the driver lets go of the card, and takes it again" guest a 60 'ip link set n0 down
		d=$(readlink -f /sys/class/net/n0/device)
		for i in 1 2 3; do
			echo ${d##*/} >/sys/bus/virtio/drivers/virtio_net/unbind && echo ${d##*/} >/sys/bus/virtio/drivers/virtio_net/bind || exit 1
		done'
	check "$mode: its card comes up again" guest a 60 "$GUEST_NET"
	check "$mode: ping without loss, once more" ping_works
	check "$mode: and no queue broke" same breaks 0 "$(counter a "${DEV[0]}" '*' breaks)"
	check "$mode: quit" qmp a quit
	check "$mode: QEMU ends" wait_for 20 quits
	guest_end a
	echo 0 >$MISSES/enable
done

# ---- the disk: in strict mode each page of each request is mapped for it and unmapped after it ----
DISK=vdpa-blklite
# iotlb NAME: of the device's messages: updates, invalidates, waits, drains
iotlb() {
	sed -n "s/^vhl-iotlb:.*\\<$1=\\([0-9]*\\).*/\\1/p" /proc/"${GUEST_PID[a]}"/fdinfo/* 2>/dev/null | head -n 1
}
is_strict() {
	guest a 10 'cat /sys/kernel/iommu_groups/*/type; dmesg | grep -i -E "iommu: |dmar" | tail -n 4' | tee /dev/stderr | grep -qx DMA
}
# through_map PAGES OPTIONS [TIMEOUT]: fio in the guest is content, and all of it went through the map. No less is mapped
# than there are pages; what is mapped is unmapped, and nothing is left behind
through_map() {
	local updates invalidates reqs pages=$1

	updates=$(iotlb updates) invalidates=$(iotlb invalidates) reqs=$(counter a "${DEV[1]}" '*' reqs)
	guest a "${3:-300}" "fio --ioengine=libaio --iodepth=64 --direct=1 --thread $2 --name=j --filename=/dev/vda >/tmp/fio.log 2>&1; status=\$?; grep -E 'fio:|verify|err=|IOPS' /tmp/fio.log; exit \$status" || return
	echo "updates $(($(iotlb updates) - updates)) invalidates $(($(iotlb invalidates) - invalidates)) requests $(($(counter a "${DEV[1]}" '*' reqs) - reqs)) waits $(iotlb waits) drains $(iotlb drains)" >&2
	(($(iotlb updates) - updates >= pages)) || { echo "$(iotlb updates) updates now, $updates before" && return 1; }
	(($(iotlb invalidates) - invalidates >= pages)) || { echo "$(iotlb invalidates) invalidates now, $invalidates before" && return 1; }
	moved a "${DEV[1]}" '*' reqs "$reqs" 16
}
# a driver unmaps what it is done with: nobody waits, but once for each queue that begins to look who uses what
nobody_waits() {
	echo "waits $(iotlb waits) drains $(iotlb drains)"
	(($(iotlb waits) == 0 && $(iotlb drains) <= $1))
}
few_regions() {
	echo "$(regions a "${DEV[1]}") regions"
	(($(regions a "${DEV[1]}") <= $1))
}
# Of each page that is unmapped QEMU says that it cannot tell a vhost-vDPA device by a message, since it does so by another one
no_failed_mappings() {
	! grep -E 'vhost_vdpa_|dma_(un)?map' "$WORK/a/qemu.log"
}
disk_behind_iommu() {
	local idle verify

	modules_load vhost-blklite
	modprobe null_blk nr_devices=0 || bail "the test host lacks null_blk"
	# requests take a millisecond, so that many are in flight while others are unmapped
	null_disk nullb0 size=64 irqmode=2 completion_nsec=1000000
	GUEST_APPEND=${IOMMU_APPEND[strict]} MACHINE=$IOMMU_MACHINE guest_start a \
		--run "--disk /dev/nullb0,serial=d0,queues=2" -smp 2 -device intel-iommu,intremap=on,caching-mode=on \
		-global vhost-vdpa-device.iommu_platform=on -global vhost-vdpa-device-pci.disable-legacy=on
	say "a guest whose disk is behind the IOMMU boots"
	check "disk: a guest boots" guest_ready a
	DEV[1]=$(device a $DISK 0)
	[[ -n ${DEV[1]} ]] || bail "the guest's disk is not on vhost-lite at all"
	check "disk: VIRTIO_F_ACCESS_PLATFORM" has_bit_33 a
	check "disk: each page is unmapped at once" is_strict
	idle=$(regions a "${DEV[1]}")
	verify="--verify=crc32c --do_verify=1 --verify_fatal=1"
	if [[ -n $SECONDS_OF_IO ]]; then
		check "disk: 4 to 64 KiB at depth 64 for $SECONDS_OF_IO seconds, verified" through_map 1024 \
			"--rw=randwrite --bsrange=4k-64k --size=60M --time_based --runtime=$SECONDS_OF_IO --verify_backlog=64 $verify" \
			$((SECONDS_OF_IO + 600))
	fi
	check "disk: 4 KiB at depth 64, verified" through_map 1024 "--rw=randwrite --bs=4k --size=4M $verify"
	check "disk: 64 KiB at depth 64, verified" through_map 1024 "--rw=randwrite --bs=64k --size=8M --offset=8M $verify"
	check "disk: 512 bytes, of which several are in a page" through_map 64 "--rw=randwrite --bs=512 --size=256k --offset=4M $verify"
	check "disk: two threads, from both processors" through_map 512 "--rw=randwrite --bs=16k --size=4M --offset=16M --offset_increment=8M --numjobs=2 --cpus_allowed=0,1 --cpus_allowed_policy=split $verify"
	check "disk: no unmapping waited" nobody_waits 4
	check "disk: nothing is left in the map" few_regions $((idle + 64))
	check "disk: stop" qmp a stop
	check "disk: cont" qmp a cont
	check "disk: 64 KiB after that, verified" through_map 512 "--rw=randwrite --bs=64k --size=4M --offset=32M $verify"
	check "disk: no queue broke" same breaks 0 "$(counter a "${DEV[1]}" '*' breaks)"
	check "disk: QEMU failed at no mapping" no_failed_mappings
	check "disk: quit" qmp a quit
	check "disk: QEMU ends" wait_for 20 quits
	guest_end a
	check "nobody holds the disk's module" wait_for 10 no_users vhost_blklite
	check "it can be unloaded" rmmod vhost_blklite
}
if some_qemu_knows vhost-vdpa-device-pci; then
	disk_behind_iommu
else
	skip "a disk behind the IOMMU" "this QEMU has no vhost-vdpa-device-pci"
fi
check "nobody holds the module" wait_for 10 no_users vhost_netlite
check "the modules can be unloaded" rmmod vhost_netlite vhost_lite
finish
