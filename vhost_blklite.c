// SPDX-License-Identifier: GPL-2.0
/*
 * vhost_blklite: the host side of virtio-blk over a file or a block device.
 *
 * One backend behind two nodes, one for each dialect.
 */
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/stddef.h>
#include <linux/uaccess.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "blk/blk.h"
#include "blk/name.h"

/* The config space ends in front of the fields of zones, whatever the headers have */
#define VHL_BLK_CONFIG_SIZE						\
	offsetofend(struct virtio_blk_config, secure_erase_sector_alignment)

static_assert(VHL_BLK_CONFIG_SIZE == 72);

/* Feature bits that are the device type's own (virtio 1.2, section 2.2) */
#define VHL_BLK_FEATURES	GENMASK_ULL(23, 0)

/*
 * Budget of a turn: requests that are submitted together and whose completions may wait for each
 * other. The end of a turn costs next to nothing compared to that many requests.
 */
#define VHL_BLK_BUDGET		32

/* In bytes: no longer than it takes to copy so much, if it is a matter of copying */
#define VHL_BLK_BUDGET_BYTES	SZ_1M

static unsigned int max_workers = VHL_BLK_MAX_QUEUES;

static int set_max_workers(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 1, VHL_BLK_MAX_QUEUES);
}

static const struct kernel_param_ops max_workers_ops = {
	.set	= set_max_workers,
	.get	= param_get_uint,
};

module_param_cb(max_workers, &max_workers_ops, &max_workers, 0644);
MODULE_PARM_DESC(max_workers, "Threads of a disk at most, for queues that one cannot serve alone (default: one per queue)");

/* The disk that a queue uses, other than @except; all queues of a device use the same one. */
static struct vhl_blk_disk *vhl_blk_running_disk(struct vhl_blk_dev *blk,
						 const struct vhl_vq *except)
{
	unsigned int i;

	for (i = 0; i < blk->dev.node->num_vqs; i++) {
		struct vhl_vq *vq = blk->dev.vqs[i];

		/* one that waits for its ring has none yet, but is going to */
		if (vq != except && vhl_vq_in_use(vq))
			return to_blk_vq(vq)->disk ?: to_blk_vq(vq)->attached;
	}
	return NULL;
}

/* The disk to speak of: in use, else attached. */
static struct vhl_blk_disk *vhl_blk_current(struct vhl_blk_dev *blk)
{
	struct vhl_blk_disk *disk = vhl_blk_running_disk(blk, NULL);
	unsigned int i;

	lockdep_assert_held(&blk->dev.mutex);

	for (i = 0; !disk && i < blk->dev.node->num_vqs; i++)
		disk = to_blk_vq(blk->dev.vqs[i])->attached;
	return disk ?: blk->disk;
}

static unsigned int vhl_blk_num_vqs(struct vhl_dev *dev)
{
	unsigned int n = to_blk_dev(dev)->opts.num_queues;

	if (n)
		return n;
	/* where it is the VMM that tells the driver, it may use them all */
	return vhl_attaches_devices(dev) || dev->node->attached ? 1 : VHL_BLK_MAX_QUEUES;
}

/* What the driver is told: by the device, by the disk, if there is one yet, by types of requests */
static void vhl_blk_make_offer(struct vhl_dev *dev, const struct vhl_blk_disk *disk,
			       struct vhl_blk_offer *offer)
{
	unsigned int num_vqs = vhl_blk_num_vqs(dev);

	memset(offer, 0, sizeof(*offer));
	if (num_vqs > 1)
		offer->features |= BIT_ULL(VIRTIO_BLK_F_MQ);
	offer->config.num_queues = cpu_to_vhl16(num_vqs);
	/* elsewhere the config space is the VMM's */
	if (vhl_attaches_devices(dev))
		vhl_blk_cache_offer(to_blk_dev(dev), offer);
	vhl_blk_disk_offer(disk, offer);
	vhl_blk_types_offer(disk, offer);
}

static int vhl_blk_features(struct vhl_dev *dev, u64 *features)
{
	struct vhl_blk_disk *disk = vhl_blk_current(to_blk_dev(dev));
	struct vhl_blk_offer offer;

	if (!disk && vhl_attaches_devices(dev))
		return -ENXIO;
	vhl_blk_make_offer(dev, disk, &offer);
	*features |= offer.features;
	return 0;
}

