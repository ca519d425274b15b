#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/serve.sh
#
# Stock guests whose disk QEMU has from `vhostlite serve`, as vhost-user-blk-pci: split rings and packed ones, two queues,
# a front end that is killed, a disk that grows. In TAP, to be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/serve.sh
# shellcheck disable=SC2317,SC2119 # functions are called by check, and those of servelib.sh without arguments
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/servelib.sh"

need_device vhost-user-blk-pci
modules_load vhost-blklite

# ---- what is tried ----
# data_both_ways NAME: what the host has put there, and what the guest puts there
data_both_ways() {
	local sum

	dd if=/dev/urandom of="$disk" bs=1M seek=40 count=2 conv=notrunc 2>/dev/null
	sum=$(dd if="$disk" bs=1M skip=40 count=2 2>/dev/null | sha256sum) &&
		same "what the guest reads" "$sum" \
			"$(guest "$1" 30 'dd if=/dev/vda bs=1M skip=40 count=2 iflag=direct 2>/dev/null | sha256sum')" &&
		sum=$(guest "$1" 30 'head -c 2097152 /dev/urandom >/tmp/s &&
			dd if=/tmp/s of=/dev/vda bs=1M seek=44 oflag=direct 2>/dev/null && sha256sum </tmp/s') &&
		same "what the host reads" "$sum" "$(dd if="$disk" bs=1M skip=44 count=2 2>/dev/null | sha256sum)"
}
# random_writes NAME: verified, by requests that our counters saw, and none of which woke the back end
random_writes() {
	local before slept

	before=$(reqs) slept=$(switches)
	guest "$1" 300 "$fio --rw=randwrite --bsrange=512-16k --size=2M $verify" || return
	moved serve "$DEV" '*' reqs "$before" 200 && same "wakes of the back end" "$slept" "$(switches)"
}
# many_reads NAME: not one of 20000 requests wakes the back end
many_reads() {
	local before slept

	before=$(reqs) slept=$(switches)
	guest "$1" 300 "$fio --rw=randread --bs=512 --size=8M --number_ios=20000 --loops=10 --iodepth_batch_complete_min=4" || return
	moved serve "$DEV" '*' reqs "$before" 20000 && same "wakes of the back end" "$slept" "$(switches)"
}
both_queues() {
	local before=() q

	before=("$(reqs 0)" "$(reqs 1)")
	guest "$1" 120 "$fio --rw=randwrite --bs=4k --size=2M --offset_increment=8M --numjobs=2 \
		--cpus_allowed=0,1 --cpus_allowed_policy=split $verify" || return
	for q in 0 1; do
		moved serve "$DEV" "$q" reqs "${before[q]}" 500 || return
	done
}

stop_and_cont() {
	qmp "$1" stop && same state stopped "$(counter serve "$DEV" 0 state)" && qmp "$1" cont &&
		wait_for 20 runs && guest "$1" 60 'dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct'
}
# grows NAME DEVICE MIB: whichever of the two devices of the disk is named
grows() {
	truncate -s "$3M" "$disk" && vhostlite resize "$2" && wait_for 20 size_is "$1" "$(($3 << 20))" &&
		guest "$1" 30 "dd if=/dev/urandom of=/dev/vda bs=1M seek=$(($3 - 1)) count=1 oflag=direct"
}
# left_alone: all that the front end had given is gone
left_alone() {
	same "open files" "$files" "$(open_files)" && same "regions of memory" 0 "$(regions)" &&
		same "mappings of it" 0 "$(shared_maps)" && same "state" stopped "$(counter serve "$DEV" 0 state)"
}

# ---- front ends that mean harm ----
disk=$WORK/disk.img
truncate -s $((64 * 1048576 + 1536)) "$disk"
serve_start --disk "$disk,direct=off"
say "front ends that make mistakes"
while read -r word rest; do
	case $word in
	ok) ok "${rest#*- }" ;;
	not) not_ok "${rest#*- }" ;;
	'#') echo "# $rest" ;;
	esac
done < <(timeout 300 python3 -B "$E2E_SRC/selftests/tools/serve_cases.py" "$SOCKET" "${GUEST_PID[serve]}" \
	--real --rounds 60 2>&1 ||
	echo "not ok - the cases of serve_cases.py")
