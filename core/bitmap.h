/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log of dirty guest memory: a bitmap of the VMM's, one bit for each 4096 bytes of guest
 * memory, as VHOST_SET_LOG_BASE and the vhost-user specification have it. Plain C, also compiled
 * in userspace; where it comes from is log.c's concern.
 */
#ifndef VHL_BITMAP_H
#define VHL_BITMAP_H

#include <linux/types.h>
#include <asm/page.h>

/* What a bit stands for, whatever the host's pages are */
#define VHL_LOG_PAGE_SHIFT	12

/* Bits in a page of the bitmap */
#define VHL_BITMAP_SHIFT	(PAGE_SHIFT + 3)

/**
 * struct vhl_bitmap - the bitmap, as it is in the kernel
 * @page: its pages; NULL where no bit is of guest memory
 * @num: how many. There are no bits behind them
 * @skip: bits of the first page in front of the bitmap, which may begin at any byte
 */
struct vhl_bitmap {
	void **page;
	u64 num;
	unsigned int skip;
};

/* Has all of [addr, addr + len), len > 0, bits? */
bool vhl_bitmap_covers(const struct vhl_bitmap *bitmap, u64 addr, u64 len);

/**
 * vhl_bitmap_mark() - set the bits of what was written
 * @bitmap: the bitmap
 * @addr: guest address
 * @len: bytes, may be 0. What has no bits is left out
 *
 * The VMM reads and clears meanwhile. Whoever sees the bits sees what was written before the call.
 *
 * Context: any.
 */
void vhl_bitmap_mark(const struct vhl_bitmap *bitmap, u64 addr, u64 len);

#endif /* VHL_BITMAP_H */
