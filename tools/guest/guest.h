/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest without a guest: memory, rings and the ioctls of a VMM, in one process.
 *
 * Works on a node of the vhost dialect (/dev/vhost-netlite, /dev/vhost-blklite, the kernel's own
 * /dev/vhost-net) and of the vhost-vDPA dialect (/dev/vdpa-blklite); which one it is, guest_open()
 * finds out.  The calls below mean the same on both, so a program need not care.
 *
 *	guest_open(&g, "/dev/vhost-blklite", GUEST_BLK);
 *	guest_attach(g, disk);			a disk is attached before it is owned; no-op for net
 *	guest_own(g);
 *	guest_features(g, &f);
 *	guest_set_features(g, f & wanted);
 *	guest_layout(g, 4, 16 << 20);		four regions, 16 MiB together
 *	guest_commit(g);			the device learns of the memory
 *	guest_queue(g, 0, 256, &q);		rings and eventfds, made here
 *	guest_queue_program(q);			the device learns of the queue
 *	guest_start(g, disk);			all queues run
 *
 *	guest_alloc(g, 4096, 512, &gpa);
 *	gq_add(q, segs, nout, nin, token);	any number of times
 *	gq_publish(q);
 *	gq_notify(q);				kicks when the device wants to be
 *	gq_wait(q, 1000);
 *	gq_get(q, &token, &len);
 *
 *	guest_stop(g);
 *	guest_close(g);
 *
 * Everything that can fail returns 0 or -errno, never exits and never prints; guest_error() has
 * the words for a person.  Struct members are there to be read, and by tests of bad behaviour also
 * to be written: change q->addr, q->num or the raw ring between guest_queue() and
 * guest_queue_program(), or write descriptors by hand (gq_desc(), gq_push()).
 *
 * Threads: one at a time per queue; guest_alloc() from any; all else from one.
 */
#ifndef GUEST_H
#define GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vhost_compat.h"

#define GUEST_MAX_QUEUES	16
#define GUEST_MAX_REGIONS	1024

/* Segments of one chain that gq_add() accepts */
#define GUEST_MAX_SEGS		256

enum guest_kind {
	GUEST_NET,			/* VHOST_NET_SET_BACKEND */
	GUEST_BLK,			/* VHOST_BLK_SET_BACKEND */
};

/**
 * struct guest_region - a piece of guest memory
 * @gpa: guest (physical) address; the IOVA of the vhost-vDPA dialect
 * @size: bytes
 * @hva: where it is in this process
 * @perm: VHOST_ACCESS_RO, _WO or _RW; only the vhost-vDPA dialect can tell the device
 * @lo: free for guest_alloc() from here ...
 * @hi: ... up to here
 * @down: filled from the top, see guest_alloc_straddling()
 * @owned: unmapped by guest_close(), with a guard page on each side
 * @mapped: the device knows it (vhost-vDPA)
 */
struct guest_region {
	uint64_t gpa;
	uint64_t size;
	unsigned char *hva;
	uint8_t perm;
	uint64_t lo, hi;
	bool down, owned, mapped;
};

/* A segment of a chain */
struct guest_seg {
	uint64_t gpa;
	uint32_t len;
};

/**
 * struct guest_counters - what happened on a queue, seen from the driver
 * @chains: chains made available
 * @used: chains that came back
 * @publishes: times the avail index moved
 * @kicks: kicks sent
 * @kicks_saved: publications after which the device wanted no kick
 * @calls: signals received on the call eventfd, up to the last gq_count_calls()
 * @waits: times the driver went to sleep for one
 */
struct guest_counters {
	uint64_t chains;
	uint64_t used;
	uint64_t publishes;
	uint64_t kicks;
	uint64_t kicks_saved;
	uint64_t calls;
	uint64_t waits;
};

struct guest;
struct gq_chain;

