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

struct rig *rig_new(u16 num, u16 base, unsigned int flags)
{
	struct rig *r = must(calloc(1, sizeof(*r)));
	struct vhl_ring_cfg cfg;

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
	r->ring = must(aligned_alloc(__alignof__(struct vhl_ring), sizeof(struct vhl_ring)));
	memset(r->ring, 0xa5, sizeof(*r->ring));
	cfg = (struct vhl_ring_cfg) {
		.desc = r->desc,
		.avail = r->avail,
		.used = r->used,
		.mem = &r->guest.mem,
		.iov = must(calloc(VHL_IOV_MAX, sizeof(struct iovec))),
		.iov_max = VHL_IOV_MAX,
		.num = num,
		.base = base,
		.event_idx = r->event_idx,
		.indirect = !(flags & RIG_NO_INDIRECT),
	};
	vhl_ring_init(r->ring, &cfg);
	return r;
}

void rig_set_room(struct rig *r, unsigned int max)
{
	free(r->ring->cfg.iov);
	vhl_ring_set_room(r->ring, must(calloc(max, sizeof(struct iovec))), max);
}

void rig_restart(struct rig *r, u16 base)
{
	struct vhl_ring_cfg cfg = r->ring->cfg;

	cfg.base = base;
	memset(r->ring, 0xa5, sizeof(*r->ring));
	vhl_ring_init(r->ring, &cfg);
}

void rig_free(struct rig *r)
{
	guest_fini(&r->guest);
	free(r->desc);
	free(r->avail);
	free(r->used);
	free(r->ring->cfg.iov);
	free(r->ring);
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
	return vhl_ring_next(r->ring, &r->chain);
}

struct span {
	u64 at;
	u64 len;
};

static unsigned int span_add(struct span *spans, unsigned int n, u64 at, u64 len)
{
	if (!len)
		return n;
	if (n && spans[n - 1].at + spans[n - 1].len == at) {
		spans[n - 1].len += len;
		return n;
	}
	spans[n] = (struct span){ at, len };
	return n + 1;
}

/* Where the bytes of a direction are, with neighbours merged: byte for byte, but cheap */
static unsigned int spans_wanted(const struct guest *g, const struct buf *bufs, unsigned int n,
				 bool write, struct span *spans, u64 *total)
{
	unsigned int i, nr = 0;

	*total = 0;
	for (i = 0; i < n; i++) {
		u64 addr = bufs[i].addr, len = bufs[i].len;

		if (bufs[i].write != write)
			continue;
		*total += len;
		while (len) {
			const struct vhost_iotlb_map *region = guest_find(g, addr);
			u64 part;

			if (!region)
				abort();
			part = region->last - addr < len - 1 ? region->last - addr + 1 : len;
			nr = span_add(spans, nr, region->addr + (addr - region->start), part);
			addr += part;
			len -= part;
		}
	}
	return nr;
}

static unsigned int spans_taken(const struct iovec *iov, unsigned int n, struct span *spans,
				u64 *total)
{
	unsigned int i, nr = 0;

	*total = 0;
	for (i = 0; i < n; i++) {
		nr = span_add(spans, nr, (uintptr_t)iov[i].iov_base, iov[i].iov_len);
		*total += iov[i].iov_len;
	}
	return nr;
}

