// SPDX-License-Identifier: GPL-2.0
/*
 * Packets to the guest. They are taken from the ring of the TAP up to 64 at a time and copied into
 * the chains that were found for each: here, if they are such as most are, otherwise by the TAP.
 */
#include <linux/bottom_half.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/if_vlan.h>
#include <linux/instrumented.h>
#include <linux/net.h>
#include <linux/nospec.h>
#include <linux/ptr_ring.h>
#include <linux/skb_array.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "../compat/tun.h"
#include "net.h"

/* A virtio-net header of any length */
union vhl_net_hdr {
	struct virtio_net_hdr_mrg_rxbuf base;
	u8 bytes[VHL_TUN_TUNNEL_HDR_SIZE];
};

static u32 vhl_net_rx_len(void *packet)
{
	if (tun_is_xdp_frame(packet))
		return tun_ptr_to_xdp(packet)->len;
	return __skb_array_len_with_tag(packet);
}

/**
 * struct vhl_net_bufs - the driver's buffers that were taken for a packet
 * @iov: segments: of the only chain, or copied to the @iov of the queue
 * @log: the same of what the guest calls them, NULL where nothing logs
 * @segs: how many of each
 * @heads: chains, which are in done, behind those that are counted
 * @mark: before the first of them
 */
struct vhl_net_bufs {
	struct iovec *iov;
	const struct vhl_log *log;
	unsigned int segs;
	unsigned int heads;
	u32 mark;
};

enum vhl_net_gather {
	VHL_NET_GOT,
	VHL_NET_SHORT,		/* no chain at all, or too few */
	VHL_NET_TOO_BIG,	/* no chains could ever hold the packet, or no memory for it */
	VHL_NET_AGAIN,		/* not in this turn, or the queue is broken */
};

/* Add the segments of a chain to those of a packet. Return: false when there is no memory */
static bool vhl_net_rx_collect(struct vhl_net_vq *q, const struct vhl_chain *chain,
			       struct vhl_net_bufs *bufs)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
	const struct vhl_log *log = vhl_vq_log(&q->vq);

	if (!q->iov)
		q->iov = kvmalloc_array(VHL_IOV_MAX, sizeof(*q->iov), gfp);
	if (log && !q->log)
		q->log = kvmalloc_array(VHL_IOV_MAX, sizeof(*q->log), gfp);
	if (!q->iov || (log && !q->log))
		return false;
	memcpy(&q->iov[bufs->segs], chain->iov, chain->in_num * sizeof(*q->iov));
	bufs->iov = q->iov;
	bufs->log = NULL;
	if (log) {
		memcpy(&q->log[bufs->segs], log, chain->in_num * sizeof(*q->log));
		bufs->log = q->log;
	}
	return true;
}

/* Take chains for a packet of @need bytes; all of them or, on failure, none. */
static enum vhl_net_gather vhl_net_rx_gather(struct vhl_net_vq *q, u32 need,
					     struct vhl_net_bufs *bufs)
{
	struct vhl_done *done = &q->done[q->done_num];
	enum vhl_net_gather result;
	struct vhl_vq *vq = &q->vq;
	struct vhl_chain chain;
	int ret;

	bufs->segs = 0;
	bufs->heads = 0;
	bufs->mark = vhl_vq_mark(vq);
	do {
		result = VHL_NET_TOO_BIG;
		/* the driver's whole ring is not enough: there is nothing to wait for */
		if (bufs->heads == vhl_vq_size(vq))
			goto rewind;
		if (q->done_num + bufs->heads == q->done_max) {
			/* those of other packets come first */
			if (q->done_num)
				result = VHL_NET_AGAIN;
			goto rewind;
		}
		ret = vhl_vq_take(vq, &chain);
		if (ret <= 0) {
			result = ret ? VHL_NET_AGAIN : VHL_NET_SHORT;
			goto rewind;
		}
		bufs->heads++;
		if (chain.out_num || !chain.in_num) {
			vhl_vq_reject(vq, bufs->mark, VHL_FAULT_REQUEST);
			return VHL_NET_AGAIN;
		}
		if (bufs->heads == 1 && chain.in_len >= need) {
			/* as a rule */
			bufs->iov = chain.iov;
			bufs->log = vhl_vq_log(vq);
		} else {
			if (!q->mergeable || chain.in_num > VHL_IOV_MAX - bufs->segs ||
			    !vhl_net_rx_collect(q, &chain, bufs))
				goto rewind;
		}
		bufs->segs += chain.in_num;
		done->id = chain.id;
		done->len = min(chain.in_len, need);
		need -= done->len;
		done++;
	} while (need);
	return VHL_NET_GOT;

rewind:
	vhl_vq_rewind(vq, bufs->mark);
	return result;
}

