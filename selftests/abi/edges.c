// SPDX-License-Identifier: GPL-2.0
/*
 * Writes of parts of the storage's blocks, on blocks that others write at the same time.  Every
 * write has a number, which is in all words of its sectors, so that a lost one is seen.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "image.h"

#define SECTOR		512
/* Sectors of a block of the storage */
#define BLOCK		8
#define SECTORS		2048

/* Requests of a queue that are under way together, each of up to so many sectors */
#define SLOTS		24
#define SLOT_SECTORS	8
#define SLOT_SIZE	(SLOT_SECTORS * SECTOR + SECTOR)

/**
 * struct edges - a disk and what should be on it
 * @model: by sector, the number of its last write; 0 for none
 * @count: of writes so far, by queue
 * @used: slots that are in use, by queue
 */
struct edges {
	struct image s;
	struct dut d;
	int disk;
	uint32_t model[SECTORS];
	uint32_t count[2];
	unsigned int used[2];
};

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint32_t below(uint32_t *state, uint32_t n)
{
	return next_random(state) % n;
}

static unsigned char *slot_data(struct edges *e, unsigned int qi, unsigned int slot)
{
	/* every other one is where direct I/O cannot have it */
	return e->d.scratch[qi].p + SCRATCH_FREE + slot * SLOT_SIZE + slot % 2 * 12;
}

/* A request with @len bytes of data that kick() is going to show.  Return: its slot, or -errno */
static int add_len(struct edges *e, unsigned int qi, uint32_t type, uint64_t sector,
		   unsigned int len)
{
	struct scratch *scratch = &e->d.scratch[qi];
	struct virtio_blk_outhdr hdr = { .type = htole32(type), .sector = htole64(sector) };
	unsigned int slot = e->used[qi]++;
	uint64_t data = scratch->gpa + (slot_data(e, qi, slot) - scratch->p);
	struct guest_seg seg[] = {
		{ scratch->gpa + slot * sizeof(hdr), sizeof(hdr) }, { data, len },
		{ scratch->gpa + SCRATCH_DATA + slot, 1 },
	};
	bool out = type != VIRTIO_BLK_T_IN;
	int ret;

	memcpy(scratch->p + slot * sizeof(hdr), &hdr, sizeof(hdr));
	scratch->p[SCRATCH_DATA + slot] = 0xaa;
	ret = gq_add(e->d.q[qi], seg, out ? 2 : 1, out ? 1 : 2, scratch);
	return ret ? ret : slot;
}

static int add(struct edges *e, unsigned int qi, uint32_t type, uint64_t sector, unsigned int n)
{
	return add_len(e, qi, type, sector, n * SECTOR);
}

/* The same as a write of number 0 */
static int add_zeroes(struct edges *e, unsigned int qi, uint64_t sector, unsigned int n, bool unmap)
{
	struct virtio_blk_discard_write_zeroes seg = {
		.sector = htole64(sector),
		.num_sectors = htole32(n),
		.flags = htole32(unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0),
	};

	memcpy(slot_data(e, qi, e->used[qi]), &seg, sizeof(seg));
	memset(e->model + sector, 0, n * sizeof(e->model[0]));
	return add_len(e, qi, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(seg));
}

/* A write, which changes what is expected to be there.  Return: its number */
static uint32_t add_write(struct edges *e, unsigned int qi, uint64_t sector, unsigned int n)
{
	uint32_t number = ++e->count[qi] * 2 + qi;
	unsigned char *p = slot_data(e, qi, e->used[qi]);

	for (unsigned int i = 0; i < n * SECTOR / sizeof(number); i++)
		memcpy(p + i * sizeof(number), &number, sizeof(number));
	for (unsigned int i = 0; i < n; i++)
		e->model[sector + i] = number;
	return add(e, qi, VIRTIO_BLK_T_OUT, sector, n) < 0 ? 0 : number;
}

static int kick(struct edges *e, unsigned int qi)
{
	gq_publish(e->d.q[qi]);
	return gq_notify(e->d.q[qi]);
}

