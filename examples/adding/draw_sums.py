"""Draw the adding problem into sums.npz: rows of 200 steps with a number from U(0, 1) and a mark, 1 at two steps of each row.

    python examples/adding/draw_sums.py [FOLDER]

One mark is in the first half and one in the second. The target is the sum of the two marked numbers, of mean 1 and variance
1/6, which is the squared error of who always says 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path, steps: int = 200, train: int = 20_000, test: int = 2_000) -> None:
    rng = np.random.default_rng(0)
    parts: dict[str, Any] = {}
    for part, rows in (("train", train), ("test", test)):
        x = np.zeros((rows, steps, 2), np.float32)
        x[:, :, 0] = rng.random((rows, steps), np.float32)
        every = np.arange(rows)
        for low, high in ((0, steps // 2), (steps // 2, steps)):
            x[every, rng.integers(low, high, rows), 1] = 1.0
        parts |= {f"x_{part}": x, f"y_{part}": (x[:, :, 0] * x[:, :, 1]).sum(axis=1)}
    np.savez_compressed(folder / "sums.npz", **parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
