// SPDX-License-Identifier: GPL-2.0
/*
 * A guest with an IOMMU, in the vhost dialect: buffers and rings are named by IOVA, and the client is
 * asked for translations.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "answers.h"

FIXTURE(miss) {
	struct dut d;
	int fd;
};

FIXTURE_VARIANT(miss) {
	enum dut_kind kind;
};

FIXTURE_VARIANT_ADD(miss, net) { .kind = DUT_NET };
FIXTURE_VARIANT_ADD(miss, blk) { .kind = DUT_BLK };

FIXTURE_SETUP(miss)
{
	struct dut_opts opts = { .accept = BIT(VIRTIO_F_ACCESS_PLATFORM), .stopped = true };
	uint64_t v2 = BIT(VHOST_BACKEND_F_IOTLB_MSG_V2);

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->fd = self->d.g->fd;
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_BACKEND_FEATURES, &v2));
	ASSERT_EQ(0, fcntl(self->fd, F_SETFL, O_NONBLOCK));
}

FIXTURE_TEARDOWN(miss)
{
	dut_close(&self->d);
}

/* Not a page is mapped before somebody asks for it */
TEST_F(miss, asked_for_what_is_used)
{
	struct dut *d = &self->d;
	unsigned int asked;
	struct vmm v;

	ASSERT_EQ(0, vmm_start(&v, d));
	EXPECT_EQ(0, regions_of(self->fd));
	ASSERT_EQ(0, dut_start(d));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 100));
	asked = atomic_load(&v.asked);
	/* rings of three pages or so, buffers; each once, as two queues may want the same page */
	EXPECT_LE(6, asked);
	EXPECT_GE(40, asked);
	EXPECT_GE(asked, regions_of(self->fd));
	for (unsigned int qi = 0; qi < 2; qi++) {
		ASSERT_EQ(0, dut_units(d, qi, 100));
		EXPECT_EQ(0, dut_counter(d, qi, "breaks"));
	}
	EXPECT_EQ(asked, atomic_load(&v.asked));
	EXPECT_EQ(0, vmm_stop(&v));
}

/* Questions in all, until there are no more */
static unsigned int questions(int fd)
{
	struct vhost_iotlb_msg msg;
	unsigned int n = 0;

	while (!question(fd, 0, &msg))
		n++;
	return n;
}

/* Until there is an answer the queue sleeps, and the other one goes on */
TEST_F_TIMEOUT(miss, sleeps_until_answered, 60)
{
	struct dut *d = &self->d;
	struct worker_use before, after;
	struct vhost_iotlb_msg msg;
	struct mover m;
	struct vmm v;

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 10));
	ASSERT_EQ(0, vmm_stop(&v));
	ASSERT_EQ(-EAGAIN, question(self->fd, 0, &msg));

	/* all that the units of queue 1 have */
	ASSERT_EQ(0, invalidate(self->fd, d->scratch[1].gpa & ~(PAGE - 1), SCRATCH_SIZE));
	ASSERT_EQ(0, mover_start(&m, d, 1));
	ASSERT_EQ(0, question(self->fd, 5000, &msg));
	EXPECT_LE(d->scratch[1].gpa & ~(PAGE - 1), msg.iova);
	EXPECT_GT(d->scratch[1].gpa + SCRATCH_SIZE, msg.iova);
	/* the rest of it, and what is behind */
	sleep_ms(50);
	EXPECT_GE(15, questions(self->fd));
	ASSERT_EQ(0, worker_use_of(0, &before));
	sleep_ms(300);
	ASSERT_EQ(0, worker_use_of(0, &after));
	EXPECT_EQ(before.runs, after.runs);
	EXPECT_EQ(0, atomic_load(&m.done));
	EXPECT_EQ(-EAGAIN, question(self->fd, 0, &msg));
	EXPECT_EQ(0, dut_units(d, 0, 10));

	/* something else is mapped: that is no answer */
	ASSERT_EQ(0, update(self->fd, BIT(40), PAGE, host_of(d, msg.iova), VHOST_ACCESS_RW));
	sleep_ms(50);
	EXPECT_EQ(0, atomic_load(&m.done));

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, answer(d, msg.iova));
	for (unsigned int i = 0; i < 500 && !atomic_load(&m.done); i++)
		sleep_ms(10);
	EXPECT_LT(0, atomic_load(&m.done));
	EXPECT_EQ(0, mover_stop(&m));
	EXPECT_EQ(0, vmm_stop(&v));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
}

