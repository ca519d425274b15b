// SPDX-License-Identifier: GPL-2.0
/* vhostlite limit: the limits of a disk that is in use, and those that `run` sets at the start. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "vhostlite.h"

static const char * const dirs[] = {
	[VHL_BLK_LIMIT_TOTAL]	= "-total",
	[VHL_BLK_LIMIT_READ]	= "-read",
	[VHL_BLK_LIMIT_WRITE]	= "-write",
};

#define NUM_DIRS	(sizeof(dirs) / sizeof(dirs[0]))

/* Moves *s behind @prefix, if it begins so */
static bool skip(const char **s, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(*s, prefix, len))
		return false;
	*s += len;
	return true;
}

/* The rate that a key names, and what of it is left of the key; NULL for no rate */
static struct vhl_blk_rate *find_rate(struct vhl_blk_limits *limits, const char **key)
{
	struct vhl_blk_rate *rates;

	if (skip(key, "iops"))
		rates = limits->iops;
	else if (skip(key, "bps"))
		rates = limits->bps;
	else
		return NULL;
	for (size_t i = 0; i < NUM_DIRS; i++)
		if (skip(key, dirs[i]))
			return &rates[i];
	return &rates[VHL_BLK_LIMIT_TOTAL];
}

bool set_limit(struct vhl_blk_limits *limits, const char *key, uint64_t value)
{
	struct vhl_blk_rate *rate;

	skip(&key, "throttling.");
	if (!strcmp(key, "iops-size")) {
		limits->iops_size = value;
		return true;
	}
	rate = find_rate(limits, &key);
	if (!rate)
		return false;
	if (!*key) {
		/* no limit has no bursts either */
		if (!value)
			*rate = (struct vhl_blk_rate){ 0 };
		rate->avg = value;
	} else if (!strcmp(key, "-max")) {
		if (!value)
			rate->length = 0;
		rate->max = value;
	} else if (!strcmp(key, "-max-length")) {
		rate->length = value;
	} else {
		return false;
	}
	return true;
}

static void check_rate(const struct vhl_blk_rate *rate, const char *what, const char *kind,
		       const char *dir)
{
	if (rate->max && rate->max < rate->avg)
		die(EXIT_USAGE, "%s: %s%s-max=%llu is less than %s%s=%llu", what, kind, dir,
		    rate->max, kind, dir, rate->avg);
	if (rate->max && !rate->avg)
		die(EXIT_USAGE, "%s: %s%s-max= wants %s%s= as well", what, kind, dir, kind, dir);
	if (rate->length && !rate->max)
		die(EXIT_USAGE, "%s: %s%s-max-length= wants %s%s-max= as well", what, kind, dir,
		    kind, dir);
	if (rate->length && rate->length > MAX_RATE / rate->max)
		die(EXIT_USAGE, "%s: %s%s-max-length=%llu is too long for %s%s-max=%llu", what,
		    kind, dir, rate->length, kind, dir, rate->max);
}

void check_limits(const struct vhl_blk_limits *limits, const char *what)
{
	for (size_t i = 0; i < NUM_DIRS; i++) {
		check_rate(&limits->iops[i], what, "iops", dirs[i]);
		check_rate(&limits->bps[i], what, "bps", dirs[i]);
	}
}

void apply_limits(int fd, const struct vhl_blk_limits *limits, const char *what)
{
	if (!ioctl(fd, VHL_BLK_SET_LIMITS, limits))
		return;
	if (errno == EPERM)
		die(EXIT_FAILED, "%s: a disk with a name, use vhostlite disk limit", what);
	die(EXIT_FAILED, "%s: the limits are refused: %s", what, errno == ENOTTY ?
	    "the module that is loaded knows none, it is an older one" : strerror(errno));
}

static void print_one(const char **space, const char *kind, const char *dir, const char *of,
		      uint64_t value)
{
	if (!value)
		return;
	printf("%s%s%s%s=%llu", *space, kind, dir, of, (unsigned long long)value);
	*space = " ";
}

static void print_rates(const char **space, const char *kind, const struct vhl_blk_rate *rates)
{
	for (size_t i = 0; i < NUM_DIRS; i++) {
		print_one(space, kind, dirs[i], "", rates[i].avg);
		print_one(space, kind, dirs[i], "-max", rates[i].max);
		print_one(space, kind, dirs[i], "-max-length", rates[i].length);
	}
}

/* In words that set them again */
static void print_limits(const struct vhl_blk_limits *limits)
{
	const char *space = "";

	print_rates(&space, "iops", limits->iops);
	print_rates(&space, "bps", limits->bps);
	print_one(&space, "iops-size", "", "", limits->iops_size);
	puts(*space ? "" : "off");
}

static void parse_words(struct vhl_blk_limits *limits, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		char *eq = strchr(argv[i], '='), *key;
		uint64_t value;

		if (!strcmp(argv[i], "off")) {
			*limits = (struct vhl_blk_limits){ 0 };
			continue;
		}
		if (!eq)
			die(EXIT_USAGE, "limit: '%s' is neither OPTION=VALUE nor off", argv[i]);
		if (!parse_number(eq + 1, 0, MAX_RATE, &value))
			die(EXIT_USAGE, "limit: '%s' wants a number of 0..%llu", argv[i], MAX_RATE);
		key = xasprintf("%.*s", (int)(eq - argv[i]), argv[i]);
		if (!set_limit(limits, key, value))
			die(EXIT_USAGE, "limit: unknown option '%s' (there are: " LIMIT_OPTIONS ")",
			    key);
		free(key);
	}
}

bool change_limits(struct vhl_blk_limits *limits, int argc, char **argv, const char *what)
{
	if (!argc) {
		print_limits(limits);
		return false;
	}
	parse_words(limits, argc, argv);
	check_limits(limits, what);
	return true;
}

int cmd_limit(int argc, char **argv)
{
	struct vhl_blk_limits limits = { 0 };
	unsigned int n;
	bool changed;
	char *name;
	int *fds;

	if (argc < 2)
		die(EXIT_USAGE, "limit wants the number of a device (see vhostlite info)");
	/* what is wrong whatever the device has */
	parse_words(&limits, argc - 2, argv + 2);
	n = borrow_disk("limit", argv[1], &fds, &name);
	if (ioctl(fds[0], VHL_BLK_GET_LIMITS, &limits))
		die(EXIT_FAILED, "%s: %s", name, errno == ENOTTY ?
		    "the module that is loaded knows no limits, it is an older one" :
		    strerror(errno));
	changed = change_limits(&limits, argc - 2, argv + 2, name);
	while (n--) {
		if (changed)
			apply_limits(fds[n], &limits, name);
		close(fds[n]);
	}
	free(fds);
	free(name);
	return 0;
}
