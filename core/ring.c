// SPDX-License-Identifier: GPL-2.0
/*
 * Rings: what all formats share. Translation of buffers, indirect tables, names of faults.
 */
#include <linux/kernel.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "ring.h"

/* Translate [addr, addr + len), len > 0, if all of it is in this region, for this direction. */
static __always_inline bool region_translate(const struct vhost_iotlb_map *region, u64 addr,
					     u32 len, u32 perm, struct iovec *iov)
{
	u64 off, room;

	/* one less than the bytes left: the region may reach the end of the address space */
	if (check_sub_overflow(addr, region->start, &off) ||
	    check_sub_overflow(region->last, addr, &room) ||
	    room < len - 1 || !(region->perm & perm))
		return false;
	iov->iov_base = (void __user *)(uintptr_t)(region->addr + off);
	iov->iov_len = len;
	return true;
}

/* The same in the region used last, which it mostly is, or in the one that the cache names. */
static __always_inline bool ring_translate_known(struct vhl_ring *ring, u64 addr, u32 len,
						 u32 perm, struct iovec *iov)
{
	const struct vhost_iotlb_map *region;

	if (likely(region_translate(ring->region, addr, len, perm, iov)))
		return true;
	region = vhl_cache_first(&ring->cache, addr);
	if (unlikely(!region_translate(region, addr, len, perm, iov)))
		return false;
	ring->region = region;
	return true;
}

/* The region of an address; NULL with ring->fault set where nothing is mapped. */
static const struct vhost_iotlb_map *ring_find(struct vhl_ring *ring, u64 addr)
{
	const struct vhost_iotlb_map *region = ring->region;

	if (vhl_region_has(region, addr))
		return region;
	region = vhl_cache_first(&ring->cache, addr);
	if (!vhl_region_has(region, addr))
		region = vhl_cache_second(&ring->cache, addr);
	if (!vhl_region_has(region, addr)) {
		region = vhl_mem_find(ring->cfg.mem, addr);
		if (unlikely(!region)) {
			ring->fault = VHL_FAULT_ADDRESS;
			return NULL;
		}
		vhl_cache_add(&ring->cache, addr, region);
	}
	ring->region = region;
	return region;
}

/*
 * Translate the beginning of [addr, addr + len), len > 0, as far as its region goes.
 * Return: bytes translated, or a negative errno with ring->fault set.
 */
static ssize_t ring_translate(struct vhl_ring *ring, u64 addr, u32 len, u32 perm, struct iovec *iov)
{
	const struct vhost_iotlb_map *region;
	u64 room;

	if (unlikely(addr + (len - 1) < addr)) {
		ring->fault = VHL_FAULT_ADDRESS;
		return -EFAULT;
	}
	region = ring_find(ring, addr);
	if (unlikely(!region))
		return -EFAULT;
	if (unlikely(!(region->perm & perm))) {
		ring->fault = VHL_FAULT_PERMISSION;
		return -EFAULT;
	}

	/* one less than the bytes left */
	room = region->last - addr;
	if (room < len - 1)
		len = room + 1;
	iov->iov_base = (void __user *)(uintptr_t)(region->addr + (addr - region->start));
	iov->iov_len = len;
	return len;
}

/* What a buffer is, when it is not simply in a region that is known. */
static noinline int chain_add_slow(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr,
				   u32 len, bool write)
{
	u32 perm = write ? VHL_MEM_WRITE : VHL_MEM_READ;

	while (len) {
		unsigned int n = chain->out_num + chain->in_num;
		ssize_t done;

		if (unlikely(n == VHL_IOV_MAX)) {
			ring->fault = VHL_FAULT_SEGMENTS;
			return -EINVAL;
		}
		if (unlikely(n == ring->cfg.iov_max))
			return -ENOSPC;
		done = ring_translate(ring, addr, len, perm, &chain->iov[n]);
		if (unlikely(done < 0))
			return done;
		addr += done;
		len -= done;
		if (write)
			chain->in_num++;
		else
			chain->out_num++;
	}
	return 0;
}

int vhl_chain_add(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len, bool write)
{
	unsigned int n = chain->out_num + chain->in_num;
	u32 perm = write ? VHL_MEM_WRITE : VHL_MEM_READ;

	/* virtio 1.2, section 2.7.4.2: writable descriptors come after all readable ones */
	if (unlikely(!write && chain->in_num)) {
		ring->fault = VHL_FAULT_ORDER;
		return -EINVAL;
	}
	if (unlikely((u64)chain->out_len + chain->in_len + len > U32_MAX)) {
		ring->fault = VHL_FAULT_LENGTH;
		return -EINVAL;
	}
	if (write)
		chain->in_len += len;
	else
		chain->out_len += len;

	if (unlikely(!len || n == ring->cfg.iov_max ||
		     !ring_translate_known(ring, addr, len, perm, &chain->iov[n])))
		return chain_add_slow(ring, chain, addr, len, write);
	if (write)
		chain->in_num++;
	else
		chain->out_num++;
	return 0;
}

