"""Train every healthy program plain, and keep the runs that end well: that alone, never an alarm, makes them healthy.

    python benchmarks/healthy/build.py                   both sides; resumes where it was interrupted
    python benchmarks/healthy/build.py --side held-out   one; the other keeps its results
    python benchmarks/healthy/build.py --side calibration --limit 40

A run is healthy if its final skill on held-out examples is at least 0.75 of the best that the same program reaches in the
set on the same task, and at least 0.05. What fails is dropped and counted. Finished runs are kept in
``.benchmarks/healthy.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common import RESULTS, table, write
from healthy.catalogue import FAMILIES, SIDES, Run, runs
from looking import Journal, each, plain

SHARE = 0.75
LEAST = 0.05
JOURNAL = Path(__file__).resolve().parents[2] / ".benchmarks" / "healthy.jsonl"


def trained(run: Run) -> dict[str, Any]:
    """One run, plain."""
    torch.set_num_threads(1)
    draw, start = run.draw(), time.perf_counter()
    skill, raised = plain(run.program(draw))
    record = {"key": run.key, "fingerprint": run.fingerprint, "side": run.side, "family": run.family, "index": run.index}
    record |= {"task": f"{run.family}{draw.task}", "skill": skill, "raised": raised}
    return record | {"configuration": draw.made, "seconds": round(time.perf_counter() - start, 2)}


def judged(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each run with ``best``, the best skill of its task, and ``healthy``.

    >>> first, second = judged([{"task": "a", "skill": 0.8, "raised": None}, {"task": "a", "skill": 0.5, "raised": None}])
    >>> first["healthy"], second["healthy"]
    (True, False)
    """
    best: dict[str, float] = {}
    for record in records:
        best[record["task"]] = max(best.get(record["task"], 0.0), record["skill"] or 0.0)
    return [
        record
        | {
            "best": best[record["task"]],
            "healthy": record["raised"] is None and (record["skill"] or 0.0) >= max(LEAST, SHARE * best[record["task"]]),
        }
        for record in records
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=[*SIDES, "both"], default="both")
    parser.add_argument("--draws", type=int, help="configurations of each family; its lot's number unless told otherwise")
    parser.add_argument("--limit", type=int, help="at most this many new runs")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    journal, sides = Journal(JOURNAL), SIDES if options.side == "both" else (options.side,)
    wanted = [run for side in sides for run in runs(side, options.draws)]
    missing = [run for run in wanted if journal.get(run.key, run.fingerprint) is None]
    for record in each(trained, missing[: options.limit], options.workers):
        journal.add(record)
    found = [journal.get(run.key, run.fingerprint) for run in wanted]
    records = judged([record for record in found if record is not None])
    write("healthy", _result(records, sides))
    print(table(_rows(records), ("program", "side", "runs", "healthy", "best", "seconds")))
    for side in sides:
        own = [record["healthy"] for record in records if record["side"] == side]
        print(f"{side}: {sum(own)} healthy runs of {len(own)}")


def _result(records: list[dict[str, Any]], sides: Sequence[str]) -> dict[str, Any]:
    """What is written; a side that was not asked for keeps what the file has of it."""
    path, kept = RESULTS / "healthy.json", ("side", "family", "index", "task", "skill", "best", "healthy", "raised")
    rows = json.loads(path.read_text("utf-8"))["result"]["runs"] if path.exists() else []
    rows = [row for row in rows if row["side"] not in sides] + [
        {name: record[name] for name in kept}
        | {"configuration": ", ".join(f"{name} {value}" for name, value in record["configuration"].items())}
        for record in records
    ]
    counts = {
        side: dict(Counter("healthy" if row["healthy"] else "dropped" for row in rows if row["side"] == side)) for side in SIDES
    }
    return {"rule": f"skill >= {SHARE} of the best of the task and >= {LEAST}", "counts": counts, "runs": rows}


def _rows(records: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for side in SIDES:
        for family in FAMILIES[side]:
            own = [record for record in records if record["side"] == side and record["family"] == family]
            if own:
                seconds = sum(record["seconds"] for record in own) / len(own)
                rows.append((family, side, len(own), sum(r["healthy"] for r in own), max(r["best"] for r in own), seconds))
    return rows


if __name__ == "__main__":
    main()
