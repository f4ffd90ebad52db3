"""The learning curve beside the best constant answer: what is put right, pooled, joined and left out."""

import dataclasses
import math
import random
import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "diagnosis"))

from lessons import Step, classes, looked_at, numbers, training

from isograd.health import coverage, curve, worth
from isograd.health.diagnosis import plateau
from isograd.health.outcome import outcome
from isograd.records.batch import LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Moments
from isograd.records.trace import Meter, ParameterSample, Trace


@pytest.mark.parametrize("rows", [4, 8, 64])
@pytest.mark.parametrize("kind", [classes, numbers])
def test_what_a_constant_pays_is_right_for_every_size_of_batch(rows, kind):
    """The floor of one batch is chosen on it and too low; put right, an ignorant network stands at 0."""
    more = {"stray": 1e-6} if kind is numbers else {}
    late = curve.main(training(lambda t: kind(t, rows=rows, **more), steps=600)).late()
    assert abs(late.beat) < 3.5 * late.error + 0.01


def test_the_losses_of_all_steps_are_used_where_they_are_those_of_the_looks():
    found = curve.main(training(lambda t: classes(t), total=lambda t: 0.25 * classes(t).value))
    assert found.told and len(found.steps) == 300
    assert found.steps[9][1] == pytest.approx(classes(10).value, rel=0.1)


def test_a_loss_with_a_penalty_of_its_own_is_judged_by_its_looks():
    found = curve.main(training(lambda t: classes(t), total=lambda t: classes(t).value + 5.0 / t))
    assert not found.told and len(found.steps) == len(found.looks)


def test_smoothed_labels_are_recognised_by_their_floor():
    def smoothed(t):
        one = classes(t, rows=4)
        total = sum(one.classes)
        shares = [0.9 * n / total + 0.025 for n in one.classes]
        floor = -sum(p * math.log(p) for p in shares)
        return LossSample("cross_entropy", value=1.0, floor=floor, classes=one.classes, answers=one.answers, hits=one.hits)

    assert curve.main(training(smoothed)).floor == pytest.approx(math.log(4), abs=0.01)


def test_two_losses_of_a_step_are_two_curves_and_no_main_one():
    case = training(lambda t: (classes(t), numbers(t, explained=0.5)))
    assert len(curve.curves(case)) == 2 and curve.main(case) is None


def heard_from_outside(losses, looked=5):
    """A program whose models compute their loss themselves: looks show which, all other steps its value alone."""
    moved = Moments.of([1e-3])
    seen = (ParameterSample("w", Moments.of([1.0]), moved, moved),)
    whole = training(lambda t: classes(t, rows=64, right=0.25))
    steps = []
    for step in whole.steps:
        value = losses(step.index, step.loss)
        if step.index <= looked:
            steps.append(dataclasses.replace(step, parameters=seen))
        else:
            steps.append(dataclasses.replace(step, parameters=(), layers=(), losses=(LossSample("", value=value),), loss=value))
    return dataclasses.replace(whole, steps=tuple(steps))


def test_a_loss_inside_of_the_model_is_known_by_its_looks_where_the_others_hear_its_value_alone():
    case = heard_from_outside(lambda t, loss: loss)
    found = curve.main(case)
    assert found.function == "cross_entropy" and found.told and len(found.steps) == len(case.steps)
    assert outcome(case).learning is False


def test_a_loss_that_is_another_one_outside_of_the_looks_is_not_known_by_them():
    case = heard_from_outside(lambda t, loss: loss)
    other = dataclasses.replace(case.steps[8], losses=(classes(9),))
    assert len(curve.curves(dataclasses.replace(case, steps=(*case.steps[:8], other, *case.steps[9:])))) == 2


def test_evaluations_are_no_training():
    case = training(lambda t: (classes(t), classes(-t, training=False)))
    assert len(curve.curves(case)) == 1


def test_two_optimizers_that_take_turns_contest_a_loss():
    def step(index, name):
        return Step(index, parameters=(ParameterSample(name, Moments.of([1.0]), update=Moments.of([0.1])),))

    turns = training(classes, steps=2)
    two = type(turns)(turns.anatomy, steps=(step(1, "g.weight"), step(2, "d.weight")))
    assert curve.contested(two) and not curve.contested(type(turns)(turns.anatomy, steps=(step(1, "a"), step(2, "a"))))


