// SPDX-License-Identifier: GPL-2.0
/* The log of dirty memory: what is refused, what that leaves as it was, and in which order things may come */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dirty.h"

FIXTURE(logset) {
	struct dut d;
	struct dirty l;
};

FIXTURE_SETUP(logset)
{
	ASSERT_EQ(0, dut_open(&self->d, DUT_NET, NULL));
	ASSERT_EQ(0, dirty_open(&self->l, &self->d, 0));
}

FIXTURE_TEARDOWN(logset)
{
	dut_close(&self->d);
	dirty_close(&self->l);
}

/* All that is in use is still: a page is marked in the bitmap */
static int still_logs(struct dirty *l)
{
	uint64_t page = l->d->scratch[RX].gpa / LOG_PAGE + SCRATCH_DATA / LOG_PAGE;
	int ret;

	memset(l->map, 0, l->size);
	ret = dut_units(l->d, RX, 1);
	return ret ? ret : l->map[page / 8] & 1 << page % 8 ? 0 : -EBADMSG;
}

static unsigned char *memory(int prot)
{
	void *p = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

TEST_F(logset, offered)
{
	static const char *const nodes[] = { NODE_NET, NODE_BLK, NODE_VDPA };
	struct vhost_vring_addr addr = { .flags = 1 << VHOST_VRING_F_LOG };
	uint64_t features, base = (uintptr_t)self->l.map;
	int none = -1;

	for (unsigned int i = 0; i < 3; i++) {
		bool logs = i < 2;
		int fd = xopen(nodes[i]);

		ASSERT_LE(0, fd);
		if (xioctl(fd, VHOST_GET_FEATURES, &features))
			features = 0;
		EXPECT_EQ(logs ? BIT(VHOST_F_LOG_ALL) : 0, features & BIT(VHOST_F_LOG_ALL));
		if (logs) {
			EXPECT_EQ(-EPERM, xioctl(fd, VHOST_SET_LOG_BASE, &base));
			EXPECT_EQ(-EPERM, xioctl(fd, VHOST_SET_LOG_FD, &none));
		}
		ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
		EXPECT_EQ(logs ? 0 : -ENOTTY, xioctl(fd, VHOST_SET_LOG_BASE, &base))
			TH_LOG("%s", nodes[i]);
		EXPECT_EQ(logs ? 0 : -ENOTTY, xioctl(fd, VHOST_SET_LOG_FD, &none))
			TH_LOG("%s", nodes[i]);
		if (logs) {
			EXPECT_EQ(0, xioctl(fd, VHOST_SET_VRING_ADDR, &addr))
				TH_LOG("%s", nodes[i]);
		}
		close(fd);
	}
}

/* While it logs, so that all that is refused leaves that as it is */
TEST_F(logset, base)
{
	unsigned char *gone = memory(PROT_READ | PROT_WRITE);
	unsigned char *ro = memory(PROT_READ);
	struct dut *d = &self->d;
	long locked;

	ASSERT_EQ(0, munmap(gone, 4096));
	ASSERT_EQ(0, dirty_on(&self->l));
	locked = locked_kb();
	EXPECT_EQ(-EFAULT, xioctl(d->g->fd, VHOST_SET_LOG_BASE, NULL));
	EXPECT_EQ(-EFAULT, dirty_base(d, gone));
	EXPECT_EQ(-EFAULT, dirty_base(d, ro));
	EXPECT_EQ(-EFAULT, dirty_base(d, (void *)KERNEL_ADDR));
	EXPECT_EQ(-EFAULT, dirty_base(d, (void *)0x7ffffffff000));
	EXPECT_EQ(-EFAULT, dirty_base(d, (void *)~0UL));
	/* none is not enough */
	EXPECT_EQ(-EFAULT, dirty_base(d, NULL));
	EXPECT_EQ(locked, locked_kb());
	EXPECT_EQ(0, still_logs(&self->l));
	/* it is now, and what was set goes with the bit */
	EXPECT_EQ(0, dirty_off(&self->l));
	EXPECT_EQ(0, dirty_base(d, NULL));
	EXPECT_EQ(-EFAULT, dirty_all(d, true));
	EXPECT_EQ(0, dirty_on(&self->l));
	EXPECT_EQ(0, dirty_all(d, false));
	EXPECT_EQ(-EFAULT, dirty_all(d, true));
	EXPECT_EQ(-EINVAL, dirty_rings(d, true));
	EXPECT_EQ(0, dut_units(d, RX, 1));
	munmap(ro, 4096);
}

TEST_F_TIMEOUT(logset, file_of_a_disk, 60)
{
	int fd, ret;
	void *p;

	if (system("mkdir -p /tmp/vhltest-mnt && truncate -s 4M /tmp/vhltest.img && "
		   "mke2fs -q -F /tmp/vhltest.img && "
		   "mount -o loop /tmp/vhltest.img /tmp/vhltest-mnt"))
		SKIP(return, "no ext2 on a loop device here");
	fd = open("/tmp/vhltest-mnt/log", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, 4096));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ret = dirty_base(&self->d, p);
	EXPECT_EQ(kernel_at_least(6, 5) ? -EOPNOTSUPP : 0, ret);
	EXPECT_EQ(0, dirty_base(&self->d, NULL));
	munmap(p, 4096);
	close(fd);
	EXPECT_EQ(0, system("umount /tmp/vhltest-mnt"));
	unlink("/tmp/vhltest.img");
}

