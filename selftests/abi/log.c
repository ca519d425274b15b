// SPDX-License-Identifier: GPL-2.0
/*
 * The log of dirty memory: each page that the device writes is marked, and no other one. What is
 * refused is in logset.c, what happens under traffic in migrate.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dirty.h"

/*
 * A used ring has three pages: with flags and index, with entries alone, with the event. A packed
 * ring has four, and one for the event
 */
#define NUM	1024

/* Far from all other memory, and at a border of two pages of the bitmap */
#define FAR	(32ULL * 0x8000000 - 0x10000)
#define FAR_LEN	0x20000

FIXTURE(log) {
	struct dut d;
	struct dirty l;
	unsigned char frame[4096];
	unsigned int seq;
};

FIXTURE_VARIANT(log) {
	uint64_t refuse;
	unsigned int skew;		/* of the bitmap */
	const char *ring;
};

FIXTURE_VARIANT_ADD(log, usual) {
	.refuse = 0,
};

FIXTURE_VARIANT_ADD(log, plain) {
	.refuse = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		  BIT(VIRTIO_RING_F_INDIRECT_DESC),
	.skew = 4,
};

FIXTURE_VARIANT_ADD(log, anywhere) {
	.skew = 4091,
};

FIXTURE_VARIANT_ADD(log, packed) {
	.ring = "packed",
};

FIXTURE_VARIANT_ADD(log, packed_plain) {
	.refuse = BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
	.ring = "packed",
};

FIXTURE_SETUP(log)
{
	struct dut_opts opts = { .refuse = variant->refuse, .num = NUM, .stopped = true };
	struct dut *d = &self->d;

	if (variant->ring)
		setenv("VHL_TEST_RING", variant->ring, 1);
	ASSERT_EQ(0, dut_open(d, DUT_NET, &opts));
	ASSERT_EQ(0, dirty_move_rings(d));
	ASSERT_EQ(0, guest_add_memory(d->g, FAR, FAR_LEN));
	ASSERT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, dirty_open(&self->l, d, variant->skew));
	ASSERT_EQ(0, dut_start(d));
	/* the TAP copies the first one */
	ASSERT_EQ(0, dut_units(d, RX, 2));
}

FIXTURE_TEARDOWN(log)
{
	dut_close(&self->d);
	dirty_close(&self->l);
}

/*
 * Buffers, of @per segments each, and a packet of @len bytes with its header for the first of them.
 * What it is written to, and that it was used, should be marked.
 */
static int rx(struct dirty *l, unsigned char *frame, const struct guest_seg *seg, unsigned int n,
	      unsigned int per, uint32_t len)
{
	struct guest_queue *q = l->d->q[RX];
	static unsigned int seq;
	uint32_t left = len, used;
	void *token;
	int ret;

	for (unsigned int i = 0; i < n; i += per) {
		ret = gq_add(q, seg + i, 0, per, l);
		if (ret)
			return ret;
	}
	gq_publish(q);
	ret = gq_kick(q);
	make_frame(frame, len - NET_HDR, seq++, false);
	if (!ret)
		ret = dut_send(l->d, frame, len - NET_HDR);
	for (unsigned int i = 0; !ret && i < n && left; i++) {
		uint32_t part = seg[i].len < left ? seg[i].len : left;

		if (i % per == 0)
			dirty_want_chain(l, RX, 0);
		dirty_want(l, seg[i].gpa, part);
		left -= part;
		/* the last one that is needed of a buffer, or of all */
		if ((i + 1) % per && left)
			continue;
		ret = gq_wait(q, 5000);
		if (!ret)
			ret = gq_get(q, &token, &used);
	}
	return ret;
}

/* What is posted and not used goes with a new start. What that writes itself is behind it soon */
static int again(struct dirty *l)
{
	int ret = dirty_off(l);

	if (!ret)
		ret = dut_restart(l->d);
	sleep_ms(20);
	return ret ? ret : dirty_on(l);
}

