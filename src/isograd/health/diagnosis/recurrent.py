r"""Vanishing and exploding through time: what the end of a sequence says of its beginning is lost, or drowns all the rest.

Every step back multiplies the gradient by the recurrent Jacobian; over T steps its gain is gain^T. ``time_reach`` says how far
back a thousandth of the gradient is left: what lies further back is not learned, whatever the loss.

Bounds:
  PART      the reach is less than a quarter of the sequence; where every step has a target of its own the gradient is
            everywhere, so that a short reach says by itself that the loss sits at the end
            A remark where it is more, and not the whole sequence, and nothing was learned
  STEPS     of sequences of 8 steps and more
  BROKEN    30 times are enough where the loss has become NaN or infinite: a step that the last time steps bear is that many
            times too large for the first ones, and the loss is gone (``exploding.CHAOTIC`` says the same of layers)
  FORETOLD  the gradient at the first step is 1e4 times that of the last: no rate fits both (as for layers in ``exploding``)
None of it is harm by itself: what matters may lie near the end (then a network learns, and it is a remark at most), and
clipping tames what explodes. So it is an alarm only where the loss has stayed at what a constant answer gets, at the end of
the run, after QUARTER of it or LONG steps, and where the reach has not grown meanwhile. That the first time step alone is read
is an alarm at the end of the run below UNREAD too. A gradient that is exactly 0 one step back has not faded: it was cut there.

Look-alikes that are healthy: a task that the last steps decide; a converged network (all gradients small, reach as ever);
a bidirectional layer (both ends are near to a loss); padding at the end, which only shifts the reach.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from isograd.health.case import Case, late, middle
from isograd.health.looks import lasting
from isograd.health.outcome import Outcome, outcome
from isograd.records.anatomy import Node, capital, spoken
from isograd.records.finding import Evidence, Finding, Severity

PART = 0.25
STEPS = 8
FORETOLD = 1e4
QUARTER = 0.25
LONG = 200
CONSTANT = 0.1
"""Skill that a network must not have, beyond its error, where it is not certain that it has none."""
SHORT = 50
"""A run of fewer steps ends before anybody could know."""
GROWN = 1.5
UNREAD = 0.5
"""Skill below which answers that read one time step alone are poor: that they do is a fact and no symptom, and no purpose of a
layer that reads all steps in turn is known, so that half of what there is to learn is little to ask."""
BROKEN = 30.0
READ = (
    "read each sequence at its own end: pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), or "
    "output[torch.arange(len(x)), lengths - 1]; or put the padding in front"
)
REFERENCES = (
    "Hochreiter 1991; Bengio et al. 1994, Learning long-term dependencies with gradient descent is difficult",
    "Pascanu et al. 2013, On the difficulty of training recurrent neural networks, arXiv:1211.5063",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for each recurrent layer whose gradient does not reach back, or grows without bound on its way."""
    judged: Outcome | None = None
    for node in case.anatomy.nodes:
        steps, reach = middle(case.series("time_steps", node.path)), middle(case.series("time_reach", node.path))
        share = middle(case.series("first_step_share", node.path))
        if node.operation != "recurrent" or steps is None or reach is None or share is None or steps < STEPS:
            continue
        if _first_alone(case, node):
            judged = outcome(case) if judged is None else judged
            yield _unread(case, node, int(steps), _harmful(case, node, judged), judged)
            continue
        if _short(steps, reach, share):
            kind = "vanishing"
        elif share > (BROKEN if _broke(case) else FORETOLD):
            kind = "exploding"
        elif reach < steps - 1 and share < 1.0 and _harmful(case, node, outcome(case)):
            yield _vanishing(case, node, harmful=False)  # what was to be learned may lie further back, and may not
            continue
        else:
            continue
        judged = outcome(case) if judged is None else judged
        if kind == "vanishing" and _last_alone(case, node, int(steps)):
            yield _cut(case, node, int(steps), _harmful(case, node, judged))
            continue
        harmful = (kind == "exploding" and _broke(case)) or _harmful(case, node, judged)
        yield (_vanishing if kind == "vanishing" else _exploding)(case, node, harmful)


def short_memory(case: Case) -> bool:
    """Whether a recurrent layer cannot learn now what stands early in its sequences: some tasks need that, and some do not."""
    return fading_steps(case) is not None


