/* SPDX-License-Identifier: GPL-2.0 */
/* A packed virtqueue with both of its sides: a model of the driver's, and the ring under test */
#ifndef DRIVER_PACKED_H
#define DRIVER_PACKED_H

#include <linux/virtio_config.h>

#include "rig.h"

/* What became of a chain that the driver made available and did not see used yet */
enum drv_chain_is {
	CHAIN_AVAIL,
	CHAIN_TAKEN,
	CHAIN_PUSHED,
};

/* Where the driver has a chain */
struct drv_chain_at {
	u16 place;			/* of its first descriptor */
	u16 descs;			/* 0: it has none */
	enum drv_chain_is is;
};

struct rig {
	struct guest guest;

	/* each its own heap object of exactly the size in the contract */
	struct vring_packed_desc *desc;
	struct vring_packed_desc_event *driver;
	struct vring_packed_desc_event *device;
	u16 num;
	bool event_idx;
	bool in_order;
	struct vhl_ring_cfg cfg;

	/*
	 * The driver's: descriptors by number as drv_desc() has them, chains by number, places of
	 * the next descriptor it fills and of the next used one that it reads
	 */
	struct vring_desc *draft;
	struct drv_chain_at *at;
	u16 avail;
	u16 used;
	u16 room;
	/* flags of the first chain that is available and not shown */
	bool hidden;
	u16 hidden_at;
	u16 hidden_flags;

	/* the device's, for the model: places up to which it pushed, and published, since it began */
	u16 pushed;
	u16 told;
	bool ever_told;

	/* chains as they were taken, for drv_rewound() */
	u16 order[1 << 16];
	u16 taken;

	/* with IN_ORDER: chains as they were made available, and the batch that is being read */
	u16 posted_order[1 << 16];
	u16 posted;
	u16 collected;
	bool in_batch;
	u16 batch_id;
	u32 batch_len;
	unsigned int batches;

	struct vhl_ring *ring;
	struct vhl_chain chain;
};

#define PLACE_WRAP	0x8000
#define PLACE_INDEX	0x7fff
#define DESC_AVAIL	(1U << VRING_PACKED_DESC_F_AVAIL)
#define DESC_USED	(1U << VRING_PACKED_DESC_F_USED)

/* So many descriptors on from a place */
u16 place_add(const struct rig *r, u16 place, u32 descs);

/* Both sides of the ring at this place, as VHOST_SET_VRING_BASE has it */
static inline u32 both_at(u16 place)
{
	return (u32)place << 16 | place;
}

/* The whole of a descriptor in the ring, whatever the driver knows of it */
void drv_raw(struct rig *r, u16 i, u64 addr, u32 len, u16 id, u16 flags);

/* The flags of a descriptor that is available at a place */
u16 drv_avail_flags(u16 place);

/* What the driver's event suppression structure says */
void drv_set_event(struct rig *r, u16 place, u16 flags);

#define DRV_FEATURES	BIT_ULL(VIRTIO_F_RING_PACKED)

/* Sizes that a ring can have */
#define DRV_NUMS	1, 2, 3, 5, 256, 1000, 32767, 32768

/* A chain is a table or has none */
#define DRV_TABLE_AFTER_DIRECT	false

/* A table is its descriptors in the order in which they are there */
#define DRV_TABLES_ARE_LINKED	false

/* One for a race */
#define DRV_NUM_RACE	7

/* Is this memory of the ring that it looks at as if it were the driver's? */
bool drv_is_state(const volatile void *p);

static inline void drv_taken(struct rig *r, u16 id)
{
	r->order[r->taken++] = id;
	r->at[id].is = CHAIN_TAKEN;
}

static inline void drv_pushed(struct rig *r, u16 id)
{
	r->at[id].is = CHAIN_PUSHED;
	r->pushed = place_add(r, r->pushed, r->at[id].descs);
}

void drv_rewound(struct rig *r, u16 n);

#endif /* DRIVER_PACKED_H */
