// SPDX-License-Identifier: GPL-2.0
/*
 * What is attached: a regular file or a block device, and how it can be used.
 */
#include <linux/anon_inodes.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/kdev_t.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include "blk.h"

/* What the backing is made of, in bytes */
struct vhl_blk_storage {
	u32 block;
	u32 physical;
	u32 align_offset;
	u32 min_io;
	u32 opt_io;
	u32 mem_mask;
};

#define disk_refuse(_dev, fmt, ...) do {						\
	const struct vhl_dev *d = (_dev);						\
											\
	pr_notice_ratelimited("%s %llu: cannot attach: " fmt "\n", d->node->name, d->id,	\
			      ##__VA_ARGS__);						\
} while (0)

static int disk_size(const struct vhl_blk_disk *disk, u64 *size)
{
	struct kstat stat;
	int ret;

	if (!disk->regular) {
		*size = i_size_read(disk->inode);
		return 0;
	}
	/* asks the server where there is one; an open file is all the permission that it takes */
	ret = vfs_getattr_nosec(&disk->file->f_path, &stat, STATX_SIZE, 0);
	if (!ret)
		*size = stat.size;
	return ret;
}

/* In whole blocks: a file gets longer when the last one is written, a device cannot. */
static u64 disk_capacity(const struct vhl_blk_disk *disk, u64 size)
{
	u64 block = disk->block_size;

	return disk->regular ? round_up(size, block) : round_down(size, block);
}

static void disk_set_size(struct vhl_blk_disk *disk, u64 size)
{
	u64 capacity = disk_capacity(disk, size);
	u64 end = capacity;

	if (disk->regular && disk->direct)
		end = size & ~(u64)disk->tail_mask;
	WRITE_ONCE(disk->size, size);
	WRITE_ONCE(disk->direct_end, end);
	/* pairs with vhl_blk_on_disk(), which sees the other two if it sees the new capacity */
	smp_store_release(&disk->capacity, capacity);
}

static void disk_bdev_limits(struct block_device *bdev, struct vhl_blk_storage *limits)
{
	limits->block = bdev_logical_block_size(bdev);
	limits->physical = bdev_physical_block_size(bdev);
	/* negative where a stack of devices has none */
	limits->align_offset = max(bdev_alignment_offset(bdev), 0);
	limits->min_io = bdev_io_min(bdev);
	limits->opt_io = bdev_io_opt(bdev);
	limits->mem_mask = bdev_dma_alignment(bdev);
}

static int disk_file_limits(struct vhl_blk_disk *disk, struct vhl_blk_storage *limits)
{
	struct block_device *bdev = disk->inode->i_sb->s_bdev;
	struct kstat stat;
	int ret;

	limits->block = SECTOR_SIZE;
	/* of a network file system this may be a megabyte, which is no block any more */
	limits->physical = min_t(u32, i_blocksize(disk->inode), PAGE_SIZE);
	limits->min_io = limits->physical;
	if (!disk->direct)
		return 0;

	ret = vfs_getattr_nosec(&disk->file->f_path, &stat, STATX_DIOALIGN, 0);
	if (ret)
		return ret;
	if ((stat.result_mask & STATX_DIOALIGN) && !stat.dio_offset_align) {
		/* it takes O_DIRECT and goes through the page cache all the same */
		disk->direct = false;
	} else if ((stat.result_mask & STATX_DIOALIGN) && stat.dio_mem_align) {
		limits->block = max_t(u32, stat.dio_offset_align, SECTOR_SIZE);
		limits->mem_mask = stat.dio_mem_align - 1;
	} else if (bdev) {
		/* what all of them can do */
		limits->block = bdev_logical_block_size(bdev);
		limits->mem_mask = limits->block - 1;
	} else {
		limits->mem_mask = SECTOR_SIZE - 1;
	}
	return 0;
}

/* Every page may be a segment; one more if the data begins in the middle of the first one */
static u32 disk_whole_max(struct vhl_blk_disk *disk)
{
	struct block_device *bdev = disk->inode->i_sb->s_bdev;
	struct request_queue *queue;

	if (!disk->regular)
		bdev = I_BDEV(disk->inode);
	if (!bdev)
		return U32_MAX;
	queue = bdev_get_queue(bdev);
	disk->plug_sleeps = queue->tag_set && queue->tag_set->flags & BLK_MQ_F_BLOCKING;
	return min_t(u64, (u64)queue_max_sectors(queue) << SECTOR_SHIFT,
		     (u64)max(queue_max_segments(queue) - 1, 1) << PAGE_SHIFT);
}

