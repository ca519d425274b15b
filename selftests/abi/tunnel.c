// SPDX-License-Identifier: GPL-2.0
/*
 * Headers of 24 bytes, which say where the headers of a UDP tunnel are: to the guest and from it,
 * through a bridge to a second TAP, where all of the header has to arrive.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

/* Linux 6.17 */
#ifndef TUN_F_UDP_TUNNEL_GSO
#define TUN_F_UDP_TUNNEL_GSO			0x80
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4	0x20
#endif

#define HDR	24
#define BRIDGE	"vhltestbr"

struct tunnel_hdr {
	struct virtio_net_hdr_mrg_rxbuf base;
	uint32_t hash;
	uint16_t hash_report, padding;
	uint16_t outer_th, inner_nh;
};

/* A VXLAN frame: where its headers are */
enum {
	OUTER_IP = 14,
	OUTER_UDP = OUTER_IP + 20,
	VXLAN = OUTER_UDP + 8,
	INNER_MAC = VXLAN + 8,
	INNER_IP = INNER_MAC + 14,
	INNER_TCP = INNER_IP + 20,
	PAYLOAD = INNER_TCP + 20,
};

#define SEGMENT	1000

#define NO_TUNNELS	"the TAP of this kernel knows no tunnels"

/* Two guests' worth of addresses; a bridge learns them */
static const unsigned char mac[2][6] = { { 2, 2, 2, 2, 2, 1 }, { 2, 2, 2, 2, 2, 2 } };

FIXTURE(tunnel) {
	struct dut d;
	int peer;		/* the second TAP; a read is a frame to it, a write one from it */
};

static int bridge(const char *a, const char *b)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct ifreq ifr = { .ifr_name = BRIDGE };

	if (s < 0)
		return -errno;
	/* left by one that died; the module is loaded by the request */
	set_link(BRIDGE, false);
	ioctl(s, SIOCBRDELBR, BRIDGE);
	ret = ioctl(s, SIOCBRADDBR, BRIDGE);
	/* nothing from the bridge itself */
	put_file("/proc/sys/net/ipv6/conf/" BRIDGE "/disable_ipv6", "1");
	put_file("/sys/class/net/" BRIDGE "/bridge/multicast_snooping", "0");
	ifr.ifr_ifindex = if_nametoindex(a);
	if (!ret)
		ret = ioctl(s, SIOCBRADDIF, &ifr);
	ifr.ifr_ifindex = if_nametoindex(b);
	if (!ret)
		ret = ioctl(s, SIOCBRADDIF, &ifr);
	ret = ret ? -errno : set_link(BRIDGE, true);
	close(s);
	return ret;
}

static void unbridge(void)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	set_link(BRIDGE, false);
	ioctl(s, SIOCBRDELBR, BRIDGE);
	close(s);
}

/* Offered and taken besides what the struct dut takes */
static int take_tunnels(struct dut *d)
{
	uint64_t f[3] = { 2, d->g->features, TUNNEL_FEATURES };

	return xioctl(d->g->fd, VHOST_SET_FEATURES_ARRAY, f);
}

FIXTURE_SETUP(tunnel)
{
	const unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_UDP_TUNNEL_GSO;
	struct dut_opts opts = { .stopped = true, .num = 256 };
	struct dut *d = &self->d;
	char name[IFNAMSIZ];
	int hdr = HDR;

	self->peer = -1;
	ASSERT_EQ(0, dut_open(d, DUT_NET, &opts));
	/* each test says so itself: older harnesses go on with a test whose setup was skipped */
	if (!kernel_at_least(6, 17))
		return;
	ASSERT_EQ(0, take_tunnels(d));
	self->peer = make_tap(name, HDR);
	ASSERT_GE(self->peer, 0);
	ASSERT_EQ(0, ioctl(d->backend, TUNSETVNETHDRSZ, &hdr));
	ASSERT_EQ(0, ioctl(d->backend, TUNSETOFFLOAD, offloads));
	ASSERT_EQ(0, ioctl(self->peer, TUNSETOFFLOAD, offloads));
	ASSERT_EQ(0, bridge(d->ifname, name));
	ASSERT_EQ(0, dut_start(d));
}

FIXTURE_TEARDOWN(tunnel)
{
	dut_close(&self->d);
	if (self->peer >= 0) {
		unbridge();
		close(self->peer);
	}
}

