// SPDX-License-Identifier: GPL-2.0
/*
 * Limits of a disk; see limit.h.
 */
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "bucket.h"
#include "limit.h"
#include "vhl.h"

/*
 * What may go at once of what a rate has for so long.  A queue that wakes up late, and no later
 * than that, makes up for it; and it is how much more than the average goes at first.
 */
#define LIMIT_SLACK_NS		(50 * NSEC_PER_MSEC)

/* The shortest sleep: of a high rate, the requests of that time go together */
#define LIMIT_SLEEP_MIN_NS	NSEC_PER_MSEC

#define LIMIT_DIRS		(VHL_BLK_LIMIT_WRITE + 1)

/**
 * struct limit_rate - a rate
 * @avg: holds a burst,
 * @max: which goes at this rate; without bursts it has none
 */
struct limit_rate {
	struct vhl_bucket avg;
	struct vhl_bucket max;
};

/**
 * struct vhl_blk_limit - limits
 * @on: there are any.  READ_ONCE()
 * @lock: for all that follows
 * @limits: as they were set
 * @epoch: counts how often
 * @iops: in total, of reads, of writes
 * @bps: likewise, of bytes
 * @at: when levels of the buckets were true, in ns
 * @waiting: queues
 */
struct vhl_blk_limit {
	bool on;
	spinlock_t lock;
	struct vhl_blk_limits limits;
	u64 epoch;
	struct limit_rate iops[LIMIT_DIRS];
	struct limit_rate bps[LIMIT_DIRS];
	u64 at;
	struct list_head waiting;
};

/*
 * Rates
 */

static bool rate_ok(const struct vhl_blk_rate *rate)
{
	if (!rate->avg)
		return !rate->max && !rate->length;
	if (rate->avg > VHL_BUCKET_RATE_MAX)
		return false;
	if (!rate->max)
		return !rate->length;
	return rate->max >= rate->avg && rate->max <= VHL_BUCKET_RATE_MAX &&
	       rate->length <= div64_u64(VHL_BUCKET_RATE_MAX, rate->max);
}

/* What a burst has more than the average, which leaks meanwhile: then it lasts as long as was said */
static void rate_init(struct limit_rate *rate, const struct vhl_blk_rate *set)
{
	u64 more = set->max ? (set->max - set->avg) * (set->length ?: 1) : 0;

	vhl_bucket_init(&rate->avg, set->avg, more, LIMIT_SLACK_NS);
	vhl_bucket_init(&rate->max, set->max, 0, LIMIT_SLACK_NS);
}

static void rate_leak(struct limit_rate *rate, u64 ns)
{
	vhl_bucket_leak(&rate->avg, ns);
	vhl_bucket_leak(&rate->max, ns);
}

static u64 rate_wait(const struct limit_rate *rate)
{
	return max(vhl_bucket_wait(&rate->avg), vhl_bucket_wait(&rate->max));
}

static void rate_pour(struct limit_rate *rate, u64 amount)
{
	vhl_bucket_pour(&rate->avg, amount);
	vhl_bucket_pour(&rate->max, amount);
}

static void rate_take_back(struct limit_rate *rate, u64 amount)
{
	vhl_bucket_take_back(&rate->avg, amount);
	vhl_bucket_take_back(&rate->max, amount);
}

/*
 * Limits: of each kind the one in total and that of the direction
 */

static bool limits_ok(const struct vhl_blk_limits *limits)
{
	unsigned int i;

	for (i = 0; i < LIMIT_DIRS; i++)
		if (!rate_ok(&limits->iops[i]) || !rate_ok(&limits->bps[i]))
			return false;
	return limits->iops_size <= VHL_BUCKET_RATE_MAX &&
	       !memchr_inv(limits->reserved, 0, sizeof(limits->reserved));
}

static bool limits_any(const struct vhl_blk_limits *limits)
{
	unsigned int i;

	for (i = 0; i < LIMIT_DIRS; i++)
		if (limits->iops[i].avg || limits->bps[i].avg)
			return true;
	return false;
}

/* Return: now */
static u64 limit_leak(struct vhl_blk_limit *limit)
{
	u64 now = ktime_get_ns();
	unsigned int i;

	lockdep_assert_held(&limit->lock);

	for (i = 0; i < LIMIT_DIRS; i++) {
		rate_leak(&limit->iops[i], now - limit->at);
		rate_leak(&limit->bps[i], now - limit->at);
	}
	limit->at = now;
	return now;
}

