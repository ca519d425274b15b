// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes (virtio 1.2, section 5.2.6).
 *
 * The worker tries what can be had without waiting: through the page cache at once, else by
 * asynchronous I/O that is submitted without sleeping. The lane does what is left: it submits again
 * and may sleep for that; what does not get through in one piece then it reads or writes itself.
 */
#include <linux/blkdev.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "blk.h"

/*
 * Segments of a request as drivers are told; more and larger ones are served as well.  Clients
 * multiply the two in 32 bits.
 */
#define VHL_BLK_SIZE_MAX	SZ_1M
#define VHL_BLK_SEG_MAX		126

static_assert((u64)VHL_BLK_SIZE_MAX * VHL_BLK_SEG_MAX <= S32_MAX);

void vhl_blk_rw_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	offer->features |= BIT_ULL(VIRTIO_BLK_F_SIZE_MAX) | BIT_ULL(VIRTIO_BLK_F_SEG_MAX);
	if (disk && disk->read_only)
		offer->features |= BIT_ULL(VIRTIO_BLK_F_RO);
	offer->config.size_max = cpu_to_vhl32(VHL_BLK_SIZE_MAX);
	offer->config.seg_max = cpu_to_vhl32(VHL_BLK_SEG_MAX);
}

static bool rw_is_dsync(const struct vhl_blk_req *req)
{
	return req->write && vhl_blk_writes_through(req);
}

/* Any context */
static void rw_finish(struct vhl_blk_req *req, bool ok)
{
	vhl_blk_edge_end(req);
	/* a write-through says what a flush would: the driver sends none afterwards */
	if (ok && rw_is_dsync(req) && !vhl_blk_flush_tell(req->q->disk))
		ok = false;
	vhl_blk_finish(req, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

static void rw_lane_flush(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);
	const struct cred *own;
	int ret = -EIO;

	if (!dead) {
		own = vhl_blk_lane_as_opener(req->q->disk);
		ret = vhl_blk_flush_file(req->q->disk);
		vhl_blk_lane_as_self(own);
	}
	if (ret == -EINTR)
		/* once more when the thread has seen the signal, a stop or a freeze */
		vhl_blk_to_lane(req, rw_lane_flush);
	else
		rw_finish(req, !ret);
}

/* All is read or written, but perhaps not stable. Any context */
static void rw_done(struct vhl_blk_req *req)
{
	if (req->q->disk->dsync_flushes && rw_is_dsync(req))
		vhl_blk_to_lane(req, rw_lane_flush);
	else
		rw_finish(req, true);
}

/*
 * Segments
 */

/* Stricter than some kernels are: also with segments in the middle, and with empty ones. */
static bool rw_is_aligned(const struct vhl_blk_req *req)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	size_t skip = (size_t)req->skip + req->done;
	const struct iovec *iov = req->iov;
	u32 left = req->len - req->done;

	for (; left; iov++) {
		unsigned long addr = (unsigned long)iov->iov_base + skip;
		size_t n;

		if (skip && skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		n = min_t(size_t, iov->iov_len - skip, left);
		if ((addr & disk->mem_mask) || (n & disk->len_mask))
			return false;
		skip = 0;
		left -= n;
	}
	return true;
}

/* Note what was done. Return: true if that is all. */
static bool rw_advance(struct vhl_blk_req *req, ssize_t ret)
{
	if (ret > 0)
		req->done += ret;
	return req->done == req->len;
}

/*
 * The lane
 */

ssize_t vhl_blk_rw_read(const struct vhl_blk_disk *disk, struct iov_iter *iter, loff_t pos)
{
	struct kiocb iocb;

	init_sync_kiocb(&iocb, disk->file);
	iocb.ki_flags = disk->iocb_flags;
	iocb.ki_pos = pos;
	return disk->file->f_op->read_iter(&iocb, iter);
}

ssize_t vhl_blk_rw_write(const struct vhl_blk_req *req, struct file *file, struct iov_iter *iter,
			 loff_t pos, int iocb_flags)
{
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, file);
	iocb.ki_flags = iocb_flags | READ_ONCE(req->q->write_flags);
	iocb.ki_pos = pos;
	file_start_write(file);
	ret = file->f_op->write_iter(&iocb, iter);
	file_end_write(file);
	return ret;
}

