# SPDX-License-Identifier: GPL-2.0
"""Turns what was collected into rows for the report: one for each case, track and peer, with its targets."""
import stats

# Of what a track measures, what its targets can be about
TIMED = ("rate", "latency")
COUNTED = ("instr", "worker")
EVENTS = ("kicks", "calls", "exits", "interrupts")
# On several processors, where who works takes nobody's time: ns of the machine but for the guest, and of the device's threads
COSTS = ("cpu", "threads")
# And what is shown of those that say it
TAIL = ("p99",)
# What several guests did together with their disks and their cards, of which the rate is the geometric mean
PARTS = ("disk", "net")
# Tracks with a clock that means something
WITH_CLOCK = ("user", "guest", "guests")
# Figures that are no ratios but have targets of their own, by track
ALONE = {"idle": ("memory", "cpu"), "guests": ("fair",)}

# Contenders that are ours too: compared for what their targets say and nothing else
OWN = ("netlite-1region", "vdpa-blklite", "blkio-vdpa")
# Which of ours has the same driver as a peer
SAME_DRIVER = {"vhost-user-blk": "blkio-vdpa", "vhost-user-native": "blkio-vdpa"}


def check(target, value, unsure=False):
    return {"text": target["text"], "metric": target["metric"], "value": value, "unsure": unsure,
            "met": None if value is None else stats.met(target, value)}


def default_targets(case, peer, targets):
    """Never slower than a peer, where nothing else is said of speed."""
    if case["track"] not in WITH_CLOCK or peer in OWN or peer.startswith("fio") or \
            any(t["metric"] in TIMED for t in targets):
        return []
    return [stats.parse_target("rate>=1")]


def events(ours, peer):
    """Kicks and calls never above the peer's, or what they cost a guest, where both are known."""
    for metric in EVENTS:
        a, b = stats.of(ours, metric), stats.of(peer, metric)
        if a and b:
            met, unsure = stats.not_above(a, b)
            yield {"text": f"{metric}<=1", "metric": metric, "value": None, "met": met,
                   "unsure": unsure and not met}


def judge_peer(case, name, targets, smp):
    contenders = case["contenders"]
    mine = SAME_DRIVER.get(name) if SAME_DRIVER.get(name) in contenders else next(iter(contenders))
    ours, peer = contenders[mine], contenders[name]
    row = {"peer": name, "ours": mine, "own": ours, "skip": ours.get("skip") or peer.get("skip"),
           "ratio": {}, "targets": []}
    if row["skip"]:
        return row
    timed = case["track"] in WITH_CLOCK
    for metric in TIMED + TAIL + PARTS + (COSTS if smp else ()) if timed else COUNTED:
        found = (stats.ratio if timed else stats.ratio_of_means)(ours, peer, metric)
        if found:
            row["ratio"][metric] = found
    for t in targets + default_targets(case, name, targets):
        found = row["ratio"].get(t["metric"])
        if found:
            row["targets"].append(check(t, found["middle"], stats.unsure(t, found)))
    if name not in OWN:
        row["targets"] += events(ours, peer)
    return row


def alone(case, targets):
    """Those about a figure of ours that is no ratio."""
    ours = next(iter(case["contenders"].values()))
    found = []
    for t in targets:
        if t["metric"] in ALONE.get(case["track"], ()):
            values = stats.of(ours, t["metric"])
            found.append(check(t, stats.median(values) if values else None))
    return found


def judge(case, smp=False):
    """A case in one track, of a machine with one processor or several: ours, and a row for every peer."""
    names = list(case["contenders"])
    targets = [t for t in (stats.parse_target(t) for t in case["targets"]) if t["smp"] == smp]
    rows = []
    for name in names[1:] if case["track"] != "idle" else ():
        for_it = [t for t in targets if t["peer"] == name or not t["peer"] and name not in OWN]
        rows.append(judge_peer(case, name, for_it, smp))
    return {"name": case["name"], "section": case["section"], "track": case["track"],
            "ours": names[0], "rows": rows, "contenders": case["contenders"], "targets": alone(case, targets)}


def once(judged):
    """Events are judged where instructions are counted, if a case is measured there: a quiet machine."""
    quiet = {c["name"] for c in judged if c["track"] == "icount1"}
    for case in judged:
        if case["track"] == "icount2" or case["track"] == "user" and case["name"] in quiet:
            for row in case["rows"]:
                row["targets"] = [t for t in row["targets"]
                                  if case["track"] == "user" and t["metric"] not in EVENTS]
    return judged


def tally(judged):
    """How many targets are met and not, and how many comparisons there are not."""
    counts = {"met": 0, "not met": 0, "unsure": 0, "skipped": 0}
    for case in judged:
        counts["skipped"] += sum(1 for row in case["rows"] if row["skip"])
        for t in [t for row in case["rows"] for t in row["targets"]] + case["targets"]:
            if t["met"] is not None:
                counts["met" if t["met"] else "not met"] += 1
                counts["unsure"] += t["unsure"]
    return counts


def agreement(first, second):
    """Do the two runs with counted instructions agree?  Of each case and contender that both have."""
    found = []
    second = {c["name"]: c for c in second}
    for case in first:
        other = second.get(case["name"])
        for who, a in case["contenders"].items():
            b = other and other["contenders"].get(who)
            for metric in COUNTED:
                if not b or not stats.of(a, metric) or not stats.of(b, metric):
                    continue
                apart, fine = stats.agree(stats.mean(stats.of(a, metric)),
                                          stats.mean(stats.of(b, metric)))
                found.append({"case": case["name"], "who": who, "metric": metric,
                              "apart": apart, "agree": fine})
    return found
