// SPDX-License-Identifier: GPL-2.0
/*
 * Naps: a driver and a device that share a CPU, acted out. The driver makes a chain after the other
 * while it has the CPU, until it has as many in flight as it may; a kick gives the CPU to the
 * device at once, or after one more chain.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>

#include "driver_split.h"
#include "pace.h"

/* ns; those of a slow machine, so that the timer's are not all that counts */
struct load {
	u64 make;		/* the driver makes a chain */
	u64 reap;		/* and reads what became of it */
	u64 wake;		/* the device wakes up, or is left again */
	u64 call;		/* a call, taken by the driver */
	u64 serve;		/* the device serves a chain */
	unsigned int depth;	/* chains in flight at most */
	unsigned int late;	/* chains made while the device wakes up, 0 for one now and then */
	bool others;		/* somebody else uses the CPU when the driver waits */
	u64 max;		/* the longest nap */
};

struct sim {
	struct load l;
	struct vhl_pace pace;
	u64 now;
	u64 cpu;		/* ns of it that the device had the CPU */
	u64 notes;
	u64 kicks;
	unsigned int avail;	/* made, not taken */
	unsigned int done;	/* served, not read */
	u64 served;
	u64 naps;
	u64 longest;
	u64 idle;		/* ns of naps in which there was nothing to do for anybody */
};

/*
 * The driver has the CPU until @until, or until it is preempted because it kicked.
 *
 * Return: false when it waits for the device instead.
 */
static bool drive(struct sim *s, u64 until, bool kick)
{
	unsigned int more = 1 + (s->l.late ?: s->kicks++ % 2);

	while (s->now < until) {
		if (s->done) {
			s->done--;
			s->now += s->l.reap;
		} else if (s->avail < s->l.depth) {
			s->avail++;
			s->now += s->l.make;
			if (kick && !--more)
				return true;
		} else {
			return false;
		}
	}
	return true;
}

static void run(struct sim *s, u64 chains)
{
	enum vhl_woke woke = VHL_WOKE_KICK;

	for (chains += s->served; s->served < chains;) {
		u64 begun = s->now;

		s->now += s->l.wake;
		if (woke == VHL_WOKE_KICK)
			s->notes++;
		vhl_pace_wake(&s->pace, s->now, s->cpu, woke);
		vhl_pace_took(&s->pace, s->avail);
		s->now += s->avail * s->l.serve;
		s->served += s->avail;
		s->done += s->avail;
		if (s->avail) {
			s->notes++;
			s->now += s->l.call;
		}
		s->avail = 0;
		s->cpu += s->now - begun;

		if (s->pace.nap && !vhl_pace_in_vain(&s->pace)) {
			u64 end = s->now + s->pace.nap;

			s->naps++;
			s->longest = max(s->longest, s->pace.nap);
			vhl_pace_sleep(&s->pace, s->now, s->notes, s->l.max);
			woke = VHL_WOKE_NAP;
			if (!drive(s, end, false)) {
				if (!s->l.others && s->now < end) {
					woke = VHL_WOKE_IDLE;
					s->idle += end - s->now;
				}
				s->now = max(s->now, end);
			}
		} else {
			vhl_pace_sleep(&s->pace, s->now, s->notes, s->l.max);
			woke = VHL_WOKE_KICK;
			drive(s, U64_MAX, true);
		}
	}
}

struct rates {
	u64 ns;			/* per chain */
	u64 notes;		/* per 1000 chains */
	u64 naps;
	u64 longest;
};

static struct rates measure(const struct load *load, u64 max)
{
	const u64 n = 200000;
	struct sim s = { .l = *load, .now = 1 };
	struct rates r;

	s.l.max = max;
	vhl_pace_init(&s.pace);
	run(&s, n);
	r.ns = s.now / s.served;
	r.notes = s.notes * 1000 / s.served;
	r.naps = s.naps;
	r.longest = s.longest;
	return r;
}

/* The rest of an initializer of a struct load, with what it says otherwise */
#define LOAD(...) { USUAL, __VA_ARGS__ }
#define USUAL .reap = 1000, .wake = 8000, .call = 4000, .serve = 2000

