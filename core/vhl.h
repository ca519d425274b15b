/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_lite: the contract between the core and its backends.
 *
 * A backend fills a struct vhl_node for every device node and registers it; the core opens
 * devices, speaks the dialect, maps rings and guest memory, runs workers, and calls the
 * operations below.
 *
 * Locks, in the order they are taken
 * ----------------------------------
 *   dev->mutex      all that a client does: ioctl, write, release.  May be held for long (I/O
 *                   in flight is waited for), never by a worker.
 *   vq->mutex       the taking side of a queue.  Held by the worker for a
 *                   turn, by clients to change anything a turn looks at.  Several at once only
 *                   under dev->mutex.  May sleep (page faults of guest memory).
 *   lock of a map   a search of guest memory by a turn, and a change under that: vhl_mem.  Process
 *                   context.
 *   vq->used_lock   the completing side of a queue and its call eventfd.  Any context, irqs
 *                   off; held for the few stores of a batch and the signal.
 *   dev->config_lock
 *                   the config call eventfd and what there is to tell by it: a worker whose
 *                   queue breaks must not take dev->mutex.  Process context.
 *   wait queue lock of an eventfd
 *                   taken by a signal inside used_lock or config_lock, and held by the side
 *                   that kicks when vhl_vq_kick() is called; that takes no lock.
 *
 * Locks that a backend takes in ->run() come after vq->mutex, and it must not wait for what holders
 * of vq->mutex may wait for: net only tries RTNL, under which it takes a lock of its own
 * (net/netdev.c), and waits for it in ->prepare() alone.
 *
 * Who runs what
 * -------------
 *   worker          ->run(): process context, a thread of the owner or one that uses its mm
 *   pool            jobs (vhl_pool_submit()): likewise, holding nothing
 *   any             vhl_vq_complete(), vhl_vq_kick(): also hard interrupts
 *   client          everything else: a process that holds the file, usually the owner
 *
 * A VMM that dies closes the file: release stops every queue (no turn runs and none will), waits
 * for what is in flight, and only then frees.  A worker that is killed with its process simply
 * takes no more turns.
 */
#ifndef VHL_H
#define VHL_H

#include <linux/bits.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "ring.h"
#include "vq.h"

struct vhl_dialect;

/*
 * What the clients of a node speak: <linux/vhost.h> as for vhost-net, or as for vhost-vdpa; or
 * either, which the first request that only one of them has, or that means something else in each,
 * decides for an open file
 */
extern const struct vhl_dialect vhl_dialect_vhost;
extern const struct vhl_dialect vhl_dialect_vdpa;
extern const struct vhl_dialect vhl_dialect_either;

/*
 * vhl_vq_may_become() - the transitions
 *
 * All of them with vq->mutex and, but for the one that vhl_vq_break() makes, dev->mutex held.
 */
static inline bool vhl_vq_may_become(enum vhl_vq_state from, enum vhl_vq_state to)
{
	static const u8 next[VHL_VQ_STATES] = {
		/* vhl_vq_prepare(); vhl_vq_start_mapped() */
		[VHL_VQ_STOPPED]	= BIT(VHL_VQ_READY) | BIT(VHL_VQ_UNMAPPED),
		/* likewise; vhl_vq_stop() */
		[VHL_VQ_UNMAPPED]	= BIT(VHL_VQ_READY) | BIT(VHL_VQ_STOPPED),
		/* vhl_vq_run(); vhl_vq_stop(); vhl_vq_unmap() */
		[VHL_VQ_READY]		= BIT(VHL_VQ_RUNNING) | BIT(VHL_VQ_STOPPED) |
					  BIT(VHL_VQ_UNMAPPED),
		/* vhl_vq_break(); vhl_vq_stop(); vhl_vq_unmap() */
		[VHL_VQ_RUNNING]	= BIT(VHL_VQ_BROKEN) | BIT(VHL_VQ_STOPPED) |
					  BIT(VHL_VQ_UNMAPPED),
		[VHL_VQ_BROKEN]		= BIT(VHL_VQ_STOPPED) | BIT(VHL_VQ_UNMAPPED),
	};

	return next[from] & BIT(to);
}

