// SPDX-License-Identifier: GPL-2.0
/* What all cases share.  See bench.h */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* How often the threads are looked at, and looked for after they were told to stop */
#define WATCH_MS	100
#define STOP_MS		5000

const char *const bench_device_counter[BENCH_DEVICE_COUNTERS] = {
	"kicks", "wakes", "polls", "reqs", "in", "out", "batches", "calls", "errors", "breaks",
};

void bench_init(struct bench *b, const struct opts *opt)
{
	memset(b, 0, sizeof(*b));
	b->opt = opt;
	pthread_mutex_init(&b->lock, NULL);
}

void bench_phase(struct bench *b, const char *phase, uint64_t total)
{
	b->phase = phase;
	b->total = total;
	atomic_fetch_add(&b->progress, 1);
	alarm(b->opt->timeout);
}

int bench_fail(struct bench *b, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&b->lock);
	if (!b->why[0]) {
		va_start(ap, fmt);
		vsnprintf(b->why, sizeof(b->why), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&b->lock);
	b->stop = true;
	return -1;
}

int bench_guest_failed(struct bench *b, const struct guest *g)
{
	const char *what = guest_error(g);

	/* What opening failed with begins with the path */
	if (what[0] == '/')
		return bench_fail(b, "%s", what);
	return bench_fail(b, "%s: %s", g->path, what);
}

void bench_ok(struct bench *b, uint64_t bytes)
{
	atomic_fetch_add_explicit(&b->verified, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&b->verified_bytes, bytes, memory_order_relaxed);
}

bool bench_corrupt(struct bench *b)
{
	return b->opt->corrupt && atomic_fetch_add(&b->payloads, 1) + 1 == b->opt->corrupt;
}

int bench_wait(struct bench *b, struct guest_queue *q)
{
	int ret;

	do {
		if (bench_stopped(b))
			return -1;
		if (b->done)
			return 1;
		ret = gq_wait(q, WATCH_MS);
	} while (ret == -ETIMEDOUT);
	if (ret == -EIO)
		return bench_fail(b, "queue %u: the device signalled an error", q->index);
	if (ret)
		return bench_fail(b, "queue %u: waiting: %s", q->index, strerror(-ret));
	atomic_fetch_add_explicit(&b->progress, 1, memory_order_relaxed);
	return 0;
}

static _Atomic unsigned int running;

