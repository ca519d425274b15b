// SPDX-License-Identifier: GPL-2.0
/*
 * Owners that are stopped, frozen, or dump their memory, with traffic under way: their threads, of
 * which ours are some, stand still without turning in circles, and go on, or go.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "child.h"

#define GROUP		"/sys/fs/cgroup/vhlpause"
#define CORE_DIR	"/tmp/vhlcore"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE_PIPE_LIMIT	"/proc/sys/kernel/core_pipe_limit"
/* What reads a core for so long, and then says how much it was */
#define SLOW_READER	CORE_DIR "/reader"
#define READER_SECONDS	2
/* Time within which whatever is to happen has happened, however busy the machine is */
#define SOON_MS		20000

FIXTURE(pause) {
	int socket[2];
	int file, kick[2];
	pid_t pid;
	char pattern[256], limit[16];
};

FIXTURE_VARIANT(pause) {
	enum dut_kind kind;
};

DUT_EACH(pause)

/* Its first line */
static int get_text(const char *path, char *text, size_t size)
{
	int n = get_file(path, text, size);

	if (n < 0)
		return n;
	text[strcspn(text, "\n")] = 0;
	return 0;
}

FIXTURE_SETUP(pause)
{
	self->pid = -1;
	self->file = -1;
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->socket));
	ASSERT_EQ(0, get_text(CORE_PATTERN, self->pattern, sizeof(self->pattern)));
	ASSERT_EQ(0, get_text(CORE_PIPE_LIMIT, self->limit, sizeof(self->limit)));
}

typedef FIXTURE_DATA(pause) pause_t;

/* The owner's end, which may have come already */
static void end(pause_t *p)
{
	int status;

	if (p->pid > 0 && !kill(p->pid, SIGKILL))
		waitpid(p->pid, &status, 0);
	p->pid = -1;
	if (p->file < 0)
		return;
	close(p->file);
	close(p->kick[0]);
	close(p->kick[1]);
	p->file = -1;
}

static void leave_group(void)
{
	/* a thread that is going is in there for a moment longer */
	for (unsigned int i = 0; i < 100 && rmdir(GROUP) && errno == EBUSY; i++)
		sleep_ms(20);
}

FIXTURE_TEARDOWN(pause)
{
	put_file(GROUP "/cgroup.freeze", "0");
	end(self);
	put_file(CORE_PATTERN, self->pattern);
	put_file(CORE_PIPE_LIMIT, self->limit);
	leave_group();
	EXPECT_EQ(0, system("rm -rf " CORE_DIR));
	close(self->socket[0]);
	close(self->socket[1]);
}

/* An owner with traffic, whose files we have as well.  0 or -errno */
static int begin(pause_t *p, enum dut_kind kind)
{
	p->pid = child_start(kind, p->socket, CHILD_FILES);
	if (p->pid < 0)
		return -errno;
	p->file = receive_fd(p->socket[0]);
	p->kick[0] = receive_fd(p->socket[0]);
	p->kick[1] = receive_fd(p->socket[0]);
	return p->file < 0 || p->kick[0] < 0 || p->kick[1] < 0 ? -EIO : 0;
}

/* Others go on to wake the device */
static int poke(pause_t *p)
{
	uint64_t one = 1;

	for (unsigned int i = 0; i < 20; i++) {
		for (unsigned int qi = 0; qi < 2; qi++)
			if (write(p->kick[qi], &one, sizeof(one)) != sizeof(one) && errno != EAGAIN)
				return -errno;
		sleep_ms(5);
	}
	return 0;
}

static uint64_t reqs(pause_t *p)
{
	struct dev_info info;

	return get_info(p->file, &info) ? 0 : info.q[0].reqs + info.q[1].reqs;
}

/* Does traffic go on, in both directions? */
static bool goes_on(pause_t *p)
{
	struct dev_info then, now;
	int64_t until = now_ms() + SOON_MS;

	if (get_info(p->file, &then))
		return false;
	do {
		sleep_ms(5);
		if (get_info(p->file, &now))
			return false;
		if (now.q[0].reqs > then.q[0].reqs + 5 && now.q[1].reqs > then.q[1].reqs + 5)
			return true;
	} while (now_ms() < until);
	return false;
}