/* What stands between the addresses and the type of a frame that has a VLAN tag */
struct vhl_net_tag {
	__be16 proto;
	__be16 tci;
};

/* How far a packet has been written */
struct vhl_net_cursor {
	const struct iovec *iov;
	size_t done;		/* bytes of that segment */
};

/* Never more than is left of the segments, which are known to be the owner's */
static int vhl_net_rx_put(struct vhl_net_cursor *to, const void *from, size_t len)
{
	for (;;) {
		void __user *base = to->iov->iov_base + to->done;
		size_t n = min(len, to->iov->iov_len - to->done);

		instrument_copy_to_user(base, from, n);
		if (unlikely(raw_copy_to_user(base, from, n)))
			return -EFAULT;
		to->done += n;
		len -= n;
		if (likely(!len))
			return 0;
		from += n;
		to->iov++;
		to->done = 0;
	}
}

/* As a rule a header is all in one segment, and its few words are stored one by one. */
static int vhl_net_rx_put_hdr(struct vhl_net_cursor *to, const void *hdr, unsigned int hdr_len)
{
	const size_t usual = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	void __user *base = to->iov->iov_base;

	if (unlikely(hdr_len != usual || to->iov->iov_len < usual))
		return vhl_net_rx_put(to, hdr, hdr_len);
	if (unlikely(!user_write_access_begin(base, usual)))
		return -EFAULT;
	unsafe_copy_to_user(base, hdr, usual, fault);
	user_write_access_end();
	to->done = usual;
	return 0;

fault:
	user_write_access_end();
	return -EFAULT;
}

/*
 * Copy a header, and a packet in one piece. Not by an iov_iter, which has the source checked by the
 * rules of hardened usercopy for each piece: what a packet has of linear data it says itself.
 */
static int vhl_net_rx_linear(const void *data, u32 len, const void *hdr, unsigned int hdr_len,
			     const struct vhl_net_tag *tag, const struct vhl_net_bufs *bufs)
{
	struct vhl_net_cursor to = { .iov = bufs->iov };
	unsigned int i, offset = 0;

	might_fault();
	for (i = 0; i < bufs->segs; i++)
		if (unlikely(!access_ok(bufs->iov[i].iov_base, bufs->iov[i].iov_len)))
			return -EFAULT;
	/* addresses are the guest's choice: none is used before it is known to be the owner's */
	barrier_nospec();

	if (unlikely(vhl_net_rx_put_hdr(&to, hdr, hdr_len)))
		return -EFAULT;
	if (unlikely(tag)) {
		offset = 2 * ETH_ALEN;
		if (vhl_net_rx_put(&to, data, offset) ||
		    vhl_net_rx_put(&to, tag, sizeof(*tag)))
			return -EFAULT;
	}
	return vhl_net_rx_put(&to, data + offset, len - offset);
}

/* The same of an skb that is in several pieces */
static int vhl_net_rx_pieces(const struct sk_buff *skb, const void *hdr, unsigned int hdr_len,
			     const struct vhl_net_tag *tag, const struct vhl_net_bufs *bufs,
			     u32 need)
{
	unsigned int offset = 0;
	struct iov_iter iter;

	iov_iter_init(&iter, ITER_DEST, bufs->iov, bufs->segs, need);
	if (copy_to_iter(hdr, hdr_len, &iter) != hdr_len)
		return -EFAULT;
	if (tag) {
		offset = 2 * ETH_ALEN;
		if (skb_copy_datagram_iter(skb, 0, &iter, offset) ||
		    copy_to_iter(tag, sizeof(*tag), &iter) != sizeof(*tag))
			return -EFAULT;
	}
	return skb_copy_datagram_iter(skb, offset, &iter, skb->len - offset) ? -EFAULT : 0;
}

/*
 * Copy an skb to the guest, as the TAP would. The skb is still there afterwards.
 *
 * Return: 0, -EFAULT where guest memory faults, -EINVAL for what no header can say.
 */
