#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/reconnect.sh [N]
#
# Stock guests whose disk QEMU has from `vhostlite serve`, which is killed at N random moments (6 when not given) of I/O that
# the guest verifies, and started anew: no request is lost, none is done twice, none fails. The disk has a name, so its
# counters outlive the back end. In TAP, to be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/reconnect.sh
# shellcheck disable=SC2317,SC2119 # functions are called by check, and those of servelib.sh without arguments
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/servelib.sh"
# shellcheck disable=SC2034 # of servelib.sh
NODE=vhost-lite/vm1
kills=${1:-6}

need_device vhost-user-blk-pci
modules_load vhost-blklite
# until QEMU 9.2 it is in whole seconds, so the guest has to wait for that
RECONNECT=reconnect=1 bound=2000
! qemu-system-x86_64 -help | grep -q reconnect-ms= || RECONNECT=reconnect-ms=100 bound=1000
# of an emulated processor, that others have, too, the time says little
! grep -qw hypervisor /proc/cpuinfo || grep -q kvm-clock "$_clocks" || bound=$((bound * 20))

# Requests take some milliseconds, so there are always some in flight
modprobe null_blk nr_devices=0 || bail "the test host lacks null_blk"
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
null_disk nullb0 irqmode=2 completion_nsec=4000000
wait_for 20 test -b /dev/nullb0 || bail "no /dev/nullb0"
mkdir /sys/fs/cgroup/disks || bail "no cgroups"
check "a disk with a name" vhostlite disk add vm1 /dev/nullb0,queues=2

serve() { serve_start --disk "$1" --cgroup disks; }
# has_done_some: the back end, since it was started. It is looked at without other processes, and just where it has its
# device, for all that takes time
has_done_some() {
	local lines

	mapfile -t lines <"$COUNTERS"
	[[ ${lines[*]} =~ \ reqs=[1-9] ]]
}

