/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_blklite: what its files share.
 *
 *   vhost_blklite.c  the nodes and their operations: attach, start, stop, a turn
 *   disk.c      what is attached: a file and what can be done with it
 *   request.c   a chain becomes a request, and a request is answered
 *   type.c      the types of requests, a row each; their work:
 *     rw.c        reads and writes
 *     flush.c     flushes, and what is known of lost writes
 *     cache.c     the write cache that the driver sees
 *     id.c        the name of the disk
 *     range.c     what names ranges: discards, erasing
 *     zero.c      zeroing of ranges
 *   lane.c      threads that may block
 *   bounce.c    reads and writes through pages of our own
 *   edge.c      writes of parts of the storage's blocks, and which of them have to wait for others
 *   log.c       what they write to guest memory, for the log of a VMM that migrates the guest
 *   limit.c     limits of the disk, by leaky buckets (bucket.c), and queues that wait for them
 *   name.c      disks that have a name, and their nodes (name.h)
 *   control.c   the node that makes them
 *
 * The life of a request
 * ---------------------
 * ->handle() of its type answers it while the worker looks at the chain (struct vhl_blk_io), or
 * takes it: then the slot that the chain's id names (struct vhl_blk_req) is busy until the request
 * is finished, in whatever context that is.
 *
 *     a chain
 *        | ->handle()
 *        |
 *        +--- vhl_blk_answer() ----------------------------------------------> used
 *        |                                                                      ^
 *        | vhl_blk_take()                                                       |
 *        v                                                                      |
 *  +-> taken: waits for I/O, its                                                |
 *  |   turn in line or a flush -------- vhl_blk_finish() -+       page is dirty |
 *  |     |                                                +-> status byte --> slot is free
 *  |     | vhl_blk_to_lane()                              |   is written        ^
 *  |     v                                                |     |               |
 *  |   on the lane: a function                            |     | page is clean |
 *  |   that may block ----------------- vhl_blk_finish() -+     v               |
 *  |     |    |     ^                                     on the lane: page is  |
 *  |     |    +-----+ vhl_blk_to_lane(), after a signal   made dirty -----------+
 *  +-----+
 *   it submitted I/O
 *
 * No lock is taken to submit a request, and nothing is allocated but for ids that were never seen
 * before: drivers use few of them, if few requests are under way. While the slot is busy it has one
 * user at a time: the worker that fills it; then the I/O, the line or the lane.
 *
 * A new type of request is a file and a row in type.c. Its ->offer() sets feature bits and fields
 * of the config space, if the disk has what it takes; ->handle() checks the request and answers or
 * takes it; a function on the lane does what may block, and can reach the request's data by
 * vhl_blk_iter().
 */
#ifndef VHL_BLK_H
#define VHL_BLK_H

#include <linux/atomic.h>
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/nospec.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/uio.h>
#include <linux/vhost_lite.h>
#include <linux/virtio_blk.h>

#include "flush.h"
#include "limit.h"
#include "vhl.h"

struct cred;
struct vhl_blk_edges;
struct vhl_blk_marks;

/* Blocks of the storage that are written in parts, and read and written through pages of our own */
#define VHL_BLK_STORAGE_BLOCK_MAX	SZ_64K

