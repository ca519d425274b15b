// SPDX-License-Identifier: GPL-2.0
#include <malloc.h>
#include <stdlib.h>

#include <linux/kernel.h>

#include "driver_packed.h"

/* The one that lives */
static const struct rig *live;

bool drv_is_state(const volatile void *p)
{
	return (uintptr_t)p - (uintptr_t)live->ring < malloc_usable_size(live->ring);
}

u16 place_add(const struct rig *r, u16 place, u32 descs)
{
	u32 i = (place & PLACE_INDEX) + descs;

	for (; i >= r->num; i -= r->num)
		place ^= PLACE_WRAP;
	return i | (place & PLACE_WRAP);
}

/* A ring in which so many descriptors were used before */
static void leave_used(struct rig *r, u16 place)
{
	u16 i;

	for (i = 0; i < r->num; i++) {
		bool again = i < (place & PLACE_INDEX);
		bool wrap = !!(place & PLACE_WRAP) == again;

		drv_raw(r, i, 0, 0, 0, wrap ? DESC_AVAIL | DESC_USED : 0);
	}
}

void drv_init(struct rig *r, u16 base)
{
	u16 place = base % r->num | (base / r->num & 1 ? 0 : PLACE_WRAP);

	r->desc = must(calloc(r->num, sizeof(*r->desc)));
	r->driver = must(calloc(1, sizeof(*r->driver)));
	r->device = must(calloc(1, sizeof(*r->device)));
	r->draft = must(calloc(r->num, sizeof(*r->draft)));
	r->at = must(calloc(r->num, sizeof(*r->at)));
	r->avail = place;
	r->used = place;
	r->room = r->num;
	leave_used(r, place);
	live = r;
	r->cfg.base = both_at(place);
	r->cfg.area[VHL_RING_DESC] = r->desc;
	r->cfg.area[VHL_RING_DRIVER] = r->driver;
	r->cfg.area[VHL_RING_DEVICE] = r->device;
}

void drv_fini(struct rig *r)
{
	free(r->desc);
	free(r->driver);
	free(r->device);
	free(r->draft);
	free(r->at);
}

/* The id of a descriptor in a table means nothing: it is @next here, whatever that is */
void table_set(void *desc, u64 addr, u32 len, u16 flags, u16 next)
{
	struct vring_packed_desc *d = desc;

	*(volatile u64 *)&d->addr = cpu_to_le64(addr);
	*(volatile u32 *)&d->len = cpu_to_le32(len);
	*(volatile u16 *)&d->id = cpu_to_le16(next);
	*(volatile u16 *)&d->flags = cpu_to_le16(flags);
}

void drv_raw(struct rig *r, u16 i, u64 addr, u32 len, u16 id, u16 flags)
{
	WRITE_ONCE(r->desc[i].addr, cpu_to_le64(addr));
	WRITE_ONCE(r->desc[i].len, cpu_to_le32(len));
	WRITE_ONCE(r->desc[i].id, cpu_to_le16(id));
	/* flags come last, for one who looks from another CPU */
	__atomic_store_n(&r->desc[i].flags, cpu_to_le16(flags), __ATOMIC_RELEASE);
}

u16 drv_avail_flags(u16 place)
{
	return place & PLACE_WRAP ? DESC_AVAIL : DESC_USED;
}

/*
 * The chain of drafts from @head on, into the ring from @place on. Its id is in the last descriptor
 * alone. @hide: all but the flags of the first. Return: how many descriptors they are
 */
static u16 write_chain(struct rig *r, u16 head, u16 place, bool hide)
{
	u16 n = 0, i = head;

	for (;;) {
		const struct vring_desc *d = &r->draft[i];
		u16 flags = d->flags & ~(DESC_AVAIL | DESC_USED);
		bool last = !(flags & F_NEXT) || d->next >= r->num || n + 1 == r->num;

		flags |= drv_avail_flags(place);
		if (hide && !n) {
			r->hidden_at = place;
			r->hidden_flags = flags;
			flags = le16_to_cpu(r->desc[place & PLACE_INDEX].flags);
		}
		drv_raw(r, place & PLACE_INDEX, d->addr, d->len, last ? head : ~head, flags);
		n++;
		if (last)
			return n;
		place = place_add(r, place, 1);
		i = d->next;
	}
}