/* Bits that the driver has negotiated are not changed with it */
TEST_F(logset, features)
{
	struct dut *d = &self->d;
	uint64_t log = d->g->features | BIT(VHOST_F_LOG_ALL), other;

	ASSERT_EQ(0, dirty_base(d, self->l.map));
	other = log & ~BIT(VIRTIO_RING_F_EVENT_IDX);
	EXPECT_EQ(-EBUSY, xioctl(d->g->fd, VHOST_SET_FEATURES, &other));
	other = log | BIT(50);
	EXPECT_EQ(-EOPNOTSUPP, xioctl(d->g->fd, VHOST_SET_FEATURES, &other));
	EXPECT_EQ(0, dirty_all(d, true));
	EXPECT_EQ(0, dirty_all(d, true));
	EXPECT_EQ(-EOPNOTSUPP, xioctl(d->g->fd, VHOST_SET_FEATURES, &other));
	other = log & ~BIT(VIRTIO_RING_F_EVENT_IDX);
	EXPECT_EQ(-EBUSY, xioctl(d->g->fd, VHOST_SET_FEATURES, &other));
	EXPECT_EQ(0, still_logs(&self->l));
}

static int ring_at(struct dut *d, uint64_t log_addr)
{
	struct vhost_vring_addr addr = d->q[RX]->addr;

	addr.flags = 1 << VHOST_VRING_F_LOG;
	addr.log_guest_addr = log_addr;
	return xioctl(d->g->fd, VHOST_SET_VRING_ADDR, &addr);
}

/* The place of the used ring: while the queue runs, and before */
TEST_F(logset, rings)
{
	struct dut *d = &self->d;
	uint64_t gpa = d->q[RX]->addr.log_guest_addr;

	EXPECT_EQ(-EINVAL, ring_at(d, gpa));
	ASSERT_EQ(0, dirty_on(&self->l));
	EXPECT_EQ(-EINVAL, ring_at(d, gpa + 2));
	EXPECT_EQ(-EINVAL, ring_at(d, 1ULL << 40));
	EXPECT_EQ(-EINVAL, ring_at(d, ~3ULL));
	EXPECT_EQ(0, still_logs(&self->l));
	/* anywhere in memory that has bits is the VMM's business */
	EXPECT_EQ(0, ring_at(d, d->scratch[RX].gpa + SCRATCH_FREE));
	EXPECT_EQ(0, dut_units(d, RX, 1));
	memset(self->l.map, 0, self->l.size);
	dirty_want(&self->l, d->scratch[RX].gpa + SCRATCH_DATA, 1);
	dirty_want(&self->l, d->scratch[RX].gpa + SCRATCH_FREE, 1);
	EXPECT_EQ(0, dut_units(d, RX, 1));
	EXPECT_EQ(0, dirty_is(&self->l));

	/* not known yet whether there are bits: a start that has none fails */
	ASSERT_EQ(0, dut_stop(d));
	EXPECT_EQ(-EINVAL, ring_at(d, gpa + 2));
	EXPECT_EQ(-EINVAL, ring_at(d, ~3ULL));
	d->q[RX]->addr.log_guest_addr = 1ULL << 40;
	EXPECT_EQ(-EFAULT, dut_start(d));
	ASSERT_EQ(0, dut_stop(d));
	d->q[RX]->addr.log_guest_addr = gpa;
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(0, still_logs(&self->l));
}

/*
 * The device writes descriptors of a packed ring, too, whose place nobody tells: they have to be in
 * the table of memory, in one piece
 */
