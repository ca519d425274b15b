// SPDX-License-Identifier: GPL-2.0
/*
 * A guest with an IOMMU, in the vhost dialect: buffers and rings are named by IOVA, and the client is
 * asked for translations.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define PAGE		4096ULL

/* The client: a thread that answers what it is asked, page by page */
struct vmm {
	struct dut *d;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint asked;
	int err;
};

static int send_msg(int fd, uint8_t type, uint64_t iova, uint64_t size, const void *p, uint8_t perm)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = {
			.type = type, .iova = iova, .size = size, .uaddr = (uintptr_t)p, .perm = perm,
		},
	};
	ssize_t n = write(fd, &msg, sizeof(msg));

	return n < 0 ? -errno : n == sizeof(msg) ? 0 : -EIO;
}

static int update(int fd, uint64_t iova, uint64_t size, const void *p, uint8_t perm)
{
	return send_msg(fd, VHOST_IOTLB_UPDATE, iova, size, p, perm);
}

static int invalidate(int fd, uint64_t iova, uint64_t size)
{
	return send_msg(fd, VHOST_IOTLB_INVALIDATE, iova, size, NULL, 0);
}

/* The next question: 0, or -errno; -EAGAIN when there is none in @ms */
static int question(int fd, int ms, struct vhost_iotlb_msg *iotlb)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct vhost_msg_v2 msg;
	ssize_t n;

	if (poll(&p, 1, ms) <= 0 || !(p.revents & POLLIN))
		return -EAGAIN;
	n = read(fd, &msg, sizeof(msg));
	if (n < 0)
		return -errno;
	*iotlb = msg.iotlb;
	return n == sizeof(msg) && msg.iotlb.type == VHOST_IOTLB_MISS ? 0 : -EPROTO;
}

/* Where in this process is that page of the guest? */
static void *host_of(struct dut *d, uint64_t iova)
{
	for (unsigned int i = 0; i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];

		if (iova >= r->gpa && iova - r->gpa < r->size)
			return (char *)r->hva + (iova - r->gpa);
	}
	return NULL;
}

static int answer(struct dut *d, uint64_t iova)
{
	uint64_t page = iova & ~(PAGE - 1);
	void *p = host_of(d, page);

	return p ? update(d->g->fd, page, PAGE, p, VHOST_ACCESS_RW) : -EFAULT;
}

static void *vmm_run(void *arg)
{
	struct vmm *v = arg;
	struct vhost_iotlb_msg msg;

	while (!v->err && !atomic_load(&v->stop)) {
		int ret = question(v->d->g->fd, 20, &msg);

		if (ret == -EAGAIN)
			continue;
		atomic_fetch_add(&v->asked, 1);
		v->err = ret ?: answer(v->d, msg.iova);
	}
	return NULL;
}

static int vmm_start(struct vmm *v, struct dut *d)
{
	*v = (struct vmm){ .d = d };
	return pthread_create(&v->thread, NULL, vmm_run, v) ? -EAGAIN : 0;
}

static int vmm_stop(struct vmm *v)
{
	atomic_store(&v->stop, true);
	pthread_join(v->thread, NULL);
	return v->err;
}

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

static unsigned int regions_of(int fd)
{
	struct dev_info info;

	return get_info(fd, &info) ? ~0U : info.regions;
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
	sleep_ms(50);
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

/* Where the table has guest memory: elsewhere than IOVAs */
#define SHIFT	BIT(32)

static int shifted_table(struct dut *d)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region[GUEST_MAX_REGIONS];
	} t = { .head.nregions = d->g->nregions };

	for (unsigned int i = 0; i < d->g->nregions; i++) {
		t.region[i].guest_phys_addr = d->g->region[i].gpa + SHIFT;
		t.region[i].memory_size = d->g->region[i].size;
		t.region[i].userspace_addr = (uintptr_t)d->g->region[i].hva;
	}
	return xioctl(d->g->fd, VHOST_SET_MEM_TABLE, &t);
}

static bool is_marked(const unsigned char *map, uint64_t gpa)
{
	return map[gpa / PAGE / 8] & 1 << gpa / PAGE % 8;
}

/* The log is of guest addresses, whatever the driver calls them */
TEST_F_TIMEOUT(miss, dirty_log, 120)
{
	struct guest_region *last = &self->d.g->region[self->d.g->nregions - 1];
	uint64_t end = SHIFT + last->gpa + last->size, rx, tx, used;
	uint64_t features = self->d.g->features | BIT(VHOST_F_LOG_ALL);
	unsigned char *map = calloc(1, end / PAGE / 8 + PAGE);
	uint64_t base = (uintptr_t)map;
	struct dut *d = &self->d;
	unsigned int marked = 0;
	struct vmm v;

	if (variant->kind != DUT_NET) {
		free(map);
		SKIP(return, "disks log nothing");
	}
	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, shifted_table(d));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_LOG_BASE, &base));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &features));
	for (unsigned int qi = 0; qi < 2; qi++)
		d->q[qi]->addr.flags = BIT(VHOST_VRING_F_LOG);
	ASSERT_EQ(0, vmm_start(&v, d));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, dut_units(d, 1, 10));
	ASSERT_EQ(0, dut_units(d, 0, 10));
	/* all translations go: what was pinned still knows whose it is */
	for (unsigned int i = 0, max = max_regions(); i < max; i++)
		ASSERT_EQ(0, update(self->fd, BIT(40) + i * PAGE, PAGE, last->hva, VHOST_ACCESS_RW));
	rx = SHIFT + d->scratch[0].gpa + SCRATCH_DATA;
	tx = SHIFT + d->scratch[1].gpa + SCRATCH_DATA;
	used = SHIFT + d->q[0]->addr.used_user_addr;
	EXPECT_TRUE(is_marked(map, rx));
	EXPECT_TRUE(is_marked(map, used));
	EXPECT_TRUE(is_marked(map, SHIFT + d->q[1]->addr.used_user_addr));
	/* read only */
	EXPECT_FALSE(is_marked(map, tx));
	for (uint64_t at = 0; at < end; at += PAGE)
		marked += is_marked(map, at);
	EXPECT_GE(10, marked);
	for (uint64_t at = 0; at < SHIFT; at += PAGE)
		ASSERT_FALSE(is_marked(map, at));

	memset(map, 0, end / PAGE / 8);
	ASSERT_EQ(0, dut_units(d, 0, 1));
	sleep_ms(20);
	EXPECT_TRUE(is_marked(map, rx));
	EXPECT_TRUE(is_marked(map, used));
	EXPECT_EQ(0, vmm_stop(&v));
	ASSERT_EQ(0, dut_stop(d));
	free(map);
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
