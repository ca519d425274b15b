#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/disk.sh
#
# Stock guests on /dev/vdpa-blklite, in TAP. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/disk.sh
# One guest has a disk of every kind, so that all is done in three boots, one of them by SeaBIOS from our disk.
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
NODE=vdpa-blklite

need_device vhost-vdpa-device-pci
modules_load vhost-blklite
{ modprobe -a loop ext4 && modprobe null_blk nr_devices=0; } || bail "the test host lacks loop, null_blk or ext4"

# ---- the disks; in the guest they are /dev/d0, /dev/d1, …, told by their serial numbers ----
odd=1536 # their sizes are no multiple of 4096
mkdir "$WORK/ext4" "$WORK/check"
truncate -s 160M "$WORK/ext4.img"
mkfs.ext4 -q "$WORK/ext4.img"
mount -o loop "$WORK/ext4.img" "$WORK/ext4" || bail "cannot mount an ext4"
MOUNTS+=("$WORK/ext4")
file=$WORK/ext4/raw.img tmpfs=$WORK/tmpfs.img ro=$WORK/ro.img grows=$WORK/grows.img big=$WORK/4k.img
truncate -s $((64 * 1048576 + odd)) "$file"
truncate -s $((32 * 1048576 + odd)) "$tmpfs"
truncate -s 16M "$WORK/loop.img" "$grows" "$big"
head -c 1M /dev/urandom >"$ro"
loop=$(losetup --show -f "$WORK/loop.img") || bail "no loop device"
LOOPS+=("$loop")
null_disk nullb0 submit_queues=2 discard=1
# sectors that cannot be read or written
null_disk nullb1 badblocks=+2048-2055
sum_of() { sha256sum "$1" | cut -d' ' -f1; }
ro_sum=$(sum_of "$ro")

run="--disk $file,serial=d0,direct=on --disk $tmpfs,serial=d1,direct=off --disk $loop,serial=d2"
run+=" --disk /dev/nullb0,serial=d3,queues=4 --disk $ro,serial=d4,ro --disk /dev/nullb1,serial=d5"
run+=" --disk $big,serial=d6,blocksize=4096,bps-write=1000000000 --disk $grows,serial=d7,discard=off"
guest_start a --run "$run" -smp 2
say "a guest with 8 disks boots"
check "a guest boots" guest_ready a
check "its disks are there" guest a 60 "$GUEST_DISKS"
[[ $(devices a $NODE | wc -l) -eq 8 ]] || bail "the guest is not on vhost-lite at all"
declare -A DEV=()
for n in 0 1 2 3 4 5 6 7; do
	DEV[$n]=$(device a $NODE "$n")
done
reqs() { counter a "${DEV[$1]}" "${2:-*}" reqs; }
# QEMU shows a disk's bit to the guest whatever its options say
packed() {
	local n

	for n in "${DEV[@]}"; do
		negotiated a "$n" 34 || return
	done
	same "the guest's own word" 1 "$(guest a 10 "cut -c35 /sys/class/block/d0/device/features 2>/dev/null || cut -c35 /tmp/d0/device/features")"
}
check "the guest has packed rings" packed

# ---- data ----
aio="--ioengine=libaio --iodepth=16 --direct=1 --thread"
verify="--verify=crc32c --do_verify=1 --verify_fatal=1"
# on_disks "N…" LEAST FIO-OPTION…: fio in the guest, on all these disks at once, is content, and for each our counters moved by
# LEAST requests; the guest makes one of neighbours that are under way at once, so LEAST is not fio's number
on_disks() {
	local before=() jobs='' n

	for n in $1; do
		before[n]=$(reqs "$n")
		jobs+=" --name=d$n --filename=/dev/d$n"
	done
	guest a 300 "fio $3 $jobs >/tmp/fio.log 2>&1; status=\$?; grep -E 'fio:|verify|err=|issued|I/O error' /tmp/fio.log; exit \$status" || return
	for n in $1; do
		moved a "${DEV[$n]}" '*' reqs "${before[n]}" "$2" || return
	done
}
kinds="ext4 with O_DIRECT, tmpfs buffered, loop device, null_blk"
check "random writes verified: $kinds" on_disks "0 1 2 3" 700 "$aio --rw=randwrite --bs=4k --size=2M $verify"
check "all sizes verified: $kinds" on_disks "0 1 2 3" 100 "$aio --rw=write --bsrange=512-64k --size=4M --offset=4M $verify"
check "buffered in the guest" on_disks 0 16 "--thread --rw=randwrite --bs=4k --size=4M --offset=16M --direct=0 --end_fsync=1 $verify"
check "blocks of 4096 bytes" on_disks 6 700 "$aio --rw=randwrite --bs=4k --size=2M $verify"
check "requests of 1 MiB" on_disks 0 8 "$aio --iodepth=4 --rw=write --bs=1M --size=8M --offset=32M $verify"

