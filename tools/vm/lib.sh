# shellcheck shell=bash
# Shared by the scripts of tools/vm: messages, the cache, entering a root file system. Sourced, never run.
# shellcheck disable=SC2034 # variables are used by the scripts that source this

VM_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
VM_TREE=$(cd -- "$VM_DIR/../.." && pwd -P)
VM_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/vhost-lite
VM_RELEASES=(bookworm trixie forky)
VM_DEFAULT_RELEASE=trixie
# the release whose kernel source and compiler make the kernels of our own
VM_OWN_RELEASE=trixie
# the release whose QEMU runs the test host, see tools/vm/run
VM_EMULATOR_RELEASE=forky

# vm_say MESSAGE: one line of progress on stderr, with the seconds since the script started.
vm_say() {
	printf 'vm [%3ds] %s\n' "$SECONDS" "$*" >&2
}

# vm_die MESSAGE: gives up. 125 always means that COMMAND (or the compiler) was not reached.
vm_die() {
	printf 'tools/vm/%s: %s\n' "${0##*/}" "$*" >&2
	exit 125
}

# vm_need_root WHY "$@": goes on as root, through sudo when there is one.
vm_need_root() {
	local why=$1
	shift
	[[ $EUID -ne 0 ]] || return 0
	if command -v sudo >/dev/null; then
		exec sudo --preserve-env=HOME,XDG_CACHE_HOME -- "$0" "$@"
	fi
	vm_die "needs root: $why (run it as root, or install sudo)"
}

# vm_need COMMAND…: says what is missing and how to get it.
vm_need() {
	local cmd
	for cmd; do
		command -v "$cmd" >/dev/null || vm_die "no $cmd here: run tools/vm/deps once"
	done
}

vm_check_release() {
	local r
	for r in "${VM_RELEASES[@]}"; do
		[[ $1 != "$r" ]] || return 0
	done
	vm_die "no release '$1' (there are: ${VM_RELEASES[*]})"
}

# vm_help FILE: prints the header comment of a script.
vm_help() {
	sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//p}' "$1"
}

# vm_remove_cached DIR: removes a cached root file system or kernel with its lock file, unless a run holds a shared lock on
# it (DIR.lock).
vm_remove_cached() {
	local held

	[[ -e $1 ]] || return 0
	exec {held}>"$1.lock"
	if flock --nonblock "$held"; then
		rm -rf --one-file-system -- "$1" "$1.lock"
	else
		vm_say "$1 is in use by another run and stays"
	fi
	exec {held}>&-
}

# vm_remove_unused DIR PREFIX KEEP: removes what is cached as DIR/PREFIX… but KEEP, and what was used in the last day: two
# trees with different recipes would make theirs anew in turns.
vm_remove_unused() {
	local old

	for old in "$1/$2"*/; do
		old=${old%/}
		[[ $old == "$3" || -n $(find "$old.lock" -mtime -1 2>/dev/null) ]] || vm_remove_cached "$old"
	done
}

# vm_in_root ROOT SRC COMMAND…: runs COMMAND in a chroot of ROOT with SRC at /src. ROOT itself is read-only meanwhile.
# Where VM_LAYER is set, that directory is at /mnt. The mounts live in a mount namespace of their own, so they are gone with
# the last process, however it ended; and with the shell that called, which may be one in the background.
vm_in_root() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child -- bash -c '
		set -euo pipefail
		root=$1 src=$2 layer=$3
		shift 3
		mount --make-rprivate /
		mount --bind "$root" "$root"
		mount -o remount,bind,ro "$root"
		mount -t proc proc "$root/proc"
		mount -t sysfs -o ro sysfs "$root/sys"
		mount -t tmpfs tmpfs "$root/tmp"
		mount --bind /dev "$root/dev"
		mount --bind "$src" "$root/src"
		[[ -z $layer ]] || mount --bind -o ro "$layer" "$root/mnt"
		exec chroot "$root" /usr/bin/env -i \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			HOME=/tmp LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
			sh -c '\''cd /src && exec "$@"'\'' sh "$@"
	' bash "$1" "$2" "${VM_LAYER-}" "${@:3}"
}
