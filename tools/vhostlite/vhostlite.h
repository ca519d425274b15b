/* SPDX-License-Identifier: GPL-2.0 */
/* vhostlite: what its files share. */
#ifndef VHOSTLITE_H
#define VHOSTLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/vhost_lite.h>

#define VHOSTLITE_VERSION	"0.1"

/* Exit statuses besides 0; `run` ends with that of the command */
enum {
	EXIT_FAILED	= 1,
	EXIT_USAGE	= 2,
	EXIT_CANNOT_RUN	= 126,	/* as shells do */
	EXIT_NOT_FOUND	= 127,
};

#define NODE_NET	"/dev/vhost-netlite"
#define NODE_BLK	"/dev/vhost-blklite"
#define NODE_VDPA_BLK	"/dev/vdpa-blklite"
#define DISKS_DIR	"/dev/vhost-lite"
#define NODE_CONTROL	DISKS_DIR "/control"

/* Queue pairs of a NIC, queues of a disk (VHL_BLK_MAX_QUEUES) */
#define MAX_QUEUES	16

/* ---- main.c: messages and small helpers ---- */

/* One line "vhostlite: …" on stderr */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, and the end */
void die(int status, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* malloc and friends that end the program when there is no memory */
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A copy of @s in the notation of --disk and of QEMU, where ",," stands for a comma */
char *double_commas(const char *s);
/* A decimal number of min..max: true, or false when @s is none */
bool parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *value);
/*
 * The value of "--net VALUE" or "--net=VALUE", moving *i to the last word that was used; NULL where argv[*i]
 * is something else. "--" is no value
 */
const char *option_value(const char *command, int argc, char **argv, int *i, const char *name);
/* First line of a (sysfs) file without its newline, NULL when it cannot be read */
char *read_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- options.c: the values of --net and --disk ---- */

struct vhl_blk_opts;

struct net_opts {
	char *ifname;
	unsigned int queues;		/* queue pairs, 1 when not given */
	char *mac;			/* NULL: not given */
	int bootindex;			/* -1: not given */
};

/* What the guest sees unless blocksize= says otherwise */
#define DEFAULT_BLOCKSIZE	512

enum direct { DIRECT_AUTO, DIRECT_ON, DIRECT_OFF };

struct disk_opts {
	char *file;
	bool ro;
	enum direct direct;
	unsigned int queues;		/* 0: not given */
	unsigned int blocksize;		/* 0: not given */
	bool keep;			/* what is allocated */
	bool late_lock;			/* not locked when it is opened */
	bool raw;			/* whatever the file looks like */
	char *serial;			/* NULL: not given */
	int bootindex;			/* -1: not given */
	struct vhl_blk_limits limits;	/* all 0: not given, */
	bool limited;			/* or this */
	bool named;			/* for a node of its own, which has the next three */
	char *user, *group;		/* NULL: not given */
	unsigned int mode;
};

/* These end the program with EXIT_USAGE and a message when the value is wrong. */
void parse_net(const char *value, struct net_opts *net);
void parse_disk(const char *value, struct disk_opts *disk);
void parse_named_disk(const char *value, struct disk_opts *disk);

/* ---- limit.c ---- */

/* What a rate can be, and a burst may have in all (struct vhl_blk_rate) */
#define MAX_RATE	1000000000000000ULL

#define LIMIT_OPTIONS	"iops-size; iops or bps, with -total, -read or -write or none of them, and with " \
			"-max or -max-length or none of them"

/* Sets what QEMU calls throttling.KEY, with and without that word. False: there is no such key */
bool set_limit(struct vhl_blk_limits *limits, const char *key, uint64_t value);
/* Ends the program with EXIT_USAGE when they contradict each other; @what: whose they are */
void check_limits(const struct vhl_blk_limits *limits, const char *what);
/*
 * What words on the command line make of them: true when there are any; without words they are shown.
 * @what: whose they are
 */
bool change_limits(struct vhl_blk_limits *limits, int argc, char **argv, const char *what);
/* Has the disk held to them, or ends the program */
void apply_limits(int fd, const struct vhl_blk_limits *limits, const char *what);

/* ---- command.c: the QEMU command that `run` was given ---- */

enum bus {
	BUS_PCI,
	BUS_MMIO,		/* virtio-mmio: no PCI */
	BUS_NONE,		/* -machine none, which has nothing to plug devices into */
};

enum bus command_bus(char *const *command);
bool command_wants_snapshot(char *const *command);
/* Does QEMU become another user, who may not have our privileges? */
bool command_changes_user(char *const *command);
bool command_has_fdset(char *const *command, unsigned int id);

/* ---- attach.c: opening what the guest is given ----
 * Each opens one descriptor and places it at @want, without close-on-exec, or ends the program
 * with a message.
 */

