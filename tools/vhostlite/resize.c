// SPDX-License-Identifier: GPL-2.0
/* vhostlite resize: has a device look at the size of its disk again. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "vhostlite.h"

/* The device's file, out of a process that has it open */
static int borrow_fd(const struct device *dev)
{
	int err = ESRCH;

	for (unsigned int i = 0; i < dev->num_holders; i++) {
		const struct holder *h = &dev->holders[i];
		int pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0), fd;

		if (pidfd < 0) {
			err = errno;
			continue;
		}
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, h->fd, 0);
		err = errno;
		close(pidfd);
		if (fd >= 0)
			return fd;
	}
	die(EXIT_FAILED, "device %" PRIu64 ": cannot reach it through process %d (%s): %s%s",
	    dev->id, (int)dev->holders[0].pid, dev->holders[0].comm, strerror(err),
	    err == EPERM ? " (run vhostlite as root)" : "");
}

int cmd_resize(int argc, char **argv)
{
	const struct device *dev;
	struct device_list list;
	uint64_t id;
	int fd;

	if (argc != 2)
		die(EXIT_USAGE, "resize wants the number of one device (see vhostlite info)");
	if (!parse_number(argv[1], 0, UINT64_MAX, &id))
		die(EXIT_USAGE, "resize: '%s' is not the number of a device (see vhostlite info)",
		    argv[1]);
	scan_devices(&list);
	dev = find_device(&list, id);
	if (!dev)
		die(EXIT_FAILED, "device %" PRIu64 ": not open%s", id, list.denied ?
		    " in any of your own processes (run vhostlite as root to reach others)" : "");
	if (!strstr(dev->node, "blk"))
		die(EXIT_FAILED, "device %" PRIu64 ": a %s is no disk", id, dev->node);
	fd = borrow_fd(dev);
	if (ioctl(fd, VHL_BLK_RESIZE)) {
		if (errno == ENXIO)
			die(EXIT_FAILED, "device %" PRIu64 ": no file is attached to it", id);
		die(EXIT_FAILED, "device %" PRIu64 " (%s): %s", id, dev->backing, strerror(errno));
	}
	close(fd);
	free_devices(&list);
	return 0;
}
