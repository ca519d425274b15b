/* SPDX-License-Identifier: GPL-2.0 */
/* A split virtqueue with both of its sides: a model of the driver's, and the ring under test */
#ifndef DRIVER_SPLIT_H
#define DRIVER_SPLIT_H

#include "regions.h"
#include "ring.h"
#include "harness.h"

/* Default guest memory: readable and writable */
#define RAM		0x100000ULL
#define RAM_SIZE	0x100000UL

#define RIG_EVENT_IDX	0x1
#define RIG_NO_INDIRECT	0x2
#define RIG_NO_RAM	0x4

#define F_NEXT		VRING_DESC_F_NEXT
#define F_WRITE		VRING_DESC_F_WRITE
#define F_INDIRECT	VRING_DESC_F_INDIRECT
#define RW		(VHL_MEM_READ | VHL_MEM_WRITE)

struct rig {
	struct guest guest;

	/* each its own heap object of exactly the size in the contract */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	u16 num;
	bool event_idx;

	/* the driver's: the next index it fills, the next used entry it reads */
	u16 avail_idx;
	u16 used_idx;

	struct vhl_ring *ring;
	struct vhl_chain chain;
};

/* A buffer as a driver means it */
struct buf {
	u64 addr;
	u32 len;
	bool write;
};

/* The next chain is @base; so is the first used entry, as after a move of a guest */
struct rig *rig_new(u16 num, u16 base, unsigned int flags);
void rig_free(struct rig *r);

/* Give the ring other room for segments, a heap object of exactly that size */
void rig_set_room(struct rig *r, unsigned int max);

/* Have the ring begin again with what is in the areas */
void rig_restart(struct rig *r, u16 base);

static inline void table_set(struct vring_desc *d, u64 addr, u32 len, u16 flags, u16 next)
{
	*(volatile u64 *)&d->addr = cpu_to_le64(addr);
	*(volatile u32 *)&d->len = cpu_to_le32(len);
	*(volatile u16 *)&d->flags = cpu_to_le16(flags);
	*(volatile u16 *)&d->next = cpu_to_le16(next);
}

void drv_desc(struct rig *r, u16 i, u64 addr, u32 len, u16 flags, u16 next);

/* Descriptors @first, @first + 1, ... around the ring, for @n buffers */
void drv_chain(struct rig *r, u16 first, const struct buf *bufs, unsigned int n);

/* A table at @addr and one descriptor for it */
void drv_indirect(struct rig *r, u16 i, u64 addr, const struct buf *bufs, unsigned int n);

/* Fill the next avail entry; drv_show() moves the index past all that are filled */
void drv_avail(struct rig *r, u16 head);
void drv_show(struct rig *r);
void drv_post(struct rig *r, u16 head);

/* Must a driver kick that has moved its index from @old to where it is? */
bool drv_want_kick(const struct rig *r, u16 old);

/* The event index of the driver, and its flags */
void drv_set_used_event(struct rig *r, u16 idx);
void drv_set_flags(struct rig *r, u16 flags);

/* Read a used entry. Return: false when there is none */
bool drv_used(struct rig *r, u32 *id, u32 *len);

int rig_take(struct rig *r);

/* Take a chain: must be @head with exactly @bufs */
#define TAKE(r, head, bufs, n)	rig_expect(__FILE__, __LINE__, r, head, bufs, n)
bool rig_expect(const char *file, int line, struct rig *r, u16 head, const struct buf *bufs,
		unsigned int n);

/* Take a chain: must fail so, for good, without moving on */
#define FAULT(r, fault)		rig_fault(__FILE__, __LINE__, r, fault)
void rig_fault(const char *file, int line, struct rig *r, enum vhl_ring_fault fault);

/* Is what the ring took as a model says: the same bytes in the same order */
bool rig_compare(const char *file, int line, const struct rig *r, const struct buf *bufs,
		 unsigned int n);

/* What holds for any chain that was taken, however bad the driver. Return: NULL or what is wrong */
const char *rig_wrong(const struct rig *r);

/* The first used entry that the driver has not read must be this */
#define USED(r, head, len)	rig_used(__FILE__, __LINE__, r, head, len)
void rig_used(const char *file, int line, struct rig *r, u16 head, u32 len);

/* Faults that some test has seen */
extern bool faults_seen[VHL_FAULT_NR];

#endif /* DRIVER_SPLIT_H */
