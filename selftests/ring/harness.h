/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small runner of unit tests with TAP output (testanything.org).
 *
 * TEST(name) { ... } registers itself.  CHECK() notes a failure and goes on, REQUIRE() ends the
 * test.  A test that hangs or dies takes the program with it, short of its plan.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>

struct tap_test {
	const char *name;
	const char *file;
	void (*fn)(void);
	struct tap_test *next;
};

void tap_register(struct tap_test *test);
void tap_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void tap_stop(void) __attribute__((noreturn));
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool tap_failed(void);

/* Seconds until a test counts as hung; from the next test on it is the default again */
void tap_timeout(unsigned int seconds);

/**
 * tap_main() - run the tests
 * @argc: of main()
 * @argv: -l lists the tests; other words select those whose names contain one of them
 * @last: a test that only makes sense after all others, or NULL
 *
 * Return: exit status.
 */
int tap_main(int argc, char **argv, struct tap_test *last);

/* What a long-running test is told: --seconds N, --seed N, --count N; 0 where not */
struct tap_options {
	unsigned int seconds;
	unsigned long long seed;
	unsigned long long count;
};

/* Exits where there is something else */
void tap_options(int argc, char **argv, struct tap_options *opt);

/* Name what was being tried when a sanitizer, or abort(), ends the program */
void tap_at_death(void (*fn)(void));

#define TEST(id)							\
	static void test_##id(void);					\
	static struct tap_test tap_##id = { #id, __FILE__, test_##id, 0 }; \
	__attribute__((constructor)) static void tap_register_##id(void) \
	{								\
		tap_register(&tap_##id);				\
	}								\
	static void test_##id(void)

#define CHECK(cond)							\
({									\
	bool tap_ok_ = !!(cond);					\
	if (!tap_ok_)							\
		tap_fail(__FILE__, __LINE__, "%s", #cond);		\
	tap_ok_;							\
})

#define CHECK_EQ(is, want)						\
({									\
	long long tap_is_ = (long long)(is), tap_want_ = (long long)(want); \
	if (tap_is_ != tap_want_)					\
		tap_fail(__FILE__, __LINE__, "%s is %lld (0x%llx), not %s = %lld (0x%llx)", #is, \
			 tap_is_, tap_is_, #want, tap_want_, tap_want_); \
	tap_is_ == tap_want_;						\
})

#define REQUIRE(cond)							\
do {									\
	if (!CHECK(cond))						\
		tap_stop();						\
} while (0)

#define REQUIRE_EQ(is, want)						\
do {									\
	if (!CHECK_EQ(is, want))					\
		tap_stop();						\
} while (0)

#endif /* HARNESS_H */