#define CHAINS		5

/* Pages of queue 1 that nothing else is in */
static uint64_t own_page(const struct dut *d, unsigned int i)
{
	return (d->scratch[1].gpa + SCRATCH_FREE + PAGE - 1) / PAGE * PAGE + i * PAGE;
}

/* A chain whose parts have a page each, from the @at-th one on. Return: how many, or -errno */
static int add_spread(struct dut *d, unsigned int at)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_GET_ID) };
	uint64_t gpa = own_page(d, at);
	const struct guest_seg seg[] = {
		{ gpa, sizeof(hdr) }, { gpa + PAGE, VIRTIO_BLK_ID_BYTES }, { gpa + 2 * PAGE, 1 },
	};
	const struct guest_seg frame = { gpa, NET_HDR + 60 };

	if (d->kind == DUT_NET)
		return gq_add(d->q[1], &frame, 1, 0, d) ?: 1;
	memcpy(host_of(d, gpa), &hdr, sizeof(hdr));
	return gq_add(d->q[1], seg, 1, 2, d) ?: ARRAY_SIZE(seg);
}

/* CHAINS of them. Return: their pages, or -errno */
static int send_spread(struct dut *d)
{
	int pages = 0, n, ret;

	for (unsigned int i = 0; i < CHAINS; i++, pages += n) {
		n = add_spread(d, pages);
		if (n < 0)
			return n;
	}
	gq_publish(d->q[1]);
	ret = gq_notify(d->q[1]);
	return ret ?: pages;
}

static int get_spread(struct dut *d, unsigned int n)
{
	uint32_t used;
	void *token;
	int ret = 0;

	while (!ret && n--)
		ret = gq_wait(d->q[1], d->timeout_ms) ?: gq_get(d->q[1], &token, &used);
	return ret;
}

/* All that chains want is asked for at once; those go on for which there are answers */
TEST_F(miss, several_at_once)
{
	struct dut *d = &self->d;
	struct vhost_iotlb_msg msg;
	uint64_t last = 0;
	struct vmm v;
	int pages;

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	/* once, so that tables are mapped */
	ASSERT_LT(0, send_spread(d));
	ASSERT_EQ(0, get_spread(d, CHAINS));
	ASSERT_EQ(0, vmm_stop(&v));
	ASSERT_EQ(0, invalidate(self->fd, own_page(d, 0), 3 * CHAINS * PAGE));
	pages = send_spread(d);
	ASSERT_LT(0, pages);

	for (int i = 0; i < pages; i++) {
		ASSERT_EQ(0, question(self->fd, 5000, &msg));
		/* in the order in which they are wanted */
		EXPECT_LT(last, msg.iova);
		last = msg.iova;
		if (i < pages - 1)
			ASSERT_EQ(0, answer(d, msg.iova));
	}
	ASSERT_EQ(-EAGAIN, question(self->fd, 0, &msg));
	ASSERT_EQ(0, get_spread(d, CHAINS - 1));
	/* that it got no further is another question */
	ASSERT_EQ(0, question(self->fd, 5000, &msg));
	EXPECT_EQ(last, msg.iova);
	EXPECT_EQ(-EAGAIN, question(self->fd, 50, &msg));
	EXPECT_FALSE(gq_pending(d->q[1]));
	ASSERT_EQ(0, answer(d, last));
	ASSERT_EQ(0, get_spread(d, 1));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
}

/* A client may tell what it was not asked for: nobody waits for it to read then */
TEST_F(miss, told_unasked)
{
	struct dut *d = &self->d;
	struct vmm v;
	int n;

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 1, 10));
	ASSERT_EQ(0, vmm_stop(&v));
	ASSERT_EQ(0, invalidate(self->fd, own_page(d, 0), 3 * CHAINS * PAGE));
	n = add_spread(d, 0);
	ASSERT_LT(0, n);
	ASSERT_LT(0, add_spread(d, n));
	gq_publish(d->q[1]);
	ASSERT_EQ(0, gq_notify(d->q[1]));
	sleep_ms(50);
	/* the first chain has all that it wants, the other one never does */
	for (int i = 0; i < n; i++)
		ASSERT_EQ(0, answer(d, own_page(d, i)));
	EXPECT_EQ(0, gq_wait(d->q[1], d->timeout_ms));
}

