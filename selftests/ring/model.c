// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include <linux/kernel.h>

#include "harness.h"
#include "model.h"

struct span {
	u64 at;
	u64 len;
};

static unsigned int span_add(struct span *spans, unsigned int n, u64 at, u64 len)
{
	if (!len)
		return n;
	if (n && spans[n - 1].at + spans[n - 1].len == at) {
		spans[n - 1].len += len;
		return n;
	}
	spans[n] = (struct span){ at, len };
	return n + 1;
}

/* Where the bytes of a direction are, with neighbours merged: byte for byte, but cheap */
static unsigned int spans_wanted(const struct guest *g, const struct buf *bufs, unsigned int n,
				 bool write, struct span *spans, u64 *total)
{
	unsigned int i, nr = 0;

	*total = 0;
	for (i = 0; i < n; i++) {
		u64 addr = bufs[i].addr, len = bufs[i].len;

		if (bufs[i].write != write)
			continue;
		*total += len;
		while (len) {
			const struct vhost_iotlb_map *region = guest_find(g, addr);
			u64 part;

			if (!region)
				abort();
			part = region->last - addr < len - 1 ? region->last - addr + 1 : len;
			nr = span_add(spans, nr, region->addr + (addr - region->start), part);
			addr += part;
			len -= part;
		}
	}
	return nr;
}

static unsigned int spans_taken(const struct iovec *iov, unsigned int n, struct span *spans,
				u64 *total)
{
	unsigned int i, nr = 0;

	*total = 0;
	for (i = 0; i < n; i++) {
		nr = span_add(spans, nr, (uintptr_t)iov[i].iov_base, iov[i].iov_len);
		*total += iov[i].iov_len;
	}
	return nr;
}

bool chain_compare(const char *file, int line, const struct guest *g, const struct vhl_chain *chain,
		   const struct buf *bufs, unsigned int n)
{
	static struct span want[2 * VHL_IOV_MAX], is[2 * VHL_IOV_MAX];
	int dir;

	if (chain->out_num > VHL_IOV_MAX || chain->in_num > VHL_IOV_MAX - chain->out_num) {
		tap_fail(file, line, "%u + %u segments", chain->out_num, chain->in_num);
		return false;
	}
	for (dir = 0; dir < 2; dir++) {
		const struct iovec *iov = dir ? chain->iov + chain->out_num : chain->iov;
		unsigned int nr_want, nr_is;
		u64 len_want, len_is;

		nr_want = spans_wanted(g, bufs, n, dir, want, &len_want);
		nr_is = spans_taken(iov, dir ? chain->in_num : chain->out_num, is, &len_is);
		if (nr_want != nr_is || memcmp(want, is, nr_is * sizeof(*is))) {
			tap_fail(file, line, "%s segments differ: %u spans, not %u; %llu bytes, not %llu",
				 dir ? "in" : "out", nr_is, nr_want, len_is, len_want);
			return false;
		}
		if ((dir ? chain->in_len : chain->out_len) != len_want) {
			tap_fail(file, line, "%s_len is %u, not %llu", dir ? "in" : "out",
				 dir ? chain->in_len : chain->out_len, len_want);
			return false;
		}
	}
	return true;
}

const char *chain_wrong(const struct guest *g, const struct vhl_chain *chain, u32 num)
{
	u64 len[2] = { 0, 0 };
	unsigned int i;

	if (chain->id >= num)
		return "the id is outside of the ring";
	if (chain->out_num > VHL_IOV_MAX || chain->in_num > VHL_IOV_MAX - chain->out_num)
		return "too many segments";
	for (i = 0; i < chain->out_num + chain->in_num; i++) {
		bool write = i >= chain->out_num;

		if (!chain->iov[i].iov_len)
			return "a segment without bytes";
		if (!guest_owns(g, (uintptr_t)chain->iov[i].iov_base, chain->iov[i].iov_len,
				write ? VHL_MEM_WRITE : VHL_MEM_READ))
			return "a segment outside of what is mapped for it";
		len[write] += chain->iov[i].iov_len;
	}
	if (len[0] != chain->out_len || len[1] != chain->in_len)
		return "lengths differ from those of the segments";
	if (len[0] + len[1] > U32_MAX)
		return "4 GiB or more";
	return NULL;
}

static const struct vhl_log poison = { .addr = 0xa5a5a5a5a5a5a5a5ULL, .len = 0xa5a5a5a5 };

void log_poison(const struct vhl_segs *segs)
{
	unsigned int i;

	for (i = 0; segs->log && i < segs->max; i++)
		segs->log[i] = poison;
}

static bool log_is(const struct vhl_segs *segs, unsigned int i, u64 addr, u32 len)
{
	return i < segs->max && segs->log[i].addr == addr && segs->log[i].len == len;
}

bool log_compare(const char *file, int line, const struct guest *g, const struct vhl_segs *segs,
		 const struct buf *bufs, unsigned int n)
{
	unsigned int i, nr = 0;

	if (!segs->log)
		return true;
	for (i = 0; i < n; i++) {
		u64 addr = bufs[i].addr, len = bufs[i].write ? bufs[i].len : 0;

		while (len) {
			const struct vhost_iotlb_map *region = guest_find(g, addr);
			u64 part;

			if (!region)
				abort();
			part = region->last - addr < len - 1 ? region->last - addr + 1 : len;
			if (!log_is(segs, nr, addr, part)) {
				tap_fail(file, line, "log entry %u is not %#llx, %llu bytes", nr,
					 addr, part);
				return false;
			}
			nr++;
			addr += part;
			len -= part;
		}
	}
	for (; nr < segs->max; nr++) {
		if (!log_is(segs, nr, poison.addr, poison.len)) {
			tap_fail(file, line, "log entry %u was written", nr);
			return false;
		}
	}
	return true;
}

const char *log_wrong(const struct guest *g, const struct vhl_segs *segs,
		      const struct vhl_chain *chain)
{
	unsigned int i;

	if (!segs->log)
		return NULL;
	for (i = 0; i < chain->in_num; i++) {
		const struct iovec *iov = &chain->iov[chain->out_num + i];
		const struct vhl_log *log = &segs->log[i];

		if (log->len != iov->iov_len ||
		    guest_ptr(g, log->addr, log->len) != iov->iov_base)
			return "a log entry is not of its segment";
	}
	return NULL;
}
