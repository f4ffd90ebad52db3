"""Ranks apart: the processes of one data-parallel training do not train one model, or all read the same data.

Data parallelism holds one set of weights on every rank: all begin from the same, and every step goes along the mean of the
gradients of all. Then the weights are the same to the bit, always. Facts, each certain:
  not averaged  the model was called past its wrapper, or with the wrapper's averaging switched off in all passes of a step,
                and hardly a collective ran in such steps: nobody else averaged its gradients either. Weights may be averaged
                every so many steps, so that it is an alarm when SPAN steps were made, or the run is over, and either no
                collective ran in all that time or the weights went further and further apart (GROWN)
  unknown       parameters came into the model after the wrapper was made, which averages those that it knows
  born apart    the ranks step along the very same gradients (SAME), and their weights differ (``replicas.SAME``): they began
                from different ones, which no mean of gradients takes back
  lost mean     without a wrapper: the weights were the same at first, as many collectives run in each step as there are
                parameters, the batches differ, and still each rank steps along a gradient of its own (APART) in all layers:
                what is averaged is not what the optimizer gets
  same data     the ranks hold the same weights and were given the very same tensors, new ones each time: one computes what
                the other does

Bounds:
  LEAST   three looks or comparisons in which it holds, and every one since the first
  SPAN    the longest period that is in use between two averages of weights (Douillard et al. 2023: 500 steps)
  GROWN   averaged every H steps, ranks are as far apart at every step H and beyond; never averaged, a random walk doubles their
          distance when the steps are four times as many
Look-alikes that are healthy: accumulation (the last pass of a step is averaged), averaging by hand (collectives run), the
wrapped module called for evaluation or without gradients, averages of the weights every so many steps (hardly any collectives
in between), sharded layers and experts (other weights and other gradients), an ensemble of one member a rank (no collectives).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isograd.health.case import Case
from isograd.health.looks import holds, lasting, listed, opening, over
from isograd.records.anatomy import spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

LEAST = 3
SAME = 1e-3
"""Relative distance up to which gradients are one: sums of the same numbers in another order differ by 1e-6 of their size."""
APART = 0.1
"""Relative distance from which they are not: gradients of different batches are about 1 apart, those of large ones of alike
examples still 1 / sqrt(batch)."""
MEANT = 0.9
"""Collectives a step and parameter from which the gradients are meant to be averaged one by one."""
SPAN, GROWN, ROWS = 500, 2.0, 5
REFERENCES = (
    "Li et al. 2020, PyTorch Distributed: experiences on accelerating data parallel training, arXiv:2006.15704",
    "Douillard et al. 2023, DiLoCo: distributed low-communication training of language models, arXiv:2311.08105",
)

_REASONS = {
    "past": (
        "the module inside of the wrapper is called itself (model.module(...)), so that the wrapper does not take part",
        "call the wrapper in training, model(x); model.module is for saving, and for evaluating on one rank",
    ),
    "no_sync": (
        "every backward pass of a step stands under no_sync()",
        "leave no_sync() for the last backward pass before each optimizer.step(), its forward pass included",
    ),
}


def diagnose(case: Case) -> Iterator[Finding]:
    """At most one finding of each kind."""
    rows = [fact for _, fact in case.facts("ranks_compared")]
    rows.sort(key=lambda fact: int(fact.get("step", 0)))
    yield from _not_averaged(case, rows)
    yield from _unknown(case)
    yield from _born_apart(rows)
    yield from _lost_mean(case, rows)
    yield from _same_data(rows)


def _not_averaged(case: Case, rows: Sequence[Fact]) -> Iterator[Finding]:
    for where, found in lasting(case, "not_averaged").items():
        ran = [int(fact.get("collectives", -1)) for _, fact in case.facts("not_averaged") if fact.where == where]
        never = not any(ran) and found.fact.get("since", -1) == 0
        rarely = 2 * ran.count(0) >= len(ran) and _parting(rows)
        if not (never or rarely) or not holds(found, case, least=LEAST):
            continue
        sure = over(case) or case.taken >= SPAN
        why, remedy = _REASONS[str(found.fact.get("reason", "past"))]
        text = f"in {found.seen} of {found.looks} looks no pass was averaged, nor by another collective"
        yield Finding(
            "ranks_apart",
            "critical" if sure else "note",
            0.97 if sure else 0.7,
            "loop",
            "Every rank trains a model of its own: the gradients are not averaged over the ranks. What is saved in the end is "
            "one of them, which has seen its own share of the data alone.",
            (Evidence(text, "not_averaged", found.seen / max(1, found.looks), "of the looks", 0.0), *_distances(rows)),
            (where,) if where else (),
            found.fact.source,
            found.first,
            cause=why,
            remedy=remedy,
            references=REFERENCES,
        )


def _parting(rows: Sequence[Fact]) -> bool:
    """Whether the ranks are apart at every later comparison, and further and further."""
    far = [float(row.get("weights", 0.0)) for row in rows if row.get("apart", 0)]
    return len(far) >= ROWS and len(far) >= len(rows) - 1 and far[-1] >= GROWN * far[-3]


def _unknown(case: Case) -> Iterator[Finding]:
    found = {where: one for where, one in lasting(case, "unknown_to_wrapper").items() if holds(one, case, least=LEAST)}
    if not found:
        return
    places = tuple(found)
    first, node = found[places[0]], case.anatomy.node(places[0])
    text = f"{first.fact.get('parameter', '')} is trained, and is none of the parameters that the wrapper was made with"
    yield Finding(
        "ranks_apart",
        "critical",
        0.97,
        places[0],
        f"{opening(listed([spoken(place) for place in places]))} came into the model after it was wrapped: the gradients there "
        "are not averaged, and every rank trains its own.",
        (Evidence(text, "unknown_to_wrapper", float(len(places)), "layers", 0.0),),
        places,
        node.source if node else None,
        first.first,
        cause="the model was changed after DistributedDataParallel(model) was made",
        remedy="change the model first, then wrap it, then make the optimizer",
        references=REFERENCES,
    )


def _born_apart(rows: Sequence[Fact]) -> Iterator[Finding]:
    apart = [row for row in rows if row.get("apart", 0) and 0.0 <= float(row.get("farthest", -1.0)) <= SAME]
    if len(apart) < LEAST or len(apart) < len(rows):
        return
    last = apart[-1]
    yield Finding(
        "ranks_apart",
        "critical",
        0.97,
        last.where if last.get("apart", 0) != last.get("layers", 0) else "loop",
        "The ranks step along the same gradients from different weights: they began from different ones, and the mean of their "
        "gradients is that of none of them.",
        (
            _far(last),
            Evidence(f"and the gradients within {SAME:g}, in {len(apart)} of {len(rows)} comparisons", "ranks_compared", SAME),
        ),
        since=int(apart[0].get("step", 1)),
        cause="the weights were drawn from a seed of each rank's own, or loaded on one rank alone after the model was wrapped",
        remedy="load on every rank (map_location) before wrapping, or broadcast all weights and buffers from rank 0 once",
        references=REFERENCES,
    )


def _lost_mean(case: Case, rows: Sequence[Fact]) -> Iterator[Finding]:
    later = [row for row in rows if int(row.get("step", 0)) > 1]
    if len(later) < LEAST or not rows or rows[0].get("apart", 1) or any(row.get("wrapped", False) for row in rows):
        return
    first, last = rows[0], rows[-1]
    steps = int(last.get("step", 0)) - int(first.get("step", 0))
    started, ended = int(first.get("collectives", -1)), int(last.get("collectives", -1))
    ours = sum(parameter.trainable for parameter in case.anatomy.parameters)
    meant = started >= 0 and ended - started >= MEANT * steps * max(1, ours)
    own = all(row.get("apart", 0) == row.get("layers", -1) and float(row.get("nearest", -1.0)) >= APART for row in later)
    if not meant or not own or not any(row.get("batch", "") == "other" for row in rows):
        return
    text = f"{(ended - started) / steps:.3g} collectives a step for {ours} parameters"
    yield Finding(
        "ranks_apart",
        "critical",
        0.9,
        "loop",
        "Every rank trains a model of its own: averages over the ranks are taken in every step, and none of them reaches the "
        "gradient that the optimizer gets.",
        (_far(last), Evidence(text, "ranks_compared", (ended - started) / steps, "a step", float(ours))),
        since=int(first.get("step", 1)),
        cause="the mean is taken of a copy of the gradient, or after the step",
        remedy="between loss.backward() and optimizer.step(): dist.all_reduce(p.grad); p.grad /= dist.get_world_size()",
        references=REFERENCES,
    )


def _same_data(rows: Sequence[Fact]) -> Iterator[Finding]:
    known = [row for row in rows if row.get("batch", "")]
    again = [row for row in known if row.get("batch", "") == "same" and not row.get("apart", 1)]
    fresh = [row for row in again if row.get("fresh", False)]
    joined = any(int(row.get("collectives", -1)) > 0 for row in rows)
    if len(again) < 2 or len(again) < len(known) or not fresh or not joined:
        return
    last = again[-1]
    text = f"in {len(again)} of {len(known)} steps that were compared rank {last.get('rank', 0)} was given the same tensors"
    yield Finding(
        "ranks_apart",
        "warning",
        0.9,
        "data",
        "Every rank is given the same batches: the others compute what the first one does, and nothing is gained by them.",
        (Evidence(text, "ranks_compared", len(again) / len(known), "of the steps", 0.0),),
        since=int(again[0].get("step", 1)),
        cause="no sampler deals the examples out, or all ranks read the same part of the data in the same order",
        remedy="DistributedSampler(dataset), with sampler.set_epoch(epoch) in every epoch",
        references=REFERENCES,
    )


def _distances(rows: Sequence[Fact]) -> Iterator[Evidence]:
    apart = [row for row in rows if row.get("apart", 0)]
    if apart:
        yield _far(apart[-1])


def _far(row: Fact) -> Evidence:
    far, layers = float(row.get("weights", 0.0)), int(row.get("layers", 0))
    text = f"at step {row.get('step', 0)} the weights of {row.get('apart', 0)} of {layers} layers are not those of rank "
    return Evidence(f"{text}{row.get('rank', 0)}, by up to {far:.2g} of their size", "ranks_compared", far)
