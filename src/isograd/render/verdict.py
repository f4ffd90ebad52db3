"""The verdict in words: did it learn, will it train, were the gradients healthy, and what says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isograd.records.finding import Finding
from isograd.records.forecast import DOUBTS
from isograd.records.report import Report
from isograd.records.run import Epoch, Evaluation, Metric, Run
from isograd.render.markup import plain
from isograd.render.wording import count, duration, interval, metric_name, number, percent

Tone = Literal["good", "unsure", "bad"]
NEXT_TO_NOTHING, LITTLE = 0.1, 0.2
DOUBTFUL = 0.75
"""Probability of failure from which a check calls nothing healthy."""
_HEADLINES = ("accuracy", "r2", "balanced_accuracy", "f1", "rmse", "mae")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence, its tone, and what stands under it."""

    tone: Tone
    headline: str
    details: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The tone as a word, for who does not see the colour."""
        return {"good": "✓ Good", "unsure": "? Look closer", "bad": "✗ Not good"}[self.tone]


def of_report(report: Report) -> Verdict:
    """Will it train, or did it train well?

    >>> from isograd.records.anatomy import Anatomy
    >>> of_report(Report("check", Anatomy("torch", (), ()))).headline
    'Healthy: nothing stands in the way of the gradients.'
    """
    alarms = _alarms(report)
    before = report.origin == "check"
    if not alarms:
        headline = _no_alarm(report)
        return Verdict("good" if headline.startswith("Healthy") else "unsure", headline, _doubts(report))
    return Verdict(*_state(alarms, before), _told(alarms))


def _no_alarm(report: Report) -> str:
    """No alarm: the sentence claims no more than was looked at."""
    if report.origin == "check":
        told = report.forecast.answer if report.forecast is not None else ""
        if told == "will fail":
            return "This will not train well, though no gradient is ill."
        if report.forecast is not None and report.forecast.probability > DOUBTFUL:
            return "No fault was found, but most runs that begin like this one fail: watch it."
        if any(evidence.signal == "time_reach" for finding in report.findings for evidence in finding.evidence):
            return "No fault was found, but the gradient does not reach the early steps of the sequences: see below."
        if _doubts(report):
            return "No fault is certain, but this may not train well: see below."
        length = report.forecast.assumed if report.forecast is not None else None
        more = "" if told != "will train" else f", and this will train{'' if length is None else f' in {length:,} steps'}"
        return f"Healthy: nothing stands in the way of the gradients{more}."
    if report.origin == "explain":
        return "The cause of this exception is not known."
    if not report.steps:
        return "Nothing can be said: no step was seen."
    if report.cause is not None and report.cause.causes:
        return "No alarm, but something holds it back: see the cause."
    if report.cause is not None and report.cause.answer == "no signal":
        return "No alarm, but nothing that is learned carries over to other examples: see the cause."
    if how_little := little(report):
        return f"No alarm, but {how_little} was learned."
    if any(reading.value > 0.0 for reading in report.readings.of("gradient_rms")):
        return "Healthy: the gradients reached every layer."
    if any(reading.value > 0.0 for reading in report.readings.of("gradient_norm")):
        return "No alarm: gradients reached the parameters; the layers were not measured."
    return "No alarm, but no gradient was seen."


def _doubts(report: Report) -> tuple[str, ...]:
    """What is remarked before training and leaves open whether it will go well."""
    return tuple(one.summary for one in report.findings if report.origin == "check" and one.disease in DOUBTS)


def little(report: Report) -> str:
    """How little was learned, in words, where it is: less than a tenth of the way from a constant answer to perfect ones beyond
    doubt, or less than a fifth when all is over; "" where it is more, may become more, or is not known.
    """
    learned = report.learned
    if learned is None or (learned.falling and not learned.over):
        return ""
    if learned.skill + 2.0 * learned.error < NEXT_TO_NOTHING:
        return "next to nothing"
    return "little" if learned.over and learned.skill + 2.0 * learned.error < LITTLE else ""


def _state(alarms: Sequence[Finding], before: bool) -> tuple[Tone, str]:
    if any(finding.severity == "critical" for finding in alarms):
        return "bad", "This will not train." if before else "This is not training."
    if all(finding.disease == "first_aid" for finding in alarms):
        return "unsure", "This trains by first aid alone."
    return "unsure", "This will train badly." if before else "This is training badly."


def _alarms(report: Report | None) -> list[Finding]:
    return [finding for finding in report.findings if finding.alarm] if report else []


def _told(alarms: Sequence[Finding]) -> tuple[str, ...]:
    worst = alarms[0]
    lines = [f"{worst.summary.rstrip('.')}. ({percent(worst.confidence)} sure)"]
    if worst.remedy:
        lines.append(f"Try: {worst.remedy.rstrip('.')}.")
    if len(alarms) > 1:
        lines.append(f"{count(len(alarms) - 1, 'more alarm')} below.")
    return tuple(lines)


def of_run(run: Run, epochs: Sequence[Epoch], report: Report | None, evaluation: Evaluation | None) -> Verdict:
    """Did it learn? The figure on rows it never saw, against the best answer that needs no model."""
    gradients = _gradients(report)
    alarms = _alarms(report)
    if evaluation is not None and evaluation.metrics:
        learned = _learned(evaluation)
        tone: Tone = "unsure" if learned.tone == "good" and alarms else learned.tone
        told = _told(alarms) if alarms else ()
        if alarms and learned.tone == "good":
            gradients = f"But {gradients[:1].lower()}{gradients[1:]}"
        return Verdict(tone, learned.headline, (*learned.details, gradients, *told))
    if alarms:
        return Verdict(*_state(alarms, before=False), (*_told(alarms), _progress(run, epochs)))
    states = {"running": "This run is not finished yet.", "stopped": "This run was stopped before its end."}
    return Verdict(
        "unsure", states.get(run.status, "This run was trained but not evaluated."), (_progress(run, epochs), gradients)
    )


def _gradients(report: Report | None) -> str:
    if report is None:
        return "Gradients were not watched."
    alarms = _alarms(report)
    if alarms:
        return f"Gradients were not healthy: {count(len(alarms), 'alarm')}."
    told = _no_alarm(report)
    return "Gradients were healthy." if told.startswith("Healthy") else told


def _progress(run: Run, epochs: Sequence[Epoch]) -> str:
    done = f"{count(len(epochs), 'epoch')} in {duration(run.seconds)}"
    if not epochs or run.best_metric is None:
        return f"{done}."
    key, value = run.best_metric
    at = f", at epoch {run.best_epoch:,}" if run.best_epoch else ""
    return f"{done}; best {metric_name(key)} on validation {number(value)}{at}."


def _learned(evaluation: Evaluation) -> Verdict:
    ranked = {key: i for i, key in enumerate(_HEADLINES)}
    metric = min(evaluation.metrics, key=lambda m: ranked.get(m.name, len(ranked)))
    figure = f"{metric_name(metric.name)} {interval(metric.value, metric.low, metric.high)} on {_rows(evaluation)}"
    more = [m for m in evaluation.metrics if m.name in ("rmse", "mae") and m is not metric][:1]  # R² has no unit; this has
    unit = tuple(f"{metric_name(m.name)} {interval(m.value, m.low, m.high)}, in units of the target." for m in more)
    floor = _floor(evaluation, metric)
    if floor is None:
        return Verdict("unsure", f"This model was measured: {figure}.", unit)
    height, how = floor
    if metric.low > height:
        return Verdict("good", f"This model learned: {figure}.", (f"{how} would reach {number(height)}.", *unit))
    if metric.value <= height:
        return Verdict("bad", f"This model did not learn: {figure}.", (f"{how} would reach {number(height)}.", *unit))
    return Verdict(
        "unsure", f"It cannot be said whether this model learned: {figure}.", (f"{how} would reach {number(height)}.", *unit)
    )


def _rows(evaluation: Evaluation) -> str:
    noun = "image" if evaluation.task.startswith("image") else "row"
    if evaluation.part == "test":
        return f"{count(evaluation.rows, f'test {noun}')} it never saw"
    kept = " kept apart from training" if evaluation.part == "validation" else ""
    return f"{count(evaluation.rows, f'{plain(evaluation.part)} {noun}')}{kept}"


def _floor(evaluation: Evaluation, metric: Metric) -> tuple[float, str] | None:
    """What the best constant answer reaches, and how to say it; None where that is not known."""
    if metric.name == "r2":
        return 0.0, "Always answering the mean"
    total = sum(map(sum, evaluation.confusion))
    if metric.name != "accuracy" or not total:
        return None
    most, largest = max((sum(row), -i) for i, row in enumerate(evaluation.confusion))
    label = evaluation.classes[-largest] if -largest < len(evaluation.classes) else str(-largest)
    return most / total, f"Always answering “{plain(label, 40)}”"
