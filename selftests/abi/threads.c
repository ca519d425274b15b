// SPDX-License-Identifier: GPL-2.0
/*
 * Whose threads serve a device: wherever the thread that called VHOST_SET_OWNER may run, with its
 * scheduling policy, nice value, memory policy and cgroup, whoever starts the queues. Under QEMU that
 * is a vCPU, pinned and perhaps real-time. Threads for what blocks are no exception.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"
#include "store.h"

#define CGROUPS		"/sys/fs/cgroup"
#define GROUP		CGROUPS "/vhltest"
#define THREADS_MAX	64

/**
 * struct traits - what a thread has of its owner's
 * @cpus: where it may run
 * @policy: of the scheduler, and @priority
 * @nice: nice value
 * @memory: memory policy as /proc has it, "" where it cannot be seen
 * @cgroup: path in the hierarchy of version 2
 */
struct traits {
	cpu_set_t cpus;
	int policy, priority, nice;
	char memory[32], cgroup[64];
};

/* One line of a file of a thread that begins with @prefix, without it */
static void line_of(const char *path, const char *prefix, char *buf, size_t size)
{
	char line[512];
	FILE *f = fopen(path, "re");

	buf[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, prefix, strlen(prefix)))
			continue;
		snprintf(buf, size, "%.*s", (int)size - 1, line + strlen(prefix));
		break;
	}
	if (f)
		fclose(f);
}

static int traits_of(pid_t tid, struct traits *t)
{
	struct sched_param param;
	char path[64], map[256];

	memset(t, 0, sizeof(*t));
	if (sched_getaffinity(tid, sizeof(t->cpus), &t->cpus) || sched_getparam(tid, &param))
		return -errno;
	t->policy = sched_getscheduler(tid);
	t->priority = param.sched_priority;
	errno = 0;
	t->nice = getpriority(PRIO_PROCESS, tid);
	if (errno)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", tid);
	line_of(path, "0::", t->cgroup, sizeof(t->cgroup));
	/* of a mapping without a policy of its own: that of the thread that it is looked at through */
	snprintf(path, sizeof(path), "/proc/self/task/%d/numa_maps", tid);
	line_of(path, "", map, sizeof(map));
	sscanf(map, "%*s %31s", t->memory);
	return 0;
}

static bool is_blocked(pid_t tid)
{
	char path[64], state[8];

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	line_of(path, "State:\t", state, sizeof(state));
	return state[0] == 'D';
}

/* Threads of ours for this process: its own, or, before 6.4, of the kernel */
static unsigned int our_threads(pid_t *tid)
{
	static const char * const dirs[] = { "/proc/self/task", "/proc" };
	char prefix[32], path[300], name[32];
	unsigned int n = 0;

	snprintf(prefix, sizeof(prefix), "vhost-%d", getpid());
	for (unsigned int i = 0; i < 2; i++) {
		DIR *dir = opendir(dirs[i]);
		struct dirent *e;

		while (dir && (e = readdir(dir)) && n < THREADS_MAX) {
			snprintf(path, sizeof(path), "%s/%s/comm", dirs[i], e->d_name);
			line_of(path, "", name, sizeof(name));
			if (atoi(e->d_name) > 0 && !strncmp(name, prefix, strlen(prefix)))
				tid[n++] = atoi(e->d_name);
		}
		if (dir)
			closedir(dir);
	}
	return n;
}

/* @blocked: how many of them wait for a device */
static unsigned int look(struct __test_metadata *_metadata, const struct traits *want,
			 unsigned int *blocked)
{
	pid_t tid[THREADS_MAX];
	unsigned int n = our_threads(tid);
	struct traits got;

	*blocked = 0;
	for (unsigned int i = 0; i < n; i++) {
		EXPECT_EQ(0, traits_of(tid[i], &got));
		*blocked += is_blocked(tid[i]);
		EXPECT_TRUE(CPU_EQUAL(&want->cpus, &got.cpus))
			TH_LOG("thread %u may run on %d processors, its owner on %d, or others", i,
			       CPU_COUNT(&got.cpus), CPU_COUNT(&want->cpus));
		EXPECT_EQ(want->policy, got.policy);
		EXPECT_EQ(want->priority, got.priority);
		EXPECT_EQ(want->nice, got.nice);
		EXPECT_STREQ(want->cgroup, got.cgroup);
		/* threads of the kernel have no mappings to look at it through */
		if (got.memory[0]) {
			EXPECT_STREQ(want->memory, got.memory);
		}
	}
	return n;
}

