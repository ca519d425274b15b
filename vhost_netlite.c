// SPDX-License-Identifier: GPL-2.0
/*
 * vhost_netlite: the host side of virtio-net over a TAP or macvtap queue.
 *
 * Queue 0 (RX) carries packets to the guest, queue 1 (TX) frames from it. Each has a file of its
 * own (the same TAP queue as a rule) and a worker of its own; they share nothing that changes.
 *
 * The virtio-net header is between the driver and the TAP, which is told of the offloads by the
 * VMM: it passes through, but for the number of buffers of a packet, and but for clients that have
 * a TAP without headers and say so with VHOST_NET_F_VIRTIO_NET_HDR. Then it is made up here.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/if_ether.h>
#include <linux/if_tap.h>
#include <linux/if_vlan.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/ptr_ring.h>
#include <linux/skb_array.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <net/sock.h>
#include <net/xdp.h>

#include "compat/tun.h"
#include "vhl.h"

#define VHL_NET_RX		0
#define VHL_NET_TX		1
#define VHL_NET_VQS		2

/* What goes to the TAP, comes from it and is shown to the driver at once */
#define VHL_NET_BATCH		64

/*
 * A turn ends after so many packets or bytes. Some batches, so that what a turn costs is lost
 * among them; some hundred microseconds, so that clients that stop the queue hardly wait.
 */
#define VHL_NET_TURN_PACKETS	256
#define VHL_NET_TURN_BYTES	(512 * 1024)

/* No packet needs more: the largest IPv6 packet with two VLAN tags */
#define VHL_NET_FRAME_MAX	(IPV6_MAXPLEN + sizeof(struct ipv6hdr) + VLAN_ETH_HLEN + VLAN_HLEN)

/*
 * Chains that one packet may be spread over with MRG_RXBUF. With the smallest buffers that drivers
 * use, a packet of the largest size takes some fifty.
 */
#define VHL_NET_MAX_HEADS	1024
#define VHL_NET_MAX_DONE	(VHL_NET_BATCH + VHL_NET_MAX_HEADS)

/**
 * struct vhl_net_vq - a queue and its TAP
 * @vq: the core's
 * @file: referenced; keeps @sock and @ring. All three change only while the queue is stopped
 * @sock: of @file
 * @ring: packets that wait in @file
 * @poll: for packets (RX) or room for frames (TX)
 * @hdr_len: bytes of the virtio-net header in a chain
 * @own_hdr: the TAP knows no header
 * @mergeable: a packet may take several chains (RX)
 * @complained: the last frame or packet was refused by the TAP
 * @done: completed chains, VHL_NET_MAX_DONE. A turn leaves none
 * @done_num: how many
 * @reqs: packets since the last publication, some of which may have taken no chain
 * @bytes: of those that got through
 * @errors: those that did not
 * @iov: VHL_IOV_MAX segments, for packets that take several chains (RX)
 * @packets: taken from @ring, skbs or marked xdp_frames, VHL_NET_BATCH of them (RX). What a turn
 *	leaves, the next one begins with, and a stop gives back to @ring
 * @packet_next: first one that is not delivered
 * @packet_end: behind the last one
 * @frames: frames for the TAP, VHL_NET_BATCH (TX). A turn leaves none
 * @frame_num: how many
 * @frame_bytes: of them, as in @bytes
 * @frag: where their memory comes from; each holds a reference to its page
 *
 * From @complained on the worker's, which holds vq.mutex.
 */
struct vhl_net_vq {
	struct vhl_vq vq;
	struct file *file;
	struct socket *sock;
	struct ptr_ring *ring;
	struct vhl_poll poll;
	unsigned int hdr_len;
	bool own_hdr;
	bool mergeable;

	bool complained;
	struct vhl_done *done;
	unsigned int done_num;
	unsigned int reqs;
	unsigned int errors;
	u64 bytes;

	struct iovec *iov;
	void **packets;
	unsigned int packet_next;
	unsigned int packet_end;

	struct xdp_buff *frames;
	unsigned int frame_num;
	u64 frame_bytes;
	struct page_frag frag;
};

static struct vhl_net_vq *to_net(struct vhl_vq *vq)
{
	return container_of(vq, struct vhl_net_vq, vq);
}

/* Both directions */

