// SPDX-License-Identifier: GPL-2.0
/*
 * A migration, without the other host: logging is switched on while packets move, memory is copied, pages
 * that are marked are copied again, the device is stopped, and the copy has to be what memory is.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "dirty.h"

#define NUM		256
#define POSTED		192
#define OUTSTANDING	128		/* packets, of which neither the ring nor the TAP drops any */
#define SLOT		704ULL
#define AREA		(4ULL << 20)
#define FRAME_MAX	1400

/**
 * struct vm - what moves
 * @area: where packets go, which nobody but the device writes; each buffer is in another place of it
 * @lock: of the queues' state; the driver's but while the VMM changes it
 * @sent: packets so far
 * @got: likewise, and all of them in their order
 */
struct vm {
	struct dut d;
	struct dirty l;
	uint64_t gpa;
	unsigned char *area, *copy;
	unsigned int slot;
	pthread_t sender, driver;
	pthread_mutex_t lock;
	atomic_bool stop;
	atomic_uint sent, got;
	int err;
};

static uint32_t len_of(uint32_t seq)
{
	return 60 + seq * 131 % (FRAME_MAX - 60);
}

static void *send_all(void *arg)
{
	unsigned char frame[FRAME_MAX];
	struct vm *vm = arg;

	while (!vm->stop) {
		uint32_t seq = vm->sent;

		if (seq - vm->got >= OUTSTANDING) {
			sched_yield();
			continue;
		}
		make_frame(frame, len_of(seq), seq, false);
		vm->sent++;
		if (dut_send(&vm->d, frame, len_of(seq)))
			break;
	}
	return NULL;
}

static int post(struct vm *vm)
{
	uint64_t at = vm->slot++ % (AREA / SLOT) * SLOT;
	struct guest_seg seg = { vm->gpa + at, SLOT };

	return gq_add(vm->d.q[RX], &seg, 0, 1, vm->area + at);
}

/* A packet, from one or several buffers. 1, 0 where there is none, or -errno */
static int take_packet(struct vm *vm)
{
	unsigned char is[FRAME_MAX + NET_HDR + SLOT], want[FRAME_MAX];
	uint32_t seq = vm->got, have = 0, len;
	unsigned int n = 1;
	void *token;
	int ret;

	for (unsigned int i = 0; i < n; i++) {
		ret = gq_get(vm->d.q[RX], &token, &len);
		if (ret)
			return i || ret != -EAGAIN ? -EPROTO : 0;
		if (have + len > sizeof(is))
			return -EPROTO;
		memcpy(is + have, token, len);
		have += len;
		if (!i)
			n = le16toh(*(uint16_t *)(is + 10));
		ret = post(vm);
		if (ret)
			return ret;
	}
	make_frame(want, len_of(seq), seq, false);
	if (have != NET_HDR + len_of(seq) || memcmp(is + NET_HDR, want, have - NET_HDR)) {
		printf("# packet %u has %u bytes and number %u\n", seq, have,
		       *(uint32_t *)(is + NET_HDR + 14));
		return -EBADMSG;
	}
	vm->got++;
	return 1;
}

static int drive_tx(struct vm *vm)
{
	struct guest_seg seg = { vm->d.scratch[TX].gpa, NET_HDR + 60 };
	struct guest_queue *q = vm->d.q[TX];
	uint32_t used;
	void *token;
	int ret;

	while (!gq_get(q, &token, &used))
		;
	if (gq_in_flight(q) >= 32)
		return 0;
	ret = gq_add(q, &seg, 1, 0, vm);
	gq_publish(q);
	return ret ? ret : gq_notify(q);
}

static void *drive(void *arg)
{
	struct vm *vm = arg;
	int ret = 0;

	while (!vm->stop && ret >= 0) {
		pthread_mutex_lock(&vm->lock);
		do
			ret = take_packet(vm);
		while (ret > 0);
		if (!ret) {
			gq_publish(vm->d.q[RX]);
			ret = gq_notify(vm->d.q[RX]);
		}
		if (!ret)
			ret = drive_tx(vm);
		pthread_mutex_unlock(&vm->lock);
		sched_yield();
	}
	vm->err = ret;
	return NULL;
}

/* Move what is marked to the copy; nothing else than what the device writes may be */
static int collect(struct vm *vm)
{
	struct dirty *l = &vm->l;

	for (size_t i = 0; i < l->size; i++) {
		unsigned char bits;

		if (!l->map[i])
			continue;
		bits = __atomic_exchange_n(&l->map[i], 0, __ATOMIC_SEQ_CST);
		for (unsigned int k = 0; k < 8; k++) {
			uint64_t page = (i * 8 + k) * LOG_PAGE;

			if (!(bits & 1 << k))
				continue;
			if (page >= vm->gpa && page < vm->gpa + AREA) {
				memcpy(vm->copy + (page - vm->gpa), vm->area + (page - vm->gpa),
				       LOG_PAGE);
			} else if (!(l->want[i] & 1 << k)) {
				printf("# page %#llx is marked\n", (unsigned long long)page);
				return -EBADMSG;
			}
		}
	}
	return 0;
}

static int compare(struct vm *vm)
{
	for (uint64_t at = 0; at < AREA; at += LOG_PAGE) {
		if (!memcmp(vm->area + at, vm->copy + at, LOG_PAGE))
			continue;
		printf("# page %#llx was written and not marked\n",
		       (unsigned long long)(vm->gpa + at));
		return -EBADMSG;
	}
	return 0;
}

