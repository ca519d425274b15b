// SPDX-License-Identifier: GPL-2.0
/* vhostlite serve: the control group that requests are accounted in. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "serve.h"

#define CGROUPS	"/sys/fs/cgroup"

void join_cgroup(const char *path)
{
	char *dir = *path == '/' ? xstrdup(path) : xasprintf(CGROUPS "/%s", path);
	char *procs = xasprintf("%s/cgroup.procs", dir);
	struct statfs fs;
	int fd;

	if (statfs(dir, &fs))
		die(EXIT_FAILED, "--cgroup %s: %s%s", path, strerror(errno),
		    errno == ENOENT ? "; make it first: mkdir" : "");
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		die(EXIT_FAILED, "--cgroup %s: no directory of cgroup v2 (they are in " CGROUPS ")",
		    path);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(EXIT_FAILED, "--cgroup %s: cannot be joined: %s%s", path, strerror(errno),
		    errno == EBUSY || errno == EOPNOTSUPP ?
		    " (it has controllers for those below it)" : "");
	close(fd);
	free(procs);
	free(dir);
}
