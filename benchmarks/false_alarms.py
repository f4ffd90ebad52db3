"""What isograd says of trainings that go well: every alarm on the healthy runs, and what that bounds their rate by.

    python benchmarks/false_alarms.py --side calibration
    python benchmarks/false_alarms.py --side held-out            once, when every threshold is fixed

Each run of ``results/healthy.json`` that ended well is trained once more under ``isograd.watch`` at its defaults. A run with a
finding of severity "warning" or above, in the final report or on the way, is a false alarm. The bound is Clopper and Pearson's
one-sided 95 % bound of the rate. The final skill has to be the stored one to the bit where the machine is the same.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from common import RESULTS, machine
from healthy.catalogue import FAMILIES, SIDES, Run, runs
from looking import each, look


def bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """The rate that is not exceeded at that confidence, after so many events in so many independent trials.

    Source: Clopper and Pearson 1934, one-sided.

    >>> round(bound(0, 400), 4)
    0.0075
    """
    from scipy.stats import beta

    return 1.0 if events >= trials else float(beta.ppf(confidence, events + 1, trials - events))


def looked_at(job: tuple[Run, float]) -> dict[str, Any]:
    """One healthy run under a watch."""
    run, skill = job
    torch.set_num_threads(1)
    draw = run.draw()
    seen = look(run.program(draw))
    record = {"side": run.side, "family": run.family, "index": run.index, "same_skill": seen.skill == skill}
    return record | {"configuration": draw.made} | asdict(seen)


def healthy_runs(side: str, families: list[str] | None = None) -> list[tuple[Run, float]]:
    """The runs of a side that ended well, a configuration of every family after the other, each with its skill."""
    stored = json.loads((RESULTS / "healthy.json").read_text("utf-8"))["result"]["runs"]
    kept = {(r["family"], r["index"]): r["skill"] for r in stored if r["side"] == side and r["healthy"]}
    draws = 1 + max((index for _, index in kept), default=0)
    found = [(run, kept[run.family, run.index]) for run in runs(side, draws) if (run.family, run.index) in kept]
    return [(run, skill) for run, skill in found if families is None or run.family in families]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, rates and bounds, by severity and by disease."""
    alarmed = [record for record in records if record["alarms"]]
    critical = [record for record in alarmed if any(alarm["severity"] == "critical" for alarm in record["alarms"])]
    diseases = Counter(disease for record in alarmed for disease in {alarm["disease"] for alarm in record["alarms"]})
    return {
        "runs": len(records),
        "families": len({record["family"] for record in records}),
        "alarmed": len(alarmed),
        "rate": len(alarmed) / max(1, len(records)),
        "bound_95": bound(len(alarmed), len(records)),
        "critical": len(critical),
        "critical_bound_95": bound(len(critical), len(records)),
        "stopped": sum(record["stopped"] is not None for record in records),
        "raised": sum(record["raised"] is not None for record in records),
        "skill_differs": sum(not record["same_skill"] for record in records),
        "by_disease": dict(diseases.most_common()),
        "by_family": dict(Counter(record["family"] for record in alarmed).most_common()),
        "notes": dict(Counter(note for record in records for note in record["notes"]).most_common()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES, default="calibration")
    parser.add_argument("--families", nargs="+", help="these programs alone")
    parser.add_argument("--skip", type=int, default=0, help="leave out this many runs at the beginning")
    parser.add_argument("--limit", type=int, help="at most this many runs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the JSON file; results/false_alarms.json unless told otherwise")
    options = parser.parse_args()
    unknown = set(options.families or ()) - set(FAMILIES[options.side])
    if unknown:
        parser.error(f"no such program on the {options.side} side: {', '.join(sorted(unknown))}")
    jobs = healthy_runs(options.side, options.families)[options.skip :][: options.limit]
    path = options.out or RESULTS / "false_alarms.json"
    records: list[dict[str, Any]] = []
    for record in each(looked_at, jobs, options.workers):
        records.append(record)
        for alarm in record["alarms"]:
            where = f"{record['family']}/{record['index']}"
            print(f"{where}: {alarm['severity']} {alarm['disease']} at {alarm['where']}: {alarm['summary']}", flush=True)
        if record["raised"] or record["stopped"]:
            print(f"{record['family']}/{record['index']}: {record['raised'] or record['stopped']}", flush=True)
    found = summary(records)
    _store(path, options.side, found, records)
    for name, value in found.items():
        print(f"{name:<18} {value}")


def _store(path: Path, side: str, found: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """The two sides live in one file; quiet runs are counted and not written out."""
    written = json.loads(path.read_text("utf-8")) if path.exists() else {"result": {}}
    loud = [r for r in records if r["alarms"] or r["raised"] or r["stopped"] or not r["same_skill"]]
    written = {"machine": machine(), "result": written["result"] | {side: {"summary": found, "runs": loud}}}
    path.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