/* Threads of the owner that are not in @state; all of them are looked at, ours and others */
static int not_in(pid_t pid, char state)
{
	char path[300], stat[512], *at;
	DIR *tasks;
	struct dirent *t;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (t = readdir(tasks))) {
		if (t->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, t->d_name);
		if (get_text(path, stat, sizeof(stat)))
			continue;
		at = strrchr(stat, ')');
		n += !at || at[2] != state;
	}
	if (tasks)
		closedir(tasks);
	return n;
}

/* Nothing moves and no time is used, whoever wants something of it.  0, or what was wrong */
static const char *stands(pause_t *p)
{
	struct worker_use before, after;
	uint64_t n = reqs(p);

	if (worker_use(p->pid, &before))
		return "no workers are to be seen";
	if (poke(p))
		return "it cannot be woken";
	if (worker_use(p->pid, &after))
		return "the workers have gone";
	if (reqs(p) != n)
		return "requests were served";
	/* a wake-up or two for each thread, which then sees that it is to stand */
	if (after.runs - before.runs > 20 || after.ns - before.ns > 20 * 1000 * 1000)
		return "its threads run";
	return NULL;
}

/* In a kernel without threads of the owner's, nothing of this is about our threads */
static bool are_owners(pause_t *p)
{
	char path[64], text[512];
	bool found = false;
	struct dirent *t;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
	tasks = opendir(path);
	while (tasks && (t = readdir(tasks))) {
		char comm[340];

		snprintf(comm, sizeof(comm), "%s/%s/comm", path, t->d_name);
		found |= !get_text(comm, text, sizeof(text)) && !strncmp(text, "vhost-", 6);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

TEST_F_TIMEOUT(pause, sigstop, 120)
{
	bool owners;
	int status;

	ASSERT_EQ(0, begin(self, variant->kind));
	owners = are_owners(self);
	EXPECT_EQ(kernel_at_least(6, 10), owners);
	for (unsigned int i = 0; i < many(5); i++) {
		sleep_ms(i * 7 % 20);
		ASSERT_EQ(0, kill(self->pid, SIGSTOP));
		/* when that is told, all of its threads stand */
		ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		EXPECT_EQ(0, not_in(self->pid, 'T'));
		if (owners) {
			EXPECT_EQ(NULL, stands(self));
		}
		ASSERT_EQ(0, kill(self->pid, SIGCONT));
		EXPECT_TRUE(goes_on(self));
	}
	/* one that stands can be killed */
	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
	end(self);
	EXPECT_TRUE(wait_workers(0, SOON_MS));
}

static bool group_is(bool frozen)
{
	int64_t until = now_ms() + SOON_MS;
	char text[128];

	do {
		FILE *f = fopen(GROUP "/cgroup.events", "re");
		bool is = false;

		while (f && fgets(text, sizeof(text), f))
			is |= !strcmp(text, frozen ? "frozen 1\n" : "frozen 0\n");
		if (f)
			fclose(f);
		if (is)
			return true;
		sleep_ms(5);
	} while (now_ms() < until);
	return false;
}

/* Moves the owner with all that is its own to a group that can be frozen */
static int enter_group(pid_t pid)
{
	char text[16];

	if (mkdir(GROUP, 0700) && errno != EEXIST)
		return -errno;
	snprintf(text, sizeof(text), "%d", pid);
	return put_file(GROUP "/cgroup.procs", text);
}

TEST_F_TIMEOUT(pause, frozen, 120)
{
	ASSERT_EQ(0, begin(self, variant->kind));
	if (enter_group(self->pid))
		SKIP(return, "no cgroups of version 2");
	for (unsigned int i = 0; i < many(5); i++) {
		sleep_ms(i * 7 % 20);
		ASSERT_EQ(0, put_file(GROUP "/cgroup.freeze", "1"));
		EXPECT_TRUE(group_is(true));
		if (are_owners(self)) {
			EXPECT_EQ(NULL, stands(self));
		}
		ASSERT_EQ(0, put_file(GROUP "/cgroup.freeze", "0"));
		EXPECT_TRUE(group_is(false));
		EXPECT_TRUE(goes_on(self));
	}
	/* one that is frozen can be killed */
	ASSERT_EQ(0, put_file(GROUP "/cgroup.freeze", "1"));
	EXPECT_TRUE(group_is(true));
	end(self);
	EXPECT_TRUE(wait_workers(0, SOON_MS));
}

/* A process that has died of @sig with its memory dumped */
static bool dumped(int status, int sig)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == sig && WCOREDUMP(status);
}

static int dumps(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	if (mkdir(CORE_DIR, 0700) && errno != EEXIST)
		return -errno;
	return setrlimit(RLIMIT_CORE, &limit) ? -errno : 0;
}

TEST_F_TIMEOUT(pause, core_dumped, 120)
{
	static const int sigs[] = { SIGSEGV, SIGABRT };
	long files = nr_files() + nr_files_slack();
	int64_t until;

	ASSERT_EQ(0, dumps());
	ASSERT_EQ(0, put_file(CORE_PATTERN, CORE_DIR "/core.%p"));
	for (unsigned int i = 0; i < many(6); i++) {
		int sig = sigs[i % 2], status;
		char path[64];
		struct stat st;
		int64_t at;

		ASSERT_EQ(0, begin(self, variant->kind));
		sleep_ms(i * 7 % 20);
		at = now_ms();
		ASSERT_EQ(0, kill(self->pid, sig));
		ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
		TH_LOG("%lld ms", (long long)(now_ms() - at));
		EXPECT_TRUE(dumped(status, sig)) TH_LOG("status %#x", status);
		snprintf(path, sizeof(path), CORE_DIR "/core.%d", self->pid);
		EXPECT_EQ(0, stat(path, &st));
		/* guest memory is in it: eight MiB, of which some were used */
		EXPECT_LT(256 << 10, st.st_size);
		unlink(path);
		self->pid = -1;
		end(self);
		EXPECT_TRUE(wait_workers(0, SOON_MS));
	}
	for (until = now_ms() + 5000; nr_files() > files && now_ms() < until;)
		sleep_ms(50);
	EXPECT_GE(files, nr_files());
}

/*
 * Who reads the dump takes its time. Meanwhile the owner is neither alive nor gone, and its device,
 * which others look at, wake and have packets for, uses no processor.
 */
TEST_F_TIMEOUT(pause, core_read_slowly, 120)
{
	struct worker_use before, after;
	bool owners;
	int status;
	FILE *f;

	ASSERT_EQ(0, dumps());
	f = fopen(SLOW_READER, "we");
	ASSERT_NE(NULL, f);
	fprintf(f, "#!/bin/sh\n: >" CORE_DIR "/begun\nsleep %d\nwc -c >" CORE_DIR "/size\n",
		READER_SECONDS);
	ASSERT_EQ(0, fclose(f));
	ASSERT_EQ(0, chmod(SLOW_READER, 0700));
	ASSERT_EQ(0, put_file(CORE_PATTERN, "|" SLOW_READER));
	/* who waits for the process sees it end after the reader has */
	ASSERT_EQ(0, put_file(CORE_PIPE_LIMIT, "4"));
	ASSERT_EQ(0, begin(self, variant->kind));
	owners = are_owners(self);
	ASSERT_EQ(0, kill(self->pid, SIGSEGV));
	for (int64_t until = now_ms() + SOON_MS; access(CORE_DIR "/begun", F_OK) && now_ms() < until;)
		sleep_ms(5);
	ASSERT_EQ(0, access(CORE_DIR "/begun", F_OK));
	EXPECT_EQ(0, waitpid(self->pid, &status, WNOHANG));
	if (owners && !worker_use(self->pid, &before)) {
		ASSERT_EQ(0, poke(self));
		ASSERT_EQ(0, worker_use(self->pid, &after));
		EXPECT_GE(20, after.runs - before.runs);
	} else {
		ASSERT_EQ(0, poke(self));
	}
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
	EXPECT_TRUE(dumped(status, SIGSEGV)) TH_LOG("status %#x", status);
	EXPECT_EQ(0, access(CORE_DIR "/size", F_OK));
	self->pid = -1;
	end(self);
	EXPECT_TRUE(wait_workers(0, SOON_MS));
}

TEST_HARNESS_MAIN
