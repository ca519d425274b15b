// SPDX-License-Identifier: GPL-2.0
/* Latencies.  See stats.h */
#include <time.h>

#include "stats.h"

/* Values below HIST_SUB have a bucket each; above, every power of two has HIST_SUB of them */
static unsigned int bucket_of(uint64_t v)
{
	unsigned int shift;

	if (v < HIST_SUB)
		return v;
	shift = 63 - __builtin_clzll(v) - HIST_SUB_BITS;
	return (shift + 1) * HIST_SUB + (v >> shift) - HIST_SUB;
}

/* The largest value in a bucket */
static uint64_t bucket_top(unsigned int b)
{
	unsigned int shift;

	if (b < HIST_SUB)
		return b;
	shift = b / HIST_SUB - 1;
	return ((uint64_t)(b % HIST_SUB + HIST_SUB + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t v)
{
	h->bucket[bucket_of(v)]++;
	if (!h->n || v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->n++;
	h->sum += v;
}

void hist_merge(struct hist *to, const struct hist *from)
{
	if (!from->n)
		return;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
	if (!to->n || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->n += from->n;
	to->sum += from->sum;
}

uint64_t hist_percentile(const struct hist *h, double p)
{
	uint64_t want = h->n * p / 100, seen = 0;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen && seen >= want) {
			uint64_t top = bucket_top(i);

			return top < h->max ? top : h->max;
		}
	}
	return h->max;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}
