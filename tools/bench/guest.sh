#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: guest.sh
#
# The track with a stock guest, to be run in the test host by tools/bench/run, which sets BENCH_*. One guest has the devices
# of all contenders at once, so that a round can have them one after the other, in an order that is turned around each
# time; but for the disk of another QEMU, which is that of a second guest. Cases with queues= have guests of their own with
# as many processors, those with iommu= guests whose cards are behind an IOMMU.
#
# Arguments of a case: net=tcp-to|tcp-from|udp-to|udp-from|udp-rr|ping, seen from the host, queues= with as many connections,
# iommu=pt|strict as the guest uses it; or disk=null|ext4|tmpfs, rw=, qd=, size=, fsync=, queues= for fio.
# shellcheck disable=SC2317 # called by counted
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/guestlib.sh"
GUEST_MEM=768M
SECONDS_EACH=2
declare -A CARD=([netlite]=1 [qemu-vhost]=2 [qemu-own]=3)
# contenders that are not in the guest a
declare -A GUEST_OF=([virtio-uring11]=b)
declare -a ARGS=() ARGS_OF_B=() SERVERS=() SLOTS=()
RUN='' IOMMU='' _nullb=0

# ---- devices ----

# cards QUEUES: one for each contender, with so many queue pairs
cards() {
	local queues=$1 n mode=(tap vnet_hdr) net='' device=''

	if ((queues > 1)); then
		mode+=(multi_queue)
		net=",queues=$queues" device=",mq=on,vectors=$((2 * queues + 2))"
	fi
	for n in 1 2 3; do
		ip tuntap add "tap$n" mode "${mode[@]}" && ip addr add "10.77.$n.1/24" dev "tap$n" && ip link set "tap$n" up || return
		LINKS+=("tap$n")
	done
	if [[ -n $IOMMU ]]; then
		ARGS+=("${IOMMU_DEVICE[@]}")
		iommu_card 1 vhost=on,vhostfd=20 && ARGS+=("${CARD_BEHIND[@]}")
		iommu_card 2 vhost=on && ARGS+=("${CARD_BEHIND[@]}")
		iommu_card 3 vhost=off && ARGS+=("${CARD_BEHIND[@]}")
		return
	fi
	RUN+=" --net tap1,mac=52:54:00:00:00:01$net"
	ARGS+=(-netdev "tap,id=on,ifname=tap2,script=no,downscript=no,vhost=on$net"
		-device "virtio-net-pci,netdev=on,mac=52:54:00:00:00:02$device"
		-netdev "tap,id=off,ifname=tap3,script=no,downscript=no,vhost=off$net"
		-device "virtio-net-pci,netdev=off,mac=52:54:00:00:00:03$device")
}

file_systems() {
	mkdir -p "$WORK/ext4" "$WORK/tmpfs"
	mountpoint -q "$WORK/tmpfs" && return
	mount -t tmpfs tmpfs "$WORK/tmpfs" && MOUNTS+=("$WORK/tmpfs") &&
		modprobe brd rd_nr=1 rd_size=$((256 << 10)) && mkfs.ext4 -q /dev/ram0 &&
		mount /dev/ram0 "$WORK/ext4" && MOUNTS+=("$WORK/ext4")
}

# backing KIND NAME: a disk of that kind, into $file
backing() {
	case $1 in
	null) file=/dev/nullb$((_nullb++)) ;;
	*)
		file_systems || return
		file=$WORK/$1/$2
		head -c "$SPAN" /dev/zero >"$file"
		;;
	esac
}

