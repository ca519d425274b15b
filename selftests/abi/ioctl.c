// SPDX-License-Identifier: GPL-2.0
/* Requests of the vhost dialect as such: owners, pointers, unknown ones, features */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* What the argument points to */
enum arg {
	NONE,
	STATE,			/* struct vhost_vring_state */
	VFILE,			/* struct vhost_vring_file */
	ADDR,			/* struct vhost_vring_addr */
	MEMORY,			/* struct vhost_memory */
	U64,
};

struct request {
	const char *name;
	unsigned long nr;
	enum arg arg;
	bool unowned;		/* legal without an owner and from anybody */
	bool writes;		/* to its argument */
	size_t size;
};

#define REQ(nr, ...) { #nr, nr, __VA_ARGS__ }

static const struct request requests[] = {
	REQ(VHOST_GET_FEATURES, U64, true, true, 8),
	REQ(VHOST_SET_FEATURES, U64, true, false, 8),
	/* of no words */
	REQ(VHOST_GET_FEATURES_ARRAY, U64, true, false, 8),
	REQ(VHOST_SET_FEATURES_ARRAY, U64, true, false, 8),
	REQ(VHOST_GET_BACKEND_FEATURES, U64, true, true, 8),
	REQ(VHOST_SET_BACKEND_FEATURES, U64, true, false, 8),
	REQ(VHOST_GET_FORK_FROM_OWNER, U64, true, true, 1),
	REQ(VHL_SET_BASES, U64, false, false, 8),
	REQ(VHOST_NEW_WORKER, STATE, false, true, 4),
	REQ(VHOST_ATTACH_VRING_WORKER, STATE, false, false, 8),
	REQ(VHOST_GET_VRING_WORKER, STATE, false, true, 8),
	REQ(VHOST_RESET_OWNER, NONE),
	REQ(VHOST_SET_MEM_TABLE, MEMORY, false, false, sizeof(struct vhost_memory)),
	REQ(VHOST_SET_VRING_NUM, STATE, false, false, 8),
	REQ(VHOST_SET_VRING_ADDR, ADDR, false, false, sizeof(struct vhost_vring_addr)),
	REQ(VHOST_SET_VRING_BASE, STATE, false, false, 8),
	REQ(VHOST_GET_VRING_BASE, STATE, false, true, 8),
	REQ(VHOST_SET_VRING_KICK, VFILE, false, false, 8),
	REQ(VHOST_SET_VRING_CALL, VFILE, false, false, 8),
	REQ(VHOST_SET_VRING_ERR, VFILE, false, false, 8),
	REQ(VHOST_SET_VRING_ENDIAN, STATE, false, false, 8),
	REQ(VHOST_GET_VRING_ENDIAN, STATE, false, true, 8),
	REQ(VHOST_SET_VRING_BUSYLOOP_TIMEOUT, STATE, false, false, 8),
	REQ(VHOST_GET_VRING_BUSYLOOP_TIMEOUT, STATE, false, true, 8),
};

#define for_each_request(r) \
	for (r = requests; r < requests + sizeof(requests) / sizeof(requests[0]); r++)

/* A harmless argument: zeroes, and -1 for files */
static const void *harmless(const struct request *r)
{
	static struct vhost_vring_file none = { .fd = -1 };
	static unsigned char zero[64];

	memset(zero, 0, sizeof(zero));
	if (r->arg == STATE && r->nr == VHOST_SET_VRING_NUM)
		zero[4] = 2;
	return r->arg == VFILE ? (const void *)&none : zero;
}

FIXTURE(node) {
	int fd;
};

FIXTURE_VARIANT(node) {
	const char *path;
	unsigned long backend;
	bool unowned_backend;
	unsigned int queues;
};

FIXTURE_VARIANT_ADD(node, net) {
	.path = NODE_NET,
	.backend = VHOST_NET_SET_BACKEND,
	.queues = NET_QUEUES,
};

FIXTURE_VARIANT_ADD(node, blk) {
	.path = NODE_BLK,
	.backend = VHOST_BLK_SET_BACKEND,
	.unowned_backend = true,
	.queues = BLK_QUEUES,
};

FIXTURE_SETUP(node)
{
	self->fd = xopen(variant->path);
	ASSERT_GE(self->fd, 0)
		TH_LOG("%s: %s", variant->path, strerror(-self->fd));
}

FIXTURE_TEARDOWN(node)
{
	close(self->fd);
}

TEST_F(node, open_close_without_request)
{
	for (unsigned int i = 0; i < 100; i++) {
		int fd = xopen(variant->path);

		ASSERT_GE(fd, 0);
		ASSERT_EQ(0, close(fd));
	}
}

