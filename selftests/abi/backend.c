// SPDX-License-Identifier: GPL-2.0
/* Files that are handed to a device: backends and eventfds, of every kind but the right one too */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

#define MAX_WRONG	32

/* Files of all kinds; the returned ones are open */
struct wrong {
	const char *what;
	int fd;
};

static void add(struct wrong *w, unsigned int *n, const char *what, int fd)
{
	if (fd < 0 || *n == MAX_WRONG)
		return;
	w[(*n)++] = (struct wrong){ what, fd };
}

static unsigned int open_all(struct wrong *w, int node)
{
	unsigned int n = 0;
	sigset_t none;
	int pair[2];

	sigemptyset(&none);
	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		add(w, &n, "AF_UNIX stream", pair[0]);
		add(w, &n, "AF_UNIX stream, other end", pair[1]);
	}
	add(w, &n, "AF_UNIX dgram", socket(AF_UNIX, SOCK_DGRAM, 0));
	add(w, &n, "AF_INET stream", socket(AF_INET, SOCK_STREAM, 0));
	add(w, &n, "AF_INET dgram", socket(AF_INET, SOCK_DGRAM, 0));
	add(w, &n, "AF_INET raw", socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
	add(w, &n, "AF_INET6 dgram", socket(AF_INET6, SOCK_DGRAM, 0));
	add(w, &n, "AF_PACKET raw", socket(AF_PACKET, SOCK_RAW, 0));
	add(w, &n, "AF_PACKET dgram", socket(AF_PACKET, SOCK_DGRAM, 0));
	add(w, &n, "AF_NETLINK", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	add(w, &n, "directory", open("/tmp", O_RDONLY | O_DIRECTORY));
	add(w, &n, "O_PATH", open("/proc/self/exe", O_PATH));
	add(w, &n, "its own file", dup(node));
	add(w, &n, "timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	add(w, &n, "signalfd", signalfd(-1, &none, 0));
	add(w, &n, "epoll", epoll_create1(0));
	add(w, &n, "/dev/null", open("/dev/null", O_RDWR));
	add(w, &n, "/dev/kvm", open("/dev/kvm", O_RDWR));
	add(w, &n, "/proc file", open("/proc/self/maps", O_RDONLY));
	if (!pipe(pair)) {
		add(w, &n, "pipe, reading end", pair[0]);
		add(w, &n, "pipe, writing end", pair[1]);
	}
	return n;
}

static void close_all(struct wrong *w, unsigned int n)
{
	while (n)
		close(w[--n].fd);
}

FIXTURE(dev) {
	struct dut d;
	struct wrong w[MAX_WRONG];
	unsigned int n;
};

FIXTURE_VARIANT(dev) {
	enum dut_kind kind;
};

DUT_EACH(dev)

FIXTURE_SETUP(dev)
{
	struct dut_opts opts = { .stopped = true };

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
	self->n = open_all(self->w, self->d.g->fd);
	ASSERT_LT(10, self->n);
}

FIXTURE_TEARDOWN(dev)
{
	close_all(self->w, self->n);
	dut_close(&self->d);
}

/* CVE-2020-10942: the family of the socket was not checked */
TEST_F(dev, backend_of_wrong_kind)
{
	int fd = self->d.g->fd, efd = eventfd(0, 0), disk = make_disk(1 << 20);

	ASSERT_EQ(0, guest_queue_program(self->d.q[0]));
	for (unsigned int i = 0; i < self->n; i++) {
		int want = variant->kind == DUT_NET ? -ENOTSOCK : -EINVAL;
		int ret = vring_file(fd, dut_backend(variant->kind), 0, self->w[i].fd);

		/* opened with O_PATH, or for writing only: no file at all to a disk */
		if (variant->kind != DUT_NET && (!strcmp(self->w[i].what, "O_PATH") ||
						 !strcmp(self->w[i].what, "pipe, writing end")))
			want = -EBADF;
		if (variant->kind == DUT_NET && !strcmp(self->w[i].what, "O_PATH"))
			want = -EBADF;
		/* bound to no interface (sockets.c) */
		if (variant->kind == DUT_NET && !strcmp(self->w[i].what, "AF_PACKET raw"))
			want = -EINVAL;
		EXPECT_EQ(want, ret)
			TH_LOG("%s", self->w[i].what);
	}
	EXPECT_EQ(variant->kind == DUT_NET ? -ENOTSOCK : -EINVAL,
		  vring_file(fd, dut_backend(variant->kind), 0, efd));
	if (variant->kind == DUT_NET) {
		EXPECT_EQ(-ENOTSOCK, vring_file(fd, dut_backend(variant->kind), 0, disk));
	}
	close(disk);
	EXPECT_EQ(-EBADF, vring_file(fd, dut_backend(variant->kind), 0, disk));
	EXPECT_EQ(-EBADF, vring_file(fd, dut_backend(variant->kind), 0, -2));
	EXPECT_EQ(-EBADF, vring_file(fd, dut_backend(variant->kind), 0, 0x7fffffff));
	EXPECT_EQ(-EBADF, vring_file(fd, dut_backend(variant->kind), 0, 1 << 20));
	close(efd);
	/* nothing of that has left its mark */
	ASSERT_EQ(0, dut_start(&self->d));
	EXPECT_EQ(0, dut_units(&self->d, 0, 3));
}

/* What runs goes on when something else is refused */
TEST_F(dev, refused_backend_while_running)
{
	int fd = self->d.g->fd;

	ASSERT_EQ(0, dut_start(&self->d));
	EXPECT_EQ(0, dut_units(&self->d, 0, 3));
	for (unsigned int i = 0; i < self->n; i++) {
		EXPECT_GT(0, vring_file(fd, dut_backend(variant->kind), 0, self->w[i].fd));
	}
	EXPECT_EQ(0, dut_units(&self->d, 0, 3));
	EXPECT_EQ(0, dut_units(&self->d, 1, 3));
	EXPECT_TRUE(queue_is(fd, 0, "running"));
}

FIXTURE(disk) {
	struct dut d;
};

FIXTURE_VARIANT(disk) {
	enum dut_kind kind;
};

FIXTURE_VARIANT_ADD(disk, vhost) {
	.kind = DUT_BLK,
};

FIXTURE_VARIANT_ADD(disk, vdpa) {
	.kind = DUT_VDPA,
};

FIXTURE_SETUP(disk)
{
	struct dut_opts opts = { .stopped = true };

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
}

FIXTURE_TEARDOWN(disk)
{
	dut_close(&self->d);
}

TEST_F(disk, disk_that_is_none)
{
	int fd = self->d.g->fd, disk;
	char path[] = "/tmp/vhltestXXXXXX";

	ASSERT_EQ(0, guest_queue_program(self->d.q[0]));
	disk = mkstemp(path);
	EXPECT_EQ(-EINVAL, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk));
	/* a sector, the end of which is not there yet */
	ASSERT_EQ(0, ftruncate(disk, 511));
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk));
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, -1));
	close(disk);
	disk = open(path, O_WRONLY);
	ASSERT_EQ(0, ftruncate(disk, 4096));
	EXPECT_EQ(-EBADF, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk));
	close(disk);
	disk = open(path, O_RDWR | O_APPEND);
	EXPECT_EQ(-EINVAL, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk));
	close(disk);
	disk = open(path, O_RDONLY);
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, disk));
	if (variant->kind == DUT_VDPA) {
		EXPECT_EQ(-EINVAL, vring_file(fd, VHOST_BLK_SET_BACKEND, 1, disk));
	} else {
		EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, -1));
	}
	close(disk);
	unlink(path);
}

