// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that name ranges: DISCARD and WRITE_ZEROES, on all that a disk can be on. What is offered,
 * what is refused, what is read afterwards, and what the file takes up.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "image.h"

#define SECTOR		512
#define BYTES		(4UL << 20)
#define SECTORS		(BYTES / SECTOR)
#define UNMAP		VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

/* As documented */
#define DISCARD_SEGS	32
#define DISCARD_MAX	(1U << 21)
#define ZEROES_MAX	(1U << 18)

struct seg {
	uint64_t sector;
	uint32_t num;
	uint32_t flags;
};

/* A byte of the disk as it was made, by its position; none of them 0 */
static unsigned char byte_at(uint64_t pos)
{
	return 1 + (pos * 7 + pos / SECTOR * 13) % 255;
}

FIXTURE(range) {
	struct image s;
	struct dut d;
	int disk;
	unsigned char *p;
	uint64_t gpa;
};

/* @sparse: the disk is a file, of which can be seen what it takes up; @grain: of that */
FIXTURE_VARIANT(range) {
	enum dut_kind kind;
	struct image s;
	bool sparse;
};

FIXTURE_VARIANT_ADD(range, memory) {
	.kind = DUT_VDPA,
	.s = { .fs = "", .block = 512 },
	.sparse = true,
};

FIXTURE_VARIANT_ADD(range, memory_blk) {
	.kind = DUT_BLK,
	.s = { .fs = "", .block = 512 },
	.sparse = true,
};

FIXTURE_VARIANT_ADD(range, ext4_cached) {
	.kind = DUT_VDPA,
	.s = { .fs = "ext4", .block = 512 },
	.sparse = true,
};

FIXTURE_VARIANT_ADD(range, ext4_direct) {
	.kind = DUT_BLK,
	.s = { .fs = "ext4", .block = 512, .direct = true },
	.sparse = true,
};

FIXTURE_VARIANT_ADD(range, ext4_direct_4096) {
	.kind = DUT_VDPA,
	.s = { .fs = "ext4", .block = 4096, .direct = true },
	.sparse = true,
};

FIXTURE_VARIANT_ADD(range, xfs_direct) {
	.kind = DUT_VDPA,
	.s = { .fs = "xfs", .block = 512, .direct = true },
	.sparse = true,
};

FIXTURE_VARIANT_ADD(range, device_cached) {
	.kind = DUT_VDPA,
	.s = { .block = 512 },
};

FIXTURE_VARIANT_ADD(range, device_cached_4096) {
	.kind = DUT_BLK,
	.s = { .block = 4096 },
};

FIXTURE_VARIANT_ADD(range, device_direct) {
	.kind = DUT_BLK,
	.s = { .block = 512, .direct = true },
};

FIXTURE_VARIANT_ADD(range, device_direct_4096) {
	.kind = DUT_VDPA,
	.s = { .block = 4096, .direct = true },
};

