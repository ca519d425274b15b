// SPDX-License-Identifier: GPL-2.0
/* The result, for people or as JSON */
#include <stdio.h>
#include <string.h>

#include "bench.h"

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / b : 0;
}

static double seconds(const struct bench *b)
{
	return (b->end.ns - b->begin.ns) / 1e9;
}

static double per_second(const struct bench *b, double n)
{
	return b->end.ns > b->begin.ns ? n / seconds(b) : 0;
}

static struct guest_counters counted(const struct bench *b)
{
	const struct guest_counters *e = &b->end.driver, *s = &b->begin.driver;

	return (struct guest_counters){
		.chains = e->chains - s->chains,
		.used = e->used - s->used,
		.publishes = e->publishes - s->publishes,
		.kicks = e->kicks - s->kicks,
		.kicks_saved = e->kicks_saved - s->kicks_saved,
		.calls = e->calls - s->calls,
		.waits = e->waits - s->waits,
	};
}

static const char *on(bool v)
{
	return v ? "on" : "off";
}

static const char *sizes(const struct opts *o, char *buf, size_t len)
{
	if (o->size_min == o->size_max)
		snprintf(buf, len, "%u", o->size_max);
	else
		snprintf(buf, len, "%u-%u", o->size_min, o->size_max);
	return buf;
}

