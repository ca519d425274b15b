// SPDX-License-Identifier: GPL-2.0
/*
 * How long a queue naps, found by trial; see moderation.h.
 */
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "moderation.h"

/* Sleeps of an epoch without naps, and naps of one with: enough for a mean, soon over */
#define MOD_SLEEPS		16
#define MOD_NAPS		8

/*
 * And where they seem to make chains slower: the chains of one nap more or less are chance, and so
 * is what an epoch differs from the next one by. Few of them say so only if there is more to it
 */
#define MOD_SURE		64

/* A sleep of so many longest naps is a pause, which says nothing of a stream, and is left out */
#define MOD_PAUSE		8

/* Chains in the time of a nap that are enough: twice as many would save next to nothing */
#define MOD_ENOUGH_CHAINS	64

/* Too many: a stream that became faster would fill a queue that is not endless */
#define MOD_TOO_MANY		256

/* And of a sleep, with which there is nothing to save at all */
#define MOD_PLENTY		512

/* A device that rests for less than this part of the time is what is slow: naps gain nothing */
#define MOD_BUSY		4

/* The shortest nap: a timer and two switches take some microseconds themselves */
#define MOD_MIN_NS		5000

/* What naps are to save is counted per so many chains */
#define MOD_PER			65536

/* And a notification as so many timers that end a nap: it costs the driver an exit, too */
#define MOD_NOTE_COST		2

/* Epochs without a stream from one peek to the next: at first, and at most */
#define MOD_PEEK_MIN		4
#define MOD_PEEK_MAX		256

/* A reference fades by this part with each epoch: to a quarter in 32 of them */
#define MOD_FADE		24

/* Epochs of a rest: the first one, twice as many each time, and after a loss */
#define MOD_REST_MIN		2
#define MOD_REST_MAX		64
#define MOD_REST_LOST		240

/* Epochs differ by so much, in 1/1024, until it is known better */
#define MOD_NOISE		512

/* What an epoch says of naps */
enum mod_verdict {
	/* of one without them */
	MOD_QUIET,		/* there is no stream, or nothing to save */
	MOD_HIDDEN,		/* perhaps there is one, which a call for each chain hides */
	MOD_STREAM,		/* there is: several chains at a time, or one upon the other */
	/* of one with them, or of one without, compared with the one before it */
	MOD_IDLE,		/* they leave the CPU idle */
	MOD_UNSURE,		/* they may make chains slower: the epoch goes on */
	MOD_SLOWER,		/* a chain takes noticeably longer with them */
	MOD_SAME,		/* it does not, nor does it cost less */
	MOD_BETTER,		/* it costs less, and takes no longer */
	MOD_ENOUGH,		/* likewise, and longer naps cannot save much more */
	MOD_FLOOD,		/* too many chains come up in one */
	MOD_OTHER,		/* much faster or slower: this is another stream */
	MOD_VERDICTS
};

/* What becomes of the length, and of the reference: the figures of the epoch, unless said so */
enum mod_action {
	TAKE,			/* the same length */
	FORGET,			/* none */
	FORGET_PEEK,		/* likewise; it is some time to the next peek */
	FIRST,			/* the one that was found, or else a first guess */
	LONGER,			/* twice; the reference becomes a mean if that is faster */
	KEEP,			/* the same; the reference stays as it is */
	LONGER_STILL,		/* twice; likewise */
	SHORTER,		/* half; likewise */
	BORNE_OUT,		/* the same; the reference becomes a mean, and fades */
	DOUBT,			/* the same; the reference becomes a mean */
	REST_SHORTER,		/* a rest, then a quarter */
	REST_LONGER,		/* a rest, then four times */
};

struct mod_step {
	enum vhl_mod_state next;
	enum mod_action action;
};

