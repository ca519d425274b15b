// SPDX-License-Identifier: GPL-2.0
/*
 * A driver and a device with a CPU each. The driver makes a chain after the other until it has as
 * many in flight as it may, then waits for a call. It wants one whenever it has read all that is
 * used, and each takes it some time, whatever it does. The device is idle.c in short: where the
 * queue has naps it naps, else it polls, then it sleeps and wants a kick.
 */
#include "sim_smp.h"

struct smp {
	struct smp_load l;
	struct vhl_moderation mod;
	u64 max;
	/* the driver */
	u64 driver;		/* its time */
	u64 doing;		/* what it does takes so long, 0 for nothing */
	bool reads;		/* and is to read a chain, else to make one */
	unsigned int flying;
	unsigned int avail;	/* made, not taken */
	unsigned int used;	/* published, not read */
	bool waits;
	bool wants_kick;
	u64 kicked;		/* when, 0 for not yet */
	/* the device */
	u64 device;
	u64 poll_ns;
	u64 slept_at;
	u64 served;
	u64 kicks;
	u64 calls;
	u64 busy;
	u64 naps;
	u64 seed;
};

/* Nothing takes the same time twice: else a load stays in one rhythm for ever, good or bad */
static u64 about(struct smp *s, u64 ns)
{
	s->seed = s->seed * 6364136223846793005 + 1442695040888963407;
	return ns * 3 / 4 + (s->seed >> 33) % (ns / 2 + 1);
}

/* What the driver does next. Return: false when it waits */
static bool choose(struct smp *s)
{
	if (s->waits || s->doing)
		return !s->waits;
	s->reads = s->used;
	if (!s->used && s->flying == s->l.depth) {
		s->waits = true;
		return false;
	}
	s->doing = about(s, s->reads ? s->l.reap : s->l.make);
	return true;
}

/* It has done that: only now can the device see it */
static void finish(struct smp *s)
{
	s->driver += s->doing;
	s->doing = 0;
	if (s->reads) {
		s->used--;
		s->flying--;
		return;
	}
	s->flying++;
	s->avail++;
	if (!s->wants_kick)
		return;
	s->wants_kick = false;
	s->driver += s->l.kick;
	s->kicked = s->driver;
	s->kicks++;
}

/* What the driver does until the device's time is @until, or until it has made a chain */
static void drive(struct smp *s, u64 until, bool one)
{
	while (!(one && s->avail) && choose(s) && s->driver + s->doing <= until)
		finish(s);
}

static void publish(struct smp *s, unsigned int n)
{
	bool call = !s->used;

	s->used += n;
	if (!call)
		return;
	s->calls++;
	s->driver = (s->waits && s->driver < s->device ? s->device : s->driver) + s->l.call;
	s->waits = false;
}

static void turn(struct smp *s)
{
	unsigned int n;
	u64 took;

	drive(s, s->device, false);
	n = s->avail;
	s->avail = 0;
	vhl_moderation_took(&s->mod, n);
	s->served += n;
	took = s->l.turn + about(s, n * s->l.serve);
	s->device += took;
	s->busy += took;
	drive(s, s->device, false);
	if (n)
		publish(s, n);
}

static void asleep(struct smp *s)
{
	s->slept_at = s->device;
	vhl_moderation_sleep(&s->mod, s->device, s->kicks + s->calls, s->max);
}

static u64 awake(struct smp *s, enum vhl_woke woke)
{
	s->device += s->l.wake;
	s->busy += s->l.wake;
	vhl_moderation_wake(&s->mod, s->device - s->slept_at, woke, s->max);
	return s->device - s->slept_at;
}

/* Return: false for none */
static bool nap(struct smp *s)
{
	if (!vhl_moderation_nap(&s->mod))
		return false;
	asleep(s);
	if (!vhl_moderation_nap(&s->mod))
		return false;
	s->naps++;
	s->device += vhl_moderation_nap(&s->mod);
	drive(s, s->device, false);
	awake(s, VHL_WOKE_NAP);
	return true;
}

/* Return: true if there is a chain */
static bool poll(struct smp *s)
{
	u64 end = s->device + s->poll_ns, began = s->device, seen;

	drive(s, end, true);
	seen = s->avail ? max(s->driver, s->device) : end;
	s->busy += seen - s->device;
	s->device = seen;
	if (s->avail)
		vhl_moderation_polled(&s->mod, began, seen - began, s->kicks + s->calls, s->max);
	return s->avail;
}

static void sleep_until_kick(struct smp *s)
{
	u64 slept;

	asleep(s);
	s->wants_kick = true;
	s->kicked = 0;
	while (!s->kicked && choose(s))
		finish(s);
	if (s->kicked > s->device)
		s->device = s->kicked;
	slept = awake(s, VHL_WOKE_KICK);
	if (slept > s->l.poll || slept + s->poll_ns > s->l.poll)
		s->poll_ns = 0;
	else
		s->poll_ns = min(s->l.poll, max(s->poll_ns * 2, (u64)5000));
}

struct smp_rates smp_measure(const struct smp_load *load, u64 max)
{
	struct smp s = { .l = *load, .max = max, .driver = 1, .device = 1 };
	struct smp_rates r;
	bool napped = false, vain;
	u64 before;

	vhl_moderation_init(&s.mod);
	s.mod.apart = true;
	while (s.served < SMP_CHAINS) {
		before = s.served;
		turn(&s);
		vain = napped && s.served == before;
		napped = !vain && nap(&s);
		if (!napped && (vain || !poll(&s)))
			sleep_until_kick(&s);
	}
	r.ns = s.device / s.served;
	r.calls = s.calls * 1000 / s.served;
	r.kicks = s.kicks * 1000 / s.served;
	r.busy = s.busy / s.served;
	r.naps = s.naps;
	return r;
}
