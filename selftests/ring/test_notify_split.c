// SPDX-License-Identifier: GPL-2.0
/* Who is told of what in a split ring: kicks, calls, flags and event indexes */
#include <string.h>

#include <linux/kernel.h>
#include <asm/barrier.h>

#include "driver_split.h"

/* Before anybody asked for kicks there need be none; with flags the driver can see that */
TEST(notify_at_start)
{
	struct rig *r = rig_new(4, 0, 0);

	CHECK_EQ(r->used->flags, cpu_to_vhl16(VRING_USED_F_NO_NOTIFY));
	CHECK(!vhl_ring_ask_kick(r->ring));
	CHECK_EQ(r->used->flags, 0);
	vhl_ring_no_kicks(r->ring);
	CHECK_EQ(r->used->flags, cpu_to_vhl16(VRING_USED_F_NO_NOTIFY));
	vhl_ring_no_kicks(r->ring);
	CHECK_EQ(r->used->flags, cpu_to_vhl16(VRING_USED_F_NO_NOTIFY));
	rig_free(r);
}

/* 2.7.10.2: with EVENT_IDX flags are 0, also where an older device left some */
TEST(notify_event_idx_flags_are_zero)
{
	struct rig *r = rig_new(4, 0, RIG_EVENT_IDX);

	r->used->flags = cpu_to_vhl16(VRING_USED_F_NO_NOTIFY);
	rig_restart(r, 0);
	CHECK_EQ(r->used->flags, 0);
	vhl_ring_no_kicks(r->ring);
	CHECK_EQ(r->used->flags, 0);
	CHECK(!vhl_ring_ask_kick(r->ring));
	vhl_ring_no_kicks(r->ring);
	CHECK_EQ(r->used->flags, 0);
	rig_free(r);
}

TEST(call_flags)
{
	struct rig *r = rig_new(8, 65533, 0);
	unsigned int i;

	for (i = 0; i < 20; i++) {
		/* other flags are not that flag */
		drv_set_flags(r, i & 1 ? VRING_AVAIL_F_NO_INTERRUPT | 0x100 : 0xfffe);
		drv_add(r, 1 + i % 8);
		rig_drain(r);
		CHECK_EQ(vhl_ring_publish(r->ring), !(i & 1));
	}
	rig_free(r);
}

/* Flags mean nothing with an event index, nor the event index without it */
TEST(call_flags_or_event)
{
	struct rig *r = rig_new(8, 0, RIG_EVENT_IDX);

	drv_set_flags(r, VRING_AVAIL_F_NO_INTERRUPT);
	drv_add(r, 2);
	rig_drain(r);
	CHECK(vhl_ring_publish(r->ring));
	drv_set_used_event(r, 2);
	drv_add(r, 1);
	rig_drain(r);
	CHECK(vhl_ring_publish(r->ring));
	rig_free(r);

	r = rig_new(8, 0, 0);
	drv_set_used_event(r, 0x8000);
	drv_add(r, 2);
	rig_drain(r);
	CHECK(vhl_ring_publish(r->ring));
	rig_free(r);
}

/* The first publication calls whatever the event says: it may be older than this device */
TEST(call_first)
{
	static const u16 events[] = { 0, 1, 0x7fff, 0x8000, 65534, 65535 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		struct rig *r = rig_new(8, 65535, RIG_EVENT_IDX);

		drv_set_used_event(r, events[i]);
		drv_add(r, 1);
		rig_drain(r);
		CHECK(vhl_ring_publish(r->ring));
		rig_restart(r, vhl_ring_base(r->ring));
		drv_add(r, 1);
		rig_drain(r);
		CHECK(vhl_ring_publish(r->ring));
		rig_free(r);
	}
}

