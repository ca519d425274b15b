// SPDX-License-Identifier: GPL-2.0
/*
 * A virtqueue: start, stop, turns of its worker, completions.
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "trace.h"

/*
 * The longest that a worker polls before it sleeps, unless the client said how long. Waking a
 * thread costs some microseconds on an idle host; polling much longer than that cannot win.
 */
static unsigned int poll_max_us = 50;
module_param(poll_max_us, uint, 0644);
MODULE_PARM_DESC(poll_max_us,
		 "Limit of the self-tuning poll in microseconds, 0 to never poll (default 50)");

/*
 * Segments that a queue has room for at first. Linux drivers use some twenty for a packet; requests
 * of a disk that have more are long, so that the time to get room for them once does not count.
 */
#define VHL_VQ_IOV_MIN		32

/* The first poll after a spell of none */
#define VHL_POLL_START_NS	5000

/*
 * Who shares a CPU may have to wait for as long as the scheduler's slice for others, a millisecond
 * or more. Only streams have naps, and only while they hardly lose by it (pace.h).
 */
#define VHL_NAP_MAX_US		1000
#define VHL_NAP_LIMIT_US	100000

static unsigned int nap_max_us = VHL_NAP_MAX_US;

static int set_nap_max(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, VHL_NAP_LIMIT_US);
}

static const struct kernel_param_ops nap_max_ops = {
	.set	= set_nap_max,
	.get	= param_get_uint,
};

module_param_cb(nap_max_us, &nap_max_ops, &nap_max_us, 0644);
MODULE_PARM_DESC(nap_max_us,
		 "Longest nap of a queue on a CPU that others want, in microseconds, 0 for none (default 1000)");

static u64 nap_max_ns(void)
{
	return (u64)READ_ONCE(nap_max_us) * NSEC_PER_USEC;
}

/* With a coarser clock a nap would last until the next tick */
#define VHL_NAP_RESOLUTION_NS	20000

static enum hrtimer_restart vq_end_nap(struct hrtimer *timer)
{
	struct vhl_vq *vq = container_of(timer, struct vhl_vq, nap);

	WRITE_ONCE(vq->nap_idle, is_idle_task(current));
	/* after the other flag; pairs with vq_awake(), whoever woke it */
	smp_store_release(&vq->nap_over, true);
	vhl_vq_kick(vq);
	return HRTIMER_NORESTART;
}

void vhl_vq_init(struct vhl_vq *vq, struct vhl_dev *dev, unsigned int index)
{
	vq->dev = dev;
	vq->index = index;
	mutex_init(&vq->mutex);
	spin_lock_init(&vq->used_lock);
	init_waitqueue_head(&vq->drained);
	vhl_hrtimer_setup(&vq->nap, vq_end_nap);
}

/* A worker may be polling with the mutex held: have it let go. Clients exclude each other. */
void vhl_vq_lock(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	WRITE_ONCE(vq->yield, true);
	mutex_lock_nest_lock(&vq->mutex, &vq->dev->mutex);
	WRITE_ONCE(vq->yield, false);
}

void vhl_vq_unlock(struct vhl_vq *vq)
{
	mutex_unlock(&vq->mutex);
}

void vhl_lock_vqs(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_lock(dev->vqs[i]);
}

void vhl_unlock_vqs(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_unlock(dev->vqs[i]);
}

static bool vq_is_drained(struct vhl_vq *vq)
{
	bool drained;

	/*
	 * The lock also waits for the last completion to leave the queue: who sees that nothing is
	 * in flight may free it.
	 */
	spin_lock_irq(&vq->used_lock);
	drained = !vhl_ring_inflight(&vq->ring);
	spin_unlock_irq(&vq->used_lock);
	return drained;
}

/* Both sides are moving: it may be off by what is completed meanwhile */
unsigned int vhl_vq_inflight(const struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	return vhl_ring_inflight(&vq->ring);
}
EXPORT_SYMBOL_GPL(vhl_vq_inflight);

/* Wait for the chains in flight; the mutex keeps the worker from taking more. */
void vhl_vq_drain(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	if (vhl_vq_started(vq))
		wait_event(vq->drained, vq_is_drained(vq));
}

