// SPDX-License-Identifier: GPL-2.0
/*
 * How long a queue naps, found by trial; see pace.h.
 */
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "pace.h"

/* Sleeps of an epoch: enough for a mean, few enough to be over soon */
#define PACE_EPOCH	16

/* A sleep of so many longest naps is a pause in which there was no stream */
#define PACE_PAUSE	8

/* Naps among its sleeps for a verdict: where nobody wants the CPU, or there is work, are none */
#define PACE_NAPS_MIN	4

/* Chains of a sleep that are many enough: twice as many would save next to nothing */
#define PACE_ENOUGH	64

/* And so many that there is nothing to save at all */
#define PACE_PLENTY	512

/* The shortest nap: a timer and two switches take some microseconds themselves */
#define PACE_MIN_NS	5000

/* After so many pauses without an epoch there is no stream any more that could be judged */
#define PACE_PAUSES_MAX	4

/* A nap that fails is tried again after so many epochs, and after twice as many the next time */
#define PACE_HOLD_MIN	2
#define PACE_HOLD_MAX	64

/* One that cost something is not tried again for so many: what it saves is nothing to that */
#define PACE_HOLD_LOST	240

/* Epochs with naps until one without is measured anew: streams change */
#define PACE_EPOCHS_MAX	32

void vhl_pace_init(struct vhl_pace *pace)
{
	memset(pace, 0, sizeof(*pace));
	pace->backoff = PACE_HOLD_MIN;
	pace->fresh = true;
}

u64 vhl_pace_wake(struct vhl_pace *pace, u64 now, u64 cpu, enum vhl_woke woke)
{
	u64 used = cpu - pace->cpu_at, passed = now - pace->woke_at;

	/* the two clocks need not agree to the last bit */
	pace->others = passed > used ? passed - used : 0;
	pace->cpu_at = cpu;
	pace->woke_at = now;
	pace->woke = woke;
	pace->took = 0;
	return pace->slept_at ? now - pace->slept_at : U64_MAX;
}

/* Noticeably more time for a chain; where the machine is noisy that takes more, up to a quarter */
static bool pace_slower(const struct vhl_pace *pace, u64 per_chain, u64 than)
{
	return per_chain > than + clamp_t(u64, than * pace->noise / 1024, than / 32, than / 4);
}

/* Nothing new for a while, and for longer the next time */
static void pace_back_off(struct vhl_pace *pace)
{
	pace->hold = pace->backoff;
	pace->backoff = min(pace->backoff * 2, PACE_HOLD_MAX);
}

/* Naps do not pay */
static void pace_give_up(struct vhl_pace *pace)
{
	pace->short_first = !pace->short_first && !pace->too_short;
	pace_back_off(pace);
}

static void pace_set_nap(struct vhl_pace *pace, u64 nap)
{
	pace->nap = nap;
	pace->nap_ns = 0;
}

/* One epoch without naps, to see whether they are worth it still */
static void pace_suspect(struct vhl_pace *pace)
{
	pace->suspect = pace->nap;
	pace->suspect_ns = pace->nap_ns;
	pace->nap = 0;
	pace->grown = false;
}

/* The epoch without naps is over. Return: true if naps go on. */
static bool pace_acquit(struct vhl_pace *pace, u64 per_chain, u64 max)
{
	u64 nap = pace->suspect;

	pace->suspect = 0;
	if (pace_slower(pace, pace->suspect_ns, per_chain)) {
		pace_give_up(pace);
		return false;
	}
	pace->plain_ns = per_chain;
	if (nap <= max)
		pace->nap = nap;
	return true;
}

/* By how much this epoch without naps differs from the last one, unless it is another stream */
static void pace_noise(struct vhl_pace *pace, u64 per_chain)
{
	u64 more = max(per_chain, pace->last_ns), less = min(per_chain, pace->last_ns);

	if (less && more / 8 < less)
		pace->noise = (3 * pace->noise + div64_u64((more - less) * 1024, more)) / 4;
	pace->last_ns = per_chain;
}

/*
 * For twice as many chains as in this epoch without naps, or as many as are enough, if whoever
 * makes them had the CPU whenever the worker did not have it: the scheduler may have given it to
 * him in the middle of a turn. For a part of them if that was bad.
 */
static u64 pace_first_nap(const struct vhl_pace *pace)
{
	u64 nap = min_t(u64, 2 * pace->away / PACE_EPOCH,
			div64_u64(pace->away * PACE_ENOUGH, max(pace->chains, 1u)));

	return max_t(u64, pace->short_first ? nap / 8 : nap, PACE_MIN_NS);
}

/*
 * An epoch without naps is over. They are worth a trial where there is more than one chain at a
 * time at least now and then, or the next one comes before the last one is done with. Who waits for
 * each of his requests has neither as a rule, and is left alone.
 */
