// SPDX-License-Identifier: GPL-2.0
/*
 * Leaky buckets; see bucket.h.
 */
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#include "bucket.h"

#define BUCKET_MS	1000000ULL

void vhl_bucket_init(struct vhl_bucket *bucket, u64 rate, u64 units, u64 ns)
{
	u64 ms = rate ? div64_u64(units * 1000, rate) : 0;

	ms = min_t(u64, ms, VHL_BUCKET_NS_MAX / BUCKET_MS);
	*bucket = (struct vhl_bucket){
		.rate	= rate,
		.room	= min_t(u64, ms * BUCKET_MS + ns, VHL_BUCKET_NS_MAX),
	};
}

void vhl_bucket_leak(struct vhl_bucket *bucket, u64 ns)
{
	if (bucket->level >= ns) {
		bucket->level -= ns;
		return;
	}
	bucket->level = 0;
	bucket->rest = 0;
}

u64 vhl_bucket_wait(const struct vhl_bucket *bucket)
{
	return bucket->level > bucket->room ? bucket->level - bucket->room : 0;
}

/* Both are 0 where there is no rate */
static u64 bucket_ns(const struct vhl_bucket *bucket, u64 amount, u64 *rest)
{
	*rest = 0;
	/* a billionth of a unit takes a ns at a rate of one */
	return bucket->rate ? div64_u64_rem(amount, bucket->rate, rest) : 0;
}

void vhl_bucket_pour(struct vhl_bucket *bucket, u64 amount)
{
	u64 rest, ns = bucket_ns(bucket, amount, &rest);

	bucket->rest += rest;
	if (bucket->rest && bucket->rest >= bucket->rate) {
		bucket->rest -= bucket->rate;
		ns++;
	}
	bucket->level = min_t(u64, bucket->level + ns, VHL_BUCKET_NS_MAX);
}

void vhl_bucket_take_back(struct vhl_bucket *bucket, u64 amount)
{
	u64 rest, ns = bucket_ns(bucket, amount, &rest);

	if (bucket->rest < rest) {
		bucket->rest += bucket->rate;
		ns++;
	}
	bucket->rest -= rest;
	vhl_bucket_leak(bucket, ns);
}
