// SPDX-License-Identifier: GPL-2.0
/* Indirect tables (virtio 1.2, section 2.7.5.3) */
#include <stdlib.h>

#include <linux/kernel.h>

#include "driver_split.h"

#define TABLE	(RAM + 0x40000)
#define DESC	sizeof(struct vring_desc)

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

/* Backwards, by strides, and to and fro between two parts: any order of the table is legal */
TEST(indirect_any_order)
{
	unsigned int s, way, i;

	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (way = 0; way < 3; way++) {
			unsigned int n = sizes[s];
			struct buf *bufs = make_bufs(n);
			struct rig *r = rig_new(4, 0, 0);
			struct vring_desc *table = guest_ptr(&r->guest, TABLE, n * DESC);
			u16 *at = calloc(n, sizeof(*at));

			REQUIRE(at && table);
			/* the first is always entry 0; the rest of a permutation of them */
			for (i = 1; i < n; i++)
				at[i] = way == 0 ? n - i :
					way == 1 ? (i & 1 ? (i + 1) / 2 : n - i / 2) : i;
			if (way == 2 && n > 3) {
				at[1] = n - 1;
				at[n - 1] = 1;
			}
			for (i = 0; i < n; i++) {
				bool last = i + 1 == n;

				table_set(&table[at[i]], bufs[i].addr, bufs[i].len,
					  (bufs[i].write ? F_WRITE : 0) | (last ? 0 : F_NEXT),
					  last ? 0xffff : at[i + 1]);
			}
			drv_post_table(r, TABLE, n * DESC, 0, 0);
			if (!TAKE(r, 0, bufs, n))
				tap_diag("table of %u, way %u", n, way);
			free(at);
			free(bufs);
			rig_free(r);
		}
	}
}