TEST_F(node, node_is_root_only)
{
	struct stat st;

	ASSERT_EQ(0, fstat(self->fd, &st));
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_uid);
	EXPECT_EQ(0, st.st_gid);
	/* DPDK tells by the misc major what it has before it */
	EXPECT_EQ(10, major(st.st_rdev));
}

TEST_F(node, each_request_before_set_owner)
{
	const struct request *r;

	for_each_request(r) {
		EXPECT_EQ(r->unowned ? 0 : -EPERM, xioctl(self->fd, r->nr, harmless(r)))
			TH_LOG("%s", r->name);
	}
	EXPECT_EQ(variant->unowned_backend ? 0 : -EPERM,
		  vring_file(self->fd, variant->backend, 0, -1));
}

static int requests_of_other_mm(void *arg)
{
	int fd = *(int *)arg, bad = 0;
	const struct request *r;

	for_each_request(r) {
		int want = r->unowned ? 0 : -EPERM;
		int ret = xioctl(fd, r->nr, harmless(r));

		if (ret == want)
			continue;
		printf("# %s: %d, not %d\n", r->name, ret, want);
		bad++;
	}
	if (vring_file(fd, VHOST_NET_SET_BACKEND, 0, -1) != -EPERM)
		bad += 100;
	if (vring_file(fd, VHOST_BLK_SET_BACKEND, 0, -1) != -EPERM)
		bad += 100;
	if (xioctl(fd, VHOST_SET_OWNER, NULL) != -EBUSY)
		bad += 50;
	return bad;
}

TEST_F(node, each_request_from_another_mm)
{
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, in_child(requests_of_other_mm, &self->fd));
	/* and nothing of that had an effect */
	EXPECT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_NUM, 0, 2));
}

TEST_F(node, set_owner_twice)
{
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(-EBUSY, xioctl(self->fd, VHOST_SET_OWNER, NULL));
}

TEST_F(node, reset_owner_forgets)
{
	struct vhost_vring_state s = { 0 };
	struct dev_info info;

	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(getpid(), info.owner);
	ASSERT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_BASE, 0, 77));
	ASSERT_EQ(0, vring_num(self->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 0, 5));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_RESET_OWNER, NULL));

	EXPECT_EQ(-EPERM, xioctl(self->fd, VHOST_GET_VRING_BASE, &s));
	EXPECT_EQ(-EPERM, xioctl(self->fd, VHOST_RESET_OWNER, NULL));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(0, info.owner);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BASE, &s));
	EXPECT_EQ(0, s.num);
	s.num = 1;
	EXPECT_EQ(0, xioctl(self->fd, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &s));
	EXPECT_EQ(0, s.num);
}

static int own_in_child(void *arg)
{
	int fd = *(int *)arg;
	struct vhost_vring_state s = { 0 };

	return xioctl(fd, VHOST_SET_OWNER, NULL) || xioctl(fd, VHOST_GET_VRING_BASE, &s) ||
	       xioctl(fd, VHOST_RESET_OWNER, NULL);
}

TEST_F(node, owner_changes_by_reset)
{
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_RESET_OWNER, NULL));
	EXPECT_EQ(0, in_child(own_in_child, &self->fd));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
}

TEST_F(node, bad_pointers)
{
	unsigned char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct request *r;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + 4096, 4096));
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for_each_request(r) {
		if (!r->size)
			continue;
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, NULL))
			TH_LOG("%s of NULL", r->name);
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, pages + 4096))
			TH_LOG("%s of unmapped memory", r->name);
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, (void *)KERNEL_ADDR))
			TH_LOG("%s of the kernel's memory", r->name);
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, (void *)0x00007ffffffff000))
			TH_LOG("%s of the last page", r->name);
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, (void *)~0UL))
			TH_LOG("%s of the last byte", r->name);
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, pages + 4096 - r->size / 2))
			TH_LOG("%s, half of it unmapped", r->name);
	}
	EXPECT_EQ(-EFAULT, xioctl(self->fd, variant->backend, NULL));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, variant->backend, (void *)KERNEL_ADDR));
	munmap(pages, 3 * 4096);
}

TEST_F(node, unaligned_pointers)
{
	unsigned char buf[128] __attribute__((aligned(16)));
	const struct request *r;

	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for_each_request(r) {
		if (!r->size)
			continue;
		memcpy(buf + 1, harmless(r), 64);
		EXPECT_EQ(0, xioctl(self->fd, r->nr, buf + 1))
			TH_LOG("%s", r->name);
	}
	memset(buf, 0xff, sizeof(buf));
	memset(buf + 1, 0, 4);
	EXPECT_EQ(0, xioctl(self->fd, variant->backend, buf + 1));
}