/**
 * struct vhl_blk_disk - an attached file
 *
 * Constant from when it is attached, where nothing else is said.  Queues use it from their start
 * to their stop.
 *
 * @blk: the device
 * @file: with a reference
 * @tail: the same file without O_DIRECT, for its end, where a write to @file cannot go through the
 *	  page cache; NULL elsewhere
 * @inode: that has the data: the block device's own, not the one of its node; of an overlay, the
 *	   one of the file below
 * @refs: the device and queues that have it attached.  dev->mutex
 * @capacity: in bytes, whole blocks.  Written with dev->mutex, read by workers: its release is the
 *	      last of the three, and pairs with the acquire in vhl_blk_on_disk()
 * @size: of the file when it was last looked at; what is behind reads as zero as long as it is not
 *	  there.  READ_ONCE()
 * @direct_end: bytes that direct I/O can read and write without changing the size of the file.
 *		READ_ONCE()
 * @regular: a regular file, whose writes exclude a freeze of its file system
 * @direct: bypasses the page cache
 * @read_only: writes fail
 * @nowait: [ITER_DEST, ITER_SOURCE] I/O can be tried without waiting; cleared when it turns out
 *	    that it cannot.  READ_ONCE()
 * @try_flags: for kiocbs of such a trial
 * @whole_max: bytes of a request that the device takes in one piece; what has to be cut cannot be
 *	    tried without waiting
 * @plug_sleeps: requests that were collected may sleep when they are sent to the device
 * @dsync_flushes: writes that are to be stable when they are done have a flush for that
 * @iocb_flags: for kiocbs, as the file was opened; what fcntl() does to it later is not seen
 * @block_size: of a logical block, to the driver
 * @mem_mask: address bits of a segment that have to be 0 for direct I/O
 * @len_mask: length bits of a segment that have to be 0 for direct I/O: a block of the storage,
 *	      less one
 * @tail_mask: of what @direct_end is a multiple of, less one
 * @discards: discards are served
 * @erases: and those that leave nothing to be found
 * @unmaps: ranges may be deallocated when they are zeroed
 * @discard_mask: of what the storage discards pieces of, less one
 * @discard_align: what ranges to be discarded are best a multiple of
 * @zero_mask: of what the storage zeroes pieces of, less one
 * @edges: writes of parts of the storage's blocks; NULL where the driver cannot
 * @flush_error: a flush failed and what was lost is unknown.  READ_ONCE()
 * @wb_since: errors of the page cache up to when the disk was attached
 * @told: a request failed because of either.  READ_ONCE()
 * @flush_lock: for the next two
 * @flush_waiting: requests for a flush, which the next one that begins is for
 * @flushing: there is a request on the lane that flushes, and has not looked for more yet
 * @serial: for GET_ID
 * @physical_exp: the topology, as the config space has it
 * @align_offset: same
 * @min_io: same
 * @opt_io: same
 */
struct vhl_blk_disk {
	struct vhl_blk_dev *blk;
	struct file *file;
	struct file *tail;
	struct inode *inode;
	unsigned int refs;
	u64 capacity;
	u64 size;
	u64 direct_end;
	bool regular;
	bool direct;
	bool read_only;
	bool nowait[2];
	int try_flags;
	u32 whole_max;
	bool plug_sleeps;
	bool dsync_flushes;
	int iocb_flags;
	u32 block_size;
	u32 mem_mask;
	u32 len_mask;
	u32 tail_mask;
	bool discards;
	bool erases;
	bool unmaps;
	u32 discard_mask;
	u32 discard_align;
	u32 zero_mask;
	struct vhl_blk_edges *edges;
	int flush_error;
	errseq_t wb_since;
	bool told;
	spinlock_t flush_lock;
	struct list_head flush_waiting;
	bool flushing;
	u8 serial[VHL_BLK_ID_BYTES];
	u8 physical_exp;
	u8 align_offset;
	u16 min_io;
	u32 opt_io;
};

/**
 * struct vhl_blk_dev - an open node
 * @dev: the core's
 * @opts: VHL_BLK_SET_OPTS.  dev->mutex
 * @disk: attached to the whole device, or NULL.  dev->mutex
 * @untold: what is left of a disk that was attached before.  dev->mutex
 * @limit: of the disk, from when there were any for the first time until the release, NULL before.
 *	   Written with dev->mutex.  READ_ONCE()
 * @cache_mode_set: the driver has set the next one (cache.c).  dev->mutex
 * @writeback: writes are stable after a flush only
 */
struct vhl_blk_dev {
	struct vhl_dev dev;
	struct vhl_blk_opts opts;
	struct vhl_blk_disk *disk;
	struct vhl_blk_untold untold;
	struct vhl_blk_limit *limit;
	bool cache_mode_set;
	bool writeback;
};

/* Slots that are allocated together: as many as fit into a page, rounded down to a power of two */
#define VHL_BLK_SLOTS		16

/**
 * struct vhl_blk_vq - a queue
 * @vq: the core's
 * @attached: to this queue alone (vhost dialect), or NULL.  dev->mutex
 * @disk: in use, from start to stop.  Changes only with nothing in flight, holding vq.mutex
 * @reqs: slots for all possible ids, VHL_BLK_SLOTS in a piece, NULL before it is needed. From
 *	  start to stop
 * @write_flags: for kiocbs that write, from the start on.  READ_ONCE(): the driver may change the
 *		 mode of its cache
 * @on_lane: requests that went to the lane and count there (lane.c), or stand in line for it, and
 *	     are not finished
 * @waiter: for limits
 */
