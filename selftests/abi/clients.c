// SPDX-License-Identifier: GPL-2.0
/*
 * The orders in which the clients of the vhost-vDPA dialect call, each with what makes it special,
 * and traffic in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define OK	0x0f

/*
 * A device that was opened and has memory and queues for the taking, with nothing sent to it but
 * what attaches the disk.  Traffic is that of a struct dut.
 */
FIXTURE(client) {
	struct dut d;
	int fd;
	uint64_t features;
};

FIXTURE_SETUP(client)
{
	struct vhl_blk_opts opts = { .num_queues = 2 };
	struct dut *d = &self->d;

	memset(d, 0, sizeof(*d));
	d->kind = DUT_VDPA;
	d->timeout_ms = 20000;
	d->opts.num = 256;
	d->raw = -1;
	d->backend = make_disk(4 << 20);
	d->owns_backend = true;
	ASSERT_GE(d->backend, 0);
	ASSERT_EQ(0, guest_open(&d->g, NODE_VDPA, GUEST_BLK));
	self->fd = d->g->fd;
	ASSERT_EQ(0, xioctl(self->fd, VHL_BLK_SET_OPTS, &opts));
	ASSERT_EQ(0, guest_attach(d->g, d->backend));
	ASSERT_EQ(0, guest_layout(d->g, 4, 8 << 20));
	ASSERT_EQ(0, guest_features(d->g, &self->features));
}

FIXTURE_TEARDOWN(client)
{
	dut_close(&self->d);
}

static int make_queues(struct dut *d, uint64_t features)
{
	int ret = 0;

	d->g->features = features;
	for (unsigned int i = 0; !ret && i < 2; i++) {
		ret = guest_queue(d->g, i, 256, &d->q[i]);
		if (!ret)
			ret = guest_alloc(d->g, SCRATCH_SIZE, 4096, &d->scratch[i].gpa);
		if (!ret)
			d->scratch[i].p = guest_ptr(d->g, d->scratch[i].gpa, SCRATCH_SIZE);
	}
	return ret;
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

static int message(int fd, bool v1, uint8_t type, uint64_t iova, uint64_t size, void *hva)
{
	struct vhost_iotlb_msg iotlb = {
		.type = type, .iova = iova, .size = size, .uaddr = (uintptr_t)hva,
		.perm = type == VHOST_IOTLB_UPDATE ? VHOST_ACCESS_RW : 0,
	};
	struct vhost_msg_v2 v2 = { .type = VHOST_IOTLB_MSG_V2, .iotlb = iotlb };
	struct vhost_msg old = { .type = VHOST_IOTLB_MSG, .iotlb = iotlb };
	ssize_t n = write(fd, v1 ? (void *)&old : (void *)&v2, sizeof(v2));

	return n < 0 ? -errno : n == sizeof(v2) ? 0 : -EIO;
}

/* All memory, or none */
static int all_memory(struct dut *d, bool v1, bool map)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];

		ret = message(d->g->fd, v1, map ? VHOST_IOTLB_UPDATE : VHOST_IOTLB_INVALIDATE,
			      r->gpa, r->size, r->hva);
	}
	return ret;
}

static int program(struct dut *d, bool err)
{
	int fd = d->g->fd, ret = 0;

	for (unsigned int i = 0; !ret && i < 2; i++) {
		struct guest_queue *q = d->q[i];

		ret = guest_queue_num(q) ?: guest_queue_base(q) ?: guest_queue_addr(q) ?:
		      vring_file(fd, VHOST_SET_VRING_KICK, i, q->kick_fd);
		if (!ret && err)
			ret = vring_file(fd, VHOST_SET_VRING_ERR, i, q->err_fd);
	}
	return ret;
}

static int traffic(struct dut *d, unsigned int n)
{
	return dut_units(d, 0, n) ?: dut_units(d, 1, n);
}

