"""The benchmark of cures counts what it says it counts."""

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
cure = pytest.importorskip("cure")

from isograd.records.edit import Edit  # noqa: E402


def row(key, verdict="proven", reached=0.9, size=1, **changes):
    found = {
        "key": key,
        "verdict": verdict,
        "kind": "repair",
        "edits": [],
        "size": size,
        "control": 0.0,
        "operator": "rate too low",
    }
    found |= {"cost_search": 4.0, "cost_proof": 7.5, "twin": [1.0, 0.9], "methods": {name: [reached] for name in cure.METHODS}}
    return found | {"repaired": dict.fromkeys(cure.METHODS, reached >= 0.9)} | changes


def test_repaired_faults_are_counted_among_those_that_an_edit_can_take_back():
    by_hand, spoiled = row("c", operator="weights clamped as in a critic"), row("e", operator="NaN in a column")
    rows = [
        row("a"),
        row("b", "not proven", 0.1),
        by_hand,
        spoiled,
        row("f", control=0.91),
        {"key": "d", "why_not": "two models"},
    ]
    told = cure.figures(rows)
    assert (told["cases"], told["curable"], told["proven"], told["repaired"]["cure"]) == (5, 2, 1, 1)
    assert (told["taken_back_by_no_edit"], told["not_in_the_replay"]) == (["c", "e"], ["f"])
    assert told["median_cost"] == 11.5 and told["size_at_most_inverse"] == 1.0 and told["not_run"] == ["d: two models"]


def test_a_double_fault_is_taken_back_where_each_of_the_two_is_and_its_inverse_is_as_large_as_both():
    assert cure.inverse_of(row("a", operator="rate too low + weights all zero")) == 2
    assert cure.inverse_of(row("a", operator="rate too low + NaN in a column")) == 0


def test_a_proof_of_nothing_is_rare():
    assert cure.false_share([0.1, 0.5, 0.9, 0.30001, 0.7], 3_000) <= 0.025


def test_the_best_of_what_was_tried_counts_where_it_is_better_at_all():
    edits = (Edit("clip_norm", 1.0),)
    assert cure.best_of([(0.2, edits), (0.1, ())], 0.15) == edits
    assert cure.best_of([(0.1, edits)], 0.15) == () and cure.best_of([], 0.0) == ()


def test_tpe_searches_the_space_that_it_is_given():
    small = [Edit("clip_norm", 1.0), Edit("learning_rate", 0.1), Edit("learning_rate", 0.2)]
    assert len(list(cure.of_tpe(small, 6, lambda edits: float(len(edits))))) == 5, "there are no more than five combinations"
    tried = list(cure.of_tpe([*small, Edit("weight_decay", 0.01)], 6, lambda edits: float(len(edits))))
    assert len(tried) == len({frozenset(edits) for _, edits in tried}) == 6
    assert all(len({edit.kind for edit in edits}) == len(edits) for _, edits in tried)


def test_a_loader_of_single_examples_holds_what_the_twin_goes_through():
    program = cure.PROGRAMS["moons"]
    one = cure.Ground(program, dataclasses.replace(program.settings, batch=1))
    batches = one.tape(0)[0]
    assert len(batches) > one.steps and {len(x) for x, _ in batches} == {1}
    usual = cure.Ground(program, program.settings).tape(0)[0]
    assert len(batches) == sum(len(x) for x, _ in usual)
