/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long a queue naps.
 *
 * On a CPU that it shares with whoever makes its chains, a worker that is woken for the first chain
 * preempts the one who was about to make the second. Every chain then costs a kick, a wake and a
 * call, although there are many to be had. A queue that naps leaves the CPU for a set time without
 * asking to be woken, and takes together what has come up meanwhile.
 *
 * What a nap may last follows from nothing that could be looked up: it depends on what the driver
 * does, on what a notification costs on this machine, and on whether the driver waits for what the
 * nap delays. So it is found by trial. Sleeps are looked at in epochs of a fixed number. One
 * without naps says how many chains pass in what time, and at how many notifications. Naps are
 * kept, and made longer, while there are fewer notifications and not noticeably fewer chains, by
 * what epochs without naps differ by among themselves; else they are given up, and tried again ever
 * more seldom. Where they seem to cost chains, an epoch without them has to bear that out: it may
 * be the machine that is slower than it was.
 *
 * Arithmetic only, on times that the caller takes; compiled in userspace, too. One user at a time.
 */
#ifndef VHL_PACE_H
#define VHL_PACE_H

#include <linux/types.h>

/* What ended a sleep */
enum vhl_woke {
	VHL_WOKE_KICK,		/* somebody */
	VHL_WOKE_NAP,		/* the time was up */
	VHL_WOKE_IDLE,		/* the same, but nobody had wanted the CPU any more */
	VHL_WOKE_EARLY,		/* somebody, in the middle of a nap */
};

/**
 * struct vhl_pace - what a queue learnt from its sleeps
 * @nap: how long to nap in ns, 0 for not at all
 * @slept_at: when it fell asleep, 0 before the first time
 * @woke_at: when that ended
 * @cpu_at: CPU time that the worker had used then
 * @others: ns between the last two times, less what the worker used
 * @woke: what ended it
 * @took: chains taken since
 * @fresh: the epoch begins with the next sleep: this one may be of the other kind still
 * @notes_then: notifications until it began
 * @slept: ns of the epoch that it slept
 * @ran: ns that it did not
 * @away: ns that others had the CPU, while it slept or in the middle of a turn
 * @chains: chains of the epoch
 * @sleeps: how many sleeps it had
 * @naps: how many of them were naps
 * @idle: how many of these ended with VHL_WOKE_IDLE
 * @vain: how many of these found nothing
 * @grown: the nap was made longer for this epoch
 * @too_short: the last naps were over before there was anything
 * @short_first: begin with a short nap when trying again
 * @pauses: since the last verdict
 * @suspect: length of naps that were given up for one epoch, to see how fast it is without; 0 if
 *	there are none
 * @suspect_ns: ns per chain with them
 * @epochs: epochs with naps since the last one without
 * @hold: epochs in which to try nothing new
 * @backoff: how many there will be after the next failure
 * @nap_ns: ns per chain with the present nap, a mean of the last epochs, 0 before the first one
 * @short_ns: the same before the nap was made longer
 * @odd: the last epoch without naps was too slow to be believed
 * @plain_ns: ns per chain without naps, a mean of the last epochs
 * @last_ns: the same of the last of them
 * @noise: by how much one of them differs from the next, in 1/1024; a mean, too
 * @plain_chains: chains of the last epoch without naps,
 * @plain_notes: and its notifications
 */
struct vhl_pace {
	u64 nap;
	u64 slept_at;
	u64 woke_at;
	u64 cpu_at;
	u64 others;
	enum vhl_woke woke;
	u32 took;

	u64 notes_then;
	u64 slept;
	u64 ran;
	u64 away;
	u32 chains;
	u8 sleeps;
	u8 naps;
	u8 idle;
	u8 vain;
	bool fresh;

	bool grown;
	bool too_short;
	bool short_first;
	bool odd;
	u8 epochs;
	u8 hold;
	u8 backoff;
	u8 pauses;
	u64 suspect;
	u64 suspect_ns;
	u64 nap_ns;
	u64 short_ns;
	u64 plain_ns;
	u64 last_ns;
	u32 noise;
	u32 plain_chains;
	u32 plain_notes;
};

void vhl_pace_init(struct vhl_pace *pace);

/**
 * vhl_pace_wake() - a sleep or a nap is over
 * @pace: of the queue
 * @now: time in ns
 * @cpu: CPU time that the worker has used, in ns; brought up to date by the scheduler whenever the
 *	worker is given the CPU
 * @woke: what ended it
 *
 * Return: how long it was, U64_MAX for the first one.
 */
u64 vhl_pace_wake(struct vhl_pace *pace, u64 now, u64 cpu, enum vhl_woke woke);

/* Chains were taken */
static inline void vhl_pace_took(struct vhl_pace *pace, unsigned int n)
{
	pace->took += n;
}

/* There was nothing to take after a nap */
static inline bool vhl_pace_in_vain(const struct vhl_pace *pace)
{
	return (pace->woke == VHL_WOKE_NAP || pace->woke == VHL_WOKE_IDLE) && !pace->took;
}

/**
 * vhl_pace_lost() - something was lost because of a nap, or nearly so
 * @pace: of the queue, which has woken up
 *
 * There are no naps for a long while.
 */
void vhl_pace_lost(struct vhl_pace *pace);

/**
 * vhl_pace_sleep() - a sleep or a nap begins
 * @pace: of the queue
 * @now: time in ns
 * @notes: notifications so far, of all kinds that are to become fewer
 * @max: the longest nap in ns, 0 for none
 *
 * May set another length for the next naps.
 */
void vhl_pace_sleep(struct vhl_pace *pace, u64 now, u64 notes, u64 max);

#endif /* VHL_PACE_H */