ssize_t vhl_blk_rw_transfer(const struct vhl_blk_req *req, struct iov_iter *iter, loff_t pos)
{
	const struct vhl_blk_disk *disk = req->q->disk;

	if (req->write)
		return vhl_blk_rw_write(req, disk->file, iter, pos, disk->iocb_flags);
	return vhl_blk_rw_read(disk, iter, pos);
}

/*
 * A read has reached the end of the file. If it is behind the end that the disk knows of, there is
 * nothing but zeroes; else the file was cut behind our back.
 */
static ssize_t rw_zero_tail(const struct vhl_blk_req *req, loff_t pos)
{
	size_t left = req->len - req->done;
	struct iov_iter iter;

	if (pos < READ_ONCE(req->q->disk->size))
		return -EIO;
	vhl_blk_iter(req, &iter);
	return iov_iter_zero(left, &iter) == left ? left : -EFAULT;
}

/* Return: 0 when all is done, -EINTR to begin anew, else that cannot be. */
static int rw_do_rest(struct vhl_blk_req *req)
{
	bool direct = req->q->disk->direct;
	bool bounce = direct && !(vhl_blk_is_whole(req) && rw_is_aligned(req));
	unsigned int tries = 0;
	struct iov_iter iter;
	ssize_t ret;

	/* a process that was killed waits for this thread */
	while (!fatal_signal_pending(current)) {
		loff_t pos = req->pos + req->done;

		vhl_blk_iter(req, &iter);
		if (bounce)
			ret = vhl_blk_bounce(req, &iter, pos);
		else
			ret = vhl_blk_rw_transfer(req, &iter, pos);
		if (!ret && !req->write)
			ret = rw_zero_tail(req, pos);
		/* counted here: what an iterator has left may have been cut off from it */
		if (rw_advance(req, ret))
			return 0;
		if (ret > 0)
			continue;
		if (vhl_blk_lane_interrupted(ret))
			return -EINTR;
		if (ret == -EINVAL && direct && !bounce)
			/* wants more of an alignment than it said */
			bounce = true;
		else if (ret != -ENOMEM || !vhl_blk_lane_wait_memory(&tries))
			/* 0: the file's own disk is full */
			return -EIO;
	}
	return -EIO;
}

static void rw_lane_rest(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);
	const struct cred *own;
	int ret = -EIO;

	if (!dead) {
		own = vhl_blk_lane_as_opener(req->q->disk);
		ret = rw_do_rest(req);
		vhl_blk_lane_as_self(own);
	}
	if (ret == -EINTR)
		/* once more when the thread has seen the signal, a stop or a freeze */
		vhl_blk_to_lane(req, rw_lane_rest);
	else if (ret)
		rw_finish(req, false);
	else
		rw_done(req);
}

/*
 * Asynchronous I/O
 */

static void rw_lane_submit(struct vhl_job *job, bool dead);

/* I/O has ended with @ret: finish the request, or have the lane go on with it. Any context */
static void rw_next(struct vhl_blk_req *req, long ret)
{
	struct vhl_blk_disk *disk = req->q->disk;
	vhl_blk_lane_fn *next = rw_lane_rest;

	if (rw_advance(req, ret)) {
		rw_done(req);
		return;
	}
	switch (ret) {
	case -EOPNOTSUPP:
		WRITE_ONCE(disk->nowait[req->write], false);
		fallthrough;
	case -EAGAIN:
	case -EFAULT:
		/* it was only a trial, without sleeping and perhaps without page faults */
		if (!req->trial)
			goto fail;
		next = rw_lane_submit;
		break;
	case -EIO:
		/* of several pieces, all that is known is that one could not be made or failed */
		if (req->len <= BIO_MAX_VECS * PAGE_SIZE)
			goto fail;
		break;
	case -EINVAL:
	case -ENOMEM:
	case -EINTR:
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
		break;
	default:
		if (ret < 0)
			goto fail;
	}
	vhl_blk_to_lane(req, next);
	return;

fail:
	rw_finish(req, false);
}

