// SPDX-License-Identifier: GPL-2.0
/* Guest memory: the table of the vhost dialect, and memory of all kinds under the rings */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	4U
#endif

static struct vhost_memory *make_table(unsigned int n)
{
	struct vhost_memory *m = calloc(1, sizeof(*m) + n * sizeof(m->regions[0]));

	for (unsigned int i = 0; m && i < n; i++) {
		m->regions[i].guest_phys_addr = i * 0x2000ULL;
		m->regions[i].memory_size = 0x1000;
		m->regions[i].userspace_addr = 0x10000000ULL + i * 0x1000ULL;
	}
	if (m)
		m->nregions = n;
	return m;
}

FIXTURE(table) {
	int fd;
};

FIXTURE_VARIANT(table) {
	const char *path;
	enum dut_kind kind;
};

FIXTURE_VARIANT_ADD(table, net) {
	.path = NODE_NET,
	.kind = DUT_NET,
};

FIXTURE_VARIANT_ADD(table, blk) {
	.path = NODE_BLK,
	.kind = DUT_BLK,
};

FIXTURE_SETUP(table)
{
	self->fd = xopen(variant->path);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
}

FIXTURE_TEARDOWN(table)
{
	close(self->fd);
}

static unsigned int regions_of(int fd)
{
	struct dev_info info;

	return get_info(fd, &info) ? ~0U : info.regions;
}

TEST_F_TIMEOUT(table, sizes, 120)
{
	unsigned int max = max_regions();
	struct vhost_memory *m = make_table(max + 1);

	ASSERT_LE(512, max);
	ASSERT_NE(NULL, m);
	for (unsigned int n = 0; n <= max; n = n ? n * 2 : 1) {
		m->nregions = n;
		EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
		EXPECT_EQ(n, regions_of(self->fd));
	}
	m->nregions = max;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	m->nregions = max + 1;
	EXPECT_EQ(-E2BIG, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	m->nregions = ~0U;
	EXPECT_EQ(-E2BIG, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	/* what was refused changed nothing */
	EXPECT_EQ(max, regions_of(self->fd));
	m->nregions = 0;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	EXPECT_EQ(0, regions_of(self->fd));
	free(m);
}

TEST_F(table, padding)
{
	struct vhost_memory *m = make_table(1);

	m->padding = 1;
	EXPECT_EQ(-EOPNOTSUPP, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	m->padding = 0x80000000;
	EXPECT_EQ(-EOPNOTSUPP, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	free(m);
}

/* CVE-2026-74713: the full range, and ranges that wrap */
TEST_F(table, bad_regions)
{
	static const struct {
		const char *what;
		uint64_t gpa, size, hva;
		int ret;
	} t[] = {
		{ "usual", 0x8000, 0x8000, 0x10000, 0 },
		{ "one byte", 0x8000, 1, 0x10000, 0 },
		{ "not aligned", 0x8001, 0x7fff, 0x10003, 0 },
		{ "up to the last address", 0xfffffffffffff000, 0x1000, 0x10000, 0 },
		{ "tens of GiB that are not mapped", 0x8000, 64ULL << 30, 0x100000000000, 0 },
		{ "empty", 0x8000, 0, 0x10000, -EINVAL },
		{ "empty at the end", ~0ULL, 0, 0x10000, -EINVAL },
		{ "wraps", 0xfffffffffffff000, 0x1001, 0x10000, -EINVAL },
		{ "wraps by far", 0x8000, ~0ULL, 0x10000, -EINVAL },
		{ "everything", 0, ~0ULL, 0, -EINVAL },
		{ "kernel memory", 0x8000, 0x1000, KERNEL_ADDR, -EINVAL },
		{ "into kernel memory", 0x8000, 0xffff800000000000, 0x10000, -EINVAL },
		{ "over the end of user memory", 0x8000, 0x4000, 0x7fffffffd000, -EINVAL },
		{ "address wraps", 0x8000, 0x2000, 0xfffffffffffff000, -EINVAL },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct vhost_memory *m = make_table(2);

		m->regions[1].guest_phys_addr = t[i].gpa;
		m->regions[1].memory_size = t[i].size;
		m->regions[1].userspace_addr = t[i].hva;
		EXPECT_EQ(t[i].ret, xioctl(self->fd, VHOST_SET_MEM_TABLE, m))
			TH_LOG("%s", t[i].what);
		free(m);
	}
	EXPECT_EQ(2, regions_of(self->fd));
}

TEST_F(table, overlap)
{
	static const struct {
		uint64_t gpa, size;
		int ret;
	} t[] = {
		{ 0x10000, 0x1000, -EEXIST },	/* the same */
		{ 0x10fff, 1, -EEXIST },	/* the last byte */
		{ 0xf001, 0x1000, -EEXIST },	/* the first byte */
		{ 0, 0x100000, -EEXIST },	/* around */
		{ 0x10800, 0x10, -EEXIST },	/* inside */
		{ 0x11000, 0x1000, 0 },		/* next to it */
		{ 0xf000, 0x1000, 0 },
	};
	struct vhost_memory *m = make_table(3);

	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	m->nregions = 2;
	m->regions[0].guest_phys_addr = 0x10000;
	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		m->regions[1].guest_phys_addr = t[i].gpa;
		m->regions[1].memory_size = t[i].size;
		EXPECT_EQ(t[i].ret, xioctl(self->fd, VHOST_SET_MEM_TABLE, m))
			TH_LOG("%#llx bytes at %#llx", (unsigned long long)t[i].size,
			       (unsigned long long)t[i].gpa);
		EXPECT_EQ(t[i].ret || i < 5 ? 3 : 2, regions_of(self->fd));
	}
	/* the same user memory twice is fine */
	m->regions[1].userspace_addr = m->regions[0].userspace_addr;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	free(m);
}

TEST_F(table, table_that_faults)
{
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);
	struct vhost_memory *m;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, munmap(p + 4096, 4096));
	/* the head and one region are there, two are not */
	m = (void *)(p + 4096 - sizeof(*m) - sizeof(m->regions[0]));
	m->nregions = 3;
	m->regions[0].memory_size = 4096;
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHOST_SET_MEM_TABLE, m));
	EXPECT_EQ(0, regions_of(self->fd));
	munmap(p, 4096);
}

