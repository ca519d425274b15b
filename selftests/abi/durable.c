// SPDX-License-Identifier: GPL-2.0
/*
 * What is on stable storage when the host crashes.
 *
 * The disk is on a device with a volatile write cache: a loop device, which keeps what is written
 * in the page cache of what is below it until it is flushed.  That is a dm-flakey, which is cut off
 * while requests are in flight: from then on nothing that is written gets to the storage, a file in
 * memory.  Afterwards all is taken down, which drops the caches, and set up once more on what the
 * storage has.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "store.h"

#define MNT	"/tmp/vhltest-durable"
#define KUPDATE	"/proc/sys/vm/dirty_writeback_centisecs"

#define STORE	(48UL << 20)
#define BLOCK	4096
#define BLOCKS	4096
/* Written before the storage is cut off */
#define ENOUGH	50

/**
 * struct stack - from the storage to the disk
 * @base: the loop device of the storage
 * @dm: the device that can be cut off
 * @cache: the loop device on it, with the volatile cache
 * @file: the disk: a file on a file system on @cache, or @cache itself
 */
struct stack {
	bool fs, direct;
	int base, cache, file;
	struct dm dm;
	char base_path[32], cache_path[32];
	char kupdate[16];
};

/* Everything above the device that can be cut off; @make: a new file system and file */
static int upper_open(struct stack *s, bool make)
{
	int flags = (s->direct ? O_DIRECT : 0) | O_CLOEXEC | (make ? O_RDWR | O_CREAT : O_RDONLY);
	int dm = open(s->dm.path, O_RDWR | O_CLOEXEC);
	char command[128];
	int ret;

	if (dm < 0)
		return -errno;
	s->cache = loop_open(dm, s->cache_path);
	close(dm);
	if (s->cache < 0)
		return s->cache;
	ret = dev_lazy(s->cache_path);
	if (ret)
		return ret;
	if (!s->fs) {
		s->file = open(s->cache_path, flags & ~O_CREAT);
		return s->file < 0 ? -errno : 0;
	}
	snprintf(command, sizeof(command), "mkfs.ext4 -q -F -E nodiscard -J size=4 %s",
		 s->cache_path);
	if (make && system(command))
		return -EIO;
	/* seldom writes by itself */
	if (mkdir(MNT, 0700) && errno != EEXIST)
		return -errno;
	if (mount(s->cache_path, MNT, "ext4", 0, "commit=300"))
		return -errno;
	s->file = open(MNT "/disk", flags, 0600);
	ret = s->file < 0 || (make && ftruncate(s->file, BLOCKS * BLOCK)) ? -errno : 0;
	/* the size, and that it is there at all */
	return ret ? ret : make && fsync(s->file) ? -errno : 0;
}

/* The last to close the block devices drop what is cached of them */
static int upper_close(struct stack *s)
{
	int ret = 0;

	if (s->file >= 0)
		close(s->file);
	if (s->fs && umount2(MNT, 0) && errno != EINVAL)
		ret = -errno;
	if (s->cache >= 0)
		close(s->cache);
	s->file = -1;
	s->cache = -1;
	return ret;
}

/* For dm_switch(): writes get to the storage, or they do not while all looks well */
static int load(struct stack *s, bool cut)
{
	struct dm_piece piece = { .sectors = s->dm.sectors, .target = "flakey" };

	snprintf(piece.args, sizeof(piece.args), "%s 0 %s", s->base_path,
		 cut ? "0 60 1 drop_writes" : "60 0");
	return dm_load(&s->dm, &piece, 1);
}

static int stack_open(struct stack *s, bool fs, bool direct)
{
	int store = memfd_create("store", MFD_CLOEXEC);
	FILE *f;
	int ret;

	memset(s, 0, sizeof(*s));
	s->fs = fs;
	s->direct = direct;
	s->base = -1;
	s->cache = -1;
	s->file = -1;
	/* of a run that died */
	umount2(MNT, 0);

	/* for dev_lazy(): nor because time passes */
	f = fopen(KUPDATE, "re");
	if (!f || !fgets(s->kupdate, sizeof(s->kupdate), f) || fclose(f) || put_file(KUPDATE, "0"))
		return -EIO;

	if (store < 0 || ftruncate(store, STORE))
		return -errno;
	s->base = loop_open(store, s->base_path);
	close(store);
	if (s->base < 0)
		return s->base;
	ret = dm_open(&s->dm, "flakey", STORE) ?: load(s, false) ?: dm_switch(&s->dm) ?:
	      dev_lazy(s->dm.path);
	return ret ? ret : upper_open(s, true);
}

