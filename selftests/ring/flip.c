// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that rewrites its descriptors, tables and what makes them available while the ring reads
 * them (CVE-2020-14374 to 14378: what was checked is read again).  Another thread flips fields
 * between good and bad values; whatever the ring hands out must be good all the same.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "flip.h"

static struct tap_options opt = { .seconds = 5, .seed = 1 };

struct flipper {
	struct rig *r;
	bool stop;
};

u64 flip_addr(struct rng *rng)
{
	static const u64 addrs[] = {
		RAM, RAM + 64, RAM + RAM_SIZE - 8, RAM + RAM_SIZE, RO, RO + 0xff8, WO, WO + 8, WO + 0xff8,
		TABLE, TABLE + 16, 0, ~0ULL, ~0ULL - 8,
	};

	return addrs[rng_below(rng, ARRAY_SIZE(addrs))];
}

u32 flip_len(struct rng *rng)
{
	static const u32 lens[] = { 0, 1, 8, 16, 17, 32, ENTRIES * 16, 0x1000, 0x7fffffff, 0xffffffff };

	return lens[rng_below(rng, ARRAY_SIZE(lens))];
}

static void *flip(void *arg)
{
	struct flipper *f = arg;
	void *table = guest_ptr(&f->r->guest, TABLE, ENTRIES * sizeof(struct vhl_table_desc));
	struct rng rng = { ~opt.seed };

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED))
		flip_one(f->r, table, &rng);
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
		unsigned int most = flip_show(r, turns), got = 0;
		const char *wrong;
		int ret;

		turns++;
		while (got <= most && (ret = rig_take(r)) == 1) {
			got++;
			good++;
			wrong = rig_wrong(r);
			if (wrong) {
				tap_fail(__FILE__, __LINE__, "%s", wrong);
				break;
			}
			rig_push(r, r->chain.id, 0);
		}
		/* no more than was shown, where one can tell */
		CHECK(got <= most);
		(void)!vhl_ring_publish(r->ring);
		if (ret < 0) {
			bad++;
			faults_seen[rig_why(r, ret)] = true;
			rig_restart(r, flip_skip(r));
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