/* What a turn of a queue ended with */
enum vhl_run {
	VHL_RUN_MORE,		/* budget used up: run again soon */
	VHL_RUN_RING,		/* vhl_vq_take() found no (more) chain: run when the driver kicks */
	VHL_RUN_BACKEND,	/* the backend is empty or full: run when it calls vhl_vq_kick() */
	VHL_RUN_LATER,		/* not yet: run when the backend calls vhl_vq_kick(), as it will */
	VHL_RUN_MAP,		/* the core's: a translation is missing: run when there is one */
};

/* What waits in a backend that has room for so much only */
enum vhl_backlog {
	VHL_BACKLOG_SMALL,
	VHL_BACKLOG_LARGE,	/* not to be left waiting by choice */
	VHL_BACKLOG_FULL,	/* the next one is lost, if none was yet */
};

/**
 * struct vhl_ops - what a backend does
 *
 * @run is needed, and for a node with a @backend_cmd so are @prepare, @discard and, as its dialect
 * has it, one of @attach and @attach_dev; for one with a @config_size @config is. The others are
 * optional.
 *
 * @release:	device is closed, all queues are stopped and nothing is attached to them; drop what
 *		@attach_dev took
 * @features: add bits of the device type to the VHL_FEATURE_WORDS words to offer, which have those
 *		of the ring already; -ENXIO where they depend on a backing that is missing
 * @prepare:	find out whether the file that VHOST_*_SET_BACKEND named is any good, and make a
 *		backing of it (the caller keeps its own reference), or an ERR_PTR.  Changes nothing
 *		that is attached.  @vq is the queue, which may be running; NULL where the whole
 *		device is meant.  Holding dev->mutex
 * @attach:	put a backing, or NULL for none, in the place of a queue's present one, which is
 *		returned.  Cannot fail.  Holding dev->mutex and, where the queue is running,
 *		vq->mutex, with nothing in flight
 * @attach_dev:	the same for the whole device, none of whose queues is running. What
 *		VHOST_*_SET_BACKEND means in the vhost-vDPA dialect, and, where it is given, before
 *		there is an owner
 * @discard:	let go of a backing, or NULL, that is not attached (any more).  Holding dev->mutex
 * @start:	the queue is about to run: its ring is mapped.  Holding dev->mutex and vq->mutex
 * @stop:	the queue will not run again and has nothing in flight; undo @start.  Holding
 *		dev->mutex and vq->mutex
 * @run:	take chains until the budget is used, the ring is empty or the backend is.
 *		Worker, holding vq->mutex
 * @pending:	for a queue that waits with VHL_RUN_BACKEND: would a turn find work?  Worker,
 *		holding vq->mutex; cheap, used for polling
 * @backlog:	for a queue that naps: how much waits in the backend that it would lose, were there
 *		more.  Worker, holding vq->mutex, or under the lock of the wait queue of a file that
 *		is polled (vhl_poll_start()): takes only locks that a wake-up there
 *		may take
 * @ioctl:	requests of this backend alone, -ENOIOCTLCMD for others.  Holding dev->mutex, the
 *		owner not checked (vhl_is_owner())
 * @num_vqs:	queues to show; without it, all
 * @config:	fill the config space, node->config_size bytes (vDPA)
 * @set_config:	the driver has written to it, and wants it to be like this: all of it or, with
 *		-EOPNOTSUPP where a field cannot be written or -EINVAL, nothing.  Holding dev->mutex
 * @reset:	the driver is gone, and what it has set; no queue is started.  Not called where the
 *		device was suspended before, for then the driver may not know of it (vDPA).  Holding
 *		dev->mutex
 * @show:	write what is attached to fdinfo, one word; without it, "-".  Holding dev->mutex
 * @show_vq:	write counters of a queue that only this backend has, each as " name=value".
 *		Holding dev->mutex
 */
