// SPDX-License-Identifier: GPL-2.0
/*
 * Handover: an open device goes from the process that owns it to another one, with memory at other
 * addresses, as when a VMM is replaced by a newer one under its guest. RESET_OWNER, SET_OWNER, and
 * all else set anew; the rings go on where they stopped. Or back, if the new one fails.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "guest_ring.h"

/* Chains that are in the ring while nobody serves it */
#define WAITING		5

FIXTURE(handover) {
	struct dut d;
};

FIXTURE_VARIANT(handover) {
	enum dut_kind kind;
};

DUT_EACH(handover)

FIXTURE_SETUP(handover)
{
	struct dut_opts opts = { .shared = true };

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
}

FIXTURE_TEARDOWN(handover)
{
	dut_close(&self->d);
}

static int traffic(struct dut *d)
{
	return dut_units(d, 0, 20) ?: dut_units(d, 1, 20);
}

/* The owner stops, with chains in the ring that were there before or come now */
static int give_up(struct dut *d)
{
	unsigned char frame[100];
	int ret = 0;

	if (d->kind == DUT_NET) {
		for (unsigned int i = 0; !ret && i < WAITING; i++)
			ret = dut_add(d, RX);
		gq_publish(d->q[RX]);
		ret = ret ?: gq_notify(d->q[RX]);
	}
	ret = ret ?: guest_stop(d->g) ?: xioctl(d->g->fd, VHOST_RESET_OWNER, NULL);
	for (unsigned int i = 0; !ret && i < WAITING; i++)
		ret = dut_add(d, 1);
	gq_publish(d->q[1]);
	for (unsigned int i = 0; !ret && i < WAITING && d->kind == DUT_NET; i++) {
		make_frame(frame, sizeof(frame), i, false);
		ret = dut_send(d, frame, sizeof(frame));
	}
	return ret;
}

/* What was waiting is served */
static int catch_up(struct dut *d)
{
	unsigned char frame[100];
	uint32_t used;
	void *token;
	int ret = 0;

	for (unsigned int i = 0; !ret && i < WAITING; i++)
		ret = gq_wait(d->q[1], d->timeout_ms) ?: gq_get(d->q[1], &token, &used);
	if (ret || d->kind != DUT_NET)
		return ret;
	for (unsigned int i = 0; !ret && i < WAITING; i++) {
		ret = gq_wait(d->q[RX], d->timeout_ms) ?: gq_get(d->q[RX], &token, &used);
		if (!ret && used != NET_HDR + sizeof(frame))
			ret = -EBADMSG;
	}
	/* all in one place */
	make_frame(frame, sizeof(frame), WAITING - 1, false);
	if (!ret && memcmp(d->scratch[RX].p + SCRATCH_FREE + NET_HDR, frame, sizeof(frame)))
		ret = -EBADMSG;
	/* frames of the guest's that nobody looks at */
	dut_forget(d);
	return ret;
}

/* Everything from the owner to the memory; dut_start() does the rest. The device knows nothing */
static int set_up(struct dut *d)
{
	for (unsigned int i = 0; i < d->g->nregions; i++)
		d->g->region[i].mapped = false;
	return guest_own(d->g) ?: guest_set_features(d->g, d->g->features) ?: guest_commit(d->g);
}

static int take_over(struct dut *d)
{
	return set_up(d) ?: dut_start(d);
}

/* Where something is that was in a region at @was */
static void *moved(const struct dut *d, unsigned char *const was[], const volatile void *p)
{
	for (unsigned int i = 0; i < d->g->nregions; i++) {
		const struct guest_region *r = &d->g->region[i];
		size_t off = (unsigned char *)p - was[i];

		if ((unsigned char *)p >= was[i] && off < r->size)
			return r->hva + off;
	}
	return NULL;
}

/* The guest's memory is elsewhere in this process from now on */
static int move_memory(struct dut *d)
{
	unsigned char *was[GUEST_MAX_REGIONS];

	for (unsigned int i = 0; i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];
		unsigned char *p = mmap(NULL, r->size + 8192, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		was[i] = r->hva;
		if (p == MAP_FAILED)
			return -errno;
		r->hva = p + 4096;
		if (mremap(was[i], r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED, r->hva) ==
		    MAP_FAILED)
			return -errno;
	}
	for (unsigned int qi = 0; qi < 2; qi++) {
		struct guest_queue *q = d->q[qi];

		d->scratch[qi].p = moved(d, was, d->scratch[qi].p);
		q->desc = moved(d, was, q->desc);
		q->avail = moved(d, was, q->avail);
		q->used = moved(d, was, q->used);
		if (d->kind != DUT_VDPA) {
			q->addr.desc_user_addr = (uintptr_t)q->desc;
			q->addr.avail_user_addr = (uintptr_t)q->avail;
			q->addr.used_user_addr = (uintptr_t)q->used;
		}
		for (unsigned int i = 0; i < q->num; i++)
			if (q->chain[i].table)
				q->chain[i].table = moved(d, was, q->chain[i].table);
	}
	return 0;
}

static const unsigned long owners[] = {
	VHOST_RESET_OWNER, VHOST_GET_VRING_BASE, VHOST_SET_VRING_KICK, VHOST_SET_VRING_NUM,
};

/* What one may do whose device it is not: look, and nothing else */
static int is_not_ours(struct dut *d)
{
	uint64_t features;

	for (unsigned int i = 0; i < ARRAY_SIZE(owners); i++)
		if (xioctl(d->g->fd, owners[i], (uint64_t[2]){ 0 }) != -EPERM)
			return -EBADMSG;
	if (xioctl(d->g->fd, VHOST_SET_OWNER, NULL) != -EBUSY)
		return -EBADMSG;
	return guest_features(d->g, &features);
}

