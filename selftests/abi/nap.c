// SPDX-License-Identifier: GPL-2.0
/*
 * What happens in the middle of a nap: a queue whose worker sleeps, wants no kick and is woken by a
 * timer only.
 *
 * The driver is a thread that does not let go of its CPU, which the worker shares.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* us; naps are made longer until there are 64 chains in one, which takes twenty of these */
#define LONGEST		"16000"
/* Chains at a time, and ms from one time to the next */
#define CHAINS		3
#define PACE_MS		1
/* So many times without an answer, and the last kick was answered, tell of a nap */
#define SILENCE		6
/* ms until it is over, whatever there was of it */
#define OVER_MS		30

FIXTURE(nap) {
	struct dut d;
};

FIXTURE_VARIANT(nap) {
	enum dut_kind kind;
	unsigned int qi;
};

FIXTURE_VARIANT_ADD(nap, net_rx) { .kind = DUT_NET, .qi = RX };
FIXTURE_VARIANT_ADD(nap, net_tx) { .kind = DUT_NET, .qi = TX };
FIXTURE_VARIANT_ADD(nap, blk) { .kind = DUT_BLK, .qi = 1 };
FIXTURE_VARIANT_ADD(nap, vdpa) { .kind = DUT_VDPA, .qi = 1 };

/* A parameter of the module, and what it was */
struct param {
	const char *path;
	char was[16];
};

static struct param nap_max = { "/sys/module/vhost_lite/parameters/nap_max_us" };
static struct param poll_max = { "/sys/module/vhost_lite/parameters/poll_max_us" };

static int set(struct param *p, const char *us)
{
	int fd = open(p->path, O_RDWR | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0 && !p->was[0] && read(fd, p->was, sizeof(p->was) - 1) <= 0)
		return -EIO;
	if (fd >= 0) {
		n = write(fd, us, strlen(us));
		close(fd);
	}
	return n < 0 ? -errno : 0;
}

static int open_dut(struct dut *d, enum dut_kind kind)
{
	struct dut_opts opts = { .num = 256 };

	return dut_open(d, kind, &opts);
}

FIXTURE_SETUP(nap)
{
	cpu_set_t one;

	/* before the workers are made, which inherit it where they are threads of this process */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	ASSERT_EQ(0, set(&nap_max, LONGEST));
	/* what is found without a wake was found by a nap */
	ASSERT_EQ(0, set(&poll_max, "0"));
	ASSERT_EQ(0, open_dut(&self->d, variant->kind));
}

FIXTURE_TEARDOWN(nap)
{
	dut_close(&self->d);
	EXPECT_EQ(0, set(&nap_max, nap_max.was));
	EXPECT_EQ(0, set(&poll_max, poll_max.was));
}

/* Stay on the CPU */
static void spin(unsigned int ms)
{
	int64_t end = now_ms() + ms;

	while (now_ms() < end)
		;
}

/* @n chains, of which the queue learns if it asked to; for RX, packets that need them */
static int put(struct dut *d, unsigned int qi, unsigned int n)
{
	unsigned char frame[60] = { 2, 2, 2, 2, 2, 2 };
	struct guest_queue *q = d->q[qi];
	struct iovec iov = { .iov_base = frame, .iov_len = sizeof(frame) };
	struct mmsghdr msg[8];
	int ret = 0;

	memset(msg, 0, sizeof(msg));
	for (unsigned int i = 0; !ret && i < n; i++) {
		ret = dut_add(d, qi);
		msg[i].msg_hdr.msg_iov = &iov;
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	gq_publish(q);
	ret = ret ?: gq_notify(q);
	if (!ret && d->kind == DUT_NET && qi == RX && sendmmsg(d->raw, msg, n, 0) != (int)n)
		ret = -EIO;
	return ret;
}

/* What has been completed; each once, which gq_get() checks */
static int collect(struct guest_queue *q)
{
	uint32_t len;
	void *token;
	int ret = 0;

	while (!ret && gq_pending(q))
		ret = gq_get(q, &token, &len);
	return ret;
}

/* Everything is completed, without more being done for it */
static int collect_all(struct guest_queue *q)
{
	int ret = collect(q);

	while (!ret && gq_in_flight(q))
		ret = gq_wait(q, 5000) ?: collect(q);
	return ret;
}

/*
 * Have the queue nap: by a stream that is as fast with naps as without. Return: 0 in the middle of
 * one, with chains that wait for its end.
 */
static int have_nap(struct dut *d, unsigned int qi)
{
	struct guest_queue *q = d->q[qi];
	int64_t end = now_ms() + 10000;
	unsigned int quiet = 0;
	bool answered = false;
	int ret = 0;

	/* what a guest sent before is of no concern, and is not to fill the socket */
	dut_forget(d);
	while (!ret && quiet < SILENCE && now_ms() < end) {
		uint64_t kicks = q->count.kicks;
		uint16_t used = gq_used_idx(q);

		ret = collect(q);
		while (!ret && q->num_free < 64)
			ret = gq_wait(q, 5000) ?: collect(q);
		ret = ret ?: put(d, qi, CHAINS);
		spin(PACE_MS);
		if (gq_used_idx(q) != used) {
			answered = true;
			quiet = 0;
		} else if (q->count.kicks != kicks) {
			answered = false;
		} else if (answered) {
			quiet++;
		}
	}
	return ret || quiet == SILENCE ? ret : -ETIMEDOUT;
}

/* Older kernels let the worker preempt the sender with every packet: that is no stream to it */
static bool one_by_one(struct dut *d, unsigned int qi)
{
	return d->kind == DUT_NET && qi == RX &&
	       dut_counter(d, qi, "wakes") * 10 >= dut_counter(d, qi, "reqs") * 9;
}

#define HAVE_NAP(d) do {						\
	int ret_ = have_nap(d, variant->qi);				\
									\
	if (ret_ == -ETIMEDOUT && one_by_one(d, variant->qi))		\
		SKIP(return, "every packet wakes the worker");		\
	ASSERT_EQ(0, ret_);						\
} while (0)

