// SPDX-License-Identifier: GPL-2.0
/* Contents that can be checked.  See verify.h */
#include <endian.h>
#include <string.h>

#include "verify.h"

/* The odd number nearest to 2^64 divided by the golden ratio: multiples of it are spread evenly */
#define STEP	0x9e3779b97f4a7c15ULL

/* A bijection where every bit of the result depends on all of @v */
static uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ULL;
	v = (v ^ v >> 27) * 0x94d049bb133111ebULL;
	return v ^ v >> 31;
}

uint64_t pattern_key(uint64_t seed, uint64_t a, uint64_t b)
{
	return mix(mix(mix(seed + STEP) + a) + b * STEP);
}

/* Eight bytes of the pattern; neighbouring words must differ in all their bytes, no more */
static uint64_t word(uint64_t key, uint64_t i)
{
	uint64_t v = key + i * STEP;

	return htole64((v ^ v >> 29) * 0xbf58476d1ce4e5b9ULL);
}

unsigned char pattern_byte(uint64_t key, uint64_t off)
{
	return le64toh(word(key, off / 8)) >> off % 8 * 8;
}

void pattern_fill(uint64_t key, uint64_t off, void *buf, size_t len)
{
	unsigned char *p = buf;

	for (; len && off % 8; len--)
		*p++ = pattern_byte(key, off++);
	for (; len >= 8; len -= 8, p += 8, off += 8) {
		uint64_t w = word(key, off / 8);

		memcpy(p, &w, 8);
	}
	for (; len; len--)
		*p++ = pattern_byte(key, off++);
}

size_t pattern_check(uint64_t key, uint64_t off, const void *buf, size_t len)
{
	const unsigned char *p = buf;
	size_t i = 0;

	for (; i < len && (off + i) % 8; i++)
		if (p[i] != pattern_byte(key, off + i))
			return i;
	for (; len - i >= 8; i += 8) {
		uint64_t w = word(key, (off + i) / 8);

		if (memcmp(p + i, &w, 8))
			break;
	}
	for (; i < len; i++)
		if (p[i] != pattern_byte(key, off + i))
			return i;
	return len;
}

uint64_t pattern_hash(uint64_t hash, const void *buf, size_t len)
{
	const unsigned char *p = buf;
	uint64_t w;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&w, p, 8);
		hash = mix(hash + STEP + w);
	}
	for (; len; len--)
		hash = mix(hash + STEP + *p++);
	return hash;
}

uint64_t random_next(uint64_t *state)
{
	*state += STEP;
	return mix(*state);
}
