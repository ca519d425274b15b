// SPDX-License-Identifier: GPL-2.0
/*
 * vhostlite serve: memory that the front end keeps for the process that comes after this one.
 *
 * The protocol has it for requests that were taken and not used when a back end died. There are none
 * here: the kernel does what it took and says so in the ring, whatever becomes of this process. What
 * the next one has to know is where each queue stopped, which a packed ring does not tell. So the
 * layout that the protocol suggests is there, and all zero (nothing in flight, for whoever looks); a
 * page behind it is ours, and the kernel stores in there where a queue stops.
 *
 * The front end can do to its file what it likes. So it is read and written by system calls, and
 * the page is mapped for the kernel alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vhost_lite.h>

#include "serve.h"

/* "vhl where" */
#define MAGIC	UINT64_C(0x6572656877206c68)

/* INFLIGHT_RUNS is a base of packed rings of that size alone */
#define MOST_ENTRIES	32768

/* What a queue that stops may take for the requests that it has taken */
#define STOPS_WITHIN_MS	30000
#define LOOK_EVERY_MS	10

/* What the page of ours begins with */
struct places {
	uint64_t magic;
	uint32_t queues, reserved;
	uint32_t kind[MAX_QUEUES];	/* of the ring that @base is of, 0: none */
	uint32_t base[MAX_QUEUES];	/* or INFLIGHT_RUNS */
};

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* As the protocol has it for packed rings, which take more: a header, and 32 bytes for each descriptor */
static uint64_t layout_size(const struct inflight_msg *m)
{
	uint64_t queue = (64 + 32 * (uint64_t)m->queue_size + 63) & ~UINT64_C(63);
	uint64_t page = page_size();

	return (m->num_queues * queue + page - 1) & ~(page - 1);
}

int inflight_make(struct inflight_msg *m)
{
	struct places p = { .magic = MAGIC, .queues = m->num_queues };
	uint64_t layout = layout_size(m);
	int fd = memfd_create("inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	m->mmap_offset = 0;
	m->mmap_size = layout + page_size();
	if (ftruncate(fd, (off_t)m->mmap_size) ||
	    pwrite(fd, &p, sizeof(p), (off_t)layout) != sizeof(p) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		close(fd);
		return -1;
	}
	return fd;
}

static char *check(const struct inflight_msg *m, int fd, struct places *p)
{
	uint64_t end, page = page_size();
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return xasprintf("is in no file");
	if (m->mmap_size < page || (m->mmap_offset | m->mmap_size) & (page - 1) ||
	    __builtin_add_overflow(m->mmap_offset, m->mmap_size, &end) || end > (uint64_t)st.st_size)
		return xasprintf("is not all there: %" PRIu64 " bytes at %" PRIu64 " of %" PRIu64,
				 m->mmap_size, m->mmap_offset, (uint64_t)st.st_size);
	if (pread(fd, p, sizeof(*p), (off_t)(end - page)) != sizeof(*p) || p->magic != MAGIC)
		return xasprintf("was made by another program, whose requests in flight are not known");
	return NULL;
}

void inflight_drop(struct session *s)
{
	struct inflight *in = &s->inflight;

	if (in->fd < 0)
		return;
	munmap(in->map, page_size());
	close(in->fd);
	in->fd = -1;
}

/* Of what rings something is known. What that is may change yet, if the process before still stops */
static void take_places(struct session *s, const struct places *p)
{
	for (unsigned int i = 0; i < MAX_QUEUES; i++)
		if (!s->rings[i].running)
			s->rings[i].kept_kind = p->kind[i];
}

char *inflight_use(struct session *s, const struct inflight_msg *m, int fd)
{
	struct inflight in = { .at = m->mmap_offset + m->mmap_size - page_size() };
	struct places p;
	char *wrong = check(m, fd, &p);
	uint64_t bases;

	if (wrong)
		return wrong;
	in.map = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)in.at);
	if (in.map == MAP_FAILED)
		return xasprintf("cannot be mapped: %s", strerror(errno));
	in.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	bases = (uintptr_t)in.map + offsetof(struct places, base);
	if (in.fd < 0 || ioctl(s->dev->vhost, VHL_SET_BASES, &bases)) {
		wrong = xasprintf("is refused: %s", strerror(errno));
		munmap(in.map, page_size());
		if (in.fd >= 0)
			close(in.fd);
		return wrong;
	}
	inflight_drop(s);
	s->inflight = in;
	take_places(s, &p);
	return NULL;
}

static bool put(const struct inflight *in, size_t at, uint32_t value)
{
	return pwrite(in->fd, &value, sizeof(value), (off_t)(in->at + at)) == sizeof(value);
}

bool inflight_set_base(struct session *s, unsigned int index, uint32_t base)
{
	const struct inflight *in = &s->inflight;

	return in->fd < 0 || put(in, offsetof(struct places, base) + index * sizeof(base), base);
}

bool inflight_note(struct session *s, unsigned int index, uint32_t kind, uint32_t base)
{
	const struct inflight *in = &s->inflight;

	if (in->fd < 0)
		return true;
	/* in this order: a kind says that there is a base */
	return (!kind || inflight_set_base(s, index, base)) &&
	       put(in, offsetof(struct places, kind) + index * sizeof(kind), kind);
}

/* A process that was killed may not be gone yet, and its kernel threads do what it had taken. */
bool inflight_get_base(const struct session *s, unsigned int index, uint32_t *base)
{
	const struct inflight *in = &s->inflight;
	off_t at = (off_t)(in->at + offsetof(struct places, base) + index * sizeof(*base));
	uint32_t value = INFLIGHT_RUNS;

	for (unsigned int ms = 0; value == INFLIGHT_RUNS && ms < STOPS_WITHIN_MS; ms += LOOK_EVERY_MS) {
		if (ms)
			usleep(LOOK_EVERY_MS * 1000);
		errno = EIO;
		if (pread(in->fd, &value, sizeof(value), at) != sizeof(value))
			return false;
	}
	errno = EBUSY;
	if (value == INFLIGHT_RUNS && s->rings[index].num != MOST_ENTRIES)
		return false;
	*base = value;
	return true;
}
