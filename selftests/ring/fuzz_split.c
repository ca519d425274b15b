// SPDX-License-Identifier: GPL-2.0
/*
 * The taking side against a driver that writes anything anywhere.
 *
 * An input is a string of choices: a ring, what its memory holds, then a script of what both
 * sides do.  The choices lean towards what is nearly right, since noise is refused at the door.
 * Run for a while on pseudo-random inputs, or by libFuzzer (make fuzz_split_lf).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/kernel.h>

#include "driver_split.h"

#define MAX_OPS		200
#define HUGE_AT		(1ULL << 40)
#define HUGE_SIZE	(6ULL << 30)

/* More regions, for the cache; in pairs of neighbours */
#define MANY		(1ULL << 41)
#define MANY_SIZE	0x100
#define MANY_REGIONS	8

struct input {
	const u8 *p;
	size_t left;
};

static const struct {
	u64 start;
	size_t size;
	u32 perm;
} layout[] = {
	{ 0, 0x40, RW },
	{ 0x1000, 0x800, RW },
	{ 0x1800, 0x7f8, RW },			/* adjacent, ends within a descriptor */
	{ 0x1ff8, 0x108, VHL_MEM_READ },	/* adjacent */
	{ 0x8000, 0x200, VHL_MEM_WRITE },
	{ 0x8200, 0x100, 0 },			/* adjacent */
	{ -0x100ULL, 0x100, RW },		/* the end of the address space */
};

static u64 many_at(u32 i)
{
	i %= MANY_REGIONS;
	return MANY + (i / 2 * 16 + i % 2) * MANY_SIZE;
}

static u32 bits(struct input *in, unsigned int bytes)
{
	u32 v = 0;

	while (bytes-- && in->left) {
		v = v << 8 | *in->p++;
		in->left--;
	}
	return v;
}

static u64 pick_addr(struct input *in)
{
	u32 how = bits(in, 1);
	u32 i = how % ARRAY_SIZE(layout);

	switch (how >> 5) {
	case 0:
		return (u64)bits(in, 4) << 32 | bits(in, 4);
	case 1:
		return layout[i].start + layout[i].size - bits(in, 1) % 34;
	case 2:
		return HUGE_AT + bits(in, 2);
	case 3:
		return many_at(how) + bits(in, 1);
	default:
		return layout[i].start + bits(in, 1) * (how & 32 ? 16 : 1);
	}
}

static u32 pick_len(struct input *in)
{
	u32 how = bits(in, 1);

	switch (how >> 5) {
	case 0:
		return bits(in, 4);
	case 1:
		return 0;
	case 2:
		return bits(in, 2);
	case 3:
	case 4:
		return (how & 31) * 16;
	default:
		return how & 31;
	}
}

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

static void pick_memory(struct input *in, struct rig *r, u32 tables)
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

static void broken(const char *what)
{
	fflush(stdout);
	fprintf(stderr, "fuzz_split: %s\n", what);
	abort();
}

