"""All programs and all operators: importing this enters them into their lists."""

from __future__ import annotations

from faults import (
    fourth,
    fresh_slips_of_kinds,
    fresh_slips_ordinary,
    in_model_and_data,
    in_training,
    programs,
    slips_in_data,
    slips_in_model,
    slips_in_training,
    slips_of_kinds,
    third,
)
from faults.operators import OPERATORS, Case, candidates
from faults.settings import PROGRAMS

__all__ = ["LISTS", "OPERATORS", "PROGRAMS", "Case", "candidates"]

LISTS = (
    programs,
    in_training,
    in_model_and_data,
    third,
    slips_in_training,
    slips_in_model,
    slips_in_data,
    slips_of_kinds,
    fourth,
    fresh_slips_ordinary,
    fresh_slips_of_kinds,
)
"""The files that enter them."""
