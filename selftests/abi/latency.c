// SPDX-License-Identifier: GPL-2.0
/*
 * One request does not wait for another: what is done is seen at once, and a request that has to
 * wait for a tag, for a lock of the file system or for a thaw keeps neither the queue from the others
 * nor clients from the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "store.h"

#define BLOCK		4096
#define SLOTS		128
#define SLOT_STATUS	1024
#define RING		256
#define GET_ID		VIRTIO_BLK_T_GET_ID

/* A request of the first queue, unpublished; all reads go to the same place, and so does the status */
static int add(struct dut *d, unsigned int slot, uint32_t type, uint64_t block)
{
	struct scratch *scratch = &d->scratch[0];
	struct virtio_blk_outhdr hdr = {
		.type = htole32(type),
		.sector = htole64(block * (BLOCK / 512)),
	};
	unsigned int at = SCRATCH_FREE + slot * sizeof(hdr);
	bool write = type == VIRTIO_BLK_T_OUT;
	struct guest_seg seg[] = {
		{ scratch->gpa + at, sizeof(hdr) },
		{ scratch->gpa + (write ? SCRATCH_DATA : SCRATCH_DATA2), type == GET_ID ? VHL_BLK_ID_BYTES : BLOCK },
		{ scratch->gpa + SLOT_STATUS + slot, 1 },
	};

	memcpy(scratch->p + at, &hdr, sizeof(hdr));
	scratch->p[SLOT_STATUS + slot] = 0xaa;
	return gq_add(d->q[0], seg, write ? 2 : 1, write ? 1 : 2, scratch->p + SLOT_STATUS + slot);
}

static int kick(struct dut *d)
{
	gq_publish(d->q[0]);
	return gq_notify(d->q[0]);
}

static bool is_done(struct dut *d, unsigned int slot)
{
	return d->scratch[0].p[SLOT_STATUS + slot] != 0xaa;
}

/* Collect @n requests, or as many as there are within @ms; how many */
static unsigned int collect(struct dut *d, unsigned int n, unsigned int ms)
{
	int64_t end = now_ms() + ms, left;
	unsigned int got = 0;
	uint32_t len;
	void *status;

	while (got < n && (left = end - now_ms()) > 0) {
		if (gq_wait(d->q[0], left) || gq_get(d->q[0], &status, &len))
			break;
		got++;
	}
	return got;
}

/* ---- a device with one tag ---- */

FIXTURE(one_tag) {
	struct dut d;
	int disk;
};

FIXTURE_VARIANT(one_tag) {
	enum dut_kind kind;
};

DUT_EACH_DISK(one_tag)

FIXTURE_SETUP(one_tag)
{
	self->disk = -1;
}

FIXTURE_TEARDOWN(one_tag)
{
	dut_close(&self->d);
	if (self->disk >= 0)
		close(self->disk);
	slow_disk_remove();
}

/* Seen when it is done, not when the last of its batch has found a tag */
TEST_F_TIMEOUT(one_tag, first_of_many, 120)
{
	struct dut_opts opts = { 0 };
	unsigned int ms = 100, n = 32, seen = 0;
	int64_t begin, first = 0, half = 0, last;
	struct dut *d = &self->d;

	self->disk = slow_disk_of(ms, 1);
	if (self->disk < 0)
		SKIP(return, "no null_blk here");
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	for (unsigned int i = 0; i < n; i++) {
		/* no two that could be read as one */
		ASSERT_EQ(0, add(d, i, VIRTIO_BLK_T_IN, i * 37 % n * 16));
	}
	begin = now_ms();
	ASSERT_EQ(0, kick(d));
	for (; seen < n; seen++) {
		ASSERT_EQ(1, collect(d, 1, 20000));
		if (!seen)
			first = now_ms() - begin;
		if (seen == n / 2)
			half = now_ms() - begin;
	}
	last = now_ms() - begin;
	TH_LOG("%u reads of %u ms: the first after %lld ms, half after %lld, the last after %lld", n, ms,
	       (long long)first, (long long)half, (long long)last);
	/* that it is as slow as it is meant to be */
	ASSERT_LE(n * ms * 9 / 10, last);
	EXPECT_GE(3 * ms, first);
	EXPECT_GE(last * 3 / 4, half);
	for (unsigned int i = 0; i < n; i++) {
		EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[0].p[SLOT_STATUS + i]);
	}
}

