/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_BITOPS_H
#define VHL_SHIM_BITOPS_H

/* Atomic, without an order of its own: not every architecture's has one */
static inline void set_bit_le(int nr, void *addr)
{
	__atomic_fetch_or((unsigned char *)addr + nr / 8, 1 << nr % 8, __ATOMIC_RELAXED);
}

#endif /* VHL_SHIM_BITOPS_H */
