// SPDX-License-Identifier: GPL-2.0
/*
 * Packets to the guest of all kinds: what the header says of them, VLAN tags, socket buffers in
 * pieces, frames cut off by a filter; and buffers of odd sizes for them.
 */
#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "frames.h"
#include "links.h"

#define VLAN_NAME	"vhltestvlan"

#define VLAN_ID		5
#define MTU		30000

FIXTURE(packets) {
	struct dut d;
	unsigned int hdr;		/* bytes of the header */
	unsigned char *frame;		/* FRAME_MAX, sent */
	unsigned char *got;		/* twice that, received with its header */
};

FIXTURE_VARIANT(packets) {
	uint64_t refuse;
	unsigned int hdr;
};

FIXTURE_VARIANT_ADD(packets, mergeable) {
	.hdr = NET_HDR,
};

FIXTURE_VARIANT_ADD(packets, single) {
	.refuse = BIT(VIRTIO_NET_F_MRG_RXBUF),
	.hdr = NET_HDR,
};

FIXTURE_VARIANT_ADD(packets, legacy) {
	.refuse = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_F_VERSION_1),
	.hdr = OLD_HDR,
};

FIXTURE_SETUP(packets)
{
	struct dut_opts opts = { .refuse = variant->refuse, .num = 256, .stopped = true };
	struct dut *d = &self->d;

	self->hdr = variant->hdr;
	self->frame = calloc(1, FRAME_MAX);
	self->got = malloc(2 * FRAME_MAX);
	ASSERT_TRUE(self->frame && self->got);
	ASSERT_EQ(0, dut_open(d, DUT_NET, &opts));
	ASSERT_EQ(0, run("ip link set %s mtu %u", d->ifname, MTU));
	ASSERT_EQ(0, set_hdr(d, self->hdr));
	ASSERT_EQ(0, ioctl(d->backend, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN));
	ASSERT_EQ(0, dut_start(d));
}

FIXTURE_TEARDOWN(packets)
{
	dut_close(&self->d);
	free(self->frame);
	free(self->got);
}

/* What a packet may say of itself: all that the TAP's offloads let through */
TEST_F(packets, headers)
{
	static const struct {
		uint8_t flags, gso_type;
		uint16_t gso_size, len;
	} cases[] = {
		{ 0, VIRTIO_NET_HDR_GSO_NONE, 0, 60 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, 60 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, 1514 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, 20001 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 1000, 3000 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 64000 },
		{ VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1000, 9001 },
	};
	struct dut *d = &self->d;

	/* the second time not copied by the TAP */
	for (unsigned int i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned int k = i % (sizeof(cases) / sizeof(cases[0]));
		bool csum = cases[k].flags;
		struct virtio_net_hdr hdr = {
			.flags = cases[k].flags,
			.gso_type = cases[k].gso_type,
			.gso_size = htole16(cases[k].gso_size),
			.hdr_len = htole16(csum ? TCP_PAYLOAD : 0),
			.csum_start = htole16(csum ? TCP_AT : 0),
			.csum_offset = htole16(csum ? 16 : 0),
		};
		struct virtio_net_hdr_mrg_rxbuf *got = (void *)self->got;
		unsigned int len = cases[k].len;

		make_tcp(self->frame, len, i);
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, len))
			TH_LOG("case %u", i);
		ASSERT_EQ(0, receive(d, &one_buffer, self->got, self->hdr + len))
			TH_LOG("case %u", i);
		EXPECT_EQ(0, memcmp(self->frame, self->got + self->hdr, len))
			TH_LOG("case %u", i);
		EXPECT_EQ(hdr.flags, got->hdr.flags);
		EXPECT_EQ(hdr.gso_type, got->hdr.gso_type)
			TH_LOG("case %u", i);
		EXPECT_EQ(hdr.gso_size, got->hdr.gso_size);
		EXPECT_EQ(hdr.csum_start, got->hdr.csum_start);
		EXPECT_EQ(hdr.csum_offset, got->hdr.csum_offset);
		if (hdr.gso_size) {
			EXPECT_LE(TCP_PAYLOAD, le16toh(got->hdr.hdr_len));
			EXPECT_GE(len, le16toh(got->hdr.hdr_len));
		} else {
			EXPECT_EQ(0, got->hdr.hdr_len);
		}
		if (self->hdr == NET_HDR) {
			EXPECT_EQ(1, le16toh(got->num_buffers));
		}
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/*
 * A tag that is beside the frame in the socket buffer is in it for the guest, with whatever
 * buffers; and what the header says is farther back by its length
 */
