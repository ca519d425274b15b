// SPDX-License-Identifier: GPL-2.0
/*
 * The vhost dialect: memory by tables, queues that start one by one when a backend is attached to
 * them.
 */
#include <linux/uaccess.h>
#include <linux/vhost.h>
#include <linux/vhost_lite.h>
#include <linux/virtio_config.h>

#include "internal.h"
#include "../compat/thread.h"
#include "../compat/vhost_uapi.h"

/* Words of feature bits that a client may have room for */
#define VHL_FEATURE_WORDS_MAX	64

/* Offered features in @count words, all those that a client has room for: it may know of more */
static int vhost_get_features(struct vhl_dev *dev, u64 __user *words, u64 count)
{
	u64 features[VHL_FEATURE_WORDS];
	u64 n = min_t(u64, count, VHL_FEATURE_WORDS);
	int ret;

	ret = vhl_get_features(dev, features);
	if (ret)
		return ret;
	if (copy_to_user(words, features, n * sizeof(u64)))
		return -EFAULT;
	return clear_user(words + n, (count - n) * sizeof(u64)) ? -EFAULT : 0;
}

/* The bits of words that are not given are not set */
static int vhost_set_features(struct vhl_dev *dev, const u64 __user *words, u64 count)
{
	u64 features[VHL_FEATURE_WORDS] = { };
	u64 n = min_t(u64, count, VHL_FEATURE_WORDS);
	u64 word;

	if (copy_from_user(features, words, n * sizeof(u64)))
		return -EFAULT;
	for (; n < count; n++) {
		if (copy_from_user(&word, words + n, sizeof(word)))
			return -EFAULT;
		if (word)
			return -EOPNOTSUPP;
	}
	return vhl_set_features(dev, features);
}

/* Features behind their number of words, a struct vhost_features_array */
static int vhost_features_array(struct vhl_dev *dev, unsigned int cmd, u64 __user *array)
{
	u64 count;

	if (copy_from_user(&count, array, sizeof(count)))
		return -EFAULT;
	if (count > VHL_FEATURE_WORDS_MAX)
		return -E2BIG;
	if (cmd == VHOST_GET_FEATURES_ARRAY)
		return vhost_get_features(dev, array + 1, count);
	return vhost_set_features(dev, array + 1, count);
}

static int vhost_get_fork(struct vhl_dev *dev, u8 __user *argp)
{
	return put_user((u8)(dev->fork_from_owner ? VHOST_FORK_OWNER_TASK : VHOST_FORK_OWNER_KTHREAD),
			argp);
}

static int vhost_set_fork(struct vhl_dev *dev, const u8 __user *argp)
{
	u8 fork;

	if (get_user(fork, argp))
		return -EFAULT;
	if (fork != VHOST_FORK_OWNER_TASK && fork != VHOST_FORK_OWNER_KTHREAD)
		return -EINVAL;
	if (fork == VHOST_FORK_OWNER_TASK && !vhl_thread_can_be_owners())
		return -EOPNOTSUPP;
	if (dev->mm)
		return -EBUSY;
	dev->fork_from_owner = fork == VHOST_FORK_OWNER_TASK;
	return 0;
}

static int vhost_new_worker(struct vhl_dev *dev, struct vhost_worker_state __user *argp)
{
	int index = vhl_worker_new(dev);

	if (index < 0)
		return index;
	if (!put_user(index, &argp->worker_id))
		return 0;
	/* nobody knows of it */
	vhl_worker_free(dev, index);
	return -EFAULT;
}

static int vhost_free_worker(struct vhl_dev *dev, const struct vhost_worker_state __user *argp)
{
	u32 index;

	if (get_user(index, &argp->worker_id))
		return -EFAULT;
	return vhl_worker_free(dev, index);
}

