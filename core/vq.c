// SPDX-License-Identifier: GPL-2.0
/*
 * A virtqueue: start, stop, turns of its worker, completions.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include "internal.h"
#include "trace.h"

/*
 * Segments of a chain that a queue can hold at first. Linux drivers use some twenty for a packet;
 * requests of a disk that have more are long: the time to allocate more once does not count.
 */
#define VHL_VQ_SEGS_MIN		32

const char *vhl_vq_state_name(const struct vhl_vq *vq)
{
	static const char * const names[VHL_VQ_STATES] = {
		[VHL_VQ_STOPPED]	= "stopped",
		[VHL_VQ_UNMAPPED]	= "unmapped",
		[VHL_VQ_READY]		= "ready",
		[VHL_VQ_RUNNING]	= "running",
		[VHL_VQ_BROKEN]		= "broken",
	};

	return names[READ_ONCE(vq->state)];
}

/* Return: false, and the state is as before, where that is no transition. */
static bool vq_become(struct vhl_vq *vq, enum vhl_vq_state state)
{
	lockdep_assert_held(&vq->mutex);

	if (WARN_ON_ONCE(!vhl_vq_may_become(vq->state, state)))
		return false;
	WRITE_ONCE(vq->state, state);
	return true;
}

bool vhl_vq_is_drained(struct vhl_vq *vq)
{
	bool drained;

	/*
	 * The lock also waits for the last completion to leave the queue: once nothing is seen in
	 * flight, it may be freed.
	 */
	spin_lock_irq(&vq->used_lock);
	drained = !vhl_ring_inflight(vq->ring);
	spin_unlock_irq(&vq->used_lock);
	return drained;
}

/* Both sides are moving: it may be off by what is completed meanwhile */
unsigned int vhl_vq_inflight(const struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	return vhl_ring_inflight(vq->ring);
}
EXPORT_SYMBOL_GPL(vhl_vq_inflight);

/* The mutex keeps the worker from taking more */
static void vq_wait_for_chains(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	WRITE_ONCE(vq->awaited, true);
	wait_event(vq->drained, vhl_vq_is_drained(vq));
	WRITE_ONCE(vq->awaited, false);
}

/* Wait for the chains in flight, if there can be any */
void vhl_vq_drain(struct vhl_vq *vq)
{
	if (vhl_vq_started(vq))
		vq_wait_for_chains(vq);
}

void vhl_lock_drained_vqs(struct vhl_dev *dev)
{
	unsigned int i;

	vhl_lock_vqs(dev);
	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_drain(dev->vqs[i]);
}

static int vq_start_backend(struct vhl_vq *vq)
{
	const struct vhl_ops *ops = vq->dev->node->ops;

	return ops->start ? ops->start(vq) : 0;
}

static void vq_stop_backend(struct vhl_vq *vq)
{
	const struct vhl_ops *ops = vq->dev->node->ops;

	if (ops->stop)
		ops->stop(vq);
}

