/* SPDX-License-Identifier: GPL-2.0 */
/* Named disks: requests to the control node, which is open as @control.  All return 0 or -errno */
#ifndef ABI_NAMES_H
#define ABI_NAMES_H

#include <linux/vhost_lite.h>
#include <stddef.h>

/* named_create() - a disk on the file @fd */
int named_create(int control, const char *name, int fd, unsigned int mode, unsigned int queues);

/* named_do() - a request about one disk */
int named_do(int control, unsigned long request, const char *name, int fd, unsigned int flags);
int named_destroy(int control, const char *name, unsigned int flags);

/* named_look() - what there is to say of the disk; @path has @room bytes for that of its file */
int named_look(int control, const char *name, struct vhl_disk_info *info, char *path, size_t room);

#endif /* ABI_NAMES_H */
