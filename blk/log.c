// SPDX-License-Identifier: GPL-2.0
/*
 * Dirty logging: what requests write to guest memory is the data of a read, the name of the disk,
 * and the status byte.
 *
 * Where the data goes is known while the worker looks at the chain; a request that is taken keeps
 * that, for it may end in any context. What it reads counts as a whole, however it ends: a part may
 * have been written before something failed. Whether there is a log stays as it is while a request
 * is in flight (vhl_vq_log()).
 */
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "blk.h"

/**
 * struct vhl_blk_marks - what a request that was taken will have written
 * @status: the guest's address of its status byte
 * @num: how many
 * @data: the segments that its data is read to
 */
struct vhl_blk_marks {
	u64 status;
	unsigned int num;
	struct vhl_log data[];
};

/* So many entries have the first @bytes of what the device may write, the last of them at @last */
static unsigned int log_find(const struct vhl_log *log, u32 bytes, u64 *last)
{
	unsigned int num;

	for (num = 0; bytes; num++) {
		u32 part = min(bytes, log[num].len);

		if (part)
			*last = log[num].addr + (part - 1);
		bytes -= part;
	}
	return num;
}

static void log_mark_status(struct vhl_vq *vq, u64 addr)
{
	struct vhl_log log = { .addr = addr, .len = 1 };

	vhl_vq_dirty(vq, &log, 1, log.len);
}

void vhl_blk_mark_data(const struct vhl_blk_io *io)
{
	struct vhl_vq *vq = &io->q->vq;

	if (!io->write)
		vhl_vq_dirty(vq, vhl_vq_log(vq), io->segs, io->len);
}

void vhl_blk_mark_status(const struct vhl_blk_io *io)
{
	struct vhl_vq *vq = &io->q->vq;
	u64 status = 0;

	log_find(vhl_vq_log(vq), io->used, &status);
	log_mark_status(vq, status);
}

bool vhl_blk_marks_take(const struct vhl_blk_io *io)
{
	const struct vhl_log *log = vhl_vq_log(&io->q->vq);
	struct vhl_blk_marks *marks;
	unsigned int num;
	u64 last = 0;

	num = io->write ? 0 : log_find(log, io->len, &last);
	marks = kmalloc(struct_size(marks, data, num), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!marks)
		return false;
	marks->num = num;
	memcpy(marks->data, log, num * sizeof(*log));
	log_find(log, io->used, &last);
	marks->status = last;
	io->req->marks = marks;
	return true;
}

void vhl_blk_marks_drop(struct vhl_blk_req *req)
{
	kfree(req->marks);
	req->marks = NULL;
}

void vhl_blk_marks_set(struct vhl_blk_req *req)
{
	const struct vhl_blk_marks *marks = req->marks;
	struct vhl_vq *vq = &req->q->vq;

	vhl_vq_dirty(vq, marks->data, marks->num, req->write ? 0 : req->len);
	log_mark_status(vq, marks->status);
	vhl_blk_marks_drop(req);
}
