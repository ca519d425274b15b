// SPDX-License-Identifier: GPL-2.0
/* Block cases: which requests, and keeping them in flight.  See blk.h */
#include <errno.h>
#include <string.h>

#include "blk.h"
#include "verify.h"

static bool is_free(const struct blk *blk, uint64_t sector, unsigned int n)
{
	return !memchr(blk->busy + sector, 1, n);
}

static void set_busy(struct blk *blk, const struct blk_req *r, bool busy)
{
	if (r->op != OP_BEYOND && r->op != OP_UNKNOWN && r->op != OP_FLUSH && r->op != OP_GET_ID)
		memset(blk->busy + r->sector, busy, r->n);
}

/* A block of the size asked for that nothing in flight is about; there are more than requests */
static void pick_block(struct blk_queue *bq, struct blk_req *r)
{
	struct blk *blk = bq->blk;
	uint64_t blocks = (bq->to - bq->from) / blk->max, i = bq->at;

	if (blk->b->opt->random)
		i = random_below(&bq->random, blocks);
	while (!is_free(blk, bq->from + i * blk->max, blk->max))
		i = (i + 1) % blocks;
	r->sector = bq->from + i * blk->max;
	r->n = blk->max;
	bq->at = (i + 1) % blocks;
}

/* Any number of units anywhere; small ones are as frequent as large ones.  False: no luck */
static bool pick_extent(struct blk_queue *bq, struct blk_req *r)
{
	struct blk *blk = bq->blk;
	unsigned int most = blk->max / blk->unit;

	for (unsigned int tries = 0; tries < 20; tries++) {
		unsigned int limit = random_below(&bq->random, 2) || most < 8 ? most : 8;

		if (tries > 10)
			limit = 1;
		r->n = (1 + random_below(&bq->random, limit)) * blk->unit;
		r->sector = bq->from + random_below(&bq->random, (bq->to - bq->from - r->n) /
						    blk->unit + 1) * blk->unit;
		if (is_free(blk, r->sector, r->n))
			return true;
	}
	return false;
}

/* Of 100: 42 reads, 42 writes, 4 flushes, 3 get-id, 4 zeroes, 2 discards, 2 past the end, 1 odd */
static enum blk_op random_op(struct blk_queue *bq)
{
	const struct blk *blk = bq->blk;
	unsigned int dice = random_below(&bq->random, 100);

	if (dice < 42)
		return OP_READ;
	if (dice < 84)
		return OP_WRITE;
	if (dice < 88)
		return blk->has_flush ? OP_FLUSH : OP_WRITE;
	if (dice < 91)
		return OP_GET_ID;
	if (dice < 95)
		return blk->has_zeroes ? OP_ZEROES : OP_WRITE;
	if (dice < 97)
		return blk->has_discard ? OP_DISCARD : OP_READ;
	return dice < 99 ? OP_BEYOND : OP_UNKNOWN;
}

/* Of 20: 17 reads, 2 writes, 1 flush */
static void mixed_op(struct blk_queue *bq, struct blk_req *r)
{
	unsigned int dice = random_below(&bq->random, 20);

	r->op = dice < 17 ? OP_READ : dice < 19 || !bq->blk->has_flush ? OP_WRITE : OP_FLUSH;
	if (r->op != OP_FLUSH)
		pick_block(bq, r);
}

static void choose(struct blk_queue *bq, struct blk_req *r)
{
	struct blk *blk = bq->blk;

	r->gen = 0;
	r->n = 0;
	r->sector = 0;
	switch (blk->b->opt->what) {
	case BLK_READ:
		r->op = OP_READ;
		pick_block(bq, r);
		break;
	case BLK_WRITE:
		r->op = OP_WRITE;
		pick_block(bq, r);
		break;
	case BLK_MIXED:
		mixed_op(bq, r);
		break;
	default:
		r->op = random_op(bq);
		if (r->op == OP_BEYOND) {
			r->n = (1 + random_below(&bq->random, blk->max / blk->unit)) * blk->unit;
			r->sector = blk->sectors - random_below(&bq->random, r->n / blk->unit) *
				    blk->unit;
			r->gen = random_below(&bq->random, 2);
		} else if (r->op != OP_FLUSH && r->op != OP_GET_ID && r->op != OP_UNKNOWN &&
			   !pick_extent(bq, r)) {
			r->op = OP_GET_ID;
			r->n = 0;
			r->sector = 0;
		}
	}
	if (r->op == OP_WRITE)
		r->gen = ++bq->gen;
}

