// SPDX-License-Identifier: GPL-2.0
/* A device under test.  See dut.h */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dut.h"
#include "frames.h"
#include "links.h"

/* Local experimental protocols (IEEE 802), one for each direction */
#define PROTO_FROM_GUEST	0x88b5
#define PROTO_TO_GUEST		0x88b6

#define BLOCK	4096

static int complain(struct dut *d, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int complain(struct dut *d, int err, const char *fmt, ...)
{
	va_list ap;

	if (d->quiet)
		return err;
	printf("# %s: ", dut_node(d->kind));
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\n", strerror(-err));
	return err;
}

static int open_raw(struct dut *d)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(PROTO_FROM_GUEST),
	};

	d->ifindex = if_nametoindex(d->ifname);
	addr.sll_ifindex = d->ifindex;
	d->raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (d->raw < 0 || bind(d->raw, (void *)&addr, sizeof(addr)))
		return -errno;
	return 0;
}

static int open_backend(struct dut *d)
{
	int hdr = d->opts.accept & BIT(VHOST_NET_F_VIRTIO_NET_HDR) ? 0 : NET_HDR;

	if (d->opts.packet && hdr && d->opts.refuse & BIT(VIRTIO_F_VERSION_1) &&
	    d->opts.refuse & BIT(VIRTIO_NET_F_MRG_RXBUF))
		hdr = OLD_HDR;
	if (d->opts.macvtap || d->opts.packet) {
		d->backend = d->opts.packet ? make_packet(hdr) : make_macvtap(NET_HDR);
		d->owns_backend = true;
		strcpy(d->ifname, VETH_NAME);
		return d->backend < 0 ? d->backend : open_raw(d);
	}
	if (d->kind == DUT_NET) {
		d->backend = make_tap_with(d->ifname, hdr, d->opts.tap_flags);
		d->owns_backend = true;
		return d->backend < 0 ? d->backend : open_raw(d);
	}
	if (d->opts.name) {
		d->backend = VHL_BACKEND_OWN;
		return 0;
	}
	if (d->opts.disk) {
		d->backend = d->opts.disk;
		return 0;
	}
	d->backend = make_disk(4 << 20);
	d->owns_backend = true;
	return d->backend < 0 ? d->backend : 0;
}

static int attach(struct dut *d)
{
	struct vhl_blk_opts opts = {
		.num_queues = 2,
		.block_size = d->opts.block_size,
		.flags = d->opts.flags,
	};

	if (d->opts.name)
		return 0;
	if (d->kind == DUT_BLK && d->opts.block_size && !d->opts.early)
		return GUEST_IOCTL(d->g, VHL_BLK_SET_OPTS, &opts);
	if (d->kind != DUT_VDPA && !d->opts.early)
		return 0;
	return GUEST_IOCTL(d->g, VHL_BLK_SET_OPTS, &opts) ?: guest_attach(d->g, d->backend);
}

static int negotiate(struct dut *d)
{
	uint64_t offered = 0;
	int ret = guest_features(d->g, &offered);

	if (ret)
		return ret;
	offered &= ~d->opts.refuse;
	if (d->kind == DUT_NET)
		offered &= ~BIT(VHOST_NET_F_VIRTIO_NET_HDR) | d->opts.accept;
	if (d->kind != DUT_VDPA)
		offered &= ~BIT(VIRTIO_F_ACCESS_PLATFORM) | d->opts.accept;
	return guest_set_features(d->g, offered);
}

const char *dut_node(enum dut_kind kind)
{
	static const char *const nodes[] = {
		[DUT_NET] = NODE_NET, [DUT_BLK] = NODE_BLK, [DUT_VDPA] = NODE_VDPA,
	};

	return nodes[kind];
}

unsigned long dut_backend(enum dut_kind kind)
{
	return kind == DUT_NET ? VHOST_NET_SET_BACKEND : VHOST_BLK_SET_BACKEND;
}

static bool ring_is(const char *word)
{
	const char *ring = getenv("VHL_TEST_RING");

	return ring && strstr(ring, word);
}

bool dut_packed(void)
{
	return ring_is("packed");
}

