// SPDX-License-Identifier: GPL-2.0
/*
 * Disks that have a name, and a node below /dev/vhost-lite that any VMM can open: it gets a device
 * with the disk attached, in the dialect that it speaks. What the disk is outlives who has it open.
 *
 * The disk itself (struct vhl_blk_disk) is of who has it open, made anew for each, since what is
 * known of lost writes counts from there. Here is its file.
 */
#include <linux/cdev.h>
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "limit.h"
#include "name.h"
#include "../compat/device.h"

/* name.h says for what */
DEFINE_MUTEX(vhl_blk_names_lock);

/* By the minor number of their node. vhl_blk_names_lock */
static DEFINE_IDR(names);

static dev_t first_devt;
static struct cdev names_cdev;
static struct file_operations names_fops;
static const struct vhl_node *names_like;

static struct vhl_blk_name *to_name(const struct device *device)
{
	return container_of(device, struct vhl_blk_name, device);
}

/* Of a device that opening a named disk gives */
static struct vhl_blk_name *name_of_dev(const struct vhl_dev *dev)
{
	return container_of(dev->node, struct vhl_blk_name, node);
}

/*
 * References
 */

static struct vhl_blk_name *name_numbered(unsigned int number)
{
	struct vhl_blk_name *name;

	mutex_lock(&vhl_blk_names_lock);
	name = idr_find(&names, number);
	if (name)
		get_device(&name->device);
	mutex_unlock(&vhl_blk_names_lock);
	return name;
}

static struct vhl_blk_name *name_called(const char *wanted)
{
	struct vhl_blk_name *name;
	int number;

	lockdep_assert_held(&vhl_blk_names_lock);

	idr_for_each_entry(&names, name, number)
		if (!strcmp(vhl_blk_name_of(name), wanted))
			break;
	return name;
}

struct vhl_blk_name *vhl_blk_name_find(const char *wanted)
{
	struct vhl_blk_name *name;

	mutex_lock(&vhl_blk_names_lock);
	name = name_called(wanted);
	if (name)
		get_device(&name->device);
	mutex_unlock(&vhl_blk_names_lock);
	return name;
}

struct vhl_blk_name *vhl_blk_name_next(unsigned int *number)
{
	struct vhl_blk_name *name = NULL;
	int next = *number;

	mutex_lock(&vhl_blk_names_lock);
	if (next >= 0)
		name = idr_get_next(&names, &next);
	if (name) {
		get_device(&name->device);
		*number = next;
	}
	mutex_unlock(&vhl_blk_names_lock);
	return name;
}

void vhl_blk_name_put(struct vhl_blk_name *name)
{
	put_device(&name->device);
}

static void name_free(struct device *device)
{
	struct vhl_blk_name *name = to_name(device);

	vhl_blk_limit_free(name->limit);
	kfree(name);
}

/* @file: with a reference, or NULL */
static void name_set_file(struct vhl_blk_name *name, struct file *file)
{
	struct file *old = name->file;

	lockdep_assert_held(&name->lock);

	mutex_lock(&vhl_blk_names_lock);
	name->file = file;
	mutex_unlock(&vhl_blk_names_lock);
	if (old)
		fput(old);
}

/*
 * Open and release
 */

void vhl_blk_name_about(const struct vhl_blk_dev *blk)
{
	struct vhl_blk_name *name = name_of_dev(&blk->dev);
	const struct vhl_blk_disk *disk = blk->disk;

	mutex_lock(&vhl_blk_names_lock);
	name->about = (struct vhl_blk_about){
		.size		= disk->capacity,
		.block_size	= disk->block_size,
		.read_only	= disk->read_only,
		.direct		= disk->direct,
	};
	mutex_unlock(&vhl_blk_names_lock);
}

/* A device with the disk attached, as of @file. Return: it or an ERR_PTR */
static struct vhl_blk_dev *name_make_dev(struct vhl_blk_name *name, struct file *file)
{
	struct vhl_dev *dev = vhl_dev_new(&name->node);
	struct vhl_blk_disk *disk;
	struct vhl_blk_dev *blk;

