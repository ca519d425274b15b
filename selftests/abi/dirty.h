/* SPDX-License-Identifier: GPL-2.0 */
/* What a VMM has of the log of dirty memory: a bitmap, and what should be in it */
#ifndef ABI_DIRTY_H
#define ABI_DIRTY_H

#include "dut.h"

#define LOG_PAGE	4096ULL

/**
 * struct dirty - a bitmap for all memory of a device
 * @d: the device
 * @map: the bitmap
 * @want: as large, what it should be
 * @size: bytes of each
 * @room: what was mapped for both
 */
struct dirty {
	struct dut *d;
	unsigned char *map, *want;
	size_t size, room;
};

/* dirty_open() - make one, @skew bytes from the beginning of a page. The device is not told */
int dirty_open(struct dirty *l, struct dut *d, unsigned int skew);
void dirty_close(struct dirty *l);

/* dirty_base() - VHOST_SET_LOG_BASE of an address */
int dirty_base(struct dut *d, const void *base);

/* dirty_all() - VHOST_F_LOG_ALL on or off; dirty_rings() - so VHOST_VRING_F_LOG of both queues */
int dirty_all(struct dut *d, bool on);
int dirty_rings(struct dut *d, bool on);

/* dirty_on(), dirty_off() - all of it, in the order in which QEMU does it */
int dirty_on(struct dirty *l);
int dirty_off(struct dirty *l);

/* dirty_want() - these bytes should be marked, too; dirty_want_device() - of a device area */
void dirty_want(struct dirty *l, uint64_t gpa, uint64_t len);
void dirty_want_device(struct dirty *l, unsigned int qi, size_t at, size_t len);

/*
 * dirty_want_chain() - what says that a chain was used, the next one that gq_get() would give, or
 * the @k-th one after it, if all before have one descriptor; dirty_want_event() - what asks for
 * kicks
 */
void dirty_want_chain(struct dirty *l, unsigned int qi, unsigned int k);
void dirty_want_event(struct dirty *l, unsigned int qi);

/*
 * dirty_is() - is what is marked exactly what should be?  Waits a while for what is missing.  Both
 * are empty then.  0, or -EBADMSG with the reason printed
 */
int dirty_is(struct dirty *l);

/*
 * dirty_move_rings() - to areas that share no page with anything else, each from the beginning of a
 * page on.  Before they start
 */
int dirty_move_rings(struct dut *d);

#endif /* ABI_DIRTY_H */
