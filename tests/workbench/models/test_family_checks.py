"""A check finds no fault with any family at its defaults, over the depths, widths and lengths that it is for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import isograd
from isograd.workbench.deploy.exporting import onnx_bytes, settled
from isograd.workbench.deploy.opening import session_of
from isograd.workbench.models import TOKENS, Known, build
from isograd.workbench.train import Recipe, loss_of, make_optimizer

WORDS = 500


def texts(length: int, rows: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (rows,), generator=draw)
    ids = torch.randint(4, WORDS, (rows, length), generator=draw)
    ids = torch.where(torch.rand(rows, length, generator=draw) < 0.1, 2 + labels[:, None], ids)
    ends = torch.randint(max(1, length // 4), length + 1, (rows, 1), generator=draw)
    return torch.where(torch.arange(length) < ends, ids, 0), labels


def pictures(shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (32,), generator=draw)
    return torch.randn(32, *shape, generator=draw) + labels[:, None, None, None] / 2, labels


def faults(kind: str, batch: tuple[torch.Tensor, torch.Tensor], options: dict[str, Any], known: Known, rate: float) -> str:
    model = build(kind, inputs=tuple(batch[0].shape[1:]), outputs=4, options=options, seed=0, known=known)
    optimizer = make_optimizer(model.parameters(), Recipe(learning_rate=rate))
    report = isograd.check(model, batch, loss_of("classification"), optimizer, steps=500)
    return "" if report.healthy else str(report)


@pytest.mark.parametrize("length", [4, 64, 200])
@pytest.mark.parametrize("kind", TOKENS)
def test_texts_of_any_length(kind: str, length: int) -> None:
    assert not faults(kind, texts(length), {}, Known(vocabulary=WORDS), 5e-3 if kind == "bag" else 1e-3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {"layers": layers}) for kind in ("rnn", "gru", "lstm") for layers in (2, 3)),
        *((kind, {"units": units}) for kind in ("rnn", "gru", "lstm") for units in (16, 128)),
        *(("transformer", {"layers": layers}) for layers in (1, 6)),
        ("transformer", {"width": 128}),
        ("text-cnn", {"channels": 20}),
        ("bag", {"ngrams": 1}),
        ("bag", {"width": 2}),
    ],
)
def test_deeper_and_wider_readers_of_texts(kind: str, options: dict[str, Any]) -> None:
    assert not faults(kind, texts(40), options, Known(vocabulary=WORDS), 1e-3)


@pytest.mark.parametrize(
    ("kind", "options", "shape"),
    [
        *((kind, {}, (1, 32, 40)) for kind in ("cnn", "resnet", "mobilenet", "crnn", "linear", "mlp")),
        ("mobilenet", {"blocks": 4}, (3, 16, 16)),
        ("mobilenet", {"channels": [8, 16]}, (1, 8, 8)),
        ("crnn", {"channels": [16], "units": 16}, (1, 32, 60)),
    ],
)
def test_pictures_and_sounds(kind: str, options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    assert not faults(kind, pictures(shape), options, Known(), 1e-3)


def rows(features: int = 12, count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (count,), generator=draw)
    x = torch.randn(count, features, generator=draw)
    x[:, 0] += labels
    return x, labels


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(("mlp", {"depth": depth}) for depth in (1, 3, 6, 10)),
        *(("mlp", {"depth": 3, "width": width}) for width in (16, 512)),
        *(("mlp", {"depth": 6, "norm": norm}) for norm in ("batch", "layer")),
        *(("mlp", {"depth": 4, "activation": activation}) for activation in ("tanh", "elu", "selu", "gelu", "silu")),
        ("linear", {}),
    ],
)
def test_tables_of_quantities(kind: str, options: dict[str, Any]) -> None:
    assert not faults(kind, rows(), options, Known(), 1e-3)


@pytest.mark.parametrize("options", [{}, {"blocks": 1}, {"blocks": 6}, {"width": 16}, {"width": 512}, {"bins": 8}])
def test_tables_of_quantities_and_categories(options: dict[str, Any]) -> None:
    x, labels = rows()
    x[:, 11] = torch.arange(len(x)) % 5
    known = Known(numbers=tuple(range(11)), categories=((11, 6),), rows=x)
    assert not faults("tabular", (x, labels), options, known, 2e-3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("cnn", {"convolutions": 3}),
        ("cnn", {"channels": [8, 16]}),
        ("cnn", {"channels": [16, 32, 64, 128]}),
        ("resnet", {"blocks": 4}),
        ("resnet", {"channels": [8, 16]}),
        ("resnet", {"channels": [16, 32, 64, 128], "blocks": 2}),
    ],
)
def test_deeper_and_wider_networks_for_pictures(kind: str, options: dict[str, Any]) -> None:
    assert not faults(kind, pictures((3, 24, 24)), options, Known(), 1e-3)


@pytest.mark.parametrize("kind", ["mobilenet", "crnn", "linear"])
def test_onnx_gives_what_torch_gives_for_pictures_and_sounds(kind: str) -> None:
    batch, _ = pictures((1, 16, 24))
    model = settled(build(kind, inputs=(1, 16, 24), outputs=3, seed=0))
    session = session_of(onnx_bytes(model, batch))
    for count in (32, 1):
        found = session.run(None, {"input": batch[:count].numpy()})[0]
        assert abs(found - model(batch[:count]).detach().numpy()).max() < 1e-5
