// SPDX-License-Identifier: GPL-2.0
/*
 * What a completed flush says, and what it costs.
 *
 * The page cache tells of data that it lost once for each open file, whoever asks first. Here
 * several ask: flushes that run at once, writes of a driver that cannot flush, other users of the
 * open file and of the file. The disk stays bad for all of them until it is attached anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "store.h"

#define BLOCK		4096
#define BYTES		(4UL << 20)
/* Slots of requests that are under way together, in the memory of the first queue */
#define SLOTS		128
#define SLOT_STATUS	1024
#define RING		256

typedef uint8_t status_t;

/* A flush, or with @data a write of a block, unpublished; its status goes to @slot */
static int add(struct dut *d, struct guest_queue *q, unsigned int slot, uint64_t sector,
	       uint64_t data)
{
	struct scratch *scratch = &d->scratch[0];
	struct virtio_blk_outhdr hdr = {
		.type = htole32(data ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_FLUSH),
		.sector = htole64(sector),
	};
	unsigned int at = SCRATCH_FREE + slot * sizeof(hdr);
	struct guest_seg seg[] = {
		{ scratch->gpa + at, sizeof(hdr) }, { data, BLOCK },
		{ scratch->gpa + SLOT_STATUS + slot, 1 },
	};

	if (!data)
		seg[1] = seg[2];
	memcpy(scratch->p + at, &hdr, sizeof(hdr));
	scratch->p[SLOT_STATUS + slot] = 0xaa;
	return gq_add(q, seg, data ? 2 : 1, 1, scratch);
}

static status_t status_of(struct dut *d, unsigned int slot)
{
	return d->scratch[0].p[SLOT_STATUS + slot];
}

static int kick(struct guest_queue *q)
{
	gq_publish(q);
	return gq_notify(q);
}

/* Collect all that is under way */
static int collect(struct guest_queue *q)
{
	uint32_t len;
	void *token;
	int ret = 0;

	while (!ret && gq_in_flight(q)) {
		ret = gq_wait(q, 20000);
		if (!ret)
			ret = gq_get(q, &token, &len);
	}
	return ret;
}

static int flush(struct dut *d)
{
	return blk_request(d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
}

static int write_block(struct dut *d, unsigned int qi, unsigned int block)
{
	memset(d->scratch[qi].p + SCRATCH_DATA, 0x11 + block, BLOCK);
	return blk_request(d, qi, VIRTIO_BLK_T_OUT, block * (BLOCK / 512ULL),
			   d->scratch[qi].gpa + SCRATCH_DATA, BLOCK);
}

static int disk_open(const char *path, bool direct)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));

	return fd < 0 ? -errno : fd;
}

/* -ENOPKG: what this wants is not there */
static int storage(struct store *s, const char *fs, bool overlay)
{
	if (system("modprobe -aq loop dm-mod dm-delay"))
		return -ENOPKG;
	if (fs && system(!strcmp(fs, "xfs") ? "modprobe -q xfs" : "modprobe -q ext4"))
		return -ENOPKG;
	if (overlay && system("modprobe -q overlay"))
		return -ENOPKG;
	s->fs = fs;
	s->overlay = overlay;
	s->bytes = BYTES;
	return store_open(s);
}

#define NO_STORAGE	"no device mapper or no such file system here"

FIXTURE(flush) {
	struct store s;
	struct dut d;
	int disk, other;
	bool able;
};

FIXTURE_VARIANT(flush) {
	enum dut_kind kind;
	const char *fs;
	bool direct, overlay;
};

FIXTURE_VARIANT_ADD(flush, ext4) {
	.kind = DUT_BLK,
	.fs = "ext4",
};

FIXTURE_VARIANT_ADD(flush, ext4_direct) {
	.kind = DUT_VDPA,
	.fs = "ext4",
	.direct = true,
};

FIXTURE_VARIANT_ADD(flush, xfs) {
	.kind = DUT_VDPA,
	.fs = "xfs",
};

FIXTURE_VARIANT_ADD(flush, xfs_direct) {
	.kind = DUT_BLK,
	.fs = "xfs",
	.direct = true,
};

FIXTURE_VARIANT_ADD(flush, overlay) {
	.kind = DUT_VDPA,
	.fs = "ext4",
	.overlay = true,
};

FIXTURE_VARIANT_ADD(flush, overlay_direct) {
	.kind = DUT_BLK,
	.fs = "ext4",
	.direct = true,
	.overlay = true,
};

FIXTURE_VARIANT_ADD(flush, device) {
	.kind = DUT_VDPA,
};

FIXTURE_VARIANT_ADD(flush, device_direct) {
	.kind = DUT_BLK,
	.direct = true,
};

