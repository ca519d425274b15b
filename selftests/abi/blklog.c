// SPDX-License-Identifier: GPL-2.0
/*
 * The log of dirty memory of a disk: each page that a request writes is marked, and no other one, in whatever
 * context it ends; logging is switched while requests are in flight; a migration, without the other host.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dirty.h"
#include "store.h"

#define DISK_SIZE	(4UL << 20)

/* Far from all other memory, and at a border of two pages of the bitmap */
#define FAR	(32ULL * 0x8000000 - 0x10000)
#define FAR_LEN	0x20000

/* The disk, on a device that can hold requests up and have them fail */
struct world {
	struct dut d;
	struct dirty l;
	int mem, loop, disk;
	char path[32];
	struct dm dm;
};

FIXTURE(blklog) {
	struct world w;
	struct dut *d;
	struct dirty *l;
};

FIXTURE_VARIANT(blklog) {
	int flags;			/* O_DIRECT: requests end in interrupts, or on the lane */
	bool memory;			/* no device: the worker answers all of them */
	unsigned int skew;		/* of the bitmap */
	const char *ring;
};

FIXTURE_VARIANT_ADD(blklog, direct) {
	.flags = O_DIRECT,
};

FIXTURE_VARIANT_ADD(blklog, direct_packed) {
	.flags = O_DIRECT,
	.skew = 4091,
	.ring = "packed",
};

FIXTURE_VARIANT_ADD(blklog, cached) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(blklog, memory) {
	.memory = true,
	.ring = "packed",
};

static int fill(int fd)
{
	unsigned char block[4096];

	for (unsigned int i = 0; i < DISK_SIZE / sizeof(block); i++) {
		for (unsigned int k = 0; k < sizeof(block); k++)
			block[k] = i * 7 + k * 13 + i / 256;
		if (pwrite(fd, block, sizeof(block), i * sizeof(block)) != sizeof(block))
			return -EIO;
	}
	return 0;
}

static int open_device(struct world *w, int flags)
{
	w->loop = loop_open(w->mem, w->path);
	if (w->loop < 0)
		return w->loop;
	if (dm_open(&w->dm, "blklog", DISK_SIZE) || dm_use(&w->dm, "linear", "%s 0", w->path))
		return -ENOENT;
	w->disk = open(w->dm.path, O_RDWR | O_CLOEXEC | flags);
	return w->disk < 0 ? -errno : 0;
}

FIXTURE_SETUP(blklog)
{
	struct dut_opts opts = { .early = true, .stopped = true };
	struct world *w = &self->w;
	int ret = 0;

	w->disk = w->loop = -1;
	self->d = &w->d;
	self->l = &w->l;
	if (variant->ring)
		setenv("VHL_TEST_RING", variant->ring, 1);
	w->mem = make_disk(DISK_SIZE);
	ASSERT_LE(0, w->mem);
	ASSERT_EQ(0, fill(w->mem));
	if (!variant->memory)
		ret = system("modprobe -aq loop dm-mod") ? -ENOENT : open_device(w, variant->flags);
	if (ret)
		SKIP(return, "no device mapper here");
	opts.disk = variant->memory ? w->mem : w->disk;
	ASSERT_EQ(0, dut_open(&w->d, DUT_BLK, &opts));
	ASSERT_EQ(0, dirty_move_rings(&w->d));
	ASSERT_EQ(0, guest_add_memory(w->d.g, FAR, FAR_LEN));
	ASSERT_EQ(0, guest_commit(w->d.g));
	ASSERT_EQ(0, dirty_open(&w->l, &w->d, variant->skew));
	ASSERT_EQ(0, dut_start(&w->d));
	ASSERT_EQ(0, dut_units(&w->d, 0, 1));
}

FIXTURE_TEARDOWN(blklog)
{
	struct world *w = &self->w;

	dut_close(&w->d);
	dirty_close(&w->l);
	if (w->disk >= 0)
		close(w->disk);
	dm_close(&w->dm);
	if (w->loop >= 0)
		close(w->loop);
	close(w->mem);
}

#define STATUS_OF(d, qi)	((d)->scratch[qi].gpa + SCRATCH_STATUS)

