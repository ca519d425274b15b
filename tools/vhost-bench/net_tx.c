// SPDX-License-Identifier: GPL-2.0
/* net-tx: frames from the guest to the host.  See net.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net.h"

/* Frames read at once */
#define READ_BATCH	32

/* Room for a virtio_net_hdr before a frame, as the packet socket gives it */
#define VNET_LEN	sizeof(struct virtio_net_hdr)

/* Frames @from to @to, and until they have all arrived */
static int send_frames(struct net *net, unsigned int pair, uint64_t from, uint64_t to)
{
	struct bench *b = net->b;
	struct net_pair *p = &net->pair[pair];
	uint64_t window = b->opt->window / net->npairs + 1;

	for (uint64_t seq = from; seq < to;) {
		int ret;

		if (!b->opt->drop && seq >= gate_count(&net->seen[pair]) + window) {
			if (net_flush(net, p) ||
			    gate_wait(b, &net->seen[pair], seq - window / 2))
				return -1;
		}
		ret = net_send(net, pair, seq);
		if (ret < 0)
			return -1;
		if (!ret) {
			seq++;
			continue;
		}
		if (!gq_pending(p->tx) && (net_flush(net, p) || bench_wait(b, p->tx)))
			return -1;
		if (net_reclaim(net, p))
			return -1;
	}
	if (net_flush(net, p))
		return -1;
	while (p->n_free < p->n_tx)
		if (bench_wait(b, p->tx) || net_reclaim(net, p))
			return -1;
	return b->opt->drop ? 0 : gate_wait(b, &net->seen[pair], to);
}

static void sender(struct bench_thread *t)
{
	struct net *net = t->arg;
	struct bench *b = net->b;
	int ret = send_frames(net, t->index, 0, net_from(net, t->index, 0));

	/* All senders come by all barriers, whatever happened */
	for (unsigned int round = 0; round < b->opt->rounds; round++) {
		pthread_barrier_wait(&net->quiet);
		if (!t->index)
			bench_begin(b);
		pthread_barrier_wait(&net->quiet);
		if (!ret)
			ret = send_frames(net, t->index, net_from(net, t->index, round),
					  net_from(net, t->index, round + 1));
		pthread_barrier_wait(&net->quiet);
		if (!t->index) {
			bench_end(b);
			bench_result(b, net->count, net_bytes(net, round, true));
		}
	}
}

/* The header before a segmentation frame says what the guest said */
static int check_vnet(struct bench *b, const struct virtio_net_hdr *got, unsigned int len,
		      uint32_t seq)
{
	struct virtio_net_hdr_v1 sent;

	frame_vnet(b->opt, len, &sent);
	if (got->gso_type == sent.gso_type && got->gso_size == sent.gso_size &&
	    got->flags == sent.flags)
		return 0;
	return bench_fail(b, "frame %u: arrived with gso_type %u gso_size %u flags %u", seq,
			  got->gso_type, got->gso_size, got->flags);
}

static int check_frame(struct net *net, unsigned char *p, unsigned int len, uint64_t *next)
{
	struct bench *b = net->b;
	const struct opts *o = b->opt;
	unsigned int queue, want, vnet = o->gso ? VNET_LEN : 0, at;
	uint32_t seq;

	if (len < vnet + FRAME_HEAD || !frame_parse(o, p + vnet, &queue, &seq))
		return 0;
	len -= vnet;
	if (queue >= net->npairs)
		return bench_fail(b, "frame %u of queue %u was never sent", seq, queue);
	if (seq != next[queue])
		return bench_fail(b, "frame %u of queue %u came where %llu was due; the packet socket dropped %llu",
				  seq, queue, (unsigned long long)next[queue],
				  (unsigned long long)tap_socket_drops(net->sock));
	want = frame_len(o, queue, seq);
	if (len != want)
		return bench_fail(b, "frame %u of queue %u: %u bytes instead of %u", seq, queue,
				  len, want);
	if (o->gso && check_vnet(b, (void *)p, len, seq))
		return -1;
	if (o->verify) {
		at = frame_check(o, queue, seq, 0, p + vnet, len);
		if (at < len)
			return bench_fail(b, "frame %u of queue %u: byte %u of %u is wrong", seq,
					  queue, at, len);
		bench_ok(b, len);
	}
	next[queue]++;
	gate_add(&net->seen[queue], 1);
	return 0;
}

static void reader(struct bench_thread *t)
{
	struct net *net = t->arg;
	struct bench *b = net->b;
	uint64_t next[GUEST_MAX_QUEUES] = { 0 }, left = net->total;
	size_t room = (VNET_LEN + b->opt->size_max + 64) & ~15UL;	/* aligns the headers */
	unsigned char *buf = malloc(READ_BATCH * room);
	struct mmsghdr msg[READ_BATCH];
	struct iovec iov[READ_BATCH];

	if (!buf) {
		bench_fail(b, "out of memory");
		return;
	}
	memset(msg, 0, sizeof(msg));
	for (unsigned int i = 0; i < READ_BATCH; i++) {
		iov[i] = (struct iovec){ .iov_base = buf + i * room, .iov_len = room };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	while (left && !bench_stopped(b)) {
		uint64_t before = 0, after = 0;
		int n = recvmmsg(net->sock, msg, READ_BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			bench_fail(b, "packet socket: %s", strerror(errno));
			break;
		}
		for (unsigned int i = 0; i < net->npairs; i++)
			before += next[i];
		for (int i = 0; i < n; i++)
			if (check_frame(net, iov[i].iov_base, msg[i].msg_len, next))
				break;
		for (unsigned int i = 0; i < net->npairs; i++)
			after += next[i];
		left -= after - before;
	}
	free(buf);
}

int net_tx(struct net *net)
{
	struct bench_thread t[GUEST_MAX_QUEUES + 1];
	struct bench *b = net->b;
	uint64_t packets_before = 0, packets = 0;
	unsigned int n = net->npairs;

	if (b->opt->drop && tap_packets(b, &net->tap, &packets_before))
		return -1;
	for (unsigned int i = 0; i < n; i++)
		t[i] = (struct bench_thread){ .fn = sender, .arg = net, .index = i };
	t[n] = (struct bench_thread){ .fn = reader, .arg = net };
	bench_phase(b, "sending", net->total);
	if (bench_run(b, t, n + !b->opt->drop))
		return -1;
	if (!b->opt->drop)
		return 0;
	if (tap_packets(b, &net->tap, &packets))
		return -1;
	packets -= packets_before;
	if (packets != net->total)
		return bench_fail(b, "%s counted %llu packets of %llu", net->tap.name,
				  (unsigned long long)packets,
				  (unsigned long long)net->total);
	return 0;
}
