# SPDX-License-Identifier: GPL-2.0
"""Cases of serve_cases.py about the log of dirty memory."""
import fcntl
import os
import struct

from serve_rig import *  # noqa: F403
from vhost_user import *  # noqa: F403


def log(size=1 << 20, offset=0):
    return struct.pack("<QQ", size, offset)


class Log:
    """A bitmap, in a file that has this name, too: then none of it may be left"""

    def __init__(self, size=1 << 20):
        self.memory = Memory(size)
        self.fd = self.memory.fd

    def taken(self):
        """The guest's pages that are marked, which are none then"""
        pages = {at * 8 + bit for at, byte in enumerate(self.memory.map[:]) if byte for bit in range(8) if byte >> bit & 1}
        for page in pages:
            self.memory.map[page // 8] = 0
        return pages

    def close(self):
        self.memory.close()


WITH_LOG = VERSION_1 | LOG_ALL | PROTOCOL_FEATURES


@case
def logging():
    memory, bits = Memory(), Log()
    with connect() as fe:
        ready(fe, memory)
        kick = io(fe, memory)
        same("answer", b"", fe.ask(SET_LOG_BASE, log(), [bits.fd]))
        same("eventfd", 0, fe.says(SET_LOG_FD, b"", [fe.eventfd()]))
        same("LOG_ALL", 0, fe.says(SET_FEATURES, u64(WITH_LOG)))
        same("rings", 0, fe.says(SET_VRING_ADDR, memory.areas(0, True)))
        if ARGS.real:
            bits.taken()
            memory.read_sector(0)
            os.eventfd_write(kick, 1)
            used(memory, 2)
            pages = bits.taken()
            # data and status are in one page, the used ring in another
            same("marked", {(2 << 20) // 4096, (3 << 20) // 4096}, pages)
        # another bitmap, which begins anywhere
        same("answer", b"", fe.ask(SET_LOG_BASE, log(SIZE // 32768, 12345), [bits.fd]))
        same("maps", 2, maps())
        same("without", 0, fe.says(SET_FEATURES, u64(VERSION_1 | PROTOCOL_FEATURES)))
        same("rings", 0, fe.says(SET_VRING_ADDR, memory.areas()))
        same("maps", 1, maps())
        # as QEMU does where the migration begins while the guest stands
        fe.ask(GET_VRING_BASE, state(0, 0))
        same("LOG_ALL", 0, fe.says(SET_FEATURES, u64(WITH_LOG)))
        same("rings", 0, fe.says(SET_VRING_ADDR, memory.areas(0, True)))
        same("disabled", 0, fe.says(SET_VRING_ENABLE, state(0, 0)))
        same("kick", 0, fe.says(SET_VRING_KICK, u64(0), [kick]))
        same("answer", b"", fe.ask(SET_LOG_BASE, log(), [bits.fd]))
        same("enabled", 0, fe.says(SET_VRING_ENABLE, state(0, 1)))
        same("reset", 0, fe.says(RESET_DEVICE))
        same("maps", 1, maps())
        same("features", 0, fe.says(SET_FEATURES, u64(VERSION_1 | PROTOCOL_FEATURES)))
        # and one that is never used
        same("answer", b"", fe.ask(SET_LOG_BASE, log(), [bits.fd]))
        same("reset", 0, fe.says(RESET_DEVICE))
        same("maps", 1, maps())
    memory.close()
    bits.close()
    nothing_left()


@case
def bad_logs():
    """The connection stays: a front end hears of it when memory is to be logged"""
    memory, short, end = Memory(), Log(4096), 1 << 64
    event, sealed = os.eventfd(0), os.memfd_create("guest", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, 1 << 20)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    wrong = [(fd, log()) for fd in (short.fd, event, sealed)]
    wrong += [(memory.fd, log(*what)) for what in ((0, 0), (SIZE // 32768 - 1, 0), (end - 1, 0), (4096, SIZE), (4096, end - 1),
                                                   (SIZE + 1, 0))]
    for fd, message in wrong:
        with connect() as fe:
            ready(fe, memory)
            io(fe, memory, base=memory.idx)
            same("answer", b"", fe.ask(SET_LOG_BASE, message, [fd]))
            same("maps", 1, maps())
            refused(fe.says(SET_FEATURES, u64(WITH_LOG)))
            refused(fe.says(SET_VRING_ADDR, memory.areas(0, True)))
            same("the queue still runs", 0, fe.says(SET_VRING_ENABLE, state(0, 1)))
        nothing_left()
    with connect() as fe:
        ready(fe, memory)
        same("answer", b"", fe.ask(SET_LOG_BASE, log(SIZE // 32768), [short.fd]))
        refused(fe.says(ADD_MEM_REG, slot(region(guest=1 << 32, user=USER + (1 << 32))), [memory.fd]))
        refused(fe.says(SET_LOG_FD, b"", [memory.fd]))
        # cut off under the kernel: it is pinned
        io(fe, memory, base=memory.idx)
        same("LOG_ALL", 0, fe.says(SET_FEATURES, u64(WITH_LOG)))
        os.ftruncate(short.fd, 0)
        fe.ask(GET_VRING_BASE, state(0, 0))
        same("memory anew", 0, fe.says(SET_MEM_TABLE, table(region()), [memory.fd]))
    cut_off(SET_LOG_BASE, log(), before=FrontEnd.negotiate)
    cut_off(SET_LOG_BASE, log()[:-1], [memory.fd], before=FrontEnd.negotiate)
    cut_off(SET_LOG_BASE, log(), [memory.fd])
    cut_off(SET_LOG_FD, b"", before=FrontEnd.negotiate)
    with connect() as fe:
        ready(fe, memory, protocol=1 << 3)
        refused(fe.says(SET_VRING_ADDR, memory.areas(0, True)))
    os.close(event)
    os.close(sealed)
    short.close()
    memory.close()
    nothing_left()