/* A queue loses its ring, asks for it, and goes on */
TEST_F(miss, ring_goes_and_comes)
{
	struct dut *d = &self->d;
	struct vhost_iotlb_msg msg;
	struct vmm v;

	ASSERT_EQ(0, dut_start(d));
	/* asked for with its start */
	ASSERT_EQ(0, question(self->fd, 1000, &msg));
	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, answer(d, msg.iova));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 10));
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t at[] = {
			d->q[i & 1]->addr.desc_user_addr, d->q[i & 1]->addr.avail_user_addr,
			d->q[i & 1]->addr.used_user_addr,
		};

		ASSERT_EQ(0, invalidate(self->fd, at[i % 3] & ~(PAGE - 1), PAGE));
		for (unsigned int qi = 0; qi < 2; qi++)
			ASSERT_EQ(0, dut_units(d, qi, 3));
	}
	/* all that there is */
	ASSERT_EQ(0, invalidate(self->fd, 0, BIT(63)));
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_EQ(0, dut_units(d, qi, 3));
		EXPECT_EQ(0, dut_counter(d, qi, "breaks"));
	}
	EXPECT_EQ(0, vmm_stop(&v));

	/* a stop does not wait for answers, and nothing is asked for any more */
	ASSERT_EQ(0, invalidate(self->fd, 0, BIT(63)));
	ASSERT_EQ(0, question(self->fd, 1000, &msg));
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_EQ(-EAGAIN, question(self->fd, 0, &msg));
}

/* What a client cannot answer it is not asked again for all that happens to other addresses */
TEST_F(miss, ring_that_is_never_mapped)
{
	struct dut *d = &self->d;
	uint64_t ring = d->q[1]->addr.desc_user_addr & ~(PAGE - 1);
	int64_t began;
	unsigned int asked = 0;

	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(2, questions(self->fd));
	began = now_ms();
	for (unsigned int i = 0; i < 200; i++) {
		ASSERT_EQ(0, update(self->fd, BIT(40) + i * PAGE, PAGE, host_of(d, ring),
				    VHOST_ACCESS_RW));
		asked += questions(self->fd);
		ASSERT_EQ(0, invalidate(self->fd, BIT(40) + i * PAGE, PAGE));
		asked += questions(self->fd);
	}
	/* each of them once a second */
	EXPECT_GE(2 * ((now_ms() - began) / 1000 + 1), asked);

	sleep_ms(1100);
	ASSERT_EQ(0, update(self->fd, BIT(40), PAGE, host_of(d, ring), VHOST_ACCESS_RW));
	EXPECT_EQ(2, questions(self->fd));
	/* something has become of it, although it was not mapped before */
	ASSERT_EQ(0, invalidate(self->fd, ring, PAGE));
	EXPECT_LE(1, questions(self->fd));
}

/* Pages go all the time, those of rings as well: no unit is lost */
TEST_F_TIMEOUT(miss, taken_away_under_load, 120)
{
	struct dut *d = &self->d;
	struct mover m[2];
	unsigned int asked;
	struct vmm v;

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, mover_start(&m[qi], d, qi));
	asked = atomic_load(&v.asked);
	for (unsigned int i = 0; i < 1000; i++) {
		struct guest_region *r = &d->g->region[i % d->g->nregions];
		uint64_t page = i * 7919 % (r->size / PAGE);

		ASSERT_EQ(0, i % 10 ? invalidate(self->fd, r->gpa + page * PAGE, PAGE) :
				      invalidate(self->fd, r->gpa, r->size));
		if (!(i % 4))
			sleep_ms(1);
	}
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_EQ(0, mover_stop(&m[qi]));
		EXPECT_LT(0, atomic_load(&m[qi].done));
		EXPECT_EQ(0, dut_counter(d, qi, "breaks"));
	}
	EXPECT_LT(asked + 10, atomic_load(&v.asked));
	EXPECT_EQ(0, vmm_stop(&v));
}

/* What is mapped, but not for that, is the driver's fault: nobody is asked */
TEST_F(miss, wrong_permission)
{
	struct dut *d = &self->d;
	struct vhost_iotlb_msg msg;
	uint64_t page = d->scratch[0].gpa & ~(PAGE - 1);
	struct vmm v;

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 0, 3));
	ASSERT_EQ(0, vmm_stop(&v));
	ASSERT_EQ(0, invalidate(self->fd, page, SCRATCH_SIZE));
	ASSERT_EQ(0, update(self->fd, page, SCRATCH_SIZE, host_of(d, page), VHOST_ACCESS_RO));
	d->quiet = true;
	d->timeout_ms = 500;
	EXPECT_NE(0, dut_unit(d, 0));
	EXPECT_EQ(1, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(-EAGAIN, question(self->fd, 0, &msg));
}

