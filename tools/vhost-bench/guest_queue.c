// SPDX-License-Identifier: GPL-2.0
/* A guest without a guest: its queues, towards the device.  See guest.h */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "guest_ring.h"

/* Looks at the ring between two offers of the processor to others, when polling */
#define SPINS	64

static int make_areas(struct guest_queue *q)
{
	struct guest *g = q->guest;
	uint64_t desc, avail, used;
	size_t desc_len = q->num * sizeof(struct vring_desc);
	size_t avail_len = gq_avail_size(q->num), used_len = gq_used_size(q->num);
	int ret;

	/* Alignment beyond what virtio asks for: a cache line of its own for each */
	ret = guest_alloc(g, desc_len, 64, &desc);
	if (!ret)
		ret = guest_alloc(g, avail_len, 64, &avail);
	if (!ret)
		ret = guest_alloc(g, used_len, 64, &used);
	if (ret)
		return ret;
	q->desc = guest_ptr(g, desc, desc_len);
	q->avail = guest_ptr(g, avail, avail_len);
	q->used = guest_ptr(g, used, used_len);
	q->addr.index = q->index;
	g->ops->ring_addr(q, desc, avail, used);
	return 0;
}

int guest_queue(struct guest *g, unsigned int index, unsigned int num, struct guest_queue **qp)
{
	struct guest_queue *q;
	int ret;

	if (index >= GUEST_MAX_QUEUES || g->queue[index] || !num || num > 65536)
		return guest_fail(g, -EINVAL, "queue %u of size %u", index, num);
	q = calloc(1, sizeof(*q));
	if (!q)
		return guest_fail(g, -ENOMEM, "queue %u", index);
	*q = (struct guest_queue){
		.guest = g,
		.index = index,
		.num = num,
		.event_idx = g->features & (1ULL << VIRTIO_RING_F_EVENT_IDX),
		.indirect = g->features & (1ULL << VIRTIO_RING_F_INDIRECT_DESC),
		.irq = true,
	};
	q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick_fd < 0 || q->call_fd < 0 || q->err_fd < 0)
		ret = guest_fail(g, -errno, "eventfds of queue %u", index);
	else
		ret = make_areas(q);
	if (!ret)
		ret = gq_init(q);
	if (ret) {
		guest_queue_free(q);
		return ret;
	}
	g->queue[index] = q;
	*qp = q;
	return 0;
}

void guest_queue_free(struct guest_queue *q)
{
	if (!q)
		return;
	if (q->kick_fd >= 0)
		close(q->kick_fd);
	if (q->call_fd >= 0)
		close(q->call_fd);
	if (q->err_fd >= 0)
		close(q->err_fd);
	free(q->chain);
	free(q->next);
	free(q);
}

int guest_queue_num(struct guest_queue *q)
{
	struct vhost_vring_state s = { .index = q->index, .num = q->num };

	return GUEST_IOCTL(q->guest, VHOST_SET_VRING_NUM, &s);
}

int guest_queue_base(struct guest_queue *q)
{
	struct vhost_vring_state s = { .index = q->index, .num = q->base };

	return GUEST_IOCTL(q->guest, VHOST_SET_VRING_BASE, &s);
}

int guest_queue_addr(struct guest_queue *q)
{
	return GUEST_IOCTL(q->guest, VHOST_SET_VRING_ADDR, &q->addr);
}

int guest_queue_fds(struct guest_queue *q)
{
	struct vhost_vring_file kick = { .index = q->index, .fd = q->kick_fd };
	struct vhost_vring_file call = { .index = q->index, .fd = q->call_fd };
	struct vhost_vring_file err = { .index = q->index, .fd = q->err_fd };
	int ret;

	ret = GUEST_IOCTL(q->guest, VHOST_SET_VRING_KICK, &kick);
	if (!ret)
		ret = GUEST_IOCTL(q->guest, VHOST_SET_VRING_CALL, &call);
	if (!ret)
		ret = GUEST_IOCTL(q->guest, VHOST_SET_VRING_ERR, &err);
	return ret;
}

int guest_queue_program(struct guest_queue *q)
{
	int ret = guest_queue_num(q);

	if (!ret)
		ret = guest_queue_base(q);
	if (!ret)
		ret = guest_queue_addr(q);
	if (!ret)
		ret = guest_queue_fds(q);
	return ret;
}

int guest_queue_backend(struct guest_queue *q, int fd)
{
	struct vhost_vring_file file = { .index = q->index, .fd = fd };

	if (q->guest->kind == GUEST_NET)
		return GUEST_IOCTL(q->guest, VHOST_NET_SET_BACKEND, &file);
	return GUEST_IOCTL(q->guest, VHOST_BLK_SET_BACKEND, &file);
}

int guest_queue_enable(struct guest_queue *q, bool on)
{
	struct vhost_vring_state s = { .index = q->index, .num = on };

	return GUEST_IOCTL(q->guest, VHOST_VDPA_SET_VRING_ENABLE, &s);
}

int guest_queue_get_base(struct guest_queue *q)
{
	struct vhost_vring_state s = { .index = q->index };
	int ret = GUEST_IOCTL(q->guest, VHOST_GET_VRING_BASE, &s);

	if (!ret)
		q->base = s.num;
	return ret;
}

int gq_kick(struct guest_queue *q)
{
	uint64_t one = 1;

	q->count.kicks++;
	return write(q->kick_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN ? 0 : -errno;
}

int gq_notify(struct guest_queue *q)
{
	if (q->avail_told == q->avail_shown)
		return 0;
	if (!gq_kick_wanted(q)) {
		q->count.kicks_saved++;
		return 0;
	}
	return gq_kick(q);
}

bool gq_error(const struct guest_queue *q)
{
	struct pollfd p = { .fd = q->err_fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Milliseconds to @end, rounded so that the time is never over too soon; -1 is for ever */
static int left(int64_t end)
{
	int64_t ms;

	if (end < 0)
		return -1;
	ms = end - now_ms();
	return ms > 0 ? ms : 0;
}

static int wait_spinning(struct guest_queue *q, int64_t end)
{
	for (;;) {
		for (int i = 0; i < SPINS; i++)
			if (gq_pending(q))
				return 0;
		if (gq_error(q))
			return -EIO;
		if (!left(end))
			return -ETIMEDOUT;
		sched_yield();
	}
}

static int wait_sleeping(struct guest_queue *q, int64_t end)
{
	struct pollfd p[] = {
		{ .fd = q->call_fd, .events = POLLIN },
		{ .fd = q->err_fd, .events = POLLIN },
	};
	int ret = 0;

	gq_calls(q, true);
	while (!gq_pending(q)) {
		uint64_t n;
		int got = poll(p, 2, left(end));

		q->count.waits++;
		if (got < 0 && errno != EINTR) {
			ret = -errno;
			break;
		}
		if (p[0].revents && read(q->call_fd, &n, sizeof(n)) == sizeof(n))
			q->count.calls += n;
		if (p[1].revents) {
			ret = -EIO;
			break;
		}
		if (!got && !gq_pending(q)) {
			ret = -ETIMEDOUT;
			break;
		}
	}
	gq_calls(q, false);
	return ret;
}

int gq_wait(struct guest_queue *q, int timeout_ms)
{
	int64_t end;

	if (gq_pending(q))
		return 0;
	end = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	return q->irq ? wait_sleeping(q, end) : wait_spinning(q, end);
}
