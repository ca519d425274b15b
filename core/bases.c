// SPDX-License-Identifier: GPL-2.0
/*
 * Where queues stop, told in memory of the owner: for one whose guest outlives it, as that of a
 * vhost-user back end does, and who may be killed before it can ask. The page is pinned, like
 * rings, so it is no matter whether the owner still has it when its file is closed.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

/**
 * struct vhl_bases - where a base is stored for each queue of a device
 * @page: pinned for writing
 * @offset: of the first one in there; they are of 4 bytes each
 * @mm: whose locked memory was charged
 */
struct vhl_bases {
	struct page *page;
	unsigned int offset;
	struct mm_struct *mm;
};

static struct vhl_bases *bases_new(struct vhl_dev *dev, unsigned long addr)
{
	struct vhl_bases *bases = kzalloc(sizeof(*bases), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!bases)
		return ERR_PTR(-ENOMEM);
	bases->offset = offset_in_page(addr);
	bases->mm = dev->mm;
	ret = account_locked_vm(bases->mm, 1, true);
	if (ret)
		goto free;
	ret = vhl_pin_page(addr, &bases->page);
	if (!ret)
		return bases;
	account_locked_vm(bases->mm, 1, false);
free:
	kfree(bases);
	return ERR_PTR(ret);
}

int vhl_bases_set(struct vhl_dev *dev, const u64 __user *argp)
{
	size_t size = dev->node->num_vqs * sizeof(u32);
	struct vhl_bases *bases = NULL;
	u64 addr;

	lockdep_assert_held(&dev->mutex);

	if (get_user(addr, argp))
		return -EFAULT;
	if (addr) {
		if (!IS_ALIGNED(addr, sizeof(u32)) || offset_in_page(addr) + size > PAGE_SIZE)
			return -EINVAL;
		if (!access_ok((void __user *)(unsigned long)addr, size))
			return -EFAULT;
		bases = bases_new(dev, addr);
		if (IS_ERR(bases))
			return PTR_ERR(bases);
	}
	vhl_bases_forget(dev);
	dev->bases = bases;
	return 0;
}

/* The queue has stopped, and nothing of it is in flight. */
void vhl_bases_store(const struct vhl_vq *vq)
{
	const struct vhl_bases *bases = vq->dev->bases;
	void *page;

	lockdep_assert_held(&vq->dev->mutex);

	if (!bases)
		return;
	page = kmap_local_page(bases->page);
	WRITE_ONCE(*(u32 *)(page + bases->offset + vq->index * sizeof(u32)), vq->base);
	kunmap_local(page);
}

void vhl_bases_forget(struct vhl_dev *dev)
{
	struct vhl_bases *bases = dev->bases;

	lockdep_assert_held(&dev->mutex);

	if (!bases)
		return;
	dev->bases = NULL;
	unpin_user_pages_dirty_lock(&bases->page, 1, true);
	account_locked_vm(bases->mm, 1, false);
	kfree(bases);
}
