// SPDX-License-Identifier: GPL-2.0
/* vhostlite info for people: tables below 100 columns. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vhostlite.h"

/* The counters that have a column, how wide it is, and whether it counts bytes */
static const struct column {
	const char *name;
	int width;
	bool bytes;
} columns[] = {
	{ "kicks", 7, false }, { "wakes", 7, false }, { "polls", 7, false },
	{ "reqs", 8, false }, { "in", 7, true }, { "out", 7, true },
	{ "batches", 8, false }, { "calls", 7, false }, { "errors", 7, false },
	{ "breaks", 7, false },
};

#define NUM_COLUMNS	(sizeof(columns) / sizeof(columns[0]))

/* At most 6 characters: 99999, 123.4k, 99.99M; bytes in powers of 1024 */
const char *human(char *buf, size_t size, double v, bool bytes)
{
	static const char units[] = " kMGTPE";
	double step = bytes ? 1024 : 1000;
	unsigned int unit = 0;

	if (v < 99999.5) {
		snprintf(buf, size, "%.0f", v);
		return buf;
	}
	for (; v >= 999.95 && units[unit + 1]; unit++)
		v /= step;
	snprintf(buf, size, "%.*f%c", v < 99.995 ? 2 : 1, v, units[unit]);
	return buf;
}

static const char *or_dash(const char *s)
{
	return s ? s : "-";
}

static void print_host(const struct host_info *host)
{
	printf("%-20s %-10s %-24s %s\n", "MODULE", "VERSION", "SRCVERSION", "IN USE BY");
	for (unsigned int i = 0; i < host->num_modules; i++) {
		const struct module_info *m = &host->modules[i];

		if (m->loaded)
			printf("%-20s %-10s %-24s %s\n", m->name, or_dash(m->version),
			       or_dash(m->srcversion), or_dash(m->refcnt));
		else
			printf("%-20s not loaded\n", m->name);
	}
	printf("\n%-23s %-10s %s\n", "NODE", "MODE", "OWNER");
	for (unsigned int i = 0; i < host->num_nodes; i++) {
		const struct node_info *n = &host->nodes[i];

		if (n->present)
			printf("%-23s %-10s %s:%s\n", n->path, n->mode, n->owner, n->group);
		else
			printf("%-23s absent\n", n->path);
	}
	putchar('\n');
}

/* What @name of @q says: in all, or per second since @before */
static double value_of(const struct queue *q, const struct queue *before, const char *name,
		       bool rate, double seconds)
{
	uint64_t now = counter_value(q, name), then = before ? counter_value(before, name) : 0;

	if (!rate)
		return (double)now;
	return now >= then && seconds > 0 ? (double)(now - then) / seconds : 0;
}

static bool has_column(const char *name)
{
	for (size_t c = 0; c < NUM_COLUMNS; c++)
		if (!strcmp(columns[c].name, name))
			return true;
	return false;
}

static void print_queue(const struct queue *q, const struct queue *before, bool rate,
			double seconds)
{
	char buf[32];
	int width = 0;

	printf("%5u %-7s %5u", q->index, q->state, q->size);
	for (size_t c = 0; c < NUM_COLUMNS; c++)
		printf("%*s", columns[c].width,
		       human(buf, sizeof(buf), value_of(q, before, columns[c].name, rate, seconds),
			     columns[c].bytes));
	putchar('\n');

	/* Counters that this program does not know have no column */
	for (unsigned int i = 0; i < q->num_counters; i++) {
		const char *name = q->counters[i].name;

		if (has_column(name))
			continue;
		human(buf, sizeof(buf), value_of(q, before, name, rate, seconds), false);
		if (width && width + strlen(name) + strlen(buf) > 90) {
			putchar('\n');
			width = 0;
		}
		width += printf(width ? " %s=%s" : "      %s=%s", name, buf);
	}
	if (width)
		putchar('\n');
}

static void print_device(const struct device *d, const struct device *before, bool rate,
			 double seconds)
{
	printf("DEVICE %" PRIu64 "  %s  %s\n", d->id, d->node, d->backing);
	printf("  features %s  regions %" PRIu64 "  status %s  held by", d->features, d->regions,
	       d->status);
	for (unsigned int i = 0; i < d->num_holders; i++)
		printf("%s %d (%s%s)", i ? "," : "", (int)d->holders[i].pid, d->holders[i].comm,
		       (uint64_t)d->holders[i].pid == d->owner ? ", owner" : "");
	putchar('\n');
	if (!d->num_queues) {
		printf("  no queue has been started\n");
		return;
	}
	printf("%5s %-7s %5s", "queue", "state", "size");
	for (size_t c = 0; c < NUM_COLUMNS; c++)
		printf("%*s", columns[c].width, columns[c].name);
	puts(rate ? "  /s" : "");
	for (unsigned int i = 0; i < d->num_queues; i++) {
		const struct queue *q = &d->queues[i];

		print_queue(q, before ? find_queue(before, q->index) : NULL, rate, seconds);
	}
}

void print_table(const struct host_info *host, const struct device_list *list,
		 const struct device_list *prev)
{
	double seconds = prev ? list->when - prev->when : 0;

	if (host)
		print_host(host);
	for (unsigned int i = 0; i < list->num; i++) {
		const struct device *d = &list->devices[i];

		if (i)
			putchar('\n');
		print_device(d, prev ? find_device(prev, d->id) : NULL, prev, seconds);
	}
	if (!list->num)
		puts("no open devices");
}
