// SPDX-License-Identifier: GPL-2.0
/* Changes and stops while units move, and the counters of what moved */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

FIXTURE(live) {
	struct dut d;
};

FIXTURE_VARIANT(live) {
	enum dut_kind kind;
};

DUT_EACH(live)

FIXTURE_SETUP(live)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
}

FIXTURE_TEARDOWN(live)
{
	dut_close(&self->d);
}

static uint64_t drain(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* What is documented of the counters, against what the driver counted */
TEST_F(live, counters)
{
	struct dut *d = &self->d;
	uint64_t bytes[2] = { 0 }, at_start[2], calls;
	struct dev_info info;

	for (unsigned int qi = 0; qi < 2; qi++)
		at_start[qi] = drain(d->q[qi]->call_fd);
	for (unsigned int qi = 0; qi < 2; qi++) {
		/* a device that is quicker than the driver's wait is never asked for a call but so */
		gq_calls(d->q[qi], true);
		for (unsigned int i = 0; i < 50; i++) {
			/* the length of make_frame() in dut_unit() */
			bytes[qi] += d->kind == DUT_NET ?
				     NET_HDR + 60 + d->scratch[qi].seq * 131 % 1455 : 4096;
			ASSERT_EQ(0, dut_unit(d, qi));
			if (!i) {
				struct pollfd call = { .fd = d->q[qi]->call_fd, .events = POLLIN };

				ASSERT_EQ(1, poll(&call, 1, d->timeout_ms));
				gq_calls(d->q[qi], false);
			}
		}
	}
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_EQ(getpid(), info.owner);
	EXPECT_EQ(d->g->nregions, info.regions);
	EXPECT_EQ(d->g->features, info.features);
	EXPECT_EQ(variant->kind == DUT_VDPA, info.has_status);
	if (variant->kind == DUT_VDPA) {
		EXPECT_EQ(0x0f, info.status);
	}
	EXPECT_STRNE("-", info.backing);
	for (unsigned int qi = 0; qi < 2; qi++) {
		struct queue_info *q = &info.q[qi];
		bool net = variant->kind == DUT_NET;

		ASSERT_TRUE(q->present);
		EXPECT_STREQ("running", q->state);
		EXPECT_EQ(64, q->size);
		EXPECT_EQ(net ? 50 : 100, q->reqs);
		EXPECT_EQ(net && qi == TX ? 0 : bytes[qi], q->in);
		EXPECT_EQ(net && qi == RX ? 0 : bytes[qi], q->out);
		EXPECT_EQ(d->q[qi]->count.kicks, q->kicks);
		EXPECT_EQ(q->reqs, q->batches);
		EXPECT_EQ(0, q->errors);
		EXPECT_EQ(0, q->breaks);
		EXPECT_LT(0, q->wakes);
		calls = at_start[qi] + d->q[qi]->count.calls + drain(d->q[qi]->call_fd);
		EXPECT_EQ(calls, q->calls);
		EXPECT_LT(0, calls);
	}
	for (unsigned int i = 2; i < VHL_BLK_MAX_QUEUES; i++) {
		EXPECT_FALSE(info.q[i].present);
	}

	/* a stop keeps them */
	ASSERT_EQ(0, guest_stop(d->g));
	calls = info.q[1].reqs;
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_EQ(calls, info.q[1].reqs);
	EXPECT_STREQ("stopped", info.q[1].state);
}

/* Another process that has the file sees them, too */
static int look(void *arg)
{
	struct dut *d = arg;
	struct dev_info info;

	return get_info(d->g->fd, &info) || info.owner != getppid() || info.q[1].reqs < 3;
}

TEST_F(live, counters_seen_by_others)
{
	EXPECT_EQ(0, dut_units(&self->d, 1, 3));
	EXPECT_EQ(0, in_child(look, &self->d));
}

/* CVE-2024-47748: replaced while it is in use; none of the signals may get lost */
struct caller {
	struct dut *d;
	int efd[2];
	atomic_bool stop;
	unsigned int replaced;
	int err;
};

static void *replace_calls(void *arg)
{
	struct caller *c = arg;

	while (!c->err && !atomic_load(&c->stop)) {
		c->err = vring_file(c->d->g->fd, VHOST_SET_VRING_CALL, 1,
				    c->efd[c->replaced++ % 2]);
		if (c->replaced % 64 == 0)
			sched_yield();
	}
	return NULL;
}

TEST_F_TIMEOUT(live, call_eventfd_replaced, 120)
{
	struct caller c = { .d = &self->d };
	struct virtio_blk_outhdr flush = { .type = htole32(VIRTIO_BLK_T_FLUSH) };
	struct guest_queue *q = self->d.q[1];
	struct scratch *l = &self->d.scratch[1];
	bool net = variant->kind == DUT_NET;
	struct guest_seg seg[] = {
		{ l->gpa, net ? NET_HDR + 60 : sizeof(flush) }, { l->gpa + SCRATCH_STATUS, 1 },
	};
	unsigned int want = many(10000), units = 0;
	struct pollfd p[2];
	pthread_t thread;

	for (unsigned int i = 0; i < 2; i++) {
		c.efd[i] = eventfd(0, EFD_NONBLOCK);
		p[i] = (struct pollfd){ .fd = c.efd[i], .events = POLLIN };
	}
	memset(l->p, 0, NET_HDR + 60);
	if (!net)
		memcpy(l->p, &flush, sizeof(flush));
	ASSERT_EQ(0, vring_file(c.d->g->fd, VHOST_SET_VRING_CALL, 1, c.efd[1]));
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace_calls, &c));
	while (c.replaced < want || units < 200) {
		uint32_t len;
		void *token;

		gq_calls(q, true);
		ASSERT_EQ(0, gq_add(q, seg, 1, net ? 0 : 1, &c));
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		/* a new one is signalled once more for the last unit, as long as this one is not used */
		do {
			ASSERT_LT(0, poll(p, 2, 10000))
				TH_LOG("no signal for unit %u, %u replacements; pending %d", units,
				       c.replaced, gq_pending(q));
			drain(c.efd[0]);
			drain(c.efd[1]);
		} while (!gq_pending(q));
		ASSERT_EQ(0, gq_get(q, &token, &len));
		units++;
	}
	atomic_store(&c.stop, true);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, c.err);
	close(c.efd[0]);
	close(c.efd[1]);
}

