// SPDX-License-Identifier: GPL-2.0
/* What a disk image is on.  See image.h */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dut.h"
#include "image.h"

#define MNT	"/tmp/vhltest-image"

static int make_fs(struct image *s)
{
	bool ext4 = !strcmp(s->fs, "ext4");
	char command[160];

	snprintf(command, sizeof(command), "modprobe -q %s && command -v mkfs.%s >/dev/null", s->fs,
		 s->fs);
	if (system(command))
		return -ENOENT;
	snprintf(command, sizeof(command), "mkfs.%s -q %s %s", s->fs,
		 ext4 ? "-F -b 4096 -E nodiscard" : "-f", s->dev);
	if (system(command))
		return -EIO;
	if (mkdir(MNT, 0700) && errno != EEXIST)
		return -errno;
	return mount(s->dev, MNT, s->fs, 0, NULL) ? -errno : 0;
}

int image_open(struct image *s)
{
	int ret;

	/* of a run that died */
	umount2(MNT, MNT_DETACH);
	if (s->fs && !s->fs[0]) {
		strcpy(s->path, "/dev/shm/vhltest-image");
		unlink(s->path);
		return 0;
	}
	/* XFS wants that much */
	ret = null_disk(s->fs && !strcmp(s->fs, "xfs") ? 512 : 32, s->block, s->usec, s->dev);
	if (ret)
		return ret;
	strcpy(s->path, s->fs ? MNT "/disk" : s->dev);
	return s->fs ? make_fs(s) : 0;
}

void image_close(struct image *s)
{
	if (s->fs && !s->fs[0])
		unlink(s->path);
	umount2(MNT, 0);
	slow_disk_remove();
}
