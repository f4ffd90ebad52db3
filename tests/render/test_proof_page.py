"""A proof as text, as a page and as a figure: the verdict first, and nothing claimed that was not shown."""

import dataclasses
import re

import pytest

from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Effect, Proof
from isograd.render import figure, pairs, proof


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def test_the_text_says_the_verdict_first_then_effect_controls_luck_cost_and_what_was_refused(samples):
    page = proof.text(samples.proof(), "--- a.py\n+++ a.py\n")
    assert page.splitlines()[0] == "Proven: learning rate 30 → 0.5 repairs this training."
    for part in (
        "rises by 0.52 (95 %: +0.48 to +0.56); 6 of 6 new pairs are better.",
        "doing nothing: 0.26 without the change, 0.78 with it",
        "a random change of the same size, drawn before the proof (momentum 0.9 → 0.5): 0.20 on 3 seeds",
        "at most once in 64 (1.6 %)",
        "the best of 5 random changes, at the cost of the whole search, reached 0.60",
        "4.2 runs to find it and 15 to prove it",
        "1005 0.31 0.80 +0.49",
        "activation sigmoid → relu: 0.30",
        "could not be run: the model computes in <float32> already",
        "the forward pass is random",
        "The change: --- a.py",
    ):
        assert squeezed(part) in squeezed(page), part
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize(
    ("verdict", "kind", "words", "tone"),
    [
        ("proven", "repair", "Proven: learning rate 30 → 0.5 repairs this training.", "good"),
        ("proven", "improvement", "is an improvement: nothing was wrong before.", "good"),
        ("not proven", "repair", "Not proven: learning rate 30 → 0.5 may help.", "unsure"),
        ("harmful", "repair", "Harmful: learning rate 30 → 0.5 makes it worse.", "bad"),
    ],
)
def test_each_verdict_has_its_sentence_and_its_tone(samples, verdict, kind, words, tone):
    said = proof.verdict_of(samples.proof(verdict, kind))
    assert words in said.headline and said.tone == tone


def test_a_tie_with_the_random_change_is_told_in_the_headline(samples):
    ahead = samples.proof()
    first, *rest = ahead.trials
    tied = dataclasses.replace(ahead, trials=(dataclasses.replace(first, random=first.treated), *rest))
    said = proof.verdict_of(tied).headline
    assert said == "Proven: learning rate 30 → 0.5 repairs this training; so does a random change (momentum 0.9 → 0.5)."
    assert not proof.is_tied(ahead) and proof.is_tied(tied)


def test_a_repair_that_is_far_from_what_the_search_met_is_called_a_part_of_one(samples):
    of = samples.proof()
    own = Candidate(of.edits, 0.3, "single")
    better = Candidate((Edit("residual"), Edit("optimizer", "adam")), 0.9, "combination")
    said = proof.verdict_of(dataclasses.replace(of, candidates=(own, better)))
    assert said.headline == "Proven: learning rate 30 → 0.5 repairs a part of this training."
    assert said.details[-1] == "In the search it reached 0.30, and residual paths, and optimizer adam reached 0.90."
    near = proof.verdict_of(dataclasses.replace(of, candidates=(dataclasses.replace(own, skill=0.85), better)))
    assert "a part" not in near.headline and len(near.details) == 1


def test_what_was_put_to_proof_after_another_says_the_odds_of_both_together(samples):
    second = dataclasses.replace(samples.proof(), pairs_needed=7, earlier=(6,))
    page = squeezed(proof.text(second, ""))
    assert "at most once in 42, 2 attempts together (2.3 %)" in page
    assert page.count("every one better") == 0, "the pairs are told once"
    assert "attempts" not in proof.text(samples.proof(), "")


def test_what_is_not_proven_says_so_beside_the_change_and_claims_no_rate(samples):
    page = proof.text(samples.proof("not proven"), "--- a\n")
    assert "The change that was tried, and is not proven:" in page and "once in 64" not in page


def test_nothing_to_cure_and_nothing_found_are_two_answers():
    tried = (Candidate((Edit("clear_gradients"),), 0.1, "single"),)
    healthy, sick = (Proof("not proven", (), "nothing", state, candidates=tried) for state in (True, False))
    assert proof.verdict_of(healthy).tone == "good" and "Nothing to cure" in proof.text(healthy)
    assert proof.verdict_of(sick).headline == "No change was found that helps."
    assert "stopped" in proof.verdict_of(dataclasses.replace(sick, interrupted=True)).headline
    assert proof.verdict_of(dataclasses.replace(sick, candidates=())).headline == "It cannot be said: no change was tried."


def test_pairs_of_half_a_run_say_so_beside_the_effect(samples):
    whole = dataclasses.replace(samples.proof(), length=300, pair_length=300)
    half = dataclasses.replace(whole, pair_length=150)
    assert "after 150 of 300 steps, rises by" in squeezed(proof.text(half, ""))
    assert "of 300 steps, rises" not in squeezed(proof.text(whole, ""))


def test_one_pair_has_no_interval():
    assert proof.interval_of(Effect(-0.25, float("-inf"), float("inf"))) == "0.25 (one pair: no interval)"
    assert proof.interval_of(Effect(0.004, 0.001, 0.007)) == "0.004 (95 %: +0.001 to +0.007)"


def test_the_page_draws_every_training_and_every_pair_and_escapes_what_others_wrote(samples, read):
    page = pairs.proof_page(samples.proof(), "--- <b>\n+++ x\n-old <i>\n+new\n same\n")
    tree = read(page)
    hero, ends = tree.all("svg", class_="plot")[0], tree.all("svg", class_="plot pairs")[0]
    assert len([path for path in hero.all("path") if (path.attributes.get("class") or "").startswith("line")]) == 15
    assert len(ends.all("circle")) == 12
    assert [one.text for one in tree.all("ins")] == ["+new"] and [one.text for one in tree.all("del")] == ["-old <i>"]
    assert "&lt;float32&gt;" in page and "<script" not in page
    assert len(page) < 300_000


def test_a_proof_without_curves_shows_its_pairs_and_one_without_pairs_its_words(samples, read):
    bare = samples.proof()
    flat = tuple(
        dataclasses.replace(
            t,
            control=dataclasses.replace(t.control, curve=()),
            treated=dataclasses.replace(t.treated, curve=()),
            random=None,
        )
        for t in bare.trials
    )
    tree = read(pairs.proof_page(dataclasses.replace(bare, trials=flat)))
    assert len(tree.all("svg", class_="plot pairs")) == 1
    nothing = read(pairs.proof_page(Proof("not proven", (), "nothing", False, remarks=("a remark",))))
    assert nothing.all("h1")[0].text == "It cannot be said: no change was tried."


def test_a_figure_has_a_line_for_every_training(samples):
    pytest.importorskip("matplotlib")
    axes = figure.pairs(samples.proof()).axes[0]
    assert len(axes.get_lines()) == 15
    assert len(axes.get_legend().get_texts()) == 3


def test_a_place_is_said_beside_its_edit(samples):
    edit = Edit("initialisation", "he", where="body.3")
    page = pairs.proof_page(dataclasses.replace(samples.proof(), edits=(edit,)))
    assert "draw the weights again (he), at body.3" in page


def test_pictures_speak_of_unseen_examples_only_where_there_are_some(samples):
    fresh = samples.proof()
    stale = dataclasses.replace(fresh, fresh=False)
    assert "unseen examples" in pairs.proof_page(fresh) and "unseen seeds" in pairs.proof_page(stale)
    assert "unseen examples" not in pairs.proof_page(stale)
    assert figure.pairs(stale).axes[0].get_ylabel() == "skill with unseen seeds"
