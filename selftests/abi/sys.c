// SPDX-License-Identifier: GPL-2.0
/* What all tests need of the system.  See sys.h */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

int xioctl(int fd, unsigned long request, const void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int xopen(const char *node)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vring_num(int fd, unsigned long request, uint32_t index, uint32_t num)
{
	struct vhost_vring_state s = { .index = index, .num = num };

	return xioctl(fd, request, &s);
}

int vring_file(int fd, unsigned long request, uint32_t index, int file)
{
	struct vhost_vring_file f = { .index = index, .fd = file };

	return xioctl(fd, request, &f);
}

unsigned int many(unsigned int n)
{
	const char *scale = getenv("VHL_TEST_SCALE");
	double v = scale ? atof(scale) * n : n;

	return v < 1 ? 1 : v;
}

unsigned int max_regions(void)
{
	char text[16];

	if (get_file("/sys/module/vhost_lite/parameters/max_regions", text, sizeof(text)) < 0)
		return 0;
	return strtoul(text, NULL, 10);
}

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

int in_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, arg))
		return -EAGAIN;
	pthread_join(thread, NULL);
	return 0;
}

int in_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		int ret = fn(arg);

		fflush(NULL);
		_exit(ret);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

int send_fd(int socket, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u;
	char one = 1;
	struct iovec iov = { &one, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(socket, &m, 0) == 1 ? 0 : -errno;
}

int receive_fd(int socket)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u;
	char one;
	struct iovec iov = { &one, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC) != 1)
		return -errno;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* Counters: all that are documented, each once; others are allowed */
static int parse_counters(char *text, struct queue_info *q)
{
	struct {
		const char *name;
		uint64_t *value;
	} known[] = {
		{ "kicks", &q->kicks }, { "wakes", &q->wakes }, { "polls", &q->polls },
		{ "reqs", &q->reqs }, { "in", &q->in }, { "out", &q->out },
		{ "batches", &q->batches }, { "calls", &q->calls }, { "errors", &q->errors },
		{ "breaks", &q->breaks },
	};
	unsigned int seen = 0;
	char *save, *word;

	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(word, '='), *end;
		unsigned long long v;

		if (!eq)
			return -EINVAL;
		*eq = 0;
		errno = 0;
		v = strtoull(eq + 1, &end, 10);
		if (errno || *end || end == eq + 1)
			return -EINVAL;
		for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			if (strcmp(word, known[i].name))
				continue;
			*known[i].value = v;
			if (seen & (1U << i))
				return -EINVAL;
			seen |= 1U << i;
		}
	}
	return seen == (1U << sizeof(known) / sizeof(known[0])) - 1 ? 0 : -EINVAL;
}

static int parse_queue(char *value, struct dev_info *info)
{
	unsigned int index, size;
	char state[16];
	int at;

	if (sscanf(value, "%u %15s %u %n", &index, state, &size, &at) != 3 ||
	    index >= VHL_BLK_MAX_QUEUES || info->q[index].present)
		return -EINVAL;
	if (strcmp(state, "running") && strcmp(state, "stopped") && strcmp(state, "unmapped") &&
	    strcmp(state, "broken"))
		return -EINVAL;
	info->q[index].present = true;
	strcpy(info->q[index].state, state);
	info->q[index].size = size;
	return parse_counters(value + at, &info->q[index]);
}

/* Up to 128 bits */
static int parse_features(const char *value, struct dev_info *info)
{
	char high[17] = "";
	size_t digits;

	if (!strncmp(value, "0x", 2))
		value += 2;
	digits = strspn(value, "0123456789abcdef");
	if (!digits || digits > 32 || value[digits])
		return -EINVAL;
	if (digits > 16) {
		memcpy(high, value, digits - 16);
		value += digits - 16;
	}
	info->features_high = strtoull(high, NULL, 16);
	info->features = strtoull(value, NULL, 16);
	return 0;
}

