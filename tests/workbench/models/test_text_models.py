"""Every family that reads texts: padding changes nothing, order matters where it should, the start is what theory asks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from isograd.errors import ModelError
from isograd.workbench.deploy.exporting import onnx_bytes, settled
from isograd.workbench.deploy.opening import session_of
from isograd.workbench.models import TOKENS, Known, build
from isograd.workbench.models.bag import Bag
from isograd.workbench.models.recurrent import Recurrent

WORDS = 50


def made(kind: str, length: int = 12, **options: object) -> nn.Module:
    return build(kind, inputs=(length,), outputs=3, options=options, seed=0, known=Known(vocabulary=WORDS)).eval()


def ids(*texts: list[int], length: int = 12) -> torch.Tensor:
    return torch.tensor([text + [0] * (length - len(text)) for text in texts])


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in TOKENS),
    ("bag", {"ngrams": 1}),
    ("bag", {"ngrams": 3, "buckets": 7}),
    ("text-cnn", {"kernels": [1, 9], "activation": "tanh"}),
    ("rnn", {"initialisation": "identity", "pool": "last", "directions": "forward"}),
    ("lstm", {"layers": 2, "pool": "mean"}),
    ("gru", {"layers": 2, "pool": "last"}),
]


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_what_follows_the_end_of_a_text_changes_no_answer(kind: str, options: dict[str, Any]) -> None:
    model = made(kind, **options)
    short, long = [5, 6, 7], [9, 8, 7, 6, 5, 4, 3, 2, 10, 11, 12, 13]
    alone = model(ids(short, length=3))
    assert torch.allclose(model(ids(short, long))[0], alone[0], atol=1e-5)
    assert torch.allclose(model(ids(short, length=12)), alone, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_a_text_without_words_or_with_one_has_a_finite_answer_and_gradient(kind: str, options: dict[str, Any]) -> None:
    model = made(kind, **options)
    answers = model(ids([], [7]))
    answers.sum().backward()
    assert answers.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model(ids([7], length=1)).shape == (1, 3)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_padding_is_never_learned(kind: str, options: dict[str, Any]) -> None:
    model: Any = made(kind, **options)
    model(ids([5, 6], [7])).square().sum().backward()
    assert not model.embedding.weight.grad[0].any()


@pytest.mark.parametrize("kind", TOKENS)
def test_the_order_of_words_matters_to_all_but_a_bag_of_single_words(kind: str) -> None:
    one, other = ids([5, 6, 7, 8]), ids([8, 6, 7, 5])
    assert not torch.allclose(made(kind)(one), made(kind)(other), atol=1e-5)
    bag = made("bag", ngrams=1)
    assert torch.allclose(bag(one), bag(other), atol=1e-6)


def test_a_bag_sees_pairs_and_hashes_equal_pairs_to_equal_rows() -> None:
    model: Any = made("bag", buckets=1000)
    seen: list[torch.Tensor] = []
    model.embedding.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(ids([5, 6, 5, 6]))
    pairs = seen[0][0, 12:]
    assert pairs[0] == pairs[2] != pairs[1] and pairs[0] >= WORDS and not pairs[3:].any()


def test_the_sum_of_a_bag_is_as_large_for_long_texts_as_for_short_ones() -> None:
    model = Bag(20_000, 64, ngrams=1, width=32)
    draw = torch.Generator().manual_seed(0)
    short, long = (model(torch.randint(1, 20_000, (400, n), generator=draw)).square().mean() for n in (4, 400))
    assert 0.8 < short / long < 1.25


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_recurrent_weights_start_orthogonal_and_the_forget_gate_open(cell: Any) -> None:
    layer: Any = Recurrent(WORDS, 2, cell, units=16).forwards[0]
    for gate in layer.weight_hh_l0.split(16):
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)
    assert not layer.bias_hh_l0.any()
    forget = torch.zeros_like(layer.bias_ih_l0)
    if cell == "lstm":
        forget[16:32] = 1.0
    assert torch.equal(layer.bias_ih_l0, forget)


def test_an_identity_start_keeps_the_gradient_of_the_first_word_over_200_steps() -> None:
    def reached(**options: object) -> float:
        model: Any = made("rnn", length=200, pool="last", directions="forward", dropout=0.0, **options)
        kept: list[torch.Tensor] = []
        model.embedding.register_forward_hook(lambda module, args, out: (out.retain_grad(), kept.append(out))[0])
        model(torch.randint(1, WORDS, (8, 200), generator=torch.Generator().manual_seed(1))).square().sum().backward()
        norms = kept[0].grad.norm(dim=(0, 2))
        return float(norms[0] / norms[-1])

    assert 0.05 < reached(initialisation="identity") < 20
    assert reached() < 1e-3


@pytest.mark.parametrize("layers", [1, 4, 12])
def test_the_residual_stream_of_a_transformer_does_not_grow_with_depth(layers: int) -> None:
    model: Any = made("transformer", layers=layers)
    sizes: list[float] = []
    model.norm.register_forward_pre_hook(lambda module, args: sizes.append(args[0].detach().square().mean().sqrt().item()))
    model(torch.randint(1, WORDS, (16, 12), generator=torch.Generator().manual_seed(0)))
    assert 1.0 < sizes[0] < 2.0  # sqrt(1 + 1/2) for words and places, and branches whose sum is at most one


def test_attention_of_a_word_goes_to_the_words_that_are_there() -> None:
    model = made("transformer", length=4)
    text = ids([5, 6], length=4)
    before = model(text)
    with torch.no_grad():
        model.get_buffer("places")[2:] += 100.0  # only padding stands there
    assert torch.allclose(model(text), before, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_onnx_gives_what_torch_gives_for_batches_of_any_size(kind: str, options: dict[str, Any]) -> None:
    model = settled(made(kind, **options))
    texts = ids([5, 6, 7], [1], [], list(range(1, 13)))
    session = session_of(onnx_bytes(model, texts))
    for count in (4, 1, 3):
        found = session.run(None, {"input": texts[:count].numpy()})[0]
        assert abs(found - model(texts[:count]).detach().numpy()).max() < 1e-5


def test_a_family_for_texts_refuses_what_is_no_text() -> None:
    with pytest.raises(ModelError, match="sequences of tokens"):
        build("lstm", inputs=(12,), outputs=2, seed=0)
    with pytest.raises(ModelError, match="quantities"):
        build("mlp", inputs=(12,), outputs=2, seed=0, known=Known(vocabulary=WORDS))
    with pytest.raises(ModelError, match="multiple of its heads"):
        made("transformer", width=30, heads=4)


@pytest.mark.parametrize("kind", TOKENS)
def test_each_family_learns_which_of_two_words_a_text_holds(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    texts = torch.randint(5, WORDS, (64, 12), generator=draw)
    labels = torch.arange(64) % 2
    texts[torch.arange(64), torch.randint(0, 12, (64,), generator=draw)] = labels + 2
    model = made(kind, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    loss = torch.tensor(math.inf)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(texts), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
