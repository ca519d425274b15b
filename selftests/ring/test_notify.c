// SPDX-License-Identifier: GPL-2.0
/* When a driver is asked to kick */
#include <linux/kernel.h>

#include "driver.h"

static void kicks(unsigned int flags)
{
	unsigned int round, n;

	for (n = 1; n <= 8; n++) {
		struct rig *r = rig_new(8, 65530, flags);

		for (round = 0; round < 20 && !tap_failed(); round++) {
			rig_drain(r);
			CHECK(!vhl_ring_ask_kick(r->ring));
			if (!CHECK(drv_add(r, n)))
				tap_diag("round %u of %u chains", round, n);
			vhl_ring_no_kicks(r->ring);
			rig_drain(r);
			/* the device is awake and polls: no kicks, batch after batch */
			CHECK(!drv_add(r, n));
			rig_drain(r);
			CHECK(!drv_add(r, 8));
			rig_drain(r);
		}
		rig_free(r);
	}
}

TEST(notify_flags)
{
	kicks(0);
}

TEST(notify_event_idx)
{
	kicks(RIG_EVENT_IDX);
}

/* With an event index only the first chain after the request is worth a kick */
TEST(notify_event_idx_once)
{
	struct rig *r = rig_new(8, 65533, RIG_EVENT_IDX);
	unsigned int i;

	CHECK(!vhl_ring_ask_kick(r->ring));
	CHECK(drv_add(r, 1));
	for (i = 0; i < 7; i++)
		CHECK(!drv_add(r, 1));
	rig_drain(r);
	for (i = 0; i < 100; i++) {
		CHECK(!vhl_ring_ask_kick(r->ring));
		CHECK(drv_add(r, 1 + i % 8));
		rig_drain(r);
	}
	rig_free(r);
}

/* The chain that comes between the last look and the request */
TEST(ask_kick_sees_late_chain)
{
	unsigned int event_idx, n;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		for (n = 1; n <= 8; n++) {
			struct rig *r = rig_new(8, 65532, event_idx ? RIG_EVENT_IDX : 0);

			CHECK_EQ(rig_take(r), 0);
			vhl_ring_no_kicks(r->ring);
			drv_add(r, n);
			CHECK(vhl_ring_ask_kick(r->ring));
			rig_drain(r);
			CHECK(!vhl_ring_ask_kick(r->ring));
			/* chains given back are chains */
			drv_add(r, 1);
			CHECK_EQ(rig_take(r), 1);
			CHECK(!vhl_ring_ask_kick(r->ring));
			rig_rewind(r, 1);
			CHECK(vhl_ring_ask_kick(r->ring));
			rig_free(r);
		}
	}
}

/* Waiting for more than what was seen and given back */
TEST(ask_kick_for_more)
{
	unsigned int event_idx, seen, more, i;

	for (event_idx = 0; event_idx < 2; event_idx++) {
		for (seen = 0; seen <= 4; seen++) {
			for (more = 1; more <= 4; more++) {
				struct rig *r = rig_new(8, 65533, event_idx ? RIG_EVENT_IDX : 0);

				drv_add(r, seen);
				for (i = 0; i < seen; i++)
					CHECK_EQ(rig_take(r), 1);
				CHECK_EQ(rig_take(r), 0);
				rig_rewind(r, seen);
				vhl_ring_no_kicks(r->ring);
				CHECK(!vhl_ring_ask_kick(r->ring));
				/* the very next one kicks */
				CHECK(drv_add(r, more));
				CHECK(!vhl_ring_empty(r->ring));
				CHECK(vhl_ring_ask_kick(r->ring));
				for (i = 0; i < seen + more; i++)
					CHECK_EQ(rig_take(r), 1);
				CHECK_EQ(rig_take(r), 0);
				CHECK(!vhl_ring_ask_kick(r->ring));
				/* now the device was full: they are worth another look */
				rig_rewind(r, seen + more);
				CHECK_EQ(rig_take(r), 1);
				rig_rewind(r, 1);
				CHECK(vhl_ring_ask_kick(r->ring));
				rig_free(r);
			}
		}
	}
}