/* Who waits for each request has no use for naps: hardly any are tried */
TEST(pace_one_at_a_time)
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
		struct rates with = measure(&loads[i], 1000000), without = measure(&loads[i], 0);

		tap_diag("load %u: %llu ns, without naps %llu; %llu naps", i,
			 (unsigned long long)with.ns, (unsigned long long)without.ns,
			 (unsigned long long)with.naps);
		CHECK(without.naps == 0);
		CHECK(with.naps < 200000 / 20);
		CHECK(with.ns <= without.ns + without.ns / 50);
	}
}

/* A stream becomes faster, and its notifications few */
TEST(pace_stream)
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
		struct rates with = measure(&loads[i], 1000000), without = measure(&loads[i], 0);

		tap_diag("load %u: %llu ns, without naps %llu; notes %llu and %llu in 1000", i,
			 (unsigned long long)with.ns, (unsigned long long)without.ns,
			 (unsigned long long)with.notes, (unsigned long long)without.notes);
		CHECK(with.ns < without.ns);
		CHECK(with.notes * 4 < without.notes);
	}
}

/* Whatever the depth, and whether or not it shows that the driver waits: little is lost */
TEST(pace_never_much_worse)
{
	u64 lost = 0, worst = 0;
	unsigned int depth, others, make;

	for (depth = 1; depth <= 64; depth *= 2)
		for (others = 0; others < 2; others++)
			for (make = 250; make <= 64000; make *= 2) {
				struct load l = LOAD(.make = make, .depth = depth,
						     .others = others);
				struct rates with, without;

				with = measure(&l, 1000000);
				without = measure(&l, 0);
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
TEST(pace_idle)
{
	struct sim s = { .l = { .make = 1000, .reap = 1000, .wake = 40000, .call = 4000, .serve = 2000,
			       .depth = 8, .max = 1000000 },
			 .now = 1 };

	vhl_pace_init(&s.pace);
	run(&s, 200000);
	tap_diag("idle for %llu of %llu us", (unsigned long long)s.idle / 1000,
		 (unsigned long long)s.now / 1000);
	CHECK(s.naps > 0);
	CHECK(s.idle < s.now / 20);
}

/* What comes by the hundred needs no naps */
TEST(pace_plenty)
{
	struct load l = LOAD(.make = 1000, .depth = 2048, .late = 600);

	CHECK(measure(&l, 1000000).naps == 0);
	l.late = 60;
	CHECK(measure(&l, 1000000).naps > 0);
}

/* A stream that becomes faster does not pile up for as long as before */
TEST(pace_shrinks)
{
	struct sim s = { .l = { .make = 16000, .reap = 1000, .wake = 8000, .call = 4000,
				.serve = 200, .depth = 65536, .max = 1000000 }, .now = 1 };
	u64 before;

	vhl_pace_init(&s.pace);
	run(&s, 100000);
	before = s.pace.nap;
	CHECK(before > 0);
	s.l.make = 400;
	s.l.reap = 100;
	run(&s, 100000);
	tap_diag("naps of %llu ns, then of %llu", (unsigned long long)before,
		 (unsigned long long)s.pace.nap);
	CHECK(s.pace.nap < before / 2);
}

/* The limit is one, also when it changes */
TEST(pace_limit)
{
	struct load l = LOAD(.make = 4000, .depth = 256);
	struct sim s = { .l = l, .now = 1 };
	struct rates r = measure(&l, 50000);

	CHECK(r.naps > 0);
	CHECK(r.longest <= 50000);
	CHECK(measure(&l, 4999).naps == 0);

	s.l.max = 1000000;
	vhl_pace_init(&s.pace);
	run(&s, 100000);
	CHECK(s.pace.nap > 50000);
	s.l.max = 50000;
	run(&s, 10000);
	s.longest = 0;
	s.naps = 0;
	run(&s, 100000);
	CHECK(s.naps > 1000);
	CHECK(s.longest <= 50000);
	s.l.max = 0;
	run(&s, 10000);
	s.naps = 0;
	run(&s, 100000);
	CHECK(s.naps == 0);
}

/* A stream that turns into one request at a time is not held up for long, and gets its naps back */
TEST(pace_follows)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	u64 then;

	vhl_pace_init(&s.pace);
	run(&s, 100000);
	CHECK(s.pace.nap > 0);
	s.l.depth = 1;
	s.avail = 0;
	then = s.naps;
	run(&s, 10000);
	CHECK(s.naps - then < 500);
	s.l.depth = 256;
	run(&s, 100000);
	then = s.notes;
	run(&s, 100000);
	CHECK(s.notes - then < 100000 / 10);
}

/* One request a second, then a stream: what was slow is no measure for it */
TEST(pace_quiet_spell)
{
	const struct load load = { .make = 4000, .reap = 1000, .wake = 8000, .call = 4000,
				   .serve = 2000, .depth = 8, .others = true, .max = 1000000 };
	struct sim s = { .l = load, .now = 1 };
	struct rates without = measure(&load, 0);
	u64 then;

	vhl_pace_init(&s.pace);
	s.l.depth = 1;
	s.l.make = 1000000000;
	run(&s, 100);
	s.l = load;
	/* the epoch that has some of both, and a trial */
	run(&s, 1000);
	then = s.now;
	run(&s, 20000);
	CHECK(s.now - then < 20000 * (without.ns + without.ns / 10));
}

/* What else a busy machine does is no reason to give up: every 13 ms it takes 5 */
TEST(pace_busy_machine)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	u64 stolen = 0;

	vhl_pace_init(&s.pace);
	for (unsigned int i = 0; i < 10000; i++) {
		run(&s, 100);
		if (s.now - stolen > 13000000) {
			/* while the device runs: it counts for the epoch, whatever that is */
			s.l.call += 5000000;
			run(&s, 1);
			s.l.call -= 5000000;
			stolen = s.now;
		}
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 10);
}

