// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest's disk costs is its VM's: the limits of the cgroup that the VMM is in hold for block
 * I/O, processor time and memory, whichever way a request takes. The guest chooses it: an odd
 * address has a request bounced, a flush has what is cached written.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "store.h"

#define CGROUPS		"/sys/fs/cgroup"
#define GROUP		CGROUPS "/vhltest"
#define NOT_ABLE	"no cgroups of version 2 with cpu, io and memory"

#define SLOTS		32
#define SLOT_STATUS	1024
#define SIZE		(64 << 10)
#define DATA		SCRATCH_FREE
/* What is moved with a limit of RATE bytes a second takes three */
#define RATE		(4 << 20)
#define TOTAL		(12 << 20)

enum way {
	DIRECT,
	BOUNCED,
	BUFFERED,
	THROUGH,
};

/* Requests of @size bytes that are under way on the first queue, from the start of the disk */
struct load {
	struct dut *d;
	uint32_t size;
	bool write, odd;
	uint64_t span, at;
	unsigned int bad;
};

static int add(struct load *l, unsigned int slot)
{
	struct scratch *scratch = &l->d->scratch[0];
	struct virtio_blk_outhdr hdr = {
		.type = htole32(l->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN),
		.sector = htole64(l->at / 512),
	};
	unsigned int at = SCRATCH_DATA + slot * sizeof(hdr);
	struct guest_seg seg[] = {
		{ scratch->gpa + at, sizeof(hdr) }, { scratch->gpa + DATA + l->odd, l->size },
		{ scratch->gpa + SLOT_STATUS + slot, 1 },
	};

	memcpy(scratch->p + at, &hdr, sizeof(hdr));
	scratch->p[SLOT_STATUS + slot] = 0xaa;
	l->at = (l->at + l->size) % l->span;
	return gq_add(l->d->q[0], seg, l->write ? 2 : 1, l->write ? 1 : 2,
		      scratch->p + SLOT_STATUS + slot);
}

static int kick(struct load *l)
{
	gq_publish(l->d->q[0]);
	return gq_notify(l->d->q[0]);
}

/* Move @bytes, or for as long as @ms, with @depth requests at a time.  0 or -errno */
static int run(struct load *l, unsigned int depth, uint64_t bytes, unsigned int ms)
{
	struct guest_queue *q = l->d->q[0];
	int64_t end = now_ms() + ms;
	unsigned char *status;
	uint64_t asked = 0;
	unsigned int slot;
	uint32_t len;
	int ret = 0;

	for (slot = 0; !ret && slot < depth; slot++, asked += l->size)
		ret = add(l, slot);
	if (!ret)
		ret = kick(l);
	while (!ret && gq_in_flight(q)) {
		ret = gq_wait(q, 20000) ?: gq_get(q, (void **)&status, &len);
		if (ret)
			break;
		l->bad += *status != VIRTIO_BLK_S_OK;
		if (bytes ? asked < bytes : now_ms() < end) {
			ret = add(l, status - l->d->scratch[0].p - SLOT_STATUS) ?: kick(l);
			asked += l->size;
		}
	}
	return ret;
}

/* A number of a file of the cgroup: what follows @key in the line that begins with @line, or there */
static int64_t number(const char *file, const char *line, const char *key)
{
	char path[128], text[512], *at;
	int64_t v = 0;
	FILE *f;

	snprintf(path, sizeof(path), GROUP "/%s", file);
	f = fopen(path, "re");
	while (f && fgets(text, sizeof(text), f)) {
		if (strncmp(text, line, strlen(line)))
			continue;
		at = strstr(text, key);
		if (at)
			v = atoll(at + strlen(key));
		break;
	}
	if (f)
		fclose(f);
	return v;
}

static int enter(void)
{
	if (put_file(CGROUPS "/cgroup.subtree_control", "+cpu +io +memory"))
		return -ENOENT;
	if (mkdir(GROUP, 0700) && errno != EEXIST)
		return -errno;
	return put_file(GROUP "/cgroup.procs", "0");
}

static void leave(void)
{
	put_file(CGROUPS "/cgroup.procs", "0");
	/* a thread that is going is in there for a moment longer */
	for (unsigned int i = 0; i < 100 && rmdir(GROUP) && errno == EBUSY; i++)
		sleep_ms(20);
}

/* ---- block I/O ---- */

FIXTURE(io) {
	struct store s;
	struct dut d;
	char dev[32];
	int disk;
	bool able;
};

FIXTURE_VARIANT(io) {
	enum dut_kind kind;
	enum way way;
	bool write;
};

