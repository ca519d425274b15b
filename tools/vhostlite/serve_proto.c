// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: what each message means. The contract is "Vhost-user Protocol" of QEMU's
 * documentation (docs/interop/vhost-user.rst).
 *
 * What is not in the table is not offered. To add a part of the protocol: its bit in offered(), its
 * messages in the table.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "serve.h"

#define BIT(n)		(UINT64_C(1) << (n))

#define OFFERED		(BIT(PROTO_F_MQ) | BIT(PROTO_F_REPLY_ACK) | BIT(PROTO_F_BACKEND_REQ) | \
			 BIT(PROTO_F_CONFIG) | BIT(PROTO_F_INFLIGHT_SHMFD) |		\
			 BIT(PROTO_F_RESET_DEVICE) | BIT(PROTO_F_CONFIGURE_MEM_SLOTS) |	\
			 BIT(PROTO_F_STATUS))

/* Regions of a message that has them all */
#define TABLE_REGIONS	8

/* A number that goes with a queue */
struct state_msg {
	uint32_t index, num;
};

struct addr_msg {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct table_msg {
	uint32_t num, padding;
	struct region_msg regions[TABLE_REGIONS];
};

struct slot_msg {
	uint64_t padding;
	struct region_msg region;
};

struct config_msg {
	uint32_t offset, size, flags;
	uint8_t bytes[MAX_CONFIG];
};

#define CONFIG_HEADER	offsetof(struct config_msg, bytes)

_Static_assert(sizeof(struct addr_msg) == 40 && sizeof(struct region_msg) == 32, "no padding");
_Static_assert(sizeof(struct table_msg) <= MSG_MAX_PAYLOAD &&
	       sizeof(struct config_msg) <= MSG_MAX_PAYLOAD, "all messages fit");

static enum verdict answer(struct session *s, const void *payload, uint32_t size)
{
	if (msg_send(s->sock, s->in.header.request, MSG_REPLY, payload, size))
		return OK;
	return broken(s, "it does not read what it is answered");
}

static enum verdict answer_u64(struct session *s, uint64_t value)
{
	return answer(s, &value, sizeof(value));
}

/* ---- features ---- */

static enum verdict get_features(struct session *s)
{
	return answer_u64(s, s->dev->features | BIT(F_PROTOCOL_FEATURES));
}

static enum verdict set_features(struct session *s)
{
	bool logged = s->features >> F_LOG_ALL & 1;
	uint64_t want = s->in.u64 & ~BIT(F_PROTOCOL_FEATURES);

	if (want & ~s->dev->features)
		return refuse(s, "features that are not offered: %#" PRIx64,
			      want & ~s->dev->features);
	/* said again while queues run, it changes nothing */
	if (want != s->features && ioctl(s->dev->vhost, VHOST_SET_FEATURES, &want))
		return refuse(s, "features %#" PRIx64 ": %s", want, strerror(errno));
	s->features = want;
	if (logged && !(want >> F_LOG_ALL & 1))
		log_unmap(s);
	if (s->in.u64 & BIT(F_PROTOCOL_FEATURES))
		return OK;
	/* one that knows nothing of enabling has its queues run when they have a kick */
	for (unsigned int i = 0; i < s->dev->queues; i++) {
		enum verdict v;

		s->rings[i].enabled = true;
		v = ring_update(s, i);
		if (v)
			return v;
	}
	return OK;
}

/* The log of dirty memory is the kernel's work */
static uint64_t offered(const struct session *s)
{
	return OFFERED | (s->dev->features >> F_LOG_ALL & 1 ? BIT(PROTO_F_LOG_SHMFD) : 0);
}

static enum verdict get_protocol_features(struct session *s)
{
	return answer_u64(s, offered(s));
}

static enum verdict set_protocol_features(struct session *s)
{
	uint64_t more = s->in.u64 & ~offered(s);

