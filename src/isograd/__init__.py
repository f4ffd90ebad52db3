"""Foretell, measure, explain and repair gradient flow: check, watch, diagnose, cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isograd.api import Proof, Report, check, cure, diagnose, explain, watch

__version__ = "0.1.0"
__all__ = ["Proof", "Report", "check", "cure", "diagnose", "explain", "watch"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import isograd` stays light and `isograd --version` needs nothing.
    if name in __all__:
        from isograd import api

        return getattr(api, name)
    raise AttributeError(f"module 'isograd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
