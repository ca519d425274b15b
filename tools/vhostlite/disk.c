// SPDX-License-Identifier: GPL-2.0
/* vhostlite disk: disks that have a name. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "vhostlite.h"

#define CONFIG	"/etc/vhost-lite/disks.conf"

static void set_name(__u8 *name, const char *given)
{
	if (!*given || strlen(given) >= VHL_DISK_NAME_BYTES)
		die(EXIT_USAGE, "disk '%s': a name has 1 to %d letters, digits, '.', '_' and '-'", given,
		    VHL_DISK_NAME_BYTES - 1);
	memcpy(name, given, strlen(given));
}

static unsigned int user_id(const char *user)
{
	const struct passwd *pw = getpwnam(user);
	uint64_t id;

	if (pw)
		return pw->pw_uid;
	if (!parse_number(user, 0, UINT32_MAX - 1, &id))
		die(EXIT_FAILED, "user=%s: there is no such user", user);
	return (unsigned int)id;
}

static unsigned int group_id(const char *group)
{
	const struct group *gr = getgrnam(group);
	uint64_t id;

	if (gr)
		return gr->gr_gid;
	if (!parse_number(group, 0, UINT32_MAX - 1, &id))
		die(EXIT_FAILED, "group=%s: there is no such group", group);
	return (unsigned int)id;
}

/* A request about one disk that has failed with errno */
static void __attribute__((noreturn)) failed(const char *name)
{
	switch (errno) {
	case ENOENT:
		die(EXIT_FAILED, "disk %s: there is none of that name (see vhostlite disk list)", name);
	case EBUSY:
		die(EXIT_FAILED, "disk %s: it is open (see vhostlite disk list); stop the virtual "
		    "machine, or del --force", name);
	case EINVAL:
		die(EXIT_FAILED, "disk %s: refused (the kernel's log says why)", name);
	default:
		die(EXIT_FAILED, "disk %s: %s", name, strerror(errno));
	}
}

static void set_limits(int control, const char *name, const struct vhl_blk_limits *limits)
{
	struct vhl_disk_limits arg = { .limits = *limits };

	set_name(arg.name, name);
	if (ioctl(control, VHL_DISK_SET_LIMITS, &arg))
		failed(name);
}

static int disk_limit(int argc, char **argv)
{
	struct vhl_disk_limits arg = { 0 };
	int control;

	if (argc < 2)
		die(EXIT_USAGE, "disk limit wants a name");
	set_name(arg.name, argv[1]);
	control = open_node(NODE_CONTROL);
	if (ioctl(control, VHL_DISK_GET_LIMITS, &arg))
		failed(argv[1]);
	if (change_limits(&arg.limits, argc - 2, argv + 2, argv[1]))
		set_limits(control, argv[1], &arg.limits);
	close(control);
	return 0;
}

static int disk_add(int argc, char **argv)
{
	struct vhl_disk_create create = { 0 };
	struct disk_opts disk;
	int control;

	if (argc != 3)
		die(EXIT_USAGE, "disk add wants a name and a file: vhostlite disk add NAME "
		    "FILE[,OPTION…]");
	set_name(create.name, argv[1]);
	parse_named_disk(argv[2], &disk);
	create.mode = disk.mode;
	create.uid = disk.user ? user_id(disk.user) : 0;
	create.gid = disk.group ? group_id(disk.group) : 0;
	fill_options(&disk, &create.opts);
	check_disk(&disk);
	control = open_node(NODE_CONTROL);
	create.fd = open_disk_file(&disk);
	if (ioctl(control, VHL_DISK_CREATE, &create)) {
		switch (errno) {
		case EEXIST:
			die(EXIT_FAILED, "disk %s: there is one already (see vhostlite disk list)",
			    argv[1]);
		case EINVAL:
			die(EXIT_FAILED, "disk %s: refused: a name has letters, digits, '.', '_' and '-', "
			    "begins with one of the first two, and is not 'control'; if it is not that, "
			    "the kernel's log says why %s cannot be used", argv[1], disk.file);
		default:
			failed(argv[1]);
		}
	}
	if (disk.limited)
		set_limits(control, argv[1], &disk.limits);
	close(create.fd);
	close(control);
	return 0;
}

