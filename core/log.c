// SPDX-License-Identifier: GPL-2.0
/*
 * Dirty logging: where the VMM's bitmap comes from, and when it is used.
 *
 * The VMM migrates the guest while the device writes to its memory, and copies again what the
 * device marks in the bitmap. Buffers are marked by the backend (vhl_vq_dirty()), areas of the
 * ring by the ring, the former with VHOST_F_LOG_ALL, the latter with VHOST_VRING_F_LOG.
 *
 * The bitmap is pinned, for the sake of marks in interrupts: of its pages those that have bits of
 * guest memory, so large holes in the guest's address space cost nothing. The ABI does not say how
 * large it is: it reaches to the end of guest memory. When a table of memory is set that wants
 * more, more of what is there is pinned.
 *
 * A change waits for turns to end and for what is in flight, with the mutexes of all queues held:
 * what is taken afterwards is marked as it says, so nothing falls in between.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include "internal.h"

/* Pages of a bitmap at most: it reaches to 128 TiB of guest memory then */
#define LOG_PAGES_MAX	(1U << 20)

/* Is there guest memory that has bits in a page of the bitmap? */
static bool log_wants_page(const struct vhl_bitmap *map, const struct vhl_mem *mem, u64 i)
{
	u64 first = i << VHL_BITMAP_SHIFT, end = (i + 1) << VHL_BITMAP_SHIFT;

	first -= min_t(u64, first, map->skip);
	end -= map->skip;
	return vhost_iotlb_itree_first(mem->iotlb, first << VHL_LOG_PAGE_SHIFT,
				       (end << VHL_LOG_PAGE_SHIFT) - 1);
}

static u64 log_pages(const struct vhl_bitmap *map, const struct vhl_mem *mem)
{
	const struct vhost_iotlb_map *region;
	u64 last = 0;

	if (!vhl_mem_regions(mem))
		return 0;
	list_for_each_entry(region, &mem->iotlb->list, link)
		last = max(last, region->last);
	return (((last >> VHL_LOG_PAGE_SHIFT) + map->skip) >> VHL_BITMAP_SHIFT) + 1;
}

static bool log_covers_all(const struct vhl_bitmap *map, const struct vhl_mem *mem)
{
	const struct vhost_iotlb_map *region;

	list_for_each_entry(region, &mem->iotlb->list, link)
		if (!vhl_bitmap_covers(map, region->start, region->size))
			return false;
	return true;
}

/* Have so many pages charged. To charge less cannot fail */
static int log_charge(struct vhl_dev *dev, unsigned long pages)
{
	bool more = pages > dev->log_charged;
	int ret;

	ret = account_locked_vm(dev->mm, more ? pages - dev->log_charged : dev->log_charged - pages,
				more);
	if (ret)
		return ret;
	dev->log_charged = pages;
	return 0;
}

/* What is charged is what is in use */
static void log_settle(struct vhl_dev *dev)
{
	(void)log_charge(dev, dev->dirty ? dev->dirty->pinned : 0);
}

static void log_unpin(struct vhl_dirty_log *log)
{
	u64 i;

	for (i = 0; i < log->map.num; i++) {
		struct page *page;

		if (!log->map.page[i])
			continue;
		page = virt_to_page(log->map.page[i]);
		/* the owner's mapping does not know of our stores */
		unpin_user_pages_dirty_lock(&page, 1, true);
		cond_resched();
	}
}

static void log_free(struct vhl_dirty_log *log)
{
	log_unpin(log);
	kvfree(log->map.page);
	kfree(log);
}

static int log_pin(struct vhl_dirty_log *log, const struct vhl_mem *mem)
{
	struct page *page;
	u64 i;
	int ret;

	for (i = 0; i < log->map.num; i++) {
		if (!log_wants_page(&log->map, mem, i))
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = vhl_pin_page((log->base & PAGE_MASK) + i * PAGE_SIZE, &page);
		if (ret)
			return ret;
		log->map.page[i] = page_address(page);
		cond_resched();
	}
	return 0;
}

static void log_complain_of_limit(const struct vhl_dev *dev, unsigned long pages)
{
	pr_notice_ratelimited("%s %llu: the log of dirty memory needs %lu KiB of locked memory; its process has locked %lu KiB and RLIMIT_MEMLOCK allows %lu KiB: the guest cannot be migrated\n",
			      dev->node->name, dev->id, vhl_kib(pages),
			      vhl_kib(READ_ONCE(dev->mm->locked_vm)),
			      rlimit(RLIMIT_MEMLOCK) >> 10);
}

/* The bitmap at @base, for this memory. It is charged as if it were the only one */
static struct vhl_dirty_log *log_new(struct vhl_dev *dev, u64 base, const struct vhl_mem *mem)
{
	struct vhl_dirty_log *log;
	int ret;
	u64 i;

	log = kzalloc(sizeof(*log), GFP_KERNEL_ACCOUNT);
	if (!log)
		return ERR_PTR(-ENOMEM);
	log->base = base;
	log->map.skip = offset_in_page(base) * BITS_PER_BYTE;
	log->map.num = log_pages(&log->map, mem);
	ret = -E2BIG;
	if (log->map.num > LOG_PAGES_MAX)
		goto free;
	ret = -EFAULT;
	/* a page even of one that has none yet */
	if (!access_ok((void __user *)(unsigned long)(base & PAGE_MASK),
		       max(log->map.num, 1ULL) << PAGE_SHIFT))
		goto free;
	log->map.page = kvcalloc(log->map.num, sizeof(*log->map.page), GFP_KERNEL_ACCOUNT);
	ret = -ENOMEM;
	if (!log->map.page)
		goto free;

