// SPDX-License-Identifier: GPL-2.0
/* Chains of a split ring: what is used already, and where its areas are */
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>

#include "driver_split.h"

static const struct buf one = { RAM + 0x10, 100, false };

/* A backend that reset finds an old used index; what was used before stays used */
TEST(init_takes_over)
{
	struct rig *r = rig_new(4, 100, 0);

	r->used->idx = cpu_to_vhl16(98);
	r->used_idx = 98;
	rig_restart(r, 100);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK_EQ(rig_take(r), 0);
	drv_chain(r, 3, &one, 1);
	drv_post(r, 3);
	TAKE(r, 3, &one, 1);
	CHECK_EQ(vhl_ring_inflight(r->ring), 1);
	rig_push(r, 3, 9);
	CHECK_EQ(vhl_ring_inflight(r->ring), 0);
	CHECK(vhl_ring_publish(r->ring));
	CHECK_EQ(r->used->idx, 99);
	USED(r, 3, 9);
	rig_free(r);
}

/* Areas at no more than the alignment of virtio 1.2, section 2.7 */
TEST(least_alignment)
{
	struct rig *r = rig_new(4, 0, RIG_EVENT_IDX);
	char *avail = calloc(1, 6 + 4 * 2 + 2), *used = calloc(1, 6 + 4 * 8 + 4);
	struct vring_avail *ring = (void *)(avail + 2);
	u32 id, len;

	REQUIRE(avail && used);
	r->cfg.area[VHL_RING_DRIVER] = ring;
	r->cfg.area[VHL_RING_DEVICE] = used + 4;
	rig_restart(r, 0);
	drv_chain(r, 1, &one, 1);
	ring->ring[0] = cpu_to_vhl16(1);
	ring->idx = cpu_to_vhl16(1);
	TAKE(r, 1, &one, 1);
	CHECK(!vhl_ring_ask_kick(r->ring));
	rig_push(r, 1, 3);
	CHECK(vhl_ring_publish(r->ring));
	memcpy(&id, used + 4 + 4, 4);
	memcpy(&len, used + 4 + 8, 4);
	CHECK_EQ(id, 1);
	CHECK_EQ(len, 3);
	free(avail);
	free(used);
	rig_free(r);
}

