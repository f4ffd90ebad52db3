"""The training loop: epochs, validation, the best weights, early stopping, and an end that is always clear."""

from __future__ import annotations

import contextlib
import copy
import datetime
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from isograd.errors import RequestError
from isograd.files import append_line
from isograd.records import codec
from isograd.records.run import Epoch
from isograd.workbench.train import checkpoint, freezing, weights
from isograd.workbench.train.checkpoint import Best, State
from isograd.workbench.train.live import Batches, DivergedError, Live, Pace, Validate, save, save_if_due, say
from isograd.workbench.train.losses import Loss
from isograd.workbench.train.machine import Stop, borrowed, interruptible, resolved
from isograd.workbench.train.optimizers import make_optimizer
from isograd.workbench.train.progress import Direction, Fitted, Progress
from isograd.workbench.train.recipe import Recipe
from isograd.workbench.train.resume import best_of, rewrite_metrics, start
from isograd.workbench.train.steps import train_epoch
from isograd.workbench.train.watching import Watching

End = Literal["finished", "stopped", "diverged"]


def fit(
    model: nn.Module,
    *,
    recipe: Recipe,
    batches: Batches,
    batches_per_epoch: int,
    loss: Loss,
    validate: Validate,
    monitor: tuple[str, Direction],
    folder: Path,
    identity: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Fitted:
    """Train ``model`` in place, going on from the newest good checkpoint in ``folder``; at the end it holds the best weights.

    ``batches(epoch, start)`` gives the (inputs, targets) of an epoch (from 1) from the batch number ``start`` (from 0) on, and
    must depend on these two alone; ``loss`` is a mean over the rows of a batch. ``validate`` gives metrics of the model it is
    handed (the average, where there is one); the best by ``monitor`` = (metric, direction) is kept. The generators, the thread
    count and the handler of Ctrl-C are borrowed and given back.

    Raises ``RequestError`` (another project's checkpoints, a device that is not here, batches that do not add up),
    ``ModelError`` (weights that do not fit), ``StorageError`` (the disk refused; older checkpoints are unharmed).
    """
    recipe = resolved(recipe)
    if batches_per_epoch < 1:
        raise RequestError("there is nothing to train on: an epoch has no batch", where="data")
    steps, remarks = recipe.epochs * batches_per_epoch, list[str]()

    def remark(text: str) -> None:
        remarks.append(text)
        moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        append_line(folder / "journal.log", f"{moment} {text}")
        if on_progress is not None:
            on_progress(Progress("remark", 0, recipe.epochs, 0, steps, remark=text))

    model.to(recipe.device)
    state, tensors = start(folder / "checkpoints", identity, recipe, remark)
    rewrite_metrics(folder / "metrics.jsonl", state)
    with borrowed(recipe), interruptible() as stop:
        now = time.perf_counter()
        live = Live(
            model=model,
            averaged=copy.deepcopy(model) if recipe.ema is not None else None,
            optimizer=make_optimizer(_thawed(model, recipe), recipe),
            batches=batches,
            per_epoch=batches_per_epoch,
            loss=loss,
            validate=validate,
            monitor=monitor,
            folder=folder,
            on_progress=on_progress,
            watching=Watching(remark),
            pace=Pace(began=now, first_step=state.step, ticked=now, saved=now, saved_step=state.step if tensors else -1),
            remark=remark,
        )
        if tensors:
            _put_back(live, state, tensors)
        freezing.settle(model, recipe, state.epoch)
        if recipe.watch and state.status == "running":
            known, kept = state.first_aid, tensors.get("first_aid", {})
            live.watching.begin(model, live.optimizer, loss, steps, recipe, folder / "trace.jsonl", known, kept)
        return _ended(live, *_train(live, state, tensors.get("random"), stop), remarks)


def _thawed(model: nn.Module, recipe: Recipe) -> list[nn.Parameter]:
    """All that will ever be trained, ready for an optimizer, which takes nothing that is frozen."""
    parameters = list(freezing.ever_trained(model, recipe))
    for parameter in parameters:
        parameter.requires_grad_()
    return parameters


def _put_back(live: Live, state: State, tensors: dict[str, dict[str, torch.Tensor]]) -> None:
    weights.load(live.model, tensors["model"])
    if live.averaged is not None:
        weights.load(live.averaged, tensors["ema"])
    live.optimizer.load_state_dict(checkpoint.optimizer_state(state, tensors.get("optimizer", {})))
    for parameter, kept in live.optimizer.state.items():  # a fused kernel walks weights and moments side by side in memory
        own = {name: one for name, one in kept.items() if isinstance(one, torch.Tensor) and one.shape == parameter.shape}
        kept.update({name: torch.empty_like(parameter, dtype=one.dtype).copy_(one) for name, one in own.items()})
    device = next(live.model.parameters()).device
    live.best.update({name: tensor.to(device) for name, tensor in best_of(state, tensors).items()})


def _train(live: Live, state: State, random: Mapping[str, torch.Tensor] | None, stop: Stop) -> tuple[State, End, int | None]:
    """Epoch after epoch: the last state, how it ended, and the first step that was not finite."""
    with contextlib.ExitStack() as on_error:
        on_error.callback(live.watching.end)  # leave no hook behind
        try:
            while state.status == "running" and not stop.requested:
                state = train_epoch(live, state, random, stop)
                random = None
                if state.position == live.per_epoch:
                    state = _close_epoch(live, state)
                    save_if_due(live, state, at_once=state.status == "finished")
            if live.pace.saved_step != state.step:
                save(live, state)
            end: tuple[State, End, int | None] = (state, "finished" if state.status == "finished" else "stopped", None)
        except DivergedError as error:
            end = (state, "diverged", error.step)
        except KeyboardInterrupt:  # in the middle of a step, or out of our hands: the last checkpoint counts
            end = (state, "stopped", None)
        on_error.pop_all()
    return end


def _close_epoch(live: Live, state: State) -> State:
    """Validate, write the epoch's line, and begin the next epoch, or finish."""
    began = time.perf_counter()
    say(live, state, "validating")
    name, direction = live.monitor
    metrics = tuple((metric, float(value)) for metric, value in live.validate(live.judged))
    if name not in dict(metrics):
        raise RequestError(f"there is no metric {name!r} to choose the best by", met=", ".join(dict(metrics)))
    value = dict(metrics)[name]
    better = _better(value, state.best, direction)
    best = Best(state.epoch, state.step, value, live.kind) if better else state.best
    if better:
        live.best.clear()
        live.best.update(weights.copy_of(live.judged))
    seconds = state.epoch_seconds + time.perf_counter() - began
    epoch = Epoch(
        epoch=state.epoch,
        step=state.step,
        loss=state.loss_sum / state.rows if state.rows else math.nan,  # first aid took back every step
        metrics=metrics,
        learning_rate=float(live.optimizer.param_groups[0]["lr"]),
        rows_per_second=state.rows / max(state.epoch_seconds, 1e-9),
        seconds=seconds,
        weights=live.kind,
        best=better,
        health=live.watching.line(),
    )
    append_line(live.folder / "metrics.jsonl", codec.dumps(epoch))
    last = state.epoch == state.recipe.epochs
    patience, waited = state.recipe.patience, state.epoch - (best.epoch if best else 0)
    early = not last and patience is not None and waited >= patience
    if early:
        live.remark(f"stopped early after epoch {state.epoch}: {name} has not become better for {waited} epochs")
    return replace(
        state,
        status="finished" if last or early else "running",
        epoch=state.epoch if last or early else state.epoch + 1,
        position=0,
        loss_sum=0.0,
        rows=0,
        epoch_seconds=0.0,
        seconds=state.seconds + seconds,
        history=(*state.history, epoch),
        best=best,
    )


def _better(value: float, best: Best | None, direction: Direction) -> bool:
    if math.isnan(value) or best is None:
        return not math.isnan(value)
    return value > best.value if direction == "max" else value < best.value


def _ended(live: Live, state: State, status: End, diverged: int | None, remarks: list[str]) -> Fitted:
    last = weights.weights_hash(live.model)
    kept = last
    if live.best and status != "stopped":
        weights.load(live.model, live.best)
        kept = weights.weights_hash(live.model)  # the best may come from a file, which keeps no order of names
    say(live, state, status)
    return Fitted(
        status=status,
        epochs=state.history,
        steps=state.step,
        seconds=state.seconds + state.epoch_seconds,
        monitor=live.monitor[0],
        best_epoch=state.best.epoch if state.best else None,
        best_value=state.best.value if state.best else None,
        weights=state.best.weights if state.best else "",
        sha256=kept,
        last_sha256=last,
        diverged_at=None if diverged is None else state.epoch,
        diverged_step=diverged,
        report=live.watching.end(),
        remarks=tuple(remarks),
    )
