/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost_netlite: what its files share.
 *
 *   vhost_netlite.c  the node and its operations: attach, start, stop
 *   queue.c   what both directions share: completions, faults, a line in the log
 *   tap.c     the file of a TAP
 *   packet.c  a packet socket in its place
 *   tx.c      frames from the guest to the TAP
 *   rx.c      packets from the TAP to the guest
 *   netdev.c  the network device of a TAP
 */
#ifndef VHL_NET_H
#define VHL_NET_H

#include <linux/atomic.h>
#include <linux/if.h>
#include <linux/list.h>
#include <linux/mm_types_task.h>
#include <linux/vhost_lite.h>
#include <linux/virtio_net.h>
#include <net/xdp.h>

#include "vhl.h"

#define VHL_NET_RX		0
#define VHL_NET_TX		1
#define VHL_NET_VQS		2

/* What goes to the TAP, comes from it and is shown to the driver at once */
#define VHL_NET_BATCH		64

/*
 * The budget of a turn, in chains and bytes. Some batches, so that what a turn costs is lost
 * among them; some hundred microseconds, so that clients that stop the queue hardly wait.
 */
#define VHL_NET_BUDGET_CHAINS	256
#define VHL_NET_BUDGET_BYTES	(512 * 1024)

/* No packet needs more: the largest IPv6 packet with two VLAN tags */
#define VHL_NET_FRAME_MAX	(IPV6_MAXPLEN + sizeof(struct ipv6hdr) + VLAN_ETH_HLEN + VLAN_HLEN)

/*
 * Chains that one packet may be spread over with MRG_RXBUF. With the smallest buffers that drivers
 * use, a packet of the largest size takes some fifty.
 */
#define VHL_NET_MAX_HEADS	1024

/**
 * struct vhl_net_tap - a TAP or macvtap queue, or a packet socket
 * @file: referenced; keeps @sock and @ring
 * @sock: of @file
 * @ring: packets that wait in @file; NULL for a packet socket, which has them in a queue
 * @is_tun: @file is a TAP, not a macvtap
 * @ifname: what its device was called, or empty
 * @poll: for packets (RX) or space for frames (TX), while a queue that uses it is running
 */
struct vhl_net_tap {
	struct file *file;
	struct socket *sock;
	struct ptr_ring *ring;
	bool is_tun;
	char ifname[IFNAMSIZ];
	struct vhl_poll poll;
};

/**
 * struct vhl_net_vq - a queue and its TAP
 * @vq: the core's
 * @tap: what is attached, or NULL. Changes with dev->mutex held, and vq.mutex if the queue is
 *	running
 * @sock: of @tap, at hand
 * @ring: same
 * @is_tun: same
 * @hdr_len: bytes of the virtio-net header in a chain: 10, 12 or VHL_TUN_TUNNEL_HDR_SIZE
 * @tap_has_no_hdr: it takes and gives bare frames; the header is ours
 * @mergeable: a packet may take several chains (RX)
 * @complained: the last frame or packet was refused by the TAP
 * @faults: packets or frames in a row that guest memory faulted for
 * @done: completed chains. A turn leaves none
 * @done_num: how many
 * @done_max: at most: a driver has no more out at a time than its ring holds
 * @reqs: packets since the last publication, some of which may have taken no chain
 * @bytes: of those that got through
 * @errors: those that did not
 * @iov: VHL_IOV_MAX segments, for packets that take several chains; NULL before the first one (RX)
 * @log: the same of a log; NULL before the first one that is to be logged
 * @packets: taken from @ring, skbs or marked xdp_frames, or from @sock, VHL_NET_BATCH of them (RX).
 *	What a turn leaves, the next one begins with, and a stop gives back
 * @packet_next: first one that is not delivered
 * @packet_end: behind the last one
 * @packet_kept: first one that is delivered and not freed. NULL where the TAP has freed it
 * @copies_skbs: skbs are copied to the guest here and not by the TAP, which makes headers of the
 *	size that is wanted; so does the packet socket
 * @copies_xdp: same of frames of XDP
 * @searched: the TAP's device was searched for by its name
 * @netdev: the TAP's, where its counters are kept here; while it is set the queue is one of
 *	@netdev_users (RX; netdev.c)
 * @netdev_users: of all queues
 * @counted: packets that @netdev is not told of
 * @counted_bytes: of them, as the TAP counts
 * @dropped: packets or frames that were dropped here, and no netdev is told of
 * @frames: frames for the TAP, VHL_NET_BATCH (TX). A turn leaves none
 * @frame_num: how many
 * @frame_bytes: of them, as in @bytes
 * @frag: where their memory comes from; each holds a reference to its page
 *
 * From @complained on the worker's, which holds vq.mutex. @netdev and @netdev_users change under a
 * lock of netdev.c besides, also when the device goes; @dropped may be counted by the other queue.
 */