	if (more)
		return refuse(s, "features of the protocol that are not offered: %#" PRIx64, more);
	s->protocol = s->in.u64;
	return OK;
}

static enum verdict get_queue_num(struct session *s)
{
	return answer_u64(s, s->dev->queues);
}

/* It is owned from the start of the connection to its end */
static enum verdict ignore(struct session *s)
{
	(void)s;
	return OK;
}

/* The driver begins anew: what it puts into its rings next is no continuation */
static void forget_places(struct session *s)
{
	for (unsigned int i = 0; i < MAX_QUEUES; i++) {
		if (s->rings[i].running)
			continue;
		s->rings[i].kept_kind = 0;
		inflight_note(s, i, 0, 0);
	}
}

/* By which some front ends reset the device, when they have stopped its queues */
static enum verdict reset_owner(struct session *s)
{
	forget_places(s);
	return OK;
}

/* ---- memory ---- */

/* A table that is complete becomes the one that is used, or is thrown away */
static enum verdict use_memory(struct session *s, struct memory *mem)
{
	if (!log_reaches(&s->log, mem))
		return refuse(s, "more memory than the log of dirty memory is for");
	if (!dev_set_memory(s->dev, mem))
		return refuse(s, "%u regions of memory are refused: %s", mem->num, strerror(errno));
	s->memory = *mem;
	return OK;
}

static enum verdict set_mem_table(struct session *s)
{
	const struct table_msg *m = (const void *)s->in.bytes;
	struct memory old = s->memory, mem = { 0 };
	enum verdict v;

	if (s->in.header.size < 8 || m->num > TABLE_REGIONS ||
	    s->in.header.size < 8 + m->num * sizeof(m->regions[0]))
		return broken(s, "a table of memory that is not all there");
	if (s->in.num_fds != m->num)
		return broken(s, "%u regions of memory with %u descriptors", m->num,
			      s->in.num_fds);
	for (; mem.num < m->num; mem.num++) {
		char *wrong = region_map(&mem.regions[mem.num], &m->regions[mem.num],
					 s->in.fds[mem.num]);

		if (wrong) {
			v = refuse(s, "region %u of memory %s", mem.num, wrong);
			free(wrong);
			memory_unmap(&mem);
			return v;
		}
	}
	v = use_memory(s, &mem);
	memory_unmap(v ? &mem : &old);
	return v;
}

static enum verdict get_max_mem_slots(struct session *s)
{
	return answer_u64(s, MAX_REGIONS);
}

static enum verdict add_mem_reg(struct session *s)
{
	const struct slot_msg *m = (const void *)s->in.bytes;
	struct memory mem = s->memory;
	enum verdict v;
	char *wrong;

	if (mem.num == MAX_REGIONS)
		return refuse(s, "more than %u regions of memory", MAX_REGIONS);
	wrong = region_map(&mem.regions[mem.num], &m->region, s->in.fds[0]);
	if (wrong) {
		v = refuse(s, "a region of memory %s", wrong);
		free(wrong);
		return v;
	}
	mem.num++;
	v = use_memory(s, &mem);
	if (v)
		region_unmap(&mem.regions[mem.num - 1]);
	return v;
}

static enum verdict rem_mem_reg(struct session *s)
{
	const struct region_msg *m = &((const struct slot_msg *)s->in.bytes)->region;
	struct memory mem = s->memory;
	struct region *r = mem.regions, gone;
	enum verdict v;

	while (r < mem.regions + mem.num &&
	       (r->guest != m->guest || r->user != m->user || r->size != m->size))
		r++;
	if (r == mem.regions + mem.num)
		return refuse(s, "a region of memory to be removed that is not there");
	gone = *r;
	*r = mem.regions[--mem.num];
	v = use_memory(s, &mem);
	if (!v)
		region_unmap(&gone);
	return v;
}

/* ---- queues ---- */

/* The queue that a message names, NULL: there is none, which ends the connection */
static struct ring *ring_of(struct session *s, uint32_t index)
{
	if (index < s->dev->queues)
		return &s->rings[index];
	broken(s, "queue %u, and there are %u (see --queues)", index, s->dev->queues);
	return NULL;
}

static enum verdict set_vring_num(struct session *s)
{
	const struct state_msg *m = (const void *)s->in.bytes;
	struct ring *r = ring_of(s, m->index);

	if (!r)
		return BROKEN;
	if (r->running)
		return refuse(s, "queue %u: another size while it runs", m->index);
	if (!m->num || m->num > 32768)
		return refuse(s, "queue %u: a size of %u", m->index, m->num);
	r->num = m->num;
	return OK;
}

static enum verdict set_vring_base(struct session *s)
{
	const struct state_msg *m = (const void *)s->in.bytes;
	struct ring *r = ring_of(s, m->index);

	if (!r)
		return BROKEN;
	if (r->running)
		return refuse(s, "queue %u: another base while it runs", m->index);
	r->base = m->num;
	return OK;
}

static enum verdict set_vring_addr(struct session *s)
{
	const struct addr_msg *m = (const void *)s->in.bytes;
	struct ring *r = ring_of(s, m->index), old;
	enum verdict v;