FIXTURE_SETUP(range)
{
	int ret;

	self->s = variant->s;
	self->disk = -1;
	ret = image_open(&self->s);
	if (ret == -ENOENT)
		SKIP(return, "no null_blk or no %s here", self->s.fs);
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(range)
{
	if (self->d.g)
		dut_close(&self->d);
	if (self->disk >= 0)
		close(self->disk);
	image_close(&self->s);
}

/* All of the disk as it was, all of it in the storage */
static int fill(FIXTURE_DATA(range) *self, size_t bytes)
{
	unsigned char *p = malloc(bytes);
	int fd = open(self->s.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), ret = 0;

	for (size_t i = 0; p && i < bytes; i++)
		p[i] = byte_at(i);
	if (fd < 0 || !p || pwrite(fd, p, bytes, 0) != bytes || fsync(fd))
		ret = -errno;
	if (!ret && self->s.fs && ftruncate(fd, bytes))
		ret = -errno;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	free(p);
	return ret;
}

/* Make the disk and a device on it.  0 or -errno */
static int begin(FIXTURE_DATA(range) *self, enum dut_kind kind, size_t bytes, struct dut_opts opts)
{
	int ret = fill(self, bytes);

	if (ret)
		return ret;
	self->disk = open(self->s.path, O_RDWR | O_CLOEXEC | (self->s.direct ? O_DIRECT : 0));
	if (self->disk < 0)
		return -errno;
	opts.disk = self->disk;
	opts.early = true;
	ret = dut_open(&self->d, kind, &opts);
	if (ret)
		return ret;
	self->p = self->d.scratch[0].p + SCRATCH_FREE;
	self->gpa = self->d.scratch[0].gpa + SCRATCH_FREE;
	return 0;
}

static int usual(FIXTURE_DATA(range) *self, enum dut_kind kind)
{
	return begin(self, kind, BYTES, (struct dut_opts){ 0 });
}

static uint64_t features(FIXTURE_DATA(range) *self)
{
	return self->d.g->features;
}

/* A request with these segments, or with @len bytes of them; as blk_request() */
static int range_len(struct dut *d, uint32_t type, const struct seg *seg, unsigned int n, uint32_t len)
{
	struct virtio_blk_discard_write_zeroes le[128];

	for (unsigned int i = 0; i < n; i++) {
		le[i].sector = htole64(seg[i].sector);
		le[i].num_sectors = htole32(seg[i].num);
		le[i].flags = htole32(seg[i].flags);
	}
	memcpy(d->scratch[0].p + SCRATCH_DATA, le, n * sizeof(le[0]));
	return blk_request(d, 0, type, 0, d->scratch[0].gpa + SCRATCH_DATA, len);
}

static int ranges(struct dut *d, uint32_t type, const struct seg *seg, unsigned int n)
{
	return range_len(d, type, seg, n, n * 16);
}

static int range(struct dut *d, uint32_t type, uint64_t sector, uint32_t num, uint32_t flags)
{
	return blk_range(d, 0, type, sector, num, flags);
}

static int flush(struct dut *d)
{
	return blk_request(d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
}

/* Bytes that are not as @zero says: first and number of sectors that are zero, all others as made */
static const char *compare(const unsigned char *p, uint64_t first, unsigned int sectors,
			   const struct seg *zero, unsigned int n)
{
	static char text[80];

	for (unsigned int i = 0; i < sectors; i++) {
		uint64_t s = first + i;
		bool is_zero = false;

		for (unsigned int k = 0; k < n; k++)
			is_zero |= s >= zero[k].sector && s < zero[k].sector + zero[k].num;
		for (unsigned int b = 0; b < SECTOR; b++) {
			unsigned char want = is_zero ? 0 : byte_at(s * SECTOR + b);

			if (p[i * SECTOR + b] == want)
				continue;
			snprintf(text, sizeof(text), "sector %llu, byte %u: %#x, not %#x",
				 (unsigned long long)s, b, p[i * SECTOR + b], want);
			return text;
		}
	}
	return "same";
}

/* What the guest reads */
static const char *guest_reads(FIXTURE_DATA(range) *self, uint64_t first, unsigned int sectors,
			       const struct seg *zero, unsigned int n)
{
	const char *text = "same";
	uint64_t end = first + sectors;

	for (uint64_t s = first; s < end && !strcmp(text, "same"); s += 8) {
		unsigned int k = end - s < 8 ? end - s : 8;

		memset(self->p, 0xaa, 4096);
		if (blk_request(&self->d, 0, VIRTIO_BLK_T_IN, s, self->gpa, k * SECTOR))
			return "not read";
		text = compare(self->p, s, k, zero, n);
	}
	return text;
}

/* What is in the storage: read anew, past what is cached of it */
static const char *storage_has(FIXTURE_DATA(range) *self, uint64_t first, unsigned int sectors,
			       const struct seg *zero, unsigned int n)
{
	unsigned char *p = NULL;
	const char *text = "not read";
	uint64_t from = first & ~7ULL;
	size_t len = (first + sectors + 7 - from) / 8 * 4096;
	int fd = open(self->s.path, O_RDONLY | O_CLOEXEC | O_DIRECT);

	if (fd < 0)
		fd = open(self->s.path, O_RDONLY | O_CLOEXEC);
	if (!posix_memalign((void **)&p, 4096, len) &&
	    pread(fd, p, len, from * SECTOR) >= (ssize_t)((first + sectors - from) * SECTOR))
		text = compare(p + (first - from) * SECTOR, first, sectors, zero, n);
	close(fd);
	free(p);
	return text;
}

/* KiB that the file takes up */
static long takes(FIXTURE_DATA(range) *self)
{
	struct stat st;

	/* what is not allocated before it is written */
	fsync(self->disk);
	return fstat(self->disk, &st) ? -errno : st.st_blocks / 2;
}

/* ---- what is offered ---- */

TEST_F(range, offered)
{
	struct virtio_blk_config c;

	ASSERT_EQ(0, usual(self, variant->kind));
	EXPECT_NE(0, features(self) & BIT(VIRTIO_BLK_F_DISCARD));
	EXPECT_NE(0, features(self) & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	if (variant->kind != DUT_VDPA)
		return;
	ASSERT_EQ(0, guest_config(self->d.g, 0, &c, 60));
	EXPECT_EQ(DISCARD_MAX, le32toh(c.max_discard_sectors));
	EXPECT_EQ(DISCARD_SEGS, le32toh(c.max_discard_seg));
	EXPECT_EQ(variant->sparse || variant->s.block == 4096 ? 8 : 1,
		  le32toh(c.discard_sector_alignment));
	EXPECT_EQ(ZEROES_MAX, le32toh(c.max_write_zeroes_sectors));
	EXPECT_EQ(1, le32toh(c.max_write_zeroes_seg));
	/* null_blk has no such command */
	EXPECT_EQ(variant->sparse, c.write_zeroes_may_unmap);
	EXPECT_EQ(0, c.unused1[0] | c.unused1[1] | c.unused1[2]);
}

/* To a driver that did not take them they are not known */
TEST_F(range, not_taken)
{
	struct dut_opts opts = {
		.refuse = BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	};
	struct dut *d = &self->d;

	ASSERT_EQ(0, begin(self, variant->kind, BYTES, opts));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(d, VIRTIO_BLK_T_DISCARD, 0, 64, 0));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 0));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, UNMAP));
	EXPECT_STREQ("same", guest_reads(self, 0, 128, NULL, 0));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

