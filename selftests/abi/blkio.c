// SPDX-License-Identifier: GPL-2.0
/*
 * A client that others wrote: libblkio's driver virtio-blk-vhost-vdpa, which gets the node with the
 * disk attached.  What it wrote is looked at in the disk's file, and what it sent in our counters.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "names.h"

#if __has_include("blkio.h")
#include <blkio.h>

#define QUEUES	4
#define CAPACITY	(16UL << 20)
/* Of a queue: its part of the disk, and of the memory */
#define PART	(CAPACITY / QUEUES)
/* Requests of a queue at a time, in pieces of up to this */
#define DEPTH	32
#define PIECE	(PART / DEPTH)

FIXTURE(blkio) {
	int disk, node;
	struct blkio *b;
	struct blkio_mem_region mem;
	struct timespec limit;
};

/* Not connected yet: whoever does may have to fail */
static int client(struct blkio **b, int disk, int *node)
{
	struct vhl_blk_opts opts = { .num_queues = QUEUES };
	int fd = xopen(NODE_VDPA), ret;

	*node = fd;
	if (fd < 0)
		return fd;
	ret = xioctl(fd, VHL_BLK_SET_OPTS, &opts) ?: vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk);
	if (ret)
		return ret;
	/* the library closes the one that it gets */
	fd = dup(fd);
	ret = blkio_create("virtio-blk-vhost-vdpa", b) ?: blkio_set_int(*b, "fd", fd);
	if (ret)
		printf("# libblkio: %s\n", blkio_get_error_msg());
	return ret;
}

static int start(struct blkio *b, struct blkio_mem_region *mem)
{
	int ret = blkio_set_int(b, "num-queues", QUEUES) ?: blkio_start(b) ?:
		  blkio_alloc_mem_region(b, mem, CAPACITY) ?: blkio_map_mem_region(b, mem);

	if (ret)
		printf("# libblkio: %s\n", blkio_get_error_msg());
	return ret;
}

FIXTURE_SETUP(blkio)
{
	self->limit.tv_sec = 20;
	self->disk = make_disk(CAPACITY);
	ASSERT_LT(0, self->disk);
	ASSERT_EQ(0, client(&self->b, self->disk, &self->node));
}

FIXTURE_TEARDOWN(blkio)
{
	blkio_destroy(&self->b);
	close(self->node);
	close(self->disk);
}

/* One request that was just submitted; what became of it */
static int wait_one(struct blkioq *q)
{
	struct timespec limit = { .tv_sec = 20 };
	struct blkio_completion c = { 0 };
	int ret = blkioq_do_io(q, &c, 1, 1, &limit);

	return ret < 0 ? ret : ret != 1 ? -EPROTO : c.ret;
}

static void fill(unsigned char *p, unsigned int n, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = n * 31 + i * 7 + (i >> 9);
}

/**
 * struct user - of one queue
 * @err: 0, -errno, or the line of what was not as expected
 * @reqs: requests that the device should have seen
 * @bytes: written, and read as well
 */
struct user {
	struct blkio *b;
	unsigned char *mem;
	unsigned int index;
	pthread_t thread;
	int err;
	unsigned int reqs;
	uint64_t bytes;
};

/* Sizes from a sector to all of the piece */
static size_t length(unsigned int i)
{
	return 512 * (1 + i * 37 % (PIECE / 512));
}

static int wait_all(struct blkioq *q, struct user *u)
{
	struct timespec limit = { .tv_sec = 20 };
	struct blkio_completion c[DEPTH];
	bool seen[DEPTH] = { 0 };

	if (blkioq_do_io(q, c, DEPTH, DEPTH, &limit) != DEPTH)
		return __LINE__;
	for (unsigned int i = 0; i < DEPTH; i++) {
		uintptr_t n = (uintptr_t)c[i].user_data;

		if (c[i].ret || n >= DEPTH || seen[n])
			return __LINE__;
		seen[n] = true;
	}
	u->reqs += DEPTH;
	return 0;
}

static int use(struct user *u)
{
	struct blkioq *q = blkio_get_queue(u->b, u->index);
	uint64_t pos = u->index * PART;
	unsigned char want[PIECE];
	struct iovec iov[DEPTH][3];
	unsigned int i;
	int ret;

	for (i = 0; i < DEPTH; i++) {
		unsigned char *p = u->mem + i * PIECE;
		size_t len = length(i);

		fill(p, u->index * DEPTH + i, len);
		u->bytes += len;
		if (i % 2 && len > 1024) {
			iov[i][0] = (struct iovec){ p, 512 };
			iov[i][1] = (struct iovec){ p + 512, len - 1024 };
			iov[i][2] = (struct iovec){ p + len - 512, 512 };
			blkioq_writev(q, pos + i * PIECE, iov[i], 3, (void *)(uintptr_t)i, 0);
		} else {
			blkioq_write(q, pos + i * PIECE, p, len, (void *)(uintptr_t)i, 0);
		}
	}
	ret = wait_all(q, u);
	if (ret)
		return ret;
	blkioq_flush(q, NULL, 0);
	ret = wait_one(q);
	if (ret)
		return ret;
	u->reqs++;

	memset(u->mem, 0xaa, PART);
	for (i = 0; i < DEPTH; i++)
		blkioq_read(q, pos + i * PIECE, u->mem + i * PIECE, length(i),
			    (void *)(uintptr_t)i, 0);
	ret = wait_all(q, u);
	for (i = 0; !ret && i < DEPTH; i++) {
		fill(want, u->index * DEPTH + i, length(i));
		if (memcmp(want, u->mem + i * PIECE, length(i)))
			ret = __LINE__;
	}
	return ret;
}