/* A buffer in one page; its end, or its beginning, in another one; and only what was written */
TEST_F(log, buffers)
{
	uint64_t gpa = self->d.scratch[RX].gpa;
	struct guest_seg seg[] = {
		{ gpa + 100, 2000 }, { gpa + 4096, 2000 }, { gpa + 3 * 4096 - 1, 2000 },
		{ gpa + 4 * 4096 - NET_HDR - 60, 4000 }, { gpa + 5 * 4096 - NET_HDR - 59, 4000 },
		{ gpa + 7 * 4096 - NET_HDR, 16384 }, { FAR + 0x10000 - 100, 2000 }, { FAR, 200 },
		{ FAR + FAR_LEN - 2000, 2000 },
	};

	ASSERT_EQ(0, dirty_on(&self->l));
	for (unsigned int i = 0; i < sizeof(seg) / sizeof(seg[0]); i++) {
		EXPECT_EQ(0, rx(&self->l, self->frame, &seg[i], 1, 1, NET_HDR + 60));
		EXPECT_EQ(0, dirty_is(&self->l))
			TH_LOG("buffer %u", i);
	}
	/* no more than these */
	EXPECT_EQ(0, dirty_off(&self->l));
	EXPECT_EQ(0, rx(&self->l, self->frame, &seg[0], 1, 1, NET_HDR + 60));
	memset(self->l.want, 0, self->l.size);
	EXPECT_EQ(0, dirty_is(&self->l));
}

/* Chains of several segments, in a table where there are such, also across two regions */
TEST_F(log, segments)
{
	uint64_t gpa = self->d.scratch[RX].gpa, border;
	struct guest_seg seg[] = {
		{ gpa + 8 * 4096, 5 }, { gpa + 4096 - 1, 2 }, { gpa + 3 * 4096, 400 },
		{ gpa + 10 * 4096, 1000 }, { gpa + 12 * 4096, 4000 },
	};
	struct guest_seg over;

	ASSERT_EQ(0, guest_alloc_straddling(self->d.g, 1000, 1000, &border));
	over = (struct guest_seg){ border, 2000 };
	ASSERT_EQ(0, dirty_on(&self->l));
	for (uint32_t len = NET_HDR + 60; len < 1500; len += 97) {
		EXPECT_EQ(0, rx(&self->l, self->frame, seg, 5, 5, len));
		EXPECT_EQ(0, dirty_is(&self->l))
			TH_LOG("%u bytes", len);
		EXPECT_EQ(0, rx(&self->l, self->frame, &over, 1, 1, len));
		EXPECT_EQ(0, dirty_is(&self->l))
			TH_LOG("%u bytes over a border", len);
	}
}

/* A packet in several buffers; with one of them not all is needed */
TEST_F(log, mergeable)
{
	uint64_t gpa = self->d.scratch[RX].gpa;
	struct guest_seg seg[16];

	if (variant->refuse & BIT(VIRTIO_NET_F_MRG_RXBUF))
		SKIP(return, "buffers of their own here");
	ASSERT_EQ(0, dirty_on(&self->l));
	for (unsigned int per = 1; per <= 2; per++) {
		for (unsigned int i = 0; i < 16; i++)
			seg[i] = (struct guest_seg){ gpa + (15 - i) * 8192 + 4096 - 50, 100 };
		for (uint32_t len = NET_HDR + 60; len < 1500; len += 197) {
			ASSERT_EQ(0, again(&self->l));
			EXPECT_EQ(0, rx(&self->l, self->frame, seg, 16, per, len));
			EXPECT_EQ(0, dirty_is(&self->l))
				TH_LOG("%u bytes, %u segments a buffer", len, per);
		}
	}
}

/* All entries of the used ring, around its end; and it alone, without the buffers */
TEST_F_TIMEOUT(log, used_ring, 120)
{
	struct guest_seg seg = { self->d.scratch[RX].gpa, 4096 };

	ASSERT_EQ(0, dirty_base(&self->d, self->l.map));
	ASSERT_EQ(0, dirty_rings(&self->d, true));
	for (unsigned int i = 0; i < NUM + 10; i++) {
		ASSERT_EQ(0, rx(&self->l, self->frame, &seg, 1, 1, NET_HDR + 60));
		self->l.want[seg.gpa / LOG_PAGE / 8] &= ~(1 << seg.gpa / LOG_PAGE % 8);
		ASSERT_EQ(0, dirty_is(&self->l))
			TH_LOG("entry %u", i);
	}
	/* and the buffers without the ring */
	ASSERT_EQ(0, dirty_rings(&self->d, false));
	ASSERT_EQ(0, dirty_all(&self->d, true));
	EXPECT_EQ(0, rx(&self->l, self->frame, &seg, 1, 1, NET_HDR + 60));
	memset(self->l.want, 0, self->l.size);
	dirty_want(&self->l, seg.gpa, NET_HDR + 60);
	EXPECT_EQ(0, dirty_is(&self->l));
}

