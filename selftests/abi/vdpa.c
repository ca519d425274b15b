// SPDX-License-Identifier: GPL-2.0
/*
 * The vhost-vDPA dialect: the orders in which clients call, status, config space, suspend.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define ACK_DRIVER	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define CONFIG_SIZE	72
#define SECTORS		((4 << 20) / 512)

FIXTURE(node) {
	int fd, disk;
};

FIXTURE_SETUP(node)
{
	self->disk = make_disk(4 << 20);
	ASSERT_GE(self->disk, 0);
	self->fd = xopen(NODE_VDPA);
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(node)
{
	close(self->fd);
	close(self->disk);
}

static int attach(int fd, int disk)
{
	return vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk);
}

static int set_status(int fd, uint8_t status)
{
	return xioctl(fd, VHOST_VDPA_SET_STATUS, &status);
}

static int get_status(int fd)
{
	uint8_t status = 0xaa;
	int ret = xioctl(fd, VHOST_VDPA_GET_STATUS, &status);

	return ret ? ret : status;
}

TEST_F(node, reports_before_an_owner)
{
	unsigned char buf[16];
	uint64_t features;

	EXPECT_EQ(-ENXIO, xioctl(self->fd, VHOST_GET_FEATURES, &features));
	ASSERT_EQ(0, attach(self->fd, self->disk));

	/* each answer, and not a byte more (clients have room for just so much) */
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_DEVICE_ID, buf));
	EXPECT_EQ(0, memcmp(buf, "\2\0\0\0\xaa\xaa", 6));
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_VRING_NUM, buf));
	EXPECT_EQ(0, memcmp(buf, "\0\4\xaa\xaa", 4));
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_VQS_COUNT, buf));
	EXPECT_EQ(0, memcmp(buf, "\1\0\0\0\xaa\xaa", 6));
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_CONFIG_SIZE, buf));
	EXPECT_EQ(0, memcmp(buf, "\x48\0\0\0\xaa\xaa", 6));
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_STATUS, buf));
	EXPECT_EQ(0, memcmp(buf, "\0\xaa\xaa", 3));
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_IOVA_RANGE, buf));
	EXPECT_EQ(0, memcmp(buf, "\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16));
	memset(buf, 0xaa, sizeof(buf));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_BACKEND_FEATURES, buf));
	EXPECT_EQ(BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
		  BIT(VHOST_BACKEND_F_SUSPEND) | BIT(VHOST_BACKEND_F_RESUME),
		  buf[0] & 0x3f);
	EXPECT_EQ(0xaa, buf[8]);
}

struct owned {
	unsigned long request;
	const char *name;
};

#define REQ(r) { r, #r }

static const struct owned owned[] = {
	REQ(VHOST_VDPA_SET_CONFIG), REQ(VHOST_VDPA_SET_VRING_ENABLE),
	REQ(VHOST_VDPA_SET_CONFIG_CALL), REQ(VHOST_VDPA_SUSPEND), REQ(VHOST_VDPA_RESUME),
	REQ(VHOST_SET_VRING_NUM), REQ(VHOST_SET_VRING_ADDR), REQ(VHOST_SET_VRING_BASE),
	REQ(VHOST_GET_VRING_BASE), REQ(VHOST_SET_VRING_KICK), REQ(VHOST_SET_VRING_CALL),
	REQ(VHOST_SET_VRING_ERR), REQ(VHOST_RESET_OWNER),
};

static int requests_of_stranger(void *arg)
{
	struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2, .iotlb = {
		.type = VHOST_IOTLB_INVALIDATE, .size = 1 } };
	unsigned char zero[128] = { 0 };
	int fd = *(int *)arg, bad = 0;

	for (unsigned int i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
		int ret = xioctl(fd, owned[i].request, zero);

		if (ret == -EPERM)
			continue;
		printf("# %s: %d\n", owned[i].name, ret);
		bad++;
	}
	/* what would start queues with somebody else's memory */
	if (set_status(fd, 0x0f) != -EPERM)
		bad += 50;
	if (write(fd, &msg, sizeof(msg)) != -1 || errno != EPERM)
		bad += 100;
	return bad;
}

TEST_F(node, each_request_of_no_owner)
{
	ASSERT_EQ(0, attach(self->fd, self->disk));
	EXPECT_EQ(0, requests_of_stranger(&self->fd));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	/* the same owner again: of use where a file is opened once and used twice */
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, in_child(requests_of_stranger, &self->fd));
}

