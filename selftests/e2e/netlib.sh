# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2034,SC2317 # used by the script that sources this, called by check
# What net.sh needs besides lib.sh: links, addresses, transfers. Card N of the guest has the address 52:54:00:00:00:0N, is
# called nN in the guest, has 10.77.N.2 there and 10.77.N.1 on the host's side. Port 7 of the guest echoes.

NODE=vhost-netlite
UDP_SIZES="1 2 3 17 64 255 256 1000 1471 1472 1473 2000 4096 8972 8973 9000 16384 32768 65000 65507"
TCP_SIZES="1 2 3 100 1447 1448 1449 4096 10000 32768 65535 65536"

# The device of each card, see net.sh
declare -A DEV=()

# tap N [WORD…]: a TAP for card N
tap() {
	local n=$1

	shift
	ip tuntap add "tap$n" mode tap vnet_hdr "$@" || bail "no TAP"
	LINKS+=("tap$n")
	ip addr add "10.77.$n.1/24" dev "tap$n"
	ip link set "tap$n" up
}

# bridged N…: TAPs for these cards, on a bridge that is 10.77.8.1
bridged() {
	local n

	ip link add vhl-br type bridge && LINKS+=(vhl-br)
	ip addr add 10.77.8.1/24 dev vhl-br
	ip link set vhl-br up
	for n; do
		tap "$n"
		ip addr flush dev "tap$n"
		ip link set "tap$n" master vhl-br
	done
}

# What a guest runs to name its cards and give them addresses. No neighbour is asked for while frames are counted.
# shellcheck disable=SC2016 # expanded in the guest
GUEST_NET='
for d in /sys/class/net/*; do
	mac=$(cat $d/address); old=${d##*/}; n=n$(printf %d 0x${mac##*:})
	case $mac in 52:54:00:*) ;; *) continue ;; esac
	[ $old = $n ] || ip link set $old name $n
	ip addr add 10.77.${n#n}.2/24 dev $n 2>/dev/null
	ip link set $n up
done
pidof xfer >/dev/null || (xfer echo 7 >/dev/null 2>&1 </dev/null &)
'

# traffic N: data to card N and back, in the background, until traffic_ok or traffic_stop
traffic() {
	rm -f "$WORK/traffic.status"
	(
		"$E2E_IMAGES/xfer" tcp "10.77.$1.2" 7 1000000000000
		echo $? >"$WORK/traffic.status"
	) >"$WORK/traffic" 2>&1 </dev/null &
	TRAFFIC+=($!)
}

# traffic_ok: it goes on and ends well, every byte that was sent came back
traffic_ok() {
	local status

	passes "$1" 20 && pkill -TERM -P "${TRAFFIC[-1]}"
	wait_for 120 test -s "$WORK/traffic.status" || {
		ss -tin dport = :7
		return 1
	}
	status=$(<"$WORK/traffic.status")
	cat "$WORK/traffic"
	return "$status"
}

traffic_stop() {
	pkill -KILL -P "${TRAFFIC[-1]}"
	wait "${TRAFFIC[-1]}"
	return 0
}

# reqs N QUEUE: packets so far
reqs() {
	counter a "${DEV[$1]}" "$2" reqs
}

# passes N LEAST [QUEUE]: traffic of card N goes on: LEAST more packets from the guest
passes() {
	local before
	before=$(reqs "$1" "${3:-1}")
	more() { (($(reqs "$1" "$4") - $2 >= $3)); }
	wait_for 60 more "$1" "$before" "$2" "${3:-1}"
}

# echoes N [BYTES [CARD]]: UDP and TCP of all sizes there and back in network N, every byte compared, and our counters prove
# the way, that of CARD if it is not N
echoes() {
	local in out card=${3:-$1}

	in=$(reqs "$card" 0) out=$(reqs "$card" 1)
	# shellcheck disable=SC2086 # lists
	"$E2E_IMAGES/xfer" udp "10.77.$1.2" 7 $UDP_SIZES &&
		"$E2E_IMAGES/xfer" tcp "10.77.$1.2" 7 $TCP_SIZES "${2:-2000000}" &&
		moved a "${DEV[$card]}" 0 reqs "$in" 40 && moved a "${DEV[$card]}" 1 reqs "$out" 40
}

# brief N: the same with little data
brief() {
	local in out

	in=$(reqs "$1" 0) out=$(reqs "$1" 1)
	"$E2E_IMAGES/xfer" udp "10.77.$1.2" 7 1 1472 9000 65507 &&
		"$E2E_IMAGES/xfer" tcp "10.77.$1.2" 7 1 65536 300000 &&
		moved a "${DEV[$1]}" 0 reqs "$in" 4 && moved a "${DEV[$1]}" 1 reqs "$out" 4
}

# counts_agree N [HOST-LINK]: the guest, the TAP and our counters saw as many packets
counts_agree() {
	agree() {
		local stats=/sys/class/net/$2/statistics rx tx
		read -r rx tx < <(guest a 20 "cd /sys/class/net/n$1/statistics; echo \$(cat rx_packets) \$(cat tx_packets)")
		same "to the guest: the TAP's count and the guest's" "$(<"$stats/tx_packets")" "$rx" &&
			same "to the guest: the TAP's count and ours" "$(<"$stats/tx_packets")" "$(reqs "$1" 0)" &&
			same "from the guest: the TAP's count and the guest's" "$(<"$stats/rx_packets")" "$tx" &&
			same "from the guest: the TAP's count and ours" "$(<"$stats/rx_packets")" "$(reqs "$1" 1)" &&
			[[ $rx != 0 && $tx != 0 ]]
	}
	wait_for 10 agree "$1" "${2:-tap$1}"
}

# quiet NAME: our workers use little processor time. QEMU's own threads do not count: its main loop is busy with whatever
# the guest asks of it
quiet() {
	local before after

	ticks() {
		cat "/proc/${GUEST_PID[$1]}"/task/*/stat | awk '/\(vhost-/ { sub(/.*\) /, ""); s += $12 + $13 } END { print s + 0 }'
	}
	before=$(ticks "$1")
	sleep 3
	after=$(ticks "$1")
	((after - before < 150)) || {
		echo "$((after - before)) ticks of 300 were used"
		grep -H . "/proc/${GUEST_PID[$1]}"/task/*/{comm,stat}
		return 1
	}
}
