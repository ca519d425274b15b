// SPDX-License-Identifier: GPL-2.0
/*
 * Images as other VMMs take them: sectors of 512 bytes whatever the storage is made of, files whose
 * size is no multiple of anything, and requests of old drivers.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "image.h"

#define SECTOR		512
/* Bytes of a file; its last sector, and how many bytes it has of that */
#define ODD		1000100
#define LAST		(ODD / SECTOR)
#define PART		(ODD % SECTOR)

/* A byte of the image, by its position; none of them 0 */
static unsigned char byte_at(uint64_t pos)
{
	return 1 + (pos * 7 + pos / SECTOR * 13) % 255;
}

static void fill(unsigned char *p, uint64_t pos, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = byte_at(pos + i);
}

/* Make the image by way of the page cache, and have nothing left there.  Its open file, or -errno */
static int make(struct image *s, size_t size)
{
	unsigned char *p = malloc(size ?: 1);
	int fd, ret = 0;

	if (!p)
		return -ENOMEM;
	fill(p, 0, size);
	fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || pwrite(fd, p, size, 0) != size || fsync(fd))
		ret = -errno ?: -EIO;
	if (!ret && s->fs && ftruncate(fd, size))
		ret = -errno;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	free(p);
	if (ret)
		return ret;
	fd = open(s->path, O_RDWR | O_CLOEXEC | (s->direct ? O_DIRECT : 0));
	return fd < 0 ? -errno : fd;
}

static int64_t size_of(const struct image *s)
{
	struct stat st;

	return stat(s->path, &st) ? -errno : st.st_size;
}

FIXTURE(image) {
	struct image s;
	struct dut d;
	int disk;
	unsigned char *p;		/* data of queue 0, not zeroed */
	uint64_t gpa;
};

FIXTURE_VARIANT(image) {
	enum dut_kind kind;
	struct image s;
};

FIXTURE_VARIANT_ADD(image, memory) {
	.kind = DUT_BLK,
	.s = { .fs = "", .block = 512 },
};

FIXTURE_VARIANT_ADD(image, cached) {
	.kind = DUT_VDPA,
	.s = { .fs = "ext4", .block = 4096 },
};

FIXTURE_VARIANT_ADD(image, direct_512) {
	.kind = DUT_BLK,
	.s = { .fs = "ext4", .block = 512, .direct = true },
};

FIXTURE_VARIANT_ADD(image, direct_4096) {
	.kind = DUT_BLK,
	.s = { .fs = "ext4", .block = 4096, .direct = true },
};

FIXTURE_VARIANT_ADD(image, direct_4096_vdpa) {
	.kind = DUT_VDPA,
	.s = { .fs = "ext4", .block = 4096, .direct = true },
};

FIXTURE_VARIANT_ADD(image, xfs_direct_512) {
	.kind = DUT_VDPA,
	.s = { .fs = "xfs", .block = 512, .direct = true },
};

FIXTURE_VARIANT_ADD(image, xfs_direct_4096) {
	.kind = DUT_VDPA,
	.s = { .fs = "xfs", .block = 4096, .direct = true },
};

