"""Parts that are frozen, and thaw: what moves in which epoch, what a frozen norm keeps, and what resuming knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from isograd.errors import RequestError
from isograd.workbench.train import Recipe, fit
from isograd.workbench.train.freezing import ever_trained, settle

ROWS = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
LABELS = (ROWS[:, 0] > 0).long()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), nn.Sequential(nn.ReLU(), nn.Linear(8, 8)), nn.Linear(8, 2)
    )


def frozen(model: nn.Module, *parts: str) -> nn.Module:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] not in parts)
    return model


def trained(folder: Path, recipe: Recipe, *, stop_after: int | None = None) -> tuple[nn.Module, list[dict[str, torch.Tensor]]]:
    model = frozen(network(), "0", "1")
    seen: list[dict[str, torch.Tensor]] = []

    def validate(judged: nn.Module) -> tuple[tuple[str, float], ...]:
        seen.append({name: tensor.clone() for name, tensor in judged.state_dict().items()})
        if stop_after == len(seen):
            raise KeyboardInterrupt
        with torch.no_grad():
            return (("loss", float(nn.functional.cross_entropy(judged.eval()(ROWS), LABELS))),)

    fit(
        model,
        recipe=recipe,
        batches=lambda epoch, start: [(ROWS[at : at + 8], LABELS[at : at + 8]) for at in range(8 * start, 32, 8)],
        batches_per_epoch=4,
        loss=nn.functional.cross_entropy,
        validate=validate,
        monitor=("loss", "min"),
        folder=folder,
        identity="x",
    )
    return model, seen


def recipe(**more: Any) -> Recipe:
    given = {"epochs": 4, "device": "cpu", "threads": 1, "watch": False, "frozen": ("0", "1"), "checkpoint_seconds": 1e-9}
    return Recipe(**{**given, **more})


def test_each_part_begins_to_move_after_its_epoch(tmp_path: Path) -> None:
    _, seen = trained(tmp_path, recipe(thaw=(("1", 1), ("0", 3)), learning_rate=0.01))
    start = network().state_dict()
    moved = [{name for name in now if not torch.equal(now[name], start[name])} for now in seen]
    assert moved[0] == {"2.weight", "2.bias"}
    assert moved[1] == moved[2] == moved[0] | {"1.1.weight", "1.1.bias"}
    assert moved[3] == set(start)  # statistics of the norm as well


def test_a_frozen_norm_keeps_its_statistics_and_works_as_it_was_trained() -> None:
    model = frozen(network(), "0")
    for epoch, gathers in ((1, False), (2, True)):
        model.train()
        settle(model, recipe(thaw=(("0", 1),)), epoch)
        assert model[0][1].training is gathers and model[1].training  # type: ignore[index]
        assert model[0][0].weight.requires_grad is gathers  # type: ignore[index]


def test_what_nobody_named_stays_as_it_is() -> None:
    model = frozen(network(), "1")
    settle(model.train(), recipe(frozen=(), thaw=()), 1)
    assert model[0][1].training and not model[1][1].weight.requires_grad  # type: ignore[index]


def test_the_optimizer_knows_from_the_start_what_will_thaw_and_nothing_that_never_does() -> None:
    model = frozen(network(), "0", "1")
    known = {id(parameter) for parameter in ever_trained(model, recipe(thaw=(("1.1", 2),)))}
    assert known == {id(parameter) for parameter in (*model[1].parameters(), *model[2].parameters())}  # type: ignore[index]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_that_was_stopped_thaws_when_it_would_have(tmp_path: Path, stop: int) -> None:
    settings = recipe(thaw=(("1", 1), ("0", 2)))
    whole, _ = trained(tmp_path / "whole", settings)
    trained(tmp_path / "cut", settings, stop_after=stop)
    cut, _ = trained(tmp_path / "cut", settings)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), cut.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"thaw": (("2", 1),)}, "never frozen"),
        ({"frozen": (), "thaw": (("1", 1),)}, 'freeze = ["1"]'),
        ({"thaw": (("1", 4),)}, "when nothing is trained"),
        ({"thaw": (("1", 0),)}, "when nothing is trained"),
    ],
)
def test_a_thaw_that_never_comes_is_told(more: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as caught:
        recipe(**more)
    assert said in str(caught.value)