/* Wait for all of a queue.  0, or what is wrong */
static int collect(struct edges *e, unsigned int qi)
{
	struct guest_queue *q = e->d.q[qi];
	int ret = 0;

	while (!ret && gq_in_flight(q)) {
		uint32_t len;
		void *token;

		ret = gq_wait(q, 20000);
		if (!ret)
			ret = gq_get(q, &token, &len);
	}
	for (unsigned int i = 0; !ret && i < e->used[qi]; i++)
		ret = e->d.scratch[qi].p[SCRATCH_DATA + i];
	e->used[qi] = 0;
	return ret;
}

static int finish(struct edges *e)
{
	int ret = kick(e, 0) ?: kick(e, 1);

	return ret ? ret : collect(e, 0) ?: collect(e, 1);
}

/* Sectors as they should be.  Return: the first one that is not, or -1 */
static int wrong(struct edges *e, const unsigned char *p, uint64_t sector, unsigned int n)
{
	for (unsigned int i = 0; i < n * SECTOR / 4; i++) {
		unsigned int at = sector + i * 4 / SECTOR;
		uint32_t word;

		memcpy(&word, p + i * 4, 4);
		if (word == e->model[at])
			continue;
		printf("# sector %u: write %u instead of %u\n", at, word, e->model[at]);
		return at;
	}
	return -1;
}

/* The same of whole blocks of the disk, read by us, and then by the guest in pieces */
static int wrong_on_disk(struct edges *e, uint64_t first, unsigned int n)
{
	size_t len = n * SECTOR;
	unsigned char *p = NULL;
	int ret = -1;

	if (posix_memalign((void **)&p, 4096, len) || pread(e->disk, p, len, first * SECTOR) != len)
		ret = -errno;
	else
		ret = wrong(e, p, first, n);
	for (uint64_t s = first + 1; ret == -1 && s + 7 <= first + n; s += 7) {
		int slot = add(e, 0, VIRTIO_BLK_T_IN, s, 7);

		ret = kick(e, 0) ?: collect(e, 0);
		ret = ret ? ret : wrong(e, slot_data(e, 0, slot), s, 7);
	}
	free(p);
	return ret;
}

static int all_wrong(struct edges *e)
{
	return wrong_on_disk(e, 0, SECTORS);
}

static int edges_open(struct edges *e, enum dut_kind kind)
{
	unsigned char *zero = NULL;
	struct dut_opts opts = { .early = true };
	int ret = image_open(&e->s);

	e->disk = -1;
	if (ret)
		return ret;
	e->disk = open(e->s.path, O_RDWR | O_CREAT | O_CLOEXEC | (e->s.direct ? O_DIRECT : 0), 0600);
	if (e->disk < 0 || posix_memalign((void **)&zero, 4096, SECTORS * SECTOR))
		return -errno;
	memset(zero, 0, SECTORS * SECTOR);
	if (pwrite(e->disk, zero, SECTORS * SECTOR, 0) != SECTORS * SECTOR || fsync(e->disk))
		ret = -errno;
	free(zero);
	opts.disk = e->disk;
	return ret ? ret : dut_open(&e->d, kind, &opts);
}

static void edges_close(struct edges *e)
{
	if (e->d.g)
		dut_close(&e->d);
	if (e->disk >= 0)
		close(e->disk);
	image_close(&e->s);
}

FIXTURE(edges) {
	struct edges e;
};

FIXTURE_VARIANT(edges) {
	enum dut_kind kind;
	struct image s;
};

FIXTURE_VARIANT_ADD(edges, device) {
	.kind = DUT_BLK,
	.s = { .block = 4096, .usec = 300, .direct = true },
};

FIXTURE_VARIANT_ADD(edges, device_vdpa) {
	.kind = DUT_VDPA,
	.s = { .block = 4096, .usec = 300, .direct = true },
};

FIXTURE_VARIANT_ADD(edges, device_cached) {
	.kind = DUT_BLK,
	.s = { .block = 4096, .usec = 10 },
};

