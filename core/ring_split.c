// SPDX-License-Identifier: GPL-2.0
/*
 * The split virtqueue, device's side (virtio 1.2, section 2.7).
 *
 * Barriers, each with its pair in the driver (Linux: drivers/virtio/virtio_ring.c). The virt_
 * forms are used because the other side may run on another CPU although this kernel was built
 * for one.
 */
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/nospec.h>
#include <linux/virtio_config.h>
#include <asm/barrier.h>

#include "ring_format.h"

VHL_RING_FORMAT(split);

/* Section 2.7 */
#define SPLIT_NUM_MAX	32768

/* Offsets in the device area; behind the last entry there is the event */
#define SPLIT_USED_FLAGS	offsetof(struct vring_used, flags)
#define SPLIT_USED_IDX		offsetof(struct vring_used, idx)
#define SPLIT_USED_ELEM(i)	(offsetof(struct vring_used, ring) + \
				 (i) * sizeof(vring_used_elem_t))

/**
 * struct split - the state of a split ring
 * @desc: descriptor table
 * @avail: driver area
 * @used: device area
 * @event_idx: VIRTIO_RING_F_EVENT_IDX was negotiated
 * @indirect: VIRTIO_RING_F_INDIRECT_DESC was negotiated
 * @in_order: VIRTIO_F_IN_ORDER was negotiated
 * @kicks_on: the driver was last told to kick
 * @avail_seen: avail index when it was last read
 * @signalled_used: used index that was published last
 * @signalled_used_valid: it was by this ring
 *
 * Constant but for the last four, of which the first two are the taking side's. The avail index of
 * the next chain is in the low 16 bits of vhl_ring.pos, the others are 0; the used index is
 * vhl_ring.pushed.
 */
struct split {
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	bool event_idx;
	bool indirect;
	bool in_order;

	bool kicks_on;
	u16 avail_seen;

	u16 signalled_used ____cacheline_aligned_in_smp;
	bool signalled_used_valid;
};

static_assert(offsetof(struct vhl_ring, state) % __alignof__(struct split) == 0);

static __always_inline struct split *to_split(const struct vhl_ring *ring)
{
	return (struct split *)ring->state;
}

/*
 * Stores to the device area: these two and no others, so that a log of dirty memory has one place.
 * They know the ring, and where in the area they store.
 */

/* @at: offset in the area. Ordered behind all stores before it */
static __always_inline void split_store16(const struct vhl_ring *ring, size_t at, u16 value)
{
	__virtio16 *to = (void *)to_split(ring)->used + at;

	/* pairs as vhl_split_publish() says; for flags and the event it does no harm */
	virt_store_release(to, cpu_to_vhl16(value));
	vhl_ring_stored(ring, VHL_RING_DEVICE, at, sizeof(*to));
}

/* There are no more than the ring has, but they may go around its end */
static noinline void split_log_elems(const struct vhl_ring *ring, u16 idx, u16 n)
{
	u32 first = idx & (ring->num - 1);
	u32 here = min_t(u32, n, ring->num - first);

	vhl_ring_stored(ring, VHL_RING_DEVICE, SPLIT_USED_ELEM(first),
			here * sizeof(vring_used_elem_t));
	vhl_ring_stored(ring, VHL_RING_DEVICE, SPLIT_USED_ELEM(0),
			(n - here) * sizeof(vring_used_elem_t));
}

/* From the entry of the used index @idx on */
static __always_inline void split_store_elems(const struct vhl_ring *ring, u16 idx,
					      const struct vhl_done *done, unsigned int n)
{
	void *used = to_split(ring)->used;
	u16 mask = ring->num - 1;
	unsigned int i;

	for (i = 0; i < n; i++, done++) {
		size_t at = SPLIT_USED_ELEM((u16)(idx + i) & mask);
		vring_used_elem_t *to = used + at;

		WRITE_ONCE(to->id, cpu_to_vhl32(done->id));
		WRITE_ONCE(to->len, cpu_to_vhl32(done->len));
	}
	if (unlikely(ring->log))
		split_log_elems(ring, idx, n);
}

static u16 split_avail_idx(const struct split *s)
{
	return vhl16_to_cpu(READ_ONCE(s->avail->idx));
}