static void stack_close(struct stack *s)
{
	upper_close(s);
	dm_close(&s->dm);
	if (s->base >= 0)
		close(s->base);
	if (s->kupdate[0])
		put_file(KUPDATE, s->kupdate);
}

/* What the storage has is all there is from now on, and it is writable again */
static int stack_reboot(struct stack *s)
{
	int ret = upper_close(s);

	if (!ret)
		ret = load(s, false);
	if (!ret)
		ret = dm_switch(&s->dm);
	return ret ? ret : upper_open(s, false);
}

/* Where the block goes that is written @n-th: everywhere, so that no two are written as one */
static unsigned int place(unsigned int n)
{
	return n * 1237 % BLOCKS;
}

static void fill(unsigned char *p, unsigned int n)
{
	uint32_t *word = (void *)p;

	for (unsigned int i = 0; i < BLOCK / sizeof(*word); i++)
		word[i] = n * 1024 + i + 1;
}

/**
 * struct traffic - blocks written on queue 0, each of them once, and flushes on queue 1
 * @odd: write from buffers that direct I/O cannot use
 * @through: the writer is to cut the storage off once there are enough, else the flusher is
 * @done: blocks whose writes are completed
 * @stable: blocks that were on stable storage when it was cut off, or should have been
 * @err: of the writer, the flusher and the cut
 */
struct traffic {
	struct dut *d;
	struct stack *s;
	bool odd, through;
	pthread_t writer, flusher;
	atomic_uint done, cut;
	unsigned int stable, flushes;
	int err[3];
};

/* Before anything else is done: what is completed too early may be on its way */
static void cut(struct traffic *t, unsigned int stable)
{
	t->err[2] = dm_switch(&t->s->dm);
	t->stable = stable;
	atomic_store(&t->cut, 1);
}

static int write_block(struct dut *d, unsigned int n, bool odd)
{
	unsigned int at = odd ? SCRATCH_DATA + 12 : SCRATCH_DATA;
	int ret;

	fill(d->scratch[0].p + at, n);
	ret = blk_request(d, 0, VIRTIO_BLK_T_OUT, place(n) * (BLOCK / 512ULL), d->scratch[0].gpa + at,
			  BLOCK);
	return ret > 0 ? -EIO : ret;
}

static void *writes(void *arg)
{
	struct traffic *t = arg;

	for (unsigned int n = 0; n < BLOCKS && !t->err[0] && !atomic_load(&t->cut); n++) {
		t->err[0] = write_block(t->d, n, t->odd);
		if (!t->err[0])
			atomic_store(&t->done, n + 1);
		if (t->through && n + 1 == ENOUGH)
			cut(t, n + 1);
	}
	return NULL;
}

static void *flushes(void *arg)
{
	struct traffic *t = arg;

	while (!t->err[1] && !atomic_load(&t->cut)) {
		unsigned int done = atomic_load(&t->done);
		int ret = blk_request(t->d, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0);

		t->err[1] = ret > 0 ? -EIO : ret;
		t->flushes++;
		if (t->err[1] || (t->flushes >= 3 && done >= ENOUGH))
			cut(t, done);
	}
	return NULL;
}

/* Of the first @n blocks that were written, how many are there?  -errno */
static int survivors(struct stack *s, unsigned int n)
{
	unsigned char want[BLOCK], *got;
	int there = 0, ret = 0;

	if (posix_memalign((void **)&got, BLOCK, BLOCK))
		return -ENOMEM;
	for (unsigned int i = 0; !ret && i < n; i++) {
		if (pread(s->file, got, BLOCK, (off_t)place(i) * BLOCK) != BLOCK)
			ret = errno ? -errno : -EIO;
		fill(want, i);
		there += !ret && !memcmp(want, got, BLOCK);
	}
	free(got);
	return ret ? ret : there;
}

FIXTURE(durable) {
	struct stack s;
	struct dut d;
};

