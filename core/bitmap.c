// SPDX-License-Identifier: GPL-2.0
/*
 * The log of dirty guest memory: setting bits. Plain C, also compiled in userspace.
 */
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <asm/barrier.h>

#include "bitmap.h"

/* The bit of an address, counted from the beginning of the first page */
static u64 bitmap_bit(const struct vhl_bitmap *bitmap, u64 addr)
{
	return (addr >> VHL_LOG_PAGE_SHIFT) + bitmap->skip;
}

/* The last address of a range that is not empty: it may be the last of all */
static u64 bitmap_last(u64 addr, u64 len)
{
	u64 last = addr + (len - 1);

	return last < addr ? U64_MAX : last;
}

bool vhl_bitmap_covers(const struct vhl_bitmap *bitmap, u64 addr, u64 len)
{
	u64 i = bitmap_bit(bitmap, addr) >> VHL_BITMAP_SHIFT;
	u64 last = bitmap_bit(bitmap, bitmap_last(addr, len)) >> VHL_BITMAP_SHIFT;

	if (last >= bitmap->num)
		return false;
	for (; i <= last; i++)
		if (!bitmap->page[i])
			return false;
	return true;
}

void vhl_bitmap_mark(const struct vhl_bitmap *bitmap, u64 addr, u64 len)
{
	u64 bit, end;

	if (!len)
		return;
	bit = bitmap_bit(bitmap, addr);
	end = min(bitmap_bit(bitmap, bitmap_last(addr, len)) + 1, bitmap->num << VHL_BITMAP_SHIFT);
	/*
	 * What was written, before the bits. Pairs with the full barrier of the VMM between taking
	 * the bits and reading the memory: one that missed the data has left the bit for the next
	 * time.
	 */
	virt_wmb();
	for (; bit < end; bit++) {
		void *page = bitmap->page[bit >> VHL_BITMAP_SHIFT];

		if (page)
			set_bit_le(bit & ((1U << VHL_BITMAP_SHIFT) - 1), page);
	}
}
