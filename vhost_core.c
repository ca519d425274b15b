// SPDX-License-Identifier: GPL-2.0
/*
 * vhost_lite: devices. Nodes, open and release, owners, features, what is attached, reset.
 */
#include <linux/atomic.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/vhost.h>
#include <linux/vhost_lite.h>
#include <linux/virtio_config.h>

#include "compat/tested.h"
#include "compat/thread.h"
#include "internal.h"

static atomic64_t last_id = ATOMIC64_INIT(0);

static void vhl_put_owner(struct vhl_dev *dev)
{
	if (!dev->mm)
		return;
	put_pid(dev->owner);
	mmdrop(dev->mm);
	dev->owner = NULL;
	dev->mm = NULL;
}

/*
 * It can reset nothing any more: who has the file may own the device as if it had. What its threads
 * on a kernel without vhost_task still serve is of use to nobody.
 */
bool vhl_owner_is_dead(const struct vhl_dev *dev)
{
	bool dead;

	lockdep_assert_held(&dev->mutex);

	if (!dev->mm)
		return false;
	rcu_read_lock();
	dead = !pid_task(dev->owner, PIDTYPE_TGID);
	rcu_read_unlock();
	return dead;
}

/* The threads of the device inherit from the calling one, whichever starts the queues later. */
int vhl_set_owner(struct vhl_dev *dev)
{
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (dev->mm)
		return -EBUSY;
	/* the structure alone: a dead owner's memory is not kept by an open file */
	mmgrab(current->mm);
	dev->mm = current->mm;
	dev->owner = get_task_pid(current, PIDTYPE_TGID);
	ret = vhl_workers_start(dev);
	if (ret)
		vhl_put_owner(dev);
	return ret;
}

bool vhl_attaches_devices(const struct vhl_dev *dev)
{
	return dev->dialect->attaches_devices;
}
EXPORT_SYMBOL_GPL(vhl_attaches_devices);

/* What is offered, in VHL_FEATURE_WORDS words */
int vhl_get_features(struct vhl_dev *dev, u64 *features)
{
	memset(features, 0, VHL_FEATURE_WORDS * sizeof(*features));
	features[0] = BIT_ULL(VIRTIO_F_VERSION_1) | vhl_ring_features() |
		      dev->dialect->features;
	if (vhl_may_log(dev))
		features[0] |= BIT_ULL(VHOST_F_LOG_ALL);
	return dev->node->ops->features ? dev->node->ops->features(dev, features) : 0;
}

int vhl_set_features(struct vhl_dev *dev, const u64 *features)
{
	u64 offered[VHL_FEATURE_WORDS], changed[VHL_FEATURE_WORDS];
	u64 log = vhl_may_log(dev) ? BIT_ULL(VHOST_F_LOG_ALL) : 0;
	unsigned int i;
	bool iova;
	int ret;

	lockdep_assert_held(&dev->mutex);

	ret = vhl_get_features(dev, offered);
	if (ret)
		return ret;
	for (i = 0; i < VHL_FEATURE_WORDS; i++) {
		if (features[i] & ~offered[i])
			return -EOPNOTSUPP;
		changed[i] = features[i] ^ dev->features[i];
	}
	if (features[0] & log && features[0] & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) &&
	    !dev->node->logs_iova)
		return -EOPNOTSUPP;
	/* the VMM's own, not the driver's */
	log &= changed[0];
	changed[0] &= ~log;
	if (memchr_inv(changed, 0, sizeof(changed)) && vhl_any_vq_in_use(dev))
		return -EBUSY;
	if (log) {
		ret = vhl_log_switch(dev, features[0] & log);
		if (ret)
			return ret;
	}
	iova = vhl_rings_are_iova(dev);
	memcpy(dev->features, features, sizeof(dev->features));
	if (vhl_rings_are_iova(dev) != iova)
		vhl_umem_set_iova(dev, !iova);
	else if (vhl_miss_may_ask(dev) && !vhl_any_vq_in_use(dev))
		/* another driver, perhaps, and its client has not told what was unmapped meanwhile */
		vhl_umem_forget(dev);
	return 0;
}

