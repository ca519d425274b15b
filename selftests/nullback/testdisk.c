// SPDX-License-Identifier: GPL-2.0
/*
 * A disk in memory that takes what hardly any that a test can have takes: secure erase, and zeroing
 * with and without deallocation. What was discarded or erased has bytes of its own, and all of
 * these are counted, in sectors, in the module's parameters.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#define TESTDISK_BYTES		SZ_8M
#define TESTDISK_DISCARDED	0xdd
#define TESTDISK_ERASED		0xee
#define TESTDISK_GRANULARITY	4096

static unsigned long discarded, erased, zeroed, unmapped;

module_param(discarded, ulong, 0444);
module_param(erased, ulong, 0444);
module_param(zeroed, ulong, 0444);
module_param(unmapped, ulong, 0444);

static struct gendisk *testdisk;
static u8 *testdisk_data;

static void testdisk_copy(struct bio *bio, u8 *p)
{
	struct bvec_iter iter;
	struct bio_vec vec;

	bio_for_each_segment(vec, bio, iter) {
		if (op_is_write(bio_op(bio)))
			memcpy_from_bvec(p, &vec);
		else
			memcpy_to_bvec(&vec, p);
		p += vec.bv_len;
	}
}

static void testdisk_submit(struct bio *bio)
{
	u8 *p = testdisk_data + (bio->bi_iter.bi_sector << SECTOR_SHIFT);
	u32 len = bio->bi_iter.bi_size;

	switch (bio_op(bio)) {
	case REQ_OP_DISCARD:
		memset(p, TESTDISK_DISCARDED, len);
		discarded += len >> SECTOR_SHIFT;
		break;
	case REQ_OP_SECURE_ERASE:
		memset(p, TESTDISK_ERASED, len);
		erased += len >> SECTOR_SHIFT;
		break;
	case REQ_OP_WRITE_ZEROES:
		memset(p, 0, len);
		if (bio->bi_opf & REQ_NOUNMAP)
			zeroed += len >> SECTOR_SHIFT;
		else
			unmapped += len >> SECTOR_SHIFT;
		break;
	default:
		testdisk_copy(bio, p);
	}
	bio_endio(bio);
}

static const struct block_device_operations testdisk_ops = {
	.owner		= THIS_MODULE,
	.submit_bio	= testdisk_submit,
};

static struct gendisk *testdisk_alloc(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct queue_limits lim = {
		.logical_block_size		= SECTOR_SIZE,
		.discard_granularity		= TESTDISK_GRANULARITY,
		.max_hw_discard_sectors		= SZ_1M >> SECTOR_SHIFT,
		.max_secure_erase_sectors	= SZ_1M >> SECTOR_SHIFT,
		.max_write_zeroes_sectors	= SZ_1M >> SECTOR_SHIFT,
	};

	return blk_alloc_disk(&lim, NUMA_NO_NODE);
#else
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->queue->limits.discard_granularity = TESTDISK_GRANULARITY;
	blk_queue_max_discard_sectors(disk->queue, SZ_1M >> SECTOR_SHIFT);
	blk_queue_max_secure_erase_sectors(disk->queue, SZ_1M >> SECTOR_SHIFT);
	blk_queue_max_write_zeroes_sectors(disk->queue, SZ_1M >> SECTOR_SHIFT);
	return disk;
#endif
}

static int __init testdisk_init(void)
{
	int ret;

	testdisk_data = vzalloc(TESTDISK_BYTES);
	if (!testdisk_data)
		return -ENOMEM;
	testdisk = testdisk_alloc();
	if (IS_ERR(testdisk)) {
		ret = PTR_ERR(testdisk);
		goto free_data;
	}
	strscpy(testdisk->disk_name, "vhltestdisk", sizeof(testdisk->disk_name));
	testdisk->fops = &testdisk_ops;
	set_capacity(testdisk, TESTDISK_BYTES >> SECTOR_SHIFT);
	ret = add_disk(testdisk);
	if (!ret)
		return 0;
	put_disk(testdisk);
free_data:
	vfree(testdisk_data);
	return ret;
}
module_init(testdisk_init);

static void __exit testdisk_exit(void)
{
	del_gendisk(testdisk);
	put_disk(testdisk);
	vfree(testdisk_data);
}
module_exit(testdisk_exit);

MODULE_DESCRIPTION("vhost-lite: a disk for tests");
MODULE_LICENSE("GPL");
