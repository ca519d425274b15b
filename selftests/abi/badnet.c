// SPDX-License-Identifier: GPL-2.0
/* What only a network device can be sent: buffers too small, frames too short, mad headers */
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dut.h"

FIXTURE(net) {
	struct dut d;
};

FIXTURE_SETUP(net)
{
	ASSERT_EQ(0, dut_open(&self->d, DUT_NET, NULL));
}

FIXTURE_TEARDOWN(net)
{
	dut_close(&self->d);
}

/* Post a buffer that the device may write; the packet is in it when gq_get() returns @gpa */
static int post(struct dut *d, uint64_t gpa, uint32_t len)
{
	struct guest_seg seg = { gpa, len };

	return gq_add(d->q[RX], &seg, 0, 1, (void *)(uintptr_t)gpa);
}

static int send_len(struct dut *d, size_t len, uint32_t seq)
{
	unsigned char frame[2048];

	make_frame(frame, len, seq, false);
	return dut_send(d, frame, len);
}

/* Has the device gone to sleep: no turns, no processor time */
static bool sleeps(struct dut *d, unsigned int qi)
{
	int64_t wakes;
	long ticks;

	/* a kick that came during the last turn brings one more */
	sleep_ms(50);
	wakes = dut_counter(d, qi, "wakes");
	ticks = worker_ticks(getpid());
	sleep_ms(300);
	wakes = dut_counter(d, qi, "wakes") - wakes;
	ticks = worker_ticks(getpid()) - ticks;
	/* a tick is 10 ms */
	if (!wakes && ticks <= 2)
		return true;
	printf("# queue %u: %lld turns and %ld ticks in 300 ms\n", qi, (long long)wakes, ticks);
	return false;
}

/*
 * CVE-2026-74356: all buffers together too small for the packet, and the worker looked at them
 * again and again
 */
TEST_F(net, rx_all_buffers_too_few)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[RX];
	uint64_t buf = d->scratch[RX].gpa + SCRATCH_FREE;
	unsigned char want[1000];
	uint32_t len, have = 0;
	void *token;

	/* 4 buffers of 64 bytes for a packet of 1012 */
	for (unsigned int i = 0; i < 4; i++) {
		ASSERT_EQ(0, post(d, buf + i * 64, 64));
	}
	gq_publish(q);
	ASSERT_EQ(0, send_len(d, sizeof(want), 5));
	ASSERT_EQ(0, gq_kick(q));
	sleep_ms(50);
	EXPECT_FALSE(gq_pending(q));
	EXPECT_TRUE(sleeps(d, RX));
	/* kicks that bring nothing new change nothing */
	ASSERT_EQ(0, gq_kick(q));
	sleep_ms(20);
	EXPECT_FALSE(gq_pending(q));
	/* more, still too few: it asks for a kick again each time */
	for (unsigned int i = 4; i < 8; i++) {
		ASSERT_EQ(0, post(d, buf + i * 64, 64));
		gq_publish(q);
		EXPECT_TRUE(gq_kick_wanted(q))
			TH_LOG("buffer %u", i);
		ASSERT_EQ(0, gq_kick(q));
		sleep_ms(20);
	}
	EXPECT_FALSE(gq_pending(q));
	EXPECT_TRUE(sleeps(d, RX));
	/* the other direction goes on */
	EXPECT_EQ(0, dut_units(d, TX, 3));
	/* and with the last ones it arrives, whole */
	for (unsigned int i = 8; i < 16; i++) {
		ASSERT_EQ(0, post(d, buf + i * 64, 64));
	}
	gq_publish(q);
	EXPECT_EQ(0, gq_notify(q));
	ASSERT_EQ(0, gq_wait(q, 5000));
	for (unsigned int i = 0; i < 16; i++) {
		ASSERT_EQ(0, gq_get(q, &token, &len));
		have += len;
		EXPECT_EQ(i < 15 ? 64 : 1012 - 15 * 64, len);
	}
	EXPECT_EQ(1012, have);
	make_frame(want, sizeof(want), 5, false);
	EXPECT_EQ(0, memcmp(want, (unsigned char *)guest_ptr(d->g, buf, 1024) + NET_HDR,
			    sizeof(want)));
	EXPECT_EQ(16, ((struct virtio_net_hdr_mrg_rxbuf *)guest_ptr(d->g, buf, 64))->num_buffers);
	EXPECT_EQ(0, dut_counter(d, RX, "errors"));
	EXPECT_EQ(0, dut_units(d, RX, 3));
}

