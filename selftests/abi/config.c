// SPDX-License-Identifier: GPL-2.0
/*
 * What is told besides calls: the config call of the vhost-vDPA dialect, NEEDS_RESET, and the error
 * eventfd. Set when there is something to tell already, replaced, removed and set again.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* ms */
#define SOON	5000

#define OK	0x0f
#define BROKEN	(OK | VIRTIO_CONFIG_S_NEEDS_RESET)

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

static int config_call(struct dut *d, int fd)
{
	return xioctl(d->g->fd, VHOST_VDPA_SET_CONFIG_CALL, &fd);
}

static int resize(struct dut *d, uint64_t mib)
{
	return ftruncate(d->backend, mib << 20) ? -errno :
	       xioctl(d->g->fd, VHL_BLK_RESIZE, NULL);
}

static int set_status(struct dut *d, uint8_t status)
{
	return xioctl(d->g->fd, VHOST_VDPA_SET_STATUS, &status);
}

static int get_status(struct dut *d)
{
	uint8_t status = 0xaa;
	int ret = xioctl(d->g->fd, VHOST_VDPA_GET_STATUS, &status);

	return ret ? ret : status;
}

/* A head that the ring does not have */
static int break_queue(struct dut *d, unsigned int qi)
{
	struct guest_queue *q = d->q[qi];

	gq_push(q, q->num);
	gq_publish(q);
	return dut_poke(d, qi) ?: wait_queue_is(d->g->fd, qi, "broken", SOON) ? 0 : -ETIMEDOUT;
}

/* ---- the config call ---- */

FIXTURE(config) {
	struct dut d;
	int a, b, c;
};

FIXTURE_SETUP(config)
{
	self->a = fresh();
	self->b = fresh();
	self->c = fresh();
	ASSERT_EQ(0, dut_open(&self->d, DUT_VDPA, NULL));
}

FIXTURE_TEARDOWN(config)
{
	dut_close(&self->d);
	close(self->a);
	close(self->b);
	close(self->c);
}

/* Nothing changed: nobody is told, whatever is set */
TEST_F(config, unchanged)
{
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, config_call(d, self->a));
		ASSERT_EQ(0, config_call(d, self->b));
		ASSERT_EQ(0, config_call(d, -1));
		EXPECT_EQ(0, resize(d, 4));
	}
	EXPECT_EQ(0, signals(self->a) + signals(self->b));
}

/* Resized while there is none */
TEST_F(config, set_late)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, resize(d, 5));
	ASSERT_EQ(0, config_call(d, self->a));
	EXPECT_EQ(1, signals(self->a));
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, config_call(d, -1));
		ASSERT_EQ(0, resize(d, 6 + i));
		ASSERT_EQ(0, config_call(d, i & 1 ? self->a : self->b));
		EXPECT_EQ(1, signals(i & 1 ? self->a : self->b));
	}
}

/* Stop and cont of QEMU: there is none from the one to after the DRIVER_OK of the other */
TEST_F(config, resized_while_stopped)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, config_call(d, self->a));
	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, config_call(d, -1));
	ASSERT_EQ(0, resize(d, 5));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, config_call(d, self->b));
	EXPECT_EQ(1, signals(self->b));
	EXPECT_EQ(0, signals(self->a));
	EXPECT_EQ(0, dut_units(d, 1, 3));
}

/* Told by one that nobody reads any more */
TEST_F(config, replaced)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, config_call(d, self->a));
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, resize(d, 5 + i));
		EXPECT_EQ(1, signals(self->a));
		ASSERT_EQ(0, config_call(d, self->b));
		EXPECT_EQ(1, signals(self->b));
		ASSERT_EQ(0, config_call(d, self->c));
		EXPECT_EQ(1, signals(self->c));
		ASSERT_EQ(0, config_call(d, self->a));
		signals(self->a);
	}
}

/* A vector that is masked and unmasked is not called each time */
TEST_F(config, alternating)
{
	struct dut *d = &self->d;
	uint64_t n = 0;

	ASSERT_EQ(0, config_call(d, self->a));
	ASSERT_EQ(0, resize(d, 5));
	EXPECT_EQ(1, signals(self->a));
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, config_call(d, self->b));
		n += signals(self->b);
		ASSERT_EQ(0, config_call(d, self->a));
		ASSERT_EQ(0, config_call(d, self->a));
		n += signals(self->a);
	}
	EXPECT_EQ(1, n);
	/* news are told by both */
	ASSERT_EQ(0, config_call(d, self->b));
	ASSERT_EQ(0, resize(d, 6));
	EXPECT_EQ(1, signals(self->b));
	ASSERT_EQ(0, config_call(d, self->a));
	EXPECT_EQ(1, signals(self->a));
}

