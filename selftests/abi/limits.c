// SPDX-License-Identifier: GPL-2.0
/*
 * Limits of a disk: that what goes is what was set, by requests and by bytes, in total and by direction,
 * with one queue and with all of them; what a queue does that waits for them; and what is refused.
 *
 * VHL_TEST_SCALE=2 in the environment measures rates for 10 s instead of 5.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "load.h"

#define DISK		(8 << 20)
#define MOST		VHL_BLK_MAX_QUEUES

/* ms: of a rate, and until it is one */
#define WINDOW		many(5000)
#define WARM_UP		300
/* For what happens at once; and a wait that is longer than any of these */
#define SOON		1000
#define LONG_S		60

#define TOTAL		VHL_BLK_LIMIT_TOTAL
#define READ		VHL_BLK_LIMIT_READ
#define WRITE		VHL_BLK_LIMIT_WRITE

FIXTURE(limits) {
	struct guest *g;
	int disk;
	struct lane lane[MOST];
	unsigned int lanes;
};

FIXTURE_VARIANT(limits) {
	enum dut_kind kind;
	unsigned int queues;
	bool packed;
};

FIXTURE_VARIANT_ADD(limits, blk) { .kind = DUT_BLK, .queues = 1 };
FIXTURE_VARIANT_ADD(limits, blk_all_queues) { .kind = DUT_BLK, .queues = MOST };
FIXTURE_VARIANT_ADD(limits, vdpa_packed_all_queues) { .kind = DUT_VDPA, .queues = MOST, .packed = true };

FIXTURE_SETUP(limits)
{
	if (variant->packed)
		setenv("VHL_TEST_RING", "packed", 1);
	self->disk = make_disk(DISK);
	ASSERT_LE(0, self->disk);
	ASSERT_EQ(0, open_queues(&self->g, variant->kind, self->disk, variant->queues))
		TH_LOG("%s", guest_error(self->g));
	self->lanes = variant->queues;
	for (unsigned int i = 0; i < self->lanes; i++)
		ASSERT_EQ(0, lane_open(&self->lane[i], self->g, i));
	ASSERT_EQ(0, guest_start(self->g, self->disk));
}

FIXTURE_TEARDOWN(limits)
{
	guest_close(self->g);
	close(self->disk);
}

/* Off by so many hundredths of a percent from @want a second; and tell it */
static long off(const struct load_count *c, uint64_t done, double want)
{
	double rate = done * 1e9 / c->ns;

	printf("# %.1f of %.1f a second\n", rate, want);
	return (long)((rate / want - 1) * 10000);
}

static uint64_t both(const struct load_count *c)
{
	return c->done[0] + c->done[1];
}

#define EXPECT_RATE(c, done, want)		\
	do {					\
		long off_ = off(c, done, want);	\
		EXPECT_LE(-200, off_);		\
		EXPECT_GE(200, off_);		\
	} while (0)

static int set_limits(struct guest *g, const struct vhl_blk_limits *limits)
{
	return xioctl(g->fd, VHL_BLK_SET_LIMITS, limits);
}

static int set_none(struct guest *g)
{
	return set_limits(g, &(struct vhl_blk_limits){ 0 });
}

/* After one block, for a minute nothing goes */
static const struct vhl_blk_limits hardly = {
	.bps[TOTAL].avg = LANE_BLOCK / LONG_S,
};

/* One block is done and a second one waits: 0 or -errno */
static int have_wait(struct guest *g, struct lane *l)
{
	int ret = set_limits(g, &hardly);

	ret = ret ?: lane_one(l, VIRTIO_BLK_T_IN, LANE_BLOCK, SOON);
	ret = ret ?: lane_one(l, VIRTIO_BLK_T_IN, LANE_BLOCK, 100);
	return ret == -ETIMEDOUT ? 0 : ret ?: -EAGAIN;
}

TEST_F_TIMEOUT(limits, requests, 300)
{
	struct vhl_blk_limits limits = { .iops[TOTAL].avg = 1000 };
	struct load_count c;

	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WINDOW, &c));
	EXPECT_RATE(&c, both(&c), 1000);
}