/* Several entries with one publication: over the border of two pages, around the end of the ring */
TEST_F(log, many_at_once)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[TX];
	uint32_t used;
	void *token;

	ASSERT_EQ(0, dirty_base(d, self->l.map));
	memset(d->scratch[TX].p, 0, SCRATCH_SIZE);
	ASSERT_EQ(0, dirty_rings(d, true));
	for (unsigned int i = 0; i < 3 * NUM / 50; i++) {
		for (unsigned int k = 0; k < 50; k++) {
			struct guest_seg seg = { d->scratch[TX].gpa, NET_HDR + 60 };

			ASSERT_EQ(0, gq_add(q, &seg, 1, 0, d));
			dirty_want_chain(&self->l, TX, k);
		}
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		for (unsigned int k = 0; k < 50; k++) {
			ASSERT_EQ(0, gq_wait(q, 5000));
			ASSERT_EQ(0, gq_get(q, &token, &used));
		}
		/* and asked for the next kick */
		dirty_want_event(&self->l, TX);
		ASSERT_EQ(0, dirty_is(&self->l))
			TH_LOG("batch %u", i);
		dut_forget(d);
	}
}

/* What asks for kicks, and for none: the event or the flags; first by a start, then by turns */
TEST_F(log, events)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, dirty_on(&self->l));
	ASSERT_EQ(0, dut_start(d));
	for (unsigned int qi = 0; qi < 2; qi++) {
		/* a start says something of its own in all formats, then nothing is in the ring */
		dirty_want_device(&self->l, qi, offsetof(struct vring_used, flags), sizeof(uint16_t));
		if (qi == TX)
			dirty_want_event(&self->l, qi);
	}
	EXPECT_EQ(0, dirty_is(&self->l));
	for (unsigned int i = 0; i < 5; i++) {
		dirty_want_chain(&self->l, TX, 0);
		ASSERT_EQ(0, dut_units(d, TX, 1));
		dirty_want_event(&self->l, TX);
		EXPECT_EQ(0, dirty_is(&self->l));
	}
}

/* Chains with nothing in them, far too long, outside of memory: none marks what is not written */
TEST_F(log, hostile)
{
	uint64_t gpa = self->d.scratch[RX].gpa;
	struct guest_region *r = &self->d.g->region[0];
	struct guest_queue *q = self->d.q[RX];
	struct guest_seg seg[200];

	ASSERT_EQ(0, dirty_on(&self->l));
	for (unsigned int i = 0; i < 200; i++)
		seg[i] = (struct guest_seg){ gpa + i / 25 * 4096, i % 50 == 49 ? 30 : 0 };
	EXPECT_EQ(0, rx(&self->l, self->frame, seg, 200, 200, NET_HDR + 60));
	EXPECT_EQ(0, dirty_is(&self->l));

	/* a gigabyte and more of the same memory */
	for (unsigned int i = 0; i < 200; i++)
		seg[i] = (struct guest_seg){ r->gpa, r->size };
	seg[0].gpa = gpa;
	seg[0].len = 4096;
	EXPECT_EQ(0, rx(&self->l, self->frame, seg, 200, 200, NET_HDR + 1000));
	EXPECT_EQ(0, dirty_is(&self->l));

	/* the first segments are there, the last is not: nothing was written */
	seg[1] = (struct guest_seg){ ~0ULL - 4096, 4096 };
	ASSERT_EQ(0, gq_add(q, seg, 0, 2, self));
	gq_publish(q);
	ASSERT_EQ(0, dut_poke(&self->d, RX));
	EXPECT_EQ(-EIO, gq_wait(q, 5000));
	EXPECT_EQ(1, dut_counter(&self->d, RX, "breaks"));
	EXPECT_EQ(0, dirty_is(&self->l));
}

/* A packet that faults half-way: what it was written to is marked, although no entry has it */
TEST_F(log, fault_half_way)
{
	struct guest_seg seg = { FAR + 4096 - 100, 4096 };
	struct dut *d = &self->d;

	ASSERT_EQ(0, dirty_on(&self->l));
	ASSERT_EQ(0, mprotect(guest_ptr(d->g, FAR + 4096, 4096), 4096, PROT_NONE));
	ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
	gq_publish(d->q[RX]);
	ASSERT_EQ(0, gq_kick(d->q[RX]));
	make_frame(self->frame, 1000, 1, false);
	ASSERT_EQ(0, dut_send(d, self->frame, 1000));
	for (unsigned int i = 0; i < 500 && dut_counter(d, RX, "errors") < 1; i++)
		sleep_ms(10);
	EXPECT_EQ(1, dut_counter(d, RX, "errors"));
	EXPECT_FALSE(gq_pending(d->q[RX]));
	ASSERT_EQ(0, mprotect(guest_ptr(d->g, FAR + 4096, 4096), 4096, PROT_READ | PROT_WRITE));
	dirty_want(&self->l, seg.gpa, NET_HDR + 1000);
	EXPECT_EQ(0, dirty_is(&self->l));
}