/**
 * struct guest_queue - a virtqueue, seen from the driver
 * @guest: whose
 * @index: number of the queue on its device
 * @num: ring size
 * @packed: VIRTIO_F_RING_PACKED is in use; otherwise it is a split one
 * @desc: descriptor table; of a packed ring the driver's own notes, which gq_push() copies
 * @avail: driver area, split only
 * @used: device area, split only
 * @ring: descriptors, packed only
 * @driver: driver area, packed only
 * @device: device area, packed only
 * @addr: what VHOST_SET_VRING_ADDR is given
 * @base: what VHOST_SET_VRING_BASE is given, and the last VHOST_GET_VRING_BASE returned
 * @kick_fd: eventfd
 * @call_fd: eventfd
 * @err_fd: eventfd
 * @wait_fd: epoll of @call_fd and @err_fd, -1 until gq_wait() slept for the first time
 * @event_idx: VIRTIO_F_EVENT_IDX is in use
 * @in_order: VIRTIO_F_IN_ORDER is in use
 * @indirect: gq_add() makes an indirect table of what has more than one segment
 * @irq: gq_wait() sleeps on @call_fd; otherwise it polls the ring and asks for no calls
 * @broken: gq_get() saw a used entry that cannot be
 * @running: started and not stopped
 * @avail_next: avail index that gq_publish() will show; of a packed ring, too, chains are counted
 * @avail_shown: avail index that the device sees
 * @avail_told: avail index when gq_kick_wanted() was last asked
 * @used_next: used index up to which entries were collected
 * @last_head: of the chain that was added last
 * @avail_place: packed: index and wrap counter of the next descriptor to fill,
 * @used_place: of the next used one,
 * @told_place: and @avail_place when gq_kick_wanted() was last asked
 * @hidden: packed: there are chains that gq_publish() will show, by these flags
 * @hidden_at: in that descriptor
 * @hidden_flags:
 * @descs: packed: by head, descriptors of a chain in flight
 * @order: in order: chains by the avail index at which they were added
 * @in_batch: in order: the used entry that was read last told of more than was collected:
 * @batch_id: up to this one,
 * @batch_len: which has so many bytes
 * @num_free: free descriptors
 * @free_head: first of them
 * @chain: by head, chains in flight
 * @next: by descriptor, the driver's own copy of the links
 * @count: counters
 */
struct guest_queue {
	struct guest *guest;
	unsigned int index;
	unsigned int num;
	bool packed;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc *ring;
	struct vring_packed_desc_event *driver, *device;
	struct vhost_vring_addr addr;
	uint32_t base;
	int kick_fd, call_fd, err_fd, wait_fd;
	bool event_idx, in_order, indirect, irq, broken, running;

	uint16_t avail_next, avail_shown, avail_told, used_next, last_head;
	uint16_t avail_place, used_place, told_place;
	bool hidden;
	uint16_t hidden_at, hidden_flags;
	uint16_t *descs;
	uint16_t *order;
	bool in_batch;
	uint32_t batch_id, batch_len;
	unsigned int num_free;
	uint16_t free_head;
	struct gq_chain *chain;
	uint16_t *next;
	struct guest_counters count;
};

/* What differs between the dialects; dev_vhost.c and dev_vdpa.c */
struct guest_ops {
	const char *name;
	int (*own)(struct guest *g);
	int (*set_features)(struct guest *g, uint64_t features);
	int (*commit)(struct guest *g);
	int (*forget)(struct guest *g, struct guest_region *r);
	void (*ring_addr)(struct guest_queue *q, uint64_t desc, uint64_t driver, uint64_t device);
	int (*start)(struct guest *g, int fd);
	int (*stop)(struct guest *g);
};

extern const struct guest_ops guest_ops_vhost, guest_ops_vdpa;

/**
 * struct guest - a device and its guest
 * @fd: the open node
 * @path: of it
 * @kind: which request sets the backend
 * @ops: the dialect; compare with &guest_ops_vdpa where a test must know
 * @features: as set
 * @backend_features: as set (vhost-vDPA)
 * @packed: guest_features() tells of packed rings, if there are any; off at first
 * @in_order: of VIRTIO_F_IN_ORDER, likewise
 * @shared: guest_add_memory() makes shared memory, as a VMM with memfd would; off at first
 * @region: guest memory
 * @nregions: how many
 * @queue: by index, NULL for those not made
 */
struct guest {
	int fd;
	char *path;
	enum guest_kind kind;
	const struct guest_ops *ops;
	uint64_t features;
	uint64_t backend_features;
	bool packed, in_order;
	bool shared;
	struct guest_region region[GUEST_MAX_REGIONS];
	unsigned int nregions;
	struct guest_queue *queue[GUEST_MAX_QUEUES];