FIXTURE_SETUP(flush)
{
	int ret = storage(&self->s, variant->fs, variant->overlay);

	self->disk = -1;
	self->other = -1;
	/* older harnesses go on with a test whose setup was skipped */
	self->able = !ret;
	if (ret == -ENOPKG)
		return;
	if (!ret) {
		self->disk = disk_open(self->s.path, variant->direct);
		self->other = disk_open(self->s.below, false);
	}
	if (self->disk < 0 || self->other < 0)
		store_close(&self->s);
	ASSERT_EQ(0, ret);
	ASSERT_LE(0, self->disk);
	ASSERT_LE(0, self->other);
}

FIXTURE_TEARDOWN(flush)
{
	dut_close(&self->d);
	if (!self->able)
		return;
	close(self->disk);
	close(self->other);
	store_close(&self->s);
}

typedef FIXTURE_DATA(flush) flush_t;

static int open_dut(flush_t *f, enum dut_kind kind, uint64_t refuse)
{
	struct dut_opts opts = { .disk = f->disk, .refuse = refuse };

	return dut_open(&f->d, kind, &opts);
}

/* A disk that works, with a block that is stable.  0, -errno, or the status of what failed */
static int open_flushed(flush_t *f, enum dut_kind kind)
{
	return open_dut(f, kind, 0) ?: write_block(&f->d, 0, 1) ?: flush(&f->d);
}

/*
 * Lose a block that was written through the page cache by another open file, which is told of it.
 * Afterwards the storage is as good as new.
 */
static int lose(flush_t *f)
{
	static char block[BLOCK] = "lost";
	int lost;

	if (pwrite(f->other, block, BLOCK, 100 * BLOCK) != BLOCK)
		return -errno;
	if (store_spoil(&f->s, true))
		return -ENOTRECOVERABLE;
	lost = sync_file_range(f->other, 0, 0,
			       SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	if (store_spoil(&f->s, false))
		return -ENOTRECOVERABLE;
	return lost < 0 && errno == EIO ? 0 : -EPROTO;
}

/*
 * Four flushes wait for the same block to be written, put into the page cache by another open file.
 * All of them say that it was not, not the first one alone; and so do all later ones.
 */
TEST_F_TIMEOUT(flush, at_once, 120)
{
	static char block[BLOCK] = "lost";
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_flushed(self, variant->kind));
	ASSERT_EQ(0, store_delay(&self->s, 0, 500, 0));
	ASSERT_EQ(0, store_spoil(&self->s, true));
	ASSERT_EQ(BLOCK, pwrite(self->other, block, BLOCK, 100 * BLOCK));
	for (unsigned int i = 0; i < 4; i++) {
		ASSERT_EQ(0, add(d, d->q[i / 2], i, 0, 0));
	}
	ASSERT_EQ(0, kick(d->q[0]));
	ASSERT_EQ(0, kick(d->q[1]));
	ASSERT_EQ(0, collect(d->q[0]));
	ASSERT_EQ(0, collect(d->q[1]));
	for (unsigned int i = 0; i < 4; i++) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, status_of(d, i))
			TH_LOG("flush %u", i);
	}
	ASSERT_EQ(0, store_delay(&self->s, 0, 0, 0));
	ASSERT_EQ(0, store_spoil(&self->s, false));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	}
}

/* The guest's own data */
TEST_F_TIMEOUT(flush, own_write_is_lost, 120)
{
	struct dut *d = &self->d;
	int ret;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_dut(self, variant->kind, 0));
	ASSERT_EQ(0, store_spoil(&self->s, true));
	ret = write_block(d, 0, 1);
	ASSERT_EQ(variant->direct ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK, ret);
	ret = flush(d);
	/* a direct write has told already */
	if (!variant->direct) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, ret);
	}
	ASSERT_EQ(0, store_spoil(&self->s, false));
	EXPECT_EQ(ret, flush(d));
	/* what the page cache forgot is not asked for once more */
	EXPECT_EQ(ret, flush(d));
}

/* The error went to an fsync() of the same open file; a driver that starts anew changes nothing */
TEST_F_TIMEOUT(flush, taken_by_another, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_flushed(self, variant->kind));
	ASSERT_EQ(0, lose(self));
	EXPECT_EQ(-1, fsync(self->disk));
	EXPECT_EQ(0, fsync(self->disk));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	/* in the vhost dialect a start attaches */
	if (variant->kind == DUT_VDPA) {
		ASSERT_EQ(0, dut_restart(d));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	}
}