struct vhl_ops {
	void (*release)(struct vhl_dev *dev);
	int (*features)(struct vhl_dev *dev, u64 *features);
	void *(*prepare)(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file);
	void *(*attach)(struct vhl_vq *vq, void *backing);
	void *(*attach_dev)(struct vhl_dev *dev, void *backing);
	void (*discard)(void *backing);
	int (*start)(struct vhl_vq *vq);
	void (*stop)(struct vhl_vq *vq);
	enum vhl_run (*run)(struct vhl_vq *vq);
	bool (*pending)(struct vhl_vq *vq);
	enum vhl_backlog (*backlog)(struct vhl_vq *vq);
	long (*ioctl)(struct vhl_dev *dev, unsigned int cmd, void __user *argp);
	unsigned int (*num_vqs)(struct vhl_dev *dev);
	int (*config)(struct vhl_dev *dev, void *config);
	int (*set_config)(struct vhl_dev *dev, const void *config);
	void (*reset)(struct vhl_dev *dev);
	void (*show)(struct vhl_dev *dev, struct seq_file *m);
	void (*show_vq)(const struct vhl_vq *vq, struct seq_file *m);
};

/**
 * struct vhl_node - a device node
 * @name: below /dev
 * @owner: module of the backend
 * @ops: the backend
 * @dialect: what its clients speak
 * @backend_cmd: VHOST_NET_SET_BACKEND, VHOST_BLK_SET_BACKEND or the like; 0 where there is nothing
 *	to attach
 * @minor: of the misc device, 0 for any
 * @device_id: virtio device id (virtio 1.2, section 5)
 * @config_size: bytes of config space (vDPA)
 * @num_vqs: queues of a device, at most VHL_MAX_VQS
 * @reads: those, a bit each, that the device reads from only (struct vhl_ring_cfg)
 * @dev_size: bytes of the backend's device, which begins with a struct vhl_dev
 * @vq_size: bytes of the backend's queue, which begins with a struct vhl_vq
 * @max_workers: of a device, NULL for one per queue
 * @pool_max: threads of a device that run jobs (vhl_pool_submit()), 0 for none
 * @logs: the backend calls vhl_vq_dirty() for all that it writes to guest memory; in the
 *	vhost dialect
 * @logs_iova: also where the driver names memory by IOVA, for it does so in ->run(); else a client
 *	has either VHOST_F_LOG_ALL or VIRTIO_F_ACCESS_PLATFORM
 * @attached: something is attached to the whole device when a client gets it, and stays so: a
 *	@backend_cmd starts and stops queues of the vhost dialect, and changes nothing else
 * @misc: the core's
 * @fops: the core's
 */
struct vhl_node {
	const char *name;
	struct module *owner;
	const struct vhl_ops *ops;
	const struct vhl_dialect *dialect;
	unsigned int backend_cmd;
	unsigned int minor;
	u32 device_id;
	size_t config_size;
	unsigned int num_vqs;
	u32 reads;
	size_t dev_size;
	size_t vq_size;
	const unsigned int *max_workers;
	unsigned int pool_max;
	bool logs;
	bool logs_iova;
	bool attached;
	struct miscdevice misc;
	struct file_operations fops;
};

/**
 * struct vhl_job - what may block, for a thread of the owner that is no worker
 * @node: the core's
 * @run: called once, in a thread of the owner, which may sleep. @dead is true where the owner was
 *	killed and there is no such thread any more: then any context, and guest memory is out of
 *	reach. The job is the backend's again when it is called
 */
struct vhl_job {
	struct list_head node;
	void (*run)(struct vhl_job *job, bool dead);
};

/**
 * struct vhl_count - what completions add to the counters of their queue
 * @reqs: packets or requests, some of which may have taken no chain
 * @errors: those that failed
 * @in: bytes written to the guest
 * @out: bytes read from it
 */
