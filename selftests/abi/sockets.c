// SPDX-License-Identifier: GPL-2.0
/*
 * Packet sockets as files: those that are refused, an interface that goes down or away, and queues
 * that go over to a TAP and back.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"

static int attach(struct dut *d, unsigned int qi, int file)
{
	return vring_file(d->g->fd, VHOST_NET_SET_BACKEND, qi, file);
}

/* Both ends are up, and the one that packets are sent to sends them */
static bool links_up(void)
{
	char state[8];

	for (unsigned int i = 0; i < 500; i++) {
		int fd = open("/sys/class/net/" VETH_NAME "/operstate", O_RDONLY | O_CLOEXEC);
		bool up = read(fd, state, sizeof(state)) > 0 && !strncmp(state, "up", 2);

		close(fd);
		sleep_ms(10);
		if (up)
			return true;
	}
	return false;
}

/* The interface goes down: frames are lost. Once it is up again not even the first one is */
TEST_F(packet, link_down)
{
	struct dut *d = &self->d;
	int64_t errors = 0;

	NEEDED();
	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_LT(0, plain(d, d->ifname, self->hdr, i));
		ASSERT_EQ(0, transmit(d, self->hdr, i));
		ASSERT_EQ(0, set_link(VETH_PEER, false));
		if (i % 2) {
			for (unsigned int k = 0; k < 10; k++) {
				ASSERT_EQ(0, add_tx(d, 0, self->hdr, 60, k));
				ASSERT_EQ(0, gq_notify(d->q[TX]));
				ASSERT_EQ(0, took(d, TX));
			}
			errors += 10;
		}
		ASSERT_EQ(0, set_link(VETH_PEER, true));
		ASSERT_EQ(0, transmit(d, self->hdr, i));
		ASSERT_TRUE(links_up());
		ASSERT_LT(0, plain(d, d->ifname, self->hdr, i));
		EXPECT_EQ(errors, dut_counter(d, TX, "errors"));
		EXPECT_EQ(0, dut_counter(d, RX, "errors"));
		/* the first packet of a start */
		if (i == 3) {
			ASSERT_EQ(0, set_link(VETH_PEER, false));
			ASSERT_EQ(0, dut_restart(d));
			ASSERT_EQ(0, set_link(VETH_PEER, true));
			ASSERT_TRUE(links_up());
		}
	}
}

/* The interface is gone: the queues rest, and start no more */
TEST_F(packet, interface_deleted)
{
	struct dut *d = &self->d;
	struct dev_info info;
	int64_t wakes;

	NEEDED();
	ASSERT_LT(0, plain(d, d->ifname, self->hdr, 1));
	ASSERT_EQ(0, transmit(d, self->hdr, 1));
	del_veth();
	for (unsigned int k = 0; k < 10; k++) {
		ASSERT_EQ(0, add_tx(d, 0, self->hdr, 60, k));
		ASSERT_EQ(0, gq_notify(d->q[TX]));
		ASSERT_EQ(0, took(d, TX));
	}
	EXPECT_EQ(10, dut_counter(d, TX, "errors"));
	sleep_ms(50);
	wakes = dut_counter(d, TX, "wakes") + dut_counter(d, RX, "wakes");
	sleep_ms(100);
	EXPECT_EQ(wakes, dut_counter(d, TX, "wakes") + dut_counter(d, RX, "wakes"));
	ASSERT_EQ(0, get_info(d->g->fd, &info));
	EXPECT_STREQ("running", info.q[RX].state);
	EXPECT_STREQ("running", info.q[TX].state);
	/* it is attached, and could not be now */
	EXPECT_EQ(-EINVAL, attach(d, RX, d->backend));
	ASSERT_EQ(0, dut_stop(d));
	for (unsigned int qi = 0; qi < 2; qi++) {
		ASSERT_EQ(0, guest_queue_program(d->q[qi]));
		EXPECT_EQ(-EINVAL, attach(d, qi, d->backend));
	}
	/* and with a new one all is well */
	ASSERT_EQ(0, make_veth());
	close(d->backend);
	d->backend = packet_socket(VETH_PEER, variant->accept ? 0 : self->hdr);
	ASSERT_LE(0, d->backend);
	d->ifindex = if_nametoindex(VETH_NAME);
	ASSERT_EQ(0, dut_start(d));
	EXPECT_LT(0, plain(d, d->ifname, self->hdr, 1));
}

/* Sockets that are no such backend; a queue that runs goes on with the one that it has */
TEST_F(packet, refused)
{
	struct sockaddr_ll none = { .sll_family = AF_PACKET };
	struct dut *d = &self->d;
	int dgram, unbound, gone;

	NEEDED();
	dgram = socket(AF_PACKET, SOCK_DGRAM, 0);
	unbound = socket(AF_PACKET, SOCK_RAW, 0);
	ASSERT_EQ(0, run("ip link add vhltestgone type dummy && ip link set vhltestgone up"));
	gone = packet_socket("vhltestgone", 0);
	ASSERT_LE(0, gone);
	run("ip link del vhltestgone");
	none.sll_protocol = htobe16(3);
	ASSERT_EQ(0, bind(unbound, (void *)&none, sizeof(none)));
	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int qi = 0; qi < 2; qi++) {
			EXPECT_EQ(-ENOTSOCK, attach(d, qi, dgram));
			EXPECT_EQ(-EINVAL, attach(d, qi, unbound));
			EXPECT_EQ(-EINVAL, attach(d, qi, gone));
		}
		if (!i) {
			EXPECT_LT(0, plain(d, d->ifname, self->hdr, 1));
			EXPECT_EQ(0, transmit(d, self->hdr, 1));
			ASSERT_EQ(0, dut_stop(d));
			ASSERT_EQ(0, guest_queue_program(d->q[RX]));
			ASSERT_EQ(0, guest_queue_program(d->q[TX]));
		}
	}
	close(dgram);
	close(unbound);
	close(gone);
}

