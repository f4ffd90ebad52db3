"""A project of sequences, from two lines of settings to answers: every family, both forms of source, stopped and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isograd.cli import main
from isograd.errors import ProjectError, RequestError
from isograd.project import river
from isograd.project.previewing import preview
from isograd.project.reading import load, parse
from isograd.render.html import preview_page
from isograd.workbench import train
from isograd.workbench.models.options import STEPS


def bumps(
    folder: Path, kind: str = "auto", *, task: str = "sequence-classification", more: str = "", each: bool = False
) -> Path:
    draw = np.random.default_rng(0)
    x, y = 0.1 * draw.normal(size=(160, 10, 2)), np.arange(160) % 2
    place = draw.integers(0, 9, 160)
    x[np.arange(160), place, y] = 3.0
    since = (np.arange(10) >= place[:, None]) & (y[:, None] == 1)
    np.savez(folder / "x.npz", x=x, y=since.astype(int) if each else y + 0.1 * draw.normal(size=160) if "reg" in task else y)
    return written(folder, 'source = "x.npz"', kind, task, more)


def written(folder: Path, data: str, kind: str, task: str, more: str) -> Path:
    head = f'name = "bumps"\ntask = "{task}"\nthreads = 1\n[data]\n{data}\n'
    text = f'{head}[model]\nkind = "{kind}"\n[train]\nbatch_size = 16\n{more}'
    (folder / "isograd.toml").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("kind", [*STEPS, "mlp", "linear"])
def test_every_family_trains_judges_and_answers_the_same_from_its_bundle(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bumps(tmp_path, kind, more="epochs = 4\n")
    run = river.run_training(load(folder))
    _, judged = river.evaluate_run(folder)
    _, bundle = river.export_run(folder)
    assert judged.rows == 32 and bundle.max_difference < 1e-4
    assert main(["predict", str(run.bundle), str(folder / "x.npz")]) == 0
    assert capsys.readouterr().out.count("x.npz") == 160


def test_a_temporal_network_finds_the_bump_and_a_check_finds_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bumps(tmp_path, more="epochs = 12\n[goals]\naccuracy = 0.8\n")
    assert main(["run", str(folder)]) == 0
    said = capsys.readouterr()
    assert "goal  accuracy 0.8: met" in said.out and "160 sequences of 10 steps; one 'label' for each" in said.err


def test_an_answer_for_each_step_is_judged_step_by_step_and_told_step_by_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bumps(tmp_path, "gru", each=True, more='epochs = 10\nclass_weights = "balanced"\n')
    assert main(["check", str(folder)]) == 0
    run = river.run_training(load(folder))
    _, judged = river.evaluate_run(folder)
    river.export_run(folder)
    assert judged.rows == 320 and judged.metrics[0].value > 0.8
    capsys.readouterr()
    assert main(["predict", str(run.bundle), str(folder / "x.npz"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    assert len(answers) == 160 and all(len(answer["steps"]) == 10 for answer in answers)
    assert main(["predict", str(run.bundle), str(folder / "x.npz")]) == 0
    assert "x.npz x 0: 0 0" in capsys.readouterr().out


def test_values_are_foretold_on_their_own_scale_from_a_table_of_rows_that_belong_together(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = []
    for case in range(120):
        values = draw.normal(size=3 + case % 4)
        rows += [f"{case},{hour},{value:.4f},{1000 + 50 * values.mean():.3f}" for hour, value in enumerate(values)]
    (tmp_path / "t.csv").write_text("case,hour,pulse,cost\n" + "\n".join(rows) + "\n", "utf-8")
    data = 'source = "t.csv"\nsequence = "case"\ntime = "hour"\ntarget = "cost"'
    folder = written(tmp_path, data, "gru", "sequence-regression", "epochs = 15\nlearning_rate = 1e-2\n")
    run = river.run_training(load(folder))
    _, judged = river.evaluate_run(folder)
    river.export_run(folder)
    found = {metric.name: metric.value for metric in judged.metrics}
    assert found["r2"] > 0.5 and found["rmse"] < 25
    assert main(["predict", str(run.bundle), str(folder / "t.csv")]) == 0


def test_a_run_that_was_stopped_goes_on_to_the_very_weights_it_would_have_had(tmp_path: Path) -> None:
    hashes = []
    for name, stop_at in (("whole", None), ("cut", 5)):
        (tmp_path / name).mkdir()
        project = load(bumps(tmp_path / name, "lstm", more="epochs = 2\ncheckpoint_seconds = 1e-9\n"))
        if stop_at:

            def pressed(progress: train.Progress, stop_at: int = stop_at) -> None:
                if progress.phase == "training" and progress.step >= stop_at:
                    raise KeyboardInterrupt

            assert river.run_training(project, on_progress=pressed).run().status == "stopped"
        hashes.append(river.run_training(project).epochs()[-1].metrics)
    assert hashes[0] == hashes[1]


def test_a_network_of_ones_own_must_answer_every_step_where_every_step_has_a_target(tmp_path: Path) -> None:
    folder = bumps(tmp_path, "own:net", each=True, more="epochs = 1\n")
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef net(inputs, outputs):\n    return nn.Linear(inputs[-1], outputs)\n", "utf-8"
    )
    assert river.begin(load(folder)).batches_per_epoch == 7
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef net(inputs, outputs):\n    return nn.Sequential(nn.Flatten(), nn.Linear(20, outputs))\n",
        "utf-8",
    )
    with pytest.raises(river.ModelError, match=r"a tensor \(rows, 10, 2\)"):
        river.begin(load(folder))


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ('task = "sequence-classification"\n[data]\nsource = "x.npz"\n[model]\nkind = "transformer"\n', "not for sequence"),
        ('task = "classification"\n[data]\nsource = "x.npz"\n[model]\nkind = "tcn"\n', "tcn is not for classification"),
        ('task = "sequence-regression"\n[data]\nsource = "x"\n[augment]\nrotate = 9.0\n', "what is: jitter, scale, crop"),
        ('task = "sequence-clasification"\n[data]\nsource = "x"\n', 'did you mean "sequence-classification"'),
    ],
)
def test_what_is_not_for_sequences_is_told_with_its_line(head: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        parse(head, Path("isograd.toml"))
    assert said in str(caught.value)


def test_what_suits_sequences_is_filled_in() -> None:
    def settled(**model: Any) -> Any:
        kind = model.get("kind", "auto")
        text = f'task = "{model["task"]}"\n[data]\nsource = "x"\n[model]\nkind = "{kind}"\n'
        return parse(text, Path("isograd.toml")).settings

    auto = settled(task="sequence-regression")
    assert auto.model.kind == "tcn" and (auto.model.model_extra or {})["dropout"] == 0.0
    lstm = settled(task="sequence-classification", kind="lstm")
    assert (lstm.train.epochs, lstm.train.clip_norm) == (30, 1.0) and not lstm.model.model_extra
    assert settled(task="text-classification", kind="lstm").train.epochs == 6


@pytest.mark.parametrize("each", [False, True])
def test_what_a_network_will_see_of_sequences_is_shown_step_by_step(each: bool, tmp_path: Path) -> None:
    shown = preview(load(bumps(tmp_path, each=each)), 6)
    assert shown.holds == "sequence" and shown.shape == (10, 2) and len(shown.looks) == 6
    fields = dict(shown.looks[0].original.fields)
    assert set(fields) == {"x0", "x1"} and len(fields["x0"].split()) == 9 and fields["x0"].endswith(" …")
    assert len(shown.looks[0].label.split()) == (9 if each else 1)
    assert "sequence" in preview_page(shown)


def test_rows_are_not_made_between_sequences(tmp_path: Path) -> None:
    project = load(bumps(tmp_path))
    text = project.text.replace('source = "x.npz"', 'source = "x.npz"\nsampling = "smote"')
    (tmp_path / "isograd.toml").write_text(text, "utf-8")
    with pytest.raises(RequestError, match="numbers of a table"):
        river.begin(load(tmp_path))
