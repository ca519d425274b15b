// SPDX-License-Identifier: GPL-2.0
/*
 * The network device of a TAP or macvtap, whose counters are ours to keep for the packets that the
 * TAP does not copy itself, and for those that are dropped here.
 *
 * What tells which device a file belongs to are the packets that come out of it, and one that
 * waits may outlive the device that it was sent to: what skb->dev points to is only ever compared.
 * It is used once it was found among the devices that exist, until that one goes. Frames from the
 * guest that are dropped before that wait to be counted. Frames of XDP say nothing; where there are
 * no others, the device is the TAP that has the name which the file's had.
 */
#include <linux/netdevice.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <net/net_namespace.h>
#include <net/rtnetlink.h>
#include <net/sock.h>

#include "net.h"

/* All queues that have a netdev, which is set and cleared under the lock */
static DEFINE_SPINLOCK(vhl_net_users_lock);
static LIST_HEAD(vhl_net_users);

static bool vhl_netdev_is_kind(const struct net_device *dev, bool is_tun)
{
	const struct rtnl_link_ops *ops = dev->rtnl_link_ops;

	if (!ops)
		return false;
	if (is_tun)
		return !strcmp(ops->kind, "tun");
	return !strcmp(ops->kind, "macvtap") || !strcmp(ops->kind, "ipvtap");
}

static bool vhl_netdev_exists(const struct net_device *wanted, bool is_tun)
{
	struct net_device *dev;
	struct net *net;

	ASSERT_RTNL();

	for_each_net_rcu(net) {
		for_each_netdev_rcu(net, dev) {
			if (dev == wanted)
				return vhl_netdev_is_kind(dev, is_tun);
		}
	}
	return false;
}

/*
 * The queue that knows the device: only packets to the guest tell of one. A client may give each
 * direction a TAP of its own, at any time: the socket is only compared.
 */
static struct vhl_net_vq *vhl_netdev_knower(struct vhl_net_vq *q)
{
	struct vhl_net_vq *rx = to_net(q->vq.dev->vqs[VHL_NET_RX]);

	return READ_ONCE(rx->sock) == q->sock ? rx : q;
}

/* What goes to the guest a TAP sends, and a macvtap receives. The kernel counts one at a time. */
static void vhl_netdev_count_dropped(struct vhl_net_vq *q, struct net_device *dev)
{
	bool sends = (q->vq.index == VHL_NET_RX) == q->is_tun;
	unsigned int i;

	/* more are there only of a time in which the device was not known */
	for (i = 0; i < VHL_NET_BUDGET_CHAINS && atomic_dec_if_positive(&q->dropped) >= 0; i++) {
		if (sends)
			dev_core_stats_tx_dropped_inc(dev);
		else
			dev_core_stats_rx_dropped_inc(dev);
	}
}

/* From now on the queue's is @dev, which exists */
static void vhl_netdev_use(struct vhl_net_vq *q, struct net_device *dev)
{
	struct vhl_net_vq *tx = to_net(q->vq.dev->vqs[VHL_NET_TX]);

	ASSERT_RTNL();

	spin_lock(&vhl_net_users_lock);
	rcu_assign_pointer(q->netdev, dev);
	list_add(&q->netdev_users, &vhl_net_users);
	spin_unlock(&vhl_net_users_lock);
	/* it may have nothing to say for a long time */
	if (vhl_netdev_knower(tx) == q)
		vhl_netdev_count_dropped(tx, dev);
}

/* Under RTNL a device that exists goes later, and is said to. Not waited for: more packets come. */
void vhl_netdev_find(struct vhl_net_vq *q, struct net_device *dev)
{
	bool exists;

	if (!rtnl_trylock())
		return;
	rcu_read_lock();
	exists = vhl_netdev_exists(dev, q->is_tun);
	rcu_read_unlock();
	/* what was counted so far is the other device's */
	vhl_netdev_count(q);
	vhl_netdev_forget(q);
	if (exists)
		vhl_netdev_use(q, dev);
	rtnl_unlock();
}

/*
 * The TAP of that name in the namespace of the file, where it was when the file became one of its
 * queues; else the only one of that name, wherever it went; NULL where there are several
 */
static struct net_device *vhl_netdev_named(const char *name, struct net *home)
{
	struct net_device *dev, *found = NULL;
	struct net *net;

	ASSERT_RTNL();

	dev = dev_get_by_name_rcu(home, name);
	if (dev && vhl_netdev_is_kind(dev, true))
		return dev;
	for_each_net_rcu(net) {
		dev = dev_get_by_name_rcu(net, name);
		if (!dev || !vhl_netdev_is_kind(dev, true))
			continue;
		if (found)
			return NULL;
		found = dev;
	}
	return found;
}

/* For a queue whose device no packet has told of. Once: names may be those of others later */
void vhl_netdev_find_named(struct vhl_net_vq *q)
{
	struct net_device *dev;

	if (q->searched || !q->tap->ifname[0] || rcu_access_pointer(q->netdev) || !rtnl_trylock())
		return;
	q->searched = true;
	rcu_read_lock();
	dev = vhl_netdev_named(q->tap->ifname, sock_net(q->sock->sk));
	rcu_read_unlock();
	if (dev)
		vhl_netdev_use(q, dev);
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

	if (!q->counted && !atomic_read(&q->dropped))
		return;
	rcu_read_lock();
	dev = rcu_dereference(vhl_netdev_knower(q)->netdev);
	if (dev) {
		if (q->counted) {
			preempt_disable();
			dev_sw_netstats_tx_add(dev, q->counted, q->counted_bytes);
			preempt_enable();
		}
		vhl_netdev_count_dropped(q, dev);
	}
	rcu_read_unlock();
	q->counted = 0;
	q->counted_bytes = 0;
}

/* Readers that see the device after this are waited for before it is freed */
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