TEST_F_TIMEOUT(limits, bytes, 300)
{
	struct vhl_blk_limits limits = { .bps[TOTAL].avg = 3000000 };
	struct load_count c;

	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WINDOW, &c));
	EXPECT_RATE(&c, both(&c) * LANE_BLOCK, 3000000);
}

/*
 * Each direction at its own rate, where they do not stand in each other's way; in one ring, those that
 * alternate go at the lower one
 */
TEST_F_TIMEOUT(limits, reads_and_writes, 300)
{
	struct vhl_blk_limits limits = {
		.iops[READ].avg = 300,
		.bps[WRITE].avg = 700 * LANE_BLOCK,
	};
	bool alone = self->lanes > 1;
	struct load_count c;

	for (unsigned int i = 0; i < self->lanes; i++) {
		struct lane *l = &self->lane[i];

		l->type[1] = VIRTIO_BLK_T_OUT;
		if (alone)
			l->type[0] = l->type[1] = i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	}
	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WINDOW * 3 / 5, &c));
	EXPECT_RATE(&c, c.done[0], 300);
	EXPECT_RATE(&c, c.done[1], alone ? 700 : 300);
}

TEST_F_TIMEOUT(limits, burst, 300)
{
	struct vhl_blk_limits limits = { .iops[TOTAL] = { .avg = 500, .max = 1500, .length = 2 } };
	struct load_count c;

	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 1400, &c));
	EXPECT_RATE(&c, both(&c), 1500);
	/* 2 s of it and the slack are over, also for a guest that had no CPU for a while */
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 1500, &c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WINDOW * 2 / 5, &c));
	EXPECT_RATE(&c, both(&c), 500);
}

/* A request of eight times the size counts as eight, and goes all the same */
TEST_F_TIMEOUT(limits, size_of_a_request, 120)
{
	struct vhl_blk_limits limits = { .iops[TOTAL].avg = 4000, .iops_size = 512 };
	struct load_count c;

	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 2000, &c));
	EXPECT_RATE(&c, both(&c), 500);
}

TEST_F_TIMEOUT(limits, changed_while_running, 120)
{
	struct vhl_blk_limits limits = { .iops[TOTAL].avg = 1 };
	struct load_count c;

	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	EXPECT_GE(2, both(&c));
	/* those that would have waited for a second or for sixteen do not */
	limits.iops[TOTAL].avg = 800;
	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	EXPECT_LE(800 * WARM_UP / 2000, both(&c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 2000, &c));
	EXPECT_RATE(&c, both(&c), 800);
	ASSERT_EQ(0, set_none(self->g));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	EXPECT_LE(3 * 800 * WARM_UP / 1000, both(&c));
	limits.iops[TOTAL].avg = 1;
	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, WARM_UP, &c));
	/* but for what was done before: those in flight */
	EXPECT_GE(2 + LANE_DEPTH * self->lanes, both(&c));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 500, &c));
	EXPECT_GE(2, both(&c));
}

TEST_F(limits, end_of_a_wait)
{
	struct lane *l = &self->lane[0];
	int64_t start;

	ASSERT_EQ(0, have_wait(self->g, l));
	start = now_ms();
	ASSERT_EQ(0, set_none(self->g));
	EXPECT_EQ(0, lane_one(l, 0, 0, SOON));
	EXPECT_GT(SOON, now_ms() - start);
	EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_IN, LANE_BLOCK, SOON));
}

/* Counted while there are limits, and not when there are none */
TEST_F_TIMEOUT(limits, counters, 120)
{
	struct vhl_blk_limits limits = { .iops[TOTAL].avg = 200 };
	uint64_t limited = 0, us = 0, again;
	struct load_count c;

	EXPECT_EQ(-ENOENT, guest_device_counter(self->g, "limited", &limited));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 200, &c));
	EXPECT_EQ(-ENOENT, guest_device_counter(self->g, "limited_us", &us));
	EXPECT_LT(200, both(&c));
	ASSERT_EQ(0, set_limits(self->g, &limits));
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 2000, &c));
	ASSERT_EQ(0, set_none(self->g));
	ASSERT_EQ(0, guest_device_counter(self->g, "limited", &limited));
	ASSERT_EQ(0, guest_device_counter(self->g, "limited_us", &us));
	/* each queue nearly all of the time */
	EXPECT_LE(100, limited);
	EXPECT_LE(1700000 * self->lanes, us);
	EXPECT_GE(2500000 * self->lanes, us);
	ASSERT_EQ(0, load_run(self->lane, self->lanes, 200, &c));
	ASSERT_EQ(0, guest_device_counter(self->g, "limited", &again));
	EXPECT_EQ(limited, again);
}

