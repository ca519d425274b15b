/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_PAGE_H
#define VHL_SHIM_PAGE_H

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)

#endif /* VHL_SHIM_PAGE_H */
