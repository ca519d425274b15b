/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Frames for TUN_MSG_PTR, the batched way into a TAP.  What has to stand in front of a frame
 * changed between kernels without a sign at compile time, and the wrong one corrupts memory;
 * only this file knows what it is.
 */
#ifndef VHL_COMPAT_TUN_H
#define VHL_COMPAT_TUN_H

#include <linux/build_bug.h>
#include <linux/if_tun.h>
#include <linux/string.h>
#include <linux/virtio_net.h>
#include <net/xdp.h>

#ifdef VHL_TUN_WAKE_QUEUE
#error "this kernel's TAP has to be told when its ring is drained, which vhost-lite cannot do yet"
#endif

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

#endif /* VHL_COMPAT_TUN_H */
