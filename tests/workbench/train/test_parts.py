"""The parts of training alone: schedules, recipe, optimizers, random states, weights, checkpoints."""

from __future__ import annotations

import math
import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isograd.errors import DamagedError, ModelError, RequestError, StorageError
from isograd.workbench.train import Recipe, environment, load_best, loss_of, make_optimizer, resolved, weights_hash
from isograd.workbench.train import checkpoint as checkpoints
from isograd.workbench.train.machine import random_states, set_random_states
from isograd.workbench.train.schedules import SCHEDULE, plateau
from isograd.workbench.train.weights import average, load, tensors_of

STATE = checkpoints.State(identity="project", recipe=Recipe(), torch=torch.__version__)


@pytest.mark.parametrize("name", SCHEDULE)
@given(steps=st.integers(1, 400), warmup=st.floats(0, 0.99))
@settings(max_examples=40, deadline=None)
def test_a_schedule_stays_in_its_range_and_rises_before_it_falls(name: str, steps: int, warmup: float) -> None:
    factors = [SCHEDULE[name](step, steps, warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_the_cosine_is_at_its_top_after_the_warmup_and_at_half_in_the_middle_of_the_rest() -> None:
    cosine = SCHEDULE["warmup_cosine"]
    assert cosine(10, 110, 10 / 110) == 1
    assert cosine(60, 110, 10 / 110) == pytest.approx(0.5)


def test_one_cycle_starts_at_a_25th_and_ends_at_next_to_nothing() -> None:
    assert SCHEDULE["one_cycle"](0, 100, 0.3) == 1 / 25
    assert SCHEDULE["one_cycle"](99, 100, 0.3) == pytest.approx(1 / 250_000)


@pytest.mark.parametrize(
    ("values", "direction", "expected"),
    [
        ([], "min", 1.0),
        ([3.0, 2.0, 1.0], "min", 1.0),
        ([3.0, 2.0, 1.0], "max", 0.1),
        ([1.0, 1.0, 1.0, 1.0, 1.0], "min", 0.01),  # an equal value is not better
        ([1.0, 2.0, 0.5, 2.0], "min", 1.0),  # the better one in between starts the count again
        ([math.nan, math.nan], "max", 0.1),
    ],
)
def test_a_plateau_counts_epochs_without_a_better_value(values: list[float], direction: Any, expected: float) -> None:
    assert plateau(values, direction, patience=2, factor=0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"optimizer": "adamww"}, 'did you mean "adamw"'),
        ({"schedule": "cosine"}, "warmup_cosine"),
        ({"epochs": 0}, "a whole number from 1"),
        ({"epochs": 2.0}, "a whole number from 1"),
        ({"learning_rate": 0.0}, "a number above 0"),
        ({"learning_rate": math.inf}, "a number above 0"),
        ({"learning_rate": math.nan}, "a number above 0"),
        ({"momentum": 1.0}, "below 1"),
        ({"ema": 1.0}, "below 1"),
        ({"clip_norm": -1.0}, "above 0"),
        ({"patience": True}, "a whole number"),
        ({"nesterov": True}, "nesterov needs sgd"),
    ],
)
def test_a_recipe_that_cannot_be_cooked_is_refused(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as error:
        Recipe(**setting)
    assert said in str(error.value)


def test_a_recipe_says_all_its_faults_at_once() -> None:
    with pytest.raises(RequestError) as error:
        Recipe(epochs=0, optimizer="x", ema=2.0)
    assert len(error.value.faults) == 3


def test_auto_is_a_device_of_this_machine_and_a_missing_one_is_refused() -> None:
    assert resolved(Recipe(device="auto")).device in ("cpu", "cuda", "mps")
    assert resolved(Recipe(threads=0)).threads >= 1
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(RequestError, match=f"there is no {missing}"):
        resolved(Recipe(device=missing))
    assert environment(Recipe(device="cpu", threads=3, seed=5)).threads == 3


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
        ("adagrad", torch.optim.Adagrad),
    ],
)
def test_an_optimizer_decays_matrices_alone_and_holds_every_trainable_parameter_once(name: str, kind: type) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    model[1].weight.requires_grad_(False)
    optimizer = make_optimizer(model.parameters(), Recipe(optimizer=name, weight_decay=0.1))
    assert type(optimizer) is kind
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in held} == {id(p) for p in model.parameters() if p.requires_grad}
    for group in optimizer.param_groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}


def test_a_model_that_is_wholly_frozen_cannot_be_trained() -> None:
    with pytest.raises(ModelError, match="no parameter"):
        make_optimizer(nn.Linear(2, 2).requires_grad_(False).parameters(), Recipe())


