// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that rewrites what the device reads, while it reads it: descriptors, indirect tables,
 * headers, the avail ring and its index.  Whatever is checked has to be what is used (DPDK
 * CVE-2020-14374 to 14378, CVE-2024-11614).  Every chain ends up served, or the queue broken.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define W	VRING_DESC_F_WRITE
#define N	VRING_DESC_F_NEXT
#define I	VRING_DESC_F_INDIRECT

struct flipper {
	struct dut *d;
	unsigned int qi;
	bool ring;			/* also what breaks the queue for certain, sooner or later */
	bool ranges;			/* requests that name ranges: these, too */
	uint64_t table;
	atomic_bool stop;
	atomic_uint flips;
	uint32_t seed;
};

static uint32_t next_random(struct flipper *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 17;
	f->seed ^= f->seed << 5;
	return f->seed;
}

/* Another value, for an instant */
static void flip(volatile unsigned char *p, unsigned int size, uint64_t value, unsigned int spin)
{
	uint64_t old = 0;

	memcpy(&old, (void *)p, size);
	memcpy((void *)p, &value, size);
	/* with one processor the device sees it only if this thread gives way now */
	if (spin % 8 == 0)
		sched_yield();
	for (volatile unsigned int i = 0; i < spin; i++)
		;
	memcpy((void *)p, &old, size);
}

static void *flip_all(void *arg)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 32, 63, 64, 65, 0x100, 0x1000, 0x7fff, 0x8000,
		0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, ~0ULL, ~0ULL << 12,
		0x40000000,
	};
	struct flipper *f = arg;
	struct guest_queue *q = f->d->q[f->qi];
	struct scratch *l = &f->d->scratch[f->qi];
	unsigned char *table = guest_ptr(f->d->g, f->table, 256);
	/* address and length are at the same places in both formats */
	struct vring_desc *desc = gq_area(q, 0);
	unsigned int flags_at = q->packed ? 14 : 12;
	/* of a packed ring flags and ids tell the driver what was used: it would go wrong itself */
	unsigned int kinds = !f->ring ? 5 : q->packed ? 7 : 8;

	while (!atomic_load(&f->stop)) {
		uint32_t r = next_random(f);
		uint64_t v = values[r % (sizeof(values) / sizeof(values[0]))];
		unsigned int i = (r >> 8) % 8, spin = (r >> 12) % 200;

		switch ((r >> 20) % kinds) {
		case 0:
		case 1:
			/* a header, and what is behind it */
			flip(l->p + (r >> 26) % (f->ranges ? 32 : 16), 1 + i % 4, v, spin);
			break;
		case 2:
			flip(table + i * 16 + 8, 4, v, spin);
			break;
		case 3:
			flip((void *)&desc[i].len, 4, v, spin);
			break;
		case 4:
			/* other good memory */
			flip((void *)&desc[i].addr, 8, l->gpa + SCRATCH_FREE + (r & 0xfff), spin);
			break;
		case 5:
			if (!q->packed)
				flip((void *)&desc[i].flags, 2, v & 7, spin);
			flip(table + i * 16 + flags_at, 2, v & 7, spin);
			break;
		case 6:
			flip((void *)&desc[i].addr, 8, v, spin);
			flip(table + i * 16, 8, v, spin);
			if (!q->packed)
				flip((void *)&desc[i].next, 2, v, spin);
			break;
		case 7:
			if (i < 6)
				flip((void *)&q->avail->ring[(r >> 4) % q->num], 2, v, spin);
			else
				flip((void *)&q->avail->idx, 2, v, spin);
			break;
		}
		atomic_fetch_add(&f->flips, 1);
		if ((r & 15) == 0)
			sched_yield();
	}
	return NULL;
}

FIXTURE(flip) {
	struct dut d;
};

FIXTURE_VARIANT(flip) {
	enum dut_kind kind;
	unsigned int qi;
	bool ring, ranges;
};

FIXTURE_VARIANT_ADD(flip, tx_contents) {
	.kind = DUT_NET,
	.qi = TX,
};

FIXTURE_VARIANT_ADD(flip, tx_ring) {
	.kind = DUT_NET,
	.qi = TX,
	.ring = true,
};

FIXTURE_VARIANT_ADD(flip, rx_contents) {
	.kind = DUT_NET,
	.qi = RX,
};

FIXTURE_VARIANT_ADD(flip, rx_ring) {
	.kind = DUT_NET,
	.qi = RX,
	.ring = true,
};

FIXTURE_VARIANT_ADD(flip, blk_contents) {
	.kind = DUT_BLK,
	.qi = 0,
};

FIXTURE_VARIANT_ADD(flip, blk_ring) {
	.kind = DUT_BLK,
	.qi = 0,
	.ring = true,
};

FIXTURE_VARIANT_ADD(flip, blk_ranges) {
	.kind = DUT_BLK,
	.qi = 0,
	.ranges = true,
};

FIXTURE_VARIANT_ADD(flip, vdpa_ring) {
	.kind = DUT_VDPA,
	.qi = 0,
	.ring = true,
};

FIXTURE_SETUP(flip)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &(struct dut_opts){ .early = variant->ranges }));
}

FIXTURE_TEARDOWN(flip)
{
	dut_close(&self->d);
}

