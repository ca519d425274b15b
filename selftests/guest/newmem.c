// SPDX-License-Identifier: GPL-2.0
/*
 * newmem: has devices read and write memory at chosen physical addresses, and looks at the data.
 *
 *   newmem pattern SEED BYTES                   writes such data to standard output
 *   newmem disk FIRST LAST FILE FROM TO BYTES   reads BYTES at FROM of FILE, which have to be pattern 1, and writes
 *                                               pattern 2 at TO, both with O_DIRECT and pages at FIRST to LAST
 *   newmem send FIRST LAST IP PORT BYTES        sends pattern 3 out of such pages, which the kernel may not copy, and
 *                                               looks at what the other side sends back
 *
 * BYTES are made of whole MiB. A page that is elsewhere when the device is done with it counts as an error. For where enough
 * pages are in that range: it takes memory until it has some of them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pattern.h"

#define PAGE 4096
#define PAGES 256
#define PIECE (PAGES * PAGE)
#define SENT_AT_ONCE 16
#define CHUNK (4 << 20)
/* What the guest keeps */
#define RESERVE (48 << 20)

static uint64_t first, last;
static struct iovec pages[PAGES];
static int pagemap;

static void die(const char *what)
{
	fprintf(stderr, "newmem: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int inside(const void *page)
{
	uint64_t entry, at;

	if (pread(pagemap, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) != sizeof(entry))
		die("pagemap");
	at = (entry & ((1ull << 55) - 1)) * PAGE;
	return entry >> 63 && at >= first && at < last;
}

/* Memory until there are enough pages in that range; the kernel gives what it likes */
static void find_pages(const char *from, const char *to)
{
	int n = 0;

	first = strtoull(from, NULL, 0);
	last = strtoull(to, NULL, 0);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		die("/proc/self/pagemap");
	while (n < PAGES) {
		struct sysinfo info;
		unsigned char *chunk;

		if (sysinfo(&info) || info.freeram * info.mem_unit < RESERVE + CHUNK) {
			fprintf(stderr, "newmem: only %d pages are there\n", n);
			exit(1);
		}
		chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (chunk == MAP_FAILED)
			die("mmap");
		madvise(chunk, CHUNK, MADV_HUGEPAGE);
		/* every other one, so that a request has many segments */
		for (size_t i = 0; i < CHUNK && n < PAGES; i += 2 * PAGE) {
			chunk[i] = 1;
			if (inside(chunk + i))
				pages[n++] = (struct iovec){ chunk + i, PAGE };
		}
	}
}

static void fill_pages(int from, int n, uint64_t pos, uint32_t seed)
{
	for (int i = 0; i < n; i++)
		fill(pages[from + i].iov_base, pos + i * PAGE, PAGE, seed);
}

static void still_inside(int from, int n)
{
	for (int i = 0; i < n; i++)
		if (!inside(pages[from + i].iov_base)) {
			fprintf(stderr, "newmem: a page has moved\n");
			exit(1);
		}
}

static int disk(const char *path, uint64_t from, uint64_t to, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		die(path);
	for (uint64_t pos = 0; pos < bytes; pos += PIECE) {
		fill_pages(0, PAGES, pos, 77);
		if (preadv(fd, pages, PAGES, from + pos) != PIECE)
			die("read");
		still_inside(0, PAGES);
		for (int i = 0; i < PAGES; i++)
			if (wrong(pages[i].iov_base, pos + i * PAGE, PAGE, 1))
				return 1;
		fill_pages(0, PAGES, pos, 2);
		if (pwritev(fd, pages, PAGES, to + pos) != PIECE)
			die("write");
		still_inside(0, PAGES);
	}
	if (fsync(fd))
		die("fsync");
	printf("disk: %llu bytes read, and as many written\n", (unsigned long long)bytes);
	return 0;
}

static int connected(const char *ip, const char *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	struct timeval tv = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || !inet_aton(ip, &sa.sin_addr))
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		die("SO_ZEROCOPY");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("connect");
	return fd;
}

/* Waits until the kernel is done with the pages of the first SENDS messages */
static void reap(int fd, uint32_t sends)
{
	static uint32_t reaped;

	while (reaped < sends) {
		struct pollfd p = { .fd = fd };
		char control[128];
		struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
		struct cmsghdr *cmsg;
		struct sock_extended_err *err;

		if (poll(&p, 1, 60000) != 1)
			die("no end of a message");
		if (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0)
			die("error queue");
		cmsg = CMSG_FIRSTHDR(&msg);
		err = cmsg ? (struct sock_extended_err *)CMSG_DATA(cmsg) : NULL;
		if (!err || err->ee_origin != SO_EE_ORIGIN_ZEROCOPY)
			die("another error");
		if (err->ee_code & SO_EE_CODE_ZEROCOPY_COPIED) {
			fprintf(stderr, "newmem: the kernel has copied what it was to send\n");
			exit(1);
		}
		reaped += err->ee_data - err->ee_info + 1;
	}
}

static int send_pages(const char *ip, const char *port, uint64_t bytes)
{
	static unsigned char in[SENT_AT_ONCE * PAGE];
	int fd = connected(ip, port);
	uint32_t sends = 0;

	for (uint64_t pos = 0; pos < bytes; pos += sizeof(in)) {
		int from = pos / PAGE % PAGES;

		fill_pages(from, SENT_AT_ONCE, pos, 3);
		for (int i = 0; i < SENT_AT_ONCE; i++, sends++)
			if (send(fd, pages[from + i].iov_base, PAGE, MSG_ZEROCOPY) != PAGE)
				die("send");
		if (recv(fd, in, sizeof(in), MSG_WAITALL) != sizeof(in))
			die("recv");
		if (wrong(in, pos, sizeof(in), 3))
			return 1;
		reap(fd, sends);
		still_inside(from, SENT_AT_ONCE);
	}
	printf("send: %llu bytes there and back, %u messages\n", (unsigned long long)bytes, sends);
	return 0;
}

static int pattern(uint32_t seed, uint64_t bytes)
{
	static unsigned char buf[PIECE];

	for (uint64_t pos = 0; pos < bytes; pos += sizeof(buf)) {
		fill(buf, pos, sizeof(buf), seed);
		if (fwrite(buf, sizeof(buf), 1, stdout) != 1)
			die("write");
	}
	return fflush(stdout) != 0;
}

static uint64_t number(const char *word)
{
	return strtoull(word, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "pattern"))
		return pattern(number(argv[2]), number(argv[3]));
	if (argc > 4)
		find_pages(argv[2], argv[3]);
	if (argc == 8 && !strcmp(argv[1], "disk"))
		return disk(argv[4], number(argv[5]), number(argv[6]), number(argv[7]));
	if (argc == 7 && !strcmp(argv[1], "send"))
		return send_pages(argv[4], argv[5], number(argv[6]));
	fprintf(stderr, "usage: see newmem.c\n");
	return 2;
}
