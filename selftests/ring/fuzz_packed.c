// SPDX-License-Identifier: GPL-2.0
#include "fuzz.h"

/* Chains that were taken, in that order: what the ring has to know of each */
struct held {
	u16 id;
	u16 descs;
};

static struct held held[1 << 12];
static unsigned int nr_held;

static void pick_desc(struct input *in, struct vring_packed_desc *d, u16 num, u16 avail)
{
	u64 addr = pick_addr(in);
	u32 how = bits(in, 1);
	u32 len = pick_len(in);
	u16 flags = how & 7, id = bits(in, 1);

	/* a direct buffer is the most common thing, and mostly the end of the chain */
	if (how & 0x18)
		flags &= ~F_INDIRECT;
	if (how & F_INDIRECT || how & 0x20)
		flags &= ~F_NEXT;
	if ((how & 0xc0) == 0xc0)
		id = bits(in, 2);
	else
		id %= num;
	table_set(d, addr, len, flags | avail, id);
}

static u16 place_of(u32 pos)
{
	return pos >> 16;
}

void fuzz_memory(struct input *in, struct rig *r, u32 tables)
{
	u16 place = vhl_ring_base(r->ring);
	unsigned int i;

	for (i = 0; i < r->num && i < 64; i++) {
		pick_desc(in, &r->desc[place & PLACE_INDEX], r->num,
			  i & 1 ? drv_avail_flags(place) : 0);
		place = place_add(r, place, 1);
	}
	for (i = 0; i < tables; i++) {
		struct vring_packed_desc d;
		u32 at = bits(in, 1);

		pick_desc(in, &d, 32, 0);
		/* the adjacent readable regions have room for 256 descriptors */
		guest_write(&r->guest, 0x1000 + at * 16, &d, sizeof(d));
	}
	nr_held = 0;
}

static bool is_avail(const struct rig *r, u16 place)
{
	u16 flags = le16_to_cpu(r->desc[place & PLACE_INDEX].flags);

	return (flags & (DESC_AVAIL | DESC_USED)) == drv_avail_flags(place);
}

static void forget(unsigned int i)
{
	nr_held--;
	for (; i < nr_held; i++)
		held[i] = held[i + 1];
}

static void take_one(struct rig *r, bool *dry, u16 *dry_at, bool *stuck)
{
	u16 place = place_of(vhl_ring_mark(r->ring));
	bool there = is_avail(r, place) || r->ring->fault;
	int ret = take(r);
	unsigned int i;
	u16 descs;

	*dry = !ret;
	*dry_at = place;
	*stuck = ret < 0 && ret != -ENOSPC;
	if (there == !ret)
		broken("no chain where there is one, or the other way round");
	if (ret != 1)
		return;
	for (i = 0; i < nr_held; i++)
		if (held[i].id == r->chain.id)
			broken("an id twice in flight");
	for (descs = 1; place_add(r, place, descs) != place_of(vhl_ring_mark(r->ring)); descs++)
		if (descs == r->num)
			broken("more descriptors than there are");
	held[nr_held++] = (struct held){ r->chain.id, descs };
}

/* Push some, from any one on. The used side moves by what they took */
static void push(struct rig *r, u32 which, unsigned int n, u32 len)
{
	u16 used = vhl_ring_base(r->ring) >> 16;
	struct vhl_done done[4];
	unsigned int i;

	which %= nr_held;
	n = min(n, nr_held - which);
	for (i = 0; i < n; i++) {
		done[i] = (struct vhl_done){ .id = held[which].id, .len = i & 1 ? len : 0 };
		used = place_add(r, used, held[which].descs);
		forget(which);
	}
	vhl_ring_push(r->ring, done, n);
	if (vhl_ring_base(r->ring) >> 16 != used)
		broken("the used side is somewhere else");
}

static void give_back(struct rig *r, u32 n, const u32 *marks)
{
	vhl_ring_rewind(r->ring, marks[nr_held - n]);
	nr_held -= n;
}

void fuzz_script(struct input *in, struct rig *r)
{
	/* where the last chains were taken, as far as none of them was pushed since */
	static u32 marks[ARRAY_SIZE(held) + 1];
	unsigned int ops, fresh = 0;
	bool dry = false, stuck = false;
	u16 dry_at = 0;

	for (ops = 0; in->left && ops < MAX_OPS; ops++) {
		u32 op = bits(in, 1), arg = op >> 4, flags;
		u16 place = place_of(vhl_ring_mark(r->ring));

		switch (op & 15) {
		case 0: case 1: case 2:
			marks[nr_held] = vhl_ring_mark(r->ring);
			flags = nr_held;
			take_one(r, &dry, &dry_at, &stuck);
			fresh += nr_held - flags;
			break;
		case 3:
			/* make it available, here or a little ahead */
			place = place_add(r, place, arg & 3);
			r->desc[place & PLACE_INDEX].flags &= cpu_to_le16(~(DESC_AVAIL | DESC_USED));
			r->desc[place & PLACE_INDEX].flags |= cpu_to_le16(drv_avail_flags(place));
			break;
		case 4: case 5:
			place = place_add(r, place, arg & 7);
			pick_desc(in, &r->desc[place & PLACE_INDEX], r->num, drv_avail_flags(place));
			break;
		case 6:
			if (!nr_held)
				break;
			flags = bits(in, 1);
			push(r, arg, 1 + flags % 4, flags);
			fresh = 0;
			break;
		case 7:
			flags = le16_to_cpu(r->driver->flags) & 3;
			if (vhl_ring_publish(r->ring) ? flags == VRING_PACKED_EVENT_FLAG_DISABLE :
			    flags != VRING_PACKED_EVENT_FLAG_DISABLE &&
			    !(r->event_idx && flags == VRING_PACKED_EVENT_FLAG_DESC))
				broken("a call that was not wanted, or none");
			break;
		case 8:
			arg = arg > fresh ? fresh : arg;
			if (!arg)
				break;
			give_back(r, arg, marks);
			fresh -= arg;
			break;
		case 9:
			if (vhl_ring_ask_kick(r->ring) != is_avail(r, dry ? dry_at : place))
				broken("chains that are there are not seen");
			break;
		case 10:
			vhl_ring_no_kicks(r->ring);
			break;
		case 11:
			/* whatever the place */
			pick_desc(in, &r->desc[bits(in, 1) % r->num], r->num, arg << 12 | arg << 7);
			break;
		case 12:
			drv_set_event(r, bits(in, 2), arg);
			(void)!vhl_ring_owes_call(r->ring, arg & 1);
			break;
		case 13:
			change_map(r, arg);
			break;
		case 14:
			guest_fault(&r->guest, 0x1000 + bits(in, 1), arg);
			break;
		case 15:
			if (!stuck)
				break;
			guest_fault(&r->guest, 0, 0);
			rig_restart(r, arg & 1 ? both_at(place_add(r, place, 1)) : both_at(place));
			nr_held = fresh = 0;
			dry = stuck = false;
			break;
		}
		if (vhl_ring_inflight(r->ring) != nr_held)
			broken("chains in flight are miscounted");
		place = place_of(vhl_ring_mark(r->ring));
		if (vhl_ring_empty(r->ring) == is_avail(r, dry ? dry_at : place))
			broken("an empty ring is not");
	}
	/* with nothing in flight both sides are at one place */
	if (stuck)
		return;
	while (nr_held)
		push(r, 0, 1, 0);
	if (vhl_ring_base(r->ring) >> 16 != (vhl_ring_base(r->ring) & 0xffff))
		broken("both sides are not where they were together");
}
