/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between the kernels that vhost-lite builds for, and the only place that
 * knows of one.  Included in front of every file by Kbuild; probes in compat/Kbuild.include.
 */
#ifndef VHL_COMPAT_H
#define VHL_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "vhost-lite needs Linux 6.1 or newer"
#endif

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/sched.h>

static inline void vhl_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef VHL_EVENTFD_SIGNAL_HAS_COUNT
	eventfd_signal(ctx, 1);
#else
	eventfd_signal(ctx);
#endif
}

/* CLOCK_MONOTONIC, relative, in hard interrupts of the CPU that starts it */
static inline void vhl_hrtimer_setup(struct hrtimer *timer,
				     enum hrtimer_restart (*fn)(struct hrtimer *timer))
{
#ifdef VHL_HAVE_HRTIMER_SETUP
	hrtimer_setup(timer, fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	timer->function = fn;
#endif
}

/* Is @task on a CPU, neither asleep nor waiting for one? */
static inline bool vhl_task_on_cpu(const struct task_struct *task)
{
#ifdef CONFIG_SMP
	return READ_ONCE(task->on_cpu);
#else
	return task == current;
#endif
}

/* For how long, in ns, @task has waited for a CPU so far. 0 where the kernel does not count that */
static inline u64 vhl_task_waited(const struct task_struct *task)
{
#ifdef CONFIG_SCHED_INFO
	return READ_ONCE(task->sched_info.run_delay);
#else
	return 0;
#endif
}

#endif /* VHL_COMPAT_H */
