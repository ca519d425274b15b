/* SPDX-License-Identifier: GPL-2.0 */
/* Network devices that tests make besides a TAP, and programs for them */
#ifndef ABI_LINKS_H
#define ABI_LINKS_H

#include <linux/bpf.h>

#define VETH_NAME	"vhltestveth"
#define VETH_PEER	"vhltestpeer"
#define MACVTAP_NAME	"vhltestmvtap"

/* make_veth() - VETH_NAME and VETH_PEER, up.  0 or -errno, -EOPNOTSUPP where there are none */
int make_veth(void);
void del_veth(void);

/*
 * make_macvtap() - MACVTAP_NAME on VETH_PEER, up, with headers of @hdr bytes: what is sent on
 * VETH_NAME comes out of its file and the reverse.  A file or -errno, as make_veth(), with which it
 * goes: del_veth()
 */
int make_macvtap(int hdr);

/*
 * packet_socket() - one that is bound to an interface, non-blocking, with headers of @hdr bytes or,
 * for 0, none.  -errno, -EOPNOTSUPP where the kernel makes none of that size
 */
int packet_socket(const char *ifname, int hdr);

/*
 * make_packet() - a packet socket on VETH_PEER: as make_macvtap()
 */
int make_packet(int hdr);

/* load_bpf() - a program's fd, or -errno */
int load_bpf(unsigned int type, const struct bpf_insn *prog, unsigned int n);

/* xdp_redirect() - have what comes in on an interface sent to another as it is.  A link's fd or -errno */
int xdp_redirect(const char *from, const char *to);

#endif /* ABI_LINKS_H */