static void script(struct input *in, struct rig *r)
{
	unsigned int held = 0, ops;
	bool dry = false, stuck = false;
	u16 dry_at = 0;

	for (ops = 0; in->left && ops < MAX_OPS; ops++) {
		u32 op = bits(in, 1), arg = op >> 4, copies;
		u16 idx = vhl16_to_cpu(r->avail->idx), last = vhl_ring_base(r->ring);
		unsigned int room = r->cfg.segs.max;
		const char *wrong;
		int ret;

		switch (op & 15) {
		case 0: case 1: case 2: case 3:
			copies = r->guest.copies;
			ret = rig_take(r);
			dry = !ret;
			dry_at = last;
			stuck = ret < 0 && ret != -ENOSPC;
			faults_seen[rig_why(r, ret)] = true;
			if (ret == 1) {
				wrong = rig_wrong(r);
				if (wrong)
					broken(wrong);
				if (vhl_ring_base(r->ring) != (u16)(last + 1))
					broken("the index did not move");
				held++;
			} else if (vhl_ring_base(r->ring) != last) {
				broken("the index moved without a chain");
			} else if (ret == -ENOSPC && !r->ring->fault && room < VHL_IOV_MAX) {
				rig_set_segs(r, room < 16 ? room + 1 : VHL_IOV_MAX);
			} else if (stuck && (!rig_why(r, ret) || rig_why(r, ret) >= VHL_FAULT_NR)) {
				broken("an error without a fault");
			} else if (ret == -ENXIO && !rig_miss_is_true(r)) {
				broken("a miss that is none");
			} else if (ret < 0 && (ret == -EINVAL) != !!r->ring->fault) {
				broken("a fault that may pass, or the other way round");
			} else if (!ret && (r->ring->fault || idx != last)) {
				broken("no chain where there is one");
			}
			/* each part of a table may lie in a few regions */
			if (r->guest.copies - copies > 4 * (VHL_IOV_MAX + 2))
				broken("too much work for one chain");
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
			/* the map changes between two turns; always of another backing */
			if (arg & 1) {
				guest_del(&r->guest, many_at(arg >> 1));
				guest_add(&r->guest, many_at(arg >> 1), MANY_SIZE, RW);
			} else if (guest_find(&r->guest, layout[3].start)) {
				guest_del(&r->guest, layout[3].start);
			} else {
				guest_add(&r->guest, layout[3].start, layout[3].size, layout[3].perm);
			}
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

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u16 nums[] = { 1, 2, 4, 8, 16, 64, 2048 };
	struct input in = { data, size };
	u32 shape = bits(&in, 1), tables = bits(&in, 1) & 63;
	u16 base = shape & 0x80 ? 65536 - (shape & 7) : bits(&in, 2);
	struct rig *r = rig_new(nums[shape % ARRAY_SIZE(nums)], base,
				RIG_NO_RAM | (shape & 8 ? RIG_EVENT_IDX : 0) |
				((shape & 0x70) == 0x70 ? RIG_NO_INDIRECT : 0) |
				(tables & 32 ? RIG_LOG : 0));
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(layout); i++)
		guest_add(&r->guest, layout[i].start, layout[i].size, layout[i].perm);
	for (i = 0; i < MANY_REGIONS; i++)
		guest_add(&r->guest, many_at(i), MANY_SIZE, RW);
	/* for lengths; only translated, since nothing but tables is read */
	guest_add_at(&r->guest, HUGE_AT, HUGE_AT + HUGE_SIZE - 1, 1ULL << 45, VHL_MEM_WRITE);
	pick_memory(&in, r, tables & 31);
	rig_set_segs(r, shape & 0x40 ? VHL_IOV_MAX : 1 + (shape & 0xf));
	script(&in, r);
	rig_free(r);
	return 0;
}

#ifndef VHL_LIBFUZZER

static struct tap_options opt = { .seconds = 5, .seed = 1 };
static u64 seed;

static void say_seed(void)
{
	fprintf(stderr, "fuzz_split: again with --seed %llu --count 1\n", seed);
}

TEST(random_inputs)
{
	static u8 data[4096];
	u64 end = opt.seed + opt.count;
	time_t stop = time(NULL) + opt.seconds;
	unsigned int i, faults = 0;

	tap_timeout(opt.seconds + 120);
	for (seed = opt.seed; opt.count ? seed < end : seed % 64 || time(NULL) < stop; seed++) {
		struct rng rng = { seed };
		size_t size = 1 + rng_below(&rng, rng_below(&rng, 4) ? 800 : sizeof(data));
		u8 *copy = malloc(size);

		REQUIRE(copy);
		for (i = 0; i < size; i++)
			copy[i] = rng_next(&rng) >> 11;
		LLVMFuzzerTestOneInput(copy, size);
		free(copy);
	}
	for (i = 1; i < VHL_FAULT_NR; i++)
		faults += faults_seen[i];
	tap_diag("%llu inputs, seeds from %llu; %u faults of %u", seed - opt.seed, opt.seed, faults,
		 VHL_FAULT_NR - 1);
}

int main(int argc, char **argv)
{
	tap_options(argc, argv, &opt);
	tap_at_death(say_seed);
	return tap_main(1, argv, NULL);
}

#endif /* VHL_LIBFUZZER */
