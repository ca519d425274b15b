/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints. One event of each kind per notification or batch, none per packet or request, so
 * that they can stay on in production.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vhost_lite

#if !defined(VHL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VHL_TRACE_H

#include <linux/tracepoint.h>

#include "vhl.h"

DECLARE_EVENT_CLASS(vhl_vq,
	TP_PROTO(const struct vhl_vq *vq),
	TP_ARGS(vq),
	TP_STRUCT__entry(
		__field(u64, dev)
		__field(u32, vq)
	),
	TP_fast_assign(
		__entry->dev = vq->dev->id;
		__entry->vq = vq->index;
	),
	TP_printk("dev=%llu vq=%u", __entry->dev, __entry->vq)
);

/* The driver kicked; in the context of the signal, under the eventfd's lock */
DEFINE_EVENT(vhl_vq, vhl_kick,
	TP_PROTO(const struct vhl_vq *vq),
	TP_ARGS(vq)
);

/* The worker begins a turn that somebody asked for */
DEFINE_EVENT(vhl_vq, vhl_wake,
	TP_PROTO(const struct vhl_vq *vq),
	TP_ARGS(vq)
);

/* The queue leaves the CPU to others for so many ns and wants no kicks meanwhile */
TRACE_EVENT(vhl_nap,
	TP_PROTO(const struct vhl_vq *vq, u64 ns),
	TP_ARGS(vq, ns),
	TP_STRUCT__entry(
		__field(u64, dev)
		__field(u64, ns)
		__field(u32, vq)
	),
	TP_fast_assign(
		__entry->dev = vq->dev->id;
		__entry->ns = ns;
		__entry->vq = vq->index;
	),
	TP_printk("dev=%llu vq=%u ns=%llu", __entry->dev, __entry->vq, __entry->ns)
);

/* Another of the device's workers gives the queue its turns now: 0 is the one that all share */
TRACE_EVENT(vhl_worker,
	TP_PROTO(const struct vhl_vq *vq, u32 worker),
	TP_ARGS(vq, worker),
	TP_STRUCT__entry(
		__field(u64, dev)
		__field(u32, vq)
		__field(u32, worker)
	),
	TP_fast_assign(
		__entry->dev = vq->dev->id;
		__entry->vq = vq->index;
		__entry->worker = worker;
	),
	TP_printk("dev=%llu vq=%u worker=%u", __entry->dev, __entry->vq, __entry->worker)
);

/* The driver is signalled */
DEFINE_EVENT(vhl_vq, vhl_call,
	TP_PROTO(const struct vhl_vq *vq),
	TP_ARGS(vq)
);

/* n completed chains were shown to the driver; used counts all so far, as vhl_ring_pushed() does */
TRACE_EVENT(vhl_complete,
	TP_PROTO(const struct vhl_vq *vq, u32 n),
	TP_ARGS(vq, n),
	TP_STRUCT__entry(
		__field(u64, dev)
		__field(u32, vq)
		__field(u32, n)
		__field(u16, used)
	),
	TP_fast_assign(
		__entry->dev = vq->dev->id;
		__entry->vq = vq->index;
		__entry->n = n;
		__entry->used = vhl_ring_pushed(vq->ring);
	),
	TP_printk("dev=%llu vq=%u n=%u used=%u", __entry->dev, __entry->vq, __entry->n,
		  __entry->used)
);

/* A queue waits for a translation; perm is of VHL_MEM_* */
TRACE_EVENT(vhl_miss,
	TP_PROTO(const struct vhl_vq *vq, u64 addr, u32 perm),
	TP_ARGS(vq, addr, perm),
	TP_STRUCT__entry(
		__field(u64, dev)
		__field(u32, vq)
		__field(u64, addr)
		__field(u32, perm)
	),
	TP_fast_assign(
		__entry->dev = vq->dev->id;
		__entry->vq = vq->index;
		__entry->addr = addr;
		__entry->perm = perm;
	),
	TP_printk("dev=%llu vq=%u addr=%#llx perm=%u", __entry->dev, __entry->vq, __entry->addr,
		  __entry->perm)
);

/* The backend has the queue wait for a time that it has set */
DEFINE_EVENT(vhl_vq, vhl_later,
	TP_PROTO(const struct vhl_vq *vq),
	TP_ARGS(vq)
);

/* A queue broke; fault is enum vhl_ring_fault */
TRACE_EVENT(vhl_break,
	TP_PROTO(const struct vhl_vq *vq, u32 fault),
	TP_ARGS(vq, fault),
	TP_STRUCT__entry(
		__field(u64, dev)
		__field(u32, vq)
		__field(u32, fault)
	),
	TP_fast_assign(
		__entry->dev = vq->dev->id;
		__entry->vq = vq->index;
		__entry->fault = fault;
	),
	TP_printk("dev=%llu vq=%u fault=%u", __entry->dev, __entry->vq, __entry->fault)
);

#endif /* VHL_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