struct vhl_blk_vq {
	struct vhl_vq vq;
	struct vhl_blk_disk *attached;
	struct vhl_blk_disk *disk;
	struct vhl_blk_req **reqs;
	int write_flags;
	atomic_t on_lane;
	struct vhl_blk_waiter waiter;
};

/* Threads of a lane */
#define VHL_BLK_LANE_MAX	64

/* Requests of a queue on the lane, while which no more are taken: see lane.c */
#define VHL_BLK_LANE_FULL	64

/* Segments of a request that a slot keeps without further memory */
#define VHL_BLK_FIXED_SEGS	4

/* How a write stands to others in the same blocks of the storage, in bits; 0: needs no order */
enum vhl_blk_edge {
	VHL_BLK_EDGE_COUNTED	= BIT(0),	/* whole blocks, and no parts are written there */
	VHL_BLK_EDGE_IN_LINE	= BIT(1),	/* waits for its turn, or has it */
	VHL_BLK_EDGE_PART	= BIT(2),	/* has a part of a block */
	VHL_BLK_EDGE_STARTED	= BIT(3),	/* it is its turn */
};

/**
 * struct vhl_blk_req - a request that outlasts the worker's look at its chain
 * @iocb: of asynchronous I/O, until that has ended
 * @job: on the lane, or one of those that wait for a flush
 * @turn: in line (VHL_BLK_EDGE_IN_LINE): such requests are done by the lane alone, by @job.run
 * @blockers: those in front of it in line, that it has to wait for
 * @q: the queue, constant
 * @id: of the chains whose slot it is, constant
 * @busy: the slot is in use.  Set by the worker; the release that clears it, in
 *	  request_publish(), pairs with the acquire in vhl_blk_handle()
 * @write: ITER_SOURCE or ITER_DEST; of requests without data ITER_DEST
 * @on_lane: it is one of @q->on_lane
 * @trial: of I/O that is not to wait, so that the lane may succeed where it fails
 * @unmap: the range may be deallocated, not only zeroed
 * @status: what to answer, once the page of the status byte has been made dirty
 * @refs: of asynchronous I/O: its submission and its completion
 * @edge: VHL_BLK_EDGE_* of a write
 * @ret: what asynchronous I/O ended with
 * @status_page: has the status byte; pinned
 * @status_off: where it is in there
 * @marks: what it will have written to guest memory, where that is logged, else NULL
 * @used: bytes of the device-writable part
 * @len: bytes of data
 * @done: those that were read or written
 * @skip: bytes of the segments in front of the data
 * @segs: segments that have the data,
 * @iov_max: how many fit into
 * @iov: the copy of them: @fixed, or larger
 * @pos: where the data begins in the file
 */
struct vhl_blk_req {
	union {
		struct kiocb iocb;
		struct {
			struct vhl_job job;
			struct list_head turn;
			unsigned int blockers;
		};
	};
	struct vhl_blk_vq *q;
	u16 id;
	bool busy;
	u8 write;
	bool on_lane;
	bool trial;
	bool unmap;
	u8 status;
	u16 status_off;
	atomic_t refs;
	u8 edge;
	long ret;
	struct page *status_page;
	struct vhl_blk_marks *marks;
	u32 used;
	u32 len;
	u32 done;
	u32 skip;
	unsigned int segs;
	unsigned int iov_max;
	struct iovec *iov;
	loff_t pos;
	struct iovec fixed[VHL_BLK_FIXED_SEGS];
} ____cacheline_aligned;

/**
 * struct vhl_blk_io - a chain that the worker looks at
 * @q: the queue
 * @req: the slot of the chain
 * @id: the chain's name
 * @used: bytes of its device-writable part
 * @status: where its status byte goes
 * @write: ITER_SOURCE or ITER_DEST
 * @iov: the part of the chain that has the data
 * @segs: its segments
 * @skip: bytes of it in front of the data
 * @len: bytes of data
 * @sector: of the header
 * @pos: where the data goes in the file; ->handle()'s
 */
struct vhl_blk_io {
	struct vhl_blk_vq *q;
	struct vhl_blk_req *req;
	u16 id;
	u32 used;
	u8 __user *status;
	bool write;
	const struct iovec *iov;
	unsigned int segs;
	u32 skip;
	u32 len;
	u64 sector;
	loff_t pos;
};

/**
 * struct vhl_blk_offer - what the driver is told
 * @features: bits
 * @config: the config space; it has no meaning while there is no disk
 */
struct vhl_blk_offer {
	u64 features;
	struct virtio_blk_config config;
};

