// SPDX-License-Identifier: GPL-2.0
/*
 * Nothing is left behind: the same thing thousands of times, and the kernel has as many objects as
 * before in every general cache, as many files, as many threads and as much memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

FIXTURE(leak) {
	struct slabs before, now;
	long files, kb;
	struct dut d;
	int efd, fd;
};

FIXTURE_VARIANT(leak) {
	enum dut_kind kind;
};

DUT_EACH(leak)

FIXTURE_SETUP(leak)
{
}

FIXTURE_TEARDOWN(leak)
{
}

typedef FIXTURE_DATA(leak) leak_t;

static int begin(leak_t *l)
{
	int ret = slabs_read(&l->before);

	l->files = nr_files();
	l->kb = mem_available_kb();
	return ret;
}

/*
 * After @n times, at least 100: no cache may have n / 2 objects more, nor may there be memory gone
 * that is no object (a page each time).  What is freed late is waited for.
 */
static const char *leaks(leak_t *l, unsigned int n, char *buf, size_t size)
{
	/*
	 * KASAN keeps what was freed for a while.  A kernel that has it looks for leaks by itself, at
	 * the end of the run (tools/vm/run --debug-kernel).
	 */
	bool only_files = !access("/sys/kernel/debug/kmemleak", F_OK);
	int64_t end = now_ms() + 6000;
	const char *grown;
	long files, kb;

	do {
		files = nr_files() - l->files;
		kb = l->kb - mem_available_kb();
		if (slabs_read(&l->now))
			return "no /proc/slabinfo";
		grown = slabs_grown(&l->before, &l->now, n / 2);
		if (files < nr_files_slack() + 10 && (only_files || (!grown && kb < (long)n * 2 + 8192)))
			return "nothing";
		sleep_ms(100);
	} while (now_ms() < end);
	snprintf(buf, size, "%s: %ld files, %ld KiB more", grown ? grown : "no cache", files, kb);
	return buf;
}

TEST_F_TIMEOUT(leak, open_and_close, 120)
{
	unsigned int n = many(variant->kind == DUT_NET ? 6000 : 2000);
	char buf[128];

	for (unsigned int i = 0; i < 100; i++)
		close(xopen(dut_node(variant->kind)));
	ASSERT_EQ(0, begin(self));
	for (unsigned int i = 0; i < n; i++) {
		int fd = xopen(dut_node(variant->kind));

		ASSERT_LE(0, fd);
		/* owned each second time */
		if (i % 2) {
			ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
		}
		close(fd);
	}
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
}

/* CVE-2015-6252: the eventfd that was set before stayed referenced */
TEST_F_TIMEOUT(leak, eventfds, 120)
{
	static const unsigned long requests[] = {
		VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
		VHOST_VDPA_SET_CONFIG_CALL,
	};
	unsigned int n = many(10000) / 3, kinds = variant->kind == DUT_VDPA ? 4 : 3;
	int fd = xopen(dut_node(variant->kind));
	char buf[128];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, begin(self));
	for (unsigned int i = 0; i < n; i++) {
		/* a new one each time, which only the device still has */
		int efd = eventfd(0, 0);

		for (unsigned int k = 0; k < kinds; k++) {
			if (k == 3) {
				ASSERT_EQ(0, xioctl(fd, requests[k], &efd));
			} else {
				ASSERT_EQ(0, vring_file(fd, requests[k], 0, efd));
			}
		}
		close(efd);
	}
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
	close(fd);
}

TEST_F_TIMEOUT(leak, start_and_stop, 120)
{
	unsigned int n = many(300);
	char buf[128];

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, dut_restart(&self->d));
	}
	ASSERT_EQ(0, begin(self));
	for (unsigned int i = 0; i < n; i++) {
		ASSERT_EQ(0, dut_restart(&self->d));
		if (i % 16 == 0) {
			ASSERT_EQ(0, dut_unit(&self->d, 1));
		}
	}
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
	EXPECT_GE(2 * 3 * 4 * 4, locked_kb());
	ASSERT_EQ(0, guest_stop(self->d.g));
	EXPECT_EQ(0, locked_kb());
	dut_close(&self->d);
}