check "the back end lives on" alive serve
# a client that others wrote
by_libblkio() {
	local before

	before=$(reqs)
	"$E2E_SRC/tools/bench/blkio-bench" --path "$SOCKET" --write --size 4096 --span 16777216 --count 500 --qd 16 &&
		moved serve "$DEV" 0 reqs "$before" 500 && wait_for 20 says "gone"
}
if [[ -x $E2E_SRC/tools/bench/blkio-bench ]]; then
	check "libblkio" by_libblkio
else
	skip "libblkio" "no libblkio in this release"
fi
# its firmware is what wants the disk
private_memory() {
	qemu-system-x86_64 -display none -nodefaults -M pc -m 128M -chardev "socket,id=disk,path=$SOCKET" \
		-device vhost-user-blk-pci,chardev=disk,bootindex=0 &
	local pid=$! status

	wait_for 100 says "not in the memory that is shared; give"
	status=$?
	kill -KILL "$pid"
	return "$status"
}
check "a guest whose memory is not shared: a person hears what to do" private_memory
serve_ends TERM 0

# ---- split rings, two queues ----
serve_start --disk "$disk,direct=off"
files=$(open_files)
front_end a ,num-queues=2,packed=off -smp 2
say "a guest with split rings boots"
check "a guest boots" guest_ready a
[[ $(reqs) -gt 0 ]] || bail "the guest is not on vhost-lite at all: $(tail -n 3 "$WORK/serve/qemu.log" "$WORK/a/qemu.log")"
check "the guest sees the right size" size_is a $((64 * 1048576 + 1536))
check "data written by the host, and by the guest" data_both_ways a
check "random writes verified, none of them through the back end" random_writes a
check "20000 requests, none of them through the back end" many_reads a
check "both queues at once" both_queues a
second_front_end() {
	timeout 20 qemu-system-x86_64 -display none -nodefaults -S -M pc,memory-backend=m \
		-object memory-backend-memfd,id=m,size=128M,share=on \
		-chardev "socket,id=disk,path=$SOCKET" -device vhost-user-blk-pci,chardev=disk
	same "exit status of a second QEMU" 1 $? && says "refused: process ${GUEST_PID[a]} is connected" &&
		guest a 60 'dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct'
}
check "another front end is refused, and says so" second_front_end
holes() {
	local full

	full=$(stat -c %b "$disk")
	guest a 60 "dd if=/dev/urandom of=/dev/vda bs=1M seek=50 count=4 conv=fsync && /usr/bin/blkdiscard -f -o 50M -l 4M /dev/vda" &&
		(($(stat -c %b "$disk") <= full)) && same "bytes of what was discarded" 0 \
			"$(guest a 30 "dd if=/dev/vda bs=1M skip=50 count=4 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c")"
}
check "discards make holes" holes
check "stop and cont" stop_and_cont a
check "the disk grows, told to the device of its queues" grows a "$DEV" 80
check "and to that of its configuration" grows a "$(device serve vdpa-blklite 0)" 96

# ---- the front end is killed ----
check "I/O" io_start a 16
check "it runs" busy
guest_end a KILL
check "QEMU killed: nothing of it is left" wait_for 20 left_alone

# ---- packed rings ----
front_end b ,num-queues=2,packed=on -smp 2
say "a guest with packed rings boots"
check "a second guest boots" guest_ready b
check "it has packed rings" negotiated serve "$DEV" 34
check "both queues at once" both_queues b
check "stop and cont" stop_and_cont b
reset_guest() { qmp b system_reset && guest_ready b; }
check "reset" reset_guest
check "all is well after it" data_both_ways b
check "quit" qmp b quit
quits() { ! alive "$1"; }
check "QEMU ends" wait_for 20 quits b
guest_end b
check "nothing of it is left" wait_for 20 left_alone
serve_ends TERM 0

# ---- SeaBIOS ----
cp "$E2E_IMAGES/disk.img" "$WORK/boot.img"
serve_start --disk "$WORK/boot.img,ro" --queues 1
BOOT=disk front_end c ,bootindex=0
say "a guest boots by SeaBIOS from the disk, which is read-only"
seabios() {
	guest_ready c && moved serve "$DEV" 0 reqs 0 300 && guest c 20 "grep vhl.booted=seabios /proc/cmdline" &&
		same "flag" 1 "$(guest c 10 'cat /sys/block/vda/ro')"
}
check "a guest booted by SeaBIOS" seabios
guest_end c
serve_ends TERM 0
check "nobody holds the module" wait_for 10 no_users vhost_blklite
check "the modules can be unloaded" rmmod vhost_blklite vhost_lite
finish