/* A stop of the queue does not wait for what the driver only queued */
TEST_F_TIMEOUT(one_tag, stopped, 120)
{
	struct dut_opts opts = { .num = RING };
	struct dut *d = &self->d;
	unsigned int ms = 40, n = SLOTS;
	int64_t begin, took;

	self->disk = slow_disk_of(ms, 1);
	if (self->disk < 0)
		SKIP(return, "no null_blk here");
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	for (unsigned int i = 0; i < n; i++) {
		ASSERT_EQ(0, add(d, i, VIRTIO_BLK_T_IN, i * 37 % n * 16));
	}
	ASSERT_EQ(0, kick(d));
	ASSERT_EQ(1, collect(d, 1, 20000));
	begin = now_ms();
	ASSERT_EQ(0, dut_stop(d));
	took = now_ms() - begin;
	TH_LOG("of %u reads of %u ms %u are done when the queue has stopped after %lld ms", n, ms,
	       gq_used_idx(d->q[0]), (long long)took);
	EXPECT_EQ(d->q[0]->base, gq_base(d->q[0]));
	EXPECT_GE(n * ms * 3 / 4, took);
	/* and are served when it goes on */
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(n - 1, collect(d, n - 1, 20000));
}

/* ---- a file system that makes them wait ---- */

FIXTURE(wait) {
	struct store s;
	struct dut d;
	pthread_t thread;
	atomic_bool asked, stopped;
	atomic_int tid;
	int disk, other, err;
	bool able;
};

FIXTURE_VARIANT(wait) {
	enum dut_kind kind;
	const char *fs, *options;
};

FIXTURE_VARIANT_ADD(wait, ext4) {
	.kind = DUT_BLK,
	.fs = "ext4",
	/* no transaction of the journal for each write's time */
	.options = "lazytime",
};

FIXTURE_VARIANT_ADD(wait, xfs) {
	.kind = DUT_VDPA,
	.fs = "xfs",
};

typedef FIXTURE_DATA(wait) wait_t;

#define NO_STORAGE	"no device mapper or no such file system here"

FIXTURE_SETUP(wait)
{
	struct dut_opts opts = { .num = RING };
	char command[64];

	self->disk = -1;
	self->other = -1;
	snprintf(command, sizeof(command), "modprobe -aq loop dm-mod dm-delay %s", variant->fs);
	/* older harnesses go on with a test whose setup was skipped */
	if (system(command))
		return;
	self->able = true;
	self->s = (struct store){ .fs = variant->fs, .options = variant->options, .bytes = 4 << 20 };
	ASSERT_EQ(0, store_open(&self->s));
	self->disk = open(self->s.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	self->other = open(self->s.path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->disk);
	ASSERT_LE(0, self->other);
	opts.disk = self->disk;
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	/* whatever is done only once */
	ASSERT_EQ(0, dut_units(&self->d, 0, 2));
	ASSERT_EQ(0, dut_units(&self->d, 1, 2));
	ASSERT_EQ(0, fsync(self->other));
	posix_fadvise(self->other, 0, 0, POSIX_FADV_DONTNEED);
}

FIXTURE_TEARDOWN(wait)
{
	dut_close(&self->d);
	if (!self->able)
		return;
	if (self->disk >= 0)
		close(self->disk);
	if (self->other >= 0)
		close(self->other);
	store_close(&self->s);
}

/*
 * A thread changes a byte of the file, through the page cache. What is around it has to be read
 * from the storage first, with the lock of the inode held; and the storage hangs.
 */
static void *write_byte(void *arg)
{
	wait_t *w = arg;

	atomic_store(&w->tid, gettid());
	w->err = pwrite(w->other, "x", 1, 500 * BLOCK + 1) == 1 ? 0 : -errno;
	return NULL;
}

/* Until @done says so, but no longer than @ms.  Did it? */
static bool wait_until(wait_t *w, bool (*done)(wait_t *w), unsigned int ms)
{
	int64_t end = now_ms() + ms;

	while (!done(w)) {
		if (now_ms() > end)
			return false;
		sleep_ms(5);
	}
	return true;
}

static bool writer_waits(wait_t *w)
{
	char path[64], line[128], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", atomic_load(&w->tid));
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "State: %c", &state) != 1)
		;
	if (f)
		fclose(f);
	return state == 'D';
}

