"""What is kept of the steps that are over: their numbers are read late, remembered, and told to those who diagnose."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

from isograd.frameworks.torch.budget import LOSS_JUMP, NORM_JUMP, Alarm, Budget
from isograd.frameworks.torch.history import Glance, History, padded
from isograd.frameworks.torch.parameters import Norms
from isograd.records.batch import Evaluation
from isograd.records.trace import Meter, Step


class Keeping:
    """The history of one watch, its counts, and what calls for another look."""

    def __init__(self, budget: Budget, names: Sequence[str]) -> None:
        self.history = History()
        self.taken = 0
        """Steps so far."""
        self.sampled = self.normed = 0
        """Those of them that were looked at, and whose gradient norms were taken."""
        self.on_step: Callable[[bool], None] | None = None
        """Called after each step that was looked at; told whether a diagnosis is due and paid for."""
        self.open = False
        """Whether the loop goes on, and ``on_step`` may be called in it."""
        self.aside = 0.0
        """Seconds that others used in the present step, on accounts of their own."""
        self._budget, self._names = budget, names
        self._alarms = Alarm(LOSS_JUMP), Alarm(NORM_JUMP)
        self._pending: tuple[Step, list[Norms], Callable[[], float | None]] | None = None
        self._diagnosed = 0

    def glance(self, index: int, loss: float | None, rate: float | None) -> bool:
        """A step that was not looked at; whether its loss alarms."""
        self.history.glance(tuple.__new__(Glance, (index, loss, rate)))  # twice as quick as Glance(...)
        if loss is not None and self._alarms[0](loss):
            self._budget.alarmed = True
            return True
        return False

    def keep(self, step: Step, norms: list[Norms], later: Callable[[], float | None], *, wait: bool) -> None:
        """A step that was looked at; ``later`` gives its loss, with ``wait`` when the device has had time to finish."""
        self._pending = (step, norms, later)
        if not wait and not any(one.vectors for one in norms):
            self.flush()

    def evaluated(self, index: int, evaluations: tuple[Evaluation, ...]) -> None:
        """Evaluations after step ``index``, which was the last."""
        if evaluations:
            self.history.amend(index, lambda step: dataclasses.replace(step, evaluations=(*step.evaluations, *evaluations)))

    def flush(self) -> None:
        """Read the loss and the norms of the step before, which the device has finished by now."""
        if self._pending is None:
            return
        step, several, later = self._pending
        self._pending = None
        loss = later()
        if not (several or step.facts or step.parameters or step.losses or step.evaluations):
            self.glance(step.index, loss, step.learning_rate)
            return
        norms: dict[int, float] = {}
        for one in several:
            norms.update(one.values())
        row = tuple(norms.get(slot) for slot in range(len(self._names)))
        self.history.add(dataclasses.replace(step, loss=loss, gradient_norms=row))
        jumps = (loss is not None and self._alarms[0](loss), norms and self._alarms[1](math.hypot(*norms.values())))
        if any(jumps):
            self._budget.alarmed = True
        if self.on_step is not None and self.open:
            self._tell(self.on_step)

    def steps(self) -> tuple[Step, ...]:
        """All that is kept, with a norm for each parameter that there is by now."""
        self.flush()
        return tuple(padded(step, len(self._names)) for step in self.history.steps)

    def meter(self, total: float) -> Meter:
        """What the watching cost in ``total`` seconds, by its own clock."""
        return Meter(self._budget.own, total, self.taken, self.sampled, self.normed)

    def _tell(self, on_step: Callable[[bool], None]) -> None:
        """Let those who diagnose and write do so, on their own account."""
        start = time.thread_time()
        due = self._budget.may_diagnose(self.sampled, self._diagnosed, len(self._names))
        if due:
            self._diagnosed = self.sampled
        on_step(due)
        spent = time.thread_time() - start
        self.aside += spent
        if due:
            self._budget.diagnoses.add(spent)
        else:
            self._budget.overhead += spent
