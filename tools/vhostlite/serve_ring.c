// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: the queues. What the front end says of a queue is kept until it is to run; then
 * the kernel hears it all. A queue runs that has been given an eventfd for kicks since it was last
 * stopped, and is enabled.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/vhost_lite.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "serve.h"

#ifndef VIRTIO_F_RING_PACKED
#define VIRTIO_F_RING_PACKED	34
#endif

struct areas {
	uint64_t desc, avail, used;	/* their lengths in bytes */
};

static struct areas areas_of(const struct session *s, const struct ring *r)
{
	uint64_t n = r->num;

	if (s->features >> VIRTIO_F_RING_PACKED & 1)
		return (struct areas){
			.desc = n * 16, .avail = 4, .used = 4,
		};
	return (struct areas){
		.desc = n * sizeof(struct vring_desc),
		.avail = sizeof(struct vring_avail) + (n + 1) * sizeof(__virtio16),
		.used = sizeof(struct vring_used) + n * sizeof(struct vring_used_elem) +
			sizeof(__virtio16),
	};
}

/*
 * The areas of the ring in our own address space. All of each has to be in a region: what is behind
 * one is memory of this process.
 */
static enum verdict translate(struct session *s, unsigned int index, struct vhost_vring_addr *addr)
{
	const struct ring *r = &s->rings[index];
	struct areas len = areas_of(s, r);
	uint8_t *desc = memory_at(&s->memory, r->desc, len.desc);
	uint8_t *avail = memory_at(&s->memory, r->avail, len.avail);
	uint8_t *used = memory_at(&s->memory, r->used, len.used);

	if (!desc || !avail || !used)
		return refuse(s, "queue %u: its ring is not in the memory that is shared; "
			      SHARE_HINT, index);
	*addr = (struct vhost_vring_addr){
		.index = index,
		.desc_user_addr = (uintptr_t)desc,
		.avail_user_addr = (uintptr_t)avail,
		.used_user_addr = (uintptr_t)used,
		.flags = r->logs ? 1 << VHOST_VRING_F_LOG : 0,
		.log_guest_addr = r->log,
	};
	return OK;
}

static enum verdict failed(struct session *s, unsigned int index, const char *what)
{
	const char *hint = "";

	if (errno == ENOMEM || errno == EINVAL)
		hint = " (the kernel's log says why)";
	else if (errno == EOPNOTSUPP)
		hint = " (rings have to be in a memfd, or on tmpfs or hugetlbfs)";
	return refuse(s, "queue %u: %s: %s%s", index, what, strerror(errno), hint);
}

enum verdict ring_log(struct session *s, unsigned int index)
{
	struct vhost_vring_addr addr;
	enum verdict v;

	if (!s->rings[index].running)
		return OK;
	v = translate(s, index, &addr);
	if (v)
		return v;
	if (ioctl(s->dev->vhost, VHOST_SET_VRING_ADDR, &addr))
		return failed(s, index, "its being logged is refused");
	return OK;
}

/* What kind of ring a base is of, never 0 */
static uint32_t kind_of(const struct session *s, const struct ring *r)
{
	return r->num << 2 | (s->features >> VIRTIO_F_RING_PACKED & 1 ? 2 : 1);
}

static enum verdict start(struct session *s, unsigned int index)
{
	struct ring *r = &s->rings[index];
	struct vhost_vring_file backend = { .index = index, .fd = s->dev->file };
	struct vhost_vring_state num = { .index = index, .num = r->num };
	struct vhost_vring_state base = { .index = index };
	struct vhost_vring_addr addr;
	enum verdict v;

	if (!r->num || !r->have_addr)
		return refuse(s, "queue %u: to be started before it has a size and addresses",
			      index);
	v = translate(s, index, &addr);
	if (v)
		return v;
	/* where it stopped before the front end knew of this process, which it cannot know itself */
	if (r->kept_kind == kind_of(s, r) && !inflight_get_base(s, index, &r->base))
		return failed(s, index, "where it stopped before is not known");
	base.num = r->base;
	if (ioctl(s->dev->vhost, VHOST_SET_VRING_NUM, &num))
		return failed(s, index, "its size is refused");
	if (ioctl(s->dev->vhost, VHOST_SET_VRING_BASE, &base))
		return failed(s, index, "its base is refused");
	if (ioctl(s->dev->vhost, VHOST_SET_VRING_ADDR, &addr))
		return failed(s, index, "its addresses are refused");
	if (!inflight_note(s, index, kind_of(s, r), r->base))
		return failed(s, index, "its place cannot be noted for the process after this one");
	if (ioctl(s->dev->vhost, VHOST_BLK_SET_BACKEND, &backend))
		return failed(s, index, "does not start");
	r->kept_kind = 0;
	r->running = true;
	if (inflight_set_base(s, index, INFLIGHT_RUNS))
		return OK;
	v = failed(s, index, "that it runs cannot be noted for the process after this one");
	ring_stop(s, index);
	return v;
}

void ring_stop(struct session *s, unsigned int index)
{
	struct vhost_vring_file backend = { .index = index, .fd = -1 };
	struct vhost_vring_state base = { .index = index };
	struct ring *r = &s->rings[index];

	if (!r->running)
		return;
	/* the kernel has it that neither fails */
	if (ioctl(s->dev->vhost, VHOST_BLK_SET_BACKEND, &backend) ||
	    ioctl(s->dev->vhost, VHOST_GET_VRING_BASE, &base))
		say("queue %u: cannot be stopped: %s", index, strerror(errno));
	else
		r->base = base.num;
	/* the kernel stores it in a page that is no part of the file any more, if that was cut off meanwhile */
	inflight_set_base(s, index, r->base);
	r->running = false;
	disk_leave(s);
}

enum verdict ring_update(struct session *s, unsigned int index)
{
	struct ring *r = &s->rings[index];
	bool run = r->have_kick && r->enabled;
	enum verdict v;

	if (run && !r->running) {
		v = disk_take(s);
		if (v)
			return v;
		v = start(s, index);
		if (v)
			disk_leave(s);
		return v;
	}
	if (!run)
		ring_stop(s, index);
	return OK;
}

void rings_reset(struct session *s)
{
	for (unsigned int i = 0; i < MAX_QUEUES; i++) {
		ring_stop(s, i);
		s->rings[i] = (struct ring){ 0 };
	}
}
