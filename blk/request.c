// SPDX-License-Identifier: GPL-2.0
/*
 * The worker's side: a chain becomes a request (virtio 1.2, section 5.2.6), which is answered at
 * once, submitted, or handed to the lane; and completions.
 */
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blk.h"

/*
 * Requests that are submitted together and whose completions may wait for each other. A turn, too:
 * its end costs next to nothing compared to that many requests.
 */
#define VHL_BLK_BATCH		32

/* Nor longer than it takes to copy so much, if it is a matter of copying */
#define VHL_BLK_BATCH_BYTES	SZ_1M

/**
 * struct vhl_blk_io - a chain that the worker looks at
 * @q: the queue
 * @req: the slot of the chain
 * @head: the chain's name
 * @used: bytes of its device-writable part
 * @status: where its status byte goes
 * @write: ITER_SOURCE or ITER_DEST
 * @iov: the part of the chain that has the data
 * @segs: its segments
 * @skip: bytes of it in front of the data
 * @len: bytes of data
 * @pos: where the data goes in the file
 */
struct vhl_blk_io {
	struct vhl_blk_vq *q;
	struct vhl_blk_req *req;
	u16 head;
	u32 used;
	u8 __user *status;
	bool write;
	const struct iovec *iov;
	unsigned int segs;
	u32 skip;
	u32 len;
	loff_t pos;
};

/*
 * Completion
 */

void vhl_blk_put_status(struct vhl_blk_req *req, u8 status)
{
	u8 *page = kmap_local_page(req->status_page);

	WRITE_ONCE(page[req->status_off], status);
	kunmap_local(page);
}

/* The status byte is written. The caller touches neither the request nor the queue afterwards. */
void vhl_blk_publish(struct vhl_blk_req *req, u8 status)
{
	struct vhl_vq *vq = &req->q->vq;
	struct vhl_done done = {
		.head = req->head,
		.len = req->used,
	};
	bool ok = status == VIRTIO_BLK_S_OK;
	u64 out = ok && req->write ? req->len : 0;
	u64 in = ok && !req->write ? req->len : 0;

	unpin_user_page(req->status_page);
	/*
	 * The slot comes first: once the chain is published the driver may use its head again, and
	 * the worker the slot. Pairs with vhl_blk_handle().
	 */
	smp_store_release(&req->busy, false);
	vhl_vq_complete(vq, &done, 1, 1, in, out, !ok);
}

static void vhl_blk_hand_to_lane(struct vhl_blk_req *req, enum vhl_blk_lane lane)
{
	req->lane = lane;
	INIT_WORK(&req->work, vhl_blk_lane_work);
	queue_work(to_blk_dev(req->q->vq.dev)->lane, &req->work);
}

/* Any context */
static void vhl_blk_finish(struct vhl_blk_req *req, u8 status)
{
	vhl_blk_put_status(req, status);
	/*
	 * The page was dirty when it was pinned. Should it have been written back since, it has to
	 * be made dirty again, which may sleep. Orders the byte before the look at the flag:
	 * writeback clears the flag, then reads the page.
	 */
	smp_mb();
	if (unlikely(!folio_test_dirty(page_folio(req->status_page)))) {
		req->status = status;
		vhl_blk_hand_to_lane(req, VHL_BLK_LANE_STATUS);
		return;
	}
	vhl_blk_publish(req, status);
}

/*
 * The file's code may look at the kiocb until the call that submitted it returns, so the request
 * is done when that and the I/O are. The last of them completes it, and sees what the other did:
 * atomic_dec_and_test() is fully ordered.
 */
