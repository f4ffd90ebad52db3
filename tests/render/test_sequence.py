"""The picture of a sequence says how far back the gradient reaches, and stands on top where that is what is wrong."""

from dataclasses import replace

from isograd.health import signals
from isograd.records.anatomy import Anatomy, Node
from isograd.records.finding import Finding
from isograd.records.moments import Moments
from isograd.records.report import Report
from isograd.records.trace import LayerSample, Step, Trace
from isograd.render import html, sequence

RNN = Anatomy("torch", (Node("rnn", "recurrent", "RNN", shape=(80, 8)),), ())


def remembering(keeps, steps=80, at=(1,)):
    """A report on one layer whose gradient keeps a share of its size with every step back."""
    gradients = tuple(Moments.of([keeps ** (steps - 1 - t)]) for t in range(steps))
    looks = tuple(Step(step, layers=(LayerSample("rnn", through_time=gradients),)) for step in at)
    return Report("watch", RNN, readings=signals.measure(Trace(RNN, steps=looks)), steps=at[-1])


def test_half_a_gradient_a_step_is_gone_after_ten_steps_back():
    found = remembering(0.5)
    assert sequence.places(found) == ("rnn",)
    assert sequence.title_of(found, "rnn") == "The gradient reaches 9 of 79 steps back through rnn"
    assert "shrinks by 24 orders of magnitude" in sequence.through_time(found, "rnn")


def test_a_gradient_that_keeps_its_size_reaches_all_the_way():
    assert sequence.title_of(remembering(1.0), "rnn") == "The gradient reaches all 80 time steps of rnn"


def test_a_sequence_of_five_hundred_steps_is_thinned_and_keeps_its_ends():
    times = [r.time_step for r in remembering(0.9, steps=500).readings.values if r.signal == "time_gradient"]
    assert len(times) == 64 and times[0] == 1 and times[-1] == 500 and times == sorted(set(times))


def test_a_gradient_that_never_arrives_is_said():
    page = sequence.through_time(remembering(0.0), "rnn")
    assert "nothing arrives at the first time step" in page


def test_two_looks_are_two_lines_and_two_columns():
    page = sequence.through_time(remembering(0.8, at=(1, 50)), "rnn")
    assert "step 50" in page and "at step 50" in page


def test_where_the_memory_is_what_is_wrong_its_picture_is_on_top_and_only_there():
    sick = replace(remembering(0.5), findings=(Finding("recurrent", "warning", 0.9, "rnn", "The memory is short."),))
    for report, first in ((sick, True), (remembering(0.5), False)):
        page = html.report_page(report)
        assert page.count("<figure>") == 1
        assert (page.index("The gradient reaches 9 of 79 steps back") < page.index("<h2>Gradient flow")) == first
