"""The cause as a person reads it: the sentence first, how sure, why with both numbers, what was tried, what it cost."""

import dataclasses
import re

from isograd.records import codec
from isograd.records.anatomy import Anatomy
from isograd.records.cause import Cause, Explanation, Hypothesis, Sighting
from isograd.records.edit import Edit
from isograd.records.finding import Finding
from isograd.records.report import Report
from isograd.records.skill import Skill
from isograd.render import cause, html, text

RATE = Edit("learning_rate", 0.01, before=3.0)
SAID = "The learning rate of 3 is too high."
FOUND = Explanation(
    "cause",
    Skill(-0.01, 320),
    80,
    1_200,
    2_000,
    (Cause(RATE, "sure", 0.83, 0.88, SAID, "optimizer", "train.py:41", (Edit("input_scale", "standard", before=4.0),)),),
    (
        Hypothesis(RATE, "finding: learning rate", 0.82, 0.83, 0.88, score=0.85, steps=80, source="train.py:41"),
        Hypothesis(Edit("optimizer", "adam", before="sgd"), "list", 0.9, 0.91, 0.0, steps=80),
        Hypothesis(Edit("precision", before="<b>"), "list", failed="the model computes in float32 <already>"),
    ),
    (Edit("optimizer", "adam", before="sgd"),),
    remarks=("there are no held-out examples",),
)


def shown(found):
    return text.report(Report("watch", Anatomy("torch", (), ()), steps=10, cause=found))


def test_the_text_says_what_where_why_and_what_it_cost():
    page = shown(FOUND)
    for part in (
        f"Cause, by experiment: {SAID} (sure)",
        "where   optimizer, train.py:41",
        "rises by 0.83 in 80 steps, from −0.01 to 0.82; what is there now costs a healthy network of this family 0.88",
        "try     set the learning rate of every parameter group to 0.01",
        "inputs standardised: not told apart",
        "helps optimizer sgd → adam (+0.91): remedies, for what they change does healthy networks no harm",
        "1,200 of 2,000 steps",
        "could not be run: the model computes in float32",
        "there are no held-out examples",
    ):
        assert re.sub(r"\s+", " ", part) in re.sub(r"\s+", " ", page), part


def test_what_was_put_back_beside_others_is_told_so_and_layers_have_a_name_in_the_sentence():
    drawn = Edit("initialisation", "he")
    rows = (
        Hypothesis(drawn, "all at once", 0.9, 0.9, given=(RATE,)),
        Hypothesis(RATE, "beside initialisation", 0.9, 0.88, 0.7, score=0.7, given=(drawn,)),
    )
    cause = dataclasses.replace(FOUND.causes[0], gain=0.88, where="2.0")
    page = re.sub(r"\s+", " ", shown(dataclasses.replace(FOUND, causes=(cause,), tried=(*FOUND.tried, *rows))))
    assert "with both put right the skill on held-out examples is 0.90 after 80 steps, and 0.02 where this one is" in page
    assert "rises by" not in page
    assert "where layer 2.0, train.py:41" in page
    assert "learning rate 3 → 0.01, with the others 0.90 +0.88 0.70" in page and "2 changes at once 0.90" in page


def test_longer_trials_say_so_and_what_was_not_changed_has_no_gain():
    rows = (
        Hypothesis(Edit("steps", 320.0), "no change, for longer", 0.03, steps=320),
        Hypothesis(RATE, "finding: learning rate, for longer", 0.9, 0.87, 0.8, score=0.8, steps=320),
    )
    page = shown(dataclasses.replace(FOUND, tried=(*FOUND.tried, *rows)))
    assert re.search(r"no change, 320 steps +0\.03\n", page) and re.search(r"3 → 0\.01, 320 steps +0\.90 +\+0\.87 +0\.80", page)
    assert "skill is 0 for the best constant answer" in re.sub(r"\s+", " ", page)
    assert "skill is 0" not in shown(dataclasses.replace(FOUND, tried=()))