static void vhl_net_publish(struct vhl_net_vq *q)
{
	bool rx = q->vq.index == VHL_NET_RX;

	if (!q->reqs)
		return;
	vhl_vq_complete(&q->vq, q->done, q->done_num, q->reqs, rx ? q->bytes : 0,
			rx ? 0 : q->bytes, q->errors);
	q->done_num = 0;
	q->reqs = 0;
	q->bytes = 0;
	q->errors = 0;
}

/*
 * Once until it goes well again; that a batch was taken says nothing, a TAP that is down takes
 * it, too. Not for what the guest alone gets wrong: it could flood the log.
 */
static void vhl_net_complain(struct vhl_net_vq *q, int err)
{
	if (q->complained || err == -EINVAL)
		return;
	q->complained = true;
	pr_warn_ratelimited("device %llu: queue %u: the TAP refuses packets, which are dropped: error %d\n",
			    q->vq.dev->id, q->vq.index, err);
}

/* From the guest */

/*
 * Hand the collected frames to the TAP, which takes over the references to their pages, also of
 * those that it then drops; only a TAP that is gone takes none.
 */
static void vhl_net_tx_submit(struct vhl_net_vq *q)
{
	struct tun_msg_ctl ctl = {
		.type	= TUN_MSG_PTR,
		.num	= q->frame_num,
		.ptr	= q->frames,
	};
	struct msghdr msg = {
		.msg_control	= &ctl,
		.msg_controllen	= sizeof(ctl),
		.msg_flags	= MSG_DONTWAIT,
	};
	unsigned int i;
	int err;

	if (!q->frame_num)
		return;
	err = q->sock->ops->sendmsg(q->sock, &msg, 0);
	if (likely(err >= 0)) {
		q->bytes += q->frame_bytes;
	} else {
		for (i = 0; i < q->frame_num; i++)
			put_page(virt_to_head_page(q->frames[i].data_hard_start));
		q->errors += q->frame_num;
		vhl_net_complain(q, err);
	}
	q->frame_num = 0;
	q->frame_bytes = 0;
}

/*
 * The rules that the TAP has for headers of frames that it copies itself; those in a batch it
 * takes as they are.
 */
static bool vhl_net_tx_hdr_ok(struct virtio_net_hdr *hdr, u32 len)
{
	u32 hdr_len = vhl16_to_cpu(hdr->hdr_len);

	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		hdr_len = max_t(u32, hdr_len, vhl16_to_cpu(hdr->csum_start) +
					      vhl16_to_cpu(hdr->csum_offset) + sizeof(__sum16));
		if (hdr_len > len)
			return false;
		hdr->hdr_len = cpu_to_vhl16(hdr_len);
	}
	return hdr_len <= len && (!hdr_len || hdr_len >= ETH_HLEN);
}

/*
 * Copy a frame into the batch. The only time that it is read: what is checked here is what the
 * TAP gets, whatever the guest does to it meanwhile.
 *
 * Return: 0, -E2BIG when it has to go alone, -EINVAL when its header makes no sense, -EFAULT.
 */
static int vhl_net_tx_copy(struct vhl_net_vq *q, const struct vhl_chain *chain)
{
	u32 len = chain->out_len - q->hdr_len;
	unsigned int headroom = NET_SKB_PAD;
	struct page_frag *frag = &q->frag;
	struct virtio_net_hdr *hdr;
	struct iov_iter iter;
	unsigned int size;
	void *buf, *data;

	/* the header is first copied next to the frame, then to where the TAP looks for it */
	BUILD_BUG_ON(VHL_TUN_HDR_SIZE + sizeof(struct virtio_net_hdr_mrg_rxbuf) > NET_SKB_PAD);

	if (sock_flag(q->sock->sk, SOCK_XDP))
		headroom = XDP_PACKET_HEADROOM;
	headroom += NET_IP_ALIGN;
	if (len > PAGE_SIZE)
		return -E2BIG;
	size = SKB_DATA_ALIGN(headroom + len) + SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
	if (size > PAGE_SIZE || !skb_page_frag_refill(size, frag, GFP_KERNEL))
		return -E2BIG;

	/* stays aligned, for all sizes are */
	buf = page_address(frag->page) + frag->offset;
	data = buf + headroom;
	iov_iter_init(&iter, ITER_SOURCE, chain->iov, chain->out_num, chain->out_len);
	if (copy_from_iter(data - q->hdr_len, chain->out_len, &iter) != chain->out_len)
		return -EFAULT;

	hdr = vhl_tun_frame(&q->frames[q->frame_num], buf, headroom, len, size);
	if (!q->own_hdr) {
		memcpy(hdr, data - q->hdr_len, sizeof(*hdr));
		if (!vhl_net_tx_hdr_ok(hdr, len))
			return -EINVAL;
	}

	get_page(frag->page);
	frag->offset += size;
	q->frame_num++;
	q->frame_bytes += chain->out_len;
	return 0;
}

