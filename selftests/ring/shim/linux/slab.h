/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_SLAB_H
#define VHL_SHIM_SLAB_H

#include <stdlib.h>
#include <string.h>

#include <linux/types.h>

typedef unsigned int gfp_t;

#define GFP_KERNEL_ACCOUNT	0
#define __GFP_NOWARN		0

/* From now on so many allocations succeed; ~0: all */
extern unsigned int shim_allocations;

static inline bool shim_may_alloc(void)
{
	if (!shim_allocations)
		return false;
	if (shim_allocations != ~0U)
		shim_allocations--;
	return true;
}

static inline void *kvmalloc_array(size_t n, size_t size, gfp_t gfp __maybe_unused)
{
	return shim_may_alloc() ? malloc(n * size) : NULL;
}

static inline void *kvmalloc_node(size_t size, gfp_t gfp __maybe_unused, int node __maybe_unused)
{
	return shim_may_alloc() ? malloc(size) : NULL;
}

/* Aligned as the kernel's are, of exactly that size for the sanitizer */
static inline void *kvzalloc(size_t size, gfp_t gfp __maybe_unused)
{
	void *p;

	if (!shim_may_alloc() || posix_memalign(&p, 64, size))
		return NULL;
	return memset(p, 0, size);
}

static inline void *kvzalloc_node(size_t size, gfp_t gfp, int node __maybe_unused)
{
	return kvzalloc(size, gfp);
}

static inline void kvfree(void *p)
{
	free(p);
}

#endif /* VHL_SHIM_SLAB_H */
