/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the core share and no backend sees.
 */
#ifndef VHL_INTERNAL_H
#define VHL_INTERNAL_H

#include <linux/poll.h>
#include <linux/uio.h>
#include <linux/virtio_config.h>

#include "vhl.h"

struct vhost_memory;
struct vhl_ring_cfg;
struct vhl_thread;

/**
 * struct vhl_dirty_log - the VMM's bitmap of dirty memory, pinned
 * @map: the bitmap
 * @base: the owner's address
 * @pinned: pages of it
 */
struct vhl_dirty_log {
	struct vhl_bitmap map;
	u64 base;
	unsigned long pinned;
};

/**
 * struct vhl_dialect - what clients speak
 *
 * @ioctl: requests other than the backend's, -ENOIOCTLCMD for unknown ones. Holding dev->mutex
 * @in_use:	does the driver use the device, although none of its queues may run? Then what is
 *		attached to the device stays.  Holding dev->mutex.  Optional
 * @broken:	a queue of the device broke.  Process context, holding its vq->mutex.  Optional
 * @show:	lines of its own for fdinfo.  Holding dev->mutex.  Optional
 * @features:	bits that it offers besides those of the rings and the device type
 * @backend_features: bits that it offers of its own
 * @by_backend: what a client speaks that attaches something; NULL where that is certain already,
 *	as is
 * @by_message: one that sends an IOTLB message
 * @no_such_queue: errno of requests about a queue that the device does not have
 * @enables:	a queue is used only when the client has enabled it
 * @answers_misses: clients of a device with VIRTIO_F_ACCESS_PLATFORM are asked for translations
 *	that are missing, by read(); else that is a fault
 * @rings_are_iova: ring addresses always go through the memory map; else with
 *	VIRTIO_F_ACCESS_PLATFORM, and they are the owner's without
 * @addr_fixed_while_started: ring addresses may be set only while the queue is not started; else
 *	they are for the next start
 * @attaches_devices: SET_BACKEND is about the whole device, which stands as queue 0
 * @logs: clients may have dirty memory logged, if the node does that
 *
 * What a device has of it before its client's requests tell which one it is, either.c decides.
 */
struct vhl_dialect {
	long (*ioctl)(struct vhl_dev *dev, unsigned int cmd, void __user *argp);
	bool (*in_use)(const struct vhl_dev *dev);
	void (*broken)(struct vhl_dev *dev);
	void (*show)(struct vhl_dev *dev, struct seq_file *m);
	u64 features;
	u64 backend_features;
	const struct vhl_dialect *by_backend;
	const struct vhl_dialect *by_message;
	int no_such_queue;
	bool enables;
	bool answers_misses;
	bool rings_are_iova;
	bool addr_fixed_while_started;
	bool attaches_devices;
	bool logs;
};

/*
 * From now on it is certain what the client of the device speaks; NULL: it was. Nothing was set
 * that dialects differ in.
 */
static inline void vhl_dialect_decide(struct vhl_dev *dev, const struct vhl_dialect *dialect)
{
	unsigned int i;

	lockdep_assert_held(&dev->mutex);

	if (!dialect)
		return;
	/* read() looks at it at any time */
	WRITE_ONCE(dev->dialect, dialect);
	dev->backend_features &= dialect->backend_features;
	for (i = 0; i < dev->node->num_vqs; i++)
		dev->vqs[i]->enabled = !dialect->enables;
}

/* Are ring addresses IOVAs? */
static inline bool vhl_rings_are_iova(const struct vhl_dev *dev)
{
	return dev->dialect->rings_are_iova ||
	       vhl_has_feature(dev, VIRTIO_F_ACCESS_PLATFORM);
}

/* May its client have dirty memory logged? */
static inline bool vhl_may_log(const struct vhl_dev *dev)
{
	return dev->node->logs && dev->dialect->logs;
}

/* Queues that clients know of */
static inline unsigned int vhl_num_vqs(struct vhl_dev *dev)
{
	return dev->node->ops->num_vqs ? dev->node->ops->num_vqs(dev) : dev->node->num_vqs;
}

/* Where a ring begins: where it stopped or the client said, else where its format has it */
static inline u32 vhl_vq_base(const struct vhl_vq *vq)
{
	return vq->have_base ? vq->base : vhl_ring_first_base(vq->dev->features[0]);
}

