// SPDX-License-Identifier: GPL-2.0
/* Life and death: of owners, of files that others hold, and of the modules */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "child.h"

FIXTURE(life) {
	enum dut_kind kind;
	const char *path;
	int socket[2];
};

FIXTURE_VARIANT(life) {
	enum dut_kind kind;
};

DUT_EACH(life)

FIXTURE_SETUP(life)
{
	self->kind = variant->kind;
	self->path = dut_node(variant->kind);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->socket));
}

FIXTURE_TEARDOWN(life)
{
	close(self->socket[0]);
	close(self->socket[1]);
}

TEST_F_TIMEOUT(life, sigkill_during_traffic, 60)
{
	long files = nr_files() + nr_files_slack();
	int64_t end;

	/* a device that is left has eight files and more */
	for (unsigned int i = 0; i < many(20); i++) {
		pid_t pid = child_start(self->kind, self->socket, CHILD_WORD);
		int status;
		char ready;

		ASSERT_LT(0, pid);
		ASSERT_EQ(1, read(self->socket[0], &ready, 1));
		sleep_ms(i * 3);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_TRUE(wait_workers(0, 5000));
	for (end = now_ms() + 5000; nr_files() > files && now_ms() < end;)
		sleep_ms(50);
	EXPECT_GE(files, nr_files());
}

/*
 * CVE-2025-40024: the thread of a dead owner was woken by a file that others still held. Here they
 * look at it, call, kick, and close.
 */
TEST_F_TIMEOUT(life, owner_dies_before_the_file, 60)
{
	for (unsigned int i = 0; i < many(4); i++) {
		pid_t pid = child_start(self->kind, self->socket, CHILD_FILE);
		struct vhost_vring_state s = { 0 };
		struct dev_info info;
		int status, fd;

		ASSERT_LT(0, pid);
		fd = receive_fd(self->socket[0]);
		ASSERT_LT(0, fd);
		ASSERT_EQ(0, get_info(fd, &info));
		EXPECT_EQ(pid, info.owner);
		EXPECT_STREQ("running", info.q[1].state);
		/* once the polite way */
		ASSERT_EQ(0, kill(pid, i % 2 ? SIGTERM : SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		sleep_ms(10);

		EXPECT_EQ(-EPERM, xioctl(fd, VHOST_GET_VRING_BASE, &s));
		EXPECT_NE(0, xioctl(fd, VHOST_RESET_OWNER, NULL));
		EXPECT_NE(0, vring_file(fd, VHOST_SET_VRING_KICK, 0, -1));
		ASSERT_EQ(0, get_info(fd, &info));
		EXPECT_EQ(0, info.owner);
		/* whoever has the file may stop what is left (vhost-vDPA) */
		if (self->kind == DUT_VDPA) {
			EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_SET_STATUS, "\0"));
		}
		close(fd);
	}
	EXPECT_TRUE(wait_workers(0, 5000));
}

/* Something else still kicks a device whose owner is dead: its TAP, an eventfd, a slow disk */
TEST_F_TIMEOUT(life, kicked_after_the_owner_died, 60)
{
	struct dut_opts opts = { .stopped = true };
	struct dut d;
	int status;
	pid_t pid;

	/* everything of the device is shared, but the child is the owner */
	ASSERT_EQ(0, dut_open(&d, self->kind == DUT_VDPA ? DUT_BLK : self->kind, &opts));
	ASSERT_EQ(0, xioctl(d.g->fd, VHOST_RESET_OWNER, NULL));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (guest_own(d.g) || guest_set_features(d.g, d.g->features) ||
		    guest_commit(d.g) || dut_start(&d) || dut_unit(&d, 0) || dut_unit(&d, 1))
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, dut_poke(&d, 0));
		ASSERT_EQ(0, dut_poke(&d, 1));
		sleep_ms(1);
	}
	EXPECT_EQ(-EPERM, vring_file(d.g->fd, VHOST_SET_VRING_KICK, 0, -1));
	dut_close(&d);
	EXPECT_TRUE(wait_workers(0, 5000));
}

