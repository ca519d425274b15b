// SPDX-License-Identifier: GPL-2.0
/* A guest without a guest: the vhost dialect.  See guest.h */
#include <errno.h>
#include <stdlib.h>

#include "guest.h"

static int vhost_own(struct guest *g)
{
	return GUEST_IOCTL(g, VHOST_SET_OWNER, NULL);
}

static int vhost_set_features(struct guest *g, uint64_t features)
{
	int ret = GUEST_IOCTL(g, VHOST_SET_FEATURES, &features);

	if (!ret)
		g->features = features;
	return ret;
}

static int vhost_commit(struct guest *g)
{
	struct vhost_memory *m;
	int ret;

	m = calloc(1, sizeof(*m) + g->nregions * sizeof(m->regions[0]));
	if (!m)
		return guest_fail(g, -ENOMEM, "memory table");
	m->nregions = g->nregions;
	for (unsigned int i = 0; i < g->nregions; i++) {
		const struct guest_region *r = &g->region[i];

		m->regions[i].guest_phys_addr = r->gpa;
		m->regions[i].memory_size = r->size;
		m->regions[i].userspace_addr = (uintptr_t)r->hva;
	}
	ret = GUEST_IOCTL(g, VHOST_SET_MEM_TABLE, m);
	free(m);
	return ret;
}

/* The next table will be without it */
static int vhost_forget(struct guest *g, struct guest_region *r)
{
	(void)g;
	(void)r;
	return 0;
}

/* Rings are where they are in this process, or where an IOMMU has them */
static void vhost_ring_addr(struct guest_queue *q, uint64_t desc, uint64_t driver, uint64_t device)
{
	const struct guest *g = q->guest;

	q->addr.log_guest_addr = device;
	if (g->features & 1ULL << VIRTIO_F_ACCESS_PLATFORM) {
		q->addr.desc_user_addr = desc;
		q->addr.avail_user_addr = driver;
		q->addr.used_user_addr = device;
		return;
	}
	q->addr.desc_user_addr = (uintptr_t)guest_ptr(g, desc, 1);
	q->addr.avail_user_addr = (uintptr_t)guest_ptr(g, driver, 1);
	q->addr.used_user_addr = (uintptr_t)guest_ptr(g, device, 1);
}

static int vhost_start(struct guest *g, int fd)
{
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++) {
		int ret = g->queue[i] ? guest_queue_backend(g->queue[i], fd) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

static int vhost_stop(struct guest *g)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < GUEST_MAX_QUEUES; i++)
		if (g->queue[i])
			ret = guest_queue_backend(g->queue[i], -1);
	for (unsigned int i = 0; !ret && i < GUEST_MAX_QUEUES; i++)
		if (g->queue[i])
			ret = guest_queue_get_base(g->queue[i]);
	return ret;
}

const struct guest_ops guest_ops_vhost = {
	.name = "vhost",
	.own = vhost_own,
	.set_features = vhost_set_features,
	.commit = vhost_commit,
	.forget = vhost_forget,
	.ring_addr = vhost_ring_addr,
	.start = vhost_start,
	.stop = vhost_stop,
};
