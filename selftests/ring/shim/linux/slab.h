/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_SLAB_H
#define VHL_SHIM_SLAB_H

#include <stdlib.h>

#define GFP_KERNEL_ACCOUNT	0

static inline void *kvmalloc_array(size_t n, size_t size, int gfp __maybe_unused)
{
	return malloc(n * size);
}

static inline void kvfree(void *p)
{
	free(p);
}

#endif /* VHL_SHIM_SLAB_H */
