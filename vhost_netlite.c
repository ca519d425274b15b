// SPDX-License-Identifier: GPL-2.0
/*
 * vhost_netlite: the host side of virtio-net over a TAP or macvtap queue, or a packet socket.
 *
 * Queue 0 (RX) carries packets to the guest, queue 1 (TX) frames from it. Each has a file of its
 * own (the same TAP queue as a rule); they share nothing that changes.
 *
 * The virtio-net header is between the driver and the TAP, which is told of the offloads by the
 * VMM: what it says passes through, but for the number of buffers of a packet, and but for clients
 * that have a TAP without headers and say so with VHOST_NET_F_VIRTIO_NET_HDR. Then it says nothing.
 * Towards the guest it is made here as a rule, little-endian, as the TAP would make it.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <net/sock.h>

#include "compat/tun.h"
#include "compat/vhost_uapi.h"
#include "net/net.h"

static enum vhl_run vhl_net_run(struct vhl_vq *vq)
{
	return vq->index == VHL_NET_RX ? vhl_net_rx(vq) : vhl_net_tx(vq);
}

static bool vhl_net_pending(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);

	if (vq->index == VHL_NET_TX)
		return sock_writeable(q->sock->sk);
	return vhl_net_rx_pending(q);
}

/* Frames from the guest wait in its ring, where none is lost */
static enum vhl_backlog vhl_net_backlog(struct vhl_vq *vq)
{
	return vq->index == VHL_NET_RX ? vhl_net_rx_backlog(to_net(vq)) : VHL_BACKLOG_SMALL;
}

static int vhl_net_features(struct vhl_dev *dev, u64 *features)
{
	features[0] |= BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) |
		       BIT_ULL(VHOST_NET_F_VIRTIO_NET_HDR) |
		       BIT_ULL(VIRTIO_F_IN_ORDER);
	/* the only offloads that the device has a part in: they make the header longer */
	if (vhl_tun_has_tunnels())
		features[1] = BIT_ULL(VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO - 64) |
			      BIT_ULL(VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO - 64);
	return 0;
}

/* What a queue knows of its TAP */
static void vhl_net_forget(struct vhl_net_vq *q)
{
	vhl_net_rx_unconsume(q);
	vhl_netdev_count(q);
	vhl_netdev_forget(q);
	atomic_set(&q->dropped, 0);
	q->complained = false;
	q->copies_skbs = false;
	q->copies_xdp = false;
	q->searched = false;
}

static void *vhl_net_attach(struct vhl_vq *vq, void *backing)
{
	struct vhl_net_vq *q = to_net(vq);
	struct vhl_net_tap *tap = backing, *old = q->tap;

	if (vhl_vq_started(vq))
		vhl_net_forget(q);
	q->tap = tap;
	/* compared by the other queue's worker, and used by wake-ups of the TAP during a nap */
	WRITE_ONCE(q->sock, tap ? tap->sock : NULL);
	WRITE_ONCE(q->ring, tap ? tap->ring : NULL);
	q->is_tun = tap && tap->is_tun;
	/* a wake-up by the new TAP may have seen the old ring */
	if (vhl_vq_started(vq))
		vhl_poll_sync(&tap->poll);
	return old;
}

static void vhl_net_free(struct vhl_net_vq *q)
{
	kvfree(q->done);
	kvfree(q->iov);
	kvfree(q->log);
	kvfree(q->packets);
	kvfree(q->frames);
	q->done = NULL;
	q->iov = NULL;
	q->log = NULL;
	q->packets = NULL;
	q->frames = NULL;
}

static void *vhl_net_array(const struct vhl_vq *vq, size_t n, size_t size)
{
	return kvmalloc_node(array_size(n, size), GFP_KERNEL, vhl_vq_node(vq));
}