/* Each batch size, each distance of the event from the index, around the wrap: as the model */
TEST(call_event_idx)
{
	static const u16 starts[] = { 0, 1, 0x7ff8, 0x7fff, 0x8000, 65520, 65535 };
	unsigned int s, batch;
	int delta;

	for (s = 0; s < ARRAY_SIZE(starts); s++) {
		for (batch = 0; batch <= 16; batch++) {
			for (delta = -40; delta <= 40; delta++) {
				struct rig *r = rig_new(16, starts[s] - 1,
							RIG_EVENT_IDX | RIG_NO_RAM);
				u16 old = starts[s], new = old + batch, event = old + delta;

				guest_add(&r->guest, RAM, 100, RW);
				/* make the first publication, which is another matter */
				drv_add(r, 1);
				rig_drain(r);
				CHECK(vhl_ring_publish(r->ring));
				drv_set_used_event(r, event);
				drv_add(r, batch);
				rig_drain(r);
				if (vhl_ring_publish(r->ring) != !!vring_need_event(event, new, old))
					tap_fail(__FILE__, __LINE__, "from %u by %u, event %u", old,
						 batch, event);
				/* in words: when the entry with that index is among the new ones */
				CHECK_EQ(!!vring_need_event(event, new, old),
					 delta >= 0 && delta < (int)batch);
				rig_free(r);
			}
		}
	}
}

/* A driver that wants a call every n entries gets one every n, over more than 2^16 */
TEST(call_event_idx_long)
{
	struct rig *r = rig_new(16, 65000, RIG_EVENT_IDX);
	struct rng rng = { 1 };
	unsigned int i, want = 0;
	u16 told = 65000, event = 0;

	for (i = 0; i < 40000 && !tap_failed(); i++) {
		u16 old = r->used_idx;
		unsigned int n = rng_below(&rng, 17);
		bool call;
		u32 id, len;

		drv_add(r, n);
		rig_drain(r);
		call = vhl_ring_publish(r->ring);
		if (i)
			CHECK_EQ(call, !!vring_need_event(event, r->avail_idx, told));
		told = r->avail_idx;
		while (drv_used(r, &id, &len))
			CHECK_EQ(id, old++ & 15);
		want += call;
		/* sometimes near, sometimes where it was, sometimes out of reach */
		switch (rng_below(&rng, 4)) {
		case 0:
			event = r->used_idx + rng_below(&rng, 20);
			break;
		case 1:
			event = r->used_idx - 1 - rng_below(&rng, 100);
			break;
		case 2:
			event = r->used_idx + 0x8000;
			break;
		}
		drv_set_used_event(r, event);
	}
	CHECK(want > 1000);
	rig_free(r);
}

/* Nothing new, no call (but for the first) */
TEST(call_nothing_new)
{
	struct rig *r = rig_new(8, 65535, RIG_EVENT_IDX);
	unsigned int i;

	drv_add(r, 1);
	rig_drain(r);
	CHECK(vhl_ring_publish(r->ring));
	for (i = 0; i < 5; i++) {
		drv_set_used_event(r, 65535 + i - 2);
		CHECK(!vhl_ring_publish(r->ring));
		CHECK_EQ(r->used->idx, 0);
	}
	rig_free(r);
}

/*
 * Published, and the call may have reached nobody: with an event among the last entries of a ring's
 * length the driver may be waiting, whoever published them; else it has looked since, or will
 */
TEST(call_owed_event_idx)
{
	static const u16 starts[] = { 0, 1, 0x7ff8, 0x8000, 65520, 65535 };
	unsigned int s, restarted;
	int delta;

	for (s = 0; s < ARRAY_SIZE(starts); s++) {
		for (delta = -40; delta <= 40; delta++) {
			struct rig *r = rig_new(16, starts[s] - 3, RIG_EVENT_IDX);
			bool want = delta < 0 && delta >= -16;

			for (restarted = 0; restarted < 2; restarted++) {
				drv_set_used_event(r, r->avail_idx - 1);
				drv_add(r, 3);
				rig_drain(r);
				/* what is not published is not owed yet */
				CHECK(vhl_ring_owes_call(r->ring, false));
				drv_set_used_event(r, r->avail_idx - 3);
				CHECK(!vhl_ring_owes_call(r->ring, false));
				CHECK(vhl_ring_publish(r->ring));
				if (restarted)
					rig_restart(r, vhl_ring_base(r->ring));
				drv_set_used_event(r, r->avail_idx + delta);
				if (!CHECK_EQ(vhl_ring_owes_call(r->ring, false), want) ||
				    !CHECK_EQ(vhl_ring_owes_call(r->ring, true), want))
					tap_diag("index %u, event %d", r->avail_idx, delta);
			}
			rig_free(r);
		}
	}
}

