// SPDX-License-Identifier: GPL-2.0
/* The command line */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "opts.h"

#define VERSION		"0.1"

/* What a frame and a TCP segmentation frame are at least; the most that a TAP takes */
#define FRAME_MIN	14
#define GSO_MIN		64
#define FRAME_MAX	65535
/* Of a request, so that an odd framing of it still fits a chain */
#define BLOCK_MAX	(4U << 20)

static const char usage_text[] =
"usage: vhost-bench [OPTION...] CASE\n"
"\n"
"Plays the guest of a vhost or vhost-vDPA device (owns its memory and rings, no virtual\n"
"machine), moves packets or blocks through it and verifies every payload.\n"
"\n"
"cases:\n"
"  net-tx          frames from the guest to a TAP, read back from a packet socket\n"
"  net-rx          frames from a packet socket through a TAP to the guest\n"
"  net-pingpong    one frame to and fro, for latency\n"
"  blk-read        read blocks of --file\n"
"  blk-write       write blocks, read them back, look at the file as well. Destroys contents\n"
"  blk-mixed       reads, with a write here and a flush there. Destroys contents\n"
"  blk-verify      a random mix of requests in odd framings. Destroys contents\n"
"\n"
"device:\n"
"  --dev PATH           default /dev/vhost-netlite for net-*, /dev/vhost-blklite for blk-*;\n"
"                       also /dev/vdpa-blklite and the kernel's /dev/vhost-net\n"
"  --queues N           queues of a disk, queue pairs of a network device (1)\n"
"  --workers N          threads of a device, which its queues take in turns (as the device has it)\n"
"  --ring split|packed  format of the rings (split)\n"
"  --in-order on|off    VIRTIO_F_IN_ORDER (off)\n"
"  --ring-size N        descriptors of a ring (256)\n"
"  --regions N          regions of guest memory (1)\n"
"  --straddle on|off    buffers that cross the border of two of them (on)\n"
"  --memory private|shared  what guest memory is made of (private)\n"
"  --event-idx on|off   VIRTIO_F_EVENT_IDX (on)\n"
"  --indirect on|off    indirect descriptors (on)\n"
"  --irq | --poll       sleep for the device's calls (default), or poll the rings\n"
"load:\n"
"  --count N            packets or requests (10007)\n"
"  --warmup N           as many before, not measured (0)\n"
"  --rounds N           measure so often, and report each time (1)\n"
"  --step               begin a round when standard input has a line\n"
"  --size N[-M]         bytes of a frame, 14-65535 (1514, pingpong 64), or of a request (4096;\n"
"                       blk-verify: at most, 65536)\n"
"  --batch N            made available at once (net 64, blk 1)\n"
"  --segments N         pieces that a payload is cut into (1; net 0: together with the header)\n"
"  --seed N             of the payloads and of everything random (1)\n"
"network:\n"
"  --tap NAME           use or create this TAP instead of a new one\n"
"  --mergeable on|off   VIRTIO_NET_F_MRG_RXBUF (on)\n"
"  --rx-buf N           bytes of a receive buffer, with its header (mergeable 1536, else: enough)\n"
"  --window N           frames on the way, at most (256)\n"
"  --sink read|drop     net-tx: drop reads nothing back, only the TAP's counters are compared\n"
"  --gso                net-tx: TCP segmentation offload frames\n"
"  --xdp                net-rx: frames come to the TAP by XDP, without a socket\n"
"block:\n"
"  --file FILE          disk: a regular file or a block device\n"
"  --direct on|off      open it with O_DIRECT (off)\n"
"  --span BYTES         use as much from its start (all, at most 256M); K, M and G are understood\n"
"  --qd N               requests in flight per queue (32)\n"
"  --ordered on|off     take requests back in the order in which they were made (off)\n"
"  --random | --seq     order of the blocks (random)\n"
"  --fill on|off        blk-read: write a pattern to the file before. Destroys contents (off)\n"
"  --odd on|off         odd framings (on for blk-verify)\n"
"  --verify on|off      look at what was read (on)\n"
"other:\n"
"  --timeout SEC        fail after so long without progress (60)\n"
"  --json               one JSON object on standard output\n"
"  --corrupt N          damage payload N, to see the verification fail\n"
"  --help, --version\n"
"\n"
"Exit status: 0 every payload is right, 1 something is not, 2 wrong usage. See vhost-bench(1).\n";

