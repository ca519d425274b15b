/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_SPINLOCK_H
#define VHL_SHIM_SPINLOCK_H

#include <stdbool.h>

typedef struct {
	bool locked;
} spinlock_t;

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->locked = false;
}

/* Tests that have several threads change no map: nobody waits, and who locks twice dies */
static inline void spin_lock(spinlock_t *lock)
{
	if (__atomic_test_and_set(&lock->locked, __ATOMIC_ACQUIRE))
		__builtin_trap();
}

static inline void spin_unlock(spinlock_t *lock)
{
	__atomic_clear(&lock->locked, __ATOMIC_RELEASE);
}

#endif /* VHL_SHIM_SPINLOCK_H */
