// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: the map as an object. Plain C, also compiled in userspace.
 */
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/uaccess.h>
#include <linux/vhost_iotlb.h>

#include "mem.h"

const struct vhost_iotlb_map *vhl_mem_find(const struct vhl_mem *mem, u64 addr)
{
	return vhl_mem_first(mem, addr, addr);
}

const struct vhost_iotlb_map *vhl_mem_first(const struct vhl_mem *mem, u64 first, u64 last)
{
	return mem->iotlb ? vhost_iotlb_itree_first(mem->iotlb, first, last) : NULL;
}

unsigned int vhl_mem_regions(const struct vhl_mem *mem)
{
	return mem->iotlb ? mem->iotlb->nmaps : 0;
}

void vhl_mem_init(struct vhl_mem *mem)
{
	*mem = (struct vhl_mem){};
	/* for no region it cannot fail */
	(void)vhl_cache_init(&mem->cache, 0);
}

int vhl_mem_alloc(struct vhl_mem *mem, unsigned int regions, unsigned int max)
{
	int ret;

	*mem = (struct vhl_mem){};
	ret = vhl_cache_init(&mem->cache, regions);
	if (ret)
		return ret;
	mem->iotlb = vhost_iotlb_alloc(max, 0);
	if (!mem->iotlb) {
		vhl_cache_free(&mem->cache);
		return -ENOMEM;
	}
	return 0;
}

void vhl_mem_free(struct vhl_mem *mem)
{
	vhl_cache_free(&mem->cache);
	vhost_iotlb_free(mem->iotlb);
}

void vhl_mem_swap(struct vhl_mem *mem, struct vhl_mem *other)
{
	swap(*mem, *other);
	/* generations of one map go on, whatever is in it */
	swap(mem->gen, other->gen);
	vhl_mem_changed(mem);
}

int vhl_mem_reserve(const struct vhl_mem *mem, struct vhl_region_cache *more)
{
	unsigned int regions = mem->iotlb->nmaps + 1;

	return vhl_cache_init(more, vhl_cache_suffices(&mem->cache, regions) ? 0 : regions);
}

void vhl_mem_unreserve(struct vhl_region_cache *more)
{
	vhl_cache_free(more);
}

bool vhl_mem_region_ok(u64 start, u64 size, u64 uaddr)
{
	return size && start + (size - 1) >= start && uaddr + (size - 1) >= uaddr &&
	       uaddr == (unsigned long)uaddr && size == (unsigned long)size &&
	       access_ok((void __user *)(unsigned long)uaddr, size);
}

int vhl_mem_add(struct vhl_mem *mem, u64 start, u64 size, u64 uaddr, u32 perm,
		struct vhl_region_cache *more)
{
	u64 last = start + (size - 1);
	int ret;

	if (!vhl_mem_region_ok(start, size, uaddr))
		return -EINVAL;
	if (vhost_iotlb_itree_first(mem->iotlb, start, last))
		return -EEXIST;
	/* older kernels do not look at the map's own limit */
	if (mem->iotlb->nmaps >= mem->iotlb->limit)
		return -ENOSPC;
	/*
	 * The kernel's map would make two regions of one that covers all addresses; user memory is
	 * never that large, access_ok() has refused it.
	 */
	ret = vhost_iotlb_add_range(mem->iotlb, start, last, uaddr, perm);
	if (ret)
		return ret;
	mem->log_sizes += ilog2(size);
	/* empty, as vhl_mem_changed() will have it anyway */
	if (more && !vhl_cache_suffices(&mem->cache, mem->iotlb->nmaps))
		swap(mem->cache, *more);
	return 0;
}

void vhl_mem_del(struct vhl_mem *mem, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	while ((map = vhost_iotlb_itree_first(mem->iotlb, first, last))) {
		mem->log_sizes -= ilog2(map->size);
		vhost_iotlb_map_free(mem->iotlb, map);
	}
}

/*
 * Addresses share a slot of the cache within pieces of the size that most regions have: smaller
 * pieces would fill the slots with one and the same region, in larger ones many regions would be
 * after the same slot.
 */
void vhl_mem_changed(struct vhl_mem *mem)
{
	unsigned int n = vhl_mem_regions(mem);

	mem->gen++;
	vhl_cache_clear(&mem->cache, n ? mem->log_sizes / n : 0);
}
