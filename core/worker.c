// SPDX-License-Identifier: GPL-2.0
/*
 * Workers: threads that give queues their turns.
 *
 * A queue is on the list of its worker at most once; VHL_VQ_QUEUED says so. The bit is cleared
 * before the turn begins, so a kick during a turn brings another one, and none is lost.
 *
 * Workers are made when a queue first starts and live until the device has no owner any more:
 * whatever could kick (eventfds, backing files, completions, naps) is gone before they are.
 */
#include <linux/sched.h>
#include <linux/slab.h>

#include "internal.h"
#include "../compat/thread.h"

#define VHL_VQ_QUEUED	0

struct vhl_worker {
	struct llist_head queue;
	struct vhl_thread *thread;
};

bool vhl_worker_has_work(const struct vhl_worker *worker)
{
	return !llist_empty(&worker->queue);
}

void vhl_vq_kick(struct vhl_vq *vq)
{
	struct vhl_worker *worker = vq->worker;

	/*
	 * Full barrier: what the caller wants to be seen is before the bit. Pairs with the barrier
	 * in worker_run(), after which the turn looks at it.
	 */
	if (test_and_set_bit(VHL_VQ_QUEUED, &vq->flags))
		return;
	/* a list that was not empty belongs to a worker that is already awake */
	if (llist_add(&vq->work, &worker->queue))
		vhl_thread_wake(worker->thread);
}
EXPORT_SYMBOL_GPL(vhl_vq_kick);

static bool worker_run(void *data)
{
	struct vhl_worker *worker = data;
	struct llist_node *node = llist_del_all(&worker->queue);
	struct vhl_vq *vq, *next;

	if (!node)
		return false;
	__set_current_state(TASK_RUNNING);

	llist_for_each_entry_safe(vq, next, llist_reverse_order(node), work) {
		clear_bit(VHL_VQ_QUEUED, &vq->flags);
		/* the bit before everything that the turn looks at; pairs with vhl_vq_kick() */
		smp_mb__after_atomic();
		vhl_vq_turn(vq);
		cond_resched();
	}
	return true;
}

int vhl_worker_get(struct vhl_vq *vq)
{
	struct vhl_dev *dev = vq->dev;
	const unsigned int *max = dev->node->max_workers;
	unsigned int index = vq->index;
	struct vhl_worker *worker;
	char name[TASK_COMM_LEN];

	lockdep_assert_held(&dev->mutex);

	if (vq->worker)
		return 0;
	if (max && READ_ONCE(*max))
		index %= READ_ONCE(*max);

	worker = dev->workers[index];
	if (!worker) {
		worker = kzalloc(sizeof(*worker), GFP_KERNEL);
		if (!worker)
			return -ENOMEM;
		init_llist_head(&worker->queue);
		snprintf(name, sizeof(name), "vhl-%d-%u", dev->owner_task->tgid, index);
		worker->thread = vhl_thread_create(worker_run, worker, dev->owner_task, name);
		if (IS_ERR(worker->thread)) {
			int ret = PTR_ERR(worker->thread);

			kfree(worker);
			return ret;
		}
		dev->workers[index] = worker;
	}
	vq->worker = worker;
	return 0;
}

/* All queues are stopped: nobody kicks any more. */
void vhl_workers_stop(struct vhl_dev *dev)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = 0; i < ARRAY_SIZE(dev->workers); i++) {
		struct vhl_worker *worker = dev->workers[i];

		if (!worker)
			continue;
		vhl_thread_stop(worker->thread);
		kfree(worker);
		dev->workers[i] = NULL;
	}
	for (i = 0; i < dev->node->num_vqs; i++) {
		dev->vqs[i]->worker = NULL;
		/* a turn that the thread did not come to */
		dev->vqs[i]->flags = 0;
	}
}
