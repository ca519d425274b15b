// SPDX-License-Identifier: GPL-2.0
/* What shim/linux/vhost_iotlb.h declares */
#include <errno.h>
#include <stdlib.h>

#include <linux/slab.h>
#include <linux/vhost_iotlb.h>

struct vhost_iotlb *vhost_iotlb_alloc(unsigned int limit, unsigned int flags __maybe_unused)
{
	struct vhost_iotlb *iotlb = kvzalloc(sizeof(*iotlb), GFP_KERNEL_ACCOUNT);

	if (iotlb)
		iotlb->limit = limit;
	return iotlb;
}

void vhost_iotlb_free(struct vhost_iotlb *iotlb)
{
	while (iotlb && iotlb->first)
		vhost_iotlb_map_free(iotlb, iotlb->first);
	kvfree(iotlb);
}

/* Those of old kernels look at no limit */
int vhost_iotlb_add_range(struct vhost_iotlb *iotlb, u64 start, u64 last, u64 addr,
			  unsigned int perm)
{
	struct vhost_iotlb_map *map = kvzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);

	if (!map)
		return -ENOMEM;
	map->start = start;
	map->last = last;
	map->size = last - start + 1;
	map->addr = addr;
	map->perm = perm;
	map->next = iotlb->first;
	iotlb->first = map;
	iotlb->nmaps++;
	return 0;
}

void vhost_iotlb_map_free(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_map **at = &iotlb->first;

	while (*at != map)
		at = &(*at)->next;
	*at = map->next;
	iotlb->nmaps--;
	kvfree(map);
}

static struct vhost_iotlb_map *first_from(struct vhost_iotlb_map *map, u64 start, u64 last)
{
	while (map && (map->start > last || map->last < start))
		map = map->next;
	return map;
}

struct vhost_iotlb_map *vhost_iotlb_itree_first(struct vhost_iotlb *iotlb, u64 start, u64 last)
{
	iotlb->finds++;
	return first_from(iotlb->first, start, last);
}

struct vhost_iotlb_map *vhost_iotlb_itree_next(struct vhost_iotlb_map *map, u64 start, u64 last)
{
	return first_from(map->next, start, last);
}