/* It waits for a timer, whatever the driver does, and does not poll although it is told to */
TEST_F_TIMEOUT(limits, sleeps, 120)
{
	struct worker_use before, after;
	struct lane *l = &self->lane[0];

	if (variant->kind == DUT_BLK)
		ASSERT_EQ(0, vring_num(self->g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 0, 1000000));
	ASSERT_EQ(0, have_wait(self->g, l));
	ASSERT_EQ(0, worker_use(getpid(), &before));
	EXPECT_EQ(-ETIMEDOUT, lane_one(l, 0, 0, 2000));
	ASSERT_EQ(0, worker_use(getpid(), &after));
	printf("# %.3f ms of CPU time in 2 s\n", (after.ns - before.ns) / 1e6);
	EXPECT_GE(5000000, after.ns - before.ns);
	EXPECT_GE(before.runs + 5, after.runs);

	before = after;
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, gq_kick(l->q));
		usleep(2000);
	}
	ASSERT_EQ(0, worker_use(getpid(), &after));
	printf("# %.3f ms for 100 kicks\n", (after.ns - before.ns) / 1e6);
	EXPECT_GE(50000000, after.ns - before.ns);
	EXPECT_EQ(-ETIMEDOUT, lane_one(l, 0, 0, 100));
	EXPECT_FALSE(gq_pending(l->q));
}

/* The request that waits is in the ring and nowhere else, and is done after the next start */
TEST_F(limits, stopped_while_it_waits)
{
	struct lane *l = &self->lane[0];
	int64_t start;

	ASSERT_EQ(0, have_wait(self->g, l));
	start = now_ms();
	ASSERT_EQ(0, guest_queue_switch(l->q, -1));
	ASSERT_EQ(0, guest_queue_get_base(l->q));
	EXPECT_GT(SOON, now_ms() - start);
	EXPECT_EQ(gq_base(l->q), l->q->base);
	EXPECT_FALSE(gq_pending(l->q));

	/* it waits once more, but no longer than it would have: what it was charged was given back */
	ASSERT_EQ(0, guest_queue_program(l->q));
	ASSERT_EQ(0, guest_queue_switch(l->q, self->disk));
	EXPECT_EQ(-ETIMEDOUT, lane_one(l, 0, 0, 300));
	ASSERT_EQ(0, set_none(self->g));
	EXPECT_EQ(0, lane_one(l, 0, 0, SOON));
	EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_OUT, LANE_BLOCK, SOON));
}

/* What a queue was charged for and could not do is not lost to others, nor to itself */
TEST_F(limits, given_back)
{
	struct vhl_blk_limits limits = { .bps[TOTAL].avg = LANE_BLOCK };
	struct lane *l = &self->lane[0];
	int64_t start;

	ASSERT_EQ(0, set_limits(self->g, &limits));
	start = now_ms();
	ASSERT_EQ(0, lane_one(l, VIRTIO_BLK_T_IN, LANE_BLOCK, SOON));
	ASSERT_EQ(-ETIMEDOUT, lane_one(l, VIRTIO_BLK_T_IN, LANE_BLOCK, 10));
	/* each time for a second more, else */
	for (unsigned int i = 0; i < 10; i++) {
		ASSERT_EQ(0, guest_queue_switch(l->q, -1));
		ASSERT_EQ(0, guest_queue_get_base(l->q));
		ASSERT_EQ(0, guest_queue_program(l->q));
		ASSERT_EQ(0, guest_queue_switch(l->q, self->disk));
		usleep(10000);
	}
	EXPECT_EQ(0, lane_one(l, 0, 0, 5000));
	EXPECT_LE(900, now_ms() - start);
	EXPECT_GE(2500, now_ms() - start);
}

