// SPDX-License-Identifier: GPL-2.0
/*
 * The lane: what may block for long, in work items.
 *
 * Guest memory is reached with the owner's memory, which is given back before the request is
 * published: after that the device may be gone.
 */
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "blk.h"

/* Pages of our own that a request passes through, if there are so many */
#define VHL_BLK_BOUNCE_PAGES	32

/* Return: true when all of @iter was read or written. */
static bool vhl_blk_transfer(const struct vhl_blk_req *req, struct iov_iter *iter, loff_t *pos)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	struct file *file = disk->file;
	struct kiocb iocb;
	ssize_t ret;

	init_sync_kiocb(&iocb, file);
	iocb.ki_flags = disk->iocb_flags;
	if (req->write)
		iocb.ki_flags |= req->q->write_flags;

	while (iov_iter_count(iter)) {
		iocb.ki_pos = *pos;
		if (req->write) {
			file_start_write(file);
			ret = file->f_op->write_iter(&iocb, iter);
			file_end_write(file);
		} else {
			ret = file->f_op->read_iter(&iocb, iter);
		}
		/* 0: the file was cut behind our back, or its disk is full */
		if (ret <= 0)
			return false;
		*pos += ret;
	}
	return true;
}

/* Copy the first @len bytes of @pages from or to the guest. */
static bool vhl_blk_bounce_copy(const struct vhl_blk_req *req, const struct bio_vec *pages,
				size_t len, struct iov_iter *guest)
{
	for (; len; pages++) {
		size_t n = min_t(size_t, len, PAGE_SIZE);
		void *p = page_address(pages->bv_page);

		if ((req->write ? copy_from_iter(p, n, guest) : copy_to_iter(p, n, guest)) != n)
			return false;
		len -= n;
	}
	return true;
}

/*
 * Direct I/O from and to buffers that are not aligned as the disk needs it. Firmware does that,
 * and drivers of small systems.
 */
static bool vhl_blk_bounce(const struct vhl_blk_req *req, struct iov_iter *guest)
{
	unsigned int want = min_t(unsigned int, DIV_ROUND_UP(req->left, PAGE_SIZE),
				  VHL_BLK_BOUNCE_PAGES);
	loff_t pos = req->pos;
	struct bio_vec *pages;
	unsigned int n;
	bool ok = false;

	pages = kcalloc(want, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return false;
	for (n = 0; n < want; n++) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_NOWARN);

		if (!page)
			break;
		pages[n].bv_page = page;
		pages[n].bv_len = PAGE_SIZE;
	}
	if (!n)
		goto free;

	do {
		size_t len = min_t(size_t, iov_iter_count(guest), n * PAGE_SIZE);
		struct iov_iter iter;

		iov_iter_bvec(&iter, req->write ? ITER_SOURCE : ITER_DEST, pages, n, len);
		ok = (!req->write || vhl_blk_bounce_copy(req, pages, len, guest)) &&
		     vhl_blk_transfer(req, &iter, &pos) &&
		     (req->write || vhl_blk_bounce_copy(req, pages, len, guest));
	} while (ok && iov_iter_count(guest));

	while (n--)
		__free_page(pages[n].bv_page);
free:
	kfree(pages);
	return ok;
}

static bool vhl_blk_lane_rw(struct vhl_blk_req *req)
{
	struct vhl_dev *dev = req->q->vq.dev;
	loff_t pos = req->pos;
	struct iov_iter iter;
	bool ok = false;

	if (vhl_use_mm(dev)) {
		iov_iter_init(&iter, req->write ? ITER_SOURCE : ITER_DEST, req->iov, req->segs,
			      (size_t)req->skip + req->left);
		iov_iter_advance(&iter, req->skip);
		if (req->lane == VHL_BLK_LANE_BOUNCE)
			ok = vhl_blk_bounce(req, &iter);
		else
			ok = vhl_blk_transfer(req, &iter, &pos);
		vhl_unuse_mm(dev);
	}
	kfree(req->iov);
	return ok;
}

/*
 * Covers all writes that are completed: their data is in the file by then.
 *
 * The page cache reports once that it lost data, and then forgets it. The driver may not have had
 * the answer when it sent the next flush, so the disk stays bad until it is attached anew.
 */
static bool vhl_blk_lane_flush(struct vhl_blk_disk *disk)
{
	int ret = READ_ONCE(disk->flush_error) ?: vfs_fsync(disk->file, 1);

	if (ret && !disk->direct)
		WRITE_ONCE(disk->flush_error, ret);
	return !ret;
}

void vhl_blk_lane_work(struct work_struct *work)
{
	struct vhl_blk_req *req = container_of(work, struct vhl_blk_req, work);
	const struct cred *old_cred;
	u8 status = VIRTIO_BLK_S_IOERR;

	/* with the rights of who opened the disk, not with the kernel's: quotas, setuid bits */
	old_cred = override_creds(req->q->disk->file->f_cred);
	switch (req->lane) {
	case VHL_BLK_LANE_RW:
	case VHL_BLK_LANE_BOUNCE:
		if (vhl_blk_lane_rw(req))
			status = VIRTIO_BLK_S_OK;
		break;
	case VHL_BLK_LANE_FLUSH:
		if (vhl_blk_lane_flush(req->q->disk))
			status = VIRTIO_BLK_S_OK;
		break;
	case VHL_BLK_LANE_STATUS:
		status = req->status;
		break;
	}
	revert_creds(old_cred);
	vhl_blk_put_status(req, status);
	set_page_dirty_lock(req->status_page);
	vhl_blk_publish(req, status);
}
