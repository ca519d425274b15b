// SPDX-License-Identifier: GPL-2.0
/*
 * The vhost-vDPA dialect: device status, config space, memory by IOTLB messages.
 *
 * Lenient where clients differ: the status may skip steps (one goes to DRIVER_OK in one call,
 * another without ACKNOWLEDGE), queues without addresses may be enabled and stay idle, memory may
 * come long before or just before DRIVER_OK. What is certain: at DRIVER_OK all is known.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
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

/* IOTLB messages of both versions are of one size, and have their body in one place */
static_assert(sizeof(struct vhost_msg) == sizeof(struct vhost_msg_v2));
static_assert(offsetof(struct vhost_msg, iotlb) == offsetof(struct vhost_msg_v2, iotlb));

static unsigned int vdpa_num_vqs(struct vhl_dev *dev)
{
	return dev->node->ops->num_vqs ? dev->node->ops->num_vqs(dev) : dev->node->num_vqs;
}

static bool vdpa_is_live(const struct vhl_dev *dev)
{
	return (dev->status & VIRTIO_CONFIG_S_DRIVER_OK) && !dev->suspended;
}

static void vdpa_stop(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_stop(dev->vqs[i]);
}

/*
 * Start the queues that the driver uses: enabled, and with addresses. All or none: no request is
 * taken before it is certain that all of them start.
 */
static int vdpa_start(struct vhl_dev *dev)
{
	unsigned int i;
	int ret;

	if (!vhl_is_owner(dev))
		return -EPERM;
	for (i = 0; i < vdpa_num_vqs(dev); i++) {
		struct vhl_vq *vq = dev->vqs[i];

		if (!vq->enabled || !vq->have_addr)
			continue;
		ret = vhl_vq_prepare(vq);
		if (ret) {
			vdpa_stop(dev);
			return ret;
		}
	}
	for (i = 0; i < vdpa_num_vqs(dev); i++)
		if (vhl_vq_started(dev->vqs[i]))
			vhl_vq_run(dev->vqs[i]);
	return 0;
}

/*
 * Everything that a driver set is gone; eventfds, owner and the disk are the VMM's and stay. So
 * does memory if the client says that it counts on it: some send it once.
 */
static void vdpa_reset(struct vhl_dev *dev)
{
	unsigned int i;

	vdpa_stop(dev);
	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		vq->num = 0;
		vq->base = 0;
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

/* A queue may break at any time, in a worker: what the device adds to the status is kept apart */
u8 vhl_vdpa_status(const struct vhl_dev *dev)
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
		ret = vdpa_start(dev);
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
	vdpa_stop(dev);
	dev->suspended = true;
	return 0;
}

static int vdpa_resume(struct vhl_dev *dev)
{
	int ret;

	if (!dev->suspended)
		return 0;
	ret = vdpa_start(dev);
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

/*
 * No field can be written: CONFIG_WCE is not offered. Writing what is there already is fine,
 * clients do that when they restore a device.
 */
static int vdpa_config(struct vhl_dev *dev, unsigned int cmd, u8 __user *argp)
{
	size_t size = dev->node->config_size;
	struct vhost_vdpa_config range;
	u8 __user *buf = argp + offsetof(struct vhost_vdpa_config, buf);
	u8 *config, *written;
	int ret;

	if (copy_from_user(&range, argp, offsetof(struct vhost_vdpa_config, buf)))
		return -EFAULT;
	if (!range.len)
		return -EINVAL;
	if (range.off > size || range.len > size - range.off)
		return -E2BIG;

	config = kzalloc(size, GFP_KERNEL);
	if (!config)
		return -ENOMEM;
	ret = dev->node->ops->config(dev, config);
	if (ret)
		goto free_config;
	if (cmd == VHOST_VDPA_GET_CONFIG) {
		if (copy_to_user(buf, config + range.off, range.len))
			ret = -EFAULT;
		goto free_config;
	}
	written = memdup_user(buf, range.len);
	if (IS_ERR(written)) {
		ret = PTR_ERR(written);
		goto free_config;
	}
	if (memcmp(written, config + range.off, range.len))
		ret = -EOPNOTSUPP;
	kfree(written);
free_config:
	kfree(config);
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
		return put_user(vhl_vdpa_status(dev), (u8 __user *)argp);
	case VHOST_VDPA_GET_CONFIG:
		return vdpa_config(dev, cmd, argp);
	case VHOST_VDPA_GET_CONFIG_SIZE:
		return put_user((u32)dev->node->config_size, (u32 __user *)argp);
	case VHOST_VDPA_GET_VQS_COUNT:
		return put_user((u32)vdpa_num_vqs(dev), (u32 __user *)argp);
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
		return vhl_is_owner(dev) ? 0 : vhl_set_owner(dev);
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
		return vdpa_config(dev, cmd, argp);
	case VHOST_VDPA_SUSPEND:
		return vdpa_suspend(dev);
	case VHOST_VDPA_RESUME:
		return vdpa_resume(dev);
	}
	return vhl_vring_ioctl(dev, cmd, argp);
}