static void put16(unsigned char *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void ip_header(unsigned char *p, size_t len, uint8_t protocol)
{
	static const unsigned char addr[8] = { 192, 0, 2, 1, 192, 0, 2, 2 };
	uint32_t sum = 0;

	p[0] = 0x45;
	put16(p + 2, len);
	p[8] = 64;
	p[9] = protocol;
	memcpy(p + 12, addr, 8);
	for (unsigned int i = 0; i < 20; i += 2)
		sum += p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(p + 10, ~((sum & 0xffff) + (sum >> 16)));
}

/* A frame of @len bytes from one end to the other, and the header that goes with it */
static void make_tunneled(unsigned char *p, size_t len, unsigned int from, struct tunnel_hdr *hdr)
{
	memset(p, 0, PAYLOAD);
	memcpy(p, mac[!from], 6);
	memcpy(p + 6, mac[from], 6);
	put16(p + 12, 0x0800);
	ip_header(p + OUTER_IP, len - OUTER_IP, IPPROTO_UDP);
	put16(p + OUTER_UDP, 40000);
	put16(p + OUTER_UDP + 2, 4789);
	put16(p + OUTER_UDP + 4, len - OUTER_UDP);
	p[VXLAN] = 8;
	memcpy(p + INNER_MAC, p, 14);
	ip_header(p + INNER_IP, len - INNER_IP, IPPROTO_TCP);
	put16(p + INNER_TCP, 1);
	put16(p + INNER_TCP + 2, 2);
	p[INNER_TCP + 12] = 5 << 4;
	p[INNER_TCP + 13] = 0x10;
	for (size_t i = PAYLOAD; i < len; i++)
		p[i] = len + i * 13 + (i >> 8);

	*hdr = (struct tunnel_hdr) {
		.base.hdr = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
			.hdr_len = htole16(PAYLOAD),
			.gso_size = htole16(SEGMENT),
			.csum_start = htole16(INNER_TCP),
			.csum_offset = htole16(16),
		},
		.outer_th = htole16(OUTER_UDP),
		.inner_nh = htole16(INNER_IP),
	};
}

/* Is this the header that make_tunneled() made, apart from what the kernel may change */
static bool same_hdr(const struct tunnel_hdr *want, const struct tunnel_hdr *got)
{
	const unsigned char *p = (const void *)got;

	if (got->base.hdr.flags == want->base.hdr.flags &&
	    got->base.hdr.gso_type == want->base.hdr.gso_type &&
	    got->base.hdr.gso_size == want->base.hdr.gso_size &&
	    got->base.hdr.csum_start == want->base.hdr.csum_start &&
	    got->base.hdr.csum_offset == want->base.hdr.csum_offset &&
	    got->outer_th == want->outer_th && got->inner_nh == want->inner_nh)
		return true;
	printf("# header:");
	for (unsigned int i = 0; i < HDR; i++)
		printf(" %02x", p[i]);
	printf("\n");
	return false;
}

/* A frame to the second TAP, with its header; others than ours are passed over */
static ssize_t peer_read(int peer, unsigned char *buf, size_t size, unsigned int from, int ms)
{
	struct pollfd p = { .fd = peer, .events = POLLIN };
	int64_t end = now_ms() + ms;
	ssize_t n;

	while (now_ms() < end) {
		if (poll(&p, 1, end - now_ms()) <= 0)
			break;
		n = read(peer, buf, size);
		if (n >= HDR + 14 && !memcmp(buf + HDR + 6, mac[from], 6))
			return n;
	}
	return -ETIMEDOUT;
}

/* Send what is at the beginning of the scratch's free part */
static int transmit(struct dut *d, uint32_t len)
{
	struct guest_seg seg[] = {
		{ d->scratch[TX].gpa + SCRATCH_HDR, HDR }, { d->scratch[TX].gpa + SCRATCH_FREE, len },
	};
	void *token;
	uint32_t used;
	int ret;

	ret = gq_add(d->q[TX], seg, 2, 0, d);
	gq_publish(d->q[TX]);
	return ret ?: gq_notify(d->q[TX]) ?: gq_wait(d->q[TX], 20000) ?:
	       gq_get(d->q[TX], &token, &used);
}

/* Those that go in a batch, and those that the TAP copies */
static const size_t lengths[] = { PAYLOAD + 2 * SEGMENT, 3600, 5000, 30000, 65000 };

