// SPDX-License-Identifier: GPL-2.0
/*
 * The vhost-vDPA dialect: memory by messages, and what becomes of queues when it goes and comes.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

static int send_msg(int fd, int version, uint8_t type, uint64_t iova, uint64_t size, uint64_t uaddr,
		    uint8_t perm)
{
	struct vhost_iotlb_msg iotlb = {
		.type = type, .iova = iova, .size = size, .uaddr = uaddr, .perm = perm,
	};
	struct vhost_msg_v2 v2 = { .type = VHOST_IOTLB_MSG_V2, .iotlb = iotlb };
	struct vhost_msg v1 = { .type = VHOST_IOTLB_MSG, .iotlb = iotlb };
	ssize_t n = write(fd, version == 1 ? (void *)&v1 : (void *)&v2, sizeof(v2));

	return n < 0 ? -errno : n == sizeof(v2) ? 0 : -EIO;
}

#define RO	VHOST_ACCESS_RO
#define RW	VHOST_ACCESS_RW

static int update(int fd, uint64_t iova, uint64_t size, uint64_t uaddr, uint8_t perm)
{
	return send_msg(fd, 2, VHOST_IOTLB_UPDATE, iova, size, uaddr, perm);
}

static int invalidate(int fd, uint64_t iova, uint64_t size)
{
	return send_msg(fd, 2, VHOST_IOTLB_INVALIDATE, iova, size, 0, 0);
}

static unsigned int regions_of(int fd)
{
	struct dev_info info;

	return get_info(fd, &info) ? ~0U : info.regions;
}

FIXTURE(msg) {
	int fd;
};

FIXTURE_SETUP(msg)
{
	self->fd = xopen(NODE_VDPA);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
}

FIXTURE_TEARDOWN(msg)
{
	close(self->fd);
}

TEST_F(msg, sizes_of_write)
{
	unsigned char buf[4096] = { VHOST_IOTLB_MSG_V2 };
	static const size_t sizes[] = { 1, 4, 8, 40, 71, 73, 80, 144, 4096 };
	struct vhost_msg_v2 *m = (void *)buf;
	struct iovec iov[3] = { { buf, 10 }, { buf + 10, 50 }, { buf + 60, 12 } };

	m->iotlb = (struct vhost_iotlb_msg){
		.type = VHOST_IOTLB_UPDATE, .iova = 0x1000, .size = 0x1000, .uaddr = 0x10000,
		.perm = RW,
	};
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		EXPECT_EQ(-1, write(self->fd, buf, sizes[i]))
			TH_LOG("%zu bytes", sizes[i]);
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(0, regions_of(self->fd));
	EXPECT_EQ(-1, write(self->fd, (void *)KERNEL_ADDR, 72));
	EXPECT_EQ(EFAULT, errno);
	/* in pieces is fine, as it is one write */
	EXPECT_EQ(72, writev(self->fd, iov, 3));
	EXPECT_EQ(1, regions_of(self->fd));
	EXPECT_EQ(-1, read(self->fd, buf, 72));
}

TEST_F(msg, types)
{
	struct vhost_msg_v2 m = { 0 };

	for (uint32_t type = 0; type < 10; type++) {
		m.type = type;
		m.iotlb.type = VHOST_IOTLB_INVALIDATE;
		m.iotlb.size = 1;
		if (type == VHOST_IOTLB_MSG || type == VHOST_IOTLB_MSG_V2) {
			EXPECT_EQ(72, write(self->fd, &m, 72));
		} else {
			EXPECT_EQ(-1, write(self->fd, &m, 72));
			EXPECT_EQ(EINVAL, errno);
		}
	}
	for (unsigned int type = 0; type < 256; type++) {
		int ret = send_msg(self->fd, 2, type, 0x1000, 0x1000, 0x10000, RW);
		bool known = type == VHOST_IOTLB_UPDATE || type == VHOST_IOTLB_INVALIDATE ||
			     type == VHOST_IOTLB_BATCH_BEGIN || type == VHOST_IOTLB_BATCH_END;

		EXPECT_EQ(known ? 0 : -EINVAL, ret)
			TH_LOG("type %u", type);
	}
}

