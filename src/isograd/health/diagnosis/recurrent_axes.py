"""Axes swapped: a recurrent layer takes the examples for time steps, or a reshape stands where a transposition was meant.

Certain from lengths: the layer takes as many time steps as there are targets, one an example, and another number of examples.
Then every example sees the examples before it in the batch, and none of its own past.

The same shape with its axes in another order is what a transposition makes. A reshape to it keeps the entries in their places
in memory, so that every row gets parts of several others: nobody means that. An alarm where the training does not go well in
spite of it (WELL, 0.9). So do the final states of a recurrent layer, (layers and directions, batch, hidden), that are viewed as
(batch, all the rest). And where outputs (time, batch, classes) and targets (batch, time) are laid out in rows before the
loss, no output meets its own target: the lengths say so for certain, and it is an alarm under the same condition.

By experiment on a copy, where ``check`` and ``explain`` make one: beside other examples an example gets another answer, and the
first operation that brings the rows together is known. It is an alarm where nobody means it, again unless the training does
well, and critical where it has come out poor: a layer of sequences that takes the batch for time where there are several
sequences; a reshape that heeds the order of the batch; and, where the training has come out poor, a softmax over the batch,
which makes shares of what examples have no part in. All else is a remark. Nothing is said where inputs and targets share a
second axis, either of which may be the rows, and no loader tells how long a batch is.

Bounds:
  LEAST   three looks (two where the run has ended), and every one since the first; lengths that agree prove nothing

Look-alikes that are healthy: time-first input on purpose (the targets then fit the other axis), one target for each time step
of one long sequence (the layer then takes one example), as many examples as time steps; axes of length 1 that are moved, axes
that are split or joined.
"""

from __future__ import annotations

from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import holds, lasting, opening
from isograd.health.outcome import outcome
from isograd.records.anatomy import spoken
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

