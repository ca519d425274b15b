// SPDX-License-Identifier: GPL-2.0
/*
 * A refusal changes nothing: whatever a running device refuses, its queues go on as they were.  Where
 * a queue cannot go on, it says so; and a wait for the device is no wait for ever.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* Both queues run, and what they carry arrives */
static int goes_on(struct dut *d)
{
	for (unsigned int i = 0; i < 2; i++) {
		int ret;

		if (!queue_is(d->g->fd, i, "running"))
			return -ESHUTDOWN;
		ret = dut_units(d, i, 2);
		if (ret)
			return ret;
	}
	return 0;
}

static int map(struct dut *d, const struct guest_region *r, const void *p)
{
	return dut_message(d, VHOST_IOTLB_UPDATE, r->gpa, r->size, p);
}

static int unmap(struct dut *d, const struct guest_region *r)
{
	return dut_message(d, VHOST_IOTLB_INVALIDATE, r->gpa, r->size, NULL);
}

static int batch(struct dut *d, bool begin)
{
	return dut_message(d, begin ? VHOST_IOTLB_BATCH_BEGIN : VHOST_IOTLB_BATCH_END, 0, 0, NULL);
}

/* Did a queue say that it failed?  Forgotten afterwards */
static bool complained(struct dut *d, unsigned int qi)
{
	uint64_t n;

	return read(d->q[qi]->err_fd, &n, sizeof(n)) == sizeof(n);
}

FIXTURE(refuse) {
	struct dut d;
	int kmsg;
};

FIXTURE_VARIANT(refuse) {
	enum dut_kind kind;
};

DUT_EACH(refuse)

FIXTURE_SETUP(refuse)
{
	ASSERT_EQ(0, dut_open(&self->d, variant->kind, NULL));
	ASSERT_EQ(0, goes_on(&self->d));
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->kmsg);
	lseek(self->kmsg, 0, SEEK_END);
}

FIXTURE_TEARDOWN(refuse)
{
	dut_close(&self->d);
	close(self->kmsg);
}

/* Is there a new line of the kernel's log that has both? */
static bool logged(int kmsg, const char *a, const char *b)
{
	char line[2048];
	bool found = false;
	ssize_t n;

	while ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[n < 0 ? 0 : n] = 0;
		found |= strstr(line, a) && strstr(line, b);
	}
	return found;
}

/* Requests with what is wrong about them */
TEST_F(refuse, settings)
{
	struct dut *d = &self->d;
	int fd = d->g->fd, devnull = open("/dev/null", O_RDWR);
	bool vdpa = variant->kind == DUT_VDPA;
	struct vhost_vring_addr flags = d->q[1]->addr, odd = d->q[1]->addr, kernel = odd;
	uint64_t other = d->g->features & ~BIT(VIRTIO_RING_F_EVENT_IDX), unknown = ~0ULL;
	struct {
		const char *what;
		int err, ret;
	} t[] = {
		{ "num", -EBUSY, vring_num(fd, VHOST_SET_VRING_NUM, 1, 32) },
		{ "base", -EBUSY, vring_num(fd, VHOST_SET_VRING_BASE, 1, 0) },
		{ "kick", -EBADF, vring_file(fd, VHOST_SET_VRING_KICK, 1, 1 << 20) },
		{ "call", -EBADF, vring_file(fd, VHOST_SET_VRING_CALL, 1, 1 << 20) },
		{ "err", -EBADF, vring_file(fd, VHOST_SET_VRING_ERR, 1, 1 << 20) },
		{ "kick", -EINVAL, vring_file(fd, VHOST_SET_VRING_KICK, 1, devnull) },
		{ "call", -EINVAL, vring_file(fd, VHOST_SET_VRING_CALL, 1, devnull) },
		{ "err", -EINVAL, vring_file(fd, VHOST_SET_VRING_ERR, 1, devnull) },
		{ "features", -EBUSY, xioctl(fd, VHOST_SET_FEATURES, &other) },
		{ "features", vdpa ? -EBUSY : -EOPNOTSUPP, xioctl(fd, VHOST_SET_FEATURES, &unknown) },
	};

	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		EXPECT_EQ(t[i].err, t[i].ret)
			TH_LOG("%s", t[i].what);
	}
	EXPECT_EQ(0, goes_on(d));

	flags.flags = 2;
	EXPECT_EQ(-EOPNOTSUPP, xioctl(fd, VHOST_SET_VRING_ADDR, &flags));
	/* where memory is logged at all, not without a bitmap */
	flags.flags = 1 << VHOST_VRING_F_LOG;
	EXPECT_EQ(d->kind == DUT_VDPA ? -EOPNOTSUPP : -EINVAL,
		  xioctl(fd, VHOST_SET_VRING_ADDR, &flags));
	odd.used_user_addr += 2;
	EXPECT_EQ(-EINVAL, xioctl(fd, VHOST_SET_VRING_ADDR, &odd));
	kernel.used_user_addr = KERNEL_ADDR;
	EXPECT_EQ(-EINVAL, xioctl(fd, VHOST_SET_VRING_ADDR, &kernel));
	EXPECT_EQ(0, goes_on(d));
	/* nor is there anything of them at the next start */
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, goes_on(d));
	close(devnull);
}

