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
#include "moderation.h"

/* ns; those of a slow machine, so that the timer's are not all that counts */
struct load {
	u64 make;		/* the driver makes a chain */
	u64 reap;		/* and reads what became of it */
	u64 wake;		/* the device wakes up, or is left again */
	u64 call;		/* a call, taken by the driver */
	u64 serve;		/* the device serves a chain */
	unsigned int depth;	/* chains in flight at most */
	unsigned int late;	/* chains made while the device wakes up, 0 for one now and then */
	bool others;		/* another task uses the CPU when the driver waits */
	u64 max;		/* the longest nap */
};

struct sim {
	struct load l;
	struct vhl_moderation mod;
	u64 now;
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
		bool vain = woke != VHL_WOKE_KICK && !s->avail;

		s->now += s->l.wake;
		if (woke == VHL_WOKE_KICK)
			s->notes++;
		vhl_moderation_wake(&s->mod, s->now, woke, s->l.max);
		vhl_moderation_took(&s->mod, s->avail);
		s->now += s->avail * s->l.serve;
		s->served += s->avail;
		s->done += s->avail;
		if (s->avail) {
			s->notes++;
			s->now += s->l.call;
		}
		s->avail = 0;

		if (vhl_moderation_nap(&s->mod) && !vain) {
			u64 end = s->now + vhl_moderation_nap(&s->mod);

			s->naps++;
			s->longest = max(s->longest, vhl_moderation_nap(&s->mod));
			vhl_moderation_sleep(&s->mod, s->now, s->notes, s->l.max);
			woke = VHL_WOKE_NAP;
			if (!drive(s, end, false)) {
				if (!s->l.others && s->now < end) {
					woke = VHL_WOKE_IDLE;
					s->idle += end - s->now;
				}
				s->now = max(s->now, end);
			}
		} else {
			vhl_moderation_sleep(&s->mod, s->now, s->notes, s->l.max);
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
	vhl_moderation_init(&s.mod);
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
		struct rates with = measure(&loads[i], 1000000), without = measure(&loads[i], 0);

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
TEST(moderation_idle)
{
	struct sim s = { .l = { .make = 1000, .reap = 1000, .wake = 40000, .call = 4000, .serve = 2000,
			       .depth = 8, .max = 1000000 },
			 .now = 1 };

	vhl_moderation_init(&s.mod);
	run(&s, 200000);
	tap_diag("idle for %llu of %llu us", (unsigned long long)s.idle / 1000,
		 (unsigned long long)s.now / 1000);
	CHECK(s.naps > 0);
	CHECK(s.idle < s.now / 20);
}

/* What comes by the hundred needs no naps */
TEST(moderation_plenty)
{
	struct load l = LOAD(.make = 1000, .depth = 2048, .late = 600);

	CHECK(measure(&l, 1000000).naps == 0);
	l.late = 60;
	CHECK(measure(&l, 1000000).naps > 0);
}

/* A stream that becomes faster does not pile up for as long as before */
TEST(moderation_shrinks)
{
	struct sim s = { .l = { .make = 16000, .reap = 1000, .wake = 8000, .call = 4000,
				.serve = 200, .depth = 65536, .max = 1000000 }, .now = 1 };
	u64 before;

	vhl_moderation_init(&s.mod);
	run(&s, 100000);
	before = vhl_moderation_nap(&s.mod);
	CHECK(before > 0);
	s.l.make = 400;
	s.l.reap = 100;
	run(&s, 100000);
	tap_diag("naps of %llu ns, then of %llu", (unsigned long long)before,
		 (unsigned long long)vhl_moderation_nap(&s.mod));
	CHECK(vhl_moderation_nap(&s.mod) < before / 2);
}

/* The limit is one, also when it changes */
TEST(moderation_limit)
{
	struct load l = LOAD(.make = 4000, .depth = 256);
	struct sim s = { .l = l, .now = 1 };
	struct rates r = measure(&l, 50000);

	CHECK(r.naps > 0);
	CHECK(r.longest <= 50000);
	CHECK(measure(&l, 4999).naps == 0);

	s.l.max = 1000000;
	vhl_moderation_init(&s.mod);
	run(&s, 100000);
	CHECK(vhl_moderation_nap(&s.mod) > 50000);
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
TEST(moderation_follows)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	u64 then;

	vhl_moderation_init(&s.mod);
	run(&s, 100000);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
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
TEST(moderation_quiet_spell)
{
	const struct load load = { .make = 4000, .reap = 1000, .wake = 8000, .call = 4000,
				   .serve = 2000, .depth = 8, .others = true, .max = 1000000 };
	struct sim s = { .l = load, .now = 1 };
	struct rates without = measure(&load, 0);
	u64 then;

	vhl_moderation_init(&s.mod);
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
TEST(moderation_busy_machine)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	u64 stolen = 0;

	vhl_moderation_init(&s.mod);
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
TEST(moderation_slow_spells)
{
	const struct load fast = LOAD(.make = 20000, .depth = 32, .max = 1000000);
	const struct load slow = { .make = 80000, .reap = 4000, .wake = 32000, .call = 16000,
				   .serve = 8000, .depth = 32, .max = 1000000 };
	struct sim s = { .l = fast, .now = 1 };

	vhl_moderation_init(&s.mod);
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
TEST(moderation_chance)
{
	struct sim s = { .l = LOAD(.make = 20000, .depth = 32, .max = 1000000), .now = 1 };
	struct rng rng = { 1 };

	vhl_moderation_init(&s.mod);
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
TEST(moderation_noise)
{
	struct sim s = { .l = LOAD(.make = 20000, .depth = 32, .max = 1000000), .now = 1 };
	const struct load fast = s.l;
	struct rng rng = { 1 };

	vhl_moderation_init(&s.mod);
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
TEST(moderation_noise_ends)
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

			vhl_moderation_init(&s.mod);
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
TEST(moderation_best_length)
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
	unsigned int chains;
	unsigned int notes;
	enum vhl_woke woke;
};

static void cycles(struct sim *s, const struct cycle *c, unsigned int n)
{
	while (n--) {
		vhl_moderation_wake(&s->mod, s->now += c->sleep, c->woke, s->l.max);
		vhl_moderation_took(&s->mod, c->chains);
		vhl_moderation_sleep(&s->mod, s->now += c->turn, s->notes += c->notes, s->l.max);
	}
}

/* Where a queue does not come to nap, naps are neither judged nor made longer */
TEST(moderation_no_verdict)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle awake = { .sleep = 5000, .turn = 5000, .chains = 2,
				     .notes = 2 };
	u64 nap;

	vhl_moderation_init(&s.mod);
	run(&s, 100000);
	nap = vhl_moderation_nap(&s.mod);
	CHECK(nap > 0);
	cycles(&s, &awake, 1000);
	CHECK(vhl_moderation_nap(&s.mod) == nap);
}

/* A stream may pause, and naps as before soon after; when it has ended nothing naps */
TEST(moderation_pauses)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle late = { .sleep = 100000000, .turn = 5000, .chains = 1, .notes = 2 };
	struct cycle vain = { .turn = 5000, .woke = VHL_WOKE_NAP };
	unsigned int naps = 0;
	u64 nap;

	vhl_moderation_init(&s.mod);
	run(&s, 5000);
	nap = vhl_moderation_nap(&s.mod);
	CHECK(nap > 0);
	for (int i = 0; i < 100; i++) {
		cycles(&s, &late, 1);
		run(&s, 500);
		CHECK(vhl_moderation_nap(&s.mod) == nap);
	}
	for (unsigned int i = 0; i < 1000; i++) {
		cycles(&s, &late, 1);
		vain.sleep = vhl_moderation_nap(&s.mod);
		if (vain.sleep) {
			cycles(&s, &vain, 1);
			naps++;
		}
	}
	tap_diag("%u naps", naps);
	CHECK(naps <= 10);
}

/* Naps that save nothing are given up, however fast the stream is */
TEST(moderation_no_use)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle c = { .sleep = 20000, .turn = 5000, .chains = 3, .notes = 2 };

	vhl_moderation_init(&s.mod);
	cycles(&s, &c, 20);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
	c.sleep = 15000;
	c.woke = VHL_WOKE_EARLY;
	cycles(&s, &c, 20);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
}

/* Naps that are few are judged, too, when there were enough of them */
TEST(moderation_seldom)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle kick = { .sleep = 10000, .turn = 10000, .chains = 1,
				    .notes = 2 };
	struct cycle nap = { .turn = 10000, .chains = 1, .notes = 1,
			     .woke = VHL_WOKE_NAP };
	unsigned int i;

	vhl_moderation_init(&s.mod);
	run(&s, 100000);
	nap.sleep = vhl_moderation_nap(&s.mod);
	CHECK(nap.sleep > 0);
	for (i = 0; i < 100 && vhl_moderation_nap(&s.mod); i++) {
		cycles(&s, &kick, 15);
		cycles(&s, &nap, 1);
	}
	tap_diag("given up after %u naps", i);
	CHECK(i < 20);
}

/* What a stream does with naps, and without; epochs are judged where they end */
static const struct cycle stream_plain = { .sleep = 20000, .turn = 10000, .chains = 3, .notes = 2 };
static const struct cycle stream_naps = { .sleep = 50000, .turn = 10000, .chains = 8, .notes = 1, .woke = VHL_WOKE_NAP };

/* An epoch, to its verdict */
static void epoch(struct sim *s, const struct cycle *c)
{
	do
		cycles(s, c, 1);
	while (s->mod.began);
}

/* A queue that has just begun, up to its first nap */
static void stream_begins(struct sim *s)
{
	vhl_moderation_init(&s->mod);
	epoch(s, &stream_plain);
	CHECK(vhl_moderation_nap(&s->mod) > 0);
}

/* An accident in the one epoch that is to tell does not speak for naps that are bad */
TEST(moderation_accident)
{
	struct cycle bad = stream_naps, slow = stream_plain;
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };

	bad.chains = 4;
	slow.turn = 200000;

	stream_begins(&s);
	epoch(&s, &bad);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
	epoch(&s, &slow);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
	/* they have to do with what is measured then */
	epoch(&s, &stream_plain);
	epoch(&s, &bad);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK(vhl_moderation_nap(&s.mod) == 0);
		epoch(&s, &stream_plain);
	}