/* ---- the mode of the cache ---- */

#define WCE	offsetof(struct virtio_blk_config, wce)

static int set_config(struct dut *d, uint32_t off, const void *p, uint32_t len)
{
	unsigned char arg[8 + 64];
	struct vhost_vdpa_config *c = (void *)arg;

	c->off = off;
	c->len = len;
	memcpy(c->buf, p, len);
	return xioctl(d->g->fd, VHOST_VDPA_SET_CONFIG, c);
}

static int set_mode(struct dut *d, uint8_t mode)
{
	return set_config(d, WCE, &mode, 1);
}

static int get_mode(struct dut *d)
{
	uint8_t mode = 0xaa;
	int ret = guest_config(d->g, WCE, &mode, 1);

	return ret ? ret : mode;
}

TEST_F(config, mode)
{
	struct dut *d = &self->d;
	uint8_t mode;

	EXPECT_NE(0, d->g->features & BIT(VIRTIO_BLK_F_CONFIG_WCE));
	EXPECT_EQ(1, get_mode(d));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(0, set_mode(d, 0));
		EXPECT_EQ(0, get_mode(d));
		EXPECT_EQ(0, set_mode(d, 0));
		for (unsigned int k = 2; k < 256; k += 23) {
			mode = k;
			EXPECT_EQ(-EINVAL, set_mode(d, mode));
			EXPECT_EQ(0, get_mode(d));
		}
		EXPECT_EQ(0, dut_units(d, 0, 3));
		EXPECT_EQ(0, set_mode(d, 1));
		EXPECT_EQ(1, get_mode(d));
		EXPECT_EQ(0, dut_units(d, 0, 3));
	}
}

/* With all other fields, as VMMs write them: as they are, or it is refused as a whole */
TEST_F(config, mode_and_more)
{
	struct dut *d = &self->d;
	unsigned char c[60], was[60];

	ASSERT_EQ(0, guest_config(d->g, 0, was, 60));
	for (unsigned int i = 0; i < 60; i++) {
		memcpy(c, was, 60);
		c[WCE] = 0;
		c[i] ^= i == WCE ? 0 : 1;
		EXPECT_EQ(i == WCE ? 0 : -EOPNOTSUPP, set_config(d, 0, c, 60)) TH_LOG("byte %u", i);
		EXPECT_EQ(i != WCE, get_mode(d));
		ASSERT_EQ(0, set_mode(d, 1));
	}
	/* a part of it */
	memcpy(c, was, 60);
	c[WCE] = 0;
	EXPECT_EQ(0, set_config(d, WCE - 1, c + WCE - 1, 3));
	EXPECT_EQ(0, get_mode(d));
	EXPECT_EQ(0, set_config(d, 0, was, 60));
	EXPECT_EQ(1, get_mode(d));
	/* what was read before it became another size */
	ASSERT_EQ(0, resize(d, 5));
	EXPECT_EQ(-EOPNOTSUPP, set_config(d, 0, c, 60));
	EXPECT_EQ(1, get_mode(d));
}

/* What the driver set stays until it resets the device */
TEST_F(config, mode_stays)
{
	struct dut *d = &self->d;
	uint64_t features = d->g->features;

	ASSERT_EQ(0, set_mode(d, 0));
	ASSERT_EQ(0, guest_queue_enable(d->q[1], false));
	EXPECT_EQ(0, get_mode(d));
	ASSERT_EQ(0, guest_queue_program(d->q[1]));
	ASSERT_EQ(0, guest_queue_enable(d->q[1], true));
	EXPECT_EQ(0, get_mode(d));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_SUSPEND, NULL));
	EXPECT_EQ(0, get_mode(d));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_RESUME, NULL));
	EXPECT_EQ(0, get_mode(d));
	EXPECT_EQ(0, dut_units(d, 1, 3));
	/* stop and cont of QEMU: a reset that the driver does not know of, and another */
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_SUSPEND, NULL));
	ASSERT_EQ(0, set_status(d, 0));
	/* who asks before there are features is told what is there at least */
	EXPECT_EQ(1, get_mode(d));
	ASSERT_EQ(0, set_status(d, 0));
	ASSERT_EQ(0, set_status(d, 3));
	ASSERT_EQ(0, guest_set_features(d->g, features));
	EXPECT_EQ(0, get_mode(d));
	ASSERT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, set_status(d, OK));
	EXPECT_EQ(0, get_mode(d));
	/* one that it does */
	ASSERT_EQ(0, set_status(d, 0));
	ASSERT_EQ(0, set_status(d, 3));
	ASSERT_EQ(0, guest_set_features(d->g, features));
	EXPECT_EQ(1, get_mode(d));
}

