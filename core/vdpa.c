// SPDX-License-Identifier: GPL-2.0
/*
 * The vhost-vDPA dialect: device status, config space, memory by IOTLB messages (iotlb.c).
 *
 * Lenient where clients differ: the status may skip steps (one goes to DRIVER_OK in one call,
 * another without ACKNOWLEDGE), queues without addresses may be enabled and stay idle, memory may
 * come long before or just before DRIVER_OK. What is certain: at DRIVER_OK all is known.
 */
#include <linux/uaccess.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>

#include "internal.h"
#include "../compat/vhost_uapi.h"

/*
 * Ring size to show. The largest that QEMU can handle, and what it makes of any other number
 * before 11.1.
 */
#define VHL_VDPA_VRING_NUM	1024

#define VHL_VDPA_BACKEND_FEATURES					\
	(BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2) |			\
	 BIT_ULL(VHOST_BACKEND_F_IOTLB_BATCH) |				\
	 BIT_ULL(VHOST_BACKEND_F_SUSPEND) |				\
	 BIT_ULL(VHOST_BACKEND_F_RESUME) |				\
	 BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST))

static bool vdpa_is_live(const struct vhl_dev *dev)
{
	return (dev->status & VIRTIO_CONFIG_S_DRIVER_OK) && !dev->suspended;
}

/*
 * Everything that a driver set is gone; eventfds, owner and the disk are the VMM's and stay. So
 * does memory if the client says that it counts on it: some send it once.
 */
static void vdpa_reset(struct vhl_dev *dev)
{
	unsigned int i;

	vhl_vqs_stop(dev);
	/* a VMM stops a guest that is to go on by suspending the device and resetting it */
	if (vdpa_is_live(dev) && dev->node->ops->reset)
		dev->node->ops->reset(dev);
	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		vq->num = 0;
		vq->have_base = false;
		vq->have_addr = false;
		vq->enabled = false;
	}
	memset(dev->features, 0, sizeof(dev->features));
	dev->suspended = false;
	dev->in_batch = false;
	dev->status = 0;
	/* no worker sets it any more, all queues are stopped */
	WRITE_ONCE(dev->needs_reset, false);
	if (!(dev->backend_features & BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST)))
		vhl_umem_clear(dev);
}

/*
 * For another process to go on with the device: the kernel's vhost-vDPA knows no such request. What
 * stays is the disk, and the driver's that is in its memory.
 */
static void vdpa_reset_owner(struct vhl_dev *dev)
{
	vdpa_reset(dev);
	vhl_dev_reset(dev);
}

