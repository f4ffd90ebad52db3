"""The case studies of examples/, trained and held against their baselines: figure with interval, time, memory, health.

    ISOGRAD_DATA=/path/to/data python benchmarks/case_studies.py [--only NAME ...] [--again]

Case by case: each is written to benchmarks/results/case_studies.json when it is done and not repeated by the next call; what
was interrupted in the middle of a training goes on from its checkpoint. Figures are on data that training never saw, their
intervals are bootstrap intervals over its rows, or medians with ranges over seeds where a row says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import depths, pictures, sequences, small, sounds, tables, texts
from cases.running import Row
from common import RESULTS, machine, table, write

CASES: dict[str, Callable[[Path], list[Row]]] = {
    "line": small.line,
    "digits": pictures.digits,
    "folder": small.folder,
    "spoken": sounds.spoken,
    "memory": sequences.memory,
    "adding": sequences.adding,
    "depths": depths.depths,
    "census": tables.census,
    "sentences": texts.sentences,
    "photos": pictures.photos,
    "films": texts.films,
}
WORK = Path(__file__).resolve().parents[1] / "runs" / "case_studies"


def kept() -> dict[str, Any]:
    """The cases that are done."""
    path = RESULTS / "case_studies.json"
    return dict(json.loads(path.read_text("utf-8"))["result"]) if path.exists() else {}


def said(figure: dict[str, Any]) -> str:
    between = "" if figure["low"] is None else f" ({figure['low']:.4g} to {figure['high']:.4g})"
    return f"{figure['name']} {figure['value']:.4g}{between}"


def shown(results: dict[str, Any]) -> str:
    rows = [
        (case, row["what"], said(row["figure"]), row["goal"], row["cpu_minutes"], row["peak_mb"], row["health"])
        for case, result in results.items()
        for row in result["rows"]
    ]
    beside = [
        f"{case}, {row['what']}: " + "; ".join(said(figure) for figure in row["beside"])
        for case, result in results.items()
        for row in result["rows"]
        if row["beside"]
    ]
    heads = ("case", "what", "figure", "goal", "CPU min", "MB", "gradients")
    return "\n".join([table(rows, heads), "", "beside", *beside])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--again", action="store_true", help="repeat cases that are done")
    parser.add_argument("--work", type=Path, default=WORK, help="where the projects are copied to and run")
    chosen = parser.parse_args()
    results = kept()
    for name in chosen.only:
        if name in results and not chosen.again:
            continue
        if chosen.again:
            for folder in chosen.work.glob(f"{name}*"):
                shutil.rmtree(folder)
        rows = CASES[name](chosen.work)
        results[name] = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        write("case_studies", {case: results[case] for case in CASES if case in results})
    print(shown(results))


if __name__ == "__main__":
    main()