FIXTURE_VARIANT(durable) {
	enum dut_kind kind;
	bool fs, direct, odd;
};

FIXTURE_VARIANT_ADD(durable, file) {
	.kind = DUT_VDPA,
	.fs = true,
};

FIXTURE_VARIANT_ADD(durable, file_direct) {
	.kind = DUT_BLK,
	.fs = true,
	.direct = true,
};

FIXTURE_VARIANT_ADD(durable, file_bounced) {
	.kind = DUT_VDPA,
	.fs = true,
	.direct = true,
	.odd = true,
};

FIXTURE_VARIANT_ADD(durable, device) {
	.kind = DUT_BLK,
};

FIXTURE_VARIANT_ADD(durable, device_direct) {
	.kind = DUT_VDPA,
	.direct = true,
};

FIXTURE_SETUP(durable)
{
	int ret;

	if (!module_loaded("dm_flakey") && system("modprobe -a loop ext4 dm-flakey"))
		SKIP(return, "no dm-flakey here");
	ret = stack_open(&self->s, variant->fs, variant->direct);
	if (ret)
		stack_close(&self->s);
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(durable)
{
	stack_close(&self->s);
}

static int disk_open(struct dut *d, enum dut_kind kind, struct stack *s, uint64_t refuse)
{
	struct dut_opts opts = { .disk = s->file, .refuse = refuse, .early = true };

	return dut_open(d, kind, &opts);
}

/* Every write that was completed when a flush was sent that is completed */
TEST_F(durable, flushed)
{
	struct traffic t = { .d = &self->d, .s = &self->s, .odd = variant->odd };

	ASSERT_EQ(0, disk_open(&self->d, variant->kind, &self->s, 0));
	ASSERT_NE(0, self->d.g->features & BIT(VIRTIO_BLK_F_FLUSH));
	ASSERT_EQ(0, load(&self->s, true));
	ASSERT_EQ(0, pthread_create(&t.writer, NULL, writes, &t));
	ASSERT_EQ(0, pthread_create(&t.flusher, NULL, flushes, &t));
	pthread_join(t.flusher, NULL);
	pthread_join(t.writer, NULL);
	dut_close(&self->d);
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(0, t.err[i]);
	}
	EXPECT_LE(ENOUGH, t.stable);
	printf("# %u blocks written, %u of them before the last of %u flushes\n", t.done, t.stable,
	       t.flushes);
	ASSERT_EQ(0, stack_reboot(&self->s));
	EXPECT_EQ(t.stable, survivors(&self->s, t.stable));
}

/* The driver's cache: 0 writes through */
static int set_cache(struct dut *d, uint8_t mode)
{
	struct {
		struct vhost_vdpa_config c;
		uint8_t mode;
	} arg = { { offsetof(struct virtio_blk_config, wce), 1 }, mode };

	return xioctl(d->g->fd, VHOST_VDPA_SET_CONFIG, &arg);
}

/* Every write that is completed is on the disk */
static void written_through(struct __test_metadata *_metadata, FIXTURE_DATA(durable) *self, bool odd)
{
	struct traffic t = { .d = &self->d, .s = &self->s, .odd = odd, .through = true };

	ASSERT_EQ(0, load(&self->s, true));
	writes(&t);
	dut_close(&self->d);
	EXPECT_EQ(0, t.err[0]);
	EXPECT_EQ(0, t.err[2]);
	ASSERT_EQ(ENOUGH, t.stable);
	ASSERT_EQ(0, stack_reboot(&self->s));
	EXPECT_EQ(ENOUGH, survivors(&self->s, ENOUGH));
}

/* A driver that did not take FLUSH: every write that is completed (virtio 1.2, section 5.2.6.2) */
TEST_F(durable, written_through)
{
	ASSERT_EQ(0, disk_open(&self->d, variant->kind, &self->s, BIT(VIRTIO_BLK_F_FLUSH)));
	written_through(_metadata, self, variant->odd);
}

/* One that has switched its cache off, while it was in use */
TEST_F(durable, cache_switched_off)
{
	if (variant->kind != DUT_VDPA)
		SKIP(return, "the VMM's");
	ASSERT_EQ(0, disk_open(&self->d, variant->kind, &self->s, 0));
	ASSERT_EQ(0, write_block(&self->d, BLOCKS - 1, variant->odd));
	ASSERT_EQ(0, set_cache(&self->d, 0));
	written_through(_metadata, self, variant->odd);
}

