# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Shared by the end-to-end tests: TAP, modules, nested guests with their agent and monitor, counters, cleaning up.
# Sourced by scripts that run in the test host. See selftests/guest/init for the agent's protocol.
#
# A check that says "on vhost-lite" has to look at our counters: QEMU falls back to a backend of its own silently.

E2E_SRC=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
E2E_IMAGES=${VHL_GUEST:-/mnt/guest}
WORK=$(mktemp -d /tmp/vhl-e2e.XXXXXX)
GUEST_MEM=${GUEST_MEM:-320M}
export PATH="$E2E_SRC/tools/vhostlite:$PATH"

# On one processor, time that a guest's processor polls in is taken from those that have work.
modprobe -a kvm && [[ $(nproc) -gt 1 ]] || echo 0 >/sys/module/kvm/parameters/halt_poll_ns

# Emulated AMD processors leave the type of the last exception of a guest where KVM of Linux 6.14 and later takes it for one
# that is being delivered: it gives up ("KVM internal error. Suberror: 3") when it has to emulate an access to memory-mapped
# registers just then. Most of those are notifications, so there they are I/O ports instead.
NOTIFY_BY_PIO=()
_clocks=/sys/devices/system/clocksource/clocksource0/available_clocksource
if grep -qw svm /proc/cpuinfo && grep -qw hypervisor /proc/cpuinfo && ! grep -q kvm-clock $_clocks &&
	[[ $(printf '%s\n' 6.14 "$(uname -r)" | sort -V | head -n 1) == 6.14 ]]; then
	NOTIFY_BY_PIO=(-global virtio-pci.modern-pio-notify=on)
fi

# Guests with an IOMMU: their machine, what their kernels are told, and what they have besides cards
# shellcheck disable=SC2034 # used by scripts that source this
IOMMU_MACHINE=q35,kernel-irqchip=split
# shellcheck disable=SC2034
declare -A IOMMU_APPEND=([strict]="intel_iommu=on iommu.strict=1 iommu.passthrough=0" [pt]="intel_iommu=on iommu=pt")
# shellcheck disable=SC2034
IOMMU_DEVICE=(-device "intel-iommu,intremap=on,device-iotlb=on")

declare -A GUEST_PID=() GUEST_TO=() GUEST_FROM=() QMP_TO=() QMP_FROM=()
declare -a TRAFFIC=() LINKS=() MOUNTS=() LOOPS=() DM=()
_number=0 _failed=0 _started=$SECONDS

# ---- TAP ----

say() {
	printf '# [%3ds] %s\n' "$((SECONDS - _started))" "$*"
}

ok() {
	printf 'ok %d - %s\n' "$((++_number))" "$*"
}

not_ok() {
	printf 'not ok %d - %s\n' "$((++_number))" "$*"
	((++_failed))
}

skip() {
	printf 'ok %d - %s # SKIP %s\n' "$((++_number))" "$1" "$2"
}

# check NAME COMMAND…: a test; what COMMAND prints is shown where it fails. It runs in a subshell.
check() {
	local name=$1 output start=$SECONDS

	shift
	if output=$("$@" 2>&1); then
		ok "$name"
	else
		not_ok "$name"
		printf 'failed: %s\n%s\n' "$*" "$output" | tail -n 25 | sed 's/^/#   /'
	fi
	((SECONDS - start < 10)) || say "that took $((SECONDS - start)) s"
}

bail() {
	printf 'Bail out! %s\n' "$*"
	exit 1
}

# finish: the plan, and the exit status
finish() {
	printf '1..%d\n# %d s\n' "$_number" "$((SECONDS - _started))"
	((_failed == 0))
	exit
}

# same NAME WANT GOT
same() {
	[[ $2 == "$3" ]] || { echo "$1: $3, not $2" && return 1; }
}

# wait_for SECONDS COMMAND…: until it succeeds
wait_for() {
	local end=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || { echo "waited in vain for: $*" && "$@"; return 1; }
		sleep 0.1
	done
}

