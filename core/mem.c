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

const struct vhost_iotlb_map *vhl_mem_lookup(struct vhl_mem *mem, u64 addr)
{
	const struct vhost_iotlb_map *map;

	spin_lock(&mem->lock);
	map = vhl_mem_find(mem, addr);
	/* one that retires is not there */
	if (map && !map->perm)
		map = NULL;
	if (map)
		vhl_cache_add(&mem->cache, addr, map);
	spin_unlock(&mem->lock);
	return map;
}

const struct vhost_iotlb_map *vhl_mem_lookup_again(struct vhl_mem *mem, u64 addr)
{
	const struct vhost_iotlb_map *map;

	spin_lock(&mem->lock);
	map = vhl_mem_find(mem, addr);
	spin_unlock(&mem->lock);
	return map;
}

u64 vhl_mem_share_cache(struct vhl_mem *mem, struct vhl_region_cache *cache)
{
	u64 gen;

	/* it may be about to grow */
	spin_lock(&mem->lock);
	*cache = mem->cache;
	gen = mem->gen;
	spin_unlock(&mem->lock);
	return gen;
}

void vhl_mem_extend(const struct vhl_mem *mem, u64 *first, u64 *last)
{
	const struct vhost_iotlb_map *map;

	map = vhl_mem_find(mem, *first);
	if (map)
		*first = map->start;
	map = vhl_mem_find(mem, *last);
	if (map)
		*last = map->last;
}

void vhl_mem_init(struct vhl_mem *mem)
{
	*mem = (struct vhl_mem){};
	spin_lock_init(&mem->lock);
	/* for no region it cannot fail */
	(void)vhl_cache_init(&mem->cache, 0);
}

int vhl_mem_alloc(struct vhl_mem *mem, unsigned int regions, unsigned int max)
{
	int ret;

	*mem = (struct vhl_mem){};
	spin_lock_init(&mem->lock);
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

/* Nothing that rings remember of the map holds any longer */
static void mem_changed(struct vhl_mem *mem)
{
	WRITE_ONCE(mem->gen, mem->gen + 1);
}

/*
 * Addresses share a slot of the cache within pieces of the size that most regions have: smaller
 * pieces would fill the slots with one and the same region, in larger ones many regions would be
 * after the same slot.
 */
static unsigned int mem_shift(const struct vhl_mem *mem)
{
	unsigned int n = vhl_mem_regions(mem);

	return n ? mem->log_sizes / n : 0;
}

/* Half or twice the size is as good, and not worth to forget all that is known. */
static void mem_tune_cache(struct vhl_mem *mem)
{
	unsigned int shift = mem_shift(mem);

	if (shift + 1 >= mem->cache.shift && shift <= mem->cache.shift + 1U)
		return;
	vhl_cache_clear(&mem->cache, shift);
	mem_changed(mem);
}

void vhl_mem_swap(struct vhl_mem *mem, struct vhl_mem *other)
{
	swap(mem->iotlb, other->iotlb);
	swap(mem->cache, other->cache);
	swap(mem->log_sizes, other->log_sizes);
	vhl_cache_clear(&mem->cache, mem_shift(mem));
	/* generations of one map go on, whatever is in it */
	mem_changed(mem);
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

bool vhl_mem_leaves_cache(const struct vhl_region_cache *more)
{
	return vhl_cache_is_allocated(more);
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
	spin_lock(&mem->lock);
	/*
	 * The kernel's map would make two regions of one that covers all addresses; user memory is
	 * never that large, access_ok() has refused it.
	 */
	ret = vhost_iotlb_add_range(mem->iotlb, start, last, uaddr, perm);
	if (ret)
		goto unlock;
	mem->log_sizes += ilog2(size);
	if (more && !vhl_cache_suffices(&mem->cache, mem->iotlb->nmaps)) {
		vhl_cache_clear(more, mem_shift(mem));
		swap(mem->cache, *more);
		mem_changed(mem);
	} else {
		mem_tune_cache(mem);
	}
unlock:
	spin_unlock(&mem->lock);
	return ret;
}

void vhl_mem_retire(struct vhl_mem *mem, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	for (map = vhost_iotlb_itree_first(mem->iotlb, first, last); map;
	     map = vhost_iotlb_itree_next(map, first, last)) {
		/* each by itself: they may be many, and lookups wait */
		spin_lock(&mem->lock);
		vhl_cache_forget(&mem->cache, map);
		/* read without the lock: nothing is allowed there any more */
		WRITE_ONCE(map->perm, 0);
		spin_unlock(&mem->lock);
	}
	mem_changed(mem);
}

bool vhl_mem_is_used(const struct vhl_mem *mem, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	for (map = vhost_iotlb_itree_first(mem->iotlb, first, last); map;
	     map = vhost_iotlb_itree_next(map, first, last))
		/* pairs with who releases it: what was done to its memory is done */
		if (atomic_long_read_acquire(vhl_region_users(map)))
			return true;
	return false;
}

void vhl_mem_del(struct vhl_mem *mem, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	while ((map = vhost_iotlb_itree_first(mem->iotlb, first, last))) {
		mem->log_sizes -= ilog2(map->size);
		spin_lock(&mem->lock);
		vhost_iotlb_map_free(mem->iotlb, map);
		spin_unlock(&mem->lock);
	}
	spin_lock(&mem->lock);
	mem_tune_cache(mem);
	spin_unlock(&mem->lock);
}