TEST_F(msg, both_versions)
{
	for (int version = 1; version <= 2; version++) {
		EXPECT_EQ(0, send_msg(self->fd, version, VHOST_IOTLB_UPDATE, 0x1000, 0x1000, 0x10000,
				      RW));
		EXPECT_EQ(1, regions_of(self->fd));
		EXPECT_EQ(0, send_msg(self->fd, version, VHOST_IOTLB_INVALIDATE, 0x1000, 0x1000, 0,
				      0));
		EXPECT_EQ(0, regions_of(self->fd));
	}
}

/* CVE-2026-74713: the full range, wraps, and sizes of nothing */
TEST_F(msg, bad_ranges)
{
	static const struct {
		const char *what;
		uint64_t iova, size, uaddr;
		uint8_t perm;
		int ret;
	} t[] = {
		{ "usual", 0x1000, 0x1000, 0x10000, RW, 0 },
		{ "one byte", 0x1000, 1, 0x10000, RO, 0 },
		{ "to be written only", 0x1000, 0x1000, 0x10000, VHOST_ACCESS_WO, 0 },
		{ "not aligned", 0x1234, 0x777, 0x10011, RW, 0 },
		{ "last page", ~0xfffULL, 0x1000, 0x10000, RW, 0 },
		{ "no permission", 0x1000, 0x1000, 0x10000, 0, -EINVAL },
		{ "unknown permission", 0x1000, 0x1000, 0x10000, 4, -EINVAL },
		{ "all permissions", 0x1000, 0x1000, 0x10000, 0xff, -EINVAL },
		{ "empty", 0x1000, 0, 0x10000, RW, -EINVAL },
		{ "empty at 0", 0, 0, 0x10000, RW, -EINVAL },
		{ "wraps", ~0xfffULL, 0x1001, 0x10000, RW, -EINVAL },
		{ "wraps by far", 0x1000, ~0ULL, 0x10000, RW, -EINVAL },
		{ "everything but a byte", 0, ~0ULL, 0, RW, -EINVAL },
		{ "the kernel's memory", 0x1000, 0x1000, KERNEL_ADDR, RW, -EINVAL },
		{ "into the kernel's memory", 0x1000, 1ULL << 63, 0x10000, RW, -EINVAL },
		{ "uaddr wraps", 0x1000, 0x2000, ~0xfffULL, RW, -EINVAL },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		EXPECT_EQ(t[i].ret, update(self->fd, t[i].iova, t[i].size, t[i].uaddr, t[i].perm))
			TH_LOG("%s", t[i].what);
		EXPECT_EQ(!t[i].ret, regions_of(self->fd))
			TH_LOG("%s", t[i].what);
		/* all but the last byte, then that; as DPDK clears the table */
		EXPECT_EQ(0, invalidate(self->fd, 0, ~0ULL));
		EXPECT_EQ(0, invalidate(self->fd, ~0ULL, 1));
		EXPECT_EQ(0, regions_of(self->fd));
	}
	EXPECT_EQ(-EINVAL, invalidate(self->fd, 0x1000, 0));
	EXPECT_EQ(-EINVAL, invalidate(self->fd, ~0xfffULL, 0x1001));
	EXPECT_EQ(-EINVAL, invalidate(self->fd, 2, ~0ULL));
}

TEST_F(msg, overlap)
{
	ASSERT_EQ(0, update(self->fd, 0x10000, 0x4000, 0x100000, RW));
	EXPECT_EQ(-EEXIST, update(self->fd, 0x10000, 0x4000, 0x100000, RW));
	EXPECT_EQ(-EEXIST, update(self->fd, 0x10000, 1, 0x100000, RO));
	EXPECT_EQ(-EEXIST, update(self->fd, 0x13fff, 1, 0x100000, RW));
	EXPECT_EQ(-EEXIST, update(self->fd, 0xf000, 0x1001, 0x100000, RW));
	EXPECT_EQ(-EEXIST, update(self->fd, 0, 1 << 30, 0x100000, RW));
	EXPECT_EQ(1, regions_of(self->fd));
	EXPECT_EQ(0, update(self->fd, 0xf000, 0x1000, 0x100000, RW));
	EXPECT_EQ(0, update(self->fd, 0x14000, 0x1000, 0x100000, RW));
	EXPECT_EQ(3, regions_of(self->fd));
	/* every mapping that is touched goes */
	EXPECT_EQ(0, invalidate(self->fd, 0x10fff, 1));
	EXPECT_EQ(2, regions_of(self->fd));
	EXPECT_EQ(0, invalidate(self->fd, 0xffff, 0x4002));
	EXPECT_EQ(0, regions_of(self->fd));
	EXPECT_EQ(0, invalidate(self->fd, 0x10000, 0x1000));
}

