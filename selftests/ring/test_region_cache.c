// SPDX-License-Identifier: GPL-2.0
/* Maps of many regions: what the cache remembers, and that it is never believed without a look */
#include <linux/kernel.h>

#include "driver.h"

#define MANY	(1ULL << 32)	/* away from RAM */

static void take_one(struct rig *r, u64 addr, u32 len)
{
	const struct buf b = { addr, len, true };

	drv_chain(r, 0, &b, 1);
	drv_post(r, 0);
	if (!TAKE(r, 0, &b, 1))
		tap_stop();
	rig_push(r, 0, 0);
	(void)!vhl_ring_publish(r->ring);
}

static void refuse_one(struct rig *r, u64 addr, u32 len, enum vhl_ring_fault fault)
{
	const struct buf b = { addr, len, true };

	drv_chain(r, 0, &b, 1);
	drv_post(r, 0);
	FAULT(r, fault);
}

/* Regions of memory that is plugged: all of one size and next to each other, or with gaps */
static void many_regions(struct rig *r, unsigned int n, u64 size, u64 pitch)
{
	unsigned int i;

	/* translated, never touched */
	for (i = 0; i < n; i++)
		guest_add_at(&r->guest, MANY + i * pitch, MANY + i * pitch + size - 1,
			     (1ULL << 45) + i * 2 * size, RW);
}

/* No search twice, wherever in the regions the buffers are */
TEST(cache_of_many_regions)
{
	static const struct {
		unsigned int n;
		u64 size, pitch;
	} cases[] = {
		{ 2, 1ULL << 30, 1ULL << 32 },
		{ 8, 1ULL << 30, 1ULL << 30 },
		{ 64, 128ULL << 20, 128ULL << 20 },
		{ 64, 2ULL << 20, 4ULL << 20 },
		{ 64, 2ULL << 20, 8ULL << 20 },
		{ 512, 128ULL << 20, 128ULL << 20 },
		{ 512, 256ULL << 10, 256ULL << 10 },
		{ 512, 4096, 4096 },
		{ 256, 4096, 1ULL << 30 },
	};
	unsigned int c, i, finds;

	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		struct rig *r = rig_new(4, 0, RIG_NO_RAM);
		struct rng rng = { c };

		many_regions(r, cases[c].n, cases[c].size, cases[c].pitch);
		for (i = 0; i < cases[c].n; i++)
			take_one(r, MANY + i * cases[c].pitch, 1);
		CHECK_EQ(guest_finds(&r->guest), cases[c].n);
		finds = guest_finds(&r->guest);
		for (i = 0; i < 2000; i++)
			take_one(r, MANY + rng_below(&rng, cases[c].n) * cases[c].pitch +
				 rng_next(&rng) % (cases[c].size - 64), 1 + rng_below(&rng, 64));
		if (guest_finds(&r->guest) != finds)
			tap_fail(__FILE__, __LINE__, "%u regions of %llu bytes: %u searches again",
				 cases[c].n, cases[c].size, guest_finds(&r->guest) - finds);
		rig_free(r);
	}
}

TEST(cache_of_indirect_tables)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int i, k, finds = 0;

	for (i = 0; i < 32; i++)
		guest_add(&r->guest, MANY + i * 0x1000, 0x1000, RW);
	for (i = 0; i < 320; i++) {
		struct buf bufs[5];

		if (i == 32)
			finds = guest_finds(&r->guest);
		for (k = 0; k < ARRAY_SIZE(bufs); k++)
			bufs[k] = (struct buf){ MANY + (i + 7 * k) % 32 * 0x1000, 0x200, k > 1 };
		drv_indirect(r, 0, MANY + i % 32 * 0x1000 + 0x800, bufs, ARRAY_SIZE(bufs));
		drv_post(r, 0);
		TAKE(r, 0, bufs, ARRAY_SIZE(bufs));
	}
	CHECK_EQ(guest_finds(&r->guest), finds);
	rig_free(r);
}

