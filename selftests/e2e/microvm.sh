#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/microvm.sh
#
# Stock guests without PCI, on virtio-mmio, with a disk and a network card that `vhostlite run` gives them: with legacy
# registers, as QEMU has them by default, and with modern ones. In TAP, to be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/microvm.sh
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
DISK=vdpa-blklite NET=vhost-netlite TAP=vhlm0

need_device vhost-vdpa-device
modules_load vhost-netlite vhost-blklite
ip tuntap add dev $TAP mode tap vnet_hdr || bail "no TAP"
LINKS+=("$TAP")
ip addr add 10.9.0.1/24 dev $TAP && ip link set $TAP up
truncate -s $((32 * 1048576 + 512)) "$WORK/disk.img"

# features NAME BIT: what the drivers of the disk and of the card have negotiated
features() {
	guest "$1" 20 'for d in /sys/block/vda/device /sys/class/net/eth0/device; do cut -c'$(($2 + 1))' $d/features; done' |
		paste -sd' '
}
# transport NAME: no PCI, and both devices on virtio-mmio
on_mmio() {
	guest "$1" 20 '! ls -d /sys/bus/pci/devices/* &&
		cat /sys/block/vda/device/../modalias /sys/class/net/eth0/device/../modalias' |
		grep -c '^acpi:LNRO0005' | grep -qx 2
}
fio_verified() {
	local dev before

	dev=$(device "$1" "$DISK" 0) && before=$(counter "$1" "$dev" 0 reqs) &&
		guest "$1" 300 'fio --name=job --filename=/dev/vda --ioengine=libaio --iodepth=16 --direct=1 --thread --rw=randwrite \
			--bsrange=512-16k --size=3M --verify=crc32c --do_verify=1 --verify_fatal=1' &&
		moved "$1" "$dev" 0 reqs "$before" 300
}
last_sector() {
	local sum

	sum=$(guest "$1" 20 'head -c 512 /dev/urandom >/tmp/s && dd if=/tmp/s of=/dev/vda bs=512 seek=65536 oflag=direct &&
		sha256sum </tmp/s' | grep -o '^[0-9a-f]\{64\}') &&
		same "sum of the last sector" "$sum" "$(tail -c 512 "$WORK/disk.img" | sha256sum | cut -d' ' -f1)"
}
ping_both_ways() {
	local dev before=() q

	dev=$(device "$1" "$NET" 0) && before=("$(counter "$1" "$dev" 0 reqs)" "$(counter "$1" "$dev" 1 reqs)")
	guest "$1" 60 'ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; ping -c 20 -i 0.1 -s 3000 10.9.0.1' || return
	for q in 0 1; do
		moved "$1" "$dev" "$q" reqs "${before[q]}" 40 || return
	done
}
stop_and_cont() {
	local dev

	qmp "$1" stop && dev=$(device "$1" "$DISK" 0) && same state stopped "$(counter "$1" "$dev" 0 state)" &&
		qmp "$1" cont && guest "$1" 60 'dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct'
}
# within NAME KIB: QEMU has locked something, and no more than that
within() {
	local locked

	locked=$(awk '/^VmLck:/ { print $2 }' /proc/"${GUEST_PID[$1]}"/status)
	((locked > 0 && locked <= $2)) || { echo "$locked KiB are locked, not 1..$2" && return 1; }
}
quits() { ! alive "$1"; }

# What vhostlite says that three rings need has to be enough for them
need=$(prlimit --memlock=4096:4096 setpriv --bounding-set -ipc_lock \
	vhostlite run --disk "$WORK/disk.img" --net "$TAP" -- true 2>&1 | sed -n 's/.* need up to \([0-9]*\) KiB .*/\1/p')
check "too low a limit is told before anything runs" test "$need" -gt 0
in_a_namespace() {
	prlimit --memlock=4096:4096 unshare --user --map-root-user \
		vhostlite run --disk "$WORK/disk.img" --net "$TAP" -- true 2>&1 | grep "need up to $need KiB"
}
check "to root of another user namespace, too" in_a_namespace
limited="prlimit --memlock=$((need * 1024)):$((need * 1024)) setpriv --bounding-set -ipc_lock"

declare -A legacy=([legacy]=on [modern]=off) version_1=([legacy]="0 0" [modern]="1 1")
for mode in legacy modern; do
	say "a guest with $mode virtio-mmio boots"
	MACHINE=microvm,acpi=on guest_start $mode --via "$limited" --run "--disk $WORK/disk.img --net $TAP" \
		-global "virtio-mmio.force-legacy=${legacy[$mode]}"
	check "$mode: a guest boots" guest_ready $mode
	[[ -n $(devices $mode $DISK) && -n $(devices $mode $NET) ]] || bail "the guest is not on vhost-lite at all"
	check "$mode: it has virtio-mmio alone" on_mmio $mode
	check "$mode: VERSION_1" same "bit 32" "${version_1[$mode]}" "$(features $mode 32)"
	check "$mode: random writes verified" fio_verified $mode
	check "$mode: the last sector" last_sector $mode
	check "$mode: packets of all sizes, both ways" ping_both_ways $mode
	check "$mode: stop and cont" stop_and_cont $mode
	check "$mode: the limit of locked memory suffices" within $mode "$need"
	check "$mode: quit" qmp $mode quit
	check "$mode: QEMU ends" wait_for 20 quits $mode
	guest_end $mode
done
check "nobody holds the modules" wait_for 10 no_users vhost_blklite
check "the modules can be unloaded" rmmod vhost_netlite vhost_blklite vhost_lite
finish