FIXTURE_SETUP(image)
{
	int ret;

	self->s = variant->s;
	self->disk = -1;
	ret = image_open(&self->s);
	if (ret == -ENOENT)
		SKIP(return, "no null_blk or no %s here", self->s.fs);
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(image)
{
	if (self->d.g)
		dut_close(&self->d);
	if (self->disk >= 0)
		close(self->disk);
	image_close(&self->s);
}

/* Make an image and a device on it.  0 or -errno */
static int begin(FIXTURE_DATA(image) *self, enum dut_kind kind, size_t size, unsigned int block_size)
{
	struct dut_opts opts = { .block_size = block_size };
	int ret;

	self->disk = make(&self->s, size);
	if (self->disk < 0)
		return self->disk;
	opts.disk = self->disk;
	ret = dut_open(&self->d, kind, &opts);
	if (ret)
		return ret;
	self->p = self->d.scratch[0].p + SCRATCH_FREE;
	self->gpa = self->d.scratch[0].gpa + SCRATCH_FREE;
	return 0;
}

static int io(FIXTURE_DATA(image) *self, uint32_t type, uint64_t sector, unsigned int sectors)
{
	return blk_request(&self->d, 0, type, sector, self->gpa, sectors * SECTOR);
}

/* Read sectors, whose bytes in front of @end are as made, and all others zero */
static bool reads(FIXTURE_DATA(image) *self, uint64_t sector, unsigned int sectors, uint64_t end)
{
	int ret;

	memset(self->p, 0xaa, sectors * SECTOR + 16);
	ret = io(self, VIRTIO_BLK_T_IN, sector, sectors);
	if (ret) {
		printf("# sector %llu: status %d\n", (unsigned long long)sector, ret);
		return false;
	}
	for (unsigned int i = 0; i < sectors * SECTOR; i++) {
		uint64_t pos = sector * SECTOR + i;

		if (self->p[i] != (pos < end ? byte_at(pos) : 0)) {
			printf("# byte %llu is %#x\n", (unsigned long long)pos, self->p[i]);
			return false;
		}
	}
	return self->p[sectors * SECTOR] == 0xaa;
}

/* What is in the file, read anew */
static bool file_has(FIXTURE_DATA(image) *self, uint64_t pos, const unsigned char *want, size_t len)
{
	unsigned char *got = malloc(len);
	int fd = open(self->s.path, O_RDONLY | O_CLOEXEC);
	bool same = fd >= 0 && got && pread(fd, got, len, pos) == len && !memcmp(got, want, len);

	close(fd);
	free(got);
	return same;
}

static uint64_t capacity(FIXTURE_DATA(image) *self)
{
	uint64_t le = 0;

	if (guest_config(self->d.g, offsetof(struct virtio_blk_config, capacity), &le, sizeof(le)))
		return ~0ULL;
	return le64toh(le);
}

TEST_F(image, sectors_of_512)
{
	struct virtio_blk_config c;

	ASSERT_EQ(0, begin(self, variant->kind, 1 << 20, 0));
	EXPECT_TRUE(reads(self, 1, 1, 1 << 20));
	EXPECT_TRUE(reads(self, 0, 1, 1 << 20));
	EXPECT_TRUE(reads(self, 3, 2, 1 << 20));
	EXPECT_TRUE(reads(self, 7, 2, 1 << 20));
	EXPECT_TRUE(reads(self, 2047, 1, 1 << 20));
	EXPECT_TRUE(reads(self, 9, 77, 1 << 20));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, 2048, 1));
	if (variant->kind != DUT_VDPA)
		return;
	ASSERT_EQ(0, guest_config(self->d.g, 0, &c, 60));
	EXPECT_EQ(2048, le64toh(c.capacity));
	EXPECT_EQ(512, le32toh(c.blk_size));
	/* the driver aligns what it can by itself */
	EXPECT_EQ(3, c.physical_block_exp);
	EXPECT_EQ(8, le16toh(c.min_io_size));
}

TEST_F(image, block_size_by_option)
{
	uint32_t le;

	for (unsigned int b = 512; b <= 4096; b *= 2) {
		ASSERT_EQ(0, begin(self, variant->kind, 1 << 20, b));
		EXPECT_TRUE(reads(self, b / 512, b / 512, 1 << 20));
		EXPECT_EQ(b == 512 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR,
			  io(self, VIRTIO_BLK_T_IN, 1, 1));
		if (variant->kind == DUT_VDPA) {
			ASSERT_EQ(0, guest_config(self->d.g,
						  offsetof(struct virtio_blk_config, blk_size), &le, 4));
			EXPECT_EQ(b, le32toh(le));
		}
		dut_close(&self->d);
		close(self->disk);
		self->disk = -1;
	}
}

/* Capacity is rounded up; what is behind the end is zero, and reading it changes nothing */
TEST_F(image, tail_reads_as_zero)
{
	ASSERT_EQ(0, begin(self, variant->kind, ODD, 0));
	if (variant->kind == DUT_VDPA) {
		EXPECT_EQ(LAST + 1, capacity(self));
	}
	EXPECT_TRUE(reads(self, LAST, 1, ODD));
	EXPECT_TRUE(reads(self, LAST - 1, 2, ODD));
	EXPECT_TRUE(reads(self, LAST - 1, 1, ODD));
	EXPECT_TRUE(reads(self, LAST - 7, 8, ODD));
	EXPECT_TRUE(reads(self, LAST - 100, 101, ODD));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, LAST + 1, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, LAST, 2));
	EXPECT_EQ(ODD, size_of(&self->s));
}

