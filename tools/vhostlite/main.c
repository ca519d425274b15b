// SPDX-License-Identifier: GPL-2.0
/* vhostlite: runs virtual machines on vhost-lite and shows what its devices do. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhostlite.h"

/**
 * struct command - a subcommand
 * @name: its word on the command line
 * @run: gets the arguments from that word on. Return: the exit status
 * @synopsis: its arguments, lines of which all but the first are indented by usage()
 * @help: what it does and its options, for usage()
 */
static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *synopsis;
	const char *help;
} commands[] = {
	{
		"run", cmd_run,
		"[--net TAP[,OPTION…]]… [--disk FILE[,OPTION…]]… [--bus pci|mmio] [--print]\n"
		"-- COMMAND…",
		"starts COMMAND, a QEMU, with network cards and disks that the host kernel serves\n"
		"  --net TAP      a card on the TAP or macvtap interface TAP\n"
		"      queues=N           queue pairs, 1..16 (default 1)\n"
		"      mac=ADDRESS        the card's address\n"
		"      bootindex=N        place in the boot order\n"
		"  --disk FILE    a disk on the raw file or block device FILE (a comma in its name is ',,')\n"
		"      ro                 read-only\n"
		"      direct=on|off      bypass the page cache (default: on where FILE can)\n"
		"      queues=N           queues, 1..16 (default 1)\n"
		"      blocksize=N        block size for the guest, 512, 1024, 2048 or 4096 (default: 512)\n"
		"      discard=on|off     let the guest give space back (default: on where FILE can)\n"
		"      format=raw         FILE is a raw disk although it looks like an image of another format\n"
		"      serial=S           serial number, at most 20 bytes\n"
		"      iops=N, bps=N      requests, bytes a second at most; for reads or writes alone:\n"
		"                         iops-read=, iops-write=, bps-read=, bps-write=\n"
		"      iops-max=N, iops-max-length=S, and so for each of these\n"
		"                         as many for S seconds, after as long with less\n"
		"      iops-size=N        a larger request counts as several of N bytes\n"
		"      bootindex=N        place in the boot order\n"
		"  --bus pci|mmio what the devices are plugged into (default: mmio with -M microvm, else pci)\n"
		"  --print        show the command that would run, open nothing\n",
	}, {
		"info", cmd_info,
		"[--json] [-w SECONDS]",
		"shows modules, nodes, and every open device with its counters\n"
		"  --json         as JSON\n"
		"  -w SECONDS     again every SECONDS, as rates per second (with --json: the counters)\n",
	}, {
		"resize", cmd_resize,
		"DEVICE",
		"tells the guest of DEVICE (its number in `vhostlite info`) that its disk has grown\n",
	}, {
		"limit", cmd_limit,
		"DEVICE [off] [OPTION=N]…",
		"sets limits of the disk DEVICE, those named as for --disk, or shows them all\n"
		"  off            ends all that there were before\n",
	}, {
		"disk", cmd_disk,
		"add NAME FILE[,OPTION…]\n"
		"del [--force] NAME\n"
		"list [--json]\n"
		"resize NAME\n"
		"swap NAME FILE[,OPTION…]\n"
		"limit NAME [off] [OPTION=N]…\n"
		"restore [CONFIG]",
		"makes disks that have a name and a node, " DISKS_DIR "/NAME, which any VMM can open\n"
		"  add            makes NAME on FILE, with the OPTIONs of run --disk but bootindex, and\n"
		"      user=U, group=G    owner of the node (default: root)\n"
		"      mode=MODE          its permissions (default: 0600)\n"
		"  del            takes it away; with --force also while it is open: the guest gets I/O errors\n"
		"  list           shows all of them, who has them open and what they did\n"
		"  resize         takes over the size of its file, and tells the guest\n"
		"  swap           goes over to another file (OPTIONs: ro, direct, format), running or not\n"
		"  limit          sets its limits, those named as for --disk, or shows them all\n"
		"  restore        adds what CONFIG names (default: /etc/vhost-lite/disks.conf)\n",
	}, {
		"serve", cmd_serve,
		"--disk FILE[,OPTION…]|NAME --socket PATH [--queues N] [--handover] [--cgroup PATH]",
		"a vhost-user back end: virtual machines that connect to a socket get the disk\n"
		"  --disk FILE    as above, without bootindex=; or the NAME of one of vhostlite disk\n"
		"  --socket PATH  where one of them at a time connects. Its memory has to be shared; QEMU:\n"
		"                   -object memory-backend-memfd,id=mem,size=2G,share=on\n"
		"                   -machine memory-backend=mem -chardev socket,id=disk,path=PATH\n"
		"                   -device vhost-user-blk-pci,chardev=disk\n"
		"  --queues N     the most queues that it may have, 1..16 (default 16)\n"
		"  --handover     the disk is locked only while queues run, so that the virtual machine can\n"
		"                 migrate to another such vhostlite serve of the disk\n"
		"  --cgroup PATH  the cgroup (v2) that what the host's kernel does for it is accounted in\n",
	},
};