long vhl_vdpa_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
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

/* Queues lose their rings with the memory that these are in, and come back with it. */
static void vdpa_stop_rings(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		if (vhl_vq_started(vq) && vhl_ring_touches(vq, first, last))
			vhl_vq_unmap(vq);
	}
}

/*
 * A ring that is not all there yet is no error. Of a queue that does not start although it is, the
 * error eventfd tells, and whoever mapped any of @first to @last; all that comes tries it again.
 */
static int vdpa_restart_rings(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];
		int err;

		if (vq->state != VHL_VQ_UNMAPPED || !vhl_ring_is_mapped(vq))
			continue;
		err = vhl_vq_start(vq);
		if (!err)
			continue;
		if (vq->err)
			vhl_eventfd_signal(vq->err);
		if (vhl_ring_touches(vq, first, last))
			ret = ret ?: err;
	}
	return ret;
}

static void vdpa_unmap(struct vhl_dev *dev, u64 first, u64 last)
{
	vdpa_stop_rings(dev, first, last);
	vhl_umem_unmap(dev, first, last);
}

/* The queues whose rings it completes go on, or nothing is mapped. */
static int vdpa_map(struct vhl_dev *dev, const struct vhost_iotlb_msg *msg)
{
	u64 last = msg->iova + (msg->size - 1);
	int ret;

	ret = vhl_umem_map(dev, msg->iova, msg->size, msg->uaddr, msg->perm);
	if (ret || dev->in_batch)
		return ret;
	ret = vdpa_restart_rings(dev, msg->iova, last);
	if (ret)
		vdpa_unmap(dev, msg->iova, last);
	return ret;
}

/* Until the end of a batch no queue has a turn: it would miss what is only being moved. */
static int vdpa_set_batch(struct vhl_dev *dev, bool on)
{
	unsigned int i;
	int ret;

	vhl_lock_vqs(dev);
	dev->in_batch = on;
	vhl_unlock_vqs(dev);
	if (on)
		return 0;

	ret = vdpa_restart_rings(dev, 0, U64_MAX);
	for (i = 0; i < dev->node->num_vqs; i++)
		if (vhl_vq_started(dev->vqs[i]))
			vhl_vq_kick(dev->vqs[i]);
	return ret;
}

static int vdpa_iotlb_msg(struct vhl_dev *dev, const struct vhost_iotlb_msg *msg)
{
	switch (msg->type) {
	case VHOST_IOTLB_UPDATE:
		return vdpa_map(dev, msg);
	case VHOST_IOTLB_INVALIDATE:
		if (!msg->size || msg->iova + (msg->size - 1) < msg->iova)
			return -EINVAL;
		vdpa_unmap(dev, msg->iova, msg->iova + (msg->size - 1));
		return 0;
	case VHOST_IOTLB_BATCH_BEGIN:
		return vdpa_set_batch(dev, true);
	case VHOST_IOTLB_BATCH_END:
		return vdpa_set_batch(dev, false);
	}
	return -EINVAL;
}

int vhl_vdpa_write(struct vhl_dev *dev, struct iov_iter *from)
{
	struct vhost_msg_v2 msg;

	lockdep_assert_held(&dev->mutex);

	if (iov_iter_count(from) != sizeof(msg))
		return -EINVAL;
	if (!copy_from_iter_full(&msg, sizeof(msg), from))
		return -EFAULT;
	/* version 1 comes also from a client that acknowledged nothing */
	if (msg.type != VHOST_IOTLB_MSG && msg.type != VHOST_IOTLB_MSG_V2)
		return -EINVAL;
	if (!vhl_is_owner(dev))
		return -EPERM;
	return vdpa_iotlb_msg(dev, &msg.iotlb);
}