	if (!dev)
		return ERR_PTR(-ENOMEM);
	blk = to_blk_dev(dev);
	mutex_lock(&dev->mutex);
	blk->opts = name->opts;
	/* with what was used up before */
	blk->limit = name->limit;
	blk->untold = name->untold;
	disk = vhl_blk_disk_open(blk, file);
	if (!IS_ERR(disk))
		blk->disk = disk;
	mutex_unlock(&dev->mutex);
	if (IS_ERR(disk)) {
		vhl_dev_close(dev);
		return ERR_CAST(disk);
	}
	vhl_blk_name_about(blk);
	return blk;
}

/* What is to be known of a file, where nobody has the disk open */
static int name_try(struct vhl_blk_name *name, struct file *file)
{
	struct vhl_blk_dev *blk = name_make_dev(name, file);

	if (IS_ERR(blk))
		return PTR_ERR(blk);
	vhl_dev_close(&blk->dev);
	return 0;
}

static int name_open_device(struct vhl_blk_name *name, struct file *file)
{
	struct vhl_blk_dev *blk;

	lockdep_assert_held(&name->lock);

	if (name->gone)
		return -ENODEV;
	if (name->blk) {
		pr_notice_ratelimited("%s: process %d has it open\n", name->title,
				      pid_vnr(name->opener));
		return -EBUSY;
	}
	blk = name_make_dev(name, name->file);
	if (IS_ERR(blk))
		return PTR_ERR(blk);
	file->private_data = &blk->dev;
	mutex_lock(&vhl_blk_names_lock);
	name->blk = blk;
	name->opener = get_task_pid(current, PIDTYPE_TGID);
	mutex_unlock(&vhl_blk_names_lock);
	return 0;
}

static int name_open(struct inode *inode, struct file *file)
{
	struct vhl_blk_name *name;
	int ret = -EINTR;

	/* what may be done to the disk is a matter of its file, not of how the node is opened */
	if (!(file->f_mode & FMODE_WRITE))
		return -EACCES;
	name = name_numbered(iminor(inode));
	if (!name)
		return -ENODEV;
	/* who had it open may still wait for its disk */
	if (!mutex_lock_killable(&name->lock)) {
		ret = name_open_device(name, file);
		mutex_unlock(&name->lock);
	}
	if (ret)
		vhl_blk_name_put(name);
	return ret;
}

/* Nothing will be counted any more, and soon there will be no device */
void vhl_blk_name_closed(struct vhl_blk_dev *blk)
{
	struct vhl_blk_name *name = name_of_dev(&blk->dev);

	mutex_lock(&vhl_blk_names_lock);
	/* or it was tried only */
	if (name->blk == blk) {
		vhl_dev_stats(&blk->dev, &name->before);
		name->untold = blk->untold;
		name->blk = NULL;
		put_pid(name->opener);
		name->opener = NULL;
	}
	mutex_unlock(&vhl_blk_names_lock);
}

/* The next one may open it when this one's requests are done. */
static int name_release(struct inode *inode, struct file *file)
{
	struct vhl_dev *dev = file->private_data;
	struct vhl_blk_name *name = name_of_dev(dev);

	mutex_lock(&name->lock);
	vhl_dev_close(dev);
	mutex_unlock(&name->lock);
	vhl_blk_name_put(name);
	return 0;
}

/*
 * Nodes
 */

static char *name_devnode(vhl_devnode_device *device, umode_t *mode, kuid_t *uid, kgid_t *gid)
{
	const struct vhl_blk_name *name = to_name(device);

	/* asked for all of it by who makes the node, for some by who tells of it */
	if (mode)
		*mode = name->mode;
	if (uid)
		*uid = name->uid;
	if (gid)
		*gid = name->gid;
	return kstrdup(name->title, GFP_KERNEL);
}

static const struct device_type name_type = {
	.name		= "vhost_lite_disk",
	.devnode	= name_devnode,
	.release	= name_free,
};

static struct class names_class = {
	.name = "vhost-lite",
};