/* A table with the memory of @d, each region of it cut in so many pieces of @size bytes and a rest */
static struct vhost_memory *cut_table(const struct dut *d, unsigned int pieces, uint64_t size)
{
	struct vhost_memory *m = make_table(d->g->nregions * pieces);
	unsigned int at = 0;

	for (unsigned int r = 0; m && r < d->g->nregions; r++) {
		struct guest_region *g = &d->g->region[r];

		for (unsigned int k = 0; k < pieces; k++, at++) {
			m->regions[at].guest_phys_addr = g->gpa + k * size;
			m->regions[at].userspace_addr = (uintptr_t)g->hva + k * size;
			m->regions[at].memory_size = k + 1 < pieces ? size : g->size - k * size;
		}
	}
	return m;
}

/* Tables with the same memory, cut in other pieces: what moves meanwhile must not notice */
TEST_F_TIMEOUT(table, replaced_under_traffic, 120)
{
	unsigned int n = many(500);
	struct vhost_memory *m;
	struct mover a, b;
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, variant->kind, NULL));
	ASSERT_EQ(0, mover_start(&a, &d, 0));
	ASSERT_EQ(0, mover_start(&b, &d, 1));
	for (unsigned int i = 0; i < n; i++) {
		unsigned int pieces = 1 + i % 5;

		m = cut_table(&d, pieces, d.g->region[0].size / pieces & ~0xfffULL);
		ASSERT_EQ(0, xioctl(d.g->fd, VHOST_SET_MEM_TABLE, m));
		free(m);
	}
	EXPECT_EQ(0, mover_stop(&a));
	EXPECT_EQ(0, mover_stop(&b));
	EXPECT_LT(5, a.done);
	EXPECT_LT(5, b.done);
	EXPECT_EQ(0, dut_counter(&d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(&d, 1, "breaks"));
	dut_close(&d);
}

/*
 * As with memory that is plugged in many small pieces, and maps of devices' own that come and go: 512
 * regions, others than before, every 10 ms for two seconds. Traffic gets its share of the time.
 */
TEST_F_TIMEOUT(table, many_regions_replaced, 120)
{
	struct dut_opts opts = { .regions = 256, .memory = 64 << 20 };
	unsigned int n = many(200), before[2];
	int64_t begin, slowest = 0, took;
	struct mover m[2];
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, variant->kind, &opts));
	for (unsigned int qi = 0; qi < 2; qi++) {
		ASSERT_EQ(0, mover_start(&m[qi], &d, qi));
		before[qi] = 0;
	}
	begin = now_ms();
	for (unsigned int i = 0; i < n; i++) {
		struct vhost_memory *table = cut_table(&d, 2, 4096 * (1 + i % 60));
		int64_t at = now_ms();

		ASSERT_EQ(0, xioctl(d.g->fd, VHOST_SET_MEM_TABLE, table));
		free(table);
		took = now_ms() - at;
		if (took > slowest)
			slowest = took;
		ASSERT_EQ(512, regions_of(d.g->fd));
		/* twice in all */
		for (unsigned int qi = 0; i == n / 2 && qi < 2; qi++) {
			EXPECT_LT(0, m[qi].done) TH_LOG("queue %u stands", qi);
			before[qi] = m[qi].done;
		}
		took = begin + 10 * (i + 1) - now_ms();
		if (took > 0)
			sleep_ms(took);
	}
	took = now_ms() - begin;
	for (unsigned int qi = 0; qi < 2; qi++) {
		unsigned int done = m[qi].done;

		EXPECT_LT(before[qi], done) TH_LOG("queue %u stands", qi);
		EXPECT_EQ(0, mover_stop(&m[qi]));
		TH_LOG("queue %u: %u verified units in %lld ms, %u tables, the slowest took %lld ms", qi, done,
		       (long long)took, n, (long long)slowest);
		EXPECT_EQ(0, dut_counter(&d, qi, "breaks"));
		EXPECT_EQ(0, dut_counter(&d, qi, "errors"));
	}
	dut_close(&d);
}

