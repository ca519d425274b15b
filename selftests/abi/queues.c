// SPDX-License-Identifier: GPL-2.0
/*
 * A disk with as many queues as there can be, all of them at work at once: on the workers that the
 * device chooses, on one for all, on some that several share, and each on one of its own.
 */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define QUEUES		VHL_BLK_MAX_QUEUES
#define DEPTH		4
#define BLOCK		4096
/* Blocks of the disk for each queue */
#define BLOCKS		16
/* Of a queue's buffers: a header and a status for each request, then the data */
#define STATUS_AT	(DEPTH * sizeof(struct virtio_blk_outhdr))
#define MAX_WORKERS	"/sys/module/vhost_blklite/parameters/max_workers"

struct driver {
	struct guest_queue *q;
	unsigned int index, rounds;
	uint64_t gpa;
	unsigned char *p;
	pthread_t thread;
	int err;
};

FIXTURE(queues) {
	struct guest *g;
	int disk;
	struct driver driver[QUEUES];
};

/* @workers: that the client makes and the queues take in turns; @max: of the device's own; or 0 */
FIXTURE_VARIANT(queues) {
	enum dut_kind kind;
	unsigned int workers, max;
};

FIXTURE_VARIANT_ADD(queues, blk) { .kind = DUT_BLK };
FIXTURE_VARIANT_ADD(queues, one_worker) { .kind = DUT_BLK, .workers = 1 };
FIXTURE_VARIANT_ADD(queues, shared_by_four) { .kind = DUT_BLK, .workers = QUEUES / 4 };
FIXTURE_VARIANT_ADD(queues, own_workers) { .kind = DUT_BLK, .workers = QUEUES };
FIXTURE_VARIANT_ADD(queues, vdpa) { .kind = DUT_VDPA };
FIXTURE_VARIANT_ADD(queues, vdpa_two_at_most) { .kind = DUT_VDPA, .max = 2 };

static int set_max(unsigned int max)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", max);
	return put_file(MAX_WORKERS, text);
}

FIXTURE_SETUP(queues)
{
	struct vhost_worker_state worker[QUEUES];

	if (variant->max)
		ASSERT_EQ(0, set_max(variant->max));
	self->disk = make_disk(QUEUES * BLOCKS * BLOCK);
	ASSERT_LE(0, self->disk);
	ASSERT_EQ(0, open_queues(&self->g, variant->kind, self->disk, QUEUES))
		TH_LOG("%s", guest_error(self->g));
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct driver *v = &self->driver[i];

		v->index = i;
		ASSERT_EQ(0, guest_queue(self->g, i, 64, &v->q));
		ASSERT_EQ(0, guest_alloc(self->g, (1 + DEPTH) * BLOCK, BLOCK, &v->gpa));
		v->p = guest_ptr(self->g, v->gpa, (1 + DEPTH) * BLOCK);
		ASSERT_EQ(0, guest_queue_program(v->q));
	}
	for (unsigned int i = 0; variant->workers && i < QUEUES; i++) {
		struct vhost_vring_worker w = { .index = i };

		if (i < variant->workers)
			ASSERT_EQ(0, xioctl(self->g->fd, VHOST_NEW_WORKER, &worker[i]));
		w.worker_id = worker[i % variant->workers].worker_id;
		ASSERT_EQ(0, xioctl(self->g->fd, VHOST_ATTACH_VRING_WORKER, &w));
	}
	ASSERT_EQ(0, guest_start(self->g, self->disk));
}

FIXTURE_TEARDOWN(queues)
{
	guest_close(self->g);
	close(self->disk);
	if (variant->max)
		set_max(QUEUES);
}

/* What is in a block of a queue after @round */
static void fill(unsigned char *p, unsigned int queue, unsigned int block, unsigned int round)
{
	uint32_t word[4] = { queue, block, round, queue * 31 + block * 7 + round };

	for (unsigned int i = 0; i < BLOCK; i += sizeof(word))
		memcpy(p + i, word, sizeof(word));
}

/* As many requests as there is room for, and their answers */
static int batch(struct driver *v, unsigned int first, uint32_t type)
{
	struct virtio_blk_outhdr *hdr = (void *)v->p;
	unsigned char *status = v->p + STATUS_AT;
	uint32_t len;
	void *token;
	int ret;

	for (unsigned int i = 0; i < DEPTH; i++) {
		bool in = type == VIRTIO_BLK_T_IN;
		struct guest_seg seg[] = {
			{ v->gpa + i * sizeof(*hdr), sizeof(*hdr) },
			{ v->gpa + (1 + i) * BLOCK, BLOCK },
			{ v->gpa + STATUS_AT + i, 1 },
		};

		hdr[i] = (struct virtio_blk_outhdr){
			.type = htole32(type),
			.sector = htole64((v->index * BLOCKS + (first + i) % BLOCKS) * (BLOCK / 512)),
		};
		status[i] = 0xaa;
		ret = gq_add(v->q, seg, in ? 1 : 2, in ? 2 : 1, v);
		if (ret)
			return ret;
	}
	gq_publish(v->q);
	ret = gq_notify(v->q);
	for (unsigned int i = 0; !ret && i < DEPTH; i++)
		ret = gq_wait(v->q, 20000) ?: gq_get(v->q, &token, &len);
	for (unsigned int i = 0; !ret && i < DEPTH; i++)
		if (status[i] != VIRTIO_BLK_S_OK)
			ret = -EIO;
	return ret;
}