/* CVE-2018-16880: more buffers for a packet than the device had room for, or the ring has */
TEST_F(net, rx_more_buffers_than_the_ring_has)
{
	static const unsigned int sizes[] = { 1, 2, 4, 64, 1024 };

	for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct dut_opts opts = {
			.num = sizes[s],
			.refuse = BIT(VIRTIO_RING_F_INDIRECT_DESC),
		};
		unsigned int each = 1012 / sizes[s] / 2 ?: 1;
		struct dut d;

		if (each < NET_HDR && sizes[s] < 1024)
			each = NET_HDR;
		if (sizes[s] == 64)
			each = 15;
		ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
		/* of the largest ring each has one byte, of which 1012 do hold the packet */
		for (unsigned int i = 0; i < sizes[s]; i++) {
			ASSERT_EQ(0, post(&d, d.scratch[RX].gpa + SCRATCH_FREE + i * 64, each));
		}
		gq_publish(d.q[RX]);
		ASSERT_EQ(0, send_len(&d, 1000, 1));
		ASSERT_EQ(0, gq_kick(d.q[RX]));
		if (sizes[s] == 1024) {
			EXPECT_EQ(0, gq_wait(d.q[RX], 5000));
			EXPECT_EQ(1012, gq_used_idx(d.q[RX]));
		} else {
			/* no more can ever come: it is dropped */
			for (unsigned int i = 0; i < 100 && !dut_counter(&d, RX, "errors"); i++)
				sleep_ms(10);
			EXPECT_EQ(1, dut_counter(&d, RX, "errors"))
				TH_LOG("ring of %u", sizes[s]);
			EXPECT_FALSE(gq_pending(d.q[RX]));
		}
		EXPECT_EQ(0, dut_counter(&d, RX, "breaks"));
		EXPECT_TRUE(sleeps(&d, RX));
		ASSERT_EQ(0, dut_restart(&d));
		EXPECT_EQ(0, dut_units(&d, RX, 3));
		dut_close(&d);
	}
}

/* CVE-2014-0077: a packet larger than its buffer where it may not go on in another */
TEST_F(net, rx_packet_larger_than_buffer)
{
	struct dut_opts opts = { .refuse = BIT(VIRTIO_NET_F_MRG_RXBUF) };
	uint64_t gpa = 1ULL << 40, size = 8192;
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);
	struct dut d;
	uint32_t len;
	void *token;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	/* a guard page, and a pattern, behind the buffer */
	ASSERT_EQ(0, mprotect(p + 4096, 4096, PROT_NONE));
	memset(p, 0x55, 4096);
	ASSERT_EQ(0, guest_add_region(d.g, gpa, p, size));
	ASSERT_EQ(0, guest_commit(d.g));
	for (unsigned int i = 0; i < 2; i++) {
		/* first 100 bytes in the middle of the page, then the last ones */
		uint64_t at = i ? gpa + 4096 - 100 : gpa + 1000;

		ASSERT_EQ(0, post(&d, at, 100));
		gq_publish(d.q[RX]);
		ASSERT_EQ(0, gq_kick(d.q[RX]));
		ASSERT_EQ(0, send_len(&d, 1000, 1));
		for (unsigned int k = 0; k < 100 && dut_counter(&d, RX, "errors") <= i; k++)
			sleep_ms(10);
		EXPECT_EQ(i + 1, dut_counter(&d, RX, "errors"));
		EXPECT_FALSE(gq_pending(d.q[RX]));
		/* the buffer is there for the next one that fits */
		ASSERT_EQ(0, send_len(&d, 88, 2));
		ASSERT_EQ(0, gq_wait(d.q[RX], 5000));
		ASSERT_EQ(0, gq_get(d.q[RX], &token, &len));
		EXPECT_EQ(100, len);
	}
	for (unsigned int i = 0; i < 4096 - 100; i++) {
		if (i < 1000 || i >= 1100) {
			ASSERT_EQ(0x55, p[i]);
		}
	}
	EXPECT_EQ(0, dut_counter(&d, RX, "breaks"));
	dut_close(&d);
	munmap(p, size);
}

