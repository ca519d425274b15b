/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: a map from guest address (GPA or IOVA) to the owner's virtual address.
 *
 * Regions do not overlap. A map knows no device: whose it is, when it changes and who has to wait
 * for that is umem.c's concern. Queues read the map of their device with their mutex held, umem.c
 * changes it with the mutexes of all of them held; so a map changes between two turns of a queue,
 * never during one, and a region that was found in it stays as it is until then.
 */
#ifndef VHL_MEM_H
#define VHL_MEM_H

#include <linux/compiler.h>
#include <linux/hash.h>
#include <linux/types.h>
#include <linux/vhost_iotlb.h>

/* Permissions as in struct vhost_iotlb_map and in IOTLB messages */
#define VHL_MEM_READ	0x1	/* the device may read */
#define VHL_MEM_WRITE	0x2	/* the device may write */

/**
 * struct vhl_region_cache - the regions in which addresses were found before
 * @slot: for each hash of an address a region that has such addresses, or &vhl_no_region; two that
 *	  meet share a pair of neighbours. There are slots even where there is nothing to remember
 * @shift: addresses that differ only in so many low bits have the same hash
 * @down: from 32 bits to an index
 *
 * What is in a slot may be useless but never wrong: it is a region of the present map, and a reader
 * looks whether the address is in there. All queues of a device fill the slots, without a lock; a
 * change of the map empties them.
 */
struct vhl_region_cache {
	const struct vhost_iotlb_map **slot;
	u8 shift;
	u8 down;
};

/**
 * struct vhl_mem - a map
 * @iotlb: the regions, NULL before there were any
 * @cache: spares searches of @iotlb
 * @log_sizes: sum of the binary logarithms of the sizes of all regions
 * @gen: bumped by every change, so that rings know that what they remember is gone; never wraps
 */
struct vhl_mem {
	struct vhost_iotlb *iotlb;
	struct vhl_region_cache cache;
	unsigned int log_sizes;
	u64 gen;
};

/* mem.c APIs */

/* A map without regions that takes none */
void vhl_mem_init(struct vhl_mem *mem);

/* An empty map whose cache suits so many regions, of at most @max. Return: 0 or -ENOMEM */
int vhl_mem_alloc(struct vhl_mem *mem, unsigned int regions, unsigned int max);
void vhl_mem_free(struct vhl_mem *mem);

/* Does it take regions? One that was only initialised does not */
static inline bool vhl_mem_takes_regions(const struct vhl_mem *mem)
{
	return mem->iotlb;
}

/* Exchange the regions of two maps. It counts as a change of @mem. No reader is at either */
void vhl_mem_swap(struct vhl_mem *mem, struct vhl_mem *other);

/**
 * vhl_mem_reserve() - allocate ahead what one more region wants, while there may be readers
 * @mem: the map, which takes regions
 * @more: filled, for vhl_mem_add(); then vhl_mem_unreserve()
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check vhl_mem_reserve(const struct vhl_mem *mem, struct vhl_region_cache *more);
void vhl_mem_unreserve(struct vhl_region_cache *more);

/* Is it not empty, does it not wrap around, and can it be the owner's? */
bool vhl_mem_region_ok(u64 start, u64 size, u64 uaddr);

/**
 * vhl_mem_add() - add a region
 * @mem: the map, which takes regions
 * @start: guest address
 * @size: bytes
 * @uaddr: the owner's address
 * @perm: VHL_MEM_*
 * @more: what was reserved; NULL for one of the regions that vhl_mem_alloc() was told of
 *
 * Followed by vhl_mem_changed(), once for several regions.
 *
 * Return: 0; -EINVAL for what is empty, wraps around or cannot be the owner's; -EEXIST where it
 * overlaps a region; -ENOSPC with as many regions as there may be; -ENOMEM.
 */
int __must_check vhl_mem_add(struct vhl_mem *mem, u64 start, u64 size, u64 uaddr, u32 perm,
			     struct vhl_region_cache *more);

/* Delete all regions that have any of @first to @last; vhl_mem_changed() follows */
void vhl_mem_del(struct vhl_mem *mem, u64 first, u64 last);

/* Nothing that was remembered of the map holds any longer. No reader is at it */
void vhl_mem_changed(struct vhl_mem *mem);

/* How many regions there are */
unsigned int vhl_mem_regions(const struct vhl_mem *mem);

/**
 * vhl_mem_find() - search the map for the region that holds a guest address
 * @mem: the map
 * @addr: guest address
 *
 * Return: the region, valid until the map changes, or NULL where nothing is mapped.
 */
const struct vhost_iotlb_map *vhl_mem_find(const struct vhl_mem *mem, u64 addr);

/* Likewise, the first one that has any of @first to @last */
const struct vhost_iotlb_map *vhl_mem_first(const struct vhl_mem *mem, u64 first, u64 last);

/* region_cache.c APIs */

/* An empty region; no address is in it */
extern const struct vhost_iotlb_map vhl_no_region;

/* Are there slots enough for so many regions? */
bool vhl_cache_suffices(const struct vhl_region_cache *cache, unsigned int regions);

/* Make empty slots that are. Return: 0 or -ENOMEM; for one region or none it cannot fail */
int vhl_cache_init(struct vhl_region_cache *cache, unsigned int regions);
void vhl_cache_free(struct vhl_region_cache *cache);

/* The map has changed, and no reader is at it; @shift is for the new one */
void vhl_cache_clear(struct vhl_region_cache *cache, unsigned int shift);

/* @addr is in @map, and it took a search to find it */
void vhl_cache_add(const struct vhl_region_cache *cache, u64 addr,
		   const struct vhost_iotlb_map *map);

static inline bool vhl_region_has(const struct vhost_iotlb_map *map, u64 addr)
{
	return addr >= map->start && addr <= map->last;
}

static inline u32 vhl_cache_index(const struct vhl_region_cache *cache, u64 addr)
{
	return __hash_32(addr >> cache->shift) >> cache->down;
}

/**
 * vhl_cache_first() - look an address up where it most likely is
 * @cache: the cache
 * @addr: guest address
 *
 * Speculation gains nothing from the guest's choice of @addr: no index is too large, all that is
 * in the slots may be read, and what is computed from it is an address of the owner's, which is
 * used behind access_ok() and barrier_nospec() as if it had been found in any other way.
 *
 * Return: a region, or &vhl_no_region; @addr need not be in there.
 */
static inline const struct vhost_iotlb_map *vhl_cache_first(const struct vhl_region_cache *cache,
							    u64 addr)
{
	return READ_ONCE(cache->slot[vhl_cache_index(cache, addr)]);
}

/* And if it is not there */
static inline const struct vhost_iotlb_map *vhl_cache_second(const struct vhl_region_cache *cache,
							     u64 addr)
{
	return READ_ONCE(cache->slot[vhl_cache_index(cache, addr) ^ 1]);
}

#endif /* VHL_MEM_H */
