# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Shared by the tracks with stock guests, guest.sh and guests.sh: what the test host needs, names of a guest's devices, costs.
# Sourced; brings what the end-to-end tests have for guests.
# shellcheck disable=SC2034 # used by the scripts that source this

# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/../../selftests/e2e/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
SPAN=$((32 << 20))
ECHO_PORT=7777
TICKS=$(getconf CLK_TCK)
PROCESSORS=$(nproc)
# what costs() prints, in this order; on one processor the first three
COSTS=(exits interrupts cpu threads switches moves)

# host_ready DISKS: modules, so many null_blk, and what the report says of the machine
host_ready() {
	mkdir -p "$BENCH_OUT"
	modules_load vhost-netlite vhost-blklite
	modprobe -a vhost_net loop ext4 || bail "the test host lacks modules"
	modprobe null_blk "nr_devices=$1" gb=1 queue_mode=2 submit_queues=1 || bail "the test host lacks null_blk"
	{
		echo "kernel=$(uname -r)"
		echo "processors=$PROCESSORS"
		echo "qemu=$(qemu_version)"
		echo "date=$(date -u +%Y-%m-%d)"
	} >"$BENCH_OUT/environment"
	mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug || bail "the test host lacks debugfs"
}

# what a guest does to name its disks and cards: /dev/SERIAL, or as /tmp/slots says; the last digit N of a card's MAC address
# makes it 10.77.N.2. And what answers
# shellcheck disable=SC2016 # expanded in the guest
NAMES='
for b in /sys/block/vd*; do
	name=$(cat $b/serial)
	slot=$(readlink -f $b/device/..)
	[ ! -e /tmp/slots ] || while read -r at other; do
		[ "$at" != "${slot##*/}" ] || name=$other
	done </tmp/slots
	ln -sf ${b##*/} /dev/$name
	echo none >$b/queue/scheduler
done
for d in /sys/class/net/*; do
	mac=$(cat $d/address)
	case $mac in 52:54:00:00:00:0*) ;; *) continue ;; esac
	ip addr add 10.77.${mac##*:0}.2/24 dev ${d##*/} && ip link set ${d##*/} up
done
pidof iperf3 >/dev/null || iperf3 -s -D >/dev/null 2>&1 </dev/null
pidof xfer >/dev/null || xfer echo '$ECHO_PORT' >/dev/null 2>&1 </dev/null &
'

# machine_costs: what the machine has spent since it was booted: exits of guests, interrupts that they got, and ns of all
# processors but for what guests used
machine_costs() {
	local _ user nice system irq softirq guest guest_nice busy

	read -r _ user nice system _ _ irq softirq _ guest guest_nice </proc/stat
	busy=$((user + nice + system + irq + softirq - guest - guest_nice))
	echo "$(</sys/kernel/debug/kvm/exits) $(</sys/kernel/debug/kvm/irq_injections) $((busy * (1000000000 / TICKS)))"
}

# thread_costs PID…: CPU time in ns, switches to other threads and moves to other processors, of all threads of QEMU and of
# servers but for those that are a guest's processors. What a contender does not use sleeps meanwhile. Nothing on one
# processor, where none of this is shown.
thread_costs() {
	local pid task comm ns=0 switches=0 moves=0 run key value _

	((PROCESSORS > 1)) || return
	for pid; do
		for task in /proc/"$pid"/task/*; do
			read -r comm <"$task/comm" || continue
			[[ $comm != "CPU "*/KVM ]] || continue
			read -r run _ <"$task/schedstat" || continue
			ns=$((ns + run))
			while read -r key value; do
				[[ $key != *_ctxt_switches: ]] || switches=$((switches + value))
			done <"$task/status"
			[[ ! -e $task/sched ]] || while read -r key _ value; do
				[[ $key != se.nr_migrations ]] || moves=$((moves + value))
			done <"$task/sched"
		done
	done 2>/dev/null
	echo "$ns $switches $moves"
}

# costs before|after PID…: machine_costs and thread_costs, at the one end or the other of what is to be measured: the walk
# through the threads is no part of what the machine spent
costs() {
	local when=$1 machine threads

	shift
	[[ $when == after ]] || threads=$(thread_costs "$@")
	machine=$(machine_costs)
	[[ $when == before ]] || threads=$(thread_costs "$@")
	echo "$machine $threads"
}

# complete CASE: how many rounds all contenders have had, in this machine or one that died
complete() {
	cat "$BENCH_OUT/$1/complete" 2>/dev/null || echo 0
}

# incomplete TRACK: its cases that want more rounds
incomplete() {
	local line

	cases_of "$1" | while IFS= read -r line; do
		(($(complete "$(field 0 "$line")") >= BENCH_ROUNDS)) || printf '%s\n' "$line"
	done
}

# guest_is_lost NAME: ends all of it, with the last words of that guest
guest_is_lost() {
	tail -n 20 "$WORK/$1/console" | sed "s/^/    $1: /"
	bail "the guest $1 has died, or does not answer"
}
