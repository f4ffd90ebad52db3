"""The model card: what a model is, how good, on what data, where it must not be trusted, how to use it."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.records.run import Bundle, Evaluation, Run
from isograd.records.schema import DataSummary, Encoding


def model_card(bundle: Bundle, run: Run, summary: DataSummary, evaluation: Evaluation | None, encoding: Encoding) -> str:
    """The card as Markdown; numbers as measured, intervals at 95 %.

    Source: Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993, for what a card should say.
    """
    sections = (
        _head(bundle, run, encoding),
        _figures(evaluation),
        _data(summary),
        _limits(summary, evaluation),
        _training(run, bundle),
        _use(bundle),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(bundle: Bundle, run: Run, encoding: Encoding) -> str:
    what = f"one of {len(encoding.classes)} classes of" if encoding.classes else "a value for"
    lines = [
        f"# {bundle.name}",
        "",
        f"A {run.model} with {run.parameters:,} parameters for {run.task}: it gives {what} `{encoding.target}`.",
    ]
    if encoding.classes:
        lines += ["", "Classes: " + ", ".join(encoding.classes) + "."]
    if encoding.threshold is not None:
        told = f"A row is called `{encoding.classes[1]}` where its probability is above {encoding.threshold:.4g}"
        lines += ["", f"{told}; the threshold was chosen on the validation part."]
    return "\n".join(lines)


def _figures(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "## How good it is\n\nIt was not evaluated: nothing is known about its quality on rows it was not trained on."
    rows = [(metric.name, f"{metric.value:.4g}", f"{metric.low:.4g} to {metric.high:.4g}") for metric in evaluation.metrics]
    text = (
        f"## How good it is\n\nOn the {evaluation.part} part ({evaluation.rows:,} rows); the intervals hold the true figure in "
        f"95 of 100 cases ({evaluation.resamples:,} bootstrap resamples).\n\n"
    )
    text += _table(("figure", "value", "95 % interval"), rows)
    if evaluation.per_class:
        by_class = [(name, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", f"{n:,}") for name, p, r, f, n in evaluation.per_class]
        text += "\n\n" + _table(("class", "precision", "recall", "F1", "rows"), by_class)
    return text


def _data(summary: DataSummary) -> str:
    schema = summary.schema
    shape = f"images of {' x '.join(map(str, schema.image))}" if schema.image else f"{len(schema.columns)} columns"
    shape += f", up to {schema.steps:,} steps" if schema.steps else ""
    lines = [
        "## Data",
        "",
        f"`{summary.source}`: {schema.rows:,} rows, {shape}, target `{schema.target}`; split: {summary.split}.",
        "",
        _table(("part", "rows"), [(part.name, f"{part.rows:,}") for part in summary.parts]),
    ]
    if schema.columns:
        columns = [(column.name, column.kind, f"{column.missing:,}") for column in schema.columns]
        lines += ["", _table(("column", "kind", "missing"), columns)]
    lines += ["", f"Fingerprint (SHA-256): `{schema.fingerprint}`"]
    return "\n".join(lines)


def _limits(summary: DataSummary, evaluation: Evaluation | None) -> str:
    points = [
        "The figures hold for rows that come from the same source as the test part; other cameras, places, people or times "
        "have not been measured.",
        "A probability is the network's own and has not been calibrated.",
        *summary.remarks,
    ]
    if summary.skipped:
        points.append(f"{len(summary.skipped):,} rows or files were left out because they could not be read.")
    if evaluation is not None and evaluation.per_class:
        name, _, recall, _, rows = min(evaluation.per_class, key=lambda entry: entry[2])
        points.append(f"It recognises `{name}` least well: {recall:.0%} of its {rows:,} rows were found.")
    return "## Limits\n\n" + "\n".join(f"- {point}" for point in points)


def _training(run: Run, bundle: Bundle) -> str:
    kept = f" Kept: epoch {run.best_epoch}, the best on the validation part." if run.best_epoch else ""
    kind = {"ema": " Weights: their moving average.", "raw": " Weights: as trained."}.get(bundle.weights, "")
    here = run.environment
    libraries = ", ".join(f"{name} {version}" for name, version in here.libraries)
    lines = [
        "## Training",
        "",
        f"Run `{run.name}` ({run.id}), {run.epochs} epochs, {run.steps:,} steps, {run.seconds:,.0f} s.{kept}{kind}",
        "",
        f"isograd {here.isograd}, Python {here.python}, {here.platform}, device {here.device}, {here.threads} threads, seed "
        f"{here.seed}; {libraries}. Project fingerprint: `{run.fingerprint}`.",
    ]
    if run.settings:
        lines += ["", _table(("setting", "value"), [(name, str(value)) for name, value in run.settings])]
    return "\n".join(lines)


def _use(bundle: Bundle) -> str:
    return (
        "## How to use it\n\n"
        "```\nisograd predict PATH_OF_THIS_FOLDER INPUT...\n```\n\n"
        "or, in Python:\n\n"
        "```python\nfrom pathlib import Path\nfrom isograd.workbench import data, deploy\n\n"
        'bundle = deploy.open_bundle(Path("PATH_OF_THIS_FOLDER"))\n'
        'rows, names, skipped = data.read_for_prediction(["INPUT"], bundle.encoding)\n'
        "print(bundle.answers(rows))\n```\n\n"
        "`model.onnx` takes rows that were encoded as `preprocess.json` says and gives "
        "logits, or a value on the scale of the standardised target. "
        f"Against torch it differs by at most {bundle.max_difference:.2g} on {bundle.compared_rows:,} real rows. "
        "`bundle.json` lists the SHA-256 of every file; a bundle with a changed file is refused."
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(headers), "|" + "---|" * len(headers), *(line(row) for row in rows)])
