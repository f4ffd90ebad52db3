"""Plateau: said when nothing was learned, and not of a hard problem of which a little was."""

import math
import random

import pytest
from lessons import classes, numbers, training

from isograd.health.diagnosis import plateau
from isograd.records.batch import LossSample


def found(case):
    return list(plateau.diagnose(case))


@pytest.mark.parametrize("rows", [16, 64, 256])
def test_a_network_that_pays_what_a_constant_pays_has_learned_nothing(rows):
    (finding,) = found(training(lambda t: classes(t, rows=rows)))
    assert finding.severity == "critical" and finding.where == "loss" and "learned nothing" in finding.summary
    assert finding.source == "train.py:9"


def test_worse_than_a_constant_is_said_as_such():
    (finding,) = found(training(lambda t: classes(t, value=5.0)))
    assert "% above" in finding.summary


def test_a_regression_whose_outputs_are_noise_has_learned_nothing():
    assert found(training(lambda t: numbers(t, stray=0.2)))


def test_a_hard_problem_of_which_a_tenth_is_explained_is_no_plateau():
    assert found(training(lambda t: numbers(t, explained=0.1))) == []


def test_outputs_that_follow_the_targets_and_are_too_large_are_no_plateau():
    """Of 6 % that are explained, outputs twice their size pay what a constant pays; the correlation shows it, not the loss."""
    assert found(training(lambda t: numbers(t, rows=512, explained=0.06, slope=1.95))) == []
    assert found(
        training(lambda t: numbers(t, rows=512, explained=0.06, slope=2.5))
    )  # worse than a constant, whatever they follow


def test_a_coin_that_is_known_a_little_is_no_plateau():
    """56 of 100 right where 50 is chance: the loss is only 0.7 % below log 2, and that is all that the hits are worth."""
    allowed = -0.56 * math.log(0.56) - 0.44 * math.log(0.44)
    draw = random.Random(1)
    assert found(training(lambda t: classes(t, kinds=2, right=0.12, value=allowed + draw.gauss(0.0, 0.01)))) == []


def test_rare_classes_are_judged_by_the_loss_and_not_by_the_hits():
    shares = [0.95, 0.05]
    entropy = -0.95 * math.log(0.95) - 0.05 * math.log(0.05)
    draw = random.Random(1)
    case = training(lambda t: classes(t, kinds=2, shares=shares, answer=0, value=0.8 * entropy + draw.gauss(0.0, 0.02)))
    assert found(case) == []


def test_a_short_run_is_not_judged():
    assert found(training(classes, steps=40)) == []


def test_while_the_run_goes_on_a_warning_comes_late_and_only_where_nothing_falls():
    assert found(training(classes, planned=1000, ended=False)) == []
    (finding,) = found(training(classes, planned=400, ended=False))
    assert finding.severity == "warning"
    falling = training(lambda t: classes(t, value=1.5 - 1e-4 * t), planned=400, ended=False)
    assert found(falling) == []


def test_one_value_for_all_examples_is_called_a_collapse_and_not_said_twice():
    assert found(training(lambda t: classes(t, answer=2))) == []


def test_a_loss_of_unknown_floor_that_never_moved_is_a_warning():
    draw = random.Random(0)
    (finding,) = found(training(lambda t: LossSample("", value=1.0 + draw.gauss(0.0, 0.02))))
    assert finding.severity == "warning"
    assert found(training(lambda t: LossSample("", value=1.0 + draw.gauss(0.0, 1.0)))) == []
    assert found(training(lambda t: LossSample("", value=0.9 + 0.1 * math.exp(-t / 50)))) == []


def test_a_loss_that_is_zero_from_the_start_is_not_judged():
    assert found(training(lambda t: LossSample("mse_loss", value=0.0, floor=0.0))) == []


def test_one_of_two_losses_that_learns_is_enough():
    case = training(lambda t: (classes(t), numbers(t, explained=0.5)))
    assert found(case) == []
    assert found(training(lambda t: (classes(t), numbers(t, outputs=0.0))))


def test_a_real_network_with_shuffled_labels_is_on_a_plateau(digits, train, mlp):
    import torch

    def blind():
        class Noise(torch.nn.Module):
            def forward(self, x):
                return torch.randn(x.shape)

        return torch.nn.Sequential(Noise(), mlp(3, torch.nn.ReLU))

    report, accuracy = train(blind, lambda p: torch.optim.Adam(p, lr=1e-3), steps=120)
    assert accuracy < 0.2
    assert {"plateau", "collapse"} & {finding.disease for finding in report.findings}


def test_a_real_network_that_learns_is_not(train, mlp):
    import torch

    report, accuracy = train(lambda: mlp(3, torch.nn.ReLU), lambda p: torch.optim.Adam(p, lr=1e-3), steps=120)
    assert accuracy > 0.8
    assert report.healthy


def test_a_divergence_beside_the_loss_is_no_plateau():
    """A variational autoencoder: sampled outputs at first, looked at only then; the sum that is stepped has fallen since."""

    def early(t):
        return numbers(t, stray=0.5) if t <= 100 else ()

    assert found(training(early, 500, total=lambda t: 15.0 * math.exp(-t / 100) + 2.0 + 0.1 * math.sin(t))) == []


def test_a_fraction_of_a_percent_beyond_noise_is_something_learned():
    """Labels so noisy that the best network is right 53 times of 100."""
    draw = random.Random(4)
    case = training(lambda t: classes(t, kinds=2, rows=512, value=0.997 * math.log(2) + draw.gauss(0.0, 0.002)), 500)
    assert found(case) == []


def test_two_networks_that_play_against_each_other_stand_still_and_were_looked_at_but_once():
    draw = random.Random(0)

    def asked(label, line):
        function = "binary_cross_entropy_with_logits"
        return LossSample(function, source=f"gan.py:{line}", value=0.69, floor=0.0, target_range=(label, label))

    def once(t):
        return (asked(1.0, 4), asked(0.0, 5)) if t == 1 else ()

    assert found(training(once, total=lambda t: 2.09 + draw.gauss(0.0, 0.02))) == []
