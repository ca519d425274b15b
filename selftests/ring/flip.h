/* SPDX-License-Identifier: GPL-2.0 */
/* Between flip.c and flip_FORMAT.c */
#ifndef FLIP_H
#define FLIP_H

#include <linux/kernel.h>

#include "driver.h"

#define NUM	16
#define TABLE	(RAM + 0x8000)
#define ENTRIES	48
#define RO	0x40000000ULL
#define WO	0x40001000ULL

/* Good ones and bad ones */
u64 flip_addr(struct rng *rng);
u32 flip_len(struct rng *rng);

/* Change something, while the ring looks at it */
void flip_one(struct rig *r, void *table, struct rng *rng);

/* Make some chains available. Return: how many may be taken at most */
unsigned int flip_show(struct rig *r, u64 turns);

/* The base for the next start, past a chain that is bad */
u32 flip_skip(const struct rig *r);

#endif /* FLIP_H */
