// SPDX-License-Identifier: GPL-2.0
/*
 * Requests about one virtqueue (VHOST_SET_VRING_*), for the dialects. Their errors are
 * documented in the uapi header.
 */
#include <linux/nospec.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include "internal.h"
#include "../compat/vhost_uapi.h"

/* Polling longer than a second is a mistake in units */
#define VHL_BUSYLOOP_MAX_US	USEC_PER_SEC

struct vhl_vq *vhl_vq_get(struct vhl_dev *dev, u32 index)
{
	unsigned int n = vhl_num_vqs(dev);

	lockdep_assert_held(&dev->mutex);

	if (index >= n)
		return ERR_PTR(dev->dialect->no_such_queue);
	return dev->vqs[array_index_nospec(index, n)];
}

static int set_num(struct vhl_vq *vq, u32 num)
{
	if (vhl_vq_started(vq))
		return -EBUSY;
	if (!vhl_ring_num_ok(vq->dev->features[0], num))
		return -EINVAL;
	vq->num = num;
	return 0;
}

static int set_base(struct vhl_vq *vq, u32 base)
{
	if (vhl_vq_started(vq))
		return -EBUSY;
	if (!vhl_ring_base_ok(vq->dev->features[0], base))
		return -EINVAL;
	vq->base = base;
	vq->have_base = true;
	return 0;
}

/* Where a start would go on; both halves of a packed one are of the same moment while it runs */
static u32 get_base(struct vhl_vq *vq)
{
	u32 base;

	if (!vhl_vq_started(vq))
		return vhl_vq_base(vq);
	vhl_vq_lock(vq);
	spin_lock_irq(&vq->used_lock);
	base = vhl_ring_base(vq->ring);
	spin_unlock_irq(&vq->used_lock);
	vhl_vq_unlock(vq);
	return base;
}

static int set_addr(struct vhl_vq *vq, const struct vhost_vring_addr *addr)
{
	const u64 area[VHL_RING_AREAS] = {
		[VHL_RING_DESC]		= addr->desc_user_addr,
		[VHL_RING_DRIVER]	= addr->avail_user_addr,
		[VHL_RING_DEVICE]	= addr->used_user_addr,
	};
	struct vhl_dev *dev = vq->dev;
	unsigned int i;
	int ret;

	if (addr->flags & ~(vhl_may_log(dev) ? BIT(VHOST_VRING_F_LOG) : 0))
		return -EOPNOTSUPP;
	for (i = 0; i < VHL_RING_AREAS; i++)
		if (!IS_ALIGNED(area[i], vhl_ring_extent(dev->features[0], vq->num, i).align))
			return -EINVAL;

	if (dev->dialect->addr_fixed_while_started && vhl_vq_started(vq))
		return -EINVAL;
	for (i = 0; !vhl_rings_are_iova(dev) && i < VHL_RING_AREAS; i++)
		if (!access_ok((void __user *)(unsigned long)area[i], 1))
			return -EINVAL;
	ret = vhl_vq_set_log(vq, addr->flags, addr->log_guest_addr);
	if (ret)
		return ret;
	memcpy(vq->area, area, sizeof(area));
	vq->have_addr = true;
	return 0;
}

static int set_endian(struct vhl_vq *vq, u32 endian)
{
	if (endian != VHOST_VRING_LITTLE_ENDIAN)
		return -EINVAL;
	return vhl_vq_started(vq) ? -EBUSY : 0;
}

static int set_busyloop(struct vhl_vq *vq, u32 us)
{
	if (us > VHL_BUSYLOOP_MAX_US)
		return -EINVAL;
	WRITE_ONCE(vq->busyloop_us, us);
	return 0;
}

static int attach_worker(struct vhl_vq *vq, u32 index)
{
	struct vhl_worker *worker = vhl_worker_get(vq->dev, index);

	if (!worker)
		return -ENODEV;
	vhl_vq_lock(vq);
	vhl_share_attach(vq, worker);
	vhl_vq_unlock(vq);
	/* the one that had it may not come to it any more */
	if (vhl_vq_started(vq))
		vhl_vq_kick(vq);
	return 0;
}

/* Before its first start, the one that it is going to be with */
static u32 worker_of(const struct vhl_vq *vq)
{
	const struct vhl_worker *worker = READ_ONCE(vq->worker);

	return worker ? vhl_worker_index(worker) : 0;
}

/* A worker is a number that goes with a queue, too */
static_assert(sizeof(struct vhost_vring_worker) == sizeof(struct vhost_vring_state));
static_assert(offsetof(struct vhost_vring_worker, worker_id) ==
	      offsetof(struct vhost_vring_state, num));

/* What goes with a number */
long vhl_vring_state(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	struct vhost_vring_state state;
	struct vhl_vq *vq;

	if (copy_from_user(&state, argp, sizeof(state)))
		return -EFAULT;
	vq = vhl_vq_get(dev, state.index);
	if (IS_ERR(vq))
		return PTR_ERR(vq);

	switch (cmd) {
	case VHOST_SET_VRING_NUM:
		return set_num(vq, state.num);
	case VHOST_SET_VRING_BASE:
		return set_base(vq, state.num);
	case VHOST_SET_VRING_ENDIAN:
		return set_endian(vq, state.num);
	case VHOST_ATTACH_VRING_WORKER:
		return attach_worker(vq, state.num);
	case VHOST_SET_VRING_BUSYLOOP_TIMEOUT:
		return set_busyloop(vq, state.num);
	case VHOST_GET_VRING_BASE:
		state.num = get_base(vq);
		break;
	case VHOST_GET_VRING_ENDIAN:
		state.num = VHOST_VRING_LITTLE_ENDIAN;
		break;
	case VHOST_GET_VRING_WORKER:
		state.num = worker_of(vq);
		break;
	case VHOST_GET_VRING_BUSYLOOP_TIMEOUT:
		state.num = vq->busyloop_us;
		break;
	default:
		return -ENOIOCTLCMD;
	}
	return copy_to_user(argp, &state, sizeof(state)) ? -EFAULT : 0;
}

static long vring_file(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	struct vhost_vring_file file;
	struct vhl_vq *vq;

	if (copy_from_user(&file, argp, sizeof(file)))
		return -EFAULT;
	vq = vhl_vq_get(dev, file.index);
	if (IS_ERR(vq))
		return PTR_ERR(vq);

	switch (cmd) {
	case VHOST_SET_VRING_KICK:
		return vhl_vq_set_kick(vq, file.fd);
	case VHOST_SET_VRING_CALL:
		return vhl_vq_set_call(vq, file.fd);
	case VHOST_SET_VRING_ERR:
		return vhl_vq_set_err(vq, file.fd);
	}
	return -ENOIOCTLCMD;
}

static long vring_addr(struct vhl_dev *dev, void __user *argp)
{
	struct vhost_vring_addr addr;
	struct vhl_vq *vq;

	if (copy_from_user(&addr, argp, sizeof(addr)))
		return -EFAULT;
	vq = vhl_vq_get(dev, addr.index);
	if (IS_ERR(vq))
		return PTR_ERR(vq);
	return set_addr(vq, &addr);
}

long vhl_vring_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	lockdep_assert_held(&dev->mutex);

	switch (cmd) {
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
		return vhl_vring_state(dev, cmd, argp);
	case VHOST_SET_VRING_ADDR:
		return vring_addr(dev, argp);
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		return vring_file(dev, cmd, argp);
	}
	return -ENOIOCTLCMD;
}
