// SPDX-License-Identifier: GPL-2.0
/*
 * IOTLB messages: clients change a device's memory piece by piece, and its queues follow. A queue
 * whose ring is unmapped stops, and goes on when the ring is mapped again.
 */
#include <linux/uio.h>
#include <linux/vhost.h>

#include "internal.h"

/* IOTLB messages of both versions are of one size, and have their body in one place */
static_assert(sizeof(struct vhost_msg) == sizeof(struct vhost_msg_v2));
static_assert(offsetof(struct vhost_msg, iotlb) == offsetof(struct vhost_msg_v2, iotlb));

/* Queues lose their rings with the memory that these are in, and come back with it. */
static void iotlb_stop_rings(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;

	/* what is mapped goes whole */
	vhl_mem_extend(&dev->mem, &first, &last);
	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		if (vhl_vq_started(vq) && vhl_ring_touches(vq, first, last))
			vhl_vq_unmap(vq);
	}
}

/* A client that answers is asked for them again at once, unless the batch is to bring them. */
static void iotlb_ask_for_rings(struct vhl_dev *dev)
{
	unsigned int i;

	if (!vhl_miss_may_ask(dev) || dev->in_batch)
		return;
	for (i = 0; i < dev->node->num_vqs; i++)
		if (dev->vqs[i]->state == VHL_VQ_UNMAPPED)
			(void)vhl_miss_ask_ring(dev->vqs[i]);
}

/*
 * A ring that is not all there yet is no error. A queue that does not start although it is signals
 * its error eventfd, and fails the message that mapped any of it (@first to @last); every later
 * message tries again.
 */
static int iotlb_restart_rings(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];
		int err;

		if (vq->state != VHL_VQ_UNMAPPED)
			continue;
		if (!vhl_miss_may_ask(dev) && !vhl_ring_is_mapped(vq))
			continue;
		err = vhl_vq_start_mapped(vq);
		if (!err)
			continue;
		if (vq->err)
			vhl_eventfd_signal(vq->err);
		if (vhl_ring_touches(vq, first, last))
			ret = ret ?: err;
	}
	return ret;
}

static void iotlb_unmap(struct vhl_dev *dev, u64 first, u64 last)
{
	iotlb_stop_rings(dev, first, last);
	vhl_umem_unmap(dev, first, last);
}

/* The queues whose rings it completes go on, or nothing is mapped. */
static int iotlb_map(struct vhl_dev *dev, const struct vhost_iotlb_msg *msg)
{
	u64 last = msg->iova + (msg->size - 1);
	int ret;

	ret = vhl_umem_map(dev, msg->iova, msg->size, msg->uaddr, msg->perm);
	if (ret || dev->in_batch)
		return ret;
	ret = iotlb_restart_rings(dev, msg->iova, last);
	if (ret)
		iotlb_unmap(dev, msg->iova, last);
	return ret;
}

/*
 * The same by a client that answers. It may answer two queues with the same page, and knows of no
 * limit: what is there already is none of its business, what is there otherwise gives way, and the
 * oldest is forgotten, for which it can be asked again. What is mapped stays so, whatever queue
 * does not start with it: others may have waited for it.
 */
static int iotlb_answer(struct vhl_dev *dev, const struct vhost_iotlb_msg *msg)
{
	const struct vhost_iotlb_map *old;
	u64 last = msg->iova + (msg->size - 1);
	int ret;

	old = vhl_mem_first(&dev->mem, msg->iova, last);
	if (!old || old->start > msg->iova || old->last < last || old->perm != msg->perm ||
	    old->addr + (msg->iova - old->start) != msg->uaddr) {
		if (old)
			iotlb_unmap(dev, msg->iova, last);
		vhl_umem_make_room(dev);
		ret = vhl_umem_map(dev, msg->iova, msg->size, msg->uaddr, msg->perm);
		if (ret)
			return ret;
	}
	if (dev->in_batch)
		return 0;
	ret = iotlb_restart_rings(dev, msg->iova, last);
	vhl_miss_changed(dev, msg->iova, last);
	return ret;
}

/* Until the end of a batch no queue has a turn: it would miss what is only being moved. */
static int iotlb_set_batch(struct vhl_dev *dev, bool on)
{
	int ret;

	vhl_lock_vqs(dev);
	dev->in_batch = on;
	vhl_unlock_vqs(dev);
	if (on)
		return 0;

	ret = iotlb_restart_rings(dev, 0, U64_MAX);
	vhl_miss_changed(dev, 0, U64_MAX);
	vhl_kick_vqs(dev);
	return ret;
}

static int iotlb_message(struct vhl_dev *dev, const struct vhost_iotlb_msg *msg)
{
	switch (msg->type) {
	case VHOST_IOTLB_UPDATE:
		if (!vhl_umem_region_ok(msg->iova, msg->size, msg->uaddr, msg->perm))
			return -EINVAL;
		return vhl_miss_may_ask(dev) ? iotlb_answer(dev, msg) : iotlb_map(dev, msg);
	case VHOST_IOTLB_INVALIDATE:
		if (!msg->size || msg->iova + (msg->size - 1) < msg->iova)
			return -EINVAL;
		iotlb_unmap(dev, msg->iova, msg->iova + (msg->size - 1));
		/* what was not mapped either may be from now on */
		vhl_miss_changed(dev, msg->iova, msg->iova + (msg->size - 1));
		iotlb_ask_for_rings(dev);
		return 0;
	case VHOST_IOTLB_BATCH_BEGIN:
		return iotlb_set_batch(dev, true);
	case VHOST_IOTLB_BATCH_END:
		return iotlb_set_batch(dev, false);
	}
	return -EINVAL;
}

int vhl_iotlb_write(struct vhl_dev *dev, struct iov_iter *from)
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
	/* a client of the vhost dialect has negotiated before it has anything to say */
	vhl_dialect_decide(dev, dev->dialect->by_message);
	/* there the table says it all */
	if (!vhl_rings_are_iova(dev))
		return -EINVAL;
	return iotlb_message(dev, &msg.iotlb);
}
