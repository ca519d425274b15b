// SPDX-License-Identifier: GPL-2.0
/*
 * The TAP's side of packets to the guest: what its counters say, headers that are not what the
 * driver wants, and a TAP that is deleted, replaced or moved away while its packets wait.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "frames.h"

FIXTURE(tap) {
	struct dut d;
	unsigned int hdr;		/* bytes of the header */
	unsigned char frame[100];
};

FIXTURE_VARIANT(tap) {
	uint64_t refuse;
	unsigned int hdr;
};

FIXTURE_VARIANT_ADD(tap, mergeable) {
	.hdr = NET_HDR,
};

FIXTURE_VARIANT_ADD(tap, legacy) {
	.refuse = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_F_VERSION_1),
	.hdr = OLD_HDR,
};

FIXTURE_SETUP(tap)
{
	struct dut_opts opts = { .refuse = variant->refuse, .num = 256, .stopped = true };

	self->hdr = variant->hdr;
	make_tcp(self->frame, sizeof(self->frame), 1);
	ASSERT_EQ(0, dut_open(&self->d, DUT_NET, &opts));
	ASSERT_EQ(0, set_hdr(&self->d, self->hdr));
	ASSERT_EQ(0, dut_start(&self->d));
}

FIXTURE_TEARDOWN(tap)
{
	dut_close(&self->d);
}

/* The TAP counts a packet and its bytes, whoever copied it */
TEST_F(tap, counters_of_the_tap)
{
	struct dut *d = &self->d;
	int64_t bytes = 0;

	ASSERT_EQ(0, tap_counter(d->ifname, "tx_packets"));
	for (unsigned int i = 0; i < 300; i++) {
		int len = plain(d, d->ifname, self->hdr, i);

		ASSERT_LT(0, len);
		bytes += len;
		/* at the latest when the guest sees it */
		ASSERT_EQ(i + 1, tap_counter(d->ifname, "tx_packets"));
		ASSERT_EQ(bytes, tap_counter(d->ifname, "tx_bytes"));
		if (i % 100 == 99) {
			ASSERT_EQ(0, dut_restart(d));
		}
	}
	EXPECT_EQ(0, tap_counter(d->ifname, "tx_dropped"));
}

/* Wait until so many packets were dropped */
static bool dropped(struct dut *d, int64_t n)
{
	for (unsigned int i = 0; i < 300 && dut_counter(d, RX, "errors") < n; i++)
		sleep_ms(10);
	return dut_counter(d, RX, "errors") == n;
}

/* A TAP that makes other headers than the driver wants: nothing arrives until they agree */
TEST_F(tap, headers_of_another_size)
{
	int other = self->hdr == NET_HDR ? OLD_HDR : NET_HDR;
	struct guest_seg seg = { self->d.scratch[RX].gpa, 4096 };
	struct dut *d = &self->d;
	int64_t errors = 0;

	for (unsigned int i = 0; i < 3; i++) {
		uint32_t used;
		void *token;

		ASSERT_EQ(0, set_hdr(d, other));
		ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
		gq_publish(d->q[RX]);
		ASSERT_EQ(0, gq_kick(d->q[RX]));
		for (unsigned int k = 0; k < 5; k++)
			ASSERT_EQ(0, dut_send(d, self->frame, 100));
		errors += 5;
		EXPECT_TRUE(dropped(d, errors));
		EXPECT_FALSE(gq_pending(d->q[RX]));
		/* now they agree */
		ASSERT_EQ(0, set_hdr(d, self->hdr));
		ASSERT_EQ(0, dut_send(d, self->frame, 100));
		ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
		ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		EXPECT_EQ(self->hdr + 100, used);
		EXPECT_LT(0, plain(d, d->ifname, self->hdr, i));
		/* what is changed later, while packets come, changes nothing for the driver */
		ASSERT_EQ(0, set_hdr(d, other));
		EXPECT_LT(0, plain(d, d->ifname, self->hdr, i));
		ASSERT_EQ(0, dut_restart(d));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
}

/* The file of a TAP whose network device is gone becomes one of another */
static int make_again(struct dut *d, unsigned int hdr)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	strcpy(ifr.ifr_name, "vhltest%d");
	if (ioctl(d->backend, TUNSETIFF, &ifr))
		return -errno;
	strcpy(d->ifname, ifr.ifr_name);
	d->ifindex = if_nametoindex(d->ifname);
	no_ipv6(d->ifname);
	return set_hdr(d, hdr) ?: set_link(d->ifname, true);
}

