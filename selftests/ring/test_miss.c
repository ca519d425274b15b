// SPDX-License-Identifier: GPL-2.0
/* What keeps the ring from a chain and may pass; and the log of what the device may write */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>

#include "driver.h"

#define TABLE	(RAM + 0x40000)
#define DESC	sizeof(struct vhl_table_desc)
#define ENTRIES	8

/* Take a chain: must miss this; nothing has happened, and it would miss the same again */
#define MISS(r, addr, perm, mapped)	miss(__FILE__, __LINE__, r, addr, perm, mapped)
static void miss(const char *file, int line, struct rig *r, u64 addr, u32 perm, bool mapped)
{
	const struct vhl_miss *m = &r->ring->miss;
	u32 before = vhl_ring_mark(r->ring);
	u16 inflight = vhl_ring_inflight(r->ring);
	int i, ret;

	for (i = 0; i < 2; i++) {
		ret = rig_take(r);
		if (ret != -ENXIO || m->addr != addr || m->perm != perm || m->mapped != mapped)
			tap_fail(file, line, "take: %d, %#llx for %u, %smapped", ret, m->addr, m->perm,
				 m->mapped ? "" : "not ");
		if (r->ring->fault || vhl_ring_mark(r->ring) != before ||
		    vhl_ring_inflight(r->ring) != inflight)
			tap_fail(file, line, "a miss is not without consequences");
		if (vhl_ring_empty(r->ring))
			tap_fail(file, line, "a chain that is missed is not there");
	}
}

/* Each buffer in turn is where nothing is, then where it is not allowed, then all is well */
TEST(miss_of_a_buffer)
{
	const struct buf bufs[] = {
		{ HI, 0x10, false }, { HI + 0x1008, 0x20, false }, { HI + 0x2000, 0x30, true },
		{ HI + 0x3fff, 1, true },
	};
	struct rig *r = rig_new(8, 65535, 0);
	unsigned int i, round;

	for (round = 0; round < 3; round++) {
		drv_post_chain(r, bufs, ARRAY_SIZE(bufs));
		for (i = 0; i < ARRAY_SIZE(bufs); i++) {
			const u32 perm = bufs[i].write ? VHL_MEM_WRITE : VHL_MEM_READ;
			const u64 page = bufs[i].addr & ~0xfffULL;

			MISS(r, bufs[i].addr, perm, false);
			guest_add(&r->guest, page, 0x1000, RW & ~perm);
			MISS(r, bufs[i].addr, perm, true);
			guest_del(&r->guest, page);
			guest_add(&r->guest, page, 0x1000, perm);
		}
		TAKE(r, 0, bufs, ARRAY_SIZE(bufs));
		rig_push(r, 0, 0);
		(void)!vhl_ring_publish(r->ring);
		for (i = 0; i < ARRAY_SIZE(bufs); i++)
			guest_del(&r->guest, bufs[i].addr & ~0xfffULL);
	}
	rig_free(r);
}

/* A buffer of several regions: it is the first byte without a translation that is missed */
TEST(miss_in_a_span)
{
	const struct buf b = { HI + 0xff0, 0x1020, true };
	struct rig *r = rig_new(4, 0, 0);

	drv_post_chain(r, &b, 1);
	MISS(r, HI + 0xff0, VHL_MEM_WRITE, false);
	guest_add(&r->guest, HI, 0x1000, RW);
	MISS(r, HI + 0x1000, VHL_MEM_WRITE, false);
	guest_add(&r->guest, HI + 0x2000, 0x1000, VHL_MEM_READ);
	MISS(r, HI + 0x1000, VHL_MEM_WRITE, false);
	guest_add(&r->guest, HI + 0x1000, 0x1000, RW);
	MISS(r, HI + 0x2000, VHL_MEM_WRITE, true);
	guest_del(&r->guest, HI + 0x2000);
	guest_add(&r->guest, HI + 0x2000, 0x10, VHL_MEM_WRITE);
	TAKE(r, 0, &b, 1);
	rig_free(r);
}

static void make_bufs(struct buf *bufs)
{
	unsigned int i;

	for (i = 0; i < ENTRIES; i++)
		bufs[i] = (struct buf){ HI + 0x1000 * i, 8 + i, i > 2 };
}

