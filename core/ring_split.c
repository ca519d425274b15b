// SPDX-License-Identifier: GPL-2.0
/*
 * The split virtqueue, device's side (virtio 1.2, section 2.7).
 *
 * Barriers, each with its pair in the driver (Linux: drivers/virtio/virtio_ring.c). The virt_
 * forms are used because the other side may run on another CPU although this kernel was built
 * for one.
 */
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "ring.h"

/* Only with EVENT_IDX: the driver's event follows its ring, ours follows the used ring. */
static u16 split_used_event(const struct vhl_ring *ring)
{
	return vhl16_to_cpu(READ_ONCE(ring->cfg.avail->ring[ring->cfg.num]));
}

static void split_set_avail_event(struct vhl_ring *ring, u16 idx)
{
	__virtio16 *event = (__virtio16 *)&ring->cfg.used->ring[ring->cfg.num];

	WRITE_ONCE(*event, cpu_to_vhl16(idx));
}

static u16 split_avail_idx(const struct vhl_ring *ring)
{
	return vhl16_to_cpu(READ_ONCE(ring->cfg.avail->idx));
}

void vhl_ring_init(struct vhl_ring *ring, const struct vhl_ring_cfg *cfg)
{
	memset(ring, 0, sizeof(*ring));
	ring->cfg = *cfg;
	vhl_ring_forget(ring);
	ring->last_avail = cfg->base;
	ring->avail_seen = cfg->base;
	ring->used_next = vhl16_to_cpu(READ_ONCE(cfg->used->idx));
	ring->used_start = ring->used_next;
	ring->used_told = ring->used_next;
	ring->notify_on = true;
	/* with EVENT_IDX flags have to be 0, whoever used the area before (2.7.10.2) */
	WRITE_ONCE(cfg->used->flags, 0);
	vhl_ring_disable_notify(ring);
}

/* Read the avail index anew. Return: chains to take, or -EINVAL. */
static int split_refill(struct vhl_ring *ring)
{
	u16 idx = split_avail_idx(ring);
	u16 n = idx - ring->last_avail;

	if (!n)
		return 0;
	if (unlikely(n > ring->cfg.num)) {
		ring->fault = VHL_FAULT_AVAIL_JUMP;
		return -EINVAL;
	}
	/*
	 * Index before entries and descriptors.  Pairs with the write barrier of the driver between
	 * filling an avail entry and moving the index (2.7.13.3.1).
	 */
	virt_rmb();
	ring->avail_seen = idx;
	return n;
}

static int split_walk(struct vhl_ring *ring, struct vhl_chain *chain)
{
	u16 num = ring->cfg.num;
	u16 i = chain->id;
	u16 walked = 0;
	int ret;

	for (;;) {
		const struct vring_desc *desc = &ring->cfg.desc[array_index_nospec(i, num)];
		u64 addr = vhl64_to_cpu(READ_ONCE(desc->addr));
		u32 len = vhl32_to_cpu(READ_ONCE(desc->len));
		u16 flags = vhl16_to_cpu(READ_ONCE(desc->flags));

		if (flags & VRING_DESC_F_INDIRECT) {
			if (unlikely(!ring->cfg.indirect)) {
				ring->fault = VHL_FAULT_INDIRECT_FEATURE;
				return -EINVAL;
			}
			/* 2.7.5.3.1: a driver must not set both */
			if (unlikely(flags & VRING_DESC_F_NEXT)) {
				ring->fault = VHL_FAULT_INDIRECT_NEXT;
				return -EINVAL;
			}
			return vhl_chain_add_indirect(ring, chain, addr, len);
		}
		ret = vhl_chain_add(ring, chain, addr, len, flags & VRING_DESC_F_WRITE);
		if (unlikely(ret))
			return ret;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;

		i = vhl16_to_cpu(READ_ONCE(desc->next));
		if (unlikely(i >= num)) {
			ring->fault = VHL_FAULT_NEXT;
			return -EINVAL;
		}
		if (unlikely(++walked == num)) {
			ring->fault = VHL_FAULT_LOOP;
			return -EINVAL;
		}
	}
}