static u64 limit_wait(const struct vhl_blk_limit *limit, unsigned int dir)
{
	u64 iops = max(rate_wait(&limit->iops[VHL_BLK_LIMIT_TOTAL]), rate_wait(&limit->iops[dir]));
	u64 bps = max(rate_wait(&limit->bps[VHL_BLK_LIMIT_TOTAL]), rate_wait(&limit->bps[dir]));

	return max(iops, bps);
}

/* Of a request as many as it is times @iops_size, but one at least */
static u64 limit_ops(const struct vhl_blk_limit *limit, u32 bytes)
{
	u64 size = limit->limits.iops_size;

	return size && bytes > size ? div64_u64(bytes * VHL_BUCKET_UNIT, size) : VHL_BUCKET_UNIT;
}

static void limit_pour_bytes(struct vhl_blk_limit *limit, unsigned int dir, u32 bytes)
{
	rate_pour(&limit->bps[VHL_BLK_LIMIT_TOTAL], bytes * VHL_BUCKET_UNIT);
	rate_pour(&limit->bps[dir], bytes * VHL_BUCKET_UNIT);
}

static void limit_pour(struct vhl_blk_limit *limit, unsigned int dir, u32 bytes)
{
	u64 ops = limit_ops(limit, bytes);

	rate_pour(&limit->iops[VHL_BLK_LIMIT_TOTAL], ops);
	rate_pour(&limit->iops[dir], ops);
	limit_pour_bytes(limit, dir, bytes);
}

static void limit_take_back(struct vhl_blk_limit *limit, unsigned int dir, u32 bytes)
{
	u64 ops = limit_ops(limit, bytes);

	rate_take_back(&limit->iops[VHL_BLK_LIMIT_TOTAL], ops);
	rate_take_back(&limit->iops[dir], ops);
	rate_take_back(&limit->bps[VHL_BLK_LIMIT_TOTAL], bytes * VHL_BUCKET_UNIT);
	rate_take_back(&limit->bps[dir], bytes * VHL_BUCKET_UNIT);
}

/*
 * Queues
 */

/* Takes no lock: a kick too many does no harm, and one that has been stopped has no timer any more. */
static enum hrtimer_restart waiter_wake(struct hrtimer *timer)
{
	vhl_vq_kick(container_of(timer, struct vhl_blk_waiter, timer)->vq);
	return HRTIMER_NORESTART;
}

static void waiter_begin(struct vhl_blk_waiter *waiter, u64 now, u64 wait)
{
	wait = max_t(u64, wait, LIMIT_SLEEP_MIN_NS);
	waiter->since = now;
	waiter->until = now + wait;
	list_add_tail(&waiter->node, &waiter->limit->waiting);
	/* not before @until, since the clock goes on meanwhile */
	hrtimer_start(&waiter->timer, ns_to_ktime(wait), HRTIMER_MODE_REL_PINNED_HARD);
}

/* It does not wait any longer, if it did. */
static void waiter_end(struct vhl_blk_waiter *waiter, u64 now)
{
	lockdep_assert_held(&waiter->limit->lock);

	if (list_empty(&waiter->node))
		return;
	list_del_init(&waiter->node);
	WRITE_ONCE(waiter->waits, waiter->waits + 1);
	WRITE_ONCE(waiter->waited_ns, waiter->waited_ns + now - waiter->since);
}

/* What was charged for and did not go. With other limits since, nothing was. Return: was anything? */
static bool waiter_take_back(struct vhl_blk_waiter *waiter)
{
	struct vhl_blk_limit *limit = waiter->limit;
	bool charged = waiter->paid && waiter->epoch == limit->epoch;

	lockdep_assert_held(&limit->lock);

	if (charged)
		limit_take_back(limit, waiter->dir, waiter->bytes);
	waiter->paid = false;
	return charged;
}

/*
 * What was charged counts no longer, and those that wait for it come anew, and wait for no longer
 * than they have to. One that stops leaves the list first, so none of them has stopped.
 */
static void limit_begin_anew(struct vhl_blk_limit *limit, u64 now)
{
	struct vhl_blk_waiter *waiter, *next;

	lockdep_assert_held(&limit->lock);

	list_for_each_entry_safe(waiter, next, &limit->waiting, node) {
		waiter_end(waiter, now);
		waiter_take_back(waiter);
		vhl_vq_kick(waiter->vq);
	}
}

