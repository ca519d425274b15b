/* SPDX-License-Identifier: GPL-2.0 */
/* Network cases: queue pairs, and buffers for frames in them */
#ifndef NET_H
#define NET_H

#include "frame.h"
#include "tap.h"
#include "xdp.h"

#define NET_HDR_LEN	sizeof(struct virtio_net_hdr_v1)

/* Between two pieces of a frame, so that they are no neighbours */
#define NET_GAP		64

/**
 * struct net_slot - a buffer that is one chain
 * @gpa: where it begins
 * @seg: what it consists of; there is room for one more than that
 * @nsegs: how many
 */
struct net_slot {
	uint64_t gpa;
	struct guest_seg *seg;
	unsigned int nsegs;
};

/**
 * struct net_pair - a queue pair, a device of its own
 * @g: the device
 * @rx: queue 0
 * @tx: queue 1
 * @rx_slot: receive buffers
 * @tx_slot: send buffers
 * @n_rx: how many
 * @n_tx: how many
 * @free: send buffers not in use
 * @n_free: how many
 * @pending: added and not shown to the device yet
 * @chains: of the frame that is being received
 * @n_chains: how many
 * @piece: what was written to them
 * @n_pieces: how many
 * @len: bytes in them
 */
struct net_pair {
	struct guest *g;
	struct guest_queue *rx, *tx;
	struct net_slot *rx_slot, *tx_slot;
	unsigned int n_rx, n_tx;
	struct net_slot **free;
	unsigned int n_free, pending;
	struct net_slot **chains;
	struct guest_seg *piece;
	unsigned int n_chains, n_pieces, len;
};

/**
 * struct net - a run of a network case
 * @b: the run
 * @tap: the host's side
 * @sock: packet socket on it, -1 without
 * @xdp: program that sends to it
 * @pair: queue pairs
 * @npairs: how many
 * @warmup: frames before the measured part, of all pairs
 * @count: frames in a round of it
 * @total: all of them
 * @seen: of frames to the host, per pair: read back
 * @received: frames received by the guest, by all pairs
 * @ready: receivers that have posted their buffers
 * @map: frames received, a bit each
 * @quiet: senders meet here around the begin and the end of a round
 */
struct net {
	struct bench *b;
	struct tap tap;
	int sock;
	struct xdp xdp;
	struct net_pair pair[GUEST_MAX_QUEUES];
	unsigned int npairs;
	uint64_t warmup, count, total;
	struct gate seen[GUEST_MAX_QUEUES], received, ready;
	_Atomic uint64_t *map;
	pthread_barrier_t quiet;
};

/* net_share() - frames of @n that are pair @i's */
static inline uint64_t net_share(const struct net *net, uint64_t n, unsigned int i)
{
	return n / net->npairs + (i < n % net->npairs);
}

/* net_from() - the first frame of pair @i in a round of the measured part */
static inline uint64_t net_from(const struct net *net, unsigned int i, unsigned int round)
{
	return net_share(net, net->warmup, i) + round * net_share(net, net->count, i);
}

/* net_frame.c */

/* net_bytes() - of the frames of a round, numbered by pair, or all by pair 0 if !@shared */
uint64_t net_bytes(const struct net *net, unsigned int round, bool shared);

/* net_cut() - cut @len bytes at @gpa into @n pieces with gaps, fewer when the bytes are fewer */
unsigned int net_cut(struct guest_seg *seg, uint64_t gpa, unsigned int len, unsigned int n);

/* net_send() - put frame @seq into a free buffer and add it; 1 when there is none, -1 failed */
int net_send(struct net *net, unsigned int pair, uint32_t seq);

/* net_flush() - show the device what was added */
int net_flush(struct net *net, struct net_pair *p);

/* net_reclaim() - collect the buffers of frames that were sent */
int net_reclaim(struct net *net, struct net_pair *p);

/* net_post() - add a receive buffer */
int net_post(struct net *net, struct net_pair *p, struct net_slot *s);

/**
 * net_receive() - collect a frame, check it and add its buffers again
 *
 * Return: 1 with a frame that is right, 0 none was there or it was none of ours, -1 failed.
 */
int net_receive(struct net *net, struct net_pair *p, unsigned int *queue, uint32_t *seq);

/* net_mark() - note a frame as received; -1 when it was before, or is unknown */
int net_mark(struct net *net, unsigned int queue, uint32_t seq);

/* net_tx.c, net_rx.c, net_pingpong.c */
int net_tx(struct net *net);
int net_rx(struct net *net);
int net_pingpong(struct net *net);

#endif /* NET_H */
