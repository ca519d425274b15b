/* SPDX-License-Identifier: GPL-2.0 */
/* For tests that are about all formats: each is compiled once for every one of them */
#ifdef RING_PACKED
#include "driver_packed.h"
#else
#include "driver_split.h"
#endif