def test_a_run_without_an_alarm_whose_cause_was_found_is_not_called_healthy():
    assert shown(FOUND).startswith("No alarm, but something holds it back: see the cause.")
    assert "holds it back" not in shown(dataclasses.replace(FOUND, answer="healthy", causes=()))
    by_heart = shown(dataclasses.replace(FOUND, answer="no signal", causes=()))
    assert by_heart.startswith("No alarm, but nothing that is learned carries over to other examples: see the cause.")


def test_an_answer_without_a_cause_is_a_sentence_of_its_own():
    for answer, words in (("no signal", "nothing of it carries over"), ("unknown", "Nothing that was tried explains it")):
        assert words in re.sub(r"\s+", " ", shown(dataclasses.replace(FOUND, answer=answer, causes=())))


def test_what_is_read_off_the_program_itself_stands_before_the_cause_that_gained():
    cut = Finding("cut_graph", "critical", 0.97, "net.0", "A signal leaves the graph.", source="train.py:5")
    found = dataclasses.replace(FOUND, seen=(Sighting(cut, "failed", Edit("keep_graph")),))
    page = re.sub(r"\s+", " ", shown(found))
    first = page.index(
        "Read off the program itself, and no trial takes it away: seen A signal leaves the graph (net.0, train.py:5)"
    )
    assert first < page.index("Cause, by experiment: ")
    section = html.report_page(Report("watch", Anatomy("torch", (), ()), steps=10, cause=found)).split('id="cause"')[1]
    assert section.index("A signal leaves the graph") < section.index(found.causes[0].summary) and "read off" in section


def test_what_was_seen_is_told_apart_from_what_was_tried_with_place_and_trial():
    leak = Finding("leak", "critical", 0.9, "data", "The answer is among <the> inputs.", source="train.py:9", remedy="drop it")
    seen = (
        Sighting(leak, "no edit"),
        Sighting(dataclasses.replace(leak, disease="learning_rate", summary="Too fast."), "refuted", RATE, -0.12, 320),
    )
    found = dataclasses.replace(FOUND, answer="unknown", causes=(), seen=seen)
    page = re.sub(r"\s+", " ", shown(found))
    assert "Nothing that was tried explains it. What was seen remains possible, though no trial shows it:" in page
    assert "seen The answer is among <the> inputs (data, train.py:9): not tried, for isograd knows no change" in page
    assert "seen Too fast (data, train.py:9): refuted: learning rate 3 → 0.01 costs 0.12 of the skill in 320 steps" in page
    assert "remains possible" not in shown(dataclasses.replace(found, seen=seen[1:]))
    section = html.report_page(Report("watch", Anatomy("torch", (), ()), steps=10, cause=found)).split('id="cause"')[1]
    assert "The answer is among &lt;the&gt; inputs." in section and "drop it" in section and "refuted" in section
    report = Report("watch", Anatomy("torch", (), ()), cause=found)
    assert codec.loads(Report, codec.dumps(report)) == report


def test_the_page_shows_the_trials_as_a_table_and_a_picture_and_escapes_what_others_wrote():
    page = html.report_page(Report("watch", Anatomy("torch", (), ()), steps=10, cause=FOUND))
    section = page[page.index('id="cause"') :]
    assert SAID in section and "<svg" in section and "What was tried" in section and "learning rate 3 → 0.01" in section
    assert "&lt;already&gt;" in section and "<already>" not in section


def test_a_report_with_a_cause_survives_its_file():
    report = Report("watch", Anatomy("torch", (), ()), cause=FOUND)
    assert codec.loads(Report, codec.dumps(report)) == report


def test_gains_of_nothing_are_drawn_as_nothing_and_zero_has_no_sign():
    tried = (Hypothesis(Edit("learning_rate", 0.01), "list", -0.001, 0.004), Hypothesis(Edit("loss"), "list", -0.002, -0.001))
    drawn = str(cause.bars(tried))
    assert 'width="2.0%"' in drawn and "-0.00" not in drawn
    whole = str(cause.bars((Hypothesis(Edit("loss"), "list", 0.9, 0.9),)))
    assert 'width="100.0%"' in whole
    found = Explanation("unknown", Skill(-0.001, 9), 80, 240, 2_000, tried=tried)
    assert "-0.00" not in "\n".join(cause.lines(found, 100)) and "−0.00" not in str(cause.cause_section(found))