/* Have the TAP copy a frame from the guest. It reads the header once. */
static int vhl_net_tx_send(struct vhl_net_vq *q, const struct vhl_chain *chain)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT };
	int err;

	iov_iter_init(&msg.msg_iter, ITER_SOURCE, chain->iov, chain->out_num, chain->out_len);
	if (q->own_hdr)
		iov_iter_advance(&msg.msg_iter, q->hdr_len);
	err = q->sock->ops->sendmsg(q->sock, &msg, iov_iter_count(&msg.msg_iter));
	if (err < 0)
		return err;
	q->bytes += chain->out_len;
	q->complained = false;
	return 0;
}

/*
 * The TAP had no room for a frame, or there was no memory. Asking for room makes it promise a
 * wake-up.
 *
 * Return: VHL_RUN_BACKEND to wait for that, VHL_RUN_MORE when there is room already, negative
 * when waiting is no use and the frame is lost.
 */
static int vhl_net_tx_full(struct vhl_net_vq *q, int err)
{
	__poll_t ready = vfs_poll(q->file, NULL);

	if (ready & EPOLLERR)
		return err;
	if (!(ready & EPOLLOUT))
		return VHL_RUN_BACKEND;
	/* it was not the socket buffer: nobody tells when there is memory */
	return err == -EAGAIN ? VHL_RUN_MORE : err;
}

/* Return: 0 when the frame is in the batch or with the TAP, negative otherwise. */
static int vhl_net_tx_one(struct vhl_net_vq *q, const struct vhl_chain *chain, bool batch)
{
	u32 len = chain->out_len - q->hdr_len;
	int ret = -E2BIG;

	/* never to the TAP: kernels differ in whether it survives such frames */
	if (len < ETH_HLEN || len > VHL_NET_FRAME_MAX)
		return -EINVAL;
	if (batch)
		ret = vhl_net_tx_copy(q, chain);
	if (ret == -E2BIG) {
		/* not before those that came first */
		vhl_net_tx_submit(q);
		ret = vhl_net_tx_send(q, chain);
	}
	return ret;
}

static enum vhl_run vhl_net_tx(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	/* batches are not charged to the socket buffer: who limited it wants frames to wait */
	bool batch = READ_ONCE(q->sock->sk->sk_sndbuf) == INT_MAX;
	enum vhl_run run = VHL_RUN_MORE;
	unsigned int packets = 0;
	struct vhl_chain chain;
	u64 bytes = 0;
	int ret;

	while (packets < VHL_NET_TURN_PACKETS && bytes < VHL_NET_TURN_BYTES) {
		if (vhl_vq_next(vq, &chain) <= 0) {
			run = VHL_RUN_RING;
			break;
		}
		if (chain.in_num || chain.out_len < q->hdr_len) {
			vhl_vq_unget(vq, 1);
			vhl_vq_break(vq, VHL_FAULT_REQUEST);
			break;
		}

		ret = vhl_net_tx_one(q, &chain, batch);
		if (ret == -EAGAIN || ret == -ENOBUFS || ret == -ENOMEM) {
			ret = vhl_net_tx_full(q, ret);
			if (ret >= 0) {
				vhl_vq_unget(vq, 1);
				run = ret;
				break;
			}
		}
		if (ret == -EFAULT) {
			vhl_vq_unget(vq, 1);
			vhl_vq_break(vq, VHL_FAULT_ACCESS);
			break;
		}
		if (ret) {
			q->errors++;
			vhl_net_complain(q, ret);
		}

		q->done[q->done_num++] = (struct vhl_done) { .head = chain.head };
		q->reqs++;
		packets++;
		bytes += chain.out_len;
		if (q->done_num == VHL_NET_BATCH) {
			vhl_net_tx_submit(q);
			vhl_net_publish(q);
		}
	}
	/* also of a queue that broke: its frames were taken before */
	vhl_net_tx_submit(q);
	vhl_net_publish(q);
	return run;
}

