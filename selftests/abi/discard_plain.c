// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that name ranges, on a device that cannot discard, and on one that takes its time.
 */
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* Of a discard, as documented */
#define SEGS	32

FIXTURE(plain) {
	struct dut d;
	int disk;
};

FIXTURE_VARIANT(plain) {
	enum dut_kind kind;
};

DUT_EACH_DISK(plain)

FIXTURE_SETUP(plain)
{
	self->disk = slow_disk(1);
	if (self->disk < 0)
		SKIP(return, "no null_blk here");
	ASSERT_EQ(0, dut_open(&self->d, variant->kind,
			      &(struct dut_opts){ .disk = self->disk, .early = true }));
}

FIXTURE_TEARDOWN(plain)
{
	dut_close(&self->d);
	close(self->disk);
	slow_disk_remove();
}

TEST_F(plain, no_discards)
{
	struct dut *d = &self->d;

	EXPECT_EQ(0, d->g->features & BIT(VIRTIO_BLK_F_DISCARD));
	EXPECT_EQ(0, d->g->features & BIT(VIRTIO_BLK_F_SECURE_ERASE));
	EXPECT_NE(0, d->g->features & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, blk_range(d, 0, VIRTIO_BLK_T_DISCARD, 0, 64, 0));
	memset(d->scratch[0].p + SCRATCH_FREE, 0x55, 4096);
	EXPECT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_OUT, 8, d->scratch[0].gpa + SCRATCH_FREE, 4096));
	EXPECT_EQ(0, blk_range(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, 8, 7, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP));
	EXPECT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_IN, 8, d->scratch[0].gpa + SCRATCH_FREE, 4096));
	for (unsigned int i = 0; i < 4096; i++) {
		ASSERT_EQ(i < 7 * 512 ? 0 : 0x55, d->scratch[0].p[SCRATCH_FREE + i]);
	}
}

/* A request that would take most of a minute: a stop does not wait for all of it */
TEST_F(plain, stopped_half_way)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_DISCARD) };
	struct virtio_blk_discard_write_zeroes le[SEGS];
	struct dut *d = &self->d;
	struct scratch *scratch;
	struct guest_seg seg[3];
	char path[32];
	int64_t start;
	uint32_t len;
	void *token;

	/* in pieces of 64 MiB, each of which takes 200 ms */
	dut_close(d);
	close(self->disk);
	ASSERT_EQ(0, null_disk(512, 4096, 200000, path));
	self->disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->disk);
	ASSERT_EQ(0, dut_open(d, variant->kind,
			      &(struct dut_opts){ .disk = self->disk, .early = true }));
	for (unsigned int i = 0; i < SEGS; i++)
		le[i] = (struct virtio_blk_discard_write_zeroes){ 0, htole32(512U << 11) };
	scratch = &d->scratch[0];
	memcpy(scratch->p, &hdr, sizeof(hdr));
	memcpy(scratch->p + SCRATCH_DATA, le, sizeof(le));
	scratch->p[SCRATCH_STATUS] = 0xaa;
	seg[0] = (struct guest_seg){ scratch->gpa, sizeof(hdr) };
	seg[1] = (struct guest_seg){ scratch->gpa + SCRATCH_DATA, sizeof(le) };
	seg[2] = (struct guest_seg){ scratch->gpa + SCRATCH_STATUS, 1 };
	ASSERT_EQ(0, gq_add(d->q[0], seg, 2, 1, d));
	gq_publish(d->q[0]);
	start = now_ms();
	ASSERT_EQ(0, gq_kick(d->q[0]));
	sleep_ms(500);
	/* the other queue does not wait for it either */
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(d, 1, VIRTIO_BLK_T_GET_ID, 0,
					       d->scratch[1].gpa + SCRATCH_DATA, 20));
	ASSERT_EQ(0xaa, scratch->p[SCRATCH_STATUS]);
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_GT(10000, now_ms() - start);
	EXPECT_EQ(VIRTIO_BLK_S_OK, scratch->p[SCRATCH_STATUS]);
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, gq_wait(d->q[0], 10000));
	ASSERT_EQ(0, gq_get(d->q[0], &token, &len));
	EXPECT_EQ(1, len);
	EXPECT_EQ(0, dut_units(d, 0, 1));
}

TEST_HARNESS_MAIN
