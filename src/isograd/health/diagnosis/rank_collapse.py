r"""Rank collapse: the signal is lost on the way forward; all examples look alike where the last layer has to tell them apart.

Bound, from theory. Let ``d`` be the part of the last hidden layer's output in which examples differ, beside the whole output
(``signals.rank.difference``). The second moments of what the last layer reads have one eigenvalue along the mean, of size 1,
and all that is of use in eigenvalues that sum to d^2. Gradient descent that is stable along the first needs about 1 / d^2
steps for the others (LeCun, Kanter & Solla 1991):
  d * sqrt(steps) < 1     the run is too short by itself, whatever the learning rate
  LOST      d < 1e-3: a million steps, and the last layer's weights must grow a thousandfold to tell two examples apart
An adaptive optimizer, or the layers before, can bring the difference back (it then grows by orders of magnitude within some
hundred steps), so the bound alone proves nothing before the start: it is an alarm only where the loss has stayed at what a
constant answer gets and the difference has not doubled (GROWN), after QUARTER of the run, LONG steps, or at the end of it;
or where it did come back, but only after WASTED of a run whose loss was still falling, poor (POOR), when it ended.

Where a layer puts out positions of a sequence or nodes of a graph, the same is asked of the positions (over-smoothing), which
may come to be equal to the last digit, in layers before a pool as well (where the answers are poor); examples that are equal to
it are the work of dead units (``dead_units``).

Look-alikes that are healthy: neural collapse at the end of training (few directions, but classes far apart), a network that
answers two classes with one direction, small differences before a batch normalisation (which divides by them), an adaptive
optimizer at the start.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from isograd.health.case import DEFAULT_STEPS, Case, late
from isograd.health.diagnosis import inputs
from isograd.health.outcome import Outcome, outcome
from isograd.records.anatomy import WEIGHTED, Anatomy, Node, capital, spoken
from isograd.records.finding import Evidence, Finding
from isograd.records.reading import Reading

LOST = 1e-3
GROWN = 2.0
QUARTER = 0.25
LONG = 200
CONSTANT = 0.1
"""Skill that a network must not have, beyond its error, where it is not certain that it has none."""
SHORT = 50
"""A run of fewer steps ends before anybody could know."""
WASTED = 1 / 3
LEFT = 0.05
"""Part of the constant answer's loss by which the loss must be below it to have left it."""
POOR = 0.5
SAME, WORN, EQUAL = 1e-6, 1e-2, 3
"""Difference of positions that is rounding in float32; one that shows that it is worn away, as it is not where one vector is
laid out over all positions; layers that read nothing else, from which it is told although whole examples are answered."""
SPREADING = ("batch", "instance")
"""Normalisations that divide by the difference of examples, and so bring it back."""
REFERENCES = (
    "LeCun, Kanter & Solla 1991, Eigenvalues of covariance matrices: application to neural-network learning",
    "Schoenholz et al. 2017, arXiv:1611.01232 (the correlation of two inputs converges with depth)",
    "Dong et al. 2021, arXiv:2103.03404; Oono & Suzuki 2020, arXiv:1905.10947 (attention and graph networks)",
)
_SIGNALS = (("difference_of_examples", "examples"), ("difference_of_positions", "positions"))


def diagnose(case: Case) -> Iterator[Finding]:
    """The finding that the last layer cannot tell examples apart, or the remark that it hardly can at the start."""
    steps = case.planned or max(DEFAULT_STEPS, case.taken)
    judged: Outcome | None = None
    if any(finding.alarm and finding.evidence[0].signal == "input_range" for finding in inputs.diagnose(case)):
        return  # what came in was alike already
    for signal, things in _SIGNALS:
        for head in _heads(case.anatomy):
            read = _read_by(case, head, signal)
            series = max(read, key=lambda one: one[-1].value, default=())
            first = series[0].value if series else 1.0
            if not series or first * math.sqrt(steps) >= 1.0:
                continue
            judged = outcome(case) if judged is None else judged
            finding = _judged(case, head, signal, things, series, judged, steps)
            if finding is not None:
                yield finding
                return
    yield from _smoothed(case)


def _smoothed(case: Case) -> Iterator[Finding]:
    """Positions that wear away on the way, and are equal to the last digit from some layer on: what reads them reads one."""
    apart = [
        (node, series[0].value, max(reading.value for reading in series))
        for node in case.anatomy.nodes
        if node.operation in WEIGHTED and (series := case.series("difference_of_positions", node.path))
    ]
    equal = [node for node, _, most in apart if most < SAME]
    worn = [node for node, first, _ in apart if SAME / 10 < first < WORN]
    if len(equal) < EQUAL or not worn or apart[0][1] < WORN or not case.ended or not outcome(case).short_of(POOR):
        return
    text = f"from {spoken(equal[0].path)} on all positions are equal to the last digit, in {len(equal)} layers"
    yield Finding(
        "rank_collapse",
        "warning",
        0.85,
        equal[0].path,
        f"{capital(text)}: there is nothing left for them to tell apart (over-smoothing).",
        (
            Evidence(f"{text}; {apart[0][1]:.2g} of its output at {spoken(apart[0][0].path)}", "difference_of_positions", 0.0),
            *_profile(case, "difference_of_positions", "positions"),
        ),
        tuple(node.path for node in equal),
        equal[0].source,
        1,
        cause="every layer that mixes positions keeps less of what differs between them than of what is common to all",
        remedy=_remedy(case.anatomy, "positions"),
        references=REFERENCES,
    )


