/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: one map from guest address (GPA or IOVA) to the owner's virtual address.
 *
 * Readers hold the mutex of their virtqueue, writers the mutexes of all virtqueues; so a map is
 * replaced between two turns of a queue, never during one, and a region that was found in it
 * stays as it is until then.
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
 * struct vhl_hints - where addresses were found before
 * @slot: for each hash of an address a region that has such addresses, or &vhl_nowhere; two that
 *	  meet share a pair of neighbours. There are slots even where there is nothing to remember
 * @shift: addresses that differ only in so many low bits have the same hash
 * @down: from 32 bits to an index
 *
 * A hint may be useless but never wrong: it is a region of the present map, and whoever takes it
 * looks whether the address is in there. All queues of a device fill them, without a lock; who
 * changes the map empties them.
 */
struct vhl_hints {
	const struct vhost_iotlb_map **slot;
	u8 shift;
	u8 down;
};

/**
 * struct vhl_mem - the memory of a device
 * @iotlb: the regions, NULL before there were any
 * @hints: spare searches of @iotlb
 * @log_sizes: sum of the binary logarithms of the sizes of all regions
 * @gen: bumped by every change, so that rings know that what they remember is gone; never wraps
 */
struct vhl_mem {
	struct vhost_iotlb *iotlb;
	struct vhl_hints hints;
	unsigned int log_sizes;
	u64 gen;
};

/**
 * vhl_mem_find() - search the map for the region that holds a guest address
 * @mem: the map
 * @addr: guest address
 *
 * Context: holding the mutex of a virtqueue of the device, or dev->mutex.
 * Return: the region, valid as long as the mutex is held, or NULL where nothing is mapped.
 */
const struct vhost_iotlb_map *vhl_mem_find(const struct vhl_mem *mem, u64 addr);

/* hints.c APIs */

/* An empty region; no address is in it */
extern const struct vhost_iotlb_map vhl_nowhere;

/* Are there slots enough for so many regions? */
bool vhl_hints_suffice(const struct vhl_hints *hints, unsigned int regions);

/* Make empty slots that are. Return: 0 or -ENOMEM; for one region or none it cannot fail */
int vhl_hints_init(struct vhl_hints *hints, unsigned int regions);
void vhl_hints_free(struct vhl_hints *hints);

/* The map has changed, holding the mutexes of all virtqueues; @shift is for the new one */
void vhl_hints_forget(struct vhl_hints *hints, unsigned int shift);

/* @addr is in @map, and it took a search to find it */
void vhl_hints_add(const struct vhl_hints *hints, u64 addr, const struct vhost_iotlb_map *map);

static inline bool vhl_region_has(const struct vhost_iotlb_map *map, u64 addr)
{
	return addr >= map->start && addr <= map->last;
}

static inline u32 vhl_hints_index(const struct vhl_hints *hints, u64 addr)
{
	return __hash_32(addr >> hints->shift) >> hints->down;
}

/**
 * vhl_hint() - where might an address be
 * @hints: the hints
 * @addr: guest address
 *
 * Speculation gains nothing from the guest's choice of @addr: no index is too large, all that is
 * in the slots may be read, and what is computed from it is an address of the owner's, which is
 * used behind access_ok() and barrier_nospec() as if it had been found in any other way.
 *
 * Return: a region, or &vhl_nowhere; @addr need not be in there.
 */
static inline const struct vhost_iotlb_map *vhl_hint(const struct vhl_hints *hints, u64 addr)
{
	return READ_ONCE(hints->slot[vhl_hints_index(hints, addr)]);
}

/* And if not there */
static inline const struct vhost_iotlb_map *vhl_hint_else(const struct vhl_hints *hints, u64 addr)
{
	return READ_ONCE(hints->slot[vhl_hints_index(hints, addr) ^ 1]);
}

#endif /* VHL_MEM_H */
