// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory of many regions: a cache that spares most searches of the map. Plain C, also
 * compiled in userspace.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "mem.h"

/*
 * With four slots for a region those of equal size and distance, of which most maps are made,
 * seldom meet. At most 16 KiB, where the regions themselves take three times that.
 */
#define VHL_CACHE_PER_REGION	4
#define VHL_CACHE_MAX_BITS	11

const struct vhost_iotlb_map vhl_no_region = { .start = 1, .last = 0 };

/* For maps where it is enough to remember the region used last; never written */
static const struct vhost_iotlb_map *no_cache[] = { &vhl_no_region, &vhl_no_region };

static unsigned int cache_bits(unsigned int regions)
{
	if (regions < 2)
		return ilog2(ARRAY_SIZE(no_cache));
	return min_t(unsigned int, order_base_2(regions) + ilog2(VHL_CACHE_PER_REGION),
		     VHL_CACHE_MAX_BITS);
}

bool vhl_cache_is_allocated(const struct vhl_region_cache *cache)
{
	return cache->slot != no_cache;
}

bool vhl_cache_suffices(const struct vhl_region_cache *cache, unsigned int regions)
{
	return cache->down <= 32 - cache_bits(regions);
}

int vhl_cache_init(struct vhl_region_cache *cache, unsigned int regions)
{
	unsigned int bits = cache_bits(regions);

	*cache = (struct vhl_region_cache){ .slot = no_cache, .down = 32 - bits };
	if (regions < 2)
		return 0;
	cache->slot = kvmalloc_array(1U << bits, sizeof(*cache->slot), GFP_KERNEL_ACCOUNT);
	if (!cache->slot)
		return -ENOMEM;
	vhl_cache_clear(cache, 0);
	return 0;
}

void vhl_cache_free(struct vhl_region_cache *cache)
{
	if (vhl_cache_is_allocated(cache))
		kvfree(cache->slot);
}

void vhl_cache_clear(struct vhl_region_cache *cache, unsigned int shift)
{
	u32 i, last = U32_MAX >> cache->down;

	cache->shift = shift;
	if (!vhl_cache_is_allocated(cache))
		return;
	for (i = 0; i <= last; i++)
		WRITE_ONCE(cache->slot[i], &vhl_no_region);
}

void vhl_cache_add(const struct vhl_region_cache *cache, u64 addr,
		   const struct vhost_iotlb_map *map)
{
	const struct vhost_iotlb_map *first;
	u32 i = vhl_cache_index(cache, addr);

	if (!vhl_cache_is_allocated(cache))
		return;
	/* what was there moves to the neighbour; of a slot that was free nothing does */
	first = READ_ONCE(cache->slot[i]);
	if (first != &vhl_no_region)
		WRITE_ONCE(cache->slot[i ^ 1], first);
	/* after what is in there; readers depend on the address */
	smp_store_release(&cache->slot[i], map);
}

static void cache_forget_at(const struct vhl_region_cache *cache, u32 i,
			    const struct vhost_iotlb_map *map)
{
	if (cache->slot[i] == map)
		WRITE_ONCE(cache->slot[i], &vhl_no_region);
}

void vhl_cache_forget(const struct vhl_region_cache *cache, const struct vhost_iotlb_map *map)
{
	u64 piece = map->start >> cache->shift, end = map->last >> cache->shift;
	u32 i, last = U32_MAX >> cache->down;

	if (!vhl_cache_is_allocated(cache))
		return;
	if (end - piece >= last) {
		for (i = 0; i <= last; i++)
			cache_forget_at(cache, i, map);
		return;
	}
	/* where vhl_cache_add() has put it, or moved it to */
	for (; piece <= end; piece++) {
		i = vhl_cache_index(cache, piece << cache->shift);
		cache_forget_at(cache, i, map);
		cache_forget_at(cache, i ^ 1, map);
	}
}