static int own_in_child(void *arg)
{
	return xioctl(*(int *)arg, VHOST_SET_OWNER, NULL) != -EBUSY;
}

TEST_F(node, one_owner)
{
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, in_child(own_in_child, &self->fd));
}

/* CVE-2026-43248, CVE-2026-74312: indexes, also those that the disk could have but has not */
TEST_F(node, index_out_of_range)
{
	struct vhl_blk_opts opts = { .num_queues = 3 };
	static const uint32_t bad[] = { 3, 4, 15, 16, 17, 0x10000, 0x80000000, 0xffffffff };
	static const unsigned long states[] = {
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE,
		VHOST_VDPA_SET_VRING_ENABLE,
	};
	uint32_t count = 0;

	ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_SET_OPTS, &opts));
	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_VQS_COUNT, &count));
	EXPECT_EQ(3, count);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vhost_vring_addr addr = { .index = bad[i] };

		for (unsigned int k = 0; k < 4; k++) {
			EXPECT_EQ(-EINVAL, vring_num(self->fd, states[k], bad[i], 1));
		}
		EXPECT_EQ(-EINVAL, vring_file(self->fd, VHOST_SET_VRING_KICK, bad[i], -1));
		EXPECT_EQ(-EINVAL, vring_file(self->fd, VHOST_SET_VRING_CALL, bad[i], -1));
		EXPECT_EQ(-EINVAL, vring_file(self->fd, VHOST_SET_VRING_ERR, bad[i], -1));
		EXPECT_EQ(-EINVAL, xioctl(self->fd, VHOST_SET_VRING_ADDR, &addr));
	}
	for (unsigned int k = 0; k < 4; k++) {
		EXPECT_EQ(0, vring_num(self->fd, states[k], 2, 1));
	}
	EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_VDPA_SET_VRING_ENABLE, 0, 2));
	EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_VDPA_SET_VRING_ENABLE, 0, ~0U));
}

TEST_F(node, not_of_this_dialect)
{
	unsigned char zero[128] = { 0 };
	static const unsigned long unknown[] = {
		VHOST_SET_MEM_TABLE, VHOST_SET_LOG_BASE, VHOST_SET_VRING_ENDIAN,
		VHOST_GET_VRING_ENDIAN, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, VHOST_NET_SET_BACKEND,
		VHOST_GET_VRING_BUSYLOOP_TIMEOUT, VHOST_GET_FEATURES_ARRAY,
		VHOST_SET_FEATURES_ARRAY, _IO(VHOST_VIRTIO, 0xff),
	};

	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for (unsigned int i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		EXPECT_EQ(-ENOTTY, xioctl(self->fd, unknown[i], zero))
			TH_LOG("request %#lx", unknown[i]);
	}
}

/* CVE-2022-0998: offset and length were added in 32 bits; CVE-2022-2308: what was not written */
TEST_F(node, config_space)
{
	static const uint32_t v[] = {
		0, 1, 8, 60, 70, 71, 72, 73, 96, 4096, 0x7fffffff, 0x80000000, 0xffffffb8, 0xfffffffe,
		0xffffffff,
	};
	unsigned int n = sizeof(v) / sizeof(v[0]);
	unsigned char whole[CONFIG_SIZE + 8], buf[200];
	struct vhost_vdpa_config *c = (void *)whole;

	EXPECT_EQ(-ENXIO, ({ c->off = 0; c->len = 8; xioctl(self->fd, VHOST_VDPA_GET_CONFIG, c); }));
	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	memset(whole, 0xaa, sizeof(whole));
	c->off = 0;
	c->len = CONFIG_SIZE;
	ASSERT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_CONFIG, c));
	EXPECT_EQ(SECTORS, le64toh(*(uint64_t *)c->buf));
	/* a write cache, and no padding */
	EXPECT_EQ(1, c->buf[32]);
	EXPECT_EQ(0, c->buf[33]);
	for (unsigned int i = 57; i < CONFIG_SIZE; i++) {
		EXPECT_EQ(0, c->buf[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = 0; k < n; k++) {
			uint64_t end = (uint64_t)v[i] + v[k];
			int want = !v[k] ? -EINVAL : end > CONFIG_SIZE ? -E2BIG : 0;

			c = (void *)buf;
			memset(buf, 0xaa, sizeof(buf));
			c->off = v[i];
			c->len = v[k];
			EXPECT_EQ(want, xioctl(self->fd, VHOST_VDPA_GET_CONFIG, c))
				TH_LOG("offset %#x, length %#x", v[i], v[k]);
			if (!want) {
				EXPECT_EQ(0, memcmp(c->buf, whole + 8 + v[i], v[k]));
			}
			for (unsigned int b = 8 + (want ? 0 : v[k]); b < sizeof(buf); b++) {
				ASSERT_EQ(0xaa, buf[b]);
			}
			/* what is there already may be written, and nothing else */
			EXPECT_EQ(want, xioctl(self->fd, VHOST_VDPA_SET_CONFIG, c))
				TH_LOG("write, offset %#x, length %#x", v[i], v[k]);
			if (!want) {
				c->buf[v[k] - 1] ^= 1;
				EXPECT_EQ(-EOPNOTSUPP, xioctl(self->fd, VHOST_VDPA_SET_CONFIG, c));
			}
		}
	}
}

