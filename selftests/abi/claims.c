// SPDX-License-Identifier: GPL-2.0
/*
 * Memory comes and goes piece by piece beside requests in flight. Only those that use what goes are
 * waited for, and after that nothing touches it any more.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "held.h"

FIXTURE(claims) {
	struct world w;
};

FIXTURE_SETUP(claims)
{
	if (system("modprobe -aq loop dm-mod"))
		SKIP(return, "no loop or dm-mod here");
	ASSERT_EQ(0, world_open(&self->w, DUT_VDPA, "claims"));
}

FIXTURE_TEARDOWN(claims)
{
	world_close(&self->w);
}

/* The first time there is nothing but to wait for all; then it is known */
TEST_F(claims, begin)
{
	struct world *w = &self->w;
	struct map_stats s;

	/* nothing is in flight: nothing to wait for */
	ASSERT_EQ(0, page_map(&w->d, &w->foreign));
	ASSERT_EQ(0, page_unmap(&w->d, &w->foreign));
	ASSERT_EQ(0, map_stats(w->d.g->fd, &s));
	EXPECT_EQ(0, s.drains);
	ASSERT_EQ(0, begin_claims(w));
	ASSERT_EQ(0, map_stats(w->d.g->fd, &s));
	EXPECT_EQ(2, s.drains);
	EXPECT_EQ(0, s.waits);
	EXPECT_EQ(3, s.invalidates);
}

/* What no request uses comes and goes while requests are held up, and queues take others */
TEST_F(claims, foreign_ranges)
{
	struct world *w = &self->w;
	struct map_stats before, after;
	struct message m;

	ASSERT_EQ(0, begin_claims(w));
	ASSERT_EQ(0, map_stats(w->d.g->fd, &before));
	for (unsigned int qi = 0; qi < 2; qi++) {
		ASSERT_EQ(0, dm_hang(&w->dm));
		ASSERT_EQ(0, start_read(w, qi, 7));
		sleep_ms(30);
		for (unsigned int i = 0; i < 20; i++) {
			/*
			 * of the same and of another queue; one that waits is let go, so that the
			 * test ends
			 */
			for (unsigned int unmap = 0; unmap < 2; unmap++) {
				ASSERT_EQ(0, message_start(&m, w, &w->foreign, unmap));
				EXPECT_TRUE(message_is_done(&m, 5000));
				if (!m.done)
					dm_switch(&w->dm);
				ASSERT_EQ(0, message_end(&m));
			}
			/*
			 * its neighbour in the map is a part of the other queue's requests, which
			 * has none
			 */
			ASSERT_EQ(0, page_unmap(&w->d, &w->part[!qi][i % PARTS]));
			ASSERT_EQ(0, page_map(&w->d, &w->part[!qi][i % PARTS]));
			EXPECT_EQ(0, get_id(w, qi));
			EXPECT_EQ(0, get_id(w, !qi));
		}
		EXPECT_EQ(PENDING, w->part[qi][STATUS].p[0]);
		EXPECT_TRUE(page_is(&w->part[qi][DATA], POISON));
		ASSERT_EQ(0, dm_switch(&w->dm));
		EXPECT_EQ(0, end_read(w, qi, 7));
	}
	ASSERT_EQ(0, map_stats(w->d.g->fd, &after));
	EXPECT_EQ(before.drains, after.drains);
	EXPECT_EQ(before.waits, after.waits);
	EXPECT_EQ(before.updates + 80, after.updates);
	EXPECT_EQ(before.invalidates + 80, after.invalidates);
}

