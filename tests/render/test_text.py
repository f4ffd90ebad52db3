"""The page of text: the verdict first, then where, why and what to do."""

import pytest

from isograd.records.anatomy import Anatomy, Node, Parameter
from isograd.records.expectation import Expectations
from isograd.records.finding import Evidence, Finding
from isograd.records.moments import Moments
from isograd.records.reading import Reading, Readings
from isograd.records.report import Learned, Report
from isograd.records.trace import Meter
from isograd.render import text

ANATOMY = Anatomy(
    "torch",
    (
        Node("0", "linear", "Linear", parameters=("0.weight",)),
        Node("1", "activation", "ReLU", settings=(("function", "relu"),)),
        Node("out", "linear", "Linear", parameters=("out.weight",)),
    ),
    (Parameter("0.weight", "0", (4, 4), True, True, Moments()), Parameter("out.weight", "out", (4, 4), True, True, Moments())),
)
BAD = Finding(
    "vanishing",
    "critical",
    0.97,
    "0",
    "The gradient that reaches layer 0 is 3e-19 of the one at the last layer.",
    (Evidence("one step moves layer 0 by 1e-21 of its size", "turning_ratio", 1e-21),),
    ("0", "out"),
    "net.py:7",
    since=1,
    cause="every layer passes on 0.2 of the gradient",
    remedy="ReLU",
)
NOTE = Finding("vanishing", "note", 0.9, "0", "Adam undoes a small gradient.")
READINGS = Readings(
    tuple(
        Reading(signal, where, step, value)
        for step in (1, 2)
        for signal, where, value in (
            ("gradient_rms", "0", 0.7 * step),
            ("gradient_rms", "out", 1.0 * step),
            ("activation_rms", "0", 1.0),
            ("update_ratio", "0.weight", 1e-3),
            ("update_ratio", "out.weight", 1e-3),
            ("dead_fraction", "1", 0.02),
        )
    ),
    ("0", "1", "out"),
    (1, 2),
)


def lines(report, **options):
    return text.report(report, **options).split("\n")


def test_the_verdict_comes_first_and_says_how_sure():
    first = lines(Report("check", ANATOMY, (BAD,)))[0]
    assert first.startswith("This will not train.") and first.endswith("97 % sure")


def test_where_why_and_try_follow():
    page = text.report(Report("check", ANATOMY, (BAD,)))
    assert "  where   layer 0 (Linear) and 1 more, net.py:7, since step 1" in page
    assert "  why     every layer passes on 0.2 of the gradient" in page
    assert "          one step moves layer 0 by 1e-21 of its size" in page
    assert "  try     ReLU" in page


@pytest.mark.parametrize(
    ("origin", "severity", "verdict"),
    [
        ("check", "critical", "This will not train."),
        ("check", "warning", "This will train badly."),
        ("watch", "critical", "This is not training."),
        ("diagnose", "warning", "This is training badly."),
    ],
)
def test_the_verdict_fits_what_was_looked_at(origin, severity, verdict):
    finding = Finding("exploding", severity, 0.85, "0", "Steps destroy what was learned.")
    assert lines(Report(origin, ANATOMY, (finding,)))[0].startswith(verdict)


def test_where_says_the_time_step_and_how_long_it_held():
    finding = Finding("recurrent", "warning", 0.9, "rnn", "Nothing early is learned.", since=3, until=9, time_step=4)
    page = text.report(Report("watch", ANATOMY, (finding,)))
    assert "  where   rnn, time step 4, since step 3 until step 9" in page


def test_three_alarms_are_told_in_full_and_the_rest_in_a_sentence():
    findings = tuple(Finding("plateau", "warning", 0.9, "loop", f"Alarm {i}.", remedy=f"remedy {i}") for i in range(5))
    page = text.report(Report("watch", ANATOMY, findings))
    assert "remedy 2" in page and "remedy 3" not in page
    assert "  also    Alarm 3." in page and "  also    Alarm 4." in page


