// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>
#include <asm/page.h>

#include "driver.h"
#include "logged.h"

void logged_new(struct logged *l, u16 num, u16 base, unsigned int flags, u64 desc, u64 device)
{
	l->r = rig_new(num, base, flags);
	l->page = calloc(1, PAGE_SIZE);
	l->bitmap = (struct vhl_bitmap){ .page = &l->page, .num = 1 };
	l->log = (struct vhl_ring_log){
		.bitmap = &l->bitmap,
		.addr = { [VHL_RING_DESC] = desc, [VHL_RING_DEVICE] = device },
	};
	vhl_ring_set_log(l->r->ring, &l->log);
}

void logged_free(struct logged *l)
{
	rig_free(l->r);
	free(l->page);
}

unsigned int logged_take(struct logged *l, u64 addr, unsigned int n)
{
	unsigned int bits = 0, i;

	for (i = 0; i < n; i++) {
		u64 bit = (addr >> VHL_LOG_PAGE_SHIFT) + i;
		unsigned char *byte = (unsigned char *)l->page + bit / 8;
		unsigned char mask = 1U << bit % 8;

		if (*byte & mask)
			bits |= 1U << i;
		*byte &= ~mask;
	}
	return bits;
}

bool logged_is_empty(const struct logged *l)
{
	static const unsigned char none[PAGE_SIZE];

	return !memcmp(l->page, none, PAGE_SIZE);
}
