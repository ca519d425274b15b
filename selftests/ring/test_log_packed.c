// SPDX-License-Identifier: GPL-2.0
/* The log of what the device writes to a packed ring: which parts of it, and when */
#include <linux/kernel.h>
#include <asm/barrier.h>

#include "driver_packed.h"
#include "logged.h"

/* Descriptors are in four pages, those of the event in one */
#define NUM	1024
#define DESC	0x10000ULL
#define EVENT	0x20000ULL

/* Take all bits: those of descriptors from bit 0 on, that of the event in bit 8 */
static unsigned int taken(struct logged *l)
{
	unsigned int bits = logged_take(l, DESC, 4) | logged_take(l, EVENT, 1) << 8;

	CHECK(logged_is_empty(l));
	return bits;
}

static unsigned int page_of(unsigned int desc)
{
	return 1U << desc % NUM * 16 / 0x1000;
}

/* The first of a batch is written, and marked, when that is published; the others before */
TEST(log_descriptors)
{
	static const struct {
		u16 base, n;
	} t[] = { { 0, 1 }, { 0, 2 }, { 255, 1 }, { 255, 2 }, { 200, 300 }, { 1023, 2 }, { 5, 1024 } };
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct vhl_done done[NUM] = { };
		unsigned int others = 0;
		struct logged l;

		logged_new(&l, NUM, t[i].base, 0, DESC, EVENT);
		taken(&l);
		drv_add(l.r, t[i].n);
		for (k = 0; k < t[i].n; k++) {
			REQUIRE_EQ(rig_take(l.r), 1);
			done[k].id = l.r->chain.id;
			if (k)
				others |= page_of(t[i].base + k);
		}
		CHECK_EQ(taken(&l), 0);
		rig_push_batch(l.r, done, t[i].n);
		if (!CHECK_EQ(taken(&l), others))
			tap_diag("%u from %u on", t[i].n, t[i].base);
		rig_publish(l.r);
		CHECK_EQ(taken(&l), page_of(t[i].base));
		logged_free(&l);
	}
}

/* Used in order: one descriptor is written for all that were only read */
TEST(log_in_order)
{
	struct vhl_done done[NUM] = { };
	struct logged l;
	unsigned int k;

	logged_new(&l, NUM, 100, RIG_IN_ORDER, DESC, EVENT);
	taken(&l);
	drv_add(l.r, 1000);
	for (k = 0; k < 1000; k++) {
		REQUIRE_EQ(rig_take(l.r), 1);
		done[k].id = l.r->chain.id;
	}
	rig_push_batch(l.r, done, 1000);
	CHECK_EQ(taken(&l), 0);
	rig_publish(l.r);
	CHECK_EQ(taken(&l), page_of(100));
	logged_free(&l);
}

TEST(log_events)
{
	unsigned int event_idx;
	bool again;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct logged l;

		logged_new(&l, NUM, 7, event_idx ? RIG_EVENT_IDX : 0, DESC, EVENT);
		CHECK_EQ(taken(&l), 0);
		again = vhl_ring_ask_kick(l.r->ring);
		CHECK(!again);
		CHECK_EQ(taken(&l), 0x100);
		vhl_ring_no_kicks(l.r->ring);
		CHECK_EQ(taken(&l), 0x100);
		/* is so already */
		vhl_ring_no_kicks(l.r->ring);
		CHECK_EQ(taken(&l), 0);
		vhl_ring_set_log(l.r->ring, NULL);
		again = vhl_ring_ask_kick(l.r->ring);
		CHECK(!again);
		CHECK_EQ(taken(&l), 0);
		logged_free(&l);
	}
}

/* The first store of a ring is one, too */
TEST(log_from_the_beginning)
{
	struct logged l;

	logged_new(&l, NUM, 0, 0, DESC, EVENT);
	l.r->cfg.log = &l.log;
	rig_restart(l.r, vhl_ring_base(l.r->ring));
	CHECK_EQ(taken(&l), 0x100);
	logged_free(&l);
}