int vhl_set_backend_features(struct vhl_dev *dev, u64 features, u64 offered)
{
	lockdep_assert_held(&dev->mutex);

	if (features & ~offered)
		return -EOPNOTSUPP;
	dev->backend_features = features;
	return 0;
}

/* Stop a queue and let go of what is attached to it. Never fails. */
static void vhl_detach_vq(struct vhl_vq *vq)
{
	const struct vhl_ops *ops = vq->dev->node->ops;

	vhl_vq_stop(vq);
	if (ops->attach)
		ops->discard(ops->attach(vq, NULL));
}

/*
 * Back to the state after open but for what is attached to the whole device: queues idle first,
 * then what they used, then the threads, the memory and the owner.
 */
void vhl_dev_reset(struct vhl_dev *dev)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		vhl_detach_vq(vq);
		vhl_vq_put_eventfds(vq);
		vq->num = 0;
		vq->have_base = false;
		vq->have_addr = false;
		vq->logs_ring = false;
		vq->enabled = !dev->dialect->enables;
		vq->busyloop_us = 0;
	}
	/* -1 cannot fail */
	(void)vhl_set_config_call(dev, VHOST_FILE_UNBIND);
	if (dev->node->ops->reset)
		dev->node->ops->reset(dev);
	vhl_pool_stop(dev);
	vhl_workers_stop(dev);
	dev->fork_from_owner = vhl_thread_can_be_owners();
	vhl_log_forget(dev);
	vhl_bases_forget(dev);
	vhl_umem_clear(dev);
	memset(dev->features, 0, sizeof(dev->features));
	dev->backend_features = 0;
	vhl_miss_end(dev);
	vhl_put_owner(dev);
}

void vhl_dev_pause(struct vhl_dev *dev)
{
	lockdep_assert_held(&dev->mutex);

	vhl_lock_drained_vqs(dev);
}
EXPORT_SYMBOL_GPL(vhl_dev_pause);

void vhl_dev_resume(struct vhl_dev *dev)
{
	lockdep_assert_held(&dev->mutex);

	vhl_unlock_vqs(dev);
	vhl_kick_vqs(dev);
}
EXPORT_SYMBOL_GPL(vhl_dev_resume);

void vhl_dev_stats(const struct vhl_dev *dev, struct vhl_stats *sum)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++) {
		const struct vhl_stats *s = &dev->vqs[i]->stats;

		sum->kicks += READ_ONCE(s->kicks);
		sum->wakes += READ_ONCE(s->wakes);
		sum->polls += READ_ONCE(s->polls);
		sum->breaks += READ_ONCE(s->breaks);
		sum->reqs += READ_ONCE(s->reqs);
		sum->in += READ_ONCE(s->in);
		sum->out += READ_ONCE(s->out);
		sum->batches += READ_ONCE(s->batches);
		sum->calls += READ_ONCE(s->calls);
		sum->errors += READ_ONCE(s->errors);
	}
}
EXPORT_SYMBOL_GPL(vhl_dev_stats);

/*
 * Attach a file to a queue and start it. One that is running goes over to the file with its ring as
 * it is: addresses that were set meanwhile are for the next start.
 */
static int vhl_attach_vq(struct vhl_vq *vq, struct file *file)
{
	const struct vhl_ops *ops = vq->dev->node->ops;
	void *backing;
	int ret = 0;

	backing = ops->prepare(vq->dev, vq, file);
	if (IS_ERR(backing))
		return PTR_ERR(backing);

	if (vhl_vq_started(vq)) {
		vhl_vq_lock(vq);
		vhl_vq_drain(vq);
		backing = ops->attach(vq, backing);
		vhl_vq_unlock(vq);
		/* what it waited for, it waited for elsewhere */
		vhl_vq_kick(vq);
	} else {
		backing = ops->attach(vq, backing);
		ret = vhl_vq_start_mapped(vq);
		if (ret)
			backing = ops->attach(vq, backing);
	}
	ops->discard(backing);
	return ret;
}