/* The same of the other side: a kick on the file that is just replaced counts */
TEST_F_TIMEOUT(live, kick_eventfd_replaced, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[1];
	unsigned int n = many(1000);
	struct mover m;
	int efd[2];

	efd[0] = q->kick_fd;
	efd[1] = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, mover_start(&m, d, 1));
	/* on one processor the mover's turn may come late */
	for (unsigned int i = 0; i < n || !m.done; i++) {
		/* the driver's kicks go to either while the device listens to one: as when a VMM
		 * exchanges an ioeventfd, a kick on the old one comes before the exchange
		 */
		ASSERT_EQ(0, vring_file(d->g->fd, VHOST_SET_VRING_KICK, 1, -1));
		__atomic_store_n(&q->kick_fd, efd[(i + 1) % 2], __ATOMIC_SEQ_CST);
		ASSERT_EQ(0, vring_file(d->g->fd, VHOST_SET_VRING_KICK, 1, efd[(i + 1) % 2]));
	}
	EXPECT_EQ(0, mover_stop(&m));
	q->kick_fd = efd[0];
	close(efd[1]);
}

/* What queue 1 can do without a kick, or an answer from here: a frame to the TAP, or a flush */
static int add_silently(struct dut *d)
{
	int ret = dut_add(d, 1);

	gq_publish(d->q[1]);
	return ret;
}

static int answered(struct dut *d)
{
	uint32_t len;
	void *token;

	return gq_wait(d->q[1], 10000) ?: gq_get(d->q[1], &token, &len);
}

/* A VMM without a kick eventfd for a while, when it moves from one that it polls to an ioeventfd */
TEST_F(live, made_available_without_kick_eventfd)
{
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, dut_unit(d, 1));
		ASSERT_EQ(0, vring_file(d->g->fd, VHOST_SET_VRING_KICK, 1, -1));
		ASSERT_EQ(0, add_silently(d));
		dut_fresh_kick(d, 1);
		ASSERT_EQ(0, vring_file(d->g->fd, VHOST_SET_VRING_KICK, 1, d->q[1]->kick_fd));
		ASSERT_EQ(0, answered(d));
		dut_forget(d);
	}
}