void open_net_node(int want);
void open_tap(const struct net_opts *net, int want);
void open_disk(const struct disk_opts *disk, int want);
/* Is it the node of a disk that has a name, not a file? */
bool is_named_disk(const char *file);
/* disk.c: the process that has the disk with this name open; 0: none, or we may not look */
pid_t disk_holder(const char *name);
/* Its parts, for `serve`: close-on-exec, errors end the program with a message */
/* A node, or the end of the program with what to do */
int open_node(const char *path);
/* What of the options the kernel is told; false: nothing */
bool fill_options(const struct disk_opts *disk, struct vhl_blk_opts *opts);
void set_disk_options(int node, const struct disk_opts *disk);
int open_disk_file(const struct disk_opts *disk);
/* Locks it against other users. NULL, or what is wrong; a file system without locks is no more than a note */
char *lock_disk(int fd, const struct disk_opts *disk);
void unlock_disk(int fd);
/* @path: that of @node, for messages */
void attach_disk(int node, const char *path, const struct disk_opts *disk, int file);
/* The interface's own MAC address when it is a macvtap, else NULL */
char *macvtap_mac(const char *ifname);
/* What can be said before anything is opened: ends the program, or prints notes */
void check_net(const struct net_opts *net);
void check_disk(const struct disk_opts *disk);

/* ---- image.c ---- */

/* Ends the program when the disk's file is no raw image, as far as its bytes tell */
void check_image(const struct disk_opts *disk);

/* ---- memlock.c ---- */

/* Raises the limit of locked memory for the rings of so many queues, or ends the program */
void check_memlock(unsigned int queues, bool changes_user);
/* ... for what more there may be, as far as it can be raised */
void raise_memlock(void);

/* ---- proc.c: open devices, found in /proc ---- */

#define MAX_COUNTERS	32

struct counter {
	char name[24];
	uint64_t value;
};

struct queue {
	unsigned int index;
	char state[16];
	unsigned int size;
	unsigned int num_counters;
	struct counter counters[MAX_COUNTERS];
};

struct holder {
	pid_t pid;
	int fd;
	char comm[32];
};

struct device {
	uint64_t id;
	char node[64];
	char features[40];
	char status[16];
	char *backing;
	uint64_t owner;
	uint64_t regions;
	unsigned int num_queues;
	struct queue *queues;
	unsigned int num_holders;
	struct holder *holders;
};

struct device_list {
	struct device *devices;		/* by id */
	unsigned int num;
	unsigned int denied;		/* processes that we may not look into */
	double when;			/* seconds, CLOCK_MONOTONIC */
};

void scan_devices(struct device_list *list);
void free_devices(struct device_list *list);
const struct device *find_device(const struct device_list *list, uint64_t id);
const struct queue *find_queue(const struct device *dev, unsigned int index);
/* The value of a counter, 0 when the module does not have it */
uint64_t counter_value(const struct queue *q, const char *name);

/* ---- borrow.c ---- */

/*
 * Open files of a disk by its number in `info`, out of the process that has them open, and what to call it,
 * both to be freed; or the end of the program. Return: how many, since a process may have several devices
 * of one disk; that of the number is the first
 */
unsigned int borrow_disk(const char *command, const char *number, int **fds, char **name);

/* ---- host.c: modules and nodes ---- */

struct module_info {
	const char *name;
	bool loaded;
	char *version, *srcversion, *refcnt;	/* NULL: not said */
};

struct node_info {
	const char *path;
	bool present;
	char mode[12];
	char *owner, *group;
};

#define MAX_NODES	8
#define MAX_MODULES	(1 + MAX_NODES)

struct host_info {
	unsigned int num_modules, num_nodes;
	struct module_info modules[MAX_MODULES];
	struct node_info nodes[MAX_NODES];
};

void scan_host(struct host_info *host);
void free_host(struct host_info *host);
/* The module that makes the node */
const char *module_of(const char *node);

/* ---- the commands; each gets its own name in argv[0] and returns the exit status ---- */

int cmd_run(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_limit(int argc, char **argv);
int cmd_disk(int argc, char **argv);

/* A number in at most 6 characters, of bytes in powers of 1024. Return: @buf */
const char *human(char *buf, size_t size, double v, bool bytes);
/* As the string of a JSON text; null for NULL */
void json_string(const char *text);
int cmd_serve(int argc, char **argv);

/* table.c and json.c, for info.c. @prev: the scan before, for rates; NULL for totals */
void print_table(const struct host_info *host, const struct device_list *list,
		 const struct device_list *prev);
void print_json(const struct host_info *host, const struct device_list *list);

#endif /* VHOSTLITE_H */
