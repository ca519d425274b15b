/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_ATOMIC_H
#define VHL_SHIM_ATOMIC_H

#include <linux/kernel.h>
#include <asm/barrier.h>

typedef struct {
	long counter;
} atomic_long_t;

static inline long atomic_long_read_acquire(const atomic_long_t *v)
{
	return __atomic_load_n(&v->counter, __ATOMIC_ACQUIRE);
}

static inline void atomic_long_inc(atomic_long_t *v)
{
	__atomic_fetch_add(&v->counter, 1, __ATOMIC_RELAXED);
}

static inline bool atomic_long_dec_and_test(atomic_long_t *v)
{
	return __atomic_sub_fetch(&v->counter, 1, __ATOMIC_SEQ_CST) == 0;
}

#endif /* VHL_SHIM_ATOMIC_H */
