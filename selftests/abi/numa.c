// SPDX-License-Identifier: GPL-2.0
/*
 * On which node of memory a device is: on that of its owner, whoever starts the queues.  There is what
 * it allocates for a queue, and what its threads touch first of guest memory, unless the owner has a
 * policy for memory.  Wants a machine with two nodes (tools/vm/run --nodes 2).
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* The node of the owner, and of who starts the queues */
#define OWNER	1
#define STARTER	0

#define DEVICES	16
#define BIG	32768
/* What a device has for each of its two queues, with packed rings: four bytes an entry, and some */
#define WANTED	(DEVICES * 2 * BIG * 4L)

#define PAGES	64
#define FRESH	(1ULL << 40)

/* A processor of a node, -1 for none */
static int cpu_of(unsigned int node)
{
	char path[64];
	int cpu = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &cpu) != 1)
		cpu = -1;
	if (f)
		fclose(f);
	return cpu;
}

static int bind_to(unsigned int node)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu_of(node), &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus) ? -errno : 0;
}

/* Memory of the kernel that is allocated for good on a node, in bytes */
static long kernel_memory(unsigned int node)
{
	char path[64], line[128];
	long kib = -1;
	FILE *f;

	/* counted for each processor, and summed up now */
	put_file("/proc/sys/vm/stat_refresh", "1");
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Node %*d SUnreclaim: %ld", &kib);
	if (f)
		fclose(f);
	return kib * 1024;
}

FIXTURE(numa) {
	struct dut d[DEVICES];
	struct dut_opts opts;
	enum dut_kind kind;
	unsigned int n, policy_node;
	bool policy;
	int err;
};

FIXTURE_VARIANT(numa) {
	enum dut_kind kind;
	bool kthreads;
};

DUT_EACH(numa)
FIXTURE_VARIANT_ADD(numa, net_kthreads) { .kind = DUT_NET, .kthreads = true };
FIXTURE_VARIANT_ADD(numa, blk_kthreads) { .kind = DUT_BLK, .kthreads = true };

typedef FIXTURE_DATA(numa) numa_t;

#define ONE_NODE	"one node of memory, or one without a processor"

static bool has_nodes(void)
{
	return cpu_of(OWNER) >= 0 && cpu_of(STARTER) >= 0;
}

FIXTURE_SETUP(numa)
{
	self->kind = variant->kind;
	self->opts = (struct dut_opts){ .stopped = true, .kthreads = variant->kthreads };
	self->n = 1;
}

FIXTURE_TEARDOWN(numa)
{
	for (unsigned int i = 0; i < self->n; i++)
		if (self->d[i].g)
			dut_close(&self->d[i]);
}

static void *own(void *arg)
{
	numa_t *t = arg;
	unsigned long nodes = 1UL << t->policy_node;

	t->err = bind_to(OWNER);
	if (t->policy && syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 8))
		t->err = -errno;
	for (unsigned int i = 0; !t->err && i < t->n; i++)
		t->err = dut_open(&t->d[i], t->kind, &t->opts);
	/* the workers have run, and sleep */
	sleep_ms(50);
	return NULL;
}

static void *start(void *arg)
{
	numa_t *t = arg;

	t->err = bind_to(STARTER);
	for (unsigned int i = 0; !t->err && i < t->n; i++)
		t->err = dut_start(&t->d[i]);
	return NULL;
}

static int by_thread(numa_t *t, void *(*fn)(void *arg))
{
	return in_thread(fn, t) ?: t->err;
}

TEST_F_TIMEOUT(numa, what_queues_have, 120)
{
	long before[2], grown[2];

	if (!has_nodes())
		SKIP(return, ONE_NODE);
	self->n = DEVICES;
	self->opts.num = BIG;
	self->opts.memory = 8 << 20;
	setenv("VHL_TEST_RING", "packed", 1);
	ASSERT_EQ(0, by_thread(self, own));
	for (unsigned int i = 0; i < 2; i++)
		before[i] = kernel_memory(i);
	ASSERT_LE(0, before[OWNER]);
	ASSERT_EQ(0, by_thread(self, start));
	for (unsigned int i = 0; i < 2; i++)
		grown[i] = kernel_memory(i) - before[i];
	TH_LOG("owner's node %ld KiB more, the other %ld; wanted %ld", grown[OWNER] >> 10,
	       grown[STARTER] >> 10, WANTED >> 10);
	EXPECT_LE(WANTED, grown[OWNER]);
	EXPECT_GT(WANTED / 4, grown[STARTER]);
	for (unsigned int i = 0; i < DEVICES; i++)
		EXPECT_EQ(0, dut_unit(&self->d[i], 0));
}

/* Have the device write to a page that nobody has touched yet */
static int touch(struct dut *d, unsigned int i)
{
	struct guest_seg seg = { FRESH + i * 4096, 2048 };
	unsigned char frame[100];
	uint32_t len;
	void *token;
	int ret;

	if (d->kind != DUT_NET)
		return blk_request(d, 0, VIRTIO_BLK_T_IN, i * 8, seg.gpa, 4096);
	make_frame(frame, sizeof(frame), i, false);
	ret = gq_add(d->q[RX], &seg, 0, 1, d);
	gq_publish(d->q[RX]);
	ret = ret ?: gq_notify(d->q[RX]);
	ret = ret ?: dut_send(d, frame, sizeof(frame));
	return ret ?: gq_wait(d->q[RX], 5000) ?: gq_get(d->q[RX], &token, &len);
}

/* On which node is the memory that the device's threads touch first? -1 on none, or on several */
static int node_of_touched(numa_t *t)
{
	void *page[PAGES], *p;
	int status[PAGES];

	p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || madvise(p, PAGES * 4096, MADV_NOHUGEPAGE))
		return -1;
	if (guest_add_region(t->d[0].g, FRESH, p, PAGES * 4096) || guest_commit(t->d[0].g))
		return -1;
	for (unsigned int i = 0; i < PAGES; i++) {
		page[i] = p + i * 4096;
		if (touch(&t->d[0], i))
			return -1;
	}
	if (syscall(SYS_move_pages, 0, PAGES, page, NULL, status, 0))
		return -1;
	for (unsigned int i = 1; i < PAGES; i++)
		if (status[i] != status[0])
			return -1;
	return status[0];
}

TEST_F(numa, what_threads_touch)
{
	if (!has_nodes())
		SKIP(return, ONE_NODE);
	ASSERT_EQ(0, by_thread(self, own));
	ASSERT_EQ(0, by_thread(self, start));
	ASSERT_EQ(0, bind_to(STARTER));
	EXPECT_EQ(OWNER, node_of_touched(self));
}

TEST_F(numa, policy_of_the_owner)
{
	if (!has_nodes())
		SKIP(return, ONE_NODE);
	self->policy = true;
	self->policy_node = STARTER;
	ASSERT_EQ(0, by_thread(self, own));
	ASSERT_EQ(0, by_thread(self, start));
	ASSERT_EQ(0, bind_to(STARTER));
	EXPECT_EQ(STARTER, node_of_touched(self));
}

TEST_HARNESS_MAIN
