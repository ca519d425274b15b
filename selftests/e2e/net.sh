#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/net.sh
#
# Stock guests on /dev/vhost-netlite, in TAP. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/net.sh
# One guest has a card for each way of talking to a driver, so that all is done in two boots.
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"

modules_load vhost-netlite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
has() { qemu-system-x86_64 -device virtio-net-pci,help | grep -q "^  $1="; }

# ---- the cards ----
offloads=csum=off,gso=off,guest_csum=off
for word in guest_tso4 guest_tso6 guest_ecn guest_ufo host_tso4 host_tso6 host_ecn host_ufo; do
	offloads+=,$word=off
done
for word in guest_uso4 guest_uso6 host_uso guest_tunnel guest_tunnel_csum host_tunnel host_tunnel_csum; do
	! has "$word" || offloads+=,$word=off
done
order=''
! has in_order || order=,in_order=on
# shellcheck disable=SC2054 # the commas are QEMU's
properties=(
	''                                        # 0 as it comes
	mrg_rxbuf=off,event_idx=off               # 1 large receive buffers, every notification asked for
	"$offloads"                               # 2 each frame as it is on the wire
	host_mtu=9000,"$offloads"                 # 3 jumbo frames
	disable-modern=on,mrg_rxbuf=off           # 4 a legacy device: headers of 10 bytes
	"indirect_desc=off,event_idx=off$order"   # 5 long chains, used in order
	[12]="packed=on$order"                    # 12 packed rings, used in order
	[13]=packed=on,indirect_desc=off,event_idx=off,mrg_rxbuf=off # 13 the same with long chains
)
args=()
for n in "${!properties[@]}"; do
	tap "$n"
	args+=(-netdev "tap,id=net$n,ifname=tap$n,script=no,downscript=no,vhost=on,vhostfd=$((20 + n))"
		-device "virtio-net-pci,id=nic$n,netdev=net$n,mac=52:54:00:00:00:$(printf %02x "$n")${properties[n]:+,${properties[n]}}")
done
ip link set tap3 mtu 9000
tap 6 multi_queue
bridged 8 9
ip link add vhl-low type veth peer name vhl-peer && LINKS+=(vhl-low)
ip addr add 10.77.7.1/24 dev vhl-peer
ip link set vhl-low up
ip link set vhl-peer up
ip link add link vhl-low name macvtap7 address 52:54:00:00:00:07 type macvtap mode bridge || bail "no macvtap"
ip link set macvtap7 up

opens=()
for n in "${!properties[@]}"; do
	opens+=(--open "$((20 + n))=/dev/vhost-netlite")
done
# without mergeable buffers a ring of 1024 holds 70 MB
GUEST_MEM=896M guest_start a "${opens[@]}" \
	--run "--net tap6,queues=2,mac=52:54:00:00:00:06 --net macvtap7 --net tap8,mac=52:54:00:00:00:08" "${args[@]}"
say "a guest with 11 cards boots"
check "a guest boots" guest_ready a
check "its cards come up" guest a 60 "$GUEST_NET"
is_open() {
	same "devices of guest $1" "$2" "$(devices "$1" $NODE | wc -l)"
}
is_open a 12 || bail "the guest is not on vhost-lite at all"
# those by hand first, then vhostlite's: two for the queue pairs of card 6
mapfile -t numbers < <(devices a $NODE)
for n in "${!properties[@]}"; do
	DEV[$n]=${numbers[0]}
	numbers=("${numbers[@]:1}")
done
DEV[6]="${numbers[0]} ${numbers[1]}" DEV[7]=${numbers[2]} DEV[8]=${numbers[3]}

# QEMU tells the TAP what the guest can do; a line is all there is where the TAP refuses, and then it does all itself
offloads_are_set() {
	! grep TUNSETOFFLOAD "$WORK/a/qemu.log" || return
	(($(ethtool -k tap0 | tee /dev/stderr | grep -c -E '^(tx-checksumming|tcp-segmentation-offload): on$') == 2))
}
check "the guest's offloads reach the TAP" offloads_are_set

