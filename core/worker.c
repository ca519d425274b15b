// SPDX-License-Identifier: GPL-2.0
/*
 * Workers: threads that give queues their turns.
 *
 * A queue is on the list of its worker at most once; VHL_VQ_QUEUED says so. The bit is cleared
 * before the turn begins, so a kick during a turn brings another one, and none is lost.
 *
 * The first worker is made by the thread that sets the owner, and inherits from it: affinity,
 * policy, nice, cgroup. It makes all other threads of the device when they are needed, so that
 * these inherit the same, whichever thread asks for them: under QEMU it is a vCPU that starts the
 * queues. All live until the device has no owner any more: whatever could kick (eventfds, backing
 * files, completions, naps) is gone before they are.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/nospec.h>
#include <linux/numa.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/topology.h>

#include "internal.h"
#include "../compat/thread.h"

#define VHL_VQ_QUEUED	0

/**
 * struct vhl_order - a thread that the first worker is to make
 * @fn: as of vhl_thread_create()
 * @killed: same
 * @data: same
 * @name: same
 * @thread: what that returned
 * @done: now
 */
struct vhl_order {
	bool (*fn)(void *data);
	void (*killed)(void *data);
	void *data;
	const char *name;
	struct vhl_thread *thread;
	struct completion done;
};

/**
 * struct vhl_worker - a thread and its list
 * @queue: of queues that want a turn
 * @index: of it in its device
 * @thread: the thread
 * @task: what runs in it, referenced; NULL before it has run
 * @lock: for the next two
 * @order: of a client that waits; the first worker's, one at a time
 * @dead: it was killed with its process
 * @more: the queue that has its turn is not the last one of those that wanted one
 * @crowded: since when there was always one, in jiffies, or 0
 * @waited: for a CPU, ns before that
 *
 * The last three are the thread's alone.
 */
struct vhl_worker {
	struct llist_head queue;
	unsigned int index;
	struct vhl_thread *thread;
	struct task_struct *task;
	spinlock_t lock;
	struct vhl_order *order;
	bool dead;
	bool more;
	u64 crowded;
	u64 waited;
};

/* In a turn by the thread: is there another one to come? */
bool vhl_worker_has_work(const struct vhl_worker *worker)
{
	return worker->more || !llist_empty(&worker->queue);
}

/* In a turn of @vq by the thread: does another queue want one? */
bool vhl_worker_has_other(const struct vhl_worker *worker, const struct vhl_vq *vq)
{
	const struct llist_node *first = READ_ONCE(worker->queue.first);

	return worker->more || (first && (first != &vq->work || READ_ONCE(first->next)));
}

u64 vhl_worker_waited(const struct vhl_worker *worker)
{
	const struct task_struct *task = READ_ONCE(worker->task);

	return task ? vhl_task_waited(task) : 0;
}

bool vhl_worker_is_current(const struct vhl_worker *worker)
{
	return READ_ONCE(worker->task) == current;
}

unsigned int vhl_worker_index(const struct vhl_worker *worker)
{
	return worker->index;
}

void vhl_worker_uncrowd(struct vhl_worker *worker)
{
	worker->crowded = 0;
}

/*
 * By the thread itself, at the end of each turn: did another queue than @vq wait for it, and so at
 * the end of each one for so long, in which the thread hardly waited for its CPU?
 */
bool vhl_worker_crowded(struct vhl_worker *worker, const struct vhl_vq *vq, unsigned int ms)
{
	u64 lasted, waited;

	if (likely(!vhl_worker_has_other(worker, vq))) {
		vhl_worker_uncrowd(worker);
		return false;
	}
	if (!worker->crowded) {
		worker->crowded = get_jiffies_64() | 1;
		worker->waited = vhl_worker_waited(worker);
		return false;
	}
	if (!time_after64(get_jiffies_64(), worker->crowded + msecs_to_jiffies(ms)))
		return false;
	lasted = jiffies64_to_nsecs(get_jiffies_64() - worker->crowded);
	waited = vhl_worker_waited(worker) - worker->waited;
	if (waited < lasted / 8)
		return true;
	/* more threads would get no more */
	vhl_worker_uncrowd(worker);
	return false;
}

bool vhl_worker_on_cpu(const struct vhl_worker *worker)
{
	const struct task_struct *task = READ_ONCE(worker->task);

	return task && vhl_task_on_cpu(task);
}

void vhl_vq_kick(struct vhl_vq *vq)
{
	struct vhl_worker *worker;

	/*
	 * Full barrier: what the caller wants to be seen is before the bit. Pairs with the barrier
	 * in worker_run(), after which the turn looks at it.
	 */
	if (test_and_set_bit(VHL_VQ_QUEUED, &vq->flags))
		return;
	/* until vhl_worker_free() may free it */
	rcu_read_lock();
	worker = READ_ONCE(vq->worker);
	/* a list that was not empty belongs to a worker that is already awake */
	if (llist_add(&vq->work, &worker->queue))
		vhl_thread_wake(worker->thread);
	rcu_read_unlock();
}
EXPORT_SYMBOL_GPL(vhl_vq_kick);

