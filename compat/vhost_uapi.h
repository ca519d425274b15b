/* SPDX-License-Identifier: GPL-2.0 */
/* Requests and bits of <linux/vhost.h> and <linux/virtio_net.h> that older headers lack. */
#ifndef VHL_COMPAT_VHOST_UAPI_H
#define VHL_COMPAT_VHOST_UAPI_H

#include <linux/vhost.h>
#include <linux/virtio_net.h>

/* 6.3 */
#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME	_IO(VHOST_VIRTIO, 0x7E)
#define VHOST_BACKEND_F_RESUME	0x5
#endif

/* 6.7 */
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST	0x8
#endif

/* 6.17; what the requests point to begins with its number of words of 64 bits */
#ifndef VHOST_GET_FEATURES_ARRAY
#define VHOST_GET_FEATURES_ARRAY	_IOR(VHOST_VIRTIO, 0x83, __u64)
#define VHOST_SET_FEATURES_ARRAY	_IOW(VHOST_VIRTIO, 0x83, __u64)
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO	65
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO	67
#endif

#endif /* VHL_COMPAT_VHOST_UAPI_H */
