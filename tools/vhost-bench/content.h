/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What should be in each sector of a disk.  A sector that was written holds the pattern of
 * verify.h for its number and the generation it was written in; one that was not holds what the
 * file had at the start, of which a hash is kept.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include "bench.h"

#define SECTOR	512

/* Generations with a meaning of their own */
#define GEN_INITIAL	0		/* as at the start */
#define GEN_ZERO	UINT32_MAX	/* zeroes */
#define GEN_UNKNOWN	(UINT32_MAX - 1)	/* discarded: may be anything */

/**
 * struct content - sectors 0..@n-1
 * @seed: of the patterns
 * @n: sectors
 * @gen: generation of each
 * @hash: of their initial contents; NULL: not known, anything is right
 */
struct content {
	uint64_t seed, n;
	uint32_t *gen;
	uint64_t *hash;
};

int content_init(struct bench *b, struct content *c, uint64_t n);
void content_free(struct content *c);

/* content_read() - take what @fd has as initial contents */
int content_read(struct bench *b, struct content *c, int fd);

/* content_write() - fill @fd with generation 1 */
int content_write(struct bench *b, struct content *c, int fd);

/* content_compare() - does @fd have what it should */
int content_compare(struct bench *b, const struct content *c, int fd);

/* content_set() - @n sectors from @sector have generation @gen now */
void content_set(struct content *c, uint64_t sector, uint64_t n, uint32_t gen);

/* content_fill() - make bytes of a sector in generation @gen */
void content_fill(const struct content *c, uint64_t sector, uint32_t gen, unsigned int off,
		  void *buf, unsigned int len);

/* content_check() - is that what the sector should have; or fail with what it looks like */
int content_check(struct bench *b, const struct content *c, uint64_t sector, const void *buf,
		  const char *where);

#endif /* CONTENT_H */
