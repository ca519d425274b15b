// SPDX-License-Identifier: GPL-2.0
/* Named disks: the control node, and the nodes that it makes (uapi header) */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "names.h"

#define DISK_SIZE	(4 << 20)
#define NAME		"vhltest.1-a"
#define NODE		"/dev/vhost-lite/" NAME

static int count(int control)
{
	struct vhl_disk_info info = { 0 };
	int n = 0;

	for (; !xioctl(control, VHL_DISK_GET, &info); n++)
		info = (struct vhl_disk_info){ .number = info.number + 1 };
	return n;
}

FIXTURE(named) {
	int control, disk;
};

FIXTURE_SETUP(named)
{
	self->control = xopen(NODE_CONTROL);
	ASSERT_LE(0, self->control);
	self->disk = make_disk(DISK_SIZE);
	ASSERT_LE(0, self->disk);
	ASSERT_EQ(0, count(self->control));
}

FIXTURE_TEARDOWN(named)
{
	named_destroy(self->control, NAME, VHL_DISK_FORCE);
	close(self->control);
	close(self->disk);
}

TEST_F(named, node_is_as_asked)
{
	struct vhl_disk_create c = { .name = NAME, .fd = self->disk, .mode = 0640, .uid = 7, .gid = 8 };
	struct vhl_disk_info info;
	char path[64];
	struct stat st;

	ASSERT_EQ(0, xioctl(self->control, VHL_DISK_CREATE, &c));
	ASSERT_EQ(0, stat(NODE, &st));
	EXPECT_EQ(S_IFCHR | 0640, st.st_mode);
	EXPECT_EQ(7, st.st_uid);
	EXPECT_EQ(8, st.st_gid);
	ASSERT_EQ(0, stat(NODE_CONTROL, &st));
	EXPECT_EQ(S_IFCHR | 0600, st.st_mode);

	ASSERT_EQ(0, named_look(self->control, NAME, &info, path, sizeof(path)));
	EXPECT_EQ(DISK_SIZE, info.size);
	EXPECT_EQ(0, info.holder);
	EXPECT_EQ(0, info.reqs);
	EXPECT_EQ(1, info.queues);
	EXPECT_EQ(512, info.block_size);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(strlen(path) + 1, info.path_len);
	EXPECT_EQ(0, strncmp(path, "/memfd:disk", 11));
	/* cut, and nothing is written behind it */
	path[5] = '!';
	ASSERT_EQ(0, named_look(self->control, NAME, &info, path, 5));
	EXPECT_STREQ("/mem", path);
	EXPECT_EQ('!', path[5]);
	EXPECT_LT(5, info.path_len);

	EXPECT_EQ(-EEXIST, named_create(self->control, NAME, self->disk, 0600, 2));
	ASSERT_EQ(0, named_destroy(self->control, NAME, 0));
	EXPECT_EQ(-1, access(NODE, F_OK));
	EXPECT_EQ(-ENOENT, named_destroy(self->control, NAME, 0));
	EXPECT_EQ(0, count(self->control));
}