static int vhl_blk_config(struct vhl_dev *dev, void *config)
{
	struct vhl_blk_disk *disk = vhl_blk_current(to_blk_dev(dev));
	struct vhl_blk_offer offer;

	if (!disk)
		return -ENXIO;
	vhl_blk_make_offer(dev, disk, &offer);
	memcpy(config, &offer.config, VHL_BLK_CONFIG_SIZE);
	return 0;
}

/* All but the mode of the cache is ours alone (virtio 1.2, section 5.2.4). */
static int vhl_blk_set_config(struct vhl_dev *dev, const void *config)
{
	struct virtio_blk_config now = { }, written = { };
	int ret;

	ret = vhl_blk_config(dev, &now);
	if (ret)
		return ret;
	memcpy(&written, config, VHL_BLK_CONFIG_SIZE);
	if (vhl_has_feature(dev, VIRTIO_BLK_F_CONFIG_WCE))
		now.wce = written.wce;
	if (memcmp(&now, &written, VHL_BLK_CONFIG_SIZE))
		return -EOPNOTSUPP;
	return vhl_blk_cache_set(to_blk_dev(dev), written.wce);
}

static void vhl_blk_reset(struct vhl_dev *dev)
{
	vhl_blk_cache_reset(to_blk_dev(dev));
}

static void *vhl_blk_prepare(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file)
{
	struct vhl_blk_dev *blk = to_blk_dev(dev);
	struct vhl_blk_disk *disk;

	lockdep_assert_held(&dev->mutex);

	/* that of a named disk, whatever file stands for it */
	if (dev->node->attached) {
		if (file && vhl_blk_disk_inode(file) != blk->disk->inode)
			return ERR_PTR(-EBUSY);
		blk->disk->refs++;
		return blk->disk;
	}
	/* O_PATH has no mode at all */
	if (!(file->f_mode & FMODE_READ))
		return ERR_PTR(-EBADF);
	disk = vhl_blk_running_disk(blk, NULL);
	if (disk && disk->inode == vhl_blk_disk_inode(file)) {
		/* opened once more, perhaps; how it was first opened counts, and what was lost */
		disk->refs++;
		return disk;
	}
	if (vhl_blk_running_disk(blk, vq))
		return ERR_PTR(-EBUSY);
	return vhl_blk_disk_open(blk, file);
}

static void *vhl_blk_attach(struct vhl_vq *vq, void *backing)
{
	struct vhl_blk_vq *q = to_blk_vq(vq);
	struct vhl_blk_disk *old = q->attached;

	lockdep_assert_held(&vq->dev->mutex);

	q->attached = backing;
	if (vhl_vq_started(vq))
		q->disk = q->attached;
	return old;
}

static void *vhl_blk_attach_dev(struct vhl_dev *dev, void *backing)
{
	struct vhl_blk_dev *blk = to_blk_dev(dev);
	struct vhl_blk_disk *old = blk->disk;

	lockdep_assert_held(&dev->mutex);

	blk->disk = backing;
	return old;
}

static int vhl_blk_start(struct vhl_vq *vq)
{
	struct vhl_blk_vq *q = to_blk_vq(vq);

	q->disk = q->attached ?: to_blk_dev(vq->dev)->disk;
	if (!q->disk)
		return -ENXIO;
	WRITE_ONCE(q->write_flags, vhl_blk_cache_flags(to_blk_dev(vq->dev)));
	vhl_blk_waiter_start(&q->waiter, vq);
	return vhl_blk_slots_init(q);
}

static void vhl_blk_stop(struct vhl_vq *vq)
{
	struct vhl_blk_vq *q = to_blk_vq(vq);

	vhl_blk_waiter_stop(&q->waiter);
	vhl_blk_slots_free(q);
	q->disk = NULL;
}

static bool vhl_blk_lane_is_full(const struct vhl_blk_vq *q)
{
	return atomic_read(&q->on_lane) >= VHL_BLK_LANE_FULL;
}

/* For a queue that found the lane full */
static bool vhl_blk_pending(struct vhl_vq *vq)
{
	return !vhl_blk_lane_is_full(to_blk_vq(vq));
}

