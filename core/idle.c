// SPDX-License-Identifier: GPL-2.0
/*
 * What a queue does between two turns.
 *
 * It polls for a moment, while its CPU has nothing else to do: work that comes soon needs no kick,
 * and no wake-up. Else it sleeps: it asks for a kick, and what is kicked is a turn. Or, with a
 * stream of chains, it naps: it asks for nothing, leaves the CPU for a set time, in which several
 * come up, and a timer gives it a turn. On the only CPU of a machine it does that when others want
 * the CPU, since nothing else makes chains; on one of several instead of a poll. How long a poll
 * lasts depends on the last sleep, and how long a nap does is found by trial (moderation.h).
 *
 *	turn -> vhl_idle_rest():  poll -> AGAIN, at once
 *				       -> NAPPING, until the timer; or a kick, or a full backend
 *				       -> ASLEEP, until a kick; or AGAIN, if there is work by now
 *	     <- vhl_idle_awake()
 */
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>

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

/* The first poll after a spell of none */
#define VHL_POLL_START_NS	5000

/*
 * A task that shares a CPU may have to wait for as long as the scheduler's slice for others, a
 * millisecond or more. Only streams have naps, and only while they hardly lose by it.
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
		 "Longest nap of a queue that has a stream, in microseconds, 0 for none (default 1000)");

static u64 nap_max_ns(void)
{
	return (u64)READ_ONCE(nap_max_us) * NSEC_PER_USEC;
}

/* With a coarser clock a nap would last until the next tick */
#define VHL_NAP_RESOLUTION_NS	20000

/*
 * Chains and packets come from other CPUs then: that this one has nothing to do says nothing of
 * them, and while it polls it takes them one by one. A VMM may be confined to one CPU of several,
 * but a worker that is may also be kept apart from the vCPUs: naps are found by trial either way.
 */
static bool driver_has_cpu(void)
{
	return num_online_cpus() > 1;
}

static enum hrtimer_restart vq_end_nap(struct hrtimer *timer)
{
	struct vhl_vq *vq = container_of(timer, struct vhl_vq, nap);
	bool idle = !READ_ONCE(vq->moderation.apart) && is_idle_task(current);

	WRITE_ONCE(vq->woke, idle ? VHL_WOKE_IDLE : VHL_WOKE_NAP);
	vhl_vq_kick(vq);
	return HRTIMER_NORESTART;
}

void vhl_idle_init(struct vhl_vq *vq)
{
	vhl_hrtimer_setup(&vq->nap, vq_end_nap);
}

void vhl_idle_start(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	vhl_moderation_init(&vq->moderation);
	vq->poll_ns = 0;
	/* before its first turn it slept for ages */
	vq->slept_at = 0;
	vq->woke = VHL_WOKE_KICK;
	WRITE_ONCE(vq->rest, VHL_ASLEEP);
}

void vhl_idle_stop(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	hrtimer_cancel(&vq->nap);
	WRITE_ONCE(vq->rest, VHL_AWAKE);
}

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
		return !vhl_ring_empty(vq->ring);
	case VHL_RUN_BACKEND:
		return vq->dev->node->ops->pending && vq->dev->node->ops->pending(vq);
	case VHL_RUN_LATER:
	case VHL_RUN_MAP:
		return false;
	case VHL_RUN_MORE:
		break;
	}
	return true;
}

enum vq_poll {
	VQ_POLL_WORK,		/* there is work again */
	VQ_POLL_UNWANTED,	/* others want the CPU */
	VQ_POLL_SHARED,		/* another queue wants the worker */
	VQ_POLL_NOTHING,
};

/*
 * Gives up at once when others want the CPU, the worker or the queue. It took so many ns, but for
 * the end, which would be another look at the clock.
 */
static enum vq_poll vq_poll_for(struct vhl_vq *vq, enum vhl_run run, u64 *lasted)
{
	u64 by_hand = (u64)READ_ONCE(vq->busyloop_us) * NSEC_PER_USEC;
	u64 limit = by_hand ?: vq->poll_ns;
	u64 began = 0;

	*lasted = 0;
	for (;;) {
		if (signal_pending(current) || READ_ONCE(vq->yield))
			return VQ_POLL_NOTHING;
		if (unlikely(vhl_worker_has_work(vq->worker)))
			return vhl_worker_has_other(vq->worker, vq) ? VQ_POLL_SHARED :
								      VQ_POLL_NOTHING;
		if (need_resched() || (!by_hand && !single_task_running()))
			return VQ_POLL_UNWANTED;
		if (vq_has_work(vq, run)) {
			WRITE_ONCE(vq->stats.polls, vq->stats.polls + 1);
			return VQ_POLL_WORK;
		}
		if (!limit)
			return VQ_POLL_NOTHING;
		if (!began)
			began = ktime_get_ns();
		else
			*lasted = ktime_get_ns() - began;
		if (*lasted >= limit)
			return VQ_POLL_NOTHING;
		cpu_relax();
	}
}

/* Notifications so far. Calls are counted under another lock; one more or less does not matter */
static u64 vq_notes(const struct vhl_vq *vq)
{
	return vq->stats.wakes + READ_ONCE(vq->stats.calls);
}

/* For moderation, a poll that finds something is one of the ways to wait for it */
static enum vq_poll vq_poll(struct vhl_vq *vq, enum vhl_run run)
{
	u64 lasted;
	enum vq_poll found = vq_poll_for(vq, run, &lasted);

	vhl_share_rested(vq, lasted);
	if (found == VQ_POLL_WORK && vq->moderation.apart)
		vhl_moderation_polled(&vq->moderation, ktime_get_ns() - lasted, lasted,
				      vq_notes(vq), nap_max_ns());
	return found;
}