	/* twice is none */
	stream_begins(&s);
	epoch(&s, &bad);
	epoch(&s, &slow);
	epoch(&s, &slow);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
}

/* Now and then it is measured how it is without naps; at once where the stream is another one */
TEST(moderation_probe)
{
	struct sim s = { .l = { .max = 50000 }, .now = 1 };
	struct cycle fast = stream_naps;
	unsigned int i;
	u64 nap;

	stream_begins(&s);
	nap = vhl_moderation_nap(&s.mod);
	for (i = 0; i < 100 && vhl_moderation_nap(&s.mod); i++)
		epoch(&s, &stream_naps);
	tap_diag("after %u epochs", i);
	CHECK(i > 20 && i < 40);
	epoch(&s, &stream_plain);
	CHECK(vhl_moderation_nap(&s.mod) == nap);
	epoch(&s, &stream_naps);
	epoch(&s, &stream_naps);
	CHECK(vhl_moderation_nap(&s.mod) == nap);
	fast.chains = 30;
	epoch(&s, &fast);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
}

/* Naps that do not pay are tried ever more seldom, but again and again */
TEST(moderation_backs_off)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle useless = stream_naps;
	unsigned int plain = 0, tries = 0, first = 0;

	/* neither slower nor fewer notifications */
	useless.chains = 6;
	useless.notes = 4;
	vhl_moderation_init(&s.mod);
	for (unsigned int i = 0; i < 20000; i++) {
		if (vhl_moderation_nap(&s.mod)) {
			tries++;
			if (tries == 2)
				first = plain;
			plain = 0;
			epoch(&s, &useless);
		} else {
			cycles(&s, &stream_plain, 1);
			plain++;
		}
	}
	tap_diag("%u trials, the second after %u sleeps", tries, first);
	CHECK(first > 32 && first < 64);
	CHECK(tries > 15 && tries < 30);
}

