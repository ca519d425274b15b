#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: selftests/e2e/backings.sh [--table FILE] [NAME…]
#
# /dev/vdpa-blklite on every kind of backing, in TAP: those named, or all of them, then what is refused ("refused") and a
# stock guest on three of them ("guest"). To be run in the test host with the guest image:
#   tools/vm/run --share "$(selftests/guest/mkguest)" -- selftests/e2e/backings.sh
#
# Each row says what is expected of its backing, and that is compared with what was seen. --table writes what was seen to
# FILE, below the line that begins with "<!-- generated"; docs/backings.md is made so (see there).
#
# What is stable is looked at after a power failure: devices are made of a null_blk with a write cache that is lost when it
# is switched off; file systems are on a dm-log-writes, whose log tells what a disk was certain to have at a moment.
# shellcheck disable=SC2317 # functions are called by check
# shellcheck disable=SC2016 # what is in single quotes is expanded in the guest
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/disklib.sh"
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/backinglib.sh"
NODE=vdpa-blklite M=1048576
table='' only=()
while (($#)); do
	case $1 in
	--table) table=${2:?--table needs a file} && shift 2 ;;
	*) only+=("$1") && shift ;;
	esac
done
wanted() { ((!${#only[@]})) || [[ " ${only[*]} " == *" $1 "* ]]; }

modules_load vhost-blklite
{ modprobe -a loop ext4 dm-mod dm-log-writes && modprobe null_blk nr_devices=0; } ||
	bail "the test host lacks loop, null_blk, dm-log-writes or ext4"

# ---- what is seen of a backing: SEEN, and in WRONG what never may be ----
declare -A SEEN=() WANT=()
WRONG='' TABLE=() REFUSED=()

# io: whether the page cache has what was written
see_io() {
	answers "write 0 $M 3" OK
	answers "read 0 $M 3" OK
	SEEN[io]=direct
	ask "cached 0 $M"
	[[ $ANSWER == 0 ]] || SEEN[io]="page cache"
	SEEN[blocks]="${OFFER[block]} of ${OFFER[physical]}"
}

# nothing behind the end, and nothing that reaches over it
see_end() {
	local end=${OFFER[bytes]} request

	SEEN[end]=refused
	for request in "read $end 512 0" "write $end 512 1" "read $((end - 512)) 1024 0" "write $((end - 512)) 1024 1" \
		"zero $((end - 512)) 1024" "unmap $end 4096"; do
		answers "$request" IOERR || SEEN[end]="$request is not"
	done
	((!OFFER[discard])) || answers "discard $end 4096" IOERR || SEEN[end]="discard is not"
	answers "write $((end - 512)) 512 5" OK
	answers "read $((end - 512)) 512 5" OK
}

# freed BEFORE: the 512 KiB of a range; ext4 may need a block of them to tell so
freed() {
	local now

	now=$(allocated)
	echo "$now KiB, $1 before" >&2
	((now <= $1 - 500)) && echo freed || echo kept
}

see_ranges() {
	local before at piece=$((M / 2))

	answers "write 0 $((4 * M)) 7" OK
	answers flush OK
	before=$(allocated)
	answers "zero $M $piece" OK
	answers flush OK
	SEEN[zero]=$(freed "$before")
	before=$(allocated)
	answers "unmap $((2 * M)) $piece" OK
	answers flush OK
	SEEN[unmap]=$(freed "$before")
	before=$(allocated)
	answers "read $M $piece 0" OK
	answers "read $((2 * M)) $piece 0" OK
	at=$((3 * M))
	if ((OFFER[discard])); then
		answers "discard $at $piece" OK
		answers flush OK
		SEEN[discard]=$(freed "$before")
		ask "read $at $piece 0"
		case $ANSWER in
		OK) SEEN[discard]+=", zeroes" ;;
		byte*) SEEN[discard]+=", anything" ;;
		*) WRONG+="not read after a discard; " ;;
		esac
	else
		answers "discard $at $piece" UNSUPP
		answers "read $at $piece 7" OK
		SEEN[discard]=none
	fi
	# what is around them
	for at in 0 $((M + piece)) $((2 * M + piece)) $((3 * M + piece)); do
		answers "read $at $piece 7" OK
	done
}

# found ASPECT OFFSET BYTES SEED
found() {
	ask "read $2 $3 $4"
	[[ $ANSWER == OK ]] && SEEN[$1]=there || SEEN[$1]=lost
}

# Writes of 256 KiB whose place and seed tell what became of them
A="$((8 * M)) $((M / 4)) 11" B="$((9 * M)) $((M / 4)) 12" C="$((10 * M)) $((M / 4)) 13"

# again NAME: the power fails, and what was made of the device is made anew
again() {
	client_end && undo && power_cut && "up_$1" && client_start
}

# see_power_device NAME
see_power_device() {
	lower_volatile && "up_$1" && client_start || return
	answers "write $A" OK
	answers flush OK
	answers "write $C" OK
	# shellcheck disable=SC2086 # words
	again "$1" && found flush $A && found unflushed $C || return
	answers "cache off" OK
	answers "write $B" OK
	# shellcheck disable=SC2086
	again "$1" && found through $B && client_end && undo
}

# to the marks of the log
write_for_power() {
	answers "write $A" OK
	mark unflushed
	answers flush OK
	mark flush
	answers "cache off" OK
	answers "write $B" OK
	mark through
	answers "cache on" OK
}

# in_image MARK OFFSET BYTES SEED: is it in the file, on a disk that had what was stable?
in_image() {
	local image=$WORK/power.$1

	fs_mount "$FS" "$image" "$WORK/cut" loop || { echo "not mounted" && return; }
	cmp -s <("$E2E_DIR/disk-client" pattern "$2" "$3" "$4") \
		<(dd if="$WORK/cut/$INSIDE" bs=64k iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none 2>/dev/null) &&
		echo there || echo lost
	umount "$WORK/cut" && rm "$image"
}

see_power_file() {
	mkdir -p "$WORK/cut"
	"$E2E_DIR/replay" /dev/nullb1 "$WORK/power" $((512 * M)) && rm "$WORK/power" || return
	# shellcheck disable=SC2086
	SEEN[unflushed]=$(in_image unflushed $A) SEEN[flush]=$(in_image flush $A) SEEN[through]=$(in_image through $B)
}

all_kinds() {
	local direct=on

	[[ ${OFFER[opened]} == direct ]] || direct=off
	"$E2E_SRC/tools/vhost-bench/vhost-bench" --timeout 120 --dev "/dev/$NODE" --file "$FILE" --direct "$direct" --span 4M --qd 8 \
		--count 101 blk-verify
}

# ---- rows ----

# lacks NAME: what this test host has not that it needs
lacks() {
	local word

	for word in ${MODULES[$1]-}; do
		modprobe -n -q "$word" || { echo "the kernel has no $word" && return; }
	done
	for word in ${TOOLS[$1]-}; do
		command -v "$word" >/dev/null || { echo "no $word" && return; }
	done
}
declare -A MODULES=([nfs]="nfsd nfsv4" [nbd]=nbd [crypt]="dm-crypt xts" [btrfs]=btrfs [xfs]=xfs [overlay]=overlay [fuse]=fuse
	[disk]=scsi_debug [partition]=scsi_debug [lvm]=scsi_debug)
declare -A TOOLS=([nbd]=qemu-nbd [btrfs]=mkfs.btrfs [xfs]=mkfs.xfs [fuse]=qemu-storage-daemon)

# see_device, see_file, see_memory NAME: all of it
see_device() {
	lower_scsi && "up_$1" && client_start || return
	see_io
	see_end
	see_ranges
	client_end && check "$TITLE: requests of all kinds, data verified" all_kinds
	undo && see_power_device "$1"
}

see_file() {
	lower_logged && "up_$1" && client_start || return
	write_for_power
	see_io
	see_end
	see_ranges
	client_end && check "$TITLE: requests of all kinds, data verified" all_kinds
	undo && see_power_file
}

see_memory() {
	"up_$1" && client_start || return
	see_io
	see_end
	see_ranges
	client_end && check "$TITLE: requests of all kinds, data verified" all_kinds
	undo
}

# row NAME TITLE KIND ASPECT=WANT…: WANT is a pattern
row() {
	local name=$1 kind=$3 reason word line

	TITLE=$2
	wanted "$name" || return 0
	reason=$(lacks "$name")
	[[ -z $reason ]] || { skip "$TITLE" "$reason" && return; }
	shift 3
	SEEN=() WRONG='' UNDER='' WANT=([end]=refused [zero]=kept)
	[[ $kind == memory ]] || WANT+=([unflushed]=lost [flush]=there [through]=there)
	for word; do
		WANT[${word%%=*}]=${word#*=}
	done
	"see_$kind" "$name" >"$WORK/log" 2>&1 || WRONG+="it was not done; "
	grep -E '^(ok|not ok|#)' "$WORK/log"
	[[ -z $WRONG ]] || sed 's/^/#   /' "$WORK/log"
	undo || WRONG+="not all was let go of; "
	check "$TITLE: all answers and data are right" same "wrong" "" "$WRONG"
	check "$TITLE: it gives what is expected" all_like
	line="| $TITLE |"
	for word in io blocks discard unmap unflushed flush through; do
		line+=" ${SEEN[$word]--} |"
	done
	TABLE+=("$line")
}

all_like() {
	local word failed=0

	for word in "${!WANT[@]}"; do
		# shellcheck disable=SC2053 # a pattern
		[[ ${SEEN[$word]-} == @(${WANT[$word]}) ]] ||
			{ echo "$word: ${SEEN[$word]-not seen}, not ${WANT[$word]}" && failed=1; }
	done
	return "$failed"
}

scsi=(io=direct "blocks=512 of 4096" "discard=freed, zeroes" unmap=freed)
file=(io=direct "blocks=512 of 4096" "discard=freed, zeroes" unmap=freed)
row disk "SCSI disk" device "${scsi[@]}"
row partition "partition" device "${scsi[@]}"
row lvm "LVM volume (dm-linear)" device "${scsi[@]}"
row crypt "dm-crypt, sectors of 4096 bytes, allow_discards" device "${scsi[@]}" "discard=freed, anything" unmap=kept
row loop "loop device, file on ext4" file "${file[@]}" "blocks=512 of 512"
row nbd "NBD, qemu-nbd with a file on ext4" file "${file[@]}" "blocks=512 of 512"
row ext4 "file on ext4" file "${file[@]}"
row xfs "file on XFS" file "${file[@]}"
row btrfs "file on btrfs" file "${file[@]}" "io=direct|page cache"
row overlay "file on overlayfs over ext4" file "${file[@]}"
row nfs "file on NFS 4.2, Linux server with ext4" file "${file[@]}" unflushed=there
row fuse "FUSE export of qemu-storage-daemon, file on ext4" file "${file[@]}" discard=none unmap=kept
row tmpfs "file on tmpfs" memory "${file[@]}" "io=page cache"

# ---- what is refused, and what is said ----

# refused WHAT PATTERN FILE[,OPTION…]: by `vhostlite run`, which says so, or the kernel's log in its stead
refused() {
	local said

	if said=$(vhostlite run --disk "$3" -- true 2>&1); then
		echo "$3 is taken"
		return 1
	fi
	[[ $said != *"kernel's log"* ]] || said=$(dmesg | sed -n 's/^\[[^]]*\] //; s/.*: cannot attach: //p' | tail -n 1)
	said=${said#vhostlite: } said=${said//"${3%%,*}"/FILE}
	echo "$said" >"$WORK/said"
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]] || { echo "said: $said" && return 1; }
}

# refuse WHAT PATTERN FILE[,OPTION…]
refuse() {
	check "$1: refused" refused "$@"
	REFUSED+=("| $1 | $(<"$WORK/said") |")
}

if wanted refused; then
	mkdir -p "$WORK/huge" "$WORK/dir"
	mount -t hugetlbfs hugetlbfs "$WORK/huge" || bail "no hugetlbfs"
	MOUNTS+=("$WORK/huge")
	truncate -s 2M "$WORK/huge/disk.raw" "$WORK/locked.raw"
	: >"$WORK/empty.raw"
	qemu-img create -q -f qcow2 "$WORK/disk.qcow2" 16M
	lower_volatile
	blockdev --setro "$LOWER" || bail "no device"
	refuse "file on hugetlbfs" "*can only map files*tmpfs*" "$WORK/huge/disk.raw"
	refuse "directory" "*neither a regular file nor a block device" "$WORK/dir"
	refuse "character device" "*neither a regular file nor a block device" /dev/zero
	refuse "empty file" "*empty*truncate*" "$WORK/empty.raw"
	refuse "block device that is write-protected, without \`ro\`" "*can only be read*,ro" "$LOWER"
	refuse "image in a format of QEMU's" "*qcow2*qemu-img convert*" "$WORK/disk.qcow2"
	refuse "option \`blocksize=\` with another value than 512 to 4096" "*blocksize= wants a number of 512..4096" \
		"$WORK/locked.raw,blocksize=8192"
	exec 9<>"$WORK/locked.raw"
	vhostlite run --disk "$WORK/locked.raw" -- sh -c "exec sleep 600" &
	holder=$!
	is_held() { vhostlite info | grep -q locked.raw; }
	wait_for 20 is_held
	refuse "disk of another virtual machine" "*another vhostlite run or QEMU writes to it" "$WORK/locked.raw"
	kill $holder && wait $holder
	umount "$WORK/huge"
fi

# ---- a stock guest ----
declare -A BELOW=()

# guest_disk N FILE BELOW: it has 4 MiB of a pattern; BELOW is where to look for what the guest wrote
guest_disk() {
	FILE=$2 BELOW[$1]=$3
	client_start || return
	answers "write 0 $((4 * M)) 2$1" OK
	answers flush OK
	client_end
	same "wrong" "" "$WRONG"
}

guest_disks() {
	local crypt

	lower_scsi && up_crypt && crypt=$FILE && lower_plain 512 && fs_up ext4 && image "$MNT/fuse-under.raw" &&
		nfs_on "$MNT" && guest_disk 0 "$FILE" "$MNT/disk.raw" &&
		fuse_on "$MNT/fuse-under.raw" && guest_disk 1 "$FILE" "$MNT/fuse-under.raw" && guest_disk 2 "$crypt" "$crypt" &&
		RUN="--disk $WORK/nfs/disk.raw,serial=d0 --disk $WORK/fuse.raw,serial=d1 --disk $crypt,serial=d2"
}

guest_reads() {
	same "sum of the first 4 MiB" "$("$E2E_DIR/disk-client" pattern 0 $((4 * M)) "2$1" | sha256sum)" \
		"$(guest a 60 "head -c $((4 * M)) /dev/d$1 | sha256sum")"
}

guest_verifies() {
	guest a 200 "fio --ioengine=libaio --iodepth=16 --direct=1 --thread --rw=randwrite --bsrange=512-32k --size=2M --offset=4M \
		--verify=crc32c --do_verify=1 --verify_fatal=1 --name=d0 --filename=/dev/d0 --name=d1 --filename=/dev/d1 \
		--name=d2 --filename=/dev/d2"
}

# guest_writes N: and syncs; read where it ends up
guest_writes() {
	local sum

	sum=$(guest a 60 "head -c $((2 * M)) /dev/urandom >/tmp/r && dd if=/tmp/r of=/dev/d$1 bs=64k seek=128 conv=fsync 2>/dev/null &&
		sha256sum </tmp/r") || return
	same "sum of what the guest wrote" "$sum" "$(dd if="${BELOW[$1]}" iflag=direct bs=1M skip=8 count=2 status=none | sha256sum)"
}

all_moved() {
	local n

	for n in 0 1 2; do
		moved a "$(device a "$NODE" "$n")" '*' reqs 0 250 || return
	done
}

guest_phase() {
	local n names=(NFS FUSE dm-crypt)

	WRONG=''
	guest_disks >"$WORK/log" 2>&1 || { not_ok "disks for a guest" && sed 's/^/#   /' "$WORK/log" && return; }
	say "a guest with disks on NFS, FUSE and dm-crypt boots"
	guest_start a --run "$RUN"
	check "a guest boots" guest_ready a
	check "its disks are there" guest a 60 "$GUEST_DISKS"
	for n in 0 1 2; do
		check "guest, ${names[n]}: what was there is read" guest_reads $n
	done
	check "guest, all three at once: random writes of all sizes verified" guest_verifies
	for n in 0 1 2; do
		check "guest, ${names[n]}: what it wrote and synced is in the storage" guest_writes $n
	done
	check "all of that was on vhost-lite" all_moved
	guest_end a
	check "guest: all is let go of" undo
}

if wanted guest; then
	if some_qemu_knows vhost-vdpa-device-pci; then
		guest_phase
	else
		skip "a guest" "QEMU $(qemu_version) has no vhost-vdpa-device-pci"
	fi
fi
check "nobody holds the module" wait_for 10 no_users vhost_blklite
no_null_disks

# ---- the page ----
write_table() {
	local kept

	kept=$(sed '/^<!-- generated/q' "$table") || return
	cat >"$table" <<-END
		$kept

		Linux $(uname -r), QEMU $(qemu_version), $(date -u +%Y-%m-%d).

		| backing | path | blocks | discard | zeroes with \`unmap\` | power fails before a flush | after it | written through |
		|---|---|---|---|---|---|---|---|
		$(printf '%s\n' "${TABLE[@]}")

		| refused | what is said |
		|---|---|
		$(printf '%s\n' "${REFUSED[@]}")
	END
}
[[ -z $table ]] || check "the page is written" write_table
finish
