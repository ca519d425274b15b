/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel that is newer than what vhost-lite was tested with: what it needs is probed for, and
 * what is missing does not compile; but what changed without a sign does. Included once.
 */
#ifndef VHL_COMPAT_TESTED_H
#define VHL_COMPAT_TESTED_H

#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#pragma message("vhost-lite was tested with Linux 6.1 to 7.3; should something not work on this newer one, see README.md for newer releases")
#endif

#endif /* VHL_COMPAT_TESTED_H */