# ---- what goes through ----
# with -w it would go on asking until it has so many answers
ping_works() {
	ping -q -c 20 -i 0.05 -W 20 "10.77.$1.2" | tee /dev/stderr | grep -q ' 0% packet loss'
}
check "ping without loss" ping_works 0
# the sizes of a ping are those of its payload; 28 bytes of headers come on top
check "ping of the largest size" ping -q -c 3 -w 30 -s 65507 10.77.0.2
check "tcp and udp, 1 byte to 64 KiB" echoes 0 8000000
check "packet counts of guest, TAP and ours agree" counts_agree 0

iperf() {
	local before

	before=$(reqs "$1" 0)
	guest a 20 "pidof iperf3 >/dev/null || iperf3 -s -D --logfile /tmp/iperf.log" || return
	wait_for 20 guest a 10 "netstat -ltn | grep -q :5201" || return
	timeout 120 iperf3 -c "10.77.$1.2" "${@:2}" && moved a "${DEV[$1]}" 0 reqs "$before" 10
}
check "iperf3: tcp to the guest" iperf 0 -n 10M
check "iperf3: tcp from the guest" iperf 0 -n 10M -R
check "iperf3: udp to the guest" iperf 0 -u -b 20M -n 1M
check "iperf3: udp from the guest" iperf 0 -u -b 20M -n 1M -R
offload_off() {
	guest a 30 "ethtool -K n0 tx off sg off tso off gso off gro off" && ethtool -K tap0 tx off sg off tso off gso off >/dev/null &&
		echoes 0 1000000
}
offload_on() {
	guest a 30 "ethtool -K n0 tx on sg on tso on gso on gro on" && ethtool -K tap0 tx on sg on tso on gso on >/dev/null &&
		echoes 0 1000000
}
check "offloads switched off" offload_off
check "and on again" offload_on

ip link add vhl-vx type vxlan id 7 remote 10.77.0.2 dstport 4789 dev tap0 && LINKS+=(vhl-vx)
ip addr add 10.77.10.1/24 dev vhl-vx
ip link set vhl-vx up
tunnel() {
	guest a 30 "/usr/bin/ip link add vx0 type vxlan id 7 remote 10.77.0.1 dstport 4789 dev n0 &&
		ip addr add 10.77.10.2/24 dev vx0 && ip link set vx0 up" && echoes 10 1000000 0
}
check "a UDP tunnel over it" tunnel
# frames larger than the wire's in both directions, on average
whole_segments() {
	local stats=/sys/class/net/tap0/statistics before after i

	mapfile -t before < <(cat $stats/{tx_bytes,tx_packets,rx_bytes,rx_packets})
	"$E2E_IMAGES/xfer" tcp 10.77.10.2 7 65536 4000000 || return
	mapfile -t after < <(cat $stats/{tx_bytes,tx_packets,rx_bytes,rx_packets})
	for i in 0 2; do
		((after[i] - before[i] > 4000000 && after[i] - before[i] > 2000 * (after[i + 1] - before[i + 1]))) && continue
		echo "$((after[i] - before[i])) bytes in $((after[i + 1] - before[i + 1])) frames" && return 1
	done
}
if ethtool -k tap0 | grep -q 'tx-udp_tnl-segmentation: on'; then
	check "segments of any size pass through the tunnel" whole_segments
else
	skip "segments of any size pass through the tunnel" "this kernel's TAP or this QEMU cannot tell of tunnels"
