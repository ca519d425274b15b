# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The contenders with a driver in userspace, for inside.sh: what each is started with, and taking turns with it.
# Sourced.
#
# Arguments of a case: case= and what begins with "--" go to vhost-bench (network); disk=null|slow|ext4|tmpfs, rw=randread|
# randwrite|randmixed|read, qd=, size=, queues= describe the load of a disk, which every program is told in its own way; count= is
# the number of packets or requests of a round.

VHOST_BENCH=$BENCH_SRC/tools/vhost-bench/vhost-bench
BLKIO_BENCH=$BENCH_SRC/tools/bench/blkio-bench
SPAN=$((32 << 20))
declare -A PID=() TO=() FROM=() SERVER=()
# Nodes by the contender's name without what it has behind that: -packed, -inorder, -ordered, -1region; -N, which are N workers
declare -A NODE=([netlite]=/dev/vhost-netlite [vhost-net]=/dev/vhost-net [blklite]=/dev/vhost-blklite
	[vdpa-blklite]=/dev/vdpa-blklite)
_disk=0

# disk_path KIND: another disk of that kind, into $disk
disk_path() {
	_disk=$(((_disk + 1) % DISKS))
	case $1 in
	null) disk=/dev/nullb$_disk ;;
	slow) disk=/dev/dm-$(dmsetup info -c --noheadings -o minor slow$_disk) ;;
	ext4) disk=$WORK/ext4/disk$_disk ;;
	tmpfs) disk=$WORK/tmpfs/disk$_disk ;;
	esac
}

# server NAME DISK AIO: qemu-storage-daemon, an iothread and one queue; its socket is WORK/NAME.sock
server() {
	local driver=file

	[[ ! -b $2 ]] || driver=host_device
	rm -f "$WORK/$1.sock"
	qemu-storage-daemon --object iothread,id=io0 \
		--blockdev "driver=$driver,node-name=disk,filename=$2,cache.direct=on,aio=$3" \
		--export "type=vhost-user-blk,id=export,addr.type=unix,addr.path=$WORK/$1.sock,node-name=disk,writable=on,iothread=io0" \
		>"$WORK/$1.server" 2>&1 </dev/null &
	SERVER[$1]=$!
	for _ in {1..100}; do
		[[ ! -S $WORK/$1.sock ]] || return 0
		kill -0 "${SERVER[$1]}" 2>/dev/null || break
		sleep 0.1
	done
	echo "qemu-storage-daemon: $(tail -n 1 "$WORK/$1.server")" >"$WORK/$1.err"
	return 1
}

# node_of NAME: the path of the node that its name begins with
node_of() {
	local node

	for node in "${!NODE[@]}"; do
		[[ $1 != "$node"* ]] || printf '%s' "${NODE[$node]}"
	done
}

# command_extras NAME: options by what a contender's name has behind that of its node
command_extras() {
	[[ $1 != *-1region ]] || command+=(--regions 1)
	[[ $1 != *-packed* ]] || command+=(--ring packed)
	[[ $1 != *-inorder ]] || command+=(--in-order on)
	[[ $1 != *-ordered ]] || command+=(--ordered on)
	[[ ! $1 =~ -([0-9]+)$ ]] || command+=(--workers "${BASH_REMATCH[1]}")
}

