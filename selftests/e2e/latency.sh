#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/latency.sh [ROUNDS]
#
# How long a read takes while writes wait for a journal, in TAP. To be run in the test host, which needs libblkio:
#   tools/vm/run -- selftests/e2e/latency.sh
#
# The image is a sparse file on an ext4 whose journal is on a device of its own that takes 200 ms for a write. Random reads of
# 4 KiB of its first part, one each 5 ms, beside 4 writes at a time that allocate blocks; the same program does that through
# /dev/vdpa-blklite and through QEMU's back end with cache=none,aio=io_uring, in turns, ROUNDS each (default 5).
# What counts is the median of their 99 % marks: a round sees few commits of the journal.
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
ROUNDS=${1:-5} READS=500 SPAN=$((16 << 20)) LIMIT=1.2
bench=$E2E_SRC/tools/bench/blkio-bench

skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}
[[ -x $bench ]] || skip_all "no libblkio when the tree was compiled"
qemu-storage-daemon --help 2>/dev/null | grep -q vhost-user-blk || skip_all "no qemu-storage-daemon with vhost-user-blk"
modprobe -a loop ext4 dm-mod dm-delay 2>/dev/null || skip_all "the test host lacks loop, ext4 or dm-delay"
modules_load vhost-blklite

# ---- the image ----
mkdir "$WORK/ext4"
truncate -s 64M "$WORK/journal"
truncate -s 2G "$WORK/data"
journal=$(losetup --show -f "$WORK/journal") && LOOPS+=("$journal") || bail "no loop device"
data=$(losetup --show -f "$WORK/data") && LOOPS+=("$data") || bail "no loop device"
slow=vhle2e-journal
# the file system itself is made at full speed
dmsetup create $slow --table "0 $((64 * 2048)) delay $journal 0 0 $journal 0 0" && DM+=("$slow") || bail "no dm-delay"
node=/dev/dm-$(dmsetup info -c --noheadings -o minor $slow)
{ mkfs.ext4 -q -b 4096 -O journal_dev "$node" &&
	mkfs.ext4 -q -b 4096 -E nodiscard,lazy_itable_init=1 -J "device=$node" "$data"; } || bail "mkfs.ext4 fails"
mount -o noatime,noinit_itable,commit=1 "$data" "$WORK/ext4" || bail "cannot mount an ext4"
MOUNTS+=("$WORK/ext4")
for name in ours theirs; do
	truncate -s 768M "$WORK/ext4/$name"
	dd if=/dev/urandom of="$WORK/ext4/$name" bs=1M count=$((SPAN >> 20)) conv=notrunc,fsync status=none || bail "no room"
done
dmsetup suspend --nolockfs $slow &&
	dmsetup load $slow --table "0 $((64 * 2048)) delay $journal 0 0 $journal 0 200" && dmsetup resume $slow ||
	bail "the journal cannot be made slow"

# ---- both of them ----
qemu-storage-daemon --object iothread,id=io0 \
	--blockdev "driver=file,node-name=disk,filename=$WORK/ext4/theirs,cache.direct=on,aio=io_uring" \
	--export "type=vhost-user-blk,id=export,addr.type=unix,addr.path=$WORK/theirs.sock,node-name=disk,writable=on,iothread=io0" \
	>"$WORK/theirs.server" 2>&1 </dev/null &
TRAFFIC+=($!)
wait_for 20 test -S "$WORK/theirs.sock" || bail "qemu-storage-daemon: $(tail -n 1 "$WORK/theirs.server")"

# in_turns: ROUNDS results of each, a line of JSON, in WORK/NAME.jsonl
in_turns() {
	local name round begin args=(--size 4096 --span "$SPAN" --qd 64 --every 5000 --allocate 4 --count "$READS")
	local -A how=([ours]="--driver virtio-blk-vhost-vdpa --path /dev/vdpa-blklite --attach $WORK/ext4/ours"
		[theirs]="--path $WORK/theirs.sock")

	for ((round = 0; round < ROUNDS; round++)); do
		for name in ours theirs; do
			begin=$SECONDS
			# shellcheck disable=SC2086 # options without blanks
			timeout 120 "$bench" "${args[@]}" ${how[$name]} >>"$WORK/$name.jsonl" 2>"$WORK/$name.err" || {
				echo "$name: $(tail -n 1 "$WORK/$name.err")"
				return 1
			}
			echo "$name took $((SECONDS - begin)) s"
		done
	done
}

# p99 NAME: the median of its rounds, in microseconds
p99() {
	sed 's/.*"p99":\([0-9]*\).*/\1/' "$WORK/$1.jsonl" | sort -n |
		awk '{ v[NR] = $1 } END { print int(v[int((NR + 1) / 2)] / 1000) }'
}

compare() {
	awk -v ours="$1" -v theirs="$2" -v limit=$LIMIT 'BEGIN { exit !(theirs > 0 && ours <= limit * theirs) }' && return
	echo "99 % of the reads take up to $1 us, QEMU's $2 us: more than $LIMIT times as long"
	return 1
}

check "reads and writes that allocate" in_turns
if [[ -s $WORK/ours.jsonl && -s $WORK/theirs.jsonl ]]; then
	ours=$(p99 ours) theirs=$(p99 theirs)
	say "99 % of the reads within $ours us, QEMU's within $theirs us"
	for name in ours theirs; do
		say "$name: $(sed 's/.*"latency_ns":{\([^}]*\)}.*/\1/' "$WORK/$name.jsonl" | tr '\n' ';')"
	done
	check "reads beside writes that allocate: at most $LIMIT times QEMU's" compare "$ours" "$theirs"
else
	not_ok "reads beside writes that allocate: no results"
fi
finish