/* What a thread is given before it does something with the device */
struct role {
	const char *cgroup;
	int policy, priority, nice, cpu;
	bool prefer;
};

static int play(const struct role *role)
{
	struct sched_param param = { .sched_priority = role->priority };
	unsigned long node = 1;
	char path[128];
	cpu_set_t cpus;

	snprintf(path, sizeof(path), "%s/%s/cgroup.threads", GROUP, role->cgroup);
	if (put_file(path, "0"))
		return -ENOTSUP;
	if (role->cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET(role->cpu, &cpus);
		if (sched_setaffinity(0, sizeof(cpus), &cpus))
			return -errno;
	}
	if (setpriority(PRIO_PROCESS, 0, role->nice) || sched_setscheduler(0, role->policy, &param))
		return -errno;
	if (role->prefer && syscall(SYS_set_mempolicy, MPOL_PREFERRED, &node, 8))
		return -errno;
	return 0;
}

FIXTURE(threads) {
	struct store s;
	struct dut d;
	struct role owner, starter;
	struct traits want;
	int disk, err;
	enum dut_kind kind;
	bool kthreads;
	bool able, stored;
};

FIXTURE_VARIANT(threads) {
	enum dut_kind kind;
	bool kthreads;
};

DUT_EACH(threads)
FIXTURE_VARIANT_ADD(threads, net_kthreads) { .kind = DUT_NET, .kthreads = true };
FIXTURE_VARIANT_ADD(threads, blk_kthreads) { .kind = DUT_BLK, .kthreads = true };

typedef FIXTURE_DATA(threads) threads_t;

static void remove_groups(void)
{
	/* a thread that is going is in its cgroup for a moment longer */
	for (unsigned int i = 0; i < 100 && !access(GROUP, F_OK); i++) {
		rmdir(GROUP "/owner");
		rmdir(GROUP "/starter");
		if (rmdir(GROUP))
			sleep_ms(20);
	}
}

/* Threads of a process can be in cgroups of their own below the one of the process */
static int make_groups(void)
{
	if (access(CGROUPS "/cgroup.controllers", F_OK))
		return -ENOENT;
	remove_groups();
	if (mkdir(GROUP, 0700) || put_file(GROUP "/cgroup.procs", "0"))
		return -errno;
	if (mkdir(GROUP "/owner", 0700) || mkdir(GROUP "/starter", 0700))
		return -errno;
	return put_file(GROUP "/owner/cgroup.type", "threaded") ?:
	       put_file(GROUP "/starter/cgroup.type", "threaded");
}

#define NOT_ABLE	"no cgroups of version 2, or no device mapper"

FIXTURE_SETUP(threads)
{
	self->kind = variant->kind;
	self->kthreads = variant->kthreads;
	self->disk = -1;
	self->owner = (struct role){ .cgroup = "owner", .cpu = -1 };
	self->starter = (struct role){ .cgroup = "starter", .cpu = -1 };
	/* older harnesses go on with a test whose setup was skipped */
	if (make_groups() == -ENOENT)
		return;
	if (variant->kind != DUT_NET) {
		if (system("modprobe -aq loop dm-mod dm-delay"))
			return;
		self->s.bytes = 4 << 20;
		self->stored = true;
		ASSERT_EQ(0, store_open(&self->s));
		self->disk = open(self->s.path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, self->disk);
	}
	self->able = true;
}

