// SPDX-License-Identifier: GPL-2.0
/*
 * Packets that are dropped: those that vhost-lite drops are in the counters of the TAP or macvtap
 * (ip -s link), and naps cost none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "frames.h"
#include "links.h"

FIXTURE(drops) {
	struct dut d;
	const char *ifname;		/* whose counters */
	const char *to_guest;		/* which of them */
	const char *from_guest;
	bool ready;
};

FIXTURE_VARIANT(drops) {
	bool macvtap;
};

FIXTURE_VARIANT_ADD(drops, tap) { .macvtap = false };
FIXTURE_VARIANT_ADD(drops, macvtap) { .macvtap = true };

FIXTURE_SETUP(drops)
{
	struct dut_opts opts = {
		.macvtap = variant->macvtap, .refuse = BIT(VIRTIO_NET_F_MRG_RXBUF),
	};
	int ret = dut_open(&self->d, DUT_NET, &opts);

	if (ret == -EOPNOTSUPP && opts.macvtap)
		SKIP(return, "this kernel has no macvtap devices");
	ASSERT_EQ(0, ret);
	self->ifname = opts.macvtap ? MACVTAP_NAME : self->d.ifname;
	/* a macvtap is a device that receives what its guest gets */
	self->to_guest = opts.macvtap ? "rx_dropped" : "tx_dropped";
	self->from_guest = opts.macvtap ? "tx_dropped" : "rx_dropped";
	self->ready = true;
}

FIXTURE_TEARDOWN(drops)
{
	if (self->d.g)
		dut_close(&self->d);
}

static int post(struct dut *d, uint64_t gpa, uint32_t size)
{
	struct guest_seg seg = { gpa, size };
	int ret = gq_add(d->q[RX], &seg, 0, 1, d);

	gq_publish(d->q[RX]);
	return ret ? ret : gq_notify(d->q[RX]);
}

/* A frame from the guest, of @len bytes behind its header: done with when this returns */
static int transmit(struct dut *d, uint64_t gpa, uint32_t len)
{
	struct guest_seg seg = { gpa, NET_HDR + len };
	uint32_t used;
	void *token;
	int ret = gq_add(d->q[TX], &seg, 1, 0, d);

	gq_publish(d->q[TX]);
	ret = ret ? ret : gq_notify(d->q[TX]);
	ret = ret ? ret : gq_wait(d->q[TX], 5000);
	return ret ? ret : gq_get(d->q[TX], &token, &used);
}

static bool counts(const char *ifname, const char *counter, int64_t n)
{
	for (unsigned int i = 0; i < 300 && tap_counter(ifname, counter) < n; i++)
		sleep_ms(10);
	if (tap_counter(ifname, counter) == n)
		return true;
	printf("# %s of %s: %lld, not %lld\n", counter, ifname,
	       (long long)tap_counter(ifname, counter), (long long)n);
	return false;
}

/* Too large for the buffer that there is: the first packets of all, and later ones */
TEST_F(drops, too_big)
{
	int64_t was = tap_counter(self->ifname, self->to_guest), n = 0;
	unsigned char frame[1000];
	struct dut *d = &self->d;
	uint32_t used;
	void *token;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	make_frame(frame, sizeof(frame), 1, false);
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, post(d, d->scratch[RX].gpa, 200));
		for (unsigned int k = 0; k < 10; k++, n++)
			ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		EXPECT_TRUE(counts(self->ifname, self->to_guest, was + n));
		EXPECT_EQ(n, dut_counter(d, RX, "errors"));
		/* one that fits is none */
		ASSERT_EQ(0, dut_send(d, frame, 100));
		ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
		ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		EXPECT_EQ(NET_HDR + 100, used);
	}
	EXPECT_EQ(was + n, tap_counter(self->ifname, self->to_guest));
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
}

/* Frames without an Ethernet header, too large, and with a header that says what cannot be */
TEST_F(drops, from_the_guest)
{
	int64_t was = tap_counter(self->ifname, self->from_guest), n = 0;
	struct dut *d = &self->d;
	struct virtio_net_hdr *hdr = (void *)d->scratch[TX].p;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	memset(hdr, 0, NET_HDR);
	make_frame(d->scratch[TX].p + NET_HDR, 100, 1, true);
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int k = 0; k < 5; k++, n += 3) {
			ASSERT_EQ(0, transmit(d, d->scratch[TX].gpa, k));
			ASSERT_EQ(0, transmit(d, d->scratch[TX].gpa, 70000));
			hdr->hdr_len = 0xffff;
			ASSERT_EQ(0, transmit(d, d->scratch[TX].gpa, 100));
			hdr->hdr_len = 0;
		}
		EXPECT_EQ(n, dut_counter(d, TX, "errors"));
		/* it is packets to the guest that tell which device it is */
		if (!i) {
			EXPECT_EQ(0, dut_units(d, RX, 1));
		}
		EXPECT_TRUE(counts(self->ifname, self->from_guest, was + n));
	}
	EXPECT_EQ(0, dut_units(d, TX, 3));
	EXPECT_EQ(was + n, tap_counter(self->ifname, self->from_guest));
}