static int vq_prepare(struct vhl_vq *vq)
{
	struct vhl_dev *dev = vq->dev;
	struct vhl_ring_cfg cfg = {
		.mem		= &dev->mem,
		.iov_max	= VHL_VQ_IOV_MIN,
		.num		= vq->num,
		.base		= vq->base,
		.event_idx	= vhl_has_feature(dev, VIRTIO_RING_F_EVENT_IDX),
		.indirect	= vhl_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC),
	};
	int ret;

	if (!vq->num || !vq->have_addr)
		return -EINVAL;
	ret = vhl_worker_get(vq);
	if (ret)
		return ret;
	ret = vhl_pool_start(dev);
	if (ret)
		return ret;
	cfg.iov = kvmalloc_array(VHL_VQ_IOV_MIN, sizeof(*cfg.iov), GFP_KERNEL_ACCOUNT);
	if (!cfg.iov)
		return -ENOMEM;
	ret = vhl_pin_ring(vq, &cfg);
	if (ret)
		goto free_iov;

	vhl_vq_lock(vq);
	spin_lock_irq(&vq->used_lock);
	vhl_ring_init(&vq->ring, &cfg);
	vq->held = false;
	vq->unpublished = 0;
	spin_unlock_irq(&vq->used_lock);
	ret = dev->node->ops->start(vq);
	vhl_vq_unlock(vq);
	if (ret)
		goto unpin_ring;
	if (vq->kick) {
		vq->kick_poll.is_kick = true;
		ret = vhl_poll_start(&vq->kick_poll, vq, vq->kick, EPOLLIN);
		if (ret)
			goto stop_backend;
	}
	return 0;

stop_backend:
	vhl_vq_lock(vq);
	dev->node->ops->stop(vq);
	vhl_vq_unlock(vq);
unpin_ring:
	vhl_unpin_ring(vq);
free_iov:
	kvfree(cfg.iov);
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

	if (vq->running)
		return;
	vq->restart = false;
	vhl_vq_lock(vq);
	WRITE_ONCE(vq->running, true);
	vq->again = false;
	vhl_pace_init(&vq->pace);
	vq->poll_ns = 0;
	vhl_vq_unlock(vq);
	vq->ever_started = true;
	/* who kicked before now, or made chains available without, has not been heard */
	vhl_vq_kick(vq);
	/* and what was used may have called nobody */
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
 * After this nothing touches the ring or guest memory on behalf of the queue, and a start goes on
 * where it stopped. Never fails; waits for the requests in flight.
 */
void vhl_vq_stop(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	vq->restart = false;
	if (!vhl_vq_started(vq))
		return;

	vhl_poll_stop(&vq->kick_poll);
	vhl_vq_lock(vq);
	WRITE_ONCE(vq->running, false);
	WRITE_ONCE(vq->broken, false);
	hrtimer_cancel(&vq->nap);
	WRITE_ONCE(vq->napping, false);
	vhl_vq_drain(vq);
	vq->base = vq->ring.last_avail;
	vq->dev->node->ops->stop(vq);
	vhl_vq_unlock(vq);

	vhl_unpin_ring(vq);
	kvfree(vq->ring.cfg.iov);
}

/* Completing side */

/* What was pushed since the last time */
static void vq_publish(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->used_lock);

	WRITE_ONCE(vq->stats.batches, vq->stats.batches + 1);
	trace_vhl_complete(vq, vq->unpublished);
	vq->unpublished = 0;
	if (vhl_ring_publish(&vq->ring))
		vhl_vq_signal(vq);
}

void vhl_vq_complete(struct vhl_vq *vq, const struct vhl_done *done, unsigned int n,
		     unsigned int reqs, u64 in, u64 out, unsigned int errors)
{
	struct vhl_stats *stats = &vq->stats;
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&vq->used_lock, flags);
	for (i = 0; i < n; i++)
		vhl_ring_push(&vq->ring, done[i].head, done[i].len);
	WRITE_ONCE(stats->reqs, stats->reqs + reqs);
	WRITE_ONCE(stats->in, stats->in + in);
	WRITE_ONCE(stats->out, stats->out + out);
	WRITE_ONCE(stats->errors, stats->errors + errors);
	if (n) {
		vq->unpublished += n;
		/* a worker that sleeps, or waits for a CPU, must not keep them back */
		if (!vq->held || !vhl_worker_on_cpu(vq->worker))
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

	if (vq->broken)
		return;
	WRITE_ONCE(vq->broken, true);
	WRITE_ONCE(vq->stats.breaks, vq->stats.breaks + 1);
	trace_vhl_break(vq, fault);
	if (vq->err)
		vhl_eventfd_signal(vq->err);
	if (vq->dev->node->dialect == VHL_DIALECT_VDPA)
		vhl_needs_reset(vq->dev);
	pr_warn_ratelimited("%s %llu: queue %u is broken: %s; the driver must reset it\n",
			    vq->dev->node->name, vq->dev->id, vq->index,
			    vhl_ring_fault_name(fault));
}
EXPORT_SYMBOL_GPL(vhl_vq_break);

