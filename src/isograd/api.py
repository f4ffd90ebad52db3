"""Check, watch, diagnose, cure: the one place where a framework and the heart meet."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from isograd.aiding import MOST, Aiding
from isograd.checking import checked
from isograd.doors import door_of, part, recorder_of, several
from isograd.errors import ModelError, RequestError
from isograd.explaining import OnProgress, allowance, cause_of, examples, told_with
from isograd.health.case import case_of
from isograd.health.risk import BASE_RATE
from isograd.live import OnFinding
from isograd.proofs import Proof, places_of, sources_of
from isograd.recordings import read_trace
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.loop import Loop
from isograd.records.proof import Tried
from isograd.records.trace import Step, Trace
from isograd.reporting import Report, report_of
from isograd.spending import budget_of
from isograd.trying import OnTried, asked_edits
from isograd.watching import Watch

__all__ = ["Proof", "Report", "Watch", "check", "cure", "diagnose", "explain", "name_cause", "watch"]

_OBSERVED = 40
"""Real steps, all of them measured, before a cause is searched: what they show proposes hypotheses."""


def check(
    model: Any,
    batch: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    *,
    step: Any = None,
    steps: int | None = None,
    deep: bool = False,
    base_rate: float = BASE_RATE,
) -> Report:
    """Say before training whether the gradients will reach every layer, and how likely the run is to fail; costs a few steps.

    Theory speaks from the architecture and the weights alone. With a batch, a loss and an optimizer, two real steps on a copy
    bear it out; without the optimizer one forward and backward pass does, and nothing is said of updates. Model, optimizer,
    buffers, modes and random numbers stay as they are, to the bit. ``model`` is a module or a tuple of them, ``batch`` is
    ``(inputs, targets)``, ``loss`` takes ``(outputs, targets)``; instead of the loss, ``step(model, optimizer, batch)`` makes
    one step of the person's loop on whatever it is given: tuples where there are several models or optimizers. ``steps`` is the
    planned length of the run, 10,000 where it is not told; of a batch of fewer than 16 examples no risk is told without it.
    ``deep`` adds some tens of steps on a few examples, for the price of 40 to 55 steps of the run. ``base_rate`` is the share
    of such trainings that is assumed to fail.

    Raises ``ModelError`` where the model, the batch and the loss do not fit, ``RequestError`` for anything else that is wrong.

    >>> import numpy as np
    >>> from isograd.frameworks.reference.network import Linear, Network, Sgd
    >>> network = Network((Linear.drawn("a", 4, 4, seed=1), Linear.drawn("b", 4, 2, seed=2)))
    >>> draw = np.random.default_rng(0)
    >>> check(network, (draw.normal(size=(8, 4)), draw.normal(size=(8, 2))), "squared_error", Sgd(0.1)).healthy
    True
    """
    _positive("steps", steps)
    return checked(model, batch, loss, optimizer, step=step, steps=steps, deep=deep, base_rate=base_rate)


def watch(
    model: Any,
    optimizer: Any = None,
    *,
    loss: Any = None,
    steps: int | None = None,
    budget: float | None = 0.03,
    trace: str | PathLike[str] | None = None,
    keep_start: bool = True,
    on_finding: OnFinding | None = None,
    act: bool | int | None = None,
) -> Watch:
    """Watch a training loop that stays as it is, for at most ``budget`` of its time.

    ``model`` and ``optimizer`` are one or several; optimizers are found by the parameters they hold where they are not given.
    ``steps`` is the planned length of the run; ``budget=None`` measures everything at every step. ``trace`` names a file that
    what was seen is appended to, in blocks, so that a killed program leaves a readable trace behind. ``on_finding`` is called
    in the loop with each ``Finding`` once, when it has become certain, and again with ``until`` set when it is over; an error
    that it raises is reported, and it is not called again. ``keep_start`` keeps a copy of the initial weights on the host (up
    to 2 GiB), from which ``explain`` of the watch replays the program.

    ``act`` switches first aid on: a step whose loss or update is not finite, or far out of the range of its recent past, is
    taken back, and the loop goes on as if its batch had not been there; where the loss has lost most of its gain for good, a
    tenth of the rate, dead units revived, moments forgotten and the gradient clipped are tried for 100 steps each in turn, and
    undone where they do not help.
    ``True`` allows 100 actions in the run, a number as many. It needs as much memory again as weights and optimizer state
    take, and time of its own, besides ``budget``. Each action is logged, and stands in ``actions`` of the watch and in its
    report; ``state_dict`` of the watch belongs into a checkpoint.

    Raises ``RequestError`` for a budget, or a number of steps or actions, that makes no sense, ``ModelError`` for what is no
    model.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer) as watching:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(8, 4)).square().mean().backward()
    ...         optimizer.step()
    >>> watching.meter.steps, watching.report().healthy
    (3, True)
    """
    _positive("steps", steps)
    if budget is not None and not 0.0 < budget <= 1.0:
        raise RequestError(
            f"budget is a share of the step time in (0, 1], not {budget}", remedy="budget=0.03, or None for no limit"
        )
    door = door_of(model)
    if trace is not None and not isinstance(trace, str | PathLike):
        raise RequestError(f"trace is the name of a file, not {type(trace).__name__}", remedy='trace="run.trace.jsonl"')
    if on_finding is not None and not callable(on_finding):
        raise RequestError(f"on_finding is a function of a finding, not {type(on_finding).__name__}", remedy="on_finding=print")
    if loss is not None and not callable(loss) and not isinstance(loss, str):
        raise RequestError(f"loss is a function of outputs and targets, not {type(loss).__name__}")
    models, optimizers = several(model), None if optimizer is None else several(optimizer) or None
    recorder = recorder_of(door, models, optimizers, budget, steps)
    name = loss if isinstance(loss, str) or loss is None else getattr(loss, "__name__", type(loss).__name__)
    start = part(door, "started").TorchStart(models, optimizers or ()) if keep_start else None
    aid = _aid(door, models, optimizers, act)
    return Watch(recorder, None if trace is None else Path(trace), name, on_finding, start, aid)


def diagnose(trace: Trace | str | PathLike[str]) -> Report:
    """Diagnose a recording, or the file of one; needs no model, no GPU and no framework.

    A last line that was cut off while it was written is left out, with a remark. Raises ``RequestError`` where there is no such
    file, ``DamagedError`` where it is not a trace or was written by a newer isograd.

    >>> from isograd.records.anatomy import Anatomy
    >>> diagnose(Trace(Anatomy("torch", (), ()))).healthy
    True
    """
    if isinstance(trace, Trace):
        return report_of("diagnose", trace, [])
    found, remarks = read_trace(Path(trace))
    return report_of("diagnose", found, remarks)


def explain(exception: BaseException) -> Report:
    """Say what an exception out of a training step means: cause, place, line, and what to change.

    Works without a framework loaded; an exception that is not known is told as it is. The exception stays as it is.

    Raises ``RequestError`` for what is no exception.

    >>> report = explain(IndexError("Target 5 is out of bounds."))
    >>> report.findings[0].cause
    'label out of range'
    """
    if not isinstance(exception, BaseException):
        raise RequestError(
            f"an exception is to be explained, not {type(exception).__name__}", remedy="except Exception as e: explain(e)"
        )
    if "torch" in sys.modules:
        fact = part("torch", "exceptions").raised(exception)
    else:
        told = (("type", type(exception).__name__), ("message", str(exception)), ("own", False))
        fact = Fact("raised", settings=told)
    steps = () if fact is None else (Step(0, facts=(fact,)),)
    return report_of("explain", Trace(Anatomy("", (), ()), steps=steps), [])


def name_cause(
    model: Any,
    batches: Any,
    loss: Any = None,
    optimizer: Any = None,
    *,
    held_out: Any = None,
    step: Any = None,
    score: Any = None,
    steps: int | None = None,
    budget: int | str | None = None,
    loop: Loop | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Why does this program not learn? The cause by experiment, from model, batches, loss and optimizer as they are made.

    Some steps are measured for what speaks against the program; then every hypothesis is replayed from its start, on copies.
    Arguments as those of ``Watch.explain``; ``steps`` is the planned length of the run, ``loop`` its habits where known.

    Raises ``RequestError`` for too small a budget, no batches or a step function that works on the original model,
    ``ModelError`` where model, batches and loss do not fit.
    """
    _positive("steps", steps)
    allowed, door = allowance(budget, steps), door_of(model)
    if door == "reference":
        raise ModelError("a reference network has no program around it to replay", remedy="a torch.nn.Module")
    models, steppers = several(model), () if optimizer is None else several(optimizer)
    start = part(door, "started").TorchStart(models, steppers)
    start.keep()
    brought = [one if one is None or step is not None else start.batches(one, loss) for one in (batches, held_out)]
    given = examples(*brought)
    # what a person's own step clears it clears itself
    habits = loop or Loop(clears=0 if step is not None else 1)
    patient = start.patient(given.training, loss, habits, step=step, score=score)
    looked = itertools.islice(itertools.cycle(given.training), _OBSERVED)
    trace = replace(patient.observe(looked, _OBSERVED), planned_steps=steps)
    report = report_of("check", trace, [])
    whole = steps is not None and steps <= _OBSERVED  # else it was a short look of ours that ended, and no run
    findings = tuple(one for one in report.findings if whole or one.disease != "interrupted")
    with told_with(findings):
        found = cause_of(patient, given, case_of(trace), findings, allowed, on_progress)
    return Report(replace(report.record, origin="watch", findings=findings, cause=found))


