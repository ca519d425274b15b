/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The batched ways into a TAP and out of it.  What has to stand in front of a frame for
 * TUN_MSG_PTR changed between kernels without a sign at compile time, and the wrong one corrupts
 * memory; only this file knows what it is.
 */
#ifndef VHL_COMPAT_TUN_H
#define VHL_COMPAT_TUN_H

#include <linux/build_bug.h>
#include <linux/if_tun.h>
#include <linux/ptr_ring.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/virtio_net.h>
#include <net/xdp.h>

/*
 * Bytes at the start of the headroom that tun and tap read, and those of them that are the frame's
 * virtio-net header
 */
#ifdef VHL_TUN_XDP_HDR
#define VHL_TUN_HDR_SIZE	sizeof(struct tun_xdp_hdr)
#define VHL_TUN_VNET_SIZE	sizeof(struct virtio_net_hdr)
#else
#define VHL_TUN_HDR_SIZE	sizeof(struct virtio_net_hdr_v1_hash_tunnel)
#define VHL_TUN_VNET_SIZE	sizeof(struct virtio_net_hdr_v1_hash_tunnel)
#endif

/* Bytes of a header that says where the headers of a UDP tunnel are */
#define VHL_TUN_TUNNEL_HDR_SIZE	24

/* 6.17: does tun take such headers, and frames with them in a batch? */
static inline bool vhl_tun_has_tunnels(void)
{
#if defined(TUN_F_UDP_TUNNEL_GSO) && !defined(VHL_TUN_XDP_HDR)
	BUILD_BUG_ON(sizeof(struct virtio_net_hdr_v1_hash_tunnel) != VHL_TUN_TUNNEL_HDR_SIZE);
	return true;
#else
	return false;
#endif
}

/**
 * vhl_tun_frame() - describe a frame
 * @xdp: filled
 * @buf: memory of the frame, a page fragment
 * @headroom: bytes in front of the frame, at least VHL_TUN_HDR_SIZE, which are overwritten
 * @len: bytes of the frame, without virtio-net header
 * @size: of @buf, with room for a struct skb_shared_info behind the frame
 *
 * Return: where the frame's virtio-net header goes, VHL_TUN_VNET_SIZE bytes inside of the headroom;
 * zeroed.
 */
static inline struct virtio_net_hdr *vhl_tun_frame(struct xdp_buff *xdp, void *buf,
						   unsigned int headroom, unsigned int len,
						   unsigned int size)
{
#ifdef VHL_TUN_XDP_HDR
	struct tun_xdp_hdr *hdr = buf;
#endif

	xdp_init_buff(xdp, size, NULL);
	xdp_prepare_buff(xdp, buf, headroom, len, true);
	memset(buf, 0, VHL_TUN_HDR_SIZE);
#ifdef VHL_TUN_XDP_HDR
	hdr->buflen = size;
	return &hdr->gso;
#else
	return buf;
#endif
}

/**
 * vhl_tun_consume() - take packets from the ring of a TAP or macvtap
 * @file: the TAP
 * @ring: its ring
 * @packets: filled
 * @n: how many at most
 *
 * A TAP that waits for room in its ring goes on.
 *
 * Return: how many there were.
 */
static inline unsigned int vhl_tun_consume(struct file *file, struct ptr_ring *ring,
					   void **packets, unsigned int n)
{
#ifdef VHL_TUN_WAKE_QUEUE
	spin_lock(&ring->consumer_lock);
	n = __ptr_ring_consume_batched(ring, packets, n);
	/* nothing to do for a macvtap, which it tells from a TAP itself */
	if (n)
		tun_wake_queue(file, n);
	spin_unlock(&ring->consumer_lock);
	return n;
#else
	return ptr_ring_consume_batched(ring, packets, n);
#endif
}

/*
 * vhl_tun_free() - a packet that was taken: tun.ko's do nothing in a kernel that has macvtap alone
 */
static inline void vhl_tun_free(void *packet)
{
#if IS_ENABLED(CONFIG_TUN)
	tun_ptr_free(packet);
#else
	kfree_skb(packet);
#endif
}

#endif /* VHL_COMPAT_TUN_H */
