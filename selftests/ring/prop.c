// SPDX-License-Identifier: GPL-2.0
/*
 * Random but legal: a driver that does all that virtio 1.2 allows, and a device that takes,
 * gives back and completes at random.  Every chain is compared with what was posted, every used
 * entry with what was completed, every kick and call with the model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>

#include "driver.h"

#define CHAINS		210000
#define CHAINS_PER_RING	1500
#define MAX_BUFS	48
#define MAX_NUM		256

/* Buffers: RAM and two regions adjacent to it, one read-only, one write-only */
#define RAM_END		(RAM + RAM_SIZE + 0x8000)
#define RO		0x30000000ULL
#define WO		0x38000000ULL
#define SMALL		0x4000

/* ... or anywhere in many regions that come and go, each adjacent to the next one */
#define MANY		(1ULL << 32)
#define MANY_SIZE	0x1000
#define MANY_REGIONS	40

/* Tables: room for each head, in two regions that meet in the middle of a descriptor */
#define TABLES		0x7fff0000000ULL
#define TABLE_ROOM	(MAX_BUFS * sizeof(struct vhl_table_desc))
#define TABLES_BORDER	0x5408
#define TABLES_SIZE	(MAX_NUM * TABLE_ROOM)

struct posted {
	u16 head;
	u16 descs[MAX_BUFS];		/* of the ring */
	unsigned int nr_descs;
	unsigned int n;
	struct buf bufs[MAX_BUFS];
};

struct world {
	struct rng rng;
	struct rig *r;
	unsigned int flags;

	/* driver */
	u16 free[MAX_NUM];
	unsigned int nr_free;
	struct posted by_head[MAX_NUM];
	u16 avail_order[MAX_NUM];	/* heads posted, not yet seen to be used */

	/* device */
	bool awake;
	bool dry;			/* the last take found no chain, */
	unsigned int dry_at;		/* having got so many */
	u16 taken[MAX_NUM];		/* in flight, not completed */
	unsigned int nr_taken;
	unsigned int posted, got, done;
	struct vhl_done_model {
		u16 head;
		u32 len;
	} used[MAX_NUM];		/* completed, not yet read by the driver */
	unsigned int read;
};

static u32 below(struct world *w, u32 n)
{
	return rng_below(&w->rng, n);
}

static void random_buf(struct world *w, struct buf *b, bool write)
{
	u64 start = RAM, end = RAM_END;
	static const u32 most[] = { 1, 4, 64, 1514, 4096, SMALL };

	if (!below(w, 6)) {
		start = write ? WO : RO;
		end = start + SMALL;
	} else if (below(w, 2)) {
		start = MANY;
		end = start + MANY_REGIONS * MANY_SIZE;
	}
	b->write = write;
	b->len = below(w, 12) ? 1 + below(w, most[below(w, ARRAY_SIZE(most))]) : 0;
	b->addr = start + below(w, end - start - b->len + 1);
	/* often over a border, up to one, or from one on */
	if (start == MANY && b->len < MANY_SIZE && !below(w, 2))
		b->addr = start + (1 + below(w, MANY_REGIONS - 1)) * MANY_SIZE -
			  below(w, b->len + 1);
	if (start == RAM && !below(w, 4)) {
		b->addr = RAM + RAM_SIZE + (below(w, 2) ? 0x5000 : 0) - below(w, b->len + 1);
		if (b->addr + b->len > RAM_END)
			b->addr = RAM_END - b->len;
	}
}

static void shuffle(struct world *w, u16 *a, unsigned int n)
{
	while (n > 1) {
		unsigned int i = below(w, n--);
		u16 t = a[i];

		a[i] = a[n];
		a[n] = t;
	}
}

static void random_table(struct world *w, u64 addr, const struct buf *bufs, unsigned int n,
			 unsigned int room)
{
	struct vhl_table_desc table[MAX_BUFS];
	u16 at[MAX_BUFS];
	unsigned int i;

	for (i = 0; i < sizeof(table); i++)
		((u8 *)table)[i] = rng_next(&w->rng);
	for (i = 0; i < room; i++)
		at[i] = i;
	/* the walk begins with entry 0 */
	if (DRV_TABLES_ARE_LINKED && below(w, 2))
		shuffle(w, at + 1, room - 1);
	for (i = 0; i < n; i++)
		table_set(&table[at[i]], bufs[i].addr, bufs[i].len,
			  (bufs[i].write ? F_WRITE : 0) | (i + 1 < n ? F_NEXT : 0),
			  i + 1 < n ? at[i + 1] : (u16)rng_next(&w->rng));
	guest_write(&w->r->guest, addr, table, room * sizeof(*table));
}

