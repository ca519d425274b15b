// SPDX-License-Identifier: GPL-2.0
/*
 * A write that the file takes only the first part of, without an error, is none that succeeded. Files
 * opened by a program of 32 bits have such an end, at 2 GiB, if it did not ask for large ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define END	(1ULL << 31)
#define BLOCK	4096

/* open() as a program of 32 bits calls it; @path is below 4 GiB.  Dies where the kernel knows none */
static int open32(const char *path, int flags)
{
#ifdef __x86_64__
	int ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" (5), "b" (path), "c" (flags), "d" (0600)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
#else
	return -ENOSYS;
#endif
}

static int try_open32(void *arg)
{
	return open32(arg, O_RDONLY) < 0;
}

FIXTURE(short_write) {
	struct dut d;
	char *path;
	int disk, large;
};

FIXTURE_VARIANT(short_write) {
	enum dut_kind kind;
	uint64_t refuse;
	int flags;
};

FIXTURE_VARIANT_ADD(short_write, cached) {
	.kind = DUT_BLK,
};

FIXTURE_VARIANT_ADD(short_write, through) {
	.kind = DUT_VDPA,
	.refuse = BIT(VIRTIO_BLK_F_FLUSH),
};

FIXTURE_VARIANT_ADD(short_write, dsync) {
	.kind = DUT_BLK,
	.flags = O_DSYNC,
};

FIXTURE_SETUP(short_write)
{
	self->disk = -1;
	self->path = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, self->path);
	strcpy(self->path, "/dev/shm/vhltest-short");
	if (access("/dev/shm", W_OK))
		strcpy(self->path, "/tmp/vhltest-short");
	unlink(self->path);
	self->large = open(self->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->large);
}

FIXTURE_TEARDOWN(short_write)
{
	dut_close(&self->d);
	unlink(self->path);
	close(self->large);
	if (self->disk >= 0)
		close(self->disk);
}

TEST_F(short_write, at_its_end)
{
	struct dut_opts opts = { .refuse = variant->refuse };
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[0];
	char got[2 * BLOCK];
	int status;

	if (in_child(try_open32, self->path))
		SKIP(return, "this kernel runs no programs of 32 bits");
	self->disk = open32(self->path, O_RDWR | variant->flags);
	ASSERT_LE(0, self->disk);
	/* which it could not be opened with, so */
	ASSERT_EQ(0, ftruncate(self->large, END + (64 << 20)));
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	memset(scratch->p + SCRATCH_FREE, 0x5a, 2 * BLOCK);
	status = blk_request(d, 0, VIRTIO_BLK_T_OUT, (END - BLOCK) / 512, scratch->gpa + SCRATCH_FREE,
			     2 * BLOCK);
	ASSERT_EQ(2 * BLOCK, pread(self->large, got, 2 * BLOCK, END - BLOCK));
	if (status == VIRTIO_BLK_S_OK) {
		EXPECT_EQ(0, memcmp(scratch->p + SCRATCH_FREE, got, 2 * BLOCK));
	} else {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, status);
	}
	/* in front of it all is well */
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(d, 0, VIRTIO_BLK_T_OUT, (END - 4 * BLOCK) / 512,
					       scratch->gpa + SCRATCH_FREE, 2 * BLOCK));
}

TEST_HARNESS_MAIN
