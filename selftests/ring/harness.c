// SPDX-License-Identifier: GPL-2.0
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

#define TIMEOUT		120
#define MAX_DIAGS	20

static struct tap_test *first, **tail = &first;
static struct tap_test *current;
static unsigned int failures;
static jmp_buf out;

void tap_register(struct tap_test *test)
{
	*tail = test;
	tail = &test->next;
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void tap_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	if (++failures > MAX_DIAGS)
		return;
	printf("# %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (failures == MAX_DIAGS)
		printf("# (no more diagnostics of this test)\n");
}

void tap_stop(void)
{
	longjmp(out, 1);
}

bool tap_failed(void)
{
	return failures;
}

void tap_timeout(unsigned int seconds)
{
	alarm(seconds);
}

static void hung(int sig)
{
	static const char text[] = "Bail out! A test does not end: ";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ||
	    write(STDOUT_FILENO, current->name, strlen(current->name)) < 0 ||
	    write(STDOUT_FILENO, "\n", 1) < 0)
		_exit(2);
	_exit(1);
}

void tap_options(int argc, char **argv, struct tap_options *opt)
{
	int i;

	for (i = 1; i < argc; i += 2) {
		unsigned long long v = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;

		if (v && !strcmp(argv[i], "--seconds"))
			opt->seconds = v;
		else if (v && !strcmp(argv[i], "--seed"))
			opt->seed = v;
		else if (v && !strcmp(argv[i], "--count"))
			opt->count = v;
		else
			break;
	}
	if (i < argc) {
		fprintf(stderr, "usage: %s [--seconds N] [--seed N] [--count N]\n", argv[0]);
		exit(2);
	}
}

void __sanitizer_set_death_callback(void (*fn)(void));

static void (*at_death)(void);

static void aborted(int sig)
{
	signal(sig, SIG_DFL);
	at_death();
	raise(sig);
}

void tap_at_death(void (*fn)(void))
{
	at_death = fn;
	__sanitizer_set_death_callback(fn);
	signal(SIGABRT, aborted);
}

static bool run(struct tap_test *test, unsigned int nr)
{
	current = test;
	failures = 0;
	tap_timeout(TIMEOUT);
	if (!setjmp(out))
		test->fn();
	alarm(0);
	printf("%sok %u %s\n", failures ? "not " : "", nr, test->name);
	return !failures;
}

static bool selected(const struct tap_test *test, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (strstr(test->name, argv[i]))
			return true;
	return argc < 2;
}

int tap_main(int argc, char **argv, struct tap_test *last)
{
	unsigned int plan = 0, nr = 0, bad = 0;
	struct tap_test *t;

	if (argc > 1)
		last = NULL;
	if (argc == 2 && !strcmp(argv[1], "-l")) {
		for (t = first; t; t = t->next)
			printf("%s\n", t->name);
		return 0;
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, hung);
	for (t = first; t; t = t->next)
		plan += selected(t, argc, argv);
	plan += !!last;
	printf("TAP version 13\n1..%u\n", plan);

	for (t = first; t; t = t->next)
		if (selected(t, argc, argv))
			bad += !run(t, ++nr);
	if (last)
		bad += !run(last, ++nr);
	if (bad)
		printf("# %u of %u failed\n", bad, plan);
	return bad || !plan;
}
