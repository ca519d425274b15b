// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that resets one queue and goes on with the others (virtio 1.2, section 2.6.1): when the
 * reset is over the device has let go of ring, buffers and requests, and the queue may begin anew
 * elsewhere, with another size.  The vhost dialect offers that to drivers.  The vhost-vDPA dialect
 * does not, for its VMMs would not pass it on; but a client that stops one queue there finds the same.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define FREED	0x5a
#define CHAINS	8
#define ROUNDS	30
#define SLOW_MS	100

FIXTURE(reset) {
	struct dut d;
};

/* @qi is the queue that is reset */
FIXTURE_VARIANT(reset) {
	enum dut_kind kind;
	unsigned int qi;
};

FIXTURE_VARIANT_ADD(reset, rx) { .kind = DUT_NET, .qi = RX };
FIXTURE_VARIANT_ADD(reset, tx) { .kind = DUT_NET, .qi = TX };
FIXTURE_VARIANT_ADD(reset, blk) { .kind = DUT_BLK, .qi = 0 };
FIXTURE_VARIANT_ADD(reset, vdpa) { .kind = DUT_VDPA, .qi = 1 };

FIXTURE_SETUP(reset)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
}

FIXTURE_TEARDOWN(reset)
{
	dut_close(&self->d);
}

TEST_F(reset, offered)
{
	uint64_t offered = 0;

	ASSERT_EQ(0, xioctl(self->d.g->fd, VHOST_GET_FEATURES, &offered));
	EXPECT_EQ(variant->kind != DUT_VDPA, !!(offered & BIT(VIRTIO_F_RING_RESET)));
	/* and taken by the tests below */
	EXPECT_EQ(offered & BIT(VIRTIO_F_RING_RESET), self->d.g->features & BIT(VIRTIO_F_RING_RESET));
}

/* What a VMM does when its guest resets the queue */
static int reset_queue(struct dut *d, unsigned int qi)
{
	return guest_queue_switch(d->q[qi], -1) ?: guest_queue_get_base(d->q[qi]);
}

/* And when it enables it again: with a new ring, of another size, and other eventfds */
static int enable_queue(struct dut *d, unsigned int qi, unsigned int num)
{
	int ret;

	guest_queue_free(d->q[qi]);
	d->g->queue[qi] = NULL;
	ret = guest_queue(d->g, qi, num, &d->q[qi]);
	ret = ret ?: guest_queue_program(d->q[qi]);
	return ret ?: guest_queue_switch(d->q[qi], d->backend);
}

static size_t area_size(const struct guest_queue *q, unsigned int i)
{
	if (!i)
		return q->num * 16;
	if (q->packed)
		return 4;
	return 6 + q->num * (i == 1 ? 2 : 8);
}

/* The driver uses the memory of the queue for something else */
static void free_memory(struct dut *d, unsigned int qi)
{
	for (unsigned int i = 0; i < 3; i++)
		memset(gq_area(d->q[qi], i), FREED, area_size(d->q[qi], i));
	memset(d->scratch[qi].p, FREED, SCRATCH_SIZE);
}

static bool is_freed(const void *p, size_t n)
{
	const unsigned char *c = p;

	return c[0] == FREED && !memcmp(c, c + 1, n - 1);
}

