/* SPDX-License-Identifier: GPL-2.0 */
/* What a disk image is on: memory, a device with blocks of some size, or a file system on it */
#ifndef ABI_IMAGE_H
#define ABI_IMAGE_H

#include <stdbool.h>

/**
 * struct image - a disk image, or a device in place of one
 * @fs: file system of the image, "" for a file in memory, NULL for the device itself
 * @block: bytes of a block of the device
 * @usec: what a request of the device takes
 * @direct: for O_DIRECT
 * @dev: path of the device
 * @path: of the image, which is not there yet if it is a file
 */
struct image {
	const char *fs;
	unsigned int block, usec;
	bool direct;
	char dev[32], path[64];
};

/* image_open() - 0, -ENOENT where the kernel or mkfs is missing, or -errno.  One at a time */
int image_open(struct image *s);

/* image_close() - after all files are closed */
void image_close(struct image *s);

#endif /* ABI_IMAGE_H */
