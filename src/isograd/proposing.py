"""What to try where nothing that was prescribed helps: Optuna's TPE over combinations of edits; luck where it is missing."""

from __future__ import annotations

import importlib
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from isograd.health.found import Propose
from isograd.health.remedies.luck import MOST, combinations
from isograd.health.remedies.order import in_order
from isograd.health.trials import WORST
from isograd.records.edit import Edit
from isograd.records.proof import Candidate

TRIES = 100
"""Proposals that cannot be made in the program, or that were tried, before the search for another is given up."""
STARTUP = 8
"""Candidates that must be known before they are a model of what helps: control, preset, races and some by luck."""


def proposer(pool: Sequence[Edit], fits: Callable[[tuple[Edit, ...]], bool]) -> Propose:
    """The next combination of at most ``MOST`` edits of ``pool``, told of all candidates so far; the same again for the same.

    >>> propose = proposer([Edit("clip_norm", 1.0), Edit("residual")], lambda edits: True)
    >>> propose(()) == proposer([Edit("clip_norm", 1.0), Edit("residual")], lambda edits: True)(())
    True
    """
    waiting: list[Iterator[tuple[Edit, ...]]] = []

    def propose(candidates: Sequence[Candidate]) -> tuple[Edit, ...] | None:
        if not pool:
            return None
        known = {one.edits for one in candidates}
        found = _tpe(pool, candidates)
        if found is None:  # drawn in one row: another call goes on where the last one ended
            waiting.extend([combinations(pool, random.Random(1).random)] * (not waiting))
            found = waiting[0]
        return next((edits for edits in islice(found, TRIES) if edits and edits not in known and fits(edits)), None)

    return propose


def _tpe(pool: Sequence[Edit], candidates: Sequence[Candidate]) -> Iterator[tuple[Edit, ...]] | None:
    """Proposals by a tree-structured Parzen estimator that has seen the candidates; None without Optuna.

    Each of ``MOST`` places holds an edit or none, so that luck and TPE search the same space; candidates of more edits than
    places say nothing. Source: Bergstra et al. 2011, Algorithms for hyper-parameter optimization, section 4.
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ImportError:
        return None
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = optuna.samplers.TPESampler(seed=len(candidates), n_startup_trials=STARTUP)
        study = optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(said)
    places = [f"edit {place}" for place in range(1, MOST + 1)]
    spread = optuna.distributions.CategoricalDistribution(range(len(pool) + 1))
    numbers = {edit: number for number, edit in enumerate(pool, 1)}
    for one in candidates:
        if len(one.edits) <= MOST and all(edit in numbers for edit in one.edits):
            chosen = [numbers[edit] for edit in one.edits]
            values = dict(zip(places, chosen + [0] * (MOST - len(chosen)), strict=True))
            value = WORST if one.skill is None else one.skill
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                study.add_trial(
                    optuna.trial.create_trial(params=values, distributions=dict.fromkeys(places, spread), value=value)
                )
    return _asked(study, places, spread, pool)


def _asked(study: Any, places: Sequence[str], spread: Any, pool: Sequence[Edit]) -> Iterator[tuple[Edit, ...]]:
    while True:
        trial = study.ask(dict.fromkeys(places, spread))
        made: dict[str, Edit] = {}
        for place in places:
            if trial.params[place]:
                edit = pool[trial.params[place] - 1]
                made.setdefault(edit.kind, edit)
        yield in_order(list(made.values()))