/* What lost something is not tried for a long while */
TEST(moderation_lost)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	unsigned int i;

	vhl_moderation_init(&s.mod);
	run(&s, 100000);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
	vhl_moderation_lost(&s.mod);
	for (i = 0; i < 10000 && !vhl_moderation_nap(&s.mod); i++)
		cycles(&s, &stream_plain, 1);
	tap_diag("for %u sleeps", i);
	CHECK(i >= 240 * 16 && i < 250 * 16);
}

/* What is over before there is anything is given up */
TEST(moderation_in_vain)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	const struct cycle plain = { .sleep = 100000, .turn = 5000, .chains = 3, .notes = 2 };
	struct cycle nap = { .turn = 5000, .woke = VHL_WOKE_NAP };
	unsigned int naps = 0;

	vhl_moderation_init(&s.mod);
	for (unsigned int i = 0; i < 1000; i++) {
		nap.sleep = vhl_moderation_nap(&s.mod);
		if (nap.sleep) {
			naps++;
			cycles(&s, &nap, 1);
		}
		cycles(&s, &plain, 1);
	}
	tap_diag("%u naps", naps);
	CHECK(naps > 0 && naps < 1000 / 10);
}

/* The first nap is for twice as many chains as a sleep, or for as many as are enough */
TEST(moderation_first_nap)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle c = { .sleep = 100000, .turn = 10000, .chains = 3, .notes = 2 };

	vhl_moderation_init(&s.mod);
	epoch(&s, &c);
	CHECK(vhl_moderation_nap(&s.mod) == 2 * 100000);

	c.chains = 100;
	vhl_moderation_init(&s.mod);
	epoch(&s, &c);
	CHECK(vhl_moderation_nap(&s.mod) == 64 * 1100);

	/* and where that would be longer than allowed, as long as allowed */
	c.chains = 3;
	c.sleep = 4000000;
	vhl_moderation_init(&s.mod);
	epoch(&s, &c);
	CHECK(vhl_moderation_nap(&s.mod) == 1000000);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