/* Nor is it that the whole machine is four times as slow now and then, for a hundred epochs */
TEST(pace_slow_spells)
{
	const struct load fast = LOAD(.make = 20000, .depth = 32, .max = 1000000);
	const struct load slow = { .make = 80000, .reap = 4000, .wake = 32000, .call = 16000,
				   .serve = 8000, .depth = 32, .max = 1000000 };
	struct sim s = { .l = fast, .now = 1 };

	vhl_pace_init(&s.pace);
	run(&s, 20000);
	s.notes = 0;
	s.served = 0;
	for (unsigned int i = 0; i < 20; i++) {
		s.l = i % 2 ? fast : slow;
		run(&s, i % 2 ? 10000 : 2500);
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 8);
}

/* Nor what takes somewhat longer now and then, by chance */
TEST(pace_chance)
{
	struct sim s = { .l = LOAD(.make = 20000, .depth = 32, .max = 1000000), .now = 1 };
	struct rng rng = { 1 };

	vhl_pace_init(&s.pace);
	run(&s, 20000);
	s.notes = 0;
	s.served = 0;
	for (unsigned int i = 0; i < 1000; i++) {
		s.l.make = 20000 + rng_below(&rng, 10000);
		run(&s, 100);
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 12);
}

/* Nor that the machine is now fast and now slow, and naps seem better or worse by as much */
TEST(pace_noise)
{
	struct sim s = { .l = LOAD(.make = 20000, .depth = 32, .max = 1000000), .now = 1 };
	const struct load fast = s.l;
	struct rng rng = { 1 };

	vhl_pace_init(&s.pace);
	run(&s, 20000);
	s.notes = 0;
	s.served = 0;
	for (unsigned int i = 0; i < 8000; i++) {
		unsigned int speed = 4 + rng_below(&rng, 12);

		s.l.make = fast.make * speed / 4;
		s.l.reap = fast.reap * speed / 4;
		s.l.wake = fast.wake * speed / 4;
		s.l.call = fast.call * speed / 4;
		s.l.serve = fast.serve * speed / 4;
		run(&s, rng_below(&rng, 100));
	}
	tap_diag("%llu notes for %llu chains", (unsigned long long)s.notes,
		 (unsigned long long)s.served);
	CHECK(s.notes < s.served / 8);
}