/* Only with EVENT_IDX: the driver's event follows its ring, ours follows the used ring. */
static u16 split_used_event(const struct vhl_ring *ring)
{
	return vhl16_to_cpu(READ_ONCE(to_split(ring)->avail->ring[ring->num]));
}

static void split_set_avail_event(struct vhl_ring *ring, u16 idx)
{
	split_store16(ring, SPLIT_USED_ELEM(ring->num), idx);
}

static size_t split_state_size(u32 num)
{
	return num <= SPLIT_NUM_MAX && is_power_of_2(num) ? sizeof(struct split) : 0;
}

/* The avail index; the used index is in the device area */
static bool split_base_ok(u32 base, u32 num)
{
	return base <= U16_MAX;
}

static struct vhl_ring_extent split_extent(u64 features, u32 num, enum vhl_ring_area area)
{
	/* the event fields are there only if they were negotiated */
	size_t event = features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX) ? sizeof(__virtio16) : 0;

	switch (area) {
	case VHL_RING_DESC:
		return (struct vhl_ring_extent) {
			.size	= num * sizeof(struct vring_desc),
			.align	= VRING_DESC_ALIGN_SIZE,
			.perm	= VHL_MEM_READ,
		};
	case VHL_RING_DRIVER:
		return (struct vhl_ring_extent) {
			.size	= sizeof(struct vring_avail) + num * sizeof(__virtio16) + event,
			.align	= VRING_AVAIL_ALIGN_SIZE,
			.perm	= VHL_MEM_READ,
		};
	default:
		return (struct vhl_ring_extent) {
			.size	= sizeof(struct vring_used) + num * sizeof(struct vring_used_elem) +
				  event,
			.align	= VRING_USED_ALIGN_SIZE,
			.perm	= VHL_MEM_WRITE,
		};
	}
}

static void split_init(struct vhl_ring *ring, const struct vhl_ring_cfg *cfg)
{
	struct split *s = to_split(ring);

	s->desc = cfg->area[VHL_RING_DESC];
	s->avail = cfg->area[VHL_RING_DRIVER];
	s->used = cfg->area[VHL_RING_DEVICE];
	s->event_idx = cfg->features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
	s->indirect = cfg->features & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC);
	s->in_order = cfg->features & BIT_ULL(VIRTIO_F_IN_ORDER);
	ring->pos = cfg->base;
	s->avail_seen = cfg->base;
	ring->pushed = vhl16_to_cpu(READ_ONCE(s->used->idx));
	s->signalled_used = ring->pushed;
	s->kicks_on = true;
	/* with EVENT_IDX flags have to be 0, whatever used the area before (2.7.10.2) */
	split_store16(ring, SPLIT_USED_FLAGS, 0);
	vhl_split_no_kicks(ring);
}

static u32 split_base(const struct vhl_ring *ring)
{
	return ring->pos;
}

/* Read the avail index anew. Return: chains to take, or -EINVAL. */
static int split_refill(struct vhl_ring *ring)
{
	struct split *s = to_split(ring);
	u16 idx = split_avail_idx(s);
	u16 n = idx - (u16)ring->pos;

	if (!n) {
		ring->dry = true;
		ring->dry_pos = ring->pos;
		return 0;
	}
	if (unlikely(n > ring->num))
		return vhl_ring_bad(ring, VHL_FAULT_AVAIL_JUMP);
	/*
	 * Index before entries and descriptors.  Pairs with the write barrier of the driver between
	 * filling an avail entry and moving the index (2.7.13.3.1).
	 */
	virt_rmb();
	s->avail_seen = idx;
	return n;
}