/*
 * The file's code may look at the kiocb until the call that submitted it returns, so the request
 * has ended when that and the I/O have. The last of them goes on with it, and sees what the other
 * did: atomic_dec_and_test() is fully ordered.
 */
static void rw_ki_complete(struct kiocb *iocb, long ret)
{
	struct vhl_blk_req *req = container_of(iocb, struct vhl_blk_req, iocb);

	if (req->write && req->q->disk->regular)
		kiocb_end_write(iocb);
	req->ret = ret;
	if (atomic_dec_and_test(&req->refs))
		rw_next(req, ret);
}

/* Exclude a freeze of the file system until kiocb_end_write(), in whatever context that is. */
static bool rw_start_write(struct kiocb *iocb)
{
	struct super_block *sb = file_inode(iocb->ki_filp)->i_sb;

	if (!(iocb->ki_flags & IOCB_NOWAIT)) {
		kiocb_start_write(iocb);
		return true;
	}
	if (!sb_start_write_trylock(sb))
		return false;
	__sb_writers_release(sb, SB_FREEZE_WRITE);
	return true;
}

/*
 * @flags: IOCB_NOWAIT, if it is not to wait; @nofault: nor wait for pages of the guest.
 *
 * Return: -EIOCBQUEUED, and the request is no longer the caller's; else what I/O ended with.
 */
static long rw_submit(struct vhl_blk_req *req, int flags, bool nofault)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	struct file *file = disk->file;
	struct kiocb *iocb = &req->iocb;
	struct iov_iter iter;
	ssize_t ret;

	vhl_blk_iter(req, &iter);
	iter.nofault = nofault;
	init_sync_kiocb(iocb, file);
	iocb->ki_flags = disk->iocb_flags | flags;
	iocb->ki_pos = req->pos + req->done;
	iocb->ki_complete = rw_ki_complete;
	atomic_set(&req->refs, 2);
	if (req->write) {
		iocb->ki_flags |= READ_ONCE(req->q->write_flags);
		if (disk->regular && !rw_start_write(iocb))
			return -EAGAIN;
		ret = file->f_op->write_iter(iocb, &iter);
	} else {
		ret = file->f_op->read_iter(iocb, &iter);
	}
	if (ret != -EIOCBQUEUED) {
		if (req->write && disk->regular)
			kiocb_end_write(iocb);
		return ret;
	}
	return atomic_dec_and_test(&req->refs) ? req->ret : -EIOCBQUEUED;
}

static void rw_lane_submit(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);
	const struct cred *own;
	long ret;

	if (dead) {
		rw_finish(req, false);
		return;
	}
	req->trial = false;
	own = vhl_blk_lane_as_opener(req->q->disk);
	ret = rw_submit(req, 0, false);
	vhl_blk_lane_as_self(own);
	if (ret != -EIOCBQUEUED)
		rw_next(req, ret);
}

/*
 * A request that the device takes in pieces cannot be tried without waiting. A block device waits
 * for its own requests in flight: with only few of this queue's it hardly has to.
 */
static bool rw_fits_device(const struct vhl_blk_io *io)
{
	const struct vhl_blk_disk *disk = io->q->disk;
	u64 pieces = DIV_ROUND_UP(io->len, disk->whole_max);

	if (disk->regular)
		return false;
	return pieces * vhl_vq_inflight(&io->q->vq) <
	       bdev_get_queue(I_BDEV(disk->inode))->nr_requests / 2;
}

