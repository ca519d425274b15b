// SPDX-License-Identifier: GPL-2.0
/* Block cases: a request, framed and checked.  See blk.h */
#include <endian.h>
#include <string.h>

#include "blk.h"
#include "verify.h"

/* What gaps are filled with, and what a status is before the device writes it */
#define WATCH		0xa5
#define NO_STATUS	0xff

/* No request of virtio, now or by the look of it later */
#define TYPE_UNKNOWN	0x4242

/* The payload of a discard or write zeroes has room where data would be */
static unsigned int out_data_len(const struct blk_req *r)
{
	switch (r->op) {
	case OP_WRITE:
		return r->n * SECTOR;
	case OP_BEYOND:
		return r->gen ? r->n * SECTOR : 0;
	case OP_DISCARD:
	case OP_ZEROES:
		return sizeof(struct virtio_blk_discard_write_zeroes);
	default:
		return 0;
	}
}

static unsigned int in_data_len(const struct blk_req *r)
{
	switch (r->op) {
	case OP_READ:
		return r->n * SECTOR;
	case OP_BEYOND:
		return r->gen ? 0 : r->n * SECTOR;
	case OP_GET_ID:
		return VIRTIO_BLK_ID_BYTES;
	default:
		return 0;
	}
}

static uint32_t type_of(const struct blk_req *r)
{
	switch (r->op) {
	case OP_READ:
		return VIRTIO_BLK_T_IN;
	case OP_WRITE:
		return VIRTIO_BLK_T_OUT;
	case OP_FLUSH:
		return VIRTIO_BLK_T_FLUSH;
	case OP_GET_ID:
		return VIRTIO_BLK_T_GET_ID;
	case OP_DISCARD:
		return VIRTIO_BLK_T_DISCARD;
	case OP_ZEROES:
		return VIRTIO_BLK_T_WRITE_ZEROES;
	case OP_BEYOND:
		return r->gen ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	default:
		return TYPE_UNKNOWN;
	}
}

static uint64_t data_room(unsigned int max)
{
	return (uint64_t)(max > 1 ? max : 1) * SECTOR;
}

/* Plain: data, then header and status.  Odd: pieces and gaps, both sides after one another */
uint64_t blk_area_len(const struct opts *o, unsigned int max)
{
	uint64_t len = data_room(max) + 4096;

	if (o->odd)
		len += 2 * BLK_ODD_CUTS * BLK_GAP;
	return len;
}

/* As Linux's driver does it: header, data in whole sectors, status */
static void frame_plain(struct blk *blk, struct blk_req *r)
{
	unsigned int data = r->out_len - BLK_HDR_LEN + r->in_len - 1;
	unsigned int pieces = blk->b->opt->segments, sectors = data / SECTOR, done = 0;
	uint64_t head = r->area + data_room(blk->max);
	struct guest_seg *seg = r->seg;

	*seg++ = (struct guest_seg){ .gpa = head, .len = BLK_HDR_LEN };
	if (data % SECTOR)
		pieces = !!data;
	else if (pieces > sectors)
		pieces = sectors;
	for (unsigned int i = 0; i < pieces; i++) {
		unsigned int len = data - done;

		if (i + 1 < pieces)
			len = (sectors - done / SECTOR) / (pieces - i) * SECTOR;
		*seg++ = (struct guest_seg){ .gpa = r->area + done, .len = len };
		done += len;
	}
	*seg++ = (struct guest_seg){ .gpa = head + BLK_GAP, .len = 1 };
	r->nout = r->in_len > 1 ? 1 : 1 + pieces;
	r->nin = seg - r->seg - r->nout;
}

/* Cut @len bytes anywhere into up to @max pieces, with gaps; where the next piece may begin */
static uint64_t cut_oddly(struct blk_queue *bq, struct guest_seg *seg, unsigned int *n,
			  uint64_t gpa, uint32_t len, unsigned int max)
{
	unsigned int cuts = 1 + random_below(&bq->random, max);

	for (*n = 0; len; ++*n) {
		uint32_t part = len;

		/* Mostly about even, now and then a byte; the last takes what is left */
		if (*n + 1 < cuts)
			part = random_below(&bq->random, 4) ?
			       1 + random_below(&bq->random, 2 * len / (cuts - *n)) : 1;
		if (part > len)
			part = len;
		seg[*n] = (struct guest_seg){ .gpa = gpa, .len = part };
		gpa += part + 1 + random_below(&bq->random, BLK_GAP - 1);
		len -= part;
	}
	return gpa;
}

