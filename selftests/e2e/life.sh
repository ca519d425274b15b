#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/life.sh [ROUNDS]
#
# The life of a stock guest's devices, a card on /dev/vhost-netlite and a disk on /dev/vdpa-blklite, in TAP: they are
# unplugged and plugged in again, ROUNDS times (default 3), while both carry data, which are compared; what was written
# before is read back after it. To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/life.sh
# shellcheck disable=SC2016,SC2317 # what is in single quotes is expanded in the guest; functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
ROUNDS=${1:-3}
DISK_NODE=vdpa-blklite
MAC=52:54:00:00:00:01
DEPTH=4

need_device vhost-vdpa-device-pci
modules_load vhost-netlite vhost-blklite
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
tap 1

# The disk, in MiB: writes go to 0, what is looked for afterwards is at 32
IMAGE=$WORK/disk.img STAMP=32
truncate -s 64M "$IMAGE"
COLD=(--run "--net tap1,mac=$MAC --disk $IMAGE,serial=d0")

# boot ARGUMENT…: the guest, which always is a; options of guest_start come first
boot() {
	rm -f "$WORK/plug"
	guest_start a "$@" -chardev "socket,id=plug,path=$WORK/plug,server=on,wait=off" -mon chardev=plug,mode=control
}

# ---- what both devices do ----
# The guest's part, in any kernel: it waits for both, names them and gives the card its address
SETUP='
until grep -q '$MAC' /sys/class/net/*/address; do sleep 0.2; done
rm -f /dev/d0
until [ -b /dev/d0 ]; do
	for b in /sys/block/vd*; do
		[ "$(cat $b/serial)" != d0 ] || ln -sf ${b##*/} /dev/d0
	done
	sleep 0.2
done
'$GUEST_NET

# look: which of ours they are
look() {
	DEV=([1]=$(device a "$NODE" 0) [2]=$(device a "$DISK_NODE" 0))
}

# state N QUEUE
state() {
	counter a "${DEV[$1]}" "$2" state
}

# READ: what stands in the guest at STAMP
READ="dd if=/dev/d0 bs=64k skip=$((STAMP * 16)) count=16 iflag=direct 2>/dev/null | sha256sum"
stamp() {
	guest a 60 "head -c 1048576 /dev/urandom >/tmp/stamp && sha256sum </tmp/stamp &&
		dd if=/tmp/stamp of=/dev/d0 bs=64k seek=$((STAMP * 16)) oflag=direct conv=fsync 2>/dev/null" >"$WORK/stamp" &&
		[[ -s $WORK/stamp ]]
}

# stamped: what was written before is there, for the guest and in the file
stamped() {
	[[ -s $WORK/stamp ]] && same "what the guest reads" "$(<"$WORK/stamp")" "$(guest a 60 "$READ")" &&
		same "what is in the file" "$(<"$WORK/stamp")" "$(dd if="$IMAGE" bs=1M skip="$STAMP" count=1 status=none | sha256sum)"
}

# disk_works: that, and new data; a request for each 64 KiB
disk_works() {
	local before

	before=$(reqs 2 '*')
	{ [[ ! -e $WORK/stamp ]] || stamped; } && stamp && stamped && moved a "${DEV[2]}" '*' reqs "$before" 32
}

# both_work WHEN: and they are ours
both_work() {
	check "$1: the guest has both devices" guest a 60 "$SETUP"
	look
	check "$1: the card carries data" brief 1
	check "$1: the disk has its data, and takes new ones" disk_works
	((!_failed)) || bail "what follows would tell nothing"
}

# io_goes_on: more requests are done than can have been under way
io_goes_on() {
	more() { (($(reqs 2 '*') > $1 + DEPTH)); }
	wait_for 60 more "$(reqs 2 '*')"
}
both_go_on() { io_goes_on && passes 1 20; }

# load WHEN: both are busy from now on. A disk that is gone must not become a file
load() {
	guest a 10 'for n in 0 1 2 3; do
		(while dd if=/tmp/stamp of=/proc/self/fd/4 bs=64k seek=$((n * 16)) oflag=direct; do :; done) 4</dev/d0 \
			>/dev/null 2>&1 </dev/null &
	done' >/dev/null
	traffic 1
	check "$1: both are busy" both_go_on
}

