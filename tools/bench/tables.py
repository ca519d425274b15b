# SPDX-License-Identifier: GPL-2.0
"""The tables of the report, as Markdown and for a terminal."""
import judge
import stats

TITLES = {"user": "driver in userspace", "guest": "stock nested guest",
          "icount1": "instructions", "idle": "devices that do nothing"}


def number(v):
    """Three digits, with k and M."""
    if v is None:
        return "–"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(v) >= limit:
            return f"{v / (1e3 if unit == 'k' else limit):.3g} {unit}"
    return f"{v:.0f}" if v >= 100 else f"{v:.3g}"


def per(v):
    return "–" if v is None else f"{v:.4f}"


def middle(contender, metric):
    values = stats.of(contender, metric)
    if not values:
        return None
    return stats.mean(values) if metric in judge.COUNTED else stats.median(values)


def spread(r):
    return f"{r['middle']:.2f} ({r['p10']:.2f}–{r['p90']:.2f})" if r else "–"


def verdict(targets):
    if not targets:
        return "–"
    return ", ".join(f"{t['text'].split('@')[0]} " +
                     ("–" if t["met"] is None else "met" if t["met"] else "**not met**") +
                     ("?" if t["unsure"] else "") for t in targets)


def table(head, rows):
    widths = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(str(c).ljust(w) for c, w in zip(cells, widths)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|"] +
                     [line(r) for r in rows]) + "\n"


def split(row):
    """Targets of speed and size, and those of events."""
    return ([t for t in row["targets"] if t["metric"] not in judge.EVENTS],
            [t for t in row["targets"] if t["metric"] in judge.EVENTS])


def timed(cases):
    shown = ["rate", "latency"]
    if any("p99" in row["ratio"] for case in cases for row in case["rows"]):
        shown.append("p99")
    rows = []
    for case in cases:
        for row in case["rows"]:
            head = [case["name"], row["ours"], row["peer"]]
            if row["skip"]:
                rows.append(head + [""] * (len(shown) + 1) + ["SKIP: " + row["skip"]])
                continue
            rows.append(head + [number(middle(row["own"], "rate"))] + [spread(row["ratio"].get(m)) for m in shown] +
                        [verdict(split(row)[0])])
    return table(["case", "ours", "peer", "ours, per s"] + [f"{m}, ratio (p10–p90)" for m in shown] + ["target"], rows)


def counts(cases):
    shown = ["kicks", "calls", "wakes", "batches"]
    if any(c["track"] in ("guest", "guests") for c in cases):
        shown += ["exits", "interrupts"]
    rows = []
    for case in cases:
        for who, c in case["contenders"].items():
            if not any(stats.of(c, m) for m in judge.EVENTS):
                continue
            events = [t for r in case["rows"] if r["peer"] == who for t in split(r)[1]]
            rows.append([case["name"], who] + [per(middle(c, m)) for m in shown] +
                        [verdict(events) if events else ""])
    return table(["case", "device", *shown, "ours not above"], rows)


def costs(cases):
    """What a packet or request costs on several processors."""
    rows = []
    for case in cases:
        for who, c in case["contenders"].items():
            if not any(stats.of(c, m) for m in judge.COSTS):
                continue
            mine = [r for r in case["rows"] if r["peer"] == who]
            ratios = [spread(mine[0]["ratio"].get(m)) if mine else "–" for m in judge.COSTS]
            rows.append([case["name"], who, number(middle(c, "cpu")), ratios[0], number(middle(c, "threads")), ratios[1]] +
                        [per(middle(c, m)) for m in ("switches", "moves", "exits", "interrupts")])
    return table(["case", "device", "machine, ns", "ours to it", "threads, ns", "ours to it", "switches", "moves", "exits",
                  "interrupts"], rows)


def counted(cases):
    rows = []
    for case in cases:
        for row in case["rows"]:
            peer = case["contenders"][row["peer"]]
            cells = [case["name"], row["ours"], row["peer"]]
            if row["skip"]:
                rows.append(cells + [""] * 6 + ["SKIP: " + row["skip"]])
                continue
            for metric in judge.COUNTED:
                r = row["ratio"].get(metric)
                cells += [number(middle(row["own"], metric)), number(middle(peer, metric)),
                          f"{r['middle']:.3f}" if r else "–"]
            rows.append(cells + [verdict(split(row)[0])])
    return table(["case", "ours", "peer", "all: ours", "peer", "ratio", "worker: ours", "peer",
                  "ratio", "target"], rows)


