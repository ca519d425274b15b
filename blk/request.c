// SPDX-License-Identifier: GPL-2.0
/*
 * A chain becomes a request (virtio 1.2, section 5.2.6), and a request is answered.
 */
#include <linux/highmem.h>
#include <linux/indirect_call_wrapper.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blk.h"

/* Segments that a slot keeps its memory for, when it was needed once */
#define VHL_BLK_KEPT_SEGS	128

/*
 * Slots
 */

static void slot_free_iov(struct vhl_blk_req *req)
{
	if (req->iov != req->fixed)
		kfree(req->iov);
	req->iov = req->fixed;
	req->iov_max = VHL_BLK_FIXED_SEGS;
}

static noinline struct vhl_blk_req *slot_more(struct vhl_blk_vq *q, unsigned int piece)
{
	struct vhl_blk_req *reqs = kcalloc(VHL_BLK_SLOTS, sizeof(*reqs),
					   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	unsigned int i;

	if (!reqs)
		return NULL;
	for (i = 0; i < VHL_BLK_SLOTS; i++) {
		reqs[i].q = q;
		reqs[i].id = piece * VHL_BLK_SLOTS + i;
		reqs[i].iov = reqs[i].fixed;
		reqs[i].iov_max = VHL_BLK_FIXED_SEGS;
	}
	q->reqs[piece] = reqs;
	return reqs;
}

/* The slot of a chain, or NULL when there is no memory for it. */
static struct vhl_blk_req *slot_find(struct vhl_blk_vq *q, u16 id)
{
	unsigned int piece = id / VHL_BLK_SLOTS;
	struct vhl_blk_req *reqs = q->reqs[piece];

	if (unlikely(!reqs))
		reqs = slot_more(q, piece);
	return reqs ? &reqs[id % VHL_BLK_SLOTS] : NULL;
}

static void slot_free_piece(struct vhl_blk_req *reqs)
{
	unsigned int i;

	if (!reqs)
		return;
	for (i = 0; i < VHL_BLK_SLOTS; i++)
		slot_free_iov(&reqs[i]);
	kfree(reqs);
}

static unsigned int slot_pieces(const struct vhl_blk_vq *q)
{
	return DIV_ROUND_UP(vhl_vq_size(&q->vq), VHL_BLK_SLOTS);
}

int vhl_blk_slots_init(struct vhl_blk_vq *q)
{
	q->reqs = kvzalloc_node(array_size(slot_pieces(q), sizeof(*q->reqs)), GFP_KERNEL_ACCOUNT,
				vhl_vq_node(&q->vq));
	return q->reqs ? 0 : -ENOMEM;
}

/*
 * Nothing is in flight. A job may be about to return, but that touches neither the queue nor its
 * requests.
 */
void vhl_blk_slots_free(struct vhl_blk_vq *q)
{
	unsigned int i;

	for (i = 0; i < slot_pieces(q); i++)
		slot_free_piece(q->reqs[i]);
	kvfree(q->reqs);
	q->reqs = NULL;
}

/*
 * Completion
 */

/* @len: bytes of data, all of which were read or written if the request succeeded */
static struct vhl_count request_count(u8 status, bool write, u32 len)
{
	bool ok = status == VIRTIO_BLK_S_OK;

	return (struct vhl_count){
		.reqs = 1,
		.errors = !ok,
		.in = ok && !write ? len : 0,
		.out = ok && write ? len : 0,
	};
}

static void request_put_status(struct vhl_blk_req *req, u8 status)
{
	u8 *page = kmap_local_page(req->status_page);

	WRITE_ONCE(page[req->status_off], status);
	kunmap_local(page);
}

/* The caller touches neither the request nor the queue afterwards. */
static void request_publish(struct vhl_blk_req *req, u8 status)
{
	struct vhl_vq *vq = &req->q->vq;
	struct vhl_done done = {
		.id = req->id,
		.len = req->used,
	};
	struct vhl_count count = request_count(status, req->write, req->len);

	if (unlikely(req->marks))
		vhl_blk_marks_set(req);
	unpin_user_page(req->status_page);
	if (unlikely(req->iov_max > VHL_BLK_KEPT_SEGS))
		slot_free_iov(req);
	if (unlikely(req->on_lane))
		vhl_blk_lane_leave(req);
	/*
	 * The slot comes first: once the chain is published the driver may use its id again, and
	 * the worker the slot. Pairs with vhl_blk_handle().
	 */
	smp_store_release(&req->busy, false);
	vhl_vq_complete(vq, &done, 1, &count);
}

/* On the lane */
static void request_make_dirty(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);

	if (!dead)
		set_page_dirty_lock(req->status_page);
	request_publish(req, req->status);
}

