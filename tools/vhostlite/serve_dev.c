// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: the disk. Its queues are those of a node of the vhost dialect, where the
 * configuration space is the VMM's affair. So a second node, of the vhost-vDPA dialect, has the same
 * file and the same options: it is asked what the space has, and tells when that changes. Its own
 * queues are never started. The node of a disk that has a name is both in one.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <linux/vhost_lite.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "serve.h"

#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET	40
#endif

/* of Linux 6.17 */
#ifndef VHOST_SET_FORK_FROM_OWNER
#define VHOST_FORK_OWNER_KTHREAD	0
#define VHOST_SET_FORK_FROM_OWNER	_IOW(VHOST_VIRTIO, 0x84, __u8)
#endif

#define BIT(n)	(UINT64_C(1) << (n))

/*
 * What the node offers and a front end does not get. ACCESS_PLATFORM: a front end that has an IOMMU
 * would be asked for translations. RING_RESET: QEMU's vhost-user-blk shows it to the guest and does
 * not pass on the guest's resets.
 */
#define NOT_OFFERED	(BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_RESET))

static void __attribute__((noreturn)) failed(const char *node, const char *what)
{
	die(EXIT_FAILED, "%s: %s: %s", node, what, strerror(errno));
}

static void get_features(struct serve_dev *dev, const char *node)
{
	if (ioctl(dev->vhost, VHOST_GET_FEATURES, &dev->features))
		failed(node, "features");
	dev->features &= ~NOT_OFFERED;
}

static void open_vhost(struct serve_dev *dev, const struct disk_opts *disk)
{
	dev->vhost = open_node(NODE_BLK);
	set_disk_options(dev->vhost, disk);
	attach_disk(dev->vhost, NODE_BLK, disk, dev->file);
	get_features(dev, NODE_BLK);
}

/* The descriptor that knows the configuration space */
static int config_node(const struct serve_dev *dev)
{
	return dev->vdpa < 0 ? dev->vhost : dev->vdpa;
}

static void get_config_size(struct serve_dev *dev, const char *node)
{
	if (ioctl(config_node(dev), VHOST_VDPA_GET_CONFIG_SIZE, &dev->config_size))
		failed(node, "size of the configuration space");
	if (dev->config_size > MAX_CONFIG)
		dev->config_size = MAX_CONFIG;
	dev->config_call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->config_call < 0)
		failed(node, "changes of the configuration space");
}

static void open_vdpa(struct serve_dev *dev, const struct disk_opts *disk)
{
	dev->vdpa = open_node(NODE_VDPA_BLK);
	set_disk_options(dev->vdpa, disk);
	attach_disk(dev->vdpa, NODE_VDPA_BLK, disk, dev->file);
	get_config_size(dev, NODE_VDPA_BLK);
	/* whoever wants to be told has to be its owner */
	if (ioctl(dev->vdpa, VHOST_SET_OWNER) ||
	    ioctl(dev->vdpa, VHOST_VDPA_SET_CONFIG_CALL, &dev->config_call))
		failed(NODE_VDPA_BLK, "changes of the configuration space");
}

/* It has its disk, and its configuration space is there in the vhost dialect, too */
static void open_named(struct serve_dev *dev, const struct disk_opts *disk, unsigned int queues)
{
	struct virtio_blk_config config = { 0 };
	uint8_t bytes[MAX_CONFIG];
	unsigned int has = 1;

	dev->vdpa = -1;
	dev->file = VHL_BACKEND_OWN;
	dev->vhost = open_node(disk->file);
	/* which of the dialects it is is seen from this */
	get_features(dev, disk->file);
	get_config_size(dev, disk->file);
	if (!dev_config(dev, bytes))
		failed(disk->file, "configuration space");
	memcpy(&config, bytes, sizeof(config));
	if (dev->features & BIT(VIRTIO_BLK_F_MQ))
		has = le16toh(config.num_queues);
	if (queues > has)
		die(EXIT_USAGE, "serve: --queues %u, and %s has %u (see vhostlite disk add)", queues,
		    disk->file, has);
	dev->queues = queues ? queues : has;
}

void dev_open(struct serve_dev *dev, const struct disk_opts *disk, unsigned int queues)
{
	dev->disk = disk;
	if (is_named_disk(disk->file)) {
		open_named(dev, disk, queues);
		return;
	}
	dev->queues = disk->queues;
	dev->file = open_disk_file(disk);
	open_vhost(dev, disk);
	open_vdpa(dev, disk);
}

bool dev_own(const struct serve_dev *dev)
{
	uint8_t threads = VHOST_FORK_OWNER_KTHREAD;

	/*
	 * They are like this one, but go on when this process is killed, for the guest does, too:
	 * what they have taken they finish, and then the file is closed.
	 */
	if (ioctl(dev->vhost, VHOST_SET_FORK_FROM_OWNER, &threads))
		return false;
	/* our memory is the guest's from now on */
	if (ioctl(dev->vhost, VHOST_SET_OWNER))
		return false;
	if (dev->vdpa >= 0 || !ioctl(dev->vhost, VHOST_VDPA_SET_CONFIG_CALL, &dev->config_call))
		return true;
	ioctl(dev->vhost, VHOST_RESET_OWNER);
	return false;
}

void dev_resize(const struct serve_dev *dev)
{
	if (ioctl(dev->vhost, VHL_BLK_RESIZE) ||
	    (dev->vdpa >= 0 && ioctl(dev->vdpa, VHL_BLK_RESIZE)))
		say("the size of the disk cannot be told: %s", strerror(errno));
}

bool dev_config(const struct serve_dev *dev, uint8_t config[MAX_CONFIG])
{
	size_t size = sizeof(struct vhost_vdpa_config) + dev->config_size;
	struct vhost_vdpa_config *c = xrealloc(NULL, size);
	bool ok;

	memset(c, 0, size);
	c->len = dev->config_size;
	ok = !ioctl(config_node(dev), VHOST_VDPA_GET_CONFIG, c);
	memset(config, 0, MAX_CONFIG);
	memcpy(config, c->buf, dev->config_size);
	free(c);
	return ok;
}

bool dev_is_broken(const struct serve_dev *dev)
{
	char *path = xasprintf("/proc/self/fdinfo/%d", dev->vhost), *line = NULL;
	FILE *f = fopen(path, "re");
	bool found = false;
	size_t size = 0;

	free(path);
	while (f && !found && getline(&line, &size, f) >= 0) {
		char state[16];

		found = sscanf(line, "vhl-queue: %*u %15s", state) == 1 &&
			!strcmp(state, "broken");
	}
	if (f)
		fclose(f);
	free(line);
	return found;
}

bool dev_set_memory(const struct serve_dev *dev, const struct memory *mem)
{
	size_t size = sizeof(struct vhost_memory) + mem->num * sizeof(struct vhost_memory_region);
	struct vhost_memory *table = xrealloc(NULL, size);
	int rc, err;

	memset(table, 0, size);
	table->nregions = mem->num;
	for (unsigned int i = 0; i < mem->num; i++) {
		table->regions[i].guest_phys_addr = mem->regions[i].guest;
		table->regions[i].memory_size = mem->regions[i].size;
		table->regions[i].userspace_addr = (uintptr_t)mem->regions[i].here;
	}
	rc = ioctl(dev->vhost, VHOST_SET_MEM_TABLE, table);
	err = errno;
	free(table);
	errno = err;
	return !rc;
}