# replaced NAME SIGNAL: the back end is ended at some moment, and another one takes its place; leaves in TOOK for how many
# milliseconds the guest waited for that, since it listens, and in CAME when QEMU had come
replaced() {
	local pid=${GUEST_PID[serve]} status start

	busy || return
	sleep "0.$(printf %03d $((RANDOM % 500)))"
	kill "-$2" "$pid"
	wait "$pid" 2>/dev/null
	status=$?
	unset "GUEST_PID[serve]"
	[[ $status -eq 137 || $2 != KILL ]] || { echo "status $status" && return 1; }
	same "holder of the disk" 0 "$(disk_is vm1 holder)" || return
	serve vm1
	start=$SERVED_SINCE CAME=
	COUNTERS=$(grep -l "vhl-node:.$NODE" /proc/"${GUEST_PID[serve]}"/fdinfo/*)
	until has_done_some; do
		sleep 0.02
		[[ -n $CAME || $(<"$WORK/serve/qemu.log") != *connected* ]] || CAME=$(($(now_ms) - start))
		if ! alive "$1" || (($(now_ms) - start > 60000)); then
			echo "the guest does not go on: $(tail -n 3 "$WORK/serve/qemu.log" "$WORK/$1/qemu.log")"
			return 1
		fi
	done
	TOOK=$(($(now_ms) - start))
	say "${TOOK} ms, of which ${CAME:-all} until QEMU was there again"
}
# moments NAME SIGNAL N: so many times. Not by check, whose subshell would not know of the new back end
moments() {
	local i slowest=0 what="the back end is ended by SIG$2 at $3 moments of verified I/O"

	for ((i = 0; i < $3; i++)); do
		replaced "$1" "$2" >"$WORK/replaced" || {
			not_ok "$what"
			sed "s/^/#   at moment $i: /" "$WORK/replaced"
			return
		}
		grep '^#' "$WORK/replaced"
		((TOOK <= slowest)) || slowest=$TOOK
	done
	ok "$what, and replaced"
	if ((slowest <= bound)); then
		ok "the guest goes on within $bound ms of the start of the next one: $slowest at most"
	else
		not_ok "the guest goes on within $bound ms of the start of the next one: $slowest at most"
	fi
}

# done_by_guest NAME: requests that its driver has had answered
done_by_guest() { guest "$1" 20 'awk "{ print \$1 + \$5 + \$12 + \$16 }" /sys/block/vda/stat'; }
# begins NAME: I/O, and what was counted before it
begins() {
	GUEST_BEFORE=$(done_by_guest "$1") DISK_BEFORE=$(disk_is vm1 reqs)
	check "I/O" io_start "$1" 16
}
# as_many NAME: the disk has done what the guest has asked for, once
as_many() {
	local guest disk

	guest=$(($(done_by_guest "$1") - GUEST_BEFORE)) disk=$(($(disk_is vm1 reqs) - DISK_BEFORE))
	echo "requests of the guest: $guest, of the disk: $disk"
	((guest > 1000 && guest == disk)) && same "requests that failed" 0 "$(disk_is vm1 errors)" &&
		guest "$1" 20 '! dmesg | grep -i "i/o error"'
}
# tried NAME N: all of it
tried() {
	begins "$1"
	moments "$1" KILL "$2"
	moments "$1" TERM 1
	check "the data are right" io_end "$1"
	check "each request of the guest was done once" as_many "$1"
}

# ---- split rings ----
serve vm1
RECONNECT=$RECONNECT front_end a ,num-queues=2,packed=off -smp 2
say "a guest with split rings boots"
check "a guest boots" guest_ready a
[[ $(reqs) -gt 0 ]] || bail "the guest is not on vhost-lite at all: $(tail -n 3 "$WORK/serve/qemu.log" "$WORK/a/qemu.log")"
check "the guest sees the right size" size_is a $((32 << 20))
held() {
	vhostlite serve --disk /dev/vhost-lite/vm1 --socket "$WORK/other" >"$WORK/said" 2>&1
	same status 1 $? || return
	cat "$WORK/said"
	grep -q "in use by another process, ${GUEST_PID[serve]} (vhostlite)" "$WORK/said"
}
check "a disk that is in use is refused, and who has it is said" held
# the threads that serve it
in_group() {
	local pid names=()

	while read -r pid; do
		names+=("$(<"/proc/$pid/comm")")
	done </sys/fs/cgroup/disks/cgroup.procs
	echo "${names[*]}"
	[[ " ${names[*]} " == *" vhostlite "* && " ${names[*]} " == *" vhost-${GUEST_PID[serve]} "* ]]
}
check "process and threads are in the cgroup that was asked for" in_group
tried a $((kills - kills / 2))
guest_end a KILL

# ---- packed rings, where only the back end knows how far it was ----
front_end b ,num-queues=2,packed=on -smp 2
say "a guest with packed rings boots"
check "a second guest boots" guest_ready b
check "it has packed rings" negotiated serve "$DEV" 34
tried b $((kills / 2))
stop_and_cont() {
	qmp b stop && same state stopped "$(counter serve "$DEV" 0 state)" && qmp b cont &&
		wait_for 20 runs && guest b 60 'dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct'
}
check "stop and cont" stop_and_cont

# ---- its size ----
grows() {
	truncate -s 48M "$WORK/disk.img" && vhostlite disk swap vm1 "$WORK/disk.img,direct=off" &&
		wait_for 20 size_is b $((48 << 20)) && truncate -s 64M "$WORK/disk.img" &&
		vhostlite disk resize vm1 && wait_for 20 size_is b $((64 << 20)) &&
		guest b 30 "dd if=/dev/urandom of=/dev/vda bs=1M seek=63 count=1 oflag=direct"
}
check "the disk is another one, and grows" grows
guest_end b
serve_ends TERM 0
check "nobody has the disk" vhostlite disk del vm1
no_null_disks
finish
