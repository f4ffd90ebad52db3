"""What a program does between its steps: when to listen to its evaluations, to which, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from isograd.frameworks.torch.backward import Ear
from isograd.frameworks.torch.budget import Budget
from isograd.frameworks.torch.evaluations import Evaluations
from isograd.frameworks.torch.hooks import Walk
from isograd.frameworks.torch.loaders import Loaders
from isograd.frameworks.torch.opened import Open
from isograd.frameworks.torch.signs import Signs
from isograd.records.batch import Evaluation
from isograd.records.fact import Fact

UNSEEN = 2.0
"""What hearing an evaluation costs over what our clock sees of it, beside ``budget.HIDDEN``: the hooks of every module and the
mode over every call. Measured: 2.4 to 3.3 in all on networks of 3 to 101 modules."""


class Between:
    """Listens where there is a sign of an evaluation and one is due: until training goes on, or the next step is over.

    ``calm`` gives the present step, if its passes are not followed and no backward pass has come yet. On steps that are looked
    at the passes are followed anyway, and evaluations with them.
    """

    walk: Walk
    ear: Ear

    def __init__(self, budget: Budget, calm: Callable[[], Open | None], failed: Callable[[Exception], None]) -> None:
        self._budget, self._calm = budget, calm
        self._signs = Signs(self._is_watched, self._listen, self._listened, failed)
        self._loaders = Loaders(self._signs.loader, failed)
        self.tried = Evaluations(budget.for_evaluation, lambda: self._loaders.last)
        self.tried.untrained = lambda: self._loaders.doubtful

    def open(self) -> None:
        """Hear signs from here on, in this thread."""
        self._signs.open()
        self._loaders.open()

    def close(self) -> None:
        """Hear no more."""
        self.tried.alone = False
        self._signs.close()
        self._loaders.close()

    def begin(self, index: int) -> None:
        """Step ``index`` begins, which is looked at."""
        self.tried.begin(index)
        self._loaders.begin()

    def take(self) -> tuple[Evaluation, ...]:
        """The evaluations since the step before."""
        found = self.tried.close()
        if found:
            self._loaders.tried()
        return found

    def facts(self) -> tuple[Fact, ...]:
        """Of a step that was looked at: where its batch came from."""
        return self._loaders.close_step()

    def end(self, steps: int) -> tuple[Fact, ...]:
        """The watch is over: what is to be said of the loaders."""
        return self._loaders.end(steps)

    def over(self, opened: Open) -> None:
        """The step is over: what it cost to hear evaluations before it has an account of its own."""
        self._listened()
        cost = self.tried.cost if opened.busy else opened.cost
        opened.cost, self.tried.cost = opened.cost - cost, 0.0
        if opened.tried:
            self._budget.evaluations.add(cost * UNSEEN)
        else:
            self._budget.overhead += cost
        self._signs.came(evaluation=opened.tried)
        self._budget.overhead += self._signs.spent
        self._signs.spent = 0.0

    def _is_watched(self, module: nn.Module) -> bool:
        names = self.walk.names
        return id(module) in names or any(id(inner) in names for inner in module.modules())

    def _listen(self) -> bool:
        if self.tried.alone or (opened := self._calm()) is None:
            return False
        self.tried.begin(opened.index)
        if not self.tried.attends():
            return False
        self.tried.alone, opened.heeds = True, True
        self.ear.told = self._stepped
        self.walk.arm(shallow=True, waiting=True)
        return True

    def _stepped(self, root: Any) -> None:
        """A backward pass begins in a step of which only an evaluation was to be heard."""
        self.tried.backward(root)
        self.ear.told = None
        self._listened()

    def _listened(self) -> None:
        """Training goes on: there is no evaluation to be heard any more."""
        if self.tried.alone:
            self.tried.alone = False
            self.walk.disarm()
