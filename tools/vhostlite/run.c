// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite run: composes the QEMU command, opens what it names, becomes it.
 *
 * The numbers of the descriptors are chosen first, so the command is known before anything is
 * opened and --print shows exactly what would run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhostlite.h"

/* QMP and people count fdsets from 0; ours begin where neither comes across them */
#define FIRST_FDSET	100

struct nic {
	struct net_opts opts;
	int taps[MAX_QUEUES], vhosts[MAX_QUEUES];
};

struct disk {
	struct disk_opts opts;
	int fd;
	unsigned int fdset;
};

struct plan {
	struct nic *nics;
	unsigned int num_nics;
	struct disk *disks;
	unsigned int num_disks;
	char **command;		/* what the user gave, NULL at the end */
	char **argv;		/* and with our arguments */
	unsigned int argc;
	enum bus bus;
	bool print;
};

static void add_arg(struct plan *plan, char *arg)
{
	plan->argv = xrealloc(plan->argv, (plan->argc + 2) * sizeof(*plan->argv));
	plan->argv[plan->argc++] = arg;
	plan->argv[plan->argc] = NULL;
}

/* Appends to a string that came from malloc */
#define append(s, ...)						\
	do {							\
		char *append_old_ = (s);			\
		char *append_more_ = xasprintf(__VA_ARGS__);	\
		(s) = xasprintf("%s%s", append_old_, append_more_); \
		free(append_old_);				\
		free(append_more_);				\
	} while (0)

/* The lowest descriptor above @after that is free now */
static int next_free_fd(int after)
{
	do {
		after++;
	} while (fcntl(after, F_GETFD) >= 0);
	return after;
}

static void choose_numbers(struct plan *plan)
{
	unsigned int set = FIRST_FDSET;
	int fd = STDERR_FILENO;

	for (unsigned int i = 0; i < plan->num_nics; i++) {
		struct nic *nic = &plan->nics[i];

		for (unsigned int q = 0; q < nic->opts.queues; q++) {
			nic->taps[q] = fd = next_free_fd(fd);
			nic->vhosts[q] = fd = next_free_fd(fd);
		}
	}
	for (unsigned int i = 0; i < plan->num_disks; i++) {
		plan->disks[i].fd = fd = next_free_fd(fd);
		while (command_has_fdset(plan->command, set))
			set++;
		plan->disks[i].fdset = set++;
	}
}

/*
 * We open the TAP ourselves: with several queues QEMU takes vhost descriptors only together with
 * those of the TAP, and errors come before anything has started.
 */
static void add_nic(struct plan *plan, unsigned int n)
{
	const struct nic *nic = &plan->nics[n];
	const struct net_opts *o = &nic->opts;
	const char *s = o->queues > 1 ? "s" : "";
	char *netdev = xasprintf("tap,id=vhlnet%u,fd%s=%d", n, s, nic->taps[0]);
	bool pci = plan->bus == BUS_PCI;
	char *dev = xasprintf("virtio-net-%s,id=vhlnic%u,netdev=vhlnet%u", pci ? "pci" : "device",
			      n, n);
	char *mac = o->mac ? xstrdup(o->mac) : macvtap_mac(o->ifname);

	for (unsigned int q = 1; q < o->queues; q++)
		append(netdev, ":%d", nic->taps[q]);
	append(netdev, ",vhost=on,vhostfd%s=%d", s, nic->vhosts[0]);
	for (unsigned int q = 1; q < o->queues; q++)
		append(netdev, ":%d", nic->vhosts[q]);

	if (o->queues > 1)
		append(dev, ",mq=on");
	/* An interrupt for each queue, one for the control queue and one for the configuration */
	if (o->queues > 1 && pci)
		append(dev, ",vectors=%u", 2 * o->queues + 2);
	if (mac)
		append(dev, ",mac=%s", mac);
	if (o->bootindex >= 0)
		append(dev, ",bootindex=%d", o->bootindex);
	free(mac);

	add_arg(plan, xstrdup("-netdev"));
	add_arg(plan, netdev);
	add_arg(plan, xstrdup("-device"));
	add_arg(plan, dev);
}

static void add_disk(struct plan *plan, unsigned int n)
{
	const struct disk *disk = &plan->disks[n];
	char *file = double_commas(disk->opts.file);
	char *dev = xasprintf("vhost-vdpa-device%s,id=vhldisk%u,vhostdev=/dev/fdset/%u",
			      plan->bus == BUS_PCI ? "-pci" : "", n, disk->fdset);

	if (disk->opts.bootindex >= 0)
		append(dev, ",bootindex=%d", disk->opts.bootindex);
	add_arg(plan, xstrdup("-add-fd"));
	add_arg(plan, xasprintf("fd=%d,set=%u,opaque=%s", disk->fd, disk->fdset, file));
	add_arg(plan, xstrdup("-device"));
	add_arg(plan, dev);
	free(file);
}

static void print_quoted(const char *arg)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_@%+=:,./-";

	if (*arg && !arg[strspn(arg, plain)]) {
		fputs(arg, stdout);
		return;
	}
	putchar('\'');
	for (; *arg; arg++) {
		if (*arg == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*arg);
	}
	putchar('\'');
}