static void *user(void *arg)
{
	struct user *u = arg;

	u->err = use(u);
	return NULL;
}

TEST_F(blkio, properties)
{
	uint64_t capacity = 0;
	bool flush = false;
	int v = 0;

	ASSERT_EQ(0, blkio_connect(self->b)) TH_LOG("%s", blkio_get_error_msg());
	EXPECT_EQ(0, blkio_get_uint64(self->b, "capacity", &capacity));
	EXPECT_EQ(CAPACITY, capacity);
	EXPECT_EQ(0, blkio_get_int(self->b, "max-queues", &v));
	EXPECT_EQ(QUEUES, v);
	EXPECT_EQ(0, blkio_get_int(self->b, "request-alignment", &v));
	EXPECT_EQ(512, v);
	EXPECT_EQ(0, blkio_get_int(self->b, "max-segments", &v));
	EXPECT_LE(64, v);
	/* a product of two of our fields */
	EXPECT_EQ(0, blkio_get_int(self->b, "max-transfer", &v));
	EXPECT_LE(1 << 20, v);
	EXPECT_EQ(0, blkio_get_bool(self->b, "flush-needed", &flush));
	EXPECT_TRUE(flush);
}

TEST_F(blkio, data_on_all_queues)
{
	struct user u[QUEUES] = { 0 };
	unsigned char want[PIECE], got[PIECE];
	struct dev_info info;

	ASSERT_EQ(0, blkio_connect(self->b)) TH_LOG("%s", blkio_get_error_msg());
	ASSERT_EQ(0, start(self->b, &self->mem));
	for (unsigned int i = 0; i < QUEUES; i++) {
		u[i].b = self->b;
		u[i].index = i;
		u[i].mem = (unsigned char *)self->mem.addr + i * PART;
		ASSERT_EQ(0, pthread_create(&u[i].thread, NULL, user, &u[i]));
	}
	for (unsigned int i = 0; i < QUEUES; i++)
		pthread_join(u[i].thread, NULL);

	ASSERT_EQ(0, get_info(self->node, &info));
	EXPECT_EQ(0x0f, info.status);
	for (unsigned int i = 0; i < QUEUES; i++) {
		EXPECT_EQ(0, u[i].err) TH_LOG("queue %u: %s", i, blkio_get_error_msg());
		EXPECT_EQ(2 * DEPTH + 1, info.q[i].reqs);
		EXPECT_EQ(u[i].reqs, info.q[i].reqs);
		EXPECT_EQ(u[i].bytes, info.q[i].in);
		EXPECT_EQ(u[i].bytes, info.q[i].out);
		EXPECT_EQ(0, info.q[i].errors);
		for (unsigned int k = 0; k < DEPTH; k++) {
			fill(want, i * DEPTH + k, length(k));
			ASSERT_EQ(length(k),
				  pread(self->disk, got, length(k), i * PART + k * PIECE));
			EXPECT_EQ(0, memcmp(want, got, length(k)));
		}
	}
}

/* The library sends a flush after such a write */
TEST_F(blkio, forced_unit_access)
{
	struct dev_info info;
	struct blkioq *q;

	ASSERT_EQ(0, blkio_connect(self->b)) TH_LOG("%s", blkio_get_error_msg());
	ASSERT_EQ(0, start(self->b, &self->mem));
	q = blkio_get_queue(self->b, 0);
	blkioq_write(q, 4096, self->mem.addr, 4096, NULL, BLKIO_REQ_FUA);
	EXPECT_EQ(0, wait_one(q));
	ASSERT_EQ(0, get_info(self->node, &info));
	EXPECT_EQ(2, info.q[0].reqs);
	EXPECT_EQ(4096, info.q[0].out);
}

TEST_F(blkio, errors)
{
	struct dev_info info;
	struct blkioq *q;

	ASSERT_EQ(0, blkio_connect(self->b)) TH_LOG("%s", blkio_get_error_msg());
	ASSERT_EQ(0, start(self->b, &self->mem));
	q = blkio_get_queue(self->b, 1);
	blkioq_read(q, CAPACITY, self->mem.addr, 512, NULL, 0);
	EXPECT_EQ(-EIO, wait_one(q));
	blkioq_write(q, CAPACITY - 512, self->mem.addr, 1024, NULL, 0);
	EXPECT_EQ(-EIO, wait_one(q));
	ASSERT_EQ(0, get_info(self->node, &info));
	EXPECT_EQ(2, info.q[1].errors);
	EXPECT_EQ(0, info.q[1].breaks);
	EXPECT_EQ(CAPACITY, lseek(self->disk, 0, SEEK_END));
	memset(self->mem.addr, 0x5a, 512);
	blkioq_write(q, CAPACITY - 512, self->mem.addr, 512, NULL, 0);
	EXPECT_EQ(0, wait_one(q));
}

