/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's map of regions, as far as core/mem.c uses it: a list of them, each its own heap
 * object as in the kernel, so that one that is used after it went is found out. The functions are
 * in iotlb.c.
 */
#ifndef VHL_SHIM_VHOST_IOTLB_H
#define VHL_SHIM_VHOST_IOTLB_H

#include <linux/types.h>

struct vhost_iotlb_map {
	u64 start;
	u64 last;
	u64 size;
	u64 addr;
	u32 perm;
	void *opaque;
	struct vhost_iotlb_map *next;
};

struct vhost_iotlb {
	struct vhost_iotlb_map *first;
	unsigned int limit;
	unsigned int nmaps;
	unsigned int finds;		/* searches so far */
};

struct vhost_iotlb *vhost_iotlb_alloc(unsigned int limit, unsigned int flags);
void vhost_iotlb_free(struct vhost_iotlb *iotlb);
int vhost_iotlb_add_range(struct vhost_iotlb *iotlb, u64 start, u64 last, u64 addr,
			  unsigned int perm);
void vhost_iotlb_map_free(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map);
struct vhost_iotlb_map *vhost_iotlb_itree_first(struct vhost_iotlb *iotlb, u64 start, u64 last);
struct vhost_iotlb_map *vhost_iotlb_itree_next(struct vhost_iotlb_map *map, u64 start, u64 last);

#endif /* VHL_SHIM_VHOST_IOTLB_H */
