"""What a run stood on: data, configuration, environment, the cost of watching, the files of the bundle."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.records.report import Report
from isograd.records.run import Bundle, Run
from isograd.records.schema import Column, DataSummary
from isograd.render.markup import Markup, clip, el, join, name, plain
from isograd.render.parts import bullets, facts, section, table, words
from isograd.render.text import UNPAID
from isograd.render.wording import count, duration, listed, moment, number, percent

_TOML = 60_000


def data_section(summary: DataSummary) -> Markup:
    """Source, parts, classes, columns, what was left out and what a person should know."""
    schema = summary.schema
    shape = " × ".join(map(str, schema.image)) if schema.image else ""
    pairs = [
        ("source", name(summary.source, 200)),
        ("rows", number(schema.rows)),
        ("target", name(schema.target)),
        ("split", name(summary.split, 100)),
    ]
    pairs += [("image (channels × height × width)", shape)] if shape else []
    pieces = [facts(pairs), bullets(summary.remarks[:50]), _parts(summary)]
    if schema.columns:
        pieces.append(_columns(schema.columns))
    if summary.skipped:
        rows = [[name(skipped.name, 120), clip(skipped.reason, 300)] for skipped in summary.skipped]
        pieces.append(table(f"Left out: {count(len(rows), 'row')} or files", ("what", "why"), rows, text=2))
    pieces.append(el("p", "SHA-256 of the content: ", el("span", schema.fingerprint, class_="hash"), class_="soft"))
    parts = listed([f"{part.rows:,} {plain(part.name)}" for part in summary.parts])
    left_out = f"; {len(summary.skipped):,} left out" if summary.skipped else ""
    return section("Data", f"{plain(summary.source, 80)}: {parts}{left_out}.", *pieces, anchor="data")


def _parts(summary: DataSummary) -> Markup:
    total = sum(part.rows for part in summary.parts)
    rows = [[name(part.name), number(part.rows), percent(part.rows / total if total else 0.0)] for part in summary.parts]
    sizes = table("The parts", ("part", "rows", "share"), rows)
    classes = summary.schema.classes
    if not classes or not any(part.per_class for part in summary.parts):
        return sizes
    counted = [
        [name(label), *(number(part.per_class[i]) if i < len(part.per_class) else "–" for part in summary.parts)]
        for i, label in enumerate(classes)
    ]
    head = ["class", *(plain(part.name) for part in summary.parts)]
    return el("div", sizes, table(f"{count(len(classes), 'class', 'classes')} by part", head, counted), class_="pair")


def _columns(columns: Sequence[Column]) -> Markup:
    rows = []
    for column in columns:
        if column.kind == "number":
            holds = (
                f"{number(column.minimum)} to {number(column.maximum)}, mean {number(column.mean)}, std {number(column.std)}"
            )
        else:
            holds = listed([plain(value, 30) for value in column.values], most=6)
        rows.append([name(column.name), column.kind, holds, number(column.missing), number(column.distinct)])
    return table("Columns", ("column", "kind", "holds", "missing", "distinct"), rows, limit=200, text=3)


def configuration_section(run: Run, toml: str) -> Markup:
    """The project file as it ran, and every setting with its default."""
    cut = words(f"The first {_TOML:,} of {len(toml):,} characters.") if len(toml) > _TOML else ""
    text = el("pre", el("code", toml[:_TOML] if toml.strip() else "# nothing but the defaults"), tabindex=0)
    settings = [[name(key), clip(str(value), 120)] for key, value in run.settings]
    resolved = table("Settings as resolved", ("setting", "value"), settings, limit=300, text=2)
    every = el("details", el("summary", "Every setting, with the defaults"), resolved, class_="numbers") if settings else ""
    gist = f"The project file as it ran{f', and all {len(settings)} settings' if settings else ''}."
    return section("Configuration", gist, cut, text, every, anchor="configuration")


def environment_section(run: Run) -> Markup:
    """Where it ran, and with what."""
    place = run.environment
    pairs = [
        ("isograd", place.isograd),
        ("Python", place.python),
        ("platform", name(place.platform, 120)),
        ("device", name(place.device)),
        ("threads", number(place.threads)),
        ("seed", str(place.seed)),
        ("run", name(run.id)),
        ("started", moment(run.started)),
        ("finished", moment(run.finished or "–")),
    ]
    libraries = [[name(library), version] for library, version in place.libraries]
    known = table("Libraries", ("library", "version"), libraries, text=2) if libraries else ""
    digests = [[what, el("span", digest, class_="hash")] for what, digest in (("project", run.fingerprint), ("data", run.data))]
    prints = table("SHA-256 of what went in", ("what", "SHA-256"), digests, text=2)
    gist = (
        f"Python {plain(place.python, 20)} on {plain(place.device, 40)}, {count(place.threads, 'thread')}, seed {place.seed}."
    )
    return section("Environment", gist, facts(pairs), el("div", known, prints, class_="pair"), anchor="environment")


def cost_section(report: Report) -> Markup:
    """What watching cost."""
    meter = report.meter
    if not meter.steps:
        return Markup("")
    if report.origin == "check":
        text = f"Looking took {duration(meter.total_seconds)}, {count(meter.steps, 'training step')} on a copy."
        return section(
            "Cost of the check", text, words("The model, the optimizer and the random numbers are as they were."), anchor="cost"
        )
    text = f"Watching cost {percent(meter.share)} of the training's time."
    if meter.share > UNPAID:
        text += " The first two steps are always looked at closely; a run of some hundred steps pays for them."
    pairs = [
        ("own time", duration(meter.own_seconds)),
        ("time of all steps", duration(meter.total_seconds)),
        ("steps", number(meter.steps)),
        ("looked at closely", number(meter.sampled)),
        ("gradient norms read", number(meter.normed)),
    ]
    return section("Cost of watching", text, facts(pairs), anchor="cost")


def bundle_section(bundle: Bundle) -> Markup:
    """The files that were handed out, with their hashes, and how far the exported model is from the trained one."""
    rows = [[name(file, 120), el("span", digest, class_="hash")] for file, digest in bundle.files]
    most = number(bundle.max_difference, 2)
    agreement = (
        f"On {count(bundle.compared_rows, 'real row')} the exported model differs from the trained one by {most} at most."
    )
    pairs = [
        ("bundle", name(bundle.name)),
        ("weights", name(bundle.weights or "–")),
        ("made", moment(bundle.created)),
        ("isograd", bundle.isograd),
    ]
    files = table("Files", ("file", "SHA-256"), rows, text=2)
    return section("Bundle", f"{count(len(rows), 'file')}. {agreement}", facts(pairs), join(files), anchor="bundle")
