#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/memplug.sh
#
# A stock guest on /dev/vhost-netlite and /dev/vdpa-blklite gets DIMMs and gives them back, under traffic and verified I/O, and
# the devices use memory that is in them: pages whose addresses a program in the guest looks up (selftests/guest/newmem.c),
# the buffers of packets, a ring. Then it gets more of them than QEMU allows a vhost device while the kernel's vhost is not
# loaded. Another guest's card meets virtio-mem, which QEMU excludes beside the disk. TAP, to be run in the test host with
# the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/memplug.sh
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
DISK=vdpa-blklite
M=1048576
# What the guest's kernel takes and gives back at once, and so the size of a DIMM
BLOCK=$((128 * M))
NO_SLOT='a used vhost backend has not enough free memory slots left'

need_device vhost-vdpa-device-pci
modules_load vhost-netlite vhost-blklite
[[ ! -e /sys/module/vhost ]] || rmmod vhost || bail "the kernel's vhost is in use"
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
tap 0
"$E2E_IMAGES/xfer" echo 7 >/dev/null 2>&1 </dev/null &
TRAFFIC+=($!)

# ---- DIMMs: number N is at 4 GiB and N blocks ----
at() { echo $(((4 << 30) + $1 * BLOCK)); }

# plug N TYPE [PROPERTY]: in memory of that type
plug() {
	qmp a object-add "{\"qom-type\":\"memory-backend-$2\",\"id\":\"mem$1\",\"size\":$BLOCK${3:+,$3}}" &&
		qmp a device_add "{\"driver\":\"pc-dimm\",\"id\":\"dimm$1\",\"memdev\":\"mem$1\",\"addr\":$(at "$1")}"
}
# online N ZONE: the guest uses it from now on, for all (online_kernel) or for what can be moved away again (online_movable)
online() {
	guest a 120 "cd /sys/devices/system/memory; until [ -e memory$(($(at "$1") / BLOCK))/state ]; do sleep 0.1; done
		cd memory$(($(at "$1") / BLOCK)) && echo $2 >state && cat state valid_zones"
}
# knows_regions CARD DISK: so many regions each
knows_regions() {
	same "regions of the card" "$1" "$(regions a "${DEV[0]}")" && same "regions of the disk" "$2" "$(regions a "${DEV[1]}")"
}
# plugged N TYPE ZONE [PROPERTY]: it is plugged in, our devices know it, the guest uses it
plugged() {
	local card disk

	card=$(regions a "${DEV[0]}") disk=$(regions a "${DEV[1]}")
	plug "$1" "$2" "${4-}" && wait_for 20 knows_regions $((card + 1)) $((disk + 1)) && online "$1" "$3"
}
# disk_uses N: what the disk reads gets there, and what it writes comes from there
disk_uses() {
	local in out

	in=$(counter a "${DEV[1]}" '*' in) out=$(counter a "${DEV[1]}" '*' out)
	dd if=/dev/zero of="$WORK/disk.img" bs=1M seek=48 count=4 conv=notrunc status=none
	guest a 200 "newmem disk $(at "$1") $(at $(($1 + 1))) /dev/vda $((40 * M)) $((48 * M)) $((4 * M))" &&
		cmp -n $((4 * M)) -i 0:$((48 * M)) "$WORK/pattern2" "$WORK/disk.img" &&
		moved a "${DEV[1]}" '*' in "$in" $((4 * M)) && moved a "${DEV[1]}" '*' out "$out" $((4 * M))
}
# card_uses FIRST LAST: what it sends comes from there
card_uses() {
	local sent

	sent=$(counter a "${DEV[0]}" 1 out)
	guest a 200 "newmem send $1 $2 10.77.0.1 7 $M" && moved a "${DEV[0]}" 1 out "$sent" "$M"
}
# both_use N
both_use() {
	check "the disk reads into DIMM $1 and writes from there" disk_uses "$1"
	check "the card sends from DIMM $1" card_uses "$(at "$1")" "$(at $(($1 + 1)))"
}
# allocated ZONE: pages of it that the guest's kernel has given out so far
allocated() { guest a 20 "sed -n 's/^pgalloc_$1 //p' /proc/vmstat"; }
# receives_there: pages that the guest's kernel takes for packets are in its highest zone, which all was plugged in
receives_there() {
	local low high

	low=$(allocated dma32) high=$(allocated normal)
	passes 0 2000 0 || return
	low=$(($(allocated dma32) - low)) high=$(($(allocated normal) - high))
	echo "$high pages in what was plugged in, $low elsewhere"
	((high > 500 && high > 20 * low))
}
# path_of NAME: of a virtio device, for the monitor
path_of() { qmp a x-query-virtio | grep -o "{[^{}]*\"$1\"[^{}]*}" | sed -n 's/.*"path": "\([^"]*\)".*/\1/p'; }
# rings_at_least ADDRESS: where the rings of the card are, and that it is there
rings_at_least() {
	local path queue at

	path=$(path_of virtio-net)
	for queue in 0 1; do
		at=$(qmp a x-query-virtio-vhost-queue-status "{\"path\":\"$path\",\"queue\":$queue}" |
			sed -n 's/.*"desc-phys": \([0-9]*\).*/\1/p')
		printf 'ring %d is at %#x\n' "$queue" "$at"
		((at >= $1)) || return
	done
}
# busy: requests to the disk go on. The traffic leaves the guest little time for them, and for the start of fio. Where none
# comes it tells who waits for whom
busy() {
	more() { (($(counter a "${DEV[1]}" '*' reqs) - $1 >= 100)); }
	wait_for 180 more "$(counter a "${DEV[1]}" '*' reqs)" && return
	cat /proc/"${GUEST_PID[a]}"/fdinfo/* 2>/dev/null | grep '^vhl-'
	guest a 60 'cat /tmp/fio.log; grep . /sys/block/vda/inflight /proc/loadavg; for p in $(pidof fio); do
		grep -E "State|ctxt" /proc/$p/task/*/status; cat /proc/$p/task/*/stack; done'
	return 1
}
# queues_asked NAME QUEUES: the monitor asks where a device's queues have come to, which go on. Not of a
# vhost-vdpa-device: QEMU 10.0 ends by that
queues_asked() {
	local path queue answer

	path=$(path_of "$1")
	for ((queue = 0; queue < $2; queue++)); do
		answer=$(qmp a x-query-virtio-queue-status "{\"path\":\"$path\",\"queue\":$queue}")
		echo "$answer"
		[[ $answer == *last-avail-idx* ]] || return
	done
}
# unplugged N: the guest gives it back, our devices forget it
unplugged() {
	local card disk

	card=$(regions a "${DEV[0]}") disk=$(regions a "${DEV[1]}")
	qmp a device_del "{\"id\":\"dimm$1\"}" && qmp_event a 120 "*DEVICE_DELETED*dimm$1*" &&
		knows_regions $((card - 1)) $((disk - 1)) && qmp a object-del "{\"id\":\"mem$1\"}"
}
# refused ANSWER COMMAND…: a monitor command is refused with this answer
refused() {
	local answer

	answer=$("${@:2}") && echo "it is not refused: $answer" && return 1
	[[ $answer == *"$1"* ]] || { echo "$answer" && return 1; }
}
quits() { ! alive a; }
# leaves: the guest's kernel has nothing to complain of, and it ends
leaves() {
	no_complaint() {
		! guest a 10 dmesg | grep -iE 'oom-killer|out of memory|BUG:|WARNING:|call trace|I/O error|NETDEV WATCHDOG'
	}
	check "no queue broke" same breaks 0 "$(counter a "${DEV[*]}" '*' breaks)"
	check "the guest's kernel has nothing to complain of" no_complaint
	check "quit" qmp a quit
	check "QEMU ends" wait_for 20 quits
	guest_end a
}

truncate -s 64M "$WORK/disk.img"
"$E2E_IMAGES/newmem" pattern 1 $((4 * M)) | dd of="$WORK/disk.img" bs=1M seek=40 conv=notrunc status=none
"$E2E_IMAGES/newmem" pattern 2 $((4 * M)) >"$WORK/pattern2"
echo $((BLOCK / 2 / M)) >/proc/sys/vm/nr_hugepages
card="--net tap0,mac=52:54:00:00:00:00" disk="--disk $WORK/disk.img,direct=off"
GUEST_MEM=320M,slots=80,maxmem=16G GUEST_APPEND=memhp_default_state=offline guest_start a --run "$card $disk"
say "a guest with room for 80 DIMMs boots"
check "a guest boots" guest_ready a
check "its card comes up" guest a 60 "$GUEST_NET"
DEV=([0]=$(device a $NODE 0) [1]=$(device a $DISK 0))
[[ -n ${DEV[0]} && -n ${DEV[1]} ]] || bail "the guest is not on vhost-lite at all"
check "the guest takes memory in pieces of 128 MiB" same size "$(printf %x $BLOCK)" \
	"$(guest a 10 'cat /sys/devices/system/memory/block_size_bytes')"

# ---- they come ----
traffic 0
check "I/O" io_start a
check "DIMM 0, of anonymous memory, comes under traffic and I/O" plugged 0 ram online_kernel
both_use 0
check "packets to the guest are received there" receives_there
check "DIMM 1, of a memfd" plugged 1 memfd online_movable '"share":true'
both_use 1
check "the traffic goes on, and every byte came back" traffic_ok 0
check "the I/O has gone on, every block is what was written" io_end a
check "the driver lets go of the card, and takes it again" guest a 60 'ip link set n0 down
	d=$(readlink -f /sys/class/net/n0/device); cd /sys/bus/virtio/drivers/virtio_net
	echo ${d##*/} >unbind && echo ${d##*/} >bind'
check "its card comes up again" guest a 60 "$GUEST_NET"
check "and has its rings in DIMM 0" rings_at_least "$(at 0)"
traffic 0
check "traffic by these rings" passes 0 200
check "a monitor asks for the card's queues" queues_asked virtio-net 2
check "which go on" passes 0 200

# ---- and go; what I/O uses is in those that go, since the guest prefers memory that can be moved ----
check "I/O" io_start a
check "it runs" busy
check "DIMM 1 goes" unplugged 1
check "the I/O goes on" busy
check "DIMM 2, of huge pages" plugged 2 memfd online_movable '"hugetlb":true,"hugetlbsize":2097152'
both_use 2
check "DIMM 2 goes" unplugged 2
check "the I/O goes on" busy
check "every block is what was written" io_end a
check "another DIMM in the place of DIMM 1" plugged 1 ram online_movable
both_use 1

# ---- beside the disk QEMU refuses what takes memory from guests ----
qmp a object-add "{\"qom-type\":\"memory-backend-ram\",\"id\":\"vmem\",\"size\":$BLOCK}" >/dev/null
check "virtio-mem is refused beside the disk" refused "Discarding RAM is disabled" \
	qmp a device_add '{"driver":"virtio-mem-pci","id":"vm0","memdev":"vmem"}'

# ---- more than 64 regions ----
filled() {
	local n answer

	for ((n = 2; n < 80; n++)); do
		answer=$(plug "$n" ram) || break
	done
	echo "$n" >"$WORK/next"
	echo "$n DIMMs"
	[[ $answer == *"$NO_SLOT"* ]] || { echo "$answer" && return 1; }
}
check "without the kernel's vhost QEMU refuses more regions at some time" filled
next=$(<"$WORK/next")
check "that is with 64 of them" same regions 64 "$(regions a "${DEV[0]}")"
more_regions() {
	modprobe vhost max_mem_regions=512 &&
		qmp a device_add "{\"driver\":\"pc-dimm\",\"id\":\"dimm$next\",\"memdev\":\"mem$next\",\"addr\":$(at "$next")}" &&
		plugged $((next + 1)) ram online_movable
}
check "with it, and max_mem_regions=512, more are plugged in" more_regions
check "there are 66" same regions 66 "$(regions a "${DEV[0]}")"
both_use $((next + 1))
check "the traffic goes on, and every byte came back" traffic_ok 0
leaves

# ---- virtio-mem ----
# Of a vhost that allows 509 regions or more QEMU takes several for one device that are there only where the guest has memory.
dynamic=
! qemu-system-x86_64 -device virtio-mem-pci,help | grep -q dynamic-memslots || dynamic=,dynamic-memslots=on
vmem=(-object "memory-backend-ram,id=vmem,size=1G" -device "virtio-mem-pci,id=vm0,memdev=vmem,requested-size=0$dynamic")
GUEST_MEM=320M,maxmem=4G GUEST_APPEND=memhp_default_state=online_kernel guest_start a --run "$card" "${vmem[@]}"
say "a guest with virtio-mem boots"
check "virtio-mem: a guest boots" guest_ready a
check "virtio-mem: its card comes up" guest a 60 "$GUEST_NET"
DEV=([0]=$(device a $NODE 0))
[[ -n ${DEV[0]} ]] || bail "the guest is not on vhost-lite at all"

has_size() { qmp a qom-get '{"path":"/machine/peripheral/vm0","property":"size"}' | grep -q "\"return\": $1[,}]"; }
# sized MIB: the guest takes or gives back until it has so much of it
sized() {
	qmp a qom-set "{\"path\":\"/machine/peripheral/vm0\",\"property\":\"requested-size\",\"value\":$(($1 * M))}" &&
		wait_for 120 has_size $(($1 * M))
}
idle=$(regions a "${DEV[0]}")
traffic 0
check "virtio-mem: 256 MiB come under traffic" sized 256
check "virtio-mem: the card knows them" same regions $((idle + (${#dynamic} > 0))) "$(regions a "${DEV[0]}")"
check "virtio-mem: the card sends from there" card_uses "$(at 0)" "$(at 8)"
check "virtio-mem: packets to the guest are received there" receives_there
check "virtio-mem: 512 MiB more, which can be moved" guest a 10 'echo online_movable >/sys/devices/system/memory/auto_online_blocks'
for round in 1 2; do
	check "virtio-mem: they come ($round)" sized 768
	check "virtio-mem: the card sends from there ($round)" card_uses "$(at 2)" "$(at 8)"
	check "virtio-mem: they go ($round)" sized 256
done
check "virtio-mem: the traffic goes on, and every byte came back" traffic_ok 0
leaves
disk_refused() {
	local output

	# shellcheck disable=SC2086 # words
	output=$(timeout 60 vhostlite run $disk -- qemu-system-x86_64 -accel kvm -m 320M,maxmem=4G -nodefaults -display none "${vmem[@]}" 2>&1) &&
		echo "it is not refused" && return 1
	[[ $output == *"Cannot set discarding of RAM broken"* || $output == *"Discarding RAM is disabled"* ]] || { echo "$output" && return 1; }
}
check "virtio-mem: the disk is refused beside it" disk_refused
check "nobody holds the modules" wait_for 10 no_users vhost_blklite
check "the modules can be unloaded" rmmod vhost_netlite vhost_blklite vhost_lite vhost
finish
