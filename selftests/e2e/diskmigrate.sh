#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/diskmigrate.sh [ROUNDS [PACKED…]]
#
# A stock guest whose disk QEMU has from `vhostlite serve --handover` migrates live, ROUNDS times (default 1) with each kind of
# rings, from one QEMU to another, each with a `vhostlite serve` of its own on the same image; first with split rings, then
# with packed ones, or as the words off and on say. Meanwhile the guest writes blocks and compares them, and reads others into
# its page cache and looks at them there a while later: a page that the device wrote and did not mark is not what it should be
# on the other side. TAP. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/diskmigrate.sh
# For all that a release promises, 100 rounds:
#   tools/vm/run --timeout 7200 --share "$(selftests/guest/mkguest)" -- selftests/e2e/diskmigrate.sh 100
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/movelib.sh"
ROUNDS=${1:-1}
RINGS=("${@:2}")
((${#RINGS[@]})) || RINGS=(off on)
NODE=vhost-blklite DISK=$WORK/disk.img LOG_ALL=26

need_device vhost-user-blk-pci
modules_load vhost-blklite
dd if=/dev/urandom of="$DISK" bs=1M count=64 2>/dev/null

# ---- back ends: serve0 and serve1, which take turns ----
serve_says() { grep -q -- "$2" "$WORK/$1/qemu.log" || { tail -n 5 "$WORK/$1/qemu.log" && return 1; }; }
serve_start() {
	mkdir -p "$WORK/$1"
	vhostlite serve --socket "$WORK/$1.sock" --disk "$DISK" --handover >"$WORK/$1/qemu.log" 2>&1 </dev/null &
	GUEST_PID[$1]=$!
	wait_for 20 serve_says "$1" "is served on" || bail "vhostlite serve does not: $(tail -n 3 "$WORK/$1/qemu.log")"
}
# ours NAME: the device of a back end that has queues
ours() { device "$1" $NODE 0; }
reqs() { counter "$1" "$(ours "$1")" '*' reqs; }
logs() { negotiated "$1" "$(ours "$1")" $LOG_ALL; }
# busy BACK-END: requests go on
busy() {
	more() { (($(reqs "$1") - $2 >= 50)); }
	wait_for 60 more "$1" "$(reqs "$1")"
}

# ---- front ends ----
# host NAME BACK-END PACKED [ARGUMENT…]: a QEMU for the guest
host() {
	MACHINE=pc,memory-backend=mem guest_start "$1" -object "memory-backend-memfd,id=mem,size=$GUEST_MEM,share=on" \
		-chardev "socket,id=disk,path=$WORK/$2.sock" -device "vhost-user-blk-pci,chardev=disk,packed=$3" "${@:4}"
}

# ---- the guest ----
# Four megabytes are read into the page cache, and looked at there a second later
SUMS='want=$(dd if=/dev/vda bs=1M skip=40 count=4 2>/dev/null | sha256sum)
rm -f /tmp/sums /tmp/wrong /tmp/enough; : >/tmp/sums
(while ! test -e /tmp/enough; do
	echo 1 >/proc/sys/vm/drop_caches
	dd if=/dev/vda of=/dev/null bs=1M skip=40 count=4
	sleep 1
	sum=$(dd if=/dev/vda bs=1M skip=40 count=4 | sha256sum)
	echo "$sum" >>/tmp/sums
	test "$sum" = "$want" || echo "$sum" >>/tmp/wrong
done) >/dev/null 2>&1 </dev/null &'
sums_end() {
	guest "$1" 60 'touch /tmp/enough; sleep 2; wc -l </tmp/sums; ! cat /tmp/wrong 2>/dev/null && test $(wc -l </tmp/sums) -gt 3'
}

# ---- migration ----
# send_to FROM BANDWIDTH
send_to() {
	rm -f "$WORK/logged"
	qmp "$1" migrate-set-parameters "{\"downtime-limit\":10000,\"max-bandwidth\":$2}" &&
		qmp "$1" migrate "{\"uri\":\"unix:$WORK/migration\"}"
}
# heir NAME BACK-END PACKED: one that waits for the guest
heir() {
	rm -f "$WORK/migration"
	host "$@" -incoming "unix:$WORK/migration"
	wait_for 60 test -S "$WORK/migration" || bail "no QEMU to migrate to: $(tail -n 3 "$WORK/$1/qemu.log" "$WORK/$2/qemu.log")"
}
downtime() { qmp "$1" query-migrate | sed 's/.*"downtime": \([0-9]*\).*/\1/'; }

# moves FROM BACK-END TO BACK-END: all that it did here was logged, and it goes on there
note_logs() { ! logs "$LEAVES" >/dev/null || : >"$WORK/logged"; }
moves() {
	LEAVES=$2
	send_to "$1" 10000000000 && migrated "$1" note_logs || return
	[[ -e $WORK/logged ]] || { echo "the device was not told to log" && return 1; }
	same "state of the queue that was left" stopped "$(counter "$2" "$(ours "$2")" 0 state)" && busy "$4" &&
		guest "$3" 20 '! test -e /tmp/fio.rc && ! test -e /tmp/wrong'
}

cancelled() {
	send_to "$1" 1000000 && wait_for 60 logs "$2" && busy "$2" && qmp "$1" migrate_cancel && wait_for 60 stays "$2" && busy "$2"
}
stays() { ! logs "$1"; }
quits() { ! alive "$1"; }

# another_user: the image has a lock while queues run
another_user() {
	timeout 20 vhostlite serve --socket "$WORK/third.sock" --disk "$DISK" >"$WORK/third" 2>&1
	same "exit status of another user of the image" 1 $? && grep -q "another vhostlite run or QEMU writes to it" "$WORK/third"
}
# second_guest BACK-END: the same for a guest of the back end that has no queues
second_guest() {
	qemu-system-x86_64 -display none -nodefaults -M pc,memory-backend=m -m 128M \
		-object memory-backend-memfd,id=m,size=128M,share=on \
		-chardev "socket,id=disk,path=$WORK/$1.sock" -device vhost-user-blk-pci,chardev=disk,bootindex=0 >"$WORK/second" 2>&1 &
	local pid=$! status

	wait_for 100 serve_says "$1" "the disk cannot be used now"
	status=$?
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	return "$status"
}

serve_start serve0
serve_start serve1
for packed in "${RINGS[@]}"; do
	[[ $packed == on ]] && rings=packed || rings=split
	say "$rings rings"
	from=m$rings
	host "$from" serve0 "$packed"
	check "a guest with $rings rings boots" guest_ready "$from"
	[[ $(reqs serve0) -gt 0 ]] || bail "the guest is not on vhost-lite at all"
	if [[ $packed == on ]]; then
		check "it has packed rings" negotiated serve0 "$(ours serve0)" 34
	fi
	check "it reads" guest "$from" 60 "$SUMS"
	check "and writes" io_start "$from" 16
	check "requests go on" busy serve0
	if [[ $packed == "${RINGS[0]}" ]]; then
		check "nobody else gets the image" another_user
		check "nor a guest of the other back end" second_guest serve1
		# one that comes to nothing: the guest stays, and the device logs no more
		heir lost serve1 "$packed"
		check "a migration is cancelled: the guest stays, and nothing is logged any more" cancelled "$from" serve0
		guest_end lost KILL
	fi

	failed=0 here=serve0 there=serve1
	for ((round = 1; round <= ROUNDS; round++)); do
		to=m$rings$round
		heir "$to" "$there" "$packed"
		began=$SECONDS before=$(reqs "$here")
		if ! moves "$from" "$here" "$to" "$there" >"$WORK/round" 2>&1; then
			failed=$round
			tail -n 5 "$WORK/round" "$WORK/$here/qemu.log" "$WORK/$there/qemu.log" "$WORK/$to/qemu.log" | sed 's/^/# /'
			break
		fi
		say "round $round: $((SECONDS - began)) s, $(($(reqs "$here") - before)) requests meanwhile; down for $(downtime "$from") ms"
		guest_end "$from"
		from=$to
		last=$here here=$there there=$last
	done
	check "$ROUNDS migrations with requests in flight" same "round that failed" 0 "$failed"
	check "all that was written is there, and no request was lost" io_end "$from"
	check "all that was read is what it should be" sums_end "$from"
	check "the guest's kernel has nothing to complain of" no_complaint "$from"
	check "quit" qmp "$from" quit
	check "QEMU ends" wait_for 20 quits "$from"
	guest_end "$from"
done

for serve in serve0 serve1; do
	check "$serve ends" kill -TERM "${GUEST_PID[$serve]}"
	wait "${GUEST_PID[$serve]}"
	unset "GUEST_PID[$serve]"
done
check "nobody holds the module" wait_for 10 no_users vhost_blklite
finish
