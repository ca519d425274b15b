// SPDX-License-Identifier: GPL-2.0
/* Chains are taken, given back and completed */
#include <errno.h>
#include <string.h>

#include <linux/kernel.h>

#include "driver.h"

static const struct buf one = { RAM + 0x10, 100, false };
static const u16 nums[] = { DRV_NUMS };

TEST(empty)
{
	struct rig *r = rig_new(8, 0, 0);

	CHECK(vhl_ring_empty(r->ring));
	CHECK_EQ(rig_take(r), 0);
	CHECK_EQ(rig_take(r), 0);
	CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK(!drv_pending(r));
	rig_free(r);
}

TEST(one_chain)
{
	static const struct buf bufs[] = {
		{ RAM, 16, false }, { RAM + 0x1000, 4096, false }, { RAM + 0x4000, 512, true },
		{ RAM + RAM_SIZE - 1, 1, true },
	};
	struct rig *r = rig_new(8, 0, 0);

	drv_chain(r, 5, bufs, ARRAY_SIZE(bufs));
	drv_avail(r, 5);
	CHECK(vhl_ring_empty(r->ring));
	CHECK_EQ(rig_take(r), 0);
	drv_show(r);
	CHECK(!vhl_ring_empty(r->ring));
	TAKE(r, 5, bufs, ARRAY_SIZE(bufs));
	CHECK_EQ(r->chain.out_num, 2);
	CHECK_EQ(r->chain.in_num, 2);
	CHECK_EQ(r->chain.out_len, 16 + 4096);
	CHECK_EQ(r->chain.in_len, 513);
	CHECK(vhl_ring_empty(r->ring));
	CHECK_EQ(rig_take(r), 0);
	CHECK_EQ(vhl_ring_inflight(r->ring), 1);

	rig_push(r, 5, 77);
	CHECK(!drv_pending(r));
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 5, 77);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	rig_free(r);
}

TEST(only_in_only_out)
{
	static const struct buf in = { RAM, 8, true };
	struct rig *r = rig_new(2, 0, 0);

	drv_chain(r, 0, &in, 1);
	drv_post(r, 0);
	TAKE(r, 0, &in, 1);
	drv_chain(r, 1, &one, 1);
	drv_post(r, 1);
	TAKE(r, 1, &one, 1);
	rig_free(r);
}

TEST(batch)
{
	struct rig *r = rig_new(16, 0, 0);
	struct buf bufs[16];
	unsigned int i;

	/* heads out of order, all 16 at once */
	for (i = 0; i < 16; i++) {
		bufs[i] = (struct buf){ RAM + i * 64, i + 1, i & 1 };
		drv_chain(r, i, &bufs[i], 1);
	}
	for (i = 0; i < 16; i++)
		drv_avail(r, i * 7 % 16);
	drv_show(r);
	for (i = 0; i < 16; i++)
		TAKE(r, i * 7 % 16, &bufs[i * 7 % 16], 1);
	CHECK_EQ(rig_take(r), 0);
	CHECK_EQ(vhl_ring_inflight(r->ring), 16);

	/* completed in another order, shown together */
	for (i = 0; i < 16; i++) {
		rig_push(r, i * 5 % 16, 1000 + i);
		CHECK(!drv_pending(r));
		CHECK_EQ(vhl_ring_inflight(r->ring), 15 - i);
	}
	CHECK(vhl_ring_publish(r->ring));
	for (i = 0; i < 16; i++)
		USED(r, i * 5 % 16, 1000 + i);
	rig_free(r);
}