/* To the guest */

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
	VHL_NET_TOO_BIG,	/* no chains could ever hold the packet */
	VHL_NET_BROKEN,		/* the queue is broken */
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
		if (room->heads == VHL_NET_MAX_HEADS || room->heads == vq->ring.cfg.num)
			goto unget;
		ret = vhl_vq_next(vq, &chain);
		if (ret <= 0) {
			result = ret ? VHL_NET_BROKEN : room->heads ? VHL_NET_SHORT : VHL_NET_NONE;
			goto unget;
		}
		room->heads++;
		if (chain.out_num || !chain.in_num) {
			vhl_vq_break(vq, VHL_FAULT_REQUEST);
			result = VHL_NET_BROKEN;
			goto unget;
		}
		if (room->heads == 1 && chain.in_len >= need) {
			/* as a rule */
			room->iov = chain.iov;
		} else {
			if (!q->mergeable || chain.in_num > VHL_IOV_MAX - room->segs)
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
	struct virtio_net_hdr_mrg_rxbuf hdr = { .num_buffers = cpu_to_vhl16(room->heads) };
	struct msghdr msg = { .msg_control = packet };
	struct iov_iter iter;
	int want, len;

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

	/* the TAP skips this part of the header */
	if (!q->own_hdr && q->hdr_len == sizeof(hdr)) {
		iov_iter_advance(&iter, offsetof(typeof(hdr), num_buffers));
		if (copy_to_iter(&hdr.num_buffers, sizeof(hdr.num_buffers), &iter) !=
		    sizeof(hdr.num_buffers))
			return -EFAULT;
	}
	return 0;
}

static enum vhl_run vhl_net_rx(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	enum vhl_run run = VHL_RUN_MORE;
	struct vhl_net_room room;
	unsigned int packets = 0;
	u64 bytes = 0;
	void *packet;
	u32 need;
	int ret;

	/* dropped packets count as well, so they cannot keep the worker */
	while (packets < VHL_NET_TURN_PACKETS && bytes < VHL_NET_TURN_BYTES) {
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
		case VHL_NET_BROKEN:
			goto publish;
		}
		q->packet_next++;
		q->reqs++;
		packets++;
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

/* What the core calls */

static enum vhl_run vhl_net_run(struct vhl_vq *vq)
{
	return vq->index == VHL_NET_RX ? vhl_net_rx(vq) : vhl_net_tx(vq);
}

static bool vhl_net_pending(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);

	if (vq->index == VHL_NET_TX)
		return sock_writeable(q->sock->sk);
	return q->packet_next != q->packet_end || !ptr_ring_empty(q->ring);
}

static int vhl_net_features(struct vhl_dev *dev, u64 *features)
{
	*features = BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) |
		    BIT_ULL(VHOST_NET_F_VIRTIO_NET_HDR) |
		    BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
		    BIT_ULL(VIRTIO_RING_F_EVENT_IDX) |
		    BIT_ULL(VIRTIO_F_VERSION_1) |
		    BIT_ULL(VIRTIO_F_RING_RESET);
	return 0;
}

/* A TAP that goes away under its file stays safe to use: its socket and ring are the file's. */
static int vhl_net_attach(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file)
{
	struct ptr_ring *ring = NULL;
	struct socket *sock = NULL;
	struct vhl_net_vq *q;

	/* the device as a whole has no file */
	if (!vq)
		return file ? -EINVAL : 0;

	if (file) {
		sock = tun_get_socket(file);
		ring = tun_get_tx_ring(file);
		if (IS_ERR(sock)) {
			sock = tap_get_socket(file);
			ring = tap_get_ptr_ring(file);
		}
		if (IS_ERR(sock) || IS_ERR(ring))
			return -ENOTSOCK;
		get_file(file);
	}
	q = to_net(vq);
	if (q->file)
		fput(q->file);
	q->file = file;
	q->sock = sock;
	q->ring = ring;
	return 0;
}