static int parse_line(const char *key, char *value, struct dev_info *info, unsigned int *seen)
{
	int at = -1;

	if (!strcmp(key, "vhl-device")) {
		*seen |= 1;
		return sscanf(value, "%llu%n", &info->device, &at) == 1 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-node")) {
		*seen |= 2;
		return sscanf(value, "%31s%n", info->node, &at) == 1 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-owner")) {
		*seen |= 4;
		return sscanf(value, "%d%n", &info->owner, &at) == 1 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-features")) {
		*seen |= 8;
		return parse_features(value, info);
	}
	if (!strcmp(key, "vhl-regions")) {
		*seen |= 16;
		return sscanf(value, "%u%n", &info->regions, &at) == 1 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-iotlb")) {
		*seen |= 64;
		return sscanf(value, "updates=%llu invalidates=%llu waits=%llu drains=%llu%n",
			      &info->map.updates, &info->map.invalidates, &info->map.waits,
			      &info->map.drains, &at) == 4 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-backing")) {
		*seen |= 32;
		return sscanf(value, "%127s%n", info->backing, &at) == 1 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-status")) {
		info->has_status = true;
		return sscanf(value, "%x%n", &info->status, &at) == 1 && !value[at] ? 0 : -EINVAL;
	}
	if (!strcmp(key, "vhl-queue"))
		return parse_queue(value, info);
	return 0;
}

int get_info(int fd, struct dev_info *info)
{
	unsigned int seen = 0;
	char path[64], line[1024];
	int ret = 0;
	FILE *f;

	memset(info, 0, sizeof(*info));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (!ret && fgets(line, sizeof(line), f)) {
		char *colon = strstr(line, ":\t");

		line[strcspn(line, "\n")] = 0;
		if (!colon)
			continue;
		*colon = 0;
		ret = parse_line(line, colon + 2, info, &seen);
	}
	fclose(f);
	return ret ? ret : seen == 127 ? 0 : -EINVAL;
}

bool queue_is(int fd, unsigned int index, const char *state)
{
	struct dev_info info;

	return !get_info(fd, &info) && info.q[index].present &&
	       !strcmp(info.q[index].state, state);
}

bool wait_queue_is(int fd, unsigned int index, const char *state, unsigned int ms)
{
	int64_t end = now_ms() + ms;

	while (!queue_is(fd, index, state)) {
		if (now_ms() > end)
			return false;
		sleep_ms(5);
	}
	return true;
}

/* The kernel's objects */

int get_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (have < size - 1 && (n = read(fd, buf + have, size - 1 - have)) > 0)
		have += n;
	close(fd);
	buf[have] = 0;
	return n < 0 ? -EIO : (int)have;
}

int put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int ret;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	ret = n < 0 ? -errno : 0;
	close(fd);
	return ret;
}

long nr_files(void)
{
	char buf[128];

	return get_file("/proc/sys/fs/file-nr", buf, sizeof(buf)) < 0 ? -1 : atol(buf);
}

long nr_files_slack(void)
{
	return 64 * sysconf(_SC_NPROCESSORS_ONLN);
}

/*
 * Which worker a thread with this name, in brackets, is: vhost-PID is the first one, others are
 * vhost-PID-INDEX. -1: none, but it may be of the pool
 */
static int worker_index(const char *name)
{
	int index = -1, end = -1;

	if (sscanf(name, "(vhost-%*d%n", &end) == 0 && end > 0 && name[end] == ')')
		return 0;
	return sscanf(name, "(vhost-%*d-%d)", &index) == 1 ? index : -1;
}

/*
 * For every thread of ours, of all processes or of @of, but if @index is not -1 only for the worker
 * with that one
 */
static int for_workers(pid_t of, int index, long *ticks, struct worker_use *use)
{
	DIR *procs = opendir("/proc");
	struct dirent *p, *t;
	int found = 0;

	while (procs && (p = readdir(procs))) {
		char path[300];
		DIR *tasks;

		if (p->d_name[0] < '0' || p->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/task", p->d_name);
		tasks = opendir(path);
		while (tasks && (t = readdir(tasks))) {
			char stat[600], buf[512], *name, *end;
			unsigned long user, sys;

			if (t->d_name[0] == '.')
				continue;
			snprintf(stat, sizeof(stat), "%s/%s/stat", path, t->d_name);
			if (get_file(stat, buf, sizeof(buf)) <= 0)
				continue;
			name = strchr(buf, '(');
			end = strrchr(buf, ')');
			if (!name || !end || strncmp(name, "(vhost-", 7))
				continue;
			if (of && atoi(name + 7) != of)
				continue;
			if (index >= 0 && worker_index(name) != index)
				continue;
			/* one that is dying is gone for all that matters */
			if (end[2] == 'Z' || end[2] == 'X')
				continue;
			found++;
			if (ticks && sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
					    &user, &sys) == 2)
				*ticks += user + sys;
			if (use) {
				unsigned long long ns, runs;

				snprintf(stat, sizeof(stat), "%s/%s/schedstat", path, t->d_name);
				if (get_file(stat, buf, sizeof(buf)) <= 0 ||
				    sscanf(buf, "%llu %*u %llu", &ns, &runs) != 2)
					continue;
				use->ns += ns;
				use->runs += runs;
			}
		}
		if (tasks)
			closedir(tasks);
	}
	if (procs)
		closedir(procs);
	return found;
}