static int vhl_net_rx_skb(struct vhl_net_vq *q, const struct sk_buff *skb, u32 need,
			  const struct vhl_net_bufs *bufs)
{
	union vhl_net_hdr hdr = { .bytes = { } };
	struct vhl_net_tag tag, *has_tag = NULL;
	unsigned int tag_len = 0;
	int ret;

	if (unlikely(skb_vlan_tag_present(skb))) {
		/* the TAP may have a filter that cuts frames off anywhere */
		if (skb->len < 2 * ETH_ALEN)
			return -EINVAL;
		tag.proto = skb->vlan_proto;
		tag.tci = htons(skb_vlan_tag_get(skb));
		has_tag = &tag;
		tag_len = sizeof(tag);
	}
	if (!q->tap_has_no_hdr) {
		/* of a tunnel only the longer header could tell */
		if (skb_is_gso(skb) && skb_shinfo(skb)->gso_type &
				       (SKB_GSO_UDP_TUNNEL | SKB_GSO_UDP_TUNNEL_CSUM))
			return -EINVAL;
		if (virtio_net_hdr_from_skb(skb, &hdr.base.hdr, true, true, tag_len))
			return -EINVAL;
	}
	hdr.base.num_buffers = cpu_to_vhl16(bufs->heads);

	if (likely(!skb_is_nonlinear(skb)))
		ret = vhl_net_rx_linear(skb->data, skb->len, &hdr, q->hdr_len, has_tag, bufs);
	else
		ret = vhl_net_rx_pieces(skb, &hdr, q->hdr_len, has_tag, bufs, need);
	if (!ret && q->is_tun) {
		q->counted++;
		q->counted_bytes += skb->len + tag_len;
	}
	return ret;
}

/* The same of a frame of XDP, of which the header says nothing */
static int vhl_net_rx_xdp(struct vhl_net_vq *q, const struct xdp_frame *frame,
			  const struct vhl_net_bufs *bufs)
{
	union vhl_net_hdr hdr = { .bytes = { } };
	int ret;

	hdr.base.num_buffers = cpu_to_vhl16(bufs->heads);
	ret = vhl_net_rx_linear(frame->data, frame->len, &hdr, q->hdr_len, NULL, bufs);
	if (!ret) {
		q->counted++;
		q->counted_bytes += frame->len;
	}
	return ret;
}

/*
 * Have the TAP copy a packet to the guest. It frees it in any case.
 *
 * Return: 0, -EFAULT where guest memory faults, or what is wrong with the TAP.
 */