fi
check "no mergeable buffers, no event index" echoes 1
check "no mergeable buffers: counts agree" counts_agree 1
check "no offloads" echoes 2 2000000
check "no offloads: counts agree" counts_agree 2
# whole frames of 9000 bytes arrive: pings that must not be cut, both ways
jumbo() {
	local bytes

	bytes=$(counter a "${DEV[3]}" 0 in)
	guest a 30 "ethtool -K n3 gro off; ping -q -c 5 -w 20 -s 8972 10.77.3.1" &&
		ping -q -M "do" -c 5 -w 20 -s 8972 10.77.3.2 && moved a "${DEV[3]}" 0 in "$bytes" 90000 &&
		! ping -q -M "do" -c 1 -w 2 -s 8973 10.77.3.2 && echoes 3 2000000
}
check "jumbo frames, MTU 9000" jumbo
check "jumbo frames: counts agree" counts_agree 3
check "a legacy device" echoes 4 2000000
check "a legacy device: counts agree" counts_agree 4
check "no indirect descriptors" echoes 5 2000000
check "no indirect descriptors: counts agree" counts_agree 5
packed() {
	negotiated a "${DEV[12]}" 34 && negotiated a "${DEV[13]}" 34 && ! negotiated a "${DEV[0]}" 34
}
check "packed rings are negotiated, where the card has them" packed
in_order="rings of both formats are used in order"
if negotiated a "${DEV[5]}" 35 >/dev/null; then
	check "$in_order" negotiated a "${DEV[12]}" 35
else
	skip "$in_order" "this guest or this QEMU does not know of that"
fi
check "packed rings: ping without loss" ping_works 12
check "packed rings" echoes 12 8000000
check "packed rings: counts agree" counts_agree 12
check "packed rings: iperf3, tcp to the guest" iperf 12 -n 10M
check "packed rings: iperf3, tcp from the guest" iperf 12 -n 10M -R
check "packed rings, no indirect descriptors, event index or mergeable buffers" echoes 13 2000000
check "the same: counts agree" counts_agree 13

two_queues() {
	local q0 q1

	guest a 30 "ethtool -L n6 combined 2" || return
	q0=$(counter a "${numbers[0]}" 1 reqs) q1=$(counter a "${numbers[1]}" 1 reqs)
	echoes 6 2000000 && iperf 6 -P 4 -n 4M && iperf 6 -P 4 -n 4M -R || return
	moved a "${numbers[0]}" 1 reqs "$q0" 10 && moved a "${numbers[1]}" 1 reqs "$q1" 10
}
check "two queue pairs, both used" two_queues
check "macvtap" echoes 7 2000000

# ---- what happens meanwhile ----
resize() {
	guest a 30 "ethtool -G n0 rx 256 tx 64" && guest a 30 "ethtool -g n0" | tee /dev/stderr | grep -q 'TX:[[:space:]]*64$'
}
traffic 0
check "traffic before a resize" passes 0 60
if guest a 30 "ethtool -G n0 rx 128" >/dev/null; then
	check "rings of 256 and 64 during traffic" resize
else
	skip "rings of 256 and 64 during traffic" "this QEMU or the guest cannot reset a queue"
fi
check "the traffic survives" traffic_ok 0

traffic 0
check "traffic before a stop" passes 0 60
stands() {
	local before

	qmp a stop && before=$(reqs 0 1) && sleep 2 && same "packets while stopped" "$before" "$(reqs 0 1)" &&
		same "state" stopped "$(counter a "${DEV[0]}" 1 state)"
}
check "stop: nothing moves" stands
check "cont" qmp a cont
check "the traffic survives the stop" traffic_ok 0

packed_goes_on() {
	local n

	traffic 12
	for n in 1 2 3 4 5; do
		passes 12 60 && qmp a stop && sleep 0.3 && qmp a cont || return
	done
	traffic_ok 12 && echoes 12 1000000
}
check "packed rings: traffic survives five stops" packed_goes_on

traffic 0
check "traffic before the TAP goes down" passes 0 60
down() {
	ip link set tap0 down && sleep 1 && alive a && quiet a && ip link set tap0 up && ip link show tap0 | grep -q LOWER_UP
}
check "TAP down and up" down
check "the traffic survives it" traffic_ok 0