/*
 * The TAP is deleted while its packets wait for buffers, some of them with the worker, and nothing
 * is left of the device that they were sent to
 */
TEST_F_TIMEOUT(tap, deleted_with_packets_waiting, 60)
{
	struct dut *d = &self->d;

	for (unsigned int i = 0; i < many(5); i++) {
		int64_t errors = dut_counter(d, RX, "errors");
		struct guest_seg seg = { d->scratch[RX].gpa, 4096 };
		uint32_t used;
		void *token;

		for (unsigned int k = 0; k < 3; k++)
			ASSERT_LT(0, plain(d, d->ifname, self->hdr, k));
		for (unsigned int k = 0; k < 100; k++)
			ASSERT_EQ(0, dut_send(d, self->frame, 100));
		sleep_ms(20);
		ASSERT_EQ(0, run("ip link del %s", d->ifname));
		ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
		gq_publish(d->q[RX]);
		if (i % 2) {
			/* dropped: those that the worker has; the TAP has dropped the others */
			ASSERT_EQ(0, gq_kick(d->q[RX]));
			sleep_ms(100);
			EXPECT_FALSE(gq_pending(d->q[RX]));
			EXPECT_LT(errors, dut_counter(d, RX, "errors"));
			ASSERT_EQ(0, make_again(d, self->hdr));
		} else {
			/* of a device that is no more, but from a TAP that is one again */
			ASSERT_EQ(0, make_again(d, self->hdr));
			ASSERT_EQ(0, gq_kick(d->q[RX]));
			ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
			ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
			EXPECT_EQ(self->hdr + 100, used);
		}
		/* what waits still goes back to the file, and is read from it there */
		ASSERT_EQ(0, dut_restart(d));
		errors = tap_counter(d->ifname, "tx_packets");
		for (unsigned int k = 0; k < 10; k++)
			ASSERT_LT(0, plain(d, d->ifname, self->hdr, k));
		EXPECT_EQ(errors + 10, tap_counter(d->ifname, "tx_packets"));
	}
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
}

/* A TAP that is in another network namespace: its packets arrive, and it counts them */
TEST_F(tap, other_namespace)
{
	struct dut *d = &self->d;
	uint32_t used;
	void *token;
	pid_t pid;
	int go[2], status, n = 0;

	ASSERT_LT(0, plain(d, d->ifname, self->hdr, 1));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct virtio_net_hdr hdr = { 0 };
		char c;

		if (unshare(CLONE_NEWNET) || write(go[1], "", 1) != 1)
			_exit(1);
		/* the device comes */
		for (unsigned int i = 0; i < 500 && !if_nametoindex(d->ifname); i++)
			sleep_ms(10);
		if (set_link(d->ifname, true))
			_exit(2);
		for (unsigned int i = 0; i < 20; i++)
			if (send_with_hdr(d->ifname, &hdr, self->frame, 100))
				_exit(3);
		/* and is asked once all have arrived */
		close(go[1]);
		(void)!read(go[0], &c, 1);
		_exit(run("test $(ip -s -o link show %s | sed 's/.*TX:[^0-9]*\\([0-9]*\\) *\\([0-9]*\\) .*/\\2/') -ge 21",
			  d->ifname) ? 4 : 0);
	}
	ASSERT_EQ(1, read(go[0], &used, 1));
	ASSERT_EQ(0, run("ip link set %s netns %d", d->ifname, pid));
	for (unsigned int i = 0; i < 60; i++) {
		struct guest_seg seg = { d->scratch[RX].gpa + i * 2048, 2000 };

		ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
	}
	gq_publish(d->q[RX]);
	ASSERT_EQ(0, gq_kick(d->q[RX]));
	while (n < 20) {
		/* it may have something to say of its own */
		ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
		ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
		n += used == self->hdr + 100;
	}
	close(go[1]);
	close(go[0]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status))
		TH_LOG("status %#x", status);
}

TEST_HARNESS_MAIN