/* Compiled twice: without limits there is nothing of them in it */
static __always_inline enum vhl_run vhl_blk_turn(struct vhl_blk_vq *q, struct vhl_blk_limit *limit)
{
	enum vhl_run run = VHL_RUN_MORE;
	struct vhl_vq *vq = &q->vq;
	struct vhl_chain chain;
	struct blk_plug plug;
	bool starved = false;
	unsigned int n;
	u64 bytes = 0;
	u32 mark;
	int ret;

	vhl_vq_hold(vq);
	blk_start_plug(&plug);
	for (n = 0; n < VHL_BLK_BUDGET && bytes < VHL_BLK_BUDGET_BYTES; n++) {
		if (unlikely(vhl_blk_lane_is_full(q))) {
			run = VHL_RUN_BACKEND;
			break;
		}
		mark = vhl_vq_mark(vq);
		ret = vhl_vq_take(vq, &chain);
		if (ret <= 0) {
			if (!ret)
				run = VHL_RUN_RING;
			break;
		}
		ret = limit ? vhl_blk_handle_limited(q, &chain, limit) :
			      vhl_blk_handle(q, &chain);
		if (limit && ret == -EBUSY) {
			vhl_vq_rewind(vq, mark);
			run = VHL_RUN_LATER;
			break;
		}
		if (unlikely(ret)) {
			starved = ret == -ENOMEM;
			if (starved)
				vhl_vq_rewind(vq, mark);
			else
				vhl_vq_reject(vq, mark, ret);
			break;
		}
		bytes += (u64)chain.out_len + chain.in_len;
	}
	if (unlikely(q->disk->plug_sleeps))
		vhl_vq_flush(vq);
	blk_finish_plug(&plug);
	vhl_vq_flush(vq);
	/* no wake-up when memory is freed: back off, then the queue is run again */
	if (unlikely(starved))
		usleep_range(1000, 2000);
	return run;
}

static noinline enum vhl_run vhl_blk_run_limited(struct vhl_blk_vq *q, struct vhl_blk_limit *limit)
{
	/* the driver kicks all the same, perhaps: nothing is taken only to be given back */
	if (vhl_blk_limit_waits(limit, &q->waiter))
		return VHL_RUN_LATER;
	return vhl_blk_turn(q, limit);
}

static enum vhl_run vhl_blk_run(struct vhl_vq *vq)
{
	struct vhl_blk_limit *limit = vhl_blk_dev_limit(vq->dev);

	if (unlikely(limit))
		return vhl_blk_run_limited(to_blk_vq(vq), limit);
	return vhl_blk_turn(to_blk_vq(vq), NULL);
}

u64 vhl_blk_misses(struct vhl_blk_dev *blk, const struct vhl_blk_disk *disk)
{
	u64 told = blk->dev.features[0];
	struct vhl_blk_offer offer;

	lockdep_assert_held(&blk->dev.mutex);

	/* not negotiated, but a VMM may have asked */
	if (!told) {
		vhl_blk_make_offer(&blk->dev, blk->disk, &offer);
		told = offer.features;
	}
	vhl_blk_make_offer(&blk->dev, disk, &offer);
	return told & VHL_BLK_FEATURES & ~offer.features;
}

bool vhl_blk_differs(struct vhl_blk_dev *blk, const struct vhl_blk_disk *disk)
{
	struct vhl_blk_offer now, then;

	lockdep_assert_held(&blk->dev.mutex);

	vhl_blk_make_offer(&blk->dev, blk->disk, &now);
	vhl_blk_make_offer(&blk->dev, disk, &then);
	return memcmp(&now.config, &then.config, sizeof(now.config));
}

int vhl_blk_swap(struct vhl_blk_dev *blk, struct vhl_blk_disk *disk)
{
	struct vhl_blk_disk *old = blk->disk;
	unsigned int i;
	int ret;

	lockdep_assert_held(&blk->dev.mutex);

	vhl_dev_pause(&blk->dev);
	ret = old->read_only ? 0 : vfs_fsync(old->file, 1);
	if (vhl_blk_lane_interrupted(ret) || fatal_signal_pending(current)) {
		vhl_dev_resume(&blk->dev);
		return -EINTR;
	}
	/* what the driver may count on is lost: its flushes fail until the disk is opened anew */
	if (ret || !vhl_blk_flush_is_stable(old))
		disk->flush_error = -EIO;
	for (i = 0; i < blk->dev.node->num_vqs; i++) {
		struct vhl_blk_vq *q = to_blk_vq(blk->dev.vqs[i]);

		if (q->attached) {
			q->attached = disk;
			disk->refs++;
			vhl_blk_disk_put(old);
		}
		if (q->disk)
			q->disk = disk;
	}
	blk->disk = disk;
	vhl_dev_resume(&blk->dev);
	vhl_blk_disk_put(old);
	return 0;
}

