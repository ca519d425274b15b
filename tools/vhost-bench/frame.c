// SPDX-License-Identifier: GPL-2.0
/* Frames whose every byte is known.  See frame.h */
#include <endian.h>
#include <string.h>

#include "frame.h"
#include "verify.h"

/* Not the address of the TAP: its IP stack is to ignore what comes */
static const unsigned char dst_mac[6] = { 0x02, 'v', 'h', 'l', 0, 1 };

static void put16(unsigned char *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void put32(unsigned char *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static unsigned int head_len(const struct opts *o)
{
	return o->gso ? FRAME_TCP_HEAD : FRAME_HEAD;
}

unsigned int frame_len(const struct opts *o, unsigned int queue, uint32_t seq)
{
	uint64_t state = pattern_key(o->seed, queue, seq);

	if (o->size_min == o->size_max)
		return o->size_max;
	return o->size_min + random_below(&state, o->size_max - o->size_min + 1);
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static uint32_t sum16(const unsigned char *p, unsigned int n)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < n; i += 2)
		sum += p[i] << 8 | p[i + 1];
	return sum;
}

/* IPv4 and TCP from 10.0.0.2:1024 to 10.0.0.1:1025; the TCP checksum is for the device to finish */
static void tcp_head(unsigned char *ip, uint32_t seq, unsigned int len)
{
	unsigned char *tcp = ip + 20;
	unsigned int ip_len = len - FRAME_HEAD;

	memset(ip, 0, 40);
	ip[0] = 0x45;
	put16(ip + 2, ip_len);
	put16(ip + 4, seq);
	ip[8] = 64;
	ip[9] = 6;
	put32(ip + 12, 0x0a000002);
	put32(ip + 16, 0x0a000001);
	put16(ip + 10, ~fold(sum16(ip, 20)));

	put16(tcp, 1024);
	put16(tcp + 2, 1025);
	put32(tcp + 4, seq);
	tcp[12] = 5 << 4;
	tcp[13] = 0x10;
	put16(tcp + 14, 0xffff);
	put16(tcp + 16, fold(sum16(ip + 12, 8) + 6 + ip_len - 20));
}

static void make_head(const struct opts *o, unsigned int queue, uint32_t seq, unsigned char *p)
{
	memcpy(p, dst_mac, sizeof(dst_mac));
	p[6] = 0x02;
	p[7] = queue;
	put32(p + 8, seq);
	put16(p + 12, o->gso ? 0x0800 : FRAME_PROTO);
	if (o->gso)
		tcp_head(p + FRAME_HEAD, seq, frame_len(o, queue, seq));
}

void frame_fill(const struct opts *o, unsigned int queue, uint32_t seq, unsigned int off,
		void *buf, unsigned int n)
{
	unsigned char head[FRAME_TCP_HEAD], *p = buf;
	unsigned int hlen = head_len(o);

	if (off < hlen) {
		unsigned int part = hlen - off < n ? hlen - off : n;

		make_head(o, queue, seq, head);
		memcpy(p, head + off, part);
		p += part;
		off += part;
		n -= part;
	}
	pattern_fill(pattern_key(o->seed, queue, seq), off - hlen, p, n);
}

unsigned int frame_check(const struct opts *o, unsigned int queue, uint32_t seq, unsigned int off,
			 const void *buf, unsigned int n)
{
	unsigned char head[FRAME_TCP_HEAD];
	const unsigned char *p = buf;
	unsigned int hlen = head_len(o), part = 0;

	if (off < hlen) {
		part = hlen - off < n ? hlen - off : n;
		make_head(o, queue, seq, head);
		for (unsigned int i = 0; i < part; i++)
			if (p[i] != head[off + i])
				return i;
	}
	return part + pattern_check(pattern_key(o->seed, queue, seq), off + part - hlen, p + part,
				    n - part);
}

bool frame_parse(const struct opts *o, const void *head, unsigned int *queue, uint32_t *seq)
{
	const unsigned char *p = head;
	uint16_t proto = o->gso ? 0x0800 : FRAME_PROTO;

	if (memcmp(p, dst_mac, sizeof(dst_mac)) || p[6] != 0x02 || p[12] != proto >> 8 ||
	    p[13] != (proto & 0xff))
		return false;
	*queue = p[7];
	*seq = (uint32_t)p[8] << 24 | p[9] << 16 | p[10] << 8 | p[11];
	return true;
}

void frame_vnet(const struct opts *o, unsigned int len, struct virtio_net_hdr_v1 *hdr)
{
	memset(hdr, 0, sizeof(*hdr));
	if (!o->gso)
		return;
	hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->csum_start = htole16(34);
	hdr->csum_offset = htole16(16);
	if (len > FRAME_TCP_HEAD + FRAME_GSO_SIZE) {
		hdr->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		hdr->hdr_len = htole16(FRAME_TCP_HEAD);
		hdr->gso_size = htole16(FRAME_GSO_SIZE);
	}
}
