// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes through pages of our own: direct I/O from and to buffers that are not aligned as
 * the disk needs it. Firmware does that, and drivers of small systems.
 */
#include <linux/bvec.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "blk.h"

/* Pages that a request passes through, if there are so many */
#define VHL_BLK_BOUNCE_PAGES	32

/* Copy the first @len bytes of @pages from or to the guest. */
static bool vhl_blk_bounce_copy(const struct vhl_blk_req *req, const struct bio_vec *pages,
				size_t len, struct iov_iter *guest)
{
	for (; len; pages++) {
		size_t n = min_t(size_t, len, PAGE_SIZE);
		void *p = page_address(pages->bv_page);

		if ((req->write ? copy_from_iter(p, n, guest) : copy_to_iter(p, n, guest)) != n)
			return false;
		len -= n;
	}
	return true;
}

/* As much as the @n pages hold. Return: as vhl_blk_transfer() */
static ssize_t vhl_blk_bounce_once(const struct vhl_blk_req *req, const struct bio_vec *pages,
				   unsigned int n, struct iov_iter *guest, loff_t pos)
{
	size_t len = min_t(size_t, iov_iter_count(guest), n * PAGE_SIZE);
	struct iov_iter iter;
	ssize_t ret;

	iov_iter_bvec(&iter, req->write ? ITER_SOURCE : ITER_DEST, pages, n, len);
	if (req->write && !vhl_blk_bounce_copy(req, pages, len, guest))
		return -EFAULT;
	ret = vhl_blk_transfer(req, &iter, pos);
	if (ret > 0 && !req->write && !vhl_blk_bounce_copy(req, pages, ret, guest))
		return -EFAULT;
	return ret;
}

ssize_t vhl_blk_bounce(const struct vhl_blk_req *req, struct iov_iter *guest, loff_t pos)
{
	unsigned int want = min_t(size_t, DIV_ROUND_UP(iov_iter_count(guest), PAGE_SIZE),
				  VHL_BLK_BOUNCE_PAGES);
	ssize_t ret = -ENOMEM, done = 0;
	struct bio_vec *pages;
	unsigned int n;

	pages = kcalloc(want, sizeof(*pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;
	for (n = 0; n < want; n++) {
		struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

		if (!page)
			break;
		pages[n].bv_page = page;
		pages[n].bv_len = PAGE_SIZE;
	}
	if (!n)
		goto free_pages;

	do {
		size_t left = iov_iter_count(guest);

		ret = vhl_blk_bounce_once(req, pages, n, guest, pos + done);
		if (ret <= 0)
			break;
		done += ret;
		/* less than was copied: the caller knows where to go on */
		if (req->write && ret != left - iov_iter_count(guest))
			break;
	} while (iov_iter_count(guest));

	while (n--)
		__free_page(pages[n].bv_page);
free_pages:
	kfree(pages);
	return done ?: ret;
}