def fading_steps(case: Case) -> float | None:
    """Steps of the longest sequence whose early steps a recurrent layer cannot learn now; None where there is none."""
    found = list[float]()
    for node in case.anatomy.nodes:
        series = [case.series(name, node.path) for name in ("time_steps", "time_reach", "first_step_share")]
        steps, reach, share = map(middle, series)
        if steps is not None and reach is not None and share is not None and steps >= STEPS and _short(steps, reach, share):
            found.append(steps)
    return max(found, default=None)


def _short(steps: float, reach: float, share: float) -> bool:
    return reach < PART * (steps - 1) and share < 1.0


def _broke(case: Case) -> bool:
    """Whether a loss was not finite, as a rate that is too high for the first time steps makes it."""
    return any(not math.isfinite(r.value) for r in case.series("loss"))


def _first_alone(case: Case, node: Node) -> bool:
    """Whether at every look the gradient arrived at the first time step and nowhere else."""
    reaches, shares = case.series("time_reach", node.path), case.series("first_step_share", node.path)
    later = [r.value for r in case.series("time_gradient", node.path) if (r.time_step or 0) > 1]
    return all(r.value == 0.0 for r in reaches) and all(r.value == 1.0 for r in shares) and not any(later)


def _last_alone(case: Case, node: Node, steps: int) -> bool:
    """Whether at every look the gradient arrived at the last time step and nowhere before: no gain is 0, so it was cut."""
    earlier = [r.value for r in case.series("time_gradient", node.path) if 0 < (r.time_step or 0) < steps]
    last = [r.value for r in case.series("time_gradient", node.path) if r.time_step == steps]
    reaches = case.series("time_reach", node.path)
    return bool(earlier) and not any(earlier) and any(last) and all(r.value == 0.0 for r in reaches)


def _unread(case: Case, node: Node, steps: int, harmful: bool, judged: Outcome) -> Finding:
    here = spoken(node.path)
    stays = case.ended and case.taken >= SHORT and judged.short_of(UNREAD)
    left = "the network does no better than a constant answer" if harmful else "most of what there is to learn is left"
    return _finding(
        node,
        "warning" if harmful or stays else "note",
        f"The loss reads {here} at its first time step alone: what it reads in the other {steps - 1} of {steps} steps cannot "
        "reach the answer" + (f", and {left}." if harmful or stays else "."),
        1,
        (Evidence("the gradient is exactly 0 at every later time step", "time_gradient", 0.0, "", 0.0),),
        "the output is taken at index 0 of the time axis, or axes are swapped",
        "output[:, -1] with batch_first=True (output[-1] without), or the final hidden state",
        min((r.step for r in case.series("time_reach", node.path)), default=None),
        0.9,
    )


def _harmful(case: Case, node: Node, judged: Outcome) -> bool:
    over = case.ended or (case.planned is not None and case.taken >= case.planned)
    told = case.taken >= SHORT if over else (judged.share or 0.0) >= QUARTER or case.taken >= LONG
    series = case.series("time_reach", node.path)
    grown = series[-1].value >= GROWN * max(1.0, series[0].value)
    return told and not grown and _nowhere(judged)


def _nowhere(judged: Outcome) -> bool:
    if judged.skill is None or judged.learning is True:
        return False
    return judged.learning is False or judged.poor(CONSTANT)


def _vanishing(case: Case, node: Node, harmful: bool) -> Finding:
    steps, reach, share, keeps = _numbers(case, node)
    here, ends = spoken(node.path), _padded(case, node)
    small = f"{share:.0e} of" if share > 0.0 else "exactly 0, beside"
    return _finding(
        node,
        "warning" if harmful else "note",
        f"The gradient that reaches time step 1 of {here} is {small} the one at the last of {steps} steps: nothing earlier "
        f"than about {reach + 1} steps before the end is learned"
        + (", and the network does no better than a constant answer." if harmful else ".")
        + ("" if ends is None else f" {capital(ends)}."),
        max(1, steps - reach),
        (
            Evidence(
                f"a thousandth of the gradient is left {reach} steps back, of {steps}",
                "time_reach",
                reach,
                "steps",
                PART * steps,
            ),
            *_gain(keeps),
        ),
        ends or ("the loss sits at the end, and every step back loses a part of its gradient" if share < 1e-3 else None),
        READ if ends else _remedy(node),
        min((r.step for r in case.series("time_reach", node.path)), default=None),
        0.85,
    )