TEST_F(tunnel, from_the_guest)
{
	struct dut *d = &self->d;
	unsigned char *hdr = d->scratch[TX].p + SCRATCH_HDR, *frame = d->scratch[TX].p + SCRATCH_FREE;
	unsigned char *got = malloc(70000);
	struct tunnel_hdr want;

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	for (unsigned int i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len = lengths[i];

		make_tunneled(frame, len, 0, &want);
		memcpy(hdr, &want, HDR);
		ASSERT_EQ(0, transmit(d, len));
		ASSERT_EQ(HDR + len, peer_read(self->peer, got, 70000, 0, 5000))
			TH_LOG("%zu bytes", len);
		EXPECT_TRUE(same_hdr(&want, (void *)got))
			TH_LOG("%zu bytes", len);
		/* the checksum of TCP aside, which whoever makes segments of it completes */
		EXPECT_EQ(0, memcmp(got + HDR, frame, INNER_TCP + 16));
		EXPECT_EQ(0, memcmp(got + HDR + INNER_TCP + 18, frame + INNER_TCP + 18,
				    len - INNER_TCP - 18));

		/* the TAP reads the last bytes of a header, too, and drops what makes no sense */
		((struct tunnel_hdr *)hdr)->inner_nh = htole16(OUTER_UDP);
		ASSERT_EQ(0, transmit(d, len));
		EXPECT_EQ(-ETIMEDOUT, peer_read(self->peer, got, 70000, 0, 50));
	}
	free(got);
}

/* CVE-2024-11614 and the like: offsets in front of, behind and into each other, of all types */
TEST_F_TIMEOUT(tunnel, extremes, 120)
{
	static const uint16_t offsets[] = {
		0, 1, OUTER_IP, OUTER_UDP, OUTER_UDP + 1, VXLAN, INNER_MAC, INNER_IP, INNER_TCP,
		PAYLOAD, 3599, 3600, 4999, 5000, 0x7fff, 0xffff,
	};
	static const uint8_t types[] = { 0x21, 0x41, 0x61, 0x24, 0x25, 0x45, 0x20, 0xa1 };
	const unsigned int n = sizeof(offsets) / sizeof(offsets[0]);
	struct dut *d = &self->d;
	struct tunnel_hdr *hdr = (void *)(d->scratch[TX].p + SCRATCH_HDR), want;
	unsigned char *frame = d->scratch[TX].p + SCRATCH_FREE, got[8192];

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	for (unsigned int len = 3600; len <= 5000; len += 1400) {
		make_tunneled(frame, len, 0, &want);
		for (unsigned int i = 0; i < n * n * sizeof(types); i++) {
			*hdr = want;
			hdr->base.hdr.gso_type = types[i / (n * n)];
			hdr->base.hdr.gso_size = htole16(i % 3 ? SEGMENT : 1);
			hdr->outer_th = htole16(offsets[i % n]);
			hdr->inner_nh = htole16(offsets[i / n % n]);
			ASSERT_EQ(0, transmit(d, len));
		}
		while (peer_read(self->peer, got, sizeof(got), 0, 50) >= 0)
			;
		memcpy(hdr, &want, HDR);
		ASSERT_EQ(0, transmit(d, len));
		EXPECT_EQ(HDR + len, peer_read(self->peer, got, sizeof(got), 0, 5000));
	}
	EXPECT_TRUE(queue_is(d->g->fd, TX, "running"));
}

struct flipper {
	volatile unsigned char *hdr;
	atomic_bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	unsigned int seed = 1;

	while (!atomic_load(&f->stop)) {
		for (unsigned int i = 0; i < 100; i++)
			f->hdr[rand_r(&seed) % HDR] ^= 1 << rand_r(&seed) % 8;
		sched_yield();
	}
	return NULL;
}

