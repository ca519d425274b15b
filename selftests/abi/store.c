// SPDX-License-Identifier: GPL-2.0
/* Storage for tests.  See store.h */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "store.h"
#include "sys.h"

#define KUPDATE	"/proc/sys/vm/dirty_writeback_centisecs"
#define DIR	"/tmp/vhltest-store"
#define TOP	"/tmp/vhltest-overlay"

/* mkfs.xfs makes none that are smaller than 300 MB; most of it is never written */
#define STORE_BYTES	(320ULL << 20)
#define CHUNK		(256UL << 10)

int loop_open(int file, char path[32])
{
	struct loop_config config = { .fd = file, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int nr, fd, ret = -ENODEV;

	for (unsigned int i = 0; ctl >= 0 && i < 10; i++) {
		nr = ioctl(ctl, LOOP_CTL_GET_FREE);
		snprintf(path, 32, "/dev/loop%d", nr);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			ret = -errno;
			sleep_ms(20);
			continue;
		}
		ret = ioctl(fd, LOOP_CONFIGURE, &config) ? -errno : fd;
		if (ret >= 0)
			break;
		close(fd);
		sleep_ms(20);
	}
	close(ctl);
	return ret;
}

/* A request about a device of the device mapper; its number in @dev if that is not NULL */
static int dm_ioctl(const struct dm *dm, unsigned long request, uint32_t flags,
		    const struct dm_piece *piece, unsigned int n, dev_t *dev)
{
	struct {
		struct dm_ioctl dm;
		struct {
			struct dm_target_spec spec;
			char args[sizeof(piece->args)];
		} piece[3];
	} arg = {
		.dm = {
			.version = { DM_VERSION_MAJOR },
			.data_size = sizeof(arg),
			.data_start = sizeof(arg.dm),
			.target_count = n,
			.flags = flags,
		},
	};
	int ctl = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	uint64_t at = 0;
	int ret;

	if (ctl < 0)
		return -errno;
	strcpy(arg.dm.name, dm->name);
	for (unsigned int i = 0; i < n && i < 3; i++) {
		struct dm_target_spec *spec = &arg.piece[i].spec;

		spec->sector_start = at;
		spec->length = piece[i].sectors;
		spec->next = sizeof(arg.piece[0]);
		strcpy(spec->target_type, piece[i].target);
		strcpy(arg.piece[i].args, piece[i].args);
		at += spec->length;
	}
	ret = ioctl(ctl, request, &arg) ? -errno : 0;
	close(ctl);
	if (!ret && dev)
		*dev = arg.dm.dev;
	return ret;
}

int dm_open(struct dm *dm, const char *name, uint64_t bytes)
{
	dev_t dev;
	int ret;

	snprintf(dm->name, sizeof(dm->name), "vhltest-%s", name);
	dm->sectors = bytes / 512;
	dm_close(dm);
	snprintf(dm->name, sizeof(dm->name), "vhltest-%s", name);
	ret = dm_ioctl(dm, DM_DEV_CREATE, 0, NULL, 0, &dev);
	if (ret)
		dm->name[0] = 0;
	else
		snprintf(dm->path, sizeof(dm->path), "/dev/dm-%u", minor(dev));
	return ret;
}

int dm_close(struct dm *dm)
{
	int ret = -EBUSY;

	if (!dm->name[0])
		return 0;
	for (unsigned int i = 0; ret == -EBUSY && i < 50; i++) {
		ret = dm_ioctl(dm, DM_DEV_REMOVE, 0, NULL, 0, NULL);
		if (ret == -EBUSY)
			sleep_ms(20);
	}
	dm->name[0] = 0;
	return ret;
}

int dm_load(const struct dm *dm, const struct dm_piece *piece, unsigned int n)
{
	return dm_ioctl(dm, DM_TABLE_LOAD, 0, piece, n, NULL);
}

int dm_switch(const struct dm *dm)
{
	return dm_ioctl(dm, DM_DEV_SUSPEND, DM_SKIP_LOCKFS_FLAG, NULL, 0, NULL);
}

int dm_hang(const struct dm *dm)
{
	return dm_ioctl(dm, DM_DEV_SUSPEND, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG, NULL, 0, NULL);
}

