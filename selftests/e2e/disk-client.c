// SPDX-License-Identifier: GPL-2.0
/*
 * disk-client: a driver of /dev/vdpa-blklite that does what it is told, request by request, so that a
 * script can look at the storage in between.
 *
 *	disk-client FILE				attach FILE as `vhostlite run` does, and read commands
 *	disk-client pattern OFFSET BYTES SEED		write to standard output what "write" writes there
 *
 * The first line of output tells what the driver was offered. Then, for each line of input, one of output:
 * the status of the request (OK, IOERR, UNSUPP) or, as said, something else. OFFSET and BYTES are made of
 * sectors of 512 bytes; what a request cannot have in one piece is done in several.
 *
 *	write OFFSET BYTES SEED
 *	read OFFSET BYTES SEED		also compares; the first byte that is another one. SEED 0: zeroes
 *	flush
 *	discard OFFSET BYTES
 *	zero OFFSET BYTES		WRITE_ZEROES
 *	unmap OFFSET BYTES		WRITE_ZEROES with its flag
 *	cache on|off			writeback of the config space
 *	cached OFFSET BYTES		pages that the page cache has of FILE there
 *	quit
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "guest.h"

#define NODE		"/dev/vdpa-blklite"
#define SECTOR		512
#define PIECE		65536
#define PAGE		4096
#define TIMEOUT_MS	120000
#define HAS(bit)	(client.g->features >> (bit) & 1)

static struct {
	struct guest *g;
	struct guest_queue *q;
	int fd;
	uint64_t hdr, data;
	unsigned char *p;
} client;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "disk-client: %s: %s\n", what, why);
	exit(1);
}

/* None of its words is 0 but with seed 0, when all are */
static void pattern(unsigned char *p, uint64_t offset, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t x = (offset + i + 8) * 0x9e3779b97f4a7c15ULL ^ seed * 0xbf58476d1ce4e5b9ULL;

		x = seed ? (x ^ x >> 29) | 1 : 0;
		memcpy(p + i, &x, 8);
	}
}

/* ---- the device ---- */

static int open_disk(const char *path, bool *direct)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	*direct = fd >= 0;
	if (fd < 0 && errno == EINVAL)
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(path, strerror(errno));
	return fd;
}

static void check(int ret)
{
	if (ret)
		fail(NODE, client.g ? guest_error(client.g) : "out of memory");
}

static void start(const char *path)
{
	struct virtio_blk_config c = { 0 };
	uint64_t offered, gpa;
	bool direct;

	client.fd = open_disk(path, &direct);
	check(guest_open(&client.g, NODE, GUEST_BLK));
	check(guest_attach(client.g, client.fd));
	check(guest_own(client.g));
	check(guest_features(client.g, &offered));
	check(guest_set_features(client.g, offered));
	check(guest_layout(client.g, 1, 1 << 20));
	check(guest_commit(client.g));
	check(guest_queue(client.g, 0, 16, &client.q));
	check(guest_queue_program(client.q));
	check(guest_start(client.g, client.fd));
	check(guest_alloc(client.g, PAGE, PAGE, &client.hdr));
	check(guest_alloc(client.g, PIECE, PAGE, &gpa));
	client.data = gpa;
	client.p = guest_ptr(client.g, gpa, PIECE);
	check(guest_config(client.g, 0, &c, offsetof(struct virtio_blk_config, unused1)));
	printf("opened=%s bytes=%llu block=%u physical=%u flush=%u discard=%u zeroes=%u unmap=%u\n",
	       direct ? "direct" : "cached", (unsigned long long)le64toh(c.capacity) * SECTOR,
	       le32toh(c.blk_size), le32toh(c.blk_size) << c.physical_block_exp,
	       (unsigned int)HAS(VIRTIO_BLK_F_FLUSH), (unsigned int)HAS(VIRTIO_BLK_F_DISCARD),
	       (unsigned int)HAS(VIRTIO_BLK_F_WRITE_ZEROES), c.write_zeroes_may_unmap);
}

/* One request, with @len bytes of the data. Its status, or -errno */
static int request(uint32_t type, uint64_t sector, uint32_t len)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(type), .sector = htole64(sector) };
	bool in = type == VIRTIO_BLK_T_IN;
	struct guest_seg seg[3] = { { client.hdr, sizeof(hdr) } };
	unsigned char *status = guest_ptr(client.g, client.hdr + 64, 1);
	unsigned int n = 1;
	uint32_t used;
	void *token;
	int ret;

	memcpy(guest_ptr(client.g, client.hdr, sizeof(hdr)), &hdr, sizeof(hdr));
	*status = 0xaa;
	if (len)
		seg[n++] = (struct guest_seg){ client.data, len };
	seg[n++] = (struct guest_seg){ client.hdr + 64, 1 };
	ret = gq_add(client.q, seg, in ? 1 : n - 1, in ? n - 1 : 1, &client);
	if (ret)
		return ret;
	gq_publish(client.q);
	ret = gq_notify(client.q);
	while (!ret && (ret = gq_get(client.q, &token, &used)) == -EAGAIN)
		ret = gq_wait(client.q, TIMEOUT_MS);
	return ret ? ret : *status;
}

