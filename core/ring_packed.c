// SPDX-License-Identifier: GPL-2.0
/*
 * The packed virtqueue, device's side (virtio 1.2, section 2.8).
 *
 * One ring of descriptors, which both sides write. A place in it is 16 bits, as in the base and in
 * the event suppression structures: the index, and in bit 15 the wrap counter (2.8.1), which
 * changes with each round. Of a batch of used descriptors the first is written last: a driver goes
 * from one to the next, so it sees none of them before all are there.
 *
 * Barriers, each with its pair in the driver, as in ring_split.c.
 */
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/virtio_config.h>
#include <asm/barrier.h>

#include "ring_format.h"

VHL_RING_FORMAT(packed);

/* Section 2.8.10.1: any size up to that */
#define PACKED_NUM_MAX		32768

/* A place: index and wrap counter */
#define PACKED_INDEX		0x7fff
#define PACKED_WRAP		BIT(VRING_PACKED_EVENT_F_WRAP_CTR)

/* Of the flags of a descriptor */
#define PACKED_AVAIL		BIT_ULL(VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED		BIT_ULL(VRING_PACKED_DESC_F_USED)

/* ... where they are in its upper half: see packed_read() */
#define PACKED_WRITE		((u64)VRING_DESC_F_WRITE << 48)
#define PACKED_BOTH		((PACKED_AVAIL | PACKED_USED) << 48)
#define PACKED_ONE_OF_MORE	((u64)(VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT) << 48)

/* Index 0, wrap counter 1: where both sides of a new ring begin */
#define PACKED_FIRST		PACKED_WRAP

/* The flags of an event suppression structure; the others are reserved */
#define PACKED_EVENT_FLAGS	3

/**
 * struct packed_slot - two arrays in one: what is known of chains
 * @descs: by id, how many descriptors a chain in flight takes up; 0 for one that is not
 * @id: by the index of its first descriptor, the id of a chain that was taken
 */
struct packed_slot {
	u16 descs;
	u16 id;
};

/**
 * struct packed - the state of a packed ring
 * @desc: descriptors
 * @driver: driver area: its event suppression structure, in one word
 * @device: device area, ours
 * @event_idx: VIRTIO_RING_F_EVENT_IDX was negotiated
 * @indirect: VIRTIO_RING_F_INDIRECT_DESC was negotiated
 * @table_write: the flag that counts in an indirect table, if it does
 * @in_order: VIRTIO_F_IN_ORDER was negotiated
 * @kicks_on: the driver was last told to kick
 * @next: vhl_ring.pos, if no chain has been given back since the last was taken
 * @used: the place of the next used descriptor
 * @first: of the first one that is pushed and not published, the index
 * @first_word: what belongs there
 * @pending: there is one
 * @signalled: @used when it was published last
 * @signalled_valid: it was by this ring
 * @slot: by ids and by indices
 *
 * The taking side has @kicks_on, @next and the ids in @slot, the completing side what comes behind
 * @next. The descs in @slot are set by the one, and by the other cleared. Where the next chain is
 * taken from is in the upper half of vhl_ring.pos.
 */
struct packed {
	struct vhl_table_desc *desc;
	const __le32 *driver;
	__le32 *device;
	bool event_idx;
	bool indirect;
	bool in_order;
	u16 table_write;

	bool kicks_on;
	u32 next;

	u16 used ____cacheline_aligned_in_smp;
	u16 first;
	u64 first_word;
	bool pending;
	bool signalled_valid;
	u16 signalled;

	struct packed_slot slot[] ____cacheline_aligned_in_smp;
};

static_assert(offsetof(struct vhl_ring, state) % __alignof__(struct packed) == 0);
static_assert(sizeof(struct vhl_table_desc) == sizeof(struct vring_packed_desc));

static __always_inline struct packed *to_packed(const struct vhl_ring *ring)
{
	return (struct packed *)ring->state;
}

/*
 * Stores to ring memory: these two and no others, so that a log of dirty memory has one place.
 */

/*
 * The upper half of a descriptor, see packed_read(). What is not the first of its batch need not be
 * ordered; for that a release would do no harm.
 */
static __always_inline void packed_store_used(const struct vhl_ring *ring, u32 i, u64 word,
					      bool release)
{
	__le64 *to = &to_packed(ring)->desc[i].word[1];

	if (release)
		/* pairs as vhl_packed_publish() says */
		virt_store_release(to, cpu_to_le64(word));
	else
		WRITE_ONCE(*to, cpu_to_le64(word));
	vhl_ring_stored(ring, VHL_RING_DESC, (void *)to - (void *)to_packed(ring)->desc,
			sizeof(*to));
}

