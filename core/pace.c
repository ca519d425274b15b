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

/* Naps among them for a verdict: where nobody wants the CPU, or there is work at once, are none */
#define PACE_NAPS_MIN	4

/* Chains of a sleep that are many enough: twice as many would save next to nothing */
#define PACE_ENOUGH	64

/* And so many that there is nothing to save at all */
#define PACE_PLENTY	512

/* The shortest nap: a timer and two switches take some microseconds themselves */
#define PACE_MIN_NS	5000

/* A nap that fails is tried again after so many epochs, and after twice as many the next time */
#define PACE_HOLD_MIN	4
#define PACE_HOLD_MAX	64

/* Epochs with naps until one without is measured anew: streams change */
#define PACE_EPOCHS_MAX	32

void vhl_pace_init(struct vhl_pace *pace)
{
	memset(pace, 0, sizeof(*pace));
	pace->backoff = PACE_HOLD_MIN;
	pace->fresh = true;
}

u64 vhl_pace_wake(struct vhl_pace *pace, u64 now, enum vhl_woke woke)
{
	pace->woke_at = now;
	pace->woke = woke;
	pace->took = 0;
	return pace->slept_at ? now - pace->slept_at : U64_MAX;
}

/*
 * An epoch without naps is over. They are worth a trial where there is more than one chain at a
 * time at least now and then, or the next one comes before the last one is done with. Who waits for
 * each of his requests has neither as a rule, and is left alone.
 */
static void pace_plain(struct vhl_pace *pace, u64 per_chain, u32 notes, u64 max)
{
	/* for twice as many chains as now, or as many as are enough */
	u64 nap = min_t(u64, 2 * pace->slept / PACE_EPOCH,
			div64_u64(pace->slept * PACE_ENOUGH, max(pace->chains, 1u)));

	/* what else the machine did meanwhile counts by half, unless it is another stream */
	if (per_chain / 2 <= pace->plain_ns && pace->plain_ns / 2 <= per_chain)
		pace->plain_ns = (pace->plain_ns + per_chain) / 2;
	else
		pace->plain_ns = per_chain;
	pace->plain_chains = pace->chains;
	pace->plain_notes = notes;
	pace->epochs = 0;
	if (pace->hold) {
		pace->hold--;
		return;
	}
	if (pace->chains <= PACE_EPOCH + PACE_EPOCH / 8 && pace->slept >= pace->ran)
		return;
	if (pace->chains >= PACE_PLENTY * PACE_EPOCH)
		return;
	/* for a part of them if that is too long or was bad */
	if (pace->short_first || nap > max)
		nap /= 8;
	nap = max_t(u64, nap, PACE_MIN_NS);
	if (nap <= max)
		pace->nap = nap;
}

/*
 * Noticeably more time for a chain than without naps, twice in a row, as it may be by chance; no
 * fewer notifications; or no need.
 */
static bool pace_is_bad(struct vhl_pace *pace, u64 per_chain, u32 notes)
{
	bool slow = per_chain > pace->plain_ns + pace->plain_ns / 32;
	bool again = slow && pace->slow;

	pace->slow = slow;
	return again || pace->idle > pace->naps / 2 ||
	       (u64)notes * pace->plain_chains >= (u64)pace->plain_notes * pace->chains;
}

/* An epoch with naps is over */
static void pace_napped(struct vhl_pace *pace, u64 per_chain, u32 notes, u64 max)
{
	if (pace_is_bad(pace, per_chain, notes)) {
		pace->slow = false;
		if (pace->grown) {
			pace->nap /= 2;
		} else {
			pace->nap = 0;
			pace->short_first = !pace->short_first;
		}
		pace->grown = false;
		pace->hold = pace->backoff;
		pace->backoff = min(pace->backoff * 2, PACE_HOLD_MAX);
		return;
	}
	if (++pace->epochs == PACE_EPOCHS_MAX || pace->nap > max) {
		pace->nap = 0;
		pace->slow = false;
		pace->grown = false;
		pace->hold = 0;
		return;
	}
	if (pace->slow)
		return;
	pace->grown = false;
	if (pace->chains > 4 * PACE_ENOUGH * PACE_EPOCH) {
		/* a stream that became faster would fill a queue that is not endless */
		pace->nap = max_t(u64, pace->nap / 2, PACE_MIN_NS);
	} else if (pace->hold) {
		pace->hold--;
	} else if (pace->chains < PACE_ENOUGH * PACE_EPOCH && pace->nap * 2 <= max) {
		pace->nap *= 2;
		pace->grown = true;
	} else {
		pace->backoff = PACE_HOLD_MIN;
	}
}

static void pace_end_epoch(struct vhl_pace *pace)
{
	pace->fresh = true;
	pace->slept = 0;
	pace->ran = 0;
	pace->chains = 0;
	pace->sleeps = 0;
	pace->naps = 0;
	pace->idle = 0;
}

/* There was no stream for a while, which says nothing about it; nor has a trial been seen through */
static void pace_pause(struct vhl_pace *pace, u64 max)
{
	if (pace->grown)
		pace->nap /= 2;
	else if (!pace->epochs)
		pace->nap = 0;
	if (pace->nap > max)
		pace->nap = 0;
	pace->grown = false;
	pace->slow = false;
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
	pace->chains += pace->took;
	pace->naps += pace->woke != VHL_WOKE_KICK;
	pace->idle += pace->woke == VHL_WOKE_IDLE;
	pace->slept_at = now;
	if (++pace->sleeps < PACE_EPOCH)
		return;

	per_chain = div64_u64(pace->slept + pace->ran, max(pace->chains, 1u));
	noted = min_t(u64, notes - pace->notes_then, U32_MAX);
	if (!pace->nap)
		pace_plain(pace, per_chain, noted, max);
	else if (pace->naps >= PACE_NAPS_MIN || pace->nap > max)
		pace_napped(pace, per_chain, noted, max);
	pace_end_epoch(pace);
}