void vhl_blk_finish(struct vhl_blk_req *req, u8 status)
{
	request_put_status(req, status);
	/*
	 * The page was dirty when it was pinned. Should it have been written back since, it has to
	 * be made dirty again, which may sleep. Orders the byte before the look at the flag:
	 * writeback clears the flag, then reads the page.
	 */
	smp_mb();
	if (unlikely(!folio_test_dirty(page_folio(req->status_page)))) {
		req->status = status;
		vhl_blk_to_lane_uncounted(req, request_make_dirty);
		return;
	}
	request_publish(req, status);
}

/*
 * Submission. Completions are held back, but not while the worker sleeps: what may have to wait for
 * a page of the guest is tried without first, then once more with nothing held.
 */

static int request_write_status(const struct vhl_blk_io *io, u8 status)
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

int vhl_blk_answer(const struct vhl_blk_io *io, u8 status)
{
	struct vhl_done done = { .id = io->id, .len = io->used };
	struct vhl_count count = request_count(status, io->write, io->len);

	if (request_write_status(io, status))
		return VHL_FAULT_ACCESS;
	if (vhl_blk_logs(io))
		vhl_blk_mark_status(io);
	vhl_vq_complete(&io->q->vq, &done, 1, &count);
	return 0;
}

/* The chain's segments are good only while the worker looks at it. */
static bool request_copy_segs(struct vhl_blk_req *req, const struct vhl_blk_io *io)
{
	if (unlikely(io->segs > req->iov_max)) {
		unsigned int max = roundup_pow_of_two(io->segs);
		struct iovec *iov = kmalloc_array(max, sizeof(*iov),
						  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

		if (!iov)
			return false;
		slot_free_iov(req);
		req->iov = iov;
		req->iov_max = max;
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
static int request_pin_status(struct vhl_blk_req *req, const struct vhl_blk_io *io)
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

	if (io->len && !request_copy_segs(req, io))
		return -ENOMEM;
	if (vhl_blk_logs(io) && !vhl_blk_marks_take(io))
		return -ENOMEM;
	ret = request_pin_status(req, io);
	if (unlikely(ret)) {
		vhl_blk_marks_drop(req);
		return ret;
	}
	req->write = io->write;
	req->used = io->used;
	req->len = io->len;
	req->done = 0;
	req->edge = 0;
	req->pos = io->pos;
	WRITE_ONCE(req->busy, true);
	return 0;
}

/* The last byte of the device-writable part, which is not empty. */
static u8 __user *request_status_addr(const struct vhl_chain *chain)
{
	const struct iovec *iov = &chain->iov[chain->out_num + chain->in_num - 1];

	while (!iov->iov_len)
		iov--;
	return (u8 __user *)iov->iov_base + iov->iov_len - 1;
}

static bool request_copy_hdr(struct virtio_blk_outhdr *hdr, const struct vhl_chain *chain)
{
	struct iov_iter iter;

	iov_iter_init(&iter, ITER_SOURCE, chain->iov, chain->out_num, sizeof(*hdr));
	return copy_from_iter(hdr, sizeof(*hdr), &iter) == sizeof(*hdr);
}

static bool request_read_hdr(struct vhl_blk_vq *q, struct virtio_blk_outhdr *hdr,
			     const struct vhl_chain *chain)
{
	bool ok;

	pagefault_disable();
	ok = request_copy_hdr(hdr, chain);
	pagefault_enable();
	if (likely(ok))
		return true;
	vhl_vq_flush(&q->vq);
	ok = request_copy_hdr(hdr, chain);
	vhl_vq_hold(&q->vq);
	return ok;
}

/* Find out what a chain wants: the type is NULL where that is not known. Return: as vhl_blk_answer() */
static __always_inline int request_read(struct vhl_blk_vq *q, const struct vhl_chain *chain,
					struct vhl_blk_io *io, const struct vhl_blk_type **typep)
{
	struct vhl_blk_req *req = slot_find(q, chain->id);
	const struct vhl_blk_type *type;
	struct virtio_blk_outhdr hdr;

	*io = (struct vhl_blk_io){
		.q = q,
		.req = req,
		.id = chain->id,
		/*
		 * The status byte is written and it is the last one, so all of them count as
		 * written, as drivers know it from other devices.
		 */
		.used = chain->in_len,
	};

	if (unlikely(!req))
		return -ENOMEM;
	/* pairs with request_publish(): whatever used the slot before is done with it */
	if (smp_load_acquire(&req->busy))
		return VHL_FAULT_IN_FLIGHT;
	if (chain->out_len < sizeof(hdr) || !chain->in_len)
		return VHL_FAULT_REQUEST;
	io->status = request_status_addr(chain);

	if (!request_read_hdr(q, &hdr, chain))
		return VHL_FAULT_ACCESS;

	type = vhl_blk_type_find(vhl32_to_cpu(hdr.type));
	*typep = type;
	if (unlikely(!type))
		return 0;
	io->sector = vhl64_to_cpu(hdr.sector);
	if (type->data == VHL_BLK_DATA_OUT) {
		io->write = true;
		io->iov = chain->iov;
		io->segs = chain->out_num;
		io->skip = sizeof(hdr);
		io->len = chain->out_len - sizeof(hdr);
	} else if (type->data == VHL_BLK_DATA_IN) {
		io->iov = chain->iov + chain->out_num;
		io->segs = chain->in_num;
		io->len = chain->in_len - 1;
	}
	return 0;
}

static __always_inline int request_handle(struct vhl_blk_io *io, const struct vhl_blk_type *type)
{
	if (unlikely(!type))
		return vhl_blk_answer(io, VIRTIO_BLK_S_UNSUPP);
	return INDIRECT_CALL_1(type->handle, vhl_blk_rw, io);
}

int vhl_blk_handle(struct vhl_blk_vq *q, const struct vhl_chain *chain)
{
	const struct vhl_blk_type *type;
	struct vhl_blk_io io;
	int ret;

	ret = request_read(q, chain, &io, &type);
	return unlikely(ret) ? ret : request_handle(&io, type);
}

/* Of what names ranges the bytes are not known yet: those that are written count later (range.c). */
int vhl_blk_handle_limited(struct vhl_blk_vq *q, const struct vhl_chain *chain,
			   struct vhl_blk_limit *limit)
{
	const struct vhl_blk_type *type;
	struct vhl_blk_io io;
	u32 bytes;
	int ret;

	ret = request_read(q, chain, &io, &type);
	if (ret)
		return ret;
	if (!type || !type->limit)
		return request_handle(&io, type);
	bytes = type->handle == vhl_blk_rw && vhl_blk_rw_ok(&io) ? io.len : 0;
	if (!vhl_blk_limit_charge(limit, &q->waiter, type->limit, bytes))
		return -EBUSY;
	ret = request_handle(&io, type);
	if (ret != -ENOMEM)
		vhl_blk_limit_passed(&q->waiter);
	return ret;
}
