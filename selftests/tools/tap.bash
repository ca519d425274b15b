# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Shared by the tests of vhostlite: runs it, prints TAP. Sourced.

prog=${VHOSTLITE:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/../../tools/vhostlite/vhostlite}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/vhostlite-tools.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
# memory that a program which ends at once does not free is no mistake
export ASAN_OPTIONS=detect_leaks=0 LC_ALL=C
count=0 failed=0
out='' err='' status=0

# The program chooses free descriptors: 3 and up, whatever this shell was started with
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	((fd <= 2)) || eval "exec $fd>&-" 2>/dev/null
done

# A test that runs it otherwise than so sets VIA to the words in front
VIA=()
vhostlite() {
	${VIA[@]+"${VIA[@]}"} "$prog" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
	out=$(<"$tmp/out") err=$(<"$tmp/err")
}

# result STATUS NAME [WANTED]: STATUS 0 is a pass
result() {
	local name=$2

	count=$((count + 1))
	if (($1 == 0)); then
		echo "ok $count - $name"
	else
		failed=$((failed + 1))
		echo "not ok $count - $name"
		printf 'status %s\nstdout: %s\nstderr: %s\nwanted: %s\n' "$status" "$out" "$err" "${3-}" | sed 's/^/# /'
	fi
}

skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

# prints NAME COMMAND-LINE ARGUMENT…: run ARGUMENT… shows exactly COMMAND-LINE and says nothing
prints() {
	local name=$1 want=$2

	shift 2
	vhostlite run "$@"
	[[ $status -eq 0 && $out == "$want" && -z $err ]]
	result $? "$name" "$want"
}

# says NAME STATUS MESSAGE ARGUMENT…: ends with STATUS, one line that holds MESSAGE, no output
says() {
	local name=$1 want=$2 text=$3

	shift 3
	vhostlite "$@"
	[[ $status -eq $want && -z $out && $err == "vhostlite: "*"$text"* && $err != *$'\n'* ]]
	result $? "$name" "status $want, $text"
}

# refuses NAME MESSAGE OPTION…: run --print OPTION… -- qemu is wrong use
refuses() {
	local name=$1 text=$2

	shift 2
	says "$name" 2 "$text" run --print "$@" -- qemu
}

finish() {
	echo "1..$count"
	((failed == 0))
	exit
}