FIXTURE_TEARDOWN(threads)
{
	dut_close(&self->d);
	if (self->disk >= 0)
		close(self->disk);
	if (self->stored)
		store_close(&self->s);
	put_file(CGROUPS "/cgroup.procs", "0");
	remove_groups();
}

static void *own(void *arg)
{
	threads_t *t = arg;
	struct dut_opts opts = { .stopped = true, .kthreads = t->kthreads };

	opts.disk = t->disk >= 0 ? t->disk : 0;
	t->err = play(&t->owner) ?: traits_of(gettid(), &t->want) ?:
		 dut_open(&t->d, t->kind, &opts);
	return NULL;
}

static void *start(void *arg)
{
	threads_t *t = arg;

	t->err = play(&t->starter) ?: dut_start(&t->d) ?: dut_units(&t->d, 0, 3) ?:
		 dut_units(&t->d, 1, 3);
	return NULL;
}

static void *start_again(void *arg)
{
	threads_t *t = arg;

	t->err = play(&t->starter) ?: dut_restart(&t->d) ?: dut_unit(&t->d, 0) ?: dut_unit(&t->d, 1);
	return NULL;
}

/* Have another thread do it, which is gone afterwards */
static int by_thread(threads_t *t, void *(*fn)(void *arg))
{
	return in_thread(fn, t) ?: t->err;
}

/* A flush that takes long, on both queues; for dut_unit()'s buffers to be free again: finish() */
static int begin_flush(threads_t *t)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_FLUSH) };
	struct dut *d = &t->d;
	int ret = store_delay(&t->s, 0, 0, 1500);

	for (unsigned int i = 0; !ret && i < 2; i++) {
		struct scratch *scratch = &d->scratch[i];
		struct guest_seg seg[] = {
			{ scratch->gpa + SCRATCH_HDR, sizeof(hdr) }, { scratch->gpa + SCRATCH_STATUS, 1 },
		};

		memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
		ret = gq_add(d->q[i], seg, 1, 1, scratch);
		gq_publish(d->q[i]);
		if (!ret)
			ret = gq_notify(d->q[i]);
	}
	return ret ? ret : store_wait_held(&t->s, STORE_FLUSH) ? 0 : -ETIMEDOUT;
}

static int finish(threads_t *t)
{
	struct dut *d = &t->d;
	uint32_t len;
	void *token;
	int ret = 0;

	for (unsigned int i = 0; !ret && i < 2; i++)
		ret = gq_wait(d->q[i], d->timeout_ms) ?: gq_get(d->q[i], &token, &len);
	return ret ? ret : store_delay(&t->s, 0, 0, 0);
}

/* The whole life of a device whose owner and starter differ */
static void live(struct __test_metadata *_metadata, threads_t *t)
{
	unsigned int blocked;

	ASSERT_EQ(0, by_thread(t, own));
	ASSERT_EQ(0, by_thread(t, start));
	EXPECT_LE(1, look(_metadata, &t->want, &blocked));
	ASSERT_EQ(0, by_thread(t, start_again));
	EXPECT_LE(1, look(_metadata, &t->want, &blocked));
	if (t->kind == DUT_NET)
		return;
	ASSERT_EQ(0, begin_flush(t));
	look(_metadata, &t->want, &blocked);
	EXPECT_LE(1, blocked)
		TH_LOG("no thread of the device waits for its flush: another one does");
	EXPECT_EQ(0, finish(t));
}

TEST_F_TIMEOUT(threads, nice, 120)
{
	if (!self->able)
		SKIP(return, NOT_ABLE);
	self->owner.policy = SCHED_BATCH;
	self->owner.nice = 7;
	self->starter.nice = 3;
	live(_metadata, self);
}

TEST_F_TIMEOUT(threads, real_time_starter, 120)
{
	if (!self->able)
		SKIP(return, NOT_ABLE);
	self->owner.nice = 2;
	self->starter.policy = SCHED_FIFO;
	self->starter.priority = 1;
	live(_metadata, self);
}

