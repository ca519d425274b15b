// SPDX-License-Identifier: GPL-2.0
/* Requests of the vhost dialect about one queue: every field of every one at its limits */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

FIXTURE(ring) {
	int fd;
	unsigned char *mem;
};

FIXTURE_VARIANT(ring) {
	const char *path;
	unsigned long backend;
	unsigned int queues;
};

FIXTURE_VARIANT_ADD(ring, net) {
	.path = NODE_NET,
	.backend = VHOST_NET_SET_BACKEND,
	.queues = NET_QUEUES,
};

FIXTURE_VARIANT_ADD(ring, blk) {
	.path = NODE_BLK,
	.backend = VHOST_BLK_SET_BACKEND,
	.queues = BLK_QUEUES,
};

#define MEM	(4UL << 20)
#define GUARD	(128UL << 10)

FIXTURE_SETUP(ring)
{
	self->fd = xopen(variant->path);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	/* and behind it there is nothing */
	self->mem = mmap(NULL, MEM + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	ASSERT_EQ(0, mprotect(self->mem, MEM, PROT_READ | PROT_WRITE));
}

FIXTURE_TEARDOWN(ring)
{
	close(self->fd);
	munmap(self->mem, MEM + GUARD);
}

/* CVE-2015-4036, CVE-2026-43248, CVE-2026-74312: an index of the caller was not checked */
TEST_F(ring, index_out_of_range)
{
	static const unsigned long states[] = {
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE,
		VHOST_SET_VRING_ENDIAN, VHOST_GET_VRING_ENDIAN,
		VHOST_SET_VRING_BUSYLOOP_TIMEOUT, VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
	};
	static const unsigned long files[] = {
		VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
	};
	const uint32_t bad[] = {
		variant->queues, variant->queues + 1, 255, 256, 0x10000, 0x7fffffff, 0x80000000,
		0xffffffff,
	};
	int efd = eventfd(0, 0);

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vhost_vring_addr addr = { .index = bad[i] };

		for (unsigned int j = 0; j < sizeof(states) / sizeof(states[0]); j++) {
			EXPECT_EQ(-ENOBUFS, vring_num(self->fd, states[j], bad[i], 0))
				TH_LOG("request %#lx, index %#x", states[j], bad[i]);
		}
		for (unsigned int j = 0; j < sizeof(files) / sizeof(files[0]); j++) {
			EXPECT_EQ(-ENOBUFS, vring_file(self->fd, files[j], bad[i], -1));
			EXPECT_EQ(-ENOBUFS, vring_file(self->fd, files[j], bad[i], efd));
		}
		EXPECT_EQ(-ENOBUFS, xioctl(self->fd, VHOST_SET_VRING_ADDR, &addr));
		EXPECT_EQ(-ENOBUFS, vring_file(self->fd, variant->backend, bad[i], -1));
	}
	for (unsigned int j = 0; j < sizeof(states) / sizeof(states[0]); j++) {
		EXPECT_EQ(0, vring_num(self->fd, states[j], variant->queues - 1, j ? 0 : 1));
	}
}

TEST_F(ring, num)
{
	static const struct {
		uint32_t num;
		int ret;
	} t[] = {
		{ 0, -EINVAL }, { 1, 0 }, { 2, 0 }, { 3, -EINVAL }, { 4, 0 }, { 255, -EINVAL },
		{ 256, 0 }, { 1024, 0 }, { 32767, -EINVAL }, { 32768, 0 }, { 32769, -EINVAL },
		{ 65535, -EINVAL }, { 65536, -EINVAL }, { 65536 + 256, -EINVAL },
		{ 0x80000000, -EINVAL }, { 0xffffffff, -EINVAL },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		EXPECT_EQ(t[i].ret, vring_num(self->fd, VHOST_SET_VRING_NUM, 0, t[i].num))
			TH_LOG("size %u", t[i].num);
	}
}

TEST_F(ring, base)
{
	static const uint32_t good[] = { 0, 1, 0x7fff, 0x8000, 0xffff };
	static const uint32_t bad[] = { 0x10000, 0x80008000, 0xffffffff };
	struct vhost_vring_state s = { .index = 1 };

	for (unsigned int i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		EXPECT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_BASE, 1, good[i]));
		s.num = ~0U;
		EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BASE, &s));
		EXPECT_EQ(good[i], s.num);
		EXPECT_EQ(1, s.index);
	}
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_SET_VRING_BASE, 1, bad[i]));
	}
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BASE, &s));
	EXPECT_EQ(0xffff, s.num);
	/* the other queue has one of its own */
	s.index = 0;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BASE, &s));
	EXPECT_EQ(0, s.num);
}