/* The VMM's bitmap goes while it is in use: nobody sees the marks, and that is all */
TEST_F(log, bitmap_unmapped)
{
	struct dut *d = &self->d;
	long before = locked_kb();

	ASSERT_EQ(0, dirty_on(&self->l));
	EXPECT_LT(before, locked_kb());
	dirty_close(&self->l);
	EXPECT_EQ(0, dut_units(d, RX, 20));
	EXPECT_EQ(0, dut_units(d, TX, 20));
	ASSERT_EQ(0, dirty_open(&self->l, d, 0));
	EXPECT_EQ(0, dirty_off(&self->l));
	EXPECT_EQ(before, locked_kb());
	EXPECT_EQ(0, dut_units(d, RX, 2));
	EXPECT_EQ(0, dirty_is(&self->l));
}

/* Only pages with bits of guest memory are pinned, whatever is between them */
TEST_F(log, pages)
{
	struct dut *d = &self->d;
	/* one for the low memory, two at the border, where a bitmap is not shifted away from it */
	long before = locked_kb();

	ASSERT_EQ(0, dirty_base(d, self->l.map));
	EXPECT_EQ(before + (variant->skew ? 2 : 3) * 4, locked_kb());
	ASSERT_EQ(0, dirty_all(d, true));
	/* another one in its place is charged alone */
	ASSERT_EQ(0, dirty_base(d, self->l.want));
	EXPECT_EQ(before + (variant->skew ? 2 : 3) * 4, locked_kb());
	ASSERT_EQ(0, dirty_all(d, false));
	EXPECT_EQ(before, locked_kb());
	ASSERT_EQ(0, dirty_base(d, self->l.map));
	ASSERT_EQ(0, dirty_base(d, NULL));
	EXPECT_EQ(before, locked_kb());
	ASSERT_EQ(0, dirty_on(&self->l));
	ASSERT_EQ(0, guest_stop(d->g));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_RESET_OWNER, NULL));
	EXPECT_EQ(0, locked_kb());
}

static uint64_t take(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* Is it signalled, in some time? */
static bool told(int fd)
{
	for (unsigned int i = 0; i < 200; i++) {
		if (take(fd))
			return true;
		sleep_ms(1);
	}
	return false;
}

/* The log's eventfd is signalled when something is marked, and not otherwise */
TEST_F(log, eventfd)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), none = -1, bad = 999;
	struct dut *d = &self->d;
	struct guest_seg seg = { FAR + 4096 - 100, 4096 };

	EXPECT_EQ(-EBADF, xioctl(d->g->fd, VHOST_SET_LOG_FD, &bad));
	EXPECT_EQ(-EINVAL, xioctl(d->g->fd, VHOST_SET_LOG_FD, &d->backend));
	EXPECT_EQ(-EFAULT, xioctl(d->g->fd, VHOST_SET_LOG_FD, NULL));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_LOG_FD, &fd));
	EXPECT_EQ(0, dut_units(d, RX, 2));
	EXPECT_FALSE(told(fd));
	/* buffers alone, then the ring alone */
	ASSERT_EQ(0, dirty_base(d, self->l.map));
	ASSERT_EQ(0, dirty_all(d, true));
	EXPECT_EQ(0, dut_units(d, RX, 1));
	EXPECT_TRUE(told(fd));
	EXPECT_EQ(0, dut_units(d, TX, 1));
	EXPECT_FALSE(told(fd));
	/* also what is written and goes back */
	ASSERT_EQ(0, mprotect(guest_ptr(d->g, FAR + 4096, 4096), 4096, PROT_NONE));
	ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
	gq_publish(d->q[RX]);
	ASSERT_EQ(0, gq_kick(d->q[RX]));
	make_frame(self->frame, 1000, 1, false);
	ASSERT_EQ(0, dut_send(d, self->frame, 1000));
	EXPECT_TRUE(told(fd));
	EXPECT_EQ(1, dut_counter(d, RX, "errors"));
	ASSERT_EQ(0, dut_restart(d));
	ASSERT_EQ(0, dirty_rings(d, true));
	take(fd);
	EXPECT_EQ(0, dut_units(d, TX, 1));
	EXPECT_TRUE(told(fd));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_LOG_FD, &none));
	EXPECT_EQ(0, dut_units(d, RX, 1));
	EXPECT_FALSE(told(fd));
	for (unsigned int i = 0; i < 1000; i++)
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_LOG_FD, &fd));
	close(fd);
}

TEST_HARNESS_MAIN
