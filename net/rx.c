// SPDX-License-Identifier: GPL-2.0
/*
 * Packets to the guest. They are taken from the ring of the TAP up to 64 at a time; the TAP copies
 * each into the chains that were found for it, and frees it.
 */
#include <linux/if_tun.h>
#include <linux/net.h>
#include <linux/ptr_ring.h>
#include <linux/skb_array.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "../compat/tun.h"
#include "net.h"

static u32 vhl_net_rx_len(void *packet)
{
	if (tun_is_xdp_frame(packet))
		return tun_ptr_to_xdp(packet)->len;
	return __skb_array_len_with_tag(packet);
}

/* The next packet, which stays the next one. NULL when the TAP has none */
static void *vhl_net_rx_peek(struct vhl_net_vq *q)
{
	if (q->packet_next == q->packet_end) {
		q->packet_next = 0;
		q->packet_end = ptr_ring_consume_batched(q->ring, q->packets, VHL_NET_BATCH);
		if (!q->packet_end)
			return NULL;
	}
	return q->packets[q->packet_next];
}

/**
 * struct vhl_net_room - where a packet goes
 * @iov: segments, of vq.iov or copied to that of the struct vhl_net_vq
 * @segs: how many
 * @heads: chains, which are in done, behind those that are counted
 */
struct vhl_net_room {
	struct iovec *iov;
	unsigned int segs;
	unsigned int heads;
};

enum vhl_net_gather {
	VHL_NET_GOT,
	VHL_NET_NONE,		/* no chain at all */
	VHL_NET_SHORT,		/* too few */
	VHL_NET_TOO_BIG,	/* no chains could ever hold the packet, or no memory for it */
	VHL_NET_AGAIN,		/* not in this turn, or the queue is broken */
};

/* Take chains for a packet of @need bytes; all of them or, on failure, none. */
static enum vhl_net_gather vhl_net_rx_gather(struct vhl_net_vq *q, u32 need,
					     struct vhl_net_room *room)
{
	struct vhl_done *done = &q->done[q->done_num];
	enum vhl_net_gather result;
	struct vhl_vq *vq = &q->vq;
	struct vhl_chain chain;
	int ret;

	room->segs = 0;
	room->heads = 0;
	do {
		result = VHL_NET_TOO_BIG;
		/* the driver's whole ring is not enough: there is nothing to wait for */
		if (room->heads == vq->ring.cfg.num)
			goto unget;
		if (q->done_num + room->heads == q->done_max) {
			/* those of other packets come first */
			if (q->done_num)
				result = VHL_NET_AGAIN;
			goto unget;
		}
		ret = vhl_vq_next(vq, &chain);
		if (ret <= 0) {
			result = ret ? VHL_NET_AGAIN : room->heads ? VHL_NET_SHORT : VHL_NET_NONE;
			goto unget;
		}
		room->heads++;
		if (chain.out_num || !chain.in_num) {
			vhl_vq_break(vq, VHL_FAULT_REQUEST);
			result = VHL_NET_AGAIN;
			goto unget;
		}
		if (room->heads == 1 && chain.in_len >= need) {
			/* as a rule */
			room->iov = chain.iov;
		} else {
			if (!q->mergeable || chain.in_num > VHL_IOV_MAX - room->segs)
				goto unget;
			if (!q->iov)
				q->iov = kvmalloc_array(VHL_IOV_MAX, sizeof(*q->iov),
							GFP_KERNEL | __GFP_NOWARN);
			if (!q->iov)
				goto unget;
			room->iov = q->iov;
			memcpy(&q->iov[room->segs], chain.iov, chain.in_num * sizeof(*q->iov));
		}
		room->segs += chain.in_num;
		done->head = chain.head;
		done->len = min(chain.in_len, need);
		need -= done->len;
		done++;
	} while (need);
	return VHL_NET_GOT;

unget:
	vhl_vq_unget(vq, room->heads);
	return result;
}

/*
 * Copy a packet to the guest. The TAP frees it in any case.
 *
 * Return: 0, -EFAULT where guest memory faults, or what is wrong with the TAP.
 */