/* Buffers of no length, in chains of all sorts: CVE-2023-5158, CVE-2019-14835 */
TEST_F(net, rx_segments_of_no_length)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[RX];
	uint64_t buf = d->scratch[RX].gpa + SCRATCH_FREE;
	uint32_t id, len;

	for (unsigned int where = 0; where < 3; where++) {
		for (unsigned int i = 0; i < 3; i++)
			gq_desc(q, i, buf + i * 2048, i == where ? 0 : 1000,
				VRING_DESC_F_WRITE | (i < 2 ? VRING_DESC_F_NEXT : 0), i + 1);
		gq_push(q, 0);
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		ASSERT_EQ(0, send_len(d, 1500, 1));
		ASSERT_EQ(0, gq_wait(q, 5000));
		ASSERT_EQ(0, gq_pop(q, &id, &len));
		EXPECT_EQ(1512, len);
	}
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_units(d, RX, 3));
}

/*
 * CVE-2019-3900: endless short buffers that nothing fits into. The worker takes turns with others,
 * and this thread, which has the same processor, gets on as well.
 */
TEST_F_TIMEOUT(net, rx_endless_short_buffers, 60)
{
	struct dut_opts opts = { .refuse = BIT(VIRTIO_NET_F_MRG_RXBUF), .num = 256 };
	struct guest_queue *q;
	int64_t end;
	unsigned int sent = 0;
	struct dut d;

	ASSERT_EQ(0, dut_open(&d, DUT_NET, &opts));
	q = d.q[RX];
	for (unsigned int i = 0; i < 256; i++) {
		ASSERT_EQ(0, post(&d, d.scratch[RX].gpa + SCRATCH_FREE + i * 64, 16));
	}
	gq_publish(q);
	end = now_ms() + many(1500);
	while (now_ms() < end) {
		/* the device's queue is never empty */
		for (unsigned int i = 0; i < 50; i++, sent++) {
			ASSERT_EQ(0, send_len(&d, 1000, i));
		}
		ASSERT_EQ(0, dut_units(&d, TX, 1));
	}
	for (unsigned int i = 0; i < 200 && dut_counter(&d, RX, "errors") < sent; i++)
		sleep_ms(10);
	EXPECT_EQ(sent, dut_counter(&d, RX, "errors"));
	EXPECT_FALSE(gq_pending(q));
	EXPECT_EQ(0, dut_restart(&d));
	EXPECT_EQ(0, dut_units(&d, RX, 3));
	dut_close(&d);
}

/* From the guest */

/* @n frames of @len bytes, as many at a time as the ring takes */
static int tx_many(struct dut *d, size_t len, unsigned int n, bool batched)
{
	struct guest_queue *q = d->q[TX];
	unsigned int added = 0, back = 0;
	uint32_t used;
	void *token;

	memset(d->scratch[TX].p, 0, NET_HDR);
	make_frame(d->scratch[TX].p + NET_HDR, len, 1, true);
	while (back < n) {
		struct guest_seg seg = { d->scratch[TX].gpa, NET_HDR + len };
		unsigned int room = batched ? 60 : 1;
		int ret;

		while (added < n && added - back < room && !gq_add(q, &seg, 1, 0, d))
			added++;
		gq_publish(q);
		ret = gq_notify(q);
		if (!ret)
			ret = gq_wait(q, 10000);
		if (ret)
			return ret;
		while (!gq_get(q, &token, &used))
			back++;
	}
	return 0;
}