/* A disk whose storage is to stay allocated */
TEST_F(range, kept)
{
	struct dut *d = &self->d;
	struct seg zero = { 8, 1024 };
	struct virtio_blk_config c;
	long full;

	ASSERT_EQ(0, begin(self, variant->kind, BYTES, (struct dut_opts){ .flags = VHL_BLK_OPT_KEEP }));
	EXPECT_EQ(0, features(self) & BIT(VIRTIO_BLK_F_DISCARD));
	EXPECT_NE(0, features(self) & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	if (variant->kind == DUT_VDPA) {
		ASSERT_EQ(0, guest_config(d->g, 0, &c, 60));
		EXPECT_EQ(0, c.write_zeroes_may_unmap);
		EXPECT_EQ(0, c.max_discard_sectors);
	}
	full = takes(self);
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(d, VIRTIO_BLK_T_DISCARD, 0, 64, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 8, 1024, UNMAP));
	EXPECT_STREQ("same", guest_reads(self, 0, 1100, &zero, 1));
	EXPECT_LE(full, takes(self));
}

TEST_F(range, read_only)
{
	struct dut_opts opts = { .early = true };

	ASSERT_EQ(0, fill(self, BYTES));
	opts.disk = open(self->s.path, O_RDONLY | O_CLOEXEC);
	ASSERT_LT(0, opts.disk);
	self->disk = opts.disk;
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->p = self->d.scratch[0].p + SCRATCH_FREE;
	self->gpa = self->d.scratch[0].gpa + SCRATCH_FREE;
	EXPECT_EQ(0, features(self) & (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(&self->d, VIRTIO_BLK_T_DISCARD, 0, 64, 0));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, range(&self->d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 0));
	EXPECT_STREQ("same", guest_reads(self, 0, 128, NULL, 0));
}

