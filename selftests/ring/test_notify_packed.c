// SPDX-License-Identifier: GPL-2.0
/* Who is told of what in a packed ring: event suppression structures (virtio 1.2, section 2.8.14) */
#include <string.h>

#include <linux/kernel.h>
#include <asm/barrier.h>

#include "driver_packed.h"

#define ENABLE	VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE	VRING_PACKED_EVENT_FLAG_DISABLE
#define DESC	VRING_PACKED_EVENT_FLAG_DESC

static u32 device_says(const struct rig *r)
{
	return le32_to_cpu(*(__le32 *)r->device);
}

static u32 says(u16 place, u16 flags)
{
	return place | (u32)flags << 16;
}

/* Before anybody asked for kicks there need be none, and the driver can see that */
TEST(notify_at_start)
{
	unsigned int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct rig *r = rig_new(5, 3, event_idx ? RIG_EVENT_IDX : 0);
		u32 on = event_idx ? says(PLACE_WRAP | 3, DESC) : says(0, ENABLE);

		*(__le32 *)r->device = ~0U;
		rig_restart(r, r->cfg.base);
		CHECK_EQ(device_says(r), says(0, DISABLE));
		CHECK(!vhl_ring_ask_kick(r->ring));
		CHECK_EQ(device_says(r), on);
		vhl_ring_no_kicks(r->ring);
		CHECK_EQ(device_says(r), says(0, DISABLE));
		/* said once is enough: the driver reads that line with each kick */
		*(__le32 *)r->device = 0;
		vhl_ring_no_kicks(r->ring);
		CHECK_EQ(device_says(r), 0);
		rig_free(r);
	}
}

/* No event of long ago comes up again: no kick in many rounds while the device polls */
TEST(notify_old_event)
{
	struct rig *r = rig_new(3, 0, RIG_EVENT_IDX);
	unsigned int i;

	CHECK(!vhl_ring_ask_kick(r->ring));
	CHECK(drv_add(r, 1));
	vhl_ring_no_kicks(r->ring);
	for (i = 0; i < 100; i++) {
		rig_drain(r);
		CHECK(!drv_add(r, 1 + i % 3));
	}
	rig_free(r);
}

/* The event is where the chain will begin that is waited for, in its round */
TEST(notify_event_place)
{
	struct rig *r = rig_new(5, 0, RIG_EVENT_IDX);
	const struct buf two[] = { { RAM, 1, false }, { RAM, 2, true } };
	u16 at = PLACE_WRAP;
	unsigned int i;

	for (i = 0; i < 50; i++) {
		unsigned int n = 1 + i % 2;
		u16 old = drv_at(r);

		CHECK(!vhl_ring_ask_kick(r->ring));
		CHECK_EQ(device_says(r), says(at, DESC));
		drv_chain(r, 0, two, n);
		drv_post(r, 0);
		CHECK(drv_want_kick(r, old));
		TAKE(r, 0, two, n);
		at = place_add(r, at, n);
		/* one in flight is behind, one given back is not worth a kick if there are no more */
		CHECK_EQ(rig_take(r), 0);
		rig_rewind(r, 1);
		CHECK(!vhl_ring_ask_kick(r->ring));
		CHECK_EQ(device_says(r), says(at, DESC));
		TAKE(r, 0, two, n);
		rig_push(r, 0, 0);
		CHECK(vhl_ring_publish(r->ring) || i);
		USED(r, 0, 0);
	}
	rig_free(r);
}

/* DISABLE is off, DESC without EVENT_IDX and what is reserved are as good as ENABLE */
TEST(call_flags)
{
	static const struct {
		u16 flags;
		bool call;
	} cases[] = {
		{ ENABLE, true }, { DISABLE, false }, { DESC, true }, { 3, true },
		{ 0xfffc | ENABLE, true }, { 0xfffc | DISABLE, false }, { 0xfffc | 3, true },
	};
	unsigned int i, event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct rig *r = rig_new(7, 3, event_idx ? RIG_EVENT_IDX : 0);

		for (i = 0; i < 40; i++) {
			unsigned int c = i % ARRAY_SIZE(cases);

			if (event_idx && (cases[c].flags & 3) == DESC)
				continue;
			drv_set_event(r, i, cases[c].flags);
			drv_add(r, 1 + i % 7);
			rig_drain(r);
			CHECK_EQ(vhl_ring_publish(r->ring), cases[c].call);
			CHECK_EQ(vhl_ring_owes_call(r->ring, false), cases[c].call);
			CHECK(!vhl_ring_owes_call(r->ring, true));
		}
		rig_free(r);
	}
}