/* Attach a file to the whole device, or let go of what is. Starts nothing. */
static int vhl_attach_dev(struct vhl_dev *dev, struct file *file)
{
	const struct vhl_dialect *dialect = dev->dialect;
	const struct vhl_ops *ops = dev->node->ops;
	void *backing = NULL;

	if (vhl_any_vq_in_use(dev) || (dialect->in_use && dialect->in_use(dev)))
		return -EBUSY;
	if (file) {
		backing = ops->prepare(dev, NULL, file);
		if (IS_ERR(backing))
			return PTR_ERR(backing);
	}
	ops->discard(ops->attach_dev(dev, backing));
	return 0;
}

static int vhl_set_backend(struct vhl_dev *dev, void __user *argp)
{
	struct vhost_vring_file backend;
	struct file *file = NULL;
	bool whole, attach;
	struct vhl_vq *vq;
	int ret = 0;

	/* there is nothing that a client of the vhost-vDPA dialect could want with it */
	vhl_dialect_decide(dev, dev->dialect->by_backend);
	whole = vhl_attaches_devices(dev);
	if (!vhl_is_owner(dev) && (dev->mm || !dev->node->ops->attach_dev))
		return -EPERM;
	if (copy_from_user(&backend, argp, sizeof(backend)))
		return -EFAULT;
	if (whole && backend.index)
		return -EINVAL;
	vq = vhl_vq_get(dev, backend.index);
	if (IS_ERR(vq))
		return PTR_ERR(vq);
	if (dev->node->attached && (whole || !dev->mm))
		return -EBUSY;
	attach = backend.fd != VHOST_FILE_UNBIND;
	/* looked up once: the caller may put another file at this number any time */
	if (attach && !(dev->node->attached && backend.fd == VHL_BACKEND_OWN)) {
		file = fget(backend.fd);
		if (!file)
			return -EBADF;
	}
	if (whole || !dev->mm)
		ret = vhl_attach_dev(dev, file);
	else if (attach)
		ret = vhl_attach_vq(vq, file);
	else
		vhl_detach_vq(vq);
	if (file)
		fput(file);
	return ret;
}

static long vhl_dev_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	const struct vhl_node *node = dev->node;
	long ret = -ENOIOCTLCMD;

	if (node->backend_cmd && cmd == node->backend_cmd)
		return vhl_set_backend(dev, argp);
	if (node->ops->ioctl)
		ret = node->ops->ioctl(dev, cmd, argp);
	if (ret != -ENOIOCTLCMD)
		return ret;
	return dev->dialect->ioctl(dev, cmd, argp);
}

static long vhl_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vhl_dev *dev = file->private_data;
	long ret;

	/* others may be waiting for a disk that hangs */
	if (mutex_lock_killable(&dev->mutex))
		return -EINTR;
	ret = vhl_dev_ioctl(dev, cmd, (void __user *)arg);
	mutex_unlock(&dev->mutex);
	return ret;
}

static ssize_t vhl_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct vhl_dev *dev = iocb->ki_filp->private_data;
	size_t len = iov_iter_count(from);
	int ret;

	if (mutex_lock_killable(&dev->mutex))
		return -EINTR;
	ret = vhl_iotlb_write(dev, from);
	mutex_unlock(&dev->mutex);
	return ret ?: len;
}

static ssize_t vhl_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	bool wait = !(file->f_flags & O_NONBLOCK) && !(iocb->ki_flags & IOCB_NOWAIT);

	return vhl_miss_read(file->private_data, to, wait);
}

static __poll_t vhl_file_poll(struct file *file, poll_table *table)
{
	return vhl_miss_poll(file->private_data, file, table);
}

static void vhl_free_dev(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		kfree(dev->vqs[i]);
	kfree(dev);
}

struct vhl_dev *vhl_dev_new(struct vhl_node *node)
{
	struct vhl_dev *dev;
	unsigned int i;

