// SPDX-License-Identifier: GPL-2.0
/*
 * idle-devices: starts many network devices, with a TAP and a ring pair each, or many disks, with
 * an empty file in memory each, does nothing with them, and says what one of them costs: kernel
 * memory, and processor time of its threads.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost_lite.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guest.h"
#include "workers.h"

#define RING	256

static long field(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char line[256];
	long v = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			v = strtol(line + strlen(name), NULL, 10);
	if (f)
		fclose(f);
	return v;
}

/* Free pages that a processor keeps for itself, in KiB: they are not in MemFree */
static long kept_free(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	char line[256];
	long pages = 0, v;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &v) == 1)
			pages += v;
	if (f)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* What the kernel has taken that is not this program's own memory, in KiB */
static long kernel_memory(void)
{
	FILE *f = fopen("/proc/sys/vm/drop_caches", "we");

	sync();
	if (f) {
		fputs("3\n", f);
		fclose(f);
	}
	return -field("/proc/meminfo", "MemFree:") - kept_free() - field("/proc/self/status", "VmRSS:") -
	       field("/proc/self/status", "VmPTE:");
}

static int open_tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int hdr = sizeof(struct virtio_net_hdr_v1);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &hdr)) {
		perror("idle-devices: TAP");
		exit(1);
	}
	return fd;
}

static int open_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 1 << 20)) {
		perror("idle-devices: file");
		exit(1);
	}
	return fd;
}

static void start(const char *dev, bool disk, unsigned int queues, int backing)
{
	struct vhl_blk_opts opts = { .num_queues = queues };
	struct guest_queue *q;
	struct guest *g = NULL;
	uint64_t offered;
	int ret = guest_open(&g, dev, disk ? GUEST_BLK : GUEST_NET);

	if (!ret && disk)
		ret = GUEST_IOCTL(g, VHL_BLK_SET_OPTS, &opts) ?: guest_attach(g, backing);
	if (!ret)
		ret = guest_own(g);
	if (!ret)
		ret = guest_features(g, &offered);
	if (!ret)
		ret = guest_set_features(g, 1ULL << VIRTIO_F_VERSION_1 |
					    1ULL << VIRTIO_RING_F_EVENT_IDX);
	if (!ret)
		ret = guest_layout(g, 1, 2 * queues * RING * 32);
	if (!ret)
		ret = guest_commit(g);
	for (unsigned int i = 0; !ret && i < queues; i++) {
		ret = guest_queue(g, i, RING, &q);
		if (!ret)
			ret = guest_queue_program(q);
	}
	if (!ret)
		ret = guest_start(g, backing);
	if (ret) {
		fprintf(stderr, "idle-devices: %s\n", g ? guest_error(g) : "out of memory");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 2 ? atoi(argv[2]) : 0, seconds = argc > 3 ? atoi(argv[3]) : 0;
	unsigned int queues = argc > 4 ? atoi(argv[4]) : 2;
	rlim_t want = (3ul * queues + 4) * n + 100;
	struct rlimit files = { .rlim_cur = want, .rlim_max = want };
	bool disk = argc > 1 && strstr(argv[1], "blk");
	struct workers before, after;
	long memory;
	int *backing;

	if (!n || !seconds || !queues || queues > GUEST_MAX_QUEUES || (!disk && queues != 2)) {
		fputs("usage: idle-devices DEVICE NUMBER SECONDS [QUEUES-OF-A-DISK]\n", stderr);
		return 2;
	}
	backing = calloc(n, sizeof(*backing));
	if (!backing || setrlimit(RLIMIT_NOFILE, &files)) {
		perror("idle-devices");
		return 1;
	}
	for (unsigned int i = 0; i < n; i++)
		backing[i] = disk ? open_file() : open_tap();
	memory = kernel_memory();
	for (unsigned int i = 0; i < n; i++)
		start(argv[1], disk, queues, backing[i]);
	sleep(2);
	memory = kernel_memory() - memory;
	sleep(1);
	workers_read(&before);
	sleep(seconds);
	workers_read(&after);
	printf("{\"devices\":%u,\"seconds\":%u,\"threads\":%.3f,\"memory\":%.0f,\"cpu\":%.9f,\"ok\":true}\n",
	       n, seconds, (double)after.n / n, memory * 1024.0 / n,
	       (after.run_ns - before.run_ns) / 1e9 / seconds / n);
	return 0;
}