static int vq_prepare(struct vhl_vq *vq)
{
	struct vhl_dev *dev = vq->dev;
	struct vhl_ring_cfg cfg = {
		.features	= dev->features[0],
		.num		= vq->num,
		.base		= vhl_vq_base(vq),
		.mem		= &dev->mem,
		.reads		= dev->node->reads & BIT(vq->index),
	};
	struct vhl_ring *ring;
	int ret;

	if (!vq->have_addr || !vhl_ring_cfg_ok(cfg.features, cfg.num, cfg.base, vq->area))
		return -EINVAL;
	memcpy(vq->ring_area, vq->area, sizeof(vq->ring_area));
	if (!vhl_vq_log_ok(vq, dev->dirty, vhl_guest_map(dev)))
		return -EFAULT;
	ret = vhl_workers_get(vq);
	if (ret)
		return ret;
	ret = vhl_pool_start(dev);
	if (ret)
		return ret;
	cfg.node = vhl_vq_node(vq);
	ret = vhl_segs_alloc(&vq->segs, VHL_VQ_SEGS_MIN, vhl_has_feature(dev, VHOST_F_LOG_ALL),
			     cfg.node);
	if (ret)
		return ret;
	cfg.segs = vq->segs;
	cfg.log = vhl_vq_ring_log(vq);
	ret = vhl_pin_ring(vq, &cfg);
	if (ret)
		goto free_segs;
	ring = vhl_ring_new(&cfg);
	if (!ring) {
		ret = -ENOMEM;
		goto unpin_ring;
	}

	vhl_vq_lock(vq);
	spin_lock_irq(&vq->used_lock);
	vq->ring = ring;
	vq->held = false;
	vq->unpublished = 0;
	spin_unlock_irq(&vq->used_lock);
	ret = vq_start_backend(vq);
	vhl_vq_unlock(vq);
	if (ret)
		goto free_ring;
	if (vq->kick) {
		vq->kick_poll.is_kick = true;
		ret = vhl_poll_start(&vq->kick_poll, vq, vq->kick, EPOLLIN);
		if (ret)
			goto stop_backend;
	}
	vhl_vq_lock(vq);
	vq_become(vq, VHL_VQ_READY);
	vhl_vq_unlock(vq);
	return 0;

stop_backend:
	vhl_vq_lock(vq);
	vq_stop_backend(vq);
	vhl_vq_unlock(vq);
free_ring:
	vq->ring = NULL;
	vhl_ring_free(ring);
unpin_ring:
	vhl_unpin_ring(vq);
free_segs:
	vhl_segs_free(&vq->segs);
	return ret;
}

/*
 * All of a start that can fail. The queue counts as started, but has no turns yet; vhl_vq_run()
 * lets it have them, vhl_vq_stop() undoes it.
 */
int vhl_vq_prepare(struct vhl_vq *vq)
{
	struct vhl_dev *dev = vq->dev;
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (vhl_vq_started(vq))
		return 0;
	ret = vq_prepare(vq);
	if (ret)
		pr_notice_ratelimited("%s %llu: queue %u does not start (%pe): nothing on it is answered\n",
				      dev->node->name, dev->id, vq->index, ERR_PTR(ret));
	return ret;
}

void vhl_vq_run(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	if (vq->state != VHL_VQ_READY)
		return;
	vhl_vq_lock(vq);
	vq_become(vq, VHL_VQ_RUNNING);
	vhl_share_start(vq);
	vhl_idle_start(vq);
	vhl_vq_unlock(vq);
	vq->ever_started = true;
	/* kicks before now, and chains that were made available without one, were not noticed */
	vhl_vq_kick(vq);
	/* and the driver may not have been called for what was used */
	vhl_vq_signal_owed(vq);
}

int vhl_vq_start(struct vhl_vq *vq)
{
	int ret = vhl_vq_prepare(vq);

	if (!ret)
		vhl_vq_run(vq);
	return ret;
}

/*
 * Where rings are named by IOVA, a client that answers may start a queue before it has told where
 * the ring is.
 */
int vhl_vq_start_mapped(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	if (!vhl_miss_may_ask(vq->dev) || !vq->have_addr || !vq->num || !vhl_miss_ask_ring(vq))
		return vhl_vq_start(vq);
	if (vq->state != VHL_VQ_UNMAPPED) {
		vhl_vq_lock(vq);
		vq_become(vq, VHL_VQ_UNMAPPED);
		vhl_vq_unlock(vq);
	}
	return 0;
}

/* All or none: no request is taken before it is certain that all of them start. */
int vhl_vqs_start(struct vhl_dev *dev)
{
	unsigned int i, n = vhl_num_vqs(dev);
	int ret;

	lockdep_assert_held(&dev->mutex);

	/* memory and threads are the owner's */
	if (!vhl_is_owner(dev))
		return -EPERM;
	for (i = 0; i < n; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		if (!vq->enabled || !vq->have_addr)
			continue;
		ret = vhl_vq_prepare(vq);
		if (ret)
			goto stop;
	}
	for (i = 0; i < n; i++)
		vhl_vq_run(dev->vqs[i]);
	return 0;

stop:
	/* those that ran before go on */
	while (i--)
		if (dev->vqs[i]->state == VHL_VQ_READY)
			vhl_vq_stop(dev->vqs[i]);
	return ret;
}
EXPORT_SYMBOL_GPL(vhl_vqs_start);

