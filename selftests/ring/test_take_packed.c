// SPDX-License-Identifier: GPL-2.0
/* Places in a packed ring: rounds, bases, what a used descriptor says, ids in flight */
#include <stdlib.h>

#include <linux/kernel.h>

#include "driver_packed.h"

static const struct buf one = { RAM + 0x10, 100, false };
static const u16 nums[] = { DRV_NUMS };

/* Chains of one to four descriptors, so that they lie across the end in each way, many rounds */
TEST(chains_across_the_end)
{
	unsigned int s, i, k;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		struct rig *r = rig_new(nums[s], 0, 0);
		unsigned int most = nums[s] < 4 ? nums[s] : 4;
		u16 at = PLACE_WRAP;

		for (i = 0; i < 3000 && !tap_failed(); i++) {
			struct buf bufs[4];
			unsigned int n = 1 + i % most;
			u16 head = i % nums[s];

			for (k = 0; k < n; k++)
				bufs[k] = (struct buf){ RAM + 8 * (i + k), 1 + k, k > i % 3 };
			drv_chain(r, head, bufs, n);
			drv_post(r, head);
			TAKE(r, head, bufs, n);
			rig_push(r, head, i & 1 ? i : 0);
			CHECK(vhl_ring_publish(r->ring));
			USED(r, head, i & 1 ? i : 0);
			at = place_add(r, at, n);
			CHECK_EQ(vhl_ring_base(r->ring), both_at(at));
		}
		rig_free(r);
	}
}

/* A used descriptor is where the first of its chain was, and the driver skips the others (2.8.13) */
TEST(used_of_long_chains)
{
	struct rig *r = rig_new(10, 0, 0);
	struct buf bufs[4];
	unsigned int i;

	/* ids far from where the chains are, used in another order */
	for (i = 0; i < 4; i++)
		bufs[i] = (struct buf){ RAM + i, 1 + i, true };
	drv_chain(r, 7, bufs, 3);
	drv_avail(r, 7);
	drv_chain(r, 3, bufs, 1);
	drv_avail(r, 3);
	drv_chain(r, 5, bufs, 2);
	drv_avail(r, 5);
	drv_show(r);
	TAKE(r, 7, bufs, 3);
	TAKE(r, 3, bufs, 1);
	TAKE(r, 5, bufs, 2);
	rig_push(r, 5, 50);
	rig_push(r, 7, 70);
	CHECK_EQ(le16_to_cpu(r->desc[0].flags) & DESC_USED, 0);
	CHECK(vhl_ring_publish(r->ring));
	/* the one of two descriptors in place 0, the one of three in place 2 */
	CHECK_EQ(le16_to_cpu(r->desc[0].id), 5);
	CHECK_EQ(le32_to_cpu(r->desc[0].len), 50);
	CHECK_EQ(le16_to_cpu(r->desc[0].flags), DESC_AVAIL | DESC_USED | F_WRITE);
	CHECK_EQ(le16_to_cpu(r->desc[1].flags) & DESC_USED, 0);
	CHECK_EQ(le16_to_cpu(r->desc[2].id), 7);
	CHECK_EQ(le32_to_cpu(r->desc[2].len), 70);
	CHECK_EQ(le16_to_cpu(r->desc[2].flags), DESC_AVAIL | DESC_USED | F_WRITE);
	USED(r, 5, 50);
	USED(r, 7, 70);
	CHECK(!drv_pending(r));
	rig_push(r, 3, 0);
	CHECK(vhl_ring_publish(r->ring));
	CHECK_EQ(le16_to_cpu(r->desc[5].id), 3);
	CHECK_EQ(le16_to_cpu(r->desc[5].flags), DESC_AVAIL | DESC_USED);
	USED(r, 3, 0);
	CHECK_EQ(vhl_ring_base(r->ring), both_at(PLACE_WRAP | 6));
	/* where the buffers were is no business of the device's */
	CHECK_EQ(le64_to_cpu(r->desc[0].addr), RAM);
	rig_free(r);
}

/* Of a batch the first descriptor is the last one that is written, whatever was pushed when */
TEST(batch_appears_at_once)
{
	unsigned int n, i, split;

	for (n = 1; n <= 6; n++) {
		for (split = 0; split <= n; split++) {
			struct rig *r = rig_new(6, 4, 0);
			struct vhl_done done[6];

			drv_add(r, 6);
			for (i = 0; i < 6; i++)
				CHECK_EQ(rig_take(r), 1);
			for (i = 0; i < n; i++)
				done[i] = (struct vhl_done){ .id = (4 + i) % 6, .len = 100 + i };
			rig_push_batch(r, done, split);
			rig_push_batch(r, done + split, n - split);
			CHECK(!drv_pending(r));
			CHECK(vhl_ring_publish(r->ring));
			for (i = 0; i < n; i++)
				USED(r, (4 + i) % 6, 100 + i);
			CHECK(!drv_pending(r));
			/* what is published again is nothing new */
			CHECK(vhl_ring_publish(r->ring));
			CHECK(!drv_pending(r));
			rig_free(r);
		}
	}
}

