/* SPDX-License-Identifier: GPL-2.0 */
/* A device with a packet socket in the place of a TAP, and what goes through it */
#ifndef ABI_PACKET_H
#define ABI_PACKET_H

#include <errno.h>
#include <string.h>

#include "kselftest_harness.h"
#include "frames.h"
#include "links.h"

/* Linux 6.17: headers of 24 bytes */
#define TUNNEL_HDR	24

#define OURS		BIT(VHOST_NET_F_VIRTIO_NET_HDR)
#define NOT_MERGEABLE	BIT(VIRTIO_NET_F_MRG_RXBUF)
#define LEGACY		(NOT_MERGEABLE | BIT(VIRTIO_F_VERSION_1))

FIXTURE(packet) {
	struct dut d;
	unsigned int hdr;		/* bytes of the header */
	const char *why_not;
	unsigned char frame[FRAME_MAX], got[FRAME_MAX + TUNNEL_HDR];
};

FIXTURE_VARIANT(packet) {
	uint64_t refuse, accept;
	unsigned int hdr;
};

FIXTURE_VARIANT_ADD(packet, own_hdr) { .hdr = NET_HDR };
FIXTURE_VARIANT_ADD(packet, own_hdr_single) { .refuse = NOT_MERGEABLE, .hdr = NET_HDR };
FIXTURE_VARIANT_ADD(packet, own_hdr_legacy) { .refuse = LEGACY, .hdr = OLD_HDR };
FIXTURE_VARIANT_ADD(packet, no_hdr) { .accept = OURS, .hdr = NET_HDR };
FIXTURE_VARIANT_ADD(packet, no_hdr_legacy) { .accept = OURS, .refuse = LEGACY, .hdr = OLD_HDR };
FIXTURE_VARIANT_ADD(packet, no_hdr_tunnel) { .accept = OURS, .hdr = TUNNEL_HDR };

FIXTURE_SETUP(packet)
{
	struct dut_opts opts = {
		.packet = true, .refuse = variant->refuse, .accept = variant->accept, .num = 256,
		.stopped = true,
	};
	struct dut *d = &self->d;
	int ret;

	/* older harnesses go on after a setup that skips: each test asks */
	self->why_not = "this kernel has no such devices or headers";
	self->hdr = variant->hdr;
	if (self->hdr == TUNNEL_HDR && !kernel_at_least(6, 17))
		return;
	ret = dut_open(d, DUT_NET, &opts);
	if (ret == -EOPNOTSUPP)
		return;
	ASSERT_EQ(0, ret);
	self->why_not = NULL;
	if (self->hdr == TUNNEL_HDR) {
		uint64_t f[3] = { 2, d->g->features, TUNNEL_FEATURES };

		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_FEATURES_ARRAY, f));
	}
	ASSERT_EQ(0, run("ip link set " VETH_NAME " mtu 9000 && "
			 "ip link set " VETH_PEER " mtu 9000"));
	ASSERT_EQ(0, dut_start(d));
}

FIXTURE_TEARDOWN(packet)
{
	if (self->d.g)
		dut_close(&self->d);
}

#define NEEDED()					\
	do {						\
		if (self->why_not)			\
			SKIP(return, "%s", self->why_not);	\
	} while (0)

/* A frame from the guest that is published, of @len bytes behind a header of @hdr */
static inline int add_tx(struct dut *d, unsigned int slot, unsigned int hdr, unsigned int len,
		  unsigned int seq)
{
	unsigned int at = SCRATCH_DATA + slot * 2048;
	struct guest_seg seg[] = {
		{ d->scratch[TX].gpa + at, hdr + 20 },
		{ d->scratch[TX].gpa + at + hdr + 20, len - 20 },
	};
	int ret;

	memset(d->scratch[TX].p + at, 0, hdr);
	make_frame(d->scratch[TX].p + at + hdr, len, seq, true);
	ret = gq_add(d->q[TX], seg, 2, 0, d);
	gq_publish(d->q[TX]);
	return ret;
}

static inline int took(struct dut *d, unsigned int qi)
{
	uint32_t used;
	void *token;

	return gq_wait(d->q[qi], 5000) ?: gq_get(d->q[qi], &token, &used);
}

static inline unsigned int tx_len(unsigned int seq)
{
	return 60 + seq * 131 % 1455;
}

/* It arrives whole */
static inline int arrives(struct dut *d, unsigned int seq)
{
	unsigned char want[2048], got[2048];
	ssize_t n = dut_receive(d, got, sizeof(got), 5000);

	make_frame(want, tx_len(seq), seq, true);
	if (n < 0)
		return n;
	return n == tx_len(seq) && !memcmp(want, got, n) ? 0 : -EBADMSG;
}

static inline int transmit(struct dut *d, unsigned int hdr, unsigned int seq)
{
	return add_tx(d, 0, hdr, tx_len(seq), seq) ?: gq_notify(d->q[TX]) ?: took(d, TX) ?:
	       arrives(d, seq);
}

/* The guest posts buffers for packets from @from to @to, which have waited */
static inline int collect(struct dut *d, unsigned int hdr, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		struct guest_seg seg = { d->scratch[RX].gpa, 4096 };
		unsigned char want[100];
		uint32_t used;
		void *token;
		int ret = gq_add(d->q[RX], &seg, 0, 1, d);

		gq_publish(d->q[RX]);
		ret = ret ?: gq_notify(d->q[RX]) ?: gq_wait(d->q[RX], 5000) ?:
		      gq_get(d->q[RX], &token, &used);
		if (ret)
			return ret;
		make_frame(want, sizeof(want), i, false);
		if (used != hdr + sizeof(want) ||
		    memcmp(d->scratch[RX].p + hdr, want, sizeof(want)))
			return -EBADMSG;
	}
	return 0;
}

#endif /* ABI_PACKET_H */