/* By default a name that stays as long as the image is where it is */
static void disk_set_serial(struct vhl_blk_disk *disk, const struct vhl_blk_opts *opts)
{
	struct inode *inode = file_inode(disk->file);
	dev_t devt = disk->regular ? inode->i_sb->s_dev : inode->i_rdev;
	u64 ino = disk->regular ? inode->i_ino : 0;
	char name[VHL_BLK_ID_BYTES + 1];

	memcpy(disk->serial, opts->serial, sizeof(disk->serial));
	if (memchr_inv(disk->serial, 0, sizeof(disk->serial)))
		return;
	snprintf(name, sizeof(name), "%08x%012llx", new_encode_dev(devt), ino & GENMASK_ULL(47, 0));
	memcpy(disk->serial, name, sizeof(disk->serial));
}

/* The topology in the config space's units: the driver sees smaller blocks, and aligns to these. */
static void disk_set_topology(struct vhl_blk_disk *disk, const struct vhl_blk_storage *limits)
{
	u32 physical = max(limits->physical, limits->block);
	u32 min_io = max(limits->min_io, limits->block);

	if (physical > disk->block_size)
		disk->physical_exp = ilog2(physical / disk->block_size);
	disk->align_offset = min_t(u32, limits->align_offset / disk->block_size, U8_MAX);
	disk->min_io = min_t(u32, min_io / disk->block_size, U16_MAX);
	disk->opt_io = limits->opt_io / disk->block_size;
}

void vhl_blk_disk_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	struct virtio_blk_config *config = &offer->config;

	offer->features |= BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) | BIT_ULL(VIRTIO_BLK_F_TOPOLOGY);
	if (!disk)
		return;
	config->capacity = (__force __virtio64)cpu_to_le64(disk->capacity >> SECTOR_SHIFT);
	config->blk_size = cpu_to_vhl32(disk->block_size);
	config->physical_block_exp = disk->physical_exp;
	config->alignment_offset = disk->align_offset;
	config->min_io_size = cpu_to_vhl16(disk->min_io);
	config->opt_io_size = cpu_to_vhl32(disk->opt_io);
}

/*
 * An overlay hands all on to a file below it. That one has the blocks, the page cache, and what is
 * known of lost writes; the overlay's own inode has nothing of it.
 */
struct inode *vhl_blk_disk_inode(const struct file *file)
{
	if (S_ISREG(file_inode(file)->i_mode))
		return d_real_inode(file->f_path.dentry);
	return file->f_mapping->host;
}

static int disk_init(struct vhl_blk_dev *blk, struct vhl_blk_disk *disk)
{
	struct file *file = disk->file;
	struct vhl_blk_storage limits = { };
	struct vhl_dev *dev = &blk->dev;
	int ret = 0;
	u64 size;

	disk->inode = vhl_blk_disk_inode(file);
	disk->regular = S_ISREG(file_inode(file)->i_mode);
	disk->direct = file->f_iocb_flags & IOCB_DIRECT;
	disk->read_only = !(file->f_mode & FMODE_WRITE);
	if (!disk->regular && bdev_read_only(I_BDEV(disk->inode)))
		disk->read_only = true;
	disk->iocb_flags = file->f_iocb_flags;
	/* what is in memory waits for nothing but swap, and knows no way to be asked not to */
	if (file->f_mapping->host->i_sb->s_magic != TMPFS_MAGIC) {
		disk->try_flags = IOCB_NOWAIT;
		disk->nowait[ITER_DEST] = file->f_mode & FMODE_NOWAIT;
	} else {
		disk->nowait[ITER_DEST] = true;
	}
	disk->nowait[ITER_SOURCE] = disk->nowait[ITER_DEST];

	/* its server is told with a write that it is to be stable, but some go by flushes alone */
	disk->dsync_flushes = disk->inode->i_sb->s_magic == FUSE_SUPER_MAGIC;

	disk->whole_max = disk_whole_max(disk);
	if (disk->regular)
		ret = disk_file_limits(disk, &limits);
	else
		disk_bdev_limits(I_BDEV(disk->inode), &limits);
	if (ret)
		return ret;
	disk->block_size = blk->opts.block_size ?: SECTOR_SIZE;
	disk_set_topology(disk, &limits);
	/* the page cache takes what comes */
	if (!disk->direct)
		limits.block = SECTOR_SIZE;
	if (!is_power_of_2(limits.block) || limits.block > VHL_BLK_STORAGE_BLOCK_MAX) {
		disk_refuse(dev, "blocks of %u bytes are too large; open it without O_DIRECT",
			    limits.block);
		return -EINVAL;
	}
	disk->mem_mask = limits.mem_mask;
	disk->len_mask = limits.block - 1;
	/* what the page cache and the file system would write together */
	disk->tail_mask = max3(limits.block, (u32)PAGE_SIZE,
			       min_t(u32, i_blocksize(disk->inode), VHL_BLK_STORAGE_BLOCK_MAX)) - 1;
	disk_set_serial(disk, &blk->opts);

	ret = disk_size(disk, &size);
	if (ret)
		return ret;
	disk_set_size(disk, size);
	if (!disk->capacity) {
		disk_refuse(dev, "it is empty, or smaller than a block of %u bytes",
			    disk->block_size);
		return -EINVAL;
	}
	if (disk->capacity < size)
		pr_notice_ratelimited("%s %llu: the last %llu bytes are less than a block of %u bytes and cannot be used\n",
				      dev->node->name, dev->id, size - disk->capacity,
				      disk->block_size);
	vhl_blk_range_init(disk);
	if (disk->direct && !disk->read_only && limits.block > disk->block_size)
		return vhl_blk_edges_init(disk);
	return 0;
}

