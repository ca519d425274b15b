// SPDX-License-Identifier: GPL-2.0
/* What only a disk can be sent: requests in odd pieces, without a status byte, or beside the disk */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define W	VRING_DESC_F_WRITE
#define N	VRING_DESC_F_NEXT

#define SECTORS	((4 << 20) / 512)

FIXTURE(blk) {
	struct dut d;
	unsigned char *p;		/* buffers of queue 0 */
	uint64_t gpa;
};

FIXTURE_VARIANT(blk) {
	enum dut_kind kind;
};

DUT_EACH_DISK(blk)

FIXTURE_SETUP(blk)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
	self->p = self->d.scratch[0].p;
	self->gpa = self->d.scratch[0].gpa;
}

FIXTURE_TEARDOWN(blk)
{
	dut_close(&self->d);
}

static void put_header(struct dut *d, unsigned int at, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr hdr = {
		.type = htole32(type),
		.sector = htole64(sector),
	};

	memcpy(d->scratch[0].p + at, &hdr, sizeof(hdr));
}

/* Any segments on queue 0; what is at @status afterwards, or -errno */
static int submit(struct dut *d, const struct guest_seg *seg, unsigned int nout, unsigned int nin,
		  uint64_t status, uint32_t *used)
{
	unsigned char *s = guest_ptr(d->g, status, 1);
	void *token;
	int ret;

	*s = 0xaa;
	ret = gq_add(d->q[0], seg, nout, nin, d);
	if (ret)
		return ret;
	gq_publish(d->q[0]);
	ret = gq_kick(d->q[0]);
	if (!ret)
		ret = gq_wait(d->q[0], 10000);
	if (!ret)
		ret = gq_get(d->q[0], &token, used);
	return ret ? ret : *s;
}

/* Breaks, mends, works */
static const char *breaks(struct dut *d, const struct guest_seg *seg, unsigned int nout,
			  unsigned int nin)
{
	int64_t before = dut_counter(d, 0, "breaks");

	if (gq_add(d->q[0], seg, nout, nin, d))
		return "no free descriptors";
	gq_publish(d->q[0]);
	gq_kick(d->q[0]);
	if (!wait_queue_is(d->g->fd, 0, "broken", 5000))
		return "not broken";
	if (!gq_error(d->q[0]) || dut_counter(d, 0, "breaks") != before + 1)
		return "not told";
	if (gq_pending(d->q[0]))
		return "used";
	if (dut_units(d, 1, 1))
		return "the other queue does not go on";
	if (dut_restart(d) || dut_units(d, 0, 1))
		return "not mended";
	return "broke";
}

TEST_F(blk, header_too_short)
{
	for (uint32_t len = 0; len < sizeof(struct virtio_blk_outhdr); len++) {
		struct guest_seg seg[] = { { self->gpa, len }, { self->gpa + 64, 1 } };

		put_header(&self->d, 0, VIRTIO_BLK_T_FLUSH, 0);
		EXPECT_STREQ("broke", breaks(&self->d, seg, 1, 1))
			TH_LOG("%u bytes", len);
	}
}

/* DPDK CVE-2022-2132: a header in many descriptors, some of which have nothing (CVE-2023-5158) */
TEST_F(blk, header_in_pieces)
{
	struct dut *d = &self->d;

	for (unsigned int n = 1; n <= 16; n++) {
		for (unsigned int empty = 0; empty < 2; empty++) {
			struct guest_seg seg[40];
			unsigned int k = 0, at = 0;
			uint32_t used;

			put_header(d, 0, VIRTIO_BLK_T_OUT, n);
			memset(self->p + SCRATCH_DATA, n * 2 + empty, 512);
			for (unsigned int i = 0; i < n; i++) {
				unsigned int len = i + 1 < n ? 1 : 16 - at;

				if (empty)
					seg[k++] = (struct guest_seg){ self->gpa, 0 };
				seg[k++] = (struct guest_seg){ self->gpa + at, len };
				at += len;
			}
			seg[k++] = (struct guest_seg){ self->gpa + SCRATCH_DATA, 512 };
			if (empty)
				seg[k++] = (struct guest_seg){ self->gpa, 0 };
			seg[k] = (struct guest_seg){ self->gpa + SCRATCH_STATUS, 1 };
			EXPECT_EQ(VIRTIO_BLK_S_OK,
				  submit(d, seg, k, 1, self->gpa + SCRATCH_STATUS, &used))
				TH_LOG("%u pieces", n);
			EXPECT_EQ(VIRTIO_BLK_S_OK,
				  blk_request(d, 0, VIRTIO_BLK_T_IN, n, self->gpa + SCRATCH_DATA2, 512));
			EXPECT_EQ(n * 2 + empty, self->p[SCRATCH_DATA2]);
			EXPECT_EQ(n * 2 + empty, self->p[SCRATCH_DATA2 + 511]);
		}
	}
}

