/* SPDX-License-Identifier: GPL-2.0 */
/* An owner in a process of its own, to which things happen */
#ifndef ABI_CHILD_H
#define ABI_CHILD_H

#include <sys/types.h>

#include "dut.h"

/* What child_start() sends through the socket once traffic moves */
enum child_gives {
	CHILD_WORD,			/* a byte */
	CHILD_FILE,			/* the device's file */
	CHILD_FILES,			/* that, and the kick eventfds of both queues */
};

/* child_start() - a child with a device, and traffic on both queues for ever.  Its pid, or -1 */
pid_t child_start(enum dut_kind kind, int socket[2], enum child_gives gives);

#endif /* ABI_CHILD_H */
