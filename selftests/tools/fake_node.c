// SPDX-License-Identifier: GPL-2.0
/*
 * The nodes of a disk for vhostlite serve where there are no modules: linked into it in place of
 * open() and ioctl() (ld --wrap), it does nothing but look at what it is told. What would reach
 * memory that is not the guest's ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

int __real_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* of Linux 6.17 */
#ifndef VHOST_SET_FORK_FROM_OWNER
#define VHOST_SET_FORK_FROM_OWNER	_IOW(VHOST_VIRTIO, 0x84, __u8)
#endif

#define QUEUES	16
#define REGIONS	512
/* FLUSH, MQ, LOG_ALL, indirect, event index, VERSION_1, ACCESS_PLATFORM, packed, RING_RESET */
#define LOG_ALL	(1ULL << 26)
#define FEATURES (1ULL << 9 | 1ULL << 12 | LOG_ALL | 1ULL << 28 | 1ULL << 29 | 1ULL << 32 | 1ULL << 33 | \
		  1ULL << 34 | 1ULL << 40)

static int vhost = -1, vdpa = -1;
static bool owned;
static uint64_t features, bases;
static unsigned int num_regions;
static struct vhost_memory_region regions[REGIONS];
static uint64_t log_base;
static struct {
	uint32_t num, base;
	struct vhost_vring_addr addr;
	bool running;
} queues[QUEUES];

#define BUG(...)	do {			\
	fprintf(stderr, "BUG: " __VA_ARGS__);	\
	fputc('\n', stderr);			\
	abort();				\
} while (0)

int __wrap_open(const char *path, int flags, ...)
{
	int *node = !strcmp(path, "/dev/vhost-blklite") ? &vhost :
		    !strcmp(path, "/dev/vdpa-blklite") ? &vdpa : NULL;
	unsigned int mode;
	va_list ap;

	if (node)
		return *node = memfd_create("node", MFD_CLOEXEC);
	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, unsigned int) : 0;
	va_end(ap);
	return __real_open(path, flags, mode);
}

static int fail(int err)
{
	errno = err;
	return -1;
}

static bool is_mapped(uint64_t start, uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = start + size;

	start &= ~(page - 1);
	return !msync((void *)(uintptr_t)start, end - start, MS_ASYNC);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static void check_log(void);

static int set_table(const struct vhost_memory *table)
{
	if (table->nregions > REGIONS)
		return fail(E2BIG);
	for (unsigned int i = 0; i < table->nregions; i++) {
		const struct vhost_memory_region *r = &table->regions[i];

		if (!r->memory_size || !is_mapped(r->userspace_addr, r->memory_size))
			BUG("a region that is not mapped: %#llx", r->userspace_addr);
		for (unsigned int k = 0; k < i; k++)
			if (overlap(r->guest_phys_addr, r->memory_size,
				    table->regions[k].guest_phys_addr,
				    table->regions[k].memory_size))
				return fail(EEXIST);
	}
	num_regions = table->nregions;
	memcpy(regions, table->regions, num_regions * sizeof(regions[0]));
	check_log();
	return 0;
}

/* Bits are set for all of guest memory */
static void check_log(void)
{
	for (unsigned int i = 0; log_base && i < num_regions; i++) {
		uint64_t last = regions[i].guest_phys_addr + (regions[i].memory_size - 1);

		if (!is_mapped(log_base + regions[i].guest_phys_addr / 32768, 1) ||
		    !is_mapped(log_base + last / 32768, 1))
			BUG("a log that is not mapped");
	}
}

static bool any_runs(void)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		if (queues[i].running)
			return true;
	return false;
}

static int set_log(uint64_t base)
{
	if (!base && any_runs() && features & LOG_ALL)
		return fail(EFAULT);
	log_base = base;
	check_log();
	return 0;
}

static int set_addr(const struct vhost_vring_addr *a)
{
	if (a->flags & ~1U)
		return fail(EOPNOTSUPP);
	if (a->flags && (a->log_guest_addr & 3 || (queues[a->index].running && !log_base)))
		return fail(EINVAL);
	queues[a->index].addr = *a;
	return 0;
}

static void check_area(uint64_t start, uint64_t size)
{
	for (unsigned int i = 0; i < num_regions; i++)
		if (start >= regions[i].userspace_addr &&
		    start + size <= regions[i].userspace_addr + regions[i].memory_size)
			return;
	BUG("a ring outside the guest's memory: %#lx, %lu bytes", start, size);
}

