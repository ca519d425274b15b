// SPDX-License-Identifier: GPL-2.0
/*
 * Naps: what is concluded from single epochs.
 */
#include "harness.h"
#include "sim.h"

/* Where a queue does not come to nap, naps are neither judged nor made longer */
TEST(moderation_no_verdict)
{
	struct sim s = { .l = LOAD(.make = 4000, .depth = 256, .max = 1000000), .now = 1 };
	const struct cycle awake = { .sleep = 5000, .turn = 5000, .chains = 2,
				     .notes = 2 };
	u64 nap;

	vhl_moderation_init(&s.mod);
	sim_run(&s, 100000);
	nap = vhl_moderation_nap(&s.mod);
	CHECK(nap > 0);
	sim_cycles(&s, &awake, 1000);
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
	sim_run(&s, 5000);
	nap = vhl_moderation_nap(&s.mod);
	CHECK(nap > 0);
	for (int i = 0; i < 100; i++) {
		sim_cycles(&s, &late, 1);
		sim_run(&s, 500);
		CHECK(vhl_moderation_nap(&s.mod) == nap);
	}
	for (unsigned int i = 0; i < 1000; i++) {
		sim_cycles(&s, &late, 1);
		vain.sleep = vhl_moderation_nap(&s.mod);
		if (vain.sleep) {
			sim_cycles(&s, &vain, 1);
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
	sim_cycles(&s, &c, 20);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
	c.sleep = 15000;
	c.woke = VHL_WOKE_EARLY;
	sim_cycles(&s, &c, 20);
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
	sim_run(&s, 100000);
	nap.sleep = vhl_moderation_nap(&s.mod);
	CHECK(nap.sleep > 0);
	for (i = 0; i < 100 && vhl_moderation_nap(&s.mod); i++) {
		sim_cycles(&s, &kick, 15);
		sim_cycles(&s, &nap, 1);
	}
	tap_diag("given up after %u naps", i);
	CHECK(i < 20);
}

/* What a stream does with naps, and without; epochs are judged where they end */
static const struct cycle stream_plain = { .sleep = 20000, .turn = 10000, .chains = 3, .notes = 2 };
static const struct cycle stream_naps = {
	.sleep	= 50000,
	.turn	= 10000,
	.chains	= 8,
	.notes	= 1,
	.woke	= VHL_WOKE_NAP,
};

/* An epoch, to its verdict */
static void epoch(struct sim *s, const struct cycle *c)
{
	do
		sim_cycles(s, c, 1);
	while (s->mod.began);
}

/* A queue that has just begun on a machine that is known to be steady, up to its first nap */
static void stream_begins(struct sim *s)
{
	vhl_moderation_init(&s->mod);
	s->mod.noise = 0;
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
	fast.chains = 40;
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
			sim_cycles(&s, &stream_plain, 1);
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
	sim_run(&s, 100000);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
	vhl_moderation_lost(&s.mod);
	for (i = 0; i < 10000 && !vhl_moderation_nap(&s.mod); i++)
		sim_cycles(&s, &stream_plain, 1);
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
			sim_cycles(&s, &nap, 1);
		}
		sim_cycles(&s, &plain, 1);
	}
	tap_diag("%u naps", naps);
	CHECK(naps > 0 && naps < 1000 / 8);
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

/* Whether the last burst of a short epoch falls into it is chance, and condemns no naps */
TEST(moderation_edge)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle same = stream_naps, less = stream_naps, slow = stream_naps;
	u64 nap;

	/* the rate of stream_plain */
	same.chains = 6;
	less.chains = 3;
	stream_begins(&s);
	nap = vhl_moderation_nap(&s.mod);
	sim_cycles(&s, &same, 8);
	sim_cycles(&s, &less, 1);
	sim_cycles(&s, &same, 8);
	CHECK(vhl_moderation_nap(&s.mod) == nap);
	sim_cycles(&s, &same, 2);
	CHECK(vhl_moderation_nap(&s.mod) == 2 * nap);

	/* a tenth slower, always: that is no chance */
	slow.chains = 6;
	slow.turn = 16000;
	stream_begins(&s);
	sim_cycles(&s, &slow, 9);
	CHECK(vhl_moderation_nap(&s.mod) == nap);
	sim_cycles(&s, &slow, 24);
	CHECK(vhl_moderation_nap(&s.mod) == 0);

	/* a little slower takes longer */
	slow.turn = 12400;
	stream_begins(&s);
	sim_cycles(&s, &slow, 24);
	CHECK(vhl_moderation_nap(&s.mod) == nap);
	sim_cycles(&s, &slow, 64);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
}

/* As long as nobody knows how much epochs differ, few naps condemn none */
TEST(moderation_unknown)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle slow = stream_naps;

	slow.chains = 4;
	vhl_moderation_init(&s.mod);
	epoch(&s, &stream_plain);
	sim_cycles(&s, &slow, 9);
	CHECK(vhl_moderation_nap(&s.mod) > 0);
	sim_cycles(&s, &slow, 24);
	CHECK(vhl_moderation_nap(&s.mod) == 0);

	stream_begins(&s);
	sim_cycles(&s, &slow, 9);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
}

/* Without a call to save, there still is the timer: naps become longer up to what is enough */
TEST(moderation_no_calls)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle plain = stream_plain, naps = stream_naps;

	plain.notes = 1;
	naps.notes = 0;
	vhl_moderation_init(&s.mod);
	epoch(&s, &plain);
	for (unsigned int i = 0; i < 200 && vhl_moderation_nap(&s.mod); i++) {
		naps.sleep = vhl_moderation_nap(&s.mod);
		naps.chains = (naps.sleep + naps.turn) / 10000;
		sim_cycles(&s, &naps, 1);
	}
	CHECK(vhl_moderation_nap(&s.mod) >= 64 * 10000);
}

/* Naps of which one in two leaves the CPU idle are judged all the same */
TEST(moderation_half_idle)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	struct cycle nap = stream_naps, idle = stream_naps;
	unsigned int i;

	nap.chains = 4;
	idle.chains = 4;
	idle.woke = VHL_WOKE_IDLE;
	stream_begins(&s);
	for (i = 0; i < 64 && vhl_moderation_nap(&s.mod); i++)
		sim_cycles(&s, i % 2 ? &nap : &idle, 1);
	tap_diag("given up after %u naps", i);
	CHECK(i < 20);
}

/* A limit below the length that was found holds for queues without a stream, too: they begin anew */
TEST(moderation_limit_when_quiet)
{
	struct sim s = { .l = { .max = 1000000 }, .now = 1 };
	const struct cycle kicked = { .sleep = 5000, .turn = 5000, .chains = 1, .notes = 2 };

	stream_begins(&s);
	epoch(&s, &stream_naps);
	CHECK(vhl_moderation_nap(&s.mod) > 20000);
	/* so no nap begins any more, and every sleep ends with a kick */
	s.l.max = 20000;
	sim_cycles(&s, &kicked, 20);
	CHECK(vhl_moderation_nap(&s.mod) == 0);
	sim_cycles(&s, &stream_plain, 40);
	CHECK(vhl_moderation_nap(&s.mod) > 0 && vhl_moderation_nap(&s.mod) <= 20000);
}