static int vhl_net_rx_recv(struct vhl_net_vq *q, void *packet, u32 need,
			   const struct vhl_net_bufs *bufs)
{
	union vhl_net_hdr hdr = { .bytes = { } };
	struct msghdr msg = { .msg_control = packet };
	struct iov_iter iter;
	int want, len;

	hdr.base.num_buffers = cpu_to_vhl16(bufs->heads);
	/* that much and no more, whatever turns out to be in the packet */
	iov_iter_init(&msg.msg_iter, ITER_DEST, bufs->iov, bufs->segs, need);
	iter = msg.msg_iter;
	if (q->tap_has_no_hdr && copy_to_iter(&hdr, q->hdr_len, &msg.msg_iter) != q->hdr_len) {
		vhl_tun_free(packet);
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
	if (!q->tap_has_no_hdr && q->hdr_len >= sizeof(hdr.base)) {
		iov_iter_advance(&iter, offsetof(typeof(hdr.base), num_buffers));
		if (copy_to_iter(&hdr.base.num_buffers, sizeof(hdr.base.num_buffers), &iter) !=
		    sizeof(hdr.base.num_buffers))
			return -EFAULT;
	}
	return 0;
}

/*
 * What the TAP delivered once with a header of the right size it need not copy any more. It may be
 * told to make others later: then they are of the size that was wanted still.
 */
static bool vhl_net_rx_copies_skb(const struct vhl_net_vq *q, const struct sk_buff *skb)
{
	return q->copies_skbs && (!q->is_tun || skb->dev == rcu_access_pointer(q->netdev));
}

/* It does not say which device it was sent to: it has to be known, for it counts */
static bool vhl_net_rx_copies_xdp(const struct vhl_net_vq *q, struct xdp_frame *frame)
{
	return q->copies_xdp && rcu_access_pointer(q->netdev) && !xdp_frame_has_frags(frame);
}

/* What is no skb, or one that is not to be copied here. Apart: few devices have any */
static noinline int vhl_net_rx_other(struct vhl_net_vq *q, void **packet, u32 need,
				     const struct vhl_net_bufs *bufs)
{
	bool is_skb = !tun_is_xdp_frame(*packet);
	struct net_device *dev = NULL;
	int ret;

	if (!is_skb && vhl_net_rx_copies_xdp(q, tun_ptr_to_xdp(*packet))) {
		ret = vhl_net_rx_xdp(q, tun_ptr_to_xdp(*packet), bufs);
		if (unlikely(ret)) {
			xdp_return_frame(tun_ptr_to_xdp(*packet));
			*packet = NULL;
		}
		return ret;
	}

	if (unlikely(!q->ring)) {
		/* a packet socket whose headers are of another size */
		kfree_skb(*packet);
		*packet = NULL;
		return -EMSGSIZE;
	}
	if (is_skb)
		dev = ((struct sk_buff *)*packet)->dev;
	ret = vhl_net_rx_recv(q, *packet, need, bufs);
	*packet = NULL;
	if (ret)
		return ret;
	q->copies_xdp = q->is_tun;
	q->copies_skbs = q->hdr_len <= sizeof(struct virtio_net_hdr_mrg_rxbuf);
	if (!is_skb)
		vhl_netdev_find_named(q);
	else if (dev != rcu_access_pointer(q->netdev))
		vhl_netdev_find(q, dev);
	return 0;
}

/* Copy a packet to the guest. It is freed, or kept for vhl_net_rx_free(). Return: as above. */
static int vhl_net_rx_copy(struct vhl_net_vq *q, void **packet, u32 need,
			   const struct vhl_net_bufs *bufs)
{
	int ret;

	if (unlikely(tun_is_xdp_frame(*packet)) || unlikely(!vhl_net_rx_copies_skb(q, *packet)))
		return vhl_net_rx_other(q, packet, need, bufs);
	ret = vhl_net_rx_skb(q, *packet, need, bufs);
	if (unlikely(ret)) {
		kfree_skb(*packet);
		*packet = NULL;
	}
	return ret;
}

/* Free what was delivered */
static void vhl_net_rx_free(struct vhl_net_vq *q)
{
	struct xdp_frame_bulk frames;

	if (q->packet_kept == q->packet_next)
		return;
	/* together: they go back to where they were allocated in bulk */
	xdp_frame_bulk_init(&frames);
	local_bh_disable();
	rcu_read_lock();
	do {
		void *packet = q->packets[q->packet_kept++];

		if (unlikely(tun_is_xdp_frame(packet)))
			xdp_return_frame_bulk(tun_ptr_to_xdp(packet), &frames);
		else if (packet)
			napi_consume_skb(packet, 1);
	} while (q->packet_kept != q->packet_next);
	xdp_flush_frame_bulk(&frames);
	rcu_read_unlock();
	local_bh_enable();
}

/* Show the driver what was delivered, then clear up */
static void vhl_net_rx_publish(struct vhl_net_vq *q)
{
	vhl_net_publish(q);
	vhl_net_rx_free(q);
	if (unlikely(!q->ring))
		vhl_packet_freed(q);
}

/* Has the TAP or packet socket any? */
static bool vhl_net_rx_waiting(const struct vhl_net_vq *q)
{
	if (likely(q->ring))
		return !ptr_ring_empty(q->ring);
	return vhl_packet_pending(q->sock->sk);
}

bool vhl_net_rx_pending(const struct vhl_net_vq *q)
{
	return q->packet_next != q->packet_end || vhl_net_rx_waiting(q);
}

static unsigned int vhl_net_rx_consume(struct vhl_net_vq *q)
{
	if (likely(q->ring))
		return vhl_tun_consume(q->tap->file, q->ring, q->packets, VHL_NET_BATCH);
	return vhl_packet_consume(q);
}

/* The next packet, which stays the next one. NULL when there is none */
static void *vhl_net_rx_peek(struct vhl_net_vq *q)
{
	if (q->packet_next == q->packet_end) {
		/* the driver need not wait for what is cleared up, if it is all that it gets */
		if (!vhl_net_rx_waiting(q))
			return NULL;
		vhl_net_rx_free(q);
		q->packet_next = 0;
		q->packet_kept = 0;
		q->packet_end = vhl_net_rx_consume(q);
		if (!q->packet_end)
			return NULL;
	}
	return q->packets[q->packet_next];
}

/* The device that a packet was sent to, which may be gone: to compare with others */
static struct net_device *vhl_net_rx_dev(void *packet)
{
	return tun_is_xdp_frame(packet) ? NULL : ((struct sk_buff *)packet)->dev;
}

/* A packet for @dev was dropped */
static void vhl_net_rx_dropped(struct vhl_net_vq *q, struct net_device *dev)
{
	if (dev && dev != rcu_access_pointer(q->netdev))
		vhl_netdev_find(q, dev);
	atomic_inc(&q->dropped);
	q->errors++;
}

/* How full is the ring of the TAP? A nap is to take up no more than an eighth of it. */
enum vhl_backlog vhl_net_rx_backlog(struct vhl_net_vq *q)
{
	enum vhl_backlog backlog = VHL_BACKLOG_SMALL;
	struct ptr_ring *ring = READ_ONCE(q->ring);
	unsigned long flags;
	int filled;

	/* a socket that is not the packet socket yet has room, too, as far as it goes */
	if (!ring)
		return vhl_packet_backlog(READ_ONCE(q->sock)->sk);
	/*
	 * against a change of its size; also called with irqs off, by a producer that just let go
	 * of it
	 */
	spin_lock_irqsave(&ring->producer_lock, flags);
	if (ring->size) {
		filled = ring->producer - READ_ONCE(ring->consumer_head);
		if (filled < 0)
			filled += ring->size;
		if (__ptr_ring_full(ring))
			backlog = VHL_BACKLOG_FULL;
		else if (filled > ring->size / 8)
			backlog = VHL_BACKLOG_LARGE;
	}
	spin_unlock_irqrestore(&ring->producer_lock, flags);
	return backlog;
}

enum vhl_run vhl_net_rx(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	enum vhl_run run = VHL_RUN_MORE;
	struct vhl_net_bufs bufs;
	struct net_device *dev;
	unsigned int chains = 0;
	u64 bytes = 0;
	void *packet;
	u32 need;
	int ret;

	/* dropped packets count as well, so they cannot keep the worker */
	while (chains < VHL_NET_BUDGET_CHAINS && bytes < VHL_NET_BUDGET_BYTES) {
		packet = vhl_net_rx_peek(q);
		if (!packet) {
			if (vhl_poll_listen(&q->tap->poll))
				continue;
			run = VHL_RUN_BACKEND;
			break;
		}
		need = q->hdr_len + vhl_net_rx_len(packet);
		dev = vhl_net_rx_dev(packet);

		switch (vhl_net_rx_gather(q, need, &bufs)) {
		case VHL_NET_GOT:
			ret = vhl_net_rx_copy(q, &q->packets[q->packet_next], need, &bufs);
			/* some of it may have been written, whatever came of it */
			if (unlikely(bufs.log))
				vhl_vq_dirty(vq, bufs.log, bufs.segs, need);
			if (ret)
				vhl_vq_rewind(vq, bufs.mark);
			break;
		case VHL_NET_TOO_BIG:
			/* the driver's doing, nothing to complain of */
			vhl_tun_free(packet);
			q->packets[q->packet_next] = NULL;
			ret = -EINVAL;
			break;
		case VHL_NET_SHORT:
			/* until there are buffers it does not matter how many packets come */
			vhl_poll_mute(&q->tap->poll);
			run = VHL_RUN_RING;
			goto publish;
		case VHL_NET_AGAIN:
			/* nor does it until a translation is there that is missing */
			if (vq->misses)
				vhl_poll_mute(&q->tap->poll);
			goto publish;
		}
		q->packet_next++;
		q->reqs++;
		/* not packets: one may take a thousand chains of a few bytes */
		chains += bufs.heads;
		bytes += need;

		if (ret) {
			vhl_net_rx_dropped(q, dev);
			if (ret == -EFAULT && vhl_net_faulted(q, bufs.mark))
				break;
			vhl_net_complain(q, ret);
			continue;
		}
		q->complained = false;
		q->faults = 0;
		q->bytes += need;
		q->done_num += bufs.heads;
		/* between two packets: the buffers of one have to appear together */
		if (q->done_num >= VHL_NET_BATCH)
			vhl_net_rx_publish(q);
	}
publish:
	vhl_net_rx_publish(q);
	return run;
}

/* First in line again for the next reader of the TAP */
void vhl_net_rx_unconsume(struct vhl_net_vq *q)
{
	if (q->packet_next != q->packet_end) {
		if (q->ring)
			ptr_ring_unconsume(q->ring, &q->packets[q->packet_next],
					   q->packet_end - q->packet_next, vhl_tun_free);
		else
			vhl_packet_unconsume(q);
	}
	q->packet_next = 0;
	q->packet_end = 0;
	q->packet_kept = 0;
}