struct vhl_net_vq {
	struct vhl_vq vq;
	struct vhl_net_tap *tap;
	struct socket *sock;
	struct ptr_ring *ring;
	bool is_tun;
	unsigned int hdr_len;
	bool tap_has_no_hdr;
	bool mergeable;

	bool complained;
	unsigned int faults;
	struct vhl_done *done;
	unsigned int done_num;
	unsigned int done_max;
	unsigned int reqs;
	unsigned int errors;
	u64 bytes;

	struct iovec *iov;
	struct vhl_log *log;
	void **packets;
	unsigned int packet_next;
	unsigned int packet_end;
	unsigned int packet_kept;
	bool copies_skbs;
	bool copies_xdp;
	bool searched;

	struct net_device __rcu *netdev;
	struct list_head netdev_users;
	unsigned int counted;
	unsigned int counted_bytes;
	atomic_t dropped;

	struct xdp_buff *frames;
	unsigned int frame_num;
	u64 frame_bytes;
	struct page_frag frag;
};

static inline struct vhl_net_vq *to_net(struct vhl_vq *vq)
{
	return container_of(vq, struct vhl_net_vq, vq);
}

/* tap.c APIs: holding dev->mutex */
void *vhl_tap_prepare(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file);
void vhl_tap_discard(void *backing);
int vhl_tap_poll(struct vhl_vq *vq, struct vhl_net_tap *tap);

/* packet.c APIs: holding dev->mutex (the first two), the worker */
struct socket *vhl_packet_get_socket(struct file *file);
bool vhl_packet_is_bound(struct socket *sock);
bool vhl_packet_pending(const struct sock *sk);
enum vhl_backlog vhl_packet_backlog(const struct sock *sk);
unsigned int vhl_packet_consume(struct vhl_net_vq *q);
void vhl_packet_freed(struct vhl_net_vq *q);
void vhl_packet_unconsume(struct vhl_net_vq *q);

/* queue.c APIs: the worker, holding vq->mutex */
void vhl_net_publish(struct vhl_net_vq *q);
void vhl_net_complain(struct vhl_net_vq *q, int err);
bool vhl_net_faulted(struct vhl_net_vq *q, u32 mark);

/* tx.c APIs: what struct vhl_ops calls run() */
enum vhl_run vhl_net_tx(struct vhl_vq *vq);

/* rx.c APIs: likewise, and what stop() does to packets that were taken from the TAP */
enum vhl_run vhl_net_rx(struct vhl_vq *vq);
bool vhl_net_rx_pending(const struct vhl_net_vq *q);
enum vhl_backlog vhl_net_rx_backlog(struct vhl_net_vq *q);
void vhl_net_rx_unconsume(struct vhl_net_vq *q);

/* netdev.c APIs: the worker, forget() and count() also the client, holding vq->mutex */
void vhl_netdev_find(struct vhl_net_vq *q, struct net_device *dev);
void vhl_netdev_find_named(struct vhl_net_vq *q);
void vhl_netdev_forget(struct vhl_net_vq *q);
void vhl_netdev_count(struct vhl_net_vq *q);
int vhl_netdev_init(void);
void vhl_netdev_exit(void);

#endif /* VHL_NET_H */