# ---- modules ----

# modules_load NAME…: of files, vhost-netlite and vhost-blklite
modules_load() {
	local module

	modprobe -a tun tap vhost_iotlb || bail "the test host lacks tun, tap or vhost_iotlb"
	for module in vhost_lite "$@"; do
		[[ -d /sys/module/${module/-/_} ]] || insmod "$E2E_SRC/$module.ko" || bail "cannot load $module.ko"
	done
	for module in "$@"; do
		case $module in
		vhost-netlite) set -- /dev/vhost-netlite ;;
		*) set -- /dev/vdpa-blklite ;;
		esac
		[[ -c $1 ]] || wait_for 10 test -c "$1" || bail "$module has no node $1"
	done
}

# no_users MODULE: its reference count is 0
no_users() {
	same "references of $1" 0 "$(<"/sys/module/$1/refcnt")"
}

# ---- QEMU ----

# qemu_version [DIR/]: of the one in DIR, or of the first in PATH
qemu_version() {
	"${1-}qemu-system-x86_64" --version | sed -n '1s/.*version //p'
}

# shared_program DIR PROGRAM "OPTION…" [LIBRARY…]: copies a program out of the root file system that is shared as "root",
# to be run as DIR/PROGRAM, which puts these options before its others. Its libraries come along, and those LIBRARYs that
# it loads by itself; 1: it is not there. Over 9p all of them would be read again and again.
shared_program() {
	local dir=$1 name=$2 options=$3 lib=/mnt/root/usr/lib/x86_64-linux-gnu loader=ld-linux-x86-64.so.2 file

	[[ -x /mnt/root/usr/bin/$name && -x $lib/$loader ]] || return
	mkdir -p "$dir/lib" && cp -L "$lib/$loader" "$dir/lib/" || return
	for file in "/mnt/root/usr/bin/$name" "${@:4}"; do
		[[ $file == /* ]] || file=$lib/$file
		"$lib/$loader" --library-path "$lib" --list "$file" | awk '$3 ~ "^/" { print $3 }' |
			xargs cp -L -t "$dir/lib" "$file" || return
	done
	cat >"$dir/$name" <<-END
		#!/bin/sh
		exec $dir/lib/$loader --library-path $dir/lib $dir/lib/$name $options "\$@"
	END
	chmod +x "$dir/$name"
}

# newer_qemu: makes the directory NEWER, to be first in PATH, where QEMU is that of tools/vm/mkroot --emulator; 1: there is
# none
NEWER=$WORK/newer
newer_qemu() {
	[[ ! -d $NEWER ]] || return 0
	shared_program "$NEWER" qemu-system-x86_64 "-L $NEWER/qemu -L $NEWER/seabios" &&
		cp -rL /mnt/root/usr/share/{qemu,seabios} "$NEWER/"
}

# knows DEVICE: QEMU has it. Its list of all devices would take half a minute; its status says nothing
knows() {
	[[ $(qemu-system-x86_64 -device "$1,help" 2>/dev/null) == "$1 options:"* ]]
}

# newer_knows DEVICE: a newer QEMU, which has the device, is first in PATH from now on
newer_knows() {
	newer_qemu || return
	say "QEMU $(qemu_version) has no $1, that of the test host has: $(qemu_version "$NEWER/")"
	PATH=$NEWER:$PATH
	knows "$1"
}

# some_qemu_knows DEVICE: the release's or a newer one, which then is first in PATH
some_qemu_knows() { knows "$1" || newer_knows "$1"; }

# need_device DEVICE: ends the script with a skip of all of it where neither the release's QEMU has the device nor a newer one,
# which then is first in PATH. That is how an old release's kernel meets guests with our disk.
need_device() {
	some_qemu_knows "$1" && return
	echo "1..0 # SKIP QEMU $(qemu_version) has no $1"
	exit 0
}

# ---- nested guests ----

# guest_start NAME [--open FD=PATH]… [--run "OPTION…"] [--via "WORD…"] QEMU-ARGUMENT…: in the background. --open: QEMU inherits
# PATH as FD. --run: through `vhostlite run OPTION…`. --via: with these words in front of it all. With a disk to boot from (BOOT=disk) there is no -kernel. MACHINE is another
# machine than pc, one without PCI if it is a microvm.
guest_start() {
	local name=$1 dir=$WORK/$1 opens=() launcher=() via=() fifo fd machine=${MACHINE:-pc} bus=pci
	# by default the files of the initramfs may take half of the memory: too little for all of bookworm's
	local boot=(-kernel "$WORK/kernel" -initrd "$WORK/initramfs"
		-append "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable rootfstype=ramfs ${GUEST_APPEND-}")

	shift
	# Linux begins with QEMU's HPET and goes on without, but it keeps ticking: a sixth of an emulated processor
	[[ $machine == microvm* ]] && bus=device || machine+=,hpet=off
	while [[ ${1-} == --open || ${1-} == --run || ${1-} == --via ]]; do
		case $1 in
		--open) opens+=("$2") ;;
		--via) read -r -a via <<<"$2" ;;
		--run)
			read -r -a launcher <<<"$2"
			launcher=(vhostlite run "${launcher[@]}" --)
			;;
		esac
		shift 2
	done
	if [[ ${BOOT-} == disk ]]; then
		boot=()
	elif [[ ! -e $WORK/initramfs ]]; then
		[[ -e $E2E_IMAGES/initramfs ]] ||
			bail "no guest image in $E2E_IMAGES: tools/vm/run --share \"\$(selftests/guest/mkguest)\" …"
		cp "$E2E_IMAGES/kernel" "$E2E_IMAGES/initramfs" "$WORK/"
	fi
	rm -rf "$dir"
	mkdir "$dir"
	for fifo in agent qmp; do
		mkfifo "$dir/$fifo.in" "$dir/$fifo.out"
	done
	(
		for open in ${opens[@]+"${opens[@]}"}; do
			eval "exec ${open%%=*}<>\"\${open#*=}\""
		done
		exec ${via[@]+"${via[@]}"} "${launcher[@]}" qemu-system-x86_64 -M "$machine" -accel kvm -cpu host -m "$GUEST_MEM" -nodefaults -no-user-config \
			-name "$name,debug-threads=on" -display none -no-reboot -action reboot=reset \
			-global virtio-net-pci.romfile= ${NOTIFY_BY_PIO[@]+"${NOTIFY_BY_PIO[@]}"} \
			-serial "file:$dir/console" \
			-device "virtio-serial-$bus" -chardev "pipe,id=agent,path=$dir/agent" -device virtserialport,chardev=agent,name=agent \
			-chardev "pipe,id=qmp,path=$dir/qmp" -mon chardev=qmp,mode=control \
			"${boot[@]}" "$@"
	) >"$dir/qemu.log" 2>&1 </dev/null &
	GUEST_PID[$name]=$!
	exec {fd}<>"$dir/agent.in" && GUEST_TO[$name]=$fd
	exec {fd}<>"$dir/agent.out" && GUEST_FROM[$name]=$fd
	exec {fd}<>"$dir/qmp.in" && QMP_TO[$name]=$fd
	exec {fd}<>"$dir/qmp.out" && QMP_FROM[$name]=$fd
	printf '%s\n' '{"execute":"qmp_capabilities"}' >&"${QMP_TO[$name]}"
}

# iommu_card N WORD…: a card behind the guest's IOMMU, in a slot of its own, into the array CARD_BEHIND; the WORDs are those of
# -netdev tap and of the card, each with the TAP tapN and the address 52:54:00:00:00:0N
iommu_card() {
	# shellcheck disable=SC2034
	CARD_BEHIND=(-device "pcie-root-port,id=root$1,slot=$1"
		-netdev "tap,id=net$1,ifname=tap$1,script=no,downscript=no${2:+,$2}"
		-device "virtio-net-pci,id=nic$1,bus=root$1,netdev=net$1,mac=52:54:00:00:00:0$1,disable-legacy=on,iommu_platform=on,ats=on${3:+,$3}")
}

alive() {
	kill -0 "${GUEST_PID[$1]}" 2>/dev/null
}

# await FD SECONDS PATTERN NAME: reads lines until one matches the glob PATTERN, and prints those before it. The one that
# matches is left in the file WORK/line (callers may be subshells of each other).
await() {
	local fd=$1 end=$((SECONDS + $2)) pattern=$3 name=$4 line='' part

	while true; do
		if IFS= read -r -t 1 -u "$fd" part; then
			line+=${part%$'\r'}
			# shellcheck disable=SC2053 # it is a pattern
			if [[ $line == $pattern ]]; then
				printf '%s\n' "$line" >"$WORK/line"
				return 0
			fi
			printf '%s\n' "$line"
			line=''
			continue
		fi
		line+=$part
		alive "$name" || { echo "guest $name has ended: $(tail -n 5 "$WORK/$name/qemu.log")" && return 1; }
		((SECONDS < end)) || { echo "no '$pattern' from guest $name in $2 s" && return 1; }
	done
}

# guest_ready NAME [SECONDS]: waits until it has booted
guest_ready() {
	await "${GUEST_FROM[$1]}" "${2:-500}" @ready "$1" && return
	sed 's/^/console: /' "$WORK/$1/console" | tail -n 15
	sed 's/^/qemu: /' "$WORK/$1/qemu.log" | tail -n 5
	return 1
}

# guest NAME SECONDS COMMAND: runs the shell script COMMAND in the guest, prints what it printed, returns its status
guest() {
	local number=$RANDOM$RANDOM output status

	printf '%s %s %s\n' "$number" "$2" "$(base64 -w0 <<<"$3")" >&"${GUEST_TO[$1]}"
	output=$(await "${GUEST_FROM[$1]}" "$(($2 + 60))" "@end $number *" "$1") || {
		printf '%s\n' "$output"
		return 99
	}
	status=$(<"$WORK/line")
	[[ -z $output ]] || printf '%s\n' "$output"
	return "${status##* }"
}

# qmp NAME COMMAND [ARGUMENTS]: executes a monitor command, prints the answer
qmp() {
	local id=$RANDOM$RANDOM

	printf '{"execute":"%s","arguments":%s,"id":"%s"}\n' "$2" "${3:-{\}}" "$id" >&"${QMP_TO[$1]}"
	await "${QMP_FROM[$1]}" 60 "*\"id\": \"$id\"*" "$1" >>"$WORK/$1/events" || {
		tail -n 3 "$WORK/$1/events"
		return 1
	}
	cat "$WORK/line"
	[[ $(<"$WORK/line") == *'"return":'* ]]
}

# qmp_event NAME SECONDS PATTERN: waits for an event that has not been seen yet
qmp_event() {
	# shellcheck disable=SC2053
	if [[ -s $WORK/$1/events && $(<"$WORK/$1/events") == $3 ]]; then
		: >"$WORK/$1/events"
		return 0
	fi
	await "${QMP_FROM[$1]}" "$2" "$3" "$1" >>"$WORK/$1/events"
}

# no_complaint NAME…: the kernels of these guests have nothing to complain of
no_complaint() {
	local name

	for name; do
		! guest "$name" 10 dmesg | grep -iE 'oom-killer|out of memory|BUG:|WARNING:|call trace|NETDEV WATCHDOG' || return
	done
}

# we_say_nothing: our modules have nothing in the log of this kernel
we_say_nothing() {
	! dmesg | grep -E 'vhost_(lite|netlite|blklite): ' | grep -vE ': (loading out-of-tree module|module verification failed)'
}

# guest_end NAME [SIGNAL]: ends QEMU and waits for it
guest_end() {
	local pid=${GUEST_PID[$1]-} fd

	[[ -n $pid ]] || return 0
	kill "-${2:-TERM}" "$pid" 2>/dev/null
	if [[ ${2-} != KILL ]]; then
		timeout 20 tail -f /dev/null --pid="$pid" || kill -KILL "$pid" 2>/dev/null
	fi
	wait "$pid" 2>/dev/null
	unset "GUEST_PID[$1]"
	for fd in "${GUEST_TO[$1]-}" "${GUEST_FROM[$1]-}" "${QMP_TO[$1]-}" "${QMP_FROM[$1]-}"; do
		[[ -z $fd ]] || exec {fd}>&-
	done
	return 0
}

# ---- counters ----

# devices NAME NODE: the numbers of the devices that the guest has open, in the order of their opening
devices() {
	awk -v node="$2" '/^vhl-device:/ { n = $2 } /^vhl-node:/ && $2 == node { print n }' \
		/proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null | sort -nu
}

# device NAME NODE INDEX
device() {
	devices "$1" "$2" | sed -n "$(($3 + 1))p"
}

# counter NAME DEVICES QUEUE COUNTER: QUEUE may be "*", the sum is given then, as of several devices; COUNTER "state" gives
# the state
counter() {
	awk -v devs=" $2 " -v queue="$3" -v name="$4" '
		FNR == 1 { this = "" }
		/^vhl-device:/ { this = $2 }
		/^vhl-queue:/ && index(devs, " " this " ") && (queue == "*" || $2 == queue) && !((this, $2) in seen) {
			seen[this, $2] = 1
			if (name == "state") { sum = $3; next }
			for (i = 5; i <= NF; i++) {
				split($i, kv, "=")
				if (kv[1] == name)
					sum += kv[2]
			}
		}
		END { print sum == "" ? 0 : sum }' /proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null
}

# regions NAME DEVICE: of guest memory that it knows
regions() {
	awk -v dev="$2" '/^vhl-device:/ { this = $2 } /^vhl-regions:/ && this == dev { print $2; exit }' \
		/proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null
}

# negotiated NAME DEVICE BIT: the driver took this feature, of the first 64
negotiated() {
	local word

	word=$(awk -v dev="$2" '/^vhl-device:/ { this = $2 } /^vhl-features:/ && this == dev { print substr("0000000000000000" \
		substr($2, 3), length($2) - 1); exit }' /proc/"${GUEST_PID[$1]}"/fdinfo/* 2>/dev/null)
	echo "features of device $2: $word"
	(((16#${word:-0} >> $3) & 1))
}

# moved NAME DEVICE QUEUE COUNTER BEFORE LEAST: the counter grew by at least LEAST
moved() {
	local now

	now=$(counter "$1" "$2" "$3" "$4")
	((now - $5 >= $6)) || { echo "counter $4 of queue $3 of device $2: $5 before, $now now, wanted $6 more" && return 1; }
}

# ---- what is left behind ----

# shellcheck disable=SC2317 # called by the trap
_cleanup() {
	local status=$? x

	trap - EXIT INT TERM HUP
	for x in ${TRAFFIC[@]+"${TRAFFIC[@]}"}; do
		pkill -KILL -P "$x"
		kill -KILL "$x" 2>/dev/null
	done
	for x in ${GUEST_PID[@]+"${!GUEST_PID[@]}"}; do
		if ((status)); then
			tail -n 8 "$WORK/$x/qemu.log" "$WORK/$x/console" | sed "s/^/# guest $x: /"
		fi
		guest_end "$x" KILL
	done
	for ((x = ${#MOUNTS[@]} - 1; x >= 0; x--)); do
		umount "${MOUNTS[x]}" 2>/dev/null
	done
	for x in ${DM[@]+"${DM[@]}"}; do
		dmsetup remove --retry "$x" 2>/dev/null
	done
	for x in ${LOOPS[@]+"${LOOPS[@]}"}; do
		losetup -d "$x" 2>/dev/null
	done
	for x in ${LINKS[@]+"${LINKS[@]}"}; do
		ip link del "$x" 2>/dev/null
	done
	rm -rf --one-file-system -- "$WORK"
	exit "$status"
}
trap _cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