/* What switches between a TAP and a packet socket: two of a struct dut's backends and senders */
static void swap_sides(struct dut *d, struct dut *other)
{
	struct dut was = *d;

	d->backend = other->backend;
	d->raw = other->raw;
	d->ifindex = other->ifindex;
	strcpy(d->ifname, other->ifname);
	other->backend = was.backend;
	other->raw = was.raw;
	other->ifindex = was.ifindex;
	strcpy(other->ifname, was.ifname);
}

struct flood {
	struct dut *d[2];
	atomic_bool stop;
};

static void *flood(void *arg)
{
	struct flood *f = arg;
	unsigned char frame[100];

	for (unsigned int i = 0; !atomic_load(&f->stop); i++) {
		make_frame(frame, sizeof(frame), i, false);
		for (unsigned int k = 0; k < 2; k++) {
			struct sockaddr_ll to = {
				.sll_family = AF_PACKET, .sll_protocol = htobe16(0x88b6),
				.sll_ifindex = f->d[k]->ifindex, .sll_halen = 6,
			};

			(void)!sendto(f->d[k]->raw, frame, sizeof(frame), MSG_DONTWAIT, (void *)&to,
				      sizeof(to));
		}
	}
	return NULL;
}

/* Running queues go over from the socket to a TAP and back, idle and in the midst of packets */
TEST_F_TIMEOUT(packet, switched, 120)
{
	struct dut_opts opts = {
		.refuse = variant->refuse, .accept = variant->accept, .stopped = true,
	};
	struct dut *d = &self->d, tap, sides[2];
	struct flood f = { { &sides[0], &sides[1] } };
	unsigned char want[100];
	unsigned int n = 0;
	pthread_t thread;
	int64_t end;

	NEEDED();
	if (self->hdr == TUNNEL_HDR)
		SKIP(return, "one size is enough");
	ASSERT_EQ(0, dut_open(&tap, DUT_NET, &opts));
	if (!variant->accept) {
		ASSERT_EQ(0, set_hdr(&tap, self->hdr));
	}
	for (unsigned int i = 0; i < 40; i++) {
		unsigned char frame[100];

		ASSERT_LT(0, plain(d, d->ifname, self->hdr, i));
		ASSERT_EQ(0, transmit(d, self->hdr, i));
		/* wait for the other one to be back */
		make_frame(frame, sizeof(frame), 0, false);
		ASSERT_EQ(0, dut_send(d, frame, sizeof(frame)));
		if (i & 1)
			sleep_ms(1);
		swap_sides(d, &tap);
		ASSERT_EQ(0, attach(d, RX, d->backend));
		ASSERT_EQ(0, attach(d, TX, d->backend));
		if (i) {
			ASSERT_EQ(0, collect(d, self->hdr, 0, 1))
				TH_LOG("switch %u", i);
		}
	}
	dut_forget(d);
	dut_forget(&tap);
	sides[0] = *d;
	sides[1] = tap;
	ASSERT_EQ(0, pthread_create(&thread, NULL, flood, &f));
	end = now_ms() + 1000 * many(2);
	for (unsigned int i = 0; now_ms() < end; i++) {
		struct guest_seg seg = { d->scratch[RX].gpa, 4096 };
		uint32_t used;
		void *token;

		swap_sides(d, &tap);
		ASSERT_EQ(0, attach(d, RX, d->backend));
		for (unsigned int k = 0; k < 10; k++) {
			ASSERT_EQ(0, gq_add(d->q[RX], &seg, 0, 1, d));
			gq_publish(d->q[RX]);
			ASSERT_EQ(0, gq_notify(d->q[RX]));
			ASSERT_EQ(0, gq_wait(d->q[RX], 5000));
			ASSERT_EQ(0, gq_get(d->q[RX], &token, &used));
			ASSERT_EQ(self->hdr + 100, used);
			make_frame(want, sizeof(want),
				   *(uint32_t *)(d->scratch[RX].p + self->hdr + 14), false);
			ASSERT_EQ(0, memcmp(d->scratch[RX].p + self->hdr, want, sizeof(want)));
			n++;
		}
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	EXPECT_LT(50, n);
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
	EXPECT_EQ(0, dut_counter(d, RX, "breaks"));
	/* back, for each to close its own */
	if (strcmp(d->ifname, VETH_NAME))
		swap_sides(d, &tap);
	dut_close(&tap);
}

TEST_HARNESS_MAIN
