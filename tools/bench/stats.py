# SPDX-License-Identifier: GPL-2.0
"""The arithmetic of the benchmark: percentiles, ratios by round, targets."""
import operator
import re

OPERATORS = {">=": operator.ge, "<=": operator.le}


def percentile(values, p):
    """Below which p percent are, with linear interpolation between the two nearest."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * p / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values):
    return percentile(values, 50)


def mean(values):
    return sum(values) / len(values)


def of(contender, metric):
    """The values of a metric, one for each round that has it."""
    return [r[metric] for r in contender["rounds"] if r.get(metric) is not None]


def ratio(ours, peer, metric):
    """The middle (median), p10 and p90 of ours divided by the peer's of the same round, or None."""
    theirs = {r["round"]: r.get(metric) for r in peer["rounds"]}
    ratios = [r[metric] / theirs[r["round"]] for r in ours["rounds"]
              if r.get(metric) is not None and theirs.get(r["round"])]
    if not ratios:
        return None
    return {"middle": median(ratios), "p10": percentile(ratios, 10),
            "p90": percentile(ratios, 90), "rounds": len(ratios)}


def ratio_of_means(ours, peer, metric):
    """The same with another middle: where a round is a sample of one long count, not a reading that
    something may have disturbed, all of it counts."""
    found = ratio(ours, peer, metric)
    if found:
        found["middle"] = mean(of(ours, metric)) / mean(of(peer, metric))
    return found


def parse_target(text):
    """METRIC>=NUMBER or METRIC<=NUMBER, for all peers or @ONE; with smp: in front for several processors."""
    match = re.fullmatch(r"(smp:)?([a-z]+)(>=|<=)([0-9.]+)(?:@(\S+))?", text)
    if not match:
        raise ValueError(f"no target: {text}")
    smp, metric, op, number, peer = match.groups()
    text = text.removeprefix("smp:")
    return {"smp": bool(smp), "metric": metric, "op": op, "number": float(number), "peer": peer, "text": text}


def met(target, value):
    return OPERATORS[target["op"]](value, target["number"])


def unsure(target, found):
    """Is the target inside of what nine of ten rounds said?"""
    return found["p10"] < target["number"] < found["p90"]


def not_above(ours, peer):
    """Are our counts per operation, by their median, at most the peer's; and if not, are they above what
    the peer's rounds vary by?"""
    return median(ours) <= median(peer), median(ours) <= percentile(peer, 90)


def agree(a, b, within=0.005):
    """How far two figures are apart, and whether that is little."""
    apart = abs(a - b) / max(abs(a), abs(b)) if a or b else 0.0
    return apart, apart <= within