int dm_use(const struct dm *dm, const char *target, const char *fmt, ...)
{
	struct dm_piece piece = { .sectors = dm->sectors, .target = target };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(piece.args, sizeof(piece.args), fmt, ap);
	va_end(ap);
	return dm_load(dm, &piece, 1) ?: dm_switch(dm);
}

static const char *base_name(const char *dev)
{
	return dev + strlen("/dev/");
}

int dev_lazy(const char *dev)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/%s/bdi/min_ratio", base_name(dev));
	return put_file(path, "15");
}

/* A flush of a device that is no queue counts as a write */
long dev_writes(const char *dev)
{
	char path[64];
	long v = -EIO;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", base_name(dev));
	f = fopen(path, "re");
	if (!f)
		return -errno;
	if (fscanf(f, "%*u %*u %*u %*u %ld", &v) != 1)
		v = -EIO;
	fclose(f);
	return v;
}

/* ---- struct store ---- */

/* Where the file is on the device, if it is in one piece: for store_spoil() */
static int store_find(struct store *s, int fd)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extent;
	} arg = {
		.map = {
			.fm_length = s->bytes,
			.fm_flags = FIEMAP_FLAG_SYNC,
			.fm_extent_count = 1,
		},
	};

	if (!s->fs)
		return 0;
	if (ioctl(fd, FS_IOC_FIEMAP, &arg))
		return -errno;
	s->scattered = arg.map.fm_mapped_extents != 1 || arg.extent.fe_length < s->bytes;
	s->at = arg.extent.fe_physical;
	return 0;
}

static int store_mkfile(struct store *s)
{
	int fd = open(s->path, O_RDWR | O_CLOEXEC | (s->fs ? O_CREAT : 0), 0600);
	char *chunk = calloc(1, CHUNK);
	int ret = fd < 0 || !chunk ? -errno : 0;

	if (!ret && s->fs && fallocate(fd, 0, 0, s->bytes))
		ret = -errno;
	for (uint64_t at = 0; !ret && at < s->bytes; at += CHUNK)
		if (pwrite(fd, chunk, CHUNK, at) != CHUNK)
			ret = -EIO;
	if (!ret && fsync(fd))
		ret = -errno;
	if (!ret)
		ret = store_find(s, fd);
	free(chunk);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int store_mount_overlay(struct store *s)
{
	static const char *const dirs[] = { "lower", "upper", "work" };
	char options[160];

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(options, sizeof(options), "%s/%s", s->dir, dirs[i]);
		if (mkdir(options, 0700) && errno != EEXIST)
			return -errno;
	}
	if (mkdir(s->top, 0700) && errno != EEXIST)
		return -errno;
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 s->dir, s->dir, s->dir);
	return mount("overlay", s->top, "overlay", 0, options) ? -errno : 0;
}

static int store_mount(struct store *s)
{
	bool ext4 = !strcmp(s->fs, "ext4");
	char options[128];

	/* seldom writes by itself */
	snprintf(options, sizeof(options), "%s%s%s", ext4 ? "commit=300,noinit_itable" : "",
		 s->options && ext4 ? "," : "", s->options ?: "");
	if (mount(s->slow.path, s->dir, s->fs, MS_NOATIME, options))
		return -errno;
	return s->overlay ? store_mount_overlay(s) : 0;
}

static int store_mkfs(struct store *s)
{
	bool ext4 = !strcmp(s->fs, "ext4");
	char command[256];

	snprintf(command, sizeof(command), "mkfs.%s -q %s %s %s", s->fs,
		 ext4 ? "-F -E nodiscard,lazy_itable_init=1" : "-f -K", s->mkfs ?: "",
		 s->slow.path);
	if (system(command))
		return -ENOPKG;
	if (mkdir(s->dir, 0700) && errno != EEXIST)
		return -errno;
	snprintf(s->path, sizeof(s->path), "%s/disk", s->overlay ? s->top : s->dir);
	snprintf(s->below, sizeof(s->below), "%s/%sdisk", s->dir, s->overlay ? "upper/" : "");
	return store_mount(s);
}

/* What a run left that died: frozen, with a device that hangs, or with requests on their way */
static void store_clean(const char *dir)
{
	struct dm slow = { .name = "vhltest-slow" };
	int fd;

	dm_switch(&slow);
	umount2(TOP, 0);
	fd = open(dir, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ioctl(fd, FITHAW, 0);
		close(fd);
	}
	for (unsigned int i = 0; i < 100 && umount2(dir, 0) && errno == EBUSY; i++)
		sleep_ms(50);
	dm_close(&slow);
}

