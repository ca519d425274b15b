// SPDX-License-Identifier: GPL-2.0
/*
 * Ring areas are pinned and mapped into the kernel from start to stop of a queue, so that
 * descriptors are plain loads, used entries plain stores, and both work in interrupts.
 *
 * The pages stay valid whatever the owner does to its mappings meanwhile; if it unmaps a ring
 * under a running queue it only loses sight of it.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "internal.h"

/**
 * struct vhl_area - a mapped ring area
 * @pages: pinned for writing
 * @num: of @pages
 * @map: where the first page is in the kernel
 * @hva: where the owner has each page
 * @written: the device writes to the area
 */
struct vhl_area {
	struct page **pages;
	unsigned long *hva;
	unsigned int num;
	bool written;
	void *map;
};

/**
 * struct vhl_pin - the mapped ring of a queue
 * @area: its areas
 * @mm: whose locked memory was charged
 * @charged: pages of that
 */
struct vhl_pin {
	struct vhl_area area[VHL_RING_AREAS];
	struct mm_struct *mm;
	unsigned long charged;
};

static struct vhl_ring_extent ring_extent(const struct vhl_vq *vq, enum vhl_ring_area area)
{
	return vhl_ring_extent(vq->dev->features[0], vq->num, area);
}

/*
 * The owner's address of a piece of a ring area that lies within one page. Where rings are not
 * named by IOVA they are by that address already.
 */
static int ring_hva(const struct vhl_dev *dev, u64 addr, size_t len, u32 perm, unsigned long *hva)
{
	const struct vhost_iotlb_map *region;

	if (!vhl_rings_are_iova(dev)) {
		*hva = addr;
		return access_ok((void __user *)*hva, len) ? 0 : -EFAULT;
	}

	region = vhl_mem_find(&dev->mem, addr);
	if (!region)
		return -EFAULT;
	/* a page is mapped whole: it can neither be put together from regions nor be shifted */
	*hva = region->addr + (addr - region->start);
	if (region->last - addr < len - 1 || offset_in_page(*hva) != offset_in_page(addr) ||
	    (region->perm & perm) != perm)
		return -EFAULT;
	return 0;
}

static size_t piece_len(u64 pos, u64 end)
{
	return min_t(u64, end - pos, PAGE_SIZE - offset_in_page(pos));
}

int vhl_pin_page(unsigned long hva, struct page **page)
{
	unsigned long start = hva & PAGE_MASK;
	struct page *probe;
	int ret;

	/*
	 * For writing even where the device only reads: else a later write of the driver could
	 * break a copy-on-write mapping away from the page that we hold.
	 */
	ret = pin_user_pages_fast(start, 1, FOLL_WRITE | FOLL_LONGTERM, page);
	if (ret == 1)
		return 0;
	if (ret == -ENOMEM)
		return ret;

	/* not at all, or just not for long? */
	if (pin_user_pages_fast(start, 1, FOLL_WRITE, &probe) != 1)
		return -EFAULT;
	unpin_user_page(probe);
	return -EOPNOTSUPP;
}

static unsigned int area_pages(u64 addr, size_t size)
{
	return DIV_ROUND_UP(offset_in_page(addr) + size, PAGE_SIZE);
}

static unsigned long ring_pages(const struct vhl_vq *vq)
{
	unsigned long pages = 0;
	unsigned int i;

	for (i = 0; i < VHL_RING_AREAS; i++)
		pages += area_pages(vq->area[i], ring_extent(vq, i).size);
	return pages;
}

/* The limit was set without rings in mind: say what it takes, for all queues at once. */
static void complain_of_limit(const struct vhl_vq *vq)
{
	const struct vhl_dev *dev = vq->dev;
	unsigned long locked = READ_ONCE(dev->mm->locked_vm);
	unsigned long all = 0;
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++) {
		const struct vhl_vq *other = dev->vqs[i];

		if (other->num && other->have_addr && !vhl_vq_started(other))
			all += ring_pages(other);
	}
	pr_notice_ratelimited("%s %llu: queue %u needs %lu KiB of locked memory for its ring; its process has locked %lu KiB and RLIMIT_MEMLOCK allows %lu KiB. Raise that to %lu KiB or more (ulimit -l, prlimit --memlock, LimitMEMLOCK= of a service); until then the guest's requests are not answered\n",
			      dev->node->name, dev->id, vq->index, vhl_kib(ring_pages(vq)), vhl_kib(locked),
			      rlimit(RLIMIT_MEMLOCK) >> 10, vhl_kib(locked + all));
}

static void unpin_area(struct vhl_area *area)
{
	vunmap(area->map);
	unpin_user_pages_dirty_lock(area->pages, area->num, true);
	kvfree(area->hva);
	kvfree(area->pages);
}

static void *pin_area(struct vhl_area *area, const struct vhl_dev *dev, u64 addr,
		      struct vhl_ring_extent extent)
{
	unsigned int num = area_pages(addr, extent.size);
	u64 pos = addr, end = addr + extent.size;
	unsigned long *hva;
	struct page **pages;
	unsigned int i;
	int ret;

