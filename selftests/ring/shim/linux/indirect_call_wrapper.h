/* SPDX-License-Identifier: GPL-2.0 */
/* As the kernel's where indirect calls are slow: compare, then call directly */
#ifndef VHL_SHIM_INDIRECT_CALL_WRAPPER_H
#define VHL_SHIM_INDIRECT_CALL_WRAPPER_H

#define INDIRECT_CALL_1(f, f1, ...)	((f) == (f1) ? f1(__VA_ARGS__) : (f)(__VA_ARGS__))
#define INDIRECT_CALL_2(f, f2, f1, ...)					\
	((f) == (f2) ? f2(__VA_ARGS__) : INDIRECT_CALL_1(f, f1, __VA_ARGS__))
#define INDIRECT_CALL_3(f, f3, f2, f1, ...)				\
	((f) == (f3) ? f3(__VA_ARGS__) : INDIRECT_CALL_2(f, f2, f1, __VA_ARGS__))

#endif /* VHL_SHIM_INDIRECT_CALL_WRAPPER_H */
