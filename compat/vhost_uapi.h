/* SPDX-License-Identifier: GPL-2.0 */
/* Requests and bits of <linux/vhost.h> that older headers lack. */
#ifndef VHL_COMPAT_VHOST_UAPI_H
#define VHL_COMPAT_VHOST_UAPI_H

#include <linux/vhost.h>

/* 6.3 */
#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME	_IO(VHOST_VIRTIO, 0x7E)
#define VHOST_BACKEND_F_RESUME	0x5
#endif

/* 6.7 */
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST	0x8
#endif

#endif /* VHL_COMPAT_VHOST_UAPI_H */
