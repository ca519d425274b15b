// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out, and user memory cannot be read: each request of a device's whole life is made to
 * fail at its first allocation, then at its second, and so on until it meets no fault any more.  A
 * request that failed can be repeated and then succeeds, so nothing was half done.  Wants a kernel
 * with fault injection (Documentation/fault-injection/fault-injection.rst).
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

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

/* Every kind of fault, in what would sleep for memory too, and no stack traces on the console */
static int set_up(void)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128];

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose", kinds[i]);
		if (put_file(path, "0"))
			return -ENOENT;
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/ignore-gfp-wait", kinds[i]);
		/* fail_usercopy has none */
		put_file(path, "N");
	}
	put_file("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	inject.nth = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (inject.nth < 0)
		return -errno;
	/* what the allocator prints from here on is wanted (tools/vm/complaints) */
	put_file("/dev/kmsg", "fault injection begins\n");
	return 0;
}

#define NO_FAULTS	"this kernel has no fault injection (tools/vm/run --debug-kernel has)"

/*
 * Two faults in a row while a thread is made, and the kernel warns (tools/vm/complaints): the test
 * host is not to die of that.
 */
static void survive_warnings(bool yes)
{
	static const char path[] = "/proc/sys/kernel/panic_on_warn";
	static char before[16];
	FILE *f;

	if (!yes) {
		if (before[0])
			put_file(path, before);
		before[0] = 0;
		return;
	}
	f = fopen(path, "re");
	if (f && !fgets(before, sizeof(before), f))
		before[0] = 0;
	if (f)
		fclose(f);
	put_file(path, "0");
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
	self->able = !set_up();
}

FIXTURE_TEARDOWN(fault)
{
	inject.on = false;
	survive_warnings(false);
	dut_close(&self->d);
	if (inject.nth >= 0) {
		close(inject.nth);
		put_file("/dev/kmsg", "fault injection ends\n");
	}
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
	struct guest_region *r = dut_region(d, d->q[1]->used);
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

/* Set what the workers of this process meet: one allocation in @percent of a hundred fails */
static int faults_of_workers(unsigned int percent)
{
	static const char * const kinds[] = { "failslab", "fail_page_alloc" };
	DIR *tasks = opendir("/proc/self/task");
	char path[300], text[64];
	struct dirent *t;
	int found = 0;

	survive_warnings(percent);
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/task-filter", kinds[i]);
		put_file(path, "Y");
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/times", kinds[i]);
		put_file(path, "-1");
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/probability", kinds[i]);
		snprintf(text, sizeof(text), "%u", percent);
		put_file(path, text);
	}
	while (tasks && (t = readdir(tasks))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", t->d_name);
		f = t->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) && !strncmp(text, "vhl-", 4)) {
			snprintf(path, sizeof(path), "/proc/self/task/%s/make-it-fail", t->d_name);
			found += !put_file(path, percent ? "1" : "0");
		}
		fclose(f);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

/* One packet from the guest: the chain comes back, whatever becomes of the packet */
static int send_one(struct dut *d)
{
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[] = {
		{ scratch->gpa + SCRATCH_HDR, NET_HDR }, { scratch->gpa + SCRATCH_DATA, 1000 },
	};
	void *token;
	uint32_t used;
	int ret;

	memset(scratch->p + SCRATCH_HDR, 0, NET_HDR);
	make_frame(scratch->p + SCRATCH_DATA, 1000, scratch->seq, true);
	ret = gq_add(d->q[TX], seg, 2, 0, scratch);
	if (ret)
		return ret;
	gq_publish(d->q[TX]);
	ret = gq_notify(d->q[TX]) ?: gq_wait(d->q[TX], d->timeout_ms);
	return ret ?: gq_get(d->q[TX], &token, &used);
}

/* The workers' own allocations fail: a packet is lost, no more; a disk tries again until there is memory */
TEST_F_TIMEOUT(fault, workers, 900)
{
	struct dut *d = &self->d;
	unsigned int failed = 0;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	ASSERT_LE(2, faults_of_workers(20));
	for (unsigned int i = 0; i < 300; i++) {
		int ret;

		if (variant->kind == DUT_NET) {
			ret = send_one(d);
			dut_forget(d);
		} else {
			ret = blk_request(d, i % 2, VIRTIO_BLK_T_OUT, i * 8 % 4096,
					  d->scratch[i % 2].gpa + SCRATCH_DATA, 4096);
			failed += ret == VIRTIO_BLK_S_IOERR;
		}
		ASSERT_TRUE(ret == 0 || ret == VIRTIO_BLK_S_IOERR)
			TH_LOG("unit %u: %d", i, ret);
	}
	faults_of_workers(0);
	EXPECT_EQ(0, dut_units(d, 0, 20));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
	EXPECT_EQ(0, failed)
		TH_LOG("%u of 300 requests answered with an error", failed);
}