static void vhl_blk_put(struct vhl_blk_req *req)
{
	if (!atomic_dec_and_test(&req->refs))
		return;
	/*
	 * Less than asked for: the file was cut behind our back. Its segments are no longer known,
	 * and there is nothing behind its end anyway.
	 */
	vhl_blk_finish(req, req->ret == req->len ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

static void vhl_blk_ki_complete(struct kiocb *iocb, long ret)
{
	struct vhl_blk_req *req = container_of(iocb, struct vhl_blk_req, iocb);

	if (req->write && req->q->disk->regular)
		kiocb_end_write(iocb);
	req->ret = ret;
	vhl_blk_put(req);
}

/*
 * Submission. What returns a fault has left the chain alone: the queue is broken by it.
 */

/* Answer without having taken the slot. */
static enum vhl_ring_fault vhl_blk_answer(const struct vhl_blk_io *io, u8 status, u32 in, u32 out)
{
	struct vhl_done done = { .head = io->head, .len = io->used };

	if (put_user(status, io->status))
		return VHL_FAULT_ACCESS;
	vhl_vq_complete(&io->q->vq, &done, 1, 1, in, out, status != VIRTIO_BLK_S_OK);
	return VHL_FAULT_NONE;
}

/*
 * Take the slot of a request that will be completed from elsewhere.
 *
 * The status byte is reached by then through its page, from any context. It lies where the driver
 * likes, so there is no telling in advance.
 */
static enum vhl_ring_fault vhl_blk_take(const struct vhl_blk_io *io, struct vhl_blk_req **reqp)
{
	struct vhl_blk_req *req = io->req;
	unsigned long addr = (unsigned long)io->status;
	struct page *page;

	if (pin_user_pages_fast(addr & PAGE_MASK, 1, FOLL_WRITE, &page) != 1)
		return VHL_FAULT_ACCESS;
	if (!folio_test_dirty(page_folio(page)))
		set_page_dirty_lock(page);
	req->status_page = page;
	req->status_off = offset_in_page(addr);
	req->write = io->write;
	req->used = io->used;
	req->len = io->len;
	req->left = io->len;
	req->pos = io->pos;
	WRITE_ONCE(req->busy, true);
	*reqp = req;
	return VHL_FAULT_NONE;
}

/* @done bytes are behind us; have the lane do the rest. The segments are ours only for now. */
static void vhl_blk_punt(const struct vhl_blk_io *io, struct vhl_blk_req *req,
			 enum vhl_blk_lane lane, u32 done)
{
	req->iov = kmalloc_array(io->segs, sizeof(*io->iov), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!req->iov) {
		vhl_blk_finish(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	memcpy(req->iov, io->iov, io->segs * sizeof(*io->iov));
	req->segs = io->segs;
	req->skip = io->skip + done;
	req->left = io->len - done;
	req->pos = io->pos + done;
	vhl_blk_hand_to_lane(req, lane);
}

static void vhl_blk_iter(const struct vhl_blk_io *io, struct iov_iter *iter)
{
	iov_iter_init(iter, io->write ? ITER_SOURCE : ITER_DEST, io->iov, io->segs,
		      (size_t)io->skip + io->len);
	iov_iter_advance(iter, io->skip);
}

/* Stricter than some kernels are: also with what is in the middle, and with empty segments. */
static bool vhl_blk_is_aligned(const struct vhl_blk_io *io)
{
	const struct vhl_blk_disk *disk = io->q->disk;
	const struct iovec *iov = io->iov;
	size_t skip = io->skip;
	u32 left = io->len;

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

/*
 * Not to wait here for a file system to be thawed, which would keep clients from the queue. Until
 * kiocb_end_write(), in whatever context.
 */
static bool vhl_blk_try_start_write(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (!sb_start_write_trylock(sb))
		return false;
	__sb_writers_release(sb, SB_FREEZE_WRITE);
	return true;
}

static enum vhl_ring_fault vhl_blk_rw_direct(const struct vhl_blk_io *io)
{
	struct vhl_blk_disk *disk = io->q->disk;
	struct file *file = disk->file;
	struct vhl_blk_req *req;
	enum vhl_ring_fault fault;
	struct iov_iter iter;
	ssize_t ret;

	fault = vhl_blk_take(io, &req);
	if (fault)
		return fault;
	if (!vhl_blk_is_aligned(io)) {
		vhl_blk_punt(io, req, VHL_BLK_LANE_BOUNCE, 0);
		return VHL_FAULT_NONE;
	}

	vhl_blk_iter(io, &iter);
	init_sync_kiocb(&req->iocb, file);
	req->iocb.ki_flags = disk->iocb_flags;
	req->iocb.ki_pos = io->pos;
	req->iocb.ki_complete = vhl_blk_ki_complete;
	atomic_set(&req->refs, 2);
	if (io->write) {
		req->iocb.ki_flags |= io->q->write_flags;
		if (disk->regular && !vhl_blk_try_start_write(file)) {
			vhl_blk_punt(io, req, VHL_BLK_LANE_RW, 0);
			return VHL_FAULT_NONE;
		}
		ret = file->f_op->write_iter(&req->iocb, &iter);
	} else {
		ret = file->f_op->read_iter(&req->iocb, &iter);
	}
	if (ret == -EIOCBQUEUED) {
		vhl_blk_put(req);
		return VHL_FAULT_NONE;
	}

	/* done already: nobody else has the request */
	if (io->write && disk->regular)
		kiocb_end_write(&req->iocb);
	if (ret == io->len)
		vhl_blk_finish(req, VIRTIO_BLK_S_OK);
	else if (ret >= 0)
		vhl_blk_punt(io, req, VHL_BLK_LANE_RW, ret);
	else if (ret == -EINVAL)
		/* wants more of an alignment than it said */
		vhl_blk_punt(io, req, VHL_BLK_LANE_BOUNCE, 0);
	else
		vhl_blk_finish(req, VIRTIO_BLK_S_IOERR);
	return VHL_FAULT_NONE;
}

/*
 * What can be had without waiting.
 *
 * Return: bytes done, or the file's error.
 */
static ssize_t vhl_blk_rw_nowait(const struct vhl_blk_io *io)
{
	struct vhl_blk_disk *disk = io->q->disk;
	struct file *file = disk->file;
	struct iov_iter iter;
	struct kiocb iocb;
	ssize_t ret;

	/* what has to be stable before it is done cannot be had without waiting */
	if (!READ_ONCE(disk->nowait[io->write]) ||
	    (io->write && (disk->iocb_flags | io->q->write_flags) & IOCB_DSYNC))
		return 0;

	vhl_blk_iter(io, &iter);
	init_sync_kiocb(&iocb, file);
	iocb.ki_flags = disk->iocb_flags | IOCB_NOWAIT;
	iocb.ki_pos = io->pos;
	if (io->write) {
		iocb.ki_flags |= io->q->write_flags;
		if (!file_start_write_trylock(file))
			return 0;
		ret = file->f_op->write_iter(&iocb, &iter);
		file_end_write(file);
	} else {
		ret = file->f_op->read_iter(&iocb, &iter);
	}
	if (ret == -EOPNOTSUPP)
		WRITE_ONCE(disk->nowait[io->write], false);
	return ret == -EOPNOTSUPP || ret == -EAGAIN ? 0 : ret;
}

static enum vhl_ring_fault vhl_blk_rw_cached(const struct vhl_blk_io *io)
{
	ssize_t ret = vhl_blk_rw_nowait(io);
	struct vhl_blk_req *req;
	enum vhl_ring_fault fault;

	if (ret == io->len)
		return vhl_blk_answer(io, VIRTIO_BLK_S_OK, io->write ? 0 : io->len,
			      io->write ? io->len : 0);
	if (ret < 0)
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR, 0, 0);
	fault = vhl_blk_take(io, &req);
	if (!fault)
		vhl_blk_punt(io, req, VHL_BLK_LANE_RW, ret);
	return fault;
}

static enum vhl_ring_fault vhl_blk_rw(struct vhl_blk_io *io, u64 sector)
{
	struct vhl_blk_disk *disk = io->q->disk;
	u64 sectors = READ_ONCE(disk->capacity) >> SECTOR_SHIFT;
	u32 len = io->len;

	/* nothing, or more than the kernel itself would read or write at once */
	if (!len || len > MAX_RW_COUNT || (len & (disk->block_size - 1)))
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR, 0, 0);
	if (sector > sectors || len >> SECTOR_SHIFT > sectors - sector)
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR, 0, 0);
	io->pos = sector << SECTOR_SHIFT;
	if (io->pos & (disk->block_size - 1))
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR, 0, 0);
	if (io->write && disk->read_only)
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR, 0, 0);
	return disk->direct ? vhl_blk_rw_direct(io) : vhl_blk_rw_cached(io);
}