/* The header and the data in one descriptor, and the data and the status byte */
TEST_F(blk, header_and_status_shared)
{
	struct guest_seg out[] = { { self->gpa, 16 + 512 }, { self->gpa + 2048, 1 } };
	struct guest_seg in[] = { { self->gpa, 16 }, { self->gpa + SCRATCH_DATA, 512 + 1 } };
	struct guest_seg odd[] = {
		{ self->gpa, 16 }, { self->gpa + SCRATCH_DATA, 100 }, { self->gpa, 0 },
		{ self->gpa + SCRATCH_DATA + 100, 411 }, { self->gpa + SCRATCH_DATA + 511, 2 },
		{ self->gpa, 0 },
	};
	uint32_t used;

	put_header(&self->d, 0, VIRTIO_BLK_T_OUT, 3);
	memset(self->p + 16, 0x37, 512);
	EXPECT_EQ(VIRTIO_BLK_S_OK, submit(&self->d, out, 1, 1, self->gpa + 2048, &used));
	for (unsigned int i = 0; i < 2; i++) {
		put_header(&self->d, 0, VIRTIO_BLK_T_IN, 3);
		memset(self->p + SCRATCH_DATA, 0xaa, 1024);
		EXPECT_EQ(VIRTIO_BLK_S_OK,
			  submit(&self->d, i ? odd : in, 1, i ? 5 : 1,
				 self->gpa + SCRATCH_DATA + 512, &used));
		EXPECT_EQ(513, used);
		EXPECT_EQ(0x37, self->p[SCRATCH_DATA]);
		EXPECT_EQ(0x37, self->p[SCRATCH_DATA + 511]);
		EXPECT_EQ(0xaa, self->p[SCRATCH_DATA + 513]);
	}
}

TEST_F(blk, no_status_byte)
{
	struct guest_seg seg[] = {
		{ self->gpa, 16 }, { self->gpa + SCRATCH_DATA, 512 }, { self->gpa + SCRATCH_STATUS, 1 },
	};
	struct guest_seg empty[] = { { self->gpa, 16 }, { self->gpa + SCRATCH_STATUS, 0 } };

	put_header(&self->d, 0, VIRTIO_BLK_T_OUT, 0);
	EXPECT_STREQ("broke", breaks(&self->d, seg, 2, 0));
	put_header(&self->d, 0, VIRTIO_BLK_T_OUT, 0);
	/* where the device may only read */
	EXPECT_STREQ("broke", breaks(&self->d, seg, 3, 0));
	put_header(&self->d, 0, VIRTIO_BLK_T_FLUSH, 0);
	EXPECT_STREQ("broke", breaks(&self->d, empty, 1, 1));
	put_header(&self->d, 0, VIRTIO_BLK_T_FLUSH, 0);
	EXPECT_STREQ("broke", breaks(&self->d, seg, 1, 0));
}