/* What is not listed does not occur */
static const struct mod_step mod_steps[VHL_MOD_STATES][MOD_VERDICTS] = {
	[VHL_MOD_PLAIN] = {
		[MOD_QUIET]	= { VHL_MOD_PLAIN,	FORGET },
		[MOD_HIDDEN]	= { VHL_MOD_PEEK,	FIRST },
		[MOD_STREAM]	= { VHL_MOD_TRY,	FIRST },
		[MOD_OTHER]	= { VHL_MOD_PLAIN,	TAKE },
	},
	[VHL_MOD_PEEK] = {
		[MOD_QUIET]	= { VHL_MOD_PLAIN,	FORGET_PEEK },
		[MOD_STREAM]	= { VHL_MOD_TRY,	KEEP },
	},
	[VHL_MOD_TRY] = {
		[MOD_IDLE]	= { VHL_MOD_REST,	REST_SHORTER },
		[MOD_SLOWER]	= { VHL_MOD_PROBE,	TAKE },
		[MOD_SAME]	= { VHL_MOD_REST,	REST_LONGER },
		[MOD_BETTER]	= { VHL_MOD_GROW,	LONGER },
		[MOD_ENOUGH]	= { VHL_MOD_HOLD,	TAKE },
		[MOD_FLOOD]	= { VHL_MOD_HOLD,	SHORTER },
	},
	[VHL_MOD_GROW] = {
		[MOD_IDLE]	= { VHL_MOD_HOLD,	SHORTER },
		[MOD_SLOWER]	= { VHL_MOD_HOLD,	SHORTER },
		[MOD_SAME]	= { VHL_MOD_HOLD,	SHORTER },
		[MOD_BETTER]	= { VHL_MOD_GROW,	LONGER },
		[MOD_ENOUGH]	= { VHL_MOD_HOLD,	TAKE },
		[MOD_FLOOD]	= { VHL_MOD_HOLD,	SHORTER },
	},
	[VHL_MOD_HOLD] = {
		[MOD_IDLE]	= { VHL_MOD_REST,	REST_SHORTER },
		[MOD_SLOWER]	= { VHL_MOD_PROBE,	DOUBT },
		[MOD_SAME]	= { VHL_MOD_PROBE,	DOUBT },
		[MOD_BETTER]	= { VHL_MOD_HOLD,	BORNE_OUT },
		[MOD_FLOOD]	= { VHL_MOD_HOLD,	SHORTER },
		[MOD_OTHER]	= { VHL_MOD_PROBE,	TAKE },
	},
	[VHL_MOD_PROBE] = {
		[MOD_SLOWER]	= { VHL_MOD_REST,	REST_SHORTER },
		[MOD_SAME]	= { VHL_MOD_REST,	REST_LONGER },
		[MOD_BETTER]	= { VHL_MOD_GROW,	LONGER_STILL },
		[MOD_ENOUGH]	= { VHL_MOD_HOLD,	KEEP },
		[MOD_OTHER]	= { VHL_MOD_PLAIN,	TAKE },
	},
	[VHL_MOD_REST] = {
		[MOD_QUIET]	= { VHL_MOD_PLAIN,	TAKE },
		[MOD_HIDDEN]	= { VHL_MOD_PLAIN,	TAKE },
		[MOD_STREAM]	= { VHL_MOD_PLAIN,	TAKE },
		[MOD_OTHER]	= { VHL_MOD_PLAIN,	TAKE },
	},
};

/* What an epoch measured */
struct mod_epoch {
	u64 lasted;		/* ns */
	u64 ns;			/* per chain */
	u32 cost;		/* of notifications and naps, per MOD_PER chains */
};

void vhl_moderation_init(struct vhl_moderation *mod)
{
	memset(mod, 0, sizeof(*mod));
	mod->state = VHL_MOD_PLAIN;
	mod->backoff = MOD_REST_MIN / 2;
	mod->noise = MOD_NOISE;
	mod->peek = MOD_PEEK_MIN;
}

static bool mod_naps(enum vhl_mod_state state)
{
	return state == VHL_MOD_PEEK || state == VHL_MOD_TRY || state == VHL_MOD_GROW ||
	       state == VHL_MOD_HOLD;
}