static int range(uint32_t type, uint64_t offset, uint64_t bytes, bool unmap)
{
	struct virtio_blk_discard_write_zeroes seg = {
		.sector = htole64(offset / SECTOR),
		.num_sectors = htole32(bytes / SECTOR),
		.flags = htole32(unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0),
	};

	memcpy(client.p, &seg, sizeof(seg));
	return request(type, 0, sizeof(seg));
}

static int write_pattern(uint64_t offset, uint64_t bytes, unsigned int seed)
{
	int ret = 0;

	for (uint64_t len; !ret && bytes; offset += len, bytes -= len) {
		len = bytes < PIECE ? bytes : PIECE;
		pattern(client.p, offset, len, seed);
		ret = request(VIRTIO_BLK_T_OUT, offset / SECTOR, len);
	}
	return ret;
}

/* As a request; 1000 if something else was read, which has been printed */
static int read_pattern(uint64_t offset, uint64_t bytes, unsigned int seed)
{
	static unsigned char want[PIECE];
	int ret = 0;

	for (uint64_t len; !ret && bytes; offset += len, bytes -= len) {
		len = bytes < PIECE ? bytes : PIECE;
		pattern(want, offset, len, seed);
		memset(client.p, 0xaa, len);
		ret = request(VIRTIO_BLK_T_IN, offset / SECTOR, len);
		for (uint64_t i = 0; !ret && i < len; i++) {
			if (client.p[i] == want[i])
				continue;
			printf("byte %llu is %#x, not %#x\n", (unsigned long long)(offset + i),
			       client.p[i], want[i]);
			ret = 1000;
		}
	}
	return ret;
}

static int set_cache(bool on)
{
	const unsigned int off = offsetof(struct virtio_blk_config, wce);
	unsigned char got = !on;
	struct {
		struct vhost_vdpa_config config;
		unsigned char value;
	} set = { .config = { .off = off, .len = 1 }, .value = on };

	return GUEST_IOCTL(client.g, VHOST_VDPA_SET_CONFIG, &set) ?:
	       guest_config(client.g, off, &got, 1) ?: got != on ? -EBADMSG : 0;
}

static void print_cached(uint64_t offset, uint64_t bytes)
{
	size_t pages = (bytes + PAGE - 1) / PAGE, n = 0;
	unsigned char *vec = calloc(pages, 1);
	void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, client.fd, offset);

	if (!vec || p == MAP_FAILED || mincore(p, bytes, vec)) {
		printf("error %s\n", strerror(errno));
	} else {
		for (size_t i = 0; i < pages; i++)
			n += vec[i] & 1;
		printf("%zu\n", n);
	}
	if (p != MAP_FAILED)
		munmap(p, bytes);
	free(vec);
}

/* ---- commands ---- */

static void answer(int ret)
{
	static const char *const text[] = { "OK", "IOERR", "UNSUPP" };

	if (ret < 0)
		printf("error %s\n", strerror(-ret));
	else if (ret < 3)
		puts(text[ret]);
	else if (ret != 1000)
		printf("error status %#x\n", ret);
}

static void command(const char *word, const char *first, uint64_t offset, uint64_t bytes,
		    unsigned int seed)
{
	if (!strcmp(word, "write"))
		answer(write_pattern(offset, bytes, seed));
	else if (!strcmp(word, "read"))
		answer(read_pattern(offset, bytes, seed));
	else if (!strcmp(word, "flush"))
		answer(request(VIRTIO_BLK_T_FLUSH, 0, 0));
	else if (!strcmp(word, "discard"))
		answer(range(VIRTIO_BLK_T_DISCARD, offset, bytes, false));
	else if (!strcmp(word, "zero") || !strcmp(word, "unmap"))
		answer(range(VIRTIO_BLK_T_WRITE_ZEROES, offset, bytes, *word == 'u'));
	else if (!strcmp(word, "cache"))
		answer(set_cache(!strcmp(first, "on")));
	else if (!strcmp(word, "cached"))
		print_cached(offset, bytes);
	else
		puts("error no such command");
}

int main(int argc, char **argv)
{
	char line[128], word[16], first[32];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 5 && !strcmp(argv[1], "pattern")) {
		uint64_t offset = strtoull(argv[2], NULL, 0), bytes = strtoull(argv[3], NULL, 0);
		unsigned char *p = malloc(bytes + 8);

		if (!p)
			fail("pattern", "out of memory");
		pattern(p, offset, bytes, atoi(argv[4]));
		setvbuf(stdout, NULL, _IOFBF, PIECE);
		return fwrite(p, 1, bytes, stdout) != bytes || fflush(stdout);
	}
	if (argc != 2) {
		fputs("usage: disk-client FILE | disk-client pattern OFFSET BYTES SEED\n", stderr);
		return 2;
	}
	start(argv[1]);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long long bytes = 0;
		unsigned int seed = 0;

		first[0] = '\0';
		if (sscanf(line, "%15s %31s %llu %u", word, first, &bytes, &seed) < 1)
			continue;
		if (!strcmp(word, "quit"))
			break;
		command(word, first, strtoull(first, NULL, 0), bytes, seed);
	}
	check(guest_stop(client.g));
	guest_close(client.g);
	puts("OK");
	return 0;
}
