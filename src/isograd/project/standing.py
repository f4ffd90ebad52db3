"""A run that stands unfinished, or that diverged: its last checkpoint as the start of a cure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from isograd.files import write_bytes
from isograd.project.amending import with_setting
from isograd.project.making import network
from isograd.project.reading import Project, parse
from isograd.project.river import Job
from isograd.project.runs import all_runs, difference
from isograd.workbench import train


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands: its weights, the file that they are to be read from, and what is to be said."""

    values: Mapping[str, Any]
    file: Path
    remark: str

    def project(self, given: Project) -> Project:
        """The project as a new run would go on from these weights."""
        text = with_setting(given.text, "model", "weights", Path(os.path.relpath(self.file, given.folder)).as_posix())
        return parse(with_setting(text, "model", "fresh", None), given.path)

    def keep(self) -> None:
        """Write the weights to their file; raises ``StorageError``."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.file, safetensors.torch.save(dict(self.values)))


def standing(job: Job) -> Standing | str | None:
    """Where the latest run of a project stands, if it did not finish.

    None where there is no run, or it finished; a remark where its checkpoints cannot be gone on from. Another process may be
    training it: nothing in its folder is touched.
    """
    project, data = job.project, job.prepared.summary.schema.fingerprint
    runs = all_runs(project.folder)
    if not runs:
        return None
    run, model = runs[-1].run(), network(project, job.prepared, project.settings.seed)
    state = train.unfinished(runs[-1].path, project.fingerprint() + data, model)
    if state is None:
        if run.status == "finished":
            return None
        other = run.data != data or difference(run.settings, project.flat())
        met = "is of another project or data than this" if other else "has no checkpoint yet"
        return f"{run.name} stands unfinished, but {met}: trials begin with fresh weights"
    values = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    remark = (
        f"trials begin with the weights of {run.name} after step {state.step:,} (epoch {state.epoch}), as a new run from them "
        "would: the optimizer's memory and the schedule begin anew; --new tries fresh weights instead"
    )
    return Standing(values, project.runs / "cure" / "start" / f"{run.name}-{state.step}.safetensors", remark)
