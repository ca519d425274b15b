// SPDX-License-Identifier: GPL-2.0
/*
 * Counters, in /proc/PID/fdinfo/FD; the format is in the uapi header.
 */
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/vhost_iotlb.h>

#include "internal.h"

static void show_vq(struct seq_file *m, const struct vhl_vq *vq)
{
	const struct vhl_stats *s = &vq->stats;

	seq_printf(m, "vhl-queue:\t%u %s %u", vq->index, vhl_vq_state_name(vq), vq->num);
	seq_printf(m, " kicks=%llu wakes=%llu polls=%llu reqs=%llu in=%llu out=%llu",
		   READ_ONCE(s->kicks), READ_ONCE(s->wakes), READ_ONCE(s->polls),
		   READ_ONCE(s->reqs), READ_ONCE(s->in), READ_ONCE(s->out));
	seq_printf(m, " batches=%llu calls=%llu errors=%llu breaks=%llu",
		   READ_ONCE(s->batches), READ_ONCE(s->calls), READ_ONCE(s->errors),
		   READ_ONCE(s->breaks));
	if (vq->dev->node->ops->show_vq)
		vq->dev->node->ops->show_vq(vq, m);
	seq_putc(m, '\n');
}

/* A process that is dead owns nothing, and its number may be somebody else's by now */
static pid_t owner_nr(const struct vhl_dev *dev, struct pid_namespace *ns)
{
	pid_t nr = 0;

	rcu_read_lock();
	if (pid_task(dev->owner, PIDTYPE_TGID))
		nr = pid_nr_ns(dev->owner, ns);
	rcu_read_unlock();
	return nr;
}

void vhl_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct vhl_dev *dev = file->private_data;
	struct pid_namespace *ns = proc_pid_ns(file_inode(m->file)->i_sb);
	const struct vhl_map_stats *map = &dev->map_stats;
	unsigned int i;

	/* a client may be waiting for a slow disk */
	if (mutex_lock_killable(&dev->mutex))
		return;
	seq_printf(m, "vhl-device:\t%llu\n", dev->id);
	seq_printf(m, "vhl-node:\t%s\n", dev->node->name);
	seq_printf(m, "vhl-owner:\t%d\n", owner_nr(dev, ns));
	if (dev->features[1])
		seq_printf(m, "vhl-features:\t%#llx%016llx\n", dev->features[1], dev->features[0]);
	else
		seq_printf(m, "vhl-features:\t%#llx\n", dev->features[0]);
	seq_printf(m, "vhl-regions:\t%u\n", vhl_mem_regions(&dev->mem));
	seq_printf(m, "vhl-iotlb:\tupdates=%llu invalidates=%llu waits=%llu drains=%llu\n",
		   map->updates, map->invalidates, map->waits, map->drains);
	if (dev->dialect->show)
		dev->dialect->show(dev, m);
	seq_puts(m, "vhl-backing:\t");
	if (dev->node->ops->show)
		dev->node->ops->show(dev, m);
	else
		seq_putc(m, '-');
	seq_putc(m, '\n');
	for (i = 0; i < dev->node->num_vqs; i++)
		if (dev->vqs[i]->ever_started || vhl_vq_in_use(dev->vqs[i]))
			show_vq(m, dev->vqs[i]);
	mutex_unlock(&dev->mutex);
}