int dut_open(struct dut *d, enum dut_kind kind, const struct dut_opts *opts)
{
	int ret;

	memset(d, 0, sizeof(*d));
	d->kind = kind;
	if (opts)
		d->opts = *opts;
	d->backend = -1;
	d->raw = -1;
	d->timeout_ms = 20000;
	if (!d->opts.num)
		d->opts.num = 64;

	ret = open_backend(d);
	if (ret)
		return complain(d, ret, "backend");
	if (d->opts.name)
		ret = guest_open_named(&d->g, d->opts.name, kind == DUT_VDPA);
	else
		ret = guest_open(&d->g, dut_node(kind), kind == DUT_NET ? GUEST_NET : GUEST_BLK);
	if (!ret) {
		d->g->packed = dut_packed();
		d->g->in_order = ring_is("in-order");
		d->g->shared = d->opts.shared;
		ret = attach(d);
	}
	if (!ret && d->opts.kthreads)
		ret = GUEST_IOCTL(d->g, VHOST_SET_FORK_FROM_OWNER, &(uint8_t){ VHOST_FORK_OWNER_KTHREAD });
	if (!ret)
		ret = guest_own(d->g);
	if (!ret)
		ret = negotiate(d);
	if (!ret)
		ret = guest_layout(d->g, d->opts.regions ?: 4, d->opts.memory ?: 8 << 20);
	if (!ret)
		ret = guest_commit(d->g);
	for (unsigned int i = 0; !ret && i < 2; i++) {
		ret = guest_queue(d->g, i, d->opts.num, &d->q[i]);
		if (!ret)
			ret = guest_alloc(d->g, SCRATCH_SIZE, 4096, &d->scratch[i].gpa);
		if (!ret)
			d->scratch[i].p = guest_ptr(d->g, d->scratch[i].gpa, SCRATCH_SIZE);
	}
	if (!ret && !d->opts.stopped)
		ret = dut_start(d);
	if (ret)
		printf("# %s: %s\n", dut_node(kind), guest_error(d->g));
	return ret;
}

void dut_close(struct dut *d)
{
	guest_close(d->g);
	if (d->owns_backend && d->backend >= 0)
		close(d->backend);
	if (d->raw >= 0)
		close(d->raw);
	if (d->opts.macvtap || d->opts.packet)
		del_veth();
	d->g = NULL;
}

int dut_start(struct dut *d)
{
	for (unsigned int i = 0; i < 2; i++) {
		int ret = guest_queue_program(d->q[i]);

		if (ret)
			return ret;
	}
	return guest_start(d->g, d->backend);
}

/* The vhost-vDPA dialect forgets all with the stop */
static int recover(struct dut *d)
{
	int ret;

	if (d->kind != DUT_VDPA)
		return 0;
	ret = guest_own(d->g);
	if (!ret)
		ret = guest_set_features(d->g, d->g->features);
	return ret ? ret : guest_commit(d->g);
}

int dut_stop(struct dut *d)
{
	int ret = guest_stop(d->g);

	return ret ? ret : recover(d);
}

