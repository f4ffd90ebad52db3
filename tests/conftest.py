"""What every test shares: how hard the property tests look, and that a slow machine is no failure."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("searching", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)  # the same cases in every run of the same code
settings.load_profile("repeatable" if os.environ.get("CI") else "searching")