int vhl_blk_resize(struct vhl_blk_dev *blk)
{
	struct vhl_blk_disk *disk = vhl_blk_current(blk);
	bool changed = false;
	int ret;

	if (!disk)
		return -ENXIO;
	ret = vhl_blk_disk_resize(disk, &changed);
	if (!ret && blk->disk && blk->disk != disk)
		ret = vhl_blk_disk_resize(blk->disk, &changed);
	if (blk->dev.node->attached)
		vhl_blk_name_about(blk);
	if (changed)
		vhl_config_changed(&blk->dev);
	return ret;
}

int vhl_blk_check_opts(const struct vhl_blk_opts *opts)
{
	if (opts->num_queues > VHL_BLK_MAX_QUEUES)
		return -EINVAL;
	if (opts->block_size && (opts->block_size < 512 || opts->block_size > 4096 ||
				 !is_power_of_2(opts->block_size)))
		return -EINVAL;
	if (opts->flags & ~VHL_BLK_OPT_KEEP ||
	    memchr_inv(opts->reserved, 0, sizeof(opts->reserved)))
		return -EINVAL;
	return 0;
}

static int vhl_blk_set_opts(struct vhl_blk_dev *blk, const void __user *argp)
{
	struct vhl_blk_opts opts;
	int ret;

	if (blk->dev.mm && !vhl_is_owner(&blk->dev))
		return -EPERM;
	if (copy_from_user(&opts, argp, sizeof(opts)))
		return -EFAULT;
	if (vhl_blk_current(blk))
		return -EBUSY;
	ret = vhl_blk_check_opts(&opts);
	if (!ret)
		blk->opts = opts;
	return ret;
}

void vhl_blk_lend_limit(struct vhl_blk_dev *blk, struct vhl_blk_limit *limit)
{
	/* what is in there before the pointer; READ_ONCE() has the other half */
	smp_store_release(&blk->limit, limit);
}

/* The object stays when the limits go: a turn may be looking at it */
static int vhl_blk_set_limits(struct vhl_blk_dev *blk, const void __user *argp)
{
	struct vhl_blk_limit *limit = blk->limit;
	struct vhl_blk_limits limits;
	int ret;

	lockdep_assert_held(&blk->dev.mutex);

	/* of whoever made the disk, not of who has it */
	if (blk->dev.node->attached)
		return -EPERM;
	if (copy_from_user(&limits, argp, sizeof(limits)))
		return -EFAULT;
	if (!limit)
		limit = vhl_blk_limit_new();
	if (!limit)
		return -ENOMEM;
	ret = vhl_blk_limit_set(limit, &limits);
	if (blk->limit)
		return ret;
	if (ret)
		vhl_blk_limit_free(limit);
	else
		vhl_blk_lend_limit(blk, limit);
	return ret;
}

static int vhl_blk_get_limits(struct vhl_blk_dev *blk, void __user *argp)
{
	struct vhl_blk_limits limits;

	vhl_blk_limit_get(blk->limit, &limits);
	return copy_to_user(argp, &limits, sizeof(limits)) ? -EFAULT : 0;
}

static long vhl_blk_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case VHL_BLK_SET_OPTS:
		return vhl_blk_set_opts(to_blk_dev(dev), argp);
	case VHL_BLK_RESIZE:
		return vhl_blk_resize(to_blk_dev(dev));
	case VHL_BLK_SET_LIMITS:
		return vhl_blk_set_limits(to_blk_dev(dev), argp);
	case VHL_BLK_GET_LIMITS:
		return vhl_blk_get_limits(to_blk_dev(dev), argp);
	}
	return -ENOIOCTLCMD;
}

static void vhl_blk_show(struct vhl_dev *dev, struct seq_file *m)
{
	struct vhl_blk_disk *disk = vhl_blk_current(to_blk_dev(dev));

	if (disk)
		seq_file_path(m, disk->file, " \t\n\\");
	else
		seq_putc(m, '-');
}

