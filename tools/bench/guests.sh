#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: guests.sh
#
# The track with several guests, to be run in the test host by tools/bench/run, which sets BENCH_*. Each contender has as many
# guests as the largest case wants, with one processor, a disk and a card each, and all of them are there all the time. In a
# contender's part of a round its guests read their disks and send over their cards at once, while all others are stopped.
# What they do is taken from the test host's counters of disks and TAPs, between two moments when all of them are at it.
#
# Arguments of a case: guests=.
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/guestlib.sh"
GUEST_MEM=320M
SETTLE=1
SECONDS_EACH=10
CONTENDERS=(vhost-lite qemu)
FIO="fio --name=load --filename=/dev/disk --ioengine=libaio --direct=1 --thread --time_based --runtime=300 --size=$SPAN --rw=randread --iodepth=8 --bs=4096"
declare -A NUMBER=()

# guest_on WHO NAME NUMBER: begins to boot a guest with the disk /dev/nullbNUMBER and the card tapNUMBER
guest_on() {
	local who=$1 name=$2 n=$3 mac=52:54:00:00:00:0$3

	NUMBER[$name]=$n
	ip tuntap add "tap$n" mode tap vnet_hdr || bail "no TAPs"
	LINKS+=("tap$n")
	ip addr add "10.77.$n.1/24" dev "tap$n" && ip link set "tap$n" up
	case $who in
	vhost-lite)
		guest_start "$name" --run "--net tap$n,mac=$mac --disk /dev/nullb$n,serial=disk" -action reboot=shutdown
		;;
	qemu)
		guest_start "$name" -netdev "tap,id=net,ifname=tap$n,script=no,downscript=no,vhost=on" \
			-device "virtio-net-pci,netdev=net,mac=$mac" -object iothread,id=io \
			-blockdev "driver=host_device,node-name=disk,filename=/dev/nullb$n,cache.direct=on,aio=io_uring" \
			-device virtio-blk-pci,drive=disk,serial=disk,iothread=io -action reboot=shutdown
		;;
	esac
}

# all_of stop|cont GUEST…
all_of() {
	local command=$1 name

	shift
	for name; do
		qmp "$name" "$command" >/dev/null || bail "the guest $name does not $command"
	done
}

# guests_on COUNT: so many of each contender, one after the other
guests_on() {
	local who i n=0 name log

	for who in "${CONTENDERS[@]}"; do
		for ((i = 1; i <= $1; i++)); do
			name=$who-$i
			guest_on "$who" "$name" $((++n))
			log=$(guest_ready "$name") || bail "the guest $name does not boot: $log"
			log=$(guest "$name" 60 "$NAMES") || bail "the guest $name has not what it should have: $log"
			all_of stop "$name"
		done
	done
}