/* A request whose parts are these segments, the header in front of them, and the status byte at the end */
static int add(struct dut *d, unsigned int qi, uint32_t type, uint64_t sector, const struct guest_seg *data,
	       unsigned int n, bool in)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(type), .sector = htole64(sector) };
	struct scratch *scratch = &d->scratch[qi];
	struct guest_seg seg[16] = { { scratch->gpa + SCRATCH_HDR, sizeof(hdr) } };

	memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
	memcpy(seg + 1, data, n * sizeof(*data));
	seg[n + 1] = (struct guest_seg){ STATUS_OF(d, qi), 1 };
	scratch->p[SCRATCH_STATUS] = 0xaa;
	return gq_add(d->q[qi], seg, in ? 1 : n + 1, in ? n + 1 : 1, d);
}

/* That it was answered should be marked; what asks for the next kick lies next to it, or not */
static int collect_one(struct dirty *l, unsigned int qi)
{
	struct guest_queue *q = l->d->q[qi];
	uint32_t used;
	void *token;
	int ret;

	dirty_want_chain(l, qi, 0);
	dirty_want_event(l, qi);
	dirty_want(l, STATUS_OF(l->d, qi), 1);
	ret = gq_wait(q, 20000);
	return ret ? ret : gq_get(q, &token, &used);
}

/* Return: the status, or -errno */
static int request(struct dirty *l, uint32_t type, uint64_t sector, const struct guest_seg *data, unsigned int n, bool in)
{
	struct guest_queue *q = l->d->q[0];
	int ret;

	ret = add(l->d, 0, type, sector, data, n, in);
	if (ret)
		return ret;
	gq_publish(q);
	ret = gq_kick(q) ?: collect_one(l, 0);
	return ret ? ret : l->d->scratch[0].p[SCRATCH_STATUS];
}

static void want_data(struct dirty *l, const struct guest_seg *data, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		dirty_want(l, data[i].gpa, data[i].len);
}

/* Twice: the second time it is in the page cache, where there is one. Aligned, and not */
TEST_F(blklog, reads)
{
	uint64_t gpa = self->d->scratch[0].gpa + SCRATCH_FREE, border;
	struct guest_seg one[] = {
		{ gpa, 4096 }, { gpa + 512, 512 }, { gpa + 4096 - 512, 1024 }, { gpa + 4096 - 1, 512 },
		{ gpa + 7, 16384 }, { FAR + 0x10000 - 512, 4096 }, { FAR, 512 }, { FAR + FAR_LEN - 4096, 4096 },
	};
	struct guest_seg many[] = {
		{ gpa + 8 * 4096, 512 }, { gpa + 4096 - 1, 2 }, { gpa + 3 * 4096, 510 }, { gpa + 10 * 4096, 1024 },
		{ gpa + 12 * 4096 + 100, 2048 },
	};
	struct guest_seg over;

	ASSERT_EQ(0, guest_alloc_straddling(self->d->g, 4096, 4096, &border));
	over = (struct guest_seg){ border, 8192 };
	ASSERT_EQ(0, dirty_on(self->l));
	for (unsigned int i = 0; i < 2 * sizeof(one) / sizeof(one[0]); i++) {
		EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_IN, i / 2 * 64, &one[i / 2], 1, true));
		want_data(self->l, &one[i / 2], 1);
		EXPECT_EQ(0, dirty_is(self->l))
			TH_LOG("read %u", i);
	}
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_IN, 1024, many, 5, true));
		want_data(self->l, many, 5);
		EXPECT_EQ(0, dirty_is(self->l));
		EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_IN, 2048, &over, 1, true));
		want_data(self->l, &over, 1);
		EXPECT_EQ(0, dirty_is(self->l));
	}
	/* no more than these */
	EXPECT_EQ(0, dirty_off(self->l));
	EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_IN, 0, &one[0], 1, true));
	memset(self->l->want, 0, self->l->size);
	EXPECT_EQ(0, dirty_is(self->l));
}

