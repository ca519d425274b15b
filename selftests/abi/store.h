/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Storage that a test can slow down, spoil and look into: loop devices on memory, devices of the
 * device mapper whose table changes under way, file systems on them.
 */
#ifndef ABI_STORE_H
#define ABI_STORE_H

#include <stdbool.h>
#include <stdint.h>

/* loop_open() - a loop device on a file, buffered, that goes when it is closed.  -errno */
int loop_open(int file, char path[32]);

/* A device of the device mapper; all zero is none */
struct dm {
	char name[32];
	char path[32];
	uint64_t sectors;
};

/* A piece of its table: @args as in the target's documentation */
struct dm_piece {
	uint64_t sectors;
	const char *target;
	char args[96];
};

/* dm_open() - make one without a table; one of that name, of a run that died, goes first.  -errno */
int dm_open(struct dm *dm, const char *name, uint64_t bytes);

/* dm_close() - waits for others that look at it because it is new, or was closed */
int dm_close(struct dm *dm);

/* dm_load() - a table for dm_switch(), whose pieces make up the device */
int dm_load(const struct dm *dm, const struct dm_piece *piece, unsigned int n);

/* dm_switch() - use it.  Nothing that waits in a cache is written because of this */
int dm_switch(const struct dm *dm);

/* dm_hang() - what is sent to it from now on waits until dm_switch(), then goes on at once */
int dm_hang(const struct dm *dm);

/* dm_use() - both, with one piece */
int dm_use(const struct dm *dm, const char *target, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * dev_lazy() - a device without writes so far has no share of the memory for what is dirty, so all
 * is written to it at once: here nothing is to be written that the test did not ask for
 */
int dev_lazy(const char *dev);

/* dev_writes() - writes and flushes that a device did; -errno */
long dev_writes(const char *dev);

/**
 * struct store - memory, a device that loses what is written, one that is slow, and a file
 * @fs: "ext4", "xfs", or NULL: the file is the device itself
 * @options: of the mount and of mkfs, may be NULL
 * @overlay: with an overlay on top of it
 * @bytes: of the file; all of them are written
 * @scattered: it is not in one piece; files of a few megabytes are
 * @mem: memory that everything ends up in
 * @base: loop device on it
 * @bad: on @base, see store_spoil()
 * @slow: on @bad, see store_delay()
 * @dir: of the mount
 * @top: of that of the overlay
 * @path: of the file
 * @below: the same; with an overlay, of the one below
 * @at: where the file begins in @mem
 */
struct store {
	const char *fs, *mkfs, *options;
	bool overlay;
	uint64_t bytes;
	int mem, base;
	char base_path[32];
	struct dm bad, slow;
	char dir[32], top[32], path[64], below[64];
	uint64_t at;
	bool scattered;
	char kupdate[16];
};

/* store_open() - by @fs, @mkfs, @options, @overlay and @bytes.  store_close() after all files are closed */
int store_open(struct store *s);
void store_close(struct store *s);

/* store_cool() - mount it anew, so that nothing is cached.  All files are closed */
int store_cool(struct store *s);

/* store_spoil() - what is written to the file's blocks fails (or does not, any more) */
int store_spoil(struct store *s, bool spoil);

/* store_delay() - reads, writes and flushes take as many milliseconds longer */
int store_delay(struct store *s, unsigned int read, unsigned int write, unsigned int flush);

enum store_op {
	STORE_READ,
	STORE_WRITE,
	STORE_FLUSH,
};

/* store_wait_held() - wait until some of these are there and being delayed.  False after 10 s */
bool store_wait_held(struct store *s, enum store_op op);

#endif /* ABI_STORE_H */