static bool name_is_good(const u8 *name)
{
	size_t len = strnlen(name, VHL_DISK_NAME_BYTES), i;

	if (len == VHL_DISK_NAME_BYTES || !isalnum(name[0]) || !strcmp(name, "control"))
		return false;
	for (i = 0; i < len; i++)
		if (!isascii(name[i]) || !(isalnum(name[i]) || strchr("._-", name[i])))
			return false;
	return true;
}

static int name_init(struct vhl_blk_name *name, const struct vhl_disk_create *like)
{
	int ret = vhl_blk_check_opts(&like->opts);

	if (ret)
		return ret;
	if (!name_is_good(like->name) || like->mode & ~0777)
		return -EINVAL;
	name->uid = make_kuid(current_user_ns(), like->uid);
	name->gid = make_kgid(current_user_ns(), like->gid);
	name->mode = like->mode;
	name->opts = like->opts;
	mutex_init(&name->lock);
	snprintf(name->title, sizeof(name->title), "vhost-lite/%s", like->name);
	name->node = *names_like;
	name->node.name = name->title;
	if (!uid_valid(name->uid) || !gid_valid(name->gid))
		return -EINVAL;
	return dev_set_name(&name->device, "%s", like->name);
}

/* Give it a number, which is when others may find it */
static int name_number(struct vhl_blk_name *name)
{
	int number = -EEXIST;

	mutex_lock(&vhl_blk_names_lock);
	if (!name_called(vhl_blk_name_of(name)))
		number = idr_alloc(&names, name, 0, VHL_DISKS_MAX, GFP_KERNEL);
	if (number >= 0)
		name->device.devt = MKDEV(MAJOR(first_devt), number);
	mutex_unlock(&vhl_blk_names_lock);
	return number < 0 ? number : 0;
}

static void name_forget(struct vhl_blk_name *name)
{
	mutex_lock(&vhl_blk_names_lock);
	idr_remove(&names, MINOR(name->device.devt));
	mutex_unlock(&vhl_blk_names_lock);
}

int vhl_blk_name_create(const struct vhl_disk_create *like, struct file *file)
{
	struct vhl_blk_name *name = kzalloc(sizeof(*name), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!name)
		return -ENOMEM;
	device_initialize(&name->device);
	name->device.class = &names_class;
	name->device.type = &name_type;
	ret = name_init(name, like);
	if (ret)
		goto put_name;
	ret = name_try(name, file);
	if (ret)
		goto put_name;
	/* whoever finds it waits until it has a node */
	mutex_lock(&name->lock);
	ret = name_number(name);
	if (ret)
		goto unlock_name;
	ret = device_add(&name->device);
	if (ret) {
		name->gone = true;
		name_forget(name);
		goto unlock_name;
	}
	name_set_file(name, get_file(file));
	/* a disk is no less in use for being closed */
	__module_get(THIS_MODULE);
	mutex_unlock(&name->lock);
	return 0;

unlock_name:
	mutex_unlock(&name->lock);
put_name:
	vhl_blk_name_put(name);
	return ret;
}

/*
 * What the control node is asked for
 */

int vhl_blk_name_destroy(struct vhl_blk_name *name, bool force)
{
	struct vhl_blk_disk *nothing;
	struct vhl_dev *dev;
	int ret = 0;

	lockdep_assert_held(&name->lock);

	if (name->blk && !force)
		return -EBUSY;
	if (name->blk) {
		dev = &name->blk->dev;
		if (mutex_lock_killable(&dev->mutex))
			return -EINTR;
		nothing = vhl_blk_disk_gone(name->blk);
		ret = PTR_ERR_OR_ZERO(nothing);
		if (!ret) {
			ret = vhl_blk_swap(name->blk, nothing);
			if (ret)
				vhl_blk_disk_put(nothing);
		}
		mutex_unlock(&dev->mutex);
		if (ret)
			return ret;
	}
	/* who finds it waits, and is told then; the name is free when all is gone */
	name->gone = true;
	name_set_file(name, NULL);
	device_del(&name->device);
	name_forget(name);
	vhl_blk_name_put(name);
	module_put(THIS_MODULE);
	return 0;
}

