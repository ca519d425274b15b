// SPDX-License-Identifier: GPL-2.0
/* Network devices and programs.  See links.h */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frames.h"
#include "links.h"

/* Linux 6.5 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ	24
#endif

int load_bpf(unsigned int type, const struct bpf_insn *prog, unsigned int n)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insns = (uintptr_t)prog;
	attr.insn_cnt = n;
	attr.license = (uintptr_t)"GPL";
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}

int xdp_redirect(const char *from, const char *to)
{
	struct bpf_insn prog[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1,
		  .imm = if_nametoindex(to) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	int fd, link;

	fd = load_bpf(BPF_PROG_TYPE_XDP, prog, sizeof(prog) / sizeof(prog[0]));
	if (fd < 0)
		return fd;
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = fd;
	attr.link_create.target_ifindex = if_nametoindex(from);
	attr.link_create.attach_type = BPF_XDP;
	/* XDP_FLAGS_DRV_MODE: frames, not socket buffers */
	attr.link_create.flags = 4;
	link = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	if (link < 0)
		link = -errno;
	close(fd);
	return link;
}

int make_veth(void)
{
	/* of a test that was killed */
	run("ip link del " VETH_NAME " 2>/dev/null");
	if (run("ip link add " VETH_NAME " type veth peer name " VETH_PEER))
		return -EOPNOTSUPP;
	no_ipv6(VETH_NAME);
	no_ipv6(VETH_PEER);
	return set_link(VETH_NAME, true) ?: set_link(VETH_PEER, true);
}

void del_veth(void)
{
	run("ip link del " VETH_NAME);
}

int make_macvtap(int hdr)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd, ret, room = INT_MAX;
	char path[64];

	if (module_load("macvtap"))
		run("modprobe -q macvtap");
	ret = make_veth();
	if (ret)
		return ret;
	ret = -EOPNOTSUPP;
	if (run("ip link add link " VETH_PEER " name " MACVTAP_NAME
		" address 02:02:02:02:02:02 type macvtap mode vepa"))
		goto del;
	no_ipv6(MACVTAP_NAME);
	ret = set_link(MACVTAP_NAME, true);
	if (ret)
		goto del;
	snprintf(path, sizeof(path), "/dev/tap%u", if_nametoindex(MACVTAP_NAME));
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	ret = -errno;
	if (fd < 0)
		goto del;
	/* room as a TAP has it, and as VMMs set it */
	if (!ioctl(fd, TUNSETIFF, &ifr) && !ioctl(fd, TUNSETVNETHDRSZ, &hdr) &&
	    !ioctl(fd, TUNSETSNDBUF, &room))
		return fd;
	ret = -errno;
	close(fd);
del:
	del_veth();
	return ret;
}

int packet_socket(const char *ifname, int hdr)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(ifname),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, ret = 0;

	if (fd < 0)
		return -errno;
	if (hdr == OLD_HDR)
		ret = setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one));
	else if (hdr)
		ret = setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR_SZ, &hdr, sizeof(hdr));
	if (ret)
		ret = errno == ENOPROTOOPT ? -EOPNOTSUPP : -errno;
	else if (bind(fd, (void *)&addr, sizeof(addr)))
		ret = -errno;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int make_packet(int hdr)
{
	int ret = make_veth();

	if (ret)
		return ret;
	ret = packet_socket(VETH_PEER, hdr);
	if (ret < 0)
		del_veth();
	return ret;
}
