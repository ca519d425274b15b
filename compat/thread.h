/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thread that works on behalf of a process, with its memory and in its cgroups: a vhost_task
 * (a thread of the process itself) where the kernel has them, else a kernel thread.
 */
#ifndef VHL_THREAD_H
#define VHL_THREAD_H

#include <linux/types.h>

struct task_struct;
struct vhl_thread;

/**
 * vhl_thread_create() - make and start a thread
 * @fn: called in a loop in TASK_INTERRUPTIBLE; returns true, in TASK_RUNNING, if it found work,
 *	else the thread sleeps until vhl_thread_wake()
 * @data: its argument
 * @owner: the process, current or of the same mm
 * @name: cut to TASK_COMM_LEN
 *
 * A thread that is killed together with its process calls @fn no more.
 *
 * Context: process, with the mm of the owner.
 * Return: the thread or an ERR_PTR.
 */
struct vhl_thread *vhl_thread_create(bool (*fn)(void *data), void *data, struct task_struct *owner,
				     const char *name);

/* Any context */
void vhl_thread_wake(struct vhl_thread *thread);

/* Returns when fn has returned for the last time; process context of anybody */
void vhl_thread_stop(struct vhl_thread *thread);

#endif /* VHL_THREAD_H */
