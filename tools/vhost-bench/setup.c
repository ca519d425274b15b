// SPDX-License-Identifier: GPL-2.0
/* Open devices, agree on features, lay out memory, make queues.  See bench.h */
#include <errno.h>
#include <string.h>

#include "bench.h"

static const struct {
	unsigned int bit;
	const char *name, *option;
} feature_names[] = {
	{ VIRTIO_F_VERSION_1, "VIRTIO_F_VERSION_1", NULL },
	{ VIRTIO_F_ACCESS_PLATFORM, "VIRTIO_F_ACCESS_PLATFORM", NULL },
	{ VIRTIO_F_RING_PACKED, "VIRTIO_F_RING_PACKED", "--ring split" },
	{ VIRTIO_F_IN_ORDER, "VIRTIO_F_IN_ORDER", "--in-order off" },
	{ VIRTIO_RING_F_EVENT_IDX, "VIRTIO_F_EVENT_IDX", "--event-idx off" },
	{ VIRTIO_RING_F_INDIRECT_DESC, "VIRTIO_F_INDIRECT_DESC", "--indirect off" },
	{ VIRTIO_NET_F_MRG_RXBUF, "VIRTIO_NET_F_MRG_RXBUF", "--mergeable off" },
	{ VIRTIO_BLK_F_MQ, "VIRTIO_BLK_F_MQ", "--queues 1" },
};

/* An option that cannot be had is an error: a measurement must be of what was asked for */
static int need(struct bench *b, uint64_t offered, uint64_t wanted)
{
	uint64_t missing = wanted & ~offered;

	for (size_t i = 0; i < sizeof(feature_names) / sizeof(feature_names[0]); i++) {
		if (!(missing >> feature_names[i].bit & 1))
			continue;
		return bench_fail(b, "%s does not offer %s%s%s", b->opt->dev,
				  feature_names[i].name,
				  feature_names[i].option ? "; try " : "",
				  feature_names[i].option ? feature_names[i].option : "");
	}
	return missing ? bench_fail(b, "%s does not offer features %#llx", b->opt->dev,
				    (unsigned long long)missing) : 0;
}

/* What a device says that does not know our requests, before or instead of the owner's check */
static bool unknown(int err)
{
	return err == -ENOTTY || err == -EPERM;
}

/* A disk of ours can be told how it is to look; others will do as they are */
static int set_blk_opts(struct bench *b, struct guest *g)
{
	struct vhl_blk_opts opts = {
		.num_queues = b->opt->queues,
		.serial = BENCH_SERIAL,
	};
	int ret = GUEST_IOCTL(g, VHL_BLK_SET_OPTS, &opts);

	b->serial_set = !ret;
	return unknown(ret) ? 0 : ret;
}

/* Nor does a foreign vhost-vDPA device, which has its disk already; its size will be compared */
static int attach(struct guest *g, int fd)
{
	int ret = guest_attach(g, fd);

	return g->ops == &guest_ops_vdpa && unknown(ret) ? 0 : ret;
}

int bench_guest(struct bench *b, enum guest_kind kind, int fd, uint64_t features,
		uint64_t optional, uint64_t bytes, uint64_t piece)
{
	const struct opts *o = b->opt;
	uint64_t offered;
	struct guest *g;
	int ret;

	ret = guest_open(&g, o->dev, kind);
	if (!g)
		return bench_fail(b, "out of memory");
	b->guest[b->nguests++] = g;
	g->shared = o->shared;
	g->packed = o->packed;
	g->in_order = o->in_order;

	features |= 1ULL << VIRTIO_F_VERSION_1;
	if (o->packed)
		features |= 1ULL << VIRTIO_F_RING_PACKED;
	if (o->in_order)
		features |= 1ULL << VIRTIO_F_IN_ORDER;
	if (o->event_idx)
		features |= 1ULL << VIRTIO_RING_F_EVENT_IDX;
	if (o->indirect)
		features |= 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	if (!ret && g->ops == &guest_ops_vdpa)
		features |= 1ULL << VIRTIO_F_ACCESS_PLATFORM;

	if (!ret && kind == GUEST_BLK)
		ret = set_blk_opts(b, g);
	if (!ret && kind == GUEST_BLK)
		ret = attach(g, fd);
	if (!ret)
		ret = guest_own(g);
	if (!ret)
		ret = guest_features(g, &offered);
	if (ret)
		return bench_guest_failed(b, g);
	if (need(b, offered, features))
		return -1;
	ret = guest_set_features(g, features | (offered & optional));
	/* A piece, or a part of a ring, may not fit the rest of any region */
	if (piece < o->ring_size * sizeof(struct vring_desc))
		piece = o->ring_size * sizeof(struct vring_desc);
	if (!ret)
		ret = guest_layout(g, o->regions, bytes + (o->regions + 1) * (piece + 4096));
	if (!ret)
		ret = guest_commit(g);
	return ret ? bench_guest_failed(b, g) : 0;
}

uint64_t bench_queue_bytes(const struct bench *b, unsigned int nsegs)
{
	uint64_t table = 0;

	/* as guest_ring.c grows the indirect table of a head: 4, 8, 16, ... */
	if (b->opt->indirect)
		for (unsigned int room = 4; room < 2 * nsegs; room *= 2)
			table += room * sizeof(struct vring_desc);
	return b->opt->ring_size * (16 + 2 + 8 + table) + 4096;
}

unsigned int bench_slots(const struct bench *b, unsigned int nsegs)
{
	return b->opt->ring_size / (b->opt->indirect ? 1 : nsegs);
}

/* The first queues of a device bring theirs, the others are with those */
static int have_worker(struct bench *b, struct guest *g, unsigned int index)
{
	unsigned int n = b->opt->workers;
	struct vhost_vring_worker queue = { .index = index };
	struct vhost_worker_state made;
	int ret;

	if (!n)
		return 0;
	if (index < n) {
		ret = GUEST_IOCTL(g, VHOST_NEW_WORKER, &made);
		if (ret)
			return ret;
		b->worker[index] = made.worker_id;
	}
	queue.worker_id = b->worker[index % n];
	return GUEST_IOCTL(g, VHOST_ATTACH_VRING_WORKER, &queue);
}

int bench_queue(struct bench *b, struct guest *g, unsigned int index, struct guest_queue **q)
{
	int ret = guest_queue(g, index, b->opt->ring_size, q);

	if (!ret) {
		(*q)->irq = b->opt->irq;
		ret = guest_queue_program(*q) ?: have_worker(b, g, index);
	}
	return ret ? bench_guest_failed(b, g) : 0;
}

int bench_alloc(struct bench *b, struct guest *g, uint64_t size, uint64_t below, uint64_t align,
		uint64_t *gpa)
{
	if (b->opt->straddle && !guest_alloc_straddling(g, below, size - below, gpa))
		return 0;
	if (!guest_alloc(g, size, align, gpa))
		return 0;
	return bench_guest_failed(b, g);
}