def cure(
    build: Any,
    batches: Any,
    loss: Any = None,
    optimizer: Any = None,
    *,
    budget: int | str,
    validation: Any = None,
    step: Any = None,
    score: Any = None,
    steps: int | None = None,
    edits: Edit | tuple[Edit, ...] = (),
    processes: int = 1,
    known: Iterable[Tried] = (),
    on_tried: OnTried | None = None,
    on_progress: OnProgress | None = None,
) -> Proof:
    """Find the smallest change that makes a program train, and prove that it does: against doing nothing, and against luck.

    ``build()`` gives a new model (or a tuple of them) with weights from torch's random stream, which is seeded for each trial;
    ``optimizer(parameters)`` gives its optimizer, or several, of which a factory with an argument for each model gets the
    parameters of each apart; ``loss`` takes (outputs, targets). ``batches`` are gone through many times
    (a list, a loader), or a function of a seed that gives them; ``validation`` are batches to judge by, a fifth of ``batches``
    where it is left out: one half of the examples for the search, the other for the proof. Instead of the loss ``step(model,
    optimizer, batch)`` makes one step of the person's loop; ``score(model)`` says how good a model is (higher is better), where
    outputs and targets fit no yardstick. ``budget`` is a time ("5min"), a number of steps, or of runs ("20 runs"); a run has
    ``steps`` steps, where nothing is said one pass through the batches, 300 at least. The first 400 batches are used, and the
    first 40 of ``validation``. ``edits`` are put to proof instead of a search. Random numbers, and whatever is outside of what
    ``build`` gives, stay as they are. With ``processes`` trials run beside one another where cores and memory allow (on Linux
    without an accelerator), each with one thread: the same answers, and the same cost in steps. Ctrl-C ends it and keeps what
    was tried: ``on_tried`` is told of every training as a record, and what is given as ``known`` costs nothing again.

    Raises ``RequestError`` for a factory that gives the same model twice, batches that are used up and a budget that no proof
    fits into, ``ModelError`` where the program cannot be run or judged at all.

    >>> import torch
    >>> x = torch.randn(640, 4, generator=torch.Generator().manual_seed(0))
    >>> data = [(x[i : i + 32], x[i : i + 32, :1]) for i in range(0, 640, 32)]
    >>> proof = cure(lambda: torch.nn.Linear(4, 1), data, torch.nn.functional.mse_loss,
    ...              lambda parameters: torch.optim.SGD(parameters, lr=1e-5), budget="12 runs", steps=60)
    >>> proof.verdict, [edit.kind for edit in proof.edits]
    ('proven', ['learning_rate'])
    """
    from isograd.curing import cured  # a search and its remedies: who only watches does not load them

    _positive("steps", steps)
    _positive("processes", processes)
    allowed = budget_of(budget)
    _factories(build, optimizer, loss, step, score)
    sources = sources_of(build, optimizer, loss, step)  # as they are now, whatever is written into them during the search
    places = places_of(model=build, optimizer=optimizer, loss=loss, loop=step)
    births = part("torch", "births").TorchBirths(build, loss, optimizer, step, score)
    record = cured(
        births,
        batches,
        validation,
        budget=allowed,
        steps=steps,
        own_score=score is not None,
        known=known,
        asked=asked_edits(edits),
        processes=processes,
        on_tried=on_tried,
        on_progress=on_progress,
    )
    return Proof(record, sources, places=places)


