# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# What a disk can be on: devices that something is made of, and what is made of them; the driver in userspace
# (disk-client). For backings.sh.
# shellcheck disable=SC2317 # functions are called by others of lib.sh
# shellcheck disable=SC2034 # variables are for backings.sh

E2E_DIR=$E2E_SRC/selftests/e2e
MNT=$WORK/fs IMAGE_MIB=24
mkdir "$MNT"

# ---- what is undone ----
UNDO=()

# defer COMMAND…: for undo, which runs them in reverse order and tells which one failed
defer() {
	UNDO+=("$(printf '%q ' "$@")")
}

undo() {
	local i failed=0

	for ((i = ${#UNDO[@]} - 1; i >= 0; i--)); do
		eval "${UNDO[i]}" || { echo "failed: ${UNDO[i]}" && failed=1; }
	done
	UNDO=()
	return "$failed"
}

# let_go MOUNT: what was closed is let go of a little later
let_go() {
	wait_for 30 umount "$1"
}

# ---- devices: LOWER is one without anything on it ----

# lower_scsi: takes UNMAP and WRITE SAME, and tells what it has allocated
lower_scsi() {
	local dir=/sys/bus/pseudo/drivers/scsi_debug

	scsi_block() { ls -d $dir/adapter0/host*/target*/*/block/sd*; }
	[[ -d $dir ]] || modprobe -a sd_mod &&
		modprobe scsi_debug dev_size_mb=64 lbpu=1 lbpws=1 lbpws10=1 lbprz=1 delay=0 physblk_exp=3 &&
		wait_for 20 scsi_block || return
	SCSI=$(scsi_block)
	SCSI=/dev/${SCSI##*/} LOWER=$SCSI
	wait_for 20 test -b "$SCSI" && blkdiscard -f "$SCSI" && blockdev --rereadpt "$SCSI"
}

# scsi_allocated: KiB
scsi_allocated() {
	tr ',' '\n' </sys/bus/pseudo/drivers/scsi_debug/map |
		awk -F- 'NF { sectors += (NF > 1 ? $2 : $1) - $1 + 1 } END { print int(sectors / 2) }'
}

# lower_volatile: has a write cache that is lost in power_cut
lower_volatile() {
	no_null_disks 2>/dev/null
	null_disk nullb0 size=64 discard=1 cache_size=64
	LOWER=/dev/nullb0
	wait_for 20 test -b "$LOWER"
}

power_cut() {
	echo 0 >/sys/kernel/config/nullb/nullb0/power && echo 1 >/sys/kernel/config/nullb/nullb0/power &&
		wait_for 20 test -b "$LOWER"
}

# lower_plain MIB
lower_plain() {
	no_null_disks 2>/dev/null
	null_disk nullb0 "size=$1" discard=1
	LOWER=/dev/nullb0
}

# lower_logged: all that is written is logged, and a flush says what of it is stable (dm-log-writes)
lower_logged() {
	lower_plain 512
	null_disk nullb1 size=1024
	wait_for 20 test -b /dev/nullb1 || return
	dm_up vhl-logged log-writes "/dev/nullb0 /dev/nullb1" $((512 * 2048)) && LOWER=$DM_NODE
}

# mark NAME: in that log
mark() {
	dmsetup message vhl-logged 0 mark "$1"
}

# dm_up NAME TARGET ARGUMENTS SECTORS: DM_NODE
dm_up() {
	dmsetup create "$1" --table "0 $4 $2 $3" || return
	defer dmsetup remove --retry "$1"
	DM_NODE=/dev/dm-$(dmsetup info -c --noheadings -o minor "$1")
	wait_for 20 test -b "$DM_NODE"
}

# ---- backings on LOWER: FILE is what is attached, UNDER the file that takes up space, INSIDE where it is in the file system

up_disk() {
	FILE=$LOWER
}

up_partition() {
	local part=${LOWER}1

	[[ $LOWER != *[0-9] ]] || part=${LOWER}p1
	if [[ ! -b $part ]]; then
		echo 'start=4096, size=65536' | sfdisk -q -X gpt "$LOWER" && wait_for 20 test -b "$part" || return
	fi
	# it stays until the device goes, or is emptied
	FILE=$part
}

up_lvm() {
	dm_up vhl-lv linear "$LOWER 2048" 65536 && FILE=$DM_NODE
}

CRYPT_KEY=$(printf '%0128x' 11)
up_crypt() {
	modprobe -a dm-crypt xts &&
		dm_up vhl-crypt crypt "aes-xts-plain64 $CRYPT_KEY 0 $LOWER 0 2 sector_size:4096 allow_discards" 65536 &&
		FILE=$DM_NODE
}

# fs_mount TYPE DEVICE DIR [OPTIONS]
fs_mount() {
	[[ $1 != btrfs ]] || btrfs device scan --forget >/dev/null 2>&1
	mount -t "$1" -o "noatime${4:+,$4}" "$2" "$3"
}

# fs_up TYPE: on LOWER, mounted at MNT, and an image in it. Nothing is committed because time passes
fs_up() {
	local options=''

	FS=$1 INSIDE=disk.raw
	case $1 in
	ext4)
		options=commit=300,noinit_itable
		mkfs.ext4 -q -F -b 4096 -E nodiscard,lazy_itable_init=1 -J size=4 "$LOWER"
		;;
	xfs) mkfs.xfs -q -f -K "$LOWER" ;;
	btrfs)
		options=commit=300
		mkfs.btrfs -q -f -K -m single -d single "$LOWER"
		;;
	esac && fs_mount "$1" "$LOWER" "$MNT" $options || return
	defer let_go "$MNT"
	FILE=$MNT/disk.raw UNDER=$MNT/disk.raw
	image "$FILE"
}

