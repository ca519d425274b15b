// SPDX-License-Identifier: GPL-2.0
/* The file of a device that another process has open. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vhostlite.h"

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

static bool is_disk(const struct device *dev)
{
	return strstr(dev->node, "blk") || !strncmp(dev->node, "vhost-lite/", 11);
}

static bool share_holder(const struct device *a, const struct device *b)
{
	for (unsigned int i = 0; i < a->num_holders; i++)
		for (unsigned int k = 0; k < b->num_holders; k++)
			if (a->holders[i].pid == b->holders[k].pid)
				return true;
	return false;
}

/* `vhostlite serve` has two devices for a disk, of which one runs its queues and one shows its size */
static bool is_same_disk(const struct device *a, const struct device *b)
{
	return a != b && is_disk(b) && a->backing && b->backing && strcmp(a->backing, "-") &&
	       !strcmp(a->backing, b->backing) && share_holder(a, b);
}

unsigned int borrow_disk(const char *command, const char *number, int **fds, char **name)
{
	const struct device *dev;
	struct device_list list;
	unsigned int n = 0;
	uint64_t id;

	if (!parse_number(number, 0, UINT64_MAX, &id))
		die(EXIT_USAGE, "%s: '%s' is not the number of a device (see vhostlite info)",
		    command, number);
	scan_devices(&list);
	dev = find_device(&list, id);
	if (!dev)
		die(EXIT_FAILED, "device %" PRIu64 ": not open%s", id, list.denied ?
		    " in any of your own processes (run vhostlite as root to reach others)" : "");
	if (!is_disk(dev))
		die(EXIT_FAILED, "device %" PRIu64 ": a %s is no disk", id, dev->node);
	*fds = xrealloc(NULL, list.num * sizeof(**fds));
	(*fds)[n++] = borrow_fd(dev);
	for (unsigned int i = 0; i < list.num; i++)
		if (is_same_disk(dev, &list.devices[i]))
			(*fds)[n++] = borrow_fd(&list.devices[i]);
	*name = xasprintf("device %" PRIu64 " (%s)", id, dev->backing);
	free_devices(&list);
	return n;
}
