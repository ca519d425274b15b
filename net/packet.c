// SPDX-License-Identifier: GPL-2.0
/*
 * A packet socket in the place of a TAP: AF_PACKET, SOCK_RAW, bound to an interface, which then is
 * the guest's: what it receives goes to the guest, and what the guest sends it sends.
 *
 * Packets to the guest are socket buffers, as a TAP's are; they wait in the socket's queue, charged
 * to its receive buffer until they are freed. Frames from the guest the socket copies one by one,
 * charged to its send buffer.
 *
 * Whether the socket makes virtio-net headers (PACKET_VNET_HDR), and how long they are, cannot be
 * asked for in the kernel. It shows with the length of the first packet.
 */
#include <linux/err.h>
#include <linux/if_packet.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/skbuff.h>
#include <linux/socket.h>
#include <linux/spinlock.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "net.h"

/* CVE-2020-10942: of no other family, whatever its type is */
struct socket *vhl_packet_get_socket(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	if (!sock || !sock->sk || sock->sk->sk_family != AF_PACKET ||
	    sock->sk->sk_type != SOCK_RAW)
		return ERR_PTR(-ENOTSOCK);
	return sock;
}

/* To an interface that exists */
bool vhl_packet_is_bound(struct socket *sock)
{
	union {
		struct sockaddr any;
		struct sockaddr_ll ll;
		struct sockaddr_storage room;
	} addr;

	return kernel_getsockname(sock, &addr.any) >= 0 && addr.ll.sll_ifindex > 0;
}

bool vhl_packet_pending(const struct sock *sk)
{
	return !skb_queue_empty_lockless(&sk->sk_receive_queue);
}

/* What the socket has room for is limited by bytes of memory */
enum vhl_backlog vhl_packet_backlog(const struct sock *sk)
{
	unsigned int used = atomic_read(&sk->sk_rmem_alloc), room = READ_ONCE(sk->sk_rcvbuf);

	if (used >= room)
		return VHL_BACKLOG_FULL;
	return used > room / 8 ? VHL_BACKLOG_LARGE : VHL_BACKLOG_SMALL;
}

/* Length of the next packet with the header that the socket makes for it */
static int vhl_packet_peek_len(struct socket *sock)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;
	struct kvec vec = { .iov_base = &hdr, .iov_len = sizeof(hdr) };
	struct msghdr msg = { };

	/* of a link that was down: the packet is there all the same */
	sock_error(sock->sk);
	return kernel_recvmsg(sock, &msg, &vec, 1, sizeof(hdr),
			      MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
}

/* Take packets into the empty @packets. Return: how many. */
unsigned int vhl_packet_consume(struct vhl_net_vq *q)
{
	struct sk_buff_head *queue = &q->sock->sk->sk_receive_queue;
	unsigned int i, n = VHL_NET_BATCH;
	bool known = q->copies_skbs;
	struct sk_buff *skb;
	int len = 0;

	if (unlikely(!known)) {
		len = vhl_packet_peek_len(q->sock);
		n = 1;
	}
	spin_lock_irq(&queue->lock);
	for (i = 0; i < n; i++) {
		skb = __skb_dequeue(queue);
		if (!skb)
			break;
		q->packets[i] = skb;
	}
	spin_unlock_irq(&queue->lock);
	if (unlikely(!known) && i) {
		/* another one, if somebody else reads from the socket: this is wrong only once */
		skb = q->packets[0];
		q->copies_skbs = len == skb->len + (q->tap_has_no_hdr ? 0 : q->hdr_len);
	}
	return i;
}

/* Packets were freed. A poll is what tells a group of sockets (PACKET_FANOUT) that there is room. */
void vhl_packet_freed(struct vhl_net_vq *q)
{
	vfs_poll(q->tap->file, NULL);
}

/* What a turn left is first in line again for the next reader of the socket. */
void vhl_packet_unconsume(struct vhl_net_vq *q)
{
	struct sk_buff_head *queue = &q->sock->sk->sk_receive_queue;
	unsigned int i = q->packet_end;

	spin_lock_irq(&queue->lock);
	while (i > q->packet_next)
		__skb_queue_head(queue, q->packets[--i]);
	spin_unlock_irq(&queue->lock);
}