TEST_F(node, answers_into_read_only_memory)
{
	unsigned char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct request *r;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for_each_request(r) {
		if (!r->writes)
			continue;
		EXPECT_EQ(-EFAULT, xioctl(self->fd, r->nr, page))
			TH_LOG("%s", r->name);
	}
	munmap(page, 4096);
}

TEST_F(node, unknown_requests)
{
	static const unsigned long unknown[] = {
		_IO(VHOST_VIRTIO, 0xff), _IOW(VHOST_VIRTIO, 0x41, int), _IO('x', 1), 0, ~0U,
		VHOST_SCSI_SET_ENDPOINT, VHOST_VSOCK_SET_RUNNING,
		VHOST_VDPA_GET_DEVICE_ID, VHOST_VDPA_SET_STATUS, VHOST_VDPA_GET_CONFIG,
		VHOST_VDPA_SUSPEND, VHOST_VDPA_RESUME, TIOCGWINSZ,
		/* right number, wrong size or direction */
		_IOW(VHOST_VIRTIO, 0x10, uint64_t[2]), _IOR(VHOST_VIRTIO, 0x11, int),
		_IOR(VHOST_VIRTIO, 0x83, uint64_t[2]), _IO(VHOST_VIRTIO, 0x83),
	};
	unsigned char arg[256] = { 0 };

	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	for (unsigned int i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		EXPECT_EQ(-ENOTTY, xioctl(self->fd, unknown[i], arg))
			TH_LOG("request %#lx", unknown[i]);
	}
	EXPECT_EQ(-ENOTTY, xioctl(self->fd, variant->backend == VHOST_NET_SET_BACKEND ?
				  VHOST_BLK_SET_BACKEND : VHOST_NET_SET_BACKEND, arg));
}

TEST_F(node, read_write_mmap_are_refused)
{
	char buf[128] = { 0 };

	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_OWNER, NULL));
	EXPECT_EQ(-1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(-1, write(self->fd, buf, 72));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, self->fd, 0));
}

/* Of a disk not all bits go together: what is behind an IOMMU it does not log */
static uint64_t together(unsigned long backend, uint64_t offered)
{
	return backend == VHOST_BLK_SET_BACKEND ? offered & ~BIT(VIRTIO_F_ACCESS_PLATFORM) : offered;
}

TEST_F(node, each_feature)
{
	uint64_t offered = 0, more;
	struct dev_info info;

	ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_FEATURES, &offered));
	EXPECT_NE(0, offered & BIT(VIRTIO_F_VERSION_1));
	EXPECT_NE(0, offered & BIT(VIRTIO_RING_F_INDIRECT_DESC));
	EXPECT_NE(0, offered & BIT(VIRTIO_RING_F_EVENT_IDX));
	/* addresses of rings are the VMM's here, the platform has no say */
	EXPECT_NE(0, offered & BIT(VIRTIO_F_ACCESS_PLATFORM));
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t bit = BIT(i);

		EXPECT_EQ(offered & bit ? 0 : -EOPNOTSUPP,
			  xioctl(self->fd, VHOST_SET_FEATURES, &bit))
			TH_LOG("bit %u", i);
	}
	offered = together(variant->backend, offered);
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &offered));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(offered, info.features);
	/* what is refused does not stick */
	more = offered | BIT(63);
	EXPECT_EQ(-EOPNOTSUPP, xioctl(self->fd, VHOST_SET_FEATURES, &more));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(offered, info.features);
}

#define WORDS_MAX	64

/* struct vhost_features_array, which older headers lack */
struct features {
	uint64_t count;
	uint64_t word[WORDS_MAX + 1];
};

TEST_F(node, features_array_is_filled)
{
	struct features f;
	uint64_t offered = 0, high;

	ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_FEATURES, &offered));
	for (unsigned int count = 0; count <= WORDS_MAX; count++) {
		memset(&f, 0xaa, sizeof(f));
		f.count = count;
		ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_FEATURES_ARRAY, &f));
		EXPECT_EQ(count, f.count);
		if (count) {
			EXPECT_EQ(offered, f.word[0]);
		}
		for (unsigned int i = 2; i < count; i++) {
			EXPECT_EQ(0, f.word[i]);
		}
		/* not a byte more than there is room for */
		EXPECT_EQ(0xaaaaaaaaaaaaaaaaULL, f.word[count]);
	}
	high = f.word[1];
	EXPECT_EQ(0, high & ~TUNNEL_FEATURES);
	/* all that the TAP of this kernel can do, and nothing else anywhere */
	EXPECT_EQ(variant->queues == NET_QUEUES && kernel_at_least(6, 17) ? TUNNEL_FEATURES : 0,
		  high);
}