static void vq_stop(struct vhl_vq *vq, enum vhl_vq_state state)
{
	bool ran;

	vhl_poll_stop(&vq->kick_poll);
	vhl_vq_lock(vq);
	vhl_miss_forget(vq);
	ran = vq->state != VHL_VQ_READY;
	vq_become(vq, state);
	vhl_idle_stop(vq);
	vq_wait_for_chains(vq);
	/* a start that failed leaves the next one to begin where the format says */
	if (ran) {
		vq->base = vhl_ring_base(vq->ring);
		vq->have_base = true;
		vhl_bases_store(vq);
	}
	vq_stop_backend(vq);
	vhl_claims_end(vq);
	vhl_vq_unlock(vq);

	vhl_ring_free(vq->ring);
	vq->ring = NULL;
	vhl_unpin_ring(vq);
	vhl_segs_free(&vq->segs);
}

/*
 * After this nothing touches the ring or guest memory on behalf of the queue, and a start goes on
 * where it stopped. Never fails; waits for the requests in flight.
 */
void vhl_vq_stop(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	if (vhl_vq_started(vq)) {
		vq_stop(vq, VHL_VQ_STOPPED);
	} else if (vq->state == VHL_VQ_UNMAPPED) {
		vhl_vq_lock(vq);
		vhl_miss_forget(vq);
		vq_become(vq, VHL_VQ_STOPPED);
		vhl_vq_unlock(vq);
	}
}

void vhl_vqs_stop(struct vhl_dev *dev)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_stop(dev->vqs[i]);
}
EXPORT_SYMBOL_GPL(vhl_vqs_stop);

/* The memory of its ring goes: as a stop, but it is started again when the ring is mapped again. */
void vhl_vq_unmap(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	vq_stop(vq, VHL_VQ_UNMAPPED);
}

/* Completing side */

/* What was pushed since the last time */
static void vq_publish(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->used_lock);

	WRITE_ONCE(vq->stats.batches, vq->stats.batches + 1);
	trace_vhl_complete(vq, vq->unpublished);
	vq->unpublished = 0;
	if (vhl_ring_publish(vq->ring))
		vhl_vq_signal(vq);
	if (unlikely(vq->log_call))
		vhl_vq_tell_log(vq);
}

void vhl_vq_complete(struct vhl_vq *vq, const struct vhl_done *done, unsigned int n,
		     const struct vhl_count *count)
{
	struct vhl_stats *stats = &vq->stats;
	unsigned long flags;

	spin_lock_irqsave(&vq->used_lock, flags);
	WRITE_ONCE(stats->reqs, stats->reqs + count->reqs);
	WRITE_ONCE(stats->in, stats->in + count->in);
	WRITE_ONCE(stats->out, stats->out + count->out);
	WRITE_ONCE(stats->errors, stats->errors + count->errors);
	if (n) {
		if (unlikely(vq->claims))
			vhl_claims_drop(vq, done, n);
		vhl_ring_push(vq->ring, done, n);
		vq->unpublished += n;
		/* a worker that sleeps, or waits for a CPU, must not keep them back */
		if (!vq->held || !vhl_worker_on_cpu(READ_ONCE(vq->worker)))
			vq_publish(vq);
	}
	/* no barrier: a waiter adds itself, then takes this lock to look */
	if (unlikely(waitqueue_active(&vq->drained)))
		wake_up(&vq->drained);
	spin_unlock_irqrestore(&vq->used_lock, flags);
}
EXPORT_SYMBOL_GPL(vhl_vq_complete);