/* Of what reads guest memory, or none, it is the status byte alone */
TEST_F(blklog, all_others)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = htole64(8), .num_sectors = htole32(8) };
	uint64_t gpa = self->d->scratch[0].gpa + SCRATCH_FREE;
	struct guest_seg seg = { gpa + 4096 - 512, 4096 }, ranges = { gpa, sizeof(range) };
	static const uint32_t types[] = {
		VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SECURE_ERASE,
	};

	memcpy(guest_ptr(self->d->g, gpa, sizeof(range)), &range, sizeof(range));
	ASSERT_EQ(0, dirty_on(self->l));
	for (unsigned int i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		EXPECT_LE(0, request(self->l, types[i], 8, i ? &ranges : &seg, 1, false));
		EXPECT_EQ(0, dirty_is(self->l))
			TH_LOG("type %u", types[i]);
	}
	EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, false));
	EXPECT_EQ(0, dirty_is(self->l));
	EXPECT_EQ(VIRTIO_BLK_S_UNSUPP, request(self->l, 99, 0, &seg, 1, true));
	EXPECT_EQ(0, dirty_is(self->l));
	/* refused before anything is read */
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, request(self->l, VIRTIO_BLK_T_IN, DISK_SIZE / 512, &seg, 1, true));
	EXPECT_EQ(0, dirty_is(self->l));
	seg.len = 4095;
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, request(self->l, VIRTIO_BLK_T_IN, 0, &seg, 1, true));
	EXPECT_EQ(0, dirty_is(self->l));
}

/* The name of the disk has 20 bytes, whatever there is room for */
TEST_F(blklog, name)
{
	uint64_t gpa = self->d->scratch[0].gpa + SCRATCH_FREE;
	struct guest_seg seg[] = { { gpa + 4096 - 10, 3 * 4096 }, { gpa + 8 * 4096, 100 } };

	ASSERT_EQ(0, dirty_on(self->l));
	EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_GET_ID, 0, seg, 2, true));
	dirty_want(self->l, seg[0].gpa, VIRTIO_BLK_ID_BYTES);
	EXPECT_EQ(0, dirty_is(self->l));
}

/* A status byte in a page of its own, behind the data of the same segment, and behind empty ones */
TEST_F(blklog, status_byte)
{
	uint64_t gpa = self->d->scratch[0].gpa + SCRATCH_FREE;
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_IN) };
	struct guest_seg seg[] = {
		{ self->d->scratch[0].gpa, sizeof(hdr) }, { gpa + 3 * 4096, 512 }, { gpa + 4096 - 512, 513 },
		{ gpa + 6 * 4096, 0 }, { gpa + 7 * 4096, 0 },
	};
	struct guest_queue *q = self->d->q[0];
	uint32_t used;
	void *token;

	memcpy(self->d->scratch[0].p, &hdr, sizeof(hdr));
	ASSERT_EQ(0, dirty_on(self->l));
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, gq_add(q, seg, 1, 4, self));
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		dirty_want_chain(self->l, 0, 0);
		dirty_want_event(self->l, 0);
		ASSERT_EQ(0, gq_wait(q, 20000));
		ASSERT_EQ(0, gq_get(q, &token, &used));
		dirty_want(self->l, seg[1].gpa, seg[1].len);
		dirty_want(self->l, seg[2].gpa, seg[2].len);
		EXPECT_EQ(0, dirty_is(self->l));
	}
}

/* The storage fails, from the first byte on or in the middle: what may have been written is marked */
TEST_F(blklog, errors)
{
	struct dm_piece half[] = {
		{ 2048 + 8, "linear", "" }, { DISK_SIZE / 512 - 2048 - 8, "error", "" },
	};
	struct guest_seg seg = { self->d->scratch[0].gpa + SCRATCH_FREE, 16384 };

	if (variant->memory)
		SKIP(return, "memory does not fail");
	ASSERT_EQ(0, dirty_on(self->l));
	ASSERT_EQ(0, dm_use(&self->w.dm, "error", "%s", ""));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, request(self->l, VIRTIO_BLK_T_IN, 4096, &seg, 1, true));
	want_data(self->l, &seg, 1);
	EXPECT_EQ(0, dirty_is(self->l));
	snprintf(half[0].args, sizeof(half[0].args), "%s 0", self->w.path);
	ASSERT_EQ(0, dm_load(&self->w.dm, half, 2));
	ASSERT_EQ(0, dm_switch(&self->w.dm));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, request(self->l, VIRTIO_BLK_T_IN, 2048, &seg, 1, true));
	want_data(self->l, &seg, 1);
	EXPECT_EQ(0, dirty_is(self->l));
}

