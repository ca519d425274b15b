# SPDX-License-Identifier: GPL-2.0
"""Reads what the tracks left behind (see lib.sh) and keeps what the report needs, in one object."""
import json
import os
import re
import statistics

TRACKS = ("user", "icount1", "icount2", "guest", "guests", "idle")


def read_cases(path):
    """The table of cases, by name, in its order."""
    cases = {}
    section = ""
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("## "):
                section = line[3:].strip()
            if line.startswith("#") or "|" not in line:
                continue
            name, group, tracks, contenders, targets, arguments = (w.strip() for w in line.split("|"))
            cases[name] = {"name": name, "section": section, "set": group, "tracks": tracks.split(),
                           "contenders": contenders.split(), "targets": targets.split(),
                           "arguments": arguments}
    return cases


def short(value):
    """Five digits: no measurement here has more."""
    return None if value is None else float(f"{value:.5g}")


def from_bench(r):
    """A round of vhost-bench or blkio-bench."""
    ops = r["ops"]
    counters = r.get("device_counters", {})
    row = {"rate": r["ops_per_s"], "instr": r["elapsed_s"] * 1e9 / ops,
           "latency": r.get("latency_ns", {}).get("p50"), "p99": r.get("latency_ns", {}).get("p99")}
    if r.get("workers"):
        row["worker"] = row["threads"] = r["worker_run_ns"] / ops
    if "driver" in r:
        row["kicks"] = r["driver"]["kicks"] / ops
        row["calls"] = r["driver"]["calls"] / ops
    for name in ("wakes", "batches"):
        if name in counters:
            row[name] = counters[name] / ops
    return row


def from_fio(job):
    side = max(job["read"], job["write"], key=lambda s: s["total_ios"])
    percentiles = side["clat_ns"].get("percentile", {})
    return {"rate": side["iops"], "latency": percentiles.get("50.000000") or side["clat_ns"]["mean"],
            "p99": percentiles.get("99.000000"), "reqs": side["total_ios"]}


def from_iperf(result):
    """Bytes per second that the receiver got."""
    return {"rate": result["end"]["sum_received"]["bits_per_second"] / 8}


def from_ping(text):
    times = [float(t) * 1e6 for t in re.findall(r"time=([0-9.]+) ms", text)]
    return {"rate": 1e9 / statistics.median(times), "latency": statistics.median(times)}


def add_counts(path, rounds):
    """What the program that measured does not count itself: ROUND NAME=NUMBER... For so many requests, if it says."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as f:
        for line in f:
            number, *words = line.split()
            moved = {k: int(v) for k, v in (w.split("=") for w in words)}
            for row in rounds:
                if row["round"] == int(number):
                    reqs = moved.pop("reqs", None) or row["reqs"]
                    row |= {k: v / reqs for k, v in moved.items()}


def results(directory, who):
    """The rounds of a contender."""
    rounds = []
    lines = os.path.join(directory, who + ".jsonl")
    if os.path.exists(lines):
        with open(lines, encoding="utf-8") as f:
            for line in f:
                r = json.loads(line)
                row = r["result"] if "ops" not in r["result"] else from_bench(r["result"])
                rounds.append({"round": r["round"]} | row)
    for name in os.listdir(directory):
        match = re.fullmatch(r"(.*)\.(\d+)\.(json|ping)", name)
        if not match or match[1] != who:
            continue
        with open(os.path.join(directory, name), encoding="utf-8") as f:
            text = f.read()
        if match[3] == "ping":
            row = from_ping(text)
        else:
            result = json.loads(text[text.index("{"):])
            row = from_fio(result["jobs"][0]) if "jobs" in result else from_iperf(result)
            if who == "fio-raw":
                row["latency"] = row["p99"] = None  # fio means something else by it than vhost-bench
        rounds.append({"round": int(match[2])} | row)
    # a round that was begun in a machine that died has been repeated: the last one counts
    rounds = sorted({r["round"]: r for r in rounds}.values(), key=lambda r: r["round"])
    for kind in ("counters", "exits"):
        add_counts(os.path.join(directory, f"{who}.{kind}"), rounds)
    return [{k: v if k == "round" else short(v) for k, v in r.items() if v is not None and k != "reqs"}
            for r in rounds]


def first_line(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        return f.readline().strip()


def tidy(command):
    """Without the directories of that run."""
    command = re.sub(r"/tmp/[\w.-]+/(?:[\w-]+/)*|/src/tools/[\w-]+/|^timeout \d+ ", "", command)
    return re.sub(r" --server \d+", "", command)


def contender(directory, who):
    found = {"rounds": results(directory, who)}
    command = first_line(os.path.join(directory, who + ".command"))
    skip = first_line(os.path.join(directory, who + ".skip"))
    if command:
        found["command"] = tidy(command)
    if not found["rounds"]:
        found["skip"] = skip or "no result, see the output of the run"
    return found


def collect(results_dir, cases):
    environment = {}
    rows = []
    for track in TRACKS:
        base = os.path.join(results_dir, track)
        if not os.path.isdir(base):
            continue
        if os.path.exists(os.path.join(base, "environment")):
            with open(os.path.join(base, "environment"), encoding="utf-8") as f:
                environment |= dict(line.strip().split("=", 1) for line in f if "=" in line)
        for name, case in cases.items():
            directory = os.path.join(base, name)
            if not os.path.isdir(directory):
                continue
            present = {who: contender(directory, who) for who in case["contenders"]}
            if track.startswith("icount"):
                present.pop("fio-raw", None)
            rows.append(case | {"track": track, "contenders": present})
    return {"environment": environment, "cases": rows}
