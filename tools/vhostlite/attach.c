// SPDX-License-Identifier: GPL-2.0
/* Opening what a guest is given: nodes, TAPs, disks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <net/if.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/vhost_lite.h>

#include "vhostlite.h"

/* Moves @fd to @want, where the command inherits it */
static void place(int fd, int want)
{
	if (fd == want) {
		if (!fcntl(fd, F_SETFD, 0))
			return;
	} else if (dup2(fd, want) >= 0) {
		close(fd);
		return;
	}
	die(EXIT_FAILED, "descriptor %d: %s", want, strerror(errno));
}

static void __attribute__((noreturn)) in_use(const char *path)
{
	pid_t holder = is_named_disk(path) ? disk_holder(path + sizeof(DISKS_DIR)) : 0;
	char *comm = holder ? read_line("/proc/%s/comm", xasprintf("%d", (int)holder)) : NULL;

	if (holder)
		die(EXIT_FAILED, "%s: in use by another process, %d (%s)", path, (int)holder,
		    comm ? comm : "?");
	die(EXIT_FAILED, "%s: in use by another process (see vhostlite disk list)", path);
}

int open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		die(EXIT_FAILED, "%s: no such node, load it with: modprobe %s", path,
		    module_of(path));
	case EBUSY:
		in_use(path);
	case EACCES:
	case EPERM:
		die(EXIT_FAILED, "%s: permission denied: run vhostlite as root, or give your user "
		    "access to the node", path);
	default:
		die(EXIT_FAILED, "%s: %s", path, strerror(errno));
	}
}

void open_net_node(int want)
{
	place(open_node(NODE_NET), want);
}

/* ---- network ---- */

static bool exists(const char *fmt, const char *name)
{
	char *path = xasprintf(fmt, name);
	bool there = !access(path, F_OK);

	free(path);
	return there;
}

static bool is_macvtap(const char *ifname)
{
	return exists("/sys/class/net/%s/macvtap", ifname);
}

char *macvtap_mac(const char *ifname)
{
	return is_macvtap(ifname) ? read_line("/sys/class/net/%s/address", ifname) : NULL;
}

void check_net(const struct net_opts *net)
{
	const char *name = net->ifname;
	char *flags;

	if (!exists("/sys/class/net/%s", name))
		die(EXIT_FAILED, "%s: no such interface, make it with: ip tuntap add dev %s mode "
		    "tap vnet_hdr%s", name, name, net->queues > 1 ? " multi_queue" : "");
	if (!is_macvtap(name) && !exists("/sys/class/net/%s/tun_flags", name))
		die(EXIT_FAILED, "%s: neither a TAP nor a macvtap", name);
	flags = read_line("/sys/class/net/%s/flags", name);
	if (flags && !(strtoul(flags, NULL, 16) & IFF_UP))
		say("note: %s is down, packets flow after: ip link set %s up", name, name);
	free(flags);
}

static void __attribute__((noreturn)) tap_failed(const struct net_opts *net, int err,
						 unsigned long flags)
{
	const char *name = net->ifname;

	switch (err) {
	case EBUSY:
		die(EXIT_FAILED, "%s: in use by another process", name);
	case E2BIG:
		die(EXIT_FAILED, "%s: all its queues are in use", name);
	case EPERM:
		die(EXIT_FAILED, "%s: permission denied: run vhostlite as root, or give the TAP "
		    "to your user (ip tuntap add … user)", name);
	case EINVAL:
		if (flags & IFF_TUN && !(flags & IFF_TAP))
			die(EXIT_FAILED, "%s: a TUN, which carries no Ethernet frames; make it "
			    "with: ip tuntap add dev %s mode tap vnet_hdr", name, name);
		if (net->queues > 1 && !(flags & IFF_MULTI_QUEUE))
			die(EXIT_FAILED, "%s: made for one queue, make it with: ip tuntap add dev "
			    "%s mode tap vnet_hdr multi_queue", name, name);
		/* fallthrough */
	default:
		die(EXIT_FAILED, "%s: cannot attach to it: %s", name, strerror(err));
	}
}

static int open_macvtap(const struct net_opts *net)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	char *index = read_line("/sys/class/net/%s/ifindex", net->ifname);
	char *path = xasprintf("/dev/tap%s", index ? index : "");
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(EXIT_FAILED, "%s (of %s): %s", path, net->ifname,
		    errno == EBUSY ? "all its queues are in use" : strerror(errno));
	if (net->queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, &ifr))
		die(EXIT_FAILED, "%s (of %s): %s", path, net->ifname, strerror(errno));
	free(index);
	free(path);
	return fd;
}

