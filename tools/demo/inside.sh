#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: tools/demo/inside.sh
#
# The demonstration, to be run in the test host with the guest image at /mnt/guest (tools/demo/run does it). Ends with
# status 1 and a message at the first thing that does not work.
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/../../selftests/e2e/lib.sh"

step() {
	printf '\n== [%3d s] %s\n' "$((SECONDS - _started))" "$*"
}

# must COMMAND…: its output, indented; ends the demonstration when it fails
must() {
	"$@" > >(sed 's/^/   /') 2>&1 || fail "'$*' failed"
}

fail() {
	sleep 0.5
	printf '\nThe demonstration ends here: %s\n' "$*"
	exit 1
}

# shown COMMAND…: prints the command before
shown() {
	printf '   # %s\n' "$*"
	must "$@"
}

for file in vhost_lite.ko vhost-netlite.ko vhost-blklite.ko tools/vhostlite/vhostlite; do
	[[ -e $E2E_SRC/$file ]] || fail "$file has not been built"
done

step "The modules, on Linux $(uname -r)"
modules_load vhost-netlite vhost-blklite
lsmod | grep -E '^(Module|vhost_)' | sed 's/^/   /'
shown stat -c '%A %U %n' /dev/vhost-netlite /dev/vhost-blklite /dev/vdpa-blklite

step "A TAP, a disk, and a stock guest on both"
ip tuntap add tap0 mode tap vnet_hdr || fail "no TAP"
LINKS+=(tap0)
ip addr add 10.77.0.1/24 dev tap0
ip link set tap0 up
disk=$WORK/disk.raw
truncate -s 128M "$disk"
cp "$E2E_IMAGES/disk.img" "$WORK/boot.raw"
printf '   # vhostlite run --net tap0 --disk %s -- qemu-system-x86_64 -accel kvm …\n   which is\n' "$disk"
vhostlite run --net tap0 --disk "$disk" --print -- qemu-system-x86_64 -accel kvm -m 512M | fold -s -w 110 | sed 's/^/     /'
GUEST_MEM=512M guest_start a --run "--net tap0 --disk $disk"
# Meanwhile: the tracepoints take their time to attach.
for script in kick_to_worker kick_to_call; do
	"$E2E_SRC/tools/bpftrace/$script.bt" >"$WORK/$script" 2>&1 </dev/null &
	TRAFFIC+=($!)
done
guest_ready a >"$WORK/log" || fail "the guest does not boot: $(<"$WORK/log")"
guest a 20 "ip addr add 10.77.0.2/24 dev eth0 && ip link set eth0 up" || fail "the guest has no network card"
for script in kick_to_worker kick_to_call; do
	wait_for 60 grep -q Tracing "$WORK/$script" || fail "bpftrace: $(<"$WORK/$script")"
done
printf '   The guest runs %s\n' "$(guest a 10 'uname -sr')"

step "Ping"
shown ping -q -c 20 -i 0.1 -w 30 10.77.0.2
loss=$(ping -q -c 5 -i 0.1 -w 30 10.77.0.2 | grep -o '[0-9.]*% packet loss')
[[ $loss == "0% packet loss" ]] || fail "packets were lost: $loss"

