// SPDX-License-Identifier: GPL-2.0
/*
 * vhost_netlite: the host side of virtio-net over a TAP or macvtap queue.
 *
 * Queue 0 (RX) carries packets to the guest, queue 1 (TX) frames from it. Each has a file of its
 * own (the same TAP queue as a rule) and a worker of its own; they share nothing that changes.
 *
 * The virtio-net header is between the driver and the TAP, which is told of the offloads by the
 * VMM: what it says passes through, but for the number of buffers of a packet, and but for clients
 * that have a TAP without headers and say so with VHOST_NET_F_VIRTIO_NET_HDR. Then it says nothing.
 * Towards the guest it is made here as a rule, little-endian, as the TAP would make it.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/if_tap.h>
#include <linux/if_tun.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/ptr_ring.h>
#include <linux/slab.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <net/sock.h>

#include "compat/tun.h"
#include "compat/vhost_uapi.h"
#include "net/net.h"

void vhl_net_publish(struct vhl_net_vq *q)
{
	bool rx = q->vq.index == VHL_NET_RX;
	struct vhl_count count = {
		.reqs = q->reqs,
		.errors = q->errors,
		.in = rx ? q->bytes : 0,
		.out = rx ? 0 : q->bytes,
	};

	if (!q->reqs)
		return;
	vhl_netdev_count(q);
	vhl_vq_complete(&q->vq, q->done, q->done_num, &count);
	q->done_num = 0;
	q->reqs = 0;
	q->bytes = 0;
	q->errors = 0;
}

/*
 * Once until it goes well again; that a batch was taken says nothing, a TAP that is down takes
 * it, too. Not for what the guest or the VMM alone gets wrong: they could flood the log.
 */
void vhl_net_complain(struct vhl_net_vq *q, int err)
{
	if (q->complained || err == -EINVAL || err == -EFAULT)
		return;
	q->complained = true;
	pr_warn_ratelimited("device %llu: queue %u: the TAP refuses packets, which are dropped: error %d\n",
			    q->vq.dev->id, q->vq.index, err);
}

/*
 * Guest memory faulted for a packet or frame, which is dropped: that may pass, as when the VMM has it
 * replaced. Return: true when it has not for long, and the queue is broken.
 */
bool vhl_net_faulted(struct vhl_net_vq *q)
{
	if (++q->faults < VHL_NET_MAX_FAULTS)
		return false;
	vhl_vq_break(&q->vq, VHL_FAULT_ACCESS);
	return true;
}

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

/* Frames from the guest wait in its ring, where none is lost */
static enum vhl_backlog vhl_net_backlog(struct vhl_vq *vq)
{
	return vq->index == VHL_NET_RX ? vhl_net_rx_backlog(to_net(vq)) : VHL_BACKLOG_SMALL;
}

static int vhl_net_features(struct vhl_dev *dev, u64 *features)
{
	features[0] |= BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) |
		       BIT_ULL(VHOST_NET_F_VIRTIO_NET_HDR) |
		       BIT_ULL(VIRTIO_F_RING_RESET);
	/* the only offloads that the device has a part in: they make the header longer */
	if (vhl_tun_has_tunnels())
		features[1] = BIT_ULL(VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO - 64) |
			      BIT_ULL(VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO - 64);
	return 0;
}

static int vhl_net_poll_start(struct vhl_vq *vq, struct vhl_net_tap *tap)
{
	return vhl_poll_start(&tap->poll, vq, tap->file,
			      vq->index == VHL_NET_RX ? EPOLLIN : EPOLLOUT);
}

static void vhl_net_discard(void *backing)
{
	struct vhl_net_tap *tap = backing;

	if (!tap)
		return;
	vhl_poll_stop(&tap->poll);
	fput(tap->file);
	kfree(tap);
}

