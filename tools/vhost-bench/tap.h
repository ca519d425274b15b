/* SPDX-License-Identifier: GPL-2.0 */
/* A TAP, and the packet socket on the host's side of it */
#ifndef TAP_H
#define TAP_H

#include <net/if.h>

#include "bench.h"

/**
 * struct tap - a TAP interface
 * @name: of the interface
 * @fd: one per queue
 * @n: queues
 * @index: of the interface
 */
struct tap {
	char name[IFNAMSIZ];
	int fd[GUEST_MAX_QUEUES];
	unsigned int n;
	int index;
};

/* tap_open() - create or use a TAP that carries frames of up to @frame bytes, and bring it up */
int tap_open(struct bench *b, struct tap *t, unsigned int frame);
void tap_close(struct tap *t);

/* tap_spread() - choose the queue of a frame to the guest by byte @offset in it */
int tap_spread(struct bench *b, struct tap *t, unsigned int offset);

/* tap_packets() - packets that came out of the guest, from the counters of the interface */
int tap_packets(struct bench *b, const struct tap *t, uint64_t *n);

/**
 * tap_socket() - a packet socket on the interface, that sends and receives
 * @b: the run
 * @t: the TAP
 * @proto: ethertype to receive
 * @bytes: of frames that may wait to be read
 * @vnet: frames read have a struct virtio_net_hdr before them
 *
 * Return: the socket, or -1.
 */
int tap_socket(struct bench *b, const struct tap *t, unsigned int proto, uint64_t bytes,
	       bool vnet);

/* tap_socket_drops() - frames that the socket had no room for */
uint64_t tap_socket_drops(int sock);

#endif /* TAP_H */