struct vhl_count {
	unsigned int reqs;
	unsigned int errors;
	u64 in;
	u64 out;
};

static inline bool vhl_has_feature(const struct vhl_dev *dev, unsigned int bit)
{
	return dev->features[bit / 64] & BIT_ULL(bit % 64);
}

/* Has a queue a ring and a backend that was started? Context: holding dev->mutex or vq->mutex */
static inline bool vhl_vq_started(const struct vhl_vq *vq)
{
	return BIT(READ_ONCE(vq->state)) &
	       (BIT(VHL_VQ_READY) | BIT(VHL_VQ_RUNNING) | BIT(VHL_VQ_BROKEN));
}

/* Will it be used, if only when its ring is mapped? Context: same */
static inline bool vhl_vq_in_use(const struct vhl_vq *vq)
{
	return vhl_vq_started(vq) || READ_ONCE(vq->state) == VHL_VQ_UNMAPPED;
}

/* Does the calling process own the device? Context: holding dev->mutex */
static inline bool vhl_is_owner(const struct vhl_dev *dev)
{
	lockdep_assert_held(&dev->mutex);

	return dev->mm && dev->mm == current->mm;
}

/* vhost_core.c */

/**
 * vhl_node_register() - make a device node
 * @node: filled by the backend; stays in use until vhl_node_unregister()
 *
 * Context: process.
 * Return: 0; -EINVAL where something is missing, which the log names; what misc_register() gives.
 */
int vhl_node_register(struct vhl_node *node);
void vhl_node_unregister(struct vhl_node *node);

/**
 * vhl_node_init() - a node whose file in /dev the backend makes by itself
 * @node: filled by the backend, as for vhl_node_register(); its fops are then those of a device in
 *	  file->private_data, and ->open() is to put one there
 *
 * Return: 0; -EINVAL where something is missing, which the log names.
 */
int vhl_node_init(struct vhl_node *node);

/**
 * vhl_dev_new() - what an open of a node gives
 * @node: initialized; stays in use until vhl_dev_close()
 *
 * Context: process.
 * Return: a device that nobody else knows of, or NULL where there is no memory.
 */
struct vhl_dev *vhl_dev_new(struct vhl_node *node);

/* Stop all of it, let go of what is attached, and free it. Context: process */
void vhl_dev_close(struct vhl_dev *dev);

/**
 * vhl_dev_pause() - have no turns, and nothing in flight
 * @dev: the device, in whatever state
 *
 * Until vhl_dev_resume(), which gives each queue that was started a turn. Waits for what is in
 * flight. What is attached may be exchanged in between.
 *
 * Context: process, holding dev->mutex.
 */
void vhl_dev_pause(struct vhl_dev *dev);
void vhl_dev_resume(struct vhl_dev *dev);

/* Add the counters of all queues of a device to @sum. Context: any */
void vhl_dev_stats(const struct vhl_dev *dev, struct vhl_stats *sum);

/*
 * Do clients attach a backing to the whole device, before they ask what it offers? Else they do to
 * each queue, when all else is set. A matter of the dialect
 */
bool vhl_attaches_devices(const struct vhl_dev *dev);

/**
 * vhl_config_changed() - tell the driver that the config space changed
 * @dev: the device
 *
 * A config call eventfd that is set later is signalled then.
 *
 * Context: process.
 */
void vhl_config_changed(struct vhl_dev *dev);

/* core/vq.c */

/**
 * vhl_vq_take() - take the next chain of a queue
 * @vq: the queue
 * @chain: filled; its segments are good until the next call
 *
 * Breaks the queue where the ring is bad.
 *
 * Context: ->run().
 * Return: 1 with a chain, 0 when there is none, negative when the queue is broken, by this call or
 * before, or when there is no memory for an unusually long chain (-ENOMEM). ->run() then ends with
 * VHL_RUN_MORE: there may be some the next time, and a broken queue does not run.
 */