/* ... until it is told: a guest that was stopped and goes on has not lost the news with the stop */
TEST_F_TIMEOUT(flush, stopped_untold, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_flushed(self, variant->kind));
	/* while it runs, and while it does not; twice, since a start must not count as news */
	ASSERT_EQ(0, lose(self));
	EXPECT_EQ(-1, fsync(self->disk));
	ASSERT_EQ(0, dut_restart(d));
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
}

/* A driver without flushes takes a write that is done for a stable one */
TEST_F_TIMEOUT(flush, write_through, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_dut(self, variant->kind, BIT(VIRTIO_BLK_F_FLUSH)));
	ASSERT_EQ(0, write_block(d, 0, 1));
	ASSERT_EQ(0, lose(self));
	EXPECT_EQ(-1, fsync(self->disk));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, write_block(d, 0, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, write_block(d, 1, 2));
}

/* ... and of some that fail together, none is told that it did not */
TEST_F_TIMEOUT(flush, write_through_at_once, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_dut(self, variant->kind, BIT(VIRTIO_BLK_F_FLUSH)));
	ASSERT_EQ(0, write_block(d, 0, 1));
	ASSERT_EQ(0, store_spoil(&self->s, true));
	for (unsigned int round = 0; round < 5; round++) {
		ASSERT_EQ(0, dm_hang(&self->s.slow));
		for (unsigned int i = 0; i < 8; i++) {
			ASSERT_EQ(0, add(d, d->q[i / 4], i, (round * 8 + i) * 16,
					 d->scratch[0].gpa + SCRATCH_DATA));
		}
		ASSERT_EQ(0, kick(d->q[0]));
		ASSERT_EQ(0, kick(d->q[1]));
		/* until they are as far as they can get */
		sleep_ms(200);
		ASSERT_EQ(0, dm_switch(&self->s.slow));
		ASSERT_EQ(0, collect(d->q[0]));
		ASSERT_EQ(0, collect(d->q[1]));
		for (unsigned int i = 0; i < 8; i++) {
			EXPECT_EQ(VIRTIO_BLK_S_IOERR, status_of(d, i))
				TH_LOG("round %u, write %u", round, i);
		}
	}
}

/* What was lost is known to whoever attaches the file now: it begins anew */
TEST_F_TIMEOUT(flush, attached_anew, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, open_dut(self, variant->kind, 0));
	ASSERT_EQ(0, lose(self));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	if (variant->kind == DUT_VDPA) {
		dut_close(d);
		ASSERT_EQ(0, open_dut(self, variant->kind, 0));
	} else {
		ASSERT_EQ(0, dut_restart(d));
	}
	EXPECT_EQ(0, flush(d));
	EXPECT_EQ(0, write_block(d, 0, 3));
	EXPECT_EQ(0, flush(d));
	/* and is told of the next one */
	ASSERT_EQ(0, lose(self));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, flush(d));
}

/* Flushes of a slow device */

FIXTURE(join) {
	struct store s;
	struct dut d;
	struct guest_queue *q[BLK_QUEUES];
	int disk;
	long before;
	bool able;
};

FIXTURE_VARIANT(join) {
	const char *fs;
	bool direct;
};

FIXTURE_VARIANT_ADD(join, ext4) {
	.fs = "ext4",
};

FIXTURE_VARIANT_ADD(join, xfs_direct) {
	.fs = "xfs",
	.direct = true,
};

FIXTURE_VARIANT_ADD(join, device_direct) {
	.direct = true,
};

/* All queues that there are */
FIXTURE_SETUP(join)
{
	struct dut_opts opts = { .num = RING, .stopped = true };
	int ret = storage(&self->s, variant->fs, false);

	self->disk = -1;
	self->able = !ret;
	if (ret == -ENOPKG)
		return;
	if (!ret)
		self->disk = disk_open(self->s.path, variant->direct);
	if (self->disk < 0)
		store_close(&self->s);
	ASSERT_EQ(0, ret);
	ASSERT_LE(0, self->disk);
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(&self->d, DUT_BLK, &opts));
	for (unsigned int i = 0; i < BLK_QUEUES; i++) {
		if (i < 2) {
			self->q[i] = self->d.q[i];
			continue;
		}
		ASSERT_EQ(0, guest_queue(self->d.g, i, RING, &self->q[i]));
		ASSERT_EQ(0, guest_queue_program(self->q[i]));
	}
	ASSERT_EQ(0, dut_start(&self->d));
	/* whatever the file system still has to tell its journal */
	ASSERT_EQ(0, write_block(&self->d, 0, 1));
	ASSERT_EQ(0, flush(&self->d));
	ASSERT_EQ(0, flush(&self->d));
}

FIXTURE_TEARDOWN(join)
{
	dut_close(&self->d);
	if (!self->able)
		return;
	close(self->disk);
	store_close(&self->s);
}

