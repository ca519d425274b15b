// SPDX-License-Identifier: GPL-2.0
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "held.h"

int map_stats(int fd, struct map_stats *s)
{
	struct dev_info info;
	int ret = get_info(fd, &info);

	*s = info.map;
	return ret;
}

int page_make(struct page *page, unsigned int i)
{
	/* neighbours, as drivers have them */
	page->iova = HELD_FAR + i * PAGE;
	page->p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page->p == MAP_FAILED ? -errno : 0;
}

int page_map(struct dut *d, const struct page *page)
{
	return dut_message(d, VHOST_IOTLB_UPDATE, page->iova, PAGE, page->p);
}

int page_unmap(struct dut *d, const struct page *page)
{
	return dut_message(d, VHOST_IOTLB_INVALIDATE, page->iova, PAGE, NULL);
}

bool page_is(const struct page *page, unsigned char byte)
{
	for (unsigned int i = 0; i < PAGE; i++)
		if (((volatile unsigned char *)page->p)[i] != byte)
			return false;
	return true;
}

int world_open(struct world *w, enum dut_kind kind, const char *name)
{
	/* in the vhost dialect a queue that starts would ask for its ring */
	struct dut_opts opts = {
		.accept = kind == DUT_BLK ? BIT(VIRTIO_F_ACCESS_PLATFORM) : 0, .stopped = kind == DUT_BLK,
	};
	unsigned char block[PAGE];
	unsigned int i, k;
	char path[32];
	int ret;

	memset(w, 0, sizeof(*w));
	w->loop = w->disk = -1;
	w->d.backend = w->d.raw = -1;
	w->mem = make_disk(HELD_BLOCKS * PAGE);
	if (w->mem < 0)
		return w->mem;
	for (i = 0; i < HELD_BLOCKS; i++) {
		memset(block, i, sizeof(block));
		if (pwrite(w->mem, block, sizeof(block), (off_t)i * PAGE) != sizeof(block))
			return -EIO;
	}
	w->loop = loop_open(w->mem, path);
	if (w->loop < 0)
		return w->loop;
	ret = dm_open(&w->dm, name, HELD_BLOCKS * PAGE) ?: dm_use(&w->dm, "linear", "%s 0", path);
	if (ret)
		return ret;
	w->disk = open(w->dm.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (w->disk < 0)
		return -errno;
	opts.disk = w->disk;
	ret = dut_open(&w->d, kind, &opts);
	if (!ret && opts.stopped) {
		for (i = 0; !ret && i < w->d.g->nregions; i++)
			ret = dut_message(&w->d, VHOST_IOTLB_UPDATE, w->d.g->region[i].gpa,
					  w->d.g->region[i].size, w->d.g->region[i].hva);
		ret = ret ?: dut_start(&w->d);
	}
	for (i = 0; !ret && i < 2; i++) {
		/* tables would be in memory of their own */
		w->d.q[i]->indirect = false;
		for (k = 0; !ret && k < PARTS; k++)
			ret = page_make(&w->part[i][k], i * PARTS + k) ?: page_map(&w->d, &w->part[i][k]);
	}
	return ret ?: page_make(&w->foreign, 2 * PARTS);
}

void world_close(struct world *w)
{
	dm_switch(&w->dm);
	dut_close(&w->d);
	close(w->disk);
	dm_close(&w->dm);
	close(w->loop);
	close(w->mem);
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int k = 0; k < PARTS; k++)
			if (w->part[i][k].p)
				munmap(w->part[i][k].p, PAGE);
	if (w->foreign.p)
		munmap(w->foreign.p, PAGE);
}

int start_read(struct world *w, unsigned int qi, unsigned int block)
{
	struct virtio_blk_outhdr hdr = {
		.type = htole32(VIRTIO_BLK_T_IN), .sector = htole64(block * (PAGE / 512)),
	};
	const struct page *part = w->part[qi];
	struct guest_seg seg[] = {
		{ part[HDR].iova, sizeof(hdr) }, { part[DATA].iova, PAGE }, { part[STATUS].iova, 1 },
	};
	int ret;

	memcpy(part[HDR].p, &hdr, sizeof(hdr));
	memset(part[DATA].p, POISON, PAGE);
	part[STATUS].p[0] = PENDING;
	ret = gq_add(w->d.q[qi], seg, 1, 2, w);
	gq_publish(w->d.q[qi]);
	return ret ?: gq_kick(w->d.q[qi]);
}

bool is_read(const struct world *w, unsigned int qi, unsigned int block)
{
	return *(volatile unsigned char *)w->part[qi][STATUS].p == VIRTIO_BLK_S_OK &&
	       page_is(&w->part[qi][DATA], block);
}

int end_read(struct world *w, unsigned int qi, unsigned int block)
{
	uint32_t len;
	void *token;
	int ret = gq_wait(w->d.q[qi], 10000) ?: gq_get(w->d.q[qi], &token, &len);

	return ret ?: is_read(w, qi, block) ? 0 : -EBADMSG;
}

int get_id(struct world *w, unsigned int qi)
{
	struct scratch *s = &w->d.scratch[qi];

	return blk_request(&w->d, qi, VIRTIO_BLK_T_GET_ID, 0, s->gpa + SCRATCH_DATA, VHL_BLK_ID_BYTES);
}

static void *message_send(void *arg)
{
	struct message *m = arg;

	m->ret = dut_message(m->d, m->unmap ? VHOST_IOTLB_INVALIDATE : VHOST_IOTLB_UPDATE, m->page->iova,
			     m->size, m->page->p);
	m->done = true;
	return NULL;
}

int message_start_sized(struct message *m, struct world *w, const struct page *page,
			       uint64_t size, bool unmap)
{
	*m = (struct message){ .d = &w->d, .page = page, .size = size, .unmap = unmap };
	return -pthread_create(&m->thread, NULL, message_send, m);
}

int message_start(struct message *m, struct world *w, const struct page *page, bool unmap)
{
	return message_start_sized(m, w, page, PAGE, unmap);
}

bool message_is_done(struct message *m, unsigned int ms)
{
	for (int64_t end = now_ms() + ms; !m->done && now_ms() < end; )
		sleep_ms(1);
	return m->done;
}

int message_end(struct message *m)
{
	pthread_join(m->thread, NULL);
	return m->ret;
}

static int begin_claims_of(struct world *w, unsigned int qi)
{
	struct message m;
	bool early;
	int ret;

	ret = page_map(&w->d, &w->foreign) ?: dm_hang(&w->dm) ?: start_read(w, qi, 1);
	if (ret)
		return ret;
	sleep_ms(50);
	ret = message_start(&m, w, &w->foreign, true);
	if (ret)
		return ret;
	early = message_is_done(&m, 100);
	ret = dm_switch(&w->dm);
	return message_end(&m) ?: ret ?: early ? -EALREADY : end_read(w, qi, 1);
}

int begin_claims(struct world *w)
{
	return begin_claims_of(w, 0) ?: begin_claims_of(w, 1);
}