static int vhl_net_rx_copy(struct vhl_net_vq *q, void *packet, u32 need,
			   const struct vhl_net_room *room)
{
	union {
		struct virtio_net_hdr_mrg_rxbuf base;
		u8 bytes[VHL_TUN_TUNNEL_HDR_SIZE];
	} hdr = { .bytes = { } };
	struct msghdr msg = { .msg_control = packet };
	struct iov_iter iter;
	int want, len;

	hdr.base.num_buffers = cpu_to_vhl16(room->heads);
	/* that much and no more, whatever turns out to be in the packet */
	iov_iter_init(&msg.msg_iter, ITER_DEST, room->iov, room->segs, need);
	iter = msg.msg_iter;
	if (q->own_hdr && copy_to_iter(&hdr, q->hdr_len, &msg.msg_iter) != q->hdr_len) {
		tun_ptr_free(packet);
		return -EFAULT;
	}

	want = iov_iter_count(&msg.msg_iter);
	len = q->sock->ops->recvmsg(q->sock, &msg, want, MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0)
		return len;
	/* its headers are of another size, say */
	if (len != want)
		return -EMSGSIZE;
	/* tun does not tell of a fault half-way, but the iterator does */
	if (iov_iter_count(&msg.msg_iter))
		return -EFAULT;

	/* the TAP skips this part of the header, or clears it */
	if (!q->own_hdr && q->hdr_len >= sizeof(hdr.base)) {
		iov_iter_advance(&iter, offsetof(typeof(hdr.base), num_buffers));
		if (copy_to_iter(&hdr.base.num_buffers, sizeof(hdr.base.num_buffers), &iter) !=
		    sizeof(hdr.base.num_buffers))
			return -EFAULT;
	}
	return 0;
}

enum vhl_run vhl_net_rx(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	enum vhl_run run = VHL_RUN_MORE;
	struct vhl_net_room room;
	unsigned int chains = 0;
	u64 bytes = 0;
	void *packet;
	u32 need;
	int ret;

	/* dropped packets count as well, so they cannot keep the worker */
	while (chains < VHL_NET_TURN_CHAINS && bytes < VHL_NET_TURN_BYTES) {
		packet = vhl_net_rx_peek(q);
		if (!packet) {
			run = VHL_RUN_BACKEND;
			break;
		}
		need = q->hdr_len + vhl_net_rx_len(packet);

		switch (vhl_net_rx_gather(q, need, &room)) {
		case VHL_NET_GOT:
			ret = vhl_net_rx_copy(q, packet, need, &room);
			if (ret)
				vhl_vq_unget(vq, room.heads);
			break;
		case VHL_NET_TOO_BIG:
			/* the driver's doing, nothing to complain of */
			tun_ptr_free(packet);
			ret = -EINVAL;
			break;
		case VHL_NET_NONE:
			run = VHL_RUN_RING;
			goto publish;
		case VHL_NET_SHORT:
			run = VHL_RUN_SHORT;
			goto publish;
		case VHL_NET_AGAIN:
			goto publish;
		}
		q->packet_next++;
		q->reqs++;
		/* not packets: one may take a thousand chains of a few bytes */
		chains += room.heads;
		bytes += need;

		if (ret) {
			q->errors++;
			if (ret == -EFAULT) {
				vhl_vq_break(vq, VHL_FAULT_ACCESS);
				break;
			}
			vhl_net_complain(q, ret);
			continue;
		}
		q->complained = false;
		q->bytes += need;
		q->done_num += room.heads;
		/* between two packets: the buffers of one have to appear together */
		if (q->done_num >= VHL_NET_BATCH)
			vhl_net_publish(q);
	}
publish:
	vhl_net_publish(q);
	return run;
}

/* First in line again for whoever reads from the TAP next */
void vhl_net_rx_unconsume(struct vhl_net_vq *q)
{
	if (q->packet_next != q->packet_end)
		ptr_ring_unconsume(q->ring, &q->packets[q->packet_next],
				   q->packet_end - q->packet_next, tun_ptr_free);
	q->packet_next = 0;
	q->packet_end = 0;
}
