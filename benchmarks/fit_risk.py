"""Fit the model of risk on the grounds of ``foretell.py``, judge it by cross-validation, and write its pieces.

    python benchmarks/fit_risk.py            judges and writes src/isograd/health/risk_fitted.py and results/risk.json
    python benchmarks/fit_risk.py --dry-run  judges alone

Every figure is of configurations that were left out of the fit: in five parts drawn at random, and a family of networks at a
time. Choosing the signs is inside of it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import table as printed
from common import write
from foretell import FOLDER, MARKS, recorded, rows
from foretelling.fitting import Array, Model, Table, auc, fit, judged
from isograd.health import risk, signs
from isograd.health.case import case_of
from isograd.records import codec
from isograd.records.probe import Probe
from isograd.records.trace import Trace

GOOD, SHARE, FOLDS = 0.95, 0.75, 5
"""A good setting is the 95 % quantile on that data set and length; a run fails below 0.75 of it."""
TARGET = Path(__file__).parent.parent / "src" / "isograd" / "health" / "risk_fitted.py"
KNOWN = {
    "theory": ("theory",),
    "step": ("theory", "step"),
    "probe": ("theory", "step", "probe"),
    "look 2 %": ("theory", "look 2 %"),
    "look 12 %": ("theory", "look 12 %"),
    "look 25 %": ("theory", "look 25 %"),
}
"""What each basis knows."""
MISSING = {
    "targets unknown": ("skill", "separable", "hits_now", "thin_skill", "thin_gain", "thin_pace", "thin_separable"),
    "constant answer unknown": (
        *("promised", "start", "first_gain", "skill", "best_skill", "loss_now", "trend", "noise", "pace"),
        *("thin_loss", "thin_trend", "thin_burst"),
    ),
    "layers unseen": (
        *("gap", "signal", "signal_least", "signal_most", "alike", "dead", "saturated", "reach_back"),
        *("gap_foretold", "signal_foretold", "width_noise"),
    ),
}
"""Signs that some programs do not have: what is left is judged without another fit."""
RAW = ("depth", "width", "gain", "rate", "batch", "decay", "scale", "dropout", "bias")


def signs_of(row: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The signs of one configuration, by what it takes to know them."""
    documents = recorded(row["steps"], row["index"])
    check, watch = (codec.from_document(Trace, documents[name]) for name in ("check", "watch"))
    probe = codec.from_document(Probe, documents["probe"])
    case = case_of(check)
    found = {
        "theory": dict(signs.of_theory(case.anatomy, case.expectations, row["steps"])),
        "step": dict(signs.of_step(case, probe)),
        "probe": dict(signs.of_probe(probe, signs.floor_of(case), row["steps"])),
    }
    for share, name in zip(risk.LOOKS, ("look 2 %", "look 12 %", "look 25 %"), strict=True):
        found[name] = dict(signs.of_looks(case_of(signs.until(watch, risk.look_at(share, row["steps"])))))
    return found


def grounds(*lengths: int) -> tuple[list[dict[str, Any]], list[dict[str, dict[str, float]]]]:
    """All rows of runs of these lengths with their signs; signs that were taken before are kept beside them."""
    found = [row for steps in lengths for row in rows(steps)]
    path = FOLDER / "signs.json"
    kept: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    keys = [f"{row['steps']}/{row['index']}" for row in found]
    for row, key in zip(found, keys, strict=True):
        if key not in kept:
            kept[key] = signs_of(row)
    path.write_text(json.dumps(kept), encoding="utf-8")
    return found, [kept[key] for key in keys]


def outcomes(found: list[dict[str, Any]]) -> tuple[Array, Array]:
    """Which runs fail, and every run's skill at ``MARKS`` in units of what a good setting reaches."""
    keys = [(row["data"], row["steps"]) for row in found]
    ends = np.array([row["skills"][-1] for row in found])
    good = {key: np.quantile([end for end, own in zip(ends, keys, strict=True) if own == key], GOOD) for key in set(keys)}
    shares = np.array([[skill / good[key] for skill in row["skills"]] for row, key in zip(found, keys, strict=True)])
    return (shares[:, -1] < SHARE).astype(float), shares


def table_of(known: list[dict[str, dict[str, float]]], parts: tuple[str, ...]) -> Table:
    """The signs as columns, NaN where one is missing; a later part has the last word."""
    merged = [{name: value for part in parts for name, value in one[part].items()} for one in known]
    names = sorted({name for one in merged for name in one})
    return {name: np.array([one.get(name, np.nan) for one in merged]) for name in names}


def aside(table: Table, fails: Array, part: NDArray[Any]) -> tuple[Array, list[Model]]:
    """Probabilities for the rows of each part by a model of the others."""
    chance, models = np.zeros(len(fails)), []
    for one in np.unique(part):
        out = part == one
        model = fit({name: column[~out] for name, column in table.items()}, fails[~out], list(table))
        models.append(model)
        chance[out] = model.chance({name: column[out] for name, column in table.items()})
    return chance, models