/*
 * CVE-2024-41091: frames that end in front of or in their Ethernet header; CVE-2026-46321 and
 * 46322: the pages of those that the TAP refused were lost
 */
TEST_F_TIMEOUT(net, tx_frames_without_ethernet_header, 120)
{
	unsigned int n = many(100000) / 14;
	struct dut *d = &self->d;
	int64_t errors = 0;
	long before, lost;

	ASSERT_EQ(0, tx_many(d, 60, 1000, true));
	before = mem_available_kb();
	for (size_t len = 0; len < 14; len++) {
		EXPECT_EQ(0, tx_many(d, len, n, true));
		EXPECT_EQ(0, tx_many(d, len, n / 50, false));
		errors += n + n / 50;
	}
	/* none of them went to the TAP */
	EXPECT_EQ(errors, dut_counter(d, TX, "errors"));
	/* a page lost with each would be 400 MB, a page with each batch of 60 some 6 */
	lost = before - mem_available_kb();
	EXPECT_GT(4096, lost)
		TH_LOG("%ld KiB are gone", lost);
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	dut_forget(d);
	EXPECT_EQ(0, dut_units(d, TX, 3));
}

/* The same with the TAP being the one that refuses: its headers, and a link that is down */
TEST_F_TIMEOUT(net, tx_frames_that_the_tap_refuses, 120)
{
	unsigned int n = many(10000);
	struct dut *d = &self->d;
	struct virtio_net_hdr *hdr = (void *)d->scratch[TX].p;
	long before, lost;

	ASSERT_EQ(0, tx_many(d, 60, 1000, true));
	before = mem_available_kb();
	ASSERT_EQ(0, set_link(d->ifname, false));
	EXPECT_EQ(0, tx_many(d, 60, n, true));
	EXPECT_EQ(0, tx_many(d, 1500, n / 10, true));
	/* too large for the batch */
	EXPECT_EQ(0, tx_many(d, 20000, n / 100, true));
	ASSERT_EQ(0, set_link(d->ifname, true));
	for (unsigned int i = 0; i < n / 10; i++) {
		struct guest_seg seg = { d->scratch[TX].gpa, NET_HDR + 60 };
		uint32_t used;
		void *token;

		memset(hdr, 0, NET_HDR);
		hdr->gso_type = 0x30 + i % 8;
		hdr->gso_size = i;
		ASSERT_EQ(0, gq_add(d->q[TX], &seg, 1, 0, d));
		gq_publish(d->q[TX]);
		gq_notify(d->q[TX]);
		ASSERT_EQ(0, gq_wait(d->q[TX], 10000));
		ASSERT_EQ(0, gq_get(d->q[TX], &token, &used));
	}
	lost = before - mem_available_kb();
	EXPECT_GT(4096, lost)
		TH_LOG("%ld KiB are gone", lost);
	/* those that it took have a queue of the kernel's before them */
	sleep_ms(100);
	dut_forget(d);
	EXPECT_EQ(0, dut_units(d, TX, 3));
}