/* Memory that is no longer in the table is not touched, whatever was cached of it */
TEST_F(table, region_taken_away)
{
	/* tables of descriptors are elsewhere: without them all that is looked up is in the scratch */
	struct dut_opts opts = { .regions = 2, .refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC) };
	struct guest_region gone;
	struct vhost_memory *m;
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, variant->kind, &opts));
	ASSERT_EQ(0, dut_units(&d, 1, 5));
	/* the region that the scratch is in goes to another place */
	gone = d.scratch[1].gpa >= d.g->region[1].gpa ? d.g->region[1] : d.g->region[0];
	m = make_table(1);
	m->regions[0].guest_phys_addr = gone.gpa + (4ULL << 32);
	m->regions[0].memory_size = gone.size;
	m->regions[0].userspace_addr = (uintptr_t)gone.hva;
	ASSERT_EQ(0, xioctl(d.g->fd, VHOST_SET_MEM_TABLE, m));
	d.timeout_ms = 3000;
	d.quiet = true;
	EXPECT_EQ(-EIO, dut_unit(&d, 1));
	EXPECT_EQ(1, dut_counter(&d, 1, "breaks"));
	ASSERT_EQ(0, guest_commit(d.g));
	d.timeout_ms = 20000;
	d.quiet = false;
	ASSERT_EQ(0, dut_restart(&d));
	EXPECT_EQ(0, dut_units(&d, 1, 5));
	free(m);
	dut_close(&d);
}

/* What is under the rings */

FIXTURE(under) {
	struct dut d;
};

FIXTURE_VARIANT(under) {
	enum dut_kind kind;
};

DUT_EACH(under)

FIXTURE_SETUP(under)
{
	struct dut_opts opts = { .stopped = true };

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
}

FIXTURE_TEARDOWN(under)
{
	dut_close(&self->d);
}

#define RING_GPA	0x4000000000ULL
#define AREA		4096

/* Put queue 1 into memory of the caller's, and start */
static int start_in(struct dut *d, void *mem, size_t len, bool prepared)
{
	struct guest_queue *q = d->q[1];
	int ret = guest_add_region(d->g, RING_GPA, mem, len);

	if (!ret)
		ret = guest_commit(d->g);
	if (ret)
		return ret;
	/* nothing else goes there */
	d->g->region[d->g->nregions - 1].lo = len;
	gq_move(q, (void *const[]){ mem, (unsigned char *)mem + AREA, (unsigned char *)mem + 2 * AREA });
	d->g->ops->ring_addr(q, RING_GPA, RING_GPA + AREA, RING_GPA + 2 * AREA);
	if (!prepared)
		gq_reset(q);
	return dut_start(d);
}

TEST_F(under, memfd)
{
	int fd = memfd_create("ring", 0);
	void *p;

	ASSERT_EQ(0, ftruncate(fd, 3 * AREA));
	p = mmap(NULL, 3 * AREA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, start_in(&self->d, p, 3 * AREA, false));
	EXPECT_EQ(0, dut_units(&self->d, 1, 3));
	/* the pages stay the queue's, whatever becomes of the file */
	ASSERT_EQ(0, ftruncate(fd, 0));
	ASSERT_EQ(0, guest_stop(self->d.g));
	close(fd);
}

TEST_F(under, hugetlb)
{
	int fd;
	void *p;

	put_file("/proc/sys/vm/nr_hugepages", "4");
	fd = memfd_create("ring", MFD_HUGETLB);
	if (fd < 0 || ftruncate(fd, 2 << 20))
		SKIP(return, "no huge pages here");
	p = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		SKIP(return, "no huge page is free");
	ASSERT_EQ(0, start_in(&self->d, p, 2 << 20, false));
	EXPECT_EQ(0, dut_units(&self->d, 1, 3));
	ASSERT_EQ(0, guest_stop(self->d.g));
	close(fd);
	put_file("/proc/sys/vm/nr_hugepages", "0");
}

