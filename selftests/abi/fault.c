// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out, and user memory cannot be read: each request of a device's whole life is made to
 * fail at its first allocation, then at its second, and so on until it meets no fault any more.  A
 * request that failed can be repeated and then succeeds, so nothing was half done.  Wants a kernel
 * with fault injection (Documentation/fault-injection/fault-injection.rst).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "faults.h"

/* More faults than any request meets */
#define FAULTS_MAX	5000

/*
 * What faults the test's own system calls meet, while it is on; and the queues, a bit for each, that
 * go on whatever fails
 */
static struct {
	int nth;
	bool on;
	unsigned int first, faults, tolerated;
	char wrong[128];
	struct dut *running;
	unsigned int queues;
} inject = { .nth = -1 };

static bool arm(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return pwrite(inject.nth, text, len, 0) == len;
}

/* Was the fault injected?  What is left of the count may hit this very read, or the write */
static bool disarm(void)
{
	char text[16] = "";
	ssize_t n = pread(inject.nth, text, sizeof(text) - 1, 0);
	bool hit = n > 0 && atoi(text) == 0;

	while (!arm(0))
		;
	return hit;
}

static bool goes_on(void)
{
	for (unsigned int i = 0; i < 2; i++)
		if (inject.queues & (1U << i) && dut_units(inject.running, i, 1))
			return false;
	return true;
}

static long with_faults(const char *what, bool stops, long nr, long a, long b, long c)
{
	for (unsigned int n = inject.first; n < FAULTS_MAX; n++) {
		long ret;
		int err;
		bool hit;

		arm(n);
		ret = syscall(nr, a, b, c);
		err = errno;
		hit = disarm();
		inject.faults += hit;
		errno = err;
		if (!hit)
			return ret;
		if (ret >= 0) {
			inject.tolerated++;
			return ret;
		}
		if (err != EFAULT && (stops || (err != ENOMEM && err != EAGAIN && err != ENFILE))) {
			snprintf(inject.wrong, sizeof(inject.wrong), "%s: fault %u: %s", what, n,
				 strerror(err));
			return ret;
		}
		if (!goes_on()) {
			snprintf(inject.wrong, sizeof(inject.wrong),
				 "%s: fault %u: a queue does not go on", what, n);
			return ret;
		}
	}
	snprintf(inject.wrong, sizeof(inject.wrong), "%s: faults without end", what);
	errno = ELOOP;
	return -1;
}

/* Requests that stop a queue never fail for want of memory; their argument may be unreadable */
static bool is_stop(unsigned long request, const void *arg)
{
	switch (request) {
	case VHOST_GET_VRING_BASE:
	case VHOST_VDPA_SUSPEND:
		return true;
	case VHOST_VDPA_SET_STATUS:
		return *(const uint8_t *)arg == 0;
	case VHOST_NET_SET_BACKEND:
	case VHOST_BLK_SET_BACKEND:
		return ((const struct vhost_vring_file *)arg)->fd == -1;
	default:
		return false;
	}
}

/* These three come instead of the C library's, for this program and the library of the guest */
int ioctl(int fd, unsigned long request, ...)
{
	char what[32];
	va_list ap;
	long arg;

	va_start(ap, request);
	arg = va_arg(ap, long);
	va_end(ap);
	if (!inject.on || _IOC_TYPE(request) != VHOST_VIRTIO)
		return syscall(SYS_ioctl, fd, request, arg);
	snprintf(what, sizeof(what), "request %#lx", request & 0xff);
	return with_faults(what, is_stop(request, (void *)arg), SYS_ioctl, fd, request, arg);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	const struct vhost_msg_v2 *m = buf;
	char what[32];

	if (!inject.on || len != sizeof(*m))
		return syscall(SYS_write, fd, buf, len);
	snprintf(what, sizeof(what), "message %u", m->iotlb.type);
	return with_faults(what, m->iotlb.type == VHOST_IOTLB_INVALIDATE ||
			   m->iotlb.type == VHOST_IOTLB_BATCH_BEGIN, SYS_write, fd, (long)buf, len);
}

int open(const char *path, int flags, ...)
{
	/* nothing that is made here needs a mode */
	if (!inject.on || strncmp(path, "/dev/v", 6))
		return syscall(SYS_openat, AT_FDCWD, path, flags, 0);
	return with_faults(path, false, SYS_open, (long)path, flags, 0);
}

static int open_nth(void)
{
	inject.nth = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return inject.nth < 0 ? -errno : 0;
}

FIXTURE(fault) {
	struct dut d;
	bool able;
};

FIXTURE_VARIANT(fault) {
	enum dut_kind kind;
};

DUT_EACH(fault)

FIXTURE_SETUP(fault)
{
	memset(&inject, 0, sizeof(inject));
	inject.first = 1;
	inject.nth = -1;
	/* older harnesses go on with a test whose setup was skipped */
	self->able = !faults_begin() && !open_nth();
}

FIXTURE_TEARDOWN(fault)
{
	inject.on = false;
	dut_close(&self->d);
	if (inject.nth >= 0)
		close(inject.nth);
	faults_end();
}

/*
 * Open, own, memory, rings, start; stop, start again; and traffic, without faults.  A fault that
 * a request got over ends it, and hides those behind it: they come first in the next round.
 */
TEST_F_TIMEOUT(fault, each_request, 900)
{
	struct dut *d = &self->d;
	unsigned int before, total;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	for (inject.first = 1; ; inject.first++) {
		before = inject.faults;
		inject.on = true;
		ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
		inject.on = false;
		ASSERT_STREQ("", inject.wrong);
		ASSERT_EQ(0, dut_units(d, 0, 2));
		ASSERT_EQ(0, dut_units(d, 1, 2));
		inject.on = true;
		ASSERT_EQ(0, dut_restart(d));
		inject.on = false;
		ASSERT_STREQ("", inject.wrong);
		ASSERT_EQ(0, dut_units(d, 0, 2));
		ASSERT_EQ(0, dut_units(d, 1, 2));
		total = inject.faults;
		if (total == before)
			break;
		dut_close(d);
	}
	TH_LOG("%u faults, %u of them without an error, at most %u in a request", total,
	       inject.tolerated, inject.first - 1);
	EXPECT_LT(100, total);
}

