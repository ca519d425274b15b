// SPDX-License-Identifier: GPL-2.0
/* Leaky buckets: how much goes in a time, to the last ns; bursts, debts, and that nothing overflows */
#include <linux/kernel.h>

#include "bucket.h"
#include "harness.h"

#define MS	1000000ULL
#define SEC	(1000 * MS)
#define SLACK	(50 * MS)

static u64 seed = 88172645463325252ULL;

static u64 any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* As many units as go in so much time, each of them as soon as it may */
static u64 stream(struct vhl_bucket *b, u64 units, u64 ns)
{
	u64 now = 0, went = 0;

	for (;;) {
		u64 wait = vhl_bucket_wait(b);

		now += wait;
		if (now > ns)
			return went;
		vhl_bucket_leak(b, wait);
		vhl_bucket_pour(b, units * VHL_BUCKET_UNIT);
		went += units;
	}
}

static bool near(u64 is, u64 want, u64 off)
{
	bool ok = is + off >= want && is <= want + off;

	if (!ok)
		tap_diag("%llu is not %llu +- %llu", (unsigned long long)is,
			 (unsigned long long)want, (unsigned long long)off);
	return ok;
}

/* The rate, plus what may go at once, plus the one that makes the debt */
TEST(rates)
{
	static const struct {
		u64 rate, units;
	} t[] = {
		{ 1, 1 }, { 3, 1 }, { 7, 1 }, { 999, 1 }, { 1000, 1 }, { 100000, 1 }, { 333333, 1 },
		{ 3000000, 7 }, { 4096, 512 }, { 100, 4096 }, { 12345678, 4096 }, { 3000000007, 65536 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct vhl_bucket b;
		u64 want = t[i].rate * 10 + t[i].rate * SLACK / SEC;

		vhl_bucket_init(&b, t[i].rate, 0, SLACK);
		CHECK(near(stream(&b, t[i].units, 10 * SEC), want, t[i].units + 1));
	}
}

/* What a division leaves is not lost: a third of a ns, a thousand million times */
TEST(rests)
{
	struct vhl_bucket b;
	unsigned int i;

	vhl_bucket_init(&b, 3000000000ULL, 0, 0);
	for (i = 0; i < 3000000; i++)
		vhl_bucket_pour(&b, VHL_BUCKET_UNIT);
	CHECK_EQ(b.level, MS);
	CHECK_EQ(b.rest, 0);
	for (i = 0; i < 3000000; i++)
		vhl_bucket_take_back(&b, VHL_BUCKET_UNIT);
	CHECK_EQ(b.level, 0);
	CHECK_EQ(b.rest, 0);
	vhl_bucket_init(&b, 3, 0, 0);
	for (i = 0; i < 3; i++)
		vhl_bucket_pour(&b, VHL_BUCKET_UNIT / 2);
	CHECK_EQ(vhl_bucket_wait(&b), SEC / 2);
}

/* For 5 s twice the rate, then the rate; the two buckets of a rate as limit.c has them */
TEST(bursts)
{
	struct vhl_bucket avg, max;
	u64 now, went = 0, at_5 = 0, at_6 = 0;

	vhl_bucket_init(&avg, 1000, (2000 - 1000) * 5, SLACK);
	vhl_bucket_init(&max, 2000, 0, SLACK);
	for (now = 0; now < 15 * SEC; ) {
		u64 a = vhl_bucket_wait(&avg), m = vhl_bucket_wait(&max), wait = a > m ? a : m;

		now += wait;
		vhl_bucket_leak(&avg, wait);
		vhl_bucket_leak(&max, wait);
		vhl_bucket_pour(&avg, VHL_BUCKET_UNIT);
		vhl_bucket_pour(&max, VHL_BUCKET_UNIT);
		went++;
		if (now <= 5 * SEC)
			at_5 = went;
		if (now <= 6 * SEC)
			at_6 = went;
	}
	CHECK(near(at_5, 10000, 101));
	CHECK(near(at_6 - at_5, 1000, 51));
	CHECK(near(went - at_6, 9000, 2));
	/* saved up again in the time that it was more than the rate */
	vhl_bucket_leak(&avg, 5 * SEC);
	CHECK_EQ(vhl_bucket_wait(&avg), 0);
	CHECK(near(avg.level, SLACK, 2 * MS));
}

/* A large one goes if there is room for anything at all, and the next one waits for it */
TEST(debts)
{
	struct vhl_bucket b;

	vhl_bucket_init(&b, 1000, 0, SLACK);
	CHECK_EQ(vhl_bucket_wait(&b), 0);
	vhl_bucket_pour(&b, 100000 * VHL_BUCKET_UNIT);
	CHECK_EQ(vhl_bucket_wait(&b), 100 * SEC - SLACK);
	vhl_bucket_leak(&b, 99 * SEC);
	CHECK_EQ(vhl_bucket_wait(&b), SEC - SLACK);
	/* the brim is still in the bucket */
	vhl_bucket_leak(&b, SEC - SLACK);
	CHECK_EQ(vhl_bucket_wait(&b), 0);
	vhl_bucket_pour(&b, 1);
	CHECK_EQ(vhl_bucket_wait(&b), 0);
	vhl_bucket_pour(&b, VHL_BUCKET_UNIT);
	CHECK_EQ(vhl_bucket_wait(&b), MS);
	/* an empty one does not run into the negative */
	vhl_bucket_leak(&b, ~0ULL);
	CHECK_EQ(b.level, 0);
	vhl_bucket_take_back(&b, VHL_BUCKET_UNIT);
	CHECK_EQ(b.level, 0);
}

TEST(without_a_rate)
{
	struct vhl_bucket b;
	unsigned int i;

	vhl_bucket_init(&b, 0, 0, SLACK);
	for (i = 0; i < 1000; i++)
		vhl_bucket_pour(&b, U32_MAX * VHL_BUCKET_UNIT);
	CHECK_EQ(vhl_bucket_wait(&b), 0);
	vhl_bucket_take_back(&b, VHL_BUCKET_UNIT);
	CHECK_EQ(b.level, 0);
	CHECK_EQ(b.rest, 0);
}

/* The largest of everything, again and again: the level ends at the cap and comes down from there */
TEST(extremes)
{
	static const u64 rates[] = { 1, 2, 1000, VHL_BUCKET_RATE_MAX - 1, VHL_BUCKET_RATE_MAX };
	unsigned int i, n;

	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		struct vhl_bucket b;

		vhl_bucket_init(&b, rates[i], VHL_BUCKET_RATE_MAX, VHL_BUCKET_NS_MAX);
		CHECK_EQ(b.room, VHL_BUCKET_NS_MAX);
		vhl_bucket_init(&b, rates[i], VHL_BUCKET_RATE_MAX, SLACK);
		CHECK(b.room >= SEC && b.room <= VHL_BUCKET_NS_MAX);
		vhl_bucket_init(&b, rates[i], 0, 0);
		for (n = 0; n < 100; n++)
			vhl_bucket_pour(&b, U32_MAX * VHL_BUCKET_UNIT);
		CHECK(b.level <= VHL_BUCKET_NS_MAX);
		CHECK(b.rest < rates[i]);
		if (rates[i] == 1)
			CHECK_EQ(vhl_bucket_wait(&b), VHL_BUCKET_NS_MAX);
		vhl_bucket_leak(&b, VHL_BUCKET_NS_MAX);
		CHECK_EQ(vhl_bucket_wait(&b), 0);
	}
}

/* What is taken back is as if it had not been, whatever there was before */
TEST(taken_back)
{
	unsigned int i;

	for (i = 0; i < 100000; i++) {
		u64 amount = (any() & U32_MAX) * VHL_BUCKET_UNIT >> any() % 32;
		struct vhl_bucket b, was;

		vhl_bucket_init(&b, 1 + any() % VHL_BUCKET_RATE_MAX, any() % 1000, any() % SEC);
		vhl_bucket_pour(&b, (any() & U32_MAX) * VHL_BUCKET_UNIT);
		if (any() & 1)
			vhl_bucket_leak(&b, any() % (b.level + 1));
		was = b;
		vhl_bucket_pour(&b, amount);
		REQUIRE(b.rest < b.rate);
		vhl_bucket_take_back(&b, amount);
		REQUIRE_EQ(b.level, was.level);
		REQUIRE_EQ(b.rest, was.rest);
	}
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