void dut_forget(struct dut *d)
{
	char frame[4096];

	if (d->kind != DUT_NET)
		return;
	/* the socket tells once of a link that was down */
	while (recv(d->raw, frame, sizeof(frame), MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == ENETDOWN)
		;
	while (read(d->backend, frame, sizeof(frame)) >= 0)
		;
}

int dut_restart(struct dut *d)
{
	int ret = dut_stop(d);
	uint64_t n;

	if (ret)
		return complain(d, ret, "stop (%s)", guest_error(d->g));
	for (unsigned int i = 0; i < 2; i++) {
		gq_reset(d->q[i]);
		if (read(d->q[i]->err_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			return -errno;
	}
	dut_forget(d);
	ret = dut_start(d);
	return ret ? complain(d, ret, "start (%s)", guest_error(d->g)) : 0;
}

void make_frame(void *frame, size_t len, uint32_t seq, bool from_guest)
{
	unsigned char *p = frame;

	memset(p, 0x02, 12);
	p[12] = (from_guest ? PROTO_FROM_GUEST : PROTO_TO_GUEST) >> 8;
	p[13] = (from_guest ? PROTO_FROM_GUEST : PROTO_TO_GUEST) & 255;
	memcpy(p + 14, &seq, sizeof(seq));
	for (size_t i = 18; i < len; i++)
		p[i] = seq * 7 + i * 13;
}

int dut_send(struct dut *d, const void *frame, size_t len)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(PROTO_TO_GUEST),
		.sll_ifindex = d->ifindex,
		.sll_halen = 6,
		.sll_addr = { 2, 2, 2, 2, 2, 2 },
	};
	int64_t end = now_ms() + 2000;

	/* a device queue that is full for a moment, e.g. with what was dropped just now */
	while (sendto(d->raw, frame, len, 0, (void *)&addr, sizeof(addr)) < 0) {
		if (errno != ENOBUFS || now_ms() > end)
			return -errno;
		sleep_ms(1);
	}
	return 0;
}

ssize_t dut_receive(struct dut *d, void *frame, size_t size, unsigned int ms)
{
	struct pollfd p = { .fd = d->raw, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return -ETIMEDOUT;
	n = recv(d->raw, frame, size, MSG_DONTWAIT | MSG_TRUNC);
	return n < 0 ? -errno : n;
}

/* Length of a frame, from short to the usual largest */
static size_t frame_len(uint32_t seq)
{
	return 60 + seq * 131 % 1455;
}

/* Wait for the one chain in flight */
static int finish(struct dut *d, unsigned int qi, uint32_t *len)
{
	struct guest_queue *q = d->q[qi];
	void *token;
	int ret;

	gq_publish(q);
	ret = gq_notify(q);
	if (!ret)
		ret = gq_wait(q, d->timeout_ms);
	return ret ? complain(d, ret, "queue %u does not answer", qi) : gq_get(q, &token, len);
}

static int unit_tx(struct dut *d)
{
	struct scratch *scratch = &d->scratch[TX];
	size_t len = frame_len(scratch->seq);
	struct guest_seg seg[] = {
		{ scratch->gpa + SCRATCH_HDR, NET_HDR }, { scratch->gpa + SCRATCH_DATA, len },
	};
	unsigned char got[2048];
	uint32_t used;
	ssize_t n;
	int ret;

	memset(scratch->p + SCRATCH_HDR, 0, NET_HDR);
	make_frame(scratch->p + SCRATCH_DATA, len, scratch->seq, true);
	ret = gq_add(d->q[TX], seg, 2, 0, scratch);
	if (!ret)
		ret = finish(d, TX, &used);
	if (ret)
		return ret;
	n = dut_receive(d, got, sizeof(got), d->timeout_ms);
	if (n < 0)
		return complain(d, n, "no frame arrives");
	if (n != len || memcmp(got, scratch->p + SCRATCH_DATA, len) || used)
		return complain(d, -EBADMSG, "frame %u of %zu bytes arrives as %u with %zd, used %u",
				scratch->seq, len, *(uint32_t *)(got + 14), n, used);
	return 0;
}

static int unit_rx(struct dut *d)
{
	struct scratch *scratch = &d->scratch[RX];
	size_t len = frame_len(scratch->seq);
	struct guest_seg seg = { scratch->gpa + SCRATCH_DATA, 2048 };
	unsigned char sent[2048];
	uint32_t used;
	int ret;

	memset(scratch->p + SCRATCH_DATA, 0xaa, 2048);
	make_frame(sent, len, scratch->seq, false);
	ret = gq_add(d->q[RX], &seg, 0, 1, scratch);
	if (ret)
		return ret;
	ret = dut_send(d, sent, len);
	if (ret)
		return complain(d, ret, "send");
	ret = finish(d, RX, &used);
	if (ret)
		return ret;
	if (used != len + NET_HDR || memcmp(scratch->p + SCRATCH_DATA + NET_HDR, sent, len))
		return complain(d, -EBADMSG, "packet %u of %zu bytes arrives with %u used",
				scratch->seq, len, used);
	return 0;
}

int blk_start_reads(struct dut *d, unsigned int n)
{
	struct virtio_blk_outhdr in = { .type = htole32(VIRTIO_BLK_T_IN) };
	struct scratch *l = &d->scratch[0];

	memcpy(l->p, &in, sizeof(in));
	for (unsigned int i = 0; i < n; i++) {
		struct guest_seg seg[] = {
			{ l->gpa, sizeof(in) }, { l->gpa + SCRATCH_FREE + i * 4096, 4096 },
			{ l->gpa + SCRATCH_STATUS + i, 1 },
		};
		int ret = gq_add(d->q[0], seg, 1, 2, d);

		if (ret)
			return ret;
		l->p[SCRATCH_STATUS + i] = 0xaa;
	}
	gq_publish(d->q[0]);
	return gq_kick(d->q[0]);
}

int blk_request(struct dut *d, unsigned int qi, uint32_t type, uint64_t sector, uint64_t data,
		uint32_t len)
{
	struct scratch *scratch = &d->scratch[qi];
	struct virtio_blk_outhdr hdr = {
		.type = htole32(type),
		.sector = htole64(sector),
	};
	uint32_t what = type & ~VIRTIO_BLK_T_BARRIER;
	bool in = what == VIRTIO_BLK_T_IN || what == VIRTIO_BLK_T_GET_ID;
	struct guest_seg seg[3] = { { scratch->gpa + SCRATCH_HDR, sizeof(hdr) } };
	unsigned int n = 1;
	uint32_t used;
	int ret;

	memcpy(scratch->p + SCRATCH_HDR, &hdr, sizeof(hdr));
	scratch->p[SCRATCH_STATUS] = 0xaa;
	if (len)
		seg[n++] = (struct guest_seg){ data, len };
	seg[n++] = (struct guest_seg){ scratch->gpa + SCRATCH_STATUS, 1 };
	ret = gq_add(d->q[qi], seg, in ? 1 : n - 1, in ? n - 1 : 1, scratch);
	if (!ret)
		ret = finish(d, qi, &used);
	if (ret)
		return ret;
	if (used != (in ? len : 0) + 1 && scratch->p[SCRATCH_STATUS] == VIRTIO_BLK_S_OK)
		return complain(d, -EBADMSG, "request type %u, %u bytes used", type, used);
	return scratch->p[SCRATCH_STATUS];
}

int blk_range(struct dut *d, unsigned int qi, uint32_t type, uint64_t sector, uint32_t sectors,
	      uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes seg = {
		.sector = htole64(sector),
		.num_sectors = htole32(sectors),
		.flags = htole32(flags),
	};

	memcpy(d->scratch[qi].p + SCRATCH_DATA, &seg, sizeof(seg));
	return blk_request(d, qi, type, 0, d->scratch[qi].gpa + SCRATCH_DATA, sizeof(seg));
}

static int unit_blk(struct dut *d, unsigned int qi)
{
	struct scratch *scratch = &d->scratch[qi];
	uint64_t sector = (qi * 100 + scratch->seq % 100) * (BLOCK / 512);
	unsigned char *out = scratch->p + SCRATCH_DATA, *in = scratch->p + SCRATCH_DATA2;
	int ret;

	for (unsigned int i = 0; i < BLOCK; i++)
		out[i] = scratch->seq * 3 + i * 5 + qi;
	memset(in, 0xaa, BLOCK);
	ret = blk_request(d, qi, VIRTIO_BLK_T_OUT, sector, scratch->gpa + SCRATCH_DATA, BLOCK);
	if (!ret)
		ret = blk_request(d, qi, VIRTIO_BLK_T_IN, sector, scratch->gpa + SCRATCH_DATA2, BLOCK);
	if (ret < 0)
		return ret;
	if (ret)
		return complain(d, -EIO, "queue %u: block %u: status %d", qi, scratch->seq, ret);
	if (memcmp(in, out, BLOCK))
		return complain(d, -EBADMSG, "queue %u: block %u is not what was written", qi,
				scratch->seq);
	return 0;
}

int dut_add(struct dut *d, unsigned int qi)
{
	struct virtio_blk_outhdr hdr = { .type = htole32(VIRTIO_BLK_T_GET_ID) };
	struct scratch *l = &d->scratch[qi];
	struct guest_seg seg[] = {
		{ l->gpa + SCRATCH_HDR, sizeof(hdr) },
		{ l->gpa + SCRATCH_FREE, VIRTIO_BLK_ID_BYTES },
		{ l->gpa + SCRATCH_STATUS, 1 },
	};

	if (d->kind != DUT_NET) {
		memcpy(l->p + SCRATCH_HDR, &hdr, sizeof(hdr));
		return gq_add(d->q[qi], seg, 1, 2, d);
	}
	seg[0] = (struct guest_seg){ l->gpa + SCRATCH_FREE, qi == RX ? 4096 : NET_HDR + 60 };
	return gq_add(d->q[qi], seg, qi == TX, qi == RX, d);
}

int dut_unit(struct dut *d, unsigned int qi)
{
	int ret;

	if (d->kind != DUT_NET)
		ret = unit_blk(d, qi);
	else
		ret = qi == TX ? unit_tx(d) : unit_rx(d);
	if (ret)
		return ret;
	d->scratch[qi].seq++;
	d->scratch[qi].done++;
	return 0;
}

int dut_units(struct dut *d, unsigned int qi, unsigned int n)
{
	int ret = 0;

	while (!ret && n--)
		ret = dut_unit(d, qi);
	return ret;
}

int dut_message(struct dut *d, uint8_t type, uint64_t iova, uint64_t size, const void *p)
{
	struct vhost_msg_v2 m = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = {
			.type = type, .iova = iova, .size = size, .uaddr = (uintptr_t)p,
			.perm = VHOST_ACCESS_RW,
		},
	};

	return write(d->g->fd, &m, sizeof(m)) == sizeof(m) ? 0 : -errno;
}

struct guest_region *dut_region(struct dut *d, const volatile void *p)
{
	for (unsigned int i = 0; i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];

		if ((unsigned char *)p >= r->hva && (unsigned char *)p < r->hva + r->size)
			return r;
	}
	return NULL;
}

