/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices and virtqueues: what the core keeps of them. A backend's own structures begin with these
 * (vhl.h). It may read, and never changes:
 *
 *   struct vhl_vq   dev, index, and of mutex that it is held
 *   struct vhl_dev  node, id, vqs[]; with mutex held, of which it may ask that, whether there is an
 *                   owner (mm)
 *
 * All else is the core's, and reached by the functions of vhl.h.
 */
#ifndef VHL_VQ_H
#define VHL_VQ_H

#include <linux/hrtimer.h>
#include <linux/llist.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "mem.h"
#include "moderation.h"
#include "ring.h"

struct eventfd_ctx;
struct file;
struct vhl_dev;
struct vhl_dialect;
struct vhl_dirty_log;
struct vhl_node;
struct vhl_pin;
struct vhl_pool;
struct vhl_vq;
struct vhl_claims;
struct vhl_worker;

/* Queues of one device: a disk's 16 (uapi), a network device's pair */
#define VHL_MAX_VQS	16

/* And workers: one for each queue, and as many that a client makes */
#define VHL_MAX_WORKERS	(2 * VHL_MAX_VQS)

/* Feature bits are in so many words; the vhost-vDPA dialect knows the first one alone */
#define VHL_FEATURE_WORDS	2

/* What a queue is; fdinfo prints it */
enum vhl_vq_state {
	VHL_VQ_STOPPED,		/* has no ring */
	VHL_VQ_UNMAPPED,	/* likewise, until the memory map has its ring (again) */
	VHL_VQ_READY,		/* the ring is mapped, the backend has started; no turns yet */
	VHL_VQ_RUNNING,		/* has turns */
	VHL_VQ_BROKEN,		/* the ring is bad: no more turns */
	VHL_VQ_STATES
};

/**
 * struct vhl_poll - runs a queue whenever a file becomes ready
 *
 * Owned by dev->mutex.  The wait entry calls vhl_vq_kick() under the lock of the file's wait
 * queue, but not while that would be of no use: see poll_wake().
 */
struct vhl_poll {
	struct vhl_vq *vq;
	__poll_t events;
	bool is_kick;			/* the file is the kick eventfd: count and trace */
	bool muted;			/* vhl_poll_mute(); vq->mutex, read without it */
	poll_table table;
	wait_queue_entry_t wait;
	wait_queue_head_t *wqh;		/* NULL while stopped */
};

/**
 * struct vhl_call - an eventfd by which the driver is told something
 * @ctx: the eventfd, NULL for none; it was signalled for all that there was to tell
 * @was: the one before it, to be known when it comes back
 * @was_told: so was that one
 */
struct vhl_call {
	struct eventfd_ctx *ctx;
	struct eventfd_ctx *was;
	bool was_told;
};

/*
 * Counters since open, each with one writer at a time; readers may see them in any order.  Their
 * names in fdinfo are in the uapi header.
 */
struct vhl_stats {
	/* kicks: under the eventfd's lock */
	u64 kicks;
	/* the worker */
	u64 wakes;
	u64 polls;
	u64 breaks;
	/* the completing side, under used_lock */
	u64 reqs ____cacheline_aligned_in_smp;
	u64 in;
	u64 out;
	u64 batches;
	u64 calls;
	u64 errors;
};

/* Counters of a device since open: dev->mutex. Their names in fdinfo are in the uapi header */
struct vhl_map_stats {
	u64 updates;
	u64 invalidates;
	u64 waits;			/* of those: for chains that used what goes */
	u64 drains;			/* and for all that a queue had in flight */
};

/* What a queue does between two turns (idle.c) */
enum vhl_rest {
	VHL_AWAKE,		/* it is in a turn, or was stopped */
	VHL_AGAIN,		/* it asked for another turn at once */
	VHL_NAPPING,		/* it wants no kick: a timer gives it a turn */
	VHL_ASLEEP,		/* it wants a kick */
};

/* Translations that a queue wants at a time, at most (miss.c) */
#define VHL_QUESTIONS	16

/* Whether a client knows that a queue wants a translation */
enum vhl_asked {
	VHL_NOT_ASKED,		/* it does not want any */
	VHL_ASKED,		/* not yet */
	VHL_TOLD,		/* it read that */
};

/**
 * struct vhl_question - a translation that a queue wants
 * @addr: of what
 * @perm: for what: VHL_MEM_*
 * @state: of the question
 * @told_at: when the client read it, in jiffies
 */
struct vhl_question {
	u64 addr;
	u32 perm;
	enum vhl_asked state;
	unsigned long told_at;
};

/**
 * struct vhl_share - why a queue is with one worker or the other
 * @until: when that is looked at, in jiffies, as is
 * @since: when it was, for a queue with a worker of its own
 * @rested: ns since then in which it had nothing to do
 * @waited: for a CPU, ns before that
 * @refused_ms: how long it stays at home when there is no CPU for its own
 */
struct vhl_share {
	u64 until;
	u64 since;
	u64 rested;
	u64 waited;
	unsigned int refused_ms;
};

/**
 * struct vhl_vq - a virtqueue
 *
 * Fields before @mutex are set up at open and constant.
 */
