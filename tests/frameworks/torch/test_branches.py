"""Edits of residual networks: branches that begin at zero, normalisation before them."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from torch_patients import outputs, patient_of, same, weights

from isograd.errors import ModelError
from isograd.records.edit import Edit

IMAGES = torch.randn(4, 4, 6, 6, generator=torch.Generator().manual_seed(1)), torch.randint(0, 3, (4,))
TEXT = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1)), torch.randint(0, 3, (4,))
TABLE = torch.randn(12, 8, generator=torch.Generator().manual_seed(1)), torch.randint(0, 3, (12,))


class Block(nn.Module):
    """conv, norm, relu, conv, norm, added to its input or to a projection of it."""

    def __init__(self, project=False):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.project = nn.Conv2d(4, 4, 1) if project else None

    def forward(self, x):
        y = self.second(self.b(F.relu(self.first(self.a(x)))))
        return F.relu((x if self.project is None else self.project(x)) + y)


def images(*blocks):
    return patient_of(nn.Sequential(*blocks, nn.Flatten(), nn.Linear(144, 3)), batch=IMAGES)[0]


def test_the_last_normalisation_of_each_branch_begins_at_zero_and_the_rest_stays():
    before = images(Block(), Block())
    after = before.apply(Edit("initialisation", "zero_residual"))
    for (name, old), new in zip(before.models[0].named_parameters(), after.models[0].parameters(), strict=True):
        assert torch.equal(new, torch.zeros_like(new) if ".second." in name else old)
    assert torch.equal(before.models[0][0].first.running_mean, after.models[0][0].first.running_mean)
    x = F.relu(IMAGES[0])
    assert torch.equal(after.models[0][:2](x), x)  # nothing but the skip paths
    learned = after.trained([IMAGES], 2)
    assert not torch.equal(learned.models[0][0].a.weight, after.models[0][0].a.weight)


def test_a_block_with_a_projection_has_no_path_that_keeps_its_input():
    edited = images(Block(project=True), Block()).apply(Edit("initialisation", "zero_residual")).models[0]
    assert edited[0].second.weight.any() and not edited[1].second.weight.any()


class Plain(nn.Module):
    """Two layers with a ReLU between, added to the input."""

    def __init__(self, last=None):
        super().__init__()
        self.a, self.b, self.last = nn.Linear(8, 16), nn.Linear(16, 8), last or nn.Identity()

    def forward(self, x):
        return x + self.last(self.b(F.relu(self.a(x))))


def table(*blocks):
    return patient_of(nn.Sequential(nn.Linear(8, 8), *blocks, nn.Linear(8, 3)), batch=TABLE)[0]


def test_paths_that_an_edit_puts_in_begin_at_nothing_too_so_that_depth_and_dead_weights_no_longer_matter():
    hidden = [part for _ in range(30) for part in (nn.Linear(6, 6), nn.ReLU())]
    plain = patient_of(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), *hidden, nn.Linear(6, 3)), batch=TABLE)[0]
    with torch.no_grad():
        for parameter in plain.models[0].parameters():
            parameter.zero_()
    edited = plain.apply(Edit("residual")).apply(Edit("initialisation", "fixup"))
    first, *others = (layer for layer in edited.models[0] if isinstance(layer, nn.Linear))
    assert first.weight.all() and not any(layer.weight.any() for layer in others)
    assert torch.equal(edited.models[0][:-1](TABLE[0]), edited.models[0][:2](TABLE[0])), "nothing but the paths in between"
    after = edited.trained([TABLE], 3)
    assert all(bool(layer.weight.any()) for layer in after.models[0] if isinstance(layer, nn.Linear)), "and all of it learns"


def test_fixup_scales_the_first_layers_by_the_number_of_branches_and_zeroes_the_last():
    network = table(*(Plain() for _ in range(4)))
    he = network.apply(Edit("initialisation", "he")).models[0]
    after = network.apply(Edit("initialisation", "fixup")).models[0]
    assert torch.equal(after[0].weight, he[0].weight) and not after[5].weight.any()
    for at in (1, 2, 3, 4):
        assert torch.allclose(after[at].a.weight, he[at].a.weight * 4**-0.5) and not after[at].b.weight.any()


def test_fixup_scales_longer_branches_less():
    longer = [Plain(nn.Sequential(nn.ReLU(), nn.Linear(8, 8))) for _ in range(3)]
    network = table(*longer)
    he, after = (network.apply(Edit("initialisation", rule)).models[0] for rule in ("he", "fixup"))
    for at in (1, 2, 3):
        assert torch.allclose(after[at].b.weight, he[at].b.weight * 3**-0.25) and not after[at].last[1].weight.any()


def test_a_branch_whose_end_is_not_zero_at_zero_is_refused_and_so_is_a_network_without_any():
    with pytest.raises(ModelError, match="not zero at zero"):
        table(Plain(nn.Sigmoid())).apply(Edit("initialisation", "zero_residual"))
    with pytest.raises(ModelError, match="no residual branch"):
        table(nn.ReLU()).apply(Edit("initialisation", "zero_residual"))
    assert not table(Plain(nn.Tanh())).apply(Edit("initialisation", "zero_residual")).models[0][1].b.weight.any()


class Attending(nn.Module):
    """A transformer block written by hand, normalised behind its branches; ``first``: before them."""

    def __init__(self, first=False):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.q, self.out, self.first = nn.Linear(8, 16), nn.Linear(16, 8), first
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])

    def feed(self, x):
        return self.out(F.gelu(self.q(x)))

    def forward(self, x):
        if self.first:
            y = self.norms[0](x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return x + self.feed(self.norms[1](x))
        x = self.norms[0](x + self.attention(x, x, x, need_weights=False)[0])
        return self.norms[1](x + self.feed(x))


class Reader(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks, self.head = nn.ModuleList(blocks), nn.Linear(8, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def reading(*blocks):
    return patient_of(Reader(blocks), batch=TEXT)[0]


def test_a_block_written_by_hand_is_turned_round_into_what_one_would_write():
    before = reading(Attending(), Attending())
    after = before.apply(Edit("norm_first"))
    wanted = before.copy()
    for block in wanted.models[0].blocks:
        block.first = True
    assert torch.allclose(outputs(after, TEXT[0]), outputs(wanted, TEXT[0]), atol=1e-6)
    assert not torch.allclose(outputs(after, TEXT[0]), outputs(before, TEXT[0]), atol=1e-3)
    learned, expected = after.trained([TEXT], 3), wanted.trained([TEXT], 3)  # hooks follow the copies
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weights(learned), weights(expected), strict=True))
    back = after.apply(Edit("norm_first").inverse)
    assert same(back.trained([TEXT], 2), before.trained([TEXT], 2))


def test_torchs_own_transformer_layers_have_a_switch():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    before = reading(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    after = before.apply(Edit("norm_first"))
    assert [one.norm_first for one in after.models[0].blocks[0].layers] == [True, True] and not layer.norm_first
    assert same(after.apply(Edit("norm_first", "off")).trained([TEXT], 2), before.trained([TEXT], 2))
    zero = before.apply(Edit("initialisation", "zero_residual")).models[0].blocks[0].layers[0]
    assert not zero.self_attn.out_proj.weight.any() and not zero.linear2.weight.any() and zero.linear1.weight.any()


class Tapped(Attending):
    """The first sum is read by another as well, and the second branch by a function."""

    def forward(self, x):
        total = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.norms[0](total)
        return self.norms[1](x + self.out(F.gelu(self.q(2.0 * x)))) + total


class ByFunction(nn.Module):
    """The branch reads the skip through a function, beside a layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(x + self.b(self.a(x) * torch.tanh(x)))


def test_where_not_all_is_seen_a_block_stays():
    for block in (Tapped(), ByFunction(), Attending(first=True)):
        with pytest.raises(ModelError, match="with certainty"):
            reading(block).apply(Edit("norm_first"))
    with pytest.raises(ModelError, match="by a switch"):
        reading(Attending()).apply(Edit("norm_first", "off"))