/* A worker may be polling with the mutex held: have it let go. Clients exclude each other. */
static inline void vhl_vq_lock(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->dev->mutex);

	WRITE_ONCE(vq->yield, true);
	mutex_lock_nest_lock(&vq->mutex, &vq->dev->mutex);
	WRITE_ONCE(vq->yield, false);
}

static inline void vhl_vq_unlock(struct vhl_vq *vq)
{
	mutex_unlock(&vq->mutex);
	/* unlocked before the look at missed; pairs with vhl_vq_trylock() */
	smp_mb();
	if (unlikely(READ_ONCE(vq->missed)) && xchg(&vq->missed, false))
		vhl_vq_kick(vq);
}

/*
 * For the worker, which has other queues: a client holds the mutex for as long as it waits for what
 * is in flight. Return: false, and whoever unlocks it kicks the queue.
 */
static inline bool vhl_vq_trylock(struct vhl_vq *vq)
{
	if (likely(mutex_trylock(&vq->mutex)))
		return true;
	WRITE_ONCE(vq->missed, true);
	/* missed before the look at the mutex; pairs with vhl_vq_unlock() */
	smp_mb();
	/* missed stays: a turn too many does no harm */
	return mutex_trylock(&vq->mutex);
}

static inline void vhl_lock_vqs(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_lock(dev->vqs[i]);
}

static inline void vhl_unlock_vqs(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		vhl_vq_unlock(dev->vqs[i]);
}

/* A turn for each queue that was started: what it waited for may have changed. Holding dev->mutex */
static inline void vhl_kick_vqs(struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		if (vhl_vq_started(dev->vqs[i]))
			vhl_vq_kick(dev->vqs[i]);
}

/* Of pages, for complaints of limits */
static inline unsigned long vhl_kib(unsigned long pages)
{
	return pages << (PAGE_SHIFT - 10);
}

/* Is any queue used, if only when its ring is mapped? Holding dev->mutex */
static inline bool vhl_any_vq_in_use(const struct vhl_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->node->num_vqs; i++)
		if (vhl_vq_in_use(dev->vqs[i]))
			return true;
	return false;
}

/* bases.c APIs: holding dev->mutex. Return: 0 or a negative errno (uapi header) */
int vhl_bases_set(struct vhl_dev *dev, const u64 __user *argp);	/* by the owner */
void vhl_bases_store(const struct vhl_vq *vq);
void vhl_bases_forget(struct vhl_dev *dev);

/*
 * claim.c APIs: holding vq->mutex. To begin nothing is in flight; to end, too, and the queue has no
 * ring to take from any more. Return: 0 or -ENOMEM
 */
int vhl_claims_begin(struct vhl_vq *vq);
void vhl_claims_end(struct vhl_vq *vq);
/* of a chain that was taken just now. Return: 0, -ENOMEM, or -EBUSY for an id in flight */
int vhl_claim(struct vhl_vq *vq, const struct vhl_chain *chain);
void vhl_claims_rewind(struct vhl_vq *vq, u32 mark);	/* of those that are given back now */
/* of those that are completed now; holding vq->used_lock instead */
void vhl_claims_drop(struct vhl_vq *vq, const struct vhl_done *done, unsigned int n);

/* config.c: VHOST_VDPA_*_CONFIG*, holding dev->mutex. Return: 0 or a negative errno (uapi header) */
int vhl_config_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp);

/* fdinfo.c */
void vhl_show_fdinfo(struct seq_file *m, struct file *file);

/* idle.c APIs: holding vq->mutex, but for vhl_idle_init() */
void vhl_idle_init(struct vhl_vq *vq);
void vhl_idle_start(struct vhl_vq *vq);
void vhl_idle_stop(struct vhl_vq *vq);
void vhl_idle_awake(struct vhl_vq *vq);		/* the worker, before a turn and after it */
bool vhl_idle_rest(struct vhl_vq *vq, enum vhl_run run, unsigned int taken);

/* share.c APIs: holding vq->mutex, the last two by the worker; it had nothing to do for @ns */
void vhl_share_start(struct vhl_vq *vq);
void vhl_share_attach(struct vhl_vq *vq, struct vhl_worker *worker);
void vhl_share_rested(struct vhl_vq *vq, u64 ns);
bool vhl_share_turn(struct vhl_vq *vq);

