// SPDX-License-Identifier: GPL-2.0
/*
 * The pool: threads of a device that may block, for what its workers must not wait for.
 *
 * They are made one by another, so that all of them are like the device's first worker. The first
 * one is made when a queue first starts: from then on no job depends on there being memory for a
 * thread. A thread that takes a job first sees to it that another one is idle, as long as there may
 * be more; so a job waits for others only if that many of them block, or no thread could be made.
 *
 * Most jobs hardly block, and to wake a thread for each would cost more than they do. So one thread
 * at a time is woken. When it takes a job and there are more, it wakes the next one; if that comes
 * to run only after this one has done them all, because there is no other CPU, nothing is lost.
 *
 * Threads that have had nothing to do for long are stopped by one that goes idle itself. A device
 * that is idle as a whole keeps those that it has.
 */
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "internal.h"
#include "../compat/thread.h"

/* A thread that had nothing to do for so long is one too many */
#define VHL_POOL_IDLE	(10 * HZ)

/**
 * struct vhl_pool - the pool of a device
 * @dev: the device
 * @max: threads that it may have
 * @lock: irq-safe, for all below
 * @jobs: that no thread has taken yet
 * @idle: threads, the one that was busy last comes first
 * @threads: all, but those that are being stopped
 * @num: of them, and one that is being made
 * @alive: of them, those that were not killed
 * @named: threads so far
 * @waking: one was woken, and has not looked for a job yet
 * @growing: one is being made
 * @stopping: no more are
 */
struct vhl_pool {
	struct vhl_dev *dev;
	unsigned int max;
	spinlock_t lock;
	struct list_head jobs;
	struct list_head idle;
	struct list_head threads;
	unsigned int num;
	unsigned int alive;
	unsigned int named;
	bool waking;
	bool growing;
	bool stopping;
};

/**
 * struct vhl_pooled - a thread of a pool
 * @pool: the pool
 * @thread: the thread; set before it is on @pool's lists
 * @node: of @pool->threads
 * @idle: of @pool->idle, or empty
 * @since: when it became idle, in jiffies
 * @woken: for a job, and has not come yet
 * @leaving: it is being stopped
 * @dead: it was killed with its process
 */
struct vhl_pooled {
	struct vhl_pool *pool;
	struct vhl_thread *thread;
	struct list_head node;
	struct list_head idle;
	unsigned long since;
	bool woken;
	bool leaving;
	bool dead;
};

static bool pool_run(void *data);
static void pool_killed(void *data);

/* Have an idle thread look at the jobs, unless one is about to. */
static void pool_wake(struct vhl_pool *pool)
{
	struct vhl_pooled *t;

	lockdep_assert_held(&pool->lock);

	if (pool->waking || list_empty(&pool->jobs) || list_empty(&pool->idle))
		return;
	t = list_first_entry(&pool->idle, struct vhl_pooled, idle);
	list_del_init(&t->idle);
	t->woken = true;
	pool->waking = true;
	/* under the lock: it may be stopped when it has found nothing */
	vhl_thread_wake(t->thread);
}

/* One that was woken has come, or will not come any more. */
static void pool_woken(struct vhl_pooled *t)
{
	struct vhl_pool *pool = t->pool;

	lockdep_assert_held(&pool->lock);

	if (!t->woken)
		return;
	t->woken = false;
	pool->waking = false;
}

/* Room for one more thread, which the caller makes */
static bool pool_may_grow(struct vhl_pool *pool)
{
	lockdep_assert_held(&pool->lock);

	/* a thread that was woken sees to that when it takes a job */
	if (pool->growing || pool->waking || pool->stopping || pool->num == pool->max ||
	    !list_empty(&pool->idle))
		return false;
	pool->growing = true;
	pool->num++;
	pool->alive++;
	return true;
}

static struct vhl_pooled *pool_new_thread(struct vhl_pool *pool, char *name)
{
	struct vhl_pooled *t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);

	if (!t)
		return NULL;
	t->pool = pool;
	INIT_LIST_HEAD(&t->idle);
	INIT_LIST_HEAD(&t->node);
	snprintf(name, TASK_COMM_LEN, "vhost-%d-l%u", pid_nr(pool->dev->owner), pool->named);
	return t;
}

/* The end of growth; @thread may be an ERR_PTR */
static int pool_grown(struct vhl_pool *pool, struct vhl_pooled *t, struct vhl_thread *thread)
{
	int ret = PTR_ERR_OR_ZERO(thread);

	spin_lock_irq(&pool->lock);
	pool->growing = false;
	if (!ret) {
		t->thread = thread;
		list_add(&t->node, &pool->threads);
		pool->named++;
		/*
		 * it did not go on before it was there; under the lock, for it may be stopped now
		 */
		vhl_thread_wake(thread);
	} else {
		pool->num--;
		pool->alive--;
	}
	spin_unlock_irq(&pool->lock);
	if (ret)
		kfree(t);
	return ret;
}

/* By a thread of the pool. Where it fails the next one that takes a job tries again. */
static void pool_grow(struct vhl_pool *pool)
{
	char name[TASK_COMM_LEN];
	struct vhl_pooled *t = pool_new_thread(pool, name);
	struct vhl_thread *thread = ERR_PTR(-ENOMEM);

	if (t)
		thread = vhl_thread_create(pool_run, pool_killed, t, name);
	(void)pool_grown(pool, t, thread);
}

/* A thread that is going to be stopped */
static void pool_leave(struct vhl_pooled *t)
{
	struct vhl_pool *pool = t->pool;

	lockdep_assert_held(&pool->lock);

	list_del_init(&t->idle);
	list_del_init(&t->node);
	t->leaving = true;
	pool->num--;
	if (!t->dead)
		pool->alive--;
}