/* The buffers of an indirect table come one by one */
TEST(miss_in_a_table)
{
	struct rig *r = rig_new(4, 65535, 0);
	struct buf bufs[ENTRIES];
	unsigned int i;

	make_bufs(bufs);
	drv_indirect(r, 1, TABLE, bufs, ENTRIES);
	drv_post(r, 1);
	for (i = 0; i < ENTRIES; i++) {
		MISS(r, bufs[i].addr, i > 2 ? VHL_MEM_WRITE : VHL_MEM_READ, false);
		guest_add(&r->guest, bufs[i].addr, 0x1000, RW);
	}
	TAKE(r, 1, bufs, ENTRIES);
	rig_free(r);
}

/* ... and so does the table itself, its border in a descriptor or between two */
TEST(miss_of_a_table)
{
	static const unsigned int first[] = { 8, DESC, 3 * DESC, 3 * DESC + 12, 7 * DESC + 1 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(first); i++) {
		const u64 at = HI + 0x100000;
		struct rig *r = rig_new(4, 0, 0);
		struct buf bufs[ENTRIES];
		u8 copy[ENTRIES * DESC];
		unsigned int k;

		make_bufs(bufs);
		for (k = 0; k < ENTRIES; k++)
			guest_add(&r->guest, bufs[k].addr, 0x1000, RW);
		drv_indirect(r, 0, TABLE, bufs, ENTRIES);
		memcpy(copy, guest_ptr(&r->guest, TABLE, sizeof(copy)), sizeof(copy));
		drv_post_table(r, at, sizeof(copy), 0, 0);

		MISS(r, at, VHL_MEM_READ, false);
		memcpy(guest_add(&r->guest, at, first[i], RW), copy, first[i]);
		MISS(r, at + first[i], VHL_MEM_READ, false);
		guest_add(&r->guest, at + first[i], sizeof(copy) - first[i], VHL_MEM_WRITE);
		MISS(r, at + first[i], VHL_MEM_READ, true);
		guest_del(&r->guest, at + first[i]);
		memcpy(guest_add(&r->guest, at + first[i], sizeof(copy) - first[i], RW),
		       copy + first[i], sizeof(copy) - first[i]);
		TAKE(r, 0, bufs, ENTRIES);
		rig_free(r);
	}
}

/* Look ahead for as many as @max, and for no others than these, in this order */
static void ahead(struct rig *r, unsigned int max, const u64 *want, unsigned int n)
{
	struct vhl_miss miss[16];
	struct vhl_wanted wanted = { .miss = miss, .max = max };
	unsigned int i;

	REQUIRE_EQ(rig_take(r), -ENXIO);
	vhl_ring_look_ahead(r->ring, &wanted);
	if (!CHECK_EQ(wanted.n, n))
		return;
	for (i = 0; i < n; i++)
		if (!CHECK_EQ(miss[i].addr, want[i]))
			tap_diag("the %uth", i);
}

/* Of the chain that is missed and of those behind it, each page once for each direction */
TEST(look_ahead)
{
	const struct buf bufs[] = {
		{ HI + 8, 0x2000, false }, { RAM, 0x100, false }, { HI + 0x10, 0x10, true },
		{ HI + 0x10000, 0x10, true }, { HI + 0x10100, 0x10, true },
		{ HI + 0x5ff8, 0x10, true },
	};
	const u64 want[] = {
		HI + 8, HI + 0x1000, HI + 0x2000, HI + 0x10, HI + 0x10000, HI + 0x5ff8, HI + 0x6000,
	};
	struct rig *r = rig_new(8, 65535, 0);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bufs); i++) {
		drv_chain(r, i, &bufs[i], 1);
		drv_post(r, i);
	}
	ahead(r, 16, want, ARRAY_SIZE(want));
	for (i = 1; i < ARRAY_SIZE(want); i++)
		ahead(r, i, want, i);
	/* without the first of them it is the others */
	guest_add(&r->guest, HI, 0x3000, RW);
	TAKE(r, 0, &bufs[0], 1);
	TAKE(r, 1, &bufs[1], 1);
	TAKE(r, 2, &bufs[2], 1);
	ahead(r, 16, want + 4, 3);
	/* and chains in flight are as they were */
	for (i = 0; i < 3; i++)
		rig_push(r, i, 0);
	(void)!vhl_ring_publish(r->ring);
	guest_add(&r->guest, HI + 0x5000, 0x2000, RW);
	ahead(r, 16, want + 4, 1);
	guest_add(&r->guest, HI + 0x10000, 0x1000, RW);
	for (i = 3; i < ARRAY_SIZE(bufs); i++)
		TAKE(r, i, &bufs[i], 1);
	rig_free(r);
}

