// SPDX-License-Identifier: GPL-2.0
/*
 * blkio-bench: reads or writes blocks of a disk through libblkio, a driver of vhost-user-blk and
 * vhost-vDPA devices in userspace that we did not write.  Options, pattern and JSON are
 * vhost-bench's as far as they have a meaning here; contents are not looked at.
 */
#include <blkio.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "stats.h"
#include "workers.h"

#define QD_MAX	256

static struct {
	const char *driver, *path, *attach;
	uint64_t count, warmup, span, every;
	unsigned int size, qd, rounds, allocate;
	int server;
	bool step, write, seq;
} opt = {
	.driver = "virtio-blk-vhost-user",
	.count = 10007,
	.span = 64 << 20,
	.size = 4096,
	.qd = 32,
	.rounds = 1,
};

static const char usage[] =
"usage: blkio-bench [OPTION...] --path PATH\n"
"  --driver NAME    of libblkio (virtio-blk-vhost-user)\n"
"  --path PATH      the device: a socket or a node\n"
"  --attach FILE    attach this to /dev/vdpa-blklite first\n"
"  --write, --seq   instead of reading, of a random order\n"
"  --size N         bytes of a request (4096)\n"
"  --span N         bytes of the disk used, from its start (64 MiB)\n"
"  --qd N           requests in flight (32)\n"
"  --every US       a request is due each US microseconds, and waits for one of the --qd to end if\n"
"                   they are all in flight; how long one takes counts from when it was due\n"
"  --allocate N     so many writes in flight besides, behind the span, each of them of a block\n"
"                   that was not written before while there are some; not counted\n"
"  --count N        requests of a round (10007)\n"
"  --warmup N       requests before\n"
"  --rounds N       rounds, each reported as a JSON object (1)\n"
"  --step           begin a round when standard input has a line\n"
"  --server PID     report the processor time of that process, too\n";

static struct blkio *disk;
static struct blkioq *queue;
static struct blkio_mem_region memory;
static struct request {
	uint64_t begin;
	char *buf;
} request[2 * QD_MAX];
static struct hist latency;
static uint64_t seed = 1, next_block, capacity, next_new, news, next_due;

static void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("blkio-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void must(int ret, const char *what)
{
	if (ret)
		die("%s: %s", what, blkio_get_error_msg());
}

/* xorshift64*: which block is next costs little compared with a request */
static uint64_t random_number(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 2685821657736338717ULL;
}

static void submit(struct request *r)
{
	uint64_t blocks = opt.span / opt.size;
	uint64_t at = (opt.seq ? next_block++ : random_number() >> 16) % blocks * opt.size;

	r->begin = opt.every ? next_due : now_ns();
	next_due += opt.every;
	if (opt.write)
		blkioq_write(queue, at, r->buf, opt.size, r, 0);
	else
		blkioq_read(queue, at, r->buf, opt.size, r, 0);
}

/* The next block that was not written before, here and there in what the disk has behind the span */
static void allocate(struct request *r)
{
	uint64_t blocks = (capacity - opt.span) / opt.size;

	if (next_new == blocks)
		return;
	blkioq_write(queue, opt.span + next_new++ * 7919 % blocks * opt.size, r->buf, opt.size, r, 0);
	news++;
}

/* May the next request be sent now?  Else @left is how long it is until then */
static bool due(struct timespec *left)
{
	uint64_t now = now_ns();

	if (!opt.every || now >= next_due)
		return true;
	left->tv_sec = (next_due - now) / 1000000000;
	left->tv_nsec = (next_due - now) % 1000000000;
	return false;
}

static void run(uint64_t n)
{
	struct blkio_completion done[2 * QD_MAX];
	struct request *idle[QD_MAX], *r;
	unsigned int nidle = 0;
	uint64_t added = 0, finished = 0;

	for (unsigned int i = 0; i < opt.qd; i++)
		idle[nidle++] = &request[i];
	for (unsigned int i = 0; n && i < opt.allocate; i++)
		allocate(&request[QD_MAX + i]);
	next_due = now_ns();
	while (finished < n || news) {
		struct timespec left, *limit = NULL;
		int got;

		while (added < n && nidle && !limit) {
			if (due(&left)) {
				submit(idle[--nidle]);
				added++;
			} else {
				limit = &left;
			}
		}
		got = blkioq_do_io(queue, done, 1, opt.qd + opt.allocate, limit);
		if (got == -ETIME)
			continue;
		if (got < 0)
			die("requests: %s", blkio_get_error_msg());
		for (int i = 0; i < got; i++) {
			r = done[i].user_data;
			if (done[i].ret)
				die("a request: %s", strerror(-done[i].ret));
			if (r < &request[QD_MAX]) {
				hist_add(&latency, now_ns() - r->begin);
				idle[nidle++] = r;
				finished++;
			} else {
				news--;
				if (finished < n)
					allocate(r);
			}
		}
	}
}

static void attach(void)
{
	struct vhost_vring_file file = { .index = 0 };
	int node = open(opt.path, O_RDWR | O_CLOEXEC);

	file.fd = open(opt.attach, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (node < 0 || file.fd < 0 || ioctl(node, VHOST_BLK_SET_BACKEND, &file))
		die("%s on %s: %s", opt.attach, opt.path, strerror(errno));
	must(blkio_set_int(disk, "fd", node), "fd");
}

static void open_disk(void)
{
	must(blkio_create(opt.driver, &disk), opt.driver);
	if (opt.attach)
		attach();
	else
		must(blkio_set_str(disk, "path", opt.path), "path");
	must(blkio_connect(disk), opt.path);
	must(blkio_get_uint64(disk, "capacity", &capacity), "capacity");
	if (opt.span > capacity)
		opt.span = capacity;
	if (opt.span < opt.size)
		die("%s has only %llu bytes", opt.path, (unsigned long long)capacity);
	must(blkio_start(disk), "start");
	must(blkio_alloc_mem_region(disk, &memory, (size_t)(opt.qd + opt.allocate) * opt.size), "memory");
	must(blkio_map_mem_region(disk, &memory), "memory");
	memset(memory.addr, 0x5a, memory.len);
	queue = blkio_get_queue(disk, 0);
	for (unsigned int i = 0; i < opt.qd; i++)
		request[i].buf = (char *)memory.addr + (size_t)i * opt.size;
	for (unsigned int i = 0; i < opt.allocate; i++)
		request[QD_MAX + i].buf = (char *)memory.addr + (size_t)(opt.qd + i) * opt.size;
}

static struct workers used(void)
{
	struct workers w;

	workers_read(&w);
	if (opt.server)
		workers_add(&w, opt.server);
	return w;
}

static void report(const struct workers *before, const struct workers *after, uint64_t ns)
{
	printf("{\"case\":\"%s\",\"device\":\"%s\",\"driver_name\":\"%s\",\"ok\":true,\"ops\":%llu,\"elapsed_s\":%.9f,\"ops_per_s\":%.1f,\"latency_ns\":{\"min\":%llu,\"mean\":%llu,\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"max\":%llu},\"workers\":%u,\"worker_run_ns\":%llu,\"worker_slices\":%llu}\n",
	       opt.write ? "blk-write" : "blk-read", opt.path, opt.driver,
	       (unsigned long long)opt.count, ns / 1e9, opt.count * 1e9 / ns,
	       (unsigned long long)latency.min, (unsigned long long)(latency.sum / latency.n),
	       (unsigned long long)hist_percentile(&latency, 50),
	       (unsigned long long)hist_percentile(&latency, 90),
	       (unsigned long long)hist_percentile(&latency, 99),
	       (unsigned long long)latency.max, after->n,
	       (unsigned long long)(after->run_ns - before->run_ns),
	       (unsigned long long)(after->slices - before->slices));
	fflush(stdout);
}

static unsigned long long number(const char *text, unsigned long long max)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 0);

	if (end == text || *end || !v || v > max) {
		fprintf(stderr, "blkio-bench: %s: must be a number of 1 to %llu\n", text, max);
		exit(2);
	}
	return v;
}

