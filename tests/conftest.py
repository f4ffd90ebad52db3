"""What every test shares: how hard the property tests look, and that a slow machine is no failure."""

from __future__ import annotations

import itertools
import os
import time

import pytest
from hypothesis import settings

settings.register_profile("searching", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)  # the same cases in every run of the same code
settings.load_profile("repeatable" if os.environ.get("CI") else "searching")


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thread time that passes by 0.2 ms whenever it is asked for: looks cost the same on every machine."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: 2e-4 * next(ticks))