/* Nothing of it is written, whoever kicks, and nobody is called */
static bool is_let_go(struct dut *d, unsigned int qi, unsigned int ms)
{
	struct guest_queue *q = d->q[qi];
	int64_t reqs = dut_counter(d, qi, "reqs"), calls = dut_counter(d, qi, "calls");
	uint64_t n;

	if (read(q->call_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return false;
	free_memory(d, qi);
	gq_kick(q);
	sleep_ms(ms);
	for (unsigned int i = 0; i < 3; i++)
		if (!is_freed(gq_area(q, i), area_size(q, i)))
			return false;
	/* with another eventfd, too, there is nothing to tell */
	if (vring_file(d->g->fd, VHOST_SET_VRING_CALL, qi, q->call_fd))
		return false;
	return is_freed(d->scratch[qi].p, SCRATCH_SIZE) && queue_is(d->g->fd, qi, "stopped") &&
	       read(q->call_fd, &n, sizeof(n)) < 0 && dut_counter(d, qi, "reqs") == reqs &&
	       dut_counter(d, qi, "calls") == calls;
}

TEST_F_TIMEOUT(reset, while_the_other_goes_on, 120)
{
	static const unsigned int nums[] = { 256, 16, 64, 128, 32 };
	struct dut *d = &self->d;
	unsigned int qi = variant->qi, before, done = 0;
	struct dev_info info;
	struct mover m;

	ASSERT_EQ(0, mover_start(&m, d, !qi));
	for (unsigned int i = 0; i < many(ROUNDS); i++) {
		unsigned int num = nums[i % (sizeof(nums) / sizeof(nums[0]))];
		int64_t reqs;

		for (unsigned int k = 0; k < CHAINS; k++)
			ASSERT_EQ(0, dut_add(d, qi));
		gq_publish(d->q[qi]);
		ASSERT_EQ(0, gq_kick(d->q[qi]));
		/* none, some or all of them have been taken */
		sleep_ms(i % 3);
		ASSERT_EQ(0, reset_queue(d, qi));
		before = atomic_load(&m.done);
		ASSERT_TRUE(is_let_go(d, qi, 5))
			TH_LOG("round %u", i);

		ASSERT_EQ(0, enable_queue(d, qi, num))
			TH_LOG("size %u: %s", num, guest_error(d->g));
		ASSERT_EQ(0, get_info(d->g->fd, &info));
		EXPECT_EQ(num, info.q[qi].size);
		reqs = info.q[qi].reqs;
		/* nothing of before comes up again */
		sleep_ms(2);
		ASSERT_EQ(0, gq_used_idx(d->q[qi]));
		ASSERT_EQ(0, dut_units(d, qi, 5));
		EXPECT_EQ(reqs + (variant->kind == DUT_NET ? 5 : 10), dut_counter(d, qi, "reqs"));
		done += atomic_load(&m.done) > before;
	}
	EXPECT_EQ(0, mover_stop(&m));
	/* a thread may not get to it in each round */
	EXPECT_LE(many(ROUNDS) / 2, done);
	EXPECT_EQ(0, dut_counter(d, 0, "breaks") + dut_counter(d, 1, "breaks"));
}

/* A ring that broke is one that drivers reset */
TEST_F(reset, of_a_broken_queue)
{
	struct dut *d = &self->d;
	unsigned int qi = variant->qi;

	if (dut_packed())
		SKIP(return, "it writes into a split ring");
	gq_set_avail_idx(d->q[qi], 10000);
	ASSERT_EQ(0, dut_poke(d, qi));
	ASSERT_TRUE(wait_queue_is(d->g->fd, qi, "broken", 2000));
	ASSERT_EQ(0, reset_queue(d, qi));
	dut_forget(d);
	EXPECT_TRUE(is_let_go(d, qi, 5));
	ASSERT_EQ(0, enable_queue(d, qi, 32));
	EXPECT_EQ(0, dut_units(d, qi, 5));
	EXPECT_EQ(0, dut_units(d, !qi, 5));
}

static int add_read(struct dut *d, unsigned int qi, unsigned int i)
{
	struct virtio_blk_outhdr in = { .type = htole32(VIRTIO_BLK_T_IN) };
	struct scratch *l = &d->scratch[qi];
	struct guest_seg seg[] = {
		{ l->gpa, sizeof(in) }, { l->gpa + SCRATCH_FREE + i * 4096, 4096 },
		{ l->gpa + SCRATCH_STATUS + i, 1 },
	};

	memcpy(l->p, &in, sizeof(in));
	l->p[SCRATCH_STATUS + i] = 0xaa;
	return gq_add(d->q[qi], seg, 1, 2, d);
}

/*
 * Requests that are in flight when the queue is reset are done by then or were never begun, and those
 * of another queue take the time that they take
 */
static void in_flight(struct __test_metadata *_metadata, enum dut_kind kind)
{
	struct dut_opts opts = { .disk = slow_disk(SLOW_MS) };
	struct dut device, *d = &device;
	unsigned int done = 0;
	int64_t began;
	uint32_t len;
	void *token;

	if (opts.disk < 0)
		SKIP(return, "no null_blk here");
	ASSERT_EQ(0, dut_open(d, kind, &opts));
	for (unsigned int i = 0; i < CHAINS; i++) {
		ASSERT_EQ(0, add_read(d, 0, i));
		ASSERT_EQ(0, add_read(d, 1, i));
	}
	began = now_ms();
	for (unsigned int qi = 0; qi < 2; qi++) {
		gq_publish(d->q[qi]);
		ASSERT_EQ(0, gq_kick(d->q[qi]));
	}
	sleep_ms(SLOW_MS / 4);
	ASSERT_EQ(0, reset_queue(d, 0));
	/* no need to wait for more than what was on its way */
	EXPECT_GT(20 * SLOW_MS, now_ms() - began);
	for (unsigned int i = 0; i < CHAINS; i++) {
		unsigned char status = d->scratch[0].p[SCRATCH_STATUS + i];

		ASSERT_TRUE(status == VIRTIO_BLK_S_OK || status == 0xaa);
		done += status == VIRTIO_BLK_S_OK;
	}
	/* they were taken: 25 ms are enough for that */
	EXPECT_LT(0, done);
	EXPECT_EQ(done, gq_used_idx(d->q[0]));
	EXPECT_TRUE(is_let_go(d, 0, 2 * SLOW_MS));

	for (unsigned int i = 0; i < CHAINS; i++) {
		ASSERT_EQ(0, gq_wait(d->q[1], 20 * SLOW_MS));
		ASSERT_EQ(0, gq_get(d->q[1], &token, &len));
		EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[1].p[SCRATCH_STATUS + i]);
	}
	ASSERT_EQ(0, enable_queue(d, 0, 16));
	EXPECT_EQ(0, dut_units(d, 0, 2));
	EXPECT_EQ(0, dut_units(d, 1, 2));
	dut_close(d);
	close(opts.disk);
	slow_disk_remove();
}

TEST(in_flight_blk)
{
	in_flight(_metadata, DUT_BLK);
}

TEST(in_flight_vdpa)
{
	in_flight(_metadata, DUT_VDPA);
}

TEST_HARNESS_MAIN