/* A place and flags at once, so that the driver never sees one with the other of before */
static void packed_store_event(const struct vhl_ring *ring, u16 place, u16 flags)
{
	WRITE_ONCE(*to_packed(ring)->device, cpu_to_le32(place | flags << 16));
	vhl_ring_stored(ring, VHL_RING_DEVICE, 0, sizeof(u32));
}

/* Where one gets to in so many descriptors, at most a round */
static __always_inline u16 packed_advance(u16 place, u32 descs, u32 num)
{
	u32 i = (place & PACKED_INDEX) + descs;

	if (i >= num) {
		i -= num;
		place ^= PACKED_WRAP;
	}
	return i | (place & PACKED_WRAP);
}

/* Descriptors from one place to another, of which there are twice as many as descriptors */
static u32 packed_distance(u16 from, u16 to, u32 num)
{
	u32 d = (to & PACKED_INDEX) - (from & PACKED_INDEX);

	if ((from ^ to) & PACKED_WRAP)
		d += num;
	return (s32)d < 0 ? d + 2 * num : d;
}

/* Section 2.8.1: is it available, a round ahead of what was used? @rest: as packed_read() has it */
static __always_inline bool packed_is_avail(u64 rest, u16 place)
{
	/* as for 0: with 1 both flags are the opposite */
	u16 flip = (s16)place >> 15;

	return (((rest >> 48) ^ flip) & (PACKED_AVAIL | PACKED_USED)) == PACKED_USED;
}

/*
 * The upper half of a descriptor, read once: struct vring_packed_desc has len, id and flags there,
 * from the low end on. All of it is as new as the flags, for it is one aligned load.
 */
static __always_inline u64 packed_read(const struct packed *s, u32 i)
{
	return le64_to_cpu(READ_ONCE(s->desc[i].word[1]));
}

static size_t packed_state_size(u32 num)
{
	if (!num || num > PACKED_NUM_MAX)
		return 0;
	return sizeof(struct packed) + num * sizeof(struct packed_slot);
}

/* The place of the next available descriptor, and in the upper half that of the next used one */
static bool packed_base_ok(u32 base, u32 num)
{
	return !num || ((base & PACKED_INDEX) < num && ((base >> 16) & PACKED_INDEX) < num);
}

static struct vhl_ring_extent packed_extent(u64 features, u32 num, enum vhl_ring_area area)
{
	switch (area) {
	case VHL_RING_DESC:
		return (struct vhl_ring_extent) {
			.size	= num * sizeof(struct vring_packed_desc),
			.align	= sizeof(struct vring_packed_desc),
			.perm	= VHL_MEM_READ | VHL_MEM_WRITE,
		};
	case VHL_RING_DRIVER:
		return (struct vhl_ring_extent) {
			.size	= sizeof(struct vring_packed_desc_event),
			.align	= sizeof(struct vring_packed_desc_event),
			.perm	= VHL_MEM_READ,
		};
	default:
		return (struct vhl_ring_extent) {
			.size	= sizeof(struct vring_packed_desc_event),
			.align	= sizeof(struct vring_packed_desc_event),
			.perm	= VHL_MEM_WRITE,
		};
	}
}

static void packed_init(struct vhl_ring *ring, const struct vhl_ring_cfg *cfg)
{
	struct packed *s = to_packed(ring);
	u16 avail = cfg->base, used = cfg->base >> 16;

	s->desc = cfg->area[VHL_RING_DESC];
	s->driver = cfg->area[VHL_RING_DRIVER];
	s->device = cfg->area[VHL_RING_DEVICE];
	s->event_idx = cfg->features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
	s->indirect = cfg->features & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC);
	s->in_order = cfg->features & BIT_ULL(VIRTIO_F_IN_ORDER);
	s->table_write = cfg->reads ? 0 : VRING_DESC_F_WRITE;
	/* DPDK leaves out the upper half, and begins with new rings only */
	if (cfg->base == PACKED_FIRST)
		used = avail;
	ring->pos = (u32)avail << 16;
	s->next = ring->pos;
	s->used = used;
	s->signalled = used;
	s->kicks_on = true;
	vhl_packed_no_kicks(ring);
}