/* Requests that a running device of either dialect gets, and that change nothing in the end */
static int settings(struct dut *d)
{
	int fd = d->g->fd, ret = 0;
	uint64_t features = d->g->features;

	for (unsigned int i = 0; i < 2; i++) {
		ret = ret ?: guest_queue_fds(d->q[i]);
		if (d->kind == DUT_VDPA)
			ret = ret ?: guest_queue_enable(d->q[i], true);
		else
			ret = ret ?: guest_queue_addr(d->q[i]) ?: guest_queue_backend(d->q[i], d->backend);
	}
	ret = ret ?: xioctl(fd, VHOST_SET_FEATURES, &features) ?: guest_features(d->g, &features);
	if (d->kind != DUT_NET)
		ret = ret ?: xioctl(fd, VHL_BLK_RESIZE, NULL);
	if (d->kind != DUT_VDPA)
		return ret ?: guest_commit(d->g);
	ret = ret ?: xioctl(fd, VHOST_VDPA_SET_CONFIG_CALL, &d->q[0]->call_fd);
	ret = ret ?: dut_message(d, VHOST_IOTLB_UPDATE, 1ULL << 40, 4096, d->scratch[0].p);
	return ret ?: dut_message(d, VHOST_IOTLB_INVALIDATE, 1ULL << 40, 4096, NULL);
}

/* The last running queue of a disk goes over to another one and back; queue 1 stops and starts */
static int reopen(struct dut *d)
{
	int other = d->kind == DUT_NET ? dup(d->backend) : make_disk(4 << 20);
	int ret = guest_queue_backend(d->q[1], -1);

	inject.queues = 1;
	ret = ret ?: guest_queue_backend(d->q[0], other);
	ret = ret ?: guest_queue_backend(d->q[0], d->backend);
	ret = ret ?: guest_queue_backend(d->q[1], d->backend);
	inject.queues = 3;
	close(other);
	return ret;
}

/* Both queues stop, and have to start again in one request */
static int stop_and_go(struct dut *d)
{
	struct guest_region *r = dut_region(d, gq_area(d->q[1], 2));
	int fd = d->g->fd, ret;

	inject.queues = 0;
	ret = xioctl(fd, VHOST_VDPA_SUSPEND, NULL) ?: xioctl(fd, VHOST_VDPA_RESUME, NULL);
	ret = ret ?: guest_queue_enable(d->q[1], false) ?: guest_queue_enable(d->q[1], true);
	ret = ret ?: dut_message(d, VHOST_IOTLB_INVALIDATE, r->gpa, r->size, NULL);
	ret = ret ?: dut_message(d, VHOST_IOTLB_UPDATE, r->gpa, r->size, r->hva);
	ret = ret ?: dut_message(d, VHOST_IOTLB_BATCH_BEGIN, 0, 0, NULL);
	ret = ret ?: dut_message(d, VHOST_IOTLB_INVALIDATE, r->gpa, r->size, NULL);
	ret = ret ?: dut_message(d, VHOST_IOTLB_UPDATE, r->gpa, r->size, r->hva);
	ret = ret ?: dut_message(d, VHOST_IOTLB_BATCH_END, 0, 0, NULL);
	inject.queues = 3;
	return ret;
}

/* A request that fails has changed nothing: after each the queues that ran go on */
TEST_F_TIMEOUT(fault, running, 900)
{
	struct dut *d = &self->d;
	unsigned int before;
	uint64_t n;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	inject.running = d;
	inject.queues = 3;
	for (inject.first = 1; ; inject.first++) {
		before = inject.faults;
		inject.on = true;
		EXPECT_EQ(0, settings(d));
		if (variant->kind == DUT_VDPA) {
			EXPECT_EQ(0, stop_and_go(d));
		} else {
			EXPECT_EQ(0, reopen(d));
		}
		inject.on = false;
		ASSERT_STREQ("", inject.wrong);
		/* queues that did not start said so */
		for (unsigned int i = 0; i < 2; i++)
			(void)!read(d->q[i]->err_fd, &n, sizeof(n));
		EXPECT_TRUE(goes_on());
		if (inject.faults == before)
			break;
	}
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
	TH_LOG("%u faults, %u of them without an error", inject.faults, inject.tolerated);
	EXPECT_LT(50, inject.faults);
}

/* Memory is replaced while the queues run: by the old or by the new, never by half of it */
TEST_F_TIMEOUT(fault, memory_replaced, 900)
{
	struct dut *d = &self->d;
	struct mover m[2];

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	for (unsigned int i = 0; i < 2; i++) {
		/* has its indirect table from memory that is known to the device */
		ASSERT_EQ(0, dut_unit(d, i));
		ASSERT_EQ(0, mover_start(&m[i], d, i));
	}
	for (unsigned int i = 0; i < 5; i++) {
		inject.on = true;
		EXPECT_EQ(0, guest_add_memory(d->g, 0x100000000ULL + i * 0x10000000ULL, 1 << 20));
		EXPECT_EQ(0, guest_commit(d->g));
		inject.on = false;
		EXPECT_STREQ("", inject.wrong);
	}
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(0, mover_stop(&m[i]));
		EXPECT_LT(0, m[i].done);
	}
	EXPECT_LT(0, inject.faults);
}

TEST_HARNESS_MAIN