/* miss.c APIs */
void vhl_miss_init(struct vhl_dev *dev);
bool vhl_miss_may_ask(const struct vhl_dev *dev);
void vhl_miss_ask(struct vhl_vq *vq, const struct vhl_miss *miss, unsigned int n); /* vq->mutex */
bool vhl_miss_ask_ring(struct vhl_vq *vq);	/* holding dev->mutex, as does */
void vhl_miss_changed(struct vhl_dev *dev, u64 first, u64 last);
void vhl_miss_forget(struct vhl_vq *vq);
void vhl_miss_end(struct vhl_dev *dev);		/* nobody may ask any more */
ssize_t vhl_miss_read(struct vhl_dev *dev, struct iov_iter *to, bool wait);
__poll_t vhl_miss_poll(struct vhl_dev *dev, struct file *file, poll_table *table);

/* The map of guest addresses, which a dirty log is of: not that of queues where they have IOVAs */
static inline struct vhl_mem *vhl_guest_map(struct vhl_dev *dev)
{
	return vhl_miss_may_ask(dev) ? &dev->table : &dev->mem;
}

/* umem.c APIs: holding dev->mutex */
int vhl_umem_set_table(struct vhl_dev *dev, void __user *argp);
int vhl_umem_map(struct vhl_dev *dev, u64 iova, u64 size, u64 uaddr, u32 perm);
void vhl_umem_unmap(struct vhl_dev *dev, u64 first, u64 last);
void vhl_umem_clear(struct vhl_dev *dev);
void vhl_umem_forget(struct vhl_dev *dev);
void vhl_umem_set_iova(struct vhl_dev *dev, bool on);
void vhl_umem_make_room(struct vhl_dev *dev);
bool vhl_umem_region_ok(u64 iova, u64 size, u64 uaddr, u32 perm);	/* holding nothing */

/* log.c APIs: holding dev->mutex; vhl_log_follow() all vq->mutex besides, with nothing in flight */
int vhl_log_set_base(struct vhl_dev *dev, void __user *argp);
int vhl_log_switch(struct vhl_dev *dev, bool on);
int vhl_log_prepare(struct vhl_dev *dev, const struct vhl_mem *mem, struct vhl_dirty_log **log);
void vhl_log_follow(struct vhl_dev *dev, struct vhl_dirty_log **log);
void vhl_log_discard(struct vhl_dev *dev, struct vhl_dirty_log *log);
void vhl_log_forget(struct vhl_dev *dev);

/* iotlb.c: holding dev->mutex. Return: 0 or a negative errno (uapi header) */
int vhl_iotlb_write(struct vhl_dev *dev, struct iov_iter *from);

/* notify.c APIs */
void vhl_vq_signal(struct vhl_vq *vq);		/* holding vq->used_lock */
void vhl_vq_signal_owed(struct vhl_vq *vq);
void vhl_notify_needs_reset(struct vhl_dev *dev);	/* holding a vq->mutex */
int vhl_vq_set_kick(struct vhl_vq *vq, int fd);	/* these holding dev->mutex */
int vhl_vq_set_call(struct vhl_vq *vq, int fd);
int vhl_vq_set_err(struct vhl_vq *vq, int fd);
int vhl_set_config_call(struct vhl_dev *dev, int fd);
int vhl_set_log_call(struct vhl_dev *dev, int fd);
void vhl_vq_put_eventfds(struct vhl_vq *vq);

/* pin.c APIs: holding dev->mutex, by the owner (vhl_unpin_ring() by anybody) */
int vhl_pin_ring(struct vhl_vq *vq, struct vhl_ring_cfg *cfg);
void vhl_unpin_ring(struct vhl_vq *vq);
bool vhl_ring_is_mapped(struct vhl_vq *vq);
bool vhl_ring_missing(struct vhl_vq *vq, struct vhl_miss *miss);
bool vhl_ring_touches(struct vhl_vq *vq, u64 first, u64 last);
int vhl_pin_page(unsigned long hva, struct page **page);
bool vhl_pinned_page(const struct vhl_vq *vq, unsigned int i, unsigned long *hva);

/* pool.c APIs: holding dev->mutex, vhl_pool_start() with an owner */
int vhl_pool_start(struct vhl_dev *dev);
void vhl_pool_stop(struct vhl_dev *dev);