static int stop(struct vm *vm)
{
	int ret;

	pthread_mutex_lock(&vm->lock);
	ret = guest_stop(vm->d.g);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

static int start(struct vm *vm)
{
	int ret;

	pthread_mutex_lock(&vm->lock);
	ret = dut_start(&vm->d);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

/* Let some move; a few milliseconds more if none has */
static void some(struct vm *vm, unsigned int us)
{
	unsigned int got = vm->got;

	usleep(us);
	for (unsigned int i = 0; i < 20000 && vm->got == got && !vm->err; i++)
		usleep(100);
}

/* Whatever a queue writes of its ring: all of its areas, which are nobody else's pages */
static void want_ring(struct vm *vm, unsigned int qi)
{
	for (unsigned int i = 0; i < 3; i++) {
		const unsigned char *area = gq_area(vm->d.q[qi], i);
		const struct guest_region *r = dut_region(&vm->d, area);

		dirty_want(&vm->l, r->gpa + (area - r->hva), 16 * NUM);
	}
}

FIXTURE(migrate) {
	struct vm vm;
};

FIXTURE_VARIANT(migrate) {
	uint64_t refuse;
	const char *ring;
};

FIXTURE_VARIANT_ADD(migrate, usual) {
	.refuse = 0,
};

FIXTURE_VARIANT_ADD(migrate, no_event_idx) {
	.refuse = BIT(VIRTIO_RING_F_EVENT_IDX),
};

FIXTURE_VARIANT_ADD(migrate, packed_in_order) {
	.ring = "packed in-order",
};

FIXTURE_SETUP(migrate)
{
	struct dut_opts opts = {
		.num = NUM, .stopped = true, .regions = 2, .memory = 16 << 20,
		.refuse = variant->refuse,
	};
	struct vm *vm = &self->vm;

	if (variant->ring)
		setenv("VHL_TEST_RING", variant->ring, 1);
	pthread_mutex_init(&vm->lock, NULL);
	ASSERT_EQ(0, dut_open(&vm->d, DUT_NET, &opts));
	ASSERT_EQ(0, dirty_move_rings(&vm->d));
	ASSERT_EQ(0, guest_alloc(vm->d.g, AREA, LOG_PAGE, &vm->gpa));
	vm->area = guest_ptr(vm->d.g, vm->gpa, AREA);
	vm->copy = malloc(AREA);
	ASSERT_NE(NULL, vm->copy);
	ASSERT_EQ(0, dirty_open(&vm->l, &vm->d, 0));
	for (unsigned int i = 0; i < 2; i++)
		want_ring(vm, i);
	memset(vm->d.scratch[TX].p, 0, NET_HDR);
	make_frame(vm->d.scratch[TX].p + NET_HDR, 60, 0, true);
	for (unsigned int i = 0; i < POSTED; i++)
		ASSERT_EQ(0, post(vm));
	gq_publish(vm->d.q[RX]);
	ASSERT_EQ(0, dut_start(&vm->d));
	ASSERT_EQ(0, pthread_create(&vm->sender, NULL, send_all, vm));
	ASSERT_EQ(0, pthread_create(&vm->driver, NULL, drive, vm));
	some(vm, 1000);
}

FIXTURE_TEARDOWN(migrate)
{
	struct vm *vm = &self->vm;

	dut_close(&vm->d);
	dirty_close(&vm->l);
	free(vm->copy);
}

/* The copy that a migration makes: its first round, another one or two, the last one after a stop */
static int migration(struct vm *vm, unsigned int i)
{
	int ret = dirty_on(&vm->l);

	if (ret)
		return ret;
	memcpy(vm->copy, vm->area, AREA);
	for (unsigned int k = 0; !ret && k < i % 3; k++) {
		some(vm, rand() % 2000);
		ret = collect(vm);
	}
	some(vm, rand() % 1000);
	if (!ret)
		ret = stop(vm);
	if (!ret)
		ret = collect(vm);
	return ret ? ret : compare(vm);
}

/* Switched off as it was on, with all running: nothing is marked after that */
static int cancelled(struct vm *vm)
{
	int ret = dirty_on(&vm->l);

	some(vm, rand() % 1000);
	if (!ret)
		ret = dirty_off(&vm->l);
	if (!ret)
		ret = collect(vm);
	some(vm, rand() % 1000);
	for (size_t i = 0; !ret && i < vm->l.size; i++)
		if (vm->l.map[i])
			ret = -EBADMSG;
	return ret;
}

TEST_F_TIMEOUT(migrate, a_thousand_times, 400)
{
	struct vm *vm = &self->vm;
	unsigned int n = many(500), got;

	for (unsigned int i = 0; i < n && !vm->err; i++) {
		got = vm->got;
		ASSERT_EQ(0, migration(vm, i))
			TH_LOG("migration %u", i);
		/* it failed: the guest goes on here, every other time still with the log */
		if (i & 1)
			ASSERT_EQ(0, dirty_off(&vm->l));
		ASSERT_EQ(0, start(vm));
		if (!(i & 1))
			ASSERT_EQ(0, dirty_off(&vm->l));
		some(vm, 0);
		ASSERT_LT(got, vm->got);
		ASSERT_EQ(0, cancelled(vm))
			TH_LOG("migration %u that was cancelled", i);
	}
	vm->stop = true;
	pthread_join(vm->sender, NULL);
	pthread_join(vm->driver, NULL);
	EXPECT_EQ(0, vm->err);
	/* none was lost: what the TAP still has is all that is missing */
	EXPECT_GE(OUTSTANDING, vm->sent - vm->got);
	EXPECT_EQ(0, dut_counter(&vm->d, RX, "errors"));
	EXPECT_EQ(0, dut_counter(&vm->d, RX, "breaks"));
	printf("# %u packets\n", vm->got);
}

TEST_HARNESS_MAIN
