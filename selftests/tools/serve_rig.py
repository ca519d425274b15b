# SPDX-License-Identifier: GPL-2.0
"""What the cases of serve_cases.py share: connections, what is left behind of one, running them."""
import argparse
import os
import random
import sys
import time

from vhost_user import *  # noqa: F403

ARGS = argparse.Namespace()
CASES = []


def case(f):
    CASES.append(f)
    return f


def connect():
    return FrontEnd(ARGS.socket)


def files():
    return len(os.listdir(f"/proc/{ARGS.pid}/fd"))


def maps():
    with open(f"/proc/{ARGS.pid}/maps", encoding="ascii") as f:
        return sum("memfd:guest" in line for line in f)


def nothing_left():
    end = time.monotonic() + WAIT
    while files() != ARGS.base or maps():
        if time.monotonic() > end:
            raise AssertionError(f"{files()} open files, not {ARGS.base}, {maps()} mappings of guests")
        time.sleep(0.02)


def same(what, want, got):
    if want != got:
        raise AssertionError(f"{what}: {got!r}, not {want!r}")


def refused(answer):
    if answer == 0:
        raise AssertionError("it was not refused")


def ready(fe, memory, **more):
    """Negotiated, and with memory"""
    fe.negotiate(**more)
    same("a table of memory", 0, fe.says(SET_MEM_TABLE, table(region()), [memory.fd]))


def used(memory, idx):
    """A call may come before: a queue that starts tells the driver to look"""
    end = time.monotonic() + WAIT
    while memory.used_idx() != idx and time.monotonic() < end:
        time.sleep(0.01)
    same("used index", idx, memory.used_idx())


def io(fe, memory, index=0, base=0):
    """A request of the guest's is done, without the back end"""
    kick, call, _ = fe.queue(memory, index, base=base)
    same("enabled", 0, fe.says(SET_VRING_ENABLE, state(index, 1)))
    if ARGS.real:
        before = memory.used_idx()
        memory.read_sector(0)
        os.eventfd_write(kick, 1)
        used(memory, (before + 1) & 0xFFFF)
        if not signalled(call):
            raise AssertionError("no call")
        same("status", 0, memory.status())
    return kick


def cut_off(*words, before=None):
    """A front end that sends this is cut off"""
    with connect() as fe:
        if before:
            before(fe)
        try:
            fe.send(*words)
        except Gone:
            pass
        fe.ends()
    nothing_left()


def main(usage):
    """Runs them all. Returns the exit status"""
    parser = argparse.ArgumentParser(usage=usage)
    parser.add_argument("socket")
    parser.add_argument("pid", type=int)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only")
    parser.parse_args(namespace=ARGS)
    random.seed(ARGS.seed)
    ARGS.base = files()
    failed = 0
    cases = [f for f in CASES if ARGS.only in (None, f.__name__)]
    for n, f in enumerate(cases, 1):
        start = time.monotonic()
        try:
            f()
            print(f"ok {n} - serve {f.__name__}")
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {n} - serve {f.__name__}\n# {type(e).__name__}: {e} (--seed {ARGS.seed})")
            tb = e.__traceback__
            while tb:
                print(f"#   line {tb.tb_lineno} of {os.path.basename(tb.tb_frame.f_code.co_filename)}")
                tb = tb.tb_next
        if time.monotonic() - start > 10:
            print(f"# that took {time.monotonic() - start:.0f} s")
        sys.stdout.flush()
    print(f"1..{len(cases)}")
    return failed > 0
