// SPDX-License-Identifier: GPL-2.0
/*
 * Notification: kick eventfds and other files that wake a queue; call, config call and error
 * eventfds.
 *
 * What the driver is owed outlives the eventfd that it was told by. A client may set one when there
 * is something to tell already (QEMU sets those of the guest after DRIVER_OK, when what waited for
 * the start may be completed), may have none for a while, or may replace one whose last signal was
 * not taken yet. So an eventfd that is set is signalled at once when there is anything that
 * the driver may not know. One signal too many does no harm; one too few, and with an event index
 * the next request gets none either.
 *
 * But it is no signal with every eventfd. Where a driver masks and unmasks its vector, perhaps in
 * each interrupt, VMMs alternate two eventfds: the interrupt would cause the next one, without end.
 * The ring shows with an event index what the driver waits for. For all else, an eventfd that comes
 * back after another one is not signalled again when there was nothing new: it has its signal, or
 * that was read. A client that removes an eventfd (-1) reads none; nothing counts as
 * told then.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/vhost.h>

#include "internal.h"
#include "trace.h"

static int poll_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct vhl_poll *poll = container_of(wait, struct vhl_poll, wait);
	struct vhl_vq *vq = poll->vq;

	/* a wake-up without a key means any event */
	if (key && !(key_to_poll(key) & poll->events))
		return 0;
	if (poll->is_kick) {
		/* serialised by the eventfd's lock */
		WRITE_ONCE(vq->stats.kicks, vq->stats.kicks + 1);
		trace_vhl_kick(vq);
	} else {
		/*
		 * What there is to see before the look at the flags; pairs with vhl_idle_awake(),
		 * vq_sleep() and vhl_poll_listen(). A nap that has not ended yet is followed by a
		 * turn that sees it, and so is a wait for the driver; a turn looks once more before
		 * it sleeps. The lock is that of the wait queue.
		 */
		smp_mb__after_spinlock();
		switch (READ_ONCE(vq->rest)) {
		case VHL_NAPPING:
			if (vhl_vq_backlog(vq) == VHL_BACKLOG_SMALL)
				return 0;
			break;
		case VHL_AWAKE:
		case VHL_AGAIN:
			/* of an error it sees nothing there */
			if (key && !(key_to_poll(key) & (EPOLLERR | EPOLLHUP)))
				return 0;
			break;
		case VHL_ASLEEP:
			if (READ_ONCE(poll->muted))
				return 0;
			break;
		}
	}
	/* takes no turns until it is started again, which kicks */
	if (READ_ONCE(vq->state) == VHL_VQ_BROKEN)
		return 0;
	vhl_vq_kick(vq);
	return 0;
}

static void poll_queue(struct file *file, wait_queue_head_t *wqh, poll_table *table)
{
	struct vhl_poll *poll = container_of(table, struct vhl_poll, table);

	if (poll->wqh)
		return;
	poll->wqh = wqh;
	add_wait_queue(wqh, &poll->wait);
}

int vhl_poll_start(struct vhl_poll *poll, struct vhl_vq *vq, struct file *file, __poll_t events)
{
	__poll_t ready;

	lockdep_assert_held(&vq->dev->mutex);

	poll->vq = vq;
	/* an error is something that a turn has to look at, too */
	poll->events = events | EPOLLERR | EPOLLHUP;
	poll->muted = false;
	poll->wqh = NULL;
	init_waitqueue_func_entry(&poll->wait, poll_wake);
	init_poll_funcptr(&poll->table, poll_queue);

	ready = vfs_poll(file, &poll->table);
	if (!poll->wqh)
		return -EINVAL;
	if (ready & poll->events)
		vhl_vq_kick(vq);
	return 0;
}
EXPORT_SYMBOL_GPL(vhl_poll_start);

void vhl_poll_stop(struct vhl_poll *poll)
{
	if (!poll->wqh)
		return;
	remove_wait_queue(poll->wqh, &poll->wait);
	poll->wqh = NULL;
}
EXPORT_SYMBOL_GPL(vhl_poll_stop);

void vhl_poll_sync(struct vhl_poll *poll)
{
	spin_lock_irq(&poll->wqh->lock);
	spin_unlock_irq(&poll->wqh->lock);
}
EXPORT_SYMBOL_GPL(vhl_poll_sync);

