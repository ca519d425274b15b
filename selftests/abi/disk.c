// SPDX-License-Identifier: GPL-2.0
/* Backends: TAPs and disks.  See dut.h */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dut.h"

#define NULLB	"/sys/kernel/config/nullb/vhltest"

int set_link(const char *name, bool up)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct ifreq ifr = { 0 };

	strcpy(ifr.ifr_name, name);
	ret = ioctl(s, SIOCGIFFLAGS, &ifr);
	if (!ret) {
		ifr.ifr_flags = up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP;
		ret = ioctl(s, SIOCSIFFLAGS, &ifr);
	}
	ret = ret ? -errno : 0;
	close(s);
	return ret;
}

int make_tap_with(char *name, int hdr, unsigned int flags)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | (hdr ? IFF_VNET_HDR : 0) | flags };
	char path[128];
	int fd, ret;

	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	strcpy(ifr.ifr_name, "vhltest%d");
	if (ioctl(fd, TUNSETIFF, &ifr) || (hdr && ioctl(fd, TUNSETVNETHDRSZ, &hdr))) {
		ret = -errno;
		goto out;
	}
	strcpy(name, ifr.ifr_name);
	/* without it the kernel sends packets of its own */
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	put_file(path, "1");
	ret = set_link(name, true);
	if (!ret)
		return fd;
out:
	close(fd);
	return ret;
}

int make_tap(char *name, int hdr)
{
	return make_tap_with(name, hdr, 0);
}

int make_disk(uint64_t bytes)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, bytes)) {
		close(fd);
		return -errno;
	}
	return fd;
}

int open_queues(struct guest **g, enum dut_kind kind, int disk, unsigned int queues)
{
	struct vhl_blk_opts opts = { .num_queues = queues };
	uint64_t offered;
	int ret;

	ret = guest_open(g, dut_node(kind), GUEST_BLK);
	if (ret)
		return ret;
	(*g)->packed = dut_packed();
	ret = GUEST_IOCTL(*g, VHL_BLK_SET_OPTS, &opts);
	ret = ret ?: guest_attach(*g, disk);
	ret = ret ?: guest_own(*g);
	ret = ret ?: guest_features(*g, &offered);
	if (ret)
		return ret;
	if (queues > 1 && !(offered & BIT(VIRTIO_BLK_F_MQ)))
		return -ENOTSUP;
	if (kind == DUT_BLK)
		offered &= ~BIT(VIRTIO_F_ACCESS_PLATFORM);
	ret = guest_set_features(*g, offered);
	ret = ret ?: guest_layout(*g, 4, 8 << 20);
	return ret ?: guest_commit(*g);
}

static int make_null(unsigned int mib, unsigned int block, unsigned int usec, unsigned int depth,
		     bool discard, char path[32])
{
	char delay[32], size[32], blocksize[32], tags[32], index[32];
	int fd;

	if (!module_loaded("null_blk") && system("modprobe null_blk nr_devices=0 2>/dev/null"))
		return -ENOENT;
	if (access("/sys/kernel/config/nullb", F_OK) &&
	    system("mount -t configfs none /sys/kernel/config 2>/dev/null"))
		return -ENOENT;
	slow_disk_remove();
	if (mkdir(NULLB, 0700))
		return -errno;
	snprintf(delay, sizeof(delay), "%llu", usec * 1000ULL);
	snprintf(size, sizeof(size), "%u", mib);
	snprintf(blocksize, sizeof(blocksize), "%u", block);
	snprintf(tags, sizeof(tags), "%u", depth);
	/* completes in a timer's interrupt, or at once */
	if (put_file(NULLB "/hw_queue_depth", tags) || put_file(NULLB "/size", size) ||
	    put_file(NULLB "/memory_backed", "1") || put_file(NULLB "/discard", discard ? "1" : "0") || put_file(NULLB "/blocksize", blocksize) ||
	    put_file(NULLB "/irqmode", usec ? "2" : "0") ||
	    put_file(NULLB "/completion_nsec", delay) || put_file(NULLB "/power", "1"))
		return -EIO;
	fd = open(NULLB "/index", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, index, sizeof(index)) <= 0)
		return -EIO;
	close(fd);
	/* the name when it was made through configfs, since 6.4 or so */
	for (unsigned int i = 0; i < 100; i++) {
		snprintf(path, 32, "/dev/nullb%d", atoi(index));
		if (!access(path, F_OK))
			return 0;
		strcpy(path, "/dev/vhltest");
		if (!access(path, F_OK))
			return 0;
		sleep_ms(20);
	}
	return -ENODEV;
}

int null_disk(unsigned int mib, unsigned int block, unsigned int usec, char path[32])
{
	return make_null(mib, block, usec, 64, true, path);
}

int slow_disk(unsigned int ms)
{
	return slow_disk_of(ms, 64);
}

int slow_disk_of(unsigned int ms, unsigned int depth)
{
	char path[32];
	int ret = make_null(16, 512, ms * 1000, depth, false, path);

	if (ret)
		return ret;
	ret = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	return ret < 0 ? -errno : ret;
}

void slow_disk_remove(void)
{
	if (access(NULLB, F_OK))
		return;
	put_file(NULLB "/power", "0");
	rmdir(NULLB);
}
