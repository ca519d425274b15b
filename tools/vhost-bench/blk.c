// SPDX-License-Identifier: GPL-2.0
/* Block cases: setting up, the phases of a case, and tearing down.  See blk.h */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk.h"
#include "verify.h"

/* Used of a disk when not told otherwise: what is known about its sectors is kept in memory */
#define SPAN_DEFAULT	(256ULL << 20)

static bool writes(const struct opts *o)
{
	return o->what != BLK_READ || o->fill;
}

static int open_file(struct bench *b, int flags)
{
	int fd = open(b->opt->file, flags | O_CLOEXEC | (b->opt->direct ? O_DIRECT : 0));

	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return bench_fail(b, "%s: no such file; make one: truncate -s 64M %s", b->opt->file,
				  b->opt->file);
	if (errno == EINVAL && b->opt->direct)
		return bench_fail(b, "%s: cannot be opened with O_DIRECT; use --direct off",
				  b->opt->file);
	if (errno == EBUSY)
		return bench_fail(b, "%s: in use (mounted, or part of a volume)", b->opt->file);
	return bench_fail(b, "%s: %s", b->opt->file, strerror(errno));
}

/* Bytes that direct I/O to the file must be a multiple of */
static unsigned int direct_unit(int fd, const char *path)
{
#ifdef STATX_DIOALIGN
	struct statx st;

	(void)fd;
	if (!statx(AT_FDCWD, path, 0, STATX_DIOALIGN, &st) && (st.stx_mask & STATX_DIOALIGN) &&
	    st.stx_dio_offset_align)
		return st.stx_dio_offset_align;
#endif
	(void)path;
	return SECTOR;
}

/* The file, how large it is, and in what units it can be used */
static int open_disk(struct blk *blk)
{
	struct bench *b = blk->b;
	const struct opts *o = b->opt;
	unsigned int unit = SECTOR;
	uint64_t bytes = 0;
	struct stat st;
	int block;

	/* O_EXCL on a block device: nobody else has it, a mounted file system for example */
	blk->fd = open_file(b, writes(o) ? O_RDWR : O_RDONLY);
	if (blk->fd < 0)
		return -1;
	if (fstat(blk->fd, &st))
		return bench_fail(b, "%s: %s", o->file, strerror(errno));
	if (S_ISBLK(st.st_mode)) {
		close(blk->fd);
		blk->fd = open_file(b, writes(o) ? O_RDWR | O_EXCL : O_RDONLY);
		if (blk->fd < 0)
			return -1;
		if (ioctl(blk->fd, BLKGETSIZE64, &bytes) || ioctl(blk->fd, BLKSSZGET, &block))
			return bench_fail(b, "%s: %s", o->file, strerror(errno));
		unit = block;
	} else if (S_ISREG(st.st_mode)) {
		bytes = st.st_size;
		if (o->direct)
			unit = direct_unit(blk->fd, o->file);
	} else {
		return bench_fail(b, "%s: neither a regular file nor a block device", o->file);
	}
	blk->sectors = bytes / SECTOR;
	blk->storage = unit > SECTOR ? unit / SECTOR : 1;
	blk->max = o->size_max / SECTOR;
	return 0;
}

static int open_device(struct blk *blk)
{
	const uint64_t optional = 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_RO |
				  1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_SIZE_MAX |
				  1ULL << VIRTIO_BLK_F_BLK_SIZE | 1ULL << VIRTIO_BLK_F_DISCARD |
				  1ULL << VIRTIO_BLK_F_WRITE_ZEROES | 1ULL << VIRTIO_BLK_F_MQ;
	struct bench *b = blk->b;
	const struct opts *o = b->opt;
	unsigned int nsegs = o->odd ? 2 * BLK_ODD_CUTS : o->segments + 2;
	uint64_t area = blk_area_len(o, blk->max);
	struct virtio_blk_config config;

	memset(&config, 0, sizeof(config));
	if (bench_guest(b, GUEST_BLK, blk->fd, 0, optional,
			o->queues * (o->qd * (area + 4096) + bench_queue_bytes(b, nsegs)), area))
		return -1;
	blk->g = b->guest[0];
	/* a disk of ours has blocks of a sector whatever the storage has; of others it is not known */
	blk->unit = b->serial_set ? 1 : blk->storage;
	blk->has_flush = blk->g->features >> VIRTIO_BLK_F_FLUSH & 1;
	blk->has_discard = blk->g->features >> VIRTIO_BLK_F_DISCARD & 1;
	blk->has_zeroes = blk->g->features >> VIRTIO_BLK_F_WRITE_ZEROES & 1;
	blk->seg_max = BLK_SEG_MAX;
	if (blk->g->ops != &guest_ops_vdpa)
		return 0;

	/* 60 bytes are what every version of the struct and of the device has */
	if (guest_config(blk->g, 0, &config, offsetof(struct virtio_blk_config, unused1) + 3))
		return bench_guest_failed(b, blk->g);
	if (le64toh(config.capacity) != blk->sectors)
		return bench_fail(b, "the device says it has %llu sectors, %s has %llu",
				  (unsigned long long)le64toh(config.capacity), o->file,
				  (unsigned long long)blk->sectors);
	if (blk->g->features >> VIRTIO_BLK_F_MQ & 1 && le16toh(config.num_queues) < o->queues)
		return bench_fail(b, "the device has %u queues", le16toh(config.num_queues));
	if (blk->g->features >> VIRTIO_BLK_F_SEG_MAX & 1)
		blk->seg_max = le32toh(config.seg_max);
	if (blk->g->features >> VIRTIO_BLK_F_SIZE_MAX & 1 &&
	    le32toh(config.size_max) < blk->max * SECTOR)
		return bench_fail(b, "--size %u: the device takes %u bytes at most",
				  blk->max * SECTOR, le32toh(config.size_max));
	if (le32toh(config.max_discard_sectors) < blk->max)
		blk->has_discard = false;
	if (le32toh(config.max_write_zeroes_sectors) < blk->max)
		blk->has_zeroes = false;
	if (blk->g->features >> VIRTIO_BLK_F_BLK_SIZE & 1 && le32toh(config.blk_size) >= SECTOR)
		blk->unit = le32toh(config.blk_size) / SECTOR;
	return 0;
}

