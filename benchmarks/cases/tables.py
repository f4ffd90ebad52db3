"""The case of the census: a network for tables beside boosted trees, and four ways to find more of the rarer class."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cases.running import Figure, Ran, Row, apart, evaluation_of, run

WAYS = {
    "as it is": ("", ""),
    "class weights": ("[train]", 'class_weights = "balanced"'),
    "rare rows repeated": ("[data]", 'sampling = "over"'),
    "common rows thinned": ("[data]", 'sampling = "under"'),
    "threshold for F1": ("[evaluate]", 'threshold = "f1"'),
    "threshold for recall": ("[evaluate]", 'threshold = "recall"'),
}
RARE = ">50K"


def census(work: Path) -> list[Row]:
    """Income above 50,000 dollars, a quarter of the rows: ranking and calibration, then F1 and recall of that quarter."""
    source = f"{os.environ['ISOGRAD_DATA']}/adult.csv"
    others = {name: apart(by_others, source, name) for name in ("gradient boosting", "logistic regression")}
    ran = {
        way: run(work, "census", name=f"census-{way.replace(' ', '-')}", change=_with(*lines)) for way, lines in WAYS.items()
    }
    plain = ran["as it is"]
    rows = [
        plain.row("tabular network", name, goal, [Figure(f"{who}, {name}", found[name]) for who, found in others.items()])
        for name, goal in (("auc", "0.915"), ("ece", "at most 0.02"))
    ]
    for way, one in ran.items():
        rows.append(_of_the_rare(one, way))
    for who, found in others.items():
        beside = [Figure(f"{who}, {name} of {RARE}", found[name]) for name in ("f1", "recall", "precision")]
        rows[2] = replace(rows[2], beside=(*rows[2].beside, *beside))
    return rows


def _with(table: str, line: str) -> Callable[[str], str]:
    """What adds a line to a table of the project file, or a table that it has not."""

    def change(text: str) -> str:
        if not table:
            return text
        return text.replace(f"{table}\n", f"{table}\n{line}\n", 1) if f"{table}\n" in text else f"{text}\n{table}\n{line}\n"

    return change


def _of_the_rare(ran: Ran, way: str) -> Row:
    """F1 of the rare class, with recall, precision and what the answers are worth as probabilities."""
    figures = rare_figures(evaluation_of(ran.folder).confusion)
    shown = replace(ran, figures={**ran.figures, **{figure.name: figure for figure in figures}})
    beside = [figures[1], figures[2], ran.figures["auc"], ran.figures["ece"], ran.figures["accuracy"]]
    return shown.row(f"{RARE}: {way}", figures[0].name, "compared", beside)


def rare_figures(confusion: tuple[tuple[int, ...], ...], resamples: int = 2000) -> tuple[Figure, Figure, Figure]:
    """F1, recall and precision of the second of two classes; resampled rows are resampled counts of the four kinds of rows.

    >>> [round(figure.value, 2) for figure in rare_figures(((50, 10), (10, 30)))]
    [0.75, 0.75, 0.75]
    """
    import numpy as np

    counts = np.array(confusion, dtype=np.float64).ravel()
    drawn = np.random.default_rng(0).multinomial(int(counts.sum()), counts / counts.sum(), size=resamples)
    _, wrong, missed, hits = np.vstack([counts, drawn]).T
    found = {
        f"F1 of {RARE}": 2 * hits / (2 * hits + wrong + missed),
        f"recall of {RARE}": hits / (hits + missed),
        f"precision of {RARE}": hits / (hits + wrong),
    }
    one, two, three = (
        Figure(name, float(values[0]), *(float(q) for q in np.quantile(values[1:], (0.025, 0.975))))
        for name, values in found.items()
    )
    return one, two, three


def by_others(source: str, name: str) -> dict[str, float]:
    """What scikit-learn's gradient boosting or logistic regression reaches on a fifth that is drawn by another generator."""
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = pd.read_csv(source, skipinitialspace=True)
    target = (table.pop("income") == RARE).to_numpy()
    words = [str(column) for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    numbers = [str(column) for column in table if column not in words]
    if name == "gradient boosting":
        table[words] = table[words].astype("category")
        model = HistGradientBoostingClassifier(categorical_features="from_dtype", learning_rate=0.06, max_iter=300)
    else:
        coded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), words), (StandardScaler(), numbers))
        model = make_pipeline(coded, LogisticRegression(max_iter=1000))
    seen, held, known, truth = train_test_split(table, target, test_size=0.2, random_state=0, stratify=target)
    chance = model.fit(seen, known).predict_proba(held)[:, 1]
    called, sure = chance > 0.5, np.maximum(chance, 1 - chance)
    place = np.minimum((sure * 15).astype(int), 14)
    gaps = [abs((called == truth)[place == b].mean() - sure[place == b].mean()) * (place == b).mean() for b in set(place)]
    return {
        "auc": float(roc_auc_score(truth, chance)),
        "ece": float(sum(gaps)),
        "f1": float(f1_score(truth, called)),
        "recall": float(recall_score(truth, called)),
        "precision": float(precision_score(truth, called)),
    }
