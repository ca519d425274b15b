// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that read and write the config space.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include "internal.h"

/*
 * What is there already may be written: clients do that when they restore a device. Else the
 * backend decides.
 */
static int write_config(struct vhl_dev *dev, const struct vhost_vdpa_config *range, u8 *config,
			     const u8 __user *buf)
{
	u8 *written = memdup_user(buf, range->len);
	int ret = 0;

	if (IS_ERR(written))
		return PTR_ERR(written);
	if (memcmp(written, config + range->off, range->len)) {
		memcpy(config + range->off, written, range->len);
		ret = -EOPNOTSUPP;
		if (dev->node->ops->set_config)
			ret = dev->node->ops->set_config(dev, config);
	}
	kfree(written);
	return ret;
}

int vhl_config_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	size_t size = dev->node->config_size;
	struct vhost_vdpa_config range;
	u8 __user *buf = (u8 __user *)argp + offsetof(struct vhost_vdpa_config, buf);
	u8 *config;
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (cmd == VHOST_VDPA_GET_CONFIG_SIZE)
		return put_user((u32)size, (u32 __user *)argp);
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
	if (cmd == VHOST_VDPA_SET_CONFIG)
		ret = write_config(dev, &range, config, buf);
	else if (copy_to_user(buf, config + range.off, range.len))
		ret = -EFAULT;
free_config:
	kfree(config);
	return ret;
}