/* What of the disk is used, in equal parts by the queues */
static int make_content(struct blk *blk)
{
	struct bench *b = blk->b;
	const struct opts *o = b->opt;
	uint64_t span = o->span ? o->span : SPAN_DEFAULT, part, step = blk->max;

	if (blk->max % blk->unit)
		return bench_fail(b, "--size %u: the disk has blocks of %u bytes", blk->max * SECTOR,
				  blk->unit * SECTOR);
	if (o->segments > blk->seg_max)
		return bench_fail(b, "--segments %u: the device takes %u", o->segments,
				  blk->seg_max);
	span = span / SECTOR < blk->sectors ? span / SECTOR : blk->sectors;
	/* the file is read and written, too, which may be direct I/O */
	while (step % blk->storage)
		step += blk->max;
	part = span / o->queues / step * step;
	if (part / blk->max <= o->qd)
		return bench_fail(b, "%s: %llu sectors are too few for %u queues with %u requests of %u bytes each; use a larger file, or lower --qd or --size",
				  o->file, (unsigned long long)span, o->queues, o->qd,
				  blk->max * SECTOR);
	for (unsigned int i = 0; i < o->queues; i++) {
		blk->queue[i]->from = part * i;
		blk->queue[i]->to = part * (i + 1);
	}
	blk->busy = calloc(part * o->queues, 1);
	if (!blk->busy)
		return bench_fail(b, "out of memory");
	if (content_init(b, &blk->c, part * o->queues))
		return -1;
	if (o->fill) {
		bench_phase(b, "filling the file", 0);
		return content_write(b, &blk->c, blk->fd);
	}
	if (o->what == BLK_WRITE || !o->verify)
		return 0;
	bench_phase(b, "reading the file", 0);
	return content_read(b, &blk->c, blk->fd);
}

static int make_queue(struct blk *blk, unsigned int index)
{
	struct bench *b = blk->b;
	const struct opts *o = b->opt;
	unsigned int nsegs = o->odd ? 2 * BLK_ODD_CUTS : o->segments + 2;
	unsigned int n = bench_slots(b, nsegs < o->ring_size ? nsegs : o->ring_size);
	struct blk_queue *bq = calloc(1, sizeof(*bq));

	blk->queue[index] = bq;
	if (!bq)
		return bench_fail(b, "out of memory");
	if (n > o->qd)
		n = o->qd;
	bq->blk = blk;
	bq->random = pattern_key(o->seed, index, 0);
	bq->gen = 1;		/* that may be what the file was filled with */
	bq->req = calloc(n, sizeof(bq->req[0]));
	bq->free = calloc(n, sizeof(bq->free[0]));
	bq->out = calloc(n, sizeof(bq->out[0]));
	bq->n_req = n;
	if (!bq->req || !bq->free || !bq->out)
		return bench_fail(b, "out of memory");
	for (; bq->n_free < n; bq->n_free++) {
		struct blk_req *r = &bq->req[bq->n_free];
		uint64_t area = blk_area_len(o, blk->max);

		if (bench_alloc(b, blk->g, area, (blk->max + 1) / 2 * SECTOR, 4096, &r->area))
			return -1;
		bq->free[bq->n_free] = r;
	}
	return bench_queue(b, blk->g, index, &bq->q);
}

/* A round begins, or is over */
static void begin(struct blk *blk)
{
	if (bench_begin(blk->b))
		return;
	for (unsigned int i = 0; i < blk->b->opt->queues; i++) {
		memset(&blk->queue[i]->lat, 0, sizeof(blk->queue[i]->lat));
		blk->queue[i]->bytes = 0;
		blk->queue[i]->overtook = 0;
	}
}

