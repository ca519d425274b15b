// SPDX-License-Identifier: GPL-2.0
/* Indirect tables (virtio 1.2, sections 2.7.5.3 and 2.8.7) */
#include <stdlib.h>

#include <linux/kernel.h>

#include "driver.h"

#define TABLE	(RAM + 0x40000)
#define DESC	sizeof(struct vhl_table_desc)

/* Enough that the table is read in several pieces */
static const unsigned int sizes[] = { 1, 2, 31, 32, 33, 63, 64, 65, 1023, 1024 };

static struct buf *make_bufs(unsigned int n)
{
	struct buf *bufs = calloc(n, sizeof(*bufs));
	unsigned int i;

	if (!bufs)
		abort();
	for (i = 0; i < n; i++)
		bufs[i] = (struct buf){ RAM + 32 * i, 1 + i % 30, i >= n / 3 };
	return bufs;
}

TEST(indirect)
{
	struct buf *bufs = make_bufs(6);
	struct rig *r = rig_new(4, 65535, 0);
	unsigned int i;

	/* more buffers than the ring has descriptors */
	drv_indirect(r, 2, TABLE, bufs, 6);
	for (i = 0; i < 10; i++) {
		drv_post(r, 2);
		TAKE(r, 2, bufs, 6);
	}
	CHECK_EQ(r->guest.copies, 60);
	free(bufs);
	rig_free(r);
}

TEST(indirect_sizes)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int n = sizes[i];
		struct buf *bufs = make_bufs(n);
		struct rig *r = rig_new(4, 0, 0);

		drv_indirect(r, 0, TABLE, bufs, n);
		drv_post(r, 0);
		if (!TAKE(r, 0, bufs, n))
			tap_diag("table of %u", n);
		/* each descriptor is read once */
		CHECK_EQ(r->guest.copies, n);
		free(bufs);
		rig_free(r);
	}
}

/* A table that ends with its memory: nothing behind it is read */
TEST(indirect_at_the_end_of_memory)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int n = sizes[i];
		struct buf *bufs = make_bufs(n);
		struct rig *r = rig_new(4, 0, 0);

		guest_add(&r->guest, HI, n * DESC, VHL_MEM_READ);
		drv_indirect(r, 0, HI, bufs, n);
		drv_post(r, 0);
		TAKE(r, 0, bufs, n);
		free(bufs);
		rig_free(r);
	}
}

TEST(indirect_table_spans_regions)
{
	/* the border in the middle of a descriptor, between two, and at a border of parts */
	static const unsigned int first[] = { 1, 8, 16, 24, 31 * 16, 32 * 16, 33 * 16 + 12, 63 * 16 };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(first); i++) {
		struct buf *bufs = make_bufs(64);
		struct rig *r = rig_new(4, 0, 0);
		const u8 *from = guest_ptr(&r->guest, TABLE, 64 * DESC);
		u8 *a = guest_add(&r->guest, HI, first[i], RW);
		u8 *b = guest_add(&r->guest, HI + first[i], 64 * DESC - first[i], RW);

		drv_indirect(r, 0, TABLE, bufs, 64);
		for (j = 0; j < 64 * DESC; j++)
			*(j < first[i] ? &a[j] : &b[j - first[i]]) = from[j];
		drv_post_table(r, HI, 64 * DESC, 0, 0);
		TAKE(r, 0, bufs, 64);
		free(bufs);
		rig_free(r);
	}
}

TEST(indirect_table_unaligned)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { RAM + 3, 5, true };
	struct vhl_table_desc d;
	unsigned int i;
	u8 *p = guest_ptr(&r->guest, TABLE + 1, DESC);

	table_set(&d, b.addr, b.len, F_WRITE, 0);
	for (i = 0; i < DESC; i++)
		p[i] = ((u8 *)&d)[i];
	drv_post_table(r, TABLE + 1, DESC, 0, 0);
	TAKE(r, 0, &b, 1);
	rig_free(r);
}

