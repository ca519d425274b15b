/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rings: the device's side of a virtqueue (virtio 1.2, section 2.6 and 2.7).
 *
 * Plain C on memory: nothing here knows a device type, an ioctl, a thread or a lock, and the
 * same files are compiled in userspace for tests and fuzzers.  The ring areas are mapped and
 * pinned by the caller for as long as the ring is used; buffers and indirect tables are reached
 * through the owner's address space.
 *
 * Two sides, each with one user at a time:
 *
 *   taking      vhl_ring_next(), _rewind(), _empty(), _grown(), _enable_notify(), ...
 *               the worker, under the mutex of the virtqueue
 *   completing  vhl_ring_push(), vhl_ring_publish(), vhl_ring_owes_call()
 *               any context, under the irq-safe lock of the used side
 *
 * The driver shares this memory and may be hostile: whatever is read from it is read once into
 * a local, checked, then used.
 */
#ifndef VHL_RING_H
#define VHL_RING_H

#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/virtio_ring.h>

#include "mem.h"

/* Segments of one chain at most; an iov_iter may not have more (UIO_MAXIOV) */
#define VHL_IOV_MAX		1024

/* Ring size of a split ring (virtio 1.2, section 2.7) */
#define VHL_RING_NUM_MAX	32768

/* Why a queue broke; text in vhl_ring_fault_name(), trace output in trace.h */
enum vhl_ring_fault {
	VHL_FAULT_NONE,
	VHL_FAULT_AVAIL_JUMP,		/* avail index ahead by more than the ring has */
	VHL_FAULT_HEAD,			/* head of a chain outside of the descriptor table */
	VHL_FAULT_NEXT,			/* next outside of its table */
	VHL_FAULT_LOOP,			/* more descriptors than the table has */
	VHL_FAULT_INDIRECT_NEXT,	/* INDIRECT and NEXT in one descriptor */
	VHL_FAULT_INDIRECT_NESTED,	/* INDIRECT inside an indirect table */
	VHL_FAULT_INDIRECT_LEN,		/* table empty, or no multiple of a descriptor */
	VHL_FAULT_INDIRECT_FEATURE,	/* INDIRECT without VIRTIO_F_INDIRECT_DESC */
	VHL_FAULT_ORDER,		/* device-readable part after a device-writable one */
	VHL_FAULT_SEGMENTS,		/* more than VHL_IOV_MAX segments */
	VHL_FAULT_LENGTH,		/* 4 GiB or more in one chain */
	VHL_FAULT_ADDRESS,		/* not in guest memory, or it wraps around */
	VHL_FAULT_PERMISSION,		/* in guest memory, but not for this direction */
	VHL_FAULT_ACCESS,		/* in guest memory, but the owner's mapping faults */
	VHL_FAULT_IN_FLIGHT,		/* head made available again before it was used */
	VHL_FAULT_REQUEST,		/* chain is no request of the device type */
	VHL_FAULT_NR
};

/**
 * struct vhl_ring_cfg - what a ring is made from
 * @desc: descriptor table, @num * 16 bytes, aligned to 16
 * @avail: driver area, 6 + @num * 2 bytes, aligned to 2
 * @used: device area, 6 + @num * 8 bytes, aligned to 4
 * @mem: the map for buffers and indirect tables
 * @iov: room for the segments of a chain, the caller's
 * @iov_max: how many, at most VHL_IOV_MAX
 * @num: ring size, a power of two, at most VHL_RING_NUM_MAX
 * @base: avail index to begin with
 * @event_idx: VIRTIO_F_EVENT_IDX was negotiated
 * @indirect: VIRTIO_F_INDIRECT_DESC was negotiated
 */
struct vhl_ring_cfg {
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	const struct vhl_mem *mem;
	struct iovec *iov;
	unsigned int iov_max;
	u16 num;
	u16 base;
	bool event_idx;
	bool indirect;
};