static int open_tun(const struct net_opts *net)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	char *line = read_line("/sys/class/net/%s/tun_flags", net->ifname);
	unsigned long flags = line ? strtoul(line, NULL, 16) : 0;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	free(line);
	if (fd < 0)
		die(EXIT_FAILED, "/dev/net/tun: %s%s", strerror(errno), errno == ENOENT ?
		    ", load it with: modprobe tun" : errno == EACCES ?
		    ": run vhostlite as root, or give your user access to it" : "");
	/* The kernel wants to hear how the TAP was made; one queue of a multi_queue TAP is fine */
	if (net->queues > 1 || flags & IFF_MULTI_QUEUE)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, net->ifname, strlen(net->ifname) + 1);
	if (ioctl(fd, TUNSETIFF, &ifr))
		tap_failed(net, errno, flags);
	return fd;
}

void open_tap(const struct net_opts *net, int want)
{
	place(is_macvtap(net->ifname) ? open_macvtap(net) : open_tun(net), want);
}

/* ---- disks ---- */

/*
 * QEMU's scheme, so that a disk is safe from `vhostlite run`, QEMU's own drives and qemu-img
 * alike: a shared lock on byte 100+n says "I use permission n", one on byte 200+n says "nobody
 * else may".
 */
enum { PERM_READ = 0, PERM_WRITE = 1, PERM_RESIZE = 3 };
enum { LOCK_USES = 100, LOCK_REFUSES = 200 };

static int lock_byte(int fd, int cmd, short type, off_t byte, bool *held)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
	};

	if (fcntl(fd, cmd, &lock))
		return -1;
	if (held)
		*held = lock.l_type != F_UNLCK;
	return 0;
}

void unlock_disk(int fd)
{
	struct flock all = {
		.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_USES,
		.l_len = 2 * (LOCK_REFUSES - LOCK_USES),
	};

	fcntl(fd, F_OFD_SETLK, &all);
}

/* Takes what is ours and looks for what others have. Return: as fcntl() */
static int take_locks(int fd, const struct disk_opts *disk, bool *used, bool *refused)
{
	bool held;

	if (lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_USES + PERM_READ, NULL) ||
	    (!disk->ro && lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_USES + PERM_WRITE, NULL)) ||
	    lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_REFUSES + PERM_WRITE, NULL) ||
	    lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_REFUSES + PERM_RESIZE, NULL))
		return -1;

	if (lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_USES + PERM_WRITE, &held))
		return -1;
	*used |= held;
	if (lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_USES + PERM_RESIZE, &held))
		return -1;
	*used |= held;
	if (lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_REFUSES + PERM_READ, &held))
		return -1;
	*refused |= held;
	if (!disk->ro) {
		if (lock_byte(fd, F_OFD_GETLK, F_WRLCK, LOCK_REFUSES + PERM_WRITE, &held))
			return -1;
		*refused |= held;
	}
	return 0;
}

/* The lock belongs to the open file, which the device keeps: it lasts as long as the device, or until unlock_disk() */
char *lock_disk(int fd, const struct disk_opts *disk)
{
	bool used = false, refused = false;
	char *wrong = NULL;

	if (take_locks(fd, disk, &used, &refused)) {
		if (errno == EAGAIN || errno == EACCES)
			wrong = xasprintf("%s: locked by another process", disk->file);
		else
			/* Some network file systems have no locks */
			say("note: %s: cannot be locked against other users: %s", disk->file, strerror(errno));
	} else if (used) {
		wrong = xasprintf("%s: another vhostlite run or QEMU writes to it", disk->file);
	} else if (refused) {
		wrong = xasprintf("%s: another vhostlite run or QEMU uses it and allows no writer%s",
				  disk->file, disk->ro ? "" : " (to share it read-only: ro)");
	}
	if (wrong)
		unlock_disk(fd);
	return wrong;
}

/* A node that `vhostlite disk add` made */
bool is_named_disk(const char *file)
{
	return !strncmp(file, DISKS_DIR "/", sizeof(DISKS_DIR "/") - 1);
}

