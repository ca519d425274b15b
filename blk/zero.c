// SPDX-License-Identifier: GPL-2.0
/*
 * Ranges become zero: by the storage itself, else by writing zeroes.
 *
 * A file system zeroes any bytes, and its page cache. A block device zeroes whole blocks, and what
 * is cached of them goes; with a page cache in use they are whole pages here, since the rest of
 * one may be read while the device is at it, and be written back with what was there before. What
 * is left at the edges is written like any other data.
 */
#include <linux/bvec.h>
#include <linux/errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/uio.h>

#include "blk.h"

/* Bytes that the storage zeroes at a time */
#define VHL_BLK_ZERO_PIECE	SZ_16M

/* Pages that are written at a time */
#define VHL_BLK_ZERO_PAGES	256

static struct bio_vec zero_pages[VHL_BLK_ZERO_PAGES];

void __init vhl_blk_zero_init(void)
{
	unsigned int i;

	for (i = 0; i < VHL_BLK_ZERO_PAGES; i++) {
		zero_pages[i].bv_page = ZERO_PAGE(0);
		zero_pages[i].bv_len = PAGE_SIZE;
	}
}

/* Return: bytes that were zeroed, -EOPNOTSUPP where zeroes have to be written, or another error */
static ssize_t zero_by_storage(const struct vhl_blk_req *req, loff_t pos, u32 len)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	int ret = -EOPNOTSUPP;

	/* a hole does not make a file longer, as a write behind its end does */
	if (req->unmap && (!disk->regular || pos + len <= i_size_read(disk->inode)))
		ret = vfs_fallocate(disk->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
				    len);
	if (ret == -EOPNOTSUPP)
		ret = vfs_fallocate(disk->file, FALLOC_FL_ZERO_RANGE, pos, len);
	if (!ret)
		return len;
	/* what another user of a block device has in its cache cannot be dropped */
	return ret == -EBUSY ? -EOPNOTSUPP : ret;
}

static ssize_t zero_by_writing(const struct vhl_blk_req *req, loff_t pos, u32 len)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	struct iov_iter iter;

	len = min_t(u32, len, VHL_BLK_ZERO_PAGES * PAGE_SIZE);
	iov_iter_bvec(&iter, ITER_SOURCE, zero_pages, DIV_ROUND_UP(len, PAGE_SIZE), len);
	if (disk->direct &&
	    ((pos | len) & disk->len_mask || pos + len > READ_ONCE(disk->direct_end)))
		return vhl_blk_bounce(req, &iter, pos);
	return vhl_blk_rw_transfer(req, &iter, pos);
}

/* As much from @pos on as is done in one piece */
static ssize_t zero_piece(const struct vhl_blk_req *req, loff_t pos, u32 left)
{
	u32 mask = req->q->disk->zero_mask;
	u32 len = min_t(u32, left, VHL_BLK_ZERO_PIECE - (pos & (VHL_BLK_ZERO_PIECE - 1)));
	ssize_t ret = -EOPNOTSUPP;

	if (pos & mask)
		len = min_t(u32, len, mask + 1 - (pos & mask));
	else if (len > mask)
		len &= ~mask;
	if (!((pos | len) & mask))
		ret = zero_by_storage(req, pos, len);
	return ret == -EOPNOTSUPP ? zero_by_writing(req, pos, len) : ret;
}

int vhl_blk_zero(struct vhl_blk_req *req)
{
	unsigned int tries = 0;

	while (req->done < req->len) {
		ssize_t ret;

		if (fatal_signal_pending(current))
			return -EIO;
		ret = zero_piece(req, req->pos + req->done, req->len - req->done);
		if (ret > 0)
			req->done += ret;
		else if (vhl_blk_lane_interrupted(ret))
			return -EINTR;
		else if (ret != -ENOMEM || !vhl_blk_lane_wait_memory(&tries))
			return -EIO;
	}
	return 0;
}
