// SPDX-License-Identifier: GPL-2.0
/*
 * What the driver is to be told arrives, whatever the eventfd was when it happened, and in whatever
 * order a client sets it up.
 *
 * The driver here looks at its ring when it is called, and only then.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* What comes at all comes at once; ms */
#define SOON	5000
/* Chains that wait for a start */
#define WAITING	3

static int fresh(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* How often it was signalled since the last time */
static uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static bool signalled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, SOON) == 1;
}

static int set_call(struct dut *d, unsigned int qi, int fd)
{
	return vring_file(d->g->fd, VHOST_SET_VRING_CALL, qi, fd);
}

/* A chain, and for queue RX a packet for it; the device is not kicked */
static int add(struct dut *d, unsigned int qi)
{
	unsigned char frame[60];

	make_frame(frame, sizeof(frame), 0, false);
	return dut_add(d, qi) ?:
	       d->kind == DUT_NET && qi == RX ? dut_send(d, frame, sizeof(frame)) : 0;
}

/* @n chains are available, and the driver waits to be called */
static int put(struct dut *d, unsigned int qi, unsigned int n)
{
	int ret = 0;

	while (!ret && n--)
		ret = add(d, qi);
	gq_calls(d->q[qi], true);
	gq_publish(d->q[qi]);
	return ret;
}

/* The device has published all that it was given */
static int settled(struct dut *d, unsigned int qi)
{
	struct guest_queue *q = d->q[qi];
	int64_t end = now_ms() + SOON;

	while (gq_used_idx(q) != q->avail_shown) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		sleep_ms(1);
	}
	return 0;
}

static int collect(struct guest_queue *q)
{
	uint32_t len;
	void *token;
	int ret = 0;

	do {
		while (!ret && gq_pending(q))
			ret = gq_get(q, &token, &len);
		gq_calls(q, true);
	} while (!ret && gq_pending(q));
	return ret;
}

/* The driver collects all that is in flight, and looks only when it was called by @fd */
static int served(struct dut *d, unsigned int qi, int fd)
{
	struct guest_queue *q = d->q[qi];
	int ret = 0;

	while (!ret && gq_in_flight(q)) {
		if (!signalled(fd))
			return -ETIMEDOUT;
		signals(fd);
		ret = collect(q);
	}
	return ret;
}

/* One more, with all that belongs to it */
static int one_more(struct dut *d, unsigned int qi, int fd)
{
	signals(fd);
	return put(d, qi, 1) ?: gq_kick(d->q[qi]) ?: served(d, qi, fd);
}

/* ---- the orders of clients ---- */

enum step {
	END,
	STATUS_DRIVER, FEATURES, FEATURES_OK, DRIVER_OK, STATUS_0,
	MEMORY, NO_MEMORY, SUSPEND,
	NUM, BASE, ADDR, KICK, ENABLE, DISABLE, GET_BASE, BASE_IS_USED,
	MASKED, CALL, ERR, CONFIG_CALL, NO_CONFIG_CALL,
	BACKEND, NO_BACKEND,
};

FIXTURE(client) {
	struct dut d;
	int masked, config, call[2], kick[2];
};

/* @open: once; @start, @stop: of the machine, any number of times */
FIXTURE_VARIANT(client) {
	enum dut_kind kind;
	bool event_idx;
	enum step open[20], start[20], stop[20];
};

#define QEMU_VHOST_OPEN		MASKED, ERR
#define QEMU_VHOST_START	CALL, FEATURES, MEMORY, NUM, BASE, ADDR, KICK, BACKEND
/* The guest has the vector masked until it has started */
#define QEMU_MASK_START		MASKED, FEATURES, MEMORY, NUM, BASE, ADDR, KICK, BACKEND, CALL
#define QEMU_VHOST_STOP		NO_BACKEND, GET_BASE
#define QEMU_MASK_OPEN		QEMU_VHOST_OPEN
#define QEMU_MASK_STOP		QEMU_VHOST_STOP

#define DPDK_OPEN		END
#define DPDK_START		CALL, FEATURES, MEMORY, NUM, BASE, ADDR, KICK, BACKEND
#define DPDK_STOP		NO_BACKEND, GET_BASE

#define QEMU_10_0_OPEN		STATUS_DRIVER, MASKED
#define QEMU_10_0_START		FEATURES, FEATURES_OK, NUM, BASE, ADDR, KICK, ENABLE, MEMORY,	\
				DRIVER_OK, CONFIG_CALL, CALL
