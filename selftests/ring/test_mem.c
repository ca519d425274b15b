// SPDX-License-Identifier: GPL-2.0
/* The map of guest memory as an object: what it takes and refuses, and what a change of it does */
#include <errno.h>

#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "harness.h"
#include "mem.h"

#define HVA	0x7f0000000000ULL
#define RW	(VHL_MEM_READ | VHL_MEM_WRITE)
#define PAGE	0x1000ULL

/* As a client that sends one region after the other. 0 or what vhl_mem_add() says */
static int add_as(struct vhl_mem *mem, u64 start, u64 size, u64 uaddr, u32 perm)
{
	struct vhl_region_cache more;
	int ret;

	ret = vhl_mem_reserve(mem, &more);
	if (ret)
		return ret;
	ret = vhl_mem_add(mem, start, size, uaddr, perm, &more);
	vhl_mem_unreserve(&more);
	return ret;
}

static int add(struct vhl_mem *mem, u64 start, u64 size)
{
	return add_as(mem, start, size, HVA + (start & 0xffffff), RW);
}

static void del(struct vhl_mem *mem, u64 first, u64 last)
{
	vhl_mem_retire(mem, first, last);
	vhl_mem_del(mem, first, last);
}

/* Is @addr in the region that begins at @start? */
static bool is_in(const struct vhl_mem *mem, u64 addr, u64 start)
{
	const struct vhost_iotlb_map *region = vhl_mem_find(mem, addr);

	return region && region->start == start;
}

TEST(mem_none)
{
	struct vhl_mem mem;

	vhl_mem_init(&mem);
	CHECK(!vhl_mem_takes_regions(&mem));
	CHECK_EQ(vhl_mem_regions(&mem), 0);
	CHECK(!vhl_mem_find(&mem, 0));
	CHECK_EQ(mem.cache.shift, 0);
	CHECK(vhl_cache_first(&mem.cache, 12345) == &vhl_no_region);
	vhl_mem_free(&mem);
}

TEST(mem_add)
{
	const struct vhost_iotlb_map *region;
	struct vhl_mem mem;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 10), 0);
	CHECK(vhl_mem_takes_regions(&mem));
	CHECK_EQ(vhl_mem_regions(&mem), 0);
	CHECK_EQ(add_as(&mem, 4 * PAGE, PAGE, HVA + 7 * PAGE, VHL_MEM_READ), 0);
	CHECK_EQ(add_as(&mem, ~0ULL - (PAGE - 1), PAGE, HVA, RW), 0);
	CHECK_EQ(add_as(&mem, 0, 1, HVA + 5, VHL_MEM_WRITE), 0);
	CHECK_EQ(vhl_mem_regions(&mem), 3);

	region = vhl_mem_find(&mem, 5 * PAGE - 1);
	REQUIRE(region && region == vhl_mem_find(&mem, 4 * PAGE));
	CHECK_EQ(region->start, 4 * PAGE);
	CHECK_EQ(region->last, 5 * PAGE - 1);
	CHECK_EQ(region->addr, HVA + 7 * PAGE);
	CHECK_EQ(region->perm, VHL_MEM_READ);
	CHECK(!vhl_mem_find(&mem, 4 * PAGE - 1));
	CHECK(!vhl_mem_find(&mem, 5 * PAGE));
	CHECK(is_in(&mem, ~0ULL, ~0ULL - (PAGE - 1)));
	CHECK(is_in(&mem, 0, 0));
	CHECK(!vhl_mem_find(&mem, 1));
	vhl_mem_free(&mem);
}

