// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>

#include <linux/kernel.h>

#include "driver_split.h"

void drv_init(struct rig *r, u16 base)
{
	r->desc = must(calloc(r->num, sizeof(struct vring_desc)));
	r->avail = must(calloc(1, 6 + r->num * 2));
	r->used = must(calloc(1, 6 + r->num * 8));
	r->used->idx = cpu_to_vhl16(base);
	r->avail->idx = cpu_to_vhl16(base);
	r->avail_idx = base;
	r->used_idx = base;
	r->cfg.base = base;
	r->cfg.area[VHL_RING_DESC] = r->desc;
	r->cfg.area[VHL_RING_DRIVER] = r->avail;
	r->cfg.area[VHL_RING_DEVICE] = r->used;
}

void drv_fini(struct rig *r)
{
	free(r->desc);
	free(r->avail);
	free(r->used);
}

void table_set(void *desc, u64 addr, u32 len, u16 flags, u16 next)
{
	struct vring_desc *d = desc;

	*(volatile u64 *)&d->addr = cpu_to_le64(addr);
	*(volatile u32 *)&d->len = cpu_to_le32(len);
	*(volatile u16 *)&d->flags = cpu_to_le16(flags);
	*(volatile u16 *)&d->next = cpu_to_le16(next);
}

void drv_desc(struct rig *r, u16 i, u64 addr, u32 len, u16 flags, u16 next)
{
	table_set(&r->desc[i], addr, len, flags, next);
}

void drv_avail(struct rig *r, u16 head)
{
	r->order[r->avail_idx] = head;
	WRITE_ONCE(r->avail->ring[r->avail_idx++ & (r->num - 1)], cpu_to_vhl16(head));
}

void drv_show(struct rig *r)
{
	__atomic_store_n(&r->avail->idx, cpu_to_vhl16(r->avail_idx), __ATOMIC_RELEASE);
}

void drv_replace(struct rig *r, u16 old __maybe_unused, u16 head)
{
	r->avail->ring[(u16)(r->avail_idx - 1) & (r->num - 1)] = cpu_to_vhl16(head);
}

u16 drv_at(const struct rig *r)
{
	return r->avail_idx;
}

bool drv_want_kick(const struct rig *r, u16 old)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!r->event_idx)
		return !(vhl16_to_cpu(READ_ONCE(r->used->flags)) & VRING_USED_F_NO_NOTIFY);
	return vring_need_event(vhl16_to_cpu(READ_ONCE(*(__virtio16 *)&r->used->ring[r->num])),
				r->avail_idx, old);
}

void drv_set_used_event(struct rig *r, u16 idx)
{
	WRITE_ONCE(r->avail->ring[r->num], cpu_to_vhl16(idx));
}

void drv_set_flags(struct rig *r, u16 flags)
{
	WRITE_ONCE(r->avail->flags, cpu_to_vhl16(flags));
}

void drv_ask_call(struct rig *r)
{
	drv_set_used_event(r, r->used_idx);
	drv_set_flags(r, 0);
}

void drv_no_calls(struct rig *r)
{
	drv_set_flags(r, VRING_AVAIL_F_NO_INTERRUPT);
}

void drv_random_calls(struct rig *r, struct rng *rng)
{
	drv_set_used_event(r, r->used_idx + (rng_below(rng, 3) ? 0 : rng_below(rng, 2 * r->num)));
	drv_set_flags(r, rng_below(rng, 2));
}

bool drv_call_is_due(const struct rig *r)
{
	u16 event = vhl16_to_cpu(r->avail->ring[r->num]);

	if (!r->event_idx)
		return !(vhl16_to_cpu(r->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return !r->ever_told || vring_need_event(event, r->pushed, r->told);
}

void drv_published(struct rig *r)
{
	r->told = r->pushed;
	r->ever_told = true;
}

void drv_began(struct rig *r)
{
	r->pushed = vhl16_to_cpu(r->used->idx);
	r->told = r->pushed;
	r->ever_told = false;
}

u16 drv_random_num(struct rng *rng)
{
	return 1 << rng_below(rng, 9);
}

bool drv_pending(const struct rig *r)
{
	return vhl16_to_cpu(__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE)) != r->used_idx;
}

bool drv_used(struct rig *r, u32 *id, u32 *len)
{
	const struct vring_used_elem *elem = &r->used->ring[r->used_idx & (r->num - 1)];

	if (!drv_pending(r))
		return false;
	if (!r->in_batch) {
		r->batch_id = vhl32_to_cpu(READ_ONCE(elem->id));
		r->batch_len = vhl32_to_cpu(READ_ONCE(elem->len));
		r->batches++;
	}
	*id = r->in_order ? r->order[r->used_idx] : r->batch_id;
	r->in_batch = *id != r->batch_id;
	*len = r->in_batch ? 0 : r->batch_len;
	r->used_idx++;
	return true;
}

void drv_mend(struct rig *r)
{
	drv_desc(r, r->chain.id & (r->num - 1), RAM, 1, 0, 0);
}