/* No further than a table that is missing; what is bad there is so when it is its turn */
TEST(look_ahead_ends)
{
	const struct buf good = { HI, 1, true }, far = { HI + 0x8000, 1, true }, ram = { RAM, 1, true };
	const u64 want[] = { HI, HI + 0x4000 };
	struct rig *r = rig_new(4, 0, 0);

	drv_chain(r, 0, &good, 1);
	drv_post(r, 0);
	drv_desc(r, 1, HI + 0x4000, DESC, F_INDIRECT, 0);
	drv_post(r, 1);
	drv_chain(r, 2, &far, 1);
	drv_post(r, 2);
	ahead(r, 16, want, 2);
	rig_free(r);

	r = rig_new(4, 0, 0);
	drv_chain(r, 0, &good, 1);
	drv_post(r, 0);
	drv_chain(r, 1, &ram, 1);
	drv_post(r, 1);
	drv_replace(r, 1, 4);
	ahead(r, 16, want, 1);
	guest_add(&r->guest, HI, 0x1000, RW);
	TAKE(r, 0, &good, 1);
	FAULT(r, VHL_FAULT_HEAD);
	rig_free(r);
}

/* The chain that is looked at again may be another one by then */
TEST(miss_chain_changed)
{
	const struct buf old = { HI, 1, true }, new = { RAM, 2, false };
	struct rig *r = rig_new(4, 0, 0);

	drv_post_chain(r, &old, 1);
	MISS(r, HI, VHL_MEM_WRITE, false);
	drv_chain(r, 0, &new, 1);
	TAKE(r, 0, &new, 1);

	drv_post_chain(r, &old, 1);
	MISS(r, HI, VHL_MEM_WRITE, false);
	guest_add(&r->guest, HI, 0x1000, RW);
	drv_replace(r, 0, 4);
	FAULT(r, VHL_FAULT_HEAD);
	rig_free(r);
}

/* No map will ever have an address range that wraps around: that is a fault for good */
TEST(miss_is_no_wrap)
{
	const struct buf b = { ~0ULL, 2, false };
	struct rig *r = rig_new(4, 0, 0);

	guest_add_at(&r->guest, ~0ULL - 0xfff, ~0ULL, 1ULL << 45, RW);
	drv_post_chain(r, &b, 1);
	CHECK_EQ(rig_take(r), -EINVAL);
	FAULT(r, VHL_FAULT_ADDRESS);
	rig_free(r);
}

/* A table that faults, or must not be waited for now, can be read when it does not any more */
TEST(access_fault_passes)
{
	static const unsigned int at[] = { 0, 5, DESC, 3 * DESC + 3, 7 * DESC + 15 };
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		struct rig *r = rig_new(4, 65535, 0);
		struct buf bufs[ENTRIES];

		make_bufs(bufs);
		for (k = 0; k < ENTRIES; k++)
			guest_add(&r->guest, bufs[k].addr, 0x1000, RW);
		drv_indirect(r, 0, TABLE, bufs, ENTRIES);
		guest_fault(&r->guest, TABLE + at[i], 1);
		drv_post(r, 0);
		CHECK_EQ(rig_take(r), -EFAULT);
		CHECK(!vhl_ring_empty(r->ring));
		FAULT(r, VHL_FAULT_ACCESS);
		guest_fault(&r->guest, 0, 0);
		TAKE(r, 0, bufs, ENTRIES);
		CHECK_EQ(vhl_ring_inflight(r->ring), 1);
		rig_free(r);
	}
}

