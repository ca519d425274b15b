/* SPDX-License-Identifier: GPL-2.0 */
/* A split virtqueue with both of its sides: a model of the driver's, and the ring under test */
#ifndef DRIVER_SPLIT_H
#define DRIVER_SPLIT_H

#include "harness.h"
#include "model.h"

/* Default guest memory: readable and writable */
#define RAM		0x100000ULL
#define RAM_SIZE	0x100000UL

/* Away from it; see rig_three_regions() */
#define HI		0x40000000ULL

#define RIG_EVENT_IDX	0x1
#define RIG_NO_INDIRECT	0x2
#define RIG_NO_RAM	0x4
#define RIG_LOG		0x8

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
	struct vhl_ring_cfg cfg;

	/* the driver's: the next index it fills, the next used entry it reads */
	u16 avail_idx;
	u16 used_idx;

	struct vhl_ring *ring;
	struct vhl_chain chain;
};

/* The next chain is @base; so is the first used entry, as after a move of a guest */
struct rig *rig_new(u16 num, u16 base, unsigned int flags);
void rig_free(struct rig *r);

/* 0x3000 bytes from HI on: adjacent to the guest, in three places of the owner */
void rig_three_regions(struct rig *r);

/* Give the ring other room for segments, and for its log, heap objects of exactly that size */
void rig_set_segs(struct rig *r, unsigned int max);

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

/* A chain from descriptor 0 on, shown */
void drv_post_chain(struct rig *r, const struct buf *bufs, unsigned int n);

/* The same of one descriptor that names [addr, addr + len) as its table */
void drv_post_table(struct rig *r, u64 addr, u32 len, u16 flags, u16 next);

/* Show @n more chains of one buffer, RAM. Return: must the driver kick? */
bool drv_add(struct rig *r, unsigned int n);

/* Must a driver kick that has moved its index from @old to where it is? */
bool drv_want_kick(const struct rig *r, u16 old);

/* The event index of the driver, and its flags */
void drv_set_used_event(struct rig *r, u16 idx);
void drv_set_flags(struct rig *r, u16 flags);

/* Read a used entry. Return: false when there is none */
bool drv_used(struct rig *r, u32 *id, u32 *len);

int rig_take(struct rig *r);

/* Give back the last @n chains */
void rig_rewind(struct rig *r, u16 n);

/* Push one chain */
void rig_push(struct rig *r, u16 id, u32 len);

/* Take all chains and push them */
void rig_drain(struct rig *r);

/* Why vhl_ring_take() returned an error; VHL_FAULT_NONE where it is none of the driver's */
enum vhl_ring_fault rig_why(const struct rig *r, int err);

/* Take a chain: must be @head with exactly @bufs */
#define TAKE(r, head, bufs, n)	rig_expect(__FILE__, __LINE__, r, head, bufs, n)
bool rig_expect(const char *file, int line, struct rig *r, u16 head, const struct buf *bufs,
		unsigned int n);

/* Take a chain: must fail so, without moving on; for good, unless it may pass */
#define FAULT(r, fault)		rig_fault(__FILE__, __LINE__, r, fault)
void rig_fault(const char *file, int line, struct rig *r, enum vhl_ring_fault fault);

/* As chain_wrong() */
const char *rig_wrong(const struct rig *r);

/* Does the last miss name an address that has no translation for what it says? */
bool rig_miss_is_true(const struct rig *r);

/* The first used entry that the driver has not read must be this */
#define USED(r, head, len)	rig_used(__FILE__, __LINE__, r, head, len)
void rig_used(const char *file, int line, struct rig *r, u16 head, u32 len);

/* Faults that some test has seen */
extern bool faults_seen[VHL_FAULT_NR];

#endif /* DRIVER_SPLIT_H */
