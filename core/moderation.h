/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Moderation: how long a queue naps.
 *
 * On a CPU that a worker shares with the task that makes its chains, a worker that is woken for the
 * first chain preempts that task before it makes the second. Every chain then costs a kick, a wake
 * and a call, although there are many to be had. A queue that naps leaves the CPU for a set time
 * without asking to be woken, and takes together what has come up meanwhile. Where the two have a
 * CPU each, a worker that reacts at once takes chains one by one as well, the faster the fewer.
 *
 * What a nap may last follows from nothing that could be looked up: it depends on what the driver
 * does, on what a notification costs on this machine, and on whether the driver waits for what the
 * nap delays. So it is found by trial. Sleeps are counted in epochs, and an epoch is compared with
 * one before: an epoch with naps with one without, one with longer naps with one with shorter. Naps
 * are kept, and made longer, while notifications and naps are fewer and chains not noticeably.
 * Where they seem to cost chains, and now and then, an epoch without them is the probe: it may be
 * the machine or the stream that is slower. Naps that do not pay rest, ever longer. The states and
 * what leads from one to the other are a table in moderation.c.
 *
 * Arithmetic only, on times that the caller takes; compiled in userspace, too. One user at a time.
 */
#ifndef VHL_MODERATION_H
#define VHL_MODERATION_H

#include <linux/types.h>

/* What ended a sleep or a nap */
enum vhl_woke {
	VHL_WOKE_KICK,		/* a wake-up, after a sleep */
	VHL_WOKE_EARLY,		/* a wake-up, in the middle of a nap */
	VHL_WOKE_NAP,		/* the timer */
	VHL_WOKE_IDLE,		/* the timer, on the only CPU, which had nothing to do */
};

enum vhl_mod_state {
	VHL_MOD_PLAIN,		/* no naps: is there a stream? */
	VHL_MOD_PEEK,		/* one nap: is there one that does not show? */
	VHL_MOD_TRY,		/* naps: are they better than none? */
	VHL_MOD_GROW,		/* naps twice as long: are they better still? */
	VHL_MOD_HOLD,		/* naps of the best length: are they as good as they were? */
	VHL_MOD_PROBE,		/* no naps for an epoch: were they worth it? */
	VHL_MOD_REST,		/* no naps for some epochs: they were not */
	VHL_MOD_STATES
};

/**
 * struct vhl_moderation - what a queue learnt from its sleeps
 * @state: what it does about naps
 * @apart: the driver has a CPU of its own: it goes on whether this one works, polls or sleeps. The
 *	   caller's, who may change it any time
 * @nap: length of naps in ns, 0 when there is none yet; see vhl_moderation_nap()
 * @began: when the epoch did, 0 when it is to begin with the next sleep
 * @asleep: ns of the epoch that it slept or napped
 * @notes: notifications before the epoch
 * @chains: taken in the epoch
 * @sleeps: of the epoch; where there are naps, these alone
 * @idle: how many of these left the CPU idle
 * @polls: of the epoch, that found something
 * @ref_ns: what the epoch is compared with: ns per chain,
 * @ref_cost: and the cost of notifications and naps per 65536 chains
 * @noise: by how much an epoch differs from the last one of its kind, in 1/1024; a mean, and at
 *	   first a guess
 * @backoff: epochs of a rest, half as many as those of the next one
 * @quiet: epochs without a stream since the last peek
 * @peek: how many there are to the next
 */
struct vhl_moderation {
	enum vhl_mod_state state;
	bool apart;
	u64 nap;
	u64 began;
	u64 asleep;
	u64 notes;
	u64 chains;
	u32 sleeps;
	u32 idle;
	u32 polls;
	u64 ref_ns;
	u32 ref_cost;
	u32 noise;
	u32 backoff;
	u32 quiet;
	u32 peek;
};

void vhl_moderation_init(struct vhl_moderation *mod);

/**
 * vhl_moderation_wake() - a sleep or a nap is over
 * @mod: of the queue
 * @slept: how long it was in ns
 * @woke: what ended it
 * @max: the longest nap in ns, 0 for none
 */
void vhl_moderation_wake(struct vhl_moderation *mod, u64 slept, enum vhl_woke woke, u64 max);

/**
 * vhl_moderation_polled() - a poll is over, and there is something
 * @mod: of the queue
 * @now: time in ns when it began
 * @polled: how long it was in ns
 * @notes: as of vhl_moderation_sleep()
 * @max: the longest nap in ns, 0 for none
 *
 * Only where the driver has a CPU of its own.
 */
void vhl_moderation_polled(struct vhl_moderation *mod, u64 now, u64 polled, u64 notes, u64 max);

/* Chains were taken */
static inline void vhl_moderation_took(struct vhl_moderation *mod, unsigned int n)
{
	mod->chains += n;
}

/**
 * vhl_moderation_sleep() - a sleep or a nap begins
 * @mod: of the queue
 * @now: time in ns
 * @notes: notifications so far, of all kinds that are to become fewer
 * @max: the longest nap in ns, 0 for none
 *
 * The next one may be of another length.
 */
void vhl_moderation_sleep(struct vhl_moderation *mod, u64 now, u64 notes, u64 max);

/* Return: how long to nap in ns, 0 for not at all */
u64 vhl_moderation_nap(const struct vhl_moderation *mod);

/**
 * vhl_moderation_lost() - something was lost because of a nap, or nearly so
 * @mod: of the queue, which has woken up
 *
 * There are no naps for a long while.
 */
void vhl_moderation_lost(struct vhl_moderation *mod);

#endif /* VHL_MODERATION_H */
