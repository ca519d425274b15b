/* SPDX-License-Identifier: GPL-2.0 */
/* Barriers against another CPU: what the virt_ ones are on every kernel */
#ifndef VHL_SHIM_BARRIER_H
#define VHL_SHIM_BARRIER_H

#include <linux/compiler.h>

#define virt_mb()	__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define virt_rmb()	__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define virt_wmb()	__atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_mb()	virt_mb()
#define smp_rmb()	virt_rmb()
#define smp_wmb()	virt_wmb()

#define virt_load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define virt_store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define virt_store_mb(var, value)					\
do {									\
	WRITE_ONCE(var, value);						\
	virt_mb();							\
} while (0)
#define smp_load_acquire(p)		virt_load_acquire(p)
#define smp_store_release(p, v)		virt_store_release(p, v)

#endif /* VHL_SHIM_BARRIER_H */