/* All queues of a disk are on one file */
TEST(two_disks)
{
	struct dut_opts opts = { .stopped = true };
	struct dut d;
	int fd, other = make_disk(1 << 20), again;
	char path[64];

	ASSERT_EQ(0, dut_open(&d, DUT_BLK, &opts));
	fd = d.g->fd;
	ASSERT_EQ(0, dut_start(&d));
	EXPECT_EQ(-EBUSY, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, other));
	EXPECT_EQ(0, dut_units(&d, 0, 3));
	/* opened once more it is the same */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", d.backend);
	again = open(path, O_RDWR);
	ASSERT_GE(again, 0);
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, again));
	EXPECT_EQ(0, dut_units(&d, 0, 3));
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 1, -1));
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, other));
	close(again);
	close(other);
	dut_close(&d);
}

TEST(disk_is_exchanged_only_at_rest)
{
	struct dut_opts opts = { .stopped = true };
	struct dut d;
	int fd, other = make_disk(1 << 20);
	uint8_t status = 0;

	ASSERT_EQ(0, dut_open(&d, DUT_VDPA, &opts));
	fd = d.g->fd;
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, other));
	ASSERT_EQ(0, dut_start(&d));
	EXPECT_EQ(-EBUSY, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, d.backend));
	EXPECT_EQ(-EBUSY, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, -1));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_SUSPEND, NULL));
	EXPECT_EQ(-EBUSY, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, d.backend));
	EXPECT_EQ(0, xioctl(fd, VHOST_VDPA_SET_STATUS, &status));
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, d.backend));
	EXPECT_EQ(0, vring_file(fd, VHOST_BLK_SET_BACKEND, 0, -1));
	close(other);
	dut_close(&d);
}