void vhl_vq_hold(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	spin_lock_irq(&vq->used_lock);
	vq->held = true;
	spin_unlock_irq(&vq->used_lock);
}
EXPORT_SYMBOL_GPL(vhl_vq_hold);

void vhl_vq_flush(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	spin_lock_irq(&vq->used_lock);
	vq->held = false;
	if (vq->unpublished)
		vq_publish(vq);
	spin_unlock_irq(&vq->used_lock);
}
EXPORT_SYMBOL_GPL(vhl_vq_flush);

/* Taking side */

void vhl_vq_break(struct vhl_vq *vq, enum vhl_ring_fault fault)
{
	lockdep_assert_held(&vq->mutex);

	if (vq->state == VHL_VQ_BROKEN || !vq_become(vq, VHL_VQ_BROKEN))
		return;
	/* a backend that takes once more in this turn gets none */
	vhl_ring_fail(vq->ring, fault);
	WRITE_ONCE(vq->stats.breaks, vq->stats.breaks + 1);
	trace_vhl_break(vq, fault);
	if (vq->err)
		vhl_eventfd_signal(vq->err);
	if (vq->dev->dialect->broken)
		vq->dev->dialect->broken(vq->dev);
	pr_warn_ratelimited("%s %llu: queue %u is broken: %s; the driver must reset it\n",
			    vq->dev->node->name, vq->dev->id, vq->index,
			    vhl_ring_fault_name(fault));
}
EXPORT_SYMBOL_GPL(vhl_vq_break);

/* Segments enough for any chain. Return: false when there is no memory, after a while. */
static bool vq_grow_segs(struct vhl_vq *vq)
{
	if (vhl_segs_grow(&vq->segs, VHL_IOV_MAX)) {
		/* no wake-up when memory is freed: back off, then the queue is run again */
		usleep_range(1000, 2000);
		return false;
	}
	vhl_ring_set_segs(vq->ring, &vq->segs);
	return true;
}

/* Why to break a queue: what may pass does not count where the device is not told when it has */
static enum vhl_ring_fault vq_fault(const struct vhl_ring *ring, int err)
{
	switch (err) {
	case -ENXIO:
		return ring->miss.mapped ? VHL_FAULT_PERMISSION : VHL_FAULT_ADDRESS;
	case -EFAULT:
		return VHL_FAULT_ACCESS;
	default:
		return ring->fault;
	}
}

/* While completions are held back an indirect table must not be waited for to be swapped in */
static int vq_take(struct vhl_vq *vq, struct vhl_chain *chain)
{
	int ret;

	if (!vq->held)
		return vhl_ring_take(vq->ring, chain);
	pagefault_disable();
	ret = vhl_ring_take(vq->ring, chain);
	pagefault_enable();
	if (likely(ret != -EFAULT))
		return ret;
	vhl_vq_flush(vq);
	ret = vhl_ring_take(vq->ring, chain);
	vhl_vq_hold(vq);
	return ret;
}

/*
 * Ask for what the last take has missed, and at once for what the next ones will: the client has to
 * be woken for each question that comes alone. It knows the first, perhaps, or has told meanwhile,
 * when nobody had asked yet.
 */
static void vq_ask(struct vhl_vq *vq)
{
	struct vhl_miss miss[VHL_QUESTIONS];
	struct vhl_wanted wanted = { .miss = miss, .max = ARRAY_SIZE(miss) };

	/* nor is a table to be waited for, as in vq_take() */
	if (vq->held)
		pagefault_disable();
	vhl_ring_look_ahead(vq->ring, &wanted);
	if (vq->held)
		pagefault_enable();
	vhl_miss_ask(vq, miss, wanted.n);
	vq->misses = !vhl_mem_lookup(&vq->dev->mem, miss[0].addr);
}

