// SPDX-License-Identifier: GPL-2.0
/*
 * Dirty logging with an IOMMU: the driver names memory by IOVA, and the log is of guest addresses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "answers.h"

FIXTURE(misslog) {
	struct dut d;
	int fd;
};

FIXTURE_SETUP(misslog)
{
	struct dut_opts opts = { .accept = BIT(VIRTIO_F_ACCESS_PLATFORM), .stopped = true };

	ASSERT_EQ(0, dut_open(&self->d, DUT_NET, &opts));
	self->fd = self->d.g->fd;
	ASSERT_EQ(0, fcntl(self->fd, F_SETFL, O_NONBLOCK));
}

FIXTURE_TEARDOWN(misslog)
{
	dut_close(&self->d);
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

/* The device and both rings log there, and a client answers */
static int start_logging(struct dut *d, const void *map, struct vmm *v)
{
	uint64_t features = d->g->features | BIT(VHOST_F_LOG_ALL), base = (uintptr_t)map;
	int ret;

	ret = xioctl(d->g->fd, VHOST_SET_LOG_BASE, &base) ?:
	      xioctl(d->g->fd, VHOST_SET_FEATURES, &features);
	for (unsigned int qi = 0; qi < 2; qi++)
		d->q[qi]->addr.flags = BIT(VHOST_VRING_F_LOG);
	return ret ?: vmm_start(v, d) ?: dut_start(d);
}

/* The log is of guest addresses, whatever the driver calls them */

TEST_F_TIMEOUT(misslog, dirty_log, 120)
{
	struct guest_region *last = &self->d.g->region[self->d.g->nregions - 1];
	uint64_t end = SHIFT + last->gpa + last->size, rx, tx, used;
	unsigned char *map = calloc(1, end / PAGE / 8 + PAGE);
	struct dut *d = &self->d;
	unsigned int marked = 0;
	struct vmm v;

	ASSERT_NE(NULL, map);
	ASSERT_EQ(0, shifted_table(d));
	ASSERT_EQ(0, start_logging(d, map, &v));
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

/* Logging ends while queues have no rings: they come back, and need no bitmap any more */
TEST_F(misslog, ends_without_rings)
{
	struct dut *d = &self->d;
	const size_t size = 1 << 20;
	unsigned char *map;
	struct vmm v;

	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, start_logging(d, map, &v));
	for (unsigned int qi = 0; qi < 2; qi++)
		ASSERT_EQ(0, dut_units(d, qi, 10));
	ASSERT_EQ(0, vmm_stop(&v));

	ASSERT_EQ(0, invalidate(self->fd, 0, BIT(63)));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &d->g->features));
	munmap(map, size);
	ASSERT_EQ(0, vmm_start(&v, d));
	for (unsigned int qi = 0; qi < 2; qi++)
		EXPECT_EQ(0, dut_units(d, qi, 10));
	EXPECT_EQ(0, vmm_stop(&v));
	for (unsigned int qi = 0; qi < 2; qi++)
		EXPECT_EQ(0, dut_counter(d, qi, "breaks"));
	/* but a start of a queue that is to log wants one */
	ASSERT_EQ(0, dut_stop(d));
	d->quiet = true;
	EXPECT_EQ(-EFAULT, dut_start(d));
}

TEST_HARNESS_MAIN
