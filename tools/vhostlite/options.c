// SPDX-License-Identifier: GPL-2.0
/*
 * The values of --net and --disk: NAME[,KEY=VALUE]…, in QEMU's notation, where ",," stands for a
 * comma that belongs to a name or value.
 */
#include <ctype.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vhost_lite.h>

#include "vhostlite.h"

_Static_assert(MAX_QUEUES == VHL_BLK_MAX_QUEUES, "one limit for both");

struct fields {
	const char *option;	/* "--net", for messages */
	const char *whole;	/* the value as it was given, for messages */
	const char *pos;	/* NULL at the end */
};

static void __attribute__((noreturn)) wrong(const struct fields *f, const char *what)
{
	die(EXIT_USAGE, "%s %s: %s", f->option, f->whole, what);
}

static void __attribute__((noreturn)) wrong_value(const struct fields *f, const char *key,
						  const char *want)
{
	die(EXIT_USAGE, "%s %s: %s= wants %s", f->option, f->whole, key, want);
}

/* The next field with ",," undone, to be freed, or NULL */
static char *next_field(struct fields *f)
{
	const char *p = f->pos;
	char *field, *w;

	if (!p)
		return NULL;
	field = w = xrealloc(NULL, strlen(p) + 1);
	for (;;) {
		if (!*p) {
			f->pos = NULL;
			break;
		}
		if (*p == ',' && *++p != ',') {
			f->pos = p;
			break;
		}
		*w++ = *p++;
	}
	*w = '\0';
	return field;
}

static char *first_field(struct fields *f, const char *option, const char *value, const char *what)
{
	char *name;

	*f = (struct fields){ .option = option, .whole = value, .pos = value };
	name = next_field(f);
	if (!name || !*name)
		die(EXIT_USAGE, "%s '%s': the name of the %s is missing", option, value, what);
	return name;
}

/* Splits the next KEY[=VALUE]; *value is NULL without "=". Returns what is to be freed, or NULL */
static char *next_option(struct fields *f, const char **key, const char **value)
{
	char *field = next_field(f), *eq;

	if (!field)
		return NULL;
	if (!*field)
		wrong(f, "an option is empty (a comma too many; one that belongs to a name is ',,')");
	eq = strchr(field, '=');
	*key = field;
	*value = NULL;
	if (eq) {
		*eq = '\0';
		*value = eq + 1;
		if (!eq[1])
			wrong_value(f, *key, "a value");
	}
	return field;
}

static bool is_key(const char *key, const char *value, const char *name, const struct fields *f)
{
	if (strcmp(key, name))
		return false;
	if (!value)
		wrong_value(f, key, "a value");
	return true;
}

static unsigned int number(const struct fields *f, const char *key, const char *value,
			   unsigned int min, unsigned int max)
{
	uint64_t n;

	if (!parse_number(value, min, max, &n)) {
		char want[64];

		snprintf(want, sizeof(want), "a number of %u..%u", min, max);
		wrong_value(f, key, want);
	}
	return (unsigned int)n;
}

static bool on_off(const struct fields *f, const char *key, const char *value)
{
	if (!strcmp(value, "on"))
		return true;
	if (strcmp(value, "off"))
		wrong_value(f, key, "on or off");
	return false;
}

static bool is_mac(const char *s)
{
	for (int i = 0; i < 6; i++, s += 3) {
		if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]) ||
		    s[2] != (i < 5 ? ':' : '\0'))
			return false;
	}
	return true;
}

/* Odd first bytes are for groups of stations */
static bool is_multicast(const char *mac)
{
	return strtoul((char[]){ mac[0], mac[1], '\0' }, NULL, 16) & 1;
}

void parse_net(const char *value, struct net_opts *net)
{
	const char *key, *val;
	struct fields f;
	char *option;

	*net = (struct net_opts){ .queues = 1, .bootindex = -1 };
	net->ifname = first_field(&f, "--net", value, "interface");
	if (strlen(net->ifname) >= IFNAMSIZ || strchr(net->ifname, '/') || net->ifname[0] == '.')
		die(EXIT_USAGE, "--net %s: '%s' cannot be the name of an interface", value,
		    net->ifname);

	while ((option = next_option(&f, &key, &val))) {
		if (is_key(key, val, "queues", &f)) {
			net->queues = number(&f, key, val, 1, MAX_QUEUES);
		} else if (is_key(key, val, "mac", &f)) {
			if (!is_mac(val) || is_multicast(val))
				wrong_value(&f, key, "a unicast address like 52:54:00:12:34:56");
			free(net->mac);
			net->mac = xstrdup(val);
		} else if (is_key(key, val, "bootindex", &f)) {
			net->bootindex = (int)number(&f, key, val, 0, 65535);
		} else {
			die(EXIT_USAGE, "--net %s: unknown option '%s' (there are: queues, mac, "
			    "bootindex)", value, key);
		}
		free(option);
	}
}

