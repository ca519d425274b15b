// SPDX-License-Identifier: GPL-2.0
/* Chains that are used in the order in which they were made available: VIRTIO_F_IN_ORDER */
#include <linux/kernel.h>

#include "driver.h"

static const struct buf out = { RAM, 100, false };
static const struct buf in = { RAM, 100, true };

/* Of a batch of what is only read the last one is told, at the place of the first */
TEST(in_order_one_for_all)
{
	unsigned int n, i, round;

	for (n = 1; n <= 8; n++) {
		struct rig *r = rig_new(8, 65533, RIG_IN_ORDER);

		for (round = 0; round < 10; round++) {
			struct vhl_done done[8];
			unsigned int told = r->batches;

			drv_add(r, n);
			for (i = 0; i < n; i++) {
				CHECK_EQ(rig_take(r), 1);
				done[i] = (struct vhl_done){ .id = r->chain.id };
			}
			rig_push_batch(r, done, n);
			CHECK(!drv_pending(r));
			CHECK(vhl_ring_publish(r->ring));
			for (i = 0; i < n; i++)
				USED(r, done[i].id, 0);
			CHECK_EQ(r->batches - told, 1);
			CHECK(!drv_pending(r));
		}
		rig_free(r);
	}
}

/* What was written is told for each: there is no other word of its length */
TEST(in_order_lengths)
{
	/* in batches of: one, two, one, three, two without bytes */
	static const u32 lens[] = { 1, 0, 77, 5, 0, 0, 9, 0, 0 };
	struct rig *r = rig_new(16, 9, RIG_IN_ORDER);
	struct vhl_done done[ARRAY_SIZE(lens)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		drv_chain(r, i, lens[i] ? &in : &out, 1);
		drv_avail(r, i);
		done[i] = (struct vhl_done){ .id = i, .len = lens[i] };
	}
	drv_show(r);
	for (i = 0; i < ARRAY_SIZE(lens); i++)
		TAKE(r, i, lens[i] ? &in : &out, 1);
	rig_push_batch(r, done, ARRAY_SIZE(lens));
	CHECK(vhl_ring_publish(r->ring));
	for (i = 0; i < ARRAY_SIZE(lens); i++)
		USED(r, i, lens[i]);
	CHECK_EQ(r->batches, 5);
	CHECK(!drv_pending(r));
	rig_free(r);
}

/* Pushed one by one there is nothing behind them, and each is told */
TEST(in_order_one_by_one)
{
	struct rig *r = rig_new(4, 65535, RIG_IN_ORDER);
	unsigned int i;

	drv_add(r, 4);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(rig_take(r), 1);
		rig_push(r, r->chain.id, 0);
	}
	CHECK(vhl_ring_publish(r->ring));
	for (i = 0; i < 4; i++)
		USED(r, (65535 + i) % 4, 0);
	CHECK_EQ(r->batches, 4);
	rig_free(r);
}