/* The header changes while it is read: what was checked is what the TAP gets */
TEST_F_TIMEOUT(tunnel, header_changes, 120)
{
	struct dut *d = &self->d;
	struct flipper f = { .hdr = d->scratch[TX].p + SCRATCH_HDR };
	unsigned char *frame = d->scratch[TX].p + SCRATCH_FREE, got[8192];
	struct tunnel_hdr want;
	pthread_t thread;

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	make_tunneled(frame, 5000, 0, &want);
	memcpy((void *)f.hdr, &want, HDR);
	ASSERT_EQ(0, pthread_create(&thread, NULL, flip, &f));
	for (unsigned int i = 0; i < many(2000); i++) {
		ASSERT_EQ(0, transmit(d, i % 2 ? 5000 : 3600));
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	while (peer_read(self->peer, got, sizeof(got), 0, 50) >= 0)
		;
	memcpy((void *)f.hdr, &want, HDR);
	ASSERT_EQ(0, transmit(d, 5000));
	EXPECT_EQ(HDR + 5000, peer_read(self->peer, got, sizeof(got), 0, 5000));
}

/* Into one chain, and into buffers of 2 KiB of which there are many */
TEST_F(tunnel, to_the_guest)
{
	struct dut *d = &self->d;
	unsigned char *buf = d->scratch[RX].p + SCRATCH_FREE, *out = malloc(70000);
	uint64_t gpa = d->scratch[RX].gpa + SCRATCH_FREE;
	struct tunnel_hdr *hdr = (void *)out;

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	for (unsigned int i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len = lengths[i / 2], total = HDR + len;
		uint32_t piece = i % 2 ? 2048 : 70000, used, have = 0;
		unsigned int n = (total + piece - 1) / piece;
		struct tunnel_hdr *got = (void *)buf;
		void *token;

		make_tunneled(out + HDR, len, 1, hdr);
		memset(buf, 0xaa, 70000);
		for (unsigned int k = 0; k < n; k++) {
			struct guest_seg seg = { gpa + k * piece, piece };

			ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
		}
		gq_publish(d->q[RX]);
		ASSERT_EQ(0, gq_notify(d->q[RX]));
		ASSERT_EQ(total, write(self->peer, out, total));
		for (unsigned int k = 0; k < n; k++) {
			ASSERT_EQ(0, gq_wait(d->q[RX], 20000));
			ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
			have += used;
		}
		EXPECT_EQ(total, have);
		EXPECT_EQ(n, le16toh(got->base.num_buffers));
		EXPECT_TRUE(same_hdr(hdr, got))
			TH_LOG("%zu bytes in %u buffers", len, n);
		EXPECT_EQ(0, memcmp(buf + HDR, out + HDR, INNER_TCP + 16));
		EXPECT_EQ(0, memcmp(buf + HDR + INNER_TCP + 18, out + HDR + INNER_TCP + 18,
				    len - INNER_TCP - 18));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
	free(out);
}

/* A frame that is no tunnel's, both ways */
TEST_F(tunnel, plain_frames)
{
	struct dut *d = &self->d;
	struct tunnel_hdr *hdr = (void *)(d->scratch[RX].p + SCRATCH_FREE);
	unsigned char frame[1500], got[2048];

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	for (unsigned int len = 60; len <= sizeof(frame); len += 360) {
		struct guest_seg seg = { d->scratch[RX].gpa + SCRATCH_FREE, 2048 };
		uint32_t used;
		void *token;

		make_frame(frame, len, len, true);
		memcpy(frame + 6, mac[0], 6);
		memset(d->scratch[TX].p, 0, HDR);
		memcpy(d->scratch[TX].p + SCRATCH_FREE, frame, len);
		ASSERT_EQ(0, transmit(d, len));
		ASSERT_EQ(HDR + len, peer_read(self->peer, got, sizeof(got), 0, 5000));
		EXPECT_EQ(0, memcmp(got + HDR, frame, len));

		make_frame(frame, len, len, false);
		memset(hdr, 0xaa, HDR + len);
		ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
		gq_publish(d->q[RX]);
		ASSERT_EQ(0, gq_notify(d->q[RX]));
		ASSERT_EQ(0, dut_send(d, frame, len));
		ASSERT_EQ(0, gq_wait(d->q[RX], 20000));
		ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		EXPECT_EQ(HDR + len, used);
		EXPECT_EQ(1, le16toh(hdr->base.num_buffers));
		EXPECT_EQ(0, hdr->base.hdr.gso_type);
		EXPECT_EQ(0, hdr->outer_th);
		EXPECT_EQ(0, hdr->inner_nh);
		EXPECT_EQ(0, memcmp(hdr + 1, frame, len));
	}
}

TEST_F(tunnel, features_while_running)
{
	struct dut *d = &self->d;
	uint64_t f[3] = { 2, d->g->features, TUNNEL_FEATURES };
	struct dev_info info;

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	EXPECT_EQ(0, xioctl(d->g->fd, VHOST_SET_FEATURES_ARRAY, f));
	f[2] = 0;
	EXPECT_EQ(-EBUSY, xioctl(d->g->fd, VHOST_SET_FEATURES_ARRAY, f));
	EXPECT_EQ(-EBUSY, xioctl(d->g->fd, VHOST_SET_FEATURES, f + 1));
	f[0] = 1;
	EXPECT_EQ(-EBUSY, xioctl(d->g->fd, VHOST_SET_FEATURES_ARRAY, f));
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_EQ(d->g->features, info.features);
	EXPECT_EQ(TUNNEL_FEATURES, info.features_high);
	/* a new owner begins with none */
	ASSERT_EQ(0, xioctl(d->g->fd, VHOST_RESET_OWNER, NULL));
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_EQ(0, info.features);
	EXPECT_EQ(0, info.features_high);
}

/* Headers of 12 bytes are too short now, those of the TAP are when they are of another size */
TEST_F(tunnel, headers_too_short)
{
	struct dut *d = &self->d;
	struct guest_seg seg = { d->scratch[TX].gpa, HDR - 1 };
	struct guest_seg in = { d->scratch[RX].gpa + SCRATCH_FREE, 2048 };
	unsigned char frame[100];
	int hdr = NET_HDR;

	if (self->peer < 0)
		SKIP(return, NO_TUNNELS);
	ASSERT_EQ(0, ioctl(d->backend, TUNSETOFFLOAD, 0));
	ASSERT_EQ(0, ioctl(d->backend, TUNSETVNETHDRSZ, &hdr));
	make_frame(frame, sizeof(frame), 1, false);
	ASSERT_EQ(0, gq_add(d->q[RX], &in, 0, 1, d));
	gq_publish(d->q[RX]);
	ASSERT_EQ(0, gq_notify(d->q[RX]));
	ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
	EXPECT_EQ(-ETIMEDOUT, gq_wait(d->q[RX], 100));
	EXPECT_LE(1, dut_counter(d, RX, "errors"));
	EXPECT_TRUE(queue_is(d->g->fd, RX, "running"));

	ASSERT_EQ(0, gq_add(d->q[TX], &seg, 1, 0, d));
	gq_publish(d->q[TX]);
	ASSERT_EQ(0, gq_notify(d->q[TX]));
	EXPECT_TRUE(wait_queue_is(d->g->fd, TX, "broken", 5000));
}

/* A TAP without headers: the device makes all 24 bytes itself */
TEST(header_made_by_the_device)
{
	struct dut_opts opts = { .stopped = true, .accept = BIT(VHOST_NET_F_VIRTIO_NET_HDR) };
	unsigned char frame[300], got[2048], *buf;
	uint32_t used;
	void *token;
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	if (!kernel_at_least(6, 17)) {
		dut_close(&d);
		SKIP(return, NO_TUNNELS);
	}
	ASSERT_EQ(0, take_tunnels(&d));
	ASSERT_EQ(0, dut_start(&d));
	make_frame(frame, sizeof(frame), 1, true);
	memset(d.scratch[TX].p, 0xff, HDR);
	memcpy(d.scratch[TX].p + SCRATCH_FREE, frame, sizeof(frame));
	ASSERT_EQ(0, transmit(&d, sizeof(frame)));
	ASSERT_EQ(sizeof(frame), dut_receive(&d, got, sizeof(got), 5000));
	EXPECT_EQ(0, memcmp(got, frame, sizeof(frame)));

	struct guest_seg seg = { d.scratch[RX].gpa + SCRATCH_FREE, 2048 };

	buf = d.scratch[RX].p + SCRATCH_FREE;
	memset(buf, 0xaa, 2048);
	make_frame(frame, sizeof(frame), 2, false);
	ASSERT_EQ(0, gq_add(d.q[RX], &seg, 0, 1, &d));
	gq_publish(d.q[RX]);
	ASSERT_EQ(0, gq_notify(d.q[RX]));
	ASSERT_EQ(0, dut_send(&d, frame, sizeof(frame)));
	ASSERT_EQ(0, gq_wait(d.q[RX], 20000));
	ASSERT_EQ(0, gq_get(d.q[RX], &token, &used));
	EXPECT_EQ(HDR + sizeof(frame), used);
	for (unsigned int i = 0; i < HDR; i++) {
		EXPECT_EQ(i == 10, buf[i])
			TH_LOG("byte %u", i);
	}
	EXPECT_EQ(0, memcmp(buf + HDR, frame, sizeof(frame)));
	dut_close(&d);
}

TEST_HARNESS_MAIN