TEST_F(refuse, memory)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region r[2];
	} m = { .head.nregions = 2 };
	struct dut *d = &self->d;
	struct guest_region *r = &d->g->region[0];

	for (unsigned int i = 0; i < 2; i++)
		m.r[i] = (struct vhost_memory_region){
			.guest_phys_addr = r->gpa + i * 4096, .memory_size = r->size - i * 4096,
			.userspace_addr = (uintptr_t)r->hva,
		};
	if (variant->kind == DUT_VDPA) {
		EXPECT_EQ(-EEXIST, map(d, r, r->hva));
		EXPECT_EQ(-EINVAL, dut_message(d, VHOST_IOTLB_UPDATE, 1ULL << 40, 4096, (void *)KERNEL_ADDR));
		EXPECT_EQ(-EINVAL, dut_message(d, VHOST_IOTLB_INVALIDATE, r->gpa, 0, NULL));
		EXPECT_EQ(-EINVAL, dut_message(d, VHOST_IOTLB_INVALIDATE, r->gpa, ~0ULL, NULL));
	} else {
		EXPECT_EQ(-EEXIST, xioctl(d->g->fd, VHOST_SET_MEM_TABLE, &m));
		m.r[1].guest_phys_addr = 1ULL << 40;
		m.r[1].userspace_addr = KERNEL_ADDR;
		EXPECT_EQ(-EINVAL, xioctl(d->g->fd, VHOST_SET_MEM_TABLE, &m));
		m.head.nregions = 1 << 20;
		EXPECT_EQ(-E2BIG, xioctl(d->g->fd, VHOST_SET_MEM_TABLE, &m));
	}
	EXPECT_EQ(0, goes_on(d));
}

/* The answer has no place */
TEST_F(refuse, base_into_read_only_memory)
{
	struct dut *d = &self->d;
	struct vhost_vring_state *s = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, s);
	EXPECT_EQ(-EFAULT, xioctl(d->g->fd, VHOST_GET_VRING_BASE, s));
	EXPECT_EQ(0, goes_on(d));
	munmap(s, 4096);
}

/* Files that are no backend, for queues whose next ring is somewhere else already */
TEST_F(refuse, backend)
{
	char path[] = "/tmp/vhltestXXXXXX";
	int files[5] = {
		eventfd(0, 0), open("/dev/null", O_RDWR), mkstemp(path), open(path, O_WRONLY),
		open("/dev/net/tun", O_RDWR),
	};
	struct dut *d = &self->d;
	uint64_t gpa;

	ASSERT_EQ(0, guest_alloc(d->g, 3 * 4096, 4096, &gpa));
	for (unsigned int i = 0; variant->kind != DUT_VDPA && i < 2; i++) {
		struct vhost_vring_addr a = d->q[i]->addr;

		a.desc_user_addr = (uintptr_t)guest_ptr(d->g, gpa, 4096);
		a.avail_user_addr = (uintptr_t)guest_ptr(d->g, gpa + 4096, 4096);
		a.used_user_addr = (uintptr_t)guest_ptr(d->g, gpa + 8192, 4096);
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_VRING_ADDR, &a));
	}
	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_LE(0, files[i]);
		for (unsigned int qi = 0; qi < 2; qi++) {
			EXPECT_GT(0, vring_file(d->g->fd, dut_backend(variant->kind), qi, files[i]))
				TH_LOG("file %u", i);
		}
		EXPECT_EQ(0, goes_on(d))
			TH_LOG("after file %u", i);
	}
	/* and one that is */
	for (unsigned int qi = 0; variant->kind != DUT_VDPA && qi < 2; qi++) {
		EXPECT_EQ(0, vring_file(d->g->fd, dut_backend(variant->kind), qi, d->backend));
	}
	EXPECT_EQ(0, goes_on(d));
	for (unsigned int i = 0; i < 5; i++)
		close(files[i]);
	unlink(path);
}

