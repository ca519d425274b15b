# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What tests of `vhostlite serve` need besides lib.sh: the back end, front ends, what they show of themselves.
# shellcheck disable=SC2034,SC2154,SC2119,SC2120,SC2317 # variables and arguments of scripts that source this, and of lib.sh

NODE=vhost-blklite SOCKET=$WORK/disk.sock

# ---- the back end ----
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
# serve_start WORD…: `vhostlite serve` with these, to the helpers of lib.sh the guest "serve": its counters are there
serve_start() {
	mkdir -p "$WORK/serve"
	vhostlite serve --socket "$SOCKET" "$@" >"$WORK/serve/qemu.log" 2>&1 </dev/null &
	GUEST_PID[serve]=$!
	# the socket may be there already, of one that was killed
	wait_for 20 says "is served on" || bail "vhostlite serve does not: $(tail -n 3 "$WORK/serve/qemu.log")"
	SERVED_SINCE=$(now_ms)
	DEV=$(device serve "$NODE" 0)
}
# serve_ends SIGNAL STATUS: and removes its socket, unless it was killed
serve_ends() {
	local status pid=${GUEST_PID[serve]}

	kill "-$1" "$pid"
	wait "$pid"
	status=$?
	unset "GUEST_PID[serve]"
	if [[ $status -eq $2 && ($1 == KILL || ! -e $SOCKET) ]]; then
		ok "the back end ends by SIG$1"
	else
		not_ok "the back end ends by SIG$1: status $status, $(ls "$SOCKET" 2>&1)"
	fi
}
# says PATTERN: a line of the back end's
says() { grep -q -- "$1" "$WORK/serve/qemu.log" || { tail -n 5 "$WORK/serve/qemu.log" && return 1; }; }
reqs() { counter serve "$DEV" "${1:-*}" reqs; }
# but for the guests' pipes, which it inherits from this script
open_files() { find "/proc/${GUEST_PID[serve]}/fd" -type l ! -lname "$WORK/?/*" | wc -l; }
regions() {
	awk -v dev="$DEV" '/^vhl-device:/ { this = $2 } /^vhl-regions:/ && this == dev { print $2; exit }' \
		/proc/"${GUEST_PID[serve]}"/fdinfo/*
}
shared_maps() { grep -c memfd: "/proc/${GUEST_PID[serve]}/maps"; }
switches() { awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/${GUEST_PID[serve]}/status"; }

# ---- front ends ----
# front_end NAME DEVICE-OPTIONS QEMU-ARGUMENT…: a guest whose memory is shared, and which has the disk
front_end() {
	local name=$1 options=$2

	shift 2
	MACHINE=pc,memory-backend=mem guest_start "$name" -object "memory-backend-memfd,id=mem,size=$GUEST_MEM,share=on" \
		-chardev "socket,id=disk,path=$SOCKET${RECONNECT:+,$RECONNECT}" \
		-device "vhost-user-blk-pci,chardev=disk$options" "$@"
}
fio="fio --name=job --filename=/dev/vda --ioengine=libaio --iodepth=16 --direct=1 --thread"
verify="--verify=crc32c --do_verify=1 --verify_fatal=1"

runs() { same state running "$(counter serve "$DEV" 0 state)"; }
size_is() { same "size" "$2" "$(guest "$1" 10 'blockdev --getsize64 /dev/vda')"; }
# busy: requests go on
busy() {
	more() { (($(reqs) - $1 >= 50)); }
	wait_for 60 more "$(reqs)"
}