TEST_F(packets, vlan_tags)
{
	static const unsigned int lens[] = { 60, 61, 1514, 20001 };
	/* the tag ends up in one segment, or in several, or begins a buffer */
	static const struct sizes sizes[] = {
		{ 1, { 70000 }, { 1 } }, { 1, { 70000 }, { 3 } },
		{ 6, { 22, 1, 1, 3, 1, 5000 }, { 1, 1, 1, 1, 1, 1 } },
		{ 3, { 24, 300, 9000 }, { 2, 3, 4 } },
	};
	unsigned int nsizes = variant->refuse & BIT(VIRTIO_NET_F_MRG_RXBUF) ? 2 : 4;
	struct virtio_net_hdr hdr = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = htole16(TCP_AT),
		.csum_offset = htole16(16),
		.hdr_len = htole16(TCP_PAYLOAD),
	};
	struct dut *d = &self->d;
	int64_t packets, bytes, sent = 0;

	if (run("ip link add link %s name " VLAN_NAME " type vlan id %u", d->ifname, VLAN_ID))
		SKIP(return, "this kernel has no VLAN devices");
	no_ipv6(VLAN_NAME);
	ASSERT_EQ(0, run("ip link set " VLAN_NAME " up"));
	ASSERT_EQ(0, send_with_hdr(d->ifname, &(struct virtio_net_hdr){ 0 }, self->frame, 60));
	ASSERT_EQ(0, receive(d, &one_buffer, self->got, self->hdr + 60));
	packets = tap_counter(d->ifname, "tx_packets");
	bytes = tap_counter(d->ifname, "tx_bytes");
	for (unsigned int i = 0; i < 4 * nsizes; i++) {
		unsigned int len = lens[i % 4];
		struct virtio_net_hdr *got = (void *)self->got;
		unsigned char *p = self->got + self->hdr;

		make_tcp(self->frame, len, i);
		ASSERT_EQ(0, send_with_hdr(VLAN_NAME, &hdr, self->frame, len));
		ASSERT_EQ(0, receive(d, &sizes[i / 4], self->got, self->hdr + len + 4))
			TH_LOG("%u bytes, sizes %u", len, i / 4);
		EXPECT_EQ(0, memcmp(self->frame, p, 12));
		EXPECT_EQ(0, memcmp("\x81\x00\x00\x05", p + 12, 4));
		EXPECT_EQ(0, memcmp(self->frame + 12, p + 16, len - 12))
			TH_LOG("%u bytes, sizes %u", len, i / 4);
		EXPECT_EQ(hdr.flags, got->flags);
		EXPECT_EQ(TCP_AT + 4, le16toh(got->csum_start));
		EXPECT_EQ(16, le16toh(got->csum_offset));
		sent += len + 4;
	}
	EXPECT_EQ(packets + 4 * nsizes, tap_counter(d->ifname, "tx_packets"));
	EXPECT_EQ(bytes + sent, tap_counter(d->ifname, "tx_bytes"));
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/* Buffers and segments that end anywhere, for packets in one piece and in several */
TEST_F(packets, odd_buffers)
{
	static const unsigned int lens[] = { 60, 1501, 4001, 20011, 29999 };
	static const struct sizes merged[] = {
		{ 6, { 1, 2, 3, 5, 7, 4099 }, { 1, 1, 1, 1, 1, 1 } },
		{ 3, { 13, 700, 8191 }, { 4, 3, 2 } },
		{ 2, { 11, 4096 }, { 1, 1 } },
		{ 1, { 1526 }, { 2 } },
	};
	static const struct sizes single[] = {
		{ 1, { 70000 }, { 4 } }, { 1, { 70001 }, { 3 } },
		{ 1, { 65001 }, { 2 } }, { 1, { 42000 }, { 4 } },
	};
	bool mergeable = !(variant->refuse & BIT(VIRTIO_NET_F_MRG_RXBUF));
	struct virtio_net_hdr hdr = { 0 }, *got = (void *)self->got;
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < 4 * 5; i++) {
		const struct sizes *s = &(mergeable ? merged : single)[i / 5];
		unsigned int len = lens[i % 5], buffers = 0;

		make_tcp(self->frame, len, i);
		/* what it says of headers is all that becomes one piece */
		hdr.hdr_len = htole16(len > 4096 ? TCP_PAYLOAD : 0);
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, len));
		ASSERT_EQ(0, receive(d, s, self->got, self->hdr + len))
			TH_LOG("%u bytes, sizes %u", len, i / 5);
		EXPECT_EQ(0, memcmp(self->frame, self->got + self->hdr, len))
			TH_LOG("%u bytes, sizes %u", len, i / 5);
		EXPECT_EQ(0, got->flags);
		for (unsigned int have = 0; have < self->hdr + len; buffers++)
			have += s->size[buffers % s->n];
		if (self->hdr == NET_HDR) {
			EXPECT_EQ(buffers, le16toh(*(uint16_t *)(self->got + OLD_HDR)));
		}
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/* A buffer whose second page is not there: no packet is said to be in it */
TEST_F(packets, fault_half_way)
{
	uint64_t gpa = 1ULL << 40;
	struct dut *d = &self->d;
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, mprotect(p + 4096, 4096, PROT_NONE));
	ASSERT_EQ(0, guest_add_region(d->g, gpa, p, 8192));
	ASSERT_EQ(0, guest_commit(d->g));
	/* in the header, right behind it, in the frame; the last one is in several pieces */
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int room = (const unsigned int[]){ 6, self->hdr, 100, 4090 }[i];
		struct guest_seg seg = { gpa + 4096 - room, room + 4096 };
		struct virtio_net_hdr hdr = { .hdr_len = htole16(i == 3 ? TCP_PAYLOAD : 0) };
		unsigned int len = i == 3 ? 4200 : 1000;

		/* not the first one of a start: that the TAP copies */
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, 60));
		ASSERT_EQ(0, receive(d, &one_buffer, self->got, self->hdr + 60));
		make_tcp(self->frame, len, i);
		ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
		gq_publish(d->q[RX]);
		ASSERT_EQ(0, gq_kick(d->q[RX]));
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, len));
		for (unsigned int k = 0; k < 300 && dut_counter(d, RX, "errors") <= i; k++)
			sleep_ms(10);
		EXPECT_EQ(i + 1, dut_counter(d, RX, "errors"))
			TH_LOG("case %u", i);
		EXPECT_FALSE(gq_pending(d->q[RX]));
		ASSERT_EQ(0, dut_restart(d));
	}
	/* drops.c has those that do not pass */
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
	ASSERT_EQ(0, send_with_hdr(d->ifname, &(struct virtio_net_hdr){ 0 }, self->frame, 60));
	ASSERT_EQ(0, receive(d, &one_buffer, self->got, self->hdr + 60));
	munmap(p, 8192);
}

