"""The numbers that tell how a training will go: of theory, one batch, the first step, the thin probe, the first looks.

Each is a sign with a name and a value; what cannot be told is left out. All are free of units, of the scale of the loss and of
the length of a batch, so that networks of any kind can be compared:

  theory   the architecture and the optimizer's constants: depth, gap_foretold, signal_foretold, width_noise, run, decay
  step     one batch and the first step: gap, signal (and its extremes), alike, dead, saturated, reach_back, moved (and its
           extremes), path, overshoot, promised, start, first_gain, skill, rank, separable, log_batch, dropout
  probe    the thin probe, all names beginning with thin_
  looks    the run so far: what of the step is seen in it, skill, best_skill, loss_now, fallen, trend, noise, pace, hits_now
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from isograd.health import signals
from isograd.health.case import DEFAULT_STEPS, Case, at
from isograd.records.anatomy import WEIGHTED, Anatomy
from isograd.records.batch import LossSample
from isograd.records.expectation import Expectations
from isograd.records.probe import Glance, Probe
from isograd.records.reading import Reading
from isograd.records.trace import Trace

Signs = Mapping[str, float]
ALIKE = 0.01
"""By how much, relative to it, the stepped loss may differ from the heard one to be taken for the same."""
SMALLEST, LARGEST = 1e-12, 1e12
"""Between these a magnitude is told apart; logarithms are of base 10."""


def of_theory(anatomy: Anatomy, expectations: Expectations, reach: float = DEFAULT_STEPS) -> Signs:
    """What the architecture and the optimizer's constants say; the run adds up to ``reach`` steps at their rate.

    >>> dict(of_theory(Anatomy("torch", (), ()), Expectations()))
    {'depth': 0.0}
    """
    weighted = [node for node in anatomy.nodes if node.operation in WEIGHTED]
    expected = {one.where: one for one in expectations.nodes}
    known = [expected[node.path] for node in weighted if node.path in expected]
    logs = [one.log_gradient for one in known if one.log_gradient is not None]
    found = {"depth": math.log2(1 + len(weighted))}
    if len(logs) > 1:
        found["gap_foretold"] = _bounded((logs[0] - logs[-1]) / math.log(10.0))
        found["width_noise"] = known[0].spread or 0.0
    if known and known[-1].activation_rms is not None:
        found["signal_foretold"] = _log(known[-1].activation_rms)
    optimizer = anatomy.optimizer
    if optimizer is not None:
        rate, momentum = float(optimizer.get("learning_rate", 0.0)), float(optimizer.get("momentum", 0.0))
        adaptive = optimizer.kind not in ("sgd", "asgd")
        rate = rate / max(1.0 - momentum, 1e-3) if not adaptive else rate
        if rate > 0.0:  # a schedule that warms up from nothing says nothing yet
            found["run"] = _log(rate * reach)
        decay = float(optimizer.get("weight_decay", 0.0))
        found["decay"] = rate * decay * reach if optimizer.kind == "adamw" else 0.0
    return found


def of_step(case: Case, probe: Probe | None = None, reach: float | None = None) -> Signs:
    """What one real batch and the first real step say; ``case`` holds the two looks of a check at the same batch.

    The run adds up to ``reach`` of the first step; to its planned steps where that is not told.
    """
    rows, anatomy, first = case.rows, case.anatomy, min((step.index for step in case.sampled), default=1)
    whole = (case.planned or DEFAULT_STEPS) if reach is None else reach
    found = dict(_inside(case, first))
    ratios = [r.value for p in anatomy.matrices for r in at(rows, "update_ratio", p.name) if r.step == first and r.value > 0.0]
    if ratios:
        found["moved_least"], found["moved"] = _log(min(ratios)), _log(statistics.median(ratios))
        found["moved_most"] = _log(max(ratios))
        found["path"] = _log(statistics.median(ratios) * whole)
    floor = floor_of(case)
    losses = [step.loss for step in case.steps if step.loss is not None]
    facts = case.facts("first_step")
    if facts:
        promised, met = (float(facts[0][1].get(name, math.nan)) for name in ("promised", "met"))
        over = signals.overshoot(promised, met)
        found["overshoot"] = math.asinh(10.0 * max(-10.0, min(1e4, over))) if not math.isnan(over) else 0.0
        if floor is not None:
            found["promised"] = _log(abs(promised) * whole / floor)
    if floor is not None and losses:
        found["start"] = _bounded(math.log10(max(losses[0], SMALLEST) / floor)) if math.isfinite(losses[0]) else 12.0
        if len(losses) > 1:
            gain = (losses[0] - losses[1]) / floor
            found["first_gain"] = math.asinh(100.0 * gain) if math.isfinite(gain) else -12.0
    found["log_batch"] = math.log2(max((s.examples for step in case.steps for s in step.layers), default=1))
    found["dropout"] = max((float(n.get("p", 0.0)) for n in anatomy.nodes if n.operation == "dropout"), default=0.0)
    if probe is not None and probe.before is not None:
        found |= _seen(probe.before, None)
    return found


def of_probe(probe: Probe, floor: float | None, planned: int = DEFAULT_STEPS) -> Signs:
    """What the thin probe says; ``floor`` is what the best constant answer pays on the batch, ``planned`` the run's steps."""
    if probe.thin is None or probe.before is None:
        return {}
    before, after = _seen(probe.before, floor), _seen(probe.thin, floor)
    found = {f"thin_{name}": value for name, value in after.items()}
    told = [loss for loss in probe.losses if math.isfinite(loss)]
    broken = len(told) < len(probe.losses) or probe.thin.loss is None or not math.isfinite(probe.thin.loss)
    if broken:
        found |= {"thin_skill": -1.0, "thin_loss": 6.0}
    if "skill" in after and "skill" in before:
        found["thin_gain"] = found["thin_skill"] - before["skill"]
    if floor and told:
        third = max(1, len(told) // 3)
        last, top = statistics.fmean(told[-third:]) / floor, max(told) / max(floor, told[0])
        found["thin_trend"] = 6.0 if broken else _depth(last)
        found["thin_burst"] = 6.0 if broken else _bounded(math.log10(max(top, SMALLEST)), 6.0)
    done = len(told) * probe.stretch / planned
    if "skill" in before and "thin_skill" in found:
        found["thin_pace"] = _log(max(found["thin_skill"] - min(before["skill"], 0.0), 1e-3) / max(done, 1e-6))
    found["thin_done"] = _log(done)
    found["thin_stretch"] = math.log10(max(probe.stretch, 1.0))
    found["thin_told"] = math.log2(max(1, len(told) * probe.size))
    return found


def of_looks(case: Case) -> Signs:
    """What a watch has seen so far says; cut the recording at the step of interest with ``until`` first."""
    floor = floor_of(case)
    losses = [(reading.step, reading.value) for reading in case.series("loss")]
    if floor is None:  # the loss that is stepped holds more than what was heard: the looks alone say what it pays
        heard = [(step.index, [s for s in step.losses if s.training]) for step in case.steps]
        floor = _floor(case.losses)
        losses = [(step, told[0].value) for step, told in heard if told and told[0].value is not None] if floor else losses
    if not losses or not case.taken:
        return {}
    last = max((step.index for step in case.sampled), default=0)
    return {**dict(_inside(case, last)), **_paid(case, losses, floor), **_answered(case), **_moved(case)}


def _paid(case: Case, losses: Sequence[tuple[int, float]], floor: float | None) -> Signs:
    """What the losses so far say: the later half of the steps against the first, and against a constant answer."""
    told = [(step, value) for step, value in losses if math.isfinite(value)]
    if len(told) < len(losses):
        return {"skill": -1.0, "best_skill": -1.0, "loss_now": 6.0, "fallen": 6.0}
    first = told[0][1]
    late = [value for step, value in told if 2 * step > case.taken] or [told[-1][1]]
    early = [value for step, value in told if 2 * step <= case.taken] or [first]
    now = statistics.fmean(late)
    found = {"fallen": _depth(max(0.0, now) / first)} if first > 0.0 else {}
    if floor is None:
        return found
    best = statistics.median(sorted(value for _, value in told)[: max(1, len(told) // 5)])
    fallen = min(first / floor, 1.0) - min(2.0, now / floor)
    return found | {
        "skill": max(-1.0, 1.0 - now / floor),
        "best_skill": max(-1.0, 1.0 - best / floor),
        "loss_now": _depth(now / floor),
        "trend": max(-2.0, min(2.0, (statistics.fmean(early) - now) / floor)),
        "pace": _log(max(fallen, 1e-3) * (case.planned or DEFAULT_STEPS) / case.taken),
        "noise": min(4.0, statistics.pstdev(late) / floor) if len(late) > 1 else 0.0,
    }


def _answered(case: Case) -> Signs:
    """How many of the later answers were right, beyond always naming the most frequent class."""
    heard = [(step, s) for step, s in case.losses if s.training and s.hits >= 0 and any(s.classes)]
    late = [s for step, s in heard if 2 * step > case.taken] or [s for _, s in heard[-1:]]
    if not late:
        return {}
    right = sum(s.hits for s in late) / sum(sum(s.classes) for s in late)
    width = max(len(s.classes) for _, s in heard)
    counts = [sum(s.classes[k] for _, s in heard if k < len(s.classes)) for k in range(width)]
    common = max(counts) / sum(counts)
    return {"hits_now": (right - common) / (1.0 - common) if common < 1.0 else 0.0}


def _moved(case: Case) -> Signs:
    """How far steps move a typical layer of late, and what that adds up to over the run."""
    every = [r for p in case.anatomy.matrices for r in at(case.rows, "update_ratio", p.name) if r.value > 0.0]
    if not every:
        return {}
    ratio = statistics.median([r.value for r in every if 2 * r.step > case.taken] or [r.value for r in every])
    return {"path": _log(ratio * (case.planned or DEFAULT_STEPS)), "moved": _log(ratio)}


def until(trace: Trace, step: int) -> Trace:
    """The recording as it was after ``step`` steps."""
    kept = tuple(one for one in trace.steps if one.index <= step)
    return replace(trace, steps=kept, meter=replace(trace.meter, steps=min(step, trace.meter.steps)), ended=False)


def _inside(case: Case, step: int) -> Iterable[tuple[str, float]]:
    """Gradient and signal by layer, as they were at ``step``."""
    rows, anatomy = case.rows, case.anatomy
    weighted = [node.path for node in anatomy.nodes if node.operation in WEIGHTED]
    gradients = [value for path in weighted for value in _at(rows, "gradient_rms", path, step)]
    if len(gradients) > 1:
        yield "gap", _bounded(_log(gradients[0]) - _log(gradients[-1]))
    outputs = [value for path in weighted for value in _at(rows, "activation_rms", path, step)]
    if outputs:
        yield "signal", _log(outputs[-1])
        yield "signal_least", min(_log(value) for value in outputs)
        yield "signal_most", max(_log(value) for value in outputs)
    differences = [r.value for place in rows.get("difference_of_examples", {}).values() for r in place if r.step == step]
    if differences:
        yield "alike", _log(min(differences))
    for name, signal in (("dead", "dead_fraction"), ("saturated", "saturated_fraction")):
        shares = [r.value for place in rows.get(signal, {}).values() for r in place if r.step == step]
        if shares:
            yield name, max(shares)
    reaches = [r.value for place in rows.get("first_step_share", {}).values() for r in place if r.step <= step]
    if reaches:
        yield "reach_back", _log(min(reaches))


def _seen(glance: Glance, floor: float | None) -> dict[str, float]:
    found: dict[str, float] = {}
    if glance.right is not None and glance.common is not None and glance.common < 1.0:
        found["skill"] = (glance.right - glance.common) / (1.0 - glance.common)
    elif glance.explained is not None:
        found["skill"] = max(-1.0, glance.explained)
    if floor and glance.loss is not None:
        found["loss"] = _depth(glance.loss / floor)
        found.setdefault("skill", max(-1.0, 1.0 - glance.loss / floor) if math.isfinite(glance.loss) else -1.0)
    if glance.hidden is not None:
        rank = signals.effective_rank(glance.hidden)
        found["rank"] = 0.0 if math.isnan(rank) else (rank - 1.0) / max(1.0, glance.hidden.examples - 2.0)
        if glance.targets is not None:
            aligned = signals.alignment(glance.hidden, glance.targets)
            found["separable"] = 0.0 if math.isnan(aligned) else aligned
    return found


def floor_of(case: Case) -> float | None:
    """What the best constant answer pays; nothing where the loss that is stepped holds more than the one that was heard."""
    for step in case.steps:
        told = [s.value for s in step.losses if s.training and s.value is not None]
        if told and step.loss is not None and not abs(step.loss - told[0]) <= ALIKE * abs(told[0]):
            return None if math.isfinite(step.loss) else _floor(case.losses)
    return _floor(case.losses)


def _floor(losses: Sequence[tuple[int, LossSample]]) -> float | None:
    floors = [s.floor for _, s in losses if s.training and s.floor is not None and s.floor > 0.0 and math.isfinite(s.floor)]
    return statistics.median(floors) if floors else None


def _at(rows: Mapping[str, Mapping[str, Sequence[Reading]]], signal: str, where: str, step: int) -> list[float]:
    return [reading.value for reading in rows.get(signal, {}).get(where, ()) if reading.step == step]


def _log(value: float) -> float:
    return math.log10(min(LARGEST, max(SMALLEST, abs(value)))) if not math.isnan(value) else math.log10(LARGEST)


def _depth(ratio: float) -> float:
    """Logarithm of a loss over that of a constant answer, from a thousandth to a million times, as broken as that."""
    return math.log10(min(1e6, max(1e-3, ratio))) if math.isfinite(ratio) else 6.0


def _bounded(value: float, most: float = 12.0) -> float:
    return max(-most, min(most, value)) if not math.isnan(value) else most
