# SPDX-License-Identifier: GPL-2.0
"""Cases of serve_cases.py: memory that outlives the back end (GET_INFLIGHT_FD, SET_INFLIGHT_FD)."""
import os
import struct
import threading
import time

from serve_rig import *  # noqa: F403
from vhost_user import *  # noqa: F403


def region_of(fe, **what):
    """Memory for requests in flight: what says where it is, and its descriptor"""
    payload, fd = fe.ask_fd(GET_INFLIGHT_FD, inflight(**what))
    size, offset = struct.unpack_from("<QQ", payload)
    return size, offset, fd


def take_over(fe, memory, size, offset, fd):
    ready(fe, memory)
    same("taken over", 0, fe.says(SET_INFLIGHT_FD, inflight(size, offset), [fd]))


@case
def memory_that_outlives_the_back_end():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        size, offset, fd = region_of(fe)
        same("what is there of it", (True, True), (os.fstat(fd).st_size >= size, offset == 0))
        same("requests in flight, as others look for them", bytes(size - 4096), os.pread(fd, size - 4096, 0))
        try:
            os.ftruncate(fd, 4096)
            raise AssertionError("it can be cut off")
        except PermissionError:
            pass
        same("used", 0, fe.says(SET_INFLIGHT_FD, inflight(size, offset), [fd]))
        io(fe, memory)
        fe.ask(GET_VRING_BASE, state(0, 0))
        # without its padding, and once more
        same("used again", 0, fe.says(SET_INFLIGHT_FD, inflight(size, offset)[:20], [fd]))
    # a front end that knows nothing: its base counts for nothing
    with connect() as fe:
        take_over(fe, memory, size, offset, fd)
        io(fe, memory)
        base = struct.unpack("<II", fe.ask(GET_VRING_BASE, state(0, 0)))
        if ARGS.real:
            same("base", (0, 2), base)
        same("reset", 0, fe.says(RESET_DEVICE))
    # after a reset there is nothing to go on with
    with connect() as fe:
        take_over(fe, memory, size, offset, fd)
        fe.queue(memory, base=7)
        same("base", (0, 7), struct.unpack("<II", fe.ask(GET_VRING_BASE, state(0, 0))))
    os.close(fd)
    memory.close()
    nothing_left()


@case
def a_back_end_that_still_stops():
    memory = Memory()
    with connect() as fe:
        ready(fe, memory)
        size, offset, fd = region_of(fe)
        same("used", 0, fe.says(SET_INFLIGHT_FD, inflight(size, offset), [fd]))
        io(fe, memory)
        runs = os.pread(fd, 4096, size - 4096)
        fe.ask(GET_VRING_BASE, state(0, 0))
        stopped = os.pread(fd, 4096, size - 4096)
    changed = [i for i in range(0, 4096, 4) if runs[i:i + 4] != stopped[i:i + 4]]
    same("what a stop changes, and what is there before", (1, b"\xff" * 4),
         (len(changed), runs[changed[0]:changed[0] + 4]))
    # as if the kernel stored it only then
    os.pwrite(fd, runs, size - 4096)
    timer = threading.Timer(1, lambda: os.pwrite(fd, stopped, size - 4096))
    with connect() as fe:
        take_over(fe, memory, size, offset, fd)
        timer.start()
        began = time.monotonic()
        io(fe, memory)
        waited = time.monotonic() - began
        same("waited for", True, waited > 0.9)
        if ARGS.real:
            same("base", (0, 2), struct.unpack("<II", fe.ask(GET_VRING_BASE, state(0, 0))))
    timer.join()
    os.close(fd)
    memory.close()
    nothing_left()


@case
def bad_memory_for_requests_in_flight():
    memory, event = Memory(), os.eventfd(0)
    for payload in (b"", bytes(16), inflight(queues=0), inflight(num=0), inflight(queues=17), inflight(num=65535),
                    inflight() + bytes(1)):
        cut_off(GET_INFLIGHT_FD, payload, before=FrontEnd.negotiate)
    cut_off(GET_INFLIGHT_FD, inflight(), [memory.fd], before=FrontEnd.negotiate)
    cut_off(SET_INFLIGHT_FD, inflight(), before=FrontEnd.negotiate)
    cut_off(SET_INFLIGHT_FD, inflight(), [memory.fd] * 2, before=FrontEnd.negotiate)
    cut_off(SET_INFLIGHT_FD, inflight()[:19], [memory.fd], before=FrontEnd.negotiate)
    with connect() as fe:
        ready(fe, memory)
        size, offset, fd = region_of(fe)
        # those of others, of no file, beyond the end, not aligned, around the end
        for what, other in ((inflight(SIZE), memory.fd), (inflight(size), event), (inflight(size + 4096), fd),
                            (inflight(size, 4096), fd), (inflight(size, 1), fd), (inflight(0), fd), (inflight(4095), fd),
                            (inflight((1 << 64) - 4096, 4096), fd), (inflight(4096, (1 << 64) - 4096), fd)):
            refused(fe.says(SET_INFLIGHT_FD, what, [other]))
        same("what is right", 0, fe.says(SET_INFLIGHT_FD, inflight(size), [fd]))
        io(fe, memory)
    os.close(fd)
    nothing_left()
    # cut off, and with anything in it, while it is used
    copy = os.memfd_create("copy")
    with connect() as fe:
        ready(fe, memory)
        size, _, fd = region_of(fe)
        data = os.pread(fd, size, 0)
        os.close(fd)
    nothing_left()
    for garbage in (0x00, 0x01, 0xFF):
        os.ftruncate(copy, 0)
        os.pwrite(copy, data[:-4096] + data[-4096:-4080] + bytes([garbage]) * 4080, 0)
        with connect() as fe:
            ready(fe, memory)
            same("garbage", 0, fe.says(SET_INFLIGHT_FD, inflight(size), [copy]))
            fe.queue(memory)
            os.ftruncate(copy, 0)
            fe.says(SET_VRING_ENABLE, state(0, 1))
            os.ftruncate(copy, 100)
            fe.ask(GET_VRING_BASE, state(0, 0))
            same("reset", 0, fe.says(RESET_DEVICE))
            refused(fe.says(SET_INFLIGHT_FD, inflight(size), [copy]))
    os.close(copy)
    os.close(event)
    memory.close()
    nothing_left()