static void parse(int argc, char **argv)
{
	enum { DRIVER, PATH, ATTACH, WRITE, SEQ, SIZE, SPAN, QD, COUNT, WARMUP, ROUNDS, STEP, SERVER, ALLOCATE,
	       EVERY, HELP };
	static const struct option options[] = {
		{ "driver", 1, NULL, DRIVER }, { "path", 1, NULL, PATH },
		{ "attach", 1, NULL, ATTACH }, { "write", 0, NULL, WRITE },
		{ "seq", 0, NULL, SEQ },       { "size", 1, NULL, SIZE },
		{ "span", 1, NULL, SPAN },     { "qd", 1, NULL, QD },
		{ "count", 1, NULL, COUNT },   { "warmup", 1, NULL, WARMUP },
		{ "rounds", 1, NULL, ROUNDS }, { "step", 0, NULL, STEP },
		{ "server", 1, NULL, SERVER }, { "help", 0, NULL, HELP },
		{ "allocate", 1, NULL, ALLOCATE }, { "every", 1, NULL, EVERY },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case DRIVER: opt.driver = optarg; break;
		case PATH: opt.path = optarg; break;
		case ATTACH: opt.attach = optarg; break;
		case WRITE: opt.write = true; break;
		case SEQ: opt.seq = true; break;
		case SIZE: opt.size = number(optarg, 4 << 20); break;
		case SPAN: opt.span = number(optarg, 1ULL << 40); break;
		case QD: opt.qd = number(optarg, QD_MAX); break;
		case COUNT: opt.count = number(optarg, 1U << 31); break;
		case WARMUP: opt.warmup = number(optarg, 1U << 31); break;
		case ROUNDS: opt.rounds = number(optarg, 1000000); break;
		case STEP: opt.step = true; break;
		case SERVER: opt.server = number(optarg, 1U << 30); break;
		case ALLOCATE: opt.allocate = number(optarg, QD_MAX); break;
		case EVERY: opt.every = number(optarg, 10000000) * 1000ULL; break;
		case HELP: fputs(usage, stdout); exit(0);
		default: exit(2);
		}
	}
	if (!opt.path || optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	open_disk();
	run(opt.warmup);
	for (unsigned int i = 0; i < opt.rounds; i++) {
		struct workers before, after;
		uint64_t begin, end;
		char line[64];

		if (opt.step && !fgets(line, sizeof(line), stdin))
			die("standard input ended before the last round");
		memset(&latency, 0, sizeof(latency));
		before = used();
		begin = now_ns();
		run(opt.count);
		end = now_ns();
		after = used();
		report(&before, &after, end - begin);
	}
	blkio_destroy(&disk);
	return 0;
}
