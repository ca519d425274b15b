/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rings: the device's side of a virtqueue (virtio 1.2, section 2.6), whatever its format.
 *
 * Plain C on memory: nothing here knows a device type, an ioctl, a thread or a lock, and the
 * same files are compiled in userspace for tests and fuzzers.  The ring areas are mapped and
 * pinned by the caller for as long as the ring is used; buffers and indirect tables are reached
 * through the owner's address space.
 *
 * Two sides, each with one user at a time:
 *
 *   taking      vhl_ring_take(), _mark(), _rewind(), _empty(), _ask_kick(), _no_kicks()
 *               the worker, under the mutex of the virtqueue
 *   completing  vhl_ring_push(), _publish(), _owes_call()
 *               any context, under the irq-safe lock of the used side
 *
 * The driver shares this memory and may be hostile: whatever is read from it is read once into
 * a local, checked, then used.
 *
 * The format follows from the negotiated features. A format is one file, ring_FORMAT.c, which
 * shares ring_format.h with ring.c and chain.c; no other file knows one.
 */
#ifndef VHL_RING_H
#define VHL_RING_H

#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/types.h>
#include <linux/uio.h>
#include <linux/virtio_ring.h>

#include "bitmap.h"
#include "mem.h"

struct vhl_ring_format;

/* Segments of one chain at most; an iov_iter may not have more (UIO_MAXIOV) */
#define VHL_IOV_MAX		1024

/* Why a queue broke; text in vhl_ring_fault_name() */
enum vhl_ring_fault {
	VHL_FAULT_NONE,
	VHL_FAULT_AVAIL_JUMP,		/* more chains available than the ring holds */
	VHL_FAULT_HEAD,			/* id of a chain outside of the ring */
	VHL_FAULT_NEXT,			/* chain goes on outside of its table */
	VHL_FAULT_LOOP,			/* chain of more descriptors than its table has */
	VHL_FAULT_INDIRECT_NEXT,	/* INDIRECT and NEXT in one descriptor, or (packed) chain */
	VHL_FAULT_INDIRECT_NESTED,	/* INDIRECT inside an indirect table */
	VHL_FAULT_INDIRECT_LEN,		/* table empty, or no multiple of a descriptor */
	VHL_FAULT_INDIRECT_FEATURE,	/* INDIRECT without VIRTIO_F_INDIRECT_DESC */
	VHL_FAULT_ORDER,		/* device-readable part after a device-writable one */
	VHL_FAULT_SEGMENTS,		/* more than VHL_IOV_MAX segments */
	VHL_FAULT_LENGTH,		/* 4 GiB or more in one chain */
	VHL_FAULT_ADDRESS,		/* not in guest memory, or it wraps around */
	VHL_FAULT_PERMISSION,		/* in guest memory, but not for this direction */
	VHL_FAULT_ACCESS,		/* in guest memory, but the owner's mapping faults */
	VHL_FAULT_IN_FLIGHT,		/* id made available again before it was used */
	VHL_FAULT_REQUEST,		/* chain is no request of the device type */
	VHL_FAULT_NR
};

/* The parts of a ring (virtio 1.2, section 2.6) */
enum vhl_ring_area {
	VHL_RING_DESC,			/* descriptors */
	VHL_RING_DRIVER,		/* the driver's: avail ring, or its event suppression */
	VHL_RING_DEVICE,		/* the device's: used ring, or its event suppression */
	VHL_RING_AREAS
};

/**
 * struct vhl_ring_extent - what an area takes
 * @size: bytes
 * @align: of its address
 * @perm: what the device does there: VHL_MEM_READ, VHL_MEM_WRITE
 */
struct vhl_ring_extent {
	size_t size;
	size_t align;
	u32 perm;
};

/**
 * struct vhl_log - what the device may write, as a log of dirty guest memory needs it
 * @addr: as the driver gave it: a guest address, or an IOVA where the map is of those
 * @len: bytes
 */
struct vhl_log {
	u64 addr;
	u32 len;
};