# disks KIND QUEUES: one for each contender; in the guest they are /dev/KIND-CONTENDER
disks() {
	local kind=$1 queues=$2 who file driver node aio args

	for who in vdpa-blklite virtio-uring virtio-uring11 virtio-native vhost-user-blk; do
		backing "$kind" "$who" || return
		driver=file node=$kind-$who
		[[ ! -b $file ]] || driver=host_device
		case $who in
		vdpa-blklite)
			RUN+=" --disk $file,serial=$node,queues=$queues"
			;;
		virtio-*)
			[[ $who == *-native ]] && aio=native || aio=io_uring
			args=(-object "iothread,id=io-$node"
				-blockdev "driver=$driver,node-name=$node,filename=$file,cache.direct=on,aio=$aio"
				-device "virtio-blk-pci,drive=$node,serial=$node,iothread=io-$node,num-queues=$queues")
			if [[ -n ${GUEST_OF[$who]-} ]]; then
				ARGS_OF_B+=("${args[@]}")
			else
				ARGS+=("${args[@]}")
			fi
			;;
		vhost-user-blk)
			# it cannot be given a serial number: the guest knows it by its slot
			qemu-storage-daemon --object iothread,id=io0 \
				--blockdev "driver=$driver,node-name=disk,filename=$file,cache.direct=on,aio=io_uring" \
				--export "type=vhost-user-blk,id=export,addr.type=unix,addr.path=$WORK/$kind.sock,node-name=disk,writable=on,iothread=io0,num-queues=$queues" \
				>"$WORK/$kind.server" 2>&1 </dev/null &
			SERVERS+=($!)
			TRAFFIC+=($!)
			wait_for 20 test -S "$WORK/$kind.sock" >/dev/null || echo "    qemu-storage-daemon: $(<"$WORK/$kind.server")"
			# its config space says that writes are on the disk when they are done, and the guest would flush nothing
			ARGS+=(-chardev "socket,id=c-$kind,path=$WORK/$kind.sock"
				-device "vhost-user-blk-pci,chardev=c-$kind,num-queues=$queues,config-wce=off,addr=0x1$((${#SLOTS[@]} + 4))")
			SLOTS+=("0000:00:1$((${#SLOTS[@]} + 4)).0 $node")
			;;
		esac
	done
}

