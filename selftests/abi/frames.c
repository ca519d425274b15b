// SPDX-License-Identifier: GPL-2.0
/* Packets to the guest.  See frames.h */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"

/* Between two buffers */
#define GAP	64

const struct sizes one_buffer = { 1, { 70000 }, { 1 } };

int run(const char *fmt, ...)
{
	char cmd[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

void no_ipv6(const char *ifname)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	put_file(path, "1");
}

int set_hdr(struct dut *d, int hdr)
{
	return ioctl(d->backend, TUNSETVNETHDRSZ, &hdr) ? -errno : 0;
}

int64_t tap_counter(const char *ifname, const char *name)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", ifname, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atoll(text);
}

void make_tcp(unsigned char *p, size_t len, uint32_t seq)
{
	make_frame(p, len, seq, false);
	memset(p + 12, 0, TCP_PAYLOAD - 12);
	p[12] = 0x08;
	p[14] = 0x45;
	p[16] = (len - 14) >> 8;
	p[17] = len - 14;
	p[22] = 64;
	p[23] = IPPROTO_TCP;
	memset(p + 26, 10, 8);
	p[TCP_AT + 12] = 5 << 4;
}

int send_with_hdr(const char *ifname, const struct virtio_net_hdr *hdr, const void *frame,
		  size_t len)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = if_nametoindex(ifname),
		.sll_protocol = htons(0x0800),
		.sll_halen = 6,
	};
	struct iovec iov[] = { { (void *)hdr, sizeof(*hdr) }, { (void *)frame, len } };
	struct msghdr msg = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = iov, .msg_iovlen = 2,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1, ret = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    sendmsg(fd, &msg, 0) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int receive(struct dut *d, const struct sizes *s, unsigned char *got, size_t len)
{
	struct guest_queue *q = d->q[RX];
	uint64_t gpa = d->scratch[RX].gpa;
	unsigned char *p = d->scratch[RX].p;
	unsigned int n, k, at = 0, have = 0;
	struct {
		unsigned int at, size;
	} buf[128];

	memset(p, 0xaa, SCRATCH_SIZE);
	for (n = 0; have < len && n < 128; n++) {
		unsigned int size = s->size[n % s->n], segs = s->segs[n % s->n], part = 0;
		struct guest_seg seg[4];
		int ret;

		if (at + size + GAP > SCRATCH_SIZE)
			return -ENOSPC;
		for (k = 0; k < segs; k++) {
			seg[k].gpa = gpa + at + part;
			seg[k].len = k + 1 < segs ? size / segs : size - part;
			part += seg[k].len;
		}
		ret = gq_add(q, seg, 0, segs, (void *)(uintptr_t)(n + 1));
		if (ret)
			return ret;
		buf[n].at = at;
		buf[n].size = size;
		have += size;
		at += size + GAP;
	}
	gq_publish(q);
	if (gq_notify(q))
		return -EIO;
	for (k = 0, have = 0; k < n; k++) {
		uint32_t used = 0, want = len - have < buf[k].size ? len - have : buf[k].size;
		void *token;
		int ret = gq_wait(q, 5000);

		if (!ret)
			ret = gq_get(q, &token, &used);
		if (ret)
			return ret;
		if ((uintptr_t)token != k + 1 || used != want) {
			printf("# buffer %u of %u: %lu with %u bytes used, not %u\n", k, n,
			       (unsigned long)(uintptr_t)token, used, want);
			return -EBADMSG;
		}
		memcpy(got + have, p + buf[k].at, used);
		memset(p + buf[k].at, 0xaa, used);
		have += used;
	}
	for (unsigned int i = 0; i < SCRATCH_SIZE; i++) {
		if (p[i] != 0xaa) {
			printf("# byte %u, outside of what was used, is %02x\n", i, p[i]);
			return -EBADMSG;
		}
	}
	return 0;
}

int plain(struct dut *d, const char *ifname, unsigned int hdr_len, unsigned int seq)
{
	static unsigned char frame[2048], got[2048 + NET_HDR];
	struct virtio_net_hdr hdr = { 0 };
	unsigned int len = 60 + seq * 131 % 1455;
	int ret;

	make_tcp(frame, len, seq);
	ret = send_with_hdr(ifname, &hdr, frame, len);
	if (!ret)
		ret = receive(d, &one_buffer, got, hdr_len + len);
	if (!ret && (memcmp(frame, got + hdr_len, len) || memcmp(&hdr, got, sizeof(hdr))))
		ret = -EBADMSG;
	return ret ? ret : (int)len;
}