void vhl_poll_mute(struct vhl_poll *poll)
{
	lockdep_assert_held(&poll->vq->mutex);

	/* one that is not muted yet costs a turn */
	WRITE_ONCE(poll->muted, true);
}
EXPORT_SYMBOL_GPL(vhl_poll_mute);

bool vhl_poll_listen(struct vhl_poll *poll)
{
	lockdep_assert_held(&poll->vq->mutex);

	if (!poll->muted)
		return false;
	WRITE_ONCE(poll->muted, false);
	/* before the look at the file; pairs with poll_wake() */
	smp_mb();
	return true;
}
EXPORT_SYMBOL_GPL(vhl_poll_listen);

/*
 * From any context. A call eventfd whose wake-up ends here again (a kick eventfd used as call)
 * is no recursion: vhl_vq_kick() takes no lock and signals nothing.
 */
static void signal_call(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->used_lock);

	if (!vq->call.ctx)
		return;
	WRITE_ONCE(vq->stats.calls, vq->stats.calls + 1);
	trace_vhl_call(vq);
	vhl_eventfd_signal(vq->call.ctx);
}

/* There is something new. */
void vhl_vq_signal(struct vhl_vq *vq)
{
	vq->call.was_told = false;
	signal_call(vq);
}

/* At a start, when nothing is known of what the driver saw of what was used before. */
void vhl_vq_signal_owed(struct vhl_vq *vq)
{
	spin_lock_irq(&vq->used_lock);
	vq->call.was_told = false;
	if (vhl_ring_owes_call(vq->ring, false))
		signal_call(vq);
	spin_unlock_irq(&vq->used_lock);
}

static void signal_config(struct vhl_dev *dev)
{
	lockdep_assert_held(&dev->config_lock);

	if (dev->config_call.ctx)
		vhl_eventfd_signal(dev->config_call.ctx);
}

void vhl_config_changed(struct vhl_dev *dev)
{
	spin_lock(&dev->config_lock);
	dev->config_changed = true;
	dev->config_call.was_told = false;
	signal_config(dev);
	spin_unlock(&dev->config_lock);
}
EXPORT_SYMBOL_GPL(vhl_config_changed);

/* virtio 1.2, section 2.1.2: the status bit, and the driver is told to look */
void vhl_notify_needs_reset(struct vhl_dev *dev)
{
	spin_lock(&dev->config_lock);
	WRITE_ONCE(dev->needs_reset, true);
	dev->config_call.was_told = false;
	signal_config(dev);
	spin_unlock(&dev->config_lock);
}

static int eventfd_get(int fd, struct eventfd_ctx **ctx)
{
	struct eventfd_ctx *new = NULL;

	if (fd != VHOST_FILE_UNBIND) {
		new = eventfd_ctx_fdget(fd);
		if (IS_ERR(new))
			return PTR_ERR(new);
	}
	*ctx = new;
	return 0;
}

static int vq_wait_for_kick(struct vhl_vq *vq, struct file *kick)
{
	if (!kick || !vhl_vq_started(vq))
		return 0;
	vq->kick_poll.is_kick = true;
	return vhl_poll_start(&vq->kick_poll, vq, kick, EPOLLIN);
}

static void eventfd_put(struct eventfd_ctx *ctx)
{
	if (ctx)
		eventfd_ctx_put(ctx);
}

/*
 * Set an eventfd, holding the lock of @call. @drop gets what to let go of after the lock. Return:
 * true where it was signalled for all that there was to tell.
 */
static bool call_replace(struct vhl_call *call, struct eventfd_ctx *new,
			 struct eventfd_ctx *drop[2])
{
	bool told = new && (new == call->ctx || (new == call->was && call->was_told));

	drop[0] = call->ctx;
	drop[1] = NULL;
	if (new != call->ctx) {
		drop[0] = call->was;
		call->was = call->ctx;
		call->was_told = true;
	}
	if (!new) {
		drop[1] = call->was;
		call->was = NULL;
	}
	call->ctx = new;
	return told;
}

