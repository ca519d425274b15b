// SPDX-License-Identifier: GPL-2.0
/* Named disks: requests to the control node.  See names.h */
#include <string.h>

#include "names.h"
#include "sys.h"

int named_create(int control, const char *name, int fd, unsigned int mode,
		 unsigned int queues)
{
	struct vhl_disk_create c = { .fd = fd, .mode = mode, .opts.num_queues = queues };

	memcpy(c.name, name, strnlen(name, sizeof(c.name)));
	return xioctl(control, VHL_DISK_CREATE, &c);
}

int named_do(int control, unsigned long request, const char *name, int fd, unsigned int flags)
{
	struct vhl_disk_name n = { .fd = fd, .flags = flags };

	memcpy(n.name, name, strnlen(name, sizeof(n.name)));
	return xioctl(control, request, &n);
}

int named_destroy(int control, const char *name, unsigned int flags)
{
	return named_do(control, VHL_DISK_DESTROY, name, 0, flags);
}

int named_look(int control, const char *name, struct vhl_disk_info *info, char *path, size_t room)
{
	unsigned int number = 0;

	for (;; number = info->number + 1) {
		int ret;

		*info = (struct vhl_disk_info){
			.number = number, .path = (uintptr_t)path, .path_len = room,
		};
		ret = xioctl(control, VHL_DISK_GET, info);
		if (ret || !strcmp((char *)info->name, name))
			return ret;
	}
}