static enum vhl_ring_fault vhl_blk_flush(struct vhl_blk_io *io)
{
	struct vhl_blk_req *req;
	enum vhl_ring_fault fault;

	/* nothing was written */
	if (io->q->disk->read_only)
		return vhl_blk_answer(io, VIRTIO_BLK_S_OK, 0, 0);
	fault = vhl_blk_take(io, &req);
	if (!fault)
		vhl_blk_hand_to_lane(req, VHL_BLK_LANE_FLUSH);
	return fault;
}

static enum vhl_ring_fault vhl_blk_get_id(const struct vhl_blk_io *io, u32 room)
{
	struct iov_iter iter;
	u32 len = min_t(u32, room, VHL_BLK_ID_BYTES);

	iov_iter_init(&iter, ITER_DEST, io->iov, io->segs, len);
	if (copy_to_iter(io->q->disk->serial, len, &iter) != len)
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR, 0, 0);
	return vhl_blk_answer(io, VIRTIO_BLK_S_OK, len, 0);
}

/* The last byte of the device-writable part, which is not empty. */
static u8 __user *vhl_blk_status_addr(const struct vhl_chain *chain)
{
	const struct iovec *iov = &chain->iov[chain->out_num + chain->in_num - 1];

	while (!iov->iov_len)
		iov--;
	return (u8 __user *)iov->iov_base + iov->iov_len - 1;
}