/* The timer alone ends a nap, which is no wake; what came meanwhile, also packets, is found then */
TEST_F_TIMEOUT(nap, ends, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[variant->qi];

	for (unsigned int i = 0; i < many(2); i++) {
		int64_t wakes;

		HAVE_NAP(d);
		ASSERT_LT(0, gq_in_flight(q));
		wakes = dut_counter(d, variant->qi, "wakes");
		ASSERT_EQ(0, collect_all(q));
		EXPECT_EQ(wakes, dut_counter(d, variant->qi, "wakes"));
	}
}

/* A queue that is stopped goes on where it was: no chain is lost, none is completed twice */
TEST_F_TIMEOUT(nap, stop, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[variant->qi];
	uint16_t used;

	for (unsigned int i = 0; i < many(2); i++) {
		HAVE_NAP(d);
		ASSERT_EQ(0, dut_stop(d));
		used = gq_used_idx(q);
		EXPECT_EQ(gq_base(q), q->base);
		spin(OVER_MS);
		EXPECT_EQ(used, gq_used_idx(q));
		ASSERT_EQ(0, dut_start(d));
		ASSERT_EQ(0, collect_all(q));
	}
}

/* Without an eventfd for a while, then with another that nobody has signalled */
TEST_F_TIMEOUT(nap, kick_eventfd_replaced, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[variant->qi];

	for (unsigned int i = 0; i < many(2); i++) {
		HAVE_NAP(d);
		ASSERT_EQ(0, vring_file(d->g->fd, VHOST_SET_VRING_KICK, variant->qi, -1));
		dut_fresh_kick(d, variant->qi);
		ASSERT_EQ(0, put(d, variant->qi, CHAINS));
		ASSERT_EQ(0, vring_file(d->g->fd, VHOST_SET_VRING_KICK, variant->qi, q->kick_fd));
		ASSERT_EQ(0, collect_all(q));
	}
}

static int batch(struct dut *d, unsigned int type)
{
	struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2, .iotlb.type = type };

	return write(d->g->fd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -errno;
}

/* Guest memory changes; with a batch of messages (vDPA) the nap ends before the batch does */
TEST_F_TIMEOUT(nap, memory_changes, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[variant->qi];
	uint16_t used;

	for (unsigned int i = 0; i < many(2); i++) {
		HAVE_NAP(d);
		if (variant->kind == DUT_VDPA) {
			ASSERT_EQ(0, batch(d, VHOST_IOTLB_BATCH_BEGIN));
			used = gq_used_idx(q);
			spin(OVER_MS);
			EXPECT_EQ(used, gq_used_idx(q));
			ASSERT_EQ(0, put(d, variant->qi, CHAINS));
			ASSERT_EQ(0, batch(d, VHOST_IOTLB_BATCH_END));
		} else {
			ASSERT_EQ(0, guest_commit(d->g));
		}
		ASSERT_EQ(0, collect_all(q));
	}
}

/* The limit is lowered to none */
TEST_F_TIMEOUT(nap, not_allowed_any_more, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[variant->qi];
	int64_t polls, end = now_ms() + 5000;

	HAVE_NAP(d);
	ASSERT_EQ(0, set(&nap_max, "0"));
	ASSERT_EQ(0, collect_all(q));
	/* a nap is counted behind what it found, and this may have been the first */
	while (!(polls = dut_counter(d, variant->qi, "polls")) && now_ms() < end)
		sleep_ms(1);
	EXPECT_LT(0, polls);
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, put(d, variant->qi, CHAINS));
		ASSERT_EQ(0, collect_all(q));
	}
	/* the last nap may be counted behind what it found */
	EXPECT_GE(polls + 1, dut_counter(d, variant->qi, "polls"));
}

/* The VMM is gone, and with it what the timer would wake */
TEST_F_TIMEOUT(nap, close, 120)
{
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < many(2); i++) {
		HAVE_NAP(d);
		dut_close(d);
		sleep_ms(OVER_MS);
		ASSERT_EQ(0, open_dut(d, variant->kind));
	}
}

TEST_HARNESS_MAIN
