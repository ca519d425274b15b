// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: filling and changing the map, and reaching the owner's memory.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>
#include <linux/vhost_iotlb.h>

#include "internal.h"

/*
 * A region costs some 100 bytes and its hints up to 64. VMMs keep tens; those that hot-plug memory
 * in small pieces some hundreds.
 */
static unsigned int max_regions = 4096;
module_param(max_regions, uint, 0444);
MODULE_PARM_DESC(max_regions, "Regions of guest memory that a device may have (default 4096)");

const struct vhost_iotlb_map *vhl_mem_find(const struct vhl_mem *mem, u64 addr)
{
	return mem->iotlb ? vhost_iotlb_itree_first(mem->iotlb, addr, addr) : NULL;
}

void vhl_mem_init(struct vhl_mem *mem)
{
	*mem = (struct vhl_mem){};
	(void)vhl_hints_init(&mem->hints, 0);
}

static int mem_add(struct vhl_mem *mem, u64 start, u64 size, u64 uaddr, u32 perm)
{
	u64 last = start + (size - 1);
	int ret;

	if (!size || last < start || uaddr + (size - 1) < uaddr ||
	    uaddr != (unsigned long)uaddr || size != (unsigned long)size ||
	    !access_ok((void __user *)(unsigned long)uaddr, size))
		return -EINVAL;
	if (vhost_iotlb_itree_first(mem->iotlb, start, last))
		return -EEXIST;
	/* older kernels do not look at the map's own limit */
	if (mem->iotlb->nmaps >= max_regions)
		return -ENOSPC;
	/*
	 * The kernel's map would make two regions of one that covers all addresses; user memory is
	 * never that large, access_ok() has refused it.
	 */
	ret = vhost_iotlb_add_range(mem->iotlb, start, last, uaddr, perm);
	if (!ret)
		mem->log_sizes += ilog2(size);
	return ret;
}

static void mem_del(struct vhl_mem *mem, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	while ((map = vhost_iotlb_itree_first(mem->iotlb, first, last))) {
		mem->log_sizes -= ilog2(map->size);
		vhost_iotlb_map_free(mem->iotlb, map);
	}
}

/*
 * Nothing that was remembered of the map holds any longer. Addresses share a hint within pieces
 * of the size that most regions have: smaller ones would fill the hints with one and the same
 * region, in larger ones many regions would be after the same hint.
 */
static void mem_changed(struct vhl_mem *mem)
{
	unsigned int n = mem->iotlb ? mem->iotlb->nmaps : 0;

	mem->gen++;
	vhl_hints_forget(&mem->hints, n ? mem->log_sizes / n : 0);
}

static int mem_alloc(struct vhl_mem *mem, unsigned int regions)
{
	int ret;

	*mem = (struct vhl_mem){};
	ret = vhl_hints_init(&mem->hints, regions);
	if (ret)
		return ret;
	mem->iotlb = vhost_iotlb_alloc(max_regions, 0);
	if (!mem->iotlb) {
		vhl_hints_free(&mem->hints);
		return -ENOMEM;
	}
	return 0;
}

static void mem_free(struct vhl_mem *mem)
{
	vhl_hints_free(&mem->hints);
	vhost_iotlb_free(mem->iotlb);
}

/*
 * Put another map in the place of the present one. No turn runs meanwhile, and no request that
 * was translated with the old map is in flight when it goes.
 */
static void mem_replace(struct vhl_dev *dev, struct vhl_mem *mem)
{
	unsigned int i;

	vhl_lock_vqs(dev);
	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_drain(dev->vqs[i]);
	mem->gen = dev->mem.gen;
	swap(dev->mem, *mem);
	mem_changed(&dev->mem);
	vhl_unlock_vqs(dev);
	mem_free(mem);
}

int vhl_mem_set_table(struct vhl_dev *dev, void __user *argp)
{
	struct vhost_memory_region *regions;
	struct vhost_memory head;
	struct vhl_mem mem;
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
	ret = mem_alloc(&mem, head.nregions);
	if (ret)
		goto free_regions;
	for (i = 0; i < head.nregions; i++) {
		ret = mem_add(&mem, regions[i].guest_phys_addr, regions[i].memory_size,
			      regions[i].userspace_addr, VHOST_MAP_RW);
		if (ret)
			goto free_mem;
	}
	mem_replace(dev, &mem);
	kvfree(regions);
	return 0;

free_mem:
	mem_free(&mem);
free_regions:
	kvfree(regions);
	return ret;
}

int vhl_mem_map(struct vhl_dev *dev, u64 iova, u64 size, u64 uaddr, u32 perm)
{
	struct vhl_mem *mem = &dev->mem;
	struct vhl_hints more;
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (!perm || (perm & ~VHOST_MAP_RW))
		return -EINVAL;
	if (!mem->iotlb) {
		struct vhl_mem empty;

		ret = mem_alloc(&empty, 0);
		if (ret)
			return ret;
		mem_replace(dev, &empty);
	}
	if (vhl_hints_suffice(&mem->hints, mem->iotlb->nmaps + 1)) {
		(void)vhl_hints_init(&more, 0);
	} else {
		ret = vhl_hints_init(&more, mem->iotlb->nmaps + 1);
		if (ret)
			return ret;
	}
	vhl_lock_vqs(dev);
	ret = mem_add(mem, iova, size, uaddr, perm);
	if (!vhl_hints_suffice(&mem->hints, mem->iotlb->nmaps))
		swap(mem->hints, more);
	mem_changed(mem);
	vhl_unlock_vqs(dev);
	vhl_hints_free(&more);
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
	mem_del(&dev->mem, first, last);
	mem_changed(&dev->mem);
	vhl_unlock_vqs(dev);
}

void vhl_mem_clear(struct vhl_dev *dev)
{
	struct vhl_mem none;

	if (!dev->mem.iotlb)
		return;
	vhl_mem_init(&none);
	mem_replace(dev, &none);
}
