"""Two networks against each other: a judge that has won, one that leads, and an even game."""

import dataclasses

import pytest
from lessons import classes, final, training

from isograd.health.case import case_of
from isograd.health.diagnosis import adversarial, plateau
from isograd.records.anatomy import Anatomy, Node, Parameter
from isograd.records.batch import LossSample
from isograd.records.fact import Fact
from isograd.records.moments import Gram, Moments, Pairs
from isograd.records.trace import LayerSample, ParameterSample, Step, Trace


def side(value, target, line):
    return LossSample(
        "binary_cross_entropy_with_logits", source=f"gan.py:{line}", value=value, floor=0.0, target_range=(target, target)
    )


def game(real, made_up, fooled):
    """Losses of the judge on both kinds of examples, and of the generator, as they end."""

    def now(end, t):
        return 0.69 + (end - 0.69) * min(1.0, t / 150)

    return training(lambda t: (side(now(real, t), 1.0, 5), side(now(made_up, t), 0.0, 6), side(now(fooled, t), 1.0, 9)))


def test_a_judge_that_is_sure_and_a_generator_that_is_never_believed_is_a_warning():
    (finding,) = adversarial.diagnose(game(0.01, 0.02, 6.0))
    assert finding.severity == "warning" and finding.source == "gan.py:9" and "nothing to follow" in finding.summary


def test_a_judge_that_leads_is_a_remark():
    (finding,) = adversarial.diagnose(game(0.2, 0.15, 2.5))
    assert finding.severity == "note"


def test_a_generator_of_squared_errors_that_is_asked_for_the_answer_of_the_judge_helps_it_too():
    def squared(value, target, line):
        return dataclasses.replace(side(value, target, line), function="mse_loss")

    def sides(*ends):
        return training(lambda t: tuple(squared(end + 0.5 / t, target, line) for end, target, line in ends))

    (finding,) = adversarial.diagnose(detached(sides((0.01, 1.0, 0), (0.01, 0.0, 1), (0.01, 0.0, 2))))
    assert "helps it" in finding.summary and "0.5 at least" in finding.summary
    assert list(adversarial.diagnose(detached(sides((0.2, 1.0, 0), (0.05, 0.0, 1), (0.6, 1.0, 2))))) == []
    zeros = sides((0.01, 0.0, 0), (0.01, 0.0, 1), (0.01, 0.0, 2))
    assert list(adversarial.diagnose(detached(zeros))) == [], "residuals that are all to be nothing"


def test_a_judge_that_steps_three_times_for_each_step_of_the_generator_is_no_help_to_it():
    def sides(t):
        own = (side(0.01, 1.0, 5), side(0.01, 0.0, 6))
        return own if t % 4 else (*own, side(9.0, 1.0, 9))

    (finding,) = adversarial.diagnose(detached(training(sides, 600)))
    assert "helps it" not in finding.summary and "nothing to follow" in finding.summary


def test_a_judge_that_led_while_anybody_looked_has_won_only_where_the_losses_stepped_since_say_so():
    def early(last):
        def sides(t):
            if t <= 40:
                return side(0.01, 1.0, 5), side(0.01, 0.0, 6), side(6.0, 1.0, 9)
            return (dataclasses.replace(side(last, 1.0, 20), function=""),)

        case = training(sides)
        return [step if step.index <= 40 else dataclasses.replace(step, losses=()) for step in case.steps], case

    for last, told in ((6.0, 1), (2.1, 0)):
        steps, case = early(last)
        found = list(adversarial.diagnose(dataclasses.replace(case, steps=tuple(steps))))
        assert len([finding for finding in found if finding.alarm]) == told, last


@pytest.mark.parametrize("losses", [(0.69, 0.69, 0.69), (0.5, 0.4, 1.1)])
def test_an_even_game_is_healthy_and_no_plateau(losses):
    case = game(*losses)
    assert list(adversarial.diagnose(case)) == [] and list(plateau.diagnose(case)) == []


def detached(case):
    return dataclasses.replace(case, steps=tuple(dataclasses.replace(s, facts=(Fact("detached"),)) for s in case.steps))