int vhl_ring_next(struct vhl_ring *ring, struct vhl_chain *chain)
{
	u16 num = ring->cfg.num;
	int ret;

	if (unlikely(ring->fault))
		return -EINVAL;
	if (ring->last_avail == ring->avail_seen) {
		ret = split_refill(ring);
		if (ret <= 0)
			return ret;
	}

	chain->id = vhl16_to_cpu(READ_ONCE(ring->cfg.avail->ring[ring->last_avail & (num - 1)]));
	if (unlikely(chain->id >= num)) {
		ring->fault = VHL_FAULT_HEAD;
		return -EINVAL;
	}
	/* backends index with it, too */
	chain->id = array_index_nospec(chain->id, num);
	chain->iov = ring->cfg.iov;
	chain->out_num = 0;
	chain->in_num = 0;
	chain->out_len = 0;
	chain->in_len = 0;
	vhl_ring_check_map(ring);
	ret = split_walk(ring, chain);
	if (unlikely(ret))
		return ret;

	ring->last_avail++;
	return 1;
}

void vhl_ring_rewind(struct vhl_ring *ring, u32 mark)
{
	ring->last_avail = mark;
}

bool vhl_ring_empty(const struct vhl_ring *ring)
{
	return split_avail_idx(ring) == ring->last_avail;
}

bool vhl_ring_grown(const struct vhl_ring *ring)
{
	return split_avail_idx(ring) != ring->avail_seen;
}

void vhl_ring_disable_notify(struct vhl_ring *ring)
{
	if (!ring->notify_on)
		return;
	ring->notify_on = false;
	/*
	 * With EVENT_IDX an event that the driver has passed is as good as none: it will not pass
	 * it again before 2^16 more chains.
	 */
	if (!ring->cfg.event_idx)
		WRITE_ONCE(ring->cfg.used->flags, cpu_to_vhl16(VRING_USED_F_NO_NOTIFY));
}

static bool split_enable_notify(struct vhl_ring *ring, u16 from)
{
	ring->notify_on = true;
	if (ring->cfg.event_idx)
		split_set_avail_event(ring, from);
	else
		WRITE_ONCE(ring->cfg.used->flags, 0);
	/*
	 * Ask for the kick before looking once more. Pairs with the full barrier of the driver
	 * between moving the avail index and reading flags or event (2.7.13.4.1): one of the two
	 * sees the other's store.
	 */
	virt_mb();
	return split_avail_idx(ring) != from;
}

bool vhl_ring_enable_notify(struct vhl_ring *ring)
{
	return split_enable_notify(ring, ring->last_avail);
}

bool vhl_ring_enable_notify_grown(struct vhl_ring *ring)
{
	return split_enable_notify(ring, ring->avail_seen);
}

void vhl_ring_push(struct vhl_ring *ring, u16 head, u32 len)
{
	u16 i = ring->used_next & (ring->cfg.num - 1);
	struct vring_used_elem *elem = (struct vring_used_elem *)&ring->cfg.used->ring[i];

	WRITE_ONCE(elem->id, cpu_to_vhl32(head));
	WRITE_ONCE(elem->len, cpu_to_vhl32(len));
	ring->used_next++;
}

bool vhl_ring_publish(struct vhl_ring *ring)
{
	u16 new = ring->used_next;
	u16 old = ring->used_told;
	bool valid = ring->told_valid;

	/*
	 * Entries, and what was written to buffers, before the index. Pairs with the read barrier
	 * of the driver between the used index and the used entry (2.7.14).
	 */
	virt_store_release(&ring->cfg.used->idx, cpu_to_vhl16(new));
	/*
	 * Publish before looking whether a call is wanted. Pairs with the full barrier of the
	 * driver between enabling calls and looking at the used index again (2.7.7.1).
	 */
	virt_mb();

	ring->used_told = new;
	ring->told_valid = true;
	if (!ring->cfg.event_idx) {
		u16 flags = vhl16_to_cpu(READ_ONCE(ring->cfg.avail->flags));

		return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	}
	/* The first publication does not know what the driver saw before: tell it. */
	return !valid || vring_need_event(split_used_event(ring), new, old);
}

bool vhl_ring_owes_call(const struct vhl_ring *ring, bool told)
{
	u16 idx = ring->used_told;

	if (!ring->cfg.event_idx)
		return !told &&
		       !(vhl16_to_cpu(READ_ONCE(ring->cfg.avail->flags)) & VRING_AVAIL_F_NO_INTERRUPT);
	/*
	 * It waits for the entry at its event, and looks again after it has asked for that: so there
	 * is nothing to tell when the event is yet to come. An event a ring's length ago is no
	 * request: there cannot be so many entries that it did not see.
	 */
	return vring_need_event(split_used_event(ring), idx, idx - ring->cfg.num);
}

u16 vhl_ring_inflight(const struct vhl_ring *ring)
{
	return (u16)(ring->last_avail - ring->cfg.base) - (u16)(ring->used_next - ring->used_start);
}
