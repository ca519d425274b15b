// SPDX-License-Identifier: GPL-2.0
/* A guest without a guest: its queues, towards the device.  See guest.h */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
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
	uint64_t desc, driver, device;
	size_t desc_len = q->num * sizeof(struct vring_desc);
	size_t driver_len = q->packed ? sizeof(*q->driver) : gq_avail_size(q->num);
	size_t device_len = q->packed ? sizeof(*q->device) : gq_used_size(q->num);
	int ret;

	/* Alignment beyond what virtio asks for: a cache line of its own for each */
	ret = guest_alloc(g, desc_len, 64, &desc);
	if (!ret)
		ret = guest_alloc(g, driver_len, 64, &driver);
	if (!ret)
		ret = guest_alloc(g, device_len, 64, &device);
	if (ret)
		return ret;
	gq_move(q, (void *const[]){ guest_ptr(g, desc, desc_len), guest_ptr(g, driver, driver_len),
				    guest_ptr(g, device, device_len) });
	q->addr.index = q->index;
	g->ops->ring_addr(q, desc, driver, device);
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
		.packed = g->features & (1ULL << VIRTIO_F_RING_PACKED),
		.in_order = g->features & (1ULL << VIRTIO_F_IN_ORDER),
		.event_idx = g->features & (1ULL << VIRTIO_RING_F_EVENT_IDX),
		.indirect = g->features & (1ULL << VIRTIO_RING_F_INDIRECT_DESC),
		.irq = true,
		.wait_fd = -1,
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
	if (q->wait_fd >= 0)
		close(q->wait_fd);
	if (q->packed)
		free(q->desc);
	free(q->descs);
	free(q->order);
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

int guest_queue_switch(struct guest_queue *q, int fd)
{
	if (q->guest->ops == &guest_ops_vdpa)
		return guest_queue_enable(q, fd >= 0);
	return guest_queue_backend(q, fd);
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

void gq_count_calls(struct guest_queue *q)
{
	uint64_t n;

	if (read(q->call_fd, &n, sizeof(n)) == sizeof(n))
		q->count.calls += n;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int wait_spinning(struct guest_queue *q, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;

	for (;;) {
		for (int i = 0; i < SPINS; i++)
			if (gq_pending(q))
				return 0;
		if (gq_error(q))
			return -EIO;
		if (timeout_ms >= 0 && now_ms() >= end)
			return -ETIMEDOUT;
		sched_yield();
	}
}

/*
 * A sleep costs one system call: calls are edges, which need not be read from the eventfd before
 * the next one is waited for.  An error stays.
 */
static int make_wait_fd(struct guest_queue *q)
{
	struct epoll_event call = { .events = EPOLLIN | EPOLLET, .data.fd = q->call_fd };
	struct epoll_event err = { .events = EPOLLIN, .data.fd = q->err_fd };
	int fd = epoll_create1(EPOLL_CLOEXEC), ret = 0;

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, q->call_fd, &call) ||
	    epoll_ctl(fd, EPOLL_CTL_ADD, q->err_fd, &err))
		ret = guest_fail(q->guest, -errno, "epoll of queue %u", q->index);
	if (!ret)
		q->wait_fd = fd;
	else if (fd >= 0)
		close(fd);
	return ret;
}

/* Sleep until a call, an error or the end */
static int wait_event(struct guest_queue *q, int timeout_ms)
{
	struct epoll_event ev[2];
	int n = epoll_wait(q->wait_fd, ev, 2, timeout_ms);

	q->count.waits++;
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		if (ev[i].data.fd == q->err_fd)
			return -EIO;
	return n || gq_pending(q) ? 0 : -ETIMEDOUT;
}

static int wait_sleeping(struct guest_queue *q, int timeout_ms)
{
	int left = timeout_ms, ret = 0;
	int64_t end = -1;

	if (q->wait_fd < 0)
		ret = make_wait_fd(q);
	if (ret)
		return ret;
	gq_calls(q, true);
	while (!gq_pending(q)) {
		ret = wait_event(q, left);
		if (ret || gq_pending(q))
			break;
		/* an early call; as a rule there is none, and no clock is read */
		if (timeout_ms > 0) {
			int64_t now = now_ms();

			if (end < 0)
				end = now + timeout_ms;
			left = end > now ? end - now : 0;
		}
	}
	gq_calls(q, false);
	return ret;
}

int gq_wait(struct guest_queue *q, int timeout_ms)
{
	if (gq_pending(q))
		return 0;
	return q->irq ? wait_sleeping(q, timeout_ms) : wait_spinning(q, timeout_ms);
}
