#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The files of the core call each other in one direction: what an object wants of another one, as
# a graph, has no loop. The objects are those of the last build of the modules.
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
cd "$here/../.." || exit 1

echo "TAP version 13"
shopt -s nullglob
objects=()
for source in vhost_core.c core/*.c compat/*.c; do
	[[ ! -e ${source%.c}.o ]] || objects+=("${source%.c}.o")
done
((${#objects[@]})) || {
	echo "1..0 # SKIP the modules are not built here"
	exit 0
}

declare -A home=()
for object in "${objects[@]}"; do
	while read -r _ _ symbol; do
		home[$symbol]=$object
	done < <(nm --defined-only --extern-only "$object")
done
loops=$(for object in "${objects[@]}"; do
	while read -r _ symbol; do
		[[ -z ${home[$symbol]-} ]] || echo "$object ${home[$symbol]}"
	done < <(nm --undefined-only "$object")
done | sort -u | tsort 2>&1 >/dev/null)
if [[ -z $loops ]]; then
	echo "ok 1 - no circle among ${#objects[@]} files of the core"
else
	echo "not ok 1 - no circle among ${#objects[@]} files of the core"
	# tsort names the members of each loop
	sed 's/^/# /' <<<"$loops"
fi
echo "1..1"
[[ -z $loops ]]
