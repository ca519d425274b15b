// SPDX-License-Identifier: GPL-2.0
#include <linux/container_of.h>
#include <linux/err.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "thread_kinds.h"

#ifdef VHL_HAVE_VHOST_TASK

#include <linux/rcupdate.h>
#include <linux/sched/vhost_task.h>
#include <linux/task_work.h>

struct vhl_task {
	struct vhl_thread base;
	bool (*fn)(void *data);
	void (*killed)(void *data);
	void *data;
	struct vhost_task *task;
	bool is_dead;
};

/*
 * Work that others leave for a task on its way back to user space (last references of files, the
 * scheduler's throttling since 6.18) would wait for ever: there is no such way. The task looks for
 * it where it looks for signals.
 */
static bool thread_run(void *data)
{
	struct vhl_task *thread = data;

	if (unlikely(task_work_pending(current)))
		set_tsk_thread_flag(current, TIF_NOTIFY_SIGNAL);
	return thread->fn(thread->data);
}

/* The process is being killed, and the task exits after this. */
static void thread_killed(void *data)
{
	struct vhl_task *thread = data;

	WRITE_ONCE(thread->is_dead, true);
	thread->killed(thread->data);
}

/* The task is a clone of current, hence in all respects like it */
static struct vhl_thread *task_create(bool (*fn)(void *data), void (*killed)(void *data),
				      void *data, const char *name)
{
	struct vhl_task *thread = kzalloc(sizeof(*thread), GFP_KERNEL);
	struct vhost_task *task;

	if (!thread)
		return ERR_PTR(-ENOMEM);
	thread->fn = fn;
	thread->killed = killed;
	thread->data = data;
	task = vhost_task_create(thread_run, thread_killed, thread, name);
	/* before 6.14 it does not say why */
	if (IS_ERR_OR_NULL(task)) {
		kfree(thread);
		return task ? ERR_CAST(task) : ERR_PTR(-ENOMEM);
	}
	thread->task = task;
	vhost_task_start(task);
	return &thread->base;
}

static void task_wake(struct vhl_thread *base)
{
	struct vhl_task *thread = container_of(base, struct vhl_task, base);

	/*
	 * Kernels without a reference to the task in struct vhost_task free it when it has
	 * exited, but not before a grace period.
	 */
	rcu_read_lock();
	if (!READ_ONCE(thread->is_dead))
		vhost_task_wake(thread->task);
	rcu_read_unlock();
}

static void task_stop(struct vhl_thread *base)
{
	struct vhl_task *thread = container_of(base, struct vhl_task, base);

	vhost_task_stop(thread->task);
	kfree(thread);
}

bool vhl_thread_can_be_owners(void)
{
	return true;
}

#else

static struct vhl_thread *task_create(bool (*fn)(void *data), void (*killed)(void *data),
				      void *data, const char *name)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void task_wake(struct vhl_thread *base)
{
}

static void task_stop(struct vhl_thread *base)
{
}

bool vhl_thread_can_be_owners(void)
{
	return false;
}

#endif

struct vhl_thread *vhl_thread_create(bool (*fn)(void *data), void (*killed)(void *data), void *data,
				     const char *name)
{
	/* one of the kernel makes others of its kind */
	if (!vhl_thread_can_be_owners() || current->flags & PF_KTHREAD)
		return vhl_kthread_create(fn, data, name);
	return task_create(fn, killed, data, name);
}

void vhl_thread_wake(struct vhl_thread *thread)
{
	if (thread->is_kthread)
		vhl_kthread_wake(thread);
	else
		task_wake(thread);
}

void vhl_thread_stop(struct vhl_thread *thread)
{
	if (thread->is_kthread)
		vhl_kthread_stop(thread);
	else
		task_stop(thread);
}