static void vhl_blk_show_vq(const struct vhl_vq *vq, struct seq_file *m)
{
	const struct vhl_blk_waiter *waiter = &container_of(vq, struct vhl_blk_vq, vq)->waiter;

	if (to_blk_dev(vq->dev)->limit)
		seq_printf(m, " limited=%llu limited_us=%llu", READ_ONCE(waiter->waits),
			   div_u64(READ_ONCE(waiter->waited_ns), NSEC_PER_USEC));
}

static void vhl_blk_release(struct vhl_dev *dev)
{
	vhl_blk_disk_put(to_blk_dev(dev)->disk);
	if (dev->node->attached)
		vhl_blk_name_closed(to_blk_dev(dev));
	else
		vhl_blk_limit_free(to_blk_dev(dev)->limit);
}

static const struct vhl_ops vhl_blk_ops = {
	.release	= vhl_blk_release,
	.features	= vhl_blk_features,
	.prepare	= vhl_blk_prepare,
	.attach		= vhl_blk_attach,
	.attach_dev	= vhl_blk_attach_dev,
	.discard	= vhl_blk_disk_put,
	.start		= vhl_blk_start,
	.stop		= vhl_blk_stop,
	.run		= vhl_blk_run,
	.pending	= vhl_blk_pending,
	.ioctl		= vhl_blk_ioctl,
	.num_vqs	= vhl_blk_num_vqs,
	.config		= vhl_blk_config,
	.set_config	= vhl_blk_set_config,
	.reset		= vhl_blk_reset,
	.show		= vhl_blk_show,
	.show_vq	= vhl_blk_show_vq,
};

#define VHL_BLK_NODE(_name, _dialect) {				\
	.name		= (_name),				\
	.owner		= THIS_MODULE,				\
	.ops		= &vhl_blk_ops,				\
	.dialect	= (_dialect),				\
	.backend_cmd	= VHOST_BLK_SET_BACKEND,		\
	.device_id	= VIRTIO_ID_BLOCK,			\
	.config_size	= VHL_BLK_CONFIG_SIZE,			\
	.num_vqs	= VHL_BLK_MAX_QUEUES,			\
	.dev_size	= sizeof(struct vhl_blk_dev),		\
	.vq_size	= sizeof(struct vhl_blk_vq),		\
	.max_workers	= &max_workers,				\
	.pool_max	= VHL_BLK_LANE_MAX,			\
	.logs		= true,					\
}

static struct vhl_node vhl_blk_vhost_node = VHL_BLK_NODE("vhost-blklite", &vhl_dialect_vhost);
static struct vhl_node vhl_blk_vdpa_node = VHL_BLK_NODE("vdpa-blklite", &vhl_dialect_vdpa);
static struct vhl_node vhl_blk_named_node = VHL_BLK_NODE("vhost-lite", &vhl_dialect_either);

static int __init vhl_blk_module_init(void)
{
	int ret;

	vhl_blk_zero_init();
	vhl_blk_named_node.attached = true;
	ret = vhl_node_init(&vhl_blk_named_node);
	if (ret)
		return ret;
	ret = vhl_blk_names_init(&vhl_blk_named_node);
	if (ret)
		return ret;
	ret = vhl_node_register(&vhl_blk_vhost_node);
	if (ret)
		goto exit_names;
	ret = vhl_node_register(&vhl_blk_vdpa_node);
	if (ret)
		goto unregister_vhost;
	ret = vhl_blk_control_init();
	if (ret)
		goto unregister_vdpa;
	return 0;

unregister_vdpa:
	vhl_node_unregister(&vhl_blk_vdpa_node);
unregister_vhost:
	vhl_node_unregister(&vhl_blk_vhost_node);
exit_names:
	vhl_blk_names_exit();
	return ret;
}
module_init(vhl_blk_module_init);

static void __exit vhl_blk_module_exit(void)
{
	vhl_blk_control_exit();
	vhl_node_unregister(&vhl_blk_vdpa_node);
	vhl_node_unregister(&vhl_blk_vhost_node);
	vhl_blk_names_exit();
}
module_exit(vhl_blk_module_exit);

MODULE_DESCRIPTION("vhost-lite: virtio-blk over files and block devices");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
