"""Build a network of a named family from options that are described as data; seeded, without touching the global generator."""

from isograd.workbench.models.bagging import Bagging
from isograd.workbench.models.building import Known, build, least_rows, size_of_weights
from isograd.workbench.models.initialise import AUTO
from isograd.workbench.models.option import Option
from isograd.workbench.models.options import OPTIONS, SERVES, TOKENS, checked
from isograd.workbench.models.transfer import freeze, known_parts, load_weights, weights_bytes

__all__ = [
    "AUTO",
    "OPTIONS",
    "SERVES",
    "TOKENS",
    "Bagging",
    "Known",
    "Option",
    "build",
    "checked",
    "freeze",
    "known_parts",
    "least_rows",
    "load_weights",
    "size_of_weights",
    "weights_bytes",
]
