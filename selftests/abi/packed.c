// SPDX-License-Identifier: GPL-2.0
/*
 * What is different with packed rings (virtio 1.2, section 2.8): what requests take, bases, and chains
 * that are used in another order than they were made available.  The tests of all rings are run
 * over packed ones besides, see dut_packed().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define FIRST	0x80008000

FIXTURE(packed) {
	struct dut d;
};

FIXTURE_VARIANT(packed) {
	enum dut_kind kind;
};

DUT_EACH(packed);

FIXTURE_SETUP(packed)
{
	struct dut_opts opts = { .stopped = true, .num = 100 };

	ASSERT_EQ(0, setenv("VHL_TEST_RING", "packed", 1));
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	ASSERT_TRUE(self->d.q[0]->packed);
}

FIXTURE_TEARDOWN(packed)
{
	dut_close(&self->d);
}

TEST_F(packed, num)
{
	static const struct {
		uint32_t num;
		int ret;
	} t[] = {
		{ 0, -EINVAL }, { 1, 0 }, { 2, 0 }, { 3, 0 }, { 255, 0 }, { 1000, 0 }, { 32767, 0 },
		{ 32768, 0 }, { 32769, -EINVAL }, { 65535, -EINVAL }, { 65536, -EINVAL },
		{ 65537, -EINVAL }, { 0xffffffff, -EINVAL },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		EXPECT_EQ(t[i].ret, vring_num(self->d.g->fd, VHOST_SET_VRING_NUM, 0, t[i].num))
			TH_LOG("size %u", t[i].num);
	}
}

TEST_F(packed, addr)
{
	struct vhost_vring_addr good = self->d.q[0]->addr;
	const struct {
		const char *what;
		uint64_t desc, driver, device;
		int ret;
	} t[] = {
		{ "good", 0, 0, 0, 0 },
		{ "just aligned", 16, 4, 4, 0 },
		{ "desc + 8", 8, 0, 0, -EINVAL },
		{ "driver + 2", 0, 2, 0, -EINVAL },
		{ "driver + 1", 0, 1, 0, -EINVAL },
		{ "device + 2", 0, 0, 2, -EINVAL },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct vhost_vring_addr a = good;

		a.desc_user_addr += t[i].desc;
		a.avail_user_addr += t[i].driver;
		a.used_user_addr += t[i].device;
		EXPECT_EQ(t[i].ret, xioctl(self->d.g->fd, VHOST_SET_VRING_ADDR, &a))
			TH_LOG("%s", t[i].what);
	}
}

/* A ring that was never started begins in the first round, on both sides */
TEST_F(packed, base)
{
	static const uint32_t bases[] = { 0, 0x8000, 0x80008000, 0x00638063, 0x80630063, 0xffffffff };
	struct vhost_vring_state s = { .index = 1 };

	EXPECT_EQ(0, xioctl(self->d.g->fd, VHOST_GET_VRING_BASE, &s));
	EXPECT_EQ(FIRST, s.num);
	for (unsigned int i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		EXPECT_EQ(0, vring_num(self->d.g->fd, VHOST_SET_VRING_BASE, 1, bases[i]));
		s.num = 1;
		EXPECT_EQ(0, xioctl(self->d.g->fd, VHOST_GET_VRING_BASE, &s));
		EXPECT_EQ(bases[i], s.num);
	}
}

/* A place outside of the ring shows when it starts, and then there is no start */
TEST_F(packed, base_outside)
{
	static const uint32_t bases[] = { 100, 0x8064, 100 << 16, 0x8064 << 16, 0xffffffff };
	struct guest_queue *q = self->d.q[1];

	for (unsigned int i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		q->base = bases[i];
		EXPECT_EQ(-EINVAL, dut_start(&self->d))
			TH_LOG("base %#x", bases[i]);
		/* queue 0 may run, where each is started by itself */
		guest_stop(self->d.g);
		if (variant->kind == DUT_VDPA)
			ASSERT_EQ(0, dut_stop(&self->d));
	}
	for (unsigned int i = 0; i < 2; i++)
		gq_reset(self->d.q[i]);
	ASSERT_EQ(0, dut_start(&self->d));
	EXPECT_EQ(0, dut_units(&self->d, 1, 3));
}

/* DPDK sends the lower half alone */
TEST_F(packed, base_of_dpdk)
{
	for (unsigned int i = 0; i < 2; i++)
		self->d.q[i]->base = 0x8000;
	ASSERT_EQ(0, dut_start(&self->d));
	EXPECT_EQ(0, dut_units(&self->d, 0, 120));
	EXPECT_EQ(0, dut_units(&self->d, 1, 120));
	ASSERT_EQ(0, dut_stop(&self->d));
	EXPECT_EQ(gq_base(self->d.q[0]), self->d.q[0]->base);
	EXPECT_EQ(gq_base(self->d.q[1]), self->d.q[1]->base);
}

