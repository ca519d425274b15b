// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>

#include "driver_split.h"

bool faults_seen[VHL_FAULT_NR];

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void rig_make_segs(struct rig *r, unsigned int max, bool log)
{
	if (vhl_segs_alloc(&r->cfg.segs, max, log))
		abort();
}

struct rig *rig_new(u16 num, u16 base, unsigned int flags)
{
	struct rig *r = must(calloc(1, sizeof(*r)));

	guest_init(&r->guest);
	if (!(flags & RIG_NO_RAM))
		guest_add(&r->guest, RAM, RAM_SIZE, RW);
	r->num = num;
	r->event_idx = flags & RIG_EVENT_IDX;
	r->desc = must(calloc(num, sizeof(struct vring_desc)));
	r->avail = must(calloc(1, 6 + num * 2));
	r->used = must(calloc(1, 6 + num * 8));
	r->used->idx = cpu_to_vhl16(base);
	r->avail->idx = cpu_to_vhl16(base);
	r->avail_idx = base;
	r->used_idx = base;
	r->cfg = (struct vhl_ring_cfg) {
		.features = (flags & RIG_EVENT_IDX ? BIT_ULL(VIRTIO_RING_F_EVENT_IDX) : 0) |
			    (flags & RIG_NO_INDIRECT ? 0 : BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC)),
		.num = num,
		.base = base,
		.area = { r->desc, r->avail, r->used },
		.mem = &r->guest.mem,
	};
	rig_make_segs(r, VHL_IOV_MAX, flags & RIG_LOG);
	r->ring = must(vhl_ring_new(&r->cfg));
	return r;
}

void rig_set_segs(struct rig *r, unsigned int max)
{
	bool log = r->cfg.segs.log;

	vhl_segs_free(&r->cfg.segs);
	rig_make_segs(r, max, log);
	vhl_ring_set_segs(r->ring, &r->cfg.segs);
}

void rig_restart(struct rig *r, u16 base)
{
	vhl_ring_free(r->ring);
	r->cfg.base = base;
	r->ring = must(vhl_ring_new(&r->cfg));
}

void rig_three_regions(struct rig *r)
{
	guest_add(&r->guest, HI + 0x2000, 0x1000, RW);
	guest_add(&r->guest, HI, 0x1000, RW);
	guest_add(&r->guest, HI + 0x1000, 0x1000, RW);
}

void rig_free(struct rig *r)
{
	guest_fini(&r->guest);
	free(r->desc);
	free(r->avail);
	free(r->used);
	vhl_segs_free(&r->cfg.segs);
	vhl_ring_free(r->ring);
	free(r);
}

void drv_desc(struct rig *r, u16 i, u64 addr, u32 len, u16 flags, u16 next)
{
	table_set(&r->desc[i], addr, len, flags, next);
}

void drv_chain(struct rig *r, u16 first, const struct buf *bufs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		drv_desc(r, (first + i) & (r->num - 1), bufs[i].addr, bufs[i].len,
			 (bufs[i].write ? F_WRITE : 0) | (i + 1 < n ? F_NEXT : 0),
			 (first + i + 1) & (r->num - 1));
}

void drv_indirect(struct rig *r, u16 d, u64 addr, const struct buf *bufs, unsigned int n)
{
	struct vring_desc *table = guest_ptr(&r->guest, addr, n * sizeof(*table));
	unsigned int i;

	if (!table)
		abort();
	for (i = 0; i < n; i++)
		table_set(&table[i], bufs[i].addr, bufs[i].len,
			  (bufs[i].write ? F_WRITE : 0) | (i + 1 < n ? F_NEXT : 0), i + 1);
	drv_desc(r, d, addr, n * sizeof(*table), F_INDIRECT, 0);
}

void drv_avail(struct rig *r, u16 head)
{
	WRITE_ONCE(r->avail->ring[r->avail_idx++ & (r->num - 1)], cpu_to_vhl16(head));
}

void drv_show(struct rig *r)
{
	__atomic_store_n(&r->avail->idx, cpu_to_vhl16(r->avail_idx), __ATOMIC_RELEASE);
}

void drv_post(struct rig *r, u16 head)
{
	drv_avail(r, head);
	drv_show(r);
}

void drv_post_chain(struct rig *r, const struct buf *bufs, unsigned int n)
{
	drv_chain(r, 0, bufs, n);
	drv_post(r, 0);
}

void drv_post_table(struct rig *r, u64 addr, u32 len, u16 flags, u16 next)
{
	drv_desc(r, 0, addr, len, F_INDIRECT | flags, next);
	drv_post(r, 0);
}

