// SPDX-License-Identifier: GPL-2.0
/* Buffers of a chain against the memory map: spans, permissions, lengths, the region cache */
#include <errno.h>

#include <linux/kernel.h>

#include "driver.h"

/* CVE-2013-0311: a descriptor across regions must reach the right bytes of each */
TEST(span_two_regions)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int left, len;

	rig_three_regions(r);
	for (left = 1; left <= 3; left++) {
		for (len = 1; len <= 6; len++) {
			const struct buf b = { HI + 0x1000 - left, len, true };

			drv_post_chain(r, &b, 1);
			TAKE(r, 0, &b, 1);
			CHECK_EQ(r->chain.in_num, len > left ? 2 : 1);
			CHECK_EQ(r->chain.out_num, 0);
		}
	}
	rig_free(r);
}

TEST(span_three_regions)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf bufs[] = {
		{ HI, 0x3000, false }, { HI + 0xfff, 0x1002, true }, { HI + 0x800, 0x2000, true },
	};
	const char *a, *b, *c;

	rig_three_regions(r);
	a = guest_ptr(&r->guest, HI, 1);
	b = guest_ptr(&r->guest, HI + 0x1000, 1);
	c = guest_ptr(&r->guest, HI + 0x2000, 1);
	drv_post_chain(r, bufs, 3);
	TAKE(r, 0, bufs, 3);
	REQUIRE_EQ(r->chain.out_num, 3);
	REQUIRE_EQ(r->chain.in_num, 6);
	/* said once without the model */
	CHECK(r->chain.iov[0].iov_base == a && r->chain.iov[0].iov_len == 0x1000);
	CHECK(r->chain.iov[1].iov_base == b && r->chain.iov[1].iov_len == 0x1000);
	CHECK(r->chain.iov[2].iov_base == c && r->chain.iov[2].iov_len == 0x1000);
	CHECK(r->chain.iov[3].iov_base == a + 0xfff && r->chain.iov[3].iov_len == 1);
	CHECK(r->chain.iov[4].iov_base == b && r->chain.iov[4].iov_len == 0x1000);
	CHECK(r->chain.iov[5].iov_base == c && r->chain.iov[5].iov_len == 1);
	rig_free(r);
}

TEST(span_gap)
{
	static const struct buf cases[] = {
		{ HI - 1, 1, false },			/* just before */
		{ HI - 1, 2, false },			/* begins before */
		{ HI + 0x3000, 1, false },		/* just after */
		{ HI + 0x2fff, 2, false },		/* ends after */
		{ HI, 0x3001, true },
		{ HI + 0x800, 0x1000, true },		/* with a hole in the middle */
		{ HI + 0x800, 0x2000, true },		/* from one side of it to the other */
		{ 0, 1, false },
		{ ~0ULL, 1, true },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(4, 65535, 0);

		rig_three_regions(r);
		if (i == 5 || i == 6)
			guest_del(&r->guest, HI + 0x1000);
		drv_post_chain(r, &cases[i], 1);
		FAULT(r, VHL_FAULT_ADDRESS);
		rig_free(r);
	}
}

/* CVE-2023-5158, CVE-2019-14835: descriptors of no bytes, anywhere in a chain */
TEST(zero_length)
{
	unsigned int mask, i, writable;

	for (mask = 0; mask < 32; mask++) {
		for (writable = 0; writable <= 5; writable++) {
			struct rig *r = rig_new(8, 0, 0);
			struct buf bufs[5];

			for (i = 0; i < 5; i++)
				bufs[i] = (struct buf){ RAM + 100 * i, mask >> i & 1 ? 0 : 10 + i,
							i >= 5 - writable };
			drv_post_chain(r, bufs, 5);
			TAKE(r, 0, bufs, 5);
			/* no segment without bytes: a walker always gets on */
			for (i = 0; i < r->chain.out_num + r->chain.in_num; i++)
				CHECK(r->chain.iov[i].iov_len);
			rig_free(r);
		}
	}
}

TEST(zero_length_many)
{
	struct rig *r = rig_new(32768, 0, 0);
	unsigned int i;

	/* far more of them than there may be segments, then one byte */
	for (i = 0; i < 32767; i++)
		drv_desc(r, i, RAM, 0, F_NEXT, i + 1);
	drv_desc(r, i, RAM, 1, F_WRITE, 0);
	drv_post(r, 0);
	CHECK_EQ(rig_take(r), 1);
	CHECK_EQ(r->chain.out_num, 0);
	CHECK_EQ(r->chain.in_num, 1);
	CHECK_EQ(r->chain.in_len, 1);
	rig_free(r);
}

TEST(order_write_before_read)
{
	static const struct buf cases[][3] = {
		{ { RAM, 1, true }, { RAM, 1, false }, { RAM, 1, false } },
		{ { RAM, 1, false }, { RAM, 1, true }, { RAM, 1, false } },
		{ { RAM, 1, true }, { RAM, 1, true }, { RAM, 1, false } },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(4, 0, 0);

		drv_post_chain(r, cases[i], 3);
		FAULT(r, VHL_FAULT_ORDER);
		rig_free(r);
	}
}