/* A thread that is not needed any more, off all lists. Called by one that goes idle */
static struct vhl_pooled *pool_shrink(struct vhl_pool *pool)
{
	struct vhl_pooled *t;

	lockdep_assert_held(&pool->lock);

	if (pool->stopping || list_empty(&pool->idle))
		return NULL;
	t = list_last_entry(&pool->idle, struct vhl_pooled, idle);
	if (time_before(jiffies, t->since + VHL_POOL_IDLE))
		return NULL;
	pool_leave(t);
	return t;
}

static void pool_free_thread(struct vhl_pooled *t)
{
	vhl_thread_stop(t->thread);
	kfree(t);
}

/* Nothing to do: idle, but for one that has been so for longer. Return: true if it was stopped. */
static bool pool_go_idle(struct vhl_pool *pool, struct vhl_pooled *t)
	__releases(&pool->lock)
{
	struct vhl_pooled *other = NULL;

	/*
	 * one that was made just now waits until it is on the list of all, one that leaves for its
	 * end
	 */
	if (list_empty(&t->idle) && t->thread && !t->leaving) {
		other = pool_shrink(pool);
		/* idle only when that is done: an idle thread that is woken has to come at once */
		if (!other) {
			t->since = jiffies;
			list_add(&t->idle, &pool->idle);
		}
	}
	spin_unlock_irq(&pool->lock);
	if (!other)
		return false;
	__set_current_state(TASK_RUNNING);
	pool_free_thread(other);
	return true;
}

static bool pool_run(void *data)
{
	struct vhl_pooled *t = data;
	struct vhl_pool *pool = t->pool;
	struct vhl_job *job;
	bool grow;

	/* the state was set before this look; pairs with the wake-up in pool_wake() */
	spin_lock_irq(&pool->lock);
	pool_woken(t);
	job = list_first_entry_or_null(&pool->jobs, struct vhl_job, node);
	if (!job || !t->thread)
		return pool_go_idle(pool, t);
	list_del(&job->node);
	list_del_init(&t->idle);
	pool_wake(pool);
	grow = pool_may_grow(pool);
	spin_unlock_irq(&pool->lock);

	__set_current_state(TASK_RUNNING);
	if (grow)
		pool_grow(pool);
	job->run(job, false);
	cond_resched();
	return true;
}

static void pool_killed(void *data)
{
	struct vhl_pooled *t = data;
	struct vhl_pool *pool = t->pool;
	struct vhl_job *job, *next;
	LIST_HEAD(jobs);

	spin_lock_irq(&pool->lock);
	list_del_init(&t->idle);
	pool_woken(t);
	pool_wake(pool);
	/* there may be no thread left for the jobs that wait */
	if (!t->leaving && !--pool->alive)
		list_splice_init(&pool->jobs, &jobs);
	t->dead = true;
	spin_unlock_irq(&pool->lock);
	list_for_each_entry_safe(job, next, &jobs, node)
		job->run(job, true);
}

void vhl_pool_submit(struct vhl_dev *dev, struct vhl_job *job)
{
	struct vhl_pool *pool = dev->pool;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	if (unlikely(!pool->alive)) {
		spin_unlock_irqrestore(&pool->lock, flags);
		job->run(job, true);
		return;
	}
	list_add_tail(&job->node, &pool->jobs);
	pool_wake(pool);
	spin_unlock_irqrestore(&pool->lock, flags);
}
EXPORT_SYMBOL_GPL(vhl_pool_submit);

/* At least one thread, from now until vhl_pool_stop() */
int vhl_pool_start(struct vhl_dev *dev)
{
	struct vhl_thread *thread = ERR_PTR(-ENOMEM);
	char name[TASK_COMM_LEN];
	struct vhl_pool *pool;
	struct vhl_pooled *t;
	int ret;

	lockdep_assert_held(&dev->mutex);

	if (dev->pool || !dev->node->pool_max)
		return 0;
	pool = kzalloc(sizeof(*pool), GFP_KERNEL_ACCOUNT);
	if (!pool)
		return -ENOMEM;
	pool->dev = dev;
	pool->max = dev->node->pool_max;
	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->jobs);
	INIT_LIST_HEAD(&pool->idle);
	INIT_LIST_HEAD(&pool->threads);
	pool->growing = true;
	pool->num = 1;
	pool->alive = 1;

	t = pool_new_thread(pool, name);
	if (t)
		thread = vhl_worker_spawn(dev, pool_run, pool_killed, t, name);
	ret = pool_grown(pool, t, thread);
	if (ret) {
		kfree(pool);
		return ret;
	}
	dev->pool = pool;
	return 0;
}

/* All queues are stopped: there are no jobs, at most some that are about to return. */
void vhl_pool_stop(struct vhl_dev *dev)
{
	struct vhl_pool *pool = dev->pool;
	struct vhl_pooled *t;

	lockdep_assert_held(&dev->mutex);

	if (!pool)
		return;
	spin_lock_irq(&pool->lock);
	pool->stopping = true;
	/* one that is stopped may be about to make another, which is on the list by then */
	while ((t = list_first_entry_or_null(&pool->threads, struct vhl_pooled, node))) {
		pool_leave(t);
		spin_unlock_irq(&pool->lock);
		pool_free_thread(t);
		spin_lock_irq(&pool->lock);
	}
	spin_unlock_irq(&pool->lock);
	kfree(pool);
	dev->pool = NULL;
}
