// SPDX-License-Identifier: GPL-2.0
/* A client that is asked for translations, and answers.  See answers.h */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "answers.h"

int send_msg(int fd, uint8_t type, uint64_t iova, uint64_t size, const void *p, uint8_t perm)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = {
			.type = type, .iova = iova, .size = size, .uaddr = (uintptr_t)p, .perm = perm,
		},
	};
	ssize_t n = write(fd, &msg, sizeof(msg));

	return n < 0 ? -errno : n == sizeof(msg) ? 0 : -EIO;
}

int update(int fd, uint64_t iova, uint64_t size, const void *p, uint8_t perm)
{
	return send_msg(fd, VHOST_IOTLB_UPDATE, iova, size, p, perm);
}

int invalidate(int fd, uint64_t iova, uint64_t size)
{
	return send_msg(fd, VHOST_IOTLB_INVALIDATE, iova, size, NULL, 0);
}

int question(int fd, int ms, struct vhost_iotlb_msg *iotlb)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct vhost_msg_v2 msg;
	ssize_t n;

	if (poll(&p, 1, ms) <= 0 || !(p.revents & POLLIN))
		return -EAGAIN;
	n = read(fd, &msg, sizeof(msg));
	if (n < 0)
		return -errno;
	*iotlb = msg.iotlb;
	return n == sizeof(msg) && msg.iotlb.type == VHOST_IOTLB_MISS ? 0 : -EPROTO;
}

void *host_of(struct dut *d, uint64_t iova)
{
	for (unsigned int i = 0; i < d->g->nregions; i++) {
		struct guest_region *r = &d->g->region[i];

		if (iova >= r->gpa && iova - r->gpa < r->size)
			return (char *)r->hva + (iova - r->gpa);
	}
	return NULL;
}

int answer(struct dut *d, uint64_t iova)
{
	uint64_t page = iova & ~(PAGE - 1);
	void *p = host_of(d, page);

	return p ? update(d->g->fd, page, PAGE, p, VHOST_ACCESS_RW) : -EFAULT;
}

static void *vmm_run(void *arg)
{
	struct vmm *v = arg;
	struct vhost_iotlb_msg msg;

	while (!v->err && !atomic_load(&v->stop)) {
		int ret = question(v->d->g->fd, 20, &msg);

		if (ret == -EAGAIN)
			continue;
		atomic_fetch_add(&v->asked, 1);
		v->err = ret ?: answer(v->d, msg.iova);
	}
	return NULL;
}

int vmm_start(struct vmm *v, struct dut *d)
{
	*v = (struct vmm){ .d = d };
	return pthread_create(&v->thread, NULL, vmm_run, v) ? -EAGAIN : 0;
}

int vmm_stop(struct vmm *v)
{
	atomic_store(&v->stop, true);
	pthread_join(v->thread, NULL);
	return v->err;
}

unsigned int regions_of(int fd)
{
	struct dev_info info;

	return get_info(fd, &info) ? ~0U : info.regions;
}
