"""A bundle predicts what torch predicts, without torch; a changed file is refused; nothing is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isograd.errors import DamagedError, ModelError, RequestError
from isograd.files import sha256
from isograd.records.run import Bundle, Environment, Evaluation, Metric, Run
from isograd.records.schema import Column, DataSummary, Encoding, Part, Schema, Skipped
from isograd.workbench.deploy import answers_of, open_bundle, write_bundle
from isograd.workbench.models import build

ENCODING = Encoding(
    "images", "digit", image=(1, 8, 8), channel_mean=(0.3,), channel_std=(0.2,), classes=("nought", "one", "two")
)
ENVIRONMENT = Environment("0.1.0", "3.11.7", "Linux", "cpu", 2, 7, (("torch", "2.13.0"),))
RUN = Run(
    "abc", "digits-001", "image-classification", "cnn", "finished", "2026-01-01T00:00:00+00:00", ENVIRONMENT, "f", "d", epochs=3
)
SUMMARY = DataSummary(
    "builtin:digits",
    Schema("images", 30, "f" * 64, image=(1, 8, 8), classes=ENCODING.classes),
    (Part("train", 20), Part("test", 10)),
    skipped=(Skipped("a.png", "truncated"),),
    remarks=("three pictures appear twice",),
)
EVALUATION = Evaluation(
    "test", "image-classification", 10, (Metric("accuracy", 0.9, 0.8, 1.0),), per_class=(("nought", 1.0, 0.5, 0.67, 2),)
)


def rows(count: int = 9) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build("cnn", inputs=(1, 8, 8), outputs=3, options={"channels": [4, 8], "dropout": 0.5}, seed=0)


@pytest.fixture(scope="module")
def bundle(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "bundle"
    written(folder, model)
    return folder


def written(folder: Path, model: nn.Module, encoding: Encoding = ENCODING, inputs: torch.Tensor | None = None) -> Bundle:
    return write_bundle(
        folder,
        model,
        inputs=rows() if inputs is None else inputs,
        encoding=encoding,
        evaluation=EVALUATION,
        run=RUN,
        summary=SUMMARY,
        report_html="<!doctype html><title>report</title>",
        weights="ema",
    )


def copied(bundle: Path, to: Path) -> Path:
    to.mkdir()
    for file in bundle.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_bundle_gives_what_torch_gives_for_any_number_of_rows(bundle: Path, model: nn.Module) -> None:
    opened = open_bundle(bundle)
    model.eval()
    for count in (0, 1, 2, 1500):
        many = rows(count)
        with torch.no_grad():
            assert np.allclose(opened.outputs(many.numpy()), model(many).numpy(), atol=1e-5)
    model.train()
    assert opened.bundle.max_difference < 1e-5 and opened.bundle.compared_rows == 9


def test_it_holds_the_promised_files_and_their_hashes(bundle: Path) -> None:
    names = {"model.onnx", "model.safetensors", "preprocess.json", "card.md", "report.html"}
    record = open_bundle(bundle).bundle
    assert dict(record.files) == {name: sha256(bundle / name) for name in names}
    assert {file.name for file in bundle.iterdir()} == names | {"bundle.json", "manifest.json"}
    assert (record.weights, record.run, record.metrics) == ("ema", "abc", EVALUATION.metrics)


def test_the_weights_can_be_loaded_into_the_same_network(bundle: Path, model: nn.Module) -> None:
    other = build("cnn", inputs=(1, 8, 8), outputs=3, options={"channels": [4, 8], "dropout": 0.5}, seed=1)
    other.load_state_dict(safetensors.torch.load_file(bundle / "model.safetensors"))
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.safetensors", "preprocess.json", "card.md", "report.html", "bundle.json", "manifest.json"]
)
@pytest.mark.parametrize("harm", ["flip", "truncate", "lose"])
def test_a_bundle_with_any_changed_file_is_refused(bundle: Path, tmp_path: Path, name: str, harm: str) -> None:
    broken = copied(bundle, tmp_path / "bundle")
    content = bytearray((broken / name).read_bytes())
    content[len(content) // 2] ^= 1
    (broken / name).write_bytes(content if harm == "flip" else content[: len(content) // 2])
    if harm == "lose":
        (broken / name).unlink()
    expected = RequestError if (name, harm) == ("bundle.json", "lose") else DamagedError
    with pytest.raises(expected) as error:
        open_bundle(broken)
    if name != "manifest.json" or harm == "lose":
        assert name in str(error.value)


def test_a_manifest_that_leaves_the_network_out_is_refused(bundle: Path, tmp_path: Path) -> None:
    broken = copied(bundle, tmp_path / "bundle")
    manifest = json.loads((broken / "manifest.json").read_text())
    del manifest["model.onnx"]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=r"does not list model\.onnx"):
        open_bundle(broken)


def test_a_file_that_somebody_added_is_ignored(bundle: Path, tmp_path: Path) -> None:
    more = copied(bundle, tmp_path / "bundle")
    (more / "NOTES.txt").write_text("mine")
    assert open_bundle(more).encoding == ENCODING


def test_a_folder_without_a_bundle_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is no bundle"):
        open_bundle(tmp_path)


def test_an_existing_folder_is_never_overwritten(tmp_path: Path, model: nn.Module) -> None:
    (tmp_path / "keep").mkdir()
    with pytest.raises(RequestError, match="exists already"):
        written(tmp_path / "keep", model)
    assert not list((tmp_path / "keep").iterdir())


def test_opening_and_predicting_loads_no_torch(bundle: Path) -> None:
    program = f"""
        import sys, numpy as np
        from pathlib import Path
        from isograd.workbench.deploy import open_bundle
        answers = open_bundle(Path({str(bundle)!r})).answers(np.zeros((2, 1, 8, 8), np.float32))
        print(len(answers), "torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_writing_is_quiet_and_changes_neither_model_nor_generator(
    tmp_path: Path, model: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    written(tmp_path / "bundle", model)
    assert torch.equal(torch.rand(2), expected)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_the_network_file_names_no_path_of_the_machine_that_wrote_it(bundle: Path) -> None:
    content = (bundle / "model.onnx").read_bytes()
    assert b".py" not in content and str(Path.home()).encode() not in content


def test_a_model_that_does_not_fit_the_classes_gets_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs 3 a row"):
        written(tmp_path / "bundle", build("mlp", inputs=(64,), outputs=4, seed=0), inputs=torch.zeros(3, 64))
    with pytest.raises(RequestError, match="there is none"):
        written(tmp_path / "bundle", build("mlp", inputs=(64,), outputs=3, seed=0), inputs=torch.zeros(0, 64))
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_get_no_bundle(tmp_path: Path) -> None:
    broken = build("mlp", inputs=(4,), outputs=3, seed=0)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="are not finite"):
        written(tmp_path / "bundle", broken, inputs=torch.ones(2, 4))