bool rig_compare(const char *file, int line, const struct rig *r, const struct buf *bufs,
		 unsigned int n)
{
	static struct span want[2 * VHL_IOV_MAX], is[2 * VHL_IOV_MAX];
	const struct vhl_chain *chain = &r->chain;
	int dir;

	if (chain->out_num > VHL_IOV_MAX || chain->in_num > VHL_IOV_MAX - chain->out_num) {
		tap_fail(file, line, "%u + %u segments", chain->out_num, chain->in_num);
		return false;
	}
	for (dir = 0; dir < 2; dir++) {
		const struct iovec *iov = dir ? chain->iov + chain->out_num : chain->iov;
		unsigned int nr_want, nr_is;
		u64 len_want, len_is;

		nr_want = spans_wanted(&r->guest, bufs, n, dir, want, &len_want);
		nr_is = spans_taken(iov, dir ? chain->in_num : chain->out_num, is, &len_is);
		if (nr_want != nr_is || memcmp(want, is, nr_is * sizeof(*is))) {
			tap_fail(file, line, "%s segments differ: %u spans, not %u; %llu bytes, not %llu",
				 dir ? "in" : "out", nr_is, nr_want, len_is, len_want);
			return false;
		}
		if ((dir ? chain->in_len : chain->out_len) != len_want) {
			tap_fail(file, line, "%s_len is %u, not %llu", dir ? "in" : "out",
				 dir ? chain->in_len : chain->out_len, len_want);
			return false;
		}
	}
	return true;
}

bool rig_expect(const char *file, int line, struct rig *r, u16 head, const struct buf *bufs,
		unsigned int n)
{
	int ret = rig_take(r);

	if (ret != 1 || r->ring->fault) {
		tap_fail(file, line, "take: %d, fault: %s", ret, vhl_ring_fault_name(r->ring->fault));
		return false;
	}
	if (r->chain.id != head) {
		tap_fail(file, line, "head is %u, not %u", r->chain.id, head);
		return false;
	}
	return rig_compare(file, line, r, bufs, n);
}

void rig_fault(const char *file, int line, struct rig *r, enum vhl_ring_fault fault)
{
	bool is_access = fault == VHL_FAULT_ADDRESS || fault == VHL_FAULT_PERMISSION ||
			 fault == VHL_FAULT_ACCESS;
	u16 before = r->ring->last_avail;
	u16 inflight = vhl_ring_inflight(r->ring);
	int i, ret;

	for (i = 0; i < 3; i++) {
		ret = rig_take(r);
		if (ret >= 0 || (ret != -EINVAL && ret != -EFAULT) ||
		    (!i && (ret == -EFAULT) != is_access))
			tap_fail(file, line, "take %d: %d", i, ret);
		if (r->ring->fault != fault) {
			tap_fail(file, line, "take %d: fault is '%s', not '%s'", i,
				 vhl_ring_fault_name(r->ring->fault), vhl_ring_fault_name(fault));
			return;
		}
		if (r->ring->last_avail != before || vhl_ring_inflight(r->ring) != inflight)
			tap_fail(file, line, "the index moved past a bad chain");
		/* a driver that mends its ring does not mend the queue */
		if (i == 1)
			drv_desc(r, r->chain.id & (r->num - 1), RAM, 1, 0, 0);
	}
	faults_seen[fault] = true;
}

const char *rig_wrong(const struct rig *r)
{
	const struct vhl_chain *chain = &r->chain;
	u64 len[2] = { 0, 0 };
	unsigned int i;

	if (r->ring->fault)
		return "a chain from a ring with a fault";
	if (chain->id >= r->num)
		return "head is outside of the ring";
	if (chain->out_num > VHL_IOV_MAX || chain->in_num > VHL_IOV_MAX - chain->out_num)
		return "too many segments";
	for (i = 0; i < chain->out_num + chain->in_num; i++) {
		bool write = i >= chain->out_num;

		if (!chain->iov[i].iov_len)
			return "a segment without bytes";
		if (!guest_owns(&r->guest, (uintptr_t)chain->iov[i].iov_base, chain->iov[i].iov_len,
				write ? VHL_MEM_WRITE : VHL_MEM_READ))
			return "a segment outside of what is mapped for it";
		len[write] += chain->iov[i].iov_len;
	}
	if (len[0] != chain->out_len || len[1] != chain->in_len)
		return "lengths differ from those of the segments";
	if (len[0] + len[1] > U32_MAX)
		return "4 GiB or more";
	return NULL;
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