/* One after the other; the file comes through a socket */
struct heir {
	struct dut *d;
	int socket[2];
	unsigned int left;
};

static int inherit(void *arg)
{
	struct heir *h = arg;
	struct dut *d = h->d;
	uint64_t reqs = dut_counter(d, 1, "reqs");

	close(d->g->fd);
	d->g->fd = receive_fd(h->socket[1]);
	if (d->g->fd < 0 || move_memory(d))
		return 1;
	if (take_over(d)) {
		printf("# heir %u: %s\n", h->left, guest_error(d->g));
		return 2;
	}
	if (catch_up(d))
		return 3;
	if (traffic(d))
		return 4;
	/* the counters are of the open file */
	if (dut_counter(d, 1, "reqs") < reqs + 20 + WAITING)
		return 5;
	for (unsigned int qi = 0; qi < 2; qi++)
		if (dut_counter(d, qi, "breaks") || dut_counter(d, qi, "errors"))
			return 5;
	if (!h->left--)
		return 0;
	if (give_up(d) || send_fd(h->socket[0], d->g->fd))
		return 6;
	return in_child(inherit, h) ? 7 : 0;
}

TEST_F_TIMEOUT(handover, handed_on, 120)
{
	struct dut *d = &self->d;
	struct heir h = { .d = d, .left = 2 };

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, h.socket));
	ASSERT_EQ(0, traffic(d));
	ASSERT_EQ(0, give_up(d));
	ASSERT_EQ(0, send_fd(h.socket[0], d->g->fd));
	EXPECT_EQ(0, in_child(inherit, &h));
	close(h.socket[0]);
	close(h.socket[1]);
}

/* How far the new one gets */
enum step {
	HAS_THE_FILE,
	OWNS,
	IS_SET_UP,
	RUNS,
	STEPS,
};

struct failure {
	struct dut *d;
	enum step step;
	bool dies;		/* without a word */
	uint32_t *base;		/* where the rings were in the end */
};

static int fail(void *arg)
{
	struct failure *f = arg;
	struct dut *d = f->d;
	int ret = 0;

	if (move_memory(d))
		return 1;
	if (f->step == OWNS)
		ret = guest_own(d->g);
	if (f->step >= IS_SET_UP)
		ret = set_up(d);
	if (f->step == RUNS)
		ret = ret ?: dut_start(d);
	if (ret)
		return 2;
	if (f->dies)
		return 0;
	if (f->step == RUNS) {
		if (guest_stop(d->g))
			return 3;
		f->base[0] = d->q[0]->base;
		f->base[1] = d->q[1]->base;
	}
	if (f->step > HAS_THE_FILE && xioctl(d->g->fd, VHOST_RESET_OWNER, NULL))
		return 4;
	return 0;
}

static void back_again(struct __test_metadata *_metadata, struct dut *d, bool dies)
{
	uint32_t *base = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, base);
	for (enum step step = HAS_THE_FILE; step < STEPS; step++) {
		struct failure f = { .d = d, .step = step, .dies = dies, .base = base };

		/* one that dies may have served chains, and what it knew of the ring is lost */
		if (dies && step == RUNS) {
			ASSERT_EQ(0, guest_stop(d->g));
			ASSERT_EQ(0, xioctl(d->g->fd, VHOST_RESET_OWNER, NULL));
		} else {
			ASSERT_EQ(0, give_up(d));
		}
		for (unsigned int qi = 0; qi < 2; qi++)
			base[qi] = d->q[qi]->base;
		ASSERT_EQ(0, in_child(fail, &f))
			TH_LOG("step %u", step);
		for (unsigned int qi = 0; qi < 2; qi++)
			d->q[qi]->base = base[qi];
		ASSERT_EQ(0, take_over(d))
			TH_LOG("step %u: %s", step, guest_error(d->g));
		if (!dies || step != RUNS) {
			ASSERT_EQ(0, catch_up(d))
				TH_LOG("step %u", step);
		}
		ASSERT_EQ(0, traffic(d))
			TH_LOG("step %u", step);
	}
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
	munmap(base, 4096);
}

/* The new one gives it back, wherever it got to */
TEST_F_TIMEOUT(handover, given_back, 120)
{
	back_again(_metadata, &self->d, false);
}

/* The new one dies with it: a dead owner is none */
TEST_F_TIMEOUT(handover, new_owner_dies, 120)
{
	back_again(_metadata, &self->d, true);
}

static int stranger(void *arg)
{
	return is_not_ours(arg) ? 1 : 0;
}

/* Until then it is the old one's, which runs on; afterwards it is the new one's */
TEST_F(handover, others_may_look)
{
	struct dut *d = &self->d;
	int go[2], status;
	char c;
	pid_t pid;

	ASSERT_EQ(0, in_child(stranger, d));
	ASSERT_EQ(0, traffic(d));
	ASSERT_EQ(0, give_up(d));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, go));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (take_over(d) || write(go[1], "", 1) != 1 || read(go[1], &c, 1) != 1)
			_exit(1);
		_exit(catch_up(d) || traffic(d));
	}
	ASSERT_EQ(1, read(go[0], &c, 1));
	EXPECT_EQ(0, is_not_ours(d));
	ASSERT_EQ(1, write(go[0], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(go[0]);
	close(go[1]);
}

TEST_HARNESS_MAIN