/* Make room for any chain. Return: false when there is no memory, after a while. */
static bool vq_grow_iov(struct vhl_vq *vq)
{
	struct iovec *iov = kvmalloc_array(VHL_IOV_MAX, sizeof(*iov),
					   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

	if (!iov) {
		/* nobody tells when there is some: tried again and again, but not in a spin */
		usleep_range(1000, 2000);
		return false;
	}
	kvfree(vq->ring.cfg.iov);
	vhl_ring_set_room(&vq->ring, iov, VHL_IOV_MAX);
	return true;
}

/* While completions are held back an indirect table must not be waited for to be swapped in */
static int vq_next(struct vhl_vq *vq, struct vhl_chain *chain)
{
	int ret;

	if (!vq->held)
		return vhl_ring_next(&vq->ring, chain);
	pagefault_disable();
	ret = vhl_ring_next(&vq->ring, chain);
	pagefault_enable();
	if (likely(vq->ring.fault != VHL_FAULT_ACCESS))
		return ret;
	vq->ring.fault = VHL_FAULT_NONE;
	vhl_vq_flush(vq);
	ret = vhl_ring_next(&vq->ring, chain);
	vhl_vq_hold(vq);
	return ret;
}

int vhl_vq_next(struct vhl_vq *vq, struct vhl_chain *chain)
{
	int ret;

	lockdep_assert_held(&vq->mutex);

	ret = vq_next(vq, chain);
	if (likely(ret >= 0))
		return ret;
	if (ret == -ENOSPC) {
		if (!vq_grow_iov(vq))
			return -ENOMEM;
		ret = vq_next(vq, chain);
	}
	if (ret < 0)
		vhl_vq_break(vq, vq->ring.fault);
	return ret;
}
EXPORT_SYMBOL_GPL(vhl_vq_next);

void vhl_vq_unget(struct vhl_vq *vq, u16 n)
{
	lockdep_assert_held(&vq->mutex);

	vhl_ring_unget(&vq->ring, n);
}
EXPORT_SYMBOL_GPL(vhl_vq_unget);

/*
 * The self-tuning poll, after the scheduler's and KVM's halt polling: what a poll of at most
 * poll_max_us would have caught makes the next one longer, a longer sleep ends polling.
 */
static void vq_tune_poll(struct vhl_vq *vq, u64 slept)
{
	u64 max = (u64)READ_ONCE(poll_max_us) * NSEC_PER_USEC;

	if (slept > max || slept + vq->poll_ns > max)
		vq->poll_ns = 0;
	else
		vq->poll_ns = min_t(u64, max, max_t(u64, vq->poll_ns * 2, VHL_POLL_START_NS));
}

static bool vq_has_work(struct vhl_vq *vq, enum vhl_run run)
{
	switch (run) {
	case VHL_RUN_RING:
		return !vhl_ring_empty(&vq->ring);
	case VHL_RUN_SHORT:
		return vhl_ring_grown(&vq->ring);
	case VHL_RUN_BACKEND:
		return vq->dev->node->ops->pending && vq->dev->node->ops->pending(vq);
	case VHL_RUN_MORE:
		break;
	}
	return true;
}

enum vq_poll {
	VQ_POLL_WORK,		/* there is work again */
	VQ_POLL_UNWANTED,	/* others want the CPU */
	VQ_POLL_NOTHING,
};

/* Gives up at once when the CPU, the worker or the queue is wanted by somebody else. */
static enum vq_poll vq_poll(struct vhl_vq *vq, enum vhl_run run)
{
	u64 by_hand = (u64)READ_ONCE(vq->busyloop_us) * NSEC_PER_USEC;
	u64 limit = by_hand ?: vq->poll_ns;
	u64 end = 0;

	for (;;) {
		if (signal_pending(current) || READ_ONCE(vq->yield) ||
		    vhl_worker_has_work(vq->worker))
			return VQ_POLL_NOTHING;
		if (need_resched() || (!by_hand && !single_task_running()))
			return VQ_POLL_UNWANTED;
		if (!limit)
			return VQ_POLL_NOTHING;
		if (vq_has_work(vq, run)) {
			WRITE_ONCE(vq->stats.polls, vq->stats.polls + 1);
			return VQ_POLL_WORK;
		}
		if (!end)
			end = ktime_get_ns() + limit;
		else if (ktime_get_ns() >= end)
			return VQ_POLL_NOTHING;
		cpu_relax();
	}
}

/* A sleep or a nap begins. */
static void vq_asleep(struct vhl_vq *vq)
{
	/* a call is written by who completes; one more or less does not matter */
	u64 notes = vq->stats.wakes + READ_ONCE(vq->stats.calls);

	vhl_pace_sleep(&vq->pace, ktime_get_ns(), notes, nap_max_ns());
}

/*
 * The CPU is wanted, perhaps by who is about to make more chains or packets: leave it to him for a
 * while, and have a timer give the queue a turn. Until then nobody need kick.
 */
static bool vq_nap(struct vhl_vq *vq)
{
	u64 ns = vq->pace.nap;

	if (!ns || ns > nap_max_ns() || hrtimer_resolution > VHL_NAP_RESOLUTION_NS)
		return false;
	/* would be over at once */
	if (vhl_vq_backlog(vq) != VHL_BACKLOG_SMALL)
		return false;
	vq->nap_over = false;
	WRITE_ONCE(vq->napping, true);
	trace_vhl_nap(vq, ns);
	hrtimer_start(&vq->nap, ns_to_ktime(ns), HRTIMER_MODE_REL_PINNED_HARD);
	vq_asleep(vq);
	return true;
}

/* Arrange to be kicked. Return: true when there is work already. */
static bool vq_sleep(struct vhl_vq *vq, enum vhl_run run)
{
	switch (run) {
	case VHL_RUN_RING:
		if (vhl_ring_enable_notify(&vq->ring))
			return true;
		break;
	case VHL_RUN_SHORT:
		if (vhl_ring_enable_notify_grown(&vq->ring))
			return true;
		break;
	case VHL_RUN_BACKEND:
		break;
	case VHL_RUN_MORE:
		return true;
	}
	vq_asleep(vq);
	return false;
}

/* Why there is a turn. Return: true where the end of a nap led to it. */
static bool vq_awake(struct vhl_vq *vq)
{
	enum vhl_woke woke = VHL_WOKE_KICK;
	u64 slept;

	if (vq->again) {
		vq->again = false;
		return false;
	}
	if (vq->napping) {
		/* a driver may kick all the same; the timer's function waits for nothing */
		hrtimer_cancel(&vq->nap);
		woke = VHL_WOKE_EARLY;
		if (smp_load_acquire(&vq->nap_over))
			woke = vq->nap_idle ? VHL_WOKE_IDLE : VHL_WOKE_NAP;
		WRITE_ONCE(vq->napping, false);
		/* before the look at the backend; pairs with poll_wake() */
		smp_mb();
	}
	slept = vhl_pace_wake(&vq->pace, ktime_get_ns(), current->se.sum_exec_runtime, woke);
	if (woke != VHL_WOKE_KICK && vhl_vq_backlog(vq) == VHL_BACKLOG_FULL)
		vhl_pace_lost(&vq->pace);
	if (woke == VHL_WOKE_NAP || woke == VHL_WOKE_IDLE)
		return true;
	WRITE_ONCE(vq->stats.wakes, vq->stats.wakes + 1);
	trace_vhl_wake(vq);
	vq_tune_poll(vq, slept);
	return false;
}

void vhl_vq_turn(struct vhl_vq *vq)
{
	enum vhl_run run;
	bool napped;
	u16 taken;

	mutex_lock(&vq->mutex);
	if (!vq->running || vq->broken || vq->dev->in_batch)
		goto unlock;

	napped = vq_awake(vq);
	taken = vq->ring.last_avail;
	vhl_ring_disable_notify(&vq->ring);
	run = vq->dev->node->ops->run(vq);
	if (vq->broken)
		goto unlock;
	taken = vq->ring.last_avail - taken;
	vhl_pace_took(&vq->pace, taken);
	if (napped && taken)
		WRITE_ONCE(vq->stats.polls, vq->stats.polls + 1);

	/* a nap in vain is followed by sleep */
	if (run != VHL_RUN_MORE && !vhl_pace_in_vain(&vq->pace)) {
		switch (vq_poll(vq, run)) {
		case VQ_POLL_WORK:
			run = VHL_RUN_MORE;
			break;
		case VQ_POLL_UNWANTED:
			if (vq_nap(vq))
				goto unlock;
			break;
		case VQ_POLL_NOTHING:
			break;
		}
	}
	if (vq_sleep(vq, run)) {
		/* a turn of its own, so that others on this worker and clients come in between */
		vq->again = true;
		vhl_vq_kick(vq);
	}
unlock:
	mutex_unlock(&vq->mutex);
}