/* QEMU 8 to 10.1: memory comes last, calls after DRIVER_OK; stop and cont of the machine */
TEST_F(client, qemu_10_0)
{
	struct dut *d = &self->d;
	int fd = self->fd, config = eventfd(0, 0), masked = eventfd(0, 0);
	unsigned char space[8 + 72] = { 0, 0, 0, 0, 72 };
	uint64_t features, backend;
	uint32_t num = 0xffffffff, v;

	/* realize */
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &v));
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_VRING_NUM, &num));
	EXPECT_EQ(0xffff0400, num);
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_VQS_COUNT, &v));
	EXPECT_EQ(2, v);
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_IOVA_RANGE, space + 8));
	ASSERT_EQ(0, guest_features(d->g, &features));
	EXPECT_EQ(0, get_status(fd));
	ASSERT_EQ(0, set_status(fd, 3));
	EXPECT_EQ(3, get_status(fd));
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, guest_features(d->g, &features));
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_CALL, i, masked));
	}
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_CONFIG_SIZE, &v));
	ASSERT_EQ(72, v);
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_CONFIG, space));
	ASSERT_EQ(0, make_queues(d, features));

	for (unsigned int round = 0; round < 3; round++) {
		/* start: what was acknowledged stays so through a stop and cont */
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_FEATURES, &features));
		ASSERT_EQ(0, set_status(fd, get_status(fd) | VIRTIO_CONFIG_S_FEATURES_OK));
		EXPECT_NE(0, get_status(fd) & VIRTIO_CONFIG_S_FEATURES_OK);
		ASSERT_EQ(0, xioctl(fd, VHOST_GET_BACKEND_FEATURES, &backend));
		backend &= BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
			   BIT(VHOST_BACKEND_F_SUSPEND);
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_BACKEND_FEATURES, &backend));
		ASSERT_EQ(0, program(d, false));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_num(fd, VHOST_VDPA_SET_VRING_ENABLE, i, 1));
		}
		EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0));
		ASSERT_EQ(0, message(fd, false, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL));
		ASSERT_EQ(0, all_memory(d, false, true));
		ASSERT_EQ(0, message(fd, false, VHOST_IOTLB_BATCH_END, 0, 0, NULL));
		ASSERT_EQ(0, set_status(fd, get_status(fd) | VIRTIO_CONFIG_S_DRIVER_OK));
		EXPECT_EQ(OK, get_status(fd));
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &config));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_CALL, i, d->q[i]->call_fd));
		}
		EXPECT_EQ(0, traffic(d, 10));

		/* stop */
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SUSPEND, NULL));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, guest_queue_get_base(d->q[i]));
			EXPECT_EQ(20 * (round + 1), gq_used_idx(d->q[i]));
			EXPECT_EQ(gq_base(d->q[i]), d->q[i]->base);
		}
		ASSERT_EQ(0, set_status(fd, 0));
		ASSERT_EQ(0, set_status(fd, get_status(fd) | 3));
		/* these mappings are gone since the reset */
		ASSERT_EQ(0, message(fd, false, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL));
		ASSERT_EQ(0, all_memory(d, false, false));
		ASSERT_EQ(0, message(fd, false, VHOST_IOTLB_BATCH_END, 0, 0, NULL));
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &(int){ -1 }));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_CALL, i, masked));
		}
	}
	close(config);
	close(masked);
}