/* Where a request has its data */
enum vhl_blk_data {
	VHL_BLK_DATA_NONE,
	VHL_BLK_DATA_IN,	/* the device writes it, in front of the status byte */
	VHL_BLK_DATA_OUT,	/* the device reads it, behind the header */
};

/**
 * struct vhl_blk_type - a type of request
 * @data: as vhl_blk_io has it; only the size of the header was checked
 * @limit: VHL_BLK_LIMIT_READ or _WRITE, as which it is limited; 0 for one that is not
 * @offer: add what the driver is told because of this type; the disk is NULL where there is none
 *	   yet.  Holding dev->mutex.  Optional. Rows may share one: it is called for each of them
 *	   then, and changes nothing the second time
 * @handle: answer the request, or take it.  ->run().  Return: as vhl_blk_answer()
 */
struct vhl_blk_type {
	enum vhl_blk_data data;
	unsigned int limit;
	void (*offer)(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
	int (*handle)(struct vhl_blk_io *io);
};

/* Rows of the table: types of virtio 1.2 are smaller */
#define VHL_BLK_TYPES		16

extern const struct vhl_blk_type vhl_blk_types[VHL_BLK_TYPES];

/* Return: the type, or NULL for one that is not known */
static inline const struct vhl_blk_type *vhl_blk_type_find(u32 type)
{
	const struct vhl_blk_type *row;

	/*
	 * Drivers of virtio 0.9 can make any request a barrier where that is offered, which it is
	 * not here: some set the bit all the same, and do not rely on it.
	 */
	type &= ~VIRTIO_BLK_T_BARRIER;
	if (type >= VHL_BLK_TYPES)
		return NULL;
	row = &vhl_blk_types[array_index_nospec(type, VHL_BLK_TYPES)];
	return row->handle ? row : NULL;
}

static inline struct vhl_blk_dev *to_blk_dev(struct vhl_dev *dev)
{
	return container_of(dev, struct vhl_blk_dev, dev);
}

static inline struct vhl_blk_req *to_blk_req(struct vhl_job *job)
{
	return container_of(job, struct vhl_blk_req, job);
}

static inline struct vhl_blk_vq *to_blk_vq(struct vhl_vq *vq)
{
	return container_of(vq, struct vhl_blk_vq, vq);
}

/* Limits that are on, or NULL. Context: while the device is open */
static inline struct vhl_blk_limit *vhl_blk_dev_limit(struct vhl_dev *dev)
{
	struct vhl_blk_limit *limit = READ_ONCE(to_blk_dev(dev)->limit);

	return unlikely(limit) && vhl_blk_limit_is_on(limit) ? limit : NULL;
}

/* disk.c: holding dev->mutex */
struct inode *vhl_blk_disk_inode(const struct file *file);
struct vhl_blk_disk *vhl_blk_disk_open(struct vhl_blk_dev *blk, struct file *file);
/* one that fails all that it is asked for, in the place of the device's: or an ERR_PTR */
struct vhl_blk_disk *vhl_blk_disk_gone(struct vhl_blk_dev *blk);
void vhl_blk_disk_put(void *backing);
void vhl_blk_disk_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
int __must_check vhl_blk_disk_resize(struct vhl_blk_disk *disk, bool *changed);

/* request.c */
int __must_check vhl_blk_slots_init(struct vhl_blk_vq *q);
void vhl_blk_slots_free(struct vhl_blk_vq *q);

/* Handle a chain, good until it returns. Context: ->run(). Return: as vhl_blk_answer() */
int __must_check vhl_blk_handle(struct vhl_blk_vq *q, const struct vhl_chain *chain);

/* The same for a disk with limits. Return: also -EBUSY, where the chain has to wait for them */
int __must_check vhl_blk_handle_limited(struct vhl_blk_vq *q, const struct vhl_chain *chain,
					struct vhl_blk_limit *limit);

/**
 * vhl_blk_answer() - answer a request that was not taken
 * @io: the chain; if all is well @io->len bytes of data count as read or written
 * @status: of the request
 *
 * Context: ->run(). As all that handle a chain:
 * Return: 0; VHL_FAULT_*, which breaks the queue; -ENOMEM to try the chain again later. Where it is
 * not 0 the chain was left alone.
 */
int __must_check vhl_blk_answer(const struct vhl_blk_io *io, u8 status);

/**
 * vhl_blk_take() - take the slot of a request that will be finished from elsewhere
 * @io: the chain; its segments are copied if there is data
 *
 * Context: ->run(). Return: as above.
 */
int __must_check vhl_blk_take(const struct vhl_blk_io *io);

/**
 * vhl_blk_finish() - answer a request that was taken
 * @req: no longer the caller's; nor is the queue, if it is being stopped
 * @status: of the request
 *
 * Context: any.
 */
void vhl_blk_finish(struct vhl_blk_req *req, u8 status);

/* What is left of the data of a request that was taken. */
static inline void vhl_blk_iter(const struct vhl_blk_req *req, struct iov_iter *iter)
{
	iov_iter_init(iter, req->write ? ITER_SOURCE : ITER_DEST, req->iov, req->segs,
		      (size_t)req->skip + req->len);
	iov_iter_advance(iter, (size_t)req->skip + req->done);
}

/*
 * log.c: where there is a log. Context: ->run(), of a chain that is not taken: mark its data, once
 * it may have been written, and its status byte; or keep what there will be to mark (false: no
 * memory)
 */
void vhl_blk_mark_data(const struct vhl_blk_io *io);
void vhl_blk_mark_status(const struct vhl_blk_io *io);
bool __must_check vhl_blk_marks_take(const struct vhl_blk_io *io);
/* Mark it all, or forget it. Context: any */
void vhl_blk_marks_set(struct vhl_blk_req *req);
void vhl_blk_marks_drop(struct vhl_blk_req *req);

static inline bool vhl_blk_logs(const struct vhl_blk_io *io)
{
	return unlikely(vhl_vq_log(&io->q->vq));
}

/* lane.c */

/**
 * typedef vhl_blk_lane_fn - what the lane does with a request, which is to_blk_req(job)
 *
 * As vhl_job.run: @dead is true where the owner was killed, and the request can only fail.
 */
typedef void vhl_blk_lane_fn(struct vhl_job *job, bool dead);

/**
 * vhl_blk_to_lane() - have the lane go on with a request
 * @req: taken; the lane's until @fn is called
 * @fn: finishes it, or hands it to the lane once more
 *
 * Context: any.
 */
void vhl_blk_to_lane(struct vhl_blk_req *req, vhl_blk_lane_fn *fn);

/* The same for one that does not count there: see lane.c */
void vhl_blk_to_lane_uncounted(struct vhl_blk_req *req, vhl_blk_lane_fn *fn);

/* For a request that will go to the lane and has to wait for it. Context: any */
void vhl_blk_lane_enter(struct vhl_blk_req *req);
/* For one that was @on_lane and is finished. Context: any */
void vhl_blk_lane_leave(struct vhl_blk_req *req);

/*
 * Work with the rights with which the disk was opened, not with the VMM's: quotas, setuid bits.
 * Context: the lane. Return: for vhl_blk_lane_as_self()
 */
const struct cred *vhl_blk_lane_as_opener(const struct vhl_blk_disk *disk);
void vhl_blk_lane_as_self(const struct cred *own);

/*
 * Was I/O interrupted by a signal that the thread survives? It has to see it then: the request goes
 * to the lane once more. Context: the lane
 */
bool __must_check vhl_blk_lane_interrupted(long ret);

/* Wait until there may be memory again. Context: the lane. Return: false after half a minute */
bool __must_check vhl_blk_lane_wait_memory(unsigned int *tries);

/* type.c: as vhl_blk_type.offer(), for all of them */
void vhl_blk_types_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);

