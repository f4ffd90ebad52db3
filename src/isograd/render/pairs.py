"""The page of a proof: the paired curves, the change as a diff, what it was compared with, what was tried and refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.records.proof import Candidate, Proof, Training, Trial
from isograd.render import axes, cause, html, svg
from isograd.render.markup import Markup, clip, el, join
from isograd.render.parts import bullets, chart, facts, section, table, words
from isograd.render.proof import (
    ceiling_told,
    changes,
    controls_of,
    cost_told,
    interval_of,
    luck_told,
    measured,
    odds_told,
    on_what,
    scale_of,
    verdict_of,
)
from isograd.render.svg import Series
from isograd.render.wording import count, number, percent

_SIDES = (("with the change", 0), ("no change", 1), ("a random change", 2))
"""What is drawn, and the style of its lines."""
_ROW = 44
_STAGES = {
    "control": "no change",
    "preset": "everything robust at once",
    "single": "one change",
    "combination": "several changes",
    "shrunk": "with a part taken away",
    "race": "race",
    "random": "luck",
    "asked": "asked for",
}


def proof_page(found: Proof, diff: str = "") -> str:
    """The page of a repair: the paired curves, the change, what it was compared with.

    >>> "Nothing to cure" in proof_page(Proof("not proven", (), "nothing", True))
    True
    """
    said = verdict_of(found)
    sections = sections_of(found, diff)
    if found.cause is not None:
        told = replace(found.cause, seen=()) if found.verdict == "proven" else found.cause
        sections.insert(1, cause.cause_section(told))
    about = "isograd cure: what was tried, and what is proven"
    return html.page(f"isograd: {said.headline}", about, said, hero_of(found), facts_of(found), sections, "")


def hero_of(proof: Proof) -> Markup:
    """The curves of all pairs in one picture; without curves the pairs alone, without pairs nothing."""
    drawn = [one for one in _lines(proof.trials) if len(one.points) > 1]
    if not drawn:
        return pair_chart(proof) if proof.trials else Markup("")
    x = axes.fit((at for one in drawn for at, _ in one.points), log=False)
    y = axes.fit((value for one in drawn for _, value in one.points), log=False)
    title = _title(proof)
    picture = svg.lines(drawn, x, y, title=title, x_label="step", y_label=measured(proof))
    same = (
        "the same weights and see the same batches" if proof.varies == "weights" else "the same weights: only the order differs"
    )
    sentence = f"One line is one training. The trainings of a pair begin from {same}. {scale_of(proof)}".rstrip()
    seen = {one.style for one in drawn}
    legend = [Series(name, (), style) for name, style in _SIDES if style in seen]
    return chart(title, sentence, picture, _numbers(proof), legend=legend)


def _title(proof: Proof) -> str:
    better = sum(trial.difference > 0.0 for trial in proof.trials)
    if len(proof.trials) == 1:
        return f"In the one pair that was run the change is {'better' if better else 'not better'}"
    return f"In {better} of {count(len(proof.trials), 'pair')} the change is better"


def _what(proof: Proof) -> str:
    return "skill" if proof.measure == "skill" else "score"


def _sides(trial: Trial) -> list[tuple[str, int, Training]]:
    found = [(*_SIDES[0], trial.treated), (*_SIDES[1], trial.control)]
    return found + ([(*_SIDES[2], trial.random)] if trial.random is not None else [])


def _lines(trials: Sequence[Trial]) -> list[Series]:
    return [
        Series(name, axes.thin([(float(step), skill) for step, skill in made.curve]), style)
        for trial in trials
        for name, style, made in reversed(_sides(trial))
    ]


def _numbers(proof: Proof) -> Markup:
    drawn = any(trial.random is not None for trial in proof.trials)
    head = ["seed", "no change", "with the change", "difference", *(["a random change"] if drawn else [])]
    rows = []
    for trial in proof.trials:
        row = [str(trial.seed), _shown(trial.control), _shown(trial.treated), _signed(trial.difference)]
        rows.append(row + ([_shown(trial.random)] if drawn else []))
    return table(f"{_what(proof).capitalize()} at the end, {on_what(proof)}", head, rows, text=0)


def _shown(made: Training | None) -> str:
    if made is None:
        return "–"
    return f"{made.skill.value:.3f}".replace("-", "−") + (" (failed)" if made.failed else "")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def pair_chart(proof: Proof) -> Markup:
    """One row a seed: from where it ends without the change to where it ends with it."""
    values = [made.skill.value for trial in proof.trials for _, _, made in _sides(trial) if math.isfinite(made.skill.value)]
    axis = axes.fit(values, log=False)
    drawn: list[str] = []
    high = _ROW * len(proof.trials)
    for tick in axis.ticks:
        at = f"{axis.place(tick):.2%}"
        drawn.append(el("line", x1=at, x2=at, y1=0, y2=high, class_="rule"))
        drawn.append(el("text", axis.label(tick), x=at, y=high + 18, text_anchor="middle"))
    for place, trial in enumerate(proof.trials):
        drawn += _row_of(trial, axis, place * _ROW + _ROW / 2 + 8)
    title = "Where each pair ends"
    picture = el("svg", *drawn, class_="plot pairs", height=high, role="img", aria_label=title)
    legend = [Series(name, (), style) for name, style in _SIDES if style < 2 or any(t.random for t in proof.trials)]
    key = el(
        "p",
        *(el("span", _dot(style), f" {one.name}") for one, (_, style) in zip(legend, _SIDES, strict=False)),
        class_="legend",
    )
    sentence = f"Each row is one seed; the line goes from no change to the change. {measured(proof).capitalize()}."
    return chart(title, sentence, picture, _numbers(proof), key=key)


def _row_of(trial: Trial, axis: axes.Axis, y: float) -> list[str]:
    before, after = (f"{axis.place(one.skill.value):.2%}" for one in (trial.control, trial.treated))
    row: list[str] = [
        el("text", f"seed {trial.seed}", x="0", y=f"{y - 14:g}", text_anchor="start", class_="word"),
        el("line", x1=before, x2=after, y1=f"{y:g}", y2=f"{y:g}", class_="line s0" if trial.difference > 0 else "line s1"),
    ]
    for _, style, made in sorted(_sides(trial), key=lambda side: (side[1] + 2) % 3):  # no change, luck, the change on top
        row.append(_mark(style, f"{axis.place(made.skill.value):.2%}", f"{y:g}"))
    return row


def _mark(style: int, x: str, y: str) -> Markup:
    """Filled with the change, open without it, a short stroke for luck: told apart without colour."""
    if style == 2:
        return el("line", x1=x, x2=x, y1=f"{float(y) - 6:g}", y2=f"{float(y) + 6:g}", class_="line s2 solid")
    return el("circle", cx=x, cy=y, r=5, class_=f"spot s{style}")


def _dot(style: int) -> Markup:
    return el("svg", _mark(style, "8", "7"), width=16, height=14, class_="swatch", aria_hidden="true")


def facts_of(proof: Proof) -> Markup:
    """The figures of a proof in a row."""
    pairs = [("verdict", proof.verdict if proof.edits else "nothing to prove"), ("change", changes(proof.edits) or "none")]
    if proof.effect is not None:
        pairs.append(("effect", ("−" if proof.effect.mean < 0 else "+") + interval_of(proof.effect)))
    if proof.trials:
        pairs.append(("pairs", f"{len(proof.trials)} of {proof.pairs_needed}"))
    if proof.verdict == "proven":
        pairs.append(("false proofs", f"at most {percent(proof.false_proof_rate)}"))
    if proof.steps:
        pairs.append(("cost", f"{number(proof.cost_search + proof.cost_proof, 2)} full runs"))
    return facts(pairs)


def sections_of(proof: Proof, diff: str) -> list[Markup]:
    """The parts of the page under the picture."""
    found = [_change(proof, diff)] if proof.edits else []
    if proof.trials:
        found.append(_against(proof))
    return [*found, _tried(proof), _cost(proof)]


def _change(proof: Proof, diff: str) -> Markup:
    rows = [el("li", f"{edit.text}{f', at {edit.where}' if edit.where else ''}") for edit in proof.edits]
    gist = changes(proof.edits)
    if proof.verdict != "proven":
        gist = f"{gist}: tried, and not proven" if proof.verdict == "not proven" else f"{gist}: tried, and harmful"
    shown = el("pre", *map(_diff_line, diff.rstrip("\n").split("\n")), class_="diff") if diff else ""
    return section("The change", gist, el("ul", *rows), shown, opened=True, anchor="change")


def _diff_line(line: str) -> Markup:
    kind = {"+": "ins", "-": "del"}.get(line[:1]) if not line.startswith(("+++", "---")) else None
    return join(el(kind, line) if kind else line, "\n")


def _against(proof: Proof) -> Markup:
    said = list(controls_of(proof))
    if proof.luck is not None:
        said.append(luck_told(proof.luck))
    if proof.ceiling is not None and proof.control is not None:
        said.append(f"the ceiling: {ceiling_told(proof.ceiling, proof.control)}")
    needed = f"{count(proof.pairs_needed, 'pair')} were needed, each better: a change that does nothing passes"
    said.append(f"{needed} {odds_told(proof)}")
    curves = any(len(one.points) > 1 for one in _lines(proof.trials))
    return section(
        "What it was compared with",
        "Doing nothing, and a random change of the same size, on the same seeds.",
        pair_chart(proof) if curves else "",
        bullets([f"{part[:1].upper()}{part[1:]}." for part in said]),
        opened=True,
        anchor="pairs",
    )


def _tried(proof: Proof) -> Markup:
    head = ("change", "on whose turn", "proposed by", _what(proof), "runs")
    ranked = sorted(proof.candidates, key=lambda one: math.inf if one.skill is None else -one.skill)
    rows = [_candidate(one, taken=bool(one.edits) and one.edits == proof.edits) for one in ranked]
    gist = f"{count(len(rows), 'training')} on the search's own seed and examples."
    body = table("What was tried, the best first", head, rows, text=3) if rows else words("Nothing was tried.")
    return section("What was tried and refused", gist, body, bullets(proof.remarks), anchor="tried")


def _candidate(one: Candidate, *, taken: bool) -> list[str]:
    said = clip(changes(one.edits) or "no change", 160) + (" (taken)" if taken else "")
    why = join(one.reason) if one.failed is None else join(f"could not be run: {one.failed}")
    reached = "–" if one.skill is None else f"{one.skill:.3f}".replace("-", "−")
    return [join(said), _STAGES.get(one.stage, one.stage), why, reached, number(one.cost, 2)]


def _cost(proof: Proof) -> Markup:
    told = cost_told(proof) or "nothing was trained"
    held = "validation examples were split: one half chose the change, the other half proved it"
    pairs = [
        ("a full run", count(proof.length, "step")),
        ("a pair's run", count(proof.pair_length or proof.length, "step")),
        ("search", f"{number(proof.cost_search, 2)} runs"),
        ("proof", f"{number(proof.cost_proof, 2)} runs"),
    ]
    return section("What it cost", f"{told}.", facts(pairs), words(f"The {held}."), anchor="cost")
