/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_SLAB_H
#define VHL_SHIM_SLAB_H

#include <stdlib.h>
#include <string.h>

#include <linux/compiler.h>

#define GFP_KERNEL_ACCOUNT	0

static inline void *kvmalloc_array(size_t n, size_t size, int gfp __maybe_unused)
{
	return malloc(n * size);
}

/* Aligned as the kernel's are, of exactly that size for the sanitizer */
static inline void *kvzalloc(size_t size, int gfp __maybe_unused)
{
	void *p;

	return posix_memalign(&p, 64, size) ? NULL : memset(p, 0, size);
}

static inline void kvfree(void *p)
{
	free(p);
}

#endif /* VHL_SHIM_SLAB_H */