def _factories(build: Any, optimizer: Any, loss: Any, step: Any, score: Any) -> None:
    """Refuse what is no factory."""
    if "torch" not in sys.modules:
        raise ModelError("cure works on torch models, and torch is not loaded")
    if isinstance(build, sys.modules["torch"].nn.Module) or not callable(build):
        raise RequestError(
            f"build is a function that makes the model, not {type(build).__name__}",
            remedy="build=lambda: Net(...); for trained weights build=lambda: copy.deepcopy(model)",
        )
    if optimizer is None or not callable(optimizer) or isinstance(optimizer, sys.modules["torch"].optim.Optimizer):
        raise RequestError(
            f"optimizer is a function of the parameters, not {type(optimizer).__name__}",
            remedy="optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3)",
        )
    if score is not None and not callable(score):
        raise RequestError(f"score is a function of the model, not {type(score).__name__}")
    if loss is not None and step is not None:
        raise RequestError("loss or step is given, not both: the step function has its loss inside")


def _aid(door: str, models: tuple[Any, ...], optimizers: tuple[Any, ...] | None, act: bool | int | None) -> Aiding | None:
    if act is None or act is False:
        return None
    if act is not True and (type(act) is not int or act < 1):
        raise RequestError(
            f"act is True, or a number of actions of at least 1, not {act!r}", remedy="act=True, or act=None for no first aid"
        )
    return Aiding(part(door, "guarding").TorchGuard(models, optimizers), MOST if act is True else act)


def _positive(name: str, value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise RequestError(f"{name} is a whole number of at least 1, not {value!r}")