static bool limit_option(const struct fields *f, const char *key, const char *value,
			 struct vhl_blk_limits *limits)
{
	char want[64];
	uint64_t n;

	if (value && parse_number(value, 0, MAX_RATE, &n))
		return set_limit(limits, key, n);
	if (!set_limit(limits, key, 0))
		return false;
	snprintf(want, sizeof(want), "a number of 0..%llu", MAX_RATE);
	wrong_value(f, key, want);
}

/* Of its node. Return: false for another option */
static bool parse_node(const struct fields *f, const char *key, const char *val,
		       struct disk_opts *disk)
{
	char *end;

	if (is_key(key, val, "user", f)) {
		free(disk->user);
		disk->user = xstrdup(val);
	} else if (is_key(key, val, "group", f)) {
		free(disk->group);
		disk->group = xstrdup(val);
	} else if (is_key(key, val, "mode", f)) {
		unsigned long mode = strtoul(val, &end, 8);

		if (*val < '0' || *val > '7' || *end || !mode || mode > 0777)
			wrong_value(f, key, "permissions like 0660");
		disk->mode = (unsigned int)mode;
	} else {
		return false;
	}
	return true;
}

static void parse_disk_of(const char *what, const char *value, struct disk_opts *disk)
{
	const char *key, *val;
	struct fields f;
	char *option;

	disk->bootindex = -1;
	disk->file = first_field(&f, what, value, "file");

	while ((option = next_option(&f, &key, &val))) {
		if (disk->named && parse_node(&f, key, val, disk)) {
			free(option);
			continue;
		}
		if (!strcmp(key, "ro")) {
			disk->ro = !val || on_off(&f, key, val);
		} else if (is_key(key, val, "direct", &f)) {
			disk->direct = on_off(&f, key, val) ? DIRECT_ON : DIRECT_OFF;
		} else if (is_key(key, val, "queues", &f)) {
			disk->queues = number(&f, key, val, 1, MAX_QUEUES);
		} else if (is_key(key, val, "blocksize", &f)) {
			disk->blocksize = number(&f, key, val, 512, 4096);
			if (disk->blocksize & (disk->blocksize - 1))
				wrong_value(&f, key, "512, 1024, 2048 or 4096");
		} else if (is_key(key, val, "discard", &f)) {
			disk->keep = !on_off(&f, key, val);
		} else if (is_key(key, val, "format", &f)) {
			if (strcmp(val, "raw"))
				wrong_value(&f, key, "raw: the host kernel serves no other (see "
					    "qemu-img convert -O raw)");
			disk->raw = true;
		} else if (is_key(key, val, "serial", &f)) {
			if (strlen(val) > VHL_BLK_ID_BYTES)
				wrong_value(&f, key, "at most 20 bytes");
			free(disk->serial);
			disk->serial = xstrdup(val);
		} else if (!disk->named && is_key(key, val, "bootindex", &f)) {
			disk->bootindex = (int)number(&f, key, val, 0, 65535);
		} else if (!limit_option(&f, key, val, &disk->limits)) {
			die(EXIT_USAGE, "%s %s: unknown option '%s' (there are: ro, direct, "
			    "queues, blocksize, discard, format, serial, %s; limits: "
			    LIMIT_OPTIONS ")", what, value, key,
			    disk->named ? "user, group, mode" : "bootindex");
		}
		free(option);
	}
	check_limits(&disk->limits, disk->file);
	disk->limited = memcmp(&disk->limits, &(struct vhl_blk_limits){ 0 }, sizeof(disk->limits));
}

void parse_disk(const char *value, struct disk_opts *disk)
{
	*disk = (struct disk_opts){ 0 };
	parse_disk_of("--disk", value, disk);
}

void parse_named_disk(const char *value, struct disk_opts *disk)
{
	*disk = (struct disk_opts){ .named = true, .mode = 0600 };
	parse_disk_of("disk", value, disk);
}
