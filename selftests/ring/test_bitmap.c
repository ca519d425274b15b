// SPDX-License-Identifier: GPL-2.0
/* The log of dirty memory: which bits of which pages, and no others */
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>
#include <asm/barrier.h>
#include <asm/page.h>

#include "bitmap.h"
#include "harness.h"

#define PAGES	4
#define G	0x1000ULL
/* Guest memory that a page of the bitmap has bits for */
#define SPAN	(G << VHL_BITMAP_SHIFT)

/* Each page its own heap object, so that the sanitizer sees what is outside */
static void *pages[PAGES];

static struct vhl_bitmap make(unsigned int num, unsigned int skip)
{
	unsigned int i;

	for (i = 0; i < num; i++)
		pages[i] = calloc(1, PAGE_SIZE);
	return (struct vhl_bitmap){ .page = pages, .num = num, .skip = skip };
}

static void done(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		free(pages[i]);
		pages[i] = NULL;
	}
}

/* Take the bit of a guest address */
static bool take(const struct vhl_bitmap *b, u64 addr)
{
	u64 bit = addr / G + b->skip;
	unsigned char *byte = (unsigned char *)pages[bit >> VHL_BITMAP_SHIFT] +
			      bit % (PAGE_SIZE * 8) / 8;
	bool is = *byte & 1 << bit % 8;

	*byte &= ~(1 << bit % 8);
	return is;
}

static bool empty(void)
{
	static const unsigned char none[PAGE_SIZE];
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		if (pages[i] && memcmp(pages[i], none, PAGE_SIZE))
			return false;
	return true;
}

TEST(bits_of_what_is_written)
{
	static const struct {
		u64 addr, len, first, last;
	} t[] = {
		{ 0, 1, 0, 0 },
		{ 0, G, 0, 0 },
		{ 0, G + 1, 0, 1 },
		{ G - 1, 1, 0, 0 },
		{ G - 1, 2, 0, 1 },
		{ 7 * G + 5, 10 * G, 7, 17 },
		{ 63 * G, 2 * G, 63, 64 },
		{ SPAN - 1, 2, SPAN / G - 1, SPAN / G },
		{ SPAN - 8 * G, 17 * G, SPAN / G - 8, SPAN / G + 8 },
	};
	static const unsigned int skips[] = { 0, 8, 40, 4095 * 8 };
	unsigned int i, k;
	u64 page;

	for (k = 0; k < ARRAY_SIZE(skips); k++) {
		struct vhl_bitmap b = make(PAGES, skips[k]);

		for (i = 0; i < ARRAY_SIZE(t); i++) {
			vhl_bitmap_mark(&b, t[i].addr, t[i].len);
			CHECK(vhl_bitmap_covers(&b, t[i].addr, t[i].len));
			for (page = t[i].first; page <= t[i].last; page++)
				if (!CHECK(take(&b, page * G)))
					tap_diag("case %u, page %llu", i, page);
			if (!CHECK(empty()))
				tap_diag("case %u, skip %u", i, skips[k]);
		}
		done();
	}
}

TEST(nothing_is_written)
{
	struct vhl_bitmap b = make(PAGES, 0);

	vhl_bitmap_mark(&b, 5 * G, 0);
	vhl_bitmap_mark(&b, 0, 0);
	CHECK(empty());
	done();
}

/* A VMM may say anything of where its rings are */
TEST(what_has_no_bits)
{
	struct vhl_bitmap b = make(PAGES, 8);
	u64 end = PAGES * SPAN - 8 * G;

	vhl_bitmap_mark(&b, end, 1);
	vhl_bitmap_mark(&b, end + SPAN, 5 * G);
	vhl_bitmap_mark(&b, U64_MAX, 1);
	vhl_bitmap_mark(&b, U64_MAX - G, 100 * G);
	vhl_bitmap_mark(&b, U64_MAX, U64_MAX);
	CHECK(empty());
	CHECK(!vhl_bitmap_covers(&b, end, 1));
	CHECK(!vhl_bitmap_covers(&b, end - 1, 2));
	CHECK(vhl_bitmap_covers(&b, end - 1, 1));
	CHECK(!vhl_bitmap_covers(&b, U64_MAX, 1));
	CHECK(!vhl_bitmap_covers(&b, U64_MAX, U64_MAX));
	CHECK(!vhl_bitmap_covers(&b, 0, U64_MAX));
	/* what it has of a range that goes on */
	vhl_bitmap_mark(&b, end - G, U64_MAX);
	CHECK(take(&b, end - G));
	CHECK(empty());
	done();

	/* none at all */
	b = make(0, 8);
	vhl_bitmap_mark(&b, 0, 100 * G);
	vhl_bitmap_mark(&b, 0, U64_MAX);
	CHECK(!vhl_bitmap_covers(&b, 0, 1));
	done();
}

/* Pages that have no bit of guest memory are not there */
TEST(holes)
{
	struct vhl_bitmap b = make(PAGES, 0);

	free(pages[1]);
	pages[1] = NULL;
	CHECK(vhl_bitmap_covers(&b, 0, SPAN));
	CHECK(!vhl_bitmap_covers(&b, 0, SPAN + 1));
	CHECK(!vhl_bitmap_covers(&b, SPAN, 1));
	CHECK(!vhl_bitmap_covers(&b, 2 * SPAN - 1, 2));
	CHECK(vhl_bitmap_covers(&b, 2 * SPAN, 2 * SPAN));
	vhl_bitmap_mark(&b, SPAN, SPAN);
	CHECK(empty());
	vhl_bitmap_mark(&b, SPAN - 1, SPAN + 2);
	CHECK(take(&b, SPAN - 1));
	CHECK(take(&b, 2 * SPAN));
	CHECK(empty());
	done();
}

/* Bits that the VMM has not taken yet stay */
TEST(others_stay)
{
	struct vhl_bitmap b = make(PAGES, 0);

	memset(pages[0], 0x50, PAGE_SIZE);
	vhl_bitmap_mark(&b, 3 * G, 1);
	CHECK_EQ(*(unsigned char *)pages[0], 0x58);
	vhl_bitmap_mark(&b, 4 * G, 1);
	CHECK_EQ(*(unsigned char *)pages[0], 0x58);
	done();
}

static bool at_barrier_empty, at_barrier;

static void look(enum shim_barrier kind)
{
	if (kind == SHIM_WMB) {
		at_barrier = true;
		at_barrier_empty = empty();
	}
}

/* The order of data and bits: there is a barrier before the first bit */
TEST(bits_come_after_a_barrier)
{
	struct vhl_bitmap b = make(PAGES, 0);

	at_barrier = false;
	shim_at_barrier = look;
	vhl_bitmap_mark(&b, 0, 3 * G);
	shim_at_barrier = NULL;
	CHECK(at_barrier && at_barrier_empty);
	done();
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
