// SPDX-License-Identifier: GPL-2.0
/*
 * A chain becomes a request (virtio 1.2, section 5.2.6), and a request is answered.
 */
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blk.h"

/* Room for segments that a slot keeps, when it was needed once */
#define VHL_BLK_KEPT_SEGS	128

/*
 * Completion
 */

static void vhl_blk_put_status(struct vhl_blk_req *req, u8 status)
{
	u8 *page = kmap_local_page(req->status_page);

	WRITE_ONCE(page[req->status_off], status);
	kunmap_local(page);
}

static void vhl_blk_free_room(struct vhl_blk_req *req)
{
	if (req->iov != req->fixed)
		kfree(req->iov);
	req->iov = req->fixed;
	req->room = VHL_BLK_FIXED_SEGS;
}

/* The status byte is written. The caller touches neither the request nor the queue afterwards. */
static void vhl_blk_publish(struct vhl_blk_req *req, u8 status)
{
	struct vhl_vq *vq = &req->q->vq;
	struct vhl_done done = {
		.id = req->head,
		.len = req->used,
	};
	bool ok = status == VIRTIO_BLK_S_OK;
	struct vhl_count count = {
		.reqs = 1,
		.errors = !ok,
		.in = ok && !req->write ? req->len : 0,
		.out = ok && req->write ? req->len : 0,
	};

	unpin_user_page(req->status_page);
	if (unlikely(req->room > VHL_BLK_KEPT_SEGS))
		vhl_blk_free_room(req);
	if (unlikely(req->on_lane))
		vhl_blk_lane_leave(req);
	/*
	 * The slot comes first: once the chain is published the driver may use its head again, and
	 * the worker the slot. Pairs with vhl_blk_handle().
	 */
	smp_store_release(&req->busy, false);
	vhl_vq_complete(vq, &done, 1, &count);
}

/* All is done, but the page of the status byte is clean */
static void vhl_blk_make_dirty(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);

	if (!dead)
		set_page_dirty_lock(req->status_page);
	vhl_blk_publish(req, req->status);
}

void vhl_blk_finish(struct vhl_blk_req *req, u8 status)
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
		vhl_blk_to_lane(req, vhl_blk_make_dirty);
		return;
	}
	vhl_blk_publish(req, status);
}

/*
 * Submission. Completions are held back, but not while the worker sleeps: what may have to wait for a
 * page of the guest is tried without first, then once more with nothing held.
 */

static int vhl_blk_write_status(const struct vhl_blk_io *io, u8 status)
{
	int ret;

	pagefault_disable();
	ret = put_user(status, io->status);
	pagefault_enable();
	if (likely(!ret))
		return 0;
	vhl_vq_flush(&io->q->vq);
	ret = put_user(status, io->status);
	vhl_vq_hold(&io->q->vq);
	return ret;
}

int vhl_blk_answer(const struct vhl_blk_io *io, u8 status, u32 in, u32 out)
{
	struct vhl_done done = { .id = io->head, .len = io->used };
	struct vhl_count count = {
		.reqs = 1,
		.errors = status != VIRTIO_BLK_S_OK,
		.in = in,
		.out = out,
	};

	if (vhl_blk_write_status(io, status))
		return VHL_FAULT_ACCESS;
	vhl_vq_complete(&io->q->vq, &done, 1, &count);
	return 0;
}

