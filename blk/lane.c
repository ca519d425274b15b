// SPDX-License-Identifier: GPL-2.0
/*
 * The lane: threads of the device that may block, for what its workers must not wait for. They are
 * the core's pool (vhl_pool_submit()).
 *
 * A client that stops a queue waits for its requests on the lane, also for those that no thread has
 * come to yet. So they are counted, and while there are VHL_BLK_LANE_FULL the queue takes no more.
 * Not counted are flushes, of which a disk has one on the lane for all of its queues, and requests
 * that are done but for the page of their status byte.
 */
#include <linux/cred.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "blk.h"

/* How often memory is waited for, ten milliseconds each time: half a minute */
#define VHL_BLK_MEMORY_TRIES	3000

void vhl_blk_lane_enter(struct vhl_blk_req *req)
{
	if (req->on_lane)
		return;
	req->on_lane = true;
	atomic_inc(&req->q->on_lane);
}

void vhl_blk_lane_leave(struct vhl_blk_req *req)
{
	struct vhl_blk_vq *q = req->q;

	req->on_lane = false;
	/* fully ordered; the queue is still there, for this request is in flight */
	if (atomic_dec_return(&q->on_lane) == VHL_BLK_LANE_FULL - 1)
		vhl_vq_kick(&q->vq);
}

void vhl_blk_to_lane(struct vhl_blk_req *req, vhl_blk_lane_fn *fn)
{
	vhl_blk_lane_enter(req);
	vhl_blk_to_lane_uncounted(req, fn);
}

void vhl_blk_to_lane_uncounted(struct vhl_blk_req *req, vhl_blk_lane_fn *fn)
{
	req->job.run = fn;
	vhl_pool_submit(req->q->vq.dev, &req->job);
}

/* With a reference of its own: that of the file may go with the request. */
const struct cred *vhl_blk_lane_as_opener(const struct vhl_blk_disk *disk)
{
	return override_creds(get_cred(disk->file->f_cred));
}

void vhl_blk_lane_as_self(const struct cred *own)
{
	const struct cred *opener = current_cred();

	revert_creds(own);
	put_cred(opener);
}

bool vhl_blk_lane_interrupted(long ret)
{
	switch (ret) {
	case -EINTR:
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
	case -ERESTART_RESTARTBLOCK:
		return !fatal_signal_pending(current);
	}
	return false;
}

bool vhl_blk_lane_wait_memory(unsigned int *tries)
{
	if (++*tries > VHL_BLK_MEMORY_TRIES || fatal_signal_pending(current))
		return false;
	schedule_timeout_killable(HZ / 100 ?: 1);
	return true;
}