	for (i = 0; i < log->map.num; i++) {
		log->pinned += log_wants_page(&log->map, mem, i);
		cond_resched();
	}
	if (log->pinned > dev->log_charged) {
		ret = log_charge(dev, log->pinned);
		if (ret) {
			log_complain_of_limit(dev, log->pinned);
			goto free;
		}
	}
	ret = log_pin(log, mem);
	if (ret)
		goto unpin;
	return log;

unpin:
	log_unpin(log);
	log_settle(dev);
free:
	kvfree(log->map.page);
	kfree(log);
	return ERR_PTR(ret);
}

static void log_update(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		if (vhl_vq_started(dev->vqs[i]))
			vhl_vq_update_log(dev->vqs[i]);
}

/* Exchange the bitmap. What it was marks no more */
static void log_swap(struct vhl_dev *dev, struct vhl_dirty_log **log)
{
	swap(dev->dirty, *log);
	log_update(dev);
}

/* Memory is another one, and so is the bitmap if it has to be */
void vhl_log_follow(struct vhl_dev *dev, struct vhl_dirty_log **log)
{
	if (*log)
		swap(dev->dirty, *log);
	if (dev->dirty)
		log_update(dev);
}

/* Let go of a bitmap, or NULL, that is not in use, after an exchange or instead of it */
void vhl_log_discard(struct vhl_dev *dev, struct vhl_dirty_log *log)
{
	lockdep_assert_held(&dev->mutex);

	if (!log)
		return;
	log_free(log);
	log_settle(dev);
}

/* Whatever queues run, can they go on with this bitmap and memory? */
static bool log_fits(struct vhl_dev *dev, const struct vhl_dirty_log *log,
		     const struct vhl_mem *mem)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		if (vhl_vq_started(dev->vqs[i]) && !vhl_vq_log_ok(dev->vqs[i], log, mem))
			return false;
	return true;
}

int vhl_log_set_base(struct vhl_dev *dev, void __user *argp)
{
	struct vhl_dirty_log *log = NULL;
	u64 base;

	lockdep_assert_held(&dev->mutex);

	if (copy_from_user(&base, argp, sizeof(base)))
		return -EFAULT;
	if (base) {
		log = log_new(dev, base, vhl_guest_map(dev));
		if (IS_ERR(log))
			return PTR_ERR(log);
	}
	if (!log_fits(dev, log, vhl_guest_map(dev))) {
		vhl_log_discard(dev, log);
		return -EFAULT;
	}
	vhl_lock_drained_vqs(dev);
	log_swap(dev, &log);
	vhl_unlock_vqs(dev);
	vhl_log_discard(dev, log);
	log_settle(dev);
	return 0;
}

/*
 * The bitmap for a table of memory that is about to be set. Return: 0 with NULL where the present
 * one will do, or what VHOST_SET_LOG_BASE would give.
 */
int vhl_log_prepare(struct vhl_dev *dev, const struct vhl_mem *mem, struct vhl_dirty_log **log)
{
	struct vhl_dirty_log *more = NULL;

	lockdep_assert_held(&dev->mutex);

	*log = NULL;
	if (!dev->dirty)
		return 0;
	if (!log_covers_all(&dev->dirty->map, mem)) {
		more = log_new(dev, dev->dirty->base, mem);
		/* a VMM may have freed it with the stop; it sets another before the next start */
		if (IS_ERR(more) && !vhl_any_vq_in_use(dev)) {
			more = dev->dirty;
			dev->dirty = NULL;
			vhl_log_discard(dev, more);
			return 0;
		}
		if (IS_ERR(more))
			return PTR_ERR(more);
	}
	if (!log_fits(dev, more ?: dev->dirty, mem)) {
		vhl_log_discard(dev, more);
		return -EFAULT;
	}
	*log = more;
	return 0;
}

/*
 * VHOST_F_LOG_ALL is set or cleared. With it goes the bitmap: VMMs free theirs then, and one that
 * is refused another one later must not have that memory written to.
 */
int vhl_log_switch(struct vhl_dev *dev, bool on)
{
	struct vhl_log *room[VHL_MAX_VQS] = { };
	struct vhl_dirty_log *log = NULL;
	unsigned int i, n = dev->node->num_vqs;
	int ret = -ENOMEM;

	lockdep_assert_held(&dev->mutex);

	if (on && !dev->dirty && vhl_any_vq_in_use(dev))
		return -EFAULT;
	for (i = 0; on && i < n; i++) {
		if (!vhl_vq_started(dev->vqs[i]))
			continue;
		/* as many as a queue can ever hold: it may come to need them meanwhile */
		room[i] = kvmalloc_array(VHL_IOV_MAX, sizeof(*room[i]), GFP_KERNEL_ACCOUNT);
		if (!room[i])
			goto free_room;
	}

	vhl_lock_drained_vqs(dev);
	for (i = 0; i < n; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		if (!vhl_vq_started(vq))
			continue;
		swap(vq->segs.log, room[i]);
		vhl_ring_set_segs(vq->ring, &vq->segs);
	}
	if (!on)
		log_swap(dev, &log);
	vhl_unlock_vqs(dev);
	vhl_log_discard(dev, log);
	ret = 0;
free_room:
	for (i = 0; i < n; i++)
		kvfree(room[i]);
	return ret;
}

/* Of a device none of whose queues runs */
void vhl_log_forget(struct vhl_dev *dev)
{
	struct vhl_dirty_log *log = dev->dirty;

	lockdep_assert_held(&dev->mutex);

	dev->dirty = NULL;
	vhl_log_discard(dev, log);
	/* -1 cannot fail */
	(void)vhl_set_log_call(dev, VHOST_FILE_UNBIND);
}