/**
 * struct vhl_segs - where a ring puts the segments of a chain, the caller's
 * @iov: segments
 * @log: for those that the device writes: entry i is of the segment @iov[out_num + i]; NULL where
 *	 nothing logs
 * @region: for each, where it was found; NULL where nobody wants to know
 * @max: how many of each, at most VHL_IOV_MAX
 */
struct vhl_segs {
	struct iovec *iov;
	struct vhl_log *log;
	const struct vhost_iotlb_map **region;
	unsigned int max;
};

/**
 * struct vhl_ring_log - where a ring logs what it writes to its own areas
 * @bitmap: the bitmap
 * @addr: guest addresses of the areas, of those that the device writes
 */
struct vhl_ring_log {
	const struct vhl_bitmap *bitmap;
	u64 addr[VHL_RING_AREAS];
};

/**
 * struct vhl_ring_cfg - what a ring is made from
 * @features: negotiated, the first 64
 * @num: ring size
 * @base: where to begin
 * @area: each as vhl_ring_extent() says, mapped
 * @mem: the map for buffers and indirect tables
 * @segs: for the segments of a chain
 * @log: as vhl_ring_set_log(), from the first store on
 * @node: of memory, for the ring's own
 * @reads: chains have no device-writable part, whatever flags say in an indirect table that is
 *	packed: DPDK has VRING_DESC_F_WRITE there in the one of a header that it sends, and now and
 *	then of more
 *
 * Such that vhl_ring_cfg_ok() is true.
 */
struct vhl_ring_cfg {
	u64 features;
	u32 num;
	u32 base;
	void *area[VHL_RING_AREAS];
	struct vhl_mem *mem;
	struct vhl_segs segs;
	const struct vhl_ring_log *log;
	int node;
	bool reads;
};

/**
 * struct vhl_miss - a translation that is missing
 * @addr: the first address that has none, of those that were needed
 * @perm: for what it is needed: VHL_MEM_READ or VHL_MEM_WRITE
 * @mapped: it is in the map, but not for that
 */
struct vhl_miss {
	u64 addr;
	u32 perm;
	bool mapped;
};

/**
 * struct vhl_wanted - translations that are missing, one for each page
 * @miss: room for @max
 * @n: how many there are
 * @max: at least 1
 */
struct vhl_wanted {
	struct vhl_miss *miss;
	unsigned int n;
	unsigned int max;
};

/**
 * struct vhl_ring - a virtqueue, seen from the device
 * @format: chosen by the features; constant, as are @mem and @num
 * @mem: the map
 * @num: ring size
 * @log: for stores of both sides to the areas, NULL where they are not logged
 * @segs: for the segments of the chain that is taken last
 * @quick: so many segments of a chain are added the short way, which asks for nothing else; none
 *	   if the ring logs or regions are wanted
 * @pos: where the next chain is taken from. The low 16 bits count chains, from any start; the rest
 *	 is the format's
 * @dry_pos: @pos when the last take found no chain
 * @dry: no take has found one since
 * @fault: why the ring is unusable
 * @miss: of the last take that returned -ENXIO
 * @wanted: what is missing gets there, and chains are made without it; NULL but for
 *	    vhl_ring_look_ahead()
 * @region: where the last address was found, or &vhl_no_region
 * @cache: of the map, to find others
 * @map_gen: generation of the map that both are of
 * @pushed: counts chains that were pushed, from any start; some may be unpublished
 * @ahead: @pos less @pushed while nothing is in flight
 * @state: the format's
 *
 * For the ring's own files, but that others read @fault and @miss.
 */
struct vhl_ring {
	const struct vhl_ring_format *format;
	struct vhl_mem *mem;
	u32 num;
	const struct vhl_ring_log *log;

	/* the taking side */
	unsigned int quick;
	struct vhl_segs segs;
	u32 pos;
	u32 dry_pos;
	bool dry;
	enum vhl_ring_fault fault;
	const struct vhost_iotlb_map *region;
	struct vhl_region_cache cache;
	u64 map_gen;
	struct vhl_miss miss;
	struct vhl_wanted *wanted;

	/* the completing side */
	u16 pushed ____cacheline_aligned_in_smp;
	u16 ahead;

	/* both, kept apart by the format */
	u64 state[] ____cacheline_aligned_in_smp;
};