static enum vhl_ring_fault vhl_blk_handle(struct vhl_blk_req *req, const struct vhl_chain *chain)
{
	struct virtio_blk_outhdr hdr;
	struct vhl_blk_io io = {
		.q = req->q,
		.req = req,
		.head = chain->head,
		/*
		 * The status byte is written and it is the last one, so all of them count as
		 * written, as drivers know it from other devices.
		 */
		.used = chain->in_len,
	};
	struct iov_iter iter;

	/* pairs with vhl_blk_publish(): who used the slot before is done with it */
	if (smp_load_acquire(&req->busy))
		return VHL_FAULT_IN_FLIGHT;
	if (chain->out_len < sizeof(hdr) || !chain->in_len)
		return VHL_FAULT_REQUEST;
	io.status = vhl_blk_status_addr(chain);

	iov_iter_init(&iter, ITER_SOURCE, chain->iov, chain->out_num, sizeof(hdr));
	if (copy_from_iter(&hdr, sizeof(hdr), &iter) != sizeof(hdr))
		return VHL_FAULT_ACCESS;

	io.iov = chain->iov + chain->out_num;
	io.segs = chain->in_num;
	switch (vhl32_to_cpu(hdr.type)) {
	case VIRTIO_BLK_T_IN:
		io.len = chain->in_len - 1;
		return vhl_blk_rw(&io, vhl64_to_cpu(hdr.sector));
	case VIRTIO_BLK_T_OUT:
		io.write = true;
		io.iov = chain->iov;
		io.segs = chain->out_num;
		io.skip = sizeof(hdr);
		io.len = chain->out_len - sizeof(hdr);
		return vhl_blk_rw(&io, vhl64_to_cpu(hdr.sector));
	case VIRTIO_BLK_T_FLUSH:
		return vhl_blk_flush(&io);
	case VIRTIO_BLK_T_GET_ID:
		return vhl_blk_get_id(&io, chain->in_len - 1);
	}
	return vhl_blk_answer(&io, VIRTIO_BLK_S_UNSUPP, 0, 0);
}