/* A driver that did not take it, and one that cannot flush */
TEST_F(config, mode_not_taken)
{
	struct dut_opts opts = { .refuse = BIT(VIRTIO_BLK_F_CONFIG_WCE) };
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < 2; i++) {
		dut_close(d);
		ASSERT_EQ(0, dut_open(d, DUT_VDPA, &opts));
		EXPECT_EQ(1, get_mode(d));
		EXPECT_EQ(0, set_mode(d, 1));
		EXPECT_EQ(-EOPNOTSUPP, set_mode(d, 0));
		EXPECT_EQ(1, get_mode(d));
		opts.refuse |= BIT(VIRTIO_BLK_F_FLUSH);
	}
	dut_close(d);
	opts.refuse = BIT(VIRTIO_BLK_F_FLUSH);
	ASSERT_EQ(0, dut_open(d, DUT_VDPA, &opts));
	EXPECT_EQ(0, get_mode(d));
	EXPECT_EQ(0, set_mode(d, 1));
	EXPECT_EQ(1, get_mode(d));
}

/* In the vhost dialect the config space is the VMM's */
TEST(mode_of_a_vmm)
{
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, DUT_BLK, &(struct dut_opts){ .early = true }));
	EXPECT_EQ(0, d.g->features & BIT(VIRTIO_BLK_F_CONFIG_WCE));
	dut_close(&d);
}

/* Read while it changes: this size or that, and never some of each */
static void *resizes(void *arg)
{
	struct mover *m = arg;

	while (!m->err && !atomic_load(&m->stop)) {
		/* in sectors, all of the bytes that differ do */
		m->err = resize(m->d, atomic_fetch_add(&m->done, 1) % 2 ? 0x10101 : 0x202);
	}
	return NULL;
}

TEST_F(config, never_torn)
{
	struct mover m = { .d = &self->d };
	unsigned int seen[2] = { 0 };
	int64_t end = now_ms() + many(1000);

	ASSERT_EQ(0, pthread_create(&m.thread, NULL, resizes, &m));
	while (now_ms() < end) {
		uint64_t sectors = 0;

		ASSERT_EQ(0, guest_config(self->d.g, 0, &sectors, 8));
		if (sectors == 0x2000 || !atomic_load(&m.done))
			continue;
		ASSERT_TRUE(sectors == 0x10101ULL << 11 || sectors == 0x202ULL << 11)
			TH_LOG("%#llx sectors", (unsigned long long)sectors);
		seen[sectors == 0x202ULL << 11]++;
		sched_yield();
		ASSERT_EQ(0, dut_unit(&self->d, 0));
	}
	EXPECT_EQ(0, mover_stop(&m));
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
}

/* ---- NEEDS_RESET ---- */

TEST_F(config, needs_reset)
{
	struct dut *d = &self->d;
	struct dev_info info;

	ASSERT_EQ(0, config_call(d, self->a));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(OK, get_status(d));
		signals(self->a);
		ASSERT_EQ(0, break_queue(d, 1));
		EXPECT_EQ(BROKEN, get_status(d));
		EXPECT_EQ(1, signals(self->a));
		ASSERT_EQ(0, get_info(d->g->fd, &info));
		EXPECT_EQ(BROKEN, info.status);
		/* the other one goes on, and may break, too */
		ASSERT_EQ(0, dut_units(d, 0, 3));
		ASSERT_EQ(0, break_queue(d, 0));
		EXPECT_EQ(1, signals(self->a));
		/* a stop and start of the queue is no reset */
		ASSERT_EQ(0, guest_queue_enable(d->q[1], false));
		EXPECT_EQ(BROKEN, get_status(d));
		ASSERT_EQ(0, set_status(d, 0));
		EXPECT_EQ(0, get_status(d));
		ASSERT_EQ(0, dut_restart(d));
		EXPECT_EQ(0, dut_units(d, 0, 3));
		EXPECT_EQ(0, dut_units(d, 1, 3));
	}
}

