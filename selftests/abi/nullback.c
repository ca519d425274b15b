// SPDX-License-Identifier: GPL-2.0
/*
 * The least that a backend has to do, with the template of one (selftests/nullback): a device that answers with
 * zeroes, and whose queues are started and stopped all at once.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "../nullback/nullback.h"
#include "kselftest_harness.h"
#include "dut.h"

#define NODE	"/dev/vhost-nullback"
#define CHAINS	23
#define OUT	100
#define IN	300
#define LARGE	8	/* chains of as much as one may have */

FIXTURE(nullback) {
	struct guest *g;
	struct guest_queue *q[NULLBACK_QUEUES];
	uint64_t out, in;
	unsigned char *written;
};

FIXTURE_VARIANT(nullback) {
	uint64_t features;
};

FIXTURE_VARIANT_ADD(nullback, plain) {};

FIXTURE_VARIANT_ADD(nullback, event_idx) {
	.features = 1ULL << VIRTIO_RING_F_EVENT_IDX,
};

FIXTURE_VARIANT_ADD(nullback, indirect) {
	.features = 1ULL << VIRTIO_RING_F_INDIRECT_DESC,
};

FIXTURE_VARIANT_ADD(nullback, both) {
	.features = 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC,
};

static int set_running(struct guest *g, int on)
{
	return xioctl(g->fd, NULLBACK_SET_RUNNING, &on);
}

/* A guest whose first @programmed queues have all but a start */
static int nullback_open(FIXTURE_DATA(nullback) *self, uint64_t wanted, unsigned int programmed)
{
	uint64_t offered;
	int ret = guest_open(&self->g, NODE, GUEST_NET);

	ret = ret ?: guest_own(self->g) ?: guest_features(self->g, &offered);
	if (!ret && (offered & wanted) != wanted)
		ret = -ENOTSUP;
	ret = ret ?: guest_set_features(self->g, wanted) ?: guest_layout(self->g, 2, 4 << 20) ?:
	      guest_commit(self->g) ?: guest_alloc(self->g, OUT, 1, &self->out) ?:
	      guest_alloc(self->g, CHAINS * IN, 1, &self->in);
	if (ret)
		return ret;
	self->written = guest_ptr(self->g, self->in, CHAINS * IN);
	for (unsigned int i = 0; !ret && i < NULLBACK_QUEUES; i++) {
		ret = guest_queue(self->g, i, 128, &self->q[i]);
		if (!ret && i < programmed)
			ret = guest_queue_program(self->q[i]);
	}
	return ret;
}

static uint64_t wanted(const FIXTURE_VARIANT(nullback) *variant)
{
	return variant->features | 1ULL << VIRTIO_F_VERSION_1 | 1ULL << NULLBACK_F_ZEROES;
}

FIXTURE_SETUP(nullback)
{
	int ret;

	memset(self, 0, sizeof(*self));
	ret = module_load("selftests/nullback/vhost-nullback");
	ASSERT_TRUE(!ret || ret == -EEXIST);
	ASSERT_EQ(0, nullback_open(self, wanted(variant), NULLBACK_QUEUES));
}

FIXTURE_TEARDOWN(nullback)
{
	guest_close(self->g);
	EXPECT_EQ(0, module_unload("vhost-nullback"));
}

/* A chain with @segs readable segments and @segs writable ones of all IN bytes */
static int add(struct guest_queue *q, uint64_t out, uint64_t in, unsigned int segs)
{
	struct guest_seg seg[4];

	for (unsigned int i = 0; i < segs; i++) {
		seg[i] = (struct guest_seg){ out, OUT };
		seg[segs + i] = (struct guest_seg){ in + i * (IN / segs), IN / segs };
	}
	return gq_add(q, seg, segs, segs, q);
}

