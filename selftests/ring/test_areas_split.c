// SPDX-License-Identifier: GPL-2.0
/* Before there is a ring: what it takes, and that it needs no more */
#include <stdlib.h>

#include <linux/kernel.h>
#include <linux/virtio_config.h>

#include "driver_split.h"

#define EVENT_IDX	BIT_ULL(VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT	BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC)

static const u32 nums[] = { 1, 2, 4, 256, 32768 };

TEST(ring_features)
{
	CHECK_EQ(vhl_ring_features(), EVENT_IDX | INDIRECT | BIT_ULL(VIRTIO_F_RING_PACKED));
}

TEST(ring_num)
{
	static const u32 bad[] = { 0, 3, 5, 255, 257, 32767, 32769, 65536, 1U << 31, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++)
		CHECK(vhl_ring_num_ok(EVENT_IDX, nums[i]));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(!vhl_ring_num_ok(EVENT_IDX, bad[i]));
}

TEST(ring_base)
{
	CHECK(vhl_ring_base_ok(0, 0));
	CHECK(vhl_ring_base_ok(0, 65535));
	CHECK(!vhl_ring_base_ok(0, 65536));
	CHECK(!vhl_ring_base_ok(0, ~0U));
	CHECK_EQ(vhl_ring_first_base(0), 0);
}

/* All at once, as at a start: by then the features are final, and all of it is known */
TEST(ring_cfg)
{
	static const u64 good[VHL_RING_AREAS] = { 16, 2, 4 };
	/* the largest powers of two that are no multiple of what the areas have to be */
	static const u64 off[VHL_RING_AREAS] = { 8, 1, 2 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		CHECK(vhl_ring_cfg_ok(EVENT_IDX, nums[i], 0, good));
		CHECK(vhl_ring_cfg_ok(0, nums[i], 65535, good));
	}
	CHECK(!vhl_ring_cfg_ok(0, 0, 0, good));
	CHECK(!vhl_ring_cfg_ok(0, 3, 0, good));
	CHECK(!vhl_ring_cfg_ok(0, 65536, 0, good));
	CHECK(!vhl_ring_cfg_ok(0, 256, 65536, good));
	for (i = 0; i < VHL_RING_AREAS; i++) {
		u64 area[VHL_RING_AREAS] = { good[0], good[1], good[2] };

		area[i] += off[i];
		CHECK(!vhl_ring_cfg_ok(0, 256, 0, area));
		area[i] += (1ULL << 63) + off[i];
		CHECK(vhl_ring_cfg_ok(0, 256, 0, area));
	}
}

/* Virtio 1.2, section 2.7: the event fields are there only with EVENT_IDX */
TEST(ring_extents)
{
	unsigned int i, event_idx;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		for (event_idx = 0; event_idx < 2; event_idx++) {
			const u64 features = INDIRECT | (event_idx ? EVENT_IDX : 0);
			const struct vhl_ring_extent want[VHL_RING_AREAS] = {
				[VHL_RING_DESC] = { nums[i] * 16, 16, VHL_MEM_READ },
				[VHL_RING_DRIVER] = { 4 + nums[i] * 2 + 2 * event_idx, 2,
						      VHL_MEM_READ },
				[VHL_RING_DEVICE] = { 4 + nums[i] * 8 + 2 * event_idx, 4,
						      VHL_MEM_WRITE },
			};
			unsigned int area;

			for (area = 0; area < VHL_RING_AREAS; area++) {
				const struct vhl_ring_extent is = vhl_ring_extent(features, nums[i],
										  area);

				CHECK_EQ(is.size, want[area].size);
				CHECK_EQ(is.align, want[area].align);
				CHECK_EQ(is.perm, want[area].perm);
			}
		}
	}
}

/* With areas of exactly that size, and no more than that aligned */
TEST(ring_stays_in_its_areas)
{
	unsigned int i, event_idx, area, round;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		for (event_idx = 0; event_idx < 2; event_idx++) {
			struct rig *r = rig_new(nums[i], 65535, event_idx ? RIG_EVENT_IDX : 0);
			struct vhl_ring_cfg *cfg = &r->cfg;
			void *mem[VHL_RING_AREAS];
			struct vring_avail *avail;
			struct vring_used *used;
			unsigned int k;

			for (area = 0; area < VHL_RING_AREAS; area++) {
				const struct vhl_ring_extent e = vhl_ring_extent(cfg->features, cfg->num,
										 area);

				mem[area] = calloc(1, e.align + e.size);
				REQUIRE(mem[area]);
				cfg->area[area] = mem[area] + e.align;
			}
			avail = cfg->area[VHL_RING_DRIVER];
			used = cfg->area[VHL_RING_DEVICE];
			used->idx = cpu_to_vhl16(65535);
			rig_restart(r, 65535);
			for (k = 0; k < nums[i]; k++)
				table_set(cfg->area[VHL_RING_DESC] + k * sizeof(struct vring_desc), RAM,
					  1, 0, 0);
			for (k = 0; k < nums[i]; k++)
				avail->ring[k] = cpu_to_vhl16(k);
			for (round = 0; round < 2; round++) {
				avail->idx = cpu_to_vhl16(65535 + nums[i] * (round + 1));
				rig_drain(r);
				CHECK(!vhl_ring_ask_kick(r->ring));
				(void)!vhl_ring_publish(r->ring);
				(void)!vhl_ring_owes_call(r->ring, false);
				vhl_ring_no_kicks(r->ring);
				CHECK_EQ(used->idx, avail->idx);
			}
			for (area = 0; area < VHL_RING_AREAS; area++)
				free(mem[area]);
			rig_free(r);
		}
	}
}