def test_a_loss_is_a_mean_over_rows() -> None:
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    loss = loss_of("image-classification")
    assert (loss(logits[:2], targets[:2]) * 2 + loss(logits[2:], targets[2:]) * 4) / 6 == pytest.approx(
        loss(logits, targets).item()
    )


def test_all_generators_go_on_where_they_were() -> None:
    random.gauss(), np.random.randn()  # each keeps a second draw in hand
    states = random_states("cpu")
    first = torch.rand(2).tolist(), random.gauss(), random.random(), np.random.randn(), np.random.rand()
    set_random_states(states, "cpu")
    assert (torch.rand(2).tolist(), random.gauss(), random.random(), np.random.randn(), np.random.rand()) == first


def test_the_hash_sees_every_bit_every_name_and_every_buffer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = weights_hash(model)
    assert weights_hash(model) == before
    with torch.no_grad():
        model[1].num_batches_tracked.add_(1)
    assert weights_hash(model) != before
    same_bytes = nn.Module()
    same_bytes.a = nn.Parameter(torch.zeros(2, 3))
    other = nn.Module()
    other.a = nn.Parameter(torch.zeros(3, 2))
    assert weights_hash(same_bytes) != weights_hash(other)
    assert weights_hash(nn.Linear(2, 2).bfloat16()) != weights_hash(nn.Linear(2, 2).half())


def test_the_average_is_the_formula() -> None:
    model, mean = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        model.weight.fill_(3.0), model.running_mean.fill_(5.0), model.num_batches_tracked.fill_(4)
    average(mean, model, decay=0.9, step=1000)
    assert mean.weight.tolist() == pytest.approx([0.9 * 1 + 0.1 * 3] * 2)
    assert mean.running_mean is not None and mean.running_mean.tolist() == pytest.approx([0.5] * 2)
    assert mean.num_batches_tracked is not None and mean.num_batches_tracked.item() == 4
    average(mean, model, decay=0.9, step=0)  # the first steps hardly remember: (1 + 0) / (10 + 0)
    assert mean.weight.tolist() == pytest.approx([0.1 * 1.2 + 0.9 * 3] * 2)


def test_weights_of_another_shape_are_refused_and_nothing_is_changed() -> None:
    model = nn.Linear(2, 2)
    before = weights_hash(model)
    with pytest.raises(ModelError, match="2 tensors differ, weight the first"):
        load(model, tensors_of(nn.Linear(3, 3)))
    assert weights_hash(model) == before


def test_every_single_flipped_bit_in_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model.parameters(), Recipe())
    checkpoints.save(tmp_path, STATE, {"model": tensors_of(model)}, optimizer.state_dict())
    folder = checkpoints.folders(tmp_path)[0]
    chance = random.Random(0)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for _ in range(40):
            broken = bytearray(whole)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            file.write_bytes(broken)
            with pytest.raises(DamagedError):
                checkpoints.load(folder)
        file.write_bytes(whole)
    assert checkpoints.load(folder)[0].identity == "project"


def test_a_disk_that_takes_no_more_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    optimizer = make_optimizer(nn.Linear(1, 1).parameters(), Recipe()).state_dict()
    checkpoints.save(tmp_path, STATE, {"model": {"a": torch.zeros(10)}}, optimizer)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            checkpoints.save(
                tmp_path, checkpoints.State("project", Recipe(), "x", step=9), {"model": {"a": torch.zeros(10**6)}}, optimizer
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [folder.name for folder in tmp_path.iterdir()] == ["0"]
    assert checkpoints.load(tmp_path / "0")[1]["model"]["a"].shape == (10,)


def test_best_weights_that_are_not_there_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no checkpoint yet"):
        load_best(tmp_path, nn.Linear(1, 1))
    optimizer = make_optimizer(nn.Linear(1, 1).parameters(), Recipe()).state_dict()
    checkpoints.save(tmp_path / "checkpoints", STATE, {"model": tensors_of(nn.Linear(1, 1))}, optimizer)
    with pytest.raises(RequestError, match="before its first epoch"):
        load_best(tmp_path, nn.Linear(1, 1))
    (tmp_path / "checkpoints" / "0" / "state.json").unlink()
    with pytest.raises(DamagedError, match="is damaged"):
        load_best(tmp_path, nn.Linear(1, 1))


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("", None), ("0", None), ("some", None), ("4096", None)])
def test_training_takes_no_more_threads_than_omp_num_threads_allows(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = resolved(Recipe(device="cpu")).threads
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert resolved(Recipe(device="cpu")).threads == (threads or cores)
    assert resolved(Recipe(device="cpu", threads=3)).threads == 3, "what the project says stands"