/* vhost_core.c APIs: holding dev->mutex */
void vhl_dev_reset(struct vhl_dev *dev);
int vhl_set_owner(struct vhl_dev *dev);
bool vhl_owner_is_dead(const struct vhl_dev *dev);
int vhl_get_features(struct vhl_dev *dev, u64 *features);
int vhl_set_features(struct vhl_dev *dev, const u64 *features);
int vhl_set_backend_features(struct vhl_dev *dev, u64 features, u64 offered);

/* vq.c APIs: holding dev->mutex, but for vhl_vq_init() and vhl_vq_state_name() */
void vhl_vq_init(struct vhl_vq *vq, struct vhl_dev *dev, unsigned int index);
int vhl_vq_start(struct vhl_vq *vq);
int vhl_vq_start_mapped(struct vhl_vq *vq);	/* or when its ring is mapped */
int vhl_vq_prepare(struct vhl_vq *vq);		/* these two together are a start */
void vhl_vq_run(struct vhl_vq *vq);
void vhl_vq_stop(struct vhl_vq *vq);
void vhl_vq_unmap(struct vhl_vq *vq);		/* stop, until its ring is mapped again */
const char *vhl_vq_state_name(const struct vhl_vq *vq);
void vhl_vq_drain(struct vhl_vq *vq);		/* holding vq->mutex besides, as for the next one */
bool vhl_vq_is_drained(struct vhl_vq *vq);	/* of one that has started */
void vhl_lock_drained_vqs(struct vhl_dev *dev);	/* vhl_lock_vqs() with nothing in flight */

/* As struct vhl_ops says of its backlog() */
static inline enum vhl_backlog vhl_vq_backlog(struct vhl_vq *vq)
{
	const struct vhl_ops *ops = vq->dev->node->ops;

	return ops->backlog ? ops->backlog(vq) : VHL_BACKLOG_SMALL;
}

/* vring.c APIs: holding dev->mutex */
long vhl_vring_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp);
long vhl_vring_state(struct vhl_dev *dev, unsigned int cmd, void __user *argp);
struct vhl_vq *vhl_vq_get(struct vhl_dev *dev, u32 index);

/* vqlog.c APIs: holding dev->mutex */
void vhl_vq_log_turn(struct vhl_vq *vq);		/* holding vq->mutex */
int vhl_vq_set_log(struct vhl_vq *vq, bool on, u64 log_addr);
bool vhl_vq_log_ok(const struct vhl_vq *vq, const struct vhl_dirty_log *log,
		   const struct vhl_mem *mem);
const struct vhl_ring_log *vhl_vq_ring_log(struct vhl_vq *vq);
void vhl_vq_update_log(struct vhl_vq *vq);	/* holding vq->mutex besides, of one that has started */
void vhl_vq_tell_log(struct vhl_vq *vq);	/* holding vq->used_lock */

/* worker.c APIs: holding dev->mutex */
int vhl_workers_start(struct vhl_dev *dev);	/* by the thread that sets the owner */
int vhl_workers_get(struct vhl_vq *vq);
struct vhl_worker *vhl_worker_get(struct vhl_dev *dev, u32 index);
int vhl_worker_new(struct vhl_dev *dev);	/* returns its index */
int vhl_worker_free(struct vhl_dev *dev, u32 index);
struct vhl_thread *vhl_worker_spawn(struct vhl_dev *dev, bool (*fn)(void *data),
				    void (*killed)(void *data), void *data, const char *name);
void vhl_workers_stop(struct vhl_dev *dev);
unsigned int vhl_worker_index(const struct vhl_worker *worker);
/* in a turn; but for this one by that worker itself */
bool vhl_worker_is_current(const struct vhl_worker *worker);
bool vhl_worker_has_work(const struct vhl_worker *worker);
bool vhl_worker_has_other(const struct vhl_worker *worker, const struct vhl_vq *vq);
bool vhl_worker_crowded(struct vhl_worker *worker, const struct vhl_vq *vq, unsigned int ms);
void vhl_worker_uncrowd(struct vhl_worker *worker);
/* any context */
u64 vhl_worker_waited(const struct vhl_worker *worker);
bool vhl_worker_on_cpu(const struct vhl_worker *worker);

#endif /* VHL_INTERNAL_H */
