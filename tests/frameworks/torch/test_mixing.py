"""Rows of a batch that see one another: found where they first meet, and only where nothing else explains it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

import isograd
from isograd.errors import ModelError
from isograd.frameworks.torch.mixing import mixed_rows
from isograd.frameworks.torch.patient import TorchPatient
from isograd.health.case import Case
from isograd.health.diagnosis import recurrent_axes
from isograd.records.anatomy import Anatomy
from isograd.records.edit import Edit
from isograd.records.fact import Fact
from isograd.records.finding import Finding
from isograd.records.trace import Step


class Calls(nn.Module):
    """A module of a layer and a function that is called with it and the inputs."""

    def __init__(self, layer: nn.Module, function: Any) -> None:
        super().__init__()
        self.layer, self.function = layer, function
        self.head = nn.Linear(8, 2)

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the function says."""
        return self.function(self, *inputs)


def found(model: nn.Module, inputs: Any, targets: Tensor) -> Fact | None:
    torch.manual_seed(0)
    fact = mixed_rows([model], (inputs, targets))
    return fact if fact is not None and fact.kind == "rows_mixed" else None


SERIES, LABELS = torch.randn(32, 12, 3), torch.randint(0, 2, (32,))


def last(m: Any, x: Tensor) -> Any:
    return m.head(m.layer(x)[0][:, -1])


def test_a_recurrent_layer_that_takes_the_batch_for_time_is_where_the_rows_meet() -> None:
    seen = found(Calls(nn.LSTM(3, 8), last), SERIES, LABELS)
    assert seen is not None
    assert (seen.where, seen.get("operation", ""), seen.get("ordered", False)) == ("layer", "lstm", True)
    assert found(Calls(nn.LSTM(3, 8, batch_first=True), last), SERIES, LABELS) is None


def test_the_line_that_reshapes_across_the_rows_is_told() -> None:
    def twisted(m: Any, x: Tensor) -> Any:
        return m.head(m.layer(x).t().reshape(len(x), 8))

    seen = found(Calls(nn.Linear(3, 8), twisted), torch.randn(32, 3), LABELS)
    assert seen is not None
    assert seen.get("operation", "") == "reshape"
    assert (seen.source or "").startswith("test_mixing.py") or "test_mixing.py:" in (seen.source or "")


def test_a_softmax_over_the_batch_is_found_although_the_order_of_the_rows_does_not_count() -> None:
    seen = found(Calls(nn.Linear(3, 8), lambda m, x: m.head(m.layer(x)).softmax(0)), torch.randn(32, 3), LABELS)
    assert seen is not None
    assert (seen.get("operation", ""), seen.get("ordered", True), seen.get("square", True)) == ("softmax", False, False)


def test_a_batch_whose_size_is_written_into_the_network_is_tried_whole() -> None:
    def fixed(m: Any, x: Tensor) -> Any:
        return m.head(m.layer(x.view(32, 3)).t().reshape(32, 8))

    assert found(Calls(nn.Linear(3, 8), fixed), torch.randn(32, 3), LABELS) is not None


def words(m: Any, x: Tensor) -> Any:
    return m.head(m.layer(x.view(len(x), 1, -1))[0].view(len(x), -1))


def graph(m: Any, x: Tensor, edges: Tensor) -> Any:
    h = m.layer(x)
    return m.head(h.index_add(0, edges[0], h[edges[1]]) if len(edges) == 2 else edges @ h)


class Memory(nn.Module):
    """Takes a running mean of what it saw off what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3) to (N, 2)."""
        h = self.layer(x)
        out: Tensor = h - self.mean
        self.mean = 0.9 * self.mean + 0.1 * h.mean(0).detach()
        return out


TABLE = torch.randn(32, 3)
SOUND: dict[str, tuple[nn.Module, Any, Tensor]] = {
    "one sentence as a batch of its words": (Calls(nn.LSTM(3, 8), words), TABLE, LABELS),
    "one sequence without a batch": (Calls(nn.LSTM(3, 8), lambda m, x: m.head(m.layer(x)[0])), TABLE, LABELS),
    "one series under a convolution": (
        Calls(nn.Conv1d(3, 8, 3, padding=1), lambda m, x: m.head(m.layer(x.t()[None])[0].t())),
        TABLE,
        LABELS,
    ),
    "a graph by its matrix": (Calls(nn.Linear(3, 8), graph), (TABLE, torch.rand(32, 32)), LABELS),
    "a graph by its edges": (Calls(nn.Linear(3, 8), graph), (TABLE, torch.randint(0, 32, (2, 90))), LABELS),
    "batch norm": (nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), TABLE, LABELS),
    "batch norm without running statistics": (
        nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 2)),
        TABLE,
        LABELS,
    ),
    "dropout that is always on": (Calls(nn.Linear(3, 8), lambda m, x: m.head(m.layer(x).dropout(0.5, True))), TABLE, LABELS),
    "a memory": (Memory(), TABLE, LABELS),
    "similarities of pairs": (Calls(nn.Linear(3, 8), lambda m, x, y: m.layer(x) @ m.layer(y).T), (TABLE, TABLE + 1), LABELS),
    "attention within an example": (
        Calls(nn.MultiheadAttention(8, 2, batch_first=True), lambda m, x: m.head(m.layer(x, x, x)[0].mean(1))),
        torch.randn(32, 5, 8),
        LABELS,
    ),
    "packed sequences": (
        Calls(
            nn.GRU(3, 8, batch_first=True),
            lambda m, x, n: m.head(m.layer(nn.utils.rnn.pack_padded_sequence(x, n, True, False))[1][-1]),
        ),
        (SERIES, torch.randint(1, 13, (32,))),
        LABELS,
    ),
    "time first": (Calls(nn.LSTM(3, 8), lambda m, x: m.head(m.layer(x)[0][-1])), SERIES.transpose(0, 1), LABELS),
    "weights of zero": (Calls(nn.LSTM(3, 8), lambda m, x: 0.0 * last(m, x)), SERIES, LABELS),
}


