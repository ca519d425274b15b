// SPDX-License-Identifier: GPL-2.0
/* Threads of the kernel that serve this process.  See workers.h */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "workers.h"

static int read_text(const char *dir, const char *id, const char *file, char *buf, size_t len)
{
	char path[320];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, id, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, buf, len - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0 ? 0 : -1;
}

/* Ours and the kernel's own are vhost-PID or vhost-PID-INDEX; this program's are vhost-bench */
static bool is_worker(const char *comm)
{
	return !strncmp(comm, "vhost-", 6) && isdigit((unsigned char)comm[6]) &&
	       atoi(comm + 6) == getpid();
}

static void read_dir(const char *dir, bool all, struct workers *w)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		unsigned long long run, wait, slices;
		char text[128];

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (!all && (read_text(dir, e->d_name, "comm", text, sizeof(text)) ||
			     !is_worker(text)))
			continue;
		if (read_text(dir, e->d_name, "schedstat", text, sizeof(text)) ||
		    sscanf(text, "%llu %llu %llu", &run, &wait, &slices) != 3)
			continue;
		w->n++;
		w->run_ns += run;
		w->slices += slices;
	}
	if (d)
		closedir(d);
}

/* A vhost_task is a thread of its owner; before Linux 6.4 there are kernel threads instead */
void workers_read(struct workers *w)
{
	memset(w, 0, sizeof(*w));
	read_dir("/proc/self/task", false, w);
	if (!w->n)
		read_dir("/proc", false, w);
}

void workers_add(struct workers *w, int pid)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	read_dir(dir, true, w);
}