limits() {
	local word
	local m=1048576

	same "sizes" "$((64 * m + odd)) $((32 * m + odd)) $((16 * m)) $((32 * m))" \
		"$(guest a 10 'for n in 0 1 2 3; do blockdev --getsize64 /dev/d$n; done' | paste -sd' ')" || return
	same "block size" 4096 "$(guest a 10 'cat /tmp/d6/queue/logical_block_size')" || return
	for word in max_segments max_segment_size max_hw_sectors_kb; do
		echo "$word $(guest a 10 "cat /tmp/d0/queue/$word")"
	done
}
check "the guest sees the right sizes" limits
# the last sector, beyond the last whole 4096
last_sector() {
	local sector sum

	sector=$(($(stat -c %s "$file") / 512 - 1))
	sum=$(guest a 20 "head -c 512 /dev/urandom >/tmp/s && dd if=/tmp/s of=/dev/d0 bs=512 seek=$sector oflag=direct 2>/dev/null && sha256sum </tmp/s") &&
		same "sum of the last sector" "$sum" "$(tail -c 512 "$file" | sha256sum)" &&
		guest a 20 "dd if=/dev/d0 bs=512 skip=$sector iflag=direct | cmp - /tmp/s && ! dd if=/tmp/s of=/dev/d0 bs=512 seek=$((sector + 1)) oflag=direct"
}
check "the last sector, and nothing after it" last_sector

# fio counts what it issued; with no merging in the guest each is a request
counted() {
	local before fio

	guest a 10 "echo 2 >/tmp/d3/queue/nomerges; echo none >/tmp/d3/queue/scheduler" || return
	before=$(reqs 3)
	fio=$(guest a 120 "fio $aio --rw=randrw --bs=4k --size=8M --name=job --filename=/dev/d3" |
		sed -n 's/.*issued rwts: total=\([0-9]*\),\([0-9]*\),.*/\1 + \2/p')
	same "requests" "$((fio))" "$(($(reqs 3) - before))" && ((fio == 2048))
}
check "our counter equals fio's" counted
both_queues() {
	local before=() q

	before=("$(reqs 3 0)" "$(reqs 3 1)")
	guest a 120 "fio $aio --rw=randwrite --bs=4k --size=2M --offset_increment=8M --numjobs=2 --cpus_allowed=0,1 --cpus_allowed_policy=split $verify --name=job --filename=/dev/d3" || return
	for q in 0 1; do
		moved a "${DEV[3]}" "$q" reqs "${before[q]}" 500 || return
	done
}
check "several queues at once" both_queues

read_only() {
	same "flag" 1 "$(guest a 10 'cat /tmp/d4/ro')" &&
		guest a 20 "! dd if=/dev/zero of=/dev/d4 bs=4096 count=1 oflag=direct && sha256sum </dev/d4" | grep -q "$ro_sum" &&
		same "contents" "$ro_sum" "$(sum_of "$ro")"
}
check "a read-only disk refuses writes" read_only

