// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that may block: how many there are, what they keep from others, and what becomes of
 * requests that wait for one when the owner is killed.
 *
 * They block in writes to a file system that is frozen.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "store.h"

#define BLOCK	4096
#define HDRS	SCRATCH_FREE
#define STATUS	(SCRATCH_FREE + 4096)
#define SLOTS	160

/* Threads that a disk has at most for what may block */
#define THREADS	64

FIXTURE(pool) {
	struct store s;
	struct dut d;
	int disk, dir;
	bool able, frozen;
};

#define NO_STORAGE	"no device mapper or no such file system here"

FIXTURE_VARIANT(pool) {
	enum dut_kind kind;
};

DUT_EACH_DISK(pool)

FIXTURE_SETUP(pool)
{
	self->s.fs = "ext4";
	self->s.bytes = 4 << 20;
	self->disk = -1;
	self->dir = -1;
	/* older harnesses go on with a test whose setup was skipped */
	if (system("modprobe -aq loop dm-mod dm-delay ext4"))
		return;
	self->able = true;
	ASSERT_EQ(0, store_open(&self->s));
	self->disk = open(self->s.path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->disk);
	self->dir = open(self->s.dir, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->dir);
}

FIXTURE_TEARDOWN(pool)
{
	if (!self->able)
		return;
	if (self->frozen)
		ioctl(self->dir, FITHAW, 0);
	dut_close(&self->d);
	close(self->dir);
	close(self->disk);
	store_close(&self->s);
}

/* Request @slot of a queue, unpublished: a write of a block of its own, or what the disk is called */
static int add(struct dut *d, unsigned int qi, unsigned int slot, uint32_t type)
{
	struct scratch *scratch = &d->scratch[qi];
	struct virtio_blk_outhdr hdr = {
		.type = htole32(type),
		.sector = htole64((qi * SLOTS + slot) * (BLOCK / 512)),
	};
	bool write = type == VIRTIO_BLK_T_OUT;
	struct guest_seg seg[] = {
		{ scratch->gpa + HDRS + slot * sizeof(hdr), sizeof(hdr) },
		{ scratch->gpa + SCRATCH_DATA, write ? BLOCK : VHL_BLK_ID_BYTES },
		{ scratch->gpa + STATUS + slot, 1 },
	};

	memcpy(scratch->p + HDRS + slot * sizeof(hdr), &hdr, sizeof(hdr));
	scratch->p[STATUS + slot] = 0xaa;
	return gq_add(d->q[qi], seg, write ? 2 : 1, write ? 1 : 2, scratch);
}

/* @n writes to each of both queues, none of which can go on before the thaw */
static int block(struct dut *d, unsigned int n)
{
	int ret = 0;

	for (unsigned int qi = 0; qi < 2; qi++) {
		for (unsigned int i = 0; !ret && i < n; i++)
			ret = add(d, qi, i, VIRTIO_BLK_T_OUT);
		gq_publish(d->q[qi]);
		gq_kick(d->q[qi]);
	}
	return ret;
}

/* How many of a queue's requests come within @ms */
static unsigned int collect(struct dut *d, unsigned int qi, unsigned int n, unsigned int ms)
{
	int64_t end = now_ms() + ms, left;
	unsigned int got = 0;
	uint32_t len;
	void *token;

	while (got < n && (left = end - now_ms()) > 0) {
		if (gq_wait(d->q[qi], left) || gq_get(d->q[qi], &token, &len))
			break;
		got++;
	}
	return got;
}

static unsigned int written(const struct dut *d, unsigned int qi, unsigned int n)
{
	unsigned int ok = 0;

	for (unsigned int i = 0; i < n; i++)
		ok += d->scratch[qi].p[STATUS + i] == VIRTIO_BLK_S_OK;
	return ok;
}

/* Wait until there are more than @n threads of ours */
static bool wait_threads(int n, unsigned int ms)
{
	int64_t end = now_ms() + ms;

	while (nr_workers() <= n && now_ms() < end)
		sleep_ms(20);
	return nr_workers() > n;
}

