#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: serve_cases.py SOCKET PID [--real] [--rounds N] [--seed N]

Front ends that make mistakes, or mean harm, against the `vhostlite serve` that listens at SOCKET and is process PID: each
is refused or cut off, and nothing of it is left behind. --real: its nodes are real, so queues do something. Prints TAP."""
import os
import random
import socket
import struct
import sys
import tempfile
import time

import serve_inflight  # noqa: F401 # more cases
from serve_log_cases import *  # noqa: F403
from serve_rig import *  # noqa: F403
from vhost_user import *  # noqa: F403


# ---- what is right ----
@case
def offers():
    with connect() as fe:
        offered = fe.negotiate()
        same("bits of the protocol", 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 16, offered)
        same("ACCESS_PLATFORM, RING_RESET", 0, fe.features & (1 << 33 | 1 << 40))
        wanted = LOG_ALL | VERSION_1 | RING_PACKED | PROTOCOL_FEATURES
        same("LOG_ALL, VERSION_1, packed, the protocol's own", wanted, fe.features & wanted)
        same("queues", 16, fe.ask_u64(GET_QUEUE_NUM))
        if fe.ask_u64(GET_MAX_MEM_SLOTS) < 64:
            raise AssertionError("few slots of memory")
    nothing_left()


@case
def config_space():
    with connect() as fe:
        fe.negotiate()
        whole = fe.ask(GET_CONFIG, config(0, 72))
        same("header", struct.pack("<III", 0, 72, 0), whole[:12])
        same("part", struct.pack("<III", 8, 4, 0) + whole[20:24], fe.ask(GET_CONFIG, config(8, 4)))
        same("behind the end", bytes(56), fe.ask(GET_CONFIG, config(0, 128))[12 + 72:])
        same("all of it", 268, len(fe.ask(GET_CONFIG, config(0, 256))))
        same("writing what is there", 0, fe.says(SET_CONFIG, config(0, 8, 1, whole[12:20])))
        refused(fe.says(SET_CONFIG, config(0, 1, 0, bytes([whole[12] ^ 1]))))
        refused(fe.says(SET_CONFIG, config(0, 1, 1, bytes([whole[12] ^ 1]))))


@case
def status():
    with connect() as fe:
        fe.negotiate()
        same("at first", 0, fe.ask_u64(GET_STATUS))
        same("set", 0, fe.says(SET_STATUS, u64(0x0F)))
        same("read back", 0x0F, fe.ask_u64(GET_STATUS))
        refused(fe.says(SET_STATUS, u64(0x100)))
        same("reset", 0, fe.says(RESET_DEVICE))
        same("after a reset", 0, fe.ask_u64(GET_STATUS))


@case
def a_queue():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        io(fe, memory)
        index, base = struct.unpack("<II", fe.ask(GET_VRING_BASE, state(0, 0)))
        same("base", (0, 1 if ARGS.real else 0), (index, base))
        same("the size, now that it has stopped", 0, fe.says(SET_VRING_NUM, state(0, memory.num)))
        # goes on there with another kick
        if ARGS.real:
            kick = fe.eventfd()
            fe.send(SET_VRING_KICK, u64(0), [kick])
            same("flush of messages", 0, fe.ask_u64(GET_STATUS))
            memory.read_sector(1)
            os.eventfd_write(kick, 1)
            used(memory, 2)
        same("disabled", 0, fe.says(SET_VRING_ENABLE, state(0, 0)))
        same("base", (0, 2 if ARGS.real else 0), struct.unpack("<II", fe.ask(GET_VRING_BASE, state(0, 0))))
    memory.close()
    nothing_left()


@case
def a_queue_without_protocol_features():
    memory = Memory()
    with connect() as fe:
        fe.ask_u64(GET_FEATURES)
        fe.send(SET_OWNER)
        fe.send(SET_FEATURES, u64(VERSION_1))
        fe.send(SET_MEM_TABLE, table(region()), [memory.fd])
        kick, call, _ = fe.queue(memory)
        fe.ask_u64(GET_FEATURES)
        if ARGS.real:
            memory.read_sector(0)
            os.eventfd_write(kick, 1)
            used(memory, 1)
            if not signalled(call):
                raise AssertionError("no call")
    memory.close()
    nothing_left()


@case
def reset_keeps_memory():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        io(fe, memory)
        same("reset", 0, fe.says(RESET_DEVICE))
        same("base", (0, 0), struct.unpack("<II", fe.ask(GET_VRING_BASE, state(0, 0))))
        fe.send(SET_FEATURES, u64(VERSION_1 | PROTOCOL_FEATURES))
        memory.map[2 << 20:(2 << 20) + 4] = bytes(4)
        memory.map[1 << 20:(1 << 20) + 4] = bytes(4)
        memory.idx = 0
        io(fe, memory)
        # a front end that knows of the status resets by it
        same("status 0", 0, fe.says(SET_STATUS, u64(0)))
        refused(fe.says(SET_FEATURES, u64(1 << 40)))
        same("features", 0, fe.says(SET_FEATURES, u64(VERSION_1 | PROTOCOL_FEATURES)))
    memory.close()
    nothing_left()


@case
def regions_come_and_go():
    low, high = Memory(), Memory()
    with connect() as fe:
        fe.negotiate()
        same("add", 0, fe.says(ADD_MEM_REG, slot(region()), [low.fd]))
        far = region(guest=1 << 32, user=USER + (1 << 32))
        same("add another", 0, fe.says(ADD_MEM_REG, slot(far), [high.fd]))
        io(fe, low)
        refused(fe.says(ADD_MEM_REG, slot(region(guest=1 << 20)), [high.fd]))
        same("remove", 0, fe.says(REM_MEM_REG, slot(far)))
        refused(fe.says(REM_MEM_REG, slot(far)))
        same("add once more", 0, fe.says(ADD_MEM_REG, slot(far), [high.fd]))
        same("remove with a descriptor", 0, fe.says(REM_MEM_REG, slot(far), [high.fd]))
        same("the queue still runs", 0, fe.says(SET_VRING_ENABLE, state(0, 1)))
    low.close()
    high.close()
    nothing_left()


@case
def an_unaligned_offset():
    memory = Memory()
    with connect() as fe:
        fe.negotiate()
        same("table", 0, fe.says(SET_MEM_TABLE, table(region(size=8192, offset=12345)), [memory.fd]))
    memory.close()
    nothing_left()


@case
def one_at_a_time():
    with connect() as first:
        first.negotiate()
        with connect() as second:
            second.ends()
        first.ask_u64(GET_FEATURES)
    with connect() as third:
        third.negotiate()


@case
def a_message_in_pieces():
    with connect() as fe:
        for byte in struct.pack("<III", GET_FEATURES, VERSION, 0):
            fe.raw(bytes([byte]))
            time.sleep(0.01)
        fe.answer(GET_FEATURES)
        fe.raw(struct.pack("<III", SET_FEATURES, VERSION, 8))
        fe.raw(u64(0))
        fe.ask_u64(GET_FEATURES)


# ---- what is not ----
@case
def wrong_sizes():
    memory = Memory()
    for request, size in ((SET_FEATURES, 7), (SET_FEATURES, 9), (SET_VRING_NUM, 4), (SET_VRING_ADDR, 39),
                          (GET_FEATURES, 8), (GET_CONFIG, 11), (GET_CONFIG, 300), (SET_MEM_TABLE, 4), (ADD_MEM_REG, 8),
                          (SET_STATUS, 1), (SET_CONFIG, 0)):
        cut_off(request, bytes(size), before=FrontEnd.negotiate)
    for wrong in (table(region())[:-1], struct.pack("<II", 9, 0) + region() * 9, struct.pack("<II", 0xFFFFFFFF, 0)):
        cut_off(SET_MEM_TABLE, wrong, [memory.fd], before=FrontEnd.negotiate)
    for payload in (config(0, 400), config(100, 200), config(256, 1), config(0xFFFFFFFF, 1), config(0, 60)[:-1],
                    config(0, 0xFFFFFFFF, 0, bytes(8)), config(8, 4, 0, bytes(8))):
        cut_off(GET_CONFIG, payload, before=FrontEnd.negotiate)
        cut_off(SET_CONFIG, payload, before=FrontEnd.negotiate)
    memory.close()


@case
def wrong_headers():
    for flags in (0, 2, 3, VERSION | REPLY):
        cut_off(GET_FEATURES, b"", (), flags)
    for size in (513, 1 << 16, 0xFFFFFFFF):
        cut_off(SET_FEATURES, b"", (), VERSION, size)


@case
def cut_short():
    for data in (b"\1", struct.pack("<III", SET_FEATURES, VERSION, 8) + b"\0\0"):
        with connect() as fe:
            fe.raw(data)
        nothing_left()


@case
def unknown_messages():
    for request in (0, 19, 20, 22, 23, 26, 28, 29, 30, 33, 35, 41, 42, 43, 255, 0xFFFFFFFF):
        with connect() as fe:
            fe.negotiate()
            refused(fe.says(request))
        cut_off(request)


@case
def without_their_feature():
    for request, payload in ((GET_QUEUE_NUM, b""), (GET_CONFIG, config(0, 8)), (GET_STATUS, b""), (RESET_DEVICE, b""),
                             (GET_MAX_MEM_SLOTS, b""), (GET_INFLIGHT_FD, inflight())):
        cut_off(request, payload)


@case
def features_not_offered():
    for bit in (5, 33, 40, 63):
        with connect() as fe:
            fe.negotiate()
            if not fe.features >> bit & 1:
                refused(fe.says(SET_FEATURES, u64(1 << bit)))
        cut_off(SET_FEATURES, u64(1 << 40))
    for bit in (2, 11, 17, 63):
        cut_off(SET_PROTOCOL_FEATURES, u64(1 << bit))


@case
def many_refusals():
    with connect() as fe:
        fe.negotiate()
        try:
            for _ in range(200):
                refused(fe.says(99))
        except Gone:
            return
    raise AssertionError("it goes on for ever")


@case
def descriptors_where_none_belong():
    memory = Memory()
    cut_off(GET_FEATURES, b"", [memory.fd])
    cut_off(SET_FEATURES, u64(0), [memory.fd] * 8)
    cut_off(SET_VRING_NUM, state(0, 64), [memory.fd] * 20)
    cut_off(SET_VRING_CALL, u64(0), [memory.fd] * 2)
    cut_off(SET_VRING_CALL, u64(0 | NO_FD), [memory.fd])
    cut_off(SET_VRING_CALL, u64(0))
    cut_off(SET_MEM_TABLE, table(region()), [memory.fd] * 2)
    cut_off(SET_MEM_TABLE, table(region()))
    cut_off(SET_BACKEND_REQ_FD, b"", before=FrontEnd.negotiate)
    cut_off(ADD_MEM_REG, slot(region()), before=FrontEnd.negotiate)
    # with every byte of a message
    with connect() as fe:
        try:
            for byte in struct.pack("<III", SET_MEM_TABLE, VERSION, 40) + table(region()):
                fe.raw(bytes([byte]), [memory.fd])
        except Gone:
            pass
        fe.ends()
    memory.close()
    nothing_left()


@case
def bad_regions():
    memory = Memory()
    end = 1 << 64
    for what in (dict(size=0), dict(size=SIZE + 1), dict(offset=1), dict(size=4096, offset=SIZE), dict(size=end - 1),
                 dict(offset=end - 1), dict(offset=end - SIZE, size=SIZE), dict(guest=end - 4096), dict(user=end - 4096),
                 dict(size=1 << 63), dict(offset=1 << 63)):
        with connect() as fe:
            fe.negotiate()
            refused(fe.says(SET_MEM_TABLE, table(region(**what)), [memory.fd]))
            refused(fe.says(ADD_MEM_REG, slot(region(**what)), [memory.fd]))
            same("what is right", 0, fe.says(SET_MEM_TABLE, table(region()), [memory.fd]))
            # one wrong region: the table that was there stays
            refused(fe.says(SET_MEM_TABLE, table(region(guest=1 << 40), region(**what)), [memory.fd] * 2))
            refused(fe.says(SET_MEM_TABLE, table(region(), region()), [memory.fd] * 2))
            same("maps", 1, maps())
        nothing_left()
    memory.close()


@case
def descriptors_that_are_no_memory():
    reader, writer = os.pipe()
    event, zero, here = os.eventfd(0), os.open("/dev/zero", os.O_RDWR), os.open("/", os.O_RDONLY)
    with tempfile.TemporaryFile() as f:
        f.truncate(SIZE)
        read_only = os.open(f"/proc/self/fd/{f.fileno()}", os.O_RDONLY)
        for fd in (reader, writer, event, zero, here, read_only):
            with connect() as fe:
                fe.negotiate()
                refused(fe.says(SET_MEM_TABLE, table(region()), [fd]))
                refused(fe.says(SET_BACKEND_REQ_FD, b"", [fd]))
                if fd != event:
                    refused(fe.says(SET_VRING_CALL, u64(0), [fd]))
                    refused(fe.says(SET_VRING_ERR, u64(0), [fd]))
                    refused(fe.says(SET_VRING_KICK, u64(0), [fd]))
        os.close(read_only)
    for fd in (reader, writer, event, zero, here):
        os.close(fd)
    nothing_left()


@case
def more_regions_than_slots():
    memory = Memory()
    with connect() as fe:
        fe.negotiate()
        slots = fe.ask_u64(GET_MAX_MEM_SLOTS)
        for i in range(slots):
            same(f"slot {i}", 0, fe.says(ADD_MEM_REG, slot(region(guest=i << 30, user=USER + (i << 30))), [memory.fd]))
        refused(fe.says(ADD_MEM_REG, slot(region(guest=slots << 30)), [memory.fd]))
        io(fe, memory)
    memory.close()
    nothing_left()


@case
def queues_that_are_not_there():
    for request, payload in ((SET_VRING_NUM, state(16, 64)), (SET_VRING_BASE, state(0xFFFFFFFF, 0)),
                             (GET_VRING_BASE, state(16, 0)), (SET_VRING_ENABLE, state(99, 1)),
                             (SET_VRING_ADDR, addr(16, 0, 0, 0))):
        cut_off(request, payload)
    event = os.eventfd(0)
    for request in (SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR):
        cut_off(request, u64(16), [event])
        cut_off(request, u64(255 | NO_FD))
    os.close(event)


@case
def rings_outside():
    """All of each area has to be in a region: what is behind it is the back end's own memory"""
    memory = Memory()
    end = USER + SIZE
    for desc, used, avail, num in ((0, USER, USER, 64), (USER - 16, USER, USER, 64), (end, USER, USER, 64),
                                   (end - 1008, USER, USER, 64), (USER, end - 512, USER, 64), (USER, USER, end - 128, 64),
                                   (end - 16 * 32768 + 16, USER, USER, 32768), ((1 << 64) - 16, USER, USER, 64),
                                   (USER, (1 << 64) - 4, USER, 64)):
        with connect() as fe:
            ready(fe, memory)
            fe.send(SET_VRING_NUM, state(0, num))
            fe.send(SET_VRING_ADDR, addr(0, desc, used, avail))
            fe.send(SET_VRING_KICK, u64(0), [fe.eventfd()])
            refused(fe.says(SET_VRING_ENABLE, state(0, 1)))
    memory.close()
    nothing_left()