/* Post a chain if there are descriptors for it */
static bool post(struct world *w)
{
	struct rig *r = w->r;
	unsigned int n = below(w, 3) ? 1 + below(w, 5) : 1 + below(w, MAX_BUFS);
	unsigned int direct = n, outs = below(w, n + 1), i;
	struct buf bufs[MAX_BUFS];
	struct posted *p;
	u16 *d;

	/* the rest is in a table, if any */
	if (!(w->flags & RIG_NO_INDIRECT) && below(w, 2))
		direct = !DRV_TABLE_AFTER_DIRECT || below(w, 2) ? 0 : below(w, n);
	if (direct + (direct < n) > w->nr_free)
		return false;

	shuffle(w, w->free, w->nr_free);
	d = &w->free[w->nr_free - direct - (direct < n)];
	p = &w->by_head[d[0]];
	p->head = d[0];
	p->nr_descs = direct + (direct < n);
	memcpy(p->descs, d, p->nr_descs * sizeof(*d));
	w->nr_free -= p->nr_descs;
	for (i = 0; i < n; i++)
		random_buf(w, &bufs[i], i >= outs);
	memcpy(p->bufs, bufs, sizeof(bufs));
	p->n = n;

	for (i = 0; i < direct; i++)
		drv_desc(r, d[i], bufs[i].addr, bufs[i].len,
			 (bufs[i].write ? F_WRITE : 0) | (i + 1 < p->nr_descs ? F_NEXT : 0),
			 i + 1 < p->nr_descs ? d[i + 1] : (u16)rng_next(&w->rng));
	if (direct < n) {
		u64 addr = TABLES + d[0] * TABLE_ROOM;
		unsigned int room = n - direct;

		if (DRV_TABLES_ARE_LINKED)
			room += below(w, MAX_BUFS - room + 1);

		random_table(w, addr, bufs + direct, n - direct, room);
		drv_desc(r, d[direct], addr, room * sizeof(struct vhl_table_desc),
			 F_INDIRECT | (below(w, 2) ? F_WRITE : 0), rng_next(&w->rng));
	}
	w->avail_order[w->posted++ % r->num] = p->head;
	drv_avail(r, p->head);
	return true;
}

static void drive(struct world *w)
{
	struct rig *r = w->r;
	unsigned int n = 1 + below(w, 8);
	unsigned int posted = w->posted;
	u16 old = drv_at(r);
	u32 id, len;

	while (drv_used(r, &id, &len)) {
		const struct vhl_done_model *m = &w->used[w->read++ % r->num];
		struct posted *p = &w->by_head[m->head];

		CHECK_EQ(id, m->head);
		CHECK_EQ(len, m->len);
		memcpy(&w->free[w->nr_free], p->descs, p->nr_descs * sizeof(*p->descs));
		w->nr_free += p->nr_descs;
	}
	CHECK_EQ(w->read, w->done);
	while (n-- && post(w))
		;
	drv_show(r);
	/* with nothing to add a driver has no business with kicks */
	if (posted != w->posted && drv_want_kick(r, old))
		w->awake = true;
	/* what the driver was not asked to kick for, the device must know of itself */
	if (posted != w->posted)
		CHECK(w->awake);
	drv_random_calls(r, &w->rng);
}

static bool nothing_new(const struct world *w)
{
	return w->posted == (w->dry ? w->dry_at : w->got);
}

static void take(struct world *w)
{
	struct rig *r = w->r;
	unsigned int n = below(w, 12), i;

	vhl_ring_no_kicks(r->ring);
	for (i = 0; i < n; i++) {
		const struct posted *p;

		CHECK_EQ(vhl_ring_empty(r->ring), nothing_new(w));
		w->dry = w->got == w->posted;
		w->dry_at = w->got;
		if (w->dry) {
			CHECK_EQ(rig_take(r), 0);
			break;
		}
		p = &w->by_head[w->avail_order[w->got % r->num]];
		if (!TAKE(r, p->head, p->bufs, p->n))
			tap_stop();
		w->got++;
		w->taken[w->nr_taken++] = p->head;
	}
	if (i && !below(w, 4)) {
		u16 back = below(w, i + 1);

		rig_rewind(r, back);
		w->got -= back;
		w->nr_taken -= back;
	}
	CHECK_EQ(vhl_ring_inflight(r->ring), w->nr_taken);
	CHECK_EQ(vhl_ring_empty(r->ring), nothing_new(w));
}

