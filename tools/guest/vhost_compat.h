/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Names that the oldest supported <linux/vhost.h> and <linux/virtio_config.h> (Linux 6.1) do not
 * have, and nothing else. Those that the modules want, too, are in their header.
 */
#ifndef VHOST_COMPAT_H
#define VHOST_COMPAT_H

#include <linux/vhost.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <linux/vhost_lite.h>
#include "../../compat/vhost_uapi.h"

#ifndef VHOST_VDPA_SUSPEND
#define VHOST_VDPA_SUSPEND		_IO(VHOST_VIRTIO, 0x7D)
#endif
#ifndef VHOST_BACKEND_F_SUSPEND
#define VHOST_BACKEND_F_SUSPEND		0x4
#endif
#ifndef VIRTIO_BLK_F_SECURE_ERASE
#define VIRTIO_BLK_F_SECURE_ERASE	16
#define VIRTIO_BLK_T_SECURE_ERASE	14
#endif
#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER		35
#endif

#endif /* VHOST_COMPAT_H */