/* Two queues asked for one page, and both were answered; then it is part of a larger one */
TEST_F(miss, answered_twice)
{
	struct dut *d = &self->d;
	struct guest_region *r = &d->g->region[0];
	char other[PAGE];
	struct vmm v;

	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 0, 10));
	for (unsigned int i = 0; i < d->g->nregions; i++) {
		r = &d->g->region[i];
		ASSERT_EQ(0, update(self->fd, r->gpa, PAGE, r->hva, VHOST_ACCESS_RW));
		ASSERT_EQ(0, update(self->fd, r->gpa, r->size, r->hva, VHOST_ACCESS_RW));
		ASSERT_EQ(0, update(self->fd, r->gpa + PAGE, PAGE, (char *)r->hva + PAGE,
				    VHOST_ACCESS_RW));
	}
	EXPECT_EQ(d->g->nregions, regions_of(self->fd));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 10));
	/* to another place in its stead */
	ASSERT_EQ(0, update(self->fd, BIT(40), PAGE, r->hva, VHOST_ACCESS_RW));
	ASSERT_EQ(0, update(self->fd, BIT(40), PAGE, other, VHOST_ACCESS_RW));
	EXPECT_EQ(d->g->nregions + 1, regions_of(self->fd));
	EXPECT_EQ(0, vmm_stop(&v));
}

/* A client knows of no limit: the oldest translations make room, and are asked for again */
TEST_F_TIMEOUT(miss, oldest_make_room, 240)
{
	struct vhost_iotlb_msg msg;
	struct dut *d = &self->d;
	unsigned int max = max_regions(), asked;
	uint64_t page;
	struct vmm v;

	ASSERT_LT(0, max);
	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 10));
	asked = atomic_load(&v.asked);
	for (unsigned int i = 0; i < max + 100; i++)
		ASSERT_EQ(0, update(self->fd, BIT(40) + i * PAGE, PAGE, d->g->region[0].hva,
				    VHOST_ACCESS_RW));
	EXPECT_EQ(max, regions_of(self->fd));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 10));
	EXPECT_LT(asked, atomic_load(&v.asked));
	EXPECT_EQ(max, regions_of(self->fd));
	EXPECT_EQ(0, vmm_stop(&v));

	/* the rings are not in the map any more, and yet go with their pages */
	for (unsigned int i = 0; i < max; i++)
		ASSERT_EQ(0, update(self->fd, BIT(41) + i * PAGE, PAGE, d->g->region[0].hva,
				    VHOST_ACCESS_RW));
	ASSERT_EQ(-EAGAIN, question(self->fd, 0, &msg));
	page = d->q[0]->addr.used_user_addr & ~(PAGE - 1);
	ASSERT_EQ(0, invalidate(self->fd, page, PAGE));
	ASSERT_EQ(0, question(self->fd, 1000, &msg));
}

/* The table is kept for when there is no IOMMU any more */
TEST_F(miss, table_or_messages)
{
	uint64_t with = self->d.g->features, without = with & ~BIT(VIRTIO_F_ACCESS_PLATFORM);
	struct dut *d = &self->d;

	EXPECT_EQ(0, regions_of(self->fd));
	ASSERT_EQ(0, update(self->fd, BIT(40), PAGE, d->g->region[0].hva, VHOST_ACCESS_RW));
	EXPECT_EQ(1, regions_of(self->fd));
	ASSERT_EQ(0, guest_commit(d->g));
	EXPECT_EQ(1, regions_of(self->fd));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &without));
	EXPECT_EQ(d->g->nregions, regions_of(self->fd));
	EXPECT_EQ(-EINVAL, update(self->fd, BIT(40), PAGE, d->g->region[0].hva, VHOST_ACCESS_RW));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &with));
	/* not what it had before */
	EXPECT_EQ(0, regions_of(self->fd));

	/* a queue that waits for its ring counts as running */
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(-EBUSY, xioctl(self->fd, VHOST_SET_FEATURES, &without));
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &without));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_RESET_OWNER, NULL));
	EXPECT_EQ(0, regions_of(self->fd));
}

