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
 */
struct vhl_area {
	struct page **pages;
	unsigned int num;
	void *map;
};

/**
 * struct vhl_pin - the mapped ring of a queue
 * @desc: descriptor table
 * @avail: driver area
 * @used: device area
 * @mm: whose locked memory was charged
 * @charged: pages of that
 */
struct vhl_pin {
	struct vhl_area desc;
	struct vhl_area avail;
	struct vhl_area used;
	struct mm_struct *mm;
	unsigned long charged;
};

static size_t desc_size(const struct vhl_vq *vq)
{
	return vq->num * sizeof(struct vring_desc);
}

/* virtio 1.2, section 2.7: the event fields are there only if they were negotiated */
static size_t event_size(const struct vhl_vq *vq)
{
	return vhl_has_feature(vq->dev, VIRTIO_RING_F_EVENT_IDX) ? sizeof(__virtio16) : 0;
}

static size_t avail_size(const struct vhl_vq *vq)
{
	return sizeof(struct vring_avail) + vq->num * sizeof(__virtio16) + event_size(vq);
}

static size_t used_size(const struct vhl_vq *vq)
{
	return sizeof(struct vring_used) + vq->num * sizeof(struct vring_used_elem) +
	       event_size(vq);
}

/*
 * The owner's address of a piece of a ring area that lies within one page. Where rings are not named by
 * IOVA they are by that address already.
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

static int pin_page(unsigned long hva, struct page **page)
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
	return area_pages(vq->desc_addr, desc_size(vq)) +
	       area_pages(vq->avail_addr, avail_size(vq)) +
	       area_pages(vq->used_addr, used_size(vq));
}

static unsigned long kib(unsigned long pages)
{
	return pages << (PAGE_SHIFT - 10);
}

/* Whoever set the limit does not know of rings: say what it takes, for all queues at once. */
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
			      dev->node->name, dev->id, vq->index, kib(ring_pages(vq)), kib(locked),
			      rlimit(RLIMIT_MEMLOCK) >> 10, kib(locked + all));
}

static void unpin_area(struct vhl_area *area)
{
	vunmap(area->map);
	unpin_user_pages_dirty_lock(area->pages, area->num, true);
	kvfree(area->pages);
}

static void *pin_area(struct vhl_area *area, const struct vhl_dev *dev, u64 addr, size_t size,
		      u32 perm)
{
	unsigned int num = area_pages(addr, size);
	u64 pos = addr, end = addr + size;
	struct page **pages;
	unsigned int i;
	int ret;

	if (end < addr)
		return ERR_PTR(-EFAULT);
	pages = kvmalloc_array(num, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < num; i++) {
		size_t len = piece_len(pos, end);
		unsigned long hva;

		ret = ring_hva(dev, pos, len, perm, &hva);
		if (!ret)
			ret = pin_page(hva, &pages[i]);
		if (ret)
			goto unpin;
		pos += len;
	}
	area->map = vmap(pages, num, VM_MAP, PAGE_KERNEL);
	if (!area->map) {
		ret = -ENOMEM;
		goto unpin;
	}
	area->pages = pages;
	area->num = num;
	return area->map + offset_in_page(addr);

unpin:
	unpin_user_pages(pages, i);
	kvfree(pages);
	return ERR_PTR(ret);
}

int vhl_pin_ring(struct vhl_vq *vq, struct vhl_ring_cfg *cfg)
{
	struct vhl_dev *dev = vq->dev;
	struct vhl_pin *pins;
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
		p = ERR_PTR(ret);
		goto free_pins;
	}
	p = pin_area(&pins->desc, dev, vq->desc_addr, desc_size(vq), VHL_MEM_READ);
	if (IS_ERR(p))
		goto uncharge;
	cfg->desc = p;
	p = pin_area(&pins->avail, dev, vq->avail_addr, avail_size(vq), VHL_MEM_READ);
	if (IS_ERR(p))
		goto unpin_desc;
	cfg->avail = p;
	p = pin_area(&pins->used, dev, vq->used_addr, used_size(vq), VHL_MEM_WRITE);
	if (IS_ERR(p))
		goto unpin_avail;
	cfg->used = p;
	vq->pins = pins;
	return 0;

unpin_avail:
	unpin_area(&pins->avail);
unpin_desc:
	unpin_area(&pins->desc);
uncharge:
	account_locked_vm(pins->mm, pins->charged, false);
free_pins:
	kfree(pins);
	return PTR_ERR(p);
}

void vhl_unpin_ring(struct vhl_vq *vq)
{
	struct vhl_pin *pins = vq->pins;

	lockdep_assert_held(&vq->dev->mutex);

	vq->pins = NULL;
	unpin_area(&pins->used);
	unpin_area(&pins->avail);
	unpin_area(&pins->desc);
	account_locked_vm(pins->mm, pins->charged, false);
	kfree(pins);
}

static bool area_is_mapped(const struct vhl_dev *dev, u64 addr, size_t size, u32 perm)
{
	u64 pos = addr, end = addr + size;
	unsigned long hva;

	while (pos < end) {
		size_t len = piece_len(pos, end);

		if (ring_hva(dev, pos, len, perm, &hva))
			return false;
		pos += len;
	}
	return true;
}

/* Has the present map a place for the whole ring? */
bool vhl_ring_is_mapped(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	return area_is_mapped(vq->dev, vq->desc_addr, desc_size(vq), VHL_MEM_READ) &&
	       area_is_mapped(vq->dev, vq->avail_addr, avail_size(vq), VHL_MEM_READ) &&
	       area_is_mapped(vq->dev, vq->used_addr, used_size(vq), VHL_MEM_WRITE);
}

static bool area_touches(const struct vhl_dev *dev, u64 addr, size_t size, u64 first, u64 last)
{
	u64 pos = addr, end = addr + size;
	const struct vhost_iotlb_map *region;

	while (pos < end) {
		region = vhl_mem_find(&dev->mem, pos);
		if (region && region->start <= last && region->last >= first)
			return true;
		pos += piece_len(pos, end);
	}
	return false;
}

/* Is any of the ring in a region that goes when @first to @last is unmapped? */
bool vhl_ring_touches(struct vhl_vq *vq, u64 first, u64 last)
{
	lockdep_assert_held(&vq->dev->mutex);

	return area_touches(vq->dev, vq->desc_addr, desc_size(vq), first, last) ||
	       area_touches(vq->dev, vq->avail_addr, avail_size(vq), first, last) ||
	       area_touches(vq->dev, vq->used_addr, used_size(vq), first, last);
}
