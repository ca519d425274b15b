/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_NOSPEC_H
#define VHL_SHIM_NOSPEC_H

/* Not the identity: an index that was not checked before becomes 0, as in the kernel */
#define array_index_nospec(index, size)					\
({									\
	__typeof__(index) nospec_ = (index);				\
	nospec_ < (size) ? nospec_ : 0;					\
})

#endif /* VHL_SHIM_NOSPEC_H */