static int split_add_indirect(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len)
{
	u32 num = len / sizeof(struct vring_desc), i = 0, walked = 0;
	struct vhl_table_desc raw;
	struct vhl_table table;
	u16 flags;
	u64 rest;
	int ret;

	static_assert(sizeof(raw) == sizeof(struct vring_desc));

	if (unlikely(!num || len % sizeof(struct vring_desc)))
		return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_LEN);
	ret = vhl_table_find(ring, &table, addr, len);
	if (unlikely(ret))
		return ret;

	/*
	 * No descriptor counts twice, so the walk ends after num steps; the driver may rewrite its
	 * table meanwhile, which harms nobody but itself.
	 */
	for (;;) {
		ret = vhl_table_read(ring, &table, i, &raw);
		if (unlikely(ret))
			return ret;
		/* struct vring_desc: the address, then len, flags and next from the low end on */
		rest = le64_to_cpu(raw.word[1]);
		flags = rest >> 32;

		if (unlikely(flags & VRING_DESC_F_INDIRECT))
			return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_NESTED);
		ret = vhl_chain_add(ring, chain, le64_to_cpu(raw.word[0]), (u32)rest,
				    flags & VRING_DESC_F_WRITE);
		if (unlikely(ret))
			return ret;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;

		i = rest >> 48;
		if (unlikely(i >= num))
			return vhl_ring_bad(ring, VHL_FAULT_NEXT);
		if (unlikely(++walked == num || walked > VHL_IOV_MAX))
			return vhl_ring_bad(ring, VHL_FAULT_LOOP);
	}
}

/* A chain that vhl_chain_one() does not make; what was read of its first descriptor, @desc */
static int split_walk(struct vhl_ring *ring, struct vhl_chain *chain, const struct vring_desc *desc,
		      u64 addr, u32 len, u16 flags)
{
	const struct split *s = to_split(ring);
	u16 num = ring->num, walked = 0, i;
	int ret;

	vhl_chain_begin(ring, chain);
	for (;;) {
		if (flags & VRING_DESC_F_INDIRECT) {
			if (unlikely(!s->indirect))
				return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_FEATURE);
			/* 2.7.5.3.1: a driver must not set both */
			if (unlikely(flags & VRING_DESC_F_NEXT))
				return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_NEXT);
			return split_add_indirect(ring, chain, addr, len);
		}
		ret = vhl_chain_add(ring, chain, addr, len, flags & VRING_DESC_F_WRITE);
		if (unlikely(ret))
			return ret;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;

		i = vhl16_to_cpu(READ_ONCE(desc->next));
		if (unlikely(i >= num))
			return vhl_ring_bad(ring, VHL_FAULT_NEXT);
		if (unlikely(++walked == num))
			return vhl_ring_bad(ring, VHL_FAULT_LOOP);
		desc = &s->desc[array_index_nospec(i, num)];
		addr = vhl64_to_cpu(READ_ONCE(desc->addr));
		len = vhl32_to_cpu(READ_ONCE(desc->len));
		flags = vhl16_to_cpu(READ_ONCE(desc->flags));
	}
}

/* The rest of a take, for such a chain */
static noinline int split_take_more(struct vhl_ring *ring, struct vhl_chain *chain,
				    const struct vring_desc *desc, u64 addr, u32 len, u16 flags)
{
	int ret = split_walk(ring, chain, desc, addr, len, flags);

	if (unlikely(ret))
		return ret;
	ring->pos = (u16)(ring->pos + 1);
	return 1;
}

int vhl_split_take(struct vhl_ring *ring, struct vhl_chain *chain)
{
	const struct split *s = to_split(ring);
	const struct vring_desc *desc;
	u16 idx = ring->pos, flags;
	u32 num = ring->num, len;
	u64 addr;

	if (idx == s->avail_seen) {
		int ret = split_refill(ring);

		if (ret <= 0)
			return ret;
	}
	ring->dry = false;

	chain->id = vhl16_to_cpu(READ_ONCE(s->avail->ring[idx & (num - 1)]));
	if (unlikely(chain->id >= num))
		return vhl_ring_bad(ring, VHL_FAULT_HEAD);
	/* backends index with it, too */
	chain->id = array_index_nospec(chain->id, num);
	desc = &s->desc[chain->id];
	addr = vhl64_to_cpu(READ_ONCE(desc->addr));
	len = vhl32_to_cpu(READ_ONCE(desc->len));
	flags = vhl16_to_cpu(READ_ONCE(desc->flags));
	if (flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT) ||
	    !vhl_chain_one(ring, chain, addr, len, flags & VRING_DESC_F_WRITE))
		return split_take_more(ring, chain, desc, addr, len, flags);
	ring->pos = (u16)(idx + 1);
	return 1;
}

bool vhl_split_empty(const struct vhl_ring *ring)
{
	return split_avail_idx(to_split(ring)) == (u16)vhl_ring_awaited(ring);
}