def _judged(
    case: Case, head: Node, signal: str, things: str, series: tuple[Reading, ...], judged: Outcome, steps: int
) -> Finding | None:
    now, bound = min(late(series)), 1.0 / math.sqrt(steps)
    over = case.ended or (case.planned is not None and case.taken >= case.planned)
    still = now < bound and (now < GROWN * series[0].value or (now == 0.0 and things == "positions"))
    told = case.taken >= SHORT if over else (judged.share or 0.0) >= QUARTER or case.taken >= LONG
    if still and told and _nowhere(judged):
        return _finding(case, head, signal, things, series, steps, None)
    back = _takes_off(case, judged)
    wasted = back >= WASTED * case.taken and case.taken >= SHORT and series[-1].value >= bound
    if over and wasted and judged.poor(POOR) and judged.falling:
        return _finding(case, head, signal, things, series, steps, back)
    if things == "examples" and series[-1].value < LOST and judged.learning is not True:
        return _finding(case, head, signal, things, series, steps, 0)
    return None


def _takes_off(case: Case, judged: Outcome) -> int:
    """The step at which the loss left what the best constant answer gets; 0 where it never did, or where that is not known."""
    rows = case.series("loss")
    size = max(5, len(rows) // 20)
    for place in range(0, len(rows) - size + 1, size):
        part = [row.value for row in rows[place : place + size]]
        if judged.floor is not None and statistics.median(part) < (1.0 - LEFT) * judged.floor:
            return rows[place].step
    return 0


def _nowhere(judged: Outcome) -> bool:
    if judged.skill is None or judged.learning is True:
        return False
    return judged.learning is False or judged.poor(CONSTANT)


def _heads(anatomy: Anatomy) -> Iterator[Node]:
    """The last layers: weighted, with no other weighted layer between them and an output."""
    read = {position for node in anatomy.nodes for position in node.inputs}
    reached = [position for position in range(len(anatomy.nodes)) if position not in read]
    seen: set[int] = set()
    while reached:
        position = reached.pop()
        if position in seen:
            continue
        seen.add(position)
        node = anatomy.nodes[position]
        if node.operation in WEIGHTED:
            yield node
        else:
            reached.extend(node.inputs)


def _read_by(case: Case, head: Node, signal: str) -> list[tuple[Reading, ...]]:
    """The series of the layers whose output ``head`` reads; none where one of them cannot be known."""
    found: list[tuple[Reading, ...]] = []
    waiting, seen = list(head.inputs), set[int]()
    while waiting:
        position = waiting.pop()
        if position in seen:
            continue
        seen.add(position)
        node = case.anatomy.nodes[position]
        series = tuple(case.series(signal, node.path))
        if series:
            found.append(series)
        elif node.operation == "input" or not node.inputs or (node.operation == "norm" and node.get("kind", "") in SPREADING):
            return []
        else:
            waiting.extend(node.inputs)
    return found


def _finding(
    case: Case, head: Node, signal: str, things: str, series: tuple[Reading, ...], steps: int, back: int | None
) -> Finding:
    """``back``: the step at which the signal came back; None: it has not; 0: it is too early to say."""
    start, now = series[0].value, series[-1].value
    bound = 1.0 / math.sqrt(steps)
    lost = [n for n in case.anatomy.nodes if any(r.value < bound for r in case.series(signal, n.path)[:1])]
    place = lost[0] if lost else head
    here = spoken(head.path)
    need = f"about {1 / max(start, 1e-9) ** 2:.0e} steps"
    if back is None:
        text = f"{capital(things)} look alike to {here}: {_apart(now)}, and training does not change that."
    elif back:
        text = f"{capital(things)} looked alike to {here} until about step {back:,}: that part of the run taught it nothing."
    else:
        text = f"At the start {things} look alike to {here}: {_apart(start)}."
    return Finding(
        "rank_collapse",
        "note" if back == 0 else "critical" if back is None and now < LOST else "warning",
        0.95 if back is None else 0.8,
        place.path,
        text,
        (
            Evidence(
                f"difference of {things} in what {here} reads, over its size: {start:.0e} at the start, {now:.0e} now; "
                f"plain gradient descent needs {need}, and there are {steps:,}",
                signal,
                now,
                "of the output",
                bound,
            ),
            *_profile(case, signal, things),
        ),
        tuple(node.path for node in lost),
        place.source,
        series[0].step,
        cause="every layer keeps less of what differs than of what is common to all, so that depth wears the difference away",
        remedy=_remedy(case.anatomy, things),
        references=REFERENCES,
    )


def _apart(share: float) -> str:
    return f"what tells them apart is {share:.0e} of what it reads" if share > 0.0 else "what it reads is the same for all"


def _profile(case: Case, signal: str, things: str) -> Iterator[Evidence]:
    """How much a layer keeps of the difference, on the way from the first to the last."""
    logs = [(n.path, s[0].value) for n in case.anatomy.nodes if (s := case.series(signal, n.path)) and s[0].value > 0.0]
    if len(logs) >= 2:
        kept = (logs[-1][1] / logs[0][1]) ** (1 / (len(logs) - 1))
        text = f"from {logs[0][1]:.0e} after {spoken(logs[0][0])} to {logs[-1][1]:.0e} after {spoken(logs[-1][0])}"
        yield Evidence(f"difference of {things}: {text}, {100 * kept:.0f} % kept from one to the next", signal, kept, "a layer")


def _remedy(anatomy: Anatomy, things: str) -> str:
    if things == "positions":
        return "residual paths around every attention or message-passing layer; fewer layers; normalisation"
    functions = {node.activation for node in anatomy.nodes if node.operation == "activation"}
    if functions & {"sigmoid", "hardsigmoid"}:
        return "tanh or ReLU instead of the sigmoid (its outputs all lie around 0.5); batch normalisation; fewer layers"
    return "He initialisation (torch's default keeps 1/6 of the variance) with zero biases; normalisation; residual paths"
