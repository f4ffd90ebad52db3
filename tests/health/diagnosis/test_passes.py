"""A loss that falls in stairs is remembered, a loss that falls within passes is learned."""

import random
from dataclasses import replace

import pytest
from lessons import classes, training

from isograd.health import curve as curves
from isograd.health.case import case_of
from isograd.health.diagnosis import labels, plateau
from isograd.health.passes import repeated, steps_of_a_pass
from isograd.records.anatomy import Anatomy, Node
from isograd.records.fact import Fact
from isograd.records.trace import Step, Trace

PASS, PASSES = 50, 8


def loader(step, *, each=1, dataset=3200, order="random"):
    """What is known at a step of a loader of ``PASS`` batches, ``each`` of which make a step."""
    given = step * each
    epoch = (given - 1) // PASS + 1
    settings = (
        ("number", 0),
        ("batches", PASS),
        ("dataset", dataset),
        ("epoch", epoch),
        ("position", given - (epoch - 1) * PASS),
        ("order", order),
    )
    return Fact("loader", "data", settings=settings)


def run(loss, *, dataset=3200, passes=PASSES, looks=24, order="random"):
    """A training of four even classes; in pass ``p`` (from 0), ``share`` of the way through, the loss is ``loss(p, share)``."""
    draw = random.Random(0)
    end = PASS * passes
    steps = []
    for index in range(1, end + 1):
        p, at = divmod(index - 1, PASS)
        value = loss(p, at / PASS) + draw.gauss(0.0, 0.01)
        look = index % (end // looks) == 1
        samples = (replace(classes(20, right=0.25), value=value),) if look else ()
        steps.append(Step(index, value, losses=samples, facts=(loader(index, dataset=dataset, order=order),) if look else ()))
    return case_of(Trace(Anatomy("torch", (), ()), (), tuple(steps), ended=True))


def stairs(p, _):
    return 1.39 - 0.1 * p


def slope(p, share):
    return 1.39 - 0.1 * max(0.0, p + share - 1.0)


def test_batches_are_mapped_to_steps_also_where_two_make_one():
    assert steps_of_a_pass(run(stairs)) == (PASS, 3200)
    case = training(classes)
    two = tuple(replace(step, facts=(loader(step.index, each=2),)) for step in case.steps)
    assert steps_of_a_pass(replace(case, steps=two)) == (PASS / 2, 3200)
    assert steps_of_a_pass(case) is None


def test_stairs_are_learned_by_heart():
    case = run(stairs)
    passes = repeated(case, curves.main(case))
    assert passes.only_between and passes.count == PASSES and passes.fell == pytest.approx(0.7, abs=0.01)
    assert abs(passes.within) < 0.05
    (finding,) = labels.diagnose(case)
    assert finding.alarm and "come again" in finding.summary


@pytest.mark.parametrize(("order", "alarm"), [("random", True), ("sequential", False)])
def test_hard_batches_that_lie_late_in_every_pass_do_not_make_a_slope_look_like_stairs(order, alarm):
    def rises(p, share):
        hard = 0.02 * (-1) ** round(share * PASS) + (0.01 if share >= 0.5 else 0.0)
        return 1.39 - 0.005 * (p + share) + hard

    case = run(rises, order=order)
    assert any("come again" in one.summary for one in labels.diagnose(case)) is alarm


def test_rare_words_are_learned_where_their_examples_come_again_which_is_a_remark():
    case = run(stairs)
    words = Node("words", "embedding", "Embedding")
    (finding,) = labels.diagnose(replace(case, anatomy=replace(case.anatomy, nodes=(words,))))
    assert finding.severity == "note" and "held-out" in finding.summary


def test_a_slope_is_learned_though_the_first_pass_gained_nothing():
    case = run(slope)
    passes = repeated(case, curves.main(case))
    assert not passes.only_between and not passes.partly_between and passes.within == pytest.approx(passes.fell, rel=0.2)
    assert not any(finding.alarm for finding in labels.diagnose(case))


@pytest.mark.parametrize(
    "case", [run(lambda p, share: 1.39 * 0.7 ** (p + share)), run(stairs, dataset=100)], ids=["learns", "few"]
)
def test_what_the_first_pass_gains_is_honest_and_of_few_examples_nothing_can_be_said(case):
    assert repeated(case, curves.main(case)) is None


def test_a_little_that_came_in_stairs_does_not_save_a_training_from_the_plateau():
    in_stairs, in_slopes = (run(lambda p, share, of=of: 1.39 - 0.02 * (1.39 - of(p, share)) / 0.7) for of in (stairs, slope))
    assert any(finding.alarm for finding in plateau.diagnose(in_stairs))
    assert not any(finding.alarm for finding in plateau.diagnose(in_slopes))


@pytest.mark.parametrize("shuffled", [True, False])
def test_real_labels_that_are_shuffled_are_known_by_the_stairs(shuffled, digits):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    import isograd

    x, y = digits
    torch.manual_seed(0)
    x, y = x[:1024], y[:1024]
    if shuffled:
        y = y[torch.randperm(len(y))]
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batches = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    with isograd.watch(model, optimizer, steps=25 * len(batches)) as watch:
        for _ in range(25):
            for inputs, targets in batches:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
    said = {finding.disease for finding in watch.report().findings if finding.alarm}
    assert ("labels" in said) == shuffled, said


def test_a_first_pass_far_above_a_constant_answer_was_still_on_its_way_down():
    def born_large(p, share):
        return 8.0 - 6.0 * share if not p else stairs(p, share)

    assert repeated(run(born_large), curves.main(run(born_large))) is None
    assert repeated(run(stairs), curves.main(run(stairs))) is not None
