// SPDX-License-Identifier: GPL-2.0
/* net-rx: frames from the host to the guest.  See net.h */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net.h"

/* Frames sent to the TAP with one call */
#define SEND_BATCH	32

/* Frames @seq to @seq + @n by XDP; together where it does not matter what is in them */
static int send_by_xdp(struct net *net, uint64_t seq, unsigned int n)
{
	const struct opts *o = net->b->opt;
	bool alike = !o->verify && o->size_min == o->size_max;
	unsigned int at_once = alike ? n : 1;
	unsigned char frame[XDP_MAX];

	for (; n; n -= at_once, seq += at_once) {
		unsigned int len = frame_len(o, 0, seq);

		frame_fill(o, 0, seq, 0, frame, len);
		if (bench_corrupt(net->b))
			frame[len - 1] ^= 0x10;
		if (xdp_send(net->b, &net->xdp, frame, len, seq, at_once))
			return -1;
	}
	return 0;
}

/* Send what was prepared; the TAP refuses a frame when its queue is full */
static int send_all(struct net *net, struct mmsghdr *msg, unsigned int n)
{
	while (n && !bench_stopped(net->b)) {
		int sent = sendmmsg(net->sock, msg, n, 0);

		if (sent > 0) {
			msg += sent;
			n -= sent;
		} else if (errno == ENOBUFS || errno == EAGAIN) {
			sched_yield();
		} else if (errno != EINTR) {
			return bench_fail(net->b, "packet socket: %s", strerror(errno));
		}
	}
	return n ? -1 : 0;
}

/* Frames @from to @to, and until the guest has received all */
static int send_frames(struct net *net, unsigned char *buf, uint64_t from, uint64_t to)
{
	const struct opts *o = net->b->opt;
	struct mmsghdr msg[SEND_BATCH];
	struct iovec iov[SEND_BATCH];

	memset(msg, 0, sizeof(msg));
	for (uint64_t seq = from; seq < to;) {
		uint64_t room = gate_count(&net->received) + o->window - seq;
		unsigned int n = 0;

		if (!room) {
			uint64_t at = seq - o->window + (o->window + 1) / 2;

			if (gate_wait(net->b, &net->received, at))
				return -1;
			continue;
		}
		if (o->xdp) {
			n = room < to - seq ? room : to - seq;
			if (send_by_xdp(net, seq, n))
				return -1;
			seq += n;
			continue;
		}
		for (; n < SEND_BATCH && n < room && seq < to; n++, seq++) {
			unsigned char *frame = buf + (size_t)n * o->size_max;
			unsigned int len = frame_len(o, 0, seq);

			frame_fill(o, 0, seq, 0, frame, len);
			if (bench_corrupt(net->b))
				frame[len - 1] ^= 0x10;
			iov[n] = (struct iovec){ .iov_base = frame, .iov_len = len };
			msg[n].msg_hdr.msg_iov = &iov[n];
			msg[n].msg_hdr.msg_iovlen = 1;
		}
		if (send_all(net, msg, n))
			return -1;
	}
	return gate_wait(net->b, &net->received, to);
}

static void sender(struct bench_thread *t)
{
	struct net *net = t->arg;
	struct bench *b = net->b;
	unsigned char *buf = malloc((size_t)SEND_BATCH * b->opt->size_max);
	uint64_t seq = net->warmup;

	if (!buf) {
		bench_fail(b, "out of memory");
		return;
	}
	if (gate_wait(b, &net->ready, net->npairs) || send_frames(net, buf, 0, seq))
		goto out;
	for (unsigned int round = 0; round < b->opt->rounds; round++, seq += net->count) {
		if (bench_begin(b) || send_frames(net, buf, seq, seq + net->count))
			break;
		bench_end(b);
		bench_result(b, net->count, net_bytes(net, round, false));
	}
out:
	free(buf);
}

static int post_all(struct net *net, struct net_pair *p)
{
	for (unsigned int i = 0; i < p->n_rx; i++)
		if (net_post(net, p, &p->rx_slot[i]))
			return -1;
	gq_publish(p->rx);
	gq_notify(p->rx);
	gate_add(&net->ready, 1);
	return 0;
}

static void receiver(struct bench_thread *t)
{
	struct net *net = t->arg;
	struct bench *b = net->b;
	struct net_pair *p = &net->pair[t->index];
	int64_t last = -1;

	if (post_all(net, p))
		return;
	while (!bench_wait(b, p->rx)) {
		unsigned int n = 0, queue;
		uint32_t seq;
		int ret;

		while (n < b->opt->batch && gq_pending(p->rx)) {
			ret = net_receive(net, p, &queue, &seq);
			if (ret < 0)
				return;
			if (!ret)
				continue;
			if (net_mark(net, queue, seq))
				return;
			if (seq <= last) {
				bench_fail(b, "frame %u came after %lld", seq, (long long)last);
				return;
			}
			last = seq;
			n++;
		}
		gq_publish(p->rx);
		gq_notify(p->rx);
		if (n && gate_add(&net->received, n) == net->total)
			b->done = true;
	}
}

int net_rx(struct net *net)
{
	struct bench_thread t[GUEST_MAX_QUEUES + 1];
	struct bench *b = net->b;
	unsigned int n = net->npairs;

	for (unsigned int i = 0; i < n; i++)
		t[i] = (struct bench_thread){ .fn = receiver, .arg = net, .index = i };
	t[n] = (struct bench_thread){ .fn = sender, .arg = net };
	bench_phase(b, "receiving", net->total);
	return bench_run(b, t, n + 1);
}
