// SPDX-License-Identifier: GPL-2.0
/*
 * Frames that a program of XDP sends to the TAP: they are in its ring without a socket buffer, by
 * themselves or between others that have one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "frames.h"
#include "links.h"

/* Linux 6.17: headers of 24 bytes */
#define TUNNEL_HDR	24

#define NOT_MERGEABLE	BIT(VIRTIO_NET_F_MRG_RXBUF)

FIXTURE(xdp) {
	struct dut d;
	unsigned int hdr;		/* bytes of the header */
	const char *why_not;
	int link;
	unsigned char frame[2048], got[4096];
};

FIXTURE_VARIANT(xdp) {
	uint64_t refuse;
	unsigned int hdr;
};

FIXTURE_VARIANT_ADD(xdp, mergeable) { .hdr = NET_HDR };
FIXTURE_VARIANT_ADD(xdp, single) { .refuse = NOT_MERGEABLE, .hdr = NET_HDR };
FIXTURE_VARIANT_ADD(xdp, legacy) {
	.refuse = NOT_MERGEABLE | BIT(VIRTIO_F_VERSION_1), .hdr = OLD_HDR,
};
FIXTURE_VARIANT_ADD(xdp, tunnel) { .hdr = TUNNEL_HDR };

FIXTURE_SETUP(xdp)
{
	struct dut_opts opts = { .refuse = variant->refuse, .num = 256, .stopped = true };
	struct dut *d = &self->d;

	/* older harnesses go on after a setup that skips: each test asks */
	self->link = -1;
	self->hdr = variant->hdr;
	self->why_not = "the TAP of this kernel knows no tunnels";
	if (self->hdr == TUNNEL_HDR && !kernel_at_least(6, 17))
		return;
	self->why_not = "this kernel has no veth devices";
	if (make_veth())
		return;
	ASSERT_EQ(0, dut_open(d, DUT_NET, &opts));
	ASSERT_EQ(0, set_hdr(d, self->hdr));
	if (self->hdr == TUNNEL_HDR) {
		uint64_t f[3] = { 2, d->g->features, TUNNEL_FEATURES };

		ASSERT_EQ(0, xioctl(d->g->fd, VHOST_SET_FEATURES_ARRAY, f));
	}
	self->link = xdp_redirect(VETH_PEER, d->ifname);
	self->why_not = "this kernel has no BPF";
	if (self->link == -ENOSYS)
		return;
	ASSERT_LE(0, self->link);
	self->why_not = NULL;
	ASSERT_EQ(0, dut_start(d));
}

FIXTURE_TEARDOWN(xdp)
{
	if (self->d.g) {
		if (self->link >= 0)
			close(self->link);
		dut_close(&self->d);
		del_veth();
	}
}

#define NEEDED()					\
	do {						\
		if (self->why_not)			\
			SKIP(return, "%s", self->why_not);	\
	} while (0)

static const struct virtio_net_hdr nothing;

