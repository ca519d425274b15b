// SPDX-License-Identifier: GPL-2.0
/*
 * What both directions share: completions, faults of guest memory, a line in the log.
 */
#include "net.h"

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
	pr_warn_ratelimited("device %llu: queue %u: the %s refuses packets, which are dropped: error %d\n",
			    q->vq.dev->id, q->vq.index, q->ring ? "TAP" : "packet socket", err);
}

/*
 * Guest memory faulted for a packet or frame, which is dropped: that may pass, as when the VMM has
 * it replaced. Return: true when it has not for long: its chains, from @mark on, are given back and
 * the queue is broken.
 */
bool vhl_net_faulted(struct vhl_net_vq *q, u32 mark)
{
	if (++q->faults < VHL_NET_MAX_FAULTS)
		return false;
	vhl_vq_reject(&q->vq, mark, VHL_FAULT_ACCESS);
	return true;
}
