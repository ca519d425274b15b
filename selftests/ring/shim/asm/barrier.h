/* SPDX-License-Identifier: GPL-2.0 */
/* Barriers against another CPU: what the virt_ ones are on every kernel */
#ifndef VHL_SHIM_BARRIER_H
#define VHL_SHIM_BARRIER_H

#include <linux/compiler.h>

/* A test may look at what is there when the ring comes to a barrier */
enum shim_barrier {
	SHIM_MB,
	SHIM_RMB,
	SHIM_WMB,
	SHIM_RELEASE,
};

extern void (*shim_at_barrier)(enum shim_barrier kind);

#define SHIM_AT_BARRIER(kind)						\
do {									\
	if (shim_at_barrier)						\
		shim_at_barrier(kind);					\
} while (0)

#define SHIM_FENCE(kind, order)						\
do {									\
	SHIM_AT_BARRIER(kind);						\
	__atomic_thread_fence(order);					\
} while (0)

#define virt_mb()	SHIM_FENCE(SHIM_MB, __ATOMIC_SEQ_CST)
#define virt_rmb()	SHIM_FENCE(SHIM_RMB, __ATOMIC_ACQUIRE)
#define virt_wmb()	SHIM_FENCE(SHIM_WMB, __ATOMIC_RELEASE)
#define smp_mb()	virt_mb()
#define smp_rmb()	virt_rmb()
#define smp_wmb()	virt_wmb()

#define virt_load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define virt_store_release(p, v)					\
do {									\
	SHIM_AT_BARRIER(SHIM_RELEASE);					\
	__atomic_store_n((p), (v), __ATOMIC_RELEASE);			\
} while (0)
#define virt_store_mb(var, value)					\
do {									\
	WRITE_ONCE(var, value);						\
	virt_mb();							\
} while (0)
#define smp_load_acquire(p)		virt_load_acquire(p)
#define smp_store_release(p, v)		virt_store_release(p, v)

#endif /* VHL_SHIM_BARRIER_H */
