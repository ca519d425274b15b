#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/queues.sh
#
# A stock guest with a network card of four queue pairs, each of them a device of its own on /dev/vhost-netlite. To be run
# in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/queues.sh
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"

PAIRS=4

modules_load vhost-netlite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
tap 0 multi_queue

guest_start a --run "--net tap0,queues=$PAIRS,mac=52:54:00:00:00:00" -smp 2
say "a guest with $PAIRS queue pairs boots"
check "a guest boots" guest_ready a
check "its card comes up" guest a 60 "$GUEST_NET"
mapfile -t numbers < <(devices a $NODE)
((${#numbers[@]} == PAIRS)) || bail "the guest has ${#numbers[@]} devices of vhost-lite, not $PAIRS"
# all of them, whose counters are added up
DEV[0]="${numbers[*]}"

# pairs N: so many are in use
pairs() {
	guest a 30 "ethtool -L n0 combined $1 && ethtool -l n0" | tee /dev/stderr | tail -n 5 | grep -qE "Combined:[[:space:]]*$1\$"
}

# used N: connections, until each of the first N queue pairs has had packets of them in both directions, and no other one
used() {
	local k q round before=() pids now

	for ((k = 0; k < PAIRS; k++)); do
		for q in 0 1; do
			before+=("$(counter a "${numbers[k]}" "$q" reqs)")
		done
	done
	# which one a connection gets is chance
	for round in {1..10}; do
		pids=()
		for k in {1..8}; do
			"$E2E_IMAGES/xfer" tcp 10.77.0.2 7 1 1448 65536 &
			pids+=($!)
		done
		for k in "${pids[@]}"; do
			wait "$k" || return
		done
		for ((k = 0; k < $1; k++)); do
			for q in 0 1; do
				now=$(counter a "${numbers[k]}" "$q" reqs)
				((now - before[2 * k + q] >= 5)) || continue 3
			done
		done
		break
	done
	echo "rounds: $round"
	for ((k = 0; k < PAIRS; k++)); do
		for q in 0 1; do
			now=$(($(counter a "${numbers[k]}" "$q" reqs) - before[2 * k + q]))
			if ((k < $1)); then
				((now >= 5)) || { echo "queue $q of pair $k: $now packets" && return 1; }
			elif ((now)); then
				echo "queue $q of pair $k, which is not in use: $now packets" && return 1
			fi
		done
	done
}

# clean: no queue has dropped a packet or broken
clean() {
	same errors 0 "$(counter a "${DEV[0]}" "*" errors)" && same breaks 0 "$(counter a "${DEV[0]}" "*" breaks)"
}

ping_works() {
	ping -q -c 20 -i 0.05 -W 20 10.77.0.2 | tee /dev/stderr | grep -q ' 0% packet loss'
}

for n in 4 1 3 2 4; do
	check "$n queue pairs" pairs $n
	check "$n queue pairs are used, and no other" used $n
	check "$n queue pairs: ping without loss" ping_works
	check "$n queue pairs: no packet is dropped" clean
done
check "packet counts of guest, TAP and ours agree" counts_agree 0

# streams N: so many connections with data there and back, in the background, until streams_ok
streams() {
	local k

	for ((k = 0; k < $1; k++)); do
		rm -f "$WORK/stream.$k"
		(
			"$E2E_IMAGES/xfer" tcp 10.77.0.2 7 1000000000000
			echo $? >"$WORK/stream.$k"
		) >"$WORK/stream.$k.log" 2>&1 </dev/null &
		TRAFFIC+=($!)
	done
}

# streams_ok N: they go on and end well, every byte that was sent came back
streams_ok() {
	local k pid

	passes 0 20 && for pid in "${TRAFFIC[@]}"; do
		pkill -TERM -P "$pid"
	done
	for ((k = 0; k < $1; k++)); do
		wait_for 120 test -s "$WORK/stream.$k" && cat "$WORK/stream.$k.log" || return
		same "status of connection $k" 0 "$(<"$WORK/stream.$k")" || return
	done
}

# up and down all the time, with connections that go on
under_traffic() {
	local n

	for _ in {1..3}; do
		for n in 1 4 2 3 4; do
			pairs "$n" || return
			passes 0 50 "*" || return
		done
	done
}
streams 4
check "traffic before the number changes" passes 0 200
check "1 to 4 queue pairs during traffic" under_traffic
check "the connections survive, and every byte arrives" streams_ok 4
TRAFFIC=()
check "all queue pairs are used afterwards" used 4
check "no packet was dropped" clean
check "packet counts agree" counts_agree 0

all_stand() {
	local dev

	for dev in "${numbers[@]}"; do
		same "state" stopped "$(counter a "$dev" 0 state)" && same "state" stopped "$(counter a "$dev" 1 state)" || return
	done
}
streams 2
check "traffic before a stop" passes 0 60
check "stop" qmp a stop
check "all queues have stopped" all_stand
check "cont" qmp a cont
check "the traffic survives it" streams_ok 2
TRAFFIC=()
check "all queue pairs are used" used 4
check "no thread spins" quiet a

neither_complains() {
	we_say_nothing && no_complaint a
}
check "neither kernel has anything to complain of" neither_complains
check "quit" qmp a quit
quits() { ! alive a; }
check "QEMU ends" wait_for 20 quits
guest_end a
check "nobody holds the module" wait_for 10 no_users vhost_netlite
finish
