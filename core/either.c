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

bool vhl_dialect_is_open(const struct vhl_dev *dev)
{
	return dev->dialect == &vhl_dialect_either;
}

void vhl_dialect_decide(struct vhl_dev *dev, const struct vhl_dialect *dialect)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	/* read() looks at it at any time */
	WRITE_ONCE(dev->dialect, dialect);
	for (i = 0; i < dev->node->num_vqs; i++)
		dev->vqs[i]->enabled = !dialect->enables;
}

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
	case VHOST_VDPA_GET_DEVICE_ID:
	case VHOST_VDPA_GET_STATUS:
	case VHOST_VDPA_SET_STATUS:
	case VHOST_VDPA_GET_VRING_NUM:
	case VHOST_VDPA_GET_VQS_COUNT:
	case VHOST_VDPA_GET_IOVA_RANGE:
	case VHOST_VDPA_SET_CONFIG:
	case VHOST_VDPA_SET_CONFIG_CALL:
	case VHOST_VDPA_SET_VRING_ENABLE:
	case VHOST_VDPA_SUSPEND:
	case VHOST_VDPA_RESUME:
		vhl_dialect_decide(dev, &vhl_dialect_vdpa);
		break;
	default:
		vhl_dialect_decide(dev, &vhl_dialect_vhost);
	}
	return dev->dialect->ioctl(dev, cmd, argp);
}

/* As a client of the vhost-vDPA dialect may find it: that one is never asked for translations */
const struct vhl_dialect vhl_dialect_either = {
	.ioctl			= either_ioctl,
	.features		= 0,
	.no_such_queue		= -EINVAL,
	.enables		= true,
	.answers_misses		= true,
	.attaches_devices	= true,
};
EXPORT_SYMBOL_GPL(vhl_dialect_either);