/* A queue may break at any time, in a worker: what the device adds to the status is kept apart */
static u8 vdpa_status(const struct vhl_dev *dev)
{
	return dev->status | (READ_ONCE(dev->needs_reset) ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
}

static int vdpa_set_status(struct vhl_dev *dev, u8 status)
{
	int ret;

	if (!status) {
		vdpa_reset(dev);
		return 0;
	}
	/* the device's alone: some clients write back what they read, others do not know it */
	status &= ~VIRTIO_CONFIG_S_NEEDS_RESET;
	/* virtio 1.2, section 2.1.1: bits are cleared by a reset alone */
	if (dev->status & ~status)
		return -EINVAL;
	if (status & ~dev->status & VIRTIO_CONFIG_S_DRIVER_OK) {
		dev->suspended = false;
		ret = vhl_vqs_start(dev);
		if (ret)
			return ret;
	}
	dev->status = status;
	return 0;
}

static int vdpa_suspend(struct vhl_dev *dev)
{
	if (!(dev->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return 0;
	vhl_vqs_stop(dev);
	dev->suspended = true;
	return 0;
}

static int vdpa_resume(struct vhl_dev *dev)
{
	int ret;

	if (!dev->suspended)
		return 0;
	ret = vhl_vqs_start(dev);
	if (!ret)
		dev->suspended = false;
	return ret;
}

static int vdpa_enable(struct vhl_dev *dev, void __user *argp)
{
	struct vhost_vring_state state;
	struct vhl_vq *vq;
	int ret = 0;

	if (copy_from_user(&state, argp, sizeof(state)))
		return -EFAULT;
	vq = vhl_vq_get(dev, state.index);
	if (IS_ERR(vq))
		return PTR_ERR(vq);
	if (state.num > 1)
		return -EINVAL;

	if (!state.num)
		vhl_vq_stop(vq);
	else if (vdpa_is_live(dev) && vq->have_addr)
		ret = vhl_vq_start(vq);
	if (!ret)
		vq->enabled = state.num;
	return ret;
}

static int vdpa_set_config_call(struct vhl_dev *dev, void __user *argp)
{
	int fd;

	if (get_user(fd, (int __user *)argp))
		return -EFAULT;
	return vhl_set_config_call(dev, fd);
}

/* Requests that report, legal before there is an owner. */
static long vdpa_get_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	static const struct vhost_vdpa_iova_range all = { .first = 0, .last = U64_MAX };
	u64 features[VHL_FEATURE_WORDS];
	int ret;

	switch (cmd) {
	case VHOST_VDPA_GET_DEVICE_ID:
		return put_user(dev->node->device_id, (u32 __user *)argp);
	case VHOST_VDPA_GET_STATUS:
		return put_user(vdpa_status(dev), (u8 __user *)argp);
	case VHOST_VDPA_GET_CONFIG_SIZE:
	case VHOST_VDPA_GET_CONFIG:
		return vhl_config_ioctl(dev, cmd, argp);
	case VHOST_VDPA_GET_VQS_COUNT:
		return put_user((u32)vhl_num_vqs(dev), (u32 __user *)argp);
	case VHOST_VDPA_GET_VRING_NUM:
		/* 16 bits: there are clients with just so much room */
		return put_user((u16)VHL_VDPA_VRING_NUM, (u16 __user *)argp);
	case VHOST_VDPA_GET_IOVA_RANGE:
		return copy_to_user(argp, &all, sizeof(all)) ? -EFAULT : 0;
	case VHOST_GET_BACKEND_FEATURES:
		features[0] = VHL_VDPA_BACKEND_FEATURES;
		return copy_to_user(argp, features, sizeof(u64)) ? -EFAULT : 0;
	case VHOST_GET_FEATURES:
		ret = vhl_get_features(dev, features);
		if (ret)
			return ret;
		return copy_to_user(argp, features, sizeof(u64)) ? -EFAULT : 0;
	}
	return -ENOIOCTLCMD;
}

/* Requests that change, legal before there is an owner. */
static long vdpa_set_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	u64 features[VHL_FEATURE_WORDS] = { };
	u8 status;

	switch (cmd) {
	case VHOST_SET_OWNER:
		if (vhl_is_owner(dev))
			return 0;
		if (vhl_owner_is_dead(dev))
			vdpa_reset_owner(dev);
		return vhl_set_owner(dev);
	case VHOST_VDPA_SET_STATUS:
		if (get_user(status, (u8 __user *)argp))
			return -EFAULT;
		return vdpa_set_status(dev, status);
	case VHOST_SET_FEATURES:
		if (copy_from_user(features, argp, sizeof(u64)))
			return -EFAULT;
		if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
			return features[0] == dev->features[0] ? 0 : -EBUSY;
		return vhl_set_features(dev, features);
	case VHOST_SET_BACKEND_FEATURES:
		if (copy_from_user(features, argp, sizeof(u64)))
			return -EFAULT;
		return vhl_set_backend_features(dev, features[0], VHL_VDPA_BACKEND_FEATURES);
	}
	return -ENOIOCTLCMD;
}

static long vdpa_owner_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case VHOST_VDPA_SET_VRING_ENABLE:
		return vdpa_enable(dev, argp);
	case VHOST_VDPA_SET_CONFIG_CALL:
		return vdpa_set_config_call(dev, argp);
	case VHOST_VDPA_SET_CONFIG:
		return vhl_config_ioctl(dev, cmd, argp);
	case VHOST_VDPA_SUSPEND:
		return vdpa_suspend(dev);
	case VHOST_VDPA_RESUME:
		return vdpa_resume(dev);
	case VHOST_RESET_OWNER:
		vdpa_reset_owner(dev);
		return 0;
	}
	return vhl_vring_ioctl(dev, cmd, argp);
}

static long vdpa_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	long ret;

	lockdep_assert_held(&dev->mutex);

	ret = vdpa_get_ioctl(dev, cmd, argp);
	if (ret == -ENOIOCTLCMD)
		ret = vdpa_set_ioctl(dev, cmd, argp);
	if (ret != -ENOIOCTLCMD)
		return ret;
	if (!vhl_is_owner(dev))
		return -EPERM;
	return vdpa_owner_ioctl(dev, cmd, argp);
}

/* Between DRIVER_OK and a reset the driver knows the device, queues or not. */
static bool vdpa_in_use(const struct vhl_dev *dev)
{
	return dev->status & VIRTIO_CONFIG_S_DRIVER_OK;
}

static void vdpa_show(struct vhl_dev *dev, struct seq_file *m)
{
	seq_printf(m, "vhl-status:\t%#x\n", vdpa_status(dev));
}

const struct vhl_dialect vhl_dialect_vdpa = {
	.ioctl				= vdpa_ioctl,
	.in_use				= vdpa_in_use,
	.broken				= vhl_notify_needs_reset,
	.show				= vdpa_show,
	/*
	 * The driver's addresses are IOVAs, and go through the map: it has to negotiate this. Not
	 * VIRTIO_F_RING_RESET: VMMs show it to the driver, but do not pass on its resets
	 */
	.features			= BIT_ULL(VIRTIO_F_ACCESS_PLATFORM),
	.backend_features		= VHL_VDPA_BACKEND_FEATURES,
	.no_such_queue			= -EINVAL,
	.enables			= true,
	.rings_are_iova			= true,
	.addr_fixed_while_started	= true,
	.attaches_devices		= true,
};
EXPORT_SYMBOL_GPL(vhl_dialect_vdpa);
