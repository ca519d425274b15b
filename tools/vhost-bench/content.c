// SPDX-License-Identifier: GPL-2.0
/* What should be in each sector of a disk.  See content.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "content.h"
#include "verify.h"

/* Read and written at once, and aligned for any O_DIRECT */
#define CHUNK		(1U << 20)
#define CHUNK_ALIGN	4096

static uint64_t key_of(const struct content *c, uint64_t sector, uint32_t gen)
{
	return pattern_key(c->seed, sector, gen);
}

int content_init(struct bench *b, struct content *c, uint64_t n)
{
	*c = (struct content){ .seed = b->opt->seed, .n = n };
	c->gen = calloc(n, sizeof(c->gen[0]));
	return c->gen ? 0 : bench_fail(b, "out of memory");
}

void content_free(struct content *c)
{
	free(c->gen);
	free(c->hash);
}

/* @len bytes of the file at @off; where it ends early, it has shrunk */
static int read_chunk(struct bench *b, int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bench_fail(b, "%s: reading at %llu: %s", b->opt->file,
					  (unsigned long long)off,
					  n ? strerror(errno) : "end of file");
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int write_chunk(struct bench *b, int fd, const void *buf, size_t len, uint64_t off)
{
	const char *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bench_fail(b, "%s: writing at %llu: %s", b->opt->file,
					  (unsigned long long)off, strerror(errno));
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* All chunks of the contents: what each case does with one is @fn */
static int each_chunk(struct bench *b, const struct content *c,
		      int (*fn)(struct bench *b, const struct content *c, int fd, char *buf,
				uint64_t sector, unsigned int n), int fd)
{
	char *buf = aligned_alloc(CHUNK_ALIGN, CHUNK);
	int ret = 0;

	if (!buf)
		return bench_fail(b, "out of memory");
	for (uint64_t sector = 0; !ret && sector < c->n; sector += CHUNK / SECTOR) {
		uint64_t left = c->n - sector;

		ret = fn(b, c, fd, buf, sector, left < CHUNK / SECTOR ? left : CHUNK / SECTOR);
		alarm(b->opt->timeout);
	}
	free(buf);
	return ret;
}

static int hash_chunk(struct bench *b, const struct content *c, int fd, char *buf,
		      uint64_t sector, unsigned int n)
{
	if (read_chunk(b, fd, buf, n * SECTOR, sector * SECTOR))
		return -1;
	for (unsigned int i = 0; i < n; i++)
		c->hash[sector + i] = pattern_hash(0, buf + i * SECTOR, SECTOR);
	return 0;
}

int content_read(struct bench *b, struct content *c, int fd)
{
	c->hash = calloc(c->n, sizeof(c->hash[0]));
	if (!c->hash)
		return bench_fail(b, "out of memory");
	return each_chunk(b, c, hash_chunk, fd);
}

static int fill_chunk(struct bench *b, const struct content *c, int fd, char *buf,
		      uint64_t sector, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		content_fill(c, sector + i, 1, 0, buf + i * SECTOR, SECTOR);
		c->gen[sector + i] = 1;
	}
	return write_chunk(b, fd, buf, n * SECTOR, sector * SECTOR);
}

int content_write(struct bench *b, struct content *c, int fd)
{
	if (each_chunk(b, c, fill_chunk, fd))
		return -1;
	return fsync(fd) ? bench_fail(b, "%s: %s", b->opt->file, strerror(errno)) : 0;
}

static int compare_chunk(struct bench *b, const struct content *c, int fd, char *buf,
			 uint64_t sector, unsigned int n)
{
	if (read_chunk(b, fd, buf, n * SECTOR, sector * SECTOR))
		return -1;
	for (unsigned int i = 0; i < n; i++)
		if (content_check(b, c, sector + i, buf + i * SECTOR, "in the file"))
			return -1;
	return 0;
}

int content_compare(struct bench *b, const struct content *c, int fd)
{
	return each_chunk(b, c, compare_chunk, fd);
}

void content_set(struct content *c, uint64_t sector, uint64_t n, uint32_t gen)
{
	while (n--)
		c->gen[sector++] = gen;
}

void content_fill(const struct content *c, uint64_t sector, uint32_t gen, unsigned int off,
		  void *buf, unsigned int len)
{
	pattern_fill(key_of(c, sector, gen), off, buf, len);
}

static bool is_zero(const unsigned char *p)
{
	for (unsigned int i = 0; i < SECTOR; i++)
		if (p[i])
			return false;
	return true;
}

static bool matches(const struct content *c, uint64_t sector, uint32_t gen, const void *buf)
{
	if (gen == GEN_ZERO)
		return is_zero(buf);
	if (gen == GEN_UNKNOWN || (gen == GEN_INITIAL && !c->hash))
		return true;
	if (gen == GEN_INITIAL)
		return pattern_hash(0, buf, SECTOR) == c->hash[sector];
	return pattern_check(key_of(c, sector, gen), 0, buf, SECTOR) == SECTOR;
}

/* What a wrong sector is instead, for whoever has to find out why */
static void describe(const struct content *c, uint64_t sector, const void *buf, char *text,
		     size_t len)
{
	uint32_t gen = c->gen[sector];
	uint64_t first;

	memcpy(&first, buf, sizeof(first));
	if (is_zero(buf)) {
		snprintf(text, len, "all zeroes");
		return;
	}
	for (uint32_t old = gen >= GEN_UNKNOWN ? 0 : gen; old-- > 1;)
		if (matches(c, sector, old, buf)) {
			snprintf(text, len, "what it had before, generation %u", old);
			return;
		}
	if (gen != GEN_INITIAL && c->hash && matches(c, sector, GEN_INITIAL, buf)) {
		snprintf(text, len, "what it had at the start");
		return;
	}
	for (uint64_t other = 0; other < c->n; other++) {
		uint32_t g = c->gen[other];

		if (other != sector && g != GEN_INITIAL && g < GEN_UNKNOWN &&
		    matches(c, other, g, buf)) {
			snprintf(text, len, "the contents of sector %llu",
				 (unsigned long long)other);
			return;
		}
	}
	if (gen == GEN_INITIAL || gen >= GEN_UNKNOWN)
		snprintf(text, len, "beginning with %#018llx", (unsigned long long)first);
	else
		snprintf(text, len, "right up to byte %zu",
			 pattern_check(key_of(c, sector, gen), 0, buf, SECTOR));
}

int content_check(struct bench *b, const struct content *c, uint64_t sector, const void *buf,
		  const char *where)
{
	char text[96];

	if (matches(c, sector, c->gen[sector], buf))
		return 0;
	describe(c, sector, buf, text, sizeof(text));
	return bench_fail(b, "sector %llu, generation %u, is wrong %s: it is %s",
			  (unsigned long long)sector, c->gen[sector], where, text);
}