TEST_F(node, each_feature_of_an_array)
{
	struct features f = { .count = 2 }, offered = { .count = 2 };
	struct dev_info info;
	uint64_t low;

	ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_FEATURES_ARRAY, &offered));
	for (unsigned int i = 0; i < 4 * 64; i++) {
		bool ok = i < 128 && offered.word[i / 64] & BIT(i % 64);

		memset(&f, 0, sizeof(f));
		f.count = 4;
		f.word[i / 64] = BIT(i % 64);
		EXPECT_EQ(ok ? 0 : -EOPNOTSUPP, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, &f))
			TH_LOG("bit %u", i);
	}
	offered.word[0] = together(variant->backend, offered.word[0]);
	f = offered;
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, &f));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(offered.word[0], info.features);
	EXPECT_EQ(offered.word[1], info.features_high);
	/* what is refused does not stick, the last word that is allowed is looked at */
	memset(&f, 0, sizeof(f));
	f.count = WORDS_MAX;
	f.word[WORDS_MAX - 1] = BIT(63);
	EXPECT_EQ(-EOPNOTSUPP, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, &f));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(offered.word[0], info.features);
	EXPECT_EQ(offered.word[1], info.features_high);
	/* words that are not given are zero, in both requests */
	f = offered;
	f.count = 1;
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, &f));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(offered.word[0], info.features);
	EXPECT_EQ(0, info.features_high);
	f = offered;
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, &f));
	low = offered.word[0];
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES, &low));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(low, info.features);
	EXPECT_EQ(0, info.features_high);
	f = (struct features){ .count = 0 };
	ASSERT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, &f));
	ASSERT_EQ(0, get_info(self->fd, &info));
	EXPECT_EQ(0, info.features);
}

TEST_F(node, bad_features_arrays)
{
	static const unsigned long both[] = { VHOST_GET_FEATURES_ARRAY, VHOST_SET_FEATURES_ARRAY };
	static const uint64_t too_many[] = {
		WORDS_MAX + 1, 1ULL << 31, 1ULL << 32, 1ULL << 61, (1ULL << 61) + 1, 1ULL << 63, ~0ULL,
	};
	unsigned char *pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t *at;
	struct features f = { 0 };

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, munmap(pages + 4096, 4096));
	for (unsigned int r = 0; r < 2; r++) {
		for (unsigned int i = 0; i < sizeof(too_many) / sizeof(too_many[0]); i++) {
			f.count = too_many[i];
			EXPECT_EQ(-E2BIG, xioctl(self->fd, both[r], &f))
				TH_LOG("%#llx words", (unsigned long long)f.count);
		}
		/* the words that are known, or those behind them, are not there */
		for (unsigned int there = 0; there < 4; there++) {
			at = (uint64_t *)(pages + 4096) - there - 1;
			for (unsigned int count = 0; count <= there + 1; count++) {
				memset(at, 0, (there + 1) * 8);
				*at = count;
				EXPECT_EQ(count > there ? -EFAULT : 0, xioctl(self->fd, both[r], at))
					TH_LOG("%u words, %u there", count, there);
			}
		}
	}
	at = (uint64_t *)pages;
	*at = 2;
	ASSERT_EQ(0, mprotect(pages, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, xioctl(self->fd, VHOST_GET_FEATURES_ARRAY, at));
	EXPECT_EQ(0, xioctl(self->fd, VHOST_SET_FEATURES_ARRAY, at));
	munmap(pages, 4096);
}

TEST_F(node, each_backend_feature)
{
	uint64_t offered = ~0ULL;

	ASSERT_EQ(0, xioctl(self->fd, VHOST_GET_BACKEND_FEATURES, &offered));
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t bit = BIT(i);

		EXPECT_EQ(offered & bit ? 0 : -EOPNOTSUPP,
			  xioctl(self->fd, VHOST_SET_BACKEND_FEATURES, &bit))
			TH_LOG("bit %u", i);
	}
}