/* Beside the disk, over its end, in parts of blocks: an error each, and the queue goes on */
TEST_F(blk, not_on_the_disk)
{
	static const struct {
		const char *what;
		uint64_t sector;
		uint32_t len;
		int status;
	} t[] = {
		{ "first", 0, 512, VIRTIO_BLK_S_OK },
		{ "last", SECTORS - 1, 512, VIRTIO_BLK_S_OK },
		{ "last eight", SECTORS - 8, 4096, VIRTIO_BLK_S_OK },
		{ "behind", SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ "over the end", SECTORS - 7, 4096, VIRTIO_BLK_S_IOERR },
		{ "far behind", 1ULL << 40, 512, VIRTIO_BLK_S_IOERR },
		{ "sector that wraps in bytes", 1ULL << 55, 512, VIRTIO_BLK_S_IOERR },
		{ "negative in bytes", 1ULL << 54, 512, VIRTIO_BLK_S_IOERR },
		{ "last of all", ~0ULL, 512, VIRTIO_BLK_S_IOERR },
		{ "last but seven", ~0ULL - 7, 4096, VIRTIO_BLK_S_IOERR },
		{ "no data", 0, 0, VIRTIO_BLK_S_IOERR },
		{ "a byte", 0, 1, VIRTIO_BLK_S_IOERR },
		{ "511 bytes", 0, 511, VIRTIO_BLK_S_IOERR },
		{ "513 bytes", 0, 513, VIRTIO_BLK_S_IOERR },
		{ "513 bytes at the end", SECTORS - 1, 513, VIRTIO_BLK_S_IOERR },
	};
	struct dut *d = &self->d;
	int64_t errors = 0;

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			EXPECT_EQ(t[i].status, blk_request(d, 0, type, t[i].sector,
							   self->gpa + SCRATCH_DATA, t[i].len))
				TH_LOG("%s, type %u", t[i].what, type);
			errors += t[i].status != VIRTIO_BLK_S_OK;
		}
	}
	EXPECT_EQ(errors, dut_counter(d, 0, "errors"));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_units(d, 0, 2));
	EXPECT_EQ(4 << 20, lseek(d->backend, 0, SEEK_END));
}

TEST_F(blk, unknown_types)
{
	static const uint32_t types[] = {
		2, 3, 6, 7, 9, 10, 12, 15, 16, 17, 18, 20, 22, 24, 26, 100, 0x80000002, 0x80000003,
		0x80000064, 0x7fffffff, 0xffffffff, 0x101, 0x10000, 0x40000000,
	};

	for (unsigned int i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, blk_request(&self->d, 0, types[i], 0, 0, 0))
			TH_LOG("type %#x", types[i]);
		EXPECT_EQ(VIRTIO_BLK_S_UNSUPP,
			  blk_request(&self->d, 0, types[i], 0, self->gpa + SCRATCH_DATA, 512))
			TH_LOG("type %#x with data", types[i]);
	}
	/* not offered yet, or known: served or refused, but not with less than the request needs */
	EXPECT_NE(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_DISCARD, 0,
					       self->gpa + SCRATCH_DATA, 15));
	EXPECT_NE(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0));
	EXPECT_EQ(0, dut_units(&self->d, 0, 2));
}

TEST_F(blk, id_in_all_lengths)
{
	static const uint32_t lens[] = { 0, 1, 19, 20, 21, 512, 4096 };
	char first[20];

	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_GET_ID, 0,
					       self->gpa + SCRATCH_DATA, 20));
	memcpy(first, self->p + SCRATCH_DATA, 20);
	EXPECT_LT(0, strnlen(first, 20));
	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint32_t got = lens[i] < 20 ? lens[i] : 20;

		memset(self->p + SCRATCH_DATA, 0xaa, 8192);
		EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_GET_ID, 0,
						       self->gpa + SCRATCH_DATA, lens[i]))
			TH_LOG("%u bytes", lens[i]);
		EXPECT_EQ(0, memcmp(first, self->p + SCRATCH_DATA, got));
		/* and not a byte of the kernel's behind it */
		for (uint32_t k = 20; k < 8192; k++) {
			ASSERT_TRUE(self->p[SCRATCH_DATA + k] == 0xaa || self->p[SCRATCH_DATA + k] == 0);
		}
	}
}

