// SPDX-License-Identifier: GPL-2.0
/*
 * Threads of the kernel that work with a process's memory, as like to the one that made them as a
 * clone of it would be.
 */
#include <linux/cgroup.h>
#include <linux/completion.h>
#include <linux/container_of.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <uapi/linux/sched/types.h>

#include "thread_kinds.h"

struct vhl_kthread {
	struct vhl_thread base;
	bool (*fn)(void *data);
	void *data;
	struct task_struct *maker;	/* waits until @joined */
	struct mm_struct *mm;		/* mm_users: the memory lives as long as the thread */
	const struct cred *cred;	/* the maker's, as a clone would have */
	struct task_struct *task;
	struct completion joined;
	int ret;
};

static struct vhl_kthread *vhl_kthread(struct vhl_thread *base)
{
	return container_of(base, struct vhl_kthread, base);
}

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
	struct vhl_kthread *thread = data;
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

struct vhl_thread *vhl_kthread_create(bool (*fn)(void *data), void *data, const char *name)
{
	struct vhl_kthread *thread = kzalloc(sizeof(*thread), GFP_KERNEL);
	int ret;

	if (!thread)
		return ERR_PTR(-ENOMEM);
	thread->base.is_kthread = true;
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
	return &thread->base;

stop_task:
	kthread_stop(thread->task);
put_mm:
	put_cred(thread->cred);
	mmput(thread->mm);
	kfree(thread);
	return ERR_PTR(ret);
}

void vhl_kthread_wake(struct vhl_thread *base)
{
	wake_up_process(vhl_kthread(base)->task);
}

void vhl_kthread_stop(struct vhl_thread *base)
{
	struct vhl_kthread *thread = vhl_kthread(base);

	kthread_stop(thread->task);
	put_cred(thread->cred);
	mmput(thread->mm);
	kfree(thread);
}
