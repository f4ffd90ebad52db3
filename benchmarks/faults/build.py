"""Rebuild the grounds: train every program with every fault that applies, and keep the faults that do harm.

    python benchmarks/faults/build.py [--side calibration|held-out|fresh] [--workers 1] [--so-far]

Finished runs are kept in .benchmarks/faults_runs.jsonl, so that it goes on where it was stopped; the cases are written to
benchmarks/results/faults_cases.json. A side that was not asked for keeps what that file has of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, table, write
from faults import harm
from faults.grounds import PROGRAMS, candidates
from faults.settings import Side

SIDES: tuple[Side, ...] = ("calibration", "held-out", "fresh")


def build(side: Side, verdicts: Sequence[harm.Verdict]) -> dict[str, Any]:
    """The kept cases of a side, its healthy twins, and how many candidates did no harm."""
    runs = harm.finished()
    kept = [verdict for verdict in verdicts if verdict.harm != "none"]
    return {
        "candidates": len(candidates(side)),
        "twins": {
            name: [runs[f"{name}:{harm.HEALTHY}", seed].skill for seed in range(harm.SEEDS)]
            for name, program in PROGRAMS.items()
            if program.side == side and (f"{name}:{harm.HEALTHY}", harm.SEEDS - 1) in runs
        },
        "cases": harm.record(kept),
        "harmless": {verdict.key: verdict.drop for verdict in verdicts if verdict.harm == "none"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES, help="one side alone; the other keeps its results")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--so-far", action="store_true", help="train nothing: write what the finished runs allow to say")
    options = parser.parse_args()
    path = RESULTS / "faults_cases.json"
    result = json.loads(path.read_text("utf-8"))["result"] if path.exists() else {}
    for side in (options.side,) if options.side else SIDES:
        result[side] = build(side, harm.verdicts_so_far(side) if options.so_far else harm.verify(side, options.workers))
        write("faults_cases", result)
        print(overview(side, result[side]))


def overview(side: str, found: dict[str, Any]) -> str:
    """How many cases each family has, and how many of them do harm."""
    cases, harmless = found["cases"], found["harmless"]
    kept, strong = Counter(case["family"] for case in cases), Counter(c["family"] for c in cases if c["harm"] == "strong")
    rows = [(family, kept[family], strong[family]) for family in sorted(kept)]
    rows.append(("all", len(cases), sum(strong.values())))
    programs, operators = ({case[name] for case in cases} for name in ("program", "operator"))
    return (
        f"{side}: {len(cases)} harmful of {len(cases) + len(harmless)} cases, "
        f"{len(programs)} programs, {len(operators)} operators\n{table(rows, ('family', 'harmful', 'strong'))}\n"
    )


if __name__ == "__main__":
    main()
