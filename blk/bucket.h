/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_blklite: leaky buckets, which hold a stream to a rate.
 *
 * What goes is poured into a bucket that leaks at the rate, and something may go as long as the
 * bucket is not over its brim.  It goes as a whole, however much it is: what the bucket cannot
 * hold is a debt, that others wait for.  So any size works, and in the long run as much goes as
 * leaks.
 *
 * All is counted in the time that it takes to leak, ns, with the rest of each division: nothing is
 * lost by rounding.  There is no clock and no lock in here; it is also compiled in userspace
 * (selftests/ring).
 */
#ifndef VHL_BLK_BUCKET_H
#define VHL_BLK_BUCKET_H

#include <linux/types.h>

/* Rates, units a second, and what a bucket may be made to hold: so that no product overflows */
#define VHL_BUCKET_RATE_MAX	1000000000000000ULL

/*
 * What is poured in is counted in billionths of a unit, so that there can be parts of one, 32 bits
 * of units at once
 */
#define VHL_BUCKET_UNIT		1000000000ULL

/* ns: a level does not rise above that, nor can there be more room: a century, if nothing else helps */
#define VHL_BUCKET_NS_MAX	(1ULL << 62)

/**
 * struct vhl_bucket - a bucket
 * @rate: units a second that leak; 0 for a bucket that holds nobody up
 * @room: up to the brim
 * @level: what is in it
 * @rest: and parts of a ns: of @rate
 */
struct vhl_bucket {
	u64 rate;
	u64 room;
	u64 level;
	u64 rest;
};

/**
 * vhl_bucket_init() - make an empty one
 * @bucket: the bucket
 * @rate: units a second, at most VHL_BUCKET_RATE_MAX
 * @units: room for so many, at most VHL_BUCKET_RATE_MAX; to the millisecond,
 * @ns: and for so much more, at most VHL_BUCKET_NS_MAX
 */
void vhl_bucket_init(struct vhl_bucket *bucket, u64 rate, u64 units, u64 ns);

/* So much time has passed */
void vhl_bucket_leak(struct vhl_bucket *bucket, u64 ns);

/* How long, if nothing is poured in, until it is not over its brim; 0: it is not */
u64 vhl_bucket_wait(const struct vhl_bucket *bucket);

/* Pour something in, whatever is in there already; or take back what was, as far as it has not leaked */
void vhl_bucket_pour(struct vhl_bucket *bucket, u64 amount);
void vhl_bucket_take_back(struct vhl_bucket *bucket, u64 amount);

#endif /* VHL_BLK_BUCKET_H */
