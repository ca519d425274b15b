// SPDX-License-Identifier: GPL-2.0
/*
 * Direct writes of parts of the storage's blocks, where the driver sees smaller ones.
 *
 * Such a block is read, changed and written back (bounce.c), and what another request wrote to it
 * meanwhile would be lost. So *parts* stand in line, on a list of the disk in the order in which
 * they were taken, and each waits for all in front of it that touch its blocks. No thread sleeps
 * for that: a request that leaves the line sends the next ones to the lane.
 *
 * Writes of whole blocks need not wait for each other, and they are the ones that have to be fast.
 * They are only counted, by the stretch of the disk that they are in. A part marks its stretches
 * when it gets in line, and waits until nothing is counted there; a whole write that finds a mark
 * gets in line, too. Count and mark are in the same word, so one of the two sees the other.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "blk.h"

/* Bytes of a stretch: as much as most writes have at most */
#define VHL_BLK_STRETCH_SHIFT	ilog2(SZ_1M)

/* Stretches with a counter of their own; so many megabytes further on they begin again */
#define VHL_BLK_STRETCHES	64U

/* The mark; the bits below count. All queues have less in flight than that. */
#define VHL_BLK_MARK		BIT(30)

static_assert(VHL_BLK_MAX_QUEUES * U16_MAX < VHL_BLK_MARK);

/* @users: whole writes that are under way, and VHL_BLK_MARK */
struct vhl_blk_stretch {
	atomic_t users;
} ____cacheline_aligned_in_smp;

/**
 * struct vhl_blk_edges - of a disk
 * @lock: irq-safe, for all but the counters
 * @line: requests, by vhl_blk_req.turn
 * @starting: a thread looks for requests whose turn it is, and will look once more
 * @parts: in line, by stretch; it is marked where there are any
 * @stretch: the counters
 */
struct vhl_blk_edges {
	spinlock_t lock;
	struct list_head line;
	bool starting;
	unsigned int parts[VHL_BLK_STRETCHES];
	struct vhl_blk_stretch stretch[VHL_BLK_STRETCHES];
};

/* The stretches of a request: @num of them from @first on, then the first one again */
struct vhl_blk_span {
	u64 first;
	unsigned int num;
};

static struct vhl_blk_span edge_span(const struct vhl_blk_req *req)
{
	u64 first = req->pos >> VHL_BLK_STRETCH_SHIFT;
	u64 last = (req->pos + req->len - 1) >> VHL_BLK_STRETCH_SHIFT;

	/* blocks are smaller and do not cross their borders */
	return (struct vhl_blk_span){
		.first = first,
		.num = min_t(u64, last - first + 1, VHL_BLK_STRETCHES),
	};
}

static unsigned int edge_stretch(const struct vhl_blk_span *span, unsigned int i)
{
	return (span->first + i) % VHL_BLK_STRETCHES;
}

/* Do they have blocks in common? */
static bool edge_overlap(const struct vhl_blk_req *a, const struct vhl_blk_req *b)
{
	loff_t block = a->q->disk->len_mask + 1;

	return round_down(a->pos, block) < round_up(b->pos + b->len, block) &&
	       round_down(b->pos, block) < round_up(a->pos + a->len, block);
}

/* No blocks of it are in front of it in line, and for a part no whole writes are under way there */
static bool edge_may_start(struct vhl_blk_edges *edges, const struct vhl_blk_req *req)
{
	struct vhl_blk_span span = edge_span(req);
	unsigned int i;

	if (req->edge & VHL_BLK_EDGE_STARTED || req->blockers)
		return false;
	for (i = 0; req->edge & VHL_BLK_EDGE_PART && i < span.num; i++) {
		if (atomic_read(&edges->stretch[edge_stretch(&span, i)].users) != VHL_BLK_MARK)
			return false;
	}
	return true;
}

static struct vhl_blk_req *edge_next_start(struct vhl_blk_edges *edges)
{
	struct vhl_blk_req *req;

	lockdep_assert_held(&edges->lock);

	list_for_each_entry(req, &edges->line, turn) {
		if (edge_may_start(edges, req))
			return req;
	}
	return NULL;
}

/*
 * Send those to the lane whose turn it is. One thread at a time does that: a request of a dead
 * owner is finished on the spot, which leads here again. @own, the caller's if it is not certain to
 * be in flight until the end, is sent last: with it the disk may go.
 */
static void edge_start_turns(struct vhl_blk_edges *edges, const struct vhl_blk_req *own)
{
	struct vhl_blk_req *req, *last = NULL;
	unsigned long flags;

	spin_lock_irqsave(&edges->lock, flags);
	if (edges->starting) {
		spin_unlock_irqrestore(&edges->lock, flags);
		return;
	}
	edges->starting = true;
	while ((req = edge_next_start(edges))) {
		req->edge |= VHL_BLK_EDGE_STARTED;
		if (req == own) {
			last = req;
			continue;
		}
		spin_unlock_irqrestore(&edges->lock, flags);
		vhl_blk_to_lane(req, req->job.run);
		spin_lock_irqsave(&edges->lock, flags);
	}
	edges->starting = false;
	spin_unlock_irqrestore(&edges->lock, flags);
	if (last)
		vhl_blk_to_lane(last, last->job.run);
}

