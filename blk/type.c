// SPDX-License-Identifier: GPL-2.0
/*
 * The types of requests that a disk knows: a row each, and a file for each kind of work.
 */
#include "blk.h"

const struct vhl_blk_type vhl_blk_types[VHL_BLK_TYPES] = {
	[VIRTIO_BLK_T_IN] = {
		.data	= VHL_BLK_DATA_IN,
		.limit	= VHL_BLK_LIMIT_READ,
		.offer	= vhl_blk_rw_offer,
		.handle	= vhl_blk_rw,
	},
	[VIRTIO_BLK_T_OUT] = {
		.data	= VHL_BLK_DATA_OUT,
		.limit	= VHL_BLK_LIMIT_WRITE,
		.offer	= vhl_blk_rw_offer,
		.handle	= vhl_blk_rw,
	},
	[VIRTIO_BLK_T_FLUSH] = {
		.offer	= vhl_blk_flush_offer,
		.handle	= vhl_blk_flush,
	},
	/* of virtio 0.9 */
	[VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_OUT] = {
		.offer	= vhl_blk_flush_offer,
		.handle	= vhl_blk_flush,
	},
	[VIRTIO_BLK_T_GET_ID] = {
		.data	= VHL_BLK_DATA_IN,
		.handle	= vhl_blk_id,
	},
	[VIRTIO_BLK_T_DISCARD] = {
		.data	= VHL_BLK_DATA_OUT,
		.limit	= VHL_BLK_LIMIT_WRITE,
		.offer	= vhl_blk_discard_offer,
		.handle	= vhl_blk_discard,
	},
	[VIRTIO_BLK_T_SECURE_ERASE] = {
		.data	= VHL_BLK_DATA_OUT,
		.limit	= VHL_BLK_LIMIT_WRITE,
		.offer	= vhl_blk_erase_offer,
		.handle	= vhl_blk_erase,
	},
	[VIRTIO_BLK_T_WRITE_ZEROES] = {
		.data	= VHL_BLK_DATA_OUT,
		.limit	= VHL_BLK_LIMIT_WRITE,
		.offer	= vhl_blk_zeroes_offer,
		.handle	= vhl_blk_zeroes,
	},
};

void vhl_blk_types_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer)
{
	unsigned int i;

	for (i = 0; i < VHL_BLK_TYPES; i++) {
		if (vhl_blk_types[i].offer)
			vhl_blk_types[i].offer(disk, offer);
	}
}