/* QEMU 10.2 and on: memory with the owner, resets without ACKNOWLEDGE and DRIVER after them */
TEST_F(client, qemu_10_2)
{
	struct dut *d = &self->d;
	uint64_t features, backend;
	int fd = self->fd;

	ASSERT_EQ(0, xioctl(fd, VHOST_GET_BACKEND_FEATURES, &backend));
	backend &= BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
		   BIT(VHOST_BACKEND_F_SUSPEND);
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_BACKEND_FEATURES, &backend));
	ASSERT_EQ(0, set_status(fd, 3));
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, message(fd, false, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL));
	ASSERT_EQ(0, all_memory(d, false, true));
	ASSERT_EQ(0, message(fd, false, VHOST_IOTLB_BATCH_END, 0, 0, NULL));
	ASSERT_EQ(0, guest_features(d->g, &features));
	ASSERT_EQ(0, make_queues(d, features));

	for (unsigned int round = 0; round < 2; round++) {
		/* virtio_reset: everything is unmapped, and mapped again by the listener */
		ASSERT_EQ(0, set_status(fd, 0));
		ASSERT_EQ(0, all_memory(d, false, false));
		ASSERT_EQ(0, all_memory(d, false, true));
		for (unsigned int i = 0; i < 2; i++)
			gq_reset(d->q[i]);
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_FEATURES, &features));
		ASSERT_EQ(0, set_status(fd, get_status(fd) | VIRTIO_CONFIG_S_FEATURES_OK));
		ASSERT_EQ(0, program(d, false));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_num(fd, VHOST_VDPA_SET_VRING_ENABLE, i, 1));
		}
		ASSERT_EQ(0, set_status(fd, get_status(fd) | VIRTIO_CONFIG_S_DRIVER_OK));
		EXPECT_EQ(0x0c, get_status(fd));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_CALL, i, d->q[i]->call_fd));
		}
		EXPECT_EQ(0, traffic(d, 10));
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SUSPEND, NULL));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, guest_queue_get_base(d->q[i]));
			EXPECT_EQ(20, gq_used_idx(d->q[i]));
			EXPECT_EQ(gq_base(d->q[i]), d->q[i]->base);
		}
	}
}

/* libblkio 1.5: acknowledges nothing, then writes messages of version 1; opens for writing only */
TEST_F(client, libblkio)
{
	uint64_t features, wanted, backend;
	unsigned char space[8 + 60] = { 0, 0, 0, 0, 60 };
	struct dut *d = &self->d;
	int fd = self->fd, only;
	uint8_t status;

	only = open(NODE_VDPA, O_WRONLY | O_CLOEXEC);
	ASSERT_GE(only, 0);
	ASSERT_EQ(0, xioctl(only, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, message(only, true, VHOST_IOTLB_UPDATE, 0x1000, 0x1000, (void *)0x10000));
	ASSERT_EQ(0, xioctl(only, VHOST_VDPA_GET_STATUS, &status));
	close(only);

	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, xioctl(fd, VHOST_GET_BACKEND_FEATURES, &backend));
	backend &= 1;
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_BACKEND_FEATURES, &backend));
	ASSERT_EQ(0, set_status(fd, 0));
	ASSERT_EQ(0, set_status(fd, get_status(fd) | 3));
	EXPECT_EQ(3, get_status(fd));
	ASSERT_EQ(0, guest_features(d->g, &features));
	wanted = features & (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
			     BIT(VIRTIO_F_ACCESS_PLATFORM) | 0xffff);
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_FEATURES, &wanted));
	ASSERT_EQ(0, set_status(fd, 0x0b));
	EXPECT_EQ(0x0b, get_status(fd));
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_CONFIG, space));
	ASSERT_EQ(0, make_queues(d, wanted));
	ASSERT_EQ(0, all_memory(d, true, true));
	for (unsigned int i = 0; i < 2; i++) {
		struct guest_queue *q = d->q[i];

		ASSERT_EQ(0, guest_queue_num(q));
		ASSERT_EQ(0, guest_queue_base(q));
		ASSERT_EQ(0, guest_queue_addr(q));
		ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_KICK, i, q->kick_fd));
		ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_CALL, i, q->call_fd));
		ASSERT_EQ(0, vring_num(fd, VHOST_VDPA_SET_VRING_ENABLE, i, 1));
	}
	ASSERT_EQ(0, set_status(fd, OK));
	EXPECT_EQ(OK, get_status(fd));
	EXPECT_EQ(0, traffic(d, 10));
	ASSERT_EQ(0, all_memory(d, true, false));
	ASSERT_EQ(0, set_status(fd, 0));
}

