/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_OVERFLOW_H
#define VHL_SHIM_OVERFLOW_H

#include <linux/types.h>

static inline bool __must_check shim_overflows(bool overflow)
{
	return overflow;
}

#define check_add_overflow(a, b, d)	shim_overflows(__builtin_add_overflow(a, b, d))
#define check_sub_overflow(a, b, d)	shim_overflows(__builtin_sub_overflow(a, b, d))
#define check_mul_overflow(a, b, d)	shim_overflows(__builtin_mul_overflow(a, b, d))

/* Those that are asked for here do not overflow */
#define array_size(n, size)		((size_t)(n) * (size))

#endif /* VHL_SHIM_OVERFLOW_H */
