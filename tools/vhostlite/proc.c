// SPDX-License-Identifier: GPL-2.0
/*
 * Open devices: every process's descriptors are looked through for those whose fdinfo has the
 * line "vhl-device:" (<linux/vhost_lite.h>, "Counters").
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vhostlite.h"

static void free_device(struct device *dev)
{
	free(dev->backing);
	free(dev->queues);
	free(dev->holders);
}

void free_devices(struct device_list *list)
{
	for (unsigned int i = 0; i < list->num; i++)
		free_device(&list->devices[i]);
	free(list->devices);
	*list = (struct device_list){ 0 };
}

const struct device *find_device(const struct device_list *list, uint64_t id)
{
	for (unsigned int i = 0; i < list->num; i++)
		if (list->devices[i].id == id)
			return &list->devices[i];
	return NULL;
}

const struct queue *find_queue(const struct device *dev, unsigned int index)
{
	for (unsigned int i = 0; i < dev->num_queues; i++)
		if (dev->queues[i].index == index)
			return &dev->queues[i];
	return NULL;
}

uint64_t counter_value(const struct queue *q, const char *name)
{
	for (unsigned int i = 0; i < q->num_counters; i++)
		if (!strcmp(q->counters[i].name, name))
			return q->counters[i].value;
	return 0;
}

/* "0 running 256 kicks=23 wakes=…": what is not understood is left out */
static void parse_queue(struct device *dev, char *text)
{
	struct queue q = { 0 }, *queues;
	char *save = NULL, *word;
	int used = 0;

	if (sscanf(text, "%u %15s %u%n", &q.index, q.state, &q.size, &used) != 3)
		return;
	for (word = strtok_r(text + used, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		struct counter *c = &q.counters[q.num_counters];
		char *eq = strchr(word, '=');

		if (!eq || q.num_counters == MAX_COUNTERS ||
		    (size_t)(eq - word) >= sizeof(c->name) ||
		    !parse_number(eq + 1, 0, UINT64_MAX, &c->value))
			continue;
		*eq = '\0';
		memcpy(c->name, word, (size_t)(eq - word) + 1);
		q.num_counters++;
	}
	queues = xrealloc(dev->queues, (dev->num_queues + 1) * sizeof(*queues));
	queues[dev->num_queues++] = q;
	dev->queues = queues;
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

static bool parse_fdinfo(FILE *f, struct device *dev)
{
	bool found = false;
	char *line = NULL;
	size_t size = 0;

	*dev = (struct device){ .node = "?", .features = "-", .status = "-" };
	while (getline(&line, &size, f) >= 0) {
		char *value = strchr(line, ':');

		if (strncmp(line, "vhl-", 4) || !value)
			continue;
		*value++ = '\0';
		value += strspn(value, " \t");
		value[strcspn(value, "\n")] = '\0';
		if (!strcmp(line, "vhl-device")) {
			found = parse_number(value, 0, UINT64_MAX, &dev->id);
		} else if (!strcmp(line, "vhl-node")) {
			copy(dev->node, sizeof(dev->node), value);
		} else if (!strcmp(line, "vhl-owner")) {
			if (!parse_number(value, 0, UINT64_MAX, &dev->owner))
				dev->owner = 0;
		} else if (!strcmp(line, "vhl-features")) {
			copy(dev->features, sizeof(dev->features), value);
		} else if (!strcmp(line, "vhl-regions")) {
			if (!parse_number(value, 0, UINT64_MAX, &dev->regions))
				dev->regions = 0;
		} else if (!strcmp(line, "vhl-status")) {
			copy(dev->status, sizeof(dev->status), value);
		} else if (!strcmp(line, "vhl-backing")) {
			free(dev->backing);
			dev->backing = xstrdup(value);
		} else if (!strcmp(line, "vhl-queue")) {
			parse_queue(dev, value);
		}
	}
	free(line);
	if (!dev->backing)
		dev->backing = xstrdup("-");
	return found;
}

static void add_holder(struct device *dev, pid_t pid, int fd)
{
	struct holder *h;
	char *comm;

	dev->holders = xrealloc(dev->holders, (dev->num_holders + 1) * sizeof(*h));
	h = &dev->holders[dev->num_holders++];
	*h = (struct holder){ .pid = pid, .fd = fd, .comm = "?" };
	comm = read_line("/proc/%d/comm", (int)pid);
	if (comm)
		copy(h->comm, sizeof(h->comm), comm);
	free(comm);
}

/* A descriptor of a device: a new one, or one more holder of one that we have */
static void add_device(struct device_list *list, struct device *dev, pid_t pid, int fd)
{
	struct device *have = (struct device *)find_device(list, dev->id);

	if (have) {
		free_device(dev);
	} else {
		list->devices = xrealloc(list->devices, (list->num + 1) * sizeof(*dev));
		have = &list->devices[list->num++];
		*have = *dev;
	}
	/* One line a process, however often it has the file open */
	for (unsigned int i = 0; i < have->num_holders; i++)
		if (have->holders[i].pid == pid)
			return;
	add_holder(have, pid, fd);
}

static void look_at_fd(struct device_list *list, int fds, pid_t pid, const char *name)
{
	char link[64], *path;
	struct device dev;
	ssize_t len;
	FILE *f;

	/*
	 * Nodes have a path, wherever they are and whatever they are called; sockets, pipes and
	 * most other descriptors do not, and are not worth the reading.
	 */
	len = readlinkat(fds, name, link, sizeof(link));
	if (len < 1 || link[0] != '/')
		return;
	path = xasprintf("/proc/%d/fdinfo/%s", (int)pid, name);
	f = fopen(path, "re");
	free(path);
	if (!f)
		return;
	if (parse_fdinfo(f, &dev))
		add_device(list, &dev, pid, atoi(name));
	else
		free_device(&dev);
	fclose(f);
}

static void look_at_process(struct device_list *list, pid_t pid)
{
	char *path = xasprintf("/proc/%d/fd", (int)pid);
	struct dirent *entry;
	DIR *dir = opendir(path);

	free(path);
	if (!dir) {
		list->denied += errno == EACCES || errno == EPERM;
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			look_at_fd(list, dirfd(dir), pid, entry->d_name);
	closedir(dir);
}

static int by_id(const void *a, const void *b)
{
	const struct device *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

void scan_devices(struct device_list *list)
{
	struct dirent *entry;
	struct timespec now;
	uint64_t pid;
	DIR *dir;

	*list = (struct device_list){ 0 };
	dir = opendir("/proc");
	if (!dir)
		die(EXIT_FAILED, "/proc: %s", strerror(errno));
	clock_gettime(CLOCK_MONOTONIC, &now);
	list->when = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
	while ((entry = readdir(dir)))
		if (parse_number(entry->d_name, 1, INT32_MAX, &pid))
			look_at_process(list, (pid_t)pid);
	closedir(dir);
	if (list->num)
		qsort(list->devices, list->num, sizeof(*list->devices), by_id);
}
