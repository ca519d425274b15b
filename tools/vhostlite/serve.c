// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: a back end of the vhost-user protocol whose requests the host kernel does. One
 * front end at a time connects to a socket; when it has gone, for whatever reason, the next one may.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "serve.h"

struct serve_opts {
	struct disk_opts disk;
	const char *socket;
	const char *cgroup;
	unsigned int queues;
};

/* NAME of /dev/vhost-lite/NAME, unless there is a file of that name here */
static void find_named(struct disk_opts *disk)
{
	char *node;

	if (strchr(disk->file, '/') || !access(disk->file, F_OK))
		return;
	node = xasprintf(DISKS_DIR "/%s", disk->file);
	if (access(node, F_OK)) {
		free(node);
		return;
	}
	free(disk->file);
	disk->file = node;
}

static void check_queues(struct serve_opts *opts)
{
	struct disk_opts *disk = &opts->disk;

	/* it has as many as it was made with */
	if (is_named_disk(disk->file))
		return;
	if (opts->queues && disk->queues && opts->queues != disk->queues)
		die(EXIT_USAGE, "serve: --queues %u and queues=%u", opts->queues, disk->queues);
	if (opts->queues)
		disk->queues = opts->queues;
	/* the front end says how many of them there are */
	if (!disk->queues)
		disk->queues = MAX_QUEUES;
}

static void parse_command_line(struct serve_opts *opts, int argc, char **argv)
{
	const char *value;
	uint64_t queues;

	for (int i = 1; i < argc; i++) {
		if ((value = option_value("serve", argc, argv, &i, "--disk"))) {
			if (opts->disk.file)
				die(EXIT_USAGE, "serve: one --disk for each vhostlite serve");
			parse_disk(value, &opts->disk);
		} else if ((value = option_value("serve", argc, argv, &i, "--socket"))) {
			opts->socket = value;
		} else if ((value = option_value("serve", argc, argv, &i, "--queues"))) {
			if (!parse_number(value, 1, MAX_QUEUES, &queues))
				die(EXIT_USAGE, "--queues %s: a number of 1..%d is wanted", value,
				    MAX_QUEUES);
			opts->queues = (unsigned int)queues;
		} else if (!strcmp(argv[i], "--handover")) {
			opts->disk.late_lock = true;
		} else if ((value = option_value("serve", argc, argv, &i, "--cgroup"))) {
			opts->cgroup = value;
		} else {
			die(EXIT_USAGE, "serve: unknown argument '%s' (there are: --disk, "
			    "--socket, --queues, --handover, --cgroup)", argv[i]);
		}
	}
	if (!opts->disk.file)
		die(EXIT_USAGE, "serve: --disk is missing (see vhostlite --help)");
	if (!opts->socket)
		die(EXIT_USAGE, "serve: --socket is missing (see vhostlite --help)");
	if (opts->disk.bootindex >= 0)
		die(EXIT_USAGE, "serve: bootindex= is said to the front end (with QEMU: -device "
		    "vhost-user-blk-pci,bootindex=%d,…)", opts->disk.bootindex);
	find_named(&opts->disk);
	if (opts->disk.late_lock && is_named_disk(opts->disk.file))
		die(EXIT_USAGE, "serve: --handover: a disk that has a name keeps its lock; name the "
		    "file itself");
	check_queues(opts);
}

static int catch_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	/* nor does it end because nobody reads what it says */
	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		die(EXIT_FAILED, "signals: %s", strerror(errno));
	return fd;
}

static void accept_front_end(struct session *s, const struct serve_dev *dev, int listener)
{
	int sock = socket_accept(listener);

	if (sock < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		say("a connection cannot be accepted: %s", strerror(errno));
		/* it is still there, and would be asked for at once */
		sleep(1);
		return;
	}
	if (s->sock < 0) {
		session_begin(s, dev, sock);
		return;
	}
	say("front end (process %d): refused: process %d is connected, and a disk serves one at a "
	    "time", (int)socket_peer(sock), (int)s->peer);
	close(sock);
}

static void config_changed(struct session *s, const struct serve_dev *dev)
{
	uint64_t times;

	if (read(dev->config_call, &times, sizeof(times)) != sizeof(times))
		return;
	/* whichever of the nodes was told, both have to know */
	dev_resize(dev);
	/* what that tells once more is the same */
	if (read(dev->config_call, &times, sizeof(times)) < 0 && errno != EAGAIN)
		say("changes of the disk: %s", strerror(errno));
	session_tell_config(s);
}

/* Until a signal ends it. Nothing here wakes up for requests of the guest. */
static void serve(const struct serve_dev *dev, int listener, int signals)
{
	static struct session session = { .sock = -1, .backend = -1 };
	/* the end of one connection is seen no later than the next one, that is asked for first */
	enum { SIGNAL, LISTEN, CONFIG, FRONT_END, NUM };
	struct pollfd fds[NUM] = {
		[SIGNAL] = { .fd = signals, .events = POLLIN },
		[LISTEN] = { .fd = listener, .events = POLLIN },
		[CONFIG] = { .fd = dev->config_call, .events = POLLIN },
	};

	for (;;) {
		fds[FRONT_END] = (struct pollfd){ .fd = session.sock, .events = POLLIN };
		if (poll(fds, NUM, -1) < 0) {
			if (errno == EINTR)
				continue;
			die(EXIT_FAILED, "poll: %s", strerror(errno));
		}
		if (fds[SIGNAL].revents)
			break;
		if (fds[CONFIG].revents)
			config_changed(&session, dev);
		/* before the next one is let in: this one may just have gone */
		if (fds[FRONT_END].revents)
			session_read(&session);
		else if (fds[LISTEN].revents)
			accept_front_end(&session, dev, listener);
	}
	session_end(&session, "the connection is closed: ended by a signal");
}

int cmd_serve(int argc, char **argv)
{
	struct serve_opts opts = { 0 };
	struct serve_dev dev = { 0 };
	int signals, listener;

	parse_command_line(&opts, argc, argv);
	check_disk(&opts.disk);
	if (opts.cgroup)
		join_cgroup(opts.cgroup);
	check_memlock(opts.disk.queues ?: opts.queues ?: MAX_QUEUES, false);
	/* for the log of a guest that migrates, whose size is not known before */
	raise_memlock();
	signals = catch_signals();
	dev_open(&dev, &opts.disk, opts.queues);
	listener = socket_listen(opts.socket);
	say("%s is served on %s", opts.disk.file, opts.socket);
	serve(&dev, listener, signals);
	socket_unlink();
	return 0;
}
