// SPDX-License-Identifier: GPL-2.0
/*
 * SECURE_ERASE, and what becomes of the other requests that name ranges on a device that can do all of
 * them: it counts what it was asked for (selftests/nullback/testdisk.c).
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define DISK		"/dev/vhltestdisk"
#define DISCARDED	0xdd
#define ERASED		0xee

#define CONFIG_SIZE	72
#define SECTORS		(8U << 11)
#define SEGS		32
#define MAX		(128U << 11)
#define UNMAP		VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

FIXTURE(erase) {
	struct dut d;
	int disk;
	unsigned char *p;
	uint64_t gpa;
};

FIXTURE_VARIANT(erase) {
	enum dut_kind kind;
	bool direct;
};

FIXTURE_VARIANT_ADD(erase, cached) {
	.kind = DUT_VDPA,
};

FIXTURE_VARIANT_ADD(erase, cached_blk) {
	.kind = DUT_BLK,
};

FIXTURE_VARIANT_ADD(erase, direct) {
	.kind = DUT_VDPA,
	.direct = true,
};

FIXTURE_VARIANT_ADD(erase, direct_blk) {
	.kind = DUT_BLK,
	.direct = true,
};

static int begin(FIXTURE_DATA(erase) *self, enum dut_kind kind, bool direct, uint64_t refuse)
{
	struct dut_opts opts = { .early = true, .refuse = refuse };
	int ret;

	for (unsigned int i = 0; i < 100 && access(DISK, F_OK); i++)
		sleep_ms(20);
	self->disk = open(DISK, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (self->disk < 0)
		return -errno;
	opts.disk = self->disk;
	ret = dut_open(&self->d, kind, &opts);
	if (ret)
		return ret;
	self->p = self->d.scratch[0].p + SCRATCH_FREE;
	self->gpa = self->d.scratch[0].gpa + SCRATCH_FREE;
	return 0;
}

FIXTURE_SETUP(erase)
{
	ASSERT_EQ(0, module_load("selftests/nullback/testdisk"));
	ASSERT_EQ(0, begin(self, variant->kind, variant->direct, 0));
}

FIXTURE_TEARDOWN(erase)
{
	int ret = -EBUSY;

	dut_close(&self->d);
	close(self->disk);
	/* others look at a device that was closed */
	for (unsigned int i = 0; i < 100 && ret; i++) {
		ret = module_unload("testdisk");
		if (ret)
			sleep_ms(20);
	}
	EXPECT_EQ(0, ret);
}

/* Sectors that the device was asked for */
static long count(const char *name)
{
	char path[80];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/testdisk/parameters/%s", name);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* Write or read 4096 bytes of one value.  0, or what is wrong */
static int put(FIXTURE_DATA(erase) *self, uint64_t sector, unsigned char value)
{
	memset(self->p, value, 4096);
	return blk_request(&self->d, 0, VIRTIO_BLK_T_OUT, sector, self->gpa, 4096);
}

static int all_are(const unsigned char *p, unsigned char value)
{
	for (unsigned int i = 0; i < 4096; i++) {
		if (p[i] != value) {
			printf("# byte %u is %#x, not %#x\n", i, p[i], value);
			return -EBADMSG;
		}
	}
	return 0;
}

static int has(FIXTURE_DATA(erase) *self, uint64_t sector, unsigned char value)
{
	int ret;

	memset(self->p, 0xaa, 4096);
	ret = blk_request(&self->d, 0, VIRTIO_BLK_T_IN, sector, self->gpa, 4096);
	return ret ? ret : all_are(self->p, value);
}

/* The same past what is cached */
static int storage_has(uint64_t sector, unsigned char value)
{
	int fd = open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC), ret = -ENOMEM;
	unsigned char *p = NULL;

	if (!posix_memalign((void **)&p, 4096, 4096))
		ret = pread(fd, p, 4096, sector * 512) == 4096 ? all_are(p, value) : -EIO;
	free(p);
	close(fd);
	return ret;
}

