// SPDX-License-Identifier: GPL-2.0
/*
 * Chains: what all ring formats share. Translation of buffers and of indirect tables, for what is
 * not simply in a region that is known (ring_format.h).
 */
#include <linux/kernel.h>
#include <linux/minmax.h>

#include "ring_format.h"

void vhl_ring_forget(struct vhl_ring *ring)
{
	ring->region = &vhl_no_region;
	ring->map_gen = vhl_mem_share_cache(ring->mem, &ring->cache);
}

/* The region of an address; NULL where nothing is mapped. */
static const struct vhost_iotlb_map *ring_find(struct vhl_ring *ring, u64 addr)
{
	const struct vhost_iotlb_map *region = ring->region;

	if (vhl_region_has(region, addr))
		return region;
	region = vhl_cache_first(&ring->cache, addr);
	if (!vhl_region_has(region, addr))
		region = vhl_cache_second(&ring->cache, addr);
	if (!vhl_region_has(region, addr)) {
		region = vhl_mem_lookup(ring->mem, addr);
		if (unlikely(!region))
			return NULL;
	}
	ring->region = region;
	return region;
}

static int ring_miss(struct vhl_ring *ring, u64 addr, u32 perm, bool mapped)
{
	ring->miss = (struct vhl_miss){ .addr = addr, .perm = perm, .mapped = mapped };
	return -ENXIO;
}

int vhl_ring_translate(struct vhl_ring *ring, u64 addr, u32 len, u32 perm, struct iovec *iov)
{
	const struct vhost_iotlb_map *region;
	u32 allowed;
	u64 left;

	/* no map will ever have that */
	if (unlikely(addr + (len - 1) < addr))
		return vhl_ring_bad(ring, VHL_FAULT_ADDRESS);
	region = ring_find(ring, addr);
	if (unlikely(!region))
		return ring_miss(ring, addr, perm, false);
	/* nothing, where the region retires in this turn: as if it were not there */
	allowed = READ_ONCE(region->perm);
	if (unlikely(!(allowed & perm)))
		return ring_miss(ring, addr, perm, allowed);

	/* one less than the bytes left */
	left = region->last - addr;
	if (left < len - 1)
		len = left + 1;
	iov->iov_base = (void __user *)(uintptr_t)(region->addr + (addr - region->start));
	iov->iov_len = len;
	return 0;
}

/* Clients answer for a page at least */
#define CHAIN_PAGE_SHIFT	12
#define CHAIN_PAGE		BIT(CHAIN_PAGE_SHIFT)

static u64 chain_page(u64 addr)
{
	return addr >> CHAIN_PAGE_SHIFT;
}

void vhl_ring_want(struct vhl_ring *ring)
{
	struct vhl_wanted *wanted = ring->wanted;
	const struct vhl_miss *miss = &ring->miss;
	unsigned int i;

	for (i = 0; i < wanted->n; i++)
		if (chain_page(wanted->miss[i].addr) == chain_page(miss->addr) &&
		    wanted->miss[i].perm == miss->perm)
			return;
	if (wanted->n < wanted->max)
		wanted->miss[wanted->n++] = *miss;
}

/* What is missing of a chain that nobody will see. Return: false where it is something else */
static bool ring_skip(struct vhl_ring *ring, u64 addr, u32 len, struct iovec *iov)
{
	if (!ring->wanted || ring->miss.mapped)
		return false;
	vhl_ring_want(ring);
	iov->iov_base = NULL;
	iov->iov_len = min_t(u64, len, CHAIN_PAGE - (addr & (CHAIN_PAGE - 1)));
	return true;
}

int vhl_chain_add_slow(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len,
		       bool write)
{
	u32 perm = write ? VHL_MEM_WRITE : VHL_MEM_READ;

	while (len) {
		unsigned int n = chain->out_num + chain->in_num;
		struct iovec *iov = &chain->iov[n];
		int ret;

		if (unlikely(n == VHL_IOV_MAX))
			return vhl_ring_bad(ring, VHL_FAULT_SEGMENTS);
		if (unlikely(n == ring->segs.max))
			return -ENOSPC;
		ret = vhl_ring_translate(ring, addr, len, perm, iov);
		if (unlikely(ret) && (ret != -ENXIO || !ring_skip(ring, addr, len, iov)))
			return ret;
		if (ring->segs.region)
			ring->segs.region[n] = ring->region;
		if (write && ring->segs.log) {
			ring->segs.log[chain->in_num].addr = addr;
			ring->segs.log[chain->in_num].len = iov->iov_len;
		}
		addr += iov->iov_len;
		len -= iov->iov_len;
		if (write)
			chain->in_num++;
		else
			chain->out_num++;
	}
	return 0;
}

/* A descriptor that lies across regions */
int vhl_table_read_slow(struct vhl_ring *ring, void *to, u64 addr, u32 len)
{
	while (len) {
		struct iovec iov;
		int ret = vhl_ring_translate(ring, addr, len, VHL_MEM_READ, &iov);

		if (unlikely(ret))
			return ret;
		if (unlikely(copy_from_user(to, iov.iov_base, iov.iov_len)))
			return -EFAULT;
		to += iov.iov_len;
		addr += iov.iov_len;
		len -= iov.iov_len;
	}
	return 0;
}