static int disk_del(int argc, char **argv)
{
	struct vhl_disk_name arg = { 0 };
	const char *name = NULL;
	int control;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--force"))
			arg.flags = VHL_DISK_FORCE;
		else if (*argv[i] == '-' || name)
			die(EXIT_USAGE, "disk del: unknown argument '%s' (there are: --force and one "
			    "name)", argv[i]);
		else
			name = argv[i];
	}
	if (!name)
		die(EXIT_USAGE, "disk del wants a name");
	set_name(arg.name, name);
	control = open_node(NODE_CONTROL);
	if (ioctl(control, VHL_DISK_DESTROY, &arg))
		failed(name);
	close(control);
	return 0;
}

static int disk_resize(int argc, char **argv)
{
	struct vhl_disk_name arg = { 0 };
	int control;

	if (argc != 2)
		die(EXIT_USAGE, "disk resize wants one name");
	set_name(arg.name, argv[1]);
	control = open_node(NODE_CONTROL);
	if (ioctl(control, VHL_DISK_RESIZE, &arg))
		failed(argv[1]);
	close(control);
	return 0;
}

static int disk_swap(int argc, char **argv)
{
	struct vhl_disk_name arg = { 0 };
	struct vhl_blk_opts opts;
	struct disk_opts disk;
	int control;

	if (argc != 3)
		die(EXIT_USAGE, "disk swap wants a name and a file");
	set_name(arg.name, argv[1]);
	parse_named_disk(argv[2], &disk);
	if (fill_options(&disk, &opts) || disk.limited || disk.user || disk.group || disk.mode != 0600)
		die(EXIT_USAGE, "disk swap %s: options other than ro, direct and format are those of "
		    "the disk, and stay", argv[2]);
	check_disk(&disk);
	control = open_node(NODE_CONTROL);
	arg.fd = open_disk_file(&disk);
	if (ioctl(control, VHL_DISK_SWAP, &arg))
		failed(argv[1]);
	close(control);
	return 0;
}

/* The disk of this number, or the next one: false when there is none. *path is to be freed */
static bool next_disk(int control, unsigned int number, struct vhl_disk_info *info, char **path)
{
	size_t room = 256;

	*path = NULL;
	for (;;) {
		*path = xrealloc(*path, room);
		*info = (struct vhl_disk_info){
			.number = number, .path = (uintptr_t)*path, .path_len = (__u32)room,
		};
		**path = '\0';
		if (ioctl(control, VHL_DISK_GET, info)) {
			if (errno != ENOENT)
				die(EXIT_FAILED, "%s: %s", NODE_CONTROL, strerror(errno));
			free(*path);
			return false;
		}
		if (info->path_len <= room)
			return true;
		room = info->path_len;
	}
}

pid_t disk_holder(const char *name)
{
	int control = open(NODE_CONTROL, O_RDWR | O_CLOEXEC);
	struct vhl_disk_info info;
	unsigned int number = 0;
	pid_t holder = 0;
	char *path;

	for (; control >= 0 && !holder && next_disk(control, number, &info, &path);
	     number = info.number + 1) {
		if (!strcmp((const char *)info.name, name))
			holder = info.holder;
		free(path);
	}
	if (control >= 0)
		close(control);
	return holder;
}

static void print_json_disk(const struct vhl_disk_info *d, const char *path)
{
	fputs("{\"name\":", stdout);
	json_string((const char *)d->name);
	fputs(",\"backing\":", stdout);
	json_string(path);
	printf(",\"size\":%" PRIu64 ",\"read_only\":%s,\"direct\":%s,\"queues\":%u,\"block_size\":%u,"
	       "\"holder\":%d,\"counters\":{", (uint64_t)d->size,
	       d->flags & VHL_DISK_READ_ONLY ? "true" : "false",
	       d->flags & VHL_DISK_DIRECT ? "true" : "false", d->queues, d->block_size, d->holder);
	printf("\"kicks\":%" PRIu64 ",\"wakes\":%" PRIu64 ",\"polls\":%" PRIu64 ",\"reqs\":%" PRIu64
	       ",\"in\":%" PRIu64 ",\"out\":%" PRIu64, (uint64_t)d->kicks, (uint64_t)d->wakes,
	       (uint64_t)d->polls, (uint64_t)d->reqs, (uint64_t)d->in, (uint64_t)d->out);
	printf(",\"batches\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"breaks\":%" PRIu64
	       "}}", (uint64_t)d->batches, (uint64_t)d->calls, (uint64_t)d->errors,
	       (uint64_t)d->breaks);
}

