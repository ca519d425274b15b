// SPDX-License-Identifier: GPL-2.0
/* A guest without a guest: the device.  See guest.h */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

int guest_fail(struct guest *g, int err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(g->error, sizeof(g->error), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(g->error))
		snprintf(g->error + n, sizeof(g->error) - n, ": %s", strerror(-err));
	return err;
}

const char *guest_error(const struct guest *g)
{
	if (!g)
		return "out of memory";
	return g->error[0] ? g->error : "no error";
}

int guest_ioctl(struct guest *g, const char *name, unsigned long request, void *arg)
{
	int ret = ioctl(g->fd, request, arg);

	return ret < 0 ? guest_fail(g, -errno, "%s", name) : ret;
}

/* What a module of ours, or of the kernel, is called whose node this is */
static const char *module_of(const char *path)
{
	static const char *const known[][2] = {
		{ "/dev/vhost-netlite", "vhost_netlite" },
		{ "/dev/vhost-blklite", "vhost_blklite" },
		{ "/dev/vdpa-blklite", "vhost_blklite" },
		{ "/dev/vhost-net", "vhost_net" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(path, known[i][0]))
			return known[i][1];
	return NULL;
}

static int open_failed(struct guest *g, int err)
{
	const char *module = module_of(g->path);

	if (module && (err == -ENOENT || err == -ENXIO || err == -ENODEV))
		snprintf(g->error, sizeof(g->error),
			 "%s: no such device; load the module: modprobe %s", g->path, module);
	else if (err == -EACCES || err == -EPERM)
		snprintf(g->error, sizeof(g->error),
			 "%s: permission denied; run as root, or let your user open it", g->path);
	else
		guest_fail(g, err, "%s", g->path);
	return err;
}

static int open_guest(struct guest **gp, const char *path, enum guest_kind kind)
{
	struct guest *g = calloc(1, sizeof(*g));

	*gp = g;
	if (!g)
		return -ENOMEM;
	g->fd = -1;
	g->kind = kind;
	pthread_mutex_init(&g->alloc_lock, NULL);
	g->path = strdup(path);
	if (!g->path)
		return guest_fail(g, -ENOMEM, "%s", path);

	g->fd = open(path, O_RDWR | O_CLOEXEC);
	return g->fd < 0 ? open_failed(g, -errno) : 0;
}

int guest_open(struct guest **gp, const char *path, enum guest_kind kind)
{
	int ret = open_guest(gp, path, kind);
	struct guest *g = *gp;
	uint32_t id;

	if (ret)
		return ret;
	/* Only the vhost-vDPA dialect can say what the device is, and does so without an owner */
	g->ops = ioctl(g->fd, VHOST_VDPA_GET_DEVICE_ID, &id) ? &guest_ops_vhost : &guest_ops_vdpa;
	return 0;
}

int guest_open_named(struct guest **gp, const char *path, bool vdpa)
{
	int ret = open_guest(gp, path, GUEST_BLK);

	if (!ret)
		(*gp)->ops = vdpa ? &guest_ops_vdpa : &guest_ops_vhost;
	return ret;
}

void guest_close(struct guest *g)
{
	if (!g)
		return;
	if (g->fd >= 0)
		close(g->fd);
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++)
		guest_queue_free(g->queue[i]);
	while (g->nregions)
		guest_region_free(&g->region[--g->nregions]);
	pthread_mutex_destroy(&g->alloc_lock);
	free(g->path);
	free(g);
}

int guest_attach(struct guest *g, int fd)
{
	struct vhost_vring_file file = { .index = 0, .fd = fd };

	if (g->kind == GUEST_NET)
		return 0;
	return GUEST_IOCTL(g, VHOST_BLK_SET_BACKEND, &file);
}

int guest_own(struct guest *g)
{
	return g->ops->own(g);
}

int guest_features(struct guest *g, uint64_t *offered)
{
	int ret = GUEST_IOCTL(g, VHOST_GET_FEATURES, offered);

	if (!ret)
		*offered &= ~((g->packed ? 0 : 1ULL << VIRTIO_F_RING_PACKED) |
			      (g->in_order ? 0 : 1ULL << VIRTIO_F_IN_ORDER));
	/* the VMM's alone, for the time of a migration */
	if (!ret && g->ops == &guest_ops_vhost)
		*offered &= ~(1ULL << VHOST_F_LOG_ALL);
	return ret;
}

