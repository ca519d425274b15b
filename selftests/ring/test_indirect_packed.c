// SPDX-License-Identifier: GPL-2.0
/* Indirect tables of packed rings, all of which belong to the chain (virtio 1.2, section 2.8.7) */
#include <linux/kernel.h>

#include "driver_packed.h"

#define TABLE	(RAM + 0x40000)
#define DESC	sizeof(struct vring_packed_desc)

/* Of a descriptor in a table only WRITE counts: no NEXT ends it, no INDIRECT names another one */
TEST(indirect_other_flags)
{
	static const u16 flags[] = { F_NEXT, F_INDIRECT, F_NEXT | F_INDIRECT, 0x80, 0x8000, 0xfffd };
	static const struct buf bufs[] = {
		{ RAM, 1, false }, { RAM + 5, 2, false }, { RAM + 9, 4, true }, { RAM + 19, 8, true },
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct rig *r = rig_new(4, 0, 0);
		struct vring_packed_desc *table = guest_ptr(&r->guest, TABLE, 4 * DESC);

		for (k = 0; k < 4; k++)
			table_set(&table[k], bufs[k].addr, bufs[k].len,
				  flags[i] | (bufs[k].write ? F_WRITE : 0), 0xdead + k);
		drv_post_table(r, TABLE, 4 * DESC, 0, 0);
		TAKE(r, 0, bufs, 4);
		CHECK_EQ(r->guest.copies, 4);
		rig_free(r);
	}
}

/* 2.8.19: it is all of its chain */
TEST(indirect_after_direct)
{
	static const struct buf bufs[] = { { RAM, 1, false }, { RAM + 5, 2, false } };
	struct rig *r = rig_new(4, 65535, 0);

	drv_indirect(r, 2, TABLE, bufs, 2);
	drv_desc(r, 1, RAM, 1, F_NEXT, 2);
	drv_post(r, 1);
	FAULT(r, VHL_FAULT_INDIRECT_NEXT);
	CHECK_EQ(r->guest.copies, 0);
	rig_free(r);
}

/* A table takes up one descriptor of the ring, however long it is */
TEST(indirect_is_one_descriptor)
{
	struct rig *r = rig_new(3, 0, 0);
	const struct buf bufs[] = {
		{ RAM, 1, false }, { RAM, 2, false }, { RAM, 3, true }, { RAM, 4, true }, { RAM, 5, true },
	};
	u16 at = PLACE_WRAP;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		drv_indirect(r, i % 3, TABLE, bufs, 1 + i % 5);
		drv_post(r, i % 3);
		TAKE(r, i % 3, bufs, 1 + i % 5);
		rig_push(r, i % 3, i);
		CHECK(vhl_ring_publish(r->ring));
		USED(r, i % 3, i);
		at = place_add(r, at, 1);
		CHECK_EQ(vhl_ring_base(r->ring), both_at(at));
	}
	rig_free(r);
}

/* A table may claim far more entries than a chain can use: the work for it stays bounded */
TEST(indirect_huge_table)
{
	static const u32 nums[] = { VHL_IOV_MAX + 1, VHL_IOV_MAX + 2, 16384, 65536, 0x0fffffff };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		struct rig *r = rig_new(4, 0, 0);

		/* all of it is there, and without bytes no number of segments ends it */
		guest_add_at(&r->guest, HI, HI + (u64)nums[i] * DESC - 1,
			     (uintptr_t)guest_ptr(&r->guest, RAM, 1), RW);
		drv_post_table(r, HI, nums[i] * DESC, 0, 0);
		if (nums[i] == VHL_IOV_MAX + 1)
			CHECK_EQ(rig_take(r), 1);
		else
			FAULT(r, VHL_FAULT_SEGMENTS);
		CHECK(r->guest.copies <= VHL_IOV_MAX + 1);
		rig_free(r);
	}
}

TEST(indirect_order)
{
	static const struct buf bad[] = { { RAM, 1, true }, { RAM + 8, 1, false } };
	struct rig *r = rig_new(4, 0, 0);

	drv_indirect(r, 0, TABLE, bad, 2);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_ORDER);
	rig_free(r);
}

/* A queue that is only read from: DPDK sends frames so, and what it marks as writable is not written to */
TEST(indirect_read_only)
{
	static const bool marks[][3] = {
		{ true, false, false }, { true, true, false }, { true, true, true }, { false, true, false },
	};
	struct buf want[] = { { RAM, 12, false }, { RAM + 64, 100, false }, { RAM + 512, 7, false } };
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(marks); i++) {
		struct rig *r = rig_new(4, 0, 0);
		struct buf bufs[3];

		r->cfg.reads = true;
		rig_restart(r, r->cfg.base);
		for (k = 0; k < 3; k++) {
			bufs[k] = want[k];
			bufs[k].write = marks[i][k];
		}
		drv_indirect(r, 0, TABLE, bufs, 3);
		drv_post(r, 0);
		TAKE(r, 0, want, 3);
		/* in the ring itself it counts */
		drv_chain(r, 1, (const struct buf[]){ { RAM, 1, true }, { RAM + 8, 1, false } }, 2);
		drv_post(r, 1);
		FAULT(r, VHL_FAULT_ORDER);
		rig_free(r);
	}
}

TEST(indirect_table_address)
{
	static const struct {
		u64 addr;
		u32 len;
	} cases[] = {
		{ 0, DESC },				/* nothing there */
		{ RAM + RAM_SIZE, DESC },
		{ RAM + RAM_SIZE - 8, DESC },		/* half of it */
		{ RAM + RAM_SIZE - DESC, 2 * DESC },	/* one of two */
		{ ~0ULL - 14, DESC },			/* around the end of the address space */
		{ ~0ULL - 15, 2 * DESC },
		{ ~0ULL - 0xffff, 0xfffffff0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(4, 0, 0);

		drv_post_table(r, cases[i].addr, cases[i].len, 0, 0);
		FAULT(r, VHL_FAULT_ADDRESS);
		rig_free(r);
	}
}