/* But what was noise says nothing of a stream that has none */
TEST(pace_noise_ends)
{
	u64 worst = 0;

	for (unsigned int depth = 2; depth <= 16; depth *= 2)
		for (unsigned int make = 500; make <= 32000; make *= 2) {
			struct load calm = LOAD(.make = make, .depth = depth, .others = true,
						.max = 1000000);
			struct rates without = measure(&calm, 0);
			struct sim s = { .l = calm, .now = 1 };
			struct rng rng = { 1 };
			u64 ns;

			vhl_pace_init(&s.pace);
			for (unsigned int i = 0; i < 500; i++) {
				s.l.make = 200000 + rng_below(&rng, 2000000);
				run(&s, 20);
			}
			s.l = calm;
			run(&s, 100000);
			ns = s.now;
			run(&s, 100000);
			ns = (s.now - ns) / 100000;
			if (ns > without.ns)
				worst = max(worst, (ns - without.ns) * 1000 / without.ns);
		}
	tap_diag("%llu of 1000 lost", (unsigned long long)worst);
	CHECK(worst <= 63);
}

/* The length that is best, not one that is merely better than none */
TEST(pace_best_length)
{
	/* twelve chains take as long to make as a nap of 203 us; after 16 the driver waits */
	struct load l = LOAD(.make = 16000, .depth = 16, .others = true);
	struct rates with = measure(&l, 1000000), without = measure(&l, 0);

	tap_diag("%llu ns, without naps %llu", (unsigned long long)with.ns,
		 (unsigned long long)without.ns);
	CHECK(with.ns * 5 < without.ns * 4);
}

/* Cycles of a sleep and a turn, all alike */
struct cycle {
	u64 sleep;
	u64 turn;
	u64 cpu;		/* that the worker uses in the turn */
	unsigned int chains;
	unsigned int notes;
	enum vhl_woke woke;
};

static void cycles(struct sim *s, const struct cycle *c, unsigned int n)
{
	while (n--) {
		vhl_pace_wake(&s->pace, s->now += c->sleep, s->cpu, c->woke);
		vhl_pace_took(&s->pace, c->chains);
		s->cpu += c->cpu;
		vhl_pace_sleep(&s->pace, s->now += c->turn, s->notes += c->notes, s->l.max);
	}
}

/* Where a queue does not come to nap, naps are neither judged nor made longer */
TEST(pace_no_verdict)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle awake = { .sleep = 5000, .turn = 5000, .cpu = 5000, .chains = 2,
				     .notes = 2 };
	u64 nap;

	vhl_pace_init(&s.pace);
	run(&s, 100000);
	nap = s.pace.nap;
	CHECK(nap > 0);
	cycles(&s, &awake, 1000);
	CHECK(s.pace.nap == nap);
}

/* A stream may pause; after it has ended nothing naps */
TEST(pace_pauses)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle late = { .sleep = 100000000, .turn = 5000, .cpu = 5000, .chains = 1,
				    .notes = 2 };
	u64 nap;

	vhl_pace_init(&s.pace);
	for (int i = 0; i < 100; i++) {
		run(&s, 5000);
		nap = s.pace.nap;
		cycles(&s, &late, 1);
	}
	CHECK(nap > 0);
	CHECK(s.pace.nap == nap);
	cycles(&s, &late, 10);
	CHECK(s.pace.nap == 0);
}

/* Naps that spare nobody anything are given up, however fast the stream is */
TEST(pace_no_use)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle c = { .sleep = 20000, .turn = 5000, .cpu = 5000, .chains = 3, .notes = 2 };

	vhl_pace_init(&s.pace);
	cycles(&s, &c, 20);
	CHECK(s.pace.nap > 0);
	c.sleep = 15000;
	c.woke = VHL_WOKE_EARLY;
	cycles(&s, &c, 20);
	CHECK(s.pace.nap == 0);
}