TEST_F_TIMEOUT(msg, as_many_as_allowed, 120)
{
	unsigned int max = max_regions(), n;
	int ret = 0;

	ASSERT_LT(0, max);
	for (n = 0; !ret && n <= max; n++)
		ret = update(self->fd, n * 0x2000ULL, 0x1000, 0x10000, RW);
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(max + 1, n);
	EXPECT_EQ(max, regions_of(self->fd));
	/* a reset drops them, and there is room again */
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_SET_STATUS, "\0"));
	EXPECT_EQ(0, regions_of(self->fd));
	EXPECT_EQ(0, update(self->fd, 0, 0x1000, 0x10000, RW));
}

/* With queues that run */

FIXTURE(run) {
	struct dut d;
	int fd;
};

FIXTURE_SETUP(run)
{
	ASSERT_EQ(0, dut_open(&self->d, DUT_VDPA, NULL));
	self->fd = self->d.g->fd;
	ASSERT_EQ(0, dut_units(&self->d, 0, 2));
	ASSERT_EQ(0, dut_units(&self->d, 1, 2));
}

FIXTURE_TEARDOWN(run)
{
	dut_close(&self->d);
}

static struct guest_region *region_of(struct dut *d, const void *p)
{
	for (unsigned int i = 0; i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];

		if ((unsigned char *)p >= r->hva && (unsigned char *)p < r->hva + r->size)
			return r;
	}
	return NULL;
}

static int remap(struct dut *d, struct guest_region *r)
{
	return update(d->g->fd, r->gpa, r->size, (uintptr_t)r->hva, r->perm);
}

/* Each area of the ring in turn; the queue goes on exactly where it was */
TEST_F(run, ring_is_unmapped)
{
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < 3; i++) {
		struct guest_region *r = region_of(d, gq_area(d->q[1], i));
		int64_t breaks = dut_counter(d, 1, "breaks");

		ASSERT_EQ(0, invalidate(self->fd, r->gpa + r->size / 2, 1));
		EXPECT_TRUE(queue_is(self->fd, 1, "unmapped"));
		/* it is asked to run all the same */
		ASSERT_EQ(0, gq_kick(d->q[1]));
		EXPECT_EQ(d->q[1]->used_next, gq_used_idx(d->q[1]));
		ASSERT_EQ(0, remap(d, r));
		EXPECT_TRUE(queue_is(self->fd, 1, "running"));
		EXPECT_TRUE(queue_is(self->fd, 0, "running"));
		EXPECT_EQ(0, dut_units(d, 0, 2));
		EXPECT_EQ(0, dut_units(d, 1, 2));
		EXPECT_EQ(breaks, dut_counter(d, 1, "breaks"));
	}
}

/* What was made available while the ring was not mapped is served when it is */
TEST_F(run, work_while_unmapped)
{
	struct virtio_blk_outhdr flush = { .type = htole32(VIRTIO_BLK_T_FLUSH) };
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[1];
	struct guest_seg seg[] = {
		{ d->scratch[1].gpa, sizeof(flush) }, { d->scratch[1].gpa + SCRATCH_STATUS, 1 },
	};
	struct guest_region *r = region_of(d, gq_area(q, 1));
	uint32_t len;
	void *token;

	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	memcpy(d->scratch[1].p, &flush, sizeof(flush));
	ASSERT_EQ(0, gq_add(q, seg, 1, 1, d));
	gq_publish(q);
	ASSERT_EQ(0, gq_kick(q));
	EXPECT_EQ(-ETIMEDOUT, gq_wait(q, 100));
	ASSERT_EQ(0, remap(d, r));
	EXPECT_EQ(0, gq_wait(q, 5000));
	EXPECT_EQ(0, gq_get(q, &token, &len));
}

/* A flush on queue 1 whose buffers are in a region of their own, the last that was looked up */
static int flush_from(struct dut *d, struct guest_region *r)
{
	struct virtio_blk_outhdr flush = { .type = htole32(VIRTIO_BLK_T_FLUSH) };
	struct guest_seg seg[] = { { r->gpa, sizeof(flush) }, { r->gpa + 64, 1 } };
	int ret;

	memcpy(r->hva, &flush, sizeof(flush));
	r->hva[64] = 0xaa;
	ret = gq_add(d->q[1], seg, 1, 1, d);
	gq_publish(d->q[1]);
	return ret ? ret : gq_kick(d->q[1]);
}