TEST_F(node, bad_pointers)
{
	static const unsigned long requests[] = {
		VHOST_VDPA_GET_DEVICE_ID, VHOST_VDPA_GET_STATUS, VHOST_VDPA_SET_STATUS,
		VHOST_VDPA_GET_CONFIG, VHOST_VDPA_SET_CONFIG, VHOST_VDPA_GET_CONFIG_SIZE,
		VHOST_VDPA_SET_VRING_ENABLE, VHOST_VDPA_GET_VRING_NUM, VHOST_VDPA_GET_IOVA_RANGE,
		VHOST_VDPA_GET_VQS_COUNT, VHOST_VDPA_SET_CONFIG_CALL, VHOST_GET_FEATURES,
		VHOST_SET_FEATURES, VHOST_GET_BACKEND_FEATURES, VHOST_SET_BACKEND_FEATURES,
		VHL_BLK_SET_OPTS, VHOST_BLK_SET_BACKEND,
	};

	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for (unsigned int i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		EXPECT_EQ(-EFAULT, xioctl(self->fd, requests[i], NULL))
			TH_LOG("request %#lx of NULL", requests[i]);
		EXPECT_EQ(-EFAULT, xioctl(self->fd, requests[i], (void *)KERNEL_ADDR))
			TH_LOG("request %#lx of the kernel's memory", requests[i]);
	}
}

TEST_F(node, options)
{
	struct vhl_blk_opts o = { .num_queues = 16, .block_size = 4096 };
	unsigned char c[16];

	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	o.num_queues = 17;
	EXPECT_EQ(-EINVAL, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	o.num_queues = ~0U;
	EXPECT_EQ(-EINVAL, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	o.num_queues = 1;
	for (unsigned int i = 0; i < 8; i++) {
		o.block_size = (const uint32_t[]){ 1, 256, 511, 513, 1536, 8192, 65536, ~0U }[i];
		EXPECT_EQ(-EINVAL, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	}
	o.block_size = 512;
	o.flags = VHL_BLK_OPT_KEEP;
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	for (unsigned int i = 1; i < 32; i++) {
		o.flags = VHL_BLK_OPT_KEEP | 1U << i;
		EXPECT_EQ(-EINVAL, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	}
	o.flags = 0;
	for (unsigned int i = 0; i < 8; i++) {
		o.reserved[i] = 1;
		EXPECT_EQ(-EINVAL, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
		o.reserved[i] = 0;
	}
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	ASSERT_EQ(0, attach(self->fd, self->disk));
	EXPECT_EQ(-EBUSY, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	ASSERT_EQ(0, attach(self->fd, -1));
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_SET_OPTS, &o));
	EXPECT_EQ(-ENXIO, xioctl(self->fd, VHOST_GET_FEATURES, c));
}

/* Why a VMM has to be given the file: one that opens a path has a device without a disk */
TEST_F(node, an_open_is_a_device)
{
	uint64_t features;
	char path[32];
	int fd;

	ASSERT_EQ(0, attach(self->fd, self->disk));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	fd = xopen(path);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-ENXIO, xioctl(fd, VHOST_GET_FEATURES, &features));
	close(fd);
	fd = dup(self->fd);
	EXPECT_EQ(0, xioctl(fd, VHOST_GET_FEATURES, &features));
	close(fd);
}

TEST_F(node, each_feature)
{
	uint64_t offered = 0;

	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_FEATURES, &offered));
	EXPECT_NE(0, offered & BIT(VIRTIO_F_ACCESS_PLATFORM));
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t bit = BIT(i);

		EXPECT_EQ(offered & bit ? 0 : -EOPNOTSUPP, xioctl(self->fd, VHOST_SET_FEATURES, &bit))
			TH_LOG("bit %u", i);
	}
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &offered));
	ASSERT_EQ(0, set_status(self->fd, ACK_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &offered));
	offered &= ~BIT(VIRTIO_RING_F_EVENT_IDX);
	EXPECT_EQ(-EBUSY, xioctl(self->fd, VHOST_SET_FEATURES, &offered));
	ASSERT_EQ(0, set_status(self->fd, 0));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &offered));
}

