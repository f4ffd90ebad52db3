"""Build a network of a named family from options that are described as data; seeded, without touching the global generator."""

from isograd.workbench.models.building import build, least_rows
from isograd.workbench.models.initialise import AUTO
from isograd.workbench.models.options import OPTIONS, Option, checked

__all__ = ["AUTO", "OPTIONS", "Option", "build", "checked", "least_rows"]