/* The base says where both sides go on, at any place and of either round */
TEST(base_goes_round)
{
	unsigned int s, i;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		unsigned int rounds = nums[s] < 1000 ? 6 * nums[s] : 3;
		u16 at = PLACE_WRAP;

		for (i = 0; i < rounds && !tap_failed(); i++) {
			struct rig *r = rig_new(nums[s], i, 0);

			CHECK_EQ(vhl_ring_base(r->ring), both_at(at));
			CHECK(vhl_ring_empty(r->ring));
			CHECK_EQ(rig_take(r), 0);
			drv_add(r, 1);
			CHECK_EQ(rig_take(r), 1);
			rig_push(r, r->chain.id, 3);
			CHECK(vhl_ring_publish(r->ring));
			at = place_add(r, at, 1);
			CHECK_EQ(vhl_ring_base(r->ring), both_at(at));
			rig_free(r);
		}
	}
}

/* Chains in flight keep the used side behind; with none both are at one place again */
TEST(base_when_drained)
{
	struct rig *r = rig_new(8, 0, 0);
	const struct buf bufs[] = { one, one, one };

	drv_chain(r, 0, bufs, 3);
	drv_avail(r, 0);
	drv_chain(r, 4, bufs, 2);
	drv_avail(r, 4);
	drv_show(r);
	CHECK_EQ(rig_take(r), 1);
	CHECK_EQ(rig_take(r), 1);
	CHECK_EQ(vhl_ring_base(r->ring), (u32)PLACE_WRAP << 16 | PLACE_WRAP | 5);
	rig_push(r, 4, 0);
	rig_push(r, 0, 0);
	CHECK_EQ(vhl_ring_base(r->ring), both_at(PLACE_WRAP | 5));
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 4, 0);
	USED(r, 0, 0);
	rig_free(r);
}

/* DPDK writes the lower half alone, for a ring that was never used: not a round ago */
TEST(base_of_dpdk)
{
	struct rig *r = rig_new(256, 0, 0);

	rig_restart(r, 0x00008000);
	CHECK_EQ(vhl_ring_base(r->ring), 0x80008000);
	drv_add(r, 2);
	rig_drain(r);
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 0, 0);
	USED(r, 1, 0);
	rig_free(r);
}

/* Sides that differ are taken as they are: what is between them was lost with a device before */
TEST(base_with_lost_chains)
{
	struct rig *r = rig_new(8, 0, 0);

	drv_add(r, 3);
	CHECK_EQ(rig_take(r), 1);
	CHECK_EQ(rig_take(r), 1);
	rig_restart(r, (u32)PLACE_WRAP << 16 | PLACE_WRAP | 2);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK_EQ(rig_take(r), 1);
	CHECK_EQ(r->chain.id, 2);
	CHECK_EQ(vhl_ring_inflight(r->ring), 1);
	rig_push(r, 2, 7);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 2, 7);
	rig_free(r);
}

/* Chains that are given back are not in flight: their ids may come again, at the same place or not */
TEST(rewound_ids_are_free)
{
	struct rig *r = rig_new(8, 6, 0);
	const struct buf two[] = { one, { RAM + 0x99, 5, true } };
	unsigned int n, i;

	drv_chain(r, 6, two, 2);
	drv_avail(r, 6);
	drv_chain(r, 1, two, 1);
	drv_avail(r, 1);
	drv_chain(r, 2, two, 2);
	drv_avail(r, 2);
	drv_show(r);
	for (n = 1; n <= 3; n++) {
		for (i = 0; i < 3; i++) {
			TAKE(r, 6, two, 2);
			TAKE(r, 1, two, 1);
			TAKE(r, 2, two, 2);
			CHECK_EQ(rig_take(r), 0);
			/* in two pieces */
			rig_rewind(r, n - 1);
			rig_rewind(r, 3 - (n - 1));
			CHECK_EQ(vhl_ring_inflight(r->ring), 0);
		}
	}
	/* some are in flight for good before and behind others that come back */
	TAKE(r, 6, two, 2);
	TAKE(r, 1, two, 1);
	rig_rewind(r, 1);
	TAKE(r, 1, two, 1);
	rig_push(r, 6, 0);
	TAKE(r, 2, two, 2);
	rig_rewind(r, 1);
	rig_push(r, 1, 1);
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 6, 0);
	USED(r, 1, 1);
	/* the driver has taken back the last one, and uses its id for another chain */
	drv_chain(r, 4, two, 1);
	drv_replace(r, 2, 4);
	TAKE(r, 4, two, 1);
	drv_chain(r, 2, two, 1);
	drv_post(r, 2);
	TAKE(r, 2, two, 1);
	CHECK_EQ(vhl_ring_inflight(r->ring), 2);
	rig_free(r);
}
