/* SPDX-License-Identifier: GPL-2.0 */
/* What all cases share: threads with a watch over their progress, the clock, the result */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest.h"
#include "opts.h"
#include "stats.h"
#include "workers.h"

/* The device's own counters, those of ours in fdinfo */
#define BENCH_DEVICE_COUNTERS	10
extern const char *const bench_device_counter[BENCH_DEVICE_COUNTERS];

#define BENCH_SERIAL	"vhost-bench"

/* What can be read at any time; a result is the difference of two of these */
struct bench_snapshot {
	uint64_t ns;
	struct guest_counters driver;
	uint64_t device[BENCH_DEVICE_COUNTERS];
	uint64_t user_us, sys_us, voluntary, involuntary;
	struct workers workers;
};

/**
 * struct bench - a run
 * @opt: what was asked for
 * @guest: one, or one per queue pair of a network device
 * @nguests: how many
 * @phase: what is being done, for a person
 * @total: payloads that will be verified in @phase, for the progress shown
 * @progress: anything that moves; a run in which this stands still for too long has failed
 * @stop: give up
 * @done: nothing more will come, for threads that wait for what others may get
 * @verified: payloads found right
 * @verified_bytes: in them
 * @payloads: payloads made, for --corrupt
 * @ops: packets or requests of the measured part
 * @bytes: of the payload in them
 * @begin: start of the measured part
 * @end: its end
 * @lat: latencies of the measured part
 * @has_device: the device has counters
 * @serial_set: the disk has the serial number BENCH_SERIAL
 * @waiting: for a line of standard input, which may take any time
 * @why: what went wrong first
 */
struct bench {
	const struct opts *opt;
	struct guest *guest[GUEST_MAX_QUEUES];
	unsigned int nguests;
	uint32_t worker[GUEST_MAX_QUEUES];	/* numbers of those that were made for the last guest */
	const char *_Atomic phase;
	_Atomic uint64_t total, progress;
	_Atomic bool stop, done, waiting;
	_Atomic uint64_t verified, verified_bytes, payloads;
	uint64_t ops, bytes, overtook;
	struct bench_snapshot begin, end;
	struct hist lat;
	bool has_device, serial_set;
	pthread_mutex_t lock;
	char why[512];
};

/* A thread of a run; @fn returns when its work is done or @bench->stop */
struct bench_thread {
	struct bench *bench;
	void (*fn)(struct bench_thread *t);
	void *arg;
	unsigned int index;
	pthread_t id;
	struct bench_thread *all;
};

void bench_init(struct bench *b, const struct opts *opt);

/* bench_phase() - begin something */
void bench_phase(struct bench *b, const char *phase, uint64_t total);

/* bench_fail() - the run has failed; the first reason is kept, and all threads stop.  -1 */
int bench_fail(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* bench_guest_failed() - the same, with the reason of the library */
int bench_guest_failed(struct bench *b, const struct guest *g);

static inline bool bench_stopped(const struct bench *b)
{
	return atomic_load_explicit(&b->stop, memory_order_relaxed);
}

/* bench_ok() - a payload was right */
void bench_ok(struct bench *b, uint64_t bytes);

/* bench_corrupt() - is the payload that is being made the one to damage */
bool bench_corrupt(struct bench *b);

/* bench_wait() - wait for used entries; 0 there are some, 1 @done, -1 the run has stopped */
int bench_wait(struct bench *b, struct guest_queue *q);

/**
 * bench_guest() - open a device and give it features and memory
 * @b: the run; the guest is added to its guests
 * @kind: of the device
 * @fd: disk
 * @features: needed besides what the options say
 * @optional: taken when they are offered
 * @bytes: of memory that will be allocated, in pieces of at most @piece
 */
int bench_guest(struct bench *b, enum guest_kind kind, int fd, uint64_t features,
		uint64_t optional, uint64_t bytes, uint64_t piece);

/* bench_queue_bytes() - memory for a queue whose chains have up to @nsegs segments */
uint64_t bench_queue_bytes(const struct bench *b, unsigned int nsegs);

/* bench_slots() - chains of @nsegs segments that fit a ring */
unsigned int bench_slots(const struct bench *b, unsigned int nsegs);

/* bench_queue() - make and program a queue, and its worker where those are asked for */
int bench_queue(struct bench *b, struct guest *g, unsigned int index, struct guest_queue **q);

/**
 * bench_alloc() - a buffer, across the border of two regions where that is still possible
 * @b: the run
 * @g: the guest
 * @size: bytes
 * @below: of them below the border
 * @align: of the buffer, where there is no border
 * @gpa: where it begins
 */
int bench_alloc(struct bench *b, struct guest *g, uint64_t size, uint64_t below, uint64_t align,
		uint64_t *gpa);

/* bench_run() - run threads to their end; -1 when the run has failed */
int bench_run(struct bench *b, struct bench_thread *t, unsigned int n);

/* bench_begin() - begin a round, when it is time to; -1 when there will be none */
int bench_begin(struct bench *b);

/* bench_end() - end it; bench_result() follows when b->lat is complete */
void bench_end(struct bench *b);

/* bench_result() - what was moved in the round that ended, which is reported if each is */
void bench_result(struct bench *b, uint64_t ops, uint64_t bytes);

/*
 * A gate lets one thread (the waiter) sleep until a counter that others move has come far enough.
 */
struct gate {
	_Atomic uint64_t count, wake_at;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

void gate_init(struct gate *g);

/* gate_add() - count on; the new count */
uint64_t gate_add(struct gate *g, uint64_t n);

static inline uint64_t gate_count(struct gate *g)
{
	return atomic_load(&g->count);
}

/* gate_wait() - until the counter is at @at or more; -1 when the run has stopped */
int gate_wait(struct bench *b, struct gate *g, uint64_t at);

/* report.c: report() - the result, on stdout; what failed, on stderr */
void report(struct bench *b, bool ok);

/* net.c, blk.c: a case from setting up to tearing down; 0 or -1 */
int net_case(struct bench *b);
int blk_case(struct bench *b);

#endif /* BENCH_H */
