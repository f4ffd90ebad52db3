"""The demonstration's two project files and its sample pictures, written without overwriting anything."""

from __future__ import annotations

import base64
from pathlib import Path

from isograd.errors import RequestError
from isograd.files import write_bytes, write_text
from isograd.project.reading import load
from isograd.project.river import begin
from isograd.workbench import data

DIGITS = """\
# Handwritten digits: 1,797 grey pictures of 8 by 8 pixels, ten classes.
# Every key that is left out has its default; `isograd schema` lists them all.
name = "digits"
task = "image-classification"
seed = 0                        # one number behind every random choice

[data]
source = "builtin:digits"       # or a folder of class folders, a folder of IDX files, a table
validation = 0.15               # chooses the best weights
test = 0.2                      # looked at once, at the end

[model]
kind = "cnn"
channels = [32, 64, 128]        # one convolution block each

[train]
epochs = 25
batch_size = 64
optimizer = "adamw"
learning_rate = 3e-3            # the peak of the schedule
schedule = "warmup_cosine"
ema = 0.98                      # average the weights of the last steps

[goals]
accuracy = 0.975                # on the test part
"""

SIGMOID = """\
# The same digits, and a network that cannot learn: 30 layers of sigmoids.
# The derivative of a sigmoid is at most 1/4, so each layer passes on a quarter of the gradient or less.
name = "sigmoid-30"
task = "image-classification"
seed = 0

[data]
source = "builtin:digits"
validation = 0.15
test = 0.2

[model]
kind = "mlp"
depth = 30
width = 64
activation = "sigmoid"

[train]
epochs = 40
batch_size = 64
optimizer = "sgd"
learning_rate = 0.1
"""


def write_projects(folder: Path) -> tuple[Path, Path]:
    """The two project folders of the demonstration; a file that says something else is left alone.

    Raises ``RequestError`` where one of the files is there with another content.
    """
    first, second = folder / "digits", folder / "sigmoid-30"
    for target, text in ((first / "isograd.toml", DIGITS), (second / "isograd.toml", SIGMOID)):
        if not target.exists():
            write_text(target, text)
        elif target.read_text("utf-8") != text:
            raise RequestError(
                f"{target} is there and says something else; it is not overwritten",
                remedy="isograd demo --folder another-name",
            )
    return first, second


def write_samples(project_folder: Path, count: int = 3) -> list[Path]:
    """A few pictures of the test part as PNG files, to make predictions from."""
    job = begin(load(project_folder))
    rows, encoding = job.prepared.test, job.prepared.encoding
    written = []
    for i in range(count):
        picture = data.picture(rows, i, encoding, for_eyes=False)
        if picture is not None:
            truth = encoding.classes[int(rows.targets[i])]
            written.append(project_folder / "samples" / f"{truth}-{i}.png")
            write_bytes(written[-1], base64.b64decode(picture))
    return written
