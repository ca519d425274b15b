/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_blklite: what its files share.
 *
 *   main.c      the nodes, options, config space
 *   disk.c      what is attached: a file and what can be done with it
 *   request.c   the worker's side: chains become requests, answered at once, submitted, or handed
 *               to the lane
 *   lane.c      what may block for long, on a workqueue
 *
 * A chain has a request from when the worker takes it until it is published, in a slot that its
 * head names; so no lock is taken to submit one, and nothing is allocated but for heads that were
 * never seen before: drivers use few of them, if few requests are under way. While the slot is busy
 * it has one user at a time: the worker that fills it; then the I/O or the lane that completes it.
 */
#ifndef VHL_BLK_H
#define VHL_BLK_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/uio.h>
#include <linux/vhost_lite.h>
#include <linux/virtio_blk.h>
#include <linux/workqueue.h>

#include "vhl.h"

/**
 * struct vhl_blk_disk - an attached file
 *
 * Constant from when it is attached, where nothing else is said.  Queues use it from their start
 * to their stop.
 *
 * @file: with a reference
 * @inode: that has the data: the block device's own, not the one of its node
 * @refs: the device and queues that have it attached.  dev->mutex
 * @capacity: in bytes, whole blocks.  Written with dev->mutex, read by workers: READ_ONCE()
 * @regular: a regular file, whose writes exclude a freeze of its file system
 * @direct: bypasses the page cache
 * @read_only: writes fail
 * @nowait: [ITER_DEST, ITER_SOURCE] page cache I/O is worth trying without blocking; cleared when
 *	    it turns out not to be.  READ_ONCE()
 * @iocb_flags: for kiocbs, as the file was opened; what fcntl() does to it later is not seen
 * @block_size: of a logical block, to the driver
 * @mem_mask: address bits of a segment that have to be 0 for direct I/O
 * @len_mask: length bits of a segment that have to be 0 for direct I/O
 * @flush_error: a flush failed and what was lost is unknown.  READ_ONCE()
 * @serial: for GET_ID
 * @physical_exp: the topology, as the config space has it
 * @align_offset: same
 * @min_io: same
 * @opt_io: same
 */
struct vhl_blk_disk {
	struct file *file;
	struct inode *inode;
	unsigned int refs;
	u64 capacity;
	bool regular;
	bool direct;
	bool read_only;
	bool nowait[2];
	int iocb_flags;
	u32 block_size;
	u32 mem_mask;
	u32 len_mask;
	int flush_error;
	u8 serial[VHL_BLK_ID_BYTES];
	u8 physical_exp;
	u8 align_offset;
	u16 min_io;
	u32 opt_io;
};

/**
 * struct vhl_blk_dev - an open node
 * @dev: the core's
 * @lane: runs what blocks.  One for each disk: one that hangs does not stop the others
 * @opts: VHL_BLK_SET_OPTS.  dev->mutex
 * @disk: attached to the whole device, or NULL.  dev->mutex
 */
struct vhl_blk_dev {
	struct vhl_dev dev;
	struct workqueue_struct *lane;
	struct vhl_blk_opts opts;
	struct vhl_blk_disk *disk;
};

/* Slots that are allocated together: a page of them */
#define VHL_BLK_SLOTS		32

/**
 * struct vhl_blk_vq - a queue
 * @vq: the core's
 * @attached: to this queue alone (vhost dialect), or NULL.  dev->mutex
 * @disk: in use, from start to stop
 * @reqs: slots for all possible heads, VHL_BLK_SLOTS in a piece, NULL before it is needed. From
 *	  start to stop
 * @write_flags: for kiocbs that write, from start to stop
 */
struct vhl_blk_vq {
	struct vhl_vq vq;
	struct vhl_blk_disk *attached;
	struct vhl_blk_disk *disk;
	struct vhl_blk_req **reqs;
	int write_flags;
};

enum vhl_blk_lane {
	VHL_BLK_LANE_RW,	/* read or write what is left */
	VHL_BLK_LANE_BOUNCE,	/* the same through pages of our own */
	VHL_BLK_LANE_FLUSH,
	VHL_BLK_LANE_STATUS,	/* all is done, but the page of the status byte is clean */
};

/**
 * struct vhl_blk_req - a request that outlasts the worker's look at its chain
 * @iocb: of asynchronous I/O, until that has ended
 * @work: on the lane
 * @q: the queue, constant
 * @head: whose slot it is, constant
 * @busy: the slot is in use.  Set by the worker; the release that clears it, in
 *	  vhl_blk_publish(), pairs with the acquire in vhl_blk_handle()
 * @refs: of asynchronous I/O: its submission and its completion
 * @ret: what asynchronous I/O ended with
 * @status_page: has the status byte; pinned
 * @status_off: where it is in there
 * @status: its value, for VHL_BLK_LANE_STATUS
 * @write: ITER_SOURCE or ITER_DEST; of requests without data ITER_DEST
 * @len: bytes of data
 * @used: bytes of the device-writable part
 * @lane: what the lane has to do
 * @iov: a copy of the segments for the lane
 * @segs: how many
 * @skip: bytes in front of the data that is left
 * @left: bytes of data that are left
 * @pos: where they go in the file
 */
struct vhl_blk_req {
	union {
		struct kiocb iocb;
		struct work_struct work;
	};
	struct vhl_blk_vq *q;
	u16 head;
	bool busy;
	u8 write;
	atomic_t refs;
	long ret;
	struct page *status_page;
	u16 status_off;
	u8 status;
	u8 lane;
	u32 len;
	u32 used;
	u32 skip;
	u32 left;
	unsigned int segs;
	struct iovec *iov;
	loff_t pos;
} ____cacheline_aligned;

static inline struct vhl_blk_dev *to_blk_dev(struct vhl_dev *dev)
{
	return container_of(dev, struct vhl_blk_dev, dev);
}

static inline struct vhl_blk_vq *to_blk_vq(struct vhl_vq *vq)
{
	return container_of(vq, struct vhl_blk_vq, vq);
}

/* disk.c: holding dev->mutex */
int vhl_blk_attach(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file);
void vhl_blk_detach_all(struct vhl_blk_dev *blk);
struct vhl_blk_disk *vhl_blk_current(struct vhl_blk_dev *blk);
int vhl_blk_resize(struct vhl_blk_dev *blk);

/* request.c */
int vhl_blk_start(struct vhl_vq *vq);
void vhl_blk_stop(struct vhl_vq *vq);
enum vhl_run vhl_blk_run(struct vhl_vq *vq);

/* Any context */
void vhl_blk_put_status(struct vhl_blk_req *req, u8 status);
void vhl_blk_publish(struct vhl_blk_req *req, u8 status);

/* lane.c */
void vhl_blk_lane_work(struct work_struct *work);

#endif /* VHL_BLK_H */
