// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out for the device's threads: packets and requests wait or are lost, the queues go on.
 * Wants a kernel with fault injection (Documentation/fault-injection/fault-injection.rst).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "faults.h"

FIXTURE(starved) {
	struct dut d;
	bool able;
};

FIXTURE_VARIANT(starved) {
	enum dut_kind kind;
};

DUT_EACH(starved)

FIXTURE_SETUP(starved)
{
	/* older harnesses go on with a test whose setup was skipped */
	self->able = !faults_begin();
}

FIXTURE_TEARDOWN(starved)
{
	dut_close(&self->d);
	faults_end();
}

/* One packet from the guest: the chain comes back, whatever becomes of the packet */
static int send_one(struct dut *d)
{
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[] = {
		{ scratch->gpa + SCRATCH_HDR, NET_HDR }, { scratch->gpa + SCRATCH_DATA, 1000 },
	};
	void *token;
	uint32_t used;
	int ret;

	memset(scratch->p + SCRATCH_HDR, 0, NET_HDR);
	make_frame(scratch->p + SCRATCH_DATA, 1000, scratch->seq, true);
	ret = gq_add(d->q[TX], seg, 2, 0, scratch);
	if (ret)
		return ret;
	gq_publish(d->q[TX]);
	ret = gq_notify(d->q[TX]) ?: gq_wait(d->q[TX], d->timeout_ms);
	return ret ?: gq_get(d->q[TX], &token, &used);
}

/* The workers' own allocations fail: a packet is lost, no more; a disk tries again until there is memory */
TEST_F_TIMEOUT(starved, workers, 900)
{
	struct dut *d = &self->d;
	unsigned int failed = 0;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	ASSERT_LE(2, faults_of_workers(20));
	for (unsigned int i = 0; i < 300; i++) {
		int ret;

		if (variant->kind == DUT_NET) {
			ret = send_one(d);
			dut_forget(d);
		} else {
			ret = blk_request(d, i % 2, VIRTIO_BLK_T_OUT, i * 8 % 4096,
					  d->scratch[i % 2].gpa + SCRATCH_DATA, 4096);
			failed += ret == VIRTIO_BLK_S_IOERR;
		}
		ASSERT_TRUE(ret == 0 || ret == VIRTIO_BLK_S_IOERR)
			TH_LOG("unit %u: %d", i, ret);
	}
	faults_of_workers(0);
	EXPECT_EQ(0, dut_units(d, 0, 20));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
	EXPECT_EQ(0, failed)
		TH_LOG("%u of 300 requests answered with an error", failed);
}

/* The same with direct I/O of a device: from and to aligned buffers, through pages of our own, flushes */
TEST_F_TIMEOUT(starved, direct, 900)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_FLUSH };
	struct dut_opts opts = { 0 };
	struct dut *d = &self->d;
	unsigned int failed = 0;
	void *page;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	if (variant->kind == DUT_NET)
		SKIP(return, "of disks");
	opts.disk = slow_disk(0);
	if (opts.disk < 0)
		SKIP(return, "no null_blk here");
	/* it allocates its pages when they are first written to: not to fail in a worker */
	page = aligned_alloc(4096, 4096);
	ASSERT_NE(NULL, page);
	memset(page, 0, 4096);
	for (unsigned int i = 0; i < 1024; i++) {
		ASSERT_EQ(4096, pwrite(opts.disk, page, 4096, i * 4096));
	}
	free(page);
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	ASSERT_LE(2, faults_of_workers(20));
	for (unsigned int i = 0; i < 300; i++) {
		uint32_t type = types[i % 3], len = type == VIRTIO_BLK_T_FLUSH ? 0 : 4096 << i / 3 % 4;
		int ret = blk_request(d, i % 2, type, i * 8 % 4096, d->scratch[i % 2].gpa + SCRATCH_FREE + i % 5,
				      len);

		failed += ret == VIRTIO_BLK_S_IOERR;
		ASSERT_TRUE(ret == 0 || ret == VIRTIO_BLK_S_IOERR)
			TH_LOG("request %u: %d", i, ret);
	}
	faults_of_workers(0);
	EXPECT_EQ(0, failed)
		TH_LOG("%u of 300 requests answered with an error", failed);
	EXPECT_EQ(0, dut_units(d, 0, 20));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
	dut_close(d);
	close(opts.disk);
	slow_disk_remove();
}