int __must_check vhl_vq_take(struct vhl_vq *vq, struct vhl_chain *chain);

/**
 * vhl_vq_mark() - where the next chain will be taken from
 * @vq: the queue
 *
 * Context: ->run().
 * Return: a position for vhl_vq_rewind().
 */
static inline u32 vhl_vq_mark(const struct vhl_vq *vq)
{
	return vhl_ring_mark(vq->ring);
}

/**
 * vhl_vq_rewind() - give back the chains that were taken last and not completed
 * @vq: the queue
 * @mark: before the first of them
 *
 * Context: ->run().
 */
void vhl_vq_rewind(struct vhl_vq *vq, u32 mark);

/**
 * vhl_vq_reject() - give back what is no request of the device, and break the queue
 * @vq: the queue
 * @mark: before the chain, or the first one of several
 * @fault: what is wrong
 *
 * Context: ->run().
 */
void vhl_vq_reject(struct vhl_vq *vq, u32 mark, enum vhl_ring_fault fault);

/**
 * vhl_vq_log() - the guest's addresses of what the device may write
 * @vq: the queue
 *
 * Context: ->run().
 * Return: entries for the device-writable segments of the chain that was taken last, to be copied
 * for longer use; NULL where nothing is to be logged, which changes only with nothing in flight.
 */
static inline const struct vhl_log *vhl_vq_log(const struct vhl_vq *vq)
{
	return vq->segs.log;
}

/**
 * vhl_vq_dirty() - log that guest memory was written
 * @vq: the queue
 * @log: entries as of vhl_vq_log(), of chains in flight
 * @n: how many
 * @len: bytes that were, or may have been, written, from the first entry on
 *
 * After the last byte is written, and before the chains are completed or given back.
 *
 * Context: any; of a node that @logs_iova, ->run().
 */
void vhl_vq_dirty(struct vhl_vq *vq, const struct vhl_log *log, unsigned int n, u32 len);

/* Size of the ring of a queue that has started: as many chains can be in flight at most */
static inline u32 vhl_vq_size(const struct vhl_vq *vq)
{
	return vhl_ring_size(vq->ring);
}

/**
 * vhl_vq_complete() - complete chains
 * @vq: the queue
 * @done: the chains, in the order in which the driver shall see them; of a backend that offers
 *	  VIRTIO_F_IN_ORDER as vhl_ring_push() says
 * @n: how many; they appear to the driver together. 0 to count requests that took no chain
 * @count: what to add to the counters
 *
 * The driver is signalled if it asked to be, unless the queue is held. After the last completion of
 * a queue that is being stopped its backend must not touch the queue any more.
 *
 * Context: any.
 */
void vhl_vq_complete(struct vhl_vq *vq, const struct vhl_done *done, unsigned int n,
		     const struct vhl_count *count);

/**
 * vhl_vq_hold() - collect completions
 * @vq: the queue
 *
 * Completions that come before vhl_vq_flush() are published there, with one signal for all; but at
 * once while the worker is not running. For a worker that submits a batch, some of which may
 * complete meanwhile. It must not sleep while it holds, other than for memory, and returns from
 * ->run() holding nothing.
 *
 * Context: ->run().
 */
void vhl_vq_hold(struct vhl_vq *vq);
void vhl_vq_flush(struct vhl_vq *vq);

/* About how many chains are taken and not completed. Context: ->run() */
unsigned int vhl_vq_inflight(const struct vhl_vq *vq);

/**
 * vhl_vq_break() - stop using a queue whose ring is bad
 * @vq: the queue
 * @fault: what is wrong
 *
 * Signals the error eventfd, sets NEEDS_RESET and signals the config call (vDPA), counts, traces,
 * logs.  No turn runs until the queue is stopped and started again.  A chain that will not be
 * completed has to be given back first (vhl_vq_reject()), or the stop would wait for it.
 *
 * Context: process, holding vq->mutex.
 */