static void complete(struct world *w)
{
	struct rig *r = w->r;
	unsigned int n = below(w, w->nr_taken + 1), pushed = 0, batch = 0;
	struct vhl_done done[16];
	bool in_order = r->in_order || below(w, 2);

	while (n--) {
		unsigned int i = in_order ? 0 : below(w, w->nr_taken);
		struct vhl_done_model *m = &w->used[w->done++ % r->num];

		m->head = w->taken[i];
		/* in order, what has no bytes need not be told of by itself */
		m->len = below(w, 2) ? 1 + below(w, U32_MAX) : 0;
		memmove(&w->taken[i], &w->taken[i + 1], (--w->nr_taken - i) * sizeof(*w->taken));
		done[batch++] = (struct vhl_done){ .id = m->head, .len = m->len };
		if (!n || batch == ARRAY_SIZE(done) || !below(w, 4)) {
			rig_push_batch(r, done, batch);
			batch = 0;
		}
		pushed++;
	}
	CHECK_EQ(vhl_ring_inflight(r->ring), w->nr_taken);
	if (!pushed)
		return;

	rig_publish(r);
}

/* Between two chains the map may change: the same addresses, other memory */
static void remap(struct world *w)
{
	u64 addr = MANY + below(w, MANY_REGIONS) * MANY_SIZE;

	guest_del(&w->r->guest, addr);
	guest_add(&w->r->guest, addr, MANY_SIZE, RW);
}

static void rest(struct world *w)
{
	if (w->awake && nothing_new(w))
		w->awake = vhl_ring_ask_kick(w->r->ring);
	else if (w->awake && below(w, 2))
		CHECK(vhl_ring_ask_kick(w->r->ring));
	/* it waits for more than the driver has, until something else comes up */
	else if (w->dry && !below(w, 8))
		w->awake = true;
}

/* A stop, and a start where it was: with nothing in flight, as a stop waits for that */
static void restart(struct world *w)
{
	rig_restart(w->r, vhl_ring_base(w->r->ring));
	w->dry = false;
	w->awake = true;
}

static void one_ring(u64 seed, unsigned int *total)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned int i;
	u16 base;

	REQUIRE(w);
	w->rng.state = seed;
	base = below(w, 2) ? 65536 - below(w, 600) : rng_next(&w->rng);
	w->flags = below(w, 4) | (below(w, 2) ? RIG_LOG : 0) | (below(w, 3) ? 0 : RIG_IN_ORDER);
	w->r = rig_new(drv_random_num(&w->rng), base, w->flags);
	guest_add(&w->r->guest, RAM + RAM_SIZE, 0x5000, RW);
	guest_add(&w->r->guest, RAM + RAM_SIZE + 0x5000, 0x3000, RW);
	guest_add(&w->r->guest, RO, SMALL, VHL_MEM_READ);
	guest_add(&w->r->guest, WO, SMALL, VHL_MEM_WRITE);
	guest_add(&w->r->guest, TABLES, TABLES_BORDER, VHL_MEM_READ);
	guest_add(&w->r->guest, TABLES + TABLES_BORDER, TABLES_SIZE - TABLES_BORDER, RW);
	for (i = 0; i < MANY_REGIONS; i++)
		guest_add(&w->r->guest, MANY + i * MANY_SIZE, MANY_SIZE, RW);
	w->nr_free = w->r->num;
	for (i = 0; i < w->nr_free; i++)
		w->free[i] = i;
	w->awake = true;

	while (w->done < CHAINS_PER_RING && !tap_failed()) {
		drive(w);
		for (i = below(w, 4); i; i--) {
			/* a completion needs no worker */
			if (w->awake)
				take(w);
			complete(w);
			if (!below(w, 8))
				remap(w);
			if (!w->nr_taken && !below(w, 16))
				restart(w);
		}
		rest(w);
	}
	if (tap_failed())
		tap_diag("seed %llu: ring of %u, base %u, flags %u; %u taken, %u done", seed,
			 w->r->num, base, w->flags, w->got, w->done);
	*total += w->done;
	rig_free(w->r);
	free(w);
}

TEST(random_legal_driver)
{
	unsigned int total = 0;
	u64 seed;

	for (seed = 1; total < CHAINS && !tap_failed(); seed++)
		one_ring(seed, &total);
	tap_diag("%u chains, seeds 1 to %llu", total, seed - 1);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
