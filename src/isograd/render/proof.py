"""A repair and what became of it as text: the verdict, the effect, what it was compared with, the change, and what it cost."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from isograd.records.edit import Edit
from isograd.records.proof import Candidate, Effect, Luck, Proof, Training
from isograd.render import cause
from isograd.render.cause import change, two
from isograd.render.verdict import Tone, Verdict
from isograd.render.wording import count, number, percent

SHOWN = 8
"""Candidates in a text; the page has all."""
PART, TOLD = 0.9, 0.1
"""Of the best that a search met: what has less is a part of a repair. And by how much at least, on the scale of skill."""
_TONES: dict[str, Tone] = {"proven": "good", "not proven": "unsure", "harmful": "bad"}


def changes(edits: Sequence[Edit]) -> str:
    """Edits in a few words each.

    >>> changes([Edit("learning_rate", 0.01, before=1.0), Edit("clear_gradients")])
    'learning rate 1 → 0.01, and clear gradients'
    """
    said = [change(edit) for edit in edits]
    return ", and ".join(filter(None, (", ".join(said[:-1]), *said[-1:])))


def verdict_of(proof: Proof) -> Verdict:
    """The verdict as a sentence with its tone, and what stands under it.

    >>> verdict_of(Proof("not proven", (), "nothing", True)).headline
    'Nothing to cure: no change of this program makes it clearly better.'
    """
    if not proof.edits:
        return _nothing(proof)
    what = changes(proof.edits)
    told = tuple(part for part in (effect_told(proof), _sentence(proof.why)) if part)
    if proof.verdict == "proven":
        more = what_is_left(proof)
        told = (*told[:1], *([more] if more else ()))  # what all pairs prove is said in a row of its own
        kind = "repairs a part of this training" if more else "repairs this training"
        kind = kind if proof.kind == "repair" else "is an improvement: nothing was wrong before"
        luck = f"; so does a random change ({changes(proof.random_edits)})" if is_tied(proof) else ""
        return Verdict("good", f"Proven: {what} {kind}{luck}.", told)
    if proof.verdict == "harmful":
        return Verdict("bad", f"Harmful: {what} makes it worse.", told)
    if proof.undecided:
        return Verdict("unsure", f"Not proven yet: {what} may help.", told)
    return Verdict("unsure", f"Not proven: {what} may help.", told)


def what_is_left(proof: Proof) -> str:
    """What other edits reached in the search, where a repair is far from it; "" where it is not.

    Far is less than PART of the best: a search takes what is smaller where it comes so near.

    >>> of = [Candidate((Edit(kind),), skill, "single") for kind, skill in (("last", 0.3), ("residual", 0.9))]
    >>> what_is_left(Proof("proven", of[0].edits, "repair", False, candidates=tuple(of)))
    'In the search it reached 0.30, and residual paths reached 0.90.'
    >>> what_is_left(Proof("proven", of[1].edits, "repair", False, candidates=tuple(of)))
    ''
    """
    able = [one for one in proof.candidates if one.edits and one.skill is not None]
    own = next((one.skill for one in able if one.edits == proof.edits), None)
    best = max(able, key=lambda one: one.skill or 0.0, default=None)
    if proof.kind != "repair" or proof.measure != "skill" or own is None or best is None or best.skill is None:
        return ""
    if own >= PART * best.skill or best.skill - own < TOLD:
        return ""
    return f"In the search it reached {two(own)}, and {changes(best.edits)} reached {two(best.skill)}."


def is_tied(proof: Proof) -> bool:
    """Whether the edits were not ahead of the random edit on every seed that both ran on.

    >>> is_tied(Proof("proven", (), "nothing", True))
    False
    """
    both = [(one.treated.skill.value, one.random.skill.value) for one in proof.trials if one.random is not None]
    return any(treated <= random for treated, random in both)


def _nothing(proof: Proof) -> Verdict:
    told = tuple(part for part in (_sentence(proof.why),) if part)
    if proof.interrupted:
        return Verdict("unsure", "It was stopped before a change was found.")
    if proof.healthy:
        return Verdict("good", "Nothing to cure: no change of this program makes it clearly better.", told)
    tried = any(one.edits for one in proof.candidates)
    return Verdict("unsure", "No change was found that helps." if tried else "It cannot be said: no change was tried.", told)


def effect_told(proof: Proof) -> str:
    """The effect with its interval, and how many pairs say so; "" where there is no pair."""
    if proof.effect is None:
        return ""
    better = proof.better
    rises = "rises" if proof.effect.mean >= 0.0 else "falls"
    pairs = f"{better} of {count(len(proof.trials), 'new pair')} {'is' if better == 1 else 'are'} better"
    what = "The skill" if proof.measure == "skill" else "The score"
    return f"{what} {on_what(proof)}{_lengths(proof)} {rises} by {interval_of(proof.effect)}; {pairs}."


def _lengths(proof: Proof) -> str:
    """How long the pairs are, where that is not a run: of half a run, or longer with the change.

    >>> of = [Proof("proven", edits, "repair", False, length=12, pair_length=6) for edits in ((), (Edit("steps", 80.0),))]
    >>> [_lengths(one) for one in of]
    [', after 6 of 12 steps,', ', after 6 steps without the change and 40 with it,']
    """
    longer = longer_with(proof.edits)
    if longer and proof.pair_length:
        with_it = round(longer * proof.pair_length / proof.length)
        return f", after {count(proof.pair_length, 'step')} without the change and {with_it:,} with it,"
    return f", after {proof.pair_length:,} of {proof.length:,} steps," if 0 < proof.pair_length < proof.length else ""


def longer_with(edits: Sequence[Edit]) -> int:
    """The steps of a run with the change, where it is one of its length; 0 where it is not."""
    return next((int(float(one.value)) for one in edits if one.kind == "steps" and one.value), 0)


def measured(proof: Proof) -> str:
    """What a picture of the pairs shows.

    >>> measured(Proof("proven", (), "nothing", True, fresh=False)), measured(Proof("proven", (), "nothing", True))
    ('skill with unseen seeds', 'skill on unseen examples')
    """
    return f"{proof.measure} {'on unseen examples' if proof.fresh else 'with unseen seeds'}"


def on_what(proof: Proof) -> str:
    """What is new to the search in a pair: the examples that it is judged by, or the seed alone.

    >>> on_what(Proof("proven", (), "nothing", True, fresh=False))
    'with seeds that the search never used'
    """
    return "on examples that the search never saw" if proof.fresh else "with seeds that the search never used"


def interval_of(effect: Effect) -> str:
    """A difference with its interval.

    >>> interval_of(Effect(0.4213, 0.381, 0.462)), interval_of(Effect(0.4, -math.inf, math.inf))
    ('0.42 (95 %: +0.38 to +0.46)', '0.40 (one pair: no interval)')
    """
    if not math.isfinite(effect.low) or not math.isfinite(effect.high):
        return f"{abs(effect.mean):.2f} (one pair: no interval)"
    digits = 2 if effect.high - effect.low >= 0.02 or effect.high == effect.low else 3
    low, high = (f"{edge:+.{digits}f}".replace("-", "−") for edge in (effect.low, effect.high))
    return f"{abs(effect.mean):.{digits}f} (95 %: {low} to {high})"


def text(proof: Proof, diff: str = "", width: int = 100) -> str:
    """The page: verdict, effect, pairs and controls, the change, what it cost, and what was refused.

    ``diff`` is the change as it is to be made: of a file, or as lines to write.

    >>> print(text(Proof("not proven", (), "nothing", True)).splitlines()[0])
    Nothing to cure: no change of this program makes it clearly better.
    """
    said = verdict_of(proof)
    lines = textwrap.wrap(said.headline, width)
    for told in said.details:
        lines += textwrap.wrap(told, width, initial_indent="  ", subsequent_indent="  ")
    lines += [line for label, told in _rows(proof) for line in cause.row(label, told, width)]
    lines += _pairs(proof)
    if proof.cause is not None:
        lines += _of_cause(proof, width)
    lines += _tried(proof, width)
    lines += [line for remark in proof.remarks for line in cause.row("note", remark, width)]
    if diff and proof.edits:
        lines += ["", "The change:" if proof.verdict == "proven" else "The change that was tried, and is not proven:", ""]
        lines += diff.rstrip("\n").split("\n")
    return "\n".join(lines)


def _rows(proof: Proof) -> Iterator[tuple[str, str]]:
    if proof.trials:
        yield "scale", scale_of(proof)
        yield "against", "; ".join(controls_of(proof))
    if proof.verdict == "proven":
        yield "sure", f"a change that does nothing is called proven {odds_told(proof)} ({percent(proof.false_proof_rate)})"
    if proof.luck is not None:
        yield "luck", luck_told(proof.luck)
    if proof.ceiling is not None and proof.control is not None:
        yield "ceiling", ceiling_told(proof.ceiling, proof.control)
    cost = cost_told(proof)
    if cost:
        yield "cost", cost


def odds_told(proof: Proof) -> str:
    """How often a change that does nothing passes, at most; where others were put to proof before, of all together.

    >>> odds_told(Proof("proven", (), "nothing", True)), odds_told(Proof("proven", (), "nothing", True, earlier=(6,)))
    ('at most once in 64', 'at most once in 32, 2 attempts together')
    """
    together = f", {len(proof.earlier) + 1} attempts together" if proof.earlier else ""
    return f"at most once in {math.floor(1.0 / proof.false_proof_rate)}{together}"


def scale_of(proof: Proof) -> str:
    """What the numbers mean, of our yardstick or of the person's own."""
    return "Skill 0 is the best constant answer, 1 is perfect." if proof.measure == "skill" else "The score is your own."


