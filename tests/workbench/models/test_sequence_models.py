"""Networks that read quantities step by step: nothing after an end is seen, the past alone where asked, healthy starts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import isograd
from isograd.errors import ModelError
from isograd.workbench.deploy.exporting import onnx_bytes, settled
from isograd.workbench.deploy.opening import session_of
from isograd.workbench.models import Known, build
from isograd.workbench.models.options import STEPS
from isograd.workbench.models.tcn import TCN
from isograd.workbench.train import Recipe, loss_of, make_optimizer

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {"pool": pool}) for kind in STEPS for pool in ("max", "mean", "last")),
    *((kind, {"directions": "forward"}) for kind in STEPS),
    ("rnn", {"initialisation": "identity", "directions": "forward", "pool": "last"}),
    ("tcn", {"kernel": 3, "blocks": 2}),
    ("lstm", {"layers": 2}),
]


def made(
    kind: str, length: int = 12, *, ragged: bool = True, each: bool = False, features: int = 3, **options: Any
) -> nn.Module:
    known = Known(ragged=ragged, each=each)
    return build(kind, inputs=(length, features), outputs=2, options=options, seed=0, known=known).eval()


def sequences(*lengths: int, length: int = 12, features: int = 3) -> torch.Tensor:
    x = torch.randn(len(lengths), length, features, generator=torch.Generator().manual_seed(0))
    there = torch.arange(length) < torch.tensor(lengths)[:, None]
    x[~there] = 0.0
    x[:, :, -1] = there.float()
    return x


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_what_follows_the_end_of_a_sequence_changes_no_answer(kind: str, options: dict[str, Any]) -> None:
    model = made(kind, **options)
    x = sequences(5, 12)
    alone = model(x[:1, :5])
    assert torch.allclose(model(x)[0], alone[0], atol=1e-5)
    noisy = x.clone()
    noisy[0, 5:, :2] = 100.0  # what stands there is not looked at
    assert torch.allclose(model(noisy), model(x), atol=1e-5)


@pytest.mark.parametrize("kind", STEPS)
def test_an_answer_for_every_step_and_with_the_past_alone_where_that_is_asked(kind: str) -> None:
    x = sequences(12, 12)
    later = x.clone()
    later[:, 8:, :2] += 1.0
    forward, both = (made(kind, each=True, directions=directions) for directions in ("forward", "both"))
    assert forward(x).shape == (2, 12, 2)
    assert torch.allclose(forward(x)[:, :8], forward(later)[:, :8], atol=1e-6)
    assert not torch.allclose(both(x)[:, :8], both(later)[:, :8], atol=1e-6)


@pytest.mark.parametrize("length", [2, 5, 40, 200])
def test_a_tcn_sees_a_whole_sequence_by_default(length: int) -> None:
    model = made("tcn", length, ragged=False, directions="forward", pool="last")
    x = torch.randn(4, length, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    model(x).square().sum().backward()
    assert x.grad is not None and bool((x.grad.abs().sum(dim=(0, 2)) > 0).all())


@pytest.mark.parametrize("blocks", [1, 4, 12])
def test_the_stream_of_a_tcn_does_not_grow_with_depth(blocks: int) -> None:
    model: Any = TCN(64, 8, 2, blocks=blocks, kernel=3)
    sizes: list[float] = []
    model.norm.register_forward_pre_hook(lambda module, args: sizes.append(args[0].detach().square().mean().sqrt().item()))
    model(torch.randn(16, 64, 8, generator=torch.Generator().manual_seed(0)))
    assert 0.9 < sizes[0] < 1.6  # sqrt(1 + 1) for the stem and branches whose sum is at most one


def test_an_identity_start_keeps_the_gradient_over_200_steps_and_the_orthogonal_one_loses_it() -> None:
    def reached(**options: object) -> float:
        model = made("rnn", 200, ragged=False, pool="last", directions="forward", dropout=0.0, **options).train()
        x = torch.randn(8, 200, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
        model(x).square().sum().backward()
        assert x.grad is not None
        norms = x.grad.norm(dim=(0, 2))
        return float(norms[:5].mean() / norms[-5:].mean())

    assert 0.05 < reached(initialisation="identity") < 20
    assert reached() < 1e-3


@pytest.mark.parametrize(
    ("kind", "each", "options"),
    [
        *((kind, True, {}) for kind in STEPS),
        *((kind, False, {"pool": "last"}) for kind in STEPS),
        ("gru", False, {"pool": "max"}),
        ("tcn", False, {"pool": "max", "directions": "forward"}),
        ("lstm", False, {"pool": "mean", "layers": 2}),
    ],
)
def test_onnx_gives_what_torch_gives_for_batches_of_any_size(kind: str, each: bool, options: dict[str, Any]) -> None:
    model, x = settled(made(kind, each=each, **options)), sequences(5, 1, 12, 7)
    session = session_of(onnx_bytes(model, x))
    for count in (4, 1, 3):
        found = session.run(None, {"input": x[:count].numpy()})[0]
        assert abs(found - model(x[:count]).detach().numpy()).max() < 1e-5


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_remember_for_times_up_to_the_length_of_a_sequence(kind: str) -> None:
    model: Any = made(kind, 100, ragged=False)
    layer = model.forwards[0]
    gates = layer.bias_ih_l0.detach().split(64)
    times = gates[1].exp()
    assert 1 <= times.min() < 12 and 88 < times.max() <= 99 and 40 < times.mean() < 60
    assert torch.equal(gates[0], -gates[1]) if kind == "lstm" else not gates[0].any()


def test_a_network_with_gates_remembers_what_stood_at_the_start_of_a_long_sequence() -> None:
    draw = torch.Generator().manual_seed(0)
    x, labels = torch.randn(64, 100, 2, generator=draw) * 0.3, torch.arange(64) % 2
    x[:, 0, 0] = 3.0 - 6.0 * labels
    model = made("gru", 100, ragged=False, features=2, pool="last", directions="forward", dropout=0.0, units=32).train()
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-2), torch.tensor(math.inf)
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("kind", STEPS)
def test_the_frames_of_a_spectrum_are_a_sequence(kind: str) -> None:
    model = build(kind, inputs=(1, 16, 30), outputs=3, options={}, seed=0).eval()
    sound = torch.randn(2, 1, 16, 30, generator=torch.Generator().manual_seed(0))
    assert model(sound).shape == (2, 3)
    assert not torch.allclose(model(sound), model(sound.flip(3)), atol=1e-6)


@pytest.mark.parametrize("kind", STEPS)
def test_each_family_learns_which_of_two_bumps_a_sequence_holds(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    x, labels = 0.1 * torch.randn(64, 12, 2, generator=draw), torch.arange(64) % 2
    x[torch.arange(64), torch.randint(0, 12, (64,), generator=draw), labels] = 3.0
    model = made(kind, ragged=False, features=2, dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    loss = torch.tensor(math.inf)
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2


def faults(kind: str, length: int, *, each: bool = False, ragged: bool = False, **options: Any) -> str:
    x = sequences(*torch.linspace(max(1, length // 3), length, 32).long().tolist(), length=length, features=5)
    x = x if ragged else x[:, :, :4].where(x[:, :, :4] != 0, torch.randn(32, length, 4))
    targets = torch.arange(32) % 2
    x[:, :, 0] += targets[:, None]
    known = Known(ragged=ragged, each=each)
    model = build(kind, inputs=tuple(x.shape[1:]), outputs=2, options=options, seed=0, known=known)
    loss = loss_of("sequence-classification")
    if each:
        from isograd.workbench.train import stepwise

        loss, targets = stepwise(loss), targets[:, None].expand(-1, length).contiguous()
        targets = targets.where(x[:, :, -1] > 0.5, -100) if ragged else targets
    report = isograd.check(model, (x, targets), loss, make_optimizer(model.parameters(), Recipe(learning_rate=2e-3)), steps=500)
    return "" if report.healthy else str(report)


@pytest.mark.parametrize(
    ("kind", "length", "options"),
    [
        *((kind, length, {}) for kind in STEPS for length in (2, 50, 200)),
        *((kind, 40, {"pool": "last"}) for kind in ("gru", "lstm", "tcn")),
        *((kind, 40, {"layers": 3}) for kind in ("rnn", "gru", "lstm")),
        *((kind, 40, {"units": units}) for kind in ("rnn", "gru", "lstm") for units in (8, 128)),
        *(("tcn", 40, {"blocks": blocks}) for blocks in (1, 8)),
        *(("tcn", 40, {"channels": channels}) for channels in (16, 128)),
        ("rnn", 200, {"initialisation": "identity", "pool": "last", "directions": "forward"}),
    ],
)
def test_a_check_finds_no_fault_over_lengths_depths_and_widths(kind: str, length: int, options: dict[str, Any]) -> None:
    assert not faults(kind, length, **options)


@pytest.mark.parametrize("kind", STEPS)
def test_a_check_finds_no_fault_in_answers_step_by_step_and_in_sequences_that_end(kind: str) -> None:
    assert not faults(kind, 30, each=True)
    assert not faults(kind, 30, ragged=True)
    assert not faults(kind, 30, each=True, ragged=True)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ModelError, match="sequences of quantities"):
        build("tcn", inputs=(12,), outputs=2, seed=0)
    with pytest.raises(ModelError, match="one answer for a whole sequence"):
        made("mlp", each=True)
    with pytest.raises(ModelError, match="embedding of a word"):
        made("gru", width=8)
    with pytest.raises(ModelError, match="must be odd"):
        made("tcn", kernel=4)
