// SPDX-License-Identifier: GPL-2.0
/* The log of what the device writes to the used ring: which parts of it, and when */
#include <linux/kernel.h>
#include <asm/barrier.h>

#include "driver_split.h"
#include "logged.h"

/* Used entries 0 to 510 are in the first page of the used ring, the last ones and the event in the third */
#define NUM	1024
#define EVENT	(4 + NUM * 8)
#define AT	0x7ff000ULL

/* Take the bits of the pages of the used ring, the first one in bit 0. No other page has any */
static unsigned int taken(struct logged *l)
{
	unsigned int bits = logged_take(l, AT, 3);

	CHECK(logged_is_empty(l));
	return bits;
}

/* What they return is of no interest here */
static void publish(struct logged *l)
{
	bool call = vhl_ring_publish(l->r->ring);

	(void)call;
}

static void ask_kick(struct logged *l)
{
	bool again = vhl_ring_ask_kick(l->r->ring);

	(void)again;
}

/* Each entry is in one page or, where it lies across, in two; a push shows nothing yet */
TEST(log_entries)
{
	struct logged l;
	unsigned int i;

	logged_new(&l, NUM, 0, RIG_EVENT_IDX, 0, AT);
	taken(&l);
	for (i = 0; i < NUM + 5; i++) {
		u32 at = 4 + i % NUM * 8;

		drv_add(l.r, 1);
		REQUIRE_EQ(rig_take(l.r), 1);
		CHECK_EQ(taken(&l), 0);
		rig_push(l.r, l.r->chain.id, 0);
		if (!CHECK_EQ(taken(&l), 1U << at / 4096 | 1U << (at + 7) / 4096))
			tap_diag("entry %u", i);
		publish(&l);
		CHECK_EQ(taken(&l), 1);
	}
	logged_free(&l);
}

/* Many at once, also around the end of the ring */
TEST(log_batches)
{
	static const struct {
		u16 base, n;
		unsigned int pages;
	} t[] = {
		{ 0, 1, 1 }, { 0, 511, 1 }, { 0, 512, 3 }, { 511, 1, 3 }, { 512, 100, 2 },
		{ 1020, 3, 2 }, { 1020, 4, 6 }, { 1023, 1, 6 }, { 1023, 2, 7 }, { 1023, 1024, 7 },
		{ 0, 1024, 7 }, { 512, 1024, 7 }, { 600, 424, 6 }, { 600, 425, 7 },
		{ 65535, 2, 7 },
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct vhl_done done[NUM] = { };
		struct logged l;

		logged_new(&l, NUM, t[i].base, 0, 0, AT);
		taken(&l);
		drv_add(l.r, t[i].n);
		for (k = 0; k < t[i].n; k++) {
			REQUIRE_EQ(rig_take(l.r), 1);
			done[k].id = l.r->chain.id;
		}
		vhl_ring_push(l.r->ring, done, t[i].n);
		if (!CHECK_EQ(taken(&l), t[i].pages))
			tap_diag("%u from %u on", t[i].n, t[i].base);
		publish(&l);
		CHECK_EQ(taken(&l), 1);
		logged_free(&l);
	}
}

/* What asks for kicks: the event or the flags, where they are stored at all */
TEST(log_notifications)
{
	unsigned int event_idx;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		struct logged l;

		logged_new(&l, NUM, 7, event_idx ? RIG_EVENT_IDX : 0, 0, AT);
		CHECK_EQ(taken(&l), 0);
		ask_kick(&l);
		CHECK_EQ(taken(&l), event_idx ? 1U << EVENT / 4096 : 1);
		vhl_ring_no_kicks(l.r->ring);
		CHECK_EQ(taken(&l), event_idx ? 0 : 1);
		/* is so already */
		vhl_ring_no_kicks(l.r->ring);
		CHECK_EQ(taken(&l), 0);
		(void)vhl_ring_empty(l.r->ring);
		(void)vhl_ring_owes_call(l.r->ring, false);
		CHECK_EQ(taken(&l), 0);
		logged_free(&l);
	}
}

/* The first store of a ring is one, too; and none is with no log, from any time on */
TEST(log_begins_and_ends)
{
	struct logged l;

	logged_new(&l, NUM, 0, 0, 0, AT);
	l.r->cfg.log = &l.log;
	CHECK_EQ(taken(&l), 0);
	rig_restart(l.r, 0);
	CHECK_EQ(taken(&l), 1);
	vhl_ring_set_log(l.r->ring, NULL);
	ask_kick(&l);
	drv_add(l.r, 1);
	rig_drain(l.r);
	publish(&l);
	CHECK_EQ(taken(&l), 0);
	vhl_ring_set_log(l.r->ring, &l.log);
	vhl_ring_no_kicks(l.r->ring);
	CHECK_EQ(taken(&l), 1);
	logged_free(&l);
}

static struct logged *seen;
static unsigned int at_release;
static u16 idx_then;

static void look(enum shim_barrier kind)
{
	if (kind != SHIM_RELEASE)
		return;
	at_release = taken(seen);
	idx_then = vhl16_to_cpu(seen->r->used->idx);
}

/* Entries are marked before the index that shows them is stored, the index after that */
TEST(log_before_the_index)
{
	struct logged l;

	logged_new(&l, NUM, 512, 0, 0, AT);
	drv_add(l.r, 1);
	REQUIRE_EQ(rig_take(l.r), 1);
	taken(&l);
	rig_push(l.r, l.r->chain.id, 0);
	seen = &l;
	shim_at_barrier = look;
	publish(&l);
	shim_at_barrier = NULL;
	CHECK_EQ(idx_then, 512);
	CHECK_EQ(at_release, 2);
	CHECK_EQ(taken(&l), 1);
	logged_free(&l);
}
