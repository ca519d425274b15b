# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2034,SC2317 # used by the scripts that source this, called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
# What migrate.sh and cpr.sh need besides lib.sh and netlib.sh: a guest that goes from one QEMU to another, and two connections
# that carry data both ways meanwhile. Its card is 8: 52:54:00:00:00:08, 10.77.8.2 in the guest.

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

# migrated FROM [COMMAND]: waits for the end, and calls COMMAND FROM meanwhile
migrated() {
	local end=$((SECONDS + 300)) answer

	while ((SECONDS < end)); do
		"${2:-:}" "$1"
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

# arrived FROM TO IN OUT: the traffic goes on there, where it passed so many here before it began
arrived() {
	same "state of the queue that was left" stopped "$(counter "$1" "$(device "$1" $NODE 0)" 1 state)" &&
		moved "$1" "$(device "$1" $NODE 0)" 0 reqs "$3" 20 && moved "$1" "$(device "$1" $NODE 0)" 1 reqs "$4" 20 &&
		passes "$2" 100
}

# connect NAME: the guest's card comes up, and two connections begin, one that the guest made and one that was made to it
connect() {
	check "its card comes up" guest "$1" 60 "$GUEST_NET"
	[[ -n $(device "$1" $NODE 0) ]] || bail "the guest is not on vhost-lite at all"
	"$E2E_IMAGES/xfer" echo 7 >/dev/null 2>&1 </dev/null &
	TRAFFIC+=($!)
	(
		"$E2E_IMAGES/xfer" tcp 10.77.8.2 7 1000000000000
		echo $? >"$WORK/to.status"
	) >"$WORK/to" 2>&1 </dev/null &
	TRAFFIC+=($!)
	check "a connection from the guest" guest "$1" 20 \
		'(xfer tcp 10.77.8.1 7 1000000000000; echo $? >/tmp/from.status) >/tmp/from 2>&1 </dev/null & echo $! >/tmp/from.pid'
	check "traffic both ways" passes "$1" 200
}

# well FILE: the transfer whose status gets there goes on, and ends well when it is told to
well() {
	wait_for 120 test -s "$WORK/$1.status" || return
	cat "$WORK/$1"
	[[ $(<"$WORK/$1.status") == 0 ]]
}

# disconnect NAME: both end well, and so does the guest
disconnect() {
	quits() { ! alive "$1"; }
	pkill -TERM -P "${TRAFFIC[-1]}"
	check "the connection to the guest: every byte came back" well to
	check "that of the guest, too" guest "$1" 150 \
		'kill -TERM $(pidof xfer | tr " " "\n" | while read -r p; do
			grep -qz "^tcp$" /proc/$p/cmdline && echo $p; done)
		i=0; until [ -s /tmp/from.status ] || [ $((i += 1)) -gt 120 ]; do sleep 1; done
		cat /tmp/from; [ "$(cat /tmp/from.status)" = 0 ]'
	check "the guest's kernel has nothing to complain of" no_complaint "$1"
	check "quit" qmp "$1" quit
	check "QEMU ends" wait_for 20 quits "$1"
	guest_end "$1"
	check "nobody holds the module" wait_for 10 no_users vhost_netlite
}
