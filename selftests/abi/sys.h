/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What all tests need of the system: raw requests, fdinfo, threads, modules, counts of objects.
 */
#ifndef ABI_SYS_H
#define ABI_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/virtio_net.h>

#include "vhost_compat.h"

#define NODE_NET	"/dev/vhost-netlite"
#define NODE_BLK	"/dev/vhost-blklite"
#define NODE_VDPA	"/dev/vdpa-blklite"
#define NODE_CONTROL	"/dev/vhost-lite/control"

/* Queues of a node of the vhost dialect, as documented */
#define NET_QUEUES	2
#define BLK_QUEUES	VHL_BLK_MAX_QUEUES

/* Newer than the oldest headers */
#ifndef VHOST_GET_FEATURES_ARRAY
#define VHOST_GET_FEATURES_ARRAY	_IOR(VHOST_VIRTIO, 0x83, uint64_t)
#define VHOST_SET_FEATURES_ARRAY	_IOW(VHOST_VIRTIO, 0x83, uint64_t)
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO	65
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO	67
#endif

/* The second word of feature bits that a network device may offer */
#define TUNNEL_FEATURES	(BIT(VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO - 64) | \
			 BIT(VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO - 64))

/* BIT() - a feature bit */
#define BIT(n)		(1ULL << (n))

/* A kernel address of x86-64, for pointers that must be refused */
#define KERNEL_ADDR	0xffff888000001000ULL

/* xioctl() - what the request returned, or -errno.  Positive values are errors for some clients */
int xioctl(int fd, unsigned long request, const void *arg);

/* xopen() - open a node, or -errno */
int xopen(const char *node);

/* vring_num(), vring_file() - requests with these structs, in one line */
int vring_num(int fd, unsigned long request, uint32_t index, uint32_t num);
int vring_file(int fd, unsigned long request, uint32_t index, int file);

/* many() - a number of repetitions, times the environment's VHL_TEST_SCALE (1 by default) */
unsigned int many(unsigned int n);

/* max_regions() - of a device's memory, as the modules are loaded; 0 where they are not */
unsigned int max_regions(void);

/* now_ms() - monotonic clock */
int64_t now_ms(void);
void sleep_ms(unsigned int ms);

/**
 * in_child() - call a function in a forked child, that is in another address space
 *
 * Return: what it returned (0..255), or -1 when the child died otherwise.
 */
int in_child(int (*fn)(void *arg), void *arg);

/* in_thread() - call a function in a thread of its own, which is gone afterwards.  0 or -EAGAIN */
int in_thread(void *(*fn)(void *arg), void *arg);

/* send_fd(), receive_fd() - a file through a UNIX socket: 0, or its new number; -errno */
int send_fd(int socket, int fd);
int receive_fd(int socket);

/* ---- fdinfo ---- */

struct queue_info {
	bool present;
	char state[16];
	unsigned int size;
	uint64_t kicks, wakes, polls, reqs, in, out, batches, calls, errors, breaks;
};

/* What became of IOTLB messages */
struct map_stats {
	unsigned long long updates, invalidates, waits, drains;
};

struct dev_info {
	unsigned long long device;
	char node[32];
	int owner;
	uint64_t features;
	uint64_t features_high;
	unsigned int regions;
	struct map_stats map;
	bool has_status;
	unsigned int status;
	char backing[128];
	struct queue_info q[VHL_BLK_MAX_QUEUES];
};

/* get_info() - parse fdinfo strictly as documented.  0, or -EINVAL for what is not */
int get_info(int fd, struct dev_info *info);

/* queue_is() - is the state of a queue this one */
bool queue_is(int fd, unsigned int index, const char *state);

/* wait_queue_is() - the same, waiting for it */
bool wait_queue_is(int fd, unsigned int index, const char *state, unsigned int ms);

/* ---- the kernel's objects ---- */

/*
 * nr_files() - open files of the whole system.  The kernel counts them per processor, and sums up
 * only every 32; nr_files_slack() - how far off the difference of two readings can be
 */
long nr_files(void);
long nr_files_slack(void);

/* nr_workers() - threads of ours in the whole system */
int nr_workers(void);

/* nr_own_workers() - those that are threads of this process */
int nr_own_workers(void);

/* wait_no_workers() - wait until at most @n are left */
bool wait_workers(int n, unsigned int ms);

/* worker_ticks() - processor time that the workers had so far, in clock ticks; those of @pid */
long worker_ticks(pid_t pid);

/* struct worker_use - time that they ran, and how often they were given a processor */
struct worker_use {
	uint64_t ns, runs;
};

/* worker_use() - the same for those of @pid, exactly.  0 or -errno */
int worker_use(pid_t pid, struct worker_use *use);

/* worker_use_of() - the same for one worker of this process: 0, 1, ... */
int worker_use_of(unsigned int index, struct worker_use *use);

/* locked_kb() - VmLck of this process */
long locked_kb(void);

#define SLABS_MAX	512

/**
 * struct slabs - objects in the kernel's caches
 * @exact: the counts are exact (slab debugging is on); else some hundred objects are in caches
 */
struct slabs {
	unsigned int n;
	bool exact;
	struct {
		char name[48];
		long active;
		long size;
	} s[SLABS_MAX];
};

/* slabs_read() - 0 or -errno */
int slabs_read(struct slabs *s);

/**
 * slabs_grown() - does a general cache, or that of files, have at least @n objects more than before
 *
 * Return: the name of the worst one, NULL for none.
 */
const char *slabs_grown(const struct slabs *before, const struct slabs *now, long n);

/* mem_available_kb() - MemAvailable */
long mem_available_kb(void);

/* kernel_at_least() - version of the running kernel */
bool kernel_at_least(int major, int minor);

/* module_load(), module_unload() - by the name of the file, of the tree that this program is in.  0 or -errno */
int module_load(const char *name);
int module_load_with(const char *name, const char *params);
int module_unload(const char *name);
bool module_loaded(const char *name);

/* get_file() - what is in a file, as a string, cut to @size.  Its length or -errno */
int get_file(const char *path, char *text, size_t size);

/* put_file() - write a string to a file.  0 or -errno */
int put_file(const char *path, const char *text);

#endif /* ABI_SYS_H */
