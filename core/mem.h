/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory: one map from guest address (GPA or IOVA) to the owner's virtual address.
 *
 * Readers hold the mutex of their virtqueue, writers the mutexes of all virtqueues; so a map is
 * replaced between two turns of a queue, never during one.
 */
#ifndef VHL_MEM_H
#define VHL_MEM_H

#include <linux/types.h>

struct vhost_iotlb;

/* Permissions as in struct vhost_iotlb_map and in IOTLB messages */
#define VHL_MEM_READ	0x1	/* the device may read */
#define VHL_MEM_WRITE	0x2	/* the device may write */

/**
 * struct vhl_region - a contiguous piece of guest memory
 * @start: first guest address
 * @last: last guest address, inclusive so that the end of the address space can be said
 * @addr: the owner's virtual address of @start
 * @perm: VHL_MEM_READ and VHL_MEM_WRITE
 */
struct vhl_region {
	u64 start;
	u64 last;
	u64 addr;
	u32 perm;
};

/**
 * struct vhl_mem - the memory of a device
 * @iotlb: the regions, NULL before there were any
 * @gen: bumped by every change, so that caches of a region know that they are stale
 */
struct vhl_mem {
	struct vhost_iotlb *iotlb;
	unsigned int gen;
};

/**
 * vhl_mem_find() - find the region that holds a guest address
 * @mem: the map
 * @addr: guest address
 * @region: filled on success
 *
 * Context: holding the mutex of a virtqueue of the device.
 * Return: 0, or -EFAULT where nothing is mapped.
 */
int __must_check vhl_mem_find(const struct vhl_mem *mem, u64 addr, struct vhl_region *region);

#endif /* VHL_MEM_H */