/* Take the order, if there is one; it is the caller's alone then. */
static struct vhl_order *worker_take_order(struct vhl_worker *worker)
{
	struct vhl_order *order;

	spin_lock(&worker->lock);
	order = worker->order;
	worker->order = NULL;
	spin_unlock(&worker->lock);
	return order;
}

static void worker_make_thread(struct vhl_worker *worker)
{
	struct vhl_order *order = worker_take_order(worker);

	if (!order)
		return;
	order->thread = vhl_thread_create(order->fn, order->killed, order->data, order->name);
	complete(&order->done);
}

static bool worker_run(void *data)
{
	struct vhl_worker *worker = data;
	struct llist_node *node = llist_del_all(&worker->queue);
	struct vhl_vq *vq, *next;

	if (unlikely(!worker->task))
		WRITE_ONCE(worker->task, get_task_struct(current));
	/* the state was set before this look; pairs with the wake-up that follows an order */
	if (unlikely(READ_ONCE(worker->order))) {
		__set_current_state(TASK_RUNNING);
		worker_make_thread(worker);
	} else if (!node) {
		vhl_worker_uncrowd(worker);
		return false;
	}
	__set_current_state(TASK_RUNNING);

	llist_for_each_entry_safe(vq, next, llist_reverse_order(node), work) {
		worker->more = vq->work.next;
		clear_bit(VHL_VQ_QUEUED, &vq->flags);
		/* the bit before everything that the turn looks at; pairs with vhl_vq_kick() */
		smp_mb__after_atomic();
		vq->turn(vq);
		/* a worker that never sleeps would keep Tasks RCU waiting */
		cond_resched_tasks_rcu_qs();
	}
	return true;
}

/* Nothing waits for turns of a worker that is gone: a stop excludes them by vq->mutex. */
static void worker_killed(void *data)
{
	struct vhl_worker *worker = data;
	struct vhl_order *order;

	spin_lock(&worker->lock);
	worker->dead = true;
	spin_unlock(&worker->lock);
	order = worker_take_order(worker);
	if (order) {
		order->thread = ERR_PTR(-ESRCH);
		complete(&order->done);
	}
}

/*
 * The first worker may be in a turn, which ends soon, or in a page fault, which perhaps does not.
 */
struct vhl_thread *vhl_worker_spawn(struct vhl_dev *dev, bool (*fn)(void *data),
				    void (*killed)(void *data), void *data, const char *name)
{
	struct vhl_worker *first = dev->workers[0];
	struct vhl_order order = {
		.fn	= fn,
		.killed	= killed,
		.data	= data,
		.name	= name,
	};

	lockdep_assert_held(&dev->mutex);

	init_completion(&order.done);
	spin_lock(&first->lock);
	if (first->dead) {
		spin_unlock(&first->lock);
		return ERR_PTR(-ESRCH);
	}
	WRITE_ONCE(first->order, &order);
	spin_unlock(&first->lock);
	vhl_thread_wake(first->thread);
	if (wait_for_completion_killable(&order.done)) {
		if (worker_take_order(first))
			return ERR_PTR(-EINTR);
		/* too late to take it back */
		wait_for_completion(&order.done);
	}
	return order.thread;
}

/*
 * The memory node of the CPU that it is on, or was last; of another one if it may not use that any
 * more. NUMA_NO_NODE before it has run.
 */
static int worker_node(const struct vhl_worker *worker)
{
	const struct task_struct *task = READ_ONCE(worker->task);
	unsigned int cpu;

	if (!task)
		return NUMA_NO_NODE;
	cpu = task_cpu(task);
	if (!cpumask_test_cpu(cpu, task->cpus_ptr))
		cpu = cpumask_any(task->cpus_ptr);
	return cpu < nr_cpu_ids ? cpu_to_mem(cpu) : NUMA_NO_NODE;
}

int vhl_vq_node(const struct vhl_vq *vq)
{
	return worker_node(vq->worker);
}
EXPORT_SYMBOL_GPL(vhl_vq_node);

static struct vhl_worker *worker_alloc(unsigned int index, int node)
{
	struct vhl_worker *worker = kzalloc_node(sizeof(*worker), GFP_KERNEL_ACCOUNT, node);

	if (!worker)
		return NULL;
	init_llist_head(&worker->queue);
	worker->index = index;
	spin_lock_init(&worker->lock);
	return worker;
}

static void worker_put(struct vhl_worker *worker)
{
	if (worker->task)
		put_task_struct(worker->task);
	kfree(worker);
}