/* The length of a table is room, not the length of the chain */
TEST(indirect_table_longer_than_chain)
{
	struct buf *bufs = make_bufs(5);
	struct rig *r = rig_new(4, 0, 0);

	drv_indirect(r, 0, TABLE, bufs, 5);
	drv_post_table(r, TABLE, 2000 * DESC, 0, 0);
	TAKE(r, 0, bufs, 5);
	free(bufs);
	rig_free(r);
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
	struct vring_desc d;
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

/* The most that a length can say; only the part that is walked must be there */
TEST(indirect_len_huge)
{
	struct rig *r = rig_new(4, 0, 0);
	const struct buf b = { RAM, 1, false };

	guest_add(&r->guest, HI, DESC, RW);
	drv_indirect(r, 0, HI, &b, 1);
	drv_post_table(r, HI, 0xfffffff0, 0, 0);
	TAKE(r, 0, &b, 1);
	rig_free(r);
}

TEST(indirect_nested)
{
	unsigned int depth, next;

	for (depth = 0; depth < 40; depth += 13) {
		for (next = 0; next < 2; next++) {
			struct buf *bufs = make_bufs(41);
			struct rig *r = rig_new(4, 0, 0);
			struct vring_desc *table = guest_ptr(&r->guest, TABLE, 41 * DESC);

			drv_indirect(r, 0, TABLE, bufs, 41);
			drv_indirect(r, 1, TABLE + 0x8000, bufs, 1);
			table_set(&table[depth], TABLE + 0x8000, DESC,
				  F_INDIRECT | (next ? F_NEXT : 0), depth + 1);
			drv_post(r, 0);
			FAULT(r, VHL_FAULT_INDIRECT_NESTED);
			free(bufs);
			rig_free(r);
		}
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

/* 2.7.5.3.2: the device ignores WRITE in the descriptor that names a table */
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

TEST(indirect_next_outside)
{
	static const u16 nexts[] = { 3, 4, 32, 1024, 0x7fff, 0xffff };
	unsigned int i, entry;

	for (i = 0; i < ARRAY_SIZE(nexts); i++) {
		for (entry = 0; entry < 3; entry++) {
			struct buf *bufs = make_bufs(3);
			struct rig *r = rig_new(4, 0, 0);
			struct vring_desc *table = guest_ptr(&r->guest, TABLE, 3 * DESC);

			drv_indirect(r, 0, TABLE, bufs, 3);
			/* the memory behind the table would do */
			drv_indirect(r, 1, TABLE + 3 * DESC, bufs, 3);
			drv_indirect(r, 0, TABLE, bufs, 3);
			table_set(&table[entry], bufs[entry].addr, bufs[entry].len,
				  F_NEXT | (bufs[entry].write ? F_WRITE : 0), nexts[i]);
			drv_post(r, 0);
			FAULT(r, VHL_FAULT_NEXT);
			free(bufs);
			rig_free(r);
		}
	}
}

static void loop_in_table(unsigned int n, unsigned int from, unsigned int to, u32 len)
{
	struct rig *r = rig_new(4, 0, 0);
	struct vring_desc *table = guest_ptr(&r->guest, TABLE, n * DESC);
	unsigned int i;

	for (i = 0; i < n; i++)
		table_set(&table[i], RAM + i, len, F_NEXT, i == from ? to : (i + 1) % n);
	drv_post_table(r, TABLE, n * DESC, 0, 0);
	FAULT(r, VHL_FAULT_LOOP);
	/* at most one read for each descriptor of a chain that could be legal */
	CHECK(r->guest.copies <= VHL_IOV_MAX + 1);
	rig_free(r);
}

TEST(indirect_loop)
{
	u32 len;

	for (len = 0; len < 2; len++) {
		loop_in_table(1, 0, 0, len);		/* itself */
		loop_in_table(2, 1, 0, len);
		loop_in_table(8, 7, 7, len);
		loop_in_table(8, 7, 6, len);		/* the last two */
		loop_in_table(33, 32, 0, len);
		loop_in_table(64, 63, 31, len);
		loop_in_table(1024, 1023, 0, len);
	}
	/* without bytes no number of segments ends it */
	loop_in_table(16384, 16383, 0, 0);
	loop_in_table(16384, 1, 16000, 0);
	loop_in_table(16384, 0, 0, 0);
}

/* A table may claim far more entries than a chain can use: the work for it stays bounded */
TEST(indirect_loop_in_a_huge_table)
{
	static const u32 lens[] = { 16384 * DESC, 65536 * DESC, 0xfffffff0 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		struct rig *r = rig_new(4, 0, 0);
		struct vring_desc *table = guest_ptr(&r->guest, TABLE, 2 * 32 * DESC);

		/* to and fro */
		table_set(&table[0], RAM, 0, F_NEXT, 32);
		table_set(&table[32], RAM, 0, F_NEXT, 0);
		drv_post_table(r, TABLE, lens[i], 0, 0);
		FAULT(r, VHL_FAULT_LOOP);
		CHECK(r->guest.copies <= VHL_IOV_MAX + 1);
		rig_free(r);
	}
}

/* Buffers of its own before the table (2.7.5.3.1 forbids only NEXT in the same descriptor) */
TEST(indirect_after_direct)
{
	struct buf *bufs = make_bufs(9);
	struct rig *r = rig_new(4, 0, 0);

	drv_desc(r, 3, bufs[0].addr, bufs[0].len, F_NEXT, 1);
	drv_desc(r, 1, bufs[1].addr, bufs[1].len, F_NEXT, 0);
	drv_indirect(r, 0, TABLE, bufs + 2, 7);
	drv_post(r, 3);
	TAKE(r, 3, bufs, 9);
	free(bufs);
	rig_free(r);
}

TEST(indirect_order)
{
	static const struct buf bad[] = { { RAM, 1, true }, { RAM + 8, 1, false } };
	struct rig *r = rig_new(4, 0, 0);

	drv_indirect(r, 0, TABLE, bad, 2);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_ORDER);
	rig_free(r);

	/* a writable one in the ring, a readable one in the table */
	r = rig_new(4, 0, 0);
	drv_desc(r, 0, RAM, 1, F_NEXT | F_WRITE, 1);
	drv_indirect(r, 1, TABLE, bad + 1, 1);
	drv_post(r, 0);
	FAULT(r, VHL_FAULT_ORDER);
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

TEST(indirect_table_address)
{
	static const struct {
		u64 addr;
		u32 len;
	} cases[] = {
		{ 0, DESC },				/* nothing there */
		{ RAM + RAM_SIZE, DESC },
		{ RAM + RAM_SIZE - 8, DESC },		/* half of it */
		{ ~0ULL - 14, DESC },			/* around the end of the address space */
		{ ~0ULL - 15, 2 * DESC },
		{ ~0ULL - 0xffff, 0xfffffff0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(4, 0, 0);

		drv_post_table(r, cases[i].addr, cases[i].len, 0, 0);
		FAULT(r, VHL_FAULT_ADDRESS);
		rig_free(r);
	}

	/* a table whose later entries would be found at the other end of the address space */
	for (i = 0; i < 2; i++) {
		struct rig *r = rig_new(4, 0, 0);
		struct vring_desc *table = guest_add(&r->guest, ~0ULL - 33 * DESC + 1, 33 * DESC, RW);

		guest_add(&r->guest, 0, 0x1000, RW);
		table_set(&table[0], RAM, 1, F_NEXT, 32 + i);
		table_set(&table[32], RAM, 1, F_NEXT, 33);
		drv_post_table(r, ~0ULL - 33 * DESC + 1, 34 * DESC, 0, 0);
		FAULT(r, VHL_FAULT_ADDRESS);
		rig_free(r);
	}
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
