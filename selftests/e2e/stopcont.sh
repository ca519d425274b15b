#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/stopcont.sh [ROUNDS]
#
# A stock guest on /dev/vdpa-blklite is stopped and goes on ROUNDS times (default 40), in the middle of verified I/O with 32
# requests under way, while the queue naps: a stop leaves chains behind, and the start completes them before QEMU sets the
# guest's call eventfd. TAP. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/stopcont.sh
# For all that a release promises, 200 rounds, on trixie (QEMU 10.0) and forky (QEMU 11.1):
#   tools/vm/run --release R --share "$(selftests/guest/mkguest --release R)" -- selftests/e2e/stopcont.sh 200
# shellcheck disable=SC2016,SC2317 # what is in single quotes is expanded in the guest; functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
NODE=vdpa-blklite
ROUNDS=${1:-40}
DEPTH=32
LONGEST_NAP=16000 # us

need_device vhost-vdpa-device-pci
modules_load vhost-blklite
# what is found without a wake was found by a nap then
echo 0 >/sys/module/vhost_lite/parameters/poll_max_us
echo $LONGEST_NAP >/sys/module/vhost_lite/parameters/nap_max_us

# Another task wants the CPU all the time, although it gets little of it: a queue naps only then. The machine may have two,
# the guest has but one.
cpus=$(nproc)
for ((cpu = 0; cpu < cpus; cpu++)); do
	taskset -c "$cpu" nice -n 19 bash -c 'while :; do :; done' &
	TRAFFIC+=($!)
done
no_hogs() {
	kill "${TRAFFIC[@]}" 2>/dev/null
	wait "${TRAFFIC[@]}" 2>/dev/null
	TRAFFIC=()
}

truncate -s 64M "$WORK/disk.img"
guest_start a --run "--disk $WORK/disk.img,direct=off"
check "a guest boots" guest_ready a
device=$(device a $NODE 0)
[[ -n $device ]] || bail "the guest is not on vhost-lite at all"
for info in /proc/"${GUEST_PID[a]}"/fdinfo/*; do
	! grep -q "^vhl-device:.$device$" "$info" || break
done

# now COUNTER: without a process, which would take a part of the second
now() {
	local line word

	while read -r line; do
		[[ $line == vhl-queue:* ]] || continue
		for word in $line; do
			[[ $word == "$1"=* ]] && echo "${word#*=}" && return
		done
	done <"$info"
}

# fio goes on until it is told to end; each block is read back soon after it was written
start_fio() {
	guest a 20 "rm -f /tmp/fio.rc; (fio --name=job --filename=/dev/vda --ioengine=libaio --iodepth=$DEPTH --direct=1 --thread \
		--rw=randwrite --bs=4k --size=32M --loops=1000000 --verify=crc32c --do_verify=1 --verify_backlog=512 --verify_fatal=1 \
		>/tmp/fio.log 2>&1; echo \$? >/tmp/fio.rc) >/dev/null 2>&1 </dev/null &"
}
end_fio() {
	guest a 120 'kill -INT $(pidof fio); until test -e /tmp/fio.rc; do sleep 1; done
		grep -E "fio:|verify|err=|issued|I/O error" /tmp/fio.log; grep -q "err= 0" /tmp/fio.log && ! grep -q "verify:" /tmp/fio.log'
}

# goes_on FROM US LOOKS: more requests than can have been under way at FROM are done within this time, in which there were so
# many looks; sets took and looks
took=0 looks=0
goes_on() {
	local start=${EPOCHREALTIME/[.,]/}

	looks=0
	while (($(now reqs) <= $1 + DEPTH)); do
		took=$((${EPOCHREALTIME/[.,]/} - start))
		((++looks < $3 || took < $2)) || return
	done
	took=$((${EPOCHREALTIME/[.,]/} - start))
}

# The time is a second. Where others take the machine away from us that may be nothing, so it is also as many looks as there
# were in a second at first.
SECOND=1000000
undisturbed() {
	local n sum=0 all=0

	for ((n = 0; n < 16; n++)); do
		goes_on "$(now reqs)" $((60 * SECOND)) 1 || return
		((sum += took, all += looks))
	done
	rate=$((all * SECOND / (sum + 1) + 1))
	say "without a stop it takes $((sum / n / 1000)) ms, $rate looks in a second"
}

slowest=0 late=0 done_rounds=0 rate=0
rounds() {
	local stopped

	while ((done_rounds < ROUNDS)); do
		qmp a stop >/dev/null || return
		stopped=$(now reqs)
		qmp a cont >/dev/null || return
		goes_on "$stopped" $SECOND "$rate" || {
			echo "round $done_rounds: $(($(now reqs) - stopped)) requests in $((took / 1000)) ms"
			sleep 20
			echo "$(($(now reqs) - stopped)) after 20 seconds more"
			return 1
		}
		((took <= slowest)) || slowest=$took
		((late += took > SECOND))
		((++done_rounds))
		# at any moment of a nap and of a turn
		sleep "0.0$((RANDOM % 10))"
	done
}

check "I/O" start_fio
busy() { (($(now polls) > 100)); }
check "the queue naps" wait_for 60 busy
polls=$(now polls)
undisturbed || bail "no I/O"
rounds >"$WORK/rounds" 2>&1 || cat "$WORK/rounds"
say "$done_rounds rounds, the slowest went on after $((slowest / 1000)) ms; $late took more than a second of a busy machine"
check "$ROUNDS times stop and cont: it goes on within a second" same rounds "$ROUNDS" "$done_rounds"
naps() { (($(now polls) - polls > ROUNDS)); }
check "it did not cease to nap" naps
no_hogs
check "every block is what was written" end_fio
check "quit" qmp a quit
quits() { ! alive a; }
check "QEMU ends" wait_for 20 quits
guest_end a
check "nobody holds the module" wait_for 10 no_users vhost_blklite
finish