int vhl_vq_set_kick(struct vhl_vq *vq, int fd)
{
	struct file *old = vq->kick, *new = NULL;
	int ret;

	lockdep_assert_held(&vq->dev->mutex);

	if (fd != VHOST_FILE_UNBIND) {
		new = eventfd_fget(fd);
		if (IS_ERR(new))
			return PTR_ERR(new);
	}
	vhl_poll_stop(&vq->kick_poll);
	ret = vq_wait_for_kick(vq, new);
	if (ret) {
		/* it was waited for before */
		(void)vq_wait_for_kick(vq, old);
		swap(old, new);
	}
	vq->kick = new;
	/*
	 * A kick on the old file that was not served yet is not lost: its turn is queued, or the
	 * new file is found ready, or the turn that is queued here sees the chain.
	 */
	if (vhl_vq_started(vq))
		vhl_vq_kick(vq);
	if (old)
		fput(old);
	return ret;
}

int vhl_vq_set_call(struct vhl_vq *vq, int fd)
{
	struct eventfd_ctx *ctx, *drop[2];
	bool told;
	int ret;

	lockdep_assert_held(&vq->dev->mutex);

	ret = eventfd_get(fd, &ctx);
	if (ret)
		return ret;
	spin_lock_irq(&vq->used_lock);
	told = call_replace(&vq->call, ctx, drop);
	/* without a ring there is nothing to look at: the start does it */
	if (ctx && vhl_vq_started(vq) && vhl_ring_owes_call(vq->ring, told))
		signal_call(vq);
	spin_unlock_irq(&vq->used_lock);
	eventfd_put(drop[0]);
	eventfd_put(drop[1]);
	return 0;
}

/* Also after a reset: a machine that goes on after a stop is reset, and its driver knows nothing */
int vhl_set_config_call(struct vhl_dev *dev, int fd)
{
	struct eventfd_ctx *ctx, *drop[2];
	bool told;
	int ret;

	lockdep_assert_held(&dev->mutex);

	ret = eventfd_get(fd, &ctx);
	if (ret)
		return ret;
	spin_lock(&dev->config_lock);
	told = call_replace(&dev->config_call, ctx, drop);
	if (!told && (dev->config_changed || dev->needs_reset))
		signal_config(dev);
	spin_unlock(&dev->config_lock);
	eventfd_put(drop[0]);
	eventfd_put(drop[1]);
	return 0;
}

int vhl_vq_set_err(struct vhl_vq *vq, int fd)
{
	struct eventfd_ctx *ctx;
	bool failed;
	int ret;

	lockdep_assert_held(&vq->dev->mutex);

	ret = eventfd_get(fd, &ctx);
	if (ret)
		return ret;
	/*
	 * a queue that waits for its ring to be mapped, and has it, is one that did not start again
	 */
	failed = vq->state == VHL_VQ_UNMAPPED && !vq->dev->in_batch && vhl_ring_is_mapped(vq);
	vhl_vq_lock(vq);
	swap(vq->err, ctx);
	if (vq->err && (vq->state == VHL_VQ_BROKEN || failed))
		vhl_eventfd_signal(vq->err);
	vhl_vq_unlock(vq);
	eventfd_put(ctx);
	return 0;
}

/* Of the log of dirty memory, for all queues */
int vhl_set_log_call(struct vhl_dev *dev, int fd)
{
	struct eventfd_ctx *ctx;
	unsigned int i;
	int ret;

	lockdep_assert_held(&dev->mutex);

	ret = eventfd_get(fd, &ctx);
	if (ret)
		return ret;
	swap(dev->log_call, ctx);
	for (i = 0; i < dev->node->num_vqs; i++) {
		struct vhl_vq *vq = dev->vqs[i];

		spin_lock_irq(&vq->used_lock);
		WRITE_ONCE(vq->log_call, dev->log_call);
		spin_unlock_irq(&vq->used_lock);
	}
	eventfd_put(ctx);
	return 0;
}

void vhl_vq_put_eventfds(struct vhl_vq *vq)
{
	/* -1 cannot fail */
	(void)vhl_vq_set_kick(vq, VHOST_FILE_UNBIND);
	(void)vhl_vq_set_call(vq, VHOST_FILE_UNBIND);
	(void)vhl_vq_set_err(vq, VHOST_FILE_UNBIND);
}