/* Whole devices, with threads, closed while they run */
TEST_F_TIMEOUT(leak, whole_devices, 120)
{
	unsigned int n = many(200);
	char buf[128];

	for (unsigned int i = 0; i < n + 20; i++) {
		if (i == 20) {
			ASSERT_EQ(0, begin(self));
		}
		ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
		if (i % 4 == 0) {
			ASSERT_EQ(0, dut_unit(&self->d, i / 4 % 2));
		}
		dut_close(&self->d);
	}
	EXPECT_TRUE(wait_workers(0, 5000));
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
}

/* What fails half-way lets go of the first half */
TEST_F_TIMEOUT(leak, starts_that_fail, 120)
{
	struct dut_opts opts = { .stopped = true };
	unsigned int n = many(1000);
	struct guest_queue *q;
	char buf[128];
	struct dut *d = &self->d;

	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	q = d->q[1];
	/* the last area of the last queue */
	q->addr.used_user_addr = variant->kind == DUT_VDPA ? 1ULL << 50 : 4096;
	for (unsigned int i = 0; i < n + 20; i++) {
		uint8_t status = 0x0f;

		if (i == 20) {
			ASSERT_EQ(0, begin(self));
		}
		if (variant->kind == DUT_VDPA) {
			if (!i) {
				ASSERT_EQ(0, guest_queue_program(d->q[0]));
				ASSERT_EQ(0, guest_queue_program(q));
				ASSERT_EQ(0, guest_queue_enable(d->q[0], true));
				ASSERT_EQ(0, guest_queue_enable(q, true));
			}
			ASSERT_EQ(-EFAULT, xioctl(d->g->fd, VHOST_VDPA_SET_STATUS, &status));
		} else {
			if (!i) {
				ASSERT_EQ(0, guest_queue_program(q));
			}
			ASSERT_EQ(-EFAULT, guest_queue_backend(q, d->backend));
		}
	}
	EXPECT_EQ(0, locked_kb());
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
	dut_close(d);
}

TEST_F_TIMEOUT(leak, tables, 120)
{
	unsigned int n = many(1500);
	char buf[128];

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
	ASSERT_EQ(0, begin(self));
	for (unsigned int i = 0; i < n; i++) {
		struct guest_region *r = &self->d.g->region[3];
		struct vhost_msg_v2 m = {
			.type = VHOST_IOTLB_MSG_V2,
			.iotlb = {
				.type = i % 2 ? VHOST_IOTLB_UPDATE : VHOST_IOTLB_INVALIDATE,
				.iova = 1ULL << 40, .size = 4096, .uaddr = (uintptr_t)r->hva,
				.perm = VHOST_ACCESS_RW,
			},
		};

		if (variant->kind == DUT_VDPA) {
			ASSERT_EQ(72, write(self->d.g->fd, &m, sizeof(m)));
		} else {
			ASSERT_EQ(0, guest_commit(self->d.g));
		}
	}
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
	EXPECT_EQ(0, dut_unit(&self->d, 1));
	dut_close(&self->d);
}

/* Files that are attached and refused: every disk and TAP is let go of */
TEST_F_TIMEOUT(leak, backends, 120)
{
	unsigned long request = variant->kind == DUT_NET ? VHOST_NET_SET_BACKEND :
							   VHOST_BLK_SET_BACKEND;
	struct dut_opts opts = { .stopped = true };
	unsigned int n = many(1000);
	char buf[128];
	int fd;

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	fd = self->d.g->fd;
	ASSERT_EQ(0, guest_queue_program(self->d.q[0]));
	ASSERT_EQ(0, begin(self));
	for (unsigned int i = 0; i < n; i++) {
		int file = variant->kind == DUT_NET ? eventfd(0, 0) : make_disk(4096);
		int ret = vring_file(fd, request, 0, file);

		ASSERT_EQ(variant->kind == DUT_NET ? -ENOTSOCK : 0, ret);
		if (variant->kind == DUT_NET) {
			ASSERT_EQ(0, vring_file(fd, request, 0, self->d.backend));
		}
		if (variant->kind != DUT_VDPA) {
			ASSERT_EQ(0, vring_file(fd, request, 0, -1));
		}
		close(file);
	}
	if (variant->kind == DUT_VDPA) {
		ASSERT_EQ(0, vring_file(fd, request, 0, -1));
	}
	EXPECT_STREQ("nothing", leaks(self, n, buf, sizeof(buf)));
	dut_close(&self->d);
}

TEST_HARNESS_MAIN
