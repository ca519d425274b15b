/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Disks that have a name: what name.c, which has their nodes, and control.c, which is told to make
 * them, share.
 *
 * Locks, in the order they are taken, in front of those of vhl.h: name->lock, dev->mutex of who has
 * it open, vhl_blk_names_lock. The last one is held for short, so that disks can be looked at while
 * one of them hangs.
 */
#ifndef VHL_BLK_NAME_H
#define VHL_BLK_NAME_H

#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/uidgid.h>
#include <linux/vhost_lite.h>

#include "blk.h"

/**
 * struct vhl_blk_about - what there is to say of a disk, open or not
 * @size: in bytes
 * @block_size: of a logical block
 * @read_only: its file is
 * @direct: bypasses the page cache
 */
struct vhl_blk_about {
	u64 size;
	u32 block_size;
	bool read_only;
	bool direct;
};

/**
 * struct vhl_blk_name - a disk that has a name
 * @device: its node, and references: while it is registered, open, or looked at
 * @node: of the devices that opening it gives
 * @title: @node's name
 * @uid: owner of the node, constant, as are
 * @gid: its group and
 * @mode: its permissions
 * @opts: for who opens it, constant
 * @lock: for opening and closing, and for what the control node is asked for
 * @limit: lent to who has it open, or NULL.  @lock
 * @untold: what the one before is to leave to the next.  @lock
 * @gone: destroyed.  @lock
 * @file: its file, with a reference; NULL when it is gone.  @lock and, to change it,
 *	  vhl_blk_names_lock
 * @blk: who has it open, or NULL.  Likewise, but for release
 * @opener: the process that opened it.  vhl_blk_names_lock, as are the rest
 * @about: what it is
 * @before: counters of those that had it open before
 */
struct vhl_blk_name {
	struct device device;
	struct vhl_node node;
	char title[sizeof("vhost-lite/") + VHL_DISK_NAME_BYTES];
	kuid_t uid;
	kgid_t gid;
	umode_t mode;
	struct vhl_blk_opts opts;
	struct mutex lock;
	struct vhl_blk_limit *limit;
	struct vhl_blk_untold untold;
	bool gone;
	struct file *file;
	struct vhl_blk_dev *blk;
	struct pid *opener;
	struct vhl_blk_about about;
	struct vhl_stats before;
};

extern struct mutex vhl_blk_names_lock;

static inline const char *vhl_blk_name_of(const struct vhl_blk_name *name)
{
	return dev_name(&name->device);
}

/* name.c: the module's begin and end. @node: what all of them are like */
int vhl_blk_names_init(const struct vhl_node *node);
void vhl_blk_names_exit(void);

/* A reference to it, or NULL. Context: process */
struct vhl_blk_name *vhl_blk_name_find(const char *name);
/* the first one whose number is @number or more, which is then set to it */
struct vhl_blk_name *vhl_blk_name_next(unsigned int *number);
void vhl_blk_name_put(struct vhl_blk_name *name);

/*
 * Make it, with a node; of what @like has. Its file is checked, and gets a reference. Return: 0 or
 * a negative errno (uapi header)
 */
int vhl_blk_name_create(const struct vhl_disk_create *like, struct file *file);

/* Holding dev->mutex, of a device of a named disk: it is about to be gone; its disk has changed */
void vhl_blk_name_closed(struct vhl_blk_dev *blk);
void vhl_blk_name_about(const struct vhl_blk_dev *blk);

/* Holding name->lock, not gone. Return: as above */
int vhl_blk_name_destroy(struct vhl_blk_name *name, bool force);
int vhl_blk_name_resize(struct vhl_blk_name *name);
int vhl_blk_name_swap(struct vhl_blk_name *name, struct file *file);
int vhl_blk_name_limit(struct vhl_blk_name *name, const struct vhl_blk_limits *limits);

/* vhost_blklite.c: holding dev->mutex */
int vhl_blk_resize(struct vhl_blk_dev *blk);
/*
 * Have another disk instead, queues running or not, and let go of the one before, flushed.
 * Return: 0, or -EINTR with nothing changed
 */
int vhl_blk_swap(struct vhl_blk_dev *blk, struct vhl_blk_disk *disk);
/* Feature bits that the driver has, or may have been told of, and the disk has not */
u64 vhl_blk_misses(struct vhl_blk_dev *blk, const struct vhl_blk_disk *disk);
/* Would it show the driver anything else? */
bool vhl_blk_differs(struct vhl_blk_dev *blk, const struct vhl_blk_disk *disk);
/* From now on it has these limits, which it had none of; they outlive it. Holding nothing */
void vhl_blk_lend_limit(struct vhl_blk_dev *blk, struct vhl_blk_limit *limit);
/* holding nothing. Return: 0 or -EINVAL */
int vhl_blk_check_opts(const struct vhl_blk_opts *opts);

/* control.c: the control node */
int vhl_blk_control_init(void);
void vhl_blk_control_exit(void);

#endif /* VHL_BLK_NAME_H */
