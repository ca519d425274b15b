# SPDX-License-Identifier: GPL-2.0
"""A front end of the vhost-user protocol, as much of one as tests of `vhostlite serve` need: it says what it is told to."""
import mmap
import os
import select
import socket
import struct

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 6, 7, 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG = 21, 24, 25
GET_INFLIGHT_FD, SET_INFLIGHT_FD = 31, 32
RESET_DEVICE, GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 34, 36, 37, 38, 39, 40
VERSION, REPLY, NEED_REPLY = 1, 4, 8
NO_FD = 0x100
PROTOCOL_FEATURES = 1 << 30
LOG_ALL = 1 << 26
VERSION_1 = 1 << 32
RING_PACKED = 1 << 34
WAIT = 60  # seconds, for an emulated processor

USER = 0x7E5000000000  # where the front end has its memory
SIZE = 4 << 20


class Gone(Exception):
    """The back end has closed the connection."""


def u64(value):
    return struct.pack("<Q", value)


def state(index, num):
    return struct.pack("<II", index, num)


def region(guest=0, size=SIZE, user=USER, offset=0):
    return struct.pack("<QQQQ", guest, size, user, offset)


def table(*regions):
    return struct.pack("<II", len(regions), 0) + b"".join(regions)


def slot(one):
    return u64(0) + one


def addr(index, desc, used, avail, flags=0, log=0):
    return struct.pack("<IIQQQQ", index, flags, desc, used, avail, log)


def config(offset, size, flags=0, data=None):
    return struct.pack("<III", offset, size, flags) + (bytes(size) if data is None else data)


def inflight(size=0, offset=0, queues=2, num=64):
    return struct.pack("<QQHHI", size, offset, queues, num, 0)


class Memory:
    """Shared memory, and a split ring of @num entries at its start: descriptors, available ring at 1 MiB, used ring at 2."""

    def __init__(self, size=SIZE, num=64):
        self.fd = os.memfd_create("guest")
        self.num = num
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)
        self.idx = 0

    def close(self):
        self.map.close()
        os.close(self.fd)

    def areas(self, index=0, logged=False):
        return addr(index, USER, USER + (2 << 20), USER + (1 << 20), *((1, 2 << 20) if logged else ()))

    def read_sector(self, sector):
        """One request: its header and data at 3 MiB"""
        at = 3 << 20
        self.map[at:at + 16] = struct.pack("<IIQ", 0, 0, sector)
        self.map[at + 1024] = 0xFF
        for i, (where, size, flags, after) in enumerate(
                ((at, 16, 1, 1), (at + 512, 512, 3, 2), (at + 1024, 1, 2, 0))):
            self.map[i * 16:i * 16 + 16] = struct.pack("<QIHH", where, size, flags, after)
        avail = 1 << 20
        struct.pack_into("<H", self.map, avail + 4 + 2 * (self.idx % self.num), 0)
        self.idx = (self.idx + 1) & 0xFFFF
        struct.pack_into("<H", self.map, avail + 2, self.idx)

    def used_idx(self):
        return struct.unpack_from("<H", self.map, (2 << 20) + 2)[0]

    def status(self):
        return self.map[(3 << 20) + 1024]

    def data(self):
        return self.map[(3 << 20) + 512:(3 << 20) + 1024]


class FrontEnd:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT)
        self.sock.connect(path)
        self.features = 0
        self.events = []

    def close(self):
        self.sock.close()
        for fd in self.events:
            os.close(fd)
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def raw(self, data, fds=()):
        try:
            if fds:
                socket.send_fds(self.sock, [data], list(fds))
            else:
                self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Gone from e

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        size = len(payload) if size is None else size
        self.raw(struct.pack("<III", request, flags, size) + payload, fds)

    def read(self, size):
        data = b""
        while len(data) < size:
            try:
                part = self.sock.recv(size - len(data))
            except ConnectionResetError as e:
                raise Gone from e
            if not part:
                raise Gone
            data += part
        return data

    def answer(self, request):
        got, flags, size = struct.unpack("<III", self.read(12))
        payload = self.read(size)
        if got != request or flags != VERSION | REPLY:
            raise AssertionError(f"answer to {request}: {got}, flags {flags:#x}")
        return payload

    def ask(self, request, payload=b"", fds=()):
        self.send(request, payload, fds)
        return self.answer(request)

    def ask_u64(self, request):
        return struct.unpack("<Q", self.ask(request))[0]

    def ask_fd(self, request, payload=b""):
        """An answer with a descriptor, which is the caller's"""
        self.send(request, payload)
        data, fds, _, _ = socket.recv_fds(self.sock, 12, 4)
        got, flags, size = struct.unpack("<III", data + self.read(12 - len(data)))
        if got != request or flags != VERSION | REPLY or len(fds) != 1:
            raise AssertionError(f"answer to {request}: {got}, flags {flags:#x}, {len(fds)} descriptors")
        return self.read(size), fds[0]

    def says(self, request, payload=b"", fds=()):
        """A message with its acknowledgement: 0, or not"""
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        return struct.unpack("<Q", self.answer(request))[0]

    def ends(self):
        """Nothing more comes from it but the end"""
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True

    def eventfd(self):
        self.events.append(os.eventfd(0, os.EFD_NONBLOCK))
        return self.events[-1]

    def negotiate(self, features=VERSION_1 | PROTOCOL_FEATURES, protocol=None):
        self.features = self.ask_u64(GET_FEATURES)
        offered = self.ask_u64(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, u64(offered if protocol is None else protocol))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, u64(features))
        return offered

    def queue(self, memory, index=0, num=None, base=0):
        """Sets one up, up to its kick, that it begins with. Returns the eventfds of kick and call"""
        kick, call, err = self.eventfd(), self.eventfd(), self.eventfd()
        self.send(SET_VRING_CALL, u64(index), [call])
        self.send(SET_VRING_ERR, u64(index), [err])
        self.send(SET_VRING_NUM, state(index, num or memory.num))
        self.send(SET_VRING_BASE, state(index, base))
        self.send(SET_VRING_ADDR, memory.areas(index))
        self.send(SET_VRING_KICK, u64(index), [kick])
        return kick, call, err


def signalled(fd, seconds=WAIT):
    return bool(select.select([fd], [], [], seconds)[0]) and bool(os.eventfd_read(fd))
