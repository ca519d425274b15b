// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without a guest: the driver's side of a virtqueue, and of a split one (virtio 1.2, section
 * 2.7) what is not in guest_packed.c for the other format.
 *
 * The device runs at the same time on another processor:
 *
 *   avail->idx       stored with release, after the descriptors and the ring slot
 *   used->idx        loaded with acquire, before the used entry and what the device wrote
 *   a full barrier   between a store of avail->idx and the question whether to kick, and between
 *                    asking for calls and a last look at used->idx; the device does the same the
 *                    other way round, so that one of the two always sees the other
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "guest_ring.h"

static uint16_t load16(const __virtio16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void store16(__virtio16 *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static __virtio16 *used_event(const struct guest_queue *q)
{
	return &q->avail->ring[q->num];
}

uint16_t gq_used_event(const struct guest_queue *q)
{
	return load16(used_event(q));
}

uint16_t gq_avail_event(const struct guest_queue *q)
{
	const void *p = &q->used->ring[q->num];

	return load16(p);
}

int gq_init(struct guest_queue *q)
{
	q->chain = calloc(q->num, sizeof(q->chain[0]));
	q->next = calloc(q->num, sizeof(q->next[0]));
	if (q->in_order)
		q->order = calloc(UINT16_MAX + 1, sizeof(q->order[0]));
	if (!q->chain || !q->next || (q->in_order && !q->order) ||
	    (q->packed && gq_packed_init(q)))
		return guest_fail(q->guest, -ENOMEM, "queue %u", q->index);
	gq_reset(q);
	return 0;
}

void gq_reset(struct guest_queue *q)
{
	gq_begin(q, 0);
}

void gq_begin(struct guest_queue *q, uint16_t idx)
{
	memset(q->desc, 0, q->num * sizeof(q->desc[0]));
	if (!q->packed) {
		memset(q->avail, 0, gq_avail_size(q->num));
		memset(q->used, 0, gq_used_size(q->num));
		q->avail->idx = htole16(idx);
		q->used->idx = htole16(idx);
	}
	for (unsigned int i = 0; i < q->num; i++) {
		q->next[i] = i + 1;
		q->chain[i].token = NULL;
	}
	q->free_head = 0;
	q->num_free = q->num;
	q->avail_next = idx;
	q->avail_shown = idx;
	q->avail_told = idx;
	q->used_next = idx;
	q->base = idx;
	q->broken = false;
	q->in_batch = false;
	if (q->packed)
		gq_packed_begin(q, idx);
	gq_calls(q, false);
}

void *gq_area(const struct guest_queue *q, unsigned int i)
{
	void *const split[] = { q->desc, q->avail, q->used };
	void *const packed[] = { q->ring, q->driver, q->device };

	return q->packed ? packed[i] : split[i];
}

void gq_move(struct guest_queue *q, void *const area[3])
{
	if (q->packed) {
		q->ring = area[0];
		q->driver = area[1];
		q->device = area[2];
	} else {
		q->desc = area[0];
		q->avail = area[1];
		q->used = area[2];
	}
}

static struct vring_desc make_desc(uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	return (struct vring_desc){
		.addr = htole64(gpa),
		.len = htole32(len),
		.flags = htole16(flags),
		.next = htole16(next),
	};
}

/* A descriptor of an indirect table: one of a packed ring has an id in another place, and no link */
static struct vring_desc make_entry(bool packed, uint64_t gpa, uint32_t len, uint16_t flags,
				    uint16_t next)
{
	return packed ? make_desc(gpa, len, 0, flags) : make_desc(gpa, len, flags, next);
}

void gq_desc(struct guest_queue *q, unsigned int i, uint64_t gpa, uint32_t len, uint16_t flags,
	     uint16_t next)
{
	q->desc[i] = make_desc(gpa, len, flags, next);
}

int gq_table(struct guest *g, uint64_t table, unsigned int i, uint64_t gpa, uint32_t len,
	     uint16_t flags, uint16_t next)
{
	struct vring_desc d = make_entry(g->features & (1ULL << VIRTIO_F_RING_PACKED), gpa, len,
					 flags, next);

	return guest_write(g, table + i * sizeof(d), &d, sizeof(d));
}

void gq_push(struct guest_queue *q, uint16_t head)
{
	q->last_head = head;
	if (q->in_order)
		q->order[q->avail_next] = head;
	if (q->packed) {
		gq_packed_push(q, head);
		q->avail_next++;
		return;
	}
	store16(&q->avail->ring[q->avail_next++ % q->num], head);
}

void gq_set_avail_idx(struct guest_queue *q, uint16_t idx)
{
	__atomic_store_n(&q->avail->idx, htole16(idx), __ATOMIC_RELEASE);
	q->avail_next = idx;
	q->avail_shown = idx;
}

void gq_publish(struct guest_queue *q)
{
	if (q->avail_shown == q->avail_next)
		return;
	if (q->packed) {
		gq_packed_show(q);
		q->avail_shown = q->avail_next;
	} else {
		gq_set_avail_idx(q, q->avail_next);
	}
	q->count.publishes++;
}

bool gq_kick_wanted(struct guest_queue *q)
{
	uint16_t old = q->avail_told;

	q->avail_told = q->avail_shown;
	if (q->packed)
		return gq_packed_kick_wanted(q);
	full_barrier();
	if (q->event_idx)
		return vring_need_event(gq_avail_event(q), q->avail_shown, old);
	return !(load16(&q->used->flags) & VRING_USED_F_NO_NOTIFY);
}

void gq_calls(struct guest_queue *q, bool on)
{
	if (q->packed) {
		gq_packed_calls(q, on);
	} else if (q->event_idx) {
		/* No way to say "none": the entry before the next is the farthest away */
		store16(used_event(q), on ? q->used_next : q->used_next - 1);
	} else {
		store16(&q->avail->flags, on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
	}
	if (on)
		full_barrier();
}

uint16_t gq_used_idx(const struct guest_queue *q)
{
	uint16_t place;

	if (q->packed)
		return gq_packed_used_idx(q, &place);
	return le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE));
}

uint32_t gq_base(const struct guest_queue *q)
{
	uint16_t place;

	if (!q->packed)
		return gq_used_idx(q);
	gq_packed_used_idx(q, &place);
	return (uint32_t)place << 16 | place;
}

bool gq_pending(const struct guest_queue *q)
{
	if (q->in_batch)
		return true;
	if (q->packed)
		return gq_packed_pending(q);
	return gq_used_idx(q) != q->used_next;
}

unsigned int gq_in_flight(const struct guest_queue *q)
{
	return (uint16_t)(q->avail_next - q->used_next);
}

/* A used entry */
static void read_used(struct guest_queue *q, uint32_t *id, uint32_t *len)
{
	const struct vring_used_elem *e;

	if (q->packed) {
		gq_packed_read(q, id, len);
	} else {
		e = &q->used->ring[q->used_next % q->num];
		*id = le32toh(e->id);
		*len = le32toh(e->len);
	}
}

/*
 * In order, an entry also tells of all chains before the one that it names, up to which the device wrote
 * nothing (virtio 1.2, sections 2.7.9 and 2.8.8).
 */
int gq_pop(struct guest_queue *q, uint32_t *id, uint32_t *len)
{
	if (!gq_pending(q))
		return -EAGAIN;
	if (!q->in_batch)
		read_used(q, &q->batch_id, &q->batch_len);
	*id = q->in_order ? q->order[q->used_next] : q->batch_id;
	q->in_batch = *id != q->batch_id && q->used_next != q->avail_next;
	*len = q->in_batch ? 0 : q->batch_len;
	if (q->packed)
		gq_packed_skip(q, *id);
	q->used_next++;
	return 0;
}

/* The one that was too small is wasted, which happens a few times a head at most */
static int indirect_table(struct guest_queue *q, struct gq_chain *c, unsigned int n)
{
	unsigned int room = 4;
	int ret;

	if (n <= c->room)
		return 0;
	while (room < n)
		room *= 2;
	ret = guest_alloc(q->guest, room * sizeof(struct vring_desc), 16, &c->table_gpa);
	if (ret)
		return ret;
	c->table = guest_ptr(q->guest, c->table_gpa, room * sizeof(struct vring_desc));
	c->room = room;
	return 0;
}

static void fill(struct vring_desc *d, bool packed_entry, const struct guest_seg *seg, bool in,
		 bool last, uint16_t next)
{
	uint16_t flags = (in ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT);

	*d = make_entry(packed_entry, seg->gpa, seg->len, flags, last ? 0 : next);
}

int gq_add(struct guest_queue *q, const struct guest_seg *seg, unsigned int nout,
	   unsigned int nin, void *token)
{
	unsigned int n = nout + nin, ndesc = q->indirect && n > 1 ? 1 : n;
	uint16_t head = q->free_head, at = head;
	struct gq_chain *c;
	int ret;

	/* A chain may not be longer than the ring, indirect or not (virtio 1.2, 2.7.5.3.1) */
	if (!n || n > GUEST_MAX_SEGS || n > q->num || !token)
		return guest_fail(q->guest, -EINVAL, "chain of %u segments on queue %u", n,
				  q->index);
	if (ndesc > q->num_free)
		return -ENOSPC;

	c = &q->chain[head];
	if (ndesc < n) {
		ret = indirect_table(q, c, n);
		if (ret)
			return ret;
		for (unsigned int i = 0; i < n; i++)
			fill(&c->table[i], q->packed, &seg[i], i >= nout, i + 1 == n, i + 1);
		gq_desc(q, head, c->table_gpa, n * sizeof(struct vring_desc),
			VRING_DESC_F_INDIRECT, 0);
		at = q->next[head];
	} else {
		for (unsigned int i = 0; i < n; i++) {
			fill(&q->desc[at], false, &seg[i], i >= nout, i + 1 == n, q->next[at]);
			at = q->next[at];
		}
	}
	c->token = token;
	c->ndesc = ndesc;
	c->in_len = 0;
	for (unsigned int i = nout; i < n; i++)
		c->in_len += seg[i].len;
	q->free_head = at;
	q->num_free -= ndesc;
	gq_push(q, head);
	q->count.chains++;
	return 0;
}

int gq_get(struct guest_queue *q, void **token, uint32_t *len)
{
	uint32_t id, written;
	struct gq_chain *c;
	uint16_t last;
	int ret;

	ret = gq_pop(q, &id, &written);
	if (ret)
		return ret;
	if (id >= q->num || !q->chain[id].token) {
		q->broken = true;
		return guest_fail(q->guest, -EPROTO,
				  "queue %u: used entry %u names head %u, which is not in flight",
				  q->index, (uint16_t)(q->used_next - 1), id);
	}
	c = &q->chain[id];
	if (written > c->in_len) {
		q->broken = true;
		return guest_fail(q->guest, -EPROTO,
				  "queue %u: used entry %u says %u bytes were written to a chain with room for %llu",
				  q->index, (uint16_t)(q->used_next - 1), written,
				  (unsigned long long)c->in_len);
	}

	*token = c->token;
	*len = written;
	c->token = NULL;
	last = id;
	for (unsigned int i = 1; i < c->ndesc; i++)
		last = q->next[last];
	q->next[last] = q->free_head;
	q->free_head = id;
	q->num_free += c->ndesc;
	q->count.used++;
	return 0;
}