enum {
	O_DEV = 1, O_QUEUES, O_RING, O_REGIONS, O_MEMORY, O_EVENT, O_INDIRECT, O_IRQ, O_POLL, O_COUNT,
	O_WARMUP, O_SIZE, O_BATCH, O_SEGMENTS, O_SEED, O_TAP, O_MERGEABLE, O_RXBUF, O_WINDOW,
	O_SINK, O_GSO, O_FILE, O_DIRECT_, O_SPAN, O_QD, O_RANDOM, O_SEQ, O_FILL, O_ODD, O_VERIFY,
	O_TIMEOUT, O_JSON, O_CORRUPT, O_HELP, O_VERSION, O_ROUNDS, O_STEP,
	O_STRADDLE, O_FORMAT, O_ORDER, O_XDP, O_WORKERS, O_ORDERED,
};

static const struct option options[] = {
	{ "dev", 1, NULL, O_DEV },
	{ "queues", 1, NULL, O_QUEUES },
	{ "workers", 1, NULL, O_WORKERS },
	{ "ring", 1, NULL, O_FORMAT },
	{ "in-order", 1, NULL, O_ORDER },
	{ "ring-size", 1, NULL, O_RING },
	{ "regions", 1, NULL, O_REGIONS },
	{ "memory", 1, NULL, O_MEMORY },
	{ "event-idx", 1, NULL, O_EVENT },
	{ "indirect", 1, NULL, O_INDIRECT },
	{ "irq", 0, NULL, O_IRQ },
	{ "poll", 0, NULL, O_POLL },
	{ "count", 1, NULL, O_COUNT },
	{ "warmup", 1, NULL, O_WARMUP },
	{ "straddle", 1, NULL, O_STRADDLE },
	{ "rounds", 1, NULL, O_ROUNDS },
	{ "step", 0, NULL, O_STEP },
	{ "size", 1, NULL, O_SIZE },
	{ "batch", 1, NULL, O_BATCH },
	{ "segments", 1, NULL, O_SEGMENTS },
	{ "seed", 1, NULL, O_SEED },
	{ "tap", 1, NULL, O_TAP },
	{ "mergeable", 1, NULL, O_MERGEABLE },
	{ "rx-buf", 1, NULL, O_RXBUF },
	{ "window", 1, NULL, O_WINDOW },
	{ "sink", 1, NULL, O_SINK },
	{ "gso", 0, NULL, O_GSO },
	{ "xdp", 0, NULL, O_XDP },
	{ "file", 1, NULL, O_FILE },
	{ "direct", 1, NULL, O_DIRECT_ },
	{ "span", 1, NULL, O_SPAN },
	{ "qd", 1, NULL, O_QD },
	{ "ordered", 1, NULL, O_ORDERED },
	{ "random", 0, NULL, O_RANDOM },
	{ "seq", 0, NULL, O_SEQ },
	{ "fill", 1, NULL, O_FILL },
	{ "odd", 1, NULL, O_ODD },
	{ "verify", 1, NULL, O_VERIFY },
	{ "timeout", 1, NULL, O_TIMEOUT },
	{ "json", 0, NULL, O_JSON },
	{ "corrupt", 1, NULL, O_CORRUPT },
	{ "help", 0, NULL, O_HELP },
	{ "version", 0, NULL, O_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char *const cases[] = {
	[NET_TX] = "net-tx",
	[NET_RX] = "net-rx",
	[NET_PINGPONG] = "net-pingpong",
	[BLK_READ] = "blk-read",
	[BLK_WRITE] = "blk-write",
	[BLK_MIXED] = "blk-mixed",
	[BLK_VERIFY] = "blk-verify",
};

static int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int wrong(const char *fmt, ...)
{
	va_list ap;

	fputs("vhost-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" (try --help)\n", stderr);
	return 2;
}

/* A number with an optional K, M or G, in @min..@max */
static int number(const char *opt, const char *text, uint64_t min, uint64_t max, uint64_t *v)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;

	errno = 0;
	*v = strtoull(text, &end, 0);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unit - units + 1);

		if (*v > UINT64_MAX >> shift)
			errno = ERANGE;
		*v <<= shift;
		end++;
	}
	if (errno || end == text || *end || strchr(text, '-') || *v < min || *v > max)
		return wrong("--%s %s: must be a number of %llu to %llu", opt, text,
			     (unsigned long long)min, (unsigned long long)max);
	return 0;
}

static int number32(const char *opt, const char *text, unsigned int min, unsigned int max,
		    unsigned int *v)
{
	uint64_t wide;
	int ret = number(opt, text, min, max, &wide);

	*v = wide;
	return ret;
}

static int choice(const char *opt, const char *text, const char *yes, const char *no, bool *v)
{
	if (strcmp(text, yes) && strcmp(text, no))
		return wrong("--%s %s: must be %s or %s", opt, text, yes, no);
	*v = !strcmp(text, yes);
	return 0;
}