/* ---- what it does ---- */

/* Sectors are zero for the guest and in the storage, and no others; whatever was cached of them */
TEST_F(range, zeroes)
{
	static const struct seg t[] = {
		{ 64, 64 }, { 256, 8 }, { 300, 1 }, { 309, 2 }, { 317, 5 }, { 335, 18 }, { 400, 0 },
		{ 1023, 1500 }, { 4097, 7 }, { SECTORS - 3, 3 },
	};
	unsigned int n = sizeof(t) / sizeof(t[0]);
	struct dut *d = &self->d;

	for (uint32_t flags = 0; flags <= UNMAP; flags += UNMAP) {
		ASSERT_EQ(0, usual(self, variant->kind));
		/* cached, and not only by us */
		EXPECT_STREQ("same", guest_reads(self, 250, 120, NULL, 0));
		for (unsigned int i = 0; i < n; i++) {
			EXPECT_EQ(VIRTIO_BLK_S_OK, range(d, VIRTIO_BLK_T_WRITE_ZEROES, t[i].sector,
							 t[i].num, flags))
				TH_LOG("%u sectors at %llu", t[i].num,
				       (unsigned long long)t[i].sector);
			EXPECT_STREQ("same", guest_reads(self, t[i].sector / 8 * 8, 8, t, i + 1));
		}
		EXPECT_EQ(VIRTIO_BLK_S_OK, flush(d));
		EXPECT_STREQ("same", storage_has(self, 0, SECTORS, t, n));
		EXPECT_STREQ("same", guest_reads(self, 0, 2600, t, n));
		EXPECT_STREQ("same", guest_reads(self, SECTORS - 64, 64, t, n));
		EXPECT_EQ(0, dut_counter(d, 0, "errors"));
		dut_close(d);
		close(self->disk);
		self->disk = -1;
	}
}

/* What was written before and is still cached as dirty does not come back, what is written later stays */
TEST_F(range, zeroes_between_writes)
{
	static const struct seg zero = { 800, 96 };
	struct dut *d = &self->d;
	struct seg left[] = { { 800, 8 }, { 816, 80 } };

	ASSERT_EQ(0, usual(self, variant->kind));
	for (uint32_t flags = 0; flags <= UNMAP; flags += UNMAP) {
		memset(self->p, 0x77, 4096);
		for (unsigned int s = 800; s < 896; s += 8) {
			ASSERT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_OUT, s, self->gpa, 4096));
		}
		ASSERT_EQ(0, range(d, VIRTIO_BLK_T_WRITE_ZEROES, zero.sector, zero.num, flags));
		EXPECT_STREQ("same", guest_reads(self, 792, 112, &zero, 1));
		for (unsigned int i = 0; i < 4096; i++)
			self->p[i] = byte_at(808 * SECTOR + i);
		ASSERT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_OUT, 808, self->gpa, 4096));
		EXPECT_STREQ("same", guest_reads(self, 792, 112, left, 2));
		ASSERT_EQ(0, flush(d));
		EXPECT_STREQ("same", guest_reads(self, 792, 112, left, 2));
		EXPECT_STREQ("same", storage_has(self, 792, 112, left, 2));
	}
}