/* CHAINS of them: all come back, and what the device may write is zero. 0 or what is wrong */
static int round_trip(struct guest_queue *q, uint64_t out, uint64_t in, unsigned char *written)
{
	unsigned int got = 0;
	uint32_t len;
	void *token;
	int ret;

	memset(written, 0xff, CHAINS * IN);
	for (unsigned int i = 0; i < CHAINS; i++) {
		ret = add(q, out, in + i * IN, 1 + i % 2);
		if (ret)
			return ret;
	}
	gq_publish(q);
	ret = gq_notify(q);
	while (!ret && got < CHAINS) {
		ret = gq_wait(q, 5000);
		while (!ret && !gq_get(q, &token, &len)) {
			got++;
			if (len != IN)
				ret = -EBADMSG;
		}
	}
	for (unsigned int i = 0; !ret && i < CHAINS * IN; i++)
		if (written[i])
			ret = -EILSEQ;
	return ret;
}

TEST_F(nullback, all_come_back)
{
	struct dev_info info;

	EXPECT_EQ(0, set_running(self->g, 1));
	for (unsigned int n = 0; n < many(5); n++)
		for (unsigned int i = 0; i < NULLBACK_QUEUES; i++)
			ASSERT_EQ(0, round_trip(self->q[i], self->out, self->in, self->written));
	ASSERT_EQ(0, get_info(self->g->fd, &info));
	EXPECT_STREQ("zeroes", info.backing);
	for (unsigned int i = 0; i < NULLBACK_QUEUES; i++) {
		EXPECT_EQ(many(5) * CHAINS, info.q[i].reqs);
		EXPECT_EQ(many(5) * CHAINS * IN, info.q[i].in);
		EXPECT_EQ(0, info.q[i].errors);
	}
}

TEST_F(nullback, stop_and_start)
{
	for (unsigned int n = 0; n < 5; n++) {
		ASSERT_EQ(0, set_running(self->g, 1));
		ASSERT_EQ(0, set_running(self->g, 1));
		EXPECT_EQ(0, round_trip(self->q[0], self->out, self->in, self->written));
		/* what comes while it is stopped is done afterwards */
		ASSERT_EQ(0, set_running(self->g, 0));
		ASSERT_EQ(0, set_running(self->g, 0));
		EXPECT_TRUE(queue_is(self->g->fd, 0, "stopped"));
		ASSERT_EQ(0, add(self->q[1], self->out, self->in, 1));
		gq_publish(self->q[1]);
		EXPECT_EQ(-ETIMEDOUT, gq_wait(self->q[1], 50));
		ASSERT_EQ(0, set_running(self->g, 1));
		EXPECT_EQ(0, gq_wait(self->q[1], 5000));
		EXPECT_EQ(0, gq_get(self->q[1], &(void *){ NULL }, &(uint32_t){ 0 }));
		ASSERT_EQ(0, set_running(self->g, 0));
	}
}

TEST_F(nullback, bad_chain)
{
	struct guest_seg seg = { self->out, OUT };
	struct dev_info info;

	ASSERT_EQ(0, set_running(self->g, 1));
	/* nothing that the device could write: no request */
	ASSERT_EQ(0, gq_add(self->q[1], &seg, 1, 0, self->q[1]));
	gq_publish(self->q[1]);
	ASSERT_EQ(0, gq_kick(self->q[1]));
	EXPECT_TRUE(wait_queue_is(self->g->fd, 1, "broken", 5000));
	EXPECT_TRUE(gq_error(self->q[1]));
	EXPECT_EQ(0, round_trip(self->q[0], self->out, self->in, self->written));
	EXPECT_EQ(0, round_trip(self->q[2], self->out, self->in, self->written));
	ASSERT_EQ(0, get_info(self->g->fd, &info));
	EXPECT_EQ(0, info.q[0].breaks);
	EXPECT_EQ(1, info.q[1].breaks);
	/* it was given back, so that the stop does not wait for it */
	EXPECT_EQ(0, set_running(self->g, 0));
}