/* rw.c, flush.c, id.c, range.c: of vhl_blk_type */
void vhl_blk_rw_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
void vhl_blk_flush_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
bool vhl_blk_rw_ok(const struct vhl_blk_io *io);	/* it is not refused, whatever the storage says */
int __must_check vhl_blk_rw(struct vhl_blk_io *io);
int __must_check vhl_blk_flush(struct vhl_blk_io *io);
int __must_check vhl_blk_id(struct vhl_blk_io *io);
void vhl_blk_discard_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
void vhl_blk_zeroes_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
void vhl_blk_erase_offer(const struct vhl_blk_disk *disk, struct vhl_blk_offer *offer);
int __must_check vhl_blk_discard(struct vhl_blk_io *io);
int __must_check vhl_blk_erase(struct vhl_blk_io *io);
int __must_check vhl_blk_zeroes(struct vhl_blk_io *io);

/* Whole blocks that a disk has. The size and direct_end that are read later are no older */
static inline bool vhl_blk_on_disk(const struct vhl_blk_disk *disk, u64 sector, u32 sectors)
{
	/* pairs with disk_set_size() */
	u64 capacity = smp_load_acquire(&disk->capacity) >> SECTOR_SHIFT;
	u32 mask = (disk->block_size >> SECTOR_SHIFT) - 1;

	return sector <= capacity && sectors <= capacity - sector && !((sector | sectors) & mask);
}

