/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel's threads that work for this process have used */
#ifndef WORKERS_H
#define WORKERS_H

#include <stdint.h>

/**
 * struct workers - threads of the kernel named vhost-N or vhl-N-M that serve this process
 * @n: how many
 * @run_ns: time that they ran
 * @slices: times that they got the processor
 */
struct workers {
	unsigned int n;
	uint64_t run_ns, slices;
};

/* workers_read() - exact for those that do not run at this moment; all 0 without schedstats */
void workers_read(struct workers *w);

/* workers_add() - and all threads of a process that does the work of a device in userspace */
void workers_add(struct workers *w, int pid);

#endif /* WORKERS_H */