/* Chains from before a stop or, in the ring of a guest that was moved here, before the first start */
TEST_F(live, made_available_before_start)
{
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, dut_unit(d, 1));
		ASSERT_EQ(0, dut_stop(d));
		ASSERT_EQ(0, add_silently(d));
		dut_fresh_kick(d, 1);
		ASSERT_EQ(0, dut_start(d));
		ASSERT_EQ(0, answered(d));
		dut_forget(d);
	}
}

/* Queues stop and go on at any moment; every unit arrives, once */
TEST_F_TIMEOUT(live, stop_and_go, 120)
{
	struct dut *d = &self->d;
	struct vhost_vring_state s[2] = { { .index = 0 }, { .index = 1 } };
	unsigned int n = many(200);
	struct mover a, b;

	ASSERT_EQ(0, mover_start(&a, d, 0));
	ASSERT_EQ(0, mover_start(&b, d, 1));
	for (unsigned int i = 0; i < n; i++) {
		unsigned int qi = i % 2;

		ASSERT_EQ(0, guest_queue_switch(d->q[qi], -1));
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_GET_VRING_BASE, &s[qi]));
		if (variant->kind != DUT_VDPA) {
			ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_VRING_BASE, &s[qi]));
		}
		ASSERT_EQ(0, guest_queue_switch(d->q[qi], d->backend));
		if (i % 8 == 0)
			sleep_ms(2);
	}
	EXPECT_EQ(0, mover_stop(&a));
	EXPECT_EQ(0, mover_stop(&b));
	EXPECT_LT(5, a.done);
	EXPECT_LT(5, b.done);
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
}

/* CVE-2023-1838: the number was looked up twice, and another file had it by then */
struct dupper {
	int number;
	int file[3];
	atomic_bool stop;
};

static void *change_number(void *arg)
{
	struct dupper *p = arg;
	unsigned int seed = 1;

	for (unsigned int i = 1; !atomic_load(&p->stop); i++) {
		unsigned int what = rand_r(&seed) % 4;

		if (what == 3)
			close(p->number);
		else
			dup2(p->file[what], p->number);
		/* with one processor the other thread runs only while this one sleeps */
		if (i % 16 == 0)
			usleep(50);
	}
	return NULL;
}

TEST_F_TIMEOUT(live, number_of_file_changes, 120)
{
	struct dut *d = &self->d;
	struct dupper p = { .number = 500, .file = { d->backend, eventfd(0, 0), d->g->fd } };
	unsigned int n = many(1000), seen = 0;
	pthread_t thread;
	time_t end = time(NULL) + 60;

	/* so that the file may be exchanged */
	ASSERT_EQ(0, guest_stop(d->g));
	ASSERT_EQ(0, pthread_create(&thread, NULL, change_number, &p));
	/* at least n times, and until a backend was taken and one refused */
	for (unsigned int i = 0; i < n || (seen != 3 && time(NULL) < end); i++) {
		int ret = vring_file(d->g->fd, dut_backend(variant->kind), 0, p.number);

		EXPECT_TRUE(!ret || ret == -EBADF || ret == -ENOTSOCK || ret == -EINVAL)
			TH_LOG("backend: %d", ret);
		seen |= !ret ? 1 : 2;
		ret = vring_file(d->g->fd, VHOST_SET_VRING_KICK, 0, p.number);
		EXPECT_TRUE(!ret || ret == -EBADF || ret == -EINVAL)
			TH_LOG("kick: %d", ret);
		ret = vring_file(d->g->fd, VHOST_SET_VRING_CALL, 0, p.number);
		EXPECT_TRUE(!ret || ret == -EBADF || ret == -EINVAL)
			TH_LOG("call: %d", ret);
		EXPECT_EQ(0, vring_file(d->g->fd, dut_backend(variant->kind), 0, -1));
	}
	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	EXPECT_EQ(3, seen);
	close(p.number);
	close(p.file[1]);
}