FIXTURE_VARIANT_ADD(edges, device_512) {
	.kind = DUT_VDPA,
	.s = { .block = 512, .usec = 300, .direct = true },
};

FIXTURE_VARIANT_ADD(edges, ext4) {
	.kind = DUT_BLK,
	.s = { .fs = "ext4", .block = 4096, .usec = 300, .direct = true },
};

FIXTURE_VARIANT_ADD(edges, xfs) {
	.kind = DUT_VDPA,
	.s = { .fs = "xfs", .block = 4096, .usec = 300, .direct = true },
};

FIXTURE_SETUP(edges)
{
	int ret;

	self->e.s = variant->s;
	ret = edges_open(&self->e, variant->kind);
	if (ret == -ENOENT)
		SKIP(return, "no null_blk or no %s here", variant->s.fs ?: "");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(edges)
{
	edges_close(&self->e);
}

TEST_F(edges, one_at_a_time)
{
	struct edges *e = &self->e;
	uint32_t seed = 1;

	for (unsigned int i = 0; i < many(200); i++) {
		unsigned int n = 1 + below(&seed, SLOT_SECTORS), qi = below(&seed, 2);
		uint64_t sector = below(&seed, 64);

		if (below(&seed, 2)) {
			ASSERT_NE(0, add_write(e, qi, sector, n));
			ASSERT_EQ(0, kick(e, qi) ?: collect(e, qi));
		} else {
			int slot = add(e, qi, VIRTIO_BLK_T_IN, sector, n);

			ASSERT_EQ(0, kick(e, qi) ?: collect(e, qi));
			ASSERT_EQ(-1, wrong(e, slot_data(e, qi, slot), sector, n));
		}
	}
	EXPECT_EQ(-1, all_wrong(e));
}

/* More than passes through our pages at once, with both edges in blocks of others */
TEST_F(edges, long_ones)
{
	static const unsigned int lens[] = { 200, 9, 15, 16, 17, 64, 127, 199 };
	unsigned char *p = self->e.d.scratch[0].p + SCRATCH_FREE;
	struct edges *e = &self->e;
	uint32_t seed = 2;

	for (unsigned int i = 0; i < many(24); i++) {
		unsigned int n = lens[i % 8];
		uint64_t sector = below(&seed, 600), gpa = e->d.scratch[0].gpa + SCRATCH_FREE;
		uint32_t number = ++e->count[0] * 2;

		for (unsigned int k = 0; k < n * SECTOR / 4; k++)
			memcpy(p + k * 4, &number, 4);
		for (unsigned int k = 0; k < n; k++)
			e->model[sector + k] = number;
		ASSERT_EQ(0, blk_request(&e->d, 0, VIRTIO_BLK_T_OUT, sector, gpa, n * SECTOR));
		memset(p, 0, n * SECTOR);
		ASSERT_EQ(0, blk_request(&e->d, 0, VIRTIO_BLK_T_IN, sector, gpa, n * SECTOR));
		ASSERT_EQ(-1, wrong(e, p, sector, n));
	}
	EXPECT_EQ(-1, all_wrong(e));
}

/* All sectors of some blocks, one by one, now on this queue and now on that */
TEST_F(edges, same_block_from_both_queues)
{
	struct edges *e = &self->e;

	for (unsigned int round = 0; round < many(20); round++) {
		for (unsigned int i = 0; i < 2 * SLOTS; i++) {
			ASSERT_NE(0, add_write(e, (i + round) % 2, 3 * BLOCK + i, 1));
		}
		ASSERT_EQ(0, finish(e));
		ASSERT_EQ(-1, wrong_on_disk(e, 2 * BLOCK, 8 * BLOCK)) TH_LOG("round %u", round);
	}
	EXPECT_EQ(-1, all_wrong(e));
}

/* Some sectors of a block are zeroed while others of it are written */
TEST_F(edges, zeroes_beside_writes)
{
	struct edges *e = &self->e;

	ASSERT_NE(0, e->d.g->features & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	for (unsigned int round = 0; round < many(20); round++) {
		for (unsigned int i = 0; i < SLOTS; i++) {
			ASSERT_NE(0, add_write(e, i % 2, i * BLOCK, BLOCK));
		}
		ASSERT_EQ(0, finish(e));
		for (unsigned int i = 0; i < SLOTS; i++) {
			unsigned int k = (round + i) % (BLOCK - 2), n = i % 3 ? 2 : 4 * BLOCK;
			unsigned int block = n == 2 ? i : SLOTS + i * 5;

			ASSERT_NE(0, add_write(e, i % 2, block * BLOCK + k, 1));
			ASSERT_LE(0, add_zeroes(e, !(i % 2), block * BLOCK + k + 1, n, i & 4));
		}
		ASSERT_EQ(0, finish(e));
		ASSERT_EQ(-1, wrong_on_disk(e, 0, 7 * SLOTS * BLOCK)) TH_LOG("round %u", round);
	}
	EXPECT_EQ(-1, all_wrong(e));
}

/* A sector of a block while the whole block is written: this one or that, but no old ones */
TEST_F(edges, parts_of_blocks_that_are_written_as_a_whole)
{
	struct edges *e = &self->e;
	uint32_t whole[SLOTS / 2], part[SLOTS / 2];
	unsigned char got[SLOT_SIZE];

	for (unsigned int round = 0; round < many(30); round++) {
		unsigned int first = round % 2, k = round % BLOCK;

		for (unsigned int i = 0; i < SLOTS / 2; i++) {
			whole[i] = add_write(e, 0, i * BLOCK, BLOCK);
			part[i] = add_write(e, 1, i * BLOCK + k, 1);
		}
		ASSERT_EQ(0, kick(e, first) ?: kick(e, !first));
		ASSERT_EQ(0, collect(e, 0) ?: collect(e, 1));
		for (unsigned int i = 0; i < SLOTS / 2; i++) {
			uint32_t it;

			ASSERT_LE(0, add(e, 0, VIRTIO_BLK_T_IN, i * BLOCK, BLOCK));
			ASSERT_EQ(0, kick(e, 0) ?: collect(e, 0));
			memcpy(got, slot_data(e, 0, 0), BLOCK * SECTOR);
			memcpy(&it, got + k * SECTOR, 4);
			ASSERT_TRUE(it == whole[i] || it == part[i]);
			for (unsigned int s = 0; s < BLOCK; s++)
				e->model[i * BLOCK + s] = s == k ? it : whole[i];
			ASSERT_EQ(-1, wrong(e, got, i * BLOCK, BLOCK)) TH_LOG("round %u", round);
		}
	}
}

/* The same on one queue, where it is known what came last; and parts that overlap each other */
TEST_F(edges, in_order)
{
	struct edges *e = &self->e;
	uint32_t seed = 3;

	if (!variant->s.direct || variant->s.block == SECTOR)
		SKIP(return, "the storage takes these as they are");
	for (unsigned int round = 0; round < many(30); round++) {
		unsigned int block = below(&seed, 8) * BLOCK;

		for (unsigned int i = 0; i < SLOTS; i++) {
			unsigned int at = 1 + below(&seed, BLOCK - 1), n = 1 + below(&seed, BLOCK);

			/* nothing is promised of two whole ones */
			if (i == round % SLOTS) {
				ASSERT_NE(0, add_write(e, 0, block + BLOCK, BLOCK));
			} else {
				ASSERT_NE(0, add_write(e, 0, block + at, n));
			}
		}
		ASSERT_EQ(0, kick(e, 0) ?: collect(e, 0));
		ASSERT_EQ(-1, wrong_on_disk(e, block, 2 * BLOCK)) TH_LOG("round %u", round);
	}
	EXPECT_EQ(-1, all_wrong(e));
}

/**
 * struct writer - of one queue, on sectors that are its own
 * @err: 0, or what is wrong
 */
struct writer {
	struct edges *e;
	unsigned int qi;
	pthread_t thread;
	int err;
};

/* In runs of three sectors, which blocks have two of or three; some blocks are all of one queue's */
static unsigned int owner(unsigned int sector)
{
	unsigned int block = sector / BLOCK;

	return block % 4 < 2 ? sector / 3 % 2 : block / 4 % 2;
}

static void *writes(void *arg)
{
	struct writer *w = arg;
	struct edges *e = w->e;
	uint32_t seed = 17 + w->qi;

	for (unsigned int round = 0; !w->err && round < many(60); round++) {
		uint64_t busy[SECTORS / 64] = { 0 };

		for (unsigned int i = 0; i < SLOTS; i++) {
			unsigned int s = below(&seed, 30 * BLOCK), n = 0;
			unsigned int want = below(&seed, 4) ? 1 + below(&seed, 3) : BLOCK;

			if (want == BLOCK)
				s -= s % BLOCK;
			while (n < want && owner(s + n) == w->qi &&
			       !(busy[(s + n) / 64] >> (s + n) % 64 & 1))
				n++;
			for (unsigned int k = 0; k < n; k++)
				busy[(s + k) / 64] |= 1ULL << (s + k) % 64;
			if (n && !below(&seed, 4))
				w->err = add_zeroes(e, w->qi, s, n, i & 1) < 0 ? -ENOSPC : 0;
			else if (n && !add_write(e, w->qi, s, n))
				w->err = -ENOSPC;
		}
		w->err = w->err ?: kick(e, w->qi) ?: collect(e, w->qi);
	}
	return NULL;
}

TEST_F(edges, two_writers)
{
	struct edges *e = &self->e;
	struct writer w[2] = { { .e = e, .qi = 0 }, { .e = e, .qi = 1 } };

	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, writes, &w[i]));
	}
	for (unsigned int i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(0, w[i].err);
	}
	EXPECT_EQ(-1, all_wrong(e));
	EXPECT_EQ(0, dut_counter(&e->d, 0, "errors"));
	EXPECT_EQ(0, dut_counter(&e->d, 1, "errors"));
}

