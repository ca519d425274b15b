#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What tools/vm/complaints takes for a complaint of the kernel while a test has allocations fail, and what not.
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
count=0 failed=0

# on NAME STATUS TAINTED LINE…: of the console
on() {
	local name=$1 want=$2 status=0

	echo "$3" >"$tmp/tainted"
	shift 3
	printf '%s\n' "$@" >"$tmp/console"
	"$here/../../tools/vm/complaints" "$tmp/console" "$tmp/tainted" >"$tmp/out" || status=$?
	count=$((count + 1))
	if [[ $status -eq $want ]]; then
		echo "ok $count - $name"
	else
		failed=$((failed + 1))
		echo "not ok $count - $name"
		echo "# status $status, wanted $want"
		sed 's/^/# /' "$tmp/out"
	fi
}

# Reports, each as the kernel has it
begins='[   10.000000] fault injection begins'
ends='[   20.000000] fault injection ends'
trace=('[   11.000002] CPU: 1 UID: 0 PID: 300 Comm: vhost-299-l0 Tainted: G           OE' '[   11.000003] Hardware name: QEMU'
	'[   11.000004] Call Trace:' '[   11.000005]  <TASK>' '[   11.000006]  alloc_vmap_area+0x8d2/0xb50'
	'[   11.000007]  copy_process+0x6d0/0x2a70')
failure=('[   11.000001] vhost-299-l0: vmalloc error: size 16384, vm_struct allocation failed, mode:0xdc0(GFP_KERNEL)' "${trace[@]}")
warning() {
	printf '[   11.000000] %s\n' '------------[ cut here ]------------' "WARNING: CPU: 1 PID: 300 at $1" \
		'Modules linked in: vhost_blklite(OE)'
	printf '%s\n' "${trace[@]}" '[   11.000008] ---[ end trace 0000000000000000 ]---'
}
vmap='mm/vmalloc.c:1804 alloc_vmap_area+0x8d2/0xb50'

echo "TAP version 13"
on "nothing" 0 12288 '[    0.000000] Command line: panic_on_warn=1' "$begins" "$ends"
on "an allocation that was made to fail" 0 12288 "$begins" "${failure[@]}" "$ends"
on "one that was not" 1 12288 "${failure[@]}"
on "two at once" 0 12288 "$begins" "${failure[0]}" "${failure[0]}" "${trace[@]:0:3}" "${trace[@]:0:3}" "$ends"
on "a trace that nothing explains" 1 12288 "$begins" "${failure[@]}" "${trace[@]}" "$ends"
on "no piece of the map of addresses" 0 12800 "$begins" "$(warning "$vmap")" "$ends"
on "the same without faults" 1 12800 "$begins" "$ends" "$(warning "$vmap")"
on "the same with and without faults" 1 12800 "$begins" "$(warning "$vmap")" "$ends" "$(warning "$vmap")"
on "another warning from there" 1 12800 "$begins" "$(warning "mm/vmalloc.c:1804 vfree+0x8d2/0xb50")" "$ends"
on "another warning besides" 1 12800 "$begins" "$(warning "$vmap")" "$(warning 'core/pool.c:10 pool_run+0x1/0x2 [vhost_lite]')" "$ends"
on "and an oops" 1 12928 "$begins" "$(warning "$vmap")" "$ends"
on "a taint that no line explains" 1 12800 "$begins" "$ends"
on "a console that ends early" 1 12288 "$begins" '[   12.0] ------------[ cut here ]------------'
echo "1..$count"
((failed == 0))
