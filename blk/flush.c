// SPDX-License-Identifier: GPL-2.0
/*
 * Flushes (virtio 1.2, section 5.2.6.2), and whether what was written is stable.
 *
 * All queues of a disk share one flush that runs, and one that waits for it to end: it covers what
 * was completed before it began, for all requests that were taken until then. The first of them
 * goes to the lane for all.
 *
 * The page cache keeps one error for a file, and reports it once to each open file (struct file). A
 * driver may not have had the answer when it sends its next flush, a second flush may be under way,
 * and another process that shares the open file may have been told. So the disk looks for itself
 * whether there was an error since it was attached, and stays bad until it is attached anew. Where
 * no request has failed by then, the driver does not know yet: a guest was stopped and goes on, or
 * a VMM took over from another one. Then it stays bad.
 */
#include <linux/errno.h>
#include <linux/errseq.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/spinlock.h>

#include "blk.h"

/*
 * Any context. Without an error that was not seen yet, the next one is sure to be another one:
 * vhl_blk_flush_init() has looked at all.
 */
bool vhl_blk_flush_is_stable(const struct vhl_blk_disk *disk)
{
	return !READ_ONCE(disk->flush_error) &&
	       !errseq_check(&disk->inode->i_mapping->wb_err, disk->wb_since);
}

bool vhl_blk_flush_tell(struct vhl_blk_disk *disk)
{
	bool stable = vhl_blk_flush_is_stable(disk);

	if (unlikely(!stable))
		WRITE_ONCE(disk->told, true);
	return stable;
}

int vhl_blk_flush_file(struct vhl_blk_disk *disk)
{
	unsigned int tries = 0;
	int ret;

	if (!vhl_blk_flush_tell(disk))
		return -EIO;
	do {
		ret = vfs_fsync(disk->file, 1);
	} while (ret == -ENOMEM && vhl_blk_lane_wait_memory(&tries));
	if (vhl_blk_lane_interrupted(ret))
		return -EINTR;
	if (ret)
		WRITE_ONCE(disk->flush_error, ret);
	return vhl_blk_flush_tell(disk) ? 0 : -EIO;
}

void vhl_blk_flush_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	offer->features |= BIT_ULL(VIRTIO_BLK_F_FLUSH);
}

/* For a request and those that wait with it */
static void flush_run(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job), *next;
	struct vhl_blk_disk *disk = req->q->disk;
	const struct cred *own;
	int ret = -EIO;
	LIST_HEAD(reqs);

	spin_lock(&disk->flush_lock);
	list_splice_init(&disk->flush_waiting, &reqs);
	spin_unlock(&disk->flush_lock);
	if (!dead) {
		own = vhl_blk_lane_as_opener(disk);
		ret = vhl_blk_flush_file(disk);
		vhl_blk_lane_as_self(own);
	}
	if (ret == -EINTR) {
		/* once more when the thread has seen the signal, a stop or a freeze */
		spin_lock(&disk->flush_lock);
		list_splice(&reqs, &disk->flush_waiting);
		spin_unlock(&disk->flush_lock);
		vhl_blk_to_lane_uncounted(req, flush_run);
		return;
	}
	spin_lock(&disk->flush_lock);
	next = list_first_entry_or_null(&disk->flush_waiting, struct vhl_blk_req, job.node);
	if (next)
		list_del(&next->job.node);
	else
		disk->flushing = false;
	spin_unlock(&disk->flush_lock);
	/* not under the lock, since it may be run at once */
	if (next)
		vhl_blk_to_lane_uncounted(next, flush_run);
	/* with the last of them the disk may be gone, if no other one waits */
	list_add(&req->job.node, &reqs);
	list_for_each_entry_safe(req, next, &reqs, job.node)
		vhl_blk_finish(req, ret ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

int vhl_blk_flush(struct vhl_blk_io *io)
{
	struct vhl_blk_disk *disk = io->q->disk;
	bool first;
	int ret;

	/* nothing was written */
	if (disk->read_only)
		return vhl_blk_answer(io, VIRTIO_BLK_S_OK);
	ret = vhl_blk_take(io);
	if (ret)
		return ret;
	spin_lock(&disk->flush_lock);
	first = !disk->flushing;
	if (first)
		disk->flushing = true;
	else
		list_add_tail(&io->req->job.node, &disk->flush_waiting);
	spin_unlock(&disk->flush_lock);
	if (first)
		vhl_blk_to_lane_uncounted(io->req, flush_run);
	return 0;
}

static struct vhl_blk_untold flush_untold(const struct vhl_blk_disk *disk)
{
	const struct inode *inode = disk->inode;

	return (struct vhl_blk_untold){
		.any		= !READ_ONCE(disk->told),
		.dev		= inode->i_sb->s_dev,
		.ino		= inode->i_ino,
		.generation	= inode->i_generation,
		.error		= READ_ONCE(disk->flush_error),
		.since		= disk->wb_since,
	};
}

void vhl_blk_flush_exit(const struct vhl_blk_disk *disk)
{
	if (!disk->read_only)
		disk->blk->untold = flush_untold(disk);
}

/* Return: whether @disk goes on from where one was that the device has had, or still has */
static bool flush_goes_on(struct vhl_blk_disk *disk)
{
	const struct vhl_blk_disk *attached = disk->blk->disk;
	struct vhl_blk_untold now, before = disk->blk->untold;

	if (attached && attached->inode == disk->inode)
		before = flush_untold(attached);
	now = flush_untold(disk);
	if (!before.any || now.dev != before.dev || now.ino != before.ino ||
	    now.generation != before.generation)
		return false;
	disk->flush_error = before.error;
	disk->wb_since = before.since;
	return true;
}

/*
 * What was lost before is nothing that the driver was promised, but attaching it tells the log.
 * Return: the error, or 0
 */
static int flush_begin_anew(struct vhl_blk_disk *disk)
{
	struct address_space *mapping = disk->inode->i_mapping;
	int lost;

	if (mapping == disk->file->f_mapping) {
		lost = file_check_and_advance_wb_err(disk->file);
		disk->wb_since = READ_ONCE(disk->file->f_wb_err);
		return lost;
	}
	/* an overlay has opened the file below for itself: that one is to tell now, not later */
	lost = disk->read_only ? 0 : vfs_fsync(disk->file, 1);
	disk->wb_since = errseq_sample(&mapping->wb_err);
	errseq_check_and_advance(&mapping->wb_err, &disk->wb_since);
	return lost;
}

void vhl_blk_flush_init(struct vhl_blk_disk *disk)
{
	struct vhl_dev *dev = &disk->blk->dev;
	int lost;

	lockdep_assert_held(&dev->mutex);

	disk->flush_error = 0;
	disk->told = false;
	if (!flush_goes_on(disk)) {
		lost = flush_begin_anew(disk);
		if (lost)
			pr_notice_ratelimited("%s %llu: an earlier write to this disk was lost (%d); attached all the same\n",
					      dev->node->name, dev->id, lost);
	} else if (!vhl_blk_flush_is_stable(disk)) {
		pr_notice_ratelimited("%s %llu: a write to this disk was lost before it was attached once more, and its driver does not know: flushes fail\n",
				      dev->node->name, dev->id);
	}
	spin_lock_init(&disk->flush_lock);
	INIT_LIST_HEAD(&disk->flush_waiting);
	disk->flushing = false;
}
