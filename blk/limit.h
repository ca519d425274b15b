/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_blklite: the limits of a disk (VHL_BLK_SET_LIMITS), and queues that wait for them.
 *
 * A set of limits is an object of its own and knows nothing of who made it: it only has to outlive
 * the queues that use it.  All of them share its buckets (bucket.h), under a lock that is taken
 * for nothing else.
 *
 * A request is charged when the queue comes to it, whether it may go or not.  If it may not, the
 * queue gives its chain back and sleeps until its time has come: what is charged for others after
 * it comes after it, so queues have their turns in the order in which they asked, and none of them
 * looks at the buckets in vain.  In a ring all waits for the chain that is its first: the order of
 * the ring is kept, also where a read that could go stands behind a write that cannot.
 *
 *	a chain -> vhl_blk_limit_charge() -> true: it is handled -> vhl_blk_limit_passed()
 *			^			  -> false: it is given back, the turn ends
 *			|					 |
 *	the same chain, paid for <- kick by the timer, or as limits are set anew
 */
#ifndef VHL_BLK_LIMIT_H
#define VHL_BLK_LIMIT_H

#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/vhost_lite.h>

struct vhl_blk_limit;
struct vhl_vq;

/**
 * struct vhl_blk_waiter - what a queue has to do with limits
 * @timer: kicks the queue when its time has come
 * @vq: the queue
 * @limit: that has charged a request, or NULL.  The turn's, as are the next four
 * @paid: the request at the head of the ring is charged for,
 * @epoch: by the limits as they were then,
 * @dir: as VHL_BLK_LIMIT_READ or _WRITE
 * @bytes: of so many
 * @node: of those that wait.  The lock of @limit, as all that follows
 * @since: when it began to wait, in ns
 * @until: it waits, in ns
 * @waits: how often it has waited; READ_ONCE(), as the next one
 * @waited_ns: how long
 */
struct vhl_blk_waiter {
	struct hrtimer timer;
	struct vhl_vq *vq;
	struct vhl_blk_limit *limit;
	bool paid;
	u64 epoch;
	unsigned int dir;
	u32 bytes;
	struct list_head node;
	u64 since;
	u64 until;
	u64 waits;
	u64 waited_ns;
};

/* Limits that limit nothing, or NULL for want of memory. Context: process */
struct vhl_blk_limit *vhl_blk_limit_new(void);
/* No queue uses it any more. NULL is fine */
void vhl_blk_limit_free(struct vhl_blk_limit *limit);

/**
 * vhl_blk_limit_set() - replace limits
 * @limit: where
 * @limits: what a client wants
 *
 * Buckets are empty then, and queues that wait are kicked: they begin anew.
 *
 * Context: process.
 * Return: 0; -EINVAL as VHL_BLK_SET_LIMITS has it, and nothing is changed.
 */
int __must_check vhl_blk_limit_set(struct vhl_blk_limit *limit, const struct vhl_blk_limits *limits);
/* What was set; nothing for NULL. Context: process */
void vhl_blk_limit_get(struct vhl_blk_limit *limit, struct vhl_blk_limits *limits);

/* Does it limit anything? Context: any */
bool vhl_blk_limit_is_on(const struct vhl_blk_limit *limit);

/* A queue starts. Context: holding vq->mutex */
void vhl_blk_waiter_start(struct vhl_blk_waiter *waiter, struct vhl_vq *vq);
/* It stops, and waits no longer: what its next request was charged is given back. Context: same */
void vhl_blk_waiter_stop(struct vhl_blk_waiter *waiter);

/* For a turn that begins: does the queue wait, and will be kicked? Context: ->run() */
bool vhl_blk_limit_waits(struct vhl_blk_limit *limit, struct vhl_blk_waiter *waiter);

/**
 * vhl_blk_limit_charge() - charge for a request
 * @limit: the limits
 * @waiter: of the queue, which does not wait
 * @dir: VHL_BLK_LIMIT_READ or _WRITE
 * @bytes: read or written
 *
 * Once for a request: one that is charged for and given back may come again.
 *
 * Context: ->run().
 * Return: true to go on with it; false where the queue has to wait, and will be kicked.
 */
bool __must_check vhl_blk_limit_charge(struct vhl_blk_limit *limit, struct vhl_blk_waiter *waiter,
				       unsigned int dir, u32 bytes);
/* The request went on its way: the next one is to be charged for. Context: ->run() */
static inline void vhl_blk_limit_passed(struct vhl_blk_waiter *waiter)
{
	waiter->paid = false;
}

/* Bytes of a request that nothing was known of when it was charged for. Context: process */
void vhl_blk_limit_add(struct vhl_blk_limit *limit, unsigned int dir, u32 bytes);

#endif /* VHL_BLK_LIMIT_H */
