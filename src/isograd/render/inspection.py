"""An inspection of data as text and as the sections of a page: what is doubtful, where, with the evidence and the fix."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.records.inspection import Doubt, Inspection
from isograd.records.schema import Column
from isograd.render.markup import Markup, el, join, name, plain
from isograd.render.parts import bullets, facts, section, table, words
from isograd.render.verdict import Verdict
from isograd.render.wording import count, listed, number

_WIDTH = 100
_FEW = 5


def verdict_of(inspection: Inspection) -> Verdict:
    """The sentence a person reads first, and what stands under it.

    >>> verdict_of(Inspection("a.csv", "table", 10, "f")).headline
    'No fault was found in this data.'
    """
    alarms = inspection.alarms
    if not alarms:
        return Verdict("good", "No fault was found in this data.")
    kinds = list(dict.fromkeys(doubt.kind for doubt in alarms))
    headline = f"This data has {count(len(alarms), 'fault')} to look at: {listed(kinds)}."
    return Verdict("bad", headline, tuple(doubt.summary for doubt in alarms[:_FEW]))


def inspection_text(inspection: Inspection) -> str:
    """The inspection as lines of text: the verdict, the faults, the remarks, the columns.

    >>> print(inspection_text(Inspection("a.csv", "table", 10, "f", looked=("drift",))))
    No fault was found in this data.
    a.csv: a table of 10 rows
    looked for: drift
    """
    lines = [verdict_of(inspection).headline, _what(inspection)]
    lines += [line for doubt in inspection.doubts for line in _lines(doubt)]
    lines += [f"  {remark}" for remark in inspection.remarks]
    lines += _column_lines(inspection.columns)
    if inspection.looked:
        lines.append(f"looked for: {', '.join(inspection.looked)}")
    return "\n".join(lines)


def _what(inspection: Inspection) -> str:
    rows = f"a table of {count(inspection.rows, 'row')}"
    said = f"{inspection.source}: {rows if inspection.holds == 'table' else count(inspection.rows, inspection.holds[:-1])}"
    if inspection.columns:
        said += f", {count(len(inspection.columns), 'column')}"
    if inspection.target and (inspection.columns or inspection.classes):
        said += f", target {inspection.target!r}"
    if inspection.classes:
        said += f" of {len(inspection.classes):,} classes"
    parts = [f"{part.rows:,} {part.name}" for part in inspection.parts]
    return said + (f"; {listed(parts)}" if parts else "")


def _lines(doubt: Doubt) -> list[str]:
    lines = [f"{doubt.severity:<8} {doubt.summary}", f"  where  {doubt.where}"]
    for label, evidence in zip(("why", *("" for _ in doubt.evidence)), doubt.evidence, strict=False):
        bound = f" (bound {number(evidence.bound)})" if evidence.bound is not None else ""
        lines.append(f"  {label:<6} {evidence.text}: {number(evidence.value)}{bound}")
    if doubt.places:
        rest = doubt.count - _FEW
        more = f" and {rest:,} more" if rest > 0 and len(doubt.places) > _FEW else ""
        lines.append(f"  such as {'; '.join(doubt.places[:_FEW])}{more}")
    remedy = "; ".join(filter(None, [doubt.remedy, f"fix: {doubt.fix}" if doubt.fix else ""]))
    return [*lines, f"  try    {remedy}"] if remedy else lines


def _column_lines(columns: Sequence[Column]) -> list[str]:
    rows = [("column", "kind", "missing", "distinct", "holds")]
    rows += [(plain(c.name, 30), c.kind, f"{c.missing:,}", f"{c.distinct:,}", _holds(c)) for c in columns[:100]]
    if len(rows) == 1:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    head = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]
    return ["", *(f"{line}  {row[4]}"[:_WIDTH].rstrip() for line, row in zip(head, rows, strict=True)), ""]


def _holds(column: Column) -> str:
    if column.kind == "date" and len(column.values) == 2:
        return f"{column.values[0]} to {column.values[1]}"
    if column.kind in ("category", "text"):
        return listed([plain(value, 30) for value in column.values], most=4)
    return f"{number(column.minimum)} to {number(column.maximum)}, mean {number(column.mean)}"


def inspection_sections(inspection: Inspection) -> list[Markup]:
    """The sections of the page: doubts open, then what was read, each column, and what was left out."""
    alarms = inspection.alarms
    notes = len(inspection.doubts) - len(alarms)
    gist = f"{count(len(alarms), 'fault')}, {count(notes, 'remark')}."
    told = [_article(doubt) for doubt in inspection.doubts] or [words("Nothing that was looked for was found.")]
    sections = [section("What was found", gist, *told, opened=True, anchor="found")]
    if inspection.columns:
        rows = [[name(c.name), c.kind, _holds(c), number(c.missing), number(c.distinct)] for c in inspection.columns]
        head = ("column", "kind", "holds", "missing", "distinct")
        inside = table("Columns", head, rows, limit=200, text=3)
        sections.append(section("Columns", f"{count(len(rows), 'column')}.", inside))
    if inspection.skipped:
        rows = [[name(skip.name, 120), skip.reason[:300]] for skip in inspection.skipped]
        inside = table("What cannot be read", ("what", "why"), rows, text=2)
        sections.append(section("What cannot be read", f"{count(len(rows), 'file')} or rows.", inside))
    digest = el("p", "SHA-256 of the content: ", el("span", inspection.fingerprint, class_="hash"), class_="soft")
    looked = words(f"Looked for: {', '.join(inspection.looked)}.")
    sections.append(
        section("What was read and looked for", f"{_what(inspection)}.", bullets(inspection.remarks), looked, digest)
    )
    return sections


def inspection_facts(inspection: Inspection) -> Markup:
    """What was read, in pairs."""
    pairs = [
        ("source", name(inspection.source, 200)),
        ("rows", number(inspection.rows)),
        ("target", name(inspection.target or "none")),
        ("classes", number(len(inspection.classes))),
    ]
    return facts(pairs + [(part.name, number(part.rows)) for part in inspection.parts])


def _article(doubt: Doubt) -> Markup:
    shown = "; ".join(doubt.places[:_FEW]) + (" …" if len(doubt.places) > _FEW else "")
    pairs = [("where", doubt.where), ("such as", shown), ("try", doubt.remedy or ""), ("fix", doubt.fix or "")]
    evidence = [[join(one.text), number(one.value), number(one.bound)] for one in doubt.evidence]
    alts = (*doubt.places, *([""] * len(doubt.pictures)))
    pictures = [
        el("img", src=f"data:image/png;base64,{png}", alt=plain(alt, 80) or doubt.kind, width=64)
        for png, alt in zip(doubt.pictures, alts, strict=False)
    ]
    return el(
        "article",
        el("p", f"{doubt.severity}: {doubt.kind}", class_="word"),
        el("h3", doubt.summary),
        el("dl", *(piece for key, value in pairs if value for piece in (el("dt", key), el("dd", value)))),
        el("p", *pictures) if pictures else "",
        table("Evidence", ("what", "measured", "bound"), evidence) if evidence else "",
        class_=f"finding {doubt.severity}",
    )