def test_a_network_file_that_disagrees_with_torch_gets_no_bundle(
    tmp_path: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isograd.workbench.deploy import exporting

    other = build("cnn", inputs=(1, 8, 8), outputs=3, options={"channels": [4, 8]}, seed=9).eval()
    wrong = exporting.onnx_bytes(other, rows())
    monkeypatch.setattr(exporting, "onnx_bytes", lambda model, rows: wrong)
    with pytest.raises(ModelError, match="disagree"):
        written(tmp_path / "bundle", model)
    assert not list(tmp_path.iterdir())


def test_rows_of_another_shape_are_refused(bundle: Path) -> None:
    with pytest.raises(ModelError, match=r"takes rows of shape \(1, 8, 8\)"):
        open_bundle(bundle).outputs(np.zeros((2, 64), np.float32))


def test_the_card_says_what_a_stranger_must_know(bundle: Path) -> None:
    card = (bundle / "card.md").read_text()
    said = [
        "0.8 to 1",
        "nought, one, two",
        "builtin:digits",
        "three pictures appear twice",
        "1 rows or files were left out",
        "seed 7",
        "torch 2.13.0",
        "moving average",
        "isograd predict",
        "`nought` least well: 50%",
    ]
    assert [words for words in said if words not in card] == []


def test_a_table_with_odd_names_keeps_its_card_readable(tmp_path: Path) -> None:
    from isograd.workbench.deploy.card import model_card

    schema = Schema("table", 5, "f", target="price", columns=(Column("a|b", "number", missing=2),))
    record = Bundle("n", "regression", "now", "0", (), 0.0, 1, "raw")
    card = model_card(record, RUN, DataSummary("a.csv", schema, ()), None, Encoding("table", "price"))
    assert "| a\\|b | number | 2 |" in card and "It was not evaluated" in card


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=5))
def test_probabilities_sum_to_one_and_the_label_has_the_largest(values: list[list[float]]) -> None:
    for answer in answers_of(np.array(values), ENCODING):
        probabilities = answer["probabilities"]
        assert abs(sum(probabilities.values()) - 1) < 1e-9
        assert probabilities[answer["label"]] == max(probabilities.values())


def test_outputs_that_are_not_finite_are_no_answer() -> None:
    with pytest.raises(ModelError, match="row 2 is not finite"):
        answers_of(np.array([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0]]), ENCODING)