/* Pushed together as one by one, around the end of the ring */
TEST(push_batch)
{
	struct vhl_done done[8];
	unsigned int n, i;

	for (n = 0; n <= 8; n++) {
		struct rig *r = rig_new(8, 65533, 0);
		const u16 pushed = vhl_ring_pushed(r->ring);

		drv_add(r, 8);
		for (i = 0; i < 8; i++)
			CHECK_EQ(rig_take(r), 1);
		for (i = 0; i < n; i++)
			done[i] = (struct vhl_done){ .id = (5 + 3 * i) & 7, .len = 100 + i };
		rig_push_batch(r, done, n);
		CHECK_EQ(vhl_ring_inflight(r->ring), 8 - n);
		CHECK_EQ((u16)(vhl_ring_pushed(r->ring) - pushed), n);
		CHECK(!drv_pending(r));
		CHECK(vhl_ring_publish(r->ring));
		for (i = 0; i < n; i++)
			USED(r, (5 + 3 * i) & 7, 100 + i);
		CHECK(!drv_pending(r));
		rig_free(r);
	}
}

/* A queue that breaks for another reason gives no chain any more either */
TEST(fail_is_final)
{
	struct rig *r = rig_new(4, 0, 0);
	u32 mark = vhl_ring_mark(r->ring);

	drv_add(r, 2);
	CHECK_EQ(rig_take(r), 1);
	vhl_ring_fail(r->ring, VHL_FAULT_REQUEST);
	CHECK_EQ(rig_take(r), -EINVAL);
	vhl_ring_rewind(r->ring, mark);
	CHECK_EQ(rig_take(r), -EINVAL);
	CHECK_EQ(r->ring->fault, VHL_FAULT_REQUEST);
	CHECK_EQ(vhl_ring_base(r->ring), r->cfg.base);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	rig_free(r);
}

/* Ten rounds of a ring of each size, from a base just before 2^16 */
TEST(sizes_and_wrap)
{
	unsigned int s, i, round;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		u16 num = nums[s];
		u16 base = 65536 - (num < 5 ? 5 : num / 2 + 1);
		struct rig *r = rig_new(num, base, 0);
		unsigned int rounds = num > 1000 ? 4 : 10;
		const u16 pushed = vhl_ring_pushed(r->ring);

		for (round = 0; round < rounds && !tap_failed(); round++) {
			for (i = 0; i < num; i++) {
				const struct buf b = { RAM + i, 1 + round, (i + round) & 1 };

				drv_chain(r, num - 1 - i, &b, 1);
				drv_avail(r, num - 1 - i);
			}
			drv_show(r);
			for (i = 0; i < num && !tap_failed(); i++) {
				const struct buf b = { RAM + i, 1 + round, (i + round) & 1 };

				TAKE(r, num - 1 - i, &b, 1);
				rig_push(r, r->chain.id, i + round);
			}
			CHECK_EQ(rig_take(r), 0);
			CHECK_EQ(vhl_ring_inflight(r->ring), 0);
			CHECK(vhl_ring_publish(r->ring));
			for (i = 0; i < num && !tap_failed(); i++)
				USED(r, num - 1 - i, i + round);
			CHECK(!drv_pending(r));
		}
		CHECK_EQ((u16)(vhl_ring_pushed(r->ring) - pushed), (u16)(rounds * num));
		rig_free(r);
	}
}

/* One at a time over more than 2^16 chains */
TEST(wrap_one_by_one)
{
	struct rig *r = rig_new(2, 65530, 0);
	unsigned int i;

	for (i = 0; i < 70000 && !tap_failed(); i++) {
		drv_chain(r, i & 1, &one, 1);
		drv_post(r, i & 1);
		TAKE(r, i & 1, &one, 1);
		rig_push(r, i & 1, i);
		CHECK(vhl_ring_publish(r->ring));
		USED(r, i & 1, i);
	}
	rig_free(r);
}

TEST(chain_as_long_as_the_ring)
{
	unsigned int s, i;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		unsigned int n = nums[s] > VHL_IOV_MAX ? VHL_IOV_MAX : nums[s];
		struct rig *r = rig_new(n, 0, 0);
		struct buf bufs[VHL_IOV_MAX];

		for (i = 0; i < n; i++)
			bufs[i] = (struct buf){ RAM + 3 * i, 2, i >= n / 2 };
		/* begins in the middle of the table */
		drv_chain(r, n / 2, bufs, n);
		drv_post(r, n / 2);
		TAKE(r, n / 2, bufs, n);
		rig_free(r);
	}
}

