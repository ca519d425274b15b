// SPDX-License-Identifier: GPL-2.0
/*
 * The limit of locked memory. The modules keep the rings of running queues in memory and charge
 * them to the process that they belong to, when the guest's driver starts: QEMU cannot say much
 * then, and the guest's disk would not answer. So it is looked at before.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/securebits.h>
#include <linux/virtio_ring.h>

#include "vhostlite.h"

/* The longest ring that QEMU shows: the driver decides how much of it to use */
#define RING_ENTRIES	1024

/* of the first user namespace, whose capabilities count here */
#define INIT_USER_NS	4026531837UL

/* The most pages that @size bytes are in, which begin at a multiple of @align */
static uint64_t pages_of(uint64_t size, uint64_t align, uint64_t page)
{
	return 1 + (size - align + page - 1) / page;
}

/* Descriptor table, available and used ring, with event fields; areas do not share pages */
static uint64_t ring_bytes(void)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), n = RING_ENTRIES, pages;

	pages = pages_of(n * sizeof(struct vring_desc), VRING_DESC_ALIGN_SIZE, page) +
		pages_of(sizeof(struct vring_avail) + (n + 1) * sizeof(__virtio16),
			 VRING_AVAIL_ALIGN_SIZE, page) +
		pages_of(sizeof(struct vring_used) + n * sizeof(struct vring_used_elem) +
			 sizeof(__virtio16), VRING_USED_ALIGN_SIZE, page);
	return pages * page;
}

/* Will the command have CAP_IPC_LOCK, for which there is no limit? */
static bool is_exempt(bool changes_user)
{
	struct stat ns;

	if (changes_user || stat("/proc/self/ns/user", &ns) || ns.st_ino != INIT_USER_NS)
		return false;
	if (geteuid() && getuid())
		return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_IPC_LOCK, 0, 0) == 1;
	return !(prctl(PR_GET_SECUREBITS) & SECBIT_NOROOT) &&
	       prctl(PR_CAPBSET_READ, CAP_IPC_LOCK) == 1;
}

void raise_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		die(EXIT_FAILED, "RLIMIT_MEMLOCK: %s", strerror(errno));
}

void check_memlock(unsigned int queues, bool changes_user)
{
	uint64_t need = queues * ring_bytes(), kib = need / 1024;
	struct rlimit limit;

	if (is_exempt(changes_user) || getrlimit(RLIMIT_MEMLOCK, &limit) ||
	    limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= need)
		return;
	if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= need) {
		raise_memlock();
		return;
	}
	die(EXIT_FAILED, "the rings of %u queues need up to %" PRIu64 " KiB of locked memory, and the "
	    "limit (RLIMIT_MEMLOCK) is %" PRIu64 " KiB; raise it as root, with: ulimit -l %" PRIu64
	    ", LimitMEMLOCK=%" PRIu64 "K in a systemd unit, memlock in /etc/security/limits.conf, "
	    "or <memtune><hard_limit> in libvirt", queues, kib, (uint64_t)limit.rlim_max / 1024,
	    kib, kib);
}
