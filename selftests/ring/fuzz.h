/* SPDX-License-Identifier: GPL-2.0 */
/* Between fuzz.c and fuzz_FORMAT.c */
#ifndef FUZZ_H
#define FUZZ_H

#include <errno.h>

#include <linux/kernel.h>

#include "driver.h"

#define MAX_OPS		200

/* Sizes of rings */
#ifdef RING_PACKED
#define FUZZ_NUMS	1, 2, 3, 7, 16, 100, 2048
#else
#define FUZZ_NUMS	1, 2, 4, 8, 16, 64, 2048
#endif

/* An input, which is a string of choices */
struct input {
	const u8 *p;
	size_t left;
};

/* The next choice: so many bytes, or 0 at the end */
u32 bits(struct input *in, unsigned int bytes);
u64 pick_addr(struct input *in);
u32 pick_len(struct input *in);

/* What the ring did is wrong: the end */
void broken(const char *what);

void change_map(struct rig *r, u32 arg);
int take(struct rig *r);

/* Fill the ring, and so many descriptors of tables */
void fuzz_memory(struct input *in, struct rig *r, u32 tables);

/* What both sides do until the input is used up, or MAX_OPS */
void fuzz_script(struct input *in, struct rig *r);

#endif /* FUZZ_H */
