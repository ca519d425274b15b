// SPDX-License-Identifier: GPL-2.0
/*
 * Memory comes and goes under load. One queue's driver maps what each request needs, and unmaps it after
 * that, as a guest in strict mode; the memory of the other one's is moved under its requests; and more
 * comes and goes.
 */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "held.h"

/* Pages that nobody uses */
#define SPARES	16

struct load {
	struct world *w;
	atomic_bool stop;
	unsigned int rounds;
	const char *wrong;
	int err;
	/* the moved page of queue 1: where it is, and where it was */
	pthread_mutex_t lock;
	struct page at, was;
};

static void load_wrong(struct load *l, const char *what, int err)
{
	if (!l->wrong) {
		l->wrong = what;
		l->err = err;
	}
}

static void *strict_driver(void *arg)
{
	struct load *l = arg;
	struct world *w = l->w;
	struct page *part = w->part[0];

	for (unsigned int i = 0; !l->stop && !l->wrong; i++) {
		unsigned int block = i % HELD_BLOCKS;
		int err = 0;

		/* other addresses each time, of the same few */
		for (unsigned int k = 0; !err && k < PARTS; k++) {
			part[k].iova = HELD_FAR + (100 + (i * 5 + k) % 64) * PAGE;
			err = page_map(&w->d, &part[k]);
		}
		err = err ?: start_read(w, 0, block) ?: end_read(w, 0, block);
		for (unsigned int k = 0; k < PARTS; k++) {
			err = err ?: page_unmap(&w->d, &part[k]);
			memset(part[k].p, POISON, PAGE);
		}
		if (err)
			load_wrong(l, "a request of the strict driver", err);
		sleep_ms(i % 8 == 0);
		/* nobody is at it any more */
		for (unsigned int k = 0; k < PARTS; k++)
			if (!page_is(&part[k], POISON))
				load_wrong(l, "unmapped memory was written", 0);
		l->rounds++;
	}
	return NULL;
}

static void *moved_driver(void *arg)
{
	struct load *l = arg;
	struct world *w = l->w;
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_IN) };
	struct page *part = w->part[1];
	uint32_t len;
	void *token;

	for (unsigned int i = 0; !l->stop && !l->wrong; i++) {
		unsigned int block = i % HELD_BLOCKS;
		struct guest_seg seg[] = {
			{ part[HDR].iova, sizeof(hdr) }, { l->at.iova, PAGE }, { part[STATUS].iova, 1 },
		};
		int err;

		hdr.sector = htole64(block * (PAGE / 512));
		memcpy(part[HDR].p, &hdr, sizeof(hdr));
		part[STATUS].p[0] = PENDING;
		err = gq_add(w->d.q[1], seg, 1, 2, w);
		gq_publish(w->d.q[1]);
		err = err ?: gq_kick(w->d.q[1]) ?: gq_wait(w->d.q[1], 10000) ?:
		      gq_get(w->d.q[1], &token, &len);
		pthread_mutex_lock(&l->lock);
		if (err || part[STATUS].p[0] || !page_is(&l->at, block))
			load_wrong(l, "a request whose memory was moved", err);
		pthread_mutex_unlock(&l->lock);
		l->rounds++;
	}
	return NULL;
}

/* As memory that is moved: no turn sees it missing, and what is in flight ends before */
static int move_page(struct load *l)
{
	struct dut *d = &l->w->d;
	unsigned char *p = l->at.p;
	int err;

	pthread_mutex_lock(&l->lock);
	if (!page_is(&l->was, POISON))
		load_wrong(l, "memory was written that had been moved", 0);
	err = dut_message(d, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL) ?: page_unmap(d, &l->at);
	memcpy(l->was.p, p, PAGE);
	memset(p, POISON, PAGE);
	l->at.p = l->was.p;
	l->was.p = p;
	err = err ?: page_map(d, &l->at) ?: dut_message(d, VHOST_IOTLB_BATCH_END, 0, 0, NULL);
	pthread_mutex_unlock(&l->lock);
	return err;
}

FIXTURE(load) {
	struct world w;
};

FIXTURE_SETUP(load)
{
	if (system("modprobe -aq loop dm-mod"))
		SKIP(return, "no loop or dm-mod here");
	ASSERT_EQ(0, world_open(&self->w, DUT_VDPA, "load"));
}

FIXTURE_TEARDOWN(load)
{
	world_close(&self->w);
}

TEST_F_TIMEOUT(load, strict_and_moved, 180)
{
	struct world *w = &self->w;
	struct page spare[SPARES];
	struct load strict = { .w = w }, moved = { .w = w };
	struct map_stats s;
	pthread_t a, b;
	int err = 0;

	ASSERT_EQ(0, begin_claims(w));
	ASSERT_EQ(0, pthread_mutex_init(&moved.lock, NULL));
	for (unsigned int k = 0; k < PARTS; k++) {
		ASSERT_EQ(0, page_unmap(&w->d, &w->part[0][k]));
	}
	for (unsigned int i = 0; i < SPARES; i++) {
		ASSERT_EQ(0, page_make(&spare[i], 1000 + 2 * i));
	}
	moved.at = w->part[1][DATA];
	ASSERT_EQ(0, page_make(&moved.was, 0));
	memset(moved.was.p, POISON, PAGE);
	ASSERT_EQ(0, pthread_create(&a, NULL, strict_driver, &strict));
	ASSERT_EQ(0, pthread_create(&b, NULL, moved_driver, &moved));
	for (unsigned int i = 0; !err && !strict.wrong && !moved.wrong &&
	     (i < many(500) || strict.rounds < 50 || moved.rounds < 50); i++) {
		err = page_map(&w->d, &spare[i % SPARES]);
		if (!err && i >= SPARES / 2)
			err = page_unmap(&w->d, &spare[(i - SPARES / 2) % SPARES]);
		if (!err && i % 3 == 0)
			err = move_page(&moved);
		if (i % 16 == 0)
			sleep_ms(1);
	}
	strict.stop = moved.stop = true;
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	EXPECT_EQ(0, err);
	EXPECT_EQ(NULL, strict.wrong)
		TH_LOG("%s: %d", strict.wrong, strict.err);
	EXPECT_EQ(NULL, moved.wrong)
		TH_LOG("%s: %d", moved.wrong, moved.err);
	EXPECT_EQ(0, dut_counter(&w->d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(&w->d, 1, "breaks"));
	ASSERT_EQ(0, map_stats(w->d.g->fd, &s));
	/* those of the beginning; a batch begins no claims, but they were there */
	EXPECT_EQ(2, s.drains);
	w->part[1][DATA] = moved.at;
	munmap(moved.was.p, PAGE);
	for (unsigned int i = 0; i < SPARES; i++)
		munmap(spare[i].p, PAGE);
}

TEST_HARNESS_MAIN