static int flushed(struct dut *d, struct guest_region *r)
{
	uint32_t len;
	void *token;

	return gq_wait(d->q[1], 5000) ?: gq_get(d->q[1], &token, &len) ?: r->hva[64];
}

/* The @i-th region of its own */
static struct guest_region *another_region(struct dut *d, unsigned int i)
{
	if (guest_add_memory(d->g, (1ULL << 40) + i * 8192, 4096))
		return NULL;
	return remap(d, &d->g->region[d->g->nregions - 1]) ? NULL :
	       &d->g->region[d->g->nregions - 1];
}

static struct guest_region *own_region(struct dut *d)
{
	return another_region(d, 0);
}

/* After an invalidation nothing is read or written there, found before or not */
TEST_F(run, buffers_are_unmapped)
{
	struct dut *d = &self->d;
	struct guest_region *r = own_region(d);

	ASSERT_NE(NULL, r);
	/* nothing else is looked up in between, such as a table */
	d->q[1]->indirect = false;
	ASSERT_EQ(0, flush_from(d, r));
	EXPECT_EQ(0, flushed(d, r));
	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	ASSERT_EQ(0, flush_from(d, r));
	EXPECT_TRUE(wait_queue_is(self->fd, 1, "broken", 5000));
	EXPECT_FALSE(gq_pending(d->q[1]));
	EXPECT_EQ(0xaa, r->hva[64]);
	EXPECT_EQ(0, dut_units(d, 0, 2));
}

/* Nor is it where all of many regions were found before, and others since */
TEST_F(run, buffers_in_many_regions)
{
	struct guest_region *r[100], *own, moved;
	struct dut *d = &self->d;

	d->q[1]->indirect = false;
	for (unsigned int i = 0; i < 100; i++) {
		r[i] = another_region(d, i);
		ASSERT_NE(NULL, r[i]);
	}
	for (unsigned int i = 0; i < 200; i++) {
		ASSERT_EQ(0, flush_from(d, r[i % 100]));
		ASSERT_EQ(0, flushed(d, r[i % 100]));
	}
	/* the address of one is that of another's memory now */
	own = r[42];
	moved = *own;
	moved.hva = r[7]->hva;
	ASSERT_EQ(0, invalidate(self->fd, own->gpa, own->size));
	ASSERT_EQ(0, remap(d, &moved));
	own->hva[64] = 0xaa;
	ASSERT_EQ(0, flush_from(d, &moved));
	EXPECT_EQ(0, flushed(d, &moved));
	EXPECT_EQ(0xaa, own->hva[64]);
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));

	ASSERT_EQ(0, invalidate(self->fd, r[9]->gpa, r[9]->size));
	ASSERT_EQ(0, flush_from(d, r[10]));
	EXPECT_EQ(0, flushed(d, r[10]));
	ASSERT_EQ(0, flush_from(d, r[9]));
	EXPECT_TRUE(wait_queue_is(self->fd, 1, "broken", 5000));
	EXPECT_EQ(0xaa, r[9]->hva[64]);
}

/* Between the two ends of a batch memory may be missing: no turn sees that */
TEST_F(run, work_in_batch)
{
	struct dut *d = &self->d;
	struct guest_region *r = own_region(d);

	ASSERT_NE(NULL, r);
	ASSERT_EQ(0, flush_from(d, r));
	EXPECT_EQ(0, flushed(d, r));
	ASSERT_EQ(0, send_msg(self->fd, 2, VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0));
	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	ASSERT_EQ(0, flush_from(d, r));
	EXPECT_EQ(-ETIMEDOUT, gq_wait(d->q[1], 100));
	ASSERT_EQ(0, remap(d, r));
	EXPECT_EQ(-ETIMEDOUT, gq_wait(d->q[1], 100));
	ASSERT_EQ(0, send_msg(self->fd, 2, VHOST_IOTLB_BATCH_END, 0, 0, 0, 0));
	EXPECT_EQ(0, flushed(d, r));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
}

/* The device writes to no ring that it may only read */
TEST_F(run, permission_of_ring)
{
	struct dut *d = &self->d;
	struct guest_region *r = region_of(d, gq_area(d->q[1], 2));

	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	ASSERT_EQ(0, update(self->fd, r->gpa, r->size, (uintptr_t)r->hva, RO));
	EXPECT_TRUE(queue_is(self->fd, 1, "unmapped"));
	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	ASSERT_EQ(0, update(self->fd, r->gpa, r->size, (uintptr_t)r->hva, RW));
	EXPECT_TRUE(queue_is(self->fd, 1, "running"));
	EXPECT_EQ(0, dut_units(d, 1, 2));
}