TEST_F(named, refusals)
{
	static const char *const bad[] = {
		"", ".", "..", "-a", "a/b", "../x", "control", "a b", "\303\244", "a\n",
		"0123456789abcdef0123456789abcdef",
	};
	struct vhl_disk_create c = { .name = NAME, .fd = self->disk, .mode = 0600, .reserved = { 1 } };
	int path_fd = open("/", O_PATH | O_CLOEXEC), empty = make_disk(0), pipe_fd[2];
	long files = nr_files() + nr_files_slack();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, named_create(self->control, bad[i], self->disk, 0600, 2))
			TH_LOG("name '%s'", bad[i]);
	}
	EXPECT_EQ(-EINVAL, named_create(self->control, NAME, self->disk, 01777, 2));
	EXPECT_EQ(-EINVAL, xioctl(self->control, VHL_DISK_CREATE, &c));
	c.reserved[0] = 0;
	c.opts.num_queues = VHL_BLK_MAX_QUEUES + 1;
	EXPECT_EQ(-EINVAL, xioctl(self->control, VHL_DISK_CREATE, &c));
	c.opts.num_queues = 0;
	c.opts.block_size = 1000;
	EXPECT_EQ(-EINVAL, xioctl(self->control, VHL_DISK_CREATE, &c));
	c.opts.block_size = 0;
	c.uid = -1;
	EXPECT_EQ(-EINVAL, xioctl(self->control, VHL_DISK_CREATE, &c));
	EXPECT_EQ(-EFAULT, xioctl(self->control, VHL_DISK_CREATE, NULL));

	ASSERT_EQ(0, pipe(pipe_fd));
	EXPECT_EQ(-EBADF, named_create(self->control, NAME, -1, 0600, 2));
	EXPECT_EQ(-EBADF, named_create(self->control, NAME, path_fd, 0600, 2));
	EXPECT_EQ(-EINVAL, named_create(self->control, NAME, empty, 0600, 2));
	EXPECT_EQ(-EINVAL, named_create(self->control, NAME, pipe_fd[0], 0600, 2));

	EXPECT_EQ(-ENOENT, named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 0));
	EXPECT_EQ(-ENOENT, named_do(self->control, VHL_DISK_SWAP, NAME, self->disk, 0));
	ASSERT_EQ(0, named_create(self->control, NAME, self->disk, 0600, 2));
	EXPECT_EQ(-EINVAL, named_do(self->control, VHL_DISK_RESIZE, NAME, 1, 0));
	EXPECT_EQ(-EINVAL, named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 1));
	EXPECT_EQ(-EINVAL, named_do(self->control, VHL_DISK_SWAP, NAME, self->disk, 1));
	EXPECT_EQ(-EINVAL, named_destroy(self->control, NAME, 2));
	EXPECT_EQ(-EBADF, named_do(self->control, VHL_DISK_SWAP, NAME, -1, 0));
	EXPECT_EQ(-EINVAL, named_do(self->control, VHL_DISK_SWAP, NAME, empty, 0));
	EXPECT_EQ(-ENOTTY, xioctl(self->control, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, named_destroy(self->control, NAME, 0));
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	close(path_fd);
	close(empty);
	EXPECT_GE(files, nr_files());
}

static int open_rw(void *arg)
{
	int fd = open(arg, O_RDWR | O_CLOEXEC);

	return fd >= 0 ? 0 : errno;
}

TEST_F(named, one_at_a_time)
{
	struct vhl_disk_info info;
	int fd;

	ASSERT_EQ(0, named_create(self->control, NAME, self->disk, 0600, 2));
	EXPECT_EQ(-1, open(NODE, O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(EACCES, errno);
	/* libblkio does not want to read */
	fd = open(NODE, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(EBUSY, in_child(open_rw, NODE));
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(getpid(), info.holder);
	EXPECT_EQ(-EBUSY, named_destroy(self->control, NAME, 0));
	close(fd);
	EXPECT_EQ(0, in_child(open_rw, NODE));
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(0, info.holder);
}

/* What clients ask first, and what they may ask afterwards */
TEST_F(named, dialects)
{
	struct vhost_vring_file backend = { .fd = self->disk };
	struct vhost_vdpa_config *config = calloc(1, sizeof(*config) + 8);
	uint64_t features, config_features;
	uint32_t id = 0, size = 0;
	uint8_t status = 0xff;
	int fd;

	ASSERT_NE(NULL, config);
	config->len = 8;
	ASSERT_EQ(0, named_create(self->control, NAME, self->disk, 0600, 2));
	/* cloud-hypervisor: the owner, then the id */
	fd = xopen(NODE);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &id));
	EXPECT_EQ(2, id);
	EXPECT_EQ(0, xioctl(fd, VHOST_GET_FEATURES, &features));
	EXPECT_TRUE(features & BIT(VIRTIO_F_ACCESS_PLATFORM));
	EXPECT_FALSE(features & BIT(VIRTIO_F_RING_RESET));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_GET_STATUS, &status));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-EBUSY, xioctl(fd, VHOST_BLK_SET_BACKEND, &backend));
	backend.fd = -1;
	EXPECT_EQ(-EBUSY, xioctl(fd, VHOST_BLK_SET_BACKEND, &backend));
	EXPECT_EQ(-EBUSY, xioctl(fd, VHL_BLK_SET_OPTS, &(struct vhl_blk_opts){ 0 }));
	close(fd);

	/* libblkio: the features of messages, then the status */
	fd = xopen(NODE);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, xioctl(fd, VHOST_GET_BACKEND_FEATURES, &features));
	EXPECT_EQ(0, xioctl(fd, VHOST_SET_BACKEND_FEATURES, &(uint64_t){ 0 }));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_SET_STATUS, &(uint8_t){ 0 }));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_GET_VQS_COUNT, &size));
	EXPECT_EQ(2, size);
	close(fd);

	/* a client of the vhost dialect, which may read the config space all the time */
	fd = xopen(NODE);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_GET_CONFIG, config));
	memcpy(&config_features, config->buf, 8);
	EXPECT_EQ(DISK_SIZE / 512, config_features);
	EXPECT_EQ(0, xioctl(fd, VHOST_GET_FEATURES, &features));
	EXPECT_TRUE(features & BIT(VIRTIO_F_RING_RESET));
	EXPECT_FALSE(features & BIT(VIRTIO_BLK_F_CONFIG_WCE));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_GET_CONFIG, config));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_GET_CONFIG_SIZE, &size));
	EXPECT_EQ(72, size);
	EXPECT_EQ(-ENOTTY, xioctl(fd, VHOST_VDPA_GET_STATUS, &status));
	EXPECT_EQ(-ENOTTY, xioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &id));
	close(fd);
	free(config);
	/* elsewhere that is unknown to it */
	fd = xopen(NODE_BLK);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOTTY, xioctl(fd, VHOST_VDPA_GET_CONFIG_SIZE, &size));
	close(fd);
}