static void end(struct blk *blk)
{
	struct bench *b = blk->b;
	uint64_t bytes = 0;

	bench_end(b);
	b->overtook = 0;
	for (unsigned int i = 0; i < b->opt->queues; i++) {
		hist_merge(&b->lat, &blk->queue[i]->lat);
		bytes += blk->queue[i]->bytes;
		b->overtook += blk->queue[i]->overtook;
	}
	bench_result(b, b->opt->count, bytes);
}

static void worker(struct bench_thread *t)
{
	struct blk *blk = t->arg;
	struct bench *b = blk->b;
	struct blk_queue *bq = blk->queue[t->index];
	unsigned int n = b->opt->queues;
	uint64_t share = b->opt->count / n + (t->index < b->opt->count % n);
	int ret = blk_run(bq, b->opt->warmup / n);

	/* All queues come by all barriers, whatever happened */
	for (unsigned int round = 0; round < b->opt->rounds; round++) {
		pthread_barrier_wait(&blk->quiet);
		if (!t->index)
			begin(blk);
		pthread_barrier_wait(&blk->quiet);
		bq->measured = true;
		if (!ret)
			ret = blk_run(bq, share);
		bq->measured = false;
		pthread_barrier_wait(&blk->quiet);
		if (!t->index)
			end(blk);
	}
}

static void read_back(struct bench_thread *t)
{
	struct blk *blk = t->arg;
	struct blk_queue *bq = blk->queue[t->index];

	if (!blk_read_back(bq))
		blk_flush(bq);
}

static int run_threads(struct blk *blk, void (*fn)(struct bench_thread *t))
{
	struct bench_thread t[GUEST_MAX_QUEUES];
	unsigned int n = blk->b->opt->queues;

	for (unsigned int i = 0; i < n; i++)
		t[i] = (struct bench_thread){ .fn = fn, .arg = blk, .index = i };
	return bench_run(blk->b, t, n);
}

/* The file itself must have it too, and must not have grown */
static int look_at_file(struct blk *blk)
{
	struct bench *b = blk->b;
	struct stat st;

	bench_phase(b, "looking at the file", 0);
	if (fstat(blk->fd, &st))
		return bench_fail(b, "%s: %s", b->opt->file, strerror(errno));
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size / SECTOR != blk->sectors)
		return bench_fail(b, "%s had %llu sectors and has %llu now", b->opt->file,
				  (unsigned long long)blk->sectors,
				  (unsigned long long)st.st_size / SECTOR);
	posix_fadvise(blk->fd, 0, 0, POSIX_FADV_DONTNEED);
	return content_compare(b, &blk->c, blk->fd);
}

static int run(struct blk *blk)
{
	struct bench *b = blk->b;
	const struct opts *o = b->opt;

	bench_phase(b, o->what == BLK_READ ? "reading" : o->what == BLK_WRITE ? "writing" :
		    "reading and writing", o->what == BLK_READ ?
		    o->warmup + o->count * o->rounds : 0);
	if (run_threads(blk, worker))
		return -1;
	if (o->what == BLK_READ || !o->verify)
		return 0;
	bench_phase(b, "reading back", 0);
	return run_threads(blk, read_back) ? -1 : look_at_file(blk);
}

static int tear_down(struct blk *blk)
{
	struct bench *b = blk->b;

	bench_phase(b, "stopping", 0);
	if (blk->queue[0] && blk->queue[0]->q && blk->queue[0]->q->running && guest_stop(blk->g))
		return bench_guest_failed(b, blk->g);
	return 0;
}

static void free_all(struct blk *blk)
{
	for (unsigned int i = 0; i < GUEST_MAX_QUEUES; i++) {
		struct blk_queue *bq = blk->queue[i];

		if (!bq)
			continue;
		free(bq->req);
		free(bq->free);
		free(bq->out);
		free(bq);
	}
	content_free(&blk->c);
	free(blk->busy);
	if (blk->fd >= 0)
		close(blk->fd);
	free(blk);
}

int blk_case(struct bench *b)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	int ret;

	if (!blk)
		return bench_fail(b, "out of memory");
	blk->b = b;
	blk->fd = -1;
	pthread_mutex_init(&blk->id_lock, NULL);
	pthread_barrier_init(&blk->quiet, NULL, b->opt->queues);

	bench_phase(b, "setting up", 0);
	ret = open_disk(blk);
	if (!ret)
		ret = open_device(blk);
	for (unsigned int i = 0; !ret && i < b->opt->queues; i++)
		ret = make_queue(blk, i);
	if (!ret)
		ret = make_content(blk);
	bench_phase(b, "starting", 0);
	if (!ret && guest_start(blk->g, blk->fd))
		ret = bench_guest_failed(b, blk->g);
	if (!ret)
		ret = run(blk);
	if (tear_down(blk))
		ret = -1;
	free_all(blk);
	return ret;
}