/* Naps that are few are judged, too, when there were enough of them */
TEST(pace_seldom)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle kick = { .sleep = 10000, .turn = 10000, .cpu = 10000, .chains = 1,
				    .notes = 2 };
	struct cycle nap = { .turn = 10000, .cpu = 10000, .chains = 1, .notes = 1,
			     .woke = VHL_WOKE_NAP };
	unsigned int i;

	vhl_pace_init(&s.pace);
	run(&s, 100000);
	nap.sleep = s.pace.nap;
	CHECK(nap.sleep > 0);
	for (i = 0; i < 100 && s.pace.nap; i++) {
		cycles(&s, &kick, 15);
		cycles(&s, &nap, 1);
	}
	tap_diag("given up after %u naps", i);
	CHECK(i < 20);
}

/* What a stream does with naps, and without; epochs are judged where they end */
static const struct cycle stream_plain = { .sleep = 20000, .turn = 10000, .cpu = 10000,
					   .chains = 3, .notes = 2 };
static const struct cycle stream_naps = { .sleep = 50000, .turn = 10000, .cpu = 10000,
					  .chains = 8, .notes = 1, .woke = VHL_WOKE_NAP };

/* @n epochs, of which the first may have a sleep more */
static void epochs(struct sim *s, const struct cycle *c, unsigned int n)
{
	cycles(s, c, n * 17);
}

/* A queue that has just begun, up to its first nap */
static void stream_begins(struct sim *s)
{
	vhl_pace_init(&s->pace);
	cycles(s, &stream_plain, 1);
	epochs(s, &stream_plain, 1);
}

/* An accident in the one epoch that is to tell does not speak for naps that are bad */
TEST(pace_accident)
{
	struct cycle bad = stream_naps, slow = stream_plain;
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };

	stream_begins(&s);
	CHECK(s.pace.nap > 0);
	bad.chains = 4;
	epochs(&s, &bad, 1);
	CHECK(s.pace.nap == 0);
	slow.turn = 200000;
	epochs(&s, &slow, 1);
	CHECK(s.pace.nap == 0);
	epochs(&s, &stream_plain, 1);
	CHECK(s.pace.nap == 0);

	/* twice is none */
	stream_begins(&s);
	epochs(&s, &bad, 1);
	epochs(&s, &slow, 2);
	CHECK(s.pace.nap > 0);
}

/* Now and then it is measured how it is without naps; at once where the stream is another one */
TEST(pace_measured_anew)
{
	struct sim s = { .l = { .max = 50000 }, .now = 1 };
	struct cycle fast = stream_naps;
	unsigned int i;

	stream_begins(&s);
	for (i = 0; i < 100 && s.pace.nap; i++)
		epochs(&s, &stream_naps, 1);
	tap_diag("after %u epochs", i);
	CHECK(i > 20 && i < 40);
	epochs(&s, &stream_plain, 1);
	CHECK(s.pace.nap > 0);
	epochs(&s, &stream_naps, 2);
	CHECK(s.pace.nap > 0);
	fast.chains = 30;
	epochs(&s, &fast, 1);
	CHECK(s.pace.nap == 0);
}

/* What is over before there is anything is not tried again shorter than it was */
TEST(pace_in_vain)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	const struct cycle plain = { .sleep = 100000, .turn = 5000, .cpu = 5000, .chains = 3,
				     .notes = 2 };
	const struct cycle nap = { .sleep = 200000, .turn = 5000, .cpu = 5000,
				   .woke = VHL_WOKE_NAP };
	u64 shortest = U64_MAX;

	vhl_pace_init(&s.pace);
	for (unsigned int i = 0; i < 1000; i++) {
		if (s.pace.nap)
			cycles(&s, &nap, 1);
		cycles(&s, &plain, 1);
		if (s.pace.nap)
			shortest = min(shortest, s.pace.nap);
	}
	CHECK(shortest >= 200000 && shortest < U64_MAX);
}

/* The first nap is for twice as many chains, whenever others had the CPU to make them */
TEST(pace_first_nap)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle c = { .sleep = 10000, .turn = 190000, .cpu = 40000, .chains = 3, .notes = 2 };

	vhl_pace_init(&s.pace);
	cycles(&s, &c, 18);
	CHECK(s.pace.nap == 2 * 160000);

	/* and where that would be longer than allowed, as long as allowed */
	c.sleep = 4000000;
	vhl_pace_init(&s.pace);
	cycles(&s, &c, 18);
	CHECK(s.pace.nap == 1000000);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
