// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/vhost-lite/control: makes disks that have a name, and tells of them (uapi header).
 */
#include <linux/compat.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "limit.h"
#include "name.h"

/* A file of the caller's, to be read at least */
static struct file *control_file(int fd)
{
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_mode & FMODE_READ)
		return file;
	fput(file);
	return ERR_PTR(-EBADF);
}

static int control_create(const struct vhl_disk_create __user *argp)
{
	struct vhl_disk_create *like = memdup_user(argp, sizeof(*like));
	struct file *file;
	int ret = -EINVAL;

	if (IS_ERR(like))
		return PTR_ERR(like);
	if (memchr_inv(like->reserved, 0, sizeof(like->reserved)))
		goto free_like;
	file = control_file(like->fd);
	ret = PTR_ERR_OR_ZERO(file);
	if (ret)
		goto free_like;
	ret = vhl_blk_name_create(like, file);
	fput(file);
free_like:
	kfree(like);
	return ret;
}

static int control_swap(struct vhl_blk_name *name, int fd)
{
	struct file *file = control_file(fd);
	int ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = vhl_blk_name_swap(name, file);
	fput(file);
	return ret;
}

/* Return: the disk of that name with its lock held, and a reference, or an ERR_PTR */
static struct vhl_blk_name *control_lock(const u8 *wanted)
{
	struct vhl_blk_name *name;
	int ret = -EINTR;

	if (strnlen(wanted, VHL_DISK_NAME_BYTES) == VHL_DISK_NAME_BYTES)
		return ERR_PTR(-EINVAL);
	name = vhl_blk_name_find(wanted);
	if (!name)
		return ERR_PTR(-ENOENT);
	if (mutex_lock_killable(&name->lock))
		goto put_name;
	if (!name->gone)
		return name;
	ret = -ENOENT;
	mutex_unlock(&name->lock);
put_name:
	vhl_blk_name_put(name);
	return ERR_PTR(ret);
}

static void control_unlock(struct vhl_blk_name *name)
{
	mutex_unlock(&name->lock);
	vhl_blk_name_put(name);
}

static int control_do(struct vhl_blk_name *name, unsigned int cmd, const struct vhl_disk_name *arg)
{
	lockdep_assert_held(&name->lock);

	switch (cmd) {
	case VHL_DISK_DESTROY:
		return vhl_blk_name_destroy(name, arg->flags & VHL_DISK_FORCE);
	case VHL_DISK_RESIZE:
		return vhl_blk_name_resize(name);
	default:
		return control_swap(name, arg->fd);
	}
}

/* Requests about one disk */
static int control_disk(unsigned int cmd, const void __user *argp)
{
	struct vhl_blk_name *name;
	struct vhl_disk_name arg;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if ((cmd != VHL_DISK_SWAP && arg.fd) ||
	    arg.flags & ~(cmd == VHL_DISK_DESTROY ? VHL_DISK_FORCE : 0) ||
	    memchr_inv(arg.reserved, 0, sizeof(arg.reserved)))
		return -EINVAL;
	name = control_lock(arg.name);
	if (IS_ERR(name))
		return PTR_ERR(name);
	ret = control_do(name, cmd, &arg);
	control_unlock(name);
	return ret;
}

static int control_limits(unsigned int cmd, struct vhl_disk_limits __user *argp)
{
	struct vhl_blk_name *name;
	struct vhl_disk_limits arg;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	name = control_lock(arg.name);
	if (IS_ERR(name))
		return PTR_ERR(name);
	ret = 0;
	if (cmd == VHL_DISK_SET_LIMITS)
		ret = vhl_blk_name_limit(name, &arg.limits);
	else
		vhl_blk_limit_get(name->limit, &arg.limits);
	control_unlock(name);
	if (!ret && cmd == VHL_DISK_GET_LIMITS && copy_to_user(argp, &arg, sizeof(arg)))
		ret = -EFAULT;
	return ret;
}

/* Return: the disk's file with a reference, NULL where it is gone */
static struct file *control_look(struct vhl_blk_name *name, struct vhl_disk_info *info)
{
	struct vhl_stats sum;
	struct file *file;

	mutex_lock(&vhl_blk_names_lock);
	sum = name->before;
	if (name->blk)
		vhl_dev_stats(&name->blk->dev, &sum);
	info->holder = name->opener ? pid_vnr(name->opener) : 0;
	info->flags = (name->about.read_only ? VHL_DISK_READ_ONLY : 0) |
		      (name->about.direct ? VHL_DISK_DIRECT : 0);
	info->block_size = name->about.block_size;
	info->size = name->about.size;
	file = name->file ? get_file(name->file) : NULL;
	mutex_unlock(&vhl_blk_names_lock);

	strscpy(info->name, vhl_blk_name_of(name), sizeof(info->name));
	info->queues = name->opts.num_queues ?: 1;
	info->kicks = sum.kicks;
	info->wakes = sum.wakes;
	info->polls = sum.polls;
	info->reqs = sum.reqs;
	info->in = sum.in;
	info->out = sum.out;
	info->batches = sum.batches;
	info->calls = sum.calls;
	info->errors = sum.errors;
	info->breaks = sum.breaks;
	return file;
}

static int control_put_path(struct file *file, struct vhl_disk_info *info)
{
	char *buf = kmalloc(PATH_MAX, GFP_KERNEL), *path;
	u32 room = info->path_len;
	int ret = 0;

	if (!buf)
		return -ENOMEM;
	path = file_path(file, buf, PATH_MAX);
	if (IS_ERR(path)) {
		strscpy(buf, "?", PATH_MAX);
		path = buf;
	}
	info->path_len = strlen(path) + 1;
	if (room && room < info->path_len)
		path[room - 1] = '\0';
	if (copy_to_user(u64_to_user_ptr(info->path), path, min(room, info->path_len)))
		ret = -EFAULT;
	kfree(buf);
	return ret;
}

static int control_get(struct vhl_disk_info __user *argp)
{
	struct vhl_disk_info info = { }, asked;
	struct vhl_blk_name *name;
	struct file *file;
	int ret;

	if (copy_from_user(&asked, argp, sizeof(asked)))
		return -EFAULT;
	info.number = asked.number;
	info.path = asked.path;
	info.path_len = asked.path_len;
	/* one that is being made, or taken away, has no file */
	for (;; info.number++) {
		name = vhl_blk_name_next(&info.number);
		if (!name)
			return -ENOENT;
		file = control_look(name, &info);
		vhl_blk_name_put(name);
		if (file)
			break;
	}
	ret = control_put_path(file, &info);
	fput(file);
	if (!ret && copy_to_user(argp, &info, sizeof(info)))
		ret = -EFAULT;
	return ret;
}

static long control_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case VHL_DISK_CREATE:
		return control_create(argp);
	case VHL_DISK_DESTROY:
	case VHL_DISK_RESIZE:
	case VHL_DISK_SWAP:
		return control_disk(cmd, argp);
	case VHL_DISK_SET_LIMITS:
	case VHL_DISK_GET_LIMITS:
		return control_limits(cmd, argp);
	case VHL_DISK_GET:
		return control_get(argp);
	}
	return -ENOTTY;
}

static const struct file_operations control_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= control_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static struct miscdevice control_misc = {
	.minor		= MISC_DYNAMIC_MINOR,
	.name		= "vhost-lite-control",
	.nodename	= "vhost-lite/control",
	.fops		= &control_fops,
	.mode		= 0600,
};

int vhl_blk_control_init(void)
{
	return misc_register(&control_misc);
}

void vhl_blk_control_exit(void)
{
	misc_deregister(&control_misc);
}
