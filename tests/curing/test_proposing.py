"""What is proposed where nothing prescribed helps: combinations that can be made, none twice, and more of what did well."""

import importlib
import logging

import pytest

import isograd.proposing
from isograd.health.remedies.luck import MOST
from isograd.proposing import proposer
from isograd.records.edit import Edit
from isograd.records.proof import Candidate

KINDS = ("shuffle", "residual", "clip_norm", "warm_up", "momentum", "beta2", "eps", "dropout", "batch_size", "weight_decay")
POOL = [Edit(kind, 1.0 if kind not in ("shuffle", "residual") else None) for kind in KINDS] + [Edit("momentum", 0.9)]


def proposed(judge, count, fits=lambda edits: True):
    """So many proposals, each judged and told."""
    propose, known = proposer(POOL, fits), [Candidate((), judge(()), "control", "", 1.0)]
    known += [Candidate((edit,), judge((edit,)), "race", "", 1.0) for edit in POOL[:4]]
    for _ in range(count):
        edits = propose(known)
        if edits is None:
            break
        known.append(Candidate(edits, judge(edits), "combination", "", 1.0))
    return [one.edits for one in known[5:]]


@pytest.fixture(params=["tpe", "luck"])
def method(request, monkeypatch):
    if request.param == "luck":
        monkeypatch.setattr(isograd.proposing.importlib, "import_module", refuse)
    return request.param


def refuse(name):
    raise ImportError(name)


def test_proposals_can_be_made_are_new_and_hold_a_kind_once(method):
    found = proposed(lambda edits: 0.1, 20, fits=lambda edits: all(edit.kind != "dropout" for edit in edits))
    assert len(found) == len(set(found)) == 20
    assert all(1 <= len(edits) <= MOST and len({edit.kind for edit in edits}) == len(edits) for edits in found)
    assert not any(edit.kind == "dropout" for edits in found for edit in edits)


def test_the_same_answers_bring_the_same_proposals(method):
    def judge(edits):
        return len(edits) / 10

    assert proposed(judge, 8) == proposed(judge, 8)


def test_nothing_is_proposed_of_nothing_and_where_nothing_can_be_made(method):
    assert proposer([], lambda edits: True)(()) is None
    assert proposer(POOL, lambda edits: False)(()) is None


def test_what_did_well_is_proposed_more_often_than_by_luck(monkeypatch):
    def judge(edits):
        return 0.2 + 0.5 * any(edit.kind == "eps" for edit in edits)

    learned = proposed(judge, 24)
    monkeypatch.setattr(isograd.proposing.importlib, "import_module", refuse)
    lucky = proposed(judge, 24)

    def share(found):
        return sum(judge(edits) > 0.5 for edits in found[8:]) / 16

    assert share(learned) > 0.6 and share(learned) > share(lucky) + 0.2


def test_what_optuna_says_to_others_stays_as_it_was():
    optuna = importlib.import_module("optuna")
    before = optuna.logging.get_verbosity(), logging.getLogger("optuna").level
    proposed(lambda edits: 0.5, 2)
    assert (optuna.logging.get_verbosity(), logging.getLogger("optuna").level) == before


def test_a_candidate_that_failed_or_is_too_large_does_no_harm():
    propose = proposer(POOL, lambda edits: True)
    failed = [Candidate((edit,), None, "race", "", 1.0, "it raised") for edit in POOL]
    large = Candidate(tuple(POOL[:6]), 0.9, "preset", "", 1.0)
    assert propose([*failed, large])