	/* guest.c and guest_mem.c only */
	pthread_mutex_t alloc_lock;
	unsigned int alloc_turn;
	char error[256];
};

/* ---- the device: guest.c ---- */

/**
 * guest_open() - open a node
 * @gp: the new guest, also when opening fails with something to say; NULL when memory ran out
 * @path: the node
 * @kind: GUEST_NET or GUEST_BLK
 *
 * Nothing but the question which dialect it is has been sent to the device afterwards.
 */
int guest_open(struct guest **gp, const char *path, enum guest_kind kind);

/*
 * guest_open_named() - the node of a named disk, which speaks both dialects: nothing is asked that would
 * decide for one of them
 */
int guest_open_named(struct guest **gp, const char *path, bool vdpa);

/* guest_close() - close the node without stopping first, and free everything; NULL is fine */
void guest_close(struct guest *g);

/* guest_error() - what the last failed call was about, in one line; never NULL */
const char *guest_error(const struct guest *g);

/**
 * guest_ioctl() - an ioctl on the node
 * @g: the guest
 * @name: for guest_error(), see GUEST_IOCTL()
 * @request: its number
 * @arg: its argument
 *
 * Return: what the ioctl returned, or -errno.
 */
int guest_ioctl(struct guest *g, const char *name, unsigned long request, void *arg);
#define GUEST_IOCTL(g, request, arg)	guest_ioctl(g, #request, request, arg)

/* guest_attach() - attach a disk before the device has an owner; nothing to do for GUEST_NET */
int guest_attach(struct guest *g, int fd);

/* guest_own() - VHOST_SET_OWNER; the vhost-vDPA dialect also resets and goes to DRIVER */
int guest_own(struct guest *g);

/* guest_features() - what the device offers to the driver, but for what was not asked for */
int guest_features(struct guest *g, uint64_t *offered);

/**
 * guest_set_features() - what the driver takes
 *
 * The vhost-vDPA dialect adds VIRTIO_F_ACCESS_PLATFORM, as its clients do, and goes to
 * FEATURES_OK; -EOPNOTSUPP when the device does not keep that bit.
 */
int guest_set_features(struct guest *g, uint64_t features);

/* guest_config() - read config space; -EOPNOTSUPP in the vhost dialect, which has none */
int guest_config(struct guest *g, unsigned int offset, void *buf, unsigned int len);

/**
 * guest_start() - start all queues that were made
 * @g: the guest
 * @fd: TAP or disk.  The vhost-vDPA dialect, whose disk is attached already, ignores it
 */
int guest_start(struct guest *g, int fd);

/* guest_stop() - stop all queues and read back their bases */
int guest_stop(struct guest *g);

/* guest_dump() - state of all queues, and the device's own counters */
void guest_dump(const struct guest *g, FILE *f);

/**
 * guest_device_counter() - a counter of the device itself, from fdinfo
 * @g: the guest
 * @name: as in <linux/vhost_lite.h>, e.g. "wakes"
 * @value: the sum of all queues
 *
 * Return: 0, -ENOENT when the node has no such counter (any node that is not ours).
 */
int guest_device_counter(const struct guest *g, const char *name, uint64_t *value);

/* ---- memory: guest_mem.c ---- */

/* guest_add_memory() - make a region of anonymous memory.  Not known to the device yet */
int guest_add_memory(struct guest *g, uint64_t gpa, uint64_t size);

/* guest_add_region() - the same with memory of the caller's, who keeps it mapped and unmaps it */
int guest_add_region(struct guest *g, uint64_t gpa, void *hva, uint64_t size);

/**
 * guest_layout() - make @n regions with @bytes altogether
 *
 * Two by two they are neighbours for the guest (never in this process), with holes in between.
 */
int guest_layout(struct guest *g, unsigned int n, uint64_t bytes);

/* guest_commit() - tell the device about all regions; again after a change, also while it runs */
int guest_commit(struct guest *g);

/*
 * guest_del_region() - forget the region at @gpa and unmap what guest_add_memory() mapped.  The vhost
 * dialect learns by the next guest_commit(); with none, the device knows memory that is not there
 */
