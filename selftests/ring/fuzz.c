// SPDX-License-Identifier: GPL-2.0
/*
 * The taking side against a driver that writes anything anywhere.
 *
 * An input is a string of choices: a ring, what its memory holds, then a script of what both
 * sides do.  The choices lean towards what is nearly right, since noise is refused at the door.
 * Run for a while on pseudo-random inputs, or by libFuzzer (make fuzz_split_lf fuzz_packed_lf).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define HUGE_AT		(1ULL << 40)
#define HUGE_SIZE	(6ULL << 30)

/* More regions, for the cache; in pairs of neighbours */
#define MANY		(1ULL << 41)
#define MANY_SIZE	0x100
#define MANY_REGIONS	8

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

u32 bits(struct input *in, unsigned int bytes)
{
	u32 v = 0;

	while (bytes-- && in->left) {
		v = v << 8 | *in->p++;
		in->left--;
	}
	return v;
}

u64 pick_addr(struct input *in)
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

u32 pick_len(struct input *in)
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

void broken(const char *what)
{
	fflush(stdout);
	fprintf(stderr, "fuzz: %s\n", what);
	abort();
}

/* The map changes between two turns; always of another backing */
void change_map(struct rig *r, u32 arg)
{
	if (arg & 1) {
		guest_del(&r->guest, many_at(arg >> 1));
		guest_add(&r->guest, many_at(arg >> 1), MANY_SIZE, RW);
	} else if (guest_find(&r->guest, layout[3].start)) {
		guest_del(&r->guest, layout[3].start);
	} else {
		guest_add(&r->guest, layout[3].start, layout[3].size, layout[3].perm);
	}
}

/* Take a chain; what is said of it must be true, whatever the format */
int take(struct rig *r)
{
	unsigned int room = r->cfg.segs.max, copies = r->guest.copies;
	u32 mark = vhl_ring_mark(r->ring);
	u16 inflight = vhl_ring_inflight(r->ring);
	const char *wrong;
	int ret = rig_take(r);

	faults_seen[rig_why(r, ret)] = true;
	if (ret == 1) {
		wrong = rig_wrong(r);
		if (wrong)
			broken(wrong);
		if (vhl_ring_taken(r->ring, mark) != 1 ||
		    vhl_ring_inflight(r->ring) != (u16)(inflight + 1))
			broken("the position did not move");
	} else if (vhl_ring_mark(r->ring) != mark || vhl_ring_inflight(r->ring) != inflight) {
		broken("the position moved without a chain");
	} else if (ret == -ENOSPC && !r->ring->fault && room < VHL_IOV_MAX) {
		rig_set_segs(r, room < 16 ? room + 1 : VHL_IOV_MAX);
	} else if (ret < 0 && ret != -ENOSPC &&
		   (!rig_why(r, ret) || rig_why(r, ret) >= VHL_FAULT_NR)) {
		broken("an error without a fault");
	} else if (ret == -ENXIO && !rig_miss_is_true(r)) {
		broken("a miss that is none");
	} else if (ret < 0 && (ret == -EINVAL) != !!r->ring->fault) {
		broken("a fault that may pass, or the other way round");
	} else if (!ret && r->ring->fault) {
		broken("no chain, but a fault");
	}
	/* each part of a table may lie in a few regions */
	if (r->guest.copies - copies > 4 * (VHL_IOV_MAX + 2))
		broken("too much work for one chain");
	return ret;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u16 nums[] = { FUZZ_NUMS };
	struct input in = { data, size };
	u32 shape = bits(&in, 1), tables = bits(&in, 1) & 63;
	u16 base = shape & 0x80 ? 65536 - (shape & 7) : bits(&in, 2);
	struct rig *r = rig_new(nums[shape % ARRAY_SIZE(nums)], base,
				RIG_NO_RAM | (shape & 8 ? RIG_EVENT_IDX : 0) |
				((shape & 0x70) == 0x70 ? RIG_NO_INDIRECT : 0) |
				(tables & 32 ? RIG_LOG : 0) |
				(shape & 1 ? RIG_IN_ORDER : 0));
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(layout); i++)
		guest_add(&r->guest, layout[i].start, layout[i].size, layout[i].perm);
	for (i = 0; i < MANY_REGIONS; i++)
		guest_add(&r->guest, many_at(i), MANY_SIZE, RW);
	/* for lengths; only translated, since nothing but tables is read */
	guest_add_at(&r->guest, HUGE_AT, HUGE_AT + HUGE_SIZE - 1, 1ULL << 45, VHL_MEM_WRITE);
	fuzz_memory(&in, r, tables & 31);
	rig_set_segs(r, shape & 0x40 ? VHL_IOV_MAX : 1 + (shape & 0xf));
	fuzz_script(&in, r);
	rig_free(r);
	return 0;
}

#ifndef VHL_LIBFUZZER

static struct tap_options opt = { .seconds = 5, .seed = 1 };
static u64 seed;

static void say_seed(void)
{
	fprintf(stderr, "fuzz: again with --seed %llu --count 1\n", seed);
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