	dev = kzalloc(node->dev_size, GFP_KERNEL_ACCOUNT);
	if (!dev)
		return NULL;
	dev->node = node;
	dev->dialect = node->dialect;
	dev->id = atomic64_inc_return(&last_id);
	mutex_init(&dev->mutex);
	dev->fork_from_owner = vhl_thread_can_be_owners();
	spin_lock_init(&dev->config_lock);
	vhl_mem_init(&dev->mem);
	vhl_mem_init(&dev->table);
	vhl_miss_init(dev);
	init_waitqueue_head(&dev->unclaimed);
	for (i = 0; i < node->num_vqs; i++) {
		dev->vqs[i] = kzalloc(node->vq_size, GFP_KERNEL_ACCOUNT);
		if (!dev->vqs[i]) {
			vhl_free_dev(dev);
			return NULL;
		}
		vhl_vq_init(dev->vqs[i], dev, i);
		dev->vqs[i]->enabled = !dev->dialect->enables;
	}
	return dev;
}
EXPORT_SYMBOL_GPL(vhl_dev_new);

void vhl_dev_close(struct vhl_dev *dev)
{
	mutex_lock(&dev->mutex);
	vhl_dev_reset(dev);
	if (dev->node->ops->release)
		dev->node->ops->release(dev);
	mutex_unlock(&dev->mutex);
	vhl_free_dev(dev);
}
EXPORT_SYMBOL_GPL(vhl_dev_close);

static int vhl_open(struct inode *inode, struct file *file)
{
	/* misc_open() leaves the node here */
	struct vhl_node *node = container_of(file->private_data, struct vhl_node, misc);

	file->private_data = vhl_dev_new(node);
	return file->private_data ? 0 : -ENOMEM;
}

static int vhl_release(struct inode *inode, struct file *file)
{
	vhl_dev_close(file->private_data);
	return 0;
}

/* What a node cannot do without; NULL where nothing is missing */
static const char *vhl_node_lacks(const struct vhl_node *node)
{
	const struct vhl_ops *ops = node->ops;
	bool attaches;

	if (!node->name)
		return "name";
	if (!node->dialect)
		return "dialect";
	if (!ops || !ops->run)
		return "ops->run()";
	if (!node->num_vqs || node->num_vqs > VHL_MAX_VQS)
		return "number of queues that a device can have";
	if (node->dev_size < sizeof(struct vhl_dev) || node->vq_size < sizeof(struct vhl_vq))
		return "dev_size or vq_size that begins with the core's";
	if (node->config_size && !ops->config)
		return "ops->config() for its config_size";
	attaches = node->dialect->attaches_devices ? !!ops->attach_dev : !!ops->attach;
	if (node->backend_cmd && !attaches)
		return "ops->attach() or attach_dev(), as its dialect has it, for its backend_cmd";
	if ((node->backend_cmd || ops->attach || ops->attach_dev) &&
	    !(ops->prepare && ops->discard))
		return "ops->prepare() or discard() for what is attached";
	return NULL;
}

int vhl_node_init(struct vhl_node *node)
{
	const char *lacks = vhl_node_lacks(node);

	if (lacks) {
		pr_err("node %s is not registered: it has no %s\n", node->name ?: "?", lacks);
		return -EINVAL;
	}
	node->fops = (struct file_operations){
		.owner		= node->owner,
		.release	= vhl_release,
		.unlocked_ioctl	= vhl_ioctl,
		.compat_ioctl	= compat_ptr_ioctl,
		.write_iter	= vhl_write_iter,
		.show_fdinfo	= vhl_show_fdinfo,
		.llseek		= noop_llseek,
	};
	if (node->dialect->answers_misses) {
		node->fops.read_iter = vhl_read_iter;
		node->fops.poll = vhl_file_poll;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(vhl_node_init);

int vhl_node_register(struct vhl_node *node)
{
	int ret = vhl_node_init(node);

	if (ret)
		return ret;
	node->fops.open = vhl_open;
	node->misc.minor = node->minor ?: MISC_DYNAMIC_MINOR;
	node->misc.name = node->name;
	node->misc.fops = &node->fops;
	node->misc.mode = 0600;
	return misc_register(&node->misc);
}
EXPORT_SYMBOL_GPL(vhl_node_register);

void vhl_node_unregister(struct vhl_node *node)
{
	misc_deregister(&node->misc);
}
EXPORT_SYMBOL_GPL(vhl_node_unregister);

MODULE_DESCRIPTION("vhost-lite: core of the in-kernel virtio backends");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
