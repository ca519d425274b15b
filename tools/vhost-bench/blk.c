// SPDX-License-Identifier: GPL-2.0
/* Block cases */
#include "bench.h"

int blk_case(struct bench *b)
{
	return bench_fail(b, "%s: not there yet", b->opt->name);
}