FIXTURE(served) {
	int control, disk;
	struct dut_opts opts;
	struct dut d;
};

FIXTURE_VARIANT(served) {
	enum dut_kind kind;
};

DUT_EACH_DISK(served)

FIXTURE_SETUP(served)
{
	self->control = xopen(NODE_CONTROL);
	ASSERT_LE(0, self->control);
	self->disk = make_disk(DISK_SIZE);
	ASSERT_LE(0, self->disk);
	ASSERT_EQ(0, named_create(self->control, NAME, self->disk, 0600, 2));
	self->opts = (struct dut_opts){ .name = NODE };
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &self->opts));
}

FIXTURE_TEARDOWN(served)
{
	if (self->d.g)
		dut_close(&self->d);
	named_destroy(self->control, NAME, 0);
	EXPECT_EQ(0, count(self->control));
	close(self->control);
	close(self->disk);
}

TEST_F(served, counters_outlive_who_had_it_open)
{
	struct vhl_disk_info info;
	struct dev_info dev;
	char block[4096];

	ASSERT_EQ(0, dut_units(&self->d, 0, 10));
	ASSERT_EQ(0, dut_units(&self->d, 1, 10));
	ASSERT_EQ(0, get_info(self->d.g->fd, &dev));
	EXPECT_STREQ("vhost-lite/" NAME, dev.node);
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(40, info.reqs);
	EXPECT_EQ(getpid(), info.holder);
	/* it is that file */
	ASSERT_EQ(sizeof(block), pread(self->disk, block, sizeof(block), 9 * sizeof(block)));
	EXPECT_EQ(0, memcmp(block, self->d.scratch[0].p + SCRATCH_DATA, sizeof(block)));
	dut_close(&self->d);

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &self->opts));
	ASSERT_EQ(0, dut_units(&self->d, 0, 5));
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(50, info.reqs);
	EXPECT_EQ(0, info.errors);
}

TEST_F(served, another_file_is_refused)
{
	int other = make_disk(DISK_SIZE);

	ASSERT_LE(0, other);
	EXPECT_EQ(-EBUSY, vring_file(self->d.g->fd, VHOST_BLK_SET_BACKEND, 0, other));
	EXPECT_EQ(variant->kind == DUT_VDPA ? -EBUSY : 0,
		  vring_file(self->d.g->fd, VHOST_BLK_SET_BACKEND, 0, self->disk));
	EXPECT_EQ(0, dut_units(&self->d, 0, 3));
	/* and a node without a name has none of its own */
	close(other);
	other = xopen(dut_node(variant->kind));
	EXPECT_EQ(-EBADF, vring_file(other, VHOST_BLK_SET_BACKEND, 0, VHL_BACKEND_OWN));
	close(other);
}

TEST_F(served, stops_and_starts)
{
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, dut_units(&self->d, i % 2, 3));
		ASSERT_EQ(0, dut_restart(&self->d));
	}
}

/* Capacity in sectors as the device has it */
static uint64_t capacity(int fd)
{
	char buf[sizeof(struct vhost_vdpa_config) + 8] __attribute__((aligned(8)));
	struct vhost_vdpa_config *config = (void *)buf;
	uint64_t sectors = 0;

	config->off = 0;
	config->len = 8;
	if (!xioctl(fd, VHOST_VDPA_GET_CONFIG, config))
		memcpy(&sectors, config->buf, 8);
	return sectors;
}