/* ... also a descriptor of it that lies across regions */
TEST(access_fault_across_regions_passes)
{
	const struct buf b = { RAM, 1, true };
	struct rig *r = rig_new(4, 0, 0);
	struct vhl_table_desc d;

	guest_add(&r->guest, HI, 10, RW);
	guest_add(&r->guest, HI + 10, DESC - 10, RW);
	table_set(&d, b.addr, b.len, F_WRITE, 0);
	guest_write(&r->guest, HI, &d, DESC);
	drv_post_table(r, HI, DESC, 0, 0);
	guest_fault(&r->guest, HI + 12, 1);
	CHECK_EQ(rig_take(r), -EFAULT);
	FAULT(r, VHL_FAULT_ACCESS);
	guest_fault(&r->guest, 0, 0);
	TAKE(r, 0, &b, 1);
	rig_free(r);
}

/* Guest addresses of what the device may write, each segment by itself */
TEST(log_segments)
{
	const struct buf bufs[] = {
		{ RAM + 5, 10, false }, { HI + 0xfff, 0x1002, true }, { RAM + 7, 0, true },
		{ RAM + 0x77, 0x88, true },
	};
	struct rig *r = rig_new(8, 0, RIG_LOG);
	const struct vhl_log *log = r->cfg.segs.log;

	rig_three_regions(r);
	drv_post_chain(r, bufs, ARRAY_SIZE(bufs));
	TAKE(r, 0, bufs, ARRAY_SIZE(bufs));
	/* said once without the model */
	REQUIRE_EQ(r->chain.in_num, 4);
	CHECK(log[0].addr == HI + 0xfff && log[0].len == 1);
	CHECK(log[1].addr == HI + 0x1000 && log[1].len == 0x1000);
	CHECK(log[2].addr == HI + 0x2000 && log[2].len == 1);
	CHECK(log[3].addr == RAM + 0x77 && log[3].len == 0x88);
	CHECK_EQ(log[4].addr, 0xa5a5a5a5a5a5a5a5ULL);

	drv_indirect(r, 2, TABLE, bufs, ARRAY_SIZE(bufs));
	drv_post(r, 2);
	TAKE(r, 2, bufs, ARRAY_SIZE(bufs));
	/* a chain that is one buffer */
	drv_post_chain(r, bufs + 3, 1);
	TAKE(r, 0, bufs + 3, 1);
	CHECK(log[0].addr == RAM + 0x77 && log[0].len == 0x88);
	/* what is only read leaves no trace */
	drv_post_chain(r, bufs, 1);
	TAKE(r, 0, bufs, 1);
	CHECK_EQ(log[0].addr, 0xa5a5a5a5a5a5a5a5ULL);
	rig_free(r);
}

/* Room for a log comes and goes with that for segments, and is no larger */
TEST(log_room)
{
	struct rig *r = rig_new(16, 0, RIG_LOG);
	const struct vhl_segs segs = r->cfg.segs;
	struct buf bufs[9];
	unsigned int i, round;

	for (i = 0; i < ARRAY_SIZE(bufs); i++)
		bufs[i] = (struct buf){ RAM + 100 * i, 1 + i, true };
	for (round = 0; round < 4; round++) {
		r->cfg.segs = segs;
		if (round & 1)
			r->cfg.segs.log = NULL;
		else
			segs.log[0] = segs.log[ARRAY_SIZE(bufs) - 1] = (struct vhl_log){ 0 };
		r->cfg.segs.max = ARRAY_SIZE(bufs) - 1;
		vhl_ring_set_segs(r->ring, &r->cfg.segs);
		drv_post_chain(r, bufs, ARRAY_SIZE(bufs));
		CHECK_EQ(rig_take(r), -ENOSPC);
		CHECK_EQ(segs.log[ARRAY_SIZE(bufs) - 1].len, round & 1 ? ARRAY_SIZE(bufs) : 0);
		r->cfg.segs.max++;
		vhl_ring_set_segs(r->ring, &r->cfg.segs);
		TAKE(r, 0, bufs, ARRAY_SIZE(bufs));
		/* as the round before left it */
		CHECK_EQ(segs.log[0].len, 1);
	}
	r->cfg.segs = segs;
	rig_free(r);
}
