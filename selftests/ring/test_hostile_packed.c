// SPDX-License-Identifier: GPL-2.0
/* What a driver must not do, as far as only packed rings have it */
#include <errno.h>

#include <linux/kernel.h>

#include "driver_packed.h"

/* An id that is in flight: whether it comes next, after others, or a round later */
TEST(id_in_flight)
{
	unsigned int between;

	for (between = 0; between < 6; between++) {
		struct rig *r = rig_new(8, 5, 0);
		unsigned int i;

		drv_add(r, 1 + between);
		for (i = 0; i <= between; i++)
			CHECK_EQ(rig_take(r), 1);
		drv_raw(r, r->avail & PLACE_INDEX, RAM, 1, 5, drv_avail_flags(r->avail));
		FAULT(r, VHL_FAULT_IN_FLIGHT);
		CHECK_EQ(vhl_ring_inflight(r->ring), 1 + between);
		/* what is in flight can still be completed */
		for (i = 0; i <= between; i++)
			rig_push(r, (5 + i) % 8, i);
		CHECK(vhl_ring_publish(r->ring));
		for (i = 0; i <= between; i++)
			USED(r, (5 + i) % 8, i);
		CHECK_EQ(vhl_ring_inflight(r->ring), 0);
		rig_free(r);
	}
}

/* Also one that has been for longer than a count of 16 bits */
TEST(id_in_flight_for_long)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int i;

	drv_add(r, 1);
	CHECK_EQ(rig_take(r), 1);
	for (i = 0; i < 70000 && !tap_failed(); i++) {
		u16 at = place_add(r, PLACE_WRAP, 1 + i);

		drv_raw(r, at & PLACE_INDEX, RAM, 1, 1 + i % 3, drv_avail_flags(at));
		CHECK_EQ(rig_take(r), 1);
		rig_push(r, 1 + i % 3, 0);
		CHECK(vhl_ring_publish(r->ring));
		if (i % 1000 == 7 || i > 65530) {
			at = place_add(r, PLACE_WRAP, 2 + i);
			drv_raw(r, at & PLACE_INDEX, RAM, 1, 0, drv_avail_flags(at));
			CHECK_EQ(rig_take(r), -EINVAL);
			CHECK_EQ(r->ring->fault, VHL_FAULT_IN_FLIGHT);
			/* for the test alone: nothing else has changed */
			r->ring->fault = VHL_FAULT_NONE;
		}
	}
	rig_free(r);
}

/* Not before the driver can see that it was used: but then at once */
TEST(id_used_again)
{
	struct rig *r = rig_new(2, 1, 0);
	unsigned int i;

	for (i = 0; i < 10; i++) {
		drv_add(r, 1);
		CHECK_EQ(rig_take(r), 1);
		rig_push(r, r->chain.id, i);
		CHECK(vhl_ring_publish(r->ring));
		USED(r, r->chain.id, i);
	}
	rig_free(r);
}

/* More available than the ring holds, over and over: as many as there are ids, and no more */
TEST(available_for_ever)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		u16 at = place_add(r, PLACE_WRAP, i);

		drv_raw(r, at & PLACE_INDEX, RAM, 1, i, drv_avail_flags(at));
	}
	for (i = 0; i < 4; i++)
		CHECK_EQ(rig_take(r), 1);
	for (i = 0; i < 4; i++) {
		u16 at = place_add(r, PLACE_WRAP, 4 + i);

		drv_raw(r, at & PLACE_INDEX, RAM, 1, 3 - i, drv_avail_flags(at));
	}
	FAULT(r, VHL_FAULT_IN_FLIGHT);
	CHECK_EQ(vhl_ring_inflight(r->ring), 4);
	rig_free(r);
}

