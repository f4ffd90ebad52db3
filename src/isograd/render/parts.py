"""Pieces that every section of a page is built of: a chart with its sentence and table, a table, a fold, a list of facts."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.render.axes import evenly
from isograd.render.markup import Markup, el, join, plain
from isograd.render.svg import Series, swatch
from isograd.render.wording import count

ROWS = 100
"""A table behind a chart shows at most so many rows, and says so."""
SENTENCE = 32
"""Letters from which the value of a fact is a sentence."""


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, limit: int = ROWS, text: int = 1) -> Markup:
    """A table in a box of its own that scrolls sideways; the first ``text`` columns hold words, the others numbers."""
    shown = evenly(len(rows), limit)
    thinned = len(shown) < len(rows)
    title = f"{caption} ({len(shown)} of {count(len(rows), 'row')}, evenly spread)" if thinned else caption
    top = el("tr", *(el("th", cell, scope="col", class_=None if i < text else "n") for i, cell in enumerate(head)))
    body = [_row(rows[i], text) for i in shown]
    inside = el("table", el("caption", title), el("thead", top), el("tbody", *body), class_="words" if text else None)
    return scroll(inside, title)


def _row(cells: Sequence[str], text: int) -> Markup:
    first, *rest = cells
    others = (el("td", cell, class_=None if i < text else "n") for i, cell in enumerate(rest, 1))
    return el("tr", el("th", first, scope="row", class_=None if text else "n"), *others)


def scroll(inside: str, label: str) -> Markup:
    """A box that scrolls sideways by itself, reachable by keyboard."""
    return el("div", inside, class_="scroll", tabindex=0, role="region", aria_label=plain(label, 200))


def chart(title: str, sentence: str, picture: str, numbers: str, *, legend: Sequence[Series] = (), key: str = "") -> Markup:
    """A figure: a title that states what it shows, the picture, a sentence for who cannot see it, the numbers folded."""
    names = [el("span", swatch(one), join(" ", one.name)) for one in legend]
    return el(
        "figure",
        el("figcaption", el("h3", title), el("p", sentence)),
        el("p", *names, class_="legend") if len(names) > 1 else "",
        picture,
        key,
        el("details", el("summary", "The numbers"), numbers, class_="numbers"),
    )


def section(title: str, gist: str, *content: str, opened: bool = False, anchor: str | None = None) -> Markup:
    """A part of the page, folded under its heading and one line that says what is in it."""
    top = el("summary", el("h2", title), el("span", gist, class_="gist"))
    return el("section", el("details", top, el("div", *content, class_="body"), open=opened), id=anchor)


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Names with their values; a sentence has a line of its own."""

    def fact(key: str, value: str) -> Markup:
        wide = len(value) > SENTENCE and not isinstance(value, Markup)
        return el("div", el("dt", key), el("dd", value), class_="wide" if wide else None)

    return el("dl", *(fact(key, value) for key, value in pairs), class_="facts")


def bullets(items: Sequence[str]) -> Markup:
    """A list, or nothing."""
    return el("ul", *(el("li", item) for item in items)) if items else Markup("")


def words(text: str) -> Markup:
    """A paragraph."""
    return el("p", text)