void vhl_vq_break(struct vhl_vq *vq, enum vhl_ring_fault fault);

/**
 * vhl_vqs_start() - start all queues of a device that the driver uses
 * @dev: the device
 *
 * Those are the ones with addresses that are enabled, where the dialect has that. All of them start
 * or none does; those that run already go on. For a backend with a start request of its own; other
 * queues start with what is attached to them.
 *
 * Context: process, holding dev->mutex.
 * Return: 0; -EPERM where the calling process is not the owner, or there is none; -EINVAL where a
 * queue has no size, or no ring can be made of what was set (vhl_ring_cfg_ok()); -EFAULT where a
 * ring is not in the owner's memory, -EOPNOTSUPP where that cannot be pinned; -ENOMEM, also where
 * RLIMIT_MEMLOCK is reached; -EINTR where the calling process was killed, -ESRCH where the owner
 * was; what the kernel says where it makes no more threads (-EAGAIN); or what the backend's start()
 * gives.
 */
int __must_check vhl_vqs_start(struct vhl_dev *dev);

/**
 * vhl_vqs_stop() - stop all queues of a device
 * @dev: the device
 *
 * Waits for what is in flight. A start goes on where they stopped.
 *
 * Context: process, holding dev->mutex.
 */
void vhl_vqs_stop(struct vhl_dev *dev);

/* core/worker.c */

/**
 * vhl_vq_node() - the memory node for what a queue works with
 * @vq: the queue
 *
 * Where its worker is, which is where its owner may run: whoever starts a queue may be elsewhere.
 *
 * Context: ->start().
 * Return: the node, or NUMA_NO_NODE where the worker has not run yet.
 */
int vhl_vq_node(const struct vhl_vq *vq);

/**
 * vhl_vq_kick() - have the worker run a queue
 * @vq: the queue, started
 *
 * Context: any, also hard interrupts and under a wait queue's lock.
 */
void vhl_vq_kick(struct vhl_vq *vq);

/* core/notify.c */

/**
 * vhl_poll_start() - run a queue when a file becomes ready
 * @poll: the poll, zeroed or stopped
 * @vq: the queue
 * @file: polled with its ->poll; the caller keeps it open until vhl_poll_stop()
 * @events: EPOLLIN and the like
 *
 * Kicks at once if the file is ready now.
 *
 * Context: process, holding dev->mutex.
 * Return: 0, or -EINVAL where the file cannot be waited for.
 */
int vhl_poll_start(struct vhl_poll *poll, struct vhl_vq *vq, struct file *file, __poll_t events);
void vhl_poll_stop(struct vhl_poll *poll);

/**
 * vhl_poll_sync() - wait for wake-ups by a file that have begun
 * @poll: the poll, started
 *
 * Context: process.
 */
void vhl_poll_sync(struct vhl_poll *poll);

/**
 * vhl_poll_mute() - a file that becomes ready is of no use to a queue
 * @poll: the poll, started
 *
 * For a queue that waits for its driver, whatever the file has.
 *
 * Context: ->run().
 */
void vhl_poll_mute(struct vhl_poll *poll);

/**
 * vhl_poll_listen() - a file is waited for
 * @poll: the poll, started
 *
 * Context: ->run().
 * Return: true if it was muted: it has to be looked at once more.
 */
bool vhl_poll_listen(struct vhl_poll *poll);

/* core/pool.c */

/**
 * vhl_pool_submit() - have a job run by a thread of the owner
 * @dev: a device with a queue that runs, or is being stopped and has the job's chain in flight
 * @job: its @run is set; the core's until that is called
 *
 * Jobs are taken in order, as long as there are threads for them (vhl_node.pool_max); they block
 * each other only when that many do.
 *
 * Context: any.
 */
void vhl_pool_submit(struct vhl_dev *dev, struct vhl_job *job);

#endif /* VHL_H */