# command_of NAME ARGUMENT…: what to start, into $command; starts its server. 1: it cannot be, the reason is in WORK/NAME.err
command_of() {
	local name=$1 count rw qd size queues word net=() disk

	shift
	count=$(($(argument count "$@") / BENCH_DIVIDE))
	rw=$(argument rw "$@") qd=$(argument qd "$@") size=$(argument size "$@")
	queues=$(argument queues "$@")
	: "${size:=4096}" "${queues:=1}"
	[[ -z $rw ]] || disk_path "$(argument disk "$@")"
	for word; do
		[[ $word == [a-z]*=* ]] || net+=("$word")
	done
	case $name in
	netlite* | vhost-net*)
		command=("$VHOST_BENCH" --json --dev "$(node_of "$name")" --count "$count" "${net[@]}" "$(argument case "$@")")
		command_extras "$name"
		;;
	blklite* | vdpa-blklite)
		command=("$VHOST_BENCH" --json --dev "$(node_of "$name")" --count "$count" --file "$disk" --direct on --verify off
			--span "$SPAN" --size "$size" --qd "$qd" --queues "$queues")
		[[ $rw == rand* ]] || command+=(--seq)
		command_extras "$name"
		case $rw in
		*read) command+=(blk-read) ;;
		*mixed) command+=(blk-mixed) ;;
		*) command+=(blk-write) ;;
		esac
		;;
	blkio-vdpa | vhost-user-*)
		[[ -x $BLKIO_BENCH ]] || { echo "no libblkio when the tree was compiled" >"$WORK/$name.err" && return 1; }
		command=("$BLKIO_BENCH" --count "$count" --span "$SPAN" --size "$size" --qd "$qd")
		if [[ $name == blkio-vdpa ]]; then
			command+=(--driver virtio-blk-vhost-vdpa --path /dev/vdpa-blklite --attach "$disk")
		else
			[[ $name == *-native ]] && word=native || word=io_uring
			server "$name" "$disk" "$word" || return 1
			command+=(--path "$WORK/$name.sock" --server "${SERVER[$name]}")
		fi
		[[ $rw == rand* ]] || command+=(--seq)
		[[ $rw == *read ]] || command+=(--write)
		;;
	fio-raw)
		command=(fio --name=raw --filename="$disk" --ioengine=io_uring --direct=1 --rw="$rw" --bs="$size" --iodepth="$qd"
			--size="$SPAN" --io_size=$((count * size)) --output-format=json)
		;;
	*)
		echo "unknown contender" >"$WORK/$name.err"
		return 1
		;;
	esac
}

# begin NAME: starts $command, which waits to be told to go on
begin() {
	local name=$1 fd

	[[ $name != fio-raw ]] || { FIO=("${command[@]}") && return; }
	rm -f "$WORK/$name.in" "$WORK/$name.out"
	mkfifo "$WORK/$name.in" "$WORK/$name.out"
	"${command[@]}" --rounds $((BENCH_ROUNDS + 1)) --step <"$WORK/$name.in" >"$WORK/$name.out" 2>"$WORK/$name.err" &
	PID[$name]=$!
	# for reading and writing, so that neither end waits for the other
	exec {fd}<>"$WORK/$name.in" && TO[$name]=$fd
	exec {fd}<>"$WORK/$name.out" && FROM[$name]=$fd
}

# turn CASE NAME ROUND: lets it do a round and keeps the result; round 0 warms up and is not kept
turn() {
	local line='' part end=$((SECONDS + 120))

	if [[ $2 == fio-raw ]]; then
		"${FIO[@]}" >"$WORK/fio.json" 2>"$WORK/fio-raw.err" || return 1
		[[ $3 == 0 ]] || cp "$WORK/fio.json" "$BENCH_OUT/$1/$2.$3.json"
		return
	fi
	echo >&"${TO[$2]}"
	until IFS= read -r -t 1 -u "${FROM[$2]}" part; do
		line+=$part
		kill -0 "${PID[$2]}" 2>/dev/null || break
		((SECONDS < end)) || { echo "no result after 120 s" >"$WORK/$2.err" && break; }
	done
	line+=$part
	[[ $line == *'"ok":true'* ]] || return 1
	[[ $3 == 0 ]] || printf '{"round":%d,"result":%s}\n' "$3" "$line" >>"$BENCH_OUT/$1/$2.jsonl"
}

# end NAME: it and its server
end() {
	local pid fd

	for pid in ${PID[$1]-} ${SERVER[$1]-}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for fd in ${TO[$1]-} ${FROM[$1]-}; do
		exec {fd}>&-
	done
	unset "PID[$1]" "SERVER[$1]" "TO[$1]" "FROM[$1]"
}
