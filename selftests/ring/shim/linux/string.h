/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_STRING_H
#define VHL_SHIM_STRING_H

#include <string.h>

#endif /* VHL_SHIM_STRING_H */
