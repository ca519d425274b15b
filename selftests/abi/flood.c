// SPDX-License-Identifier: GPL-2.0
/*
 * Packets that cannot be delivered: of a guest that has posted no buffers, or too small ones, or
 * whose queue is broken. Nothing runs on account of them, however many there are.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "frames.h"
#include "links.h"

/* ms of a flood, and what the worker may have of it: a hundredth */
#define FLOOD_MS	1000
#define WORK_NS		(FLOOD_MS * 10000ULL)

/* Turns: the one that found no room, and one that was asked for while it looked; others' kicks */
#define TURNS		4

enum way {
	PLAIN,			/* socket buffers, to a TAP */
	REDIRECTED,		/* frames of XDP, to a TAP */
	MACVTAP,		/* socket buffers, to a macvtap */
	SEGMENTED,		/* the same, each of them cut into many packets by the macvtap */
};

FIXTURE(flood) {
	struct dut d;
	int link;
	struct virtio_net_hdr hdr;
	unsigned char *frame;
	unsigned int len;
	bool ready;
};

FIXTURE_VARIANT(flood) {
	enum way way;
};

FIXTURE_VARIANT_ADD(flood, plain) { .way = PLAIN };
FIXTURE_VARIANT_ADD(flood, redirected) { .way = REDIRECTED };
FIXTURE_VARIANT_ADD(flood, macvtap) { .way = MACVTAP };
FIXTURE_VARIANT_ADD(flood, segmented) { .way = SEGMENTED };

FIXTURE_SETUP(flood)
{
	struct dut_opts opts = { .macvtap = variant->way >= MACVTAP, .num = 256 };
	int ret;

	self->link = -1;
	self->len = 100;
	self->frame = calloc(1, FRAME_MAX);
	ASSERT_NE(NULL, self->frame);
	ret = dut_open(&self->d, DUT_NET, &opts);
	if (ret == -EOPNOTSUPP && opts.macvtap)
		SKIP(return, "this kernel has no macvtap devices");
	ASSERT_EQ(0, ret);
	if (variant->way == REDIRECTED) {
		if (make_veth())
			SKIP(return, "this kernel has no veth devices");
		self->link = xdp_redirect(VETH_PEER, self->d.ifname);
		if (self->link == -ENOSYS)
			SKIP(return, "this kernel has no BPF");
		ASSERT_LE(0, self->link);
	} else if (variant->way == SEGMENTED) {
		/* it would keep them whole */
		ASSERT_EQ(0, ioctl(self->d.backend, TUNSETOFFLOAD, 0));
		self->len = 60000;
		self->hdr = (struct virtio_net_hdr){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.gso_size = htole16(1448),
			.hdr_len = htole16(TCP_PAYLOAD),
			.csum_start = htole16(TCP_AT),
			.csum_offset = htole16(16),
		};
	}
	make_tcp(self->frame, self->len, 1);
	self->ready = true;
}

FIXTURE_TEARDOWN(flood)
{
	if (self->link >= 0)
		close(self->link);
	if (variant->way == REDIRECTED)
		del_veth();
	if (self->d.g)
		dut_close(&self->d);
	free(self->frame);
}

/* Send the same packet for a while. So many, or -errno; a full queue is no error */
static long send_flood(const char *ifname, const struct virtio_net_hdr *hdr, const void *frame,
		       size_t len, unsigned int ms)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = if_nametoindex(ifname),
		.sll_protocol = htobe16(0x0800),
		.sll_halen = 6,
	};
	struct iovec iov[] = { { (void *)hdr, sizeof(*hdr) }, { (void *)frame, len } };
	struct msghdr msg = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = iov, .msg_iovlen = 2,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1, room = 64 << 20;
	int64_t end = now_ms() + ms;
	long sent = 0;

	if (fd < 0)
		return -errno;
	/* a macvtap's queue is charged to the sender */
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		sent = -errno;
	/* also the first one: now */
	do {
		if (sendmsg(fd, &msg, MSG_DONTWAIT) >= 0)
			sent++;
		else if (errno != ENOBUFS && errno != EAGAIN)
			sent = -errno;
	} while (sent >= 0 && now_ms() < end);
	close(fd);
	return sent;
}

#define FLOOD(ms) \
	send_flood(variant->way == REDIRECTED ? VETH_NAME : self->d.ifname, &self->hdr, \
		   self->frame, self->len, ms)

static int post(struct dut *d, unsigned int n, unsigned int size)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < n; i++) {
		struct guest_seg seg = { d->scratch[RX].gpa + i % 16 * 4096, size };

		ret = gq_add(d->q[RX], &seg, 0, 1, d);
	}
	gq_publish(d->q[RX]);
	return ret;
}