u64 vhl_moderation_nap(const struct vhl_moderation *mod)
{
	/* a peek is a single one */
	if (mod->state == VHL_MOD_PEEK && mod->sleeps)
		return 0;
	return mod_naps(mod->state) ? mod->nap : 0;
}

/* The epoch begins with the next sleep: the one that begins now may be of the other kind still */
static void mod_enter(struct vhl_moderation *mod, enum vhl_mod_state state)
{
	mod->state = state;
	mod->began = 0;
}

void vhl_moderation_wake(struct vhl_moderation *mod, u64 slept, enum vhl_woke woke, u64 max)
{
	if (!mod->began)
		return;
	if (slept <= MOD_PAUSE * max)
		mod->asleep += slept;
	else if (mod->state != VHL_MOD_PLAIN)
		mod->began += slept;
	else
		mod->began = 0;

	if (!mod_naps(mod->state) || woke != VHL_WOKE_KICK)
		mod->sleeps++;
	else if (!mod->sleeps)
		/* an epoch with naps begins with one, however seldom they are */
		mod->began = 0;
	if (woke == VHL_WOKE_IDLE)
		mod->idle++;
}

/* Noticeably; where the machine is noisy that takes more, up to a quarter */
static bool mod_slower(const struct vhl_moderation *mod, u64 ns, u64 than)
{
	return ns > than + clamp_t(u64, than * mod->noise / 1024, than / 32, than / 4);
}

/* The same of an epoch that has @ns a chain, or of one to compare it with */
static enum mod_verdict mod_compare(const struct vhl_moderation *mod, u64 ns, u64 than)
{
	u32 chance;

	if (!mod_slower(mod, ns, than))
		return MOD_SAME;
	chance = (1024 + mod->noise * MOD_NAPS) / (mod->sleeps + 1);
	if (mod->sleeps >= MOD_SURE || mod_slower(mod, ns - ns * min(chance, 1024u) / 1024, than))
		return MOD_SLOWER;
	return MOD_UNSURE;
}

static bool mod_cheaper(u32 cost, u32 than)
{
	return cost < than - than / 8;
}

/* Longer naps cannot save much more, with @ns a chain, or are not allowed */
static bool mod_is_enough(const struct vhl_moderation *mod, u64 ns, u64 max)
{
	return mod->nap >= MOD_ENOUGH_CHAINS * ns || mod->nap * 2 > max;
}

/* By how much an epoch differs from the last one of its kind, unless it is another stream */
static void mod_measure_noise(struct vhl_moderation *mod, u64 ns)
{
	u64 more = max(ns, mod->ref_ns), less = min(ns, mod->ref_ns);

	if (less && more / 8 < less)
		mod->noise = (3 * mod->noise + div64_u64((more - less) * 1024, more)) / 4;
}

/*
 * A driver that waits for each request shows none of the signs, and is left alone. But with a CPU
 * of its own one that does not wait looks alike, if it is called for each chain before it can make
 * the next: only a peek can tell. So there is one now and then, of a single nap.
 */
static enum mod_verdict mod_judge_plain(const struct vhl_moderation *mod, const struct mod_epoch *e)
{
	/* so slow by accident, or is it another stream? The next epoch will tell */
	if (mod->ref_ns && e->ns / 2 > mod->ref_ns)
		return MOD_OTHER;
	if (mod->chains >= MOD_PLENTY * MOD_SLEEPS)
		return MOD_QUIET;
	if (mod->apart && mod->asleep < e->lasted / MOD_BUSY)
		return MOD_QUIET;
	if (mod->chains > MOD_SLEEPS + MOD_SLEEPS / 8)
		return MOD_STREAM;
	if (!mod->apart)
		return mod->asleep < e->lasted / 2 ? MOD_STREAM : MOD_QUIET;
	return mod->quiet >= mod->peek ? MOD_HIDDEN : MOD_QUIET;
}

