/* SPDX-License-Identifier: GPL-2.0 */
/* Block cases: queues, requests and their framing */
#ifndef BLK_H
#define BLK_H

#include "content.h"

#define BLK_HDR_LEN	sizeof(struct virtio_blk_outhdr)

/* Between two segments of an odd framing, at most; some of it is watched */
#define BLK_GAP		64

/* Pieces that a side of a request in an odd framing is cut into, at most */
#define BLK_ODD_CUTS	24

/* Segments of data where the device cannot be asked how many it takes */
#define BLK_SEG_MAX	126

struct blk_queue;

/* What a request is; the kinds that are expected to fail have no type of their own in virtio */
enum blk_op {
	OP_READ,
	OP_WRITE,
	OP_FLUSH,
	OP_GET_ID,
	OP_DISCARD,
	OP_ZEROES,
	OP_BEYOND,		/* a read or write that reaches past the end */
	OP_UNKNOWN,		/* a type that nobody knows */
};

/**
 * struct blk_req - a request in flight
 * @area: guest memory for its header, data and status
 * @seg: what the device is shown
 * @nout: segments it reads
 * @nin: segments it writes
 * @out_len: bytes in the former
 * @in_len: bytes in the latter, the status last
 * @op: what it is
 * @sector: where it begins
 * @n: sectors
 * @gen: generation that a write writes
 * @begin: when it was added
 * @odd: framed oddly, with watched gaps
 * @damage: flip a bit of what is read
 * @keep: what was written is damaged: nothing else may be written over it
 * @back: it has come back, and waits for those before it
 */
struct blk_req {
	uint64_t area;
	struct guest_seg seg[GUEST_MAX_SEGS];
	unsigned int nout, nin;
	uint32_t out_len, in_len;
	enum blk_op op;
	uint64_t sector;
	unsigned int n;
	uint32_t gen;
	uint64_t begin;
	bool odd, damage, keep, back;
};

/**
 * struct blk - a run of a block case
 * @b: the run
 * @g: the device
 * @c: what should be in the sectors
 * @busy: sectors that a request in flight is about
 * @fd: the disk
 * @sectors: of the disk
 * @storage: sectors of the smallest access to the file
 * @unit: sectors of the smallest request
 * @max: sectors of the largest request
 * @seg_max: segments of data
 * @size_max: bytes of a segment
 * @has_flush: the device offers that
 * @has_discard: and that
 * @has_zeroes: and that
 * @area_len: guest memory of a request
 * @queue: by index
 * @quiet: queues meet here around the begin and the end of a round
 * @id: what GET_ID answered first
 * @id_known: it has
 */
struct blk {
	struct bench *b;
	struct guest *g;
	struct content c;
	uint8_t *busy;
	int fd;
	uint64_t sectors;
	unsigned int storage, unit, max, seg_max, size_max;
	bool has_flush, has_discard, has_zeroes;
	uint64_t area_len;
	struct blk_queue *queue[GUEST_MAX_QUEUES];
	pthread_barrier_t quiet;
	pthread_mutex_t id_lock;
	char id[VIRTIO_BLK_ID_BYTES];
	bool id_known;
};

/**
 * struct blk_queue - a queue, and the sectors that only it uses
 * @blk: the run
 * @q: the queue
 * @from: first sector
 * @to: behind the last one
 * @at: where sequential requests go on
 * @random: state of the random numbers
 * @gen: last generation used
 * @req: requests
 * @free: those not in flight
 * @n_free: how many
 * @out: those in flight, in the order in which they were added; as large as @req
 * @n_req: that is
 * @oldest: of @out, and
 * @n_out: how many
 * @pending: added and not shown to the device yet
 * @measured: latencies and bytes count
 * @bytes: of data moved
 * @overtook: requests that came back before one that had been added before them
 * @lat: latencies
 */
struct blk_queue {
	struct blk *blk;
	struct guest_queue *q;
	uint64_t from, to, at, random;
	uint32_t gen;
	struct blk_req *req, **free, **out;
	unsigned int n_free, n_req, oldest, n_out, pending;
	bool measured;
	uint64_t bytes, overtook;
	struct hist lat;
};

/* blk_req.c */

/* blk_area_len() - guest memory that a request of @max sectors needs */
uint64_t blk_area_len(const struct opts *o, unsigned int max);

/* blk_add() - frame a request whose op, sector and n are set, and add it */
int blk_add(struct blk_queue *bq, struct blk_req *r);

/* blk_check() - is a request that came back with @len bytes written right; -1 when not */
int blk_check(struct blk_queue *bq, struct blk_req *r, uint32_t len);

/* blk_run.c */

/* blk_run() - @n requests of the case */
int blk_run(struct blk_queue *bq, uint64_t n);

/* blk_read_back() - read all sectors of the queue that should have something known */
int blk_read_back(struct blk_queue *bq);

/* blk_flush() - one flush, if the device can */
int blk_flush(struct blk_queue *bq);

#endif /* BLK_H */