def agreement(judged):
    found = judge.agreement([c for c in judged if c["track"] == "icount1"],
                            [c for c in judged if c["track"] == "icount2"])
    if not found:
        return "There was one run only.\n"
    apart = [f for f in found if not f["agree"]]
    worst = max(f["apart"] for f in found)
    text = (f"Two runs, each in a machine of its own: {len(found) - len(apart)} of {len(found)} "
            f"figures agree within 0.5 %; the largest difference is {worst * 100:.2f} %.\n")
    if apart:
        text += "Apart: " + ", ".join(f"{f['case']} {f['who']} {f['metric']} "
                                      f"{f['apart'] * 100:.2f} %" for f in apart) + ".\n"
    return text


def idle(cases):
    rows = []
    for case in cases:
        for who, c in case["contenders"].items():
            if c.get("skip"):
                rows.append([case["name"], who, "", "", "", "SKIP: " + c["skip"]])
                continue
            rows.append([case["name"], who, number(middle(c, "devices")),
                         number(middle(c, "memory")), f"{middle(c, 'cpu') or 0:.7f}",
                         verdict(case["targets"]) if who == case["ours"] else ""])
    return table(["case", "device", "devices", "bytes each", "processor each", "target"], rows)


def several(cases):
    """Guests at work at once: all of them together, and the slowest to the fastest of a contender."""
    rows = []
    for case in cases:
        for row in case["rows"]:
            head = [case["name"], row["ours"], row["peer"]]
            if row["skip"]:
                rows.append(head + [""] * 7 + ["SKIP: " + row["skip"]])
                continue
            cells = []
            for metric in judge.PARTS:
                cells += [number(middle(row["own"], metric)), spread(row["ratio"].get(metric))]
            peer = case["contenders"][row["peer"]]
            cells += [spread(row["ratio"].get("rate"))] + [f"{middle(c, 'fair'):.2f}" for c in (row["own"], peer)]
            rows.append(head + cells + [verdict(split(row)[0] + case["targets"])])
    return table(["case", "ours", "peer", "requests, per s", "ratio (p10–p90)", "bytes sent, per s", "ratio (p10–p90)",
                  "both, ratio (p10–p90)", "fair: ours", "peer", "target"], rows)


def commands(judged):
    """Once for each case and contender: they are the same in all tracks."""
    lines = {}
    for case in judged:
        for who, c in case["contenders"].items():
            if c.get("command"):
                lines.setdefault(f"{case['name']}, {who}", c["command"])
    return "\n".join(f"{key}: {command}" for key, command in lines.items()) + "\n"


def beside(judged, one):
    """Rates on one processor beside those on several."""
    known = {(c["name"], c["track"], r["peer"]): r for c in one for r in c["rows"]}
    rows = []
    for case in judged:
        for row in case["rows"]:
            other = known.get((case["name"], case["track"], row["peer"]))
            ratios = [spread(r["ratio"].get("rate")) if r else "–" for r in (other, row)]
            rows.append([case["name"], row["ours"], row["peer"], *ratios, verdict(split(row)[0])])
    return table(["case", "ours", "peer", "rate, one processor", "rate, several", "target, several"], rows)


def tracks(judged):
    """(title, text) of each table."""
    sections = list(dict.fromkeys(c["section"] for c in judged))
    for section in sections:
        mine = [c for c in judged if c["section"] == section]
        for track, make in (("user", timed), ("guest", timed), ("guests", several), ("icount1", counted),
                            ("idle", idle)):
            cases = [c for c in mine if c["track"] == track]
            if cases:
                yield section, track, make(cases)
        quiet = [c["name"] for c in mine if c["track"] == "icount1"]
        cases = [c for c in mine if c["track"] == "icount1" or c["track"] in judge.WITH_CLOCK and
                 c["name"] not in quiet]
        cases = [c for c in cases if any(stats.of(x, m) for x in c["contenders"].values() for m in judge.EVENTS)]
        cases.sort(key=lambda c: [m["name"] for m in mine].index(c["name"]))
        if cases:
            yield section, "counts", counts(cases)