/* What a header may say of where the headers of a frame end is the same for all sizes of frames */
TEST_F(drops, headers_that_end_early)
{
	static const uint32_t lens[] = { 60, 1514, 3500, 8000 };
	struct dut *d = &self->d;
	struct virtio_net_hdr *hdr = (void *)d->scratch[TX].p;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	if (variant->macvtap) {
		ASSERT_EQ(0, run("ip link set " VETH_NAME " mtu 9000 && ip link set " VETH_PEER
				 " mtu 9000 && ip link set " MACVTAP_NAME " mtu 9000"));
	}
	memset(hdr, 0, NET_HDR);
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int hdr_len = 0; hdr_len < 20; hdr_len++) {
			int64_t errors = dut_counter(d, TX, "errors");
			/* a TAP takes none that ends inside of the Ethernet header */
			bool taken = variant->macvtap || !hdr_len || hdr_len >= 14;
			unsigned char got[9000];

			hdr->hdr_len = htole16(hdr_len);
			make_frame(d->scratch[TX].p + NET_HDR, lens[i], hdr_len, true);
			ASSERT_EQ(0, transmit(d, d->scratch[TX].gpa, lens[i]));
			EXPECT_EQ(errors + !taken, dut_counter(d, TX, "errors"))
				TH_LOG("%u of %u bytes", hdr_len, lens[i]);
			if (taken) {
				EXPECT_EQ(lens[i], dut_receive(d, got, sizeof(got), 2000))
					TH_LOG("%u of %u bytes", hdr_len, lens[i]);
			}
		}
	}
}

/* Guest memory, a page of it, that is not there for a while */
struct hole {
	unsigned char *p;
	uint64_t gpa;
};

static int make_hole(struct dut *d, struct hole *h)
{
	h->gpa = 1ULL << 40;
	h->p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h->p == MAP_FAILED)
		return -errno;
	return guest_add_region(d->g, h->gpa, h->p, 8192) ?: guest_commit(d->g);
}

static int open_hole(struct hole *h, bool open)
{
	return mprotect(h->p, 8192, open ? PROT_NONE : PROT_READ | PROT_WRITE) ? -errno : 0;
}

/* A fault that passes costs what came meanwhile, and the packet after it arrives in that buffer */
TEST_F(drops, fault_to_the_guest)
{
	int64_t was = tap_counter(self->ifname, self->to_guest), n = 0;
	unsigned char frame[300];
	struct dut *d = &self->d;
	struct hole h;
	uint32_t used;
	void *token;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	make_frame(frame, sizeof(frame), 1, false);
	ASSERT_EQ(0, make_hole(d, &h));
	for (unsigned int i = 0; i < 4; i++) {
		/* all but one of those that it takes, and the first ones of a start are none of them */
		unsigned int faults = i ? VHL_NET_MAX_FAULTS - 1 : 1;

		ASSERT_EQ(0, open_hole(&h, true));
		ASSERT_EQ(0, post(d, h.gpa, 4096));
		for (unsigned int k = 0; k < faults; k++, n++)
			ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		EXPECT_TRUE(counts(self->ifname, self->to_guest, was + n));
		EXPECT_FALSE(gq_pending(d->q[RX]));
		ASSERT_EQ(0, open_hole(&h, false));
		ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
		ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		EXPECT_EQ(NET_HDR + sizeof(frame), used);
		EXPECT_EQ(0, memcmp(h.p + NET_HDR, frame, sizeof(frame)));
	}
	EXPECT_EQ(n, dut_counter(d, RX, "errors"));
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
	/* one that does not pass */
	ASSERT_EQ(0, open_hole(&h, true));
	ASSERT_EQ(0, post(d, h.gpa, 4096));
	for (unsigned int k = 0; k < VHL_NET_MAX_FAULTS; k++)
		ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
	EXPECT_TRUE(wait_queue_is(d->g->fd, RX, "broken", 5000));
	EXPECT_TRUE(gq_error(d->q[RX]));
	EXPECT_TRUE(counts(self->ifname, self->to_guest, was + n + VHL_NET_MAX_FAULTS));
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_units(d, RX, 3));
	munmap(h.p, 8192);
}

TEST_F(drops, fault_from_the_guest)
{
	int64_t was = tap_counter(self->ifname, self->from_guest), n = 0;
	struct dut *d = &self->d;
	struct hole h;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no such devices");

	EXPECT_EQ(0, dut_units(d, RX, 1));
	ASSERT_EQ(0, make_hole(d, &h));
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int faults = i ? VHL_NET_MAX_FAULTS - 1 : 1;

		ASSERT_EQ(0, open_hole(&h, true));
		/* the driver has its buffer back each time */
		for (unsigned int k = 0; k < faults; k++, n++)
			ASSERT_EQ(0, transmit(d, h.gpa, 300));
		EXPECT_TRUE(counts(self->ifname, self->from_guest, was + n));
		ASSERT_EQ(0, open_hole(&h, false));
		EXPECT_EQ(0, dut_units(d, TX, 1));
	}
	EXPECT_EQ(n, dut_counter(d, TX, "errors"));
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	ASSERT_EQ(0, open_hole(&h, true));
	for (unsigned int k = 1; k < VHL_NET_MAX_FAULTS; k++)
		ASSERT_EQ(0, transmit(d, h.gpa, 300));
	EXPECT_NE(0, transmit(d, h.gpa, 300));
	EXPECT_TRUE(wait_queue_is(d->g->fd, TX, "broken", 5000));
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_units(d, TX, 3));
	munmap(h.p, 8192);
}