/*
 * A VMM may ask where a running queue has come to, as QEMU's x-query-virtio-queue-status does: it goes on, with all
 * that it had in flight
 */
TEST_F_TIMEOUT(live, asked_for_base, 120)
{
	struct dut *d = &self->d;
	struct vhost_vring_state s;
	struct dev_info info;
	struct mover a, b;

	ASSERT_EQ(0, mover_start(&a, d, 0));
	ASSERT_EQ(0, mover_start(&b, d, 1));
	for (unsigned int i = 0; i < many(400); i++) {
		s = (struct vhost_vring_state){ .index = i % 2, .num = ~0U };
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_GET_VRING_BASE, &s));
		if (d->q[0]->packed) {
			EXPECT_GT(64, s.num & 0x7fff);
			EXPECT_GT(64, s.num >> 16 & 0x7fff);
		} else {
			EXPECT_GT(0x10000, s.num);
		}
		/* it counts as running all the while */
		ASSERT_EQ(-EBUSY, xioctl(d->g->fd, VHOST_SET_VRING_BASE, &s));
		if (i % 8 == 0)
			sleep_ms(2);
	}
	EXPECT_EQ(0, mover_stop(&a));
	EXPECT_EQ(0, mover_stop(&b));
	EXPECT_LT(5, a.done);
	EXPECT_LT(5, b.done);
	for (unsigned int qi = 0; qi < 2; qi++) {
		s.index = qi;
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_GET_VRING_BASE, &s));
		EXPECT_EQ(gq_base(d->q[qi]), s.num);
		EXPECT_EQ(0, dut_units(d, qi, 3));
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_GET_VRING_BASE, &s));
		EXPECT_EQ(gq_base(d->q[qi]), s.num);
	}
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_STREQ("running", info.q[qi].state);
		EXPECT_EQ(0, info.q[qi].breaks);
	}
}

/* Two threads of the owner at it at once: requests are serialised, and each of them succeeds */
struct pair {
	struct dut *d;
	unsigned int n, failed;
};

static void *bang(void *arg)
{
	struct pair *p = arg;
	int fd = p->d->g->fd;

	for (unsigned int i = 0; i < p->n; i++) {
		struct vhost_vring_state s = { .index = 1 };
		struct dev_info info;

		p->failed += xioctl(fd, VHOST_GET_VRING_BASE, &s) != 0;
		p->failed += guest_queue_switch(p->d->q[1], -1) != 0;
		p->failed += get_info(fd, &info) != 0;
		p->failed += guest_queue_switch(p->d->q[1], p->d->backend) != 0;
	}
	return NULL;
}

TEST_F_TIMEOUT(live, two_threads, 120)
{
	struct pair p = { &self->d, many(100) };
	struct mover m;
	pthread_t t[2];

	ASSERT_EQ(0, mover_start(&m, &self->d, 0));
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&t[i], NULL, bang, &p));
	}
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(0, p.failed);
	EXPECT_EQ(0, mover_stop(&m));
}

/* Options of the poll, changed while it runs */
TEST_F(live, busyloop)
{
	struct dut *d = &self->d;

	if (variant->kind == DUT_VDPA) {
		/* not in this dialect */
		EXPECT_EQ(-ENOTTY, vring_num(d->g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 1));
		return;
	}
	for (unsigned int us = 1; us <= 10000; us *= 10) {
		ASSERT_EQ(0, vring_num(d->g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, us));
		EXPECT_EQ(0, dut_units(d, 1, 10));
		EXPECT_EQ(0, dut_units(d, 0, 10));
	}
	/* a poll of a second gives way to a client at once */
	ASSERT_EQ(0, vring_num(d->g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 1000000));
	for (unsigned int i = 0; i < 5; i++) {
		int64_t before;

		EXPECT_EQ(0, dut_units(d, 1, 1));
		before = now_ms();
		EXPECT_EQ(0, guest_queue_backend(d->q[1], -1));
		EXPECT_GT(500, now_ms() - before);
		EXPECT_EQ(0, guest_queue_backend(d->q[1], d->backend));
	}
}

TEST_HARNESS_MAIN
