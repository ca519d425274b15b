// SPDX-License-Identifier: GPL-2.0
/* vhostlite serve: the socket that front ends connect to. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve.h"

static struct {
	char *path;
	dev_t dev;
	ino_t ino;
} ours;

/* What another one has left behind gives way, what is in use does not */
static void clear_path(const struct sockaddr_un *addr)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return;
	if (!S_ISSOCK(st.st_mode))
		die(EXIT_FAILED, "%s: there already, and no socket; choose another --socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	/* EAGAIN: it listens, and is busy */
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN)
		die(EXIT_FAILED, "%s: another process listens there; choose another --socket",
		    path);
	if (errno != ECONNREFUSED)
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	close(fd);
	if (unlink(path))
		die(EXIT_FAILED, "%s: a socket that nobody uses cannot be removed: %s", path,
		    strerror(errno));
}

int socket_listen(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		die(EXIT_USAGE, "--socket %s: a path of 1..%zu bytes is wanted", path,
		    sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	clear_path(&addr);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	if (stat(path, &st))
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	ours.path = xstrdup(path);
	ours.dev = st.st_dev;
	ours.ino = st.st_ino;
	if (listen(fd, 8))
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	return fd;
}

void socket_unlink(void)
{
	struct stat st;

	if (ours.path && !lstat(ours.path, &st) && st.st_dev == ours.dev && st.st_ino == ours.ino)
		unlink(ours.path);
	free(ours.path);
	ours.path = NULL;
}

int socket_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

pid_t socket_peer(int sock)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.pid;
}