static int lock_file(wait_t *w)
{
	int ret = dm_hang(&w->s.slow);

	if (!ret)
		ret = -pthread_create(&w->thread, NULL, write_byte, w);
	if (!ret && !wait_until(w, writer_waits, 10000))
		ret = -ETIMEDOUT;
	return ret;
}

static int unlock_file(wait_t *w)
{
	int ret = dm_switch(&w->s.slow);

	pthread_join(w->thread, NULL);
	return ret ? ret : w->err;
}

/* Requests that need nothing of the file, in front of one that does and behind it */
static void beside(struct __test_metadata *_metadata, wait_t *w, uint32_t type)
{
	struct dut *d = &w->d;
	unsigned int done;

	ASSERT_EQ(0, lock_file(w));
	EXPECT_EQ(0, add(d, 0, GET_ID, 0));
	EXPECT_EQ(0, add(d, 1, type, 7));
	EXPECT_EQ(0, add(d, 2, GET_ID, 0));
	EXPECT_EQ(0, kick(d));
	done = collect(d, 2, 4000);
	EXPECT_EQ(2, done);
	EXPECT_TRUE(is_done(d, 0));
	EXPECT_FALSE(is_done(d, 1));
	EXPECT_TRUE(is_done(d, 2));
	EXPECT_EQ(0, unlock_file(w));
	EXPECT_EQ(3, done + collect(d, 3 - done, 20000));
	EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[0].p[SLOT_STATUS + 1]);
}

TEST_F_TIMEOUT(wait, beside_a_read, 120)
{
	if (!self->able)
		SKIP(return, NO_STORAGE);
	beside(_metadata, self, VIRTIO_BLK_T_IN);
}

TEST_F_TIMEOUT(wait, beside_a_write, 120)
{
	if (!self->able)
		SKIP(return, NO_STORAGE);
	beside(_metadata, self, VIRTIO_BLK_T_OUT);
}

/* A client that stops it waits for that request, and sees it done */
static void *stop(void *arg)
{
	wait_t *w = arg;
	int ret = guest_stop(w->d.g);

	atomic_store(&w->stopped, true);
	return (void *)(intptr_t)ret;
}

/* Other clients get through */
static void *ask(void *arg)
{
	struct vhost_vring_state state = { .index = 1 };
	wait_t *w = arg;
	struct dut *d = &w->d;
	int ret = vring_file(d->g->fd, VHOST_SET_VRING_CALL, 0, d->q[0]->call_fd) ?:
		  vring_file(d->g->fd, VHOST_SET_VRING_KICK, 0, d->q[0]->kick_fd) ?:
		  xioctl(d->g->fd, VHOST_GET_VRING_BASE, &state) ?: guest_queue_switch(d->q[1], -1);

	atomic_store(&w->asked, true);
	return (void *)(intptr_t)ret;
}

static bool has_asked(wait_t *w)
{
	return atomic_load(&w->asked);
}

