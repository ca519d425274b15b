// SPDX-License-Identifier: GPL-2.0
/*
 * How many threads work for a device: one, until it cannot do it all and there are processors for
 * more.
 */
#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* A read that takes a worker long enough: it copies that from the page cache */
#define BIG	(64 * 1024)
#define DEPTH	16

/* The driver, two workers */
#define CPUS	3

FIXTURE(share) {
	struct dut d;
};

FIXTURE_VARIANT(share) {
	enum dut_kind kind;
};

DUT_EACH(share);

FIXTURE_SETUP(share)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
}

FIXTURE_TEARDOWN(share)
{
	dut_close(&self->d);
}

/* A queue that has little to do needs no thread of its own, however many CPUs there are */
TEST_F(share, together)
{
	struct dut *d = &self->d;
	struct worker_use before, after;

	ASSERT_EQ(0, worker_use_of(1, &before));
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, dut_unit(d, 0));
		ASSERT_EQ(0, dut_unit(d, 1));
	}
	ASSERT_EQ(0, worker_use_of(1, &after));
	/* it was made just now, and may not have fallen asleep yet */
	EXPECT_GE(before.runs + 5, after.runs);
	EXPECT_GT(before.ns + 1000 * 1000, after.ns);
}

/* But one that is to poll does, and has the thread for as long as it is */
TEST_F(share, polling)
{
	struct dut *d = &self->d;
	struct worker_use before, after;

	if (d->kind == DUT_VDPA)
		SKIP(return, "not in this dialect");
	if (get_nprocs() < 2)
		SKIP(return, "one processor");
	ASSERT_EQ(0, vring_num(d->g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 50 * 1000));
	ASSERT_EQ(0, dut_units(d, 1, 10));
	ASSERT_EQ(0, worker_use_of(1, &before));
	ASSERT_EQ(0, dut_unit(d, 1));
	sleep_ms(100);
	ASSERT_EQ(0, worker_use_of(1, &after));
	/* others had the processor for some of that time, perhaps */
	EXPECT_LT(before.ns + 10 * 1000 * 1000, after.ns);

	ASSERT_EQ(0, vring_num(d->g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 0));
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, dut_unit(d, 1));
		sleep_ms(2);
	}
	ASSERT_EQ(0, worker_use_of(1, &before));
	ASSERT_EQ(0, dut_units(d, 1, 100));
	ASSERT_EQ(0, worker_use_of(1, &after));
	EXPECT_EQ(before.ns, after.ns);
}

static int add_big(struct dut *d, unsigned int qi)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_IN) };
	struct scratch *l = &d->scratch[qi];
	struct guest_seg seg[] = {
		{ l->gpa + SCRATCH_HDR, sizeof(hdr) },
		{ l->gpa + SCRATCH_FREE, BIG },
		{ l->gpa + SCRATCH_STATUS, 1 },
	};

	memcpy(l->p + SCRATCH_HDR, &hdr, sizeof(hdr));
	return gq_add(d->q[qi], seg, 1, 2, d);
}

/* Keep both queues busy for so long. Return: 0 or what failed */
static int load(struct dut *d, unsigned int ms)
{
	int64_t end = now_ms() + ms;
	uint32_t len;
	void *token;
	int ret = 0;

	while (!ret && now_ms() < end) {
		for (unsigned int qi = 0; !ret && qi < 2; qi++) {
			struct guest_queue *q = d->q[qi];

			while (!ret && gq_pending(q))
				ret = gq_get(q, &token, &len);
			while (!ret && gq_in_flight(q) < DEPTH)
				ret = add_big(d, qi);
			gq_publish(q);
			ret = ret ?: gq_notify(q);
		}
	}
	for (unsigned int qi = 0; !ret && qi < 2; qi++)
		while (!ret && gq_in_flight(d->q[qi]))
			ret = gq_wait(d->q[qi], 5000) ?: gq_get(d->q[qi], &token, &len);
	return ret;
}

/* Two queues that are always busy get two threads, and one again when they are not */
TEST_F_TIMEOUT(share, apart_and_home, 60)
{
	struct dut *d = &self->d;
	struct worker_use before, after;

	if (d->kind == DUT_NET)
		SKIP(return, "a driver of packets cannot keep a worker busy");
	if (get_nprocs() < CPUS)
		SKIP(return, "%d processors, this wants %d", get_nprocs(), CPUS);
	ASSERT_EQ(0, worker_use_of(1, &before));
	ASSERT_EQ(0, load(d, 1000));
	ASSERT_EQ(0, worker_use_of(1, &after));
	/* it has done about half */
	EXPECT_LE(before.ns + 100 * 1000 * 1000, after.ns);

	/* a start is at home, whatever was kicked before */
	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 0, 10));
	ASSERT_EQ(0, dut_units(d, 1, 10));
	ASSERT_EQ(0, load(d, 200));

	for (unsigned int i = 0; i < 200; i++) {
		ASSERT_EQ(0, dut_unit(d, 0));
		ASSERT_EQ(0, dut_unit(d, 1));
		sleep_ms(2);
	}
	ASSERT_EQ(0, worker_use_of(1, &before));
	ASSERT_EQ(0, dut_units(d, 1, 100));
	ASSERT_EQ(0, worker_use_of(1, &after));
	EXPECT_EQ(before.runs, after.runs);
}

/* A disk whose requests take a while, which a client waits for */
#define SLOW_MS	2000

static void *exchange(void *data)
{
	struct dut *d = data;
	struct vhost_vring_file f = { .index = 0, .fd = d->backend };

	return (void *)(long)xioctl(d->g->fd, dut_backend(d->kind), &f);
}

/* One queue is held by a client, and kicked: the worker that both are with goes on with the other */
TEST(held)
{
	struct dut_opts opts = { .disk = slow_disk(SLOW_MS) };
	pthread_t client;
	struct dut d;
	uint32_t len;
	void *token;
	int64_t end;

	if (opts.disk < 0)
		SKIP(return, "no null_blk here");
	ASSERT_EQ(0, dut_open(&d, DUT_BLK, &opts));
	end = now_ms() + SLOW_MS;
	ASSERT_EQ(0, add_big(&d, 0));
	gq_publish(d.q[0]);
	ASSERT_EQ(0, gq_kick(d.q[0]));
	sleep_ms(100);
	ASSERT_EQ(0, pthread_create(&client, NULL, exchange, &d));
	sleep_ms(100);
	ASSERT_EQ(0, gq_kick(d.q[0]));
	sleep_ms(100);
	ASSERT_EQ(0, dut_add(&d, 1));
	gq_publish(d.q[1]);
	ASSERT_EQ(0, gq_kick(d.q[1]));
	EXPECT_EQ(0, gq_wait(d.q[1], SLOW_MS / 4));
	/* it was held all the time */
	EXPECT_GT(end, now_ms());
	EXPECT_EQ(0, gq_used_idx(d.q[0]));
	/* and the kick is not lost */
	ASSERT_EQ(0, dut_add(&d, 0));
	gq_publish(d.q[0]);
	ASSERT_EQ(0, gq_kick(d.q[0]));
	ASSERT_EQ(0, pthread_join(client, &token));
	EXPECT_EQ(NULL, token);
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, gq_wait(d.q[0], 2 * SLOW_MS));
		ASSERT_EQ(0, gq_get(d.q[0], &token, &len));
	}
	dut_close(&d);
	close(opts.disk);
	slow_disk_remove();
}

TEST_HARNESS_MAIN