/* The segments are ours only for now. */
static bool vhl_blk_copy_segs(struct vhl_blk_req *req, const struct vhl_blk_io *io)
{
	if (unlikely(io->segs > req->room)) {
		unsigned int room = roundup_pow_of_two(io->segs);
		struct iovec *iov = kmalloc_array(room, sizeof(*iov),
						  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

		if (!iov)
			return false;
		vhl_blk_free_room(req);
		req->iov = iov;
		req->room = room;
	}
	memcpy(req->iov, io->iov, io->segs * sizeof(*io->iov));
	req->segs = io->segs;
	req->skip = io->skip;
	return true;
}

/*
 * The status byte is reached through its page, from any context. It lies where the driver likes, so
 * there is no telling in advance. Return: as vhl_blk_take()
 */
static int vhl_blk_pin_status(struct vhl_blk_req *req, const struct vhl_blk_io *io)
{
	unsigned long addr = (unsigned long)io->status;
	struct page *page;
	int n;

	n = pin_user_pages_fast(addr & PAGE_MASK, 1, FOLL_WRITE | FOLL_NOFAULT, &page);
	if (unlikely(n != 1)) {
		vhl_vq_flush(&io->q->vq);
		n = pin_user_pages_fast(addr & PAGE_MASK, 1, FOLL_WRITE, &page);
		vhl_vq_hold(&io->q->vq);
	}
	if (unlikely(n != 1))
		return n == -ENOMEM || n == -EAGAIN ? -ENOMEM : VHL_FAULT_ACCESS;
	if (unlikely(!folio_test_dirty(page_folio(page)))) {
		vhl_vq_flush(&io->q->vq);
		set_page_dirty_lock(page);
		vhl_vq_hold(&io->q->vq);
	}
	req->status_page = page;
	req->status_off = offset_in_page(addr);
	return 0;
}

int vhl_blk_take(const struct vhl_blk_io *io)
{
	struct vhl_blk_req *req = io->req;
	int ret;

	if (io->len && !vhl_blk_copy_segs(req, io))
		return -ENOMEM;
	ret = vhl_blk_pin_status(req, io);
	if (ret)
		return ret;
	req->write = io->write;
	req->used = io->used;
	req->len = io->len;
	req->done = 0;
	req->edge = 0;
	req->pos = io->pos;
	WRITE_ONCE(req->busy, true);
	return 0;
}

static int vhl_blk_get_id(const struct vhl_blk_io *io, u32 room)
{
	struct iov_iter iter;
	u32 len = min_t(u32, room, VHL_BLK_ID_BYTES);
	bool ok;

	/* seldom asked for: not worth to be tried without page faults */
	vhl_vq_flush(&io->q->vq);
	iov_iter_init(&iter, ITER_DEST, io->iov, io->segs, len);
	ok = copy_to_iter(io->q->disk->serial, len, &iter) == len;
	vhl_vq_hold(&io->q->vq);
	if (!ok)
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

static bool vhl_blk_copy_hdr(struct virtio_blk_outhdr *hdr, const struct vhl_chain *chain)
{
	struct iov_iter iter;

	iov_iter_init(&iter, ITER_SOURCE, chain->iov, chain->out_num, sizeof(*hdr));
	return copy_from_iter(hdr, sizeof(*hdr), &iter) == sizeof(*hdr);
}

static bool vhl_blk_read_hdr(struct vhl_blk_vq *q, struct virtio_blk_outhdr *hdr,
			     const struct vhl_chain *chain)
{
	bool ok;

	pagefault_disable();
	ok = vhl_blk_copy_hdr(hdr, chain);
	pagefault_enable();
	if (likely(ok))
		return true;
	vhl_vq_flush(&q->vq);
	ok = vhl_blk_copy_hdr(hdr, chain);
	vhl_vq_hold(&q->vq);
	return ok;
}

static noinline struct vhl_blk_req *vhl_blk_more_slots(struct vhl_blk_vq *q, unsigned int piece)
{
	struct vhl_blk_req *reqs = kcalloc(VHL_BLK_SLOTS, sizeof(*reqs),
					   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	unsigned int i;

	if (!reqs)
		return NULL;
	for (i = 0; i < VHL_BLK_SLOTS; i++) {
		reqs[i].q = q;
		reqs[i].head = piece * VHL_BLK_SLOTS + i;
		reqs[i].iov = reqs[i].fixed;
		reqs[i].room = VHL_BLK_FIXED_SEGS;
	}
	q->reqs[piece] = reqs;
	return reqs;
}

/* The slot of a chain, or NULL when there is no memory for it. */
static struct vhl_blk_req *vhl_blk_slot(struct vhl_blk_vq *q, u16 head)
{
	unsigned int piece = head / VHL_BLK_SLOTS;
	struct vhl_blk_req *reqs = q->reqs[piece];

	if (unlikely(!reqs))
		reqs = vhl_blk_more_slots(q, piece);
	return reqs ? &reqs[head % VHL_BLK_SLOTS] : NULL;
}

int vhl_blk_handle(struct vhl_blk_vq *q, const struct vhl_chain *chain)
{
	struct vhl_blk_req *req = vhl_blk_slot(q, chain->id);
	struct virtio_blk_outhdr hdr;
	struct vhl_blk_io io = {
		.q = q,
		.req = req,
		.head = chain->id,
		/*
		 * The status byte is written and it is the last one, so all of them count as
		 * written, as drivers know it from other devices.
		 */
		.used = chain->in_len,
	};

	if (unlikely(!req))
		return -ENOMEM;
	/* pairs with vhl_blk_publish(): who used the slot before is done with it */
	if (smp_load_acquire(&req->busy))
		return VHL_FAULT_IN_FLIGHT;
	if (chain->out_len < sizeof(hdr) || !chain->in_len)
		return VHL_FAULT_REQUEST;
	io.status = vhl_blk_status_addr(chain);

	if (!vhl_blk_read_hdr(q, &hdr, chain))
		return VHL_FAULT_ACCESS;

	io.iov = chain->iov + chain->out_num;
	io.segs = chain->in_num;
	/*
	 * Drivers of virtio 0.9 can make any request a barrier where that is offered, which it is not
	 * here: some set the bit all the same, and do not rely on it.
	 */
	switch (vhl32_to_cpu(hdr.type) & ~VIRTIO_BLK_T_BARRIER) {
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
	case VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_OUT:	/* of virtio 0.9 */
		return vhl_blk_flush(&io);
	case VIRTIO_BLK_T_GET_ID:
		return vhl_blk_get_id(&io, chain->in_len - 1);
	}
	return vhl_blk_answer(&io, VIRTIO_BLK_S_UNSUPP, 0, 0);
}

static unsigned int vhl_blk_pieces(const struct vhl_blk_vq *q)
{
	return DIV_ROUND_UP(vhl_vq_size(&q->vq), VHL_BLK_SLOTS);
}

int vhl_blk_slots_init(struct vhl_blk_vq *q)
{
	q->reqs = kvcalloc(vhl_blk_pieces(q), sizeof(*q->reqs), GFP_KERNEL_ACCOUNT);
	return q->reqs ? 0 : -ENOMEM;
}

static void vhl_blk_free_slots(struct vhl_blk_req *reqs)
{
	unsigned int i;

	if (!reqs)
		return;
	for (i = 0; i < VHL_BLK_SLOTS; i++)
		vhl_blk_free_room(&reqs[i]);
	kfree(reqs);
}

/*
 * Nothing is in flight. A job may be about to return, but that touches neither the queue nor its
 * requests.
 */
void vhl_blk_slots_free(struct vhl_blk_vq *q)
{
	unsigned int i;

	for (i = 0; i < vhl_blk_pieces(q); i++)
		vhl_blk_free_slots(q->reqs[i]);
	kvfree(q->reqs);
	q->reqs = NULL;
}
