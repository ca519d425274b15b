/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What <linux/compiler.h> and the headers it brings along give to the ring code.
 *
 * READ_ONCE() and WRITE_ONCE() are the kernel's: one volatile access of the object's own size.
 * A test may have a say after each read: there a driver could change what was read.
 */
#ifndef VHL_SHIM_COMPILER_H
#define VHL_SHIM_COMPILER_H

#define __user
#define __force
#define __must_check		__attribute__((warn_unused_result))
#define noinline		__attribute__((noinline))
#ifndef __always_inline
#define __always_inline		inline __attribute__((always_inline))
#endif
#define fallthrough		__attribute__((fallthrough))
#ifndef __maybe_unused
#define __maybe_unused		__attribute__((unused))
#endif

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define barrier()		__asm__ __volatile__("" ::: "memory")

#define SHIM_ONE_ACCESS(x)						\
	_Static_assert(sizeof(x) == 1 || sizeof(x) == 2 || sizeof(x) == 4 || sizeof(x) == 8, \
		       "no single access")

extern void (*shim_after_read)(const volatile void *p, unsigned long size);

#define READ_ONCE(x)							\
({									\
	const volatile __typeof__(x) *once_p_ = &(x);			\
	__typeof__(x) once_ = *once_p_;					\
	SHIM_ONE_ACCESS(x);						\
	if (shim_after_read)						\
		shim_after_read(once_p_, sizeof(x));			\
	once_;								\
})

#define WRITE_ONCE(x, val)						\
do {									\
	SHIM_ONE_ACCESS(x);						\
	*(volatile __typeof__(x) *)&(x) = (val);			\
} while (0)

#endif /* VHL_SHIM_COMPILER_H */