int dut_poke(struct dut *d, unsigned int qi)
{
	unsigned char frame[100];

	if (d->kind == DUT_NET && qi == RX) {
		make_frame(frame, sizeof(frame), 0, false);
		if (dut_send(d, frame, sizeof(frame)))
			return -EIO;
	}
	return gq_kick(d->q[qi]);
}

void dut_fresh_kick(struct dut *d, unsigned int qi)
{
	close(d->q[qi]->kick_fd);
	d->q[qi]->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

int64_t dut_counter(struct dut *d, unsigned int qi, const char *name)
{
	struct dev_info info;
	struct queue_info *q = &info.q[qi];

	if (get_info(d->g->fd, &info) || !q->present)
		return -1;
	if (!strcmp(name, "reqs"))
		return q->reqs;
	if (!strcmp(name, "breaks"))
		return q->breaks;
	if (!strcmp(name, "wakes"))
		return q->wakes;
	if (!strcmp(name, "polls"))
		return q->polls;
	if (!strcmp(name, "errors"))
		return q->errors;
	if (!strcmp(name, "kicks"))
		return q->kicks;
	if (!strcmp(name, "calls"))
		return q->calls;
	if (!strcmp(name, "in"))
		return q->in;
	if (!strcmp(name, "out"))
		return q->out;
	return -1;
}

static void *move(void *arg)
{
	struct mover *m = arg;

	while (!atomic_load(&m->stop)) {
		m->err = dut_unit(m->d, m->qi);
		if (m->err)
			break;
		atomic_fetch_add(&m->done, 1);
	}
	return NULL;
}

int mover_start(struct mover *m, struct dut *d, unsigned int qi)
{
	memset(m, 0, sizeof(*m));
	m->d = d;
	m->qi = qi;
	return -pthread_create(&m->thread, NULL, move, m);
}

int mover_stop(struct mover *m)
{
	atomic_store(&m->stop, true);
	pthread_join(m->thread, NULL);
	return m->err;
}