#define QEMU_10_0_STOP		SUSPEND, GET_BASE, STATUS_0, STATUS_DRIVER, NO_MEMORY,		\
				NO_CONFIG_CALL, MASKED

#define QEMU_11_1_OPEN		STATUS_DRIVER, MEMORY, MASKED
#define QEMU_11_1_START		FEATURES, FEATURES_OK, NUM, BASE, ADDR, KICK, ENABLE,		\
				DRIVER_OK, CONFIG_CALL, CALL
#define QEMU_11_1_STOP		SUSPEND, GET_BASE, STATUS_0, NO_CONFIG_CALL, NO_MEMORY, MEMORY

#define LIBBLKIO_OPEN		STATUS_0
#define LIBBLKIO_START		STATUS_DRIVER, FEATURES, FEATURES_OK, MEMORY, NUM, BASE, ADDR,	\
				KICK, CALL, ENABLE, DRIVER_OK
#define LIBBLKIO_STOP		NO_MEMORY, STATUS_0, BASE_IS_USED

#define CH_OPEN			MEMORY
#define CH_START		FEATURES, NUM, ADDR, BASE, CALL, KICK, CONFIG_CALL, ENABLE,	\
				FEATURES_OK, DRIVER_OK
#define CH_STOP			DISABLE, STATUS_0, BASE_IS_USED, MEMORY

#define CLIENT(_name, _kind, _who)								\
FIXTURE_VARIANT_ADD(client, _name) {								\
	.kind = _kind, .event_idx = true,							\
	.open = { _who##_OPEN }, .start = { _who##_START }, .stop = { _who##_STOP },		\
};												\
FIXTURE_VARIANT_ADD(client, _name##_flags) {							\
	.kind = _kind,										\
	.open = { _who##_OPEN }, .start = { _who##_START }, .stop = { _who##_STOP },		\
}

CLIENT(qemu_net, DUT_NET, QEMU_VHOST);
CLIENT(qemu_net_unmask, DUT_NET, QEMU_MASK);
CLIENT(dpdk, DUT_NET, DPDK);
CLIENT(qemu_blk, DUT_BLK, QEMU_VHOST);
CLIENT(qemu_blk_unmask, DUT_BLK, QEMU_MASK);
CLIENT(qemu_10_0, DUT_VDPA, QEMU_10_0);
CLIENT(qemu_11_1, DUT_VDPA, QEMU_11_1);
CLIENT(libblkio, DUT_VDPA, LIBBLKIO);
CLIENT(cloud_hypervisor, DUT_VDPA, CH);

static int status(struct dut *d, uint8_t bits)
{
	uint8_t s = 0;
	int ret = xioctl(d->g->fd, VHOST_VDPA_GET_STATUS, &s);

	s |= bits;
	return ret ?: xioctl(d->g->fd, VHOST_VDPA_SET_STATUS, &s);
}

static int message(struct dut *d, uint8_t type, struct guest_region *r)
{
	struct vhost_msg_v2 m = { .type = VHOST_IOTLB_MSG_V2, .iotlb = {
		.type = type, .iova = r->gpa, .size = r->size, .uaddr = (uintptr_t)r->hva,
		.perm = type == VHOST_IOTLB_UPDATE ? VHOST_ACCESS_RW : 0,
	} };

	return write(d->g->fd, &m, sizeof(m)) == sizeof(m) ? 0 : -errno;
}

static int all_memory(struct dut *d, uint8_t type)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < d->g->nregions; i++)
		ret = message(d, type, &d->g->region[i]);
	return ret;
}

static int of_device(FIXTURE_DATA(client) *self, enum step step)
{
	struct dut *d = &self->d;
	int fd = d->g->fd;

	switch (step) {
	case STATUS_DRIVER:
		return status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	case FEATURES:
		return xioctl(fd, VHOST_SET_FEATURES, &d->g->features);
	case FEATURES_OK:
		return status(d, VIRTIO_CONFIG_S_FEATURES_OK);
	case DRIVER_OK:
		return status(d, VIRTIO_CONFIG_S_DRIVER_OK);
	case STATUS_0:
		return xioctl(fd, VHOST_VDPA_SET_STATUS, &(uint8_t){ 0 });
	case MEMORY:
		return d->kind != DUT_VDPA ? guest_commit(d->g) : all_memory(d, VHOST_IOTLB_UPDATE);
	case NO_MEMORY:
		return all_memory(d, VHOST_IOTLB_INVALIDATE);
	case SUSPEND:
		return xioctl(fd, VHOST_VDPA_SUSPEND, NULL);
	case CONFIG_CALL:
		return xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &self->config);
	case NO_CONFIG_CALL:
		return xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &(int){ -1 });
	default:
		return -ENOSYS;
	}
}

