/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the ring formats, ring.c and chain.c share, and no other file includes.
 */
#ifndef VHL_RING_FORMAT_H
#define VHL_RING_FORMAT_H

#include <linux/overflow.h>
#include <linux/uaccess.h>

#include "ring.h"

/**
 * struct vhl_ring_format - a format
 * @chosen_by: feature bits that mean this format
 * @features: bits that it adds to what is offered
 * @first_base: where a ring begins that was never used
 * @state_size: bytes of vhl_ring.state for a ring of so many, 0 where that is no legal size
 * @base_ok: is this a position to begin with for a ring of so many, 0 where that is not known yet?
 * @extent: vhl_ring_extent() of this format; likewise whatever has no text here
 * @init: fill the state, which is zeroed, and pos and pushed of the ring; the rest of it is filled.
 *	  What it makes of a base is its own: a client may have another way to write one than @base
 * @base:
 * @take: fill a chain; the ring has no fault. Sets dry_pos and dry where it finds none, else it
 *	  clears dry
 * @empty: see vhl_ring_awaited()
 * @ask_kick: likewise
 * @no_kicks:
 * @push:
 * @publish:
 * @owes_call:
 */
struct vhl_ring_format {
	u64 chosen_by;
	u64 features;
	u32 first_base;
	size_t (*state_size)(u32 num);
	bool (*base_ok)(u32 base, u32 num);
	struct vhl_ring_extent (*extent)(u64 features, u32 num, enum vhl_ring_area area);
	void (*init)(struct vhl_ring *ring, const struct vhl_ring_cfg *cfg);
	u32 (*base)(const struct vhl_ring *ring);
	int (*take)(struct vhl_ring *ring, struct vhl_chain *chain);
	bool (*empty)(const struct vhl_ring *ring);
	bool (*ask_kick)(struct vhl_ring *ring);
	void (*no_kicks)(struct vhl_ring *ring);
	void (*push)(struct vhl_ring *ring, const struct vhl_done *done, unsigned int n);
	bool (*publish)(struct vhl_ring *ring);
	bool (*owes_call)(const struct vhl_ring *ring, bool told);
};

/* What the file of a format defines: its table, and what ring.c calls without it */
#define VHL_RING_FORMAT(name)								\
	extern const struct vhl_ring_format vhl_##name##_format;			\
	int vhl_##name##_take(struct vhl_ring *ring, struct vhl_chain *chain);		\
	bool vhl_##name##_empty(const struct vhl_ring *ring);				\
	bool vhl_##name##_ask_kick(struct vhl_ring *ring);				\
	void vhl_##name##_no_kicks(struct vhl_ring *ring);				\
	void vhl_##name##_push(struct vhl_ring *ring, const struct vhl_done *done,	\
			       unsigned int n);						\
	bool vhl_##name##_publish(struct vhl_ring *ring)

/* A ring is bad. Return: -EINVAL */
static inline int vhl_ring_bad(struct vhl_ring *ring, enum vhl_ring_fault fault)
{
	vhl_ring_fail(ring, fault);
	return -EINVAL;
}

/*
 * The device has stored so many bytes to an area. Not before the store: the VMM could take the bit,
 * and copy what was there until then.
 */
static __always_inline void vhl_ring_stored(const struct vhl_ring *ring, enum vhl_ring_area area,
					    size_t at, size_t len)
{
	if (unlikely(ring->log))
		vhl_bitmap_mark(ring->log->bitmap, ring->log->addr[area] + at, len);
}

/* Where the chain would be that vhl_ring_empty() asks for */
static inline u32 vhl_ring_awaited(const struct vhl_ring *ring)
{
	return ring->dry ? ring->dry_pos : ring->pos;
}

/* chain.c APIs */

/* Forget what is remembered of the map */
void vhl_ring_forget(struct vhl_ring *ring);

/* vhl_chain_add() and vhl_table_read(), for what is not simply in a region that is known */
int vhl_chain_add_slow(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len,
		       bool write);
int vhl_table_read_slow(struct vhl_ring *ring, void *to, u64 addr, u32 len);

/* Add @ring->miss to what is wanted, if there is room. Apart: it is for rings that look ahead */
void vhl_ring_want(struct vhl_ring *ring);

/**
 * vhl_ring_translate() - translate the beginning of [addr, addr + len) as far as its region goes
 * @ring: the ring
 * @addr: guest address
 * @len: bytes, not 0
 * @perm: VHL_MEM_READ or VHL_MEM_WRITE
 * @iov: filled
 *
 * Return: 0, -ENXIO with @ring->miss set, or -EINVAL with @ring->fault.
 */
int __must_check vhl_ring_translate(struct vhl_ring *ring, u64 addr, u32 len, u32 perm,
				    struct iovec *iov);

/* Translate [addr, addr + len), len > 0, if all of it is in this region, for this direction. */
static __always_inline bool vhl_region_translate(const struct vhost_iotlb_map *region, u64 addr,
						 u32 len, u32 perm, struct iovec *iov)
{
	u64 off, left;

	/* one less than the bytes left: the region may reach the end of the address space */
	if (check_sub_overflow(addr, region->start, &off) ||
	    check_sub_overflow(region->last, addr, &left) ||
	    /* of one that retires it is changed meanwhile */
	    left < len - 1 || !(READ_ONCE(region->perm) & perm))
		return false;
	iov->iov_base = (void __user *)(uintptr_t)(region->addr + off);
	iov->iov_len = len;
	return true;
}

