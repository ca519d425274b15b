// SPDX-License-Identifier: GPL-2.0
/* Network cases: frames into the rings and out of them.  See net.h */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "net.h"

unsigned int net_cut(struct guest_seg *seg, uint64_t gpa, unsigned int len, unsigned int n)
{
	unsigned int done = 0;

	if (n > len)
		n = len;
	for (unsigned int i = 0; i < n; i++) {
		unsigned int part = (len - done) / (n - i);

		seg[i].gpa = gpa + done + (uint64_t)i * NET_GAP;
		seg[i].len = part;
		done += part;
	}
	return n;
}

/* Header and frame into a buffer, in the pieces that were asked for */
static void fill_slot(struct net *net, unsigned int pair, uint32_t seq, struct net_slot *s)
{
	const struct opts *o = net->b->opt;
	const struct guest *g = net->pair[pair].g;
	unsigned int len = frame_len(o, pair, seq), done = 0;
	struct guest_walk w = { .g = g, .seg = s->seg + 1 };
	struct virtio_net_hdr_v1 hdr;
	uint64_t n;
	void *to;

	frame_vnet(o, len, &hdr);
	guest_write(g, s->gpa, &hdr, sizeof(hdr));
	s->nsegs = o->segments ? net_cut(s->seg + 1, s->gpa + NET_GAP, len, o->segments) :
				 net_cut(s->seg + 1, s->gpa + sizeof(hdr), len, 1);
	w.n = s->nsegs;
	for (; (to = guest_next(&w, UINT64_MAX, &n)); done += n)
		frame_fill(o, pair, seq, done, to, n);
	if (bench_corrupt(net->b)) {
		const struct guest_seg *last = &s->seg[s->nsegs];
		unsigned char *byte = guest_ptr(g, last->gpa + last->len - 1, 1);

		*byte ^= 0x10;
	}
	s->seg[0] = (struct guest_seg){ .gpa = s->gpa, .len = sizeof(hdr) };
	if (o->segments)
		s->nsegs++;
	else
		s->seg[0].len += len;
}

int net_send(struct net *net, unsigned int pair, uint32_t seq)
{
	struct net_pair *p = &net->pair[pair];
	struct net_slot *s;

	if (!p->n_free)
		return 1;
	s = p->free[--p->n_free];
	fill_slot(net, pair, seq, s);
	if (gq_add(p->tx, s->seg, s->nsegs, 0, s))
		return bench_guest_failed(net->b, p->g);
	if (++p->pending >= net->b->opt->batch)
		return net_flush(net, p);
	return 0;
}

int net_flush(struct net *net, struct net_pair *p)
{
	int ret;

	p->pending = 0;
	gq_publish(p->tx);
	ret = gq_notify(p->tx);
	return ret ? bench_fail(net->b, "kick: %s", strerror(-ret)) : 0;
}

int net_reclaim(struct net *net, struct net_pair *p)
{
	uint32_t len;
	void *token;
	int ret;

	while (!(ret = gq_get(p->tx, &token, &len)))
		p->free[p->n_free++] = token;
	return ret == -EAGAIN ? 0 : bench_guest_failed(net->b, p->g);
}

int net_post(struct net *net, struct net_pair *p, struct net_slot *s)
{
	int ret = gq_add(p->rx, s->seg, 0, s->nsegs, s);

	return ret ? bench_guest_failed(net->b, p->g) : 0;
}

/* The first bytes of what was received; how many there are */
static unsigned int read_head(const struct net_pair *p, void *head, unsigned int len)
{
	struct guest_walk w = { .g = p->g, .seg = p->piece, .n = p->n_pieces };
	unsigned int done = 0;
	const void *at;
	uint64_t n;

	for (; (at = guest_next(&w, len - done, &n)); done += n)
		memcpy((char *)head + done, at, n);
	return done;
}

/* Index of the first byte of a frame that is wrong, @len when none is */
static unsigned int wrong_byte(const struct opts *o, const struct net_pair *p, unsigned int queue,
			       uint32_t seq, unsigned int len)
{
	struct guest_walk w = { .g = p->g, .seg = p->piece, .n = p->n_pieces };
	unsigned int done = 0;
	const void *at;
	uint64_t n;

	guest_skip(&w, NET_HDR_LEN);
	for (; (at = guest_next(&w, len - done, &n)); done += n) {
		unsigned int good = frame_check(o, queue, seq, done, at, n);

		if (good < n)
			return done + good;
	}
	return len;
}