static noinline struct vhl_blk_req *vhl_blk_more_slots(struct vhl_blk_vq *q, unsigned int piece)
{
	struct vhl_blk_req *reqs = kcalloc(VHL_BLK_SLOTS, sizeof(*reqs),
					   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	unsigned int i;

	if (!reqs) {
		/* nobody tells when there is some: tried again and again, but not in a spin */
		usleep_range(1000, 2000);
		return NULL;
	}
	for (i = 0; i < VHL_BLK_SLOTS; i++) {
		reqs[i].q = q;
		reqs[i].head = piece * VHL_BLK_SLOTS + i;
	}
	q->reqs[piece] = reqs;
	return reqs;
}

/* The slot of a chain, or NULL when there is no memory for it, after a while. */
static struct vhl_blk_req *vhl_blk_slot(struct vhl_blk_vq *q, u16 head)
{
	unsigned int piece = head / VHL_BLK_SLOTS;
	struct vhl_blk_req *reqs = q->reqs[piece];

	if (unlikely(!reqs))
		reqs = vhl_blk_more_slots(q, piece);
	return reqs ? &reqs[head % VHL_BLK_SLOTS] : NULL;
}

enum vhl_run vhl_blk_run(struct vhl_vq *vq)
{
	struct vhl_blk_vq *q = to_blk_vq(vq);
	enum vhl_run run = VHL_RUN_MORE;
	enum vhl_ring_fault fault;
	struct vhl_blk_req *req;
	struct vhl_chain chain;
	struct blk_plug plug;
	unsigned int n;
	u64 bytes = 0;
	int ret;

	vhl_vq_hold(vq);
	blk_start_plug(&plug);
	for (n = 0; n < VHL_BLK_BATCH && bytes < VHL_BLK_BATCH_BYTES; n++) {
		ret = vhl_vq_next(vq, &chain);
		if (ret <= 0) {
			if (!ret)
				run = VHL_RUN_RING;
			break;
		}
		req = vhl_blk_slot(q, chain.head);
		if (unlikely(!req)) {
			vhl_vq_unget(vq, 1);
			break;
		}
		fault = vhl_blk_handle(req, &chain);
		if (unlikely(fault)) {
			/* not in flight, or a stop would wait for it */
			vhl_vq_unget(vq, 1);
			vhl_vq_break(vq, fault);
			break;
		}
		bytes += (u64)chain.out_len + chain.in_len;
	}
	blk_finish_plug(&plug);
	vhl_vq_flush(vq);
	return run;
}

/*
 * Start and stop
 */

static unsigned int vhl_blk_pieces(const struct vhl_vq *vq)
{
	return DIV_ROUND_UP(vq->ring.cfg.num, VHL_BLK_SLOTS);
}

int vhl_blk_start(struct vhl_vq *vq)
{
	struct vhl_blk_vq *q = to_blk_vq(vq);

	q->disk = q->attached ?: to_blk_dev(vq->dev)->disk;
	if (!q->disk)
		return -ENXIO;
	q->reqs = kvcalloc(vhl_blk_pieces(vq), sizeof(*q->reqs), GFP_KERNEL_ACCOUNT);
	if (!q->reqs)
		return -ENOMEM;
	/* a driver that cannot flush takes every write that is done for a stable one */
	q->write_flags = IOCB_WRITE;
	if (!vhl_has_feature(vq->dev, VIRTIO_BLK_F_FLUSH))
		q->write_flags |= IOCB_DSYNC;
	return 0;
}

/*
 * Nothing is in flight. A work item may be about to return, but that touches neither the queue nor
 * its requests.
 */
void vhl_blk_stop(struct vhl_vq *vq)
{
	struct vhl_blk_vq *q = to_blk_vq(vq);
	unsigned int i;

	for (i = 0; i < vhl_blk_pieces(vq); i++)
		kfree(q->reqs[i]);
	kvfree(q->reqs);
	q->reqs = NULL;
	q->disk = NULL;
}