static long vhost_log(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	int fd;

	if (!vhl_may_log(dev))
		return -ENOIOCTLCMD;
	if (cmd == VHOST_SET_LOG_BASE)
		return vhl_log_set_base(dev, argp);
	if (get_user(fd, (int __user *)argp))
		return -EFAULT;
	return vhl_set_log_call(dev, fd);
}

/* Of what it has there is more to tell than the VMM knows by itself */
static long vhost_config_call(struct vhl_dev *dev, const int __user *argp)
{
	int fd;

	if (!dev->node->attached)
		return -ENOIOCTLCMD;
	return get_user(fd, argp) ? -EFAULT : vhl_set_config_call(dev, fd);
}

static long vhost_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	const u64 offered = dev->dialect->backend_features;
	u64 features = offered;

	switch (cmd) {
	case VHOST_GET_FEATURES:
		return vhost_get_features(dev, argp, 1);
	case VHOST_SET_FEATURES:
		return vhost_set_features(dev, argp, 1);
	case VHOST_GET_FEATURES_ARRAY:
	case VHOST_SET_FEATURES_ARRAY:
		return vhost_features_array(dev, cmd, argp);
	case VHOST_GET_BACKEND_FEATURES:
		return copy_to_user(argp, &features, sizeof(features)) ? -EFAULT : 0;
	case VHOST_SET_BACKEND_FEATURES:
		if (copy_from_user(&features, argp, sizeof(features)))
			return -EFAULT;
		return vhl_set_backend_features(dev, features, offered);
	case VHOST_GET_FORK_FROM_OWNER:
		return vhost_get_fork(dev, argp);
	case VHOST_SET_FORK_FROM_OWNER:
		return vhost_set_fork(dev, argp);
	case VHOST_VDPA_GET_CONFIG_SIZE:
	case VHOST_VDPA_GET_CONFIG:
		/* elsewhere the VMM knows what it attaches */
		if (!dev->node->attached)
			return -ENOIOCTLCMD;
		return vhl_config_ioctl(dev, cmd, argp);
	case VHOST_SET_OWNER:
		if (vhl_owner_is_dead(dev))
			vhl_dev_reset(dev);
		return vhl_set_owner(dev);
	}

	if (!vhl_is_owner(dev))
		return -EPERM;
	switch (cmd) {
	case VHOST_RESET_OWNER:
		vhl_dev_reset(dev);
		return 0;
	case VHOST_SET_MEM_TABLE:
		return vhl_umem_set_table(dev, argp);
	case VHOST_SET_LOG_BASE:
	case VHOST_SET_LOG_FD:
		return vhost_log(dev, cmd, argp);
	case VHL_SET_BASES:
		return vhl_bases_set(dev, argp);
	case VHOST_VDPA_SET_CONFIG_CALL:
		return vhost_config_call(dev, argp);
	case VHOST_NEW_WORKER:
		return vhost_new_worker(dev, argp);
	case VHOST_FREE_WORKER:
		return vhost_free_worker(dev, argp);
	case VHOST_ATTACH_VRING_WORKER:
	case VHOST_GET_VRING_WORKER:
	case VHOST_SET_VRING_ENDIAN:
	case VHOST_GET_VRING_ENDIAN:
	case VHOST_SET_VRING_BUSYLOOP_TIMEOUT:
	case VHOST_GET_VRING_BUSYLOOP_TIMEOUT:
		return vhl_vring_state(dev, cmd, argp);
	}
	return vhl_vring_ioctl(dev, cmd, argp);
}

const struct vhl_dialect vhl_dialect_vhost = {
	.ioctl		= vhost_ioctl,
	/* SET_BACKEND with -1 is the reset of a queue, which begins as it is set up next */
	.features	= BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) | BIT_ULL(VIRTIO_F_RING_RESET),
	.backend_features = BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2),
	.no_such_queue	= -ENOBUFS,
	.answers_misses	= true,
	.logs		= true,
};
EXPORT_SYMBOL_GPL(vhl_dialect_vhost);
