// SPDX-License-Identifier: GPL-2.0
/*
 * What a queue has no room for when it starts, and makes room for when it first comes: chains of
 * many segments, packets over many chains, requests under way with every head.
 */
#include <string.h>

#include "kselftest_harness.h"
#include "dut.h"

#define RING		256
/* So many segments of data, and more bytes than that */
#define SEGS		200
#define BYTES		1024

FIXTURE(room) {
	struct dut d;
};

FIXTURE_VARIANT(room) {
	enum dut_kind kind;
	uint64_t refuse;
};

FIXTURE_VARIANT_ADD(room, net) {
	.kind = DUT_NET,
};

FIXTURE_VARIANT_ADD(room, net_direct) {
	.kind = DUT_NET,
	.refuse = 1ULL << VIRTIO_RING_F_INDIRECT_DESC,
};

FIXTURE_VARIANT_ADD(room, blk) {
	.kind = DUT_BLK,
};

FIXTURE_VARIANT_ADD(room, blk_direct) {
	.kind = DUT_BLK,
	.refuse = 1ULL << VIRTIO_RING_F_INDIRECT_DESC,
};

FIXTURE_VARIANT_ADD(room, vdpa) {
	.kind = DUT_VDPA,
};

FIXTURE_SETUP(room)
{
	struct dut_opts opts = { .num = RING, .refuse = variant->refuse };

	ASSERT_EQ(0, dut_open(&self->d, variant->kind, &opts));
}

FIXTURE_TEARDOWN(room)
{
	dut_close(&self->d);
}

/* @len bytes in @n segments, which are not of one size */
static void cut(struct guest_seg *seg, unsigned int n, uint64_t gpa, uint32_t len)
{
	for (unsigned int i = 0; i < n; i++) {
		uint32_t part = i + 1 < n ? len / (n - i) - i % 2 : len;

		seg[i] = (struct guest_seg){ gpa, part };
		gpa += part;
		len -= part;
	}
}

static int answer(struct dut *d, unsigned int qi, uint32_t *used)
{
	void *token;
	int ret;

	gq_publish(d->q[qi]);
	ret = gq_notify(d->q[qi]) ?: gq_wait(d->q[qi], d->timeout_ms);
	return ret ?: gq_get(d->q[qi], &token, used);
}

/* Bytes that the chain brought there and back; -errno */
static int long_tx(struct dut *d, unsigned int n)
{
	struct scratch *scratch = &d->scratch[TX];
	struct guest_seg seg[1 + SEGS] = { { scratch->gpa + SCRATCH_HDR, NET_HDR } };
	unsigned char got[2 * BYTES];
	uint32_t used;
	int ret;

	memset(scratch->p + SCRATCH_HDR, 0, NET_HDR);
	make_frame(scratch->p + SCRATCH_DATA, BYTES, n, true);
	cut(seg + 1, n, scratch->gpa + SCRATCH_DATA, BYTES);
	ret = gq_add(d->q[TX], seg, 1 + n, 0, scratch) ?: answer(d, TX, &used);
	if (ret)
		return ret;
	ret = dut_receive(d, got, sizeof(got), d->timeout_ms);
	return ret > 0 && memcmp(got, scratch->p + SCRATCH_DATA, BYTES) ? -EBADMSG : ret;
}

static int long_rx(struct dut *d, unsigned int n)
{
	struct scratch *scratch = &d->scratch[RX];
	struct guest_seg seg[SEGS];
	unsigned char sent[BYTES];
	uint32_t used;
	int ret;

	memset(scratch->p + SCRATCH_DATA, 0xaa, NET_HDR + BYTES);
	make_frame(sent, BYTES, n, false);
	cut(seg, n, scratch->gpa + SCRATCH_DATA, NET_HDR + BYTES);
	ret = gq_add(d->q[RX], seg, 0, n, scratch) ?: dut_send(d, sent, BYTES) ?: answer(d, RX, &used);
	if (ret)
		return ret;
	return memcmp(scratch->p + SCRATCH_DATA + NET_HDR, sent, BYTES) ? -EBADMSG : used - NET_HDR;
}

static int blk_pieces(struct dut *d, unsigned int qi, uint32_t type, uint64_t gpa, unsigned int n)
{
	struct scratch *scratch = &d->scratch[qi];
	struct virtio_blk_outhdr hdr = { .type = htole32(type), .sector = htole64(16 + qi) };
	struct guest_seg seg[2 + SEGS] = { { scratch->gpa + SCRATCH_HDR, sizeof(hdr) } };
	bool in = type == VIRTIO_BLK_T_IN;
	uint32_t used;
	int ret;

	memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
	scratch->p[SCRATCH_STATUS] = 0xaa;
	cut(seg + 1, n, gpa, BYTES);
	seg[1 + n] = (struct guest_seg){ scratch->gpa + SCRATCH_STATUS, 1 };
	ret = gq_add(d->q[qi], seg, in ? 1 : 1 + n, in ? 1 + n : 1, scratch) ?: answer(d, qi, &used);
	if (ret)
		return ret;
	return scratch->p[SCRATCH_STATUS] ? -EIO : 0;
}

static int long_blk(struct dut *d, unsigned int qi, unsigned int n)
{
	struct scratch *scratch = &d->scratch[qi];
	int ret;

	memset(scratch->p + SCRATCH_DATA2, 0xaa, BYTES);
	make_frame(scratch->p + SCRATCH_DATA, BYTES, n, true);
	ret = blk_pieces(d, qi, VIRTIO_BLK_T_OUT, scratch->gpa + SCRATCH_DATA, n) ?:
	      blk_pieces(d, qi, VIRTIO_BLK_T_IN, scratch->gpa + SCRATCH_DATA2, n);
	if (ret)
		return ret;
	return memcmp(scratch->p + SCRATCH_DATA, scratch->p + SCRATCH_DATA2, BYTES) ? -EBADMSG : BYTES;
}