# ranges: what the guest's kernel made of the limits; KiB of a file
holes_offered() {
	same "of d0 to d4 and d7" "1073741824 134217728 1073741824 134217728 1073741824 134217728 1073741824 134217728 0 0 0 134217728" \
		"$(guest a 10 'for n in 0 1 2 3 4 7; do cat /tmp/d$n/queue/discard_max_bytes /tmp/d$n/queue/write_zeroes_max_bytes; done' | paste -sd' ')"
}
check "discards and zeroes are offered for $kinds, not for a read-only one, no discards where they are off" holes_offered
used() { stat -c %b "$1" | awk '{ print $1 / 2 }'; }
# is_zero N OFFSET LENGTH, in MiB
is_zero() {
	same "bytes that are not zero on disk $1" 0 \
		"$(guest a 30 "dd if=/dev/d$1 bs=1M skip=$2 count=$3 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c")"
}
holes() {
	local n full errors

	for n in 0 1 2 3; do
		errors=$(counter a "${DEV[$n]}" '*' errors)
		guest a 60 "dd if=/dev/urandom of=/dev/d$n bs=1M seek=8 count=6 conv=fsync" || return
		full=$(used "$tmpfs")
		guest a 60 "/usr/bin/blkdiscard -f -z -o 9M -l 3M /dev/d$n && sync" && is_zero "$n" 9 3 || return
		((n != 1)) || same "size of what was zeroed" "$full" "$(used "$tmpfs")" || return
		guest a 60 "/usr/bin/blkdiscard -f -o 8M -l 6M /dev/d$n" || return
		# what a null_blk has after a discard is what it had
		((n == 3)) || is_zero "$n" 8 6 || return
		((n != 1)) || (($(used "$tmpfs") <= full - 6 * 1024)) || { echo "no hole: $(used "$tmpfs") of $full" && return 1; }
		same "errors of disk $n" "$errors" "$(counter a "${DEV[$n]}" '*' errors)" || return
	done
}
check "blkdiscard zeroes, and makes holes: $kinds" holes
# A VMM may keep what the guest writes to the config space for itself: what counts is that guest and disk agree. A guest
# that believes in write through sends no flushes.
loop_flushes() { awk '{ print $16 }' "/sys/block/${loop#/dev/}/stat"; }
cache_is() {
	local flushes

	flushes=$(loop_flushes) && guest a 30 "dd if=/dev/urandom of=/dev/d2 bs=4k count=20 oflag=direct" || return
	flushes=$(($(loop_flushes) - flushes))
	if [[ $1 == "write back" ]]; then
		((flushes == 0))
	else
		((flushes >= 20))
	fi || { echo "the guest has $1, and there were $flushes flushes for 20 writes" && return 1; }
}
cache_type() {
	same "at first" "write back" "$(guest a 10 'cat /tmp/d2/cache_type')" && cache_is "write back" &&
		guest a 10 "echo write through >/tmp/d2/cache_type" && cache_is "$(guest a 10 'cat /tmp/d2/cache_type')" &&
		guest a 10 "echo write back >/tmp/d2/cache_type" && same "at last" "write back" "$(guest a 10 'cat /tmp/d2/cache_type')" &&
		cache_is "write back"
}
check "the guest switches its write cache" cache_type

io_error() {
	local errors

	errors=$(counter a "${DEV[5]}" '*' errors)
	# sectors 2048..2055 are bad
	guest a 30 "dd if=/dev/d5 of=/dev/null bs=4096 count=8 iflag=direct && ! dd if=/dev/d5 of=/dev/null bs=4096 skip=256 count=1 iflag=direct &&
		! dd if=/dev/zero of=/dev/d5 bs=4096 seek=256 count=1 oflag=direct && dd if=/dev/d5 of=/dev/null bs=4096 skip=257 count=8 iflag=direct &&
		dmesg | grep -i 'i/o error.*sector 2048'" && moved a "${DEV[5]}" '*' errors "$errors" 2
}
check "an I/O error reaches the guest, the disk goes on" io_error

resized() {
	truncate -s 24M "$grows" && vhostlite resize "${DEV[7]}" || return
	size_is() { same "size" "$1" "$(guest a 10 'blockdev --getsize64 /dev/d7')"; }
	wait_for 20 size_is $((24 * 1048576)) && on_disks 7 100 "$aio --rw=write --bs=16k --offset=20M --size=4M $verify"
}
check "a disk grows" resized

# the limit is in the path of all requests, and out of it again
held() {
	local began=$SECONDS before dd="dd if=/dev/d7 of=/dev/null bs=4k count=150 iflag=direct"

	same "limits that run has set" bps-write=1000000000 "$(vhostlite limit "${DEV[6]}")" &&
		same "others" off "$(vhostlite limit "${DEV[7]}")" && vhostlite limit "${DEV[7]}" iops-read=50 bps=1000000 &&
		same "limits" "iops-read=50 bps-total=1000000" "$(vhostlite limit "${DEV[7]}")" && guest a 60 "$dd" &&
		moved a "${DEV[7]}" '*' limited 0 100 || return
	((SECONDS - began >= 2)) || { echo "150 requests at 50 a second took $((SECONDS - began)) s" && return 1; }
	before=$(counter a "${DEV[7]}" '*' limited)
	vhostlite limit "${DEV[7]}" off && guest a 60 "$dd" &&
		same "waits without limits" "$before" "$(counter a "${DEV[7]}" '*' limited)"
}
check "a disk is limited" held