/* Each part of a request in flight: it is waited for, and nothing else is */
static void used_range(struct __test_metadata *_metadata, struct world *w, unsigned int part)
{
	const struct page *page = &w->part[0][part];
	struct map_stats before, after;
	struct message m;

	ASSERT_EQ(0, map_stats(w->d.g->fd, &before));
	ASSERT_EQ(0, dm_hang(&w->dm));
	ASSERT_EQ(0, start_read(w, 0, 9));
	sleep_ms(30);
	ASSERT_EQ(0, message_start(&m, w, page, true));
	EXPECT_FALSE(message_is_done(&m, 200));
	/* its queue and the other one go on meanwhile */
	EXPECT_EQ(0, get_id(w, 0));
	EXPECT_EQ(0, get_id(w, 1));
	EXPECT_FALSE(m.done);
	EXPECT_FALSE(is_read(w, 0, 9));
	ASSERT_EQ(0, dm_switch(&w->dm));
	ASSERT_EQ(0, message_end(&m));
	/* done, all of it, with the message, whether or not the driver has looked */
	EXPECT_TRUE(is_read(w, 0, 9));
	EXPECT_EQ(0, end_read(w, 0, 9));
	ASSERT_EQ(0, map_stats(w->d.g->fd, &after));
	EXPECT_EQ(before.waits + 1, after.waits);
	EXPECT_EQ(before.drains, after.drains);

	/* and nothing is there for the next one: it fails cleanly */
	memset(page->p, POISON, PAGE);
	ASSERT_EQ(0, start_read(w, 0, 9));
	if (part == HDR)
		memset(page->p, POISON, PAGE);
	EXPECT_TRUE(wait_queue_is(w->d.g->fd, 0, "broken", 5000));
	if (part == STATUS)
		EXPECT_EQ(PENDING, page->p[0]);
	EXPECT_TRUE(page_is(&w->part[0][DATA], POISON));
	EXPECT_FALSE(gq_pending(w->d.q[0]));
	EXPECT_EQ(0, get_id(w, 1));
}

TEST_F(claims, used_header)
{
	ASSERT_EQ(0, begin_claims(&self->w));
	used_range(_metadata, &self->w, HDR);
}

TEST_F(claims, used_data)
{
	ASSERT_EQ(0, begin_claims(&self->w));
	used_range(_metadata, &self->w, DATA);
}

TEST_F(claims, used_status)
{
	ASSERT_EQ(0, begin_claims(&self->w));
	used_range(_metadata, &self->w, STATUS);
}

/* A range that covers many regions, some of which are in use */
TEST_F(claims, used_among_others)
{
	struct world *w = &self->w;
	struct dev_info info;
	struct message m;
	unsigned int all;

	ASSERT_EQ(0, begin_claims(w));
	ASSERT_EQ(0, get_info(w->d.g->fd, &info));
	all = info.regions;
	ASSERT_EQ(0, dm_hang(&w->dm));
	ASSERT_EQ(0, start_read(w, 0, 9));
	ASSERT_EQ(0, start_read(w, 1, 10));
	sleep_ms(30);
	ASSERT_EQ(0, message_start_sized(&m, w, &w->part[0][0], 2 * PARTS * PAGE, true));
	EXPECT_FALSE(message_is_done(&m, 100));
	EXPECT_EQ(0, get_id(w, 0));
	EXPECT_EQ(0, get_id(w, 1));
	ASSERT_EQ(0, dm_switch(&w->dm));
	ASSERT_EQ(0, message_end(&m));
	EXPECT_TRUE(is_read(w, 0, 9));
	EXPECT_TRUE(is_read(w, 1, 10));
	EXPECT_EQ(0, end_read(w, 0, 9));
	EXPECT_EQ(0, end_read(w, 1, 10));
	ASSERT_EQ(0, get_info(w->d.g->fd, &info));
	EXPECT_EQ(all - 2 * PARTS, info.regions);
	EXPECT_EQ(0, get_id(w, 0));
}

/* A driver that makes an id available which it has not got back, where claims are kept by id */
TEST_F(claims, id_in_flight)
{
	struct world *w = &self->w;
	struct message m;

	if (dut_packed())
		SKIP(return, "a packed ring knows by itself");
	ASSERT_EQ(0, begin_claims(w));
	ASSERT_EQ(0, dm_hang(&w->dm));
	ASSERT_EQ(0, start_read(w, 0, 9));
	sleep_ms(30);
	gq_push(w->d.q[0], w->d.q[0]->last_head);
	gq_publish(w->d.q[0]);
	ASSERT_EQ(0, gq_kick(w->d.q[0]));
	EXPECT_TRUE(wait_queue_is(w->d.g->fd, 0, "broken", 5000));
	/* the first one is in flight all the same */
	ASSERT_EQ(0, message_start(&m, w, &w->part[0][DATA], true));
	EXPECT_FALSE(message_is_done(&m, 100));
	ASSERT_EQ(0, dm_switch(&w->dm));
	ASSERT_EQ(0, message_end(&m));
	EXPECT_TRUE(is_read(w, 0, 9));
}

