// SPDX-License-Identifier: GPL-2.0
/* vhostlite resize: has a device look at the size of its disk again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "vhostlite.h"

int cmd_resize(int argc, char **argv)
{
	unsigned int n;
	char *name;
	int *fds;

	if (argc != 2)
		die(EXIT_USAGE, "resize wants the number of one device (see vhostlite info)");
	n = borrow_disk("resize", argv[1], &fds, &name);
	while (n--) {
		if (ioctl(fds[n], VHL_BLK_RESIZE))
			die(EXIT_FAILED, "%s: %s", name, errno == ENXIO ?
			    "no file is attached to it" : strerror(errno));
		close(fds[n]);
	}
	free(fds);
	free(name);
	return 0;
}