/* What a turn writes is limited: clients wait for its end */
TEST_F(nullback, large)
{
	struct guest_seg seg = { .len = NULLBACK_IN_MAX };
	struct guest_queue *q = self->q[0];
	unsigned char *p;
	struct dev_info info;
	uint32_t len;
	void *token;

	ASSERT_EQ(0, guest_alloc(self->g, NULLBACK_IN_MAX + 1, 1, &seg.gpa));
	p = guest_ptr(self->g, seg.gpa, NULLBACK_IN_MAX + 1);
	memset(p, 0xff, NULLBACK_IN_MAX + 1);
	for (unsigned int i = 0; i < LARGE; i++)
		ASSERT_EQ(0, gq_add(q, &seg, 0, 1, q));
	gq_publish(q);
	ASSERT_EQ(0, set_running(self->g, 1));
	for (unsigned int i = 0; i < LARGE; ) {
		ASSERT_EQ(0, gq_wait(q, 5000));
		for (; !gq_get(q, &token, &len); i++)
			EXPECT_EQ(NULLBACK_IN_MAX, len);
	}
	EXPECT_EQ(0, p[0]);
	EXPECT_EQ(0, memcmp(p, p + 1, NULLBACK_IN_MAX - 1));
	EXPECT_EQ(0xff, p[NULLBACK_IN_MAX]);
	ASSERT_EQ(0, get_info(self->g->fd, &info));
	EXPECT_EQ(LARGE, info.q[0].reqs);
	/* a turn of its own for each */
	EXPECT_EQ(LARGE, info.q[0].batches);

	seg.len++;
	ASSERT_EQ(0, gq_add(q, &seg, 0, 1, q));
	gq_publish(q);
	ASSERT_EQ(0, gq_kick(q));
	EXPECT_TRUE(wait_queue_is(self->g->fd, 0, "broken", 5000));
	EXPECT_EQ(0xff, p[NULLBACK_IN_MAX]);
	EXPECT_EQ(0, set_running(self->g, 0));
}

TEST_F(nullback, all_or_none)
{
	uint64_t desc = self->q[2]->addr.desc_user_addr;

	self->q[2]->addr.desc_user_addr = 4096;
	ASSERT_EQ(0, guest_queue_addr(self->q[2]));
	EXPECT_EQ(-EFAULT, set_running(self->g, 1));
	ASSERT_EQ(0, add(self->q[0], self->out, self->in, 1));
	gq_publish(self->q[0]);
	ASSERT_EQ(0, gq_kick(self->q[0]));
	EXPECT_EQ(-ETIMEDOUT, gq_wait(self->q[0], 50));
	self->q[2]->addr.desc_user_addr = desc;
	ASSERT_EQ(0, guest_queue_addr(self->q[2]));
	EXPECT_EQ(0, set_running(self->g, 1));
	EXPECT_EQ(0, gq_wait(self->q[0], 5000));
}

/* A start that fails leaves those alone that run */
TEST_F(nullback, runs_already)
{
	guest_close(self->g);
	ASSERT_EQ(0, nullback_open(self, wanted(variant), 2));
	ASSERT_EQ(0, set_running(self->g, 1));
	self->q[2]->addr.desc_user_addr = 4096;
	ASSERT_EQ(0, guest_queue_program(self->q[2]));
	EXPECT_EQ(-EFAULT, set_running(self->g, 1));
	EXPECT_EQ(0, round_trip(self->q[0], self->out, self->in, self->written));
	EXPECT_EQ(0, round_trip(self->q[1], self->out, self->in, self->written));
}

TEST_F(nullback, requests)
{
	struct vhost_vring_file backend = { .fd = self->g->fd };
	int fd = xopen(NODE), on = 1;

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EPERM, xioctl(fd, NULLBACK_SET_RUNNING, &on));
	EXPECT_EQ(-EFAULT, xioctl(self->g->fd, NULLBACK_SET_RUNNING, NULL));
	/* it has no such thing as a backing */
	EXPECT_EQ(-ENOTTY, xioctl(self->g->fd, VHOST_NET_SET_BACKEND, &backend));
	/* queues without addresses are left alone: none of these has any */
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, xioctl(fd, NULLBACK_SET_RUNNING, &on));
	close(fd);
	/* closed in the middle of work */
	ASSERT_EQ(0, set_running(self->g, 1));
	for (unsigned int i = 0; i < CHAINS; i++)
		ASSERT_EQ(0, add(self->q[0], self->out, self->in, 1));
	gq_publish(self->q[0]);
	ASSERT_EQ(0, gq_kick(self->q[0]));
}

TEST_HARNESS_MAIN