static int long_unit(struct dut *d, unsigned int qi, unsigned int n)
{
	if (d->kind != DUT_NET)
		return long_blk(d, qi, n);
	return qi == TX ? long_tx(d, n) : long_rx(d, n);
}

/* After short ones and again after a stop, which gives up the room */
TEST_F_TIMEOUT(room, long_chains, 300)
{
	static const unsigned int lens[] = { 31, 32, 33, 63, 64, 65, SEGS, 5, SEGS };
	struct dut *d = &self->d;

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int qi = 0; qi < 2; qi++) {
			ASSERT_EQ(0, dut_units(d, qi, 3));
			for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
				ASSERT_EQ(BYTES, long_unit(d, qi, lens[i]))
					TH_LOG("queue %u: %u segments, round %u", qi, lens[i], round);
			}
			ASSERT_EQ(0, dut_units(d, qi, 3));
			EXPECT_EQ(0, dut_counter(d, qi, "breaks"));
			EXPECT_EQ(0, dut_counter(d, qi, "errors"));
		}
		ASSERT_EQ(0, dut_restart(d));
	}
}

/* A request for each head of the ring, all of them at once, then all again */
TEST_F_TIMEOUT(room, every_head, 300)
{
	struct dut *d = &self->d;
	struct scratch *scratch = &d->scratch[0];
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_IN), .sector = htole64(8) };
	unsigned int n = variant->refuse ? RING / 3 : RING;
	void *token;
	uint32_t used;

	if (variant->kind == DUT_NET)
		SKIP(return, "a network device has no requests under way");
	make_frame(scratch->p + SCRATCH_DATA, 512, 1, true);
	ASSERT_EQ(0, blk_request(d, 0, VIRTIO_BLK_T_OUT, 8, scratch->gpa + SCRATCH_DATA, 512));
	for (unsigned int round = 0; round < 4; round++) {
		memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
		memset(scratch->p + SCRATCH_STATUS, 0xaa, n);
		memset(scratch->p + SCRATCH_FREE, 0xaa, 128 * 512);
		for (unsigned int i = 0; i < n; i++) {
			/* two requests read the same into a buffer */
			struct guest_seg seg[] = {
				{ scratch->gpa + SCRATCH_HDR, sizeof(hdr) },
				{ scratch->gpa + SCRATCH_FREE + (i % 128) * 512, 512 },
				{ scratch->gpa + SCRATCH_STATUS + i, 1 },
			};

			ASSERT_EQ(0, gq_add(d->q[0], seg, 1, 2, scratch));
		}
		gq_publish(d->q[0]);
		ASSERT_EQ(0, gq_notify(d->q[0]));
		for (unsigned int i = 0; i < n; i++) {
			ASSERT_EQ(0, gq_wait(d->q[0], d->timeout_ms));
			ASSERT_EQ(0, gq_get(d->q[0], &token, &used));
			ASSERT_EQ(513, used);
		}
		for (unsigned int i = 0; i < n; i++) {
			ASSERT_EQ(0, scratch->p[SCRATCH_STATUS + i]);
			ASSERT_EQ(0, memcmp(scratch->p + SCRATCH_FREE + (i % 128) * 512,
					    scratch->p + SCRATCH_DATA, 512));
		}
		if (round == 1) {
			ASSERT_EQ(0, dut_restart(d));
		}
	}
	EXPECT_EQ(0, dut_counter(d, 0, "breaks"));
}

/*
 * Packets that wait together, of which two take more chains than the ring holds: the second one has
 * to wait for what the driver gives back, and then arrives.
 */
TEST_F_TIMEOUT(room, packets_of_many_chains, 300)
{
	static const unsigned int lens[] = { 400, 1500, 300, 1400 };
	const unsigned int piece = 7;
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[RX];
	struct scratch *scratch = &d->scratch[RX];
	unsigned char sent[2048], got[2048];
	void *token;
	uint32_t used;

	if (variant->kind != DUT_NET)
		SKIP(return, "disks have no packets");
	for (unsigned int round = 0; round < 3; round++) {
		unsigned int posted = 0;

		for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
			make_frame(sent, lens[i], i, false);
			ASSERT_EQ(0, dut_send(d, sent, lens[i]));
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
			unsigned int len = 0, chains = 0;

			while (gq_in_flight(q) < RING) {
				uint64_t at = SCRATCH_FREE + posted++ % RING * piece;
				struct guest_seg seg = { scratch->gpa + at, piece };

				ASSERT_EQ(0, gq_add(q, &seg, 0, 1, scratch->p + at));
			}
			gq_publish(q);
			ASSERT_EQ(0, gq_notify(q));
			make_frame(sent, lens[i], i, false);
			while (len < NET_HDR + lens[i]) {
				ASSERT_EQ(0, gq_wait(q, d->timeout_ms));
				ASSERT_EQ(0, gq_get(q, &token, &used));
				memcpy(got + len, token, used);
				len += used;
				chains++;
			}
			ASSERT_EQ(NET_HDR + lens[i], len);
			ASSERT_EQ(0, memcmp(got + NET_HDR, sent, lens[i]));
			/* num_buffers */
			ASSERT_EQ(chains, got[10] | got[11] << 8);
		}
		EXPECT_EQ(0, dut_counter(d, RX, "errors"));
		EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
		ASSERT_EQ(0, dut_restart(d));
	}
}

TEST_HARNESS_MAIN