/* Has what a request changes to be stable before it is done? */
static inline bool vhl_blk_writes_through(const struct vhl_blk_req *req)
{
	return (req->q->disk->iocb_flags | READ_ONCE(req->q->write_flags)) & IOCB_DSYNC;
}

/*
 * rw.c: synchronous I/O. Context: the lane. Return: as of read_iter, or all of @iter.
 * vhl_blk_rw_transfer() reads or writes, as the request does; vhl_blk_rw_write() writes to one of
 * the disk's files.
 */
ssize_t __must_check vhl_blk_rw_read(const struct vhl_blk_disk *disk, struct iov_iter *iter,
				     loff_t pos);
ssize_t __must_check vhl_blk_rw_write(const struct vhl_blk_req *req, struct file *file,
				      struct iov_iter *iter, loff_t pos, int iocb_flags);
ssize_t __must_check vhl_blk_rw_transfer(const struct vhl_blk_req *req, struct iov_iter *iter,
					 loff_t pos);

/* bounce.c: do what is left of a request. Context: the lane. Return: as above, or a part of it */
ssize_t __must_check vhl_blk_bounce(const struct vhl_blk_req *req, struct iov_iter *guest,
				    loff_t pos);

/* Does a request of a direct disk have whole blocks of the storage alone, none behind the end? */
static inline bool vhl_blk_is_whole(const struct vhl_blk_req *req)
{
	const struct vhl_blk_disk *disk = req->q->disk;

	return !((req->pos | req->len) & disk->len_mask) &&
	       req->pos + req->len <= READ_ONCE(disk->direct_end);
}

/* edge.c: for a disk that the driver sees smaller blocks of than its storage has */
int vhl_blk_edges_init(struct vhl_blk_disk *disk);
void vhl_blk_edges_free(struct vhl_blk_disk *disk);

/**
 * vhl_blk_edge_begin() - look for other writes to the same blocks of the storage
 * @req: of a direct disk; taken, and not yet begun with
 * @fn: what the lane does with it if it has to wait for them
 *
 * Context: ->run().
 * Return: true to go on with it; false if it is not the caller's any more: when it is its turn, it
 * goes to the lane.
 */
bool __must_check vhl_blk_edge_begin(struct vhl_blk_req *req, vhl_blk_lane_fn *fn);

/* Let others go on that wait for a request, which has written what it could. Context: any */
void vhl_blk_edge_end(struct vhl_blk_req *req);

/* range.c: find out what the storage can. Holding dev->mutex */
void vhl_blk_range_init(struct vhl_blk_disk *disk);

/*
 * zero.c: zero what is left of a range, by @req->pos, len and done. Context: the lane. Return: 0,
 * -EINTR to begin anew, else that cannot be
 */
void __init vhl_blk_zero_init(void);
int __must_check vhl_blk_zero(struct vhl_blk_req *req);

/* cache.c: holding dev->mutex */

/* For kiocbs that write, as the driver's cache is now */
int vhl_blk_cache_flags(const struct vhl_blk_dev *blk);
void vhl_blk_cache_offer(const struct vhl_blk_dev *blk, struct vhl_blk_offer *offer);
/* The driver has written the field. Return: 0, -EINVAL for no such mode */
int __must_check vhl_blk_cache_set(struct vhl_blk_dev *blk, u8 writeback);
void vhl_blk_cache_reset(struct vhl_blk_dev *blk);

/* flush.c. A disk is attached: with news of the one before, if it is the same. Holds dev->mutex */
void vhl_blk_flush_init(struct vhl_blk_disk *disk);
/* ... and is so no more */
void vhl_blk_flush_exit(const struct vhl_blk_disk *disk);
/*
 * Make stable what is completed: its data is in the file by then. Context: the lane. Return: 0,
 * -EINTR to begin anew, else what was written may be lost.
 */
int __must_check vhl_blk_flush_file(struct vhl_blk_disk *disk);
/* What was written so far can still get there. Any context */
bool vhl_blk_flush_is_stable(const struct vhl_blk_disk *disk);
/* The same for a request that fails if it cannot */
bool vhl_blk_flush_tell(struct vhl_blk_disk *disk);

#endif /* VHL_BLK_H */