TEST(mem_refuses)
{
	static const struct {
		u64 start, size, uaddr;
	} bad[] = {
		{ PAGE, 0, HVA }, { 0, 0, HVA }, { 0, 0, 0 },
		{ ~0ULL, 2, HVA }, { ~0ULL - (PAGE - 1), PAGE + 1, HVA }, { 1, ~0ULL, HVA },
		{ PAGE, PAGE, ~0ULL - (PAGE - 2) }, { PAGE, 2, ~0ULL },
		/* the owner has no such addresses */
		{ PAGE, 2, 1ULL << 47 }, { PAGE, 2, (1ULL << 47) - 1 },
		{ PAGE, (1ULL << 47) + 1, 0 },
	};
	struct vhl_mem mem;
	unsigned int i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 10), 0);
	shim_user_last = (1ULL << 47) - 1;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (!CHECK_EQ(add_as(&mem, bad[i].start, bad[i].size, bad[i].uaddr, RW), -EINVAL))
			tap_diag("case %u", i);
	CHECK_EQ(vhl_mem_regions(&mem), 0);
	CHECK_EQ(add_as(&mem, PAGE, 2, (1ULL << 47) - 2, RW), 0);
	shim_user_last = ~0ULL;
	vhl_mem_free(&mem);
}

TEST(mem_refuses_overlap)
{
	struct vhl_mem mem;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 10), 0);
	CHECK_EQ(add(&mem, 4 * PAGE, 2 * PAGE), 0);
	CHECK_EQ(add(&mem, 4 * PAGE, 2 * PAGE), -EEXIST);
	CHECK_EQ(add(&mem, 4 * PAGE, 1), -EEXIST);
	CHECK_EQ(add(&mem, 6 * PAGE - 1, 1), -EEXIST);
	CHECK_EQ(add(&mem, 3 * PAGE, PAGE + 1), -EEXIST);
	CHECK_EQ(add(&mem, 6 * PAGE - 1, PAGE), -EEXIST);
	CHECK_EQ(add(&mem, 0, 100 * PAGE), -EEXIST);
	CHECK_EQ(vhl_mem_regions(&mem), 1);
	/* neighbours, and the same place of the owner's */
	CHECK_EQ(add(&mem, 3 * PAGE, PAGE), 0);
	CHECK_EQ(add(&mem, 6 * PAGE, PAGE), 0);
	CHECK_EQ(add_as(&mem, 7 * PAGE, PAGE, HVA + 4 * PAGE, RW), 0);
	vhl_mem_free(&mem);
}

TEST(mem_limit)
{
	struct vhl_mem mem;
	u64 i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 3), 0);
	for (i = 0; i < 3; i++)
		CHECK_EQ(add(&mem, i * PAGE, PAGE), 0);
	CHECK_EQ(add(&mem, 3 * PAGE, PAGE), -ENOSPC);
	CHECK_EQ(vhl_mem_regions(&mem), 3);
	del(&mem, PAGE, PAGE);
	CHECK_EQ(add(&mem, 3 * PAGE, PAGE), 0);
	CHECK_EQ(add(&mem, PAGE, PAGE), -ENOSPC);
	vhl_mem_free(&mem);
}

/* All that have any of a range go, whole, and no others */
TEST(mem_del)
{
	static const struct {
		u64 first, last;
		unsigned int from, to;		/* of 8 regions at 0x1000, 0x3000, 0x5000 ... */
	} cases[] = {
		{ 0, 0xfff, 0, 0 }, { 0x2000, 0x2fff, 0, 0 }, { 0x10000, ~0ULL, 0, 0 },
		{ 0, 0x1000, 0, 1 }, { 0x1fff, 0x1fff, 0, 1 }, { 0x1fff, 0x3000, 0, 2 },
		{ 0x5800, 0x5800, 2, 3 }, { 0x4fff, 0x7000, 2, 4 }, { 0xf001, ~0ULL, 7, 8 },
		{ 0, ~0ULL, 0, 8 },
	};
	unsigned int c, i;

	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		struct vhl_mem mem;

		REQUIRE_EQ(vhl_mem_alloc(&mem, 8, 8), 0);
		for (i = 0; i < 8; i++)
			CHECK_EQ(vhl_mem_add(&mem, 0x1000 + i * 0x2000, 0x1000, HVA + i * 0x1000, RW,
					     NULL), 0);
		del(&mem, cases[c].first, cases[c].last);
		CHECK_EQ(vhl_mem_regions(&mem), 8 - (cases[c].to - cases[c].from));
		for (i = 0; i < 8; i++) {
			u64 start = 0x1000 + i * 0x2000;
			bool gone = i >= cases[c].from && i < cases[c].to;

			CHECK_EQ(is_in(&mem, start, start), !gone);
			CHECK_EQ(is_in(&mem, start + 0xfff, start), !gone);
		}
		vhl_mem_free(&mem);
	}
}

