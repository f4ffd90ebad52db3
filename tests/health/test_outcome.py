"""The judge of a training: what it says of runs whose outcome is known by thought."""

import math
import random
from dataclasses import replace

import pytest

from isograd.health.case import case_of
from isograd.health.outcome import outcome
from isograd.records.anatomy import Anatomy
from isograd.records.batch import Evaluation, LossSample, Replay
from isograd.records.moments import Moments, Pairs
from isograd.records.trace import Meter, Step, Trace

NOWHERE = Anatomy("torch", (), ())


def judged(losses, samples=None, *, planned=None, ended=False):
    """``samples``: a function from a step to what was looked at there; every fifth step is."""
    steps = tuple(
        Step(i, loss, losses=tuple(samples(i, loss)) if samples and i % 5 == 0 else ()) for i, loss in enumerate(losses, 1)
    )
    return outcome(case_of(Trace(NOWHERE, (), steps, planned, Meter(steps=len(steps)), ended)))


def noisy(level, count=100, spread=0.05, seed=0):
    draw = random.Random(seed)
    return [level * (1.0 + draw.gauss(0.0, spread)) for _ in range(count)]


def squared(floor, targets=None):
    def sample(_, loss):
        values = Moments.of(targets or [math.sqrt(floor), -math.sqrt(floor)] * 16)
        yield LossSample("mse_loss", value=loss, floor=floor, target=values, target_shape=(32, 1))

    return sample


def test_nothing_is_said_of_a_run_that_has_hardly_begun():
    found = judged([1.0, 0.5])
    assert found.learning is None and found.skill is None and found.start is None


def test_a_loss_at_the_variance_of_its_targets_has_learned_nothing():
    found = judged(noisy(1.0), squared(1.0))
    assert found.learning is False and abs(found.skill) < 0.06 and found.poor(0.3) and not found.falling


def test_half_the_variance_is_a_skill_of_a_half():
    found = judged(noisy(1.0, 30) + noisy(0.5), squared(1.0))
    assert found.learning is True and found.skill == pytest.approx(0.5, abs=0.03)


def test_a_loss_without_floor_is_judged_by_its_own_start():
    assert judged(noisy(1.0)).learning is False
    assert judged([math.exp(-i / 30) for i in range(100)]).learning is True
    assert judged([-i / 10 for i in range(100)]).learning is True, "a loss may be negative"
    assert judged(noisy(1.0)).skill is None


def test_one_wild_step_does_not_condemn_a_run():
    losses = noisy(1.0, 30) + noisy(0.1, 70)
    losses[95] = 1e6
    assert judged(losses, squared(1.0)).skill > 0.85


def test_batches_of_one_are_judged_by_all_targets_together():
    def one(step, loss):  # the best constant answer on a batch of one is right: a floor of 0
        yield LossSample(
            "mse_loss", value=loss, floor=1e-9, target=Moments.of([1.0 if step % 2 else -1.0]), target_shape=(1, 1)
        )

    found = judged(noisy(0.5), one)
    assert found.floor == pytest.approx(1.0, rel=0.1) and found.skill == pytest.approx(0.5, abs=0.05)


def test_right_answers_count_where_the_loss_is_no_judge():
    def sample(_, loss):  # a weighted loss far above the floor, and 90 % right of four classes
        yield LossSample("cross_entropy", value=loss, floor=1.0, classes=(8, 8, 8, 8), answers=(8, 8, 8, 8), hits=29)

    assert judged(noisy(3.0), sample).skill == pytest.approx(0.875, abs=0.01)


