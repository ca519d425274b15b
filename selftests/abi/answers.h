/* SPDX-License-Identifier: GPL-2.0 */
/* A client that is asked for translations, and answers */
#ifndef ABI_ANSWERS_H
#define ABI_ANSWERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "dut.h"

#define PAGE		4096ULL

/* The client: a thread that answers what it is asked, page by page */
struct vmm {
	struct dut *d;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint asked;
	int err;
};

int vmm_start(struct vmm *v, struct dut *d);
int vmm_stop(struct vmm *v);

/* send_msg() - a message of version 2; update(), invalidate() - such ones. 0 or -errno */
int send_msg(int fd, uint8_t type, uint64_t iova, uint64_t size, const void *p, uint8_t perm);
int update(int fd, uint64_t iova, uint64_t size, const void *p, uint8_t perm);
int invalidate(int fd, uint64_t iova, uint64_t size);

/* question() - the next one: 0, or -errno; -EAGAIN when there is none in @ms */
int question(int fd, int ms, struct vhost_iotlb_msg *iotlb);

/* host_of() - where in this process is that page of the guest?  answer() - an update with it */
void *host_of(struct dut *d, uint64_t iova);
int answer(struct dut *d, uint64_t iova);

/* regions_of() - how many the device has */
unsigned int regions_of(int fd);

#endif /* ABI_ANSWERS_H */
