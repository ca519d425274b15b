// SPDX-License-Identifier: GPL-2.0
/*
 * The vhost-vDPA dialect: what waits for requests in flight.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* Requests that take 100 ms, and what waits for them */

FIXTURE(flight) {
	struct dut d;
	int fd, disk;
};

FIXTURE_SETUP(flight)
{
	struct dut_opts opts = { 0 };

	self->disk = slow_disk(100);
	if (self->disk < 0)
		SKIP(return, "no null_blk here");
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(&self->d, DUT_VDPA, &opts));
	self->fd = self->d.g->fd;
}

FIXTURE_TEARDOWN(flight)
{
	dut_close(&self->d);
	close(self->disk);
	slow_disk_remove();
}

static bool all_done(struct dut *d, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (d->scratch[0].p[SCRATCH_STATUS + i] != VIRTIO_BLK_S_OK)
			return false;
	return true;
}

TEST_F(flight, invalidate_waits)
{
	struct dut *d = &self->d;
	struct guest_region *r = dut_region(d, d->scratch[0].p);

	ASSERT_EQ(0, blk_start_reads(d, 16));
	sleep_ms(30);
	EXPECT_FALSE(all_done(d, 16));
	/* when it returns, the device uses that memory no more */
	ASSERT_EQ(0, dut_message(d, VHOST_IOTLB_INVALIDATE, r->gpa, r->size, NULL));
	EXPECT_TRUE(all_done(d, 16));
	ASSERT_EQ(0, dut_message(d, VHOST_IOTLB_UPDATE, r->gpa, r->size, r->hva));
	EXPECT_EQ(16, gq_used_idx(d->q[0]));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

TEST_F(flight, suspend_and_resume)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[0];
	uint32_t len;
	void *token;

	for (unsigned int round = 1; round <= 3; round++) {
		struct vhost_vring_state s = { 0 };

		ASSERT_EQ(0, blk_start_reads(d, 16));
		sleep_ms(30);
		ASSERT_EQ(0, xioctl(self->fd, VHOST_VDPA_SUSPEND, NULL));
		/* all that was taken is done, and the base is behind it */
		ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BASE, &s));
		EXPECT_EQ(s.num, gq_base(q));
		EXPECT_EQ(16 * round, gq_used_idx(q));
		EXPECT_TRUE(all_done(d, 16));
		/* nothing moves while it is suspended */
		for (unsigned int i = 0; i < 16; i++) {
			ASSERT_EQ(0, gq_get(q, &token, &len));
		}
		if (round == 3)
			break;
		ASSERT_EQ(0, xioctl(self->fd, VHOST_VDPA_RESUME, NULL));
		EXPECT_TRUE(queue_is(self->fd, 0, "running"));
	}
	ASSERT_EQ(0, blk_start_reads(d, 4));
	EXPECT_EQ(-ETIMEDOUT, gq_wait(q, 250));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_VDPA_RESUME, NULL));
	for (unsigned int i = 0; i < 4; i++) {
		ASSERT_EQ(0, gq_wait(q, 5000));
		ASSERT_EQ(0, gq_get(q, &token, &len));
	}
	EXPECT_TRUE(all_done(d, 4));
	EXPECT_EQ(0, dut_units(d, 1, 1));
}

TEST_F(flight, reset_waits)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, blk_start_reads(d, 16));
	sleep_ms(30);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_VDPA_SET_STATUS, "\0"));
	EXPECT_TRUE(all_done(d, 16));
	EXPECT_EQ(0, locked_kb());
}

TEST_HARNESS_MAIN
