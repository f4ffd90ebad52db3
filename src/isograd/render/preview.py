"""What a network will see, as a page: rows as they are beside what training makes of them, each with its class."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.records.preview import Look, Preview, Seen
from isograd.render.markup import Markup, clip, el, join, name, plain
from isograd.render.parts import bullets, facts, section
from isograd.render.verdict import Verdict
from isograd.render.wording import count, number

_HOLDS = {"images": "picture", "sound": "recording", "sequence": "sequence", "table": "row"}


def verdict_of(preview: Preview) -> Verdict:
    """The sentence a person reads first.

    >>> verdict_of(Preview("a.csv", "table", 9, (3,))).headline
    'Training sees each row as it is, every time.'
    """
    what = _HOLDS[preview.holds]
    if not preview.done:
        more = 'With policy = "auto" under [augment] it sees a little changed one in each epoch.'
        return Verdict("good", f"Training sees each {what} as it is, every time.", (more,))
    headline = f"Training sees each {what} a little changed, in another way in each epoch."
    if preview.warnings:
        return Verdict("unsure", headline, preview.warnings)
    told = f"Look whether you would still give each of them its label. Changed by: {preview.done}."
    return Verdict("good", headline, (told,))


def preview_facts(preview: Preview) -> Markup:
    """What is shown, in pairs."""
    return facts(
        [
            ("source", name(preview.source, 200)),
            ("training rows", number(preview.rows)),
            ("shown here", number(len(preview.looks))),
            ("one encoded row", plain(" × ".join(map(str, preview.shape)))),
        ]
    )


def preview_sections(preview: Preview) -> list[Markup]:
    """The rows, and what never changes."""
    kind = " fields" if preview.holds in ("table", "sequence") else ""
    told = "each as it is, then as epochs 1, 2, … see it" if preview.done else "each as it is"
    shown = [_look(look, kind) for look in preview.looks]
    sections = [section("What training sees", f"{count(len(shown), _HOLDS[preview.holds])}, {told}.", *shown, opened=True)]
    always = (
        "Validation, test and prediction see rows as they are.",
        "What becomes of a row is a function of the seed, the epoch and the row: a training that is interrupted goes on "
        "with the very same rows.",
    )
    return [*sections, section("What never changes", "Evaluation, and every repetition.", bullets(always))]


def _look(look: Look, kind: str) -> Markup:
    each = [
        _seen(look.original, "as it is", look.label, kind),
        *(_seen(one, f"epoch {one.epoch}", look.label, kind) for one in look.seen),
    ]
    title = el("h3", join("“", name(look.label), "” "), el("span", name(look.name, 80), class_="soft"))
    return el("article", title, el("ul", *each, class_=f"errors looks{kind}"), class_="look")


def _seen(seen: Seen, when: str, label: str, kind: str) -> Markup:
    parts: Sequence[str] = ()
    if seen.picture is not None:
        alt = plain(f"{label}, {when}", 120)
        parts = (el("img", src=f"data:image/png;base64,{seen.picture}", alt=alt, loading="lazy"),)
    elif seen.fields:
        parts = (
            el("dl", *(piece for key, value in seen.fields for piece in (el("dt", name(key)), el("dd", clip(value, 400))))),
        )
    mixed = el("p", plain(seen.label, 120)) if seen.label != label else ""
    return el("li", *(parts if not kind else ()), el("p", when, class_="soft"), mixed, *(parts if kind else ()))