static void vhl_net_release(struct vhl_dev *dev)
{
	unsigned int i;

	/* letting go cannot fail */
	for (i = 0; i < VHL_NET_VQS; i++)
		(void)vhl_net_attach(dev, dev->vqs[i], NULL);
}

static void vhl_net_free(struct vhl_net_vq *q)
{
	kvfree(q->done);
	kvfree(q->iov);
	kvfree(q->packets);
	kvfree(q->frames);
	q->done = NULL;
	q->iov = NULL;
	q->packets = NULL;
	q->frames = NULL;
}

static int vhl_net_start(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	bool rx = vq->index == VHL_NET_RX;
	int ret = -ENOMEM;

	if (!q->file)
		return -ENOTSOCK;

	q->mergeable = vhl_has_feature(vq->dev, VIRTIO_NET_F_MRG_RXBUF);
	q->own_hdr = vhl_has_feature(vq->dev, VHOST_NET_F_VIRTIO_NET_HDR);
	q->hdr_len = sizeof(struct virtio_net_hdr);
	if (q->mergeable || vhl_has_feature(vq->dev, VIRTIO_F_VERSION_1))
		q->hdr_len = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	q->complained = false;

	if (rx) {
		q->done = kvmalloc_array(VHL_NET_MAX_DONE, sizeof(*q->done), GFP_KERNEL);
		q->iov = kvmalloc_array(VHL_IOV_MAX, sizeof(*q->iov), GFP_KERNEL);
		q->packets = kvmalloc_array(VHL_NET_BATCH, sizeof(*q->packets), GFP_KERNEL);
		if (!q->done || !q->iov || !q->packets)
			goto free;
	} else {
		q->done = kvmalloc_array(VHL_NET_BATCH, sizeof(*q->done), GFP_KERNEL);
		q->frames = kvmalloc_array(VHL_NET_BATCH, sizeof(*q->frames), GFP_KERNEL);
		if (!q->done || !q->frames)
			goto free;
	}
	ret = vhl_poll_start(&q->poll, vq, q->file, rx ? EPOLLIN : EPOLLOUT);
	if (ret)
		goto free;
	return 0;

free:
	vhl_net_free(q);
	return ret;
}

static void vhl_net_stop(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);

	vhl_poll_stop(&q->poll);
	/* first in line again for whoever reads from the TAP next */
	if (q->packet_next != q->packet_end)
		ptr_ring_unconsume(q->ring, &q->packets[q->packet_next],
				   q->packet_end - q->packet_next, tun_ptr_free);
	q->packet_next = 0;
	q->packet_end = 0;
	if (q->frag.page)
		put_page(q->frag.page);
	q->frag.page = NULL;
	vhl_net_free(q);
}

static void vhl_net_show(struct vhl_dev *dev, struct seq_file *m)
{
	const char *what = "-";
	unsigned int i;

	for (i = 0; i < VHL_NET_VQS; i++) {
		struct file *file = to_net(dev->vqs[i])->file;

		if (file)
			what = IS_ERR(tun_get_socket(file)) ? "macvtap" : "tap";
	}
	seq_puts(m, what);
}

static const struct vhl_ops vhl_net_ops = {
	.release	= vhl_net_release,
	.features	= vhl_net_features,
	.attach		= vhl_net_attach,
	.start		= vhl_net_start,
	.stop		= vhl_net_stop,
	.run		= vhl_net_run,
	.pending	= vhl_net_pending,
	.show		= vhl_net_show,
};

static struct vhl_node vhl_net_node = {
	.name		= "vhost-netlite",
	.owner		= THIS_MODULE,
	.ops		= &vhl_net_ops,
	.dialect	= VHL_DIALECT_VHOST,
	.backend_cmd	= VHOST_NET_SET_BACKEND,
	.device_id	= VIRTIO_ID_NET,
	.num_vqs	= VHL_NET_VQS,
	.dev_size	= sizeof(struct vhl_dev),
	.vq_size	= sizeof(struct vhl_net_vq),
};

static int __init vhl_net_init(void)
{
	return vhl_node_register(&vhl_net_node);
}
module_init(vhl_net_init);

static void __exit vhl_net_exit(void)
{
	vhl_node_unregister(&vhl_net_node);
}
module_exit(vhl_net_exit);

MODULE_DESCRIPTION("vhost-lite: virtio-net over TAP and macvtap");
MODULE_LICENSE("GPL");
