r"""Attention that has collapsed onto single keys, logits that keep growing, and attention that never looks anywhere.

A softmax row whose largest weight is 1 - e passes back a gradient of at most 2 e (its Jacobian is diag(p) - p p'), and has an
entropy of about e (1 + log(n / e)). So, with the entropy in units of log(n):
  SHARP     0.05 on average: rows pass back about a fiftieth, and have all but decided where to look
  FROZEN    0.004: a thousandth (for 8 to 1,000 keys), so that what they look at cannot change any more
  GROWN     a largest logit of 100 and more that is 10 times what it was: the road to it (exp(-100) is 0 in half precision)
  HUGE      logits of a thousand: no difference of scores is a matter of degree any more, and float16 is near its end; twice
            SHARP is enough then, and a poor (POOR) outcome at the end of the run. Trained attention stays below 100
Looking at one key is what copying and retrieval are made of: it is an alarm only where the loss has stayed at, or gone back
to, what a constant answer gets, at the end of the run, after QUARTER of it or LONG steps. Attention that looks everywhere
alike (EVEN) at every look has not been used; a network can do without, so that this is a remark.

Look-alikes that are healthy: a sharp head among others, a causal mask (its first rows have few keys; rows are measured by
the keys that they have), a pointer network that learns, uniform attention at the start.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case, middle
from isograd.health.outcome import Outcome, outcome
from isograd.records.anatomy import Node, spoken
from isograd.records.finding import Evidence, Finding, Severity

SHARP = 0.05
FROZEN = 0.004
GROWN = 10.0
LARGE = 100.0
HUGE, POOR = 1e3, 0.5
EVEN = 0.999
LOOKS = 3
QUARTER = 0.25
LONG = 200
SHORT = 50
CONSTANT = 0.1
"""Skill that a network must not have, beyond its error, where it is not certain that it has none."""
REFERENCES = (
    "Zhai et al. 2023, Stabilizing transformer training by preventing attention entropy collapse, arXiv:2303.06296",
    "Dehghani et al. 2023, Scaling vision transformers to 22 billion parameters, arXiv:2302.05442",
)


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding for all attentions that have collapsed, one for all that never moved; the worst place first."""
    middles = ((middle(case.series("attention_entropy", node.path)), node) for node in case.anatomy.nodes)
    known = [(value, node) for value, node in middles if value is not None]
    if not known:
        return
    known.sort(key=lambda row: row[0])
    sharp = [node for value, node in known if value < SHARP or (value < 2.0 * SHARP and _logit(case, node) >= HUGE)]
    judged = outcome(case) if sharp else None
    if sharp and judged is not None and judged.short_of(POOR) and all(_logit(case, node) >= HUGE for node in sharp):
        yield _collapsed(case, sharp, known[0][0], "warning")
        return
    if sharp and judged is not None and _nowhere(case, judged):
        yield _collapsed(case, sharp, known[0][0], "critical" if known[0][0] < FROZEN else "warning")
    elif sharp and (known[0][0] < FROZEN or _logit(case, sharp[0]) >= HUGE):
        yield _collapsed(case, sharp, known[0][0], "note")
    else:
        yield from _growing(case, [node for _, node in known])
    even = [node for _, node in known if _even(case, node)]
    if even and case.taken >= LONG:
        yield _unused(even)


def _logit(case: Case, node: Node) -> float:
    """The largest logit at the middle look."""
    return middle(case.series("attention_logit", node.path)) or 0.0


def _nowhere(case: Case, judged: Outcome) -> bool:
    over = case.ended or (case.planned is not None and case.taken >= case.planned)
    told = case.taken >= SHORT if over else (judged.share or 0.0) >= QUARTER or case.taken >= LONG
    if not told or judged.skill is None or judged.learning is True:
        return False
    return judged.learning is False or judged.poor(CONSTANT)


def _even(case: Case, node: Node) -> bool:
    series = case.series("attention_entropy", node.path)
    return len(series) >= LOOKS and min(r.value for r in series) > EVEN


def _collapsed(case: Case, nodes: list[Node], entropy: float, severity: Severity) -> Finding:
    node = nodes[0]
    since = next((r.step for r in case.series("attention_entropy", node.path) if r.value < SHARP), None)
    more = f" {len(nodes) - 1} more are like it." if len(nodes) > 1 else ""
    nowhere = severity != "note" and _nowhere(case, outcome(case))
    harm = " The network does no better than a constant answer." if nowhere else ""
    return Finding(
        "attention",
        severity,
        0.85 if severity != "note" else 0.7,
        node.path,
        f"The attention in {spoken(node.path)} looks at single keys: its entropy is {100 * entropy:.2g} % of what looking "
        f"everywhere has, so that where it looks hardly changes any more.{more}{harm}",
        (
            Evidence("entropy of the attention, in units of the log of its keys", "attention_entropy", entropy, bound=SHARP),
            *_logits(case, node),
        ),
        tuple(one.path for one in nodes),
        node.source,
        since,
        cause="logits this large come from queries and keys that have grown, or were never divided by the root of their width",
        remedy="divide logits by sqrt(width); layer normalisation of queries and keys; a lower learning rate or a warm-up",
        references=REFERENCES,
    )


def _logits(case: Case, node: Node) -> Iterator[Evidence]:
    series = case.series("attention_logit", node.path)
    if series:
        text = f"largest logit {series[0].value:.3g} at step {series[0].step}, {series[-1].value:.3g} at step {series[-1].step}"
        yield Evidence(text, "attention_logit", series[-1].value, "nats", LARGE)


def _growing(case: Case, nodes: list[Node]) -> Iterator[Finding]:
    for node in nodes:
        series = case.series("attention_logit", node.path)
        if series and series[-1].value >= max(LARGE, GROWN * series[0].value):
            yield Finding(
                "attention",
                "note",
                0.7,
                node.path,
                f"The logits of the attention in {spoken(node.path)} keep growing: the largest is {series[-1].value:.3g}, and "
                f"was {series[0].value:.3g} at step {series[0].step}. If it goes on, the attention collapses onto single keys.",
                tuple(_logits(case, node)),
                (node.path,),
                node.source,
                series[-1].step,
                remedy="layer normalisation of queries and keys; a lower learning rate; weight decay on their projections",
                references=REFERENCES,
            )
            return


def _unused(nodes: list[Node]) -> Finding:
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return Finding(
        "attention",
        "note",
        0.7,
        nodes[0].path,
        f"The attention in {spoken(nodes[0].path)}{more} looked at all keys alike, always: it has not learned where to look.",
        (Evidence("entropy in units of the log of its keys, at every look above", "attention_entropy", EVEN, bound=EVEN),),
        tuple(node.path for node in nodes),
        nodes[0].source,
        remedy="nothing, if a mean over all positions is enough; else larger initial query and key weights, or a longer run",
        references=REFERENCES,
    )