/**
 * struct vhl_ring - a split virtqueue, seen from the device
 * @cfg: constant while the ring is in use, but for the room for segments
 * @last_avail: index of the next chain to take
 * @avail_seen: avail index when it was last read
 * @used_start: @used_next when the ring was made
 * @notify_on: the driver was last told to kick
 * @fault: why the ring is unusable
 * @region: where the last address was found, or &vhl_no_region
 * @cache: of the map, to find others
 * @map_gen: generation of the map that both are of
 * @used_next: index of the next used entry to write; entries up to it may be unpublished
 * @used_told: index up to which entries are published
 * @told_valid: some of them were by this ring
 */
struct vhl_ring {
	struct vhl_ring_cfg cfg;

	/* the taking side */
	u16 last_avail;
	u16 avail_seen;
	u16 used_start;
	bool notify_on;
	enum vhl_ring_fault fault;
	const struct vhost_iotlb_map *region;
	struct vhl_region_cache cache;
	u64 map_gen;

	/* the completing side */
	u16 used_next ____cacheline_aligned_in_smp;
	u16 used_told;
	bool told_valid;
};

/**
 * struct vhl_chain - a descriptor chain, translated
 * @iov: segments, in the ring's room for them; addresses are of the owner's space.  The
 *       device-readable ones come first
 * @id: names the chain when it is completed; below the size of the ring
 * @out_num: segments that the device reads
 * @in_num: segments that the device writes, from @iov[@out_num] on
 * @out_len: bytes that the device reads
 * @in_len: bytes that the device may write; the sum of both is below 4 GiB
 */
struct vhl_chain {
	struct iovec *iov;
	u16 id;
	unsigned int out_num;
	unsigned int in_num;
	u32 out_len;
	u32 in_len;
};

/**
 * vhl_ring_init() - begin to use a ring
 * @ring: the ring
 * @cfg: copied
 *
 * The used index is taken over from the device area: what was used before stays used.
 */
void vhl_ring_init(struct vhl_ring *ring, const struct vhl_ring_cfg *cfg);

/**
 * vhl_ring_set_room() - give a ring other room for the segments of a chain
 * @ring: the ring
 * @iov: replaces cfg.iov, which the chain that was taken last is in
 * @max: how many
 */
static inline void vhl_ring_set_room(struct vhl_ring *ring, struct iovec *iov, unsigned int max)
{
	ring->cfg.iov = iov;
	ring->cfg.iov_max = max;
}

/**
 * vhl_ring_next() - take the next chain
 * @ring: the ring
 * @chain: filled; good until the next call
 *
 * A failure is final for the ring: @ring->fault says what it was, and the driver's index has
 * not moved past the chain. But for -ENOSPC: the chain has more segments than there is room for,
 * which may still be too many. With more room the next call looks at it anew.
 *
 * Context: may sleep (page faults of indirect tables).
 * Return: 1 with a chain, 0 when there is none, -EINVAL or -EFAULT on a bad ring, -ENOSPC.
 */
int __must_check vhl_ring_next(struct vhl_ring *ring, struct vhl_chain *chain);

/* Chains that can be in flight at most */
static inline u32 vhl_ring_size(const struct vhl_ring *ring)
{
	return ring->cfg.num;
}

/**
 * vhl_ring_mark() - where the next chain will be taken from
 * @ring: the ring
 */
static inline u32 vhl_ring_mark(const struct vhl_ring *ring)
{
	return ring->last_avail;
}

/**
 * vhl_ring_rewind() - give back chains that were taken last and not pushed
 * @ring: the ring
 * @mark: before the first of them
 */
void vhl_ring_rewind(struct vhl_ring *ring, u32 mark);

/**
 * vhl_ring_empty() - is there no chain to take
 * @ring: the ring
 *
 * Touches only the avail index; for polling.
 */
bool vhl_ring_empty(const struct vhl_ring *ring);

/**
 * vhl_ring_disable_notify() - tell the driver that kicks are not needed
 * @ring: the ring
 *
 * A hint: a kick may come all the same.
 */
void vhl_ring_disable_notify(struct vhl_ring *ring);

/**
 * vhl_ring_enable_notify() - ask for a kick with the next chain
 * @ring: the ring
 *
 * Return: true when a chain came in meanwhile, for which no kick can be relied on.
 */
bool __must_check vhl_ring_enable_notify(struct vhl_ring *ring);

