// SPDX-License-Identifier: GPL-2.0
#include <linux/err.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "thread.h"

#ifdef VHL_HAVE_VHOST_TASK

#include <linux/rcupdate.h>
#include <linux/sched/vhost_task.h>
#include <linux/task_work.h>

struct vhl_thread {
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
	struct vhl_thread *thread = data;

	if (unlikely(task_work_pending(current)))
		set_tsk_thread_flag(current, TIF_NOTIFY_SIGNAL);
	return thread->fn(thread->data);
}

/* The process is being killed, and the task exits after this. */
static void thread_killed(void *data)
{
	struct vhl_thread *thread = data;

	WRITE_ONCE(thread->is_dead, true);
	thread->killed(thread->data);
}

/* The task is a clone of current, hence in all respects like it */
struct vhl_thread *vhl_thread_create(bool (*fn)(void *data), void (*killed)(void *data), void *data,
				     const char *name)
{
	struct vhl_thread *thread = kzalloc(sizeof(*thread), GFP_KERNEL);
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
	return thread;
}

void vhl_thread_wake(struct vhl_thread *thread)
{
	/*
	 * Kernels without a reference to the task in struct vhost_task free it when it has
	 * exited, but not before a grace period.
	 */
	rcu_read_lock();
	if (!READ_ONCE(thread->is_dead))
		vhost_task_wake(thread->task);
	rcu_read_unlock();
}

void vhl_thread_stop(struct vhl_thread *thread)
{
	vhost_task_stop(thread->task);
	kfree(thread);
}

#else

#include <linux/cgroup.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <uapi/linux/sched/types.h>

struct vhl_thread {
	bool (*fn)(void *data);
	void *data;
	struct task_struct *maker;	/* waits until @joined */
	struct mm_struct *mm;		/* mm_users: the memory lives as long as the thread */
	const struct cred *cred;	/* the maker's, as a clone would have */
	struct task_struct *task;
	struct completion joined;
	int ret;
};

/*
 * Policies are given away by reference: the copy of a clone cannot be made from here. What changes
 * in one later are the nodes that its cpuset allows, which are the same for both.
 */
static void thread_join_mempolicy(struct task_struct *maker)
{
#ifdef CONFIG_NUMA
	struct mempolicy *policy;

	task_lock(maker);
	policy = maker->mempolicy;
	mpol_get(policy);
	task_unlock(maker);
	/* a new thread has none yet; it is put when the thread exits */
	task_lock(current);
	current->mempolicy = policy;
	task_unlock(current);
#endif
}

/* Become like the maker, where a kernel thread is not by itself */
static int thread_join(struct task_struct *maker)
{
	struct sched_attr attr = {
		.size		= sizeof(attr),
		.sched_policy	= maker->policy,
		.sched_nice	= task_nice(maker),
		.sched_priority	= maker->rt_priority,
	};
	int ret;

	/* only a task itself can be sure not to be moved meanwhile */
	ret = cgroup_attach_task_all(maker, current);
	if (ret)
		return ret;
	/* then: the cpuset has set its own */
	ret = set_cpus_allowed_ptr(current, maker->cpus_ptr);
	if (ret)
		return ret;
	/* a deadline is for one task alone: no clone has it either */
	if (maker->policy != SCHED_DEADLINE) {
		ret = sched_setattr_nocheck(current, &attr);
		if (ret)
			return ret;
	}
	thread_join_mempolicy(maker);
	return 0;
}

static int thread_main(void *data)
{
	struct vhl_thread *thread = data;
	struct mem_cgroup *memcg, *old_memcg;
	const struct cred *old_cred;

	thread->ret = thread_join(thread->maker);
	complete(&thread->joined);
	old_cred = override_creds(thread->cred);
	/* what it allocates on behalf of the owner is charged as by a thread of the owner */
	memcg = get_mem_cgroup_from_mm(thread->mm);
	old_memcg = set_active_memcg(memcg);
	kthread_use_mm(thread->mm);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		/* one that could not become like its maker only waits for its end */
		if (thread->ret || !thread->fn(thread->data))
			schedule();
	}
	__set_current_state(TASK_RUNNING);
	kthread_unuse_mm(thread->mm);
	set_active_memcg(old_memcg);
	mem_cgroup_put(memcg);
	revert_creds(old_cred);
	return 0;
}

struct vhl_thread *vhl_thread_create(bool (*fn)(void *data), void (*killed)(void *data), void *data,
				     const char *name)
{
	struct vhl_thread *thread = kzalloc(sizeof(*thread), GFP_KERNEL);
	int ret;

	if (!thread)
		return ERR_PTR(-ENOMEM);
	thread->fn = fn;
	thread->data = data;
	thread->maker = current;
	init_completion(&thread->joined);
	/* it may be current that uses it last, which exits no sooner than this returns */
	thread->mm = current->mm;
	mmget(thread->mm);
	thread->cred = get_current_cred();
	thread->task = kthread_create(thread_main, thread, "%s", name);
	if (IS_ERR(thread->task)) {
		ret = PTR_ERR(thread->task);
		goto put_mm;
	}
	wake_up_process(thread->task);
	wait_for_completion(&thread->joined);
	if (thread->ret) {
		ret = thread->ret;
		goto stop_task;
	}
	return thread;

stop_task:
	kthread_stop(thread->task);
put_mm:
	put_cred(thread->cred);
	mmput(thread->mm);
	kfree(thread);
	return ERR_PTR(ret);
}

void vhl_thread_wake(struct vhl_thread *thread)
{
	wake_up_process(thread->task);
}

void vhl_thread_stop(struct vhl_thread *thread)
{
	kthread_stop(thread->task);
	put_cred(thread->cred);
	mmput(thread->mm);
	kfree(thread);
}

#endif