TEST(chain_scattered_in_the_table)
{
	static const u16 order[] = { 6, 1, 7, 0, 3 };
	struct rig *r = rig_new(8, 0, 0);
	struct buf bufs[ARRAY_SIZE(order)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		bool last = i + 1 == ARRAY_SIZE(order);

		bufs[i] = (struct buf){ RAM + i * 0x100, 10 + i, i >= 3 };
		drv_desc(r, order[i], bufs[i].addr, bufs[i].len,
			 (last ? 0 : F_NEXT) | (i >= 3 ? F_WRITE : 0),
			 last ? 0xffff : order[i + 1]);
	}
	drv_post(r, order[0]);
	TAKE(r, order[0], bufs, ARRAY_SIZE(bufs));
	rig_free(r);
}

/* Flags that mean nothing here */
TEST(unknown_flags)
{
	struct rig *r = rig_new(4, 0, 0);

	drv_desc(r, 2, one.addr, one.len, 0xfff8, 0xffff);
	drv_post(r, 2);
	TAKE(r, 2, &one, 1);
	rig_free(r);
}

TEST(rewind)
{
	struct rig *r = rig_new(4, 65534, 0);
	struct buf bufs[4];
	unsigned int i, n;

	for (i = 0; i < 4; i++) {
		bufs[i] = (struct buf){ RAM + i * 100, 7 + i, i & 1 };
		drv_chain(r, i, &bufs[i], 1);
		drv_avail(r, i);
	}
	drv_show(r);
	for (n = 0; n <= 4; n++) {
		for (i = 0; i < 4; i++)
			TAKE(r, i, &bufs[i], 1);
		CHECK(vhl_ring_empty(r->ring));
		rig_rewind(r, n);
		CHECK_EQ(vhl_ring_inflight(r->ring), 4 - n);
		CHECK_EQ(vhl_ring_empty(r->ring), !n);
		for (i = 4 - n; i < 4; i++)
			TAKE(r, i, &bufs[i], 1);
		CHECK_EQ(rig_take(r), 0);
		rig_rewind(r, 4);
		CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	}

	/* what is given back is read anew: the driver may rewrite a chain it has not lost */
	TAKE(r, 0, &bufs[0], 1);
	rig_rewind(r, 1);
	drv_chain(r, 0, &bufs[3], 1);
	TAKE(r, 0, &bufs[3], 1);
	rig_free(r);
}

TEST(rewind_after_push)
{
	struct rig *r = rig_new(4, 65535, 0);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		drv_chain(r, i, &one, 1);
		drv_avail(r, i);
	}
	drv_show(r);
	for (i = 0; i < 3; i++)
		TAKE(r, i, &one, 1);
	rig_push(r, 0, 1);
	rig_rewind(r, 2);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 0, 1);
	/* one more comes while some are given back */
	drv_post(r, 0);
	for (i = 1; i <= 4; i++)
		TAKE(r, i & 3, &one, 1);
	CHECK_EQ(rig_take(r), 0);
	CHECK_EQ(vhl_ring_inflight(r->ring), 4);
	rig_free(r);
}

/* A device that finds all chains too few waits for more, not for the same again */
TEST(empty_of_more)
{
	struct rig *r = rig_new(8, 65535, 0);
	unsigned int i, n;

	for (i = 0; i < 8; i++)
		drv_chain(r, i, &one, 1);
	for (n = 0; n < 8; n++) {
		for (i = 0; i < n; i++)
			TAKE(r, i, &one, 1);
		CHECK(vhl_ring_empty(r->ring));
		CHECK_EQ(rig_take(r), 0);
		CHECK(vhl_ring_empty(r->ring));
		/* in one piece, or in several */
		rig_rewind(r, n / 2);
		CHECK(vhl_ring_empty(r->ring));
		rig_rewind(r, n - n / 2);
		CHECK(vhl_ring_empty(r->ring));
		CHECK_EQ(vhl_ring_inflight(r->ring), 0);
		drv_post(r, n);
		CHECK(!vhl_ring_empty(r->ring));
	}
	rig_free(r);
}