int vhl_workers_start(struct vhl_dev *dev)
{
	struct vhl_worker *worker = worker_alloc(0, NUMA_NO_NODE);
	char name[TASK_COMM_LEN];
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (!worker)
		return -ENOMEM;
	/* the kernel's vhost calls its threads so, and tools find them by that */
	snprintf(name, sizeof(name), "vhost-%d", pid_nr(dev->owner));
	if (dev->fork_from_owner)
		worker->thread = vhl_thread_create(worker_run, worker_killed, worker, name);
	else
		worker->thread = vhl_kthread_create(worker_run, worker, name);
	if (IS_ERR(worker->thread)) {
		ret = PTR_ERR(worker->thread);
		kfree(worker);
		return ret;
	}
	dev->workers[0] = worker;
	return 0;
}

/* One that the first worker makes. Return: it, or an ERR_PTR */
static struct vhl_worker *worker_add(struct vhl_dev *dev, unsigned int index)
{
	struct vhl_worker *worker = worker_alloc(index, worker_node(dev->workers[0]));
	char name[TASK_COMM_LEN];
	struct vhl_thread *thread;

	if (!worker)
		return ERR_PTR(-ENOMEM);
	snprintf(name, sizeof(name), "vhost-%d-%u", pid_nr(dev->owner), index);
	thread = vhl_worker_spawn(dev, worker_run, worker_killed, worker, name);
	if (IS_ERR(thread)) {
		kfree(worker);
		return ERR_CAST(thread);
	}
	worker->thread = thread;
	dev->workers[index] = worker;
	return worker;
}

/*
 * The two that it may be with. One of its own is made now, since nobody can wait for a thread in a
 * turn; it sleeps until it is needed.
 */
int vhl_workers_get(struct vhl_vq *vq)
{
	struct vhl_dev *dev = vq->dev;
	const unsigned int *max = dev->node->max_workers;
	unsigned int index = vq->index;
	struct vhl_worker *worker;

	lockdep_assert_held(&dev->mutex);

	if (vq->own)
		return 0;
	if (max && READ_ONCE(*max))
		index %= READ_ONCE(*max);

	worker = dev->workers[index] ?: worker_add(dev, index);
	if (IS_ERR(worker))
		return PTR_ERR(worker);
	vq->home = dev->workers[0];
	vq->own = worker;
	WRITE_ONCE(vq->worker, vq->home);
	return 0;
}

struct vhl_worker *vhl_worker_get(struct vhl_dev *dev, u32 index)
{
	lockdep_assert_held(&dev->mutex);

	if (index >= VHL_MAX_WORKERS)
		return NULL;
	return dev->workers[array_index_nospec(index, VHL_MAX_WORKERS)];
}

/* Behind those that queues have of their own: no queue's index is as high */
int vhl_worker_new(struct vhl_dev *dev)
{
	struct vhl_worker *worker;
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = VHL_MAX_VQS; i < VHL_MAX_WORKERS; i++) {
		if (dev->workers[i])
			continue;
		worker = worker_add(dev, i);
		return IS_ERR(worker) ? PTR_ERR(worker) : i;
	}
	return -ENOSPC;
}

int vhl_worker_free(struct vhl_dev *dev, u32 index)
{
	struct vhl_worker *worker = vhl_worker_get(dev, index);
	struct vhl_vq *vq, *next;
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	if (!worker)
		return -ENODEV;
	if (worker->index < VHL_MAX_VQS)
		return -EBUSY;
	for (i = 0; i < dev->node->num_vqs; i++)
		if (dev->vqs[i]->own == worker)
			return -EBUSY;
	dev->workers[worker->index] = NULL;
	/* whoever kicks a queue may have seen this worker with it */
	synchronize_rcu();
	vhl_thread_stop(worker->thread);
	/* a kick from then that it did not come to is for the worker that the queue has now */
	llist_for_each_entry_safe(vq, next, llist_del_all(&worker->queue), work) {
		clear_bit(VHL_VQ_QUEUED, &vq->flags);
		vhl_vq_kick(vq);
	}
	worker_put(worker);
	return 0;
}

/* All queues are stopped, so there are no kicks any more. */
void vhl_workers_stop(struct vhl_dev *dev)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	for (i = 0; i < ARRAY_SIZE(dev->workers); i++) {
		struct vhl_worker *worker = dev->workers[i];

		if (!worker)
			continue;
		vhl_thread_stop(worker->thread);
		worker_put(worker);
		dev->workers[i] = NULL;
	}
	for (i = 0; i < dev->node->num_vqs; i++) {
		dev->vqs[i]->home = NULL;
		dev->vqs[i]->own = NULL;
		dev->vqs[i]->worker = NULL;
		/* a turn that the thread did not come to */
		dev->vqs[i]->flags = 0;
	}
}
