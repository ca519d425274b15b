// SPDX-License-Identifier: GPL-2.0
/*
 * Packet sockets in the place of a TAP: what passes in both directions, with headers of the socket
 * and without, and what waits.
 */
#include <endian.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"

TEST_F(packet, both_ways)
{
	struct dut *d = &self->d;
	struct dev_info info;

	NEEDED();
	for (unsigned int i = 0; i < 200; i++) {
		ASSERT_LT(0, plain(d, d->ifname, self->hdr, i))
			TH_LOG("packet %u", i);
		ASSERT_EQ(0, transmit(d, self->hdr, i))
			TH_LOG("frame %u", i);
		if (i % 50 == 49) {
			ASSERT_EQ(0, dut_restart(d));
		}
	}
	for (unsigned int qi = 0; qi < 2; qi++) {
		EXPECT_EQ(200, dut_counter(d, qi, "reqs"));
		EXPECT_EQ(0, dut_counter(d, qi, "errors"));
		EXPECT_EQ(0, dut_counter(d, qi, "breaks"));
	}
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_STREQ("packet", info.backing);
}

/* Checksums and segments that are still to be made: the header says so, to the guest and from it */
TEST_F(packet, headers)
{
	static const struct {
		uint16_t gso_size, len;
	} cases[] = { { 0, 60 }, { 0, 1514 }, { 1000, 3000 }, { 1448, 64000 }, { 1000, 9001 } };
	static const struct sizes odd = { 4, { 1500, 40, 3000, 513 }, { 1, 2, 3, 1 } };
	struct virtio_net_hdr_mrg_rxbuf *got = (void *)self->got;
	struct dut *d = &self->d;
	int peer;

	NEEDED();
	if (variant->accept)
		SKIP(return, "the socket makes no headers");
	peer = packet_socket(VETH_NAME, OLD_HDR);
	ASSERT_LE(0, peer);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		unsigned int k = i % ARRAY_SIZE(cases), len = cases[k].len;
		struct guest_seg seg = { d->scratch[TX].gpa, self->hdr + len };
		struct virtio_net_hdr hdr = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = cases[k].gso_size ? VIRTIO_NET_HDR_GSO_TCPV4 : 0,
			.gso_size = htole16(cases[k].gso_size),
			.hdr_len = htole16(TCP_PAYLOAD),
			.csum_start = htole16(TCP_AT),
			.csum_offset = htole16(16),
		};
		const struct sizes *sizes = &one_buffer;
		struct sockaddr_ll from;
		socklen_t size;
		ssize_t n;

		/* of many segments only where buffers are merged */
		if (i % 2 && !variant->refuse)
			sizes = &odd;
		make_tcp(self->frame, len, i);
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, len));
		ASSERT_EQ(0, receive(d, sizes, self->got, self->hdr + len))
			TH_LOG("case %u", i);
		EXPECT_EQ(0, memcmp(self->frame, self->got + self->hdr, len))
			TH_LOG("case %u", i);
		EXPECT_EQ(hdr.flags, got->hdr.flags);
		EXPECT_EQ(hdr.gso_type, got->hdr.gso_type);
		EXPECT_EQ(hdr.gso_size, got->hdr.gso_size);
		EXPECT_EQ(hdr.csum_start, got->hdr.csum_start);
		EXPECT_EQ(hdr.csum_offset, got->hdr.csum_offset);

		/* the same way back */
		memset(d->scratch[TX].p, 0, self->hdr);
		memcpy(d->scratch[TX].p, &hdr, sizeof(hdr));
		memcpy(d->scratch[TX].p + self->hdr, self->frame, len);
		ASSERT_EQ(0, gq_add(d->q[TX], &seg, 1, 0, d));
		gq_publish(d->q[TX]);
		ASSERT_EQ(0, gq_notify(d->q[TX]));
		ASSERT_EQ(0, took(d, TX));
		do {
			struct pollfd p = { .fd = peer, .events = POLLIN };

			ASSERT_EQ(1, poll(&p, 1, 5000))
				TH_LOG("case %u", i);
			size = sizeof(from);
			n = recvfrom(peer, self->got, sizeof(self->got), 0, (void *)&from, &size);
			/* what was sent above is here, too */
		} while (n > 0 && from.sll_pkttype == PACKET_OUTGOING);
		EXPECT_EQ(OLD_HDR + len, n)
			TH_LOG("case %u", i);
		EXPECT_EQ(hdr.flags, got->hdr.flags);
		EXPECT_EQ(hdr.gso_type, got->hdr.gso_type);
		EXPECT_EQ(hdr.gso_size, got->hdr.gso_size);
		EXPECT_EQ(hdr.csum_start, got->hdr.csum_start);
		EXPECT_EQ(hdr.csum_offset, got->hdr.csum_offset);
		EXPECT_EQ(0, memcmp(self->frame, self->got + OLD_HDR, len))
			TH_LOG("case %u", i);
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
	EXPECT_EQ(0, dut_counter(d, TX, "errors"));
	close(peer);
}