	if (end < addr)
		return ERR_PTR(-EFAULT);
	pages = kvmalloc_array(num, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	ret = -ENOMEM;
	hva = kvmalloc_array(num, sizeof(*hva), GFP_KERNEL_ACCOUNT);
	if (!hva)
		goto free_pages;
	for (i = 0; i < num; i++) {
		size_t len = piece_len(pos, end);

		ret = ring_hva(dev, pos, len, extent.perm, &hva[i]);
		if (!ret)
			ret = vhl_pin_page(hva[i], &pages[i]);
		if (ret)
			goto unpin;
		hva[i] &= PAGE_MASK;
		pos += len;
	}
	area->map = vmap(pages, num, VM_MAP, PAGE_KERNEL);
	if (!area->map) {
		ret = -ENOMEM;
		goto unpin;
	}
	area->pages = pages;
	area->hva = hva;
	area->num = num;
	area->written = extent.perm & VHL_MEM_WRITE;
	return area->map + offset_in_page(addr);

unpin:
	unpin_user_pages(pages, i);
	kvfree(hva);
free_pages:
	kvfree(pages);
	return ERR_PTR(ret);
}

/* Where has the owner page @i of those that the device writes, in a turn? Return: false, no more */
bool vhl_pinned_page(const struct vhl_vq *vq, unsigned int i, unsigned long *hva)
{
	const struct vhl_area *area = vq->pins->area;
	unsigned int n;

	for (n = 0; n < VHL_RING_AREAS; n++, area++) {
		if (!area->written)
			continue;
		if (i < area->num) {
			*hva = area->hva[i];
			return true;
		}
		i -= area->num;
	}
	return false;
}

int vhl_pin_ring(struct vhl_vq *vq, struct vhl_ring_cfg *cfg)
{
	struct vhl_dev *dev = vq->dev;
	struct vhl_pin *pins;
	unsigned int i;
	void *p;
	int ret;

	lockdep_assert_held(&dev->mutex);

	pins = kzalloc(sizeof(*pins), GFP_KERNEL);
	if (!pins)
		return -ENOMEM;
	pins->mm = dev->mm;
	pins->charged = ring_pages(vq);

	ret = account_locked_vm(pins->mm, pins->charged, true);
	if (ret) {
		complain_of_limit(vq);
		goto free_pins;
	}
	for (i = 0; i < VHL_RING_AREAS; i++) {
		p = pin_area(&pins->area[i], dev, vq->area[i], ring_extent(vq, i));
		if (IS_ERR(p)) {
			ret = PTR_ERR(p);
			goto unpin_areas;
		}
		cfg->area[i] = p;
	}
	vq->pins = pins;
	return 0;

unpin_areas:
	while (i)
		unpin_area(&pins->area[--i]);
	account_locked_vm(pins->mm, pins->charged, false);
free_pins:
	kfree(pins);
	return ret;
}

void vhl_unpin_ring(struct vhl_vq *vq)
{
	struct vhl_pin *pins = vq->pins;
	unsigned int i;

	lockdep_assert_held(&vq->dev->mutex);

	vq->pins = NULL;
	for (i = 0; i < VHL_RING_AREAS; i++)
		unpin_area(&pins->area[i]);
	account_locked_vm(pins->mm, pins->charged, false);
	kfree(pins);
}

static bool area_is_mapped(const struct vhl_dev *dev, u64 addr, struct vhl_ring_extent extent)
{
	u64 pos = addr, end = addr + extent.size;
	unsigned long hva;

	while (pos < end) {
		size_t len = piece_len(pos, end);

		if (ring_hva(dev, pos, len, extent.perm, &hva))
			return false;
		pos += len;
	}
	return true;
}

/* Has the present map a place for the whole ring? */
bool vhl_ring_is_mapped(struct vhl_vq *vq)
{
	unsigned int i;

	lockdep_assert_held(&vq->dev->mutex);

	for (i = 0; i < VHL_RING_AREAS; i++)
		if (!area_is_mapped(vq->dev, vq->area[i], ring_extent(vq, i)))
			return false;
	return true;
}

/* Is a page of the ring not in the map at all? @miss: the first one, for all that is done there */
bool vhl_ring_missing(struct vhl_vq *vq, struct vhl_miss *miss)
{
	unsigned int i;

	lockdep_assert_held(&vq->dev->mutex);

	for (i = 0; i < VHL_RING_AREAS; i++) {
		struct vhl_ring_extent extent = ring_extent(vq, i);
		u64 pos = vq->area[i], end = pos + extent.size;

		while (pos < end) {
			if (!vhl_mem_find(&vq->dev->mem, pos)) {
				*miss = (struct vhl_miss){ .addr = pos, .perm = extent.perm };
				return true;
			}
			pos += piece_len(pos, end);
		}
	}
	return false;
}

/* Is any of the ring in @first to @last? */
bool vhl_ring_touches(struct vhl_vq *vq, u64 first, u64 last)
{
	/* what has been set meanwhile is for the next start */
	const u64 *area = vhl_vq_started(vq) ? vq->ring_area : vq->area;
	unsigned int i;

	lockdep_assert_held(&vq->dev->mutex);

	for (i = 0; i < VHL_RING_AREAS; i++) {
		size_t size = ring_extent(vq, i).size;

		if (size && area[i] <= last && area[i] + (size - 1) >= first)
			return true;
	}
	return false;
}
