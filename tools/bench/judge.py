# SPDX-License-Identifier: GPL-2.0
"""Turns what was collected into rows for the report: one for each case, lane and peer, with its targets."""
import stats

# Of what a lane measures, what its targets can be about
TIMED = ("rate", "latency", "kicks", "calls")
COUNTED = ("instr", "worker")


def check(target, value):
    return {"text": target["text"], "value": value,
            "met": None if value is None else stats.met(target, value)}


def defaults(targets):
    """Never slower than a peer, where nothing else is said of speed; never more kicks and calls."""
    if any(t["metric"] in ("rate", "latency") for t in targets):
        return []
    return [stats.parse_target("rate>=1")]



def judge_peer(case, ours, peer, name, targets):
    lane = case["lane"]
    row = {"peer": name, "skip": ours.get("skip") or peer.get("skip"), "ratio": {}, "targets": []}
    if row["skip"]:
        return row
    for metric in TIMED[:2] if lane in ("user", "guest") else COUNTED:
        found = (stats.ratio if metric in TIMED else stats.ratio_of_means)(ours, peer, metric)
        if found:
            row["ratio"][metric] = found
    for t in targets:
        if t["peer"] in (None, name) and t["metric"] in row["ratio"]:
            row["targets"].append(check(t, row["ratio"][t["metric"]]["middle"]))
    if lane not in ("user", "guest"):
        return row
    for metric in TIMED[2:]:
        a, b = stats.of(ours, metric), stats.of(peer, metric)
        if a and b:
            row["targets"].append({"text": f"{metric}<=1", "value": None,
                                   "met": stats.not_above(a, b)})
    return row


def judge(case):
    """A case in one lane: ours, and a row for every peer."""
    names = list(case["contenders"])
    ours = case["contenders"][names[0]]
    targets = [stats.parse_target(t) for t in case["targets"]]
    # a peer named by a target is compared for that; the others need only not be faster
    rows = []
    for name in names[1:]:
        mine = [t for t in targets if t["peer"] in (None, name)]
        if case["lane"] in ("user", "guest") and not name.startswith("fio"):
            mine += defaults(mine)
        rows.append(judge_peer(case, ours, case["contenders"][name], name, mine))
    return {"name": case["name"], "section": case["section"], "lane": case["lane"],
            "ours": names[0], "own": ours, "rows": rows, "contenders": case["contenders"]}


def idle_targets(case):
    """Targets about devices of ours alone."""
    names = list(case["contenders"])
    ours = case["contenders"][names[0]]
    found = []
    for t in (stats.parse_target(t) for t in case["targets"]):
        values = stats.of(ours, t["metric"])
        found.append(check(t, stats.median(values) if values else None))
    return found


def tally(judged):
    """How many targets are met and not, and how many comparisons there are not."""
    counts = {"met": 0, "not met": 0, "skipped": 0}
    for case in judged:
        for row in case["rows"]:
            if row["skip"]:
                counts["skipped"] += 1
            for t in row["targets"]:
                if t["met"] is not None:
                    counts["met" if t["met"] else "not met"] += 1
        for t in case.get("targets", []):
            if t["met"] is not None:
                counts["met" if t["met"] else "not met"] += 1
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