# guest_with CPUS QUEUES KIND…: a guest on these, called a; and b, of a newer QEMU, where there are disks
guest_with() {
	local cpus=$1 queues=$2 kind log with

	shift 2
	RUN='' ARGS=() ARGS_OF_B=() SLOTS=() SERVERS=() _nullb=0
	cards "$queues" || bail "no TAPs"
	for kind; do
		disks "$kind" "$queues" || bail "no disks on $kind"
	done
	with=(--run "$RUN")
	[[ -z $IOMMU ]] || with=(--open 20=/dev/vhost-netlite)
	GUEST_APPEND=${IOMMU:+${IOMMU_APPEND[$IOMMU]}} MACHINE=${IOMMU:+$IOMMU_MACHINE} guest_start a "${with[@]}" -smp "$cpus" -object "memory-backend-memfd,id=mem,size=$GUEST_MEM,share=on" \
		-machine memory-backend=mem -action reboot=shutdown "${ARGS[@]}"
	log=$(guest_ready a) || bail "the guest does not boot: $log"
	log=$(guest a 60 "printf '%s\n' $(printf "'%s' " "${SLOTS[@]}") >/tmp/slots; $NAMES") || bail "the guest has not what it should have: $log"
	[[ -n $(find /proc/"${GUEST_PID[a]}"/fd -lname /dev/vhost-net 2>/dev/null) ]] || bail "QEMU does without vhost-net"
	((${#ARGS_OF_B[@]})) && newer_qemu || return 0
	echo "newer_qemu=$(qemu_version "$NEWER/")" >>"$BENCH_OUT/environment"
	PATH=$NEWER:$PATH guest_start b -smp "$cpus" -action reboot=shutdown "${ARGS_OF_B[@]}"
	log=$(guest_ready b) || bail "the guest of the newer QEMU does not boot: $log"
	log=$(guest b 60 "$NAMES") || bail "the guest of the newer QEMU has not what it should have: $log"
}

guest_gone() {
	local pid link

	guest_end a
	guest_end b
	for pid in ${SERVERS[@]+"${SERVERS[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for link in "${LINKS[@]}"; do
		ip link del "$link"
	done
	LINKS=()
}

# ---- rounds ----

# ours NODE COUNTER: of all devices of the guest on that node
ours() {
	counter a "$(devices a "$1" | tr '\n' ' ')" '*' "$2"
}

# counted CASE ROUND WHO COMMAND…: runs it and keeps by how much our counters moved; 1 when none did
counted() {
	local case=$1 round=$2 who=$3 name line="$2" before=() moved node

	shift 3
	[[ $who == netlite ]] && node=vhost-netlite || node=vdpa-blklite
	for name in reqs kicks wakes batches calls; do
		before+=("$(ours "$node" "$name")")
	done
	"$@" || return
	for name in reqs kicks wakes batches calls; do
		moved=$(($(ours "$node" "$name") - before[0]))
		before=("${before[@]:1}")
		[[ $name != reqs || $moved != 0 ]] || { skip "$case" "$who" "our counters did not move: QEMU does without us" && return 1; }
		line+=" $name=$moved"
	done
	printf '%s\n' "$line" >>"$BENCH_OUT/$case/$who.counters"
}

# packets CARD: how many its TAP has seen
packets() {
	echo $(($(<"/sys/class/net/tap$1/statistics/rx_packets") + $(<"/sys/class/net/tap$1/statistics/tx_packets")))
}

# watched COMMAND CASE ROUND WHO…: runs it, a contender's part of a round, and keeps what it cost the guest. How many requests
# it was for fio says itself
watched() {
	local case=$2 round=$3 who=$4 card=${CARD[$4]-} ops='' before after line i
	local pids=("${GUEST_PID[@]}" ${SERVERS[@]+"${SERVERS[@]}"})

	[[ -z $card ]] || ops=$(packets "$card")
	read -r -a before <<<"$(costs before "${pids[@]}")"
	"$@" || return
	read -r -a after <<<"$(costs after "${pids[@]}")"
	line=$round
	for i in "${!after[@]}"; do
		line+=" ${COSTS[i]}=$((after[i] - before[i]))"
	done
	[[ -z $card ]] || line+=" reqs=$(($(packets "$card") - ops))"
	printf '%s\n' "$line" >>"$BENCH_OUT/$case/$who.exits"
}

# moved_by CARD WHAT: packets that its device has moved so far. Of a flood of datagrams that is what can be compared: how many
# of them the receiver's socket has room for depends on when the one processor lets it run
moved_by() {
	case $2 in
	*-to) cat "/sys/class/net/tap$1/statistics/tx_packets" ;;
	*-from) cat "/sys/class/net/tap$1/statistics/rx_packets" ;;
	esac
}

# traffic CASE ROUND WHO WHAT CONNECTIONS: one contender's part of a round of a network case
traffic() {
	local case=$1 round=$2 who=$3 what=$4 connections=$5 card=${CARD[$3]} out=$BENCH_OUT/$1/$3 before
	local command=(timeout 60 iperf3 -c "10.77.$card.2" -J -t "$SECONDS_EACH" -P "$connections")

	case $what in
	ping) command=(ping -c 200 -i 0.002 -w 60 "10.77.$card.2") ;;
	udp-rr) command=("$BENCH_DIR/udp-rr" "10.77.$card.2" "$ECHO_PORT" "$SECONDS_EACH" 64) ;;
	udp-*) command+=(-u -b 0 -l 64) ;;&
	*-from) command+=(-R) ;;
	esac
	before=$(moved_by "$card" "$what")
	if ! "${command[@]}" >"$WORK/out" 2>&1; then
		skip "$case" "$who" "$(tail -n 2 "$WORK/out" | tr '\n' ' ')"
		return 1
	fi
	case $what in
	tcp-*) mv "$WORK/out" "$out.$round.json" ;;
	ping) mv "$WORK/out" "$out.$round.ping" ;;
	udp-rr) printf '{"round":%d,"result":%s}\n' "$round" "$(<"$WORK/out")" >>"$out.jsonl" ;;
	udp-*)
		printf '{"round":%d,"result":{"rate":%d}}\n' "$round" $((($(moved_by "$card" "$what") - before) / SECONDS_EACH)) >>"$out.jsonl"
		;;
	esac
	printf '%s\n' "${command[*]}" >"$out.command"
}