def test_a_healthy_report_is_short_and_says_what_was_looked_at():
    page = lines(Report("check", ANATOMY, readings=READINGS, steps=2, meter=Meter(0.4, 0.4, 2, 2)))
    assert page[0].startswith("Healthy")
    assert page[1].strip() == "looked at 2 layers, 32 parameters, theory and two training steps"
    assert "layer 0 0.7 times that at out" in page[2]
    assert page[3].strip() == "cost    0.4 s" and len(page) == 4


def test_theory_alone_says_so_and_gives_the_foretold_slope():
    page = text.report(Report("check", ANATOMY, expectations=Expectations(slope=0.25)))
    assert "theory alone" in page and "+0.25 nats a layer" in page


def test_a_remark_is_no_alarm():
    page = text.report(Report("watch", ANATOMY, (NOTE,), readings=READINGS, steps=2, remarks=("the disk is full",)))
    assert page.startswith("Healthy") and "note    Adam undoes" in page and "note    the disk is full" in page


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_is_wider_than_asked(width):
    page = lines(Report("check", ANATOMY, (BAD,)), width=width)
    assert max(map(len, page)) <= width


def test_the_line_beside_the_bar():
    report = Report("watch", ANATOMY, readings=READINGS, steps=10, meter=Meter(0.006, 1.006, 10, 2))
    assert (
        text.health_line(report) == "gradients healthy · first/last layer 0.7 · updates 1e-3 · dead 2 % · watching costs 0.6 %"
    )


def test_the_line_names_the_worst_and_counts_the_rest():
    other = Finding("dead_units", "warning", 0.85, "1", "x")
    assert text.health_line(Report("watch", ANATOMY, (BAD, other))).startswith("vanishing at layer 0 and 1 more · ")


def test_a_watch_that_saw_no_step_is_not_called_healthy():
    report = Report("watch", ANATOMY)
    assert lines(report)[0] == "Nothing can be said: no step was seen."
    assert text.health_line(report).startswith("no step seen")


@pytest.mark.parametrize(("signal", "words"), [("gradient_norm", "layers were not measured"), ("loss", "no gradient was seen")])
def test_health_is_claimed_of_layers_only_where_layers_were_measured(signal, words):
    report = Report("watch", ANATOMY, readings=Readings((Reading(signal, "0.weight", 1, 1.0),), (), (1,)), steps=9)
    assert "Healthy" not in text.report(report) and words in lines(report)[0]
    assert "healthy" not in text.health_line(report)


@pytest.mark.parametrize(
    ("learned", "headline", "row"),
    [
        (Learned(0.02, 0.004), "No alarm, but next to nothing was learned.", "answers are 2 % of the way"),
        (Learned(0.08, 0.02), "Healthy: the gradients reached every layer.", "answers are 8 % of the way"),
        (Learned(0.08, 0.02, over=True), "No alarm, but little was learned.", "answers are 8 % of the way"),
        (Learned(0.25, 0.02, over=True), "Healthy: the gradients reached every layer.", "answers are 25 % of the way"),
        (
            Learned(0.02, 0.004, falling=True, over=True),
            "No alarm, but next to nothing was learned.",
            "answers are 2 % of the way from the best constant answer to perfect ones; the loss was still falling",
        ),
        (Learned(0.02, 0.004, falling=True), "Healthy: the gradients reached every layer.", "; the loss is still falling"),
        (Learned(-2.0, 0.1), "No alarm, but next to nothing was learned.", "answers are worse than the best constant answer"),
    ],
)
def test_a_training_without_an_alarm_says_what_was_learned(learned, headline, row):
    report = Report("watch", ANATOMY, readings=Readings((Reading("gradient_rms", "0", 1, 0.1),)), steps=200, learned=learned)
    page = " ".join(text.report(report).split())
    assert page.startswith(headline) and row in page