/* It grows to what was written, and not by more */
TEST_F(image, tail_grows_when_written)
{
	unsigned char want[3 * SECTOR];

	ASSERT_EQ(0, begin(self, variant->kind, ODD, 0));
	memset(self->p, 0x5a, SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT, LAST - 1, 1));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH, 0, 0));
	EXPECT_EQ(ODD, size_of(&self->s));
	EXPECT_TRUE(reads(self, LAST, 1, ODD));

	memset(self->p, 0xa5, SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT, LAST, 1));
	EXPECT_EQ((LAST + 1) * SECTOR, size_of(&self->s));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH, 0, 0));
	fill(want, (LAST - 2) * SECTOR, SECTOR);
	memset(want + SECTOR, 0x5a, SECTOR);
	memset(want + 2 * SECTOR, 0xa5, SECTOR);
	EXPECT_TRUE(file_has(self, (LAST - 2) * SECTOR, want, sizeof(want)));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_IN, LAST - 2, 3));
	EXPECT_EQ(0, memcmp(self->p, want, sizeof(want)));
	/* once more, now that it is there */
	memset(self->p, 0x33, 2 * SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT, LAST - 1, 2));
	EXPECT_EQ((LAST + 1) * SECTOR, size_of(&self->s));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH, 0, 0));
	memset(want + SECTOR, 0x33, 2 * SECTOR);
	EXPECT_TRUE(file_has(self, (LAST - 2) * SECTOR, want, sizeof(want)));
}

/* A long request that ends in there, from a buffer that is not aligned to anything */
TEST_F(image, long_write_into_the_tail)
{
	unsigned int sectors = 190, len = sectors * SECTOR;
	unsigned char *want = malloc(len);
	uint64_t first = LAST + 1 - sectors;

	ASSERT_NE(NULL, want);
	ASSERT_EQ(0, begin(self, variant->kind, ODD, 0));
	for (unsigned int odd = 0; odd < 2; odd++) {
		unsigned char *p = self->d.scratch[0].p + SCRATCH_DATA + odd * 12;

		for (unsigned int i = 0; i < len; i++)
			want[i] = i * 11 + i / 256 + odd;
		memcpy(p, want, len);
		EXPECT_EQ(VIRTIO_BLK_S_OK,
			  blk_request(&self->d, 0, VIRTIO_BLK_T_OUT, first,
				      self->d.scratch[0].gpa + SCRATCH_DATA + odd * 12, len));
		EXPECT_EQ((LAST + 1) * SECTOR, size_of(&self->s));
		EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH, 0, 0));
		EXPECT_TRUE(file_has(self, first * SECTOR, want, len));
		memset(p, 0, len);
		EXPECT_EQ(VIRTIO_BLK_S_OK,
			  blk_request(&self->d, 0, VIRTIO_BLK_T_IN, first,
				      self->d.scratch[0].gpa + SCRATCH_DATA + odd * 12, len));
		EXPECT_EQ(0, memcmp(p, want, len));
	}
	free(want);
}

TEST_F(image, tail_of_larger_blocks)
{
	uint64_t last = ODD / 4096 * 8, end = (last + 8) * SECTOR;
	unsigned char want[4096];

	ASSERT_EQ(0, begin(self, variant->kind, ODD, 4096));
	if (variant->kind == DUT_VDPA) {
		EXPECT_EQ(last + 8, capacity(self));
	}
	EXPECT_TRUE(reads(self, last, 8, ODD));
	EXPECT_TRUE(reads(self, last - 8, 16, ODD));
	EXPECT_EQ(ODD, size_of(&self->s));
	memset(self->p, 0x77, 4096);
	memset(want, 0x77, 4096);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT, last, 8));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH, 0, 0));
	EXPECT_EQ(end, size_of(&self->s));
	EXPECT_TRUE(file_has(self, last * SECTOR, want, 4096));
}

/* From nothing at all */
TEST_F(image, smallest_files)
{
	unsigned char want[SECTOR];

	EXPECT_EQ(-EINVAL, begin(self, variant->kind, 0, 0));
	dut_close(&self->d);
	close(self->disk);
	ASSERT_EQ(0, begin(self, variant->kind, 1, 0));
	EXPECT_TRUE(reads(self, 0, 1, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, 1, 1));
	memset(self->p, 0x12, SECTOR);
	memset(want, 0x12, SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT, 0, 1));
	EXPECT_EQ(SECTOR, size_of(&self->s));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH, 0, 0));
	EXPECT_TRUE(file_has(self, 0, want, SECTOR));
}

