// SPDX-License-Identifier: GPL-2.0
/*
 * Naps where driver and device have a CPU each: what they do to the loads of sim_smp.c.
 */
#include "harness.h"
#include "sim_smp.h"

/* Real hardware, more or less; and an emulated machine, where exits are dear */
#define REAL(...)	{ .reap = 300, .kick = 1500, .call = 3000, .wake = 3000, .turn = 500, \
			  .serve = 700, .poll = 50000, __VA_ARGS__ }
#define EMULATED(...)	{ .reap = 20000, .kick = 60000, .call = 100000, .wake = 40000, \
			  .turn = 5000, .serve = 30000, .poll = 50000, __VA_ARGS__ }

static const unsigned int makes[] = { 300, 1200, 4800, 19200 };
static const unsigned int serves[] = { 200, 700, 2000, 5000, 10000, 20000, 50000 };

/* @i chooses one of makes[]; everything is slower by so much on the emulated machine */
static struct smp_load load(bool emulated, unsigned int depth, unsigned int i)
{
	struct smp_load real = REAL(.make = makes[i], .depth = depth);
	struct smp_load slow = EMULATED(.make = makes[i] * 20, .depth = depth);

	return emulated ? slow : real;
}

/* The same with one of serves[] */
static struct smp_load load_served(bool emulated, unsigned int depth, unsigned int i, unsigned int j)
{
	struct smp_load l = load(emulated, depth, i);

	l.serve = serves[j] * (emulated ? 20 : 1);
	return l;
}

static void show(const char *what, const struct smp_load *l, const struct smp_rates *with,
		 const struct smp_rates *without)
{
	tap_diag("%s: depth %u make %llu serve %llu: %llu ns, without naps %llu", what, l->depth,
		 (unsigned long long)l->make, (unsigned long long)l->serve,
		 (unsigned long long)with->ns, (unsigned long long)without->ns);
	tap_diag("  calls in 1000 %llu and %llu, device busy for %llu and %llu ns",
		 (unsigned long long)with->calls, (unsigned long long)without->calls,
		 (unsigned long long)with->busy, (unsigned long long)without->busy);
}

/*
 * A driver that waits for each request is not delayed, but for a peek now and then, which is one nap:
 * at first after 64 requests, then after twice as many each time, up to 4096
 */
TEST(moderation_smp_one_at_a_time)
{
	unsigned int i, j, emulated;
	u64 naps = 0;

	for (emulated = 0; emulated < 2; emulated++)
		for (i = 0; i < ARRAY_SIZE(makes); i++)
			for (j = 0; j < ARRAY_SIZE(serves); j++) {
				struct smp_load l = load_served(emulated, 1, i, j);
				struct smp_rates with = smp_measure(&l, 1000000);
				struct smp_rates without = smp_measure(&l, 0);

				naps = max(naps, with.naps);
				CHECK(without.naps == 0);
				CHECK(with.naps <= SMP_CHAINS / 4096 + 6);
				CHECK(with.ns <= without.ns + without.ns / 500);
			}
	tap_diag("%llu naps in %u requests at most", (unsigned long long)naps, SMP_CHAINS);
}

/* A stream whose calls slow it down does not show, since each chain is waited for: a peek finds it */
TEST(moderation_smp_hidden)
{
	unsigned int depth, i;

	for (depth = 16; depth <= 256; depth *= 2)
		for (i = 1; i < 3; i++) {
			struct smp_load l = load(false, depth, i);
			struct smp_rates with = smp_measure(&l, 1000000), without = smp_measure(&l, 0);

			show("hidden", &l, &with, &without);
			CHECK(without.calls > 800);
			CHECK(with.ns * 4 < without.ns * 3);
			CHECK(with.calls * 8 < without.calls);
			CHECK(with.busy * 3 < without.busy);
		}
}

/* The same where chains come too slowly for a poll */
TEST(moderation_smp_slow)
{
	struct smp_load l = load(true, 32, 2);
	struct smp_rates with = smp_measure(&l, 1000000), without = smp_measure(&l, 0);

	show("slow", &l, &with, &without);
	CHECK(with.ns * 5 < without.ns * 4);
	CHECK(with.calls * 3 < without.calls);
	CHECK(with.kicks * 20 < without.kicks);
}

/* Whatever the load: little is lost */
TEST(moderation_smp_never_much_worse)
{
	unsigned int depth, i, j, emulated, worse = 0, all = 0;
	u64 lost, worst = 0;

	for (emulated = 0; emulated < 2; emulated++)
		for (depth = 1; depth <= 256; depth *= 2)
			for (i = 0; i < ARRAY_SIZE(makes); i++)
				for (j = 0; j < ARRAY_SIZE(serves); j++) {
					struct smp_load l = load_served(emulated, depth, i, j);
					struct smp_rates with = smp_measure(&l, 1000000);
					struct smp_rates without = smp_measure(&l, 0);

					all++;
					if (with.ns <= without.ns)
						continue;
					lost = (with.ns - without.ns) * 1000 / without.ns;
					if (lost > 40) {
						show("worse", &l, &with, &without);
						worse++;
					}
					worst = max(worst, lost);
				}
	tap_diag("%llu of 1000 lost at worst, more than 40 with %u of %u loads",
		 (unsigned long long)worst, worse, all);
	/* those have two rhythms, a good one and a bad one, and naps end in one of them by chance */
	CHECK(worst <= 100);
	CHECK(worse <= all / 100);
}