TEST_F(ring, addr)
{
	uint64_t m = (uintptr_t)self->mem;
	const struct {
		const char *what;
		uint64_t desc, avail, used;
		uint32_t flags;
		int ret;
	} t[] = {
		{ "good", m, m + 4096, m + 8192, 0, 0 },
		{ "just aligned", m + 16, m + 2, m + 4, 0, 0 },
		{ "desc + 1", m + 1, m, m, 0, -EINVAL },
		{ "desc + 8", m + 8, m, m, 0, -EINVAL },
		{ "avail + 1", m, m + 1, m, 0, -EINVAL },
		{ "used + 1", m, m, m + 1, 0, -EINVAL },
		{ "used + 2", m, m, m + 2, 0, -EINVAL },
		/* the address of the log is odd */
		{ "log flag", m, m, m, 1 << VHOST_VRING_F_LOG, -EINVAL },
		{ "flag 1", m, m, m, 2, -EOPNOTSUPP },
		{ "all flags", m, m, m, ~0U, -EOPNOTSUPP },
		{ "desc of the kernel", KERNEL_ADDR, m, m, 0, -EINVAL },
		{ "avail of the kernel", m, KERNEL_ADDR, m, 0, -EINVAL },
		{ "used of the kernel", m, m, KERNEL_ADDR, 0, -EINVAL },
		{ "not canonical", 0x0001000000000000, m, m, 0, -EINVAL },
		{ "end of all", 0xfffffffffffffff0, m, m, 0, -EINVAL },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct vhost_vring_addr a = {
			.desc_user_addr = t[i].desc,
			.avail_user_addr = t[i].avail,
			.used_user_addr = t[i].used,
			.flags = t[i].flags,
			.log_guest_addr = 0x123,
		};

		EXPECT_EQ(t[i].ret, xioctl(self->fd, VHOST_SET_VRING_ADDR, &a))
			TH_LOG("%s", t[i].what);
	}
}

/* Areas that begin in user memory and go on beyond it, or where nothing is */
TEST_F(ring, areas_that_are_not_there)
{
	uint64_t m = (uintptr_t)self->mem;
	const struct {
		const char *what;
		uint64_t desc, avail, used;
	} t[] = {
		{ "desc at NULL", 0, m, m },
		{ "avail at NULL", m, 0, m },
		{ "used at NULL", m, m, 0 },
		{ "desc over the end of user memory", 0x00007fffffffe000, m, m },
		{ "avail over the end of user memory", m, 0x00007fffffffe000, m },
		{ "used over the end of user memory", m, m, 0x00007fffffffe000 },
		{ "desc over the end of the mapping", m + MEM - 4096, m, m },
		{ "avail over the end of the mapping", m, m + MEM - 4096, m },
		{ "used over the end of the mapping", m, m, m + MEM - 4096 },
	};
	struct vhost_memory none = { 0 };
	char name[IFNAMSIZ];
	int backend;

	backend = variant->queues == NET_QUEUES ? make_tap(name, NET_HDR) : make_disk(1 << 20);
	ASSERT_GE(backend, 0);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_MEM_TABLE, &none));
	ASSERT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_NUM, 0, 4096));
	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct vhost_vring_addr a = {
			.desc_user_addr = t[i].desc,
			.avail_user_addr = t[i].avail,
			.used_user_addr = t[i].used,
		};

		ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_VRING_ADDR, &a))
			TH_LOG("%s", t[i].what);
		EXPECT_EQ(-EFAULT, vring_file(self->fd, variant->backend, 0, backend))
			TH_LOG("%s", t[i].what);
	}
	EXPECT_EQ(0, locked_kb());
	close(backend);
}

TEST_F(ring, endian)
{
	struct vhost_vring_state s = { .index = 0, .num = 99 };

	EXPECT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_ENDIAN, 0, VHOST_VRING_LITTLE_ENDIAN));
	EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_SET_VRING_ENDIAN, 0, VHOST_VRING_BIG_ENDIAN));
	EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_SET_VRING_ENDIAN, 0, 2));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_ENDIAN, &s));
	EXPECT_EQ(VHOST_VRING_LITTLE_ENDIAN, s.num);
}

TEST_F(ring, busyloop)
{
	struct vhost_vring_state s = { .index = 1 };

	EXPECT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 1000000));
	EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 1000001));
	EXPECT_EQ(-EINVAL, vring_num(self->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 0xffffffff));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &s));
	EXPECT_EQ(1000000, s.num);
	EXPECT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 0));
}