TEST_F_TIMEOUT(threads, real_time_owner, 120)
{
	if (!self->able)
		SKIP(return, NOT_ABLE);
	self->owner.policy = SCHED_FIFO;
	self->owner.priority = 2;
	live(_metadata, self);
}

TEST_F_TIMEOUT(threads, memory_policy, 120)
{
	if (!self->able)
		SKIP(return, NOT_ABLE);
	if (access("/proc/self/numa_maps", R_OK))
		SKIP(return, "a kernel without NUMA");
	self->owner.prefer = true;
	live(_metadata, self);
}

TEST_F_TIMEOUT(threads, affinity, 120)
{
	if (!self->able)
		SKIP(return, NOT_ABLE);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one processor only");
	self->owner.cpu = 0;
	self->starter.cpu = 1;
	live(_metadata, self);
}

/* As taskset -a and chrt -a do it.  The number of threads that were not like that yet; -errno */
static int change_all(const cpu_set_t *cpus)
{
	struct sched_param param = { 0 };
	pid_t tid[THREADS_MAX];
	unsigned int n = our_threads(tid);
	int changed = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (sched_getscheduler(tid[i]) == SCHED_BATCH)
			continue;
		if (setpriority(PRIO_PROCESS, tid[i], 4) ||
		    sched_setaffinity(tid[i], sizeof(*cpus), cpus) ||
		    sched_setscheduler(tid[i], SCHED_BATCH, &param))
			return -errno;
		changed++;
	}
	return changed;
}

/* Threads that are changed later are like that, and so are those to come */
TEST_F_TIMEOUT(threads, changed_later, 120)
{
	unsigned int blocked;
	int changed;

	if (!self->able)
		SKIP(return, NOT_ABLE);
	ASSERT_EQ(0, by_thread(self, own));
	ASSERT_EQ(0, by_thread(self, start));
	self->want.policy = SCHED_BATCH;
	self->want.nice = 4;
	ASSERT_LE(1, change_all(&self->want.cpus));
	/* one was being made, like one that was not changed yet */
	do {
		sleep_ms(100);
		changed = change_all(&self->want.cpus);
		ASSERT_LE(0, changed);
	} while (changed);
	ASSERT_EQ(0, by_thread(self, start_again));
	look(_metadata, &self->want, &blocked);
	if (variant->kind == DUT_NET)
		return;
	ASSERT_EQ(0, begin_flush(self));
	look(_metadata, &self->want, &blocked);
	EXPECT_LE(1, blocked);
	EXPECT_EQ(0, finish(self));
}

/* No more threads can be made: what blocks is served one after the other, then */
TEST_F_TIMEOUT(threads, no_more, 120)
{
	struct dut *d = &self->d;
	char limit[32];
	unsigned int n;
	FILE *f;

	if (!self->able)
		SKIP(return, NOT_ABLE);
	if (put_file(CGROUPS "/cgroup.subtree_control", "+pids"))
		SKIP(return, "no controller for pids");
	ASSERT_EQ(0, by_thread(self, own));
	ASSERT_EQ(0, by_thread(self, start));
	f = fopen(GROUP "/pids.current", "re");
	ASSERT_NE(NULL, f);
	ASSERT_EQ(1, fscanf(f, "%u", &n));
	fclose(f);
	snprintf(limit, sizeof(limit), "%u", n);
	ASSERT_EQ(0, put_file(GROUP "/pids.max", limit));
	EXPECT_EQ(0, dut_units(d, 0, 3));
	EXPECT_EQ(0, dut_units(d, 1, 3));
	if (variant->kind != DUT_NET) {
		EXPECT_EQ(0, begin_flush(self));
		EXPECT_EQ(0, finish(self));
		EXPECT_EQ(0, d->scratch[0].p[SCRATCH_STATUS]);
		EXPECT_EQ(0, d->scratch[1].p[SCRATCH_STATUS]);
	}
	EXPECT_EQ(0, put_file(GROUP "/pids.max", "max"));
	EXPECT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_unit(d, 1));
}

TEST_HARNESS_MAIN