def test_imbalanced_answers_are_judged_beside_the_most_frequent_class():
    draw = random.Random(0)
    late = curve.main(training(lambda t: classes(t, kinds=2, shares=[0.9, 0.1], answer=0, value=draw.random()))).late()
    assert late.majority == pytest.approx(0.9, abs=0.02) and abs(late.hits) < 3 * late.hits_error
    assert late.favourite == 1.0


def old(sample, last=100):
    """Looked at up to step ``last`` only, where looking became too dear."""
    return lambda t: sample(t) if t <= last else ()


def test_looks_of_old_say_nothing_of_a_loss_with_other_terms():
    """A reconstruction beside a divergence: the last looks are of the first third, and the sum has fallen since."""
    case = training(old(lambda t: numbers(t, stray=0.5)), total=lambda t: 5.0 * math.exp(-t / 100) + 0.1 * math.sin(t))
    late = curve.main(case).late()
    assert late.stale and late.beat is None and not outcome(case).short_of(0.5)


def test_hits_of_old_do_not_speak_against_a_loss_that_fell_since():
    def stepped(t):
        return classes(t, right=0.0).value if t <= 100 else 0.1

    case = training(old(lambda t: classes(t, right=0.0)), total=stepped)
    late = curve.main(case).late()
    assert late.stale and late.hits < 0.2 and late.beat > 0.9 and not outcome(case).short_of(0.5)


def test_nothing_is_poor_before_the_run_is_far_enough():
    begun = training(lambda t: classes(t), steps=50, planned=300, ended=False)
    assert not outcome(begun).short_of(0.5)
    assert outcome(training(lambda t: classes(t), steps=200, planned=300, ended=False)).short_of(0.5)
    assert not outcome(training(lambda t: classes(t), steps=200, ended=False)).short_of(0.5)
    assert outcome(training(lambda t: classes(t), steps=5_000, ended=False)).short_of(0.5), "long enough without a length"


def test_mixed_up_examples_are_judged_by_what_is_stepped():
    """Two calls a step, one for each target of the mixture, of which the share decides what is stepped."""

    def share(t):
        return random.Random(t).random()

    def pair(t):
        near, far = classes(t, value=0.1 + 3.0 * (1.0 - share(t))), classes(-t, value=0.1 + 3.0 * share(t))
        return (near, far)

    def stepped(t):
        near, far = pair(t)
        return share(t) * near.value + (1.0 - share(t)) * far.value

    late = curve.main(training(pair, total=stepped)).late()
    assert late.beat == pytest.approx(1.0 - (0.1 + 1.0) / math.log(4), abs=0.1)


def test_what_few_answers_allow_is_less_than_what_many_do():
    """Seven of ten right: of 64 answers that may be chance, of thousands it is known."""

    def seven(t):
        return dataclasses.replace(classes(t, kinds=2), hits=45)

    few = curve.main(training(lambda t: seven(t) if t in (1, 2, 300) else ()))
    assert worth.allowed(few) < 0.8 * worth.allowed(curve.main(training(seven)))


def test_a_loss_that_arrives_below_its_floor_at_the_end_was_no_plateau():
    """Above the floor in the mean of the last third, and 20 % below it in the last tenth."""
    late = training(lambda t: numbers(t, explained=0.0), total=lambda t: 1.5 if t < 200 else 1.5 - 0.008 * (t - 200))
    found = [finding for finding in plateau.diagnose(late) if finding.alarm]
    assert found == []


def test_a_loss_that_took_off_late_and_arrived_is_judged_by_where_it_arrived():
    """A plateau of ten twelfths of the run, then a steep fall: the mean of the last third is neither of the two."""
    values = [1.0] * 250 + [max(0.02, 1.0 - (t - 250) / 15) for t in range(250, 300)]
    case = training(lambda t: classes(t, value=values[t - 1], right=0.5), total=lambda t: values[t - 1])
    found = curve.main(case)
    assert found.told and found.late().beat > 0.95


@pytest.mark.parametrize("fall", [lambda t: 1.0 - t / 301, lambda t: math.exp(-t / 60), lambda t: 10.0 / (10.0 + t)])
def test_a_loss_that_falls_all_the_way_is_judged_by_its_last_third(fall):
    case = training(lambda t: classes(t, value=1.386 * fall(t), right=0.5), total=lambda t: 1.386 * fall(t))
    found = curve.main(case)
    third = [fall(t) for t in range(201, 301)]
    assert found.told and found.late().beat == pytest.approx(1.0 - sum(third) / len(third), abs=0.05)