static u16 count_chain(const struct rig *r, u16 head)
{
	u16 n = 1, i = head;

	while (r->draft[i].flags & F_NEXT && r->draft[i].next < r->num && n < r->num) {
		i = r->draft[i].next;
		n++;
	}
	return n;
}

void drv_desc(struct rig *r, u16 i, u64 addr, u32 len, u16 flags, u16 next)
{
	r->draft[i] = (struct vring_desc){ addr, len, flags, next };
	/* of a chain that is not taken */
	if (r->at[i].descs && r->at[i].is == CHAIN_AVAIL)
		write_chain(r, i, r->at[i].place, false);
}

/* Collect what is used, and if that is too little, what the device keeps back */
static void make_room(struct rig *r, u16 head, u16 n)
{
	unsigned int tries;
	u32 id, len;

	for (tries = 0; tries < 2; tries++) {
		while ((r->room < n || r->at[head].descs) && drv_used(r, &id, &len))
			;
		if (r->room >= n && !r->at[head].descs)
			return;
		/* a test that does not care what comes of its chains */
		if (r->at[head].descs && r->at[head].is == CHAIN_TAKEN)
			rig_push(r, head, 0);
		(void)!vhl_ring_publish(r->ring);
	}
	while ((r->room < n || r->at[head].descs) && drv_used(r, &id, &len))
		;
	if (r->room < n || r->at[head].descs)
		abort();
}

void drv_avail(struct rig *r, u16 head)
{
	u16 n = count_chain(r, head);

	if (r->room < n || r->at[head].descs)
		make_room(r, head, n);
	write_chain(r, head, r->avail, !r->hidden);
	r->hidden = true;
	r->at[head] = (struct drv_chain_at){ .place = r->avail, .descs = n };
	r->posted_order[r->posted++] = head;
	r->avail = place_add(r, r->avail, n);
	r->room -= n;
}

void drv_show(struct rig *r)
{
	if (r->hidden)
		__atomic_store_n(&r->desc[r->hidden_at & PLACE_INDEX].flags,
				 cpu_to_le16(r->hidden_flags), __ATOMIC_RELEASE);
	r->hidden = false;
}

/* A head that the ring does not have is in its last descriptor's id */
void drv_replace(struct rig *r, u16 old, u16 head)
{
	struct drv_chain_at at = r->at[old];

	if (!at.descs || at.is != CHAIN_AVAIL)
		abort();
	if (head >= r->num) {
		u16 last = place_add(r, at.place, at.descs - 1) & PLACE_INDEX;

		WRITE_ONCE(r->desc[last].id, cpu_to_le16(head));
		return;
	}
	r->at[old].descs = 0;
	r->posted--;
	r->avail = at.place;
	r->room += at.descs;
	drv_avail(r, head);
	drv_show(r);
}

u16 drv_at(const struct rig *r)
{
	return r->avail;
}

/* Descriptors from one place to another */
static u32 distance(const struct rig *r, u16 from, u16 to)
{
	u32 n = (to & PLACE_INDEX) + 2 * r->num - (from & PLACE_INDEX);

	if ((from ^ to) & PLACE_WRAP)
		n += r->num;
	return n % (2 * r->num);
}

bool drv_want_kick(const struct rig *r, u16 old)
{
	u32 event;
	u16 place;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = le32_to_cpu(READ_ONCE(*(__le32 *)r->device));
	place = event;
	switch (event >> 16) {
	case VRING_PACKED_EVENT_FLAG_ENABLE:
		return true;
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		CHECK(r->event_idx);
		CHECK((place & PLACE_INDEX) < r->num);
		return distance(r, old, place) < distance(r, old, r->avail);
	}
	CHECK(!"flags that are reserved");
	return true;
}

