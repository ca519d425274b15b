/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_EXPORT_H
#define VHL_SHIM_EXPORT_H

#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)

#endif /* VHL_SHIM_EXPORT_H */