void vhl_blk_waiter_start(struct vhl_blk_waiter *waiter, struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	vhl_hrtimer_setup(&waiter->timer, waiter_wake);
	INIT_LIST_HEAD(&waiter->node);
	waiter->vq = vq;
	waiter->limit = NULL;
	waiter->paid = false;
}

void vhl_blk_waiter_stop(struct vhl_blk_waiter *waiter)
{
	struct vhl_blk_limit *limit = waiter->limit;
	u64 now;

	lockdep_assert_held(&waiter->vq->mutex);

	if (!limit)
		return;
	spin_lock(&limit->lock);
	now = limit_leak(limit);
	waiter_end(waiter, now);
	if (waiter_take_back(waiter))
		limit_begin_anew(limit, now);
	spin_unlock(&limit->lock);
	hrtimer_cancel(&waiter->timer);
	waiter->limit = NULL;
}

bool vhl_blk_limit_waits(struct vhl_blk_limit *limit, struct vhl_blk_waiter *waiter)
{
	bool waits = false;

	lockdep_assert_held(&waiter->vq->mutex);

	if (!waiter->limit)
		return false;
	spin_lock(&limit->lock);
	if (!list_empty(&waiter->node)) {
		u64 now = ktime_get_ns();

		waits = now < waiter->until;
		if (!waits)
			waiter_end(waiter, now);
	}
	spin_unlock(&limit->lock);
	return waits;
}

bool vhl_blk_limit_charge(struct vhl_blk_limit *limit, struct vhl_blk_waiter *waiter,
			  unsigned int dir, u32 bytes)
{
	u64 now, wait = 0;

	lockdep_assert_held(&waiter->vq->mutex);

	waiter->limit = limit;
	spin_lock(&limit->lock);
	/* a driver may have changed what it has made available */
	if (waiter->paid && waiter->epoch == limit->epoch && waiter->dir == dir &&
	    waiter->bytes == bytes)
		goto unlock;
	now = limit_leak(limit);
	if (waiter_take_back(waiter))
		limit_begin_anew(limit, now);
	wait = limit_wait(limit, dir);
	limit_pour(limit, dir, bytes);
	waiter->paid = true;
	waiter->epoch = limit->epoch;
	waiter->dir = dir;
	waiter->bytes = bytes;
	if (wait)
		waiter_begin(waiter, now, wait);
unlock:
	spin_unlock(&limit->lock);
	return !wait;
}

void vhl_blk_limit_add(struct vhl_blk_limit *limit, unsigned int dir, u32 bytes)
{
	spin_lock(&limit->lock);
	limit_leak(limit);
	limit_pour_bytes(limit, dir, bytes);
	spin_unlock(&limit->lock);
}

/*
 * What a client sets
 */

struct vhl_blk_limit *vhl_blk_limit_new(void)
{
	struct vhl_blk_limit *limit = kzalloc(sizeof(*limit), GFP_KERNEL_ACCOUNT);

	if (!limit)
		return NULL;
	spin_lock_init(&limit->lock);
	INIT_LIST_HEAD(&limit->waiting);
	return limit;
}

void vhl_blk_limit_free(struct vhl_blk_limit *limit)
{
	WARN_ON_ONCE(limit && !list_empty(&limit->waiting));
	kfree(limit);
}

bool vhl_blk_limit_is_on(const struct vhl_blk_limit *limit)
{
	return READ_ONCE(limit->on);
}

int vhl_blk_limit_set(struct vhl_blk_limit *limit, const struct vhl_blk_limits *limits)
{
	unsigned int i;
	u64 now;

	if (!limits_ok(limits))
		return -EINVAL;
	spin_lock(&limit->lock);
	now = ktime_get_ns();
	limit->limits = *limits;
	limit->epoch++;
	limit->at = now;
	for (i = 0; i < LIMIT_DIRS; i++) {
		rate_init(&limit->iops[i], &limits->iops[i]);
		rate_init(&limit->bps[i], &limits->bps[i]);
	}
	WRITE_ONCE(limit->on, limits_any(limits));
	limit_begin_anew(limit, now);
	spin_unlock(&limit->lock);
	return 0;
}

void vhl_blk_limit_get(struct vhl_blk_limit *limit, struct vhl_blk_limits *limits)
{
	memset(limits, 0, sizeof(*limits));
	if (!limit)
		return;
	spin_lock(&limit->lock);
	*limits = limit->limits;
	spin_unlock(&limit->lock);
}
