"""States that are kept, loaded and made trainable again in a loop: what is lost on the way is told, what is sound is not."""

import copy

import pytest
from bodies import SGD

from isograd.health.case import Case
from isograd.health.diagnosis import frozen_layers, weights_reset, wrong_mode
from isograd.records.anatomy import Anatomy, Node, Parameter
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import LossSample, Step

MINE = {"weights_reset", "optimizer_misses_parameters", "wrong_mode", "frozen_layers"}


def trained(digits, kind):
    """Alarms of a training on digits with a batch norm, whose trunk is frozen at first or whose state is loaded."""
    import torch
    from torch import nn

    import isograd

    x, y = digits
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(64)
    model = nn.Sequential(norm, nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    with torch.no_grad():
        model[1].weight.mul_(1.3)  # as if it had been trained
        model[3].weight.mul_(1.3)
    if "statistics" in kind:
        x = 30.0 * x + 50.0
    if kind == "statistics loaded":
        norm.running_mean.copy_(x.mean(0))
        norm.running_var.copy_(x.var(0) + 1.0)
    thaws = kind.startswith("thawed")
    if thaws or kind == "trunk":
        for parameter in model[1].parameters():
            parameter.requires_grad_(kind == "trunk")
        optimizer = torch.optim.SGD(model[3:].parameters(), lr=0.05)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    if kind == "before the training":
        model.load_state_dict(model.state_dict())
    draw = torch.Generator().manual_seed(0)
    with isograd.watch(model, optimizer, budget=None, steps=80) as watch:
        for step in range(80):
            model.train()
            if "statistics" in kind:
                norm.eval()
            if thaws and step == 30:
                model[1].requires_grad_(True)
                if kind == "thawed and added":
                    optimizer.add_param_group({"params": model[1].parameters()})
            rows = torch.randint(0, 1400, (64,), generator=draw)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            if step == 40 and kind in ("kept by reference", "copied", "other weights in it"):
                kept = model.state_dict()
                if kind == "copied":
                    kept = copy.deepcopy(kept)
        if kind == "other weights in it":
            kept["1.weight"] = kept["1.weight"].clone()
        if kind in ("kept by reference", "copied", "other weights in it"):
            model.load_state_dict(kept)
    return [one for one in watch.report().findings if one.alarm and one.disease in MINE]


@pytest.mark.parametrize(
    ("kind", "disease", "said"),
    [
        ("kept by reference", "weights_reset", "without a copy"),
        ("thawed", "optimizer_misses_parameters", "made trainable in the loop"),
        ("statistics not loaded", "wrong_mode", "nothing is normalised"),
    ],
)
def test_what_is_lost_on_the_way_is_told(digits, kind, disease, said):
    first = trained(digits, kind)[0]
    assert first.disease == disease and said in first.summary
    assert kind != "kept by reference" or "test_resuming.py:" in first.source


@pytest.mark.parametrize(
    "kind", ["copied", "other weights in it", "before the training", "thawed and added", "trunk", "statistics loaded"]
)
def test_what_is_sound_is_left_in_peace(digits, kind):
    assert trained(digits, kind) == []


def test_the_wrappers_around_states_are_gone_after_the_watch(digits):
    from torch import nn

    before = nn.Module.load_state_dict, nn.Module.state_dict
    trained(digits, "copied")
    assert (nn.Module.load_state_dict, nn.Module.state_dict) == before


def test_a_state_that_is_loaded_before_anything_was_learned_is_no_loss():
    steps = (Step(2, 1.0, facts=(Fact("loaded_itself", settings=(("count", 4),)),)),)
    assert list(weights_reset.diagnose(Case(Anatomy("torch", (), ()), steps=steps, taken=50))) == []


def test_a_loss_that_leaves_the_numbers_is_not_laid_to_statistics_that_are_good():
    for fresh, severity in ((False, "note"), (True, "warning")):
        told = Fact("evaluation_mode", "", settings=(("kinds", "BatchNorm2d"), ("fresh", fresh)))
        steps = tuple(Step(index, loss, facts=(told,)) for index, loss in enumerate((1.0, float("nan"), 1.0), 1))
        (finding,) = wrong_mode.diagnose(Case(Anatomy("torch", (), ()), steps=steps, taken=3, ended=True))
        assert finding.severity == severity


def unmeasured(scale=1.0, bias=0.0, *, trainable=True, known=True):
    """A batch norm that runs on statistics of 0 and 1, of such scales, under a loss that is no better than a constant's."""
    told = Fact("evaluation_mode", "n", settings=(("kinds", "BatchNorm1d"), ("fresh", True), ("alone", True)))
    own = (
        Parameter("n.weight", "n", (8,), trainable, True, Moments.of([scale] * 8)),
        Parameter("n.bias", "n", (8,), trainable, True, Moments.of([bias] * 8)),
    )
    loss = (LossSample("cross_entropy", value=0.69, floor=0.69, classes=(50, 50), answers=(50, 50), hits=50),) if known else ()
    steps = tuple(Step(index, 0.69, losses=loss, facts=(told,)) for index in range(1, 20))
    (finding,) = wrong_mode.diagnose(Case(Anatomy("torch", (), own), steps=steps, taken=19, ended=True))
    return finding.severity


def test_a_norm_that_runs_unmeasured_is_an_alarm_where_nothing_else_can_be_meant():
    assert unmeasured() == "warning"
    assert unmeasured(known=False) == "note"  # how good the answers are cannot be known
    assert unmeasured(scale=0.7) == unmeasured(bias=0.2) == "note"  # the statistics may be folded into these
    assert unmeasured(trainable=False) == "note"  # a random yardstick


def frozen_table(scales):
    """A frozen table of embeddings as torch draws it, and a norm with these scales in front of a layer that is trained."""
    drawn = Moments.from_sums(6400, 0.0, 6400.0, 4.0)
    layer = Moments.from_sums(640, 0.0, 640 / 300.0, 0.0999)
    parameters = (
        Parameter("table.weight", "table", (100, 64), False, False, drawn),
        Parameter("norm.weight", "norm", (64,), True, True, Moments.of(scales)),
        Parameter("head.weight", "head", (10, 64), True, True, layer),
    )
    nodes = (
        Node("table", "embedding", "Embedding", (), (64,), (), ("table.weight",)),
        Node("norm", "norm", "LayerNorm", (0,), (64,), (), ("norm.weight",)),
        Node("head", "linear", "Linear", (1,), (10,), (("fan_in", 64),), ("head.weight",)),
    )
    return [one.severity for one in frozen_layers.diagnose(Case(Anatomy("torch", nodes, parameters, SGD)))]


def test_a_frozen_table_of_a_network_that_was_trained_is_not_called_new():
    assert frozen_table([1.0] * 64) == ["warning"]
    assert frozen_table([1.0, 1.1] * 32) == ["note"]