def test_small_batches_are_judged_by_the_entropy_of_all_their_classes():
    def sample(step, loss):
        one = (step // 5) % 4
        classes = tuple(2 if c in (one, (one + 1) % 4) else 0 for c in range(4))  # two classes a batch, four in all
        yield LossSample("cross_entropy", value=loss, floor=math.log(2), classes=classes)

    assert judged(noisy(math.log(4)), sample).floor == pytest.approx(math.log(4), rel=0.02)


def test_a_game_of_two_networks_has_no_floor():
    def sample(_, loss):
        yield LossSample("binary_cross_entropy_with_logits", value=loss / 2, floor=math.log(2))
        yield LossSample("binary_cross_entropy_with_logits", value=loss / 2, floor=0.0)

    assert judged(noisy(1.4), sample).skill is None


def test_a_loss_with_a_penalty_is_judged_without_it():
    def sample(_, loss):
        yield LossSample("mse_loss", value=0.2, floor=1.0, target=Moments.of([1.0, -1.0] * 16), target_shape=(32, 1))

    assert judged(noisy(5.0), sample).skill == pytest.approx(0.8, abs=0.03)


def test_losses_of_several_tasks_are_judged_by_their_sum():
    def sample(_, loss):
        for line, (value, floor) in {"a.py:1": (0.5, 1.0), "a.py:2": (0.75, 3.0)}.items():
            targets = Moments.of([math.sqrt(floor), -math.sqrt(floor)] * 16)
            yield LossSample("mse_loss", source=line, value=value, floor=floor, target=targets, target_shape=(32, 1))

    found = judged(noisy(1.25), sample)
    assert found.floor == pytest.approx(4.0, rel=0.05) and found.skill == pytest.approx(1.0 - 1.25 / 4.0, abs=0.03)


def test_of_several_losses_one_that_perfect_answers_do_not_free_weighs_by_what_can_be_won():
    """Pixels answered perfectly, which pay .9 of their floor even so, beside a number that nothing was learned of."""

    def sample(_, loss):
        yield LossSample(
            "binary_cross_entropy",
            source="a.py:1",
            value=9.0,
            floor=10.0,
            least=9.0,
            output_shape=(64, 1),
            target_shape=(64, 1),
        )
        targets = Moments.of([1.0, -1.0] * 16)
        yield LossSample("mse_loss", source="a.py:2", value=1.0, floor=1.0, target=targets, target_shape=(32, 1))

    assert judged(noisy(10.0), sample).skill == pytest.approx(0.5, abs=0.05)


def test_falling_is_more_than_noise():
    assert judged([1.0 - i / 200 for i in range(100)]).falling
    assert not any(judged(noisy(1.0, seed=seed)).falling for seed in range(40))


def test_the_share_of_the_run_is_known_where_it_was_announced_or_is_over():
    assert judged(noisy(1.0)).share is None
    assert judged(noisy(1.0), planned=400).share == 0.25
    assert judged(noisy(1.0), planned=400, ended=True).share == 1.0


def test_accumulated_gradients_are_judged_by_the_mean_of_their_losses():
    def sample(_, loss):
        for _ in range(4):
            yield LossSample(
                "huber_loss", source="a.py:1", value=loss, floor=0.5, target=Moments.of([1.0] * 16), target_shape=(16, 1)
            )

    found = judged(noisy(0.1), sample)
    assert found.floor == pytest.approx(0.5 * 16 / 15) and found.skill == pytest.approx(0.8, abs=0.03)


def test_a_few_wild_steps_do_not_hide_that_the_others_are_worse_than_a_constant_answer():
    """Right answers of old, and a loss that has stood at twice its floor since, with steps of a thousand times that."""

    def sample(step, loss):
        if step <= 30:
            yield LossSample("cross_entropy", value=loss, floor=1.0, classes=(8, 8, 8, 8), answers=(8, 8, 8, 8), hits=30)

    losses = noisy(0.3, 30) + noisy(2.8, 70)
    losses[80] = losses[90] = 3000.0
    found = judged(losses, sample, ended=True)
    assert found.learning is False and found.poor(0.0)


ACROSS, ALONG = Pairs.of([1.0, 0.0], [0.0, 1.0]), Pairs.of([1.0, 1.0], [1.0, 0.5])


def of_its_own(value, agreement=ACROSS, **more):
    """A loss that no function of torch's computes, and what it would be with the outputs' mean (1) and at the least (0)."""
    steps = []
    for i in range(1, 101):
        again = (Replay(value + 0.01 * (i % 2), 1.0, 0.0, 64, agreement),) if i % 10 == 0 else ()
        steps.append(Step(i, value + 0.01 * (i % 2), replays=again))
    steps[-1] = replace(steps[-1], **more)
    return outcome(case_of(Trace(NOWHERE, (), tuple(steps), 100, Meter(steps=100), True)))


def test_a_loss_of_ones_own_is_judged_by_what_the_outputs_are_worth_to_it():
    assert of_its_own(0.25).skill == pytest.approx(0.75, abs=0.02) and of_its_own(0.25).learning is True
    assert of_its_own(0.97).short_of(0.3)
    assert of_its_own(-0.5).skill is None, "it is better than the best that was found: that is no bound"


def test_loud_outputs_that_know_are_worth_what_they_would_be_in_the_right_size():
    assert of_its_own(1.3, ALONG).skill == pytest.approx(0.9, abs=0.01), "the cosine squared"
    assert of_its_own(1.3).short_of(0.1)


def test_an_evaluation_that_finds_something_is_believed_before_the_worth_to_a_loss():
    good = (Evaluation(100, "cross_entropy", classes=(100, 100), answers=200, hits=180, value=0.3, floor=0.69),)
    assert of_its_own(0.97, evaluations=good).skill is None
