// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that rewrites its descriptors, tables and avail entries while the ring reads them
 * (CVE-2020-14374 to 14378: what was checked is read again).  Another thread flips fields
 * between good and bad values; whatever the ring hands out must be good all the same.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <linux/kernel.h>

#include "driver_split.h"

#define NUM	16
#define TABLE	(RAM + 0x8000)
#define ENTRIES	48
#define RO	0x40000000ULL
#define WO	0x40001000ULL

static struct tap_options opt = { .seconds = 5, .seed = 1 };

struct flipper {
	struct rig *r;
	bool stop;
};

static void flip16(__virtio16 *p, u16 v)
{
	__atomic_store_n(p, cpu_to_vhl16(v), __ATOMIC_RELAXED);
}

static void flip_desc(struct vring_desc *d, struct rng *rng, u16 num, bool in_table)
{
	static const u64 addrs[] = {
		RAM, RAM + 64, RAM + RAM_SIZE - 8, RAM + RAM_SIZE, RO, RO + 0xff8, WO, WO + 8, WO + 0xff8,
		TABLE, TABLE + 16, 0, ~0ULL, ~0ULL - 8,
	};
	static const u32 lens[] = { 0, 1, 8, 16, 17, 32, ENTRIES * 16, 0x1000, 0x7fffffff, 0xffffffff };

	switch (rng_below(rng, 4)) {
	case 0:
		__atomic_store_n(&d->addr, cpu_to_le64(addrs[rng_below(rng, ARRAY_SIZE(addrs))]),
				 __ATOMIC_RELAXED);
		break;
	case 1:
		__atomic_store_n(&d->len, cpu_to_le32(lens[rng_below(rng, ARRAY_SIZE(lens))]),
				 __ATOMIC_RELAXED);
		break;
	case 2:
		flip16(&d->flags, rng_below(rng, in_table && rng_below(rng, 4) ? 4 : 8));
		break;
	case 3:
		flip16(&d->next, rng_below(rng, 8) ? rng_below(rng, num) : rng_next(rng));
		break;
	}
}

static void *flip(void *arg)
{
	struct flipper *f = arg;
	struct rig *r = f->r;
	struct vring_desc *table = guest_ptr(&r->guest, TABLE, ENTRIES * sizeof(*table));
	struct rng rng = { ~opt.seed };

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		switch (rng_below(&rng, 8)) {
		case 0:
			flip16(&r->avail->ring[rng_below(&rng, NUM + 1)],
			       rng_below(&rng, 4) ? rng_below(&rng, NUM) : rng_next(&rng));
			break;
		case 1: case 2: case 3:
			flip_desc(&r->desc[rng_below(&rng, NUM)], &rng, NUM, false);
			break;
		default:
			flip_desc(&table[rng_below(&rng, ENTRIES)], &rng, ENTRIES, true);
		}
	}
	return NULL;
}

TEST(driver_rewrites_everything)
{
	struct rig *r = rig_new(NUM, 65000, RIG_EVENT_IDX | RIG_LOG);
	struct flipper f = { .r = r };
	time_t stop = time(NULL) + opt.seconds;
	u64 good = 0, bad = 0, turns = 0;
	unsigned int i, faults = 0;
	pthread_t thread;

	tap_timeout(opt.seconds + 120);
	guest_add(&r->guest, RO, 0x1000, VHL_MEM_READ);
	guest_add(&r->guest, WO, 0x1000, VHL_MEM_WRITE);
	REQUIRE(!pthread_create(&thread, NULL, flip, &f));

	while (!tap_failed() && (opt.count ? turns < opt.count : turns % 256 || time(NULL) < stop)) {
		u16 idx = vhl_ring_base(r->ring) + 1 + turns % (NUM + (turns % 64 == 0));
		const char *wrong;
		int ret;

		turns++;
		flip16(&r->avail->idx, idx);
		while ((ret = rig_take(r)) == 1) {
			good++;
			wrong = rig_wrong(r);
			if (wrong) {
				tap_fail(__FILE__, __LINE__, "%s", wrong);
				break;
			}
			rig_push(r, r->chain.id, 0);
			/* another turn only for what was shown */
			if (!CHECK((u16)(idx - vhl_ring_base(r->ring)) <= NUM))
				break;
		}
		(void)!vhl_ring_publish(r->ring);
		if (ret < 0) {
			bad++;
			faults_seen[rig_why(r, ret)] = true;
			rig_restart(r, vhl_ring_base(r->ring) + 1);
		}
		if (turns % 64 == 0)
			sched_yield();
	}

	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (i = 1; i < VHL_FAULT_NR; i++)
		faults += faults_seen[i];
	tap_diag("%llu chains, %llu bad ones of %u kinds", good, bad, faults);
	CHECK(good > 0);
	CHECK(bad > 0);
	rig_free(r);
}

int main(int argc, char **argv)
{
	tap_options(argc, argv, &opt);
	return tap_main(1, argv, NULL);
}
