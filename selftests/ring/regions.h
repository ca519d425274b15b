/* SPDX-License-Identifier: GPL-2.0 */
/* Guest memory for tests: a map (core/mem.c), what is behind it, and copy_from_user() */
#ifndef REGIONS_H
#define REGIONS_H

#include <linux/types.h>

#include "mem.h"

#define GUEST_REGIONS	1024

/* Memory of ours behind a region, of exactly its size */
struct guest_backing {
	u64 start;
	void *p;
};

struct guest {
	struct vhl_mem mem;
	unsigned int copies;		/* times that the owner's memory was read */
	uintptr_t fault_at;		/* the owner's addresses that fault */
	size_t fault_len;
	unsigned int backings;
	struct guest_backing backing[GUEST_REGIONS];
};

void guest_init(struct guest *g);
void guest_fini(struct guest *g);

/* Searches of the map so far, by the ring */
static inline unsigned int guest_finds(const struct guest *g)
{
	return g->mem.iotlb->finds;
}

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
