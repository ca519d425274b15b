// SPDX-License-Identifier: GPL-2.0
/* What a driver must not do, and what the ring says then */
#include <linux/kernel.h>

#include "driver.h"

static const struct buf one = { RAM, 100, false };
static const u16 nums[] = { DRV_NUMS };

TEST(head_outside)
{
	unsigned int s, i;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		const u16 num = nums[s];
		const u16 heads[] = { num, num + 1, 0x8000, 0xfffe, 0xffff };

		for (i = 0; i < ARRAY_SIZE(heads); i++) {
			struct rig *r = rig_new(num, 65535, 0);

			drv_chain(r, 0, &one, 1);
			drv_post(r, 0);
			drv_replace(r, 0, heads[i]);
			FAULT(r, VHL_FAULT_HEAD);
			rig_free(r);
		}
	}
}

/* Good chains before a bad one are taken, and it stays where it is */
TEST(head_outside_after_good)
{
	struct rig *r = rig_new(8, 65533, 0);
	unsigned int i;

	for (i = 0; i < 6; i++) {
		drv_chain(r, i, &one, 1);
		drv_avail(r, i);
	}
	drv_show(r);
	drv_replace(r, 5, 0xffff);
	for (i = 0; i < 5; i++)
		TAKE(r, i, &one, 1);
	FAULT(r, VHL_FAULT_HEAD);
	CHECK_EQ(vhl_ring_inflight(r->ring), 5);

	/* what is in flight can still be completed */
	for (i = 0; i < 5; i++)
		rig_push(r, i, i);
	CHECK(vhl_ring_publish(r->ring));
	for (i = 0; i < 5; i++)
		USED(r, i, i);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	rig_free(r);
}

static void loop_in_ring(u16 num, u16 first, u16 from, u16 to, u32 len)
{
	struct rig *r = rig_new(num, 65535, 0);
	unsigned int i;

	for (i = 0; i < num; i++)
		drv_desc(r, i, RAM + i, len, F_NEXT, i == from ? to : (i + 1) % num);
	drv_post(r, first);
	FAULT(r, VHL_FAULT_LOOP);
	rig_free(r);
}

TEST(loop)
{
	u32 len;

	for (len = 0; len < 2; len++) {
		loop_in_ring(1, 0, 0, 0, len);		/* itself */
		loop_in_ring(8, 3, 3, 3, len);
		loop_in_ring(8, 0, 7, 7, len);		/* itself, at the end */
		loop_in_ring(2, 1, 0, 1, len);		/* two */
		loop_in_ring(8, 0, 7, 6, len);
		loop_in_ring(8, 5, 7, 0, len);		/* the whole ring */
		loop_in_ring(1024, 0, 1023, 0, len);
	}
	/* without bytes no number of segments ends it */
	loop_in_ring(32768, 9, 32767, 0, 0);
	loop_in_ring(32768, 0, 1, 0, 0);
}

TEST(loop_with_more_segments_than_there_may_be)
{
	struct rig *r = rig_new(2048, 0, 0);

	drv_desc(r, 0, RAM, 1, F_NEXT, 0);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_SEGMENTS);
	rig_free(r);
}

/* A chain that takes in all descriptors is legal, one more step is not */
TEST(chain_longer_than_the_ring)
{
	unsigned int s, i;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		u16 num = nums[s];
		struct rig *r = rig_new(num, 0, 0);

		for (i = 0; i < num; i++)
			drv_desc(r, i, RAM, 0, i + 1 < num ? F_NEXT : 0, i + 1);
		drv_post(r, 0);
		CHECK_EQ(rig_take(r), 1);
		drv_desc(r, num - 1, RAM, 0, F_NEXT, num - 1);
		drv_post(r, 0);
		FAULT(r, VHL_FAULT_LOOP);
		rig_free(r);
	}
}

