// SPDX-License-Identifier: GPL-2.0
/* Frames that a program of XDP sends to an interface.  See xdp.h */
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "xdp.h"

/* Where a frame has its number (frame.h), and what there has to be of it */
#define NUMBER	8
#define HEAD	14

/* XDP_FLAGS_SKB_MODE */
#define SKB_MODE	2

static int bpf(int cmd, union bpf_attr *attr)
{
	int ret = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

static int load(int map, int to)
{
	const struct bpf_insn prog[] = {
		/* r6: the frame; r7: its number, the next time one more */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1 },
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 15 },
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 7, .src_reg = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 7 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = 1 },
		{ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 0, .src_reg = 1 },
		/* into the frame */
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 6,
		  .off = offsetof(struct xdp_md, data) },
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 3, .src_reg = 6,
		  .off = offsetof(struct xdp_md, data_end) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 4, .src_reg = 2 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 4, .imm = HEAD },
		{ .code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = 4, .src_reg = 3, .off = 6 },
		{ .code = BPF_ALU | BPF_END | BPF_TO_BE, .dst_reg = 7, .imm = 32 },
		{ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 7, .off = NUMBER },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = to },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect },
		{ .code = BPF_JMP | BPF_EXIT },
		/* what cannot be */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_DROP },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.insns = (uintptr_t)prog;
	attr.insn_cnt = sizeof(prog) / sizeof(prog[0]);
	attr.license = (uintptr_t)"GPL";
	return bpf(BPF_PROG_LOAD, &attr);
}

int xdp_open(struct bench *b, struct xdp *x, int index)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = sizeof(uint32_t);
	attr.value_size = sizeof(uint32_t);
	attr.max_entries = 1;
	x->map = bpf(BPF_MAP_CREATE, &attr);
	if (x->map < 0)
		return bench_fail(b, "BPF map: %s", strerror(-x->map));
	x->prog = load(x->map, index);
	if (x->prog < 0) {
		bench_fail(b, "XDP program: %s", strerror(-x->prog));
		close(x->map);
		x->prog = 0;
		return -1;
	}
	/*
	 * For what comes from the guest, which is nothing. But the kernel has ready what an
	 * interface has, and else would make it so, and undo that, for each call of xdp_send().
	 */
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = x->prog;
	attr.link_create.target_ifindex = index;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = SKB_MODE;
	x->link = bpf(BPF_LINK_CREATE, &attr);
	return x->link < 0 ? bench_fail(b, "XDP program: %s", strerror(-x->link)) : 0;
}

void xdp_close(struct xdp *x)
{
	if (!x->prog)
		return;
	if (x->link >= 0)
		close(x->link);
	close(x->prog);
	close(x->map);
}

int xdp_send(struct bench *b, struct xdp *x, const void *frame, unsigned int len, uint32_t seq,
	     unsigned int n)
{
	uint32_t key = 0;
	union bpf_attr attr;
	int ret;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = x->map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&seq;
	ret = bpf(BPF_MAP_UPDATE_ELEM, &attr);
	if (!ret) {
		memset(&attr, 0, sizeof(attr));
		attr.test.prog_fd = x->prog;
		attr.test.data_in = (uintptr_t)frame;
		attr.test.data_size_in = len;
		attr.test.repeat = n;
		attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
		ret = bpf(BPF_PROG_TEST_RUN, &attr);
	}
	return ret < 0 ? bench_fail(b, "frames by XDP: %s", strerror(-ret)) : 0;
}