TEST_F(served, resize)
{
	uint64_t data = self->d.scratch[0].gpa + SCRATCH_DATA;
	struct vhl_disk_info info;

	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  blk_request(&self->d, 0, VIRTIO_BLK_T_IN, DISK_SIZE / 512, data, 512));
	ASSERT_EQ(0, ftruncate(self->disk, 2 * DISK_SIZE));
	ASSERT_EQ(0, named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 0));
	EXPECT_EQ(2 * DISK_SIZE / 512, capacity(self->d.g->fd));
	EXPECT_EQ(VIRTIO_BLK_S_OK,
		  blk_request(&self->d, 0, VIRTIO_BLK_T_IN, DISK_SIZE / 512, data, 512));
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(2 * DISK_SIZE, info.size);

	/* by who has it open */
	ASSERT_EQ(0, ftruncate(self->disk, 3 * DISK_SIZE));
	ASSERT_EQ(0, xioctl(self->d.g->fd, VHL_BLK_RESIZE, NULL));
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(3 * DISK_SIZE, info.size);
	/* and when nobody has */
	dut_close(&self->d);
	ASSERT_EQ(0, ftruncate(self->disk, DISK_SIZE));
	ASSERT_EQ(0, named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 0));
	ASSERT_EQ(0, named_look(self->control, NAME, &info, NULL, 0));
	EXPECT_EQ(DISK_SIZE, info.size);
}

/* Who begins anew is told nothing by an eventfd of who had the device before */
TEST_F(served, reset_forgets_config_call)
{
	int event = eventfd(0, EFD_NONBLOCK), fd;
	uint64_t n;

	ASSERT_LE(0, event);
	dut_close(&self->d);
	fd = xopen(NODE);
	ASSERT_LE(0, fd);
	for (unsigned int round = 0; round < 2; round++) {
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
		/* to choose the dialect */
		if (variant->kind == DUT_VDPA)
			ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SET_STATUS, &(uint8_t){ 0 }));
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &event));
		/* what changed while nobody was told */
		(void)!read(event, &n, sizeof(n));
		ASSERT_EQ(0, ftruncate(self->disk, (3 + 2 * round) * DISK_SIZE));
		ASSERT_EQ(0, named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 0));
		EXPECT_EQ(sizeof(n), read(event, &n, sizeof(n)));
		ASSERT_EQ(0, xioctl(fd, VHOST_RESET_OWNER, NULL));
		ASSERT_EQ(0, ftruncate(self->disk, (4 + 2 * round) * DISK_SIZE));
		ASSERT_EQ(0, named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 0));
		EXPECT_EQ(-1, read(event, &n, sizeof(n)));
	}
	close(fd);
	close(event);
}

/* The same bytes by another open file: what movers write is read back, whichever of both it goes to */
TEST_F_TIMEOUT(served, swap_during_traffic, 120)
{
	struct mover mover[2] = { 0 };
	int file[2] = { self->disk, -1 };
	unsigned int done, swaps = many(60);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->disk);
	file[1] = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, file[1]);
	for (unsigned int i = 0; i < 2; i++)
		ASSERT_EQ(0, mover_start(&mover[i], &self->d, i));
	for (unsigned int i = 1; i <= swaps; i++) {
		EXPECT_EQ(0, named_do(self->control, VHL_DISK_SWAP, NAME, file[i % 2], 0));
		sleep_ms(i % 5);
	}
	done = mover[0].done + mover[1].done;
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_EQ(0, mover_stop(&mover[i]));
	EXPECT_LT(swaps, done);
	EXPECT_EQ(0, dut_counter(&self->d, 0, "errors"));
	EXPECT_EQ(0, dut_counter(&self->d, 1, "errors"));
	close(file[1]);
}

