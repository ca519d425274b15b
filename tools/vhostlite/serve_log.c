// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: the log of dirty memory, by which the guest migrates. The front end shares a bitmap, in
 * which the kernel marks what requests write, by the guest's addresses. It is mapped here for that, and
 * never looked at: as with the guest's memory, a file that is made shorter does no harm.
 *
 * The kernel takes the bitmap to be as long as the guest's memory wants. So it has to be: what is behind it
 * is memory of this process.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/vhost_lite.h>

#include "serve.h"

/* Bytes of memory for which there is a byte of the bitmap */
#define BYTE_COVERS	(UINT64_C(4096) * 8)

struct log_msg {
	uint64_t size, offset;
};

bool log_reaches(const struct region *log, const struct memory *mem)
{
	for (unsigned int i = 0; log->size && i < mem->num; i++) {
		const struct region *r = &mem->regions[i];

		if ((r->guest + (r->size - 1)) / BYTE_COVERS >= log->size)
			return false;
	}
	return true;
}

static enum verdict use_log(struct session *s, const struct region *log)
{
	uint64_t base = (uintptr_t)log->here;

	if (!log_reaches(log, &s->memory))
		return refuse(s, "a log of dirty memory of %" PRIu64 " bytes, which is not enough for the "
			      "guest's memory", log->size);
	if (ioctl(s->dev->vhost, VHOST_SET_LOG_BASE, &base))
		return refuse(s, "the log of dirty memory: %s%s", strerror(errno),
			      errno == ENOMEM ? " (the kernel's log says why)" : "");
	return OK;
}

static enum verdict set_base(struct session *s)
{
	const struct log_msg *m = (const void *)s->in.bytes;
	const struct region_msg r = { .size = m->size, .offset = m->offset };
	struct region log;
	enum verdict v;
	char *wrong;

	wrong = region_map(&log, &r, s->in.fds[0]);
	if (wrong) {
		v = refuse(s, "the log of dirty memory %s", wrong);
		free(wrong);
		return v;
	}
	v = use_log(s, &log);
	if (v) {
		region_unmap(&log);
		return v;
	}
	log_unmap(s);
	s->log = log;
	return OK;
}

/*
 * The answer says nothing, so it comes in any case; where there is no log the front end's next message, that
 * memory is to be logged, is refused.
 */
enum verdict log_set_base(struct session *s)
{
	if (set_base(s) == BROKEN)
		return BROKEN;
	if (msg_send(s->sock, s->in.header.request, MSG_REPLY, NULL, 0))
		return OK;
	return broken(s, "it does not read what it is answered");
}

enum verdict log_set_fd(struct session *s)
{
	if (ioctl(s->dev->vhost, VHOST_SET_LOG_FD, &s->in.fds[0]))
		return refuse(s, "an eventfd for the log of dirty memory: %s", strerror(errno));
	return OK;
}

void log_unmap(struct session *s)
{
	if (s->log.size)
		region_unmap(&s->log);
	s->log.size = 0;
}

void log_end(struct session *s)
{
	uint64_t none = 0;

	if (!s->log.size)
		return;
	/* while the kernel knows its address it has to be there */
	if (ioctl(s->dev->vhost, VHOST_SET_LOG_BASE, &none))
		return;
	log_unmap(s);
}