# image FILE: sparse; stable, as images are that were not made a moment ago
image() {
	truncate -s "${IMAGE_MIB}M" "$1" && sync "$1" "${1%/*}"
}

up_ext4() { fs_up ext4; }
up_xfs() { fs_up xfs; }
up_btrfs() { fs_up btrfs; }

# the image is in the lower layer, so it is copied when it is opened
up_overlay() {
	modprobe overlay && fs_up ext4 && mkdir -p "$MNT"/{lower,upper,work} "$WORK/merged" &&
		mv "$FILE" "$MNT/lower/" && sync "$MNT/lower" &&
		mount -t overlay -o "lowerdir=$MNT/lower,upperdir=$MNT/upper,workdir=$MNT/work" overlay "$WORK/merged" || return
	defer let_go "$WORK/merged"
	FILE=$WORK/merged/disk.raw UNDER=$MNT/upper/disk.raw INSIDE=upper/disk.raw
}

up_loop() {
	fs_up ext4 && FILE=$(losetup --show -f "$UNDER") || return
	defer losetup -d "$FILE"
}

nbd_off() {
	qemu-nbd -d /dev/nbd0 >/dev/null && wait_for 20 test ! -e /sys/block/nbd0/pid
}

up_nbd() {
	nbd_is_on() { (($(blockdev --getsize64 /dev/nbd0) > 0)); }
	modprobe nbd nbds_max=1 max_part=0 && fs_up ext4 &&
		qemu-nbd -f raw --cache=none --aio=threads --discard=unmap -c /dev/nbd0 "$UNDER" 2>&1 || return
	defer nbd_off
	FILE=/dev/nbd0
	wait_for 20 nbd_is_on
}

# QEMU's FUSE export: a file that is not in a directory of its own
fuse_off() {
	kill "$FUSE_PID" && wait "$FUSE_PID"
	wait_for 20 not_fuse
}
is_fuse() { grep -q " $WORK/fuse.raw fuse" /proc/mounts; }
not_fuse() { ! is_fuse; }

# fuse_on FILE
fuse_on() {
	modprobe fuse
	: >"$WORK/fuse.raw"
	qemu-storage-daemon --blockdev "driver=file,node-name=disk,filename=$1,cache.direct=on,aio=threads,discard=unmap" \
		--export "type=fuse,id=fuse,node-name=disk,mountpoint=$WORK/fuse.raw,writable=on" >"$WORK/fuse.log" 2>&1 </dev/null &
	FUSE_PID=$!
	defer fuse_off
	FILE=$WORK/fuse.raw
	wait_for 20 is_fuse || { cat "$WORK/fuse.log" && return 1; }
}