/* Without an event index the driver says only whether it wants calls at all */
TEST(call_owed_flags)
{
	struct rig *r = rig_new(8, 65533, 0);
	unsigned int i;

	for (i = 0; i < 20; i++) {
		drv_set_flags(r, i & 1 ? VRING_AVAIL_F_NO_INTERRUPT | 0x100 : 0xfffe);
		drv_set_used_event(r, r->avail_idx - 1 + i % 3);
		CHECK_EQ(vhl_ring_owes_call(r->ring, false), !(i & 1));
		CHECK(!vhl_ring_owes_call(r->ring, true));
		drv_add(r, 1 + i % 8);
		rig_drain(r);
		CHECK_EQ(vhl_ring_publish(r->ring), !(i & 1));
	}
	rig_free(r);
}

/*
 * Barriers.  Whether one is missing shows in a race only now and then, and on some CPUs never; so
 * look at what was stored when the ring came to it, and that it came there before it read on.
 */
static struct {
	struct rig *r;
	u16 before;			/* used index before the publication */
	unsigned int stored;		/* full barriers with the store in question done */
	unsigned int rmb;
	unsigned int released;		/* used entries in place, their index not yet moved */
	unsigned int reads;
	unsigned int early;		/* reads that came before their barrier */
} order;

static bool in(const volatile void *p, const void *area, size_t size)
{
	return (uintptr_t)p - (uintptr_t)area < size;
}

static void enable_barrier(enum shim_barrier kind)
{
	const struct rig *r = order.r;
	const __virtio16 *event = (const __virtio16 *)&r->used->ring[r->num];

	if (kind == SHIM_MB && (r->event_idx ? *event == cpu_to_vhl16(r->avail_idx) : !r->used->flags))
		order.stored++;
}

static void enable_read(const volatile void *p, unsigned long size)
{
	(void)size;
	if (p == &order.r->avail->idx) {
		order.reads++;
		order.early += !order.stored;
	}
}

TEST(barrier_request_before_last_look)
{
	unsigned int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct rig *r = rig_new(8, 65535, event_idx ? RIG_EVENT_IDX : 0);

		drv_add(r, 3);
		rig_drain(r);
		memset(&order, 0, sizeof(order));
		order.r = r;
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

static void publish_barrier(enum shim_barrier kind)
{
	const struct rig *r = order.r;
	u16 idx = vhl16_to_cpu(r->used->idx);

	if (kind == SHIM_RELEASE || kind == SHIM_WMB)
		order.released += idx == order.before;
	if (kind == SHIM_MB)
		order.stored += idx == r->avail_idx;
}

static void publish_read(const volatile void *p, unsigned long size)
{
	const struct rig *r = order.r;

	(void)size;
	if (p == (r->event_idx ? &r->avail->ring[r->num] : &r->avail->flags)) {
		order.reads++;
		order.early += !order.stored;
	}
}

TEST(barrier_entries_index_call)
{
	unsigned int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct rig *r = rig_new(8, 65535, event_idx ? RIG_EVENT_IDX : 0);

		/* the first publication looks at no event */
		drv_add(r, 1);
		rig_drain(r);
		CHECK(vhl_ring_publish(r->ring));
		drv_set_used_event(r, r->avail_idx);
		drv_add(r, 3);
		rig_drain(r);
		memset(&order, 0, sizeof(order));
		order.r = r;
		order.before = vhl16_to_cpu(r->used->idx);
		shim_at_barrier = publish_barrier;
		shim_after_read = publish_read;
		CHECK(vhl_ring_publish(r->ring));
		shim_at_barrier = NULL;
		shim_after_read = NULL;
		CHECK(order.released > 0);
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
	order.reads += p == &r->avail->idx;
	if (in(p, r->avail->ring, r->num * sizeof(*r->avail->ring)) ||
	    in(p, r->desc, r->num * sizeof(*r->desc)))
		order.early += !order.rmb;
}

TEST(barrier_index_before_entries)
{
	struct rig *r = rig_new(8, 65535, 0);

	drv_add(r, 3);
	memset(&order, 0, sizeof(order));
	order.r = r;
	shim_at_barrier = take_barrier;
	shim_after_read = take_read;
	CHECK_EQ(rig_take(r), 1);
	shim_at_barrier = NULL;
	shim_after_read = NULL;
	CHECK(order.reads > 0);
	CHECK_EQ(order.early, 0);
	rig_free(r);
}