/*
 * cloud-hypervisor: memory before it acknowledges what it is sent with, addresses before bases, and
 * one step to DRIVER_OK; all that was offered is acknowledged
 */
TEST_F(client, cloud_hypervisor)
{
	struct dut *d = &self->d;
	uint64_t features, backend;
	int fd = self->fd, config = eventfd(0, 0);
	uint16_t num;
	uint32_t id;

	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &id));
	ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_GET_VRING_NUM, &num));
	ASSERT_EQ(0, guest_features(d->g, &features));
	ASSERT_NE(0, features & BIT(VIRTIO_F_ACCESS_PLATFORM));
	ASSERT_EQ(0, xioctl(fd, VHOST_GET_BACKEND_FEATURES, &backend));
	ASSERT_EQ(0, all_memory(d, false, true));
	ASSERT_EQ(0, make_queues(d, features));

	for (unsigned int round = 0; round < 3; round++) {
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_FEATURES, &features));
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_BACKEND_FEATURES, &backend));
		for (unsigned int i = 0; i < 2; i++) {
			struct guest_queue *q = d->q[i];

			ASSERT_EQ(0, guest_queue_num(q));
			ASSERT_EQ(0, guest_queue_addr(q));
			ASSERT_EQ(0, guest_queue_base(q));
			ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_CALL, i, q->call_fd));
			ASSERT_EQ(0, vring_file(fd, VHOST_SET_VRING_KICK, i, q->kick_fd));
		}
		ASSERT_EQ(0, xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &config));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_num(fd, VHOST_VDPA_SET_VRING_ENABLE, i, 1));
		}
		ASSERT_EQ(0, set_status(fd, OK));
		EXPECT_EQ(0, traffic(d, 10));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, vring_num(fd, VHOST_VDPA_SET_VRING_ENABLE, i, 0));
		}
		ASSERT_EQ(0, set_status(fd, 0));
		/* it is not mapped a second time, where the device said that it persists */
		if (!(backend & BIT(8))) {
			ASSERT_EQ(0, all_memory(d, false, true));
		}
		for (unsigned int i = 0; i < 2; i++)
			gq_reset(d->q[i]);
	}
	close(config);
}

/* A queue is enabled after DRIVER_OK, and disabled and enabled while the other one runs */
TEST_F(client, enabled_late)
{
	struct dut *d = &self->d;
	int fd = self->fd;

	ASSERT_EQ(0, guest_own(d->g));
	ASSERT_EQ(0, guest_set_features(d->g, self->features));
	ASSERT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, make_queues(d, self->features));
	ASSERT_EQ(0, guest_queue_program(d->q[0]));
	ASSERT_EQ(0, set_status(fd, OK));
	ASSERT_EQ(0, guest_queue_enable(d->q[0], true));
	EXPECT_EQ(0, dut_units(d, 0, 3));
	ASSERT_EQ(0, guest_queue_program(d->q[1]));
	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_EQ(0, guest_queue_enable(d->q[1], true));
		ASSERT_EQ(0, guest_queue_enable(d->q[1], true));
		EXPECT_EQ(-EINVAL, guest_queue_addr(d->q[1]));
		EXPECT_EQ(0, traffic(d, 2));
		ASSERT_EQ(0, guest_queue_enable(d->q[1], false));
		ASSERT_EQ(0, guest_queue_enable(d->q[1], false));
		EXPECT_TRUE(queue_is(fd, 1, "stopped"));
		EXPECT_EQ(0, dut_units(d, 0, 2));
	}
	/* without addresses it is enabled and stays idle */
	ASSERT_EQ(0, set_status(fd, 0));
	ASSERT_EQ(0, vring_num(fd, VHOST_VDPA_SET_VRING_ENABLE, 0, 1));
	ASSERT_EQ(0, set_status(fd, OK));
	EXPECT_TRUE(queue_is(fd, 0, "stopped"));
}

TEST_HARNESS_MAIN
