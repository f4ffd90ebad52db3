"""The steps of a copied program: its loop as it was seen, with its habits, on batches that come round and round."""

from __future__ import annotations

import contextlib
import dis
import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isograd.errors import ModelError, RequestError
from isograd.frameworks.torch import edits
from isograd.frameworks.torch.adjusting import adjust_gradients, adjusted, all_finite
from isograd.frameworks.torch.batches import exhausted, first_line, inputs_of, loss_of, outputs_of, targets_of
from isograd.frameworks.torch.copying import Several, members_of
from isograd.records.loop import Loop

Own = Callable[[Any, Any, Any], object]
"""``step(model, optimizer, batch)``: one step of the person's loop, on whatever model and optimizer it is given."""


def run(
    models: Sequence[nn.Module],
    optimizer: Optimizer,
    loss: Any,
    loop: Loop,
    batches: Sequence[Any],
    steps: int,
    own: Own | None,
) -> Iterator[int]:
    """Make ``steps`` steps in place, giving the number of each when it is made; the models are in the loop's mode.

    Raises ``ModelError`` where model, batch and loss do not fit, or where a step of the person's own raises.
    """
    for model in models:
        model.train(not loop.evaluating)
    if not batches:
        raise RequestError(
            "there is no batch to train on", remedy="give batches that can be gone through again, such as a list"
        )
    rates = Rates(optimizer, loop, steps)
    for index in range(1, steps + 1):
        rates.set(index)
        if loop.redraws and index > 1 and (index - 1) % loop.redraws == 0:
            edits.born_again(models)
        first = (index - 1) * loop.accumulate
        taken = [batches[0 if loop.same_batch else place % len(batches)] for place in range(first, first + loop.accumulate)]
        one_step(models, optimizer, loss, loop, taken, index, own)
        yield index


class Rates:
    """The learning rates of a run's steps: each group keeps its proportion to the first one."""

    def __init__(self, optimizer: Optimizer, loop: Loop, steps: int) -> None:
        self.optimizer, self.loop, self.steps = optimizer, loop, loop.steps or steps
        self.plain = loop.schedule is None and loop.warm_up is None and not loop.rates
        if self.plain or any("lr" not in group for group in optimizer.param_groups):
            self.plain = True
            return
        began = [float(group["lr"]) for group in optimizer.param_groups]
        first, highest = loop.rate(1), loop.highest
        if highest is not None and not first:  # it rises from nothing: a scheduler wrote down from what it scales
            own = [float(group.get("initial_lr", 1.0)) for group in optimizer.param_groups]
            self.full = [highest * rate / own[0] if own[0] else highest for rate in own]
        else:
            self.full = [rate * highest / first if highest is not None and first else rate for rate in began]

    def set(self, index: int) -> None:
        """Set the rate of every group to that of step ``index``."""
        if not self.plain:
            share = self.loop.share(index, self.steps)
            for group, full in zip(self.optimizer.param_groups, self.full, strict=True):
                edits.set_rate(group, full * share)


def one_step(
    models: Sequence[nn.Module],
    optimizer: Optimizer,
    loss: Any,
    loop: Loop,
    batches: Sequence[Any],
    index: int,
    own: Own | None,
) -> None:
    """One step of the loop, in place, on the mean gradient of the batches."""
    if loop.clears and (index - 1) % loop.clears == 0:
        optimizer.zero_grad()
        for model in models:
            model.zero_grad()
    if own is not None:
        with adjusted(models, optimizer, loop, gradients=True):
            _own_step(own, models, optimizer, batches[0])
        return
    factor = (loop.loss_scale or 1.0) / len(batches)

    def evaluate() -> Tensor:
        whole = torch.zeros(())
        for batch in batches:
            value = loss_of(loss, outputs_of(models, inputs_of(batch)), targets_of(batch))
            with _told("the backward pass failed"):
                (value if factor == 1.0 else value * factor).backward()  # type: ignore[no-untyped-call]
            whole = value if len(batches) == 1 else whole + value.detach().cpu() / len(batches)
        if loop.clears_early or loop.cut:
            optimizer.zero_grad()
        with _told("the gradient cannot be clipped, scaled or added to as the edit asks"):
            adjust_gradients(models, loop)
        return whole

    if isinstance(optimizer, torch.optim.LBFGS):  # evaluates several times a step

        def again() -> Tensor:
            optimizer.zero_grad()
            return evaluate()

        with adjusted(models, optimizer, loop, gradients=False):
            optimizer.step(again)  # type: ignore[no-untyped-call]
        return
    evaluate()
    if loop.idle:
        return
    if loop.loss_scale is None or all_finite(models):  # a scale that is too large costs the step, not the weights
        with adjusted(models, optimizer, loop, gradients=False), _told("the optimizer cannot make a step"):
            optimizer.step()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Within, what torch refuses (sparse gradients, mixed types) is told as a ``ModelError``; so is memory that runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if exhausted(error):
            raise ModelError(
                "the model is too large for a step on a copy: memory ran out",
                met=first_line(error),
                remedy="a smaller batch; isograd.check(model) tells what theory alone knows, and isograd.watch copies no model",
            ) from error
        raise ModelError(what, met=f"torch says: {first_line(error)}") from error