/* Strings that can hold anything: paths and messages */
static void json_string(const char *key, const char *s)
{
	printf("\"%s\":\"", key);
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void json_options(const struct opts *o)
{
	char size[32];

	printf("\"options\":{\"count\":%llu,\"warmup\":%llu,\"size\":\"%s\",\"batch\":%u,\"queues\":%u,\"ring\":\"%s\",\"in_order\":%s,\"ring_size\":%u,\"regions\":%u,\"segments\":%u,\"event_idx\":%s,\"indirect\":%s,\"irq\":%s,\"seed\":%llu,",
	       (unsigned long long)o->count, (unsigned long long)o->warmup,
	       sizes(o, size, sizeof(size)), o->batch, o->queues, o->packed ? "packed" : "split",
	       o->in_order ? "true" : "false", o->ring_size, o->regions,
	       o->segments, o->event_idx ? "true" : "false", o->indirect ? "true" : "false",
	       o->irq ? "true" : "false", (unsigned long long)o->seed);
	if (opts_is_net(o))
		printf("\"mergeable\":%s,\"rx_buf\":%u,\"window\":%u,\"sink\":\"%s\",\"gso\":%s,\"xdp\":%s",
		       o->mergeable ? "true" : "false", o->rx_buf, o->window,
		       o->drop ? "drop" : "read", o->gso ? "true" : "false",
		       o->xdp ? "true" : "false");
	else
		printf("\"qd\":%u,\"direct\":%s,\"random\":%s,\"odd\":%s,\"ordered\":%s", o->qd,
		       o->direct ? "true" : "false", o->random ? "true" : "false",
		       o->odd ? "true" : "false", o->ordered ? "true" : "false");
	fputs("},", stdout);
}

static void json(const struct bench *b, bool ok)
{
	const struct guest_counters c = counted(b);
	const struct hist *h = &b->lat;

	putchar('{');
	json_string("case", b->opt->name);
	putchar(',');
	json_string("device", b->opt->dev);
	printf(",\"dialect\":\"%s\",\"features\":\"%#llx\",\"ok\":%s,",
	       b->nguests && b->guest[0]->ops ? b->guest[0]->ops->name : "",
	       b->nguests ? (unsigned long long)b->guest[0]->features : 0, ok ? "true" : "false");
	json_string("error", b->why);
	putchar(',');
	json_options(b->opt);
	printf("\"ops\":%llu,\"bytes\":%llu,\"verified\":%llu,\"verified_bytes\":%llu,\"elapsed_s\":%.9f,\"ops_per_s\":%.1f,\"mb_per_s\":%.3f,",
	       (unsigned long long)b->ops, (unsigned long long)b->bytes,
	       (unsigned long long)b->verified, (unsigned long long)b->verified_bytes, seconds(b),
	       per_second(b, b->ops), per_second(b, b->bytes / 1e6));
	printf("\"driver\":{\"chains\":%llu,\"used\":%llu,\"publishes\":%llu,\"kicks\":%llu,\"kicks_saved\":%llu,\"calls\":%llu,\"waits\":%llu},",
	       (unsigned long long)c.chains, (unsigned long long)c.used,
	       (unsigned long long)c.publishes, (unsigned long long)c.kicks,
	       (unsigned long long)c.kicks_saved, (unsigned long long)c.calls,
	       (unsigned long long)c.waits);
	printf("\"kicks_per_op\":%.6f,\"calls_per_op\":%.6f,", ratio(c.kicks, b->ops),
	       ratio(c.calls, b->ops));
	if (!opts_is_net(b->opt))
		printf("\"overtook\":%llu,", (unsigned long long)b->overtook);
	if (b->has_device) {
		fputs("\"device_counters\":{", stdout);
		for (unsigned int i = 0; i < BENCH_DEVICE_COUNTERS; i++)
			printf("%s\"%s\":%llu", i ? "," : "", bench_device_counter[i],
			       (unsigned long long)(b->end.device[i] - b->begin.device[i]));
		fputs("},", stdout);
	}
	if (h->n)
		printf("\"latency_ns\":{\"min\":%llu,\"mean\":%llu,\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu},",
		       (unsigned long long)h->min, (unsigned long long)(h->sum / h->n),
		       (unsigned long long)hist_percentile(h, 50),
		       (unsigned long long)hist_percentile(h, 90),
		       (unsigned long long)hist_percentile(h, 99),
		       (unsigned long long)hist_percentile(h, 99.9), (unsigned long long)h->max);
	printf("\"cpu_user_us\":%llu,\"cpu_sys_us\":%llu,\"switches_voluntary\":%llu,\"switches_involuntary\":%llu,\"workers\":%u,\"worker_run_ns\":%llu,\"worker_slices\":%llu}\n",
	       (unsigned long long)(b->end.user_us - b->begin.user_us),
	       (unsigned long long)(b->end.sys_us - b->begin.sys_us),
	       (unsigned long long)(b->end.voluntary - b->begin.voluntary),
	       (unsigned long long)(b->end.involuntary - b->begin.involuntary),
	       b->end.workers.n,
	       (unsigned long long)(b->end.workers.run_ns - b->begin.workers.run_ns),
	       (unsigned long long)(b->end.workers.slices - b->begin.workers.slices));
}

static void text(const struct bench *b)
{
	const struct opts *o = b->opt;
	const struct guest_counters c = counted(b);
	const struct hist *h = &b->lat;
	char size[32];

	printf("%s on %s (%s dialect, features %#llx)\n", o->name, o->dev, b->guest[0]->ops->name,
	       (unsigned long long)b->guest[0]->features);
	printf("  %llu %s of %s bytes, %u queue%s of %u%s%s, batch %u, event-idx %s, indirect %s, %s\n",
	       (unsigned long long)b->ops, opts_is_net(o) ? "frames" : "requests",
	       sizes(o, size, sizeof(size)), o->queues, o->queues > 1 ? "s" : "", o->ring_size,
	       o->packed ? " (packed)" : "", o->in_order ? " in order" : "", o->batch,
	       on(o->event_idx), on(o->indirect), o->irq ? "calls" : "polling");
	printf("  verified     %llu payloads, %llu bytes%s\n", (unsigned long long)b->verified,
	       (unsigned long long)b->verified_bytes,
	       b->verified ? "" : o->drop ? " (counted by the TAP only)" : " (not asked for)");
	printf("  elapsed      %.3f s: %.0f/s, %.1f MB/s\n", seconds(b), per_second(b, b->ops),
	       per_second(b, b->bytes / 1e6));
	if (h->n)
		printf("  latency      us: min %.1f mean %.1f p50 %.1f p90 %.1f p99 %.1f p99.9 %.1f max %.1f\n",
		       h->min / 1e3, h->sum / 1e3 / h->n, hist_percentile(h, 50) / 1e3,
		       hist_percentile(h, 90) / 1e3, hist_percentile(h, 99) / 1e3,
		       hist_percentile(h, 99.9) / 1e3, h->max / 1e3);
	if (!opts_is_net(o))
		printf("  overtook     %llu requests one that was made before them\n",
		       (unsigned long long)b->overtook);
	printf("  driver       kicks %llu (%.4f each), not wanted %llu, calls %llu (%.4f each), waits %llu\n",
	       (unsigned long long)c.kicks, ratio(c.kicks, b->ops),
	       (unsigned long long)c.kicks_saved, (unsigned long long)c.calls,
	       ratio(c.calls, b->ops), (unsigned long long)c.waits);
	if (b->has_device) {
		fputs("  device      ", stdout);
		for (unsigned int i = 0; i < BENCH_DEVICE_COUNTERS; i++)
			printf(" %s %llu", bench_device_counter[i],
			       (unsigned long long)(b->end.device[i] - b->begin.device[i]));
		putchar('\n');
	}
	printf("  workers      %u: %.3f s in %llu slices\n", b->end.workers.n,
	       (b->end.workers.run_ns - b->begin.workers.run_ns) / 1e9,
	       (unsigned long long)(b->end.workers.slices - b->begin.workers.slices));
	printf("  processor    user %.3f s, system %.3f s; switches %llu voluntary, %llu not\n",
	       (b->end.user_us - b->begin.user_us) / 1e6, (b->end.sys_us - b->begin.sys_us) / 1e6,
	       (unsigned long long)(b->end.voluntary - b->begin.voluntary),
	       (unsigned long long)(b->end.involuntary - b->begin.involuntary));
}

void report(struct bench *b, bool ok)
{
	if (!ok) {	/* what was measured up to there means nothing */
		b->ops = 0;
		b->bytes = 0;
		b->begin = b->end;
	}
	if (b->opt->json)
		json(b, ok);
	else if (ok)
		text(b);
	if (!ok)
		fprintf(stderr, "vhost-bench: %s\n", b->why);
}