/* The same open node once more, and memory that goes while all runs */
TEST_F(blkio, again)
{
	unsigned char *p;
	struct blkioq *q;

	for (unsigned int i = 0; i < 3; i++) {
		if (i) {
			ASSERT_EQ(0, blkio_create("virtio-blk-vhost-vdpa", &self->b));
			ASSERT_EQ(0, blkio_set_int(self->b, "fd", dup(self->node)));
		}
		ASSERT_EQ(0, blkio_connect(self->b)) TH_LOG("%s", blkio_get_error_msg());
		ASSERT_EQ(0, start(self->b, &self->mem));
		q = blkio_get_queue(self->b, 0);
		p = self->mem.addr;
		blkioq_read(q, 0, p, 512, NULL, 0);
		EXPECT_EQ(0, wait_one(q));
		EXPECT_EQ(i, p[0]);
		p[0] = i + 1;
		blkioq_write(q, 0, p, 512, NULL, 0);
		EXPECT_EQ(0, wait_one(q));
		blkio_unmap_mem_region(self->b, &self->mem);
		blkio_free_mem_region(self->b, &self->mem);
		if (i < 2)
			blkio_destroy(&self->b);
	}
}

#define NAME	"vhlblkio"

/* As libvirt's <disk type='vhostvdpa'> has QEMU do it: the library opens a path itself */
TEST_F(blkio, by_path)
{
	int control = xopen(NODE_CONTROL), other = make_disk(CAPACITY);
	struct vhl_disk_info info;
	struct blkio *b = NULL;
	struct user u = { 0 };

	ASSERT_LE(0, control);
	ASSERT_EQ(0, named_create(control, NAME, other, 0600, QUEUES));
	ASSERT_EQ(0, blkio_create("virtio-blk-vhost-vdpa", &b));
	EXPECT_EQ(0, blkio_set_str(b, "path", "/dev/vhost-lite/" NAME));
	ASSERT_EQ(0, blkio_connect(b)) TH_LOG("%s", blkio_get_error_msg());
	ASSERT_EQ(0, start(b, &self->mem));
	u.b = b;
	u.mem = self->mem.addr;
	EXPECT_EQ(0, use(&u)) TH_LOG("%s", blkio_get_error_msg());
	ASSERT_EQ(0, named_look(control, NAME, &info, NULL, 0));
	EXPECT_EQ(u.reqs, info.reqs);
	EXPECT_EQ(u.bytes, info.out);
	EXPECT_EQ(u.bytes, info.in);
	EXPECT_EQ(getpid(), info.holder);
	EXPECT_EQ(-EBUSY, named_destroy(control, NAME, 0));
	blkio_destroy(&b);
	EXPECT_EQ(0, named_destroy(control, NAME, 0));
	close(control);
	close(other);
}

TEST_F(blkio, read_only)
{
	struct blkio_mem_region mem;
	struct dev_info info;
	struct blkioq *q;
	struct blkio *b;
	char path[64];
	int disk, node;
	bool ro;

	ASSERT_EQ(3, pwrite(self->disk, "abc", 3, 512));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->disk);
	disk = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LT(0, disk);
	ASSERT_EQ(0, client(&b, disk, &node));
	ASSERT_EQ(0, blkio_connect(b)) TH_LOG("%s", blkio_get_error_msg());
	/* the library sees VIRTIO_BLK_F_RO and insists that its user knows */
	EXPECT_EQ(0, blkio_get_bool(b, "read-only", &ro));
	EXPECT_NE(0, blkio_start(b));
	blkio_destroy(&b);
	close(node);

	ASSERT_EQ(0, client(&b, disk, &node));
	ASSERT_EQ(0, blkio_set_bool(b, "read-only", true));
	ASSERT_EQ(0, blkio_connect(b)) TH_LOG("%s", blkio_get_error_msg());
	ASSERT_EQ(0, start(b, &mem));
	q = blkio_get_queue(b, 0);
	blkioq_read(q, 512, mem.addr, 512, NULL, 0);
	EXPECT_EQ(0, wait_one(q));
	EXPECT_EQ(0, memcmp(mem.addr, "abc", 4));
	blkioq_write(q, 512, mem.addr, 512, NULL, 0);
	EXPECT_GT(0, wait_one(q));
	ASSERT_EQ(0, get_info(node, &info));
	EXPECT_EQ(512, info.q[0].in);
	EXPECT_EQ(0, info.q[0].out);
	blkio_destroy(&b);
	close(node);
	close(disk);
}

#else
TEST(blkio)
{
	SKIP(return, "compiled without libblkio");
}
#endif

TEST_HARNESS_MAIN
