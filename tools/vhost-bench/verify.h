/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Contents that can be checked: byte @off of a payload is f(key, off), and the key says which
 * payload it is.  Any part can be made or checked by itself, in any order.
 */
#ifndef VERIFY_H
#define VERIFY_H

#include <stddef.h>
#include <stdint.h>

/* pattern_key() - the key of payload (@a, @b) in a run with @seed */
uint64_t pattern_key(uint64_t seed, uint64_t a, uint64_t b);

/* pattern_fill() - make bytes @off to @off + @len */
void pattern_fill(uint64_t key, uint64_t off, void *buf, size_t len);

/* pattern_check() - index of the first byte that differs, @len when none does */
size_t pattern_check(uint64_t key, uint64_t off, const void *buf, size_t len);

/* pattern_byte() - byte @off */
unsigned char pattern_byte(uint64_t key, uint64_t off);

/* pattern_hash() - of contents that are not ours; @hash goes on from an earlier part */
uint64_t pattern_hash(uint64_t hash, const void *buf, size_t len);

/* random_next() - a random number; @state is the seed */
uint64_t random_next(uint64_t *state);

/* random_below() - one of 0..@n-1 */
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return ((unsigned __int128)random_next(state) * n) >> 64;
}

#endif /* VERIFY_H */