void drv_set_event(struct rig *r, u16 place, u16 flags)
{
	WRITE_ONCE(*(__le32 *)r->driver, cpu_to_le32(place | (u32)flags << 16));
}

void drv_ask_call(struct rig *r)
{
	if (r->event_idx)
		drv_set_event(r, r->used, VRING_PACKED_EVENT_FLAG_DESC);
	else
		drv_set_event(r, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
}

void drv_no_calls(struct rig *r)
{
	drv_set_event(r, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
}

void drv_random_calls(struct rig *r, struct rng *rng)
{
	u16 place = place_add(r, r->used, rng_below(rng, 3) ? 0 : rng_below(rng, 2 * r->num));

	/* each but what is reserved */
	drv_set_event(r, place, rng_below(rng, r->event_idx ? 3 : 2));
}

bool drv_call_is_due(const struct rig *r)
{
	u16 flags = le16_to_cpu(r->driver->flags), place = le16_to_cpu(r->driver->off_wrap);

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	return !r->ever_told || distance(r, r->told, place) < distance(r, r->told, r->pushed);
}

void drv_published(struct rig *r)
{
	r->told = r->pushed;
	r->ever_told = true;
}

void drv_began(struct rig *r)
{
	r->pushed = r->cfg.base >> 16;
	r->told = r->pushed;
	r->ever_told = false;
}

u16 drv_random_num(struct rng *rng)
{
	return rng_below(rng, 3) ? 1 + rng_below(rng, 256) : 1U << rng_below(rng, 9);
}

bool drv_pending(const struct rig *r)
{
	u16 flags = le16_to_cpu(__atomic_load_n(&r->desc[r->used & PLACE_INDEX].flags,
						__ATOMIC_ACQUIRE));

	return r->in_batch || (flags & (DESC_AVAIL | DESC_USED)) ==
			      (r->used & PLACE_WRAP ? DESC_AVAIL | DESC_USED : 0);
}

bool drv_used(struct rig *r, u32 *id, u32 *len)
{
	const struct vring_packed_desc *desc = &r->desc[r->used & PLACE_INDEX];
	struct drv_chain_at *at;
	u16 flags;

	if (!drv_pending(r))
		return false;
	if (!r->in_batch) {
		r->batch_id = le16_to_cpu(READ_ONCE(desc->id));
		r->batch_len = le32_to_cpu(READ_ONCE(desc->len));
		r->batches++;
		flags = le16_to_cpu(READ_ONCE(desc->flags)) & ~(DESC_AVAIL | DESC_USED);
		/* the length is only there with WRITE, and no other flag has a meaning */
		CHECK_EQ(flags, r->batch_len ? F_WRITE : 0);
	}
	*id = r->in_order ? r->posted_order[r->collected] : r->batch_id;
	r->collected++;
	r->in_batch = *id != r->batch_id;
	*len = r->in_batch ? 0 : r->batch_len;
	if (!CHECK(*id < r->num) || !CHECK(r->at[*id].descs)) {
		r->used = place_add(r, r->used, 1);
		return true;
	}
	at = &r->at[*id];
	r->used = place_add(r, r->used, at->descs);
	r->room += at->descs;
	at->descs = 0;
	return true;
}

void drv_mend(struct rig *r)
{
	u16 at = vhl_ring_mark(r->ring) >> 16;

	drv_raw(r, at & PLACE_INDEX, RAM, 1, 0, drv_avail_flags(at));
}

/* The mark of a chain that was taken is where it is, and how many were before it */
void drv_rewound(struct rig *r, u16 n)
{
	u32 mark = vhl_ring_mark(r->ring);
	u16 count = mark;

	while (n--) {
		u16 id = r->order[--r->taken];

		r->at[id].is = CHAIN_AVAIL;
		count--;
		mark = (u32)r->at[id].place << 16 | count;
	}
	vhl_ring_rewind(r->ring, mark);
}
