// SPDX-License-Identifier: GPL-2.0
/*
 * What a disk's file begins and ends with: the host kernel serves its bytes as they are, so a file
 * in a format of QEMU's, or one that is still packed, would be shown as nonsense and destroyed by
 * the first write.
 *
 * What a guest itself writes to the start of a whole disk (file systems, LUKS, LVM) is not here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "vhostlite.h"

#define TAIL	512	/* bytes at the end that are looked at */

struct format {
	const char *what;	/* "a … image" */
	const char *qemu;	/* its name for qemu-img -f, or */
	const char *unpack;	/* what unpacks it */
	bool at_end;		/* @offset counts from TAIL bytes before the end */
	unsigned int offset;
	unsigned int len;
	const char *magic;
};

#define MAGIC(s)	.len = sizeof(s) - 1, .magic = (s)

static const struct format formats[] = {
	{ "a qcow image", "qcow", MAGIC("QFI\xfb\0\0\0\1") },
	{ "a qcow2 image", "qcow2", MAGIC("QFI\xfb") },
	{ "a QED image", "qed", MAGIC("QED\0") },
	{ "a VMDK image", "vmdk", MAGIC("KDMV") },
	{ "a VMDK image", "vmdk", MAGIC("COWD") },
	{ "the description of a VMDK image", "vmdk", MAGIC("# Disk DescriptorFile") },
	{ "a VDI image", "vdi", .offset = 0x40, MAGIC("\x7f\x10\xda\xbe") },
	{ "a VHDX image", "vhdx", MAGIC("vhdxfile") },
	{ "a VHD image", "vpc", MAGIC("conectix") },
	{ "a VHD image of fixed size", "vpc", .at_end = true, MAGIC("conectix") },
	/* of Virtual PC before 2004 */
	{ "a VHD image of fixed size", "vpc", .at_end = true, .offset = 1, MAGIC("conectix") },
	{ "a Parallels image", "parallels", MAGIC("WithoutFreeSpace") },
	{ "a Parallels image", "parallels", MAGIC("WithouFreSpacExt") },
	{ "a Bochs image", "bochs", MAGIC("Bochs Virtual HD Image") },
	{ "a cloop image", "cloop", MAGIC("#!/bin/sh\n#V2.0 Format\n") },
	{ "a DMG image", "dmg", .at_end = true, MAGIC("koly") },
	{ "an Android sparse image", .unpack = "simg2img", MAGIC("\x3a\xff\x26\xed\1\0") },
	{ "gzip data", .unpack = "gzip -d", MAGIC("\x1f\x8b\x08") },
	{ "bzip2 data", .unpack = "bzip2 -d", .offset = 4, MAGIC("\x31\x41\x59\x26\x53\x59") },
	{ "xz data", .unpack = "xz -d", MAGIC("\xfd""7zXZ\0") },
	{ "zstd data", .unpack = "zstd -d", MAGIC("\x28\xb5\x2f\xfd") },
	{ "lz4 data", .unpack = "lz4 -d", MAGIC("\x04\x22\x4d\x18") },
	{ "a zip archive", .unpack = "unzip", MAGIC("PK\3\4") },
	{ "a 7z archive", .unpack = "7z x", MAGIC("7z\xbc\xaf\x27\x1c") },
	{ "a tar archive (an OVA is one)", .unpack = "tar -xf", .offset = 257, MAGIC("ustar") },
};

static bool reads_as(int fd, off_t at, const void *want, size_t len)
{
	char buf[64];

	return at >= 0 && len <= sizeof(buf) && pread(fd, buf, len, at) == (ssize_t)len &&
	       !memcmp(buf, want, len);
}

static void check_magic(int fd, off_t size, const char *file)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		const struct format *f = &formats[i];
		char *name = double_commas(file);

		if (!reads_as(fd, f->offset + (f->at_end ? size - TAIL : 0), f->magic, f->len))
			continue;
		if (f->qemu)
			die(EXIT_FAILED, "%s: %s, and the host kernel serves raw ones; make one "
			    "with: qemu-img convert -f %s -O raw FILE RAWFILE (if these bytes are "
			    "the disk's own: --disk %s,format=raw)", file, f->what, f->qemu, name);
		die(EXIT_FAILED, "%s: %s, not a raw image; unpack it with: %s (if these bytes are "
		    "the disk's own: --disk %s,format=raw)", file, f->what, f->unpack, name);
	}
}

/* A GPT is found by its place in blocks: with those of another size it is not there */
static void check_gpt(int fd, const struct disk_opts *disk)
{
	static const char magic[] = "EFI PART";
	unsigned int shown = disk->blocksize ? disk->blocksize : DEFAULT_BLOCKSIZE;

	if (reads_as(fd, shown, magic, sizeof(magic) - 1))
		return;
	for (unsigned int made = 512; made <= 4096; made *= 2)
		if (reads_as(fd, made, magic, sizeof(magic) - 1))
			say("note: %s: its partition table was made on blocks of %u bytes, the "
			    "guest will see %u and no partitions; blocksize=%u shows them",
			    disk->file, made, shown, made);
}

void check_image(const struct disk_opts *disk)
{
	int fd = open(disk->file, O_RDONLY | O_CLOEXEC);

	/* who cannot read it hears so when it is attached */
	if (fd < 0)
		return;
	if (!disk->raw)
		check_magic(fd, lseek(fd, 0, SEEK_END), disk->file);
	check_gpt(fd, disk);
	close(fd);
}
