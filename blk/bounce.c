// SPDX-License-Identifier: GPL-2.0
/*
 * Direct I/O that the storage does not take as it is, through pages of our own:
 *
 * - from and to buffers that are not aligned. Firmware does that, and drivers of small systems.
 * - of parts of the storage's blocks. A write reads the blocks at its edges and writes them back
 *   with what is new; edge.c keeps others from these blocks meanwhile.
 * - in the last page of a file, if that is not a whole one. To write whole blocks there would make
 *   the file longer than what was written; so such a write takes the way through the page cache,
 *   which also keeps it from others in the same page, and is on its way to the storage when it is
 *   completed, like any other of a direct disk.
 */
#include <linux/bvec.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "blk.h"

/* Bytes that a request passes through at a time, if there is so much memory */
#define VHL_BLK_BOUNCE_BYTES	SZ_128K

static_assert(VHL_BLK_BOUNCE_BYTES >= VHL_BLK_STORAGE_BLOCK_MAX);

/**
 * struct vhl_blk_pages - pages of our own
 * @vec: pieces of @piece bytes
 * @num: how many
 * @piece: a page or a block of the storage, whichever is larger
 * @block: of the storage
 */
struct vhl_blk_pages {
	struct bio_vec *vec;
	unsigned int num;
	size_t piece;
	size_t block;
};

static int bounce_get_pages(struct vhl_blk_pages *pages, const struct vhl_blk_disk *disk,
			    size_t bytes)
{
	unsigned int order, want;

	pages->block = disk->len_mask + 1;
	pages->piece = max_t(size_t, pages->block, PAGE_SIZE);
	order = get_order(pages->piece);
	want = DIV_ROUND_UP(min_t(size_t, bytes, VHL_BLK_BOUNCE_BYTES), pages->piece);
	pages->vec = kcalloc(want, sizeof(*pages->vec), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages->vec)
		return -ENOMEM;
	for (pages->num = 0; pages->num < want; pages->num++) {
		struct page *page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_COMP,
						order);

		if (!page)
			break;
		pages->vec[pages->num].bv_page = page;
		pages->vec[pages->num].bv_len = pages->piece;
	}
	if (pages->num)
		return 0;
	kfree(pages->vec);
	return -ENOMEM;
}

static void bounce_put_pages(struct vhl_blk_pages *pages)
{
	while (pages->num--)
		__free_pages(pages->vec[pages->num].bv_page, get_order(pages->piece));
	kfree(pages->vec);
}

/* Copy what is at @offset in @pages from or to the guest. */
static bool bounce_copy(const struct vhl_blk_req *req, const struct vhl_blk_pages *pages,
			size_t offset, size_t len, struct iov_iter *guest)
{
	while (len) {
		size_t at = offset & (pages->piece - 1);
		size_t n = min(len, pages->piece - at);
		void *p = page_address(pages->vec[offset / pages->piece].bv_page) + at;

		if ((req->write ? copy_from_iter(p, n, guest) : copy_to_iter(p, n, guest)) != n)
			return false;
		offset += n;
		len -= n;
	}
	return true;
}

/*
 * What follows moves as much as the pages hold, and returns as vhl_blk_rw_transfer().
 *
 * @head: bytes in front of @pos that are in the same block of the storage
 */

static ssize_t bounce_read(const struct vhl_blk_req *req, const struct vhl_blk_pages *pages,
			   struct iov_iter *guest, loff_t pos, size_t head, size_t len)
{
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, ITER_DEST, pages->vec, pages->num, round_up(head + len, pages->block));
	ret = vhl_blk_rw_read(req->q->disk, &iter, pos - head);
	if (ret < 0)
		return ret;
	len = min_t(size_t, len, max_t(ssize_t, ret - (ssize_t)head, 0));
	if (!bounce_copy(req, pages, head, len, guest))
		return -EFAULT;
	return len;
}

/* Read the block of the storage that is at @offset in the pages, which begin at @start. */
static int bounce_read_edge(const struct vhl_blk_req *req, const struct vhl_blk_pages *pages,
			    loff_t start, size_t offset)
{
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, ITER_DEST, pages->vec, pages->num, offset + pages->block);
	iov_iter_advance(&iter, offset);
	ret = vhl_blk_rw_read(req->q->disk, &iter, start + offset);
	if (ret < 0)
		return ret;
	/* less: the file was cut behind our back */
	return ret == pages->block ? 0 : -EIO;
}

static ssize_t bounce_write(const struct vhl_blk_req *req,
			    const struct vhl_blk_pages *pages, struct iov_iter *guest,
			    loff_t pos, size_t head, size_t len)
{
	size_t span = round_up(head + len, pages->block);
	size_t last = span - pages->block;
	const struct vhl_blk_disk *disk = req->q->disk;
	struct iov_iter iter;
	ssize_t ret = 0;

	if (head)
		ret = bounce_read_edge(req, pages, pos - head, 0);
	if (!ret && span != head + len && (last || !head))
		ret = bounce_read_edge(req, pages, pos - head, last);
	if (ret)
		return ret;
	if (!bounce_copy(req, pages, head, len, guest))
		return -EFAULT;
	iov_iter_bvec(&iter, ITER_SOURCE, pages->vec, pages->num, span);
	ret = vhl_blk_rw_write(req, disk->file, &iter, pos - head, disk->iocb_flags);
	if (ret < 0)
		return ret;
	return min_t(size_t, len, max_t(ssize_t, ret - (ssize_t)head, 0));
}

static ssize_t bounce_write_tail(const struct vhl_blk_req *req, struct iov_iter *guest, loff_t pos)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	struct file *file = disk->tail ?: disk->file;
	ssize_t ret = vhl_blk_rw_write(req, file, guest, pos, disk->iocb_flags & ~IOCB_DIRECT);
	int err;

	if (ret <= 0)
		return ret;
	err = filemap_write_and_wait_range(disk->inode->i_mapping, pos, pos + ret - 1);
	return err ?: ret;
}

ssize_t vhl_blk_bounce(const struct vhl_blk_req *req, struct iov_iter *guest, loff_t pos)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	struct vhl_blk_pages pages;
	ssize_t ret, done = 0;

	if (req->write) {
		loff_t end = READ_ONCE(disk->direct_end);

		if (pos >= end)
			return bounce_write_tail(req, guest, pos);
		iov_iter_truncate(guest, end - pos);
	}
	ret = bounce_get_pages(&pages, disk,
			       (pos & disk->len_mask) + iov_iter_count(guest));
	if (ret)
		return ret;
	do {
		size_t left = iov_iter_count(guest);
		size_t head = (pos + done) & disk->len_mask;
		size_t len = min(left, pages.num * pages.piece - head);

		if (req->write)
			ret = bounce_write(req, &pages, guest, pos + done, head, len);
		else
			ret = bounce_read(req, &pages, guest, pos + done, head, len);
		if (ret <= 0)
			break;
		done += ret;
		/* less than was copied: the caller knows where to go on */
		if (ret != left - iov_iter_count(guest))
			break;
	} while (iov_iter_count(guest) && !fatal_signal_pending(current));
	bounce_put_pages(&pages);
	return done ?: ret;
}
