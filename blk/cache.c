// SPDX-License-Identifier: GPL-2.0
/*
 * The write cache as the driver sees it: whether what it has written is stable once it is done, or
 * after a flush (virtio 1.2, section 5.2.5, writeback; VIRTIO_BLK_F_CONFIG_WCE).
 */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/string.h>

#include "blk.h"

/*
 * Who cannot flush takes every write that is done for a stable one, unless it says otherwise
 * (section 5.2.5.2).
 */
static bool cache_is_writeback(const struct vhl_blk_dev *blk)
{
	if (vhl_has_feature(&blk->dev, VIRTIO_BLK_F_CONFIG_WCE) && blk->cache_mode_set)
		return blk->writeback;
	return vhl_has_feature(&blk->dev, VIRTIO_BLK_F_FLUSH);
}

int vhl_blk_cache_flags(const struct vhl_blk_dev *blk)
{
	return IOCB_WRITE | (cache_is_writeback(blk) ? 0 : IOCB_DSYNC);
}

/*
 * Some VMMs show the driver what they read before it negotiated: it must not count on more than is
 * certain by then.
 */
void vhl_blk_cache_offer(const struct vhl_blk_dev *blk, struct vhl_blk_offer *offer)
{
	offer->features |= BIT_ULL(VIRTIO_BLK_F_CONFIG_WCE);
	offer->config.wce = !vhl_has_feature(&blk->dev, VIRTIO_BLK_F_CONFIG_WCE) ||
			    cache_is_writeback(blk);
}

int vhl_blk_cache_set(struct vhl_blk_dev *blk, u8 writeback)
{
	struct vhl_dev *dev = &blk->dev;
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	if (writeback > 1)
		return -EINVAL;
	blk->cache_mode_set = true;
	blk->writeback = writeback;
	/* of requests that the driver sends from now on; those that run may have it either way */
	for (i = 0; i < dev->node->num_vqs; i++)
		WRITE_ONCE(to_blk_vq(dev->vqs[i])->write_flags, vhl_blk_cache_flags(blk));
	return 0;
}

void vhl_blk_cache_reset(struct vhl_blk_dev *blk)
{
	blk->cache_mode_set = false;
}