static int vhl_net_start(struct vhl_vq *vq)
{
	struct vhl_net_vq *q = to_net(vq);
	bool rx = vq->index == VHL_NET_RX;
	int ret = -ENOMEM;

	if (!q->tap)
		return -ENOTSOCK;

	q->mergeable = vhl_has_feature(vq->dev, VIRTIO_NET_F_MRG_RXBUF);
	q->tap_has_no_hdr = vhl_has_feature(vq->dev, VHOST_NET_F_VIRTIO_NET_HDR);
	q->hdr_len = sizeof(struct virtio_net_hdr);
	if (q->mergeable || vhl_has_feature(vq->dev, VIRTIO_F_VERSION_1))
		q->hdr_len = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	if (vhl_has_feature(vq->dev, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO) ||
	    vhl_has_feature(vq->dev, VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO))
		q->hdr_len = VHL_TUN_TUNNEL_HDR_SIZE;
	q->faults = 0;

	q->done_max = VHL_NET_BATCH;
	if (rx)
		q->done_max = clamp_t(unsigned int, vhl_vq_size(vq), VHL_NET_BATCH,
				      VHL_NET_MAX_HEADS);
	q->done = vhl_net_array(vq, q->done_max, sizeof(*q->done));
	if (rx) {
		q->packets = vhl_net_array(vq, VHL_NET_BATCH, sizeof(*q->packets));
		if (!q->done || !q->packets)
			goto free;
	} else {
		q->frames = vhl_net_array(vq, VHL_NET_BATCH, sizeof(*q->frames));
		if (!q->done || !q->frames)
			goto free;
	}
	ret = vhl_tap_poll(vq, q->tap);
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

	vhl_poll_stop(&q->tap->poll);
	vhl_net_forget(q);
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
		struct vhl_net_vq *q = to_net(dev->vqs[i]);

		if (q->tap)
			what = q->is_tun ? "tap" : q->ring ? "macvtap" : "packet";
	}
	seq_puts(m, what);
}

static const struct vhl_ops vhl_net_ops = {
	.features	= vhl_net_features,
	.prepare	= vhl_tap_prepare,
	.attach		= vhl_net_attach,
	.discard	= vhl_tap_discard,
	.start		= vhl_net_start,
	.stop		= vhl_net_stop,
	.run		= vhl_net_run,
	.pending	= vhl_net_pending,
	.backlog	= vhl_net_backlog,
	.show		= vhl_net_show,
};

#define VHL_NET_NODE(_name, _minor) {				\
	.name		= (_name),				\
	.owner		= THIS_MODULE,				\
	.ops		= &vhl_net_ops,				\
	.dialect	= &vhl_dialect_vhost,			\
	.backend_cmd	= VHOST_NET_SET_BACKEND,		\
	.minor		= (_minor),				\
	.device_id	= VIRTIO_ID_NET,			\
	.num_vqs	= VHL_NET_VQS,				\
	.reads		= BIT(VHL_NET_TX),			\
	.dev_size	= sizeof(struct vhl_dev),		\
	.vq_size	= sizeof(struct vhl_net_vq),		\
	.logs		= true,					\
	.logs_iova	= true,					\
}

static struct vhl_node vhl_net_node = VHL_NET_NODE("vhost-netlite", 0);

/* For VMMs that have the name of the kernel's own node built in; its number, which udev knows */
static struct vhl_node vhl_net_alias_node = VHL_NET_NODE("vhost-net", VHOST_NET_MINOR);

static char *alias;
module_param(alias, charp, 0444);
MODULE_PARM_DESC(alias, "Another node: vhost-net, in the place of the kernel's (default: none)");

static int __init vhl_net_alias_init(void)
{
	int ret;

	if (!alias)
		return 0;
	if (strcmp(alias, vhl_net_alias_node.name)) {
		pr_err("alias=%s: there is no other than %s\n", alias, vhl_net_alias_node.name);
		return -EINVAL;
	}
	ret = vhl_node_register(&vhl_net_alias_node);
	if (ret == -EBUSY)
		pr_err("alias=%s: that node is taken; unload vhost_net first\n", alias);
	return ret;
}

static int __init vhl_net_init(void)
{
	int ret = vhl_netdev_init();

	if (ret)
		return ret;
	ret = vhl_node_register(&vhl_net_node);
	if (ret)
		goto exit_netdev;
	ret = vhl_net_alias_init();
	if (ret)
		goto unregister_node;
	return 0;

unregister_node:
	vhl_node_unregister(&vhl_net_node);
exit_netdev:
	vhl_netdev_exit();
	return ret;
}
module_init(vhl_net_init);

static void __exit vhl_net_exit(void)
{
	if (alias)
		vhl_node_unregister(&vhl_net_alias_node);
	vhl_node_unregister(&vhl_net_node);
	vhl_netdev_exit();
}
module_exit(vhl_net_exit);

MODULE_DESCRIPTION("vhost-lite: virtio-net over TAP and macvtap");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
