"""The inner loop: the optimizer steps of one epoch, from any position, with one look at the clock each."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from isograd.errors import ModelError, RequestError
from isograd.workbench.train import freezing, weights
from isograd.workbench.train.checkpoint import State
from isograd.workbench.train.live import DivergedError, Live, save, say
from isograd.workbench.train.machine import Stop, set_random_states
from isograd.workbench.train.schedules import SCHEDULE, plateau

_TICK = 0.2  # seconds between two looks at the losses, which are all that makes the host wait for the device


def train_epoch(live: Live, state: State, random: Mapping[str, torch.Tensor] | None, stop: Stop) -> State:
    """Steps from ``state.position`` to the end of the epoch, or until somebody asks to stop."""
    recipe, model, optimizer, averaged = state.recipe, live.model, live.optimizer, live.averaged
    loss, clip, decay, device = live.loss, recipe.clip_norm, recipe.ema, recipe.device
    schedule, steps, warmup = SCHEDULE[recipe.schedule], recipe.epochs * live.per_epoch, recipe.warmup
    rate, groups = recipe.learning_rate * _slowed(live, state), optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    mixed = torch.autocast(device, torch.bfloat16) if recipe.precision == "bfloat16" else contextlib.nullcontext()
    tick, clock = min(_TICK, recipe.checkpoint_seconds), time.perf_counter
    pending: list[tuple[torch.Tensor, int]] = []
    step, inside = state.step, False
    model.train()
    freezing.settle(model, recipe, state.epoch)
    batches = iter(live.batches(state.epoch, state.position))
    if random is not None:  # only now: building an iterator may itself draw
        set_random_states(random, device)
    began = clock() - state.epoch_seconds
    try:
        for inputs, targets in batches:
            inside = True
            now_rate = rate * schedule(step, steps, warmup)
            for group in groups:
                group["lr"] = now_rate
            optimizer.zero_grad(set_to_none=True)
            with mixed:
                outputs = model(inputs.to(device))
            value = loss(outputs.float(), targets.to(device))
            value.backward()  # type: ignore[no-untyped-call]
            if clip is not None:
                nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            step += 1
            if averaged is not None and decay is not None:
                weights.average(averaged, model, decay, step)
            pending.append((value.detach(), len(inputs)))
            inside = False
            if stop.requested or clock() - live.pace.ticked >= tick:
                state = _settled(live, state, pending, step, clock() - began)
                _tick(live, state)
                if stop.requested:
                    return state
    except KeyboardInterrupt:
        if inside:
            raise
        stop.requested = True
        return _settled(live, state, pending, step, clock() - began)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        if inside:
            raise _misfit(error, step + 1, inputs, targets) from error
        raise
    state = _settled(live, state, pending, step, clock() - began)
    if state.position != live.per_epoch:
        raise RequestError(f"epoch {state.epoch} had {state.position} batches and {live.per_epoch} were promised", where="data")
    return state


def _misfit(error: Exception, step: int, inputs: torch.Tensor, targets: torch.Tensor) -> ModelError:
    """What torch said of a step, with the batch that it said it of."""
    met = ", ".join(
        f"{name} {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
        for name, tensor in (("inputs", inputs), ("targets", targets))
    )
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"step {step} failed: model, batch and loss do not fit together: {said}",
        where=f"step {step}",
        met=met.replace("torch.", ""),
        remedy="compare the shapes and types of inputs, outputs and labels; there must be one output a class",
    )


def _settled(live: Live, state: State, pending: list[tuple[torch.Tensor, int]], step: int, seconds: float) -> State:
    """The state with the losses of the last steps in it; empties ``pending``. Raises ``DivergedError``."""
    total, rows = state.loss_sum, state.rows
    values = torch.stack([value for value, _ in pending]).tolist() if pending else []
    for i, (value, (_, count)) in enumerate(zip(values, pending, strict=True)):
        if not math.isfinite(value):
            at = step - len(pending) + i + 1
            if live.watching.took_back(at):
                continue
            raise DivergedError(at)
        total, rows = total + value * count, rows + count
    done = state.position + len(pending)
    pending.clear()
    return replace(state, step=step, position=done, loss_sum=total, rows=rows, epoch_seconds=seconds)


def _tick(live: Live, state: State) -> None:
    live.pace.ticked = time.perf_counter()
    if not live.pace.warm:  # the first steps also load and allocate what all need: no measure of the time left
        live.pace.warm, live.pace.began, live.pace.first_step = True, live.pace.ticked, state.step
    say(live, state, "training")
    due = live.pace.ticked - live.pace.saved >= state.recipe.checkpoint_seconds
    if due and state.position < live.per_epoch:  # the end of the epoch saves anyway
        save(live, state)


def _slowed(live: Live, state: State) -> float:
    """What the plateau schedule makes of the learning rate, from the history alone."""
    if state.recipe.schedule != "plateau":
        return 1.0
    name, direction = live.monitor
    values = [dict(epoch.metrics)[name] for epoch in state.history]
    return plateau(values, direction, state.recipe.plateau_patience, state.recipe.plateau_factor)
