// SPDX-License-Identifier: GPL-2.0
/*
 * A TAP that has its queue stopped when its ring is full, instead of dropping packets
 * (IFF_BACKPRESSURE, Linux 7.3): it goes on when there is room. And one that has not.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "frames.h"

#ifndef IFF_BACKPRESSURE
#define IFF_BACKPRESSURE	0x0080
#endif

/* The ring of the TAP, and how many packets are sent: more than it and a worker hold, fewer than a sender may */
#define ROOM	32
#define SENT	200

FIXTURE(backpressure) {
	struct dut d;
	bool ready;
};

FIXTURE_VARIANT(backpressure) {
	bool on;
};

FIXTURE_VARIANT_ADD(backpressure, on) { .on = true };
FIXTURE_VARIANT_ADD(backpressure, off) { .on = false };

FIXTURE_SETUP(backpressure)
{
	struct dut_opts opts = { .num = 1024, .tap_flags = variant->on ? IFF_BACKPRESSURE : 0 };
	unsigned int known = 0;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, TUNGETFEATURES, &known));
	close(fd);
	if (variant->on && !(known & IFF_BACKPRESSURE))
		SKIP(return, "this kernel's TAPs drop what they have no room for");
	ASSERT_EQ(0, dut_open(&self->d, DUT_NET, &opts));
	ASSERT_EQ(0, run("ip link set %s txqueuelen %u && tc qdisc replace dev %s root pfifo limit 2000",
			 self->d.ifname, ROOM, self->d.ifname));
	self->ready = true;
}

FIXTURE_TEARDOWN(backpressure)
{
	if (self->d.g)
		dut_close(&self->d);
}

/* Fill the ring and what is before it while there are no buffers, then have all that is there */
TEST_F_TIMEOUT(backpressure, room_again, 120)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[RX];
	struct guest_seg seg = { d->scratch[RX].gpa, 4096 };
	unsigned char frame[100];
	int64_t dropped = 0;
	uint32_t used;
	void *token;

	/* older harnesses go on after a setup that skips */
	if (!self->ready)
		SKIP(return, "no backpressure");

	make_frame(frame, sizeof(frame), 1, false);
	for (unsigned int i = 0; i < many(20); i++) {
		unsigned int n = 0;

		for (unsigned int k = 0; k < SENT; k++)
			ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		if (variant->on) {
			EXPECT_EQ(0, tap_counter(d->ifname, "tx_dropped"));
		} else {
			EXPECT_LT(dropped, tap_counter(d->ifname, "tx_dropped"));
		}
		/* some at a time: it has to be told again and again */
		while (n < SENT - (tap_counter(d->ifname, "tx_dropped") - dropped)) {
			if (!gq_in_flight(q)) {
				for (unsigned int k = 0; k < 50; k++)
					ASSERT_EQ(0, gq_add(q, &seg, 0, 1, d));
				gq_publish(q);
				ASSERT_EQ(0, gq_notify(q));
			}
			ASSERT_EQ(0, gq_wait(q, 5000))
				TH_LOG("round %u, %u of %u arrived", i, n, SENT);
			while (!gq_get(q, &token, &used))
				n++;
		}
		dropped = tap_counter(d->ifname, "tx_dropped");
		/* buffers that are left over */
		while (gq_in_flight(q)) {
			ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
			ASSERT_EQ(0, gq_wait(q, 5000));
			while (!gq_get(q, &token, &used))
				;
		}
	}
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
}

TEST_HARNESS_MAIN