@pytest.mark.parametrize("name", sorted(SOUND))
def test_nothing_is_said_of(name: str) -> None:
    assert found(*SOUND[name]) is None


def test_a_dropout_that_is_always_on_does_not_hide_that_nothing_else_is_random() -> None:
    model = Calls(nn.Linear(3, 8), lambda m, x: m.head(m.layer(x).dropout(0.5, True)).softmax(0))
    assert found(model, TABLE, LABELS) is None


def test_answers_that_are_drawn_in_evaluation_mode_are_told_and_a_dropout_that_rests_then_is_none() -> None:
    drawn, resting = (
        nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2))
        for layer in (Calls(nn.Identity(), lambda m, x: x + torch.randn_like(x)), nn.Dropout(0.5))
    )
    facts = [mixed_rows([model], (TABLE, LABELS)) for model in (drawn, resting)]
    assert facts == [Fact("answers_drawn"), None]


def alarms(fact: Fact, *, facts: tuple[Fact, ...] = ()) -> list[Finding]:
    case = Case(Anatomy("torch", (), ()), steps=(Step(1, facts=(fact, *facts)),))
    return [one for one in recurrent_axes.diagnose(case) if one.alarm]


def mixed(operation: str, **settings: Any) -> Fact:
    usual = {"operation": operation, "ordered": True, "all": True, "square": False, "rows": 32, "other": 0}
    return Fact("rows_mixed", "layer", "net.py:3", tuple((usual | settings).items()))


def test_what_nobody_means_is_an_alarm_and_what_may_be_meant_a_remark() -> None:
    assert alarms(mixed("gru"))
    assert alarms(mixed("reshape"))
    assert not alarms(mixed("reshape", ordered=False))
    assert not alarms(mixed("reshape", all=False))
    assert not alarms(mixed("softmax", ordered=False))  # nothing has come of the training yet
    assert not alarms(mixed("multi_head_attention_forward", square=True))
    assert not alarms(mixed("sub", ordered=False))


def test_a_module_that_reads_what_its_parts_give_is_heard_without_a_change() -> None:
    heard: list[Any] = []

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Calls(nn.Linear(3, 8), lambda m, x: m.head(m.layer(x)).softmax(0))

        def forward(self, x: Tensor) -> Tensor:
            heard.append(type(self.inner(x)))
            return self.inner(x)

    class Called(Outer):
        def __call__(self, *args: Any) -> Any:
            out = super().__call__(*args)
            heard.append(type(out))
            return out

    assert found(Called(), TABLE, LABELS) is not None
    assert set(heard) == {Tensor}


def test_where_either_axis_may_be_the_rows_the_loader_decides() -> None:
    loader = Fact("loader", settings=(("batch_size", 32),))
    assert not alarms(mixed("gru", other=12))
    assert alarms(mixed("gru", other=12), facts=(loader,))
    assert not alarms(mixed("gru", rows=12, other=32), facts=(loader,))


def test_check_tells_of_a_reshape_across_the_rows_before_anything_is_trained() -> None:
    model = Calls(nn.Linear(3, 8), lambda m, x: m.head(m.layer(x).t().reshape(len(x), 8)))
    optimizer = torch.optim.Adam(model.parameters())
    said = isograd.check(model, (TABLE, LABELS), nn.CrossEntropyLoss(), optimizer)
    assert any(one.disease == "recurrent_axes" and one.alarm for one in said.findings)
    sound = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    said = isograd.check(sound, (TABLE, LABELS), nn.CrossEntropyLoss(), torch.optim.Adam(sound.parameters()))
    assert not any(one.disease == "recurrent_axes" for one in said.findings)


def test_the_axes_of_an_attention_can_be_turned_as_those_of_a_recurrent_layer() -> None:
    model = Calls(nn.MultiheadAttention(8, 2), lambda m, x: m.head(m.layer(x, x, x)[0].mean(1)))
    batch = (torch.randn(32, 5, 8), LABELS)
    patient = TorchPatient.copy_of(model, batch, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))
    assert found(model, *batch) is not None
    turned = patient.apply(Edit("axes", "batch", before="time"))
    assert mixed_rows(turned.models, batch) is None
    with pytest.raises(ModelError, match="batch"):
        turned.apply(Edit("axes", "batch", before="time"))


def test_rows_that_are_the_pixels_of_one_picture_meet_on_purpose_before_they_are_laid_out_again() -> None:
    def pictured(m: Any, x: Tensor) -> Any:
        return m.head(m.layer(x.reshape(8, 8, 3).permute(2, 0, 1)[None])[0].flatten(1).t())

    model = Calls(nn.Conv2d(3, 8, 3, padding=1), pictured)
    seen = found(model, torch.randn(64, 3), torch.randint(0, 2, (64,)))
    assert seen is not None and not seen.get("given", True)
    assert not alarms(seen)


def test_a_layer_that_takes_the_batch_for_time_is_told_once() -> None:
    swapped = Fact("axes_swapped", "layer", settings=(("batch", 32), ("time", 12)))
    for looks in (1, 3):
        steps = tuple(Step(index, facts=(mixed("lstm"), swapped)) for index in range(1, looks + 1))
        (one,) = recurrent_axes.diagnose(Case(Anatomy("torch", (), ()), steps=steps))
        assert one.alarm
