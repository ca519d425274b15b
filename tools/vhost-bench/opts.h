/* SPDX-License-Identifier: GPL-2.0 */
/* The command line */
#ifndef OPTS_H
#define OPTS_H

#include <stdbool.h>
#include <stdint.h>

/* What XDP has in one page, with room to spare */
#define XDP_MAX		3000

enum bench_case {
	NET_TX,
	NET_RX,
	NET_PINGPONG,
	BLK_READ,
	BLK_WRITE,
	BLK_MIXED,
	BLK_VERIFY,
};

/**
 * struct opts - what was asked for; see vhost-bench.1
 * @what: the case
 * @name: its name
 * @size_min: bytes of the smallest frame; same as @size_max for block
 * @size_max: bytes of a frame or request
 * @segments: pieces that a frame or data is cut into; 0 joins a frame with its header
 * @corrupt: payload to damage, counted from 1; 0 none
 * @rounds: measured parts, each of @count
 * @step: a line of standard input begins each
 * @ordered: requests are only over when all that came before them are
 * @workers: that are made for each device and take its queues in turns; 0 leaves them to the device
 */
struct opts {
	enum bench_case what;
	const char *name;
	const char *dev, *file, *tap;
	uint64_t count, warmup, seed, span, corrupt;
	unsigned int size_min, size_max, batch, qd, queues, ring_size, regions, segments;
	unsigned int rx_buf, window, timeout, rounds, workers;
	bool packed, in_order, event_idx, indirect, mergeable, direct, irq, json, random, gso, drop, verify, odd;
	bool fill, shared, step, straddle, xdp, ordered;
};

static inline bool opts_is_net(const struct opts *o)
{
	return o->what <= NET_PINGPONG;
}

/* opts_each() - every round is reported as it ends, instead of the run */
static inline bool opts_each(const struct opts *o)
{
	return o->rounds > 1 || o->step;
}

/* opts_parse() - 0, or the exit status after --help, --version (0 as well, *done) or an error */
int opts_parse(struct opts *o, int argc, char **argv, bool *done);

#endif /* OPTS_H */
