// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that name ranges of the disk and move no data: DISCARD, SECURE_ERASE and WRITE_ZEROES
 * (virtio 1.2, section 5.2.6). Their segments, checks and limits, and the first two; zero.c zeroes.
 *
 * All of it is the lane's: the storage may take its time. What a request may ask for is limited,
 * and done in pieces, since a client that stops the queue waits for it.
 */
#include <linux/blkdev.h>
#include <linux/errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/uio.h>

#include "blk.h"
#include "../compat/bdev.h"

/* Segments of a discard or an erase, which the lane has on its stack */
#define VHL_BLK_DISCARD_SEGS	32

/* Bytes of a segment. To zero so much may mean to write it, as writes of the driver may do */
#define VHL_BLK_DISCARD_MAX	SZ_1G
#define VHL_BLK_ERASE_MAX	SZ_128M
#define VHL_BLK_ZEROES_MAX	SZ_128M

/* Bytes that are discarded at a time */
#define VHL_BLK_DISCARD_PIECE	SZ_64M

/* How far behind the end of a file it is tried what its file system can */
#define VHL_BLK_PROBE_DISTANCE	(1ULL << 40)

/* A segment, as it was read and checked */
struct vhl_blk_range {
	loff_t pos;
	u32 len;
	bool unmap;
};

/*
 * What the storage can
 */

/*
 * Is a hole taken? It is made where the file has nothing, and not at all while a freeze of the file
 * system would have to be waited for.
 */
static bool range_takes_holes(const struct vhl_blk_disk *disk)
{
	struct file *file = disk->file;
	struct inode *inode = disk->inode;
	u64 size = max_t(u64, i_size_read(inode), disk->size);
	u64 pos = min_t(u64, size + VHL_BLK_PROBE_DISTANCE, inode->i_sb->s_maxbytes - SZ_64K);
	bool ok;

	pos = round_down(pos, SZ_64K);
	if (pos < size || !file->f_op->fallocate || IS_IMMUTABLE(inode) || IS_APPEND(inode))
		return false;
	if (!file_start_write_trylock(file))
		return false;
	ok = !file->f_op->fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, SZ_64K);
	file_end_write(file);
	return ok;
}

void vhl_blk_range_init(struct vhl_blk_disk *disk)
{
	bool keep = disk->blk->opts.flags & VHL_BLK_OPT_KEEP;
	struct block_device *bdev;
	u32 block;

	if (disk->read_only)
		return;
	if (disk->regular) {
		/* of a network file system a block may be a megabyte */
		block = min_t(u32, i_blocksize(disk->inode), PAGE_SIZE);
		disk->discards = !keep && range_takes_holes(disk);
		disk->unmaps = disk->discards;
		disk->discard_mask = block - 1;
		disk->discard_align = block;
		return;
	}
	bdev = I_BDEV(disk->inode);
	block = bdev_logical_block_size(bdev);
	disk->discards = !keep && bdev_max_discard_sectors(bdev);
	disk->unmaps = !keep && bdev_write_zeroes_sectors(bdev);
	/* parts of blocks cannot be erased */
	disk->erases = bdev_max_secure_erase_sectors(bdev) && block <= disk->block_size;
	disk->discard_mask = block - 1;
	disk->discard_align = max(bdev_discard_granularity(bdev), block);
	/* what the page cache may be about to write in one piece, it has to have zeroed itself */
	if (!disk->direct)
		block = max3(block, (u32)PAGE_SIZE, (u32)i_blocksize(disk->inode));
	disk->zero_mask = block - 1;
}

void vhl_blk_discard_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	struct virtio_blk_config *config = &offer->config;

	if (!disk || !disk->discards)
		return;
	offer->features |= BIT_ULL(VIRTIO_BLK_F_DISCARD);
	config->max_discard_sectors = cpu_to_vhl32(VHL_BLK_DISCARD_MAX >> SECTOR_SHIFT);
	config->max_discard_seg = cpu_to_vhl32(VHL_BLK_DISCARD_SEGS);
	config->discard_sector_alignment =
		cpu_to_vhl32(max(disk->discard_align, disk->block_size) >> SECTOR_SHIFT);
}

void vhl_blk_erase_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	struct virtio_blk_config *config = &offer->config;

	if (!disk || !disk->erases)
		return;
	offer->features |= BIT_ULL(VIRTIO_BLK_F_SECURE_ERASE);
	config->max_secure_erase_sectors = cpu_to_vhl32(VHL_BLK_ERASE_MAX >> SECTOR_SHIFT);
	config->max_secure_erase_seg = cpu_to_vhl32(VHL_BLK_DISCARD_SEGS);
	config->secure_erase_sector_alignment =
		cpu_to_vhl32(max(disk->discard_align, disk->block_size) >> SECTOR_SHIFT);
}

void vhl_blk_zeroes_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	struct virtio_blk_config *config = &offer->config;

	if (!disk || disk->read_only)
		return;
	offer->features |= BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES);
	config->max_write_zeroes_sectors = cpu_to_vhl32(VHL_BLK_ZEROES_MAX >> SECTOR_SHIFT);
	config->max_write_zeroes_seg = cpu_to_vhl32(1);
	config->write_zeroes_may_unmap = disk->unmaps;
}

