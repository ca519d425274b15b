// SPDX-License-Identifier: GPL-2.0
#include "flip.h"

static void flip16(__le16 *p, u16 v)
{
	__atomic_store_n(p, cpu_to_le16(v), __ATOMIC_RELAXED);
}

static void flip_desc(struct vring_packed_desc *d, struct rng *rng, bool in_table)
{
	u16 flags;

	switch (rng_below(rng, 4)) {
	case 0:
		__atomic_store_n(&d->addr, cpu_to_le64(flip_addr(rng)), __ATOMIC_RELAXED);
		break;
	case 1:
		__atomic_store_n(&d->len, cpu_to_le32(flip_len(rng)), __ATOMIC_RELAXED);
		break;
	case 2:
		/* mostly available, in one round or the other */
		flags = rng_below(rng, 4) ? 1U << (rng_below(rng, 2) ? 7 : 15) : rng_next(rng);
		flip16(&d->flags, flags | rng_below(rng, in_table || rng_below(rng, 2) ? 4 : 8));
		break;
	case 3:
		flip16(&d->id, rng_below(rng, 8) ? rng_below(rng, NUM) : rng_next(rng));
		break;
	}
}

void flip_one(struct rig *r, void *table, struct rng *rng)
{
	struct vring_packed_desc *in_table = table;

	switch (rng_below(rng, 8)) {
	case 0:
		flip16(rng_below(rng, 2) ? &r->driver->flags : &r->driver->off_wrap, rng_next(rng));
		break;
	case 1: case 2: case 3: case 4:
		flip_desc(&r->desc[rng_below(rng, NUM)], rng, false);
		break;
	default:
		flip_desc(&in_table[rng_below(rng, ENTRIES)], rng, true);
	}
}

/* There is no telling what the other thread makes available meanwhile */
unsigned int flip_show(struct rig *r, u64 turns)
{
	u16 place = vhl_ring_base(r->ring);
	u16 flags = drv_avail_flags(place) | turns % 8;

	flip16(&r->desc[place & PLACE_INDEX].flags, flags);
	return ~0U;
}

u32 flip_skip(const struct rig *r)
{
	return both_at(place_add(r, vhl_ring_base(r->ring), 1));
}
