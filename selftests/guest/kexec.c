// SPDX-License-Identifier: GPL-2.0
/*
 * kexec: another kernel without a reset of the machine.
 *
 *   kexec load KERNEL INITRAMFS COMMAND-LINE    gets it ready
 *   kexec crash KERNEL INITRAMFS COMMAND-LINE   for when this one panics, in what crashkernel= has kept free
 *   kexec go                                    starts the one that was loaded
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "kexec: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long flags;
	int kernel, initramfs;

	if (argc == 2 && !strcmp(argv[1], "go")) {
		syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
		return fail(argv[1]);
	}
	if (argc != 5 || (strcmp(argv[1], "load") && strcmp(argv[1], "crash"))) {
		fprintf(stderr, "usage: kexec load|crash KERNEL INITRAMFS COMMAND-LINE\n       kexec go\n");
		return 2;
	}
	flags = strcmp(argv[1], "crash") ? 0 : KEXEC_FILE_ON_CRASH;
	kernel = open(argv[2], O_RDONLY);
	if (kernel < 0)
		return fail(argv[2]);
	initramfs = open(argv[3], O_RDONLY);
	if (initramfs < 0)
		return fail(argv[3]);
	if (syscall(SYS_kexec_file_load, kernel, initramfs, strlen(argv[4]) + 1, argv[4], flags))
		return fail(argv[1]);
	return 0;
}
