/* SPDX-License-Identifier: GPL-2.0 */
/* Block devices: what differs between kernels. */
#ifndef VHL_COMPAT_BDEV_H
#define VHL_COMPAT_BDEV_H

#include <linux/blkdev.h>

/*
 * vhl_bdev_claim() - have a block device exclusively, until bd_abort_claiming(). Return: 0, or an
 * error where somebody else has it so
 */
static inline int vhl_bdev_claim(struct block_device *bdev, void *holder)
{
#ifdef VHL_BDEV_CLAIM_WITHOUT_OPS
	return bd_prepare_to_claim(bdev, holder);
#else
	return bd_prepare_to_claim(bdev, holder, NULL);
#endif
}

#endif /* VHL_COMPAT_BDEV_H */
