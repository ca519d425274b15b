/* SPDX-License-Identifier: GPL-2.0 */
/* A ring whose stores are logged, of either format. */
#ifndef LOGGED_H
#define LOGGED_H

#include <linux/types.h>

#include "ring.h"

struct rig;

/**
 * struct logged - a rig, and a bitmap of one page
 * @r: the rig
 * @page: bits of the first 128 MiB
 * @bitmap: that page
 * @log: the ring's
 */
struct logged {
	struct rig *r;
	void *page;
	struct vhl_bitmap bitmap;
	struct vhl_ring_log log;
};

/* logged_new() - the areas that the device writes are at these guest addresses; else as rig_new() */
void logged_new(struct logged *l, u16 num, u16 base, unsigned int flags, u64 desc, u64 device);
void logged_free(struct logged *l);

/* logged_take() - take the bits of @n pages, the one of @addr in bit 0 */
unsigned int logged_take(struct logged *l, u64 addr, unsigned int n);

/* logged_is_empty() - are there no bits of any other page? */
bool logged_is_empty(const struct logged *l);

#endif /* LOGGED_H */
