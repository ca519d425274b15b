/* SPDX-License-Identifier: GPL-2.0 */
/* Between guest_queue.c, guest_ring.c and guest_packed.c */
#ifndef GUEST_RING_H
#define GUEST_RING_H

#include "guest.h"

/**
 * struct gq_chain - a chain in flight
 * @token: the caller's; NULL when the head is not in flight
 * @in_len: bytes that the device may write
 * @ndesc: descriptors that it takes in the table
 * @table: indirect table that stays with this head, made when first needed
 * @table_gpa: where that is for the guest
 * @room: descriptors that fit
 */
struct gq_chain {
	void *token;
	uint64_t in_len;
	unsigned int ndesc;
	struct vring_desc *table;
	uint64_t table_gpa;
	unsigned int room;
};

static inline size_t gq_avail_size(unsigned int num)
{
	return sizeof(struct vring_avail) + (num + 1) * sizeof(__virtio16);
}

static inline size_t gq_used_size(unsigned int num)
{
	return sizeof(struct vring_used) + num * sizeof(struct vring_used_elem) +
	       sizeof(__virtio16);
}

/* gq_init() - bookkeeping of an empty ring */
int gq_init(struct guest_queue *q);

/* What is different with a packed ring */
int gq_packed_init(struct guest_queue *q);
void gq_packed_begin(struct guest_queue *q, uint16_t idx);
void gq_packed_push(struct guest_queue *q, uint16_t head);
void gq_packed_show(struct guest_queue *q);
bool gq_packed_kick_wanted(struct guest_queue *q);
void gq_packed_calls(struct guest_queue *q, bool on);
bool gq_packed_pending(const struct guest_queue *q);
uint16_t gq_packed_used_idx(const struct guest_queue *q, uint16_t *place);
void gq_packed_read(const struct guest_queue *q, uint32_t *id, uint32_t *len);
void gq_packed_skip(struct guest_queue *q, uint32_t id);

#endif /* GUEST_RING_H */