/* Chains as long as the ring that overtake each other end with the ids as well */
static void long_chains(bool in_order)
{
	const struct vhl_done done[] = { { .id = 0 }, { .id = 1 }, { .id = 2 } };
	struct rig *r = rig_new(3, 0, in_order ? RIG_IN_ORDER : 0);
	u32 mark = vhl_ring_mark(r->ring);
	unsigned int round, i;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 3; i++) {
			u16 at = place_add(r, PLACE_WRAP, 3 * round + i);

			drv_raw(r, at & PLACE_INDEX, RAM, 1, round,
				drv_avail_flags(at) | (i < 2 ? F_NEXT : 0));
		}
		CHECK_EQ(rig_take(r), 1);
		CHECK_EQ(r->chain.id, round);
	}
	CHECK_EQ(vhl_ring_inflight(r->ring), 3);
	if (in_order) {
		/* used at once, in however many rounds: the place is one in the ring all the same */
		vhl_ring_push(r->ring, done, 3);
		(void)!vhl_ring_publish(r->ring);
		CHECK_EQ(vhl_ring_base(r->ring), both_at(0));
		rig_free(r);
		return;
	}
	/* given back, they are what they are by now: the last one's flags are of another round */
	vhl_ring_rewind(r->ring, mark);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK(rig_take(r) >= 0 || r->ring->fault == VHL_FAULT_IN_FLIGHT);
	rig_free(r);
}

TEST(long_chains_for_ever)
{
	long_chains(false);
	long_chains(true);
}

/* Flags of the other round, or neither: nothing is there */
TEST(not_available)
{
	static const u16 none[] = { 0, DESC_USED, DESC_AVAIL | DESC_USED };
	unsigned int i, wrap;

	for (wrap = 0; wrap < 2; wrap++) {
		for (i = 0; i < ARRAY_SIZE(none); i++) {
			struct rig *r = rig_new(4, wrap ? 0 : 4, 0);
			u16 flags = wrap ? none[i] : none[i] ^ DESC_AVAIL ^ DESC_USED;

			drv_raw(r, 0, RAM, 1, 0, flags | 0x7f7f);
			CHECK(vhl_ring_empty(r->ring));
			CHECK_EQ(rig_take(r), 0);
			CHECK(!vhl_ring_ask_kick(r->ring));
			rig_free(r);
		}
	}
}

/* A driver that spoils whatever was read, when it comes to calls and to kicks */
static void spoil(const volatile void *p, unsigned long size)
{
	volatile u8 *byte = (volatile u8 *)p;

	if (drv_is_state(p))
		return;
	while (size--)
		*byte++ = 0xff;
}

TEST(nothing_is_read_twice_to_call)
{
	struct rig *r = rig_new(4, 0, RIG_EVENT_IDX);

	drv_add(r, 2);
	CHECK_EQ(rig_take(r), 1);
	CHECK_EQ(rig_take(r), 1);
	rig_push(r, 0, 0);
	CHECK(vhl_ring_publish(r->ring));
	drv_set_event(r, PLACE_WRAP | 1, VRING_PACKED_EVENT_FLAG_DESC);
	rig_push(r, 1, 5);
	shim_after_read = spoil;
	CHECK(vhl_ring_publish(r->ring));
	drv_set_event(r, PLACE_WRAP | 1, VRING_PACKED_EVENT_FLAG_DESC);
	CHECK(vhl_ring_owes_call(r->ring, true));
	shim_after_read = NULL;
	USED(r, 0, 0);
	USED(r, 1, 5);
	rig_free(r);
}

static void all_faults(void)
{
	/* those that a device type finds, and those that a packed ring cannot have */
	static const bool others[VHL_FAULT_NR] = {
		[VHL_FAULT_NONE] = true,
		[VHL_FAULT_AVAIL_JUMP] = true,
		[VHL_FAULT_NEXT] = true,
		[VHL_FAULT_INDIRECT_NESTED] = true,
		[VHL_FAULT_REQUEST] = true,
	};

	rig_all_faults(others);
}

int main(int argc, char **argv)
{
	static struct tap_test last = { .name = "all_faults_were_seen", .fn = all_faults };

	return tap_main(argc, argv, &last);
}
