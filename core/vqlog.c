// SPDX-License-Identifier: GPL-2.0
/*
 * What a queue logs: buffers, as its backend says, and the areas of its ring, which the ring does
 * by itself. Where the device area is for the guest the client says (log_guest_addr). Other areas
 * that the device writes, the descriptors of a packed ring, are looked up in the table of memory.
 *
 * Where the driver names memory by IOVA, the log is of other addresses. The owner's are what both
 * maps have in common, so those are looked up in the table. Areas of a ring are marked as a whole
 * then, at the end of a turn: all that the device writes it writes in turns, and before the VMM
 * copies memory for the last time it has stopped the queue.
 */
#include <linux/minmax.h>
#include <linux/vhost.h>

#include "internal.h"

static bool vqlog_find(const struct vhl_mem *mem, u64 uaddr, size_t size, u64 *addr)
{
	const struct vhost_iotlb_map *region;

	if (!vhl_mem_regions(mem))
		return false;
	list_for_each_entry(region, &mem->iotlb->list, link) {
		u64 off = uaddr - region->addr;

		if (uaddr < region->addr || off >= region->size || region->size - off < size)
			continue;
		*addr = region->start + off;
		return true;
	}
	return false;
}

/* The log of a ring. Return: false where some of its areas is not in @mem, or has no bits */
static bool vqlog_ring(const struct vhl_vq *vq, const struct vhl_dirty_log *log,
		       const struct vhl_mem *mem, u64 log_addr, struct vhl_ring_log *ring_log)
{
	unsigned int i;

	*ring_log = (struct vhl_ring_log){ .bitmap = &log->map };
	for (i = 0; i < VHL_RING_AREAS; i++) {
		struct vhl_ring_extent extent =
			vhl_ring_extent(vq->dev->features[0], vq->num, i);
		u64 *addr = &ring_log->addr[i];

		if (!(extent.perm & VHL_MEM_WRITE))
			continue;
		if (i == VHL_RING_DEVICE)
			*addr = log_addr;
		else if (!vqlog_find(mem, vq->ring_area[i], extent.size, addr))
			return false;
		if (!vhl_bitmap_covers(&log->map, *addr, extent.size))
			return false;
	}
	return true;
}

/*
 * Can all be logged that the client wants of a queue, once it runs, with this memory and @log or,
 * if that is NULL, no bitmap?
 */
bool vhl_vq_log_ok(const struct vhl_vq *vq, const struct vhl_dirty_log *log,
		   const struct vhl_mem *mem)
{
	struct vhl_ring_log ring_log;

	if (!log)
		return !vhl_has_feature(vq->dev, VHOST_F_LOG_ALL) &&
		       /* one that waits for its ring goes on like others when logging ends */
		       (!vq->logs_ring || vq->state == VHL_VQ_UNMAPPED);
	if (vhl_miss_may_ask(vq->dev))
		return true;
	return !vq->logs_ring || vqlog_ring(vq, log, mem, vq->log_addr, &ring_log);
}

/* For the queue's ring: where it logs, or NULL. Context: it is not in use, or held still */
const struct vhl_ring_log *vhl_vq_ring_log(struct vhl_vq *vq)
{
	const struct vhl_dev *dev = vq->dev;

	if (!dev->dirty || !vq->logs_ring || vhl_miss_may_ask(dev) ||
	    !vqlog_ring(vq, dev->dirty, &dev->mem, vq->log_addr, &vq->ring_log))
		return NULL;
	return &vq->ring_log;
}

/* The bitmap is another one, or the memory, or the client wants something else */
void vhl_vq_update_log(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	spin_lock_irq(&vq->used_lock);
	vhl_ring_set_log(vq->ring, vhl_vq_ring_log(vq));
	spin_unlock_irq(&vq->used_lock);
}