/*
 * A filter of the TAP's that leaves five bytes of a frame, which is also less than what goes in
 * front of a tag
 */
TEST_F(packets, cut_off)
{
	struct bpf_insn prog[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 5 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct virtio_net_hdr hdr = { 0 };
	struct dut *d = &self->d;
	int fd, none = -1;

	if (run("ip link add link %s name " VLAN_NAME " type vlan id %u", d->ifname, VLAN_ID))
		SKIP(return, "this kernel has no VLAN devices");
	no_ipv6(VLAN_NAME);
	ASSERT_EQ(0, run("ip link set " VLAN_NAME " up"));
	ASSERT_LT(0, plain(d, d->ifname, self->hdr, 1));
	fd = load_bpf(BPF_PROG_TYPE_SOCKET_FILTER, prog, sizeof(prog) / sizeof(prog[0]));
	if (fd == -ENOSYS)
		SKIP(return, "this kernel has no BPF");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(d->backend, TUNSETFILTEREBPF, &fd));
	make_tcp(self->frame, 100, 1);
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, send_with_hdr(d->ifname, &hdr, self->frame, 100));
		ASSERT_EQ(0, receive(d, &one_buffer, self->got, self->hdr + 5));
		EXPECT_EQ(0, memcmp(self->frame, self->got + self->hdr, 5));
		/* is waited for by the one that comes behind it */
		ASSERT_EQ(0, send_with_hdr(VLAN_NAME, &hdr, self->frame, 100));
	}
	ASSERT_EQ(0, ioctl(d->backend, TUNSETFILTEREBPF, &none));
	EXPECT_LT(0, plain(d, d->ifname, self->hdr, 1));
	EXPECT_EQ(3, dut_counter(d, RX, "errors"));
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
	close(fd);
}

TEST_HARNESS_MAIN
