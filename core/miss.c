// SPDX-License-Identifier: GPL-2.0
/*
 * Misses: translations that the client is asked for.
 *
 * Where a guest has an IOMMU the client knows its translations, and tells them when they are asked
 * for: a queue that cannot go on without one leaves a question, which the client reads from the
 * device's file, and sleeps. An update of the map that covers the address gives it a turn. It adds
 * others, for what the chains behind will miss: to wake the client and to be woken by it takes
 * longer than all else. There are VHL_QUESTIONS at most, so there is nothing to allocate, and
 * a guest cannot pile them up.
 *
 * A question that was read and is not answered stays: the guest has nothing mapped there, as far as
 * the client knows. The queue sleeps on, and asks again when it is kicked, or when the map changes
 * there. One that waits for its ring has no kicks; whatever else is mapped it asks for that again,
 * but not more often than MISS_AGAIN: clients complain of each question that they cannot answer.
 */
#include <linux/jiffies.h>
#include <linux/poll.h>
#include <linux/string.h>
#include <linux/uio.h>
#include <linux/vhost.h>

#include "internal.h"
#include "trace.h"

#define MISS_AGAIN	HZ

void vhl_miss_init(struct vhl_dev *dev)
{
	spin_lock_init(&dev->miss_lock);
	init_waitqueue_head(&dev->miss_wait);
}

/* Does the client answer? Else what is missing is a fault. */
bool vhl_miss_may_ask(const struct vhl_dev *dev)
{
	return READ_ONCE(dev->dialect)->answers_misses && vhl_rings_are_iova(dev);
}

static void miss_wake(struct vhl_dev *dev)
{
	wake_up_interruptible_poll(&dev->miss_wait, EPOLLIN | EPOLLRDNORM);
}

static bool miss_is_same(const struct vhl_question *q, const struct vhl_miss *miss)
{
	return q->addr == miss->addr && q->perm == miss->perm;
}

/* What is there already: NULL for nothing, or if the client does not know that it is wanted */
static struct vhl_question *miss_find(struct vhl_vq *vq, const struct vhl_miss *miss)
{
	unsigned int i;

	lockdep_assert_held(&vq->dev->miss_lock);

	for (i = 0; i < vq->questions; i++)
		if (vq->question[i].state != VHL_NOT_ASKED && miss_is_same(&vq->question[i], miss))
			return &vq->question[i];
	return NULL;
}

/*
 * The queue wants these, and no others any more. A question that was not read is the same question.
 * One that was is asked again only if it is the first: without that the queue came no further, and
 * something else than an answer has woken it.
 */
void vhl_miss_ask(struct vhl_vq *vq, const struct vhl_miss *miss, unsigned int n)
{
	struct vhl_question question[VHL_QUESTIONS];
	struct vhl_dev *dev = vq->dev;
	bool more = false;
	unsigned int i;

	spin_lock(&dev->miss_lock);
	for (i = 0; i < n; i++) {
		const struct vhl_question *old = miss_find(vq, &miss[i]);

		if (old && (i || old->state == VHL_ASKED)) {
			question[i] = *old;
			continue;
		}
		question[i] = (struct vhl_question){
			.addr = miss[i].addr, .perm = miss[i].perm, .state = VHL_ASKED,
		};
		trace_vhl_miss(vq, miss[i].addr, miss[i].perm);
		more = true;
	}
	memcpy(vq->question, question, n * sizeof(*question));
	vq->questions = n;
	vq->answered = false;
	spin_unlock(&dev->miss_lock);
	if (more)
		miss_wake(dev);
}

/* Has the client read just this, and not long ago? */
static bool miss_is_known(struct vhl_vq *vq, const struct vhl_miss *miss)
{
	const struct vhl_question *q;
	bool known;

	spin_lock(&vq->dev->miss_lock);
	q = miss_find(vq, miss);
	known = q && q->state == VHL_TOLD && time_before(jiffies, q->told_at + MISS_AGAIN);
	spin_unlock(&vq->dev->miss_lock);
	return known;
}

/* For the first page of its ring that is not in the map. Return: false if all of it is */
bool vhl_miss_ask_ring(struct vhl_vq *vq)
{
	struct vhl_miss miss;

	if (!vhl_ring_missing(vq, &miss))
		return false;
	if (!miss_is_known(vq, &miss))
		vhl_miss_ask(vq, &miss, 1);
	return true;
}

