/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What clients of /dev/vhost-nullback need besides <linux/vhost.h> */
#ifndef NULLBACK_H
#define NULLBACK_H

#include <linux/ioctl.h>

#define NULLBACK_QUEUES		3

/* Feature bit of the device type: the device-writable part of a chain is filled with zeroes */
#define NULLBACK_F_ZEROES	0

/* Bytes that a chain may have the device write; one with more, or none, is no request */
#define NULLBACK_IN_MAX		(1 << 20)

/*
 * Start (1) or stop (0) all queues that have addresses, all or none. Any holder of the file may
 * stop. EPERM a start by another than the owner; EFAULT a bad argument, or a ring that is not in
 * user memory; EINVAL a queue without a size; ENOMEM
 */
#define NULLBACK_SET_RUNNING	_IOW(0xAF, 0x58, int)

#endif /* NULLBACK_H */