int guest_del_region(struct guest *g, uint64_t gpa);

/* guest_alloc() - memory inside one region, zeroed, never freed.  -ENOMEM */
int guest_alloc(struct guest *g, uint64_t size, uint64_t align, uint64_t *gpa);

/**
 * guest_alloc_straddling() - memory in two regions that guest_layout() made neighbours
 * @g: the guest
 * @below: bytes of it in the lower one
 * @above: bytes of it in the upper one
 * @gpa: where it begins
 *
 * Return: 0, -ENOSPC when all pairs have been used.
 */
int guest_alloc_straddling(struct guest *g, uint64_t below, uint64_t above, uint64_t *gpa);

/* guest_span() - where @gpa is, and how many of @len bytes are contiguous there; NULL: nowhere */
void *guest_span(const struct guest *g, uint64_t gpa, uint64_t len, uint64_t *contiguous);

/* guest_ptr() - where @len bytes at @gpa are, NULL unless they are all in one region */
void *guest_ptr(const struct guest *g, uint64_t gpa, uint64_t len);

/* guest_read(), guest_write() - copy from and to guest memory, across regions.  -EFAULT */
int guest_read(const struct guest *g, uint64_t gpa, void *buf, uint64_t len);
int guest_write(const struct guest *g, uint64_t gpa, const void *buf, uint64_t len);

/**
 * struct guest_walk - goes over the bytes of segments
 * @g: the guest
 * @seg: the first segment
 * @n: segments left
 * @done: bytes of the first of them that are behind
 */
struct guest_walk {
	const struct guest *g;
	const struct guest_seg *seg;
	unsigned int n;
	uint64_t done;
};

/* guest_next() - the next contiguous bytes, at most @max; NULL when there are none or @max is 0 */
void *guest_next(struct guest_walk *w, uint64_t max, uint64_t *len);

/* guest_skip() - leave out the next @len bytes */
void guest_skip(struct guest_walk *w, uint64_t len);

/* ---- queues, towards the device: guest_queue.c ---- */

/**
 * guest_queue() - make the rings and eventfds of a queue; nothing is sent
 * @g: the guest, its memory and features set
 * @index: of the queue
 * @num: ring size; no power of two is needed to make it, so that a device can be asked to refuse
 * @qp: the queue, which belongs to @g
 */
int guest_queue(struct guest *g, unsigned int index, unsigned int num, struct guest_queue **qp);

/* guest_queue_program() - NUM, BASE, ADDR, KICK, CALL and ERR; again before every start */
int guest_queue_program(struct guest_queue *q);

/* guest_queue_num(), _base(), _addr(), _fds() - the steps of guest_queue_program() */
int guest_queue_num(struct guest_queue *q);
int guest_queue_base(struct guest_queue *q);
int guest_queue_addr(struct guest_queue *q);
int guest_queue_fds(struct guest_queue *q);

/* guest_queue_backend() - VHOST_*_SET_BACKEND of one queue (vhost dialect); -1 stops it */
int guest_queue_backend(struct guest_queue *q, int fd);

/* guest_queue_enable() - VHOST_VDPA_SET_VRING_ENABLE of one queue (vhost-vDPA dialect) */
int guest_queue_enable(struct guest_queue *q, bool on);

/* guest_queue_switch() - start one queue, or with -1 stop it, as the dialect has it; others go on */
int guest_queue_switch(struct guest_queue *q, int fd);

/* guest_queue_get_base() - VHOST_GET_VRING_BASE, into q->base */
int guest_queue_get_base(struct guest_queue *q);

/**
 * gq_kick() - signal the kick eventfd, asked for or not
 */
int gq_kick(struct guest_queue *q);

/* gq_notify() - kick if the device wants it for what was published since the last gq_notify() */
int gq_notify(struct guest_queue *q);

/**
 * gq_wait() - wait until there is something to collect
 * @q: the queue
 * @timeout_ms: 0 looks once, -1 waits for ever; counted anew after the first call that brought
 *	nothing
 *
 * Return: 0, -ETIMEDOUT, -EIO when the device signalled the error eventfd.
 */
int gq_wait(struct guest_queue *q, int timeout_ms);

/* gq_count_calls() - have @count.calls up to date; not while another thread sleeps in gq_wait() */
void gq_count_calls(struct guest_queue *q);

