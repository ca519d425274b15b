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
	if (cache->slot != no_cache)
		kvfree(cache->slot);
}

void vhl_cache_clear(struct vhl_region_cache *cache, unsigned int shift)
{
	u32 i, last = U32_MAX >> cache->down;

	cache->shift = shift;
	if (cache->slot == no_cache)
		return;
	for (i = 0; i <= last; i++)
		cache->slot[i] = &vhl_no_region;
}

void vhl_cache_add(const struct vhl_region_cache *cache, u64 addr,
		   const struct vhost_iotlb_map *map)
{
	const struct vhost_iotlb_map *first;
	u32 i = vhl_cache_index(cache, addr);

	if (cache->slot == no_cache)
		return;
	/* what was there moves to the neighbour; of a slot that was free nothing does */
	first = READ_ONCE(cache->slot[i]);
	if (first != &vhl_no_region)
		WRITE_ONCE(cache->slot[i ^ 1], first);
	WRITE_ONCE(cache->slot[i], map);
}