/* Descriptors 0 to 7 of the queue, and a table that every other one of them leads to */
static void write_ring(struct flipper *f)
{
	struct dut *d = f->d;
	struct guest_queue *q = d->q[f->qi];
	struct scratch *l = &d->scratch[f->qi];

	memset(l->p, 0, 64);
	if (d->kind != DUT_NET) {
		struct virtio_blk_outhdr hdr = {
			.type = htole32(f->ranges ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_IN),
		};
		struct virtio_blk_discard_write_zeroes seg = {
			.num_sectors = htole32(8),
			.flags = htole32(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
		};
		uint64_t data = l->gpa + (f->ranges ? sizeof(hdr) : SCRATCH_DATA);
		uint32_t len = f->ranges ? sizeof(seg) : 512;
		uint16_t flags = f->ranges ? N : W | N;

		memcpy(l->p, &hdr, sizeof(hdr));
		if (f->ranges)
			memcpy(l->p + sizeof(hdr), &seg, sizeof(seg));
		gq_table(d->g, f->table, 0, l->gpa, 16, N, 1);
		gq_table(d->g, f->table, 1, data, len, flags, 2);
		gq_table(d->g, f->table, 2, l->gpa + SCRATCH_STATUS, 1, W, 0);
		gq_desc(q, 0, l->gpa, 16, N, 1);
		gq_desc(q, 1, data, len, flags, 2);
		gq_desc(q, 2, l->gpa + SCRATCH_STATUS, 1, W, 0);
		gq_desc(q, 3, f->table, 48, I, 0);
		gq_desc(q, 4, f->table, 48, I, 0);
		gq_desc(q, 5, l->gpa, 16, N, 6);
		gq_desc(q, 6, l->gpa + SCRATCH_STATUS, 1, W, 0);
	} else {
		uint16_t dir = f->qi == RX ? W : 0;

		make_frame(l->p + SCRATCH_DATA, 100, 1, true);
		gq_table(d->g, f->table, 0, l->gpa, NET_HDR, dir | N, 1);
		gq_table(d->g, f->table, 1, l->gpa + SCRATCH_DATA, 100, dir, 0);
		gq_desc(q, 0, l->gpa, NET_HDR, dir | N, 1);
		gq_desc(q, 1, l->gpa + SCRATCH_DATA, 100, dir | N, 2);
		gq_desc(q, 2, l->gpa + SCRATCH_DATA + 100, 100, dir, 0);
		gq_desc(q, 3, f->table, 32, I, 0);
		gq_desc(q, 4, f->table, 32, I, 0);
		gq_desc(q, 5, l->gpa, NET_HDR, dir | N, 6);
		gq_desc(q, 6, l->gpa + SCRATCH_DATA, 100, dir, 0);
	}
}

TEST_F_TIMEOUT(flip, rewritten_while_read, 180)
{
	static const uint16_t heads[] = { 0, 3, 4, 5 };
	struct dut *d = &self->d;
	struct flipper f = {
		.d = d,
		.qi = variant->qi,
		.ring = variant->ring,
		.ranges = variant->ranges,
		.table = d->scratch[variant->qi].gpa + SCRATCH_FREE + 64 * 1024,
		.seed = 12345,
	};
	struct guest_queue *q = d->q[variant->qi];
	unsigned int n = many(variant->ring ? 6000 : 20000), broken = 0, served = 0;
	unsigned char frame[100];
	int64_t limit = now_ms() + many(2500);
	pthread_t thread;
	uint32_t id, len;

	make_frame(frame, sizeof(frame), 1, false);
	write_ring(&f);
	ASSERT_EQ(0, pthread_create(&thread, NULL, flip_all, &f));
	for (unsigned int i = 0; i < n && now_ms() < limit;) {
		int64_t end = now_ms() + 5000;
		unsigned int batch = 4;
		uint16_t want;

		if (variant->qi == RX && variant->kind == DUT_NET) {
			for (unsigned int k = 0; k < batch; k++)
				dut_send(d, frame, sizeof(frame));
		}
		want = gq_used_idx(q) + batch;
		for (unsigned int k = 0; k < batch; k++)
			gq_push(q, heads[k]);
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		while (gq_used_idx(q) != want && !gq_error(q)) {
			/* it may run ahead only by what an avail index that is flipped makes available */
			ASSERT_TRUE((uint16_t)(want - gq_used_idx(q)) <= batch ||
				    (f.ring && (uint16_t)(gq_used_idx(q) - want) <= q->num))
				TH_LOG("used index %u, want %u", gq_used_idx(q), want);
			/* packets that were dropped left their buffers: there is nothing to wait for */
			if (variant->kind == DUT_NET && variant->qi == RX &&
			    dut_send(d, frame, sizeof(frame)))
				break;
			/* the avail index that was flipped may be what is there now */
			ASSERT_EQ(0, gq_kick(q));
			ASSERT_GT(end, now_ms())
				TH_LOG("%u chains not served, and the queue is not broken",
				       (uint16_t)(want - gq_used_idx(q)));
			sched_yield();
		}
		i += batch;
		/* nobody looks at them, but what is used has to be behind the driver before it is again */
		while (!gq_pop(q, &id, &len))
			;
		if (!gq_error(q)) {
			served++;
			continue;
		}
		broken++;
		ASSERT_TRUE(queue_is(d->g->fd, variant->qi, "broken"));
		ASSERT_EQ(broken, dut_counter(d, variant->qi, "breaks"));
		atomic_store(&f.stop, true);
		pthread_join(thread, NULL);
		ASSERT_EQ(0, dut_restart(d));
		write_ring(&f);
		atomic_store(&f.stop, false);
		ASSERT_EQ(0, pthread_create(&thread, NULL, flip_all, &f));
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	TH_LOG("%u batches served, %u times broken, %u flips", served, broken, f.flips);
	/* it did try */
	EXPECT_LT(100, f.flips);
	EXPECT_LT(0, served);
	EXPECT_EQ(0, dut_units(d, !variant->qi, 3));
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_units(d, variant->qi, 3));
}

TEST_HARNESS_MAIN
