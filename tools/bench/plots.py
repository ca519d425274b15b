# SPDX-License-Identifier: GPL-2.0
"""Pictures of the ratios, drawn by gnuplot; without it there are none."""
import os
import shutil
import subprocess
import tempfile

import judge


SCRIPT = """
set terminal svg size 860,{height} dynamic background rgb 'white' font 'sans-serif,12'
set output '{out}'
set title "{title}"
set xlabel "{axis}"
{scale}
set xrange [{low}:{high}]
set yrange [-0.7:{top}]
set ytics ({tics})
set grid xtics lc rgb '#dddddd'
set border 3
set tics nomirror
set arrow 1 from 1,-0.7 to 1,{top} nohead lc rgb '#888888' lw 1.5 back
unset key
plot '{data}' using 2:1:3:4 with xerrorbars pt 7 ps 0.8 lw 1.5 lc rgb '#20609f'
"""


def points(judged, sections, track, metric):
    """(label, median, low, high), the last case first: that one is at the bottom."""
    found = []
    for case in judged:
        if case["track"] != track or not case["section"].startswith(sections):
            continue
        others = [row for row in case["rows"] if row["peer"] not in judge.OWN]
        for row in others:
            r = row["ratio"].get(metric)
            if not r:
                continue
            label = case["name"] if len(others) == 1 else f"{case['name']} / {row['peer']}"
            values = (r["middle"], r["p10"], r["p90"])
            found.append((label,) + values)
    return found[::-1]


def plot(found, out, title, axis, log):
    high = max(p[3] for p in found) * 1.08
    low = min(min(p[2] for p in found) * 0.92, 0.9)
    with tempfile.TemporaryDirectory() as tmp:
        data = os.path.join(tmp, "data")
        with open(data, "w", encoding="utf-8") as f:
            for i, p in enumerate(found):
                f.write(f"{i} {p[1]} {p[2]} {p[3]}\n")
        script = SCRIPT.format(height=110 + 22 * len(found), out=out, title=title, axis=axis,
                               scale="set logscale x 2" if log else "", low=low if log else 0,
                               high=max(high, 1.1), top=len(found) - 0.3, data=data,
                               tics=", ".join(f'"{p[0]}" {i}' for i, p in enumerate(found)))
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    # the program's version and the time are of no interest, and change with each run
    with open(out, encoding="utf-8") as f:
        text = f.read()
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(line.rstrip() for line in text.splitlines() if "Produced by" not in line) + "\n")


PICTURES = (
    ("benchmarks-net.svg", "Network, driver in userspace: rate, ours to vhost-net's",
     ("Network", "Scale"), "user", "rate", "times the peer's rate (more is better)", False),
    ("benchmarks-disk.svg", "Disk, driver in userspace: rate, ours to the peer's",
     ("Disk",), "user", "rate", "times the peer's rate (more is better)", True),
    ("benchmarks-guest.svg", "Stock guest: rate, ours to the peer's",
     ("Guest",), "guest", "rate", "times the peer's rate (more is better)", False),
    ("benchmarks-instructions.svg", "Instructions of the device's threads per packet or request",
     ("Network", "Disk", "Scale"), "icount1", "worker", "share of the peer's (less is better)", False),
)


def draw(judged, docs):
    """Title and name of each picture that there is something to show in."""
    drawn = []
    for name, title, sections, track, metric, axis, log in PICTURES:
        found = points(judged, sections, track, metric)
        if not found or not shutil.which("gnuplot"):
            continue
        plot(found, os.path.join(docs, name), title, axis, log)
        drawn.append((title, name))
    return drawn