TEST(indirect_len)
{
	static const u32 lens[] = { 0, 1, 8, 15, 17, 31, 33, 0xffffffff, 0xfffffff1 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		struct rig *r = rig_new(4, 65535, 0);
		const struct buf b = { RAM, 1, false };

		drv_indirect(r, 0, TABLE, &b, 1);
		drv_post_table(r, TABLE, lens[i], 0, 0);
		FAULT(r, VHL_FAULT_INDIRECT_LEN);
		rig_free(r);
	}
}

TEST(indirect_with_next)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { RAM, 1, false };

	drv_indirect(r, 0, TABLE, &b, 1);
	drv_chain(r, 1, &b, 1);
	drv_post_table(r, TABLE, DESC, F_NEXT, 1);
	FAULT(r, VHL_FAULT_INDIRECT_NEXT);
	rig_free(r);
}

TEST(indirect_without_feature)
{
	struct rig *r = rig_new(4, 65535, RIG_NO_INDIRECT);
	const struct buf b = { RAM, 1, false };

	drv_indirect(r, 0, TABLE, &b, 1);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_INDIRECT_FEATURE);
	CHECK_EQ(r->guest.copies, 0);
	rig_free(r);
}

/* 2.7.5.3.2, 2.8.7: the device ignores WRITE in the descriptor that names a table */
TEST(indirect_ignores_write)
{
	struct buf *bufs = make_bufs(6);
	struct rig *r = rig_new(4, 0, 0);

	drv_indirect(r, 0, TABLE, bufs, 6);
	drv_post_table(r, TABLE, 6 * DESC, F_WRITE, 0);
	TAKE(r, 0, bufs, 6);
	free(bufs);
	rig_free(r);
}

TEST(indirect_zero_length_buffers)
{
	static const struct buf bufs[] = {
		{ RAM, 0, false }, { RAM + 1, 3, false }, { RAM + 2, 0, true }, { RAM + 4, 5, true },
		{ RAM + 6, 0, true },
	};
	struct rig *r = rig_new(4, 0, 0);

	drv_indirect(r, 0, TABLE, bufs, ARRAY_SIZE(bufs));
	drv_post(r, 0);
	TAKE(r, 0, bufs, ARRAY_SIZE(bufs));
	rig_free(r);
}

/* The device reads a table: of write-only memory it must not */
TEST(indirect_table_permission)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { RAM, 1, false };

	guest_add(&r->guest, HI, 0x1000, VHL_MEM_WRITE);
	drv_indirect(r, 0, HI, &b, 1);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_PERMISSION);
	CHECK_EQ(r->guest.copies, 0);
	rig_free(r);
}

/* CVE-2025-40051: a copy that faults, at once or half-way, is no table */
TEST(indirect_table_faults)
{
	static const unsigned int at[] = { 0, 1, 8, 15, 16, 5 * 16 + 3, 32 * 16, 63 * 16 + 15 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		struct buf *bufs = make_bufs(64);
		struct rig *r = rig_new(4, 65535, 0);

		drv_indirect(r, 0, TABLE, bufs, 64);
		guest_fault(&r->guest, TABLE + at[i], 1);
		drv_post(r, 0);
		FAULT(r, VHL_FAULT_ACCESS);
		free(bufs);
		rig_free(r);
	}
}

/* Buffers are not touched by the ring: that their mapping faults is the backend's to find */
TEST(buffer_that_faults)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { RAM, 64, true };

	guest_fault(&r->guest, RAM, 64);
	drv_chain(r, 0, &b, 1);
	drv_post(r, 0);
	TAKE(r, 0, &b, 1);
	CHECK_EQ(r->guest.copies, 0);
	rig_free(r);
}

/* What is left of one table must not be taken for the next one */
TEST(indirect_tables_in_turn)
{
	struct rig *r = rig_new(4, 0, 0);
	unsigned int i;

	for (i = 0; i < 50; i++) {
		const struct buf bufs[2] = { { RAM + i, 1 + i, false }, { RAM + i, 2 + i, true } };

		drv_indirect(r, i & 3, TABLE, bufs, 1 + i % 2);
		drv_post(r, i & 3);
		TAKE(r, i & 3, bufs, 1 + i % 2);
	}
	rig_free(r);
}
