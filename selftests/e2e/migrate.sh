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
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/movelib.sh"
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

# arrives FROM TO IN OUT: the migration ends, see arrived
note_logs() { ! logs "$1" || : >"$WORK/logged"; }
arrives() {
	migrated "$1" note_logs || return
	[[ -e $WORK/logged ]] || { echo "the device was not told to log" && return 1; }
	arrived "$@"
}

host m0 0
check "a guest boots" guest_ready m0
connect m0

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

disconnect "$from"
finish