static void *drive(void *arg)
{
	struct driver *v = arg;
	unsigned char want[BLOCK];

	for (unsigned int n = 0; n < v->rounds; n++) {
		unsigned int first = n * DEPTH;

		for (unsigned int i = 0; i < DEPTH; i++)
			fill(v->p + (1 + i) * BLOCK, v->index, (first + i) % BLOCKS, n);
		v->err = batch(v, first, VIRTIO_BLK_T_OUT);
		memset(v->p + BLOCK, 0xaa, DEPTH * BLOCK);
		v->err = v->err ?: batch(v, first, VIRTIO_BLK_T_IN);
		for (unsigned int i = 0; !v->err && i < DEPTH; i++) {
			fill(want, v->index, (first + i) % BLOCKS, n);
			if (memcmp(want, v->p + (1 + i) * BLOCK, BLOCK))
				v->err = -EBADMSG;
		}
		if (v->err)
			return NULL;
	}
	return NULL;
}

/* All that one queue wrote is in the file, and where only that queue's is */
static bool is_written(int disk, unsigned int index, unsigned int rounds)
{
	unsigned char got[BLOCK], want[BLOCK];

	for (unsigned int b = 0; b < BLOCKS; b++) {
		unsigned int n = rounds - 1;

		while (n * DEPTH % BLOCKS != b / DEPTH * DEPTH)
			n--;
		fill(want, index, b, n);
		if (pread(disk, got, BLOCK, (index * BLOCKS + b) * BLOCK) != BLOCK ||
		    memcmp(got, want, BLOCK))
			return false;
	}
	return true;
}

TEST_F_TIMEOUT(queues, all_at_once, 180)
{
	unsigned int rounds = many(100), served = 0, own = 0;
	struct worker_use before[2 * QUEUES] = { 0 };
	struct dev_info info;

	/* they were made just now, and fall asleep */
	sleep_ms(50);
	for (unsigned int i = 0; i < 2 * QUEUES; i++)
		worker_use_of(i, &before[i]);
	for (unsigned int i = 0; i < QUEUES; i++) {
		self->driver[i].rounds = rounds;
		ASSERT_EQ(0, pthread_create(&self->driver[i].thread, NULL, drive, &self->driver[i]));
	}
	for (unsigned int i = 0; i < QUEUES; i++)
		pthread_join(self->driver[i].thread, NULL);
	ASSERT_EQ(0, get_info(self->g->fd, &info));
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct driver *v = &self->driver[i];

		EXPECT_EQ(0, v->err)
			TH_LOG("queue %u", i);
		EXPECT_TRUE(is_written(self->disk, i, rounds));
		EXPECT_STREQ("running", info.q[i].state);
		EXPECT_EQ(2 * DEPTH * rounds, info.q[i].reqs);
		EXPECT_EQ(DEPTH * BLOCK * rounds, info.q[i].in);
		EXPECT_EQ(DEPTH * BLOCK * rounds, info.q[i].out);
		EXPECT_EQ(0, info.q[i].errors);
		EXPECT_EQ(0, info.q[i].breaks);
		EXPECT_EQ(v->q->count.kicks, info.q[i].kicks);
		EXPECT_LE(1, info.q[i].wakes);
	}

	for (unsigned int i = 0; i < 2 * QUEUES; i++) {
		struct worker_use use;

		if (worker_use_of(i, &use))
			continue;
		own += i < QUEUES;
		if (!variant->workers)
			continue;
		/* those that the client made have done it, each of them, and the device's none of it */
		if (i < QUEUES) {
			EXPECT_GE(before[i].runs + 5, use.runs)
				TH_LOG("worker %u", i);
		} else {
			EXPECT_LT(before[i].runs + 5, use.runs)
				TH_LOG("worker %u", i);
		}
		served += i >= QUEUES;
	}
	EXPECT_EQ(variant->workers, served);
	EXPECT_EQ(variant->max ?: variant->workers ? 1 : QUEUES, own);
}

/* One of them is stopped and started again while all others go on */
TEST_F_TIMEOUT(queues, one_stops, 180)
{
	struct driver *v = &self->driver[QUEUES - 1];

	for (unsigned int i = 0; i < QUEUES - 1; i++) {
		self->driver[i].rounds = many(50);
		ASSERT_EQ(0, pthread_create(&self->driver[i].thread, NULL, drive, &self->driver[i]));
	}
	for (unsigned int n = 0; n < many(20); n++) {
		v->rounds = 1 + n % 3;
		drive(v);
		ASSERT_EQ(0, v->err);
		ASSERT_EQ(0, guest_queue_switch(v->q, -1));
		ASSERT_EQ(0, guest_queue_get_base(v->q));
		ASSERT_EQ(0, guest_queue_program(v->q));
		ASSERT_EQ(0, guest_queue_switch(v->q, self->disk));
	}
	for (unsigned int i = 0; i < QUEUES - 1; i++) {
		pthread_join(self->driver[i].thread, NULL);
		EXPECT_EQ(0, self->driver[i].err)
			TH_LOG("queue %u", i);
	}
}

TEST_HARNESS_MAIN