TEST(packed_descriptors)
{
	struct dut_opts opts = { .num = 256 };
	unsigned char *map = memory(PROT_READ | PROT_WRITE);
	struct guest_region *r;
	struct vhost_memory *m;
	struct dut d;
	size_t at;

	setenv("VHL_TEST_RING", "packed", 1);
	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	ASSERT_EQ(0, dirty_base(&d, map));
	ASSERT_EQ(0, dirty_rings(&d, true));
	r = dut_region(&d, d.q[TX]->ring);
	m = calloc(1, sizeof(*m) + 8 * sizeof(m->regions[0]));
	/* all memory, and the region of the ring in two pieces that meet in its descriptors */
	m->nregions = d.g->nregions + 1;
	for (unsigned int i = 0; i < d.g->nregions; i++) {
		m->regions[i].guest_phys_addr = d.g->region[i].gpa;
		m->regions[i].memory_size = d.g->region[i].size;
		m->regions[i].userspace_addr = (uintptr_t)d.g->region[i].hva;
	}
	at = (unsigned char *)&d.q[TX]->ring[100] - r->hva;
	m->regions[r - d.g->region].memory_size = at;
	m->regions[d.g->nregions].guest_phys_addr = r->gpa + at;
	m->regions[d.g->nregions].memory_size = r->size - at;
	m->regions[d.g->nregions].userspace_addr = (uintptr_t)r->hva + at;
	EXPECT_EQ(-EFAULT, xioctl(d.g->fd, VHOST_SET_MEM_TABLE, m));
	EXPECT_EQ(0, dut_units(&d, TX, 3));
	/* without the log that is no matter */
	ASSERT_EQ(0, dirty_rings(&d, false));
	EXPECT_EQ(0, xioctl(d.g->fd, VHOST_SET_MEM_TABLE, m));
	EXPECT_EQ(-EINVAL, dirty_rings(&d, true));
	EXPECT_EQ(0, dut_units(&d, TX, 3));
	free(m);
	dut_close(&d);
	munmap(map, 4096);
}

#define RING_GPA	0x1000000ULL
#define RING_LEN	0x4000ULL

/* Where the table has them now is where they are marked, of a queue that runs as well */
TEST(packed_descriptors_move)
{
	struct dut_opts opts = {
		.num = 256, .stopped = true, .refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC),
	};
	struct dirty l;
	struct dut d;

	setenv("VHL_TEST_RING", "packed", 1);
	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	ASSERT_EQ(0, guest_add_memory(d.g, RING_GPA, RING_LEN));
	{
		unsigned char *p = guest_ptr(d.g, RING_GPA, RING_LEN);
		void *area[3] = { p, p + 0x2000, p + 0x3000 };

		gq_move(d.q[TX], area);
		d.g->ops->ring_addr(d.q[TX], RING_GPA, RING_GPA + 0x2000, RING_GPA + 0x3000);
		gq_reset(d.q[TX]);
	}
	/* as large as it will be */
	ASSERT_EQ(0, guest_add_memory(d.g, 4 * RING_GPA, RING_LEN));
	ASSERT_EQ(0, guest_commit(d.g));
	ASSERT_EQ(0, dirty_open(&l, &d, 0));
	ASSERT_EQ(0, guest_del_region(d.g, 4 * RING_GPA));
	ASSERT_EQ(0, guest_commit(d.g));
	ASSERT_EQ(0, dut_start(&d));
	ASSERT_EQ(0, dut_units(&d, TX, 1));
	ASSERT_EQ(0, dirty_base(&d, l.map));
	ASSERT_EQ(0, dirty_rings(&d, true));
	sleep_ms(20);
	memset(l.map, 0, l.size);
	for (unsigned int i = 0; i < 3; i++) {
		dirty_want_chain(&l, TX, 0);
		dirty_want_event(&l, TX);
		EXPECT_EQ(0, dut_units(&d, TX, 1));
		EXPECT_EQ(0, dirty_is(&l));
		dut_region(&d, d.q[TX]->ring)->gpa = (i + 2) * RING_GPA;
		ASSERT_EQ(0, guest_commit(d.g));
		/* of the device area it is the client that says it */
		d.q[TX]->addr.log_guest_addr = (i + 2) * RING_GPA + 0x3000;
		ASSERT_EQ(0, dirty_rings(&d, true));
	}
	dut_close(&d);
	dirty_close(&l);
}