static int flush_adds(struct blk_queue *bq)
{
	int ret;

	bq->pending = 0;
	gq_publish(bq->q);
	ret = gq_notify(bq->q);
	return ret ? bench_fail(bq->blk->b, "kick: %s", strerror(-ret)) : 0;
}

static int start(struct blk_queue *bq, struct blk_req *r)
{
	set_busy(bq->blk, r, true);
	if (blk_add(bq, r))
		return -1;
	r->back = false;
	bq->out[(bq->oldest + bq->n_out++) % bq->n_req] = r;
	return ++bq->pending >= bq->blk->b->opt->batch ? flush_adds(bq) : 0;
}

/* A request is over */
static void finish(struct blk_queue *bq, struct blk_req *r, uint64_t now)
{
	if (!r->keep)
		set_busy(bq->blk, r, false);
	if (bq->measured) {
		hist_add(&bq->lat, now - r->begin);
		bq->bytes += r->op == OP_READ || r->op == OP_WRITE ? r->n * SECTOR : 0;
	}
	bq->free[bq->n_free++] = r;
}

/* One has come back. How many are over by that */
static unsigned int come_back(struct blk_queue *bq, struct blk_req *r)
{
	bool ordered = bq->blk->b->opt->ordered;
	uint64_t now = now_ns();
	unsigned int n = 0;

	r->back = true;
	bq->overtook += bq->measured && bq->out[bq->oldest] != r;
	if (!ordered)
		finish(bq, r, now);
	while (bq->n_out && bq->out[bq->oldest]->back) {
		if (ordered)
			finish(bq, bq->out[bq->oldest], now);
		bq->oldest = (bq->oldest + 1) % bq->n_req;
		bq->n_out--;
		n++;
	}
	return ordered ? n : 1;
}

/* Collect what is there, waiting for one if there is none; how many in *@done */
static int collect(struct blk_queue *bq, uint64_t *done)
{
	struct bench *b = bq->blk->b;
	struct blk_req *r;
	uint32_t len;
	void *token;
	int ret;

	if ((bq->pending && flush_adds(bq)) || bench_wait(b, bq->q))
		return -1;
	while (!(ret = gq_get(bq->q, &token, &len))) {
		r = token;
		if (blk_check(bq, r, len))
			return -1;
		*done += come_back(bq, r);
	}
	return ret == -EAGAIN ? 0 : bench_guest_failed(b, bq->blk->g);
}

int blk_run(struct blk_queue *bq, uint64_t n)
{
	for (uint64_t added = 0, done = 0; done < n;) {
		for (; added < n && bq->n_free; added++) {
			struct blk_req *r = bq->free[--bq->n_free];

			choose(bq, r);
			if (start(bq, r))
				return -1;
		}
		if (collect(bq, &done))
			return -1;
	}
	return 0;
}

/* The sectors from @sector on to read as one request; 0 when that one need not be read */
static unsigned int worth_reading(const struct blk *blk, uint64_t sector, uint64_t to)
{
	unsigned int n = to - sector < blk->max ? to - sector : blk->max;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t gen = blk->c.gen[sector + i];

		if (gen != GEN_UNKNOWN && (gen != GEN_INITIAL || blk->c.hash))
			return n;
	}
	return 0;
}

int blk_read_back(struct blk_queue *bq)
{
	struct blk *blk = bq->blk;
	uint64_t sector = bq->from, added = 0, done = 0;

	while (sector < bq->to || done < added) {
		unsigned int n;

		for (; sector < bq->to && bq->n_free; sector += n) {
			struct blk_req *r;

			n = worth_reading(blk, sector, bq->to);
			if (!n) {
				n = blk->max;
				continue;
			}
			r = bq->free[--bq->n_free];
			r->op = OP_READ;
			r->sector = sector;
			r->n = n;
			r->gen = 0;
			added++;
			if (start(bq, r))
				return -1;
		}
		if (done < added && collect(bq, &done))
			return -1;
	}
	return 0;
}

int blk_flush(struct blk_queue *bq)
{
	struct blk_req *r = bq->free[bq->n_free - 1];
	uint64_t done = 0;

	if (!bq->blk->has_flush)
		return 0;
	bq->n_free--;
	r->op = OP_FLUSH;
	r->sector = 0;
	r->n = 0;
	r->gen = 0;
	return start(bq, r) ? -1 : collect(bq, &done);
}