bool drv_add(struct rig *r, unsigned int n)
{
	static const struct buf one = { RAM, 100, false };
	u16 old = r->avail_idx;

	while (n--) {
		u16 head = r->avail_idx & (r->num - 1);

		drv_chain(r, head, &one, 1);
		drv_avail(r, head);
	}
	drv_show(r);
	return drv_want_kick(r, old);
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

bool drv_used(struct rig *r, u32 *id, u32 *len)
{
	u16 idx = vhl16_to_cpu(__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE));
	const struct vring_used_elem *elem = &r->used->ring[r->used_idx & (r->num - 1)];

	if (idx == r->used_idx)
		return false;
	*id = vhl32_to_cpu(READ_ONCE(elem->id));
	*len = vhl32_to_cpu(READ_ONCE(elem->len));
	r->used_idx++;
	return true;
}

int rig_take(struct rig *r)
{
	/* nothing of an older chain may shine through */
	r->chain.iov = NULL;
	r->chain.id = 0xa5a5;
	r->chain.out_num = r->chain.in_num = r->chain.out_len = r->chain.in_len = 0xa5a5a5;
	return vhl_ring_take(r->ring, &r->chain);
}

void rig_rewind(struct rig *r, u16 n)
{
	vhl_ring_rewind(r->ring, (u16)(vhl_ring_mark(r->ring) - n));
}

void rig_push(struct rig *r, u16 id, u32 len)
{
	const struct vhl_done done = { .id = id, .len = len };

	vhl_ring_push(r->ring, &done, 1);
}

void rig_drain(struct rig *r)
{
	while (rig_take(r) == 1)
		rig_push(r, r->chain.id, 0);
	CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
}

enum vhl_ring_fault rig_why(const struct rig *r, int err)
{
	switch (err) {
	case -EINVAL:
		return r->ring->fault;
	case -ENXIO:
		return r->ring->miss.mapped ? VHL_FAULT_PERMISSION : VHL_FAULT_ADDRESS;
	case -EFAULT:
		return VHL_FAULT_ACCESS;
	}
	return VHL_FAULT_NONE;
}

bool rig_expect(const char *file, int line, struct rig *r, u16 head, const struct buf *bufs,
		unsigned int n)
{
	int ret;

	log_poison(&r->cfg.segs);
	ret = rig_take(r);
	if (ret != 1 || r->ring->fault) {
		tap_fail(file, line, "take: %d, fault: %s", ret,
			 vhl_ring_fault_name(rig_why(r, ret)));
		return false;
	}
	if (r->chain.id != head) {
		tap_fail(file, line, "head is %u, not %u", r->chain.id, head);
		return false;
	}
	return chain_compare(file, line, &r->guest, &r->chain, bufs, n) &&
	       log_compare(file, line, &r->guest, &r->cfg.segs, bufs, n);
}

bool rig_miss_is_true(const struct rig *r)
{
	const struct vhl_miss *miss = &r->ring->miss;
	const struct vhost_iotlb_map *region = guest_find(&r->guest, miss->addr);

	if (miss->perm != VHL_MEM_READ && miss->perm != VHL_MEM_WRITE)
		return false;
	return miss->mapped ? region && !(region->perm & miss->perm) : !region;
}

void rig_fault(const char *file, int line, struct rig *r, enum vhl_ring_fault fault)
{
	u32 before = vhl_ring_mark(r->ring);
	u16 inflight = vhl_ring_inflight(r->ring);
	int i, ret;

	for (i = 0; i < 3; i++) {
		ret = rig_take(r);
		if (rig_why(r, ret) != fault) {
			tap_fail(file, line, "take %d: %d, '%s', not '%s'", i, ret,
				 vhl_ring_fault_name(rig_why(r, ret)), vhl_ring_fault_name(fault));
			return;
		}
		if (ret != -EINVAL && r->ring->fault)
			tap_fail(file, line, "what may pass spoils the ring");
		if (ret == -ENXIO && !rig_miss_is_true(r))
			tap_fail(file, line, "the miss is not one");
		if (vhl_ring_mark(r->ring) != before || vhl_ring_inflight(r->ring) != inflight)
			tap_fail(file, line, "the index moved past a bad chain");
		/* a driver that mends its ring does not mend the queue */
		if (i == 1 && ret == -EINVAL)
			drv_desc(r, r->chain.id & (r->num - 1), RAM, 1, 0, 0);
	}
	faults_seen[fault] = true;
}

const char *rig_wrong(const struct rig *r)
{
	const char *wrong;

	if (r->ring->fault)
		return "a chain from a ring with a fault";
	wrong = chain_wrong(&r->guest, &r->chain, r->num);
	return wrong ?: log_wrong(&r->guest, &r->cfg.segs, &r->chain);
}

void rig_used(const char *file, int line, struct rig *r, u16 head, u32 len)
{
	u32 is_id, is_len;

	if (!drv_used(r, &is_id, &is_len))
		tap_fail(file, line, "no used entry");
	else if (is_id != head || is_len != len)
		tap_fail(file, line, "used entry is %u, %u bytes, not %u, %u bytes", is_id, is_len,
			 head, len);
}
