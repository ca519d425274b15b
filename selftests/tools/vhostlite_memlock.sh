#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: [VHOSTLITE=PROGRAM] selftests/tools/vhostlite_memlock.sh
#
# Whether vhostlite run looks at the limit of locked memory before it starts anything. Attaches nothing; prints TAP.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/tap.bash"

page=$(getconf PAGESIZE)
truncate -s 1M "$tmp/disk"
# CAP_IPC_LOCK, which root has and loses here, means no limit
drop=()
((UID)) || drop=(setpriv --bounding-set -ipc_lock)

# with LIMITS WORD…: the next vhostlite runs with these limits (see ulimit) and WORD… in front
with() {
	VIA=(bash -c "ulimit $1 && exec \"\$@\"" bash "${@:2}")
}
# refused NAME NEED HAVE OPTION…
refused() {
	local name=$1 need=$2 have=$3

	shift 3
	says "$name" 1 "need up to $need KiB of locked memory, and the limit (RLIMIT_MEMLOCK) is $have KiB; raise it as root, with: ulimit -l $need, LimitMEMLOCK=${need}K" \
		run "$@" -- true
}
# passes NAME OPTION…: it is not the limit that ends it
passes() {
	local name=$1

	shift
	vhostlite run "$@" -- true
	[[ $err != *MEMLOCK* && $err != *ulimit* ]]
	result $? "$name" "no complaint of the limit"
}

echo "TAP version 13"
if ((page != 4096)); then
	echo "1..0 # SKIP the numbers here are those of pages of 4096 bytes"
	exit 0
fi
# a ring of 1024 entries: 5 pages of descriptors, 2 of the available ring, 4 of the used ring
with "-l 0" "${drop[@]}"
refused nothing_allowed 44 0 --disk "$tmp/disk"
with "-l 43" "${drop[@]}"
refused one_less 44 43 --disk "$tmp/disk"
with "-l 44" "${drop[@]}"
passes just_enough --disk "$tmp/disk"
with "-l 64" "${drop[@]}"
refused queues 704 64 --disk "$tmp/disk,queues=16"
refused disks 88 64 --disk "$tmp/disk,ro" --disk "$tmp/disk,ro"
with "-Sl 8; ulimit -Hl 44" "${drop[@]}"
passes hard_limit_suffices --disk "$tmp/disk"
with "-Sl 8; ulimit -Hl 43" "${drop[@]}"
refused hard_limit_too_low 44 43 --disk "$tmp/disk"
prints nothing_said_with_print "qemu -add-fd fd=3,set=100,opaque=a -device vhost-vdpa-device-pci,id=vhldisk0,vhostdev=/dev/fdset/100" \
	--print --disk a -- qemu
vhostlite run --disk "$tmp/disk" -- echo -M none
[[ $status -eq 0 && $out == "-M none" ]]
result $? machine_none

# a user that may lock any amount
if ((UID)) || [[ $(readlink /proc/self/ns/user) != "user:[4026531837]" ]] || ! capsh=$(setpriv --dump | grep -i 'bounding set') ||
	[[ $capsh != *ipc_lock* ]]; then
	for name in root_is_exempt runas run_with_user user_with_the_capability user_without; do
		skip $name "wants root with CAP_IPC_LOCK"
	done
else
	with "-l 8"
	passes root_is_exempt --disk "$tmp/disk"
	for words in "-runas nobody" "--run-with user=nobody" "-run-with chroot=/,user=nobody"; do
		# shellcheck disable=SC2086 # words
		says "root_but_not_with_${words// /_}" 1 "is 8 KiB; raise it" run --disk "$tmp/disk" -- true $words
	done
	passes root_with_other_words --disk "$tmp/disk" -- true -run-with chroot=/ -name user=x
	chmod 755 "$tmp"
	chmod 644 "$tmp/disk"
	with "-l 8" setpriv --reuid 65534 --clear-groups --inh-caps +ipc_lock --ambient-caps +ipc_lock
	passes user_with_the_capability --disk "$tmp/disk"
	with "-l 8" setpriv --reuid 65534 --clear-groups
	refused user_without 44 8 --disk "$tmp/disk"
fi

finish
