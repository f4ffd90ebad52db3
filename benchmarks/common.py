"""What every benchmark shares: the machine it ran on, medians with intervals, a table, a JSON file of results."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = ("isograd", "numpy", "scipy", "torch", "onnxruntime")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, operating system, library versions, threads and present load."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in _LIBRARIES if (version := _version(name))},
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": datetime.date.today().isoformat(),
    }


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and the distribution-free interval between order statistics that holds the true median at 95 % or more.

    With fewer than 6 values no such interval exists: then it is the whole range.

    >>> median_interval([3.0, 1.0, 2.0])
    (2.0, 1.0, 3.0)
    """
    from scipy.stats import binom

    if not values:
        raise ValueError("a median needs at least one value")
    ordered, n = sorted(values), len(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    rank = max(0, int(binom.ppf(0.025, n, 0.5)) - 1)
    return middle, ordered[rank], ordered[n - 1 - rank]


def table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    """Rows as aligned columns: the first to the left, the others to the right; floats with four digits.

    >>> print(table([("mlp", 1.02)], ("net", "ratio")))
    net  ratio
    mlp   1.02
    """
    cells = [
        tuple(headers),
        *(tuple(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row) for row in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = (
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def write(name: str, result: Any) -> Path:
    """Write ``{"machine": ..., "result": ...}`` to ``results/<name>.json`` and give the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    aside = path.with_suffix(".json.new")
    aside.write_text(json.dumps({"machine": machine(), "result": result}, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
    return path


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
