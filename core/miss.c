// SPDX-License-Identifier: GPL-2.0
/*
 * Misses: translations that the client is asked for.
 *
 * Where a guest has an IOMMU the client knows its translations, and tells them when they are asked
 * for: a queue that cannot go on without one leaves a question, which the client reads from the
 * device's file, and sleeps. An update of the map that covers the address gives it a turn. A queue
 * has one question at most, so there is nothing to allocate, and a guest cannot pile them up.
 *
 * A question that was read and is not answered stays: the guest has nothing mapped there, as far as
 * the client knows. The queue sleeps on, and asks again whenever something else wakes it.
 */
#include <linux/poll.h>
#include <linux/uio.h>
#include <linux/vhost.h>

#include "internal.h"
#include "trace.h"

void vhl_miss_init(struct vhl_dev *dev)
{
	spin_lock_init(&dev->miss_lock);
	init_waitqueue_head(&dev->miss_wait);
}

/* Does the client answer? Else what is missing is a fault. */
bool vhl_miss_may_ask(const struct vhl_dev *dev)
{
	return dev->node->dialect->answers_misses && vhl_rings_are_iova(dev);
}

static void miss_wake(struct vhl_dev *dev)
{
	wake_up_interruptible_poll(&dev->miss_wait, EPOLLIN | EPOLLRDNORM);
}

/* The same once more, before it was read, is the same question */
void vhl_miss_ask(struct vhl_vq *vq, u64 addr, u32 perm)
{
	struct vhl_dev *dev = vq->dev;
	struct vhl_question *q = &vq->question;
	bool same;

	spin_lock(&dev->miss_lock);
	same = q->state == VHL_ASKED && q->addr == addr && q->perm == perm;
	q->addr = addr;
	q->perm = perm;
	q->state = VHL_ASKED;
	spin_unlock(&dev->miss_lock);
	if (same)
		return;
	trace_vhl_miss(vq, addr, perm);
	miss_wake(dev);
}

/* For the first page of its ring that is not in the map. Return: false if all of it is */
bool vhl_miss_ask_ring(struct vhl_vq *vq)
{
	struct vhl_miss miss;

	if (!vhl_ring_missing(vq, &miss))
		return false;
	vhl_miss_ask(vq, miss.addr, miss.perm);
	return true;
}

/* Something is mapped from @first to @last: queues that asked for any of it go on. */
void vhl_miss_answer(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];
		struct vhl_question *q = &vq->question;
		bool answered;

		spin_lock(&dev->miss_lock);
		answered = q->state != VHL_NOT_ASKED && q->addr >= first && q->addr <= last;
		if (answered)
			q->state = VHL_NOT_ASKED;
		spin_unlock(&dev->miss_lock);
		if (answered && vhl_vq_started(vq))
			vhl_vq_kick(vq);
	}
}

/* The queue does not want to know any more. */
void vhl_miss_forget(struct vhl_vq *vq)
{
	spin_lock(&vq->dev->miss_lock);
	vq->question.state = VHL_NOT_ASKED;
	spin_unlock(&vq->dev->miss_lock);
}

/* Whoever waits for a question is told that there will be none */
void vhl_miss_end(struct vhl_dev *dev)
{
	wake_up_interruptible_all(&dev->miss_wait);
}

/* The next question that was not read, of the queues in turn; NULL for none */
static struct vhl_vq *miss_next(struct vhl_dev *dev)
{
	unsigned int n = dev->node->num_vqs, i;

	lockdep_assert_held(&dev->miss_lock);

	for (i = 1; i <= n; i++) {
		struct vhl_vq *vq = dev->vqs[(dev->miss_last + i) % n];

		if (vq->question.state == VHL_ASKED)
			return vq;
	}
	return NULL;
}

/* Return: whose question it is, now that it is in @q, or NULL */
static struct vhl_vq *miss_take(struct vhl_dev *dev, struct vhl_question *q)
{
	struct vhl_vq *vq;

	spin_lock(&dev->miss_lock);
	vq = miss_next(dev);
	if (vq) {
		*q = vq->question;
		vq->question.state = VHL_TOLD;
		dev->miss_last = vq->index;
	}
	spin_unlock(&dev->miss_lock);
	return vq;
}

/* It could not be told: it is to be read again, perhaps by somebody who waits */
static void miss_untake(struct vhl_vq *vq, const struct vhl_question *q)
{
	spin_lock(&vq->dev->miss_lock);
	if (vq->question.state == VHL_TOLD && vq->question.addr == q->addr)
		vq->question.state = VHL_ASKED;
	spin_unlock(&vq->dev->miss_lock);
	miss_wake(vq->dev);
}

static int miss_copy(const struct vhl_dev *dev, const struct vhl_question *q, struct iov_iter *to)
{
	bool v2 = READ_ONCE(dev->backend_features) & BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2);
	struct vhost_msg_v2 msg;

	/* all of it goes to the client, with what is between fields; both versions have one shape */
	memset(&msg, 0, sizeof(msg));
	msg.type = v2 ? VHOST_IOTLB_MSG_V2 : VHOST_IOTLB_MSG;
	msg.iotlb.type = VHOST_IOTLB_MISS;
	msg.iotlb.iova = q->addr;
	msg.iotlb.perm = q->perm;
	return copy_to_iter(&msg, sizeof(msg), to) == sizeof(msg) ? 0 : -EFAULT;
}

/* One message, of the version that was acknowledged. Holding nothing: others answer meanwhile */
ssize_t vhl_miss_read(struct vhl_dev *dev, struct iov_iter *to, bool wait)
{
	struct vhl_question q;
	struct vhl_vq *vq;
	int ret;

	if (!vhl_miss_may_ask(dev) || iov_iter_count(to) < sizeof(struct vhost_msg))
		return -EINVAL;
	vq = miss_take(dev, &q);
	if (!vq && !wait)
		return -EAGAIN;
	if (!vq) {
		ret = wait_event_interruptible(dev->miss_wait, (vq = miss_take(dev, &q)) ||
							       !vhl_miss_may_ask(dev));
		if (ret)
			return ret;
		if (!vq)
			return -EINVAL;
	}
	ret = miss_copy(dev, &q, to);
	if (ret)
		miss_untake(vq, &q);
	return ret ?: sizeof(struct vhost_msg);
}

__poll_t vhl_miss_poll(struct vhl_dev *dev, struct file *file, poll_table *table)
{
	bool asked;

	poll_wait(file, &dev->miss_wait, table);
	spin_lock(&dev->miss_lock);
	asked = miss_next(dev);
	spin_unlock(&dev->miss_lock);
	return EPOLLOUT | EPOLLWRNORM | (asked ? EPOLLIN | EPOLLRDNORM : 0);
}