static int sizes(struct opts *o, const char *text)
{
	const char *dash = strchr(text, '-');
	char *first;
	int ret;

	if (!dash) {
		ret = number32("size", text, 1, BLOCK_MAX, &o->size_max);
		o->size_min = o->size_max;
		return ret;
	}
	first = strndup(text, dash - text);
	if (!first)
		return wrong("out of memory");
	ret = number32("size", first, 1, BLOCK_MAX, &o->size_min);
	free(first);
	return ret ? ret : number32("size", dash + 1, o->size_min, BLOCK_MAX, &o->size_max);
}

static int one(struct opts *o, int c, const char *name, const char *arg)
{
	bool read_back = true;
	int ret;

	switch (c) {
	case O_DEV:
		o->dev = arg;
		return 0;
	case O_TAP:
		o->tap = arg;
		return 0;
	case O_FILE:
		o->file = arg;
		return 0;
	case O_QUEUES:
		return number32(name, arg, 1, GUEST_MAX_QUEUES, &o->queues);
	case O_WORKERS:
		return number32(name, arg, 1, GUEST_MAX_QUEUES, &o->workers);
	case O_RING:
		return number32(name, arg, 1, 32768, &o->ring_size);
	case O_REGIONS:
		return number32(name, arg, 1, GUEST_MAX_REGIONS, &o->regions);
	case O_BATCH:
		return number32(name, arg, 1, 32768, &o->batch);
	case O_QD:
		return number32(name, arg, 1, 32768, &o->qd);
	case O_SEGMENTS:
		return number32(name, arg, 0, GUEST_MAX_SEGS - 2, &o->segments);
	case O_RXBUF:
		return number32(name, arg, 64, 1 << 20, &o->rx_buf);
	case O_WINDOW:
		return number32(name, arg, 1, 65536, &o->window);
	case O_TIMEOUT:
		return number32(name, arg, 1, 86400, &o->timeout);
	case O_COUNT:
		return number(name, arg, 1, UINT32_MAX / 2, &o->count);
	case O_WARMUP:
		return number(name, arg, 0, UINT32_MAX / 2, &o->warmup);
	case O_ROUNDS:
		return number32(name, arg, 1, 1000000, &o->rounds);
	case O_SEED:
		return number(name, arg, 0, UINT64_MAX, &o->seed);
	case O_SPAN:
		return number(name, arg, 512, UINT64_MAX / 2, &o->span);
	case O_CORRUPT:
		return number(name, arg, 1, UINT64_MAX, &o->corrupt);
	case O_MEMORY:
		return choice(name, arg, "shared", "private", &o->shared);
	case O_STRADDLE:
		return choice(name, arg, "on", "off", &o->straddle);
	case O_FORMAT:
		return choice(name, arg, "packed", "split", &o->packed);
	case O_ORDER:
		return choice(name, arg, "on", "off", &o->in_order);
	case O_EVENT:
		return choice(name, arg, "on", "off", &o->event_idx);
	case O_INDIRECT:
		return choice(name, arg, "on", "off", &o->indirect);
	case O_MERGEABLE:
		return choice(name, arg, "on", "off", &o->mergeable);
	case O_DIRECT_:
		return choice(name, arg, "on", "off", &o->direct);
	case O_ORDERED:
		return choice(name, arg, "on", "off", &o->ordered);
	case O_FILL:
		return choice(name, arg, "on", "off", &o->fill);
	case O_ODD:
		return choice(name, arg, "on", "off", &o->odd);
	case O_VERIFY:
		return choice(name, arg, "on", "off", &o->verify);
	case O_SINK:
		ret = choice(name, arg, "read", "drop", &read_back);
		o->drop = !read_back;
		return ret;
	case O_SIZE:
		return sizes(o, arg);
	case O_IRQ:
		o->irq = true;
		return 0;
	case O_POLL:
		o->irq = false;
		return 0;
	case O_RANDOM:
		o->random = true;
		return 0;
	case O_SEQ:
		o->random = false;
		return 0;
	case O_STEP:
		o->step = true;
		return 0;
	case O_GSO:
		o->gso = true;
		return 0;
	case O_XDP:
		o->xdp = true;
		return 0;
	case O_JSON:
		o->json = true;
		return 0;
	default:
		return 2;
	}
}

