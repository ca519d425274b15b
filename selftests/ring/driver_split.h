/* SPDX-License-Identifier: GPL-2.0 */
/* A split virtqueue with both of its sides: a model of the driver's, and the ring under test */
#ifndef DRIVER_SPLIT_H
#define DRIVER_SPLIT_H

#include "rig.h"

struct rig {
	struct guest guest;

	/* each its own heap object of exactly the size in the contract */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	u16 num;
	bool event_idx;
	bool in_order;
	struct vhl_ring_cfg cfg;

	/* the driver's: the next index it fills, the next used entry it reads */
	u16 avail_idx;
	u16 used_idx;

	/* with IN_ORDER: chains by the index at which they are, and the batch that is being read */
	u16 order[1 << 16];
	bool in_batch;
	u32 batch_id;
	u32 batch_len;
	unsigned int batches;

	/* the device's, for the model: used index that was pushed, and published, since it began */
	u16 pushed;
	u16 told;
	bool ever_told;

	struct vhl_ring *ring;
	struct vhl_chain chain;
};

/* The event index of the driver, and its flags */
void drv_set_used_event(struct rig *r, u16 idx);
void drv_set_flags(struct rig *r, u16 flags);

#define DRV_FEATURES	0

/* Sizes that a ring can have */
#define DRV_NUMS	1, 2, 4, 256, 32768

/* A chain may have buffers of its own before a table */
#define DRV_TABLE_AFTER_DIRECT	true

/* Descriptors of a table are linked, in any order */
#define DRV_TABLES_ARE_LINKED	true

/* One for a race */
#define DRV_NUM_RACE	8

/* Is this memory of the ring that it looks at as if it were the driver's? */
static inline bool drv_is_state(const volatile void *p __maybe_unused)
{
	return false;
}

static inline void drv_taken(struct rig *r __maybe_unused, u16 id __maybe_unused)
{
}

static inline void drv_pushed(struct rig *r, u16 id __maybe_unused)
{
	r->pushed++;
}

static inline void drv_rewound(struct rig *r, u16 n)
{
	vhl_ring_rewind(r->ring, (u16)(vhl_ring_mark(r->ring) - n));
}

#endif /* DRIVER_SPLIT_H */
