"""What this machine has, and a proof that it works: train, evaluate, export and predict on a tiny sample."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from isograd.errors import IsogradError

NEEDED = ("numpy", "scipy", "pydantic", "torch", "pandas", "pyarrow", "sklearn", "PIL", "safetensors", "onnx", "onnxruntime")
OPTIONAL = {"matplotlib": "report.figure() in notebooks"}
TINY = """\
name = "doctor"
task = "image-classification"
[data]
source = "builtin:digits"
[model]
kind = "mlp"
hidden = [32]
[train]
epochs = 2
learning_rate = 1e-2
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: whether it is fine, what was found, and how to mend it."""

    name: str
    fine: bool
    found: str
    remedy: str = ""
    optional: bool = False

    def line(self) -> str:
        """One line of text.

        >>> Check("torch", False, "not installed", "pip install 'isograd[workbench]'").line()
        "no    torch: not installed; pip install 'isograd[workbench]'"
        """
        mark = "yes" if self.fine else "-" if self.optional else "no"
        return f"{mark:<5} {self.name}: {self.found}" + (f"; {self.remedy}" if self.remedy and not self.fine else "")


def examine() -> list[Check]:
    """Look at everything, the proof last."""
    checks = [
        Check("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"),
        Check("processor", True, f"{os.cpu_count()} cores"),
        _disk(),
        *(_library(name, "pip install 'isograd[workbench]'") for name in NEEDED),
        *(_library(name, f"only for {purpose}", optional=True) for name, purpose in OPTIONAL.items()),
    ]
    if all(check.fine or check.optional for check in checks):
        checks += [_device(), *_proof()]
    return checks


def _disk() -> Check:
    free = shutil.disk_usage(".").free / 2**30
    return Check("disk", free > 1, f"{free:.1f} GiB free in this folder", "a run needs about 1 GiB")


def _library(name: str, remedy: str, optional: bool = False) -> Check:
    try:
        module = importlib.import_module(name)
    except ImportError:
        return Check(name, False, "not installed", remedy, optional)
    except Exception as error:  # noqa: BLE001 - a library that is there and breaks is what a doctor looks for
        return Check(name, False, f"installed, and does not load: {error}", "install it again", optional)
    return Check(name, True, str(getattr(module, "__version__", "installed")), "", optional)


def _device() -> Check:
    from isograd.workbench import train

    return Check("device", True, f'"auto" means {train.resolved(train.Recipe(device="auto")).device}')


def _proof() -> list[Check]:
    from isograd.project import reading, river
    from isograd.project.demo import write_samples
    from isograd.project.predicting import predict_with

    with tempfile.TemporaryDirectory(prefix="isograd-doctor-") as name:
        folder = Path(name)
        (folder / "isograd.toml").write_text(TINY, "utf-8")
        checks = []
        try:
            run = river.run_training(reading.load(folder))
            checks.append(Check("training", True, f"{run.run().epochs} epochs in {run.run().seconds:.1f} s"))
            _, evaluation = river.evaluate_run(folder)
            checks.append(Check("evaluation", True, f"accuracy {evaluation.metrics[0].value:.2f} after two epochs"))
            target, bundle = river.export_run(folder)
            checks.append(Check("export", True, f"ONNX differs from torch by {bundle.max_difference:.1e}"))
            answers, _ = predict_with(target, [str(path) for path in write_samples(folder, count=1)])
            checks.append(Check("prediction", len(answers) == 1, f"answered {answers[0]['label']}"))
        except IsogradError as error:
            checks.append(Check("the proof", False, str(error).split("\n")[0], "see the message"))
        return checks
