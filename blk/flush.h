/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_blklite: what is left to tell of lost writes when a disk is detached.
 */
#ifndef VHL_BLK_FLUSH_H
#define VHL_BLK_FLUSH_H

#include <linux/errseq.h>
#include <linux/types.h>

/**
 * struct vhl_blk_untold - the last writable disk, of which no driver was told that it lost writes
 *
 * It outlives the disk, and holds no reference to the file: a VMM that stopped may close it, and
 * its file system may be unmounted.
 *
 * @any: there is one.  Without it, the rest means nothing
 * @dev: where its inode is
 * @ino: likewise
 * @generation: likewise, as numbers of inodes are used again
 * @error: vhl_blk_disk.flush_error
 * @since: vhl_blk_disk.wb_since
 */
struct vhl_blk_untold {
	bool any;
	dev_t dev;
	unsigned long ino;
	u32 generation;
	int error;
	errseq_t since;
};

#endif /* VHL_BLK_FLUSH_H */