/* What the client does not tell while the device is stopped: it begins anew with the features */
TEST_F(miss, forgotten_with_features)
{
	struct dut *d = &self->d;
	struct vmm v;

	ASSERT_EQ(0, send_msg(self->fd, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL, 0));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &d->g->features));
	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 0, 10));
	EXPECT_LT(0, regions_of(self->fd));
	/* the same again while it runs changes nothing */
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &d->g->features));
	EXPECT_LT(0, regions_of(self->fd));
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_LT(0, regions_of(self->fd));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &d->g->features));
	EXPECT_EQ(0, regions_of(self->fd));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 0, 10));
	EXPECT_EQ(0, vmm_stop(&v));
}

/* A ring is where the last UPDATE says */
TEST_F(miss, ring_moves)
{
	void *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dut *d = &self->d;
	uint64_t page;
	struct vmm v;

	ASSERT_NE(MAP_FAILED, other);
	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 0, 3));
	page = d->q[0]->addr.used_user_addr & ~(PAGE - 1);
	memcpy(other, host_of(d, page), PAGE);
	ASSERT_EQ(0, update(self->fd, page, PAGE, other, VHOST_ACCESS_RW));
	d->quiet = true;
	d->timeout_ms = 300;
	EXPECT_NE(0, dut_unit(d, 0));
	EXPECT_EQ(0, vmm_stop(&v));
	ASSERT_EQ(0, dut_stop(d));
	munmap(other, PAGE);
}

static void *blocking_read(void *arg)
{
	struct vhost_msg_v2 msg;

	return (void *)(long)(read(*(int *)arg, &msg, sizeof(msg)) < 0 ? errno : 0);
}

/* There will be nothing to read any more */
TEST_F_TIMEOUT(miss, reader_is_told_of_the_end, 20)
{
	pthread_t thread;
	void *err;

	ASSERT_EQ(0, fcntl(self->fd, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, blocking_read, &self->fd));
	sleep_ms(100);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_RESET_OWNER, NULL));
	pthread_join(thread, &err);
	EXPECT_EQ(EINVAL, (long)err);
}

TEST_F(miss, reads)
{
	struct vhost_msg_v2 msg[2];
	struct vhost_iotlb_msg iotlb;
	struct dut *d = &self->d;
	uint64_t v1 = 0;

	/* nothing to tell */
	EXPECT_EQ(-1, read(self->fd, msg, sizeof(msg)));
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(-1, read(self->fd, msg, sizeof(msg[0]) - 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(self->fd, (void *)KERNEL_ADDR, sizeof(msg[0])));
	EXPECT_EQ(EFAULT, errno);
	/* one at a time; that one was not lost */
	memset(msg, 0, sizeof(msg));
	EXPECT_EQ(sizeof(msg[0]), read(self->fd, msg, sizeof(msg)));
	EXPECT_EQ(VHOST_IOTLB_MSG_V2, msg[0].type);
	EXPECT_EQ(VHOST_IOTLB_MISS, msg[0].iotlb.type);
	EXPECT_EQ(0, msg[1].type);
	/* the other queue's */
	ASSERT_EQ(0, question(self->fd, 0, &iotlb));
	EXPECT_NE(iotlb.iova, msg[0].iotlb.iova);
	EXPECT_EQ(-EAGAIN, question(self->fd, 0, &iotlb));

	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_BACKEND_FEATURES, &v1));
	ASSERT_EQ(0, dut_start(d));
	memset(msg, 0xff, sizeof(msg));
	ASSERT_EQ(sizeof(struct vhost_msg), read(self->fd, msg, sizeof(msg)));
	EXPECT_EQ(VHOST_IOTLB_MSG, msg[0].type);
	/* nothing of the kernel's is in what has no meaning */
	msg[0].type = 0;
	msg[0].iotlb.type = 0;
	msg[0].iotlb.perm = 0;
	msg[0].iotlb.iova = 0;
	for (unsigned int i = 0; i < sizeof(msg[0]); i++)
		ASSERT_EQ(0, ((unsigned char *)msg)[i]);

	/* from a client, these are no messages */
	EXPECT_EQ(-EINVAL, send_msg(self->fd, VHOST_IOTLB_MISS, 0, PAGE, NULL, VHOST_ACCESS_RW));
	EXPECT_EQ(-EINVAL, send_msg(self->fd, VHOST_IOTLB_ACCESS_FAIL, 0, PAGE, NULL, 0));
}

/* Without an IOMMU there is nothing to ask */
TEST(nothing_to_read)
{
	struct vhost_msg_v2 msg;
	int fd = open(dut_node(DUT_NET), O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, read(fd, &msg, sizeof(msg)));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
}

TEST_HARNESS_MAIN
