"""How good the model is: metrics with their intervals, confusion matrix, classes one by one, the worst errors as pictures."""

from __future__ import annotations

import re

from isograd.records.run import Evaluation, ExampleError
from isograd.render.markup import Markup, clip, el, name, plain
from isograd.render.parts import scroll, section, table, words
from isograd.render.wording import count, interval, metric_name, number, percent, share

_WHOLE = 120
"""Up to so many classes the confusion matrix is shown whole: 120 x 120 cells are some 200 KB."""
_EASY = 24
"""Up to so many classes the matrix can be read; beyond, the most frequent confusions stand before it."""
_PICTURES = 700_000
"""Characters of pictures on one page: with all the rest a report stays under 2 MB."""
_PNG = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/]*={0,2}")


def quality_section(evaluation: Evaluation) -> Markup:
    """Metrics, confusion matrix and classes."""
    rows = [[metric_name(m.name), interval(m.value, m.low, m.high)] for m in evaluation.metrics]
    part = f"{count(evaluation.rows, 'row')} of the {plain(evaluation.part)} part"
    caption = f"On {part}, 95 % bootstrap intervals from {count(evaluation.resamples, 'resample')}"
    pieces = [table(caption, ("metric", "value and 95 % interval"), rows)] if rows else []
    pieces += [words(f"Weights: {plain(evaluation.weights, 100)}.")] if evaluation.weights else []
    gist = f"{count(len(rows), 'metric')} on {part}."
    if evaluation.confusion:
        gist = _confusion_title(evaluation)
    matrix = el("div", el("h3", gist), *_confusion(evaluation)) if evaluation.confusion else ""
    classes = _per_class(evaluation) if evaluation.per_class else ""
    pieces.append(el("div", matrix, classes, class_="pair"))
    return section("Quality", gist, *pieces, anchor="quality")


def _class(evaluation: Evaluation, index: int) -> str:
    return evaluation.classes[index] if index < len(evaluation.classes) else str(index)


def _mistakes(evaluation: Evaluation) -> list[tuple[int, int, int]]:
    """(how often, truth, answer), the most frequent first."""
    cells = ((n, i, j) for i, row in enumerate(evaluation.confusion) for j, n in enumerate(row) if n and i != j)
    return sorted(cells, key=lambda cell: (-cell[0], cell[1], cell[2]))


def _confusion_title(evaluation: Evaluation) -> str:
    mistakes = _mistakes(evaluation)
    total = sum(map(sum, evaluation.confusion))
    if not mistakes:
        return f"All {count(total, 'row')} are right"
    n, i, j = mistakes[0]
    wrong = sum(cell[0] for cell in mistakes)
    most = f"most often “{plain(_class(evaluation, i), 40)}” called “{plain(_class(evaluation, j), 40)}” ({n:,} times)"
    verb = "is" if wrong == 1 else "are"
    return f"{wrong:,} of {count(total, 'row')} {verb} wrong; {most if n > 1 else 'no confusion happens twice'}"


def _confusion(evaluation: Evaluation) -> list[Markup]:
    size = len(evaluation.confusion)
    if size <= _EASY:
        return [_matrix(evaluation)]
    mistakes = _mistakes(evaluation)[:20]
    rows = [
        [name(_class(evaluation, i)), name(_class(evaluation, j)), number(n), percent(n / sum(evaluation.confusion[i]))]
        for n, i, j in mistakes
    ]
    first = table("The most frequent confusions", ("truth", "answer", "rows", "share of the truth"), rows, text=2)
    if size > _WHOLE:
        return [first, words(f"The whole matrix of {size:,} classes is in the run's folder.")]
    return [first, el("details", el("summary", f"The whole matrix ({size} classes)"), _matrix(evaluation), class_="numbers")]


def _matrix(evaluation: Evaluation) -> Markup:
    size = len(evaluation.confusion)
    names = [name(_class(evaluation, i), 14) for i in range(size)]
    top = el("tr", el("td"), *(el("th", each, scope="col") for each in names))
    body = []
    for i, row in enumerate(evaluation.confusion):
        whole = sum(row)
        cells = [el("td", f"{n:,}", class_=_shade(n / whole, i == j)) if n else Markup("<td></td>") for j, n in enumerate(row)]
        body.append(el("tr", el("th", names[i], scope="row"), *cells))
    caption = "Rows: the truth. Columns: the answer. Shading: share of the row; blue is right, orange is wrong."
    inside = el("table", el("caption", caption), el("thead", top), el("tbody", *body), class_="confusion")
    return scroll(inside, "Confusion matrix")


def _shade(share: float, right: bool) -> str:
    level = sum(share >= edge for edge in ((0.0, 0.5, 0.8, 0.95) if right else (0.0, 0.05, 0.15, 0.3)))
    return f"{'r' if right else 'w'}{level}"


def _per_class(evaluation: Evaluation) -> Markup:
    many = len(evaluation.per_class) > _EASY
    caption = "Class by class, the weakest 24 of " + f"{len(evaluation.per_class):,}" if many else "Class by class"
    shown = sorted(evaluation.per_class, key=lambda each: each[3])[:_EASY] if many else evaluation.per_class
    rows = [
        [name(label), *map(share, (precision, recall, f1)), number(support)] for label, precision, recall, f1, support in shown
    ]
    return table(caption, ("class", "precision", "recall", "F1", "rows"), rows, limit=200)


def error_section(evaluation: Evaluation) -> Markup:
    """The errors one by one, with their pictures as long as the page has room."""
    if not evaluation.errors:
        return Markup("")
    room, cards, left_out = _PICTURES, [], 0
    for error in evaluation.errors[:100]:
        picture = error.picture if error.picture and len(error.picture) <= room and _PNG.fullmatch(error.picture) else None
        left_out += bool(error.picture) and picture is None
        room -= len(picture or "")
        cards.append(_card(error, picture))
    note = words(f"{count(left_out, 'picture')} did not fit into the page.") if left_out else ""
    pictured = any(error.picture for error in evaluation.errors)
    gist = f"{count(len(cards), 'example')} that the model got most wrong."
    return section(
        "Example errors", gist, el("ul", *cards, class_="errors" if pictured else "errors fields"), note, anchor="errors"
    )


def _card(error: ExampleError, picture: str | None) -> Markup:
    text = f"{plain(error.name)}: truth {plain(error.truth)}, answer {plain(error.answer)}"
    image = el("img", src=f"data:image/png;base64,{picture}", alt=text) if picture else ""
    sure = f" ({percent(error.confidence)} sure)" if error.confidence is not None else ""
    pairs = [piece for key, value in error.fields[:40] for piece in (el("dt", name(key, 30)), el("dd", name(value, 60)))]
    return el(
        "li",
        image,
        el("p", "answer ", el("strong", name(error.answer, 30)), sure),
        el("p", "truth ", el("strong", name(error.truth, 30))),
        el("p", clip(error.name, 80), class_="soft"),
        el("dl", *pairs) if pairs else "",
    )