/* What the file takes up: less after a discard and with unmap, the same without */
TEST_F(range, takes_up)
{
	struct dut *d = &self->d;
	long full;

	if (!variant->sparse)
		SKIP(return, "no file");
	ASSERT_EQ(0, usual(self, variant->kind));
	full = takes(self);
	EXPECT_LE((long)(BYTES / 1024), full);
	EXPECT_EQ(0, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 2048, 0));
	EXPECT_EQ(0, flush(d));
	EXPECT_LE(full, takes(self));
	full = takes(self);
	EXPECT_EQ(0, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 2048, UNMAP));
	EXPECT_GE(full - 1000, takes(self));
	full = takes(self);
	EXPECT_EQ(0, range(d, VIRTIO_BLK_T_DISCARD, 4096, 2048, 0));
	EXPECT_GE(full - 1000, takes(self));
	/* parts of blocks are left as they are */
	full = takes(self);
	EXPECT_EQ(0, range(d, VIRTIO_BLK_T_DISCARD, 2049, 7, 0));
	EXPECT_EQ(0, range(d, VIRTIO_BLK_T_DISCARD, 2070, 3, 0));
	EXPECT_LE(full, takes(self));
	EXPECT_STREQ("same", guest_reads(self, 2048, 128, NULL, 0));
	/* and the disk is as large as ever */
	EXPECT_EQ(BYTES, lseek(self->disk, 0, SEEK_END));
	EXPECT_EQ(0, dut_units(d, 1, 3));
}

/* As many segments as are allowed, each of them done */
TEST_F(range, discards)
{
	struct seg seg[DISCARD_SEGS], all = { 0, 1600 };
	struct dut *d = &self->d;
	long full;

	ASSERT_EQ(0, usual(self, variant->kind));
	full = takes(self);
	for (unsigned int i = 0; i < DISCARD_SEGS; i++)
		seg[i] = (struct seg){ i * 48, i % 3 ? 40 : 41, 0 };
	EXPECT_EQ(VIRTIO_BLK_S_OK, ranges(d, VIRTIO_BLK_T_DISCARD, seg, DISCARD_SEGS));
	if (variant->sparse) {
		EXPECT_GE(full - DISCARD_SEGS * 20 + 64, takes(self));
		/* nothing is promised of what is read there, but of a file it is this */
		for (unsigned int i = 0; i < DISCARD_SEGS; i++)
			seg[i].num = 40;
		EXPECT_STREQ("same", guest_reads(self, 0, 1600, seg, DISCARD_SEGS));
	}
	/* what was beside them is there */
	EXPECT_STREQ("same", guest_reads(self, 1600, 800, NULL, 0));
	EXPECT_STREQ("same", guest_reads(self, 42, 6, NULL, 0));
	/* they can be written, and are zeroed for certain */
	EXPECT_EQ(0, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1600, 0));
	EXPECT_STREQ("same", guest_reads(self, 0, 1700, &all, 1));
	EXPECT_EQ(0, dut_units(d, 0, 3));
	EXPECT_EQ(0, dut_counter(d, 0, "errors"));
}

/* The last, partial block of a file is there to be zeroed, which is like a write */
TEST_F(range, zeroes_in_the_tail)
{
	uint64_t odd = 1000100, last = odd / SECTOR;
	struct seg zero = { last - 9, 10 };

	if (!variant->sparse)
		SKIP(return, "no file");
	for (uint32_t flags = 0; flags <= UNMAP; flags += UNMAP) {
		ASSERT_EQ(0, begin(self, variant->kind, odd, (struct dut_opts){ 0 }));
		EXPECT_EQ(0, range(&self->d, VIRTIO_BLK_T_WRITE_ZEROES, zero.sector, zero.num, flags));
		EXPECT_STREQ("same", guest_reads(self, last - 20, 21, &zero, 1));
		EXPECT_EQ(0, range(&self->d, VIRTIO_BLK_T_DISCARD, last, 1, 0));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(&self->d, VIRTIO_BLK_T_WRITE_ZEROES, last, 2, flags));
		EXPECT_EQ(0, flush(&self->d));
		EXPECT_EQ((last + 1) * SECTOR, lseek(self->disk, 0, SEEK_END));
		EXPECT_STREQ("same", guest_reads(self, last - 20, 21, &zero, 1));
		dut_close(&self->d);
		close(self->disk);
		self->disk = -1;
	}
}

