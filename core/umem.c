// SPDX-License-Identifier: GPL-2.0
/*
 * A device's memory: what clients make of its map, while queues use it.
 *
 * What comes to the map is simply there. What goes is hidden first; then a turn that may have
 * found it is waited for, one queue at a time, and the chains that use it, and no others. After
 * an invalidation nothing is read from or written to memory that is no longer the guest's. Where
 * a whole map comes in the place of another one, the mutexes of all queues are held, and they are
 * drained.
 */
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include "internal.h"

/*
 * A region costs some 100 bytes and its part of the cache up to 64. VMMs keep tens; those that
 * hot-plug memory in small pieces some hundreds. Behind a guest's IOMMU each page that a request
 * uses is one, and a guest whose map is full loses its disk: there is room for a ring of 1024
 * requests with header, status, table and as many segments each as a disk tells its driver of
 * (126), and some more.
 */
static unsigned int max_regions = 135168;
module_param(max_regions, uint, 0444);
MODULE_PARM_DESC(max_regions, "Regions of guest memory that a device may have (default 135168)");

/*
 * Put another map in the place of @map. No turn runs meanwhile, and no request that was translated
 * with the old one is in flight when it goes. So does a log that has bits for it, if that is
 * another one.
 */
static void umem_replace(struct vhl_dev *dev, struct vhl_mem *map, struct vhl_mem *mem,
			 struct vhl_dirty_log *log)
{
	vhl_lock_drained_vqs(dev);
	vhl_mem_swap(map, mem);
	vhl_log_follow(dev, &log);
	vhl_unlock_vqs(dev);
	vhl_mem_free(mem);
	vhl_log_discard(dev, log);
}

int vhl_umem_set_table(struct vhl_dev *dev, void __user *argp)
{
	struct vhost_memory_region *regions;
	struct vhl_dirty_log *log;
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
	ret = vhl_mem_alloc(&mem, head.nregions, max_regions);
	if (ret)
		goto free_regions;
	for (i = 0; i < head.nregions; i++) {
		ret = vhl_mem_add(&mem, regions[i].guest_phys_addr, regions[i].memory_size,
				  regions[i].userspace_addr, VHOST_MAP_RW, NULL);
		if (ret)
			goto free_mem;
	}
	ret = vhl_log_prepare(dev, &mem, &log);
	if (ret)
		goto free_mem;
	umem_replace(dev, vhl_guest_map(dev), &mem, log);
	kvfree(regions);
	return 0;

free_mem:
	vhl_mem_free(&mem);
free_regions:
	kvfree(regions);
	return ret;
}

/* Can there be such a region? */
bool vhl_umem_region_ok(u64 iova, u64 size, u64 uaddr, u32 perm)
{
	return perm && !(perm & ~VHOST_MAP_RW) && vhl_mem_region_ok(iova, size, uaddr);
}

/* Forget the region that was added first, if there are as many as there may be */
void vhl_umem_make_room(struct vhl_dev *dev)
{
	const struct vhost_iotlb_map *oldest;

	lockdep_assert_held(&dev->mutex);

	if (!vhl_mem_regions(&dev->mem) || vhl_mem_regions(&dev->mem) < max_regions)
		return;
	oldest = list_first_entry(&dev->mem.iotlb->list, struct vhost_iotlb_map, link);
	vhl_umem_unmap(dev, oldest->start, oldest->last);
}

/* Turns that run now are over when this returns */
static void umem_end_turns(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++) {
		if (!vhl_vq_started(dev->vqs[i]))
			continue;
		vhl_vq_lock(dev->vqs[i]);
		vhl_vq_unlock(dev->vqs[i]);
	}
}

int vhl_umem_map(struct vhl_dev *dev, u64 iova, u64 size, u64 uaddr, u32 perm)
{
	struct vhl_mem *mem = &dev->mem;
	struct vhl_region_cache more;
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (!vhl_mem_takes_regions(mem)) {
		struct vhl_mem empty;

		ret = vhl_mem_alloc(&empty, 0, max_regions);
		if (ret)
			return ret;
		umem_replace(dev, &dev->mem, &empty, NULL);
	}
	ret = vhl_mem_reserve(mem, &more);
	if (ret)
		return ret;
	ret = vhl_mem_add(mem, iova, size, uaddr, perm, &more);
	if (!ret)
		dev->map_stats.updates++;
	if (vhl_mem_leaves_cache(&more))
		umem_end_turns(dev);
	vhl_mem_unreserve(&more);
	return ret;
}

/*
 * A turn of the queue that may have found what goes is over, and chains that use it are known by
 * their claims from now on, or there are none. Only what was taken before there were claims has
 * to be waited for here. In a batch memory goes that is not an IOMMU's: it seldom does.
 */
static void umem_retire_vq(struct vhl_vq *vq)
{
	struct vhl_dev *dev = vq->dev;

	vhl_vq_lock(vq);
	if (!vq->claims && !vhl_vq_is_drained(vq)) {
		dev->map_stats.drains++;
		vhl_vq_drain(vq);
		/* without memory for them it is drained again the next time */
		if (!dev->in_batch)
			(void)vhl_claims_begin(vq);
	}
	vhl_vq_unlock(vq);
}

void vhl_umem_unmap(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	/* nothing in flight is of what is not there */
	if (!vhl_mem_first(&dev->mem, first, last))
		return;
	dev->map_stats.invalidates++;
	vhl_mem_retire(&dev->mem, first, last);
	for (i = 0; i < dev->node->num_vqs; i++)
		if (vhl_vq_started(dev->vqs[i]))
			umem_retire_vq(dev->vqs[i]);
	if (vhl_mem_is_used(&dev->mem, first, last)) {
		dev->map_stats.waits++;
		wait_event(dev->unclaimed, !vhl_mem_is_used(&dev->mem, first, last));
	}
	vhl_mem_del(&dev->mem, first, last);
}

/* The map of queues is empty from now on. No queue runs */
void vhl_umem_forget(struct vhl_dev *dev)
{
	struct vhl_mem none;

	lockdep_assert_held(&dev->mutex);

	dev->in_batch = false;
	if (!vhl_mem_takes_regions(&dev->mem))
		return;
	vhl_mem_init(&none);
	umem_replace(dev, &dev->mem, &none, NULL);
}

void vhl_umem_clear(struct vhl_dev *dev)
{
	vhl_umem_forget(dev);
	vhl_mem_free(&dev->table);
	vhl_mem_init(&dev->table);
}

/*
 * From now on queues use a map of IOVAs, which the client fills by and by, or the table that it set
 * (again). No queue runs.
 */
void vhl_umem_set_iova(struct vhl_dev *dev, bool on)
{
	struct vhl_mem none;

	lockdep_assert_held(&dev->mutex);

	vhl_mem_init(&none);
	if (!on)
		swap(none, dev->table);
	vhl_lock_vqs(dev);
	vhl_mem_swap(&dev->mem, &none);
	dev->in_batch = false;
	vhl_unlock_vqs(dev);
	vhl_miss_end(dev);
	if (on)
		swap(none, dev->table);
	vhl_mem_free(&none);
}