def _own_step(own: Own, models: Sequence[nn.Module], optimizer: Optimizer, batch: Any) -> None:
    try:
        steppers = tuple(members_of(optimizer)) if isinstance(optimizer, Several) else optimizer
        own(models[0] if len(models) == 1 else tuple(models), steppers, batch)
    except RequestError:
        raise
    except Exception as error:
        raise ModelError("the step function raised", met=f"{type(error).__name__}: {first_line(error)}") from error


def check_step(own: Any, originals: Sequence[nn.Module]) -> None:
    """Refuse what is no step function, or works on the original model: ``RequestError`` with the way to write it.

    Looks at what the function closes over and at the globals that it names; what hides deeper is caught by ``on_copies``.
    """
    if not callable(own):
        raise RequestError(f"step is a function of (model, optimizer, batch), not {type(own).__name__}", remedy=_WAY)
    try:
        inspect.signature(own).bind(None, None, None)
    except TypeError as error:
        raise RequestError(f"step takes (model, optimizer, batch): {error}", remedy=_WAY) from None
    except ValueError:  # no signature to be had
        return
    if inspect.isfunction(own):
        known = inspect.getclosurevars(own)
        for name, value in {**known.globals, **known.nonlocals}.items():
            if any(value is one for one in originals):
                raise _on_the_original(name)
        unused = _unused(own)
        for name, value in {**known.nonlocals, **known.globals}.items():
            if 0 in unused and isinstance(value, nn.Module) and next(value.parameters(), None) is not None:
                raise _on_the_original(name)
            if 1 in unused and isinstance(value, Optimizer):
                raise _on_the_original(name, "optimizer")


def _unused(own: Any) -> set[int]:
    """The places of the first two parameters that the code of a function never reads."""
    code = own.__code__
    first = list(code.co_varnames[: min(2, code.co_argcount)])
    read = {name for step in dis.get_instructions(code) if "LOAD" in step.opname for name in _names(step.argval)}
    return {place for place, name in enumerate(first) if name not in read and name not in code.co_cellvars}


def _names(argument: Any) -> tuple[Any, ...]:
    return argument if isinstance(argument, tuple) else (argument,)


def on_copies(own: Own, originals: Sequence[weakref.ref[nn.Module]]) -> Own:
    """The step function, in which a call of an original model raises ``RequestError``: a replay must never touch it."""

    def refuse(module: nn.Module, args: Any) -> None:
        raise _on_the_original(type(module).__name__)

    def step(model: Any, optimizer: Any, batch: Any) -> object:
        alive = [one for reference in originals if (one := reference()) is not None]
        handles = [one.register_forward_pre_hook(refuse) for one in alive]
        try:
            return own(model, optimizer, batch)
        finally:
            for handle in handles:
                handle.remove()

    return step


_WAY = "def step(model, optimizer, batch): ...   and use these three, not the names outside of it"


def _on_the_original(name: str, what: str = "model") -> RequestError:
    return RequestError(
        f"the step function works on your own {what}, not on the copy that it is given", met=f"it uses {name}", remedy=_WAY
    )
