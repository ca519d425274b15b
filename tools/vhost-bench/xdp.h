/* SPDX-License-Identifier: GPL-2.0 */
/* Frames that a program of XDP sends to an interface */
#ifndef XDP_H
#define XDP_H

#include "bench.h"

/**
 * struct xdp - the program, and where it has the number of the next frame
 * @prog: 0 without one
 * @map: of one number
 * @link: of the program to the interface
 */
struct xdp {
	int prog, map, link;
};

/* xdp_open() - a program that sends to interface @index; xdp_close() - also without one */
int xdp_open(struct bench *b, struct xdp *x, int index);
void xdp_close(struct xdp *x);

/* xdp_send() - a frame @n times, whose source addresses say @seq and the numbers that follow */
int xdp_send(struct bench *b, struct xdp *x, const void *frame, unsigned int len, uint32_t seq,
	     unsigned int n);

#endif /* XDP_H */