# unload GUEST…: until none has any left
unload() {
	local name pid

	for pid in ${TRAFFIC[@]+"${TRAFFIC[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	TRAFFIC=()
	for name; do
		guest "$name" 60 'killall fio; while pidof fio; do sleep 0.1; done' >/dev/null
	done
}

# done_by GUEST…: requests that their disks have done, one number for each guest, then the bytes that they have sent
done_by() {
	local name reads

	for name; do
		read -r reads _ <"/sys/block/nullb${NUMBER[$name]}/stat"
		echo "$reads"
	done
	for name; do
		cat "/sys/class/net/tap${NUMBER[$name]}/statistics/rx_bytes"
	done
}

# our_reqs GUEST…: requests and packets that our devices have moved, one number for each device
our_reqs() {
	local name node

	for name; do
		for node in vhost-netlite vdpa-blklite; do
			counter "$name" "$(devices "$name" "$node" | tr '\n' ' ')" '*' reqs
		done
	done
}

# all_above LEAST BEFORE AFTER: is each number of AFTER larger by that than BEFORE's
all_above() {
	paste <(echo "$2") <(echo "$3") | awk -v least="$1" '$2 - $1 < least { exit 1 }'
}

# busy disk|card BEFORE GUEST…: have all of these moved something since then
# shellcheck disable=SC2317 # called by wait_for
busy() {
	local range=(head -n $(($# - 2)))

	[[ $1 == disk ]] || range=(tail -n $(($# - 2)))
	all_above 100 "$("${range[@]}" <<<"$2")" "$(done_by "${@:3}" | "${range[@]}")"
}

# load GUEST…: their disks and cards have work from now on; the disks first, since fio does not get far with beginning where
# a flood of packets is on its way. 1: they have not, and why
load() {
	local name before

	before=$(done_by "$@")
	for name; do
		guest "$name" 60 "$FIO >/tmp/fio 2>&1 </dev/null &" || return
	done
	wait_for 60 busy disk "$before" "$@" >/dev/null || { echo "no load on the disks: $(guest "$1" 60 'tail -n 2 /tmp/fio')" && return 1; }
	for name; do
		iperf3 -c "10.77.${NUMBER[$name]}.2" -R -t 300 >"$WORK/$name.iperf" 2>&1 </dev/null &
		TRAFFIC+=($!)
	done
	wait_for 60 busy card "$before" "$@" >/dev/null || { echo "no load on the cards: $(tail -n 2 "$WORK/$1.iperf")" && return 1; }
}

# result SECONDS BEFORE AFTER COSTS-BEFORE COSTS-AFTER: JSON. The rate is the geometric mean of the bytes per second from all
# disks and from all cards, so that neither counts more; costs are for 4 KiB of that; fair is what the slowest guest got for
# each byte of the fastest, of disk or card, whichever is less
result() {
	awk -v seconds="$1" -v kinds="${COSTS[*]}" -v from="${2//$'\n'/ }" -v to="${3//$'\n'/ }" -v spent="$4" -v costs="$5" '
		function sum(first, last,	i, d) {
			total = least = most = 0
			for (i = first; i <= last; i++) {
				d = after[i] - before[i]
				total += d
				if (i == first || d < least) least = d
				if (d > most) most = d
			}
			return total
		}
		BEGIN {
			split(from, before)
			n = split(to, after) / 2
			disk = sum(1, n)
			fair_disk = least / most
			net = sum(n + 1, 2 * n)
			fair_net = least / most
			rate = sqrt(disk * 4096 * net)
			printf "{\"rate\":%.0f,\"disk\":%.1f,\"net\":%.0f,\"fairdisk\":%.4f,\"fairnet\":%.4f,\"fair\":%.4f", rate / seconds,
				disk / seconds, net / seconds, fair_disk, fair_net, fair_disk < fair_net ? fair_disk : fair_net
			split(kinds, names)
			split(spent, before)
			m = split(costs, after)
			for (i = 1; i <= m; i++)
				printf ",\"%s\":%.5f", names[i], (after[i] - before[i]) / (rate / 4096)
			printf "}\n"
		}'
}

# guests_are_there: ends all of it if one is not; they are stopped, and cannot answer
guests_are_there() {
	local name

	for name in "${!NUMBER[@]}"; do
		alive "$name" || guest_is_lost "$name"
	done
}

# turn CASE ROUND WHO GUEST…: one contender's part of a round
turn() {
	local case=$1 round=$2 who=$3 name before after reqs='' spent costs began ended pids=()

	shift 3
	for name; do
		pids+=("${GUEST_PID[$name]}")
	done
	[[ $who != vhost-lite ]] || reqs=$(our_reqs "$@")
	load "$@" >"$WORK/load" || { guests_are_there && skip "$case" "$who" "$(tr '\n' ' ' <"$WORK/load")" && return 1; }
	sleep "$SETTLE"
	spent=$(costs before "${pids[@]}")
	began=${EPOCHREALTIME/./}
	before=$(done_by "$@")
	sleep "$SECONDS_EACH"
	after=$(done_by "$@")
	ended=${EPOCHREALTIME/./}
	costs=$(costs after "${pids[@]}")
	guests_are_there
	if [[ -n $reqs ]] && ! all_above 100 "$reqs" "$(our_reqs "$@")"; then
		skip "$case" "$who" "our counters did not move: QEMU does without us"
		return 1
	fi
	if ! all_above 1 "$before" "$after"; then
		skip "$case" "$who" "a guest got nothing done in round $round"
		return 1
	fi
	printf '{"round":%d,"result":%s}\n' "$round" "$(result "$(((ended - began) / 1000))e-3" "$before" "$after" "$spent" "$costs")" \
		>>"$BENCH_OUT/$case/$who.jsonl"
	echo "$FIO; iperf3 -R" >"$BENCH_OUT/$case/$who.command"
}

# measure LINE: all rounds of a case but for those that were complete when another machine died
measure() {
	local case contenders words round who i n guests lost=''

	case=$(field 0 "$1")
	read -r -a contenders <<<"$(field 3 "$1")"
	read -r -a words <<<"$(field 5 "$1")"
	n=$(argument guests "${words[@]}")
	mkdir -p "$BENCH_OUT/$case"
	for ((round = $(complete "$case") + 1; round <= BENCH_ROUNDS; round++)); do
		for ((i = 0; i < ${#contenders[@]}; i++)); do
			who=${contenders[round % 2 ? i : ${#contenders[@]} - 1 - i]}
			[[ " $lost " != *" $who "* ]] || continue
			mapfile -t guests < <(seq -f "$who-%g" "$n")
			all_of cont "${guests[@]}"
			turn "$case" "$round" "$who" "${guests[@]}" || { lost+=" $who" && rm -f "$BENCH_OUT/$case/$who.jsonl"; }
			unload "${guests[@]}"
			all_of stop "${guests[@]}"
		done
		echo "$round" >"$BENCH_OUT/$case/complete"
	done
}

mapfile -t lines < <(incomplete guests)
most=0
for line in "${lines[@]}"; do
	read -r -a words <<<"$(field 5 "$line")"
	n=$(argument guests "${words[@]}")
	((n <= most)) || most=$n
done
host_ready $((2 * most + 1))
progress 0 ${#lines[@]} "$most guests of each contender boot"
guests_on "$most"
for ((k = 0; k < ${#lines[@]}; k++)); do
	progress $((k + 1)) ${#lines[@]} "$(field 0 "${lines[k]}"): $(field 3 "${lines[k]}")"
	measure "${lines[k]}"
done
exit 0