@case
def rings_in_memory_that_went():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        io(fe, memory)
        same("removed", 0, fe.says(REM_MEM_REG, slot(region())))
        same("disabled", 0, fe.says(SET_VRING_ENABLE, state(0, 0)))
        refused(fe.says(SET_VRING_ENABLE, state(0, 1)))
    memory.close()
    nothing_left()


@case
def incomplete_queues():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        fe.send(SET_VRING_KICK, u64(0), [fe.eventfd()])
        refused(fe.says(SET_VRING_ENABLE, state(0, 1)))
    for num in (0, 32769, 0xFFFFFFFF):
        with connect() as fe:
            ready(fe, memory)
            refused(fe.says(SET_VRING_NUM, state(0, num)))
            refused(fe.says(SET_VRING_ADDR, addr(0, USER, USER, USER, flags=2)))
            refused(fe.says(SET_VRING_ENABLE, state(0, 2)))
            refused(fe.says(SET_VRING_KICK, u64(0 | NO_FD)))
    # a size that a split ring cannot have, areas that are not aligned
    for num, off in ((63, 0), (64, 1)):
        with connect() as fe:
            ready(fe, memory)
            fe.send(SET_VRING_NUM, state(0, num))
            fe.send(SET_VRING_ADDR, addr(0, USER + off, USER + (2 << 20), USER + (1 << 20)))
            fe.send(SET_VRING_KICK, u64(0), [fe.eventfd()])
            refused(fe.says(SET_VRING_ENABLE, state(0, 1)))
    memory.close()
    nothing_left()


