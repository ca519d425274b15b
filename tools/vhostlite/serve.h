/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhostlite serve: what its files share.
 *
 * A front end (QEMU, libvirt's, cloud-hypervisor, libblkio) connects to a socket and says in
 * messages what it would say to the kernel in ioctls, with its own addresses. They are said to the
 * kernel here, with ours. Requests of the guest do not come this way.
 */
#ifndef SERVE_H
#define SERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhostlite.h"

/* ---- serve_msg.c: messages as they travel ---- */

/* The table of memory is the largest that we take: a header of 8 bytes and 8 regions of 32 */
#define MSG_MAX_PAYLOAD	512
#define MSG_MAX_FDS	8

struct msg_header {
	uint32_t request;
	uint32_t flags;		/* MSG_VERSION and the two below */
	uint32_t size;		/* of the payload */
};

#define MSG_VERSION	1U
#define MSG_VERSION_MASK 3U
#define MSG_REPLY	4U
#define MSG_NEED_REPLY	8U

struct msg {
	struct msg_header header;
	union {
		uint8_t bytes[MSG_MAX_PAYLOAD];
		uint64_t u64;
	};
	size_t got;		/* bytes of header and payload that are here */
	int fds[MSG_MAX_FDS];
	unsigned int num_fds;
};

enum received {
	MSG_PART,		/* the rest comes later */
	MSG_WHOLE,
	MSG_END,		/* the other side is gone */
	MSG_BAD,		/* *why says what is wrong */
};

/* Reads on; never beyond the end of a message */
enum received msg_receive(int sock, struct msg *m, const char **why);
/* Sends a message that has no descriptors, or fails at once where that would take time */
bool msg_send(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size);
/* The same with a descriptor, which stays the caller's */
bool msg_send_fd(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 int fd);
/* Takes the only descriptor out of it, -1: there is none */
int msg_take_fd(struct msg *m);
/* Closes what is left of its descriptors, and is ready for the next one */
void msg_done(struct msg *m);

/* ---- serve_mem.c: the guest's memory ---- */

#define MAX_REGIONS	509

#define SHARE_HINT	"give the virtual machine memory that can be shared, with QEMU: -object " \
			"memory-backend-memfd,id=mem,size=…,share=on -machine memory-backend=mem"

/* A region as messages have it */
struct region_msg {
	uint64_t guest, size, user, offset;
};

struct region {
	uint64_t guest, size;
	uint64_t user;		/* its address in the front end */
	uint8_t *here;		/* and here */
	void *map;		/* begins before it, for the page size of its file */
	size_t map_size;
};

struct memory {
	unsigned int num;
	struct region regions[MAX_REGIONS];
};

/* Maps it: NULL, or what is wrong. Leaves @fd to the caller */
char *region_map(struct region *r, const struct region_msg *m, int fd);
void region_unmap(struct region *r);
void memory_unmap(struct memory *mem);
/* Where the @size bytes are that the front end has at @user, NULL where no region has all of them */
uint8_t *memory_at(const struct memory *mem, uint64_t user, uint64_t size);

/* ---- serve_dev.c: the disk and its nodes ---- */

#define MAX_CONFIG	256

struct serve_dev {
	int vhost;		/* NODE_BLK: whose queues run */
	int vdpa;		/* NODE_VDPA_BLK: whose configuration space is shown; -1: that of @vhost */
	int file;		/* the disk of both; VHL_BACKEND_OWN: it has a name */
	const struct disk_opts *disk;	/* how it was asked for */
	int config_call;	/* an eventfd: the configuration has changed */
	unsigned int queues;
	uint64_t features;	/* that the disk offers */
	uint32_t config_size;
};

/* @queues: that may be used at most, 0: as many as there are */
void dev_open(struct serve_dev *dev, const struct disk_opts *disk, unsigned int queues);
/* A front end has come: its memory is going to be this process's. False: errno says why not */
bool dev_own(const struct serve_dev *dev);
/* The size of the disk is looked at again by both nodes */
void dev_resize(const struct serve_dev *dev);
/* The configuration space; behind its end there are zeroes */
bool dev_config(const struct serve_dev *dev, uint8_t config[MAX_CONFIG]);
/* A queue is broken, by the counters of the node */
bool dev_is_broken(const struct serve_dev *dev);
bool dev_set_memory(const struct serve_dev *dev, const struct memory *mem);

/* ---- serve_ring.c: the queues ---- */

struct ring {
	uint32_t num, base;
	uint64_t desc, avail, used;	/* addresses in the front end */
	uint64_t log;			/* address of the used ring in the guest, for */
	bool logs;			/* its being logged */
	uint32_t kept_kind;		/* of what was before, see inflight_use(); 0: nothing */
	bool have_addr, have_kick;
	bool enabled, running;
};

struct session;

/* What a message comes to. The two others have said what is wrong */
enum verdict {
	OK,
	REFUSED,		/* nothing was changed: said in the answer, where there is one */
	BROKEN,			/* the connection ends */
};

enum verdict refuse(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum verdict broken(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Starts or stops the queue, as its state says */
enum verdict ring_update(struct session *s, unsigned int index);
/* Whether and where it is logged has changed: of a queue that runs, too */
enum verdict ring_log(struct session *s, unsigned int index);
/* It has stopped when this returns, and goes on there when it is started again */
void ring_stop(struct session *s, unsigned int index);
/* As after the connection was made, but for eventfds of call and error, which are set just once */
void rings_reset(struct session *s);

/* ---- serve_inflight.c: where queues were, for the process after this one ---- */

/* In the message there is padding behind it, as compilers have it */
struct inflight_msg {
	uint64_t mmap_size, mmap_offset;
	uint16_t num_queues, queue_size;
};

/* Not stopped yet, in place of a base */
#define INFLIGHT_RUNS	UINT32_MAX

struct inflight {
	int fd;			/* -1: none */
	uint64_t at;		/* where in it our page is */
	void *map;		/* that page, never looked at */
};

/* Memory for so many queues. Fills in where it is: a descriptor, -1: none */
int inflight_make(struct inflight_msg *m);
/* From now on the kernel stores bases there. NULL, or what is wrong. Leaves @fd to the caller */
char *inflight_use(struct session *s, const struct inflight_msg *m, int fd);
/* A queue is going to start there; kind 0: nothing is known of it */
bool inflight_note(struct session *s, unsigned int index, uint32_t kind, uint32_t base);
/* Where it has stopped, or INFLIGHT_RUNS */
bool inflight_set_base(struct session *s, unsigned int index, uint32_t base);
/* Where the process before has stopped, of a ring that has a kind. Waits until it has */
bool inflight_get_base(const struct session *s, unsigned int index, uint32_t *base);
/* The kernel stores none any more */
void inflight_drop(struct session *s);

/* ---- serve_session.c: one connection, from its first message to its end ---- */

struct session {
	const struct serve_dev *dev;
	int sock;		/* -1: none */
	pid_t peer;
	struct msg in;
	unsigned int refusals;
	uint64_t features, protocol;
	uint64_t status;
	int backend;		/* a socket for what we have to tell, -1: none */
	struct inflight inflight;
	struct memory memory;
	struct region log;	/* of dirty memory, as if it were guest memory from 0 on; size 0: none */
	struct ring rings[MAX_QUEUES];
};

/* false: it cannot be served, and @sock is closed */
bool session_begin(struct session *s, const struct serve_dev *dev, int sock);
/* There is something to read */
void session_read(struct session *s);
/* The configuration has changed */
void session_tell_config(struct session *s);
/* Everything is stopped, unmapped and closed */
void session_end(struct session *s, const char *why);

/* ---- serve_cgroup.c ---- */

/* What the kernel does for this process from now on is accounted there; or the end of the program */
void join_cgroup(const char *path);

/* ---- serve_proto.c: what each message means ---- */

enum {
	PROTO_F_MQ			= 0,
	PROTO_F_LOG_SHMFD		= 1,
	PROTO_F_REPLY_ACK		= 3,
	PROTO_F_BACKEND_REQ		= 5,
	PROTO_F_CONFIG			= 9,
	PROTO_F_INFLIGHT_SHMFD		= 12,
	PROTO_F_RESET_DEVICE		= 13,
	PROTO_F_CONFIGURE_MEM_SLOTS	= 15,
	PROTO_F_STATUS			= 16,
};

#define HAS_PROTO(s, bit)	(((s)->protocol >> (bit)) & 1)

/* The bit of the features by which the protocol's own are known */
#define F_PROTOCOL_FEATURES	30

/* The front end wants to know what is written to memory (VHOST_F_LOG_ALL) */
#define F_LOG_ALL		26

/* Of what we send ourselves */
#define BACKEND_CONFIG_CHANGE	2

/* s->in is whole: what it asks for is done and answered */
enum verdict proto_handle(struct session *s);

/* ---- serve_log.c: the log of dirty memory ---- */

/* Messages */
enum verdict log_set_base(struct session *s);
enum verdict log_set_fd(struct session *s);
/* It has bits for all of that memory, or there is none */
bool log_reaches(const struct region *log, const struct memory *mem);
/* Nothing is logged any more: it is let go of, where the kernel does so too */
void log_end(struct session *s);
/* The same where the kernel has */
void log_unmap(struct session *s);

/* ---- serve_lock.c: who may use the disk ---- */

/* Before a queue starts, and when one has stopped or not started */
enum verdict disk_take(struct session *s);
void disk_leave(struct session *s);

/* ---- serve_socket.c ---- */

/* Listens at @path, or ends the program with a message */
int socket_listen(const char *path);
/* Removes it, if it is still ours */
void socket_unlink(void);
/* The next connection, -1: none */
int socket_accept(int listener);
pid_t socket_peer(int sock);

#endif /* SERVE_H */
