// SPDX-License-Identifier: GPL-2.0
/*
 * Naps: what they do to the loads of sim.c, in the long run.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "model.h"
#include "sim.h"

/* A driver that waits for each request has no use for naps: hardly any are tried */
TEST(moderation_one_at_a_time)
{
	static const struct load loads[] = {
		LOAD(.make = 4000, .depth = 1),
		LOAD(.make = 4000, .depth = 1, .others = true),
		/* the next one comes sooner than the last one is done with */
		{ .make = 100, .reap = 100, .wake = 1000, .call = 4000, .serve = 2000, .depth = 1,
		  .others = true },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		struct rates with = sim_measure(&loads[i], 1000000), without = sim_measure(&loads[i], 0);

		tap_diag("load %u: %llu ns, without naps %llu; %llu naps", i,
			 (unsigned long long)with.ns, (unsigned long long)without.ns,
			 (unsigned long long)with.naps);
		CHECK(without.naps == 0);
		CHECK(with.naps < 200000 / 20);
		CHECK(with.ns <= without.ns + without.ns / 50);
	}
}

/* A stream becomes faster, and its notifications few */
TEST(moderation_stream)
{
	static const struct load loads[] = {
		LOAD(.make = 4000, .depth = 256),
		LOAD(.make = 4000, .depth = 256, .others = true),
		{ .make = 300, .reap = 100, .wake = 8000, .call = 4000, .serve = 400,
		  .depth = 4096 },
		{ .make = 20000, .reap = 10000, .wake = 8000, .call = 4000, .serve = 2000,
		  .depth = 32 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		struct rates with = sim_measure(&loads[i], 1000000), without = sim_measure(&loads[i], 0);

		tap_diag("load %u: %llu ns, without naps %llu; notes %llu and %llu in 1000", i,
			 (unsigned long long)with.ns, (unsigned long long)without.ns,
			 (unsigned long long)with.notes, (unsigned long long)without.notes);
		CHECK(with.ns < without.ns);
		CHECK(with.notes * 4 < without.notes);
	}
}

/* Whatever the depth, and whether or not it shows that the driver waits: little is lost */
TEST(moderation_never_much_worse)
{
	u64 lost = 0, worst = 0;
	unsigned int depth, others, make;

	for (depth = 1; depth <= 64; depth *= 2)
		for (others = 0; others < 2; others++)
			for (make = 250; make <= 64000; make *= 2) {
				struct load l = LOAD(.make = make, .depth = depth,
						     .others = others);
				struct rates with, without;

				with = sim_measure(&l, 1000000);
				without = sim_measure(&l, 0);
				if (with.ns <= without.ns)
					continue;
				lost = (with.ns - without.ns) * 1000 / without.ns;
				if (lost > worst)
					tap_diag("depth %u make %u others %u: %llu of 1000 lost",
						 depth, make, others, (unsigned long long)lost);
				worst = max(worst, lost);
			}
	CHECK(worst <= 63);
}

/* The CPU is not left idle by naps, even where they save so much that it would not be felt */
TEST(moderation_idle)
{
	struct sim s = { .l = { .make = 1000, .reap = 1000, .wake = 40000, .call = 4000, .serve = 2000,
			       .depth = 8, .max = 1000000 },
			 .now = 1 };

	vhl_moderation_init(&s.mod);
	sim_run(&s, 200000);
	tap_diag("idle for %llu of %llu us", (unsigned long long)s.idle / 1000,
		 (unsigned long long)s.now / 1000);
	CHECK(s.naps > 0);
	CHECK(s.idle < s.now / 20);
}

/* What comes by the hundred needs no naps */
TEST(moderation_plenty)
{
	struct load l = LOAD(.make = 1000, .depth = 2048, .late = 600);

	CHECK(sim_measure(&l, 1000000).naps == 0);
	l.late = 60;
	CHECK(sim_measure(&l, 1000000).naps > 0);
}

/* A stream that becomes faster does not pile up for as long as before */
TEST(moderation_shrinks)
{
	struct sim s = { .l = { .make = 16000, .reap = 1000, .wake = 8000, .call = 4000,
				.serve = 200, .depth = 65536, .max = 1000000 }, .now = 1 };
	u64 before;

	vhl_moderation_init(&s.mod);
	sim_run(&s, 100000);
	before = vhl_moderation_nap(&s.mod);
	CHECK(before > 0);
	s.l.make = 400;
	s.l.reap = 100;
	sim_run(&s, 100000);
	tap_diag("naps of %llu ns, then of %llu", (unsigned long long)before,
		 (unsigned long long)vhl_moderation_nap(&s.mod));
	CHECK(vhl_moderation_nap(&s.mod) < before / 2);
}

/* The limit is one, also when it changes */
TEST(moderation_limit)
{
	struct load l = LOAD(.make = 4000, .depth = 256);
	struct sim s = { .l = l, .now = 1 };
	struct rates r = sim_measure(&l, 50000);

	CHECK(r.naps > 0);
	CHECK(r.longest <= 50000);
	CHECK(sim_measure(&l, 4999).naps == 0);

	s.l.max = 1000000;
	vhl_moderation_init(&s.mod);
	sim_run(&s, 100000);
	CHECK(vhl_moderation_nap(&s.mod) > 50000);
	s.l.max = 50000;
	sim_run(&s, 10000);
	s.longest = 0;
	s.naps = 0;
	sim_run(&s, 100000);
	CHECK(s.naps > 1000);
	CHECK(s.longest <= 50000);
	s.l.max = 0;
	sim_run(&s, 10000);
	s.naps = 0;
	sim_run(&s, 100000);
	CHECK(s.naps == 0);
}

/* A stream that turns into one request at a time is not held up for long, and gets its naps back */
TEST(moderation_follows)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	u64 then;

	vhl_moderation_init(&s.mod);
	sim_run(&s, 100000);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
	s.l.depth = 1;
	s.avail = 0;
	then = s.naps;
	sim_run(&s, 10000);
	CHECK(s.naps - then < 500);
	s.l.depth = 256;
	sim_run(&s, 100000);
	then = s.notes;
	sim_run(&s, 100000);
	CHECK(s.notes - then < 100000 / 10);
}