/* A write goes to the file that the disk went over to, and to no other */
TEST_F(served, swap)
{
	int other = make_disk(DISK_SIZE);
	unsigned char byte[2] = { 0 };

	ASSERT_LE(0, other);
	ASSERT_EQ(0, named_do(self->control, VHL_DISK_SWAP, NAME, other, 0));
	memset(self->d.scratch[0].p + SCRATCH_DATA, 0x5d, 4096);
	ASSERT_EQ(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_OUT, 4096,
					       self->d.scratch[0].gpa + SCRATCH_DATA, 4096));
	EXPECT_EQ(1, pread(self->disk, &byte[0], 1, 4096 * 512));
	EXPECT_EQ(1, pread(other, &byte[1], 1, 4096 * 512));
	EXPECT_EQ(0, byte[0]);
	EXPECT_EQ(0x5d, byte[1]);
	close(other);
	/* also for the next one that opens it */
	dut_close(&self->d);
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &self->opts));
	ASSERT_EQ(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_IN, 4096,
					       self->d.scratch[0].gpa + SCRATCH_DATA2, 4096));
	EXPECT_EQ(0x5d, self->d.scratch[0].p[SCRATCH_DATA2]);
}

/* They outlive who has it open, who cannot change them */
TEST_F_TIMEOUT(served, limits, 60)
{
	struct vhl_disk_limits arg = { .name = NAME, .limits.iops[VHL_BLK_LIMIT_TOTAL].avg = 100 }, got = arg;
	struct vhl_blk_limits limits = { 0 };
	int64_t start;

	EXPECT_EQ(-EPERM, xioctl(self->d.g->fd, VHL_BLK_SET_LIMITS, &limits));
	ASSERT_EQ(0, xioctl(self->control, VHL_DISK_SET_LIMITS, &arg));
	EXPECT_EQ(0, xioctl(self->d.g->fd, VHL_BLK_GET_LIMITS, &limits));
	EXPECT_EQ(100, limits.iops[VHL_BLK_LIMIT_TOTAL].avg);
	for (unsigned int i = 0; i < 2; i++) {
		/* two requests each */
		start = now_ms();
		ASSERT_EQ(0, dut_units(&self->d, 0, 100));
		EXPECT_LE(1700, now_ms() - start);
		dut_close(&self->d);
		/* for the next one, too */
		ASSERT_EQ(0, dut_open(&self->d, variant->kind, &self->opts));
	}
	memset(&got.limits, 0xff, sizeof(got.limits));
	EXPECT_EQ(0, xioctl(self->control, VHL_DISK_GET_LIMITS, &got));
	EXPECT_EQ(0, memcmp(&arg, &got, sizeof(arg)));
	arg.limits.iops[VHL_BLK_LIMIT_TOTAL].max = 50;
	EXPECT_EQ(-EINVAL, xioctl(self->control, VHL_DISK_SET_LIMITS, &arg));
	dut_close(&self->d);
	EXPECT_EQ(-EINVAL, xioctl(self->control, VHL_DISK_SET_LIMITS, &arg));
	memset(&arg.limits, 0, sizeof(arg.limits));
	ASSERT_EQ(0, xioctl(self->control, VHL_DISK_SET_LIMITS, &arg));
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &self->opts));
	start = now_ms();
	ASSERT_EQ(0, dut_units(&self->d, 0, 100));
	EXPECT_GT(1700, now_ms() - start);
}

TEST_F(served, swap_refused)
{
	int other = make_disk(DISK_SIZE), ro;
	char path[64];

	ASSERT_LE(0, other);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, ro);
	EXPECT_EQ(-EINVAL, named_do(self->control, VHL_DISK_SWAP, NAME, ro, 0));
	EXPECT_EQ(0, dut_units(&self->d, 0, 3));
	/* of another size it tells */
	ASSERT_EQ(0, ftruncate(other, DISK_SIZE / 2));
	EXPECT_EQ(0, named_do(self->control, VHL_DISK_SWAP, NAME, other, 0));
	EXPECT_EQ(DISK_SIZE / 1024, capacity(self->d.g->fd));
	close(ro);
	close(other);
}

