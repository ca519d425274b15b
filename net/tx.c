// SPDX-License-Identifier: GPL-2.0
/*
 * Frames from the guest. Small ones are copied once, into page fragments, and handed to the TAP up
 * to 64 at a time; the TAP copies large ones itself.
 */
#include <linux/if_ether.h>
#include <linux/if_vlan.h>
#include <linux/instrumented.h>
#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <net/sock.h>

#include "../compat/tun.h"
#include "net.h"

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
 * takes as they are. A macvtap lets them end inside of the Ethernet header.
 */
static bool vhl_net_tx_hdr_ok(const struct vhl_net_vq *q, struct virtio_net_hdr *hdr, u32 len)
{
	u32 hdr_len = vhl16_to_cpu(hdr->hdr_len);

	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		hdr_len = max_t(u32, hdr_len, vhl16_to_cpu(hdr->csum_start) +
					      vhl16_to_cpu(hdr->csum_offset) + sizeof(__sum16));
		if (hdr_len > len)
			return false;
		hdr->hdr_len = cpu_to_vhl16(hdr_len);
	}
	return hdr_len <= len && (!q->is_tun || !hdr_len || hdr_len >= ETH_HLEN);
}

/*
 * Copy what the device reads of a chain. Not by an iov_iter, which has the destination checked by
 * the rules of hardened usercopy for each segment: its size was computed just now.
 */
static int vhl_net_tx_gather(void *to, const struct vhl_chain *chain)
{
	unsigned int i;

	might_fault();
	for (i = 0; i < chain->out_num; i++)
		if (unlikely(!access_ok(chain->iov[i].iov_base, chain->iov[i].iov_len)))
			return -EFAULT;
	/* addresses are the guest's choice: none is used before it is known to be the owner's */
	barrier_nospec();
	for (i = 0; i < chain->out_num; i++) {
		const struct iovec *iov = &chain->iov[i];

		instrument_copy_from_user_before(to, iov->iov_base, iov->iov_len);
		if (unlikely(raw_copy_from_user(to, iov->iov_base, iov->iov_len)))
			return -EFAULT;
		instrument_copy_from_user_after(to, iov->iov_base, iov->iov_len, 0);
		to += iov->iov_len;
	}
	return 0;
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
	unsigned int size;
	void *buf, *data;

	/* the header is first copied next to the frame, then to where the TAP looks for it */
	BUILD_BUG_ON(VHL_TUN_HDR_SIZE + VHL_TUN_TUNNEL_HDR_SIZE > NET_SKB_PAD);

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
	if (unlikely(vhl_net_tx_gather(data - q->hdr_len, chain))) {
		atomic_inc(&q->dropped);
		return -EFAULT;
	}

	hdr = vhl_tun_frame(&q->frames[q->frame_num], buf, headroom, len, size);
	if (!q->tap_has_no_hdr) {
		memcpy(hdr, data - q->hdr_len, min_t(size_t, q->hdr_len, VHL_TUN_VNET_SIZE));
		if (!vhl_net_tx_hdr_ok(q, hdr, len)) {
			atomic_inc(&q->dropped);
			return -EINVAL;
		}
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
	if (q->tap_has_no_hdr)
		iov_iter_advance(&msg.msg_iter, q->hdr_len);
	err = q->sock->ops->sendmsg(q->sock, &msg, iov_iter_count(&msg.msg_iter));
	if (err < 0)
		return err;
	q->bytes += chain->out_len;
	q->complained = false;
	return 0;
}

/*
 * The TAP could not take a frame, or there was no memory. A poll makes it promise a wake-up when it
 * can.
 *
 * Return: VHL_RUN_BACKEND to wait for that, VHL_RUN_MORE when it can already, negative
 * when waiting is no use and the frame is lost.
 */
static int vhl_net_tx_full(struct vhl_net_vq *q, int err)
{
	__poll_t ready = vfs_poll(q->tap->file, NULL);

	/* it is gone. A packet socket's error is of the past */
	if ((ready & EPOLLERR) && q->ring)
		return err;
	if (!(ready & EPOLLOUT))
		return VHL_RUN_BACKEND;
	/* it was not the socket buffer; no wake-up when memory is freed: the frame is lost */
	return err == -EAGAIN ? VHL_RUN_MORE : err;
}

/*
 * What is refused here is for the device's counters; what the TAP refuses it counts itself.
 *
 * Return: 0 when the frame is in the batch or with the TAP, negative otherwise.
 */
static int vhl_net_tx_one(struct vhl_net_vq *q, const struct vhl_chain *chain, bool batch)
{
	u32 len = chain->out_len - q->hdr_len;
	int ret = -E2BIG;

	/* never to the TAP: kernels differ in whether it survives such frames */
	if (len < ETH_HLEN || len > VHL_NET_FRAME_MAX) {
		atomic_inc(&q->dropped);
		return -EINVAL;
	}
	if (batch)
		ret = vhl_net_tx_copy(q, chain);
	if (ret == -E2BIG) {
		/* not before those that came first */
		vhl_net_tx_submit(q);
		ret = vhl_net_tx_send(q, chain);
	}
	return ret;
}

enum vhl_run vhl_net_tx(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	/*
	 * batches are not charged to the socket buffer: where that is limited, frames are to wait
	 */
	bool batch = q->ring && READ_ONCE(q->sock->sk->sk_sndbuf) == INT_MAX;
	enum vhl_run run = VHL_RUN_MORE;
	unsigned int packets = 0;
	struct vhl_chain chain;
	u64 bytes = 0;
	u32 mark;
	int ret;

	/* of a link that was down, or the first frame would be refused for that */
	if (!q->ring)
		sock_error(q->sock->sk);

	while (packets < VHL_NET_BUDGET_CHAINS && bytes < VHL_NET_BUDGET_BYTES) {
		mark = vhl_vq_mark(vq);
		ret = vhl_vq_take(vq, &chain);
		if (ret <= 0) {
			if (!ret)
				run = VHL_RUN_RING;
			break;
		}
		if (chain.in_num || chain.out_len < q->hdr_len) {
			vhl_vq_reject(vq, mark, VHL_FAULT_REQUEST);
			break;
		}

		ret = vhl_net_tx_one(q, &chain, batch);
		if (ret == -EAGAIN || ret == -ENOBUFS || ret == -ENOMEM) {
			ret = vhl_net_tx_full(q, ret);
			if (ret >= 0) {
				vhl_vq_rewind(vq, mark);
				run = ret;
				break;
			}
		}
		if (ret == -EFAULT && vhl_net_faulted(q, mark))
			break;
		if (ret) {
			q->errors++;
			vhl_net_complain(q, ret);
		} else {
			q->faults = 0;
		}

		q->done[q->done_num++] = (struct vhl_done) { .id = chain.id };
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