TEST_F(erase, offered)
{
	struct virtio_blk_config c;
	uint32_t le[3];

	EXPECT_NE(0, self->d.g->features & BIT(VIRTIO_BLK_F_SECURE_ERASE));
	EXPECT_NE(0, self->d.g->features & BIT(VIRTIO_BLK_F_DISCARD));
	if (variant->kind != DUT_VDPA)
		return;
	ASSERT_EQ(0, guest_config(self->d.g, 60, le, 12));
	EXPECT_EQ(MAX, le32toh(le[0]));
	EXPECT_EQ(SEGS, le32toh(le[1]));
	EXPECT_EQ(8, le32toh(le[2]));
	ASSERT_EQ(0, guest_config(self->d.g, 0, &c, 60));
	EXPECT_EQ(8, le32toh(c.discard_sector_alignment));
	EXPECT_EQ(1, c.write_zeroes_may_unmap);
}

/* Each segment, to the sector; what is cached of it is gone, also what was to be written yet */
TEST_F(erase, erases)
{
	struct virtio_blk_discard_write_zeroes le[SEGS];
	struct dut *d = &self->d;
	unsigned int sum = 0;

	for (unsigned int s = 0; s < SEGS * 16; s += 8) {
		ASSERT_EQ(0, put(self, s, 0x55));
	}
	for (unsigned int i = 0; i < SEGS; i++) {
		unsigned int num = i % 4 ? 8 : 9;

		le[i] = (struct virtio_blk_discard_write_zeroes){ htole64(i * 16), htole32(num) };
		sum += num;
	}
	memcpy(d->scratch[0].p + SCRATCH_DATA, le, sizeof(le));
	ASSERT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_SECURE_ERASE, 0,
				 d->scratch[0].gpa + SCRATCH_DATA, sizeof(le)));
	EXPECT_EQ(sum, count("erased"));
	EXPECT_EQ(0, count("discarded"));
	EXPECT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	for (unsigned int i = 0; i < SEGS; i++) {
		EXPECT_EQ(0, has(self, i * 16, ERASED));
		EXPECT_EQ(0, storage_has(i * 16, ERASED));
		if (i % 4)
			EXPECT_EQ(0, has(self, i * 16 + 8, 0x55));
	}
	EXPECT_EQ(0, dut_units(d, 1, 3));
	EXPECT_EQ(0, dut_counter(d, 0, "errors"));
}

TEST_F(erase, refused)
{
	static const struct {
		uint64_t sector;
		uint32_t num, flags;
		int status;
	} t[] = {
		{ 0, 0, 0, 0 }, { SECTORS - 8, 8, 0, 0 }, { SECTORS - 8, 9, 0, 1 }, { SECTORS, 1, 0, 1 },
		{ ~0ULL, 8, 0, 1 }, { 0, MAX + 1, 0, 1 }, { 0, 8, UNMAP, 2 }, { 0, 8, 2, 2 },
		{ SECTORS, 8, 1U << 31, 2 },
	};
	struct dut *d = &self->d;

	ASSERT_EQ(0, put(self, 0, 0x55));
	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		EXPECT_EQ(t[i].status, blk_range(d, 0, VIRTIO_BLK_T_SECURE_ERASE, t[i].sector,
						 t[i].num, t[i].flags))
			TH_LOG("%u", i);
	}
	EXPECT_EQ(8, count("erased"));
	for (uint32_t len = 0; len <= 17; len++) {
		EXPECT_EQ(len == 16 ? 2 : 1, blk_request(d, 0, VIRTIO_BLK_T_SECURE_ERASE, 0,
							 d->scratch[0].gpa + SCRATCH_DATA, len));
	}
	EXPECT_EQ(1, blk_request(d, 0, VIRTIO_BLK_T_SECURE_ERASE, 0,
				 d->scratch[0].gpa + SCRATCH_DATA, (SEGS + 1) * 16));
	EXPECT_EQ(0, has(self, 0, 0x55));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