@pytest.mark.parametrize(("small", "known"), [(4, True), (15, False)])
def test_the_last_batch_of_a_pass_may_be_too_small_to_have_a_floor_of_its_own(small, known):
    """Every few looks fall on a batch of three examples; what a constant answer pays is known from the others."""

    def one(t):
        return dataclasses.replace(numbers(t, rows=3 if t in SMALL else 64), target=Moments.of([0.0, 1.0] * 64))

    SMALL = set(looked_at(300)[::3][:small]) if known else set(looked_at(300)[:-3])
    assert (curve.main(training(one)).floor is not None) == known


def test_targets_that_a_network_makes_and_has_learned_are_measured_by_what_they_were():
    """A value learned by bootstrapping: its targets vary widely at first, and hardly at all once they are known."""

    def settling(left):
        return lambda t: numbers(t, scale=2.0 if t <= 150 else left, explained=0.5 if t <= 150 else 0.0, stray=0.3)

    assert curve.main(training(settling(0.01))).late().beat > 0.9
    assert curve.main(training(settling(2.0))).late().beat < 0.1


def test_looks_of_old_say_nothing_of_targets_that_were_changing():
    def at(t):
        return numbers(t, scale=1.0 if t < 40 else 0.05, explained=0.5, stray=0.5)

    assert curve.main(training(old(at, 100), total=lambda t: at(t).value)).late().beat is None
    steady = training(old(lambda t: numbers(t), 100), total=lambda t: numbers(t).value)
    assert curve.main(steady).late().beat is None, "batches that are made as they go may have become others"
    table = (dataclasses.replace(steady.steps[0], facts=(Fact("loader", "data"),)), *steady.steps[1:])
    steady = curve.main(dataclasses.replace(steady, steps=table)).late()
    assert steady.stale and steady.beat is not None


@pytest.mark.parametrize(("words", "known"), [(30, True), (3_000, False)])
def test_words_that_come_once_leave_open_what_a_constant_answer_pays(words, known):
    """A batch's frequencies pay too little for words that it does not hold: a sound model would stand below nothing."""
    shares = [1.0 / rank for rank in range(1, words + 1)]

    def lesson(t):
        counts = [0] * words
        for word in random.Random(t).choices(range(words), shares, k=64):
            counts[word] += 1
        held = [count / 64 for count in counts if count]
        floor = -sum(share * math.log(share) for share in held)
        return dataclasses.replace(classes(t), classes=tuple(counts), floor=floor, value=floor + 1.0, hits=0, answers=())

    case = training(lesson, steps=100)
    assert (outcome(case).floor is not None) == known
    assert known or not list(plateau.diagnose(case))
    trace = Trace(case.anatomy, (), case.steps, meter=Meter(0.0, 1.0, 100, 20), ended=True)
    assert any("came only once" in remark for remark in coverage.remarks(trace)) != known


@pytest.mark.parametrize(("quality", "skill"), [(0.0, 0.0), (1.0, 1.0)])
def test_where_targets_are_shares_perfect_answers_pay_their_entropy(quality, skill):
    """Pixels between 0 and 1 under a binary cross-entropy: not 0 is perfect, but what the pixels themselves pay."""

    def pays(t, p):
        return -(t * math.log(p) + (1.0 - t) * math.log(1.0 - p))

    def lesson(t):
        draw = random.Random(t)
        shares = [draw.uniform(0.2, 0.8) for _ in range(64)]
        middle = statistics.fmean(shares)
        given = [quality * share + (1.0 - quality) * middle for share in shares]
        loss, floor, least = (
            statistics.fmean(pays(share, p) for share, p in zip(shares, answers, strict=True))
            for answers in (given, [middle] * 64, shares)
        )
        return LossSample(
            "binary_cross_entropy", value=loss, floor=floor, least=least, output_shape=(64, 1), target_shape=(64, 1)
        )

    found = outcome(training(lesson, steps=100))
    assert found.skill == pytest.approx(skill, abs=0.15)


def test_an_autoencoder_of_grey_pixels_is_told_how_far_it_has_come():
    torch = pytest.importorskip("torch")
    import isograd

    torch.manual_seed(0)
    x = torch.sigmoid(torch.randn(512, 4) @ torch.randn(4, 64))
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 64))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with isograd.watch(net, optimizer, steps=300) as watch:
        for step in range(300):
            rows = x[64 * (step % 8) : 64 * (step % 8) + 64]
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(net(rows), rows).backward()
            optimizer.step()
    learned = watch.report().record.learned
    assert learned is not None and learned.skill > 0.6