static void edge_uncount(struct vhl_blk_edges *edges, const struct vhl_blk_span *span,
			 unsigned int num)
{
	bool awaited = false;
	unsigned int i;

	for (i = 0; i < num; i++) {
		struct vhl_blk_stretch *s = &edges->stretch[edge_stretch(span, i)];

		if (atomic_dec_return(&s->users) == VHL_BLK_MARK)
			awaited = true;
	}
	if (unlikely(awaited))
		edge_start_turns(edges, NULL);
}

/* Return: false, and nothing is counted, if there are parts. */
static bool edge_count(struct vhl_blk_edges *edges, const struct vhl_blk_span *span)
{
	unsigned int i;

	for (i = 0; i < span->num; i++) {
		struct vhl_blk_stretch *s = &edges->stretch[edge_stretch(span, i)];

		if (unlikely(atomic_inc_return(&s->users) & VHL_BLK_MARK)) {
			edge_uncount(edges, span, i + 1);
			return false;
		}
	}
	return true;
}

static void edge_mark(struct vhl_blk_edges *edges, const struct vhl_blk_span *span)
{
	unsigned int i, k;

	lockdep_assert_held(&edges->lock);

	for (i = 0; i < span->num; i++) {
		k = edge_stretch(span, i);
		if (!edges->parts[k]++)
			atomic_or(VHL_BLK_MARK, &edges->stretch[k].users);
	}
}

static void edge_unmark(struct vhl_blk_edges *edges, const struct vhl_blk_span *span)
{
	unsigned int i, k;

	lockdep_assert_held(&edges->lock);

	for (i = 0; i < span->num; i++) {
		k = edge_stretch(span, i);
		if (!--edges->parts[k])
			atomic_andnot(VHL_BLK_MARK, &edges->stretch[k].users);
	}
}

static void edge_line_up(struct vhl_blk_edges *edges, struct vhl_blk_req *req,
			 const struct vhl_blk_span *span)
{
	const struct vhl_blk_req *other;
	unsigned long flags;

	vhl_blk_lane_enter(req);
	spin_lock_irqsave(&edges->lock, flags);
	req->blockers = 0;
	list_for_each_entry(other, &edges->line, turn)
		req->blockers += edge_overlap(other, req);
	list_add_tail(&req->turn, &edges->line);
	if (req->edge & VHL_BLK_EDGE_PART)
		edge_mark(edges, span);
	spin_unlock_irqrestore(&edges->lock, flags);
	edge_start_turns(edges, req);
}

bool vhl_blk_edge_begin(struct vhl_blk_req *req, vhl_blk_lane_fn *fn)
{
	struct vhl_blk_edges *edges = req->q->disk->edges;
	bool whole = vhl_blk_is_whole(req);
	struct vhl_blk_span span;

	if (!edges || !req->write)
		return true;
	span = edge_span(req);
	if (likely(whole) && likely(edge_count(edges, &span))) {
		req->edge = VHL_BLK_EDGE_COUNTED;
		return true;
	}
	req->job.run = fn;
	req->edge = VHL_BLK_EDGE_IN_LINE | (whole ? 0 : VHL_BLK_EDGE_PART);
	edge_line_up(edges, req, &span);
	return false;
}

static void edge_leave_line(struct vhl_blk_edges *edges, struct vhl_blk_req *req,
			    const struct vhl_blk_span *span)
{
	struct vhl_blk_req *other = req;
	unsigned long flags;

	spin_lock_irqsave(&edges->lock, flags);
	list_for_each_entry_continue(other, &edges->line, turn)
		other->blockers -= edge_overlap(req, other);
	list_del(&req->turn);
	if (req->edge & VHL_BLK_EDGE_PART)
		edge_unmark(edges, span);
	spin_unlock_irqrestore(&edges->lock, flags);
	edge_start_turns(edges, NULL);
}

void vhl_blk_edge_end(struct vhl_blk_req *req)
{
	struct vhl_blk_edges *edges = req->q->disk->edges;
	struct vhl_blk_span span;

	if (!req->edge)
		return;
	span = edge_span(req);
	if (req->edge & VHL_BLK_EDGE_COUNTED)
		edge_uncount(edges, &span, span.num);
	else
		edge_leave_line(edges, req, &span);
	req->edge = 0;
}

int vhl_blk_edges_init(struct vhl_blk_disk *disk)
{
	struct vhl_blk_edges *edges;

	edges = kzalloc(sizeof(*edges), GFP_KERNEL_ACCOUNT);
	if (!edges)
		return -ENOMEM;
	spin_lock_init(&edges->lock);
	INIT_LIST_HEAD(&edges->line);
	disk->edges = edges;
	return 0;
}

/* Nothing is in flight. */
void vhl_blk_edges_free(struct vhl_blk_disk *disk)
{
	kfree(disk->edges);
}