TEST_F(node, status_bits)
{
	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, get_status(self->fd));
	EXPECT_EQ(0, set_status(self->fd, VIRTIO_CONFIG_S_ACKNOWLEDGE));
	EXPECT_EQ(1, get_status(self->fd));
	EXPECT_EQ(0, set_status(self->fd, ACK_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK));
	EXPECT_EQ(0x0b, get_status(self->fd));
	for (unsigned int i = 1; i < 256; i++) {
		if ((i & 0x0b) == 0x0b)
			continue;
		EXPECT_EQ(-EINVAL, set_status(self->fd, i))
			TH_LOG("status %#x", i);
	}
	EXPECT_EQ(0x0b, get_status(self->fd));
	EXPECT_EQ(0, set_status(self->fd, 0x0f));
	EXPECT_EQ(0, set_status(self->fd, 0x0f));
	EXPECT_EQ(-EINVAL, set_status(self->fd, 0x0b));
	EXPECT_EQ(0, set_status(self->fd, 0x0f | VIRTIO_CONFIG_S_FAILED));
	EXPECT_EQ(0x8f, get_status(self->fd));
	EXPECT_EQ(0, set_status(self->fd, 0));
	EXPECT_EQ(0, get_status(self->fd));
}

/* CVE-2021-29266: the eventfd of a file that was opened and closed again and again */
TEST_F(node, config_call)
{
	int efd = eventfd(0, EFD_NONBLOCK), call;
	struct pollfd p = { .fd = efd, .events = POLLIN };
	unsigned char buf[16] = { 0, 0, 0, 0, 8 };
	uint64_t n;

	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	call = self->disk;
	EXPECT_EQ(-EINVAL, xioctl(self->fd, VHOST_VDPA_SET_CONFIG_CALL, &call));
	call = 1 << 20;
	EXPECT_EQ(-EBADF, xioctl(self->fd, VHOST_VDPA_SET_CONFIG_CALL, &call));
	call = efd;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_SET_CONFIG_CALL, &call));
	EXPECT_EQ(0, poll(&p, 1, 0));
	/* the same size is no change */
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_RESIZE, NULL));
	EXPECT_EQ(0, poll(&p, 1, 0));
	ASSERT_EQ(0, ftruncate(self->disk, 8 << 20));
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_RESIZE, NULL));
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(8, read(efd, &n, sizeof(n)));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_GET_CONFIG, buf));
	EXPECT_EQ((8 << 20) / 512, le64toh(*(uint64_t *)(buf + 8)));
	call = -1;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_SET_CONFIG_CALL, &call));
	ASSERT_EQ(0, ftruncate(self->disk, 4 << 20));
	EXPECT_EQ(0, xioctl(self->fd, VHL_BLK_RESIZE, NULL));
	EXPECT_EQ(0, poll(&p, 1, 0));
	for (unsigned int i = 0; i < 100; i++) {
		int fd = xopen(NODE_VDPA);

		call = efd;
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &call));
		close(fd);
	}
	attach(self->fd, -1);
	EXPECT_EQ(-ENXIO, xioctl(self->fd, VHL_BLK_RESIZE, NULL));
	close(efd);
}

TEST_F(node, suspend_at_any_moment)
{
	ASSERT_EQ(0, attach(self->fd, self->disk));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_RESUME, NULL));
		EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_SUSPEND, NULL));
		EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_SUSPEND, NULL));
		EXPECT_EQ(0, xioctl(self->fd, VHOST_VDPA_RESUME, NULL));
		EXPECT_EQ(0, set_status(self->fd, i ? 0 : 0x0f));
	}
}

TEST_HARNESS_MAIN