TEST_F_TIMEOUT(wait, clients, 120)
{
	struct dut *d = &self->d;
	pthread_t asker, stopper;
	void *ret;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, lock_file(self));
	EXPECT_EQ(0, add(d, 0, VIRTIO_BLK_T_IN, 7));
	EXPECT_EQ(0, kick(d));
	/* until the worker has it */
	sleep_ms(300);
	EXPECT_FALSE(is_done(d, 0));
	EXPECT_EQ(0, pthread_create(&asker, NULL, ask, self));
	EXPECT_TRUE(wait_until(self, has_asked, 4000));
	EXPECT_EQ(0, pthread_create(&stopper, NULL, stop, self));
	sleep_ms(300);
	EXPECT_FALSE(atomic_load(&self->stopped));

	EXPECT_EQ(0, unlock_file(self));
	pthread_join(asker, &ret);
	EXPECT_EQ(NULL, ret);
	pthread_join(stopper, &ret);
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[0].p[SLOT_STATUS]);
	EXPECT_EQ(d->q[0]->base, gq_base(d->q[0]));
}

/* Writes wait for a frozen file system to be thawed, reads do not */
TEST_F_TIMEOUT(wait, frozen, 120)
{
	struct vhost_vring_state state = { .index = 1 };
	struct dut *d = &self->d;

	if (!self->able)
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, ioctl(self->other, FIFREEZE, 0));
	ASSERT_EQ(0, add(d, 0, VIRTIO_BLK_T_OUT, 7));
	ASSERT_EQ(0, add(d, 1, VIRTIO_BLK_T_IN, 8));
	ASSERT_EQ(0, add(d, 2, GET_ID, 0));
	ASSERT_EQ(0, kick(d));
	EXPECT_EQ(2, collect(d, 2, 10000));
	EXPECT_FALSE(is_done(d, 0));
	EXPECT_EQ(0, xioctl(d->g->fd, VHOST_GET_VRING_BASE, &state));
	EXPECT_EQ(0, guest_queue_switch(d->q[1], -1));
	ASSERT_EQ(0, ioctl(self->other, FITHAW, 0));
	EXPECT_EQ(1, collect(d, 1, 20000));
	EXPECT_EQ(VIRTIO_BLK_S_OK, d->scratch[0].p[SLOT_STATUS]);
}

/*
 * A file that was opened for direct I/O and has none, for its data is in the journal: what is not
 * cached is read by as many threads as it takes, not by the worker.
 */
TEST(no_direct_io_after_all)
{
	struct store s = { .fs = "ext4", .options = "data=journal", .bytes = 4 << 20 };
	unsigned int ms = 500, n = 8;
	struct dut_opts opts = { 0 };
	int64_t begin, took;
	char path[256];
	struct dut d;

	if (system("modprobe -aq loop dm-mod dm-delay ext4"))
		SKIP(return, NO_STORAGE);
	ASSERT_EQ(0, store_open(&s));
	ASSERT_EQ(0, store_cool(&s));
	opts.disk = open(s.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, opts.disk);
	/* neither of its inode, nor of what is next to a block */
	ASSERT_EQ(0, dut_open(&d, DUT_VDPA, &opts));
	ASSERT_EQ(VIRTIO_BLK_S_OK, blk_request(&d, 0, VIRTIO_BLK_T_IN, 0, d.scratch[0].gpa + SCRATCH_DATA,
					       BLOCK));
	snprintf(path, sizeof(path), "/sys/block/%s/queue/read_ahead_kb", s.slow.path + strlen("/dev/"));
	ASSERT_EQ(0, put_file(path, "0"));
	ASSERT_EQ(0, store_delay(&s, ms, 0, 0));
	for (unsigned int i = 0; i < n; i++) {
		ASSERT_EQ(0, add(&d, i, VIRTIO_BLK_T_IN, 600 + i * 50));
	}
	begin = now_ms();
	ASSERT_EQ(0, kick(&d));
	ASSERT_EQ(n, collect(&d, n, 20000));
	took = now_ms() - begin;
	TH_LOG("%u reads of %u ms: %lld ms", n, ms, (long long)took);
	EXPECT_LE(ms * 9 / 10, took);
	EXPECT_GE(n * ms / 2, took);
	dut_close(&d);
	close(opts.disk);
	store_close(&s);
}

TEST_HARNESS_MAIN