int store_open(struct store *s)
{
	FILE *f;
	int ret;

	s->mem = memfd_create("store", MFD_CLOEXEC);
	s->base = -1;
	strcpy(s->dir, DIR);
	strcpy(s->top, TOP);
	store_clean(s->dir);
	/* nor because time passes, see dev_lazy() */
	f = fopen(KUPDATE, "re");
	if (!f || !fgets(s->kupdate, sizeof(s->kupdate), f) || fclose(f) || put_file(KUPDATE, "0"))
		return -EIO;
	if (s->mem < 0 || ftruncate(s->mem, STORE_BYTES))
		return -errno;
	s->base = loop_open(s->mem, s->base_path);
	if (s->base < 0)
		return s->base;
	ret = dm_open(&s->bad, "bad", STORE_BYTES) ?:
	      dm_use(&s->bad, "linear", "%s 0", s->base_path) ?:
	      dm_open(&s->slow, "slow", STORE_BYTES) ?: store_delay(s, 0, 0, 0) ?:
	      dev_lazy(s->slow.path);
	strcpy(s->path, s->slow.path);
	strcpy(s->below, s->slow.path);
	if (!ret && s->fs)
		ret = store_mkfs(s);
	return ret ? ret : store_mkfile(s);
}

void store_close(struct store *s)
{
	/* what is still to be written is written at once, and to where it can be */
	if (s->slow.name[0] && s->bad.path[0]) {
		store_spoil(s, false);
		store_delay(s, 0, 0, 0);
	}
	if (s->overlay)
		umount2(s->top, 0);
	if (s->fs)
		umount2(s->dir, 0);
	dm_close(&s->slow);
	dm_close(&s->bad);
	if (s->base >= 0)
		close(s->base);
	if (s->mem >= 0)
		close(s->mem);
	if (s->kupdate[0])
		put_file(KUPDATE, s->kupdate);
}

int store_cool(struct store *s)
{
	return (s->overlay && umount2(s->top, 0)) || umount2(s->dir, 0) ? -errno : store_mount(s);
}

int store_spoil(struct store *s, bool spoil)
{
	uint64_t begin = s->at / 512, end = begin + s->bytes / 512;
	struct dm_piece piece[3] = {
		{ begin, "linear" }, { end - begin, "error" },
		{ s->bad.sectors - end, "linear" },
	};
	unsigned int first = begin ? 0 : 1;

	if (spoil && s->scattered)
		return -EFBIG;
	if (!spoil)
		return dm_use(&s->bad, "linear", "%s 0", s->base_path);
	snprintf(piece[0].args, sizeof(piece[0].args), "%s 0", s->base_path);
	snprintf(piece[2].args, sizeof(piece[2].args), "%s %llu", s->base_path,
		 (unsigned long long)end);
	return dm_load(&s->bad, piece + first, 3 - first) ?: dm_switch(&s->bad);
}

int store_delay(struct store *s, unsigned int read, unsigned int write, unsigned int flush)
{
	const char *dev = s->bad.path;

	if (!read && !write && !flush)
		return dm_use(&s->slow, "linear", "%s 0", dev);
	return dm_use(&s->slow, "delay", "%s 0 %u %s 0 %u %s 0 %u", dev, read, dev, write, dev,
		      flush);
}

bool store_wait_held(struct store *s, enum store_op op)
{
	struct {
		struct dm_ioctl dm;
		struct dm_target_spec spec;
		char text[64];
	} arg;
	int64_t end = now_ms() + 10000;
	int ctl = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	unsigned int held[3] = { 0 };

	while (ctl >= 0 && now_ms() < end) {
		memset(&arg, 0, sizeof(arg));
		arg.dm.version[0] = DM_VERSION_MAJOR;
		arg.dm.data_size = sizeof(arg);
		arg.dm.data_start = sizeof(arg.dm);
		strcpy(arg.dm.name, s->slow.name);
		if (ioctl(ctl, DM_TABLE_STATUS, &arg) ||
		    sscanf(arg.text, "%u %u %u", &held[0], &held[1], &held[2]) != 3 || held[op])
			break;
		sleep_ms(5);
	}
	close(ctl);
	return held[op];
}
