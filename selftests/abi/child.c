// SPDX-License-Identifier: GPL-2.0
/* An owner in a process of its own.  See child.h */
#include <stdio.h>
#include <unistd.h>

#include "child.h"

static int give(const struct dut *d, int socket, enum child_gives gives)
{
	int ret;

	if (gives == CHILD_WORD)
		return write(socket, "", 1) != 1;
	ret = send_fd(socket, d->g->fd);
	for (unsigned int qi = 0; !ret && gives == CHILD_FILES && qi < 2; qi++)
		ret = send_fd(socket, d->q[qi]->kick_fd);
	return ret;
}

static void __attribute__((noreturn))
live_on(enum dut_kind kind, int socket, enum child_gives gives)
{
	static struct mover m[2];
	static struct dut d;

	if (dut_open(&d, kind, NULL) || mover_start(&m[0], &d, 0) || mover_start(&m[1], &d, 1))
		_exit(1);
	while (!m[0].done || !m[1].done)
		sleep_ms(1);
	if (give(&d, socket, gives))
		_exit(2);
	for (;;)
		pause();
}

pid_t child_start(enum dut_kind kind, int socket[2], enum child_gives gives)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(socket[0]);
		live_on(kind, socket[1], gives);
	}
	return pid;
}
