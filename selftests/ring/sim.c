// SPDX-License-Identifier: GPL-2.0
/*
 * A driver and a device that share a CPU. The driver makes a chain after the other while it has the
 * CPU, until it has as many in flight as it may; a kick gives the CPU to the device at once, or
 * after one more chain.
 */
#include "sim.h"

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

void sim_run(struct sim *s, u64 chains)
{
	enum vhl_woke woke = VHL_WOKE_KICK;

	for (chains += s->served; s->served < chains;) {
		bool vain = woke != VHL_WOKE_KICK && !s->avail;

		s->now += s->l.wake;
		if (woke == VHL_WOKE_KICK)
			s->notes++;
		vhl_moderation_wake(&s->mod, s->now - s->slept_at, woke, s->l.max);
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
			s->slept_at = s->now;
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
			s->slept_at = s->now;
			vhl_moderation_sleep(&s->mod, s->now, s->notes, s->l.max);
			woke = VHL_WOKE_KICK;
			drive(s, U64_MAX, true);
		}
	}
}

struct rates sim_measure(const struct load *load, u64 max)
{
	const u64 n = 200000;
	struct sim s = { .l = *load, .now = 1 };
	struct rates r;

	s.l.max = max;
	vhl_moderation_init(&s.mod);
	sim_run(&s, n);
	r.ns = s.now / s.served;
	r.notes = s.notes * 1000 / s.served;
	r.naps = s.naps;
	r.longest = s.longest;
	return r;
}

void sim_cycles(struct sim *s, const struct cycle *c, unsigned int n)
{
	while (n--) {
		s->now += c->sleep;
		vhl_moderation_wake(&s->mod, c->sleep, c->woke, s->l.max);
		vhl_moderation_took(&s->mod, c->chains);
		s->slept_at = s->now += c->turn;
		vhl_moderation_sleep(&s->mod, s->now, s->notes += c->notes, s->l.max);
	}
}
