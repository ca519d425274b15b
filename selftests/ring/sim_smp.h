/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Naps: a driver and a device with a CPU each, acted out.
 */
#ifndef SIM_SMP_H
#define SIM_SMP_H

#include <linux/kernel.h>

#include "moderation.h"

/* ns */
struct smp_load {
	u64 make;		/* the driver makes a chain */
	u64 reap;		/* and reads what became of it */
	u64 kick;		/* its exit for a kick */
	u64 call;		/* its interrupt, and that it is woken if it waits */
	u64 wake;		/* the device wakes up, by a kick or a timer */
	u64 turn;		/* a turn of the device, whatever it finds */
	u64 serve;		/* the device serves a chain */
	u64 poll;		/* longest poll before a sleep */
	unsigned int depth;	/* chains in flight at most */
};

struct smp_rates {
	u64 ns;			/* per chain */
	u64 calls;		/* per 1000 chains */
	u64 kicks;		/* same */
	u64 busy;		/* ns per chain that the device's CPU works or polls */
	u64 naps;
};

#define SMP_CHAINS	100000

/* What a load of so many chains comes to with naps of at most @max ns, 0 for none */
struct smp_rates smp_measure(const struct smp_load *load, u64 max);

#endif /* SIM_SMP_H */