LEAST = 3
WELL = 0.9
SEQUENTIAL = ("lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward", "scaled_dot_product_attention")
RESHAPES = ("view", "reshape", "flatten", "unflatten")
SHARES = ("softmax", "log_softmax")


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding a layer, a line that reshapes, or a loss."""
    yield from _reshaped(case)
    yield from _crossed(case)
    told = {one.where: one for one in mixed(case)}
    for where, found in lasting(case, "axes_swapped").items():
        batch, time = int(found.fact.get("batch", 0)), int(found.fact.get("time", 0))
        sure = holds(found, case, least=LEAST)
        if where in told and not sure:
            continue
        told.pop(where, None)
        node = case.anatomy.node(where)
        name = spoken(where)
        yield Finding(
            "recurrent_axes",
            "warning" if sure else "note",
            0.95 if sure else 0.6,
            where,
            f"{opening(name)} takes the {batch:,} examples of the batch for time steps and the {time:,} time "
            "steps for examples: information runs from example to example.",
            (Evidence(f"{batch:,} targets, {batch:,} time steps, {time:,} sequences", "axes_swapped", float(batch)),),
            (where,),
            node.source if node else found.fact.source,
            found.first,
            cause="the layer's batch_first does not fit the order of the axes of its input",
            remedy="batch_first=True for input of (batch, time, features), or transpose(0, 1) before and after the layer",
        )
    yield from told.values()


def _reshaped(case: Case) -> Iterator[Finding]:
    for where, found in lasting(case, "axes_reshaped").items():
        left, right = (str(found.fact.get(side, "")).replace("x", ", ") for side in ("left", "right"))
        operation = str(found.fact.get("operation", "view"))
        sure = holds(found, case, least=LEAST) and not outcome(case).well(WELL)
        yield Finding(
            "recurrent_axes",
            "warning" if sure else "note",
            0.95 if sure else 0.6,
            where,
            f"{operation} makes ({right}) of a tensor of shape ({left}): it keeps the numbers in order and swaps no axes, "
            "so that every row is put together from parts of others.",
            (Evidence(f"seen in {found.seen} of {found.looks} looks", "axes_reshaped", float(found.seen), "looks"),),
            (where,),
            found.fact.source,
            found.first,
            cause=f"{operation} where the axes were to be swapped",
            remedy="torch.cat((h[-2], h[-1]), 1), or h.transpose(0, 1).reshape(batch, -1)"
            if left.count(",") > right.count(",")
            else "transpose or permute: x.permute(0, 2, 1) makes (batch, channels, time) of (batch, time, channels)",
        )


def _crossed(case: Case) -> Iterator[Finding]:
    for found in lasting(case, "targets_crossed").values():
        left, right = (str(found.fact.get(side, "")).replace("x", ", ") for side in ("left", "right"))
        sure = holds(found, case, least=LEAST) and not outcome(case).well(WELL)
        yield Finding(
            "recurrent_axes",
            "warning" if sure else "note",
            0.95 if sure else 0.6,
            "loss",
            f"The outputs were ({left}) before they were laid out in a row for the loss, and the targets ({right}): the axes "
            "are the other way round, so that outputs meet the targets of other places.",
            (Evidence(f"seen in {found.seen} of {found.looks} looks", "targets_crossed", float(found.seen), "looks"),),
            (),
            found.fact.source,
            found.first,
            cause="one side has the batch first and the other has time first when both are flattened",
            remedy="output.transpose(0, 1) (or batch_first=True) before .reshape(-1, classes), so that both sides begin alike",
        )


def mixed(case: Case) -> Iterator[Finding]:
    """One finding an operation that brings rows together."""
    for where, found in lasting(case, "rows_mixed").items():
        fact = found.fact
        other, operation = int(fact.get("other", 0)), str(fact.get("operation", ""))
        if other and not _from_loader(case, int(fact.get("rows", 0)), other):
            continue
        sure = _is_fault(fact, case) and not outcome(case).well(WELL)
        order = " and their order" if fact.get("ordered", False) else ""
        yield Finding(
            "recurrent_axes",
            ("critical" if outcome(case).short_of(WELL) else "warning") if sure else "note",
            0.95 if sure and operation not in SHARES else 0.8 if sure else 0.6,
            where or "model",
            f"What is answered to an example depends on the other examples of its batch{order}: {operation} brings them "
            "together, so that the same example is answered differently in another batch.",
            (Evidence("the same rows beside others, in evaluation mode", "rows_mixed", 1.0),),
            () if not where else (where,),
            fact.source,
            found.first,
            cause=_cause(operation),
            remedy=_remedy(operation),
        )


def _is_fault(fact: Fact, case: Case) -> bool:
    operation = str(fact.get("operation", ""))
    if not fact.get("all", False) or fact.get("square", False):
        return False
    if operation in RESHAPES:  # what no longer has an axis of the rows was made of them on purpose, before
        return bool(fact.get("ordered", False) and fact.get("given", True))
    if operation in SEQUENTIAL:
        return True
    return operation in SHARES and outcome(case).short_of(WELL)


def _from_loader(case: Case, rows: int, other: int) -> bool:
    """Whether a loader tells that the first axis is the batch and not the second."""
    sizes = {int(fact.get("batch_size", -1)) for _, fact in case.facts("loader")}
    return rows in sizes and other not in sizes


def _cause(operation: str) -> str:
    if operation in SEQUENTIAL:
        return "a layer that reads sequences takes the batch for their steps"
    if operation in RESHAPES:
        return (
            f"{operation} where the axes were to be swapped: it keeps the numbers in order, across the border of the examples"
        )
    return "the axis of the batch where an axis of the example is meant"


def _remedy(operation: str) -> str:
    if operation in SEQUENTIAL:
        return "batch_first=True for input of (batch, time, features), or transpose(0, 1) before and after the layer"
    if operation in RESHAPES:
        return "transpose or permute instead, with the batch as the first axis when rows are laid out"
    return "dim=1, or dim=-1: the axis of what belongs to one example"
