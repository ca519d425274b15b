// SPDX-License-Identifier: GPL-2.0
/*
 * Rings that no driver may make, on queues of every kind.  The queue breaks, says so, and that is
 * all: its neighbour and other devices go on, and a reset mends it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define W	VRING_DESC_F_WRITE
#define N	VRING_DESC_F_NEXT
#define I	VRING_DESC_F_INDIRECT

FIXTURE(bad) {
	struct dut d, other;
	unsigned int qi;
	struct guest_queue *q;
	uint16_t dir;			/* of a descriptor that may stand alone or come first */
	uint64_t buf;			/* good memory */
	uint64_t table;			/* for indirect tables */
};

FIXTURE_VARIANT(bad) {
	enum dut_kind kind;
	unsigned int qi;
	uint16_t dir;
};

FIXTURE_VARIANT_ADD(bad, net_rx) {
	.kind = DUT_NET,
	.qi = RX,
	.dir = W,
};

FIXTURE_VARIANT_ADD(bad, net_tx) {
	.kind = DUT_NET,
	.qi = TX,
};

FIXTURE_VARIANT_ADD(bad, blk) {
	.kind = DUT_BLK,
	.qi = 0,
};

FIXTURE_VARIANT_ADD(bad, vdpa) {
	.kind = DUT_VDPA,
	.qi = 1,
};

FIXTURE_SETUP(bad)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
	ASSERT_EQ(0, dut_open(&self->other, variant->kind, NULL));
	self->qi = variant->qi;
	self->q = self->d.q[self->qi];
	self->dir = variant->dir;
	self->buf = self->d.scratch[self->qi].gpa + SCRATCH_FREE;
	self->table = self->buf + 64 * 1024;
	ASSERT_EQ(0, dut_unit(&self->d, self->qi));
}

FIXTURE_TEARDOWN(bad)
{
	dut_close(&self->d);
	dut_close(&self->other);
}

typedef FIXTURE_DATA(bad) bad_t;

static const char *after(bad_t *b, int64_t breaks)
{
	struct dut *d = &b->d;
	uint16_t used = gq_used_idx(b->q);
	int64_t end = now_ms() + 5000;

	if (dut_poke(d, b->qi))
		return "cannot kick";
	while (!gq_error(b->q)) {
		if (now_ms() > end)
			return "the error eventfd is not signalled";
		sleep_ms(1);
	}
	if (!queue_is(d->g->fd, b->qi, "broken"))
		return "fdinfo does not say broken";
	/* once, whatever else the driver does */
	if (gq_kick(b->q) || gq_kick(b->q))
		return "cannot kick";
	sleep_ms(5);
	if (dut_counter(d, b->qi, "breaks") != breaks + 1)
		return "breaks did not count one";
	if (gq_used_idx(b->q) != used)
		return "a bad chain was used";
	if (dut_units(d, !b->qi, 2))
		return "the other queue does not go on";
	if (dut_units(&b->other, b->qi, 1) || dut_units(&b->other, !b->qi, 1))
		return "the other device does not go on";
	if (dut_restart(d))
		return "no restart";
	if (!queue_is(d->g->fd, b->qi, "running"))
		return "fdinfo does not say running";
	if (dut_units(d, b->qi, 2) || dut_units(d, !b->qi, 1))
		return "does not work after a restart";
	if (dut_counter(d, b->qi, "breaks") != breaks + 1)
		return "breaks counted again";
	return "broke";
}

/* Let the device see @head, and judge */
static const char *judge(bad_t *b, uint16_t head)
{
	int64_t breaks = dut_counter(&b->d, b->qi, "breaks");

	gq_push(b->q, head);
	gq_publish(b->q);
	return after(b, breaks);
}

/* Wait until @errors have been counted */
static bool wait_errors(bad_t *b, int64_t errors)
{
	int64_t end = now_ms() + 5000;

	while (dut_counter(&b->d, b->qi, "errors") < errors && now_ms() < end)
		sleep_ms(1);
	return dut_counter(&b->d, b->qi, "errors") == errors;
}