	if (!r)
		return BROKEN;
	if (m->flags & ~(HAS_PROTO(s, PROTO_F_LOG_SHMFD) ? BIT(VHOST_VRING_F_LOG) : 0))
		return refuse(s, "queue %u: flags %#x, which are not offered", m->index, m->flags);
	old = *r;
	r->desc = m->desc;
	r->avail = m->avail;
	r->used = m->used;
	r->have_addr = true;
	if (r->log == m->log && r->logs == !!m->flags)
		return OK;
	r->log = m->log;
	r->logs = m->flags;
	v = ring_log(s, m->index);
	if (v)
		*r = old;
	return v;
}

static enum verdict get_vring_base(struct session *s)
{
	struct state_msg m = *(const struct state_msg *)s->in.bytes;
	struct ring *r = ring_of(s, m.index);

	if (!r)
		return BROKEN;
	r->have_kick = false;
	ring_stop(s, m.index);
	m.num = r->base;
	return answer(s, &m, sizeof(m));
}

static enum verdict set_vring_enable(struct session *s)
{
	const struct state_msg *m = (const void *)s->in.bytes;
	struct ring *r = ring_of(s, m->index);

	if (!r)
		return BROKEN;
	if (m->num > 1)
		return refuse(s, "queue %u: enabled is 0 or 1, not %u", m->index, m->num);
	r->enabled = m->num;
	return ring_update(s, m->index);
}

/* An eventfd for the kernel, or none; it keeps what it is given */
static enum verdict set_eventfd(struct session *s, unsigned long request, const char *what)
{
	struct vhost_vring_file file = { .index = s->in.u64 & 0xff, .fd = -1 };
	bool none = s->in.u64 & 0x100;

	if (!ring_of(s, file.index))
		return BROKEN;
	if (none == !!s->in.num_fds)
		return broken(s, "queue %u: %s that says %s descriptor, and has %u", file.index,
			      what, none ? "no" : "a", s->in.num_fds);
	if (!none)
		file.fd = s->in.fds[0];
	if (ioctl(s->dev->vhost, request, &file))
		return refuse(s, "queue %u: %s: %s%s", file.index, what, strerror(errno),
			      errno == EINVAL ? " (it is no eventfd)" : "");
	return OK;
}

static enum verdict set_vring_kick(struct session *s)
{
	struct ring *r = ring_of(s, s->in.u64 & 0xff);
	enum verdict v;

	if (!r)
		return BROKEN;
	if (s->in.u64 & 0x100 && !s->in.num_fds)
		return refuse(s, "queue %u: to be polled instead of kicked, which is not offered: "
			      "give it an eventfd (with QEMU: ioeventfd=on)",
			      (unsigned int)(s->in.u64 & 0xff));
	v = set_eventfd(s, VHOST_SET_VRING_KICK, "a kick");
	if (v)
		return v;
	r->have_kick = true;
	return ring_update(s, s->in.u64 & 0xff);
}

static enum verdict set_vring_call(struct session *s)
{
	return set_eventfd(s, VHOST_SET_VRING_CALL, "a call");
}

static enum verdict set_vring_err(struct session *s)
{
	return set_eventfd(s, VHOST_SET_VRING_ERR, "an error");
}

/* ---- what outlives this process ---- */

/* Some send the padding, some do not */
static bool inflight_is_whole(const struct session *s, struct inflight_msg *m)
{
	const size_t packed = offsetof(struct inflight_msg, queue_size) + sizeof(m->queue_size);

	if (s->in.header.size != packed && s->in.header.size != sizeof(*m))
		return false;
	memset(m, 0, sizeof(*m));
	memcpy(m, s->in.bytes, packed);
	return true;
}

static enum verdict get_inflight_fd(struct session *s)
{
	struct inflight_msg m;
	bool sent;
	int fd;

	if (!inflight_is_whole(s, &m))
		return broken(s, "requests in flight that are not all there");
	if (!m.num_queues || m.num_queues > s->dev->queues || !m.queue_size || m.queue_size > 32768)
		return broken(s, "requests in flight of %u queues of %u, and there are %u (see --queues)",
			      m.num_queues, m.queue_size, s->dev->queues);
	fd = inflight_make(&m);
	if (fd < 0)
		return broken(s, "memory for requests in flight: %s", strerror(errno));
	sent = msg_send_fd(s->sock, s->in.header.request, MSG_REPLY, &m, s->in.header.size, fd);
	close(fd);
	return sent ? OK : broken(s, "it does not read what it is answered");
}

static enum verdict set_inflight_fd(struct session *s)
{
	struct inflight_msg m;
	enum verdict v;
	char *wrong;

