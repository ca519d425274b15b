/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Data that are a function of the position and of a seed, so that pieces that are mixed up, repeated or left out are
 * found.
 */
#ifndef VHL_GUEST_PATTERN_H
#define VHL_GUEST_PATTERN_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t word_at(uint64_t index, uint32_t seed)
{
	uint64_t x = index * 0x9e3779b97f4a7c15ull + seed;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 32;
}

static void fill(unsigned char *buf, uint64_t pos, size_t len, uint32_t seed)
{
	while (len) {
		uint64_t word = word_at(pos / 8, seed);
		size_t from = pos % 8, n = len < 8 - from ? len : 8 - from;

		memcpy(buf, (unsigned char *)&word + from, n);
		buf += n;
		pos += n;
		len -= n;
	}
}

/* How many of up to 64 KiB are wrong; tells of the first */
static size_t wrong(const unsigned char *buf, uint64_t pos, size_t len, uint32_t seed)
{
	static unsigned char want[65536];
	size_t bad = 0;

	fill(want, pos, len, seed);
	if (!memcmp(buf, want, len))
		return 0;
	for (size_t i = 0; i < len; i++)
		if (buf[i] != want[i] && !bad++)
			fprintf(stderr, "byte %llu is %02x, not %02x\n",
				(unsigned long long)(pos + i), buf[i], want[i]);
	return bad;
}

#endif