FIXTURE_VARIANT_ADD(io, direct_read) {
	.kind = DUT_VDPA,
	.way = DIRECT,
};

FIXTURE_VARIANT_ADD(io, direct_write) {
	.kind = DUT_BLK,
	.way = DIRECT,
	.write = true,
};

FIXTURE_VARIANT_ADD(io, bounced_read) {
	.kind = DUT_BLK,
	.way = BOUNCED,
};

FIXTURE_VARIANT_ADD(io, bounced_write) {
	.kind = DUT_VDPA,
	.way = BOUNCED,
	.write = true,
};

FIXTURE_VARIANT_ADD(io, cache_miss) {
	.kind = DUT_VDPA,
	.way = BUFFERED,
};

FIXTURE_VARIANT_ADD(io, flushed) {
	.kind = DUT_BLK,
	.way = BUFFERED,
	.write = true,
};

FIXTURE_VARIANT_ADD(io, written_through) {
	.kind = DUT_VDPA,
	.way = THROUGH,
	.write = true,
};

FIXTURE_SETUP(io)
{
	struct dut_opts opts = { 0 };
	struct stat st;

	self->disk = -1;
	/* older harnesses go on with a test whose setup was skipped */
	if (system("modprobe -aq loop dm-mod dm-delay ext4") || access(CGROUPS "/cgroup.procs", F_OK))
		return;
	self->s = (struct store){ .fs = "ext4", .bytes = TOTAL + (4 << 20) };
	ASSERT_EQ(0, store_open(&self->s));
	ASSERT_EQ(0, store_cool(&self->s));
	self->able = !enter();
	if (!self->able)
		return;
	ASSERT_EQ(0, stat(self->s.slow.path, &st));
	snprintf(self->dev, sizeof(self->dev), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	self->disk = open(self->s.path, O_RDWR | O_CLOEXEC | (variant->way <= BOUNCED ? O_DIRECT : 0));
	ASSERT_LE(0, self->disk);
	/* nothing that was not asked for */
	posix_fadvise(self->disk, 0, 0, POSIX_FADV_RANDOM);
	opts.disk = self->disk;
	if (variant->way == THROUGH)
		opts.refuse = BIT(VIRTIO_BLK_F_FLUSH);
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
}

FIXTURE_TEARDOWN(io)
{
	dut_close(&self->d);
	if (self->disk >= 0)
		close(self->disk);
	leave();
	store_close(&self->s);
}

TEST_F_TIMEOUT(io, max, 120)
{
	struct load l = {
		.d = &self->d, .size = SIZE, .write = variant->write, .odd = variant->way == BOUNCED,
		.span = TOTAL,
	};
	const char *key = variant->write ? " wbytes=" : " rbytes=";
	int64_t begin, took, before, bytes;
	char limit[80];

	if (!self->able)
		SKIP(return, NOT_ABLE);
	snprintf(limit, sizeof(limit), "%s rbps=%u wbps=%u", self->dev, RATE, RATE);
	ASSERT_EQ(0, put_file(GROUP "/io.max", limit));
	before = number("io.stat", self->dev, key);
	begin = now_ms();
	ASSERT_EQ(0, run(&l, 8, TOTAL, 0));
	if (variant->way == BUFFERED && variant->write) {
		ASSERT_EQ(0, blk_request(&self->d, 1, VIRTIO_BLK_T_FLUSH, 0, 0, 0));
	}
	took = now_ms() - begin;
	EXPECT_EQ(0, l.bad);
	bytes = number("io.stat", self->dev, key) - before;
	TH_LOG("%u KiB in %lld ms with a limit of %u KiB/s; io.stat: %lld KiB", TOTAL >> 10,
	       (long long)took, RATE >> 10, (long long)bytes >> 10);
	/* not faster by more than a tenth; how much slower is also a matter of the machine */
	EXPECT_LE((int64_t)TOTAL * 1000 / RATE * 10 / 11, took);
	EXPECT_GE((int64_t)TOTAL * 1000 / RATE * 2, took);
	EXPECT_LE(TOTAL / 100 * 98, bytes);
	EXPECT_GE(TOTAL / 10 * 11, bytes);
}

/* ---- processor time and memory ---- */

FIXTURE(vm) {
	struct dut d;
	int disk;
	bool able;
};

FIXTURE_VARIANT(vm) {
	enum dut_kind kind;
	enum way way;
};

FIXTURE_VARIANT_ADD(vm, direct) {
	.kind = DUT_BLK,
	.way = DIRECT,
};

FIXTURE_VARIANT_ADD(vm, bounced) {
	.kind = DUT_VDPA,
	.way = BOUNCED,
};

/* on tmpfs, which does nothing without blocking */
FIXTURE_VARIANT_ADD(vm, buffered) {
	.kind = DUT_BLK,
	.way = BUFFERED,
};

FIXTURE_SETUP(vm)
{
	self->disk = -1;
	self->able = !enter();
}

FIXTURE_TEARDOWN(vm)
{
	dut_close(&self->d);
	if (self->disk >= 0)
		close(self->disk);
	leave();
	slow_disk_remove();
}

typedef FIXTURE_DATA(vm) vm_t;

static int open_vm(vm_t *v, enum dut_kind kind, enum way way, unsigned int ms)
{
	struct dut_opts opts = { 0 };

	v->disk = way == BUFFERED ? make_disk(16 << 20) : slow_disk(ms);
	if (v->disk < 0)
		return v->disk;
	opts.disk = v->disk;
	return dut_open(&v->d, kind, &opts);
}

/* Processor time of the kernel's general workers, in milliseconds */
static long kworkers_ms(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	long ticks = 0;

	while (dir && (e = readdir(dir))) {
		unsigned long user, sys;
		char path[300];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = atoi(e->d_name) > 0 ? fopen(path, "re") : NULL;
		if (f && fscanf(f, "%*d (kworker%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
				&user, &sys) == 2)
			ticks += user + sys;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

/* Three seconds of as many requests as a third of a processor can do, which nobody else helps with */
TEST_F_TIMEOUT(vm, cpu_max, 120)
{
	struct load l = {
		.d = &self->d, .size = SIZE, .odd = variant->way == BOUNCED, .span = 8 << 20,
	};
	int64_t begin, took, inside;
	long outside;
	int ret;

	if (!self->able)
		SKIP(return, NOT_ABLE);
	ret = open_vm(self, variant->kind, variant->way, 0);
	if (ret == -ENOENT)
		SKIP(return, "no null_blk here");
	ASSERT_EQ(0, ret);
	/* whatever is done only once */
	ASSERT_EQ(0, run(&l, 16, 0, 100));
	ASSERT_EQ(0, put_file(GROUP "/cpu.max", "30000 100000"));
	begin = now_ms();
	inside = number("cpu.stat", "usage_usec ", "usage_usec ");
	outside = kworkers_ms();
	ASSERT_EQ(0, run(&l, 16, 0, 3000));
	outside = kworkers_ms() - outside;
	inside = (number("cpu.stat", "usage_usec ", "usage_usec ") - inside) / 1000;
	took = now_ms() - begin;
	ASSERT_EQ(0, put_file(GROUP "/cpu.max", "max"));
	EXPECT_EQ(0, l.bad);
	TH_LOG("in %lld ms the cgroup had %lld ms, workers of the kernel %ld ms", (long long)took,
	       (long long)inside, outside);
	/* what it had in its first and last period may be twice as much */
	EXPECT_GE(took * 33 / 100 + 30, inside);
	/* they have other things to do, too */
	EXPECT_GE(inside / 4, outside);
}

/* Pages that requests are bounced through */
TEST_F_TIMEOUT(vm, memory, 120)
{
	struct load l = {
		.d = &self->d, .size = 96 << 10, .odd = true, .span = 8 << 20,
	};
	struct guest_queue *q;
	int64_t before, grown;
	uint32_t len;
	void *status;
	int ret;

	if (!self->able)
		SKIP(return, NOT_ABLE);
	if (variant->way != BOUNCED)
		SKIP(return, "for what is bounced");
	ret = open_vm(self, variant->kind, variant->way, 3000);
	if (ret == -ENOENT)
		SKIP(return, "no null_blk here");
	ASSERT_EQ(0, ret);
	q = self->d.q[0];
	before = number("memory.stat", "kernel ", " ") - number("memory.stat", "kernel_stack ", " ");
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, add(&l, i));
	}
	ASSERT_EQ(0, kick(&l));
	/* its numbers may be two seconds old */
	do {
		sleep_ms(100);
		grown = number("memory.stat", "kernel ", " ") -
			number("memory.stat", "kernel_stack ", " ") - before;
	} while (grown < 512 << 10 && !gq_pending(q));
	TH_LOG("the cgroup's memory has grown by %lld KiB, without stacks", (long long)grown >> 10);
	EXPECT_LE(512 << 10, grown);
	while (gq_in_flight(q)) {
		ASSERT_EQ(0, gq_wait(q, 20000));
		ASSERT_EQ(0, gq_get(q, &status, &len));
	}
}

TEST_HARNESS_MAIN
