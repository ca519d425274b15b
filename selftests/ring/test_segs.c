// SPDX-License-Identifier: GPL-2.0
/* Room for segments: how many a chain may have, and what happens where there is less */
#include <errno.h>

#include <linux/kernel.h>
#include <linux/slab.h>

#include "driver.h"

TEST(segments_limit)
{
	int extra, indirect;
	unsigned int i;

	for (indirect = 0; indirect < 2; indirect++) {
		for (extra = -1; extra <= 1; extra++) {
			struct rig *r = rig_new(2048, 0, 0);
			struct buf bufs[VHL_IOV_MAX + 1];
			unsigned int n = VHL_IOV_MAX + extra;

			for (i = 0; i < n; i++)
				bufs[i] = (struct buf){ RAM + 2 * i, 1, i > 3 };
			if (indirect)
				drv_indirect(r, 0, RAM + 0x10000, bufs, n);
			else
				drv_chain(r, 0, bufs, n);
			drv_post(r, 0);
			if (extra <= 0)
				TAKE(r, 0, bufs, n);
			else
				FAULT(r, VHL_FAULT_SEGMENTS);
			rig_free(r);
		}
	}
}

/* One descriptor that spans regions can be one segment too many as well */
TEST(segments_limit_in_a_span)
{
	struct rig *r = rig_new(2048, 0, 0);
	struct buf bufs[VHL_IOV_MAX];
	unsigned int i;

	rig_three_regions(r);
	for (i = 0; i < VHL_IOV_MAX - 1; i++)
		bufs[i] = (struct buf){ RAM + 2 * i, 1, false };
	bufs[i] = (struct buf){ HI + 0xfff, 2, true };
	drv_post_chain(r, bufs, VHL_IOV_MAX);
	FAULT(r, VHL_FAULT_SEGMENTS);
	rig_free(r);
}

/* A segment of no bytes is none: any number fits besides the most there may be */
TEST(segments_limit_zero_length)
{
	struct rig *r = rig_new(2048, 0, 0);
	struct buf bufs[VHL_IOV_MAX + 8];
	unsigned int i;

	for (i = 0; i < VHL_IOV_MAX + 8; i++)
		bufs[i] = (struct buf){ RAM + 2 * i, i >= VHL_IOV_MAX ? 0 : 1, true };
	drv_post_chain(r, bufs, VHL_IOV_MAX + 8);
	TAKE(r, 0, bufs, VHL_IOV_MAX + 8);
	rig_free(r);
}

/* Take a chain that has more segments than there is room for: nothing must have happened */
static void no_room(struct rig *r)
{
	u32 before = vhl_ring_mark(r->ring);
	u16 inflight = vhl_ring_inflight(r->ring);
	int i;

	for (i = 0; i < 2; i++) {
		CHECK_EQ(rig_take(r), -ENOSPC);
		CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
		CHECK_EQ(vhl_ring_mark(r->ring), before);
		CHECK_EQ(vhl_ring_inflight(r->ring), inflight);
	}
}

static void post_many(struct rig *r, unsigned int n, bool indirect)
{
	struct buf bufs[VHL_IOV_MAX + 1];
	unsigned int i;

	for (i = 0; i < n; i++)
		bufs[i] = (struct buf){ RAM + 2 * i, 1, i > 3 };
	if (indirect)
		drv_indirect(r, 0, RAM + 0x10000, bufs, n);
	else
		drv_chain(r, 0, bufs, n);
	drv_post(r, 0);
}

static void take_many(struct rig *r, unsigned int n)
{
	struct buf bufs[VHL_IOV_MAX];
	unsigned int i;

	for (i = 0; i < n; i++)
		bufs[i] = (struct buf){ RAM + 2 * i, 1, i > 3 };
	TAKE(r, 0, bufs, n);
}

TEST(room_exact)
{
	static const unsigned int rooms[] = { 1, 2, 5, 64, VHL_IOV_MAX - 1 };
	unsigned int i;
	int extra, indirect;

	for (i = 0; i < ARRAY_SIZE(rooms); i++) {
		for (indirect = 0; indirect < 2; indirect++) {
			for (extra = -(rooms[i] > 1); extra <= 1; extra++) {
				struct rig *r = rig_new(2048, 65535, 0);

				rig_set_segs(r, rooms[i]);
				post_many(r, rooms[i] + extra, indirect);
				if (extra > 0) {
					no_room(r);
					/* still one too few, perhaps */
					rig_set_segs(r, rooms[i] + 1);
				}
				take_many(r, rooms[i] + extra);
				rig_free(r);
			}
		}
	}
}

/* From a little room to all there may be, with other chains before and behind */
TEST(room_to_the_limit)
{
	const struct buf b = { RAM + 7, 100, true };
	int extra, indirect;

	for (indirect = 0; indirect < 2; indirect++) {
		for (extra = -1; extra <= 1; extra++) {
			struct rig *r = rig_new(2048, 0, 0);
			unsigned int n = VHL_IOV_MAX + extra;

			rig_set_segs(r, 64);
			drv_chain(r, 2000, &b, 1);
			drv_chain(r, 2001, &b, 1);
			drv_post(r, 2000);
			post_many(r, n, indirect);
			drv_post(r, 2001);
			TAKE(r, 2000, &b, 1);
			no_room(r);
			rig_set_segs(r, VHL_IOV_MAX);
			if (extra <= 0) {
				take_many(r, n);
				TAKE(r, 2001, &b, 1);
			} else {
				FAULT(r, VHL_FAULT_SEGMENTS);
			}
			rig_free(r);
		}
	}
}

