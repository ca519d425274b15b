// SPDX-License-Identifier: GPL-2.0
#include "flip.h"

static void flip16(__virtio16 *p, u16 v)
{
	__atomic_store_n(p, cpu_to_vhl16(v), __ATOMIC_RELAXED);
}

static void flip_desc(struct vring_desc *d, struct rng *rng, u16 num, bool in_table)
{
	switch (rng_below(rng, 4)) {
	case 0:
		__atomic_store_n(&d->addr, cpu_to_le64(flip_addr(rng)), __ATOMIC_RELAXED);
		break;
	case 1:
		__atomic_store_n(&d->len, cpu_to_le32(flip_len(rng)), __ATOMIC_RELAXED);
		break;
	case 2:
		flip16(&d->flags, rng_below(rng, in_table && rng_below(rng, 4) ? 4 : 8));
		break;
	case 3:
		flip16(&d->next, rng_below(rng, 8) ? rng_below(rng, num) : rng_next(rng));
		break;
	}
}

void flip_one(struct rig *r, void *table, struct rng *rng)
{
	struct vring_desc *in_table = table;

	switch (rng_below(rng, 8)) {
	case 0:
		flip16(&r->avail->ring[rng_below(rng, NUM + 1)],
		       rng_below(rng, 4) ? rng_below(rng, NUM) : rng_next(rng));
		break;
	case 1: case 2: case 3:
		flip_desc(&r->desc[rng_below(rng, NUM)], rng, NUM, false);
		break;
	default:
		flip_desc(&in_table[rng_below(rng, ENTRIES)], rng, ENTRIES, true);
	}
}

unsigned int flip_show(struct rig *r, u64 turns)
{
	u16 n = 1 + turns % (NUM + (turns % 64 == 0));

	flip16(&r->avail->idx, vhl_ring_base(r->ring) + n);
	return n;
}

u32 flip_skip(const struct rig *r)
{
	return (u16)(vhl_ring_base(r->ring) + 1);
}