/* A tun file that no interface belongs to yet, and one that is no TAP */
TEST(tun_that_is_no_tap)
{
	struct dut_opts opts = { .stopped = true };
	struct dut d;
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "vhltun%d" };
	int tun = open("/dev/net/tun", O_RDWR), fd, ret;

	ASSERT_GE(tun, 0);
	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	fd = d.g->fd;
	for (unsigned int round = 0; round < 2; round++) {
		ASSERT_EQ(0, guest_queue_program(d.q[TX]));
		ret = vring_file(fd, VHOST_NET_SET_BACKEND, TX, tun);
		/* without an interface there is nothing to wait for; a TUN is taken for what it is */
		EXPECT_EQ(round ? 0 : -EINVAL, ret);
		if (!ret) {
			struct guest_seg seg = { d.scratch[TX].gpa, NET_HDR + 60 };
			uint32_t len;
			void *token;

			memset(d.scratch[TX].p, 0, NET_HDR + 60);
			ASSERT_EQ(0, gq_add(d.q[TX], &seg, 1, 0, &seg));
			gq_publish(d.q[TX]);
			ASSERT_EQ(0, gq_kick(d.q[TX]));
			EXPECT_EQ(0, gq_wait(d.q[TX], 5000));
			EXPECT_EQ(0, gq_get(d.q[TX], &token, &len));
		}
		EXPECT_EQ(0, guest_stop(d.g));
		if (!round) {
			ASSERT_EQ(0, ioctl(tun, TUNSETIFF, &ifr));
		}
	}
	close(tun);
	dut_close(&d);
}

/* -1 never fails, and neither does GET_VRING_BASE */
TEST_F(dev, stop_at_any_moment)
{
	int fd = self->d.g->fd;

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 2; i++) {
			struct vhost_vring_state s = { .index = i };

			EXPECT_EQ(0, xioctl(fd, VHOST_GET_VRING_BASE, &s));
			EXPECT_EQ(0, guest_queue_switch(self->d.q[i], -1));
			EXPECT_EQ(0, xioctl(fd, VHOST_GET_VRING_BASE, &s));
			EXPECT_EQ(0, guest_queue_switch(self->d.q[i], -1));
		}
		if (!round) {
			ASSERT_EQ(0, dut_start(&self->d));
			EXPECT_EQ(0, dut_units(&self->d, 0, 1));
		}
		if (round == 1) {
			ASSERT_EQ(0, dut_restart(&self->d));
		}
	}
}

static const unsigned long fd_requests[] = {
	VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
};

