"""Write a report as a page of text for a terminal, and as one line beside a progress bar."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterator

from isograd.records.anatomy import DYING, Anatomy, spoken
from isograd.records.finding import Evidence, Finding
from isograd.records.reading import Readings
from isograd.records.report import Report
from isograd.records.trace import Meter
from isograd.render import cause
from isograd.render.forecasts import chance, gist, meaning, reasons
from isograd.render.verdict import little, of_report
from isograd.render.wording import count, learned

UNPAID = 0.05
"""Above this share of the time the first looks are not paid for yet."""
_MARGIN = 10
_IN_FULL = 3  # alarms told with where, why and what to try; the rest in a sentence each
_COUNTS = {1: "one training step", 2: "two training steps", 3: "three training steps"}


def report(report: Report, *, width: int = 100) -> str:
    """The page: the verdict first, then where, why and what to try for each finding; a healthy report is short.

    >>> print(report(Report("check", Anatomy("torch", (), ()))).splitlines()[0])
    Healthy: nothing stands in the way of the gradients.
    """
    lines = [_verdict(report, width)]
    findings = [finding for finding in report.findings if finding.alarm]
    for position, finding in enumerate(findings[:_IN_FULL]):
        if position:
            lines.append("")
        lines.extend(_finding(finding, report.anatomy, width))
    for finding in findings[_IN_FULL:]:
        lines.extend(_row("also", finding.summary, width))
    if report.cause is not None:
        lines.extend(cause.lines(report.cause, width))
    if report.learned is not None:
        lines.extend(_row("learned", learned(report.learned), width))
    if report.healthy:
        lines.extend(_row("looked at", _looked_at(report), width))
        lines.extend(_flow(report, width))
    if report.forecast is not None and report.healthy:
        lines.extend(_row("risk", f"{gist(report.forecast)}; {meaning(report.forecast)}", width))
        for text in reasons(report.forecast):
            lines.extend(_row("", text, width))
    elif report.forecast is not None:  # an alarm says what is wrong and how sure that is: no second verdict beside it
        lines.extend(_row("risk", f"fails with {chance(report.forecast.probability)}, alarms apart", width))
    cost = _cost(report)
    if cost:
        lines.extend(_row("cost", cost, width))
    for finding in report.findings:
        if not finding.alarm:
            lines.extend(_row("note", finding.summary, width))
    for remark in report.remarks:
        lines.extend(_row("note", remark, width))
    return "\n".join(lines)


def health_line(report: Report) -> str:
    """One line of gradient health.

    >>> health_line(Report("watch", Anatomy("torch", (), ())))
    'no step seen · watching costs 0.0 %'
    """
    alarms = [finding for finding in report.findings if finding.alarm]
    good = of_report(report).tone == "good"
    parts = ["gradients healthy" if good else "little learned" if little(report) else "no alarm, but layers were not measured"]
    if not report.steps and report.origin != "check":
        parts = ["no step seen"]
    if alarms:
        parts = [
            f"{alarms[0].disease.replace('_', ' ')} at {spoken(alarms[0].where)}"
            + (f" and {len(alarms) - 1} more" if alarms[1:] else "")
        ]
    found = vitals(report)
    if "first_over_last" in found:
        parts.append(f"first/last layer {found['first_over_last']:.1g}")
    if "update_ratio" in found:
        parts.append(f"updates {found['update_ratio']:.0e}".replace("e-0", "e-").replace("e+0", "e+"))
    if "dead_fraction" in found:
        parts.append(f"dead {found['dead_fraction']:.0%}".replace("%", " %"))
    parts.append(watching(report.meter))
    return " · ".join(parts)


def vitals(report: Report) -> dict[str, float]:
    """The latest numbers of gradient health that are known.

    ``loss``; ``gradient_norm`` of the whole gradient; ``first_over_last``: rms gradient at the first over the last layer;
    ``update_ratio``: median over the weight matrices of update over weight; ``dead_fraction``: mean share of dead units.

    >>> vitals(Report("watch", Anatomy("torch", (), ())))
    {}
    """
    readings, found = report.readings, dict[str, float]()
    for name, signal in (("loss", "loss"), ("gradient_norm", "total_gradient_norm")):
        if known := _latest(readings, signal, {""}):
            found[name] = known[""]
    ends = _ends(readings, report.anatomy)
    if ends and ends[3]:
        found["first_over_last"] = ends[1] / ends[3]
    moved = _latest(readings, "update_ratio", {parameter.name for parameter in report.anatomy.matrices})
    if moved:
        found["update_ratio"] = statistics.median(moved.values())
    dead = _latest(readings, "dead_fraction", _dying(report.anatomy))
    if dead:
        found["dead_fraction"] = statistics.fmean(dead.values())
    return found


def _verdict(report: Report, width: int) -> str:
    text = of_report(report).headline
    if report.healthy:
        return text
    sure = f"{max(finding.confidence for finding in report.findings if finding.alarm):.0%} sure".replace("%", " %")
    return f"{text}{sure:>{max(2, min(width, 82) - len(text))}}"


def _finding(finding: Finding, anatomy: Anatomy, width: int) -> Iterator[str]:
    yield from textwrap.wrap(finding.summary, width, initial_indent="  ", subsequent_indent="  ")
    yield from _row("where", _place(finding, anatomy), width)
    if finding.cause:
        yield from _row("why", finding.cause, width)
    for position, evidence in enumerate(finding.evidence):
        yield from _row("why" if not position and not finding.cause else "", _told(evidence), width)
    if finding.remedy:
        yield from _row("try", finding.remedy, width)


def _told(evidence: Evidence) -> str:
    """What speaks for it, with its number where the words do not hold it."""
    if any(sign.isdigit() for sign in evidence.text) or not math.isfinite(evidence.value):
        return evidence.text
    return f"{evidence.text}: {evidence.value:.3g}"


def _place(finding: Finding, anatomy: Anatomy) -> str:
    node = anatomy.node(finding.where)
    text = spoken(finding.where) + (f" ({node.label})" if node and node.label else "")
    if len(finding.layers) > 1:
        text += f" and {len(finding.layers) - 1} more"
    parts = [text, finding.source or ""]
    if finding.time_step is not None:
        parts.append(f"time step {finding.time_step:,}")
    if finding.since:
        parts.append(f"since step {finding.since:,}" + (f" until step {finding.until:,}" if finding.until else ""))
    return ", ".join(part for part in parts if part)


def _row(label: str, text: str, width: int) -> list[str]:
    head = f"  {label:<{_MARGIN - 2}}" if len(label) < _MARGIN - 2 else f"  {label} "
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * _MARGIN, break_on_hyphens=False) or [head]


def _looked_at(report: Report) -> str:
    if report.origin == "explain":
        return "an exception"
    weighted = sum(bool(node.parameters) for node in report.anatomy.nodes)
    text = f"{count(weighted, 'layer')}, {sum(parameter.size for parameter in report.anatomy.parameters):,} parameters"
    if report.origin == "check":
        steps = _COUNTS.get(report.steps, f"{report.steps} training steps")
        if report.anatomy.optimizer is None and report.steps == 1:
            steps = "one forward and backward pass"
        return text + (f", theory and {steps}" if report.steps else ", theory alone: no batch was given")
    sampled = len({r.step for r in report.readings.of("activation_rms")} | {r.step for r in report.readings.of("update_ratio")})
    return text + f", {report.steps:,} steps ({sampled:,} of them closely)"


def _flow(report: Report, width: int) -> list[str]:
    ends = _ends(report.readings, report.anatomy)
    if ends and ends[3]:
        first, low, last, high = ends
        return _row("gradient", f"at {spoken(first)} {low / high:.2g} times that at {spoken(last)}", width)
    slope = report.expectations.slope
    if slope is not None:
        return _row("gradient", f"foretold: {slope:+.2f} nats a layer (0 is even; positive shrinks towards the input)", width)
    return []


def _cost(report: Report) -> str:
    if report.origin == "check":
        return f"{report.meter.total_seconds:.1f} s" if report.meter.total_seconds else ""
    if not report.meter.steps:
        return ""
    return f"{watching(report.meter)}, {report.meter.steps:,} steps"


def watching(meter: Meter) -> str:
    """What the watching costs: a share once the first looks are paid for, seconds before that.

    The first two steps are always looked at closely; a run pays for them within some hundred steps, and the share of a
    shorter one says little about what watching costs.

    >>> watching(Meter(own_seconds=0.2, total_seconds=10.2, steps=900)), watching(Meter(0.2, 0.5, 9))
    ('watching costs 2.0 %', 'watching cost 0.20 s')
    """
    if meter.share > UNPAID:
        return f"watching cost {meter.own_seconds:.2f} s"
    return f"watching costs {100 * meter.share:.1f} %"


def _latest(readings: Readings, signal: str, places: set[str]) -> dict[str, float]:
    return {reading.where: reading.value for reading in readings.of(signal) if reading.where in places}


def _ends(readings: Readings, anatomy: Anatomy) -> tuple[str, float, str, float] | None:
    """The latest gradient of the first and the last layer that holds parameters."""
    gradients = _latest(readings, "gradient_rms", {node.path for node in anatomy.nodes if node.parameters})
    order = [node.path for node in anatomy.nodes if node.path in gradients]
    return (order[0], gradients[order[0]], order[-1], gradients[order[-1]]) if len(order) > 1 else None


def _dying(anatomy: Anatomy) -> set[str]:
    return {node.path for node in anatomy.nodes if node.operation == "activation" and node.activation in DYING}