def helping(first, made_up, second):
    sides = list(enumerate((first, made_up, second)))
    return training(lambda t: tuple(side(0.01 + 0.69 / t, target, line) for line, target in sides))


def test_a_generator_that_is_asked_for_the_answer_of_the_judge_helps_it():
    (finding,) = adversarial.diagnose(detached(helping(1.0, 0.0, 0.0)))
    assert finding.severity == "warning" and "helps it" in finding.summary
    assert list(adversarial.diagnose(helping(1.0, 0.0, 0.0))) == []  # nothing is detached: three questions to one network


def test_real_and_made_up_examples_judged_on_one_line_are_two_sides():
    sides = ((1.0, 0), (0.0, 0), (0.0, 1))
    case = training(lambda t: tuple(side(0.01 + 0.69 / t, target, line) for target, line in sides))
    (finding,) = adversarial.diagnose(detached(case))
    assert "helps it" in finding.summary
    fooling = training(
        lambda t: tuple(side(value, target, line) for value, target, line in ((0.3, 1, 0), (0.3, 0, 0), (1.5, 1, 1)))
    )
    assert list(adversarial.diagnose(detached(fooling))) == []


@pytest.mark.parametrize("losses", [(0.69, 0.69, 0.69), (0.5, 0.4, 1.1)])
def test_in_a_game_the_sides_cannot_all_pay_little(losses):
    assert list(adversarial.diagnose(detached(game(*losses)))) == []


def test_a_classifier_plays_against_nobody():
    assert list(adversarial.diagnose(training(lambda t: classes(t, right=0.9, value=0.3)))) == []


def two(*, spreads=(1.0, 1.0), turning=(1e-2, 1e-2), losses=(0.5, 0.5, 1.0), at_first=None, wide=False, until=300):
    """A judge j and a generator g: how far real and made-up examples spread in j, what a step turns of j and of g."""
    nodes, parameters = [], []
    for path in "jg":
        nodes.append(Node(f"{path}-input", "input", "input"))
        facts = (("fan_in", 2), ("fan_out", 2))
        nodes.append(Node(path, "linear", "Linear", (len(nodes) - 1,), (2,), facts, (f"{path}.weight",), "gan.py:2"))
        parameters.append(Parameter(f"{path}.weight", path, (2, 2), True, True, Moments.of([0.5, -0.5])))
    steps = []
    for index in sorted({1, 2, *range(10, until + 1, 10), 300}):
        now = at_first if at_first and index < 150 else spreads
        grams = [Gram(2, (s * s + 9.0, 9.0 - s * s, 9.0 - s * s, s * s + 9.0)) for s in now]
        made = [Moments.of([s, -s]) if wide else None for s in now]
        seen = enumerate(zip(made, grams, strict=True))
        layers = tuple(LayerSample("j", call, 2, one, gram=gram if index <= until else None) for call, (one, gram) in seen)
        moved = tuple(
            ParameterSample(
                f"{path}.weight", Moments.of([1.0]), Moments.of([0.1]), Moments.of([t]), Pairs.of([t, 0.0], [0.0, 1.0])
            )
            for path, t in zip("jg", turning, strict=True)
        )
        sides = zip(losses, (1.0, 0.0, 1.0), (5, 6, 9), strict=True)
        samples = tuple(side(*one) for one in sides)
        steps.append(Step(index, sum(losses), 0.1, (), layers, moved, losses=samples))
    anatomy = Anatomy("torch", tuple(nodes), tuple(parameters))
    return list(adversarial.diagnose(case_of(Trace(anatomy, (), tuple(steps), 300, ended=True))))


def test_made_up_examples_that_are_all_alike_are_a_mode_collapse():
    (finding,) = two(spreads=(1.0, 0.01))
    assert (finding.severity, finding.where, finding.source) == (
        "warning",
        "j",
        "gan.py:2",
    ) and "mode collapse" in finding.summary
    assert finding.evidence[0].value == pytest.approx(0.01)
    assert [one.severity for one in two(spreads=(1.0, 0.04))] == ["note"]


