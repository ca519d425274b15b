// SPDX-License-Identifier: GPL-2.0
/* Network cases: setting up and tearing down.  See net.h */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"

static uint64_t slot_bytes(const struct opts *o, unsigned int len)
{
	return NET_HDR_LEN + len + (o->segments + 2) * NET_GAP;
}

static int make_slots(struct bench *b, struct guest *g, unsigned int n, unsigned int nsegs,
		      uint64_t bytes, struct net_slot **slots)
{
	struct net_slot *s;
	struct guest_seg *segs;

	if (!n)
		return 0;
	s = calloc(n, sizeof(*s));
	segs = calloc((size_t)n * (nsegs + 1), sizeof(*segs));
	*slots = s;
	if (!s || !segs) {
		free(segs);
		return bench_fail(b, "out of memory");
	}
	s->seg = segs;		/* to be freed, whatever comes */
	for (unsigned int i = 0; i < n; i++) {
		s[i].seg = segs + (size_t)i * (nsegs + 1);
		if (bench_alloc(b, g, bytes, bytes / 2, 64, &s[i].gpa))
			return -1;
	}
	return 0;
}

static int make_pair(struct net *net, unsigned int index)
{
	struct bench *b = net->b;
	const struct opts *o = b->opt;
	struct net_pair *p = &net->pair[index];
	unsigned int rx_segs = o->segments ? o->segments : 1, tx_segs = o->segments + 1;
	uint64_t rx_bytes = slot_bytes(o, o->rx_buf), tx_bytes = slot_bytes(o, o->size_max);
	bool tx = o->what != NET_RX, rx = o->what != NET_TX;

	p->n_rx = rx ? bench_slots(b, rx_segs) : 0;
	p->n_tx = tx ? bench_slots(b, tx_segs) : 0;
	if (bench_guest(b, GUEST_NET, -1, o->mergeable ? 1ULL << VIRTIO_NET_F_MRG_RXBUF : 0, 0,
			p->n_rx * (rx_bytes + 64) + p->n_tx * (tx_bytes + 64) +
			bench_queue_bytes(b, rx_segs) + bench_queue_bytes(b, tx_segs),
			rx_bytes > tx_bytes ? rx_bytes : tx_bytes))
		return -1;
	p->g = b->guest[index];
	p->free = calloc(p->n_tx + 1, sizeof(p->free[0]));
	p->chains = calloc(p->n_rx + 1, sizeof(p->chains[0]));
	p->piece = calloc((size_t)p->n_rx * rx_segs + 1, sizeof(p->piece[0]));
	if (!p->free || !p->chains || !p->piece)
		return bench_fail(b, "out of memory");
	if (make_slots(b, p->g, p->n_rx, rx_segs, rx_bytes, &p->rx_slot) ||
	    make_slots(b, p->g, p->n_tx, tx_segs, tx_bytes, &p->tx_slot) ||
	    bench_queue(b, p->g, 0, &p->rx) || bench_queue(b, p->g, 1, &p->tx))
		return -1;
	for (unsigned int i = 0; i < p->n_tx; i++)
		p->free[p->n_free++] = &p->tx_slot[i];
	for (unsigned int i = 0; i < p->n_rx; i++)
		p->rx_slot[i].nsegs = net_cut(p->rx_slot[i].seg, p->rx_slot[i].gpa, o->rx_buf,
					      rx_segs);
	return 0;
}

static int set_up(struct net *net)
{
	struct bench *b = net->b;
	const struct opts *o = b->opt;
	uint64_t total = o->warmup + o->count * o->rounds;

	bench_phase(b, "setting up", 0);
	net->npairs = o->queues;
	net->warmup = o->warmup;
	net->count = o->count;
	net->total = total;
	net->map = calloc(total / 64 + 1, sizeof(net->map[0]));
	if (!net->map)
		return bench_fail(b, "out of memory");
	gate_init(&net->received);
	gate_init(&net->ready);
	for (unsigned int i = 0; i < net->npairs; i++)
		gate_init(&net->seen[i]);
	pthread_barrier_init(&net->quiet, NULL, net->npairs);

	for (unsigned int i = 0; i < net->npairs; i++)
		if (make_pair(net, i))
			return -1;
	if (tap_open(b, &net->tap, o->size_max))
		return -1;
	if (o->what == NET_RX && net->npairs > 1 && tap_spread(b, &net->tap, FRAME_LOW_BYTE))
		return -1;
	if (o->xdp && xdp_open(b, &net->xdp, net->tap.index))
		return -1;
	if (!o->drop) {
		/* What a frame is charged with is up to twice its size, and a page */
		net->sock = tap_socket(b, &net->tap, o->gso ? 0x0800 : FRAME_PROTO,
				       (uint64_t)o->window * (2 * o->size_max + 8192), o->gso);
		if (net->sock < 0)
			return -1;
	}
	for (unsigned int i = 0; i < net->npairs; i++)
		if (guest_start(net->pair[i].g, net->tap.fd[i]))
			return bench_guest_failed(b, net->pair[i].g);
	return 0;
}

static int tear_down(struct net *net)
{
	int ret = 0;

	bench_phase(net->b, "stopping", 0);
	for (unsigned int i = 0; i < net->npairs; i++) {
		struct net_pair *p = &net->pair[i];

		if (p->g && p->tx && p->tx->running && guest_stop(p->g))
			ret = bench_guest_failed(net->b, p->g);
		if (ret || !p->tx || !p->n_tx)
			continue;
		if (p->tx->base != gq_base(p->tx) || gq_used_idx(p->tx) != p->tx->avail_shown)
			ret = bench_fail(net->b, "queue 1 stopped at %#x, having used %u of %u",
					 p->tx->base, gq_used_idx(p->tx), p->tx->avail_shown);
	}
	if (net->sock >= 0)
		close(net->sock);
	xdp_close(&net->xdp);
	tap_close(&net->tap);
	return ret;
}

static void free_pair(struct net_pair *p)
{
	if (p->rx_slot)
		free(p->rx_slot[0].seg);
	if (p->tx_slot)
		free(p->tx_slot[0].seg);
	free(p->rx_slot);
	free(p->tx_slot);
	free(p->free);
	free(p->chains);
	free(p->piece);
}

int net_case(struct bench *b)
{
	struct net *net = calloc(1, sizeof(*net));
	int ret;

	if (!net)
		return bench_fail(b, "out of memory");
	net->b = b;
	net->sock = -1;
	ret = set_up(net);
	if (!ret)
		ret = b->opt->what == NET_TX ? net_tx(net) :
		      b->opt->what == NET_RX ? net_rx(net) : net_pingpong(net);
	if (tear_down(net))
		ret = -1;
	for (unsigned int i = 0; i < net->npairs; i++)
		free_pair(&net->pair[i]);
	free(net->map);
	free(net);
	return ret;
}