/* Read a descriptor of an indirect table that lies across regions. */
static noinline int ring_read_split(struct vhl_ring *ring, void *to, u64 addr, u32 len)
{
	while (len) {
		struct iovec iov;
		ssize_t done = ring_translate(ring, addr, len, VHL_MEM_READ, &iov);

		if (unlikely(done < 0))
			return done;
		if (unlikely(copy_from_user(to, iov.iov_base, iov.iov_len))) {
			ring->fault = VHL_FAULT_ACCESS;
			return -EFAULT;
		}
		to += done;
		addr += done;
		len -= done;
	}
	return 0;
}

/*
 * Read a descriptor of an indirect table, each field once; it need not be aligned. Plain loads:
 * copy_from_user() takes longer than all that is done with them.
 */
static int ring_read_desc(struct vhl_ring *ring, const void __user *from, struct vring_desc *desc)
{
	const __virtio64 __user *addr = from + offsetof(struct vring_desc, addr);
	const __virtio32 __user *len = from + offsetof(struct vring_desc, len);
	const __virtio16 __user *flags = from + offsetof(struct vring_desc, flags);
	const __virtio16 __user *next = from + offsetof(struct vring_desc, next);

	if (unlikely(!user_read_access_begin(from, sizeof(*desc))))
		goto fault;
	unsafe_get_user(desc->addr, addr, fault_in_access);
	unsafe_get_user(desc->len, len, fault_in_access);
	unsafe_get_user(desc->flags, flags, fault_in_access);
	unsafe_get_user(desc->next, next, fault_in_access);
	user_read_access_end();
	return 0;

fault_in_access:
	user_read_access_end();
fault:
	ring->fault = VHL_FAULT_ACCESS;
	return -EFAULT;
}

int vhl_chain_add_indirect(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len)
{
	const u32 size = sizeof(struct vring_desc);
	u32 num = len / size, i = 0, walked = 0;
	struct iovec table;
	ssize_t near;
	int ret;

	if (unlikely(!num || len % size)) {
		ring->fault = VHL_FAULT_INDIRECT_LEN;
		return -EINVAL;
	}
	/* as a rule the whole table; the beginning, where it lies in several regions */
	near = len;
	if (unlikely(!ring_translate_known(ring, addr, len, VHL_MEM_READ, &table))) {
		near = ring_translate(ring, addr, len, VHL_MEM_READ, &table);
		if (unlikely(near < 0))
			return near;
	}

	might_fault();
	/*
	 * No descriptor counts twice, so the walk ends after num steps; the driver may rewrite its
	 * table meanwhile, which harms nobody but itself.
	 */
	for (;;) {
		u32 at = i * size;
		struct vring_desc desc;
		u16 flags;

		if (likely(at + size <= near))
			ret = ring_read_desc(ring, table.iov_base + at, &desc);
		else
			ret = ring_read_split(ring, &desc, addr + at, size);
		if (unlikely(ret))
			return ret;
		flags = vhl16_to_cpu(desc.flags);

		if (unlikely(flags & VRING_DESC_F_INDIRECT)) {
			ring->fault = VHL_FAULT_INDIRECT_NESTED;
			return -EINVAL;
		}
		ret = vhl_chain_add(ring, chain, vhl64_to_cpu(desc.addr), vhl32_to_cpu(desc.len),
				    flags & VRING_DESC_F_WRITE);
		if (unlikely(ret))
			return ret;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;

		i = vhl16_to_cpu(desc.next);
		if (unlikely(i >= num)) {
			ring->fault = VHL_FAULT_NEXT;
			return -EINVAL;
		}
		if (unlikely(++walked == num || walked > VHL_IOV_MAX)) {
			ring->fault = VHL_FAULT_LOOP;
			return -EINVAL;
		}
	}
}

const char *vhl_ring_fault_name(enum vhl_ring_fault fault)
{
	static const char * const names[VHL_FAULT_NR] = {
		[VHL_FAULT_NONE]		= "no fault",
		[VHL_FAULT_AVAIL_JUMP]		= "avail index jumped by more than the ring size",
		[VHL_FAULT_HEAD]		= "avail entry names no descriptor",
		[VHL_FAULT_NEXT]		= "next names no descriptor",
		[VHL_FAULT_LOOP]		= "descriptor chain has a loop",
		[VHL_FAULT_INDIRECT_NEXT]	= "indirect descriptor has a next",
		[VHL_FAULT_INDIRECT_NESTED]	= "indirect descriptor in an indirect table",
		[VHL_FAULT_INDIRECT_LEN]	= "length of an indirect table",
		[VHL_FAULT_INDIRECT_FEATURE]	= "indirect descriptor was not negotiated",
		[VHL_FAULT_ORDER]		= "readable descriptor after a writable one",
		[VHL_FAULT_SEGMENTS]		= "descriptor chain has too many segments",
		[VHL_FAULT_LENGTH]		= "descriptor chain of 4 GiB or more",
		[VHL_FAULT_ADDRESS]		= "address outside of guest memory",
		[VHL_FAULT_PERMISSION]		= "address not mapped for this direction",
		[VHL_FAULT_ACCESS]		= "guest memory is not accessible",
		[VHL_FAULT_IN_FLIGHT]		= "descriptor made available while in use",
		[VHL_FAULT_REQUEST]		= "descriptor chain is no request of this device",
	};

	return fault < VHL_FAULT_NR ? names[fault] : "unknown fault";
}
