#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/pause.sh [ROUNDS]
#
# A stock guest with a card on /dev/vhost-netlite and a disk on /dev/vdpa-blklite stands still and goes on, in the middle of
# traffic and verified I/O: stopped by the monitor, ROUNDS times (default 10), and by its kernel's test of
# sleep, when its drivers give both devices back and take them again. It does not sleep in RAM: in the test host a guest with
# no device of ours boots when it is to wake up, too. In TAP, to be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/pause.sh
# shellcheck disable=SC2016,SC2317 # what is in single quotes is expanded in the guest; functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
ROUNDS=${1:-10}
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lifelib.sh"

stops_and_goes() {
	local round

	for ((round = 0; round < ROUNDS; round++)); do
		echo "round $round"
		qmp a stop && all_are stopped && qmp a cont && all_are running && both_go_on || return
	done
}

# begin WHEN, end WHEN: traffic and I/O, both of which compare all data. fio takes long to start, the more so beside traffic
begin() {
	check "$1: I/O" io_start a "$DEPTH" /dev/d0
	check "$1: it is under way" io_goes_on
	traffic 1
	check "$1: both are busy" both_go_on
}
end() {
	check "$1: every byte of the traffic came back" traffic_ok 1
	check "$1: every block is what was written" io_end a
	both_work "$1"
}

# asleep COMMAND: the guest gives back both devices, and takes them again by itself
asleep() {
	guest a 20 "(cd /sys/power; $1; echo \$? >/tmp/slept) >/tmp/sleep 2>&1 </dev/null &" || return
	wait_for 60 all_are stopped && say "asleep" && wait_for 60 all_are running &&
		guest a 60 'until test -e /tmp/slept; do sleep 1; done; cat /tmp/sleep; [ "$(cat /tmp/slept)" = 0 ]; rc=$?
			rm /tmp/slept; exit $rc'
}

boot "${COLD[@]}"
check "a guest boots" guest_ready a
both_work "at first"
begin "stop and cont"
check "$ROUNDS times stop and cont: both go on" stops_and_goes
end "stop and cont"

# It is awake in that test, and its processor waits: the usual five seconds are a soft lockup on a busy machine
check "a shorter test" guest a 10 'echo 2 >/sys/module/suspend/parameters/pm_test_delay'
begin "a test of sleep"
check "a test of sleep: only the devices" asleep \
	'sleep 1; echo devices >pm_test && echo freeze >state; rc=$?; echo none >pm_test; (exit $rc)'
check "a test of sleep: both go on" both_go_on
end "a test of sleep"

the_end