/* Whether areas are logged, and where the device area is: also of a ring that is in use */
int vhl_vq_set_log(struct vhl_vq *vq, bool on, u64 log_addr)
{
	const struct vhl_dev *dev = vq->dev;
	struct vhl_ring_extent extent =
		vhl_ring_extent(dev->features[0], vq->num, VHL_RING_DEVICE);
	struct vhl_ring_log ring_log;

	lockdep_assert_held(&dev->mutex);

	if (on && (!IS_ALIGNED(log_addr, extent.align) || log_addr + extent.size < log_addr))
		return -EINVAL;
	if (!vhl_vq_started(vq)) {
		vq->logs_ring = on;
		vq->log_addr = log_addr;
		return 0;
	}
	if (on && !dev->dirty)
		return -EINVAL;
	if (on && !vhl_miss_may_ask(dev) &&
	    !vqlog_ring(vq, dev->dirty, &dev->mem, log_addr, &ring_log))
		return -EINVAL;
	vhl_vq_lock(vq);
	vq->logs_ring = on;
	vq->log_addr = log_addr;
	vhl_vq_update_log(vq);
	vhl_vq_unlock(vq);
	return 0;
}

/* Mark what the owner has there, wherever that is for the guest */
static void vqlog_mark_uaddr(struct vhl_dev *dev, u64 uaddr, u64 len)
{
	u64 last = uaddr + (len - 1);
	const struct vhost_iotlb_map *region;

	if (!vhl_mem_regions(&dev->table))
		return;
	list_for_each_entry(region, &dev->table.iotlb->list, link) {
		u64 first = max(uaddr, region->addr);
		u64 end = min(last, region->addr + (region->size - 1));

		if (first <= end)
			vhl_bitmap_mark(&dev->dirty->map, region->start + (first - region->addr),
					end - first + 1);
	}
}

static void vqlog_mark_iova(struct vhl_vq *vq, u64 iova, u32 len)
{
	const struct vhost_iotlb_map *region;
	u64 part;

	/* within the turn that wrote there it stays in the map */
	lockdep_assert_held(&vq->mutex);

	while (len) {
		region = vhl_mem_lookup_again(&vq->dev->mem, iova);
		if (!region)
			return;
		part = min_t(u64, len, region->last - iova + 1);
		vqlog_mark_uaddr(vq->dev, region->addr + (iova - region->start), part);
		iova += part;
		len -= part;
	}
}

void vhl_vq_dirty(struct vhl_vq *vq, const struct vhl_log *log, unsigned int n, u32 len)
{
	const struct vhl_bitmap *map = &vq->dev->dirty->map;
	bool iova = vhl_miss_may_ask(vq->dev);
	unsigned int i;

	for (i = 0; i < n && len; i++) {
		u32 part = min(len, log[i].len);

		if (iova)
			vqlog_mark_iova(vq, log[i].addr, part);
		else
			vhl_bitmap_mark(map, log[i].addr, part);
		len -= part;
	}
	WRITE_ONCE(vq->marked, true);
}
EXPORT_SYMBOL_GPL(vhl_vq_dirty);

/* A turn ends, of a queue that has a ring */
void vhl_vq_log_turn(struct vhl_vq *vq)
{
	unsigned long hva;
	unsigned int i;

	lockdep_assert_held(&vq->mutex);

	if (likely(!vq->logs_ring) || !vq->dev->dirty || !vhl_miss_may_ask(vq->dev))
		return;
	for (i = 0; vhl_pinned_page(vq, i, &hva); i++)
		vqlog_mark_uaddr(vq->dev, hva, PAGE_SIZE);
	WRITE_ONCE(vq->marked, true);
}

/* Bits may have been set since the last time */
void vhl_vq_tell_log(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->used_lock);

	if (!vq->log_call || !(vq->ring->log || READ_ONCE(vq->marked)))
		return;
	WRITE_ONCE(vq->marked, false);
	vhl_eventfd_signal(vq->log_call);
}
