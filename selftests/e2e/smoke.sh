#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/smoke.sh
#
# The shortest way through both devices, for releases that are tested no further: a stock guest has a card with split rings,
# one with packed rings, and a disk; data are moved over each of them and compared. In TAP, to be run in the test host with the
# guest image:
#   tools/vm/run --release forky --share "$(selftests/guest/mkguest --release forky)" -- selftests/e2e/smoke.sh
# The disk is that of a second guest, and of a newer QEMU, where the release's QEMU has no such disks. Takes a minute.
# shellcheck disable=SC2317 # functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
DISK=vdpa-blklite IMAGE=$WORK/disk.img MIB=4

modules_load vhost-netlite vhost-blklite
say "Linux $(uname -r), QEMU $(qemu_version)"
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
tap 1
tap 2
# the guest reads the first half and writes the second
head -c "${MIB}M" /dev/urandom >"$IMAGE"
truncate -s $((2 * MIB))M "$IMAGE"

options="--net tap1,mac=52:54:00:00:00:01"
with_disk=a
if knows vhost-vdpa-device-pci; then
	options+=" --disk $IMAGE"
else
	with_disk=b
fi

packed_too() {
	negotiated a "${DEV[2]}" 34 && ! negotiated a "${DEV[1]}" 34
}

# sum HALF: of what the host sees of it
sum() {
	tail -c +$(($1 * MIB * 1048576 + 1)) "$IMAGE" | head -c "${MIB}M" | sha256sum
}

# on_disk COUNTER COMMAND HALF: what the guest says that it has read or written is what the host has there, and it went
# through our disk
on_disk() {
	local before sums

	before=$(counter "$with_disk" "$dev" '*' "$1")
	sums=$(guest "$with_disk" 60 "$2") || { echo "$sums" && return 1; }
	same "sum of half $3" "$(sum "$3")" "$sums" && moved "$with_disk" "$dev" '*' "$1" "$before" $((MIB * 1048576))
}
reads="dd if=/dev/vda bs=64k count=$((MIB * 16)) iflag=direct 2>/dev/null | sha256sum"
writes="head -c $((MIB * 1048576)) /dev/urandom >/tmp/new && sha256sum </tmp/new &&
	dd if=/tmp/new of=/dev/vda bs=64k seek=$((MIB * 16)) oflag=direct conv=fsync 2>/dev/null"

no_complaint() {
	! guest "$1" 10 dmesg | grep -iE 'oom-killer|out of memory|BUG:|WARNING:|call trace|NETDEV WATCHDOG|I/O error'
}
quits() { ! alive "$1"; }
ends() {
	check "the guest's kernel has nothing to complain of" no_complaint "$1"
	check "quit" qmp "$1" quit
	check "QEMU ends" wait_for 20 quits "$1"
	guest_end "$1"
}

# shellcheck disable=SC2054 # the commas are QEMU's
guest_start a --open 22=/dev/vhost-netlite --run "$options" -netdev tap,id=net2,ifname=tap2,script=no,downscript=no,vhost=on,vhostfd=22 \
	-device virtio-net-pci,netdev=net2,mac=52:54:00:00:00:02,packed=on
check "a guest boots" guest_ready a
check "its cards come up" guest a 60 "$GUEST_NET"
# those by hand first, then vhostlite's
DEV[2]=$(device a $NODE 0) DEV[1]=$(device a $NODE 1)
[[ -n ${DEV[1]} ]] || bail "the guest is not on vhost-lite at all"
check "one card has packed rings" packed_too
check "split rings: tcp and udp, 1 byte to 64 KiB" echoes 1 500000
check "split rings: packet counts of guest, TAP and ours agree" counts_agree 1
check "packed rings: tcp and udp, 1 byte to 64 KiB" echoes 2 500000
check "packed rings: packet counts of guest, TAP and ours agree" counts_agree 2

if [[ $with_disk == b ]]; then
	ends a
	newer_knows vhost-vdpa-device-pci || bail "no QEMU has a disk"
	guest_start b --run "--disk $IMAGE"
	check "a guest of QEMU $(qemu_version) boots" guest_ready b
fi
dev=$(device $with_disk $DISK 0)
[[ -n $dev ]] || bail "the guest's disk is not on vhost-lite at all"
check "the disk: what the guest reads" on_disk in "$reads" 0
check "the disk: what the guest writes" on_disk out "$writes" 1
ends $with_disk
check "nobody holds the card's module" wait_for 10 no_users vhost_netlite
check "nobody holds the disk's module" wait_for 10 no_users vhost_blklite
check "the modules can be unloaded" rmmod vhost_netlite vhost_blklite vhost_lite
finish