typedef FIXTURE_DATA(join) join_t;

static int slow_flushes(join_t *j, unsigned int ms)
{
	int ret = store_delay(&j->s, 0, 0, ms);

	j->before = dev_writes(j->s.slow.path);
	return ret;
}

/* What the device was asked to do since then */
static long cost(join_t *j)
{
	return dev_writes(j->s.slow.path) - j->before;
}

/* One runs, all others wait for the next one */
TEST_F_TIMEOUT(join, ring_full, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, slow_flushes(self, 700));
	for (unsigned int i = 0; i < 64; i++) {
		ASSERT_EQ(0, add(d, self->q[0], i, 0, 0));
	}
	ASSERT_EQ(0, kick(self->q[0]));
	ASSERT_EQ(0, collect(self->q[0]));
	for (unsigned int i = 0; i < 64; i++) {
		ASSERT_EQ(VIRTIO_BLK_S_OK, status_of(d, i));
	}
	EXPECT_LE(1, cost(self));
	EXPECT_GE(3, cost(self))
		TH_LOG("64 flushes of one kick were %ld of the device", cost(self));
}

/* The same, wherever they come from */
TEST_F_TIMEOUT(join, all_queues, 120)
{
	struct dut *d = &self->d;
	int64_t begin, kicked;
	unsigned int rounds;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, slow_flushes(self, 1000));
	for (unsigned int i = 0; i < 4 * BLK_QUEUES; i++) {
		ASSERT_EQ(0, add(d, self->q[i / 4], i, 0, 0));
	}
	begin = now_ms();
	for (unsigned int i = 0; i < BLK_QUEUES; i++) {
		ASSERT_EQ(0, kick(self->q[i]));
	}
	kicked = now_ms() - begin;
	for (unsigned int i = 0; i < BLK_QUEUES; i++) {
		ASSERT_EQ(0, collect(self->q[i]));
	}
	for (unsigned int i = 0; i < 4 * BLK_QUEUES; i++) {
		ASSERT_EQ(VIRTIO_BLK_S_OK, status_of(d, i));
	}
	/* a machine that is slow may take longer to kick them all than a flush takes */
	rounds = 3 + kicked / 500;
	EXPECT_LE(1, cost(self));
	EXPECT_GE(rounds, cost(self))
		TH_LOG("flushes of %u queues were %ld of the device", BLK_QUEUES, cost(self));
}

/* What was written after a flush began is not covered by it */
TEST_F_TIMEOUT(join, begun_too_early, 120)
{
	struct dut *d = &self->d;
	char want[BLOCK], got[BLOCK];

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, slow_flushes(self, 1500));
	ASSERT_EQ(0, add(d, self->q[2], 2, 0, 0));
	ASSERT_EQ(0, kick(self->q[2]));
	ASSERT_TRUE(store_wait_held(&self->s, STORE_FLUSH));
	ASSERT_EQ(0, write_block(d, 1, 9));
	ASSERT_FALSE(gq_pending(self->q[2]));
	/* a flush, a flush */
	for (unsigned int i = 3; i < 5; i++) {
		ASSERT_EQ(0, add(d, self->q[i], i, 0, 0));
		ASSERT_EQ(0, kick(self->q[i]));
	}
	for (unsigned int i = 2; i < 5; i++) {
		ASSERT_EQ(0, collect(self->q[i]));
		ASSERT_EQ(VIRTIO_BLK_S_OK, status_of(d, i));
	}
	/* the first one, the block, one for the others */
	EXPECT_LE(3, cost(self));
	memset(want, 0x11 + 9, BLOCK);
	ASSERT_EQ(BLOCK, pread(self->s.mem, got, BLOCK, self->s.at + 9 * BLOCK));
	EXPECT_EQ(0, memcmp(want, got, BLOCK));
}

/* They keep no threads from others that may block: a read that has to be bounced */
TEST_F_TIMEOUT(join, leave_threads, 120)
{
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	if (!variant->direct)
		SKIP(return, "what is in the page cache does not block");
	ASSERT_EQ(0, slow_flushes(self, 3000));
	for (unsigned int i = 0; i < SLOTS; i++) {
		ASSERT_EQ(0, add(d, self->q[0], i, 0, 0));
	}
	ASSERT_EQ(0, kick(self->q[0]));
	ASSERT_TRUE(store_wait_held(&self->s, STORE_FLUSH));
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(d, 1, VIRTIO_BLK_T_IN, 8,
					       d->scratch[1].gpa + SCRATCH_DATA + 1, BLOCK));
	EXPECT_FALSE(gq_pending(self->q[0]));
	ASSERT_EQ(0, collect(self->q[0]));
}

TEST_HARNESS_MAIN
