"""The cause by experiment as text and as a section of the page: the sentence, how sure, and what each trial did."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from isograd.records.anatomy import capital, spot
from isograd.records.cause import TIMED, Cause, Explanation, Hypothesis, Sighting
from isograd.records.edit import OFF, Edit
from isograd.render.markup import Markup, clip, el, join
from isograd.render.parts import bullets, chart, section, table, words
from isograd.render.wording import number

SHOWN = 12
"""Trials in a text; the page has all."""
NAMED = 3
"""What was seen in a text, where no experiment names a cause; the page has all."""
_HEIGHT = 36
LEAST_WIDTH = 0.2
"""The gain that fills the width of the picture, where none is larger: bars of nothing are not to look like something."""
_ANSWERS = {
    "healthy": "Nothing is to blame: no change of one thing does this program as much good as a fault would cost it.",
    "no signal": "What is trained on can be learned by heart, and nothing of it carries over: either the labels do not "
    "follow from the inputs, or this network cannot see what they follow from.",
    "unknown": "Nothing that was tried explains it.",
    "interrupted": "The search was stopped before it could say.",
}
_FIRST = "Read off the program itself, and no trial takes it away:"
_SEEN = "What was seen remains possible, though no trial shows it:"
SCALE = (
    "skill is 0 for the best constant answer and 1 for perfect ones, on examples that were not trained on; gain is what the "
    "change adds to it, harm what the present value takes from a healthy network of this family"
)
SURE = {"sure": "sure", "likely": "likely", "possible": "one of several"}


def headline(found: Explanation) -> str:
    """The answer in a sentence.

    >>> from isograd.records.skill import Skill
    >>> headline(Explanation("unknown", Skill(0.0, 10), 80, 160, 2000))
    'Nothing that was tried explains it.'
    """
    if not found.causes:
        said = _ANSWERS.get(found.answer, _ANSWERS["unknown"])
        return f"{said} {_SEEN}" if _standing(found) else said
    first = [one.finding.summary for one in found.seen]
    return " And: ".join((*first, *(cause.summary for cause in found.causes)))


_WORDS = {
    "loss": "the loss that fits",
    "last": "no function behind the last layer",
    "residual": "residual paths",
    "input_scale": "inputs standardised",
    "target_scale": "targets standardised",
}
"""Edits whose kind alone does not say what they do."""


def change(edit: Edit) -> str:
    """An edit in a few words.

    >>> change(Edit("learning_rate", 0.01, before=1.0)), change(Edit("clear_gradients")), change(Edit("loss"))
    ('learning rate 1 → 0.01', 'clear gradients', 'the loss that fits')
    """
    name = edit.kind.replace("_", " ")
    if edit.kind in _WORDS and not edit.off:
        return _WORDS[edit.kind]
    if edit.value == OFF:
        return f"{name} off"
    if edit.off and edit.kind != "precision":
        was = "" if edit.before is None else f" (was {_value(edit.before)})"
        return f"no {'clipping' if name.startswith('clip') else name}{was}"
    if edit.value is None or (isinstance(edit.value, str) and edit.kind.endswith("scale")):
        return name if edit.value is None else f"{name} {edit.value}"
    known = isinstance(edit.before, float | int) and not isinstance(edit.value, str)
    known = known or (edit.kind in ("activation", "optimizer") and isinstance(edit.before, str) and edit.before != "adaptive")
    before = f"{_value(edit.before)} → " if known else ""
    return f"{name} {before}{_value(edit.value)}"


def _standing(found: Explanation) -> list[Sighting]:
    """What was seen and is not refuted."""
    return [one for one in found.seen if one.standing != "refuted"]


def helping(found: Explanation) -> str:
    """The remedies, each with what it gained."""
    gains = {one.edit: one.gain for one in found.tried if not one.given}
    return ", ".join(f"{change(edit)} ({gains[edit]:+.2f})" if edit in gains else change(edit) for edit in found.remedies)


def trial_of(one: Sighting) -> str:
    """What the trials say of something that was seen.

    >>> from isograd.records.finding import Finding
    >>> seen = Finding("leak", "critical", 0.9, "data", "The answer is among the inputs.")
    >>> trial_of(Sighting(seen, "no edit")), trial_of(Sighting(seen, "no help", Edit("shuffle"), 0.02, 320))
    ('not tried, for isograd knows no change that takes it away', 'shuffle alone gained 0.02 in 320 steps')
    """
    name = "" if one.edit is None else change(one.edit)
    return {
        "no edit": "not tried, for isograd knows no change that takes it away",
        "not tried": f"not tried, for the search ended before {name}",
        "failed": f"not tried, for {name} could not be run here",
        "no help": f"{name} alone {_gained(one)} in {one.steps} steps",
        "refuted": f"refuted: {name} costs {-one.gain:.2f} of the skill in {one.steps} steps",
    }[one.standing]


def _gained(one: Sighting) -> str:
    return "made no difference" if abs(one.gain) < 0.005 else f"{'gained' if one.gain > 0.0 else 'lost'} {abs(one.gain):.2f}"


def sighting(one: Sighting) -> str:
    """The sentence of an alarm with its place, and what the trials say."""
    place = spot(one.finding.where, one.finding.source)
    return f"{one.finding.summary.rstrip('.')} ({place}): {trial_of(one)}"


def lines(found: Explanation, width: int = 100) -> Iterator[str]:
    """The text: each cause with why and what to do, then the trials that did most, then what it cost."""
    said = f"Cause, by experiment: {headline(found)}" if not found.causes else _FIRST if found.seen else ""
    yield from textwrap.wrap(said, width)
    if found.causes:
        yield from _seen(found, width)
    for place, cause in enumerate(found.causes):
        head = "Cause, by experiment: " if not place else "And: "
        yield from textwrap.wrap(f"{head}{cause.summary} ({SURE[cause.certainty]})", width)
        yield from _of_cause(found, cause, width)
    if not found.causes:
        yield from _seen(found, width)
    if found.remedies:
        yield from row("helps", f"{helping(found)}: remedies, for what they change does healthy networks no harm", width)
    yield from _trials(found)
    if found.tried:
        yield from row("scale", SCALE, width)
    yield from row("cost", f"{spent(found)} steps, {found.length} a trial", width)
    for remark in found.remarks:
        yield from row("note", remark, width)


def _seen(found: Explanation, width: int) -> Iterator[str]:
    for one in found.seen[:NAMED]:
        yield from row("seen", sighting(one), width)


def _of_cause(found: Explanation, cause: Cause, width: int) -> Iterator[str]:
    yield from row("where", spot(cause.where, cause.source) or "the program", width)
    yield from row("why", _why(found, cause), width)
    yield from row("try", cause.edit.text, width)
    if cause.rivals:
        rivals = " or ".join(change(edit) for edit in cause.rivals)
        yield from row("or", f"{rivals}: not told apart; both again from another seed, or for longer, would decide", width)


def _why(found: Explanation, cause: Cause) -> str:
    """What the trial of the edit showed, and what the present value does elsewhere."""
    rows = [one for one in found.tried if one.edit == cause.edit and one.skill is not None]
    joint = next((one for one in rows if _beside(one)), None)
    if joint is not None and joint.gain == cause.gain:
        all_of_them = "both" if len(joint.given) == 1 else f"all {len(joint.given) + 1}"
        gain = (
            f"with {all_of_them} put right the skill on held-out examples is {two(joint.skill)} after {found.length} steps, "
            f"and {two((joint.skill or 0.0) - cause.gain)} where this one is put back"
        )
    else:
        said = next((one for one in rows if one.gain == cause.gain), None)
        ends = "" if said is None else f", from {two((said.skill or 0.0) - said.gain)} to {two(said.skill)}"
        steps = said.steps if said is not None and said.reason.endswith("for longer") else found.length
        gain = f"with the change the skill on held-out examples rises by {cause.gain:.2f} in {steps} steps{ends}"
    if cause.harm is None:
        return f"{gain}; what it would cost a healthy network is not known"
    return f"{gain}; what is there now costs a healthy network of this family {cause.harm:.2f}"


def two(value: float | None) -> str:
    """Two decimals, and no zero below zero.

    >>> two(-0.001), two(-0.2), two(0.456)
    ('0.00', '−0.20', '0.46')
    """
    return f"{(value or 0.0) + 0.0:z.2f}".replace("-", "−")


def proposed_by(reason: str) -> str:
    """Who proposed a trial, as a person who does not know the search says it.

    >>> proposed_by("list"), proposed_by("finding: dead units, for longer"), proposed_by("fact: it trains in evaluation mode")
    ('tried on every program', 'found: dead units, for longer', 'the program: it trains in evaluation mode')
    """
    first, rest = (*reason.split(", ", 1), "")[:2] if not reason.startswith(("fact", "finding")) else (reason, "")
    said = {"list": "tried on every program", "value": "a value far from the usual"}.get(first, first)
    said = said.replace("finding: ", "found: ").replace("fact: ", "the program: ")
    return f"{said}, {rest}" if rest else said


def _beside(one: Hypothesis) -> bool:
    """Whether it was put back where all that was suspect had been mended at once."""
    return one.reason.startswith("beside ")


def _trials(found: Explanation) -> Iterator[str]:
    if not found.tried:
        return
    shown = sorted(found.tried, key=lambda one: (-one.score, -one.gain))[:SHOWN]
    names = [_short(one) for one in shown]
    wide = min(58, max(map(len, (*names, "no change"))))
    yield f"  tried   {'':<{wide}}  skill    gain   harm"
    yield f"          {'no change':<{wide}}  {found.control.value:z5.2f}"
    for name, one in zip(names, shown, strict=True):
        yield f"          {clip(name, wide):<{wide}}  {_figures(one)}"
    if len(found.tried) > SHOWN:
        yield f"          and {len(found.tried) - SHOWN} more"


def _figures(one: Hypothesis) -> str:
    if one.skill is None:
        return f"could not be run: {one.failed}"
    if _is_untouched(one):
        return f"{one.skill:z5.2f}"
    harm = "" if one.edit.remedy else "  ?" if one.harm is None else f"{one.harm:5.2f}"
    return f"{one.skill:z5.2f}  {one.gain:+z6.2f}  {harm}".rstrip()


def _short(one: Hypothesis) -> str:
    """The name of a trial in a line: of several changes at once their number."""
    if one.reason == "all at once":
        return f"{len(one.given) + 1} changes at once"
    return f"{change(one.edit)}, with the others" if _beside(one) else _named(one)


def _named(one: Hypothesis) -> str:
    """The edits of a trial, and its steps where these were more than usual."""
    longer = f", {one.steps} steps" if one.reason.endswith("for longer") else ""
    if _is_untouched(one):
        return f"no change{longer}"
    return " + ".join(change(edit) for edit in (*one.given, one.edit)) + longer


def _is_untouched(one: Hypothesis) -> bool:
    """Whether nothing was changed, for longer."""
    return one.reason.startswith("no change")


def cause_section(found: Explanation) -> Markup:
    """The section of the page, open."""
    named = [
        el(
            "article",
            el("p", f"{cause.certainty}", class_="word"),
            el("h3", cause.summary),
            el("dl", *_facts(found, cause)),
            class_="finding",
        )
        for cause in found.causes
    ]
    seen = [
        el(
            "article",
            el("p", _word(found, one), class_="word"),
            el("h3", one.finding.summary),
            el("dl", *_seen_facts(one)),
            class_="finding",
        )
        for one in found.seen
    ]
    causes = (*seen, *named)
    rows = [
        [
            join(_named(one)),
            join(proposed_by(one.reason) if one.failed is None else f"could not be run: {one.failed}"),
            "–" if one.skill is None else f"{one.skill:z.2f}",
            "–" if one.skill is None else f"{one.gain:+z.2f}",
            "remedy" if one.edit.remedy else "?" if one.harm is None else f"{one.harm:.2f}",
        ]
        for one in found.tried
    ]
    numbers = table("What was tried", ("change", "proposed by", "skill", "gain", "harm"), rows, text=2)
    control = f"{found.control.value:z.2f}".replace("-", "−")
    picture = chart(
        "What each change gained",
        f"The untouched program reaches a skill of {control} in {found.length} steps; each bar is what one "
        "change adds on held-out examples.",
        bars(found.tried),
        numbers,
    )
    cost = words(f"{capital(SCALE)}. {capital(spent(found))} steps were used.")
    parts = (*causes, picture if found.tried else "", cost, bullets(found.remarks))
    return section("The cause, by experiment", headline(found), *parts, opened=True, anchor="cause")


def spent(found: Explanation) -> str:
    """How many steps were used, of how many where these were counted.

    >>> from isograd.records.skill import Skill
    >>> [spent(Explanation("unknown", Skill(0.0, 9), 80, 1600, budget)) for budget in (2000, TIMED)]
    ['1,600 of 2,000', '1,600']
    """
    return f"{number(found.spent)}{'' if found.budget >= TIMED else f' of {number(found.budget)}'}"


def _word(found: Explanation, one: Sighting) -> str:
    """How far something that was seen can be relied on: before a cause stands what is read off the program itself."""
    return "refuted" if one.standing == "refuted" else "read off" if found.causes else "possible"


def _seen_facts(one: Sighting) -> list[Markup]:
    pairs = [
        ("where", spot(one.finding.where, one.finding.source)),
        ("trial", trial_of(one)),
        ("try", one.finding.remedy or ""),
    ]
    return [piece for key, value in pairs if value for piece in (el("dt", key), el("dd", value))]


def _facts(found: Explanation, cause: Cause) -> list[Markup]:
    pairs = [
        ("where", spot(cause.where, cause.source)),
        ("why", _why(found, cause)),
        ("try", cause.edit.text),
        ("or", " or ".join(change(edit) for edit in cause.rivals)),
    ]
    return [piece for key, value in pairs if value for piece in (el("dt", key), el("dd", value))]


def bars(tried: Sequence[Hypothesis]) -> Markup:
    """One bar a change under its name, the best first, as far as it gained; names and bars use the width that there is."""
    shown = sorted((one for one in tried if one.skill is not None and not _is_untouched(one)), key=lambda one: -one.gain)[
        :SHOWN
    ]
    most = max(LEAST_WIDTH, *(abs(one.gain) for one in shown))
    drawn = []
    for place, one in enumerate(shown):
        top, long = place * _HEIGHT, 100.0 * max(0.0, one.gain) / most
        fill = "currentColor" if one.score > 0.0 else "#8a8a8a"
        drawn.append(el("text", clip(_named(one), 44), x=0, y=top + 14, font_size=12, fill="currentColor"))
        drawn.append(
            el("text", f"{one.gain:+z.2f}", x="100%", y=top + 14, text_anchor="end", font_size=12, fill="currentColor")
        )
        drawn.append(el("rect", x=0, y=top + 20, width=f"{long:.1f}%", height=_HEIGHT - 28, fill=fill))
    label = "Bars of the gain of each change"
    return el("svg", *drawn, width="100%", height=_HEIGHT * len(shown), role="img", aria_label=label)


def row(label: str, text: str, width: int) -> list[str]:
    """A line of a page of text with its label, wrapped."""
    head = f"  {label:<8}"
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * 10, break_on_hyphens=False) or [head]


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float | int) else str(value)
