// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: filling and changing the map, and reaching the owner's memory.
 */
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>
#include <linux/vhost_iotlb.h>

#include "internal.h"

/*
 * A region costs about 100 bytes. VMMs keep tens; those that hot-plug memory in small pieces some
 * hundreds.
 */
static unsigned int max_regions = 4096;
module_param(max_regions, uint, 0444);
MODULE_PARM_DESC(max_regions, "Regions of guest memory that a device may have (default 4096)");

int vhl_mem_find(const struct vhl_mem *mem, u64 addr, struct vhl_region *region)
{
	const struct vhost_iotlb_map *map = NULL;

	if (mem->iotlb)
		map = vhost_iotlb_itree_first(mem->iotlb, addr, addr);
	if (!map)
		return -EFAULT;

	region->start = map->start;
	region->last = map->last;
	region->addr = map->addr;
	region->perm = map->perm;
	return 0;
}

static int mem_add(struct vhost_iotlb *iotlb, u64 start, u64 size, u64 uaddr, u32 perm)
{
	u64 last = start + (size - 1);

	if (!size || last < start || uaddr + (size - 1) < uaddr ||
	    uaddr != (unsigned long)uaddr || size != (unsigned long)size ||
	    !access_ok((void __user *)(unsigned long)uaddr, size))
		return -EINVAL;
	if (vhost_iotlb_itree_first(iotlb, start, last))
		return -EEXIST;
	/* older kernels do not look at the map's own limit */
	if (iotlb->nmaps >= max_regions)
		return -ENOSPC;
	/*
	 * The kernel's map would make two regions of one that covers all addresses; user memory is
	 * never that large, access_ok() has refused it.
	 */
	return vhost_iotlb_add_range(iotlb, start, last, uaddr, perm);
}

/*
 * Put another map in the place of the present one. No turn runs meanwhile, and no request that
 * was translated with the old map is in flight when it goes.
 */
static void mem_replace(struct vhl_dev *dev, struct vhost_iotlb *iotlb)
{
	struct vhost_iotlb *old;
	unsigned int i;

	vhl_lock_vqs(dev);
	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_drain(dev->vqs[i]);
	old = dev->mem.iotlb;
	dev->mem.iotlb = iotlb;
	dev->mem.gen++;
	vhl_unlock_vqs(dev);
	vhost_iotlb_free(old);
}

int vhl_mem_set_table(struct vhl_dev *dev, void __user *argp)
{
	struct vhost_memory_region *regions;
	struct vhost_memory head;
	struct vhost_iotlb *iotlb;
	unsigned int i;
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.padding)
		return -EOPNOTSUPP;
	if (head.nregions > max_regions)
		return -E2BIG;

	regions = vmemdup_user(argp + sizeof(head), array_size(head.nregions, sizeof(*regions)));
	if (IS_ERR(regions))
		return PTR_ERR(regions);
	iotlb = vhost_iotlb_alloc(max_regions, 0);
	if (!iotlb) {
		ret = -ENOMEM;
		goto free_regions;
	}
	for (i = 0; i < head.nregions; i++) {
		ret = mem_add(iotlb, regions[i].guest_phys_addr, regions[i].memory_size,
			      regions[i].userspace_addr, VHOST_MAP_RW);
		if (ret)
			goto free_iotlb;
	}
	mem_replace(dev, iotlb);
	kvfree(regions);
	return 0;

free_iotlb:
	vhost_iotlb_free(iotlb);
free_regions:
	kvfree(regions);
	return ret;
}

int vhl_mem_map(struct vhl_dev *dev, u64 iova, u64 size, u64 uaddr, u32 perm)
{
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (!perm || (perm & ~VHOST_MAP_RW))
		return -EINVAL;
	if (!dev->mem.iotlb) {
		struct vhost_iotlb *iotlb = vhost_iotlb_alloc(max_regions, 0);

		if (!iotlb)
			return -ENOMEM;
		mem_replace(dev, iotlb);
	}
	vhl_lock_vqs(dev);
	ret = mem_add(dev->mem.iotlb, iova, size, uaddr, perm);
	dev->mem.gen++;
	vhl_unlock_vqs(dev);
	return ret;
}

void vhl_mem_unmap(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	if (!dev->mem.iotlb)
		return;
	vhl_lock_vqs(dev);
	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_drain(dev->vqs[i]);
	vhost_iotlb_del_range(dev->mem.iotlb, first, last);
	dev->mem.gen++;
	vhl_unlock_vqs(dev);
}

void vhl_mem_clear(struct vhl_dev *dev)
{
	if (dev->mem.iotlb)
		mem_replace(dev, NULL);
}

bool vhl_use_mm(struct vhl_dev *dev)
{
	if (!mmget_not_zero(dev->mm))
		return false;
	kthread_use_mm(dev->mm);
	return true;
}
EXPORT_SYMBOL_GPL(vhl_use_mm);

void vhl_unuse_mm(struct vhl_dev *dev)
{
	kthread_unuse_mm(dev->mm);
	/* if it is the last user, undoing all mappings is not for the caller to wait for */
	mmput_async(dev->mm);
}
EXPORT_SYMBOL_GPL(vhl_unuse_mm);