static void pace_plain(struct vhl_pace *pace, u64 per_chain, u32 notes, u64 max)
{
	/* so slow by accident, or is it another stream? The next one will tell */
	if (pace->plain_ns && per_chain / 2 > pace->plain_ns && !pace->odd) {
		pace->odd = true;
		return;
	}
	pace->odd = false;
	/* what else the machine did meanwhile counts by half, unless it is another stream */
	if (per_chain / 2 <= pace->plain_ns && pace->plain_ns / 2 <= per_chain)
		pace->plain_ns = (pace->plain_ns + per_chain) / 2;
	else
		pace->plain_ns = per_chain;
	pace->plain_chains = pace->chains;
	pace->plain_notes = notes;
	pace_noise(pace, per_chain);
	pace->epochs = 0;
	if (pace->suspect && pace_acquit(pace, per_chain, max))
		return;
	if (pace->hold) {
		pace->hold--;
		return;
	}
	if (pace->chains <= PACE_EPOCH + PACE_EPOCH / 8 && pace->slept >= pace->ran)
		return;
	if (pace->chains >= PACE_PLENTY * PACE_EPOCH || max < PACE_MIN_NS)
		return;
	pace_set_nap(pace, min(pace_first_nap(pace), max));
}

/* Naps pay; perhaps others do more */
static void pace_grow(struct vhl_pace *pace, u64 max)
{
	pace->grown = false;
	if (pace->chains > 4 * PACE_ENOUGH * PACE_EPOCH) {
		/* a stream that became faster would fill a queue that is not endless */
		pace_set_nap(pace, max_t(u64, pace->nap / 2, PACE_MIN_NS));
	} else if (pace->hold) {
		pace->hold--;
	} else if (pace->chains < PACE_ENOUGH * PACE_EPOCH && pace->nap * 2 <= max) {
		pace->short_ns = pace->nap_ns;
		pace_set_nap(pace, pace->nap * 2);
		pace->grown = true;
	} else {
		pace->backoff = PACE_HOLD_MIN;
	}
}

/* An epoch with naps is over */
static void pace_napped(struct vhl_pace *pace, u64 per_chain, u32 notes, u64 max)
{
	/* not noticeably fewer notifications, or no need */
	bool useless = pace->idle > pace->naps / 2 ||
		       (u64)notes * pace->plain_chains >
		       (u64)pace->plain_notes * pace->chains / 8 * 7;
	/* a stream that is much faster now has to be measured anew */
	bool other = per_chain < pace->nap_ns / 2;
	bool slow;

	pace->nap_ns = pace->nap_ns && !other ? (pace->nap_ns + per_chain) / 2 : per_chain;
	slow = pace_slower(pace, pace->nap_ns, pace->grown ? min(pace->short_ns, pace->plain_ns) :
							     pace->plain_ns);
	pace->too_short = pace->vain > pace->naps / 2;
	if ((useless || slow) && pace->grown) {
		pace_set_nap(pace, pace->nap / 2);
		pace->grown = false;
		pace_back_off(pace);
	} else if (useless) {
		pace->nap = 0;
		pace_give_up(pace);
	} else if (slow || other || ++pace->epochs == PACE_EPOCHS_MAX || pace->nap > max) {
		pace_suspect(pace);
	} else {
		pace_grow(pace, max);
	}
}

static void pace_end_epoch(struct vhl_pace *pace)
{
	pace->fresh = true;
	pace->slept = 0;
	pace->ran = 0;
	pace->away = 0;
	pace->chains = 0;
	pace->sleeps = 0;
	pace->naps = 0;
	pace->idle = 0;
	pace->vain = 0;
}

/* There was no stream for a while, which says nothing about it */
static void pace_pause(struct vhl_pace *pace, u64 max)
{
	if (pace->grown)
		pace_set_nap(pace, pace->nap / 2);
	pace->grown = false;
	if (++pace->pauses == PACE_PAUSES_MAX || pace->nap > max) {
		pace->pauses = 0;
		pace->nap = 0;
		pace->suspect = 0;
	}
	pace_end_epoch(pace);
}

void vhl_pace_lost(struct vhl_pace *pace)
{
	pace->nap = 0;
	pace->suspect = 0;
	pace->grown = false;
	pace->pauses = 0;
	pace->hold = PACE_HOLD_LOST;
	pace_end_epoch(pace);
}

void vhl_pace_sleep(struct vhl_pace *pace, u64 now, u64 notes, u64 max)
{
	u64 slept = pace->woke_at - pace->slept_at;
	u64 per_chain;
	u32 noted;

	if (!pace->fresh && slept > PACE_PAUSE * max)
		pace_pause(pace, max);
	if (pace->fresh) {
		pace->fresh = false;
		pace->notes_then = notes;
		pace->slept_at = now;
		return;
	}
	pace->slept += slept;
	pace->ran += now - pace->woke_at;
	pace->away += pace->others;
	pace->chains += pace->took;
	pace->naps += pace->woke != VHL_WOKE_KICK;
	pace->idle += pace->woke == VHL_WOKE_IDLE;
	pace->vain += vhl_pace_in_vain(pace);
	pace->slept_at = now;
	if (++pace->sleeps < PACE_EPOCH)
		return;

	per_chain = div64_u64(pace->slept + pace->ran, max(pace->chains, 1u));
	noted = min_t(u64, notes - pace->notes_then, U32_MAX);
	if (!pace->nap) {
		pace_plain(pace, per_chain, noted, max);
		pace->pauses = 0;
	} else if (pace->naps >= PACE_NAPS_MIN || pace->nap > max) {
		pace_napped(pace, per_chain, noted, max);
		pace->pauses = 0;
	} else if (pace->naps) {
		/* not enough of them to tell yet */
		pace->sleeps = 0;
		return;
	}
	pace_end_epoch(pace);
}