bool vhl_split_ask_kick(struct vhl_ring *ring)
{
	struct split *s = to_split(ring);

	s->kicks_on = true;
	if (s->event_idx)
		split_set_avail_event(ring, vhl_ring_awaited(ring));
	else
		split_store16(ring, SPLIT_USED_FLAGS, 0);
	/*
	 * Ask for the kick before looking once more. Pairs with the full barrier of the driver
	 * between moving the avail index and reading flags or event (2.7.13.4.1): one of the two
	 * sees the other's store.
	 */
	virt_mb();
	return !vhl_split_empty(ring);
}

void vhl_split_no_kicks(struct vhl_ring *ring)
{
	struct split *s = to_split(ring);

	if (!s->kicks_on)
		return;
	s->kicks_on = false;
	/*
	 * With EVENT_IDX an event that the driver has passed is as good as none: it will not pass
	 * it again before 2^16 more chains.
	 */
	if (!s->event_idx)
		split_store16(ring, SPLIT_USED_FLAGS, VRING_USED_F_NO_NOTIFY);
}

/*
 * Section 2.7.9: the entry of the last chain of a batch is where that of the first would be. Those
 * that are left out count as used completely, so they are such as are only read.
 */
static void split_push_in_order(struct vhl_ring *ring, u16 idx, const struct vhl_done *done,
				unsigned int n)
{
	const struct vhl_done *end = done + n;

	while (done != end) {
		const struct vhl_done *first = done;

		while (!done->len && done + 1 != end)
			done++;
		split_store_elems(ring, idx, done, 1);
		done++;
		idx += done - first;
	}
}

void vhl_split_push(struct vhl_ring *ring, const struct vhl_done *done, unsigned int n)
{
	u16 idx = ring->pushed;

	ring->pushed += n;
	if (to_split(ring)->in_order)
		split_push_in_order(ring, idx, done, n);
	else
		split_store_elems(ring, idx, done, n);
}

static bool split_calls_are_off(const struct split *s)
{
	return vhl16_to_cpu(READ_ONCE(s->avail->flags)) & VRING_AVAIL_F_NO_INTERRUPT;
}

bool vhl_split_publish(struct vhl_ring *ring)
{
	struct split *s = to_split(ring);
	u16 new = ring->pushed, old;
	bool valid;

	/*
	 * Entries, and what was written to buffers, before the index. Pairs with the read barrier
	 * of the driver between the used index and the used entry (2.7.14).
	 */
	split_store16(ring, SPLIT_USED_IDX, new);
	/*
	 * Publish before looking whether a call is wanted. Pairs with the full barrier of the
	 * driver between enabling calls and looking at the used index again (2.7.7.1).
	 */
	virt_mb();

	old = s->signalled_used;
	valid = s->signalled_used_valid;
	s->signalled_used = new;
	s->signalled_used_valid = true;
	if (!s->event_idx)
		return !split_calls_are_off(s);
	/* The first publication does not know what the driver saw before: tell it. */
	return !valid || vring_need_event(split_used_event(ring), new, old);
}

static bool split_owes_call(const struct vhl_ring *ring, bool told)
{
	const struct split *s = to_split(ring);
	u16 idx = s->signalled_used;

	if (!s->event_idx)
		return !told && !split_calls_are_off(s);
	/*
	 * It waits for the entry at its event, and looks again after it has asked for that: so
	 * there is nothing to tell when the event is yet to come. An event a ring's length ago is
	 * no request: there cannot be so many entries that it did not see.
	 */
	return vring_need_event(split_used_event(ring), idx, idx - ring->num);
}

const struct vhl_ring_format vhl_split_format = {
	.features	= BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | BIT_ULL(VIRTIO_RING_F_EVENT_IDX),
	.first_base	= 0,
	.state_size	= split_state_size,
	.base_ok	= split_base_ok,
	.extent		= split_extent,
	.init		= split_init,
	.base		= split_base,
	.take		= vhl_split_take,
	.empty		= vhl_split_empty,
	.ask_kick	= vhl_split_ask_kick,
	.no_kicks	= vhl_split_no_kicks,
	.push		= vhl_split_push,
	.publish	= vhl_split_publish,
	.owes_call	= split_owes_call,
};
