// SPDX-License-Identifier: GPL-2.0
#include "fuzz.h"

static void pick_desc(struct input *in, struct vring_desc *d, u16 num)
{
	u64 addr = pick_addr(in);
	u32 how = bits(in, 1);
	u32 len = pick_len(in);
	u16 flags = how & 7, next = bits(in, 1);

	/* a direct buffer is the most common thing, and mostly not the end of the chain */
	if (how & 0x18)
		flags &= ~F_INDIRECT;
	if (how & F_INDIRECT && how & 0x20)
		flags &= ~F_NEXT;
	if ((how & 0xc0) == 0xc0)
		next = bits(in, 2);
	else if (how & 0x40)
		next %= min_t(u16, num, 64);
	table_set(d, addr, len, flags, next);
}

void fuzz_memory(struct input *in, struct rig *r, u32 tables)
{
	unsigned int i;

	for (i = 0; i < r->num && i < 64; i++)
		pick_desc(in, &r->desc[i], r->num);
	for (i = 0; i < tables; i++) {
		struct vring_desc d;
		u32 at = bits(in, 1);

		pick_desc(in, &d, 32);
		/* the adjacent readable regions have room for 256 descriptors */
		guest_write(&r->guest, 0x1000 + at * 16, &d, sizeof(d));
	}
	for (i = 0; i < r->num && i < 64; i++)
		r->avail->ring[i] = cpu_to_vhl16(bits(in, 1) % (r->num + !(i % 8)));
}

void fuzz_script(struct input *in, struct rig *r)
{
	unsigned int held = 0, ops;
	bool dry = false, stuck = false;
	u16 dry_at = 0;

	for (ops = 0; in->left && ops < MAX_OPS; ops++) {
		u32 op = bits(in, 1), arg = op >> 4;
		u16 idx = vhl16_to_cpu(r->avail->idx), last = vhl_ring_base(r->ring);
		int ret;

		switch (op & 15) {
		case 0: case 1: case 2: case 3:
			ret = take(r);
			dry = !ret;
			dry_at = last;
			stuck = ret < 0 && ret != -ENOSPC;
			if (ret == 1)
				held++;
			if (vhl_ring_base(r->ring) != (u16)(last + (ret == 1)))
				broken("the index is wrong");
			if (!ret && idx != last)
				broken("no chain where there is one");
			break;
		case 4:
			r->avail->idx = cpu_to_vhl16(idx + 1 + arg % r->num);
			break;
		case 5:
			r->avail->idx = cpu_to_vhl16(arg ? last + 1U : bits(in, 2));
			break;
		case 6:
			if (!held)
				break;
			rig_push(r, r->chain.id, bits(in, 1));
			held--;
			break;
		case 7:
			if (vhl_ring_publish(r->ring) && !r->event_idx &&
			    vhl16_to_cpu(r->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT)
				broken("a call that was not wanted");
			break;
		case 8:
			arg = arg > held ? held : arg;
			/* the driver may have moved its index back meanwhile */
			rig_rewind(r, arg);
			held -= arg;
			break;
		case 9:
			if (vhl_ring_ask_kick(r->ring) != (idx != (dry ? dry_at : last)) &&
			    !r->ring->fault)
				broken("chains that are there are not seen");
			break;
		case 10:
			vhl_ring_no_kicks(r->ring);
			break;
		case 11:
			pick_desc(in, &r->desc[bits(in, 1) % r->num], r->num);
			break;
		case 12:
			r->avail->ring[bits(in, 1) % (r->num + 1)] = cpu_to_vhl16(bits(in, 2));
			r->avail->flags = cpu_to_vhl16(arg);
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
			rig_restart(r, arg & 1 ? idx : last);
			held = 0;
			dry = stuck = false;
			break;
		}
		if (vhl_ring_inflight(r->ring) != held)
			broken("chains in flight are miscounted");
		last = vhl_ring_base(r->ring);
		if (vhl_ring_empty(r->ring) !=
		    (r->avail->idx == cpu_to_vhl16(dry ? dry_at : last)) && !r->ring->fault)
			broken("an empty ring is not");
	}
}