/**
 * struct vhl_chain - a descriptor chain, translated
 * @iov: segments, of the ring's struct vhl_segs; addresses are of the owner's space.  The
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
 * struct vhl_done - a completed chain
 * @id: its name, of struct vhl_chain
 * @len: bytes written to the device-writable part
 */
struct vhl_done {
	u16 id;
	u32 len;
};

/* Before there is a ring */

/*
 * Feature bits that rings of any format serve, to offer. They serve VIRTIO_F_IN_ORDER, too, which
 * is for a backend to offer that completes chains in the order in which it takes them.
 */
u64 vhl_ring_features(void);

/*
 * Is this a size, a position to begin with, for the ring that these features mean? To refuse early
 * what is wrong: the features may not be final, nor the size known. vhl_ring_cfg_ok() has the last
 * word.
 */
bool vhl_ring_num_ok(u64 features, u32 num);
bool vhl_ring_base_ok(u64 features, u32 base);

/* Where to begin if nobody says so, as VHOST_GET_VRING_BASE has it */
u32 vhl_ring_first_base(u64 features);

/**
 * vhl_ring_cfg_ok() - can a ring be made of this?
 * @features: negotiated, the final ones
 * @num: ring size
 * @base: where to begin
 * @area: addresses of its areas, which need not be mapped yet
 */
bool vhl_ring_cfg_ok(u64 features, u32 num, u32 base, const u64 area[VHL_RING_AREAS]);

/**
 * vhl_ring_extent() - what an area takes
 * @features: negotiated
 * @num: ring size, a legal one for @size to be of use
 * @area: which
 */
struct vhl_ring_extent vhl_ring_extent(u64 features, u32 num, enum vhl_ring_area area);

/**
 * vhl_ring_new() - begin to use a ring
 * @cfg: copied
 *
 * What was used before stays used, where the device area says so.
 *
 * Return: the ring, or NULL when there is no memory.
 */
struct vhl_ring *vhl_ring_new(const struct vhl_ring_cfg *cfg);

/* Stop that; the segments are the caller's again */
void vhl_ring_free(struct vhl_ring *ring);

/* Allocate @max of each, or no log, and no regions, on a node of memory. Return: 0 or -ENOMEM */
int __must_check vhl_segs_alloc(struct vhl_segs *segs, unsigned int max, bool log, int node);

/* Allocate regions, too. Return: likewise */
int __must_check vhl_segs_add_regions(struct vhl_segs *segs);

/*
 * Replace them by @max new ones, with a log and regions if they have such. Return: 0; -ENOMEM, and
 * they are as before
 */
int __must_check vhl_segs_grow(struct vhl_segs *segs, unsigned int max);
void vhl_segs_free(struct vhl_segs *segs);

/* Chains that can be in flight at most */
static inline u32 vhl_ring_size(const struct vhl_ring *ring)
{
	return ring->num;
}

/* The taking side */

/**
 * vhl_ring_set_segs() - have a ring use other segments
 * @ring: the ring
 * @segs: copied; replaces those that the chain that was taken last is in. That chain is not used
 *	  any more where they differ in more than their number
 */
void vhl_ring_set_segs(struct vhl_ring *ring, const struct vhl_segs *segs);

/**
 * vhl_ring_take() - take the next chain
 * @ring: the ring
 * @chain: filled; good until the next call
 *
 * Moves on only with a chain. What else than a bad ring keeps it from that may pass, and the next
 * call looks at the chain anew:
 *
 * -ENOSPC  more segments than struct vhl_segs has, which may still be too many
 * -ENXIO   an address of a buffer or a table has no translation; @ring->miss says which
 * -EFAULT  the owner's mapping of a table faults, or was not to be waited for (pagefault_disable())
 *
 * Context: may sleep (page faults of indirect tables).
 * Return: 1 with a chain, 0 when there is none, one of the above, or -EINVAL: the ring is bad,
 * @ring->fault says why, and no call will have another result.
 */
int __must_check vhl_ring_take(struct vhl_ring *ring, struct vhl_chain *chain);

