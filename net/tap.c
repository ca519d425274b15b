// SPDX-License-Identifier: GPL-2.0
/*
 * The file of a TAP or macvtap queue, or of a packet socket.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/if_tap.h>
#include <linux/if_tun.h>
#include <linux/kernel.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "net.h"

int vhl_tap_poll(struct vhl_vq *vq, struct vhl_net_tap *tap)
{
	/* a TAP without an interface cannot be waited for; a packet socket can */
	if (!tap->ring && !vhl_packet_is_bound(tap->sock))
		return -EINVAL;
	return vhl_poll_start(&tap->poll, vq, tap->file,
			      vq->index == VHL_NET_RX ? EPOLLIN : EPOLLOUT);
}

void vhl_tap_discard(void *backing)
{
	struct vhl_net_tap *tap = backing;

	if (!tap)
		return;
	vhl_poll_stop(&tap->poll);
	fput(tap->file);
	kfree(tap);
}

/* The name of its device is what a TAP tells of it, to those who read its fdinfo. */
static void vhl_tap_name(struct vhl_net_tap *tap, struct file *file)
{
	char line[sizeof("iff:\t\n") + IFNAMSIZ] = "";
	struct seq_file m = { .buf = line, .size = sizeof(line) - 1 };

	if (file->f_op->show_fdinfo)
		file->f_op->show_fdinfo(&m, file);
	if (sscanf(line, "iff: %15s", tap->ifname) != 1)
		tap->ifname[0] = '\0';
}

/* A TAP that goes away under its file stays safe to use: its socket and ring are the file's. */
void *vhl_tap_prepare(struct vhl_dev *dev, struct vhl_vq *vq, struct file *file)
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
	if (IS_ERR(tap->sock)) {
		tap->sock = vhl_packet_get_socket(file);
		tap->ring = NULL;
	}
	if (IS_ERR(tap->sock) || IS_ERR(tap->ring)) {
		kfree(tap);
		return ERR_PTR(-ENOTSOCK);
	}
	tap->file = get_file(file);
	if (tap->is_tun)
		vhl_tap_name(tap, file);

	/* a queue that goes over to it must not find out then that there is no interface */
	if (vhl_vq_started(vq)) {
		ret = vhl_tap_poll(vq, tap);
		if (ret) {
			vhl_tap_discard(tap);
			return ERR_PTR(ret);
		}
	}
	return tap;
}