/* As many threads as there may be, all of them blocked, and more requests: none is lost */
TEST_F_TIMEOUT(pool, more_than_threads, 120)
{
	struct dut_opts opts = { .disk = self->disk, .num = 256 };
	const unsigned int n = 60;
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
	self->frozen = true;
	ASSERT_EQ(0, block(d, n));
	EXPECT_TRUE(wait_threads(THREADS, 30000));
	/* two workers, and what may block */
	EXPECT_GE(2 + THREADS, nr_workers());
	/* what needs no thread is done beside them */
	ASSERT_EQ(0, add(d, 0, n, VIRTIO_BLK_T_GET_ID));
	gq_publish(d->q[0]);
	gq_kick(d->q[0]);
	EXPECT_EQ(1, collect(d, 0, 1, 10000));
	EXPECT_EQ(0, written(d, 0, n));
	EXPECT_EQ(0, written(d, 1, n));

	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	self->frozen = false;
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_EQ(n, collect(d, qi, n, 30000));
		EXPECT_EQ(n, written(d, qi, n));
	}
}

/* More requests than a queue may have on the lane: it goes on with the others by itself, without a kick */
TEST_F_TIMEOUT(pool, more_than_lane, 120)
{
	struct dut_opts opts = { .disk = self->disk, .num = 256 };
	const unsigned int n = SLOTS;
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
	self->frozen = true;
	ASSERT_EQ(0, block(d, n));
	EXPECT_TRUE(wait_threads(THREADS, 30000));
	/* longer than a worker polls */
	sleep_ms(500);
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	self->frozen = false;
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_EQ(n, collect(d, qi, n, 10000));
		EXPECT_EQ(n, written(d, qi, n));
	}
}

/* Threads that were idle for long go, when others have something to do */
TEST_F_TIMEOUT(pool, fewer_again, 120)
{
	struct dut_opts opts = { .disk = self->disk };
	struct dut *d = &self->d;
	int64_t end;
	int many;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
	self->frozen = true;
	ASSERT_EQ(0, block(d, 8));
	EXPECT_TRUE(wait_threads(2 + 16, 30000));
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	self->frozen = false;
	EXPECT_EQ(8, collect(d, 0, 8, 30000));
	EXPECT_EQ(8, collect(d, 1, 8, 30000));

	many = nr_workers();
	sleep_ms(11000);
	EXPECT_EQ(many, nr_workers());
	end = now_ms() + 20000;
	while (nr_workers() > 2 + 3 && now_ms() < end)
		ASSERT_EQ(VIRTIO_BLK_S_OK, blk_request(d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	EXPECT_GE(2 + 3, nr_workers());
	EXPECT_EQ(0, dut_units(d, 0, 2));
}

/* Another process's file, as ours; -1 */
static int take_fd(pid_t pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int file = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (pidfd >= 0)
		close(pidfd);
	return file;
}

/*
 * The owner is killed while requests block and others wait for a thread, and somebody else has the
 * file: what blocks goes on, what waits fails, and the last close waits for neither for ever.
 */
TEST_F_TIMEOUT(pool, killed, 120)
{
	struct dut_opts opts = { .disk = self->disk, .num = 256 };
	int ready[2], status;
	int32_t number;
	pid_t pid;
	int file;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, pipe(ready));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		static struct dut d;

		if (dut_open(&d, variant->kind, &opts) || ioctl(self->dir, FIFREEZE, 0))
			_exit(1);
		if (block(&d, 60) || !wait_threads(THREADS, 30000))
			_exit(2);
		number = d.g->fd;
		if (write(ready[1], &number, sizeof(number)) != sizeof(number))
			_exit(3);
		for (;;)
			pause();
	}
	self->frozen = true;
	close(ready[1]);
	ASSERT_EQ(sizeof(number), read(ready[0], &number, sizeof(number)));
	file = take_fd(pid, number);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	/* most of it is gone, but not the thread that is in the file system */
	sleep_ms(200);
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	self->frozen = false;
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(file);
	EXPECT_TRUE(wait_workers(0, 10000));
	close(ready[0]);
}

TEST_HARNESS_MAIN