/* It keeps the limits, but nobody waits for them */
TEST_F(limits, reset_while_it_waits)
{
	struct vhl_blk_limits got;
	int64_t start;

	ASSERT_EQ(0, have_wait(self->g, &self->lane[0]));
	start = now_ms();
	ASSERT_EQ(0, xioctl(self->g->fd, VHOST_RESET_OWNER, NULL));
	EXPECT_GT(SOON, now_ms() - start);
	ASSERT_EQ(0, xioctl(self->g->fd, VHL_BLK_GET_LIMITS, &got));
	EXPECT_EQ(0, memcmp(&got, &hardly, sizeof(got)));
}

TEST_F(limits, closed_while_it_waits)
{
	int workers = nr_workers();
	int64_t start;

	for (unsigned int i = 0; i < self->lanes; i++)
		ASSERT_EQ(0, lane_fill(&self->lane[i]));
	ASSERT_EQ(0, set_limits(self->g, &hardly));
	for (unsigned int i = 0; i < self->lanes; i++) {
		ASSERT_EQ(0, lane_reap(&self->lane[i]));
		ASSERT_EQ(0, lane_fill(&self->lane[i]));
	}
	sleep_ms(100);
	start = now_ms();
	guest_close(self->g);
	self->g = NULL;
	EXPECT_GT(SOON, now_ms() - start);
	EXPECT_TRUE(wait_workers(workers - 1, 5000));
}

/* Neither of them counts, and neither waits but for those in front of it */
TEST_F(limits, flush_and_id)
{
	struct lane *l = &self->lane[self->lanes - 1];

	ASSERT_EQ(0, set_limits(self->g, &hardly));
	ASSERT_EQ(0, lane_one(&self->lane[0], VIRTIO_BLK_T_IN, LANE_BLOCK, SOON));
	for (unsigned int i = 0; i < 10; i++) {
		EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_FLUSH, 0, SOON));
		EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_GET_ID, VHL_BLK_ID_BYTES, SOON));
	}
	EXPECT_EQ(-ETIMEDOUT, lane_one(l, VIRTIO_BLK_T_OUT, LANE_BLOCK, 100));
	ASSERT_EQ(0, lane_add(l, 1, VIRTIO_BLK_T_FLUSH, 0));
	gq_publish(l->q);
	ASSERT_EQ(0, gq_kick(l->q));
	sleep_ms(100);
	EXPECT_FALSE(gq_pending(l->q));
	ASSERT_EQ(0, set_none(self->g));
	EXPECT_EQ(0, lane_one(l, 0, 0, SOON));
}

/* They write as much as they name, which is more than a chain has; discards write nothing */
TEST_F(limits, ranges)
{
	struct vhl_blk_limits limits = { .bps[WRITE].avg = 1 << 20 };
	struct lane *l = &self->lane[0];
	struct virtio_blk_discard_write_zeroes *range = (void *)(l->p + LANE_BLOCK);

	*range = (struct virtio_blk_discard_write_zeroes){ .num_sectors = htole32(8192) };
	ASSERT_EQ(0, set_limits(self->g, &limits));
	EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_DISCARD, sizeof(*range), 5000));
	EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_OUT, LANE_BLOCK, SOON));
	*range = (struct virtio_blk_discard_write_zeroes){ .num_sectors = htole32(8192) };
	EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_WRITE_ZEROES, sizeof(*range), 5000));
	EXPECT_EQ(0, lane_one(l, VIRTIO_BLK_T_IN, LANE_BLOCK, SOON));
	/* 4 MiB are 4 s */
	*range = (struct virtio_blk_discard_write_zeroes){ .num_sectors = htole32(8) };
	EXPECT_EQ(-ETIMEDOUT, lane_one(l, VIRTIO_BLK_T_WRITE_ZEROES, sizeof(*range), 1000));
	EXPECT_EQ(0, lane_one(l, 0, 0, 10000));
}

/* As for `vhostlite limit`, which is another process */
static int set_some(void *arg)
{
	struct vhl_blk_limits limits = { .iops[READ].avg = 123 }, got;
	int fd = *(int *)arg;

	if (xioctl(fd, VHL_BLK_SET_LIMITS, &limits) || xioctl(fd, VHL_BLK_GET_LIMITS, &got))
		return 1;
	return memcmp(&limits, &got, sizeof(got)) ? 2 : 0;
}