/**
 * vhl_ring_look_ahead() - find what chains that are there will miss
 * @ring: the ring, whose last take returned -ENXIO
 * @wanted: filled, beginning with what that take missed
 *
 * Of the chain that was not taken, and of some behind it. The ring is as it was, but that the chain
 * that was taken last is not used any more.
 *
 * Context: may sleep, as vhl_ring_take().
 */
void vhl_ring_look_ahead(struct vhl_ring *ring, struct vhl_wanted *wanted);

/* Have the ring give no chain any more, as if it were bad */
static inline void vhl_ring_fail(struct vhl_ring *ring, enum vhl_ring_fault fault)
{
	ring->fault = fault;
}

/**
 * vhl_ring_mark() - where the next chain will be taken from
 * @ring: the ring
 *
 * Return: a position for vhl_ring_rewind() and vhl_ring_taken().
 */
static inline u32 vhl_ring_mark(const struct vhl_ring *ring)
{
	return ring->pos;
}

/**
 * vhl_ring_rewind() - give back chains that were taken last and not pushed
 * @ring: the ring
 * @mark: before the first of them
 */
static inline void vhl_ring_rewind(struct vhl_ring *ring, u32 mark)
{
	ring->pos = mark;
}

/* Chains taken since, less those given back */
static inline u16 vhl_ring_taken(const struct vhl_ring *ring, u32 mark)
{
	return ring->pos - mark;
}

/**
 * vhl_ring_empty() - is there no chain that is worth a take
 * @ring: the ring
 *
 * Chains that were given back are worth one, unless a take has found no more of them: a device
 * that does so has too few, and would only take the same ones again.
 *
 * Touches only what the driver writes to make a chain available; for polling.
 */
bool vhl_ring_empty(const struct vhl_ring *ring);

/**
 * vhl_ring_ask_kick() - ask for a kick with the next chain
 * @ring: the ring
 *
 * Return: true when the ring is not empty (vhl_ring_empty()): for what is there already no kick can
 * be relied on.
 */
bool __must_check vhl_ring_ask_kick(struct vhl_ring *ring);

/**
 * vhl_ring_no_kicks() - tell the driver that kicks are not needed
 * @ring: the ring
 *
 * A hint: a kick may come all the same.
 */
void vhl_ring_no_kicks(struct vhl_ring *ring);

/**
 * vhl_ring_base() - where a ring that is made next would go on, once nothing is in flight
 * @ring: the ring; of a packed one the completing side is read, too
 *
 * Return: as VHOST_GET_VRING_BASE and struct vhl_ring_cfg have it.
 */
u32 vhl_ring_base(const struct vhl_ring *ring);

/* The completing side */

/**
 * vhl_ring_push() - show chains to the driver with the next publication
 * @ring: the ring
 * @done: the chains, in the order in which it shall see them
 * @n: how many
 *
 * With VIRTIO_F_IN_ORDER that is the order in which they were taken, and a chain without bytes has
 * no device-writable part: the driver is told of it by the next one in @done, if there is one.
 */
void vhl_ring_push(struct vhl_ring *ring, const struct vhl_done *done, unsigned int n);

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
 * @told: the eventfd in use now was signalled for all of it
 *
 * With an event index the driver says up to where it has looked; then @told does not count.
 * Without, a driver that did not switch calls off may be waiting.
 */
bool vhl_ring_owes_call(const struct vhl_ring *ring, bool told);

/* Chains pushed so far, from any start */
static inline u16 vhl_ring_pushed(const struct vhl_ring *ring)
{
	return ring->pushed;
}

/* Both sides */

/* Log stores to the areas as @log says, the caller's; NULL: no more. Both sides are held still */
static inline void vhl_ring_set_log(struct vhl_ring *ring, const struct vhl_ring_log *log)
{
	ring->log = log;
}

/**
 * vhl_ring_inflight() - chains taken and not yet pushed
 * @ring: the ring
 *
 * Context: stable only while both sides are held still.
 */
static inline u16 vhl_ring_inflight(const struct vhl_ring *ring)
{
	return ring->pos - ring->pushed - ring->ahead;
}

/**
 * vhl_ring_fault_name() - a few words for a person
 * @fault: the fault
 */
const char *vhl_ring_fault_name(enum vhl_ring_fault fault);

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