/* CVE-2025-40051: data pages that fault are an I/O error, a status byte that does breaks the queue */
TEST_F(blk, pages_that_fault)
{
	uint64_t gpa = 1ULL << 40;
	unsigned char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guest_seg seg[] = { { self->gpa, 16 }, { gpa + 4096, 1 } };
	struct dut *d = &self->d;

	ASSERT_NE(MAP_FAILED, p);
	memset(p, 0, 3 * 4096);
	ASSERT_EQ(0, guest_add_region(d->g, gpa, p, 3 * 4096));
	d->g->region[4].lo = 3 * 4096;
	ASSERT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, mprotect(p + 4096, 4096, PROT_NONE));
	ASSERT_EQ(0, munmap(p + 2 * 4096, 4096));
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(d, 0, type, 0, gpa + 4096, 4096));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(d, 0, type, 0, gpa + 8192, 512));
		/* half-way */
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(d, 0, type, 0, gpa + 4096 - 512, 1024));
	}
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_units(d, 0, 2));

	for (unsigned int i = 0; i < 3; i++) {
		seg[1].gpa = gpa + (i == 2 ? 0 : 4096 * (i + 1));
		ASSERT_EQ(0, mprotect(p, 4096, PROT_READ));
		put_header(d, 0, VIRTIO_BLK_T_FLUSH, 0);
		EXPECT_STREQ("broke", breaks(d, seg, 1, 1));
		put_header(d, 0, 99, 0);
		EXPECT_STREQ("broke", breaks(d, seg, 1, 1));
	}
	munmap(p, 2 * 4096);
}

TEST_F(blk, read_only_disk)
{
	char path[64];
	struct dut_opts opts = { 0 };
	struct dut d;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->d.backend);
	EXPECT_EQ(0, dut_units(&self->d, 0, 1));
	opts.disk = open(path, O_RDONLY);
	ASSERT_LT(0, opts.disk);
	ASSERT_EQ(0, dut_open(&d, variant->kind, &opts));
	EXPECT_NE(0, d.g->features & BIT(VIRTIO_BLK_F_RO) || variant->kind == DUT_BLK);
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(&d, 0, VIRTIO_BLK_T_OUT, 0,
						  d.scratch[0].gpa + SCRATCH_DATA, 512));
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&d, 0, VIRTIO_BLK_T_IN, 0,
					       d.scratch[0].gpa + SCRATCH_DATA, 512));
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	dut_close(&d);
	close(opts.disk);
}

/* With requests in flight for long: on a block device whose interrupts come late */

FIXTURE(slow) {
	struct dut d;
	int disk;
};

FIXTURE_VARIANT(slow) {
	enum dut_kind kind;
};

DUT_EACH_DISK(slow)

FIXTURE_SETUP(slow)
{
	struct dut_opts opts = { 0 };

	self->disk = slow_disk(100);
	if (self->disk < 0)
		SKIP(return, "no null_blk here");
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
}

FIXTURE_TEARDOWN(slow)
{
	dut_close(&self->d);
	close(self->disk);
	slow_disk_remove();
}

static int start_read(struct dut *d, unsigned int i)
{
	struct guest_seg seg[] = {
		{ d->scratch[0].gpa, 16 }, { d->scratch[0].gpa + SCRATCH_FREE + i * 4096, 4096 },
		{ d->scratch[0].gpa + SCRATCH_STATUS + i, 1 },
	};
	int ret;

	put_header(d, 0, VIRTIO_BLK_T_IN, 0);
	d->scratch[0].p[SCRATCH_STATUS + i] = 0xaa;
	ret = gq_add(d->q[0], seg, 1, 2, (void *)(uintptr_t)(i + 1));
	gq_publish(d->q[0]);
	return ret ? ret : gq_kick(d->q[0]);
}

TEST_F(slow, head_available_twice)
{
	struct guest_queue *q = self->d.q[0];
	int64_t end = now_ms() + 5000;
	uint32_t len;
	void *token;

	EXPECT_EQ(0, dut_units(&self->d, 0, 1));
	ASSERT_EQ(0, start_read(&self->d, 0));
	gq_push(q, q->last_head);
	gq_publish(q);
	ASSERT_EQ(0, gq_kick(q));
	EXPECT_TRUE(wait_queue_is(self->d.g->fd, 0, "broken", 5000));
	EXPECT_TRUE(gq_error(q));
	/* the one in flight ends as it would have, and once */
	while (!gq_pending(q) && now_ms() < end)
		sleep_ms(1);
	ASSERT_EQ(0, gq_get(q, &token, &len));
	EXPECT_EQ(VIRTIO_BLK_S_OK, self->d.scratch[0].p[SCRATCH_STATUS]);
	sleep_ms(200);
	EXPECT_FALSE(gq_pending(q));
	EXPECT_EQ(0, dut_units(&self->d, 1, 1));
	ASSERT_EQ(0, dut_restart(&self->d));
	EXPECT_EQ(0, dut_units(&self->d, 0, 1));
	EXPECT_EQ(1, dut_counter(&self->d, 0, "breaks"));
}

