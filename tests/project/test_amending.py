"""Edits as settings of the project file: the right line changes, and no other byte of it."""

from pathlib import Path

import pytest

from isograd.errors import RequestError
from isograd.project.amending import amended, toml, with_setting, write
from isograd.project.reading import load, parse
from isograd.records.edit import EDITS, Edit

TEXT = """\
# my project
task = "classification"   # what it does

[data]
source = "a.csv"
target = "y"

[train]   # the heart
epochs = 20
learning_rate = 10.0  # "fast" # really
optimizer = "sgd"
clip_norm = 1e-6
momentum = 0.99

[model]
hidden = [
  8,  # narrow
  4,
]
activation = 'sigmoid'

# the end
[goals]
accuracy = 0.9
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "isograd.toml").write_text(TEXT)
    return load(tmp_path)


def differing(before, after):
    old, new = before.splitlines(), after.splitlines()
    return [line for line in new if line not in old], [line for line in old if line not in new]


@pytest.mark.parametrize(
    ("edit", "new", "old"),
    [
        (
            Edit("learning_rate", 0.1, before=10.0),
            ['learning_rate = 0.1  # "fast" # really'],
            ['learning_rate = 10.0  # "fast" # really'],
        ),
        (Edit("momentum", 0.9), ["momentum = 0.9"], ["momentum = 0.99"]),
        (Edit("weight_decay", 0.0), ["weight_decay = 0.0"], []),
        (Edit("clip_norm", None, before=1e-6), [], ["clip_norm = 1e-6"]),
        (Edit("clip_norm", 1.0, before=1e-6), ["clip_norm = 1.0"], ["clip_norm = 1e-6"]),
        (Edit("batch_size", 32.0), ["batch_size = 32"], []),
        (Edit("constant_rate"), ['schedule = "constant"'], []),
        (Edit("steps", 400.0), ["epochs = 40"], ["epochs = 20"]),
        (Edit("activation", "relu", before="sigmoid"), ['activation = "relu"'], ["activation = 'sigmoid'"]),
        (Edit("initialisation", "he"), ['initialisation = "he"'], []),
        (Edit("normalisation", "layer"), ['norm = "layer"'], []),
        (Edit("dropout", 0.1), ["dropout = 0.1"], []),
        (Edit("width", 16.0), ["hidden = [128, 64]"], ["hidden = [", "  8,  # narrow", "  4,", "]"]),
        (Edit("input_scale", "standard"), None, None),
        (Edit("clear_gradients"), None, None),
        (Edit("residual"), None, None),
        (Edit("activation", "mish"), None, None),
        (Edit("activation", "relu", where="body.1"), None, None),
    ],
)
def test_an_edit_changes_the_line_of_its_setting_alone(project, edit, new, old):
    found = amended(project, [edit], steps=200)
    if new is None:
        assert (found.text, found.placed, found.left) == (TEXT, (), (edit,))
    else:
        assert differing(TEXT, found.text) == (new, old)
        assert found.placed == (edit,)


def test_another_optimizer_comes_with_its_usual_constants(project):
    found = amended(project, [Edit("optimizer", "adam")], usual={"adam": {"lr": 1e-3, "weight_decay": 0.0}})
    assert differing(TEXT, found.text)[0] == [
        'learning_rate = 0.001  # "fast" # really',
        'optimizer = "adam"',
        "weight_decay = 0.0",
    ]


def test_a_rule_that_the_file_has_already_is_no_change(tmp_path):
    project = parse(TEXT.replace("'sigmoid'", "'relu'"), tmp_path / "isograd.toml")
    assert amended(project, [Edit("initialisation", "he")]).placed == ()  # what "auto" takes for ReLU
    assert amended(project, [Edit("initialisation", "orthogonal")]).placed != ()


def test_a_rule_that_comes_with_another_activation_needs_no_line_of_its_own(project):
    relu, he = Edit("activation", "relu", before="sigmoid"), Edit("initialisation", "he")
    both = amended(project, [relu, he])
    assert both.left == () and both.text == amended(project, [relu]).text, '"auto" takes He for ReLU'
    assert 'initialisation = "orthogonal"' in amended(project, [relu, Edit("initialisation", "orthogonal")]).text
    assert amended(project, [he]).text != project.text, "alone it is a change"


def test_a_momentum_that_the_optimizer_does_not_have_is_no_setting(tmp_path):
    project = parse(TEXT.replace('"sgd"', '"adam"'), tmp_path / "isograd.toml")
    assert amended(project, [Edit("momentum", 0.9)]).placed == ()


def test_several_edits_are_made_one_after_the_other(project):
    edits = [Edit("learning_rate", 0.1), Edit("residual"), Edit("batch_size", 16.0)]
    found = amended(project, edits)
    assert (found.placed, found.left) == ((edits[0], edits[2]), (edits[1],))


def test_depth_by_width_is_widened_as_such(tmp_path):
    text = TEXT.replace("hidden = [\n  8,  # narrow\n  4,\n]", "depth = 30\nwidth = 2")
    project = parse(text, tmp_path / "isograd.toml")
    assert differing(text, amended(project, [Edit("width", 8.0)]).text) == (["width = 16"], ["width = 2"])
    assert differing(text, amended(project, [Edit("depth", 0.5)]).text) == (["depth = 15"], ["depth = 30"])


def test_tables_written_in_another_way_are_changed_safely_or_not_at_all(tmp_path):
    inline = 'task = "classification"\ndata = {source = "a.csv", target = "y"}\ntrain = {epochs = 3, learning_rate = 10.0}\n'
    project = parse(inline, tmp_path / "isograd.toml")
    assert amended(project, [Edit("learning_rate", 0.1)]).text == inline
    dotted = 'task = "classification"\ntrain.learning_rate = 10.0 # so\ndata.source = "a.csv"\ndata.target = "y"\n'
    found = amended(parse(dotted, tmp_path / "isograd.toml"), [Edit("learning_rate", 0.1)])
    assert found.text == dotted.replace("10.0", "0.1")


def test_a_table_that_is_not_there_is_added_at_the_end(tmp_path):
    bare = 'task = "classification"\n[data]\nsource = "a.csv"\ntarget = "y"'
    found = amended(parse(bare, tmp_path / "isograd.toml"), [Edit("learning_rate", 0.1)])
    assert found.text == bare + "\n\n[train]\nlearning_rate = 0.1\n"


def test_the_file_is_written_with_a_backup_beside_it_and_its_own_line_ends(tmp_path):
    path = tmp_path / "isograd.toml"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    project = load(path)
    change = amended(project, [Edit("learning_rate", 0.1)])
    backup = write(project, change)
    assert backup.name == "isograd.toml.bak" and backup.read_bytes() == TEXT.replace("\n", "\r\n").encode()
    assert path.read_bytes() == change.text.replace("\n", "\r\n").encode()
    again = load(path)
    assert write(again, amended(again, [Edit("learning_rate", 0.2)])).name == "isograd.toml.bak2"


def test_a_file_that_changed_meanwhile_is_not_written(project):
    change = amended(project, [Edit("learning_rate", 0.1)])
    project.path.write_text(TEXT + "# mine\n")
    with pytest.raises(RequestError, match="changed during the search"):
        write(project, change)
    assert project.path.read_text() == TEXT + "# mine\n"
    assert sorted(file.name for file in project.folder.iterdir()) == ["isograd.toml"]


@pytest.mark.parametrize("kind", EDITS)
def test_every_edit_is_a_setting_or_none(project, kind):
    for value in (None, 0.5, 2.0, "relu", "he", "adam", "layer", "float32", "off"):
        found = amended(project, [Edit(kind, value)], steps=100)
        parse(found.text, Path("isograd.toml"))
        assert bool(found.placed) != (found.text == TEXT)


def test_values_are_written_as_toml_has_them():
    assert [toml(value) for value in (1.0, 1e20, 1e-7, 3, False)] == ["1.0", "1e+20", "1e-7", "3", "false"]
    assert with_setting("", "train", "epochs", 3) == "\n[train]\nepochs = 3\n"
