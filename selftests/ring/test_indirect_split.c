// SPDX-License-Identifier: GPL-2.0
/* Indirect tables of split rings, which are linked (virtio 1.2, section 2.7.5.3) */
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