TEST_F_TIMEOUT(served, destroyed_while_open, 60)
{
	uint64_t data = self->d.scratch[0].gpa + SCRATCH_DATA;
	struct mover mover = { 0 };
	int again;

	EXPECT_EQ(-EBUSY, named_destroy(self->control, NAME, 0));
	self->d.quiet = true;
	ASSERT_EQ(0, mover_start(&mover, &self->d, 1));
	sleep_ms(50);
	ASSERT_EQ(0, named_destroy(self->control, NAME, VHL_DISK_FORCE));
	EXPECT_EQ(-1, access(NODE, F_OK));
	sleep_ms(50);
	/* errors, and nothing else: it still answers */
	EXPECT_EQ(-EIO, mover_stop(&mover));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(&self->d, 0, VIRTIO_BLK_T_IN, 0, data, 512));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(&self->d, 0, VIRTIO_BLK_T_OUT, 0, data, 512));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(&self->d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&self->d, 0, VIRTIO_BLK_T_GET_ID, 0, data, 20));
	EXPECT_NE(VIRTIO_BLK_S_OK, blk_range(&self->d, 0, VIRTIO_BLK_T_DISCARD, 0, 8, 0));
	EXPECT_TRUE(queue_is(self->d.g->fd, 0, "running"));
	EXPECT_EQ(0, dut_restart(&self->d));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, blk_request(&self->d, 0, VIRTIO_BLK_T_IN, 0, data, 512));
	/* the name is free, whatever becomes of who has the old one open */
	EXPECT_EQ(0, named_create(self->control, NAME, self->disk, 0600, 2));
	again = xopen(NODE);
	EXPECT_LE(0, again);
	close(again);
}

/* Names and files that come and go leave nothing behind */
TEST_F_TIMEOUT(named, no_leak, 300)
{
	long files = nr_files() + nr_files_slack();
	unsigned int n = many(500);
	struct slabs before, now;
	const char *grown;

	for (unsigned int i = 0; i < n + 50; i++) {
		int fd;

		if (i == 50)
			ASSERT_EQ(0, slabs_read(&before));
		ASSERT_EQ(0, named_create(self->control, NAME, self->disk, 0600, 2));
		fd = xopen(NODE);
		ASSERT_LE(0, fd);
		if (i % 3 == 0)
			ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
		if (i % 2)
			close(fd);
		ASSERT_EQ(0, named_destroy(self->control, NAME, VHL_DISK_FORCE));
		if (!(i % 2))
			close(fd);
	}
	for (int64_t end = now_ms() + 5000; nr_files() > files && now_ms() < end;)
		sleep_ms(50);
	EXPECT_GE(files, nr_files());
	ASSERT_EQ(0, slabs_read(&now));
	grown = slabs_grown(&before, &now, n);
	EXPECT_EQ(NULL, grown) TH_LOG("%s", grown);
}

TEST_F_TIMEOUT(named, a_thousand, 300)
{
	unsigned int n = 1000, made;
	char name[VHL_DISK_NAME_BYTES], path[64];
	int fd[10];

	for (made = 0; made < n; made++) {
		snprintf(name, sizeof(name), "vhltest%u", made);
		ASSERT_EQ(0, named_create(self->control, name, self->disk, 0600, 2));
	}
	EXPECT_EQ(n, count(self->control));
	for (unsigned int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "/dev/vhost-lite/vhltest%u", i * 111);
		fd[i] = xopen(path);
		EXPECT_LE(0, fd[i]);
	}
	/* the module is theirs */
	EXPECT_NE(0, module_unload("vhost-blklite"));
	for (unsigned int i = 0; i < 10; i++)
		close(fd[i]);
	for (made = 0; made < n; made++) {
		snprintf(name, sizeof(name), "vhltest%u", made);
		EXPECT_EQ(0, named_destroy(self->control, name, 0));
	}
}

/* Everything at once, by several: what counts is that the kernel bears it */
TEST_F_TIMEOUT(named, race, 60)
{
	pid_t pid[4];
	int status;

	for (unsigned int c = 0; c < 4; c++) {
		pid[c] = fork();
		if (pid[c])
			continue;
		srand(c);
		for (unsigned int i = 0; i < many(300); i++) {
			int fd;

			switch (rand() % 5) {
			case 0:
				named_create(self->control, NAME, self->disk, 0600, 2);
				break;
			case 1:
				named_destroy(self->control, NAME, rand() % 2 ? VHL_DISK_FORCE : 0);
				break;
			case 2:
				named_do(self->control, VHL_DISK_SWAP, NAME, self->disk, 0);
				break;
			case 3:
				named_do(self->control, VHL_DISK_RESIZE, NAME, 0, 0);
				break;
			default:
				fd = open(NODE, O_RDWR | O_CLOEXEC);
				if (fd >= 0)
					xioctl(fd, VHOST_SET_OWNER, NULL);
				if (fd >= 0)
					close(fd);
			}
		}
		_exit(0);
	}
	for (unsigned int c = 0; c < 4; c++) {
		ASSERT_LT(0, pid[c]);
		ASSERT_EQ(pid[c], waitpid(pid[c], &status, 0));
		EXPECT_EQ(0, status);
	}
}

TEST_HARNESS_MAIN
