/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A disk whose requests can be held up, behind a map of guest memory that changes piece by piece, as that
 * of a guest with an IOMMU does: each part of its requests has a page and a region of its own.
 */
#ifndef ABI_HELD_H
#define ABI_HELD_H

#include <pthread.h>
#include <stdatomic.h>

#include "dut.h"
#include "store.h"

#define PAGE		4096
#define POISON		0x5a	/* of memory that nobody is to write */
#define PENDING		0xaa	/* a status that nobody has written */
#define HELD_BLOCKS	64
#define HELD_FAR	BIT(40)	/* away from the rest of guest memory */

/* map_stats() - 0 or -errno */
int map_stats(int fd, struct map_stats *s);

/* A page of guest memory with a region of its own */
struct page {
	uint64_t iova;
	unsigned char *p;
};

/* page_make() - the @i-th of them, next to each other for the guest.  0 or -errno, as others */
int page_make(struct page *page, unsigned int i);
int page_map(struct dut *d, const struct page *page);
int page_unmap(struct dut *d, const struct page *page);

/* page_is() - has it this byte everywhere */
bool page_is(const struct page *page, unsigned char byte);

enum { HDR, DATA, STATUS, PARTS };

/**
 * struct world - the disk, whose block i has bytes of value i
 * @d: the device
 * @dm: dm_hang() holds requests up, dm_switch() lets them go
 * @part: of requests, by queue; the first pages
 * @foreign: the page behind them, not mapped
 */
struct world {
	struct dut d;
	int mem, loop, disk;
	struct dm dm;
	struct page part[2][PARTS], foreign;
};

/* world_open() - @name: of the device of dm.  world_close() also after a failure */
int world_open(struct world *w, enum dut_kind kind, const char *name);
void world_close(struct world *w);

/* start_read() - have a block read into the pages of a queue; end_read() waits for it */
int start_read(struct world *w, unsigned int qi, unsigned int block);
int end_read(struct world *w, unsigned int qi, unsigned int block);

/* is_read() - is all there, whatever the ring says */
bool is_read(const struct world *w, unsigned int qi, unsigned int block);

/* get_id() - what is answered without the disk */
int get_id(struct world *w, unsigned int qi);

/* A message of a thread of its own, since it may have to wait */
struct message {
	struct dut *d;
	const struct page *page;
	uint64_t size;
	bool unmap;
	pthread_t thread;
	atomic_bool done;
	int ret;
};

int message_start(struct message *m, struct world *w, const struct page *page, bool unmap);
int message_start_sized(struct message *m, struct world *w, const struct page *page, uint64_t size,
			bool unmap);
bool message_is_done(struct message *m, unsigned int ms);
int message_end(struct message *m);

/*
 * begin_claims() - have both queues know who uses what: a device does not look before something goes
 * while a request is in flight, for which it drains each queue
 */
int begin_claims(struct world *w);

#endif /* ABI_HELD_H */
