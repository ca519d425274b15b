/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_KERNEL_H
#define VHL_SHIM_KERNEL_H

#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/types.h>

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define static_assert(cond)	_Static_assert(cond, #cond)
#define IS_ALIGNED(x, a)	(((x) & ((__typeof__(x))(a) - 1)) == 0)
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define U16_MAX			((u16)~0U)
#define U32_MAX			((u32)~0U)
#define U64_MAX			((u64)~0ULL)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define u64_to_user_ptr(x)	((void __user *)(uintptr_t)(u64)(x))

/* A fault of the ring code, never of the driver: the test dies */
#define WARN_ON_ONCE(cond)						\
({									\
	bool warn_ = !!(cond);						\
	if (warn_)							\
		__builtin_trap();					\
	warn_;								\
})
#define WARN_ON(cond)		WARN_ON_ONCE(cond)

#endif /* VHL_SHIM_KERNEL_H */
