// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>
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
u64 shim_user_last = ~0ULL;

static void die(const char *what)
{
	fflush(stdout);
	fprintf(stderr, "guest: %s\n", what);
	abort();
}

void guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	if (vhl_mem_alloc(&g->mem, 0, GUEST_REGIONS))
		die("no memory");
	live = g;
}

void guest_fini(struct guest *g)
{
	vhl_mem_free(&g->mem);
	while (g->backings)
		free(g->backing[--g->backings].p);
	live = NULL;
}

void guest_add_at(struct guest *g, u64 addr, u64 last, u64 hva, u32 perm)
{
	unsigned int finds = guest_finds(g);
	struct vhl_region_cache more;

	if (vhl_mem_reserve(&g->mem, &more))
		die("no memory");
	if (vhl_mem_add(&g->mem, addr, last - addr + 1, hva, perm, &more))
		die("no such region can be");
	vhl_mem_unreserve(&more);
	g->mem.iotlb->finds = finds;
}

void *guest_add(struct guest *g, u64 addr, size_t size, u32 perm)
{
	void *p = calloc(1, size);

	if (!p)
		die("no memory");
	guest_add_at(g, addr, addr + size - 1, (uintptr_t)p, perm);
	g->backing[g->backings++] = (struct guest_backing){ addr, p };
	return p;
}

void guest_del(struct guest *g, u64 addr)
{
	const struct vhost_iotlb_map *r = guest_find(g, addr);
	unsigned int finds = guest_finds(g), i;

	if (!r || r->start != addr)
		die("no such region");
	vhl_mem_retire(&g->mem, r->start, r->last);
	vhl_mem_del(&g->mem, r->start, r->last);
	g->mem.iotlb->finds = finds;
	for (i = 0; i < g->backings; i++) {
		if (g->backing[i].start != addr)
			continue;
		free(g->backing[i].p);
		g->backing[i] = g->backing[--g->backings];
		break;
	}
}

const struct vhost_iotlb_map *guest_find(const struct guest *g, u64 addr)
{
	const struct vhost_iotlb_map *r;

	for (r = g->mem.iotlb->first; r; r = r->next)
		if (addr >= r->start && addr <= r->last)
			return r;
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
	g->fault_at = len ? (uintptr_t)guest_ptr(g, addr, len) : 0;
	g->fault_len = len;
}

bool guest_owns(const struct guest *g, u64 hva, u64 len, u32 perm)
{
	const struct vhost_iotlb_map *r;

	for (r = g->mem.iotlb->first; r; r = r->next) {
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

unsigned long copy_from_user(void *to, const void *from, unsigned long n)
{
	struct guest *g = live;
	uintptr_t at = (uintptr_t)from;
	unsigned long good = n;

	g->copies += !access_is_open;
	if (!guest_owns(g, at, n, VHL_MEM_READ))
		die("the ring reads what is not mapped for it");
	if (g->fault_len && at < g->fault_at + g->fault_len && at + n > g->fault_at)
		good = g->fault_at > at ? g->fault_at - at : 0;
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
	live->copies++;
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
