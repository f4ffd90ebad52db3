"""How an attention spreads is what its own weights say, for fused calls, torch's module, and attention written by hand."""

import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from torch_loops import fingerprint

from isograd.frameworks.torch import attention
from isograd.frameworks.torch.recorder import TorchRecorder

B, HEADS, T, WIDE = 2, 2, 6, 8


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def expected(weights):
    """Mean and lowest head of the normalised entropy over the keys that a row may look at, from the weights (b, h, q, k)."""
    rows = {}
    for (_, head, _), row in zip(
        ((b, h, q) for b in range(weights.shape[0]) for h in range(weights.shape[1]) for q in range(weights.shape[2])),
        weights.flatten(0, 2).tolist(),
        strict=True,
    ):
        seen = [p for p in row if p > 0.0]
        if len(seen) > 1:
            rows.setdefault(head, []).append(-sum(p * math.log(p) for p in seen) / math.log(len(seen)))
    everything = [value for values in rows.values() for value in values]
    return len(everything), sum(everything) / len(everything), min(sum(v) / len(v) for v in rows.values())


def agrees(found, weights):
    rows, mean, lowest = expected(weights)
    assert found.rows == rows
    assert found.mean == pytest.approx(mean, rel=1e-5) and found.lowest == pytest.approx(lowest, rel=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_a_module_spreads_as_the_weights_that_it_returns(causal, batch_first, padded):
    net = nn.MultiheadAttention(WIDE, HEADS, batch_first=batch_first)
    with torch.no_grad():
        net.in_proj_bias.normal_()
    x = torch.randn(B, T, WIDE) if batch_first else torch.randn(T, B, WIDE)
    kwargs = {"attn_mask": torch.ones(T, T, dtype=torch.bool).triu(1)} if causal else {}
    kwargs |= {"key_padding_mask": torch.tensor([[False] * T, [False] * (T - 2) + [True] * 2])} if padded else {}
    weights = net(x, x, x, average_attn_weights=False, **kwargs)[1]
    agrees(attention.of_module(net, (x, x, x), kwargs), weights)


def test_keys_of_another_width_and_a_single_sequence_are_taken():
    net = nn.MultiheadAttention(WIDE, HEADS, kdim=5, vdim=5, batch_first=True)
    q, k = torch.randn(B, T, WIDE), torch.randn(B, 9, 5)
    agrees(attention.of_module(net, (q, k, k), {}), net(q, k, k, average_attn_weights=False)[1])
    weights = net(q[0], k[0], k[0], average_attn_weights=False)[1]
    agrees(attention.of_module(net, (q[0], k[0], k[0]), {}), weights[None])


def weights_of(q, k, mask=None):
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(logits if mask is None else logits.masked_fill(~mask, -math.inf), -1)


def test_a_fused_call_spreads_as_its_formula_says_and_a_causal_row_is_counted_over_its_own_keys():
    q, k = torch.randn(B, HEADS, T, 4), torch.randn(B, HEADS, T, 4)
    lower = torch.ones(T, T, dtype=torch.bool).tril()
    agrees(attention.of_fused((q, k, k), {}), weights_of(q, k))
    agrees(attention.of_fused((q, k, k), {"is_causal": True}), weights_of(q, k, lower))
    agrees(attention.of_fused((q, k, k, lower[None, None].expand(B, 1, T, T)), {}), weights_of(q, k, lower))
    added = torch.zeros(T, T).masked_fill(~lower, -1e9)
    agrees(attention.of_fused((q, k, k, added), {}), weights_of(q, k, lower))
    flat = attention.of_fused((0 * q, k, k), {"is_causal": True})
    assert flat.mean == pytest.approx(1.0) and flat.rows == B * HEADS * (T - 1)  # the first query has one key


def test_grouped_queries_share_their_keys():
    q, k = torch.randn(B, 4, T, 4), torch.randn(B, 2, T, 4)
    agrees(attention.of_fused((q, k, k), {"enable_gqa": True}), weights_of(q, k.repeat_interleave(2, 1)))


def test_a_hundredfold_logit_looks_at_one_key():
    q, k = 100 * torch.randn(B, HEADS, T, 4), 10 * torch.randn(B, HEADS, T, 4)
    found = attention.of_fused((q, k, k), {})
    logits = q @ k.transpose(-1, -2) / 2
    assert found.mean < 0.05 and found.logit == pytest.approx(float(logits.abs().max()), rel=1e-5)


def test_written_by_hand_it_is_one_where_two_batches_of_matrices_were_multiplied():
    q = torch.randn(B, HEADS, T, 4, requires_grad=True)
    k = torch.randn(B, HEADS, T, 4, requires_grad=True)
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    logits = (q @ k.transpose(-2, -1) / 2.0).masked_fill(~mask, -1e9)
    agrees(attention.of_softmax(logits, -1), weights_of(q.detach(), k.detach(), mask))
    agrees(attention.of_softmax(torch.einsum("bhqd,bhkd->bhqk", q, k) * 0.5, 3), weights_of(q.detach(), k.detach()))


def test_a_softmax_over_the_classes_of_a_linear_layer_is_none():
    head, x = nn.Linear(WIDE, 5), torch.randn(B, T, WIDE, requires_grad=True)
    assert attention.of_softmax(head(x), -1) is None
    assert attention.of_softmax(nn.Linear(WIDE, 5, bias=False)(x), -1) is None
    assert attention.of_softmax(x @ x.transpose(1, 2), 1) is None  # over the queries
    assert attention.of_softmax(x.detach() @ x.detach().transpose(1, 2), -1) is None  # nothing says where it came from


class Own(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.head = kind, nn.Linear(WIDE, 3)
        if kind == "module":
            self.attend = nn.TransformerEncoderLayer(WIDE, HEADS, 16, dropout=0.1, batch_first=True)
        else:
            self.qkv, self.soft = nn.Linear(WIDE, 3 * WIDE), nn.Softmax(dim=-1)

    def forward(self, x):
        if self.kind == "module":
            return self.head(self.attend(x).mean(1))
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        if self.kind == "fused":
            x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.kind == "leaf":
            x = self.soft(q @ k.mT / 2) @ v
        else:
            x = F.softmax(q @ k.mT / 2, dim=-1) @ v
        return self.head(x.transpose(1, 2).flatten(2).mean(1))


def run(kind, watch, autocast=False):
    torch.manual_seed(1)
    net, x, y = Own(kind), torch.randn(4, T, WIDE), torch.randint(0, 3, (4,))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    recorder = TorchRecorder([net], [optimizer], budget=None)
    if watch:
        recorder.attach()
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    if watch:
        recorder.detach()
        assert recorder.stopped_by is None
    return fingerprint(net, [optimizer]), recorder


@pytest.mark.parametrize(
    ("kind", "where"),
    [("module", "attend.self_attn"), ("fused", "scaled_dot_product_attention"), ("leaf", "soft"), ("hand", "softmax")],
)
@pytest.mark.parametrize("autocast", [False, True])
def test_a_watched_loop_has_it_at_its_place_and_ends_with_the_same_bits(kind, where, autocast):
    plain, _ = run(kind, False, autocast)
    seen, recorder = run(kind, True, autocast)
    assert all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in zip(plain, seen, strict=True))
    for step in recorder.trace().steps:
        (found,) = (sample for sample in step.layers if sample.attention is not None)
        assert found.where == where and 0.0 < found.attention.mean <= 1.0
        assert found.attention.rows == (2 * HEADS * (T - 1) if kind == "fused" else 2 * HEADS * T)