/* CVE-2024-11614 and the like: offsets and sizes that point beyond the frame, of all sizes */
TEST_F_TIMEOUT(net, tx_header_extremes, 120)
{
	static const uint16_t values[] = { 0, 1, 13, 14, 33, 34, 59, 60, 61, 0x7fff, 0xfffe, 0xffff };
	static const uint8_t types[] = {
		VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_UDP,
		VIRTIO_NET_HDR_GSO_TCPV6, 5, 0x41, 0x81, 0xff,
	};
	unsigned int n = sizeof(values) / sizeof(values[0]), units = 0;
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[TX];
	uint32_t seed = 1;

	/* every value in every field, and with it others by chance */
	for (unsigned int i = 0; i < many(3000); i++) {
		unsigned char *p = d->scratch[TX].p + (i % 8) * 4096;
		struct virtio_net_hdr *hdr = (void *)p;
		size_t len = (const size_t[]){ 14, 60, 61, 1514, 3000, 8000 }[i % 6];
		struct guest_seg seg = { d->scratch[TX].gpa + (i % 8) * 4096, NET_HDR + len };
		uint16_t field[4];
		uint32_t used;
		void *token;

		for (unsigned int k = 0; k < 4; k++) {
			seed = seed * 1103515245 + 12345;
			field[k] = values[(seed >> 16) % n];
		}
		memset(p, 0, NET_HDR);
		make_frame(p + NET_HDR, len < 4000 ? len : 4000, i, true);
		/* what the checksum is said to be of: IPv4 and UDP, once in a while */
		if (i % 3 == 0) {
			p[NET_HDR + 12] = 8;
			p[NET_HDR + 13] = 0;
			p[NET_HDR + 14] = 0x45;
			p[NET_HDR + 23] = i % 2 ? 6 : 17;
		}
		hdr->flags = i % 4 == 3 ? 0xff : i % 4;
		hdr->gso_type = types[i % 8];
		hdr->hdr_len = field[0];
		hdr->gso_size = field[1];
		hdr->csum_start = field[2];
		hdr->csum_offset = field[3];
		if (gq_add(q, &seg, 1, 0, d))
			continue;
		units++;
		if (i % 8 != 7)
			continue;
		gq_publish(q);
		ASSERT_EQ(0, gq_notify(q));
		while (units) {
			ASSERT_EQ(0, gq_wait(q, 10000));
			while (!gq_get(q, &token, &used))
				units--;
		}
		dut_forget(d);
	}
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	ASSERT_EQ(0, dut_restart(d));
	EXPECT_EQ(0, dut_units(d, TX, 3));
	EXPECT_EQ(0, dut_units(d, RX, 3));
}

/* DPDK CVE-2022-2132: the header in pieces, and less than one */
TEST_F(net, tx_header_in_pieces)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[TX];
	unsigned char *p = d->scratch[TX].p, got[200];
	uint64_t gpa = d->scratch[TX].gpa;

	memset(p, 0, NET_HDR);
	make_frame(p + NET_HDR, 100, 1, true);
	for (unsigned int n = 1; n <= NET_HDR; n++) {
		struct guest_seg seg[NET_HDR + 3];
		unsigned int k = 0;
		uint32_t used;
		void *token;

		/* n - 1 pieces of one byte, with nothing in between; the rest goes on into the frame */
		for (unsigned int i = 0; i + 1 < n; i++)
			seg[k++] = (struct guest_seg){ gpa + i, 1 };
		seg[k++] = (struct guest_seg){ gpa, 0 };
		seg[k++] = (struct guest_seg){ gpa + n - 1, NET_HDR + 50 - (n - 1) };
		seg[k++] = (struct guest_seg){ gpa + NET_HDR + 50, 50 };
		ASSERT_EQ(0, gq_add(q, seg, k, 0, d));
		gq_publish(q);
		ASSERT_EQ(0, gq_notify(q));
		ASSERT_EQ(0, gq_wait(q, 5000));
		ASSERT_EQ(0, gq_get(q, &token, &used));
		ASSERT_EQ(100, dut_receive(d, got, sizeof(got), 5000));
		EXPECT_EQ(0, memcmp(got, p + NET_HDR, 100))
			TH_LOG("in %u pieces", n);
	}
	for (unsigned int len = 0; len < NET_HDR; len++) {
		gq_desc(q, 0, gpa, len, 0, 0);
		gq_push(q, 0);
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		EXPECT_TRUE(wait_queue_is(d->g->fd, TX, "broken", 5000))
			TH_LOG("a header of %u bytes", len);
		EXPECT_EQ(0, dut_units(d, RX, 1));
		ASSERT_EQ(0, dut_restart(d));
	}
	EXPECT_EQ(0, dut_units(d, TX, 3));
}

