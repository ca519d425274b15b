# SPDX-License-Identifier: GPL-2.0
"""usage: bench_report.py FIXTURE

The arithmetic of tools/bench/report, on numbers that were worked out by hand, as TAP."""
import json
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools", "bench"))
# pylint: disable=wrong-import-position
import collect
import judge
import stats
import tables

COUNT = 0
FAILED = 0


def same(name, got, want):
    global COUNT, FAILED  # pylint: disable=global-statement
    COUNT += 1
    right = abs(got - want) < 1e-9 if isinstance(want, float) else got == want
    FAILED += not right
    print(f"{'ok' if right else 'not ok'} {COUNT} - {name}" + ("" if right else f": {got}, not {want}"))


with open(sys.argv[1], encoding="utf-8") as fixture:
    data = json.load(fixture)
case, first, second = data["cases"]

same("median of an odd number", stats.median([3, 1, 2]), 2)
same("median of an even number", stats.median([4, 1, 2, 3]), 2.5)
same("p10 between two values", stats.percentile([0, 10, 20], 10), 2.0)
same("p90 of one value", stats.percentile([7], 90), 7)

# by round: 200/100, 300/200, 100/100, and a round that the peer has not
ratio = stats.ratio(case["contenders"]["ours"], case["contenders"]["peer"], "rate")
same("ratio: rounds that both have", ratio["rounds"], 3)
same("ratio: median of the rounds' ratios, not the ratio of medians", ratio["middle"], 1.5)
same("ratio: p10", ratio["p10"], 1.1)
same("ratio: p90", ratio["p90"], 1.9)
same("ratio of what was not measured", stats.ratio(case["contenders"]["ours"],
                                                   case["contenders"]["peer"], "worker"), None)

means = stats.ratio_of_means(case["contenders"]["ours"], case["contenders"]["peer"], "rate")
same("ratio of the means of all rounds", means["middle"], 3.0)

row = judge.judge(case)
verdicts = {t["text"]: t["met"] for t in row["rows"][0]["targets"]}
same("targets of one peer", verdicts, {"rate>=1.3": True, "latency<=0.9@peer": False, "kicks<=1": False})
same("a target of another peer is not its own", [t["text"] for t in row["rows"][1]["targets"]],
     ["rate>=1.3"])
same("a peer that did not run", row["rows"][2]["skip"], "no such device")
same("tally", judge.tally([row]), {"met": 1, "not met": 3, "unsure": 1, "skipped": 1})
same("never slower, where nothing else is said", [t["text"] for t in judge.judge(
    case | {"targets": ["kicks<=2"]})["rows"][1]["targets"]], ["rate>=1"])

several = judge.judge(case | {"track": "user", "targets": ["rate>=1.3", "smp:rate>=1.4", "smp:cpu<=0.5@peer"], "contenders": {
    "ours": {"rounds": [{"round": 1, "rate": 300, "cpu": 40}]}, "peer": {"rounds": [{"round": 1, "rate": 200, "cpu": 100}]}}},
    smp=True)
same("targets on several processors are others", {t["text"]: t["met"] for t in several["rows"][0]["targets"]},
     {"rate>=1.4": True, "cpu<=0.5@peer": True})
same("what a request costs there", several["rows"][0]["ratio"]["cpu"]["middle"], 0.4)
same("and is shown beside one processor", "| 1.50 (1.50–1.50)" in tables.beside([several], [row]), True)

# two guests of each at once, two rounds
together = judge.judge({"name": "guests-2", "section": "Several guests", "track": "guests",
                        "targets": ["smp:rate>=1.2@qemu", "smp:fair>=0.8", "smp:cpu<=0.8@qemu"], "contenders": {
    "vhost-lite": {"rounds": [{"round": 1, "rate": 400, "disk": 40, "net": 4000, "fair": 0.7, "cpu": 60},
                              {"round": 2, "rate": 600, "disk": 60, "net": 6000, "fair": 0.8, "cpu": 60}]},
    "qemu": {"rounds": [{"round": 1, "rate": 200, "disk": 40, "net": 1000, "fair": 0.95, "cpu": 100},
                        {"round": 2, "rate": 300, "disk": 60, "net": 1500, "fair": 0.85, "cpu": 100}]}}}, smp=True)
same("several guests: what is a ratio", {t["text"]: t["met"] for t in together["rows"][0]["targets"]},
     {"rate>=1.2@qemu": True, "cpu<=0.8@qemu": True})
same("several guests: fairness is ours alone, whatever the peer's", [(t["text"], t["value"], t["met"]) for t in
                                                                     together["targets"]], [("fair>=0.8", 0.75, False)])
same("both are in the tally", judge.tally([together]), {"met": 2, "not met": 1, "unsure": 0, "skipped": 0})
shown = [cell.strip() for cell in tables.several([together]).splitlines()[2].split("|")]
same("and in the table", shown[1:-1],
     ["guests-2", "vhost-lite", "qemu", "50", "1.00 (1.00–1.00)", "5000", "4.00 (4.00–4.00)", "2.00 (2.00–2.00)", "0.75",
      "0.90", "rate>=1.2 met, cpu<=0.8 met, fair>=0.8 **not met**"])
page = tables.smp_page({"environment": {"processors": "2"}}, [together], [])
same("and once on the page", (page.count("### Several guests"), page.count("fair>=0.8")), (1, 1))
tail = judge.judge({"name": "rr", "section": "Guest", "track": "guest", "targets": [], "contenders": {
    "ours": {"rounds": [{"round": 1, "rate": 2, "latency": 10, "p99": 30}]},
    "peer": {"rounds": [{"round": 1, "rate": 1, "latency": 20, "p99": 40}]}}})
same("the 99th percentile has a column where something says it",
     [("p99, ratio" in t, "| 0.75 (0.75–0.75)" in t) for t in (tables.timed([tail]), tables.timed([row]))],
     [(True, True), (False, False)])
idle = judge.judge({"name": "idle", "section": "Idle", "track": "idle", "targets": ["memory<=100", "cpu<=0"], "contenders": {
    "ours": {"rounds": [{"round": 1, "memory": 99, "cpu": 0.5}]}, "peer": {"rounds": []}}})
same("an idle device has targets, and no peer", ([t["met"] for t in idle["targets"]], idle["rows"]), ([True, False], []))

agreement = judge.agreement([first], [second])
same("two runs that agree, and two that do not", [(a["metric"], a["agree"]) for a in agreement],
     [("instr", True), ("worker", False)])
same("how far they are apart", agreement[1]["apart"], 0.01)

cases = collect.read_cases(os.path.join(HERE, "..", "..", "tools", "bench", "cases"))
same("the table of cases has no two of a name, and good targets",
     all(stats.parse_target(t) for c in cases.values() for t in c["targets"]), True)
same("numbers for people", [tables.number(v) for v in (0.5, 12.3, 1234, 56789, 2.5e6, None)],
     ["0.5", "12.3", "1234", "56.8 k", "2.5 M", "–"])
print(f"1..{COUNT}")
sys.exit(FAILED != 0)