static int check_net(struct opts *o)
{
	unsigned int min = o->gso ? GSO_MIN : FRAME_MIN, hdr = sizeof(struct virtio_net_hdr_v1);

	if (o->file)
		return wrong("--file is for blk-* cases");
	if ((o->gso || o->drop) && o->what != NET_TX)
		return wrong("--gso and --sink are for net-tx");
	if (o->xdp && (o->what != NET_RX || o->queues > 1))
		return wrong("--xdp is for net-rx with one queue pair");
	if (o->xdp && o->size_max > XDP_MAX)
		return wrong("--xdp: a frame has %u bytes at most", XDP_MAX);
	if (o->what == NET_PINGPONG && o->queues > 1)
		return wrong("net-pingpong uses one queue pair");
	if (!o->size_max) {
		o->size_max = o->what == NET_PINGPONG ? 64 : o->gso ? FRAME_MAX : 1514;
		o->size_min = o->size_max;
	}
	if (o->size_min < min || o->size_max > FRAME_MAX)
		return wrong("--size: a frame has %u to %u bytes", min, FRAME_MAX);
	if (!o->batch)
		o->batch = 64;
	if (!o->rx_buf)
		o->rx_buf = o->mergeable ? 1536 : hdr + o->size_max;
	if (!o->mergeable && o->rx_buf < hdr + o->size_max)
		return wrong("--rx-buf %u: a frame of %u bytes needs %u, or --mergeable on",
			     o->rx_buf, o->size_max, hdr + o->size_max);
	if (o->what != NET_TX && o->mergeable &&
	    (uint64_t)o->rx_buf * o->ring_size < hdr + o->size_max)
		return wrong("a ring of %u buffers of %u bytes has no room for a frame of %u bytes",
			     o->ring_size, o->rx_buf, o->size_max);
	if (o->segments + 1 > o->ring_size)
		return wrong("--segments %u: a ring of %u takes %u at most", o->segments,
			     o->ring_size, o->ring_size - 1);
	return 0;
}

static int check_blk(struct opts *o)
{
	if (!o->file)
		return wrong("%s needs --file FILE, a regular file or block device to use as disk",
			     o->name);
	if (o->tap || o->gso || o->drop || o->xdp)
		return wrong("--tap, --gso, --xdp and --sink are for net-* cases");
	if (o->fill && o->what != BLK_READ)
		return wrong("--fill is for blk-read");
	if (o->size_min != o->size_max)
		return wrong("--size: a range is for net-* cases");
	if (!o->size_max)
		o->size_max = o->what == BLK_VERIFY ? 65536 : 4096;
	o->size_min = o->what == BLK_VERIFY ? 512 : o->size_max;
	if (o->size_max % 512)
		return wrong("--size %u: no multiple of 512", o->size_max);
	if (!o->batch)
		o->batch = 1;
	if (!o->segments)
		o->segments = 1;
	if (o->segments + 2 > o->ring_size)
		return wrong("--segments %u: a ring of %u takes %u at most", o->segments,
			     o->ring_size, o->ring_size < 3 ? 0 : o->ring_size - 2);
	return 0;
}

int opts_parse(struct opts *o, int argc, char **argv, bool *done)
{
	int c, i, ret, odd_given = 0;

	*o = (struct opts){
		.count = 10007,
		.seed = 1,
		.qd = 32,
		.queues = 1,
		.ring_size = 256,
		.regions = 1,
		.segments = 1,
		.window = 256,
		.timeout = 60,
		.rounds = 1,
		.event_idx = true,
		.indirect = true,
		.mergeable = true,
		.irq = true,
		.random = true,
		.straddle = true,
		.verify = true,
	};
	*done = true;
	while ((c = getopt_long(argc, argv, "", options, &i)) != -1) {
		if (c == O_HELP) {
			fputs(usage_text, stdout);
			return 0;
		}
		if (c == O_VERSION) {
			puts("vhost-bench (vhost-lite) " VERSION);
			return 0;
		}
		if (c == '?')
			return 2;	/* getopt_long() has said why */
		odd_given |= c == O_ODD;
		ret = one(o, c, options[i].name, optarg);
		if (ret)
			return ret;
	}
	if (optind + 1 != argc)
		return wrong(optind == argc ? "no case given" : "one case at a time");
	for (c = 0; c <= BLK_VERIFY && strcmp(argv[optind], cases[c]); c++)
		;
	if (c > BLK_VERIFY)
		return wrong("%s: no such case", argv[optind]);
	o->what = c;
	o->name = cases[c];
	if (!o->dev)
		o->dev = opts_is_net(o) ? "/dev/vhost-netlite" : "/dev/vhost-blklite";
	if (!odd_given)
		o->odd = o->what == BLK_VERIFY;
	if (o->count * o->rounds > UINT32_MAX / 2)
		return wrong("--count %llu --rounds %u: %u are the most", (unsigned long long)o->count,
			     o->rounds, UINT32_MAX / 2);
	ret = opts_is_net(o) ? check_net(o) : check_blk(o);
	*done = ret;
	return ret;
}