/*
 * Segments
 */

/*
 * Read the segments, once, and check all of them before anything is done. An unknown flag comes
 * first, whatever else is wrong (virtio 1.2, section 5.2.6.2).
 *
 * @max: bytes of a segment
 * @flags: that are known
 *
 * Return: VIRTIO_BLK_S_*
 */
static u8 range_read(const struct vhl_blk_req *req, struct vhl_blk_range *range, u32 max, u32 flags)
{
	unsigned int i, num = req->len / sizeof(struct virtio_blk_discard_write_zeroes);
	u8 status = VIRTIO_BLK_S_OK;
	struct iov_iter iter;

	vhl_blk_iter(req, &iter);
	for (i = 0; i < num; i++) {
		struct virtio_blk_discard_write_zeroes seg;
		u64 sector;
		u32 sectors;

		if (copy_from_iter(&seg, sizeof(seg), &iter) != sizeof(seg))
			return VIRTIO_BLK_S_IOERR;
		if (le32_to_cpu(seg.flags) & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		sector = le64_to_cpu(seg.sector);
		sectors = le32_to_cpu(seg.num_sectors);
		if (sectors > max >> SECTOR_SHIFT ||
		    !vhl_blk_on_disk(req->q->disk, sector, sectors)) {
			status = VIRTIO_BLK_S_IOERR;
			continue;
		}
		range[i].pos = sector << SECTOR_SHIFT;
		range[i].len = sectors << SECTOR_SHIFT;
		range[i].unmap = seg.flags & cpu_to_le32(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	}
	return status;
}

/* Any context. It has moved no data: counted is the request alone */
static void range_finish(struct vhl_blk_req *req, u8 status)
{
	vhl_blk_edge_end(req);
	req->len = 0;
	vhl_blk_finish(req, status);
}

/* Return: as vhl_blk_answer() */
static int range_take(struct vhl_blk_io *io, unsigned int feature, unsigned int max_segs,
		      vhl_blk_lane_fn *fn)
{
	const size_t seg = sizeof(struct virtio_blk_discard_write_zeroes);
	int ret;

	/* the limits are not known to a driver that did not take it */
	if (!vhl_has_feature(io->q->vq.dev, feature))
		return vhl_blk_answer(io, VIRTIO_BLK_S_UNSUPP);
	if (io->q->disk->read_only || !io->len || io->len % seg || io->len / seg > max_segs)
		return vhl_blk_answer(io, VIRTIO_BLK_S_IOERR);
	ret = vhl_blk_take(io);
	if (!ret)
		vhl_blk_to_lane(io->req, fn);
	return ret;
}

/*
 * Discards, and discards after which the data cannot be had any more
 */

/*
 * What is cached of a block device, dirty or not, is of no use any more. As for BLKDISCARD: not
 * under a mounted file system, which may count on what it has there. Return: 0, or an error where
 * something is left.
 */
static int range_drop_cached(const struct vhl_blk_disk *disk, loff_t pos, loff_t end)
{
	struct address_space *mapping = disk->inode->i_mapping;
	struct block_device *bdev = I_BDEV(disk->inode);

	if (vhl_bdev_claim(bdev, &range_drop_cached))
		return invalidate_inode_pages2_range(mapping, pos >> PAGE_SHIFT,
						     (end - 1) >> PAGE_SHIFT);
	truncate_inode_pages_range(mapping, pos, end - 1);
	bd_abort_claiming(bdev, &range_drop_cached);
	return 0;
}

static int range_discard_piece(const struct vhl_blk_disk *disk, loff_t pos, loff_t end, bool erase)
{
	struct address_space *mapping = disk->inode->i_mapping;
	struct block_device *bdev = I_BDEV(disk->inode);
	sector_t sectors = (end - pos) >> SECTOR_SHIFT;
	int ret;

	if (disk->regular)
		return vfs_fallocate(disk->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
				     end - pos);
	/* nothing is read anew in between */
	filemap_invalidate_lock(mapping);
	ret = range_drop_cached(disk, pos, end);
	if (!erase)
		ret = blkdev_issue_discard(bdev, pos >> SECTOR_SHIFT, sectors, GFP_KERNEL);
	else if (!ret)
		ret = blkdev_issue_secure_erase(bdev, pos >> SECTOR_SHIFT, sectors, GFP_KERNEL);
	filemap_invalidate_unlock(mapping);
	return ret;
}

/* Whole blocks of the storage. Return: 0, -EINTR to begin anew, -EOPNOTSUPP, or another error */
static int range_discard_one(const struct vhl_blk_req *req, const struct vhl_blk_range *range,
			     bool erase)
{
	const struct vhl_blk_disk *disk = req->q->disk;
	loff_t block = (loff_t)disk->discard_mask + 1;
	loff_t pos = round_up(range->pos, block);
	loff_t end = round_down(range->pos + range->len, block);
	unsigned int tries = 0;

	while (pos < end) {
		loff_t next = min(end, round_down(pos, VHL_BLK_DISCARD_PIECE) +
				  VHL_BLK_DISCARD_PIECE);
		int ret;

		if (fatal_signal_pending(current))
			return -EIO;
		/* a client waits for it: what was not discarded yet may stay as it is */
		if (!erase && READ_ONCE(req->q->vq.awaited))
			return 0;
		ret = range_discard_piece(disk, pos, next, erase);
		if (!ret)
			pos = next;
		else if (vhl_blk_lane_interrupted(ret))
			return -EINTR;
		else if (ret != -ENOMEM || !vhl_blk_lane_wait_memory(&tries))
			return ret;
	}
	return 0;
}

static int range_discard(const struct vhl_blk_req *req, const struct vhl_blk_range *range,
			 bool erase)
{
	unsigned int i;
	int ret;

	for (i = 0; i < req->len / sizeof(struct virtio_blk_discard_write_zeroes); i++) {
		ret = range_discard_one(req, &range[i], erase);
		if (ret)
			return ret;
	}
	return vhl_blk_writes_through(req) ? vhl_blk_flush_file(req->q->disk) : 0;
}

static void range_run(struct vhl_blk_req *req, bool erase, vhl_blk_lane_fn *again)
{
	struct vhl_blk_range range[VHL_BLK_DISCARD_SEGS];
	const struct cred *own;
	u8 status;
	int ret;

	/* unmap is a flag of others (virtio 1.2, section 5.2.6.2) */
	status = range_read(req, range, erase ? VHL_BLK_ERASE_MAX : VHL_BLK_DISCARD_MAX, 0);
	if (status == VIRTIO_BLK_S_OK) {
		own = vhl_blk_lane_as_opener(req->q->disk);
		ret = range_discard(req, range, erase);
		vhl_blk_lane_as_self(own);
		if (ret == -EINTR) {
			/* once more when the thread has seen the signal, a stop or a freeze */
			vhl_blk_to_lane(req, again);
			return;
		}
		if (ret)
			status = ret == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	}
	range_finish(req, status);
}

static void discard_run(struct vhl_job *job, bool dead)
{
	if (dead)
		range_finish(to_blk_req(job), VIRTIO_BLK_S_IOERR);
	else
		range_run(to_blk_req(job), false, discard_run);
}

static void erase_run(struct vhl_job *job, bool dead)
{
	if (dead)
		range_finish(to_blk_req(job), VIRTIO_BLK_S_IOERR);
	else
		range_run(to_blk_req(job), true, erase_run);
}

/* In the vhost dialect it may be another disk than the one that was there when it was offered. */
int vhl_blk_discard(struct vhl_blk_io *io)
{
	if (!io->q->disk->discards && !io->q->disk->read_only)
		return vhl_blk_answer(io, VIRTIO_BLK_S_UNSUPP);
	return range_take(io, VIRTIO_BLK_F_DISCARD, VHL_BLK_DISCARD_SEGS, discard_run);
}

int vhl_blk_erase(struct vhl_blk_io *io)
{
	if (!io->q->disk->erases && !io->q->disk->read_only)
		return vhl_blk_answer(io, VIRTIO_BLK_S_UNSUPP);
	return range_take(io, VIRTIO_BLK_F_SECURE_ERASE, VHL_BLK_DISCARD_SEGS, erase_run);
}

/*
 * Zeroes
 */

static void zeroes_run(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);
	const struct cred *own;
	int ret = -EIO;

	if (!dead) {
		own = vhl_blk_lane_as_opener(req->q->disk);
		ret = vhl_blk_zero(req);
		if (!ret && vhl_blk_writes_through(req))
			ret = vhl_blk_flush_file(req->q->disk);
		vhl_blk_lane_as_self(own);
	}
	if (ret == -EINTR)
		vhl_blk_to_lane(req, zeroes_run);
	else
		range_finish(req, ret ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

/* From now on the request's position and length are those of its range, and it is like a write. */
static void zeroes_begin(struct vhl_job *job, bool dead)
{
	struct vhl_blk_req *req = to_blk_req(job);
	u8 status = VIRTIO_BLK_S_IOERR;
	struct vhl_blk_limit *limit;
	struct vhl_blk_range range;

	if (!dead)
		status = range_read(req, &range, VHL_BLK_ZEROES_MAX,
				    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	if (status != VIRTIO_BLK_S_OK || !range.len) {
		range_finish(req, status);
		return;
	}
	limit = vhl_blk_dev_limit(req->q->vq.dev);
	if (limit)
		vhl_blk_limit_add(limit, VHL_BLK_LIMIT_WRITE, range.len);
	req->unmap = range.unmap && req->q->disk->unmaps;
	req->pos = range.pos;
	req->len = range.len;
	if (vhl_blk_edge_begin(req, zeroes_run))
		zeroes_run(job, false);
}

int vhl_blk_zeroes(struct vhl_blk_io *io)
{
	return range_take(io, VIRTIO_BLK_F_WRITE_ZEROES, 1, zeroes_begin);
}
