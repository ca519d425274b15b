// SPDX-License-Identifier: GPL-2.0
/* net-pingpong: one frame to the host and back.  See net.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net.h"

/* The host's side: whatever is ours goes back as it came */
static void echo(struct bench_thread *t)
{
	struct net *net = t->arg;
	struct bench *b = net->b;
	size_t room = b->opt->size_max + 64;
	unsigned char *buf = malloc(room);

	if (!buf)
		bench_fail(b, "out of memory");
	while (!bench_stopped(b) && !b->done) {
		ssize_t n = recv(net->sock, buf, room, 0);
		unsigned int queue;
		uint32_t seq;

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			bench_fail(b, "packet socket: %s", strerror(errno));
		if (n < FRAME_HEAD || !frame_parse(b->opt, buf, &queue, &seq))
			continue;
		if (send(net->sock, buf, n, 0) != n)
			bench_fail(b, "packet socket: %s", strerror(errno));
	}
	free(buf);
}

/* One frame; its round trip in *@ns */
static int ping(struct net *net, struct net_pair *p, uint32_t want, uint64_t *ns)
{
	unsigned int queue;
	uint64_t begin;
	uint32_t seq;
	int ret;

	/* The device may be slower to give a buffer back than the host is to answer */
	while (!p->n_free)
		if (bench_wait(net->b, p->tx) || net_reclaim(net, p))
			return -1;
	begin = now_ns();
	if (net_send(net, 0, want) || net_flush(net, p))
		return -1;
	do {
		if (bench_wait(net->b, p->rx))
			return -1;
		ret = net_receive(net, p, &queue, &seq);
		if (ret < 0)
			return -1;
	} while (!ret);
	*ns = now_ns() - begin;
	if (seq != want)
		return bench_fail(net->b, "frame %u came back, not %u", seq, want);
	gq_publish(p->rx);
	gq_notify(p->rx);
	return net_mark(net, queue, seq) || net_reclaim(net, p) ? -1 : 0;
}

static void player(struct bench_thread *t)
{
	struct net *net = t->arg;
	struct bench *b = net->b;
	struct net_pair *p = &net->pair[0];
	uint64_t ns;

	for (unsigned int i = 0; i < p->n_rx; i++)
		if (net_post(net, p, &p->rx_slot[i]))
			return;
	gq_publish(p->rx);
	gq_notify(p->rx);
	for (uint64_t seq = 0; seq < net->warmup; seq++)
		if (ping(net, p, seq, &ns))
			return;
	for (unsigned int round = 0; round < b->opt->rounds; round++) {
		if (bench_begin(b))
			return;
		for (uint64_t seq = net_from(net, 0, round); seq < net_from(net, 0, round + 1);
		     seq++) {
			if (ping(net, p, seq, &ns))
				return;
			hist_add(&b->lat, ns);
		}
		bench_end(b);
		bench_result(b, net->count, net_bytes(net, round, true));
	}
	b->done = true;
}

int net_pingpong(struct net *net)
{
	struct bench_thread t[] = {
		{ .fn = player, .arg = net },
		{ .fn = echo, .arg = net },
	};

	bench_phase(net->b, "playing", net->total);
	return bench_run(net->b, t, 2);
}
