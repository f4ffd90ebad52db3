"""The signal by layer on its way forward: foretold from the anatomy against measured at the first look."""

from __future__ import annotations

import math

from isograd.records.anatomy import WEIGHTED
from isograd.records.report import Report
from isograd.render import axes, svg
from isograd.render.markup import Markup, name
from isograd.render.parts import chart, table
from isograd.render.svg import Series
from isograd.render.wording import fold, number

_STEADY = math.log(3.0)
"""Up to three-fold, a signal counts as keeping its size."""
_SHOWN = ("activation", "norm", *WEIGHTED)
"""Operations that change a signal's size."""


def places(report: Report) -> tuple[tuple[str, float | None, float | None, float | None], ...]:
    """Place, measured rms of the output at the first look, foretold rms, one standard deviation of its log; in order."""
    measured: dict[str, float] = {}
    for reading in report.readings.of("activation_rms"):
        measured.setdefault(reading.where, reading.value)
    found = []
    for node in report.anatomy.nodes:
        told = report.expectations.at(node.path)
        rms = told.activation_rms if told is not None else None
        if node.operation in _SHOWN and (node.path in measured or rms is not None):
            found.append((node.path, measured.get(node.path), rms, told.signal_spread if told is not None else None))
    return tuple(found)


def profile(report: Report) -> Markup:
    """The picture; nothing where there are not two places whose signal was measured or foretold."""
    rows = places(report)
    if len(rows) < 2:
        return Markup("")
    measured = tuple((i + 1.0, _drawn(value)) for i, (_, value, _, _) in enumerate(rows))
    foretold = tuple((i + 1.0, _drawn(value)) for i, (_, _, value, _) in enumerate(rows))
    band = tuple(
        (i + 1.0, value * math.exp(-2 * spread), value * math.exp(2 * spread))
        for i, (_, _, value, spread) in enumerate(rows)
        if value is not None and value > 0.0 and spread is not None and spread < 100.0
    )
    series = [Series("measured at the first look", measured, 0)] if any(math.isfinite(y) for _, y in measured) else []
    if any(math.isfinite(y) for _, y in foretold):
        series.append(Series("foretold, with two standard deviations", foretold, 1, band))
    heights = [y for one in series for _, y in one.points] + [edge for _, low, high in band for edge in (low, high)]
    x, y = axes.fit([1.0, float(len(rows))], log=False, whole=True), axes.fit([*heights, 10.0, 0.1], log=True)
    title = title_of(rows)
    picture = svg.lines(series, x, y, title=title, x_label="place, 1 is next to the input", y_label="output, rms (log scale)")
    cells = [
        [number(i + 1), name(where or "(the model)"), number(value, 2), number(told, 2), number(spread, 2)]
        for i, (where, value, told, spread) in enumerate(rows)
    ]
    head = ("nr", "place", "measured", "foretold", "spread (nats)")
    numbers = table("Output of every layer, root mean square", head, cells, limit=200, text=2)
    return chart(title, " ".join(_told(i + 1, rows[i]) for i in (0, len(rows) - 1)), picture, numbers, legend=series)


def _told(place: int, row: tuple[str, float | None, float | None, float | None]) -> str:
    """One end in words, for somebody who cannot see the chart."""
    where, measured, foretold, _ = row
    seen = "was not measured" if measured is None else f"was {number(measured, 2)}"
    told = "had no forecast" if foretold is None else f"was foretold as {number(foretold, 2)}"
    return f"The output of place {place} ({where or 'the model'}) {seen} and {told}."


def title_of(rows: tuple[tuple[str, float | None, float | None, float | None], ...]) -> str:
    """What the signal does on its way, as a headline.

    >>> title_of((("a", 1.0, 1.0, 0.1), ("b", 0.01, 0.01, 0.1)))
    'The signal shrinks 100-fold from place 1 to place 2'
    """
    known = [(i + 1, value) for i, (_, seen, told, _) in enumerate(rows) if (value := seen if seen is not None else told)]
    if len(known) < 2 or not all(math.isfinite(value) for _, value in known):
        return "The signal on its way forward"
    (first, start), (last, end) = known[0], known[-1]
    log = math.log(end / start)
    way = f"from place {first} to place {last}"
    if abs(log) <= _STEADY:
        return f"The signal keeps its size {way}"
    return f"The signal {'shrinks' if log < 0 else 'grows'} {fold(log)} {way}"


def _drawn(value: float | None) -> float:
    return value if value is not None and 0.0 < value < math.inf else math.nan