/* A descriptor that spans regions takes the last segment and one more */
TEST(room_in_a_span)
{
	const struct buf bufs[] = {
		{ RAM, 1, false }, { RAM + 2, 1, false }, { HI + 0xfff, 0x1002, true },
	};
	struct rig *r = rig_new(4, 0, 0);
	unsigned int room;

	rig_three_regions(r);
	drv_post_chain(r, bufs, 3);
	for (room = 1; room < 5; room++) {
		rig_set_segs(r, room);
		no_room(r);
	}
	rig_set_segs(r, 5);
	TAKE(r, 0, bufs, 3);
	rig_free(r);
}

/* What needs no room is taken without */
TEST(room_zero_length)
{
	const struct buf bufs[] = {
		{ RAM, 0, false }, { RAM, 1, false }, { RAM, 0, false }, { RAM, 1, true },
		{ RAM, 0, true },
	};
	struct rig *r = rig_new(8, 0, 0);

	rig_set_segs(r, 2);
	drv_post_chain(r, bufs, 5);
	TAKE(r, 0, bufs, 5);
	rig_free(r);
}

/* The driver does as it likes while room is made: what counts is the second look alone */
TEST(room_chain_changed)
{
	const struct buf old[] = { { RAM, 1, false }, { RAM + 2, 2, false }, { RAM + 4, 4, true } };
	const struct buf new[] = { { RAM + 9, 8, true }, { RAM + 99, 16, true } };
	const struct buf bad = { HI, 1, true };
	struct rig *r = rig_new(8, 0, 0);

	rig_set_segs(r, 2);
	drv_post_chain(r, old, 3);
	no_room(r);
	rig_set_segs(r, 3);
	drv_chain(r, 4, new, 2);
	drv_replace(r, 0, 4);
	TAKE(r, 4, new, 2);

	rig_set_segs(r, 2);
	drv_post_chain(r, old, 3);
	no_room(r);
	rig_set_segs(r, 3);
	drv_chain(r, 0, &bad, 1);
	FAULT(r, VHL_FAULT_ADDRESS);
	rig_free(r);
}

/* ... and a fault beyond the room is found when there is some */
TEST(room_then_fault)
{
	const struct buf bufs[] = { { RAM, 1, true }, { RAM, 1, true }, { RAM, 1, false } };
	struct rig *r = rig_new(8, 0, 0);

	rig_set_segs(r, 1);
	drv_post_chain(r, bufs, 3);
	no_room(r);
	rig_set_segs(r, 2);
	FAULT(r, VHL_FAULT_ORDER);
	rig_free(r);
}

/* A ring that logs goes on with that when it gets more, and one that does not has no log to fill */
TEST(room_grows_with_its_log)
{
	unsigned int log;

	for (log = 0; log < 2; log++) {
		struct rig *r = rig_new(2048, 0, log ? RIG_LOG : 0);

		rig_set_segs(r, 32);
		post_many(r, 100, false);
		no_room(r);
		REQUIRE_EQ(vhl_segs_grow(&r->cfg.segs, VHL_IOV_MAX), 0);
		vhl_ring_set_segs(r->ring, &r->cfg.segs);
		CHECK_EQ(r->cfg.segs.max, VHL_IOV_MAX);
		CHECK_EQ(!!r->cfg.segs.log, log);
		take_many(r, 100);
		rig_free(r);
	}
}

/*
 * Who wants to know where segments were found is told so for each, however it was found, and with
 * more room
 */
TEST(regions_of_segments)
{
	const struct buf bufs[] = {
		{ RAM, 1, false }, { RAM + 64, 1, false }, { HI, 0x2000, true }, { HI + 0x1800, 4, true },
		{ RAM, 0, true }, { RAM + 128, 4, true },
	};
	const u64 where[] = { RAM, RAM, HI, HI + 0x1000, HI + 0x1000, RAM };
	struct rig *r = rig_new(64, 0, 0);
	unsigned int i, k;

	rig_set_segs(r, 8);
	guest_add(&r->guest, HI, 0x1000, RW);
	guest_add(&r->guest, HI + 0x1000, 0x1000, RW);
	REQUIRE_EQ(vhl_segs_add_regions(&r->cfg.segs), 0);
	vhl_ring_set_segs(r->ring, &r->cfg.segs);
	for (k = 0; k < 3; k++) {
		drv_post_chain(r, bufs, ARRAY_SIZE(bufs));
		REQUIRE_EQ(vhl_ring_take(r->ring, &r->chain), 1);
		REQUIRE_EQ(r->chain.out_num + r->chain.in_num, ARRAY_SIZE(where));
		for (i = 0; i < ARRAY_SIZE(where); i++)
			CHECK(r->cfg.segs.region[i] == guest_find(&r->guest, where[i]));
		rig_push(r, r->chain.id, 0);
		if (k == 0)
			REQUIRE_EQ(vhl_segs_grow(&r->cfg.segs, VHL_IOV_MAX), 0);
		vhl_ring_set_segs(r->ring, &r->cfg.segs);
	}
	rig_free(r);
}

/* Without memory for all of it there is what there was */
TEST(room_does_not_grow)
{
	struct rig *r = rig_new(2048, 0, RIG_LOG);
	struct vhl_segs segs;
	unsigned int i;

	rig_set_segs(r, 32);
	segs = r->cfg.segs;
	post_many(r, 32, false);
	for (i = 0; i < 2; i++) {
		shim_allocations = i;
		CHECK_EQ(vhl_segs_grow(&r->cfg.segs, VHL_IOV_MAX), -ENOMEM);
		CHECK(r->cfg.segs.iov == segs.iov && r->cfg.segs.log == segs.log);
		CHECK_EQ(r->cfg.segs.max, 32);
	}
	shim_allocations = ~0U;
	take_many(r, 32);
	rig_free(r);
}
