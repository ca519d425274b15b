/* SPDX-License-Identifier: GPL-2.0 */
/* Nodes in /dev: what differs between kernels. */
#ifndef VHL_COMPAT_DEVICE_H
#define VHL_COMPAT_DEVICE_H

#include <linux/device.h>

/* 6.3: what a type's ->devnode() gets does not change */
#ifdef VHL_DEVNODE_NOT_CONST
typedef struct device vhl_devnode_device;
#else
typedef const struct device vhl_devnode_device;
#endif

#endif /* VHL_COMPAT_DEVICE_H */