/**
 * vhl_ring_grown() - did the driver add chains since the avail index was last read
 * @ring: the ring
 *
 * For a device that has taken all chains (vhl_ring_next() returned 0) and, finding them not enough,
 * gave them back. Touches only the avail index.
 */
bool vhl_ring_grown(const struct vhl_ring *ring);

/**
 * vhl_ring_enable_notify_grown() - ask for a kick with the next chain that was not seen yet
 * @ring: the ring
 *
 * As vhl_ring_enable_notify(), for a device that gave chains back because they were too few: it
 * would only take the same ones again.
 *
 * Return: true when a chain came in meanwhile.
 */
bool __must_check vhl_ring_enable_notify_grown(struct vhl_ring *ring);

/**
 * vhl_ring_push() - put a chain into the used ring, unpublished
 * @ring: the ring
 * @head: of the chain
 * @len: bytes written to its device-writable part
 */
void vhl_ring_push(struct vhl_ring *ring, u16 head, u32 len);

/**
 * vhl_ring_publish() - show the driver all that was pushed
 * @ring: the ring
 *
 * Return: true when the driver wants a call.
 */
bool __must_check vhl_ring_publish(struct vhl_ring *ring);

/**
 * vhl_ring_owes_call() - may the driver be waiting to be called for what is published already
 * @ring: the ring
 * @told: who listens now was called for all of it
 *
 * With an event index the driver says up to where it has looked; then @told does not count. Without,
 * a driver that did not switch calls off may be waiting.
 */
bool vhl_ring_owes_call(const struct vhl_ring *ring, bool told);

/**
 * vhl_ring_inflight() - chains taken and not yet pushed
 * @ring: the ring
 *
 * Context: stable only while both sides are held still.
 */
u16 vhl_ring_inflight(const struct vhl_ring *ring);

/**
 * vhl_ring_fault_name() - a few words for a person
 * @fault: the fault
 */
const char *vhl_ring_fault_name(enum vhl_ring_fault fault);

/* ring.c, for the ring formats */

/**
 * vhl_chain_add() - add a buffer to a chain
 * @ring: the ring
 * @chain: the chain, zeroed before its first buffer
 * @addr: guest address
 * @len: bytes, may be 0
 * @write: device-writable
 *
 * Return: 0, -EINVAL or -EFAULT with @ring->fault set, or -ENOSPC.
 */
int __must_check vhl_chain_add(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len,
			       bool write);

/**
 * vhl_chain_add_indirect() - add the buffers of an indirect table to a chain
 * @ring: the ring
 * @chain: the chain
 * @addr: guest address of the table
 * @len: bytes
 *
 * Return: 0, -EINVAL or -EFAULT with @ring->fault set, or -ENOSPC.
 */
int __must_check vhl_chain_add_indirect(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr,
					u32 len);

/* Forget what is remembered of the map */
static inline void vhl_ring_forget(struct vhl_ring *ring)
{
	ring->region = &vhl_no_region;
	ring->cache = ring->cfg.mem->cache;
	ring->map_gen = ring->cfg.mem->gen;
}

/* A chain begins: the map will stay as it is meanwhile, but may not be that of the last chain */
static inline void vhl_ring_check_map(struct vhl_ring *ring)
{
	if (unlikely(ring->map_gen != ring->cfg.mem->gen))
		vhl_ring_forget(ring);
}

/* Ring memory is little-endian; of legacy rings only those of little-endian guests are served */
static inline u16 vhl16_to_cpu(__virtio16 v)
{
	return le16_to_cpu((__force __le16)v);
}

static inline u32 vhl32_to_cpu(__virtio32 v)
{
	return le32_to_cpu((__force __le32)v);
}

static inline u64 vhl64_to_cpu(__virtio64 v)
{
	return le64_to_cpu((__force __le64)v);
}

static inline __virtio16 cpu_to_vhl16(u16 v)
{
	return (__force __virtio16)cpu_to_le16(v);
}

static inline __virtio32 cpu_to_vhl32(u32 v)
{
	return (__force __virtio32)cpu_to_le32(v);
}

#endif /* VHL_RING_H */
