// SPDX-License-Identifier: GPL-2.0
/* vhostlite serve: one connection, from its first message to its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "serve.h"

/* After so many the front end has nothing sensible to say any more */
#define MAX_REFUSALS	16

static void complain(const struct session *s, const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		die(EXIT_FAILED, "out of memory");
	say("front end (process %d): %s", (int)s->peer, text);
	free(text);
}

enum verdict refuse(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(s, fmt, ap);
	va_end(ap);
	return ++s->refusals < MAX_REFUSALS ? REFUSED : BROKEN;
}

enum verdict broken(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(s, fmt, ap);
	va_end(ap);
	return BROKEN;
}

bool session_begin(struct session *s, const struct serve_dev *dev, int sock)
{
	memset(s, 0, sizeof(*s));
	s->dev = dev;
	s->sock = sock;
	s->backend = -1;
	s->inflight.fd = -1;
	s->peer = socket_peer(sock);
	if (!dev_own(dev)) {
		say("front end (process %d): cannot be served: %s%s", (int)s->peer,
		    strerror(errno), errno == EAGAIN ? " (threads: see ulimit -u)" : "");
		close(sock);
		s->sock = -1;
		return false;
	}
	/* a new guest sees the size that the disk has by now */
	dev_resize(dev);
	say("front end (process %d): connected", (int)s->peer);
	return true;
}

void session_end(struct session *s, const char *why)
{
	if (s->sock < 0)
		return;
	/* requests that were taken are done when it returns */
	if (ioctl(s->dev->vhost, VHOST_RESET_OWNER))
		say("the disk cannot be reset: %s", strerror(errno));
	memset(s->rings, 0, sizeof(s->rings));
	disk_leave(s);
	inflight_drop(s);
	memory_unmap(&s->memory);
	log_unmap(s);
	msg_done(&s->in);
	if (s->backend >= 0)
		close(s->backend);
	close(s->sock);
	s->sock = -1;
	say("front end (process %d): %s", (int)s->peer, why);
}

void session_read(struct session *s)
{
	const char *why;

	switch (msg_receive(s->sock, &s->in, &why)) {
	case MSG_PART:
		return;
	case MSG_END:
		session_end(s, "gone");
		return;
	case MSG_BAD:
		broken(s, "%s", why);
		session_end(s, "the connection is closed");
		return;
	case MSG_WHOLE:
		break;
	}
	if (proto_handle(s))
		session_end(s, "the connection is closed");
	else
		msg_done(&s->in);
}

void session_tell_config(struct session *s)
{
	if (s->sock < 0 || s->backend < 0 || !HAS_PROTO(s, PROTO_F_CONFIG))
		return;
	if (!msg_send(s->backend, BACKEND_CONFIG_CHANGE, 0, NULL, 0))
		say("front end (process %d): cannot be told that the disk has changed: %s",
		    (int)s->peer, strerror(errno));
}
