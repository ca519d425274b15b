/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_HASH_H
#define VHL_SHIM_HASH_H

#include <linux/types.h>

static inline u32 __hash_32(u32 val)
{
	return val * 0x61C88647;
}

#endif /* VHL_SHIM_HASH_H */