def controls_of(proof: Proof) -> list[str]:
    """What the pairs were compared with: doing nothing, and a random edit of the same size."""
    treated, control = mean_of([trial.treated for trial in proof.trials]), mean_of([trial.control for trial in proof.trials])
    said = [f"doing nothing: {control} without the change, {treated} with it"]
    drawn = [trial.random for trial in proof.trials if trial.random is not None]
    if drawn and proof.random_edits:
        seeds, random = f"on {count(len(drawn), 'seed')}", changes(proof.random_edits)
        said.append(f"a random change of the same size, drawn before the proof ({random}): {mean_of(drawn)} {seeds}")
    elif proof.edits:
        said.append("no random change was tried beside it")
    return said


def mean_of(trainings: Sequence[Training]) -> str:
    """Mean skill of some trainings."""
    return two(sum(one.skill.value for one in trainings) / max(1, len(trainings)))


def luck_told(luck: Luck) -> str:
    """What random search reached.

    >>> luck_told(Luck(0.4, (Edit("clip_norm", 1.0),), 4, 0.55))
    'the best of 4 random changes, at the cost of the whole search, reached 0.40 (clip norm 1); the one chosen reached 0.55'
    """
    paid = ", at the cost of the whole search," if luck.whole else ""
    best = f" ({changes(luck.edits)})" if luck.edits else ""
    reached = f"reached {two(luck.skill)}{best}; the one chosen reached {two(luck.chosen)}"
    return f"the best of {count(luck.runs, 'random change')}{paid} {reached}"