static u32 packed_base(const struct vhl_ring *ring)
{
	return (u32)to_packed(ring)->used << 16 | ring->pos >> 16;
}

static int packed_add_indirect(struct vhl_ring *ring, struct vhl_chain *chain, u64 addr, u32 len)
{
	const struct packed *s = to_packed(ring);
	u32 num = len / sizeof(struct vring_packed_desc);
	/* all of them belong to the chain, but those without bytes need no segment */
	u32 most = min_t(u32, num, VHL_IOV_MAX + 1), i;
	struct vhl_table_desc raw;
	struct vhl_table table;
	u64 rest;
	int ret;

	if (unlikely(!num || len % sizeof(struct vring_packed_desc)))
		return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_LEN);
	ret = vhl_table_find(ring, &table, addr, len);
	if (unlikely(ret))
		return ret;

	for (i = 0; i < most; i++) {
		ret = vhl_table_read(ring, &table, i, &raw);
		if (unlikely(ret))
			return ret;
		/* of the flags WRITE alone counts, and no id (2.8.7) */
		rest = le64_to_cpu(raw.word[1]);
		ret = vhl_chain_add(ring, chain, le64_to_cpu(raw.word[0]), (u32)rest,
				    (rest >> 48) & s->table_write);
		if (unlikely(ret))
			return ret;
	}
	return likely(most == num) ? 0 : vhl_ring_bad(ring, VHL_FAULT_SEGMENTS);
}

/*
 * Add a chain from descriptor @i on, of which @addr and @rest, its halves, have been read. @rest
 * becomes that of the last descriptor, which has the id (2.8.6). Return: how many they are, or what
 * vhl_ring_take() has to return.
 */
static int packed_walk(struct vhl_ring *ring, struct vhl_chain *chain, u32 i, u64 addr, u64 *rest)
{
	const struct packed *s = to_packed(ring);
	u32 num = ring->num, n = 0;
	u64 word = *rest;
	int ret;

	for (;;) {
		u16 flags = word >> 48;

		if (flags & VRING_DESC_F_INDIRECT) {
			if (unlikely(!s->indirect))
				return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_FEATURE);
			/* 2.8.19: a table is all of its chain */
			if (unlikely(n || flags & VRING_DESC_F_NEXT))
				return vhl_ring_bad(ring, VHL_FAULT_INDIRECT_NEXT);
			ret = packed_add_indirect(ring, chain, addr, word);
			return unlikely(ret) ? ret : 1;
		}
		ret = vhl_chain_add(ring, chain, addr, word, flags & VRING_DESC_F_WRITE);
		if (unlikely(ret))
			return ret;
		n++;
		if (!(flags & VRING_DESC_F_NEXT))
			break;

		if (unlikely(n == num))
			return vhl_ring_bad(ring, VHL_FAULT_LOOP);
		if (++i == num)
			i = 0;
		word = packed_read(s, i);
		addr = le64_to_cpu(READ_ONCE(s->desc[i].word[0]));
	}
	*rest = word;
	return n;
}

/* Chains that were given back are not in flight any more, whatever will be in their places. */
static noinline void packed_forget(struct vhl_ring *ring)
{
	struct packed *s = to_packed(ring);
	u16 place = ring->pos >> 16, n;

	for (n = (u16)s->next - (u16)ring->pos; n; n--) {
		struct packed_slot *slot = &s->slot[s->slot[place & PACKED_INDEX].id];

		place = packed_advance(place, slot->descs, ring->num);
		WRITE_ONCE(slot->descs, 0);
	}
	s->next = ring->pos;
}

/* A chain of @n descriptors from @pos on is taken. Return: what vhl_ring_take() has to return */
static __always_inline int packed_taken(struct vhl_ring *ring, struct vhl_chain *chain, u32 pos,
					u16 id, u32 n)
{
	struct packed *s = to_packed(ring);
	u32 num = ring->num, i = (pos >> 16) & PACKED_INDEX;

	if (unlikely(id >= num))
		return vhl_ring_bad(ring, VHL_FAULT_HEAD);
	/* backends index with it, too */
	id = array_index_nospec(id, num);
	/*
	 * It is clear once the driver has seen that the id was used: vhl_packed_publish() stores
	 * that behind vhl_packed_push() here.
	 */
	if (unlikely(READ_ONCE(s->slot[id].descs)))
		return vhl_ring_bad(ring, VHL_FAULT_IN_FLIGHT);
	WRITE_ONCE(s->slot[id].descs, n);
	s->slot[i].id = id;
	chain->id = id;

	pos += n << 16;
	if (i + n >= num)
		pos = (pos - (num << 16)) ^ (PACKED_WRAP << 16);
	pos++;
	/* the count alone wraps around */
	if (unlikely(!(u16)pos))
		pos -= 1 << 16;
	ring->pos = pos;
	s->next = pos;
	return 1;
}

