/* SPDX-License-Identifier: GPL-2.0 */
/* A region as the kernel's map has it; the map itself is in guest.h */
#ifndef VHL_SHIM_VHOST_IOTLB_H
#define VHL_SHIM_VHOST_IOTLB_H

#include <linux/types.h>

struct vhost_iotlb;

struct vhost_iotlb_map {
	u64 start;
	u64 last;
	u64 addr;
	u32 perm;
};

#endif /* VHL_SHIM_VHOST_IOTLB_H */
