// SPDX-License-Identifier: GPL-2.0
/* A guest without a guest: the vhost-vDPA dialect.  See guest.h */
#include <errno.h>
#include <unistd.h>

#include "guest.h"

/* Backend features that are used when they are offered */
#define BACKEND_FEATURES	(1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2 | \
				 1ULL << VHOST_BACKEND_F_IOTLB_BATCH | \
				 1ULL << VHOST_BACKEND_F_SUSPEND)

static int get_status(struct guest *g, uint8_t *status)
{
	return GUEST_IOCTL(g, VHOST_VDPA_GET_STATUS, status);
}

static int set_status(struct guest *g, uint8_t status)
{
	return GUEST_IOCTL(g, VHOST_VDPA_SET_STATUS, &status);
}

/* Set bits of the status and see them kept */
static int add_status(struct guest *g, uint8_t bits)
{
	uint8_t status;
	int ret;

	ret = get_status(g, &status);
	if (!ret)
		ret = set_status(g, status | bits);
	if (!ret)
		ret = get_status(g, &status);
	if (!ret && (status & bits) != bits)
		ret = guest_fail(g, -EOPNOTSUPP,
				 "the device refused status %#x, its status is %#x", bits, status);
	return ret;
}

static int vdpa_own(struct guest *g)
{
	int ret = GUEST_IOCTL(g, VHOST_SET_OWNER, NULL);

	if (!ret)
		ret = GUEST_IOCTL(g, VHOST_GET_BACKEND_FEATURES, &g->backend_features);
	if (ret)
		return ret;
	g->backend_features &= BACKEND_FEATURES;
	ret = GUEST_IOCTL(g, VHOST_SET_BACKEND_FEATURES, &g->backend_features);
	if (!ret)
		ret = set_status(g, 0);
	if (!ret)
		ret = add_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	return ret;
}

static int vdpa_set_features(struct guest *g, uint64_t features)
{
	int ret;

	features |= 1ULL << VIRTIO_F_ACCESS_PLATFORM;
	ret = GUEST_IOCTL(g, VHOST_SET_FEATURES, &features);
	if (!ret)
		ret = add_status(g, VIRTIO_CONFIG_S_FEATURES_OK);
	if (!ret)
		g->features = features;
	return ret;
}

/* Messages go in the newer layout where the device knows it, else in the older one */
static int send_msg(struct guest *g, const struct vhost_iotlb_msg *iotlb, const char *what)
{
	struct vhost_msg_v2 v2 = { .type = VHOST_IOTLB_MSG_V2, .iotlb = *iotlb };
	struct vhost_msg v1 = { .type = VHOST_IOTLB_MSG, .iotlb = *iotlb };
	ssize_t n, size;

	if (g->backend_features & (1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2)) {
		size = sizeof(v2);
		n = write(g->fd, &v2, size);
	} else {
		size = sizeof(v1);
		n = write(g->fd, &v1, size);
	}
	if (n == size)
		return 0;
	return guest_fail(g, n < 0 ? -errno : -EIO, "IOTLB %s of %#llx bytes at %#llx", what,
			  (unsigned long long)iotlb->size, (unsigned long long)iotlb->iova);
}

static int batch(struct guest *g, bool begin)
{
	struct vhost_iotlb_msg m = {
		.type = begin ? VHOST_IOTLB_BATCH_BEGIN : VHOST_IOTLB_BATCH_END,
	};

	if (!(g->backend_features & (1ULL << VHOST_BACKEND_F_IOTLB_BATCH)))
		return 0;
	return send_msg(g, &m, begin ? "batch begin" : "batch end");
}

static int vdpa_commit(struct guest *g)
{
	int ret = batch(g, true);

	for (unsigned int i = 0; !ret && i < g->nregions; i++) {
		struct guest_region *r = &g->region[i];
		struct vhost_iotlb_msg m = {
			.type = VHOST_IOTLB_UPDATE,
			.iova = r->gpa,
			.size = r->size,
			.uaddr = (uintptr_t)r->hva,
			.perm = r->perm,
		};

		if (r->mapped)
			continue;
		ret = send_msg(g, &m, "update");
		r->mapped = !ret;
	}
	return ret ? ret : batch(g, false);
}

static int vdpa_forget(struct guest *g, struct guest_region *r)
{
	struct vhost_iotlb_msg m = {
		.type = VHOST_IOTLB_INVALIDATE,
		.iova = r->gpa,
		.size = r->size,
	};

	if (!r->mapped)
		return 0;
	r->mapped = false;
	return send_msg(g, &m, "invalidate");
}

/* Rings are where they are for the guest */
static void vdpa_ring_addr(struct guest_queue *q, uint64_t desc, uint64_t driver, uint64_t device)
{
	q->addr.desc_user_addr = desc;
	q->addr.avail_user_addr = driver;
	q->addr.used_user_addr = device;
}

static int vdpa_start(struct guest *g, int fd)
{
	(void)fd;
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++) {
		int ret = g->queue[i] ? guest_queue_enable(g->queue[i], true) : 0;

		if (ret)
			return ret;
	}
	return add_status(g, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* The bases can be asked for while the device is suspended, then the reset forgets the memory */
static int vdpa_stop(struct guest *g)
{
	int ret = 0;

	if (g->backend_features & (1ULL << VHOST_BACKEND_F_SUSPEND)) {
		ret = GUEST_IOCTL(g, VHOST_VDPA_SUSPEND, NULL);
		for (unsigned int i = 0; !ret && i < GUEST_MAX_QUEUES; i++)
			if (g->queue[i])
				ret = guest_queue_get_base(g->queue[i]);
	}
	if (!ret)
		ret = set_status(g, 0);
	if (!ret)
		for (unsigned int i = 0; i < g->nregions; i++)
			g->region[i].mapped = false;
	return ret;
}

const struct guest_ops guest_ops_vdpa = {
	.name = "vhost-vdpa",
	.own = vdpa_own,
	.set_features = vdpa_set_features,
	.commit = vdpa_commit,
	.forget = vdpa_forget,
	.ring_addr = vdpa_ring_addr,
	.start = vdpa_start,
	.stop = vdpa_stop,
};