/* The first page from @from on whose hash in a table of 1 << @bits is that of @like */
static u64 page_like(u64 like, u64 from, unsigned int bits)
{
	while (__hash_32(from >> 12) >> (32 - bits) != __hash_32(like >> 12) >> (32 - bits))
		from += 0x1000;
	return from;
}

/* 16 pages that all want the same slot */
TEST(cache_of_collide)
{
	struct rig *r = rig_new(4, 0, RIG_NO_RAM);
	unsigned int i, k, finds;
	u64 page[16];

	for (i = 0; i < ARRAY_SIZE(page); i++) {
		page[i] = i ? page_like(page[0], page[i - 1] + 0x1000, 6) : MANY;
		guest_add_at(&r->guest, page[i], page[i] + 0xfff, (1ULL << 45) + i * 0x10000, RW);
	}
	for (i = 1; i < ARRAY_SIZE(page); i++)
		REQUIRE_EQ(vhl_cache_index(&r->guest.mem.cache, page[i]),
			   vhl_cache_index(&r->guest.mem.cache, page[0]));
	for (k = 0; k < 4; k++)
		for (i = 0; i < ARRAY_SIZE(page); i++)
			take_one(r, page[i] + 0xfff - i, 1);
	/* two of them have room */
	take_one(r, page[3], 1);
	take_one(r, page[5], 1);
	finds = guest_finds(&r->guest);
	for (i = 0; i < 100; i++)
		take_one(r, page[i % 2 ? 3 : 5], 0x1000);
	CHECK_EQ(guest_finds(&r->guest), finds);
	/* what has the same hash and is nowhere */
	refuse_one(r, page_like(page[0], page[15] + 0x1000, 6), 1, VHL_FAULT_ADDRESS);
	rig_free(r);
}

TEST(cache_of_borders)
{
	struct rig *r = rig_new(4, 0, RIG_NO_RAM);
	unsigned int i, k;

	many_regions(r, 20, 0x3000, 0x3000);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < 20; i++) {
			u64 start = MANY + i * 0x3000;

			take_one(r, start, 1);
			CHECK_EQ(r->chain.in_num, 1);
			take_one(r, start + 0x2fff, 1);
			CHECK_EQ(r->chain.in_num, 1);
			take_one(r, start, 0x3000);
			CHECK_EQ(r->chain.in_num, 1);
			if (i == 19)
				break;
			take_one(r, start + 0x2fff, 2);
			CHECK_EQ(r->chain.in_num, 2);
			take_one(r, start + 0x1000, 0x2001);
			CHECK_EQ(r->chain.in_num, 2);
		}
	}
	refuse_one(r, MANY + 20 * 0x3000 - 1, 2, VHL_FAULT_ADDRESS);
	rig_free(r);
}

TEST(cache_of_end_of_addresses)
{
	static const struct buf bad[] = {
		{ ~0ULL, 2, true }, { ~0ULL - 0xfff, 0x1001, true }, { ~0ULL - 0xfff, ~0U, true },
		{ ~0ULL - 0x10fff, ~0U, true },
	};
	unsigned int i, k, at;

	for (at = 0; at < ARRAY_SIZE(bad); at++) {
		struct rig *r = rig_new(4, 0, RIG_NO_RAM);

		/* the first and the last page are not neighbours */
		guest_add_at(&r->guest, 0, 0xfff, 1ULL << 44, RW);
		for (i = 0; i < 16; i++)
			guest_add_at(&r->guest, -((i + 1) * 0x1000ULL), -(i * 0x1000ULL) - 1,
				     (1ULL << 45) + i * 0x2000, RW);
		for (k = 0; k < 3; k++) {
			for (i = 0; i < 16; i++) {
				take_one(r, -((i + 1) * 0x1000ULL), 0x1000);
				take_one(r, -(i * 0x1000ULL) - 1, 1);
			}
			take_one(r, 0, 0x1000);
		}
		refuse_one(r, bad[at].addr, bad[at].len, VHL_FAULT_ADDRESS);
		rig_free(r);
	}
}

