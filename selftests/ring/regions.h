/* SPDX-License-Identifier: GPL-2.0 */
/* Guest memory for tests: a table of regions behind vhl_mem_find() and copy_from_user() */
#ifndef REGIONS_H
#define REGIONS_H

#include <linux/types.h>

#include "mem.h"

#define GUEST_REGIONS	1024

/* Each its own heap object, as in the kernel: one that is used after it went is found out */
struct guest_region {
	struct vhost_iotlb_map r;
	void *backing;			/* ours, of exactly the region's size; or NULL */
};

struct vhost_iotlb {
	unsigned int n;
	struct guest_region *regions[GUEST_REGIONS];
	unsigned int finds;		/* calls of vhl_mem_find() */
	unsigned int copies;		/* times that the owner's memory was read */
	uintptr_t fault_at;		/* the owner's addresses that fault */
	size_t fault_len;
};

struct guest {
	struct vhl_mem mem;
	struct vhost_iotlb map;
};

void guest_init(struct guest *g);
void guest_fini(struct guest *g);

/* Map @size bytes of fresh heap memory: a byte more and the sanitizer says so */
void *guest_add(struct guest *g, u64 addr, size_t size, u32 perm);

/* Map without backing: for addresses that are only translated */
void guest_add_at(struct guest *g, u64 addr, u64 last, u64 hva, u32 perm);

void guest_del(struct guest *g, u64 addr);

/* What is at [addr, addr + len), which lies in one region; NULL when it does not */
void *guest_ptr(const struct guest *g, u64 addr, size_t len);

/* Write into guest memory, regions or not */
void guest_write(struct guest *g, u64 addr, const void *from, size_t len);

/* From now on the owner's mapping of [addr, addr + len) faults; 0 bytes: nothing does */
void guest_fault(struct guest *g, u64 addr, size_t len);

const struct vhost_iotlb_map *guest_find(const struct guest *g, u64 addr);

/* Is [hva, hva + len) within a region that has @perm? */
bool guest_owns(const struct guest *g, u64 hva, u64 len, u32 perm);

/* Is this a slot of the cache of the guest that lives? */
bool guest_is_cached(const volatile void *p);

/* Pseudo-random numbers that are the same everywhere */
struct rng {
	u64 state;
};

u64 rng_next(struct rng *rng);

static inline u32 rng_below(struct rng *rng, u32 n)
{
	return (rng_next(rng) >> 32) * n >> 32;
}

#endif /* REGIONS_H */