TEST_F(ring, start_with_something_missing)
{
	uint64_t m = (uintptr_t)self->mem;
	struct vhost_vring_addr a = {
		.desc_user_addr = m, .avail_user_addr = m + 4096, .used_user_addr = m + 8192,
	};
	char name[IFNAMSIZ];
	int backend = variant->queues == NET_QUEUES ? make_tap(name, NET_HDR) : make_disk(1 << 20);

	ASSERT_GE(backend, 0);
	EXPECT_EQ(-EINVAL, vring_file(self->fd, variant->backend, 0, backend));
	ASSERT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_NUM, 0, 256));
	EXPECT_EQ(-EINVAL, vring_file(self->fd, variant->backend, 0, backend));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_VRING_ADDR, &a));
	/* no memory table, no kick, no call: none of these is missed until there is work */
	EXPECT_EQ(0, vring_file(self->fd, variant->backend, 0, backend));
	EXPECT_TRUE(queue_is(self->fd, 0, "running"));
	EXPECT_EQ(0, vring_file(self->fd, variant->backend, 0, -1));
	EXPECT_TRUE(queue_is(self->fd, 0, "stopped"));
	a.index = 1;
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_VRING_ADDR, &a));
	EXPECT_EQ(-EINVAL, vring_file(self->fd, variant->backend, 1, backend));
	close(backend);
}

/* Every size, every base: rings wrap around, and the index does at 2^16 */
TEST_F(ring, sizes_and_bases)
{
	static const unsigned int sizes[] = { 4, 8, 256, 1024 }, odd[] = { 3, 7, 100, 1000 };
	static const uint32_t bases[] = { 0, 1, 0x7ffe, 0xfffe, 0xffff };

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct dut_opts opts = { .num = dut_packed() ? odd[i] : sizes[i], .stopped = true };
		struct dut d;

		ASSERT_EQ(0, dut_open(&d, variant->queues == NET_QUEUES ? DUT_NET : DUT_BLK, &opts));
		for (unsigned int j = 0; j < sizeof(bases) / sizeof(bases[0]); j++) {
			for (unsigned int k = 0; k < 2; k++) {
				gq_begin(d.q[k], bases[j]);
			}
			ASSERT_EQ(0, dut_start(&d));
			EXPECT_EQ(0, dut_units(&d, 0, 12));
			EXPECT_EQ(0, dut_units(&d, 1, 12));
			ASSERT_EQ(0, dut_stop(&d));
			EXPECT_EQ((uint16_t)(bases[j] + 12 * (variant->queues == NET_QUEUES ? 1 : 2)),
				  gq_used_idx(d.q[1]));
			EXPECT_EQ(gq_base(d.q[1]), d.q[1]->base);
		}
		dut_close(&d);
	}
}

/* A ring of the largest size is pinned, and works */
TEST_F(ring, largest_ring)
{
	struct dut_opts opts = { .num = 32768, .memory = 16 << 20, .regions = 2 };
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, variant->queues == NET_QUEUES ? DUT_NET : DUT_BLK, &opts));
	EXPECT_LE(2 * 32768 * (dut_packed() ? 16 : 16 + 2 + 8) / 1024, locked_kb());
	EXPECT_EQ(0, dut_units(&d, 0, 3));
	EXPECT_EQ(0, dut_units(&d, 1, 3));
	ASSERT_EQ(0, dut_stop(&d));
	EXPECT_EQ(0, locked_kb());
	dut_close(&d);
}

/* A ring with room for one chain of the shortest kind */
TEST_F(ring, smallest_ring)
{
	bool net = variant->queues == NET_QUEUES;
	struct dut_opts opts = { .num = net ? 1 : 2, .refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC) };
	struct guest_seg seg;
	void *token;
	uint32_t len;
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, net ? DUT_NET : DUT_BLK, &opts));
	for (unsigned int i = 0; i < 10; i++) {
		unsigned char got[200];

		if (!net) {
			EXPECT_EQ(VIRTIO_BLK_S_OK, blk_request(&d, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
			continue;
		}
		EXPECT_EQ(0, dut_unit(&d, RX));
		memset(d.scratch[TX].p, 0, NET_HDR);
		make_frame(d.scratch[TX].p + NET_HDR, 100, i, true);
		seg = (struct guest_seg){ d.scratch[TX].gpa, NET_HDR + 100 };
		ASSERT_EQ(0, gq_add(d.q[TX], &seg, 1, 0, &d));
		gq_publish(d.q[TX]);
		gq_notify(d.q[TX]);
		ASSERT_EQ(0, gq_wait(d.q[TX], 5000));
		ASSERT_EQ(0, gq_get(d.q[TX], &token, &len));
		ASSERT_EQ(100, dut_receive(&d, got, sizeof(got), 5000));
		EXPECT_EQ(0, memcmp(got, d.scratch[TX].p + NET_HDR, 100));
	}
	dut_close(&d);
}

TEST_HARNESS_MAIN