def test_a_generator_that_never_made_two_that_differ_shows_in_the_looks_of_a_short_run():
    (finding,) = two(spreads=(1.0, 0.005), until=60)
    assert finding.severity == "warning" and "mode collapse" in finding.summary
    assert two(spreads=(1.0, 0.04), until=60) == [] == two(spreads=(1.0, 0.005), until=20)


def test_examples_that_differ_or_differ_later_are_healthy():
    assert two() == [] == two(spreads=(1.0, 0.2)) == two(spreads=(1.0, 0.6), at_first=(1.0, 0.01))


@pytest.mark.parametrize(("made_up", "said"), [(0.4, True), (3.5, True), (0.7, False), (1.5, False)])
def test_examples_that_spread_otherwise_than_the_real_ones_at_the_end_are_not_what_they_are(made_up, said):
    found = two(spreads=(1.0, made_up), wide=True)
    assert bool(found) == said and all("does not make" in finding.summary for finding in found)
    assert two(spreads=(1.0, 0.9), at_first=(1.0, 0.3), wide=True) == [], "what was so at first is past"


def test_a_generator_that_stands_still_before_a_judge_that_tells_both_apart_starves():
    (finding,) = two(turning=(1e-2, 1e-6), losses=(0.2, 0.2, 1.5))
    assert (finding.severity, finding.where) == ("warning", "g") and "starves" in finding.summary


def test_a_generator_that_stands_still_in_an_even_game_or_moves_a_little_is_healthy():
    assert two(turning=(1e-2, 1e-6), losses=(0.69, 0.69, 0.69)) == []
    assert two(turning=(1e-2, 1e-4), losses=(0.4, 0.4, 1.2)) == []


def test_a_judge_that_stands_still_while_the_generator_moves_is_told_however_even_the_game():
    (finding,) = two(turning=(1e-6, 1e-2), losses=(0.7, 0.68, 0.7))
    assert (finding.severity, finding.where) == ("warning", "j") and "the judge" in finding.summary.lower()


@pytest.mark.parametrize("noise", [True, False])
def test_a_real_generator_that_gets_no_noise_makes_one_example(noise):
    torch = pytest.importorskip("torch")
    import isograd

    nn, loss = torch.nn, torch.nn.functional.binary_cross_entropy_with_logits
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
    made, judged = (torch.optim.Adam(net.parameters(), lr=3e-3) for net in (maker, judge))
    one, zero = torch.ones(32, 1), torch.zeros(32, 1)
    with isograd.watch((maker, judge), (made, judged), budget=None, steps=120) as watch:
        for _ in range(120):
            real, drawn = torch.randn(32, 2), torch.randn(32, 2) if noise else torch.ones(32, 2)
            judged.zero_grad()
            (loss(judge(real), one) + loss(judge(maker(drawn).detach()), zero)).backward()
            judged.step()
            made.zero_grad()
            loss(judge(maker(drawn)), one).backward()
            made.step()
    told = [finding for finding in final(watch).findings if finding.disease == "adversarial" and finding.alarm]
    assert [finding.where for finding in told] == ([] if noise else ["1.0"])


@pytest.mark.parametrize("lead", [True, False])
def test_a_real_game_with_a_generator_that_hardly_moves(lead):
    torch = pytest.importorskip("torch")
    import isograd

    nn, loss = torch.nn, torch.nn.functional.binary_cross_entropy_with_logits
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
    made = torch.optim.Adam(maker.parameters(), lr=1e-6 if lead else 1e-2)
    judged = torch.optim.Adam(judge.parameters(), lr=1e-2 if lead else 1e-3)
    one, zero = torch.ones(32, 1), torch.zeros(32, 1)
    with isograd.watch((maker, judge), (made, judged), budget=None, steps=240) as watch:
        for _ in range(120):
            real, noise = 5.0 + torch.randn(32, 2), torch.randn(32, 2)
            judged.zero_grad()
            (loss(judge(real), one) + loss(judge(maker(noise).detach()), zero)).backward()
            judged.step()
            made.zero_grad()
            loss(judge(maker(noise)), one).backward()
            made.step()
    said = {finding.disease for finding in final(watch).findings if finding.alarm}
    assert ("adversarial" in said) == lead and not {"plateau", "collapse"} & said