/* The rest of a take, of what vhl_chain_one() does not make, or after chains were given back */
static noinline int packed_take_more(struct vhl_ring *ring, struct vhl_chain *chain, u32 pos,
				     u64 addr, u64 rest)
{
	int n;

	if (to_packed(ring)->next != pos)
		packed_forget(ring);
	vhl_chain_begin(ring, chain);
	n = packed_walk(ring, chain, (pos >> 16) & PACKED_INDEX, addr, &rest);
	if (unlikely(n < 0))
		return n;
	return packed_taken(ring, chain, pos, rest >> 32, n);
}

int vhl_packed_take(struct vhl_ring *ring, struct vhl_chain *chain)
{
	struct packed *s = to_packed(ring);
	u32 pos = ring->pos;
	u32 i = (pos >> 16) & PACKED_INDEX;
	u64 rest = packed_read(s, i), addr;

	if (!packed_is_avail(rest, pos >> 16)) {
		ring->dry = true;
		ring->dry_pos = pos;
		return 0;
	}
	/*
	 * Flags before the rest of the chain. Pairs with the write barrier of the driver between
	 * filling descriptors and the flags of the first one (2.8.21.1).
	 */
	virt_rmb();
	ring->dry = false;
	addr = le64_to_cpu(READ_ONCE(s->desc[i].word[0]));
	if (rest & PACKED_ONE_OF_MORE || unlikely(s->next != pos) ||
	    !vhl_chain_one(ring, chain, addr, rest, rest & PACKED_WRITE))
		return packed_take_more(ring, chain, pos, addr, rest);
	return packed_taken(ring, chain, pos, rest >> 32, 1);
}

bool vhl_packed_empty(const struct vhl_ring *ring)
{
	u16 place = vhl_ring_awaited(ring) >> 16;

	return !packed_is_avail(packed_read(to_packed(ring), place & PACKED_INDEX), place);
}