/* The first publication calls whatever the event says: it may be older than this device */
TEST(call_first)
{
	unsigned int i;

	for (i = 0; i < 10; i++) {
		struct rig *r = rig_new(5, 4, RIG_EVENT_IDX);

		drv_set_event(r, place_add(r, r->used, i), DESC);
		drv_add(r, 1);
		rig_drain(r);
		CHECK(vhl_ring_publish(r->ring));
		rig_restart(r, vhl_ring_base(r->ring));
		drv_add(r, 1);
		rig_drain(r);
		CHECK(vhl_ring_publish(r->ring));
		/* off is off */
		rig_restart(r, vhl_ring_base(r->ring));
		drv_no_calls(r);
		drv_add(r, 1);
		rig_drain(r);
		CHECK(!vhl_ring_publish(r->ring));
		rig_free(r);
	}
}

/* Each batch size, each distance of the event, from each place of a ring, in both rounds */
TEST(call_event)
{
	static const u16 nums[] = { 1, 2, 5, 8 };
	unsigned int s, start, batch, delta;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		const u16 num = nums[s];

		for (start = 0; start < 2U * num; start++) {
			for (batch = 0; batch <= num; batch++) {
				for (delta = 0; delta < 2U * num; delta++) {
					struct rig *r = rig_new(num, start, RIG_EVENT_IDX | RIG_NO_RAM);
					u32 id, len;

					guest_add(&r->guest, RAM, 100, RW);
					/* make the first publication, which is another matter */
					drv_add(r, 1);
					rig_drain(r);
					CHECK(vhl_ring_publish(r->ring));
					CHECK(drv_used(r, &id, &len));
					drv_set_event(r, place_add(r, r->used, delta), DESC);
					drv_add(r, batch);
					rig_drain(r);
					/* when the descriptor there is among the new ones */
					if (vhl_ring_publish(r->ring) != (delta < batch))
						tap_fail(__FILE__, __LINE__,
							 "ring of %u, from %u by %u, event %u on", num,
							 start, batch, delta);
					rig_free(r);
				}
			}
		}
	}
}

/* An event inside of a chain is reached with the chain */
TEST(call_event_in_a_chain)
{
	const struct buf bufs[] = { { RAM, 1, false }, { RAM, 2, true }, { RAM, 3, true } };
	unsigned int delta;

	for (delta = 0; delta < 8; delta++) {
		struct rig *r = rig_new(8, 6, RIG_EVENT_IDX);

		drv_add(r, 1);
		rig_drain(r);
		CHECK(vhl_ring_publish(r->ring));
		USED(r, 6, 0);
		drv_set_event(r, place_add(r, r->used, delta), DESC);
		drv_chain(r, 0, bufs, 3);
		drv_post(r, 0);
		TAKE(r, 0, bufs, 3);
		rig_push(r, 0, 0);
		CHECK_EQ(vhl_ring_publish(r->ring), delta < 3);
		rig_free(r);
	}
}

/* An event outside of the ring is nowhere, and harms nobody */
TEST(call_event_outside)
{
	static const u16 events[] = { 5, 6, 0x7fff, 0x8005, 0x8006, 0xffff };
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		struct rig *r = rig_new(5, 3, RIG_EVENT_IDX);

		drv_set_event(r, events[i], DESC);
		for (k = 0; k < 20; k++) {
			drv_add(r, 1 + k % 5);
			rig_drain(r);
			(void)!vhl_ring_publish(r->ring);
			(void)!vhl_ring_owes_call(r->ring, false);
		}
		CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
		rig_free(r);
	}
}

/* Nothing new, no call (but for the first) */
TEST(call_nothing_new)
{
	struct rig *r = rig_new(8, 7, RIG_EVENT_IDX);
	unsigned int i;

	drv_add(r, 1);
	rig_drain(r);
	CHECK(vhl_ring_publish(r->ring));
	USED(r, 7, 0);
	for (i = 0; i < 16; i++) {
		drv_set_event(r, place_add(r, r->used, i), DESC);
		CHECK(!vhl_ring_publish(r->ring));
		CHECK(!drv_pending(r));
	}
	rig_free(r);
}

/* As for a split ring: an event among the last descriptors of a round is waited for */
TEST(call_owed)
{
	static const u16 nums[] = { 1, 3, 8 };
	unsigned int s, start, delta, restarted;

	for (s = 0; s < ARRAY_SIZE(nums); s++) {
		for (start = 0; start < 2U * nums[s]; start++) {
			for (delta = 0; delta < 2U * nums[s]; delta++) {
				struct rig *r = rig_new(nums[s], start, RIG_EVENT_IDX);

				for (restarted = 0; restarted < 2; restarted++) {
					bool want = delta >= nums[s];

					/* what is not published is not owed yet */
					drv_set_event(r, r->avail, DESC);
					drv_add(r, 1);
					rig_drain(r);
					CHECK(!vhl_ring_owes_call(r->ring, false));
					CHECK(vhl_ring_publish(r->ring));
					CHECK(vhl_ring_owes_call(r->ring, false));
					if (restarted)
						rig_restart(r, vhl_ring_base(r->ring));
					drv_set_event(r, place_add(r, r->avail, delta), DESC);
					CHECK_EQ(vhl_ring_owes_call(r->ring, false), want);
					CHECK_EQ(vhl_ring_owes_call(r->ring, true), want);
				}
				rig_free(r);
			}
		}
	}
}