	if (!inflight_is_whole(s, &m))
		return broken(s, "requests in flight that are not all there");
	wrong = inflight_use(s, &m, s->in.fds[0]);
	if (!wrong)
		return OK;
	v = refuse(s, "memory for requests in flight %s", wrong);
	free(wrong);
	return v;
}

/* ---- configuration ---- */

/* What the message speaks of is all in it, and in the space */
static bool config_is_whole(const struct session *s, const struct config_msg *m)
{
	return s->in.header.size >= CONFIG_HEADER && m->size <= MAX_CONFIG &&
	       m->offset <= MAX_CONFIG - m->size &&
	       s->in.header.size == CONFIG_HEADER + m->size;
}

static enum verdict get_config(struct session *s)
{
	const struct config_msg *m = (const void *)s->in.bytes;
	struct config_msg reply;
	uint8_t config[MAX_CONFIG];

	if (!config_is_whole(s, m))
		return broken(s, "a part of the configuration space that cannot be");
	reply.offset = m->offset;
	reply.flags = m->flags;
	/* none of it is how an error is told */
	reply.size = dev_config(s->dev, config) ? m->size : 0;
	memcpy(reply.bytes, config + m->offset, reply.size);
	return answer(s, &reply, CONFIG_HEADER + reply.size);
}

/* No field can be written that we offer; what is there may be */
static enum verdict set_config(struct session *s)
{
	const struct config_msg *m = (const void *)s->in.bytes;
	uint8_t config[MAX_CONFIG];

	if (!config_is_whole(s, m))
		return broken(s, "a part of the configuration space that cannot be");
	if (!dev_config(s->dev, config) || memcmp(config + m->offset, m->bytes, m->size))
		return refuse(s, "a change of the configuration space, which can only be read");
	return OK;
}

static enum verdict set_backend_req_fd(struct session *s)
{
	int type = 0, fd = s->in.fds[0];
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM)
		return refuse(s, "a channel for requests that is no stream socket");
	if (s->backend >= 0)
		close(s->backend);
	s->backend = msg_take_fd(&s->in);
	return OK;
}

/* ---- the device ---- */

/*
 * Memory stays: the front end knows what we have and tells no more than changes. So do the
 * eventfds of calls and errors, which QEMU sets once.
 */
static enum verdict reset_device(struct session *s)
{
	uint64_t none = 0;

	rings_reset(s);
	forget_places(s);
	s->status = 0;
	s->features = 0;
	if (ioctl(s->dev->vhost, VHOST_SET_FEATURES, &none))
		return refuse(s, "reset: %s", strerror(errno));
	log_end(s);
	return OK;
}

static enum verdict set_status(struct session *s)
{
	if (s->in.u64 > 0xff)
		return refuse(s, "a status of %#" PRIx64, s->in.u64);
	if (!s->in.u64)
		return reset_device(s);
	s->status = s->in.u64;
	return OK;
}

static enum verdict get_status(struct session *s)
{
	const uint64_t needs_reset = 0x40;

	return answer_u64(s, (s->status & ~needs_reset) |
			  (dev_is_broken(s->dev) ? needs_reset : 0));
}

/**
 * struct handler - a message that is understood
 * @name: for messages to a person
 * @handle: NULL: not offered
 * @size: of its payload, ANY_SIZE: @handle looks at it
 * @min_fds, @max_fds: descriptors that come with it
 * @answers: @handle sends an answer
 * @needs: bits of the protocol's features, one of which the front end must have taken
 */
