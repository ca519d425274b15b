#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/cpr.sh [ROUNDS [own|same]]
#
# A stock guest on /dev/vhost-netlite goes from one QEMU to another, ROUNDS times (default 3), while its memory stays where it
# is (migration mode cpr-transfer). Each QEMU opens the node anew; the queue of the TAP is the same open file, or each has a
# TAP of its own on one bridge (own). Handovers fail, too, and the guest goes on where it was: to QEMUs with the other TAP, for
# QEMU sets headers and offloads of its TAP anew when it begins, and that stays so when it dies. Two connections carry data
# both ways meanwhile, see migrate.sh. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/cpr.sh
# shellcheck disable=SC2317 # functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/movelib.sh"
ROUNDS=${1:-3} TAPS=${2:-same}
MAIN=$WORK/main CPR=$WORK/cpr

if ! qemu-system-x86_64 -machine pc,help | grep -q aux-ram-share; then
	skip "a guest goes to another QEMU, and its memory stays" "this QEMU cannot do that (it is older than 10.0)"
	finish
fi
modules_load vhost-netlite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
bridged 8 9

# tap_file N: a queue of tapN, which stays open here, in $file
tap_file() {
	exec {file}<>/dev/net/tun
	# TUNSETIFF: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
	perl -e 'open(my $f, "+<&=", $ARGV[0]) or die; my $r = pack("a16S x22", $ARGV[1], 0x5002); ioctl($f, 0x400454ca, $r) or die $!' \
		"$file" "tap$1" || bail "no queue of tap$1"
}
tap_file 8 && TAP=("$file")
tap_file 9 && TAP+=("$file")

# host NAME NUMBER [ARGUMENT…]: a QEMU for the guest
host() {
	local tap=${TAP[0]}

	[[ $TAPS == same ]] || tap=${TAP[$2 % 2]}
	guest_start "$1" --open 20=/dev/vhost-netlite -object "memory-backend-memfd,id=mem,size=$GUEST_MEM,share=on" \
		-machine memory-backend=mem,aux-ram-share=on -netdev "tap,id=net,fd=$tap,vhost=on,vhostfd=20" \
		-device "virtio-net-pci,netdev=net,mac=52:54:00:00:00:08${WHERE-}" "${@:3}"
}

# channel TYPE PATH
channel() {
	printf '{"channel-type":"%s","addr":{"transport":"socket","type":"unix","path":"%s"}}' "$1" "$2"
}

# heir NAME NUMBER [ARGUMENT…]: one that waits for the guest
heir() {
	rm -f "$MAIN" "$CPR"
	host "$1" "$2" -incoming "$(channel main "$MAIN")" -incoming "$(channel cpr "$CPR")" "${@:3}"
	wait_for 60 test -S "$CPR" || bail "no QEMU to go to: $(<"$WORK/$1/qemu.log")"
}

send_to() {
	qmp "$1" migrate-set-parameters '{"mode":"cpr-transfer"}' &&
		qmp "$1" migrate "{\"channels\":[$(channel main "$MAIN"),$(channel cpr "$CPR")]}"
}

host m0 0
check "a guest boots" guest_ready m0
connect m0

# back NAME: the old one goes on, whether it takes the handover for one that has failed or for one that is done
back() {
	runs() { qmp "$1" query-status | tee /dev/stderr | grep -q '"status": "running"'; }
	runs "$1" || qmp "$1" cont || return
	wait_for 20 runs "$1" && passes "$1" 100
}

# The new QEMU does not understand what it gets: its card is elsewhere
TAPS=own WHERE=,addr=0x1d heir lost 1
check "a handover begins" send_to m0
ended() { ! alive lost; }
check "the new QEMU refuses it" wait_for 60 ended
guest_end lost
check "the guest and its traffic go on where they were" back m0

# It understands it all, and dies before the guest runs there
TAPS=own heir lost 1 -S
arrives_there() {
	migrated m0 && same "state of the queue" stopped "$(counter m0 "$(device m0 "$NODE" 0)" 1 state)" &&
		qmp lost query-status | tee /dev/stderr | grep -q '"status": "paused"'
}
check "another one begins" send_to m0
check "it gets as far as it can without the guest" arrives_there
guest_end lost KILL
check "the new QEMU dies: the guest and its traffic go on where they were" back m0

from=m0 failed=0
for ((round = 1; round <= ROUNDS; round++)); do
	to=m$round
	heir "$to" "$round"
	in=$(packets "$from" 0) out=$(packets "$from" 1)
	began=$SECONDS
	if ! send_to "$from" >"$WORK/round" || ! { migrated "$from" && arrived "$from" "$to" "$in" "$out"; } >>"$WORK/round" 2>&1; then
		failed=$round
		sed 's/^/# /' "$WORK/round" "$WORK/$from/qemu.log" "$WORK/$to/qemu.log"
		break
	fi
	say "round $round: $((SECONDS - began)) s"
	guest_end "$from"
	from=$to
done
check "$ROUNDS handovers, with traffic on both sides" same "round that failed" 0 "$failed"

disconnect "$from"
finish