/* A device that was write-protected after it was opened */
TEST_F(slow, write_protected_device)
{
	struct dut_opts opts = { .disk = self->disk };
	int ro = 1;
	struct dut d;

	ASSERT_EQ(0, ioctl(self->disk, BLKROSET, &ro));
	ASSERT_EQ(0, dut_open(&d, variant->kind, &opts));
	EXPECT_NE(0, d.g->features & BIT(VIRTIO_BLK_F_RO) || variant->kind == DUT_BLK);
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(&d, 0, VIRTIO_BLK_T_OUT, 0,
						  d.scratch[0].gpa + SCRATCH_DATA, 4096));
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	dut_close(&d);
}

/* A stop waits for what is in flight, after a break too, and the base is behind it */
TEST_F(slow, stop_after_break_in_flight)
{
	struct guest_queue *q = self->d.q[0];
	struct vhost_vring_state s = { 0 };
	int64_t start;

	for (unsigned int i = 0; i < 8; i++) {
		ASSERT_EQ(0, start_read(&self->d, i));
	}
	gq_push(q, 0xffff);
	gq_publish(q);
	ASSERT_EQ(0, gq_kick(q));
	EXPECT_TRUE(wait_queue_is(self->d.g->fd, 0, "broken", 5000));
	start = now_ms();
	ASSERT_EQ(0, guest_queue_switch(q, -1));
	ASSERT_EQ(0, xioctl(self->d.g->fd, VHOST_GET_VRING_BASE, &s));
	EXPECT_GT(5000, now_ms() - start);
	EXPECT_EQ(gq_base(q), s.num);
	EXPECT_EQ(8, gq_used_idx(q));
	for (unsigned int i = 0; i < 8; i++) {
		EXPECT_EQ(VIRTIO_BLK_S_OK, self->d.scratch[0].p[SCRATCH_STATUS + i]);
	}
}

/* The owner takes its memory away under requests in flight */
TEST_F(slow, munmap_in_flight)
{
	uint64_t gpa = 1ULL << 40;
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);
	struct dut *d = &self->d;
	struct guest_seg seg[] = {
		{ d->scratch[0].gpa, 16 }, { gpa, 4096 }, { gpa + 4096, 1 },
	};
	unsigned int in_flight = 0;
	uint32_t len;
	void *token;

	ASSERT_EQ(0, guest_add_region(d->g, gpa, p, 8192));
	d->g->region[4].lo = 8192;
	ASSERT_EQ(0, guest_commit(d->g));
	for (unsigned int i = 0; i < 5; i++) {
		put_header(d, 0, i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 8 * i);
		ASSERT_EQ(0, gq_add(d->q[0], seg, 1 + i % 2, 2 - i % 2, d));
		gq_publish(d->q[0]);
		ASSERT_EQ(0, gq_kick(d->q[0]));
		sleep_ms(20);
		ASSERT_EQ(0, munmap(p, 8192));
		/* on a machine that stood still meanwhile it may be over */
		in_flight += !gq_pending(d->q[0]);
		ASSERT_EQ(0, gq_wait(d->q[0], 10000));
		ASSERT_EQ(0, gq_get(d->q[0], &token, &len));
		ASSERT_EQ(p, mmap(p, 8192, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	}
	EXPECT_LT(2, in_flight);
	EXPECT_EQ(0, dut_units(d, 0, 1));
	munmap(p, 8192);
}

/* A device that is closed, and a table that is replaced, with requests in flight */
TEST_F(slow, close_and_replace_in_flight)
{
	struct dut_opts opts = { .disk = self->disk };

	for (unsigned int i = 0; i < 16; i++) {
		ASSERT_EQ(0, start_read(&self->d, i));
	}
	sleep_ms(20);
	ASSERT_EQ(0, guest_commit(self->d.g));
	for (unsigned int i = 0; i < 4; i++) {
		ASSERT_EQ(0, start_read(&self->d, 16 + i));
	}
	sleep_ms(20);
	dut_close(&self->d);
	/* its queue had an end, and so has the next one */
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	EXPECT_EQ(0, dut_units(&self->d, 0, 1));
}

TEST_HARNESS_MAIN
