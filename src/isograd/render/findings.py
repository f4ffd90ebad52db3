"""The findings: what is wrong, where, since when, how sure, the evidence with its bound and forecast, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isograd.records.anatomy import spoken
from isograd.records.finding import Evidence, Finding
from isograd.records.report import Report
from isograd.render.markup import Markup, clip, el, join, name, plain
from isograd.render.parts import bullets, section, table, words
from isograd.render.wording import count, listed, number, percent

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_MOST = 50
"""Findings on one page; what is beyond is counted."""


def finding_section(report: Report) -> Markup:
    """All findings, open where one is an alarm."""
    alarms = [finding for finding in report.findings if finding.alarm]
    notes = len(report.findings) - len(alarms)
    gist = f"{count(len(alarms), 'alarm')}: {listed(_diseases(alarms))}." if alarms else "No alarm."
    if notes:
        gist += f" {count(notes, 'note')}."
    shown = [_one(finding) for finding in report.findings[:_MOST]]
    if len(report.findings) > _MOST:
        shown.append(words(f"{len(report.findings) - _MOST:,} more findings are in report.json."))
    if not shown:
        shown.append(words("Nothing that was measured or foretold speaks against this training."))
    return section("Findings", gist, *shown, bullets(report.remarks), opened=bool(alarms), anchor="findings")


def _diseases(findings: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(plain(finding.disease.replace("_", " ")) for finding in findings))


def _one(finding: Finding) -> Markup:
    facts = [
        ("where", _where(finding)),
        ("when", _since(finding)),
        ("why", join(finding.cause or "")),
        ("try", join(finding.remedy or "")),
    ]
    pairs = [piece for key, value in facts if value for piece in (el("dt", key), el("dd", value))]
    sure = f"{finding.severity}, {percent(finding.confidence)} sure: {plain(finding.disease.replace('_', ' '))}"
    references = [el("li", _reference(text)) for text in finding.references]
    return el(
        "article",
        el("p", sure, class_="word"),
        el("h3", finding.summary),
        el("dl", *pairs),
        _evidence(finding.evidence),
        el("p", "Read more:", class_="soft") if references else "",
        el("ul", *references) if references else "",
        class_=f"finding {finding.severity}",
    )


def _where(finding: Finding) -> Markup:
    places = [name(spoken(place)) for place in finding.layers if place != finding.where]
    where = name(spoken(finding.where))
    source = join(", ", el("code", finding.source)) if finding.source else ""
    more = join(el("br"), "also ", Markup(listed(list(places), most=8))) if places else ""
    return join(el("code", where), source, more)


def _since(finding: Finding) -> Markup:
    parts = [f"from step {finding.since:,}"] if finding.since is not None else []
    if not parts and finding.until is None:
        parts = ["before the first step"]
    if finding.until is not None:
        parts.append(f"until step {finding.until:,}")
    if finding.time_step is not None:
        parts.append(f"at time step {finding.time_step:,}")
    return join(" ".join(parts))


def _evidence(evidence: Sequence[Evidence]) -> Markup:
    if not evidence:
        return Markup("")
    rows = []
    for each in evidence:
        unit = el("span", f" ({clip(each.unit, 40)})", class_="soft") if each.unit else ""
        rows.append([join(each.text, unit), number(each.value), number(each.bound), number(each.foretold)])
    return table("Evidence", ("what", "measured", "bound", "foretold"), rows, limit=50)


def _reference(text: str) -> Markup:
    # The page itself fetches nothing; a link is followed only by a person's click.
    if text.startswith(("https://", "http://")) and not any(letter.isspace() for letter in text):
        return el("a", text, href=text, rel="noreferrer")
    paper = _ARXIV.search(text)
    if not paper:
        return join(text)
    link = el("a", paper[0], href=f"https://arxiv.org/abs/{paper[1]}", rel="noreferrer")
    return join(text[: paper.start()], link, text[paper.end() :])
