// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: messages as they travel. A message is read up to its end and no further, so
 * what descriptors come with it are its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "serve.h"

static void keep_fds(struct msg *m, const struct cmsghdr *c, bool *too_many)
{
	unsigned int num = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

	for (unsigned int i = 0; i < num; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (m->num_fds < MSG_MAX_FDS) {
			m->fds[m->num_fds++] = fd;
		} else {
			close(fd);
			*too_many = true;
		}
	}
}

/* Up to @len bytes, with the descriptors that come along */
static ssize_t receive_some(int sock, struct msg *m, void *to, size_t len, bool *too_many)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(MSG_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;

	got = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return got;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&hdr); c; c = CMSG_NXTHDR(&hdr, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			keep_fds(m, c, too_many);
	/* the kernel has let go of those that found no place */
	if (hdr.msg_flags & MSG_CTRUNC)
		*too_many = true;
	return got;
}

static const char *wrong_header(const struct msg_header *h)
{
	if ((h->flags & MSG_VERSION_MASK) != MSG_VERSION)
		return "a message of another version of the protocol";
	if (h->flags & MSG_REPLY)
		return "an answer that nobody has asked for";
	if (h->size > MSG_MAX_PAYLOAD)
		return "a message that is longer than any";
	return NULL;
}

enum received msg_receive(int sock, struct msg *m, const char **why)
{
	bool too_many = false;

	for (;;) {
		size_t head = sizeof(m->header), want = head;
		uint8_t *to = (uint8_t *)&m->header + m->got;
		ssize_t got;

		if (m->got >= head) {
			want += m->header.size;
			to = m->bytes + (m->got - head);
			if (m->got == want)
				return MSG_WHOLE;
		}
		got = receive_some(sock, m, to, want - m->got, &too_many);
		if (too_many) {
			*why = "more descriptors than a message has, or than the limit of open files allows (ulimit -n)";
			return MSG_BAD;
		}
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return MSG_PART;
		if (got < 0 && errno != ECONNRESET) {
			*why = strerror(errno);
			return MSG_BAD;
		}
		if (got <= 0) {
			*why = "it ended in the middle of a message";
			return m->got ? MSG_BAD : MSG_END;
		}
		m->got += (size_t)got;
		if (m->got == head && (*why = wrong_header(&m->header)))
			return MSG_BAD;
	}
}

bool msg_send_fd(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
	} };
	struct msg_header header = {
		.request = request, .flags = MSG_VERSION | flags, .size = size,
	};
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)payload, .iov_len = size },
	};
	struct msghdr hdr = { .msg_iov = iov, .msg_iovlen = size ? 2 : 1 };
	ssize_t sent;

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		hdr.msg_control = &control;
		hdr.msg_controllen = sizeof(control);
	}
	do {
		sent = sendmsg(sock, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)(sizeof(header) + size);
}

bool msg_send(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	return msg_send_fd(sock, request, flags, payload, size, -1);
}

int msg_take_fd(struct msg *m)
{
	return m->num_fds ? m->fds[--m->num_fds] : -1;
}

void msg_done(struct msg *m)
{
	while (m->num_fds)
		close(m->fds[--m->num_fds]);
	m->got = 0;
}