static int of_queue(FIXTURE_DATA(client) *self, enum step step, unsigned int qi)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[qi];
	int fd = d->g->fd;

	switch (step) {
	case NUM:
		return guest_queue_num(q);
	case BASE:
		return guest_queue_base(q);
	case ADDR:
		return guest_queue_addr(q);
	case KICK:
		return vring_file(fd, VHOST_SET_VRING_KICK, qi, q->kick_fd);
	case ENABLE:
		return guest_queue_enable(q, true);
	case DISABLE:
		return guest_queue_enable(q, false);
	case GET_BASE:
		return guest_queue_get_base(q);
	/* of a client that does not ask, or only after the reset */
	case BASE_IS_USED:
		q->base = gq_base(q);
		return 0;
	case MASKED:
		return set_call(d, qi, self->masked);
	case CALL:
		return set_call(d, qi, self->call[qi]);
	case ERR:
		return vring_file(fd, VHOST_SET_VRING_ERR, qi, q->err_fd);
	case BACKEND:
		return guest_queue_backend(q, d->backend);
	case NO_BACKEND:
		return guest_queue_backend(q, -1);
	default:
		return of_device(self, step);
	}
}

/* In slow motion: what a start leads to is over before the next step */
static int steps(FIXTURE_DATA(client) *self, const enum step *step)
{
	int ret = 0;

	for (; !ret && *step != END; step++) {
		if (*step >= NUM && *step != CONFIG_CALL && *step != NO_CONFIG_CALL) {
			for (unsigned int qi = 0; !ret && qi < 2; qi++)
				ret = of_queue(self, *step, qi);
		} else {
			ret = of_device(self, *step);
		}
		for (unsigned int qi = 0; !ret && qi < 2; qi++)
			if (*step == DRIVER_OK || *step == BACKEND)
				ret = settled(&self->d, qi);
		if (ret)
			printf("# step %d: %s\n", *step, strerror(-ret));
	}
	return ret;
}

/* As a VMM: eventfds of its own for each start, the old ones are of no interest any more */
static void new_calls(FIXTURE_DATA(client) *self)
{
	for (unsigned int qi = 0; qi < 2; qi++) {
		if (self->call[qi] >= 0)
			close(self->call[qi]);
		self->call[qi] = fresh();
	}
}

FIXTURE_SETUP(client)
{
	struct dut_opts opts = {
		.refuse = variant->event_idx ? 0 : BIT(VIRTIO_RING_F_EVENT_IDX), .stopped = true,
	};

	self->masked = fresh();
	self->config = fresh();
	self->call[0] = self->call[1] = -1;
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	ASSERT_EQ(variant->event_idx, self->d.q[0]->event_idx);
	new_calls(self);
	if (variant->kind == DUT_VDPA) {
		ASSERT_EQ(0, of_device(self, STATUS_0));
	}
	ASSERT_EQ(0, steps(self, variant->open));
}

FIXTURE_TEARDOWN(client)
{
	dut_close(&self->d);
	close(self->call[0]);
	close(self->call[1]);
	close(self->masked);
	close(self->config);
}

/* Chains wait for the start: they are completed before or after the eventfd is what it stays */
TEST_F(client, waiting_at_start)
{
	struct dut *d = &self->d;

	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int qi = 0; qi < 2; qi++) {
			ASSERT_EQ(0, put(d, qi, WAITING));
		}
		ASSERT_EQ(0, steps(self, variant->start));
		for (unsigned int qi = 0; qi < 2; qi++) {
			ASSERT_EQ(0, served(d, qi, self->call[qi]))
				TH_LOG("start %u, queue %u", round, qi);
			ASSERT_EQ(0, one_more(d, qi, self->call[qi]))
				TH_LOG("start %u, queue %u, one more", round, qi);
		}
		ASSERT_EQ(0, steps(self, variant->stop));
		new_calls(self);
	}
}

