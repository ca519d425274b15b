// SPDX-License-Identifier: GPL-2.0
/* A guest that always has requests for a disk.  See load.h */
#include <endian.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

int lane_open(struct lane *l, struct guest *g, unsigned int index)
{
	int ret = guest_queue(g, index, 128, &l->q);

	ret = ret ?: guest_alloc(g, (1 + LANE_DEPTH) * LANE_BLOCK, LANE_BLOCK, &l->gpa);
	if (ret)
		return ret;
	l->p = guest_ptr(g, l->gpa, (1 + LANE_DEPTH) * LANE_BLOCK);
	l->type[0] = VIRTIO_BLK_T_IN;
	l->type[1] = VIRTIO_BLK_T_IN;
	l->len = LANE_BLOCK;
	return guest_queue_program(l->q);
}

static unsigned char *lane_status(struct lane *l, unsigned int slot)
{
	return l->p + LANE_DEPTH * sizeof(struct virtio_blk_outhdr) + slot;
}

int lane_add(struct lane *l, unsigned int slot, uint32_t type, uint32_t len)
{
	struct virtio_blk_outhdr *hdr = (struct virtio_blk_outhdr *)l->p + slot;
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	uint64_t status = l->gpa + (lane_status(l, slot) - l->p);
	struct guest_seg seg[] = {
		{ l->gpa + slot * sizeof(*hdr), sizeof(*hdr) },
		{ l->gpa + (1 + slot) * LANE_BLOCK, len },
		{ status, 1 },
	};

	if (!len)
		seg[1] = seg[2];
	*hdr = (struct virtio_blk_outhdr){
		.type = htole32(type),
		.sector = type < VIRTIO_BLK_T_FLUSH ? htole64(slot * (LANE_BLOCK / 512)) : 0,
	};
	*lane_status(l, slot) = 0xaa;
	l->busy[slot] = true;
	return gq_add(l->q, seg, !len || in ? 1 : 2, !len || !in ? 1 : 2, &l->busy[slot]);
}

int lane_fill(struct lane *l)
{
	bool more = false;

	for (unsigned int i = 0; i < LANE_DEPTH; i++) {
		int ret;

		if (l->busy[i])
			continue;
		ret = lane_add(l, i, l->type[l->turn++ % 2], l->len);
		if (ret)
			return ret;
		more = true;
	}
	if (!more)
		return 0;
	gq_publish(l->q);
	return gq_notify(l->q);
}

int lane_reap(struct lane *l)
{
	while (gq_pending(l->q)) {
		struct virtio_blk_outhdr *hdr;
		uint32_t len;
		void *token;
		int ret = gq_get(l->q, &token, &len);
		unsigned int slot = (bool *)token - l->busy;

		if (ret)
			return ret;
		if (*lane_status(l, slot) != VIRTIO_BLK_S_OK)
			return -EIO;
		hdr = (struct virtio_blk_outhdr *)l->p + slot;
		l->busy[slot] = false;
		l->done[le32toh(hdr->type) != VIRTIO_BLK_T_IN]++;
	}
	return gq_error(l->q) ? -EPIPE : 0;
}

int lane_one(struct lane *l, uint32_t type, uint32_t len, unsigned int ms)
{
	int64_t end = now_ms() + ms;
	int ret = 0;

	if (!l->busy[0]) {
		ret = lane_add(l, 0, type, len);
		gq_publish(l->q);
		ret = ret ?: gq_notify(l->q);
	}
	while (!ret && l->busy[0]) {
		ret = lane_reap(l);
		if (!ret && l->busy[0] && now_ms() > end)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return ret;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int load_run(struct lane *lane, unsigned int n, unsigned int ms, struct load_count *c)
{
	int64_t start = now_ns();
	int ret = 0;

	*c = (struct load_count){ 0 };
	for (unsigned int i = 0; i < n; i++)
		lane[i].done[0] = lane[i].done[1] = 0;
	while (!ret && c->ns < ms * 1000000LL) {
		for (unsigned int i = 0; !ret && i < n; i++)
			ret = lane_fill(&lane[i]);
		usleep(1000);
		for (unsigned int i = 0; !ret && i < n; i++)
			ret = lane_reap(&lane[i]);
		c->ns = now_ns() - start;
	}
	for (unsigned int i = 0; i < n; i++) {
		c->done[0] += lane[i].done[0];
		c->done[1] += lane[i].done[1];
	}
	return ret;
}