TEST_F(under, private_file)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	void *p = mmap(NULL, 3 * AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, start_in(&self->d, p, 3 * AREA, false));
	EXPECT_EQ(0, dut_units(&self->d, 1, 3));
	close(fd);
}

TEST_F(under, read_only_memory)
{
	void *p = mmap(NULL, 3 * AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	memset(p, 0, 3 * AREA);
	ASSERT_EQ(0, mprotect(p, 3 * AREA, PROT_READ));
	EXPECT_EQ(-EFAULT, start_in(&self->d, p, 3 * AREA, true));
	EXPECT_EQ(0, guest_stop(self->d.g));
	EXPECT_EQ(0, locked_kb());
}

TEST_F(under, read_only_used_ring)
{
	unsigned char *p = mmap(NULL, 3 * AREA, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	memset(p, 0, 3 * AREA);
	ASSERT_EQ(0, mprotect(p + 2 * AREA, AREA, PROT_READ));
	EXPECT_EQ(-EFAULT, start_in(&self->d, p, 3 * AREA, true));
	EXPECT_EQ(0, guest_stop(self->d.g));
	EXPECT_EQ(0, locked_kb());
}

TEST_F(under, unmapped_memory)
{
	void *p = mmap(NULL, 3 * AREA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_EQ(-EFAULT, start_in(&self->d, p, 3 * AREA, true));
	EXPECT_EQ(0, guest_stop(self->d.g));
	EXPECT_EQ(0, locked_kb());
}

/* The owner unmaps the ring of a running queue: it loses sight of it, and nothing else happens */
TEST_F(under, unmapped_while_running)
{
	void *p = mmap(NULL, 3 * AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct dut *d = &self->d;

	ASSERT_EQ(0, start_in(d, p, 3 * AREA, false));
	EXPECT_EQ(0, dut_units(d, 1, 3));
	ASSERT_EQ(0, munmap(p, 3 * AREA));
	EXPECT_EQ(0, gq_kick(d->q[1]));
	EXPECT_EQ(0, dut_units(d, 0, 3));
	EXPECT_EQ(0, guest_stop(d->g));
	EXPECT_EQ(0, locked_kb());
}

TEST_F_TIMEOUT(under, file_of_a_disk, 60)
{
	char path[64];
	int fd, ret;
	void *p;

	if (system("mkdir -p /tmp/vhltest-mnt && truncate -s 4M /tmp/vhltest.img && "
		   "mke2fs -q -F /tmp/vhltest.img && "
		   "mount -o loop /tmp/vhltest.img /tmp/vhltest-mnt"))
		SKIP(return, "no ext2 on a loop device here");
	snprintf(path, sizeof(path), "/tmp/vhltest-mnt/ring");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, 3 * AREA));
	p = mmap(NULL, 3 * AREA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ret = start_in(&self->d, p, 3 * AREA, false);
	EXPECT_EQ(kernel_at_least(6, 5) ? -EOPNOTSUPP : 0, ret);
	EXPECT_EQ(0, guest_stop(self->d.g));
	EXPECT_EQ(0, locked_kb());
	munmap(p, 3 * AREA);
	close(fd);
	EXPECT_EQ(0, system("umount /tmp/vhltest-mnt"));
	unlink("/tmp/vhltest.img");
}

/* Unprivileged, with less than a ring may lock, and just enough */
static int start_with_limit(void *arg)
{
	enum dut_kind kind = *(enum dut_kind *)arg;
	struct dut_opts opts = { .stopped = true };
	struct rlimit limit = { 4 * 4096, 1 << 20 };
	struct dut d;

	if (dut_open(&d, kind, &opts))
		return 1;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(65534, 65534, 65534))
		return 2;
	if (dut_start(&d) != -ENOMEM)
		return 3;
	/* the first queue of the two may be running already; with vDPA all or none is */
	if (guest_stop(d.g))
		return 4;
	if (locked_kb() != 0)
		return 5;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		return 6;
	if (kind == DUT_VDPA &&
	    (guest_own(d.g) || guest_set_features(d.g, d.g->features) || guest_commit(d.g)))
		return 7;
	if (dut_start(&d))
		return 8;
	if (locked_kb() < 6 * 4)
		return 9;
	return dut_units(&d, 1, 3) ? 10 : 0;
}

TEST_F(under, limit_of_locked_memory)
{
	enum dut_kind kind = variant->kind;

	EXPECT_EQ(0, in_child(start_with_limit, &kind));
}

TEST_HARNESS_MAIN