int guest_set_features(struct guest *g, uint64_t features)
{
	return g->ops->set_features(g, features);
}

int guest_config(struct guest *g, unsigned int offset, void *buf, unsigned int len)
{
	struct vhost_vdpa_config *config;
	int ret;

	if (g->ops != &guest_ops_vdpa)
		return -EOPNOTSUPP;
	config = calloc(1, sizeof(*config) + len);
	if (!config)
		return guest_fail(g, -ENOMEM, "config space");
	config->off = offset;
	config->len = len;
	ret = GUEST_IOCTL(g, VHOST_VDPA_GET_CONFIG, config);
	if (!ret)
		memcpy(buf, config->buf, len);
	free(config);
	return ret;
}

int guest_start(struct guest *g, int fd)
{
	int ret = g->ops->start(g, fd);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++)
		if (g->queue[i])
			g->queue[i]->running = true;
	return 0;
}

int guest_stop(struct guest *g)
{
	int ret = g->ops->stop(g);

	if (ret)
		return ret;
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++)
		if (g->queue[i])
			g->queue[i]->running = false;
	return 0;
}

static FILE *open_fdinfo(const struct guest *g)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", g->fd);
	return fopen(path, "re");
}

int guest_device_counter(const struct guest *g, const char *name, uint64_t *value)
{
	FILE *f = open_fdinfo(g);
	bool found = false;
	char line[1024];

	*value = 0;
	if (!f)
		return -ENOENT;
	while (fgets(line, sizeof(line), f)) {
		char *save = NULL, *word;

		if (strncmp(line, "vhl-queue:", 10))
			continue;
		for (word = strtok_r(line + 10, " \t\n", &save); word;
		     word = strtok_r(NULL, " \t\n", &save)) {
			char *eq = strchr(word, '=');

			if (!eq || (size_t)(eq - word) != strlen(name) ||
			    strncmp(word, name, eq - word))
				continue;
			*value += strtoull(eq + 1, NULL, 0);
			found = true;
		}
	}
	fclose(f);
	return found ? 0 : -ENOENT;
}

static void dump_queue(struct guest_queue *q, FILE *f)
{
	const struct guest_counters *c = &q->count;

	gq_count_calls(q);
	fprintf(f, "queue %u: size %u%s%s%s%s\n", q->index, q->num, q->running ? "" : " stopped",
		q->broken ? " broken" : "", gq_error(q) ? " error-eventfd-signalled" : "",
		q->irq ? "" : " polled");
	fprintf(f, "  avail: shown %u added %u", q->avail_shown, q->avail_next);
	if (q->packed)
		fprintf(f, " next %#x calls %#x at %#x\n", q->avail_place, le16toh(q->driver->flags),
			le16toh(q->driver->off_wrap));
	else
		fprintf(f, " flags %#x used_event %u\n", le16toh(q->avail->flags),
			gq_used_event(q));
	fprintf(f, "  used:  shown %u collected %u", gq_used_idx(q), q->used_next);
	if (q->packed)
		fprintf(f, " next %#x kicks %#x at %#x\n", q->used_place, le16toh(q->device->flags),
			le16toh(q->device->off_wrap));
	else
		fprintf(f, " flags %#x avail_event %u\n", le16toh(q->used->flags),
			gq_avail_event(q));
	fprintf(f, "  driver: in flight %u free descriptors %u chains %llu used %llu kicks %llu (+%llu not wanted) calls %llu waits %llu\n",
		gq_in_flight(q), q->num_free, (unsigned long long)c->chains,
		(unsigned long long)c->used, (unsigned long long)c->kicks,
		(unsigned long long)c->kicks_saved, (unsigned long long)c->calls,
		(unsigned long long)c->waits);
}

void guest_dump(const struct guest *g, FILE *f)
{
	FILE *info = open_fdinfo(g);
	char line[1024];

	fprintf(f, "%s: dialect %s, features %#llx, %u regions\n", g->path, g->ops->name,
		(unsigned long long)g->features, g->nregions);
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++)
		if (g->queue[i])
			dump_queue(g->queue[i], f);
	if (!info)
		return;
	while (fgets(line, sizeof(line), info))
		if (!strncmp(line, "vhl-", 4))
			fprintf(f, "  %s", line);
	fclose(info);
}
