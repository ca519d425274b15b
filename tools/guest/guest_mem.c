// SPDX-License-Identifier: GPL-2.0
/* A guest without a guest: its memory.  See guest.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

/* Where guest_layout() begins, and the holes that it leaves */
#define LAYOUT_BASE	0x100000ULL
#define LAYOUT_HOLE	0x30000ULL

static uint64_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

void guest_region_free(struct guest_region *r)
{
	uint64_t page = page_size();

	if (r->owned)
		munmap(r->hva - page, round_up(r->size, page) + 2 * page);
	memset(r, 0, sizeof(*r));
}

int guest_add_region(struct guest *g, uint64_t gpa, void *hva, uint64_t size)
{
	struct guest_region *r;

	if (g->nregions == GUEST_MAX_REGIONS)
		return guest_fail(g, -ENOSPC, "more than %u regions of memory", GUEST_MAX_REGIONS);
	r = &g->region[g->nregions++];
	*r = (struct guest_region){
		.gpa = gpa,
		.size = size,
		.hva = hva,
		.perm = VHOST_ACCESS_RW,
		.hi = size,
	};
	return 0;
}

int guest_add_memory(struct guest *g, uint64_t gpa, uint64_t size)
{
	uint64_t page = page_size(), len = round_up(size, page);
	unsigned char *p, *mem;
	int ret;

	p = mmap(NULL, len + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (p == MAP_FAILED)
		return guest_fail(g, -errno, "%llu bytes of guest memory",
				  (unsigned long long)size);
	mem = mmap(p + page, len, PROT_READ | PROT_WRITE,
		   (g->shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (mem == MAP_FAILED)
		ret = guest_fail(g, -errno, "%llu bytes of guest memory",
				 (unsigned long long)size);
	else
		ret = guest_add_region(g, gpa, mem, size);
	if (ret)
		munmap(p, len + 2 * page);
	else
		g->region[g->nregions - 1].owned = true;
	return ret;
}

int guest_layout(struct guest *g, unsigned int n, uint64_t bytes)
{
	uint64_t size, gpa = LAYOUT_BASE;

	if (!n)
		return guest_fail(g, -EINVAL, "no regions of memory");
	size = round_up((bytes + n - 1) / n, page_size());
	for (unsigned int i = 0; i < n; i++) {
		int ret = guest_add_memory(g, gpa, size);

		if (ret)
			return ret;
		g->region[g->nregions - 1].down = i % 2;
		gpa += size;
		if (i % 2)
			gpa += LAYOUT_HOLE;
	}
	return 0;
}

int guest_commit(struct guest *g)
{
	return g->ops->commit(g);
}

int guest_del_region(struct guest *g, uint64_t gpa)
{
	for (unsigned int i = 0; i < g->nregions; i++) {
		struct guest_region r = g->region[i];
		int ret;

		if (r.gpa != gpa)
			continue;
		ret = g->ops->forget(g, &r);
		if (ret)
			return ret;
		g->nregions--;
		memmove(&g->region[i], &g->region[i + 1],
			(g->nregions - i) * sizeof(g->region[0]));
		guest_region_free(&r);
		return 0;
	}
	return guest_fail(g, -ENOENT, "no region of memory at %#llx", (unsigned long long)gpa);
}

static int alloc_in(struct guest_region *r, uint64_t size, uint64_t align, uint64_t *gpa)
{
	uint64_t at;

	if (size > r->hi - r->lo)
		return -ENOMEM;
	if (r->down) {
		at = (r->gpa + r->hi - size) / align * align;
		if (at < r->gpa + r->lo)
			return -ENOMEM;
		r->hi = at - r->gpa;
	} else {
		at = round_up(r->gpa + r->lo, align);
		if (at + size > r->gpa + r->hi)
			return -ENOMEM;
		r->lo = at + size - r->gpa;
	}
	*gpa = at;
	return 0;
}

/* In turns, so that every region is used */
int guest_alloc(struct guest *g, uint64_t size, uint64_t align, uint64_t *gpa)
{
	int ret = -ENOMEM;

	pthread_mutex_lock(&g->alloc_lock);
	for (unsigned int i = 0; ret && i < g->nregions; i++)
		ret = alloc_in(&g->region[g->alloc_turn++ % g->nregions], size, align, gpa);
	pthread_mutex_unlock(&g->alloc_lock);
	if (ret)
		return guest_fail(g, ret, "guest memory is used up (%llu bytes wanted)",
				  (unsigned long long)size);
	return 0;
}

int guest_alloc_straddling(struct guest *g, uint64_t below, uint64_t above, uint64_t *gpa)
{
	int ret = -ENOSPC;

	pthread_mutex_lock(&g->alloc_lock);
	for (unsigned int i = 0; ret && i + 1 < g->nregions; i++) {
		struct guest_region *a = &g->region[i], *b = &g->region[i + 1];

		/* Still untouched on both sides of the border? */
		if (a->down || !b->down || a->gpa + a->size != b->gpa || a->hi != a->size ||
		    b->lo || a->hi - a->lo < below || b->hi < above)
			continue;
		a->hi -= below;
		b->lo += above;
		*gpa = b->gpa - below;
		ret = 0;
	}
	pthread_mutex_unlock(&g->alloc_lock);
	return ret;
}

/* The last region that does not begin behind @gpa, if they are in their order: nearly always */
static unsigned int region_before(const struct guest *g, uint64_t gpa)
{
	unsigned int from = 0;

	for (unsigned int n = g->nregions; n > 1; n -= n / 2)
		if (g->region[from + n / 2].gpa <= gpa)
			from += n / 2;
	return from;
}

void *guest_span(const struct guest *g, uint64_t gpa, uint64_t len, uint64_t *contiguous)
{
	unsigned int first = region_before(g, gpa);

	/* Usually found at once; where a test has added regions out of order, all are looked at */
	for (unsigned int i = 0; i < g->nregions; i++) {
		const struct guest_region *r = &g->region[(first + i) % g->nregions];
		uint64_t off = gpa - r->gpa;

		if (gpa < r->gpa || off >= r->size)
			continue;
		*contiguous = len < r->size - off ? len : r->size - off;
		return r->hva + off;
	}
	*contiguous = 0;
	return NULL;
}

void *guest_ptr(const struct guest *g, uint64_t gpa, uint64_t len)
{
	uint64_t contiguous;
	void *p = guest_span(g, gpa, len, &contiguous);

	return contiguous == len ? p : NULL;
}

int guest_read(const struct guest *g, uint64_t gpa, void *buf, uint64_t len)
{
	unsigned char *to = buf;

	while (len) {
		uint64_t n;
		const void *p = guest_span(g, gpa, len, &n);

		if (!p)
			return -EFAULT;
		memcpy(to, p, n);
		to += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

int guest_write(const struct guest *g, uint64_t gpa, const void *buf, uint64_t len)
{
	const unsigned char *from = buf;

	while (len) {
		uint64_t n;
		void *p = guest_span(g, gpa, len, &n);

		if (!p)
			return -EFAULT;
		memcpy(p, from, n);
		from += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

void *guest_next(struct guest_walk *w, uint64_t max, uint64_t *len)
{
	uint64_t left;
	void *p;

	*len = 0;
	while (w->n && w->done == w->seg->len) {
		w->seg++;
		w->n--;
		w->done = 0;
	}
	if (!w->n || !max)
		return NULL;
	left = w->seg->len - w->done;
	p = guest_span(w->g, w->seg->gpa + w->done, left < max ? left : max, len);
	w->done += *len;
	return p;
}

void guest_skip(struct guest_walk *w, uint64_t len)
{
	uint64_t n;

	while (guest_next(w, len, &n))
		len -= n;
}
