"""Series made by two rules, and the error of the best possible answer to which rule made one.

    python examples/memory/series.py draw [FOLDER]      # writes series.csv, beside this file or in the folder that is named
    python examples/memory/series.py best [FOLDER]      # what can be known of the test part of the project in the folder

x[t] = memory x[t - 1] + sqrt(1 - memory^2) noise, with memory 0.2 ("short") or 0.6 ("long"). Each single number is standard
normal under both rules: all that tells them apart is how a number hangs together with the one before. The best answer is the
rule under which the whole series is likelier (Bayes; both rules are drawn alike often). A logistic regression sees the 25
numbers, which is not enough: no sum of them differs between the rules.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from isograd.project import reading, river
from isograd.workbench.data import Rows

MEMORY = {"short": 0.2, "long": 0.6}
STEPS = 25


def draw(folder: Path, count: int = 16_000) -> None:
    """Write so many series, a row for each step."""
    rng = np.random.default_rng(0)
    rules = rng.permutation(np.repeat(list(MEMORY), count // 2))
    memory = np.array([MEMORY[rule] for rule in rules])
    x = rng.standard_normal((STEPS, count))
    for t in range(1, STEPS):
        x[t] = memory * x[t - 1] + np.sqrt(1 - memory**2) * x[t]
    rows = (f"{n},{t},{x[t, n]:.4f},{rule}" for n, rule in enumerate(rules) for t in range(STEPS))
    (folder / "series.csv").write_text("\n".join(["series,step,x,rule", *rows]) + "\n", encoding="utf-8")


def log_likelihood(x: NDArray[np.float64], memory: float) -> NDArray[np.float64]:
    """Of each series (rows, steps) under a rule, up to what the rules have in common."""
    rest = 1 - memory**2
    found: NDArray[np.float64] = -0.5 * ((x[:, 1:] - memory * x[:, :-1]) ** 2 / rest + np.log(rest)).sum(axis=1)
    return found


def best(folder: Path) -> dict[str, float]:
    """Errors on the project's test part."""
    prepared = river.begin(reading.load(folder)).prepared
    column, classes = prepared.encoding.columns[0], prepared.encoding.classes

    def series(rows: Rows) -> NDArray[np.float64]:
        values: NDArray[np.float64] = rows.inputs[:, :, 0].double().numpy() * column.std + column.mean
        return values

    x, truth = series(prepared.test), prepared.test.targets.numpy()
    likelier = np.argmax([log_likelihood(x, MEMORY[name]) for name in classes], axis=0)
    flat = LogisticRegression(max_iter=1000).fit(series(prepared.train), prepared.train.targets.numpy())
    return {
        "error of the best possible answer": float(np.mean(likelier != truth)),
        "error of logistic regression": float(np.mean(flat.predict(x) != truth)),
    }


if __name__ == "__main__":
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent
    if sys.argv[1] == "draw":
        draw(place)
    else:
        print(json.dumps(best(place), indent=1))