step "64 MB to the guest and back"
# timed WHAT COMMAND…: prints how long it took, for 64 MiB
timed() {
	local start=${EPOCHREALTIME/./} ms

	"${@:2}" || return
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	printf '   %-16s %d.%d s, %d MB/s\n' "$1" $((ms / 1000)) $((ms % 1000 / 100)) $((67109 / (ms + 1)))
}
head -c 64M /dev/urandom >"$WORK/data"
guest a 10 "(xfer take 99 >/tmp/data; touch /tmp/received) >/dev/null 2>&1 </dev/null &" >/dev/null
wait_for 20 guest a 10 "netstat -ltn | grep -q :99" || fail "nobody listens"
to_guest() {
	timeout 200 "$E2E_IMAGES/xfer" put 10.77.0.2 99 <"$WORK/data" && wait_for 30 guest a 10 "test -e /tmp/received"
}
timed "to the guest" to_guest || fail "the transfer to the guest"
guest a 10 "(xfer give 98 </tmp/data) >/dev/null 2>&1 &" >/dev/null
wait_for 20 guest a 10 "netstat -ltn | grep -q :98" || fail "nobody listens"
from_guest() {
	timeout 200 "$E2E_IMAGES/xfer" get 10.77.0.2 98 >"$WORK/back"
}
timed "from the guest" from_guest || fail "the transfer from the guest"
sent=$(sha256sum <"$WORK/data")
arrived=$(guest a 60 "sha256sum </tmp/data")
back=$(sha256sum <"$WORK/back")
printf '   sha256 sent      %s\n   sha256 in guest  %s\n   sha256 come back %s\n' "${sent%% *}" "${arrived%% *}" "${back%% *}"
[[ $sent == "$arrived" && $sent == "$back" ]] || fail "the checksums differ"
guest a 10 "rm /tmp/data"
rm "$WORK/data" "$WORK/back"

step "A file system on the disk: made, written and synced in the guest"
must guest a 200 "/usr/bin/mke2fs -q -F -t ext4 /dev/vda && mount /dev/vda /mnt && mkdir /mnt/dir &&
	for i in 1 2 3 4; do head -c 5000000 /dev/urandom >/mnt/dir/file\$i || exit 1; done &&
	cd /mnt && sha256sum dir/* >/mnt/sums && sync && cat /mnt/sums && cd / && umount /mnt && e2fsck -fn /dev/vda"
echo "   … and looked at from the host:"
mkdir "$WORK/mnt"
mount -o loop,ro "$disk" "$WORK/mnt" || fail "the host cannot mount it"
MOUNTS+=("$WORK/mnt")
cd "$WORK/mnt" || exit
must sha256sum -c sums
cd / || exit
umount "$WORK/mnt"

step "A guest that SeaBIOS boots from a vhost-lite disk"
printf '   # vhostlite run --disk boot.raw,bootindex=0 -- qemu-system-x86_64 -accel kvm …\n'
BOOT=disk guest_start c --run "--disk $WORK/boot.raw,bootindex=0"
guest_ready c >"$WORK/log" || fail "it does not boot: $(<"$WORK/log")"
printf '   its command line: %s\n' "$(guest c 10 'cat /proc/cmdline')"
printf '   read from the disk: %d bytes in %d requests\n' \
	"$(counter c "$(device c vdpa-blklite 0)" 0 in)" "$(counter c "$(device c vdpa-blklite 0)" 0 reqs)"

step "Where the data went: the counters of the kernel's queues"
shown vhostlite info
to=$(counter a "$(device a vhost-netlite 0)" 0 in) from=$(counter a "$(device a vhost-netlite 0)" 1 out)
((to > 64 << 20 && from > 64 << 20)) || fail "the packets did not go through vhost-lite ($to bytes, $from bytes)"
(($(counter a "$(device a vdpa-blklite 0)" 0 out) > 20000000)) || fail "the disk's data did not go through vhost-lite"

step "Latencies: from the guest's kick to our worker, and to our signal to the guest"
for pid in "${TRAFFIC[@]}"; do
	kill -INT "$pid"
done
wait "${TRAFFIC[@]}"
TRAFFIC=()
for script in kick_to_worker kick_to_call; do
	grep -q '^@us' "$WORK/$script" || fail "$script.bt has nothing to show: $(<"$WORK/$script")"
	printf '   # tools/bpftrace/%s.bt, in microseconds; [device, queue]\n' "$script"
	awk '/^@/ { show = /^@us/ } show { print "   " $0 }' "$WORK/$script"
done

step "The end"
for guest in a c; do
	qmp "$guest" quit >/dev/null
	guest_end "$guest"
done
for module in vhost_netlite vhost_blklite; do
	wait_for 10 no_users "$module" >/dev/null || fail "$module is still in use"
done
rmmod vhost_netlite vhost_blklite vhost_lite || fail "the modules cannot be unloaded"
echo "   The guests have ended, nothing holds the modules, they are unloaded."
