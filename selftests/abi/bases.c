// SPDX-License-Identifier: GPL-2.0
/*
 * VHL_SET_BASES: where queues stop is stored in memory of the owner, also when that is killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define NONE	0xdeadbeef

FIXTURE(bases) {
	struct dut d;
	uint32_t *at;
};

FIXTURE_VARIANT(bases) {
	enum dut_kind kind;
	const char *ring;
};

FIXTURE_VARIANT_ADD(bases, net) { .kind = DUT_NET, .ring = "" };
FIXTURE_VARIANT_ADD(bases, blk) { .kind = DUT_BLK, .ring = "" };
FIXTURE_VARIANT_ADD(bases, net_packed) { .kind = DUT_NET, .ring = "packed" };
FIXTURE_VARIANT_ADD(bases, blk_packed) { .kind = DUT_BLK, .ring = "packed" };

FIXTURE_SETUP(bases)
{
	struct dut_opts opts = { 0 };

	ASSERT_EQ(0, setenv("VHL_TEST_RING", variant->ring, 1));
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	/* two pages, of which the second is not there */
	self->at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	ASSERT_EQ(0, munmap((char *)self->at + 4096, 4096));
	for (unsigned int i = 0; i < 1024; i++)
		self->at[i] = NONE;
}

FIXTURE_TEARDOWN(bases)
{
	dut_close(&self->d);
	munmap(self->at, 4096);
}

static int set(struct dut *d, const void *addr)
{
	uint64_t arg = (uintptr_t)addr;

	return xioctl(d->g->fd, VHL_SET_BASES, &arg);
}

static uint32_t base_of(struct dut *d, unsigned int qi)
{
	struct vhost_vring_state state = { .index = qi };

	return xioctl(d->g->fd, VHOST_GET_VRING_BASE, &state) ? NONE : state.num;
}

TEST_F(bases, stored)
{
	struct dut *d = &self->d;
	uint32_t *at = self->at + 3;

	ASSERT_EQ(0, set(d, at));
	EXPECT_EQ(0, dut_units(d, 0, 3));
	EXPECT_EQ(0, dut_units(d, 1, 5));
	/* not before */
	EXPECT_EQ(NONE, at[0]);
	ASSERT_EQ(0, dut_stop(d));
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_NE(NONE, at[qi]);
		EXPECT_EQ(base_of(d, qi), at[qi]);
	}
	EXPECT_NE(at[0], at[1]);
	EXPECT_EQ(NONE, at[-1]);
	EXPECT_EQ(NONE, at[2]);
	/* elsewhere, and nowhere */
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, set(d, self->at + 100));
	at[0] = NONE;
	EXPECT_EQ(0, dut_units(d, 0, 2));
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_EQ(NONE, at[0]);
	EXPECT_EQ(base_of(d, 0), self->at[100]);
	ASSERT_EQ(0, set(d, NULL));
	self->at[100] = NONE;
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(0, dut_units(d, 0, 2));
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_EQ(NONE, self->at[100]);
}

/* It is no matter whether the owner has it any more; what had been refused changed nothing */
TEST_F(bases, refused)
{
	struct dut *d = &self->d;
	char *page = (char *)self->at;
	unsigned int queues = variant->kind == DUT_NET ? 2 : VHL_BLK_MAX_QUEUES;
	uint32_t base;

	ASSERT_EQ(0, set(d, page + 4096 - 4 * queues));
	EXPECT_EQ(-EINVAL, set(d, page + 2));
	EXPECT_EQ(-EINVAL, set(d, page + 4096 - 4 * queues + 4));
	EXPECT_EQ(-EFAULT, set(d, page + 4096));
	EXPECT_EQ(-EFAULT, set(d, (void *)(1UL << 63)));
	EXPECT_EQ(-EFAULT, xioctl(d->g->fd, VHL_SET_BASES, NULL));
	ASSERT_EQ(0, mprotect(page, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, set(d, page));
	EXPECT_EQ(0, dut_units(d, 0, 2));
	ASSERT_EQ(0, dut_stop(d));
	base = self->at[1024 - queues];
	EXPECT_NE(NONE, base);
	EXPECT_EQ(base_of(d, 0), base);
}

TEST(not_in_the_vhost_vdpa_dialect)
{
	static struct dut d;
	struct dut_opts opts = { 0 };
	static uint32_t at[16] __attribute__((aligned(64)));

	ASSERT_EQ(0, dut_open(&d, DUT_VDPA, &opts));
	EXPECT_EQ(-ENOTTY, set(&d, at));
	dut_close(&d);
}

/* With threads of the kernel's, all that was taken is done: the place is behind the last of it */
TEST_F(bases, killed)
{
	int ready[2], status, disk;
	pid_t pid;
	char c;

	if (variant->kind != DUT_BLK)
		SKIP(return, "of disks, whose requests take long");
	disk = slow_disk(200);
	if (disk < 0)
		SKIP(return, "no null_blk here");
	ASSERT_EQ(0, pipe(ready));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct dut_opts opts = {
			.disk = disk, .kthreads = true, .refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC),
		};
		static struct dut d;

		if (dut_open(&d, DUT_BLK, &opts) || set(&d, self->at))
			_exit(1);
		if (blk_start_reads(&d, 10))
			_exit(2);
		sleep_ms(50);
		if (write(ready[1], "", 1) != 1)
			_exit(3);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_EQ(NONE, self->at[0]);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	if (*variant->ring) {
		/* ten chains of three descriptors, both sides at one place */
		EXPECT_EQ(0x801e801e, self->at[0]);
	} else {
		EXPECT_EQ(10, self->at[0]);
	}
	close(ready[0]);
	close(ready[1]);
	close(disk);
	slow_disk_remove();
}

TEST_HARNESS_MAIN
