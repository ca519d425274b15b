// SPDX-License-Identifier: GPL-2.0
/*
 * Workers that a client makes, and which it says queues are with; and whose threads all of them are.
 * The vhost dialect has these requests.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* As many as a device has for itself, at most, and a client for its part */
#define MAX	16

FIXTURE(workers) {
	struct dut d;
	int fd;
};

FIXTURE_VARIANT(workers) {
	enum dut_kind kind;
	bool kthreads;
};

FIXTURE_VARIANT_ADD(workers, net) { .kind = DUT_NET };
FIXTURE_VARIANT_ADD(workers, blk) { .kind = DUT_BLK };
FIXTURE_VARIANT_ADD(workers, net_kthreads) { .kind = DUT_NET, .kthreads = true };
FIXTURE_VARIANT_ADD(workers, blk_kthreads) { .kind = DUT_BLK, .kthreads = true };

FIXTURE_SETUP(workers)
{
	struct dut_opts opts = { .kthreads = variant->kthreads };

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->fd = self->d.g->fd;
}

FIXTURE_TEARDOWN(workers)
{
	dut_close(&self->d);
}

/* The number of a new one, or -errno */
static int new_worker(int fd)
{
	struct vhost_worker_state w = { 0 };

	return xioctl(fd, VHOST_NEW_WORKER, &w) ?: (int)w.worker_id;
}

static int free_worker(int fd, unsigned int id)
{
	struct vhost_worker_state w = { .worker_id = id };

	return xioctl(fd, VHOST_FREE_WORKER, &w);
}

static int attach(int fd, unsigned int index, unsigned int id)
{
	struct vhost_vring_worker w = { .index = index, .worker_id = id };

	return xioctl(fd, VHOST_ATTACH_VRING_WORKER, &w);
}

/* The one that a queue is with, or -errno */
static int worker_of(int fd, unsigned int index)
{
	struct vhost_vring_worker w = { .index = index, .worker_id = -1 };

	return xioctl(fd, VHOST_GET_VRING_WORKER, &w) ?: (int)w.worker_id;
}

/* Does the thread of this worker do what that queue has to do? */
static bool serves(struct dut *d, unsigned int id, unsigned int qi)
{
	struct worker_use before, after;

	/* one that was made just now, or had a kick from before, is asleep by then */
	sleep_ms(20);
	if (worker_use_of(id, &before) || dut_units(d, qi, 50) || worker_use_of(id, &after))
		return false;
	return after.ns > before.ns;
}

TEST_F(workers, made_and_used)
{
	struct dut *d = &self->d;
	struct worker_use use;
	int a, b;

	EXPECT_EQ(0, worker_of(self->fd, 0));
	a = new_worker(self->fd);
	b = new_worker(self->fd);
	ASSERT_LT(0, a);
	ASSERT_LT(0, b);
	EXPECT_NE(a, b);
	EXPECT_EQ(0, worker_use_of(a, &use));
	EXPECT_EQ(0, worker_use_of(b, &use));
	/* nobody is with them yet */
	EXPECT_FALSE(serves(d, a, 0));

	ASSERT_EQ(0, attach(self->fd, 0, a));
	ASSERT_EQ(0, attach(self->fd, 1, b));
	EXPECT_EQ(a, worker_of(self->fd, 0));
	EXPECT_EQ(b, worker_of(self->fd, 1));
	EXPECT_TRUE(serves(d, a, 0));
	EXPECT_FALSE(serves(d, a, 1));
	EXPECT_TRUE(serves(d, b, 1));

	/* a choice outlives a stop, also one of a queue that polls */
	ASSERT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 20));
	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, dut_start(d));
	EXPECT_TRUE(serves(d, b, 1));
	EXPECT_FALSE(serves(d, a, 1));

	/* in use; then back to the first one */
	EXPECT_EQ(-EBUSY, free_worker(self->fd, a));
	ASSERT_EQ(0, attach(self->fd, 0, 0));
	ASSERT_EQ(0, attach(self->fd, 1, 0));
	EXPECT_EQ(0, free_worker(self->fd, a));
	EXPECT_EQ(0, free_worker(self->fd, b));
	EXPECT_EQ(-ENOENT, worker_use_of(a, &use));
	EXPECT_EQ(-ENOENT, worker_use_of(b, &use));
	EXPECT_EQ(-ENODEV, attach(self->fd, 0, a));
	EXPECT_TRUE(serves(d, 0, 0));
	EXPECT_TRUE(serves(d, 0, 1));
}

/* Before the first start, as a VMM does it */
TEST_F(workers, attached_before_start)
{
	struct dut_opts opts = { .kthreads = variant->kthreads, .stopped = true };
	int id;

	dut_close(&self->d);
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->fd = self->d.g->fd;
	id = new_worker(self->fd);
	ASSERT_LT(0, id);
	EXPECT_EQ(0, worker_of(self->fd, 1));
	ASSERT_EQ(0, attach(self->fd, 1, id));
	EXPECT_EQ(id, worker_of(self->fd, 1));
	ASSERT_EQ(0, dut_start(&self->d));
	EXPECT_TRUE(serves(&self->d, id, 1));
	EXPECT_FALSE(serves(&self->d, id, 0));
	EXPECT_EQ(-EBUSY, free_worker(self->fd, id));
}