/* Header, data and status anywhere, cut anywhere: only the order of the bytes has a meaning */
static void frame_odd(struct blk_queue *bq, struct blk_req *r)
{
	uint64_t gpa = r->area + random_below(&bq->random, BLK_GAP);
	unsigned int limit = bq->blk->seg_max + 2, max;

	if (limit > bq->q->num)
		limit = bq->q->num;
	max = limit / 2 < BLK_ODD_CUTS ? limit / 2 : BLK_ODD_CUTS;
	gpa = cut_oddly(bq, r->seg, &r->nout, gpa, r->out_len, max);
	cut_oddly(bq, r->seg + r->nout, &r->nin, gpa, r->in_len, max);
}

/* The gap behind segment @i, of which the first bytes are watched */
static unsigned int gap(const struct blk_req *r, unsigned int i, uint64_t *gpa)
{
	*gpa = r->seg[i].gpa + r->seg[i].len;
	return i + 1 < r->nout + r->nin ? r->seg[i + 1].gpa - *gpa : BLK_GAP / 2;
}

static void watch_gaps(const struct guest *g, const struct blk_req *r)
{
	unsigned char fill[BLK_GAP];
	uint64_t gpa;

	memset(fill, WATCH, sizeof(fill));
	for (unsigned int i = 0; i < r->nout + r->nin; i++) {
		unsigned int len = gap(r, i, &gpa);

		guest_write(g, gpa, fill, len);
	}
}

static bool gaps_are_whole(const struct guest *g, const struct blk_req *r)
{
	unsigned char got[BLK_GAP];
	uint64_t gpa;

	for (unsigned int i = 0; i < r->nout + r->nin; i++) {
		unsigned int len = gap(r, i, &gpa);

		guest_read(g, gpa, got, len);
		while (len)
			if (got[--len] != WATCH)
				return false;
	}
	return true;
}

static void put(struct guest_walk *w, const void *buf, unsigned int len)
{
	const char *from = buf;
	uint64_t n;
	void *at;

	for (; (at = guest_next(w, len, &n)); len -= n, from += n)
		memcpy(at, from, n);
}

static void get(struct guest_walk *w, void *buf, unsigned int len)
{
	char *to = buf;
	uint64_t n;
	void *at;

	for (; (at = guest_next(w, len, &n)); len -= n, to += n)
		memcpy(to, at, n);
}

static void put_data(struct blk *blk, struct guest_walk *w, const struct blk_req *r)
{
	uint64_t n;

	for (unsigned int i = 0; i < r->n; i++) {
		unsigned int off = 0;
		void *at;

		for (; (at = guest_next(w, SECTOR - off, &n)); off += n)
			content_fill(&blk->c, r->sector + i, r->gen, off, at, n);
	}
}

static void flip_a_bit(struct guest *g, struct guest_seg *seg, unsigned int n, uint64_t off)
{
	struct guest_walk w = { .g = g, .seg = seg, .n = n };
	unsigned char *byte;
	uint64_t one;

	guest_skip(&w, off);
	byte = guest_next(&w, 1, &one);
	*byte ^= 0x10;
}

static void put_request(struct blk_queue *bq, struct blk_req *r)
{
	struct guest *g = bq->blk->g;
	struct guest_walk w = { .g = g, .seg = r->seg, .n = r->nout };
	struct virtio_blk_outhdr hdr = {
		.type = htole32(type_of(r)),
		.sector = htole64(r->op == OP_READ || r->op == OP_WRITE || r->op == OP_BEYOND ?
				  r->sector : 0),
	};
	struct virtio_blk_discard_write_zeroes range = {
		.sector = htole64(r->sector),
		.num_sectors = htole32(r->n),
	};
	unsigned char status = NO_STATUS;

	put(&w, &hdr, sizeof(hdr));
	if (r->op == OP_DISCARD || r->op == OP_ZEROES)
		put(&w, &range, sizeof(range));
	else if (r->out_len > BLK_HDR_LEN)
		put_data(bq->blk, &w, r);

	w = (struct guest_walk){ .g = g, .seg = r->seg + r->nout, .n = r->nin };
	guest_skip(&w, r->in_len - 1);
	put(&w, &status, 1);
	if (r->odd)
		watch_gaps(g, r);
	r->damage = false;
	r->keep = false;
	if ((r->op == OP_READ || r->op == OP_WRITE) && bench_corrupt(bq->blk->b)) {
		r->damage = r->op == OP_READ;
		r->keep = r->op == OP_WRITE;
	}
	if (r->keep)
		flip_a_bit(g, r->seg, r->nout, r->out_len - 1);
}