# ---- what happens meanwhile ----
# in_background: fio in the guest, which rewrites and verifies disks of several kinds
in_background() {
	guest a 20 "rm -f /tmp/fio.rc; (fio $aio --rw=randwrite --bs=4k --size=${1:-8M} $verify --name=job --filename=/dev/d1 >/tmp/fio.log 2>&1; echo \$? >/tmp/fio.rc) >/dev/null 2>&1 </dev/null &"
}
# busy N: requests to disk N go on
busy() {
	more() { (($(reqs "$1") - $2 >= 20)); }
	wait_for 60 more "$1" "$(reqs "$1")"
}
stands() {
	local before

	qmp a stop && before=$(reqs 1) && sleep 2 && same "requests while stopped" "$before" "$(reqs 1)" &&
		same "state" stopped "$(counter a "${DEV[1]}" 0 state)"
}
# stuck N: who waits for whom, the guest for requests or the disk for the guest
stuck() {
	guest a 20 "grep virtio /proc/interrupts; echo in flight: \$(cat /tmp/d$1/inflight)"
	awk -v dev="${DEV[$1]}" '/^vhl-device:/ { this = $2 } /^vhl-queue:/ && this == dev && !seen[$0]++' \
		/proc/"${GUEST_PID[a]}"/fdinfo/* 2>/dev/null
}
fio_done() {
	guest a 400 'until test -e /tmp/fio.rc; do sleep 1; done; cat /tmp/fio.log; exit $(cat /tmp/fio.rc)' && return
	stuck 1
	return 1
}
check "I/O before a stop" in_background
check "it runs" busy 1
check "stop: nothing moves" stands
check "cont" qmp a cont
check "the data are right" fio_done

check "I/O before a reset" in_background 30M
check "it runs" busy 1
reset_guest() {
	qmp a system_reset && guest_ready a && guest a 60 "$GUEST_DISKS"
}
check "reset during I/O" reset_guest
check "all is well after it" on_disks 1 700 "$aio --rw=randwrite --bs=4k --size=2M $verify"
check "on several queues, too" both_queues

# ---- a file system, and QEMU killed ----
make_fs() {
	guest a 120 "/usr/bin/mke2fs -q -F -t ext4 /dev/d0 && mount /dev/d0 /mnt && mkdir /mnt/dir && for i in 1 2 3 4 5 6 7 8; do
		head -c \$((i * 300001)) /dev/urandom >/mnt/dir/file\$i; done && echo done >/mnt/last && cd /mnt && sha256sum dir/* last >/tmp/sums &&
		cp /tmp/sums /mnt/sums && sync"
	guest a 20 "cat /tmp/sums" >"$WORK/sums"
	[[ $(wc -l <"$WORK/sums") -eq 9 ]]
}
check "ext4 made, written, synced" make_fs
trimmed() {
	local full

	guest a 60 "head -c 16777216 /dev/urandom >/mnt/trim && sync" && full=$(used "$file") &&
		guest a 60 "rm /mnt/trim && sync && fstrim -v /mnt && sync" || return
	(($(used "$file") <= full - 15 * 1024)) || { echo "$(used "$file") KiB, $full before" && return 1; }
}
check "fstrim in the guest gives space back" trimmed
# writes go on while it dies
guest a 20 "(while true; do dd if=/dev/zero of=/mnt/more bs=64k count=100 conv=fsync; done >/dev/null 2>&1 </dev/null &)" >/dev/null
check "I/O before QEMU is killed" busy 0
guest_end a KILL
check "QEMU killed: nothing holds the module" wait_for 10 no_users vhost_blklite
survived() {
	mount -o loop "$file" "$WORK/check" || return
	(cd "$WORK/check" && sha256sum -c "$WORK/sums" && cmp sums "$WORK/sums")
	local status=$?
	umount "$WORK/check" && e2fsck -fn "$file" && ((status == 0))
}
check "what was synced is there, the file system is sound" survived

# ---- SeaBIOS ----
cp "$E2E_IMAGES/disk.img" "$WORK/boot.img"
BOOT=disk guest_start c --run "--disk $WORK/boot.img,bootindex=0"
say "a guest boots by SeaBIOS from our disk"
seabios() {
	local dev sum

	guest_ready c && dev=$(device c "$NODE" 0) && moved c "$dev" 0 reqs 0 300 && moved c "$dev" 0 in 0 14000000 &&
		guest c 20 "grep vhl.booted=seabios /proc/cmdline" &&
		sum=$(head -c 4M "$WORK/boot.img" | sha256sum | cut -d' ' -f1) &&
		guest c 60 "head -c 4194304 /dev/vda | sha256sum" | grep "$sum"
}
check "a guest booted by SeaBIOS from the disk" seabios
check "quit" qmp c quit
quits() { ! alive c; }
check "QEMU ends" wait_for 20 quits
guest_end c
check "nobody holds the module" wait_for 10 no_users vhost_blklite
check "the modules can be unloaded" rmmod vhost_blklite vhost_lite
no_null_disks
finish