/* A stop waits for those that wait for each other */
TEST_F(edges, stop_and_go_on)
{
	struct edges *e = &self->e;

	for (unsigned int round = 0; round < many(5); round++) {
		for (unsigned int i = 0; i < 2 * SLOTS; i++) {
			ASSERT_NE(0, add_write(e, i % 2, 5 + i % 11, 1 + i % 5));
		}
		ASSERT_EQ(0, kick(e, 0) ?: kick(e, 1));
		sleep_ms(round);
		ASSERT_EQ(0, dut_stop(&e->d));
		ASSERT_EQ(0, dut_start(&e->d));
		ASSERT_EQ(0, collect(e, 0) ?: collect(e, 1));
	}
	EXPECT_EQ(0, dut_units(&e->d, 0, 3));
	EXPECT_EQ(0, dut_units(&e->d, 1, 3));
}

/* Whose VMM dies with all of these under way; the disk is of use to the next one */
TEST_F(edges, killed)
{
	struct edges *e = &self->e;
	struct dut_opts opts = { .disk = e->disk };
	int status;
	pid_t pid;

	dut_close(&e->d);
	for (unsigned int round = 0; round < many(5); round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (dut_open(&e->d, variant->kind, &opts))
				_exit(1);
			for (unsigned int i = 0; i < 2 * SLOTS; i++)
				add_write(e, i % 2, 5 + i % 11, 1 + i % 5);
			if (kick(e, 0) || kick(e, 1))
				_exit(1);
			sleep_ms(round);
			kill(getpid(), SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		EXPECT_TRUE(wait_workers(0, 10000));
	}
	ASSERT_EQ(0, dut_open(&e->d, variant->kind, &opts));
	EXPECT_EQ(0, dut_units(&e->d, 0, 3));
}

TEST_HARNESS_MAIN