/* How zeroes and discards become stable */
enum how { FLUSHED, THROUGH, CACHE_OFF, NOT_AT_ALL };

/*
 * Blocks that are zeroed, or discarded where that is as good, after they were written and stable.
 * Return: how many are still there, or -errno
 */
static int zeroed(struct stack *s, enum dut_kind kind, bool odd, enum how how)
{
	uint64_t refuse = how == THROUGH ? BIT(VIRTIO_BLK_F_FLUSH) : 0;
	struct dut d;
	int ret = disk_open(&d, kind, s, refuse);

	for (unsigned int n = 0; !ret && n < ENOUGH; n++)
		ret = write_block(&d, n, odd);
	if (!ret)
		ret = refuse ? 0 : blk_request(&d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	ret = ret ?: how == CACHE_OFF ? set_cache(&d, 0) : 0;
	ret = ret ?: load(s, true);
	for (unsigned int n = 0; !ret && n < ENOUGH; n++)
		ret = blk_range(&d, 0, s->fs && n % 3 == 2 ? VIRTIO_BLK_T_DISCARD :
				VIRTIO_BLK_T_WRITE_ZEROES, place(n) * (BLOCK / 512ULL), BLOCK / 512,
				n % 3 == 1 ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0);
	if (!ret && how == FLUSHED)
		ret = blk_request(&d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	ret = ret ?: dm_switch(&s->dm);
	dut_close(&d);
	ret = ret ?: stack_reboot(s);
	return ret > 0 ? -EIO : ret ?: survivors(s, ENOUGH);
}

TEST_F(durable, zeroes_flushed)
{
	EXPECT_EQ(0, zeroed(&self->s, variant->kind, variant->odd, FLUSHED));
}

TEST_F(durable, zeroes_through)
{
	EXPECT_EQ(0, zeroed(&self->s, variant->kind, variant->odd, THROUGH));
}

TEST_F(durable, zeroes_with_the_cache_off)
{
	if (variant->kind != DUT_VDPA)
		SKIP(return, "the VMM's");
	EXPECT_EQ(0, zeroed(&self->s, variant->kind, variant->odd, CACHE_OFF));
}

/* That these can fail; a block device may have zeroed at once */
TEST_F(durable, zeroes_not_flushed)
{
	if (!variant->fs)
		SKIP(return, "no file");
	EXPECT_EQ(ENOUGH, zeroed(&self->s, variant->kind, variant->odd, NOT_AT_ALL));
}

/* The cache is on again: what was not flushed is lost */
TEST_F(durable, cache_switched_on)
{
	if (variant->kind != DUT_VDPA)
		SKIP(return, "the VMM's");
	ASSERT_EQ(0, disk_open(&self->d, variant->kind, &self->s, 0));
	ASSERT_EQ(0, set_cache(&self->d, 0));
	ASSERT_EQ(0, set_cache(&self->d, 1));
	for (unsigned int n = 0; n < ENOUGH; n++) {
		ASSERT_EQ(0, write_block(&self->d, n, variant->odd));
	}
	ASSERT_EQ(0, load(&self->s, true));
	ASSERT_EQ(0, dm_switch(&self->s.dm));
	dut_close(&self->d);
	ASSERT_EQ(0, stack_reboot(&self->s));
	EXPECT_EQ(0, survivors(&self->s, ENOUGH));
}

/* That the others can fail: here, what was not flushed is lost */
TEST_F(durable, not_flushed)
{
	ASSERT_EQ(0, disk_open(&self->d, variant->kind, &self->s, 0));
	for (unsigned int n = 0; n < ENOUGH; n++) {
		ASSERT_EQ(0, write_block(&self->d, n, variant->odd));
	}
	ASSERT_EQ(0, load(&self->s, true));
	ASSERT_EQ(0, dm_switch(&self->s.dm));
	dut_close(&self->d);
	ASSERT_EQ(0, stack_reboot(&self->s));
	EXPECT_EQ(0, survivors(&self->s, ENOUGH));
}

TEST_HARNESS_MAIN
