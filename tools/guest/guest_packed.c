// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without a guest: the driver's side of a packed virtqueue (virtio 1.2, section 2.8).
 *
 * Chains are noted as those of a split ring are, as descriptors with links, and copied into the ring
 * when they are made available; their id is the number of the first one. The device runs at the same
 * time on another processor:
 *
 *   flags            of the first new chain stored with release, after all that is behind it; loaded
 *                    with acquire, before the rest of a used descriptor and what the device wrote
 *   a full barrier   between that store and the question whether to kick, and between asking for calls
 *                    and a last look at the ring; the device does the same the other way round
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "guest_ring.h"

/* A place: an index, and the wrap counter of the round */
#define INDEX		0x7fff
#define WRAP		0x8000

#define AVAIL		(1U << VRING_PACKED_DESC_F_AVAIL)
#define USED		(1U << VRING_PACKED_DESC_F_USED)

static uint16_t advance(const struct guest_queue *q, uint16_t place, unsigned int n)
{
	unsigned int i = (place & INDEX) + n;

	for (; i >= q->num; i -= q->num)
		place ^= WRAP;
	return i | (place & WRAP);
}

/* Descriptors from one place to another, of two rounds */
static unsigned int distance(const struct guest_queue *q, uint16_t from, uint16_t to)
{
	unsigned int n = (to & INDEX) + 2 * q->num - (from & INDEX);

	if ((from ^ to) & WRAP)
		n += q->num;
	return n % (2 * q->num);
}

static bool is_used(const struct guest_queue *q, uint16_t place)
{
	uint16_t flags = le16toh(__atomic_load_n(&q->ring[place & INDEX].flags, __ATOMIC_ACQUIRE));

	return (flags & (AVAIL | USED)) == (place & WRAP ? AVAIL | USED : 0);
}

static void set_event(struct guest_queue *q, uint16_t place, uint16_t flags)
{
	__atomic_store_n((uint32_t *)q->driver, htole32(place | (uint32_t)flags << 16),
			 __ATOMIC_RELAXED);
}

int gq_packed_init(struct guest_queue *q)
{
	q->desc = calloc(q->num, sizeof(q->desc[0]));
	q->descs = calloc(q->num, sizeof(q->descs[0]));
	return q->desc && q->descs ? 0 : -ENOMEM;
}

void gq_packed_begin(struct guest_queue *q, uint16_t idx)
{
	uint16_t place = idx % q->num | (idx / q->num % 2 ? 0 : WRAP);

	memset(q->ring, 0, q->num * sizeof(q->ring[0]));
	memset(q->driver, 0, sizeof(*q->driver));
	memset(q->device, 0, sizeof(*q->device));
	memset(q->descs, 0, q->num * sizeof(q->descs[0]));
	/* used in this round, and behind that in the one before */
	for (unsigned int i = 0; i < q->num; i++)
		if (!!(place & WRAP) == (i < (place & INDEX)))
			q->ring[i].flags = htole16(AVAIL | USED);
	q->avail_place = place;
	q->used_place = place;
	q->told_place = place;
	q->hidden = false;
	q->base = (uint32_t)place << 16 | place;
}

/* A head that the ring does not have is an id alone */
void gq_packed_push(struct guest_queue *q, uint16_t head)
{
	uint16_t i = head % q->num;
	unsigned int n = 0;
	bool last;

	do {
		const struct vring_desc *from = &q->desc[i];
		struct vring_packed_desc *to = &q->ring[q->avail_place & INDEX];
		uint16_t flags = le16toh(from->flags) & ~(AVAIL | USED);

		last = !(flags & VRING_DESC_F_NEXT) || n + 1 == q->num;
		flags |= q->avail_place & WRAP ? AVAIL : USED;
		to->addr = from->addr;
		to->len = from->len;
		to->id = htole16(head);
		if (q->hidden) {
			__atomic_store_n(&to->flags, htole16(flags), __ATOMIC_RELAXED);
		} else {
			q->hidden = true;
			q->hidden_at = q->avail_place & INDEX;
			q->hidden_flags = flags;
		}
		q->avail_place = advance(q, q->avail_place, 1);
		n++;
		i = le16toh(from->next) % q->num;
	} while (!last);
	if (head < q->num)
		q->descs[head] = n;
}

void gq_packed_show(struct guest_queue *q)
{
	if (q->hidden)
		__atomic_store_n(&q->ring[q->hidden_at].flags, htole16(q->hidden_flags),
				 __ATOMIC_RELEASE);
	q->hidden = false;
}

bool gq_packed_kick_wanted(struct guest_queue *q)
{
	uint16_t old = q->told_place;
	uint32_t event;

	q->told_place = q->avail_place;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = le32toh(__atomic_load_n((uint32_t *)q->device, __ATOMIC_RELAXED));
	switch (event >> 16) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		return distance(q, old, event) < distance(q, old, q->avail_place);
	default:
		return true;
	}
}

void gq_packed_calls(struct guest_queue *q, bool on)
{
	if (!on)
		set_event(q, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
	else if (q->event_idx)
		set_event(q, q->used_place, VRING_PACKED_EVENT_FLAG_DESC);
	else
		set_event(q, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
}

bool gq_packed_pending(const struct guest_queue *q)
{
	return is_used(q, q->used_place);
}

/* What a used index would say, chains that were used from the start on; and where the next one will be */
uint16_t gq_packed_used_idx(const struct guest_queue *q, uint16_t *place)
{
	bool in_batch = q->in_batch;
	uint32_t last = q->batch_id;
	uint16_t n;

	*place = q->used_place;
	for (n = 0; n < q->num && (in_batch || is_used(q, *place)); n++) {
		uint32_t id;

		if (!in_batch)
			last = le16toh(q->ring[*place & INDEX].id);
		id = q->in_order ? q->order[(uint16_t)(q->used_next + n)] : last;
		in_batch = id != last;
		*place = advance(q, *place, id < q->num && q->descs[id] ? q->descs[id] : 1);
	}
	return q->used_next + n;
}

void gq_packed_read(const struct guest_queue *q, uint32_t *id, uint32_t *len)
{
	const struct vring_packed_desc *d = &q->ring[q->used_place & INDEX];

	*id = le16toh(d->id);
	/* there is a length only where something was written */
	*len = le16toh(d->flags) & VRING_DESC_F_WRITE ? le32toh(d->len) : 0;
}

void gq_packed_skip(struct guest_queue *q, uint32_t id)
{
	unsigned int n = 1;

	if (id < q->num && q->descs[id]) {
		n = q->descs[id];
		q->descs[id] = 0;
	}
	q->used_place = advance(q, q->used_place, n);
}