struct toggle {
	struct dirty *l;
	bool on;
	pthread_t thread;
	atomic_bool done;
	int ret;
};

static void *toggle(void *arg)
{
	struct toggle *t = arg;

	t->ret = t->on ? dirty_on(t->l) : dirty_off(t->l);
	t->done = true;
	return NULL;
}

/* It returns when what is in flight has ended, and that is marked as it was taken; nothing is in between */
TEST_F(blklog, in_flight)
{
	struct guest_seg seg = { self->d->scratch[0].gpa + SCRATCH_FREE, 8192 };
	struct guest_queue *q = self->d->q[0];

	if (!(variant->flags & O_DIRECT))
		SKIP(return, "requests are not held up here");
	for (unsigned int i = 0; i < 4; i++) {
		struct toggle t = { .l = self->l, .on = !(i & 1) };

		ASSERT_EQ(0, dm_hang(&self->w.dm));
		ASSERT_EQ(0, add(self->d, 0, VIRTIO_BLK_T_IN, 64 * i, &seg, 1, true));
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		sleep_ms(50);
		ASSERT_FALSE(gq_pending(q));
		ASSERT_EQ(0, pthread_create(&t.thread, NULL, toggle, &t));
		sleep_ms(100);
		EXPECT_FALSE(t.done)
			TH_LOG("round %u", i);
		ASSERT_EQ(0, dm_switch(&self->w.dm));
		ASSERT_EQ(0, pthread_join(t.thread, NULL));
		ASSERT_EQ(0, t.ret);
		/* its data is there already: whoever copies memory from now on has it */
		EXPECT_EQ(VIRTIO_BLK_S_OK, self->d->scratch[0].p[SCRATCH_STATUS]);
		ASSERT_EQ(0, collect_one(self->l, 0));
		want_data(self->l, &seg, 1);
		if (t.on) {
			/* of the ring something may be marked by now */
			sleep_ms(20);
			memset(self->l->map, 0, self->l->size);
			memset(self->l->want, 0, self->l->size);
		}
		EXPECT_EQ(0, dirty_is(self->l))
			TH_LOG("round %u", i);
		EXPECT_EQ(VIRTIO_BLK_S_OK, request(self->l, VIRTIO_BLK_T_IN, 8, &seg, 1, true));
		if (t.on)
			want_data(self->l, &seg, 1);
		else
			memset(self->l->want, 0, self->l->size);
		EXPECT_EQ(0, dirty_is(self->l));
	}
}

/* Behind an IOMMU it is one or the other */
TEST_F(blklog, iova)
{
	uint64_t features = 0;
	int fd = xopen(NODE_BLK);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, xioctl(fd, VHOST_GET_FEATURES, &features));
	EXPECT_EQ(BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_ACCESS_PLATFORM),
		  features & (BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_ACCESS_PLATFORM)));
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(-EOPNOTSUPP, xioctl(fd, VHOST_SET_FEATURES, &features));
	features &= ~BIT(VHOST_F_LOG_ALL);
	EXPECT_EQ(0, xioctl(fd, VHOST_SET_FEATURES, &features));
	close(fd);
}

/* ---- a migration ---- */

#define AREA		(1UL << 20)
#define SLOT		16384UL
#define IN_FLIGHT	16

/**
 * struct vm - a guest that reads all the time
 * @area: where it reads to, which nobody but the device writes
 * @lock: of the queue; the driver's but while the VMM changes it
 */
struct vm {
	struct world *w;
	uint64_t gpa;
	unsigned char *area, *copy;
	pthread_t driver;
	pthread_mutex_t lock;
	atomic_bool stop;
	atomic_uint got;
	int err;
};