/* Would the driver have waited, there was one chain at most, however long the nap */
static enum mod_verdict mod_judge_peek(const struct vhl_moderation *mod)
{
	return mod->chains > 1 ? MOD_STREAM : MOD_QUIET;
}

/* The reference is the epoch with naps that this one without is to confirm */
static enum mod_verdict mod_judge_probe(const struct vhl_moderation *mod, const struct mod_epoch *e,
					u64 max)
{
	enum mod_verdict verdict;

	/* naps may well make it twice as fast */
	if (e->ns / 4 > mod->ref_ns)
		return MOD_OTHER;
	verdict = mod_compare(mod, mod->ref_ns, e->ns);
	if (verdict != MOD_SAME)
		return verdict;
	if (!mod_cheaper(mod->ref_cost, e->cost))
		return MOD_SAME;
	return mod_is_enough(mod, mod->ref_ns, max) ? MOD_ENOUGH : MOD_BETTER;
}

/* What was found to pay is doubted only with good reason, or after a while */
static enum mod_verdict mod_judge_held(const struct vhl_moderation *mod, const struct mod_epoch *e)
{
	if (e->ns < mod->ref_ns / 4)
		return MOD_OTHER;
	if (e->ns > mod->ref_ns + mod->ref_ns / 2)
		return MOD_SLOWER;
	return e->cost / 4 > mod->ref_cost ? MOD_SAME : MOD_BETTER;
}

static enum mod_verdict mod_judge_naps(const struct vhl_moderation *mod, const struct mod_epoch *e,
				       u64 max)
{
	enum mod_verdict verdict;

	if (mod->idle > mod->sleeps / 2)
		return MOD_IDLE;
	if (mod->nap / 2 >= max_t(u64, MOD_TOO_MANY / 2 * e->ns, MOD_MIN_NS))
		return MOD_FLOOD;
	if (mod->state == VHL_MOD_HOLD)
		return mod_judge_held(mod, e);
	verdict = mod_compare(mod, e->ns, mod->ref_ns);
	if (verdict != MOD_SAME)
		return verdict;
	if (!mod_cheaper(e->cost, mod->ref_cost))
		return MOD_SAME;
	return mod_is_enough(mod, e->ns, max) ? MOD_ENOUGH : MOD_BETTER;
}

static enum mod_verdict mod_judge(const struct vhl_moderation *mod, const struct mod_epoch *e,
				  u64 max)
{
	if (mod->state == VHL_MOD_PEEK)
		return mod_judge_peek(mod);
	if (mod_naps(mod->state))
		return mod_judge_naps(mod, e, max);
	if (mod->state == VHL_MOD_PROBE)
		return mod_judge_probe(mod, e, max);
	return mod_judge_plain(mod, e);
}

/* For twice as many chains as in a sleep, or as many as are enough */
static u64 mod_first_nap(const struct vhl_moderation *mod, const struct mod_epoch *e, u64 max)
{
	return clamp_t(u64, min(2 * mod->asleep / MOD_SLEEPS, MOD_ENOUGH_CHAINS * e->ns),
		       MOD_MIN_NS, max);
}

static void mod_back_off(struct vhl_moderation *mod)
{
	mod->backoff = min_t(u32, mod->backoff * 2, MOD_REST_MAX);
}