static void *thread_main(void *arg)
{
	struct bench_thread *t = arg;

	t->fn(t);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static bool progress_shown;

static void progress_show(const struct bench *b)
{
	uint64_t total = b->total;

	if (!isatty(STDERR_FILENO))
		return;
	progress_shown = true;
	fprintf(stderr, "\r\033[K%s: %s", b->opt->name, b->phase);
	if (total)
		fprintf(stderr, " %llu/%llu", (unsigned long long)b->verified,
			(unsigned long long)total);
	fflush(stderr);
}

static void progress_hide(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

static void dump(const struct bench *b)
{
	for (unsigned int i = 0; i < b->nguests; i++)
		guest_dump(b->guest[i], stderr);
}

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* Until all threads have ended; a run that stands still is told to stop */
static void watch(struct bench *b)
{
	uint64_t seen = 0, since = now_ns(), stopped = 0;
	unsigned int ms = 1;

	while (running) {
		uint64_t now = now_ns(), progress = b->progress + b->verified;

		if (progress != seen || b->waiting) {
			seen = progress;
			since = now;
		}
		if (!b->stop && now - since > b->opt->timeout * 1000000000ULL) {
			progress_hide();
			fprintf(stderr, "vhost-bench: %s: no progress for %u s\n", b->phase,
				b->opt->timeout);
			dump(b);
			bench_fail(b, "%s: no progress for %u s; %llu payloads were right",
				   b->phase, b->opt->timeout, (unsigned long long)b->verified);
		}
		if (b->stop && !stopped)
			stopped = now;
		if (stopped && now - stopped > STOP_MS * 1000000ULL) {
			progress_hide();
			fprintf(stderr, "vhost-bench: %s; and a thread does not come back\n",
				b->why);
			_exit(1);
		}
		if (ms >= WATCH_MS)
			progress_show(b);
		sleep_ms(ms);
		ms = ms < WATCH_MS ? ms * 2 : WATCH_MS;
	}
	progress_hide();
}

int bench_run(struct bench *b, struct bench_thread *t, unsigned int n)
{
	unsigned int started;

	alarm(0);		/* watch() does it from here on */
	running = n;
	for (started = 0; started < n; started++) {
		int err = pthread_create(&t[started].id, NULL, thread_main, &t[started]);

		if (err) {
			running -= n - started;
			bench_fail(b, "thread: %s", strerror(err));
			break;
		}
	}
	watch(b);
	while (started)
		pthread_join(t[--started].id, NULL);
	alarm(b->opt->timeout);
	return b->stop ? -1 : 0;
}

static void add_counters(struct guest_counters *to, const struct guest_counters *c)
{
	to->chains += c->chains;
	to->used += c->used;
	to->publishes += c->publishes;
	to->kicks += c->kicks;
	to->kicks_saved += c->kicks_saved;
	to->calls += c->calls;
	to->waits += c->waits;
}

static void take(struct bench *b, struct bench_snapshot *s)
{
	struct rusage ru;

	memset(s, 0, sizeof(*s));
	s->ns = now_ns();
	getrusage(RUSAGE_SELF, &ru);
	s->user_us = ru.ru_utime.tv_sec * 1000000ULL + ru.ru_utime.tv_usec;
	s->sys_us = ru.ru_stime.tv_sec * 1000000ULL + ru.ru_stime.tv_usec;
	s->voluntary = ru.ru_nvcsw;
	s->involuntary = ru.ru_nivcsw;
	workers_read(&s->workers);
	for (unsigned int i = 0; i < b->nguests; i++) {
		struct guest *g = b->guest[i];
		uint64_t v;

		for (unsigned int j = 0; j < GUEST_MAX_QUEUES; j++) {
			if (!g->queue[j])
				continue;
			gq_count_calls(g->queue[j]);
			add_counters(&s->driver, &g->queue[j]->count);
		}
		for (unsigned int j = 0; j < BENCH_DEVICE_COUNTERS; j++) {
			if (guest_device_counter(g, bench_device_counter[j], &v))
				continue;
			s->device[j] += v;
			b->has_device = true;
		}
	}
	if (s == &b->begin)
		s->ns = now_ns();	/* reading fdinfo took its time */
}

int bench_begin(struct bench *b)
{
	char line[64];

	if (bench_stopped(b))
		return -1;
	if (b->opt->step) {
		b->waiting = true;
		if (!fgets(line, sizeof(line), stdin))
			return bench_fail(b, "standard input ended before the last round");
		b->waiting = false;
	}
	memset(&b->lat, 0, sizeof(b->lat));
	take(b, &b->begin);
	return 0;
}

void bench_end(struct bench *b)
{
	take(b, &b->end);
}

void bench_result(struct bench *b, uint64_t ops, uint64_t bytes)
{
	b->ops = ops;
	b->bytes = bytes;
	if (!opts_each(b->opt) || bench_stopped(b))
		return;
	report(b, true);
	fflush(stdout);
}

void gate_init(struct gate *g)
{
	memset(g, 0, sizeof(*g));
	g->wake_at = UINT64_MAX;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->cond, NULL);
}

uint64_t gate_add(struct gate *g, uint64_t n)
{
	uint64_t count = atomic_fetch_add(&g->count, n) + n;

	/* Either this sees wake_at, or the waiter sees the count */
	if (count >= atomic_load(&g->wake_at)) {
		pthread_mutex_lock(&g->lock);
		pthread_cond_signal(&g->cond);
		pthread_mutex_unlock(&g->lock);
	}
	return count;
}

int gate_wait(struct bench *b, struct gate *g, uint64_t at)
{
	pthread_mutex_lock(&g->lock);
	atomic_store(&g->wake_at, at);
	while (atomic_load(&g->count) < at && !bench_stopped(b)) {
		struct timespec t;

		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += WATCH_MS * 1000000L;
		t.tv_sec += t.tv_nsec / 1000000000L;
		t.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&g->cond, &g->lock, &t);
	}
	atomic_store(&g->wake_at, UINT64_MAX);
	pthread_mutex_unlock(&g->lock);
	return bench_stopped(b) ? -1 : 0;
}