static const struct handler {
	const char *name;
	enum verdict (*handle)(struct session *s);
	uint32_t size;
	uint8_t min_fds, max_fds;
	bool answers;
	uint64_t needs;
} handlers[] = {
#define ANY_SIZE	UINT32_MAX
	[1] = { "GET_FEATURES", get_features, .answers = true },
	[2] = { "SET_FEATURES", set_features, 8 },
	[3] = { "SET_OWNER", ignore },
	[4] = { "RESET_OWNER", reset_owner },
	[5] = { "SET_MEM_TABLE", set_mem_table, ANY_SIZE, 0, TABLE_REGIONS },
	[6] = { "SET_LOG_BASE", log_set_base, 16, 1, 1, .answers = true,
		.needs = BIT(PROTO_F_LOG_SHMFD) },
	[7] = { "SET_LOG_FD", log_set_fd, 0, 1, 1, .needs = BIT(PROTO_F_LOG_SHMFD) },
	[8] = { "SET_VRING_NUM", set_vring_num, sizeof(struct state_msg) },
	[9] = { "SET_VRING_ADDR", set_vring_addr, sizeof(struct addr_msg) },
	[10] = { "SET_VRING_BASE", set_vring_base, sizeof(struct state_msg) },
	[11] = { "GET_VRING_BASE", get_vring_base, sizeof(struct state_msg), .answers = true },
	[12] = { "SET_VRING_KICK", set_vring_kick, 8, 0, 1 },
	[13] = { "SET_VRING_CALL", set_vring_call, 8, 0, 1 },
	[14] = { "SET_VRING_ERR", set_vring_err, 8, 0, 1 },
	[15] = { "GET_PROTOCOL_FEATURES", get_protocol_features, .answers = true },
	[16] = { "SET_PROTOCOL_FEATURES", set_protocol_features, 8 },
	[17] = { "GET_QUEUE_NUM", get_queue_num, .answers = true, .needs = BIT(PROTO_F_MQ) },
	[18] = { "SET_VRING_ENABLE", set_vring_enable, sizeof(struct state_msg) },
	[21] = { "SET_BACKEND_REQ_FD", set_backend_req_fd, 0, 1, 1,
		 .needs = BIT(PROTO_F_BACKEND_REQ) },
	[24] = { "GET_CONFIG", get_config, ANY_SIZE, .answers = true,
		 .needs = BIT(PROTO_F_CONFIG) },
	[25] = { "SET_CONFIG", set_config, ANY_SIZE, .needs = BIT(PROTO_F_CONFIG) },
	[31] = { "GET_INFLIGHT_FD", get_inflight_fd, ANY_SIZE, .answers = true,
		 .needs = BIT(PROTO_F_INFLIGHT_SHMFD) },
	[32] = { "SET_INFLIGHT_FD", set_inflight_fd, ANY_SIZE, 1, 1,
		 .needs = BIT(PROTO_F_INFLIGHT_SHMFD) },
	[34] = { "RESET_DEVICE", reset_device, .needs = BIT(PROTO_F_RESET_DEVICE) },
	[36] = { "GET_MAX_MEM_SLOTS", get_max_mem_slots, .answers = true,
		 .needs = BIT(PROTO_F_CONFIGURE_MEM_SLOTS) },
	[37] = { "ADD_MEM_REG", add_mem_reg, sizeof(struct slot_msg), 1, 1,
		 .needs = BIT(PROTO_F_CONFIGURE_MEM_SLOTS) },
	/* some send the descriptor of the region */
	[38] = { "REM_MEM_REG", rem_mem_reg, sizeof(struct slot_msg), 0, 1,
		 .needs = BIT(PROTO_F_CONFIGURE_MEM_SLOTS) },
	[39] = { "SET_STATUS", set_status, 8, .needs = BIT(PROTO_F_STATUS) },
	[40] = { "GET_STATUS", get_status, .answers = true, .needs = BIT(PROTO_F_STATUS) },
};

static const struct handler *find_handler(uint32_t request)
{
	if (request >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[request].handle)
		return NULL;
	return &handlers[request];
}

static enum verdict run(struct session *s, const struct handler *h)
{
	const struct msg *m = &s->in;

	if (h->needs && !(h->needs & s->protocol))
		return broken(s, "%s without its feature of the protocol", h->name);
	if (h->size != ANY_SIZE && m->header.size != h->size)
		return broken(s, "%s of %u bytes, not %u", h->name, m->header.size, h->size);
	if (m->num_fds < h->min_fds || m->num_fds > h->max_fds)
		return broken(s, "%s with %u descriptors", h->name, m->num_fds);
	return h->handle(s);
}

enum verdict proto_handle(struct session *s)
{
	const struct handler *h = find_handler(s->in.header.request);
	enum verdict v;

	v = h ? run(s, h) : refuse(s, "message %u, which is not offered", s->in.header.request);
	if (v == BROKEN || (h && h->answers && v == OK))
		return v;
	/* who waits for an answer gets one, and may go on after a refusal */
	if (s->in.header.flags & MSG_NEED_REPLY && HAS_PROTO(s, PROTO_F_REPLY_ACK) &&
	    !(h && h->answers))
		return answer_u64(s, v == REFUSED);
	return v == REFUSED ? BROKEN : OK;
}