def lacking(table: Table, models: list[Model], part: NDArray[Any], missing: tuple[str, ...]) -> Array:
    """As ``aside``, by the models of the others, where some signs cannot be told."""
    chance = np.zeros(len(part))
    for one, model in zip(np.unique(part), models, strict=True):
        out = part == one
        rows = {name: np.full(int(out.sum()), np.nan) if name in missing else column[out] for name, column in table.items()}
        chance[out] = model.chance(rows)
    return chance


def raw(found: list[dict[str, Any]]) -> Table:
    """The configuration itself: numbers, and one column a choice."""
    columns: Table = {name: np.array([float(row[name]) for row in found]) for name in RAW}
    columns["rate"] = np.log10(columns["rate"])
    for choice in ("family", "data", "activation", "cell", "init", "norm", "optimizer"):
        for value in sorted({row[choice] for row in found}):
            columns[f"{choice}={value}"] = np.array([float(row[choice] == value) for row in found])
            if choice == "optimizer":
                columns[f"rate of {value}"] = np.where(columns[f"{choice}={value}"] > 0, columns["rate"], np.nan)
    return columns


def main() -> None:
    """Judge, and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--steps", type=int, nargs="+", default=[400, 4000])
    wanted = parser.parse_args()
    found, known = grounds(*wanted.steps)
    fails, shares = outcomes(found)
    families = np.array([row["family"] for row in found])
    parts = np.random.default_rng(5).permutation(len(fails)) % FOLDS
    figures: dict[str, Any] = {"raw configuration": {"within": judged(fails, aside(raw(found), fails, parts)[0])}}
    models: dict[str, Model] = {}
    for basis, names in KNOWN.items():
        table = table_of(known, names)
        (within, held), (across, _) = aside(table, fails, parts), aside(table, fails, families)
        long = np.array([row["steps"] > 400 for row in found])
        figures[basis] = {"within": judged(fails, within), "family left out": judged(fails, across)}
        figures[basis]["by family"] = {
            f: round(auc(fails[families == f], within[families == f]), 4) for f in np.unique(families)
        }
        for name, missing in MISSING.items() if basis != "theory" else ():
            figures[basis][name] = judged(fails, lacking(table, held, parts, missing))
        if long.any():
            figures[basis]["4,000 steps"] = judged(fails[long], within[long])
        models[basis] = fit(table, fails, list(table))
        if basis.startswith("look"):
            blind = {name: column for name, column in table.items() if name not in MISSING["constant answer unknown"]}
            figures[basis]["blind"] = judged(fails, aside(blind, fails, parts)[0])
            models[f"{basis}, blind"] = fit(blind, fails, list(blind))
    for place, share in enumerate(MARKS[:-1]):
        figures[f"own skill at {share:.1%}"] = {"within": {"auc": round(auc(fails, -shares[:, place]), 4)}}
    costs = {
        f"{name}, {steps} steps": float(
            np.median([r["seconds"][name] / r["seconds"]["run"] for r in found if r["steps"] == steps])
        )
        for name in ("check", "deep")
        for steps in sorted({row["steps"] for row in found})
    }
    lines = [
        (
            name,
            part,
            *(figure.get(key, "") for key in ("auc", "ece", "will_fail_precision", "will_fail_recall", "will_train_wrong")),
        )
        for name, several in figures.items()
        for part, figure in several.items()
        if part != "by family"
    ]
    print(printed(lines, ("known", "part", "AUC", "ECE", "fail right", "fail recall", "train wrong")))
    print(json.dumps({name: several["by family"] for name, several in figures.items() if "by family" in several}))
    print(f"{len(fails)} configurations, {fails.mean():.2f} fail; median CPU seconds over those of the run: {costs}")
    for basis in models:
        print(basis, {name: tuple(round(v, 2) for v in values) for name, (_, values) in models[basis].pieces.items()})
    if not wanted.dry_run:
        rate = float(fails.mean())
        TARGET.write_text(source({basis: models[basis] for basis in models if basis != "theory"}, rate), encoding="utf-8")
        write("risk", {"configurations": len(fails), "fail": rate, "cost": costs, "figures": figures})


def source(models: dict[str, Model], rate: float) -> str:
    """The module that holds the pieces; the intercepts are those of even odds."""
    lines = [
        '"""The pieces of the model of risk, written by ``benchmarks/fit_risk.py``: what each sign is worth, in log odds."""',
        "",
        "from __future__ import annotations",
        "",
        "Points = tuple[tuple[float, ...], tuple[float, ...]]",
        '"""Values of a sign, and what each is worth."""',
        "",
        "FITTED: dict[str, tuple[float, dict[str, Points]]] = {",
    ]
    for basis, model in models.items():
        intercept = model.intercept - float(np.log(rate / (1.0 - rate)))
        lines += [f'    "{basis}": (', f"        {intercept:.4g},", "        {"]
        for name, (knots, values) in model.pieces.items():
            told = ", ".join(f"{knot:.4g}" for knot in knots), ", ".join(f"{value:.3g}" for value in values)
            lines.append(f'            "{name}": (({told[0]}), ({told[1]})),')
        lines += ["        },", "    ),"]
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    main()