# requests CASE ROUND WHO KIND WORD…: one contender's part of a round of a disk case
requests() {
	local case=$1 round=$2 who=$3 kind=$4 out=$BENCH_OUT/$1/$3 guest=${GUEST_OF[$3]-a} options size

	[[ -n ${GUEST_PID[$guest]-} ]] || { skip "$case" "$who" "there is no newer QEMU here" && return 1; }
	shift 4
	size=$(argument size "$@")
	options=(--ioengine=libaio --direct=1 --thread --group_reporting --time_based "--runtime=$SECONDS_EACH" "--size=$SPAN"
		"--rw=$(argument rw "$@")" "--iodepth=$(argument qd "$@")" "--bs=${size:-4096}" "--numjobs=$(queues_of "$@")"
		"--fsync=0$(argument fsync "$@")")
	if ! guest "$guest" 60 "fio --output-format=json --name=$who --filename=/dev/$kind-$who ${options[*]}" >"$WORK/out"; then
		skip "$case" "$who" "fio: $(tail -n 3 "$WORK/out" | tr '\n' ' ')"
		return 1
	fi
	mv "$WORK/out" "$out.$round.json"
	echo "fio ${options[*]}" >"$out.command"
}

queues_of() {
	local queues

	queues=$(argument queues "$@")
	echo "${queues:-1}"
}

# alone NAME: of the guests, only this one runs: one that is idle takes time, too
alone() {
	local name

	[[ -n ${GUEST_PID[$1]-} ]] || return 0
	for name in "${!GUEST_PID[@]}"; do
		[[ $name == "$1" ]] || qmp "$name" stop || guest_is_lost "$name"
	done >/dev/null
	qmp "$1" cont >/dev/null || guest_is_lost "$1"
}

# guests_answer: ends all of it if one does not. That a turn failed is no fault of the contender then
guests_answer() {
	local name

	for name in "${!GUEST_PID[@]}"; do
		{ alive "$name" && qmp "$name" cont >/dev/null && guest "$name" 20 true >/dev/null; } || guest_is_lost "$name"
	done
}

# measure LINE: all rounds of a case but for those that were complete when another machine died
measure() {
	local name contenders words what kind round who turn i

	name=$(field 0 "$1")
	read -r -a contenders <<<"$(field 3 "$1")"
	read -r -a words <<<"$(field 5 "$1")"
	what=$(argument net "${words[@]}") kind=$(argument disk "${words[@]}")
	mkdir -p "$BENCH_OUT/$name"
	for ((round = $(complete "$name") + 1; round <= BENCH_ROUNDS; round++)); do
		for ((i = 0; i < ${#contenders[@]}; i++)); do
			who=${contenders[round % 2 ? i : ${#contenders[@]} - 1 - i]}
			alone "${GUEST_OF[$who]-a}"
			if [[ -n $kind ]]; then
				turn=(requests "$name" "$round" "$who" "$kind" "${words[@]}")
			else
				turn=(traffic "$name" "$round" "$who" "$what" "$(queues_of "${words[@]}")")
			fi
			case $who in
			netlite | vdpa-blklite)
				counted "$name" "$round" "$who" watched "${turn[@]}" || {
					guests_answer
					rm -f "$BENCH_OUT/$name/$who".{*.json,*.ping,jsonl}
				}
				;;
			*) watched "${turn[@]}" || guests_answer ;;
			esac
		done
		echo "$round" >"$BENCH_OUT/$name/complete"
	done
}

# ---- all of it ----

host_ready 5
mapfile -t lines < <(incomplete guest)
k=0
for group in 1 4 1:pt 1:strict; do
	mine=() kinds=() queues=${group%:*} IOMMU=${group#"$queues"} IOMMU=${IOMMU#:}
	for line in "${lines[@]}"; do
		read -r -a words <<<"$(field 5 "$line")"
		[[ $(queues_of "${words[@]}") == "$queues" && $(argument iommu "${words[@]}") == "$IOMMU" ]] || continue
		mine+=("$line")
		kind=$(argument disk "${words[@]}")
		[[ -z $kind || " ${kinds[*]} " == *" $kind "* ]] || kinds+=("$kind")
	done
	((${#mine[@]})) || continue
	progress "$k" "${#lines[@]}" "a guest with $queues processors boots${IOMMU:+ (iommu: $IOMMU)}; it has the disks: ${kinds[*]-}"
	guest_with "$queues" "$queues" ${kinds[@]+"${kinds[@]}"}
	for line in "${mine[@]}"; do
		progress $((++k)) "${#lines[@]}" "$(field 0 "$line"): $(field 3 "$line")"
		measure "$line"
	done
	guest_gone
done
exit 0