/* What is missing in front of the end is no tail */
TEST_F(image, cut_file_is_an_error)
{
	ASSERT_EQ(0, begin(self, variant->kind, ODD, 0));
	ASSERT_EQ(0, truncate(self->s.path, ODD - 8192));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, LAST - 1, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, LAST - 20, 21));
	EXPECT_TRUE(reads(self, LAST - 40, 8, ODD));
	/* its new end is what the disk is told of */
	ASSERT_EQ(0, xioctl(self->d.g->fd, VHL_BLK_RESIZE, NULL));
	EXPECT_TRUE(reads(self, LAST - 16, 1, ODD - 8192));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, LAST - 15, 1));
}

TEST_F(image, resize_to_odd_sizes)
{
	static const unsigned int sizes[] = {
		8192, 8193, 8704, 9000, 12288 + 511, 12288 + 512, 12288 + 513, 16384 - 1, 16384,
	};

	ASSERT_EQ(0, begin(self, variant->kind, 4096, 0));
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t sectors = (sizes[i] + SECTOR - 1) / SECTOR;

		ASSERT_EQ(0, truncate(self->s.path, sizes[i]));
		ASSERT_EQ(0, xioctl(self->d.g->fd, VHL_BLK_RESIZE, NULL));
		if (variant->kind == DUT_VDPA) {
			EXPECT_EQ(sectors, capacity(self));
		}
		EXPECT_TRUE(reads(self, sectors - 1, 1, 4096)) TH_LOG("%u bytes", sizes[i]);
		EXPECT_TRUE(reads(self, 0, sectors, 4096)) TH_LOG("%u bytes", sizes[i]);
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_IN, sectors, 1));
		EXPECT_EQ(sizes[i], size_of(&self->s));
	}
	fill(self->p, 16384 - SECTOR, SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT, 31, 1));
	EXPECT_TRUE(reads(self, 31, 1, 16384));
	EXPECT_EQ(16384, size_of(&self->s));
}

TEST_F(image, read_only)
{
	struct dut_opts opts = { 0 };
	int disk = make(&self->s, ODD);

	ASSERT_LE(0, disk);
	close(disk);
	self->disk = open(self->s.path, O_RDONLY | O_CLOEXEC | (self->s.direct ? O_DIRECT : 0));
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->p = self->d.scratch[0].p + SCRATCH_FREE;
	self->gpa = self->d.scratch[0].gpa + SCRATCH_FREE;
	EXPECT_TRUE(reads(self, LAST, 1, ODD));
	EXPECT_TRUE(reads(self, LAST - 9, 10, ODD));
	EXPECT_TRUE(reads(self, 3, 2, ODD));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_OUT, LAST, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_OUT, 1, 1));
	EXPECT_EQ(ODD, size_of(&self->s));
}

/* Drivers of virtio 0.9: a flush has the bit of a write, and any request may be a barrier */
TEST_F(image, types_of_old_drivers)
{
	const uint32_t barrier = VIRTIO_BLK_T_BARRIER;
	char id[2][20];

	ASSERT_EQ(0, begin(self, variant->kind, 1 << 20, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_OUT, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_OUT | barrier, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_FLUSH | barrier, 0, 0));
	memset(self->p, 0x42, SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_OUT | barrier, 8, 1));
	memset(self->p, 0, SECTOR);
	EXPECT_EQ(VIRTIO_BLK_S_OK, io(self, VIRTIO_BLK_T_IN | barrier, 8, 1));
	EXPECT_EQ(0x42, self->p[0]);
	EXPECT_EQ(0x42, self->p[511]);
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&self->d, 0,
						       VIRTIO_BLK_T_GET_ID | (i ? barrier : 0), 0,
						       self->gpa, 20));
		memcpy(id[i], self->p, 20);
	}
	EXPECT_EQ(0, memcmp(id[0], id[1], 20));
	/* and nothing else becomes one of them */
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(self, VIRTIO_BLK_T_OUT | barrier, 2048, 1));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, io(self, VIRTIO_BLK_T_SCSI_CMD, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, io(self, VIRTIO_BLK_T_SCSI_CMD | barrier, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, io(self, VIRTIO_BLK_T_SCSI_CMD | VIRTIO_BLK_T_OUT, 0, 0));
}

TEST_HARNESS_MAIN