int nr_workers(void)
{
	return for_workers(0, -1, NULL, NULL);
}

int nr_own_workers(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *t;
	char path[300], name[32];
	int n = 0;

	while (tasks && (t = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", t->d_name);
		n += get_file(path, name, sizeof(name)) > 0 && !strncmp(name, "vhost-", 6);
	}
	if (tasks)
		closedir(tasks);
	return n;
}

bool wait_workers(int n, unsigned int ms)
{
	int64_t end = now_ms() + ms;

	while (nr_workers() > n) {
		if (now_ms() > end)
			return false;
		sleep_ms(20);
	}
	return true;
}

long worker_ticks(pid_t pid)
{
	long ticks = 0;

	return for_workers(pid, -1, &ticks, NULL) ? ticks : -1;
}

int worker_use(pid_t pid, struct worker_use *use)
{
	memset(use, 0, sizeof(*use));
	return for_workers(pid, -1, NULL, use) ? 0 : -ENOENT;
}

int worker_use_of(unsigned int index, struct worker_use *use)
{
	memset(use, 0, sizeof(*use));
	return for_workers(getpid(), index, NULL, use) ? 0 : -ENOENT;
}

static long kb_of(const char *path, const char *key)
{
	char buf[8192], *at;

	if (get_file(path, buf, sizeof(buf)) < 0)
		return -1;
	at = strstr(buf, key);
	return at ? atol(at + strlen(key)) : -1;
}

long locked_kb(void)
{
	return kb_of("/proc/self/status", "VmLck:");
}

long mem_available_kb(void)
{
	return kb_of("/proc/meminfo", "MemAvailable:");
}

int slabs_read(struct slabs *s)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	char line[512], flag[8];

	if (!f)
		return -errno;
	memset(s, 0, sizeof(*s));
	while (fgets(line, sizeof(line), f) && s->n < SLABS_MAX) {
		if (sscanf(line, "%47s %ld %*d %ld", s->s[s->n].name, &s->s[s->n].active,
			   &s->s[s->n].size) == 3)
			s->n++;
	}
	fclose(f);
	s->exact = get_file("/sys/kernel/slab/kmalloc-64/poison", flag, sizeof(flag)) > 0 &&
		   flag[0] == '1';
	return 0;
}

const char *slabs_grown(const struct slabs *before, const struct slabs *now, long n)
{
	const char *worst = NULL;

	for (unsigned int i = 0; i < now->n; i++) {
		const char *name = now->s[i].name;

		if (strncmp(name, "kmalloc-", 8) && strcmp(name, "filp") &&
		    strcmp(name, "task_struct") && strcmp(name, "mm_struct"))
			continue;
		for (unsigned int j = 0; j < before->n; j++) {
			long grown = now->s[i].active - before->s[j].active;

			if (strcmp(name, before->s[j].name) || grown < n)
				continue;
			n = grown;
			worst = name;
		}
	}
	return worst;
}

bool kernel_at_least(int major, int minor)
{
	int have_major, have_minor;
	struct utsname u;

	return !uname(&u) && sscanf(u.release, "%d.%d", &have_major, &have_minor) == 2 &&
	       (have_major > major || (have_major == major && have_minor >= minor));
}

/* By its file, NAME.ko, two directories above the program, unless VHL_MODULES says where */
int module_load(const char *name)
{
	return module_load_with(name, "");
}

int module_load_with(const char *name, const char *params)
{
	const char *dir = getenv("VHL_MODULES");
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n;
	int fd, ret;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return -errno;
	self[n] = 0;
	for (int i = 0; i < 3; i++)
		*strrchr(self, '/') = 0;
	snprintf(path, sizeof(path), "%s/%s.ko", dir ? dir : self, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return ret;
}

int module_unload(const char *file)
{
	char name[NAME_MAX + 1];

	/* the kernel's name of it has no hyphen */
	snprintf(name, sizeof(name), "%s", file);
	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

bool module_loaded(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
	return !access(path, F_OK);
}