int vhl_blk_name_resize(struct vhl_blk_name *name)
{
	struct vhl_dev *dev;
	int ret;

	lockdep_assert_held(&name->lock);

	if (!name->blk)
		return name_try(name, name->file);
	dev = &name->blk->dev;
	if (mutex_lock_killable(&dev->mutex))
		return -EINTR;
	ret = vhl_blk_resize(name->blk);
	mutex_unlock(&dev->mutex);
	return ret;
}

/* Whether a driver can go on with it, which was told of another one */
static int name_check_swap(struct vhl_blk_name *name, const struct vhl_blk_disk *disk)
{
	const struct vhl_blk_disk *old = name->blk->disk;
	u64 missing;

	if (disk->read_only != old->read_only) {
		pr_notice_ratelimited("%s: cannot swap: it is %s, the file is not\n", name->title,
				      old->read_only ? "read-only" : "writable");
		return -EINVAL;
	}
	missing = vhl_blk_misses(name->blk, disk);
	if (!missing)
		return 0;
	pr_notice_ratelimited("%s: cannot swap: its driver uses features that the file has not (%#llx)\n",
			      name->title, missing);
	return -EINVAL;
}

static int name_swap_open(struct vhl_blk_name *name, struct file *file)
{
	struct vhl_blk_disk *disk = vhl_blk_disk_open(name->blk, file);
	bool changed;
	int ret;

	if (IS_ERR(disk))
		return PTR_ERR(disk);
	changed = vhl_blk_differs(name->blk, disk);
	ret = name_check_swap(name, disk);
	if (!ret)
		ret = vhl_blk_swap(name->blk, disk);
	if (ret) {
		vhl_blk_disk_put(disk);
		return ret;
	}
	vhl_blk_name_about(name->blk);
	if (changed)
		vhl_config_changed(&name->blk->dev);
	return 0;
}

int vhl_blk_name_swap(struct vhl_blk_name *name, struct file *file)
{
	struct vhl_dev *dev;
	int ret;

	lockdep_assert_held(&name->lock);

	if (!name->blk) {
		ret = name_try(name, file);
	} else {
		dev = &name->blk->dev;
		if (mutex_lock_killable(&dev->mutex))
			return -EINTR;
		ret = name_swap_open(name, file);
		mutex_unlock(&dev->mutex);
	}
	if (!ret)
		name_set_file(name, get_file(file));
	return ret;
}

int vhl_blk_name_limit(struct vhl_blk_name *name, const struct vhl_blk_limits *limits)
{
	struct vhl_blk_limit *limit = name->limit;
	int ret;

	lockdep_assert_held(&name->lock);

	if (!limit)
		limit = vhl_blk_limit_new();
	if (!limit)
		return -ENOMEM;
	ret = vhl_blk_limit_set(limit, limits);
	if (name->limit)
		return ret;
	if (ret) {
		vhl_blk_limit_free(limit);
		return ret;
	}
	name->limit = limit;
	if (name->blk)
		vhl_blk_lend_limit(name->blk, limit);
	return 0;
}

/*
 * The module
 */

int vhl_blk_names_init(const struct vhl_node *node)
{
	int ret;

	names_like = node;
	names_fops = node->fops;
	names_fops.open = name_open;
	names_fops.release = name_release;
	ret = class_register(&names_class);
	if (ret)
		return ret;
	ret = alloc_chrdev_region(&first_devt, 0, VHL_DISKS_MAX, "vhost-lite");
	if (ret)
		goto unregister_class;
	cdev_init(&names_cdev, &names_fops);
	names_cdev.owner = THIS_MODULE;
	ret = cdev_add(&names_cdev, first_devt, VHL_DISKS_MAX);
	if (ret)
		goto unregister_region;
	return 0;

unregister_region:
	unregister_chrdev_region(first_devt, VHL_DISKS_MAX);
unregister_class:
	class_unregister(&names_class);
	return ret;
}

/* There are none any more: each keeps the module */
void vhl_blk_names_exit(void)
{
	cdev_del(&names_cdev);
	unregister_chrdev_region(first_devt, VHL_DISKS_MAX);
	class_unregister(&names_class);
	idr_destroy(&names);
}