/* A TAP that goes away under its file stays safe to use: its socket and ring are the file's. */
static void *vhl_net_prepare(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file)
{
	struct vhl_net_tap *tap;
	int ret;

	tap = kzalloc(sizeof(*tap), GFP_KERNEL_ACCOUNT);
	if (!tap)
		return ERR_PTR(-ENOMEM);
	tap->sock = tun_get_socket(file);
	tap->ring = tun_get_tx_ring(file);
	tap->is_tun = !IS_ERR(tap->sock);
	if (!tap->is_tun) {
		tap->sock = tap_get_socket(file);
		tap->ring = tap_get_ptr_ring(file);
	}
	if (IS_ERR(tap->sock) || IS_ERR(tap->ring)) {
		kfree(tap);
		return ERR_PTR(-ENOTSOCK);
	}
	tap->file = get_file(file);

	/* a queue that goes over to it must not find out then that there is no interface */
	if (vhl_vq_started(vq)) {
		ret = vhl_net_poll_start(vq, tap);
		if (ret) {
			vhl_net_discard(tap);
			return ERR_PTR(ret);
		}
	}
	return tap;
}

/* What a queue knows of its TAP */
static void vhl_net_forget(struct vhl_net_vq *q)
{
	vhl_net_rx_unconsume(q);
	vhl_netdev_count(q);
	vhl_netdev_forget(q);
	atomic_set(&q->dropped, 0);
	q->complained = false;
	q->direct = false;
}

static void *vhl_net_attach(struct vhl_vq *vq, void *backing)
{
	struct vhl_net_vq *q = to_net(vq);
	struct vhl_net_tap *tap = backing, *old = q->tap;

	if (vhl_vq_started(vq))
		vhl_net_forget(q);
	q->tap = tap;
	/* compared by the other queue's worker, and used by whoever wakes this one from a nap */
	WRITE_ONCE(q->sock, tap ? tap->sock : NULL);
	WRITE_ONCE(q->ring, tap ? tap->ring : NULL);
	q->is_tun = tap && tap->is_tun;
	/* who woke it by the new TAP may have seen the old ring */
	if (vhl_vq_started(vq))
		vhl_poll_sync(&tap->poll);
	return old;
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

	if (!q->tap)
		return -ENOTSOCK;

	q->mergeable = vhl_has_feature(vq->dev, VIRTIO_NET_F_MRG_RXBUF);
	q->own_hdr = vhl_has_feature(vq->dev, VHOST_NET_F_VIRTIO_NET_HDR);
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
	q->done = kvmalloc_array(q->done_max, sizeof(*q->done), GFP_KERNEL);
	if (rx) {
		q->packets = kvmalloc_array(VHL_NET_BATCH, sizeof(*q->packets), GFP_KERNEL);
		if (!q->done || !q->packets)
			goto free;
	} else {
		q->frames = kvmalloc_array(VHL_NET_BATCH, sizeof(*q->frames), GFP_KERNEL);
		if (!q->done || !q->frames)
			goto free;
	}
	ret = vhl_net_poll_start(vq, q->tap);
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
			what = q->is_tun ? "tap" : "macvtap";
	}
	seq_puts(m, what);
}

static const struct vhl_ops vhl_net_ops = {
	.features	= vhl_net_features,
	.prepare	= vhl_net_prepare,
	.attach		= vhl_net_attach,
	.discard	= vhl_net_discard,
	.start		= vhl_net_start,
	.stop		= vhl_net_stop,
	.run		= vhl_net_run,
	.pending	= vhl_net_pending,
	.backlog	= vhl_net_backlog,
	.show		= vhl_net_show,
};

static struct vhl_node vhl_net_node = {
	.name		= "vhost-netlite",
	.owner		= THIS_MODULE,
	.ops		= &vhl_net_ops,
	.dialect	= &vhl_dialect_vhost,
	.backend_cmd	= VHOST_NET_SET_BACKEND,
	.device_id	= VIRTIO_ID_NET,
	.num_vqs	= VHL_NET_VQS,
	.dev_size	= sizeof(struct vhl_dev),
	.vq_size	= sizeof(struct vhl_net_vq),
};

static int __init vhl_net_init(void)
{
	int ret = vhl_netdev_init();

	if (ret)
		return ret;
	ret = vhl_node_register(&vhl_net_node);
	if (ret)
		vhl_netdev_exit();
	return ret;
}
module_init(vhl_net_init);

static void __exit vhl_net_exit(void)
{
	vhl_node_unregister(&vhl_net_node);
	vhl_netdev_exit();
}
module_exit(vhl_net_exit);

MODULE_DESCRIPTION("vhost-lite: virtio-net over TAP and macvtap");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
