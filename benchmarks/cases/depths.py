"""The case of activations, depths and optimizers: what was foretold of forty networks, and what they reach."""

from __future__ import annotations

import json
import math
import shutil
import statistics
import sys
from pathlib import Path

from cases.running import EXAMPLES, Figure, Row, measured


def depths(work: Path) -> list[Row]:
    """Accuracy where the gradient is foretold to change by less than an order of magnitude, beside that of the others."""
    folder = work / "depths"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("isograd.toml", "depths.py"):
        shutil.copyfile(EXAMPLES / "depths" / name, folder / name)
    _, cpu, peak = measured([sys.executable, str(folder / "depths.py"), str(folder)])
    found = json.loads((folder / "depths.json").read_text("utf-8"))
    cells = [(abs(int(name.split()[1]) * one["slope"]) / math.log(10), one) for name, one in found.items() if "," not in name]
    near, far = ([one["accuracy"] for lost, one in cells if (lost < 1) == kept] for kept in (True, False))
    beside = [Figure(f"mean of {len(far)} others", statistics.mean(far), min(far), max(far))]
    beside += [Figure(name, one["accuracy"]) for name, one in found.items() if "," in name]
    figure = Figure(f"mean of {len(near)} foretold near 0", statistics.mean(near), min(near), max(near))
    return [Row("8 activations, 5 depths", figure, "", round(cpu / 60, 2), 0.0, round(peak), "not watched", tuple(beside))]
