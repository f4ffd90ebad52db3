"""First aid: steps of this run that were taken back, and what else was done to it while it ran.

Remarks, but for a learning rate that is held down to the end: the program asks for one that ruins it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from isograd.health.case import Case
from isograd.health.looks import listed
from isograd.records.aid import TREATMENTS
from isograd.records.fact import Fact
from isograd.records.finding import Evidence, Finding

_WHY = {
    "nonfinite": "something was not finite",
    "loss": "the loss left its range",
    "update": "the update left its range",
    "gradient": "the gradient left its range",
    "statistics": "the running means of the norms left theirs",
}
_TREATED = {
    "back": "a step that was given in to had ruined it, so the training went back to where it stood at step {what}",
    "forth": "the losses were as bad there: the data are others since then, and the training went on from step {what}",
    "kept": "{what} brought the loss back, and stays",
    "undone": "{what} was tried and did not bring the loss back; it was undone",
    "restart": "the loss has lost most of its gain and nothing in place brings it back: only a new start will",
}
_RESTART = "start again with what watch.explain finds, or with isograd.cure"
REFERENCES = ("Chowdhery et al. 2022, PaLM, arXiv:2204.02311, section 5.1: skip the batches of a loss spike",)


def diagnose(case: Case) -> Iterator[Finding]:
    """One remark for the steps that were taken back, one where first aid came to its end."""
    facts = case.facts("first_aid")
    back = [(step, fact) for step, fact in facts if fact.get("action", "") == "rejected"]
    if back:
        why = Counter(str(fact.get("reason", "")) for _, fact in back)
        reasons = listed([f"{_WHY.get(reason, reason)} ({count}×)" for reason, count in why.most_common()])
        some = listed([f"{step:,}" for step, _ in back], 5)
        steps = f"step {some} was" if len(back) == 1 else f"{len(back)} steps ({some}) were"
        yield Finding(
            "first_aid",
            "note",
            1.0,
            "optimizer",
            f"First aid: {steps} taken back, because {reasons}; weights and optimizer went on from the step before.",
            tuple(_evidence(step, fact) for step, fact in back[:5]),
            since=back[0][0],
            remedy="look at the batches of these steps; a learning rate that stays too high needs to be lowered",
            references=REFERENCES,
        )
    treated = [(step, fact) for step, fact in facts if fact.get("action", "") in _TREATED]
    for step, fact in treated:
        what = str(fact.get("what", ""))
        what = _TREATED[str(fact.get("action", ""))].format(what=TREATMENTS.get(what, what))
        yield Finding(
            "first_aid", "note", 1.0, "optimizer", f"First aid at step {step:,}: {what}.", since=step, remedy=_RESTART
        )
    rates = [(step, fact) for step, fact in facts if fact.get("action", "") in ("held", "freed")]
    if rates:
        freed = rates[-1] if rates[-1][1].get("action", "") == "freed" else None
        held = [one for one in rates if one[1].get("action", "") == "held"]
        yield _held(*held[-1], freed[0] if freed else None)
    ended = [step for step, fact in facts if fact.get("action", "") == "ended"]
    if ended:
        yield Finding(
            "first_aid",
            "note",
            1.0,
            "optimizer",
            f"First aid ended at step {ended[0]:,}: so many actions are no accident, and the run needs another cure.",
            since=ended[0],
            remedy=_RESTART,
        )


def _held(step: int, fact: Fact, freed: int | None) -> Finding:
    asked, used = float(fact.get("value", math.nan)), float(fact.get("bound", math.nan))
    if freed is None:
        text = f"The learning rate of {asked:.2g} ruined this run; first aid holds it at {used:.2g} since step {step:,}"
        text += ", and without it the run would be lost."
    else:
        text = (
            f"First aid held the learning rate at {used:.2g} from step {step:,} to {freed:,}: {asked:.2g} had ruined the run."
        )
    return Finding(
        "first_aid",
        "warning" if freed is None else "note",
        0.9,
        "optimizer",
        text,
        (Evidence(f"{asked:.2g} is asked for, and {used:.2g} is used", "learning_rate", asked, bound=used),),
        since=step,
        remedy=f"a learning rate of {used:.2g}; or a scheduler that says when it is to rise",
        references=REFERENCES,
    )


def _evidence(step: int, fact: Fact) -> Evidence:
    value, bound = float(fact.get("value", math.nan)), float(fact.get("bound", math.nan))
    most = "" if math.isnan(bound) else f", at most {bound:.3g} expected"
    return Evidence(f"step {step:,}: {value:.3g}{most}", "first_aid", value, bound=None if math.isnan(bound) else bound)
