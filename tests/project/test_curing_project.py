"""A project as a program that can begin again: its seeds, its loop, its change as settings, and the changed file tried once."""

import random
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from isograd.cli.app import app
from isograd.errors import ModelError
from isograd.project import curing, river
from isograd.project.reading import load
from isograd.records.edit import Edit
from isograd.records.proof import Proof, Training, Trial
from isograd.records.skill import Skill

TOML = """\
task = "classification"

[data]
source = "rows.csv"
target = "y"

[model]
hidden = [8]

[train]
epochs = 6
batch_size = 16
optimizer = "sgd"
schedule = "constant"
learning_rate = 1e-7   # careful
"""


@pytest.fixture
def folder(tmp_path):
    draw = random.Random(0)
    rows = [(draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(260)]
    lines = [f"{a:.4f},{b:.4f},{'yes' if a + b > 0 else 'no'}" for a, b in rows]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    (tmp_path / "isograd.toml").write_text(TOML)
    return tmp_path


def test_every_seed_has_its_own_weights_and_order_and_the_same_seed_the_same(folder):
    given = curing.curable(load(folder))
    assert given.births.check() == (True, False, ())
    one, again, other = (given.batches(seed) for seed in (1, 1, 2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0][0], other[0][0])
    assert given.steps == 6 * given.job.batches_per_epoch and len(one) == 2 * given.steps, "batches of 32 go through as many"


def test_the_loop_of_the_file_is_the_loop_of_the_trials(folder):
    text = TOML.replace('"constant"', '"warmup_cosine"').replace("1e-7   # careful", "0.1\nclip_norm = 0.5\nema = 0.9")
    (folder / "isograd.toml").write_text(text)
    given = curing.curable(load(folder))
    loop = given.births.born(0, given.batches(0)).loop
    assert (loop.clip_norm, loop.schedule, loop.warm_up) == (0.5, "cosine", round(0.05 * given.steps))
    assert given.remarks == ("trials are without the moving average of the weights of the project file",)


def test_what_is_no_setting_is_told_in_words(folder):
    change, diff = curing.change_of(curing.curable(load(folder)), (Edit("learning_rate", 0.1), Edit("residual")))
    assert "+learning_rate = 0.1   # careful" in diff and "isograd.toml has no setting for this" in diff
    assert change.left == (Edit("residual"),)


def proven(edit, control):
    trial = Trial(1000, Training(Skill(control, 20)), Training(Skill(0.8, 20)))
    return Proof("proven", (edit,), "repair", False, trials=(trial,), pair_length=60)


def test_the_changed_file_is_trained_once_before_it_counts(folder):
    given = curing.curable(load(folder))
    record = proven(Edit("learning_rate", 0.5, before=1e-7), 0.0)
    change, _ = curing.change_of(given, record.edits)
    better, told = curing.as_written(given, change, record)
    assert better and "the changed file was read and trained once more, with seed 1000" in told
    worse, told = curing.as_written(given, change, proven(record.edits[0], 0.999))
    assert not worse and "is not written" in told


def test_a_setting_that_does_not_do_what_was_proven_is_not_written(folder, monkeypatch):
    given = curing.curable(load(folder))
    record = replace(proven(Edit("learning_rate", 1e-8, before=1e-7), 0.999))
    monkeypatch.setattr(curing, "cured", lambda *args, **options: record)
    proof, change = curing.cure(given, curing.Budget(runs=12.0))
    assert change.left == record.edits and proof.diff.startswith("# the changed file was read")
    assert any("is not written" in remark for remark in proof.record.remarks)


def test_a_project_is_cured_and_its_file_written_with_a_backup(folder):
    said = CliRunner().invoke(app, ["cure", str(folder), "--budget", "14 runs", "--write"])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("Proven: learning rate 1e-07 →")
    assert f"Next: isograd train {folder} --new" in said.stdout
    assert "1e-7" not in (folder / "isograd.toml").read_text() and "# careful" in (folder / "isograd.toml").read_text()
    assert (folder / "isograd.toml.bak").read_text() == TOML
    assert CliRunner().invoke(app, ["runs", str(folder)]).stdout.startswith("no runs yet")


def interrupted(folder, epoch):
    """Train until an epoch begins, as Ctrl-C would end it; gives the run."""

    def stop(progress):
        if progress.phase == "validating" and progress.epoch == epoch:
            raise KeyboardInterrupt

    return river.run_training(load(folder), on_progress=stop)


def test_an_unfinished_run_is_cured_from_where_it_stands_and_the_file_goes_on_from_there(folder):
    run = interrupted(folder, 3)
    given = curing.curable(load(folder))
    assert given.start is not None and f"the weights of {run.path.name} after step" in given.remarks[0]
    assert given.births.check()[:2] == (False, True)  # the weights are the same whatever the seed, and were learned
    said = CliRunner().invoke(app, ["cure", str(folder), "--budget", "14 runs", "--write"])
    assert said.exit_code == 0 and said.stdout.startswith("Proven: learning rate 1e-07 →"), said.output
    assert "differ by the order of the data" in said.stdout and f"the weights of {run.path.name}" in said.stdout
    text = (folder / "isograd.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("weights = "))
    assert (folder / line.split('"')[1]).exists() and "# careful" in text
    begun = river.begin(load(folder)).model  # what the changed file begins with is what the run had learned
    assert all(torch.equal(begun.state_dict()[name], value) for name, value in given.start.values.items())


def test_a_dry_run_of_an_unfinished_run_writes_nothing(folder):
    interrupted(folder, 2)
    before = sorted(folder.rglob("*"))
    said = CliRunner().invoke(app, ["cure", str(folder), "--dry-run"])
    assert "as a new run from them would" in said.stdout and sorted(folder.rglob("*")) == before


def test_fresh_weights_are_tried_where_they_are_asked_for_or_the_run_is_of_another_project_or_over(folder):
    interrupted(folder, 2)
    assert curing.curable(load(folder), afresh=True).start is None
    (folder / "isograd.toml").write_text(TOML.replace("[8]", "[9]"))
    other = curing.curable(load(folder))
    assert other.start is None and "of another project or data" in other.remarks[0]
    (folder / "isograd.toml").write_text(TOML)
    river.run_training(load(folder))
    assert curing.curable(load(folder)).start is None and curing.curable(load(folder)).remarks == ()


def test_a_run_that_diverged_stands_where_its_last_good_checkpoint_is(folder, monkeypatch):
    interrupted(folder, 2)
    monkeypatch.setattr(river.Job, "loss", property(lambda job: lambda outputs, targets: outputs.sum() * float("nan")))
    with pytest.raises(ModelError, match="no longer finite"):
        river.run_training(load(folder))
    monkeypatch.undo()
    start = curing.curable(load(folder)).start
    assert start is not None and all(torch.isfinite(value).all() for value in start.values.values())


def test_a_change_that_the_weights_do_not_fit_is_not_written(folder):
    interrupted(folder, 2)
    given = curing.curable(load(folder))
    change, diff = curing.change_of(given, (Edit("normalisation", "layer"),))
    assert 'norm = "layer"' in change.text and "weights = " in diff
    better, told = curing.as_written(given, change, proven(Edit("normalisation", "layer"), 0.0))
    assert not better and "no network for these weights" in told
