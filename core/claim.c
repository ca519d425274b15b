// SPDX-License-Identifier: GPL-2.0
/*
 * Claims: which regions the chains in flight of a queue use.
 *
 * Where a guest has an IOMMU, pieces of its memory go all the time, and each time it has to be
 * known whether a chain in flight is still at one of them. So each chain that is taken counts in
 * the regions where its segments are (vhl_region_users()), until it is completed or given back.
 *
 * Most queues never need that: it costs something for each segment, and the counters are shared
 * by the queues of a device. Claims begin when for the first time a part of the map goes while
 * the queue has something in flight (umem.c), and end when it stops. A backend that completes all
 * that it takes in the same turn never has any.
 */
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "internal.h"

/* A chain of the size that drivers mostly make needs no more memory the next time */
#define VHL_CLAIM_MIN	16U

/**
 * struct vhl_claim - what a chain in flight uses
 * @region: each once in a row, in which it is counted
 * @num: how many; 0 where the chain is not in flight. Set by the taking side, cleared by the one
 *	 that completes the chain, before the driver can make its id available again
 * @max: how many there is room for
 */
struct vhl_claim {
	const struct vhost_iotlb_map **region;
	unsigned int num;
	unsigned int max;
};

/**
 * struct vhl_claims - those of a queue
 * @mask: one less than a power of two that is no smaller than the ring
 * @taken: ids of the chains in flight, by the low bits of the position behind them: to find those
 *	   that are given back
 * @chain: by id
 */
struct vhl_claims {
	u16 mask;
	u16 *taken;
	struct vhl_claim chain[];
};

static void claims_free(struct vhl_claims *claims)
{
	unsigned int i;

	if (!claims)
		return;
	for (i = 0; i <= claims->mask; i++)
		kfree(claims->chain[i].region);
	kvfree(claims->taken);
	kvfree(claims);
}

int vhl_claims_begin(struct vhl_vq *vq)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
	unsigned int num = roundup_pow_of_two(vhl_vq_size(vq));
	struct vhl_claims *claims;

	lockdep_assert_held(&vq->mutex);

	claims = kvzalloc(struct_size(claims, chain, num), gfp);
	if (!claims)
		return -ENOMEM;
	claims->mask = num - 1;
	claims->taken = kvmalloc_array(num, sizeof(*claims->taken), gfp);
	if (!claims->taken || vhl_segs_add_regions(&vq->segs)) {
		claims_free(claims);
		return -ENOMEM;
	}
	vhl_ring_set_segs(vq->ring, &vq->segs);
	spin_lock_irq(&vq->used_lock);
	vq->claims = claims;
	spin_unlock_irq(&vq->used_lock);
	return 0;
}

void vhl_claims_end(struct vhl_vq *vq)
{
	lockdep_assert_held(&vq->mutex);

	claims_free(vq->claims);
	vq->claims = NULL;
}

/* A waiter adds itself, then looks at counters: the last user of a region sees it, or is seen */
static void claim_drop(struct vhl_dev *dev, struct vhl_claim *claim)
{
	bool last = false;
	unsigned int i;

	for (i = 0; i < claim->num; i++)
		/* fully ordered: behind all uses of the memory, before the look at waiters */
		if (atomic_long_dec_and_test(vhl_region_users(claim->region[i])))
			last = true;
	WRITE_ONCE(claim->num, 0);
	/* no barrier but that */
	if (last && unlikely(waitqueue_active(&dev->unclaimed)))
		wake_up(&dev->unclaimed);
}

static bool claim_has_room(struct vhl_claim *claim, unsigned int segs)
{
	unsigned int max = roundup_pow_of_two(max(segs, VHL_CLAIM_MIN));

	if (likely(segs <= claim->max))
		return true;
	kfree(claim->region);
	claim->region = kmalloc_array(max, sizeof(*claim->region),
				      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	claim->max = claim->region ? max : 0;
	return claim->region;
}

int vhl_claim(struct vhl_vq *vq, const struct vhl_chain *chain)
{
	struct vhl_claims *claims = vq->claims;
	struct vhl_claim *claim = &claims->chain[chain->id];
	unsigned int segs = chain->out_num + chain->in_num, i;
	const struct vhost_iotlb_map *last = NULL;

	lockdep_assert_held(&vq->mutex);

	/* the driver has not got this id back: the claim is another chain's */
	if (unlikely(READ_ONCE(claim->num)))
		return -EBUSY;
	if (unlikely(!claim_has_room(claim, segs)))
		return -ENOMEM;
	for (i = 0; i < segs; i++) {
		const struct vhost_iotlb_map *region = vq->segs.region[i];

		if (region == last)
			continue;
		last = region;
		atomic_long_inc(vhl_region_users(region));
		claim->region[claim->num++] = region;
	}
	claims->taken[vhl_vq_mark(vq) & claims->mask] = chain->id;
	return 0;
}

void vhl_claims_drop(struct vhl_vq *vq, const struct vhl_done *done, unsigned int n)
{
	lockdep_assert_held(&vq->used_lock);

	while (n--)
		claim_drop(vq->dev, &vq->claims->chain[done++->id]);
}

void vhl_claims_rewind(struct vhl_vq *vq, u32 mark)
{
	struct vhl_claims *claims = vq->claims;
	u16 pos = vhl_vq_mark(vq), n;

	lockdep_assert_held(&vq->mutex);

	for (n = vhl_ring_taken(vq->ring, mark); n; n--)
		claim_drop(vq->dev, &claims->chain[claims->taken[pos-- & claims->mask]]);
}