bool vhl_packed_ask_kick(struct vhl_ring *ring)
{
	u16 place = vhl_ring_awaited(ring) >> 16;
	struct packed *s = to_packed(ring);

	s->kicks_on = true;
	if (s->event_idx)
		packed_store_event(ring, place, VRING_PACKED_EVENT_FLAG_DESC);
	else
		packed_store_event(ring, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
	/*
	 * Ask for the kick before looking once more. Pairs with the full barrier of the driver
	 * between making a descriptor available and reading what we stored (2.8.21.3.1): one of the
	 * two sees the other's store.
	 */
	virt_mb();
	return !vhl_packed_empty(ring);
}

void vhl_packed_no_kicks(struct vhl_ring *ring)
{
	struct packed *s = to_packed(ring);

	if (!s->kicks_on)
		return;
	s->kicks_on = false;
	/* an event that the driver has passed would come up again two rounds later */
	packed_store_event(ring, 0, VRING_PACKED_EVENT_FLAG_DISABLE);
}

/* Where the next used descriptor goes, as vhl_packed_push() has it */
struct packed_cursor {
	u32 i;
	u64 flags;
};

/* The chain @id is not in flight any more: on, behind its descriptors */
static __always_inline void packed_release(struct packed *s, u16 id, u32 num,
					   struct packed_cursor *at)
{
	at->i += s->slot[id].descs;
	WRITE_ONCE(s->slot[id].descs, 0);
	if (at->i >= num) {
		at->i -= num;
		at->flags ^= PACKED_BOTH;
	}
}

/* The upper half of a used descriptor; the lower one, the address, is left as it is */
static __always_inline u64 packed_used(const struct vhl_done *done, u64 flags)
{
	u64 word = flags | (u64)done->id << 32 | done->len;

	/* there is data (2.8.3) */
	return done->len ? word | PACKED_WRITE : word;
}

/*
 * With IN_ORDER the descriptor of the last chain of a batch is where that of the first would be.
 * Those that are left out count as used completely (2.8.8), so they are such as are only read.
 * Return: the last chain
 */
static __always_inline const struct vhl_done *packed_skip(struct packed *s,
							  const struct vhl_done *done,
							  const struct vhl_done *end, u32 num,
							  struct packed_cursor *at)
{
	for (; !done->len && done + 1 != end; done++)
		packed_release(s, done->id, num, at);
	return done;
}

static __always_inline void packed_push(struct vhl_ring *ring, const struct vhl_done *done,
					const struct vhl_done *end, bool in_order)
{
	struct packed *s = to_packed(ring);
	struct packed_cursor at = {
		.i	= s->used & PACKED_INDEX,
		.flags	= s->used & PACKED_WRAP ? PACKED_BOTH : 0,
	};
	u32 num = ring->num;

	if (!s->pending && done != end) {
		s->pending = true;
		s->first = at.i;
		s->first_word = at.flags;
		if (in_order)
			done = packed_skip(s, done, end, num, &at);
		s->first_word = packed_used(done, s->first_word);
		packed_release(s, done->id, num, &at);
		done++;
	}
	for (; done != end; done++) {
		const struct packed_cursor first = at;

		if (in_order)
			done = packed_skip(s, done, end, num, &at);
		packed_store_used(ring, first.i, packed_used(done, first.flags), false);
		packed_release(s, done->id, num, &at);
	}
	s->used = at.i | (at.flags ? PACKED_WRAP : 0);
}

void vhl_packed_push(struct vhl_ring *ring, const struct vhl_done *done, unsigned int n)
{
	ring->pushed += n;
	if (to_packed(ring)->in_order)
		packed_push(ring, done, done + n, true);
	else
		packed_push(ring, done, done + n, false);
}

/*
 * The driver's word on calls. Return: its flags, which are VRING_PACKED_EVENT_FLAG_DESC only where
 * that means something: at @place
 */
static u16 packed_driver_event(const struct packed *s, u16 *place)
{
	u32 event = le32_to_cpu(READ_ONCE(*s->driver));
	u16 flags = (event >> 16) & PACKED_EVENT_FLAGS;

	*place = event;
	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE ||
	    (flags == VRING_PACKED_EVENT_FLAG_DESC && s->event_idx))
		return flags;
	return VRING_PACKED_EVENT_FLAG_ENABLE;
}

bool vhl_packed_publish(struct vhl_ring *ring)
{
	struct packed *s = to_packed(ring);
	u16 old = s->signalled, event;
	bool valid = s->signalled_valid;

	/*
	 * The other used descriptors, and what was written to buffers, before the first. Pairs with
	 * the read barrier of the driver between flags and the rest (2.8.22).
	 */
	if (s->pending)
		packed_store_used(ring, s->first, s->first_word, true);
	s->pending = false;
	/*
	 * Publish before looking whether a call is wanted. Pairs with the full barrier of the
	 * driver between enabling calls and looking at the ring again (2.8.22.1).
	 */
	virt_mb();

	s->signalled = s->used;
	s->signalled_valid = true;
	switch (packed_driver_event(s, &event)) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		/* The first publication does not know what the driver saw before: tell it. */
		return !valid || packed_distance(old, event, ring->num) <
				 packed_distance(old, s->used, ring->num);
	default:
		return true;
	}
}

static bool packed_owes_call(const struct vhl_ring *ring, bool told)
{
	const struct packed *s = to_packed(ring);
	u16 event;

	switch (packed_driver_event(s, &event)) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		/* as in a split ring: one that is yet to come, or a round ago, is no request */
		return packed_distance(event, s->signalled, ring->num) - 1 < ring->num;
	default:
		return !told;
	}
}

const struct vhl_ring_format vhl_packed_format = {
	.chosen_by	= BIT_ULL(VIRTIO_F_RING_PACKED),
	.features	= BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | BIT_ULL(VIRTIO_RING_F_EVENT_IDX),
	.first_base	= (u32)PACKED_FIRST << 16 | PACKED_FIRST,
	.state_size	= packed_state_size,
	.base_ok	= packed_base_ok,
	.extent		= packed_extent,
	.init		= packed_init,
	.base		= packed_base,
	.take		= vhl_packed_take,
	.empty		= vhl_packed_empty,
	.ask_kick	= vhl_packed_ask_kick,
	.no_kicks	= vhl_packed_no_kicks,
	.push		= vhl_packed_push,
	.publish	= vhl_packed_publish,
	.owes_call	= packed_owes_call,
};