TEST_F(erase, not_taken)
{
	dut_close(&self->d);
	close(self->disk);
	ASSERT_EQ(0, begin(self, variant->kind, variant->direct, BIT(VIRTIO_BLK_F_SECURE_ERASE)));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, blk_range(&self->d, 0, VIRTIO_BLK_T_SECURE_ERASE, 0, 8, 0));
	EXPECT_EQ(0, count("erased"));
}

/* A disk that cannot */
TEST_F(erase, not_offered)
{
	uint32_t le[3] = { 1, 1, 1 };
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, variant->kind, &(struct dut_opts){ .early = true }));
	EXPECT_EQ(0, d.g->features & BIT(VIRTIO_BLK_F_SECURE_ERASE));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, blk_range(&d, 0, VIRTIO_BLK_T_SECURE_ERASE, 0, 8, 0));
	if (variant->kind == DUT_VDPA) {
		ASSERT_EQ(0, guest_config(d.g, 60, le, 12));
		EXPECT_EQ(0, le[0] | le[1] | le[2]);
	}
	dut_close(&d);
}

/* The device deallocates what it is told to, and nothing else */
TEST_F(erase, unmap)
{
	struct dut *d = &self->d;

	for (unsigned int s = 0; s < 64; s += 8) {
		ASSERT_EQ(0, put(self, s, 0x55));
	}
	ASSERT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, 0));
	EXPECT_EQ(16, count("zeroed"));
	EXPECT_EQ(0, count("unmapped"));
	ASSERT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 32, 8, UNMAP));
	EXPECT_EQ(16, count("zeroed"));
	EXPECT_EQ(8, count("unmapped"));
	ASSERT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_DISCARD, 48, 8, 0));
	EXPECT_EQ(8, count("discarded"));
	EXPECT_EQ(0, has(self, 48, DISCARDED));
	for (unsigned int s = 0; s < 64; s += 8) {
		if (s != 48)
			EXPECT_EQ(0, has(self, s, s == 8 || s == 16 || s == 32 ? 0 : 0x55));
	}
	EXPECT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	EXPECT_EQ(0, storage_has(8, 0) ?: storage_has(16, 0) ?: storage_has(32, 0));
	EXPECT_EQ(0, storage_has(48, DISCARDED));
	EXPECT_EQ(0, storage_has(24, 0x55) ?: storage_has(40, 0x55));
	/* parts of the page cache's pages are written */
	ASSERT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 57, 2, UNMAP));
	EXPECT_EQ(variant->direct ? 10 : 8, count("unmapped"));
	ASSERT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_IN, 56, self->gpa, 4096));
	for (unsigned int i = 0; i < 4096; i++) {
		ASSERT_EQ(i / 512 == 1 || i / 512 == 2 ? 0 : 0x55, self->p[i]);
	}
}

/* On a device that somebody else has for itself: as if it were mounted */
TEST_F(erase, claimed)
{
	int fd = open(DISK, O_RDWR | O_EXCL | O_CLOEXEC);
	struct dut *d = &self->d;

	ASSERT_LE(0, fd);
	for (unsigned int s = 0; s < 32; s += 8) {
		ASSERT_EQ(0, put(self, s, 0x55));
	}
	EXPECT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_DISCARD, 0, 8, 0));
	EXPECT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0));
	EXPECT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 16, 8, UNMAP));
	/* not while something of it may be written afterwards */
	EXPECT_EQ(variant->direct ? 0 : VIRTIO_BLK_S_IOERR,
		  blk_range(d, 0, VIRTIO_BLK_T_SECURE_ERASE, 24, 8, 0));
	EXPECT_EQ(0, has(self, 8, 0) ?: has(self, 16, 0));
	EXPECT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	EXPECT_EQ(0, storage_has(8, 0) ?: storage_has(16, 0));
	EXPECT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_SECURE_ERASE, 24, 8, 0));
	EXPECT_EQ(0, storage_has(24, ERASED));
	EXPECT_EQ(0, has(self, 24, ERASED));
	close(fd);
}

TEST_HARNESS_MAIN