static int drive_once(struct vm *vm, unsigned int *next)
{
	struct guest_queue *q = vm->w->d.q[0];
	uint32_t used;
	void *token;
	int ret = 0;

	while (!gq_get(q, &token, &used))
		vm->got++;
	while (!ret && gq_in_flight(q) < IN_FLIGHT) {
		struct guest_seg seg = { vm->gpa + (*next)++ % (AREA / SLOT) * SLOT, 0 };

		/* some that are not aligned */
		seg.gpa += rand() % 4 ? 0 : 64;
		seg.len = 512 << rand() % 5;
		/* all have the same header, the last one that was written: any sector will do */
		ret = add(&vm->w->d, 0, VIRTIO_BLK_T_IN, rand() % (DISK_SIZE / 512 - 32), &seg, 1, true);
	}
	gq_publish(q);
	return ret ? ret : gq_notify(q);
}

static void *drive(void *arg)
{
	unsigned int next = 0;
	struct vm *vm = arg;
	int ret = 0;

	while (!vm->stop && !ret) {
		pthread_mutex_lock(&vm->lock);
		ret = drive_once(vm, &next);
		pthread_mutex_unlock(&vm->lock);
		sched_yield();
	}
	vm->err = ret;
	return NULL;
}

static void some(struct vm *vm, unsigned int us)
{
	unsigned int got = vm->got;

	usleep(us);
	for (unsigned int i = 0; i < 20000 && vm->got - got < IN_FLIGHT && !vm->err; i++)
		usleep(1000);
}

/* Move what is marked to the copy */
static void collect(struct vm *vm)
{
	struct dirty *l = &vm->w->l;

	for (uint64_t at = 0; at < AREA; at += LOG_PAGE) {
		uint64_t page = (vm->gpa + at) / LOG_PAGE;
		unsigned char bit = 1 << page % 8;

		if (__atomic_fetch_and(&l->map[page / 8], ~bit, __ATOMIC_SEQ_CST) & bit)
			memcpy(vm->copy + at, vm->area + at, LOG_PAGE);
	}
}

static int compare(struct vm *vm)
{
	for (uint64_t at = 0; at < AREA; at += LOG_PAGE) {
		if (!memcmp(vm->area + at, vm->copy + at, LOG_PAGE))
			continue;
		printf("# page %#llx was written and not marked\n", (unsigned long long)(vm->gpa + at));
		return -EBADMSG;
	}
	return 0;
}

/* The copy that a migration makes: its first round, another one or two, the last one after a stop */
static int migration(struct vm *vm, unsigned int i)
{
	int ret = dirty_on(&vm->w->l);

	if (ret)
		return ret;
	memcpy(vm->copy, vm->area, AREA);
	for (unsigned int k = 0; k < i % 3; k++) {
		some(vm, rand() % 2000);
		collect(vm);
	}
	some(vm, rand() % 1000);
	pthread_mutex_lock(&vm->lock);
	ret = guest_stop(vm->w->d.g);
	if (!ret) {
		collect(vm);
		ret = compare(vm) ?: dut_start(&vm->w->d) ?: dirty_off(&vm->w->l);
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

TEST_F_TIMEOUT(blklog, migrations, 200)
{
	struct vm vm = { .w = &self->w, .lock = PTHREAD_MUTEX_INITIALIZER };
	unsigned int n = many(60);

	ASSERT_EQ(0, guest_alloc(self->d->g, AREA, LOG_PAGE, &vm.gpa));
	vm.area = guest_ptr(self->d->g, vm.gpa, AREA);
	vm.copy = malloc(AREA);
	ASSERT_NE(NULL, vm.copy);
	ASSERT_EQ(0, pthread_create(&vm.driver, NULL, drive, &vm));
	for (unsigned int i = 0; i < n && !vm.err; i++) {
		some(&vm, 0);
		ASSERT_EQ(0, migration(&vm, i))
			TH_LOG("migration %u", i);
	}
	vm.stop = true;
	pthread_join(vm.driver, NULL);
	EXPECT_EQ(0, vm.err);
	EXPECT_EQ(0, dut_counter(self->d, 0, "errors"));
	EXPECT_EQ(0, dut_counter(self->d, 0, "breaks"));
	printf("# %u reads\n", vm.got);
	free(vm.copy);
}

TEST_HARNESS_MAIN
