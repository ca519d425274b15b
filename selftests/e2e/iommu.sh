#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/iommu.sh
#
# Stock guests with an IOMMU, whose card on /dev/vhost-netlite goes through it: QEMU is asked for each translation. To be run
# in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/iommu.sh
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"

modules_load vhost-netlite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing || bail "the test host lacks tracefs"
MISSES=/sys/kernel/tracing/events/vhost_lite/vhl_miss
[[ -d $MISSES ]] || bail "there is no tracepoint vhl_miss"
tap 0

# of the device that QEMU has open: VIRTIO_F_ACCESS_PLATFORM is bit 33
has_bit_33() {
	local features

	features=$(awk '/^vhl-features:/ { print $2 }' /proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null)
	((features >> 33 & 1)) || { echo "features $features" && return 1; }
}
regions() {
	awk '/^vhl-regions:/ { print $2 }' /proc/"${GUEST_PID[a]}"/fdinfo/* 2>/dev/null
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
	(($(regions) > 0)) || { echo "$(regions) regions" && return 1; }
}
quits() { ! alive a; }
no_failed_lookups() {
	! grep -i -E 'iotlb|translat|vhost' "$WORK/a/qemu.log"
}

declare -A append=([strict]="intel_iommu=on iommu.strict=1 iommu.passthrough=0" [pt]="intel_iommu=on iommu=pt")
for mode in strict pt; do
	echo >/sys/kernel/tracing/trace
	echo 1 >$MISSES/enable
	GUEST_APPEND=${append[$mode]} MACHINE=q35,kernel-irqchip=split guest_start a --open 20=/dev/vhost-netlite \
		-device intel-iommu,intremap=on,device-iotlb=on -device pcie-root-port,id=root1,slot=1 \
		-netdev tap,id=net,ifname=tap0,script=no,downscript=no,vhost=on,vhostfd=20 \
		-device virtio-net-pci,id=nic,bus=root1,netdev=net,mac=52:54:00:00:00:00,disable-legacy=on,iommu_platform=on,ats=on
	say "a guest with an IOMMU boots: ${append[$mode]}"
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
check "nobody holds the module" wait_for 10 no_users vhost_netlite
check "the modules can be unloaded" rmmod vhost_netlite vhost_lite
finish