/* Completed and told before the stop, but the driver does not come to look before the next start */
TEST_F(client, told_before_stop)
{
	struct dut *d = &self->d;

	for (unsigned int round = 0; round < 5; round++) {
		ASSERT_EQ(0, steps(self, variant->start));
		for (unsigned int qi = 0; qi < 2; qi++) {
			ASSERT_EQ(0, served(d, qi, self->call[qi]))
				TH_LOG("start %u, queue %u", round, qi);
			ASSERT_EQ(0, one_more(d, qi, self->call[qi]))
				TH_LOG("start %u, queue %u, one more", round, qi);
			ASSERT_EQ(0, put(d, qi, 1 + round));
			ASSERT_EQ(0, gq_kick(d->q[qi]));
			ASSERT_EQ(0, settled(d, qi));
		}
		ASSERT_EQ(0, steps(self, variant->stop));
		new_calls(self);
	}
}

/* ---- one eventfd after the other ---- */

FIXTURE(notify) {
	struct dut d;
	int a, b, c;
};

FIXTURE_VARIANT(notify) {
	enum dut_kind kind;
	unsigned int qi;
	bool event_idx;
};

FIXTURE_VARIANT_ADD(notify, net_rx) { .kind = DUT_NET, .qi = RX, .event_idx = true };
FIXTURE_VARIANT_ADD(notify, net_rx_flags) { .kind = DUT_NET, .qi = RX };
FIXTURE_VARIANT_ADD(notify, net_tx) { .kind = DUT_NET, .qi = TX, .event_idx = true };
FIXTURE_VARIANT_ADD(notify, net_tx_flags) { .kind = DUT_NET, .qi = TX };
FIXTURE_VARIANT_ADD(notify, blk) { .kind = DUT_BLK, .qi = 1, .event_idx = true };
FIXTURE_VARIANT_ADD(notify, blk_flags) { .kind = DUT_BLK, .qi = 1 };
FIXTURE_VARIANT_ADD(notify, vdpa) { .kind = DUT_VDPA, .qi = 1, .event_idx = true };
FIXTURE_VARIANT_ADD(notify, vdpa_flags) { .kind = DUT_VDPA, .qi = 1 };

FIXTURE_SETUP(notify)
{
	struct dut_opts opts = {
		.refuse = variant->event_idx ? 0 : BIT(VIRTIO_RING_F_EVENT_IDX),
	};

	self->a = fresh();
	self->b = fresh();
	self->c = fresh();
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	ASSERT_EQ(0, set_call(&self->d, variant->qi, self->a));
	ASSERT_EQ(0, one_more(&self->d, variant->qi, self->a));
}

FIXTURE_TEARDOWN(notify)
{
	dut_close(&self->d);
	close(self->a);
	close(self->b);
	close(self->c);
}

/* Completed and told, and the driver has not heard of it */
static int unheard(struct dut *d, unsigned int qi)
{
	return put(d, qi, 2) ?: gq_kick(d->q[qi]) ?: settled(d, qi);
}

TEST_F(notify, replaced)
{
	struct dut *d = &self->d;
	unsigned int qi = variant->qi;

	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_EQ(0, unheard(d, qi));
		ASSERT_EQ(0, set_call(d, qi, self->b));
		ASSERT_EQ(0, served(d, qi, self->b));
		ASSERT_EQ(0, one_more(d, qi, self->b));
		/* and by one that has been there before */
		ASSERT_EQ(0, unheard(d, qi));
		signals(self->a);
		ASSERT_EQ(0, set_call(d, qi, self->a));
		ASSERT_EQ(0, served(d, qi, self->a));
		ASSERT_EQ(0, one_more(d, qi, self->a));
		/* nobody looks at the second one */
		ASSERT_EQ(0, unheard(d, qi));
		ASSERT_EQ(0, set_call(d, qi, self->b));
		ASSERT_EQ(0, set_call(d, qi, self->c));
		ASSERT_EQ(0, served(d, qi, self->c));
		ASSERT_EQ(0, set_call(d, qi, self->a));
	}
}

TEST_F(notify, removed)
{
	struct dut *d = &self->d;
	unsigned int qi = variant->qi;

	for (unsigned int i = 0; i < 5; i++) {
		/* before, */
		ASSERT_EQ(0, unheard(d, qi));
		ASSERT_EQ(0, set_call(d, qi, -1));
		signals(self->a);
		ASSERT_EQ(0, set_call(d, qi, self->a));
		ASSERT_EQ(0, served(d, qi, self->a));
		/* and while there was none */
		ASSERT_EQ(0, set_call(d, qi, -1));
		ASSERT_EQ(0, unheard(d, qi));
		ASSERT_EQ(0, set_call(d, qi, i % 2 ? self->b : self->a));
		ASSERT_EQ(0, served(d, qi, i % 2 ? self->b : self->a));
		ASSERT_EQ(0, set_call(d, qi, self->a));
		ASSERT_EQ(0, one_more(d, qi, self->a));
	}
}

