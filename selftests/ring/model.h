/* SPDX-License-Identifier: GPL-2.0 */
/* What a chain that was taken must be, whatever the format of its ring */
#ifndef MODEL_H
#define MODEL_H

#include "regions.h"
#include "ring.h"

/* A buffer as a driver means it */
struct buf {
	u64 addr;
	u32 len;
	bool write;
};

/* Is what was taken these buffers: the same bytes in the same order */
bool chain_compare(const char *file, int line, const struct guest *g, const struct vhl_chain *chain,
		   const struct buf *bufs, unsigned int n);

/* Does the log name what of these is writable, each segment by itself, and nothing else? */
bool log_compare(const char *file, int line, const struct guest *g, const struct vhl_segs *segs,
		 const struct buf *bufs, unsigned int n);

/* Make room for a log such that log_compare() sees what is written */
void log_poison(const struct vhl_segs *segs);

/* What holds for any chain, however bad the driver. Return: NULL or what is wrong */
const char *chain_wrong(const struct guest *g, const struct vhl_chain *chain, u32 num);

/* The same of its log, for a chain that may have been rewritten while it was taken */
const char *log_wrong(const struct guest *g, const struct vhl_segs *segs,
		      const struct vhl_chain *chain);

#endif /* MODEL_H */