TEST_F(node, fdinfo_of_new_device)
{
	struct dev_info a, b;
	int other = xopen(variant->path);

	ASSERT_GE(other, 0);
	ASSERT_EQ(0, get_info(self->fd, &a));
	ASSERT_EQ(0, get_info(other, &b));
	EXPECT_NE(a.device, b.device);
	EXPECT_STREQ(variant->path + 5, a.node);
	EXPECT_EQ(0, a.owner);
	EXPECT_EQ(0, a.features);
	EXPECT_EQ(0, a.regions);
	EXPECT_FALSE(a.has_status);
	EXPECT_STREQ("-", a.backing);
	for (unsigned int i = 0; i < VHL_BLK_MAX_QUEUES; i++) {
		EXPECT_FALSE(a.q[i].present);
	}
	close(other);
}

/* CVE-2025-22083, CVE-2026-74702: what a running queue uses was changed under it */
TEST_F(node, settings_while_running)
{
	struct dut d;
	uint64_t features;

	ASSERT_EQ(0, dut_open(&d, variant->queues == NET_QUEUES ? DUT_NET : DUT_BLK, NULL));
	features = d.g->features;
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(-EBUSY, vring_num(d.g->fd, VHOST_SET_VRING_NUM, i, 32));
		EXPECT_EQ(-EBUSY, vring_num(d.g->fd, VHOST_SET_VRING_BASE, i, 0));
		EXPECT_EQ(-EBUSY, vring_num(d.g->fd, VHOST_SET_VRING_ENDIAN, i, 0));
		EXPECT_EQ(0, vring_num(d.g->fd, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, i, 10));
	}
	EXPECT_EQ(0, xioctl(d.g->fd, VHOST_SET_FEATURES, &features));
	features &= ~BIT(VIRTIO_RING_F_EVENT_IDX);
	EXPECT_EQ(-EBUSY, xioctl(d.g->fd, VHOST_SET_FEATURES, &features));
	EXPECT_EQ(0, dut_units(&d, 0, 3));
	EXPECT_EQ(0, dut_units(&d, 1, 3));
	/* one queue is stopped: the other still runs */
	EXPECT_EQ(0, guest_queue_backend(d.q[0], -1));
	EXPECT_EQ(-EBUSY, xioctl(d.g->fd, VHOST_SET_FEATURES, &features));
	EXPECT_EQ(0, guest_queue_backend(d.q[1], -1));
	EXPECT_EQ(0, xioctl(d.g->fd, VHOST_SET_FEATURES, &features));
	dut_close(&d);
}

/* CVE-2026-74580: a queue went on with what it had cached of the old ring */
TEST_F(node, new_ring_addresses_while_running)
{
	struct vhost_vring_addr addr;
	struct dut d;
	unsigned char *fresh;
	uint64_t gpa;

	ASSERT_EQ(0, dut_open(&d, variant->queues == NET_QUEUES ? DUT_NET : DUT_BLK, NULL));
	ASSERT_EQ(0, guest_alloc(d.g, 3 * 4096, 4096, &gpa));
	ASSERT_EQ(0, dut_units(&d, 1, 70));
	fresh = guest_ptr(d.g, gpa, 3 * 4096);
	addr = d.q[1]->addr;
	addr.desc_user_addr = (uintptr_t)fresh;
	addr.avail_user_addr = (uintptr_t)fresh + 4096;
	addr.used_user_addr = (uintptr_t)fresh + 8192;
	ASSERT_EQ(0, xioctl(d.g->fd, VHOST_SET_VRING_ADDR, &addr));
	/* not yet */
	EXPECT_EQ(0, dut_units(&d, 1, 70));

	ASSERT_EQ(0, guest_queue_backend(d.q[1], -1));
	ASSERT_EQ(0, guest_queue_get_base(d.q[1]));
	EXPECT_EQ(140 * (variant->queues == NET_QUEUES ? 1 : 2), gq_used_idx(d.q[1]));
	EXPECT_EQ(gq_base(d.q[1]), d.q[1]->base);
	memset(gq_area(d.q[1], 0), 0xff, 64 * 16);
	memset(gq_area(d.q[1], 1), 0xff, d.q[1]->packed ? 4 : 64);
	memset(gq_area(d.q[1], 2), 0xff, d.q[1]->packed ? 4 : 64);
	gq_move(d.q[1], (void *const[]){ fresh, fresh + 4096, fresh + 8192 });
	gq_reset(d.q[1]);
	ASSERT_EQ(0, guest_queue_base(d.q[1]));
	ASSERT_EQ(0, guest_queue_backend(d.q[1], d.backend));
	EXPECT_EQ(0, dut_units(&d, 1, 70));
	dut_close(&d);
}

TEST_HARNESS_MAIN