#define NUM_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static void vsay(const char *fmt, va_list ap)
{
	fflush(stdout);
	fputs("vhostlite: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

void die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	exit(status);
}

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		die(EXIT_FAILED, "out of memory");
	return p;
}

char *xstrdup(const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(xrealloc(NULL, size), s, size);
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int rc;

	va_start(ap, fmt);
	rc = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (rc < 0)
		die(EXIT_FAILED, "out of memory");
	return s;
}

char *double_commas(const char *s)
{
	char *copy = xrealloc(NULL, 2 * strlen(s) + 1), *w = copy;

	for (; *s; s++) {
		if (*s == ',')
			*w++ = ',';
		*w++ = *s;
	}
	*w = '\0';
	return copy;
}

bool parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *value)
{
	char *end;

	/* strtoull() takes signs and spaces as well */
	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*value = strtoull(s, &end, 10);
	return !errno && !*end && *value >= min && *value <= max;
}

const char *option_value(const char *command, int argc, char **argv, int *i, const char *name)
{
	size_t len = strlen(name);

	if (!strncmp(argv[*i], name, len) && argv[*i][len] == '=')
		return argv[*i] + len + 1;
	if (strcmp(argv[*i], name))
		return NULL;
	if (*i + 1 >= argc || !strcmp(argv[*i + 1], "--"))
		die(EXIT_USAGE, "%s: %s wants a value (see vhostlite --help)", command,
		    name);
	return argv[++*i];
}

char *read_line(const char *fmt, ...)
{
	char *path, *line = NULL;
	size_t size = 0;
	ssize_t len;
	va_list ap;
	FILE *f;
	int rc;

	va_start(ap, fmt);
	rc = vasprintf(&path, fmt, ap);
	va_end(ap);
	if (rc < 0)
		die(EXIT_FAILED, "out of memory");
	f = fopen(path, "re");
	free(path);
	if (!f)
		return NULL;
	len = getline(&line, &size, f);
	fclose(f);
	if (len < 0) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void usage(FILE *to)
{
	const char *lead = "usage:";

	for (size_t i = 0; i < NUM_COMMANDS; i++) {
		const char *line = commands[i].synopsis, *end;

		fprintf(to, "%-6s vhostlite %s%s", lead, commands[i].name, *line ? " " : "");
		for (; (end = strchr(line, '\n')); line = end + 1)
			fprintf(to, "%.*s\n%21s", (int)(end - line), line, "");
		fprintf(to, "%s\n", line);
		lead = "";
	}
	fprintf(to, "%-6s vhostlite --help | --version\n", lead);
	for (size_t i = 0; i < NUM_COMMANDS; i++)
		fprintf(to, "\n%-7s %s", commands[i].name, commands[i].help);
}

/* No such command: say which there are */
static void die_unknown(const char *name)
{
	char *names = xstrdup(commands[0].name);

	for (size_t i = 1; i < NUM_COMMANDS; i++) {
		char *more = xasprintf("%s, %s", names, commands[i].name);

		free(names);
		names = more;
	}
	die(EXIT_USAGE, "no command '%s' (there are: %s; see vhostlite --help)", name, names);
}

int main(int argc, char **argv)
{
	int rc;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	/* Also `vhostlite run --help`, but not what stands behind `--` */
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			usage(stdout);
			return fflush(stdout) ? EXIT_FAILED : 0;
		}
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("vhostlite " VHOSTLITE_VERSION);
		return fflush(stdout) ? EXIT_FAILED : 0;
	}
	for (size_t i = 0; i < NUM_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		rc = commands[i].run(argc - 1, argv + 1);
		if (fflush(stdout) || ferror(stdout))
			die(EXIT_FAILED, "cannot write to stdout: %s", strerror(errno));
		return rc;
	}
	die_unknown(argv[1]);
	return EXIT_USAGE;
}