/* The owner becomes another program, with the file open; then that one ends */
TEST_F_TIMEOUT(life, fork_and_exec, 60)
{
	for (unsigned int i = 0; i < many(3); i++) {
		int status;
		pid_t pid;

		fflush(NULL);
		pid = fork();
		if (!pid) {
			static struct mover m[2];
			static struct dut d;

			if (dut_open(&d, self->kind, NULL) || mover_start(&m[0], &d, 0) ||
			    mover_start(&m[1], &d, 1))
				_exit(1);
			sleep_ms(20);
			fcntl(d.g->fd, F_SETFD, 0);
			execl("/bin/sleep", "sleep", "0.1", NULL);
			_exit(3);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_TRUE(wait_workers(0, 5000));
}

/* CVE-2018-14625: closed while packets and requests are on their way */
TEST_F_TIMEOUT(life, close_during_traffic, 60)
{
	for (unsigned int i = 0; i < many(10); i++) {
		struct mover m[2];
		struct dut d;
		int fd;

		ASSERT_EQ(0, dut_open(&d, self->kind, NULL));
		d.timeout_ms = 100;
		d.quiet = true;
		ASSERT_EQ(0, mover_start(&m[0], &d, 0));
		ASSERT_EQ(0, mover_start(&m[1], &d, 1));
		sleep_ms(i % 5);
		/* the number stays taken: guest_close() is not to close a file of somebody else's */
		fd = open("/dev/null", O_RDONLY);
		ASSERT_EQ(d.g->fd, dup2(fd, d.g->fd));
		close(fd);
		sleep_ms(2);
		atomic_store(&m[0].stop, true);
		atomic_store(&m[1].stop, true);
		mover_stop(&m[0]);
		mover_stop(&m[1]);
		dut_close(&d);
	}
	EXPECT_TRUE(wait_workers(0, 5000));
}

/* The owner is killed while its requests are with a slow disk */
TEST(sigkill_with_requests_in_flight)
{
	int disk = slow_disk(200);

	if (disk < 0)
		SKIP(return, "no null_blk here");
	for (unsigned int kind = DUT_BLK; kind <= DUT_VDPA; kind++) {
		int status, ready[2];
		pid_t pid;
		char c;

		ASSERT_EQ(0, pipe(ready));
		fflush(NULL);
		pid = fork();
		if (!pid) {
			struct dut_opts opts = { .disk = disk };
			static struct dut d;

			if (dut_open(&d, kind, &opts))
				_exit(1);
			if (blk_start_reads(&d, 20))
				_exit(2);
			sleep_ms(20);
			if (write(ready[1], "", 1) != 1)
				_exit(3);
			for (;;)
				pause();
		}
		ASSERT_EQ(1, read(ready[0], &c, 1));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_TRUE(wait_workers(0, 5000));
		close(ready[0]);
		close(ready[1]);
	}
	close(disk);
	slow_disk_remove();
}

/* The modules */

static const struct {
	const char *module;
	const char *nodes[3];
} backends[] = {
	{ "vhost-netlite", { NODE_NET } },
	{ "vhost-blklite", { NODE_BLK, NODE_VDPA } },
};

#define NUM_BACKENDS	(sizeof(backends) / sizeof(backends[0]))

TEST(unload_while_in_use)
{
	for (unsigned int i = 0; i < NUM_BACKENDS; i++) {
		for (const char *const *node = backends[i].nodes; *node; node++) {
			int fd = xopen(*node);

			ASSERT_LE(0, fd);
			/* what rmmod reports as EBUSY, "in use" */
			EXPECT_EQ(-EWOULDBLOCK, module_unload(backends[i].module));
			EXPECT_EQ(-EWOULDBLOCK, module_unload("vhost_lite"));
			ASSERT_EQ(0, xioctl(fd, VHOST_SET_OWNER, NULL));
			EXPECT_EQ(-EWOULDBLOCK, module_unload(backends[i].module));
			close(fd);
		}
	}
	/* the core is in use by the others */
	EXPECT_EQ(-EWOULDBLOCK, module_unload("vhost_lite"));
}

static int unload(const char *name)
{
	int64_t end = now_ms() + 3000;
	int ret;

	/* the last close may not be through yet */
	while ((ret = module_unload(name)) == -EWOULDBLOCK && now_ms() < end)
		sleep_ms(10);
	return ret;
}

TEST_F_TIMEOUT(life, load_and_unload, 120)
{
	const char *module = self->kind == DUT_NET ? "vhost-netlite" : "vhost-blklite";

	for (unsigned int i = 0; i < many(3); i++) {
		struct dut d;

		ASSERT_EQ(0, dut_open(&d, self->kind, NULL));
		EXPECT_EQ(0, dut_units(&d, 0, 2));
		EXPECT_EQ(0, dut_units(&d, 1, 2));
		dut_close(&d);
		ASSERT_EQ(0, unload(module));
		EXPECT_EQ(-ENOENT, xopen(self->path));
		ASSERT_EQ(0, module_load(module));
	}
}

static void *open_and_close(void *arg)
{
	atomic_bool *stop = arg;
	int bad = 0;

	while (!atomic_load(stop)) {
		int fd = xopen(NODE_NET);

		if (fd >= 0)
			close(fd);
		else if (fd != -ENOENT && fd != -ENODEV && fd != -ENXIO)
			bad = fd;
		sched_yield();
	}
	return (void *)(intptr_t)bad;
}

/* CVE-2026-74313: the node is opened while its module goes */
TEST(open_while_unloading)
{
	unsigned int unloaded = 0;
	atomic_bool stop = false;
	pthread_t thread;
	void *bad;

	ASSERT_EQ(0, pthread_create(&thread, NULL, open_and_close, &stop));
	for (unsigned int i = 0; i < many(20); i++) {
		if (unload("vhost-netlite"))
			continue;
		unloaded++;
		EXPECT_EQ(0, module_load("vhost-netlite"));
	}
	atomic_store(&stop, true);
	pthread_join(thread, &bad);
	EXPECT_EQ(NULL, bad);
	EXPECT_LT(0, unloaded);
}

TEST(core_is_unloaded_last)
{
	for (unsigned int i = 0; i < NUM_BACKENDS; i++) {
		EXPECT_EQ(-EWOULDBLOCK, module_unload("vhost_lite"));
		ASSERT_EQ(0, unload(backends[i].module));
	}
	EXPECT_EQ(0, unload("vhost_lite"));
	EXPECT_FALSE(module_loaded("vhost_lite"));
	EXPECT_EQ(0, module_load("vhost_lite"));
	for (unsigned int i = 0; i < NUM_BACKENDS; i++) {
		EXPECT_EQ(0, module_load(backends[i].module));
	}
}

TEST_HARNESS_MAIN
