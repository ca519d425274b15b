#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/migrate.sh [ROUNDS [PROPERTY…]]
#
# A stock guest on /dev/vhost-netlite migrates live, ROUNDS times (default 3), from one QEMU to another, each with a TAP of
# its own on one bridge. Its card has the PROPERTYs (event_idx=off). Meanwhile two connections, one that the guest made and one that was made to it, carry data both
# ways, and both of their ends that began look at every byte that comes back. A page that the device wrote and did not mark is
# not what it should be on the other side. TAP. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/migrate.sh
# For all that a release promises, 100 rounds, on every release:
#   tools/vm/run --release R --timeout 7200 --share "$(selftests/guest/mkguest --release R)" -- selftests/e2e/migrate.sh 100
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
ROUNDS=${1:-3}
properties=()
for property in "${@:2}"; do
	properties+=(-global "virtio-net-pci.$property")
done
LOG_ALL=$((1 << 26))

modules_load vhost-netlite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
bridged 8 9

# host NAME NUMBER [ARGUMENT…]: a QEMU for the guest; the TAPs take turns
host() {
	guest_start "$1" --run "--net tap$((8 + $2 % 2)),mac=52:54:00:00:00:08" ${properties[@]+"${properties[@]}"} "${@:3}"
}

# packets NAME QUEUE: that went through our queue there
packets() {
	counter "$1" "$(device "$1" $NODE 0)" "$2" reqs
}

# passes NAME LEAST: so many more in both directions
passes() {
	local in out

	in=$(packets "$1" 0) out=$(packets "$1" 1)
	more() { (($(packets "$1" 0) - $2 >= $4 && $(packets "$1" 1) - $3 >= $4)); }
	wait_for 60 more "$1" "$in" "$out" "$2"
}

# logs NAME: has QEMU told the device to log?
logs() {
	local features

	features=$(cat /proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null | sed -n 's/^vhl-features:\t//p' | sort -u)
	((0x${features: -8} & LOG_ALL))
}

# The last part of the memory is copied while the guest stands; how long that may take is not what is tested here.
send_to() {
	rm -f "$WORK/logged"
	qmp "$1" migrate-set-parameters '{"downtime-limit":10000,"max-bandwidth":10000000000}' &&
		qmp "$1" migrate "{\"uri\":\"unix:$WORK/migration\"}"
}

# migrated FROM: waits for the end
migrated() {
	local end=$((SECONDS + 300)) answer

	while ((SECONDS < end)); do
		! logs "$1" || : >"$WORK/logged"
		answer=$(qmp "$1" query-migrate) || break
		case $answer in
		*'"status": "completed"'*) return 0 ;;
		*'"status": "failed"'* | *'"status": "cancelled"'*) break ;;
		esac
		sleep 0.1
	done
	echo "$answer"
	return 1
}

# arrives FROM TO IN OUT: the migration ends, and the traffic goes on there, where it passed so many here before it began
arrives() {
	migrated "$1" || return
	[[ -e $WORK/logged ]] || { echo "the device was not told to log" && return 1; }
	same "state of the queue that was left" stopped "$(counter "$1" "$(device "$1" $NODE 0)" 1 state)" &&
		moved "$1" "$(device "$1" $NODE 0)" 0 reqs "$3" 20 && moved "$1" "$(device "$1" $NODE 0)" 1 reqs "$4" 20 &&
		passes "$2" 100
}

# well FILE: the transfer whose status gets there goes on, and ends well when it is told to
well() {
	wait_for 120 test -s "$WORK/$1.status" || return
	cat "$WORK/$1"
	[[ $(<"$WORK/$1.status") == 0 ]]
}

host m0 0
check "a guest boots" guest_ready m0
check "its card comes up" guest m0 60 "$GUEST_NET"
[[ -n $(device m0 $NODE 0) ]] || bail "the guest is not on vhost-lite at all"

"$E2E_IMAGES/xfer" echo 7 >/dev/null 2>&1 </dev/null &
TRAFFIC+=($!)
(
	"$E2E_IMAGES/xfer" tcp 10.77.8.2 7 1000000000000
	echo $? >"$WORK/to.status"
) >"$WORK/to" 2>&1 </dev/null &
TRAFFIC+=($!)
check "a connection from the guest" guest m0 20 \
	'(xfer tcp 10.77.8.1 7 1000000000000; echo $? >/tmp/from.status) >/tmp/from 2>&1 </dev/null & echo $! >/tmp/from.pid'
check "traffic both ways" passes m0 200

# one that comes to nothing: the guest stays, and the device logs no more
host lost 1 -incoming "unix:$WORK/migration"
check "a migration begins" wait_for 60 test -S "$WORK/migration"
cancelled() {
	qmp m0 migrate-set-parameters '{"max-bandwidth":1000000}' && qmp m0 migrate "{\"uri\":\"unix:$WORK/migration\"}" &&
		wait_for 60 logs m0 && passes m0 100 && qmp m0 migrate_cancel && wait_for 60 stays && passes m0 100
}
stays() {
	! logs m0
}
check "and is cancelled: the guest and its traffic stay" cancelled
guest_end lost KILL
rm -f "$WORK/migration"

from=m0 failed=0
for ((round = 1; round <= ROUNDS; round++)); do
	to=m$round
	host "$to" "$round" -incoming "unix:$WORK/migration"
	wait_for 60 test -S "$WORK/migration" || bail "no QEMU to migrate to"
	in=$(packets "$from" 0) out=$(packets "$from" 1)
	began=$SECONDS
	if ! send_to "$from" >"$WORK/round" || ! arrives "$from" "$to" "$in" "$out" >>"$WORK/round" 2>&1; then
		failed=$round
		sed 's/^/# /' "$WORK/round"
		break
	fi
	say "round $round: $((SECONDS - began)) s, $(($(packets "$from" 0) - in)) and $(($(packets "$from" 1) - out)) packets"
	guest_end "$from"
	rm -f "$WORK/migration"
	from=$to
done
check "$ROUNDS migrations, with traffic on both sides" same "round that failed" 0 "$failed"

pkill -TERM -P "${TRAFFIC[-1]}"
check "the connection to the guest: every byte came back" well to
check "that of the guest, too" guest "$from" 150 \
	'kill -TERM $(pidof xfer | tr " " "\n" | while read -r p; do
		grep -qz "^tcp$" /proc/$p/cmdline && echo $p; done)
	i=0; until [ -s /tmp/from.status ] || [ $((i += 1)) -gt 120 ]; do sleep 1; done
	cat /tmp/from; [ "$(cat /tmp/from.status)" = 0 ]'
no_complaint() {
	! guest "$from" 10 dmesg | grep -iE 'oom-killer|out of memory|BUG:|WARNING:|call trace|NETDEV WATCHDOG'
}
check "the guest's kernel has nothing to complain of" no_complaint
check "quit" qmp "$from" quit
quits() { ! alive "$from"; }
check "QEMU ends" wait_for 20 quits
guest_end "$from"
check "nobody holds the module" wait_for 10 no_users vhost_netlite
finish
