/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_LOG2_H
#define VHL_SHIM_LOG2_H

#include <linux/types.h>

static inline int ilog2(u64 n)
{
	return 63 - __builtin_clzll(n);
}

static inline bool is_power_of_2(u64 n)
{
	return n && !(n & (n - 1));
}

/* Rounded up */
static inline int order_base_2(u64 n)
{
	return n > 1 ? ilog2(n - 1) + 1 : 0;
}

#endif /* VHL_SHIM_LOG2_H */