def ceiling_told(ceiling: Candidate, control: Training) -> str:
    """What the robust preset reached."""
    if ceiling.skill is None:
        return f"the robust preset could not be run: {ceiling.failed}"
    more = "; " + changes(ceiling.edits) if ceiling.edits else ""
    return f"{two(ceiling.skill)} with everything robust at once, {two(control.skill.value)} untouched{more}"


def cost_told(proof: Proof) -> str:
    """What it cost, in full runs and in steps."""
    if not proof.steps:
        return ""
    half = f", pairs of {count(proof.pair_length, 'step')}" if proof.pair_length and proof.pair_length != proof.length else ""
    runs = f"{number(proof.cost_search, 2)} runs to find it and {number(proof.cost_proof, 2)} to prove it"
    if not proof.trials:
        runs = f"{number(proof.cost_search, 2)} {'run' if proof.cost_search == 1.0 else 'runs'} of search"
    longer = longer_with(proof.edits)
    if longer and proof.trials:  # runs of several lengths are counted in steps
        search, proved = (round(cost * proof.length) for cost in (proof.cost_search, proof.cost_proof))
        return f"{search:,} steps to find it and {proved:,} to prove it: {proof.length:,} a run, {longer:,} with the change"
    return f"{runs}: {count(proof.steps, 'step')}, {proof.length:,} a run{half}"


def _pairs(proof: Proof) -> Iterator[str]:
    if not proof.trials:
        return
    drawn = any(trial.random is not None for trial in proof.trials)
    yield f"  pairs     seed     before    after  difference{'    random' if drawn else ''}"
    for trial in proof.trials:
        beside = f"{two(trial.random.skill.value):>10}" if trial.random is not None else ""
        failed = next((one.failed for one in (trial.treated, trial.control) if one.failed), None)
        told = f"  {failed}" if failed else ""
        before, after = two(trial.control.skill.value), two(trial.treated.skill.value)
        values = f"{before:>9}{after:>9}{f'{trial.difference:+.2f}'.replace('-', '−'):>12}"
        yield f"       {trial.seed:9d}  {values}{beside}{told}".rstrip()


def _of_cause(proof: Proof, width: int) -> Iterator[str]:
    assert proof.cause is not None
    for one in proof.cause.causes:
        where = ", ".join(part for part in (one.where, one.source or "") if part)
        yield from cause.row("cause", f"{one.summary} ({cause.SURE[one.certainty]}{'; ' + where if where else ''})", width)
    for seen in proof.cause.seen[: cause.NAMED] if proof.verdict != "proven" else ():
        yield from cause.row("seen", cause.sighting(seen), width)


def _tried(proof: Proof, width: int) -> Iterator[str]:
    """What was tried and not taken, the best first."""
    refused = [one for one in proof.candidates if one.edits and one.edits != proof.edits and one.stage != "random"]
    refused.sort(key=lambda one: -math.inf if one.skill is None else one.skill, reverse=True)
    for place, one in enumerate(refused[:SHOWN]):
        reached = two(one.skill) if one.skill is not None else f"could not be run: {one.failed}"
        yield from cause.row("tried" if not place else "", f"{changes(one.edits)}: {reached}", width)
    if len(refused) > SHOWN:
        yield f"{'':10}and {len(refused) - SHOWN} more"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}." if words else ""