/* ---- what is refused ---- */

TEST_F(range, bad_requests)
{
	static const struct {
		const char *what;
		struct seg seg;
		int discard, zeroes;
	} t[] = {
		{ "nothing", { 0, 0 }, 0, 0 },
		{ "nothing at the end", { SECTORS, 0 }, 0, 0 },
		{ "nothing behind the end", { SECTORS + 1, 0 }, 1, 1 },
		{ "behind the end", { SECTORS, 8 }, 1, 1 },
		{ "over the end", { SECTORS - 8, 9 }, 1, 1 },
		{ "sector that wraps in bytes", { 1ULL << 55, 8 }, 1, 1 },
		{ "negative in bytes", { 1ULL << 54, 8 }, 1, 1 },
		{ "wraps", { ~0ULL - 3, 8 }, 1, 1 },
		{ "all", { 0, ~0U }, 1, 1 },
		{ "as many as wrap in bytes", { 8, 1U << 23 }, 1, 1 },
		{ "unmap", { 0, 0, UNMAP }, 2, 0 },
		{ "unknown flag", { 0, 0, 2 }, 2, 2 },
		{ "unmap and an unknown flag", { 0, 8, 3 }, 2, 2 },
		{ "last flag", { 0, 8, 1U << 31 }, 2, 2 },
		{ "flag, and behind the end", { SECTORS, 8, 4 }, 2, 2 },
	};
	struct dut *d = &self->d;
	int64_t errors = 0;

	if (!variant->s.fs)
		SKIP(return, "another size");
	ASSERT_EQ(0, usual(self, variant->kind));
	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		EXPECT_EQ(t[i].discard, ranges(d, VIRTIO_BLK_T_DISCARD, &t[i].seg, 1))
			TH_LOG("discard: %s", t[i].what);
		EXPECT_EQ(t[i].zeroes, ranges(d, VIRTIO_BLK_T_WRITE_ZEROES, &t[i].seg, 1))
			TH_LOG("zeroes: %s", t[i].what);
		errors += !!t[i].discard + !!t[i].zeroes;
	}
	EXPECT_EQ(errors, dut_counter(d, 0, "errors"));
	EXPECT_STREQ("same", guest_reads(self, 0, 256, NULL, 0));
	EXPECT_STREQ("same", guest_reads(self, SECTORS - 64, 64, NULL, 0));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	/* no data */
	EXPECT_EQ(0, dut_counter(d, 0, "out"));
}

TEST_F(range, bad_lengths)
{
	struct seg seg[DISCARD_SEGS + 1];
	struct dut *d = &self->d;

	for (unsigned int i = 0; i <= DISCARD_SEGS; i++)
		seg[i] = (struct seg){ i * 8, 8 };
	ASSERT_EQ(0, usual(self, variant->kind));
	for (uint32_t len = 0; len <= DISCARD_SEGS * 16 + 16; len++) {
		bool whole = len && !(len % 16);

		if (!whole || len > DISCARD_SEGS * 16) {
			EXPECT_EQ(1, range_len(d, VIRTIO_BLK_T_DISCARD, seg, DISCARD_SEGS + 1, len))
				TH_LOG("discard, %u bytes", len);
		}
		if (len != 16) {
			EXPECT_EQ(1, range_len(d, VIRTIO_BLK_T_WRITE_ZEROES, seg, DISCARD_SEGS + 1,
					       len))
				TH_LOG("zeroes, %u bytes", len);
		}
	}
	EXPECT_STREQ("same", guest_reads(self, 0, 256, NULL, 0));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

/* All segments are looked at before any of them is done */
TEST_F(range, one_bad_segment)
{
	struct seg seg[4] = { { 0, 64 }, { 64, 64 }, { SECTORS * 16, 1 }, { 128, 64 } };
	struct dut *d = &self->d;

	ASSERT_EQ(0, usual(self, variant->kind));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, ranges(d, VIRTIO_BLK_T_DISCARD, seg, 4));
	EXPECT_STREQ("same", guest_reads(self, 0, 256, NULL, 0));
	/* a flag is worse */
	seg[3].flags = UNMAP;
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, ranges(d, VIRTIO_BLK_T_DISCARD, seg, 4));
	EXPECT_STREQ("same", guest_reads(self, 0, 256, NULL, 0));
}

