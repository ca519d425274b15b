// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include <linux/kernel.h>
#include <linux/numa.h>
#include <linux/virtio_config.h>

#include "driver.h"

bool faults_seen[VHL_FAULT_NR];

void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void rig_make_segs(struct rig *r, unsigned int max, bool log)
{
	if (vhl_segs_alloc(&r->cfg.segs, max, log, NUMA_NO_NODE))
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
	r->in_order = flags & RIG_IN_ORDER;
	r->cfg = (struct vhl_ring_cfg) {
		.features = DRV_FEATURES |
			    (flags & RIG_IN_ORDER ? BIT_ULL(VIRTIO_F_IN_ORDER) : 0) |
			    (flags & RIG_EVENT_IDX ? BIT_ULL(VIRTIO_RING_F_EVENT_IDX) : 0) |
			    (flags & RIG_NO_INDIRECT ? 0 : BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC)),
		.num = num,
		.mem = &r->guest.mem,
	};
	drv_init(r, base);
	drv_began(r);
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

void rig_restart(struct rig *r, u32 base)
{
	vhl_ring_free(r->ring);
	r->cfg.base = base;
	r->ring = must(vhl_ring_new(&r->cfg));
	drv_began(r);
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
	drv_fini(r);
	vhl_segs_free(&r->cfg.segs);
	vhl_ring_free(r->ring);
	free(r);
}

void drv_chain(struct rig *r, u16 first, const struct buf *bufs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		drv_desc(r, (first + i) % r->num, bufs[i].addr, bufs[i].len,
			 (bufs[i].write ? F_WRITE : 0) | (i + 1 < n ? F_NEXT : 0),
			 (first + i + 1) % r->num);
}

void drv_indirect(struct rig *r, u16 d, u64 addr, const struct buf *bufs, unsigned int n)
{
	struct vhl_table_desc *table = guest_ptr(&r->guest, addr, n * sizeof(*table));
	unsigned int i;

	if (!table)
		abort();
	for (i = 0; i < n; i++)
		table_set(&table[i], bufs[i].addr, bufs[i].len,
			  (bufs[i].write ? F_WRITE : 0) | (i + 1 < n ? F_NEXT : 0), i + 1);
	drv_desc(r, d, addr, n * sizeof(*table), F_INDIRECT, 0);
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
	u16 old = drv_at(r);

	while (n--) {
		u16 head = (drv_at(r) & 0x7fff) % r->num;

		drv_chain(r, head, &one, 1);
		drv_avail(r, head);
	}
	drv_show(r);
	return drv_want_kick(r, old);
}

/* What chains miss is found without consequences */
static void look_ahead(struct rig *r)
{
	const struct vhl_miss first = r->ring->miss;
	struct vhl_miss miss[4];
	struct vhl_wanted wanted = { .miss = miss, .max = ARRAY_SIZE(miss) };
	u32 mark = vhl_ring_mark(r->ring);
	u16 inflight = vhl_ring_inflight(r->ring);
	unsigned int i;

	vhl_ring_look_ahead(r->ring, &wanted);
	CHECK(wanted.n >= 1 && wanted.n <= ARRAY_SIZE(miss));
	CHECK(miss[0].addr == first.addr && miss[0].perm == first.perm);
	for (i = 0; i < wanted.n; i++) {
		const struct vhost_iotlb_map *region = guest_find(&r->guest, miss[i].addr);

		/* one that retires is not there */
		CHECK(!miss[i].mapped && (!region || !region->perm));
	}
	CHECK_EQ(r->ring->fault, VHL_FAULT_NONE);
	CHECK_EQ(vhl_ring_mark(r->ring), mark);
	CHECK_EQ(vhl_ring_inflight(r->ring), inflight);
	r->ring->miss = first;
}

int rig_take(struct rig *r)
{
	int ret;

	/* nothing of an older chain may shine through */
	r->chain.iov = NULL;
	r->chain.id = 0xa5a5;
	r->chain.out_num = r->chain.in_num = r->chain.out_len = r->chain.in_len = 0xa5a5a5;
	ret = vhl_ring_take(r->ring, &r->chain);
	if (ret == 1)
		drv_taken(r, r->chain.id);
	if (ret == -ENXIO && !r->ring->miss.mapped)
		look_ahead(r);
	return ret;
}

void rig_rewind(struct rig *r, u16 n)
{
	drv_rewound(r, n);
}

void rig_push_batch(struct rig *r, const struct vhl_done *done, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		drv_pushed(r, done[i].id);
	vhl_ring_push(r->ring, done, n);
}

bool rig_publish(struct rig *r)
{
	bool due = drv_call_is_due(r), call = vhl_ring_publish(r->ring);

	if (call != due)
		tap_fail(__FILE__, __LINE__, "a call that is %sdue", due ? "" : "not ");
	drv_published(r);
	return call;
}

void rig_push(struct rig *r, u16 id, u32 len)
{
	const struct vhl_done done = { .id = id, .len = len };

	rig_push_batch(r, &done, 1);
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
	return miss->mapped ? region && !(region->perm & miss->perm) : !region || !region->perm;
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
			drv_mend(r);
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

void rig_all_faults(const bool others[VHL_FAULT_NR])
{
	unsigned int i;

	for (i = 0; i < VHL_FAULT_NR; i++)
		if (faults_seen[i] == others[i])
			tap_fail(__FILE__, __LINE__, "%s: '%s'",
				 others[i] ? "not the ring's to find" : "no test had it",
				 vhl_ring_fault_name(i));
}