struct vhl_vq {
	struct vhl_dev *dev;
	unsigned int index;
	void (*turn)(struct vhl_vq *vq);	/* for the worker, holding nothing */

	struct mutex mutex;

	/* What the client set: dev->mutex */
	u32 num;
	u32 base;			/* vhl_vq_base() */
	bool have_base;
	bool have_addr;
	bool enabled;			/* SET_VRING_ENABLE, where the dialect has that */
	bool ever_started;
	u64 area[VHL_RING_AREAS];	/* addresses: of the owner, IOVAs with vDPA */
	u64 ring_area[VHL_RING_AREAS];	/* likewise, of the last start */
	bool logs_ring;			/* VHOST_VRING_F_LOG, and */
	u64 log_addr;			/* the guest's address of the device area */
	struct file *kick;
	u32 busyloop_us;
	struct vhl_poll kick_poll;
	struct vhl_pin *pins;		/* the mapped ring areas, while started */

	/* The taking side: mutex.  These two are read without it, too */
	enum vhl_vq_state state;
	enum vhl_rest rest;
	struct vhl_ring *ring;		/* while started, also the completing side's */
	struct vhl_segs segs;		/* for the chain that is taken last */
	struct vhl_ring_log ring_log;	/* the ring's, where it logs: used_lock besides */
	struct eventfd_ctx *err;
	u64 poll_ns;			/* of the self-tuning poll */
	u64 slept_at;			/* when it fell asleep or began to nap, in ns */
	struct vhl_moderation moderation;
	struct hrtimer nap;		/* ends a nap */
	enum vhl_woke woke;		/* the timer's while it runs */

	bool misses;			/* the turn ended with a question */
	/* dev->miss_lock: without the answer to the first one it cannot go on */
	struct vhl_question question[VHL_QUESTIONS];
	unsigned int questions;
	bool answered;			/* there were answers that it was not kicked for */

	/* Who gives it its turns: share.c.  Mutex, worker is read without it */
	struct vhl_worker *home;	/* from the first start on, or the client's choice: then it */
	struct vhl_worker *own;		/* is both */
	struct vhl_worker *worker;	/* one of these */
	struct vhl_share share;

	/* The worker's queue */
	struct llist_node work;
	unsigned long flags;		/* bit 0: queued */
	bool yield;			/* a client waits for mutex */
	bool missed;			/* a turn, for who had mutex: vhl_vq_trylock() */

	/* The completing side: used_lock, irq-safe */
	spinlock_t used_lock ____cacheline_aligned_in_smp;
	bool held;			/* publish nothing until vhl_vq_flush() */
	unsigned int unpublished;	/* chains pushed since */
	struct vhl_call call;
	bool marked;			/* bits were set: read and cleared under the lock */
	struct eventfd_ctx *log_call;	/* the device's */
	wait_queue_head_t drained;
	bool awaited;			/* a client waits for what is in flight: READ_ONCE() */
	struct vhl_claims *claims;	/* mutex besides; NULL where segs has no regions */

	struct vhl_stats stats;
};

/**
 * struct vhl_dev - an open node
 */
struct vhl_dev {
	struct vhl_node *node;
	u64 id;				/* unique among all devices since the module was loaded */
	struct mutex mutex;

	/* dev->mutex */
	const struct vhl_dialect *dialect;	/* the node's; changes once where that is open */
	struct mm_struct *mm;		/* of the owner, pinned by mm_count; NULL without owner */
	struct pid *owner;		/* for fdinfo and names of threads */
	bool fork_from_owner;		/* threads are the owner's, else the kernel's */
	u64 features[VHL_FEATURE_WORDS];	/* acknowledged */
	u64 backend_features;
	struct vhl_mem mem;		/* umem.c says how it changes */
	struct vhl_mem table;		/* while @mem is of IOVAs: what SET_MEM_TABLE said */
	struct vhl_dirty_log *dirty;	/* changed with all vq->mutex held and nothing in flight */
	struct vhl_bases *bases;		/* where queues stop, for the owner; dev->mutex */
	unsigned long log_charged;	/* pages of locked memory that it is charged for */
	struct eventfd_ctx *log_call;	/* VHOST_SET_LOG_FD */
	u8 status;			/* vDPA: device status (virtio 1.2, section 2.1) */
	bool suspended;			/* vDPA */
	bool in_batch;			/* memory is being changed, no turns; with all vq->mutex */
	struct vhl_map_stats map_stats;
	wait_queue_head_t unclaimed;	/* for regions that no chain in flight uses any more */

	/* Translations that queues ask for: miss_lock */
	spinlock_t miss_lock;
	wait_queue_head_t miss_wait;
	unsigned int miss_last;		/* the queue whose question was read last */

	/* vDPA: config_lock; needs_reset is read without it */
	spinlock_t config_lock;
	struct vhl_call config_call;
	bool config_changed;		/* since the device was opened */
	bool needs_reset;		/* a queue broke */

	/* the first one from SET_OWNER on, others of queues, then those that the client made */
	struct vhl_worker *workers[VHL_MAX_WORKERS];
	struct vhl_pool *pool;		/* since a queue first started */
	struct vhl_vq *vqs[VHL_MAX_VQS];
};

#endif /* VHL_VQ_H */