static void check_named_disk(const struct disk_opts *disk)
{
	struct vhl_blk_opts opts;

	if (disk->named)
		die(EXIT_FAILED, "%s: is a disk with a name, not the file of one", disk->file);
	if (fill_options(disk, &opts) || disk->limited || disk->ro || disk->direct != DIRECT_AUTO)
		die(EXIT_FAILED, "%s: its options are those of vhostlite disk add, leave them out",
		    disk->file);
}

void check_disk(const struct disk_opts *disk)
{
	struct stat st;

	if (stat(disk->file, &st))
		die(EXIT_FAILED, "%s: %s", disk->file, strerror(errno));
	if (is_named_disk(disk->file)) {
		check_named_disk(disk);
		return;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		die(EXIT_FAILED, "%s: neither a regular file nor a block device", disk->file);
	if (S_ISREG(st.st_mode) && !st.st_size)
		die(EXIT_FAILED, "%s: empty; give it a size first, e.g. truncate -s 10G", disk->file);
	check_image(disk);
}

static void __attribute__((noreturn)) only_readable(const struct disk_opts *disk)
{
	die(EXIT_FAILED, "%s: can only be read, use %s%s,ro", disk->file,
	    disk->named ? "" : "--disk ", double_commas(disk->file));
}

static int open_file(const struct disk_opts *disk)
{
	int flags = (disk->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC, fd, err, locked = 0;

	fd = open(disk->file, flags | (disk->direct == DIRECT_OFF ? 0 : O_DIRECT));
	if (fd < 0 && errno == EINVAL && disk->direct == DIRECT_AUTO) {
		say("note: %s: its file system has no O_DIRECT, the page cache is used",
		    disk->file);
		fd = open(disk->file, flags);
	}
	if (fd >= 0) {
		/* A write-protected block device opens for writing, and then fails each write */
		if (!disk->ro && !ioctl(fd, BLKROGET, &locked) && locked)
			only_readable(disk);
		return fd;
	}
	err = errno;
	if (err == EINVAL && disk->direct == DIRECT_ON)
		die(EXIT_FAILED, "%s: its file system has no O_DIRECT, leave direct=on out",
		    disk->file);
	if ((err == EACCES || err == EPERM || err == EROFS) && !disk->ro &&
	    open(disk->file, O_RDONLY | O_CLOEXEC) >= 0)
		only_readable(disk);
	die(EXIT_FAILED, "%s: %s", disk->file, strerror(err));
}

bool fill_options(const struct disk_opts *disk, struct vhl_blk_opts *opts)
{
	*opts = (struct vhl_blk_opts){
		.num_queues = disk->queues,
		.block_size = disk->blocksize,
		.flags = disk->keep ? VHL_BLK_OPT_KEEP : 0,
	};
	if (disk->serial)
		memcpy(opts->serial, disk->serial, strnlen(disk->serial, sizeof(opts->serial)));
	return disk->queues || disk->blocksize || disk->serial || disk->keep;
}

void set_disk_options(int node, const struct disk_opts *disk)
{
	struct vhl_blk_opts opts;

	if (fill_options(disk, &opts) && ioctl(node, VHL_BLK_SET_OPTS, &opts))
		die(EXIT_FAILED, "%s: the options are refused: %s", disk->file, strerror(errno));
	if (disk->limited)
		apply_limits(node, &disk->limits, disk->file);
}

int open_disk_file(const struct disk_opts *disk)
{
	int fd = open_file(disk);
	char *wrong = disk->late_lock ? NULL : lock_disk(fd, disk);

	if (wrong)
		die(EXIT_FAILED, "%s", wrong);
	return fd;
}

void attach_disk(int node, const char *path, const struct disk_opts *disk, int file)
{
	struct vhost_vring_file backend = { .index = 0, .fd = file };

	if (ioctl(node, VHOST_BLK_SET_BACKEND, &backend)) {
		int err = errno;

		die(EXIT_FAILED, "%s: refused by %s: %s%s", disk->file, path, strerror(err),
		    err == EINVAL ? " (the kernel's log says why)" : "");
	}
}

void open_disk(const struct disk_opts *disk, int want)
{
	int fd;

	if (is_named_disk(disk->file)) {
		place(open_node(disk->file), want);
		return;
	}
	place(open_node(NODE_VDPA_BLK), want);
	set_disk_options(want, disk);
	fd = open_disk_file(disk);
	attach_disk(want, NODE_VDPA_BLK, disk, fd);
	close(fd);
}
