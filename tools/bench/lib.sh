# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Shared by the parts of the benchmark that run in the test host: the table of cases, progress, where results go.
# Sourced. BENCH_OUT is the directory of the results of this track.
# shellcheck disable=SC2034 # used by the scripts that source this
#
# Below it, for every case a directory with
#   CONTENDER.jsonl      {"round":N,"result":OBJECT}, a line for every round
#   CONTENDER.N.json     what fio or iperf3 said in round N
#   CONTENDER.skip       why there is nothing of this contender
#   complete             the last round that all contenders have had (tracks guest and guests)

BENCH_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
BENCH_SRC=$(dirname "$(dirname "$BENCH_DIR")")
: "${BENCH_OUT:?}" "${BENCH_ROUNDS:=11}" "${BENCH_DIVIDE:=1}" "${BENCH_SET:=default}" "${BENCH_ONLY:=}"

# field N LINE: a field of a line of the table, without the blanks around it
field() {
	local parts part

	IFS='|' read -r -a parts <<<"$2"
	part=${parts[$1]-}
	part=${part#"${part%%[![:space:]]*}"}
	printf '%s' "${part%"${part##*[![:space:]]}"}"
}

# cases_of TRACK: lines of the table that are to be measured
cases_of() {
	local line name

	while IFS= read -r line; do
		[[ $line == *'|'* && $line != '#'* && " $(field 2 "$line") " == *" $1 "* ]] || continue
		name=$(field 0 "$line")
		if [[ -n $BENCH_ONLY ]]; then
			[[ " $BENCH_ONLY " == *" $name "* ]] || continue
		else
			[[ $BENCH_SET == full || $(field 1 "$line") == default ]] || continue
		fi
		printf '%s\n' "$line"
	done <"$BENCH_DIR/cases"
}

# argument NAME WORD…: the value of NAME=VALUE among the words
argument() {
	local name=$1 word

	shift
	for word; do
		[[ $word != "$name="* ]] || printf '%s' "${word#*=}"
	done
}

# skip CASE CONTENDER REASON
skip() {
	printf '%s\n' "$3" >"$BENCH_OUT/$1/$2.skip"
	printf '    %s: SKIP %s\n' "$2" "$3"
}

# progress K N TEXT: which case begins; tools/bench/run adds the time, which may be virtual here
progress() {
	printf '@%d %d %s\n' "$@"
}