/* One request a second, then a stream: what was slow is no measure for it */
TEST(moderation_quiet_spell)
{
	const struct load load = { .make = 4000, .reap = 1000, .wake = 8000, .call = 4000,
				   .serve = 2000, .depth = 8, .others = true, .max = 1000000 };
	struct sim s = { .l = load, .now = 1 };
	struct rates without = sim_measure(&load, 0);
	u64 then;

	vhl_moderation_init(&s.mod);
	s.l.depth = 1;
	s.l.make = 1000000000;
	sim_run(&s, 100);
	s.l = load;
	/* the epoch that has some of both, and a trial */
	sim_run(&s, 1000);
	then = s.now;
	sim_run(&s, 20000);
	CHECK(s.now - then < 20000 * (without.ns + without.ns / 10));
}

/* What else a busy machine does is no reason to give up: every 13 ms it takes 5 */
TEST(moderation_busy_machine)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	u64 stolen = 0;

	vhl_moderation_init(&s.mod);
	for (unsigned int i = 0; i < 10000; i++) {
		sim_run(&s, 100);
		if (s.now - stolen > 13000000) {
			/* while the device runs: it counts for the epoch, whatever that is */
			s.l.call += 5000000;
			sim_run(&s, 1);
			s.l.call -= 5000000;
			stolen = s.now;
		}
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 10);
}

/* Nor is it that the whole machine is four times as slow now and then, for a hundred epochs */
TEST(moderation_slow_spells)
{
	const struct load fast = LOAD(.make = 20000, .depth = 32, .max = 1000000);
	const struct load slow = { .make = 80000, .reap = 4000, .wake = 32000, .call = 16000,
				   .serve = 8000, .depth = 32, .max = 1000000 };
	struct sim s = { .l = fast, .now = 1 };

	vhl_moderation_init(&s.mod);
	sim_run(&s, 20000);
	s.notes = 0;
	s.served = 0;
	for (unsigned int i = 0; i < 20; i++) {
		s.l = i % 2 ? fast : slow;
		sim_run(&s, i % 2 ? 10000 : 2500);
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 8);
}

/* Nor what takes somewhat longer now and then, by chance */
TEST(moderation_chance)
{
	struct sim s = { .l = LOAD(.make = 20000, .depth = 32, .max = 1000000), .now = 1 };
	struct rng rng = { 1 };

	vhl_moderation_init(&s.mod);
	sim_run(&s, 20000);
	s.notes = 0;
	s.served = 0;
	for (unsigned int i = 0; i < 1000; i++) {
		s.l.make = 20000 + rng_below(&rng, 10000);
		sim_run(&s, 100);
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 12);
}

/* Nor that the machine is now fast and now slow, and naps seem better or worse by as much */
TEST(moderation_noise)
{
	struct sim s = { .l = LOAD(.make = 20000, .depth = 32, .max = 1000000), .now = 1 };
	const struct load fast = s.l;
	struct rng rng = { 1 };

	vhl_moderation_init(&s.mod);
	sim_run(&s, 20000);
	s.notes = 0;
	s.served = 0;
	for (unsigned int i = 0; i < 8000; i++) {
		unsigned int speed = 4 + rng_below(&rng, 12);

		s.l.make = fast.make * speed / 4;
		s.l.reap = fast.reap * speed / 4;
		s.l.wake = fast.wake * speed / 4;
		s.l.call = fast.call * speed / 4;
		s.l.serve = fast.serve * speed / 4;
		sim_run(&s, rng_below(&rng, 100));
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 8);
}

/* But what was noise says nothing of a stream that has none */
TEST(moderation_noise_ends)
{
	u64 worst = 0;

	for (unsigned int depth = 2; depth <= 16; depth *= 2)
		for (unsigned int make = 500; make <= 32000; make *= 2) {
			struct load calm = LOAD(.make = make, .depth = depth, .others = true,
						.max = 1000000);
			struct rates without = sim_measure(&calm, 0);
			struct sim s = { .l = calm, .now = 1 };
			struct rng rng = { 1 };
			u64 ns;

			vhl_moderation_init(&s.mod);
			for (unsigned int i = 0; i < 500; i++) {
				s.l.make = 200000 + rng_below(&rng, 2000000);
				sim_run(&s, 20);
			}
			s.l = calm;
			sim_run(&s, 100000);
			ns = s.now;
			sim_run(&s, 100000);
			ns = (s.now - ns) / 100000;
			if (ns > without.ns)
				worst = max(worst, (ns - without.ns) * 1000 / without.ns);
		}
	tap_diag("%llu of 1000 lost", (unsigned long long)worst);
	CHECK(worst <= 63);
}

/* The length that is best, not one that is merely better than none */
TEST(moderation_best_length)
{
	/* twelve chains take as long to make as a nap of 203 us; after 16 the driver waits */
	struct load l = LOAD(.make = 16000, .depth = 16, .others = true);
	struct rates with = sim_measure(&l, 1000000), without = sim_measure(&l, 0);

	tap_diag("%llu ns, without naps %llu", (unsigned long long)with.ns,
		 (unsigned long long)without.ns);
	CHECK(with.ns * 5 < without.ns * 4);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
