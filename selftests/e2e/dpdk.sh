#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/dpdk.sh [FRAMES]
#
# DPDK's driver on /dev/vhost-netlite: virtio-user, which opens the node and makes a TAP itself, with split and packed
# rings, used in order and not, with buffers that are merged and not, with two queue pairs, in huge pages. Its testpmd
# sends back what comes, and FRAMES frames (default 400) are compared; then it sends as fast as it can. In TAP, to be run
# in the test host with a root file system that has DPDK:
#   tools/vm/run --share "$(tools/vm/mkroot --dpdk)/root" -- selftests/e2e/dpdk.sh
# shellcheck disable=SC2317 # functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
FRAMES=${1:-400} LINK=vhldpdk
PROGRAM=$WORK/dpdk HUGE_PAGES=96
# bits, and a request
PACKED=34 IN_ORDER=35 MRG_RXBUF=15
VHOST_SET_VRING_BASE=0x4008af12
TRACE=/sys/kernel/tracing IOCTLS=/sys/kernel/tracing/events/syscalls/sys_enter_ioctl

# by name alone: below /tmp it would take no path
shared_program "$PROGRAM" dpdk-testpmd "-d librte_net_virtio.so -d librte_mempool_ring.so" \
	librte_net_virtio.so librte_mempool_ring.so || {
	echo "1..0 # SKIP there is no DPDK (tools/vm/mkroot --dpdk)"
	exit 0
}
modules_load vhost-netlite
# what DPDK could fall back to
modprobe vhost_net || bail "the test host lacks vhost_net"
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
mountpoint -q "$TRACE" || mount -t tracefs tracefs "$TRACE" || bail "the test host lacks tracefs"
{ echo "cmd == $VHOST_SET_VRING_BASE" >"$IOCTLS/filter" && echo 1 >"$IOCTLS/enable"; } || bail "ioctl() cannot be traced"

# ---- testpmd ----
# It is the guest "a", takes commands and has its output in WORK/a/qemu.log. Both of its threads are on one processor.

# testpmd packed=N,in_order=N,mrg_rxbuf=N… PAIRS MEMORY-OPTION…
testpmd() {
	local fd device=net_virtio_user0,path=/dev/$NODE,iface=$LINK,mac=52:54:00:00:00:77,queues=$2,queue_size=256,$1
	local pairs=$2 buffers=()

	[[ $1 != *mrg_rxbuf=1* ]] || buffers=(--enable-scatter --max-pkt-len=9100)
	rm -rf "$WORK/a"
	mkdir "$WORK/a"
	mkfifo "$WORK/a/commands"
	exec {fd}<>"$WORK/a/commands"
	stdbuf -oL "$PROGRAM/dpdk-testpmd" "${@:3}" --no-pci --no-telemetry --iova-mode=va --lcores '0@0,1@0' \
		--vdev "$device" -- -i --forward-mode=io --port-topology=loop --disable-rss --total-num-mbufs=4096 \
		--rxq="$pairs" --txq="$pairs" "${buffers[@]}" <"$WORK/a/commands" >"$WORK/a/qemu.log" 2>&1 &
	GUEST_PID[a]=$!
	GUEST_TO[a]=$fd
}

# told COMMAND…: until testpmd, which repeats what it reads, has done them
told() {
	local mark=told-$RANDOM$RANDOM

	printf '%s\n' "$@" "# $mark" >&"${GUEST_TO[a]}"
	wait_for 100 grep -q "# $mark" "$WORK/a/qemu.log" && return
	tail -n 20 "$WORK/a/qemu.log"
	return 1
}

# ---- checks ----

# state_is STATE PAIRS: of all queues
state_is() {
	local dev q found

	mapfile -t found < <(devices a "$NODE")
	same "devices of testpmd" "$2" "${#found[@]}" || return
	for dev in "${found[@]}"; do
		for q in 0 1; do
			same "state of queue $q of device $dev" "$1" "$(counter a "$dev" "$q" state)" || return
		done
	done
}

begins() {
	set_up() { ! alive a || state_is running "$1"; }
	wait_for 150 set_up "$1" && state_is running "$1" && ip link set "$LINK" mtu 9000 up && told start && return
	tail -n 20 "$WORK/a/qemu.log"
	return 1
}

# nothing of vhost but our node is open, and DPDK loads no other backend
only_ours() {
	same "vhost nodes" "/dev/$NODE" "$(readlink "/proc/${GUEST_PID[a]}"/fd/* | grep /dev/vhost | sort -u)"
}

