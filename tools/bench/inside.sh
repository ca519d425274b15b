#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: inside.sh user|icount
#
# The tracks with a driver in userspace, to be run in the test host by tools/bench/run, which sets BENCH_*. The contenders
# of a case are started one after the other and wait; then they take turns, in an order that is turned around each round.
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$BENCH_DIR/contenders.sh"
track=$1
WORK=$(mktemp -d /tmp/bench.XXXXXX)
DISKS=6
command=()

modules() {
	local module

	# the kernel's own takes 64 regions unless told otherwise
	modprobe vhost max_mem_regions=512 && modprobe -a tun tap vhost_net vhost_iotlb loop ext4 || return
	for module in vhost_lite vhost-netlite vhost-blklite; do
		insmod "$BENCH_SRC/$module.ko" || return
	done
}

# Reads take a millisecond, writes five and flushes ten, however many there are
slow_disks() {
	local i disk sectors

	modprobe -a dm-mod dm-delay || return
	for ((i = 0; i < DISKS; i++)); do
		disk=/dev/nullb$((DISKS + i))
		sectors=$(blockdev --getsz "$disk") || return
		dmsetup create "slow$i" --table "0 $sectors delay $disk 0 1 $disk 0 5 $disk 0 10" || return
	done
}

disks() {
	local i

	# the second half of them is what others stand on
	modprobe null_blk nr_devices=$((2 * DISKS)) gb=1 queue_mode=2 || return
	mkdir "$WORK/ext4" "$WORK/tmpfs"
	mount -t tmpfs tmpfs "$WORK/tmpfs" || return
	! cases_of "$track" | grep -q 'disk=slow' || slow_disks || return
	cases_of "$track" | grep -qE 'disk=(ext4|tmpfs)' || return 0
	modprobe brd rd_nr=1 rd_size=$((256 << 10)) && mkfs.ext4 -q /dev/ram0 && mount /dev/ram0 "$WORK/ext4" || return
	for ((i = 0; i < DISKS; i++)); do
		head -c "$SPAN" /dev/zero | tee "$WORK/ext4/disk$i" >"$WORK/tmpfs/disk$i" || return
	done
	sync
}

# measure LINE: all rounds of a case
measure() {
	local name contenders words who round i present=() lost=''

	name=$(field 0 "$1")
	read -r -a contenders <<<"$(field 3 "$1")"
	read -r -a words <<<"$(field 5 "$1")"
	# fio says milliseconds, and what does not wait for the machine need not be counted
	mkdir -p "$BENCH_OUT/$name"
	for who in "${contenders[@]}"; do
		[[ $track != icount || $who != fio-raw ]] || continue
		if command_of "$who" "${words[@]}" && begin "$who" && turn "$name" "$who" 0; then
			present+=("$who")
			printf '%s\n' "${command[*]}" >"$BENCH_OUT/$name/$who.command"
		else
			skip "$name" "$who" "$(tail -n 1 "$WORK/$who.err")"
			end "$who"
		fi
	done
	for ((round = 1; round <= BENCH_ROUNDS; round++)); do
		for ((i = 0; i < ${#present[@]}; i++)); do
			who=${present[round % 2 ? i : ${#present[@]} - 1 - i]}
			[[ " $lost " != *" $who "* ]] || continue
			turn "$name" "$who" "$round" && continue
			# what it says later would be taken for the next round
			printf '    %s is lost in round %d: %s\n' "$who" "$round" "$(tail -n 1 "$WORK/$who.err")"
			lost+=" $who"
		done
	done
	for who in ${present[@]+"${present[@]}"}; do
		end "$who"
	done
}

results=$BENCH_OUT
# How long a file over 9p takes is chance, and moves virtual time: it waits until the end
[[ $track != icount ]] || BENCH_OUT=$WORK/results
mkdir -p "$BENCH_OUT"
modules || { echo "the modules do not load" && exit 1; }
disks || { echo "the disks cannot be made" && exit 1; }
{
	echo "kernel=$(uname -r)"
	echo "processors=$(nproc)"
	echo "qemu=$(qemu-storage-daemon --version | sed -n '1s/.*version //p')"
	echo "date=$(date -u +%Y-%m-%d)"
} >"$BENCH_OUT/environment"
# What comes over 9p is slow once
cat "$VHOST_BENCH" "$BLKIO_BENCH" >/dev/null 2>&1

mapfile -t lines < <(cases_of "$track")
for ((k = 0; k < ${#lines[@]}; k++)); do
	progress $((k + 1)) ${#lines[@]} "$(field 0 "${lines[k]}"): $(field 3 "${lines[k]}")"
	measure "${lines[k]}"
done
[[ $results == "$BENCH_OUT" ]] || cp -r "$BENCH_OUT/." "$results"
