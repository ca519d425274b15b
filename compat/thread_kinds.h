/* SPDX-License-Identifier: GPL-2.0 */
/* What thread.c and kthread.c share. */
#ifndef VHL_THREAD_KINDS_H
#define VHL_THREAD_KINDS_H

#include "thread.h"

/**
 * struct vhl_thread - what both kinds begin with
 * @is_kthread: it is a thread of the kernel, else one of the process
 */
struct vhl_thread {
	bool is_kthread;
};

/* As vhl_thread_wake(), vhl_thread_stop() */
void vhl_kthread_wake(struct vhl_thread *base);
void vhl_kthread_stop(struct vhl_thread *base);

#endif /* VHL_THREAD_KINDS_H */