/* Stopped at any place of any round, with chains that wait: nothing is lost, nothing is done twice */
TEST_F(packed, stop_and_start)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, dut_start(d));
	for (unsigned int i = 0; i < many(60); i++) {
		unsigned int waiting = i % 5;
		uint16_t used;

		EXPECT_EQ(0, dut_units(d, 0, 7));
		EXPECT_EQ(0, dut_units(d, 1, 7));
		ASSERT_EQ(0, dut_stop(d));
		EXPECT_EQ(gq_base(d->q[0]), d->q[0]->base);
		EXPECT_EQ(gq_base(d->q[1]), d->q[1]->base);
		used = gq_used_idx(d->q[1]);
		for (unsigned int k = 0; k < waiting; k++) {
			ASSERT_EQ(0, dut_add(d, 1));
		}
		gq_publish(d->q[1]);
		ASSERT_EQ(0, dut_start(d));
		for (unsigned int k = 0; k < waiting; k++) {
			uint32_t len;
			void *token;

			ASSERT_EQ(0, gq_wait(d->q[1], 5000));
			ASSERT_EQ(0, gq_get(d->q[1], &token, &len));
		}
		EXPECT_EQ((uint16_t)(used + waiting), gq_used_idx(d->q[1]));
		dut_forget(d);
	}
}

/* Reads of a slow disk, and behind them requests that are answered at once */

FIXTURE(order) {
	struct dut d;
	int disk;
};

FIXTURE_SETUP(order)
{
	/* no tables: a chain takes up two or three descriptors */
	struct dut_opts opts = { .num = 21, .refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC) };

	ASSERT_EQ(0, setenv("VHL_TEST_RING", "packed", 1));
	self->disk = slow_disk(50);
	if (self->disk < 0)
		SKIP(return, "no null_blk here");
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(&self->d, DUT_BLK, &opts));
}

FIXTURE_TEARDOWN(order)
{
	dut_close(&self->d);
	close(self->disk);
	slow_disk_remove();
}

/* @i: of the buffers and, plus one, of the token */
static int add_request(struct dut *d, unsigned int i, uint32_t type)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(type) };
	struct scratch *l = &d->scratch[0];
	uint32_t len = type == VIRTIO_BLK_T_IN ? 4096 : VIRTIO_BLK_ID_BYTES;
	struct guest_seg seg[] = {
		{ l->gpa + SCRATCH_DATA + i * 64, sizeof(hdr) }, { l->gpa + SCRATCH_FREE + i * 4096, len },
		{ l->gpa + SCRATCH_STATUS + i, 1 },
	};

	memcpy(l->p + SCRATCH_DATA + i * 64, &hdr, sizeof(hdr));
	l->p[SCRATCH_STATUS + i] = 0xaa;
	return gq_add(d->q[0], seg, 1, 2, (void *)(uintptr_t)(i + 1));
}

TEST_F(order, completed_in_another_order)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[0];
	unsigned int later = 0;

	for (unsigned int round = 0; round < 10; round++) {
		bool seen[6] = { false };
		unsigned int n = 0;

		/* slow and fast ones by turns */
		for (unsigned int i = 0; i < 6; i++) {
			ASSERT_EQ(0, add_request(d, i, i % 2 ? VIRTIO_BLK_T_GET_ID : VIRTIO_BLK_T_IN));
		}
		gq_publish(q);
		ASSERT_EQ(0, gq_notify(q));
		while (n < 6) {
			uint32_t len;
			void *token;
			unsigned int i;

			ASSERT_EQ(0, gq_wait(q, 5000));
			ASSERT_EQ(0, gq_get(q, &token, &len));
			i = (uintptr_t)token - 1;
			ASSERT_FALSE(seen[i]);
			seen[i] = true;
			EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[0].p[SCRATCH_STATUS + i]);
			EXPECT_EQ((i % 2 ? VIRTIO_BLK_ID_BYTES : 4096) + 1, len);
			later += n < 3 && i % 2;
			n++;
		}
		/* the base is behind them all, wherever that is */
		if (round % 3 == 2) {
			ASSERT_EQ(0, dut_stop(d));
			EXPECT_EQ(gq_base(q), q->base);
			ASSERT_EQ(0, dut_start(d));
		}
	}
	EXPECT_EQ(30, later);
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

/* Stopped with both in flight: what was taken is done, what was not is done after the start */
TEST_F(order, stopped_in_flight)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[0];

	for (unsigned int round = 0; round < 5; round++) {
		bool seen[6] = { false };

		for (unsigned int i = 0; i < 6; i++) {
			ASSERT_EQ(0, add_request(d, i, i % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_GET_ID));
		}
		gq_publish(q);
		ASSERT_EQ(0, gq_notify(q));
		sleep_ms(round * 5);
		ASSERT_EQ(0, dut_stop(d));
		EXPECT_EQ(gq_base(q), q->base);
		ASSERT_EQ(0, dut_start(d));
		for (unsigned int n = 0; n < 6; n++) {
			uint32_t len;
			void *token;

			ASSERT_EQ(0, gq_wait(q, 5000));
			ASSERT_EQ(0, gq_get(q, &token, &len));
			ASSERT_FALSE(seen[(uintptr_t)token - 1]);
			seen[(uintptr_t)token - 1] = true;
			EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[0].p[SCRATCH_STATUS + (uintptr_t)token - 1]);
		}
		EXPECT_FALSE(gq_pending(q));
	}
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

TEST_HARNESS_MAIN
