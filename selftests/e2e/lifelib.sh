# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # expanded in the guest; used here and in the scripts that source this; called
# by check
# What life.sh, reboot.sh and pause.sh need besides lib.sh and netlib.sh: a stock guest with a card on /dev/vhost-netlite and
# a disk on /dev/vdpa-blklite, what both have to do, and what is left when it has ended.

DISK_NODE=vdpa-blklite
MAC=52:54:00:00:00:01
DEPTH=4 # of the disk

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

# all_are STATE: the queues of both
all_are() {
	same "queue of the card" "$1" "$(state 1 0)" && same "queue of the card" "$1" "$(state 1 1)" &&
		same "queue of the disk" "$1" "$(state 2 0)"
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
	wait_for 120 more "$(reqs 2 '*')"
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

# ---- what is left ----
users() { same "open files of $1" "$2" "$(<"/sys/module/${1//-/_}/refcnt")"; }

no_threads() { ! cat /proc/[0-9]*/task/*/comm 2>/dev/null | grep '^vhost-'; }
carrier() { same "carrier of the TAP" "$1" "$(</sys/class/net/tap1/carrier)"; }

# released: nothing of ours is left
released() {
	wait_for 20 no_users vhost_netlite && wait_for 20 no_users vhost_blklite && wait_for 20 no_threads && carrier 0
}

gone() { ! alive a; }

# the_end: the guest ends as it should, and so does the script
the_end() {
	check "the guest's kernel has nothing to complain of" no_complaint a
	check "quit" qmp a quit
	check "QEMU ends" wait_for 20 gone
	guest_end a
	check "nothing of ours is left" released
	check "the modules can be unloaded" rmmod vhost_netlite vhost_blklite vhost_lite
	finish
}