up_fuse() {
	fs_up ext4 && fuse_on "$UNDER"
}

nfs_off() {
	local cache

	echo 0 >/proc/fs/nfsd/threads
	for cache in nfsd.fh nfsd.export auth.unix.ip; do
		date +%s >/proc/net/rpc/$cache/flush
	done
}

# nfs_on DIR: exported by the kernel's server with NFS 4.2, and mounted from it. What exportfs and mountd would tell the
# kernel is written here: rw, insecure, no_root_squash, no_subtree_check, sync, fsid=0
nfs_on() {
	local until=$(($(date +%s) + 86400)) net=/proc/net/rpc nfsd=/proc/fs/nfsd version

	modprobe -a nfsd nfsv4 && mkdir -p "$WORK/nfs" || return
	mountpoint -q $nfsd || mount -t nfsd nfsd $nfsd || return
	for version in -2 -3 +4 +4.2; do
		echo $version >$nfsd/versions
	done 2>/dev/null
	echo 10 >$nfsd/nfsv4leasetime && echo 10 >$nfsd/nfsv4gracetime && echo "tcp 2049" >$nfsd/portlist &&
		echo 2 >$nfsd/threads || return
	defer nfs_off
	# nobody has anything from before
	echo Y >$nfsd/v4_end_grace
	echo "nfsd 127.0.0.1 $until vhl" >$net/auth.unix.ip/channel &&
		echo "vhl $1 $until $((0x2402)) 65534 65534 0" >$net/nfsd.export/channel &&
		printf 'vhl 1 \\x00000000 %s %s\n' "$until" "$1" >$net/nfsd.fh/channel &&
		mount -i -t nfs4 -o vers=4.2,proto=tcp,addr=127.0.0.1,clientaddr=127.0.0.1 127.0.0.1:/ "$WORK/nfs" || return
	defer let_go "$WORK/nfs"
	FILE=$WORK/nfs/disk.raw
}

up_nfs() {
	fs_up ext4 && nfs_on "$MNT"
}

up_tmpfs() {
	mkdir -p "$WORK/tmpfs" && mount -t tmpfs tmpfs "$WORK/tmpfs" || return
	defer let_go "$WORK/tmpfs"
	FILE=$WORK/tmpfs/disk.raw UNDER=$FILE
	image "$FILE"
}

# allocated: KiB that UNDER, or where there is none the disk, takes up
allocated() {
	if [[ -n $UNDER ]]; then
		stat -c '%b %B' "$UNDER" | awk '{ print int($1 * $2 / 1024) }'
	else
		scsi_allocated
	fi
}

# ---- the driver ----

# client_start: on FILE; OFFER has what it was offered
declare -A OFFER=()
client_start() {
	local words word

	rm -f "$WORK"/client.{in,out}
	mkfifo "$WORK/client.in" "$WORK/client.out"
	exec {CLIENT_TO}<>"$WORK/client.in" {CLIENT_FROM}<>"$WORK/client.out"
	"$E2E_DIR/disk-client" "$FILE" <"$WORK/client.in" >"$WORK/client.out" 2>"$WORK/client.err" &
	CLIENT=$!
	# it may end without a word
	until IFS= read -r -t 1 -u "$CLIENT_FROM" words; do
		kill -0 $CLIENT 2>/dev/null || { cat "$WORK/client.err" && return 1; }
	done
	OFFER=()
	for word in $words; do
		OFFER[${word%%=*}]=${word#*=}
	done
}

# ask COMMAND: ANSWER
ask() {
	echo "$1" >&"$CLIENT_TO"
	IFS= read -r -t 180 -u "$CLIENT_FROM" ANSWER || ANSWER="no answer to $1: $(<"$WORK/client.err")"
}

# answers COMMAND ANSWER: it is this, else WRONG has it
answers() {
	ask "$1"
	[[ $ANSWER == "$2" ]] || { WRONG+="$1: $ANSWER; " && return 1; }
}

client_end() {
	ask quit
	wait "$CLIENT"
	local status=$?
	exec {CLIENT_TO}>&- {CLIENT_FROM}>&-
	return $status
}
