// SPDX-License-Identifier: GPL-2.0
/*
 * Driver and device on two CPUs, each asleep whenever it may be: every chain arrives as it was
 * posted, and no kick and no call is lost.  One that is lost stops both, and the test with them.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <linux/kernel.h>

#include "driver.h"

static struct tap_options opt = { .seconds = 4, .seed = 1 };

struct pair {
	struct rig *r;
	u64 posted;			/* by the driver, with stop: all there will be */
	bool stop;
	/* wake-ups so far: what an eventfd counts */
	u64 kicks;
	u64 calls;
	u64 sleeps;
	u64 naps;
};

static void ring_bell(u64 *bell)
{
	__atomic_fetch_add(bell, 1, __ATOMIC_SEQ_CST);
}

/* Sleep until the bell has rung since it was at *seen; quick, to meet the races */
static void await_bell(u64 *bell, u64 *seen)
{
	unsigned int spins = 0;
	u64 now;

	while ((now = __atomic_load_n(bell, __ATOMIC_ACQUIRE)) == *seen)
		if (++spins > 2000)
			sched_yield();
	*seen = now;
}

static u32 len_of(u64 i)
{
	return 1 + i % 4000;
}

/* What the rig notes of chains is the driver's here */
static void push(struct rig *r, u16 id, u32 len)
{
	const struct vhl_done done = { .id = id, .len = len };

	vhl_ring_push(r->ring, &done, 1);
}

static void *device(void *arg)
{
	struct pair *p = arg;
	struct rig *r = p->r;
	u64 got = 0, seen = 0;

	for (;;) {
		unsigned int pushed = 0;
		int ret;

		vhl_ring_no_kicks(r->ring);
		while ((ret = vhl_ring_take(r->ring, &r->chain)) == 1) {
			const char *wrong = rig_wrong(r);

			if (wrong || r->chain.out_len != len_of(got)) {
				tap_fail(__FILE__, __LINE__, "chain %llu: %s", got,
					 wrong ? wrong : "another chain");
				return NULL;
			}
			push(r, r->chain.id, r->chain.out_len);
			got++;
			if (++pushed % (1 + got % 7) == 0 && vhl_ring_publish(r->ring))
				ring_bell(&p->calls);
		}
		if (ret < 0) {
			tap_fail(__FILE__, __LINE__, "%s", vhl_ring_fault_name(r->ring->fault));
			return NULL;
		}
		if (pushed && vhl_ring_publish(r->ring))
			ring_bell(&p->calls);
		if (vhl_ring_ask_kick(r->ring))
			continue;
		if (__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE) && got == p->posted)
			return NULL;
		p->naps++;
		await_bell(&p->kicks, &seen);
	}
}

static void drive(struct pair *p)
{
	struct rig *r = p->r;
	time_t stop = time(NULL) + (opt.seconds + 1) / 2;
	struct rng rng = { opt.seed };
	u64 posted = 0, used = 0, seen = 0;

	while (!tap_failed() &&
	       (opt.count ? posted < opt.count : posted % 16 || time(NULL) < stop)) {
		unsigned int n = 1 + rng_below(&rng, 3);
		u16 old = drv_at(r);
		u32 id, len;

		while (n-- && posted - used < r->num) {
			u16 head = posted % r->num;
			const struct buf b = { RAM, len_of(posted), false };

			drv_chain(r, head, &b, 1);
			drv_avail(r, head);
			posted++;
		}
		drv_show(r);
		if (drv_want_kick(r, old))
			ring_bell(&p->kicks);

		/* sometimes go on, sometimes wait until all, or some, came back */
		while (used < posted && (posted - used == r->num || rng_below(&rng, 4))) {
			if (drv_used(r, &id, &len)) {
				if (len != len_of(used) || id != used % r->num)
					tap_fail(__FILE__, __LINE__, "used entry %llu", used);
				used++;
				continue;
			}
			/* ask for a call, look once more, sleep */
			drv_ask_call(r);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			if (!drv_pending(r)) {
				p->sleeps++;
				await_bell(&p->calls, &seen);
			}
			drv_no_calls(r);
		}
	}
	p->posted = posted;
	__atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
	ring_bell(&p->kicks);
}

static void race(unsigned int flags)
{
	struct pair p = { .r = rig_new(DRV_NUM_RACE, 65000, flags) };
	pthread_t thread;

	tap_timeout(opt.seconds + 120);
	REQUIRE(!pthread_create(&thread, NULL, device, &p));
	drive(&p);
	pthread_join(thread, NULL);
	tap_diag("%llu chains, device slept %llu times, driver %llu times", p.posted, p.naps, p.sleeps);
	rig_free(p.r);
}

TEST(two_cpus_flags)
{
	race(0);
}

TEST(two_cpus_event_idx)
{
	race(RIG_EVENT_IDX);
}

int main(int argc, char **argv)
{
	tap_options(argc, argv, &opt);
	return tap_main(1, argv, NULL);
}