/* ... but one that gives back what it has no room for itself has not seen that there is no more */
TEST(empty_but_for_the_rewound)
{
	struct rig *r = rig_new(8, 65535, 0);
	unsigned int i;

	for (i = 0; i < 8; i++)
		drv_chain(r, i, &one, 1);
	drv_avail(r, 0);
	drv_avail(r, 1);
	drv_show(r);
	TAKE(r, 0, &one, 1);
	TAKE(r, 1, &one, 1);
	rig_rewind(r, 1);
	CHECK(!vhl_ring_empty(r->ring));

	/* too few at first; then the last of them does not fit, whether there were more or not */
	for (i = 0; i < 3; i++) {
		u16 n = 1 + i;

		while (rig_take(r) == 1)
			;
		rig_rewind(r, n);
		CHECK(vhl_ring_empty(r->ring));
		CHECK_EQ(rig_take(r), 1);
		rig_rewind(r, 1);
		CHECK(!vhl_ring_empty(r->ring));
		while (n--)
			CHECK_EQ(rig_take(r), 1);
		CHECK(vhl_ring_empty(r->ring));
		rig_rewind(r, 1 + i);
		CHECK(!vhl_ring_empty(r->ring));
		drv_post(r, 2 + i);
		CHECK(!vhl_ring_empty(r->ring));
	}
	rig_free(r);
}

/* What cannot be taken is there all the same */
TEST(empty_but_for_the_refused)
{
	const struct buf bad = { RAM + RAM_SIZE, 1, true };
	const struct buf two[] = { one, { RAM + 1, 1, true } };
	struct rig *r = rig_new(8, 0, 0);

	CHECK_EQ(rig_take(r), 0);
	drv_post_chain(r, &bad, 1);
	CHECK_EQ(rig_take(r), -ENXIO);
	CHECK(!vhl_ring_empty(r->ring));
	CHECK(vhl_ring_ask_kick(r->ring));
	rig_set_segs(r, 1);
	drv_chain(r, 2, two, 2);
	drv_replace(r, 0, 2);
	CHECK_EQ(rig_take(r), -ENOSPC);
	CHECK(!vhl_ring_empty(r->ring));
	rig_free(r);
}

/* Stopped with chains to go: the next owner of the queue begins with them */
TEST(restart_with_pending)
{
	struct rig *r = rig_new(4, 65535, 0);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		drv_chain(r, i, &one, 1);
		drv_avail(r, i);
	}
	drv_show(r);
	TAKE(r, 0, &one, 1);
	rig_push(r, 0, 0);
	CHECK(vhl_ring_publish(r->ring));
	rig_restart(r, vhl_ring_base(r->ring));
	CHECK(!vhl_ring_empty(r->ring));
	for (i = 1; i < 4; i++)
		TAKE(r, i, &one, 1);
	CHECK_EQ(rig_take(r), 0);
	CHECK_EQ(vhl_ring_inflight(r->ring), 3);
	rig_free(r);
}

TEST(fault_names)
{
	unsigned int i, j;

	for (i = 0; i < VHL_FAULT_NR; i++) {
		REQUIRE(vhl_ring_fault_name(i));
		CHECK(strlen(vhl_ring_fault_name(i)) > 4);
		for (j = 0; j < i; j++)
			CHECK(strcmp(vhl_ring_fault_name(i), vhl_ring_fault_name(j)));
	}
	CHECK(vhl_ring_fault_name(VHL_FAULT_NR));
}