/* Barriers: as in test_notify_split.c, by what was stored when the ring came to one */
static struct {
	struct rig *r;
	u16 at;				/* of the descriptor in question */
	unsigned int stored;
	unsigned int rmb;
	unsigned int released;
	unsigned int reads;
	unsigned int early;
} order;

static u16 flags_at(u16 at)
{
	return le16_to_cpu(order.r->desc[at & PLACE_INDEX].flags);
}

static bool is_used_at(u16 at)
{
	return (flags_at(at) & (DESC_AVAIL | DESC_USED)) ==
	       (at & PLACE_WRAP ? DESC_AVAIL | DESC_USED : 0);
}

static void enable_barrier(enum shim_barrier kind)
{
	if (kind == SHIM_MB && device_says(order.r) >> 16 != DISABLE)
		order.stored++;
}

static void enable_read(const volatile void *p, unsigned long size)
{
	(void)size;
	if (p == (void *)&order.r->desc[order.at & PLACE_INDEX].len) {
		order.reads++;
		order.early += !order.stored;
	}
}

TEST(barrier_request_before_last_look)
{
	unsigned int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct rig *r = rig_new(8, 7, event_idx ? RIG_EVENT_IDX : 0);

		drv_add(r, 3);
		rig_drain(r);
		memset(&order, 0, sizeof(order));
		order.r = r;
		order.at = r->avail;
		shim_at_barrier = enable_barrier;
		shim_after_read = enable_read;
		CHECK(!vhl_ring_ask_kick(r->ring));
		shim_at_barrier = NULL;
		shim_after_read = NULL;
		CHECK(order.reads > 0);
		CHECK_EQ(order.early, 0);
		rig_free(r);
	}
}

/* The other descriptors of the batch are there, the first one is not */
static void publish_barrier(enum shim_barrier kind)
{
	const struct rig *r = order.r;

	if (kind == SHIM_RELEASE || kind == SHIM_WMB)
		order.released += !is_used_at(order.at) && is_used_at(place_add(r, order.at, 1)) &&
				  is_used_at(place_add(r, order.at, 2));
	if (kind == SHIM_MB)
		order.stored += is_used_at(order.at);
}

static void publish_read(const volatile void *p, unsigned long size)
{
	(void)size;
	if (p == order.r->driver) {
		order.reads++;
		order.early += !order.stored;
	}
}

TEST(barrier_batch_first_call)
{
	unsigned int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct rig *r = rig_new(8, 7, event_idx ? RIG_EVENT_IDX : 0);

		memset(&order, 0, sizeof(order));
		order.r = r;
		order.at = r->avail;
		drv_add(r, 3);
		rig_drain(r);
		shim_at_barrier = publish_barrier;
		shim_after_read = publish_read;
		CHECK(vhl_ring_publish(r->ring));
		shim_at_barrier = NULL;
		shim_after_read = NULL;
		CHECK_EQ(order.released, 1);
		CHECK(order.reads > 0);
		CHECK_EQ(order.early, 0);
		rig_free(r);
	}
}

static void take_barrier(enum shim_barrier kind)
{
	order.rmb += order.reads && (kind == SHIM_RMB || kind == SHIM_MB);
}

static void take_read(const volatile void *p, unsigned long size)
{
	const struct rig *r = order.r;

	(void)size;
	if (p == (void *)&r->desc[order.at & PLACE_INDEX].len)
		order.reads++;
	else if ((uintptr_t)p - (uintptr_t)r->desc < r->num * sizeof(*r->desc))
		order.early += !order.rmb;
}

TEST(barrier_flags_before_chain)
{
	const struct buf bufs[] = { { RAM, 1, false }, { RAM, 2, true }, { RAM, 3, true } };
	struct rig *r = rig_new(8, 7, 0);

	memset(&order, 0, sizeof(order));
	order.r = r;
	order.at = r->avail;
	drv_chain(r, 2, bufs, 3);
	drv_post(r, 2);
	shim_at_barrier = take_barrier;
	shim_after_read = take_read;
	CHECK_EQ(rig_take(r), 1);
	shim_at_barrier = NULL;
	shim_after_read = NULL;
	CHECK_EQ(order.reads, 1);
	CHECK_EQ(order.early, 0);
	rig_free(r);
}