/*
 * Answers to questions of a queue, or a change of what they are about. Return: is it to go on now?
 * Not as long as a client that reads has others to read, which it comes back for.
 */
static bool miss_settle(struct vhl_vq *vq, u64 first, u64 last)
{
	bool more = false, unread = false;
	unsigned int i;

	lockdep_assert_held(&vq->dev->miss_lock);

	for (i = 0; i < vq->questions; i++) {
		struct vhl_question *q = &vq->question[i];

		if (q->state != VHL_NOT_ASKED && q->addr >= first && q->addr <= last) {
			unread |= q->state == VHL_ASKED;
			q->state = VHL_NOT_ASKED;
			vq->answered = true;
		}
		more |= q->state == VHL_ASKED;
	}
	if (!vq->answered || (more && !unread))
		return false;
	vq->answered = false;
	return true;
}

/* The map is another one from @first to @last: queues that asked for any of it look again. */
void vhl_miss_changed(struct vhl_dev *dev, u64 first, u64 last)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];
		bool go;

		spin_lock(&dev->miss_lock);
		go = miss_settle(vq, first, last);
		spin_unlock(&dev->miss_lock);
		if (go && vhl_vq_started(vq))
			vhl_vq_kick(vq);
	}
}

/* The queue does not want to know any more. */
void vhl_miss_forget(struct vhl_vq *vq)
{
	spin_lock(&vq->dev->miss_lock);
	vq->questions = 0;
	vq->answered = false;
	spin_unlock(&vq->dev->miss_lock);
}

/* Whoever waits for a question is told that there will be none */
void vhl_miss_end(struct vhl_dev *dev)
{
	wake_up_interruptible_all(&dev->miss_wait);
}

/* The next question of a queue that was not read, or NULL */
static struct vhl_question *miss_next_of(struct vhl_vq *vq)
{
	unsigned int i;

	for (i = 0; i < vq->questions; i++)
		if (vq->question[i].state == VHL_ASKED)
			return &vq->question[i];
	return NULL;
}

/*
 * The next one, of the queues in turn. Where there is none, and none came of those that were read,
 * queues go on with the answers that they have.
 */
static struct vhl_question *miss_next(struct vhl_dev *dev, struct vhl_vq **vq)
{
	unsigned int n = dev->node->num_vqs, i;

	lockdep_assert_held(&dev->miss_lock);

	for (i = 1; i <= n; i++) {
		struct vhl_question *q;

		*vq = dev->vqs[(dev->miss_last + i) % n];
		q = miss_next_of(*vq);
		if (q)
			return q;
	}
	for (i = 0; i < n; i++) {
		if (!dev->vqs[i]->answered)
			continue;
		dev->vqs[i]->answered = false;
		/* it runs: a stop forgets */
		vhl_vq_kick(dev->vqs[i]);
	}
	return NULL;
}

/* Return: whose question it is, now that it is in @q, or NULL */
static struct vhl_vq *miss_take(struct vhl_dev *dev, struct vhl_question *q)
{
	struct vhl_question *next;
	struct vhl_vq *vq = NULL;

	spin_lock(&dev->miss_lock);
	next = miss_next(dev, &vq);
	if (next) {
		*q = *next;
		next->state = VHL_TOLD;
		next->told_at = jiffies;
		dev->miss_last = vq->index;
	}
	spin_unlock(&dev->miss_lock);
	return next ? vq : NULL;
}

/* It could not be told: it is to be read again, perhaps by somebody who waits */
static void miss_untake(struct vhl_vq *vq, const struct vhl_question *q)
{
	const struct vhl_miss miss = { .addr = q->addr, .perm = q->perm };
	struct vhl_question *told;

	spin_lock(&vq->dev->miss_lock);
	told = miss_find(vq, &miss);
	if (told)
		told->state = VHL_ASKED;
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
	struct vhl_vq *vq;
	bool asked;

	poll_wait(file, &dev->miss_wait, table);
	spin_lock(&dev->miss_lock);
	asked = miss_next(dev, &vq);
	spin_unlock(&dev->miss_lock);
	return EPOLLOUT | EPOLLWRNORM | (asked ? EPOLLIN | EPOLLRDNORM : 0);
}