@case
def changes_while_it_runs():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        io(fe, memory)
        refused(fe.says(SET_VRING_NUM, state(0, 128)))
        refused(fe.says(SET_VRING_BASE, state(0, 3)))
        refused(fe.says(SET_FEATURES, u64(0)))
        same("the same features", 0, fe.says(SET_FEATURES, u64(VERSION_1 | PROTOCOL_FEATURES)))
        same("no call", 0, fe.says(SET_VRING_CALL, u64(0 | NO_FD)))
        same("memory anew", 0, fe.says(SET_MEM_TABLE, table(region()), [memory.fd]))
    memory.close()
    nothing_left()


@case
def memory_cut_off_under_a_queue():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        kick, call, err = fe.queue(memory)
        same("enabled", 0, fe.says(SET_VRING_ENABLE, state(0, 1)))
        if ARGS.real:
            memory.read_sector(0)
        # where the request is there is nothing any more
        os.ftruncate(memory.fd, 3 << 20)
        os.eventfd_write(kick, 1)
        if ARGS.real and not (signalled(err) or signalled(call)):
            raise AssertionError("the queue says nothing")
        fe.ask_u64(GET_FEATURES)
        os.ftruncate(memory.fd, 0)
        os.eventfd_write(kick, 1)
        fe.ask_u64(GET_STATUS)
        fe.ask(GET_VRING_BASE, state(0, 0))
        refused(fe.says(SET_MEM_TABLE, table(region()), [memory.fd]))
    memory.close()
    nothing_left()


