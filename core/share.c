// SPDX-License-Identifier: GPL-2.0
/*
 * Which worker gives a queue its turns.
 *
 * Each thread that serves a device is one more to wake and to switch to, and takes its queues one
 * by one: what one thread finds together when it comes to it, several find piece by piece. So all
 * queues of a device are with its first worker, their home, as long as that can do it all. It
 * cannot when for a while some queue has waited for another's turn at the end of each one, and
 * there is a CPU for more: then the queue that had its turn goes to a worker of its own. It comes
 * home when that one hardly has to do anything, or is short of a CPU itself.
 *
 *	at home -> (crowded, and the CPU is ours) -> apart
 *	at home -> (is to poll for as long as the client said) -> apart, and stays
 *	apart -> (asleep, or polls, most of the time) -> at home
 *	apart -> (waits for a CPU) -> at home, and stays there for a while
 *	either -> (the client has named a worker) -> there, and stays
 *
 * A queue changes its worker in a turn, or when the client says so, and the kick after that is for
 * the new one. A worker that comes to it because of a kick from before passes that on.
 */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "internal.h"
#include "trace.h"

/* A worker that was crowded for so long is not just in the middle of a burst */
#define SHARE_CROWDED_MS	5

/* How long what a worker of its own does for a queue is looked at */
#define SHARE_WINDOW_MS		100

/* And how long none is tried again after one that got no CPU; twice as long each time */
#define SHARE_REFUSED_MS	1000
#define SHARE_REFUSED_MAX_MS	64000

/*
 * A thread that has waited for a CPU for so much of the time is one too many, in percent. Without
 * CONFIG_SCHED_INFO none has, as far as is known: it stays until it sleeps.
 */
#define SHARE_WAITED		25

/* One that has slept or polled for so much is not needed */
#define SHARE_RESTED		75

static u64 share_after(unsigned int ms)
{
	/* at least, where a tick is longer than that */
	return get_jiffies_64() + msecs_to_jiffies(ms) + 1;
}

static bool share_has_cpus(void)
{
	return num_online_cpus() > 1 && current->nr_cpus_allowed > 1;
}

static void share_go_to(struct vhl_vq *vq, struct vhl_worker *worker)
{
	if (vq->worker == worker)
		return;
	WRITE_ONCE(vq->worker, worker);
	trace_vhl_worker(vq, vhl_worker_index(worker));
}

static void share_go_home(struct vhl_vq *vq, unsigned int stay_ms)
{
	lockdep_assert_held(&vq->mutex);

	vq->share.until = share_after(stay_ms);
	share_go_to(vq, vq->home);
}

static void share_begin_window(struct vhl_vq *vq)
{
	vq->share.since = get_jiffies_64();
	vq->share.until = share_after(SHARE_WINDOW_MS);
	vq->share.rested = 0;
	vq->share.waited = vhl_worker_waited(vq->own);
}

static void share_look(struct vhl_vq *vq)
{
	struct vhl_share *share = &vq->share;
	u64 now = get_jiffies_64();
	u64 percent;

	if (time_before64(now, share->until))
		return;
	percent = div_u64(jiffies64_to_nsecs(now - share->since), 100);
	/* this first: when it has rested, it may have waited for a CPU for some of that time */
	if (vhl_worker_waited(vq->own) - share->waited >= percent * SHARE_WAITED) {
		share_go_home(vq, share->refused_ms);
		share->refused_ms = min_t(unsigned int, share->refused_ms * 2, SHARE_REFUSED_MAX_MS);
	} else if (share->rested >= percent * SHARE_RESTED) {
		share_go_home(vq, 0);
		share->refused_ms = SHARE_REFUSED_MS;
	} else {
		share_begin_window(vq);
	}
}

void vhl_share_start(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	share_go_home(vq, 0);
	vq->share.refused_ms = SHARE_REFUSED_MS;
}

/* The client has said which one it is to be */
void vhl_share_attach(struct vhl_vq *vq, struct vhl_worker *worker)
{
	lockdep_assert_held(&vq->mutex);

	vq->home = worker;
	vq->own = worker;
	share_go_to(vq, worker);
}

/* It slept, or polled, for so long */
void vhl_share_rested(struct vhl_vq *vq, u64 ns)
{
	lockdep_assert_held(&vq->mutex);

	if (likely(vq->worker == vq->home))
		return;
	vq->share.rested += ns;
}

static bool share_leave_home(struct vhl_vq *vq)
{
	if (vq->own == vq->home || !share_has_cpus())
		return false;
	vhl_worker_uncrowd(vq->home);
	share_go_to(vq, vq->own);
	share_begin_window(vq);
	return true;
}

/*
 * A turn is over. Return: true if the queue has changed its worker, and has to have another turn
 * there, whatever this one has left.
 */
bool vhl_share_turn(struct vhl_vq *vq)
{
	bool polls = READ_ONCE(vq->busyloop_us);

	lockdep_assert_held(&vq->mutex);

	if (vq->worker != vq->home) {
		if (polls && share_has_cpus())
			return false;
		share_look(vq);
		return vq->worker == vq->home;
	}
	if (polls && share_leave_home(vq))
		return true;
	return vhl_worker_crowded(vq->home, vq, SHARE_CROWDED_MS) &&
	       !time_before64(get_jiffies_64(), vq->share.until) && share_leave_home(vq);
}