/* All that the ring has is no jump */
TEST(avail_full)
{
	unsigned int s;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		struct rig *r = rig_new(nums[s], 65535, 0);
		unsigned int i, n = 0;

		for (i = 0; i < nums[s]; i++) {
			drv_chain(r, i, &one, 1);
			drv_avail(r, i);
		}
		drv_show(r);
		while (rig_take(r) == 1)
			n++;
		CHECK_EQ(n, nums[s]);
		CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
		rig_free(r);
	}
}

/* A chain that is bad anywhere leaves nothing in flight, whatever it had before */
TEST(fault_late_in_a_chain)
{
	struct rig *r = rig_new(16, 65530, 0);
	struct buf bufs[16];
	unsigned int i;

	for (i = 0; i < 16; i++)
		bufs[i] = (struct buf){ RAM + i, 1, i > 5 };
	bufs[15].addr = RAM + RAM_SIZE;
	drv_chain(r, 0, bufs, 16);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_ADDRESS);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK_EQ(vhl_ring_base(r->ring), r->cfg.base);
	rig_free(r);
}

/* After a fault the other calls are harmless, and the driver's index is where it was */
TEST(fault_then_everything_else)
{
	struct rig *r = rig_new(4, 7, RIG_EVENT_IDX);

	drv_post(r, 0);
	drv_replace(r, 0, 4);
	FAULT(r, VHL_FAULT_HEAD);
	CHECK(!vhl_ring_empty(r->ring));
	vhl_ring_no_kicks(r->ring);
	CHECK(vhl_ring_ask_kick(r->ring));
	vhl_ring_rewind(r->ring, vhl_ring_mark(r->ring));
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	FAULT(r, VHL_FAULT_HEAD);
	rig_free(r);
}

/* A queue that is started again after a fault works again */
TEST(fault_then_restart)
{
	struct rig *r = rig_new(4, 7, 0);

	drv_post(r, 0);
	drv_replace(r, 0, 4);
	FAULT(r, VHL_FAULT_HEAD);
	drv_chain(r, 2, &one, 1);
	drv_replace(r, 0, 2);
	rig_restart(r, vhl_ring_base(r->ring));
	CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
	TAKE(r, 2, &one, 1);
	rig_free(r);
}

/* A driver that spoils whatever was read, at once: nothing may be read a second time */
static unsigned int spoils;

static void spoil(const volatile void *p, unsigned long size)
{
	volatile u8 *byte = (volatile u8 *)p;

	/* what the rings of a device share is no driver's, nor what a ring has for both its sides */
	if (guest_is_cached(p) || drv_is_state(p))
		return;
	spoils++;
	while (size--)
		*byte++ = 0xff;
}

static void spoilt(unsigned int direct, unsigned int in_table)
{
	struct rig *r = rig_new(64, 65535, 0);
	struct buf bufs[64 + 100];
	unsigned int i;

	for (i = 0; i < direct + in_table; i++)
		bufs[i] = (struct buf){ RAM + 8 * i, 1 + i % 8, i > 2 };
	if (in_table)
		drv_indirect(r, direct, RAM + 0x10000, bufs + direct, in_table);
	for (i = 0; i < direct; i++)
		drv_desc(r, i, bufs[i].addr, bufs[i].len,
			 (bufs[i].write ? F_WRITE : 0) | (in_table || i + 1 < direct ? F_NEXT : 0),
			 i + 1);
	drv_post(r, 0);
	spoils = 0;
	shim_after_read = spoil;
	TAKE(r, 0, bufs, direct + in_table);
	shim_after_read = NULL;
	/* something was, or else this proves nothing */
	CHECK(spoils > direct + in_table);
	CHECK_EQ(vhl_ring_inflight(r->ring), 1);
	rig_free(r);
}

TEST(nothing_is_read_twice)
{
	spoilt(1, 0);
	spoilt(2, 0);
	spoilt(64, 0);
	spoilt(0, 1);
	spoilt(0, 32);
	spoilt(0, 33);
	spoilt(0, 100);
	if (DRV_TABLE_AFTER_DIRECT)
		spoilt(5, 50);
}