int blk_add(struct blk_queue *bq, struct blk_req *r)
{
	struct blk *blk = bq->blk;
	struct bench *b = blk->b;

	r->out_len = BLK_HDR_LEN + out_data_len(r);
	r->in_len = in_data_len(r) + 1;
	r->odd = b->opt->odd && random_below(&bq->random, 5);
	if (r->odd)
		frame_odd(bq, r);
	else
		frame_plain(blk, r);
	put_request(bq, r);
	r->begin = now_ns();
	if (gq_add(bq->q, r->seg, r->nout, r->nin, r))
		return bench_guest_failed(b, blk->g);
	return 0;
}

static const char *name_of(const struct blk_req *r)
{
	static const char *const name[] = {
		[OP_READ] = "read",
		[OP_WRITE] = "write",
		[OP_FLUSH] = "flush",
		[OP_GET_ID] = "get-id",
		[OP_DISCARD] = "discard",
		[OP_ZEROES] = "write-zeroes",
		[OP_BEYOND] = "request past the end",
		[OP_UNKNOWN] = "request of unknown type",
	};

	return name[r->op];
}

static int check_id(struct blk_queue *bq, const char *id)
{
	static const char set[VIRTIO_BLK_ID_BYTES] = BENCH_SERIAL;
	struct blk *blk = bq->blk;
	bool right;

	pthread_mutex_lock(&blk->id_lock);
	if (!blk->id_known)
		memcpy(blk->id, blk->b->serial_set ? set : id, sizeof(blk->id));
	blk->id_known = true;
	/* Padded with zeroes by ours; others are known to end it with one and leave the rest */
	right = blk->b->serial_set ? !memcmp(blk->id, id, sizeof(blk->id)) :
				     !strncmp(blk->id, id, sizeof(blk->id));
	pthread_mutex_unlock(&blk->id_lock);
	return right ? 0 : bench_fail(blk->b, "get-id: '%.20s' instead of '%.20s'", id, blk->id);
}

static int check_data(struct blk_queue *bq, struct blk_req *r, struct guest_walk *w)
{
	unsigned char sector[SECTOR];
	struct blk *blk = bq->blk;
	uint64_t n;

	if (!blk->b->opt->verify)
		return 0;
	for (unsigned int i = 0; i < r->n; i++) {
		unsigned char *at = guest_next(w, SECTOR, &n);

		if (n < SECTOR) {
			memcpy(sector, at, n);
			get(w, sector + n, SECTOR - n);
			at = sector;
		}
		if (content_check(blk->b, &blk->c, r->sector + i, at, "as it was read"))
			return -1;
	}
	bench_ok(blk->b, r->n * SECTOR);
	return 0;
}

static unsigned char expected_status(const struct blk_req *r)
{
	switch (r->op) {
	case OP_BEYOND:
		return VIRTIO_BLK_S_IOERR;
	case OP_UNKNOWN:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_OK;
	}
}

int blk_check(struct blk_queue *bq, struct blk_req *r, uint32_t len)
{
	struct blk *blk = bq->blk;
	struct bench *b = blk->b;
	struct guest_walk w = { .g = blk->g, .seg = r->seg + r->nout, .n = r->nin };
	unsigned char status, want = expected_status(r);
	char id[VIRTIO_BLK_ID_BYTES];

	if (r->damage)
		flip_a_bit(blk->g, r->seg + r->nout, r->nin, 0);
	guest_skip(&w, r->in_len - 1);
	get(&w, &status, 1);
	if (status != want)
		return bench_fail(b, "%s of %u sectors at %llu: status %u%s instead of %u",
				  name_of(r), r->n, (unsigned long long)r->sector, status,
				  status == NO_STATUS ? " (not written)" : "", want);
	if (r->odd && !gaps_are_whole(blk->g, r))
		return bench_fail(b, "%s of %u sectors at %llu: memory between its segments was written",
				  name_of(r), r->n, (unsigned long long)r->sector);
	if (want)
		return 0;
	if (len != r->in_len)
		return bench_fail(b, "%s of %u sectors at %llu: %u bytes used instead of %u",
				  name_of(r), r->n, (unsigned long long)r->sector, len, r->in_len);

	w = (struct guest_walk){ .g = blk->g, .seg = r->seg + r->nout, .n = r->nin };
	switch (r->op) {
	case OP_READ:
		return check_data(bq, r, &w);
	case OP_GET_ID:
		get(&w, id, sizeof(id));
		return check_id(bq, id);
	case OP_WRITE:
		content_set(&blk->c, r->sector, r->n, r->gen);
		return 0;
	case OP_ZEROES:
		content_set(&blk->c, r->sector, r->n, GEN_ZERO);
		return 0;
	case OP_DISCARD:
		content_set(&blk->c, r->sector, r->n, GEN_UNKNOWN);
		return 0;
	default:
		return 0;
	}
}
