// SPDX-License-Identifier: GPL-2.0
/*
 * A node for clients of both dialects: which one of them has it open is seen from what it asks.
 *
 * All clients of the vhost-vDPA dialect ask for the device's id or status before they ask for its
 * features (QEMU, libblkio, cloud-hypervisor); those of the vhost dialect know neither request.
 * Until then there are these requests, which mean the same in both: to own the device, the features
 * of its messages, and to read the config space, which decides nothing.
 */
#include <linux/vhost.h>

#include "internal.h"
#include "../compat/vhost_uapi.h"

/* Numbers of requests that the vhost-vDPA dialect alone has (<linux/vhost.h> of Linux 7.2) */
#define VDPA_NR_FIRST	0x70
#define VDPA_NR_LAST	0x82

static long either_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	lockdep_assert_held(&dev->mutex);

	switch (cmd) {
	case VHOST_SET_OWNER:
	case VHOST_RESET_OWNER:
	case VHOST_GET_BACKEND_FEATURES:
	case VHOST_SET_BACKEND_FEATURES:
	case VHOST_VDPA_GET_CONFIG_SIZE:
	case VHOST_VDPA_GET_CONFIG:
		return vhl_dialect_vdpa.ioctl(dev, cmd, argp);
	}
	/* whatever else is asked of a file, is it a terminal for example */
	if (_IOC_TYPE(cmd) != VHOST_VIRTIO)
		return -ENOIOCTLCMD;
	vhl_dialect_decide(dev, _IOC_NR(cmd) >= VDPA_NR_FIRST && _IOC_NR(cmd) <= VDPA_NR_LAST ?
				&vhl_dialect_vdpa : &vhl_dialect_vhost);
	return dev->dialect->ioctl(dev, cmd, argp);
}

/* As a client of the vhost-vDPA dialect may find it: that one is never asked for translations */
const struct vhl_dialect vhl_dialect_either = {
	.ioctl			= either_ioctl,
	.by_backend		= &vhl_dialect_vhost,
	.by_message		= &vhl_dialect_vdpa,
	.no_such_queue		= -EINVAL,
	.enables		= true,
	.answers_misses		= true,
	.attaches_devices	= true,
};
EXPORT_SYMBOL_GPL(vhl_dialect_either);
