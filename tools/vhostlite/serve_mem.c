// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: the guest's memory. It is mapped so that the kernel can reach it through us, and
 * never looked at here: a file that is made shorter later on does no harm to this process, and
 * requests of the guest that name what is gone fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "serve.h"

/* Mappings of the file begin and end at multiples of this */
static uint64_t page_size(int fd)
{
	struct statfs fs;

	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC)
		return (uint64_t)fs.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What is wrong with it, NULL: nothing */
static char *check_region(const struct region_msg *m, int fd)
{
	uint64_t end;
	struct stat st;

	if (!m->size)
		return xasprintf("is empty");
	if (__builtin_add_overflow(m->guest, m->size - 1, &end) ||
	    __builtin_add_overflow(m->user, m->size - 1, &end) ||
	    __builtin_add_overflow(m->offset, m->size, &end))
		return xasprintf("goes beyond the last address");
	if (fstat(fd, &st))
		return xasprintf("cannot be mapped: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return xasprintf("is in no file; " SHARE_HINT);
	if (end > (uint64_t)st.st_size)
		return xasprintf("goes beyond the end of its file, %" PRIu64 " > %" PRIu64, end,
				 (uint64_t)st.st_size);
	return NULL;
}

char *region_map(struct region *r, const struct region_msg *m, int fd)
{
	uint64_t page = page_size(fd), start, size;
	char *wrong = check_region(m, fd);

	if (wrong)
		return wrong;
	/* a file is not so large that this could wrap around */
	start = m->offset & ~(page - 1);
	size = (m->offset - start + m->size + page - 1) & ~(page - 1);
	*r = (struct region){
		.guest = m->guest, .size = m->size, .user = m->user, .map_size = (size_t)size,
	};
	r->map = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)start);
	if (r->map == MAP_FAILED)
		return xasprintf("cannot be mapped: %s", strerror(errno));
	/* it is the guest's, and large */
	madvise(r->map, r->map_size, MADV_DONTDUMP);
	r->here = (uint8_t *)r->map + (m->offset - start);
	return NULL;
}

void region_unmap(struct region *r)
{
	munmap(r->map, r->map_size);
}

void memory_unmap(struct memory *mem)
{
	for (unsigned int i = 0; i < mem->num; i++)
		region_unmap(&mem->regions[i]);
	mem->num = 0;
}

uint8_t *memory_at(const struct memory *mem, uint64_t user, uint64_t size)
{
	for (unsigned int i = 0; i < mem->num; i++) {
		const struct region *r = &mem->regions[i];
		uint64_t at = user - r->user;

		if (user >= r->user && at < r->size && size <= r->size - at)
			return r->here + at;
	}
	return NULL;
}
