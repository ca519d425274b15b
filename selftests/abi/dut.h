/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device under test: opened, owned, with memory, two queues and a backend, and with traffic that
 * is verified byte by byte.  The same for a network device (queue 0 to the guest, 1 from it), and
 * a disk in either dialect (two request queues).
 */
#ifndef ABI_DUT_H
#define ABI_DUT_H

#include <net/if.h>
#include <stdatomic.h>

#include "guest.h"
#include "sys.h"

#define RX	0
#define TX	1

/* Header of a packet with VERSION_1 or MRG_RXBUF */
#define NET_HDR	12

enum dut_kind {
	DUT_NET,
	DUT_BLK,
	DUT_VDPA,
};

/* dut_node(), dut_backend() - the node of a kind, and the request that attaches its backend */
const char *dut_node(enum dut_kind kind);
unsigned long dut_backend(enum dut_kind kind);

/* For fixtures whose variants differ in their @kind alone: one for each, or for each kind of disk */
#define DUT_EACH(fixture)								\
	FIXTURE_VARIANT_ADD(fixture, net) { .kind = DUT_NET };				\
	DUT_EACH_DISK(fixture)

#define DUT_EACH_DISK(fixture)								\
	FIXTURE_VARIANT_ADD(fixture, blk) { .kind = DUT_BLK };				\
	FIXTURE_VARIANT_ADD(fixture, vdpa) { .kind = DUT_VDPA };

/**
 * struct dut_opts - what differs from the usual; all zero is usual
 * @num: ring size, 0 is 64
 * @refuse: features not to take
 * @accept: features to take that are not by themselves (VHOST_NET_F_VIRTIO_NET_HDR, and but for vDPA
 *	VIRTIO_F_ACCESS_PLATFORM)
 * @disk: file to attach instead of one of memory; the caller's, 0 for none
 * @name: node of a named disk, which has its file, to open in the dialect of the kind
 * @tap_flags: more of them for TUNSETIFF
 * @macvtap: instead of a TAP; packets are sent to VETH_NAME then, and frames arrive there
 * @packet: the same with a packet socket
 * @regions: pieces of memory, 0 is 4
 * @memory: bytes of memory, 0 is 8 MiB
 * @shared: memory is shared with children
 * @block_size: of VHL_BLK_SET_OPTS
 * @flags: of VHL_BLK_SET_OPTS, with @early in the vhost dialect
 * @kthreads: threads of the kernel, not of this process
 * @early: attach the disk before there is an owner, as the vhost-vDPA dialect does: what is offered
 *	then depends on it
 * @stopped: do not start
 */
struct dut_opts {
	unsigned int num;
	uint64_t refuse, accept;
	int disk;
	const char *name;
	unsigned int tap_flags;
	bool macvtap;
	bool packet;
	unsigned int regions;
	uint64_t memory;
	bool shared;
	unsigned int block_size, flags;
	bool kthreads;
	bool early, stopped;
};

/**
 * struct scratch - buffers of a queue
 * @gpa: of SCRATCH_SIZE bytes of guest memory
 * @p: the same in this process
 * @seq: of the next unit
 * @done: verified units
 */
struct scratch {
	uint64_t gpa;
	unsigned char *p;
	uint32_t seq;
	uint64_t done;
};

#define SCRATCH_SIZE	(128 * 1024)
/* Where in a scratch the units of dut_unit() are; the rest is free for tests */
#define SCRATCH_HDR	0
#define SCRATCH_STATUS	64
#define SCRATCH_DATA	4096
#define SCRATCH_DATA2	8192
#define SCRATCH_FREE	16384

/* @quiet: units are expected to fail now, no need to say why */
struct dut {
	enum dut_kind kind;
	struct dut_opts opts;
	struct guest *g;
	struct guest_queue *q[2];
	struct scratch scratch[2];
	int backend;
	int raw;
	char ifname[IFNAMSIZ];
	int ifindex;
	bool owns_backend;
	unsigned int timeout_ms;
	bool quiet;
};

/*
 * dut_packed() - are rings packed? VHL_TEST_RING in the environment says so by the word "packed", by
 * "in-order" that they are used in order where the device does that, and abi/run runs what is about rings
 * with each.  A test that writes into a split ring by itself skips then
 */
bool dut_packed(void);

/* dut_open() - make one.  0 or -errno, with the reason printed */
int dut_open(struct dut *d, enum dut_kind kind, const struct dut_opts *opts);
void dut_close(struct dut *d);

/* dut_start(), dut_stop() - go on where it was stopped */
int dut_start(struct dut *d);
int dut_stop(struct dut *d);