NOTES = {
    "user": "Ratios are ours to the peer's in the same round; the median, in brackets the 10th and 90th "
            "percentile. Of rates more is better, of latencies less; *p99* is what 99 of a hundred requests took at most. "
            "A target with a question mark lies between these percentiles: another run may say otherwise.",
    "guest": "As above. The guest has all devices at once.",
    "guests": "So many guests of one contender, each with a processor, a disk and a card, read 4 KiB at depth 8 and send TCP "
              "at the same time; ratios are of what all of them did together. *Both* is the geometric mean of the two "
              "ratios, so that neither counts more. *Fair* is what the slowest guest got for each byte of the fastest, from "
              "disk or card, whichever is less. Their costs are for 4 KiB of each.",
    "icount1": "Instructions per packet or request: of the whole machine, and of the device's threads alone "
               "(of all threads of a device in userspace). The mean of all rounds of the first run.",
    "counts": "Events per packet or request: while instructions were counted, if the case was measured there. "
              "Kicks and calls are those that the driver saw; in a guest, those of our device. Exits are all that a guest "
              "made meanwhile and interrupts all that it got, its clock's among them, as KVM counts them.",
    "costs": "Per packet or request, the median of all rounds. *Machine* is what all processors did but run the guest: softirqs, "
             "exits, threads, and the other end of the traffic, which is the same for all. *Threads* are those of the device: of "
             "QEMU but for its virtual processors, of the kernel on its behalf, of a server. Switches and moves to another "
             "processor are theirs.",
    "idle": "Kernel memory and processor time of a device that is set up, running, and has nothing to do.",
}
HEADS = {"user": "Rate and latency", "guest": "In a guest", "guests": "At once", "icount1": "Instructions",
         "counts": "Kicks, calls, wakes, batches", "idle": "Idle devices"}


def summary(c):
    return (f"{c['met']} targets met, {c['not met']} not met, {c['unsure']} of both with a question mark; "
            f"{c['skipped']} comparisons skipped")


def measured(e):
    newer = f" (virtio-uring11: {e['newer_qemu']})" if "newer_qemu" in e else ""
    return (f"Measured {e.get('date', '?')} on Linux {e.get('kernel', '?')}, QEMU {e.get('qemu', '?')}{newer}, "
            f"vhost-lite {e.get('commit', '?')}, by `{e.get('run', 'make bench')}`")


def page(data, judged, pictures):
    out = [f"{measured(data['environment'])}: an emulated machine with one processor. {summary(judge.tally(judged))}.\n"]
    for title, name in pictures:
        out.append(f"![{title}]({name})\n")
    last = None
    for section, track, text in tracks(judged):
        if section != last:
            out.append(f"## {section}\n")
            last = section
        out.append(f"### {HEADS[track]}\n\n{NOTES[track]}\n\n{text}")
    if any(c["track"] == "icount1" for c in judged):
        out.append("## Are the counted instructions repeatable?\n\n" + agreement(judged))
    out.append("## Commands\n\nFiles and nodes without their directories.\n\n" +
               "\n".join("    " + line for line in commands(judged).splitlines()) + "\n")
    return "\n".join(out)


def smp_page(data, judged, one):
    """The part of the page about several processors; @one is what was judged on one."""
    e = data["environment"]
    out = [f"## On {e['processors']} processors\n",
           f"{measured(e)}. {summary(judge.tally(judged))}.\n",
           beside(judged, one),
           "### Rates and latencies\n\n" + timed([c for c in judged if c["track"] != "guests"])]
    together = [c for c in judged if c["track"] == "guests"]
    if together:
        out.append("### Several guests\n\n" + NOTES["guests"] + "\n\n" + several(together))
    out.append("### Costs\n\n" + NOTES["costs"] + "\n\n" + costs(judged))
    return "\n".join(out)


def text(data, judged):
    out = []
    for section, track, body in tracks(judged):
        out.append(f"\n{section}, {HEADS[track].lower()}\n{body}")
    if any(c["track"] == "icount1" for c in judged):
        out.append(agreement(judged))
    if int(data["environment"].get("processors", 1)) > 1:
        out.append("Costs\n" + costs(judged))
    c = judge.tally(judged)
    out.append(f"{summary(c)}; Linux {data['environment'].get('kernel', '?')}")
    return "\n".join(out).replace("**", "")