/* Packets a ms, from a sender that does not let go of the CPU, which it shares with the worker */
#define PACKETS		2
/* us; so long that there are more than 64 of them in one nap */
#define LONGEST		"64000"
#define ROUNDS		5

#define NAP_MAX		"/sys/module/vhost_lite/parameters/nap_max_us"
#define POLL_MAX	"/sys/module/vhost_lite/parameters/poll_max_us"

FIXTURE(nap) {
	struct dut d;
};

FIXTURE_VARIANT(nap) {
	unsigned int room;		/* packets that the TAP has room for */
};

FIXTURE_VARIANT_ADD(nap, room_32) { .room = 32 };
FIXTURE_VARIANT_ADD(nap, room_64) { .room = 64 };
FIXTURE_VARIANT_ADD(nap, room_500) { .room = 500 };

FIXTURE_SETUP(nap)
{
	struct dut_opts opts = { .num = 1024 };
	cpu_set_t one;

	/* before the workers are made, which inherit it where they are threads of this process */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	ASSERT_EQ(0, put_file(POLL_MAX, "0"));
	ASSERT_EQ(0, dut_open(&self->d, DUT_NET, &opts));
	ASSERT_EQ(0, run("ip link set %s txqueuelen %u", self->d.ifname, variant->room));
}

FIXTURE_TEARDOWN(nap)
{
	dut_close(&self->d);
	EXPECT_EQ(0, put_file(NAP_MAX, "1000"));
	EXPECT_EQ(0, put_file(POLL_MAX, "50"));
}

/*
 * A steady stream of so many times PACKETS, one a ms or so, with buffers enough at any time. Packets
 * that were dropped, or -errno
 */
static int64_t stream(struct dut *d, unsigned int times)
{
	unsigned char frame[60];
	struct iovec iov = { .iov_base = frame, .iov_len = sizeof(frame) };
	int64_t was = tap_counter(d->ifname, "tx_dropped"), at;
	struct guest_queue *q = d->q[RX];
	struct mmsghdr msg[PACKETS];
	uint32_t used;
	void *token;

	memset(msg, 0, sizeof(msg));
	for (unsigned int i = 0; i < PACKETS; i++) {
		msg[i].msg_hdr.msg_iov = &iov;
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	make_frame(frame, sizeof(frame), 1, false);
	while (times--) {
		struct guest_seg seg = { d->scratch[RX].gpa, 4096 };

		/* what the machine takes for itself is not made up for */
		at = now_ms();

		while (!gq_get(q, &token, &used))
			;
		while (gq_in_flight(q) < 900)
			if (gq_add(q, &seg, 0, 1, d))
				return -ENOSPC;
		gq_publish(q);
		if (gq_notify(q))
			return -EIO;
		/* one that is full is said to be: no matter */
		(void)!sendmmsg(d->raw, msg, PACKETS, MSG_DONTWAIT);
		while (now_ms() == at)
			;
	}
	return tap_counter(d->ifname, "tx_dropped") - was;
}

TEST_F_TIMEOUT(nap, cost_no_packet, 120)
{
	int64_t without, with, all_without = 0, all_with = 0, worst_without = 0, worst_with = 0;
	int64_t naps = 0;
	unsigned int times = many(2000);
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		int64_t polls;

		ASSERT_EQ(0, put_file(NAP_MAX, "0"));
		without = stream(d, times);
		ASSERT_LE(0, without);
		polls = dut_counter(d, RX, "polls");
		ASSERT_EQ(0, put_file(NAP_MAX, LONGEST));
		with = stream(d, times);
		ASSERT_LE(0, with);
		polls = dut_counter(d, RX, "polls") - polls;
		printf("# of %u packets: %lld dropped, %lld without naps; %lld naps\n",
		       PACKETS * times, (long long)with, (long long)without, (long long)polls);
		all_without += without;
		all_with += with;
		worst_without = without > worst_without ? without : worst_without;
		worst_with = with > worst_with ? with : worst_with;
		naps += polls;
	}
	/* a pause of the machine's own, in the middle of either, costs many at once */
	all_without -= worst_without;
	all_with -= worst_with;
	EXPECT_GE(all_without + all_without / 10 + PACKETS * times * ROUNDS / 500, all_with);
	if (!naps)
		SKIP(return, "there were no naps");
}

TEST_HARNESS_MAIN