/* dut_restart() - as a driver that resets the device and begins anew; also clears error eventfds */
int dut_restart(struct dut *d);

/* dut_forget() - frames that arrived and nobody looked at, packets that wait for a stopped queue */
void dut_forget(struct dut *d);

/* dut_unit() - a packet, or a block written and read back; verified.  0 or -errno, with the reason */
int dut_unit(struct dut *d, unsigned int qi);
int dut_units(struct dut *d, unsigned int qi, unsigned int n);

/*
 * dut_add() - a chain that is not published and whose contents do not matter: a buffer of 4096 bytes for a
 * packet, a frame of 60, or a request for a disk's id. gq_get() gives @d as its token
 */
int dut_add(struct dut *d, unsigned int qi);

/* dut_message() - an IOTLB message about memory that may be read and written.  vDPA only */
int dut_message(struct dut *d, uint8_t type, uint64_t iova, uint64_t size, const void *p);

/* dut_region() - the region of guest memory that has @p, NULL for none */
struct guest_region *dut_region(struct dut *d, const volatile void *p);

/* dut_poke() - have the device look at a queue: kick it and, for RX, have a packet for it */
int dut_poke(struct dut *d, unsigned int qi);

/* dut_send() - send a frame to the guest; dut_receive() - take one that came from it.  Net only */
int dut_send(struct dut *d, const void *frame, size_t len);
ssize_t dut_receive(struct dut *d, void *frame, size_t size, unsigned int ms);

/* make_frame() - of @len bytes, different for each @seq; from_guest says which of two protocols */
void make_frame(void *frame, size_t len, uint32_t seq, bool from_guest);

/* blk_request() - a request of up to 4096 bytes with the scratch's buffers: status byte, or -errno */
int blk_request(struct dut *d, unsigned int qi, uint32_t type, uint64_t sector, uint64_t data,
		uint32_t len);

/*
 * blk_start_reads() - have the device take @n reads of 4096 bytes, by queue 0 into the scratch from SCRATCH_FREE
 * on, with a status byte each from SCRATCH_STATUS on; they end later.  0 or -errno
 */
int blk_start_reads(struct dut *d, unsigned int n);

/* blk_range() - DISCARD or WRITE_ZEROES of one range, likewise */
int blk_range(struct dut *d, unsigned int qi, uint32_t type, uint64_t sector, uint32_t sectors,
	      uint32_t flags);

/*
 * dut_fresh_kick() - another kick eventfd, which nobody has signalled yet: one that was stays
 * readable, which is as good as a kick.  The device is not told
 */
void dut_fresh_kick(struct dut *d, unsigned int qi);

/* dut_counter() - of one queue, e.g. "breaks"; -1 where there is none */
int64_t dut_counter(struct dut *d, unsigned int qi, const char *name);

/* A thread that moves verified units until it is told to stop */
struct mover {
	struct dut *d;
	unsigned int qi;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint done;
	int err;
};

int mover_start(struct mover *m, struct dut *d, unsigned int qi);

/* mover_stop() - 0, or why a unit failed */
int mover_stop(struct mover *m);

/* make_tap() - a TAP that is up, with headers of @hdr bytes; -errno.  Gone when it is closed */
int make_tap(char *name, int hdr);

/* make_tap_with() - one with more flags for TUNSETIFF */
int make_tap_with(char *name, int hdr, unsigned int flags);
int set_link(const char *name, bool up);

/* make_disk() - a file in memory with @bytes; -errno */
int make_disk(uint64_t bytes);

/*
 * open_queues() - a disk in either dialect that shows so many queues: owned, with what it offers taken and 8
 * MiB of memory, no queue made yet.  0 or -errno, with the reason in the guest, if there is one
 */
int open_queues(struct guest **g, enum dut_kind kind, int disk, unsigned int queues);

/*
 * null_disk() - a block device of @mib MiB in memory, with blocks of @block bytes, whose requests
 * take @usec, and which takes discards.  0 with its path, -ENOENT where the kernel has no null_blk.  slow_disk_remove() after it
 * is not in use any more.
 */
int null_disk(unsigned int mib, unsigned int block, unsigned int usec, char path[32]);

/*
 * slow_disk() - a block device whose requests take @ms, opened with O_DIRECT.  -ENOENT where the
 * kernel has no null_blk.  slow_disk_remove() after all files are closed.  slow_disk_of() - one that
 * does @depth requests at a time, not 64
 */
int slow_disk(unsigned int ms);
int slow_disk_of(unsigned int ms, unsigned int depth);
void slow_disk_remove(void);

#endif /* ABI_DUT_H */