/* The same for a head whose memory faults: packets are dropped for that before a queue breaks. */
static const char *judge_fault(bad_t *b, uint16_t head)
{
	int64_t breaks = dut_counter(&b->d, b->qi, "breaks");
	int64_t errors = dut_counter(&b->d, b->qi, "errors");

	if (b->d.kind != DUT_NET)
		return judge(b, head);
	for (unsigned int i = 1; i < VHL_NET_MAX_FAULTS; i++) {
		/* the device has that of a packet to the guest still */
		if (b->qi == TX || i == 1)
			gq_push(b->q, head);
		gq_publish(b->q);
		if (dut_poke(&b->d, b->qi))
			return "cannot kick";
		if (!wait_errors(b, errors + i))
			return "a fault is no error";
	}
	if (b->qi == TX)
		return judge(b, head);
	return after(b, breaks);
}

static const char *judge_index(bad_t *b, uint16_t idx)
{
	int64_t breaks = dut_counter(&b->d, b->qi, "breaks");

	gq_set_avail_idx(b->q, idx);
	return after(b, breaks);
}

/* A table of one good descriptor, so that what is around it is all that is bad */
static void good_table(bad_t *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		gq_table(b->d.g, b->table, i, b->buf + i * 64, 64, b->dir | (i + 1 < n ? N : 0),
			 i + 1);
}

/* CVE-2014-0055: heads that no descriptor has */
TEST_F(bad, head_out_of_range)
{
	static const int heads[] = { 64, 65, 127, 0x7fff, 0x8000, 0xffff };

	for (unsigned int i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		EXPECT_STREQ("broke", judge(self, heads[i]))
			TH_LOG("head %d", heads[i]);
	}
}

TEST_F(bad, next_out_of_range)
{
	static const int next[] = { 64, 65, 0x8000, 0xffff };

	if (dut_packed())
		SKIP(return, "a packed ring has no links");
	for (unsigned int i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
		gq_desc(self->q, 3, self->buf, 64, self->dir | N, next[i]);
		EXPECT_STREQ("broke", judge(self, 3))
			TH_LOG("next %d", next[i]);
	}
}

TEST_F(bad, loop_of_one)
{
	gq_desc(self->q, 7, self->buf, 64, self->dir | N, 7);
	EXPECT_STREQ("broke", judge(self, 7));
}