FIXTURE(without_a_disk) {
	int fd;
};

FIXTURE_VARIANT(without_a_disk) {
	enum dut_kind kind;
};

DUT_EACH_DISK(without_a_disk)

FIXTURE_SETUP(without_a_disk)
{
	self->fd = xopen(dut_node(variant->kind));
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(without_a_disk)
{
	close(self->fd);
}

TEST_F(without_a_disk, who_and_when)
{
	struct vhl_blk_limits none = { 0 }, got;

	memset(&got, 0xff, sizeof(got));
	ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_GET_LIMITS, &got));
	EXPECT_EQ(0, memcmp(&got, &none, sizeof(got)));
	EXPECT_EQ(0, in_child(set_some, &self->fd));
	ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_GET_LIMITS, &got));
	EXPECT_EQ(123, got.iops[READ].avg);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, in_child(set_some, &self->fd));
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_SET_LIMITS, &none));
	ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_GET_LIMITS, &got));
	EXPECT_EQ(0, memcmp(&got, &none, sizeof(got)));
}

#define MAX_RATE	1000000000000000ULL

TEST_F(without_a_disk, refused)
{
	static const struct vhl_blk_limits bad[] = {
		{ .iops[TOTAL] = { .max = 1 } },
		{ .iops[READ] = { .length = 1 } },
		{ .iops[WRITE] = { .avg = 10, .length = 1 } },
		{ .bps[TOTAL] = { .avg = 10, .max = 9 } },
		{ .bps[READ] = { .avg = MAX_RATE + 1 } },
		{ .bps[WRITE] = { .avg = -1ULL } },
		{ .bps[WRITE] = { .avg = 1, .max = MAX_RATE + 1 } },
		{ .bps[WRITE] = { .avg = 1, .max = -1ULL } },
		{ .bps[WRITE] = { .avg = 1, .max = MAX_RATE, .length = 2 } },
		{ .iops[TOTAL] = { .avg = 1, .max = 1000, .length = MAX_RATE / 1000 + 1 } },
		{ .iops[TOTAL] = { .avg = 1, .max = 2, .length = -1ULL } },
		{ .iops_size = MAX_RATE + 1 },
		{ .iops[TOTAL].avg = 1, .reserved[4] = 1 },
	};
	static const struct vhl_blk_limits good[] = {
		{ .iops_size = 4096 },
		{ .iops[TOTAL] = { .avg = MAX_RATE, .max = MAX_RATE, .length = 1 } },
		{ .iops[READ] = { .avg = 1, .max = MAX_RATE, .length = 1 }, .iops_size = MAX_RATE },
		{ .bps[WRITE] = { .avg = 1, .max = 1, .length = MAX_RATE } },
	};
	struct vhl_blk_limits got;

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_SET_LIMITS, &good[i]));
		ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_GET_LIMITS, &got));
		EXPECT_EQ(0, memcmp(&got, &good[i], sizeof(got)));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, xioctl(self->fd, VHL_BLK_SET_LIMITS, &bad[i]))
			TH_LOG("%u", i);
		ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_GET_LIMITS, &got));
		EXPECT_EQ(0, memcmp(&got, &good[ARRAY_SIZE(good) - 1], sizeof(got)));
	}
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHL_BLK_SET_LIMITS, NULL));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHL_BLK_GET_LIMITS, NULL));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHL_BLK_SET_LIMITS, (void *)KERNEL_ADDR));
}

/* The network device has none of that */
TEST(of_disks_alone)
{
	struct vhl_blk_limits limits = { 0 };
	int fd = xopen(NODE_NET);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(-ENOTTY, xioctl(fd, VHL_BLK_SET_LIMITS, &limits));
	EXPECT_EQ(-ENOTTY, xioctl(fd, VHL_BLK_GET_LIMITS, &limits));
	close(fd);
}

/* Nothing in it depends on who looks */
_Static_assert(sizeof(struct vhl_blk_limits) == 192, "the same for 32-bit programs");

TEST_HARNESS_MAIN