/*
 * To an overlay, a file that was opened with O_DIRECT is direct, whatever a write says. One that is
 * opened once more is not.
 */
static int disk_open_tail(struct vhl_blk_disk *disk)
{
	struct file *file = disk->file;

	if (!disk->regular || !disk->direct || disk->read_only ||
	    disk->inode->i_mapping == file->f_mapping)
		return 0;
	file = dentry_open(&file->f_path, file->f_flags & ~O_DIRECT, file->f_cred);
	if (IS_ERR(file))
		return PTR_ERR(file);
	disk->tail = file;
	return 0;
}

static void disk_free(struct vhl_blk_disk *disk)
{
	if (disk->tail)
		fput(disk->tail);
	vhl_blk_edges_free(disk);
	kfree(disk);
}

struct vhl_blk_disk *vhl_blk_disk_open(struct vhl_blk_dev *blk, struct file *file)
{
	umode_t mode = file_inode(file)->i_mode;
	struct vhl_blk_disk *disk;
	int ret;

	if (!S_ISREG(mode) && !S_ISBLK(mode)) {
		disk_refuse(&blk->dev, "use a regular file or a block device");
		return ERR_PTR(-EINVAL);
	}
	if (!file->f_op->read_iter || ((file->f_mode & FMODE_WRITE) && !file->f_op->write_iter)) {
		disk_refuse(&blk->dev, "its file system can only map files; put it on tmpfs (huge=always), not on hugetlbfs");
		return ERR_PTR(-EINVAL);
	}
	/* all writes would go to its end */
	if ((file->f_mode & FMODE_WRITE) && (file->f_iocb_flags & IOCB_APPEND)) {
		disk_refuse(&blk->dev, "open the disk without O_APPEND");
		return ERR_PTR(-EINVAL);
	}

	disk = kzalloc(sizeof(*disk), GFP_KERNEL_ACCOUNT);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->refs = 1;
	disk->blk = blk;
	disk->file = file;
	ret = disk_init(blk, disk) ?: disk_open_tail(disk);
	if (ret) {
		disk_free(disk);
		return ERR_PTR(ret);
	}
	get_file(file);
	vhl_blk_flush_init(disk);
	return disk;
}

/*
 * What the driver was told of the old one stays so; but nothing is within it, nothing of it is
 * stable, and what is left to read is its serial number.
 */
struct vhl_blk_disk *vhl_blk_disk_gone(struct vhl_blk_dev *blk)
{
	static const struct file_operations nothing = { .owner = THIS_MODULE };
	const struct vhl_blk_disk *old = blk->disk;
	struct vhl_blk_disk *disk;
	struct file *file;

	disk = kmemdup(old, sizeof(*old), GFP_KERNEL_ACCOUNT);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile("[vhost-lite gone]", &nothing, NULL, O_RDONLY);
	if (IS_ERR(file)) {
		kfree(disk);
		return ERR_CAST(file);
	}
	disk->refs = 1;
	disk->file = file;
	disk->tail = NULL;
	disk->inode = file_inode(file);
	disk->regular = true;
	disk->edges = NULL;
	disk_set_size(disk, 0);
	vhl_blk_flush_init(disk);
	disk->flush_error = -EIO;
	return disk;
}

/* The queues that used it have stopped: nothing is in flight, also not on the lane. */
void vhl_blk_disk_put(void *backing)
{
	struct vhl_blk_disk *disk = backing;

	if (!disk || --disk->refs)
		return;
	vhl_blk_flush_exit(disk);
	fput(disk->file);
	disk_free(disk);
}

int vhl_blk_disk_resize(struct vhl_blk_disk *disk, bool *changed)
{
	u64 size;
	int ret;

	lockdep_assert_held(&disk->blk->dev.mutex);

	ret = disk_size(disk, &size);
	if (ret)
		return ret;
	*changed |= disk->capacity != disk_capacity(disk, size);
	disk_set_size(disk, size);
	return 0;
}