TEST(permissions)
{
	static const struct {
		struct buf b;
		enum vhl_ring_fault fault;
	} cases[] = {
		{ { HI, 16, false }, VHL_FAULT_NONE },	/* read-only region */
		{ { HI, 16, true }, VHL_FAULT_PERMISSION },
		{ { HI + 0x1000, 16, true }, VHL_FAULT_NONE },	/* write-only region */
		{ { HI + 0x1000, 16, false }, VHL_FAULT_PERMISSION },
		{ { HI + 0x2000, 16, false }, VHL_FAULT_ADDRESS },	/* it retires */
		{ { HI + 0x2000, 16, true }, VHL_FAULT_ADDRESS },
		{ { HI + 0xfff, 2, false }, VHL_FAULT_PERMISSION },	/* from one into another */
		{ { HI + 0xfff, 2, true }, VHL_FAULT_PERMISSION },
		{ { HI + 0x1fff, 2, true }, VHL_FAULT_ADDRESS },
		{ { HI + 0x2fff, 2, true }, VHL_FAULT_ADDRESS },
		{ { HI + 0x3000, 16, true }, VHL_FAULT_NONE },
		{ { HI + 0x3000, 16, false }, VHL_FAULT_NONE },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(4, 0, 0);

		guest_add(&r->guest, HI, 0x1000, VHL_MEM_READ);
		guest_add(&r->guest, HI + 0x1000, 0x1000, VHL_MEM_WRITE);
		guest_add(&r->guest, HI + 0x2000, 0x1000, RW);
		guest_add(&r->guest, HI + 0x3000, 0x1000, RW);
		vhl_mem_retire(&r->guest.mem, HI + 0x2000, HI + 0x2000);
		drv_post_chain(r, &cases[i].b, 1);
		if (!cases[i].fault)
			TAKE(r, 0, &cases[i].b, 1);
		else
			FAULT(r, cases[i].fault);
		rig_free(r);
	}
}

/* The permission is asked of the cached region too */
TEST(permissions_cached)
{
	const struct buf bufs[] = { { HI, 16, false }, { HI + 16, 16, true } };
	struct rig *r = rig_new(4, 0, 0);

	guest_add(&r->guest, HI, 0x1000, VHL_MEM_READ);
	drv_post_chain(r, bufs, 1);
	TAKE(r, 0, bufs, 1);
	drv_post_chain(r, bufs, 2);
	FAULT(r, VHL_FAULT_PERMISSION);
	rig_free(r);
}

TEST(length_limit)
{
	static const struct {
		u32 len[3];
		bool write[3];
		bool ok;
	} cases[] = {
		{ { 0xffffffff, 0, 0 }, { false, false, true }, true },
		{ { 0xffffffff, 1, 0 }, { false, false, true }, false },
		{ { 0xffffffff, 0, 1 }, { false, false, true }, false },
		{ { 0x80000000, 0x7fffffff, 0 }, { true, true, true }, true },
		{ { 0x80000000, 0x80000000, 0 }, { false, true, true }, false },
		{ { 0xffffffff, 0xffffffff, 0xffffffff }, { false, false, true }, false },
		{ { 0xffffffff, 0xffffffff, 0xffffffff }, { true, true, true }, false },
		{ { 1, 0xfffffffe, 0 }, { false, true, true }, true },
		{ { 1, 0xfffffffe, 1 }, { false, true, true }, false },
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(4, 0, 0);
		struct buf bufs[3];

		/* translated, never touched */
		guest_add_at(&r->guest, 1ULL << 40, (1ULL << 41) - 1, 1ULL << 44, RW);
		for (j = 0; j < 3; j++)
			bufs[j] = (struct buf){ (1ULL << 40) + 7, cases[i].len[j], cases[i].write[j] };
		drv_post_chain(r, bufs, 3);
		if (cases[i].ok)
			TAKE(r, 0, bufs, 3);
		else
			FAULT(r, VHL_FAULT_LENGTH);
		rig_free(r);
	}
}

/* A device may have all addresses mapped as one, but for the first */
TEST(address_wrap)
{
	static const struct {
		struct buf b;
		bool ok;
	} cases[] = {
		{ { ~0ULL, 1, false }, true },
		{ { ~0ULL, 2, false }, false },
		{ { ~0ULL - 0xfff, 0x1000, true }, true },
		{ { ~0ULL - 0xfff, 0x1001, true }, false },
		{ { ~0ULL - 0xffff, 0xffffffff, true }, false },
		{ { 1ULL << 63, 0xffffffff, true }, true },
	};
	unsigned int i, whole;

	for (whole = 0; whole < 2; whole++) {
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			struct rig *r = rig_new(4, 0, 0);

			guest_del(&r->guest, RAM);
			if (whole) {
				guest_add_at(&r->guest, 1, ~0ULL, 1, RW);
			} else {
				guest_add_at(&r->guest, 1ULL << 63, ~0ULL, 0x10000, RW);
				guest_add_at(&r->guest, 0, 0xfff, 0x1000, RW);
			}
			drv_post_chain(r, &cases[i].b, 1);
			if (cases[i].ok)
				TAKE(r, 0, &cases[i].b, 1);
			else
				FAULT(r, VHL_FAULT_ADDRESS);
			rig_free(r);
		}
	}
}