static void print_row(const struct vhl_disk_info *d, const char *path)
{
	char size[16], in[16], out[16];

	human(size, sizeof(size), (double)d->size, true);
	human(in, sizeof(in), (double)d->in, true);
	human(out, sizeof(out), (double)d->out, true);
	printf("%-16s %7s %s %8d %10" PRIu64 " %7s %7s %7" PRIu64 "  %s\n", (const char *)d->name, size,
	       d->flags & VHL_DISK_READ_ONLY ? "ro" : "rw", d->holder, (uint64_t)d->reqs, in, out,
	       (uint64_t)d->errors, path);
}

static int disk_list(int argc, char **argv)
{
	struct vhl_disk_info info;
	unsigned int number = 0;
	bool json = false;
	char *path;
	int control;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json"))
			die(EXIT_USAGE, "disk list: unknown argument '%s' (there is: --json)", argv[i]);
		json = true;
	}
	control = open_node(NODE_CONTROL);
	if (json)
		fputs("{\"disks\":[", stdout);
	else
		printf("%-16s %7s %s %8s %10s %7s %7s %7s  %s\n", "NAME", "SIZE", "RW", "HOLDER",
		       "REQS", "IN", "OUT", "ERRORS", "FILE");
	for (; next_disk(control, number, &info, &path); number = info.number + 1) {
		if (json && number)
			putchar(',');
		if (json)
			print_json_disk(&info, path);
		else
			print_row(&info, path);
		free(path);
	}
	if (json)
		puts("]}");
	close(control);
	return 0;
}

/* One line of the configuration, in a process of its own: what is wrong with it ends that one */
static bool restore_line(const char *config, unsigned int line, char *name, char *value)
{
	char *args[] = { "add", name, value };
	char *node = xasprintf("%s/%s", DISKS_DIR, name);
	bool there = !access(node, F_OK);
	int status;
	pid_t pid;

	free(node);
	if (there)
		return true;
	pid = fork();
	if (!pid)
		exit(disk_add(3, args));
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		die(EXIT_FAILED, "%s: %s", config, strerror(errno));
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	say("%s:%u: disk %s was not added", config, line, name);
	return false;
}

static int disk_restore(int argc, char **argv)
{
	const char *config = argc > 1 ? argv[1] : CONFIG;
	unsigned int number = 0;
	char *line = NULL;
	size_t size = 0;
	bool ok = true;
	FILE *f;

	if (argc > 2)
		die(EXIT_USAGE, "disk restore wants one file at most");
	f = fopen(config, "re");
	if (!f)
		die(EXIT_FAILED, "%s: %s", config, strerror(errno));
	while (getline(&line, &size, f) >= 0) {
		char *name, *value;

		number++;
		line[strcspn(line, "\n")] = '\0';
		name = line + strspn(line, " \t");
		if (!*name || *name == '#')
			continue;
		value = name + strcspn(name, " \t");
		if (*value) {
			*value++ = '\0';
			value += strspn(value, " \t");
		}
		if (*value) {
			ok &= restore_line(config, number, name, value);
			continue;
		}
		say("%s:%u: disk %s: its file is missing (a line is: NAME FILE[,OPTION…])", config,
		    number, name);
		ok = false;
	}
	free(line);
	fclose(f);
	return ok ? 0 : EXIT_FAILED;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "add", disk_add },
	{ "del", disk_del },
	{ "list", disk_list },
	{ "resize", disk_resize },
	{ "swap", disk_swap },
	{ "limit", disk_limit },
	{ "restore", disk_restore },
};

int cmd_disk(int argc, char **argv)
{
	if (argc < 2)
		die(EXIT_USAGE, "disk wants one of: add, del, list, resize, swap, limit, restore");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	die(EXIT_USAGE, "disk: no '%s' (there are: add, del, list, resize, swap, limit, restore)", argv[1]);
}
