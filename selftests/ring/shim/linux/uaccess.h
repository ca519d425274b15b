/* SPDX-License-Identifier: GPL-2.0 */
/* The owner's memory; regions.c checks each access and can make it fault */
#ifndef VHL_SHIM_UACCESS_H
#define VHL_SHIM_UACCESS_H

#include <linux/types.h>

/* As the kernel's: the bytes that could not be copied; those of @to are zeroed */
unsigned long __must_check copy_from_user(void *to, const void __user *from, unsigned long n);

/* The owner's addresses end here */
extern u64 shim_user_last;

static inline bool access_ok(const void __user *p, u64 n)
{
	u64 first = (uintptr_t)p;

	return !n || (first <= shim_user_last && n - 1 <= shim_user_last - first);
}

/* Where the kernel's debugging looks */
#define might_fault()		do { } while (0)

/* A region that may be read without further checks, and reads in it; a fault goes to @label */
bool user_read_access_begin(const void __user *from, unsigned long n);
void user_read_access_end(void);

#define unsafe_get_user(x, ptr, label)					\
do {									\
	if (copy_from_user(&(x), (ptr), sizeof(x)))			\
		goto label;						\
} while (0)

#endif /* VHL_SHIM_UACCESS_H */
