// SPDX-License-Identifier: GPL-2.0
/* Before there is a ring: what it takes, and that it needs no more */
#include <stdlib.h>

#include <linux/kernel.h>

#include "driver_packed.h"

#define EVENT_IDX	BIT_ULL(VIRTIO_RING_F_EVENT_IDX)
#define PACKED		BIT_ULL(VIRTIO_F_RING_PACKED)

static const u32 nums[] = { DRV_NUMS };

TEST(ring_num)
{
	static const u32 bad[] = { 0, 32769, 65535, 65536, 65537, 1U << 31, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++)
		CHECK(vhl_ring_num_ok(PACKED | EVENT_IDX, nums[i]));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(!vhl_ring_num_ok(PACKED | EVENT_IDX, bad[i]));
}

/* Of a ring whose size nobody knows yet any is good */
TEST(ring_base)
{
	CHECK(vhl_ring_base_ok(PACKED, 0));
	CHECK(vhl_ring_base_ok(PACKED, 0x80008000));
	CHECK(vhl_ring_base_ok(PACKED, ~0U));
	CHECK_EQ(vhl_ring_first_base(PACKED), 0x80008000);
}

/* All at once, as at a start: by then the features are final, and all of it is known */
TEST(ring_cfg)
{
	static const u64 good[VHL_RING_AREAS] = { 16, 4, 4 };
	/* the largest powers of two that are no multiple of what the areas have to be */
	static const u64 off[VHL_RING_AREAS] = { 8, 2, 2 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		u32 last = nums[i] - 1;

		CHECK(vhl_ring_cfg_ok(PACKED | EVENT_IDX, nums[i], 0x80008000, good));
		CHECK(vhl_ring_cfg_ok(PACKED, nums[i], 0, good));
		CHECK(vhl_ring_cfg_ok(PACKED, nums[i], 0x8000, good));
		CHECK(vhl_ring_cfg_ok(PACKED, nums[i], last << 16 | 0x8000 | last, good));
		if (nums[i] == 32768)
			continue;
		/* an index outside of the ring, on either side */
		CHECK(!vhl_ring_cfg_ok(PACKED, nums[i], nums[i], good));
		CHECK(!vhl_ring_cfg_ok(PACKED, nums[i], 0x8000 | nums[i], good));
		CHECK(!vhl_ring_cfg_ok(PACKED, nums[i], nums[i] << 16, good));
		CHECK(!vhl_ring_cfg_ok(PACKED, nums[i], ~0U, good));
	}
	CHECK(!vhl_ring_cfg_ok(PACKED, 0, 0, good));
	CHECK(!vhl_ring_cfg_ok(PACKED, 32769, 0, good));
	for (i = 0; i < VHL_RING_AREAS; i++) {
		u64 area[VHL_RING_AREAS] = { good[0], good[1], good[2] };

		area[i] += off[i];
		CHECK(!vhl_ring_cfg_ok(PACKED, 256, 0, area));
		area[i] += (1ULL << 63) + off[i];
		CHECK(vhl_ring_cfg_ok(PACKED, 256, 0, area));
	}
}

/* Virtio 1.2, section 2.8.10.1 */
TEST(ring_extents)
{
	unsigned int i, area;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		const struct vhl_ring_extent want[VHL_RING_AREAS] = {
			[VHL_RING_DESC] = { nums[i] * 16, 16, VHL_MEM_READ | VHL_MEM_WRITE },
			[VHL_RING_DRIVER] = { 4, 4, VHL_MEM_READ },
			[VHL_RING_DEVICE] = { 4, 4, VHL_MEM_WRITE },
		};

		for (area = 0; area < VHL_RING_AREAS; area++) {
			const struct vhl_ring_extent is = vhl_ring_extent(PACKED | EVENT_IDX, nums[i],
									  area);

			CHECK_EQ(is.size, want[area].size);
			CHECK_EQ(is.align, want[area].align);
			CHECK_EQ(is.perm, want[area].perm);
		}
	}
}

/* With areas of exactly that size, and no more than that aligned; three times around */
TEST(ring_stays_in_its_areas)
{
	unsigned int i, event_idx, area, round, k;

	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		for (event_idx = 0; event_idx < 2; event_idx++) {
			struct rig *r = rig_new(nums[i], 0, event_idx ? RIG_EVENT_IDX : 0);
			void *own[VHL_RING_AREAS] = { r->desc, r->driver, r->device };
			void *mem[VHL_RING_AREAS];

			for (area = 0; area < VHL_RING_AREAS; area++) {
				const struct vhl_ring_extent e = vhl_ring_extent(r->cfg.features,
										 nums[i], area);

				mem[area] = calloc(1, e.align + e.size);
				REQUIRE(mem[area]);
				r->cfg.area[area] = mem[area] + e.align;
			}
			r->desc = r->cfg.area[VHL_RING_DESC];
			r->driver = r->cfg.area[VHL_RING_DRIVER];
			r->device = r->cfg.area[VHL_RING_DEVICE];
			rig_restart(r, r->cfg.base);
			for (round = 0; round < 3; round++) {
				for (k = 0; k < nums[i]; k++)
					drv_add(r, 1);
				rig_drain(r);
				CHECK(!vhl_ring_ask_kick(r->ring));
				CHECK(vhl_ring_publish(r->ring));
				(void)!vhl_ring_owes_call(r->ring, false);
				vhl_ring_no_kicks(r->ring);
			}
			CHECK_EQ(vhl_ring_base(r->ring), both_at(PLACE_WRAP * (round & 1 ? 0 : 1)));
			r->desc = own[0];
			r->driver = own[1];
			r->device = own[2];
			for (area = 0; area < VHL_RING_AREAS; area++)
				free(mem[area]);
			rig_free(r);
		}
	}
}