@case
def a_channel_that_nobody_reads():
    with connect() as fe:
        fe.negotiate()
        ours, theirs = socket.socketpair()
        same("channel", 0, fe.says(SET_BACKEND_REQ_FD, b"", [theirs.fileno()]))
        same("another", 0, fe.says(SET_BACKEND_REQ_FD, b"", [theirs.fileno()]))
        theirs.close()
        ours.close()
    nothing_left()


@case
def answers_that_nobody_reads():
    with connect() as fe:
        fe.sock.settimeout(5)
        try:
            for _ in range(1 << 20):
                fe.send(GET_FEATURES)
        except (Gone, TimeoutError):
            pass
    nothing_left()
    with connect() as fe:
        fe.negotiate()


@case
def gone_at_any_moment():
    memory = Memory()
    steps = [lambda fe: fe.negotiate(),
             lambda fe: fe.send(SET_MEM_TABLE, table(region()), [memory.fd]),
             lambda fe: fe.queue(memory),
             lambda fe: fe.send(SET_VRING_ENABLE, state(0, 1)),
             lambda fe: memory.read_sector(0)]
    for n in range(len(steps) + 1):
        with connect() as fe:
            for step in steps[:n]:
                step(fe)
        nothing_left()
    memory.close()


def known(memory, events):
    """A message that could be right, in most of its parts"""
    r = random.choice
    index = r((0, 0, 0, 1, 2, 15, 16, 255))
    reg = region(r((0, 0, 1 << 32, 4096)), r((SIZE, SIZE, 4096, 0, SIZE + 1)), r((USER, USER, USER + (1 << 32))), r((0, 0, 0, 7)))
    return r((
        (GET_FEATURES, b"", []),
        (SET_FEATURES, u64(r((VERSION_1, VERSION_1 | PROTOCOL_FEATURES, VERSION_1 | RING_PACKED, VERSION_1 | LOG_ALL, 0))), []),
        (SET_LOG_BASE, log(r((4096, SIZE // 32768, 1)), r((0, 0, 3))), [memory.fd]), (SET_LOG_FD, b"", [events[0]]),
        (SET_VRING_ADDR, memory.areas(index, True), []),
        (GET_PROTOCOL_FEATURES, b"", []), (SET_PROTOCOL_FEATURES, u64(r((0x1B22B, 8, 0))), []), (SET_OWNER, b"", []),
        (RESET_OWNER, b"", []), (SET_MEM_TABLE, table(region()), [memory.fd]), (SET_MEM_TABLE, table(reg), [memory.fd]),
        (SET_VRING_NUM, state(index, r((64, 64, 1, 0, 32768, 65))), []),
        (SET_VRING_BASE, state(index, r((0, 1, 0x80008000, 0xFFFFFFFF))), []), (SET_VRING_ADDR, memory.areas(index), []),
        (SET_VRING_ADDR, addr(index, *(USER + random.randrange(SIZE + 64) // 16 * 16 for _ in range(3))), []),
        (GET_VRING_BASE, state(index, 0), []), (SET_VRING_KICK, u64(index), [events[0]]),
        (SET_VRING_CALL, u64(index), [r(events + [memory.fd])]), (SET_VRING_ERR, u64(index | NO_FD), []),
        (SET_VRING_ENABLE, state(index, r((0, 1, 1, 2))), []), (GET_CONFIG, config(r((0, 8)), r((60, 72, 256))), []),
        (SET_CONFIG, config(0, 8), []), (RESET_DEVICE, b"", []), (SET_STATUS, u64(r((0, 1, 15))), []), (GET_STATUS, b"", []),
        (ADD_MEM_REG, slot(reg), [memory.fd]), (REM_MEM_REG, slot(reg), []),
        (GET_INFLIGHT_FD, inflight(queues=r((1, 2, 16, 17)), num=r((64, 1, 32768, 0))), []),
        (SET_INFLIGHT_FD, inflight(r((SIZE, 4096, 0)), r((0, 4096))), [r((memory.fd, events[0]))])))


def mutate(payload, fds, memory):
    data = bytearray(payload)
    kind = random.randrange(12)
    if kind == 0 and data:
        data[random.randrange(len(data))] = random.randrange(256)
    elif kind == 1:
        data += bytes(random.randrange(64))
    elif kind == 2:
        data = data[:random.randrange(len(data) + 1)]
    elif kind == 3:
        fds = fds + [memory.fd] * random.randrange(1, 9)
    return bytes(data), fds


@case
def fuzz():
    memory, events = Memory(), [os.eventfd(0), os.eventfd(0)]
    messages = 0
    for n in range(ARGS.rounds):
        with connect() as fe:
            try:
                if random.random() < 0.9:
                    fe.negotiate()
                    fe.send(SET_MEM_TABLE, table(region()), [memory.fd])
                if random.random() < 0.5:
                    fe.queue(memory)
                fe.sock.setblocking(False)
                for _ in range(random.randrange(60)):
                    request, payload, fds = known(memory, events)
                    payload, fds = mutate(payload, fds, memory)
                    fe.send(request, payload, fds, VERSION | random.choice((0, NEED_REPLY, NEED_REPLY, NEED_REPLY)))
                    messages += 1
                    try:
                        fe.sock.recv(4096)
                    except BlockingIOError:
                        pass
            except (Gone, BlockingIOError, ConnectionResetError):
                pass
    memory.close()
    for event in events:
        os.close(event)
    nothing_left()
    with connect() as fe:
        fe.negotiate()
    print(f"# {messages} messages in {ARGS.rounds} connections")


if __name__ == "__main__":
    sys.exit(main(__doc__.removeprefix("usage: ")))