/* By themselves first, from a start on: nothing tells whose they are */
TEST_F(xdp, between_others)
{
	static const struct sizes odd = { 4, { 100, 40, 300, 13 }, { 1, 2, 3, 1 } };
	struct dut *d = &self->d;
	unsigned int by_tap = 0;
	int64_t packets;

	NEEDED();
	packets = tap_counter(d->ifname, "tx_packets");
	for (unsigned int i = 0; i < 40; i++) {
		bool xdp = i < 10 || i % 3, in_pieces = !variant->refuse && i % 2;
		int64_t bytes = tap_counter(d->ifname, "tx_bytes");
		unsigned int len = 60 + i * 35;

		make_tcp(self->frame, len, i);
		ASSERT_EQ(0, send_with_hdr(xdp ? VETH_NAME : d->ifname, &nothing, self->frame,
					   len));
		ASSERT_EQ(0, receive(d, in_pieces ? &odd : &one_buffer, self->got,
				     self->hdr + len))
			TH_LOG("frame %u", i);
		EXPECT_EQ(0, memcmp(self->frame, self->got + self->hdr, len))
			TH_LOG("frame %u", i);
		EXPECT_EQ(0, memcmp(&nothing, self->got, sizeof(nothing)))
			TH_LOG("frame %u", i);
		/* the TAP, which copies the first one of all, counts its header in */
		bytes = tap_counter(d->ifname, "tx_bytes") - bytes;
		EXPECT_TRUE(bytes == len || bytes == self->hdr + len)
			TH_LOG("frame %u: %lld", i, (long long)bytes);
		by_tap += bytes != len;
	}
	/* and more while somebody else holds the lock of all devices */
	EXPECT_GE(3, by_tap);
	EXPECT_EQ(packets + 40, tap_counter(d->ifname, "tx_packets"));
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

static int post(struct dut *d, uint64_t gpa, uint32_t size)
{
	struct guest_seg seg = { gpa, size };
	int ret = gq_add(d->q[RX], &seg, 0, 1, d);

	gq_publish(d->q[RX]);
	return ret ?: gq_notify(d->q[RX]);
}

static bool errors(struct dut *d, int64_t n)
{
	for (unsigned int i = 0; i < 300 && dut_counter(d, RX, "errors") < n; i++)
		sleep_ms(10);
	return dut_counter(d, RX, "errors") == n;
}

/* Those that no buffer has room for, and those that guest memory faults for */
TEST_F(xdp, dropped)
{
	struct dut *d = &self->d;
	unsigned char *hole;
	int64_t dropped;
	uint32_t used;
	void *token;

	NEEDED();
	hole = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, hole);
	ASSERT_EQ(0, guest_add_region(d->g, 1ULL << 40, hole, 4096));
	ASSERT_EQ(0, guest_commit(d->g));
	make_tcp(self->frame, 1000, 1);
	dropped = tap_counter(d->ifname, "tx_dropped");
	for (unsigned int round = 0; round < 2; round++) {
		/* the TAP has copied one, and not the ones that follow */
		ASSERT_EQ(0, post(d, d->scratch[RX].gpa, 4096));
		ASSERT_EQ(0, send_with_hdr(VETH_NAME, &nothing, self->frame, 1000));
		ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
		ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		EXPECT_EQ(self->hdr + 1000, used);
	}
	ASSERT_EQ(0, mprotect(hole, 4096, PROT_NONE));
	ASSERT_EQ(0, post(d, 1ULL << 40, 4096));
	for (unsigned int i = 0; i < 20; i++)
		ASSERT_EQ(0, send_with_hdr(VETH_NAME, &nothing, self->frame, 1000));
	EXPECT_TRUE(errors(d, 20));
	ASSERT_EQ(0, mprotect(hole, 4096, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, send_with_hdr(VETH_NAME, &nothing, self->frame, 1000));
	ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
	ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
	EXPECT_EQ(0, memcmp(hole + self->hdr, self->frame, 1000));
	if (variant->refuse) {
		ASSERT_EQ(0, post(d, d->scratch[RX].gpa, 200));
		for (unsigned int i = 0; i < 20; i++)
			ASSERT_EQ(0, send_with_hdr(VETH_NAME, &nothing, self->frame, 1000));
		EXPECT_TRUE(errors(d, 40));
	}
	/* their device is told of them */
	for (unsigned int i = 0; i < 300 && tap_counter(d->ifname, "tx_dropped") < dropped +
	     dut_counter(d, RX, "errors"); i++)
		sleep_ms(10);
	EXPECT_EQ(dropped + dut_counter(d, RX, "errors"), tap_counter(d->ifname, "tx_dropped"));
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
	munmap(hole, 4096);
}

/* Those that wait, in the TAP and with the worker, keep their order over a stop */
TEST_F(xdp, waiting)
{
	struct dut *d = &self->d;

	NEEDED();
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 100; i++) {
			make_tcp(self->frame, 100 + i, i);
			ASSERT_EQ(0, send_with_hdr(i % 5 ? VETH_NAME : d->ifname, &nothing,
						   self->frame, 100 + i));
		}
		for (unsigned int i = 0; i < 100; i++) {
			if (i % 30 == 20) {
				ASSERT_EQ(0, dut_stop(d));
				/* the next one is anybody's */
				ASSERT_EQ(self->hdr + 100 + i,
					  read(d->backend, self->got, sizeof(self->got)));
				ASSERT_EQ(0, dut_start(d));
			} else {
				ASSERT_EQ(0, receive(d, &one_buffer, self->got,
						     self->hdr + 100 + i))
					TH_LOG("frame %u", i);
			}
			make_tcp(self->frame, 100 + i, i);
			ASSERT_EQ(0, memcmp(self->frame, self->got + self->hdr, 100 + i))
				TH_LOG("frame %u", i);
		}
	}
	/* some that nobody will take, for the stop */
	for (unsigned int i = 0; i < 20; i++)
		EXPECT_EQ(0, send_with_hdr(VETH_NAME, &nothing, self->frame, 200));
}

static long available_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && kib < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

/* Each has a page of its own: they are given back */
TEST_F_TIMEOUT(xdp, memory, 120)
{
	unsigned int n = many(300);
	struct dut *d = &self->d;
	long before = 0;
	uint32_t used;
	void *token;
	int sender;

	NEEDED();
	/* to close one takes as long as to send a hundred frames */
	sender = packet_socket(VETH_NAME, 0);
	ASSERT_LE(0, sender);
	make_tcp(self->frame, 1500, 1);
	for (unsigned int i = 0; i < 2 * n; i++) {
		/* what is used for the first time is used by then */
		if (i == n)
			before = available_kib();
		for (unsigned int k = 0; k < 32; k++)
			ASSERT_EQ(0, post(d, d->scratch[RX].gpa, 4096));
		for (unsigned int k = 0; k < 32; k++)
			ASSERT_EQ(1500, send(sender, self->frame, 1500, 0));
		for (unsigned int k = 0; k < 32; k++) {
			ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
			ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		}
	}
	/* 32 n pages would be 37 MiB */
	EXPECT_LT(before - (long)n * 32, available_kib());
	close(sender);
}

TEST_HARNESS_MAIN
