"""A report or a proof as a matplotlib figure for notebooks; matplotlib is imported only when one is asked for."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from isograd.errors import MissingExtra
from isograd.records.proof import Proof
from isograd.records.report import Report
from isograd.render.gradients import Flow, drift_of, flow_of, title_of
from isograd.render.proof import measured, verdict_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR = 300.0
"""Decades beyond which nothing is drawn."""
_MEASURED, _FORETOLD = "#0072b2", "#d55e00"


def figure(report: Report) -> Figure:
    """Foretold and measured gradient by layer, and the heat map of layers by steps where more than one step was looked at.

    Belongs to no window and to no global state of matplotlib; ``.savefig(path)`` writes it. Raises ``MissingExtra`` where
    matplotlib is not installed.

    >>> from isograd.records.anatomy import Anatomy
    >>> figure(Report("check", Anatomy("torch", (), ()))).axes[0].get_title()
    'Gradient flow needs two layers or more to be seen'
    """
    flow = flow_of(report)
    both = len(flow.layers) > 1 and len(flow.steps) > 1
    made = _empty(11.0 if both else 6.4)
    _profile(made.add_subplot(1, 2 if both else 1, 1), flow)
    if both:
        _heat(made, made.add_subplot(1, 2, 2), flow)
    return made


def pairs(proof: Proof) -> Figure:
    """The paired trainings of a proof: the skill by step, with the change, without it, and with luck's.

    Raises ``MissingExtra`` where matplotlib is not installed.

    >>> pairs(Proof("not proven", (), "nothing", True)).axes[0].get_xlabel()
    'step'
    """
    made = _empty(6.4)
    axes = made.add_subplot(1, 1, 1)
    axes.set_title(textwrap.fill(verdict_of(proof).headline, 52), fontsize=10)
    axes.set_xlabel("step")
    axes.set_ylabel(measured(proof))
    for name, color, style, trainings in (
        ("no change", _FORETOLD, "--", [trial.control for trial in proof.trials]),
        ("a random change", "#009e73", ":", [trial.random for trial in proof.trials if trial.random is not None]),
        ("with the change", _MEASURED, "o-", [trial.treated for trial in proof.trials]),
    ):
        for place, one in enumerate(trainings):
            points = one.curve or ((one.steps, one.skill.value),)
            label = name if not place else None
            axes.plot([at for at, _ in points], [skill for _, skill in points], style, color=color, ms=3, lw=1.2, label=label)
    if axes.get_lines():
        axes.legend(frameon=False)
    return made


def _empty(width: float) -> Figure:
    try:
        from matplotlib.figure import Figure as Empty
    except ImportError as error:
        raise MissingExtra("figure() needs matplotlib", remedy="pip install matplotlib") from error
    return Empty(figsize=(width, 4.2), layout="constrained")


def _profile(axes: Axes, flow: Flow) -> None:
    axes.set_title(textwrap.fill(title_of(flow), 52), fontsize=10)
    axes.set_xlabel("layer, 1 is next to the input")
    axes.set_ylabel("gradient relative to the last layer")
    if len(flow.layers) < 2:
        return
    at = list(range(1, len(flow.layers) + 1))
    axes.set_yscale("log")
    if flow.measured:
        axes.plot(
            at,
            [_power(log) for log in flow.relative(0)],
            "o-",
            color=_MEASURED,
            ms=4,
            label=f"measured at step {flow.steps[0]:,}",
        )
    theory = [_power(log) for log in flow.foretold]
    if any(map(math.isfinite, theory)):
        axes.plot(at, theory, "--", color=_FORETOLD, label="foretold")
        edges = [_edges(log, spread) for log, spread in zip(flow.foretold, flow.spread, strict=True)]
        axes.fill_between(at, [low for low, _ in edges], [high for _, high in edges], color=_FORETOLD, alpha=0.2, lw=0)
    if axes.get_lines():
        axes.legend(frameon=False)


def _power(log: float | None) -> float:
    if log is None or not math.isfinite(log):
        return math.nan
    return math.pow(10.0, min(max(log / math.log(10), -_FLOOR), _FLOOR))


def _edges(log: float | None, spread: float | None) -> tuple[float, float]:
    if log is None or spread is None:
        return math.nan, math.nan
    return _power(log - 2 * spread), _power(log + 2 * spread)


def _heat(made: Figure, axes: Axes, flow: Flow) -> None:
    decades = [[math.log10(v) if v is not None and 0 < v < math.inf else math.nan for v in row] for row in flow.rms]
    image = axes.imshow(decades, aspect="auto", origin="lower", cmap="cividis", interpolation="nearest")
    shown = sorted({0, len(flow.steps) // 2, len(flow.steps) - 1})
    axes.set_xticks(shown, [f"{flow.steps[i]:,}" for i in shown])
    rows = sorted({0, len(flow.layers) // 2, len(flow.layers) - 1})
    axes.set_yticks(rows, [str(i + 1) for i in rows])
    axes.set_title(textwrap.fill(drift_of(flow), 52), fontsize=10)
    axes.set_xlabel("step, as looked at")
    axes.set_ylabel("layer")
    made.colorbar(image, ax=axes, label="log10 of the gradient (rms)")
