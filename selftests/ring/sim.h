/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Naps: a driver and a device that share a CPU, acted out.
 */
#ifndef SIM_H
#define SIM_H

#include <linux/kernel.h>

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
	u64 slept_at;
	u64 notes;
	u64 kicks;
	unsigned int avail;	/* made, not taken */
	unsigned int done;	/* served, not read */
	u64 served;
	u64 naps;
	u64 longest;
	u64 idle;		/* ns of naps in which there was nothing to do for anybody */
};

struct rates {
	u64 ns;			/* per chain */
	u64 notes;		/* per 1000 chains */
	u64 naps;
	u64 longest;
};

/* The rest of an initializer of a struct load, with what it says otherwise */
#define LOAD(...) { USUAL, __VA_ARGS__ }
#define USUAL .reap = 1000, .wake = 8000, .call = 4000, .serve = 2000

/* Cycles of a sleep and a turn, all alike */
struct cycle {
	u64 sleep;
	u64 turn;
	unsigned int chains;
	unsigned int notes;
	enum vhl_woke woke;
};

/* The driver has as many more chains served */
void sim_run(struct sim *s, u64 chains);

/* What a load comes to with naps of at most @max ns */
struct rates sim_measure(const struct load *load, u64 max);

/* @n cycles, all alike */
void sim_cycles(struct sim *s, const struct cycle *c, unsigned int n);

#endif /* SIM_H */