/* DPDK says of the header in a table, and now and then of the frame, that it may be written to */
TEST_F(net, tx_table_marked_writable)
{
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[TX];
	unsigned char *p = d->scratch[TX].p, got[200];
	uint64_t gpa = d->scratch[TX].gpa, table = gpa + SCRATCH_FREE;
	static const uint32_t len[] = { NET_HDR, 50, 50 };

	if (!dut_packed())
		SKIP(return, "it does so in packed rings only");
	memset(p, 0, NET_HDR);
	make_frame(p + NET_HDR, 100, 1, true);
	for (unsigned int marks = 0; marks < 8; marks++) {
		uint64_t at = gpa;

		for (unsigned int i = 0; i < 3; at += len[i++])
			ASSERT_EQ(0, gq_table(d->g, table, i, at, len[i], marks >> i & 1 ? VRING_DESC_F_WRITE : 0, 0));
		gq_desc(q, 0, table, 3 * 16, VRING_DESC_F_INDIRECT, 0);
		gq_push(q, 0);
		gq_publish(q);
		ASSERT_EQ(0, gq_kick(q));
		ASSERT_EQ(100, dut_receive(d, got, sizeof(got), 5000))
			TH_LOG("marks %u", marks);
		EXPECT_EQ(0, memcmp(got, p + NET_HDR, 100));
		ASSERT_EQ(0, dut_restart(d));
	}
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	EXPECT_EQ(0, dut_units(d, TX, 3));
}

/* CVE-2023-3812: frames of all sizes up to and beyond what a socket buffer may be, in many pieces */
TEST_F(net, tx_frames_too_large)
{
	static const uint32_t lens[] = {
		4000, 4096, 4097, 9000, 65535, 65549, 65550, 65600, 70000, 100000,
	};
	struct dut *d = &self->d;
	struct guest_queue *q = d->q[TX];
	uint64_t gpa = d->scratch[TX].gpa;

	memset(d->scratch[TX].p, 0, SCRATCH_SIZE);
	make_frame(d->scratch[TX].p + NET_HDR, 100, 1, true);
	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (unsigned int pieces = 1; pieces <= 60; pieces += 59) {
			struct guest_seg seg[60];
			uint32_t total = NET_HDR + lens[i], each = total / pieces, used;
			void *token;

			for (unsigned int k = 0; k < pieces; k++)
				seg[k] = (struct guest_seg){ gpa + k * each, k + 1 < pieces ? each :
							     total - k * each };
			ASSERT_EQ(0, gq_add(q, seg, pieces, 0, d));
			gq_publish(q);
			ASSERT_EQ(0, gq_notify(q));
			ASSERT_EQ(0, gq_wait(q, 5000));
			ASSERT_EQ(0, gq_get(q, &token, &used));
			dut_forget(d);
		}
	}
	/* the header and one byte a segment, as many as there may be */
	EXPECT_EQ(0, dut_counter(d, TX, "breaks"));
	EXPECT_EQ(0, dut_units(d, TX, 3));
}

/* The TAP goes away under both queues, in the middle of a batch (ip link del) */
TEST_F_TIMEOUT(net, tap_is_deleted, 60)
{
	for (unsigned int i = 0; i < many(5); i++) {
		char cmd[64];
		struct mover m;
		struct dut d;

		ASSERT_EQ(0, dut_open(&d, DUT_NET, NULL));
		ASSERT_EQ(0, mover_start(&m, &d, RX));
		d.timeout_ms = 200;
		d.quiet = true;
		ASSERT_EQ(0, tx_many(&d, 60, 100, true));
		snprintf(cmd, sizeof(cmd), "ip link del %s", d.ifname);
		ASSERT_EQ(0, system(cmd));
		/* frames are dropped, and chains come back */
		EXPECT_EQ(0, tx_many(&d, 60, 500, true));
		EXPECT_NE(0, mover_stop(&m));
		EXPECT_TRUE(sleeps(&d, TX));
		EXPECT_EQ(0, guest_stop(d.g));
		dut_close(&d);
	}
}

TEST_HARNESS_MAIN
