"""A network of a person's own, weights from elsewhere, and parts that stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from isograd.cli import main
from isograd.errors import ModelError, ProjectError, RequestError
from isograd.project import river
from isograd.project.reading import load, parse

HEAD = 'task = "image-classification"\n[data]\nsource = "builtin:digits"\n[train]\nepochs = 1\n[model]\n'
OWN = """\
from torch import nn

def make(inputs, outputs, width=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs[1] * inputs[2], width), nn.ReLU(), nn.Linear(width, outputs))

def broken(inputs, outputs):
    return nn.Linear(inputs[7], outputs)

def narrow(inputs, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def odd(inputs, outputs):
    return nn.Linear(5, outputs)

def nothing(inputs, outputs):
    return None
"""


def project(folder: Path, model: str, code: str = OWN) -> Path:
    (folder / "net.py").write_text(code, "utf-8")
    (folder / "isograd.toml").write_text(HEAD + model, "utf-8")
    return folder


def said(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        river.begin(load(folder))
    return str(caught.value)


def test_a_function_of_a_persons_own_goes_down_the_whole_river(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project(tmp_path, 'kind = "net:make"\nwidth = 16\n')
    assert main(["run", str(folder)]) == 0
    bundle = folder / "runs" / "project-001" / "bundle"
    assert main(["predict", str(bundle), "builtin:digits:7"]) == 0
    assert load_file(bundle / "model.safetensors")["1.weight"].shape == (16, 64)
    assert main(["train", "--dry-run", str(folder)]) == 0
    assert "model.width = 16" in capsys.readouterr().out


def test_its_weights_come_from_the_seed_and_the_global_generator_stays(tmp_path: Path) -> None:
    folder = project(tmp_path, 'kind = "net:make"\n')
    state = torch.get_rng_state()
    one, other = (river.begin(load(folder)).model for _ in range(2))
    assert torch.equal(one[1].weight, other[1].weight) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("net:mak", 'did you mean "make"'),
        ("nett:make", "nett cannot be imported"),
        ("net:broken", "net.py, line 7"),
        ("net:narrow", "must give a tensor (rows, 10)"),
        ("net:odd", "does not take two rows of shape (1, 8, 8)"),
        ("net:nothing", "gives no nn.Module"),
    ],
)
def test_what_is_wrong_with_a_function_is_said_before_training(kind: str, words: str, tmp_path: Path) -> None:
    assert words in said(project(tmp_path, f'kind = "{kind}"\n'))


def test_an_option_that_the_function_does_not_take_and_a_file_with_a_fault_are_told(tmp_path: Path) -> None:
    assert "unexpected keyword argument 'depth'" in said(project(tmp_path, 'kind = "net:make"\ndepth = 3\n'))
    assert "net cannot be imported: ZeroDivisionError" in said(project(tmp_path, 'kind = "net:make"\n', "1 / 0\n"))


def test_a_kind_that_is_neither_a_family_nor_a_function_lists_the_choices() -> None:
    with pytest.raises(ProjectError) as caught:
        parse(HEAD + 'kind = "resent"\n', Path("isograd.toml"))
    assert 'did you mean "resnet"' in str(caught.value) and "module:function" in str(caught.value)


def trained(folder: Path) -> Path:
    (folder / "first").mkdir()
    project(folder / "first", 'kind = "mlp"\nhidden = [16]\n')
    run = river.run_training(load(folder / "first"))
    river.export_run(folder / "first")
    return run.bundle / "model.safetensors"


def test_weights_are_taken_over_and_a_frozen_part_stays_to_the_last_bit(tmp_path: Path) -> None:
    file = trained(tmp_path)
    table = f'kind = "mlp"\nhidden = [16]\nweights = "{file}"\nfresh = ["head"]\nfreeze = ["body"]\n'
    folder = project(tmp_path, table)
    before, start = load_file(file), river.begin(load(folder)).model
    assert torch.equal(start.body[1].weight, before["body.1.weight"])
    assert not torch.equal(start.head.weight, before["head.weight"])
    report = river.check(load(folder))
    assert report.healthy, str(report)
    run = river.run_training(load(folder))
    river.export_run(folder)
    after = load_file(run.bundle / "model.safetensors")
    assert torch.equal(after["body.1.weight"], before["body.1.weight"])
    assert not torch.equal(after["head.weight"], start.head.weight)


def test_parts_thaw_after_their_epochs_and_nothing_is_called_ill(tmp_path: Path) -> None:
    file = trained(tmp_path)
    table = f'kind = "mlp"\nhidden = [16]\nweights = "{file}"\nfresh = ["head"]\nfreeze = ["body"]\nunfreeze = {{ body = 1 }}\n'
    folder = project(tmp_path, table)
    text = (folder / "isograd.toml").read_text("utf-8").replace("epochs = 1", "epochs = 4\nlearning_rate = 1e-2")
    (folder / "isograd.toml").write_text(text, "utf-8")
    assert river.check(load(folder)).healthy
    run = river.run_training(load(folder))
    river.export_run(folder)
    after = load_file(run.bundle / "model.safetensors")
    assert not torch.equal(after["body.1.weight"], load_file(file)["body.1.weight"])
    report = (run.path / "report.json").read_text("utf-8")
    assert '"critical"' not in report and '"warning"' not in report
    assert main(["train", "--dry-run", str(folder)]) == 0


def test_a_part_that_thaws_and_is_not_there_or_never_froze_is_told(tmp_path: Path) -> None:
    assert 'did you mean "body"' in said(project(tmp_path, 'kind = "mlp"\nunfreeze = { bdy = 1 }\n'))
    with pytest.raises(RequestError, match="never frozen"):
        river.begin(load(project(tmp_path, 'kind = "mlp"\nunfreeze = { body = 1 }\n')))
    with pytest.raises(ProjectError, match="greater than or equal to 1"):
        load(project(tmp_path, 'kind = "mlp"\nunfreeze = { body = 0 }\n'))


def test_other_weights_in_the_file_are_another_run(tmp_path: Path) -> None:
    file = trained(tmp_path)
    folder = project(tmp_path, f'kind = "mlp"\nhidden = [16]\nweights = "{file}"\n')
    before = load(folder).fingerprint()
    assert load(folder).fingerprint() == before
    tensors = load_file(file)
    save_file({**tensors, "head.bias": tensors["head.bias"] + 1}, file)
    assert load(folder).fingerprint() != before
    assert "model.weights.sha256" in dict(load(folder).flat())


def test_every_tensor_of_another_shape_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = trained(tmp_path)
    words = said(project(tmp_path, f'kind = "mlp"\nhidden = [12]\nweights = "{file}"\n'))
    for name in ("body.1.weight", "body.1.bias", "head.weight"):
        assert f"{name} has another shape" in words
    assert "(16, 64) in the file, (12, 64) in the network" in words and 'fresh = ["head"]' in words
    deeper = said(project(tmp_path, f'kind = "mlp"\nhidden = [16, 16]\nweights = "{file}"\n'))
    assert "does not hold body.3.weight" in deeper


def test_a_weights_file_that_is_missing_or_none_and_a_part_that_is_not_there_are_told(tmp_path: Path) -> None:
    assert "there is no weights file x.safetensors" in said(project(tmp_path, 'kind = "mlp"\nweights = "x.safetensors"\n'))
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    assert "is no weights file" in said(project(tmp_path, 'kind = "mlp"\nweights = "x.safetensors"\n'))
    assert 'did you mean "body"' in said(project(tmp_path, 'kind = "mlp"\nfreeze = ["bdy"]\n'))
