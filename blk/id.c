// SPDX-License-Identifier: GPL-2.0
/*
 * What a disk is called (GET_ID; virtio 1.2, section 5.2.6).
 */
#include <linux/minmax.h>
#include <linux/uio.h>

#include "blk.h"

int vhl_blk_id(struct vhl_blk_io *io)
{
	struct iov_iter iter;
	bool ok;

	io->len = min_t(u32, io->len, VHL_BLK_ID_BYTES);
	/* seldom asked for: not worth to be tried without page faults */
	vhl_vq_flush(&io->q->vq);
	iov_iter_init(&iter, ITER_DEST, io->iov, io->segs, io->len);
	ok = copy_to_iter(io->q->disk->serial, io->len, &iter) == io->len;
	vhl_vq_hold(&io->q->vq);
	if (vhl_blk_logs(io))
		vhl_blk_mark_data(io);
	return vhl_blk_answer(io, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}
