// SPDX-License-Identifier: GPL-2.0
/* What a driver must not do, as far as only split rings have it */
#include <linux/kernel.h>

#include "driver_split.h"

static const struct buf one = { RAM, 100, false };
static const u16 nums[] = { 1, 2, 256, 32768 };

TEST(next_outside)
{
	unsigned int s, i;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		const u16 num = nums[s];
		const u16 nexts[] = { num, num + 1, 0x8000, 0xfffe, 0xffff };

		for (i = 0; i < ARRAY_SIZE(nexts); i++) {
			struct rig *r = rig_new(num, 0, 0);

			drv_desc(r, num - 1, RAM, 1, F_NEXT, nexts[i]);
			drv_post(r, num - 1);
			FAULT(r, VHL_FAULT_NEXT);
			rig_free(r);
		}
	}
}

TEST(avail_jump)
{
	unsigned int s, i;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		const u16 num = nums[s];
		/* by one too many, by half of all, backwards */
		const u16 jumps[] = { num + 1, 0x8001, 0xfffe, 0xffff };
		const u16 bases[] = { 0, 1, 0x7fff, 0xffff };

		for (i = 0; i < ARRAY_SIZE(jumps) * ARRAY_SIZE(bases); i++) {
			struct rig *r = rig_new(num, bases[i / 4], 0);

			drv_chain(r, 0, &one, 1);
			r->avail->idx = cpu_to_vhl16(bases[i / 4] + jumps[i & 3]);
			CHECK(!vhl_ring_empty(r->ring));
			FAULT(r, VHL_FAULT_AVAIL_JUMP);
			CHECK_EQ(vhl_ring_inflight(r->ring), 0);
			rig_free(r);
		}
	}
}

TEST(avail_jump_by_half)
{
	unsigned int s;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		struct rig *r = rig_new(nums[s], 100, 0);

		drv_chain(r, 0, &one, 1);
		r->avail->idx = cpu_to_vhl16(100 + 0x8000);
		/* the largest ring can have as many */
		if (nums[s] == 0x8000)
			TAKE(r, 0, &one, 1);
		else
			FAULT(r, VHL_FAULT_AVAIL_JUMP);
		rig_free(r);
	}
}

/* The index jumps while the ring still has chains of the last look at it */
TEST(avail_jump_later)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		drv_chain(r, i, &one, 1);
		drv_avail(r, i);
	}
	drv_show(r);
	TAKE(r, 0, &one, 1);
	TAKE(r, 1, &one, 1);
	r->avail->idx = cpu_to_vhl16(1000);
	/* it was told of these; of the jump it finds out no later than with the next look */
	for (i = 2; i < 4 && !r->ring->fault; i++)
		if (rig_take(r) == 1)
			CHECK_EQ(r->chain.id, i);
	FAULT(r, VHL_FAULT_AVAIL_JUMP);
	rig_free(r);
}

/* An index that goes back while the ring has chains of the last look at it */
TEST(avail_backwards_later)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int i;
	int ret;

	for (i = 0; i < 4; i++) {
		drv_chain(r, i, &one, 1);
		drv_avail(r, i);
	}
	drv_show(r);
	TAKE(r, 0, &one, 1);
	r->avail->idx = 0;
	for (i = 0; (ret = rig_take(r)) == 1 && i < 10; i++)
		;
	CHECK(i <= 3);
	FAULT(r, VHL_FAULT_AVAIL_JUMP);
	rig_free(r);
}

/* A driver that spoils whatever was read, on the completing side, too */
static void spoil(const volatile void *p, unsigned long size)
{
	volatile u8 *byte = (volatile u8 *)p;

	while (size--)
		*byte++ = 0xff;
}

TEST(nothing_is_read_twice_to_call)
{
	struct rig *r;
	int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		r = rig_new(4, 0, event_idx ? RIG_EVENT_IDX : 0);
		rig_push(r, 0, 0);
		CHECK(vhl_ring_publish(r->ring));
		drv_set_used_event(r, 1);
		rig_push(r, 1, 5);
		shim_after_read = spoil;
		CHECK(vhl_ring_publish(r->ring));
		shim_after_read = NULL;
		USED(r, 0, 0);
		USED(r, 1, 5);
		rig_free(r);
	}
}

static void all_faults(void)
{
	/* those that a device type finds, not the ring */
	static const bool others[VHL_FAULT_NR] = {
		[VHL_FAULT_NONE] = true,
		[VHL_FAULT_IN_FLIGHT] = true,
		[VHL_FAULT_REQUEST] = true,
	};

	rig_all_faults(others);
}

int main(int argc, char **argv)
{
	static struct tap_test last = { .name = "all_faults_were_seen", .fn = all_faults };

	return tap_main(argc, argv, &last);
}
