#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: [VHOSTLITE=PROGRAM] selftests/tools/vhostlite_serve.sh
#
# What vhostlite serve says to a person, and front ends that mean harm, against one whose nodes are fake_node.c: compiled here
# with the sanitizers, that look at what happens to it. Against the real nodes it is selftests/e2e/serve.sh. Prints TAP.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$here/tap.bash"
top=$here/../..

echo "TAP version 13"
truncate -s 1M "$tmp/disk" "$tmp/other.disk"
pid=
trap '[[ -z $pid ]] || kill -KILL "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
socket=$tmp/socket
says no_disk 2 "serve: --disk is missing" serve --socket "$socket"
says no_socket 2 "serve: --socket is missing" serve --disk "$tmp/disk"
says two_disks 2 "one --disk for each vhostlite serve" serve --disk a --disk b --socket "$socket"
says option_alone 2 "--socket wants a value" serve --disk a --socket
says unknown_argument 2 "unknown argument '--sock' (there are: --disk, --socket, --queues, --handover, --cgroup)" serve --sock
says handover_named 2 "a disk that has a name keeps its lock" serve --disk /dev/vhost-lite/vm1 --socket "$socket" --handover
says queues_zero 2 "--queues 0: a number of 1..16" serve --disk a --socket "$socket" --queues 0
says queues_many 2 "--queues 17: a number of 1..16" serve --disk a --socket "$socket" --queues=17
says queues_twice 2 "--queues 3 and queues=2" serve --disk a,queues=2 --socket "$socket" --queues 3
says bootindex 2 "-device vhost-user-blk-pci,bootindex=3" serve --disk a,bootindex=3 --socket "$socket"
says no_such_cgroup 1 "--cgroup $tmp/none: No such file or directory; make it first" serve --disk "$tmp/disk" --socket "$socket" --cgroup "$tmp/none"
says no_cgroup 1 "--cgroup $tmp: no directory of cgroup v2" serve --disk "$tmp/disk" --socket "$socket" --cgroup "$tmp"
says no_such_disk 1 "$tmp/none: No such file" serve --disk "$tmp/none" --socket "$socket"

compile() {
	"${CC:-cc}" -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
		-Wl,--wrap=open,--wrap=ioctl -I"$top/uapi" -o "$tmp/fake" "$top"/tools/vhostlite/*.c "$here/fake_node.c" >"$tmp/cc" 2>&1
}
if ! compile; then
	err=$(tail -n 20 "$tmp/cc")
	result 1 serve_compiles
	finish
fi
prog=$tmp/fake

says long_path 2 "a path of 1..107 bytes" serve --disk "$tmp/disk" --socket "$tmp/$(printf '%0120d' 0)"
says no_directory 1 "$tmp/none/s: No such file" serve --disk "$tmp/disk" --socket "$tmp/none/s"
says a_file_there 1 "$tmp/disk: there already, and no socket" serve --disk "$tmp/disk" --socket "$tmp/disk"

# begins WORD…: in the background, until it listens
begins() {
	"$prog" serve --disk "$tmp/disk" --socket "$socket" "$@" >"$tmp/log" 2>&1 </dev/null &
	pid=$!
	for _ in {1..300}; do
		! grep -q "is served on" "$tmp/log" || return 0
		sleep 0.1
	done
	return 1
}
# ends SIGNAL STATUS
ends() {
	kill "-$1" "$pid"
	wait "$pid"
	status=$? pid=
	out=$(tail -n 20 "$tmp/log") err=''
	[[ $status -eq $2 ]]
}
begins
result $? listens
says listens_already 1 "$socket: another process listens there" serve --disk "$tmp/other.disk" --socket "$socket"
says in_use 1 "$tmp/disk: another vhostlite run or QEMU writes to it" serve --disk "$tmp/disk" --socket "$tmp/other"
ends KILL 137 && [[ -S $socket ]]
result $? killed
begins
result $? takes_over_a_socket_that_nobody_uses

while read -r word rest; do
	case $word in
	ok) result 0 "${rest#*- }" ;;
	not) out='' err=$(tail -n 5 "$tmp/log") && result 1 "${rest#*- }" ;;
	'#') echo "# $rest" ;;
	esac
done < <(timeout 300 python3 -B "$here/serve_cases.py" "$socket" "$pid" 2>&1 || echo "not ok - the cases of serve")
kill -0 "$pid"
result $? lives_on
! grep -E "BUG|ERROR|runtime error" "$tmp/log"
result $? no_bug
ends TERM 0 && [[ ! -e $socket ]]
result $? ends_when_told_and_removes_its_socket
begins --queues 2
result $? again
rm "$socket"
touch "$socket"
ends INT 0 && [[ -f $socket ]]
result $? leaves_what_is_not_its_own

# two of them with one disk: whoever has queues has it
socket=$tmp/first
begins --handover
result $? listens_without_a_lock
"$prog" serve --disk "$tmp/disk" --socket "$tmp/second" --handover >"$tmp/log2" 2>&1 </dev/null &
second=$!
handover() {
	python3 -B - "$here" "$socket" "$tmp/second" "$second" <<-'END'
		import os, struct, sys, time
		sys.path.insert(0, sys.argv[1])
		from serve_rig import *
		ARGS.real = False

		def begin(fe, memory):
		    ready(fe, memory)
		    fe.queue(memory)
		    return fe.says(SET_VRING_ENABLE, state(0, 1))

		end = time.monotonic() + WAIT
		while not os.path.exists(sys.argv[3]) and time.monotonic() < end:
		    time.sleep(0.1)
		memory = Memory()
		with FrontEnd(sys.argv[2]) as here:
		    with FrontEnd(sys.argv[3]) as there:
		        same("first", 0, begin(here, memory))
		        ready(there, memory)
		        there.queue(memory)
		        refused(there.says(SET_VRING_ENABLE, state(0, 1)))
		        here.ask(GET_VRING_BASE, state(0, 0))
		        same("it is free: the other one has it", 0, there.says(SET_VRING_ENABLE, state(0, 1)))
		        here.send(SET_VRING_ENABLE, state(0, 0))
		        here.send(SET_VRING_KICK, u64(0), [here.eventfd()])
		        refused(here.says(SET_VRING_ENABLE, state(0, 1)))
		    # that one has gone without a word
		    end = time.monotonic() + WAIT
		    while here.says(SET_VRING_ENABLE, state(0, 1)) and time.monotonic() < end:
		        time.sleep(0.1)
		    same("base", (0, 0), struct.unpack("<II", here.ask(GET_VRING_BASE, state(0, 0))))
	END
}
err=$(handover 2>&1)
result $? handover
kill -KILL "$second"
wait "$second"
ends TERM 0
result $? ends_again
finish
