#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: idle.sh
#
# The track of devices that do nothing, to be run in the test host by tools/bench/run, which sets BENCH_*. Arguments of a
# case: devices=, seconds=, for disks queues=.
set -u
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
ROUNDS=2
declare -A NODE=([netlite]=/dev/vhost-netlite [vhost-net]=/dev/vhost-net
	[blklite]=/dev/vhost-blklite [vdpa-blklite]=/dev/vdpa-blklite)
err=$(mktemp)

modprobe -a tun tap vhost_net vhost_iotlb
for module in vhost_lite vhost-netlite vhost-blklite; do
	insmod "$BENCH_SRC/$module.ko" || exit 1
done
# the TAPs are the tests' own
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
mkdir -p "$BENCH_OUT"
echo "kernel=$(uname -r)" >"$BENCH_OUT/environment"
mapfile -t lines < <(cases_of idle)
for ((k = 0; k < ${#lines[@]}; k++)); do
	name=$(field 0 "${lines[k]}")
	read -r -a contenders <<<"$(field 3 "${lines[k]}")"
	read -r -a words <<<"$(field 5 "${lines[k]}")"
	progress $((k + 1)) ${#lines[@]} "$name: ${contenders[*]}"
	mkdir -p "$BENCH_OUT/$name"
	# round 0 is a short one that fills what the kernel keeps for the next time
	for ((round = 0; round <= ROUNDS; round++)); do
		for who in "${contenders[@]}"; do
			command=("$BENCH_DIR/idle-devices" "${NODE[$who]}" "$(argument devices "${words[@]}")" "$(argument seconds "${words[@]}")")
			queues=$(argument queues "${words[@]}")
			[[ -z $queues ]] || command+=("$queues")
			((round)) || command[2]=20 command[3]=1
			if ! result=$("${command[@]}" 2>"$err"); then
				skip "$name" "$who" "$(tail -n 1 "$err")"
			elif ((round)); then
				printf '{"round":%d,"result":%s}\n' "$round" "$result" >>"$BENCH_OUT/$name/$who.jsonl"
				echo "${command[*]}" >"$BENCH_OUT/$name/$who.command"
			fi
		done
	done
done