/* The kernel takes a VLAN tag out of a frame that comes in; the guest gets it with it */
TEST_F(packet, vlan_tags)
{
	struct dut *d = &self->d;

	NEEDED();
	for (unsigned int i = 0; i < 20; i++) {
		struct virtio_net_hdr hdr = { 0 };
		unsigned int len = 64 + i * 70;

		make_tcp(self->frame, len, i);
		memmove(self->frame + 16, self->frame + 12, len - 16);
		memcpy(self->frame + 12, "\x81\x00\x20\x05", 4);
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, len));
		ASSERT_EQ(0, receive(d, &one_buffer, self->got, self->hdr + len))
			TH_LOG("packet %u", i);
		EXPECT_EQ(0, memcmp(self->frame, self->got + self->hdr, len))
			TH_LOG("packet %u", i);
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/* What waits in the socket and with the worker keeps its order, also over a stop */
TEST_F(packet, waiting)
{
	struct dut *d = &self->d;
	unsigned char frame[2048];

	NEEDED();
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 120; i++) {
			make_frame(frame, 100, i, false);
			ASSERT_EQ(0, dut_send(d, frame, 100));
			if (i == 50) {
				ASSERT_EQ(0, collect(d, self->hdr, 0, 10));
			}
		}
		ASSERT_EQ(0, collect(d, self->hdr, 10, 20));
		ASSERT_EQ(0, dut_stop(d));
		/* the next one for anybody who reads it */
		ASSERT_EQ((variant->accept ? 0 : self->hdr) + 100,
			  read(d->backend, frame, sizeof(frame)));
		frame[0] = frame[(variant->accept ? 0 : self->hdr) + 14];
		EXPECT_EQ(20, frame[0]);
		ASSERT_EQ(0, dut_start(d));
		ASSERT_EQ(0, collect(d, self->hdr, 21, 120));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/*
 * Two sockets of a group, the other one full: what there is no room for in this one is lost, but
 * once its packets are taken it gets them again
 */
TEST_F(packet, fanout)
{
	int group = getpid() & 0xffff, type = PACKET_FANOUT_ROLLOVER << 16, room = 8192;
	struct guest_seg seg = { self->d.scratch[RX].gpa, 4096 };
	struct dut *d = &self->d;
	unsigned char frame[100];
	unsigned int n = 0;
	uint32_t used;
	void *token;
	int other;

	NEEDED();
	ASSERT_LT(0, plain(d, d->ifname, self->hdr, 1));
	other = packet_socket(VETH_PEER, 0);
	ASSERT_LE(0, other);
	group |= type;
	ASSERT_EQ(0, setsockopt(other, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)));
	ASSERT_EQ(0, setsockopt(d->backend, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)));
	/* the first one gets what no other has room for */
	ASSERT_EQ(0, setsockopt(other, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)));
	ASSERT_EQ(0, setsockopt(d->backend, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)));
	make_frame(frame, sizeof(frame), 0, false);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 300; i++)
			ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		/* one buffer at a time, the last of which the next round begins with */
		for (n = 0;; n++) {
			if (!gq_in_flight(d->q[RX])) {
				ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
				gq_publish(d->q[RX]);
				ASSERT_EQ(0, gq_notify(d->q[RX]));
			}
			if (gq_wait(d->q[RX], 300))
				break;
			ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		}
		EXPECT_LT(5, n);
		EXPECT_GT(100, n);
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
	close(other);
}

/* Frames that an interface is slow to take wait in the ring, and none is lost */
TEST_F_TIMEOUT(packet, send_buffer_full, 60)
{
	struct dut *d = &self->d;
	int room = 1;

	NEEDED();
	ASSERT_EQ(0, setsockopt(d->backend, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
	if (run("tc qdisc replace dev " VETH_PEER " root tbf rate 4mbit burst 2kb limit 1mb"))
		SKIP(return, "this kernel cannot slow an interface down");
	for (unsigned int round = 0; round < 4; round++) {
		for (unsigned int i = 0; i < 50; i++)
			ASSERT_EQ(0, add_tx(d, i, self->hdr, tx_len(i), i));
		ASSERT_EQ(0, gq_notify(d->q[TX]));
		sleep_ms(5);
		/* half a ms and more each */
		EXPECT_LT(0, gq_in_flight(d->q[TX]));
		for (unsigned int i = 0; i < 50; i++) {
			ASSERT_EQ(0, arrives(d, i))
				TH_LOG("frame %u", i);
		}
		for (unsigned int i = 0; i < 50; i++)
			ASSERT_EQ(0, took(d, TX));
	}
	EXPECT_EQ(0, dut_counter(d, TX, "errors"));
	EXPECT_EQ(200, dut_counter(d, TX, "reqs"));
}

static int set_vnet_hdr(struct dut *d, int on)
{
	return setsockopt(d->backend, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ? -errno : 0;
}

/* A socket that makes other headers than the driver wants: nothing arrives until they agree */
TEST_F(packet, headers_of_another_size)
{
	struct guest_seg seg = { self->d.scratch[RX].gpa, 4096 };
	struct dut *d = &self->d;
	unsigned char frame[100];

	NEEDED();
	if (self->hdr != OLD_HDR)
		SKIP(return, "one size is enough");
	make_frame(frame, sizeof(frame), 0, false);
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, set_vnet_hdr(d, !!variant->accept));
		ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
		gq_publish(d->q[RX]);
		ASSERT_EQ(0, gq_kick(d->q[RX]));
		for (unsigned int k = 0; k < 5; k++)
			ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		for (unsigned int k = 0; k < 300 && dut_counter(d, RX, "errors") < 5 * (i + 1); k++)
			sleep_ms(10);
		EXPECT_EQ(5 * (i + 1), dut_counter(d, RX, "errors"));
		EXPECT_FALSE(gq_pending(d->q[RX]));
		ASSERT_EQ(0, set_vnet_hdr(d, !variant->accept));
		ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		ASSERT_EQ(0, took(d, RX));
		EXPECT_EQ(0, memcmp(d->scratch[RX].p + self->hdr, frame, sizeof(frame)));
		ASSERT_EQ(0, dut_restart(d));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
}

TEST_HARNESS_MAIN
