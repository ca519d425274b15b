/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtqueue with both of its sides: a model of the driver's, and the ring under test. What is the
 * same in all formats; driver_FORMAT.h includes it, and has struct rig.
 */
#ifndef RIG_H
#define RIG_H

#include "harness.h"
#include "model.h"
#include "ring_format.h"

struct rig;

/* Default guest memory: readable and writable */
#define RAM		0x100000ULL
#define RAM_SIZE	0x100000UL

/* Away from it; see rig_three_regions() */
#define HI		0x40000000ULL

#define RIG_EVENT_IDX	0x1
#define RIG_NO_INDIRECT	0x2
#define RIG_NO_RAM	0x4
#define RIG_LOG		0x8
#define RIG_IN_ORDER	0x10

#define F_NEXT		VRING_DESC_F_NEXT
#define F_WRITE		VRING_DESC_F_WRITE
#define F_INDIRECT	VRING_DESC_F_INDIRECT
#define RW		(VHL_MEM_READ | VHL_MEM_WRITE)

/*
 * So many chains of one descriptor have been taken and used before, as after a move of a guest: the
 * next one is @base
 */
struct rig *rig_new(u16 num, u16 base, unsigned int flags);
void rig_free(struct rig *r);

/* 0x3000 bytes from HI on: adjacent to the guest, in three places of the owner */
void rig_three_regions(struct rig *r);

/* Give the ring other room for segments, and for its log, heap objects of exactly that size */
void rig_set_segs(struct rig *r, unsigned int max);

/* Have the ring begin again with what is in the areas, at a base that vhl_ring_base() would have */
void rig_restart(struct rig *r, u32 base);

/* Of the format: areas and what is in them; for rig.c */
void drv_init(struct rig *r, u16 base);
void drv_fini(struct rig *r);

void *must(void *p);

/* A descriptor of an indirect table; @next only where the format has that */
void table_set(void *desc, u64 addr, u32 len, u16 flags, u16 next);

/*
 * A descriptor of the driver's. Those of a chain are linked by @next, and the number of the first
 * is what the ring calls the chain, in all formats. One that is available is changed where it is.
 */
void drv_desc(struct rig *r, u16 i, u64 addr, u32 len, u16 flags, u16 next);

/* Descriptors @first, @first + 1, ... around the ring, for @n buffers */
void drv_chain(struct rig *r, u16 first, const struct buf *bufs, unsigned int n);

/* A table at @addr and one descriptor for it */
void drv_indirect(struct rig *r, u16 i, u64 addr, const struct buf *bufs, unsigned int n);

/* Make a chain available; drv_show() shows all that are */
void drv_avail(struct rig *r, u16 head);
void drv_show(struct rig *r);
void drv_post(struct rig *r, u16 head);

/* A chain from descriptor 0 on, shown */
void drv_post_chain(struct rig *r, const struct buf *bufs, unsigned int n);

/* The same of one descriptor that names [addr, addr + len) as its table */
void drv_post_table(struct rig *r, u64 addr, u32 len, u16 flags, u16 next);

/* Have the last chain that was made available be another one, perhaps one that cannot be */
void drv_replace(struct rig *r, u16 old, u16 head);

/* Show @n more chains of one buffer, RAM. Return: must the driver kick? */
bool drv_add(struct rig *r, unsigned int n);

/* Where the next chain will be made available: for drv_want_kick() */
u16 drv_at(const struct rig *r);

/* Must a driver kick that has shown what is new since @old? */
bool drv_want_kick(const struct rig *r, u16 old);

/* Ask for a call with the used chain that comes next, or for none at all; with @event_idx by that */
void drv_ask_call(struct rig *r);
void drv_no_calls(struct rig *r);

/* Ask for calls in any way, for any of the next used chains; and is one due for what is pushed? */
void drv_random_calls(struct rig *r, struct rng *rng);
bool drv_call_is_due(const struct rig *r);

/* All that was pushed is published; or a ring begins that knows nothing of what was before */
void drv_published(struct rig *r);
void drv_began(struct rig *r);

/* A size for a ring, up to 256 */
u16 drv_random_num(struct rng *rng);

/* Read a used entry. Return: false when there is none */
bool drv_used(struct rig *r, u32 *id, u32 *len);

/* Is there one? */
bool drv_pending(const struct rig *r);

/* Do to a bad chain what a driver does that mends its ring */
void drv_mend(struct rig *r);

int rig_take(struct rig *r);

/* Give back the last @n chains */
void rig_rewind(struct rig *r, u16 n);

/* Push one chain, or some */
void rig_push(struct rig *r, u16 id, u32 len);
void rig_push_batch(struct rig *r, const struct vhl_done *done, unsigned int n);

/* Publish what was pushed: there must be a call if and only if one is due. Return: is there? */
bool rig_publish(struct rig *r);

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

/* For the last test: all have been seen but these, which are not this format's to find */
void rig_all_faults(const bool others[VHL_FAULT_NR]);

#endif /* RIG_H */
