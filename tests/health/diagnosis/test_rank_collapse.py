"""Rank collapse: the signal is lost on the way forward, and an alarm only where training does not bring it back."""

import math

import pytest
from bodies import ADAM, body

from isograd.health.case import case_of
from isograd.health.diagnosis import rank_collapse
from isograd.records.anatomy import Node
from isograd.records.batch import LossSample
from isograd.records.moments import Gram
from isograd.records.trace import LayerSample, Meter, Step, Trace


def alike(difference, examples=8):
    """Examples of length 1 with a common direction: this part of their output differs."""
    inside, outside = 1.0, 1.0 - difference**2 * examples / (examples - 1)
    return Gram(examples, tuple(inside if i == j else outside for i in range(examples) for j in range(examples)))


def look(index, differences, loss, floor=2.3):
    layers = tuple(LayerSample(f"a{i}", examples=8, gram=alike(d)) for i, d in enumerate(differences))
    return Step(index, loss, layers=layers, losses=(LossSample("cross_entropy", value=loss, floor=floor, target_shape=(64,)),))


def found(differences, losses, *, floor=2.3, steps=400, ended=True, anatomy=None, planned=None):
    """``differences`` and ``losses``: functions of the share of the run that is over."""
    anatomy = anatomy or body(4, function="sigmoid", optimizer=ADAM)
    at = sorted({1, 2, *range(steps // 20, steps + 1, max(1, steps // 20))})
    taken = tuple(look(i, differences(i / steps), losses(i / steps), floor) for i in at)
    trace = Trace(anatomy, (), taken, planned or steps, Meter(steps=steps), ended)
    return list(rank_collapse.diagnose(case_of(trace)))


def at_the_floor(share):
    return 2.3 + 0.01 * math.sin(1000 * share)


def lost(share):
    return (0.3, 0.01, 4e-4)


def test_examples_that_stay_alike_while_the_loss_stays_at_its_floor_are_told_with_the_first_place():
    (finding,) = found(lost, at_the_floor)
    assert (finding.severity, finding.where) == ("critical", "a1")
    assert "Examples look alike to l3" in finding.summary and finding.layers == ("a1", "a2")
    assert finding.evidence[0].value == pytest.approx(4e-4, rel=1e-3) and finding.evidence[0].bound == pytest.approx(0.05)


def test_a_network_that_learns_all_the_same_is_no_patient():
    assert found(lost, lambda share: 2.3 * (1.0 - 0.9 * share)) == []


def test_where_nobody_knows_what_a_constant_answer_gets_there_is_no_alarm():
    assert [f.severity for f in found(lost, at_the_floor, floor=None)] in ([], ["note"])


def test_a_difference_that_comes_back_is_given_time():
    def growing(share):
        return (0.3, 0.01, 4e-4 * 10**share)

    assert [f.severity for f in found(growing, at_the_floor)] in ([], ["note"])


def test_examples_that_differ_enough_are_healthy_whatever_the_loss_does():
    assert found(lambda share: (0.9, 0.7, 0.5), at_the_floor) == []
    assert found(lambda share: (0.9, 1e-3, 0.5), at_the_floor) == []  # what the last layer reads is what counts


def test_a_short_look_gives_a_remark_and_no_alarm():
    (finding,) = found(lost, at_the_floor, steps=6)
    assert finding.severity == "note" and "At the start" in finding.summary
    (finding,) = found(lost, at_the_floor, steps=60, ended=False, planned=1000)
    assert finding.severity == "note"


def test_a_run_that_spent_half_of_its_steps_to_find_the_signal_and_ended_poor_is_told():
    def back(share):
        return (0.3, 0.1, 1e-4 if share < 0.6 else 0.5)

    def falling(share):
        return 2.3 if share < 0.6 else 2.3 - 1.5 * (share - 0.6)

    (finding,) = found(back, falling)
    assert finding.severity == "warning" and "taught it nothing" in finding.summary
    assert found(back, lambda share: 2.3 if share < 0.6 else 0.1) == []  # it made it


def test_behind_a_batch_normalisation_a_small_difference_is_large_again():
    anatomy = body(4, function="sigmoid")
    nodes = list(anatomy.nodes)
    norm = Node("norm", "norm", "BatchNorm1d", (len(nodes) - 2,), settings=(("kind", "batch"),))
    head = nodes[-1]
    nodes[-1:] = [norm, Node("l3", "linear", "Linear", (len(nodes) - 1,), (64,), head.settings, head.parameters)]
    anatomy = type(anatomy)("reference", tuple(nodes), anatomy.parameters, anatomy.optimizer)
    assert found(lost, at_the_floor, anatomy=anatomy) == []


@pytest.mark.parametrize("skip", [False, True])
def test_real_attention_without_residual_paths_makes_all_positions_equal(skip):
    torch = pytest.importorskip("torch")
    from torch import nn

    import isograd

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 3)
            self.layers = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(8))

        def forward(self, tokens):
            x = self.embed(tokens)
            for layer in self.layers:
                x = layer(x, x, x, need_weights=False)[0] + (x if skip else 0.0)
            return self.head(x[:, 0])

    torch.manual_seed(0)
    tokens = torch.randint(0, 20, (512, 12))
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for step in range(60):
            rows = tokens[step * 8 : step * 8 + 8]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(rows), rows[:, 0] % 3).backward()
            optimizer.step()
    said = {finding.disease for finding in watch.report().findings if finding.alarm}
    assert ("rank_collapse" in said) == (not skip)


@pytest.mark.parametrize("kind", ["plain", "skip", "laid out"])
def test_real_attention_before_a_pool_is_told_where_its_positions_wear_away_and_not_where_one_vector_is_laid_out(kind):
    torch = pytest.importorskip("torch")
    from torch import nn

    import isograd

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(8, 24), nn.Linear(24, 10)
            self.mix = nn.ModuleList(nn.Linear(24, 24) for _ in range(8))

        def forward(self, x):
            x = self.embed(x)
            x = x.mean(1, keepdim=True).expand_as(x) if kind == "laid out" else x
            for layer in self.mix:
                new = nn.functional.scaled_dot_product_attention(layer(x), x, layer(x))
                x = x + new if kind == "skip" else new
            return self.head(x.mean(1))

    torch.manual_seed(0)
    x = torch.randn(512, 8, 8)
    y = x[:, :, 0].argmax(1)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isograd.watch(model, optimizer, budget=None) as watch:
        for step in range(120):
            rows = slice(step % 8 * 64, step % 8 * 64 + 64)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    said = {finding.disease for finding in watch.report().findings if finding.alarm and "over-smoothing" in finding.summary}
    assert ("rank_collapse" in said) == (kind == "plain")