/* The same in the region used last, which it mostly is, or in the one that the cache names. */
static __always_inline bool vhl_ring_translate_known(struct vhl_ring *ring, u64 addr, u32 len,
						     u32 perm, struct iovec *iov)
{
	const struct vhost_iotlb_map *region;

	if (likely(vhl_region_translate(ring->region, addr, len, perm, iov)))
		return true;
	region = vhl_cache_first(&ring->cache, addr);
	if (unlikely(!vhl_region_translate(region, addr, len, perm, iov)))
		return false;
	ring->region = region;
	return true;
}

/* A chain begins: what is found in the map stays meanwhile, but what the last one found may be gone */
static __always_inline void vhl_chain_begin(struct vhl_ring *ring, struct vhl_chain *chain)
{
	if (unlikely(ring->map_gen != READ_ONCE(ring->mem->gen)))
		vhl_ring_forget(ring);
	chain->iov = ring->segs.iov;
	chain->out_num = 0;
	chain->in_num = 0;
	chain->out_len = 0;
	chain->in_len = 0;
}

/**
 * vhl_chain_add() - add a buffer to a chain
 * @ring: the ring
 * @chain: the chain, begun
 * @addr: guest address
 * @len: bytes, may be 0
 * @write: device-writable
 *
 * Return: 0, or what vhl_ring_take() has to return.
 */
static __always_inline int vhl_chain_add(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr,
					 u32 len, bool write)
{
	unsigned int n = chain->out_num + chain->in_num;
	u32 perm = write ? VHL_MEM_WRITE : VHL_MEM_READ;

	/* in any format (of split rings: virtio 1.2, section 2.7.4.2) readable ones come first */
	if (unlikely(!write && chain->in_num))
		return vhl_ring_bad(ring, VHL_FAULT_ORDER);
	if (unlikely((u64)chain->out_len + chain->in_len + len > U32_MAX))
		return vhl_ring_bad(ring, VHL_FAULT_LENGTH);
	if (write)
		chain->in_len += len;
	else
		chain->out_len += len;

	if (unlikely(!len || n >= ring->quick ||
		     !vhl_ring_translate_known(ring, addr, len, perm, &chain->iov[n])))
		return vhl_chain_add_slow(ring, chain, addr, len, write);
	if (write)
		chain->in_num++;
	else
		chain->out_num++;
	return 0;
}

/*
 * A chain that is one buffer, as the two above would make it, where that is simply in a region that
 * is known. Without a call, so that a take with nothing else to do keeps all it knows in registers.
 *
 * Return: false, and nothing is done.
 */
static __always_inline bool vhl_chain_one(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr,
					  u32 len, bool write)
{
	struct iovec *iov = ring->segs.iov;

	if (unlikely(ring->map_gen != READ_ONCE(ring->mem->gen) || !len || !ring->quick ||
		     !vhl_ring_translate_known(ring, addr, len,
					       write ? VHL_MEM_WRITE : VHL_MEM_READ, iov)))
		return false;
	chain->iov = iov;
	chain->out_num = !write;
	chain->in_num = write;
	chain->out_len = write ? 0 : len;
	chain->in_len = write ? len : 0;
	return true;
}

/**
 * struct vhl_table - an indirect table
 * @addr: guest address
 * @near: where its beginning is
 * @near_len: bytes of that; as a rule the whole table
 */
struct vhl_table {
	u64 addr;
	const void __user *near;
	u32 near_len;
};

/* A descriptor of a table, as it is there: both formats have the same size */
struct vhl_table_desc {
	__le64 word[2];
};

/* Find a table of @len bytes, not 0. Return: 0, or what vhl_ring_take() has to return */
static __always_inline int vhl_table_find(struct vhl_ring *ring, struct vhl_table *table, u64 addr,
					  u32 len)
{
	struct iovec iov;
	int ret;

	if (unlikely(!vhl_ring_translate_known(ring, addr, len, VHL_MEM_READ, &iov))) {
		ret = vhl_ring_translate(ring, addr, len, VHL_MEM_READ, &iov);
		if (unlikely(ret))
			return ret;
	}
	table->addr = addr;
	table->near = iov.iov_base;
	table->near_len = iov.iov_len;
	might_fault();
	return 0;
}

/*
 * Read a descriptor of a table, each byte once; it need not be aligned. Plain loads:
 * copy_from_user() takes longer than all that is done with them.
 *
 * Return: 0, or what vhl_ring_take() has to return.
 */
static __always_inline int vhl_table_read(struct vhl_ring *ring, const struct vhl_table *table,
					  u32 i, struct vhl_table_desc *desc)
{
	u32 at = i * sizeof(*desc);
	const __le64 __user *from = table->near + at;

	if (unlikely(at + sizeof(*desc) > table->near_len))
		return vhl_table_read_slow(ring, desc, table->addr + at, sizeof(*desc));
	if (unlikely(!user_read_access_begin(from, sizeof(*desc))))
		return -EFAULT;
	unsafe_get_user(desc->word[0], &from[0], fault);
	unsafe_get_user(desc->word[1], &from[1], fault);
	user_read_access_end();
	return 0;

fault:
	user_read_access_end();
	return -EFAULT;
}

#endif /* VHL_RING_FORMAT_H */
