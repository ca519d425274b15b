/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest that always has requests for a disk, on one queue or on several, and counts what was done.
 */
#ifndef ABI_LOAD_H
#define ABI_LOAD_H

#include "dut.h"

#define LANE_DEPTH	32
#define LANE_BLOCK	4096

/* A queue and its requests. Each slot has a header, a block and a status byte */
struct lane {
	struct guest_queue *q;
	uint64_t gpa;
	unsigned char *p;
	bool busy[LANE_DEPTH];
	uint32_t type[2];		/* in turns */
	uint32_t len;
	unsigned int turn;
	uint64_t done[2];		/* reads, writes */
};

/* lane_open() - make a queue, and program it; it reads.  0 or -errno, as all others */
int lane_open(struct lane *l, struct guest *g, unsigned int index);

/* lane_add() - a request that is not published yet; @len: of its data, 0 for none */
int lane_add(struct lane *l, unsigned int slot, uint32_t type, uint32_t len);

/* lane_fill() - use all slots that are free; lane_reap() - what is done, all of which has to be well */
int lane_fill(struct lane *l);
int lane_reap(struct lane *l);

/* lane_one() - a request in the first slot, or wait for the one that is there: -ETIMEDOUT */
int lane_one(struct lane *l, uint32_t type, uint32_t len, unsigned int ms);

/* What was done in a time, which is exactly @ns */
struct load_count {
	int64_t ns;
	uint64_t done[2];
};

/* load_run() - keep so many queues filled for so long */
int load_run(struct lane *lane, unsigned int n, unsigned int ms, struct load_count *c);

#endif /* ABI_LOAD_H */
