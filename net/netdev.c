// SPDX-License-Identifier: GPL-2.0
/*
 * The network device of a TAP, whose counters are ours to keep for the packets that the TAP does
 * not copy itself.
 *
 * Nothing tells which device a file belongs to but the packets that come out of it, and one that
 * waits may outlive the device that it was sent to: what skb->dev points to is only ever compared.
 * It is used once it was found among the devices that exist, until that one goes.
 */
#include <linux/netdevice.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <net/net_namespace.h>
#include <net/rtnetlink.h>

#include "net.h"

/* All queues that have a netdev, which is set and cleared under the lock */
static DEFINE_SPINLOCK(vhl_net_users_lock);
static LIST_HEAD(vhl_net_users);

static bool vhl_netdev_exists(const struct net_device *wanted)
{
	struct net_device *dev;
	struct net *net;

	ASSERT_RTNL();

	for_each_net_rcu(net) {
		for_each_netdev_rcu(net, dev) {
			if (dev == wanted)
				return dev->rtnl_link_ops &&
				       !strcmp(dev->rtnl_link_ops->kind, "tun");
		}
	}
	return false;
}

/* Under RTNL a device that exists goes later, and is said to. Not waited for: more packets come. */
void vhl_netdev_find(struct vhl_net_vq *q, struct net_device *dev)
{
	bool exists;

	if (!rtnl_trylock())
		return;
	rcu_read_lock();
	exists = vhl_netdev_exists(dev);
	rcu_read_unlock();
	/* what was counted so far is the other device's */
	vhl_netdev_count(q);
	vhl_netdev_forget(q);
	if (exists) {
		spin_lock(&vhl_net_users_lock);
		rcu_assign_pointer(q->netdev, dev);
		list_add(&q->netdev_users, &vhl_net_users);
		spin_unlock(&vhl_net_users_lock);
	}
	rtnl_unlock();
}

void vhl_netdev_forget(struct vhl_net_vq *q)
{
	spin_lock(&vhl_net_users_lock);
	if (rcu_access_pointer(q->netdev)) {
		list_del(&q->netdev_users);
		RCU_INIT_POINTER(q->netdev, NULL);
	}
	spin_unlock(&vhl_net_users_lock);
}

void vhl_netdev_count(struct vhl_net_vq *q)
{
	struct net_device *dev;

	if (!q->counted)
		return;
	rcu_read_lock();
	dev = rcu_dereference(q->netdev);
	if (dev) {
		preempt_disable();
		dev_sw_netstats_tx_add(dev, q->counted, q->counted_bytes);
		preempt_enable();
	}
	rcu_read_unlock();
	q->counted = 0;
	q->counted_bytes = 0;
}

/* Whoever sees the device after this is waited for before it is freed */
static int vhl_netdev_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct vhl_net_vq *q, *next;

	if (event != NETDEV_UNREGISTER)
		return NOTIFY_DONE;
	spin_lock(&vhl_net_users_lock);
	list_for_each_entry_safe(q, next, &vhl_net_users, netdev_users) {
		if (rcu_access_pointer(q->netdev) != dev)
			continue;
		list_del(&q->netdev_users);
		RCU_INIT_POINTER(q->netdev, NULL);
	}
	spin_unlock(&vhl_net_users_lock);
	return NOTIFY_DONE;
}

static struct notifier_block vhl_netdev_notifier = {
	.notifier_call = vhl_netdev_event,
};

int __init vhl_netdev_init(void)
{
	return register_netdevice_notifier(&vhl_netdev_notifier);
}

void vhl_netdev_exit(void)
{
	unregister_netdevice_notifier(&vhl_netdev_notifier);
}