/* A config call that is set later is signalled, also for this */
TEST_F(config, needs_reset_set_late)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, break_queue(d, 1));
	ASSERT_EQ(0, config_call(d, self->a));
	EXPECT_EQ(1, signals(self->a));
	ASSERT_EQ(0, config_call(d, self->b));
	EXPECT_EQ(1, signals(self->b));
	ASSERT_EQ(0, config_call(d, -1));
	ASSERT_EQ(0, config_call(d, self->b));
	EXPECT_EQ(1, signals(self->b));
	/* a reset is the end of it */
	ASSERT_EQ(0, dut_restart(d));
	ASSERT_EQ(0, config_call(d, self->c));
	EXPECT_EQ(0, signals(self->c));
	EXPECT_EQ(OK, get_status(d));
	EXPECT_EQ(0, dut_units(d, 1, 3));
}

/* Clients that do not know the bit, or write back what they read */
TEST_F(config, needs_reset_in_status)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, break_queue(d, 1));
	EXPECT_EQ(0, set_status(d, OK));
	EXPECT_EQ(0, set_status(d, get_status(d)));
	EXPECT_EQ(BROKEN, get_status(d));
	EXPECT_EQ(-EINVAL, set_status(d, 0x0b));
	EXPECT_EQ(-EINVAL, set_status(d, VIRTIO_CONFIG_S_NEEDS_RESET));
	EXPECT_EQ(0, set_status(d, OK | VIRTIO_CONFIG_S_FAILED));
	EXPECT_EQ(BROKEN | VIRTIO_CONFIG_S_FAILED, get_status(d));
	/* stop of QEMU */
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_SUSPEND, NULL));
	ASSERT_EQ(0, guest_queue_get_base(d->q[1]));
	EXPECT_EQ(BROKEN | VIRTIO_CONFIG_S_FAILED, get_status(d));
	ASSERT_EQ(0, set_status(d, 0));
	/* it is not a driver's to set */
	EXPECT_EQ(0, set_status(d, VIRTIO_CONFIG_S_NEEDS_RESET));
	EXPECT_EQ(0, get_status(d));
	EXPECT_EQ(0, set_status(d, 3 | VIRTIO_CONFIG_S_NEEDS_RESET));
	EXPECT_EQ(3, get_status(d));
	EXPECT_EQ(0, set_status(d, 3));
}

/* ---- the error eventfd ---- */

FIXTURE(error) {
	struct dut d;
	int a, b;
};

FIXTURE_VARIANT(error) {
	enum dut_kind kind;
};

DUT_EACH(error)

FIXTURE_SETUP(error)
{
	self->a = fresh();
	self->b = fresh();
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
}

FIXTURE_TEARDOWN(error)
{
	dut_close(&self->d);
	close(self->a);
	close(self->b);
}

static int set_err(struct dut *d, unsigned int qi, int fd)
{
	return vring_file(d->g->fd, VHOST_SET_VRING_ERR, qi, fd);
}

TEST_F(error, whenever_it_is_set)
{
	struct dut *d = &self->d;

	for (unsigned int qi = 0; qi < 2; qi++) {
		/* a queue in order */
		ASSERT_EQ(0, set_err(d, qi, self->a));
		ASSERT_EQ(0, set_err(d, qi, -1));
		EXPECT_EQ(0, signals(self->a));
		/* set afterwards, */
		ASSERT_EQ(0, break_queue(d, qi));
		ASSERT_EQ(0, set_err(d, qi, self->a));
		EXPECT_EQ(1, signals(self->a));
		/* replaced, */
		ASSERT_EQ(0, set_err(d, qi, self->b));
		EXPECT_EQ(1, signals(self->b));
		/* removed and set again; that of another queue is not concerned */
		ASSERT_EQ(0, set_err(d, qi, -1));
		ASSERT_EQ(0, set_err(d, qi, self->b));
		EXPECT_EQ(1, signals(self->b));
		ASSERT_EQ(0, set_err(d, !qi, self->a));
		EXPECT_EQ(0, signals(self->a));
		/* until it is stopped */
		ASSERT_EQ(0, dut_stop(d));
		ASSERT_EQ(0, set_err(d, qi, self->a));
		EXPECT_EQ(0, signals(self->a));
		for (unsigned int i = 0; i < 2; i++)
			gq_reset(d->q[i]);
		dut_forget(d);
		ASSERT_EQ(0, dut_start(d));
		ASSERT_EQ(0, set_err(d, qi, self->b));
		EXPECT_EQ(0, signals(self->b));
		EXPECT_EQ(0, dut_units(d, qi, 3));
		EXPECT_FALSE(gq_error(d->q[qi]));
	}
}

TEST_HARNESS_MAIN