static void exchange_ends(struct dut *a, struct dut *b)
{
	struct dut old = *a;

	a->backend = b->backend;
	a->raw = b->raw;
	a->ifindex = b->ifindex;
	b->backend = old.backend;
	b->raw = old.raw;
	b->ifindex = old.ifindex;
}

/* A running queue goes over to another TAP, and back, under traffic; nothing of the ring changes */
TEST(another_tap)
{
	struct dut_opts opts = { .stopped = true };
	struct dut d, other;

	ASSERT_EQ(0, dut_open(&d, DUT_NET, NULL));
	ASSERT_EQ(0, dut_open(&other, DUT_NET, &opts));
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, goes_on(&d));
		/* one that was taken from the TAP's ring, perhaps, and has no room yet */
		ASSERT_EQ(0, dut_poke(&d, RX));
		for (unsigned int qi = 0; qi < 2; qi++) {
			ASSERT_EQ(0, vring_file(d.g->fd, VHOST_NET_SET_BACKEND, qi, other.backend));
		}
		dut_forget(&d);
		exchange_ends(&d, &other);
	}
	ASSERT_EQ(0, goes_on(&d));
	EXPECT_EQ(0, dut_counter(&d, RX, "breaks") + dut_counter(&d, TX, "breaks"));
	/* the one that was left is nobody's any more */
	dut_close(&other);
	EXPECT_EQ(0, goes_on(&d));
	dut_close(&d);
}

/* The last running queue of a disk goes over to another disk, which the others then have to take */
TEST(another_disk)
{
	int other = make_disk(4 << 20), again;
	unsigned char block[4096];
	char path[64];
	struct dut d;

	memset(block, 0x5a, sizeof(block));
	ASSERT_EQ(sizeof(block), pwrite(other, block, sizeof(block), 1 << 20));
	ASSERT_EQ(0, dut_open(&d, DUT_BLK, NULL));
	EXPECT_EQ(-EBUSY, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 0, other));
	EXPECT_EQ(0, goes_on(&d));
	ASSERT_EQ(0, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 1, -1));
	EXPECT_EQ(0, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 0, other));
	EXPECT_EQ(0, blk_request(&d, 0, VIRTIO_BLK_T_IN, 2048, d.scratch[0].gpa + SCRATCH_DATA, 4096));
	EXPECT_EQ(0, memcmp(block, d.scratch[0].p + SCRATCH_DATA, 4096));
	EXPECT_EQ(-EBUSY, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 1, d.backend));
	EXPECT_EQ(0, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 1, other));
	EXPECT_EQ(0, goes_on(&d));

	/* the same one again is used as it was first opened */
	ASSERT_EQ(0, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 1, -1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
	again = open(path, O_RDONLY);
	ASSERT_LE(0, again);
	EXPECT_EQ(0, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 0, again));
	EXPECT_EQ(0, dut_units(&d, 0, 2));
	EXPECT_EQ(0, vring_file(d.g->fd, VHOST_BLK_SET_BACKEND, 1, again));
	EXPECT_EQ(0, goes_on(&d));
	close(again);
	close(other);
	dut_close(&d);
}

/* What the owner attached goes with it; what was attached before there was one stays */
TEST_F(refuse, reset_owner_lets_go)
{
	struct dut *d = &self->d;
	struct dev_info info;
	char name[IFNAMSIZ];

	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_RESET_OWNER, NULL));
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	if (variant->kind == DUT_VDPA) {
		EXPECT_STRNE("-", info.backing);
		EXPECT_EQ(0, info.status);
		EXPECT_EQ(0, info.regions);
		EXPECT_EQ(-EPERM, dut_message(d, VHOST_IOTLB_UPDATE, 0, 4096, &info));
		return;
	}
	EXPECT_STREQ("-", info.backing);
	if (variant->kind == DUT_NET) {
		strcpy(name, d->ifname);
		close(d->backend);
		d->owns_backend = false;
		EXPECT_EQ(0, if_nametoindex(name));
		return;
	}
	ASSERT_EQ(0, vring_file(d->g->fd, VHOST_BLK_SET_BACKEND, 0, d->backend));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_RESET_OWNER, NULL));
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_STRNE("-", info.backing);
	EXPECT_EQ(0, vring_file(d->g->fd, VHOST_BLK_SET_BACKEND, 0, -1));
}

/* Without the right to lock as much as one likes; back to normal in the end */
static int lock_at_most(unsigned long bytes)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	struct rlimit limit = { bytes, RLIM_INFINITY };

	if (syscall(SYS_capget, &head, data))
		return -errno;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	if (bytes == ~0UL)
		data[0].effective |= data[0].permitted & (1U << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &head, data) || setrlimit(RLIMIT_MEMLOCK, &limit))
		return -errno;
	return 0;
}

