// SPDX-License-Identifier: GPL-2.0
/* The VMM's side of a log of dirty memory.  See dirty.h */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "dirty.h"

int dirty_open(struct dirty *l, struct dut *d, unsigned int skew)
{
	uint64_t end = 0;
	unsigned char *p;

	for (unsigned int i = 0; i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];

		if (r->gpa + r->size > end)
			end = r->gpa + r->size;
	}
	*l = (struct dirty){ .d = d, .size = (end - 1) / LOG_PAGE / 8 + 1 };
	l->room = (l->size + skew + 4095) & ~4095UL;
	p = mmap(NULL, 2 * l->room, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	l->map = p + skew;
	l->want = p + l->room + skew;
	return 0;
}

void dirty_close(struct dirty *l)
{
	uintptr_t p = (uintptr_t)l->map & ~4095UL;

	if (p)
		munmap((void *)p, 2 * l->room);
	l->map = NULL;
}

int dirty_base(struct dut *d, const void *base)
{
	uint64_t p = (uintptr_t)base;

	return xioctl(d->g->fd, VHOST_SET_LOG_BASE, &p);
}

int dirty_all(struct dut *d, bool on)
{
	uint64_t features = d->g->features | (on ? BIT(VHOST_F_LOG_ALL) : 0);

	return xioctl(d->g->fd, VHOST_SET_FEATURES, &features);
}

int dirty_rings(struct dut *d, bool on)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < 2; i++) {
		d->q[i]->addr.flags = on ? 1 << VHOST_VRING_F_LOG : 0;
		ret = guest_queue_addr(d->q[i]);
	}
	return ret;
}

int dirty_on(struct dirty *l)
{
	int ret = dirty_base(l->d, l->map);

	if (!ret)
		ret = dirty_all(l->d, true);
	return ret ? ret : dirty_rings(l->d, true);
}

int dirty_off(struct dirty *l)
{
	int ret = dirty_all(l->d, false);

	return ret ? ret : dirty_rings(l->d, false);
}

void dirty_want(struct dirty *l, uint64_t gpa, uint64_t len)
{
	if (!len)
		return;
	for (uint64_t page = gpa / LOG_PAGE; page <= (gpa + len - 1) / LOG_PAGE; page++)
		if (page / 8 < l->size)
			l->want[page / 8] |= 1 << page % 8;
}

void dirty_want_device(struct dirty *l, unsigned int qi, size_t at, size_t len)
{
	dirty_want(l, l->d->q[qi]->addr.log_guest_addr + at, len);
}

void dirty_want_chain(struct dirty *l, unsigned int qi, unsigned int k)
{
	const struct guest_queue *q = l->d->q[qi];
	const struct guest_region *r;
	unsigned int i;

	if (q->packed) {
		/* length, id and flags */
		i = ((q->used_place & 0x7fff) + k) % q->num;
		r = dut_region(l->d, q->ring);
		dirty_want(l, r->gpa + ((unsigned char *)&q->ring[i].len - r->hva), 8);
		return;
	}
	i = (uint16_t)(q->used_next + k) % q->num;
	dirty_want_device(l, qi, offsetof(struct vring_used, ring[i]),
			  sizeof(struct vring_used_elem));
	dirty_want_device(l, qi, offsetof(struct vring_used, idx), sizeof(uint16_t));
}

void dirty_want_event(struct dirty *l, unsigned int qi)
{
	const struct guest_queue *q = l->d->q[qi];
	size_t at = 0;

	if (!q->packed && q->event_idx)
		at = offsetof(struct vring_used, ring[q->num]);
	dirty_want_device(l, qi, at, sizeof(uint16_t));
}

/* All bytes of the bitmap's pages, also those that are not its own */
static unsigned char *all(const struct dirty *l, unsigned char *map)
{
	return map - ((uintptr_t)l->map & 4095);
}

int dirty_is(struct dirty *l)
{
	unsigned char *is = all(l, l->map), *want = all(l, l->want);
	int64_t end = now_ms() + 2000;
	unsigned int said = 0;
	size_t i;

	while (memcmp(is, want, l->room) && now_ms() < end)
		sleep_ms(1);
	for (i = 0; i < l->room; i++) {
		unsigned char a = __atomic_exchange_n(&is[i], 0, __ATOMIC_SEQ_CST);

		if (a != want[i] && said++ < 8)
			printf("# pages %#zx on: %#x are marked, not %#x\n",
			       (i - (l->map - is)) * 8, a, want[i]);
	}
	memset(want, 0, l->room);
	return said ? -EBADMSG : 0;
}

int dirty_move_rings(struct dut *d)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct guest_queue *q = d->q[i];
		/* no area of any format is larger */
		size_t len = (16 * q->num + LOG_PAGE - 1) & ~(LOG_PAGE - 1);
		uint64_t gpa[3];
		void *area[3];

		for (unsigned int k = 0; k < 3; k++) {
			int ret = guest_alloc(d->g, len, LOG_PAGE, &gpa[k]);

			if (ret)
				return ret;
			area[k] = guest_ptr(d->g, gpa[k], len);
		}
		gq_move(q, area);
		d->g->ops->ring_addr(q, gpa[0], gpa[1], gpa[2]);
		gq_reset(q);
	}
	return 0;
}
