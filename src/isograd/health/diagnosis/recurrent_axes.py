"""Axes swapped: a recurrent layer takes the examples for time steps, or a reshape stands where a transposition was meant.

Certain from lengths: the layer takes as many time steps as there are targets, one an example, and another number of examples.
Then every example sees the examples before it in the batch, and none of its own past.

The same shape with its axes in another order is what a transposition makes. A reshape to it keeps the entries in their places
in memory, so that every row gets parts of several others: nobody means that. An alarm where the training does not go well in
spite of it (WELL, 0.9). So do the final states of a recurrent layer, (layers and directions, batch, hidden), that are viewed as
(batch, all the rest). And where outputs (time, batch, classes) and targets (batch, time) are laid out in rows before the
loss, no output meets its own target: the lengths say so for certain, and it is an alarm under the same condition.

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
from isograd.records.finding import Evidence, Finding

LEAST = 3
WELL = 0.9


def diagnose(case: Case) -> Iterator[Finding]:
    """One finding a layer, a line that reshapes, or a loss."""
    yield from _reshaped(case)
    yield from _crossed(case)
    for where, found in lasting(case, "axes_swapped").items():
        batch, time = int(found.fact.get("batch", 0)), int(found.fact.get("time", 0))
        sure = holds(found, case, least=LEAST)
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