/*
 * A vector that is masked and unmasked, perhaps in each interrupt: an eventfd and another one, back
 * and forth.  Calls for nothing would be an interrupt each, and not end
 */
TEST_F(notify, nothing_new)
{
	struct dut *d = &self->d;
	unsigned int qi = variant->qi;
	uint64_t calls = 0;

	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, set_call(d, qi, self->b));
		calls += signals(self->b);
		ASSERT_EQ(0, set_call(d, qi, self->a));
		calls += signals(self->a);
	}
	/* without an event index nobody knows what the driver saw */
	EXPECT_GE(variant->event_idx ? 0 : 2, calls);
	ASSERT_EQ(0, one_more(d, qi, self->a));
	/* a driver that looks by itself wants none at all; the index of the entry before says "none", too */
	ASSERT_EQ(0, unheard(d, qi));
	signals(self->a);
	if (variant->event_idx && !d->q[qi]->packed)
		d->q[qi]->avail->ring[d->q[qi]->num] = htole16(gq_used_idx(d->q[qi]));
	else
		gq_calls(d->q[qi], false);
	ASSERT_EQ(0, set_call(d, qi, self->b));
	ASSERT_EQ(0, set_call(d, qi, -1));
	ASSERT_EQ(0, set_call(d, qi, self->c));
	EXPECT_EQ(0, signals(self->b) + signals(self->c));
	ASSERT_EQ(0, collect(d->q[qi]));
	ASSERT_EQ(0, one_more(d, qi, self->c));
}

/* While the queue is stopped nothing can be told: the start does it */
TEST_F(notify, replaced_while_stopped)
{
	struct dut *d = &self->d;
	unsigned int qi = variant->qi;

	for (unsigned int i = 0; i < 4; i++) {
		ASSERT_EQ(0, unheard(d, qi));
		ASSERT_EQ(0, dut_stop(d));
		if (i & 1) {
			close(d->q[qi]->call_fd);
			d->q[qi]->call_fd = fresh();
		}
		signals(d->q[qi]->call_fd);
		/* which also sets the eventfd */
		ASSERT_EQ(0, dut_start(d));
		ASSERT_EQ(0, served(d, qi, d->q[qi]->call_fd));
		ASSERT_EQ(0, one_more(d, qi, d->q[qi]->call_fd));
	}
}

static int other_stop(struct dut *d, struct guest_queue *q, unsigned int how)
{
	return how == 0 ? xioctl(d->g->fd, VHOST_VDPA_SUSPEND, NULL) :
	       how == 1 ? guest_queue_enable(q, false) : all_memory(d, VHOST_IOTLB_INVALIDATE);
}

static int other_start(struct dut *d, struct guest_queue *q, unsigned int how)
{
	return how == 0 ? xioctl(d->g->fd, VHOST_VDPA_RESUME, NULL) :
	       how == 1 ? guest_queue_enable(q, true) : all_memory(d, VHOST_IOTLB_UPDATE);
}

/* The vhost-vDPA dialect has more that stops and starts a queue, and none of it sets eventfds */
TEST_F(notify, other_stops)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[variant->qi];
	unsigned int qi = variant->qi;

	if (variant->kind != DUT_VDPA)
		SKIP(return, "the vhost dialect has none of these");
	for (unsigned int i = 0; i < 6; i++) {
		ASSERT_EQ(0, unheard(d, qi));
		ASSERT_EQ(0, other_stop(d, q, i % 3));
		EXPECT_TRUE(queue_is(d->g->fd, qi, i % 3 == 2 ? "unmapped" : "stopped"));
		/* to another one, or to the same */
		if (i >= 3) {
			ASSERT_EQ(0, set_call(d, qi, self->b));
		}
		signals(self->a);
		ASSERT_EQ(0, other_start(d, q, i % 3));
		ASSERT_EQ(0, served(d, qi, i >= 3 ? self->b : self->a));
		ASSERT_EQ(0, set_call(d, qi, self->a));
		ASSERT_EQ(0, one_more(d, qi, self->a));
	}
}

TEST_HARNESS_MAIN
