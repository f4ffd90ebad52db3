"""Learning curves: loss and metrics by epoch, with titles that say what became of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isograd.records.run import Epoch
from isograd.render import axes, svg
from isograd.render.markup import Markup, el
from isograd.render.parts import chart, section, table, words
from isograd.render.svg import Mark, Series
from isograd.render.wording import count, listed, metric_name, number

LOSSES = ("log_loss", "loss")
"""Validation metrics on the scale of the training loss, drawn beside it."""
SHARES = ("accuracy", "precision", "recall", "f1", "macro_f1", "balanced_accuracy")
_LESS_IS_BETTER = ("loss", "mae", "rmse", "mse", "error")


def metric_names(epochs: Sequence[Epoch]) -> tuple[str, ...]:
    """The names of all metrics, in the order in which they appear."""
    return tuple(dict.fromkeys(key for epoch in epochs for key, _ in epoch.metrics))


def loss_chart(epochs: Sequence[Epoch]) -> Markup:
    """Training loss, and the validation loss where a metric has the same scale."""
    series = [("training", [(float(e.epoch), e.loss) for e in epochs])]
    key = next((key for key in metric_names(epochs) if key in LOSSES), None)
    if key:
        series.append(("validation", _of(epochs, key)))
    title = _trend("Training loss", series[0][1])
    return _curves(title, _best_sentence("validation loss", series[-1][1]) if key else "", series, "loss", _best(epochs))


def metric_charts(epochs: Sequence[Epoch]) -> tuple[Markup, ...]:
    """One chart for the metrics that are shares, one for each other metric."""
    names = [key for key in metric_names(epochs) if key not in LOSSES]
    shares = [key for key in names if key in SHARES]
    groups = ([shares[:4]] if shares else []) + [[key] for key in names if key not in SHARES]
    return tuple(_metric_chart(epochs, group) for group in groups)


def _metric_chart(epochs: Sequence[Epoch], group: Sequence[str]) -> Markup:
    series = [(metric_name(key), _of(epochs, key)) for key in group]
    title = _trend(f"Validation {series[0][0]}", series[0][1])
    sentence = _best_sentence(f"validation {series[0][0]}", series[0][1], less=any(w in group[0] for w in _LESS_IS_BETTER))
    return _curves(title, sentence, series, f"{listed([label for label, _ in series])} on validation", _best(epochs))


def curve_section(epochs: Sequence[Epoch], *, hero: bool) -> Markup:
    """All curves, folded; ``hero`` says that the first metric stands on top of the page already."""
    if not epochs:
        return section(
            "Learning curves", "No epoch was finished.", words("There is nothing to draw before the first epoch ends.")
        )
    charts = [loss_chart(epochs), *metric_charts(epochs)[1 if hero else 0 :]]
    gist = f"{count(len(epochs), 'epoch')}; {_trend('training loss', [(float(e.epoch), e.loss) for e in epochs])}."
    return section("Learning curves", gist, el("div", *charts, class_="pair"), _epoch_table(epochs))


def hero_curve(epochs: Sequence[Epoch]) -> Markup:
    """The one chart that shows whether it learned: the first metric, or the loss."""
    charts = metric_charts(epochs) if epochs else ()
    return charts[0] if charts else loss_chart(epochs) if epochs else Markup("")


def _of(epochs: Sequence[Epoch], key: str) -> list[axes.Point]:
    return [(float(epoch.epoch), dict(epoch.metrics)[key]) for epoch in epochs if key in dict(epoch.metrics)]


def _best(epochs: Sequence[Epoch]) -> Mark | None:
    best = [epoch.epoch for epoch in epochs if epoch.best]
    return Mark(float(best[-1]), "best") if best and len(epochs) > 1 else None


def _trend(what: str, points: Sequence[axes.Point]) -> str:
    if not points:
        return f"{what} was not measured"
    (_, start), (last, end) = points[0], points[-1]
    if not math.isfinite(end):
        return f"{what} is not finite at epoch {last:,.0f}"
    if len(points) == 1:
        return f"{what} is {number(end)} after one epoch"
    if number(start) == number(end):
        return f"{what} is {number(end)} at the end, as at the start"
    return f"{what} {'falls' if end < start else 'rises'} from {number(start)} to {number(end)}"


def _best_sentence(what: str, points: Sequence[axes.Point], *, less: bool = True) -> str:
    finite = [(value, at) for at, value in points if math.isfinite(value)]
    if not finite:
        return f"No finite {what} was measured."
    value, at = min(finite) if less else max(finite, key=lambda pair: (pair[0], -pair[1]))
    return f"The {'lowest' if less else 'highest'} {what} is {number(value)}, at epoch {at:,.0f}."


def _curves(
    title: str, sentence: str, series: Sequence[tuple[str, list[axes.Point]]], y_label: str, mark: Mark | None
) -> Markup:
    shown = [Series(label, axes.thin(points), i) for i, (label, points) in enumerate(series)]
    x = axes.fit((at for one in shown for at, _ in one.points), log=False, whole=True)
    y = axes.fit(value for one in shown for _, value in one.points)
    odd = [at for _, points in series for at, value in points if not math.isfinite(value)]
    notes = (
        [sentence]
        if sentence
        else [f"{count(len(series[0][1]), 'epoch')} were measured." if len(series[0][1]) != 1 else "One epoch was measured."]
    )
    if odd:
        notes.append(f"Values that are not finite are left out, the first at epoch {min(odd):,.0f}.")
    if any(len(one.points) < len(points) for one, (_, points) in zip(shown, series, strict=True)):
        notes.append("Drawn are the lowest and highest of every stretch of epochs.")
    label = f"{y_label}{' (log scale)' if y.log else ''}"
    picture = svg.lines(shown, x, y, title=title, x_label="epoch", y_label=label, mark=mark)
    return chart(title, " ".join(notes), picture, _numbers(y_label, series), legend=shown)


def _numbers(caption: str, series: Sequence[tuple[str, list[axes.Point]]]) -> Markup:
    columns = [dict(points) for _, points in series]
    at = sorted({x for column in columns for x in column})
    rows = [[number(x), *(number(column.get(x)) for column in columns)] for x in at]
    return table(caption[:1].upper() + caption[1:], ["epoch", *(label for label, _ in series)], rows, text=0)


def _epoch_table(epochs: Sequence[Epoch]) -> Markup:
    names = metric_names(epochs)
    health = any(epoch.health for epoch in epochs)
    head = [
        "epoch",
        "steps",
        "training loss",
        *map(metric_name, names),
        "learning rate",
        "rows / s",
        "seconds",
        *(["gradients"] if health else []),
    ]
    rows = []
    for epoch in epochs:
        metrics = dict(epoch.metrics)
        first = f"{epoch.epoch:,}{' (best)' if epoch.best else ''}"
        values = (epoch.loss, *(metrics.get(key) for key in names), epoch.learning_rate)
        speed = (
            number(round(epoch.rows_per_second)) if math.isfinite(epoch.rows_per_second) else "–",
            number(epoch.seconds, 2),
        )
        rows.append([first, number(epoch.step), *map(number, values), *speed, *([epoch.health] if health else [])])
    fold = el("summary", "Every epoch")
    return el("details", fold, table("Every epoch", head, rows, text=0), class_="numbers")