static void print_command(const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->argc; i++) {
		if (i)
			putchar(' ');
		print_quoted(plan->argv[i]);
	}
	putchar('\n');
}

/* With -snapshot a person expects that no image is written: ours would be */
static void refuse_snapshot(const struct plan *plan)
{
	if (!command_wants_snapshot(plan->command))
		return;
	for (unsigned int i = 0; i < plan->num_disks; i++) {
		const struct disk_opts *o = &plan->disks[i].opts;
		char *name = double_commas(o->file);

		if (!o->ro)
			die(EXIT_USAGE, "run: -snapshot keeps QEMU from writing to its drives, but "
			    "not the host kernel from writing to %s; give it as --disk %s,ro, or "
			    "a copy to throw away (cp --reflink=auto, lvcreate --snapshot), or "
			    "to QEMU (-drive file=%s,format=raw,if=virtio)", o->file, name, name);
		free(name);
	}
}

static void check_all(const struct plan *plan)
{
	unsigned int queues = 0;

	for (unsigned int i = 0; i < plan->num_nics; i++) {
		check_net(&plan->nics[i].opts);
		queues += 2 * plan->nics[i].opts.queues;
	}
	for (unsigned int i = 0; i < plan->num_disks; i++) {
		const struct disk_opts *o = &plan->disks[i].opts;

		check_disk(o);
		queues += o->queues ? o->queues : 1;
	}
	check_memlock(queues, command_changes_user(plan->command));
}

static void open_all(const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->num_nics; i++) {
		const struct nic *nic = &plan->nics[i];

		for (unsigned int q = 0; q < nic->opts.queues; q++) {
			open_tap(&nic->opts, nic->taps[q]);
			open_net_node(nic->vhosts[q]);
		}
	}
	for (unsigned int i = 0; i < plan->num_disks; i++)
		open_disk(&plan->disks[i].opts, plan->disks[i].fd);
}

static enum bus parse_bus(const char *value)
{
	if (!strcmp(value, "pci"))
		return BUS_PCI;
	if (strcmp(value, "mmio"))
		die(EXIT_USAGE, "--bus %s: there are: pci, mmio", value);
	return BUS_MMIO;
}

static void parse_command_line(struct plan *plan, int argc, char **argv)
{
	const char *value, *bus = NULL;
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if ((value = option_value("run", argc, argv, &i, "--net"))) {
			plan->nics = xrealloc(plan->nics,
					      (plan->num_nics + 1) * sizeof(*plan->nics));
			parse_net(value, &plan->nics[plan->num_nics++].opts);
		} else if ((value = option_value("run", argc, argv, &i, "--disk"))) {
			plan->disks = xrealloc(plan->disks,
					       (plan->num_disks + 1) * sizeof(*plan->disks));
			parse_disk(value, &plan->disks[plan->num_disks++].opts);
		} else if ((value = option_value("run", argc, argv, &i, "--bus"))) {
			bus = value;
			parse_bus(bus);
		} else if (!strcmp(argv[i], "--print")) {
			plan->print = true;
		} else if (argv[i][0] == '-') {
			die(EXIT_USAGE, "run: unknown option '%s' (there are: --net, --disk, "
			    "--bus, --print; those of COMMAND go behind --)", argv[i]);
		} else {
			die(EXIT_USAGE, "run: '%s': put the command behind --", argv[i]);
		}
	}
	if (i + 1 >= argc)
		die(EXIT_USAGE, "run: no command: put it behind --, as in vhostlite run "
		    "--disk disk.raw -- qemu-system-x86_64 …");
	if (!plan->num_nics && !plan->num_disks)
		die(EXIT_USAGE, "run: nothing to add to the command: give --net or --disk");
	plan->command = argv + i + 1;
	plan->bus = command_bus(plan->command);
	if (bus && plan->bus != BUS_NONE)
		plan->bus = parse_bus(bus);
}

/* As a wrapper we are also asked what QEMU can do, by users that may open none of this */
static void add_nothing(struct plan *plan)
{
	plan->num_nics = 0;
	plan->num_disks = 0;
}

int cmd_run(int argc, char **argv)
{
	struct plan plan = { 0 };
	int err;

	parse_command_line(&plan, argc, argv);
	if (plan.bus == BUS_NONE)
		add_nothing(&plan);
	refuse_snapshot(&plan);
	choose_numbers(&plan);
	for (char **arg = plan.command; *arg; arg++)
		add_arg(&plan, xstrdup(*arg));
	for (unsigned int i = 0; i < plan.num_nics; i++)
		add_nic(&plan, i);
	for (unsigned int i = 0; i < plan.num_disks; i++)
		add_disk(&plan, i);

	if (plan.print) {
		print_command(&plan);
		return 0;
	}
	check_all(&plan);
	open_all(&plan);
	execvp(plan.argv[0], plan.argv);
	err = errno;
	die(err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "%s: %s", plan.argv[0],
	    strerror(err));
}
