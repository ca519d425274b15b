/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: a map from guest address (GPA or IOVA) to the owner's virtual address.
 *
 * Regions do not overlap. A map knows no device: whose it is, when it changes and who has to wait
 * for that is umem.c's concern. One thread at a time changes a map, and sees it as it is. Queues
 * look addresses up meanwhile (vhl_mem_lookup()), in their turns:
 *
 *   vhl_mem_add()	a turn finds the region or does not
 *   vhl_mem_retire()	turns that begin later do not find it
 *   vhl_mem_del()	it is freed: turns that have begun before it retired are over by then, and
 *			so is what they took (vhl_region_users())
 *   vhl_mem_swap()	no turn at all
 *
 * So what a turn has found stays as it is until that turn ends.
 */
#ifndef VHL_MEM_H
#define VHL_MEM_H

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/hash.h>
#include <linux/spinlock.h>
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
 * looks whether the address is in there. Slots are read without a lock, and changed under that of
 * the map; a region that retires leaves them.
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
 * @gen: bumped where something that rings remember goes, so that they know; never wraps.
 *	 READ_ONCE()
 * @lock: for @iotlb and the slots, against lookups
 */
struct vhl_mem {
	struct vhost_iotlb *iotlb;
	struct vhl_region_cache cache;
	unsigned int log_sizes;
	u64 gen;
	spinlock_t lock;
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

/* Exchange the regions of two maps. What was remembered of @mem is gone. No reader is at either */
void vhl_mem_swap(struct vhl_mem *mem, struct vhl_mem *other);

/**
 * vhl_mem_reserve() - allocate ahead what one more region wants, while there may be readers
 * @mem: the map, which takes regions
 * @more: filled, for vhl_mem_add(); then vhl_mem_unreserve()
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check vhl_mem_reserve(const struct vhl_mem *mem, struct vhl_region_cache *more);
/* What is left of it: turns that have begun before may still use that if vhl_mem_leaves_cache() */
void vhl_mem_unreserve(struct vhl_region_cache *more);
bool vhl_mem_leaves_cache(const struct vhl_region_cache *more);

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
 * Return: 0; -EINVAL for what is empty, wraps around or cannot be the owner's; -EEXIST where it
 * overlaps a region; -ENOSPC with as many regions as there may be; -ENOMEM.
 */
int __must_check vhl_mem_add(struct vhl_mem *mem, u64 start, u64 size, u64 uaddr, u32 perm,
			     struct vhl_region_cache *more);

/* Hide all regions that have any of @first to @last; vhl_mem_del() of the same range follows */
void vhl_mem_retire(struct vhl_mem *mem, u64 first, u64 last);

/* Are any of them in use? */
bool vhl_mem_is_used(const struct vhl_mem *mem, u64 first, u64 last);

/* Delete them */
void vhl_mem_del(struct vhl_mem *mem, u64 first, u64 last);

/* How many regions there are */
unsigned int vhl_mem_regions(const struct vhl_mem *mem);

/**
 * vhl_mem_find() - search the map for the region that holds a guest address
 * @mem: the map
 * @addr: guest address
 *
 * By who may change the map.
 *
 * Return: the region, valid until the map changes, or NULL where nothing is mapped.
 */
const struct vhost_iotlb_map *vhl_mem_find(const struct vhl_mem *mem, u64 addr);

/* Likewise, the first one that has any of @first to @last */
const struct vhost_iotlb_map *vhl_mem_first(const struct vhl_mem *mem, u64 first, u64 last);

/* Likewise by a turn of a queue: valid until that ends. It is in the cache then */
const struct vhost_iotlb_map *vhl_mem_lookup(struct vhl_mem *mem, u64 addr);

/* The same for what the turn has found before, also if it has retired since */
const struct vhost_iotlb_map *vhl_mem_lookup_again(struct vhl_mem *mem, u64 addr);

/* Have a ring use the cache, too. Return: the generation in which it may */
u64 vhl_mem_share_cache(struct vhl_mem *mem, struct vhl_region_cache *cache);

/* Make a range as large as all regions that have any of it */
void vhl_mem_extend(const struct vhl_mem *mem, u64 *first, u64 *last);

/*
 * How often a region is in use by what outlasts a turn. The kernel's map leaves this field to its
 * user; where it is not counted it is 0.
 */
static inline atomic_long_t *vhl_region_users(const struct vhost_iotlb_map *region)
{
	static_assert(sizeof(region->opaque) == sizeof(atomic_long_t));

	return (atomic_long_t *)&region->opaque;
}

/* region_cache.c APIs */

/* An empty region; no address is in it */
extern const struct vhost_iotlb_map vhl_no_region;

/* Has it slots of its own? */
bool vhl_cache_is_allocated(const struct vhl_region_cache *cache);

/* Are there slots enough for so many regions? */
bool vhl_cache_suffices(const struct vhl_region_cache *cache, unsigned int regions);

/* Make empty slots that are. Return: 0 or -ENOMEM; for one region or none it cannot fail */
int vhl_cache_init(struct vhl_region_cache *cache, unsigned int regions);
void vhl_cache_free(struct vhl_region_cache *cache);

/* These change slots. Nothing is known any more; @shift is for what will be */
void vhl_cache_clear(struct vhl_region_cache *cache, unsigned int shift);

/* @addr is in @map, and it took a search to find it */
void vhl_cache_add(const struct vhl_region_cache *cache, u64 addr,
		   const struct vhost_iotlb_map *map);

/* @map is not to be found any more */
void vhl_cache_forget(const struct vhl_region_cache *cache, const struct vhost_iotlb_map *map);

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