/*
 * Another generation is where something that rings remember goes: a region, all slots of the
 * cache, the whole map, and what comes in its place goes on with its own
 */
TEST(mem_generation)
{
	struct vhl_mem mem, other;
	u64 gen;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 10), 0);
	REQUIRE_EQ(vhl_mem_alloc(&other, 2, 10), 0);
	CHECK_EQ(add(&mem, 0, PAGE), 0);
	CHECK_EQ(add(&mem, PAGE, PAGE), 0);
	CHECK_EQ(add(&mem, 2 * PAGE, PAGE), 0);
	gen = mem.gen;
	/* there is a slot for it, and nothing else changes */
	CHECK_EQ(add(&mem, 3 * PAGE, PAGE), 0);
	CHECK_EQ(mem.gen, gen);
	/* the cache grows */
	CHECK_EQ(add(&mem, 4 * PAGE, PAGE), 0);
	CHECK(mem.gen > gen);
	gen = mem.gen;
	vhl_mem_retire(&mem, 2 * PAGE, 5 * PAGE);
	CHECK(mem.gen > gen);
	vhl_mem_del(&mem, 2 * PAGE, 5 * PAGE);
	del(&mem, PAGE, PAGE);

	CHECK_EQ(vhl_mem_add(&other, 4 * PAGE, PAGE, HVA, RW, NULL), 0);
	CHECK_EQ(vhl_mem_add(&other, 8 * PAGE, PAGE, HVA, RW, NULL), 0);
	gen = mem.gen;
	vhl_mem_swap(&mem, &other);
	CHECK(mem.gen > gen);
	CHECK_EQ(vhl_mem_regions(&mem), 2);
	CHECK_EQ(vhl_mem_regions(&other), 1);
	CHECK(is_in(&mem, 8 * PAGE, 8 * PAGE));
	CHECK(!vhl_mem_find(&mem, 0));
	CHECK(is_in(&other, 0, 0));
	vhl_mem_free(&mem);
	vhl_mem_free(&other);
}

/* Addresses are hashed by pieces of the size that most regions have: the mean of the logarithms */
TEST(mem_cache_shift)
{
	struct vhl_mem mem, none;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 10), 0);
	CHECK_EQ(mem.cache.shift, 0);
	CHECK_EQ(add(&mem, 0, PAGE), 0);
	CHECK_EQ(mem.cache.shift, 12);
	CHECK_EQ(add(&mem, 1 << 20, 1 << 16), 0);
	CHECK_EQ(mem.cache.shift, 14);
	CHECK_EQ(add(&mem, 1 << 30, (1 << 20) + 5), 0);
	CHECK_EQ(mem.cache.shift, 16);
	del(&mem, 1 << 20, 1 << 20);
	CHECK_EQ(mem.cache.shift, 16);
	/* half the size does not matter */
	CHECK_EQ(add(&mem, 1ULL << 40, 1 << 13), 0);
	CHECK_EQ(mem.cache.shift, 16);
	del(&mem, 1ULL << 40, 1ULL << 40);
	CHECK_EQ(mem.cache.shift, 16);
	del(&mem, 0, 0);
	CHECK_EQ(mem.cache.shift, 20);
	/* what is refused counts for nothing */
	CHECK_EQ(add(&mem, 1 << 30, 1), -EEXIST);
	CHECK_EQ(mem.cache.shift, 20);
	del(&mem, 0, ~0ULL);
	CHECK_EQ(mem.cache.shift, 0);
	CHECK_EQ(add(&mem, 0, PAGE), 0);
	vhl_mem_init(&none);
	vhl_mem_swap(&mem, &none);
	CHECK_EQ(mem.cache.shift, 0);
	vhl_mem_free(&mem);
	vhl_mem_free(&none);
}

