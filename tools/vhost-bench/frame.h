/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Frames whose every byte is known from queue and number.
 *
 * Queue and number stand in the source address, 02:QQ:NN:NN:NN:NN, so that a frame that is all
 * header has them too; the rest is the pattern of verify.h.  Segmentation offload frames are TCP
 * over IPv4, because that is what the kernel segments.
 */
#ifndef FRAME_H
#define FRAME_H

#include "bench.h"

/* "IEEE Std 802 - Local Experimental Ethertype 1" */
#define FRAME_PROTO	0x88b5

/* Where the lowest byte of the number is */
#define FRAME_LOW_BYTE	11

/* Enough of a frame for frame_parse() */
#define FRAME_HEAD	14

/* Ethernet, IPv4 and TCP */
#define FRAME_TCP_HEAD	54

/* Payload of a segment, when the kernel makes segments */
#define FRAME_GSO_SIZE	1448

/* frame_len() - how long frame @seq of @queue is */
unsigned int frame_len(const struct opts *o, unsigned int queue, uint32_t seq);

/* frame_fill() - make bytes @off to @off + @n of a frame */
void frame_fill(const struct opts *o, unsigned int queue, uint32_t seq, unsigned int off,
		void *buf, unsigned int n);

/* frame_check() - index of the first wrong byte of these, @n when there is none */
unsigned int frame_check(const struct opts *o, unsigned int queue, uint32_t seq, unsigned int off,
			 const void *buf, unsigned int n);

/* frame_parse() - which frame that is; false when it is none of ours */
bool frame_parse(const struct opts *o, const void *head, unsigned int *queue, uint32_t *seq);

/* frame_vnet() - the header that the guest puts before it */
void frame_vnet(const struct opts *o, unsigned int len, struct virtio_net_hdr_v1 *hdr);

#endif /* FRAME_H */
