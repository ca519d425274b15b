#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/reboot.sh [ROUNDS]
#
# A stock guest with a card on /dev/vhost-netlite and a disk on /dev/vdpa-blklite, whose kernel ends while both are busy: it
# starts another one by kexec, with no firmware in between; it panics, and a crash kernel saves its memory to our disk; it is
# reset by the monitor, ROUNDS times (default 1), and by itself, a fifth as often. Each time a kernel comes for which both work,
# and what the one before had synced is there. In TAP, to be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/reboot.sh
# shellcheck disable=SC2016,SC2317 # what is in single quotes is expanded in the guest; functions are called by check
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/netlib.sh"
ROUNDS=${1:-1}
GUEST_MEM=512M
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lifelib.sh"

# What else is on the disk, in MiB. The kernel as it is packed is for kexec, as is the initramfs, the small one of the disk that
# SeaBIOS boots: all kernels have it here, which are ready sooner with it.
RECORDS=40 VMCORE=56 KERNEL=64 INITRAMFS=96
MOST=2048 # records
put() { dd if="$WORK/$1" of="$IMAGE" bs=1M seek="$2" conv=notrunc status=none; }
kernels() {
	cp "$E2E_IMAGES/kernel" "$WORK/" && mcopy -n -i "$E2E_IMAGES/disk.img" ::/vmlinuz ::/initramfs "$WORK/" &&
		truncate -s 128M "$IMAGE" && put vmlinuz $KERNEL && put initramfs $INITRAMFS
}
kernels || bail "no kernels in $E2E_IMAGES"

# ---- records: each is a block, and is synced before there is a next one ----
# A line has 64 bytes: the number of the load and that of the record. RECORD of awk and printf
RECORD=%031d%032d
loads=0
record() {
	guest a 10 "rm -f /tmp/synced; (n=0; while [ \$n -lt $MOST ]; do
		yes \$(printf $RECORD $loads \$n) | head -c 4096 >/tmp/record
		dd if=/tmp/record of=/dev/d0 bs=4k seek=\$(($RECORDS * 256 + n)) conv=notrunc,fsync && echo \$((n += 1)) >>/tmp/synced || break
	done) >/dev/null 2>&1 </dev/null &"
}
# synced: how many so far, at least a few; they have to be there from now on
synced() {
	guest a 60 'until [ "$(wc -l </tmp/synced)" -ge 4 ]; do sleep 0.2; done; wc -l </tmp/synced' >"$WORK/synced" &&
		(($(<"$WORK/synced") >= 4))
}
records() {
	local n

	n=$(<"$WORK/synced")
	echo "of load $loads, $n records:"
	dd if="$IMAGE" bs=4k skip=$((RECORDS * 256)) count="$n" status=none >"$WORK/records" &&
		awk -v load="$loads" -v n="$n" -v record="$RECORD" '
			$0 != sprintf(record, load, int((NR - 1) / 64)) { print "line " NR; bad = 1; exit }
			END { exit bad || NR != n * 64 }' "$WORK/records" &&
		same "what the guest reads" "$(sha256sum <"$WORK/records")" "$(guest a 60 \
			"dd if=/dev/d0 bs=4k skip=$((RECORDS * 256)) count=$n iflag=direct 2>/dev/null | sha256sum")"
}

# ---- the end of a kernel ----
# well: the queues run, none was ever broken, nor has this kernel anything to say of them
well() {
	all_are running && same "breaks" 0 "$(counter a "${DEV[1]} ${DEV[2]}" '*' breaks)" && we_say_nothing
}

# under_load WHEN: both are busy from now on
under_load() {
	((++loads))
	check "$1: records" record
	load "$1"
	check "$1: records are synced" synced
}

# later COMMAND: by the guest, which does not live to answer
later() { guest a 10 "(sleep 1; $1) >/dev/null 2>&1 </dev/null &"; }

# comes_back WHEN [WORD]: another kernel, which has WORD on its command line
comes_back() {
	local before="${DEV[*]}"

	check "$1: a kernel comes" guest_ready a 200
	traffic_stop
	[[ -z ${2-} ]] || check "$1: it is that kernel" guest a 10 "grep -w '$2' /proc/cmdline"
	both_work "$1"
	check "$1: what was synced is there" records
	check "$1: our devices are the same" same "our devices" "$before" "${DEV[*]}"
	check "$1: the queues are well" well
	check "$1: the guest's kernel has nothing to complain of" no_complaint a
}

# ends HOW WORD COMMAND…: under load, by COMMAND
ends() {
	under_load "$1"
	check "$1" "${@:3}"
	comes_back "$1" "$2"
}

# kexec_ready load|crash PARAMETERS: the guest has such a kernel ready
kexec_ready() {
	guest a 120 "get() { dd if=/dev/d0 bs=1M skip=\$2 count=32 2>/dev/null | head -c \$3 >/tmp/\$1; }
		get vmlinuz $KERNEL $(stat -c %s "$WORK/vmlinuz") && get initramfs $INITRAMFS $(stat -c %s "$WORK/initramfs") &&
		kexec $1 /tmp/vmlinuz /tmp/initramfs \"$2\" && rm /tmp/vmlinuz /tmp/initramfs"
}

# The start of the memory of a kernel that has crashed: it says so
saves() {
	guest a 60 "dd if=/proc/vmcore bs=1M count=1 2>/dev/null | dd of=/dev/d0 bs=64k seek=$((VMCORE * 16)) conv=notrunc,fsync"
}
saved() {
	dd if="$IMAGE" bs=1M skip="$VMCORE" count=1 status=none >"$WORK/vmcore" && file "$WORK/vmcore" | grep "ELF.*core file" &&
		grep -a '^CRASHTIME=' "$WORK/vmcore"
}

GUEST_APPEND=crashkernel=192M boot "${COLD[@]}"
check "a guest boots" guest_ready a
both_work "at first"
check "a kernel is ready for kexec" kexec_ready load '$(cat /proc/cmdline) vhl.kernel=next'
ends kexec vhl.kernel=next later 'kexec go'

check "a kernel is ready for a panic" kexec_ready crash \
	'$(sed "s/crashkernel=[^ ]*//" /proc/cmdline) reset_devices nr_cpus=1 vhl.kernel=crash'
ends panic vhl.kernel=crash later 'echo c >/proc/sysrq-trigger'
check "panic: the guest saves memory of the kernel before" saves
check "panic: it is in the file" saved

# the first of them out of the crash kernel
for ((round = 1; round <= ROUNDS; round++)); do
	ends "reset $round by the monitor" '' qmp a system_reset
	((round % 5 != 1)) || ends "reset $round by the guest" '' later 'echo b >/proc/sysrq-trigger'
done
the_end