/*
 * The cache grows with the map and is empty then; where it suffices it stays, with all that it
 * knows
 */
TEST(mem_cache_grows)
{
	struct vhl_mem mem;
	u64 i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 1024), 0);
	for (i = 0; i < 700; i++) {
		bool enough = vhl_cache_suffices(&mem.cache, i + 1);
		const void *slots = mem.cache.slot;

		/* for the region alone */
		shim_allocations = enough ? 1 : ~0U;
		CHECK_EQ(add(&mem, i * PAGE, PAGE), 0);
		shim_allocations = ~0U;
		CHECK(vhl_cache_suffices(&mem.cache, i + 1));
		CHECK_EQ(mem.cache.slot == slots, enough);
		if (!enough)
			CHECK(vhl_cache_first(&mem.cache, i * PAGE) == &vhl_no_region);
		CHECK(vhl_mem_lookup(&mem, i * PAGE) == vhl_mem_find(&mem, i * PAGE));
		/* one that is alone needs none */
		if (i)
			CHECK(vhl_cache_first(&mem.cache, i * PAGE) == vhl_mem_find(&mem, i * PAGE));
	}
	del(&mem, 0, PAGE);
	CHECK(vhl_cache_first(&mem.cache, 699 * PAGE) == vhl_mem_find(&mem, 699 * PAGE));
	vhl_mem_free(&mem);
}

static bool cache_has(const struct vhl_mem *mem, const struct vhost_iotlb_map *region)
{
	u32 i;

	for (i = 0; i <= U32_MAX >> mem->cache.down; i++)
		if (mem->cache.slot[i] == region)
			return true;
	return false;
}

/*
 * What retires is found by nobody any more, neither by a search nor in the cache, until it is
 * deleted
 */
TEST(mem_retire)
{
	const struct vhost_iotlb_map *region;
	struct vhl_mem mem;
	unsigned int i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 64, 64), 0);
	for (i = 0; i < 64; i++)
		CHECK_EQ(add_as(&mem, i * 4 * PAGE, i % 8 ? PAGE : 3 * PAGE, HVA + i * 4 * PAGE, RW), 0);
	for (i = 0; i < 64; i++) {
		u64 at = i * 4 * PAGE;

		/* in as many slots as it may have */
		CHECK(vhl_mem_lookup(&mem, at));
		if (i % 8 == 0) {
			CHECK(vhl_mem_lookup(&mem, at + PAGE));
			CHECK(vhl_mem_lookup(&mem, at + 3 * PAGE - 1));
		}
	}
	for (i = 0; i < 64; i++) {
		u64 at = i * 4 * PAGE;

		region = vhl_mem_find(&mem, at);
		vhl_mem_retire(&mem, at + 1, at + 1);
		CHECK(!cache_has(&mem, region));
		CHECK(!vhl_mem_lookup(&mem, at));
		CHECK(!cache_has(&mem, region));
		CHECK(vhl_mem_lookup_again(&mem, at) == region);
		CHECK_EQ(vhl_mem_regions(&mem), 64 - i);
		CHECK_EQ(add(&mem, at, 1), -EEXIST);
		vhl_mem_del(&mem, at + 1, at + 1);
		CHECK(!vhl_mem_lookup_again(&mem, at));
		/* the others stay known */
		if (i < 63)
			CHECK(vhl_mem_lookup(&mem, at + 4 * PAGE));
	}
	vhl_mem_free(&mem);
}

/* A region of far more pieces than there are slots leaves all of them */
TEST(mem_retire_large)
{
	const struct vhost_iotlb_map *region;
	struct vhl_mem mem;
	unsigned int i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 64), 0);
	for (i = 0; i < 32; i++)
		CHECK_EQ(add(&mem, i * PAGE, PAGE), 0);
	CHECK_EQ(add(&mem, 1ULL << 40, 1ULL << 30), 0);
	region = vhl_mem_find(&mem, 1ULL << 40);
	for (i = 0; i < 500; i++)
		CHECK(vhl_mem_lookup(&mem, (1ULL << 40) + i * 7 * PAGE) == region);
	CHECK(cache_has(&mem, region));
	vhl_mem_retire(&mem, 1ULL << 40, 1ULL << 40);
	CHECK(!cache_has(&mem, region));
	vhl_mem_del(&mem, 1ULL << 40, 1ULL << 40);
	vhl_mem_free(&mem);
}

