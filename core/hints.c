// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory of many regions: hints that spare most searches of the map. Plain C, also compiled
 * in userspace.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "mem.h"

/*
 * With four slots for a region those of equal size and distance, of which most maps are made,
 * seldom meet. At most 16 KiB, where the regions themselves take three times that.
 */
#define VHL_HINTS_PER_REGION	4
#define VHL_HINTS_MAX_BITS	11

const struct vhost_iotlb_map vhl_nowhere = { .start = 1, .last = 0 };

/* For maps where the region used last is hint enough; never written */
static const struct vhost_iotlb_map *no_hints[] = { &vhl_nowhere, &vhl_nowhere };

static unsigned int hints_bits(unsigned int regions)
{
	if (regions < 2)
		return ilog2(ARRAY_SIZE(no_hints));
	return min_t(unsigned int, order_base_2(regions) + ilog2(VHL_HINTS_PER_REGION),
		     VHL_HINTS_MAX_BITS);
}

bool vhl_hints_suffice(const struct vhl_hints *hints, unsigned int regions)
{
	return hints->down <= 32 - hints_bits(regions);
}

int vhl_hints_init(struct vhl_hints *hints, unsigned int regions)
{
	unsigned int bits = hints_bits(regions);

	*hints = (struct vhl_hints){ .slot = no_hints, .down = 32 - bits };
	if (regions < 2)
		return 0;
	hints->slot = kvmalloc_array(1U << bits, sizeof(*hints->slot), GFP_KERNEL_ACCOUNT);
	if (!hints->slot)
		return -ENOMEM;
	vhl_hints_forget(hints, 0);
	return 0;
}

void vhl_hints_free(struct vhl_hints *hints)
{
	if (hints->slot != no_hints)
		kvfree(hints->slot);
}

void vhl_hints_forget(struct vhl_hints *hints, unsigned int shift)
{
	u32 i, last = U32_MAX >> hints->down;

	hints->shift = shift;
	if (hints->slot == no_hints)
		return;
	for (i = 0; i <= last; i++)
		hints->slot[i] = &vhl_nowhere;
}

void vhl_hints_add(const struct vhl_hints *hints, u64 addr, const struct vhost_iotlb_map *map)
{
	const struct vhost_iotlb_map *first;
	u32 i = vhl_hints_index(hints, addr);

	if (hints->slot == no_hints)
		return;
	/* who was there moves to the neighbour; for a slot that was free nobody has to leave it */
	first = READ_ONCE(hints->slot[i]);
	if (first != &vhl_nowhere)
		WRITE_ONCE(hints->slot[i ^ 1], first);
	WRITE_ONCE(hints->slot[i], map);
}
