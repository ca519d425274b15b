// SPDX-License-Identifier: GPL-2.0
/*
 * vhost_nullback: a device that takes whatever the driver gives it and answers with zeroes.
 *
 * It is for tests, and the template of a backend: all that one has to write, and why. The core
 * opens the device, speaks the dialect, maps rings and guest memory, and runs the workers; it calls
 * the functions in nullback_ops. Read core/vhl.h next, which says who calls what and which locks
 * are held.
 */
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/vhost.h>

#include "vhl.h"
#include "nullback.h"

/* Chains that are completed together, with one look at whether the driver wants an interrupt */
#define NULLBACK_BATCH		64

/* A turn ends after so many chains or bytes, so that others on the CPU and clients get theirs */
#define NULLBACK_BUDGET		(4 * NULLBACK_BATCH)
#define NULLBACK_BUDGET_BYTES	NULLBACK_IN_MAX

/**
 * struct nullback_vq - a queue: the core's, which comes first, and what the backend needs
 * @vq: the core's
 * @done: completed chains that the driver has not been shown. A turn leaves none
 * @num: how many
 * @count: what they add to the counters
 *
 * All of it is the worker's, which holds vq.mutex in ->run().
 */
struct nullback_vq {
	struct vhl_vq vq;
	struct vhl_done done[NULLBACK_BATCH];
	unsigned int num;
	struct vhl_count count;
};

static struct nullback_vq *to_nullback(struct vhl_vq *vq)
{
	return container_of(vq, struct nullback_vq, vq);
}

static void nullback_publish(struct nullback_vq *q)
{
	if (!q->num)
		return;
	vhl_vq_complete(&q->vq, q->done, q->num, &q->count);
	q->num = 0;
	q->count = (struct vhl_count){};
}

/* Fill the device-writable part with zeroes. Guest memory is the owner's, whose thread this is */
static bool nullback_answer(const struct vhl_chain *chain)
{
	struct iov_iter iter;

	iov_iter_init(&iter, ITER_DEST, chain->iov + chain->out_num, chain->in_num, chain->in_len);
	return iov_iter_zero(chain->in_len, &iter) == chain->in_len;
}

/*
 * A turn. It says why it ends: the budget is used up (another turn follows soon), the ring is empty
 * (the driver kicks), or the backend is full (it calls vhl_vq_kick() later; this one never is).
 */
static enum vhl_run nullback_run(struct vhl_vq *vq)
{
	struct nullback_vq *q = to_nullback(vq);
	enum vhl_run run = VHL_RUN_MORE;
	struct vhl_chain chain;
	unsigned int n;
	u64 bytes = 0;
	u32 mark;
	int ret;

	for (n = 0; n < NULLBACK_BUDGET && bytes < NULLBACK_BUDGET_BYTES; n++) {
		/* where to go back to with a chain that will not be completed */
		mark = vhl_vq_mark(vq);
		ret = vhl_vq_take(vq, &chain);
		if (ret <= 0) {
			/* 0: no chain; less: a bad ring, which the core has broken, or no memory */
			if (!ret)
				run = VHL_RUN_RING;
			break;
		}
		/* no request of this device: the queue breaks, others go on */
		if (!chain.in_len || chain.in_len > NULLBACK_IN_MAX) {
			vhl_vq_reject(vq, mark, VHL_FAULT_REQUEST);
			break;
		}
		if (!nullback_answer(&chain)) {
			vhl_vq_reject(vq, mark, VHL_FAULT_ACCESS);
			break;
		}
		q->done[q->num++] = (struct vhl_done){ .id = chain.id, .len = chain.in_len };
		q->count.reqs++;
		bytes += chain.in_len;
		q->count.in += chain.in_len;
		q->count.out += chain.out_len;
		if (q->num == NULLBACK_BATCH)
			nullback_publish(q);
	}
	/* also of a queue that broke: its other chains are done */
	nullback_publish(q);
	return run;
}

/* The ring's feature bits are offered by the core; these are the device type's own */
static int nullback_features(struct vhl_dev *dev, u64 *features)
{
	features[0] |= BIT_ULL(NULLBACK_F_ZEROES);
	return 0;
}

/*
 * A request of this backend alone. Most have something to attach, a file say, and fill prepare(),
 * attach(), discard() and the node's backend_cmd instead: each queue starts with what is attached.
 */
static long nullback_ioctl(struct vhl_dev *dev, unsigned int cmd, void __user *argp)
{
	int on;

	if (cmd != NULLBACK_SET_RUNNING)
		return -ENOIOCTLCMD;
	if (get_user(on, (int __user *)argp))
		return -EFAULT;
	/* refuses any but the owner; whatever else only the owner may do asks vhl_is_owner() */
	if (on)
		return vhl_vqs_start(dev);
	vhl_vqs_stop(dev);
	return 0;
}

static void nullback_show(struct vhl_dev *dev, struct seq_file *m)
{
	seq_puts(m, "zeroes");
}

static const struct vhl_ops nullback_ops = {
	.features	= nullback_features,
	.run		= nullback_run,
	.ioctl		= nullback_ioctl,
	.show		= nullback_show,
};

static struct vhl_node nullback_node = {
	.name		= "vhost-nullback",
	.owner		= THIS_MODULE,
	.ops		= &nullback_ops,
	.dialect	= &vhl_dialect_vhost,
	.num_vqs	= NULLBACK_QUEUES,
	.dev_size	= sizeof(struct vhl_dev),
	.vq_size	= sizeof(struct nullback_vq),
};

static int __init nullback_init(void)
{
	return vhl_node_register(&nullback_node);
}
module_init(nullback_init);

static void __exit nullback_exit(void)
{
	vhl_node_unregister(&nullback_node);
}
module_exit(nullback_exit);

MODULE_DESCRIPTION("vhost-lite: a backend that answers with zeroes, for tests");
MODULE_LICENSE("GPL");