/* Note what was written to a chain: the first @len bytes of its segments */
static void add_pieces(struct net_pair *p, const struct net_slot *s, uint32_t len)
{
	p->len += len;
	for (unsigned int i = 0; len && i < s->nsegs; i++) {
		struct guest_seg *piece = &p->piece[p->n_pieces++];

		*piece = s->seg[i];
		if (piece->len > len)
			piece->len = len;
		len -= piece->len;
	}
}

/* The chains of a frame, as many as the header of the first says; 1 when there is none */
static int collect(struct net *net, struct net_pair *p)
{
	struct virtio_net_hdr_v1 hdr;
	unsigned int want = 1;
	uint32_t len;
	void *token;
	int ret;

	p->len = 0;
	p->n_pieces = 0;
	for (p->n_chains = 0; p->n_chains < want;) {
		ret = gq_get(p->rx, &token, &len);
		if (ret == -EAGAIN && !p->n_chains)
			return 1;
		if (ret == -EAGAIN)
			return bench_fail(net->b, "a frame in %u buffers came with only %u of them",
					  want, p->n_chains);
		if (ret)
			return bench_guest_failed(net->b, p->g);
		p->chains[p->n_chains] = token;
		add_pieces(p, token, len);
		if (p->n_chains++)
			continue;
		if (read_head(p, &hdr, sizeof(hdr)) < sizeof(hdr))
			return bench_fail(net->b, "%u bytes in a receive buffer, less than a header",
					  len);
		if (net->b->opt->mergeable)
			want = le16toh(hdr.num_buffers);
		if (!want || want > p->n_rx)
			return bench_fail(net->b, "a frame with num_buffers %u", want);
	}
	return 0;
}

/* Is it as it was sent; 0 when it is no frame of ours, 1 right */
static int check(struct net *net, struct net_pair *p, unsigned int *queue, uint32_t *seq)
{
	struct {
		struct virtio_net_hdr_v1 vnet;
		unsigned char frame[FRAME_HEAD];
	} head;
	const struct opts *o = net->b->opt;
	unsigned int len = p->len - NET_HDR_LEN, want, at;

	if (read_head(p, &head, sizeof(head)) < sizeof(head) ||
	    !frame_parse(o, head.frame, queue, seq))
		return 0;
	want = frame_len(o, *queue, *seq);
	if (head.vnet.flags || head.vnet.gso_type)
		return bench_fail(net->b, "frame %u: header with flags %#x gso_type %#x", *seq,
				  head.vnet.flags, head.vnet.gso_type);
	if (len != want)
		return bench_fail(net->b, "frame %u: %u bytes instead of %u", *seq, len, want);
	if (!o->verify)
		return 1;
	at = wrong_byte(o, p, *queue, *seq, len);
	if (at < len)
		return bench_fail(net->b, "frame %u: byte %u of %u is wrong", *seq, at, len);
	bench_ok(net->b, len);
	return 1;
}

int net_receive(struct net *net, struct net_pair *p, unsigned int *queue, uint32_t *seq)
{
	int ret = collect(net, p);

	if (ret)
		return ret < 0 ? -1 : 0;
	ret = check(net, p, queue, seq);
	for (unsigned int i = 0; i < p->n_chains && ret >= 0; i++)
		if (net_post(net, p, p->chains[i]))
			ret = -1;
	return ret;
}

int net_mark(struct net *net, unsigned int queue, uint32_t seq)
{
	uint64_t bit = 1ULL << seq % 64;

	if (queue || seq >= net->total)
		return bench_fail(net->b, "frame %u of queue %u was never sent", seq, queue);
	if (atomic_fetch_or(&net->map[seq / 64], bit) & bit)
		return bench_fail(net->b, "frame %u came twice", seq);
	return 0;
}

uint64_t net_bytes(const struct net *net, unsigned int round, bool shared)
{
	uint64_t bytes = 0, from = net->warmup + round * net->count;

	if (!shared) {
		for (uint64_t seq = from; seq < from + net->count; seq++)
			bytes += frame_len(net->b->opt, 0, seq);
		return bytes;
	}
	for (unsigned int i = 0; i < net->npairs; i++)
		for (uint64_t seq = net_from(net, i, round); seq < net_from(net, i, round + 1); seq++)
			bytes += frame_len(net->b->opt, i, seq);
	return bytes;
}
