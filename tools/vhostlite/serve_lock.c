// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve --handover: the disk is locked while queues run, and not otherwise. So a guest can migrate
 * between two of them that have the same disk: QEMU stops the queues here before it starts them there. What
 * was cached of the disk here is on it when they have stopped, and is read anew there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

static bool any_runs(const struct session *s)
{
	for (unsigned int i = 0; i < MAX_QUEUES; i++)
		if (s->rings[i].running)
			return true;
	return false;
}

enum verdict disk_take(struct session *s)
{
	const struct serve_dev *dev = s->dev;
	enum verdict v;
	char *wrong;

	if (!dev->disk->late_lock || any_runs(s))
		return OK;
	wrong = lock_disk(dev->file, dev->disk);
	if (wrong) {
		v = refuse(s, "the disk cannot be used now: %s", wrong);
		free(wrong);
		return v;
	}
	/* also where it is opened with O_DIRECT: ends that are no whole blocks are cached all the same */
	posix_fadvise(dev->file, 0, 0, POSIX_FADV_DONTNEED);
	/* who had it may have made it longer */
	dev_resize(dev);
	return OK;
}

void disk_leave(struct session *s)
{
	const struct serve_dev *dev = s->dev;

	if (!dev->disk->late_lock || any_runs(s))
		return;
	if (!dev->disk->ro && fdatasync(dev->file)) {
		say("what was written may be lost: %s; the disk stays locked", strerror(errno));
		return;
	}
	unlock_disk(dev->file);
}