static int rw_direct(const struct vhl_blk_io *io)
{
	const struct vhl_blk_disk *disk = io->q->disk;
	struct vhl_blk_req *req = io->req;
	int flags = disk->try_flags;
	long ret;

	ret = vhl_blk_take(io);
	if (ret)
		return ret;
	if (!vhl_blk_edge_begin(req, rw_lane_rest))
		return 0;
	if (!vhl_blk_is_whole(req) || !rw_is_aligned(req)) {
		vhl_blk_to_lane(req, rw_lane_rest);
		return 0;
	}
	if (unlikely(io->len > disk->whole_max))
		flags = 0;
	if (!READ_ONCE(disk->nowait[io->write]) ||
	    (flags != disk->try_flags && !rw_fits_device(io))) {
		vhl_blk_to_lane(req, rw_lane_submit);
		return 0;
	}
	req->trial = true;
	ret = -EFAULT;
	if (flags == disk->try_flags)
		ret = rw_submit(req, flags, true);
	if (ret == -EFAULT) {
		/* waits for pages of the guest or, in pieces, the device; with nothing held back */
		vhl_vq_flush(&io->q->vq);
		ret = rw_submit(req, flags, false);
		vhl_vq_hold(&io->q->vq);
	}
	if (ret != -EIOCBQUEUED)
		rw_next(req, ret);
	return 0;
}

/*
 * The page cache
 */

/*
 * What can be had without waiting.
 *
 * @flags: for a kiocb
 *
 * Return: bytes done, or the file's error
 */
static ssize_t rw_try_cached(const struct vhl_blk_io *io, int flags, bool nofault)
{
	struct vhl_blk_disk *disk = io->q->disk;
	struct file *file = disk->file;
	struct iov_iter iter;
	struct kiocb iocb;
	ssize_t ret;

	iov_iter_init(&iter, io->write ? ITER_SOURCE : ITER_DEST, io->iov, io->segs,
		      (size_t)io->skip + io->len);
	iov_iter_advance(&iter, io->skip);
	init_sync_kiocb(&iocb, file);
	iocb.ki_flags = flags | disk->try_flags;
	iocb.ki_pos = io->pos;
	if (io->write && !file_start_write_trylock(file))
		return -EAGAIN;
	if (nofault)
		pagefault_disable();
	if (io->write)
		ret = file->f_op->write_iter(&iocb, &iter);
	else
		ret = file->f_op->read_iter(&iocb, &iter);
	if (nofault)
		pagefault_enable();
	if (io->write)
		file_end_write(file);
	return ret;
}

static int rw_cached(const struct vhl_blk_io *io)
{
	struct vhl_blk_disk *disk = io->q->disk;
	int flags = disk->iocb_flags;
	ssize_t ret = -EAGAIN;
	int err;

	if (io->write)
		flags |= READ_ONCE(io->q->write_flags);
	/* what has to be stable before it is done cannot be had without waiting */
	if (READ_ONCE(disk->nowait[io->write]) && !(io->write && flags & IOCB_DSYNC))
		ret = rw_try_cached(io, flags, true);
	if (ret == -EFAULT) {
		vhl_vq_flush(&io->q->vq);
		ret = rw_try_cached(io, flags, false);
		vhl_vq_hold(&io->q->vq);
	}
	/* also of what failed, or is left to the lane: there may be no memory to take it */
	if (vhl_blk_logs(io))
		vhl_blk_mark_data(io);
	if (ret == io->len)
		return vhl_blk_answer(io, VIRTIO_BLK_S_OK);
	if (ret == -EOPNOTSUPP)
		WRITE_ONCE(disk->nowait[io->write], false);
	else if (ret < 0 && ret != -EAGAIN && ret != -ENOMEM)
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR);

	err = vhl_blk_take(io);
	if (err)
		return err;
	(void)rw_advance(io->req, ret);
	vhl_blk_to_lane(io->req, rw_lane_rest);
	return 0;
}

bool vhl_blk_rw_ok(const struct vhl_blk_io *io)
{
	const struct vhl_blk_disk *disk = io->q->disk;
	u32 len = io->len;

	/* nothing, or more than the kernel itself would read or write at once */
	if (!len || len > MAX_RW_COUNT || (len & (disk->block_size - 1)))
		return false;
	if (!vhl_blk_on_disk(disk, io->sector, len >> SECTOR_SHIFT))
		return false;
	return !io->write || !disk->read_only;
}

int vhl_blk_rw(struct vhl_blk_io *io)
{
	struct vhl_blk_disk *disk = io->q->disk;

	if (!vhl_blk_rw_ok(io))
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR);
	io->pos = io->sector << SECTOR_SHIFT;
	return disk->direct ? rw_direct(io) : rw_cached(io);
}
