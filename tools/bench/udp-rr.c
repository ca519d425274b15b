// SPDX-License-Identifier: GPL-2.0
/*
 * udp-rr: datagrams there and back, one at a time, to somebody who answers with what came in. Prints
 * JSON: round trips per second, how long half of them and 99 of a hundred took at most, in ns.
 *
 *   udp-rr IP PORT SECONDS SIZE
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "stats.h"

#define SECOND		1000000000ull
#define MAX_SIZE	1472
#define MAX_LOST	100

/* One round trip; -1 when there was no answer. Answers that came too late are passed over. */
static int trip(int fd, uint32_t number, size_t size)
{
	static unsigned char out[MAX_SIZE], in[MAX_SIZE];
	uint32_t got;

	memcpy(out, &number, sizeof(number));
	if (send(fd, out, size, 0) < 0)
		err(1, "send");
	do {
		if (recv(fd, in, sizeof(in), 0) < 0) {
			if (errno != EAGAIN)
				err(1, "recv");
			return -1;
		}
		memcpy(&got, in, sizeof(got));
	} while (got != number);
	return 0;
}

int main(int argc, char **argv)
{
	struct timeval patience = { .tv_sec = 1 };
	struct sockaddr_in to = { .sin_family = AF_INET };
	size_t size = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
	uint32_t number = 0, lost = 0;
	static struct hist took;
	uint64_t began, ends, now;
	int fd;

	if (size < sizeof(number) || size > MAX_SIZE || !inet_aton(argv[1], &to.sin_addr))
		errx(2, "usage: udp-rr IP PORT SECONDS SIZE, of %zu to %d bytes", sizeof(number),
		     MAX_SIZE);
	to.sin_port = htons(atoi(argv[2]));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, (void *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		err(1, "socket");
	/* who has the address, and what is in nobody's cache yet */
	while (number < 50)
		lost += trip(fd, number++, size) != 0;
	if (lost > 10)
		errx(1, "%u of 50 datagrams without an answer", lost);
	lost = 0;
	now = began = now_ns();
	ends = began + strtoul(argv[3], NULL, 10) * SECOND;
	while (now < ends) {
		uint64_t start = now;
		int gone = trip(fd, number++, size);

		now = now_ns();
		if (gone) {
			if (++lost > MAX_LOST)
				errx(1, "%u datagrams without an answer", lost);
			continue;
		}
		hist_add(&took, now - start);
	}
	if (!took.n)
		errx(1, "no answer");
	printf("{\"rate\":%.1f,\"latency\":%llu,\"p99\":%llu,\"lost\":%u}\n",
	       took.n * (double)SECOND / (now - began),
	       (unsigned long long)hist_percentile(&took, 50),
	       (unsigned long long)hist_percentile(&took, 99), lost);
	close(fd);
	return 0;
}
