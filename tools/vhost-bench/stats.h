/* SPDX-License-Identifier: GPL-2.0 */
/* Latencies: a histogram whose buckets are 1/32 of their value wide */
#ifndef STATS_H
#define STATS_H

#include <stdint.h>

#define HIST_SUB_BITS	5
#define HIST_SUB	(1U << HIST_SUB_BITS)
#define HIST_BUCKETS	((64 - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
	uint64_t bucket[HIST_BUCKETS];
	uint64_t n, sum, min, max;
};

void hist_add(struct hist *h, uint64_t v);
void hist_merge(struct hist *to, const struct hist *from);

/* hist_percentile() - below which @p percent are; 0 when empty */
uint64_t hist_percentile(const struct hist *h, double p);

/* now_ns() - monotonic time */
uint64_t now_ns(void);

#endif /* STATS_H */
