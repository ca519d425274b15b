# SPDX-License-Identifier: GPL-2.0
# Counts the results of a stream of TAP documents.  Prints "PASSED FAILED SKIPPED"; what failed,
# and what was skipped and why, goes to standard error.
#
# A document whose results do not add up to its plan has one more failure: a program that died
# half way must not look like one that passed.

function finish() {
	if (results != planned || (results && !plan)) {
		printf "not ok - %s: %d results, %d planned\n", suite, results, planned > "/dev/stderr"
		failed++
	}
	results = planned = plan = 0
}

function verdict(line) {
	sub(/\r$/, "", line)
	return line
}

{ line = verdict($0) }

line ~ /^TAP version/ {
	if (plan || results)
		finish()
	next
}

line ~ /^1\.\.[0-9]+/ {
	if (plan)
		finish()
	planned = substr(line, 4) + 0
	plan = 1
	if (!planned) {
		printf "# %s: %s\n", suite, line > "/dev/stderr"
		# all of it, and why
		if (toupper(line) ~ /# *SKIP/)
			skipped++
	}
	next
}

line ~ /^ok( |$)/ {
	results++
	if (toupper(line) ~ /# *SKIP/) {
		skipped++
		printf "# %s: %s\n", suite, line > "/dev/stderr"
	} else {
		passed++
	}
	next
}

line ~ /^not ok( |$)/ {
	results++
	failed++
	printf "%s: %s\n", suite, line > "/dev/stderr"
	next
}

line ~ /^Bail out!/ {
	failed++
	printf "%s: %s\n", suite, line > "/dev/stderr"
	next
}

END {
	finish()
	print passed + 0, failed + 0, skipped + 0
}
