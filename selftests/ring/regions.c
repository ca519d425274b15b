// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/barrier.h>

#include "regions.h"

/* The guest whose memory copy_from_user() reaches */
static struct guest *live;
static bool access_is_open;

void (*shim_after_read)(const volatile void *p, unsigned long size);
void (*shim_at_barrier)(enum shim_barrier kind);
unsigned int shim_allocations = ~0U;

static void die(const char *what)
{
	fflush(stdout);
	fprintf(stderr, "guest: %s\n", what);
	abort();
}

void guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	g->mem.iotlb = &g->map;
	(void)vhl_cache_init(&g->mem.cache, 0);
	live = g;
}

static void region_free(struct guest_region *region)
{
	free(region->backing);
	free(region);
}

void guest_fini(struct guest *g)
{
	while (g->map.n)
		region_free(g->map.regions[--g->map.n]);
	vhl_cache_free(&g->mem.cache);
	live = NULL;
}

/* As in core/mem.c */
static void map_changed(struct guest *g)
{
	g->mem.gen++;
	vhl_cache_clear(&g->mem.cache, g->map.n ? g->mem.log_sizes / g->map.n : 0);
}

static unsigned int log_size(const struct guest_region *region)
{
	u64 size = region->r.last - region->r.start + 1;

	return size ? ilog2(size) : 63;
}

static struct guest_region *region_new(struct guest *g, u64 addr, u64 last, u64 hva, u32 perm)
{
	struct guest_region *region = malloc(sizeof(*region));

	if (!region)
		die("no memory");
	if (g->map.n == GUEST_REGIONS)
		die("too many regions");
	*region = (struct guest_region){
		.r = { .start = addr, .last = last, .addr = hva, .perm = perm },
	};
	g->map.regions[g->map.n++] = region;
	g->mem.log_sizes += log_size(region);
	if (!vhl_cache_suffices(&g->mem.cache, g->map.n)) {
		vhl_cache_free(&g->mem.cache);
		if (vhl_cache_init(&g->mem.cache, g->map.n))
			die("no memory");
	}
	map_changed(g);
	return region;
}

void *guest_add(struct guest *g, u64 addr, size_t size, u32 perm)
{
	void *p = calloc(1, size);

	if (!p)
		die("no memory");
	region_new(g, addr, addr + size - 1, (uintptr_t)p, perm)->backing = p;
	return p;
}

void guest_add_at(struct guest *g, u64 addr, u64 last, u64 hva, u32 perm)
{
	region_new(g, addr, last, hva, perm);
}

void guest_del(struct guest *g, u64 addr)
{
	unsigned int i;

	for (i = 0; i < g->map.n; i++) {
		struct guest_region *region = g->map.regions[i];

		if (region->r.start != addr)
			continue;
		g->map.regions[i] = g->map.regions[--g->map.n];
		g->mem.log_sizes -= log_size(region);
		map_changed(g);
		region_free(region);
		return;
	}
	die("no such region");
}

const struct vhost_iotlb_map *guest_find(const struct guest *g, u64 addr)
{
	unsigned int i;

	for (i = 0; i < g->map.n; i++) {
		const struct vhost_iotlb_map *r = &g->map.regions[i]->r;

		if (addr >= r->start && addr <= r->last)
			return r;
	}
	return NULL;
}

void *guest_ptr(const struct guest *g, u64 addr, size_t len)
{
	const struct vhost_iotlb_map *r = guest_find(g, addr);

	if (!r || r->last - addr < len - 1)
		return NULL;
	return (void *)(uintptr_t)(r->addr + (addr - r->start));
}

void guest_write(struct guest *g, u64 addr, const void *from, size_t len)
{
	const char *byte = from;
	char *to;

	while (len--) {
		to = guest_ptr(g, addr++, 1);
		if (!to)
			die("a test writes where nothing is");
		*to = *byte++;
	}
}

void guest_fault(struct guest *g, u64 addr, size_t len)
{
	g->map.fault_at = len ? (uintptr_t)guest_ptr(g, addr, len) : 0;
	g->map.fault_len = len;
}

bool guest_owns(const struct guest *g, u64 hva, u64 len, u32 perm)
{
	unsigned int i;

	for (i = 0; i < g->map.n; i++) {
		const struct vhost_iotlb_map *r = &g->map.regions[i]->r;
		u64 off = hva - r->addr;

		if (hva >= r->addr && off <= r->last - r->start && len &&
		    len - 1 <= r->last - r->start - off && (r->perm & perm) == perm)
			return true;
	}
	return false;
}

bool guest_is_cached(const volatile void *p)
{
	const struct vhl_region_cache *cache = &live->mem.cache;
	const struct vhost_iotlb_map **slot = (const struct vhost_iotlb_map **)p;

	return slot >= cache->slot && slot <= cache->slot + (U32_MAX >> cache->down);
}

const struct vhost_iotlb_map *vhl_mem_find(const struct vhl_mem *mem, u64 addr)
{
	mem->iotlb->finds++;
	return guest_find(live, addr);
}

unsigned long copy_from_user(void *to, const void *from, unsigned long n)
{
	struct vhost_iotlb *map = &live->map;
	uintptr_t at = (uintptr_t)from;
	unsigned long good = n;

	map->copies += !access_is_open;
	if (!guest_owns(live, at, n, VHL_MEM_READ))
		die("the ring reads what is not mapped for it");
	if (map->fault_len && at < map->fault_at + map->fault_len && at + n > map->fault_at)
		good = map->fault_at > at ? map->fault_at - at : 0;
	memcpy(to, from, good);
	memset((char *)to + good, 0, n - good);
	if (shim_after_read && good)
		shim_after_read(from, good);
	return n - good;
}

bool user_read_access_begin(const void *from __maybe_unused, unsigned long n __maybe_unused)
{
	if (access_is_open)
		die("access to the owner's memory is opened twice");
	access_is_open = true;
	live->map.copies++;
	return true;
}

void user_read_access_end(void)
{
	if (!access_is_open)
		die("access to the owner's memory is closed twice");
	access_is_open = false;
}

u64 rng_next(struct rng *rng)
{
	/* splitmix64 */
	u64 z = rng->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}