/* QEMU starts a device while it migrates: it sets the bitmap last of all */
TEST_F(logset, start)
{
	struct dut *d = &self->d;

	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, dirty_all(d, true));
	ASSERT_EQ(0, dirty_rings(d, true));
	EXPECT_EQ(-EFAULT, dut_start(d));
	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, dirty_base(d, self->l.map));
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(0, still_logs(&self->l));
	/* as a guest that resets its device, which is stopped and comes back with another bitmap */
	ASSERT_EQ(0, dut_stop(d));
	dirty_close(&self->l);
	ASSERT_EQ(0, dirty_all(d, true));
	ASSERT_EQ(0, dirty_rings(d, true));
	ASSERT_EQ(0, dirty_open(&self->l, d, 0));
	ASSERT_EQ(0, dirty_base(d, self->l.map));
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(0, still_logs(&self->l));
	/* a migration that ends meanwhile */
	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, dirty_off(&self->l));
	ASSERT_EQ(0, dut_start(d));
	EXPECT_EQ(0, dut_units(d, RX, 3));
}

/*
 * The table of memory grows: the VMM sets a bitmap that is larger, then the table. Where the bitmap ends
 * before, the table is refused.
 */
TEST_F(logset, table)
{
	struct dut *d = &self->d;
	uint64_t bits = 0x8000000, far = 8 * bits;
	unsigned char *p, *map;
	struct guest_seg seg = { far, 4096 };
	unsigned char frame[60];
	uint32_t used;
	void *token;

	/* 8 pages that the bitmap has, and what comes behind */
	map = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p = memory(PROT_READ | PROT_WRITE);
	ASSERT_TRUE(map != MAP_FAILED && p);
	ASSERT_EQ(0, munmap(map + 8 * 4096, 8 * 4096));
	ASSERT_EQ(0, dirty_base(d, map));
	ASSERT_EQ(0, dirty_all(d, true));
	ASSERT_EQ(0, guest_add_region(d->g, far - 4096, p, 4096));
	EXPECT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, guest_del_region(d->g, far - 4096));
	ASSERT_EQ(0, guest_add_region(d->g, far, p, 4096));
	EXPECT_EQ(-EFAULT, guest_commit(d->g));
	ASSERT_EQ(0, guest_add_region(d->g, 1ULL << 50, p, 4096));
	EXPECT_EQ(-E2BIG, guest_commit(d->g));
	ASSERT_EQ(0, guest_del_region(d->g, 1ULL << 50));
	/* the table before that is in use, and logs */
	EXPECT_EQ(0, dut_units(d, RX, 2));

	ASSERT_EQ(map + 8 * 4096, mmap(map + 8 * 4096, 8 * 4096, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, dirty_base(d, map));
	ASSERT_EQ(0, guest_commit(d->g));
	ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
	gq_publish(d->q[RX]);
	ASSERT_EQ(0, gq_kick(d->q[RX]));
	make_frame(frame, sizeof(frame), 0, false);
	ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
	ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
	ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
	EXPECT_EQ(1, map[8 * 4096]);
	EXPECT_EQ(0, map[8 * 4096 + 1]);
	EXPECT_EQ(0, map[9 * 4096 - 1]);
	munmap(map, 16 * 4096);
	munmap(p, 4096);
}

/* A bitmap before any memory, as large as that turns out to be */
TEST_F(logset, bitmap_first)
{
	struct dut_opts opts = { .stopped = true };
	struct vhost_memory none = { 0 };
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	ASSERT_EQ(0, xioctl(d.g->fd, VHOST_SET_MEM_TABLE, &none));
	ASSERT_EQ(-EFAULT, dirty_base(&d, (void *)KERNEL_ADDR));
	ASSERT_EQ(0, dirty_base(&d, self->l.map));
	self->l.d = &d;
	ASSERT_EQ(0, dirty_all(&d, true));
	ASSERT_EQ(0, guest_commit(d.g));
	ASSERT_EQ(0, dut_start(&d));
	EXPECT_EQ(0, still_logs(&self->l));
	dut_close(&d);
}

/* Unprivileged, with locked memory enough for the rings, but not for the bitmap as well */
static int limited(void *arg)
{
	struct rlimit limit = { 0, 1 << 20 };
	struct dirty l;
	struct dut d;

	if (dut_open(&d, DUT_NET, NULL) || dirty_open(&l, &d, 0))
		return 1;
	limit.rlim_cur = locked_kb() << 10;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(65534, 65534, 65534))
		return 2;
	if (dirty_base(&d, l.map) != -ENOMEM || dirty_all(&d, true) != -EFAULT)
		return 3;
	if (locked_kb() << 10 != limit.rlim_cur || dut_units(&d, RX, 2))
		return 4;
	limit.rlim_cur += 4096;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || dirty_on(&l))
		return 5;
	/* another one takes its place within the limit */
	if (dirty_base(&d, l.want))
		return 6;
	l.map = l.want;
	return still_logs(&l) ? 7 : 0;
}

TEST_F(logset, limit_of_locked_memory)
{
	EXPECT_EQ(0, in_child(limited, NULL));
}

TEST_HARNESS_MAIN
