/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VHL_SHIM_NUMA_H
#define VHL_SHIM_NUMA_H

#define NUMA_NO_NODE	(-1)

#endif /* VHL_SHIM_NUMA_H */