/*
 * A queue with a request in flight waits for a translation: neither is an invalidation waited for by it,
 * nor does it wait for the queue, but for the request, if that uses the range.
 */
TEST(queue_waits_for_translation)
{
	struct virtio_blk_outhdr in = { .type = htole32(VIRTIO_BLK_T_IN), .sector = htole64(11 * 8) };
	struct world world, *w = &world;
	struct vhost_msg msg = { 0 };
	struct guest_seg seg[3];
	struct message m;

	if (system("modprobe -aq loop dm-mod"))
		SKIP(return, "no loop or dm-mod here");
	ASSERT_EQ(0, world_open(w, DUT_BLK, "asking"));
	ASSERT_EQ(0, begin_claims(w));
	ASSERT_EQ(0, dm_hang(&w->dm));
	ASSERT_EQ(0, start_read(w, 0, 9));
	sleep_ms(30);
	/* of the other queue's pages, but for the data */
	memcpy(w->part[1][HDR].p, &in, sizeof(in));
	w->part[1][STATUS].p[0] = PENDING;
	seg[0] = (struct guest_seg){ w->part[1][HDR].iova, sizeof(in) };
	seg[1] = (struct guest_seg){ w->foreign.iova, PAGE };
	seg[2] = (struct guest_seg){ w->part[1][STATUS].iova, 1 };
	ASSERT_EQ(0, gq_add(w->d.q[0], seg, 1, 2, w));
	gq_publish(w->d.q[0]);
	ASSERT_EQ(0, gq_kick(w->d.q[0]));
	ASSERT_EQ(sizeof(msg), read(w->d.g->fd, &msg, sizeof(msg)));
	EXPECT_EQ(VHOST_IOTLB_MISS, msg.iotlb.type);
	EXPECT_EQ(w->foreign.iova, msg.iotlb.iova);
	ASSERT_EQ(0, message_start(&m, w, &w->part[1][DATA], true));
	EXPECT_TRUE(message_is_done(&m, 5000));
	if (!m.done)
		dm_switch(&w->dm);
	ASSERT_EQ(0, message_end(&m));
	ASSERT_EQ(0, message_start(&m, w, &w->part[0][DATA], true));
	EXPECT_FALSE(message_is_done(&m, 100));
	ASSERT_EQ(0, dm_switch(&w->dm));
	ASSERT_EQ(0, message_end(&m));
	EXPECT_TRUE(is_read(w, 0, 9));
	EXPECT_EQ(0, end_read(w, 0, 9));
	/* it is still asked for, and goes on when it is there */
	EXPECT_EQ(PENDING, w->part[1][STATUS].p[0]);
	ASSERT_EQ(0, page_map(&w->d, &w->foreign));
	EXPECT_EQ(0, gq_wait(w->d.q[0], 5000));
	EXPECT_TRUE(page_is(&w->foreign, 11));
	EXPECT_EQ(0, dut_counter(&w->d, 0, "breaks"));
	world_close(w);
}

/* The process dies while it waits: the disk goes on, and nothing is left */
struct dying {
	struct world *w;
	int told;
};

static int dying_child(void *arg)
{
	struct dying *dying = arg;
	struct world w;
	struct message m;

	if (world_open(&w, DUT_VDPA, "dying") || begin_claims(&w) || dm_hang(&w.dm) || start_read(&w, 0, 9))
		return 1;
	sleep_ms(30);
	if (message_start(&m, &w, &w.part[0][DATA], true) || message_is_done(&m, 100))
		return 2;
	if (write(dying->told, &w.dm, sizeof(w.dm)) != sizeof(w.dm))
		return 3;
	pause();
	return 4;
}

TEST(owner_dies_while_it_waits)
{
	int told[2], status;
	struct dm dm = { 0 };
	struct dying dying;
	pid_t pid;

	if (system("modprobe -aq loop dm-mod"))
		SKIP(return, "no loop or dm-mod here");
	ASSERT_EQ(0, pipe(told));
	dying.told = told[1];
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(dying_child(&dying));
	close(told[1]);
	ASSERT_EQ(sizeof(dm), read(told[0], &dm, sizeof(dm)));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	sleep_ms(100);
	ASSERT_EQ(0, dm_switch(&dm));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(wait_workers(0, 10000));
	EXPECT_EQ(0, dm_close(&dm));
	close(told[0]);
}

TEST_HARNESS_MAIN
