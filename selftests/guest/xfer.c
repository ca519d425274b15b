// SPDX-License-Identifier: GPL-2.0
/*
 * xfer: moves data and checks every byte of it.
 *
 *   xfer echo PORT            answers TCP and UDP on PORT with what comes in, until it is killed
 *   xfer udp IP PORT SIZE…    a datagram of each SIZE there and back; one that got lost is sent again
 *   xfer tcp IP PORT SIZE…    SIZE bytes there and back at the same time, over one connection; SIGTERM ends
 *                             it early and well: nothing more is sent, what was sent has to come back
 *   xfer take PORT            waits for a connection, writes what comes to standard output
 *   xfer give PORT            waits for a connection, sends standard input
 *   xfer get IP PORT          connects, writes what comes to standard output
 *   xfer put IP PORT          connects, sends standard input
 *
 * The data of udp and tcp are a function of the position and of a seed, so that pieces that are mixed up, repeated
 * or left out are found.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pattern.h"

#define CHUNK 65536
#define SECONDS_OF_SILENCE 60

static unsigned char out[CHUNK], in[CHUNK];

static void die(const char *what)
{
	fprintf(stderr, "xfer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (ip && !inet_aton(ip, &sa.sin_addr)) {
		fprintf(stderr, "xfer: '%s' is no address\n", ip);
		exit(2);
	}
	return sa;
}

static int bound(int type, const char *port)
{
	struct sockaddr_in sa = address(NULL, port);
	int fd = socket(AF_INET, type, 0), one = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 16))
		die("listen");
	return fd;
}

static int connected(const char *ip, const char *port)
{
	struct sockaddr_in sa = address(ip, port);
	struct timeval tv = { .tv_sec = SECONDS_OF_SILENCE };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("connect");
	return fd;
}

static void write_all(int fd, const unsigned char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n <= 0)
			die("write");
		buf += n;
		len -= n;
	}
}

static void __attribute__((noreturn)) echo(const char *port)
{
	int tcp = bound(SOCK_STREAM, port), udp = bound(SOCK_DGRAM, port);
	struct pollfd p[] = { { .fd = tcp, .events = POLLIN }, { .fd = udp, .events = POLLIN } };

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		if (poll(p, 2, -1) < 0)
			die("poll");
		if (p[1].revents) {
			struct sockaddr_in peer;
			socklen_t size = sizeof(peer);
			ssize_t n = recvfrom(udp, in, sizeof(in), 0, (struct sockaddr *)&peer, &size);

			if (n >= 0)
				sendto(udp, in, n, 0, (struct sockaddr *)&peer, size);
		}
		if (p[0].revents) {
			int fd = accept(tcp, NULL, NULL), one = 1;
			ssize_t n;

			if (fd < 0 || fork()) {
				close(fd);
				continue;
			}
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			while ((n = read(fd, in, sizeof(in))) > 0)
				write_all(fd, in, n);
			exit(0);
		}
	}
}

static int udp(const char *ip, const char *port, char **sizes)
{
	struct sockaddr_in sa = address(ip, port);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), lost = 0, sent = 0;

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("connect");
	for (uint32_t seed = 1; *sizes; sizes++, seed++) {
		size_t size = strtoul(*sizes, NULL, 0);
		int tries = 0;

		fill(out, 0, size, seed);
		for (;;) {
			struct pollfd p = { .fd = fd, .events = POLLIN };
			ssize_t n;

			if (tries++ == 10) {
				fprintf(stderr, "xfer: no answer to %zu bytes\n", size);
				return 1;
			}
			lost += tries > 1;
			sent++;
			/* an error may belong to what went before, as in "connection refused" */
			if (send(fd, out, size, 0) < 0 && errno == EMSGSIZE)
				die("send");
			if (poll(&p, 1, 2000) != 1)
				continue;
			n = recv(fd, in, sizeof(in), 0);
			/* a late answer to an earlier datagram is of another seed */
			if (n == (ssize_t)size && !memcmp(in, out, size))
				break;
			if (n == (ssize_t)size && wrong(in, 0, size, seed) && tries > 1)
				continue;
			if (n == (ssize_t)size) {
				fprintf(stderr, "xfer: %zu bytes came back changed\n", size);
				return 1;
			}
		}
	}
	printf("udp: %d datagrams there and back, %d sent again\n", sent, lost);
	return 0;
}

static volatile sig_atomic_t stopping;

static void stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static int tcp(const char *ip, const char *port, char **sizes)
{
	int fd = connected(ip, port);
	uint64_t total = 0;

	signal(SIGTERM, stop);
	for (uint32_t seed = 1; *sizes; sizes++, seed++) {
		uint64_t size = strtoull(*sizes, NULL, 0), sent = 0, received = 0;

		while (received < size) {
			struct pollfd p = { .fd = fd, .events = POLLIN | (sent < size ? POLLOUT : 0) };

			int n = poll(&p, 1, SECONDS_OF_SILENCE * 1000);

			if (stopping && size > sent)
				size = sent;
			if (n < 0 && errno == EINTR)
				continue;
			if (n != 1) {
				fprintf(stderr, "xfer: silence after %llu of %llu bytes\n",
					(unsigned long long)received, (unsigned long long)size);
				return 1;
			}
			if (p.revents & (POLLIN | POLLERR | POLLHUP)) {
				ssize_t n = read(fd, in, sizeof(in));

				if (n <= 0)
					die("read");
				if (wrong(in, received, n, seed))
					return 1;
				received += n;
			}
			if (p.revents & POLLOUT && sent < size) {
				size_t len = size - sent < CHUNK ? size - sent : CHUNK;
				ssize_t n;

				fill(out, sent, len, seed);
				n = send(fd, out, len, MSG_DONTWAIT);
				if (n < 0 && errno != EAGAIN)
					die("send");
				sent += n > 0 ? n : 0;
			}
		}
		total += size;
	}
	printf("tcp: %llu bytes there and back\n", (unsigned long long)total);
	return 0;
}

static int copy(int from, int to)
{
	ssize_t n;

	while ((n = read(from, in, sizeof(in))) > 0)
		write_all(to, in, n);
	if (n < 0)
		die("read");
	return 0;
}

/* What is sent has arrived when the other side closes */
static int one_way(int fd, bool sends)
{
	if (fd < 0)
		die("accept");
	if (!sends)
		return copy(fd, STDOUT_FILENO);
	copy(STDIN_FILENO, fd);
	if (shutdown(fd, SHUT_WR) || read(fd, in, 1))
		die("the other side");
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(argv[2]);
	if (argc == 3 && (!strcmp(argv[1], "take") || !strcmp(argv[1], "give")))
		return one_way(accept(bound(SOCK_STREAM, argv[2]), NULL, NULL), argv[1][0] == 'g');
	if (argc == 4 && (!strcmp(argv[1], "get") || !strcmp(argv[1], "put")))
		return one_way(connected(argv[2], argv[3]), argv[1][0] == 'p');
	if (argc > 4 && !strcmp(argv[1], "udp"))
		return udp(argv[2], argv[3], argv + 4);
	if (argc > 4 && !strcmp(argv[1], "tcp"))
		return tcp(argv[2], argv[3], argv + 4);
	fprintf(stderr, "usage: xfer echo|take|give PORT\n       xfer udp|tcp IP PORT SIZE...\n"
		"       xfer get|put IP PORT\n");
	return 2;
}