# negotiated_are BIT=VALUE…: of all devices
negotiated_are() {
	local dev bit

	for dev in ${DEV[0]}; do
		for bit; do
			if [[ ${bit#*=} == 1 ]]; then
				negotiated a "$dev" "${bit%=*}" || return
			else
				! negotiated a "$dev" "${bit%=*}" || return
			fi
		done
	done
}

healthy() {
	same breaks 0 "$(counter a "${DEV[0]}" '*' breaks)" && state_is running "$1"
}

# come_back COUNT LARGEST PAIRS: as many as were sent went through our queues and the TAP, both ways; no queue was idle
come_back() {
	local before=("$(reqs 0 0)" "$(reqs 0 1)") stats=/sys/class/net/$LINK/statistics dev q
	local was=("$(<"$stats/tx_packets")" "$(<"$stats/rx_packets")")

	went() {
		for q in 0 1; do
			same "frames in queue $q" "$1" $(($(reqs 0 "$q") - before[q])) || return
		done
		same "frames from the TAP" "$1" $(($(<"$stats/tx_packets") - was[0])) &&
			same "frames to the TAP" "$1" $(($(<"$stats/rx_packets") - was[1]))
	}
	{ "${0%/*}/frames.py" "$LINK" "$1" "$2" && wait_for 10 went "$1" && healthy "$3"; } || {
		told "show port stats 0"
		tail -n 12 "$WORK/a/qemu.log"
		return 1
	}
	for dev in ${DEV[0]}; do
		for q in 0 1; do
			(($(counter a "$dev" "$q" reqs) > 10)) || { echo "queue $q of device $dev idles" && return 1; }
		done
	done
}

restarts() {
	told stop "port stop 0" "port start 0" start
}

# with other features, which DPDK keeps from us: it resets the device, whose queues begin at new bases
resets() {
	echo >"$TRACE/trace"
	told stop "port stop 0" "port config 0 tx_offload udp_cksum on" "port start 0" start &&
		same "times that a base was set" $((2 * $1)) "$(grep -c 'sys_ioctl(' "$TRACE/trace")"
}

# more COUNTER LEAST: that command gives a number that soon is so much greater
more() {
	local before

	before=$("${@:2}") || return
	grown() { (($("${@:2}") - before >= $1)); }
	wait_for 60 grown "$@"
}
received() { cat "/sys/class/net/$LINK/statistics/rx_packets"; }
sent() { grep -oP 'TX-packets: \K\d+' "$WORK/a/qemu.log" | tail -n 1; }

# frames of three pieces as fast as they go
sends() {
	told stop "set fwd txonly" "set txpkts 64,1000,300" start && more 1500 received
}
# the same, also while the link is down; as many as DPDK sent went through our queues
floods() {
	local before
	before=$(reqs 0 1)

	all_went() { same "frames in queue 1" "$(sent)" $(($(reqs 0 1) - before)); }
	sends || return
	ip link set "$LINK" down && more 1500 reqs 0 1 || return
	ip link set "$LINK" up && more 1500 received &&
		told stop "set fwd io" && wait_for 20 all_went && healthy "$1" && told start
}

ends() {
	told stop && printf 'quit\n' >&"${GUEST_TO[a]}" || return
	ended() { ! alive a; }
	wait_for 60 ended
}
no_complaint_of_dpdk() {
	! grep -iE 'VIRTIO_[A-Z]+:|fail|error:|invalid|refuse' "$WORK/a/qemu.log"
}

# drives NAME PACKED IN-ORDER MRG_RXBUF PAIRS MEMORY-OPTION…
drives() {
	local name=$1 packed=$2 in_order=$3 mrg=$4 pairs=$5 largest=1514 numbers

	((mrg)) && largest=9014
	say "testpmd begins: $name"
	testpmd "packed_vq=$packed,in_order=$in_order,mrg_rxbuf=$mrg" "$pairs" "${@:6}"
	check "$name: testpmd has the node and a TAP" begins "$pairs"
	mapfile -t numbers < <(devices a "$NODE")
	DEV[0]="${numbers[*]}"
	((${#numbers[@]})) || bail "testpmd is not on vhost-lite at all: $(tail -n 20 "$WORK/a/qemu.log")"
	check "$name: it has nothing else" only_ours
	check "$name: that is negotiated" negotiated_are "$PACKED=$packed" "$IN_ORDER=$in_order" "$MRG_RXBUF=$mrg"
	check "$name: frames of all sizes come back" come_back "$FRAMES" "$largest" "$pairs"
	check "$name: the port stops and starts" restarts
	check "$name: the device is reset and starts anew" resets "$pairs"
	check "$name: frames come back after that" come_back "$FRAMES" "$largest" "$pairs"
	check "$name: a flood, over a link that goes down and up" floods "$pairs"
	check "$name: frames come back after that, too" come_back $((FRAMES / 4)) "$largest" "$pairs"
	check "$name: testpmd ends" ends
	check "$name: it has not complained" no_complaint_of_dpdk
	guest_end a
}

small=(--no-huge --no-shconf -m 128)
drives "split" 0 0 0 1 "${small[@]}"
drives "split, merged" 0 0 1 1 "${small[@]}"
drives "split, in order" 0 1 0 1 "${small[@]}"
drives "split, in order, merged" 0 1 1 1 "${small[@]}"
drives "packed" 1 0 0 1 "${small[@]}"
drives "packed, merged" 1 0 1 1 "${small[@]}"
drives "packed, in order" 1 1 0 1 "${small[@]}"
drives "packed, in order, merged" 1 1 1 1 "${small[@]}"

# DPDK takes huge pages as it needs them: it stops the queues, tells of the new memory, and goes on
echo $HUGE_PAGES >/proc/sys/vm/nr_hugepages
same "huge pages" $HUGE_PAGES "$(</proc/sys/vm/nr_hugepages)" || bail "no huge pages"
drives "two pairs, split, in huge pages" 0 1 1 2 --in-memory
drives "two pairs, packed, in huge pages" 1 1 1 2 --in-memory

testpmd packed_vq=1,in_order=1,mrg_rxbuf=1 2 --in-memory
check "killed: testpmd begins once more" begins 2
check "killed: it sends" sends
guest_end a KILL
check "nobody holds the module" wait_for 10 no_users vhost_netlite
check "the modules can be unloaded" rmmod vhost_netlite vhost_lite
finish
