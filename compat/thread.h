/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thread that works on behalf of a process, with its memory: a vhost_task (a thread of the
 * process itself) where the kernel has them, or a kernel thread. It is like the one that made it,
 * which may be such a thread, too, and makes its own kind then: affinity, scheduling policy, nice,
 * memory policy, cgroups, credentials.
 */
#ifndef VHL_THREAD_H
#define VHL_THREAD_H

#include <linux/types.h>

struct vhl_thread;

/**
 * vhl_thread_create() - make and start a thread that is like the caller
 * @fn: called in a loop in TASK_INTERRUPTIBLE; returns true, in TASK_RUNNING, if it found work,
 *	else the thread sleeps until vhl_thread_wake()
 * @killed: called when the thread is killed together with its process: it calls @fn no more.
 *	Never for a kernel thread
 * @data: their argument
 * @name: cut to TASK_COMM_LEN
 *
 * Context: a thread of the process, or one that was made by this function for it.
 * Return: the thread or an ERR_PTR: -EAGAIN (RLIMIT_NPROC, cgroup), -ENOMEM, -EINTR
 */
struct vhl_thread *vhl_thread_create(bool (*fn)(void *data), void (*killed)(void *data), void *data,
				     const char *name);

/* The same with a thread of the kernel, whatever the caller is: there is no SIGKILL to tell of */
struct vhl_thread *vhl_kthread_create(bool (*fn)(void *data), void *data, const char *name);

/* Can threads be of the process? Any context */
bool vhl_thread_can_be_owners(void);

/* Any context */
void vhl_thread_wake(struct vhl_thread *thread);

/* Returns when fn has returned for the last time; process context of anybody but itself */
void vhl_thread_stop(struct vhl_thread *thread);

#endif /* VHL_THREAD_H */