TEST_F(refuse, locked_memory)
{
	struct dut *d = &self->d;
	uint8_t status = 0;
	char need[64];
	int ret;

	/* what runs has its memory already */
	ASSERT_EQ(0, lock_at_most(0));
	for (unsigned int qi = 0; variant->kind != DUT_VDPA && qi < 2; qi++) {
		EXPECT_EQ(0, vring_file(d->g->fd, dut_backend(variant->kind), qi, d->backend));
	}
	EXPECT_EQ(0, goes_on(d));

	ASSERT_EQ(0, dut_stop(d));
	ASSERT_EQ(0, lock_at_most(8192));
	EXPECT_FALSE(logged(self->kmsg, "RLIMIT_MEMLOCK", ""));
	ret = dut_start(d);
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_EQ(0, locked_kb());
	/* a page for each area of the two rings */
	snprintf(need, sizeof(need), "needs %u KiB", 3 * 4);
	EXPECT_TRUE(logged(self->kmsg, "RLIMIT_MEMLOCK", need));
	if (variant->kind == DUT_VDPA) {
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_GET_STATUS, &status));
		EXPECT_EQ(0, status & VIRTIO_CONFIG_S_DRIVER_OK);
	}
	ASSERT_EQ(0, lock_at_most(24 << 10));
	EXPECT_EQ(0, dut_start(d));
	EXPECT_EQ(0, goes_on(d));
	ASSERT_EQ(0, lock_at_most(~0UL));
}

/* The ring is mapped again, but not to memory that it can be in: no map, and the queue says so */
TEST_F(refuse, ring_cannot_come_back)
{
	struct dut *d = &self->d;
	struct guest_region *r = dut_region(d, gq_area(d->q[1], 2)), elsewhere;
	struct dev_info before, after;
	void *nothing;
	bool locked;

	if (variant->kind != DUT_VDPA)
		SKIP(return, "the rings of the vhost dialect are not in the map");
	nothing = mmap(NULL, r->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, nothing);
	elsewhere = (struct guest_region){ .gpa = 1ULL << 40, .size = 4096 };

	for (unsigned int i = 0; i < 2; i++) {
		locked = i;
		ASSERT_EQ(0, unmap(d, r));
		ASSERT_EQ(0, get_info(d->g->fd, &before));
		EXPECT_FALSE(complained(d, 1));
		if (locked) {
			ASSERT_EQ(0, lock_at_most(0));
			EXPECT_EQ(-ENOMEM, map(d, r, r->hva));
			EXPECT_TRUE(logged(self->kmsg, "queue 1", "RLIMIT_MEMLOCK"));
		} else {
			EXPECT_EQ(-EFAULT, map(d, r, nothing));
			EXPECT_TRUE(logged(self->kmsg, "queue 1", "does not start"));
		}
		EXPECT_TRUE(complained(d, 1));
		EXPECT_TRUE(queue_is(d->g->fd, 1, "unmapped"));
		ASSERT_EQ(0, get_info(d->g->fd, &after));
		EXPECT_EQ(before.regions, after.regions);
		/* tried again with what is not its own: that is no error of the message */
		EXPECT_EQ(0, map(d, &elsewhere, r->hva));
		EXPECT_EQ(0, unmap(d, &elsewhere));
		ASSERT_EQ(0, lock_at_most(~0UL));
		EXPECT_EQ(0, map(d, r, r->hva));
		complained(d, 0);
		complained(d, 1);
		EXPECT_EQ(0, goes_on(d));
	}

	/* the end of a batch ends it; the map is what was asked for */
	ASSERT_EQ(0, batch(d, true));
	ASSERT_EQ(0, unmap(d, r));
	ASSERT_EQ(0, map(d, r, nothing));
	EXPECT_EQ(-EFAULT, batch(d, false));
	EXPECT_TRUE(complained(d, 1));
	EXPECT_TRUE(queue_is(d->g->fd, 1, "unmapped"));
	EXPECT_EQ(0, map(d, &elsewhere, r->hva));
	EXPECT_EQ(-EFAULT, batch(d, false));
	ASSERT_EQ(0, unmap(d, r));
	EXPECT_EQ(0, map(d, r, r->hva));
	complained(d, 0);
	complained(d, 1);
	EXPECT_EQ(0, goes_on(d));
	munmap(nothing, r->size);
}