TEST(cache_of_permission)
{
	struct rig *r = rig_new(4, 0, RIG_NO_RAM);
	unsigned int i, k;

	for (i = 0; i < 16; i++)
		guest_add_at(&r->guest, MANY + i * 0x1000, MANY + i * 0x1000 + 0xfff,
			     (1ULL << 45) + i * 0x2000, i % 2 ? VHL_MEM_READ : VHL_MEM_WRITE);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < 16; i += 2) {
			const struct buf bufs[] = {
				{ MANY + (i + 1) * 0x1000, 8, false }, { MANY + i * 0x1000, 8, true },
			};

			drv_chain(r, 0, bufs, 2);
			drv_post(r, 0);
			TAKE(r, 0, bufs, 2);
		}
	}
	/* not in the region used last, but in one that is known */
	refuse_one(r, MANY + 5 * 0x1000, 8, VHL_FAULT_PERMISSION);
	rig_free(r);
}

/* After each change of the map: the same addresses, other memory, the old one gone */
TEST(cache_of_stale_moved)
{
	struct rig *r = rig_new(4, 0, RIG_NO_RAM);
	unsigned int i, k;

	for (i = 0; i < 16; i++)
		guest_add(&r->guest, MANY + i * 0x1000, 0x1000, RW);
	for (k = 0; k < 64; k++) {
		for (i = 0; i < 16; i++)
			take_one(r, MANY + i * 0x1000 + k, 16);
		guest_del(&r->guest, MANY + k % 16 * 0x1000);
		/* in between, too: the others are as they were */
		take_one(r, MANY + (k + 1) % 16 * 0x1000, 0x1000);
		guest_add(&r->guest, MANY + k % 16 * 0x1000, 0x1000, RW);
	}
	guest_del(&r->guest, MANY + 5 * 0x1000);
	refuse_one(r, MANY + 5 * 0x1000, 1, VHL_FAULT_ADDRESS);
	rig_free(r);
}

/* Regions shrink, hand their addresses to their neighbours, and lose permissions */
TEST(cache_of_stale_other_bounds)
{
	struct rig *r = rig_new(4, 0, RIG_NO_RAM);
	unsigned int i, k;

	many_regions(r, 16, 0x1000, 0x2000);
	for (k = 0; k < 32; k++) {
		u64 at = MANY + k % 16 * 0x2000;

		for (i = 0; i < 16; i++)
			take_one(r, MANY + i * 0x2000 + 0x7f0, 16);
		guest_del(&r->guest, at);
		guest_add_at(&r->guest, at, at + 0x7f7, 1ULL << 46, RW);
		guest_add_at(&r->guest, at + 0x7f8, at + 0xfff, 1ULL << 47, RW);
		take_one(r, at + 0x7f0, 16);
		CHECK_EQ(r->chain.in_num, 2);
		guest_del(&r->guest, at);
		guest_del(&r->guest, at + 0x7f8);
		guest_add_at(&r->guest, at, at + 0xfff, (1ULL << 45) + k * 0x100000, RW);
	}
	guest_del(&r->guest, MANY);
	guest_add_at(&r->guest, MANY, MANY + 0xfff, 1ULL << 45, VHL_MEM_READ);
	refuse_one(r, MANY, 1, VHL_FAULT_PERMISSION);
	rig_free(r);
}

/* From one region to more than the table grows for, and back; taken chains in between */
TEST(cache_of_map_grows)
{
	struct rig *r = rig_new(4, 0, RIG_NO_RAM);
	unsigned int i, k;

	for (i = 0; i < 700; i++) {
		guest_add_at(&r->guest, MANY + i * 0x1000, MANY + i * 0x1000 + 0xfff,
			     (1ULL << 45) + i * 0x2000, RW);
		for (k = 0; k < 8; k++)
			take_one(r, MANY + (i - i * k / 8) * 0x1000, 0x1000);
	}
	for (i = 700; i-- > 1; ) {
		guest_del(&r->guest, MANY + i * 0x1000);
		take_one(r, MANY + i / 2 * 0x1000, 0x1000);
		take_one(r, MANY, 1);
	}
	refuse_one(r, MANY + 0x1000, 1, VHL_FAULT_ADDRESS);
	rig_free(r);
}