/* A ring that has not looked anything up has no region, not one at 0 or of generation 0 */
TEST(cache_begins_empty)
{
	static const u64 addrs[] = { 0, 1, 2, ~0ULL };
	unsigned int i, gen;

	for (gen = 0; gen < 2; gen++) {
		for (i = 0; i < ARRAY_SIZE(addrs); i++) {
			struct rig *r = rig_new(4, 0, 0);
			const struct buf b = { addrs[i], 1, true };

			guest_del(&r->guest, RAM);
			r->guest.mem.gen = gen ? 0 : ~0U;
			rig_restart(r, vhl_ring_base(r->ring));
			drv_post_chain(r, &b, 1);
			FAULT(r, VHL_FAULT_ADDRESS);
			rig_free(r);
		}
	}
}

/* ... nor one left from an address that was not found */
TEST(cache_after_a_miss)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf hit = { RAM, 1, true }, miss = { HI, 1, true };
	const unsigned int finds = guest_finds(&r->guest);

	drv_post_chain(r, &hit, 1);
	TAKE(r, 0, &hit, 1);
	drv_post_chain(r, &miss, 1);
	FAULT(r, VHL_FAULT_ADDRESS);
	CHECK(guest_finds(&r->guest) > finds);
	rig_free(r);
}

TEST(cache_is_used)
{
	struct rig *r = rig_new(4, 0, 0);
	/* all of the region: its first and last byte too */
	const struct buf bufs[] = {
		{ RAM + 5, 100, true }, { RAM, 1, true }, { RAM + RAM_SIZE - 1, 1, true },
	};
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		drv_post_chain(r, bufs, ARRAY_SIZE(bufs));
		TAKE(r, 0, bufs, ARRAY_SIZE(bufs));
	}
	CHECK_EQ(guest_finds(&r->guest), 1);
	rig_free(r);
}

/* CVE-2026-74580: after a change of the map nothing of the old one may be reached */
TEST(cache_stale_moved)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { HI + 5, 100, true };
	unsigned int i;

	for (i = 0; i < 10; i++) {
		/* the same guest address, other memory; the old one is gone */
		guest_add(&r->guest, HI, 0x1000, RW);
		drv_post_chain(r, &b, 1);
		TAKE(r, 0, &b, 1);
		guest_del(&r->guest, HI);
	}
	drv_post_chain(r, &b, 1);
	FAULT(r, VHL_FAULT_ADDRESS);
	rig_free(r);
}

TEST(cache_stale_shrunk)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { HI + 0xff0, 16, true };

	guest_add(&r->guest, HI, 0x1000, RW);
	drv_post_chain(r, &b, 1);
	TAKE(r, 0, &b, 1);
	guest_del(&r->guest, HI);
	guest_add(&r->guest, HI, 0xfff, RW);
	drv_post_chain(r, &b, 1);
	FAULT(r, VHL_FAULT_ADDRESS);
	rig_free(r);
}

TEST(cache_stale_permission)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { HI, 16, true };

	guest_add(&r->guest, HI, 0x1000, RW);
	drv_post_chain(r, &b, 1);
	TAKE(r, 0, &b, 1);
	guest_del(&r->guest, HI);
	guest_add(&r->guest, HI, 0x1000, VHL_MEM_READ);
	drv_post_chain(r, &b, 1);
	FAULT(r, VHL_FAULT_PERMISSION);
	rig_free(r);
}

/* A generation that comes round to the one of the cache after a miss */
TEST(cache_stale_after_miss)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { HI, 16, true };
	unsigned int gen;

	guest_add(&r->guest, HI, 0x1000, RW);
	drv_post_chain(r, &b, 1);
	TAKE(r, 0, &b, 1);
	gen = r->guest.mem.gen;
	guest_del(&r->guest, HI);
	drv_post_chain(r, &b, 1);
	CHECK(rig_take(r) < 0);
	/* not a thing that happens in 2^32 changes; but a lookup that failed must leave nothing */
	r->guest.mem.gen = gen;
	FAULT(r, VHL_FAULT_ADDRESS);
	rig_free(r);
}

/* Chains that were given back are translated anew */
TEST(cache_stale_after_rewind)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { HI + 1, 16, true };

	guest_add(&r->guest, HI, 0x1000, RW);
	drv_post_chain(r, &b, 1);
	TAKE(r, 0, &b, 1);
	rig_rewind(r, 1);
	guest_del(&r->guest, HI);
	guest_add(&r->guest, HI, 0x2000, RW);
	TAKE(r, 0, &b, 1);
	rig_free(r);
}
