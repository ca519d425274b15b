// SPDX-License-Identifier: GPL-2.0
/* vhostlite info for programs: one JSON object, on one line. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vhostlite.h"

/* Bytes of the UTF-8 sequence at @s, 0 when it is none (file names may be anything) */
static unsigned int utf8_length(const unsigned char *s)
{
	unsigned int len, i;

	if (s[0] < 0x80)
		return 1;
	len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 ||
	    (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	for (i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

void json_string(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned int len;

	if (!s) {
		fputs("null", stdout);
		return;
	}
	putchar('"');
	for (; *s; s += len) {
		len = utf8_length(s);
		if (!len) {
			fputs("\\ufffd", stdout);
			len = 1;
		} else if (*s == '"' || *s == '\\') {
			printf("\\%c", *s);
		} else if (*s < 0x20) {
			printf("\\u%04x", *s);
		} else {
			fwrite(s, 1, len, stdout);
		}
	}
	putchar('"');
}

static void member(const char *name, const char *value)
{
	printf(",\"%s\":", name);
	json_string(value);
}

static void print_modules(const struct host_info *host)
{
	fputs("\"modules\":[", stdout);
	for (unsigned int i = 0; i < host->num_modules; i++) {
		const struct module_info *m = &host->modules[i];

		printf("%s{\"name\":\"%s\",\"loaded\":%s", i ? "," : "", m->name,
		       m->loaded ? "true" : "false");
		member("version", m->version);
		member("srcversion", m->srcversion);
		printf(",\"refcnt\":%s}", m->refcnt ? m->refcnt : "null");
	}
	fputs("],\"nodes\":[", stdout);
	for (unsigned int i = 0; i < host->num_nodes; i++) {
		const struct node_info *n = &host->nodes[i];

		printf("%s{\"path\":\"%s\",\"present\":%s", i ? "," : "", n->path,
		       n->present ? "true" : "false");
		member("mode", n->present ? n->mode : NULL);
		member("owner", n->owner);
		member("group", n->group);
		putchar('}');
	}
	putchar(']');
}

static void print_queue(const struct queue *q)
{
	printf("{\"index\":%u", q->index);
	member("state", q->state);
	printf(",\"size\":%u,\"counters\":{", q->size);
	for (unsigned int i = 0; i < q->num_counters; i++) {
		if (i)
			putchar(',');
		json_string(q->counters[i].name);
		printf(":%" PRIu64, q->counters[i].value);
	}
	fputs("}}", stdout);
}

static void print_device(const struct device *d)
{
	printf("{\"device\":%" PRIu64, d->id);
	member("node", d->node);
	member("backing", d->backing);
	printf(",\"owner\":%" PRIu64 ",\"regions\":%" PRIu64, d->owner, d->regions);
	member("features", d->features);
	member("status", d->status);
	fputs(",\"holders\":[", stdout);
	for (unsigned int i = 0; i < d->num_holders; i++) {
		printf("%s{\"pid\":%d,\"fd\":%d", i ? "," : "", (int)d->holders[i].pid,
		       d->holders[i].fd);
		member("comm", d->holders[i].comm);
		putchar('}');
	}
	fputs("],\"queues\":[", stdout);
	for (unsigned int i = 0; i < d->num_queues; i++) {
		if (i)
			putchar(',');
		print_queue(&d->queues[i]);
	}
	fputs("]}", stdout);
}

void print_json(const struct host_info *host, const struct device_list *list)
{
	printf("{\"monotonic\":%.6f,\"complete\":%s,", list->when, list->denied ? "false" : "true");
	print_modules(host);
	fputs(",\"devices\":[", stdout);
	for (unsigned int i = 0; i < list->num; i++) {
		if (i)
			putchar(',');
		print_device(&list->devices[i]);
	}
	puts("]}");
}