/* gq_error() - has the device signalled the error eventfd; keeps it so */
bool gq_error(const struct guest_queue *q);

/* ---- queues, on memory: guest_ring.c, guest_packed.c ---- */

/**
 * gq_add() - make a chain available, unpublished
 * @q: the queue
 * @seg: first @nout segments that the device reads, then @nin that it writes
 * @nout: how many of these
 * @nin: how many of those
 * @token: what gq_get() is to return, not NULL
 *
 * Return: 0, -ENOSPC when the ring has no room for it now, -EINVAL when it never has, -ENOMEM.
 */
int gq_add(struct guest_queue *q, const struct guest_seg *seg, unsigned int nout,
	   unsigned int nin, void *token);

/* gq_publish() - let the device see all chains added */
void gq_publish(struct guest_queue *q);

/**
 * gq_get() - collect a chain that the device is done with
 * @q: the queue
 * @token: as given to gq_add()
 * @len: bytes that the device says it wrote
 *
 * Return: 0, -EAGAIN when there is none, -EPROTO when the used entry names no chain in flight or
 * has more bytes than it could have written; the queue is of no use then.
 */
int gq_get(struct guest_queue *q, void **token, uint32_t *len);

/* gq_pending() - is there something to collect */
bool gq_pending(const struct guest_queue *q);

/* gq_in_flight() - chains added and not collected */
unsigned int gq_in_flight(const struct guest_queue *q);

/* gq_calls() - ask for a call with the next used entry, or for none */
void gq_calls(struct guest_queue *q, bool on);

/* gq_kick_wanted() - does the device want a kick for what was published since the last time */
bool gq_kick_wanted(struct guest_queue *q);

/**
 * gq_reset() - an empty ring, as it is at first
 *
 * While the queue does not run: as a driver does after a device reset.  Without it, a queue that
 * is programmed and started again goes on where it stopped.
 */
void gq_reset(struct guest_queue *q);

/* gq_begin() - the same, but that @idx chains of one descriptor were used before */
void gq_begin(struct guest_queue *q, uint16_t idx);

/* gq_area() - where an area is in this process: 0 the descriptors, 1 the driver's, 2 the device's */
void *gq_area(const struct guest_queue *q, unsigned int i);

/* gq_move() - have them elsewhere, for the driver: what the device is told is in q->addr */
void gq_move(struct guest_queue *q, void *const area[3]);

/*
 * Raw access, for bad rings.  Not to be mixed with gq_add() and gq_get() on a queue in use;
 * q->desc, q->avail and q->used can be written too, or q->ring.
 */

/* gq_desc() - write descriptor @i of the table */
void gq_desc(struct guest_queue *q, unsigned int i, uint64_t gpa, uint32_t len, uint16_t flags,
	     uint16_t next);

/* gq_table() - write descriptor @i of an indirect table in guest memory */
int gq_table(struct guest *g, uint64_t table, unsigned int i, uint64_t gpa, uint32_t len,
	     uint16_t flags, uint16_t next);

/* gq_push() - put the chain @head into the next slot of the ring, unpublished */
void gq_push(struct guest_queue *q, uint16_t head);

/* gq_set_avail_idx() - write the avail index, whatever is in the ring; split only */
void gq_set_avail_idx(struct guest_queue *q, uint16_t idx);

/* gq_used_event(), gq_avail_event() - read these fields, in use or not; split only */
uint16_t gq_used_event(const struct guest_queue *q);
uint16_t gq_avail_event(const struct guest_queue *q);

/* gq_used_idx() - read the used index, or count what is used in a packed ring */
uint16_t gq_used_idx(const struct guest_queue *q);

/* gq_base() - the base of a device that has used what is used, and took no more */
uint32_t gq_base(const struct guest_queue *q);

/* gq_pop() - collect a used entry without any check.  0, -EAGAIN */
int gq_pop(struct guest_queue *q, uint32_t *id, uint32_t *len);

/* for the library's own files: remember what failed, and pass on @err */
int guest_fail(struct guest *g, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* for guest_close() */
void guest_queue_free(struct guest_queue *q);
void guest_region_free(struct guest_region *r);

#endif /* GUEST_H */