TEST_F(bad, loop_of_two)
{
	gq_desc(self->q, 0, self->buf, 64, self->dir | N, 1);
	gq_desc(self->q, 1, self->buf, 64, self->dir | N, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, loop_of_all)
{
	for (unsigned int i = 0; i < 64; i++)
		gq_desc(self->q, i, self->buf, 1, self->dir | N, (i + 1) % 64);
	EXPECT_STREQ("broke", judge(self, 9));
}

/* CVE-2023-5158: the segments of a loop have no length that could end it */
TEST_F(bad, loop_of_nothing)
{
	gq_desc(self->q, 0, self->buf, 0, self->dir | N, 1);
	gq_desc(self->q, 1, self->buf, 0, self->dir | N, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, readable_after_writable)
{
	gq_desc(self->q, 0, self->buf, 64, W | N, 1);
	gq_desc(self->q, 1, self->buf, 64, 0, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	/* of no length, too */
	gq_desc(self->q, 0, self->buf, 64, W | N, 1);
	gq_desc(self->q, 1, self->buf, 0, 0, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	/* a table of what is only read may say so (badnet.c) */
	if (dut_packed() && self->d.kind == DUT_NET && self->qi == TX)
		return;
	gq_table(self->d.g, self->table, 0, self->buf, 64, W | N, 1);
	gq_table(self->d.g, self->table, 1, self->buf, 64, 0, 0);
	gq_desc(self->q, 0, self->table, 32, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

/* A chain in the wrong direction, or empty, is no request of any device */
TEST_F(bad, no_request)
{
	uint16_t wrong = variant->kind == DUT_NET ? self->dir ^ W : W;

	gq_desc(self->q, 0, self->buf, 64, wrong, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	gq_desc(self->q, 0, self->buf, 64, 0, 0);
	if (variant->qi == RX || variant->kind != DUT_NET) {
		EXPECT_STREQ("broke", judge(self, 0));
	}
	gq_desc(self->q, 0, self->buf, 0, 0, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, indirect_length)
{
	static const uint32_t len[] = { 0, 1, 8, 15, 17, 24, 0xffffffff, 0x80000008 };

	for (unsigned int i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		good_table(self, 2);
		gq_desc(self->q, 0, self->table, len[i], I, 0);
		EXPECT_STREQ("broke", judge(self, 0))
			TH_LOG("length %#x", len[i]);
	}
}

TEST_F(bad, indirect_and_next)
{
	good_table(self, 2);
	gq_desc(self->q, 0, self->table, 32, I | N, 1);
	gq_desc(self->q, 1, self->buf, 64, self->dir, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

/* 2.8.19: a table in a chain of several descriptors, which a split ring may have */
TEST_F(bad, indirect_after_direct)
{
	if (!dut_packed())
		SKIP(return, "a split ring may have that");
	good_table(self, 2);
	gq_desc(self->q, 0, self->buf, 64, self->dir | N, 1);
	gq_desc(self->q, 1, self->table, 32, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, indirect_nested)
{
	if (dut_packed())
		SKIP(return, "tables of packed rings have no such flag");
	gq_table(self->d.g, self->table, 0, self->buf, 64, self->dir | N, 1);
	gq_table(self->d.g, self->table, 1, self->table, 32, I, 0);
	gq_desc(self->q, 0, self->table, 32, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	/* in itself */
	gq_table(self->d.g, self->table, 0, self->table, 16, I, 0);
	gq_desc(self->q, 0, self->table, 16, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, indirect_loop)
{
	if (dut_packed())
		SKIP(return, "tables of packed rings have no links");
	good_table(self, 4);
	gq_table(self->d.g, self->table, 3, self->buf, 64, self->dir | N, 0);
	gq_desc(self->q, 0, self->table, 64, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	gq_table(self->d.g, self->table, 0, self->buf, 0, self->dir | N, 0);
	gq_desc(self->q, 0, self->table, 16, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	/* a table of the largest size, all of it a loop over the ends of what is read at once */
	for (unsigned int i = 0; i < 512; i++)
		gq_table(self->d.g, self->table, i, self->buf, 0, self->dir | N, (i + 33) % 512);
	gq_desc(self->q, 0, self->table, 512 * 16, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, indirect_next_out_of_table)
{
	static const int next[] = { 2, 3, 64, 0xffff };

	if (dut_packed())
		SKIP(return, "tables of packed rings have no links");
	for (unsigned int i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
		good_table(self, 8);
		gq_table(self->d.g, self->table, 1, self->buf, 64, self->dir | N, next[i]);
		gq_desc(self->q, 0, self->table, 32, I, 0);
		EXPECT_STREQ("broke", judge(self, 0))
			TH_LOG("next %d", next[i]);
	}
}

TEST_F(bad, indirect_too_many_segments)
{
	for (unsigned int i = 0; i < 2048; i++)
		gq_table(self->d.g, self->table, i, self->buf, 1, self->dir | (i < 2047 ? N : 0),
			 i + 1);
	gq_desc(self->q, 0, self->table, 2048 * 16, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	gq_desc(self->q, 0, self->table, 1025 * 16, I, 0);
	gq_table(self->d.g, self->table, 1024, self->buf, 1, self->dir, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

TEST_F(bad, indirect_table_address)
{
	struct guest_region *r = &self->d.g->region[3];
	const uint64_t addr[] = {
		0, 0x10, r->gpa + r->size, r->gpa + r->size - 16, 1ULL << 40, 0xffffffffffffffe0,
		0xfffffffffffffff0, KERNEL_ADDR,
	};

	for (unsigned int i = 0; i < sizeof(addr) / sizeof(addr[0]); i++) {
		gq_desc(self->q, 0, addr[i], 32, I, 0);
		/* where there is something to read, it leads out of the memory that there is */
		gq_table(self->d.g, addr[i], 0, self->buf, 64, self->dir | N, 1);
		EXPECT_STREQ("broke", judge(self, 0))
			TH_LOG("address %#llx", (unsigned long long)addr[i]);
	}
}

TEST_F(bad, indirect_not_negotiated)
{
	struct dut_opts opts = { .refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC) };

	dut_close(&self->d);
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->q = self->d.q[self->qi];
	self->buf = self->d.scratch[self->qi].gpa + SCRATCH_FREE;
	self->table = self->buf + 64 * 1024;
	ASSERT_EQ(0, dut_unit(&self->d, self->qi));
	good_table(self, 2);
	gq_desc(self->q, 0, self->table, 32, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
}

/* Regions are 0 and 1, a hole, 2 and 3, and nothing */
TEST_F(bad, buffer_address)
{
	struct guest_region *r = self->d.g->region;
	const struct {
		const char *what;
		uint64_t addr;
		uint32_t len;
	} t[] = {
		{ "below", r[0].gpa - 64, 32 },
		{ "begins below", r[0].gpa - 32, 64 },
		{ "at 0", 0, 64 },
		{ "in the hole", r[1].gpa + r[1].size + 64, 64 },
		{ "into the hole", r[1].gpa + r[1].size - 32, 64 },
		{ "one byte into the hole", r[1].gpa + r[1].size - 63, 64 },
		{ "out of the hole", r[2].gpa - 32, 64 },
		{ "over the hole", r[1].gpa + r[1].size - 64, r[2].gpa - r[1].gpa },
		{ "behind", r[3].gpa + r[3].size, 64 },
		{ "into nothing", r[3].gpa + r[3].size - 32, 64 },
		{ "wraps", 0xffffffffffffffe0, 64 },
		{ "wraps to where there is memory", 0xffffffffffffffe0, 0xffffffff },
		{ "all that 32 bits say", r[0].gpa, 0xffffffff },
		{ "an address of this process", (uintptr_t)r[0].hva, 64 },
		{ "of the kernel", KERNEL_ADDR, 64 },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		gq_desc(self->q, 0, t[i].addr, t[i].len, self->dir, 0);
		EXPECT_STREQ("broke", judge(self, 0))
			TH_LOG("%s", t[i].what);
		/* and in the middle of a chain */
		gq_desc(self->q, 0, self->buf, 64, self->dir | N, 1);
		gq_desc(self->q, 1, t[i].addr, t[i].len, self->dir | N, 2);
		gq_desc(self->q, 2, self->buf, 64, self->dir, 0);
		EXPECT_STREQ("broke", judge(self, 0))
			TH_LOG("%s, second", t[i].what);
	}
}

/* 4 GiB and more in one chain, all of it in memory that is there */
TEST_F(bad, chain_of_4_gib)
{
	uint64_t size = 1ULL << 30, gpa = 1ULL << 40;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, guest_add_region(self->d.g, gpa, p, size));
	self->d.g->region[4].lo = size;
	ASSERT_EQ(0, guest_commit(self->d.g));
	for (unsigned int i = 0; i < 4; i++)
		gq_desc(self->q, i, gpa, size, self->dir | (i < 3 ? N : 0), i + 1);
	EXPECT_STREQ("broke", judge(self, 0));
	munmap(p, size);
}

/* CVE-2025-40051: a copy that ends half-way is no success */
TEST_F(bad, pages_that_fault)
{
	uint64_t gpa = 1ULL << 40, size = 4 * 4096;
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);

	ASSERT_NE(MAP_FAILED, p);
	memset(p, 0, size);
	ASSERT_EQ(0, guest_add_region(self->d.g, gpa, p, size));
	self->d.g->region[4].lo = size;
	ASSERT_EQ(0, guest_commit(self->d.g));
	ASSERT_EQ(0, mprotect(p + 4096, 4096, PROT_NONE));
	ASSERT_EQ(0, munmap(p + 3 * 4096, 4096));
	for (unsigned int i = 1; i < 4; i += 2) {
		/* all of it, and the last bytes; 64 bytes are a header and more for every device */
		gq_desc(self->q, 0, gpa + i * 4096, 64, self->dir | N, 1);
		gq_desc(self->q, 1, self->buf, 64, self->dir | (variant->kind != DUT_NET ? W : 0), 0);
		EXPECT_STREQ("broke", judge_fault(self, 0))
			TH_LOG("page %u", i);
		gq_desc(self->q, 0, gpa + i * 4096 - 8, 2048, self->dir | N, 1);
		gq_desc(self->q, 1, self->buf, 64, self->dir | (variant->kind != DUT_NET ? W : 0), 0);
		EXPECT_STREQ("broke", judge_fault(self, 0))
			TH_LOG("into page %u", i);
	}
	if (self->dir == W) {
		ASSERT_EQ(0, mprotect(p, 4096, PROT_READ));
		gq_desc(self->q, 0, gpa, 2048, W, 0);
		EXPECT_STREQ("broke", judge_fault(self, 0));
	}
	munmap(p, 3 * 4096);
}

/* An indirect table in a page that is gone */
TEST_F(bad, indirect_table_that_faults)
{
	uint64_t gpa = 1ULL << 40;
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, guest_add_region(self->d.g, gpa, p, 8192));
	self->d.g->region[4].lo = 8192;
	ASSERT_EQ(0, guest_commit(self->d.g));
	ASSERT_EQ(0, munmap(p + 4096, 4096));
	for (unsigned int i = 0; i < 256; i++)
		gq_table(self->d.g, gpa, i, self->buf, 16, self->dir | N, i + 1);
	gq_desc(self->q, 0, gpa, 257 * 16, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	gq_desc(self->q, 0, gpa + 4096, 16, I, 0);
	EXPECT_STREQ("broke", judge(self, 0));
	munmap(p, 4096);
}

TEST_F(bad, avail_index_jumps)
{
	uint16_t jumps[] = { 65, 66, 128, 0x7fff, 0x8000, 0xff00, 0xffff };

	if (dut_packed())
		SKIP(return, "a packed ring has no index");
	for (unsigned int i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		uint16_t now = self->q->avail_shown;

		EXPECT_STREQ("broke", judge_index(self, now + jumps[i]))
			TH_LOG("by %u", jumps[i]);
	}
}

/* As many chains as the ring has, the last one bad: those before it are served */
TEST_F(bad, bad_one_among_good_ones)
{
	struct guest_queue *q = self->q;
	unsigned char frame[60];
	uint16_t used;

	if (variant->kind != DUT_NET) {
		/* flushes: hdr in the scratch, status behind it */
		struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_FLUSH) };

		ASSERT_EQ(0, guest_write(self->d.g, self->buf, &hdr, sizeof(hdr)));
		for (unsigned int i = 0; i < 10; i++) {
			gq_desc(q, 2 * i, self->buf, 16, N, 2 * i + 1);
			gq_desc(q, 2 * i + 1, self->buf + 64 + i, 1, W, 0);
		}
	} else {
		make_frame(frame, sizeof(frame), 0, false);
		for (unsigned int i = 0; i < 10; i++) {
			gq_desc(q, 2 * i, self->buf + i * 2048, 2048, self->dir, 0);
			if (variant->qi == RX) {
				ASSERT_EQ(0, dut_send(&self->d, frame, sizeof(frame)));
			}
		}
	}
	used = gq_used_idx(q);
	for (unsigned int i = 0; i < 10; i++)
		gq_push(q, 2 * i);
	gq_push(q, 64);
	gq_publish(q);
	ASSERT_EQ(0, dut_poke(&self->d, self->qi));
	ASSERT_TRUE(wait_queue_is(self->d.g->fd, self->qi, "broken", 5000));
	for (int64_t end = now_ms() + 5000; gq_used_idx(q) != (uint16_t)(used + 10);) {
		ASSERT_GT(end, now_ms())
			TH_LOG("%u used", (uint16_t)(gq_used_idx(q) - used));
	}
	ASSERT_EQ(0, dut_restart(&self->d));
	EXPECT_EQ(0, dut_units(&self->d, self->qi, 3));
}

TEST_HARNESS_MAIN
