"""Theory against measurement: how often a layer's gradient lies where its forecast said, over random architectures.

    python benchmarks/theory.py --first 0 --count 60             to look
    python benchmarks/theory.py                                  the figure: 500 seeds that took no part in finding out

For every architecture of ``theory_nets`` one batch goes forward and backward through a copy (``isograd.check``), and the log
rms gradient of each layer relative to the last one is held against ``log_gradient`` and ``spread`` of its expectation.
Covered: within two spreads. A layer whose network theory does not know down to it is counted as unknown.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

import isograd
from common import table, write
from isograd.records.anatomy import WEIGHTED
from theory_nets import FAMILIES, draw

HELD_OUT = 2_000_000
"""The first seed of the figure; what lies below is for finding out."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: where it is, how its gradient was foretold and measured (nats, relative to the last layer), the spread."""

    seed: int
    family: str
    where: str
    operation: str
    foretold: float | None
    measured: float
    spread: float

    @property
    def score(self) -> float:
        """How many spreads the measurement lies beside the forecast."""
        return (self.measured - (self.foretold or 0.0)) / max(self.spread, 1e-9)


def layers(seed: int, *, every: bool = False) -> list[Layer]:
    """The weighted layers (``every``: all nodes) of one architecture that a gradient was measured at."""
    drawn = draw(seed)
    record = isograd.check(drawn.model, (drawn.inputs, drawn.targets), drawn.loss).record
    gradients = {r.where: math.log(r.value) for r in record.readings.of("gradient_rms") if r.value > 0.0}
    expected = {e.where: e for e in record.expectations.nodes}
    nodes = [n for n in record.anatomy.nodes if n.path in gradients and (every or n.operation in WEIGHTED)]
    last = next(n.path for n in reversed(nodes) if n.operation in WEIGHTED)
    base = expected[last].log_gradient
    found = []
    for node in nodes:
        e = expected[node.path]
        known = e.log_gradient is not None and base is not None and math.isfinite(e.log_gradient)
        foretold = e.log_gradient - base if known and e.log_gradient is not None and base is not None else None
        measured = gradients[node.path] - gradients[last]
        if node.path != last:
            found.append(Layer(seed, drawn.family, node.path, node.operation, foretold, measured, e.spread or 0.0))
    return found


def summary(found: Sequence[Layer]) -> dict[str, Any]:
    """Coverage at one and two spreads, how wide the band is, and how far off the forecasts are."""
    known = [layer for layer in found if layer.foretold is not None]
    share = {limit: sum(abs(layer.score) <= limit for layer in known) / max(1, len(known)) for limit in (1, 2)}
    errors = [layer.measured - layer.foretold for layer in known if layer.foretold is not None]
    return {
        "architectures": len({layer.seed for layer in found}),
        "layers": len(known),
        "unknown": len(found) - len(known),
        "within_two": share[2],
        "within_one": share[1],
        "median_band": 4.0 * median(layer.spread for layer in known) if known else math.nan,
        "median_error": median(map(abs, errors)) if errors else math.nan,
        "bias": median(errors) if errors else math.nan,
        "range": max((abs(layer.foretold or 0.0) for layer in known), default=math.nan),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=HELD_OUT)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--worst", type=int, default=0, help="show so many of the layers that are farthest off")
    parser.add_argument("--family", choices=FAMILIES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    found: list[Layer] = []
    for seed in range(options.first, options.first + options.count):
        if options.family is None or FAMILIES[seed % len(FAMILIES)] == options.family:
            found += layers(seed)
    rows = {family: summary([layer for layer in found if layer.family == family]) for family in FAMILIES}
    rows = {family: row for family, row in rows.items() if row["architectures"]} | {"all": summary(found)}
    print(table([(family, *row.values()) for family, row in rows.items()], ("family", *rows["all"])))
    known = sorted((one for one in found if one.foretold is not None), key=lambda one: -abs(one.score))
    for layer in known[: options.worst]:
        numbers = f"{layer.foretold:.2f} {layer.measured:.2f} ({layer.spread:.2f}) {layer.score:.1f}"
        print(f"{layer.seed} {layer.family} {layer.where} {layer.operation}: {numbers}")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.first >= HELD_OUT and options.count >= 500:
        print(write("theory", {"seeds": [options.first, options.first + options.count], "families": rows}))


if __name__ == "__main__":
    main()
