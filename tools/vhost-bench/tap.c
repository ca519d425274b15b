// SPDX-License-Identifier: GPL-2.0
/* A TAP, and the packet socket on the host's side of it.  See tap.h */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tap.h"

#define TUN_NODE	"/dev/net/tun"

static int open_queue(struct bench *b, struct tap *t)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open(TUN_NODE, O_RDWR | O_CLOEXEC);
	int hdr = sizeof(struct virtio_net_hdr_v1);

	if (fd < 0) {
		if (errno == ENOENT || errno == ENODEV)
			return bench_fail(b, "%s: no such device; load the module: modprobe tun",
					  TUN_NODE);
		return bench_fail(b, "%s: %s", TUN_NODE, strerror(errno));
	}
	t->fd[t->n++] = fd;
	if (b->opt->queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, t->name, sizeof(ifr.ifr_name));
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		if (errno == EPERM)
			return bench_fail(b, "a TAP needs CAP_NET_ADMIN; run as root, or as the user of a TAP made with `ip tuntap add`, named by --tap");
		if (errno == EINVAL && t->name[0])
			return bench_fail(b, "TAP %s: has other flags; make it with `ip tuntap add %s mode tap vnet_hdr%s`",
					  t->name, t->name,
					  b->opt->queues > 1 ? " multi_queue" : "");
		return bench_fail(b, "TAP %s: %s", t->name, strerror(errno));
	}
	memcpy(t->name, ifr.ifr_name, sizeof(t->name));
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr))
		return bench_fail(b, "TAP %s: TUNSETVNETHDRSZ: %s", t->name, strerror(errno));
	return 0;
}

/* The host would greet the guest with frames of its own */
static void no_ipv6(const struct tap *t)
{
	char path[96];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", t->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = write(fd, "1", 1);	/* if not, there are some frames more to skip */
	(void)n;
	close(fd);
}

int tap_open(struct bench *b, struct tap *t, unsigned int frame)
{
	struct ifreq ifr = { 0 };
	int sock, ret = 0;

	memset(t, 0, sizeof(*t));
	if (b->opt->tap) {
		if (strlen(b->opt->tap) >= IFNAMSIZ)
			return bench_fail(b, "TAP %s: the name is too long", b->opt->tap);
		strcpy(t->name, b->opt->tap);
	}
	for (unsigned int i = 0; i < b->opt->queues; i++)
		if (open_queue(b, t))
			return -1;

	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return bench_fail(b, "socket: %s", strerror(errno));
	if (!b->opt->tap)
		no_ipv6(t);
	memcpy(ifr.ifr_name, t->name, sizeof(ifr.ifr_name));
	if (ioctl(sock, SIOCGIFMTU, &ifr))
		ret = bench_fail(b, "TAP %s: %s", t->name, strerror(errno));
	if (!ret && (unsigned int)ifr.ifr_mtu + ETH_HLEN < frame) {
		ifr.ifr_mtu = frame - ETH_HLEN;
		if (ioctl(sock, SIOCSIFMTU, &ifr))
			ret = bench_fail(b, "TAP %s: MTU %d: %s", t->name, ifr.ifr_mtu,
					 strerror(errno));
	}
	if (!ret && ioctl(sock, SIOCGIFFLAGS, &ifr))
		ret = bench_fail(b, "TAP %s: %s", t->name, strerror(errno));
	ifr.ifr_flags |= IFF_UP;
	if (!ret && ioctl(sock, SIOCSIFFLAGS, &ifr))
		ret = bench_fail(b, "TAP %s: cannot bring it up: %s", t->name, strerror(errno));
	if (!ret && ioctl(sock, SIOCGIFINDEX, &ifr))
		ret = bench_fail(b, "TAP %s: %s", t->name, strerror(errno));
	t->index = ifr.ifr_ifindex;
	close(sock);
	return ret;
}

void tap_close(struct tap *t)
{
	while (t->n)
		close(t->fd[--t->n]);
}

int tap_spread(struct bench *b, struct tap *t, unsigned int offset)
{
	struct bpf_insn prog[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6,
		  .src_reg = BPF_REG_1 },
		{ .code = BPF_LD | BPF_ABS | BPF_B, .imm = offset },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	int fd, ret;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)prog;
	attr.insn_cnt = sizeof(prog) / sizeof(prog[0]);
	attr.license = (uintptr_t)"GPL";
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return bench_fail(b, "BPF program that spreads frames over queues: %s",
				  strerror(errno));
	ret = ioctl(t->fd[0], TUNSETSTEERINGEBPF, &fd);
	close(fd);
	return ret ? bench_fail(b, "TAP %s: TUNSETSTEERINGEBPF: %s", t->name, strerror(errno)) : 0;
}

/* From the guest is into the interface */
int tap_packets(struct bench *b, const struct tap *t, uint64_t *n)
{
	char path[96];
	unsigned long long v;
	FILE *f;
	int got;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/rx_packets", t->name);
	f = fopen(path, "re");
	if (!f)
		return bench_fail(b, "%s: %s", path, strerror(errno));
	got = fscanf(f, "%llu", &v);
	fclose(f);
	if (got != 1)
		return bench_fail(b, "%s: not a number", path);
	*n = v;
	return 0;
}

int tap_socket(struct bench *b, const struct tap *t, unsigned int proto, uint64_t bytes, bool vnet)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(proto),
		.sll_ifindex = t->index,
	};
	struct timeval wait = { .tv_usec = 100000 };
	int one = 1, buf = bytes < 1 << 30 ? bytes : 1 << 30, fd;

	/* Protocol 0 receives nothing until it is bound to the interface */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return bench_fail(b, "packet socket: %s%s", strerror(errno),
				  errno == EPERM ? "; it needs CAP_NET_RAW, run as root" : "");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buf, sizeof(buf)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buf, sizeof(buf)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ||
	    (vnet && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one))) ||
	    bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		bench_fail(b, "packet socket on %s: %s", t->name, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

uint64_t tap_socket_drops(int sock)
{
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	return getsockopt(sock, SOL_PACKET, PACKET_STATISTICS, &st, &len) ? 0 : st.tp_drops;
}