static void mod_act(struct vhl_moderation *mod, enum mod_action action, const struct mod_epoch *e,
		    u64 max)
{
	switch (action) {
	case TAKE:
		break;
	case FORGET:
		mod->nap = 0;
		mod->quiet++;
		break;
	case FORGET_PEEK:
		mod->nap = 0;
		mod->peek = min_t(u32, mod->peek * 2, MOD_PEEK_MAX);
		return;
	case FIRST:
		mod->nap = mod->nap ?: mod_first_nap(mod, e, max);
		mod->quiet = 0;
		break;
	case LONGER:
		mod->nap *= 2;
		/* a short epoch is fast by luck, too; and what is lost with each step adds up */
		mod->ref_ns = min(mod->ref_ns, (mod->ref_ns + e->ns) / 2);
		mod->ref_cost = e->cost;
		return;
	case KEEP:
		return;
	case LONGER_STILL:
		mod->nap *= 2;
		return;
	case SHORTER:
		mod->nap /= 2;
		return;
	case BORNE_OUT:
		mod->ref_ns = (7 * mod->ref_ns + e->ns) / 8;
		/* until there seem to be more than there were, which calls for a probe */
		mod->ref_cost -= DIV_ROUND_UP(mod->ref_cost, MOD_FADE);
		mod->backoff = MOD_REST_MIN / 2;
		mod->peek = MOD_PEEK_MIN;
		return;
	case DOUBT:
		mod->ref_ns = (mod->ref_ns + e->ns) / 2;
		mod->ref_cost = e->cost;
		return;
	case REST_SHORTER:
		mod->nap = mod->nap / 4 >= MOD_MIN_NS ? mod->nap / 4 : 0;
		mod_back_off(mod);
		break;
	case REST_LONGER:
		mod->nap = mod->nap * 4 <= max ? mod->nap * 4 : 0;
		mod_back_off(mod);
		break;
	}
	mod->ref_ns = e->ns;
	mod->ref_cost = e->cost;
}

static bool mod_epoch_is_over(const struct vhl_moderation *mod)
{
	if (mod->state == VHL_MOD_PEEK)
		return mod->sleeps;
	if (mod_naps(mod->state))
		return mod->sleeps >= MOD_NAPS || mod->idle >= MOD_NAPS / 2;
	if (mod->state == VHL_MOD_REST)
		return mod->sleeps >= MOD_SLEEPS * mod->backoff;
	return mod->sleeps >= MOD_SLEEPS;
}

static void mod_end_epoch(struct vhl_moderation *mod, u64 lasted, u64 notes, u64 max)
{
	u64 cost = notes * MOD_NOTE_COST + mod->polls + (mod_naps(mod->state) ? mod->sleeps : 0);
	u64 chains = max_t(u64, mod->chains, 1);
	const struct mod_epoch e = {
		.lasted	= lasted,
		.ns	= div64_u64(lasted, chains),
		.cost	= min_t(u64, div64_u64(cost * MOD_PER, chains), U32_MAX),
	};
	enum mod_verdict verdict = mod_judge(mod, &e, max);
	const struct mod_step *step = &mod_steps[mod->state][verdict];

	if (verdict == MOD_UNSURE)
		return;
	if (mod->state == VHL_MOD_PLAIN || mod->state == VHL_MOD_HOLD)
		mod_measure_noise(mod, e.ns);
	mod_act(mod, step->action, &e, max);
	mod_enter(mod, step->next);
}

void vhl_moderation_sleep(struct vhl_moderation *mod, u64 now, u64 notes, u64 max)
{
	if (max < MOD_MIN_NS || mod->nap > max) {
		/* also where no epoch begins any more, since there are no naps of this length */
		mod->nap = 0;
		mod->ref_ns = 0;
		mod_enter(mod, VHL_MOD_PLAIN);
	} else if (!mod->began) {
		mod->began = now;
		mod->asleep = 0;
		mod->notes = notes;
		mod->chains = 0;
		mod->sleeps = 0;
		mod->idle = 0;
		mod->polls = 0;
	} else if (mod_epoch_is_over(mod)) {
		mod_end_epoch(mod, now - mod->began, notes - mod->notes, max);
	}
}

void vhl_moderation_polled(struct vhl_moderation *mod, u64 now, u64 polled, u64 notes, u64 max)
{
	vhl_moderation_sleep(mod, now, notes, max);
	mod->polls++;
	vhl_moderation_wake(mod, polled, VHL_WOKE_KICK, max);
}

void vhl_moderation_lost(struct vhl_moderation *mod)
{
	mod->nap = 0;
	mod->backoff = MOD_REST_LOST;
	mod_enter(mod, VHL_MOD_REST);
}