/* The same with direct I/O of a device: from and to aligned buffers, through pages of our own, flushes */
TEST_F_TIMEOUT(fault, direct, 900)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_FLUSH };
	struct dut_opts opts = { 0 };
	struct dut *d = &self->d;
	unsigned int failed = 0;
	void *page;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	if (variant->kind == DUT_NET)
		SKIP(return, "of disks");
	opts.disk = slow_disk(0);
	if (opts.disk < 0)
		SKIP(return, "no null_blk here");
	/* it allocates its pages when they are first written to: not to fail in a worker */
	page = aligned_alloc(4096, 4096);
	ASSERT_NE(NULL, page);
	memset(page, 0, 4096);
	for (unsigned int i = 0; i < 1024; i++) {
		ASSERT_EQ(4096, pwrite(opts.disk, page, 4096, i * 4096));
	}
	free(page);
	ASSERT_EQ(0, dut_open(d, variant->kind, &opts));
	ASSERT_LE(2, faults_of_workers(20));
	for (unsigned int i = 0; i < 300; i++) {
		uint32_t type = types[i % 3], len = type == VIRTIO_BLK_T_FLUSH ? 0 : 4096 << i / 3 % 4;
		int ret = blk_request(d, i % 2, type, i * 8 % 4096, d->scratch[i % 2].gpa + SCRATCH_FREE + i % 5,
				      len);

		failed += ret == VIRTIO_BLK_S_IOERR;
		ASSERT_TRUE(ret == 0 || ret == VIRTIO_BLK_S_IOERR)
			TH_LOG("request %u: %d", i, ret);
	}
	faults_of_workers(0);
	EXPECT_EQ(0, failed)
		TH_LOG("%u of 300 requests answered with an error", failed);
	EXPECT_EQ(0, dut_units(d, 0, 20));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
	EXPECT_EQ(0, dut_counter(d, 1, "breaks"));
	dut_close(d);
	close(opts.disk);
	slow_disk_remove();
}

/*
 * There is no memory for a chain of many segments: the device waits until there is some. Nothing is
 * lost by it, least of all the queue.
 */
TEST_F_TIMEOUT(fault, long_chain, 900)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[34];
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_OUT) };
	unsigned int n = 0;
	uint32_t used;
	void *token;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	ASSERT_EQ(0, dut_units(d, TX, 5));
	seg[n++] = (struct guest_seg){
		scratch->gpa + SCRATCH_HDR, variant->kind == DUT_NET ? NET_HDR : sizeof(hdr)
	};
	memset(scratch->p + SCRATCH_HDR, 0, NET_HDR);
	if (variant->kind != DUT_NET)
		memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
	make_frame(scratch->p + SCRATCH_DATA, 1024, 1, true);
	for (unsigned int i = 0; i < 32; i++)
		seg[n++] = (struct guest_seg){ scratch->gpa + SCRATCH_DATA + i * 32, 32 };
	scratch->p[SCRATCH_STATUS] = 0xaa;
	seg[n] = (struct guest_seg){ scratch->gpa + SCRATCH_STATUS, 1 };

	ASSERT_LE(2, faults_of_workers(100));
	ASSERT_EQ(0, gq_add(d->q[TX], seg, n, variant->kind != DUT_NET, scratch));
	gq_publish(d->q[TX]);
	ASSERT_EQ(0, gq_notify(d->q[TX]));
	EXPECT_NE(0, gq_wait(d->q[TX], 500));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	faults_of_workers(0);
	ASSERT_EQ(0, gq_wait(d->q[TX], d->timeout_ms));
	ASSERT_EQ(0, gq_get(d->q[TX], &token, &used));
	if (variant->kind != DUT_NET) {
		EXPECT_EQ(0, scratch->p[SCRATCH_STATUS]);
	}
	dut_forget(d);
	EXPECT_EQ(0, dut_units(d, 0, 20));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
}

/* The same where it is the request itself that there is no memory for */
TEST_F_TIMEOUT(fault, first_request, 900)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[TX];
	uint32_t used;
	void *token;

	if (!self->able)
		SKIP(return, NO_FAULTS);
	if (variant->kind == DUT_NET)
		SKIP(return, "frames need no memory of the device's own");
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	ASSERT_LE(2, faults_of_workers(100));
	d->timeout_ms = 500;
	EXPECT_GT(0, blk_request(d, TX, VIRTIO_BLK_T_OUT, 8, scratch->gpa + SCRATCH_DATA, 512));
	EXPECT_EQ(0xaa, scratch->p[SCRATCH_STATUS]);
	faults_of_workers(0);
	d->timeout_ms = 20000;
	ASSERT_EQ(0, gq_wait(d->q[TX], d->timeout_ms));
	ASSERT_EQ(0, gq_get(d->q[TX], &token, &used));
	EXPECT_EQ(0, scratch->p[SCRATCH_STATUS]);
	EXPECT_EQ(0, dut_units(d, TX, 20));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
}

/* ... and a client can stop the queue meanwhile */
TEST_F_TIMEOUT(fault, long_chain_stopped, 900)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[40];

	if (!self->able)
		SKIP(return, NO_FAULTS);
	ASSERT_EQ(0, dut_open(d, variant->kind, NULL));
	for (unsigned int i = 0; i < 40; i++)
		seg[i] = (struct guest_seg){ scratch->gpa + SCRATCH_DATA + i * 32, 32 };
	ASSERT_LE(2, faults_of_workers(100));
	ASSERT_EQ(0, gq_add(d->q[TX], seg, 40, 0, scratch));
	gq_publish(d->q[TX]);
	ASSERT_EQ(0, gq_notify(d->q[TX]));
	EXPECT_NE(0, gq_wait(d->q[TX], 100));
	EXPECT_EQ(0, dut_stop(d));
	EXPECT_EQ(0, d->q[TX]->base);
	faults_of_workers(0);
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
}

TEST_HARNESS_MAIN
