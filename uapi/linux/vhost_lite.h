/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * vhost-lite: what <linux/vhost.h> does not have.
 *
 * Nodes and dialects
 * ------------------
 *   /dev/vhost-netlite   the vhost dialect, VHOST_NET_SET_BACKEND; queue 0 carries packets to
 *                        the guest (receiveq), queue 1 packets from it (transmitq)
 *   /dev/vhost-blklite   the vhost dialect, VHOST_BLK_SET_BACKEND
 *   /dev/vdpa-blklite    the vhost-vDPA dialect, VHOST_BLK_SET_BACKEND
 *   /dev/vhost-lite/NAME either, with a disk attached: see VHL_DISK_CREATE
 *   /dev/vhost-lite/control
 *                        none: makes those
 *
 * Every open file is a device of its own; its close stops and frees everything.  So a VMM has to be
 * given the file that a disk was attached to: one that opens the path, or /proc/self/fd/N, gets a
 * device without a disk, on which features and configuration fail with ENXIO.  Nodes are
 * created root:root 0600.  All integers are in the caller's byte order; ring contents are
 * little-endian whatever VIRTIO_F_VERSION_1 says.
 *
 * All ioctls return 0, or -1 with errno.  Errors that any of them can give:
 *   EPERM    the device has no owner yet (VHOST_SET_OWNER), or the owner is a process with
 *            another address space.  Exempt are GET/SET_FEATURES, GET/SET_FEATURES_ARRAY,
 *            GET/SET_BACKEND_FEATURES, GET/SET_FORK_FROM_OWNER and, because management attaches
 *            a disk before it hands the file to the VMM, VHOST_BLK_SET_BACKEND and
 *            VHL_BLK_SET_OPTS while there is no owner; in the vhost-vDPA dialect also the calls
 *            that only report and VHOST_VDPA_SET_STATUS
 *   EFAULT   the argument does not point to readable (writable) memory
 *   ENOTTY   this node does not know the request
 * All may sleep, and are serialised per device.  A request that fails has changed nothing, but for
 * what is said of VHOST_IOTLB_BATCH_END: queues that run go on as before.  A process that
 * waits for another request of the device can be killed; one that waits for requests in flight of
 * a disk cannot.
 *
 * Requests of <linux/vhost.h>, both dialects unless marked
 * --------------------------------------------------------
 * VHOST_GET_FEATURES        [vDPA: ENXIO no disk attached]
 * VHOST_SET_FEATURES        EOPNOTSUPP a bit that was not offered; EBUSY a queue runs [vDPA:
 *                           after FEATURES_OK; ENXIO no disk attached].  Clears bits 64 and up.
 *                           VHOST_F_LOG_ALL alone may change while queues run: EFAULT there is no
 *                           bitmap (VHOST_SET_LOG_BASE), which goes when the bit does; ENOMEM.
 *                           EOPNOTSUPP that bit and VIRTIO_F_ACCESS_PLATFORM, of a disk.
 *                           With VIRTIO_F_ACCESS_PLATFORM, while no queue runs, translations are
 *                           forgotten
 * VHOST_GET_FEATURES_ARRAY, VHOST_SET_FEATURES_ARRAY
 *                           [vhost] the same for any number of words of 64 bits, which stands in
 *                           front of them (struct vhost_features_array of Linux 6.17; the
 *                           requests are known on older kernels, too).  GET fills words that
 *                           nothing is known of with zero, SET takes words that are not given
 *                           for zero.  E2BIG more than 64 words; else as VHOST_SET_FEATURES
 * VHOST_GET_BACKEND_FEATURES, VHOST_SET_BACKEND_FEATURES
 *                           EOPNOTSUPP a bit that was not offered
 * VHOST_SET_OWNER           makes the device's first thread, which is like the caller (affinity,
 *                           policy, nice, memory policy, cgroups), as are all that follow.  EBUSY
 *                           has an owner that lives [vDPA: another one; the same again is a
 *                           no-op]; EAGAIN no thread can be made (RLIMIT_NPROC, cgroup); ENOMEM.
 *                           One that is dead is reset first, as it could not any more
 * VHOST_RESET_OWNER         stops all queues, forgets everything and lets go of what is
 *                           attached to queues, then the device can be owned anew, by any process
 *                           that has the file.  A disk that was attached while there was no owner
 *                           stays [vDPA: the disk]
 * VHOST_SET_MEM_TABLE       [vhost] replaced at once, also while queues run.  EOPNOTSUPP
 *                           padding is not 0; E2BIG more regions than the module parameter
 *                           max_regions; EINVAL a region that is empty, wraps around or is not
 *                           user memory; EEXIST regions overlap; ENOMEM; while there is a bitmap
 *                           of dirty memory, also the errors of VHOST_SET_LOG_BASE, but one that
 *                           cannot be pinned any more is forgotten where no queue runs
 * VHOST_SET_VRING_NUM       EINVAL not in 1..32768, or no power of two unless the features that were
 *                           set last have VIRTIO_F_RING_PACKED; EBUSY the queue runs
 * VHOST_SET_VRING_ADDR      EOPNOTSUPP flags other than VHOST_VRING_F_LOG [vDPA: any flags];
 *                           EINVAL an area misaligned (16, 2 and 4 bytes: descriptor table, avail,
 *                           used; packed: 16, 4 and 4: descriptors, event suppression of driver
 *                           and device) or [vhost] not in user memory; with the flag
 *                           log_guest_addr misaligned (4), or the device's area wraps around there
 *                           or, while the queue runs, has no bits in the bitmap.  While a queue
 *                           runs flag and log_guest_addr count at once, and are those of the ring
 *                           in use; new addresses are kept for its next start [vDPA: EINVAL].
 *                           With VIRTIO_F_ACCESS_PLATFORM log_guest_addr is not looked at
 * VHOST_SET_VRING_BASE      EINVAL above 65535, unless rings are packed: then the next available
 *                           descriptor in the lower 16 bits and the next used one in the upper
 *                           16, each an index with the wrap counter in its bit 15; 0x00008000 is
 *                           taken for 0x80008000, a new ring; EBUSY the queue runs
 * VHOST_GET_VRING_BASE      where a start would go on; of a queue that runs where it is at this
 *                           moment, and what it has in flight is not accounted for.  Never fails
 *                           for the owner and a queue that exists
 * VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
 * [vDPA, and a named disk in either] VHOST_VDPA_SET_CONFIG_CALL
 *                           fd or -1 for none; may change while the queue runs.  One that is set
 *                           when there is something to tell already is signalled at once: a
 *                           call if the driver may be waiting for what is in the used ring (as at
 *                           a start of the queue), an error if the queue is broken, a config
 *                           call if the config space has changed since open or the status has
 *                           NEEDS_RESET; but a call without VIRTIO_F_EVENT_IDX, or a config
 *                           call, is not if it comes back after one other and there was nothing
 *                           new meanwhile.  EBADF no such file; EINVAL not an eventfd
 * VHOST_SET_LOG_BASE        [vhost] address of the bitmap of dirty memory, 0 for none, also
 *                           while queues run.  EFAULT it is not writable user memory up to the
 *                           bits of the end of guest memory, or is none, or has none of a used
 *                           ring, while a queue that runs logs; EOPNOTSUPP it cannot be pinned;
 *                           E2BIG it would be larger than 4 GiB; ENOMEM also: over RLIMIT_MEMLOCK
 *                           (the kernel's log has the numbers); EINTR killed; ENOTTY the node offers
 *                           no VHOST_F_LOG_ALL
 * VHOST_SET_LOG_FD          [vhost] eventfd that is signalled when bits were set, -1 for none.
 *                           EBADF no such file; EINVAL not an eventfd; ENOTTY as above
 * VHOST_SET_VRING_ENDIAN    [vhost] EINVAL other than VHOST_VRING_LITTLE_ENDIAN; EBUSY runs
 * VHOST_GET_VRING_ENDIAN    [vhost]
 * VHOST_SET_VRING_BUSYLOOP_TIMEOUT, VHOST_GET_VRING_BUSYLOOP_TIMEOUT
 *                           [vhost] microseconds the worker polls before it sleeps; 0 returns
 *                           to the self-tuning poll.  EINVAL above 1000000
 * VHOST_NEW_WORKER          [vhost] makes a thread and tells its number; at most 16.  ENOSPC there are
 *                           as many; EAGAIN no thread can be made (RLIMIT_NPROC, cgroup); ENOMEM;
 *                           ESRCH, EINTR the owner, or the caller, is being killed
 * VHOST_FREE_WORKER         [vhost] ends one that no queue is with.  ENODEV no such worker; EBUSY a
 *                           queue is with it, or it is not one of VHOST_NEW_WORKER
 * VHOST_ATTACH_VRING_WORKER [vhost] from now on the queue is with that worker and no other, whether it
 *                           runs or not, until VHOST_RESET_OWNER.  0 is the first one.  A queue of
 *                           which this is not said is with the first one, or one of its own, as
 *                           its work demands.  ENODEV no such worker
 * VHOST_GET_VRING_WORKER    [vhost] the worker that the queue is with at the moment
 * VHOST_SET_FORK_FROM_OWNER [vhost] whose threads serve the device: VHOST_FORK_OWNER_TASK the
 *                           owner's, which is the default where the kernel has such threads
 *                           (Linux 6.10 and later), VHOST_FORK_OWNER_KTHREAD the kernel's.
 *                           RESET_OWNER returns to the default.  Legal without an owner only:
 *                           EBUSY there is one; EINVAL another value; EOPNOTSUPP the kernel has none
 *                           of the owner's
 * VHOST_GET_FORK_FROM_OWNER [vhost] which it is
 * VHL_SET_BASES             [vhost] where it is stored at which place queues stop, see below
 * All that name a queue:    ENOBUFS [vDPA: EINVAL] no such queue
 *
 * VHOST_NET_SET_BACKEND     fd of a TAP or macvtap queue, or of a packet socket (AF_PACKET,
 *                           SOCK_RAW, bound to an interface), starts the queue, -1 stops it (and
 *                           never fails).  A queue that runs goes over to the file; that is no
 *                           start: its ring stays where it is.  Where it is refused, what was
 *                           attached stays so and runs on.  EBADF no such file; ENOTSOCK none
 *                           of these, also sockets of another family or type; EINVAL ring size or
 *                           addresses are missing, or the file is not attached (the socket not
 *                           bound) to an interface; EFAULT a ring is not in the owner's memory, or
 *                           the queue is to log and there is no bitmap, or none with bits of its
 *                           ring; EOPNOTSUPP a ring is in memory that cannot be pinned
 *                           (a file mapping of a disk file system, from Linux 6.5 on); ENOMEM
 *                           also: over RLIMIT_MEMLOCK (the kernel's log has the numbers); EAGAIN
 *                           no thread can be made (RLIMIT_NPROC, cgroup)
 *
 * Requests of the vhost-vDPA dialect alone, and messages
 * ------------------------------------------------------
 * VHOST_VDPA_GET_DEVICE_ID, GET_CONFIG_SIZE, GET_VQS_COUNT, GET_IOVA_RANGE
 * VHOST_VDPA_GET_STATUS     what was set, and VIRTIO_CONFIG_S_NEEDS_RESET from when a queue breaks
 *                           until the status is set to 0
 * VHOST_VDPA_GET_VRING_NUM  1024; writes 16 bits
 * VHOST_VDPA_GET_CONFIG     EINVAL len is 0; E2BIG off + len is past the end; ENXIO no disk
 *                           attached
 * VHOST_VDPA_SET_CONFIG     as GET; EOPNOTSUPP would change anything but the mode of a disk's cache
 *                           (writeback) where the driver took VIRTIO_BLK_F_CONFIG_WCE, EINVAL
 *                           another mode than 0 and 1; then nothing is changed
 * VHOST_VDPA_SET_STATUS     0 stops the queues and forgets features, rings and memory; eventfds and
 *                           the disk stay.  EINVAL would clear a bit; NEEDS_RESET is the
 *                           device's, and not looked at.  DRIVER_OK starts the queues
 *                           that are enabled and have addresses, or none, before any is
 *                           served: EPERM not the owner, and the errors of a start
 * VHOST_VDPA_SET_VRING_ENABLE
 *                           1 starts the queue if the device is at DRIVER_OK and not suspended, 0
 *                           stops it.  EINVAL another value; errors of a start
 * VHOST_VDPA_SUSPEND        stops the queues, waits for what is in flight; never fails
 * VHOST_VDPA_RESUME         starts them where they stopped, or none.  Errors of a start
 * write()                   one struct vhost_msg or vhost_msg_v2: VHOST_IOTLB_UPDATE,
 *                           INVALIDATE, BATCH_BEGIN, BATCH_END.  EINVAL another length or type, an
 *                           empty range, one that wraps around, is not user memory or has no
 *                           permission; EEXIST overlaps; ENOSPC more than max_regions; ENOMEM.
 *                           A queue whose ring was unmapped, and is mapped again, but which does
 *                           not start then, signals its error eventfd.  The UPDATE that
 *                           completed its ring fails with the error of the start, and maps
 *                           nothing; BATCH_END fails with it, too, but the batch has ended and
 *                           what it has mapped is.  Each UPDATE and BATCH_END to come tries again
 * write() [vhost]           likewise, with VIRTIO_F_ACCESS_PLATFORM acknowledged: EINVAL without.
 *                           What is mapped already is no error, and gives way to what is
 *                           mapped in its stead; with max_regions of them the oldest is
 *                           forgotten.  An UPDATE gives queues a turn that wait for an address in
 *                           it; one that fails with the error of a start has mapped it all the same
 * read() [vhost]            the next question: a VHOST_IOTLB_MISS with the address and, as perm, what
 *                           it is needed for, in a struct vhost_msg_v2 or, without
 *                           VHOST_BACKEND_F_IOTLB_MSG_V2, vhost_msg.  A queue has one at a time, and
 *                           has no turns until an UPDATE answers it.  Waits for one, or EAGAIN with
 *                           O_NONBLOCK; EINVAL less room than a message has, or no
 *                           VIRTIO_F_ACCESS_PLATFORM; EINTR
 * poll() [vhost]            EPOLLIN: there is a question
 * Errors of a start:        ENXIO no disk attached; EINVAL ring size missing; EFAULT a ring is not
 *                           mapped for its direction, not in the owner's memory, or mapped with
 *                           another offset in its page; EOPNOTSUPP, ENOMEM, EAGAIN as
 *                           VHOST_NET_SET_BACKEND
 */
#ifndef _UAPI_LINUX_VHOST_LITE_H
#define _UAPI_LINUX_VHOST_LITE_H

#include <linux/types.h>
#include <linux/vhost.h>

/*
 * VHL_NET_MAX_FAULTS - a packet to the guest, or a frame from it, whose copy faults in the owner's
 * memory is dropped; the queue breaks with so many in a row
 */
#define VHL_NET_MAX_FAULTS	64

/**
 * VHL_SET_BASES - have the bases of queues stored in memory when they stop
 *
 * Argument: __u64, the address of a __u32 for each queue that the node has (/dev/vhost-netlite 2, disks
 * VHL_BLK_MAX_QUEUES) in one page, or 0 for nowhere.  The page is pinned, and counts as locked memory.
 * In the vhost dialect only.
 *
 * Whenever a queue stops, its base (VHOST_SET_VRING_BASE) is stored there, last of all that it does:
 * what was taken up to there is used.  So it is also when the file is closed because the owner was
 * killed.  If the threads are the kernel's (VHOST_FORK_OWNER_KTHREAD), requests in flight are done
 * all the same then, and a queue that is started with that base, by another process that has the
 * same memory, goes on as if nothing had been; if they are the owner's, requests may fail.
 *
 * VHOST_RESET_OWNER stops the queues, then forgets it.
 *
 * EINVAL  not aligned to 4 bytes, or in more than one page
 * EFAULT  not writable memory of the owner
 * EOPNOTSUPP it cannot be pinned
 * ENOMEM  also: over RLIMIT_MEMLOCK
 */
#define VHL_SET_BASES		_IOW(VHOST_VIRTIO, 0x57, __u64)

/**
 * VHOST_BLK_SET_BACKEND - attach a regular file or a block device, or detach it
 *
 * Argument: struct vhost_vring_file { .index, .fd }.  <linux/vhost.h> has no numbers of 0x50..0x5f.
 * Ours are 0x50..0x54, of disks, 0x57, of the vhost dialect, 0x58, of selftests/nullback, and
 * 0x59..0x5f, of the control node.
 *
 * /dev/vhost-blklite: fd starts queue @index on that file, -1 stops it and never fails.  The
 * queues of a device share one disk: EBUSY when another file is in use by another running queue.
 * A queue that runs goes over to the file when its requests in flight are done; that is no start:
 * its ring stays where it is.  The file that running queues use, opened once more or not, is used
 * as it was first opened.  Without an owner the file is attached and nothing starts.
 *
 * /dev/vdpa-blklite: attaches the disk of the whole device, @index must be 0.  The queues start
 * with DRIVER_OK.  EBUSY while the driver is at DRIVER_OK.
 *
 * The file decides how it is used: opened read-only gives a read-only disk, O_DIRECT bypasses
 * the page cache.  What it is on decides whether discards and secure erase are offered; to find
 * out, a hole is punched far behind the end of a file, where there is nothing.
 *
 * The driver sees blocks of 512 bytes, or of what VHL_BLK_SET_OPTS asks for, whatever the storage
 * has.  A file whose size is no multiple of that has its last block all the same: behind its end it
 * reads as zero, and it grows to what is written there.  A block device cannot grow: what it has
 * behind its last whole block is not shown.
 *
 * A node below /dev/vhost-lite has a disk already, see VHL_DISK_CREATE.  In the vhost dialect fd is
 * VHL_BACKEND_OWN there, or any fd of that same file.
 *
 * EBADF   no such file, or opened with O_PATH, or write-only
 * EBUSY   also: another file than that of the named disk, or [vDPA] any
 * EINVAL  neither a regular file nor a block device; opened with O_APPEND for writing; an empty
 *         file, or a block device smaller than one block; opened with O_DIRECT, and its storage has
 *         blocks of more than 65536 bytes; [vDPA] @index is not 0; [vhost] ring size or addresses
 *         are missing
 * ENOBUFS [vhost] no such queue
 * EFAULT, EOPNOTSUPP, ENOMEM, EAGAIN
 *         [vhost] as VHOST_NET_SET_BACKEND
 */
#define VHOST_BLK_SET_BACKEND	_IOW(VHOST_VIRTIO, 0x50, struct vhost_vring_file)

/* VHL_BACKEND_OWN - instead of an fd: what the node has; start the queue */
#define VHL_BACKEND_OWN		(-2)

/* VHL_BLK_ID_BYTES - length of the serial number, VIRTIO_BLK_ID_BYTES (virtio 1.2, 5.2.6) */
#define VHL_BLK_ID_BYTES	20

/* VHL_BLK_MAX_QUEUES - queues of one disk */
#define VHL_BLK_MAX_QUEUES	16

/*
 * VHL_BLK_OPT_KEEP - what the disk has allocated stays so: no discards are offered, and zeroes
 * deallocate nothing
 */
#define VHL_BLK_OPT_KEEP	(1U << 0)

/**
 * struct vhl_blk_opts - what a disk cannot be asked for
 * @num_queues: request queues to show to the driver, 1..VHL_BLK_MAX_QUEUES; 0 means 1, or all of
 *              them in the vhost dialect, where the VMM shows them
 * @block_size: logical block size in bytes, a power of two of 512..4096, smaller or larger than
 *              that of the storage; 0 is 512
 * @serial:     what GET_ID answers, padded with zero bytes; all zero makes one from the device
 *              number and inode of the disk
 * @flags:      VHL_BLK_OPT_*
 * @reserved:   must be zero
 */
struct vhl_blk_opts {
	__u32 num_queues;
	__u32 block_size;
	__u8  serial[VHL_BLK_ID_BYTES];
	__u32 flags;
	__u32 reserved[8];
};

/**
 * VHL_BLK_SET_OPTS - set the options of a disk
 *
 * Before a file is attached, so that the file can be checked against them.
 *
 * EBUSY   a file is attached
 * EINVAL  a value is out of range, a flag is not known, or @reserved is not zero
 */
#define VHL_BLK_SET_OPTS	_IOW(VHOST_VIRTIO, 0x51, struct vhl_blk_opts)

/**
 * VHL_BLK_RESIZE - take over the size of the attached file or block device
 *
 * Legal at any time for every process that has the node open, owner or not: it only reads the size
 * anew.  If the size in blocks changed, requests are checked against the new one from now on, and
 * [vDPA] the driver is told by a configuration change notification (VHOST_VDPA_SET_CONFIG_CALL).
 * A disk may become smaller, too; requests in flight beyond its new end are not recalled.
 *
 * ENXIO   no file is attached
 * and what a file system gives when it cannot tell the size of a file
 */
#define VHL_BLK_RESIZE		_IO(VHOST_VIRTIO, 0x52)

/* Index of a limit: of reads and writes together, of reads, of writes */
#define VHL_BLK_LIMIT_TOTAL	0
#define VHL_BLK_LIMIT_READ	1
#define VHL_BLK_LIMIT_WRITE	2

/**
 * struct vhl_blk_rate - a limit
 * @avg:    units a second in the long run, 1..10^15; 0: no limit
 * @max:    units a second as long as a burst lasts, @avg..10^15; 0: no bursts
 * @length: seconds that a burst can last at @max, 0 means 1; @max times @length is 10^15 at most.
 *          0 without @max
 *
 * A burst is what was saved up: there can be one after the limit was set, and again when for
 * @length * (@max / @avg - 1) seconds there was nothing.  Apart from that, what a rate has for 50 ms may
 * go at once.
 */
struct vhl_blk_rate {
	__u64 avg;
	__u64 max;
	__u64 length;
};

/**
 * struct vhl_blk_limits - limits of a disk, for all of its queues together
 * @iops:      requests, by VHL_BLK_LIMIT_*: all that are set hold
 * @bps:       bytes that are read and written, likewise
 * @iops_size: for @iops a request with more bytes than that counts as so many as it is times as
 *             large; 0: each one counts as one; up to 10^15
 * @reserved:  must be zero
 *
 * What counts as a read or a write: IN and OUT, with their bytes; WRITE_ZEROES as a write with the bytes
 * of its range, which are not looked at for @iops; DISCARD and SECURE_ERASE as a write with none.  FLUSH and
 * GET_ID do not count, nor does what is answered with UNSUPP because nothing is known of its type.
 */
struct vhl_blk_limits {
	struct vhl_blk_rate iops[3];
	struct vhl_blk_rate bps[3];
	__u64 iops_size;
	__u64 reserved[5];
};

/**
 * VHL_BLK_SET_LIMITS - limit what the driver can have of a disk
 *
 * Legal at any time for every process that has the node open, owner or not, with and without a disk.
 * Limits are those of the open file: they stay when the disk is attached or detached and when the
 * device is reset or gets another owner, and go with its close.  All zero ends them.
 *
 * New limits hold at once, as if nothing had gone before: a queue that waits for the old ones looks at
 * its requests anew.  A request goes if nothing is over its limit, whatever it needs itself; those
 * after it wait until it is made up for.  While the first request of a ring waits so do all behind it,
 * of whatever kind; the queue sleeps, and can be stopped at once: the request stays in the ring.
 *
 * EINVAL  a value is out of range; a burst without @avg, or below it; @length without @max; @reserved
 *         is not zero
 * EPERM   it is a named disk, whose limits are the control node's (VHL_DISK_SET_LIMITS)
 * ENOMEM
 */
#define VHL_BLK_SET_LIMITS	_IOW(VHOST_VIRTIO, 0x53, struct vhl_blk_limits)

/**
 * VHL_BLK_GET_LIMITS - what was set last, all zero for no limits
 *
 * Legal as VHL_BLK_SET_LIMITS.
 */
#define VHL_BLK_GET_LIMITS	_IOR(VHOST_VIRTIO, 0x54, struct vhl_blk_limits)

/*
 * Named disks
 * -----------
 * /dev/vhost-lite/control makes disks that have a name, and a node of that name next to it.  A
 * client that opens /dev/vhost-lite/NAME gets a device with the disk attached, for writing, or
 * EACCES, even if the disk is read-only: that is asked of its file.  One open file at a time, or
 * EBUSY (the kernel's log names the holder); ENODEV the disk is gone meanwhile; what
 * VHOST_BLK_SET_BACKEND gives where the file cannot be used any more; EINTR killed while the one
 * before it was still being closed, which waits for requests in flight.
 *
 * The node speaks both dialects.  The first request that tells them apart, or an IOTLB message,
 * decides for the open file: all of <linux/vhost.h> do but VHOST_SET_OWNER, VHOST_RESET_OWNER,
 * VHOST_GET_BACKEND_FEATURES, VHOST_SET_BACKEND_FEATURES, VHOST_VDPA_GET_CONFIG and
 * VHOST_VDPA_GET_CONFIG_SIZE.  The last two are answered in the vhost dialect, too.
 *
 * Who may open the control node may do all of this, from any process.  Requests may wait for
 * others that are about the same disk: EINTR killed meanwhile.
 */

/* VHL_DISK_NAME_BYTES - of a name and its end. It has letters, digits, '.', '_' and '-', and begins
 * with a letter or digit; "control" is none
 */
#define VHL_DISK_NAME_BYTES	32

/* VHL_DISKS_MAX - disks with a name */
#define VHL_DISKS_MAX		65536

/**
 * struct vhl_disk_create - argument of VHL_DISK_CREATE
 * @name:     of the disk, ended by a zero byte
 * @fd:       its file, used as VHOST_BLK_SET_BACKEND says.  The disk keeps it open, with the locks
 *            that it has
 * @mode:     permissions of the node, 0777 at most
 * @uid:      its owner, as the calling process counts users
 * @gid:      its group
 * @opts:     as VHL_BLK_SET_OPTS has them
 * @reserved: must be zero
 */
struct vhl_disk_create {
	__u8  name[VHL_DISK_NAME_BYTES];
	__s32 fd;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	struct vhl_blk_opts opts;
	__u32 reserved[4];
};

/**
 * VHL_DISK_CREATE - make a disk that has a name
 *
 * Its node is there when the request returns.
 *
 * EEXIST  there is one of that name
 * ENOSPC  there are VHL_DISKS_MAX
 * EINVAL  a value is out of range, or what is reserved is not zero
 * EBADF, EINVAL and others of VHOST_BLK_SET_BACKEND, about the file
 */
#define VHL_DISK_CREATE		_IOW(VHOST_VIRTIO, 0x59, struct vhl_disk_create)

/* VHL_DISK_FORCE - although it is open */
#define VHL_DISK_FORCE		(1U << 0)

/**
 * struct vhl_disk_name - argument of requests about one disk
 * @name:     of the disk
 * @fd:       VHL_DISK_SWAP: its file from now on; others: must be zero
 * @flags:    VHL_DISK_DESTROY: VHL_DISK_FORCE; others: must be zero
 * @reserved: must be zero
 */
struct vhl_disk_name {
	__u8  name[VHL_DISK_NAME_BYTES];
	__s32 fd;
	__u32 flags;
	__u32 reserved[2];
};

/**
 * VHL_DISK_DESTROY - take name and node away, and let go of the file
 *
 * With VHL_DISK_FORCE a disk that is open goes, too, when the requests in flight are done: its
 * driver has I/O errors from then on, and whoever has it open keeps a device without a disk.
 *
 * ENOENT  no disk of that name
 * EBUSY   it is open
 * EINVAL  an unknown flag, or what is reserved is not zero
 */
#define VHL_DISK_DESTROY	_IOW(VHOST_VIRTIO, 0x5a, struct vhl_disk_name)

/**
 * VHL_DISK_RESIZE - take over the size of its file, as VHL_BLK_RESIZE
 *
 * ENOENT, EINVAL as above; and what a file system gives when it cannot tell the size of a file
 */
#define VHL_DISK_RESIZE		_IOW(VHOST_VIRTIO, 0x5b, struct vhl_disk_name)

/**
 * VHL_DISK_SWAP - go over to another file, between two requests
 *
 * Requests in flight are done by the file before, which is flushed then; no request fails.  If that
 * flush fails, or one has before, those of the driver do until the node is opened anew.  What the
 * driver was told stays true: a file of another size is shown as VHL_BLK_RESIZE does.
 *
 * ENOENT  no disk of that name
 * EINVAL  what is reserved is not zero; or the disk is open, and the driver uses what the file
 *         cannot (discards, say), or one of both is read-only (the kernel's log says which); and
 *         others of VHOST_BLK_SET_BACKEND, about the file
 */
#define VHL_DISK_SWAP		_IOW(VHOST_VIRTIO, 0x5c, struct vhl_disk_name)

/* VHL_DISK_* - what a disk is, of struct vhl_disk_info */
#define VHL_DISK_READ_ONLY	(1U << 0)
#define VHL_DISK_DIRECT		(1U << 1)	/* bypasses the page cache */

/**
 * struct vhl_disk_info - argument of VHL_DISK_GET
 * @number:     of the first disk that is wanted, or a larger one: 0 to begin with; returns that of
 *              the disk, which is its node's minor number
 * @flags:      VHL_DISK_READ_ONLY, VHL_DISK_DIRECT
 * @name:       of the disk
 * @holder:     process that opened the node, in the caller's pid namespace; 0 for none, or none there
 * @queues:     as VHL_BLK_SET_OPTS has them
 * @block_size: likewise
 * @path_len:   bytes at @path; returns how many the path has with its end, which is cut if there are
 *              fewer
 * @path:       address that the path of the file is written to
 * @size:       of the disk, in bytes
 * @kicks and what follows: the counters that fdinfo has, of all queues since the disk was made
 * @reserved:   zero
 */
struct vhl_disk_info {
	__u32 number;
	__u32 flags;
	__u8  name[VHL_DISK_NAME_BYTES];
	__s32 holder;
	__u32 queues;
	__u32 block_size;
	__u32 path_len;
	__u64 path;
	__u64 size;
	__u64 kicks;
	__u64 wakes;
	__u64 polls;
	__u64 reqs;
	__u64 in;
	__u64 out;
	__u64 batches;
	__u64 calls;
	__u64 errors;
	__u64 breaks;
	__u64 reserved[4];
};

/**
 * VHL_DISK_GET - look at a disk, or at all, one after the other
 *
 * ENOENT  there is none of that number or a larger one
 */
#define VHL_DISK_GET		_IOWR(VHOST_VIRTIO, 0x5d, struct vhl_disk_info)

/**
 * struct vhl_disk_limits - argument of VHL_DISK_SET_LIMITS and VHL_DISK_GET_LIMITS
 * @name:   of the disk
 * @limits: as VHL_BLK_SET_LIMITS has them
 */
struct vhl_disk_limits {
	__u8 name[VHL_DISK_NAME_BYTES];
	struct vhl_blk_limits limits;
};

/**
 * VHL_DISK_SET_LIMITS, VHL_DISK_GET_LIMITS - limit a disk, whoever has it open
 *
 * As VHL_BLK_SET_LIMITS, which is EPERM on the node of a named disk.
 *
 * ENOENT  no disk of that name
 * EINVAL, ENOMEM as VHL_BLK_SET_LIMITS
 */
#define VHL_DISK_SET_LIMITS	_IOW(VHOST_VIRTIO, 0x5e, struct vhl_disk_limits)
#define VHL_DISK_GET_LIMITS	_IOWR(VHOST_VIRTIO, 0x5f, struct vhl_disk_limits)

/*
 * Counters
 * --------
 * /proc/PID/fdinfo/FD of an open node has, after the fields that every file has, lines of
 * "key:<tab>value":
 *
 *   vhl-device:   number of this open file, unique since the module was loaded
 *   vhl-node:     vhost-netlite, vhost-blklite, vdpa-blklite or vhost-lite/NAME
 *   vhl-owner:    process id of the owner in the reader's pid namespace, 0 for none
 *   vhl-features: acknowledged feature bits, one hexadecimal number that may have more than 64 bits
 *   vhl-regions:  regions of guest memory
 *   vhl-iotlb:    name=value ...: updates that mapped something, invalidates of what was mapped, and for
 *                 how many of those were waited: waits (for requests that used it), drains (of a queue)
 *   vhl-status:   device status (vDPA) as VHOST_VDPA_GET_STATUS tells it, hexadecimal
 *   vhl-backing:  what is attached, "-" for nothing
 *   vhl-queue:    one line a queue that was ever started:
 *                 index state(running|stopped|unmapped|broken) size name=value ...
 *
 * The names of the counters, all of them since the node was opened: kicks, wakes, polls (times
 * that work was found without a wake, by polling or after a nap), reqs (packets or requests), in
 * (bytes written to the guest), out (bytes read from it), batches (publications of the used index),
 * calls, errors (requests or packets that failed or were dropped), breaks (times the queue broke);
 * those of a disk that has, or had, limits: limited (times that the queue has waited for them),
 * limited_us (microseconds that this took).
 * Readers must accept further keys and names.
 */

#endif /* _UAPI_LINUX_VHOST_LITE_H */