TEST(mem_is_used)
{
	struct vhl_mem mem;
	unsigned int i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 8, 8), 0);
	for (i = 0; i < 8; i++)
		CHECK_EQ(add(&mem, i * 2 * PAGE, PAGE), 0);
	atomic_long_inc(vhl_region_users(vhl_mem_find(&mem, 6 * PAGE)));
	atomic_long_inc(vhl_region_users(vhl_mem_find(&mem, 6 * PAGE)));
	for (i = 0; i < 2; i++) {
		CHECK(vhl_mem_is_used(&mem, 0, ~0ULL));
		CHECK(vhl_mem_is_used(&mem, 7 * PAGE - 1, 7 * PAGE - 1));
		CHECK(!vhl_mem_is_used(&mem, 0, 6 * PAGE - 1));
		CHECK(!vhl_mem_is_used(&mem, 7 * PAGE, ~0ULL));
		CHECK_EQ(atomic_long_dec_and_test(vhl_region_users(vhl_mem_find(&mem, 6 * PAGE))), i);
	}
	CHECK(!vhl_mem_is_used(&mem, 0, ~0ULL));
	vhl_mem_free(&mem);
}

/* To where the regions at both ends begin and end */
TEST(mem_extend)
{
	static const struct {
		u64 first, last, want_first, want_last;
	} cases[] = {
		{ 0, ~0ULL, 0, ~0ULL }, { 0x1800, 0x1800, 0x1000, 0x1fff },
		{ 0x1800, 0x3800, 0x1000, 0x3fff }, { 0x800, 0x3800, 0x800, 0x3fff },
		{ 0x1fff, 0x2000, 0x1000, 0x2000 }, { 0x2000, 0x2fff, 0x2000, 0x2fff },
	};
	struct vhl_mem mem;
	unsigned int i;

	REQUIRE_EQ(vhl_mem_alloc(&mem, 2, 2), 0);
	CHECK_EQ(add(&mem, 0x1000, PAGE), 0);
	CHECK_EQ(add(&mem, 0x3000, PAGE), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 first = cases[i].first, last = cases[i].last;

		vhl_mem_extend(&mem, &first, &last);
		CHECK_EQ(first, cases[i].want_first);
		CHECK_EQ(last, cases[i].want_last);
	}
	vhl_mem_free(&mem);
}

/* What fails for lack of memory leaves the map as it was */
TEST(mem_without_memory)
{
	const void *slots;
	struct vhl_mem mem;
	unsigned int i;
	u64 gen;

	for (i = 0; i < 2; i++) {
		shim_allocations = i;
		CHECK_EQ(vhl_mem_alloc(&mem, 10, 10), -ENOMEM);
	}
	shim_allocations = ~0U;
	REQUIRE_EQ(vhl_mem_alloc(&mem, 0, 10), 0);
	REQUIRE_EQ(add(&mem, 0, PAGE), 0);
	slots = mem.cache.slot;
	gen = mem.gen;
	/* the second region wants a cache: there is none, or there is, but no region */
	shim_allocations = 0;
	CHECK_EQ(add(&mem, PAGE, PAGE), -ENOMEM);
	CHECK_EQ(mem.gen, gen);
	shim_allocations = 1;
	CHECK_EQ(add(&mem, PAGE, PAGE), -ENOMEM);
	shim_allocations = ~0U;
	CHECK(mem.cache.slot == slots);
	CHECK_EQ(vhl_mem_regions(&mem), 1);
	CHECK_EQ(mem.cache.shift, 12);
	CHECK(is_in(&mem, 0, 0));
	CHECK_EQ(add(&mem, PAGE, PAGE), 0);
	vhl_mem_free(&mem);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