TEST_F(dev, eventfds_of_wrong_kind)
{
	int fd = self->d.g->fd, efd = eventfd(0, 0);

	for (unsigned int running = 0; running < 2; running++) {
		for (unsigned int r = 0; r < 3; r++) {
			for (unsigned int i = 0; i < self->n; i++) {
				int ret = vring_file(fd, fd_requests[r], 0, self->w[i].fd);

				EXPECT_EQ(!strcmp(self->w[i].what, "O_PATH") ? -EBADF : -EINVAL, ret)
					TH_LOG("%s", self->w[i].what);
			}
			EXPECT_EQ(-EBADF, vring_file(fd, fd_requests[r], 0, 1 << 20));
			EXPECT_EQ(-EBADF, vring_file(fd, fd_requests[r], 0, -2));
			EXPECT_EQ(-EINVAL, vring_file(fd, fd_requests[r], 0, self->d.backend));
		}
		if (!running) {
			ASSERT_EQ(0, dut_start(&self->d));
		}
	}
	EXPECT_EQ(0, dut_units(&self->d, 0, 3));
	for (unsigned int r = 0; r < 3; r++) {
		EXPECT_EQ(0, vring_file(fd, fd_requests[r], 0, efd));
		EXPECT_EQ(0, vring_file(fd, fd_requests[r], 0, -1));
		EXPECT_EQ(0, vring_file(fd, fd_requests[r], 0, -1));
	}
	/* without any of them a queue still stops */
	EXPECT_EQ(0, guest_stop(self->d.g));
	close(efd);
}

/* A chain on queue 1 that does no harm: a frame, or a flush */
static int push_one(struct dut *d)
{
	struct virtio_blk_outhdr flush = { .type = htole32(VIRTIO_BLK_T_FLUSH) };
	struct scratch *l = &d->scratch[1];
	struct guest_seg seg[] = {
		{ l->gpa, d->kind == DUT_NET ? NET_HDR + 60 : sizeof(flush) },
		{ l->gpa + SCRATCH_STATUS, 1 },
	};
	int ret;

	memset(l->p, 0, NET_HDR + 60);
	if (d->kind != DUT_NET)
		memcpy(l->p, &flush, sizeof(flush));
	ret = gq_add(d->q[1], seg, 1, d->kind == DUT_NET ? 0 : 1, d);
	gq_publish(d->q[1]);
	return ret;
}

static bool pop_one(struct dut *d, unsigned int ms)
{
	int64_t end = now_ms() + ms;
	uint32_t len;
	void *token;

	while (gq_get(d->q[1], &token, &len)) {
		if (now_ms() > end)
			return false;
		sleep_ms(1);
	}
	return true;
}

/* Every completion kicks again what it is the completion of */
TEST_F(dev, one_eventfd_for_all)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[1];
	int efd = eventfd(0, EFD_NONBLOCK);
	int64_t wakes;
	long ticks;

	close(q->kick_fd);
	close(q->call_fd);
	close(q->err_fd);
	q->kick_fd = q->call_fd = q->err_fd = efd;
	ASSERT_EQ(0, dut_start(d));
	gq_calls(q, true);
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, push_one(d));
		ASSERT_EQ(0, gq_kick(q));
		ASSERT_TRUE(pop_one(d, 5000));
		gq_calls(q, true);
	}
	sleep_ms(50);
	wakes = dut_counter(d, 1, "wakes");
	ticks = worker_ticks(getpid());
	sleep_ms(400);
	/* and then there is peace */
	EXPECT_EQ(wakes, dut_counter(d, 1, "wakes"));
	EXPECT_GE(2, worker_ticks(getpid()) - ticks);
	/* a break signals it once more */
	gq_push(q, d->opts.num);
	gq_publish(q);
	ASSERT_EQ(0, gq_kick(q));
	EXPECT_TRUE(wait_queue_is(d->g->fd, 1, "broken", 3000));
	EXPECT_EQ(1, dut_counter(d, 1, "breaks"));
	EXPECT_EQ(0, guest_stop(d->g));
}

/* The same files serve two queues, and two devices */
TEST_F(dev, eventfds_of_others)
{
	struct dut *d = &self->d, other;

	ASSERT_EQ(0, dut_open(&other, variant->kind, NULL));
	ASSERT_EQ(0, dut_start(d));
	ASSERT_EQ(0, vring_file(other.g->fd, VHOST_SET_VRING_KICK, 1, d->q[1]->kick_fd));
	ASSERT_EQ(0, vring_file(other.g->fd, VHOST_SET_VRING_CALL, 1, d->q[1]->call_fd));
	EXPECT_EQ(0, dut_units(d, 1, 20));
	EXPECT_EQ(0, dut_units(&other, 0, 3));
	dut_close(&other);
	EXPECT_EQ(0, dut_units(d, 1, 20));
}

TEST_HARNESS_MAIN