TEST_F(workers, refused)
{
	int id = new_worker(self->fd), other;

	ASSERT_LT(0, id);
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHOST_NEW_WORKER, NULL));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHOST_FREE_WORKER, NULL));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHOST_ATTACH_VRING_WORKER, NULL));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHOST_GET_VRING_WORKER, NULL));
	EXPECT_EQ(-ENOBUFS, attach(self->fd, 1000, id));
	EXPECT_EQ(-ENOBUFS, worker_of(self->fd, 1000));
	EXPECT_EQ(-ENODEV, attach(self->fd, 0, 1000));
	EXPECT_EQ(-ENODEV, attach(self->fd, 0, -1));
	EXPECT_EQ(-ENODEV, free_worker(self->fd, -1));
	EXPECT_EQ(-ENODEV, free_worker(self->fd, id + 1));
	/* the device's own: this one makes all threads, and that is of a queue */
	EXPECT_EQ(-EBUSY, free_worker(self->fd, 0));
	EXPECT_EQ(-EBUSY, free_worker(self->fd, 1));
	EXPECT_EQ(0, free_worker(self->fd, id));
	EXPECT_EQ(-ENODEV, free_worker(self->fd, id));

	for (int i = 0; i < MAX; i++)
		ASSERT_LT(0, new_worker(self->fd));
	EXPECT_EQ(-ENOSPC, new_worker(self->fd));
	/* a device without an owner has none */
	other = open(dut_node(variant->kind), O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, other);
	EXPECT_EQ(-EPERM, new_worker(other));
	close(other);
	EXPECT_EQ(0, dut_units(&self->d, 0, 10));
}

/* All of them go with the owner, and so do choices */
TEST_F(workers, forgotten)
{
	int before = nr_workers(), id = new_worker(self->fd);

	ASSERT_LT(0, id);
	ASSERT_EQ(0, attach(self->fd, 0, id));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_RESET_OWNER, NULL));
	EXPECT_GT(before, nr_workers());
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, worker_of(self->fd, 0));
	EXPECT_EQ(-ENODEV, attach(self->fd, 0, id));
}

/* Queues change their workers, which come and go, while units pass: none is lost */
TEST_F_TIMEOUT(workers, moved_under_load, 120)
{
	struct dut *d = &self->d;
	struct mover m[2];
	int id[2];

	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, mover_start(&m[qi], d, qi));
	for (unsigned int i = 0; i < 200; i++) {
		for (unsigned int qi = 0; qi < 2; qi++) {
			id[qi] = new_worker(self->fd);
			ASSERT_LT(0, id[qi]);
			ASSERT_EQ(0, attach(self->fd, qi, id[qi]));
		}
		sleep_ms(i % 4);
		for (unsigned int qi = 0; qi < 2; qi++)
			ASSERT_EQ(0, attach(self->fd, qi, i & 1 ? 0 : id[!qi]));
		sleep_ms(i % 3);
		for (unsigned int qi = 0; qi < 2; qi++)
			ASSERT_EQ(0, attach(self->fd, qi, qi));
		for (unsigned int qi = 0; qi < 2; qi++)
			ASSERT_EQ(0, free_worker(self->fd, id[qi]));
	}
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_EQ(0, mover_stop(&m[qi]));
		EXPECT_LT(0, atomic_load(&m[qi].done));
	}
}

/* Whose threads: said before there is an owner, and forgotten with it */
TEST(fork_from_owner)
{
	int fd = open(dut_node(DUT_NET), O_RDWR | O_CLOEXEC);
	uint8_t fork = 7, first;
	int ret;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, xioctl(fd, VHOST_GET_FORK_FROM_OWNER, &first));
	EXPECT_EQ(-EINVAL, xioctl(fd, VHOST_SET_FORK_FROM_OWNER, &fork));
	EXPECT_EQ(-EFAULT, xioctl(fd, VHOST_SET_FORK_FROM_OWNER, NULL));
	fork = VHOST_FORK_OWNER_KTHREAD;
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_FORK_FROM_OWNER, &fork));
	fork = 7;
	ASSERT_EQ(0, xioctl(fd, VHOST_GET_FORK_FROM_OWNER, &fork));
	EXPECT_EQ(VHOST_FORK_OWNER_KTHREAD, fork);
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(-EBUSY, xioctl(fd, VHOST_SET_FORK_FROM_OWNER, &fork));
	/* not among the threads of this process */
	EXPECT_EQ(0, nr_own_workers());
	ASSERT_EQ(0, xioctl(fd, VHOST_RESET_OWNER, NULL));
	ASSERT_EQ(0, xioctl(fd, VHOST_GET_FORK_FROM_OWNER, &fork));
	EXPECT_EQ(first, fork);

	fork = VHOST_FORK_OWNER_TASK;
	ret = xioctl(fd, VHOST_SET_FORK_FROM_OWNER, &fork);
	if (first == VHOST_FORK_OWNER_KTHREAD) {
		EXPECT_EQ(-EOPNOTSUPP, ret);
	} else {
		EXPECT_EQ(0, ret);
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
		EXPECT_EQ(1, nr_own_workers());
	}
	close(fd);
}

TEST_HARNESS_MAIN