static int vq_take_checked(struct vhl_vq *vq, struct vhl_chain *chain)
{
	int ret = vq_take(vq, chain);

	if (likely(ret >= 0))
		return ret;
	if (ret == -ENOSPC) {
		if (!vq_grow_segs(vq))
			return -ENOMEM;
		ret = vq_take(vq, chain);
	}
	if (ret >= 0)
		return ret;
	if (ret == -ENXIO && !vq->ring->miss.mapped && vhl_miss_may_ask(vq->dev))
		vq_ask(vq);
	else
		vhl_vq_break(vq, vq_fault(vq->ring, ret));
	return ret;
}

/* For a queue with claims: the chain has one, or it is not taken */
static noinline int vq_take_claimed(struct vhl_vq *vq, struct vhl_chain *chain)
{
	u32 mark = vhl_vq_mark(vq);
	int ret = vq_take_checked(vq, chain);

	if (ret <= 0)
		return ret;
	ret = vhl_claim(vq, chain);
	if (likely(!ret))
		return 1;
	vhl_ring_rewind(vq->ring, mark);
	if (ret == -ENOMEM)
		/* as vq_grow_segs() */
		usleep_range(1000, 2000);
	else
		vhl_vq_break(vq, VHL_FAULT_IN_FLIGHT);
	return ret;
}

int vhl_vq_take(struct vhl_vq *vq, struct vhl_chain *chain)
{
	lockdep_assert_held(&vq->mutex);

	if (unlikely(vq->segs.region))
		return vq_take_claimed(vq, chain);
	return vq_take_checked(vq, chain);
}
EXPORT_SYMBOL_GPL(vhl_vq_take);

void vhl_vq_rewind(struct vhl_vq *vq, u32 mark)
{
	lockdep_assert_held(&vq->mutex);

	if (unlikely(vq->segs.region))
		vhl_claims_rewind(vq, mark);
	vhl_ring_rewind(vq->ring, mark);
}
EXPORT_SYMBOL_GPL(vhl_vq_rewind);

void vhl_vq_reject(struct vhl_vq *vq, u32 mark, enum vhl_ring_fault fault)
{
	vhl_vq_rewind(vq, mark);
	vhl_vq_break(vq, fault);
}
EXPORT_SYMBOL_GPL(vhl_vq_reject);

static void vq_turn(struct vhl_vq *vq)
{
	enum vhl_run run;
	u32 mark;

	if (!vhl_vq_trylock(vq))
		return;
	if (vq->state != VHL_VQ_RUNNING || vq->dev->in_batch)
		goto unlock;
	/* a kick from before the queue changed its worker, which takes its mutex */
	if (unlikely(!vhl_worker_is_current(vq->worker))) {
		vhl_vq_kick(vq);
		goto unlock;
	}

	vhl_idle_awake(vq);
	mark = vhl_ring_mark(vq->ring);
	vhl_ring_no_kicks(vq->ring);
	vq->misses = false;
	run = vq->dev->node->ops->run(vq);
	if (vq->state == VHL_VQ_BROKEN)
		goto log;
	if (vq->misses)
		run = VHL_RUN_MAP;
	if (vhl_share_turn(vq))
		run = VHL_RUN_MORE;
	/* a turn of its own, so that others on this worker and clients come in between */
	if (vhl_idle_rest(vq, run, vhl_ring_taken(vq->ring, mark)))
		vhl_vq_kick(vq);
log:
	vhl_vq_log_turn(vq);
	/* what was stored to ask for a kick, or written and not completed */
	if (unlikely(READ_ONCE(vq->log_call))) {
		spin_lock_irq(&vq->used_lock);
		vhl_vq_tell_log(vq);
		spin_unlock_irq(&vq->used_lock);
	}
unlock:
	vhl_vq_unlock(vq);
}

void vhl_vq_init(struct vhl_vq *vq, struct vhl_dev *dev, unsigned int index)
{
	vq->dev = dev;
	vq->index = index;
	vq->turn = vq_turn;
	mutex_init(&vq->mutex);
	spin_lock_init(&vq->used_lock);
	init_waitqueue_head(&vq->drained);
	vhl_idle_init(vq);
}
