"""The benchmarks of deep plain networks and of what is called proven count what they say they count."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
deep_plain = pytest.importorskip("deep_plain")
proven = pytest.importorskip("proven")


@pytest.mark.parametrize("family", deep_plain.DEPTHS)
def test_a_plain_network_has_the_layers_that_its_case_says_and_no_help(family):
    case = next(one for one in deep_plain.GRID if one.family == family)
    net = deep_plain.network(case)
    kinds = {"mlp": torch.nn.Linear, "cnn": torch.nn.Conv2d | torch.nn.Linear, "rnn": torch.nn.RNN}
    layers = [module for module in net.modules() if isinstance(module, kinds[family])]
    assert len(layers) == (1 if family == "rnn" else case.depth)
    x = deep_plain.data(case)[0][0][0]
    assert net(x).shape == (32, 2 if family == "rnn" else 3) and (family != "rnn" or x.shape[1] == case.depth)


def test_every_bad_start_changes_the_weights_but_the_one_of_torch():
    case = deep_plain.GRID[0]
    for start in deep_plain.STARTS:
        torch.manual_seed(0)
        plain = [p.clone() for p in deep_plain.network(case).parameters()]
        torch.manual_seed(0)
        changed = list(deep_plain.spoiled(deep_plain.network(case), start).parameters())
        same = all(torch.equal(one, other) for one, other in zip(plain, changed, strict=True))
        assert same == (start == "as torch draws")


def row(**changes):
    usual = {"family": "mlp", "depth": 10, "curve": "relu", "start": "zeros", "verdict": "proven", "in_place": False}
    return usual | {"healthy": [0.8], "before": [0.0], "after": [0.77]} | changes


def test_parity_is_counted_where_the_healthy_network_learns():
    told = deep_plain.figures([row(), row(after=[0.7]), row(before=[0.8], after=[0.8]), row(healthy=[0.1])])
    assert told["healthy_fails"] == 1
    assert (told["all"]["cases"], told["all"]["parity_before"], told["all"]["parity_after"]) == (3, 1, 2)


def test_the_bound_is_that_of_a_binomial_share():
    assert proven.bound(0, 150) == pytest.approx(1.0 - 0.05 ** (1 / 150))
    assert proven.bound(1, 150) > proven.bound(0, 150) and proven.bound(2, 2) == 1.0


def test_proven_edits_that_are_no_better_on_fresh_seeds_are_counted_and_named():
    usual = {"edit": ["clip_norm", 1.0], "verdict": "proven", "runs": 15.0}
    rows = [usual | {"number": number, "fresh": [value]} for number, value in enumerate((0.3, 0.01, -0.1))]
    told = proven.figures([*rows, {"number": 9, "edit": ["residual", None], "verdict": "harmful", "runs": 12.0}])
    assert (told["edits"], told["proven"], told["not_better_on_fresh_seeds"], told["below_0.02"]) == (4, 3, 1, 2)
    assert told["which"] == ["2: ['clip_norm', 1.0]"] and told["verdicts"]["harmful"] == 1