/*
 * There is no memory for a chain of many segments: the device waits until there is some. Nothing is
 * lost by it, least of all the queue.
 */
TEST_F_TIMEOUT(starved, long_chain, 900)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[34];
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_OUT) };
	unsigned int n = 0;
	uint32_t used;
	void *token;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	ASSERT_EQ(0, dut_units(d, TX, 5));
	seg[n++] = (struct guest_seg){
		scratch->gpa + SCRATCH_HDR, variant->kind == DUT_NET ? NET_HDR : sizeof(hdr)
	};
	memset(scratch->p + SCRATCH_HDR, 0, NET_HDR);
	if (variant->kind != DUT_NET)
		memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
	make_frame(scratch->p + SCRATCH_DATA, 1024, 1, true);
	for (unsigned int i = 0; i < 32; i++)
		seg[n++] = (struct guest_seg){ scratch->gpa + SCRATCH_DATA + i * 32, 32 };
	scratch->p[SCRATCH_STATUS] = 0xaa;
	seg[n] = (struct guest_seg){ scratch->gpa + SCRATCH_STATUS, 1 };

	ASSERT_LE(2, faults_of_workers(100));
	ASSERT_EQ(0, gq_add(d->q[TX], seg, n, variant->kind != DUT_NET, scratch));
	gq_publish(d->q[TX]);
	ASSERT_EQ(0, gq_notify(d->q[TX]));
	EXPECT_NE(0, gq_wait(d->q[TX], 500));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	faults_of_workers(0);
	ASSERT_EQ(0, gq_wait(d->q[TX], d->timeout_ms));
	ASSERT_EQ(0, gq_get(d->q[TX], &token, &used));
	if (variant->kind != DUT_NET) {
		EXPECT_EQ(0, scratch->p[SCRATCH_STATUS]);
	}
	dut_forget(d);
	EXPECT_EQ(0, dut_units(d, 0, 20));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
}

/* The same where it is the request itself that there is no memory for */
TEST_F_TIMEOUT(starved, first_request, 900)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[TX];
	uint32_t used;
	void *token;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	if (variant->kind == DUT_NET)
		SKIP(return, "frames need no memory of the device's own");
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	ASSERT_LE(2, faults_of_workers(100));
	d->timeout_ms = 500;
	EXPECT_GT(0, blk_request(d, TX, VIRTIO_BLK_T_OUT, 8, scratch->gpa + SCRATCH_DATA, 512));
	EXPECT_EQ(0xaa, scratch->p[SCRATCH_STATUS]);
	faults_of_workers(0);
	d->timeout_ms = 20000;
	ASSERT_EQ(0, gq_wait(d->q[TX], d->timeout_ms));
	ASSERT_EQ(0, gq_get(d->q[TX], &token, &used));
	EXPECT_EQ(0, scratch->p[SCRATCH_STATUS]);
	EXPECT_EQ(0, dut_units(d, TX, 20));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
}

/* ... and a client can stop the queue meanwhile */
TEST_F_TIMEOUT(starved, long_chain_stopped, 900)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[40];

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	for (unsigned int i = 0; i < 40; i++)
		seg[i] = (struct guest_seg){ scratch->gpa + SCRATCH_DATA + i * 32, 32 };
	ASSERT_LE(2, faults_of_workers(100));
	ASSERT_EQ(0, gq_add(d->q[TX], seg, 40, 0, scratch));
	gq_publish(d->q[TX]);
	ASSERT_EQ(0, gq_notify(d->q[TX]));
	EXPECT_NE(0, gq_wait(d->q[TX], 100));
	EXPECT_EQ(0, dut_stop(d));
	EXPECT_EQ(0, gq_used_idx(d->q[TX]));
	EXPECT_EQ(gq_base(d->q[TX]), d->q[TX]->base);
	faults_of_workers(0);
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
}

TEST_HARNESS_MAIN
