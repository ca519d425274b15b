/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_MINMAX_H
#define VHL_SHIM_MINMAX_H

#define min_t(type, a, b)						\
({									\
	type min_a_ = (a);						\
	type min_b_ = (b);						\
	min_a_ < min_b_ ? min_a_ : min_b_;				\
})

#define max_t(type, a, b)						\
({									\
	type max_a_ = (a);						\
	type max_b_ = (b);						\
	max_a_ > max_b_ ? max_a_ : max_b_;				\
})

#define swap(a, b)							\
do {									\
	__typeof__(a) swap_ = (a);					\
	(a) = (b);							\
	(b) = swap_;							\
} while (0)

#define clamp_t(type, v, lo, hi)	min_t(type, max_t(type, v, lo), hi)

/* The kernel's refuse operands of different types; so do these */
#define SHIM_SAME_TYPE(a, b)						\
	_Static_assert(__builtin_types_compatible_p(__typeof__((a) + 0), __typeof__((b) + 0)) || \
		       __builtin_constant_p(a) || __builtin_constant_p(b), "types differ")

#define min(a, b)							\
({									\
	SHIM_SAME_TYPE(a, b);						\
	__typeof__((a) + (b)) min_x_ = (a);				\
	__typeof__((a) + (b)) min_y_ = (b);				\
	min_x_ < min_y_ ? min_x_ : min_y_;				\
})

#define max(a, b)							\
({									\
	SHIM_SAME_TYPE(a, b);						\
	__typeof__((a) + (b)) max_x_ = (a);				\
	__typeof__((a) + (b)) max_y_ = (b);				\
	max_x_ > max_y_ ? max_x_ : max_y_;				\
})

#endif /* VHL_SHIM_MINMAX_H */