static int start(unsigned int index)
{
	const struct vhost_vring_addr *a = &queues[index].addr;
	bool packed = features >> 34 & 1;
	uint64_t n = queues[index].num;

	if (!n || (!packed && n & (n - 1)) || (a->desc_user_addr | a->avail_user_addr * 8) & 15)
		return fail(EINVAL);
	check_area(a->desc_user_addr, n * 16);
	check_area(a->avail_user_addr, packed ? 4 : 6 + 2 * n);
	check_area(a->used_user_addr, packed ? 4 : 6 + 8 * n);
	queues[index].running = true;
	return 0;
}

static int backend(const struct vhost_vring_file *f)
{
	/* the disk, while there is no owner */
	if (!owned)
		return 0;
	if (f->fd >= 0)
		return start(f->index);
	queues[f->index].running = false;
	return 0;
}

static int eventfd(int fd)
{
	char path[64], name[64] = "";

	if (fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, name, sizeof(name) - 1) < 0)
		return fail(EBADF);
	return strcmp(name, "anon_inode:[eventfd]") ? fail(EINVAL) : 0;
}

static int set_features(uint64_t want)
{
	if (want & ~FEATURES)
		return fail(EOPNOTSUPP);
	if (any_runs() && (want ^ features) & ~LOG_ALL)
		return fail(EBUSY);
	if (any_runs() && want & LOG_ALL && !log_base)
		return fail(EFAULT);
	if (features & ~want & LOG_ALL)
		log_base = 0;
	features = want;
	return 0;
}

/* What is there by now may be cut off: only the kernel is to look */
static int set_bases(uint64_t addr)
{
	if (addr % 4 || addr % 4096 + QUEUES * 4 > 4096)
		return fail(EINVAL);
	if (addr && !is_mapped(addr, QUEUES * 4))
		BUG("bases where nothing is mapped");
	bases = addr;
	return 0;
}

static int reset(void)
{
	if (bases && !is_mapped(bases, QUEUES * 4))
		BUG("bases were unmapped while they were used");
	bases = 0;
	owned = false;
	log_base = 0;
	num_regions = 0;
	features = 0;
	memset(queues, 0, sizeof(queues));
	return 0;
}

static int vhost_ioctl(unsigned long request, void *arg)
{
	struct vhost_vring_state *state = arg;

	switch (request) {
	case VHL_BLK_SET_OPTS:
	case VHL_BLK_RESIZE:
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = FEATURES;
		return 0;
	case VHOST_SET_FEATURES:
		return set_features(*(uint64_t *)arg);
	case VHOST_BLK_SET_BACKEND:
		return backend(arg);
	case VHOST_SET_FORK_FROM_OWNER:
		return owned || *(uint8_t *)arg ? fail(EBUSY) : 0;
	case VHOST_SET_OWNER:
		if (owned)
			BUG("owned already");
		owned = true;
		return 0;
	case VHOST_RESET_OWNER:
		return reset();
	}
	if (!owned)
		BUG("request %#lx without an owner", request);
	switch (request) {
	case VHL_SET_BASES:
		return set_bases(*(uint64_t *)arg);
	case VHOST_SET_MEM_TABLE:
		return set_table(arg);
	case VHOST_SET_VRING_NUM:
		queues[state->index].num = state->num;
		return 0;
	case VHOST_SET_VRING_BASE:
		queues[state->index].base = state->num;
		return 0;
	case VHOST_GET_VRING_BASE:
		state->num = queues[state->index].base;
		return 0;
	case VHOST_SET_VRING_ADDR:
		return set_addr(arg);
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		return eventfd(((struct vhost_vring_file *)arg)->fd);
	case VHOST_SET_LOG_BASE:
		return set_log(*(uint64_t *)arg);
	case VHOST_SET_LOG_FD:
		return eventfd(*(int *)arg);
	}
	BUG("request %#lx", request);
}

static int vdpa_ioctl(unsigned long request, void *arg)
{
	struct vhost_vdpa_config *c = arg;

	switch (request) {
	case VHL_BLK_SET_OPTS:
	case VHL_BLK_RESIZE:
	case VHOST_BLK_SET_BACKEND:
	case VHOST_SET_OWNER:
	case VHOST_VDPA_SET_CONFIG_CALL:
		return 0;
	case VHOST_VDPA_GET_CONFIG_SIZE:
		*(uint32_t *)arg = 72;
		return 0;
	case VHOST_VDPA_GET_CONFIG:
		for (unsigned int i = 0; i < c->len; i++)
			c->buf[i] = (uint8_t)(c->off + i + 1);
		return 0;
	}
	BUG("request %#lx", request);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd >= 0 && fd == vhost)
		return vhost_ioctl(request, arg);
	if (fd >= 0 && fd == vdpa)
		return vdpa_ioctl(request, arg);
	return __real_ioctl(fd, request, arg);
}