unplugged() {
	local state

	qmp a device_del '{"id":"nic2"}' && qmp_event a 60 '*DEVICE_DELETED*"nic2"*' || return
	state=$(counter a "${DEV[2]}" 1 state)
	same "state" stopped "$state" && guest a 20 "! test -e /sys/class/net/n2"
}
plugged() {
	qmp a device_add '{"driver":"virtio-net-pci","id":"nic2b","netdev":"net2","mac":"52:54:00:00:00:02"}' &&
		wait_for 30 guest a 20 "grep -q 52:54:00:00:00:02 /sys/class/net/*/address" && guest a 30 "$GUEST_NET" && brief 2
}
gone() {
	qmp a device_del '{"id":"nic2b"}' && qmp_event a 60 '*DEVICE_DELETED*"nic2b"*' && qmp a netdev_del '{"id":"net2"}' &&
		wait_for 10 is_open a 11 && brief 0
}
traffic 2
check "traffic before the card is unplugged" passes 2 100
check "card unplugged" unplugged
traffic_stop
check "card plugged" plugged
check "backend removed: one device less" gone

traffic 5
check "traffic before a reset" passes 5 100
reset_guest() {
	qmp a system_reset && guest_ready a && guest a 60 "$GUEST_NET"
}
check "reset during traffic" reset_guest
traffic_stop
check "all is well after it" brief 0
check "two queue pairs after it" brief 6
check "packed rings after it" brief 12

# the last of all: from now on a reset would end QEMU, which cannot configure a TAP that is gone
traffic 1
check "traffic before the TAP is deleted" passes 1 60
check "TAP deleted" ip link del tap1
# the guest goes on sending
deleted() {
	guest a 20 "ping -q -c 3 -w 3 10.77.1.1; true" && alive a && quiet a && brief 0
}
check "the guest and its other cards go on, no thread spins" deleted
traffic_stop

# ---- two guests ----
guest_start b --run "--net tap9,mac=52:54:00:00:00:09"
check "a second guest boots" guest_ready b
check "its card comes up" guest b 60 "$GUEST_NET ip addr add 10.77.8.9/24 dev n9"
between() {
	local dev before a

	dev=$(device b "$NODE" 0) before=$(counter b "$dev" 0 reqs) a=$(reqs 8 1)
	# shellcheck disable=SC2086 # lists
	guest a 120 "ping -q -c 5 -w 20 10.77.8.9 && xfer udp 10.77.8.9 7 $UDP_SIZES && xfer tcp 10.77.8.9 7 $TCP_SIZES 4000000" &&
		guest b 60 "ping -q -c 5 -w 20 10.77.8.1 && xfer tcp 10.77.8.2 7 1000000" &&
		moved b "$dev" 0 reqs "$before" 100 && moved a "${DEV[8]}" 1 reqs "$a" 100
}
check "two guests talk over a bridge" between

check "the guests' kernels have nothing to complain of" no_complaint a b

# ---- SIGKILL ----
a_pid=${GUEST_PID[a]}
traffic 0
guest a 10 "(xfer tcp 10.77.8.9 7 1000000000 >/dev/null 2>&1 &)" >/dev/null
check "traffic before QEMU is killed" passes 0 100
check "traffic between the guests, too" passes 8 100
killed() {
	[[ ! -e /proc/$a_pid ]] && same "references" 1 "$(<"/sys/module/vhost_netlite/refcnt")" &&
		ip link show tap0 | grep -q NO-CARRIER && ! pgrep "vhost-$a_pid"
}
guest_end a KILL
traffic_stop
check "QEMU killed: its devices are closed, its threads gone, its TAPs free" wait_for 10 killed
other_goes_on() {
	guest b 60 "ping -q -c 3 -w 20 10.77.8.1"
}
check "the other guest goes on" other_goes_on
check "quit" qmp b quit
quits() { ! alive b; }
check "QEMU ends" wait_for 20 quits
guest_end b
check "nobody holds the module" wait_for 10 no_users vhost_netlite
check "the modules can be unloaded" rmmod vhost_netlite vhost_lite
finish