/* DRIVER_OK, RESUME: all queues or none.  None serves before all are ready */
TEST_F(refuse, all_or_none)
{
	struct virtio_blk_outhdr flush = { .type = htole32(VIRTIO_BLK_T_FLUSH) };
	struct dut *d = &self->d;
	struct guest_seg seg[] = {
		{ d->scratch[0].gpa, sizeof(flush) }, { d->scratch[0].gpa + SCRATCH_STATUS, 1 },
	};
	struct vhost_vring_addr good = d->q[1]->addr, bad = good;
	struct vhost_vring_state s = { 0 };
	unsigned int served = 0;
	uint32_t len;
	void *token;

	if (variant->kind != DUT_VDPA)
		SKIP(return, "queues of the vhost dialect start one by one");
	memcpy(d->scratch[0].p, &flush, sizeof(flush));
	/* in no region; and large, so that it takes a while to find out */
	bad.used_user_addr = 1ULL << 40;
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_SUSPEND, NULL));
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_VRING_ADDR, &bad));
		ASSERT_EQ(0, gq_add(d->q[0], seg, 1, 1, d));
		gq_publish(d->q[0]);
		ASSERT_EQ(0, gq_kick(d->q[0]));
		EXPECT_EQ(-EFAULT, xioctl(d->g->fd, VHOST_VDPA_RESUME, NULL));
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_GET_VRING_BASE, &s));
		served += !gq_get(d->q[0], &token, &len);
		EXPECT_EQ(gq_base(d->q[0]), s.num);
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_VRING_ADDR, &good));
		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_VDPA_RESUME, NULL));
		while (gq_in_flight(d->q[0])) {
			ASSERT_EQ(0, gq_wait(d->q[0], 5000));
			ASSERT_EQ(0, gq_get(d->q[0], &token, &len));
		}
		ASSERT_EQ(0, goes_on(d));
	}
	EXPECT_EQ(0, served);
}

/* Waits for the device behind a thread that waits for its disk */

static atomic_int returned;

static void *stop_queue(void *arg)
{
	struct dut *d = arg;

	guest_queue_switch(d->q[0], -1);
	atomic_store(&returned, 1);
	return NULL;
}

/* A process that does so can be killed before that is over */
static bool dies(struct dut *d, bool by_message)
{
	int64_t end;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (by_message)
			batch(d, false);
		else
			guest_queue_switch(d->q[0], -1);
		_exit(0);
	}
	sleep_ms(300);
	kill(pid, SIGKILL);
	for (end = now_ms() + 5000; now_ms() < end; sleep_ms(10))
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
	return false;
}

TEST_F_TIMEOUT(refuse, killed_while_waiting, 60)
{
	struct virtio_blk_outhdr in = { .type = htole32(VIRTIO_BLK_T_IN) };
	struct dut_opts opts = { 0 };
	pthread_t waiter;
	struct dut d;

	if (variant->kind == DUT_NET)
		SKIP(return, "no request of a network device waits for long");
	if (system("{ modprobe -q dm-zero; dmsetup create vhltest --table '0 8192 zero' && "
		   "dmsetup mknodes vhltest; } 2>/dev/null"))
		SKIP(return, "no device mapper here");
	opts.disk = open("/dev/mapper/vhltest", O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, opts.disk);
	ASSERT_EQ(0, dut_open(&d, variant->kind, &opts));
	struct guest_seg seg[] = {
		{ d.scratch[0].gpa, sizeof(in) }, { d.scratch[0].gpa + SCRATCH_DATA, 4096 },
		{ d.scratch[0].gpa + SCRATCH_STATUS, 1 },
	};

	memcpy(d.scratch[0].p, &in, sizeof(in));
	ASSERT_EQ(0, system("dmsetup suspend --noflush --nolockfs vhltest"));
	ASSERT_EQ(0, gq_add(d.q[0], seg, 1, 2, &d));
	gq_publish(d.q[0]);
	ASSERT_EQ(0, gq_kick(d.q[0]));
	sleep_ms(300);
	atomic_store(&returned, 0);
	ASSERT_EQ(0, pthread_create(&waiter, NULL, stop_queue, &d));
	sleep_ms(300);
	EXPECT_TRUE(dies(&d, false));
	if (variant->kind == DUT_VDPA) {
		EXPECT_TRUE(dies(&d, true));
	}
	EXPECT_EQ(0, atomic_load(&returned));
	EXPECT_EQ(0, system("dmsetup resume vhltest"));
	pthread_join(waiter, NULL);
	EXPECT_EQ(1, gq_used_idx(d.q[0]));
	dut_close(&d);
	close(opts.disk);
	EXPECT_EQ(0, system("dmsetup remove vhltest"));
}

TEST_HARNESS_MAIN