def _padded(case: Case, node: Node) -> str | None:
    """What to say of sequences that end with padding, which is read after all that they say."""
    seen = lasting(case, "padded_ends").get(node.path)
    if seen is None or not seen.always:
        return None
    steps, of = (int(float(seen.fact.get(name, 0))) for name in ("steps", "of"))
    return f"the last {steps} of {of} steps are padding in half of the sequences, and the loss sits behind them"


def _cut(case: Case, node: Node, steps: int, harmful: bool) -> Finding:
    here = spoken(node.path)
    return _finding(
        node,
        "warning" if harmful else "note",
        f"The gradient reaches {here} at the last of {steps} time steps alone; at every one before it is exactly 0, so that "
        "the state is cut from its past: nothing earlier is learned"
        + (", and the network does no better than a constant answer." if harmful else "."),
        steps,
        (Evidence("the gradient is exactly 0 at every earlier time step", "time_reach", 0.0, "steps", PART * steps),),
        "the state is detached from one time step to the next: .detach(), .data, torch.no_grad(), or a tensor made anew of it",
        "hand the state on as it is, h = cell(x[:, t], h); detach it between batches alone",
        min((r.step for r in case.series("time_reach", node.path)), default=None),
        0.9,
    )


def _exploding(case: Case, node: Node, harmful: bool) -> Finding:
    steps, _, share, keeps = _numbers(case, node)
    return _finding(
        node,
        "warning" if harmful else "note",
        f"The gradient grows on its way back through time: at step 1 of {spoken(node.path)} it is {share:.0e} times that of "
        f"the last of {steps} steps, so that the first steps drown the rest"
        + (
            ", and the loss broke."
            if _broke(case)
            else ", and the network does no better than a constant answer."
            if harmful
            else "."
        ),
        1,
        (
            Evidence(
                "gradient at the first step over the last",
                "first_step_share",
                share,
                bound=BROKEN if _broke(case) else FORETOLD,
            ),
            *_gain(keeps),
        ),
        "the recurrent weights amplify: their gain is above 1",
        "clip the gradient's norm (torch.nn.utils.clip_grad_norm_, 1.0); orthogonal or smaller recurrent weights; LSTM or GRU",
        min((r.step for r in case.series("first_step_share", node.path)), default=None),
        0.85,
    )


def _numbers(case: Case, node: Node) -> tuple[int, int, float, float]:
    """Steps, reach, gradient at the first step beside the last, and what one step back keeps."""
    found = [late(case.series(signal, node.path)) for signal in ("time_steps", "time_reach", "first_step_share", "time_slope")]
    steps, reach, share, slope = (sorted(values)[len(values) // 2] if values else math.nan for values in found)
    return round(steps), round(reach), share, math.exp(-slope) if abs(slope) < 700.0 else math.nan


def _gain(keeps: float) -> Iterator[Evidence]:
    if math.isfinite(keeps):
        text = f"recurrent gain {keeps:.2g}: every step back keeps {100 * keeps:.2g} % of the gradient"
        yield Evidence(text, "time_slope", -math.log(keeps), "nats a step")


def _remedy(node: Node) -> str:
    shorter = "attention or a mean over all steps, not the last alone; shorter sequences"
    known = {"lstm": "forget-gate biases that start at 1 or higher", "gru": "an LSTM with forget bias 1"}
    cell = known.get(str(node.get("kind", "")), "an LSTM with forget bias 1, or a GRU; orthogonal recurrent weights")
    return f"{cell}; {shorter}"


def _finding(
    node: Node,
    severity: Severity,
    summary: str,
    time_step: int,
    evidence: tuple[Evidence, ...],
    cause: str | None,
    remedy: str,
    since: int | None,
    confidence: float,
) -> Finding:
    return Finding(
        "recurrent",
        severity,
        confidence,
        node.path,
        summary,
        evidence,
        (node.path,),
        node.source,
        since,
        time_step=time_step,
        cause=cause,
        remedy=remedy,
        references=REFERENCES,
    )