/* Larger than the limits, on a disk that has so much */
TEST_F(range, over_the_limits)
{
	struct dut *d = &self->d;

	if (!variant->sparse || !self->s.fs[0])
		SKIP(return, "no sparse file");
	ASSERT_EQ(0, fill(self, BYTES));
	self->disk = open(self->s.path, O_RDWR | O_CLOEXEC | (self->s.direct ? O_DIRECT : 0));
	ASSERT_EQ(0, ftruncate(self->disk, 4ULL << 30));
	ASSERT_EQ(0, dut_open(d, variant->kind, &(struct dut_opts){ .disk = self->disk, .early = true }));
	self->p = d->scratch[0].p + SCRATCH_FREE;
	self->gpa = d->scratch[0].gpa + SCRATCH_FREE;
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(d, VIRTIO_BLK_T_DISCARD, 0, DISCARD_MAX + 1, 0));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, ZEROES_MAX + 1, UNMAP));
	EXPECT_STREQ("same", guest_reads(self, 0, 256, NULL, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, range(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, ZEROES_MAX, UNMAP));
	EXPECT_GE(1024, takes(self));
	EXPECT_EQ(VIRTIO_BLK_S_OK, range(d, VIRTIO_BLK_T_DISCARD, 0, DISCARD_MAX, 0));
	EXPECT_EQ(4ULL << 30, lseek(self->disk, 0, SEEK_END));
}

/* Blocks of the disk are what a range is made of */
TEST_F(range, parts_of_blocks)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, begin(self, variant->kind, BYTES, (struct dut_opts){ .block_size = 4096 }));
	for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(d, type, 1, 8, 0));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(d, type, 8, 7, 0));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, range(d, type, 8, 1, 0));
		EXPECT_EQ(VIRTIO_BLK_S_OK, range(d, type, 512, 8, 0));
	}
	EXPECT_STREQ("same", guest_reads(self, 0, 512, NULL, 0));
}

/* Segments that are not there, and in pieces */
TEST_F(range, segments_in_memory)
{
	uint64_t gpa = 1ULL << 40;
	unsigned char *p = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct virtio_blk_discard_write_zeroes le = { htole64(64), htole32(8), 0 };
	struct seg zero = { 64, 8 };
	struct dut *d = &self->d;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, usual(self, variant->kind));
	ASSERT_EQ(0, guest_add_region(d->g, gpa, p, 2 * 4096));
	d->g->region[4].lo = 2 * 4096;
	ASSERT_EQ(0, guest_commit(d->g));
	memcpy(p + 4096 - 8, &le, 16);
	EXPECT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 12345, gpa + 4096 - 8, 16));
	EXPECT_STREQ("same", guest_reads(self, 0, 128, &zero, 1));
	munmap(p + 4096, 4096);
	for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(d, 0, type, 0, gpa + 4096, 16));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(d, 0, type, 0, gpa + 4096 - 8, 16));
	}
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_units(d, 1, 2));
	munmap(p, 4096);
}

TEST_HARNESS_MAIN
