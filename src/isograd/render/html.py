"""One self-contained page for a run or a report: verdict, one picture that shows it, the rest folded; no script, no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources

from isograd.records.inspection import Inspection
from isograd.records.preview import Preview
from isograd.records.report import Report
from isograd.records.run import Bundle, Epoch, Evaluation, Run
from isograd.records.schema import DataSummary
from isograd.render import cause, curves, flow, ledger, preview, verdict
from isograd.render.findings import finding_section
from isograd.render.forecasts import forecast_section
from isograd.render.inspection import inspection_facts, inspection_sections, verdict_of
from isograd.render.markup import Markup, el, join, name, plain
from isograd.render.parts import facts
from isograd.render.quality import error_section, quality_section
from isograd.render.verdict import Verdict
from isograd.render.wording import count, duration, learned, moment, number

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The browser itself refuses whatever would leave the page."""


def run_page(
    *,
    run: Run,
    summary: DataSummary | None,
    epochs: tuple[Epoch, ...],
    report: Report | None,
    evaluation: Evaluation | None,
    bundle: Bundle | None,
    toml: str,
) -> str:
    """The page of a run; what is not there yet (None, no epochs) is left out or said to be missing.

    >>> from isograd.records.run import Environment
    >>> where = Environment("0.1.0", "3.12.1", "Linux", "cpu", 2, 0)
    >>> run = Run("r1", "brave-otter", "classification", "mlp", "running", "2026-01-01T10:00:00Z", where, "f", "d")
    >>> page = run_page(run=run, summary=None, epochs=(), report=None, evaluation=None, bundle=None, toml="")
    >>> "This run is not finished yet." in page
    True
    """
    said = verdict.of_run(run, epochs, report, evaluation)
    picture = flow.hero_of(report) if report is not None and not report.healthy else Markup("")
    hero = picture or curves.hero_curve(epochs)
    has_metric_hero = not picture and bool(curves.metric_charts(epochs))
    sections = [finding_section(report)] if report is not None else []
    sections.append(curves.curve_section(epochs, hero=has_metric_hero))
    if report is not None:
        sections.append(flow.gradient_section(report, hero=picture))
    if evaluation is not None:
        sections += [quality_section(evaluation), error_section(evaluation)]
    if summary is not None:
        sections.append(ledger.data_section(summary))
    sections += [ledger.configuration_section(run, toml), ledger.environment_section(run)]
    if report is not None:
        sections.append(ledger.cost_section(report))
    if bundle is not None:
        sections.append(ledger.bundle_section(bundle))
    title = f"{plain(run.name, 80)}: {said.headline}"
    about = join("isograd run ", name(run.name, 80), f" · {run.task} · {run.model} · {moment(run.started)}")
    return page(title, about, said, hero, _run_facts(run, epochs), sections, run.environment.isograd)


def report_page(report: Report) -> str:
    """The page of a report alone, from check, watch or diagnose.

    >>> from isograd.records.anatomy import Anatomy
    >>> "<h1>Nothing can be said: no step was seen.</h1>" in report_page(Report("watch", Anatomy("torch", (), ())))
    True
    """
    said = verdict.of_report(report)
    hero = flow.hero_of(report)
    anatomy = report.anatomy
    optimizer = anatomy.optimizer.kind if anatomy.optimizer else "none given"
    pairs = [
        ("framework", plain(anatomy.framework)),
        ("operations", number(len(anatomy.nodes))),
        ("parameters", number(sum(parameter.size for parameter in anatomy.parameters))),
        ("optimizer", plain(optimizer)),
        ("loss", plain(anatomy.loss or "none given")),
        ("steps seen", number(report.steps)),
        ("device", plain(anatomy.device)),
        ("numbers", plain(anatomy.dtype)),
    ]
    if report.learned is not None:
        pairs.insert(0, ("learned", learned(report.learned)))
    found = [] if report.cause is None else [cause.cause_section(report.cause)]
    sections = [
        *found,
        finding_section(report),
        forecast_section(report.forecast),
        flow.gradient_section(report, hero=hero),
        ledger.cost_section(report),
    ]
    about = {"check": "isograd check: before training", "watch": "isograd watch: while training"}.get(
        report.origin, "isograd diagnose"
    )
    return page(f"isograd: {said.headline}", about, said, hero, facts(pairs), sections, "")


def inspection_page(inspection: Inspection) -> str:
    """The page of an inspection of data, with pictures of what was found.

    >>> "No fault was found in this data." in inspection_page(Inspection("a.csv", "table", 10, "f"))
    True
    """
    said = verdict_of(inspection)
    about = join("isograd data inspect ", name(inspection.source, 200))
    title = f"{plain(inspection.source, 80)}: {said.headline}"
    return page(title, about, said, "", inspection_facts(inspection), inspection_sections(inspection), "")


def preview_page(shown: Preview) -> str:
    """The page of what a network will see.

    >>> "Training sees each row as it is, every time." in preview_page(Preview("a.csv", "table", 9, (3,)))
    True
    """
    said = preview.verdict_of(shown)
    about = join("isograd data preview ", name(shown.source, 200))
    title = f"{plain(shown.source, 80)}: {said.headline}"
    return page(title, about, said, "", preview.preview_facts(shown), preview.preview_sections(shown), "")


def _run_facts(run: Run, epochs: Sequence[Epoch]) -> Markup:
    speed = sorted(epoch.rows_per_second for epoch in epochs if math.isfinite(epoch.rows_per_second))
    pairs = [
        ("task", plain(run.task)),
        ("model", plain(run.model)),
        ("parameters", number(run.parameters)),
        ("training", f"{count(len(epochs), 'epoch')}, {count(run.steps, 'step')}"),
        ("time", duration(run.seconds)),
        ("speed", f"{number(round(speed[len(speed) // 2]))} rows / s" if speed else "–"),
        ("device", plain(run.environment.device)),
        ("status", run.status),
    ]
    return facts(pairs)


def page(title: str, about: str, said: Verdict, hero: str, pairs: str, sections: Sequence[str], version: str) -> str:
    """A whole page: the verdict as its heading, what shows it (``hero``), facts (``pairs``), then the sections, folded."""
    style = resources.files("isograd.render").joinpath("page.css").read_text("utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="generator", content=f"isograd {version}".strip()),
        el("link", rel="icon", href="data:,"),
        el("title", title),
        el("style", Markup(style)),
    )
    spoken = el("h1", said.headline)
    box = el(
        "div",
        el("p", said.word, class_="word"),
        spoken,
        *(el("p", line) for line in said.details),
        class_=f"verdict {said.tone}",
    )
    top = el("header", el("p", about, class_="eyebrow"), box)
    end = el(
        "footer",
        el("p", f"Made by isograd{' ' + version if version else ''}. This page is one file and asks the network for nothing."),
    )
    body = el("body", top, el("main", hero, pairs, *sections), end)
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"
