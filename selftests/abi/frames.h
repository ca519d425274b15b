/* SPDX-License-Identifier: GPL-2.0 */
/* Packets to the guest that have headers, and buffers of any sizes for them */
#ifndef ABI_FRAMES_H
#define ABI_FRAMES_H

#include <linux/virtio_net.h>

#include "dut.h"

#define FRAME_MAX	65000

/* Of the frames of make_tcp(): where the TCP header is, and what follows it */
#define TCP_AT		34
#define TCP_PAYLOAD	54

/* Header of a packet without VERSION_1 and MRG_RXBUF */
#define OLD_HDR		10

/* run() - a shell command; its status as system() has it */
int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* no_ipv6() - no packets of the kernel's own */
void no_ipv6(const char *ifname);

/* set_hdr() - have the TAP make headers of that size.  0 or -errno */
int set_hdr(struct dut *d, int hdr);

/* tap_counter() - of an interface, e.g. "tx_packets"; -1 where there is none */
int64_t tap_counter(const char *ifname, const char *name);

/* make_tcp() - a TCP packet of @len bytes, checksums apart */
void make_tcp(unsigned char *p, size_t len, uint32_t seq);

/* send_with_hdr() - send a frame with a header of its own, as a forwarded one has.  0 or -errno */
int send_with_hdr(const char *ifname, const struct virtio_net_hdr *hdr, const void *frame,
		  size_t len);

/* Sizes of buffers, one after the other, and how many segments each has */
struct sizes {
	unsigned int n;
	unsigned int size[6];
	unsigned int segs[6];
};

/* One buffer that is large enough */
extern const struct sizes one_buffer;

/*
 * receive() - post buffers of such sizes until they hold @len bytes, wait for a packet of so many,
 * and put it together in @got.  Nothing may be written behind what the used ring says.  0 or -errno
 */
int receive(struct dut *d, const struct sizes *s, unsigned char *got, size_t len);

/*
 * plain() - send a packet with a header that says nothing, and receive it whole, with a header of
 * @hdr_len bytes.  Its length or -errno
 */
int plain(struct dut *d, const char *ifname, unsigned int hdr_len, unsigned int seq);

#endif /* ABI_FRAMES_H */