static void vq_go_to(struct vhl_vq *vq, enum vhl_rest rest, enum vhl_woke woke, u64 now)
{
	WRITE_ONCE(vq->woke, woke);
	WRITE_ONCE(vq->rest, rest);
	vq->slept_at = now;
	vhl_moderation_sleep(&vq->moderation, now, vq_notes(vq), nap_max_ns());
}

/*
 * Leave the CPU to others, who perhaps make more chains or packets, or to nobody, for a while, and
 * have a timer give the queue a turn. Until then no kick is needed. Return: false for no nap.
 */
static bool vq_nap(struct vhl_vq *vq)
{
	u64 ns, now;

	if (!vhl_moderation_nap(&vq->moderation) || hrtimer_resolution > VHL_NAP_RESOLUTION_NS)
		return false;
	/* this rest may begin another epoch, and that one may be without naps */
	now = ktime_get_ns();
	vhl_moderation_sleep(&vq->moderation, now, vq_notes(vq), nap_max_ns());
	ns = vhl_moderation_nap(&vq->moderation);
	if (!ns || ns > nap_max_ns())
		return false;
	/* would be over at once */
	if (vhl_vq_backlog(vq) != VHL_BACKLOG_SMALL)
		return false;
	/* before the timer, which says otherwise when it ends the nap */
	vq_go_to(vq, VHL_NAPPING, VHL_WOKE_EARLY, now);
	trace_vhl_nap(vq, ns);
	hrtimer_start(&vq->nap, ns_to_ktime(ns), HRTIMER_MODE_REL_PINNED_HARD);
	return true;
}

/* Arrange to be kicked. Return: false when there is work already. */
static bool vq_sleep(struct vhl_vq *vq, enum vhl_run run)
{
	switch (run) {
	case VHL_RUN_RING:
		if (vhl_ring_ask_kick(vq->ring))
			return false;
		vq_go_to(vq, VHL_ASLEEP, VHL_WOKE_KICK, ktime_get_ns());
		return true;
	case VHL_RUN_BACKEND:
		vq_go_to(vq, VHL_ASLEEP, VHL_WOKE_KICK, ktime_get_ns());
		/* asleep, before the last look at the backend; pairs with poll_wake() */
		smp_mb();
		return !vq_has_work(vq, run);
	case VHL_RUN_LATER:
		/* a kick since is a turn, whatever the queue does */
		trace_vhl_later(vq);
		vq_go_to(vq, VHL_ASLEEP, VHL_WOKE_KICK, ktime_get_ns());
		return true;
	case VHL_RUN_MAP:
		/* the map changes holding vq->mutex: not between the look at it and now */
		vq_go_to(vq, VHL_ASLEEP, VHL_WOKE_KICK, ktime_get_ns());
		return true;
	case VHL_RUN_MORE:
		break;
	}
	return false;
}

/* The turn follows a nap that lasted until its end. */
static bool vq_napped(const struct vhl_vq *vq)
{
	return vq->woke == VHL_WOKE_NAP || vq->woke == VHL_WOKE_IDLE;
}

/* A turn begins, for whatever reason. */
void vhl_idle_awake(struct vhl_vq *vq)
{
	enum vhl_rest rest = vq->rest;
	u64 slept;

	lockdep_assert_held(&vq->mutex);

	WRITE_ONCE(vq->rest, VHL_AWAKE);
	if (rest == VHL_AGAIN) {
		vq->woke = VHL_WOKE_KICK;
		return;
	}
	if (rest == VHL_NAPPING) {
		/* a driver may kick all the same; the timer's function waits for nothing */
		hrtimer_cancel(&vq->nap);
		/* not napping, before the look at the backend; pairs with poll_wake() */
		smp_mb();
	}
	slept = ktime_get_ns() - vq->slept_at;
	vhl_share_rested(vq, slept);
	vhl_moderation_wake(&vq->moderation, slept, vq->woke, nap_max_ns());
	if (rest == VHL_NAPPING && vhl_vq_backlog(vq) == VHL_BACKLOG_FULL)
		vhl_moderation_lost(&vq->moderation);
	if (vq_napped(vq))
		return;
	WRITE_ONCE(vq->stats.wakes, vq->stats.wakes + 1);
	trace_vhl_wake(vq);
	vq_tune_poll(vq, slept);
}

/* A turn that took so many chains ended with @run. Return: true when there is work already. */
bool vhl_idle_rest(struct vhl_vq *vq, enum vhl_run run, unsigned int taken)
{
	bool vain = vq_napped(vq) && !taken;

	lockdep_assert_held(&vq->mutex);

	vhl_moderation_took(&vq->moderation, taken);
	if (vq_napped(vq) && taken)
		WRITE_ONCE(vq->stats.polls, vq->stats.polls + 1);

	/* a nap in vain is followed by sleep */
	if (run != VHL_RUN_MORE && run != VHL_RUN_LATER && run != VHL_RUN_MAP && !vain) {
		bool by_itself = driver_has_cpu() && !READ_ONCE(vq->busyloop_us);

		WRITE_ONCE(vq->moderation.apart, by_itself);
		if (by_itself && vq_nap(vq))
			return false;
		switch (vq_poll(vq, run)) {
		case VQ_POLL_WORK:
			run = VHL_RUN_MORE;
			break;
		case VQ_POLL_UNWANTED:
			if (vq_nap(vq))
				return false;
			break;
		case VQ_POLL_SHARED:
			/* more may come during that one's turn, and need no kick then */
			if (taken)
				run = VHL_RUN_MORE;
			break;
		case VQ_POLL_NOTHING:
			break;
		}
	}
	if (vq_sleep(vq, run))
		return false;
	WRITE_ONCE(vq->rest, VHL_AGAIN);
	return true;
}
