// SPDX-License-Identifier: GPL-2.0
/*
 * Rings: what one is made from, which format it has, and the way to that; names of faults.
 */
#include <linux/indirect_call_wrapper.h>
#include <linux/kernel.h>
#include <linux/numa.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "ring_format.h"

VHL_RING_FORMAT(packed);
VHL_RING_FORMAT(split);

/* The first whose bits were negotiated is taken: new ones go above the last, which needs none */
static const struct vhl_ring_format * const formats[] = {
	&vhl_packed_format,
	&vhl_split_format,
};

/* Once per chain or per batch: a direct call, where indirect ones are slow */
#define RING_CALL(ring, op, ...)							\
	INDIRECT_CALL_2((ring)->format->op, vhl_split_##op, vhl_packed_##op, ring, ##__VA_ARGS__)

/* Chains to look at, where one misses something */
#define LOOK_AHEAD	32

static const struct vhl_ring_format *ring_format(u64 features)
{
	const struct vhl_ring_format * const *format = formats;

	while ((features & (*format)->chosen_by) != (*format)->chosen_by)
		format++;
	return *format;
}

u64 vhl_ring_features(void)
{
	u64 features = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(formats); i++)
		features |= formats[i]->chosen_by | formats[i]->features;
	return features;
}

bool vhl_ring_num_ok(u64 features, u32 num)
{
	return ring_format(features)->state_size(num);
}

bool vhl_ring_base_ok(u64 features, u32 base)
{
	return ring_format(features)->base_ok(base, 0);
}

u32 vhl_ring_first_base(u64 features)
{
	return ring_format(features)->first_base;
}

bool vhl_ring_cfg_ok(u64 features, u32 num, u32 base, const u64 area[VHL_RING_AREAS])
{
	const struct vhl_ring_format *format = ring_format(features);
	unsigned int i;

	if (!format->state_size(num) || !format->base_ok(base, num))
		return false;
	for (i = 0; i < VHL_RING_AREAS; i++)
		if (!IS_ALIGNED(area[i], format->extent(features, num, i).align))
			return false;
	return true;
}

struct vhl_ring_extent vhl_ring_extent(u64 features, u32 num, enum vhl_ring_area area)
{
	return ring_format(features)->extent(features, num, area);
}

int vhl_segs_alloc(struct vhl_segs *segs, unsigned int max, bool log, int node)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;

	*segs = (struct vhl_segs){
		.iov = kvmalloc_node(array_size(max, sizeof(*segs->iov)), gfp, node),
		.log = log ? kvmalloc_node(array_size(max, sizeof(*segs->log)), gfp, node) : NULL,
		.max = max,
	};
	if (segs->iov && (segs->log || !log))
		return 0;
	vhl_segs_free(segs);
	return -ENOMEM;
}

int vhl_segs_add_regions(struct vhl_segs *segs)
{
	segs->region = kvmalloc_array(segs->max, sizeof(*segs->region),
				      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return segs->region ? 0 : -ENOMEM;
}

int vhl_segs_grow(struct vhl_segs *segs, unsigned int max)
{
	struct vhl_segs more;
	int ret;

	/* by the thread that works with them */
	ret = vhl_segs_alloc(&more, max, segs->log, NUMA_NO_NODE);
	if (ret)
		return ret;
	if (segs->region) {
		ret = vhl_segs_add_regions(&more);
		if (ret) {
			vhl_segs_free(&more);
			return ret;
		}
	}
	vhl_segs_free(segs);
	*segs = more;
	return 0;
}

void vhl_segs_free(struct vhl_segs *segs)
{
	kvfree(segs->iov);
	kvfree(segs->log);
	kvfree(segs->region);
	*segs = (struct vhl_segs){};
}

void vhl_ring_set_segs(struct vhl_ring *ring, const struct vhl_segs *segs)
{
	ring->segs = *segs;
	ring->quick = segs->log || segs->region ? 0 : segs->max;
}

struct vhl_ring *vhl_ring_new(const struct vhl_ring_cfg *cfg)
{
	const struct vhl_ring_format *format = ring_format(cfg->features);
	struct vhl_ring *ring;

	ring = kvzalloc_node(sizeof(*ring) + format->state_size(cfg->num), GFP_KERNEL_ACCOUNT,
			     cfg->node);
	if (!ring)
		return NULL;
	ring->format = format;
	ring->mem = cfg->mem;
	ring->num = cfg->num;
	vhl_ring_set_log(ring, cfg->log);
	vhl_ring_set_segs(ring, &cfg->segs);
	vhl_ring_forget(ring);
	format->init(ring, cfg);
	ring->ahead = ring->pos - ring->pushed;
	return ring;
}

void vhl_ring_free(struct vhl_ring *ring)
{
	kvfree(ring);
}

int vhl_ring_take(struct vhl_ring *ring, struct vhl_chain *chain)
{
	if (unlikely(ring->fault))
		return -EINVAL;
	return RING_CALL(ring, take, chain);
}

void vhl_ring_look_ahead(struct vhl_ring *ring, struct vhl_wanted *wanted)
{
	const u32 pos = ring->pos, dry_pos = ring->dry_pos;
	const bool dry = ring->dry;
	struct vhl_chain chain;
	unsigned int i;
	int ret = 1;

	wanted->n = 0;
	ring->wanted = wanted;
	vhl_ring_want(ring);
	for (i = 0; i < LOOK_AHEAD && ret > 0 && wanted->n < wanted->max; i++)
		ret = RING_CALL(ring, take, &chain);
	/* a table, without which the chain cannot be read */
	if (ret == -ENXIO && !ring->miss.mapped)
		vhl_ring_want(ring);
	ring->wanted = NULL;
	ring->pos = pos;
	ring->dry_pos = dry_pos;
	ring->dry = dry;
	/* it is not the turn of a chain that is bad */
	ring->fault = VHL_FAULT_NONE;
}

bool vhl_ring_empty(const struct vhl_ring *ring)
{
	return RING_CALL(ring, empty);
}

bool vhl_ring_ask_kick(struct vhl_ring *ring)
{
	return RING_CALL(ring, ask_kick);
}

void vhl_ring_no_kicks(struct vhl_ring *ring)
{
	RING_CALL(ring, no_kicks);
}

u32 vhl_ring_base(const struct vhl_ring *ring)
{
	return ring->format->base(ring);
}

void vhl_ring_push(struct vhl_ring *ring, const struct vhl_done *done, unsigned int n)
{
	RING_CALL(ring, push, done, n);
}

bool vhl_ring_publish(struct vhl_ring *ring)
{
	return RING_CALL(ring, publish);
}

bool vhl_ring_owes_call(const struct vhl_ring *ring, bool told)
{
	return ring->format->owes_call(ring, told);
}

const char *vhl_ring_fault_name(enum vhl_ring_fault fault)
{
	static const char * const names[VHL_FAULT_NR] = {
		[VHL_FAULT_NONE]		= "no fault",
		[VHL_FAULT_AVAIL_JUMP]		= "more chains available than the ring holds",
		[VHL_FAULT_HEAD]		= "id of a descriptor chain is outside of the ring",
		[VHL_FAULT_NEXT]		= "descriptor chain goes on outside of its table",
		[VHL_FAULT_LOOP]		= "descriptor chain is longer than its table",
		[VHL_FAULT_INDIRECT_NEXT]	= "indirect descriptor is linked with others",
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