# ---- unplugged, plugged in ----
users() { same "open files of $1" "$2" "$(<"/sys/module/${1//-/_}/refcnt")"; }

# unplug ID: by the guest's leave
unplug() {
	qmp a device_del "{\"id\":\"$1\"}" && qmp_event a 120 "*\"DEVICE_DELETED\"*\"device\": \"$1\"*"
}
no_netdev() { qmp a netdev_del '{"id":"vhlnet0"}'; }
no_fdset() { qmp a remove-fd '{"fdset-id":100}'; }

# plug card|disk [PROPERTY…]: files that are opened here go over the monitor's socket
plug() {
	local what="--net tap1,mac=$MAC"

	[[ $1 == card ]] || what="--disk $IMAGE,serial=d0"
	# shellcheck disable=SC2086 # two words
	vhostlite run $what -- "$E2E_SRC/selftests/e2e/plug" "$WORK/plug" "${@:2}"
}

no_threads() { ! cat /proc/[0-9]*/task/*/comm 2>/dev/null | grep '^vhost-'; }
carrier() { same "carrier of the TAP" "$1" "$(</sys/class/net/tap1/carrier)"; }

# released: nothing of ours is left
released() {
	wait_for 20 no_users vhost_netlite && wait_for 20 no_users vhost_blklite && wait_for 20 no_threads && carrier 0
}

# round_0: the devices go first, what they had after them
round_0() {
	unplug vhlnic0 && users vhost-netlite 1 && same "queue of the card" stopped "$(state 1 1)" && no_netdev &&
		wait_for 20 users vhost-netlite 0 &&
		unplug vhldisk0 && users vhost-blklite 1 && no_fdset && released
}

# round_1: what they have goes first. The card loses its link at once, and our device when it goes itself (QEMU 10.0 and
# later; before, at once); the disk goes on until it is unplugged
round_1() {
	no_netdev && same "queue of the card" stopped "$(state 1 1)" && guest a 10 'grep -qx 0 /sys/class/net/n1/carrier' &&
		unplug vhlnic0 && wait_for 20 users vhost-netlite 0 && carrier 0 &&
		no_fdset && users vhost-blklite 1 && io_goes_on && unplug vhldisk0 && released
}

# round_2: what they had stays, and gets other devices: of ours they are the same
round_2() {
	local before="${DEV[*]}"

	unplug vhlnic0 && unplug vhldisk0 && users vhost-netlite 1 && users vhost-blklite 1 &&
		qmp a device_add "{\"driver\":\"virtio-net-pci\",\"id\":\"vhlnic0\",\"netdev\":\"vhlnet0\",\"mac\":\"$MAC\"}" &&
		qmp a device_add '{"driver":"vhost-vdpa-device-pci","id":"vhldisk0","vhostdev":"/dev/fdset/100"}' &&
		look && same "our devices" "$before" "${DEV[*]}"
}

# refused: a file without a disk makes no device, and QEMU goes on without it
refused() {
	local said

	said=$("$E2E_SRC/selftests/e2e/plug" "$WORK/plug" -add-fd fd=9,set=7 \
		-device vhost-vdpa-device-pci,id=none,vhostdev=/dev/fdset/7 9<>/dev/vdpa-blklite 2>&1) && return 1
	echo "$said"
	[[ $said == *"device_add: "*"No such device"* ]] && users vhost-blklite 2 &&
		qmp a remove-fd '{"fdset-id":7}' && wait_for 20 users vhost-blklite 1
}

boot "${COLD[@]}"
check "a guest boots" guest_ready a
both_work "at first"
check "a file without a disk is refused" refused
plugged=('device_del, netdev_del, remove-fd' 'netdev_del, remove-fd, device_del'
	'device_del, device_add with the same files')
for ((round = 0; round < ROUNDS; round++)); do
	kind=$((round % 3))
	when="round $round"
	load "$when"
	check "$when: ${plugged[kind]}" round_$kind
	traffic_stop
	if ((kind != 2)); then
		check "$when: a card is plugged in" plug card
		check "$when: a disk is plugged in" plug disk
	fi
	both_work "$when"
done

check "the guest's kernel has nothing to complain of" no_complaint a
check "quit" qmp a quit
gone() { ! alive a; }
check "QEMU ends" wait_for 20 gone
guest_end a
check "nothing of ours is left" released
check "the modules can be unloaded" rmmod vhost_netlite vhost_blklite vhost_lite
finish
