"""Draw 20,000 points of y = 3 x + U(0, 1) into line.csv, beside this file or in the folder that is named.

python examples/line/draw_line.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(folder: Path, rows: int = 20_000) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, rows)
    y = 3.0 * x + rng.uniform(0.0, 1.0, rows)
    lines = ["x,y", *(f"{a:.6f},{b:.6f}" for a, b in zip(x, y, strict=True))]
    (folder / "line.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