/* Take back what was used. So many packets, or -errno */
static int collect(struct dut *d)
{
	uint32_t len;
	void *token;
	int n = 0;

	while (gq_pending(d->q[RX])) {
		if (gq_get(d->q[RX], &token, &len))
			return -EBADMSG;
		n++;
	}
	return n;
}

/* A flood, and what the worker had to do with it; packets and buffers go on afterwards */
#define EXPECT_QUIET() do {							\
	struct worker_use before, after;					\
	int64_t wakes = dut_counter(d, RX, "wakes");				\
	long sent;								\
										\
	ASSERT_EQ(0, worker_use(getpid(), &before));				\
	sent = FLOOD(FLOOD_MS);							\
	ASSERT_LT(20, sent);							\
	ASSERT_EQ(0, worker_use(getpid(), &after));				\
	EXPECT_GE(TURNS, dut_counter(d, RX, "wakes") - wakes)			\
		TH_LOG("%ld sent", sent);					\
	/* it shares its thread with nobody, but is run for its first turns */	\
	EXPECT_GE(3 * TURNS, after.runs - before.runs)				\
		TH_LOG("%ld sent", sent);					\
	EXPECT_GE(WORK_NS, after.ns - before.ns)				\
		TH_LOG("%ld sent", sent);					\
	printf("# %ld sent: %lld wakes, %llu runs, %llu us\n", sent,		\
	       (long long)(dut_counter(d, RX, "wakes") - wakes),		\
	       (unsigned long long)(after.runs - before.runs),			\
	       (unsigned long long)(after.ns - before.ns) / 1000);		\
} while (0)

/* Not a buffer is there, from the beginning or any more; and then there are some again */
TEST_F_TIMEOUT(flood, no_buffers, 60)
{
	struct dut *d = &self->d;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	EXPECT_QUIET();
	for (unsigned int i = 0; i < many(20); i++) {
		/* the driver that adds the first one is asked to kick, or need not, and is served */
		ASSERT_EQ(0, post(d, 1 + i % 3, 2048));
		ASSERT_EQ(0, gq_notify(d->q[RX]));
		while (gq_in_flight(d->q[RX])) {
			ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
			ASSERT_LT(0, collect(d));
		}
		if (i % 10 == 9)
			EXPECT_QUIET();
		else
			ASSERT_LT(0, FLOOD(1));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/* All buffers together are too few for the packet that comes next */
TEST_F_TIMEOUT(flood, short_buffers, 60)
{
	struct dut *d = &self->d;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(0, post(d, 1, 40));
		ASSERT_EQ(0, gq_kick(d->q[RX]));
		EXPECT_QUIET();
		EXPECT_FALSE(gq_pending(d->q[RX]));
		ASSERT_EQ(0, post(d, 1, 4000));
		EXPECT_EQ(0, gq_notify(d->q[RX]));
		ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
		EXPECT_EQ(2, collect(d));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/* Buffers come while packets do, and run out again and again: each is used, without a packet more */
TEST_F_TIMEOUT(flood, no_wake_is_lost, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[RX];

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	for (unsigned int i = 0; i < many(60); i++) {
		ASSERT_EQ(0, post(d, 1 + i % 7, 2048));
		ASSERT_EQ(0, gq_notify(q));
		/* some are waiting; the last of these may come when there is room again */
		ASSERT_LT(0, FLOOD(i % 3));
		while (gq_in_flight(q)) {
			int ret = gq_wait(q, 20);

			if (ret == -ETIMEDOUT) {
				/* all that waited was delivered: one more is, on its own */
				ASSERT_LT(0, FLOOD(0));
				ret = gq_wait(q, 5000);
			}
			ASSERT_EQ(0, ret)
				TH_LOG("%u in flight, round %u", gq_in_flight(q), i);
			ASSERT_LT(0, collect(d));
		}
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

/* A queue that is broken has no use for packets, nor for kicks */
TEST_F_TIMEOUT(flood, broken, 60)
{
	struct dut *d = &self->d;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	gq_push(d->q[RX], 0xffff);
	gq_publish(d->q[RX]);
	ASSERT_EQ(0, gq_kick(d->q[RX]));
	ASSERT_LT(0, FLOOD(0));
	ASSERT_TRUE(wait_queue_is(d->g->fd, RX, "broken", 5000));
	EXPECT_QUIET();
	ASSERT_EQ(0, dut_restart(d));
	ASSERT_EQ(0, post(d, 1, 4000));
	ASSERT_EQ(0, gq_notify(d->q[RX]));
	ASSERT_LT(0, FLOOD(0));
	ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
}

TEST_HARNESS_MAIN
