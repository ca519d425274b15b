#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: frames.py LINK COUNT LARGEST

Sends COUNT frames of all sizes up to LARGEST bytes into LINK, whose other end sends each of them back. Compares every byte
of what comes back, and that no frame overtakes one of its flow: those that are large enough are UDP of 16 flows, which a
link with several queues spreads. Says what went wrong first, with exit status 1."""
import random
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
FLOWS = 16
# to and from nobody, so that the host does not answer
ADDRESSES = bytes.fromhex("020000000002" "020000000001")
SMALL = ADDRESSES + bytes.fromhex("88b5")
SMALLEST = len(SMALL) + 4
IP_SMALLEST = len(ADDRESSES) + 2 + 20 + 8 + 4
SIZES = (18, 19, 45, 46, 47, 59, 60, 61, 64, 65, 127, 128, 129, 255, 256, 1000, 1023, 1024, 1025, 1500, 1513, 1514,
         1515, 2035, 2036, 2037, 2048, 2049, 4082, 4083, 4084, 4095, 4096, 4097, 8191, 8192, 8193, 9000, 9013, 9014)
WINDOW = 100
SILENCE = 30


def head(number, size):
    """What a frame has before its number."""
    if size < IP_SMALLEST:
        return SMALL
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size - 14, 0, 0, 64, socket.IPPROTO_UDP, 0,
                     bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)))
    udp = struct.pack(">HHHH", 1024 + number % FLOWS, 9, size - 34, 0)
    return ADDRESSES + b"\x08\x00" + ip + udp


def frame(number, sizes):
    """Every second one has a size of the list."""
    chance = random.Random(number)
    size = sizes[number // 2 % len(sizes)] if number % 2 else chance.randint(SMALLEST, sizes[-1])
    start = head(number, size) + number.to_bytes(4, "big")
    return start + chance.randbytes(size - len(start))


def number_of(data):
    """Return: a frame's number and the flow that it is of"""
    if data[12:14] == SMALL[12:14]:
        return int.from_bytes(data[14:18], "big"), None
    return int.from_bytes(data[42:46], "big"), int.from_bytes(data[34:36], "big")


def difference(data, want):
    at = next((i for i, (a, b) in enumerate(zip(data, want)) if a != b), min(len(data), len(want)))
    return f"{len(data)} bytes, not {len(want)}; the first that differs is number {at}"


def exchange(link, count, largest):
    """Return: what went wrong, or None"""
    sizes = [size for size in SIZES if size <= largest]
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    s.settimeout(SILENCE)
    s.bind((link, 0))
    sent = got = 0
    under_way = {}
    last = {}
    heard = time.monotonic()
    while got < count:
        while sent < count and sent - got < WINDOW:
            under_way[sent] = frame(sent, sizes)
            s.send(under_way[sent])
            sent += 1
        if not select.select([s], [], [], 1)[0]:
            if time.monotonic() - heard > SILENCE:
                return f"nothing came back for {SILENCE} s: {sent} sent, {got} back"
            continue
        data, address = s.recvfrom(65536)
        if address[2] == PACKET_OUTGOING:
            continue
        number, flow = number_of(data)
        want = under_way.pop(number, None)
        if want is None:
            return f"a frame of {len(data)} bytes came back that is not under way: {data[:64].hex()}"
        if data != want:
            return f"frame {number}: " + difference(data, want)
        if number <= last.get(flow, -1):
            return f"frame {number} came back after {last[flow]}"
        last[flow] = number
        got += 1
        heard = time.monotonic()
    return None


error = exchange(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
if error:
    sys.exit(error)