/* A permission that is not enough is no mapping: of buffers */
TEST_F(run, permissions)
{
	struct dut *d = &self->d;
	struct guest_region *r = region_of(d, d->scratch[1].p);

	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	ASSERT_EQ(0, update(self->fd, r->gpa, r->size, (uintptr_t)r->hva, RO));
	r = region_of(d, gq_area(d->q[1], 2));
	if (r == region_of(d, d->scratch[1].p)) {
		EXPECT_TRUE(queue_is(self->fd, 1, "unmapped"));
		return;
	}
	d->timeout_ms = 5000;
	d->quiet = true;
	/* the status byte cannot be written */
	EXPECT_EQ(-EIO, dut_unit(d, 1));
	EXPECT_TRUE(queue_is(self->fd, 1, "broken"));
	d->timeout_ms = 20000;
	d->quiet = false;
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_units(d, 1, 2));
}

TEST_F(run, ring_behind_other_offset_or_end)
{
	struct dut *d = &self->d;
	struct guest_region *r = region_of(d, gq_area(d->q[1], 0));
	uint64_t end;

	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	/* a page cannot be mapped shifted */
	ASSERT_EQ(0, update(self->fd, r->gpa, r->size - 64, (uintptr_t)r->hva + 64, RW));
	EXPECT_TRUE(queue_is(self->fd, 1, "unmapped"));
	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	/* nor is what is behind the end of a region in the same page */
	end = r->gpa + ((unsigned char *)gq_area(d->q[1], 0) - r->hva) + 24;
	ASSERT_EQ(0, update(self->fd, r->gpa, end - r->gpa, (uintptr_t)r->hva, RW));
	EXPECT_TRUE(queue_is(self->fd, 1, "unmapped"));
	ASSERT_EQ(0, invalidate(self->fd, r->gpa, r->size));
	ASSERT_EQ(0, remap(d, r));
	EXPECT_TRUE(queue_is(self->fd, 1, "running"));
	EXPECT_EQ(0, dut_units(d, 1, 2));
}

/* Everything goes and comes in batches, as when a guest's memory changes, under traffic */
TEST_F_TIMEOUT(run, moved_in_batches, 120)
{
	struct dut *d = &self->d;
	struct mover a, b;

	ASSERT_EQ(0, mover_start(&a, d, 0));
	ASSERT_EQ(0, mover_start(&b, d, 1));
	for (unsigned int i = 0; i < many(300); i++) {
		ASSERT_EQ(0, send_msg(self->fd, 2, VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0));
		ASSERT_EQ(0, invalidate(self->fd, 0, ~0ULL));
		for (unsigned int k = 0; k < d->g->nregions; k++) {
			ASSERT_EQ(0, remap(d, &d->g->region[k]));
		}
		ASSERT_EQ(0, send_msg(self->fd, 2, VHOST_IOTLB_BATCH_END, 0, 0, 0, 0));
		if (i % 8 == 0)
			sleep_ms(1);
	}
	EXPECT_EQ(0, mover_stop(&a));
	EXPECT_EQ(0, mover_stop(&b));
	EXPECT_LT(5, a.done);
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
}

/* A batch without an end does not keep a stop, nor a close */
TEST_F(run, batch_without_end)
{
	ASSERT_EQ(0, send_msg(self->fd, 2, VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0));
	ASSERT_EQ(0, gq_kick(self->d.q[1]));
	ASSERT_EQ(0, dut_restart(&self->d));
	/* and a reset ends it */
	EXPECT_EQ(0, dut_units(&self->d, 1, 2));
	ASSERT_EQ(0, send_msg(self->fd, 2, VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0));
	ASSERT_EQ(0, gq_kick(self->d.q[1]));
}

TEST_F(run, reset_drops_maps)
{
	EXPECT_LT(0, regions_of(self->fd));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_VDPA_SET_STATUS, "\0"));
	EXPECT_EQ(0, regions_of(self->fd));
	EXPECT_EQ(0, locked_kb());
	EXPECT_TRUE(queue_is(self->fd, 0, "stopped"));
}

TEST_HARNESS_MAIN
